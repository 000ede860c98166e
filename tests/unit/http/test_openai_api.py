"""`/v1` as the `openai` package sees it, over a real socket, with engines that are fakes."""

import base64
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest

from little_monster.platform.engines.fakes import FakeChatModel, FakeEmbedder, FakeModerator
from little_monster.platform.engines.protocols import ChatModel
from little_monster.platform.errors import EngineFailed, InvalidInput
from little_monster.platform.http.app import create_app
from little_monster.platform.resources import Resources, open_resources
from little_monster.platform.security import AccessTokens, Principal
from little_monster.platform.settings import ApiSettings, Settings
from tests.fixtures.servers import serve

MODELS: Mapping[str, ChatModel] = {
    "small": FakeChatModel("The cell is the unit of life."),
    "org/large": FakeChatModel("I am large."),
    "refusing": FakeChatModel(refuses=InvalidInput("The prompt is too long.", code="invalid_request")),
    "failing": FakeChatModel("Half an", fails=EngineFailed("The model failed.")),
    "slow": FakeChatModel("word " * 2000, delay_s=0.005),
}
ASK: Any = [{"role": "user", "content": "What is a cell?"}]


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    def resources() -> AbstractAsyncContextManager[Resources]:
        return open_resources(
            settings.model_copy(update={"api": ApiSettings()}),
            chat_models=MODELS,
            embedder=FakeEmbedder(),
            retriever=SimpleNamespace(),
            moderator=FakeModerator("bomb"),
            index=SimpleNamespace(),
        )

    with serve(create_app(resources)) as address:
        yield f"{address}/v1"


@pytest.fixture(scope="module")
def client(url: str, settings: Settings) -> Iterator[openai.OpenAI]:
    key = AccessTokens(settings.auth).issue(Principal(uuid4(), "student"))
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=20) as client:
        yield client


def test_models_are_listed_the_default_first(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == [*MODELS, "fake-embedder"]
    assert client.models.retrieve("org/large").id == "org/large"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("unknown")
    assert caught.value.code == "model_not_found"


def test_a_completion(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="small", messages=ASK, temperature=0.5, seed=7)
    assert completion.choices[0].message.content == "The cell is the unit of life."
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 7
    body = MODELS["small"].requests[-1].body  # type: ignore[attr-defined]
    assert (body["temperature"], body["seed"], body["messages"]) == (0.5, 7, ASK)


def test_a_stream_is_the_engines(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="small",
        messages=ASK,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"top_k": 3},
    )
    chunks = list(stream)
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == "The cell is the unit of life."
    assert chunks[-1].usage is not None
    assert MODELS["small"].requests[-1].body["top_k"] == 3  # type: ignore[attr-defined]


def test_the_frames_pass_through_untouched(url: str, client: openai.OpenAI) -> None:
    headers = {"Authorization": f"Bearer {client.api_key}", "X-Request-ID": "feed-0001"}
    body = {"model": "small", "messages": ASK, "stream": True}
    response = httpx.post(f"{url}/chat/completions", json=body, headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-request-id"] == "feed-0001"
    assert "chatcmpl-feed-0001" in response.text
    assert response.text.endswith("data: [DONE]\n\n")
    assert "keep-alive" not in response.text


def test_a_refused_request_is_an_error_before_the_stream_begins(client: openai.OpenAI) -> None:
    for stream in (True, False):
        with pytest.raises(openai.UnprocessableEntityError, match="too long"):
            client.chat.completions.create(model="refusing", messages=ASK, stream=stream)


def test_a_failure_in_the_middle_is_an_error_of_the_stream(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="failing", messages=ASK, stream=True)
    texts = [next(stream).choices[0].delta.content for _ in range(2)]
    assert texts == ["Half ", "an"]
    with pytest.raises(openai.APIError, match="The model failed"):
        next(stream)


def test_a_client_that_goes_aborts_the_engine(client: openai.OpenAI) -> None:
    slow = MODELS["slow"]
    assert isinstance(slow, FakeChatModel)
    with client.chat.completions.create(model="slow", messages=ASK, stream=True) as stream:
        next(iter(stream))
    assert _within(3, lambda: slow.closed == 1)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": "unknown", "messages": ASK}, 404),
        ({"model": "unknown", "messages": ASK, "stream": True}, 404),
        ({"model": "small", "messages": []}, 422),
        ({"messages": ASK}, 422),
        ({"model": "small", "messages": "hello"}, 422),
    ],
)
def test_wrong_requests_have_openais_shape(url: str, client: openai.OpenAI, body: Any, status: int) -> None:
    response = httpx.post(
        f"{url}/chat/completions", json=body, headers={"Authorization": f"Bearer {client.api_key}"}
    )
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_an_adapter_is_asked_for_through_its_model(client: openai.OpenAI) -> None:
    client.chat.completions.create(model="small:biology", messages=ASK)
    assert MODELS["small"].requests[-1].model == "small:biology"  # type: ignore[attr-defined]


def test_embeddings_as_floats_and_base64_are_the_same(client: openai.OpenAI) -> None:
    texts = ["cells", "cell membranes"]
    # The package itself asks for base64 when nothing is said, and decodes it.
    decoded = client.embeddings.create(model="fake-embedder", input=texts)
    floats = client.embeddings.create(model="fake-embedder", input=texts, encoding_format="float")
    assert [item.index for item in floats.data] == [0, 1]
    for one, other in zip(decoded.data, floats.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert floats.usage.prompt_tokens > 0


def test_base64_is_little_endian_float32(url: str, client: openai.OpenAI) -> None:
    body = {"model": "fake-embedder", "input": "cells", "encoding_format": "base64"}
    headers = {"Authorization": f"Bearer {client.api_key}"}
    answer = httpx.post(f"{url}/embeddings", json=body, headers=headers).json()
    raw = base64.b64decode(answer["data"][0]["embedding"])
    assert sum(value * value for value in struct.unpack("<64f", raw)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"model": "other"}, openai.NotFoundError),
        ({"dimensions": 7}, openai.UnprocessableEntityError),
        ({"input": ""}, openai.UnprocessableEntityError),
        ({"input": []}, openai.UnprocessableEntityError),
        ({"input": ["x"] * 2049}, openai.UnprocessableEntityError),
        ({"input": [1, 2, 3]}, openai.UnprocessableEntityError),
    ],
)
def test_wrong_embedding_requests(client: openai.OpenAI, more: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        client.embeddings.create(**{"model": "fake-embedder", "input": "x", **more})


def test_moderation(client: openai.OpenAI) -> None:
    results = client.moderations.create(input=["a cell", "a bomb"]).results
    assert [result.flagged for result in results] == [False, True]


def test_a_wrong_key_is_refused(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.chat.completions.create(model="small", messages=ASK, stream=True)
        assert caught.value.type == "authentication_error"
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
