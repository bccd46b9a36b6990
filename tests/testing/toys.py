"""Made-up vendors and right connectors for them: a plain one, one with jobs and batches, and one that has everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import SecretStr

from dsr_sdk import (
    Absent,
    Category,
    Connector,
    ConnectorConfig,
    ControllerId,
    DsrError,
    Email,
    Erased,
    Failed,
    Holds,
    Identity,
    Match,
    OptedOut,
    Outcome,
    Pending,
    Reason,
    Record,
    Retained,
    Scope,
    Subject,
    Unsupported,
    VendorId,
)
from dsr_sdk.http import Api, BearerAuth, RateLimit, StartingAfter
from dsr_sdk.testing import Answer, Call, Person, Sandbox, route
from dsr_sdk.testing.suite import ConnectorSuite

PAGES = StartingAfter("data")


class ToySandbox(Sandbox):
    """Contacts with notes, and orders that are kept; pages of 100; searches by query."""

    slug, title = "toy", "Toy"
    credentials: ClassVar[dict[str, str]] = {"token": "toy-sandbox-token"}

    def __init__(self) -> None:
        super().__init__()
        self.contacts: dict[str, Person] = {}
        self.ever: dict[str, Person] = {}
        self.more: dict[str, int] = {}
        self.shredded: set[str] = set()

    def add_person(self, person: Person) -> None:
        """A contact, with an order that outlives it."""
        key = f"c_{len(self.contacts)}"
        self.contacts[key] = self.ever[key] = person

    def holds(self, email: str) -> bool:
        """Whether a contact has the address."""
        return any(person.email == email for person in self.contacts.values())

    def records(self, email: str) -> Mapping[str, int]:
        """What is there, and the orders of contacts that are gone."""
        mine = [key for key, person in self.ever.items() if person.email == email]
        return {"contact": sum(key in self.contacts for key in mine), "order": sum(self.orders_of(key) for key in mine if key not in self.shredded)}

    def add_records(self, email: str, count: int) -> None:
        """More orders of each contact."""
        self.more.update({key: count for key, person in self.contacts.items() if person.email == email})

    def orders_of(self, key: str) -> int:
        """How many a contact has."""
        return 1 + self.more.get(key, 0)

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
        return self.page(call, rows)

    @route("GET", "/v1/contacts/{id}")
    def read_contact(self, call: Call) -> Any:
        """One."""
        person = self.contacts.get(call.ids["id"])
        return {"id": call.ids["id"], "email": person.email, "first_name": person.first_name} if person else self.no_route(call)

    @route("GET", "/v1/orders")
    def orders(self, call: Call) -> Any:
        """The orders of a contact; everybody's, without one."""
        contact = call.params.get("contact")
        data = [
            {"id": f"o_{key}_{number}", "buyer": person.email}
            for key, person in self.contacts.items()
            if contact in (None, key)
            for number in range(self.orders_of(key))
        ]
        return self.page(call, data)

    def page(self, call: Call, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """A hundred at most, ten unless asked."""
        after = call.params.get("starting_after")
        start = next((i + 1 for i, row in enumerate(rows) if row["id"] == after), 0)
        limit = min(100, int(call.params.get("limit", "10")))
        return {"data": rows[start : start + limit], "has_more": len(rows) > start + limit}

    @route("DELETE", "/v1/contacts/{id}")
    def delete_contact(self, call: Call) -> Any:
        """Gone at once."""
        if self.contacts.pop(call.ids["id"], None) is None:
            return self.no_route(call)
        self.effect(f"erase {call.ids['id']}")
        return {"id": call.ids["id"], "deleted": True}

    @route("POST", "/v1/contacts/{id}/purge")
    def purge(self, call: Call) -> Any:
        """The same as an action that is carried out, and counted, each time it is asked for; an order's takes the order."""
        self.contacts.pop(call.ids["id"], None)
        self.shredded.add(call.ids["id"].removeprefix("o_"))
        self.effect(f"purge {call.ids['id']}")
        return Answer.empty(202)


class Toy(Connector):
    """Toy: contacts are erased, orders are kept by law."""

    slug, title, category = "toy", "Toy", Category.CRM
    identified_by: ClassVar[tuple[type[Identity], ...]] = (Email, ControllerId)
    holds: ClassVar[tuple[Holds, ...]] = (
        Holds("contact", data=("user.contact.email",)),
        Holds("order", data=("user.payment",), on_erase=Retained, reason=Reason.LEGAL_OBLIGATION, text="kept for the tax office"),
    )
    base_url = "https://api.toy.example"
    opt_out: Any = Unsupported("Toy sells no data")
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


# --- a vendor that takes its time, in batches ----------------------------------------------------------------------------------------


class SlowSandbox(ToySandbox):
    """Erasures are jobs of three days, up to five contacts each; a contact on hold is kept, which the job tells when it is done."""

    slug = "slow"

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, tuple[float, list[str]]] = {}
        self.failed = False
        self.on_hold: set[str] = set()

    def refuse(self, email: str) -> bool:
        """A legal hold, of which the job tells."""
        self.on_hold.add(email)
        return True

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
        """Running, failed, or done."""
        if call.ids["id"] not in self.jobs:
            return self.no_route(call)
        due, ids = self.jobs[call.ids["id"]]
        if self.failed:
            return {"state": "failed"}
        if self.now() < due:
            return {"state": "running"}
        for key in ids:
            if key in self.contacts and self.contacts[key].email not in self.on_hold:
                del self.contacts[key]
                self.effect(f"erase {key}")
        # In an order of its own: the last contact first.
        return {"state": "done", "contacts": [{"id": key, "kept": key in self.contacts} for key in sorted(ids, reverse=True)]}


class Slow(Toy):
    """Slow: contacts are erased by jobs, orders are kept by law."""

    slug, title = "slow", "Slow"
    batch_size = 5
    erase = None  # type: ignore[assignment]  # erase_many stands in its place

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        job = api.post("/v1/erasures", {"ids": [match.id for match in matches]}).object()["job"]
        return [Pending(job, timedelta(days=1))] * len(matches)

    def poll(self, api: Api, job: str) -> Outcome | Mapping[str, Outcome]:
        found = api.get("/v1/erasures/{id}", id=job).object()
        if found["state"] == "failed":
            return Failed("the vendor could not carry it out", "failed")
        if found["state"] != "done":
            return Pending(job, timedelta(days=1))
        return {row["id"]: Failed("the contact is on hold", "hold") if row["kept"] else Erased() for row in found["contacts"]}


class SlowSuite(ConnectorSuite):
    """How its jobs fail."""

    __test__ = False
    connector = Slow
    sandbox = SlowSandbox

    def fail_jobs(self, sandbox: Sandbox) -> bool:
        """All of them, and the vendor says so."""
        assert isinstance(sandbox, SlowSandbox)
        sandbox.failed = True
        return True


# --- a vendor that takes many at once ------------------------------------------------------------------------------------------------


class BulkSandbox(ToySandbox):
    """Erases up to five contacts in one call, at once, and tells of each, the last contact first."""

    slug = "bulk"

    def __init__(self) -> None:
        super().__init__()
        self.on_hold: set[str] = set()

    def refuse(self, email: str) -> bool:
        """A legal hold, of which the answer tells."""
        self.on_hold.add(email)
        return True

    @route("POST", "/v1/contacts/erase")
    def erase_contacts(self, call: Call) -> Any:
        """A row for each, in an order of its own."""
        ids = call.json()["ids"]
        return Answer.json({"code": "too_many"}, 422) if len(ids) > 5 else {"rows": [self.row(key) for key in sorted(ids, reverse=True)]}

    def row(self, key: str) -> dict[str, str]:
        """What becomes of one of them."""
        if key not in self.contacts:
            return {"id": key, "said": "unknown"}
        if self.contacts[key].email in self.on_hold:
            return {"id": key, "said": "on_hold"}
        del self.contacts[key]
        self.effect(f"erase {key}")
        return {"id": key, "said": "erased"}


class Bulk(Toy):
    """Bulk: contacts are erased five at a time, orders are kept by law."""

    slug, title = "bulk", "Bulk"
    batch_size = 5
    erase = None  # type: ignore[assignment]  # erase_many stands in its place

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        said = {row["id"]: row["said"] for row in self._rows(api, matches)}
        return [meaning(said[match.id]) for match in matches]

    def _rows(self, api: Api, matches: Sequence[Match]) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = api.post("/v1/contacts/erase", {"ids": [match.id for match in matches]}, retry=True).object()["rows"]
        return rows


def meaning(word: str) -> Outcome:
    outcomes: dict[str, Outcome] = {"erased": Erased(), "unknown": Absent()}
    return outcomes.get(word, Failed("the contact is on hold", "hold"))


# --- a vendor with everything ----------------------------------------------------------------------------------------------------------


class FullSandbox(SlowSandbox):
    """Beside jobs: visits that are app data, a search for ten, an opt-out, and rate limits."""

    slug = "full"
    windows: ClassVar[tuple[tuple[int, float, str, str], ...]] = ((50, 1.0, "", ""), (5, 1.0, "/v1/erasures", "POST"))

    def __init__(self) -> None:
        super().__init__()
        self.visits: set[str] = set()
        self.opted: set[str] = set()

    def records(self, email: str) -> Mapping[str, int]:
        """Visits, too."""
        return {**super().records(email), "visit": sum(self.ever[key].email == email for key in self.visits)}

    def add_person(self, person: Person) -> None:
        """A contact with a visit."""
        super().add_person(person)
        self.visits.add(list(self.contacts)[-1])

    def seeking(self) -> int:
        """How many addresses one search takes."""
        return 10

    @route("POST", "/v1/search")
    def search(self, call: Call) -> Any:
        """The contacts of several addresses."""
        emails = call.json()["emails"]
        if len(emails) > self.seeking():
            return Answer.json({"code": "too_many"}, 422)
        return {"found": [{"id": key, "email": one.email.lower()} for key, one in self.contacts.items() if one.email.lower() in emails]}

    @route("GET", "/v1/contacts/{id}/visits")
    def list_visits(self, call: Call) -> Any:
        """One, or none."""
        key = call.ids["id"]
        return {"data": [{"id": f"v_{key}", "contact": key}] if key in self.visits else [], "has_more": False}

    @route("DELETE", "/v1/contacts/{id}/visits")
    def delete_visits(self, call: Call) -> Any:
        """Gone at once."""
        if call.ids["id"] not in self.visits:
            return self.no_route(call)
        self.visits.remove(call.ids["id"])
        self.effect(f"forget {call.ids['id']}")
        return Answer.empty()

    @route("POST", "/v1/contacts/{id}/opt-out")
    def opt_out(self, call: Call) -> Any:
        """As often as asked; it happens once."""
        key = call.ids["id"]
        if key not in self.contacts:
            return self.no_route(call)
        if key not in self.opted:
            self.effect(f"opt out {key}")
        self.opted.add(key)
        return {"opted_out": True}

    def opted_out(self, email: str) -> bool:
        """Whether all contacts with the address are."""
        keys = [key for key, one in self.contacts.items() if one.email == email]
        return bool(keys) and self.opted.issuperset(keys)

    @route("POST", "/v1/erasures")
    def begin(self, call: Call) -> Any:
        """A job, counted for each contact: asking twice costs twice. Whom it does not know it names."""
        known = [key for key in call.json()["ids"] if key in self.contacts]
        for key in known:
            self.effect(f"schedule {key}")
        answer: Answer = super().begin(call)
        if answer.status == 202:
            answer = Answer.json({"job": f"j_{len(self.jobs) - 1}", "unknown": [key for key in call.json()["ids"] if key not in known]}, 202)
        return answer

    @route("GET", "/v1/erasures")
    def list_jobs(self, call: Call) -> Any:
        """The jobs of a contact that is still there."""
        wanted = call.params.get("contact", "")
        jobs = [{"id": job} for job, (_, ids) in self.jobs.items() if wanted in ids and wanted in self.contacts]
        return {"data": jobs, "has_more": False}


class Full(Slow):
    """Full: contacts are erased by jobs, visits at once, orders are kept by law."""

    slug, title = "full", "Full"
    identified_by = (Email, ControllerId, VendorId)
    holds = (*Toy.holds, Holds("visit", data=("user.behavior",), scope=Scope.APP_DATA))
    limits: ClassVar[tuple[RateLimit, ...]] = (RateLimit(50, per=1), RateLimit(5, per=1, on="/v1/erasures", method="POST"))
    find_batch_size = 10
    repeatable = False

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        if subject.has(VendorId):
            reply = api.get("/v1/contacts/{id}", id=subject.first(VendorId).value, absent_ok=True)
            if not reply.absent:
                yield from self._matches(api, reply.object()["id"])
            return
        who = {"email": subject.email} if subject.has(Email) else {"user_id": subject.user_id}
        for contact in api.pages("/v1/contacts", who, paging=PAGES):
            yield from self._matches(api, contact["id"])

    def find_many(self, api: Api, subjects: Sequence[Subject]) -> Sequence[Sequence[Match]]:
        emails = [subject.email for subject in subjects if subject.has(Email)]
        found = api.post("/v1/search", {"emails": emails}, retry=True).object()["found"] if emails else []
        return [
            [match for row in found if row["email"] == subject.email for match in self._matches(api, row["id"])]
            if subject.has(Email)
            else list(self.find(api, subject))
            for subject in subjects
        ]

    def _matches(self, api: Api, key: str) -> Iterator[Match]:
        if list(self._visits(api, key)):
            yield Match("visit", key)
        yield Match("contact", key, identities=(VendorId(vendor=self.slug, value=key),))
        yield Match("order", f"o_{key}")

    def _visits(self, api: Api, key: str) -> Iterator[Any]:
        return api.pages("/v1/contacts/{id}/visits", paging=PAGES, id=key)

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        ids = [match.id for match in matches if match.resource == "contact"]
        begun = api.post("/v1/erasures", {"ids": ids}).object() if ids else {"unknown": []}
        return [self._outcome_of(api, match, begun) for match in matches]

    def _outcome_of(self, api: Api, match: Match, begun: Any) -> Outcome | DsrError:
        if match.resource == "contact":
            return Absent() if match.id in begun["unknown"] else Pending(begun["job"], timedelta(days=1))
        return Absent() if api.delete("/v1/contacts/{id}/visits", id=match.id, absent_ok=True).absent else Erased()

    def recover(self, api: Api, match: Match) -> Outcome | None:
        if match.resource == "visit":
            return None if list(self._visits(api, match.id)) else Erased()
        jobs = list(api.pages("/v1/erasures", {"contact": match.id}, paging=PAGES))
        return Pending(jobs[0]["id"], timedelta(days=1)) if jobs else None

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        if match.resource == "visit":
            yield from (Record("visit", visit) for visit in self._visits(api, match.id))
        else:
            yield from super().export(api, match)

    def opt_out(self, api: Api, match: Match) -> Outcome:
        api.post("/v1/contacts/{id}/opt-out", id=match.id.removeprefix("o_"))
        return OptedOut()


class FullSuite(SlowSuite):
    """Everything."""

    __test__ = False
    connector = Full
    sandbox = FullSandbox
