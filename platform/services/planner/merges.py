"""What a calendar file changes in a planner.

An event is known by its UID. One that stands for a single occurrence of a series (RECURRENCE-ID) is an event
of its own here, with a UID made of that of the series and of the start that it replaces, and the series
leaves that start out. An entry that is older than what is there, by its SEQUENCE, changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from little_monster.db.models.planner_events import PlannerEvent
from little_monster.platform.errors import LittleMonsterError
from little_monster.platform.services.planner.drafts import BadEvent, Draft, settle
from little_monster.platform.services.planner.entries import UTC_NAME, Entry, on_series
from little_monster.platform.services.planner.events import differences, is_shown
from little_monster.platform.services.planner.zones import to_utc

Columns = Mapping[str, Any]
Known = Mapping[str, PlannerEvent]


class BadEntry(LittleMonsterError):
    """An entry that cannot be kept beside what is there."""

    def __init__(self, entry: Entry, error: BadEvent) -> None:
        super().__init__(error.message)
        self.entry, self.error = entry, error


@dataclass(frozen=True, slots=True)
class File:
    """The entries of a file, series without what others stand for, and the columns of those that are not
    cancelled, by their numbers.
    """

    entries: Sequence[Entry]
    columns: Mapping[int, Columns]


@dataclass(frozen=True, slots=True)
class Merge:
    """What to write: columns of new events by UID, and columns that change of others by their ids. `gone` are
    the events to delete, `updated` those that a calendar shows differently, and `more_series` how many recur
    that did not. Entries that are `ignored` are cancelled, or older than what is there.
    """

    fresh: Mapping[str, Columns]
    changed: Mapping[UUID, Columns]
    gone: Sequence[UUID]
    updated: int
    unchanged: int
    ignored: int
    more_series: int


def without_replaced(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Return the entries, the series among them without those occurrences that other entries stand for."""
    replaced: dict[str, list[datetime]] = {}
    for one in entries:
        if one.replaces is not None:
            replaced.setdefault(one.uid, []).append(one.replaces)
    return [
        one
        if one.replaces is not None
        else replace(one, draft=_without(one.draft, replaced.get(one.uid, ())))
        for one in entries
    ]


def merge(file: File, known: Known) -> Merge:
    """Return what the file changes; `known` has the events of its UIDs, those that stand for an occurrence of
    one of them too.

    Raises:
        BadEntry: an event would break a rule.
    """
    whole = _series(file, known)
    named = [(_uid_of(entry, whole, known), entry) for entry in file.entries]
    newer = {uid: entry for uid, entry in named if not _is_older(entry, known.get(uid))}
    wanted = {uid: entry for uid, entry in newer.items() if not entry.cancelled}
    columns = {uid: _columns(file, entry, known.get(uid)) for uid, entry in wanted.items()}
    columns |= _left_out(file, whole, known)
    gone = [uid for uid, entry in newer.items() if entry.cancelled and uid in known]
    gone += _taken_back(whole, known, {uid for uid, _ in named} | {one.uid for one in file.entries})
    changed = {
        known[uid].id: differences(known[uid], values) for uid, values in columns.items() if uid in known
    }
    updated = sum(map(is_shown, changed.values()))
    recurring = [uid for uid, values in columns.items() if values["recurrence"]]
    return Merge(
        fresh={uid: values for uid, values in columns.items() if uid not in known},
        changed={key: values for key, values in changed.items() if values},
        gone=[known[uid].id for uid in gone],
        updated=updated,
        unchanged=len(changed) - updated,
        ignored=len(file.entries) - len(wanted),
        more_series=sum(uid not in known or not known[uid].recurrence for uid in recurring),
    )


def series_uid(uid: str) -> str:
    """Return the UID of the series of which an event with this UID stands for an occurrence, if one does."""
    return uid.rpartition("/")[0]


def _series(file: File, known: Known) -> Mapping[str, Entry]:
    """Return the entries of whole events, by UID, that are not older than what is there."""
    whole = (one for one in file.entries if one.replaces is None)
    return {one.uid: one for one in whole if not _is_older(one, known.get(one.uid))}


def _is_older(entry: Entry, row: PlannerEvent | None) -> bool:
    return row is not None and entry.sequence is not None and entry.sequence < row.sequence


def _uid_of(entry: Entry, whole: Mapping[str, Entry], known: Known) -> str:
    """Return the UID that the event of an entry has here."""
    if entry.replaces is None:
        return entry.uid
    start = entry.replaces
    if entry.uid in whole:
        start = _start_of(start, whole[entry.uid].draft)
    elif entry.uid in known:
        start = _start_of(start, Draft.of(known[entry.uid]))
    return f"{entry.uid}/{start:%Y%m%dT%H%M%S}"


def _without(draft: Draft, replaced: Sequence[datetime]) -> Draft:
    return replace(draft, exdates=[*draft.exdates, *(_start_of(one, draft) for one in replaced)])


def _start_of(replaced: datetime, series: Draft) -> datetime:
    """Return which start of a series an entry stands for: a moment in UTC, or a day."""
    start = on_series(replaced, series.start_date, series.time_zone, all_day=series.all_day)
    if series.all_day:
        return start
    return start.astimezone(UTC) if start.tzinfo else to_utc(start, ZoneInfo(series.time_zone))


def _columns(file: File, entry: Entry, row: PlannerEvent | None) -> Columns:
    """Return an event's columns. What a file cannot say stays as it is: that it is done, and in which time
    zone its days are, or a moment in UTC is.
    """
    columns, draft = file.columns[entry.number], entry.draft
    sequence = max(entry.sequence or 0, row.sequence if row else 0)
    if row is not None and (row.is_completed or _is_anywhere(draft, row)):
        zone = row.time_zone if _is_anywhere(draft, row) else draft.time_zone
        columns = _settled(replace(draft, is_completed=row.is_completed, time_zone=zone), entry)
    return {**columns, "sequence": sequence}


def _is_anywhere(draft: Draft, row: PlannerEvent) -> bool:
    if draft.all_day or row.all_day:
        return draft.all_day and row.all_day
    return draft.time_zone == UTC_NAME and not draft.recurrence and not row.recurrence


def _left_out(file: File, whole: Mapping[str, Entry], known: Known) -> Mapping[str, Columns]:
    """Return the columns of series that are not in the file, but of which it has occurrences."""
    found: dict[str, list[Entry]] = {}
    for one in file.entries:
        if one.replaces is not None and one.uid not in whole and one.uid in known:
            found.setdefault(one.uid, []).append(one)
    return {uid: _stored_without(known[uid], ones) for uid, ones in found.items() if known[uid].recurrence}


def _stored_without(row: PlannerEvent, entries: Sequence[Entry]) -> Columns:
    draft = Draft.of(row)
    replaced = [one.replaces for one in entries if one.replaces is not None]
    return {**_settled(_without(draft, replaced), entries[0]), "sequence": row.sequence}


def _taken_back(whole: Mapping[str, Entry], known: Known, named: set[str]) -> Iterator[str]:
    """Yield the UIDs of events that stood for an occurrence of a series, which the file has without them."""
    return (uid for uid in known if uid not in named and series_uid(uid) in whole)


def _settled(draft: Draft, entry: Entry) -> Columns:
    try:
        return settle(draft, datetime.now(UTC))
    except BadEvent as error:
        raise BadEntry(entry, error) from None
