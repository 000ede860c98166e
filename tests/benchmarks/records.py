"""Lists and single records of a large database: our application against a bare FastAPI that runs the same
SQL; how long each query takes; logins a second."""

import asyncio
import pickle
import statistics
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import perf_counter
from typing import Any

from argon2 import PasswordHasher

from tests.benchmarks.bare_records import READY, path_of
from tests.benchmarks.children import asgi_server
from tests.benchmarks.figures import alternating, median_ratio, table
from tests.benchmarks.read_row import Arm, ask
from tests.benchmarks.records_queries import asker, query_times
from tests.benchmarks.records_stack import EMAIL, PASSWORD, PLAN, Services, filled_services, find
from tests.benchmarks.suite import Benchmark, Goal, Result, Session

CONNECTIONS = 32
SECONDS = 1.5
RATIO_GOAL, QUERY_GOAL_MS = 0.5, 50
_LOGIN = "/api/v1/auth/login"
# One with a page of comments and more.
_DISCUSSED = "SELECT id FROM videos WHERE status = 'public' AND comment_count BETWEEN 25 AND 50 LIMIT 1"
_SOME = "SELECT id FROM videos WHERE status = 'public' ORDER BY comment_count DESC LIMIT 2000"


def measure(session: Session) -> Result:
    """Measure both sides in turns, each request alone."""
    with filled_services(session.stack.folder / "records", PLAN) as services:
        return measure_on(services, session.rounds)


def measure_on(services: Services, rounds: int) -> Result:
    """Measure with a database that is filled."""
    token, paths, statements, queries = asyncio.run(_look(services))
    kept = services.folder / "statements"
    kept.write_bytes(pickle.dumps(statements))
    environment = {**services.environment(), "BENCHMARK_STATEMENTS": str(kept)}
    with ExitStack() as servers:

        def serve(module: str, path: str) -> int:
            app, log = f"tests.benchmarks.{module}:create", services.folder / f"{module}.log"
            return servers.enter_context(asgi_server(app, environment=environment, log=log, path=path))[0]

        bare, ours = serve("bare_records", READY), serve("plain_api", "/livez")
        requests = []
        for name, path in paths.items():
            arms = {"ours": Arm(ours, path, token, list), "bare": Arm(bare, path_of(name), "", list)}
            requests.append(_request(name, path, rounds, arms))
        logins = _logins(Arm(ours, _LOGIN, "", list), rounds)
    rows = PLAN.users, PLAN.videos, PLAN.comments, PLAN.chunks
    return {"rows": rows, "requests": requests, "queries": queries, "logins": logins}


async def _look(services: Services) -> tuple[str, dict[str, str], dict[str, Any], list[dict[str, Any]]]:
    """Return a token, the paths to ask, the statements that each of them sends, and how long all take."""
    [video] = await find(services, _DISCUSSED)
    some = [str(one) for one in await find(services, _SOME)]
    async with asker(services) as ask_here:
        token = await ask_here.log_in()
        # Another page than the one that is asked for below, which is then in Valkey.
        first = await ask_here.get("/api/v1/videos?limit=1")
        paths = {
            "feed": "/api/v1/videos",
            "later feed": f"/api/v1/videos?cursor={first['next_cursor']}",
            "search": "/api/v1/videos?q=photosynthesis",
            "video": f"/api/v1/videos/{video}",
            "comments": f"/api/v1/comments?video_id={video}",
            "month": "/api/v1/planner/events?from=2026-06-01T00:00:00Z&to=2026-07-01T00:00:00Z",
            "conversations": "/api/v1/chat/conversations",
        }
        statements = {name: await ask_here.statements(path) for name, path in paths.items()}
        for name, sent in statements.items():
            if len(sent) < 3:
                raise RuntimeError(f"{name}: its statements were not seen")
        return token, paths, statements, await query_times(ask_here, some)


def _request(name: str, path: str, rounds: int, arms: dict[str, Arm]) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in arms}
    for arm in arms.values():
        ask(arm, connections=CONNECTIONS, seconds=0.3)
    for number in range(rounds):
        for side in alternating(list(arms), number):
            found[side].append(ask(arms[side], connections=CONNECTIONS, seconds=SECONDS))
    rates = {side: [one["rps"] for one in done] for side, done in found.items()}
    return {
        "name": name,
        "path": path.partition("?")[0],
        "sides": {side: _summary(done) for side, done in found.items()},
        "rounds_rps": rates,
        "ratio": median_ratio(rates["ours"], rates["bare"]),
    }


def _summary(done: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "rps": round(statistics.median(one["rps"] for one in done), 1),
        "p50_ms": round(statistics.median(one["ms"]["p50"] for one in done), 2),
        "p95_ms": round(statistics.median(one["ms"]["p95"] for one in done), 2),
    }


def _logins(arm: Arm, rounds: int) -> dict[str, Any]:
    """Log in again and again, against the bare comparison of a password, which is most of it."""
    body = f'{{"email": "{EMAIL}", "password": "{PASSWORD}"}}'
    ours, bare = [], []
    for _ in range(rounds):
        done = ask(arm, connections=CONNECTIONS, seconds=SECONDS, body=body)
        ours.append(done)
        bare.append(_bare_argon2(SECONDS))
    rates = [one["rps"] for one in ours]
    return {
        **_summary(ours),
        "bare_per_s": round(statistics.median(bare), 1),
        "ratio": median_ratio(rates, bare),
    }


def _bare_argon2(seconds: float) -> float:
    """Return how many passwords two threads compare in a second, with the parameters of our own."""
    hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
    encoded, begun = hasher.hash(PASSWORD), perf_counter()

    def work() -> int:
        count = 0
        while perf_counter() - begun < seconds:
            hasher.verify(encoded, PASSWORD)
            count += 1
        return count

    with ThreadPoolExecutor(2) as threads:
        counts = [done.result() for done in [threads.submit(work) for _ in range(2)]]
    return sum(counts) / (perf_counter() - begun)


def report(result: Result) -> str:
    """Write the section."""
    users, videos, comments, chunks = result["rows"]
    rows = [row for request in result["requests"] for row in _rows(request)]
    head = ("request", "server", "requests/s", "p50 (ms)", "p95 (ms)", "of the bare one's requests/s")
    slowest = [(one["request"], f"`{_short(one['sql'])}`", *_times(one)) for one in result["queries"]]
    logins = result["logins"]
    return (
        f"{users:,} users, {videos:,} videos, {comments:,} comments, {chunks:,} chunks; {CONNECTIONS} "
        "connections; each side in one uvicorn process. The bare server sends the statements that our "
        "request sends, from BEGIN with SET LOCAL to COMMIT, and shows the same fields; it checks no token, "
        "counts no request and makes no links. Our first page of the feed comes from Valkey.\n\n"
        + table(head, rows)
        + "\nEach statement with many inputs (orders, subjects, words, videos, months), one at a time, with "
        "its round trip:\n\n"
        + table(("request", "statement", "times", "p50 (ms)", "p95 (ms)"), slowest)
        + f"\nLogins: {logins['rps']:.0f} a second at {CONNECTIONS} connections (p95 "
        f"{logins['p95_ms']:.0f} ms), **{logins['ratio']:.2f}** of the {logins['bare_per_s']:.0f} passwords "
        "that two threads of bare argon2 compare with the same parameters.\n"
    )


def _rows(request: dict[str, Any]) -> list[tuple[object, ...]]:
    ratios = {"ours": f"**{request['ratio']:.2f}**", "bare": "1"}
    return [
        (
            request["name"],
            side,
            f"{one['rps']:.0f}",
            f"{one['p50_ms']:.1f}",
            f"{one['p95_ms']:.1f}",
            ratios[side],
        )
        for side, one in request["sides"].items()
    ]


def _times(query: dict[str, Any]) -> tuple[object, ...]:
    return query["count"], f"{query['ms']['p50']:.1f}", f"{query['ms']['p95']:.1f}"


def _short(sql: str) -> str:
    """Return what tells a statement from others: what it reads, and by what."""
    return sql[sql.index(" FROM ") + 1 :].replace("|", "\\|")[:110]


def goals(result: Result) -> list[Goal]:
    """Compare each request, and the slowest query."""
    found = [
        Goal(
            f"requests/s of `{request['name']}`, {CONNECTIONS} connections, against bare FastAPI",
            f"at least {RATIO_GOAL}",
            f"{request['ratio']:.2f}",
            request["ratio"] >= RATIO_GOAL,
        )
        for request in result["requests"]
    ]
    worst = max(query["ms"]["p95"] for query in result["queries"])
    slowest = Goal(
        "p95 of the slowest query of these",
        f"under {QUERY_GOAL_MS} ms",
        f"{worst:.0f} ms",
        worst < QUERY_GOAL_MS,
    )
    return [*found, slowest]


BENCHMARK = Benchmark("records", "Records on a large database", measure, report, goals)
