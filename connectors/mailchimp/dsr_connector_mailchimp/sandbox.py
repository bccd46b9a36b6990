"""A fake Mailchimp: audiences with members in every status, stores with customers, orders and carts, problem documents.

It behaves as Mailchimp's API description, its documentation and the recordings show (the README says which for what); it is not Mailchimp.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import uuid
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from dsr_sdk.testing import Answer, Call, Person, Sandbox, route

__all__ = ["PERMISSIONS", "MailchimpSandbox", "member_id", "permission_id"]

PERMISSIONS = ("Email", "Direct Mail", "Customized Online Advertising")
"""The marketing permissions that Mailchimp suggests, in its words."""

PROBLEM = {"Content-Type": "application/problem+json; charset=utf-8"}


MOMENT = "2026-03-01T10:00:00+00:00"

PARTS: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "activity": lambda number: {"activity_type": "open", "created_at_timestamp": MOMENT, "campaign_title": f"campaign {number}"},
    "events": lambda number: {"occurred_at": MOMENT, "name": f"event_{number}", "properties": {"page": "/"}},
    "notes": lambda number: {"id": number, "created_at": MOMENT, "created_by": "agent", "updated_at": MOMENT, "note": f"note {number}"},
    "tags": lambda number: {"id": number, "name": f"tag {number}", "date_added": MOMENT},
    "goals": lambda number: {"goal_id": number, "event": "visit", "last_visited_at": MOMENT, "data": ""},
}
"""What is kept of a member in lists of their own, and how one item of each looks."""


def member_id(email: str) -> str:
    """A member's id: the MD5 of the address in lower case."""
    return hashlib.md5(email.lower().encode(), usedforsecurity=False).hexdigest()


def permission_id(list_id: str, text: str) -> str:
    """The id of a marketing permission: another one in each audience."""
    return hashlib.md5(f"{list_id}/{text}".encode(), usedforsecurity=False).hexdigest()[:10]


def _v3(method: str, path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A route, with the version in front as at Mailchimp, and without it for whoever serves the sandbox at a bare address."""

    def mark(handler: Callable[..., Any]) -> Callable[..., Any]:
        return route(method, path)(route(method, f"/3.0{path}")(handler))

    return mark


class MailchimpSandbox(Sandbox):
    """A Mailchimp account with two audiences and one store, whose customers belong to the first audience. `Person.extra["mailchimp"]` may say:
    ``lists`` (audience ids; the first one unless said), ``status``, ``merge_fields``, ``permissions`` (the texts of those given; all unless said,
    None for an audience that asks for none), how many ``activity``, ``events``, ``notes``, ``tags`` and ``goals`` there are, and how many ``orders``
    and ``carts`` the person has as a customer of the store."""

    slug, title = "mailchimp", "Mailchimp"
    credentials: ClassVar[Mapping[str, str]] = {"api_key": "0123456789abcdef0123456789abcdef-us6"}
    largest_page = 1000

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[str, dict[str, dict[str, Any]]] = {"a1b2c3d4e5": {}, "f6a7b8c9d0": {}}
        self.parts: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        self.stores: dict[str, dict[str, dict[str, dict[str, Any]]]] = {"store_001": {"customers": {}, "orders": {}, "carts": {}}}
        self.forgotten: set[tuple[str, str]] = set()
        self._numbers = itertools.count(1)

    # --- what is in the account ------------------------------------------------------------------------------------------------------

    def add_person(self, person: Person) -> None:
        wishes = person.for_vendor("mailchimp")
        for list_id in wishes.get("lists", list(self.lists)[:1]):
            self.add_member(list_id, person)
        if wishes.get("orders") or wishes.get("carts"):
            self.add_customer("store_001", person)

    def add_member(self, list_id: str, person: Person) -> None:
        """Put a person on an audience."""
        wishes = person.for_vendor("mailchimp")
        member = member_id(person.email)
        fields = {"FNAME": person.first_name, "LNAME": person.last_name, "ADDRESS": "", "PHONE": person.phone, "USERID": person.user_id}
        self.lists.setdefault(list_id, {})[member] = {
            "id": member,
            "email_address": person.email,
            "unique_email_id": member[:10],
            "contact_id": hashlib.md5(f"{list_id}{member}".encode(), usedforsecurity=False).hexdigest(),
            "full_name": f"{person.first_name} {person.last_name}".strip(),
            "web_id": 400_000_000 + next(self._numbers),
            "email_type": "html",
            "status": wishes.get("status", "subscribed"),
            "consents_to_one_to_one_messaging": True,
            "merge_fields": wishes.get("merge_fields", fields),
            "stats": {"avg_open_rate": 0, "avg_click_rate": 0},
            "ip_signup": "",
            "timestamp_signup": "",
            "ip_opt": "192.0.2.7",
            "timestamp_opt": "2026-02-23T19:31:52+00:00",
            "member_rating": 2,
            "last_changed": "2026-02-23T19:31:54+00:00",
            "language": "",
            "vip": False,
            "email_client": "",
            "location": {"latitude": 0, "longitude": 0, "gmtoff": 0, "dstoff": 0, "country_code": "", "timezone": "", "region": ""},
            "source": "API - Generic",
            "tags_count": int(wishes.get("tags", 0)),
            "tags": [{"id": number, "name": f"tag {number}"} for number in range(int(wishes.get("tags", 0)))][:50],
            "list_id": list_id,
        }
        given = wishes.get("permissions", PERMISSIONS)
        if given is not None:
            self.lists[list_id][member]["marketing_permissions"] = [
                {"marketing_permission_id": permission_id(list_id, text), "text": text, "enabled": text in given} for text in PERMISSIONS
            ]
        for part, make in PARTS.items():
            self.parts[list_id, member, part] = [make(number) for number in range(int(wishes.get(part, 0)))]

    def add_customer(self, store_id: str, person: Person) -> None:
        """Make a person a customer of a store, with what they bought and left in carts."""
        wishes = person.for_vendor("mailchimp")
        store = self.stores.setdefault(store_id, {"customers": {}, "orders": {}, "carts": {}})
        customer_id = f"cust{next(self._numbers)}"
        store["customers"][customer_id] = {
            "id": customer_id,
            "email_address": person.email,
            "opt_in_status": False,
            "company": "",
            "first_name": person.first_name,
            "last_name": person.last_name,
            "orders_count": int(wishes.get("orders", 0)),
            "total_spent": 10.0,
            "address": {"address1": "", "city": "", "postal_code": "", "country": "", "country_code": ""},
            "created_at": "2026-02-23T19:31:52+00:00",
            "updated_at": "2026-02-23T19:31:52+00:00",
        }
        for kind in ("orders", "carts"):
            self._buy(store, kind, {"id": customer_id, "email_address": person.email}, int(wishes.get(kind, 0)))

    def _buy(self, store: dict[str, dict[str, dict[str, Any]]], kind: str, customer: dict[str, Any], count: int) -> None:
        for _ in range(count):
            item_id = f"{kind}{next(self._numbers)}"
            store[kind][item_id] = {"id": item_id, "customer": customer, "currency_code": "EUR", "order_total": 10.0, "lines": []}

    def holds(self, email: str) -> bool:
        wanted = email.lower()
        members = [member["email_address"] for members in self.lists.values() for member in members.values()]
        customers = [one["email_address"] for store in self.stores.values() for one in store["customers"].values()]
        items = [one["customer"]["email_address"] for store in self.stores.values() for kind in ("orders", "carts") for one in store[kind].values()]
        return wanted in (address.lower() for address in (*members, *customers, *items))

    def records(self, email: str) -> Mapping[str, int]:
        wanted, member = email.lower(), member_id(email)
        parts = {part: sum(len(items) for key, items in self.parts.items() if key[1:] == (member, part)) for part in PARTS}
        customers = [one["email_address"] for store in self.stores.values() for one in store["customers"].values()]
        bought = {
            kind: sum(one["customer"]["email_address"].lower() == wanted for store in self.stores.values() for one in store[f"{kind}s"].values())
            for kind in ("order", "cart")
        }
        return {
            "member": sum(member in members for members in self.lists.values()),
            "activity": parts["activity"],
            "event": parts["events"],
            "note": parts["notes"],
            "tag": parts["tags"],
            "goal": parts["goals"],
            "customer": sum(address.lower() == wanted for address in customers),
            **bought,
        }

    def add_records(self, email: str, count: int) -> None:
        """Of everything but goals, of which Mailchimp shows the last fifty. Its pages get shorter, rather than the lists longer."""
        self.largest_page = min(self.largest_page, count - 1)
        for list_id, members in self.lists.items():
            for part in PARTS if member_id(email) in members else ():
                items = self.parts[list_id, member_id(email), part]
                items += [PARTS[part](len(items) + number) for number in range(0 if part == "goals" else count)]
        for store in self.stores.values():
            for key, one in store["customers"].items():
                for kind in ("orders", "carts") if one["email_address"].lower() == email.lower() else ():
                    self._buy(store, kind, {"id": key, "email_address": one["email_address"]}, count)

    def opted_out(self, email: str) -> bool:
        members = [one for members in self.lists.values() for one in members.values() if one["email_address"].lower() == email.lower()]
        withdrawn = {"text": PERMISSIONS[-1], "enabled": False}
        return bool(members) and all(any(withdrawn.items() <= one.items() for one in member.get("marketing_permissions", ())) for member in members)

    # --- audiences -----------------------------------------------------------------------------------------------------------------

    @_v3("GET", "/lists")
    def get_lists(self, call: Call) -> Answer:
        return self._page(call, "lists", [{"id": list_id, "name": f"Audience {list_id}"} for list_id in self.lists])

    @_v3("GET", "/lists/{list_id}/members/{member}")
    def get_member(self, call: Call) -> Answer:
        member = self._member(call)
        return Answer.json({**member, "_links": []}) if member else self.no_route(call)

    @_v3("PATCH", "/lists/{list_id}/members/{member}")
    def update_member(self, call: Call) -> Answer:
        member = self._member(call)
        if not member:
            return self.no_route(call)
        known = {one["marketing_permission_id"]: one for one in member.get("marketing_permissions", ())}
        for change in call.json().get("marketing_permissions", ()):
            permission = known.get(change["marketing_permission_id"])
            if permission is None:
                return self._problem(400, "Invalid Resource", "The resource submitted could not be validated.")
            if permission["enabled"] != change["enabled"]:
                self.effect(f"permission {call.ids['list_id']}/{member['id']}/{permission['marketing_permission_id']}")
            permission["enabled"] = change["enabled"]
        return Answer.json({**member, "_links": []})

    @_v3("GET", "/lists/{list_id}/members/{member}/{part}")
    def get_part(self, call: Call) -> Answer:
        member, part = self._member(call), call.ids["part"].removesuffix("-feed")
        if not member or part not in ("activity", "events", "notes", "tags", "goals"):
            return self.no_route(call)
        items = self.parts[call.ids["list_id"], member["id"], part]
        more = {} if part in ("events", "tags") else {"email_id": member["id"], "list_id": call.ids["list_id"]}
        return self._page(call, part, items[-50:] if part == "goals" else items, more, total=part != "activity")

    @_v3("DELETE", "/lists/{list_id}/members/{member}")
    def archive_member(self, call: Call) -> Answer:
        member = self._member(call)
        if not member:
            return self.no_route(call)
        if member["status"] in ("archived", "cleaned", "pending"):
            text = "This list member cannot be removed. Can not archive a contact that is bounced, pending or archived"
            return self._problem(405, "Method Not Allowed", text)
        member["status"] = "archived"
        return Answer.empty()

    @_v3("POST", "/lists/{list_id}/members/{member}/actions/delete-permanent")
    def delete_permanent(self, call: Call) -> Answer:
        member = self._member(call)
        if not member:
            return self.no_route(call)
        list_id = call.ids["list_id"]
        del self.lists[list_id][member["id"]]
        for key in [key for key in self.parts if key[:2] == (list_id, member["id"])]:
            del self.parts[key]
        self.forgotten.add((list_id, member["id"]))
        self.effect(f"erase {list_id}/{member['id']}")
        return Answer.empty()

    def _member(self, call: Call) -> dict[str, Any] | None:
        return self.lists.get(call.ids["list_id"], {}).get(call.ids["member"])

    # --- stores ---------------------------------------------------------------------------------------------------------------------

    @_v3("GET", "/ecommerce/stores")
    def get_stores(self, call: Call) -> Answer:
        return self._page(call, "stores", [{"id": store_id, "name": store_id} for store_id in self.stores])

    @_v3("GET", "/ecommerce/stores/{store_id}")
    def get_store(self, call: Call) -> Answer:
        store_id = call.ids["store_id"]
        return Answer.json({"id": store_id, "list_id": next(iter(self.lists)), "name": store_id}) if store_id in self.stores else self.no_route(call)

    @_v3("GET", "/ecommerce/stores/{store_id}/{kind}")
    def get_items(self, call: Call) -> Answer:
        kind = call.ids["kind"]
        items = [*self.stores.get(call.ids["store_id"], {}).get(kind, {}).values()]
        if kind == "customers" and "email_address" in call.params:
            items = [one for one in items if one["email_address"].lower() == call.params["email_address"].lower()]
        if kind == "orders" and "customer_id" in call.params:
            items = [one for one in items if one["customer"]["id"] == call.params["customer_id"]]
        return self._page(call, kind, items, {"store_id": call.ids["store_id"]})

    @_v3("GET", "/ecommerce/stores/{store_id}/{kind}/{item_id}")
    def get_item(self, call: Call) -> Answer:
        item = self.stores.get(call.ids["store_id"], {}).get(call.ids["kind"], {}).get(call.ids["item_id"])
        return Answer.json({**item, "_links": []}) if item else self.no_route(call)

    @_v3("DELETE", "/ecommerce/stores/{store_id}/{kind}/{item_id}")
    def delete_item(self, call: Call) -> Answer:
        items = self.stores.get(call.ids["store_id"], {}).get(call.ids["kind"], {})
        if call.ids["item_id"] not in items:
            return self.no_route(call)
        del items[call.ids["item_id"]]
        self.effect(f"erase {call.ids['store_id']}/{call.ids['item_id']}")
        return Answer.empty()

    # --- Mailchimp's manners ---------------------------------------------------------------------------------------------------------

    def authorised(self, call: Call) -> bool:
        scheme, _, pair = call.headers.get("authorization", "").partition(" ")
        key = base64.b64decode(pair).decode().partition(":")[2] if scheme == "Basic" else ""
        return key == self.credentials["api_key"]

    def denied(self, call: Call) -> Answer:
        return self._problem(401, "API Key Invalid", "Your API key may be invalid, or you've attempted to access the wrong datacenter.")

    def too_many(self, call: Call, wait: float) -> Answer:
        return self._problem(429, "Too Many Requests", "You have exceeded the limit of 10 simultaneous connections.")

    def no_route(self, call: Call) -> Answer:
        return self._problem(404, "Resource Not Found", "The requested resource could not be found.")

    @staticmethod
    def _problem(status: int, title: str, detail: str) -> Answer:
        kind = "https://mailchimp.com/developer/marketing/docs/errors/"
        return Answer.json({"type": kind, "title": title, "status": status, "detail": detail, "instance": str(uuid.uuid4())}, status, PROBLEM)

    def _page(self, call: Call, name: str, items: list[Any], more: Mapping[str, Any] | None = None, *, total: bool = True) -> Answer:
        start, size = int(call.params.get("offset", 0)), min(self.largest_page, int(call.params.get("count", 10)))
        shown = items if name == "goals" else items[start : start + size]
        return Answer.json({name: shown, **(more or {}), **({"total_items": len(items)} if total else {}), "_links": []})
