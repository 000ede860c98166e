"""Time zones by their IANA names, and what clocks show there."""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones


@lru_cache(1)
def _names() -> frozenset[str]:
    return frozenset(available_timezones())


def is_zone(name: str) -> bool:
    """Say whether it is the name of a time zone. Unlike `ZoneInfo`, this opens no file for a wrong one."""
    return name in _names()


def to_utc(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment at which clocks in `zone` show `wall`: the first one when they do so twice. A time
    that is skipped is read as if the clock had not been changed yet (RFC 5545, section 3.3.5).
    """
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


def exists(wall: datetime, zone: ZoneInfo) -> bool:
    """Say whether clocks in `zone` ever show `wall`: not when they are put forward past it."""
    return to_utc(wall, zone).astimezone(zone).replace(tzinfo=None) == wall


def to_wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return what clocks in `zone` show at a moment, without a time zone."""
    return moment.astimezone(zone).replace(tzinfo=None)
