"""``dsr run``: cases, files, dry runs, and Ctrl-C."""

from __future__ import annotations

import signal
import time

import pytest

from dsr_sdk.cli import plans, progress
from dsr_sdk.testing import Fault, SandboxServer
from tests.cli.conftest import Dsr, configure, impatient, request, requests_file


def test_an_approved_case(dsr: Dsr, shop: SandboxServer) -> None:
    """Approved is approved: it is carried out, and the report is shown."""
    case = dsr.case()
    dsr("plan", case)
    dsr("approve", case, "--yes")
    ran = dsr("run", case)
    assert "verified  erased 2, retained 6" in ran.out
    assert shop.sandbox.effects == {"erase c1": 1, "erase c2": 1}
    assert dsr("run", case, "--json").json["cases"][0]["status"] == "done"


def test_without_yes_nothing_happens(dsr: Dsr, shop: SandboxServer) -> None:
    """The default is the dry run: submit and plan, and how to go on."""
    file = requests_file(dsr, request(reference="a"), request("bob@example.org", reference="b"))
    ran = dsr("run", file)
    assert "in all: erase 2, keep 6. not approved." in ran.out
    assert "dry run: nothing was changed at any vendor" in ran.err
    assert f"next: dsr run {file} --yes" in ran.err
    assert not shop.sandbox.effects
    assert {row["status"] for row in dsr("status", "--json").json["cases"]} == {"planned"}


def test_with_yes_all_the_way(dsr: Dsr, shop: SandboxServer) -> None:
    """What was shown is what is approved: the plan is not made again. Twice is once."""
    file = requests_file(dsr, request(reference="a"), request("bob@example.org", reference="b"))
    shown = dsr("run", file, "--json").json["plans"]
    done = dsr("run", file, "--yes", "--json").json
    assert [plan["hash"] for plan in done["plans"]] == [plan["hash"] for plan in shown]
    assert [row["settled"] for row in done["cases"]] == [True, True]
    again = dsr("run", file, "--yes", "--json")
    assert again.json["plans"] == []
    assert len(dsr("status", "--json").json["cases"]) == 2
    assert set(shop.sandbox.effects.values()) == {1}


def test_without_references(dsr: Dsr, shop: SandboxServer) -> None:
    """It is warned of, and the way on is by case number."""
    file = requests_file(dsr, request(), request("bob@example.org", reference="b"))
    ran = dsr("run", file)
    assert "warning: 1 of 2 requests have no reference" in ran.err
    assert "next: dsr run DSR-" in ran.err


def test_case_numbers_from_a_file_and_standard_input(dsr: Dsr, shop: SandboxServer) -> None:
    """What dsr submit printed is what dsr run takes."""
    numbers = dsr.case() + "\n" + dsr.case("bob@example.org") + "\n"
    assert len(dsr("run", "-", "--json", input=numbers).json["plans"]) == 2
    (dsr.directory / "cases.txt").write_text(numbers)
    assert len(dsr("run", "cases.txt", "--yes", "--json").json["cases"]) == 2


def test_many_cases_are_a_line_each(dsr: Dsr, shop: SandboxServer) -> None:
    """A summary instead of a hundred reports."""
    file = requests_file(dsr, *(request("bob@example.org", reference=str(number)) for number in range(plans.FEW + 2)))
    ran = dsr("run", file, "--yes")
    assert f"{plans.FEW + 2} cases: {plans.FEW + 2} settled, 0 need someone" in ran.out


def test_dry_run_of_an_approved_case(dsr: Dsr, shop: SandboxServer) -> None:
    """--dry-run plans and carries nothing out, whatever was approved."""
    case = dsr.case()
    dsr("plan", case)
    dsr("approve", case, "--yes")
    dsr("run", case, "--dry-run")
    assert not shop.sandbox.effects
    dsr("run", case)
    assert len(shop.sandbox.effects) == 2


def test_everything_that_is_due(dsr: Dsr, shop: SandboxServer) -> None:
    """Without arguments every source is drained."""
    assert "nothing is due" in dsr("run").err
    case = dsr.case()
    dsr("plan", case)
    dsr("approve", case, "--yes")
    assert "shop           3       0          0" in dsr("run").out
    assert dsr("run", "--json").json == {"sources": []}
    assert dsr("status", case, "--json").json["settled"]


def test_a_halted_source(dsr: Dsr, shop: SandboxServer) -> None:
    """A key that is refused ends with 3 when everything is drained, and a case that runs says who must act."""
    case = dsr.case()
    dsr("plan", case)
    dsr("approve", case, "--yes")
    shop.sandbox.faults = [Fault("status", status=401, times=-1)]
    ran = dsr("run", case, code=1)
    assert f"then: dsr retry {case} and dsr run {case}" in ran.err
    shop.sandbox.faults = []
    dsr("run", case)
    assert len(shop.sandbox.effects) == 2


def test_gaps_that_were_mended(dsr: Dsr, shop: SandboxServer) -> None:
    """With --yes a case with gaps is planned again, so that the same command goes on once they are mended."""
    file = requests_file(dsr, {"type": "deletion", "reference": "a", "subject": {"phone": "+14155550123"}})
    ran = dsr("run", file, "--yes", code=1)
    assert "missing identifier" in ran.out
    case = dsr("status", "--json").json["cases"][0]["case"]
    assert f"dsr plan {case}" in ran.err
    dsr("identity", case, "--email", "bob@example.org")
    done = dsr("run", file, "--yes", "--json").json
    assert done["cases"][0]["settled"]
    assert shop.sandbox.effects == {"erase c3": 1}


def test_do_not_sell(dsr: Dsr, shop: SandboxServer) -> None:
    """The other rights go the same way."""
    dsr("run", requests_file(dsr, request(type="do_not_sell", reference="a")), "--yes")
    assert set(shop.sandbox.effects) == {"opt out c1", "opt out c2"}


def test_the_wrong_ones(dsr: Dsr, shop: SandboxServer) -> None:
    """A bad line stops everything, or is skipped and counted."""
    file = requests_file(dsr, request(reference="a"), "{oops")
    assert "nothing was submitted" in dsr("run", file, code=2).err
    assert dsr("status", "--json").json["cases"] == []
    assert len(dsr("run", file, "--skip-invalid", "--json", code=1).json["plans"]) == 1


@pytest.mark.parametrize(
    ("args", "said", "code"),
    [
        (["--yes"], "name cases or a file", 2),
        (["--dry-run", "--yes", "x"], "not both", 2),
        (["nosuch.jsonl"], "error: nosuch.jsonl: cannot be read: no such file or directory", 2),
        (["DSR-0000-0000-0000-0000"], "there is no such case", 6),
    ],
)
def test_run_errors(dsr: Dsr, args: list[str], said: str, code: int) -> None:
    """What cannot be run."""
    assert said in dsr("run", *args, code=code).err


def test_wait(dsr: Dsr, shop: SandboxServer) -> None:
    """--wait stays for what comes due."""
    case = dsr.case("bob@example.org")
    dsr("plan", case)
    dsr("approve", case, "--yes")
    impatient(dsr)
    shop.sandbox.faults = [Fault("status", status=503, times=3)]
    assert "some of it comes due by itself" in dsr("run", case).err
    assert dsr("run", case, "--wait", "10", "--json").json["cases"][0]["settled"]


def test_progress_lines(dsr: Dsr, shop: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal there is a line now and then, on standard error."""
    monkeypatch.setattr(progress, "EVERY", 0.0)
    ran = dsr("run", requests_file(dsr, request(reference="a")), "--yes", "--json")
    assert "searching shop: 1 of 1" in ran.err
    assert "carrying out shop: 3 of 3" in ran.err


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)])
def test_ctrl_c_stops_gently(dsr: Dsr, shop: SandboxServer, number: signal.Signals) -> None:
    """What is under way is finished and recorded; the exit code is 130; the next run goes on, and nothing happens twice."""
    shop.sandbox.seed([])
    configure(dsr, shop.url, name="slow", extra="threads = 1\n")
    people = [f"many{n}@example.com" for n in range(40)]
    from dsr_sdk.testing import Person

    shop.sandbox.seed(Person(address) for address in people)
    text = (dsr.directory / "dsr.toml").read_text().replace("[sources.shop]", "[sources.shop]\nenabled = false")
    (dsr.directory / "dsr.toml").write_text(text)
    file = requests_file(dsr, *(request(address, reference=address) for address in people))
    dsr("run", file)
    shop.sandbox.slow = 0.05  # type: ignore[attr-defined]  # the toy shop's own
    process = dsr.process("run", file, "--yes")
    deadline = time.monotonic() + 60
    while not shop.sandbox.effects and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopping: what is under way is being finished" in err
    assert "nothing is lost" in err
    assert out.count("Traceback") + err.count("Traceback") == 0
    assert 0 < len(shop.sandbox.effects) < len(people)
    shop.sandbox.slow = 0.0  # type: ignore[attr-defined]
    dsr("run", file, "--yes")
    assert len(shop.sandbox.effects) == len(people)
    assert set(shop.sandbox.effects.values()) == {1}


def test_nothing_is_due_says_when_something_is(dsr: Dsr, shop: SandboxServer) -> None:
    """A vendor that asks us to wait an hour: whoever runs again at once is told when it is worth it."""
    case = dsr.case()
    dsr("plan", case)
    dsr("approve", case, "--yes")
    shop.sandbox.faults = [Fault("status", status=429, times=2, headers={"retry-after": "3600"})]
    dsr("run", case, code=None)
    assert "nothing is due; the next thing is due 20" in dsr("run").err
