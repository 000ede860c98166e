"""What caches may keep of an answer."""

from fastapi import Response


def forbid_storing(response: Response) -> None:
    """Let no cache keep an answer that carries tokens or secrets (RFC 6749, section 5.1)."""
    response.headers["Cache-Control"] = "no-store"
