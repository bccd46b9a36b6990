"""What makes a check of the suite a standard one: nobody takes it away, its failure says where it is explained, and an exemption from it is
declared where those who choose the connector see it, and is true.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from dsr_sdk._declaration import near
from dsr_sdk.connector import Connector
from dsr_sdk.errors import ContractError

__all__ = ["PAGES", "Standard", "anchor", "standard_checks"]

PAGES = "docs/testing/checks"
"""Where every check has its page."""

_OURS = "dsr_sdk.testing."


class Standard:
    """Base of the classes that hold checks. A method ``test_x`` of a class in `dsr_sdk.testing` is the standard check ``x``."""

    connector: ClassVar[type[Connector]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith(_OURS):
            for name, value in list(vars(cls).items()):
                if name.startswith("test_") and inspect.isfunction(value):
                    setattr(cls, name, _standard(value))
        else:
            _refuse_gaps(cls)


def standard_checks(suite: type[Standard]) -> dict[str, Callable[..., Any]]:
    """The standard checks of a suite by name (without ``test_``), in the order in which they are written, base classes in theirs."""
    found: dict[str, Callable[..., Any]] = {}
    for cls in reversed(suite.__mro__):
        found.update({name.removeprefix("test_"): value for name, value in vars(cls).items() if getattr(value, "standard", False)})
    return found


def anchor(name: str) -> str:
    """Where a check is explained."""
    return f"{PAGES}/{name}.md"


def _standard(check: Callable[..., Any]) -> Callable[..., Any]:
    name = check.__name__.removeprefix("test_")
    several = any(mark.name == "parametrize" for mark in getattr(check, "pytestmark", ()))

    @functools.wraps(check)
    def run(self: Standard, *args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        item = f"{name}[{'-'.join(str(value) for value in (*args, *kwargs.values()))}]" if several else name
        exempt = getattr(self.connector, "exempt", {})
        reason = exempt.get(item) or exempt.get(name)
        try:
            check(self, *args, **kwargs)
        except (Exception, pytest.fail.Exception) as error:
            if reason:
                pytest.xfail(reason)
            _point(error, name)
            raise
        if exempt.get(item):  # of all rows of a table, some may hold
            pytest.fail(f"{item} holds: take it out of {self.connector.__name__}.exempt; see {anchor('exemptions')}", pytrace=False)

    run.standard = True  # type: ignore[attr-defined]  # an attribute of our own on a function
    return run


def _point(error: BaseException, name: str) -> None:
    """Let the failure say where its check is explained."""
    # There is no address of a site in it: whoever has the package alone looks the page up by its title.
    see = f'see "{name}" under "The checks" in the documentation of dsr-sdk ({anchor(name)})'
    if isinstance(error, AssertionError) and error.args and isinstance(error.args[0], str):
        if see not in error.args[0]:
            error.args = (f"{error.args[0]}; {see}", *error.args[1:])
    elif isinstance(error, pytest.fail.Exception) and error.msg:
        error.msg = f"{error.msg}; {see}"
    else:
        error.add_note(see)


def _refuse_gaps(suite: type[Standard]) -> None:
    problems = list(_gaps(suite))
    if problems:
        raise ContractError("; ".join(problems), source=f"{suite.__module__}.{suite.__qualname__}")


def _gaps(suite: type[Standard]) -> Iterator[str]:
    known = standard_checks(suite)
    bases = [cls for cls in suite.__mro__ if cls.__module__.startswith(_OURS)]
    ours = {name for cls in bases for name in (*vars(cls), *inspect.get_annotations(cls))}
    settings = [name for name in ours if not name.startswith(("_", "test_"))]
    connector = getattr(suite, "connector", None)
    exempt = getattr(connector, "exempt", {})
    for cls in suite.__mro__:
        for attribute, value in vars(cls).items() if not cls.__module__.startswith(_OURS) else ():
            name = attribute.removeprefix("test_")
            guess = None if attribute.startswith(("_", "test_")) or attribute in ours else near(attribute, settings)
            if guess:
                yield f"{attribute} is nothing the suite reads; did you mean {guess}? (start a name of your own with an underscore)"
            if not attribute.startswith("test_") or name not in known or name in exempt:
                continue
            marks = [mark for mark in getattr(value, "pytestmark", ()) if mark.name == "xfail"]
            reason = next((str(mark.kwargs["reason"]) for mark in marks if mark.kwargs.get("reason")), None)
            how = f'exempt = {{"{name}": "{reason or "why"}"}}'
            where = connector.__name__ if connector else "the connector"
            done = "removed" if value is None else "replaced"
            if reason:
                yield f"{attribute} is expected to fail: say so in {where} too, {how}"
            else:
                yield f"{attribute} is a standard check and may not be {done}: name it otherwise, or say in {where} why it cannot hold: {how}"
