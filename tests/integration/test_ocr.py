"""Scanned pages are recognised for real: Tesseract, in the process that a file is parsed in."""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from importlib import import_module
from pathlib import Path

import pytest

from little_monster.pipelines.sandbox.client import Sandbox
from little_monster.pipelines.stages import ocr
from little_monster.pipelines.stages.document import ParsedDocument, Tally
from little_monster.pipelines.stages.parse import parse
from tests.fixtures import documents
from tests.fixtures.layouts import keep_layout_model

pytestmark = pytest.mark.skipif(not ocr.is_installed(), reason="needs the extra `ocr` and Tesseract")

SCAN = documents.photographed(documents.pdf(repeat=6))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox()
    yield sandbox
    sandbox.close()


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def page_texts(document: ParsedDocument) -> list[str]:
    return [document.text[page.start : page.end] for page in document.pages]


def test_a_scan_is_read_like_the_file_it_was_made_of(sandbox: Sandbox) -> None:
    written = parse(documents.pdf(repeat=6), "pdf")
    answer = sandbox.ask(SCAN, ocr.FILE_TYPE)
    seen = sandbox.document_of(answer)
    assert [page.number for page in seen.pages] == [1, 2, 3]
    for was, read in zip(page_texts(written), page_texts(seen), strict=True):
        assert SequenceMatcher(None, words(was), words(read), autojunk=False).ratio() > 0.98
    assert (seen.report.recognised, seen.report.needs_ocr) == ((1, 2, 3), ())
    assert seen.report.recognised_by == "ocr_only"
    assert seen.report.pages == Tally(3, 3)
    # It stays far below what it may use.
    assert answer.ending.peak_bytes < answer.limits.memory_bytes / 4
    assert answer.ending.cpu_s < 60


@pytest.mark.parametrize("turned", [0, 90])
def test_what_is_read_stands_where_it_was_written(turned: int) -> None:
    written = parse(documents.pdf(repeat=6), "pdf")
    scan = documents.photographed(documents.pdf(repeat=6), turned=turned)
    seen = parse(scan, ocr.FILE_TYPE)
    first = next(one for one in seen.lines if one.page == 1)
    heading = written.lines[0]
    assert seen.text[first.start : first.end] == "1 Cells"
    if not turned:
        assert tuple(first[3:]) == pytest.approx(tuple(heading[3:]), abs=4)
    else:
        # On its side the page is as wide as it was high, and what was written at its top stands at its left.
        width, height = 595.3, 841.9
        assert first.left == pytest.approx((height - heading.top) * width / height, abs=6)
        assert first.bottom == pytest.approx(heading.left * height / width, abs=6)


def test_a_picture_without_words_has_none() -> None:
    document = parse(documents.pictured_pdf(), ocr.FILE_TYPE)
    assert (document.report.recognised, document.textless_pages) == ((3,), (3, 4))


def test_time_that_is_up_leaves_pages_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "BUDGET_S", 0.01)
    report = parse(SCAN, ocr.FILE_TYPE).report
    assert (report.recognised, report.needs_ocr) == ((1,), (2, 3))


def test_the_languages_are_those_that_tesseract_has(monkeypatch: pytest.MonkeyPatch) -> None:
    tesseract = import_module("unstructured_pytesseract")
    monkeypatch.setattr(tesseract, "get_languages", lambda: ["deu", "eng", "osd", "script/Latin"])
    assert ocr._languages.__wrapped__() == ["eng", "deu"]


def test_a_model_of_layouts_is_used_where_it_is(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keep_layout_model(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    scan = documents.photographed(documents.pdf(documents.PDF_PAGES[:1], repeat=6))
    document = sandbox.parse(scan, ocr.FILE_TYPE)
    assert document.report.recognised_by == "hi_res"
    # The model takes the whole page for one title.
    assert [block.kind for block in document.blocks] == ["heading"]
    assert "The mitochondrion makes energy for the cell." in document.text
