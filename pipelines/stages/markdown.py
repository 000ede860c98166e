"""Markdown files."""

import re

from little_monster.pipelines.stages.document import DocumentBuilder, ParsedDocument
from little_monster.pipelines.stages.partition import add_elements, partition
from little_monster.pipelines.stages.text import decode
from little_monster.platform.errors import ReadFailure

# Read as Markdown, the line below the front matter would make it a heading.
_FRONT_MATTER = re.compile(r"\A---[^\S\n]*\n(.*?\n)(?:---|\.\.\.)[^\S\n]*(?:\n|\Z)", re.DOTALL)
# A formula stays in the text as it was written, in TeX.
_FORMULA = re.compile(r"\$\$.+?\$\$|(?<![\\$\w])\$(?=\S)[^$\n]{1,200}?(?<=\S)\$(?![\w$])", re.DOTALL)
_FIGURE = re.compile(r"!\[[^\[\]\n]{0,300}\]")
_NAMED_FIGURE = re.compile(r"!\[[^\[\]\n]{0,300}?\w[^\[\]\n]{0,300}\]")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_FIELD = r"^{name}:[^\S\n]*[\"']?(.+?)[\"']?[^\S\n]*$"


def parse_markdown(content: bytes) -> ParsedDocument:
    """Read Markdown; the text is what a reader sees, without the marks.

    Raises:
        ReadFailure: `text_encoding`, `too_much_text`, `no_text`, `markdown_damaged`.
    """
    text = decode(content)
    front = _FRONT_MATTER.match(text)
    builder = DocumentBuilder()
    _add(builder, text[front.end() :] if front else text)
    fields = front.group(1) if front else ""
    day = _DAY.match(_field(fields, "date") or "")
    return builder.build(
        title=_field(fields, "title") or builder.first_heading(),
        author=_field(fields, "author"),
        date=day.group() if day else None,
    )


def _add(builder: DocumentBuilder, text: str) -> None:
    if not text.strip():
        return
    builder.saw("figures", len(_FIGURE.findall(text)), kept=len(_NAMED_FIGURE.findall(text)))
    formulas = len(_FORMULA.findall(text))
    builder.saw("formulas", formulas, kept=formulas)
    add_elements(builder, partition("md", _damaged, text=text))


def _field(fields: str, name: str) -> str | None:
    found = re.search(_FIELD.format(name=name), fields, re.MULTILINE | re.IGNORECASE)
    return found.group(1) if found else None


def _damaged() -> ReadFailure:
    return ReadFailure("markdown_damaged", "The Markdown file cannot be read; save it as plain text (.txt).")
