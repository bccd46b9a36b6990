"""The suite itself: a right connector passes it, and each of a row of wrong ones is caught by the check made for it."""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from dsr_sdk import (
    Category,
    ConfigError,
    Connector,
    ConnectorConfig,
    ControllerId,
    DsrError,
    Email,
    Erased,
    Holds,
    Match,
    Outcome,
    Pending,
    Reason,
    Record,
    RejectedError,
    Retained,
    Subject,
    TransientError,
    Unsupported,
)
from dsr_sdk.http import Api, BearerAuth, StartingAfter
from dsr_sdk.testing import Answer, Call, Person, Sandbox, route
from dsr_sdk.testing._listen import listening
from dsr_sdk.testing.faults import CASES, FaultCase, closed_port
from dsr_sdk.testing.scenario import ADA, config_of, run_scenario, subject_of, world
from dsr_sdk.testing.suite import ConnectorSuite


class ToySandbox(Sandbox):
    """Contacts with notes, and orders that are kept; pages of 100; searches by query."""

    slug, title = "toy", "Toy"
    credentials: ClassVar[dict[str, str]] = {"token": "toy-sandbox-token"}

    def __init__(self) -> None:
        super().__init__()
        self.contacts: dict[str, Person] = {}
        self.ordered: set[str] = set()

    def add_person(self, person: Person) -> None:
        """A contact, with an order that outlives it."""
        self.contacts[f"c_{len(self.contacts)}"] = person

    def holds(self, email: str) -> bool:
        """Whether a contact has the address."""
        return any(person.email == email for person in self.contacts.values())

    def authorised(self, call: Call) -> bool:
        """Bearer."""
        return call.headers.get("authorization") == "Bearer toy-sandbox-token"

    @route("GET", "/v1/ping")
    def ping(self, call: Call) -> Any:
        """Fine."""
        return {"ok": True}

    @route("GET", "/v1/contacts")
    def list_contacts(self, call: Call) -> Any:
        """By address (the letters' case does not matter), or by a prefix of it, in pages."""
        user = call.params.get("user_id")
        email, prefix = call.params.get("email", "").lower(), call.params.get("prefix", "\0").lower()
        rows = [
            {"id": key, "email": person.email, "user_id": person.user_id}
            for key, person in self.contacts.items()
            if person.email.lower() == email or (user and person.user_id == user) or person.email.lower().startswith(prefix)
        ]
        after = call.params.get("starting_after")
        start = next((i + 1 for i, row in enumerate(rows) if row["id"] == after), 0)
        limit = int(call.params.get("limit", "10"))
        return {"data": rows[start : start + limit], "has_more": len(rows) > start + limit}

    @route("GET", "/v1/contacts/{id}")
    def read_contact(self, call: Call) -> Any:
        """One."""
        person = self.contacts.get(call.ids["id"])
        return {"id": call.ids["id"], "email": person.email, "first_name": person.first_name} if person else self.no_route(call)

    @route("GET", "/v1/orders")
    def orders(self, call: Call) -> Any:
        """The orders of a contact; everybody's, without one."""
        contact = call.params.get("contact")
        data = [{"id": f"o_{key}", "buyer": person.email} for key, person in self.contacts.items() if contact in (None, key)]
        return {"data": data, "has_more": False}

    @route("DELETE", "/v1/contacts/{id}")
    def delete_contact(self, call: Call) -> Any:
        """Gone at once."""
        if self.contacts.pop(call.ids["id"], None) is None:
            return self.no_route(call)
        self.effect(f"erase {call.ids['id']}")
        return {"id": call.ids["id"], "deleted": True}

    @route("POST", "/v1/contacts/{id}/purge")
    def purge(self, call: Call) -> Any:
        """The same as an action that is carried out, and counted, each time it is asked for."""
        self.contacts.pop(call.ids["id"], None)
        self.effect(f"purge {call.ids['id']}")
        return Answer.empty(202)


class Toy(Connector):
    """Toy: contacts are erased, orders are kept by law."""

    slug, title, category = "toy", "Toy", Category.CRM
    identified_by = (Email, ControllerId)
    holds = (
        Holds("contact", data=("user.contact.email",)),
        Holds("order", data=("user.payment",), on_erase=Retained, reason=Reason.LEGAL_OBLIGATION, text="kept for the tax office"),
    )
    base_url = "https://api.toy.example"
    opt_out = Unsupported("Toy sells no data")
    email = Unsupported("Toy is reached through its API")

    class Config(ConnectorConfig):
        token: SecretStr

    def auth(self) -> BearerAuth:
        return BearerAuth(self.config.token)

    def check(self, api: Api) -> str:
        return str(api.get("/v1/ping").object()["ok"])

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        who = {"email": subject.email} if subject.has(Email) else {"user_id": subject.user_id}
        for contact in api.pages("/v1/contacts", who, paging=StartingAfter("data")):
            yield Match("contact", contact["id"])
            yield Match("order", f"o_{contact['id']}")

    def erase(self, api: Api, match: Match) -> Outcome:
        api.delete("/v1/contacts/{id}", id=match.id)
        return Erased()

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        if match.resource == "contact":
            yield Record("contact", api.get("/v1/contacts/{id}", id=match.id).object())
        else:
            for order in api.pages("/v1/orders", {"contact": match.id.removeprefix("o_")}, paging=StartingAfter("data")):
                yield Record("order", order)


class TestToy(ConnectorSuite):
    """The right one, as an author writes it."""

    connector = Toy
    sandbox = ToySandbox

    def test_cassettes(self) -> None:
        """The toy has none; see test_cassettes.py."""


# --- a vendor that takes its time, in batches ----------------------------------------------------------------------------------------


class SlowSandbox(ToySandbox):
    """Erasures are jobs of three days, up to five contacts each."""

    slug = "slow"

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, tuple[float, list[str]]] = {}

    @route("POST", "/v1/erasures")
    def begin(self, call: Call) -> Any:
        """A job."""
        ids = call.json()["ids"]
        if len(ids) > 5:
            return Answer.json({"code": "too_many"}, 422)
        job = f"j_{len(self.jobs)}"
        self.jobs[job] = (self.now() + 3 * 86_400, ids)
        return Answer.json({"job": job}, 202)

    @route("GET", "/v1/erasures/{id}")
    def state(self, call: Call) -> Any:
        """Running, or done."""
        if call.ids["id"] not in self.jobs:
            return self.no_route(call)
        due, ids = self.jobs[call.ids["id"]]
        if self.now() < due:
            return {"state": "running"}
        for key in ids:
            if self.contacts.pop(key, None) is not None:
                self.effect(f"erase {key}")
        return {"state": "done"}


class Slow(Toy):
    """Slow: contacts are erased by jobs, orders are kept by law."""

    slug, title = "slow", "Slow"
    batch_size = 5
    erase = None  # type: ignore[assignment]  # erase_many stands in its place

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        job = api.post("/v1/erasures", {"ids": [match.id for match in matches]}).object()["job"]
        return [Pending(job, timedelta(days=1))] * len(matches)

    def poll(self, api: Api, job: str) -> Outcome:
        return Erased() if api.get("/v1/erasures/{id}", id=job).object()["state"] == "done" else Pending(job, timedelta(days=1))


class TestSlow(ConnectorSuite):
    """A right connector with jobs and batches."""

    connector = Slow
    sandbox = SlowSandbox

    def test_cassettes(self) -> None:
        """None here either."""


# --- the wrong ones ------------------------------------------------------------------------------------------------------------------


class ForgetsPageTwo(Toy):
    """Reads one page and takes it for all."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        who = {"email": subject.email} if subject.has(Email) else {"user_id": subject.user_id}
        for contact in api.get("/v1/contacts", {**who, "limit": 100}).object()["data"]:
            yield Match("contact", contact["id"])
            yield Match("order", f"o_{contact['id']}")


class LosesTheSecond(Toy):
    """Takes the first contact for the only one."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        yield from list(super().find(api, subject))[:2]


class ReadsRefusalAsNobody(Toy):
    """401 while finding is no data."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        try:
            yield from super().find(api, subject)
        except DsrError as error:
            if "401" not in str(error):
                raise


class SwallowsEverything(Toy):
    """Whatever happens, it was fine."""

    def erase(self, api: Api, match: Match) -> Outcome:
        with suppress(Exception):
            super().erase(api, match)
        return Erased()


class ErasesByPrefix(Toy):
    """Takes everybody whose address begins alike."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        who = {"prefix": subject.email} if subject.has(Email) else {"user_id": subject.user_id}
        for contact in api.pages("/v1/contacts", who, paging=StartingAfter("data")):
            yield Match("contact", contact["id"])
            yield Match("order", f"o_{contact['id']}")


class RetriesPost(Toy):
    """Repeats an action that is carried out each time."""

    def erase(self, api: Api, match: Match) -> Outcome:
        api.post("/v1/contacts/{id}/purge", id=match.id, retry=True)
        return Erased()


class RepeatsPost(Toy):
    """Says that repeating is harmless, and it is not."""

    def erase(self, api: Api, match: Match) -> Outcome:
        api.post("/v1/contacts/{id}/purge", id=match.id)
        return Erased()


class LogsTheAddress(Toy):
    """Speaks of people."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        logging.getLogger("toy.debug").debug("looking for %s", subject.email if subject.has(Email) else subject.user_id)
        return super().find(api, subject)


class SaysTheAddress(Toy):
    """Speaks of people in an error."""

    def erase(self, api: Api, match: Match) -> Outcome:
        try:
            return super().erase(api, match)
        except TransientError:
            email = api.get("/v1/contacts/{id}", id=match.id).object()["email"] if False else "zqcanary.zqbird@example.net"
            raise TransientError(f"could not erase {email}") from None


class CallsNobody(Toy):
    """Erased, on paper."""

    def erase(self, api: Api, match: Match) -> Outcome:
        return Erased()


class CopiesEverybody(Toy):
    """Everybody's orders."""

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        if match.resource == "contact":
            yield from super().export(api, match)
        else:
            for order in api.pages("/v1/orders", paging=StartingAfter("data")):
                yield Record("order", order)


class ErasesWhileFinding(Toy):
    """Cannot wait."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        found = list(super().find(api, subject))
        for match in found:
            if match.resource == "contact":
                api.delete("/v1/contacts/{id}", id=match.id)
        yield from found


class ErasesOrders(Toy):
    """Says that orders are kept, and removes one by the way."""

    def erase(self, api: Api, match: Match) -> Outcome:
        api.post("/v1/contacts/{id}/purge", id=f"o_{match.id}")
        return super().erase(api, match)


class DropsACopy(Toy):
    """A copy without what failed."""

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        with suppress(DsrError):
            yield from super().export(api, match)


class CopiesNoOrders(Toy):
    """Declares what it does not hand over."""

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        if match.resource == "contact":
            yield from super().export(api, match)


class RaisesAnything(Toy):
    """Trusts whatever comes."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        who = {"email": subject.email} if subject.has(Email) else {"user_id": subject.user_id}
        for contact in json.loads(api.get("/v1/contacts", {**who, "limit": 500}).text)["data"]:
            yield Match("contact", contact["id"])
            yield Match("order", f"o_{contact['id']}")


class RefusalIsRejection(Toy):
    """Tells the wrong party to act."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        try:
            yield from super().find(api, subject)
        except DsrError as error:
            raise RejectedError(str(error)) from None


class ShowsItsSecret(Toy):
    """A secret like any other setting."""

    class Config(ConnectorConfig):
        token: SecretStr
        client_secret: str = ""


class DoneBeforeItIs(Slow):
    """A job accepted is a job done."""

    def poll(self, api: Api, job: str) -> Outcome:
        api.get("/v1/erasures/{id}", id=job)
        return Erased()


class BatchTooLarge(Slow):
    """More than the vendor takes."""

    batch_size = 9


@dataclass(frozen=True)
class Wrong:
    """A wrong connector, and a check that must catch it."""

    connector: type[Connector]
    check: str
    sandbox: type[Sandbox] = ToySandbox


WRONG = (
    Wrong(ForgetsPageTwo, "test_nothing_is_lost_among_many"),
    Wrong(LosesTheSecond, "test_nothing_is_lost_among_many"),
    Wrong(ReadsRefusalAsNobody, "test_find_under_fault"),
    Wrong(ReadsRefusalAsNobody, "test_wrong_credentials"),
    Wrong(SwallowsEverything, "test_erase_under_fault"),
    Wrong(SwallowsEverything, "test_wrong_credentials"),
    Wrong(ErasesByPrefix, "test_erase_spares_neighbours"),
    Wrong(RetriesPost, "test_lost_answer"),
    Wrong(RepeatsPost, "test_lost_answer"),
    Wrong(RepeatsPost, "test_erase_twice"),
    Wrong(LogsTheAddress, "test_nothing_personal_is_said"),
    Wrong(SaysTheAddress, "test_nothing_personal_is_said"),
    Wrong(CallsNobody, "test_erase"),
    Wrong(CallsNobody, "test_erase_under_fault"),
    Wrong(CopiesEverybody, "test_export_holds_nobody_else"),
    Wrong(ErasesWhileFinding, "test_find_changes_nothing"),
    Wrong(ErasesOrders, "test_retained_is_never_erased"),
    Wrong(DropsACopy, "test_export_under_fault"),
    Wrong(CopiesNoOrders, "test_export"),
    Wrong(RaisesAnything, "test_find_under_fault"),
    Wrong(RefusalIsRejection, "test_find_under_fault"),
    Wrong(ShowsItsSecret, "test_declaration"),
    Wrong(DoneBeforeItIs, "test_jobs", SlowSandbox),
    Wrong(BatchTooLarge, "test_batch", SlowSandbox),
)


def failures(suite: type[ConnectorSuite]) -> dict[str, str]:
    """Run every check by hand; what failed, and the first line of why."""
    out: dict[str, str] = {}
    for name, check in inspect.getmembers(suite, inspect.isfunction):
        if not name.startswith("test_") or name == "test_cassettes":
            continue
        marks = [mark for mark in getattr(check, "pytestmark", []) if mark.name == "parametrize"]
        for value in marks[0].args[1] if marks else [None]:
            try:
                check(suite(), *([value] if marks else []))
            except pytest.skip.Exception:
                continue
            except (AssertionError, DsrError, pytest.fail.Exception) as error:
                out.setdefault(name, f"{value or ''} {error}")
    return out


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.connector.__name__}-{wrong.check}")
def test_a_wrong_connector_is_caught(wrong: Wrong) -> None:
    """Each wrong connector fails the check that is made for its kind of wrong."""
    suite = type("Suite", (ConnectorSuite,), {"connector": wrong.connector, "sandbox": wrong.sandbox})
    check = getattr(suite, wrong.check)
    marks = [mark for mark in getattr(check, "pytestmark", []) if mark.name == "parametrize"]
    caught = 0
    for value in marks[0].args[1] if marks else [None]:
        try:
            check(suite(), *([value] if marks else []))
        except (AssertionError, pytest.fail.Exception) as error:
            caught += bool(str(error))  # and it says why
    assert caught


def test_the_suite_is_quick() -> None:
    """All checks of one connector take less than ten seconds, so that authors run them all the time."""
    began = time.perf_counter()
    assert failures(type("Suite", (ConnectorSuite,), {"connector": Toy, "sandbox": ToySandbox})) == {}
    assert time.perf_counter() - began < 10


def test_an_author_may_expect_another_reading() -> None:
    """``expected_faults`` replaces a row of the table: a vendor whose 403 means overload."""

    class Overloaded(Toy):
        """403 is overload."""

        def problem(self, reply: Any) -> DsrError | None:
            return TransientError(f"{reply.call} answered 403", retry_after=None) if reply.status == 403 else None

    usual = failures(type("Suite", (ConnectorSuite,), {"connector": Overloaded, "sandbox": ToySandbox}))
    assert set(usual) == {"test_find_under_fault", "test_erase_under_fault", "test_export_under_fault"}
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
    assert "test_unknown_person" in failures(type("Suite", (ConnectorSuite,), {"connector": Strict, **base}))


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
