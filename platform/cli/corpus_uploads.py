"""Uploads a dataset's texts as files, and waits until they can be searched."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Final

from little_monster.platform.cli.client import ApiClient
from little_monster.platform.cli.corpus_files import CorpusFormat, write_file
from little_monster.platform.cli.patience import Patience
from little_monster.platform.cli.problems import ApiProblem
from little_monster.platform.cli.uploads import MEDIA_TYPES
from little_monster.platform.errors import LittleMonsterError
from little_monster.platform.services.evaluation.dataset import Entry

_AT_ONCE: Final = 4
_DOCUMENTS: Final = "/api/v1/documents"
_MAX_TITLE_CHARS: Final = 300
# Each look asks for all that is not read yet, a hundred a request.
_LOOK_S: Final = 2.0
_STANDSTILL_S: Final = 300.0


class IngestionStopped(LittleMonsterError):
    """Nothing has been read for minutes, although there is something to read."""


@dataclass
class Shelf:
    """What became of the texts: corpus ids by the document that has them (two texts that are the same are
    one document), and why some have none, with how many."""

    keys: dict[str, list[str]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)


async def upload_corpus(
    client: ApiClient,
    corpus: Mapping[str, Entry],
    kind: CorpusFormat,
    patience: Patience,
    done: Callable[[], None],
) -> Shelf:
    """Upload all texts, a few at a time, and call `done` after each. What is refused is a failure. Of the
    text, nothing but its content and title is sent: no id tells what it is about."""
    shelf, places = Shelf(), asyncio.Semaphore(_AT_ONCE)

    async def one(number: int, key: str, entry: Entry) -> None:
        async with places:
            try:
                content = await asyncio.to_thread(write_file, entry, kind)
                name = f"text-{number}.{kind}"
                document_id = await patience(partial(_upload, client, name, content, entry.title))
                shelf.keys.setdefault(document_id, []).append(key)
            except ApiProblem as problem:
                shelf.failures[str(problem)] += 1
            done()

    async with asyncio.TaskGroup() as group:
        for number, (key, entry) in enumerate(corpus.items(), start=1):
            group.create_task(one(number, key, entry))
    return shelf


async def _upload(client: ApiClient, name: str, content: bytes, title: str) -> str:
    media_type = MEDIA_TYPES["." + name.rpartition(".")[2]]
    shown = " ".join(title.split())[:_MAX_TITLE_CHARS]
    _, body = await client.post(
        f"{_DOCUMENTS}/upload",
        data={"title": shown} if shown else {},
        files={"file": (name, content, media_type)},
    )
    document_id: str = body["document"]["id"]
    return document_id


async def wait_until_read(
    client: ApiClient, shelf: Shelf, patience: Patience, told: Callable[[int], None]
) -> None:
    """Tell again and again how many documents have been read, until all are; note those that could not be.

    Raises:
        IngestionStopped: nothing has been read for minutes.
    """
    left, changed_at = len(shelf.keys), monotonic()
    while left:
        now = sum([await patience(partial(_count, client, status)) for status in ("processing", "pending")])
        if now != left:
            left, changed_at = now, monotonic()
        elif monotonic() - changed_at > _STANDSTILL_S:
            raise IngestionStopped(f"{left} documents wait, and none was read for {_STANDSTILL_S:.0f} s.")
        told(len(shelf.keys) - left)
        if left:
            await asyncio.sleep(_LOOK_S)
    for reason in await patience(partial(_reasons, client)):
        shelf.failures[reason] += 1


async def _count(client: ApiClient, status: str) -> int:
    return len([one async for one in client.pages(_DOCUMENTS, status=status)])


async def _reasons(client: ApiClient) -> list[str]:
    return [one["error"]["reason"] async for one in client.pages(_DOCUMENTS, status="failed")]
