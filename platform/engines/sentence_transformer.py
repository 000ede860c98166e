"""sentence-transformers as an embedding engine, in the process of its caller."""

from typing import TYPE_CHECKING, Any

from little_monster.platform.engines.models import resolve_model
from little_monster.platform.engines.protocols import EmbedderInfo

if TYPE_CHECKING:
    import numpy


class SentenceTransformerEngine:
    """One loaded model.

    Args:
        source: `package:NAME/folder`, a folder, or a hub id (`engines.models.resolve_model`).
        device: `cpu`, `cuda`, ...; None lets PyTorch choose.
        batch_size: texts in one forward pass.
        trust_remote_code: run the code that a model's repository brings.

    Raises:
        ConfigurationError: the source does not exist.
    """

    def __init__(
        self, source: str, *, device: str | None = None, batch_size: int = 32, trust_remote_code: bool = False
    ) -> None:
        # Imported here as PyTorch takes seconds and hundreds of megabytes that only this engine's process
        # should pay.
        from sentence_transformers import SentenceTransformer

        self._model: Any = SentenceTransformer(
            resolve_model(source), device=device, trust_remote_code=trust_remote_code
        )
        self._batch_size = batch_size
        dimension = self._model.get_embedding_dimension()
        self.info = EmbedderInfo(
            model=_model_name(source),
            source=source,
            dimension=dimension,
            max_tokens=self._model.max_seq_length,
        )

    def encode(self, texts: list[str]) -> "numpy.ndarray":
        """Return float32 vectors of shape (len(texts), dimension), each of length 1. Blocks."""
        vectors: numpy.ndarray = self._model.encode(
            texts,
            batch_size=self._batch_size,
            convert_to_numpy=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return vectors


def _model_name(source: str) -> str:
    parts = source.removeprefix("package:").rstrip("/").split("/")
    return parts[0] if parts[-1] == "model" else parts[-1]
