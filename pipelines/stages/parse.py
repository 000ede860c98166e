"""File to text with structure: chooses the parser of a format."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from little_monster.pipelines.stages import ocr
from little_monster.pipelines.stages.document import ParsedDocument
from little_monster.pipelines.stages.docx import parse_docx
from little_monster.pipelines.stages.epub import parse_epub
from little_monster.pipelines.stages.markdown import parse_markdown
from little_monster.pipelines.stages.partition import load_partitioner
from little_monster.pipelines.stages.pdf import parse_pdf
from little_monster.pipelines.stages.pptx import parse_pptx
from little_monster.pipelines.stages.text import parse_text
from little_monster.pipelines.stages.webpage import parse_html
from little_monster.platform.errors import ReadFailure

MAX_PAGES = 5_000

Parser = Callable[[bytes], ParsedDocument]


class Family(StrEnum):
    """Parsers that need the same libraries: `RICH` ones take seconds to load, and 0.2 GB, those of `OCR`
    gigabytes.
    """

    LIGHT = "light"
    RICH = "rich"
    OCR = "ocr"


_FAMILIES = {
    "pdf": Family.LIGHT,
    ocr.FILE_TYPE: Family.OCR,
    "txt": Family.LIGHT,
    "docx": Family.RICH,
    "pptx": Family.RICH,
    "epub": Family.RICH,
    "html": Family.RICH,
    "htm": Family.RICH,
    "md": Family.RICH,
    "markdown": Family.RICH,
}


def parse(source: bytes | Path, file_type: str, *, max_pages: int = MAX_PAGES) -> ParsedDocument:
    """Read a document, in this process. Blocks, for seconds with a large file.

    Args:
        source: the file's content, or where it is.
        file_type: `pdf`, `docx`, `pptx`, `epub`, `html`, `md` or `txt`, in any case, with or without a
            leading dot, or `ocr.FILE_TYPE`.
        max_pages: most pages of a PDF.

    Raises:
        ReadFailure: it cannot be read. `empty_file`, `unknown_file_type`, `no_text` in any format;
            `too_many_pages`; `text_encoding`; of each format `pdf_damaged` and so on, and of those with
            passwords or archives `pdf_encrypted`, `docx_too_large` and so on.
    """
    parser = _parser(_bare(file_type), max_pages)
    content = source.read_bytes() if isinstance(source, Path) else source
    if not content:
        raise ReadFailure("empty_file", "The file is empty.")
    return parser(content)


def family_of(file_type: str) -> Family:
    """Return the family of the parser of a type of file.

    Raises:
        ReadFailure: `unknown_file_type`.
    """
    family = _FAMILIES.get(_bare(file_type))
    if family is None:
        raise _unknown(file_type)
    return family


def preload(family: Family) -> None:
    """Load the libraries of a family, with all that they load with their first file."""
    if family is Family.RICH:
        parse(b"# Cells\n\nA cell has a nucleus, and it divides.", "md")
        for name in ("docx", "pptx", "html"):
            load_partitioner(name)
    if family is Family.OCR:
        ocr.preload()


def _parser(file_type: str, max_pages: int) -> Parser:
    parsers: dict[str, Parser] = {
        "pdf": lambda content: parse_pdf(content, max_pages=max_pages),
        ocr.FILE_TYPE: lambda content: parse_pdf(content, max_pages=max_pages, recognise=ocr.recognise),
        "docx": parse_docx,
        "pptx": parse_pptx,
        "epub": parse_epub,
        "html": parse_html,
        "htm": parse_html,
        "md": parse_markdown,
        "markdown": parse_markdown,
        "txt": parse_text,
    }
    if file_type not in parsers:
        raise _unknown(file_type)
    return parsers[file_type]


def _bare(file_type: str) -> str:
    return file_type.lower().removeprefix(".")


def _unknown(file_type: str) -> ReadFailure:
    return ReadFailure("unknown_file_type", f"Files of type {file_type} cannot be read.")
