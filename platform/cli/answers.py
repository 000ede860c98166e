"""Ask a question and print the answer as it comes, then the passages it rests on."""

from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

from little_monster.platform.cli.client import ApiClient
from little_monster.platform.cli.problems import ApiProblem

_QUOTE_CHARS = 240


@dataclass(slots=True)
class Answer:
    """What has come of an answer. `quotes` are the cited words by the number of their source."""

    text: str = ""
    sources: list[dict[str, Any]] = field(default_factory=list)
    quotes: dict[int, list[str]] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)


async def ask_and_print(client: ApiClient, question: str, console: Console) -> Answer:
    """Ask in a new conversation; print the answer token by token, then its sources.

    Raises:
        ApiProblem: the question was refused, or the answer broke off.
    """
    _, conversation = await client.post("/api/v1/chat/conversations", json={})
    path = f"/api/v1/chat/conversations/{conversation['id']}/messages"
    answer = Answer()
    with console.status("[dim]looking for passages[/]") as waiting:
        async for event in client.stream(path, {"content": question, "on_disconnect": "cancel"}):
            if event.name == "sources":
                answer.sources = event.data["sources"]
                waiting.update("[dim]thinking[/]")
            elif event.name == "delta":
                waiting.stop()
                answer.text += event.data["text"]
                console.print(event.data["text"], end="", markup=False, soft_wrap=True)
            elif event.name == "citation":
                answer.quotes.setdefault(int(event.data["number"]), []).append(event.data["quote"])
            elif event.name == "usage":
                answer.usage = event.data
            elif event.name == "error":
                console.print()
                raise ApiProblem(event.data, int(event.data.get("status", 502)))
    console.print()
    print_sources(answer, console)
    return answer


def print_sources(answer: Answer, console: Console) -> None:
    """Print the passages by number: document, page, the words that the answer rests on."""
    if not answer.sources:
        console.print("\n[dim]No passage of your documents answers this.[/]")
        return
    console.print("\n[bold]Sources[/]")
    for source in answer.sources:
        quotes = answer.quotes.get(int(source["number"]), [])
        console.print(_source_line(source, cited=bool(quotes)), soft_wrap=True)
        for quote in list(dict.fromkeys(quotes)) or [source.get("quote") or source.get("content") or ""]:
            style = "italic" if quotes else "dim italic"
            console.print(Text(f"      “{_short(quote)}”", style=style), soft_wrap=True)


def _source_line(source: dict[str, Any], *, cited: bool) -> Text:
    page = f", page {source['page']}" if source.get("page") else ""
    headings = source.get("headings") or []
    where = f"  {' › '.join(headings)}" if headings else ""  # noqa: RUF001 (a typographic arrow)
    line = Text(f"  [{source['number']}] ", style="bold cyan" if cited else "cyan")
    line.append(f"{source['title']}{page}", style="bold" if cited else "")
    return line.append(where, style="dim").append("" if cited else "  (not cited)", style="dim")


def _short(quote: str) -> str:
    text = " ".join(quote.split())
    return text if len(text) <= _QUOTE_CHARS else text[: _QUOTE_CHARS - 1].rsplit(" ", 1)[0] + " …"
