"""Texts with names to fill in, written by people who are trusted with words and with nothing else.

Two guards, and each would do alone: a list of what a template may be made of, checked before anything is carried out, and Jinja2's
sandbox around what passes. A template can print the names it is given, choose between texts, and go through two lists. It has no
attributes, no calls, no arithmetic and no variables of its own, so it can neither reach anything nor grow beyond its size. Errors name the
line and the name at fault, never a value.
"""

from __future__ import annotations

import difflib
import functools
import re
import traceback
from collections.abc import Iterable, Mapping, Sequence

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import SandboxedEnvironment

from dsr_sdk.errors import RequestError

__all__ = ["LISTS", "MAX_OUTPUT", "MAX_TEMPLATE", "VARIABLES", "Value", "check", "fill"]

Value = str | Sequence[tuple[str, str]]

VARIABLES: dict[str, str] = {
    "first_name": "the person's first name; empty when it is not known",
    "last_name": "the person's last name; empty when it is not known",
    "full_name": "both, as far as they are known",
    "email": "the person's e-mail address",
    "company": "the name of your company",
    "case": "the case number",
    "type": "what is asked for, in words that follow “your request for”",
    "received_on": "the day the request came in",
    "due_on": "the day it must be answered by",
    "decision": "accepted, declined, withdrawn or a duplicate, in words",
    "reason": "why it was declined, as a sentence; empty otherwise",
    "remedy": "what the person can do against a refusal, as the law of the case has it; empty where it has nothing",
    "sources": "list of (title, result): each data source and what became of it",
    "except_for": "the data sources that were left out, in words; empty for none",
    "not_finished": "the data sources that have accepted it and are not finished, in words; empty for none",
    "retained": "list of (title, text): what is kept, and why",
    "copy_link": "the address of the copy; made when the reply is sent",
    "copy_until": "the day on which that address ends, as it stands in a letter; known when the reply is sent",
    "earlier_case": "the case that goes on when this one is a duplicate; empty otherwise",
    "agent": "the name of the agent the case is assigned to; the company's otherwise",
}
"""Every name a template may use."""

LISTS = ("sources", "retained")

MAX_TEMPLATE = 20_000
"""Characters a template may have."""
MAX_OUTPUT = 40_000
"""Characters it may write."""
_MAX_LOOPS = 20
_MAX_DEPTH = 10
_MAX_ROWS = 300
_MAX_VALUE = 10_000

_LOOP = ("index", "index0", "first", "last", "length", "revindex")
_FILTERS = ("upper", "lower", "capitalize", "title", "trim", "default", "length", "first", "last")
_TESTS = ("defined", "none", "eq", "equalto", "ne", "in")
_PLAIN = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Const,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Concat,
    nodes.Tuple,
    nodes.List,
)


def check(text: str, *, field: str, source: str | None = None, names: Iterable[str] = VARIABLES) -> Template:
    """A template that is safe to fill.

    Args:
        text: As it was written.
        field: ``subject`` or ``body``: named in errors.
        source: The template's name, for errors.
        names: What it may use.

    Raises:
        RequestError: Names the line, and what is wrong with it.
    """
    if len(text) > MAX_TEMPLATE:
        raise RequestError(f"is longer than {MAX_TEMPLATE} characters", field=field, source=source)
    problem = ""
    try:
        tree = _environment().parse(text)
        _Walk(frozenset(names)).go(tree)
        return _environment().from_string(tree)
    except TemplateSyntaxError as error:
        problem = f"line {error.lineno}: {(error.message or 'cannot be read')[:200]}"
    except _Refused as error:
        problem = str(error)
    except (TemplateError, RecursionError, SyntaxError, ValueError, OverflowError, MemoryError):
        problem = "cannot be read as a template: it is nested too deeply, or holds something no text needs"
    raise RequestError(problem, field=field, source=source, fix="the names and forms a template may use are in docs/replies.md")


def fill(template: Template, values: Mapping[str, Value], *, field: str, source: str | None = None) -> str:
    """The text with its names filled in. More than one blank line in a row becomes one.

    Raises:
        RequestError: It cannot be carried out, or writes too much. Names the line, never a value.
    """
    pieces: list[str] = []
    size = 0
    problem = ""
    try:
        for piece in template.generate({name: _value(value) for name, value in values.items()}):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_OUTPUT:
                problem = f"writes more than {MAX_OUTPUT} characters"
                break
    except (TemplateError, TypeError, ValueError) as error:
        line = next((frame.lineno for frame in reversed(traceback.extract_tb(error.__traceback__)) if frame.filename == "<template>"), None)
        problem = f"line {line or '?'}: cannot be carried out ({type(error).__name__})"
    if problem:
        raise RequestError(problem, field=field, source=source, fix="look at the preview of the template")
    return re.sub(r"\n{3,}", "\n\n", "".join(pieces))


class _Refused(Exception):
    """Why a template is refused; holds words of the template only."""

    def __init__(self, node: nodes.Node, why: str) -> None:
        super().__init__(f"line {node.lineno}: {why}")


class _Walk:
    """Goes through a template, and stops at the first thing that has no business there."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._loops = 0

    def go(self, node: nodes.Node, within: frozenset[str] = frozenset(), depth: int = 0) -> None:
        if depth > _MAX_DEPTH * 6:
            raise _Refused(node, "is nested too deeply")
        if isinstance(node, nodes.For):
            return self._loop(node, within, depth)
        if isinstance(node, nodes.Name):
            return self._name(node, within)
        if isinstance(node, nodes.Getattr):
            return self._attribute(node, within)
        if isinstance(node, nodes.Filter):
            self._known(node, node.name, _FILTERS, "filter")
        elif isinstance(node, nodes.Test):
            self._known(node, node.name, _TESTS, "test")
        elif not isinstance(node, _PLAIN):
            raise _Refused(node, f"{_called(node)} is not allowed in a template")
        for child in node.iter_child_nodes():
            self.go(child, within, depth + 1)
        return None

    def _loop(self, node: nodes.For, within: frozenset[str], depth: int) -> None:
        self._loops += 1
        if node.recursive or self._loops > _MAX_LOOPS or "loop.loop" in within:
            raise _Refused(node, "there are too many loops in one another")
        if not isinstance(node.iter, nodes.Name) or node.iter.name not in LISTS or node.iter.name not in self._names:
            raise _Refused(node, f"a loop goes through {' or '.join(LISTS)} and nothing else")
        targets = [node.target] if isinstance(node.target, nodes.Name) else list(getattr(node.target, "items", []))
        if not targets or not all(isinstance(target, nodes.Name) and not target.name.startswith("_") for target in targets):
            raise _Refused(node, "a loop has one or two plain names")
        inside = within | {target.name for target in targets} | ({"loop.loop"} if "loop" in within else set()) | {"loop"}
        for child in (*node.body, *([node.test] if node.test is not None else [])):
            self.go(child, inside, depth + 1)
        for child in node.else_:
            self.go(child, within, depth + 1)

    def _name(self, node: nodes.Name, within: frozenset[str]) -> None:
        if node.ctx != "load":
            raise _Refused(node, "names cannot be set")
        if node.name not in self._names and node.name not in within:
            near = difflib.get_close_matches(node.name, [*self._names, *within], n=1)
            raise _Refused(node, f"there is no {node.name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        if node.name == "loop":
            raise _Refused(node, "loop stands only before a dot, as in loop.first")

    def _attribute(self, node: nodes.Getattr, within: frozenset[str]) -> None:
        if isinstance(node.node, nodes.Name) and node.node.name == "loop" and "loop" in within and node.attr in _LOOP:
            return
        if isinstance(node.node, nodes.Name):
            raise _Refused(node, f"{node.node.name}.{node.attr} is not allowed: what is filled in is plain text")
        raise _Refused(node, f".{node.attr} is not allowed: what is filled in is plain text")

    def _known(self, node: nodes.Filter | nodes.Test, name: str, known: Sequence[str], what: str) -> None:
        if name not in known:
            raise _Refused(node, f"there is no {what} {name!r}; there are {', '.join(known)}")
        if node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise _Refused(node, f"the {what} {name!r} takes plain values only")


def _called(node: nodes.Node) -> str:
    if isinstance(node, nodes.Getitem):
        return "[...]"
    if isinstance(node, nodes.Call):
        return f"calling {node.node.name!r}" if isinstance(node.node, nodes.Name) else "a call"
    return {"Assign": "{% set %}", "AssignBlock": "{% set %}"}.get(type(node).__name__, type(node).__name__.lower())


def _value(value: Value) -> str | list[tuple[str, ...]]:
    """A name on one line and no longer than a name is: nobody writes paragraphs into a letter by way of a form's name field."""
    if isinstance(value, str):
        return value[:_MAX_VALUE]
    return [tuple(str(part)[:_MAX_VALUE] for part in row) for row in value[:_MAX_ROWS]]


@functools.cache
def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in _FILTERS}
    environment.tests = {name: environment.tests[name] for name in _TESTS}
    return environment
