"""`Range`, read as RFC 9110 has it."""

import pytest
from fastapi import Request

from little_monster.platform.errors import RangeNotSatisfiable
from little_monster.platform.http.ranges import ByteRange, wanted_range

SIZE, TAG = 100, '"tag"'


def asked(value: str | None, if_range: str | None = None) -> Request:
    given = {"range": value, "if-range": if_range}
    headers = [(name.encode(), one.encode()) for name, one in given.items() if one is not None]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("BYTES=10-19", 10, 20),
        ("bytes= 10-19 ", 10, 20),
        ("bytes=99-", 99, 100),
        ("bytes=0-", 0, 100),
        ("bytes=90-200", 90, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-500", 0, 100),
    ],
)
def test_one_range(value: str, start: int, end: int) -> None:
    found = wanted_range(asked(value), SIZE, TAG)
    assert found == ByteRange(start, end, SIZE)
    assert found.content_range == f"bytes {start}-{end - 1}/100"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=20-10",
        "bytes=0-9,20-29",
        "items=0-9",
        "bytes=0-9x",
        "bytes=٣-٤",
        f"bytes={'9' * 30}-",
    ],
)
def test_all_of_it(value: str | None) -> None:
    assert wanted_range(asked(value), SIZE, TAG) is None


@pytest.mark.parametrize("value", ["bytes=100-", "bytes=100-100", f"bytes={'9' * 18}-", "bytes=-0"])
def test_behind_the_end(value: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as raised:
        wanted_range(asked(value), SIZE, TAG)
    assert raised.value.size == SIZE


@pytest.mark.parametrize("version", ['"other"', 'W/"tag"', "Wed, 21 Oct 2015 07:28:00 GMT", ""])
def test_of_another_version(version: str) -> None:
    assert wanted_range(asked("bytes=0-9", version), SIZE, TAG) is None
    assert wanted_range(asked("bytes=100-", version), SIZE, TAG) is None
    assert wanted_range(asked("bytes=0-9", TAG), SIZE, TAG) is not None
