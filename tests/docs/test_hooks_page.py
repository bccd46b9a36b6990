"""docs/hooks.md documents each hook, with its exact signature, and no other."""

from __future__ import annotations

import inspect
import re
from types import FunctionType

import pytest

from dsr_sdk import hookspecs
from dsr_sdk.connector import Connector
from tests.docs.pages import DOCS, text_of

PAGE = text_of(DOCS / "hooks.md")
HOOKS: dict[str, FunctionType] = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("dsr_") and isinstance(hook, FunctionType)}


def _section(name: str) -> str:
    return PAGE.partition(f"\n### `{name}`\n")[2].partition("\n#")[0]


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_documented(name: str) -> None:
    """There is a section for the hook, it shows the signature as it is, and it says more than that."""
    section = _section(name)
    assert section, f"docs/hooks.md has no section {name}"
    signature = str(inspect.signature(HOOKS[name])).replace("'", "")
    assert f"```py\ndef {name}{signature}\n```" in section
    assert len(section.partition("```\n")[2].strip()) > 30


def test_no_other_hook_is_documented() -> None:
    """A hook that is gone is gone from the page."""
    assert set(re.findall(r"^### `(dsr_\w+)`$", PAGE, re.MULTILINE)) == set(HOOKS)
    assert set(re.findall(r"\bdsr_[a-z_]+", PAGE)) - {"dsr_sdk", "dsr_connector_mailchimp"} <= set(HOOKS)


def test_operations_and_observers_are_told_apart() -> None:
    """What one data source answers stands under *Operations*, what is only told under *Observers*."""
    operations, _, observers = PAGE.partition("\n## Observers\n")
    observers = observers.partition("\n## Wrappers\n")[0]
    for name, hook in HOOKS.items():
        answered = bool(getattr(hook, "dsr_sdk_spec", {}).get("firstresult"))
        assert (f"### `{name}`" in operations) is answered
        assert (f"### `{name}`" in observers) is not answered
        assert hasattr(Connector, name) is answered


def test_wrapper_and_observer_are_shown() -> None:
    """The page has an example of each; tests/docs/test_examples.py runs it."""
    assert "@hookimpl(wrapper=True)\ndef dsr_find(" in PAGE
    assert "@hookimpl\ndef dsr_task_finished(" in PAGE
