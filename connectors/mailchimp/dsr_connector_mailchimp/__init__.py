"""Mailchimp Marketing: a member is deleted permanently from every audience; store customers are deleted with their orders and carts.

What is said here about Mailchimp's behaviour was read in:

* Mailchimp's API description 3.0.55 (https://mailchimp.com/developer/marketing/api/list-members/): a member's id is the MD5 of the address in
  lower case; DELETE only archives; ``delete-permanent`` erases, and makes it impossible to import the address again.
* Recorded traffic: an archived member is still answered with 200, and archiving it again with 405.
* https://mailchimp.com/help/delete-contacts/: a permanent deletion removes the personal data from one audience and anonymises the reports.
* https://mailchimp.com/developer/marketing/docs/fundamentals/: ten connections at a time, no rate headers, and a bare 403 under heavy load.
* https://mailchimp.com/developer/marketing/api/ecommerce-customers/ and the orders and carts beside it.
* https://mailchimp.com/help/collect-consent-with-gdpr-forms/: an audience may ask for marketing permissions; recorded traffic shows Mailchimp's own
  three, "Email", "Direct Mail" and "Customized Online Advertising", with other ids in each audience.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import httpx
from pydantic import Field, SecretStr, ValidationError

from dsr_sdk import (
    Anonymized,
    Category,
    ConfigError,
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
    OptedOut,
    Outcome,
    Phone,
    Record,
    RejectedError,
    Subject,
    TransientError,
    Unsupported,
    VendorId,
    Verb,
)
from dsr_sdk.http import Api, BasicAuth, Offset, Reply, at

__all__ = ["Mailchimp"]

MEMBER = "/lists/{list_id}/members/{member}"
STORE = "/ecommerce/stores/{store_id}"
CUSTOMER = f"{STORE}/customers/{{customer_id}}"

PARTS: Mapping[str, str] = {"activity-feed": "activity", "events": "event", "notes": "note", "tags": "tag"}
"""What Mailchimp keeps about a member in lists of their own: the end of the path, and our name for one item."""


ADVERTISING = "Customized Online Advertising"
"""Mailchimp's own text for the permission that audiences ask for; a controller may have reworded it."""


class Mailchimp(Connector):
    """Mailchimp Marketing: members are deleted permanently from every audience, with their activity, notes, events and tags; customers of connected
    stores are deleted with their orders and carts. Nothing is retained but anonymous campaign reports. Opting out withdraws the permission to
    advertise to the person elsewhere, and leaves the mail that they want."""

    slug, title, category = "mailchimp", "Mailchimp", Category.MARKETING
    docs = "https://mailchimp.com/developer/marketing/api/"
    evidence = (Evidence.SANDBOX, Evidence.SPEC, Evidence.RECORDINGS)
    identified_by = (Email,)
    connections = 10
    holds = (
        Holds("member", data=("user.name", "user.contact", "user.location", "user.device.ip_address", "user.privacy_preferences", "user.unique_id")),
        Holds("activity", data=("user.behavior",), erased_with="member"),
        Holds("event", data=("user.behavior",), erased_with="member"),
        Holds("note", data=("user.content.private",), erased_with="member"),
        Holds("tag", data=("user.demographic.profile",), erased_with="member"),
        Holds("goal", data=("user.behavior.browsing_history",), erased_with="member"),
        Holds(
            "report",
            data=("user.behavior",),
            on_erase=Anonymized,
            erased_with="member",
            exported=False,
            excuse="reports count what a campaign's recipients did; what this person did is copied as activity",
        ),
        Holds("customer", data=("user.name", "user.contact", "user.behavior.purchase_history")),
        Holds("order", data=("user.name", "user.contact", "user.behavior.purchase_history"), erased_with="customer"),
        Holds("cart", data=("user.name", "user.contact", "user.behavior.purchase_history"), erased_with="customer"),
    )
    # A shop's own integration would copy a customer it still has into Mailchimp again.
    after = ("shopify",)
    # Deletions answer when they are done; a few minutes allow for replicas.
    lag = timedelta(minutes=5)

    class Config(ConnectorConfig):
        api_key: SecretStr = Field(description="an API key; the letters after its dash name the data centre (...-us6)")
        server: str | None = Field(None, pattern=r"^[a-z]{2,4}[0-9]{1,3}$", description="the data centre, where the key does not name it (us6)")
        user_id_field: str | None = Field(None, description="the merge tag under which your products store their own user id (USERID)")
        phone_field: str = Field("PHONE", description="the merge tag of the telephone number")
        advertising_permission: str = Field(
            ADVERTISING, description="the text of the marketing permission to advertise elsewhere, which an opt-out withdraws; empty if you never do"
        )

    def __init__(self, config: ConnectorConfig | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        server = self.config.server or self.config.api_key.get_secret_value().rpartition("-")[2]
        if re.fullmatch(r"[a-z]{2,4}[0-9]{1,3}", server):
            self.base_url = f"https://{server}.api.mailchimp.com/3.0"
        elif not self.config.base_url:
            fix = "set server to the first part of the address you see in Mailchimp (https://us6.admin.mailchimp.com)"
            raise ConfigError("the API key does not end in a data centre", field=f"sources.{self.name}.server", fix=fix)
        if not self.config.advertising_permission.strip():  # a setting, so the verb is this data source's own and not the class's
            self.supports = self._supports  # type: ignore[method-assign]  # a class method

    def _supports(self, verb: Verb) -> Unsupported | None:
        return Unsupported("these settings say that nobody is advertised to through this account") if verb is Verb.OPT_OUT else super().supports(verb)

    def auth(self) -> httpx.Auth:
        return BasicAuth("dsr-sdk", self.config.api_key)  # the user name is ignored

    def problem(self, reply: Reply) -> DsrError | None:
        # Mailchimp explains a refusal in a problem document. A 403 without one is its answer to too much traffic.
        if reply.status == 403 and not isinstance(_body(reply), dict):
            return TransientError(f"{reply.call} answered a bare 403, which is how Mailchimp sheds load")
        return None

    def check(self, api: Api) -> str:
        total = api.get("/lists", {"count": 1, "fields": "lists.id,total_items"}).object().get("total_items")
        return f"{total} audiences can be read"

    # --- find --------------------------------------------------------------------------------------------------------------------

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        """Members are looked up in every audience by id: search-members is fuzzy, and nothing says that it knows those who are archived."""
        email = subject.email
        member_id = _member_id(email)
        for audience in api.pages("/lists", {"fields": "lists.id,total_items"}, paging=_pages("lists")):
            list_id = str(audience["id"])
            reply = api.get(MEMBER, list_id=list_id, member=member_id, absent_ok=True)
            if not reply.absent:
                data = {"list_id": list_id, "member": member_id}
                yield Match("member", f"{list_id}/{member_id}", identities=self._identities(reply.object()), data=data)
        # The audiences have proven the base URL: a 404 here can only mean that the account has no e-commerce.
        for store in api.pages("/ecommerce/stores", {"fields": "stores.id,total_items"}, paging=_pages("stores"), absent_ok=True):
            store_id = str(store["id"])
            for customer in api.pages(f"{STORE}/customers", {"email_address": email}, paging=_pages("customers"), store_id=store_id):
                if str(customer.get("email_address")).lower() == email:  # should the filter ever be less exact than it says
                    customer_id = str(customer["id"])
                    yield Match("customer", f"{store_id}/{customer_id}", data={"store_id": store_id, "customer_id": customer_id})

    def _identities(self, member: Mapping[str, Any]) -> tuple[ControllerId | Phone | VendorId, ...]:
        merge_fields = member.get("merge_fields")
        fields = merge_fields if isinstance(merge_fields, dict) else {}  # an audience without any answers an empty list
        found: list[tuple[type[ControllerId | Phone], Any]] = [(Phone, fields.get(self.config.phone_field)), (Phone, member.get("sms_phone_number"))]
        if self.config.user_id_field:
            found.append((ControllerId, fields.get(self.config.user_id_field)))
        identities: list[ControllerId | Phone | VendorId] = []
        if member.get("unique_email_id"):
            identities.append(VendorId(vendor=self.slug, value=str(member["unique_email_id"])))
        for kind, value in found:
            try:
                # Merge fields are text, numbers, or whole addresses, whatever their name says.
                identities.append(kind(value=str(value) if isinstance(value, int) else value))
            except ValidationError:  # empty, or a telephone number without its country
                continue
        return tuple(identities)

    # --- act ---------------------------------------------------------------------------------------------------------------------

    def erase(self, api: Api, match: Match) -> Outcome:
        if match.resource == "member":
            # Repeating it is harmless: a member that is gone answers 404, which the SDK reads as Absent.
            path = f"{MEMBER}/actions/delete-permanent"
            api.post(path, list_id=match.data["list_id"], member=match.data["member"], retry=True)
            return Erased()
        # All are listed before the first is deleted: paging by offset would skip some. The customer goes last, so that a run that breaks off
        # finds it again, and with it what is left.
        store_id = match.data["store_id"]
        for kind, item in list(self._purchases(api, match)):
            api.delete(f"{STORE}/{kind}s/{{item_id}}", store_id=store_id, item_id=str(item["id"]), absent_ok=True)
        api.delete(CUSTOMER, store_id=store_id, customer_id=match.data["customer_id"])
        return Erased()

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        if match.resource == "customer":
            yield _record("customer", api.get(CUSTOMER, store_id=match.data["store_id"], customer_id=match.data["customer_id"]).object())
            for kind, item in self._purchases(api, match):
                yield _record(kind, item)
            return
        list_id, member = match.data["list_id"], match.data["member"]
        yield _record("member", api.get(MEMBER, list_id=list_id, member=member).object())
        # The member has just been read: a 404 below it only means that Mailchimp keeps no such list about it.
        for part, resource in PARTS.items():
            pages = _pages("activity" if resource == "activity" else part)
            for item in api.pages(f"{MEMBER}/{part}", paging=pages, absent_ok=True, list_id=list_id, member=member):
                yield _record(resource, item)
        goals = api.get(f"{MEMBER}/goals", list_id=list_id, member=member, absent_ok=True)  # the last 50, in one answer
        for item in () if goals.absent else goals.object().get("goals") or ():
            yield _record("goal", item)

    def _purchases(self, api: Api, match: Match) -> Iterator[tuple[str, dict[str, Any]]]:
        """A customer's orders and carts in one store. Carts cannot be asked for by customer, so all of a store's are looked through."""
        customer_id = match.data["customer_id"]
        for kind, params in (("order", {"customer_id": customer_id}), ("cart", {})):
            for item in api.pages(f"{STORE}/{kind}s", params, paging=_pages(f"{kind}s"), store_id=match.data["store_id"]):
                if str(at(item, "customer.id")) == customer_id:
                    yield kind, item

    def opt_out(self, api: Api, match: Match) -> Outcome:
        """Withdraw the permission to advertise to the person in other places, which is what laws call sharing. Unsubscribing is another right."""
        list_id, member = self._membership(api, match)
        permission = self._advertising(api.get(MEMBER, list_id=list_id, member=member))
        if permission is None:
            return Failed(
                "The audience asks for no permission of this name, so there is none to withdraw: take the person out of your advertising audiences, "
                "and set advertising_permission to your own wording",
                "no_permission",
            )
        if permission.get("enabled") is not False:
            change = {"marketing_permissions": [{"marketing_permission_id": permission["marketing_permission_id"], "enabled": False}]}
            # Without the parameter a member who lacks a merge field that became mandatory later could not be changed.
            reply = api.patch(MEMBER, change, params={"skip_merge_validation": "true"}, retry=True, list_id=list_id, member=member)
            if (self._advertising(reply) or {}).get("enabled") is not False:
                raise RejectedError(f"{reply.call} answered {reply.status} and left the permission as it was", source=self.name, code="not_confirmed")
        return OptedOut()

    def _membership(self, api: Api, match: Match) -> tuple[str, str]:
        """Audience and member through which a match is advertised to. A store's customers are members of the store's audience; one who is no member
        any more (404, so Absent) cannot be advertised to."""
        if match.resource == "member":
            return match.data["list_id"], match.data["member"]
        store_id = match.data["store_id"]
        customer = api.get(CUSTOMER, store_id=store_id, customer_id=match.data["customer_id"]).object()
        reply = api.get(STORE, store_id=store_id)
        list_id = reply.object().get("list_id")
        if not list_id:
            raise RejectedError(f"{reply.call} answered {reply.status} without the store's audience", source=self.name)
        return str(list_id), _member_id(str(customer.get("email_address")).lower())

    def _advertising(self, reply: Reply) -> Mapping[str, Any] | None:
        wanted = self.config.advertising_permission.strip().casefold()
        permissions = reply.object().get("marketing_permissions") or ()
        return next((one for one in permissions if str(one.get("text")).strip().casefold() == wanted), None)

    email = Unsupported("Mailchimp is reached through its API")


def _member_id(email: str) -> str:
    """A member's id: the MD5 of the address in lower case."""
    return hashlib.md5(email.encode(), usedforsecurity=False).hexdigest()


def _pages(items: str) -> Offset:
    return Offset(items, size=1000, total="total_items")


def _record(resource: str, data: Mapping[str, Any]) -> Record:
    """A record without the links to Mailchimp's own API."""
    return Record(resource, {key: value for key, value in data.items() if key != "_links"})


def _body(reply: Reply) -> Any:
    """The body, when it is JSON."""
    try:
        return reply.json()
    except DsrError:
        return None
