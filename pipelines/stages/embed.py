"""Texts to vectors, a batch at a time."""

from collections.abc import AsyncIterator, Sequence

from little_monster.platform.engines.protocols import Embedder

BATCH = 64


def embedded_text(headings: Sequence[str], content: str) -> str:
    """Return a passage as the embedding model reads it: the path of its headings, then the passage."""
    return f"{' > '.join(headings)}\n\n{content}" if headings else content


async def embed_batches(
    embedder: Embedder, texts: Sequence[str], *, batch: int = BATCH
) -> AsyncIterator[tuple[int, list[list[float]]]]:
    """Yield (index of the first text, one vector a text) for `batch` texts at a time, in order.

    Batches bound memory and messages, let progress be seen, and let a question in between.
    """
    for first in range(0, len(texts), batch):
        yield first, await embedder.embed(texts[first : first + batch])
