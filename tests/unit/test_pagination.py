import base64
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from fastapi import FastAPI, Response
from starlette.requests import Request

from little_monster.platform.errors import InvalidInput
from little_monster.platform.http.pagination import (
    NumberPosition,
    Page,
    decode_cursor,
    encode_cursor,
    listing,
)
from tests.fixtures.ids import NOBODYS

NOW = datetime(2026, 11, 22, 12, 30, 15, 123456, tzinfo=UTC)


def test_cursor_comes_back_exactly() -> None:
    key = uuid4()
    assert decode_cursor("", encode_cursor("", (NOW, key))) == (NOW, key)
    assert decode_cursor("", encode_cursor("", 41)) == 41
    for number in ("0", "3.6666666666666667", "9007199254740993", "0.06079271"):
        position = NumberPosition("top_rated", Decimal(number), key)
        assert decode_cursor("", encode_cursor("", position)) == position


def text_cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense!",
        "",
        "AAAA",
        text_cursor("{}"),
        text_cursor('{"a": 1}'),
        text_cursor('["", true]'),
        text_cursor('["", 99999999999]'),
        text_cursor('["", "2026-01-01T00:00:00"]'),
        text_cursor(f'["", "2026-01-01T00:00:00", "{NOBODYS}"]'),
        text_cursor(f'["", "0001-01-01T00:00:00+14:00", "{NOBODYS}"]'),
        text_cursor('["", "2026-01-01T00:00:00+00:00", 7]'),
        text_cursor("[" * 90),
        text_cursor(f'["", "views", "many", "{NOBODYS}"]'),
        text_cursor(f'["", "views", "NaN", "{NOBODYS}"]'),
        text_cursor(f'["", "views", "-Infinity", "{NOBODYS}"]'),
        text_cursor(f'["", "views", "1e400", "{NOBODYS}"]'),
        text_cursor(f'["", "views", "1e-400", "{NOBODYS}"]'),
        text_cursor(f'["", "views", "9223372036854775808", "{NOBODYS}"]'),
        text_cursor('["", "views", "1", 7]'),
        text_cursor(f'["", "views", "1", "{NOBODYS}", 4]'),
    ],
)
def test_foreign_cursors_are_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_cursor("", cursor)
    assert caught.value.code == "invalid_cursor"


def test_a_cursor_is_good_in_its_own_list_only() -> None:
    for position in ((NOW, uuid4()), 41, NumberPosition("views", Decimal(3), uuid4())):
        cursor = encode_cursor("videos", position)
        assert decode_cursor("videos", cursor) == position
        assert len(cursor) < 150, "the longest that is accepted has 200 characters"
        for other in ("events", "", "video"):
            with pytest.raises(InvalidInput):
                decode_cursor(other, cursor)


def test_cursor_of_another_kind_of_list_is_refused() -> None:
    with pytest.raises(InvalidInput):
        _ = Page(20, encode_cursor("", 3)).after
    with pytest.raises(InvalidInput):
        _ = Page(20, encode_cursor("", (NOW, uuid4()))).after_index
    views = encode_cursor("", NumberPosition("views", Decimal(3), uuid4()))
    for cursor in (views, encode_cursor("", 3), encode_cursor("", (NOW, uuid4()))):
        with pytest.raises(InvalidInput):
            Page(20, cursor).after_number("top_rated")
    with pytest.raises(InvalidInput):
        _ = Page(20, views).after
    with pytest.raises(InvalidInput):
        _ = Page(20, views).after_index
    assert Page(20, views).after_number("views") is not None
    assert Page(20, None).after is None
    assert Page(20, None).after_number("views") is None
    assert Page(20, encode_cursor("", 0)).after_index == 0


def page_of(query: str, page: Page, rows: list[int]) -> tuple[dict[str, object], str]:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/things",
        "query_string": query.encode(),
        "headers": [],
        "app": FastAPI(),
    }
    response = Response()
    body = listing(Request(scope), response, page, rows, view=lambda row: row * 10, position=lambda row: row)
    return body, response.headers["link"]


def test_page_in_the_middle_links_on() -> None:
    body, header = page_of("limit=2&kind=a", Page(2, None, "things"), [1, 2, 3])
    cursor = encode_cursor("things", 2)
    assert body["items"] == [10, 20]
    assert body["next_cursor"] == cursor
    assert f'</api/v1/things?limit=2&kind=a&cursor={cursor}>; rel="next"' in header
    assert '</api/v1/things?limit=2&kind=a>; rel="first"' in header


def test_last_page_has_no_next() -> None:
    body, header = page_of("", Page(3), [1, 2, 3])
    assert body["items"] == [10, 20, 30]
    assert body["next_cursor"] is None
    assert "next" not in header
