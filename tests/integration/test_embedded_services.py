"""The laptop's own PostgreSQL and Valkey: what they keep, whom they let in, how they end."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest
import redis
from pydantic import SecretStr

from little_monster.platform.embedded import layout
from little_monster.platform.embedded.instance import marked_processes, stop_marked
from little_monster.platform.embedded.layout import DataFolder
from little_monster.platform.embedded.migration import migrate_embedded, migrate_given
from little_monster.platform.embedded.postgres import Postgres
from little_monster.platform.embedded.process import Waiter
from little_monster.platform.embedded.valkey import Valkey
from little_monster.platform.errors import StartupError
from little_monster.platform.settings import DatabaseSettings


@pytest.fixture(params=["short", "long" * 25])
def data(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataFolder]:
    with TemporaryDirectory(prefix="lm") as root, TemporaryDirectory(dir="/tmp", prefix="s") as short:
        monkeypatch.setattr(layout, "SHORT_ROOT", Path(short))
        folder = DataFolder.at(Path(root) / request.param)
        folder.prepare()
        yield folder


def marked(data: DataFolder) -> dict[str, str]:
    return {**os.environ, "LM_INSTANCE": f"test-{data.root}"}


def count_tables(url: str) -> int:
    async def run() -> int:
        connection = await asyncpg.connect(url)
        try:
            found: int = await connection.fetchval(
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            )
            return found
        finally:
            await connection.close()

    return asyncio.run(run())


def test_postgres_keeps_its_tables_and_wants_a_password(data: DataFolder) -> None:
    postgres = Postgres(data)
    child = postgres.start(marked(data), Waiter())
    try:
        with pytest.raises(StartupError, match="already runs"):
            Postgres(data).start(marked(data), Waiter())
        revision = migrate_embedded(postgres)
        assert count_tables(postgres.app_url) > 5
        with pytest.raises(asyncpg.InvalidPasswordError):
            count_tables(postgres.app_url.replace(postgres.app_password, "guess"))
    finally:
        child.stop(15)
    child = postgres.start(marked(data), Waiter())
    try:
        assert migrate_embedded(postgres) == revision
        assert count_tables(postgres.app_url) > 5
    finally:
        child.stop(15)
    assert marked_processes(f"test-{data.root}") == []


def test_a_database_of_ones_own_is_migrated_by_its_owner_or_only_compared(data: DataFolder) -> None:
    postgres = Postgres(data)
    child = postgres.start(marked(data), Waiter())
    try:
        head = migrate_embedded(postgres)
        url, owner = SecretStr(postgres.app_url), SecretStr(postgres.owner_url)
        assert migrate_given(DatabaseSettings(url=url, owner_url=owner)) == head
        assert migrate_given(DatabaseSettings(url=url)) == head
        empty = SecretStr(postgres.admin_url)
        with pytest.raises(StartupError) as raised:
            migrate_given(DatabaseSettings(url=empty))
        assert "LM_DATABASE__OWNER_URL" in raised.value.remedy
    finally:
        child.stop(15)


def test_a_database_that_is_away_is_said_in_one_line(tmp_path: Path) -> None:
    away = DatabaseSettings(url=SecretStr(f"postgresql://u:p@/name?host={tmp_path}"))
    with pytest.raises(StartupError) as raised:
        migrate_given(away)
    assert "\n" not in raised.value.reason
    assert "LM_DATABASE__URL" in raised.value.remedy


def test_valkey_keeps_what_it_was_told(data: DataFolder) -> None:
    valkey = Valkey(data)
    child = valkey.start(marked(data), Waiter())
    with redis.Redis.from_url(valkey.url) as client:
        client.set("key", "value")
    child.stop(10)
    child = valkey.start(marked(data), Waiter())
    try:
        with redis.Redis.from_url(valkey.url) as client:
            assert client.get("key") == b"value"
    finally:
        child.stop(10)


def test_both_are_found_by_their_mark_when_their_parent_was_killed(data: DataFolder) -> None:
    postgres = Postgres(data).start(marked(data), Waiter())
    valkey = Valkey(data).start(marked(data), Waiter())
    assert {postgres.pid, valkey.pid} <= {process.pid for process in marked_processes(f"test-{data.root}")}
    assert stop_marked(f"test-{data.root}") >= 2
    assert not postgres.running()
    assert not valkey.running()
