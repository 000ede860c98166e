"""A client that sends one request again and again on some connections: ``python -m tests.benchmarks.load``.

It speaks HTTP itself, as an HTTP library would take more of the processor than the servers that are measured.
Prints JSON. The access token comes in the environment (LOAD_TOKEN), as anybody can read a command line,
and so does the JSON of a POST (LOAD_BODY); without one it is a GET.
"""

import argparse
import asyncio
import json
import os
import time
from typing import Any

import httptools
import uvloop

from tests.benchmarks.figures import spread


class Caller(asyncio.Protocol):
    """One connection: the next request leaves when the answer to the last one is here."""

    def __init__(self, request: bytes, until: float, latencies: list[float], failures: list[int]) -> None:
        self._request, self._until = request, until
        self._latencies, self._failures = latencies, failures
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self._latencies.append(now - self._sent)
        if (status := self._parser.get_status_code()) != 200:
            self._failures.append(status)
        if now < self._until:
            self._loop.call_soon(self._send)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._sent = time.perf_counter()
        self._transport.write(self._request)


async def load(port: int, path: str, *, connections: int, seconds: float) -> dict[str, Any]:
    """Ask for `seconds`; return requests a second, latencies in ms, and the statuses that were not 200."""
    request = _request(port, path)
    latencies: list[float] = []
    failures: list[int] = []
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    callers = [Caller(request, begun + seconds, latencies, failures) for _ in range(connections)]
    for caller in callers:
        await loop.create_connection(lambda caller=caller: caller, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*(caller.done for caller in callers))
    took = time.perf_counter() - begun
    return {
        "requests": len(latencies),
        "rps": round(len(latencies) / took, 1),
        "ms": spread([latency * 1000 for latency in latencies], 3),
        "failures": sorted(set(failures)),
        "client_cores": round(time.process_time() / took, 2),
    }


def _request(port: int, path: str) -> bytes:
    body = os.environ.get("LOAD_BODY", "").encode()
    method = "POST" if body else "GET"
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept: application/json"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    if token := os.environ.get("LOAD_TOKEN"):
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def main() -> None:
    """Read the arguments, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    result = uvloop.run(load(given.port, given.path, connections=given.connections, seconds=given.seconds))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
