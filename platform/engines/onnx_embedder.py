"""A sentence-transformers model run by ONNX Runtime, on the processor of its caller."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy
from tokenizers import Tokenizer

from little_monster.platform.engines import onnx_export
from little_monster.platform.engines.background import BackgroundEncoder
from little_monster.platform.engines.lanes import Encoder
from little_monster.platform.engines.models import model_name
from little_monster.platform.engines.protocols import EmbedderInfo


class OnnxEngine:
    """One loaded model.

    Texts go through it one at a time: a processor gains nothing from batches of passages, no padding is
    computed, and a vector does not depend on its neighbours, as it would where the activations of a batch
    share a scale.

    Args:
        source: `package:NAME/folder`, a folder, or a hub id (`engines.models.resolve_model`).
        precision: `onnx` computes as PyTorch does, `onnx-int8` with weights and products of 8 bits.
        cache: where exported models are kept.
        threads: cores of one call; None: what OMP_NUM_THREADS says, else all.
        background: processes for what nobody waits for, each on a core of its own, which `self.background`
            starts when it is asked.
        trust_remote_code: run the code that a model's repository brings.

    Raises:
        ConfigurationError: the source does not exist or cannot be exported.
    """

    def __init__(
        self,
        source: str,
        *,
        precision: onnx_export.Precision,
        cache: Path,
        threads: int | None = None,
        background: int = 1,
        trust_remote_code: bool = False,
    ) -> None:
        folder = onnx_export.prepare(source, precision, cache, trust_remote_code=trust_remote_code)
        about = json.loads((folder / onnx_export.ABOUT).read_text())
        self._prompt: str = about["prompt"]
        self._inputs: list[str] = about["inputs"]
        self._tokenizer = Tokenizer.from_file(str(folder / onnx_export.TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(about["max_tokens"])
        prompt_tokens = len(self._tokenizer.encode(self._prompt, add_special_tokens=False).ids)
        self._session = _session(folder / onnx_export.MODEL, threads)
        same = partial(OnnxEngine, source, precision=precision, cache=cache, threads=1)
        self.background: Encoder = BackgroundEncoder(same, processes=background)
        self.info = EmbedderInfo(
            model=model_name(source),
            source=source,
            dimension=about["dimension"],
            max_tokens=about["max_tokens"] - prompt_tokens,
        )

    def encode(self, texts: list[str]) -> numpy.ndarray:
        """Return float32 vectors of shape (len(texts), dimension), each of length 1. Blocks; several threads
        may call it.
        """
        vectors: numpy.ndarray = numpy.empty((len(texts), self.info.dimension), numpy.float32)
        for row, text in enumerate(texts):
            vectors[row] = self._encode(text)
        return vectors

    def _encode(self, text: str) -> numpy.ndarray:
        encoding = self._tokenizer.encode(self._prompt + text)
        parts = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        feed = {name: numpy.array([parts[name]], numpy.int64) for name in self._inputs}
        vector: numpy.ndarray = self._session.run(None, feed)[0][0]
        return vector


def _session(model: Path, threads: int | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or int(os.environ.get("OMP_NUM_THREADS", "0"))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin while they wait for work would take it from a model that has some.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
