"""GET of one row under row level security: our stack against a bare FastAPI that runs the same query."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psutil

from tests.benchmarks.bare_api import STATEMENT, TRANSACTION
from tests.benchmarks.children import asgi_server, plain_environment
from tests.benchmarks.figures import alternating, median_ratio, table
from tests.benchmarks.processes import ProcessorMeter, label, with_descendants
from tests.benchmarks.suite import Benchmark, Goal, Result, Session

CONNECTIONS = (1, 16, 32)
SECONDS = 2.0
RATIO_GOAL = 0.5
PATH = "/api/v1/users/me"
# What a process of the stack takes anyway is left out of the time of a request.
_LEAST_MS = 0.04
TITLES = {
    "stack": "our stack",
    "plain": "our application, plain uvicorn",
    "transaction": "bare FastAPI, same transaction",
    "statement": "bare FastAPI, SELECT alone",
}


@dataclass(frozen=True, slots=True)
class Arm:
    """A server to ask, and the processes whose time is counted."""

    port: int
    path: str
    token: str
    processes: Callable[[], Iterable[psutil.Process]]


def measure(session: Session) -> Result:
    """Measure all servers in turns."""
    stack = session.stack
    stack.ensure_up()
    token = stack.headers()["Authorization"].removeprefix("Bearer ")
    environment = {**stack.environment(), "BENCHMARK_USER": stack.user_id}
    with ExitStack() as servers:

        def serve(module: str, path: str) -> tuple[int, Callable[[], list[psutil.Process]]]:
            app, log = f"tests.benchmarks.{module}:create", stack.folder / f"{module}.log"
            port, process = servers.enter_context(
                asgi_server(app, environment=environment, log=log, path=path)
            )
            return port, lambda: [*with_descendants(process.pid), *filter(_serves_data, stack.processes())]

        (bare, of_bare), (plain, of_plain) = serve("bare_api", TRANSACTION), serve("plain_api", "/livez")
        arms = {
            "stack": Arm(stack.ports.http, PATH, token, stack.processes),
            "plain": Arm(plain, PATH, token, of_plain),
            "transaction": Arm(bare, TRANSACTION, "", of_bare),
            "statement": Arm(bare, STATEMENT, "", of_bare),
        }
        for arm in arms.values():
            ask(arm, connections=16, seconds=1.0)
        return {"levels": [_level(level, session.rounds, arms) for level in CONNECTIONS]}


def _level(level: int, rounds: int, arms: dict[str, Arm]) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    processor: dict[str, dict[str, float]] = {}
    for number in range(rounds):
        for name in alternating(list(arms), number):
            meter = ProcessorMeter(arms[name].processes())
            done = ask(arms[name], connections=level, seconds=SECONDS)
            found[name].append(done)
            processor[name] = _per_request(meter.seconds(), done)
    rates = {name: [one["rps"] for one in done] for name, done in found.items()}
    return {
        "connections": level,
        "servers": {name: _summary(done) for name, done in found.items()},
        "rounds_rps": rates,
        "processor_ms_a_request": processor,
        "ratio": median_ratio(rates["stack"], rates["transaction"]),
        "ratio_plain": median_ratio(rates["plain"], rates["transaction"]),
        "ratio_statement": median_ratio(rates["stack"], rates["statement"]),
    }


def ask(arm: Arm, *, connections: int, seconds: float, body: str = "") -> dict[str, Any]:
    """Run the client in a process of its own; with a JSON `body` it sends POST.

    Raises:
        RuntimeError: not every answer was 200.
    """
    command = ["tests.benchmarks.load", str(arm.port), arm.path]
    options = ["--connections", str(connections), "--seconds", str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", *command, *options],
        env=plain_environment(LOAD_TOKEN=arm.token, LOAD_BODY=body),
        check=True,
        capture_output=True,
        timeout=120,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    if result["failures"]:
        raise RuntimeError(f"{arm.path}: answered {result['failures']}")
    return result


def _serves_data(process: psutil.Process) -> bool:
    try:
        return label(process) in ("PostgreSQL", "Valkey")
    except psutil.Error:
        return False


def _per_request(seconds: dict[str, float], done: dict[str, Any]) -> dict[str, float]:
    each = {who: round(1000 * spent / done["requests"], 3) for who, spent in seconds.items()}
    return {who: spent for who, spent in each.items() if spent >= _LEAST_MS}


def _summary(done: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "rps": round(statistics.median(one["rps"] for one in done), 1),
        "p50_ms": round(statistics.median(one["ms"]["p50"] for one in done), 2),
        "p99_ms": round(statistics.median(one["ms"]["p99"] for one in done), 2),
        "client_cores": round(statistics.median(one["client_cores"] for one in done), 2),
    }


def report(result: Result) -> str:
    """Write the section."""
    rows = [row for level in result["levels"] for row in _rows(level)]
    head = ("connections", "server", "requests/s", "p50 (ms)", "p99 (ms)", "of the bare one's requests/s")
    return (
        f"`GET {PATH}`: log-in checked, rate limit counted in Valkey, one row read under row level security. "
        "The bare server runs the same SELECT in the same transaction, and checks and counts nothing.\n\n"
        + table(head, rows)
        + f"\nProcessor time a request at {result['levels'][-1]['connections']} connections, by process:\n\n"
        + _processor(result["levels"][-1]["processor_ms_a_request"])
    )


def _rows(level: dict[str, Any]) -> list[tuple[object, ...]]:
    ratios = {
        "stack": f"**{level['ratio']:.2f}**",
        "plain": f"{level['ratio_plain']:.2f}",
        "transaction": "1",
    }
    return [
        (
            level["connections"],
            TITLES[name],
            f"{one['rps']:.0f}",
            f"{one['p50_ms']:.2f}",
            f"{one['p99_ms']:.2f}",
            ratios.get(name, ""),
        )
        for name, one in level["servers"].items()
    ]


def _processor(by_server: dict[str, dict[str, float]]) -> str:
    return "".join(
        f"- {TITLES[name]}: " + ", ".join(f"{who} {ms:.2f} ms" for who, ms in spent.items()) + "\n"
        for name, spent in by_server.items()
    )


def goals(result: Result) -> list[Goal]:
    """Compare each number of connections."""
    return [
        Goal(
            f"requests/s of a GET of one row, {level['connections']} connections, against bare FastAPI",
            f"at least {RATIO_GOAL}",
            f"{level['ratio']:.2f}",
            level["ratio"] >= RATIO_GOAL,
        )
        for level in result["levels"]
    ]


BENCHMARK = Benchmark("read_row", "Reading one row", measure, report, goals)
