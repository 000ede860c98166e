"""Reads the event frames of a chat model: the path of every token, so it does no more than it must."""

from collections.abc import Iterator
from typing import Any

import orjson

from little_monster.platform.errors import EngineFailed

_DONE = "[DONE]"


def read_chunks(text: str) -> Iterator[dict[str, Any]]:
    """Yield the `chat.completion.chunk` objects of one or more whole ``data: {...}\\n\\n`` frames.

    Raises:
        EngineFailed: a frame is an error, or no JSON.
    """
    for frame in text.split("\n\n"):
        if not frame.startswith("data:"):
            continue
        data = frame[5:].lstrip()
        if data == _DONE:
            continue
        try:
            chunk: dict[str, Any] = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise EngineFailed("The model answered with something that is not JSON.") from None
        if "error" in chunk:
            raise EngineFailed("The model stopped with an error.")
        yield chunk
