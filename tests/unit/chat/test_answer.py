"""An answer reads the engine's frames, joined or alone, and remembers what it cost."""

import json
from uuid import uuid4

import pytest

from little_monster.platform.engines.protocols import Passage
from little_monster.platform.errors import EngineFailed
from little_monster.platform.services.chat.answer import Answer
from little_monster.platform.services.chat.events import Citation, Delta
from little_monster.platform.services.chat.prompt import build_prompt

TEXT = "Water boils at 100 degrees at sea level. Ice is lighter than water."
PASSAGE = Passage(uuid4(), uuid4(), "Water", TEXT, 0.9, 2, 2, 50, 50 + len(TEXT))


def answer() -> Answer:
    return Answer(build_prompt("When does water boil?", [PASSAGE]), model="test", asked_at=0.0)


def frame(text: str | None = None, **more: object) -> str:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": None}
    return f"data: {json.dumps({'choices': [choice], **more})}\n\n"


def test_a_finished_sentence_is_cited_where_it_stands() -> None:
    made = answer()
    events = [
        *made.read(frame("Water boils at 100") + frame(" degrees. ")),
        *made.read(frame("Unrelated claim here.")),
    ]
    events += made.finish()
    assert [type(one) for one in events] == [Delta, Delta, Delta, Citation]
    [citation] = made.citations
    assert made.text[citation.answer_start : citation.answer_end] == "Water boils at 100 degrees."
    assert (citation.quote, citation.start) == ("Water boils at 100 degrees at sea level.", 50)
    [source] = made.snapshot()
    assert [one["quote"] for one in source["citations"]] == [citation.quote]
    json.dumps(made.snapshot())


def test_usage_is_the_engines_or_else_estimated() -> None:
    made = answer()
    list(made.read(frame("Hello.")))
    assert made.usage().completion_tokens > 0
    list(
        made.read(
            'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\ndata: [DONE]\n\n'
        )
    )
    usage = made.usage()
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 2, 9)
    assert usage.time_to_first_token_ms is not None


def test_an_answer_without_text_has_no_first_token() -> None:
    usage = answer().usage()
    assert usage.completion_tokens == 0
    assert usage.time_to_first_token_ms is None


@pytest.mark.parametrize("frames", ["data: {nonsense\n\n", 'data: {"error": {"message": "secret"}}\n\n'])
def test_an_error_in_the_stream_is_the_engines_failure(frames: str) -> None:
    with pytest.raises(EngineFailed) as caught:
        list(answer().read(frames))
    assert "secret" not in caught.value.detail


def test_nul_characters_do_not_reach_the_database() -> None:
    made = answer()
    list(made.read(frame("a\x00b")))
    assert made.text == "ab"
