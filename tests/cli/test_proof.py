"""``dsr audit``."""

from __future__ import annotations

import json
import sqlite3

from tests.cli.conftest import Dsr


def test_verify(dsr: Dsr) -> None:
    """The log of this ledger is checked, signatures included."""
    dsr.case()
    out = dsr("audit", "verify").out
    assert out == "ok: 1 entries of 1 cases, 1 checkpoints signed by this ledger's key\n"
    report = dsr("audit", "verify", "--json").json
    assert (report["ok"], report["signatures_checked"], report["problems"]) == (True, True, [])


def test_verify_finds_tampering(dsr: Dsr) -> None:
    """A changed entry is named, and the exit code is 6."""
    case = dsr.case()
    with sqlite3.connect(dsr.directory / "dsr.db") as connection:
        connection.execute("UPDATE audit SET actor = 'somebody'")
    connection.close()
    ran = dsr("audit", "verify", code=6)
    assert f"case {case}, entry 1: was changed" in ran.out
    assert dsr("audit", "verify", "--json", code=6).json["problems"][0]["n"] == 1


def test_export_and_verify_it_elsewhere(dsr: Dsr) -> None:
    """An exported log is checked without the ledger."""
    case = dsr.case()
    entries = [json.loads(line) for line in dsr("audit", "export", case).out.splitlines()]
    assert entries[0]["event"] == "request.received"
    dsr("audit", "export", case, "--out", "log.jsonl")
    (dsr.directory / "dsr.toml").unlink()
    assert dsr("audit", "verify", "--export-file", "log.jsonl").out == "ok: 1 entries of 1 cases\n"
    (dsr.directory / "log.jsonl").write_text(json.dumps({**entries[0], "actor": "somebody"}) + "\n")
    assert "NOT ok" in dsr("audit", "verify", "--export-file", "log.jsonl", code=6).out


def test_errors(dsr: Dsr) -> None:
    """Files and cases that are not there."""
    assert "cannot be read" in dsr("audit", "verify", "--export-file", "nosuch", code=2).err
    (dsr.directory / "empty").write_text("\n")
    assert "holds no audit entry" in dsr("audit", "verify", "--export-file", "empty", code=2).err
    assert "there is no such case" in dsr("audit", "export", "DSR-0000-0000-0000-0000", code=6).err
    case = dsr.case()
    assert "cannot be written: file exists" in dsr("audit", "export", case, "--out", "empty", code=3).err
