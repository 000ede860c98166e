"""What `/readyz` says."""

import httpx


def not_ready(client: httpx.Client, url: str) -> str | None:
    """Return None when every part is ready, else which are not."""
    try:
        answer = client.get(url)
        if answer.is_success:
            return None
        parts = answer.json().get("parts", {})
    except (httpx.HTTPError, ValueError, AttributeError):
        return "the HTTP API does not answer yet"
    waiting = [
        f"{name}: {part.get('error') or 'not ready'}" for name, part in parts.items() if not part.get("ok")
    ]
    return "; ".join(waiting) or f"HTTP {answer.status_code}"
