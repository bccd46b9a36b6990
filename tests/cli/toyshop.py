"""A toy vendor for the command line's tests: its connector and its sandbox, installed as a distribution by ``conftest.py``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx
from pydantic import Field, SecretStr

from dsr_sdk import (
    Category,
    Connector,
    ConnectorConfig,
    Email,
    Erased,
    Holds,
    Match,
    OptedOut,
    Outcome,
    Reason,
    Record,
    Retained,
    Subject,
    Unsupported,
    VendorId,
)
from dsr_sdk.http import Api, BearerAuth, RateLimit, StartingAfter
from dsr_sdk.testing import Answer, Call, Person, Sandbox, route


class ToyShop(Connector):
    """A shop: contacts are erased, invoices are kept."""

    slug, title, category = "toyshop", "Toy Shop", Category.COMMERCE
    identified_by = (Email, VendorId)
    holds = (
        Holds("contact", data=("user.contact.email",)),
        Holds(
            "invoice",
            data=("user.behavior.purchase_history",),
            on_erase=Retained,
            reason=Reason.LEGAL_OBLIGATION,
            text="Invoices are kept for ten years.",
        ),
    )
    limits = (RateLimit(1000, per=1),)
    base_url = "https://api.toyshop.example/v1"
    docs = "https://toyshop.example/docs"
    exempt: ClassVar[dict[str, str]] = {"erase_twice": "the shop bills each deletion"}

    class Config(ConnectorConfig):
        """Settings."""

        token: SecretStr = Field(description="an API token")
        shop: str = Field("main", description="which shop")
        pages: int = Field(5, description="a number")

    def auth(self) -> httpx.Auth:
        return BearerAuth(self.config.token)

    def check(self, api: Api) -> str:
        api.get("/contacts", {"email": "nobody@example.com"})
        return "contacts can be read"

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        wanted = {"email": subject.email} if subject.has(Email) else {"id": subject.first(VendorId).value}
        for row in api.pages("/contacts", wanted, paging=StartingAfter("data")):
            yield Match("contact", row["id"])
            if row["invoices"]:
                yield Match("invoice", row["id"], count=row["invoices"])

    def erase(self, api: Api, match: Match) -> Outcome:
        api.delete("/contacts/{id}", id=match.id)
        return Erased()

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        yield Record(match.resource, api.get("/contacts/{id}", id=match.id).object())

    def opt_out(self, api: Api, match: Match) -> Outcome:
        api.put("/contacts/{id}/opt-out", id=match.id)
        return OptedOut()

    email = Unsupported("the shop has an API")


class ToyShopSandbox(Sandbox):
    """The shop's API. ``extra["toyshop"]``: how many ``contacts`` and ``invoices``."""

    slug, title = "toyshop", "Toy Shop"
    credentials: ClassVar[dict[str, str]] = {"token": "made-up-token", "shop": "sandbox"}

    def __init__(self) -> None:
        super().__init__()
        self.contacts: dict[str, dict[str, Any]] = {}
        self.slow = 0.0

    def add_person(self, person: Person) -> None:
        wishes = person.for_vendor(self.slug)
        for _ in range(int(wishes.get("contacts", 1))):
            key = f"c{len(self.contacts) + 1}"
            self.contacts[key] = {"id": key, "email": person.email, "invoices": int(wishes.get("invoices", 0))}

    def holds(self, email: str) -> bool:
        return any(row["email"] == email for row in self.contacts.values())

    def authorised(self, call: Call) -> bool:
        return call.headers.get("authorization") == f"Bearer {self.credentials['token']}"

    @route("GET", "/v1/contacts")
    def search(self, call: Call) -> Any:
        """Contacts by address or id."""
        wanted = {key: value for key, value in call.params.items() if key in ("email", "id")}
        found = [row for row in self.contacts.values() if all(row[key] == value for key, value in wanted.items())]
        return {"data": found, "has_more": False}

    @route("GET", "/v1/contacts/{id}")
    def read(self, call: Call) -> Any:
        """One contact."""
        return self.contacts.get(call.ids["id"]) or self.no_route(call)

    @route("DELETE", "/v1/contacts/{id}")
    def delete(self, call: Call) -> Answer:
        """Erase one."""
        time.sleep(self.slow)
        if self.contacts.pop(call.ids["id"], None) is None:
            return self.no_route(call)
        self.effect(f"erase {call.ids['id']}")
        return Answer.empty()

    @route("PUT", "/v1/contacts/{id}/opt-out")
    def opt_out(self, call: Call) -> Any:
        """Opt one out."""
        self.effect(f"opt out {call.ids['id']}")
        return {"ok": True}
