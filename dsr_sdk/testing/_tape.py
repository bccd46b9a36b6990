"""A cassette's file: read safely, written for people, and judged before it is committed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import yaml

from dsr_sdk.connector import Connector
from dsr_sdk.errors import ConfigError
from dsr_sdk.testing.scrub import REDACTED, Scrubber, is_secret_header, is_secret_key, readable, suspicious

__all__ = ["PROVENANCE", "clean_request", "clean_response", "hosts_of", "lint", "load", "recorder", "shown"]

LARGEST: Final = 1_000_000
PROVENANCE: Final = (
    "recorded_from",
    "recorded_on",
    "connector",
    "connector_version",
    "sdk_version",
    "api_version",
    "scenario",
    "settings",
    "hosts",
    "subject",
)
"""What a cassette says about itself."""

_KEPT = re.compile(r"content-type|link|location|retry-after|deprecation|sunset|.*(rate-?limit|total|version).*", re.IGNORECASE)
_MOMENT = re.compile(r"20[2-9]\d-?[01]\d-?[0-3]\d(T[0-9:.]+(Z|[+-]\d\d:?\d\d)?)?|\b(1[6-9]|2\d)\d{8}(\d{3})?\b")


def load(path: Path) -> dict[str, Any]:
    """A cassette as it stands in the file.

    Raises:
        ConfigError: One line that names the file and what is wrong with it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if len(text) > LARGEST:
            raise ConfigError(f"is larger than {LARGEST:,} characters", source=str(path), fix="shorten what the scenario records")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.CSafeLoader)):
            raise ConfigError("uses YAML aliases, which no cassette needs", source=str(path), fix="record it again")
        raw = yaml.load(text, Loader=yaml.CSafeLoader)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", source=str(path), fix="record it with: dsr cassette record") from None
    except yaml.constructor.ConstructorError as error:
        # Python objects, as vcrpy before 1.0 wrote them, and as an attacker would.
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"is no safe YAML{where}: it asks for more than data", source=str(path), fix="record it again with vcrpy 9") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        said = getattr(error, "problem", None) or type(error).__name__
        raise ConfigError(f"is no YAML{where}: {said}", source=str(path), fix="it is damaged: record it again") from None
    wrong = _form(raw)
    if wrong:
        raise ConfigError(wrong[0], source=str(path), fix=wrong[1])
    return dict(raw)


AGAIN: Final = "record it again with: dsr cassette record"


def _form(raw: Any) -> tuple[str, str] | None:
    """What a file is that is no cassette of ours, and what to do with it; None when it is one."""
    if isinstance(raw, list) or (isinstance(raw, dict) and raw.get("version", 1) != 1):
        return "is a cassette of another version of vcrpy", AGAIN
    if isinstance(raw, dict) and "http_interactions" in raw:
        return "is a cassette of another tool (VCR, Betamax), not of vcrpy", f"{AGAIN}; replay it as it is with: dsr cassette replay --recordings"
    if not isinstance(raw, dict) or not isinstance(raw.get("interactions"), list):
        return "is no cassette: it lists no interactions", AGAIN
    for number, interaction in enumerate(raw["interactions"], 1):
        lacks = _lacks(interaction)
        if lacks:
            return f"is no cassette of vcrpy 1 or later: interaction {number} has no {lacks}", AGAIN
    return None if isinstance(raw.get("metadata", {}), dict) else ("is no cassette: its metadata is no mapping", AGAIN)


def _lacks(interaction: Any) -> str | None:
    request, response = (interaction.get(part) if isinstance(interaction, dict) else None for part in ("request", "response"))
    if not isinstance(request, dict) or not isinstance(response, dict):
        return "request and response"
    status, body = response.get("status"), response.get("body")
    there = {
        "request method": isinstance(request.get("method"), str),
        "request uri": isinstance(request.get("uri"), str),
        "request headers": isinstance(request.get("headers"), dict),
        "response status code": isinstance(status, dict) and isinstance(status.get("code"), int),
        "response headers": isinstance(response.get("headers"), dict),
        "response body string": isinstance(body, dict) and "string" in body,
    }
    return next((name for name, fine in there.items() if not fine), None)


class _Dumper(yaml.CSafeDumper):
    """Long texts as blocks, nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))


class _Persister:
    """Reads and writes for vcrpy; nothing else opens the file."""

    @staticmethod
    def load_cassette(path: str, serializer: Any) -> tuple[list[Any], list[Any], dict[str, Any]]:
        from vcr.persisters.filesystem import CassetteNotFoundError
        from vcr.request import Request
        from vcr.serializers.compat import convert_to_bytes

        if not Path(path).exists():
            raise CassetteNotFoundError
        raw = load(Path(path))
        rows = raw["interactions"]
        requests = [Request._from_dict(row["request"]) for row in rows]
        return requests, [convert_to_bytes(row["response"]) for row in rows], raw.get("metadata", {})

    @staticmethod
    def save_cassette(path: str, cassette: Mapping[str, Any], serializer: Any) -> None:
        from vcr.serializers.compat import convert_to_unicode

        rows = [
            {"request": convert_to_unicode(request._to_dict()), "response": convert_to_unicode(response)}
            for request, response in zip(cassette["requests"], cassette["responses"], strict=True)
        ]
        metadata = cassette.get("metadata", {})
        text = yaml.dump({"version": 1, "metadata": metadata, "interactions": rows}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=150)
        head = f"# {metadata.get('connector')}, {metadata.get('scenario')}; from: {metadata.get('recorded_from')}. Record it again, do not edit it.\n"
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(head + text, encoding="utf-8")


# --- what may be committed ---------------------------------------------------------------------------------------------------------


def lint(path: Path, connector: type[Connector] | None = None) -> list[str]:
    """What keeps a cassette from being committed, one line each; no line repeats a value.

    Args:
        connector: Whose hosts are allowed; unless given, the installed connector that the file names, or else the hosts the file names.
    """
    path = Path(path)
    try:
        raw = load(path)
    except ConfigError as error:
        return [str(error)]
    metadata = raw.get("metadata", {})
    found: dict[str, None] = {f"provenance is missing: {key}": None for key in PROVENANCE if key not in metadata}
    hosts = _allowed(metadata, connector)
    if hosts is None:
        found["its settings do not fit the connector"] = None
    for number, interaction in enumerate(raw["interactions"], 1):
        for problem in _problems(interaction, hosts or ()):
            found[f"interaction {number}: {problem}"] = None
    for problem in suspicious(json.dumps(metadata, ensure_ascii=False, default=str)):
        found[f"metadata: {problem}"] = None
    return [f"{path.name}: {problem}" for problem in found]


def _allowed(metadata: Mapping[str, Any], connector: type[Connector] | None) -> list[str] | None:
    if connector is None:
        points = [point for point in entry_points(group="dsr_sdk.connectors") if point.name == metadata.get("connector")]
        connector = points[0].load() if points else None
    if connector is None:
        return [str(host) for host in metadata.get("hosts") or []]
    try:
        return hosts_of(connector(connector.Config(**(metadata.get("settings") or {}))))
    except (ValueError, TypeError):
        return None


def hosts_of(source: Connector) -> list[str]:
    """The hosts a configured connector talks to."""
    urls = [source.config.base_url or source.base_url, getattr(source.auth(), "_token_url", ""), *getattr(source, "hosts", ())]
    return sorted({urlsplit(url).hostname or url for url in urls if url})


def _problems(interaction: Mapping[str, Any], hosts: Collection[str]) -> Iterator[str]:
    request, response = interaction["request"], interaction["response"]
    parts = urlsplit(request["uri"])
    if parts.hostname not in hosts:
        yield "a host the connector does not declare"
    for name, values in request["headers"].items():
        said = " ".join(str(value) for value in values) if isinstance(values, list) else str(values)
        if is_secret_header(str(name)) and said != REDACTED:
            yield f"the request header {name} has a value"
        yield from (f"request header {name}: {problem}" for problem in suspicious(said))
    for name, value in parse_qsl(parts.query):
        if is_secret_key(name) and REDACTED not in value:
            yield f"the query parameter {name} has a value"
    yield from (f"url: {problem}" for problem in suspicious(request["uri"]))
    for name, values in response["headers"].items():
        if str(name).lower() == "set-cookie":
            yield "the response sets a cookie"
        yield from (f"response header {name}: {problem}" for problem in suspicious(str(values)))
    for which, body in (("request", request.get("body")), ("response", response["body"]["string"])):
        text = readable(body) if isinstance(body, bytes) else str(body or "")
        if text is None:
            yield f"the {which} body is no text, so nobody can say what is in it"
        else:
            yield from (f"{which} body: {problem}" for problem in suspicious(text))


# --- what vcrpy is told ------------------------------------------------------------------------------------------------------------


def recorder() -> Any:
    """vcrpy, told how cassettes are read, written and matched."""
    import vcr
    from vcr.patch import PATCHER_NAMES

    others = [name for name in PATCHER_NAMES if name != "httpx"]
    made = vcr.VCR(match_on=("method", "scheme", "host", "port", "path", "moments"), skip_patchers=others)
    made.register_persister(_Persister)
    made.register_matcher("moments", _same_values)
    return made


def _same_values(one: Any, other: Any) -> None:
    """Query and body are the same, but for dates and times: they are those of the run."""
    if _values(one) != _values(other):
        raise AssertionError("the query or the body differs")


def _values(request: Any) -> Any:
    text = (request.body or b"").decode("utf-8", "replace")
    try:
        body: Any = json.loads(text)
    except ValueError:
        body = sorted(parse_qsl(text, keep_blank_values=True)) or text
    return _MOMENT.sub("(moment)", json.dumps([sorted(parse_qsl(urlsplit(request.uri).query, keep_blank_values=True)), body], sort_keys=True))


def shown(request: Any) -> str:
    """A request as a message may show it: method, path, the names in its query, and of their values those that are small numbers (a page, a size)."""
    pairs = parse_qsl(urlsplit(request.uri).query, keep_blank_values=True)
    query = "&".join(f"{name}={value}" if value.isdecimal() and len(value) <= 5 else f"{name}=..." for name, value in pairs)
    return f"{request.method} {urlsplit(request.uri).path}" + (f"?{query}" if query else "")


def clean_request(request: Any, scrubber: Scrubber, kept: frozenset[str]) -> Any:
    """A request as it is written: the headers that matter, and no secret."""
    headers = {str(name).lower(): str(value) for name, value in request.headers.items()}
    clean = {}
    for name, value in sorted(headers.items()):
        if is_secret_header(name):
            clean[name] = REDACTED
        elif name == "content-type" or name in kept:
            clean[name] = scrubber.text(value)
    request.headers = clean
    request.uri = scrubber.url(request.uri)
    if request.body:
        request.body = scrubber.body(request.body, headers.get("content-type", ""), headers.get("content-encoding", ""))
    return request


def clean_response(response: dict[str, Any], scrubber: Scrubber) -> dict[str, Any]:
    """A response as it is written; no cookie, no date, nothing compressed."""
    headers = {str(name).lower(): [str(value) for value in values] for name, values in response["headers"].items()}
    kind, encoding = (", ".join(headers.get(name, [])).lower() for name in ("content-type", "content-encoding"))
    clean = {name: [scrubber.text(value) for value in values] for name, values in sorted(headers.items()) if _KEPT.fullmatch(name)}
    body = response["body"]["string"]
    return {"status": response["status"], "headers": clean, "body": {"string": scrubber.body(body, kind, encoding) if body else body}}
