"""Connectors and sandboxes that are wrong on purpose, each in one way."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr

from dsr_sdk import (
    Absent,
    ConnectorConfig,
    DsrError,
    Email,
    Erased,
    Evidence,
    Failed,
    Holds,
    Match,
    NotFoundError,
    OptedOut,
    Outcome,
    Pending,
    Phone,
    Record,
    RejectedError,
    Subject,
    TransientError,
    Unsupported,
    VendorId,
)
from dsr_sdk.http import Api, RateLimit
from dsr_sdk.testing import Answer, Call, Sandbox, route
from tests.testing.toys import PAGES, Bulk, BulkSandbox, Full, FullSandbox, Slow, SlowSandbox, Toy, ToySandbox, meaning

# --- declaration -------------------------------------------------------------------------------------------------------------------


class NamedOtherwise(ToySandbox):
    """A sandbox of another slug."""

    slug = "toyy"


class ExemptFromNothing(Toy):
    """A typo in an exemption."""

    exempt = {"erase_twise": "it cannot"}  # noqa: RUF012 - as an author writes it


class CarriesAHook(Toy):
    """A hook of its own making, put there after the class was accepted."""


CarriesAHook.dsr_fnd = lambda self, api: None  # type: ignore[attr-defined]  # that is the point


class ShowsItsSecret(Toy):
    """A secret like any other setting."""

    class Config(ConnectorConfig):
        token: SecretStr
        client_secret: str = ""


class TellsAnotherHost(Toy):
    """Tells somebody else about each search."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        with suppress(DsrError):
            api._http.exchange("GET", "https://tracker.example/v1/ping", call="GET /v1/ping")
        yield from super().find(api, subject)


class IgnoresTheBaseUrl(Toy):
    """Knows better where the vendor is."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        api._http.exchange("GET", "https://api.toy.example/v1/ping", call="GET /v1/ping")
        yield from super().find(api, subject)


class HoldsOnPaper(Toy):
    """A resource that nobody ever finds."""

    holds = (*Toy.holds, Holds("ghost", data=("user.contact.email",), exported=False, excuse="there is none"))


class ChecksNothing(Toy):
    """All is well, always."""

    def check(self, api: Api) -> str:
        return "fine"


class ReadsRefusalAsNobody(Toy):
    """401 while finding is no data."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        try:
            yield from super().find(api, subject)
        except DsrError as error:
            if "401" not in str(error):
                raise


# --- finding -----------------------------------------------------------------------------------------------------------------------


class ErasesWhileFinding(Toy):
    """Cannot wait."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        found = list(super().find(api, subject))
        for match in found:
            if match.resource == "contact":
                api.delete("/v1/contacts/{id}", id=match.id)
        yield from found


class FindsSomebody(Toy):
    """Nobody there is somebody, too."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        yield from list(super().find(api, subject)) or [Match("contact", "c_0")]


class AnswersInItsOwnOrder(Toy):
    """As the vendor answers, so it hands on."""

    def find_many(self, api: Api, subjects: Sequence[Subject]) -> Sequence[Sequence[Match]]:
        return [*[list(self.find(api, subject)) for subject in reversed(subjects)][1:], []]


class SeeksTooMany(Full):
    """More than the vendor's search takes."""

    find_batch_size = 50


class ClaimsPhones(Toy):
    """Says that it finds by telephone number."""

    identified_by = (Email, Phone)

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        if subject.has(Email):
            yield from super().find(api, subject)
        else:
            api.get("/v1/ping")


class RevealsTheFirst(Full):
    """The id of whoever stands first."""

    def _matches(self, api: Api, key: str) -> Iterator[Match]:
        for match in super()._matches(api, key):
            yield Match(match.resource, match.id, identities=(VendorId(vendor=self.slug, value="c_0"),))


class RevealsNeighbours(Toy):
    """Everybody's address on the page."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        everybody = tuple(Email(value=row["buyer"]) for row in api.pages("/v1/orders", paging=PAGES))
        for match in super().find(api, subject):
            yield Match(match.resource, match.id, identities=everybody)


class ExactSandbox(ToySandbox):
    """Compares addresses letter by letter."""

    @route("GET", "/v1/contacts")
    def list_contacts(self, call: Call) -> Any:
        """One page."""
        user, email = call.params.get("user_id"), call.params.get("email")
        rows = [{"id": key} for key, one in self.contacts.items() if one.email == email or (user and one.user_id == user)]
        return {"data": rows, "has_more": False}


class AsksAsGiven(Toy):
    """As the person wrote it."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        who = {"email": subject.first(Email).given} if subject.has(Email) else {"user_id": subject.user_id}
        for contact in api.pages("/v1/contacts", who, paging=PAGES):
            yield Match("contact", contact["id"])
            yield Match("order", f"o_{contact['id']}")


class BuildsUrlsByHand(Toy):
    """Who needs quoting."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        who = f"email={subject.email}" if subject.has(Email) else f"user_id={subject.user_id}"
        for contact in api.get(f"/v1/contacts?{who}&limit=500").object()["data"]:
            yield Match("contact", contact["id"])
            yield Match("order", f"o_{contact['id']}")


class UnfilteredSandbox(ToySandbox):
    """Knows no filter: everybody, in pages."""

    @route("GET", "/v1/contacts")
    def list_contacts(self, call: Call) -> Any:
        """Everybody."""
        rows = [{"id": key, "email": one.email, "user_id": one.user_id} for key, one in self.contacts.items()]
        start = next((i + 1 for i, row in enumerate(rows) if row["id"] == call.params.get("starting_after")), 0)
        return {"data": rows[start : start + 100], "has_more": len(rows) > start + 100}


class LooksAtPageOne(Toy):
    """Filters by itself, on the first page."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        wanted = subject.email if subject.has(Email) else subject.user_id
        for contact in api.get("/v1/contacts", {"limit": 100}).object()["data"]:
            if wanted in (contact["email"].lower(), contact["user_id"]):
                yield Match("contact", contact["id"])
                yield Match("order", f"o_{contact['id']}")


class LosesTheSecond(Toy):
    """Takes the first contact for the only one."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        yield from list(super().find(api, subject))[:2]


class ForgetsPageTwo(Toy):
    """Reads one page and takes it for all."""

    export = Unsupported("nobody asks for a copy")  # type: ignore[assignment]  # else its copy would tell first

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        who = {"email": subject.email} if subject.has(Email) else {"user_id": subject.user_id}
        for contact in api.get("/v1/contacts", {**who, "limit": 100}).object()["data"]:
            yield Match("contact", contact["id"])
            yield Match("order", f"o_{contact['id']}")


# --- erasing -----------------------------------------------------------------------------------------------------------------------


class CallsNobody(Toy):
    """Erased, on paper."""

    def erase(self, api: Api, match: Match) -> Outcome:
        return Erased()


class GhostSandbox(ToySandbox):
    """Lists whom it has deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.ghosts: dict[str, Any] = {}

    @route("GET", "/v1/contacts")
    def list_contacts(self, call: Call) -> Any:
        """The living and the dead."""
        living = self.contacts
        try:
            self.contacts = {**self.ghosts, **living}
            return super().list_contacts(call)
        finally:
            self.contacts = living

    @route("DELETE", "/v1/contacts/{id}")
    def delete_contact(self, call: Call) -> Any:
        """Gone, but for the list."""
        if call.ids["id"] in self.contacts:
            self.ghosts[call.ids["id"]] = self.contacts[call.ids["id"]]
        return super().delete_contact(call)


class TakesTheFirstAlong(Toy):
    """Deletes one too many."""

    def erase(self, api: Api, match: Match) -> Outcome:
        api.delete("/v1/contacts/{id}", id="c_0", absent_ok=True)
        return super().erase(api, match)


class ErasesByPrefix(Toy):
    """Takes everybody whose address begins alike."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        who = {"prefix": subject.email} if subject.has(Email) else {"user_id": subject.user_id}
        for contact in api.pages("/v1/contacts", who, paging=PAGES):
            yield Match("contact", contact["id"])
            yield Match("order", f"o_{contact['id']}")


class RepeatsPost(Toy):
    """Says that repeating is harmless, and it is not."""

    def erase(self, api: Api, match: Match) -> Outcome:
        api.post("/v1/contacts/{id}/purge", id=match.id)
        return Erased()


class RetriesPost(Toy):
    """Repeats an action that is carried out each time."""

    def erase(self, api: Api, match: Match) -> Outcome:
        api.post("/v1/contacts/{id}/purge", id=match.id, retry=True)
        return Erased()


class MissingIsRefusal(Toy):
    """What is gone already is an error."""

    def erase(self, api: Api, match: Match) -> Outcome:
        if api.delete("/v1/contacts/{id}", id=match.id, absent_ok=True).absent:
            raise RejectedError("the contact is not there")
        return Erased()


class MissingIsErased(Toy):
    """What is gone already was us."""

    def erase(self, api: Api, match: Match) -> Outcome:
        api.delete("/v1/contacts/{id}", id=match.id, absent_ok=True)
        return Erased()


class RemembersNothing(Full):
    """Nothing was begun, whatever was."""

    def recover(self, api: Api, match: Match) -> Outcome | None:
        return None


class DeclaresOrdersErased(Toy):
    """Says that orders go along with their contact, and nobody takes them."""

    holds = (Toy.holds[0], Holds("order", data=("user.payment",), erased_with="contact"))


class ErasesOrders(Toy):
    """Says that orders are kept, and removes one by the way."""

    def erase(self, api: Api, match: Match) -> Outcome:
        api.post("/v1/contacts/{id}/purge", id=f"o_{match.id}")
        return super().erase(api, match)


class TakesTheAccountAlong(Full):
    """App data or account: all the same."""

    def _outcome_of(self, api: Api, match: Match, begun: Any) -> Outcome | DsrError:
        if match.resource == "visit":
            api.delete("/v1/contacts/{id}", id=match.id, absent_ok=True)
        return super()._outcome_of(api, match, begun)


# --- batches and jobs --------------------------------------------------------------------------------------------------------------


class BatchTooLarge(Slow):
    """More than the vendor takes."""

    batch_size = 9


class StrictSandbox(SlowSandbox):
    """One unknown id spoils the batch."""

    @route("POST", "/v1/erasures")
    def begin(self, call: Call) -> Any:
        """All or nothing."""
        if not all(key in self.contacts for key in call.json()["ids"]):
            return Answer.json({"code": "unknown_id"}, 422)
        return super().begin(call)


class SendsTheFirstBatch(Slow):
    """One job for everybody who ever comes."""

    job = ""

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        self.job = self.job or api.post("/v1/erasures", {"ids": [match.id for match in matches]}).object()["job"]
        return [Pending(self.job, timedelta(days=1))] * len(matches)


class DoneBeforeItIs(Slow):
    """A job accepted is a job done."""

    def poll(self, api: Api, job: str) -> Outcome:
        api.get("/v1/erasures/{id}", id=job)
        return Erased()


class WaitsForAnotherWord(Slow):
    """Knows "finished", not "done"."""

    def poll(self, api: Api, job: str) -> Outcome:
        state = api.get("/v1/erasures/{id}", id=job).object()["state"]
        return Erased() if state == "finished" else Pending(job, timedelta(days=1))


class FailedIsRunning(Slow):
    """Only done is done, and everything else goes on."""

    def poll(self, api: Api, job: str) -> Outcome:
        state = api.get("/v1/erasures/{id}", id=job).object()["state"]
        return Erased() if state == "done" else Pending(job, timedelta(days=1))


class FailedIsDone(Slow):
    """What does not run any more is done."""

    def poll(self, api: Api, job: str) -> Outcome:
        state = api.get("/v1/erasures/{id}", id=job).object()["state"]
        return Pending(job, timedelta(days=1)) if state == "running" else Erased()


class GivesUpPolitely(Slow):
    """After the tenth time it must be done."""

    def __init__(self, config: ConnectorConfig | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self._asked = itertools.count(1)

    def poll(self, api: Api, job: str) -> Any:
        return Erased() if next(self._asked) > 10 else super().poll(api, job)


class AsksAtOnceAgain(Slow):
    """No pause between two questions."""

    def poll(self, api: Api, job: str) -> Any:
        outcome = super().poll(api, job)
        return Pending(job, timedelta(0)) if isinstance(outcome, Pending) else outcome


class KeepsJobsToItself(Slow):
    """The job's number is in its head."""

    def __init__(self, config: ConnectorConfig | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self._jobs: list[str] = []

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        self._jobs.append(api.post("/v1/erasures", {"ids": [match.id for match in matches]}).object()["job"])
        return [Pending(str(len(self._jobs) - 1), timedelta(days=1))] * len(matches)

    def poll(self, api: Api, job: str) -> Any:
        outcome = super().poll(api, self._jobs[int(job)])
        return Pending(job, timedelta(days=1)) if isinstance(outcome, Pending) else outcome


class LeavesOutTheFailed(Slow):
    """Of a job that failed there is nothing to say."""

    def poll(self, api: Api, job: str) -> Any:
        answer = super().poll(api, job)
        return {} if isinstance(answer, Failed) else answer


class FirstForAll(Bulk):
    """Everybody's outcome is the first one's."""

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        return [super().erase_many(api, matches)[0]] * len(matches)


class RefusedIsErased(Bulk):
    """The call went through, so all of it did."""

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        return [Erased() if isinstance(outcome, Failed) else outcome for outcome in super().erase_many(api, matches)]


class InTheVendorsOrder(Bulk):
    """As the vendor lists them, so they were asked for."""

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        return [meaning(row["said"]) for row in self._rows(api, matches)]


class AllForOne(Bulk):
    """One was refused: the call has failed, whatever it has done."""

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        outcomes = super().erase_many(api, matches)
        if any(isinstance(outcome, Failed) for outcome in outcomes):
            raise RejectedError("a contact was refused")
        return outcomes


class FailsWithTheOne(Bulk):
    """One was refused, so all were."""

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        outcomes = super().erase_many(api, matches)
        return next(([outcome] * len(matches) for outcome in outcomes if isinstance(outcome, Failed)), outcomes)


class AbsentTogether(Bulk):
    """Only when nobody is there is anybody absent."""

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        outcomes = super().erase_many(api, matches)
        together = all(isinstance(outcome, Absent) for outcome in outcomes)
        return [Erased() if isinstance(outcome, Absent) and not together else outcome for outcome in outcomes]


class SparingSandbox(BulkSandbox):
    """One on hold, and nobody of the call is erased; all rows say so."""

    def row(self, key: str) -> dict[str, str]:
        """The same for all."""
        held = any(one.email in self.on_hold for one in self.contacts.values())
        return {"id": key, "said": "on_hold"} if held else super().row(key)


class WeakSandbox(BulkSandbox):
    """Says that it refuses, and does not."""

    def refuse(self, email: str) -> bool:
        """In vain."""
        return True


class MeekSandbox(BulkSandbox):
    """Nobody has told it how to refuse."""

    refuse = Sandbox.refuse


class FirstOfTheJob(Slow):
    """Waits for the job, and takes the first outcome in it for all."""

    def poll(self, api: Api, job: str) -> Any:
        answer = super().poll(api, job)
        return next(iter(answer.values())) if isinstance(answer, Mapping) else answer


class DoneIsErased(Slow):
    """A job that is done has erased everybody in it."""

    def poll(self, api: Api, job: str) -> Any:
        answer = super().poll(api, job)
        return Erased() if isinstance(answer, Mapping) else answer


class WaitsForTheRefused(Slow):
    """Who is not erased yet will be."""

    def poll(self, api: Api, job: str) -> Any:
        answer = super().poll(api, job)
        waiting = Pending(job, timedelta(days=1))
        return {key: waiting if isinstance(one, Failed) else one for key, one in answer.items()} if isinstance(answer, Mapping) else answer


class LeavesOutTheRefused(Slow):
    """Speaks of those who are erased."""

    def poll(self, api: Api, job: str) -> Any:
        answer = super().poll(api, job)
        return {key: one for key, one in answer.items() if isinstance(one, Erased)} if isinstance(answer, Mapping) else answer


class JobInTheVendorsOrder(Slow):
    """As they were sent, so the job lists them."""

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        job = api.post("/v1/erasures", {"ids": [match.id for match in matches]}).object()["job"]
        return [Pending(f"{job}/{','.join(match.id for match in matches)}", timedelta(days=1))] * len(matches)

    def poll(self, api: Api, job: str) -> Any:
        number, _, ids = job.partition("/")
        answer = super().poll(api, number)
        if isinstance(answer, Pending):
            return Pending(job, timedelta(days=1))
        return dict(zip(ids.split(","), answer.values(), strict=True)) if isinstance(answer, Mapping) else answer


# --- copying and opting out --------------------------------------------------------------------------------------------------------


class CopiesNoOrders(Toy):
    """Declares what it does not hand over."""

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        if match.resource == "contact":
            yield from super().export(api, match)


class CopiesPageOne(Toy):
    """The first hundred orders."""

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        if match.resource == "contact":
            yield from super().export(api, match)
        else:
            answer = api.get("/v1/orders", {"contact": match.id.removeprefix("o_"), "limit": 100}).object()
            yield from (Record("order", order) for order in answer["data"])


class CountsPageOne(Toy):
    """An agent is shown a hundred orders, however many there are."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        for match in super().find(api, subject):
            orders = api.get("/v1/orders", {"contact": match.id.removeprefix("o_"), "limit": 100}).object()["data"]
            yield match if match.resource == "contact" else Match("order", match.id, count=len(orders))


class UntoldSandbox(ToySandbox):
    """Nobody has told it how to tell what is there."""

    records = Sandbox.records


class HalfToldSandbox(ToySandbox):
    """Tells of contacts only."""

    def records(self, email: str) -> Mapping[str, int]:
        """Without the orders."""
        return {"contact": super().records(email)["contact"]}


class ShortSandbox(ToySandbox):
    """No list of its is ever longer than a page."""

    add_records = Sandbox.add_records


class IdleSandbox(ToySandbox):
    """Adds nothing."""

    def add_records(self, email: str, count: int) -> None:
        """In vain."""


class CopiesDates(Toy):
    """A date as an object."""

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        for record in super().export(api, match):
            yield Record(record.resource, {**record.data, "copied_at": datetime.now(UTC)})


class CopiesNumbersAsKeys(Toy):
    """Keys that are no text."""

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        for record in super().export(api, match):
            yield Record(record.resource, {**record.data, "by_year": {2026: 1}})


class CollectsTheCopy(Toy):
    """All at once."""

    def export(self, api: Api, match: Match) -> Any:
        return list(super().export(api, match))


class CopiesAndPurges(Toy):
    """Takes what it copies."""

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        yield from super().export(api, match)
        api.post("/v1/contacts/{id}/purge", id=match.id)


class CopiesEverybody(Toy):
    """Everybody's orders."""

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        if match.resource == "contact":
            yield from super().export(api, match)
        else:
            for order in api.pages("/v1/orders", paging=PAGES):
                yield Record("order", order)


class OptsOutByErasing(Full):
    """Who is gone cannot be sold."""

    def opt_out(self, api: Api, match: Match) -> Outcome:
        api.delete("/v1/contacts/{id}", id=match.id.removeprefix("o_"), absent_ok=True)
        return OptedOut()


class OptsOutOnPaper(Full):
    """Looks the contact up, and that was it."""

    def opt_out(self, api: Api, match: Match) -> Outcome:
        api.get("/v1/contacts/{id}", id=match.id.removeprefix("o_"))
        return OptedOut()


class OptsOutUnasked(Full):
    """Does not even look."""

    def opt_out(self, api: Api, match: Match) -> Outcome:
        return OptedOut()


class OptsOutTheFirst(Full):
    """Whoever stands first."""

    def opt_out(self, api: Api, match: Match) -> Outcome:
        api.post("/v1/contacts/{id}/opt-out", id="c_0")
        return OptedOut()


class OptsOutWhoIsAlike(Full):
    """Everybody whose address begins so."""

    def opt_out(self, api: Api, match: Match) -> Outcome:
        email = api.get("/v1/contacts/{id}", id=match.id.removeprefix("o_")).object()["email"]
        for contact in api.pages("/v1/contacts", {"prefix": email}, paging=PAGES):
            api.post("/v1/contacts/{id}/opt-out", id=contact["id"])
        return OptedOut()


class OptsOutEverybody(Full):
    """The whole account."""

    def opt_out(self, api: Api, match: Match) -> Outcome:
        for contact in api.pages("/v1/contacts", {"prefix": ""}, paging=PAGES):
            api.post("/v1/contacts/{id}/opt-out", id=contact["id"])
        return OptedOut()


class SwitchSandbox(FullSandbox):
    """Whoever opts out once more is in again."""

    @route("POST", "/v1/contacts/{id}/opt-out")
    def opt_out(self, call: Call) -> Any:
        """On, off."""
        self.opted ^= {call.ids["id"]}
        return {"opted_out": call.ids["id"] in self.opted}


class OnceSandbox(FullSandbox):
    """Refuses to do it again."""

    @route("POST", "/v1/contacts/{id}/opt-out")
    def opt_out(self, call: Call) -> Any:
        """A conflict the second time."""
        return Answer.json({"code": "done"}, 422) if call.ids["id"] in self.opted else super().opt_out(call)


class AlwaysOutSandbox(FullSandbox):
    """Tells of everybody that they are out."""

    def opted_out(self, email: str) -> bool:
        """Certainly."""
        return True


class SilentSandbox(FullSandbox):
    """Nobody has told it how to tell."""

    opted_out = Sandbox.opted_out


# --- faults ------------------------------------------------------------------------------------------------------------------------


class ChecksAnyPage(Toy):
    """Whatever comes with 200 is the vendor."""

    def check(self, api: Api) -> str:
        api.get("/v1/ping")
        return "fine"


class RefusalIsRejection(Toy):
    """Tells the wrong party to act."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        try:
            yield from super().find(api, subject)
        except DsrError as error:
            raise RejectedError(str(error)) from None


class RaisesAnything(Toy):
    """Trusts whatever comes."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        who = {"email": subject.email} if subject.has(Email) else {"user_id": subject.user_id}
        for contact in json.loads(api.get("/v1/contacts", {**who, "limit": 500}).text)["data"]:
            yield Match("contact", contact["id"])
            yield Match("order", f"o_{contact['id']}")


class SwallowsEverything(Toy):
    """Whatever happens, it was fine."""

    def erase(self, api: Api, match: Match) -> Outcome:
        with suppress(Exception):
            super().erase(api, match)
        return Erased()


class DropsACopy(Toy):
    """A copy without what failed."""

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        with suppress(DsrError):
            yield from super().export(api, match)


class MissingListIsEmpty(Toy):
    """Where there is no list there is nothing in it."""

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        if match.resource == "contact":
            yield from super().export(api, match)
        else:
            for order in api.pages("/v1/orders", {"contact": match.id.removeprefix("o_")}, paging=PAGES, absent_ok=True):
                yield Record("order", order)


class AbsentForAll(Bulk):
    """A call that is answered with 404 is about people who are not there."""

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        try:
            return super().erase_many(api, matches)
        except NotFoundError:
            return [Absent()] * len(matches)


class ErasedRegardless(Bulk):
    """Asked for is done, for all of them."""

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        with suppress(DsrError):
            return super().erase_many(api, matches)
        return [Erased()] * len(matches)


class UnknownIsDone(Slow):
    """A job that the vendor does not know must have ended."""

    def poll(self, api: Api, job: str) -> Any:
        try:
            return super().poll(api, job)
        except NotFoundError:
            return Erased()


class FaultIsDone(Slow):
    """A job that cannot be asked about is done."""

    def poll(self, api: Api, job: str) -> Any:
        try:
            return super().poll(api, job)
        except DsrError:
            return Erased()


class FaultIsPending(Slow):
    """Wrong credentials are a reason to wait."""

    def poll(self, api: Api, job: str) -> Any:
        try:
            return super().poll(api, job)
        except DsrError:
            return Pending(job, timedelta(days=1))


class OptsOutRegardless(Full):
    """Asked for is done."""

    def opt_out(self, api: Api, match: Match) -> Outcome:
        with suppress(DsrError):
            super().opt_out(api, match)
        return OptedOut()


# --- limits ------------------------------------------------------------------------------------------------------------------------


class KnowsNoLimit(Full):
    """As fast as it goes."""

    limits = ()


class GoesAroundThePacer(Full):
    """Declares a limit and calls past it."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        for _ in range(3):
            api._http.exchange("GET", f"{api._http.base_url}/v1/ping", call="GET /v1/ping")
        yield from super().find(api, subject)


class PatientSandbox(FullSandbox):
    """Refuses nobody, so that only counting shows."""

    windows = ()


class LimitsNothing(Toy):
    """A typo in a path."""

    limits = (RateLimit(5, per=1, on="/v1/contact"),)


class LimitsAnotherMethod(Toy):
    """The path is right."""

    limits = (RateLimit(5, per=1, on="/v1/contacts", method="POST"),)


class KnowsBetterWhen(Toy):
    """429 is a hiccup."""

    def problem(self, reply: Any) -> DsrError | None:
        return TransientError(f"{reply.call} answered 429") if reply.status == 429 else None


# --- privacy -----------------------------------------------------------------------------------------------------------------------


class LogsTheAddress(Toy):
    """Speaks of people."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        logging.getLogger("toy.debug").debug("looking for %s", subject.email if subject.has(Email) else subject.user_id)
        return super().find(api, subject)


class LogsHalfTheToken(Toy):
    """Twelve letters, to tell one key from another."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        logging.getLogger("toy.debug").debug("with the token %s...", self.config.token.get_secret_value()[:12])
        return super().find(api, subject)


class SaysTheAddress(Toy):
    """Speaks of people in an error."""

    def erase(self, api: Api, match: Match) -> Outcome:
        try:
            return super().erase(api, match)
        except TransientError:
            raise TransientError("could not erase zqcanary.zqbird@example.net") from None


class SendsThePersonInAHeader(Toy):
    """For tracing."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        api.get("/v1/ping", headers={"X-About": subject.email if subject.has(Email) else subject.user_id})
        return super().find(api, subject)


class SendsTheTokenInTheQuery(Toy):
    """Twice is safer."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        api.get("/v1/ping", {"token": self.config.token.get_secret_value()})
        return super().find(api, subject)


# --- evidence ----------------------------------------------------------------------------------------------------------------------


class SendsMore(Toy):
    """A parameter that nobody describes."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        who = {"email": subject.email} if subject.has(Email) else {"user_id": subject.user_id}
        for contact in api.pages("/v1/contacts", {**who, "verbose": "1"}, paging=PAGES):
            yield Match("contact", contact["id"])
            yield Match("order", f"o_{contact['id']}")


class CallsLess(Toy):
    """Checks nothing any more: a recorded call is left over."""

    def check(self, api: Api) -> str:
        return "True"


class NumbersSandbox(ToySandbox):
    """Answers with a number where a text is described."""

    @route("GET", "/v1/ping")
    def ping(self, call: Call) -> Any:
        """One."""
        return {"ok": 1}


class ClaimsLive(Toy):
    """A boast."""

    evidence = (Evidence.SANDBOX, Evidence.LIVE)


class ClaimsNothing(Toy):
    """Hides its light."""

    evidence = (Evidence.SANDBOX,)
