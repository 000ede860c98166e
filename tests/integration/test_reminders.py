"""Reminders become notifications once each, whoever sends them and whatever happens to who does."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from little_monster.db.models.notifications import Notification
from little_monster.db.models.planner_events import PlannerEvent
from little_monster.db.repositories import notifications, planner_events
from little_monster.db.session import Database
from little_monster.platform.services.planner import reminders
from little_monster.platform.services.planner.drafts import Draft
from little_monster.platform.services.planner.events import create_event, read_event, update_event
from little_monster.platform.services.planner.reminders import emit_due

# An hour from now, which is when events are planned.
NOW = datetime.now(UTC).replace(microsecond=0)
START = NOW + timedelta(hours=1)


async def plan(database: Database, owner: UUID, **fields: Any) -> PlannerEvent:
    draft = {"title": "Optics", "start_date": START, "reminder_minutes": [10], **fields}
    return await create_event(database, owner, Draft(**draft))


async def told(database: Database, owner: UUID) -> list[Notification]:
    async with database.session(owner) as session:
        return (await notifications.list(session, limit=1000))[::-1]


async def test_a_reminder_goes_out_when_it_is_due(database: Database, user_id: UUID) -> None:
    event = await plan(database, user_id, location="Room 1", type="exam", time_zone="Europe/Berlin")
    due = START - timedelta(minutes=10)
    assert (event.next_reminder_at, event.next_reminder_for) == (due, START)
    await emit_due(database, due - timedelta(seconds=1))
    assert await told(database, user_id) == []
    await emit_due(database, due)
    await emit_due(database, due + timedelta(hours=2))
    (found,) = await told(database, user_id)
    assert (found.kind, found.title, found.body) == ("reminder", "Optics", "Room 1")
    assert (found.subject_id, found.read_at) == (event.id, None)
    assert datetime.fromisoformat(found.data.pop("starts_at")) == START
    assert datetime.fromisoformat(found.data.pop("due_at")) == due
    assert found.data == {
        "event_id": str(event.id),
        "type": "exam",
        "time_zone": "Europe/Berlin",
        "all_day": False,
    }
    assert found.id.version == 7
    made_ms = found.id.int >> 80
    assert abs(made_ms - datetime.now(UTC).timestamp() * 1000) < 60_000
    after = await read_event(database, user_id, event.id)
    assert (after.next_reminder_at, after.updated_at) == (None, event.updated_at)


async def test_each_occurrence_and_each_reminder_of_it(database: Database, user_id: UUID) -> None:
    event = await plan(database, user_id, recurrence="FREQ=DAILY;COUNT=3", reminder_minutes=[10, 30])
    for minutes in range(0, 4 * 24 * 60, 15):
        await emit_due(database, NOW + timedelta(minutes=minutes))
    starts = [datetime.fromisoformat(one.data["starts_at"]) for one in await told(database, user_id)]
    days = [START + timedelta(days=number) for number in range(3)]
    assert starts == [day for day in days for _ in range(2)]
    assert (await read_event(database, user_id, event.id)).next_reminder_at is None


@pytest.mark.parametrize(("frequency", "days"), [("DAILY", 1), ("WEEKLY", 7)])
async def test_reminders_of_two_occurrences_at_one_moment_are_both_told(
    database: Database, user_id: UUID, frequency: str, days: int
) -> None:
    between = timedelta(days=days)
    minutes = [0, days * 24 * 60]
    await plan(database, user_id, recurrence=f"FREQ={frequency};COUNT=4", reminder_minutes=minutes)
    for number in range(5):
        await emit_due(database, START + number * between)
    found = [
        (datetime.fromisoformat(one.data["due_at"]), datetime.fromisoformat(one.data["starts_at"]))
        for one in await told(database, user_id)
    ]
    starts = [START + number * between for number in range(4)]
    # The day before the first was over when it was planned.
    before = [(start - between, start) for start in starts[1:]]
    assert sorted(found) == sorted([*before, *((start, start) for start in starts)])


@pytest.mark.parametrize("rule", [None, "FREQ=DAILY"])
async def test_after_a_long_silence_what_has_begun_is_not_told(
    database: Database, user_id: UUID, rule: str | None
) -> None:
    event = await plan(database, user_id, recurrence=rule)
    late = START + timedelta(days=30, minutes=6)
    await emit_due(database, late)
    assert await told(database, user_id) == []
    after = await read_event(database, user_id, event.id)
    following = START + timedelta(days=31) - timedelta(minutes=10)
    assert after.next_reminder_at == (following if rule else None)


async def test_a_reminder_that_is_late_is_told_before_its_start(database: Database, user_id: UUID) -> None:
    await plan(database, user_id, start_date=START + timedelta(days=2), reminder_minutes=[24 * 60])
    await emit_due(database, START + timedelta(days=2, minutes=4))
    assert len(await told(database, user_id)) == 1


async def test_a_change_before_a_reminder_goes_out_does_not_lose_it(
    database: Database, user_id: UUID, postgres: Any
) -> None:
    event, now = await plan(database, user_id), datetime.now(UTC).replace(microsecond=0)
    # It became due a minute ago, and no worker has come by.
    owner = await asyncpg.connect(postgres.owner_url)
    await owner.execute(
        "UPDATE planner_events SET start_date = $2, end_date = $2, next_reminder_for = $2,"
        " next_reminder_at = $3 WHERE id = $1",
        event.id,
        now + timedelta(minutes=9),
        now - timedelta(minutes=1),
    )
    await owner.close()
    before = await read_event(database, user_id, event.id)
    change = {"title": "Waves"}
    after = await update_event(database, user_id, event.id, change, check=lambda _: None)
    assert after.next_reminder_at == before.next_reminder_at is not None
    await emit_due(database, datetime.now(UTC))
    assert [one.title for one in await told(database, user_id)] == ["Waves"]


async def test_many_workers_at_once_send_each_reminder_once(database: Database, new_user: Any) -> None:
    owners = [await new_user() for _ in range(4)]
    for owner in owners:
        for number in range(15):
            await plan(database, owner, title=f"E{number}")
    await asyncio.gather(*(emit_due(database, START) for _ in range(6)))
    for owner in owners:
        titles = sorted(one.title for one in await told(database, owner))
        assert titles == sorted(f"E{number}" for number in range(15))


async def test_a_worker_that_dies_in_the_middle_loses_no_reminder(
    database: Database, user_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = await plan(database, user_id, recurrence="FREQ=DAILY")

    async def die(*_arguments: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(planner_events, "schedule_reminders", die)
        with pytest.raises(asyncio.CancelledError):
            await emit_due(database, START)
    assert await told(database, user_id) == []
    assert (await read_event(database, user_id, event.id)).next_reminder_at == event.next_reminder_at
    await emit_due(database, START)
    assert len(await told(database, user_id)) == 1


async def test_clocks_that_disagree_tell_nobody_twice(database: Database, user_id: UUID) -> None:
    event = await plan(database, user_id)
    await emit_due(database, START)
    # A service whose clock is behind computes the same reminder again.
    async with database.session(user_id) as session:
        row = await planner_events.get(session, event.id, for_update=True)
        assert row is not None
        row.next_reminder_at, row.next_reminder_for = event.next_reminder_at, event.next_reminder_for
    await emit_due(database, START)
    assert len(await told(database, user_id)) == 1


async def test_what_is_done_or_moved_is_not_reminded_of(database: Database, user_id: UUID) -> None:
    done, moved = [await plan(database, user_id, title=title) for title in ("done", "moved")]
    await update_event(database, user_id, done.id, {"is_completed": True}, check=lambda _: None)
    later = {"start_date": START + timedelta(days=1), "end_date": None}
    await update_event(database, user_id, moved.id, later, check=lambda _: None)
    await emit_due(database, START)
    assert await told(database, user_id) == []
    await emit_due(database, START + timedelta(days=1))
    assert [one.title for one in await told(database, user_id)] == ["moved"]


async def test_an_event_that_cannot_be_read_holds_up_no_other(
    database: Database, user_id: UUID, postgres: Any
) -> None:
    broken = await plan(database, user_id, recurrence="FREQ=DAILY", title="broken")
    await plan(database, user_id, title="whole")
    owner = await asyncpg.connect(postgres.owner_url)
    await owner.execute("UPDATE planner_events SET time_zone = 'Mars/Olympus' WHERE id = $1", broken.id)
    await owner.close()
    await emit_due(database, START)
    assert {one.title for one in await told(database, user_id)} == {"broken", "whole"}


async def test_more_than_a_batch(database: Database, user_id: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reminders, "BATCH", 3)
    for _ in range(8):
        await plan(database, user_id)
    assert await emit_due(database, START) >= 8
    assert len(await told(database, user_id)) == 8


async def test_what_is_due_is_found_by_its_index(postgres: Any) -> None:
    owner = await asyncpg.connect(postgres.owner_url)
    async with owner.transaction():
        await owner.execute("SET LOCAL enable_seqscan = off")
        rows = await owner.fetch(
            "EXPLAIN SELECT id FROM planner_events e WHERE e.next_reminder_at <= now()"
            " ORDER BY e.next_reminder_at, e.id LIMIT 10"
        )
    await owner.close()
    assert "planner_events_due_idx" in "\n".join(row[0] for row in rows)
