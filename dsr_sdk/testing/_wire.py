"""What a parameter or a form looks like on the wire, and the value it stands for.

Everything on the wire is text; a schema tells what it stands for. Where a schema leaves a choice (``anyOf``), the first alternative
that the value fits is taken. What cannot be read as described is left as text, so that the validator says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl

from dsr_sdk.testing._schema import Bundle

__all__ = ["MISSING", "Pair", "Parameter", "form", "pairs"]

Pair = tuple[str, str]
_Node = list[str] | dict[str, Any]
"""Texts given under one name, or names in brackets (``""`` for ``[]``) with what is given under each."""

MISSING: Final = object()
_INTEGER: Final = re.compile(r"[+-]?\d{1,30}")
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_DELIMITERS: Final = {"spaceDelimited": " ", "pipeDelimited": "|"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A described parameter, its references resolved."""

    name: str
    place: str
    required: bool
    schema: Any
    style: str
    explode: bool
    is_json: bool

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Parameter:
        """From its description."""
        place = str(raw.get("in"))
        style = raw.get("style") or ("form" if place in {"query", "cookie"} else "simple")
        content: Mapping[str, Any] = raw.get("content") or {}
        schema = next(iter(content.values())).get("schema", True) if content else raw.get("schema", True)
        required = raw.get("required") is True or place == "path"
        return cls(str(raw.get("name")), place, required, schema, style, raw.get("explode", style == "form"), bool(content))

    def in_query(self, name: str) -> Parameter:
        """The parameter of a path such as ``/export?app={app_id}``, where it really is."""
        return replace(self, name=name, place="query", style="form", explode=True)

    def from_text(self, text: str, bundle: Bundle) -> Any:
        """The value of a path or header parameter."""
        if self.is_json:
            return _json(text)
        if "array" in _types(self.schema, bundle):
            return _coerce(text.split(","), self.schema, bundle)
        return _coerce([text], self.schema, bundle)

    def from_query(self, query: Sequence[Pair], bundle: Bundle) -> tuple[Any, set[str]]:
        """The value of a query parameter (or ``MISSING``), and the keys of the query it was read from."""
        given = [value for key, value in query if key == self.name]
        types = _types(self.schema, bundle)
        if self.is_json and given:
            return _json(given[0]), {self.name}
        if self.style == "deepObject":
            return self._deep(query, given, bundle)
        if self.explode and "object" in types and not given:
            return self._spread(query, bundle)
        if not given:
            return MISSING, set()
        if not self.explode and "array" in types and len(given) == 1:
            given = given[0].split(_DELIMITERS.get(self.style, ",")) if given[0] else []
        return _coerce(given, self.schema, bundle), {self.name}

    def _deep(self, query: Sequence[Pair], given: list[str], bundle: Bundle) -> tuple[Any, set[str]]:
        nested = [(key, value) for key, value in query if key.startswith(f"{self.name}[")]
        if not nested:
            return (_coerce(given, self.schema, bundle), {self.name}) if given else (MISSING, set())
        return _coerce(_tree(nested).get(self.name, []), self.schema, bundle), {key for key, _ in nested}

    def _spread(self, query: Sequence[Pair], bundle: Bundle) -> tuple[Any, set[str]]:
        declared = _properties(self.schema, bundle)
        mine = {key: [value for name, value in query if name == key] for key, _ in query if key in declared}
        return (_coerce(mine, self.schema, bundle), set(mine)) if mine else (MISSING, set())


def pairs(text: str) -> list[Pair]:
    """The decoded pairs of a query or of a form."""
    return parse_qsl(text, keep_blank_values=True)


def form(body: bytes, schema: Any, encoding: Mapping[str, Any], bundle: Bundle) -> Any:
    """The object that an ``application/x-www-form-urlencoded`` body stands for; nested properties are in brackets."""
    declared = _properties(schema, bundle)
    given = pairs(body.decode("utf-8", "replace"))
    tree: dict[str, Any] = _tree([pair for pair in given if pair[0] not in declared])
    for key, value in given:
        if key in declared:  # also a declared name that itself has brackets in it
            tree.setdefault(key, [])
            if isinstance(tree[key], list):
                tree[key].append(value)
    for key, how in encoding.items():
        if how.get("explode") is False and isinstance(tree.get(key), list) and len(tree[key]) == 1:
            tree[key] = tree[key][0].split(_DELIMITERS.get(how.get("style", ""), ","))
    return _coerce(tree, schema, bundle)


def _tree(given: Sequence[Pair]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for key, value in given:
        match = re.fullmatch(r"([^\[]+)((?:\[[^\[\]]*\])*)", key)
        steps = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])] if match else [key]
        node = root
        for step in steps[:-1]:
            below = node.setdefault(step, {})
            if isinstance(below, list):  # a=1&a[b]=2: a text and an object at once; the object is what is looked at
                below = node[step] = {}
            node = below
        texts = node.setdefault(steps[-1], [])
        if isinstance(texts, list):
            texts.append(value)
    return root


def _coerce(node: _Node, schema: Any, bundle: Bundle) -> Any:
    schema = bundle.resolve(schema)
    if not isinstance(schema, dict):
        return _plain(node)
    for key in ("anyOf", "oneOf"):
        if branches := schema.get(key):
            tried = [_coerce(node, branch, bundle) for branch in branches]
            for branch, value in zip(branches, tried, strict=True):
                if bundle.compile(branch, "plain").is_valid(value):
                    return value
            if "properties" not in schema:
                container = isinstance(node, dict)
                return next((value for value in tried if isinstance(value, dict | list) is container), tried[0])
    types = _types(schema, bundle)
    if isinstance(node, dict):
        if "array" in types and all(not key or key.isdigit() for key in node):
            return [item for child in node.values() for item in _items(child, schema, bundle)]
        declared = _properties(schema, bundle)
        rest = schema.get("additionalProperties", True)
        return {key: _coerce(child, declared.get(key, rest), bundle) for key, child in node.items()}
    if "array" in types:
        return _items(node, schema, bundle)
    if len(node) != 1:
        return list(node)
    if "object" in types:
        return _json(node[0])
    return _scalar(node[0], types, schema)


def _items(node: _Node, schema: Any, bundle: Bundle) -> list[Any]:
    item = _first(schema, "items", bundle, set())
    item = True if item is None else item
    return [_coerce([text], item, bundle) for text in node] if isinstance(node, list) else [_coerce(node, item, bundle)]


def _scalar(text: str, types: set[str], schema: Mapping[str, Any]) -> Any:
    if not types:
        return next((value for value in schema.get("enum") or () if not isinstance(value, str) and _wire(value) == text), text)
    if "string" in types:
        return text
    if "boolean" in types and text in {"true", "false"}:
        return text == "true"
    if "integer" in types and _INTEGER.fullmatch(text):
        return int(text)
    if "number" in types and _NUMBER.fullmatch(text):
        return float(text)
    return text


def _wire(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(node: _Node) -> Any:
    if isinstance(node, dict):
        return {key: _plain(child) for key, child in node.items()}
    return node[0] if len(node) == 1 else list(node)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _types(schema: Any, bundle: Bundle) -> set[str]:
    found = _first(schema, "type", bundle, set())
    if found is None:
        shape = {"items": "array", "properties": "object", "additionalProperties": "object"}
        return {kind for key, kind in shape.items() if _first(schema, key, bundle, set()) is not None}
    return set(found) if isinstance(found, list) else {found}


def _first(schema: Any, key: str, bundle: Bundle, seen: set[int]) -> Any:
    """A keyword of a schema, or of the parts its ``allOf`` is made of."""
    schema = bundle.resolve(schema)
    if not isinstance(schema, dict) or id(schema) in seen:
        return None
    seen.add(id(schema))
    if key in schema:
        return schema[key]
    return next((found for part in schema.get("allOf") or () if (found := _first(part, key, bundle, seen)) is not None), None)


def _properties(schema: Any, bundle: Bundle, seen: frozenset[int] = frozenset()) -> dict[str, Any]:
    schema = bundle.resolve(schema)
    if not isinstance(schema, dict) or id(schema) in seen:
        return {}
    out: dict[str, Any] = {}
    for key in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(key) or ():
            out = _properties(part, bundle, seen | {id(schema)}) | out
    return out | (schema.get("properties") or {})
