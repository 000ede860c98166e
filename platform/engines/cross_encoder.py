"""A cross-encoder of sentence-transformers as a reranking engine, in the process of its caller."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from little_monster.platform.engines.models import resolve_model


class CrossEncoderReranker:
    """A `Reranker` that reads query and text together with one loaded model.

    Args:
        source: `package:NAME/folder`, a folder, or a hub id (`engines.models.resolve_model`).
        batch_size: pairs in one forward pass.

    Raises:
        ConfigurationError: the source does not exist.
    """

    def __init__(self, source: str, *, batch_size: int = 16) -> None:
        # Imported here as PyTorch takes seconds and hundreds of megabytes that only who reranks should pay.
        from sentence_transformers import CrossEncoder
        from torch.nn import Sigmoid

        # The models' own scores may be logits; these are 0 to 1 in the same order.
        self._model: Any = CrossEncoder(resolve_model(source), num_labels=1, activation_fn=Sigmoid())
        self._batch_size = batch_size
        # One at a time: PyTorch uses all cores for each.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rerank")

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return how well each text answers the query, 0 to 1."""
        if not texts:
            return []
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._score, query, texts)

    def _score(self, query: str, texts: Sequence[str]) -> list[float]:
        pairs = [(query, text) for text in texts]
        scores = self._model.predict(pairs, batch_size=self._batch_size, show_progress_bar=False)
        return [float(score) for score in scores]
