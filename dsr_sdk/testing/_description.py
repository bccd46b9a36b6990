"""Reading an OpenAPI file, and telling which of its paths a URL is on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from dsr_sdk.errors import ConfigError
from dsr_sdk.testing._schema import Bundle

__all__ = ["METHODS", "Route", "read", "routes", "version"]

METHODS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})


class _Loader(yaml.CSafeLoader):
    """YAML 1.2's idea of scalars, as OpenAPI asks for: no dates, and ``on``, ``no`` and ``12:30`` are texts."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own attribute


for _tag, _scalar, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"null|Null|NULL|~|", "nN~\0"),
    ("int", r"0|-?[1-9][0-9]*", "-0123456789"),
    ("float", r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?", "-0123456789"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_scalar})$"), ["" if one == "\0" else one for one in _first])


def version(path: Path) -> tuple[Path, int, int]:
    """Tells a file from another, and from itself after a change."""
    try:
        stat = path.stat()
    except OSError as error:
        raise ConfigError(f"the API description cannot be read: {error.strerror}", source=str(path)) from error
    return path.resolve(), stat.st_mtime_ns, stat.st_size


def read(path: Path) -> dict[str, Any]:
    """The description in a YAML or JSON file, seen to be one."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        raw = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, Loader=_Loader)  # noqa: S506 - derives from CSafeLoader
    except OSError as error:
        raise ConfigError(f"the API description cannot be read: {error.strerror}", source=str(path)) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(f"not valid YAML in line {line}: {error.problem}", source=str(path)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"neither valid JSON nor YAML: {str(error).splitlines()[0]}", source=str(path)) from error
    if not isinstance(raw, dict) or not re.match(r"3\.[01]", str(raw.get("openapi"))):
        was = "a Swagger 2.0 description" if isinstance(raw, dict) and "swagger" in raw else "something else"
        raise ConfigError(f"no OpenAPI 3.0 or 3.1 description but {was}", source=str(path))
    for key in ("paths", "components"):
        if not isinstance(raw.get(key) or {}, dict):
            raise ConfigError(f"'{key}' is not a mapping", source=str(path))
    return raw


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A described path below one or several servers."""

    path: str
    item: Mapping[str, Any]
    patterns: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]
    """For each server: its host, and the whole path."""
    names: tuple[str, ...]
    """The templates in the path, in order."""

    def match(self, path: str, host: str | None) -> dict[str, str] | None:
        """The values of the templates if the URL is on this path; no host: any host will do."""
        for host_pattern, path_pattern in self.patterns:
            found = path_pattern.fullmatch(path)
            if found and (host is None or host_pattern.fullmatch(host)):
                return dict(zip(self.names, found.groups(), strict=True))
        return None


def routes(bundle: Bundle) -> list[Route]:
    """Every described path, literal ones before templates, with the servers that count for it."""
    out: list[Route] = []
    for path, raw in (bundle.raw.get("paths") or {}).items():
        item = bundle.resolve(raw)
        if not isinstance(item, dict) or not str(path).startswith("/"):
            continue
        own: dict[str, tuple[Any, dict[str, Any]]] = {}
        shared = {key: value for key, value in item.items() if key not in METHODS}
        for method in METHODS & item.keys():
            operation = item[method]
            if isinstance(operation, dict):
                servers = operation.get("servers") or item.get("servers") or bundle.raw.get("servers") or [{"url": "/"}]
                own.setdefault(repr(servers), (servers, dict(shared)))[1][method] = operation
        for servers, part in own.values():
            out.append(_route(str(path), part, servers))
    return sorted(out, key=lambda route: _rank(route.path))


def _route(path: str, item: Mapping[str, Any], servers: list[Any]) -> Route:
    below, names = _pattern(re.split(r"[?#]", path)[0])  # some tell operations apart by what is no part of a path
    patterns = []
    for server in servers:
        url = str(server.get("url", "/"))
        host, _, base = re.sub(r"^([^/]*:)?//", "", url).partition("/") if "//" in url else ("", "", url.lstrip("/"))
        prefix = _pattern(f"/{base}".rstrip("/"))[0].replace("([^/]+)", "[^/]+")
        patterns.append((re.compile(re.sub(r"\\\{[^}]*\\\}", r".+", re.escape(host)) or ".*", re.IGNORECASE), re.compile(prefix + below)))
    return Route(path, item, tuple(patterns), names)


def _pattern(template: str) -> tuple[str, tuple[str, ...]]:
    parts = re.split(r"\{([^{}]*)\}", template)
    literals = [_either(text) for text in parts[::2]]
    return "([^/]+)".join(literals), tuple(parts[1::2])


def _either(text: str) -> str:
    """A literal part of a path, as it is or percent-encoded."""
    encoded = quote(text, safe="/:@!$&'()*+,;=-._~%")
    return re.escape(text) if encoded == text else f"(?:{re.escape(text)}|{re.escape(encoded)})"


def _rank(path: str) -> list[tuple[int, str]]:
    return [(0 if "{" not in part else 1 if re.sub(r"\{[^{}]*\}", "", part) else 2, part) for part in path.split("/")]
