"""``dsr status``, ``history``, ``confirm``, ``retry``, ``recheck``, ``identity`` and ``case``."""

from __future__ import annotations

import pytest

from dsr_sdk.cli import output
from dsr_sdk.testing import Fault, Person, SandboxServer
from tests.cli.conftest import Dsr


def manual(dsr: Dsr) -> None:
    """A data source that a person works."""
    with (dsr.directory / "dsr.toml").open("a") as file:
        file.write('\n[sources.cabinet]\nconnector = "manual"\ninstructions = "Look in the drawer."\nowner = "The archive"\n')


def done(dsr: Dsr, email: str = "ada@example.com", *args: str, code: int = 0) -> str:
    """A case that was carried out."""
    case = dsr.case(email, *args)
    dsr("run", case, "--yes", code=code)
    return case


def test_status_lists_cases(dsr: Dsr) -> None:
    """The newest first, as many as wanted, of the statuses wanted; and how many there are of each."""
    assert "no case" in dsr("status").err
    older = dsr.case("ada@example.com", "--received", "2020-01-01T00:00:00Z", "--regime", "eu_gdpr")
    newer = dsr.case("bob@example.org")
    ran = dsr("status")
    assert [line.split()[0] for line in ran.out.splitlines()[1:]] == [newer, older]
    assert "eu_gdpr  2020-01-01 00:00 UTC" in ran.out
    assert "2 received" in ran.err
    assert "the newest 1 are shown" in dsr("status", "--limit", "1").err
    listed = dsr("status", "--json").json
    assert listed["counts"] == {"received": 2}
    assert dsr("status", "--status", "done", "--json").json["cases"] == []


def test_status_of_a_case(dsr: Dsr, shop: SandboxServer) -> None:
    """Per source: status, what was done, when it was last deleted, what is kept and why."""
    case = dsr.case()
    assert "not planned yet" in dsr("status", case).out
    dsr("run", case, "--yes")
    out = dsr("status", case).out
    assert "verified  erased 2, retained 6" in out
    assert "shop: kept: invoice: Invoices are kept for ten years." in out
    assert " UTC" in out
    assert dsr("status", case, "--json").json["sources"][0]["last_deleted"]
    assert "there is no such case" in dsr("status", "DSR-0000-0000-0000-0000", code=6).err


def test_history(dsr: Dsr, shop: SandboxServer) -> None:
    """Who did what, and when."""
    case = done(dsr)
    out = dsr("history", case).out
    assert "request.received" in out
    assert "erasure.verified" in out
    assert "found (shop 8)" in out
    events = dsr("history", case, "--json").json["events"]
    assert [event["n"] for event in events] == list(range(1, len(events) + 1))
    assert "there is no such case" in dsr("history", "DSR-0000-0000-0000-0000", code=6).err


def test_confirm(dsr: Dsr) -> None:
    """A person ticks off what was done by hand, and the case is done."""
    manual(dsr)
    case = done(dsr)
    assert "by hand" in dsr("status", case).out
    report = dsr("confirm", case, "cabinet", "--by", "bob", "--json").json
    assert report["status"] == "done"
    assert "nothing here waits for a person" in dsr("confirm", case, "cabinet", code=2).err


def test_retry(dsr: Dsr, shop: SandboxServer) -> None:
    """What failed for good is put back to work, once somebody says so."""
    shop.sandbox.faults = [Fault("status", status=422, method="DELETE")]
    case = done(dsr, "bob@example.org", code=1)
    assert "failed" in dsr("status", case).out
    ran = dsr("retry", case, "--source", "shop")
    assert ran.out == "1 back to work\n"
    assert f"next: dsr run {case}" in ran.err
    dsr("run", case)
    assert dsr("retry", case, "--json").json == {"case": case, "retried": 0}
    assert dsr("retry", case).out == "nothing had failed\n"


def test_recheck_finds_who_came_back(dsr: Dsr, shop: SandboxServer) -> None:
    """Verified again, a person who reappeared is seen, and that needs someone."""
    case = done(dsr, "bob@example.org")
    shop.sandbox.seed([Person("bob@example.org")])
    assert "1 data source to be verified again" in dsr("recheck", case).out
    assert "nothing is due" not in dsr("run").err
    assert dsr("status", case, "--json").json["sources"][0]["status"] == "reappeared"
    assert dsr("recheck", dsr.case(), "--json").json["sources"] == 0


def test_identity(dsr: Dsr, shop: SandboxServer) -> None:
    """An identity that was missing is added, and the next plan uses it."""
    case = dsr("submit", "--type", "deletion", "--phone", "+14155550123").out.strip()
    dsr("plan", case, code=1)
    assert dsr("identity", case, "--email", "bob@example.org", "--vendor-id", "toyshop=c3").out == "added email, vendor id\n"
    assert "contact 1" in dsr("plan", case).out
    assert dsr("identity", case, "--user-id", "u", "--json").json == {"case": case, "added": ["controller_id"]}
    assert "give --email" in dsr("identity", case, code=2).err
    assert "--email: is not an e-mail address" in dsr("identity", case, "--email", "x", code=2).err


def test_show_is_personal(dsr: Dsr) -> None:
    """The request is shown where it is asked for, and only there."""
    case = dsr.case("ada@example.com", "--first-name", "Ada")
    out = dsr("case", "show", case, secret=False).out
    assert "email: ada@example.com" in out
    assert "name: Ada" in out


def test_shred(dsr: Dsr, shop: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks, because nobody can undo it; then the request cannot be opened, and the audit log still holds."""
    case = done(dsr)
    assert "nobody is here to confirm" in dsr("case", "shred", case, code=5).err
    monkeypatch.setattr(output, "interactive", lambda: True)
    assert "was not shredded" in dsr("case", "shred", case, input="n\n", code=5).err
    assert dsr("case", "shred", case, input="y\n").out.endswith(f"shredded {case}\n")
    dsr("case", "show", case, code=6)
    assert "shredded" in dsr("status", case).out
    assert dsr("retry", case, "--json").json["retried"] == 0
    dsr("audit", "verify")
    other = done(dsr, "bob@example.org")
    assert dsr("case", "shred", other, "--yes", "--json").json == {"case": other, "shredded": True}
