"""The count inside one process is the one that Redis makes."""

import pytest

from little_monster.platform import local_limits
from little_monster.platform.local_limits import LocalWindows


class Clock:
    def __init__(self) -> None:
        self.now = 600.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def windows(clock: Clock) -> LocalWindows:
    return LocalWindows(clock)


def passed(windows: LocalWindows, hits: int, limit: int = 10, key: str = "a") -> int:
    return sum(windows.hit(key, limit, 60)[0] >= 0 for _ in range(hits))


def test_so_many_pass_and_say_how_many_are_left(windows: LocalWindows, clock: Clock) -> None:
    clock.now += 20
    answers = [windows.hit("a", 3, 60) for _ in range(4)]
    assert [left for left, _ in answers] == [2, 1, 0, -1]
    assert {wait_ms for _, wait_ms in answers} == {40_000}
    assert windows.hit("b", 3, 60) == (2, 40_000)


@pytest.mark.parametrize(("seconds", "more"), [(60, 0), (90, 5), (105, 8), (120, 10), (179.9, 10), (600, 10)])
def test_the_window_before_fades(windows: LocalWindows, clock: Clock, seconds: float, more: int) -> None:
    assert passed(windows, 20) == 10
    clock.now += seconds
    assert passed(windows, 20) == more


def test_who_waits_as_long_as_told_passes(windows: LocalWindows, clock: Clock) -> None:
    assert passed(windows, 10) == 10
    clock.now += 75
    assert passed(windows, 20) == 3
    left, wait_ms = windows.hit("a", 10, 60)
    assert left == -1
    clock.now += wait_ms / 1000 - 0.01
    assert windows.hit("a", 10, 60)[0] == -1
    clock.now += 0.02
    assert windows.hit("a", 10, 60)[0] == 0


def test_what_is_shut_opens_again(windows: LocalWindows, clock: Clock) -> None:
    windows.shut("a", 90)
    assert windows.hit("a", 10, 60) == (-2, 90_000)
    clock.now += 91
    assert windows.hit("a", 10, 60)[0] == 9


def test_it_does_not_grow_for_ever(windows: LocalWindows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_limits, "MAX_KEYS", 3)
    for key in "abcd":
        assert passed(windows, 2, limit=2, key=key) == 2
    assert [passed(windows, 1, limit=2, key=key) for key in "bcda"] == [0, 0, 0, 1]
