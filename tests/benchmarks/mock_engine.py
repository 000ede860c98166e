"""What the way to the engine costs: a mock engine (50 tokens, one each 20 ms) directly and through us."""

from typing import Any

from tests.benchmarks.children import asgi_server, plain_environment
from tests.benchmarks.figures import alternating, table
from tests.benchmarks.mock_frames import INTERVAL_S, TOKENS
from tests.benchmarks.mock_graph import DEPLOYMENT, ENDPOINT, ROUTE, application
from tests.benchmarks.processes import ProcessorMeter, with_descendants
from tests.benchmarks.streams import Target, Wave, run_waves, summarise
from tests.benchmarks.suite import Benchmark, Goal, Result, Session

STREAMS = (32, 100)
WAVES = 2
TPOT_GOAL = 1.10
TITLES = {"direct": "called directly", "endpoint": "`engine: openai`", "deployment": "behind a Serve handle"}
_BODY = {"messages": [{"role": "user", "content": "Say words."}], "max_tokens": TOKENS}


def measure(session: Session) -> Result:
    """Measure all ways in turns."""
    stack = session.stack
    stack.ensure_up()
    headers = stack.headers()
    with asgi_server(
        "tests.benchmarks.mock_endpoint:create",
        environment=plain_environment(),
        log=stack.folder / "mock-endpoint.log",
        path="/v1/models",
    ) as (port, process):
        direct = f"http://127.0.0.1:{port}/v1"
        stack.deploy_beside(application(direct))
        ours = f"{stack.url}{ROUTE}/v1"
        targets = {
            "direct": Target(direct, "mock"),
            "endpoint": Target(ours, ENDPOINT, headers),
            "deployment": Target(ours, DEPLOYMENT, headers),
        }
        for target in targets.values():
            run_waves(target, [_BODY] * 64, at_once=32, tokens=TOKENS)
        pids = lambda: [*stack.processes(), *with_descendants(process.pid)]  # noqa: E731 - read again each time
        return {"levels": [_level(level, session.rounds, targets, pids) for level in STREAMS]}


def _level(level: int, rounds: int, targets: dict[str, Target], processes: Any) -> dict[str, Any]:
    waves: dict[str, list[Wave]] = {name: [] for name in targets}
    processor: dict[str, dict[str, float]] = {}
    for number in range(rounds):
        for name in alternating(list(targets), number):
            meter = ProcessorMeter(processes())
            done = run_waves(targets[name], [_BODY] * (level * WAVES), at_once=level, tokens=TOKENS)
            seconds = sum(wave.seconds for wave in done)
            waves[name] += done
            processor[name] = {who: round(spent / seconds, 2) for who, spent in meter.seconds().items()}
    sides = {name: summarise(done) for name, done in waves.items()}
    return {
        "at_once": level,
        **sides,
        "cores_in_the_last_round": {name: _top(spent) for name, spent in processor.items()},
        "ratios": {name: _compare(sides[name], sides["direct"]) for name in ("endpoint", "deployment")},
    }


def _top(spent: dict[str, float]) -> dict[str, float]:
    return {who: cores for who, cores in spent.items() if cores >= 0.05}


def _compare(ours: dict[str, Any], direct: dict[str, Any]) -> dict[str, float]:
    return {
        "tpot_p50": round(ours["tpot_ms"]["p50"] / direct["tpot_ms"]["p50"], 3),
        "tpot_p95": round(ours["tpot_ms"]["p95"] / direct["tpot_ms"]["p95"], 3),
        "ttft_p50_difference_ms": round(ours["ttft_ms"]["p50"] - direct["ttft_ms"]["p50"], 1),
    }


def report(result: Result) -> str:
    """Write the section."""
    rows = [row for level in result["levels"] for row in _rows(level)]
    head = (
        "streams",
        "way",
        "TTFT p50 (ms)",
        "p95",
        "TPOT p50 (ms)",
        "p95",
        "ratio p50",
        "p95",
        "gap p99 (ms)",
    )
    return (
        f"{TOKENS} tokens, one each {INTERVAL_S * 1000:.0f} ms by the engine's own clock. TPOT is the mean "
        "time of a token after the first, of each stream; a gap is the time between two frames.\n\n"
        + table(head, rows)
        + "\nCores taken in the last round, by process:\n\n"
        + "".join(_cores(level) for level in result["levels"])
    )


def _rows(level: dict[str, Any]) -> list[tuple[object, ...]]:
    return [
        (
            level["at_once"],
            title,
            *(f"{level[name]['ttft_ms'][p]:.0f}" for p in ("p50", "p95")),
            *(f"{level[name]['tpot_ms'][p]:.2f}" for p in ("p50", "p95")),
            *(f"{level['ratios'].get(name, {}).get(f'tpot_{p}', 1):.3f}" for p in ("p50", "p95")),
            f"{level[name]['gap_ms']['p99']:.0f}",
        )
        for name, title in TITLES.items()
    ]


def _cores(level: dict[str, Any]) -> str:
    return "".join(
        f"- {level['at_once']} streams, {TITLES[name]}: "
        + ", ".join(f"{who} {cores:.2f}" for who, cores in spent.items())
        + "\n"
        for name, spent in level["cores_in_the_last_round"].items()
    )


def goals(result: Result) -> list[Goal]:
    """Compare both ways at each number of streams."""
    return [
        Goal(
            f"TPOT p50, {level['at_once']} streams of the mock engine, {TITLES[name]}",
            f"at most {TPOT_GOAL:.2f}",
            f"{ratio['tpot_p50']:.3f}",
            ratio["tpot_p50"] <= TPOT_GOAL,
        )
        for level in result["levels"]
        for name, ratio in level["ratios"].items()
    ]


BENCHMARK = Benchmark("mock_engine", "The way to the engine", measure, report, goals)
