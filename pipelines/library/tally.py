"""How the files of a library ended, counted."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from little_monster.db.models.jobs import JobStatus
from little_monster.db.models.user_documents import EmbeddingStatus, UserDocument
from little_monster.pipelines.ingest import LOST
from little_monster.pipelines.stages.columns import Ended
from little_monster.platform.services.library import MOST_FAILURES

_ENDS = (EmbeddingStatus.COMPLETED, EmbeddingStatus.FAILED)


@dataclass
class Tally:
    """Counts each file once, whatever Ray Data does twice; `waiting` are documents that others read."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    waiting: dict[UUID, str] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)

    def add(self, row: Ended) -> None:
        """Count a file that has ended."""
        # The hash is enough, and a million of them are small.
        mark = hash(row["uri"])
        if mark in self._seen:
            return
        self._seen.add(mark)
        outcome = row["outcome"] or JobStatus.FAILED.value
        if outcome in (JobStatus.QUEUED.value, LOST) and row["document_id"] is not None:
            self.waiting[UUID(row["document_id"])] = row["uri"]
            return
        self.outcomes[outcome] += 1
        if outcome == JobStatus.FAILED.value:
            error = row["error"] or {"code": "ingest_failed", "reason": "It failed."}
            self.fail(row["uri"], error["code"], error["reason"])

    def fail(self, uri: str, code: str, reason: str) -> None:
        """Name a file that failed, unless there are too many of them."""
        if len(self.failures) < MOST_FAILURES:
            self.failures.append({"file": uri, "code": code, "reason": reason})

    def settle(self, document_id: UUID, document: UserDocument | None) -> bool:
        """Count a document that others read, None when it is gone; False while it has not ended."""
        if document is not None and document.embedding_status not in _ENDS:
            return False
        uri = self.waiting.pop(document_id)
        if document is None:
            self.outcomes[JobStatus.CANCELLED.value] += 1
            return True
        self.outcomes[document.embedding_status.value] += 1
        if document.embedding_status == EmbeddingStatus.FAILED:
            self.fail(uri, document.error_code or "", document.error_reason or "")
        return True

    @property
    def done(self) -> int:
        """Files that have ended."""
        return self.outcomes.total()

    def result(self, total: int) -> dict[str, Any]:
        """Return what the job led to."""
        counts = {name: self.outcomes[name] for name in ("completed", "skipped", "failed", "cancelled")}
        return {"files": total, **counts, "failures": self.failures}
