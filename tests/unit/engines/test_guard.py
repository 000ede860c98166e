"""A guard model's verdicts become scores."""

import math
from typing import Any

import pytest

from little_monster.platform.engines.fakes import FakeChatModel
from little_monster.platform.engines.guard import CATEGORIES, GuardModerator, read_verdict
from little_monster.platform.errors import EngineFailed


def completion(content: str, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content}, **choice}]}


async def test_each_text_is_asked_alone() -> None:
    model = FakeChatModel("\n\nunsafe\nS1,S10")
    results = await GuardModerator(model, "guard").classify(["one", "two"])
    assert [result.categories for result in results] == [("violent_crimes", "hate")] * 2
    assert [request.body["messages"] for request in model.requests] == [
        [{"role": "user", "content": "one"}],
        [{"role": "user", "content": "two"}],
    ]
    assert {request.model for request in model.requests} == {"guard"}


def test_safe_scores_every_category_zero() -> None:
    result = read_verdict(completion("\n\nsafe"))
    assert not result.flagged
    assert result.scores == dict.fromkeys(CATEGORIES.values(), 0.0)


def test_the_score_is_the_probability_of_unsafe() -> None:
    tokens = {"content": [{"token": "\n\n", "logprob": 0.0}, {"token": "unsafe", "logprob": math.log(0.75)}]}
    result = read_verdict(completion("unsafe\nS2", logprobs=tokens))
    assert result.scores["non_violent_crimes"] == pytest.approx(0.75)
    assert result.scores["hate"] == 0.0


def test_unsafe_without_a_known_category_is_still_flagged() -> None:
    assert read_verdict(completion("unsafe")).categories == ("unsafe",)
    assert read_verdict(completion("unsafe\nS99")).categories == ("S99",)


@pytest.mark.parametrize("content", ["", "I cannot help with that.", "safety first"])
def test_another_model_is_found_out(content: str) -> None:
    with pytest.raises(EngineFailed):
        read_verdict(completion(content))
