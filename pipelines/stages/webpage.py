"""Web pages."""

import codecs
import re
from importlib import import_module
from typing import Any

from little_monster.pipelines.stages.document import DocumentBuilder, ParsedDocument
from little_monster.pipelines.stages.partition import add_elements, failing_as, partition
from little_monster.pipelines.stages.text import decode
from little_monster.platform.errors import ReadFailure

# Where a page may name its encoding (WHATWG, "prescan a byte stream to determine its encoding").
_PRESCAN_BYTES = 1024
_CHARSET = re.compile(rb"<meta[^>]*charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)

# None of them is shown as text: what they hold is for programs, or for browsers without scripts.
_NOT_TEXT = ("script", "style", "noscript", "template", "iframe", "object", "embed", "svg", "canvas", "head")
_FIGURES = ".//img | .//svg | .//canvas | .//video | .//object | .//embed"
_DATES = ("dcterms.modified", "article:modified_time", "date", "dcterms.date", "article:published_time")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def parse_html(content: bytes) -> ParsedDocument:
    """Read a web page: what a browser shows of it. Nothing that it names is fetched.

    Raises:
        ReadFailure: `text_encoding`, `too_much_text`, `html_damaged`, `no_text`.
    """
    text = _decode(content)
    builder = DocumentBuilder()
    add_html(builder, text)
    root = read_html(text)
    if root is None:
        return builder.build()
    return builder.build(
        title=_first(root, "string(//head/title)") or builder.first_heading(),
        author=_meta(root, "author") or _meta(root, "article:author"),
        date=next((day for name in _DATES if (day := _day(_meta(root, name)))), None),
    )


def add_html(builder: DocumentBuilder, text: str) -> None:
    """Add what a page shows to a document.

    Raises:
        ReadFailure: `html_damaged`.
    """
    lxml: Any = import_module("lxml.etree")
    root = read_html(text)
    if root is None:
        return
    with failing_as(_damaged):
        figures = root.xpath(_FIGURES)
        formulas = root.xpath(".//math")
        builder.saw("figures", len(figures), kept=sum(1 for one in figures if (one.get("alt") or "").strip()))
        builder.saw("formulas", len(formulas), kept=sum(1 for one in formulas if one.text_content().strip()))
        lxml.strip_elements(root, *_NOT_TEXT, lxml.Comment, with_tail=False)
        shown = lxml.tostring(root, encoding="unicode", method="html")
    if shown.strip():
        add_elements(builder, partition("html", _damaged, text=shown))


def read_html(text: str) -> Any:
    """Return the tree of a page, None when there is nothing in it. Raises as `add_html`."""
    etree: Any = import_module("lxml.etree")
    html: Any = import_module("lxml.html")
    with failing_as(_damaged):
        # In bytes, as lxml refuses a text that names an encoding.
        parser = html.HTMLParser(encoding="utf-8", no_network=True, remove_pis=True)
        try:
            return html.document_fromstring(text.encode(), parser=parser, ensure_head_body=True)
        except etree.ParserError:
            # "Document is empty".
            return None


def _decode(content: bytes) -> str:
    named = _CHARSET.search(content[:_PRESCAN_BYTES])
    if named:
        try:
            return decode(content.decode(codecs.lookup(named.group(1).decode()).name).encode())
        except (LookupError, ValueError):
            # It names none, or not its own.
            pass
    return decode(content)


def _meta(root: Any, name: str) -> str | None:
    query = "string(//meta[@name=$name or @property=$name]/@content)"
    return _first(root, query, name=name)


def _first(root: Any, query: str, **values: str) -> str | None:
    with failing_as(_damaged):
        return str(root.xpath(query, **values)).strip() or None


def _day(text: str | None) -> str | None:
    found = _DATE.match(text or "")
    return found.group() if found else None


def _damaged() -> ReadFailure:
    return ReadFailure("html_damaged", "The web page cannot be read; save it again from a browser.")
