"""The suite itself is tested: for each check there is a connector or a sandbox that is wrong on purpose, and the check catches it."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from dsr_sdk.connector import Connector, Evidence
from dsr_sdk.testing import Exemption, Sandbox
from dsr_sdk.testing._standard import anchor, standard_checks
from dsr_sdk.testing.cassettes import record
from dsr_sdk.testing.suite import ConnectorSuite
from tests.testing import wrong
from tests.testing.running import caught, outcomes
from tests.testing.toys import Bulk, BulkSandbox, Full, FullSandbox, FullSuite, Slow, SlowSandbox, SlowSuite, Toy, ToySandbox

SUITES: dict[type[Connector], tuple[type[ConnectorSuite], type[Sandbox]]] = {
    Full: (FullSuite, FullSandbox),
    Slow: (SlowSuite, SlowSandbox),
    Bulk: (ConnectorSuite, BulkSandbox),
    Toy: (ConnectorSuite, ToySandbox),
}


@dataclass(frozen=True)
class Mutation:
    """A check, and something wrong that it must catch. `said` is a part of what it says."""

    check: str
    connector: type[Connector]
    said: str = ""
    sandbox: type[Sandbox] | None = None
    given: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.check}-{(self.sandbox or self.connector).__name__ if self.connector in SUITES else self.connector.__name__}"

    def suite(self) -> type[ConnectorSuite]:
        """The suite of what is wrong, otherwise like that of the right one."""
        base, sandbox = next(SUITES[kind] for kind in SUITES if issubclass(self.connector, kind))
        return type("Suite", (base,), {"connector": self.connector, "sandbox": self.sandbox or sandbox, **self.given})


MUTATIONS = (
    Mutation("declaration", Toy, "different slugs", wrong.NamedOtherwise),
    Mutation("exemptions", wrong.ExemptFromNothing, "erase_twise"),
    Mutation("hooks_are_carried", wrong.CarriesAHook, "dsr_fnd"),
    Mutation("settings_hide_secrets", wrong.ShowsItsSecret, "client_secret"),
    Mutation("hosts", wrong.TellsAnotherHost, "not declared"),
    Mutation("hosts", wrong.IgnoresTheBaseUrl, "configured base_url"),
    Mutation("resources", wrong.HoldsOnPaper, "ghost"),
    Mutation("check", wrong.ChecksNothing, "proves nothing"),
    Mutation("wrong_credentials", wrong.ReadsRefusalAsNobody, "as if it had looked"),
    Mutation("wrong_credentials", wrong.SwallowsEverything, "Erased"),
    Mutation("find_changes_nothing", wrong.ErasesWhileFinding, "find calls DELETE"),
    Mutation("unknown_person", wrong.FindsSomebody, "unknown person was found"),
    Mutation("two_people", wrong.AnswersInItsOwnOrder, "wrong answers"),
    Mutation("find_batch", wrong.SeeksTooMany, "422"),
    Mutation("every_identity_kind", wrong.ClaimsPhones, "Phone finds nobody"),
    Mutation("revealed_identities", wrong.RevealsTheFirst, "does not lead back"),
    Mutation("revealed_identities", wrong.RevealsNeighbours, "another person's Email"),
    Mutation("letters_case", wrong.AsksAsGiven, "capital letters", wrong.ExactSandbox),
    Mutation("unusual_addresses", wrong.BuildsUrlsByHand, "not found"),
    Mutation("second_page", wrong.LooksAtPageOne, "behind a page", wrong.UnfilteredSandbox),
    Mutation("one_address_two_records", wrong.LosesTheSecond, "one is still there"),
    Mutation("nothing_is_lost_among_many", wrong.ForgetsPageTwo, "still there"),
    Mutation("nothing_is_lost_among_many", wrong.LosesTheSecond, "contact: 1 in the copy, and 130 at the vendor"),
    Mutation("erase", wrong.CallsNobody, "still holds the person"),
    Mutation("found_no_more", Toy, "found again", wrong.GhostSandbox),
    Mutation("others_stay", wrong.TakesTheFirstAlong, "another person is gone"),
    Mutation("erase_spares_neighbours", wrong.ErasesByPrefix, "neighbour was erased"),
    Mutation("erase_twice", wrong.RepeatsPost, "more than once"),
    Mutation("gone_in_between", wrong.MissingIsRefusal, "already gone"),
    Mutation("gone_in_between", wrong.MissingIsErased, "that is Absent"),
    Mutation("lost_answer", wrong.RetriesPost, "more than once"),
    Mutation("lost_answer", wrong.RepeatsPost, "more than once"),
    Mutation("recover", wrong.RemembersNothing, "does not know"),
    Mutation("retained_is_never_erased", wrong.ErasesOrders, "retained records"),
    Mutation("holds_come_true", wrong.DeclaresOrdersErased, "order: declared as erased, and 1 of 1 are still there"),
    Mutation("holds_come_true", wrong.ErasesOrders, "order: declared as retained, and of 1 there are 0"),
    Mutation("app_data_leaves_the_account", wrong.TakesTheAccountAlong, "account's contact"),
    Mutation("batch", wrong.BatchTooLarge, "422"),
    Mutation("batch_with_one_gone", Slow, "422", wrong.StrictSandbox),
    Mutation("batch_is_split", wrong.SendsTheFirstBatch, "answered for other matches"),
    Mutation("batch_of_mixed_outcomes", wrong.FirstForAll, "Failed for one of the batch who is gone"),
    Mutation("batch_of_mixed_outcomes", wrong.RefusedIsErased, "Erased for the one of the batch whom the vendor refused"),
    Mutation("batch_of_mixed_outcomes", wrong.InTheVendorsOrder, "Erased for the one of the batch whom the vendor refused"),
    Mutation("batch_of_mixed_outcomes", wrong.AllForOne, "Absent for one of the batch who was there until then"),
    Mutation("batch_of_mixed_outcomes", wrong.FailsWithTheOne, "Failed for one of the batch who is gone"),
    Mutation("batch_of_mixed_outcomes", wrong.AbsentTogether, "asked alone, it is Absent"),
    Mutation("batch_of_mixed_outcomes", Bulk, "took the batch along", wrong.SparingSandbox),
    Mutation("batch_of_mixed_outcomes", Bulk, "check refuse(email)", wrong.WeakSandbox),
    Mutation("batch_of_mixed_outcomes", Bulk, "write refuse(email)", wrong.MeekSandbox),
    Mutation("batch_of_mixed_outcomes", wrong.FirstOfTheJob, "Erased for the one of the batch whom the vendor refused"),
    Mutation("batch_of_mixed_outcomes", wrong.DoneIsErased, "Erased for the one of the batch whom the vendor refused"),
    Mutation("batch_of_mixed_outcomes", wrong.WaitsForTheRefused, "Pending for the one of the batch whom the vendor refused"),
    Mutation("batch_of_mixed_outcomes", wrong.JobInTheVendorsOrder, "Erased for the one of the batch whom the vendor refused"),
    Mutation("batch_of_mixed_outcomes", wrong.LeavesOutTheRefused, "is left out of what poll answers"),
    Mutation("batch_under_fault", wrong.AbsentForAll, "status 404: a clean outcome for 3 of the batch who are still there"),
    Mutation("batch_under_fault", wrong.ErasedRegardless, "status 500: a clean outcome for 3 of the batch who are still there"),
    Mutation("jobs_stay_pending", wrong.DoneBeforeItIs, "before the vendor was done"),
    Mutation("jobs_end", wrong.WaitsForAnotherWord, "after the vendor was done"),
    Mutation("failed_job", wrong.FailedIsRunning, "stays pending"),
    Mutation("failed_job", wrong.FailedIsDone, "reads as erased"),
    Mutation("failed_job", wrong.LeavesOutTheFailed, "left out of what poll answers"),
    Mutation("never_finishing_job", wrong.GivesUpPolitely, "nothing had moved"),
    Mutation("never_finishing_job", wrong.AsksAtOnceAgain, "check_after"),
    Mutation("jobs_survive_a_restart", wrong.KeepsJobsToItself, "another process"),
    Mutation("export", wrong.CopiesNoOrders, "not in the copy: order"),
    Mutation("copy_is_whole", wrong.CopiesPageOne, "order: 100 in the copy, and 131 at the vendor"),
    Mutation("copy_is_whole", wrong.CountsPageOne, "order: find counts 100, and 131 are at the vendor"),
    Mutation("copy_is_whole", Toy, "write records(email)", wrong.UntoldSandbox),
    Mutation("copy_is_whole", Toy, "does not say how many there are of: order", wrong.HalfToldSandbox),
    Mutation("copy_is_whole", Toy, "write add_records(email, count)", wrong.ShortSandbox),
    Mutation("copy_is_whole", Toy, "holds 1 of a resource at most", wrong.IdleSandbox),
    Mutation("export_is_json", wrong.CopiesDates, "is not JSON"),
    Mutation("export_is_json", wrong.CopiesNumbersAsKeys, "reads back differently"),
    Mutation("export_is_streamed", wrong.CollectsTheCopy, "a list"),
    Mutation("export_changes_nothing", wrong.CopiesAndPurges, "had an effect"),
    Mutation("export_holds_nobody_else", wrong.CopiesEverybody, "another person"),
    Mutation("opt_out", wrong.OptsOutByErasing, "erased the person"),
    Mutation("opt_out", wrong.OptsOutOnPaper, "behind the API the person is not opted out"),
    Mutation("opt_out", wrong.OptsOutUnasked, "nobody was asked"),
    Mutation("opt_out", wrong.OptsOutTheFirst, "behind the API the person is not opted out"),
    Mutation("opt_out", Full, "before anybody asked", wrong.AlwaysOutSandbox),
    Mutation("opt_out", Full, "write opted_out(email)", wrong.SilentSandbox),
    Mutation("opt_out_twice", Full, "not opted out any more", wrong.SwitchSandbox),
    Mutation("opt_out_twice", Full, "422", wrong.OnceSandbox),
    Mutation("opt_out_spares_others", wrong.OptsOutTheFirst, "the person is not opted out"),
    Mutation("opt_out_spares_others", wrong.OptsOutWhoIsAlike, "a neighbour is opted out too (domain)"),
    Mutation("opt_out_spares_others", wrong.OptsOutEverybody, "another person is opted out too"),
    Mutation("check_under_fault", wrong.ChecksAnyPage, "html"),
    Mutation("find_under_fault", wrong.ReadsRefusalAsNobody, "status 401"),
    Mutation("find_under_fault", wrong.RefusalIsRejection, "expected AuthError"),
    Mutation("find_under_fault", wrong.RaisesAnything, "no DsrError"),
    Mutation("erase_under_fault", wrong.SwallowsEverything, "clean outcome"),
    Mutation("erase_under_fault", wrong.CallsNobody, "no call"),
    Mutation("export_under_fault", wrong.DropsACopy, "instead of an error"),
    Mutation("export_under_fault", wrong.MissingListIsEmpty, "status 404, at call 2: read as an answer of 1"),
    Mutation("poll_under_fault", wrong.UnknownIsDone, "poll, status 404: a clean outcome"),
    Mutation("poll_under_fault", wrong.FaultIsDone, "clean outcome"),
    Mutation("poll_under_fault", wrong.FaultIsPending, "Pending instead of an error"),
    Mutation("opt_out_under_fault", wrong.OptsOutRegardless, "did not confirm"),
    Mutation("declared_rate_is_kept", wrong.KnowsNoLimit, "declare its rate limit"),
    Mutation("declared_rate_is_kept", wrong.GoesAroundThePacer, "more than 50 calls", wrong.PatientSandbox),
    Mutation("every_limit_is_used", wrong.LimitsNothing, "/v1/contact counts no call"),
    Mutation("every_limit_is_used", wrong.LimitsAnotherMethod, "POST /v1/contacts counts no call"),
    Mutation("retry_after_is_obeyed", wrong.KnowsBetterWhen, "asked for 7"),
    Mutation("nothing_personal_is_said", wrong.LogsTheAddress, "log record of toy.debug"),
    Mutation("nothing_personal_is_said", wrong.LogsHalfTheToken, "the beginning of the secret token in a log record of toy.debug"),
    Mutation("nothing_personal_is_said_under_fault", wrong.SaysTheAddress, "e-mail address in TransientError"),
    Mutation("secrets_and_people_stay_where_they_belong", wrong.SendsThePersonInAHeader, "x-about"),
    Mutation("secrets_and_people_stay_where_they_belong", wrong.SendsTheTokenInTheQuery, "the query"),
    Mutation("claims_are_held", wrong.ClaimsLive, "held by nothing: live"),
)

NEED_FILES = {
    "requests_fit_the_description",
    "answers_fit_the_description",
    "exemptions_are_needed",
    "cassettes",
    "cassettes_replay",
    "cassettes_fit_the_description",
    "entry_point",
    "distribution",
    "listed_without_import",
    "import_budget",
    "typed",
    "readme",
}
"""Checks whose mutations are files, in the tests below."""


def test_every_check_has_a_mutation() -> None:
    """A check that nothing was ever wrong for may check nothing. Add what it must catch to `MUTATIONS`, or to the tests of files below."""
    assert {mutation.check for mutation in MUTATIONS} | NEED_FILES == set(standard_checks(ConnectorSuite))
    assert set(FILES) | set(PACKAGES) == NEED_FILES


@pytest.mark.parametrize("connector", SUITES)
def test_a_right_connector_passes(connector: type[Connector]) -> None:
    """What the wrong ones are made from is right: every check passes or does not apply."""
    suite, sandbox = SUITES[connector]
    right = type("Right", (suite,), {"connector": connector, "sandbox": sandbox})
    failed = {name: said for name, items in outcomes(right).items() if (said := [item for item in items if item not in ("", "skipped")])}
    assert not failed


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_wrong_one_is_caught(mutation: Mutation) -> None:
    """The check fails, says what is wrong, and where it is explained."""
    said = caught(mutation.suite(), mutation.check)
    assert any(mutation.said in one for one in said), said
    assert all(anchor(mutation.check) in one for one in said)


# --- what stands in files: the description, cassettes ---------------------------------------------------------------------------------


def _operation(*query: str, answer: dict[str, Any] | None = None) -> dict[str, Any]:
    ok = {"description": "fine", "content": {"application/json": {"schema": answer or {"type": "object"}}}}
    return {"parameters": [{"in": "query", "name": name, "schema": {"type": "string"}} for name in query], "responses": {"200": ok}}


def described() -> dict[str, Any]:
    """The toy vendor's description of its API."""
    by_id = [{"in": "path", "name": "id", "required": True, "schema": {"type": "string"}}]
    ping = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Toy", "version": "1"},
        "paths": {
            "/v1/ping": {"get": _operation(answer=ping)},
            "/v1/contacts": {"get": _operation("email", "user_id", "limit", "starting_after")},
            "/v1/contacts/{id}": {"parameters": by_id, "get": _operation(), "delete": _operation()},
            "/v1/orders": {"get": _operation("contact", "limit", "starting_after")},
        },
    }


@dataclass
class Bench:
    """A directory with the toy vendor's description and cassettes, to spoil."""

    directory: Path
    given: dict[str, Any]

    def suite(self, connector: type[Connector] = Toy, **given: Any) -> type[ConnectorSuite]:
        """A suite on these files."""
        return type("Suite", (ConnectorSuite,), {"connector": connector, "sandbox": ToySandbox, **self.given, **given})

    def spoil(self, name: str, old: str, new: str) -> None:
        """Change a file."""
        path = self.directory / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")


class Claimed(Toy):
    """The toy with a claim that its description holds."""

    evidence = (Evidence.SANDBOX, Evidence.SPEC)


@pytest.fixture(scope="module")
def tapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy's cassettes."""
    directory = tmp_path_factory.mktemp("tapes")
    record(Toy, ToySandbox, directory)
    return directory


@pytest.fixture
def bench(tmp_path: Path, tapes: Path) -> Bench:
    """Copies of the files."""
    shutil.copytree(tapes, tmp_path, dirs_exist_ok=True)
    (tmp_path / "toy.json").write_text(json.dumps(described()), encoding="utf-8")
    return Bench(tmp_path, {"cassettes": tmp_path, "description": tmp_path / "toy.json"})


def _other_path(bench: Bench) -> type[ConnectorSuite]:
    bench.spoil("toy.json", '"/v1/orders"', '"/v2/orders"')
    return bench.suite()


def _secret_in_a_tape(bench: Bench) -> type[ConnectorSuite]:
    bench.spoil("erase.yaml", "- REDACTED", "- Bearer abcdefghijklmnop")
    return bench.suite()


def _no_tape(bench: Bench) -> type[ConnectorSuite]:
    (bench.directory / "copy.yaml").unlink()
    return bench.suite()


FILES: dict[str, list[tuple[Callable[[Bench], type[ConnectorSuite]], str]]] = {
    "requests_fit_the_description": [
        (lambda bench: bench.suite(wrong.SendsMore), "GET /v1/contacts: request query parameter * is not declared"),
        (_other_path, "GET /v1/orders: request is for a path that is not described"),
    ],
    "answers_fit_the_description": [(lambda bench: bench.suite(sandbox=wrong.NumbersSandbox), "/ok is an integer")],
    "exemptions_are_needed": [
        (lambda bench: bench.suite(exemptions=(Exemption("it was so once", operation="GET /v0/*"),)), "no longer needed: it was so once")
    ],
    "cassettes": [(_secret_in_a_tape, "authorization has a value"), (_no_tape, "no cassette copy.yaml")],
    "cassettes_replay": [
        (lambda bench: bench.suite(wrong.SendsMore), "asked for now: GET /v1/contacts?email=...&verbose=1&limit=100. Read the difference"),
        (lambda bench: bench.suite(wrong.CallsLess), "asked for before: GET /v1/ping; asked for now: no more of that. Read the difference"),
    ],
    "cassettes_fit_the_description": [(_other_path, "GET /v1/orders: request is for a path that is not described")],
}


def test_right_files_pass(bench: Bench) -> None:
    """As they are, the description and the cassettes hold; and a difference that is exempted with a reason is none."""
    assert not any(caught(bench.suite(), name) for name in FILES)
    assert not caught(bench.suite(Claimed), "claims_are_held")
    assert "held and not claimed in evidence: spec" in caught(bench.suite(), "claims_are_held")[0]
    known = Exemption("the description is behind", operation="GET /v1/contacts", where="request query parameter *")
    assert not caught(bench.suite(wrong.SendsMore, exemptions=(known,)), "requests_fit_the_description")


@pytest.mark.parametrize(("check", "row"), [(check, row) for check, rows in FILES.items() for row in range(len(rows))])
def test_a_wrong_file_is_caught(bench: Bench, check: str, row: int) -> None:
    """A description that says otherwise, a cassette that may not be committed or does not fit any more."""
    spoil, said = FILES[check][row]
    found = caught(spoil(bench), check)
    assert any(said in one for one in found), found
    assert all(anchor(check) in one for one in found)


# --- what stands in a distribution --------------------------------------------------------------------------------------------------

CODE = '''
    """Parcel: a vendor in a package."""
    {imports}
    from dsr_sdk import Category, Connector, Email, Evidence, Holds, Unsupported
    from dsr_sdk.testing.sandbox import Sandbox

    class Parcel(Connector):
        """Parcel holds contacts."""

        slug, title, category = "{name}", "Parcel", Category.CUSTOM
        identified_by = (Email,)
        holds = (Holds("contact", data=("user.contact.email",)),)
        base_url = "https://api.parcel.example"
        erase = export = opt_out = email = Unsupported("it is a parcel")

        def find(self, api, subject):
            return iter(())
'''
METADATA = (
    "Metadata-Version: 2.1\nName: dsr-connector-{name}\nVersion: 1.0\nSummary: Parcel for dsr-sdk\nRequires-Python: >=3.11\nRequires-Dist: dsr-sdk\n"
)
README = "\n# Parcel\n\n## Setup\n\n## Limits\n\n## What it holds, and what becomes of it\n\n## Evidence\n\nsandbox\n"
POINTS = "[dsr_sdk.connectors]\n{name} = {name}_pkg:Parcel\n"


@pytest.fixture
def parcel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., type[ConnectorSuite]]:
    """Makes a small distribution, installs it for this test, and gives the suite of its connector."""

    def make(name: str, *, imports: str = "", metadata: str = METADATA, readme: str = README, points: str = POINTS, typed: bool = True) -> Any:
        package, info = tmp_path / f"{name}_pkg", tmp_path / f"dsr_connector_{name}-1.0.dist-info"
        package.mkdir()
        info.mkdir()
        code = textwrap.dedent(CODE.format(name=name, imports=imports)).replace("from dsr_sdk.testing.sandbox import Sandbox\n", "")
        (package / "__init__.py").write_text(code.strip() + "\n", encoding="utf-8")
        if typed:
            (package / "py.typed").touch()
        (info / "METADATA").write_text(metadata.format(name=name) + readme, encoding="utf-8")
        (info / "entry_points.txt").write_text(points.format(name=name), encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        return type("Suite", (ConnectorSuite,), {"connector": import_module(f"{name}_pkg").Parcel})

    return make


PACKAGES: dict[str, tuple[dict[str, Any], str]] = {
    "entry_point": ({"points": "[dsr_sdk.connectors]\n{name}x = {name}_pkg:Parcel\n"}, "the entry point is called"),
    "distribution": ({"metadata": METADATA.replace("Requires-Dist: dsr-sdk\n", "")}, "does not depend on dsr-sdk"),
    "listed_without_import": ({"metadata": METADATA.replace("Summary: Parcel for dsr-sdk\n", "")}, "without a version or without a summary"),
    "import_budget": ({"imports": "import jinja2"}, "loads jinja2"),
    "typed": ({"typed": False}, "no py.typed"),
    "readme": ({"readme": README.replace("## Limits", "## Fine print")}, "no section on limits"),
}


def test_a_right_distribution_passes(parcel: Callable[..., type[ConnectorSuite]]) -> None:
    """What the wrong ones are made from is right."""
    suite = parcel("parcel_right")
    assert outcomes(suite, *PACKAGES) == {name: [""] for name in PACKAGES}


@pytest.mark.parametrize("check", PACKAGES)
def test_a_wrong_distribution_is_caught(parcel: Callable[..., type[ConnectorSuite]], check: str) -> None:
    """A distribution that a host would not find, could not list, or should not load."""
    given, said = PACKAGES[check]
    found = caught(parcel(f"parcel_{check}", **given), check)
    assert any(said in one for one in found), found
    assert all(anchor(check) in one for one in found)


def test_a_connector_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A project whose entry point is missing: the failure shows the line to write. A module on its own is none yet."""
    (tmp_path / "stray_pkg.py").write_text(textwrap.dedent(CODE.format(name="stray", imports="")).strip(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    suite = type("Suite", (ConnectorSuite,), {"connector": import_module("stray_pkg").Parcel})
    assert outcomes(suite, "entry_point") == {"entry_point": ["skipped"]}
    (tmp_path / "pyproject.toml").touch()
    assert 'stray = "stray_pkg:Parcel" in [project.entry-points."dsr_sdk.connectors"]' in caught(suite, "entry_point")[0]
