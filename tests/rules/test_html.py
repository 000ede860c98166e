"""Nothing of ours is a page of HTML by accident: where one is made is known, and each comes with a policy.

What people write is stored as it is and returned as JSON; nothing turns it into markup.
"""

import ast
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from little_monster.platform.http.app import create_app
from little_monster.platform.http.safe_headers import safe_headers
from little_monster.platform.services import letters

ROOT = Path(__file__).parents[2]
# The page of the API, and where the header is added.
MAKERS = {"platform/http/routes/docs.py", "platform/http/safe_headers.py"}
# What reads HTML into text, or names the type of a file that is sent to us.
READERS = {"pipelines/stages/epub.py", "platform/cli/uploads.py"}
# What makes HTML of something else, or trusts it.
RENDERERS = {"markdown", "markdown_it", "mistune", "jinja2", "nh3", "bleach"}


def sources() -> list[Path]:
    rooms = ("db", "platform", "deployments", "pipelines")
    return [path for room in rooms for path in (ROOT / room).rglob("*.py")]


def names_html(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            if "text/html" in text.lower():
                return True
        if isinstance(node, ast.Name | ast.alias):
            name = node.id if isinstance(node, ast.Name) else node.name
            if name.rpartition(".")[2] == "HTMLResponse":
                return True
    return False


def test_html_is_made_in_known_places() -> None:
    found = {str(path.relative_to(ROOT)) for path in sources() if names_html(ast.parse(path.read_text()))}
    assert found == MAKERS | READERS


def test_the_api_renders_nothing() -> None:
    """Markdown is read (into the text of documents) and never written as markup."""
    for path in (ROOT / "platform").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {module.partition(".")[0] for module in modules} & RENDERERS, path


@pytest.mark.parametrize(
    "kind",
    [
        b"text/html",
        b"Text/HTML; charset=utf-8",
        b"text/html;charset=utf-8",
        b"application/xhtml+xml",
        b"image/svg+xml",
        b"text/xml",
    ],
)
def test_every_page_gets_a_policy(kind: bytes) -> None:
    added = dict(safe_headers([(b"content-type", kind)]))
    assert added[b"content-security-policy"].startswith(b"default-src 'none'")
    assert b"sandbox" in added[b"content-security-policy"]
    assert added[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize("kind", [b"application/json", b"text/calendar", b"text/event-stream", b""])
def test_everything_else_is_never_taken_for_one(kind: bytes) -> None:
    assert dict(safe_headers([(b"content-type", kind)]))[b"x-content-type-options"] == b"nosniff"


def _nothing() -> Any:
    raise AssertionError("the document is made without resources")


def test_no_operation_promises_html() -> None:
    document = create_app(_nothing).openapi()
    kinds = {
        kind
        for path in document["paths"].values()
        for operation in path.values()
        for answer in operation["responses"].values()
        for kind in answer.get("content", {})
    }
    assert "application/json" in kinds
    assert not [kind for kind in kinds if "html" in kind]


@pytest.mark.parametrize(
    "letter",
    [
        letters.verification("us@example.com", "you@example.com", "<b>code</b>"),
        letters.password_reset("us@example.com", "you@example.com", "<b>code</b>"),
        letters.password_changed("us@example.com", "you@example.com"),
    ],
)
def test_a_letter_is_plain_text(letter: EmailMessage) -> None:
    assert [part.get_content_type() for part in letter.walk()] == ["text/plain"]
