"""The package's top: names are looked up when they are first used, and look as if they had always been there."""

from __future__ import annotations

import copy
import importlib
import pickle
import subprocess
import sys
from typing import Any

import pytest

import dsr_sdk
from dsr_sdk import errors
from dsr_sdk.errors import DsrError, RejectedError, TransientError

ERRORS = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("name", dsr_sdk.__all__)
def test_every_name_is_there(name: str) -> None:
    """Each is what its own module defines, and the same object every time."""
    value = getattr(dsr_sdk, name)
    assert value is getattr(dsr_sdk, name)
    if name != "__version__":
        home = importlib.import_module(f"dsr_sdk.{dsr_sdk._HOME_OF[name]}")
        assert value is getattr(home, name)
        assert name in home.__all__


def test_dir_before_anything_was_used() -> None:
    """An editor's completion sees all names in a fresh interpreter, and a star import brings exactly those."""
    program = (
        "import dsr_sdk, sys\n"
        "assert set(dsr_sdk.__all__) <= set(dir(dsr_sdk))\n"
        "assert 'dsr_sdk.connector' not in sys.modules\n"
        "names = {}\n"
        "exec('from dsr_sdk import *', names)\n"
        "assert set(names) - {'__builtins__'} == set(dsr_sdk.__all__), set(names) ^ set(dsr_sdk.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_unknown_names() -> None:
    """As with any module: an AttributeError with the name, an ImportError for an import, and submodules are still found."""
    with pytest.raises(AttributeError, match="module 'dsr_sdk' has no attribute 'Conector'"):
        _ = dsr_sdk.Conector
    with pytest.raises(ImportError, match="Conector"):
        exec("from dsr_sdk import Conector")
    assert not hasattr(dsr_sdk, "nothing")
    from dsr_sdk import http

    assert http.__name__ == "dsr_sdk.http"


# --- errors ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_say_who_acts_next(kind: type[DsrError]) -> None:
    """Every class has a turn and an exit code that are documented, and every one is a `DsrError`."""
    assert issubclass(kind, DsrError)
    assert kind.acts_next in ("operator", "host", "requester", "author", "nobody")
    assert 1 <= kind.exit_code <= 6


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "it is wrong"),
        ({"field": "sources.crm.token"}, "sources.crm.token: it is wrong"),
        ({"source": "crm", "field": "token"}, "crm: token: it is wrong"),
        ({"source": "crm", "fix": "mend it"}, "crm: it is wrong (mend it)"),
    ],
)
@pytest.mark.parametrize("kind", ERRORS)
def test_errors_in_words(kind: type[DsrError], arguments: dict[str, Any], text: str) -> None:
    """Where, what, and what to do."""
    assert str(kind("it is wrong", **arguments)) == text


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_travel(kind: type[DsrError]) -> None:
    """Between processes and through copies an error stays what it was, attributes included."""
    error = kind("it is wrong", field="f", source="s", fix="x")
    if isinstance(error, TransientError):
        error.retry_after, error.maybe_done = 5.0, True
    if isinstance(error, RejectedError):
        error.status, error.code = 422, "locked"
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is kind
        assert str(other) == str(error)
        assert vars(other) == vars(error)
