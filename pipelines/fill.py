"""Passages of PostgreSQL to vectors of a model, with Ray Data: `ranges -> read -> embed`.

A range of documents is read by one task, which asks PostgreSQL itself; texts go to a pool of actors that have
the model loaded; ids and vectors come back in the order of the ranges, so that it is known how far they go.
Nothing of a passage leaves the cluster's memory but its vector.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import numpy
import ray

from little_monster.db.models.user_documents import EmbeddingStatus
from little_monster.db.repositories import document_chunks, drift
from little_monster.db.session import Database
from little_monster.pipelines.stages.embed import embed_batches, embedded_text
from little_monster.pipelines.stages.windows import windows
from little_monster.platform.engines.lanes import Encoder
from little_monster.platform.engines.protocols import Embedder, EmbedderInfo
from little_monster.platform.priority import give_way
from little_monster.platform.resources import open_database
from little_monster.platform.settings import load_settings

_ALL = 2**31 - 1
_NICENESS = 10
_WAITING = 4
"""Batches that wait for who writes them."""


class Range(NamedTuple):
    """Documents behind the id `after` up to `until`, which have so many passages together."""

    after: UUID | None
    until: UUID
    chunks: int


class Text(NamedTuple):
    """A passage of the range with this number, as the model reads it."""

    range: int
    owner: UUID
    document_id: UUID
    chunk_id: UUID
    text: str


@dataclass(frozen=True, slots=True)
class Embedded:
    """A passage of the range with this number, and its vector."""

    range: int
    owner: UUID
    document_id: UUID
    chunk_id: UUID
    vector: list[float]


Fill = Callable[[str, Sequence[Range]], AsyncGenerator[list[Embedded], None]]
"""Yields the passages of ranges with vectors of the model `source`, in the order of the ranges."""


@dataclass(frozen=True, slots=True)
class FillOptions:
    """`actors` at most have the model, each with so many CPUs and GPUs and `batch` texts at a time."""

    actors: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    batch: int = 64


async def ranges(database: Database, after: UUID | None, *, chunks: int = 512) -> AsyncIterator[Range]:
    """Yield ranges of documents behind `after`, each of about so many passages."""
    begin, last, count = after, after, 0
    while True:
        async with database.session(None) as session:
            page = await drift.scan_documents(session, last, 1_000)
        for document in page:
            last, count = UUID(int=document.id.int), count + document.chunk_count
            if count >= chunks:
                yield Range(begin, last, count)
                begin, count = last, 0
        if not page:
            break
    if last is not None and last != begin:
        yield Range(begin, last, count)


async def read_range(database: Database, number: int, wanted: Range) -> AsyncIterator[Text]:
    """Yield the passages of the documents of a range that are ready, each read as its owner."""
    after = wanted.after
    while after is None or after < wanted.until:
        async with database.session(None) as session:
            page = await drift.scan_documents(session, after, 100)
        for document in page:
            if document.id > wanted.until:
                return
            if document.status == EmbeddingStatus.COMPLETED:
                async with database.session(document.owner) as session:
                    rows = await document_chunks.list(session, document.id, limit=_ALL)
                for row in rows:
                    text = embedded_text(row.headings, row.content)
                    yield Text(number, row.user_id, row.document_id, row.id, text)
        if not page:
            return
        after = UUID(int=page[-1].id.int)


def _read(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A task of Ray: a range to its texts."""

    async def collect() -> list[Text]:
        database = open_database(load_settings())
        after = UUID(row["after"]) if row["after"] else None
        wanted = Range(after, UUID(row["until"]), row["chunks"])
        try:
            return [text async for text in read_range(database, row["range"], wanted)]
        finally:
            await database.close()

    for text in asyncio.run(collect()):
        yield {
            "range": text.range,
            "owner": text.owner.hex,
            "document": text.document_id.hex,
            "chunk": text.chunk_id.hex,
            "text": text.text,
        }


class Engine(Protocol):
    """A loaded model, and what gives its vectors of texts that nobody waits for."""

    @property
    def info(self) -> EmbedderInfo: ...

    @property
    def background(self) -> Encoder:
        """It may be the model itself."""
        ...


class _Model:
    """An actor of Ray: texts to vectors."""

    def __init__(self, load: Callable[[str], Engine], source: str) -> None:
        # Whoever waits for an answer goes first.
        give_way(_NICENESS)
        engine = load(source)
        self._info, self._encoder = engine.info, engine.background

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        texts = batch.pop("text", [])
        if not len(texts):
            return batch  # A block of a range without passages, which has no columns.
        cut = windows([str(text) for text in texts], self._info)
        return {**batch, "vector": cut.join(self._encoder.encode(cut.texts))}


class EmbedderFill:
    """A `Fill` in this process, by an embedder elsewhere: for models behind an endpoint, which no actor can
    load."""

    def __init__(self, database: Database, embedder: Embedder) -> None:
        self._database, self._embedder = database, embedder

    async def __call__(self, source: str, ranges: Sequence[Range]) -> AsyncGenerator[list[Embedded], None]:
        """See `Fill`."""
        for number, one in enumerate(ranges):
            texts = [text async for text in read_range(self._database, number, one)]
            async for first, vectors in embed_batches(
                self._embedder, [text.text for text in texts], source=source
            ):
                yield [
                    Embedded(number, text.owner, text.document_id, text.chunk_id, vector)
                    for text, vector in zip(texts[first:], vectors, strict=False)
                ]


class RayFill:
    """A `Fill` on the cluster that this process belongs to.

    Args:
        load: loads the model of a source, in an actor: as the one that embeds queries is loaded.
        options: see there.
    """

    def __init__(self, load: Callable[[str], Engine], options: FillOptions) -> None:
        self._load, self._options = load, options

    async def __call__(self, source: str, ranges: Sequence[Range]) -> AsyncGenerator[list[Embedded], None]:
        """See `Fill`."""
        loop, stop = asyncio.get_running_loop(), threading.Event()
        queue: asyncio.Queue[list[Embedded] | BaseException | None] = asyncio.Queue(_WAITING)

        def put(item: list[Embedded] | BaseException | None) -> None:
            asyncio.run_coroutine_threadsafe(queue.put(item), loop).result()

        def run() -> None:
            try:
                for batch in self._batches(source, ranges):
                    if stop.is_set():
                        return
                    put(batch)
                put(None)
            except BaseException as error:
                put(error)

        work = asyncio.create_task(asyncio.to_thread(run))
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            while not work.done():
                # The thread may wait for a place.
                while not queue.empty():
                    queue.get_nowait()
                await asyncio.wait([work], timeout=0.1)

    def _batches(self, source: str, ranges: Sequence[Range]) -> Iterator[list[Embedded]]:
        options = self._options
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        with ray.data.DataContext.current(context):
            texts = ray.data.from_items(_items(ranges), override_num_blocks=max(len(ranges), 1))
            vectors = texts.flat_map(_read, num_cpus=0.25).map_batches(
                _Model,
                fn_constructor_args=(self._load, source),
                batch_size=options.batch,
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=options.actors),
                num_cpus=options.cpus,
                num_gpus=options.gpus,
            )
            for batch in vectors.iter_batches(batch_size=256, batch_format="numpy"):
                if "vector" in batch:
                    yield _embedded(batch)


def _items(ranges: Sequence[Range]) -> list[dict[str, Any]]:
    return [
        {
            "range": number,
            "after": one.after.hex if one.after else "",
            "until": one.until.hex,
            "chunks": one.chunks,
        }
        for number, one in enumerate(ranges)
    ]


def _embedded(batch: dict[str, Any]) -> list[Embedded]:
    vectors = numpy.asarray([*batch["vector"]], dtype=numpy.float32).tolist()
    names = zip(batch["range"], batch["owner"], batch["document"], batch["chunk"], strict=True)
    return [
        Embedded(int(number), UUID(str(owner)), UUID(str(document)), UUID(str(chunk)), vector)
        for (number, owner, document, chunk), vector in zip(names, vectors, strict=True)
    ]
