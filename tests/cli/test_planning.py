"""``dsr plan`` and ``dsr approve``."""

from __future__ import annotations

import pytest

from dsr_sdk.cli import output
from dsr_sdk.testing import Fault, SandboxServer
from tests.cli.conftest import Dsr, impatient


def test_a_plan_is_shown(dsr: Dsr, shop: SandboxServer) -> None:
    """What was found, erased, kept and why; the hash; the next command. Nothing happens at the vendor."""
    case = dsr.case()
    ran = dsr("plan", case)
    assert "shop    Toy Shop  found         8  contact 2  invoice 6      2" in ran.out
    assert "shop: kept: invoice: Invoices are kept for ten years." in ran.out
    assert "in all: erase 2, keep 6. not approved." in ran.out
    assert f"next: dsr approve {case}" in ran.err
    assert not shop.sandbox.effects


def test_plan_json(dsr: Dsr, shop: SandboxServer) -> None:
    """One case is one object; several are a list."""
    case = dsr.case()
    plan = dsr("plan", case, "--json").json
    assert (plan["case"], plan["complete"], plan["irreversible"]) == (case, True, True)
    assert f"hash {plan['hash']}" in dsr("plan", case, "--show").out
    dsr.case("bob@example.org")
    assert len(dsr("plan", "--all-received", "--json").json["plans"]) == 1


def test_many_plans_are_a_line_each(dsr: Dsr, shop: SandboxServer) -> None:
    """More than a few are not shown in full."""
    for _ in range(4):
        dsr.case("bob@example.org")
    ran = dsr("plan", "--all-received")
    assert len([line for line in ran.out.splitlines() if line.startswith("DSR-")]) == 4
    assert "4 plans. In all: erase 4." in ran.out
    assert "no case waits" in dsr("plan", "--all-received").err


def test_a_gap_is_not_success(dsr: Dsr, shop: SandboxServer) -> None:
    """A source that could not be checked, or lacks an identifier, ends with 1 and says so."""
    phone = dsr("submit", "--type", "deletion", "--phone", "+14155550123").out.strip()
    ran = dsr("plan", phone, code=1)
    assert "not complete: missing identifier: shop." in ran.out
    assert "shop: missing identifier: needs one of: email, vendor_id" in ran.out
    shop.sandbox.faults = [Fault("status", status=401, times=-1)]
    case = dsr.case()
    assert "could not check" in dsr("plan", case, code=1).out
    dsr("plan", case, "--show")


def test_plan_waits_for_a_passing_failure(dsr: Dsr, shop: SandboxServer) -> None:
    """A search that the vendor puts off for a moment is no gap; with --wait 0 it is."""
    impatient(dsr)
    case = dsr.case()
    shop.sandbox.faults = [Fault("status", status=503, times=3)]
    dsr("plan", case)
    shop.sandbox.faults = [Fault("status", status=503, times=3)]
    dsr("plan", case, "--wait", "0", code=1)


def test_plan_with_a_source_that_cannot_be_used(dsr: Dsr, shop: SandboxServer) -> None:
    """It is warned of, and counts as could not check."""
    with (dsr.directory / "dsr.toml").open("a") as file:
        file.write('\n[sources.other]\nconnector = "toybroken"\n')
    ran = dsr("plan", dsr.case(), code=1)
    assert "warning: other cannot be used and counts as could not check" in ran.err
    assert "not complete: could not check: other." in ran.out


def test_plan_of_chosen_sources(dsr: Dsr, shop: SandboxServer) -> None:
    """--source limits the search; a stranger is an error."""
    case = dsr.case()
    assert dsr("plan", case, "--source", "shop", "--json").json["sources"][0]["source"] == "shop"
    assert "there is no such data source" in dsr("plan", case, "--source", "nosuch", code=3).err


@pytest.mark.parametrize(
    ("args", "said", "code"),
    [
        ([], "name cases", 2),
        (["DSR-0000-0000-0000-0000", "--all-received"], "name cases", 2),
        (["nonsense"], "error: CASE: is not a case number", 2),
        (["DSR-0000-0000-0000-0000"], "there is no such case", 6),
        (["DSR-0000-0000-0000-0000", "--show"], "there is no such case", 6),
    ],
)
def test_plan_errors(dsr: Dsr, args: list[str], said: str, code: int) -> None:
    """What cannot be planned."""
    assert said in dsr("plan", *args, code=code).err


def test_show_needs_a_plan(dsr: Dsr) -> None:
    """--show searches nothing."""
    assert "there is no plan yet" in dsr("plan", dsr.case(), "--show", code=5).err


def test_approve(dsr: Dsr, shop: SandboxServer) -> None:
    """With --yes it asks nothing, and names who decided in the audit log."""
    case = dsr.case()
    dsr("plan", case)
    ran = dsr("approve", case.lower(), "--yes", "--by", "alice@example.com")
    assert f"approved {case}\n" in ran.out
    assert f"next: dsr run {case}" in ran.err
    (event,) = [event for event in dsr("history", case, "--json").json["events"] if event["event"] == "plan.approved"]
    assert event["actor"] == "alice@example.com"
    assert "(already, " in dsr("approve", case).out


def test_approve_json(dsr: Dsr, shop: SandboxServer) -> None:
    """--json says what was approved, when and by whom."""
    case = dsr.case()
    hash_ = dsr("plan", case, "--json").json["hash"]
    (row,) = dsr("approve", case, "--yes", "--json", "--by", "alice").json["approved"]
    assert (row["case"], row["hash"], row["by"]) == (case, hash_, "alice")


def test_approve_asks(dsr: Dsr, shop: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it shows the plan and asks; no is 5."""
    case = dsr.case()
    dsr("plan", case)
    monkeypatch.setattr(output, "interactive", lambda: True)
    ran = dsr("approve", case, input="n\n", code=5)
    assert "contact 2" in ran.out
    assert "cannot be undone. Approve?" in ran.err
    assert f"approved {case}" in dsr("approve", case, input="y\n").out


def test_approve_refuses_without_anyone_to_ask(dsr: Dsr, shop: SandboxServer) -> None:
    """Without a terminal, --yes has to be said; not for a copy, which changes nothing at a vendor."""
    case = dsr.case()
    dsr("plan", case)
    assert "nobody is here to confirm" in dsr("approve", case, code=5).err
    assert "nobody is here to confirm" in dsr("approve", case, "--json", code=5).err
    copy = dsr.case(type="copy")
    dsr("plan", copy)
    dsr("approve", copy)


def test_approve_by_hash(dsr: Dsr, shop: SandboxServer) -> None:
    """--hash ties the approval to the plan that was read."""
    case = dsr.case()
    old = dsr("plan", case, "--json").json["hash"]
    shop.sandbox.contacts.popitem()  # type: ignore[attr-defined]  # the toy shop's own
    del shop.sandbox.contacts["c1"]  # type: ignore[attr-defined]
    new = dsr("plan", case, "--json").json["hash"]
    assert old != new
    assert "another hash" in dsr("approve", case, "--hash", old, "--yes", code=5).err
    dsr("approve", case, "--hash", new, "--yes")


@pytest.mark.parametrize(
    ("args", "said", "code"),
    [
        ([], "name the cases", 2),
        (["DSR-0000-0000-0000-0000"], "there is no such case", 6),
        (["DSR-0000-0000-0000-0000", "DSR-0000-0000-0000-0001", "--hash", "x"], "goes with one case", 2),
    ],
)
def test_approve_errors(dsr: Dsr, args: list[str], said: str, code: int) -> None:
    """What cannot be approved."""
    assert said in dsr("approve", *args, code=code).err


def test_approve_needs_a_plan(dsr: Dsr) -> None:
    """First a plan, then the approval."""
    assert "there is no plan yet" in dsr("approve", dsr.case(), code=5).err
