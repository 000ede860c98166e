"""How a collection lies on a Qdrant server: vectors, indexes, what is in memory, what is refused."""

from dataclasses import dataclass
from typing import Literal

from qdrant_client import AsyncQdrantClient, models

from little_monster.db.vectors.payload import CREATED, DENSE, KEYWORDS, OWNER, SPARSE

Quantization = Literal["none", "scalar", "binary"]

MAX_BATCH = 256
"""Points of one upsert."""
_MAX_QUERY_LIMIT = 10_000
# Quantized scores choose this many times what is wanted; whole vectors choose among those.
_OVERSAMPLING = 2.0


@dataclass(frozen=True, slots=True)
class Layout:
    """What the operator chooses: vectors, graphs and payloads on disk instead of in memory, and a smaller
    copy of the vectors that stays in memory."""

    on_disk: bool = False
    quantization: Quantization = "none"


async def create_collection(client: AsyncQdrantClient, name: str, dimension: int, layout: Layout) -> None:
    """Make the collection, without indexes of payloads."""
    await client.create_collection(
        name,
        vectors_config={
            DENSE: models.VectorParams(
                size=dimension, distance=models.Distance.COSINE, on_disk=layout.on_disk or None
            )
        },
        sparse_vectors_config={
            SPARSE: models.SparseVectorParams(
                modifier=models.Modifier.IDF, index=models.SparseIndexParams(on_disk=layout.on_disk)
            )
        },
        # Every search is one tenant's: a graph for each of them, and none over all.
        hnsw_config=models.HnswConfigDiff(m=0, payload_m=16, on_disk=layout.on_disk or None),
        quantization_config=_quantization(layout),
        on_disk_payload=True,
        strict_mode_config=models.StrictModeConfig(
            enabled=True,
            # A filter without an index would read every tenant's points.
            unindexed_filtering_retrieve=False,
            unindexed_filtering_update=False,
            max_query_limit=_MAX_QUERY_LIMIT,
            upsert_max_batchsize=MAX_BATCH,
        ),
    )


async def add_indexes(client: AsyncQdrantClient, name: str) -> None:
    """Make the indexes of payloads that are missing: one for every filter."""
    known = (await client.get_collection(name)).payload_schema
    for key, schema in _indexes().items():
        if key not in known:
            await client.create_payload_index(name, key, schema, wait=True)


def search_params(layout: Layout) -> models.SearchParams | None:
    """Return how vectors are searched."""
    if layout.quantization == "none":
        return None
    return models.SearchParams(
        quantization=models.QuantizationSearchParams(rescore=True, oversampling=_OVERSAMPLING)
    )


def _indexes() -> dict[str, models.KeywordIndexParams | models.DatetimeIndexParams]:
    keyword, datetime = models.KeywordIndexType.KEYWORD, models.DatetimeIndexType.DATETIME
    return {
        **{key: models.KeywordIndexParams(type=keyword, is_tenant=key == OWNER) for key in KEYWORDS},
        CREATED: models.DatetimeIndexParams(type=datetime),
    }


def _quantization(layout: Layout) -> models.ScalarQuantization | models.BinaryQuantization | None:
    match layout.quantization:
        case "scalar":
            config = models.ScalarQuantizationConfig(
                type=models.ScalarType.INT8, quantile=0.99, always_ram=True
            )
            return models.ScalarQuantization(scalar=config)
        case "binary":
            return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
        case _:
            return None
