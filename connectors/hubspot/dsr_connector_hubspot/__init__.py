"""HubSpot CRM: a contact is deleted permanently; deals, tickets and activities shared with other records stay behind, without the contact.

What is said here about HubSpot's behaviour was read in:

* HubSpot's OpenAPI description of contacts v3 (github.com/HubSpot/HubSpot-public-api-spec-collection, rollout 424): gdpr-delete by *e-mail*
  puts an unknown address on a blocklist, so we delete by id only; batch/read takes ``idProperty`` and ``archived``.
* https://knowledge.hubspot.com/privacy-and-consent/understand-restorable-and-permanent-contact-deletions and
  https://developers.hubspot.com/changelog/gdpr-deletion: what a permanent deletion takes along, and what only loses its link to the contact.
* https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines and
  https://developers.hubspot.com/changelog/increasing-our-api-limits: limits, and the ``policyName`` of a 429.
* https://developers.hubspot.com/docs/api-reference/error-handling: 423 and 477 mean "later".
* https://github.com/HubSpot/hubspot-api-nodejs/issues/24: secondary addresses are searched for in ``hs_additional_emails``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import httpx
from pydantic import Field, SecretStr, ValidationError

from dsr_sdk import (
    Absent,
    Anonymized,
    Category,
    Connector,
    ConnectorConfig,
    ControllerId,
    DsrError,
    Email,
    Erased,
    Evidence,
    Failed,
    Holds,
    Match,
    Outcome,
    Phone,
    Reason,
    Record,
    RejectedError,
    Retained,
    Subject,
    TransientError,
    Unsupported,
    VendorId,
)
from dsr_sdk.http import Api, BearerAuth, Cursor, RateLimit, Reply, at, retry_after

__all__ = ["HubSpot"]

LINKED: Mapping[str, Sequence[str]] = {
    "activity": ("emails", "calls", "meetings", "notes", "tasks", "communications", "postal_mail"),
    "deal": ("deals",),
    "ticket": ("tickets",),
}
"""What is linked to a contact, by the object types HubSpot has for it."""

WAITS = (("DAILY", 3600.0), ("TEN_SECONDLY", 10.0), ("SECONDLY", 1.0))
"""Seconds to wait by the limit that a 429 names: HubSpot sends no Retry-After with it."""

BATCH = 50
"""batch/read takes 100 records, and 50 when their history is asked for."""

Contact = Mapping[str, Any]


class HubSpot(Connector):
    """HubSpot CRM: contacts are deleted permanently ("GDPR delete"). Deals, tickets, and activities that are filed with other records too stay in
    HubSpot and lose their link to the contact."""

    slug, title, category = "hubspot", "HubSpot", Category.CRM
    docs = "https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide"
    evidence = (Evidence.SANDBOX, Evidence.SPEC, Evidence.RECORDINGS)
    identified_by = (Email, VendorId)
    holds = (
        Holds("contact", data=("user.name", "user.contact", "user.job_title", "user.location", "user.behavior", "user.unique_id")),
        Holds(
            "activity",
            data=("user.content.private", "user.contact"),
            on_erase=Retained,
            reason=Reason.OTHERS_DATA,
            text="E-mails, calls, meetings, notes and tasks are taken off the deleted contact. Those that are also filed with a company, a deal, "
            "a ticket or another person stay there.",
            title="e-mails, calls and notes",
        ),
        Holds(
            "deal",
            data=("user.behavior.purchase_history",),
            on_erase=Retained,
            reason=Reason.CONTRACT,
            text="Deals are business records of a sale. They stay, and no longer name the deleted contact.",
            title="deals",
        ),
        Holds(
            "ticket",
            data=("user.content.private",),
            on_erase=Retained,
            reason=Reason.VENDOR_CANNOT,
            text="Support tickets stay, and no longer name the deleted contact; HubSpot's deletion does not reach what is written in them.",
            title="support tickets",
        ),
        Holds(
            "event",
            data=("user.behavior.browsing_history", "user.device.ip_address", "user.content.private"),
            on_erase=Anonymized,
            erased_with="contact",
            exported=False,
            excuse="page views, e-mail opens and single form submissions are served by other APIs; what HubSpot derives from them is copied with "
            "the contact",
        ),
    )
    base_url = "https://api.hubapi.com"
    # Of Professional and Enterprise accounts. Others have 100 in 10 s, which a 429 tells us.
    limits = (RateLimit(190, per=10), RateLimit(5, per=1, on="/crm/v3/objects/contacts/search"))
    # A deleted contact is gone for readers at once; HubSpot purges its own stores within 30 days, which nobody can see from outside.
    lag = timedelta(minutes=5)

    class Config(ConnectorConfig):
        access_token: SecretStr = Field(description="the access token of a private app (pat-...); the README lists its scopes")
        recycling_bin: bool = Field(True, description="also find deleted contacts that can still be restored (90 days)")
        user_id_property: str | None = Field(None, description="the contact property in which your products store their own user id")

    def auth(self) -> httpx.Auth:
        return BearerAuth(self.config.access_token)

    def problem(self, reply: Reply) -> DsrError | None:
        if reply.status == 429:
            return TransientError(f"{reply.call} answered 429", retry_after=retry_after(reply.headers) or _wait(reply))
        if reply.status in (423, 477):  # locked by another change; the account is being moved to another data centre
            return TransientError(f"{reply.call} answered {reply.status}", retry_after=retry_after(reply.headers) or 2.0)
        return None

    def check(self, api: Api) -> str:
        api.get("/crm/v3/objects/contacts", {"limit": 1}).object()
        return "contacts can be read"

    # --- find --------------------------------------------------------------------------------------------------------------------

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        if subject.has(Email):
            contacts = self._by_email(api, subject.email)
        else:
            vendor_id = subject.first(VendorId)
            contacts = self._by_id(api, [vendor_id.value]) if vendor_id.vendor == self.slug else []
        for contact in contacts:
            archived = contact.get("archived") is True
            yield Match("contact", contact["id"], identities=self._identities(contact), data={"archived": "yes"} if archived else {})
            if not archived:  # in the recycling bin a contact has lost its links already
                links = self._links(api, contact["id"], absent_ok=True)
                for resource, kinds in LINKED.items():
                    count = sum(len(links[kind]) for kind in kinds)
                    if count:
                        yield Match(resource, contact["id"], count=count)

    def _by_email(self, api: Api, email: str) -> list[Contact]:
        """Everyone with this primary or secondary address, live or in the recycling bin.

        batch/read comes first: it reads the contacts themselves where search reads an index that lags, it keeps addresses out of URLs (which
        HubSpot shows in the app's log), and it resolves secondary addresses. That it does so is not documented, so search is asked too.
        """
        found: dict[str, Contact] = {}
        for contact in self._everywhere(api, [email], id_property="email"):
            if email not in _addresses(contact):
                raise RejectedError("HubSpot resolved an address to a contact that does not show it", source=self.name)
            found.setdefault(contact["id"], contact)
        hits = [hit["id"] for hit in self._search(api, email) if hit["id"] not in found and email in _addresses(hit)]
        # What the index shows may have been changed or deleted since: a hit counts only as the contact stands now.
        found.update((contact["id"], contact) for contact in self._by_id(api, hits) if email in _addresses(contact))
        return list(found.values())

    def _by_id(self, api: Api, ids: Sequence[str]) -> list[Contact]:
        # HubSpot answers the id of a contact that was merged away with the contact it was merged into.
        return [contact for contact in self._everywhere(api, ids) if not set(ids).isdisjoint(_ids(contact))]

    def _everywhere(self, api: Api, ids: Sequence[str], id_property: str | None = None) -> Iterator[Contact]:
        wanted = ["email", "hs_additional_emails", "hs_merged_object_ids", "phone", "mobilephone"]
        if self.config.user_id_property:
            wanted.append(self.config.user_id_property)
        for archived in (False, True) if self.config.recycling_bin else (False,):
            yield from self._read(api, "contacts", ids, wanted, id_property=id_property, archived=archived)

    def _search(self, api: Api, email: str) -> Iterator[Contact]:
        # EQ on each property: CONTAINS_TOKEN would match whoever shares a part of the address.
        groups = [{"filters": [{"propertyName": name, "operator": "EQ", "value": email}]} for name in ("email", "hs_additional_emails")]
        body = {"filterGroups": groups, "properties": ["email", "hs_additional_emails"], "sorts": [], "limit": 100, "after": "0"}
        pages = Cursor("results", "paging.next.after", "after")
        return map(_object, api.pages("/crm/v3/objects/contacts/search", method="POST", json=body, paging=pages))

    def _identities(self, contact: Contact) -> tuple[Email | Phone | ControllerId | VendorId, ...]:
        properties = contact["properties"]
        found: list[tuple[type[Email | Phone | ControllerId], Any]] = [(Email, address) for address in _addresses(contact)]
        found += [(Phone, properties.get(name)) for name in ("phone", "mobilephone")]
        found += [(ControllerId, properties.get(self.config.user_id_property))] if self.config.user_id_property else []
        identities: list[Email | Phone | ControllerId | VendorId] = [VendorId(vendor=self.slug, value=contact["id"])]
        for kind, value in found:
            try:
                identities.append(kind(value=value))
            except ValidationError:  # null, or a telephone number as people write it, without its country
                continue
        return tuple(identities)

    # --- act ---------------------------------------------------------------------------------------------------------------------

    def erase(self, api: Api, match: Match) -> Outcome:
        try:
            # By id, repeating it does no harm: only an unknown *e-mail* would land on the blocklist.
            api.post("/crm/v3/objects/contacts/gdpr-delete", {"objectId": match.id}, retry=True)
        except RejectedError as refusal:
            # What HubSpot answers for a contact that is gone is not documented, so we look for ourselves.
            if self._by_id(api, [match.id]):
                return Failed("HubSpot refuses to delete the contact, which is still there", refusal.code or str(refusal.status))
            return Absent()
        return Erased()

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        if match.resource == "contact":
            archived = match.data.get("archived") == "yes"
            for contact in self._in_full(api, "contacts", [match.id], history=True, archived=archived):
                yield Record("contact", contact)
            return
        links = self._links(api, match.id)
        for kind in LINKED[match.resource]:
            for item in self._in_full(api, kind, links[kind]):
                yield Record(match.resource, {"object_type": kind, **item})

    opt_out = Unsupported("HubSpot stores what you know about a person and shares it with nobody; leaving a mailing list is another right")
    email = Unsupported("HubSpot is reached through its API")

    # --- reading -----------------------------------------------------------------------------------------------------------------

    def _links(self, api: Api, contact_id: str, *, absent_ok: bool = False) -> dict[str, list[str]]:
        """The ids of everything linked to a contact, by object type."""
        kinds = [kind for kinds in LINKED.values() for kind in kinds]
        reply = api.get("/crm/v3/objects/contacts/{id}", {"associations": ",".join(kinds)}, id=contact_id, absent_ok=absent_ok)
        linked = {} if reply.absent else reply.object().get("associations") or {}
        links = {}
        for kind in kinds:
            ids = [str(link["id"]) for link in at(linked, f"{kind}.results") or ()]
            if at(linked, f"{kind}.paging.next"):  # the first page of many: read them all
                pages = Cursor("results", "paging.next.after", "after", size_param="limit", size=500)
                items = api.pages("/crm/v4/objects/contacts/{id}/associations/{kind}", paging=pages, id=contact_id, kind=kind)
                ids = [str(item["toObjectId"]) for item in items]
            links[kind] = list(dict.fromkeys(ids))  # a link with several labels is listed once for each
        return links

    def _in_full(self, api: Api, kind: str, ids: Sequence[str], *, history: bool = False, archived: bool = False) -> Iterator[dict[str, Any]]:
        """Objects with every property that has a value: HubSpot leaves out what is not asked for by name."""
        if not ids:
            return
        names = [prop["name"] for prop in api.pages("/crm/v3/properties/{kind}", paging=Cursor("results", "paging.next.after", "after"), kind=kind)]
        read = 0
        for item in self._read(api, kind, ids, names, history=names if history else (), archived=archived):
            read += 1
            yield {
                key: {name: content for name, content in value.items() if content not in (None, "", [])} if isinstance(value, dict) else value
                for key, value in item.items()
            }
        if read < len(ids):
            raise RejectedError(f"{len(ids) - read} of {len(ids)} {kind} cannot be read any more: the copy would be incomplete", source=self.name)

    def _read(
        self,
        api: Api,
        kind: str,
        ids: Sequence[str],
        properties: Sequence[str],
        *,
        history: Sequence[str] = (),
        id_property: str | None = None,
        archived: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Objects of one type by id, or by a property whose values are unique. Those that do not exist are left out."""
        for start in range(0, len(ids), BATCH):
            inputs = [{"id": one} for one in ids[start : start + BATCH]]
            body: dict[str, Any] = {"inputs": inputs, "properties": list(properties), "propertiesWithHistory": list(history)}
            if id_property:
                body["idProperty"] = id_property
            reply = api.post("/crm/v3/objects/{kind}/batch/read", body, params={"archived": "true"} if archived else None, retry=True, kind=kind)
            answer = reply.object()
            # 207 names the ids that do not exist. Any other error among them means that we do not know.
            codes = {at(error, "category") for error in answer.get("errors") or ()}
            if codes - {"OBJECT_NOT_FOUND"}:
                raise RejectedError(f"{reply.call} could not read everything", status=reply.status, code=str(codes.pop()), source=self.name)
            results = answer.get("results")
            if not isinstance(results, list) or answer.get("status", "COMPLETE") != "COMPLETE":
                raise TransientError(f"{reply.call} answered {reply.status} without a complete result", source=self.name)
            yield from map(_object, results)


def _object(item: Any) -> dict[str, Any]:
    """The item, when it is a CRM object of API v3."""
    if isinstance(item, dict) and isinstance(item.get("id"), str) and isinstance(item.get("properties"), dict):
        return item
    raise RejectedError("HubSpot answered with something else than CRM objects", source="hubspot")


def _addresses(contact: Contact) -> list[str]:
    """A contact's addresses in lower case, the primary one first. Either property may be null."""
    properties = contact["properties"]
    joined = f"{properties.get('email') or ''};{properties.get('hs_additional_emails') or ''}"
    return [address for part in joined.split(";") if (address := part.strip().lower())]


def _ids(contact: Contact) -> Iterable[str]:
    """A contact's id, and those of the contacts that were merged into it."""
    return [contact["id"], *(contact["properties"].get("hs_merged_object_ids") or "").split(";")]


def _wait(reply: Reply) -> float:
    """How long the limit lasts that a 429 names in ``policyName``, or in its sentence where there is none."""
    try:
        said = reply.object()
    except DsrError:  # a proxy's page
        said = {}
    text = f"{said.get('policyName')} {said.get('message')}".upper()
    return next((seconds for name, seconds in WAITS if name in text), 1.0)
