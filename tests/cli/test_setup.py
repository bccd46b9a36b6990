"""``dsr init``."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dsr_sdk.cli import output
from tests.cli.conftest import Dsr


def test_init_makes_a_host(dsr: Dsr, tmp_path: Path) -> None:
    """It says what it made and what comes next; the host can be used at once."""
    ran = dsr("init", str(tmp_path / "new"), "--company", 'Example "quoted" GmbH')
    assert [line.split()[0] for line in ran.out.splitlines()] == ["made"] * 3
    assert "keep a copy elsewhere" in ran.out
    assert "next: cd " in ran.err
    assert tomllib.loads((tmp_path / "new/dsr.toml").read_text())["host"]["company"] == 'Example "quoted" GmbH'
    assert (tmp_path / "new/dsr.key").stat().st_mode & 0o777 == 0o600
    dsr("--config", str(tmp_path / "new/dsr.toml"), "status")


def test_init_twice_changes_nothing(dsr: Dsr) -> None:
    """A key is never replaced."""
    key = (dsr.directory / "dsr.key").read_bytes()
    assert "nothing was changed" in dsr("init", "--company", "Other").out
    assert (dsr.directory / "dsr.key").read_bytes() == key


def test_init_json(dsr: Dsr, tmp_path: Path) -> None:
    """--json names what was made."""
    ran = dsr("init", str(tmp_path / "new"), "--company", "Example", "--json")
    assert set(ran.json["made"]) == {"dsr.toml", "dsr.key", "dsr.db"}


def test_init_needs_a_company(dsr: Dsr, tmp_path: Path) -> None:
    """Without a terminal it is not asked for."""
    assert "--company" in dsr("init", str(tmp_path / "new"), code=2).err
    assert not (tmp_path / "new").exists()


def test_init_asks_for_the_company(dsr: Dsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a terminal it is."""
    monkeypatch.setattr(output, "interactive", lambda: True)
    dsr("init", str(tmp_path / "new"), input="Example\n")
    assert "Example" in (tmp_path / "new/dsr.toml").read_text()


def test_init_warns_of_a_password(dsr: Dsr, tmp_path: Path) -> None:
    """A database password does not belong in the file."""
    ran = dsr("init", str(tmp_path / "new"), "--company", "Example", "--database", "postgresql://dsr:hush@127.0.0.1:1/none", code=None)
    assert "env:DSR_DATABASE" in ran.err
    assert "hush" not in ran.out + ran.err
    assert ran.code == 6
