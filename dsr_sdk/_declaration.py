"""What a connector's class has to declare, and how it is written: everything that is missing or misspelt, when the class is defined."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable
from typing import Final

from dsr_sdk.connector import Category, Connector, Process, Unsupported, Verb
from dsr_sdk.errors import ContractError

__all__ = ["check_declaration", "near"]

_SLUG: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_VERB_PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    "check": ("self", "api"),
    "find": ("self", "api", "subject"),
    "find_many": ("self", "api", "subjects"),
    "erase": ("self", "api", "match"),
    "erase_many": ("self", "api", "matches"),
    "export": ("self", "api", "match"),
    "opt_out": ("self", "api", "match"),
    "email": ("self", "subject", "type", "letterhead"),
    "poll": ("self", "api", "job"),
    "recover": ("self", "api", "match"),
}

_ASKED_FOR: Final = ("hosts", "api_version")
"""What the test tools read of a connector if it is there."""

ALIKE: Final = 0.8
"""From here on a name is taken for another one, misspelt: ``batchsize``, ``lags``, ``doc``; below, for an author's own."""


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that this one was probably meant to be: the same letters in another order, or nearly the same."""
    names = sorted(set(known) - {name})
    swapped = next((one for one in names if len(one) > 3 and sorted(one) == sorted(name)), None)
    return swapped or next(iter(difflib.get_close_matches(name, names, n=1, cutoff=ALIKE)), None)


def check_declaration(cls: type[Connector]) -> None:
    """Refuse a class that leaves something out. One `ContractError` naming everything, so an author fixes it in one go."""
    problems: list[str] = []
    slug = getattr(cls, "slug", None)
    name = cls.__name__
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
        problems.append("slug must be lower-case letters, digits and underscores")
    if not isinstance(getattr(cls, "title", None), str) or not getattr(cls, "title", ""):
        problems.append("title is missing")
    if not isinstance(getattr(cls, "category", None), Category):
        problems.append("category must be a Category")
    if not (cls.__doc__ or "").strip():
        problems.append("a docstring must say what the data source is and what is retained")
    problems.extend(
        f"{hook} is final: wrap it with a hook wrapper instead"
        for hook in dir(cls)  # a base class of the author's may carry it, too
        if hook.startswith("dsr_") and getattr(cls, hook) is not getattr(Connector, hook, None)
    )
    for attribute in ("identified_by", "holds", "limits", "after", "evidence"):
        if not isinstance(getattr(cls, attribute), tuple):
            raise ContractError(f"{attribute} must be a tuple: mind the comma in (one,)", source=f"{cls.__module__}.{name}")

    for verb in Verb:
        if verb is Verb.ERASE and callable(getattr(cls, "erase_many", None)):
            continue
        value = getattr(cls, verb.value, None)
        if value is None:
            problems.append(f"{verb.value} is missing: implement it, or say {verb.value} = Unsupported('why')")
        elif not callable(value) and not isinstance(value, Unsupported):
            problems.append(f"{verb.value} must be a method or Unsupported('why')")
    acts = [verb for verb in (Verb.ERASE, Verb.EXPORT, Verb.OPT_OUT) if cls.supports(verb) is None]
    if cls.process is Process.AUTOMATED:
        if acts and not (callable(getattr(cls, "find", None)) or callable(getattr(cls, "find_many", None))):
            problems.append("find is missing")
        if acts and not cls.identified_by:
            problems.append("identified_by is empty: name the identity kinds find can search by")
        if acts and not cls.holds:
            problems.append("holds is empty: declare the resources")
    if cls.process is Process.EMAIL and cls.supports(Verb.EMAIL) is not None:
        problems.append("a data source reached by e-mail must implement email")
    if cls.batch_size > 1 and not callable(getattr(cls, "erase_many", None)):
        problems.append("batch_size needs erase_many")
    if cls.find_batch_size > 1 and not callable(getattr(cls, "find_many", None)):
        problems.append("find_batch_size needs find_many")
    if not cls.repeatable and not callable(getattr(cls, "recover", None)):
        problems.append("repeatable = False needs recover")
    resources = [holds.resource for holds in cls.holds]
    problems.extend(f"holds names {resource} twice" for resource in dict.fromkeys(resources) if resources.count(resource) > 1)
    problems.extend(
        f"{holds.resource} is erased with {holds.erased_with}, which is not in holds"
        for holds in cls.holds
        if holds.erased_with is not None and holds.erased_with not in resources
    )
    problems.extend(_misspelt(cls))
    if problems:
        raise ContractError("; ".join(problems), source=f"{cls.__module__}.{name}")


def _misspelt(cls: type[Connector]) -> list[str]:
    """Verbs with another signature, and public names that look like one of ours written wrong."""
    problems = []
    own: dict[str, object] = {}
    for base in cls.__mro__[: cls.__mro__.index(Connector)]:  # base classes of the author's are read along
        own = {**vars(base), **own}
    known = {*vars(Connector), *Connector.__annotations__, *_VERB_PARAMETERS, *_ASKED_FOR}
    ours = [name for name in known if not name.startswith(("_", "dsr_"))]
    for attribute, value in own.items():
        if inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value):
            problems.append(f"{attribute} is async: the contract is plain synchronous Python")
        elif attribute in _VERB_PARAMETERS and inspect.isfunction(value):
            expected = _VERB_PARAMETERS[attribute]
            if tuple(inspect.signature(value).parameters) != expected:
                problems.append(f"{attribute} must be written {attribute}({', '.join(expected)})")
        elif value is not None and not attribute.startswith("_") and attribute not in known:  # None takes back what a base class has
            guess = near(attribute, ours)
            if guess:
                what = "verb" if guess in _VERB_PARAMETERS else "attribute of a connector"
                problems.append(f"{attribute} is no {what}; did you mean {guess}? (start a name of your own with an underscore)")
    return problems
