"""Pages of a long manual per second of the processor, through the confined process of a file and by bare
PDFium: ``python -m tests.benchmarks.parse``.

Both are given the same bytes and extract the text of each page; ours makes blocks, boxes and a report of it,
and brings it over as checked JSON, which is counted too. Rounds alternate.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import fpdf
import pypdfium2

from little_monster.pipelines.sandbox.client import Sandbox
from tests.benchmarks.figures import alternating, median_ratio, table
from tests.benchmarks.suite import Benchmark, Goal, Result, Session

PAGES = 600
GOAL = 300
MOST_MIB = 512
_MADE_PAGES = 20
_SAMPLES = Path(__file__).parents[1] / "fixtures" / "samples"
_TITLES = {"sandbox": "the sandboxed path", "pdfium": "bare PDFium"}


def manual(pages: int) -> bytes:
    """A PDF of our own texts, of so many pages: some are typeset, and repeated."""
    made, whole = pypdfium2.PdfDocument(_typeset(_MADE_PAGES)), pypdfium2.PdfDocument.new()
    with closing(made), closing(whole):
        while len(whole) < pages:
            whole.import_pages(made, [*range(min(_MADE_PAGES, pages - len(whole)))])
        file = io.BytesIO()
        whole.save(file)
    return file.getvalue()


def _typeset(pages: int) -> bytes:
    text = "\n\n".join(file.read_text() for file in sorted(_SAMPLES.glob("*.md")))
    document = fpdf.FPDF()
    document.set_margins(25, 25)
    document.add_page()
    while document.page_no() <= pages:
        for part in text.encode("latin-1", "replace").decode("latin-1").split("\n\n"):
            heading = part.startswith("#")
            document.set_font("helvetica" if heading else "times", size=15 if heading else 11)
            lines = part.strip("# ").replace("\n", " ")
            document.multi_cell(0, 8 if heading else 5.5, lines, new_x="LMARGIN", new_y="NEXT")
            document.ln(2)
    return bytes(document.output())


def by_sandbox(sandbox: Sandbox, content: bytes) -> dict[str, float]:
    """Read a PDF; return seconds of the processor, ours and the child's, its peak in MiB, and pages."""
    begun = time.process_time()
    answer = sandbox.ask(content, "pdf")
    document = sandbox.document_of(answer)
    seconds = time.process_time() - begun + answer.ending.cpu_s
    peak = answer.ending.peak_bytes / 2**20
    return {"seconds": seconds, "peak_mib": peak, "pages": document.page_count or 0}


def by_pdfium(content: bytes) -> dict[str, float]:
    """Read a PDF's text; return seconds of the processor, and pages."""
    begun = time.process_time()
    with closing(pypdfium2.PdfDocument(content)) as pdf:
        for number in range(len(pdf)):
            with closing(pdf[number]) as page, closing(page.get_textpage()) as text:
                text.get_text_range()
        pages = len(pdf)
    return {"seconds": time.process_time() - begun, "pages": pages}


def measure(rounds: int, pages: int = PAGES) -> Result:
    """Time both ways, alternating, after one round to warm up; and a quarter of the manual, for memory."""
    content, quarter = manual(pages), manual(pages // 4)
    sandbox = Sandbox()
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "sandbox": lambda: by_sandbox(sandbox, content),
        "pdfium": lambda: by_pdfium(content),
    }
    try:
        peaks = {"quarter": by_sandbox(sandbox, quarter)["peak_mib"], "whole": ways["sandbox"]()["peak_mib"]}
        by_pdfium(content)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            for name in alternating([*ways], number):
                found = ways[name]()
                assert found["pages"] == pages
                rates[name].append(round(found["pages"] / found["seconds"], 1))
    finally:
        sandbox.close()
    return {
        "pages": pages,
        "bytes": len(content),
        "rates": rates,
        "median": {name: round(statistics.median(values), 1) for name, values in rates.items()},
        "of_pdfium": median_ratio(rates["sandbox"], rates["pdfium"]),
        "peak_mib": {name: round(peak, 1) for name, peak in peaks.items()},
    }


def report(result: Result) -> str:
    """Write the section."""
    rows = [
        (_TITLES[name], f"{result['median'][name]:.0f}", f"{min(rates):.0f}", f"{max(rates):.0f}")
        for name, rates in result["rates"].items()
    ]
    peaks: dict[str, Any] = result["peak_mib"]
    return (
        f"A manual of {result['pages']} pages: pages per second of the processor, all processes together.\n\n"
        + table(("way", "median", "least", "most"), rows)
        + f"\nThe sandboxed path makes **{result['of_pdfium']:.2f}** of bare PDFium's pages. Its process "
        f"took {peaks['whole']:.0f} MiB at most, and {peaks['quarter']:.0f} MiB for a quarter of the pages.\n"
    )


def goals(result: Result) -> list[Goal]:
    """Compare with what is promised."""
    rate, peak = result["median"]["sandbox"], result["peak_mib"]["whole"]
    return [
        Goal("PDF pages per CPU-second, sandboxed", f"at least {GOAL}", f"{rate:.0f}", rate >= GOAL),
        Goal("memory of the process of a file", f"under {MOST_MIB} MiB", f"{peak:.0f} MiB", peak < MOST_MIB),
    ]


def _measure_here(session: Session) -> Result:
    return measure(session.rounds)


BENCHMARK = Benchmark("parse", "Pages of a long PDF", _measure_here, report, goals)


def main() -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pages", type=int, default=PAGES)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.rounds, arguments.pages), indent=2))


if __name__ == "__main__":
    main()
