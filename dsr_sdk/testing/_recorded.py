"""What was recorded of a real vendor, and what a connector should conclude from it."""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from dsr_sdk.errors import AuthError, ConfigError, DsrError, RejectedError, TransientError
from dsr_sdk.result import Absent, Failed, Match, Outcome, Record
from dsr_sdk.testing.sandbox import Person
from dsr_sdk.testing.scrub import strings_in

__all__ = ["Recorded", "judge", "read"]

ADDRESS = re.compile(r"[\w.+'-]{1,64}@(?:[\w-]+\.)+\w{2,}")
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_DROPPED = frozenset({"content-encoding", "transfer-encoding", "content-length", "connection"})


@dataclass(frozen=True)
class Recorded:
    """One interaction as somebody recorded it."""

    file: str
    number: int
    method: str
    url: str
    sent: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path of the URL, without the suffix some vendors allow."""
        return urlsplit(self.url).path.removesuffix(".json")

    @property
    def damaged(self) -> bool:
        """Whether replacing secrets in it broke its JSON."""
        text = self.body.strip()
        if self.status >= 300 or text[:1] not in (b"{", b"["):
            return False
        try:
            json.loads(text)
        except ValueError:
            return True
        return False

    def person(self) -> str | None:
        """Whose address it is about: the one asked for, or the first one answered with."""
        asked = ADDRESS.search(unquote(self.url)) or ADDRESS.search(unquote(self.sent))
        found = asked or ADDRESS.search(self.body.decode("utf-8", "replace"))
        return found[0] if found else None


def read(directory: Path) -> Iterator[Recorded]:
    """Every interaction in a directory of recordings and the directories in it: vcrpy's YAML and JSON, and what Ruby's VCR and Betamax write.

    Raises:
        ConfigError: A file is no recording; one line that names it.
    """
    if directory.is_file():
        paths = [directory]
    else:
        paths = sorted(path for path in directory.rglob("*") if path.suffix in _SUFFIXES and path.is_file())
    for path in paths:
        name = path.name if path == directory else str(path.relative_to(directory))
        try:
            raw = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)  # JSON is YAML
            if path.suffix == ".json" and path != directory and not _is_recording(raw):
                continue  # bodies alone lie beside recordings: without request and status they answer nothing
            rows = [_recorded(name, number, row) for number, row in enumerate(_rows(raw), 1)]
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", source=str(path)) from None
        except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise ConfigError("is no vcrpy recording", source=str(path), fix="take it out of the directory, or record it again") from None
        yield from rows


def _is_recording(raw: Any) -> bool:
    return isinstance(raw, Mapping) and bool({"interactions", "http_interactions"} & raw.keys())


def _rows(raw: Any) -> list[Any]:
    if isinstance(raw, Mapping):
        return list(raw["interactions"] if "interactions" in raw else raw["http_interactions"])
    return list(raw)  # vcrpy before 1.0: the interactions alone


def _recorded(name: str, number: int, row: Mapping[str, Any]) -> Recorded:
    request, response = row["request"], row["response"]
    headers = {
        str(key): ", ".join(map(str, value)) if isinstance(value, list) else str(value) for key, value in (response.get("headers") or {}).items()
    }
    return Recorded(
        name,
        number,
        str(request["method"]).upper(),
        str(request.get("uri") or request["url"]),
        _content(request.get("body")).decode("utf-8", "replace"),
        int(response["status"]["code"]),
        {key: value for key, value in headers.items() if key.lower() not in _DROPPED},
        _content(response.get("body")),
    )


def _content(body: Any) -> bytes:
    """A body, however the recorder wrote it: bare, in a mapping, or as base64."""
    if isinstance(body, Mapping):
        if "base64_string" in body:
            body = base64.b64decode(body["base64_string"])
        else:
            body = body.get("string")
    raw = body if isinstance(body, bytes) else str(body or "").encode()
    if raw[:2] == b"\x1f\x8b":  # the header that says so is dropped
        try:
            return gzip.decompress(raw)
        except (OSError, EOFError, zlib.error):
            return raw
    return raw


def judge(verb: str, status: int, body: bytes, result: Any, person: Person, path: str) -> tuple[bool, str]:
    """Whether the conclusion is the one the vendor's status and body ask for, and the conclusion in words."""
    if isinstance(result, Exception) and not isinstance(result, DsrError):
        return False, f"raised {type(result).__name__}, which is no DsrError"
    errors = [result] if isinstance(result, DsrError) else [one for _, one in _results(result) if isinstance(one, DsrError)]
    error = errors[0] if errors else None
    outcomes = [one for _, one in _results(result) if isinstance(one, Outcome)]
    refused = [one for one in outcomes if isinstance(one, Failed)]
    said = str(error) if error else _words(verb, result, outcomes)
    if status in (401, 403):
        return isinstance(error, AuthError | TransientError), said
    if status in (404, 410):
        if verb in ("erase", "poll"):
            return error is None and any(isinstance(one, Absent) for one in outcomes), said
        return isinstance(error, ConfigError | RejectedError) or (error is None and verb in ("find", "check")), said
    if status in (408, 425, 429) or status >= 500:
        return isinstance(error, TransientError), said
    if status >= 400:
        return error is not None or bool(refused), said
    if status >= 300:
        return isinstance(error, ConfigError), said
    if error is not None or refused:
        return verb == "check" and isinstance(error, AuthError | ConfigError), said  # a check may say that these credentials do not suffice
    if verb == "find":
        return _found_right(body, result, person, said)
    return (bool(outcomes) if verb in ("erase", "poll") else True), said


def _found_right(body: bytes, matches: Sequence[Match], person: Person, said: str) -> tuple[bool, str]:
    try:
        answer = json.loads(body) if body else None
    except ValueError:
        return True, said
    texts = {text.casefold() for _, text in strings_in(answer)} | {str(number) for number in _numbers(answer)}
    from_here = [match for match in matches if match.id.casefold() in texts]
    named = person.email.casefold() in texts
    empty = (isinstance(answer, Mapping) and any(value == [] for value in answer.values())) or answer == []
    if named and not matches:
        return False, "the answer names the person, and nothing is found"
    if empty and from_here:
        return False, "the answer is an empty list, and something is found in it"
    if any(_is_somebody_else(answer, match.id, person) for match in from_here):
        return False, "somebody else's record in the answer is taken for the person's"
    note = " (named in the answer)" if named else " (an empty list)" if empty else " (nobody's address in the answer)"
    return True, said + note


def _is_somebody_else(value: Any, found: str, person: Person) -> bool:
    """Whether the object with this id says an address, and not the person's."""
    if isinstance(value, list):
        return any(_is_somebody_else(inner, found, person) for inner in value)
    if not isinstance(value, Mapping):
        return False
    if any(str(inner) == found for key, inner in value.items() if str(key).lower() in ("id", "user_id", "vid", "uuid")):
        texts = [text.casefold() for _, text in strings_in(value)]
        others = [text for text in texts if ADDRESS.fullmatch(text)]
        return bool(others) and person.email.casefold() not in texts
    return any(_is_somebody_else(inner, found, person) for inner in value.values())


def _numbers(value: Any) -> Iterator[int]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, int):
        yield value


def _results(result: Any) -> list[tuple[Match, Outcome | DsrError]]:
    return [row for row in result if isinstance(row, tuple)] if isinstance(result, list) else []


def _words(verb: str, result: Any, outcomes: Sequence[Outcome]) -> str:
    if outcomes:
        return ", ".join(f"{count} {kind}" for kind, count in Counter(one.kind for one in outcomes).items())
    if isinstance(result, list):
        kinds = Counter(one.resource for one in result if isinstance(one, Match | Record))
        return ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing"
    return "fine"
