"""A fake HubSpot: contacts with secondary addresses, a recycling bin, a search index that lags, associations in pages, rate limit windows.

It behaves as HubSpot's OpenAPI description, its documentation and the recordings show (the README says which for what); it is not HubSpot.
"""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from dsr_sdk.testing import Answer, Call, Person, Sandbox, route

__all__ = ["HubSpotSandbox"]

INDEX_LAG = 60.0
"""Seconds until the search index notices a change."""

DEFAULT_PROPERTIES: Mapping[str, tuple[str, ...]] = {
    "contacts": ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"),
    "deals": ("amount", "closedate", "createdate", "dealname", "dealstage", "hs_lastmodifieddate", "hs_object_id", "pipeline"),
    "tickets": ("content", "createdate", "hs_lastmodifieddate", "hs_object_id", "hs_pipeline", "hs_pipeline_stage", "subject"),
}
"""What HubSpot sends when no property is asked for."""

PROPERTIES: Mapping[str, tuple[str, ...]] = {
    "contacts": (
        *DEFAULT_PROPERTIES["contacts"],
        *("hs_additional_emails", "hs_merged_object_ids", "jobtitle", "lifecyclestage", "mobilephone", "phone", "user_id"),
    ),
    "deals": DEFAULT_PROPERTIES["deals"],
    "tickets": DEFAULT_PROPERTIES["tickets"],
    "emails": ("hs_object_id", "hs_createdate", "hs_email_subject", "hs_email_text", "hs_email_direction", "hs_timestamp"),
    "calls": ("hs_object_id", "hs_createdate", "hs_call_title", "hs_call_body", "hs_timestamp"),
    "meetings": ("hs_object_id", "hs_createdate", "hs_meeting_title", "hs_meeting_body", "hs_timestamp"),
    "notes": ("hs_object_id", "hs_createdate", "hs_note_body", "hs_timestamp"),
    "tasks": ("hs_object_id", "hs_createdate", "hs_task_subject", "hs_task_body", "hs_timestamp"),
    "communications": ("hs_object_id", "hs_createdate", "hs_communication_body", "hs_timestamp"),
    "postal_mail": ("hs_object_id", "hs_createdate", "hs_postal_mail_body", "hs_timestamp"),
}
"""The properties each object type has in this account."""


@dataclass
class _Object:
    """A CRM object: a contact, or something linked to contacts."""

    id: str
    kind: str
    properties: dict[str, str | None]
    created: str
    archived: bool = False
    links: dict[str, list[str]] = field(default_factory=dict)

    @property
    def addresses(self) -> list[str]:
        joined = f"{self.properties.get('email') or ''};{self.properties.get('hs_additional_emails') or ''}"
        return [part.lower() for part in joined.split(";") if part]

    def show(self, properties: Iterable[str] = (), history: Iterable[str] = ()) -> dict[str, Any]:
        """The object as the API shows it: a property that was asked for and has no value is null."""
        names = [*properties] or [*DEFAULT_PROPERTIES.get(self.kind, ("hs_object_id", "hs_createdate"))]
        shown: dict[str, Any] = {"id": self.id, "properties": {name: self.properties.get(name) for name in names}}
        past = {
            name: [{"value": value, "timestamp": self.created, "sourceType": "CRM_UI"}] for name in history if (value := self.properties.get(name))
        }
        if past:
            shown["propertiesWithHistory"] = past
        shown |= {"createdAt": self.created, "updatedAt": self.created, "archived": self.archived}
        return shown | ({"archivedAt": self.created} if self.archived else {})


class HubSpotSandbox(Sandbox):
    """A HubSpot account. `Person.extra["hubspot"]` may say: ``additional_emails`` (a list), ``archived``, further ``properties``, and how many
    ``deals``, ``tickets``, ``emails``, ``calls``, ``notes`` ... are linked."""

    slug, title = "hubspot", "HubSpot"
    credentials: ClassVar[Mapping[str, str]] = {"access_token": "pat-na1-00000000-sandbox"}
    windows = ((190, 10.0, "", ""), (5, 1.0, "/crm/v3/objects/contacts/search", "POST"))

    association_page = 100
    """How many links of one type a contact is shown with before there is a second page."""
    resolves_secondary = True
    """Whether batch/read finds a contact by a secondary address. HubSpot was seen to do so; nothing promises it."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[tuple[str, str], _Object] = {}
        self.blocklist: set[str] = set()
        self._ids = itertools.count(101)
        self._index: dict[str, tuple[_Object, float, float]] = {}  # a contact as the index knows it: from when, and until when

    # --- what is in the account ------------------------------------------------------------------------------------------------------

    def add_person(self, person: Person) -> None:
        known = self._resolve("contacts", person.email, "email", False)
        if known is None:
            self.add_contact(person)
        else:  # an address is unique among contacts: a second one would be an update
            self._link(known, person)

    def add_contact(self, person: Person, *, indexed: bool = True) -> str:
        """Store a contact and what is linked to it; answers its id. ``indexed=False``: created just now, so that search misses it."""
        wishes = person.for_vendor("hubspot")
        properties: dict[str, str | None] = {
            "email": person.email,
            "firstname": person.first_name or None,
            "lastname": person.last_name or None,
            "phone": person.phone or None,
            "user_id": person.user_id or None,
            "hs_additional_emails": ";".join(wishes.get("additional_emails", ())) or None,
            **wishes.get("properties", {}),
        }
        contact = self._add("contacts", properties)
        contact.archived = bool(wishes.get("archived"))
        self._index[contact.id] = (contact, 0.0 if indexed else self.now() + INDEX_LAG, 0.0 if contact.archived else float("inf"))
        self._link(contact, person)
        return contact.id

    def _link(self, contact: _Object, person: Person) -> None:
        for kind in PROPERTIES:
            for number in range(int(person.for_vendor("hubspot").get(kind, 0))):
                text = next(name for name in PROPERTIES[kind] if name.endswith(("body", "text", "name", "subject")))
                contact.links.setdefault(kind, []).append(self._add(kind, {text: f"{kind} {number} with {person.email}"}).id)

    def _add(self, kind: str, properties: Mapping[str, str | None]) -> _Object:
        new = _Object(str(next(self._ids)), kind, dict(properties), datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"))
        new.properties["hs_object_id"] = new.id
        new.properties["createdate" if kind in DEFAULT_PROPERTIES else "hs_createdate"] = new.created
        self.objects[kind, new.id] = new
        return new

    def contact(self, contact_id: str) -> _Object | None:
        """A contact, live or archived."""
        return self.objects.get(("contacts", contact_id))

    def archive(self, contact_id: str) -> None:
        """Someone moves the contact to the recycling bin."""
        self.objects["contacts", contact_id].archived = True
        self._unindex(contact_id)

    def delete(self, contact_id: str) -> None:
        """Someone deletes the contact permanently."""
        del self.objects["contacts", contact_id]
        self._unindex(contact_id)

    def _unindex(self, contact_id: str) -> None:
        contact, since, until = self._index[contact_id]
        self._index[contact_id] = (contact, since, min(until, self.now() + INDEX_LAG))

    def holds(self, email: str) -> bool:
        return any(contact.kind == "contacts" and email.lower() in contact.addresses for contact in self.objects.values())

    def records(self, email: str) -> Mapping[str, int]:
        said = f" with {email}"
        linked = [one for one in self.objects.values() if any((value or "").endswith(said) for value in one.properties.values())]
        kinds = Counter(one.kind if one.kind in ("deals", "tickets") else "activities" for one in linked)
        contacts = sum(one.kind == "contacts" and email.lower() in one.addresses for one in self.objects.values())
        return {"contact": contacts, "activity": kinds["activities"], "deal": kinds["deals"], "ticket": kinds["tickets"]}

    def add_records(self, email: str, count: int) -> None:
        contact = self._resolve("contacts", email, "email", False)
        if contact is not None:
            wishes = {kind: count for kind in PROPERTIES if kind != "contacts"}
            self._link(contact, Person(email, extra={"hubspot": wishes}))

    # --- the API -------------------------------------------------------------------------------------------------------------------

    @route("GET", "/crm/v3/objects/contacts")
    def list_contacts(self, call: Call) -> Answer:
        live = [contact for contact in self.objects.values() if contact.kind == "contacts" and not contact.archived]
        return Answer.json({"results": [contact.show() for contact in live[: int(call.params.get("limit", 10))]]})

    @route("GET", "/crm/v3/objects/contacts/{contact_id}")
    def get_contact(self, call: Call) -> Answer:
        contact = self.contact(call.ids["contact_id"])
        if contact is None or contact.archived != (call.params.get("archived") == "true"):
            return self._not_found(call.ids["contact_id"])
        shown = contact.show([name for name in call.params.get("properties", "").split(",") if name])
        associations = {}
        for kind in call.params.get("associations", "").split(","):
            ids = contact.links.get(kind, [])
            if ids and not contact.archived:
                named = [{"id": one, "type": f"contact_to_{kind.removesuffix('s')}"} for one in ids]
                associations[kind] = self._page(named, 0, self.association_page)
        return Answer.json(shown | ({"associations": associations} if associations else {}))

    @route("GET", "/crm/v4/objects/contacts/{contact_id}/associations/{kind}")
    def get_associations(self, call: Call) -> Answer:
        contact = self.contact(call.ids["contact_id"])
        if contact is None or contact.archived:
            return self._not_found(call.ids["contact_id"])
        types = [{"category": "HUBSPOT_DEFINED", "typeId": 1, "label": None}]
        start, size = int(call.params.get("after", 0)), min(500, int(call.params.get("limit", 500)))
        ids = contact.links.get(call.ids["kind"], [])
        return Answer.json(self._page([{"toObjectId": int(one), "associationTypes": types} for one in ids], start, size))

    @route("POST", "/crm/v3/objects/{kind}/batch/read")
    def batch_read(self, call: Call) -> Answer:
        body, archived = call.json(), call.params.get("archived") == "true"
        wanted = [str(one["id"]) for one in body["inputs"]]
        history = body.get("propertiesWithHistory") or []
        if len(wanted) > (50 if history else 100):
            return self._error(400, "VALIDATION_ERROR", "The maximum number of inputs supported in a batch request was exceeded")
        results: dict[str, dict[str, Any]] = {}
        missing = []
        for value in wanted:
            found = self._resolve(call.ids["kind"], value, body.get("idProperty"), archived)
            if found is None:
                missing.append(value)
            else:
                results[found.id] = found.show(body.get("properties") or (), history)
        moment = datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        answer: dict[str, Any] = {"status": "COMPLETE", "results": [*results.values()], "startedAt": moment, "completedAt": moment}
        if not missing:
            return Answer.json(answer)
        kind = call.ids["kind"].upper().removesuffix("S")
        text = f"Could not get some {kind} objects, they may be deleted or not exist. Check that ids are valid."
        error = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": text, "context": {"ids": missing}, "errors": [], "links": {}}
        return Answer.json(answer | {"numErrors": 1, "errors": [error]}, 207)

    def _resolve(self, kind: str, value: str, id_property: str | None, archived: bool) -> _Object | None:
        for one in self.objects.values():
            if one.kind == kind and one.archived == archived:
                if id_property == "email":
                    hit = value.lower() in (one.addresses if self.resolves_secondary else one.addresses[:1])
                else:
                    hit = value in (one.id, *(one.properties.get("hs_merged_object_ids") or "").split(";"))
                if hit:
                    return one
        return None

    @route("POST", "/crm/v3/objects/contacts/search")
    def search(self, call: Call) -> Answer:
        body = call.json()
        known = [contact for contact, since, until in self._index.values() if since <= self.now() < until]
        hits = [contact for contact in known if any(all(_fits(contact, test) for test in group["filters"]) for group in body["filterGroups"])]
        shown = [contact.show(body.get("properties") or ()) for contact in hits]
        return Answer.json({"total": len(hits), **self._page(shown, int(body.get("after") or 0), int(body.get("limit") or 10))})

    @route("POST", "/crm/v3/objects/contacts/gdpr-delete")
    def gdpr_delete(self, call: Call) -> Answer:
        body = call.json()
        contact = self._resolve("contacts", body["objectId"], body.get("idProperty"), False)
        contact = contact or self._resolve("contacts", body["objectId"], body.get("idProperty"), True)
        if contact is not None:
            self.effect(f"erase {contact.id}")
            self.delete(contact.id)
        elif body.get("idProperty") == "email":
            self.blocklist.add(body["objectId"].lower())
        else:
            return self._not_found(body["objectId"])
        return Answer.empty()

    @route("GET", "/crm/v3/properties/{kind}")
    def list_properties(self, call: Call) -> Answer:
        names = PROPERTIES.get(call.ids["kind"], ())
        return Answer.json({"results": [{"name": name, "label": name, "type": "string", "fieldType": "text"} for name in names]})

    # --- HubSpot's manners -------------------------------------------------------------------------------------------------------------

    def authorised(self, call: Call) -> bool:
        return call.headers.get("authorization") == f"Bearer {self.credentials['access_token']}"

    def denied(self, call: Call) -> Answer:
        text = "Authentication credentials not found. This API supports OAuth 2.0 authentication"
        return self._error(401, "INVALID_AUTHENTICATION", text)

    def too_many(self, call: Call, wait: float) -> Answer:
        policy = "SECONDLY" if call.path.endswith("/search") else "TEN_SECONDLY_ROLLING"
        return self._error(429, "RATE_LIMITS", f"You have reached your {policy.lower()} limit.", errorType="RATE_LIMIT", policyName=policy)

    def no_route(self, call: Call) -> Answer:
        return self._error(404, "OBJECT_NOT_FOUND", "resource not found")

    def finish(self, call: Call, answer: Answer) -> Answer:
        answer.headers.setdefault("X-HubSpot-Correlation-Id", str(uuid.uuid4()))
        answer.headers |= {"X-HubSpot-RateLimit-Daily": "650000", "X-HubSpot-RateLimit-Daily-Remaining": str(650_000 - sum(self.calls.values()))}
        for window in () if call.path.endswith("/search") else self.limits[:1]:  # search counts apart and says nothing of it
            answer.headers |= {
                "X-HubSpot-RateLimit-Max": str(window.calls),
                "X-HubSpot-RateLimit-Remaining": str(window.left),
                "X-HubSpot-RateLimit-Interval-Milliseconds": str(int(window.per * 1000)),
            }
        return answer

    def _not_found(self, object_id: str) -> Answer:
        return self._error(404, "OBJECT_NOT_FOUND", "Object not found.  objectId are usually numeric.", context={"id": [object_id]})

    @staticmethod
    def _error(status: int, category: str, message: str, **more: Any) -> Answer:
        return Answer.json({"status": "error", "message": message, "correlationId": str(uuid.uuid4()), **more, "category": category}, status)

    @staticmethod
    def _page(items: list[dict[str, Any]], start: int, size: int) -> dict[str, Any]:
        page: dict[str, Any] = {"results": items[start : start + size]}
        if start + size < len(items):
            page["paging"] = {"next": {"after": str(start + size), "link": f"https://api.hubapi.com/?after={start + size}"}}
        return page


def _fits(contact: _Object, test: Mapping[str, Any]) -> bool:
    """Whether a contact passes one EQ filter. On a property with several values, EQ means that one of them is equal."""
    values = (contact.properties.get(test["propertyName"]) or "").lower().split(";")
    return test["operator"] == "EQ" and test["value"].lower() in values
