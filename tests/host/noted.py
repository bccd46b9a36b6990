"""Every event that the code base notes in the audit log, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import dsr_sdk
from dsr_sdk.host.cases.workflow import Stage
from dsr_sdk.result import Outcome

__all__ = ["noted"]

PACKAGE = Path(dsr_sdk.__file__).parent
LEDGER_ACTIONS = ("erase", "export", "opt_out", "email", "manual")
"""Actions that are accepted by a vendor, or that fail."""

DYNAMIC = {
    "stage.{}": [f"stage.{stage.value}" for stage in Stage],
    "erasure.{}": ["erasure.verified", "erasure.reappeared"],
    "{}.accepted": [f"{action}.accepted" for action in LEDGER_ACTIONS],
    "{}.failed": [f"{action}.failed" for action in (*LEDGER_ACTIONS, "find", "verify", "gap")],
    "{}.{}": [f"erase.{kind}" for kind in ("erased", "anonymized", "absent", "retained", "failed")] + ["opt_out.opted_out", "opt_out.failed"],
}
"""Event names that are put together when the program runs: pattern -> what they may come to."""

assert {kind.kind for kind in Outcome.__subclasses__()} == {"erased", "anonymized", "absent", "retained", "failed", "opted_out", "pending"}


@cache
def noted() -> dict[str, str]:
    """Event -> where it is noted (``host/workflow.py:99``).

    Raises:
        AssertionError: Somewhere the name of an event cannot be read: say in `DYNAMIC` what it may be.
    """
    modules = [_Module(path) for path in sorted(PACKAGE.rglob("*.py"))]
    found: dict[str, str] = {}
    for module in modules:
        for call in module.calls("note"):
            if len(call.args) >= 3:  # of a `Book`: case, event, actor; the command line has notes of its own
                for event in _events(call.args[1], call, module, modules, frozenset()):
                    found.setdefault(event, module.place(call))
    return found


class _Module:
    def __init__(self, path: Path) -> None:
        self.name = path.relative_to(PACKAGE).as_posix()
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self._above = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def calls(self, name: str) -> Iterator[ast.Call]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and name == (getattr(node.func, "attr", None) or getattr(node.func, "id", None)):
                yield node

    def function(self, node: ast.AST) -> ast.FunctionDef:
        while not isinstance(node, ast.FunctionDef):
            node = self._above[node]
        return node

    def place(self, node: ast.Call) -> str:
        return f"{self.name}:{node.lineno}"


def _events(value: ast.expr, call: ast.Call, module: _Module, modules: list[_Module], seen: frozenset[str]) -> Iterator[str]:
    """The events that an expression may come to."""
    if isinstance(value, ast.Constant):
        yield str(value.value)
    elif isinstance(value, ast.IfExp):
        yield from _events(value.body, call, module, modules, seen)
        yield from _events(value.orelse, call, module, modules, seen)
    elif isinstance(value, ast.JoinedStr):
        pattern = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in value.values)
        assert pattern in DYNAMIC, f"{module.place(call)}: what may {pattern} be?"
        yield from DYNAMIC[pattern]
    else:
        assert isinstance(value, ast.Name), f"{module.place(call)}: the name of the event cannot be read"
        yield from _named(value.id, call, module, modules, seen)


def _named(name: str, call: ast.Call, module: _Module, modules: list[_Module], seen: frozenset[str]) -> Iterator[str]:
    """What a name stands for: what a local variable is set to, or what the callers of the function give."""
    function = module.function(call)
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    if name not in [*names, *(argument.arg for argument in function.args.kwonlyargs)]:
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
                yield from _events(node.value, call, module, modules, seen)
        return
    if function.name in seen:
        return
    place = names.index(name) - (names[0] == "self") if name in names else None
    for other in modules:
        for caller in other.calls(function.name):
            given = [keyword.value for keyword in caller.keywords if keyword.arg == name]
            if place is not None and len(caller.args) > place:
                given.append(caller.args[place])
            for one in given:
                yield from _events(one, caller, other, modules, seen | {function.name})
