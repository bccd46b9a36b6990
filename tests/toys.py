"""A made-up vendor with every way of erasing that real ones have, and connectors for it. The engine's and the host's tests run on these."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
from pydantic import SecretStr

from dsr_sdk import (
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
    Process,
    Reason,
    Record,
    RequestType,
    Retained,
    Scope,
    Subject,
    Unsupported,
)
from dsr_sdk.http import Api, BearerAuth, StartingAfter
from dsr_sdk.mail import Letter, Letterhead, deletion_letter
from dsr_sdk.testing import Answer, Call, Person, Sandbox, route

if TYPE_CHECKING:
    from dsr_sdk.http import RateLimit

__all__ = [
    "Acting",
    "Batched",
    "Exploding",
    "ExplodingLetters",
    "Jobs",
    "Keyed",
    "Letters",
    "Manually",
    "Revealing",
    "SharedJob",
    "Toy",
    "ToyVendor",
]

TOKEN = "toy-secret-4f1c9a"
"""What the vendor lets in; a canary at the same time."""


class ToyVendor(Sandbox):
    """Contacts with tickets; erased one at a time, in batches, or by a job that takes its time."""

    slug, title = "toy", "Toy"

    def __init__(self, *, prefix: str = "c") -> None:
        super().__init__()
        self.prefix = prefix
        self.contacts: dict[str, Person] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.poisoned: set[str] = set()
        self.batches: list[int] = []
        self.token: str | None = None
        self.jobs_finish = True
        self.jobs_fail = False
        self.clash = False
        self._numbers = itertools.count(1)

    def add_person(self, person: Person) -> None:
        self.contacts[f"{self.prefix}{next(self._numbers)}"] = person

    def holds(self, email: str) -> bool:
        return any(person.email == email for person in self.contacts.values())

    def authorised(self, call: Call) -> bool:
        return self.token is None or call.headers.get("authorization") == f"Bearer {self.token}"

    @route("GET", "/v1/contacts")
    def search(self, call: Call) -> Answer:
        params = call.params
        found = [
            {"id": id_, "email": person.email, "user_id": person.user_id}
            for id_, person in self.contacts.items()
            if ("email" in params and person.email == params["email"]) or ("user_id" in params and person.user_id == params["user_id"])
        ]
        return Answer.json({"data": found, "has_more": False})

    @route("POST", "/v1/contacts/search")
    def search_many(self, call: Call) -> Answer:
        emails = call.json()["emails"]
        found = [[id_ for id_, person in self.contacts.items() if person.email == email] for email in emails]
        return Answer.json({"data": found})

    @route("DELETE", "/v1/contacts/{id}")
    def delete(self, call: Call) -> Answer:
        id_ = call.ids["id"]
        if id_ in self.poisoned:
            return Answer.json({"error": {"code": "locked"}}, 422)
        if id_ not in self.contacts:
            return self.no_route(call)
        del self.contacts[id_]
        self.effect(f"erase {id_}")
        return Answer.empty()

    @route("POST", "/v1/contacts/delete")
    def delete_many(self, call: Call) -> Answer:
        ids = call.json()["ids"]
        if self.poisoned & set(ids):
            return Answer.json({"error": {"code": "invalid_batch"}}, 422)
        self.batches.append(len(ids))
        for id_ in ids:
            self.contacts.pop(id_, None)
            self.effect(f"erase {id_}")
        return Answer.json({"ok": True})

    @route("POST", "/v1/contacts/{id}/opt-out")
    def refuse_sale(self, call: Call) -> Answer:
        self.effect(f"opt out {call.ids['id']}")
        return Answer.json({"ok": True})

    @route("GET", "/v1/contacts/{id}/tickets")
    def tickets(self, call: Call) -> Answer:
        person = self.contacts.get(call.ids["id"])
        if person is None:
            return self.no_route(call)
        return Answer.json({"data": [{"id": f"t-{call.ids['id']}-{n}", "from": person.email} for n in range(3)], "has_more": False})

    @route("POST", "/v1/jobs")
    def start(self, call: Call) -> Answer:
        ids = call.json()["ids"]
        number = f"job{next(self._numbers)}"
        self.jobs[number] = {"id": number, "ids": ids, "status": "running"}
        for id_ in ids:
            self.effect(f"job {id_}")
        return Answer.json(self.jobs[number], 202)

    @route("GET", "/v1/jobs")
    def jobs_of(self, call: Call) -> Answer:
        return Answer.json({"data": [job for job in self.jobs.values() if call.params["contact"] in job["ids"]]})

    @route("GET", "/v1/jobs/{id}")
    def job(self, call: Call) -> Answer:
        job = self.jobs[call.ids["id"]]
        if self.jobs_fail:
            return Answer.json({**job, "status": "failed"})
        if self.jobs_finish and job["status"] == "running":
            job["status"] = "done"
            for id_ in job["ids"]:
                self.contacts.pop(id_, None)
        return Answer.json(job)

    def fail_jobs(self) -> None:
        """Every job fails, as the vendor sees it."""
        for job in self.jobs.values():
            job["status"] = "failed"


class _Contacts(Connector, abstract=True):
    """What the connectors below share: a contact is found by e-mail address."""

    category = Category.CRM
    identified_by: ClassVar[tuple[type[Identity], ...]] = (Email,)
    holds = (
        Holds("contact", data=("user.contact.email",)),
        Holds("ticket", data=("user.content",), scope=Scope.APP_DATA),
        Holds("invoice", data=("user.payment",), on_erase=Retained, reason=Reason.LEGAL_OBLIGATION, text="tax law, ten years"),
    )
    base_url = "https://api.toy.example"

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        for row in api.pages("/v1/contacts", {"email": subject.email}, paging=StartingAfter("data")):
            yield Match("contact", row["id"])

    export: Any = Unsupported("not part of this test")
    opt_out: Any = Unsupported("not part of this test")
    email = Unsupported("not part of this test")


class Toy(_Contacts):
    """One call a contact."""

    slug, title = "toy", "Toy"

    class Config(ConnectorConfig):
        token: SecretStr = SecretStr("unset")

    def auth(self) -> httpx.Auth:
        return BearerAuth(self.config.token)

    def erase(self, api: Api, match: Match) -> Outcome:
        api.delete("/v1/contacts/{id}", id=match.id)
        return Erased()

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        for row in api.pages("/v1/contacts/{id}/tickets", paging=StartingAfter("data"), id=match.id):
            yield Record("ticket", row)

    def opt_out(self, api: Api, match: Match) -> Outcome:
        api.post("/v1/contacts/{id}/opt-out", id=match.id)
        return OptedOut()

    def check(self, api: Api) -> str:
        return str(api.get("/v1/contacts", {"email": "nobody@example.com"}).status)


class Batched(_Contacts):
    """A hundred contacts a call, searched and erased."""

    slug, title = "batched", "Batched"
    batch_size = 100
    find_batch_size = 100

    def find_many(self, api: Api, subjects: Sequence[Subject]) -> Sequence[Sequence[Match]]:
        found = api.post("/v1/contacts/search", {"emails": [subject.email for subject in subjects]}, retry=True).json()["data"]
        return [[Match("contact", id_) for id_ in ids] for ids in found]

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        api.post("/v1/contacts/delete", {"ids": [match.id for match in matches]})
        return [Erased() for _ in matches]


class Jobs(_Contacts):
    """A job a contact; starting one twice would be wrong, so it is looked up."""

    slug, title = "jobs", "Jobs"
    repeatable = False

    def erase(self, api: Api, match: Match) -> Outcome:
        return _state(api.post("/v1/jobs", {"ids": [match.id]}).json())

    def recover(self, api: Api, match: Match) -> Outcome | None:
        jobs = api.get("/v1/jobs", {"contact": match.id}).json()["data"]
        return _state(jobs[-1]) if jobs else None

    def poll(self, api: Api, job: str) -> Outcome:
        return _state(api.get("/v1/jobs/{id}", id=job).json())


class SharedJob(_Contacts):
    """One job for a whole batch of contacts."""

    slug, title = "shared_job", "Shared job"
    batch_size = 100

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        job = api.post("/v1/jobs", {"ids": [match.id for match in matches]}).json()
        return [_state(job) for _ in matches]

    def poll(self, api: Api, job: str) -> Outcome:
        return _state(api.get("/v1/jobs/{id}", id=job).json())


def _state(job: dict[str, Any]) -> Outcome:
    if job["status"] == "running":
        return Pending(job["id"], timedelta(milliseconds=1))
    return Erased() if job["status"] == "done" else Failed("the vendor's job failed", code="job_failed")


class Revealing(_Contacts):
    """Tells the controller's own id of the person, which opens other sources; holds an invoice and a ticket, too."""

    slug, title = "revealing", "Revealing"

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        for row in api.pages("/v1/contacts", {"email": subject.email}, paging=StartingAfter("data")):
            known = (ControllerId(value=row["user_id"]),) if row["user_id"] else ()
            yield Match("contact", row["id"], identities=known)
            yield Match("invoice", f"i-{row['id']}", count=4)
            yield Match("ticket", f"t-{row['id']}", count=2)

    def erase(self, api: Api, match: Match) -> Outcome:
        if match.resource == "ticket":
            return Erased()
        api.delete("/v1/contacts/{id}", id=match.id)
        return Erased()


class Keyed(_Contacts):
    """Knows people by the controller's id only."""

    slug, title = "keyed", "Keyed"
    identified_by = (ControllerId,)

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        for row in api.pages("/v1/contacts", {"user_id": subject.user_id}, paging=StartingAfter("data")):
            yield Match("contact", row["id"])

    def erase(self, api: Api, match: Match) -> Outcome:
        api.delete("/v1/contacts/{id}", id=match.id)
        return Erased()


class Acting(_Contacts):
    """Does what the test says: the functions in `script` answer in the verbs' place."""

    slug, title = "acting", "Acting"
    script: ClassVar[dict[str, Any]] = {}

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        answer = self.script.get("find")
        if answer is None:
            return super().find(api, subject)
        return answer(api, subject)  # type: ignore[no-any-return]  # what a test's script answers is the point

    def erase(self, api: Api, match: Match) -> Outcome:
        return self.script["erase"](api, match)  # type: ignore[no-any-return]  # likewise

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        return self.script["export"](api, match)  # type: ignore[no-any-return]  # likewise

    def opt_out(self, api: Api, match: Match) -> Outcome:
        return self.script["opt_out"](api, match)  # type: ignore[no-any-return]  # likewise

    def poll(self, api: Api, job: str) -> Outcome:
        return self.script["poll"](api, job)  # type: ignore[no-any-return]  # likewise


class Letters(Connector):
    """A vendor without an API."""

    slug, title, category = "letters", "Letters", Category.CUSTOM
    process = Process.EMAIL
    identified_by = (Email,)
    evidence = ()

    class Config(ConnectorConfig):
        vendor: str = "Paper Ltd"
        to: str = "privacy@paper.example"

    def email(self, subject: Subject, type: RequestType, letterhead: Letterhead) -> Letter:
        return deletion_letter(subject, type, letterhead, to=self.config.to, vendor=self.config.vendor, source=self.name)

    erase = Unsupported("asked by e-mail")
    export = Unsupported("asked by e-mail")
    opt_out = Unsupported("asked by e-mail")


class Manually(Connector):
    """A filing cabinet."""

    slug, title, category = "manually", "Manually", Category.CUSTOM
    process = Process.MANUAL
    evidence = ()

    class Config(ConnectorConfig):
        instructions: str = "look into the cabinet"

    erase = Unsupported("by hand")
    export = Unsupported("by hand")
    opt_out = Unsupported("by hand")
    email = Unsupported("by hand")


class Exploding(_Contacts):
    """Any call to it is a mistake. `touched` tells which."""

    slug, title = "exploding", "Exploding"
    touched: ClassVar[list[str]] = []

    def _boom(self, verb: str) -> Any:
        self.touched.append(verb)
        raise AssertionError(f"{verb} was called")

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        self._boom("find")
        yield Match("contact", "never")

    def erase(self, api: Api, match: Match) -> Outcome:
        return self._boom("erase")  # type: ignore[no-any-return]  # it never returns

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        self._boom("export")
        yield Record("contact", {})

    def opt_out(self, api: Api, match: Match) -> Outcome:
        return self._boom("opt_out")  # type: ignore[no-any-return]  # it never returns


class ExplodingLetters(Letters):
    """A letter from it is a mistake."""

    slug, title = "exploding_letters", "Exploding letters"

    def email(self, subject: Subject, type: RequestType, letterhead: Letterhead) -> Letter:
        Exploding.touched.append("email")
        raise AssertionError("email was called")


def dumped(value: Any) -> str:
    """A value as JSON text, for looking for what must not be in it."""
    return json.dumps(value, default=str, ensure_ascii=False)


def limited(connector: type[Connector], *limits: RateLimit) -> type[Connector]:
    """The connector with rate limits."""
    return type(connector.__name__, (connector,), {"__doc__": connector.__doc__, "limits": limits})
