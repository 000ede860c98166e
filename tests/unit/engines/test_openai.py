"""The endpoint engine against a server on a real socket that behaves, and misbehaves, as such servers do."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from little_monster.platform.engines.openai import OpenAIChatModel, OpenAIEmbedder
from little_monster.platform.engines.protocols import ChatRequest, EmbedderInfo
from little_monster.platform.errors import EngineFailed, InvalidInput, ProblemError, Unavailable
from tests.fixtures.servers import serve

REQUEST = ChatRequest("ours", {"messages": [{"role": "user", "content": "hi"}], "stream": True}, "request-1")

seen: dict[str, Any] = {}
app = FastAPI()


def frame(text: str) -> str:
    return f"data: {json.dumps({'choices': [{'delta': {'content': text}}]})}\n\n"


@app.get("/v1/models")
async def models() -> dict[str, Any]:
    return {"data": []}


@app.post("/v1/chat/completions")
async def chat(request: Request) -> Response:
    body = await request.json()
    seen.update(body=body, headers=dict(request.headers), aborted=False)
    if body["model"].startswith("status-"):
        return JSONResponse({"error": {"message": "because"}}, int(body["model"].removeprefix("status-")))
    if not body["stream"]:
        return JSONResponse({"object": "chat.completion", "choices": []})
    return StreamingResponse(_parts(body["model"]), media_type="text/event-stream")


@app.post("/v1/embeddings")
async def embeddings(request: Request) -> dict[str, Any]:
    texts = (await request.json())["input"]
    items = [{"index": at, "embedding": [3.0, 4.0 * (at + 1)]} for at in range(len(texts))]
    return {"data": items[::-1]}


async def _parts(model: str) -> AsyncIterator[str]:
    try:
        if model == "messy":
            for part in (
                ": ping\r\n\r\n",
                frame("a")[:9],
                frame("a")[9:-1],
                "\n" + frame("b").replace("data: ", "data:"),
            ):
                yield part
                await asyncio.sleep(0.01)
            yield "event: x\n" + frame("c").replace("\n", "\r\n") + "data: [DONE]\r\n\r\n"
            return
        yield frame("a")
        if model == "broken":
            return
        while model == "endless":
            await asyncio.sleep(0.01)
            yield frame("a")
        yield frame("b")
        yield "data: [DONE]\n\n"
    except asyncio.CancelledError:
        seen["aborted"] = True
        raise


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(app) as address:
        yield f"{address}/v1"


async def collect(model: OpenAIChatModel) -> list[str]:
    return [frames async for frames in model.stream(REQUEST)]


@pytest.mark.parametrize("model", ["good", "messy"])
async def test_whole_frames_come_out_however_they_arrive(url: str, model: str) -> None:
    parts = await collect(OpenAIChatModel(url, "key", model))
    text = "".join(parts)
    assert all(part.startswith("data: ") and part.endswith("\n\n") for part in parts)
    letters = "abc" if model == "messy" else "ab"
    assert text == "".join(map(frame, letters)) + "data: [DONE]\n\n"


async def test_the_request_is_the_callers_with_the_endpoints_name(url: str) -> None:
    await collect(OpenAIChatModel(url, "key", "good"))
    assert seen["body"] == {**REQUEST.body, "model": "good", "stream": True}
    assert seen["headers"]["authorization"] == "Bearer key"
    assert seen["headers"]["x-request-id"] == "request-1"
    await OpenAIChatModel(url, None, "good").complete(REQUEST)
    assert "authorization" not in seen["headers"]
    assert seen["body"]["stream"] is False


async def test_closing_aborts_the_request_there(url: str) -> None:
    stream = OpenAIChatModel(url, None, "endless").stream(REQUEST)
    assert await anext(stream) == frame("a")
    await stream.aclose()
    for _ in range(200):
        if seen["aborted"]:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the endpoint went on")


async def test_an_answer_that_breaks_off_is_a_failure(url: str) -> None:
    with pytest.raises(EngineFailed):
        await collect(OpenAIChatModel(url, None, "broken"))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidInput),
        (422, InvalidInput),
        (401, EngineFailed),
        (404, EngineFailed),
        (500, EngineFailed),
        (429, Unavailable),
        (503, Unavailable),
    ],
)
async def test_a_status_becomes_the_error_for_our_caller(
    url: str, status: int, error: type[ProblemError]
) -> None:
    model = OpenAIChatModel(url, None, f"status-{status}")
    for call in (collect(model), model.complete(REQUEST)):
        with pytest.raises(error) as caught:
            await call
        assert type(caught.value) is error
        assert (caught.value.detail == "because") is (error is InvalidInput)


async def test_nobody_there_is_unavailable(unused_tcp_port: int) -> None:
    model = OpenAIChatModel(f"http://127.0.0.1:{unused_tcp_port}/v1", None, "any")
    for call in (collect(model), model.complete(REQUEST), model.check()):
        with pytest.raises(Unavailable):
            await call


async def test_check_passes_when_the_endpoint_answers(url: str) -> None:
    await OpenAIChatModel(url, None, "any").check()


async def test_vectors_come_in_order_and_have_length_one(url: str) -> None:
    embedder = OpenAIEmbedder(url, None, EmbedderInfo("m", "tokenizer", 2, 512))
    vectors = await embedder.embed(["a", "b"] * 50)
    assert len(vectors) == 100
    assert vectors[0] == pytest.approx([0.6, 0.8])
    assert all(sum(value * value for value in vector) == pytest.approx(1) for vector in vectors)


async def test_a_wrong_dimension_is_a_failure(url: str) -> None:
    with pytest.raises(EngineFailed):
        await OpenAIEmbedder(url, None, EmbedderInfo("m", "t", 3, 512)).embed(["a"])
