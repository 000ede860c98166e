"""A sentence-transformers model as ONNX Runtime reads it: a folder with graph, tokenizer and what to know.

Made once and kept. That runs as a module in a process of its own, so that the gigabyte it takes goes back and
who embeds needs no PyTorch.
"""

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import structlog

from little_monster.platform.engines.models import resolve_model
from little_monster.platform.errors import ConfigurationError

Precision = Literal["onnx", "onnx-int8"]

MODEL, TOKENIZER, ABOUT = "model.onnx", "tokenizer.json", "embedder.json"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_OUTPUT = "embedding"
_OPSET = 17
_FORMAT = 1
"""Raised whenever what is written here changes."""
_TIMEOUT_S = 900

_log = structlog.get_logger(__name__)


def prepare(source: str, precision: Precision, cache: Path, *, trust_remote_code: bool = False) -> Path:
    """Return the folder of a model in `cache`, made when it is not there. Blocks, seconds when it makes it.

    Raises:
        ConfigurationError: there is no such model, or it cannot be exported.
    """
    target = cache / f"{precision}-{_fingerprint(source)}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(cache):
        # Another replica may just have made it.
        if not target.is_dir():
            _make(source, precision, target, trust_remote_code=trust_remote_code)
    return target


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(source: str, precision: Precision, target: Path, *, trust_remote_code: bool) -> None:
    new = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        _run(source, precision, new, trust_remote_code=trust_remote_code)
        new.rename(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    _log.info("embedding_model_exported", source=source, precision=precision, folder=str(target))


def _fingerprint(source: str) -> str:
    """Return what changes with the model: of its files, or the hub's revision."""
    resolved = resolve_model(source)
    digest = hashlib.sha256(f"{_FORMAT} {_content(Path(resolved)) or _revision(resolved)}".encode())
    return digest.hexdigest()[:16]


def _content(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(folder)).encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest() if folder.is_dir() else ""


def _revision(hub_id: str) -> str:
    from huggingface_hub import snapshot_download

    # The folder of a snapshot bears the name of its revision; the weights are the export's to fetch.
    return Path(snapshot_download(hub_id, allow_patterns=["config.json"])).name


def _run(source: str, precision: Precision, target: Path, *, trust_remote_code: bool) -> None:
    command = [sys.executable, "-m", __name__, source, str(target), "--precision", precision]
    done = subprocess.run(
        command + ["--trust-remote-code"] * trust_remote_code,
        check=False,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigurationError(
            f"embedding model {source}: no export for {precision}, backend torch can run it: {reason}"
        )


def export(source: str, target: Path, precision: Precision, *, trust_remote_code: bool = False) -> None:
    """Write a model to the folder `target`: from the tokens of one text to its vector of length 1."""
    from sentence_transformers import SentenceTransformer

    model: Any = SentenceTransformer(
        resolve_model(source),
        device="cpu",
        trust_remote_code=trust_remote_code,
        # The form of attention that ONNX Runtime knows and joins to one step.
        model_kwargs={"attn_implementation": "eager"},
    )
    plain = target / f"plain-{MODEL}"
    names = _write_graph(model, plain)
    _join_steps(model, plain)
    if precision == "onnx-int8":
        _quantize(plain, target / MODEL)
        plain.unlink()
    else:
        plain.rename(target / MODEL)
    model.tokenizer.backend_tokenizer.save(str(target / TOKENIZER))
    about = {
        "dimension": model.get_embedding_dimension(),
        "max_tokens": model.max_seq_length,
        "prompt": model.prompts.get(model.default_prompt_name or "", ""),
        "inputs": names,
    }
    (target / ABOUT).write_text(json.dumps(about))


def _write_graph(model: Any, file: Path) -> list[str]:
    import torch

    features = model.preprocess(["cells divide", "and"])
    names = [name for name in _INPUTS if name in features]

    class Graph(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            read = self.model(dict(zip(names, inputs, strict=True)))
            return torch.nn.functional.normalize(read["sentence_embedding"], p=2, dim=1)

    sizes: dict[str, dict[int, str]] = {name: {0: "batch", 1: "length"} for name in names}
    with torch.inference_mode():
        torch.onnx.export(
            Graph().eval(),
            tuple(features[name] for name in names),
            str(file),
            input_names=names,
            output_names=[_OUTPUT],
            dynamic_axes={**sizes, _OUTPUT: {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
        )
    return names


def _join_steps(model: Any, file: Path) -> None:
    """Join attention, norms and activations to the single steps that ONNX Runtime has for them, in place."""
    from onnxruntime.transformers import optimizer

    config = model[0].auto_model.config
    if config.model_type not in ("bert", "roberta", "xlm-roberta", "distilbert", "mpnet"):
        return
    joined = optimizer.optimize_model(
        str(file),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        # What ONNX Runtime does by itself it does when it loads the model.
        opt_level=0,
    )
    joined.save_model_to_file(str(file))


def _quantize(plain: Path, target: Path) -> None:
    """Make the weights of products 8 bits wide, a scale a column; activations follow at run time.

    Of the weights 7 bits are used: without VNNI the processor adds two products in 16 bits, which 8 would
    overflow.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        str(plain),
        str(target),
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )


def main() -> None:
    """Export what the command line names."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__)
    parser.add_argument("source")
    parser.add_argument("target", type=Path)
    parser.add_argument("--precision", choices=["onnx", "onnx-int8"], required=True)
    parser.add_argument("--trust-remote-code", action="store_true")
    given = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    export(given.source, given.target, given.precision, trust_remote_code=given.trust_remote_code)


if __name__ == "__main__":
    main()
