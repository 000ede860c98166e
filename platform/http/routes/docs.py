"""The page on which people read and try the API, with a policy of its own for what it may load."""

import base64
import hashlib
import re

from fastapi import APIRouter, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from little_monster.platform.http.safe_headers import POLICY

router = APIRouter(include_in_schema=False)

_SCRIPTS = "https://cdn.jsdelivr.net"
_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def _page() -> HTMLResponse:
    page = get_swagger_ui_html(
        openapi_url="/openapi.json", title="Little Monster", swagger_favicon_url="data:,"
    )
    # Its one script of its own is named by its hash (CSP level 3, section 2.3.1), so that no other can run.
    (script,) = _INLINE.findall(page.body)
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    page.headers[POLICY] = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_SCRIPTS} 'sha256-{digest}'",
            f"style-src {_SCRIPTS} 'unsafe-inline'",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return page


_PAGE = _page()


@router.get("/docs")
async def docs() -> Response:
    """Return the page."""
    return _PAGE
