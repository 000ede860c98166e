"""An embedding model in the process of its caller, by what runs it best."""

from pathlib import Path
from typing import Literal, Protocol

from little_monster.platform.engines.lanes import Encoder
from little_monster.platform.engines.protocols import EmbedderInfo
from little_monster.platform.settings import Settings

Backend = Literal["torch", "onnx", "onnx-int8"]

_EXPORTED = Path("models", "embedding")


class LocalEmbedder(Encoder, Protocol):
    """A loaded model that says which it is.

    `background` gives the same vectors of texts that nobody waits for; it may be the model itself.
    """

    info: EmbedderInfo
    background: Encoder


def exported_models(settings: Settings) -> Path:
    """Return the folder where models that were exported for ONNX Runtime are kept."""
    return settings.data_dir.resolve() / _EXPORTED


def open_local(
    source: str,
    *,
    backend: Backend,
    cache: Path,
    device: str | None = None,
    batch_size: int = 32,
    background: int = 1,
    trust_remote_code: bool = False,
) -> LocalEmbedder:
    """Load a model. Blocks; the options are those of `EmbeddingOptions`, `cache` is `exported_models`,
    `background` how many slices of what nobody waits for are done at once.

    Raises:
        ConfigurationError: there is no such model, or the backend cannot run it.
    """
    # What runs a model is imported only where it does: PyTorch takes seconds and hundreds of megabytes.
    if backend == "torch":
        from little_monster.platform.engines.sentence_transformer import SentenceTransformerEngine

        return SentenceTransformerEngine(
            source,
            device=device,
            batch_size=batch_size,
            background=background,
            trust_remote_code=trust_remote_code,
        )
    from little_monster.platform.engines.onnx_embedder import OnnxEngine

    return OnnxEngine(
        source, precision=backend, cache=cache, background=background, trust_remote_code=trust_remote_code
    )
