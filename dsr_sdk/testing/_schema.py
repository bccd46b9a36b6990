"""Schemas of an OpenAPI description, made into JSON Schema that can be compiled.

OpenAPI 3.0 has its own dialect (``nullable``, boolean ``exclusiveMinimum``); 3.1 is JSON Schema as it is. Both get read for a purpose:

* ``request``: strict. An object that lists properties has no others unless it says so (over ``allOf`` and its like, hence
  ``unevaluatedProperties``), read-only properties are not sent.
* ``response``: as described, but write-only properties are not required and ``oneOf`` does not insist on *one*.
* ``plain``: as described.

References stay references, resolved inside one document made of what is reachable, so recursive schemas are no special case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from threading import RLock
from typing import Any, Final, Literal
from urllib.parse import unquote

import jsonschema_rs

from dsr_sdk.errors import ConfigError

__all__ = ["Bundle", "Compiled", "Purpose"]

Purpose = Literal["request", "response", "plain"]
Schema = dict[str, Any]
_Target = tuple[Purpose, str]

_TYPES: Final = {"string", "number", "integer", "boolean", "array", "object", "null"}
_COPIED: Final = (
    frozenset({"const", "dependentRequired", "enum", "format", "multipleOf", "pattern", "required", "type", "uniqueItems"})
    | {limit + what for limit in ("max", "min") for what in ("Items", "Length", "Properties", "imum")}
    | {"exclusiveMaximum", "exclusiveMinimum"}
)
_VALUES: Final = ("items", "contains", "propertyNames", "additionalProperties", "unevaluatedItems", "unevaluatedProperties")
_IN_PLACE: Final = ("allOf", "anyOf", "oneOf")
_ANYTHING: Final[Schema] = {"additionalProperties": True}
"""Accepts any value and, inside a strict object, any property: a schema cut out of a trimmed description."""


class Compiled:
    """A schema ready to check values, with the document it was compiled from."""

    def __init__(self, document: Schema, *, formats: bool) -> None:
        self._document = document
        self._validator = jsonschema_rs.Draft202012Validator(document, validate_formats=formats)

    def is_valid(self, instance: Any) -> bool:
        """Whether the value fits."""
        return self._validator.is_valid(instance)

    def errors(self, instance: Any) -> Iterator[jsonschema_rs.ValidationError]:
        """Everything the schema has against the value."""
        return self._validator.iter_errors(instance)

    def declared(self, location: Sequence[str | int]) -> set[str]:
        """The property names that the schema at a location in the document declares, alternatives included."""
        node: Any = self._document
        for token in location:
            node = node[token]
        return _names(node, self._document.get("$defs", {}), set())


class Bundle:
    """The schemas of one description: resolves references, translates and compiles, each once."""

    def __init__(self, raw: Schema, source: str) -> None:
        self.raw = raw
        self.source = source
        self.is_30 = str(raw["openapi"]).startswith("3.0")
        """Whether the description speaks OpenAPI 3.0 rather than JSON Schema."""
        self._defs: dict[_Target, tuple[str, Schema | bool, set[_Target]]] = {}
        self._compiled: dict[tuple[int, Purpose], Compiled] = {}
        self._lock = RLock()

    def resolve(self, node: Any) -> Any:
        """Follow ``$ref`` until something that is none; what lies in another file is taken as an empty object."""
        seen: set[str] = set()
        while isinstance(node, dict) and isinstance(node.get("$ref"), str):
            ref = node["$ref"]
            if ref in seen:
                raise ConfigError(f"$ref {ref} leads back to itself", source=self.source)
            seen.add(ref)
            node = self._at(ref)
        return node

    def compile(self, schema: Schema | bool, purpose: Purpose) -> Compiled:
        """The schema as a validator. The schema has to be a part of the description (it is remembered by identity)."""
        key = (id(schema), purpose)
        with self._lock:
            if key not in self._compiled:
                targets: set[_Target] = set()
                root = _Translation(self, purpose, targets).value(schema)
                document: Schema = dict(root) if isinstance(root, dict) else {"allOf": [root]}
                document["$defs"] = self._closure(targets)
                try:
                    self._compiled[key] = Compiled(document, formats=purpose == "request")
                except (jsonschema_rs.ReferencingError, ValueError) as error:  # a ValidationError is a ValueError
                    reason = str(error).splitlines()[0]
                    raise ConfigError(f"a schema cannot be compiled: {reason}", source=self.source) from error
            return self._compiled[key]

    def reference(self, target: _Target) -> str:
        """Where the target of a reference lies in a compiled document."""
        purpose, ref = target
        if target not in self._defs:
            name = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', ref.rsplit('/', 1)[-1])}.{len(self._defs)}"
            self._defs[target] = (name, True, set())  # a place first: the target may refer back to itself
            further: set[_Target] = set()
            self._defs[target] = (name, _Translation(self, purpose, further).in_place(self._at(ref)), further)
        return f"#/$defs/{self._defs[target][0]}"

    def _closure(self, targets: set[_Target]) -> dict[str, Schema | bool]:
        out: dict[str, Schema | bool] = {}
        todo, seen = list(targets), set(targets)
        while todo:
            name, schema, further = self._defs[todo.pop()]
            out[name] = schema
            todo += further - seen
            seen |= further
        return out

    def _at(self, ref: str) -> Any:
        if not ref.startswith("#"):
            return {}
        node: Any = self.raw
        for part in ref[1:].split("/")[1:]:
            token = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and token.isdigit() and int(token) < len(node):
                node = node[int(token)]
            elif isinstance(node, dict) and token in node:
                node = node[token]
            else:
                raise ConfigError(f"$ref {ref} leads nowhere", source=self.source)
        return node


class _Translation:
    """One schema on its way into JSON Schema; collects the references it meets."""

    def __init__(self, bundle: Bundle, purpose: Purpose, targets: set[_Target]) -> None:
        self.bundle, self.purpose, self.targets = bundle, purpose, targets

    def value(self, schema: Any) -> Schema | bool:
        """A schema that has a value to itself: here a strict object is closed."""
        out = self.in_place(schema)
        if self.purpose == "request" and isinstance(out, dict) and self._lists_properties(schema, set()):
            out.setdefault("unevaluatedProperties", False)
        return out

    def in_place(self, schema: Any) -> Schema | bool:
        """A schema that may share its value with others (``allOf``, the target of a reference): left open."""
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict) or "x-trimmed" in schema:
            return dict(_ANYTHING)
        out: Schema = {}
        if isinstance(ref := schema.get("$ref"), str):
            if not ref.startswith("#"):
                return dict(_ANYTHING)
            out["$ref"] = self.bundle.reference((self.purpose, ref))
            self.targets.add((self.purpose, ref))
            if self.bundle.is_30:
                return out
        out |= {key: schema[key] for key in _COPIED & schema.keys()}
        self._keywords(out, schema)
        self._subschemas(out, schema)
        return _nullable(out) if self.bundle.is_30 and schema.get("nullable") is True else out

    def _keywords(self, out: Schema, schema: Schema) -> None:
        if "type" in out:
            types = [name for name in (out["type"] if isinstance(out["type"], list) else [out["type"]]) if name in _TYPES]
            out["type"] = types
            if not types:
                del out["type"]
        elif self.purpose != "plain":  # left out by many who mean it
            out |= next(({"type": [kind]} for key, kind in (("properties", "object"), ("items", "array")) if schema.get(key)), {})
        for exclusive, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if isinstance(out.get(exclusive), bool) and out.pop(exclusive) and limit in out:
                out[exclusive] = out.pop(limit)
        if "pattern" in out and not _is_pattern(str(out["pattern"])):
            del out["pattern"]
        if isinstance(required := out.pop("required", None), list):
            hidden = {"request": "readOnly", "response": "writeOnly"}.get(self.purpose)
            out["required"] = [name for name in required if not (hidden and self._flag(schema, name, hidden, set()))]

    def _subschemas(self, out: Schema, schema: Schema) -> None:
        for key in _VALUES:
            if key in schema and not (self.purpose == "request" and key == "additionalProperties" and schema[key] is False):
                out[key] = self.value(schema[key])  # but an object is closed as a whole: part of an allOf would rule out the other parts
        if isinstance(schema.get("properties"), dict):
            out["properties"] = {str(name): self._property(part) for name, part in schema["properties"].items()}
        if isinstance(schema.get("patternProperties"), dict):
            out["patternProperties"] = {name: self.value(part) for name, part in schema["patternProperties"].items() if _is_pattern(name)}
        if isinstance(schema.get("prefixItems"), list):
            out["prefixItems"] = [self.value(part) for part in schema["prefixItems"]]
        if isinstance(schema.get("allOf"), list):
            out["allOf"] = [self.in_place(part) for part in schema["allOf"]]
        for key in ("anyOf", "oneOf"):
            if isinstance(schema.get(key), list):
                keyword = key if key == "anyOf" or self._is_exclusive(schema[key]) else "anyOf"
                alone = not {"properties", "allOf"} & schema.keys()
                parts = [self._alternative(part, alone) for part in schema[key]]
                if keyword in out:
                    out["allOf"] = [*out.get("allOf", []), {keyword: parts}]
                else:
                    out[keyword] = parts
        for key in ("not", "if"):
            if key in schema:  # a condition is no place to be stricter than described
                out[key] = _Translation(self.bundle, "plain", self.targets).in_place(schema[key])
        for key in ("then", "else"):
            if key in schema:
                out[key] = self.in_place(schema[key])
        if self.purpose == "request" and "discriminator" in schema and not {"anyOf", "oneOf"} & schema.keys():
            out.setdefault("additionalProperties", True)  # a base class: what its children add is not to be seen from here

    def _property(self, schema: Any) -> Schema | bool:
        if self.purpose == "request" and isinstance(target := self.bundle.resolve(schema), dict) and target.get("readOnly") is True:
            return False
        return self.value(schema)

    def _alternative(self, schema: Any, alone: bool) -> Schema | bool:
        out = self.in_place(schema)
        target = self.bundle.resolve(schema)
        if self.purpose != "request" or not isinstance(out, dict) or not isinstance(target, dict) or target.get("type", "object") != "object":
            return out
        if alone and target.get("additionalProperties") is False:
            return {**out, "unevaluatedProperties": False}
        if {"properties", "required", "additionalProperties", "enum", "const", *_IN_PLACE} & target.keys():
            return out
        return {**out, "additionalProperties": True}  # a free-form object beside others that list their properties

    def _is_exclusive(self, branches: list[Any]) -> bool:
        """Whether ``oneOf`` can be meant: without requirements of its own, each branch fits whatever fits another."""
        if self.purpose != "request":
            return self.purpose == "plain"
        needs = [set(part.get("required", ())) if isinstance(part := self.bundle.resolve(branch), dict) else set() for branch in branches]
        return all(needs) and not any(one <= other for i, one in enumerate(needs) for j, other in enumerate(needs) if i != j)

    def _lists_properties(self, schema: Any, seen: set[int]) -> bool:
        schema = self.bundle.resolve(schema)
        if not isinstance(schema, dict) or id(schema) in seen:
            return False
        seen.add(id(schema))
        if schema.get("properties") or schema.get("additionalProperties") is False:
            return True
        return any(self._lists_properties(part, seen) for key in _IN_PLACE for part in schema.get(key) or ())

    def _flag(self, schema: Any, name: str, flag: str, seen: set[int]) -> bool:
        """Whether a property is marked read-only or write-only, here or in a part of ``allOf``."""
        schema = self.bundle.resolve(schema)
        if not isinstance(schema, dict) or id(schema) in seen:
            return False
        seen.add(id(schema))
        own = self.bundle.resolve((schema.get("properties") or {}).get(name))
        return (isinstance(own, dict) and own.get(flag) is True) or any(self._flag(part, name, flag, seen) for part in schema.get("allOf") or ())


def _nullable(out: Schema) -> Schema:
    if any(key in out for key in ("$ref", "not", *_IN_PLACE)) or "type" not in out:
        return {"anyOf": [{"type": "null"}, out]}
    out["type"] = [*out["type"], "null"]
    if isinstance(out.get("enum"), list) and None not in out["enum"]:
        out["enum"] = [*out["enum"], None]
    return out


@lru_cache(maxsize=4096)
def _is_pattern(pattern: str) -> bool:
    """Whether the validator knows the pattern: vendors write for many engines, and a foreign pattern is passed over."""
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern})
    except (jsonschema_rs.ValidationError, ValueError):
        return False
    return True


def _names(node: Any, defs: Schema, seen: set[int]) -> set[str]:
    if not isinstance(node, dict) or id(node) in seen:
        return set()
    seen.add(id(node))
    out = set(node.get("properties", ()))
    if "$ref" in node:
        out |= _names(defs.get(node["$ref"].removeprefix("#/$defs/")), defs, seen)
    for key in _IN_PLACE:
        for part in node.get(key, ()):
            out |= _names(part, defs, seen)
    return out
