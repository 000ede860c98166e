"""File to text with structure: chooses the parser of a format."""

from collections.abc import Callable
from pathlib import Path

from little_monster.pipelines.stages.document import ParsedDocument
from little_monster.pipelines.stages.docx import parse_docx
from little_monster.pipelines.stages.markdown import parse_markdown
from little_monster.pipelines.stages.pdf import parse_pdf
from little_monster.pipelines.stages.text import parse_text
from little_monster.platform.errors import ReadFailure

MAX_PAGES = 5_000

Parser = Callable[[bytes], ParsedDocument]


def parse(source: bytes | Path, file_type: str, *, max_pages: int = MAX_PAGES) -> ParsedDocument:
    """Read a document. Blocks, for seconds with a large file.

    Args:
        source: the file's content, or where it is.
        file_type: `pdf`, `docx`, `md` or `txt`, in any case, with or without a leading dot.
        max_pages: most pages of a PDF.

    Raises:
        ReadFailure: it cannot be read. `empty_file`, `unknown_file_type`, `no_text` in any format;
        `pdf_encrypted`,
            `pdf_damaged`, `too_many_pages`; `docx_encrypted`, `docx_damaged`, `docx_too_large`;
            `text_encoding`, `markdown_damaged`.
    """
    parser = _parser(file_type.lower().removeprefix("."), max_pages)
    content = source.read_bytes() if isinstance(source, Path) else source
    if not content:
        raise ReadFailure("empty_file", "The file is empty.")
    return parser(content)


def _parser(file_type: str, max_pages: int) -> Parser:
    parsers: dict[str, Parser] = {
        "pdf": lambda content: parse_pdf(content, max_pages=max_pages),
        "docx": parse_docx,
        "md": parse_markdown,
        "markdown": parse_markdown,
        "txt": parse_text,
    }
    if file_type not in parsers:
        raise ReadFailure("unknown_file_type", f"Files of type {file_type} cannot be read.")
    return parsers[file_type]
