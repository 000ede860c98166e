"""Electronic books (EPUB 2 and 3): web pages in a zip, in the order of their spine."""

import posixpath
import re
import zipfile
from collections.abc import Iterator
from importlib import import_module
from typing import Any
from urllib.parse import unquote

from little_monster.pipelines.stages.archives import open_archive, read_entry
from little_monster.pipelines.stages.document import DocumentBuilder, ParsedDocument
from little_monster.pipelines.stages.partition import failing_as
from little_monster.pipelines.stages.text import decode
from little_monster.pipelines.stages.webpage import add_html
from little_monster.platform.errors import ReadFailure

_CONTAINER, _RIGHTS = "META-INF/container.xml", "META-INF/rights.xml"
_PAGE_TYPES = ("application/xhtml+xml", "text/html", "application/xml", "text/xml")
_DATE = re.compile(r"\d{4}(?:-\d{2}-\d{2})?")


def parse_epub(content: bytes) -> ParsedDocument:
    """Read a book. It has no pages: each reader lays it out anew.

    Raises:
        ReadFailure: `epub_encrypted`, `epub_damaged`, `epub_too_large`, `no_text`; of a page `text_encoding`,
            `too_much_text`, `html_damaged`.
    """
    with open_archive(content, kind="epub", needs=_CONTAINER, damaged=_damaged) as archive:
        if _RIGHTS in archive.namelist():
            raise ReadFailure("epub_encrypted", "The book is protected against reading; get one that is not.")
        place, package = _package(archive)
        builder = DocumentBuilder()
        for name in _spine(place, package):
            add_html(builder, decode(read_entry(archive, name, _damaged)))
    date = _DATE.match(_property(package, "date") or "")
    return builder.build(
        title=_property(package, "title") or builder.first_heading(),
        author=_property(package, "creator"),
        date=date.group() if date else None,
    )


def _package(archive: zipfile.ZipFile) -> tuple[str, Any]:
    """Return where the file of the package is, and its tree."""
    container = _xml(read_entry(archive, _CONTAINER, _damaged))
    paths = container.xpath("//*[local-name() = 'rootfile']/@full-path")
    if not paths:
        raise _damaged()
    return paths[0], _xml(read_entry(archive, paths[0], _damaged))


def _spine(place: str, package: Any) -> Iterator[str]:
    """Yield the names of the pages, in order of reading."""
    items = {item.get("id"): item for item in package.xpath("//*[local-name() = 'item']")}
    for name in package.xpath("//*[local-name() = 'itemref']/@idref"):
        item = items.get(name)
        if item is not None and item.get("href") and item.get("media-type") in _PAGE_TYPES:
            yield posixpath.normpath(posixpath.join(posixpath.dirname(place), unquote(item.get("href"))))


def _property(package: Any, name: str) -> str | None:
    query = "string(//*[local-name() = 'metadata']/*[local-name() = $name][1])"
    return str(package.xpath(query, name=name)).strip() or None


def _xml(content: bytes) -> Any:
    etree: Any = import_module("lxml.etree")
    # Entities are what a bomb is made of, and what reaches for other files.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    with failing_as(_damaged):
        root = etree.fromstring(content, parser)
        if root is None:
            raise _damaged()
        return root


def _damaged() -> ReadFailure:
    return ReadFailure("epub_damaged", "The file is not a book in EPUB, or it is damaged; download it again.")
