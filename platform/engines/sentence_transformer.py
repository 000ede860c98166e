"""sentence-transformers as an embedding engine, in the process of its caller."""

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from little_monster.platform.engines.background import BackgroundEncoder
from little_monster.platform.engines.lanes import Encoder
from little_monster.platform.engines.models import model_name, resolve_model
from little_monster.platform.engines.protocols import EmbedderInfo

if TYPE_CHECKING:
    import numpy


class SentenceTransformerEngine:
    """One loaded model.

    Args:
        source: `package:NAME/folder`, a folder, or a hub id (`engines.models.resolve_model`).
        device: `cpu`, `cuda`, ...; None lets PyTorch choose.
        batch_size: texts in one forward pass.
        threads: cores of one call on a processor, in all of this process; None: what PyTorch has.
        background: processes for what nobody waits for, which share those cores and which `self.background`
            starts when it is asked. An accelerator has none: memory there is for one copy, and a processor is
            hardly used beside it.
        trust_remote_code: run the code that a model's repository brings.

    Raises:
        ConfigurationError: the source does not exist.
    """

    def __init__(
        self,
        source: str,
        *,
        device: str | None = None,
        batch_size: int = 32,
        threads: int | None = None,
        background: int = 1,
        trust_remote_code: bool = False,
    ) -> None:
        # Imported here as PyTorch takes seconds and hundreds of megabytes that only this engine's process
        # should pay.
        import torch
        from sentence_transformers import SentenceTransformer

        if threads:
            torch.set_num_threads(threads)
        self._model: Any = SentenceTransformer(
            resolve_model(source), device=device, trust_remote_code=trust_remote_code
        )
        self._batch_size = batch_size
        self.background: Encoder = self
        if self._model.device.type == "cpu":
            same = partial(
                SentenceTransformerEngine,
                source,
                device="cpu",
                batch_size=batch_size,
                threads=max(torch.get_num_threads() // background, 1),
                trust_remote_code=trust_remote_code,
            )
            self.background = BackgroundEncoder(same, processes=background)
        # Its tokenizer is for one thread at a time.
        self._one_call = threading.Lock()
        dimension = self._model.get_embedding_dimension()
        self.info = EmbedderInfo(
            model=model_name(source),
            source=source,
            dimension=dimension,
            max_tokens=self._model.max_seq_length - self._prompt_tokens(),
        )

    def encode(self, texts: list[str]) -> "numpy.ndarray":
        """Return float32 vectors of shape (len(texts), dimension), each of length 1. Blocks; several threads
        may call it, and take turns.
        """
        with self._one_call:
            vectors: numpy.ndarray = self._model.encode(
                texts,
                batch_size=self._batch_size,
                convert_to_numpy=True,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        return vectors

    def _prompt_tokens(self) -> int:
        """Return how many tokens of each text are the prompt that the model's own configuration puts before
        it.
        """
        prompt = self._model.prompts.get(self._model.default_prompt_name or "", "")
        return len(self._model.tokenizer.encode(prompt, add_special_tokens=False))
