"""Files of requests: CSV, JSON and JSON Lines, read row by row. However long the file, one row is in memory at a time.

A row that cannot be read is an error with its line, and the next one is read; an unreadable file is one error, and nothing more.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import ValidationError

from dsr_sdk.errors import RequestError
from dsr_sdk.host.arrivals.forms import custom_value
from dsr_sdk.host.settings import FormField
from dsr_sdk.identity import ControllerId, Email, Identity, Phone
from dsr_sdk.request import Channel, Request

__all__ = ["COLUMNS", "Format", "Row", "Stream", "request_of", "rows_of"]

Format = Literal["csv", "json", "jsonl"]

COLUMNS = (
    "type",
    "email",
    "phone",
    "user_id",
    "first_name",
    "last_name",
    "scope",
    "channel",
    "regime",
    "country",
    "region",
    "language",
    "reference",
    "received_at",
    "email_evidence",
)
"""The columns of a CSV file, beside ``custom.NAME``. Only ``type`` and one of ``email``, ``phone``, ``user_id`` must be there."""

_SUBJECT = ("email", "phone", "user_id", "first_name", "last_name")
_IDENTITIES: dict[str, type[Identity]] = {"email": Email, "phone": Phone, "user_id": ControllerId}
_CUSTOM = re.compile(r"custom\.([A-Za-z][A-Za-z0-9_]{0,62})")
_LONGEST_LINE = 1024 * 1024
_BLOCK = 64 * 1024


class Stream(Protocol):
    """What is needed of a binary file."""

    def read(self, size: int = -1, /) -> bytes: ...
    def readline(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, slots=True, repr=False)
class Row:
    """One row: the fields of a request, or why it cannot be read. ``line`` counts from 1; of a row of several lines it is the first."""

    line: int
    fields: Mapping[str, Any] | str | None
    error: str = ""

    def __repr__(self) -> str:
        return f"<Row {self.line}>"


def rows_of(stream: Stream, format: Format) -> Iterator[Row]:
    """The rows of a file. After a row with an error the rest follows, unless the file is unreadable from there on."""
    if format == "csv":
        return _csv(stream)
    return _jsonl(stream) if format == "jsonl" else _json(stream)


def request_of(fields: Mapping[str, Any] | str, *, channel: Channel, own: Mapping[str, FormField]) -> Request:
    """A request from a row.

    Args:
        fields: The fields of a `Request`, where ``email``, ``phone``, ``user_id``, ``first_name`` and ``last_name`` may stand beside
            ``subject`` and ``custom.NAME`` beside ``custom_fields``; or the JSON text of a request.
        channel: For one that names none.
        own: The configured fields by name: a text for one of them becomes what the field takes.

    Raises:
        RequestError: Names what is wrong, never a value.
    """
    if isinstance(fields, str):
        parsed = Request.parse(fields)  # the text itself: it is stricter about what is JSON than Python is
        if "channel" not in parsed.model_fields_set:
            parsed = parsed.model_copy(update={"channel": channel})
        return _without_case(parsed)
    data: dict[str, Any] = {key: value for key, value in fields.items() if key not in _SUBJECT and not _CUSTOM.fullmatch(key)}
    person = {key: fields[key] for key in _SUBJECT if fields.get(key) not in (None, "")}
    for key, kind in _IDENTITIES.items():
        _check_identity(key, kind, person)
    if person:
        subject = data.get("subject", {})
        if not isinstance(subject, Mapping):
            raise RequestError("is not an object", field="subject")
        data["subject"] = {**subject, **person}
    customs = {found[1]: value for key, value in fields.items() if (found := _CUSTOM.fullmatch(key)) and value not in (None, "")}
    if customs:
        data["custom_fields"] = {**data.get("custom_fields", {}), **{name: _typed(name, value, own) for name, value in customs.items()}}
    data.setdefault("channel", channel)
    return _without_case(Request.parse(data))


def _check_identity(key: str, kind: type[Identity], person: Mapping[str, Any]) -> None:
    """Say it of the field that was filled in, not of what becomes of it."""
    if key in person:
        try:
            kind.model_validate({"value": person[key]})
        except ValidationError as error:
            detail = error.errors(include_input=False, include_context=False)[0]
            raise RequestError(detail["msg"].removeprefix("Value error, "), field=key) from None


def _without_case(request: Request) -> Request:
    if "case" in request.model_fields_set:
        raise RequestError("is given by us", field="case", fix="leave it out; use reference for your own id")
    return request


def _typed(name: str, value: Any, own: Mapping[str, FormField]) -> Any:
    field = own.get(name)
    if field is None or not isinstance(value, str):
        return value
    try:
        return custom_value(field.kind, value, field.choices)
    except ValueError as error:
        raise RequestError(str(error), field=f"custom.{name}") from None


# --- CSV ---------------------------------------------------------------------------------------------------------------------------------


class _UnreadableError(Exception):
    """The file cannot be read from here on."""


class _Lines:
    """Lines of text with their number: one at a time, so that whatever is wrong with one is said of that one."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        while raw := self._stream.readline(_LONGEST_LINE + 1):
            self.number += 1
            if len(raw) > _LONGEST_LINE:
                raise _UnreadableError(f"is longer than {_LONGEST_LINE:,} bytes")
            try:
                yield raw.decode("utf-8-sig" if self.number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise _UnreadableError("is not UTF-8: save the file as CSV UTF-8, or as JSON in UTF-8") from None


def _csv(stream: Stream) -> Iterator[Row]:
    lines = _Lines(stream)
    texts = iter(lines)
    begun = 1
    try:
        first = next(texts, "")
        reader = csv.reader(_again(first, texts), delimiter=_delimiter(first), strict=True)
        header = [_column(name) for name in next(reader, [])]
        _check(header)
        begun = lines.number + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _row(begun, header, cells)
            begun = lines.number + 1
    except csv.Error as error:
        unclosed = "unexpected end" in str(error) or "field larger" in str(error)
        yield Row(begun, None, "a quote is not closed" if unclosed else "quotes stand where none may: double a quote inside a quoted value")
    except _UnreadableError as error:
        yield Row(max(lines.number, 1), None, str(error))


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest


def _delimiter(header: str) -> str:
    """What parts the columns: the names of columns hold none of the candidates."""
    return max((",", ";", "\t"), key=header.count)


def _column(name: str) -> str:
    name = name.strip()
    return name if name.startswith("custom.") else name.casefold().replace(" ", "_").replace("-", "_")


def _check(header: list[str]) -> None:
    if not any(header):
        raise _UnreadableError("the file is empty: its first line must name the columns")
    for position, name in enumerate(header, 1):
        if name not in COLUMNS and not _CUSTOM.fullmatch(name):
            # Its name is not repeated: in a file without a header it is somebody's name or address.
            raise _UnreadableError(f"column {position} has no name we know: {', '.join(COLUMNS)}, custom.NAME")
        if name in header[: position - 1]:
            raise _UnreadableError(f"column {position} has the name of an earlier one")
    if "type" not in header or not {"email", "phone", "user_id"} & set(header):
        raise _UnreadableError("needs the columns type and one of email, phone, user_id")


def _row(line: int, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        return Row(line, None, f"has {len(cells)} columns, the header has {len(header)}")
    fields: dict[str, Any] = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
    if "email_evidence" in fields:
        try:
            fields["email_evidence"] = json.loads(fields["email_evidence"])
        except (ValueError, RecursionError):  # not only JSONDecodeError: Python takes no number of thousands of digits
            return Row(line, None, "email_evidence is not valid JSON")
    return Row(line, fields)


# --- JSON --------------------------------------------------------------------------------------------------------------------------------


def _jsonl(stream: Stream) -> Iterator[Row]:
    lines = _Lines(stream)
    try:
        for text in lines:
            if text.strip():
                yield Row(lines.number, text)
    except _UnreadableError as error:
        yield Row(max(lines.number, 1), None, str(error))


class _Text:
    """Text of a file, as much of it as is needed, with the line it begins in."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder()
        self.buffer = ""
        self.line = 1

    def peek(self) -> str:
        """The next character that is no white space, which is skipped; empty at the end."""
        while True:
            self.take(len(self.buffer) - len(self.buffer.lstrip(" \t\r\n")))
            if self.buffer or not self._fill():
                return self.buffer[:1]

    def take(self, count: int) -> str:
        """The next characters."""
        text, self.buffer = self.buffer[:count], self.buffer[count:]
        self.line += text.count("\n")
        return text

    def element(self) -> str:
        """The text of the object that comes next."""
        while True:
            try:
                _, end = self._json.raw_decode(self.buffer)
            except RecursionError:
                raise _UnreadableError("is nested too deeply") from None
            except json.JSONDecodeError:
                if len(self.buffer) > _LONGEST_LINE or not self._fill():
                    raise _UnreadableError("is not valid JSON, or a request in it is larger than 1 MB") from None
            except ValueError:
                raise _UnreadableError("holds a number of thousands of digits") from None
            else:
                return self.take(end)

    def _fill(self) -> bool:
        raw = self._stream.read(_BLOCK)
        self.buffer += self._decoder.decode(raw, final=not raw)
        return bool(raw)


def _json(stream: Stream) -> Iterator[Row]:
    """The elements of one JSON list, each as its text."""
    text = _Text(stream)
    try:
        if text.peek() != "[":
            raise _UnreadableError("is not a JSON list of requests: it begins with [ and ends with ]")
        text.take(1)
        more = text.peek() != "]"
        while more:
            if text.peek() != "{":
                raise _UnreadableError("is not valid JSON: here an object should begin, a request in { and }")
            line = text.line
            yield Row(line, text.element())
            more = text.peek() == ","
            if more:
                text.take(1)
            elif text.peek() != "]":
                raise _UnreadableError("is not valid JSON: after a request comes a comma or the end of the list")
        text.take(1)
        if text.peek():
            raise _UnreadableError("goes on after the end of the list")
    except _UnreadableError as error:
        yield Row(text.line, None, str(error))
    except UnicodeDecodeError:
        yield Row(text.line, None, "is not UTF-8: save the file as JSON in UTF-8")
