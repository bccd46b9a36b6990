"""The few records that the page shows: cut down to a bounded tree the moment they pass, so the originals can be let go. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

__all__ = ["Budget", "Fields", "Items", "Node", "Preview", "Table", "Text", "TooDeep", "humanise"]

RECORDS = 50  # shown of each resource
TEXT = 400  # characters shown of one value
ITEMS = 40  # entries shown of one list or object
DEPTH = 5  # levels of nesting shown
NODES = 300  # values shown of one record
COLUMNS = 6  # of a table; wider records are shown one below another
CELL = 60  # characters in a table cell
PAGE_WEIGHT = 4_000_000  # characters (about) of all previews on the page


@dataclass(frozen=True, slots=True)
class Text:
    """One plain value. `look` is ``text``, ``number``, ``yes``, ``no`` or ``none``; `cut` tells that the value goes on in the data file."""

    text: str
    look: str = "text"
    cut: bool = False
    kind: ClassVar[str] = "text"


@dataclass(frozen=True, slots=True)
class Fields:
    """An object: labels and values. `more` counts the fields left out."""

    fields: tuple[tuple[str, Node], ...]
    more: int = 0
    kind: ClassVar[str] = "fields"


@dataclass(frozen=True, slots=True)
class Items:
    """A list. `more` counts the entries left out."""

    items: tuple[Node, ...]
    more: int = 0
    kind: ClassVar[str] = "items"


@dataclass(frozen=True, slots=True)
class Table:
    """Objects with the same few plain fields, one a row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Text | None, ...], ...]
    more: int = 0
    kind: ClassVar[str] = "table"


@dataclass(frozen=True, slots=True)
class TooDeep:
    """Nested too deeply to be shown."""

    kind: ClassVar[str] = "deep"


Node = Text | Fields | Items | Table | TooDeep


class Budget:
    """How many characters (about) may still go onto the page, or onto its part for one source or resource.

    A share is a part of what is left, so that nobody takes everything and whoever comes late still has something.
    """

    def __init__(self, left: int = PAGE_WEIGHT, whole: Budget | None = None) -> None:
        self._left = left
        self._whole = whole

    @property
    def left(self) -> int:
        """What may still be taken."""
        return self._left if self._whole is None else min(self._left, self._whole.left)

    def share(self, parts: int) -> Budget:
        """A budget of one part of what is left, which is taken from this one too."""
        return Budget(self.left // parts, self)

    def take(self, weight: int) -> None:
        """Use some of it."""
        self._left -= weight
        if self._whole is not None:
            self._whole.take(weight)


@dataclass(frozen=True, slots=True)
class Shown:
    """One record as the page shows it: a line to know it by, and its fields."""

    headline: tuple[str, ...]
    body: Fields


class Preview:
    """The first records of one resource."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.records: list[Shown] = []

    def add(self, data: Mapping[str, Any]) -> None:
        """Show this record if there is still room for it."""
        if len(self.records) >= RECORDS or self._budget.left <= 0:
            return
        shrinking = _Shrinking()
        body = shrinking.fields(data, 1)
        self.records.append(Shown(_headline(body), body))
        self._budget.take(shrinking.weight)

    def table(self) -> Table | None:
        """All records as one table, when they are small and alike; otherwise they are shown one below another."""
        return _table([shown.body for shown in self.records], 0)


class _Shrinking:
    """Cuts one record down. `weight` is about how many characters of page it takes."""

    def __init__(self) -> None:
        self.weight = 0
        self._nodes = NODES

    def fields(self, data: Mapping[Any, Any], depth: int) -> Fields:
        shown: list[tuple[str, Node]] = []
        for key, value in islice(data.items(), ITEMS):
            if self._nodes <= 0:
                break
            label = humanise(str(key))
            self.weight += len(label) + 30
            shown.append((label, self._node(value, depth)))
        return Fields(tuple(shown), len(data) - len(shown))

    def _items(self, data: Sequence[Any], depth: int) -> Node:
        shown: list[Node] = []
        for value in islice(data, ITEMS):
            if self._nodes <= 0:
                break
            shown.append(self._node(value, depth))
        more = len(data) - len(shown)
        return _table(shown, more) or Items(tuple(shown), more)

    def _node(self, value: object, depth: int) -> Node:
        self._nodes -= 1
        self.weight += 30
        if isinstance(value, Mapping | list | tuple):
            if not value:
                return Text("", "none")
            if depth >= DEPTH:
                return TooDeep()
            return self.fields(value, depth + 1) if isinstance(value, Mapping) else self._items(value, depth + 1)
        if value is None or value == "":
            return Text("", "none")
        if isinstance(value, bool):
            return Text("", "yes" if value else "no")
        if isinstance(value, int | float):
            return Text(str(value), "number")
        text = str(value)
        cut = len(text) > TEXT
        text = printable(text[:TEXT]).strip("\n")
        self.weight += len(text)
        return Text(text, cut=cut)


def _table(nodes: Sequence[Node], more: int) -> Table | None:
    if len(nodes) < 2:
        return None
    columns: dict[str, None] = {}
    for node in nodes:
        if not isinstance(node, Fields) or node.more or not node.fields:
            return None
        for label, value in node.fields:
            columns[label] = None
            if not isinstance(value, Text) or len(value.text) > CELL:
                return None
        if len(columns) > COLUMNS or len({label for label, _ in node.fields}) < len(node.fields):
            return None
    rows = []
    for node in nodes:
        assert isinstance(node, Fields)  # noqa: S101 - checked above; tells the type checker
        cells = {label: value for label, value in node.fields if isinstance(value, Text)}
        rows.append(tuple(cells.get(column) for column in columns))
    return Table(tuple(columns), tuple(rows), more)


_TELLING = ("name", "full name", "display name", "title", "subject", "email", "email address", "number", "date", "created", "created at", "id")


def _headline(body: Fields) -> tuple[str, ...]:
    """What to know the record by: its most telling short values."""
    short: dict[str, str] = {}
    for label, value in body.fields:
        if isinstance(value, Text) and value.look in ("text", "number") and len(value.text) <= CELL and "\n" not in value.text:
            short.setdefault(label.casefold(), value.text)
    telling = [short[label] for label in _TELLING if label in short][:2]
    return tuple(telling or list(short.values())[:2])


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_INITIALS = frozenset({"id", "ip", "url", "uri", "utc", "vat", "sms", "iban", "bic", "api", "os"})
_BREAKS = re.compile(r"[_\s]+")


def humanise(name: str) -> str:
    """A technical name as words: ``firstName`` and ``first_name`` become ``First name``."""
    cut = printable(name[:80])
    words = _BREAKS.sub(" ", _CAMEL.sub(" ", cut)).strip().split(" ")
    text = " ".join(word.upper() if word.lower() in _INITIALS else word if word.isupper() and len(word) > 1 else word.lower() for word in words)
    return (text[:1].upper() + text[1:]) + ("…" if len(name) > 80 else "")


_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def printable(text: str) -> str:
    """`text` with what an HTML page may not hold made visible: control characters by their symbols, half characters by the replacement mark."""
    return _UNPRINTABLE.sub(_symbol, text.replace("\r\n", "\n")) if _UNPRINTABLE.search(text) else text


def _symbol(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\N{REPLACEMENT CHARACTER}"


def all_text(nodes: Iterable[Node]) -> bool:
    """Whether every node is a plain value: such a list can stand on one line."""
    return all(isinstance(node, Text) for node in nodes)
