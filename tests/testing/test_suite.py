"""The suite itself: right connectors pass it, its checks cannot be taken away, and what an author may declare is obeyed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from dsr_sdk import ConfigError, ContractError, DsrError, Email, Failed, Match, OptedOut, Outcome, Pending, Subject, TransientError
from dsr_sdk.http import Api
from dsr_sdk.testing import Answer, Call, Sandbox, route
from dsr_sdk.testing._listen import listening
from dsr_sdk.testing._standard import anchor, standard_checks
from dsr_sdk.testing.faults import CASES, FaultCase, closed_port
from dsr_sdk.testing.scenario import ADA, config_of, run_scenario, subject_of, world
from dsr_sdk.testing.suite import ConnectorSuite
from tests.testing.running import outcomes
from tests.testing.toys import Bulk, BulkSandbox, Full, FullSandbox, FullSuite, Slow, SlowSandbox, SlowSuite, Toy, ToySandbox


class TestToy(ConnectorSuite):
    """As an author writes it, and as pytest collects it."""

    connector = Toy
    sandbox = ToySandbox


class TestFull(FullSuite):
    """A connector that has everything."""

    __test__ = True


def failures(suite: type[ConnectorSuite]) -> dict[str, list[str]]:
    """What failed, and what it said."""
    return {name: said for name, items in outcomes(suite).items() if (said := [item for item in items if item not in ("", "skipped", "xfailed")])}


def test_forty_checks_run() -> None:
    """A connector that has everything is put through more than forty different checks, before there is a package, a description or a cassette."""
    ran = [name for name, items in outcomes(FullSuite).items() if "" in items]
    assert len(ran) >= 55
    assert len(standard_checks(ConnectorSuite)) >= 65


def test_every_check_is_explained() -> None:
    """Each docstring says what the check means and how to mend a failure; the page of checks is made from them."""
    for name, check in standard_checks(ConnectorSuite).items():
        meaning, _, mend = (check.__doc__ or "").partition("Mend:")
        assert meaning.strip().endswith("."), name
        assert mend.strip(), name


# --- checks stay -------------------------------------------------------------------------------------------------------------------


class Stubborn(Toy):
    """A vendor at which one check cannot hold, and which says why."""

    exempt: ClassVar[dict[str, str]] = {"erase_twice": "Toy bills each deletion"}


def test_a_check_cannot_be_removed() -> None:
    """Set to None, a check is still asked for: the class itself is refused."""
    with pytest.raises(ContractError, match=r"test_erase is a standard check and may not be removed.*exempt = \{\"erase\": \"why\"\}"):
        type("TestGone", (ConnectorSuite,), {"connector": Toy, "sandbox": ToySandbox, "test_erase": None})


@pytest.mark.parametrize(
    ("wrote", "meant"),
    [("cassetes", "cassettes"), ("setle", "settle"), ("fail_job", "fail_jobs"), ("expected_fault", "expected_faults"), ("persons", "person")],
)
def test_a_misspelt_setting_is_refused(wrote: str, meant: str) -> None:
    """What the suite does not read it would silently do without. Helpers and tests of an author's own stay allowed."""
    with pytest.raises(ContractError, match=f"{wrote} is nothing the suite reads; did you mean {meant}"):
        type("Suite", (ConnectorSuite,), {"connector": Toy, "sandbox": ToySandbox, wrote: None})
    own = {"test_settle_later": lambda self: None, "helper": 1, "_setle": 2, "PERSON": 3, "people": ()}
    type("Suite", (ConnectorSuite,), {"connector": Toy, "sandbox": ToySandbox, **own})


def test_a_check_cannot_be_replaced() -> None:
    """Nor can another test stand in its place, in a base class of the author's either; a name of its own is free."""

    def fine(self: Any) -> None:
        """Nothing."""

    with pytest.raises(ContractError, match="test_erase_twice is a standard check and may not be replaced"):
        type("TestGone", (ConnectorSuite,), {"connector": Toy, "sandbox": ToySandbox, "test_erase_twice": fine})
    mixed = type("Mixin", (), {"test_erase_twice": fine})
    with pytest.raises(ContractError, match="test_erase_twice"):
        type("TestGone", (mixed, ConnectorSuite), {"connector": Toy, "sandbox": ToySandbox})
    type("TestMore", (ConnectorSuite,), {"connector": Toy, "sandbox": ToySandbox, "test_of_my_own": fine})
    type("TestInstead", (ConnectorSuite,), {"connector": Stubborn, "sandbox": ToySandbox, "test_erase_twice": fine})


def test_an_expected_failure_is_declared_in_the_connector() -> None:
    """``xfail(reason=...)`` on a check is not enough: who installs the connector does not see its tests. The message has the line to add."""

    @pytest.mark.xfail(reason="Toy bills each deletion")
    def test_erase_twice(self: Any) -> None:
        """Cannot hold."""

    with pytest.raises(ContractError, match=r"say so in Toy too, exempt = \{\"erase_twice\": \"Toy bills each deletion\"\}"):
        type("TestGone", (ConnectorSuite,), {"connector": Toy, "sandbox": ToySandbox, "test_erase_twice": test_erase_twice})
    type("TestFine", (ConnectorSuite,), {"connector": Stubborn, "sandbox": ToySandbox, "test_erase_twice": test_erase_twice})


def test_an_exempt_check_is_run_and_must_fail() -> None:
    """An exemption that is not needed is a failure: it would hide the next mistake. Of a table, single rows can be exempt."""
    suite = type("Suite", (ConnectorSuite,), {"connector": Stubborn, "sandbox": ToySandbox})
    (said,) = outcomes(suite, "erase_twice")["erase_twice"]
    assert "erase_twice holds: take it out of Stubborn.exempt" in said

    class Twice(Toy):
        """Repeats itself."""

        exempt: ClassVar[dict[str, str]] = {"erase_twice": "each counts", "find_under_fault[status 403]": "overload"}

        def erase(self, api: Api, match: Match) -> Any:
            api.post("/v1/contacts/{id}/purge", id=match.id)
            return super().erase(api, match)

        def problem(self, reply: Any) -> DsrError | None:
            return TransientError(f"{reply.call} answered 403") if reply.status == 403 else None

    suite = type("Suite", (ConnectorSuite,), {"connector": Twice, "sandbox": ToySandbox})
    assert outcomes(suite, "erase_twice") == {"erase_twice": ["xfailed"]}
    rows = outcomes(suite, "find_under_fault")["find_under_fault"]
    assert sorted(set(rows)) == ["", "xfailed"]


def test_a_failure_says_where_it_is_explained() -> None:
    """Errors that a connector raises by itself, too: as a note."""

    class Breaks(Toy):
        """Cannot search."""

        def find(self, api: Api, subject: Subject) -> Iterator[Match]:
            raise ValueError("oops")

    suite = type("Suite", (ConnectorSuite,), {"connector": Breaks, "sandbox": ToySandbox})
    assert outcomes(suite, "unknown_person")["unknown_person"] == [
        f'ValueError: oops; see "unknown_person" under "The checks" in the documentation of dsr-sdk ({anchor("unknown_person")})'
    ]


# --- what an author may declare ----------------------------------------------------------------------------------------------------


def test_an_author_may_expect_another_reading() -> None:
    """``expected_faults`` replaces a row of the table: a vendor whose 403 means overload."""

    class Overloaded(Toy):
        """403 is overload."""

        def problem(self, reply: Any) -> DsrError | None:
            return TransientError(f"{reply.call} answered 403", retry_after=None) if reply.status == 403 else None

    usual = failures(type("Suite", (ConnectorSuite,), {"connector": Overloaded, "sandbox": ToySandbox}))
    assert set(usual) == {"check_under_fault", "find_under_fault", "erase_under_fault", "export_under_fault"}
    declared = {(verb, "status 403"): TransientError for verb in ("find", "erase", "export")}
    assert failures(type("Suite", (ConnectorSuite,), {"connector": Overloaded, "sandbox": ToySandbox, "expected_faults": declared})) == {}


def test_a_vendor_may_say_nobody_with_404() -> None:
    """A lookup that answers 404 for nobody fails without ``absent_ok=True`` and passes with it, once the table says so."""

    class LookupSandbox(ToySandbox):
        """One contact by address, 404 for nobody."""

        @route("GET", "/v1/lookup/{email}")
        def lookup(self, call: Call) -> Any:
            """The contacts, or 404."""
            ids = [key for key, person in self.contacts.items() if call.ids["email"].lower() in (person.email.lower(), person.user_id.lower())]
            return {"ids": ids} if ids else self.no_route(call)

    class Lookup(Toy):
        """Looks people up."""

        absent_ok = True

        def find(self, api: Api, subject: Subject) -> Iterator[Match]:
            who = subject.email if subject.has(Email) else subject.user_id
            reply = api.get("/v1/lookup/{email}", email=who, absent_ok=self.absent_ok)
            for key in [] if reply.absent else reply.object()["ids"]:
                yield Match("contact", key)
                yield Match("order", f"o_{key}")

    class Strict(Lookup):
        """Forgot absent_ok."""

        absent_ok = False

    base = {"sandbox": LookupSandbox, "expected_faults": {("find", "status 404"): None}}
    assert failures(type("Suite", (ConnectorSuite,), {"connector": Lookup, **base})) == {}
    assert "unknown_person" in failures(type("Suite", (ConnectorSuite,), {"connector": Strict, **base}))


def test_a_vendor_may_refuse_the_whole_call_because_of_one() -> None:
    """As the host does, the check asks in halves: whoever lets the `RejectedError` through has told the truth."""

    class WholeSandbox(BulkSandbox):
        """All of a call, or nothing."""

        @route("POST", "/v1/contacts/erase")
        def erase_contacts(self, call: Call) -> Any:
            """422 when one of them is on hold."""
            held = {key for key, one in self.contacts.items() if one.email in self.on_hold}
            return Answer.json({"code": "on_hold"}, 422) if held & set(call.json()["ids"]) else super().erase_contacts(call)

    assert failures(type("Suite", (ConnectorSuite,), {"connector": Bulk, "sandbox": WholeSandbox})) == {}


@pytest.mark.parametrize("told", [True, False])
def test_a_vendor_may_say_nothing_of_one_it_refuses(told: bool) -> None:
    """Then *pending* for ever is honest, as for a job that fails in silence. Where the vendor does say it, it is not."""

    class MuteSandbox(SlowSandbox):
        """Its jobs name only those that were erased."""

        def refuse(self, email: str) -> bool:
            """Whether anybody could know."""
            super().refuse(email)
            return told

    class Hopeful(Slow):
        """Who is not named yet will be."""

        def poll(self, api: Api, job: str) -> Any:
            answer = super().poll(api, job)
            waiting = Pending(job, timedelta(days=1))
            return {key: waiting if isinstance(one, Failed) else one for key, one in answer.items()} if isinstance(answer, Mapping) else answer

    suite = type("Suite", (SlowSuite,), {"connector": Hopeful, "sandbox": MuteSandbox})
    assert set(failures(suite)) == ({"batch_of_mixed_outcomes"} if told else set())


def test_a_vendor_that_refuses_nobody_is_declared() -> None:
    """A sandbox without ``refuse`` is excused by the connector alone, where those who install it see it."""

    class Obliging(Bulk):
        """Erases whomever it is asked to."""

        exempt: ClassVar[dict[str, str]] = {"batch_of_mixed_outcomes": "Bulk refuses nobody"}

    class ObligingSandbox(BulkSandbox):
        """Cannot refuse."""

        refuse = Sandbox.refuse

    suite = type("Suite", (ConnectorSuite,), {"connector": Obliging, "sandbox": ObligingSandbox})
    assert outcomes(suite, "batch_of_mixed_outcomes") == {"batch_of_mixed_outcomes": ["xfailed"]}
    bare = type("Suite", (ConnectorSuite,), {"connector": Bulk, "sandbox": ObligingSandbox})
    assert "ObligingSandbox refuses nobody: write refuse(email)" in failures(bare)["batch_of_mixed_outcomes"][0]


def test_an_opt_out_is_judged_at_every_call_it_makes() -> None:
    """A connector that looks first and then says no is caught when the second of the two calls fails, and is not read."""

    class LooksFirst(Full):
        """Two calls, and the second is taken for granted."""

        def opt_out(self, api: Api, match: Match) -> Outcome:
            key = match.id.removeprefix("o_")
            api.get("/v1/contacts/{id}", id=key)
            with suppress(DsrError):
                api.post("/v1/contacts/{id}/opt-out", id=key)
            return OptedOut()

    found = failures(type("Suite", (FullSuite,), {"connector": LooksFirst, "sandbox": FullSandbox}))
    assert "OptedOut although the vendor did not confirm it" in found["opt_out_under_fault"][0]


def test_scenario_concludes_without_data() -> None:
    """The scenario's conclusion counts kinds and names nobody; it is what a replay is compared with."""
    with world(Slow, SlowSandbox, ADA) as w:
        subject = subject_of(ADA, Email(value=ADA.email))
        report = run_scenario(w.connector, w.http, subject, lambda: w.sandbox.advance(86_400 * 4))
    assert report.conclusion() == {
        "found": {"contact": 1, "order": 1},
        "copied": {"contact": 1, "order": 1},
        "outcomes": {"contact erased": 1},
        "found_again": {},
    }


def test_settings_that_do_not_fit_are_named() -> None:
    """A sandbox whose credentials are no settings of the connector is a `ConfigError`, not a pydantic trace."""

    class Misnamed(ToySandbox):
        """Another name."""

        credentials: ClassVar[dict[str, str]] = {"api_key": "toy-sandbox-token"}

    with pytest.raises(ConfigError, match=r"Misnamed\.credentials"):
        config_of(Toy, Misnamed)


def test_a_closed_port_refuses() -> None:
    """The port of the table's *refused* row is nobody's."""
    import socket

    with closed_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_the_listener_hears_every_logger() -> None:
    """A logger with a level of its own that passes nothing on is heard too, and left as it was."""
    logger = logging.getLogger("toy.proud")
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    with listening({"the address": "zq@example.net"}) as listener:
        logger.debug("to %s", "ZQ@example.net")
        print("zq@example.net")  # noqa: T201 - what is printed is heard
    assert sorted(str(leak) for leak in listener.leaks()) == ["the address in a log record of toy.proud", "the address in what was printed"]
    assert (logger.level, logger.handlers) == (logging.ERROR, [])


def test_the_table_names_are_unique() -> None:
    """``expected_faults`` is keyed by them."""
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
    assert all(isinstance(case, FaultCase) for case in CASES)
