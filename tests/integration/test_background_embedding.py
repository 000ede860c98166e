"""What nobody waits for is embedded in processes of sessions of their own, with the same vectors."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import cast

import numpy
import psutil
import pytest

from little_monster.platform.engines.background import BackgroundEncoder
from little_monster.platform.engines.local_embedder import Backend, LocalEmbedder, open_local
from little_monster.platform.engines.onnx_embedder import OnnxEngine
from little_monster.platform.engines.sentence_transformer import SentenceTransformerEngine
from little_monster.platform.errors import EngineFailed
from tests.fixtures.embedding import MODEL, TEXTS


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "embedding"


@pytest.fixture(scope="module", params=["onnx-int8", "torch"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return cast(Backend, request.param)


@pytest.fixture(scope="module")
def engine(backend: Backend, cache: Path) -> LocalEmbedder:
    return open_local(MODEL, backend=backend, cache=cache, device="cpu" if backend == "torch" else None)


@pytest.fixture
def background(engine: LocalEmbedder) -> Iterator[BackgroundEncoder]:
    assert isinstance(engine.background, BackgroundEncoder)
    yield engine.background
    engine.background.close()


def _children() -> list[psutil.Process]:
    return [
        process
        for process in psutil.Process().children()
        if "engines.background" in " ".join(process.cmdline())
    ]


def _same(one: numpy.ndarray, other: numpy.ndarray) -> bool:
    """PyTorch sums in another order with another number of threads."""
    return one.shape == other.shape and bool(numpy.allclose(one, other, atol=1e-6))


def test_the_background_gives_the_same_vectors(
    engine: LocalEmbedder, background: BackgroundEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LM_SECURITY__KEY", "secret")
    assert _children() == []
    assert _same(background.encode(TEXTS), engine.encode(TEXTS))
    (child,) = _children()
    assert child.nice() > psutil.Process().nice()
    assert os.getsid(child.pid) == child.pid
    assert "LM_SECURITY__KEY" not in child.environ()
    background.close()
    assert not child.is_running()


def test_a_killed_background_loses_nothing(engine: LocalEmbedder, background: BackgroundEncoder) -> None:
    background.encode(TEXTS)
    _children()[0].kill()
    assert _same(background.encode(TEXTS), engine.encode(TEXTS))
    assert len(_children()) == 1


def test_what_fails_in_the_background_is_told(background: BackgroundEncoder) -> None:
    with pytest.raises(EngineFailed, match="Error"):
        background.encode([object()])  # type: ignore[list-item]
    assert background.encode(TEXTS).shape == (len(TEXTS), 384)


def test_a_background_ends_with_whoever_started_it(
    engine: LocalEmbedder, backend: Backend, cache: Path
) -> None:
    program = f"""
import os, signal
from pathlib import Path
from little_monster.platform.engines.local_embedder import open_local
background = open_local({MODEL!r}, backend={backend!r}, cache=Path({str(cache)!r})).background
background.encode(["x"])
print(background._workers[0]._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    child = int(done.stdout)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(child)


def test_several_processes_share_what_one_would_have(cache: Path) -> None:
    import torch

    engine = SentenceTransformerEngine(MODEL, device="cpu", background=2)
    background = cast(BackgroundEncoder, engine.background)
    with ThreadPoolExecutor(2) as threads:
        found = [*threads.map(background.encode, [TEXTS] * 2)]
    try:
        assert all(_same(vectors, engine.encode(TEXTS)) for vectors in found)
        assert len(_children()) == 2
        assert cast(partial[object], background._workers[0]._load).keywords["threads"] == max(
            torch.get_num_threads() // 2, 1
        )
    finally:
        background.close()


def test_an_accelerator_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    monkeypatch.setattr(SentenceTransformer, "device", property(lambda _: torch.device("cuda")))
    engine = SentenceTransformerEngine(MODEL)
    assert engine.background is engine


def test_a_background_that_cannot_load_says_so(tmp_path: Path) -> None:
    load = partial(OnnxEngine, str(tmp_path / "none"), precision="onnx", cache=tmp_path)
    with pytest.raises(EngineFailed, match="ended"):
        BackgroundEncoder(load, processes=1).encode(TEXTS)
