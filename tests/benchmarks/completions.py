"""Streamed chat completions through our `/v1` and through bare `vllm serve`: first token, tokens a second."""

import random
from typing import Any

import psutil

from tests.benchmarks.figures import alternating, median_ratio, table
from tests.benchmarks.processes import label, with_descendants
from tests.benchmarks.stack import MODEL
from tests.benchmarks.streams import Target, Wave, merge, run_waves, summarise
from tests.benchmarks.suite import Benchmark, Goal, Result, Session
from tests.benchmarks.vllm_server import bare_vllm

STREAMS = (1, 8, 32)
TOKENS = 32
PROMPT_WORDS = 12
# One stream alone is one number a round: ask it some more.
LEAST_REQUESTS = 3
TTFT_GOAL_MS, RATE_GOAL = 60, 0.95
_WORDS = "cell energy market river history light number force treaty protein graph trade climate engine orbit"


def measure(session: Session) -> Result:
    """Measure both sides in turns; both engines stay loaded, one at a time has requests."""
    stack = session.stack
    stack.ensure_up()
    log = stack.folder / "bare-vllm.log"
    with bare_vllm(MODEL, stack.data.models / MODEL, log) as (bare_url, bare_pid):
        targets = {
            "stack": Target(f"{stack.url}/v1", MODEL, stack.headers()),
            "bare": Target(bare_url, MODEL),
        }
        for target in targets.values():
            run_waves(target, _bodies("warm", 8, 16), at_once=8, tokens=TOKENS)
        engines = {"stack": _engine(stack.processes()), "bare": _engine(with_descendants(bare_pid))}
        return {"tokens": TOKENS, "engines": engines, "levels": _levels(session.rounds, targets)}


def _levels(rounds: int, targets: dict[str, Target]) -> list[dict[str, Any]]:
    found: dict[int, dict[str, list[Wave]]] = {level: {name: [] for name in targets} for level in STREAMS}
    for number in range(rounds):
        for level, waves in found.items():
            bodies = _bodies(number, level, max(level, LEAST_REQUESTS))
            for name in alternating(list(targets), number):
                done = run_waves(targets[name], bodies, at_once=level, tokens=TOKENS)
                waves[name].append(merge(done))
    return [_level(level, waves) for level, waves in found.items()]


def _level(level: int, waves: dict[str, list[Wave]]) -> dict[str, Any]:
    sides = {name: summarise(done) for name, done in waves.items()}
    rates = {name: side["rounds_tokens_per_s"] for name, side in sides.items()}
    return {
        "at_once": level,
        **sides,
        "ttft_p50_difference_ms": round(
            sides["stack"]["ttft_ms"]["p50"] - sides["bare"]["ttft_ms"]["p50"], 1
        ),
        "tokens_per_s_ratio": median_ratio(rates["stack"], rates["bare"]),
    }


def _bodies(number: int | str, level: int, count: int) -> list[dict[str, Any]]:
    """Return prompts that no two requests to a server share, the same for every server."""
    return [
        {
            "messages": [{"role": "user", "content": _prompt(f"{number}:{level}:{index}")}],
            "max_tokens": TOKENS,
            "temperature": 0,
            "ignore_eos": True,
        }
        for index in range(count)
    ]


def _prompt(seed: str) -> str:
    chosen, words = random.Random(seed), _WORDS.split()
    return "Write about " + " ".join(chosen.choice(words) for _ in range(PROMPT_WORDS))


def _engine(processes: list[psutil.Process]) -> list[str]:
    """Say what could make two equal engines differ: their processes, niceness, threads."""
    found = []
    for process in processes:
        name = label(process)
        if name.startswith("vLLM"):
            threads = process.environ().get("OMP_NUM_THREADS", "unset")
            found.append(f"{name} (nice {process.nice()}, OMP_NUM_THREADS {threads})")
    return sorted(found)


def report(result: Result) -> str:
    """Write the section."""
    rows = [
        (
            level["at_once"],
            *(f"{level[side]['ttft_ms'][p]:.0f}" for side in ("stack", "bare") for p in ("p50", "p95")),
            f"{level['ttft_p50_difference_ms']:+.0f}",
            f"{level['stack']['tokens_per_s']:.0f}",
            f"{level['bare']['tokens_per_s']:.0f}",
            f"**{level['tokens_per_s_ratio']:.2f}**",
        )
        for level in result["levels"]
    ]
    head = ("streams", "TTFT p50, ours (ms)", "p95, ours", "p50, bare", "p95, bare", "p50 difference")
    engines = "; ".join(f"{name}: {', '.join(parts)}" for name, parts in result["engines"].items())
    return (
        f"{result['tokens']} tokens a completion, temperature 0, `ignore_eos`; every prompt is new, and the "
        "same for both sides. Both engines stay loaded, one at a time has requests.\n\n"
        + table((*head, "tokens/s, ours", "bare", "ratio"), rows)
        + f"\nEngine processes: {engines}.\n"
    )


def goals(result: Result) -> list[Goal]:
    """Compare each number of streams."""
    return [goal for level in result["levels"] for goal in _goals(level)]


def _goals(level: dict[str, Any]) -> tuple[Goal, Goal]:
    difference, ratio = level["ttft_p50_difference_ms"], level["tokens_per_s_ratio"]
    where = f"{level['at_once']} streams, against `vllm serve`"
    return (
        Goal(
            f"TTFT p50, {where}",
            f"at most +{TTFT_GOAL_MS} ms",
            f"{difference:+.0f} ms",
            difference <= TTFT_GOAL_MS,
        ),
        Goal(f"tokens/s, {where}", f"at least {RATE_GOAL}", f"{ratio:.2f}", ratio >= RATE_GOAL),
    )


BENCHMARK = Benchmark("completions", "Chat completions against bare vLLM", measure, report, goals)
