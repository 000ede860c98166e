"""Links between resources: `_links` in a body (as HAL has them) and the `Link` header (RFC 8288)."""

from collections.abc import Mapping
from urllib.parse import quote_plus, urlencode

from fastapi import Request
from pydantic import BaseModel

API = "/api/v1"


class Link(BaseModel):
    """A link, as a path on this host."""

    href: str


Links = dict[str, Link]


def link(*parts: object, **query: object) -> Link:
    """Return the link of a resource of the product API: `link("jobs", job_id)` is `/api/v1/jobs/{job_id}`;
    `query` becomes its query parameters."""
    path = "/".join([API, *map(str, parts)])
    if query:
        path += "?" + "&".join([f"{name}={quote_plus(str(value))}" for name, value in query.items()])
    return Link(href=path)


def absolute(request: Request, path: str, public_url: str | None) -> str:
    """Return the address of a path at `public_url`; None: at the host that the request names."""
    return (public_url or str(request.base_url)).rstrip("/") + path


def page_link(request: Request, cursor: str | None) -> Link:
    """Return the link of this list at another cursor (None: the first page), other query parameters kept."""
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    if cursor is not None:
        query.append(("cursor", cursor))
    return Link(href=f"{request.url.path}?{urlencode(query)}" if query else request.url.path)


def link_header(links: Mapping[str, Link]) -> str:
    """Return the value of a `Link` header: `</api/v1/jobs?cursor=x>; rel="next"`."""
    return ", ".join(f'<{link.href}>; rel="{relation}"' for relation, link in links.items())
