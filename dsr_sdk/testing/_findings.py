"""From a validator's errors to findings: where, what, how grave, and never a value of the message itself.

A request or a response of a privacy connector is full of personal data, and findings end up in test reports. So a finding is put
together from the description alone: its keywords, its limits, the property names it declares. What the description does not
name (the keys of a free-form map, an undeclared property) is shown as ``*``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal

from dsr_sdk.errors import ContractError

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError

    from dsr_sdk.testing._schema import Compiled

__all__ = ["DEFAULT_TOLERANCES", "Exemption", "Finding", "Problem", "Tolerance", "findings", "hint", "problems", "type_of"]

Token = str | int


class Tolerance(StrEnum):
    """A way in which vendors' answers are known to differ from their own descriptions."""

    NULL_FOR_NON_NULLABLE = "null_for_non_nullable"
    """``null`` where the description forgets to say that it may be null."""
    UNDESCRIBED_STATUS = "undescribed_status"
    """A 4xx or 5xx that is not described, or described without saying what its body looks like."""
    UNDESCRIBED_SUCCESS = "undescribed_success"
    """A status below 400 that is not described."""
    UNDESCRIBED_CONTENT_TYPE = "undescribed_content_type"
    """A body of another content type than the described ones."""
    UNDESCRIBED_BODY = "undescribed_body"
    """A body with a status below 400 that is described without one."""
    ADDITIONAL_PROPERTIES = "additional_properties"
    """More properties than a description that rules out additional ones has."""
    MISSING_REQUIRED = "missing_required"
    """Required properties, or the whole body, are absent: usual in recordings older than the description."""
    UNKNOWN_ENUM = "unknown_enum"
    """A value outside the described list of values."""
    TYPE_DIFFERS = "type_differs"
    """Another type than the described one: a string where an object is described."""


DEFAULT_TOLERANCES: Final = frozenset({Tolerance.NULL_FOR_NON_NULLABLE, Tolerance.UNDESCRIBED_STATUS, Tolerance.ADDITIONAL_PROPERTIES})
"""What a response is forgiven unless the caller says otherwise; a request is forgiven nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between a message and the description. Holds nothing of the message's own values."""

    where: str
    """The place: ``request query parameter email``, ``response 200 body /data/0/id``."""
    problem: str
    """What is wrong there, as the end of a sentence that begins with the place."""
    operation: str
    """The described operation: ``DELETE /v1/customers/{customer}``."""
    severity: Literal["error", "tolerated"] = "error"
    tolerance: Tolerance | None = None
    """The tolerance that covers it (``severity`` is ``tolerated``)."""

    def __str__(self) -> str:
        note = f" (tolerated: {self.tolerance})" if self.tolerance else ""
        return f"{self.operation}: {self.where} {self.problem}{note}"


@dataclass(frozen=True, slots=True)
class Exemption:
    """A finding that is known and has a reason: the description is wrong, or too old. ``*`` stands for any text.

    Exemption(operation="GET /v3/scopes", problem="is for a path that is not described", reason="in the reference, not in our trimmed copy")
    """

    reason: str
    operation: str = "*"
    where: str = "*"
    problem: str = "*"

    def __post_init__(self) -> None:
        if not self.reason.strip() or self.operation == self.where == self.problem == "*":
            raise ContractError("Exemption() needs a reason, and says which operation, place or problem it is about")

    def covers(self, finding: Finding) -> bool:
        """Whether the finding is the known one."""
        pairs = ((self.operation, finding.operation), (self.where, finding.where), (self.problem, finding.problem))
        return all(re.fullmatch(".*".join(re.escape(part) for part in wanted.split("*")), given, re.DOTALL) for wanted, given in pairs)


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding before it is known what is tolerated: the tolerance is the one that *would* cover it."""

    pointer: str
    text: str
    tolerance: Tolerance | None = None
    mismatch: bool = False
    """The value as a whole is of another type: of several alternatives, this one was not meant."""


def findings(found: Iterable[Problem], where: str, operation: str, tolerances: Collection[Tolerance] = ()) -> list[Finding]:
    """Weigh problems against what is tolerated; the same problem in the same place is said once."""
    out: dict[Finding, None] = {}
    for problem in found:
        place = f"{where} {problem.pointer}" if problem.pointer else where
        if problem.tolerance is not None and problem.tolerance in tolerances:
            out[Finding(place, problem.text, operation, "tolerated", problem.tolerance)] = None
        else:
            out[Finding(place, problem.text, operation)] = None
    return list(out)


def problems(compiled: Compiled, instance: Any, tolerances: Collection[Tolerance] = ()) -> list[Problem]:
    """What a compiled schema has against a value. ``tolerances`` decide which of several alternatives was most likely meant."""
    return _explain(list(compiled.errors(instance)), compiled, tolerances)


def hint(unknown: str, declared: Iterable[str]) -> str:
    """The declared names an undeclared one may have been meant to be; the undeclared one is not repeated."""
    names = sorted(set(declared))
    near = difflib.get_close_matches(unknown, names, n=2, cutoff=0.7)
    if near:
        return f" (meant: {' or '.join(near)}?)"
    return f" (declared: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''})" if names else ""


def type_of(value: Any) -> str:
    """A value's JSON type, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, dict):
        return "an object"
    return "an array" if isinstance(value, list) else "a number"


def _explain(errors: Sequence[ValidationError], compiled: Compiled, tolerances: Collection[Tolerance]) -> list[Problem]:
    out: list[Problem] = []
    undeclared: list[Problem] = []
    doubtful: list[Problem] = []
    for error in errors:
        if error.kind.name == "unevaluatedProperties":
            # Besides what is not declared anywhere, this lists what only a failing alternative declares: an echo of another error.
            declared = compiled.declared(error.schema_path[:-1])
            names: list[str] = error.kind.unexpected  # type: ignore[attr-defined]
            unknown = [name for name in names if name not in declared]
            (undeclared if unknown else doubtful).append(_undeclared(error, unknown or names, declared if unknown else ()))
        else:
            out += _one(error, compiled, tolerances)
    out += undeclared
    return out or doubtful


def _undeclared(error: ValidationError, names: Sequence[str], declared: Iterable[str]) -> Problem:
    where = _pointer(error.evaluation_path, error.instance_path)
    count = "an undeclared property" if len(names) == 1 else f"{len(names)} undeclared properties"
    return Problem(where, f"has {count}{hint(names[0], declared)}", Tolerance.ADDITIONAL_PROPERTIES)


def _one(error: ValidationError, compiled: Compiled, tolerances: Collection[Tolerance]) -> list[Problem]:
    kind: Any = error.kind
    where = _pointer(error.evaluation_path, error.instance_path)
    null = Tolerance.NULL_FOR_NON_NULLABLE if error.instance is None else None
    match kind.name:
        case "anyOf" | "oneOf" if kind.context and not _several(kind):
            return _alternatives(error, where, compiled, tolerances)
        case "oneOf" | "anyOf":
            return [Problem(where, "fits several of the described alternatives, of which exactly one is allowed")]
        case "type":
            return [Problem(where, f"is {type_of(error.instance)}, described as {' or '.join(kind.types)}", null or Tolerance.TYPE_DIFFERS, True)]
        case "enum":
            return [Problem(where, f"is none of the {len(kind.options)} described values", null or Tolerance.UNKNOWN_ENUM)]
        case "const":
            return [Problem(where, "is not the one described value", null or Tolerance.UNKNOWN_ENUM)]
        case "required":
            return [Problem(where, f"lacks the required property {kind.property}", Tolerance.MISSING_REQUIRED)]
        case "additionalProperties":
            return [_undeclared(error, kind.unexpected, compiled.declared(error.schema_path[:-1]))]
        case "falseSchema":
            return [Problem(where, "is read-only or ruled out", Tolerance.ADDITIONAL_PROPERTIES)]
        case "format":
            return [Problem(where, f"is not of the format {kind.format}")]
        case "pattern":
            return [Problem(where, f"does not match the pattern {kind.pattern}")]
        case name:
            limit = getattr(kind, "limit", getattr(kind, "multiple_of", None))
            return [Problem(where, f"breaks {name}" if limit is None else f"breaks {name} {limit}")]


def _several(kind: Any) -> bool:
    return any(not branch for branch in kind.context)


def _alternatives(error: ValidationError, where: str, compiled: Compiled, tolerances: Collection[Tolerance]) -> list[Problem]:
    """None of several alternatives fits: explain the one that was most likely meant."""
    kind: Any = error.kind
    branches = [_explain(branch, compiled, tolerances) for branch in kind.context]
    keys = set(error.instance) if isinstance(error.instance, dict) else set()

    def distance(index: int) -> tuple[bool, int, int, int, int]:
        branch = branches[index]
        shared = len(keys & compiled.declared([*error.schema_path, index])) if keys else 0
        # What tells alternatives apart is what they require and which constants they hold: tolerated or not, it counts here.
        foreign = sum(problem.tolerance in _TELLING and where in {problem.pointer, problem.pointer.rpartition("/")[0]} for problem in branch)
        untolerated = sum(problem.tolerance not in tolerances for problem in branch)
        return _is_mismatch(branch, where), -shared, foreign, untolerated, len(branch)

    nearest = branches[min(range(len(branches)), key=distance)]
    if len(branches) == 1 or not _is_mismatch(nearest, where):
        return nearest
    tolerance = Tolerance.NULL_FOR_NON_NULLABLE if error.instance is None else Tolerance.TYPE_DIFFERS
    return [Problem(where, f"is {type_of(error.instance)} and fits none of the {len(branches)} described alternatives", tolerance, True)]


_TELLING: Final = {Tolerance.MISSING_REQUIRED, Tolerance.UNKNOWN_ENUM}


def _is_mismatch(branch: list[Problem], where: str) -> bool:
    return any(problem.mismatch and problem.pointer == where for problem in branch)


_ONE_MORE: Final = {"allOf", "anyOf", "oneOf", "dependentSchemas"}
_INTO_ITEM: Final = {"items", "contains", "additionalItems", "unevaluatedItems"}
_INTO_MAP: Final = {"additionalProperties", "unevaluatedProperties"}


def _pointer(evaluation: Sequence[Token], instance: Sequence[Token]) -> str:
    """The way to a value, naming a property only where the schema's own way there names it."""
    out: list[str] = []
    way = iter(evaluation)
    for step in way:
        if len(out) == len(instance):
            break
        here = instance[len(out)]
        if step == "properties":
            next(way, None)
            out.append(str(here).replace("~", "~0").replace("/", "~1"))
        elif step in {"patternProperties", "prefixItems"}:
            next(way, None)
            out.append(str(here) if step == "prefixItems" else "*")
        elif step in _INTO_ITEM or step in _INTO_MAP:
            out.append(str(here) if step in _INTO_ITEM else "*")
        elif step in _ONE_MORE:
            next(way, None)
    out += [str(token) if isinstance(token, int) else "*" for token in instance[len(out) :]]
    return "".join(f"/{part}" for part in out)
