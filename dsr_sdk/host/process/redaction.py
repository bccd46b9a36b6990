"""Redaction: what a person may not see in their copy, because it is somebody else's, is taken out of every artefact of it.

A record has no name that every vendor honours, so it is known by its contents: a keyed hash over data source, kind and data. When a data
source is collected again and the record has changed, the redaction fits no record any more, and no copy is made until an agent has looked:
never is something handed over because it looks a little different today.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from dsr_sdk.copy.texts import Texts
from dsr_sdk.ledger.vault import Vault
from dsr_sdk.result import Record

__all__ = ["Redaction", "Redactor", "fields_of", "record_key"]


@dataclasses.dataclass(frozen=True, slots=True)
class Redaction:
    """Something taken out of a copy.

    Attributes:
        record: The key of the record, see `record_key`.
        field: JSON pointer (RFC 6901) of the value taken out; None for the whole record.
        reason: Why, for colleagues; the person is not shown it.
    """

    id: int
    case: str
    source: str
    resource: str
    record: str = dataclasses.field(repr=False)
    field: str | None = dataclasses.field(repr=False)
    reason: str = dataclasses.field(repr=False)
    created_at: datetime
    created_by: str


def record_key(vault: Vault, case: str, source: str, record: Record) -> str:
    """What a record is known by within its case: 32 hex digits. Equal records have the same."""
    text = json.dumps(record.data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return vault.fingerprint("record", case, source, record.resource, text).hex()[:32]


def fields_of(data: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Every plain value of a record: its JSON pointer and its text. Objects and lists that are empty count as values."""
    if isinstance(data, Mapping) and data:
        for key, value in data.items():
            yield from fields_of(value, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(data, list | tuple) and data:
        for index, value in enumerate(data):
            yield from fields_of(value, f"{pointer}/{index}")
    else:
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        yield _sound(pointer), _sound(text)


class Redactor:
    """Takes out of one copy's records what was redacted. Remembers which redactions were met, see `unmet`."""

    def __init__(self, vault: Vault, case: str, redactions: Iterable[Redaction], language: str) -> None:
        self._vault = vault
        self._case = case
        self._texts = Texts(language)
        self._wanted: dict[str, list[Redaction]] = {}
        for redaction in redactions:
            self._wanted.setdefault(redaction.record, []).append(redaction)
        self._met: set[int] = set()

    def apply(self, source: str, records: Iterable[Record]) -> Iterator[Record]:
        """The records of a data source as the person gets them; those redacted as a whole are left out."""
        for record in records:
            wanted = self._wanted.get(record_key(self._vault, self._case, source, record)) if self._wanted else None
            if not wanted:
                yield record
                continue
            whole = [redaction for redaction in wanted if redaction.field is None]
            if whole:
                self._met.update(redaction.id for redaction in wanted)
                continue
            data = json.loads(json.dumps(record.data))
            for redaction in wanted:
                if redaction.field is not None and _blank(data, redaction.field, self._texts.get("redacted")):
                    self._met.add(redaction.id)
            yield Record(record.resource, data)

    def left_out(self, source: str) -> dict[str, str]:
        """For each kind of record of a data source the sentence that says how many are left out."""
        counts: dict[str, set[str]] = {}
        for key, redactions in self._wanted.items():
            for redaction in redactions:
                if redaction.source == source and redaction.field is None:
                    counts.setdefault(redaction.resource, set()).add(key)
        return {resource: self._texts.count("redacted_records", len(keys)) for resource, keys in counts.items()}

    @property
    def unmet(self) -> list[Redaction]:
        """Redactions that have fitted no record, once every record went by."""
        return [redaction for redactions in self._wanted.values() for redaction in redactions if redaction.id not in self._met]


def _sound(text: str) -> str:
    """Text as a page can show it: a truncated emoji is half of a surrogate pair, which UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _blank(data: Any, pointer: str, mark: str) -> bool:
    """Put the mark in the place of a value; whether there was one. A value within one that is blanked already counts as blanked."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    for n, step in enumerate(steps):
        last = n == len(steps) - 1
        known = next((key for key in data if _sound(str(key)) == step), None) if isinstance(data, dict) else None
        if known is not None:
            place: Any = known
        elif isinstance(data, list) and step.isdigit() and int(step) < len(data):
            place = int(step)
        else:
            return bool(data == mark)
        if last:
            data[place] = mark
        data = data[place]
    return bool(steps)
