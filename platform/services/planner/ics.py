"""Reading iCalendar files (RFC 5545) of strangers: their lines and components, with nothing evaluated.

The parser of `icalendar` splits the lines. Its components are not made: those of time zones expand recurrence
rules of their own without a bound, and are kept for all files to come.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from icalendar.parser import Contentline, Contentlines

from little_monster.platform.errors import LittleMonsterError
from little_monster.platform.services.planner.quotes import quoted

MAX_DEPTH = 8

# Lines of other names, as attachments are, are passed over unread.
_NAMES = frozenset(
    (
        "BEGIN",
        "END",
        "X-WR-TIMEZONE",
        "UID",
        "SEQUENCE",
        "STATUS",
        "SUMMARY",
        "DESCRIPTION",
        "LOCATION",
        "CATEGORIES",
        "DTSTART",
        "DTEND",
        "DURATION",
        "RRULE",
        "EXDATE",
        "RDATE",
        "EXRULE",
        "RECURRENCE-ID",
        "TRIGGER",
    )
)
_NAME = re.compile(r"[A-Za-z0-9-]+")


class BadCalendar(LittleMonsterError):
    """It is no iCalendar file; the message is a sentence that says where that shows."""


@dataclass(frozen=True, slots=True)
class Property:
    """One line: its name in capitals, its parameters by names in capitals, its value without escapes."""

    name: str
    parameters: Mapping[str, str]
    value: str


@dataclass(frozen=True, slots=True)
class Component:
    """A component: its name in capitals, its lines, those that cannot be read, and the components inside."""

    name: str
    properties: list[Property] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    components: list["Component"] = field(default_factory=list)

    def all(self, name: str) -> Sequence[Property]:
        """Return the lines of this name."""
        return [one for one in self.properties if one.name == name]

    def first(self, name: str) -> Property | None:
        """Return the first line of this name."""
        return next(iter(self.all(name)), None)

    def text(self, name: str) -> str:
        """Return the value of the first line of this name, empty when there is none."""
        found = self.first(name)
        return found.value if found else ""

    def inside(self, name: str) -> Sequence["Component"]:
        """Return the components of this name that stand in this one."""
        return [one for one in self.components if one.name == name]


def read_calendars(content: bytes) -> Sequence[Component]:
    """Return the calendars of a file.

    Raises:
        BadCalendar: it is no UTF-8, something stands outside of a calendar, or a component does not end.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadCalendar("The file is not UTF-8.") from None
    calendars = _nested(text)
    if not calendars or any(one.name != "VCALENDAR" for one in calendars):
        raise BadCalendar("The file is not one of calendars: it does not begin with BEGIN:VCALENDAR.")
    return calendars


def _nested(text: str) -> Sequence[Component]:
    outermost = Component("")
    path = [outermost]
    for line in Contentlines.from_ical(text):  # type: ignore[no-untyped-call]
        if not line.strip():
            continue
        name = _NAME.match(line)
        if len(path) == 1 and (name is None or name[0].upper() not in ("BEGIN", "END")):
            raise BadCalendar("A line stands outside of a calendar.")
        if name is None or ":" not in line:
            path[-1].unread.append(quoted(line))
        elif name[0].upper() in _NAMES:
            _take(path, line)
    if len(path) > 1:
        raise BadCalendar(f"{quoted(path[-1].name)} does not end.")
    return outermost.components


def _take(path: list[Component], line: Contentline) -> None:
    try:
        name, parameters, value = line.parts()
    except ValueError:
        path[-1].unread.append(quoted(line))
        return
    # A parameter with several values is none that is read here.
    plain = {key.upper(): text for key, text in parameters.items() if isinstance(text, str)}
    found = Property(name.upper(), plain, value)
    if found.name in ("BEGIN", "END"):
        _step(path, found)
    else:
        path[-1].properties.append(found)


def _step(path: list[Component], found: Property) -> None:
    name = found.value.strip().upper()
    if found.name == "BEGIN":
        if len(path) > MAX_DEPTH:
            raise BadCalendar(f"More than {MAX_DEPTH} components stand in each other.")
        component = Component(name)
        path[-1].components.append(component)
        path.append(component)
    elif path.pop().name != name or not path:
        raise BadCalendar("An END ends nothing that has begun.")
