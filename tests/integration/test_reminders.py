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


async def test_after_a_long_silence_what_is_over_is_left_out(database: Database, user_id: UUID) -> None:
    event = await plan(database, user_id, recurrence="FREQ=DAILY")
    later = START + timedelta(days=30, hours=1)
    await emit_due(database, later)
    # The one that was next, late as it is, and none of the month in between.
    assert [one.data["due_at"][:16] for one in await told(database, user_id)] == [
        (START - timedelta(minutes=10)).isoformat()[:16]
    ]
    after = await read_event(database, user_id, event.id)
    assert after.next_reminder_at == START + timedelta(days=31) - timedelta(minutes=10)


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
