"""What a worker does beside its jobs: each routine, on real tables."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from croniter import croniter

from little_monster.db.base import new_id
from little_monster.db.models import ModerationStatus
from little_monster.db.repositories import comments
from little_monster.db.session import Database
from little_monster.db.vectors.collections import EdgeCollections
from little_monster.pipelines import export, ingest, reembed, verify
from little_monster.pipelines.ingest import IngestParts
from little_monster.pipelines.worker import WorkerParts, new_consumer, routines, works
from little_monster.platform.cache import open_redis
from little_monster.platform.engines.fakes import FakeEmbedder
from little_monster.platform.services.collections import Shelf
from little_monster.platform.services.library import LIBRARY
from little_monster.platform.settings import Settings
from little_monster.platform.storage import open_storage
from tests.fixtures.moderators import Moderator
from tests.fixtures.videos import draft, show


@pytest.fixture
async def parts(database: Database, valkey_url: str, tmp_path: Path) -> Any:
    redis = open_redis(valkey_url)
    # No job is done.
    needed = IngestParts(database, open_storage(tmp_path.as_uri()), None, None, None, 1)  # type: ignore[arg-type]
    collections = EdgeCollections(tmp_path / "qdrant")
    shelf = Shelf(database, collections, FakeEmbedder(), first="passages")
    yield WorkerParts(Settings(), needed, Moderator(), redis, shelf, None)  # type: ignore[arg-type]
    await collections.close()
    await redis.aclose()


async def test_every_routine_does_its_work(parts: WorkerParts) -> None:
    named = {routine.name: routine for routine in routines(parts)}
    for routine in named.values():
        await routine.work()
    assert named.keys() == {
        "send_reminders",
        "requeue_lost_jobs",
        "moderate_what_waits",
        "delete_expired_exports",
        "sweep",
        "reconcile",
        "mend_drift",
    }


async def test_what_waits_is_moderated(parts: WorkerParts, database: Database, user_id: UUID) -> None:
    async with database.session(user_id) as session:
        video = await draft(session, user_id)
        await show(session, video.id)
    async with database.session(user_id) as session:
        comment = await comments.create(session, video_id=video.id, user_id=user_id, text=f"Nice {new_id()}")
    (routine,) = [one for one in routines(parts) if one.name == "moderate_what_waits"]
    await routine.work()
    async with database.session(user_id) as session:
        judged = await comments.get(session, comment.id)
    assert judged is not None
    assert judged.moderation_status is ModerationStatus.APPROVED


def test_routines_come_as_often_as_they_say(parts: WorkerParts) -> None:
    pauses = {}
    for routine in routines(parts):
        times = croniter(routine.when)
        pauses[routine.name] = timedelta(seconds=-times.get_next() + times.get_next())
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    assert pauses == {
        "send_reminders": minute / 4,
        "requeue_lost_jobs": minute,
        "moderate_what_waits": minute,
        "delete_expired_exports": hour,
        "sweep": hour,
        "reconcile": timedelta(seconds=5),
        "mend_drift": hour,
    }


def test_a_worker_takes_all_kinds_of_jobs(parts: WorkerParts) -> None:
    assert works(parts).keys() == {ingest.KIND, export.KIND, reembed.KIND, verify.KIND, LIBRARY}
    assert new_consumer("postgresql://", parts, concurrency=2, grace_s=1).concurrency == 2
