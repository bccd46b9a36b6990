"""What the documentation repeats of the code is up to date."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from dsr_sdk import Process
from dsr_sdk.testing._standard import anchor, standard_checks
from dsr_sdk.testing.suite import ConnectorSuite
from tests.docs.pages import DOCS, ROOT


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """``docs/generate.py`` as a module; its other half is found beside it, as when it is run."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        spec.loader.exec_module(module)
    return module


def test_nothing_is_out_of_date(generate: ModuleType) -> None:
    """The catalogue, the schema, the pages of checks, the READMEs and the site's navigation are what the code declares, and no page is left of a
    check that is gone. Mend: ``python docs/generate.py``."""
    texts = {path: path.read_text(encoding="utf-8") if path.exists() else "" for path in generate.outputs()}
    stale = [str(path.relative_to(ROOT)) for path, text in generate.outputs().items() if texts[path] != text]
    assert not stale, "run: python docs/generate.py"
    assert not generate.orphans(), "run: python docs/generate.py"


def test_every_check_has_its_page(generate: ModuleType) -> None:
    """One page for each check, which has its name, what it means, how to mend a failure and what it is known to catch; a failure names that file."""
    known = standard_checks(ConnectorSuite)
    assert {path.stem for path in (DOCS / "testing" / "checks").glob("*.md")} == {*known, "index"}
    for name, check in known.items():
        page = (ROOT / anchor(name)).read_text(encoding="utf-8")
        meaning, _, mend = " ".join((check.__doc__ or "").split()).replace("``", "`").partition("Mend: ")
        assert page.startswith(f"# `{name}`\n")
        assert f"\n{meaning.strip()}\n" in page
        assert mend[1:] in page.partition("## How to mend a failure")[2]
        assert "say" in page.partition("## What it catches")[2], name


def test_every_connector_is_there(generate: ModuleType) -> None:
    """Each distribution under connectors/ has its row, its entry, and a README of its own."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = (DOCS / "catalogue.md").read_text(encoding="utf-8")
    listed = generate.connectors()
    assert {"stripe", "email", "manual"} <= {connector.slug for connector in listed}
    for connector in listed:
        assert f"\n## {connector.title}\n" in page
        assert f"| [{connector.title}](connectors/" in readme
    assert len(listed) == len(list(ROOT.glob("connectors/*/pyproject.toml")))


def test_what_is_retained_is_said(generate: ModuleType) -> None:
    """The sentence that a person will read about a retained resource stands in the catalogue."""
    page = (DOCS / "catalogue.md").read_text(encoding="utf-8")
    for connector in generate.connectors():
        for holds in connector.holds:
            assert holds.text in page


def test_nobody_claims_live_evidence_by_mistake(generate: ModuleType) -> None:
    """The README says that no connector was tried on a live account; the first that is has to change that sentence."""
    live = [connector.slug for connector in generate.connectors() if any(layer.value == "live" for layer in connector.evidence)]
    said = "none was tried on a live" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert said is not bool(live)


def test_check_notices(generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``--check`` names a stale file and one that is left over, and writes nothing; without it the one is written and the other removed."""
    gone = tmp_path / "docs" / "testing" / "checks" / "gone.md"
    gone.parent.mkdir(parents=True)
    gone.touch()
    wanted = {tmp_path / path.relative_to(ROOT): text for path, text in generate.outputs().items()}
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "CHECKS", gone.parent)
    monkeypatch.setattr(generate, "outputs", lambda: wanted)
    assert generate.main(["--check"]) == 1
    said = capsys.readouterr().out
    assert "out of date: docs/catalogue.md" in said
    assert "out of date: docs/testing/checks/gone.md" in said
    assert not (tmp_path / "docs" / "catalogue.md").exists()
    assert gone.exists()
    assert generate.main([]) == 0
    assert not gone.exists()
    assert generate.main(["--check"]) == 0


def test_sources_without_an_api(generate: ModuleType) -> None:
    """Letters and checklists do not look as if they called anything."""
    for connector in generate.connectors():
        if connector.process is not Process.AUTOMATED:
            assert "yes" not in generate._overview_row(connector)
