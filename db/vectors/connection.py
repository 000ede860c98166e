"""The way to a Qdrant server: over HTTP or gRPC, encrypted or not, with repetitions."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from qdrant_client import AsyncQdrantClient

ATTEMPTS = 4
"""Times that one call is tried: everything that is asked of the server may be asked twice."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_REPEATED = frozenset({429, 500, 502, 503, 504})
_CONNECTIONS = httpx.Limits(max_connections=100, max_keepalive_connections=20)


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is. `grpc_port` None: HTTP only; `ca_certificate`: a PEM file of who signed the server's
    certificate, None for the authorities that the machine trusts."""

    url: str
    api_key: str | None = None
    grpc_port: int | None = None
    ca_certificate: Path | None = None
    timeout_s: int = 10


def connect(server: Server) -> AsyncQdrantClient:
    """Return a client; nothing connects yet."""
    authorities = None if server.ca_certificate is None else server.ca_certificate.read_bytes()
    return AsyncQdrantClient(
        url=server.url,
        api_key=server.api_key,
        prefer_grpc=server.grpc_port is not None,
        grpc_port=server.grpc_port or 6334,
        grpc_options=_grpc_options(authorities),
        # The check would ask the server, in a blocking way, before anything else.
        check_compatibility=False,
        timeout=server.timeout_s,
        transport=RetryingTransport(
            httpx.AsyncHTTPTransport(verify=_trust(authorities), limits=_CONNECTIONS)
        ),
    )


class RetryingTransport(httpx.AsyncBaseTransport):
    """Repeats a request that the server could not answer now, or not in time, with growing pauses."""

    def __init__(self, transport: httpx.AsyncBaseTransport, *, first_pause_s: float = _FIRST_PAUSE_S) -> None:
        self._transport, self._first_pause_s = transport, first_pause_s

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer; the last one, whatever it is."""
        for attempt in range(ATTEMPTS - 1):
            try:
                response = await self._transport.handle_async_request(request)
            except httpx.TransportError:
                pause_s = self._pause_s(attempt, {})
            else:
                if response.status_code not in _REPEATED:
                    return response
                pause_s = self._pause_s(attempt, response.headers)
                await response.aclose()
            await asyncio.sleep(pause_s)
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    def _pause_s(self, attempt: int, headers: Mapping[str, str]) -> float:
        asked = headers.get("retry-after", "")
        pause_s = float(asked) if asked.isdigit() else self._first_pause_s * 2**attempt
        return min(pause_s, _LONGEST_PAUSE_S)


def _trust(authorities: bytes | None) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authorities.decode() if authorities else None)


def _grpc_options(authorities: bytes | None) -> dict[str, Any]:
    """Return options of the channels; gRPC repeats by itself, as its service configuration says."""
    policy = {
        "maxAttempts": ATTEMPTS,
        "initialBackoff": f"{_FIRST_PAUSE_S}s",
        "maxBackoff": f"{_LONGEST_PAUSE_S}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"],
    }
    config = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}
    options: dict[str, Any] = {"grpc.service_config": json.dumps(config), "grpc.enable_retries": 1}
    return options if authorities is None else {**options, "root_certificates": authorities}
