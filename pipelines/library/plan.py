"""The plan of Ray Data: `list -> read -> parse -> embed -> upsert`, each with its declared columns.

Small blocks flow through it as a stream, so that a million files take no more memory than a few. It starts
in about ten seconds, which a whole library is worth, and one uploaded file is not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import ray.data
from ray.data import ActorPoolStrategy, DataContext, Dataset, Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from little_monster.pipelines.library import actors
from little_monster.pipelines.library.actors import OpenParts
from little_monster.pipelines.library.intake import Run
from little_monster.pipelines.library.sources import list_files
from little_monster.pipelines.stages import columns
from little_monster.pipelines.stages.embed import BATCH
from little_monster.platform.services.library import Order

FILES_A_BLOCK = 8
_BLOCK_BYTES = 2**20
_STORE_BYTES = 96 * 2**20

# What Ray reserves for an actor. They mostly wait: the parsers run in tasks, the models in the graph.
_WAITING_CPUS = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """What is ingested (`order`, `run`) and with what; `model_parts` for the stage that asks the model, which
    may have one of its own."""

    order: Order
    run: Run
    open_parts: OpenParts
    model_parts: OpenParts

    def dataset(self) -> Dataset:
        """Return the rows of `columns.Ended`; nothing is done before they are taken."""
        _configure(DataContext.get_current())
        order = self.order
        files = ray.data.read_datasource(Listing(order), override_num_blocks=1, num_cpus=_WAITING_CPUS)
        documents = self._stage(
            files.repartition(target_num_rows_per_block=FILES_A_BLOCK),
            actors.Read,
            FILES_A_BLOCK,
            run=self.run,
        )
        passages = self._stage(documents, actors.Parse, FILES_A_BLOCK, at_once=order.readers)
        vectors = self._embed(passages)
        return self._stage(vectors, actors.Upsert, BATCH)

    def _embed(self, passages: Dataset) -> Dataset:
        if not self.order.embedders:
            return self._stage(passages, actors.Embed, BATCH)
        # A model of its own takes a core, or what it was given of a GPU.
        cpus = _WAITING_CPUS if self.order.gpus else 1.0
        return self._stage(
            passages,
            actors.Embed,
            BATCH,
            size=self.order.embedders,
            num_cpus=cpus,
            num_gpus=self.order.gpus,
            open_parts=self.model_parts,
        )

    def _stage(
        self,
        rows: Dataset,
        stage: type[Any],
        batch: int,
        *,
        size: int = 1,
        num_cpus: float = _WAITING_CPUS,
        num_gpus: float = 0.0,
        open_parts: OpenParts | None = None,
        **arguments: Any,
    ) -> Dataset:
        given = {"open_parts": open_parts or self.open_parts, **arguments}
        return rows.map_batches(
            stage,
            batch_size=batch,
            batch_format="pyarrow",
            zero_copy_batch=True,
            compute=ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=2),
            fn_constructor_kwargs=given,
            num_cpus=num_cpus,
            num_gpus=num_gpus,
        )


def _configure(context: DataContext) -> None:
    """Keep what is on its way small, and the terminal quiet: progress stands in the job."""
    context.target_max_block_size = _BLOCK_BYTES
    context.execution_options.resource_limits = context.execution_options.resource_limits.copy(
        object_store_memory=_STORE_BYTES
    )
    context.enable_progress_bars = False
    context.print_on_execution_start = False


class Listing(Datasource):  # type: ignore[misc]
    """The stage `list`: the files of a source, a few a block, as they are found."""

    def __init__(self, order: Order) -> None:
        super().__init__()
        self._source, self._manifest = order.source, order.manifest

    def estimate_inmemory_data_size(self) -> int | None:
        """Nobody knows before it is read."""
        return None

    def get_read_tasks(
        self,
        parallelism: int,  # noqa: ARG002 - the signature is Ray Data's
        per_task_row_limit: int | None = None,  # noqa: ARG002
        data_context: Any = None,  # noqa: ARG002
    ) -> list[ReadTask]:
        """Return one task, as one listing is one stream."""
        metadata = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(self._blocks, metadata, schema=actors.schema(columns.File))]

    def _blocks(self) -> Iterator[pa.Table]:
        for files in _batched(list_files(self._source, manifest=self._manifest), FILES_A_BLOCK):
            yield actors.table(files, columns.File)


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while batch := [*islice(rest, size)]:
        yield batch


def take(plan: Plan) -> Iterator[columns.Ended]:
    """Execute a plan and yield its rows as they come."""
    for batch in plan.dataset().iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.to_pylist()
