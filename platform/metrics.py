"""The Prometheus metrics of a process. Labels take few values: a route's template, never a path; no users."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

_LATENCIES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_FIRST_TOKEN_S = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 25, 60)

REQUESTS = Counter(
    "lm_http_requests_total", "HTTP requests answered.", labelnames=("method", "route", "status")
)
REQUEST_SECONDS = Histogram(
    "lm_http_request_duration_seconds",
    "Time from the first byte of a request to the last byte of its answer, streams too.",
    labelnames=("method", "route"),
    buckets=_LATENCIES_S,
)
TIME_TO_FIRST_TOKEN = Histogram(
    "lm_time_to_first_token_seconds",
    "Time from a question to the first token of its answer, by chat model.",
    labelnames=("model",),
    buckets=_FIRST_TOKEN_S,
)
TOKENS = Counter(
    "lm_tokens_total",
    'Tokens read (`kind="prompt"`) and written (`kind="completion"`).',
    labelnames=("model", "kind"),
)
DATABASE_READS = Counter(
    "lm_database_reads_total",
    "Reads that the replica of the database could answer, by which server did.",
    labelnames=("server",),
)
REPLICA_USED = Gauge("lm_database_replica_used", "1 while reads go to the replica of the database.")


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count an answered request."""
    answered, taken = _of_route(method, route, status)
    answered.inc()
    taken.observe(seconds)


@cache
def _of_route(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, str(status)), REQUEST_SECONDS.labels(method, route)
