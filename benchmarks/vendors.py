"""Connectors for the benchmark target: one plain, one that takes batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from dsr_sdk import Category, Connector, ControllerId, Email, Erased, Holds, Match, Outcome, Pending, Record, Subject, Unsupported
from dsr_sdk.http import Api, Cursor, RateLimit


class Plain(Connector):
    """Five calls a person: a search, three pages, a delete."""

    slug, title, category = "bench", "Bench", Category.CRM
    identified_by = (Email,)
    holds = (Holds("customer", data=("user.contact.email",)), Holds("item", data=("user.behavior",), erased_with="customer"))
    base_url = "https://bench.example"
    lag = timedelta(days=1)  # verification is another five calls: not part of what is compared

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        for customer in api.get("/search", {"email": subject.email}).object()["data"]:
            items = sum(1 for _ in api.pages("/customers/{id}/items", paging=Cursor("items", "next", "page"), id=customer["id"]))
            yield Match("customer", customer["id"], count=1 + items)

    def erase(self, api: Api, match: Match) -> Outcome:
        api.delete("/customers/{id}", id=match.id)
        return Erased()

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        yield Record("customer", {"id": match.id})
        for item in api.pages("/records/{id}", paging=Cursor("items", "next", "page"), id=match.id):
            yield Record("item", item)

    opt_out = Unsupported("sells nothing")
    email = Unsupported("has an API")


class Limited(Plain):
    """The same behind a declared limit of 100 calls a second."""

    slug = "limited"
    limits = (RateLimit(100, per=1),)


class Batch(Connector):
    """A hundred people a call; the id is all there is, so finding needs no call."""

    slug, title, category = "batch", "Batch", Category.ANALYTICS
    identified_by = (ControllerId,)
    holds = (Holds("user", data=("user.unique_id",)),)
    base_url = "https://bench.example"
    batch_size = 100
    lag = timedelta(days=1)

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        yield Match("user", subject.user_id)

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome]:
        job = api.post("/deletions", {"ids": [match.id for match in matches]}).object()["job"]
        return [Pending(job, timedelta(seconds=1))] * len(matches)

    def poll(self, api: Api, job: str) -> Outcome:
        return Erased() if api.get("/deletions/{job}", job=job).object()["status"] == "done" else Pending(job)

    export = Unsupported("not measured")
    opt_out = Unsupported("sells nothing")
    email = Unsupported("has an API")


class Ids(Connector):
    """One call a person: the id is all there is, so finding needs none."""

    slug, title, category = "ids", "Ids", Category.CRM
    identified_by = (ControllerId,)
    holds = (Holds("customer", data=("user.unique_id",)),)
    base_url = "https://bench.example"
    lag = timedelta(days=1)

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        yield Match("customer", subject.user_id)

    def erase(self, api: Api, match: Match) -> Outcome:
        api.delete("/customers/{id}", id=match.id)
        return Erased()

    export = Unsupported("not measured")
    opt_out = Unsupported("sells nothing")
    email = Unsupported("has an API")
