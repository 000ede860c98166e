"""The embedding replica: which model it asks, and how its errors reach who calls it."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from ray.exceptions import RayActorError, RayTaskError

from little_monster.deployments import embedding, handles
from little_monster.deployments.embedding import Embedding
from little_monster.deployments.options import EmbeddingOptions
from little_monster.platform.engines.protocols import EmbedderInfo
from little_monster.platform.errors import ConfigurationError, Unavailable


@dataclass
class Engine:
    """Its vectors tell the model, the length of the text, and whether they were made in the background."""

    source: str
    in_background: bool = False

    @property
    def info(self) -> EmbedderInfo:
        return EmbedderInfo(self.source, self.source, 3, 256)

    @property
    def background(self) -> "Engine":
        return Engine(self.source, in_background=True)

    def encode(self, texts: list[str]) -> numpy.ndarray:
        return numpy.array(
            [[ord(self.source[0]), len(text), self.in_background] for text in texts], numpy.float32
        )


@pytest.fixture
async def replica(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Embedding:
    def open_local(source: str, **_options: Any) -> Engine:
        if source == "missing":
            raise ConfigurationError("model source missing: no such folder")
        return Engine(source)

    monkeypatch.setenv("LM_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(embedding, "open_local", open_local)
    monkeypatch.setattr(embedding, "setup_replica_logs", lambda _: None)
    made = Embedding.__new__(Embedding)
    await made.__init__(EmbeddingOptions(source="configured"))  # type: ignore[misc]
    return made


@pytest.mark.parametrize("urgent", [False, True])
async def test_the_source_names_the_model(replica: Embedding, urgent: bool) -> None:
    assert (await replica.describe()).model == "configured"
    assert (await replica.describe("other")).model == "other"
    assert (await replica.embed(["four"], "", urgent)).tolist() == [[ord("c"), 4, not urgent]]
    assert (await replica.embed(["four", "six six"], "other", urgent)).tolist() == [
        [ord("o"), 4, not urgent],
        [ord("o"), 7, not urgent],
    ]


class Handle:
    """Calls a replica as Serve does: an error of it comes as `RayTaskError`."""

    def __init__(self, replica: Any) -> None:
        self._replica = replica

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *args: self._call(name, *args))

    async def _call(self, name: str, *args: Any) -> Any:
        if self._replica is None:
            raise RayActorError
        try:
            return await getattr(self._replica, name)(*args)
        except Exception as error:
            raise RayTaskError(name, "", error).as_instanceof_cause() from None


async def test_through_a_handle(replica: Embedding) -> None:
    embedder = handles.embedder(Handle(replica))  # type: ignore[arg-type]
    await embedder.load("other")
    assert (await embedder.describe("other")).dimension == 3
    assert await embedder.embed(["four"], source="other", urgent=True) == [[ord("o"), 4, 0]]
    assert await embedder.embed([], source="other") == []


async def test_a_model_that_is_not_there_is_not_a_service_that_is_away(replica: Embedding) -> None:
    embedder = handles.embedder(Handle(replica))  # type: ignore[arg-type]
    for call in (
        embedder.load("missing"),
        embedder.describe("missing"),
        embedder.embed(["a"], source="missing"),
    ):
        with pytest.raises(ConfigurationError, match=r"^model source missing: no such folder$"):
            await call
    with pytest.raises(Unavailable):
        await handles.embedder(Handle(None)).describe()  # type: ignore[arg-type]


def test_onnx_runs_on_a_cpu() -> None:
    with pytest.raises(ValueError, match="onnx-int8 runs on a cpu, not on cuda"):
        EmbeddingOptions(backend="onnx-int8", device="cuda")
