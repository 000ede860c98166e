"""What is kept of where a request comes from."""

import pytest

from little_monster.platform.origin import Origin


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("127.0.0.1", "127.0.0.0/24"),
        ("unknown", None),
        ("", None),
        (None, None),
        ("192.0.2.77:80", None),
    ],
)
def test_an_address_is_cut_to_its_network(address: str | None, prefix: str | None) -> None:
    assert Origin.of(address, None).address_prefix == prefix


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Mozilla/5.0 (X11)", "Mozilla/5.0 (X11)"),
        ("x" * 5_000, "x" * 200),
        ("a\x00b\nc\x1b[31m", "abc[31m"),
        ("   ", None),
        ("", None),
        (None, None),
    ],
)
def test_a_user_agent_is_cut_to_what_can_be_read(given: str | None, kept: str | None) -> None:
    assert Origin.of(None, given).user_agent == kept
