"""Stripe: customers are erased with their payment methods; the records of what they bought and paid are kept by law.

What is said here about Stripe's behaviour was read in:

* https://docs.stripe.com/api/customers/list and Stripe's OpenAPI description of 2023-08-16: the ``email`` filter is case-sensitive.
* https://docs.stripe.com/api/customers/delete: deletion is permanent, cancels subscriptions, and leaves a stub that can still be retrieved.
* https://docs.stripe.com/search: the search index lags behind, allows 20 calls a second, and does not exist for merchants in India.
* https://docs.stripe.com/rate-limits: 100 calls a second, 25 for one endpoint; a 429 may also be a lock on one object.
* https://docs.stripe.com/api/idempotent_requests: DELETE is idempotent by definition and must not carry an idempotency key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from pydantic import Field, SecretStr

from dsr_sdk import (
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
    Outcome,
    Reason,
    Record,
    RejectedError,
    Retained,
    Subject,
    TransientError,
    Unsupported,
    VendorId,
)
from dsr_sdk.http import Api, BearerAuth, Cursor, RateLimit, Reply, StartingAfter, at, retry_after

__all__ = ["Stripe"]

API_VERSION = "2023-08-16"
"""Pinned, so that an account's own default version cannot change what we read. The vendor's description we test against has it too."""

KEPT: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "invoice": ("/v1/invoices", {}),
    "charge": ("/v1/charges", {}),
    "payment_intent": ("/v1/payment_intents", {}),
    "subscription": ("/v1/subscriptions", {"status": "all"}),  # without it, Stripe leaves the cancelled ones out
}
"""What outlives its customer, and where it is listed."""

PAGES = StartingAfter("data")
SEARCH_PAGES = Cursor("data", cursor="next_page", param="page", more="has_more", size_param="limit")


class Stripe(Connector):
    """Stripe: customers are erased with their payment methods and sources; invoices, charges, payment intents and the records of cancelled
    subscriptions are kept."""

    slug, title, category = "stripe", "Stripe", Category.PAYMENTS
    docs = "https://docs.stripe.com/api/customers"
    evidence = (Evidence.SANDBOX, Evidence.SPEC, Evidence.RECORDINGS)
    identified_by = (Email, VendorId)
    holds = (
        Holds("customer", data=("user.name", "user.contact", "user.unique_id")),
        Holds("payment_method", data=("user.financial.credit_card", "user.financial.bank_account", "user.contact"), erased_with="customer"),
        Holds(
            "invoice",
            data=("user.name", "user.contact", "user.behavior.purchase_history"),
            on_erase=Retained,
            reason=Reason.LEGAL_OBLIGATION,
            text="Invoices are kept for as long as tax and accounting law requires.",
            title="invoices",
        ),
        Holds(
            "charge",
            data=("user.payment", "user.contact"),
            on_erase=Retained,
            reason=Reason.LEGAL_OBLIGATION,
            text="Records of payments are kept for as long as tax and accounting law requires.",
            title="charges",
        ),
        Holds(
            "payment_intent",
            data=("user.payment", "user.contact"),
            on_erase=Retained,
            reason=Reason.LEGAL_OBLIGATION,
            text="Records of payments and attempted payments are kept for as long as tax and accounting law requires.",
            title="payments",
        ),
        Holds(
            "subscription",
            data=("user.behavior.purchase_history",),
            on_erase=Retained,
            reason=Reason.VENDOR_CANNOT,
            text="Subscriptions are cancelled at once; Stripe keeps a record that they existed, which cannot be deleted.",
            title="subscriptions",
        ),
    )
    base_url = "https://api.stripe.com"
    # For live keys. Sandbox keys have 25 a second in all, which Stripe enforces itself.
    limits = (
        RateLimit(100, per=1),
        RateLimit(20, per=1, on="/v1/customers/search"),
        RateLimit(25, per=1, on="/v1/customers", method="GET"),
        RateLimit(25, per=1, on="/v1/customers/{id}", method="GET"),
        RateLimit(25, per=1, on="/v1/customers/{id}", method="DELETE"),
        *(RateLimit(25, per=1, on=path, method="GET") for path, _ in KEPT.values()),
    )

    class Config(ConnectorConfig):
        api_key: SecretStr = Field(description="a restricted key (rk_live_...); the README lists its permissions")
        search_other_spellings: bool = Field(True, description="also find Ada@Example.com when asked for ada@example.com; off for merchants in India")
        user_id_metadata: str | None = Field(None, description="the metadata key under which your products store their own user id on a customer")

    def auth(self) -> httpx.Auth:
        return BearerAuth(self.config.api_key)

    def headers(self) -> Mapping[str, str]:
        return {"Stripe-Version": API_VERSION}

    def check(self, api: Api) -> str:
        customers = api.get("/v1/customers", {"limit": 1}).object().get("data") or [{}]
        mode = {True: ", live mode", False: ", test mode"}.get(customers[0].get("livemode"), "")
        return f"customers can be read{mode}"

    # --- find --------------------------------------------------------------------------------------------------------------------

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        for customer in self._customers(api, subject):
            customer_id = customer["id"]
            yield Match("customer", customer_id, identities=self._identities(customer))
            for resource, (path, params) in KEPT.items():
                count = sum(1 for _ in api.pages(path, {"customer": customer_id, **params}, paging=PAGES))
                if count:
                    yield Match(resource, customer_id, count=count)

    def _customers(self, api: Api, subject: Subject) -> Iterator[dict[str, Any]]:
        if subject.has(VendorId):
            vendor_id = subject.first(VendorId)
            customer = self._customer(api, vendor_id.value) if vendor_id.vendor == self.slug else None
            if customer:
                yield customer
            return
        email = subject.first(Email)
        seen: set[str] = set()
        for spelling in dict.fromkeys((email.given, email.value)):
            for customer in api.pages("/v1/customers", {"email": spelling}, paging=PAGES):
                if _is_living(customer) and customer["id"] not in seen and _has_address(customer, email):
                    seen.add(customer["id"])
                    yield customer
        if self.config.search_other_spellings:
            # Search ignores case but answers from an index that lags: a hit counts only as the customer stands now. The address cannot
            # break out of the quotes: an `Email` holds neither quotes nor backslashes.
            for hit in api.pages("/v1/customers/search", {"query": f'email:"{email.value}"'}, paging=SEARCH_PAGES):
                if _is_living(hit) and hit["id"] not in seen:
                    seen.add(hit["id"])
                    customer = self._customer(api, hit["id"])
                    if customer and customer.get("email") and _has_address(customer, email):
                        yield customer

    def _customer(self, api: Api, customer_id: str) -> dict[str, Any] | None:
        reply = api.get("/v1/customers/{id}", id=customer_id, absent_ok=True)
        customer = None if reply.absent else reply.object()
        return customer if customer and _is_living(customer) else None

    def _identities(self, customer: Mapping[str, Any]) -> tuple[VendorId | ControllerId, ...]:
        found: list[VendorId | ControllerId] = [VendorId(vendor=self.slug, value=customer["id"])]
        user_id = (customer.get("metadata") or {}).get(self.config.user_id_metadata)
        if isinstance(user_id, str) and user_id.strip() and user_id.isprintable():
            found.append(ControllerId(value=user_id))
        return tuple(found)

    # --- act ---------------------------------------------------------------------------------------------------------------------

    def erase(self, api: Api, match: Match) -> Outcome:
        # A customer that is gone already answers 404 resource_missing, which the SDK reads as Absent.
        answer = api.delete("/v1/customers/{id}", id=match.id).object()
        return Erased() if answer.get("deleted") is True else Failed("Stripe answered the deletion without confirming it", "not_deleted")

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        if match.resource in KEPT:
            path, params = KEPT[match.resource]
            for item in api.pages(path, {"customer": match.id, **params}, paging=PAGES):
                yield Record(match.resource, item)
            return
        customer = api.get("/v1/customers/{id}", {"expand[]": ["sources", "tax_ids"]}, id=match.id).object()
        for part in ("sources", "tax_ids"):
            if at(customer, f"{part}.has_more"):  # a list inside an object ends after ten
                customer[part] = {
                    **customer[part],
                    "data": list(api.pages(f"/v1/customers/{{id}}/{part}", paging=PAGES, id=match.id)),
                    "has_more": False,
                }
        yield Record("customer", customer)
        if _is_living(customer):
            for method in api.pages("/v1/customers/{id}/payment_methods", paging=PAGES, id=match.id):
                yield Record("payment_method", method)

    opt_out = Unsupported("Stripe handles payments: there is no sale or sharing of personal data to stop there")
    email = Unsupported("Stripe is reached through its API")

    # --- what Stripe's answers mean ----------------------------------------------------------------------------------------------

    def problem(self, reply: Reply) -> DsrError | None:
        if reply.ok:
            return None
        said = f"{reply.call} answered {reply.status}" + (f" ({reply.code})" if reply.code else "")
        if reply.status == 404 and "Unrecognized request URL" in reply.text:
            # About the address, not about a customer: it must not read as "already gone".
            return ConfigError(f"{said}: Stripe does not know this address", field="base_url", fix="check the base URL")
        if reply.call == "GET /v1/customers/search" and reply.status in (400, 404):
            return ConfigError(
                f"{said}: the account has no search", field="search_other_spellings", fix="set it to false (Stripe offers no search in India)"
            )
        if reply.status == 429 and reply.code != "lock_timeout":
            # Limits count by the second and Stripe documents no Retry-After. A lock_timeout concerns one object only: no reason to halt the rest.
            return TransientError(said, retry_after=retry_after(reply.headers) or 1.0)
        if reply.headers.get("stripe-should-retry") == "true":
            return TransientError(said, retry_after=retry_after(reply.headers), maybe_done=reply.status >= 500)
        return None


def _is_living(customer: Any) -> bool:
    """Whether it is a customer, and not the stub ``{"id": ..., "deleted": true}`` that Stripe keeps of a deleted one."""
    if not isinstance(customer, dict) or not isinstance(customer.get("id"), str):
        raise RejectedError("Stripe answered something without an id where a customer belongs")
    return customer.get("deleted") is not True


def _has_address(customer: Mapping[str, Any], email: Email) -> bool:
    """Whether the customer's address, in any spelling, is the one asked for; an answer that leaves it out is trusted."""
    return (customer.get("email") or email.value).lower() == email.value
