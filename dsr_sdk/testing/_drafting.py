"""Reads a vendor's API description for a new connector: which calls look like find, erase and export, and how the API is reached.

Guesses, each with its reasons: the author sees the table and decides. Nothing of the description but plain words, paths and names is
passed on, since what is passed on ends up in source code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dsr_sdk.errors import ConfigError

if TYPE_CHECKING:
    from dsr_sdk.testing._schema import Bundle

__all__ = ["BESIDE", "PEOPLE", "SLOT", "VERBS", "Candidate", "Draft", "by_id", "draft", "noun_of", "plain", "words_of"]

LARGEST: Final = 4_000_000
"""Bytes from which a description is refused: what is as large describes a whole company, and hides the few calls in hundreds of guesses."""

DEEPEST: Final = 200
"""Levels of nesting that are read; the deepest real description known here has 20."""

VERBS: Final = ("find", "erase", "export")
ENOUGH: Final = 5
"""The score from which a call is worth showing."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


PEOPLE: Final = _set(
    "account applicant buyer contact customer guest identity individual lead member patient people person player profile recipient shopper"
    " subject subscriber user visitor"
)
_SEARCH: Final = _set("filter find lookup query search usersearch")
_DELETE: Final = _set("anonymise anonymize delete deletion destroy erase erasure forget forgotten obfuscate purge redact redaction remove")
_PRIVACY: Final = _set("ccpa compliance dsar dsr erase erasure forget gdpr permanent permanently privacy redact redaction regulation")
_JOBS: Final = _set("deletion dsar erasure regulation request")
_COPIES: Final = _set("dsar portability retrieval takeout")
_EXPORT: Final = _COPIES | _set("access download dump export")
_ASIDE: Final = _set("audit bounce cancel count job merge preview restore schema session status template unsuppress webhook")
_QUERY: Final = _set("filter filter_term keyword q query search search_term searchterm term user")
# Words beside the noun of a path: what is done to it, and how it is written.
BESIDE: Final = _SEARCH | _DELETE | _PRIVACY | _EXPORT | _set("action all batch bulk by email get id info json list many retrieve show")

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
SLOT: Final = re.compile(r"\{[^{}]*\}")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,24}")
_BASE_URL: Final = re.compile(r"https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:\d{1,5})?(/[A-Za-z0-9._~:@%+-]*)*")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A described call that may be what a verb needs.

    Attributes:
        verb: ``find``, ``erase`` or ``export``.
        score: How much speaks for it; `ENOUGH` at least.
        why: What speaks for it and against it, in words.
        param: The query parameter to search by, for `find`.
    """

    verb: str
    score: int
    method: str
    path: str
    operation_id: str
    why: tuple[str, ...]
    param: str = ""

    @property
    def call(self) -> str:
        """``GET /v1/customers ?email``."""
        return f"{self.method} {self.path}" + (f" ?{self.param}" if self.param else "")

    @property
    def noun(self) -> str:
        """The word for a person that its path is about; empty when there is none."""
        return noun_of(self.path)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a description suggests for a connector.

    Attributes:
        source: The file.
        title: The product's name in it.
        base_url: Where the API is; empty when the description leaves that open.
        auth: How it authenticates, in the words of the template's question; empty when it does not say.
        key_name: The header or parameter of a key.
        operations: How many calls it describes.
        candidates: The calls that look right: by verb, the best first.
    """

    source: Path
    title: str
    base_url: str
    auth: str
    key_name: str
    operations: int
    candidates: tuple[Candidate, ...]

    def of(self, verb: str) -> tuple[Candidate, ...]:
        """The candidates of a verb, the best first."""
        return tuple(candidate for candidate in self.candidates if candidate.verb == verb)


def draft(openapi_path: str | Path) -> Draft:
    """Read a vendor's OpenAPI description (3.0 or 3.1; YAML or JSON) and say which of its calls look like find, erase and export.

    Raises:
        ConfigError: The file is missing, too large, broken, or no such description: names it, and says what to do.
    """
    path = Path(openapi_path)
    bundle = _read(path)
    operations = list(_operations(bundle))
    if not operations:
        raise ConfigError("describes no call", source=str(path), fix="give the description that has the vendor's paths in it")
    candidates = [candidate for operation in operations for candidate in _candidates(operation)]
    candidates.sort(key=lambda one: (VERBS.index(one.verb), -one.score, len(one.path), one.path, one.method))
    auth, key_name = _authentication(bundle)
    info = bundle.raw.get("info")
    title = info.get("title") if isinstance(info, dict) else ""
    return Draft(path, _title(title), _base_url(bundle.raw), auth, key_name, len(operations), tuple(candidates))


# --- reading -------------------------------------------------------------------------------------------------------------------------


def _read(path: Path) -> Bundle:
    try:
        from dsr_sdk.testing._description import read
        from dsr_sdk.testing._schema import Bundle
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dsr_sdk"):
            raise
        raise ConfigError(f"reading an API description needs {error.name}, which is not installed", fix="pip install 'dsr-sdk[testing]'") from None
    try:
        if path.exists() and not path.is_file():
            raise ConfigError("is no file", source=str(path), fix="give a vendor's OpenAPI description, in YAML or JSON")
        size = path.stat().st_size if path.exists() else 0
    except (OSError, ValueError):
        size = 0  # `read` says what is the matter
    if size >= LARGEST:
        fix = f"cut it down to the paths about people, below {LARGEST // 1_000_000} MB; many vendors also offer one file for each part of the API"
        raise ConfigError(f"is too large to be read ({size / 1_000_000:.1f} MB)", source=str(path), fix=fix)
    try:
        _refuse_depth(path)
        return Bundle(read(path), str(path))
    except ConfigError as error:
        if "Swagger 2.0" in error.message:
            fix = "convert it to OpenAPI 3 (npx swagger2openapi), or ask the vendor for the newer one"
        elif "cannot be read" in error.message:
            fix = "check the name of the file"
        else:
            fix = "it has to be an OpenAPI 3.0 or 3.1 description in YAML or JSON: download it again, or go on without it"
        raise ConfigError(error.message, source=str(path), fix=fix) from None


def _refuse_depth(path: Path) -> None:
    """Refuse YAML that is nested deeper than any description: PyYAML's C part would exhaust the stack, and end the process."""
    import yaml

    depth = 0
    try:
        with path.open("rb") as file:
            if file.read(1) == b"{":  # JSON: its parser counts for itself
                return
            file.seek(0)
            for event in yaml.parse(file, Loader=yaml.CSafeLoader):
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if depth > DEEPEST:
                    raise ConfigError(f"is nested deeper than {DEEPEST} levels", source=str(path))
    except (OSError, ValueError, yaml.YAMLError):
        return  # `read` says what is the matter


@dataclass(frozen=True, slots=True)
class _Operation:
    method: str
    path: str
    operation_id: str
    summary: str
    query: tuple[str, ...]
    slots: tuple[str, ...]
    body: tuple[str, ...]


def _operations(bundle: Bundle) -> Iterator[_Operation]:
    paths = bundle.raw.get("paths")
    for path, raw in (paths if isinstance(paths, dict) else {}).items():
        item = _mapping(bundle, raw)
        for method in ("get", "post", "put", "patch", "delete"):
            operation = item.get(method)
            if isinstance(operation, dict) and isinstance(path, str) and path.startswith("/"):
                given = [_mapping(bundle, one) for part in (item, operation) for one in _list(part.get("parameters"))]
                query = tuple(str(one.get("name")) for one in given if one.get("in") == "query")
                texts = [operation.get(key) if isinstance(operation.get(key), str) else "" for key in ("operationId", "summary")]
                body = tuple(_properties(bundle, operation.get("requestBody")))
                yield _Operation(method.upper(), path, texts[0] or "", texts[1] or "", query, tuple(SLOT.findall(path)), body)


def _properties(bundle: Bundle, body: Any) -> Iterator[str]:
    """The names of a JSON body's properties, two levels deep."""
    content = _mapping(bundle, body).get("content")
    for media in (content if isinstance(content, dict) else {}).values():
        todo = [(_mapping(bundle, media).get("schema"), 0)]
        while todo:
            raw, level = todo.pop()
            schema = _mapping(bundle, raw)
            properties = schema.get("properties")
            for name, value in (properties if isinstance(properties, dict) else {}).items():
                yield str(name)
                if level < 1:
                    todo.append((value, level + 1))
            if level < 2:
                todo += [(part, level + 1) for key in ("allOf", "anyOf", "oneOf") for part in _list(schema.get(key))]
                todo += [(schema["items"], level + 1)] if "items" in schema else []


def _mapping(bundle: Bundle, node: Any) -> Mapping[str, Any]:
    """The mapping a node is or refers to; an empty one for anything else."""
    try:
        resolved = bundle.resolve(node)
    except ConfigError:  # a reference to nowhere, or to itself: this part of the description says nothing
        return {}
    return resolved if isinstance(resolved, dict) else {}


def _list(node: Any) -> list[Any]:
    return node if isinstance(node, list) else []


# --- judging -------------------------------------------------------------------------------------------------------------------------

_Points = Iterator[tuple[int, str]]


def _candidates(operation: _Operation) -> Iterator[Candidate]:
    for verb, judge in (("find", _as_find), ("erase", _as_erase), ("export", _as_export)):
        points = list(judge(operation))
        score = sum(value for value, _ in points)
        if score >= ENOUGH:
            why = tuple(reason for _, reason in points)
            param = _search_param(operation) if verb == "find" else ""
            yield Candidate(verb, score, operation.method, plain(operation.path), plain(operation.operation_id), why, param)


def _as_find(operation: _Operation) -> _Points:
    named = _words(operation.path) | _words(operation.operation_id)
    by_path = by_id(operation.path)
    slot = _words(operation.slots[-1]) if operation.slots else set()
    searches = bool(named & _SEARCH) or "by email" in operation.summary.lower()
    if operation.method == "POST" and searches:
        yield 2, "POST for a search"
    elif operation.method != "GET" or (by_path and not slot & {"email", "identifier"}):
        return
    if by_path:
        yield (4, "email in the path") if "email" in slot else (2, "an identifier in the path")
    param = _search_param(operation)
    if param:
        yield (5, f"parameter {param}") if "email" in _words(param) else (2, f"parameter {param}")
    if operation.method == "POST" and any("email" in _words(name) for name in operation.body):
        yield 2, "email in the body"
    if searches or {"by", "email"} <= named:
        yield 3, "search in its name"
    elif operation.method == "GET" and not operation.slots and not param:
        yield 1, "a list, without a parameter to search by"
    yield from _about_people(operation)
    others = len(operation.slots) - by_path
    if others:
        yield -others, "needs other ids first"
    yield from _against(named, _DELETE | _ASIDE | {"export", "me"})


def _as_erase(operation: _Operation) -> _Points:
    named = _words(operation.path) | _words(operation.operation_id)
    if operation.method == "DELETE":
        yield 3, "DELETE"
        if len(operation.slots) == 1 and by_id(operation.path):
            yield 2, "one id in the path"
        if _words(operation.path) & _JOBS:
            yield -6, "ends a job, perhaps"
    elif operation.method in ("POST", "PUT", "PATCH") and named & (_DELETE | {"gdpr", "dsr", "regulation"}):
        yield (1, "remove in its name") if not named & (_DELETE | _PRIVACY) - {"remove"} else (3, "delete in its name")
        if any(_words(name) & {"email", "subject", *PEOPLE} for name in operation.body):
            yield 1, "a person in the body"
    else:
        return
    if named & _PRIVACY or {"data", "deletion"} <= named:
        yield 5, f"{min(named & (_PRIVACY | {'deletion'}))} in its name"
    yield from _about_people(operation)
    if len(operation.slots) > 1:
        yield 1 - len(operation.slots), "needs other ids first"
    yield from _against(named, _ASIDE)


def _as_export(operation: _Operation) -> _Points:
    named = _words(operation.path) | _words(operation.operation_id)
    if named & _EXPORT and operation.method in ("GET", "POST"):
        yield (5 if named & _COPIES else 3), f"{min(named & _EXPORT)} in its name"
        yield from _about_people(operation)
    elif operation.method == "GET" and by_id(operation.path):
        yield 4, "one id in the path"
        yield from _about_people(operation)
    elif operation.method == "GET" and operation.slots and noun_of(operation.path.partition("{")[0]):
        yield 5, f"beneath: {noun_of(operation.path.partition('{')[0])}"
    else:
        return
    if len(operation.slots) > 1:
        yield 1 - len(operation.slots), "needs other ids first"
    yield from _against(named, (_DELETE | _ASIDE) - _PRIVACY)


def _about_people(operation: _Operation) -> _Points:
    noun = noun_of(operation.path)
    if noun:
        yield 4, f"about: {noun}"
    elif _words(operation.path) & PEOPLE:
        yield 1, "beside a person"


def _against(named: set[str], words: frozenset[str] | set[str]) -> _Points:
    if named & words:
        yield -3, f"{min(named & words)} in its name"


def _search_param(operation: _Operation) -> str:
    """The query parameter to search by: one for addresses, or one for searches."""
    known = [name for name in operation.query if _PLAIN_NAME.fullmatch(name)]
    for fits in (
        lambda words, name: words == {"email"} or words == {"email", "address"},
        lambda words, name: "email" in words and not words & {"like", "exclude", "status"},
        lambda words, name: name.lower() in _QUERY,
    ):
        found = next((name for name in known if fits(_words(name), name)), None)
        if found:
            return found
    return ""


def by_id(path: str) -> bool:
    """Whether a path ends in an id: ``/users/{id}``, ``/users/{id}.json``."""
    return re.search(r"\}(\.[a-z]+)?/?$", path) is not None


def noun_of(path: str) -> str:
    """The word for a person that a path is about: ``user`` in ``/v2/users/{id}``, nothing in ``/users/{id}/tags``."""
    literals = [word for word in words_of(path) if word not in BESIDE and not re.fullmatch(r"v?\d+", word)]
    return literals[-1] if literals and literals[-1] in PEOPLE - {"people"} else "person" if literals[-1:] == ["people"] else ""


def words_of(path: str) -> list[str]:
    """The words of a path outside its slots, in order, in lower case and the singular."""
    return [_singular(word.lower()) for word in _WORD.findall(SLOT.sub("", path))]


def _words(text: str) -> set[str]:
    """The words in a name or path, in lower case and the singular; ``email_address`` and ``e-mail`` have ``email`` in them."""
    plain = {_singular(word.lower()) for word in _WORD.findall(text.replace("e-mail", "email").replace("E-Mail", "Email"))}
    return plain | ({"email"} if any(word.startswith("email") or word.endswith("email") for word in plain) else set())


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 2 else word


# --- how it is reached ---------------------------------------------------------------------------------------------------------------


def _base_url(raw: Mapping[str, Any]) -> str:
    servers = _list(raw.get("servers"))
    server = servers[0] if servers and isinstance(servers[0], dict) else {}
    url = str(server.get("url") or "").rstrip("/")
    variables = server.get("variables")
    for name, variable in (variables if isinstance(variables, dict) else {}).items():
        if isinstance(variable, dict):
            url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
    return url if _BASE_URL.fullmatch(url) and len(url) <= 100 else ""


def _authentication(bundle: Bundle) -> tuple[str, str]:
    """The template's word for the likeliest of the ways to authenticate that are described, and the name of the key."""
    components = bundle.raw.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, dict) else None
    ways = [_way(_mapping(bundle, scheme)) for scheme in (schemes if isinstance(schemes, dict) else {}).values()]
    return min((way for way in ways if way), default=(0, "", ""))[1:]


def _way(scheme: Mapping[str, Any]) -> tuple[int, str, str] | None:
    """How likely a connector wants it (low is likely), the template's word, and the name of the key."""
    kind, how, place = (str(scheme.get(key, "")).lower() for key in ("type", "scheme", "in"))
    flows = scheme.get("flows")
    if kind == "http" and how in ("basic", "bearer"):
        return (0 if how == "bearer" else 3), how, ""
    if kind == "apikey" and place in ("header", "query"):
        key = str(scheme.get("name", ""))
        return (2 if place == "header" else 5), f"{place}_key", key if _PLAIN_NAME.fullmatch(key) else ""
    if kind == "oauth2":
        return (4, "oauth2", "") if isinstance(flows, dict) and set(flows) == {"clientCredentials"} else (1, "bearer", "")
    return (1, "bearer", "") if kind == "openidconnect" else None


def _title(title: Any) -> str:
    """A product's name: the title without the words that say it is an API."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\"\\{}]", " ", str(title or ""))
    text = re.sub(r"(?i)\b(rest|web|public|open)?\s*\bapis?\b.*$|\bswagger\b|\bopenapi\b|\bspecification\b", "", text)
    return " ".join(text.split())[:50].strip(" -:,.")


def plain(text: str) -> str:
    """Text that may stand in a comment of Python source."""
    return re.sub(r"[^\x20-\x7e]", "?", text)[:100]
