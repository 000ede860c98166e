"""The fixed ports of one stack, all moved together by `LM_RUNTIME__PORT_OFFSET`."""

import socket
from dataclasses import dataclass

from little_monster.platform.settings import RuntimeSettings


@dataclass(frozen=True, slots=True)
class Ports:
    """Where things listen; `offset` is already added."""

    http: int
    dashboard: int
    gcs: int
    offset: int

    @classmethod
    def of(cls, runtime: RuntimeSettings) -> "Ports":
        """Return the ports that the settings say."""
        offset = runtime.port_offset
        return cls(
            runtime.http_port + offset, runtime.dashboard_port + offset, runtime.gcs_port + offset, offset
        )

    def serve_environment(self) -> dict[str, str]:
        """Return Ray Serve's own ports, its defaults plus the offset, as variables that it reads."""
        defaults = {
            "RAY_SERVE_HAPROXY_METRICS_PORT": 9101,
            "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500,
            "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": 9500,
            "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": 30_000,
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": 30_999,
            "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": 40_000,
            "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": 40_999,
        }
        return {name: str(port + self.offset) for name, port in defaults.items()}

    def named(self) -> dict[str, int]:
        """Return each port that must be free, by what it is for."""
        serve = self.serve_environment()
        return {
            "HTTP API": self.http,
            "Ray dashboard": self.dashboard,
            "Ray control service": self.gcs,
            "HAProxy metrics": int(serve["RAY_SERVE_HAPROXY_METRICS_PORT"]),
            "HAProxy statistics": int(serve["RAY_SERVE_HAPROXY_STATS_PORT"]),
            "Ray Serve fallback proxy": int(serve["RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"]),
        }


def is_free(port: int) -> bool:
    """Say whether a server could listen on this port, on every interface."""
    for host in ("127.0.0.1", "0.0.0.0"):
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                server.bind((host, port))
            except OSError:
                return False
    return True


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port
