"""Each hook has a page in docs/hooks, with its exact signature, and no other hook has one."""

from __future__ import annotations

import inspect
import re
from types import FunctionType

import pytest

from dsr_sdk import hookspecs
from dsr_sdk.connector import Connector
from tests.docs.pages import DOCS, blocks, links, text_of

PLACE = DOCS / "hooks"
INDEX = text_of(PLACE / "index.md")
HOOKS: dict[str, FunctionType] = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("dsr_") and isinstance(hook, FunctionType)}
OPERATIONS = {name for name, hook in HOOKS.items() if getattr(hook, "dsr_sdk_spec", {}).get("firstresult")}
QUESTIONS = {name for name, hook in HOOKS.items() if name not in OPERATIONS and inspect.signature(hook).return_annotation != "None"}


def _section(name: str, heading: str) -> str:
    return text_of(PLACE / f"{name}.md").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_each_hook_has_one_page() -> None:
    """A page for each hook, and none for a hook that is gone; the index leads to each, once."""
    assert {path.stem for path in PLACE.glob("*.md")} == {*HOOKS, "index"}
    assert sorted(link for link in links(PLACE / "index.md") if link.startswith("dsr_")) == sorted(f"{name}.md" for name in HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_the_signature_is_exact(name: str) -> None:
    """The first block of the page is the hook's signature as it is, and no other hook is defined before the examples."""
    signature = str(inspect.signature(HOOKS[name])).replace("'", "")
    first, *_ = blocks(PLACE / f"{name}.md")
    assert first.text == f"def {name}{signature}\n"
    assert text_of(PLACE / f"{name}.md").startswith(f"# `{name}`\n")


@pytest.mark.parametrize("name", HOOKS)
def test_every_argument_and_the_answer_are_explained(name: str) -> None:
    """Each argument has its line, no other has, and the answer has a section."""
    explained = re.findall(r"^- `(\w+)`", _section(name, "Arguments"), re.MULTILINE)
    assert explained == list(inspect.signature(HOOKS[name]).parameters)
    assert len(_section(name, "Answer").strip()) > 20


@pytest.mark.parametrize("name", HOOKS)
def test_good_and_bad_are_shown(name: str) -> None:
    """An example that the tests run, with what it prints, and one that nobody should follow, with the reason."""
    good, bad = _section(name, "Good"), _section(name, "Bad")
    assert f"    def {name}(self" in good
    assert "```python" in good
    assert "```text" in good
    assert f"def {name}(self" in bad
    assert len(bad.rpartition("```\n")[2].strip()) > 60


@pytest.mark.parametrize("name", HOOKS)
def test_operations_observers_and_questions_are_told_apart(name: str) -> None:
    """What one data source answers is called an operation, on its page and in the index; what is only told, an observer; what everybody may
    answer, a question."""
    kind = "operation" if name in OPERATIONS else "question" if name in QUESTIONS else "observer"
    assert f"| kind | [{kind}](index.md#{kind}s)" in text_of(PLACE / f"{name}.md")
    for heading in ("operation", "observer", "question"):
        section = INDEX.partition(f"\n## {heading.title()}s\n")[2].partition("\n## ")[0]
        assert (f"[`{name}`]" in section) is (heading == kind)
    assert hasattr(Connector, name) is (name in OPERATIONS)


def test_no_other_hook_is_named() -> None:
    """What a page calls ``dsr_something`` is a hook, or a package."""
    for path in PLACE.glob("*.md"):
        named = set(re.findall(r"\bdsr_[a-z_]+", text_of(path)))
        packages = {one for one in named if one == "dsr_sdk" or (one.startswith("dsr_connector_") and one not in HOOKS)}
        assert named - packages <= set(HOOKS), path.name
