"""What a router that sends alike prompts to one replica reads of a request."""

import pickle

from little_monster.platform.engines.remote import ChatBody

MESSAGES = [{"role": "user", "content": "What is a cell?"}]


def test_a_body_shows_its_messages_also_after_its_way_to_a_replica() -> None:
    body = pickle.loads(pickle.dumps(ChatBody({"messages": MESSAGES}, model="m")))
    assert body.messages == MESSAGES
    assert body == {"messages": MESSAGES, "model": "m"}
