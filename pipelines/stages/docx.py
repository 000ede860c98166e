"""Word documents (Office Open XML)."""

import io
import zipfile
from importlib import import_module
from typing import Any

from little_monster.pipelines.stages.document import DocumentBuilder, ParsedDocument
from little_monster.pipelines.stages.partition import NO_LANGUAGE_DETECTION, add_elements, load_partitioner
from little_monster.platform.errors import ReadFailure

# A password turns a DOCX into an OLE compound file, which the old binary .doc is too.
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

MAX_UNPACKED_BYTES = 300 * 2**20


def parse_docx(content: bytes) -> ParsedDocument:
    """Read a Word document. Its pages are those that Word marked when it last laid it out, if it did.

    Raises:
        ReadFailure: `docx_encrypted`, `docx_damaged`, `docx_too_large`, `no_text`.
    """
    _check_archive(content)
    partition = load_partitioner("docx").partition_docx
    builder = DocumentBuilder()
    try:
        properties = import_module("docx").Document(io.BytesIO(content)).core_properties
        elements = partition(file=io.BytesIO(content), languages=NO_LANGUAGE_DETECTION)
    # The libraries let through whatever the XML below raises; all of it means the same to the owner of the
    # file.
    except Exception as error:
        raise _damaged() from error
    add_elements(builder, elements)
    return builder.build(
        title=properties.title or builder.first_heading(),
        author=properties.author,
        page_count=_page_count(elements),
    )


def _check_archive(content: bytes) -> None:
    if content.startswith(_OLE):
        raise ReadFailure(
            "docx_encrypted",
            "The file has a password or is an old .doc; save it as a .docx without one.",
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            names = set(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        raise _damaged() from None
    if "[Content_Types].xml" not in names:
        raise _damaged()
    if unpacked > MAX_UNPACKED_BYTES:
        raise ReadFailure("docx_too_large", "The Word document unpacks to more than 300 MB.")


def _page_count(elements: list[Any]) -> int | None:
    return max((element.metadata.page_number or 0 for element in elements), default=0) or None


def _damaged() -> ReadFailure:
    return ReadFailure("docx_damaged", "The file is not a Word document (.docx), or it is damaged.")
