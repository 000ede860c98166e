"""Markdown files."""

import re

from little_monster.pipelines.stages.document import DocumentBuilder, ParsedDocument
from little_monster.pipelines.stages.partition import NO_LANGUAGE_DETECTION, add_elements, load_partitioner
from little_monster.pipelines.stages.text import decode
from little_monster.platform.errors import ReadFailure

# Read as Markdown, the line below the front matter would make it a heading.
_FRONT_MATTER = re.compile(r"\A---[^\S\n]*\n(.*?\n)(?:---|\.\.\.)[^\S\n]*(?:\n|\Z)", re.DOTALL)
_FIELD = r"^{name}:[^\S\n]*[\"']?(.+?)[\"']?[^\S\n]*$"


def parse_markdown(content: bytes) -> ParsedDocument:
    """Read Markdown; the text is what a reader sees, without the marks.

    Raises:
        ReadFailure: `text_encoding`, `no_text`, `markdown_damaged`.
    """
    text = decode(content)
    front = _FRONT_MATTER.match(text)
    builder = DocumentBuilder()
    _add(builder, text[front.end() :] if front else text)
    fields = front.group(1) if front else ""
    return builder.build(
        title=_field(fields, "title") or builder.first_heading(), author=_field(fields, "author")
    )


def _add(builder: DocumentBuilder, text: str) -> None:
    if not text.strip():
        return
    partition = load_partitioner("md").partition_md
    try:
        elements = partition(text=text, languages=NO_LANGUAGE_DETECTION)
    # The library lets through whatever its parsers raise; all of it means the same to the owner of the file.
    except Exception as error:
        raise ReadFailure("markdown_damaged", "The Markdown file cannot be read.") from error
    add_elements(builder, elements)


def _field(fields: str, name: str) -> str | None:
    found = re.search(_FIELD.format(name=name), fields, re.MULTILINE | re.IGNORECASE)
    return found.group(1) if found else None
