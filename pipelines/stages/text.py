"""Plain text files."""

import codecs
import re

from little_monster.pipelines.stages.document import DocumentBuilder, ParsedDocument, storable
from little_monster.platform.errors import ReadFailure

_BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

MAX_TEXT_BYTES = 50 * 2**20

_SAMPLE = 4096
_MAX_CONTROL_SHARE = 0.01


def parse_text(content: bytes) -> ParsedDocument:
    """Read plain text; paragraphs are what blank lines part.

    Raises:
        ReadFailure: `text_encoding`, `too_much_text`, `no_text`.
    """
    builder = DocumentBuilder()
    for paragraph in _BLANK_LINES.split(decode(content)):
        builder.add("paragraph", paragraph)
    return builder.build()


def decode(content: bytes) -> str:
    """Return the text of a file in UTF-8, UTF-16, UTF-32 or Windows-1252, without carriage returns and NULs.

    Raises:
        ReadFailure: `text_encoding`, it is in none of them, or not text; `too_much_text`.
    """
    if len(content) > MAX_TEXT_BYTES:
        raise ReadFailure(
            "too_much_text",
            f"The file has more than {MAX_TEXT_BYTES // 2**20} MB of text; split it and upload the parts.",
        )
    try:
        text = content.decode(_encoding(content))
    except UnicodeDecodeError:
        raise _not_text() from None
    text = storable(text.replace("\r\n", "\n").replace("\r", "\n"))
    if _looks_binary(text):
        raise _not_text()
    return text


def _encoding(content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding
    utf16 = _unmarked_utf16(content[:_SAMPLE])
    return utf16 or ("utf-8" if _is_utf8(content) else "cp1252")


def _unmarked_utf16(sample: bytes) -> str | None:
    # In UTF-16 every other byte of Western text is zero, and it has an even number of them.
    half = len(sample) // 2
    if half and sample[1::2].count(0) > 0.4 * half > 10 * sample[0::2].count(0):
        return "utf-16-le"
    if half and sample[0::2].count(0) > 0.4 * half > 10 * sample[1::2].count(0):
        return "utf-16-be"
    return None


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _looks_binary(text: str) -> bool:
    sample = text[:_SAMPLE]
    control = sum(1 for character in sample if character < " " and not character.isspace())
    return control > _MAX_CONTROL_SHARE * len(sample)


def _not_text() -> ReadFailure:
    return ReadFailure("text_encoding", "The file is not text in UTF-8 or UTF-16; save it as UTF-8.")
