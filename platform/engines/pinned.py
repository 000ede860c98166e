"""An embedder that knows one model, for what must not change its model halfway."""

from collections.abc import Sequence
from dataclasses import dataclass

from little_monster.platform.engines.protocols import Embedder, EmbedderInfo


@dataclass(frozen=True, slots=True)
class PinnedEmbedder:
    """An `Embedder` whose configured model, as its callers see it, is `model`."""

    embedder: Embedder
    model: str

    async def describe(self, source: str = "") -> EmbedderInfo:
        """Say which model this is."""
        return await self.embedder.describe(source or self.model)

    async def load(self, source: str) -> None:
        """Have a model ready before its first texts come."""
        await self.embedder.load(source or self.model)

    async def embed(
        self, texts: Sequence[str], *, source: str = "", urgent: bool = False
    ) -> list[list[float]]:
        """Return one vector a text."""
        return await self.embedder.embed(texts, source=source or self.model, urgent=urgent)
