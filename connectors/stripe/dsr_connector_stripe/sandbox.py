"""A sandbox of Stripe's API, as far as the connector uses it: API version 2023-08-16, state, keys, paging, search with a lagging index, limits."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from dsr_sdk.testing import Answer, Call, Person, Sandbox, route

__all__ = ["StripeSandbox"]

API_KEY = "rk_sandbox_made_up"
INDEX_LAG = 60.0
"""Seconds until search notices a deletion (https://docs.stripe.com/search: "searchable in under 1 minute")."""

_PAGING = frozenset({"limit", "starting_after", "ending_before", "expand[]", "expand[0]", "expand[1]"})
Row = dict[str, Any]


class StripeSandbox(Sandbox):
    """Stripe. What a person gets is told by ``extra["stripe"]``: how many ``customers``, ``invoices``, ``charges``, ``payment_intents``,
    ``payment_methods`` and ``subscriptions``, and ``email`` when Stripe stores the address in another spelling."""

    slug, title = "stripe", "Stripe"
    credentials: ClassVar[dict[str, str]] = {"api_key": API_KEY}
    windows = (
        (100, 1.0, "", ""),
        (20, 1.0, "/v1/customers/search", ""),
        (25, 1.0, "/v1/customers/", "DELETE"),
        (25, 1.0, "/v1/invoices", ""),
        (25, 1.0, "/v1/charges", ""),
        (25, 1.0, "/v1/payment_intents", ""),
        (25, 1.0, "/v1/subscriptions", ""),
    )

    def __init__(self) -> None:
        super().__init__()
        self.customers: dict[str, Row] = {}
        self.rows: dict[str, list[Row]] = {"invoice": [], "charge": [], "payment_intent": [], "subscription": [], "payment_method": []}
        self.index: dict[str, tuple[Row, float | None]] = {}
        """What search knows: the customer as it was indexed, and when it was deleted."""
        self.search_available = True
        self._numbers = 0
        self._requests = 0

    # --- people --------------------------------------------------------------------------------------------------------------------

    def add_person(self, person: Person) -> None:
        wish = person.for_vendor("stripe")
        for _ in range(int(wish.get("customers", 1))):
            customer = self._customer(person, str(wish.get("email", person.email)))
            for name, usual in (("payment_method", 1), ("subscription", 1), ("invoice", 1), ("charge", 1), ("payment_intent", 1)):
                for _ in range(int(wish.get(f"{name}s", usual))):
                    self.rows[name].insert(0, getattr(self, f"_{name}")(customer))

    def holds(self, email: str) -> bool:
        owners = {key for key, row in self.customers.items() if not row.get("deleted") and (row["email"] or "").lower() == email.lower()}
        cards = [row for row in self.rows["payment_method"] if (row["billing_details"]["email"] or "").lower() == email.lower()]
        return bool(owners or cards)

    def records(self, email: str) -> Mapping[str, int]:
        """The index remembers whose a deleted customer was, and with it whose the invoices are."""
        owners = {key for key, (row, _) in self.index.items() if (row["email"] or "").lower() == email.lower()}
        kept = {kind: sum(row["customer"] in owners for row in rows) for kind, rows in self.rows.items()}
        return {"customer": sum(not self.customers[key].get("deleted") for key in owners), **kept}

    def add_records(self, email: str, count: int) -> None:
        for customer in [row for row in self.customers.values() if (row.get("email") or "").lower() == email.lower()]:
            for kind, rows in self.rows.items():
                rows[:0] = [getattr(self, f"_{kind}")(customer) for _ in range(count)]

    def customer_ids(self) -> list[str]:
        """The ids of all customers that are not deleted, oldest first."""
        return [key for key, row in self.customers.items() if not row.get("deleted")]

    def _new(self, prefix: str) -> tuple[str, int]:
        self._numbers += 1
        return f"{prefix}_Sandbox{self._numbers:07d}", 1_700_000_000 + self._numbers

    def _customer(self, person: Person, email: str) -> Row:
        key, created = self._new("cus")
        row: Row = {
            "id": key,
            "object": "customer",
            "address": None,
            "balance": 0,
            "created": created,
            "currency": "eur",
            "default_source": None,
            "delinquent": False,
            "description": None,
            "discount": None,
            "email": email,
            "invoice_prefix": f"SBX{self._numbers:05d}",
            "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None},
            "livemode": False,
            "metadata": {"user_id": person.user_id} if person.user_id else {},
            "name": " ".join(part for part in (person.first_name, person.last_name) if part) or None,
            "next_invoice_sequence": 1,
            "phone": person.phone or None,
            "preferred_locales": [],
            "shipping": None,
            "tax_exempt": "none",
            "test_clock": None,
        }
        self.customers[key] = row
        self.index[key] = (dict(row), None)
        return row

    def _billing(self, customer: Row) -> Row:
        address = {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None}
        return {"address": address, "email": customer["email"], "name": customer["name"], "phone": customer["phone"]}

    def _base(self, prefix: str, kind: str, customer: Row) -> Row:
        key, created = self._new(prefix)
        return {"id": key, "object": kind, "created": created, "customer": customer["id"], "livemode": False, "metadata": {}}

    def _payment_method(self, customer: Row) -> Row:
        card = {"brand": "visa", "exp_month": 8, "exp_year": 2030, "funding": "credit", "last4": "4242"}
        return {**self._base("pm", "payment_method", customer), "type": "card", "billing_details": self._billing(customer), "card": card}

    def _charge(self, customer: Row) -> Row:
        return {
            **self._base("ch", "charge", customer),
            "amount": 2000,
            "amount_captured": 2000,
            "amount_refunded": 0,
            "billing_details": self._billing(customer),
            "captured": True,
            "currency": "eur",
            "disputed": False,
            "paid": True,
            "receipt_email": customer["email"],
            "refunded": False,
            "status": "succeeded",
        }

    def _payment_intent(self, customer: Row) -> Row:
        return {
            **self._base("pi", "payment_intent", customer),
            "amount": 2000,
            "capture_method": "automatic",
            "confirmation_method": "automatic",
            "currency": "eur",
            "payment_method_types": ["card"],
            "receipt_email": customer["email"],
            "status": "succeeded",
        }

    def _subscription(self, customer: Row) -> Row:
        base = self._base("sub", "subscription", customer)
        return {
            **base,
            "automatic_tax": {"enabled": False},
            "billing_cycle_anchor": base["created"],
            "cancel_at_period_end": False,
            "canceled_at": None,
            "collection_method": "charge_automatically",
            "currency": "eur",
            "current_period_end": base["created"] + 2_592_000,
            "current_period_start": base["created"],
            "items": _listing([], f"/v1/subscription_items?subscription={base['id']}"),
            "start_date": base["created"],
            "status": "active",
        }

    def _invoice(self, customer: Row) -> Row:
        base = self._base("in", "invoice", customer)
        amounts = {"amount_due": 2000, "amount_paid": 2000, "amount_remaining": 0, "amount_shipping": 0, "subtotal": 2000, "total": 2000}
        return {
            **base,
            **amounts,
            "attempt_count": 1,
            "attempted": True,
            "automatic_tax": {"enabled": False, "status": None},
            "collection_method": "charge_automatically",
            "currency": "eur",
            "customer_email": customer["email"],
            "customer_name": customer["name"],
            "default_tax_rates": [],
            "lines": _listing([], f"/v1/invoices/{base['id']}/lines"),
            "paid": True,
            "paid_out_of_band": False,
            "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
            "period_end": base["created"],
            "period_start": base["created"],
            "post_payment_credit_notes_amount": 0,
            "pre_payment_credit_notes_amount": 0,
            "starting_balance": 0,
            "status": "paid",
            "status_transitions": {"finalized_at": base["created"], "marked_uncollectible_at": None, "paid_at": base["created"], "voided_at": None},
            "total_tax_amounts": [],
        }

    # --- the vendor's manners ------------------------------------------------------------------------------------------------------

    def authorised(self, call: Call) -> bool:
        basic = base64.b64encode(f"{API_KEY}:".encode()).decode()
        return call.headers.get("authorization") in (f"Bearer {API_KEY}", f"Basic {basic}")

    def denied(self, call: Call) -> Answer:
        answer = _error(401, "Invalid API Key provided: rk_********************")
        answer.headers["WWW-Authenticate"] = 'Bearer realm="Stripe"'
        return answer

    def too_many(self, call: Call, wait: float) -> Answer:
        answer = _error(429, "Request rate limit exceeded.", "rate_limit")
        answer.headers["Stripe-Rate-Limited-Reason"] = "endpoint-rate"
        answer.headers["Stripe-Should-Retry"] = "true"
        return answer

    def no_route(self, call: Call) -> Answer:
        text = f"Unrecognized request URL ({call.method}: {call.path}). Please see https://stripe.com/docs or we can help at "
        return _error(404, text + "https://support.stripe.com/.")

    def finish(self, call: Call, answer: Answer) -> Answer:
        self._requests += 1
        answer.headers.setdefault("Request-Id", f"req_Sandbox{self._requests:07d}")
        answer.headers.setdefault("Stripe-Version", call.headers.get("stripe-version", "2023-08-16"))
        return answer

    # --- customers -----------------------------------------------------------------------------------------------------------------

    @route("GET", "/v1/customers")
    def list_customers(self, call: Call) -> Answer:
        email = call.params.get("email")
        living = [row for row in reversed(self.customers.values()) if not row.get("deleted")]
        return _list(call, [row for row in living if email is None or row["email"] == email], {"email"}, "customer")

    @route("GET", "/v1/customers/search")
    def search_customers(self, call: Call) -> Answer:
        if not self.search_available:
            return _error(400, "Search is not available in your country.")
        query = re.fullmatch(r'email:"([^"]*)"', call.params.get("query", ""))
        if query is None:
            return _error(400, "We were unable to parse your search query.")
        found = [
            row
            for row, deleted_at in self.index.values()
            if (row["email"] or "").lower() == query.group(1).lower() and (deleted_at is None or self.now() < deleted_at + INDEX_LAG)
        ]
        size = int(call.params.get("limit", "10"))
        start = int(call.params.get("page", "0"))
        more = start + size < len(found)
        page = {"data": found[start : start + size], "has_more": more, "next_page": str(start + size) if more else None}
        return Answer.json({"object": "search_result", "url": call.path, **page})

    @route("GET", "/v1/customers/{id}")
    def get_customer(self, call: Call) -> Answer:
        row = self.customers.get(call.ids["id"])
        if row is None:
            return _missing("customer", call.ids["id"], "id")
        if row.get("deleted"):
            return Answer.json(row)
        expanded = {name: _listing([], f"{call.path}/{name}") for key, name in call.query if key.startswith("expand[")}
        return Answer.json({**row, **expanded})

    @route("DELETE", "/v1/customers/{id}")
    def delete_customer(self, call: Call) -> Answer:
        key = call.ids["id"]
        row = self.customers.get(key)
        if row is None or row.get("deleted"):
            return _missing("customer", key, "id")
        self.effect(f"erase {key}")
        self.customers[key] = {"id": key, "object": "customer", "deleted": True}
        self.index[key] = (self.index[key][0], self.now())
        self.rows["payment_method"] = [method for method in self.rows["payment_method"] if method["customer"] != key]
        for subscription in self.rows["subscription"]:
            if subscription["customer"] == key:
                subscription |= {"status": "canceled", "canceled_at": int(self.now())}
        return Answer.json(self.customers[key])

    @route("GET", "/v1/customers/{id}/payment_methods")
    def list_payment_methods(self, call: Call) -> Answer:
        row = self.customers.get(call.ids["id"])
        if row is None or row.get("deleted"):
            return _missing("customer", call.ids["id"], "customer")
        return _list(call, [method for method in self.rows["payment_method"] if method["customer"] == row["id"]], {"type"}, "payment_method")

    # --- what outlives the customer --------------------------------------------------------------------------------------------------

    @route("GET", "/v1/invoices")
    def list_invoices(self, call: Call) -> Answer:
        return self._of_customer(call, "invoice", {"customer", "status", "subscription"})

    @route("GET", "/v1/charges")
    def list_charges(self, call: Call) -> Answer:
        return self._of_customer(call, "charge", {"customer", "payment_intent"})

    @route("GET", "/v1/payment_intents")
    def list_payment_intents(self, call: Call) -> Answer:
        return self._of_customer(call, "payment_intent", {"customer"})

    @route("GET", "/v1/subscriptions")
    def list_subscriptions(self, call: Call) -> Answer:
        hidden = () if call.params.get("status") == "all" else ("canceled",)
        return self._of_customer(call, "subscription", {"customer", "status", "price"}, hidden)

    def _of_customer(self, call: Call, kind: str, filters: Iterable[str], hidden: tuple[str, ...] = ()) -> Answer:
        owner = call.params.get("customer")
        if owner is not None and owner not in self.customers:
            return _missing("customer", owner, "customer", 400)
        rows = [row for row in self.rows[kind] if owner in (None, row["customer"]) and row.get("status") not in hidden]
        return _list(call, rows, filters, kind)


def _error(status: int, message: str, code: str = "", param: str = "") -> Answer:
    error = {"message": message, "type": "invalid_request_error"}
    if code:
        error |= {"code": code, "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"}
    if param:
        error["param"] = param
    return Answer.json({"error": error}, status)


def _missing(kind: str, key: str, param: str, status: int = 404) -> Answer:
    return _error(status, f"No such {kind}: '{key}'", "resource_missing", param)


def _listing(rows: list[Row], url: str, more: bool = False) -> Row:
    return {"object": "list", "data": rows, "has_more": more, "url": url}


def _list(call: Call, rows: list[Row], filters: Iterable[str], kind: str) -> Answer:
    unknown = sorted({key for key, _ in call.query} - _PAGING - set(filters))
    if unknown:
        return _error(400, f"Received unknown parameter: {unknown[0]}", "parameter_unknown", unknown[0])
    limit = call.params.get("limit", "10")
    if not limit.isdigit() or not 1 <= int(limit) <= 100:
        return _error(400, "This value must be greater than or equal to 1 and less than or equal to 100.", "parameter_invalid_integer", "limit")
    after = call.params.get("starting_after")
    if after is not None:
        places = [place for place, row in enumerate(rows) if row["id"] == after]
        if not places:
            return _missing(kind, after, "starting_after", 400)
        rows = rows[places[0] + 1 :]
    return Answer.json(_listing(rows[: int(limit)], call.path, len(rows) > int(limit)))
