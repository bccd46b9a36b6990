"""The reference pages explain everything that the code offers, and name nothing that is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dsr_sdk
import dsr_sdk.http
from dsr_sdk import Connector, Holds, Reason, errors, identity, result
from dsr_sdk._declaration import _VERB_PARAMETERS
from dsr_sdk.engine import Options, Standing, Status
from dsr_sdk.host import Host
from dsr_sdk.ledger.schema import metadata
from dsr_sdk.testing import Sandbox
from tests.docs.pages import DOCS, ROOT, blocks, text_of


def _named(page: str) -> set[str]:
    """The words in code on a page: ``api.get(path)`` names api, get and path."""
    text = text_of(DOCS / page)
    code = [*re.findall(r"`([^`\n]+)`", text), *(block.text for block in blocks(DOCS / page))]
    return {word for piece in code for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", piece)}


def test_every_attribute_of_a_connector() -> None:
    """docs/connector.md explains each attribute and each verb of `Connector`, and each field of `Holds`."""
    page = text_of(DOCS / "connector.md")
    attributes = {name for name in Connector.__annotations__ if not name.startswith("_")} | {"Config"}
    for name in attributes:
        assert f"\n| `{name}` |" in page, name
    for verb, (_, *parameters) in _VERB_PARAMETERS.items():
        assert f"\n| `{verb}({', '.join(parameters)})` |" in page, verb
    assert set(Holds.__dataclass_fields__) | {"auth", "headers", "rate_limits", "problem"} <= _named("connector.md")


def test_every_error() -> None:
    """docs/connector.md names every class of error."""
    assert set(errors.__all__) <= _named("connector.md")


def test_every_outcome_and_status() -> None:
    """docs/outcomes.md names every outcome, reason, standing and status."""
    outcomes = {name for name in result.__all__ if isinstance(kind := getattr(result, name), type) and issubclass(kind, result.Outcome)} - {"Outcome"}
    words = outcomes | {member.value for enum in (Reason, Standing, Status) for member in enum}
    assert words <= _named("outcomes.md")


def test_every_identity() -> None:
    """docs/identities.md names every kind of identity, and every way of verifying one."""
    kinds = set(identity.__all__) - {"AnyIdentity", "Identity", "Verification"}
    assert kinds | {kind.value for kind in identity.Verification} <= _named("identities.md")


def test_everything_to_talk_with() -> None:
    """docs/http.md and the pages on paging and rate limits name everything that `dsr_sdk.http` offers."""
    assert set(dsr_sdk.http.__all__) - {"Api", "Reply"} <= _named("http.md") | _named("paging.md") | _named("rate-limits.md")


def test_every_table() -> None:
    """docs/ledger.md explains every table, and says of each whether it holds personal data."""
    page = text_of(DOCS / "ledger.md")
    tables = re.findall(r"^\| `([a-z_]+)` \|", page.partition("## Tables")[2].partition("## Sealing")[0], re.MULTILINE)
    assert set(tables) == set(metadata.tables)
    for table in metadata.tables.values():
        sealed = any(column.name.startswith("sealed") for column in table.columns)
        row = next(line for line in page.splitlines() if line.startswith(f"| `{table.name}` |"))
        assert ("sealed" in row) is sealed


def test_every_method_of_the_host() -> None:
    """docs/embedding.md names every public method of `Host`."""
    methods = {name for name, value in vars(Host).items() if not name.startswith("_") and callable(value)}
    assert methods <= _named("embedding.md")


def test_every_way_to_fake_a_vendor() -> None:
    """docs/sandbox.md names what a sandbox may override."""
    methods = {name for name, value in vars(Sandbox).items() if not name.startswith("_") and callable(value)} - {"answer", "seed"}
    assert methods | {"credentials", "windows"} <= _named("sandbox.md")


def test_every_table_of_the_journal() -> None:
    """docs/engine.md names every state a task can be in, and the default patience is what it says."""
    page = text_of(DOCS / "engine.md")
    states = {"waiting", "ready", "acting", "pending", "doubt", "done", "failed"}
    assert states <= _named("engine.md")
    assert (Options().attempts, Options().backoff.seconds, Options().longest_backoff.seconds, Options().pending_for.days) == (8, 5, 3600, 60)
    assert "after 5 s, 10 s ... 1 h, eight times in all" in page
    assert "up to 60 days" in page


@pytest.mark.parametrize(
    "path", sorted([*DOCS.glob("*.md"), *DOCS.glob("hooks/*.md"), DOCS / "api" / "index.md", ROOT / "README.md"]), ids=lambda path: path.name
)
def test_names_exist(path: Path) -> None:
    """What a page calls ``dsr_sdk.something`` is there to be imported."""
    for name in set(re.findall(r"\bdsr_sdk(?:\.[A-Za-z_][A-Za-z0-9_]*)+", text_of(path))):
        if name in ("dsr_sdk.connectors", "dsr_sdk.plugins", "dsr_sdk.sandboxes"):
            continue  # groups of entry points
        assert _exists(name), name


def _exists(name: str) -> bool:
    import importlib

    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for part in parts[size:]:
            found = getattr(found, part, None)  # type: ignore[assignment]  # an attribute of a module may be anything
        return found is not None
    return False


def test_api_pages_name_modules() -> None:
    """Every page of the API reference is about something that exists, and the index leads to each."""
    pages = {path.stem: text_of(path) for path in (DOCS / "api").glob("*.md")}
    index = pages.pop("index")
    for stem, text in pages.items():
        assert f"({stem}.md)" in index
        for name in re.findall(r"^::: (\S+)$", text, re.MULTILINE):
            assert _exists(name), name
    assert dsr_sdk.__version__
