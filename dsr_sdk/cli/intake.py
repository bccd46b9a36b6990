"""Requests from a file or standard input: one JSON document, JSON Lines, or case numbers, one a line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dsr_sdk.cli import failures, output

if TYPE_CHECKING:
    from dsr_sdk.errors import RequestError
    from dsr_sdk.host import Host
    from dsr_sdk.request import Request

__all__ = ["Entry", "Intake", "Taken", "read", "submit", "without_reference"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One request as it came: where it stands (``requests.jsonl:3``) and its text, which is personal."""

    where: str
    data: bytes | dict[str, Any] = field(repr=False)

    def request(self) -> Request:
        """Parsed. Raises `RequestError`, which names place and field."""
        from dsr_sdk.request import Request

        return Request.parse(self.data, source=self.where)

    def text(self) -> bytes:
        """On one line."""
        return self.data.strip() if isinstance(self.data, bytes) else json.dumps(self.data, ensure_ascii=False).encode()


@dataclass(slots=True)
class Intake:
    """What a file holds."""

    entries: list[Entry] = field(default_factory=list)
    cases: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Taken:
    """A request that is in the ledger. `new` is false when its reference was known already."""

    where: str
    case: str
    new: bool

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"case": self.case, "where": self.where, "new": self.new}


def read(place: str) -> Intake:
    """Read a file, or standard input for ``-``.

    Raises:
        RequestError: It cannot be read, or holds nothing.
    """
    from dsr_sdk.errors import RequestError

    name = "stdin" if place == "-" else place
    try:
        text = typer.get_binary_stream("stdin").read() if place == "-" else Path(place).read_bytes()
    except OSError as error:
        fix = "give case numbers, a file, or - for standard input"
        raise RequestError(f"cannot be read: {(error.strerror or type(error).__name__).lower()}", source=name, fix=fix) from None
    text = text.removeprefix(b"\xef\xbb\xbf")
    if not text.strip():
        raise RequestError("holds no request", source=name, fix="one JSON object, or one a line")
    return _parsed(name, text)


def _parsed(name: str, text: bytes) -> Intake:
    from dsr_sdk.request import CASE_NUMBER

    lines = [(number, line) for number, line in enumerate(text.split(b"\n"), 1) if line.strip()]
    document = None if len(lines) > 1 and _is_json(lines[0][1]) else _load(text)
    if isinstance(document, list):
        return Intake([Entry(f"{name}[{number}]", row if isinstance(row, dict) else b"null") for number, row in enumerate(document)])
    if document is not None or (len(lines) > 1 and lines[0][1].strip() == b"{"):
        return Intake([Entry(name, text)])  # one object over several lines; when it is broken, one error says so
    intake = Intake()
    for number, line in lines:
        word = line.strip().decode("utf-8", "replace").upper()
        if CASE_NUMBER.fullmatch(word):
            intake.cases.append(word)
        else:
            intake.entries.append(Entry(f"{name}:{number}", line))
    return intake


def _load(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_json(text: bytes) -> bool:
    return _load(text) is not None


def submit(host: Host, intake: Intake, *, skip_invalid: bool = False, rejected: Path | None = None) -> tuple[list[Taken], list[RequestError]]:
    """Take requests in: all of them, or none when one is wrong.

    Args:
        skip_invalid: Take the good ones in all the same.
        rejected: Where the text of the wrong ones goes.

    Returns:
        What was taken in, in order, and what was wrong. When something was and `skip_invalid` is not set, nothing was taken in.
    """
    good, errors = _checked(intake.entries)
    for error, _ in errors:
        failures.show(error)
    if errors and rejected is not None:
        _keep(rejected, [entry for _, entry in errors])
    if errors and not skip_invalid:
        return [], [error for error, _ in errors]
    taken: list[Taken] = []
    for start in range(0, len(good), 2000):  # parsed again, so that a file of any length is never held as objects
        chunk = good[start : start + 2000]
        parsed = [entry.request() for entry in chunk]
        numbers = host.submit_many(parsed)
        taken.extend(Taken(entry.where, number, number == request.case) for entry, request, number in zip(chunk, parsed, numbers, strict=True))
    return taken, [error for error, _ in errors]


def without_reference(entries: Sequence[Entry]) -> int:
    """How many requests carry no reference, and would be new cases if they were submitted again."""
    return sum(1 for entry in entries if _reference(entry) is None)


def _reference(entry: Entry) -> Any:
    row = entry.data if isinstance(entry.data, dict) else _load(entry.data)
    return row.get("reference") or row.get("case") if isinstance(row, dict) else None


def _checked(entries: Sequence[Entry]) -> tuple[list[Entry], list[tuple[RequestError, Entry]]]:
    from dsr_sdk.errors import RequestError

    good: list[Entry] = []
    errors: list[tuple[RequestError, Entry]] = []
    for entry in entries:
        try:
            entry.request()
        except RequestError as error:
            errors.append((error, entry))
        else:
            good.append(entry)
    return good, errors


def _keep(path: Path, entries: Sequence[Entry]) -> None:
    """Personal data: readable by its owner only, and never over a file that is there."""
    from dsr_sdk.errors import ConfigError

    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot be written: {(error.strerror or '').lower()}", source=str(path), field="--rejected") from None
    with os.fdopen(handle, "wb") as file:
        file.writelines(_lines(entries))
    output.note(f"wrote {len(entries)} rejected to {path}")


def _lines(entries: Sequence[Entry]) -> Iterator[bytes]:
    for entry in entries:
        yield entry.text().replace(b"\n", b" ") + b"\n"
