"""Another embedding model, or the same vectors anew, without a search that fails or finds less meanwhile.

    refuse what cannot work -> measure old and new -> fill a new collection -> catch up -> switch -> catch up

The new collection is filled while the old one is searched, from the passages in PostgreSQL alone. What comes,
goes or is read anew meanwhile is noted by triggers and reaches all collections; before and after the switch
the new one is compared with the passages, id by id. Which collection is live is one row: who searches reads
collection and model with it. The one before stays, and is kept up to date, until an operator drops it.

A job that was killed goes on where it was: the row of the collection that is being built says up to which
document it is filled, and writing a point twice changes nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import structlog

from little_monster.db.models.embedding_collections import CollectionState, EmbeddingCollection
from little_monster.db.models.jobs import JobStatus
from little_monster.db.repositories import document_chunks, drift, embedding_collections, user_documents
from little_monster.db.repositories.jobs import Counts, Unit
from little_monster.db.session import Database, Session
from little_monster.pipelines import retries
from little_monster.pipelines.drift import Seen, differences, mend
from little_monster.pipelines.fill import Embedded, Fill, Range, ranges
from little_monster.pipelines.gate import Evaluation, measure
from little_monster.pipelines.leases import Lease, LeaseLost
from little_monster.pipelines.reconcile import ReconcileParts, reconcile, write_document
from little_monster.pipelines.stages.store import points
from little_monster.pipelines.stages.tokens import chunk_size, load_counter
from little_monster.platform.engines.pinned import PinnedEmbedder
from little_monster.platform.engines.protocols import EmbedderInfo
from little_monster.platform.errors import ConfigurationError, LittleMonsterError
from little_monster.platform.services.collections import MAX_AGE_S, OpenCollection, Shelf, new_collection
from little_monster.platform.services.vector_index import KIND, Action, Change

__all__ = ["KIND", "ReembedParts", "run_job"]

# Parts of the whole work, for progress: measuring, then filling, then catching up.
_MEASURED_SHARE, _FILLED_SHARE = 0.05, 0.95
_ROUNDS: Final = 10
"""Comparisons until nothing differs; each finds what came during the one before."""

_OUR_ERROR: Final = "reembed_failed", "The index could not be changed because of an error of ours."

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReembedParts:
    """What a change works with. `evaluation` reads and asks the questions of the gate."""

    reconciling: ReconcileParts
    fill: Fill
    evaluation: Evaluation | None = None

    @property
    def database(self) -> Database:
        return self.reconciling.database

    @property
    def shelf(self) -> Shelf:
        return self.reconciling.shelf


class Refused(LittleMonsterError):
    """The change would make things worse or cannot be made; trying again does not help."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


async def run_job(lease: Lease, parts: ReembedParts) -> JobStatus | None:
    """Make the change of a job and record how it ended; None when the lease was lost. Raises as
    `ingest.run_job`."""
    try:
        result = await lease.guard(make(lease, parts, Change.of(lease.job.payload)))
        return await retries.recorded(_complete(lease, result))
    except LeaseLost:
        return None
    except Refused as refusal:
        return await retries.recorded(_fail(lease, refusal))
    except Exception as error:
        _log.exception("reembed_failed", job_id=str(lease.job.id), attempt=lease.job.attempts)
        return await retries.retry(lease, error, *_OUR_ERROR)


async def make(lease: Lease, parts: ReembedParts, change: Change) -> dict[str, Any]:
    """Make a change and return what came of it.

    Raises:
        Refused: it is not to be made.
        LeaseLost: the job is no longer ours.
        Exception: anything else may work another time.
    """
    match change.action:
        case Action.REEMBED | Action.REBUILD:
            return await _reembed(lease, parts, change)
        case Action.ROLLBACK:
            return await _roll_back(lease, parts, change)
        case Action.DROP_OLD:
            return await _drop_old(parts, change)


async def _complete(lease: Lease, result: dict[str, Any]) -> JobStatus:
    async with lease.transaction() as session:
        await lease.complete_in(session, result)
    return JobStatus.COMPLETED


async def _fail(lease: Lease, refusal: Refused) -> JobStatus:
    async with lease.transaction() as session:
        await lease.fail_in(session, refusal.code, refusal.reason)
    return JobStatus.FAILED


async def _reembed(lease: Lease, parts: ReembedParts, change: Change) -> dict[str, Any]:
    live = await parts.shelf.live(fresh=True)
    source = live.row.source if change.action == Action.REBUILD else change.source
    building = await _read(parts, CollectionState.BUILDING)
    if building is None and await _has_switched(parts, lease, live):
        return _result(live, {})
    info = await _load(parts, source)
    await _require_fit(parts, live, info, change)
    measured = await _measure(lease, parts, live, info, change)
    new = await _begin(parts, building, info, lease)
    await _fill(lease, parts, new)
    await _catch_up(lease, parts, new)
    await _switch(parts, CollectionState.BUILDING)
    switched = await parts.shelf.live(fresh=True)
    await _catch_up(lease, parts, switched)
    _log.info("collection_switched", collection=switched.row.name, model=switched.row.model)
    return _result(switched, measured)


def _result(live: OpenCollection, measured: dict[str, float]) -> dict[str, Any]:
    return {"collection": live.row.name, "model": live.row.model, **measured}


async def _has_switched(parts: ReembedParts, lease: Lease, live: OpenCollection) -> bool:
    """Say whether this job was killed after its switch: its collection is live already."""
    if live.row.name != _name(parts, lease):
        return False
    await _catch_up(lease, parts, live)
    return True


def _name(parts: ReembedParts, lease: Lease) -> str:
    """Return the name of the collection that this job makes, however often it is begun."""
    return f"{parts.shelf.first}-{lease.job.id.hex[:12]}"


async def _load(parts: ReembedParts, source: str) -> EmbedderInfo:
    """Have the model loaded where queries are embedded, long before the first one comes."""
    try:
        await parts.shelf.embedder.load(source)
        return await parts.shelf.embedder.describe(source)
    except ConfigurationError as error:
        raise Refused("model_not_found", str(error)) from None


async def _require_fit(parts: ReembedParts, live: OpenCollection, info: EmbedderInfo, change: Change) -> None:
    if change.action == Action.REEMBED and info.source == live.row.source:
        raise Refused("same_model", f"{info.model} is the live model; `--rebuild` fills its index anew")
    if await _read(parts, CollectionState.PREVIOUS) is not None:
        raise Refused("previous_kept", "the collection before is still kept: `--drop-old` drops it")
    try:
        # What new documents are cut by.
        chunk_size(info.max_tokens)
        await asyncio.to_thread(load_counter, info.source)
    except ConfigurationError as error:
        raise Refused("model_unfit", str(error)) from None


async def _measure(
    lease: Lease, parts: ReembedParts, live: OpenCollection, info: EmbedderInfo, change: Change
) -> dict[str, float]:
    """Return nDCG@10 of both models, where the change names an evaluation set.

    Raises:
        Refused: the new one is worse than is tolerated, or the set cannot be read.
    """
    if change.dataset is None or change.action == Action.REBUILD:
        return {}
    if parts.evaluation is None:
        raise Refused("no_evaluation", "this worker cannot evaluate models")
    await lease.progress("measuring", 0.0)
    try:
        dataset = await asyncio.to_thread(parts.evaluation.read, Path(change.dataset))
    except (LittleMonsterError, OSError) as error:
        raise Refused("dataset_unreadable", str(error)) from None
    old = await measure(parts.evaluation, dataset, live.embedder)
    await lease.progress("measuring", _MEASURED_SHARE / 2)
    new = await measure(parts.evaluation, dataset, PinnedEmbedder(parts.shelf.embedder, info.source))
    if new.ndcg < old.ndcg - change.tolerance:
        raise Refused(
            "worse_model",
            f"nDCG@10 of {info.model} is {new.ndcg:.4f}, of {live.row.model} {old.ndcg:.4f}, over"
            f" {new.questions} questions; {change.tolerance:.4f} less is tolerated",
        )
    return {"ndcg_old": old.ndcg, "ndcg_new": new.ndcg}


async def _begin(
    parts: ReembedParts, building: EmbeddingCollection | None, info: EmbedderInfo, lease: Lease
) -> OpenCollection:
    """Return the collection to fill: the one that was begun with this model, or a new one."""
    if building is not None and building.source == info.source:
        return parts.shelf.open(building)
    if building is not None:
        async with parts.database.session(None) as session:
            await embedding_collections.remove(session, CollectionState.BUILDING)
        await parts.shelf.collections.drop(building.name, building.dimension)
    name = _name(parts, lease)
    # What a job left that was killed between its last two steps.
    await parts.shelf.collections.drop(name, info.dimension)
    async with parts.database.session(None) as session:
        await embedding_collections.add(session, new_collection(name, info), CollectionState.BUILDING)
    row = await _read(parts, CollectionState.BUILDING)
    if row is None or row.name != name:
        raise Refused("change_under_way", "another change is under way")
    return parts.shelf.open(row)


async def _fill(lease: Lease, parts: ReembedParts, building: OpenCollection) -> None:
    async with parts.database.session(None) as session:
        whole = await drift.totals(session)
    total, reads = whole.chunks, building.row.max_tokens
    _log.info("filling", model=building.row.model, passages=total, longest=whole.longest, reads=reads)
    todo = [one async for one in ranges(parts.database, building.row.filled_to)]
    done = max(total - sum(one.chunks for one in todo), 0)
    await _tell(lease, done, total)
    await building.index.check()
    reached = 0
    async with aclosing(parts.fill(building.row.source, todo)) as batches:
        async for batch in batches:
            await _write(parts.database, building, batch)
            done += len(batch)
            reached = await _note(parts, building, todo, reached, batch)
            await _tell(lease, done, max(total, done))
    if todo:
        await _set_filled(parts, building, todo[-1])


async def _note(
    parts: ReembedParts, building: OpenCollection, todo: Sequence[Range], reached: int, batch: list[Embedded]
) -> int:
    """Note that all ranges before the last one of this batch are written; return its number."""
    last = batch[-1].range
    if last > reached:
        await _set_filled(parts, building, todo[last - 1])
    return last


async def _set_filled(parts: ReembedParts, building: OpenCollection, to: Range) -> None:
    async with parts.database.session(None) as session:
        if not await embedding_collections.set_filled(session, building.row.name, to.until):
            raise LeaseLost


async def _tell(lease: Lease, done: int, total: int) -> None:
    share = _MEASURED_SHARE + (_FILLED_SHARE - _MEASURED_SHARE) * done / max(total, 1)
    await lease.progress("embedding", share, Counts(done, total, Unit.CHUNKS))


async def _write(database: Database, building: OpenCollection, batch: Sequence[Embedded]) -> None:
    """Write points of those passages that are still there: each is read again, as its owner, just before."""
    by_owner: dict[UUID, list[Embedded]] = defaultdict(list)
    for one in batch:
        by_owner[one.owner].append(one)
    for owner, ones in by_owner.items():
        vectors = {one.chunk_id: one.vector for one in ones}
        async with database.session(owner) as session:
            found = await document_chunks.get_many(session, [*vectors])
            rows = defaultdict(list)
            for row in found:
                rows[row.chunk.document_id].append(row.chunk)
            documents = await user_documents.get_many(session, [*rows])
        for document in documents:
            own = rows[document.id]
            await building.index.upsert(points(document, own, [vectors[row.id] for row in own]))


async def _catch_up(lease: Lease, parts: ReembedParts, collection: OpenCollection) -> None:
    """Make all noted changes, and compare the collection with the passages until nothing differs.

    Raises:
        RuntimeError: it always does.
    """
    for _ in range(_ROUNDS):
        await lease.progress("catching up", _FILLED_SHARE)
        await reconcile(parts.reconciling)
        differing = 0
        async for found in differences(parts.database, collection.index, Seen()):
            differing += len(found)
            for owner, document_id in await mend(collection.index, found):
                await write_document(parts.database, collection, owner, document_id)
        if not differing:
            return
    raise RuntimeError("the collection differs from the passages, however often it is mended")


async def _switch(parts: ReembedParts, state: CollectionState) -> None:
    """Make the collection in this state the live one, in one transaction; then tell the server's own alias,
    which is for others."""

    async def swap(session: Session) -> bool:
        return await embedding_collections.swap(session, state)

    if not await parts.database.run(None, swap):
        raise Refused("change_under_way", "another change is under way")
    live = await parts.shelf.live(fresh=True)
    alias = f"{parts.shelf.first}-live"
    await parts.shelf.collections.publish(live.row.name, live.row.dimension, alias=alias)


async def _roll_back(lease: Lease, parts: ReembedParts, change: Change) -> dict[str, Any]:
    live = await parts.shelf.live(fresh=True)
    # Else this job did it already, and was killed then.
    if live.row.name != change.target:
        previous = await _previous(parts, change)
        await _load(parts, previous.source)
        await _catch_up(lease, parts, parts.shelf.open(previous))
        await _switch(parts, CollectionState.PREVIOUS)
        live = await parts.shelf.live(fresh=True)
    await _catch_up(lease, parts, live)
    return _result(live, {})


async def _drop_old(parts: ReembedParts, change: Change) -> dict[str, Any]:
    previous = await _previous(parts, change)
    age = (datetime.now(UTC) - previous.changed_at).total_seconds()
    # Who searches may believe for a moment that it is live.
    await asyncio.sleep(max(3 * MAX_AGE_S - age, 0))
    # The row goes last: a job that was killed between both does it again.
    await parts.shelf.collections.drop(previous.name, previous.dimension)
    async with parts.database.session(None) as session:
        await embedding_collections.remove(session, CollectionState.PREVIOUS)
    await parts.shelf.collections.drop(previous.name, previous.dimension)
    return {"dropped": previous.name}


async def _previous(parts: ReembedParts, change: Change) -> EmbeddingCollection:
    previous = await _read(parts, CollectionState.PREVIOUS)
    if previous is None or change.target not in (None, previous.name):
        raise Refused("no_previous", "no collection from before is kept")
    return previous


async def _read(parts: ReembedParts, state: CollectionState) -> EmbeddingCollection | None:
    async with parts.database.session(None) as session:
        return await embedding_collections.get(session, state)
