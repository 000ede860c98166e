"""Passages to vectors, a batch at a time, each whole however little the model reads at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import numpy

from little_monster.pipelines.stages.windows import windows
from little_monster.platform.engines.protocols import Embedder

BATCH = 64


PATH_CHARACTERS = 160
"""A path of headings says what a passage is about; a longer one would say it in the place of the passage."""


def embedded_text(headings: Sequence[str], content: str) -> str:
    """Return a passage as the embedding model reads it: the path of its headings, an empty line, the passage.

    Headings that the passage itself begins with are not said twice; of a long path the inner end stays.
    """
    path = _path(headings, content)
    return f"{path}\n\n{content}" if path else content


def _path(headings: Sequence[str], content: str) -> str:
    titles = [" ".join(title.split()) for title in headings]
    opening = " ".join(content[: 2 * sum(map(len, titles)) + 2 * len(titles)].split()) + " "
    said = (first for first in range(len(titles)) if opening.startswith(" ".join(titles[first:]) + " "))
    path = " > ".join(titles[: next(said, None)])
    if len(path) <= PATH_CHARACTERS:
        return path
    cut = path[-PATH_CHARACTERS:]
    return cut.partition(" ")[2] or cut


async def embed_whole(embedder: Embedder, texts: Sequence[str], *, source: str = "") -> list[list[float]]:
    """Return one vector a text; of a text that is longer than the model reads, that of its windows."""
    if not texts:
        return []
    cut = await asyncio.to_thread(windows, texts, await embedder.describe(source))
    made = numpy.asarray(await embedder.embed(cut.texts, source=source))
    vectors: list[list[float]] = cut.join(made).tolist()
    return vectors


async def embed_batches(
    embedder: Embedder, texts: Sequence[str], *, source: str = "", batch: int = BATCH
) -> AsyncIterator[tuple[int, list[list[float]]]]:
    """Yield (index of the first text, one vector a text) for `batch` texts at a time, in order.

    Batches bound memory and messages, let progress be seen, and let a question in between.
    """
    for first in range(0, len(texts), batch):
        yield first, await embed_whole(embedder, texts[first : first + batch], source=source)
