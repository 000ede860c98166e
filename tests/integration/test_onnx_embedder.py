"""The embedding model under ONNX Runtime: made once, as good as under PyTorch, the same every time."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest

from little_monster.pipelines.stages.tokens import load_counter
from little_monster.platform.engines import onnx_export
from little_monster.platform.engines.onnx_embedder import OnnxEngine
from little_monster.platform.engines.sentence_transformer import SentenceTransformerEngine
from little_monster.platform.errors import ConfigurationError
from tests.fixtures.embedding import MODEL, TEXTS


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "embedding"


@pytest.fixture(scope="module")
def engine(cache: Path) -> OnnxEngine:
    # Two replicas that start at once: one makes it, and nothing else is left.
    with ThreadPoolExecutor(2) as starting:
        folders = [starting.submit(onnx_export.prepare, MODEL, "onnx-int8", cache) for _ in range(2)]
    assert [path.name for path in cache.iterdir()] == [folders[0].result().name]
    assert folders[0].result() == folders[1].result()
    return OnnxEngine(MODEL, precision="onnx-int8", cache=cache, threads=1)


def test_it_is_the_model_that_pytorch_runs(engine: OnnxEngine) -> None:
    exact = SentenceTransformerEngine(MODEL, device="cpu")
    assert engine.info == exact.info
    vectors = engine.encode(TEXTS)
    assert vectors.dtype == numpy.float32
    assert numpy.allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    likeness = (vectors * exact.encode(TEXTS)).sum(axis=1)
    assert likeness.min() > 0.97, likeness


def test_a_vector_does_not_depend_on_its_neighbours(engine: OnnxEngine) -> None:
    together = engine.encode(TEXTS)
    for row, text in enumerate(TEXTS):
        assert (engine.encode([text])[0] == together[row]).all()


def test_several_threads_may_ask(engine: OnnxEngine) -> None:
    expected = engine.encode(TEXTS)
    with ThreadPoolExecutor(4) as threads:
        for vectors in threads.map(lambda _: engine.encode(TEXTS), range(8)):
            assert (vectors == expected).all()


def test_it_reads_as_many_tokens_as_it_says(engine: OnnxEngine) -> None:
    counter, words = load_counter(MODEL), engine.info.max_tokens - 2
    whole = "cell " * (words - 1) + "sugar"
    assert counter.count(whole) + counter.special_tokens == engine.info.max_tokens
    longer, shorter = f"{whole} price", "cell " * (words - 1)
    vectors = engine.encode([whole, longer, shorter])
    assert (vectors[0] == vectors[1]).all()
    assert (vectors[0] != vectors[2]).any()


def test_it_is_made_once(engine: OnnxEngine, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("exported again"))
    again = OnnxEngine(MODEL, precision="onnx-int8", cache=cache, threads=1)
    assert (again.encode(TEXTS[:1]) == engine.encode(TEXTS[:1])).all()


def test_what_cannot_be_exported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ConfigurationError, match="no export for onnx-int8, backend torch can run it"):
        onnx_export.prepare(MODEL, "onnx-int8", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
