"""Every format becomes text with structure, and every bad file a reason."""

import io
import pickle
import socket
import zipfile
from collections.abc import Sequence

import docx
import pypdfium2
import pytest
from unstructured.documents.coordinates import PointSpace
from unstructured.documents.elements import CoordinatesMetadata, ElementMetadata, Text, Title

from little_monster.pipelines.stages.document import Box, ParsedDocument, Tally
from little_monster.pipelines.stages.ocr import Recognised
from little_monster.pipelines.stages.parse import parse
from little_monster.pipelines.stages.pdf import parse_pdf
from little_monster.platform.errors import ReadFailure
from tests.fixtures import documents


def blocks(document: ParsedDocument) -> list[tuple[str, int, str]]:
    return [(block.kind, block.level, document.text[block.start : block.end]) for block in document.blocks]


def code_of(content: bytes, file_type: str, **limits: int) -> str:
    with pytest.raises(ReadFailure) as failure:
        parse(content, file_type, **limits)
    assert failure.value.reason.endswith(".")
    return failure.value.code


class TestPdf:
    def test_pages_blocks_and_properties(self) -> None:
        document = parse(documents.pdf(), "pdf")
        assert (document.title, document.author) == ("Biology for beginners", "R. Franklin")
        assert document.page_count == 3
        assert [page.number for page in document.pages] == [1, 2, 3]
        for page, (heading, text) in zip(document.pages, documents.PDF_PAGES, strict=True):
            on_page = document.text[page.start : page.end]
            assert on_page.startswith(f"{page.number} {heading}\n\n")
            assert text.split(". ")[0] in " ".join(on_page.split())
        assert [block[:2] for block in blocks(document)] == [("heading", 1), ("paragraph", 0)] * 3

    def test_textless_pages_are_named(self) -> None:
        document = parse(documents.pdf((*documents.PDF_PAGES, documents.BLANK_PAGE)), "pdf")
        assert document.page_count == 4
        assert document.textless_pages == (4,)

    def test_one_that_only_forbids_changes_is_read(self) -> None:
        assert parse(documents.encrypted_pdf(user_password=""), "pdf").page_count == 3

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"", "empty_file"),
            (b"%PDF-1.7 and nothing of the kind", "pdf_damaged"),
            (documents.encrypted_pdf(), "pdf_encrypted"),
            (documents.scanned_pdf(), "no_text"),
            *[(documents.truncated_pdf(share), "pdf_damaged") for share in (0.05, 0.3, 0.6, 0.9, 0.99)],
        ],
    )
    def test_bad_files(self, content: bytes, code: str) -> None:
        assert code_of(content, "pdf") == code

    def test_a_repaired_but_incomplete_file_is_refused(self) -> None:
        whole = documents.pdf()
        # PDFium opens this one: it finds the objects without their table.
        assert code_of(whole[: whole.rindex(b"xref")] + b"trailer<</Root 1 0 R>>", "pdf") == "pdf_damaged"

    def test_too_many_pages(self) -> None:
        assert code_of(documents.pdf(), "pdf", max_pages=2) == "too_many_pages"

    def test_lines_stand_where_their_text_is(self) -> None:
        content = documents.pdf()
        document = parse(content, "pdf")
        lines = [document.text[line.start : line.end] for line in document.lines]
        assert "".join(lines) == document.text.replace("\n", "")
        with pypdfium2.PdfDocument(content) as pdf:
            for line, text in zip(document.lines, lines, strict=True):
                bounds = (line.left, line.bottom, line.right, line.top)
                assert pdf[line.page - 1].get_textpage().get_text_bounded(*bounds).split() == text.split()

    def test_a_hyphenated_word_is_one_and_stands_on_two_lines(self) -> None:
        document = parse(documents.hyphenated_pdf(), "pdf")
        assert document.text == "The cell makes energy in its mitochondria and then stores it."
        first, second = (document.text[line.start : line.end] for line in document.lines)
        assert (first, second) == ("The cell makes energy in its mitochon", "dria and then stores it.")
        assert document.lines[0].bottom >= document.lines[1].bottom + 10
        assert abs(document.lines[0].left - document.lines[1].left) < 1

    def test_lists_and_captions(self) -> None:
        document = parse(documents.listing_pdf(), "pdf")
        assert blocks(document) == [
            ("paragraph", 0, "Cells have parts:"),
            ("list", 0, "• a nucleus, which holds\nthe genes"),
            ("list", 0, "• mitochondria"),
            ("paragraph", 0, "Table 2.1: sizes"),
            ("paragraph", 0, "Table 2.1 and Table 2.2 are ours."),
        ]
        assert document.report.tables == Tally(1, 0)

    def test_what_is_lost_is_told(self) -> None:
        report = parse(documents.pictured_pdf(), "pdf").report
        assert report.pages == Tally(4, 2)
        assert report.needs_ocr == (3,)
        assert report.figures == Tally(2, 0)

    def test_scans_are_recognised(self) -> None:
        asked: list[tuple[int, ...]] = []

        def recognise(content: bytes, pages: Sequence[int]) -> Recognised:
            asked.append(tuple(pages))
            return Recognised("ocr_only", {number: [Text(text="Seen on the scan.")] for number in pages})

        document = parse_pdf(documents.pictured_pdf(), max_pages=10, recognise=recognise)
        assert asked == [(3,)]
        assert (document.report.recognised, document.report.needs_ocr) == ((3,), ())
        assert document.report.recognised_by == "ocr_only"
        assert document.report.pages == Tally(4, 3)
        third = document.pages[2]
        assert (third.number, document.text[third.start : third.end]) == (3, "Seen on the scan.")

    def test_a_scan_only_is_recognised_too(self) -> None:
        document = parse_pdf(
            documents.scanned_pdf(1),
            max_pages=10,
            recognise=lambda *_: Recognised("hi_res", {1: [Text(text="All of it.")]}),
        )
        assert (document.text, document.report.recognised) == ("All of it.", (1,))

    def test_what_is_recognised_stands_in_its_place(self) -> None:
        corners = ((30, 700), (30, 720), (90, 720), (90, 700))
        places = CoordinatesMetadata(corners, PointSpace(width=595, height=842))
        seen = [Title(text=" Cells ", metadata=ElementMetadata(coordinates=places)), Text(text="Loose.")]
        document = parse_pdf(
            documents.scanned_pdf(1), max_pages=10, recognise=lambda *_: Recognised("ocr_only", {1: seen})
        )
        assert blocks(document) == [("heading", 1, "Cells"), ("paragraph", 0, "Loose.")]
        assert document.lines == (Box(1, 0, 5, 30.0, 700.0, 90.0, 720.0),)
        assert [(page.number, page.start, page.end) for page in document.pages] == [(1, 0, 13)]

    def test_pages_that_there_was_no_time_for_stay_named(self) -> None:
        document = parse_pdf(
            documents.scanned_pdf(3),
            max_pages=10,
            recognise=lambda *_: Recognised("ocr_only", {1: [Text(text="The first.")], 2: []}),
        )
        report = document.report
        assert (report.recognised, report.needs_ocr, document.textless_pages) == ((1, 2), (3,), (2, 3))
        with pytest.raises(ReadFailure, match="none was recognised") as raised:
            parse_pdf(
                documents.scanned_pdf(1),
                max_pages=10,
                recognise=lambda *_: Recognised("ocr_only", {1: []}),
            )
        assert raised.value.code == "no_text"


class TestDocx:
    def test_headings_lists_tables_and_properties(self) -> None:
        document = parse(documents.docx_file(), "docx")
        assert (document.title, document.author, document.page_count) == ("Chemistry", "M. Curie", None)
        assert blocks(document) == [
            ("heading", 1, "Atoms"),
            ("paragraph", 0, "An atom has a nucleus. Electrons surround it."),
            ("heading", 2, "Isotopes"),
            ("paragraph", 0, "Isotopes differ in the number of neutrons."),
            ("list", 0, "carbon-12"),
            ("list", 0, "carbon-14"),
            ("table", 0, "| element | symbol |\n| --- | --- |\n| radium | Ra |"),
            ("heading", 1, "Bonds"),
            ("paragraph", 0, "A covalent bond shares electrons."),
        ]

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"", "empty_file"),
            (b"this is no zip", "docx_damaged"),
            (documents.docx_file()[:2000], "docx_damaged"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "docx_encrypted"),
        ],
    )
    def test_bad_files(self, content: bytes, code: str) -> None:
        assert code_of(content, "docx") == code

    @pytest.mark.parametrize("names", [["a.txt"], ["[Content_Types].xml"]])
    def test_another_zip(self, names: list[str]) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in names:
                archive.writestr(name, "x")
        assert code_of(buffer.getvalue(), "docx") == "docx_damaged"

    def test_without_text(self) -> None:
        buffer = io.BytesIO()
        docx.Document().save(buffer)
        assert code_of(buffer.getvalue(), "docx") == "no_text"

    def test_a_bomb_is_not_unpacked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("little_monster.pipelines.stages.archives.MAX_UNPACKED_BYTES", 1000)
        assert code_of(documents.docx_file(), "docx") == "docx_too_large"

    def test_what_is_lost_is_told(self) -> None:
        report = parse(documents.docx_file(), "docx").report
        assert (report.tables, report.figures, report.formulas) == (Tally(1, 1), Tally(), Tally())
        report = parse(documents.docx_with_a_picture_and_a_formula(), "docx").report
        assert (report.figures, report.formulas) == (Tally(1, 0), Tally(1, 1))


class TestPptx:
    def test_slides_tables_notes_and_properties(self) -> None:
        document = parse(documents.pptx_file(), "pptx")
        assert (document.title, document.author, document.date) == ("Volcanoes", "K. Krafft", "2023-02-01")
        assert (document.page_count, document.textless_pages) == (3, (3,))
        assert [page.number for page in document.pages] == [1, 2]
        assert ("heading", 1, "Eruptions") in blocks(document)
        assert ("table", 0, "| volcano | year |\n| --- | --- |\n| Etna | 2021 |") in blocks(document)
        assert "Remember to show the film" in document.text
        assert document.report.needs_ocr == (3,)
        assert (document.report.figures, document.report.tables) == (Tally(1, 0), Tally(1, 1))

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"", "empty_file"),
            (b"this is no zip", "pptx_damaged"),
            (documents.docx_file(), "pptx_damaged"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "pptx_encrypted"),
        ],
    )
    def test_bad_files(self, content: bytes, code: str) -> None:
        assert code_of(content, "pptx") == code


class TestEpub:
    def test_the_spine_is_the_order(self) -> None:
        document = parse(documents.epub_file(), "epub")
        assert (document.title, document.author, document.date) == ("The sea", "R. Carson", "2001-03-04")
        assert blocks(document) == [
            ("heading", 1, "Whales"),
            ("paragraph", 0, "A whale breathes air."),
            ("heading", 1, "Seals"),
            ("paragraph", 0, "A seal hunts fish."),
        ]

    def test_an_empty_page_is_left_out(self) -> None:
        pages = {"cover.xhtml": "", "one.xhtml": "<p>A whale breathes air.</p>", "end.xhtml": "<!-- -->"}
        assert parse(documents.epub_file(pages), "epub").text == "A whale breathes air."

    def test_a_protected_book(self) -> None:
        book = {"META-INF/container.xml": "<container/>", "META-INF/rights.xml": "<rights/>"}
        assert code_of(documents.zip_of(book), "epub") == "epub_encrypted"

    @pytest.mark.parametrize("content", [b"no zip", documents.docx_file(), documents.zip_of({"a": "b"})])
    def test_bad_files(self, content: bytes) -> None:
        assert code_of(content, "epub") == "epub_damaged"


class TestHtml:
    def test_structure_and_properties(self) -> None:
        document = parse(documents.HTML.encode(), "html")
        assert (document.title, document.author, document.date) == ("Rivers", "A. Humboldt", "2024-05-06")
        assert blocks(document)[:4] == [
            ("heading", 1, "Rivers"),
            ("paragraph", 0, "A river flows to the sea."),
            ("heading", 2, "Deltas"),
            ("paragraph", 0, "A delta has many arms."),
        ]
        assert ("table", 0, "| river | km |\n| --- | --- |\n| Nile | 6650 |") in blocks(document)
        assert [block[2] for block in blocks(document) if block[0] == "list"] == ["Nile", "Danube"]

    def test_what_is_for_programs_is_no_text(self) -> None:
        text = parse(documents.HTML.encode(), "html").text
        for hidden in ("alert", "more()", "color", "never shown"):
            assert hidden not in text

    def test_a_figure_is_kept_by_what_is_said_in_its_place(self) -> None:
        document = parse(documents.HTML.encode(), "html")
        assert (document.report.figures, document.report.tables) == (Tally(1, 1), Tally(1, 1))
        assert "A map of the Nile" in document.text

    @pytest.mark.parametrize("encoding", ["utf-8", "windows-1252", "iso-8859-2"])
    def test_a_page_names_its_encoding(self, encoding: str) -> None:
        page = f'<html><head><meta charset="{encoding}"></head><body><p>Größe und Länge</p></body></html>'
        assert parse(page.encode(encoding), "html").text == "Größe und Länge"

    @pytest.mark.parametrize("page", [b"<html><script>1</script></html>", b"<!-- nothing -->", b" \n"])
    def test_without_text(self, page: bytes) -> None:
        assert code_of(page, "html") == "no_text"


class TestMarkdown:
    def test_structure_and_front_matter(self) -> None:
        document = parse(documents.MARKDOWN.encode(), "markdown")
        assert (document.title, document.author) == ("Notes on algorithms", "Ada")
        assert blocks(document) == [
            ("heading", 1, "Sorting"),
            ("paragraph", 0, "Sorting puts items in order. See this page."),
            ("heading", 2, "Merge sort"),
            ("paragraph", 0, "It needs O(n log n) comparisons, e.g. 24 for eight items."),
            ("list", 0, "split the list"),
            ("list", 0, "sort both halves"),
            ("code", 0, "def merge(left, right):\n    # not a heading\n    return sorted(left + right)"),
            ("table", 0, "| case | cost |\n| --- | --- |\n| best | n log n |"),
            ("heading", 1, "Searching"),
            ("paragraph", 0, "Binary search halves the list in each step."),
        ]

    def test_the_first_heading_is_the_title(self) -> None:
        assert parse(b"## Small\n\n# Large\n\ntext", "md").title == "Large"

    @pytest.mark.parametrize("content", [b" \n\n", b"---\ntitle: x\n---\n", b"![](figure.png)"])
    def test_without_text(self, content: bytes) -> None:
        assert code_of(content, "md") == "no_text"

    def test_no_network_is_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("a parser opened a connection")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        parse(b"# Title\n\nSome text, and more of it here.", "md")
        parse(documents.docx_file(), "docx")


class TestText:
    @pytest.mark.parametrize(
        "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
    )
    def test_encodings(self, encoding: str) -> None:
        text = "Die Zelle enthält „Mitochondrien“.\r\n\r\nSie erzeugen Energie - überall."
        document = parse(text.encode(encoding), "txt")
        assert document.text == "Die Zelle enthält „Mitochondrien“.\n\nSie erzeugen Energie - überall."

    def test_other_scripts(self) -> None:
        assert parse("細胞は生命の単位です。".encode("utf-16"), "txt").text == "細胞は生命の単位です。"

    def test_nuls_are_removed(self) -> None:
        assert parse(b"Zero\x00 and " + b"more text " * 20, ".TXT").text.startswith("Zero and more")

    def test_paragraphs(self) -> None:
        document = parse(b"one\ntwo\n \n\n\nthree\n", "txt")
        assert blocks(document) == [("paragraph", 0, "one\ntwo"), ("paragraph", 0, "three")]

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"", "empty_file"),
            (b" \n\t\n", "no_text"),
            (b"\xef\xbb\xbf", "no_text"),
            (bytes(range(256)) * 20, "text_encoding"),
            (b"\x89PNG\r\n\x1a\n" + bytes(1000), "text_encoding"),
            (b"\xff\xfea", "text_encoding"),
        ],
    )
    def test_bad_files(self, content: bytes, code: str) -> None:
        assert code_of(content, "txt") == code


def test_unknown_type() -> None:
    assert code_of(b"x", "exe") == "unknown_file_type"


def test_a_path_is_read(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.txt").write_text("Some text.")
    assert parse(tmp_path / "a.txt", "txt").text == "Some text."


def test_failures_cross_processes() -> None:
    failure = pickle.loads(pickle.dumps(ReadFailure("no_text", "None.")))
    assert (failure.code, failure.reason) == ("no_text", "None.")
