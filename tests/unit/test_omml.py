"""Formulas of Word are text, in the place where they stand."""

import io

import docx
import pytest

from little_monster.pipelines.stages.document import Tally
from little_monster.pipelines.stages.omml import linear
from little_monster.pipelines.stages.parse import parse

MATH = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
RUN = "<m:r><m:t>{}</m:t></m:r>"


def made(name: str, /, *properties: str, **parts: str) -> str:
    """An element of a formula with properties (`chr=X`) and parts, each a text or elements."""
    values = "".join(
        f'<m:{key} m:val="{value}"/>' for key, value in (one.split("=", 1) for one in properties)
    )
    inside = "".join(f"<m:{part}>{run(text)}</m:{part}>" for part, text in parts.items())
    return f"<m:{name}><m:{name}Pr>{values}<m:ctrlPr/></m:{name}Pr>{inside}</m:{name}>"


def run(text: str) -> str:
    """Elements as they are, a text as a run."""
    return text if text.startswith("<") else RUN.format(text)


def formula(*parts: str) -> str:
    """A formula of these elements or texts."""
    return f"<m:oMath {MATH}>{''.join(map(run, parts))}</m:oMath>"


def matrix(*rows: tuple[str, ...]) -> str:
    cells = ("".join(f"<m:e>{run(cell)}</m:e>" for cell in row) for row in rows)
    return f"<m:m>{''.join(f'<m:mr>{row}</m:mr>' for row in cells)}</m:m>"


SQUARE = made("sSup", e="c", sup="2")


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("E=m", SQUARE), "E=mc^2"),
        ((made("f", num="a+b", den="2"),), "(a+b)/2"),
        ((made("f", "type=noBar", num="n", den="k"),), "n¦k"),
        ((made("f", num=made("f", num="a", den="b"), den="c"),), "(a/b)/c"),
        ((made("sSub", e="x", sub="i+1"),), "x_(i+1)"),
        ((made("sSubSup", e="x", sub="i", sup="2"),), "x_i^2"),
        ((made("sPre", sub="6", sup="14", e="C"),), "_6^14C"),
        ((made("sSup", e="a+b", sup="2"),), "(a+b)^2"),
        ((made("rad", e="x+1"),), "√(x+1)"),
        ((made("rad", deg="3", e="x"),), "3√x"),
        ((made("nary", "chr=∑", sub="i=1", sup="n", e="i"),), "∑_(i=1)^n i"),
        ((made("nary", e="f(x)dx"),), "∫ f(x)dx"),
        ((made("d", e="a+b"),), "(a+b)"),
        ((made("d", "begChr=[", "endChr=)", e="0, 1"),), "[0, 1)"),
        ((made("d", "begChr={", "endChr=", e="x"),), "{x"),
        (("<m:d><m:e>" + run("a") + "</m:e><m:e>" + run("b") + "</m:e></m:d>",), "(a|b)"),
        ((matrix(("a", "b"), ("c", "d")),), "[a, b; c, d]"),
        ((made("d", e=matrix(("a", "b"), ("c", "d"))),), "(a, b; c, d)"),
        (("<m:eqArr><m:e>" + run("x=1") + "</m:e><m:e>" + run("y=2") + "</m:e></m:eqArr>",), "x=1; y=2"),
        ((made("func", fName="sin", e="x"),), "sin(x)"),
        ((made("func", fName="sin", e=made("d", e="x")),), "sin(x)"),
        ((made("func", fName=made("limLow", e="lim", lim="n→∞"), e="n"),), "lim_(n→∞)(n)"),
        ((made("limUpp", e="=", lim="def"),), "=^def"),
        ((made("acc", e="x"),), "x\u0302"),
        ((made("acc", "chr=\u20d7", e="v"),), "v\u20d7"),
        ((made("bar", "pos=top", e="x"),), "x\u0305"),
        ((made("bar", e="x"),), "x\u0332"),
        ((made("borderBox", e="kept"),), "kept"),
        (("<m:unknown><m:e>" + run("kept too") + "</m:e></m:unknown>",), "kept too"),
        (("<!-- left out -->", "x"), "x"),
    ],
)
def test_a_formula_is_text(parts: tuple[str, ...], text: str) -> None:
    assert linear(docx.oxml.parse_xml(formula(*parts))) == text


def test_formulas_stand_in_their_place() -> None:
    document = docx.Document()
    inline = document.add_paragraph("Energy is ")
    inline._p.append(docx.oxml.parse_xml(formula("E=m", SQUARE)))
    inline.add_run(" at rest.")
    both = formula("x=", made("f", num="a+b", den="2")) + formula("y=1")
    document.add_paragraph()._p.append(docx.oxml.parse_xml(f"<m:oMathPara {MATH}>{both}</m:oMathPara>"))
    table = document.add_table(1, 2)
    table.cell(0, 0).paragraphs[0]._p.append(docx.oxml.parse_xml(formula("a &lt; b")))
    table.cell(0, 1).text = "less"
    parsed = parse(saved(document), "docx")
    assert parsed.text == ("Energy is E=mc^2 at rest.\n\nx=(a+b)/2\ny=1\n\n| a < b | less |\n| --- | --- |")
    assert parsed.report.formulas == Tally(4, 4)


def test_a_formula_that_is_not_in_the_text_counts_as_lost() -> None:
    document = docx.Document()
    document.add_paragraph("Words.")
    deleted = f'<w:del xmlns:w="{docx.oxml.ns.nsmap["w"]}">{formula("gone=1")}</w:del>'
    document.add_paragraph()._p.append(docx.oxml.parse_xml(deleted))
    assert parse(saved(document), "docx").report.formulas == Tally(1, 0)


def test_a_formula_in_formulas_is_read_however_deep() -> None:
    nested = "x"
    for _ in range(100):
        nested = made("rad", e=nested)
    document = docx.Document()
    document.add_paragraph()._p.append(docx.oxml.parse_xml(formula(nested)))
    assert parse(saved(document), "docx").text.count("√") == 100


def saved(document: docx.document.Document) -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()
