"""A small fake of Twilio SendGrid, with state: contacts, what is kept of messages sent, suppression lists, subusers, and jobs that take their time.

Bodies are written after Twilio's reference and API description; the README says which behaviour is known from where.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from dsr_sdk.testing import Answer, Call, Person, Sandbox, route

__all__ = ["SendGridSandbox"]

CONTACT_SECONDS = 60.0
"""How long a deletion of contacts takes."""

ERASURE_SECONDS = 3_600.0
"""How long an erasure job takes. Nothing is known of the real one."""

LISTS = ("global_unsubscribe", "group_unsubscribe", "spam_report", "bounce", "block", "invalid_email")
SCOPES = ("marketing.read", "marketing.delete", "suppression.read", "recipients.erasejob.create", "recipients.erasejob.read")

Body = dict[str, Any]


@dataclass
class _Account:
    """The account of the key, or one of its subusers: nothing is shared between them."""

    contacts: dict[str, Body] = field(default_factory=dict)
    email_data: dict[str, str] = field(default_factory=dict)
    suppressed: dict[str, dict[str, Body]] = field(default_factory=lambda: {name: {} for name in LISTS})

    def contact(self, address: str) -> Body | None:
        """The contact of an address, primary or alternate."""
        return next((one for one in self.contacts.values() if address == one["email"] or address in one["alternate_emails"]), None)


class SendGridSandbox(Sandbox):
    """One SendGrid account with its subusers.

    Attributes:
        scopes: What the key may do.
        invalid: Addresses that SendGrid calls invalid; one of them fails a whole call.
        unerasable: Addresses that only an erasure job calls invalid, while the search knows them.
        stuck: No job ever ends.
    """

    slug, title = "sendgrid", "Twilio SendGrid"
    credentials: ClassVar[Mapping[str, str]] = {"api_key": "SG.sandbox-api-key"}
    windows = ((600, 60.0, "", ""), (100, 60.0, "/v3/recipients/erasejob", "POST"))

    def __init__(self) -> None:
        super().__init__()
        self.accounts: dict[str, _Account] = {"": _Account()}
        self.scopes = list(SCOPES)
        self.invalid: set[str] = set()
        self.unerasable: set[str] = set()
        self.stuck = False
        self._jobs: list[tuple[float, Callable[[], None]]] = []

    # --- state -----------------------------------------------------------------------------------------------------------------------

    def add_person(self, person: Person) -> None:
        """A contact, and the data of messages sent to it. Adding somebody again updates the contact.

        ``extra["sendgrid"]``: ``suppressions`` (names of lists the address is on), ``alternate_emails``, ``subuser``, and ``contact: False``
        (mail was sent to the address, and it is no contact).
        """
        wishes = person.for_vendor(self.slug)
        account = self.accounts.setdefault(wishes.get("subuser", ""), _Account())
        address = person.email.lower()
        account.email_data.setdefault(address, f"mail-{hashlib.sha256(address.encode()).hexdigest()[:12]}")
        if wishes.get("contact", True):
            known = account.contact(address)
            contact_id = known["id"] if known else str(uuid.uuid5(uuid.NAMESPACE_URL, f"{wishes.get('subuser', '')}/{address}"))
            account.contacts[contact_id] = self._contact(contact_id, address, person)
        for name in wishes.get("suppressions", ()):
            account.suppressed[name][address] = _entry(name, address, int(self.now()))

    def _contact(self, contact_id: str, address: str, person: Person) -> Body:
        stamp = datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        blank = ("address_line_1", "address_line_2", "city", "country", "facebook", "line", "postal_code", "state_province_region", "whatsapp")
        return {
            **dict.fromkeys(blank, ""),
            "id": contact_id,
            "email": address,
            "alternate_emails": list(person.for_vendor(self.slug).get("alternate_emails", ())),
            "first_name": person.first_name,
            "last_name": person.last_name,
            "phone_number": person.phone,
            "unique_name": "",
            "external_id": person.user_id,
            "list_ids": [],
            "segment_ids": [],
            "custom_fields": {},
            "created_at": stamp,
            "updated_at": stamp,
            "_metadata": {"self": f"https://api.sendgrid.com/v3/marketing/contacts/{contact_id}"},
        }

    def holds(self, email: str) -> bool:
        self._work()
        address = email.lower()
        return any(address in account.email_data or account.contact(address) is not None for account in self.accounts.values())

    def records(self, email: str) -> Mapping[str, int]:
        self._work()
        address, accounts = email.lower(), self.accounts.values()
        listed = {name: sum(address in account.suppressed[name] for account in accounts) for name in LISTS}
        contacts = sum(account.contact(address) is not None for account in accounts)
        return {"contact": contacts, "email_data": sum(address in account.email_data for account in accounts), **listed}

    def refuse(self, email: str) -> bool:
        """SendGrid tells nothing of single addresses: one that is invalid to it fails the whole job, with 400 and its name."""
        self.unerasable.add(email.lower())
        return True

    # --- the door --------------------------------------------------------------------------------------------------------------------

    def authorised(self, call: Call) -> bool:
        self._work()
        return call.headers.get("authorization") == f"Bearer {self.credentials['api_key']}"

    def denied(self, call: Call) -> Answer:
        return _refused(401, "authorization required")

    def no_route(self, call: Call) -> Answer:
        return _refused(404, "Not Found")

    def too_many(self, call: Call, wait: float) -> Answer:
        answer = _refused(429, "too many requests")
        answer.headers |= {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(math.ceil(self.now() + wait))}
        return answer

    def finish(self, call: Call, answer: Answer) -> Answer:
        if self.limits and "X-RateLimit-Remaining" not in answer.headers:
            window = next((one for one in reversed(self.limits) if call.path.startswith(one.on) and one.method in ("", call.method)), self.limits[0])
            answer.headers |= {
                "X-RateLimit-Limit": str(window.calls),
                "X-RateLimit-Remaining": str(window.left),
                "X-RateLimit-Reset": str(math.ceil(self.now() + window.per)),
            }
        return answer

    def _account(self, call: Call) -> _Account:
        return self.accounts.setdefault(call.headers.get("on-behalf-of", ""), _Account())

    # --- contacts --------------------------------------------------------------------------------------------------------------------

    @route("GET", "/v3/scopes")
    def list_scopes(self, call: Call) -> Body:
        return {"scopes": self.scopes}

    @route("POST", "/v3/marketing/contacts/search/emails")
    def search(self, call: Call) -> Answer:
        addresses = [str(one).lower() for one in (call.json() or {}).get("emails", []) if one]
        if not addresses or len(addresses) > 100 or self.invalid & set(addresses):
            return _refused(400, "emails are invalid", "emails")
        found = {address: self._account(call).contact(address) for address in addresses}
        if not any(found.values()):
            return _refused(404, "no contacts found")
        result = {address: {"contact": contact} if contact else {"error": "contact not found"} for address, contact in found.items()}
        return Answer.json({"result": result})

    @route("DELETE", "/v3/marketing/contacts")
    def delete_contacts(self, call: Call) -> Answer:
        ids = [one for one in call.params.get("ids", "").split(",") if one]
        if not ids:
            return _refused(400, "ids or delete_all_contacts is required", "ids")
        account = self._account(call)

        def run() -> None:
            for one in ids:
                if account.contacts.pop(one, None):
                    self.effect(f"erase contact {one}")

        return self._enqueue(CONTACT_SECONDS, run)

    @route("POST", "/v3/recipients/erasejob")
    def erase(self, call: Call) -> Answer:
        if "recipients.erasejob.create" not in self.scopes:
            return _refused(403, "Not authorized", "")
        addresses = [str(one).lower() for one in (call.json() or {}).get("email_addresses", [])]
        if not addresses or len(addresses) > 5_000 or len(call.body) > 256 * 1024:
            return _refused(400, "too many email_addresses", "email_addresses")
        wrong = next((one for one in addresses if one in self.invalid | self.unerasable), None)
        if wrong is not None:
            return _refused(400, f"Email_address {wrong} is not valid", "email_addresses")
        account = self._account(call)

        def run() -> None:
            for address in addresses:
                name = account.email_data.pop(address, None)
                if name:
                    self.effect(f"erase email data {name}")

        return self._enqueue(ERASURE_SECONDS, run)

    def _enqueue(self, seconds: float, run: Callable[[], None]) -> Answer:
        self._jobs.append((self.now() + seconds, run))
        return Answer.json({"job_id": str(uuid.uuid4())}, 202)

    def finish_jobs(self) -> None:
        self._jobs = [(self.now(), run) for _, run in self._jobs]
        self._work()

    def _work(self) -> None:
        if self.stuck:
            return
        due = [run for moment, run in self._jobs if moment <= self.now()]
        self._jobs = [job for job in self._jobs if job[0] > self.now()]
        for run in due:
            run()

    # --- suppressions ----------------------------------------------------------------------------------------------------------------

    def _listed(self, call: Call, name: str) -> Body | None:
        return self._account(call).suppressed[name].get(call.ids["email"].lower())

    @route("GET", "/v3/asm/suppressions/global/{email}")
    def global_unsubscribe(self, call: Call) -> Body:
        entry = self._listed(call, "global_unsubscribe")
        return {"recipient_email": entry["email"]} if entry else {}

    @route("GET", "/v3/suppression/unsubscribes")
    def unsubscribes(self, call: Call) -> Answer:
        start = call.params.get("email", "").lower()
        entries = self._account(call).suppressed["global_unsubscribe"].values()
        return Answer.json([entry for entry in entries if entry["email"].startswith(start)])

    @route("GET", "/v3/asm/suppressions/{email}")
    def group_unsubscribe(self, call: Call) -> Body:
        entry = self._listed(call, "group_unsubscribe")
        groups = (("Weekly News", entry is not None), ("Offers", False))
        return {
            "suppressions": [
                {"id": i, "name": name, "description": name, "is_default": False, "suppressed": suppressed}
                for i, (name, suppressed) in enumerate(groups, start=1)
            ]
        }

    @route("GET", "/v3/suppression/spam_reports/{email}")
    def spam_reports(self, call: Call) -> Answer:
        return self._list(call, "spam_report")

    @route("GET", "/v3/suppression/bounces/{email}")
    def bounces(self, call: Call) -> Answer:
        return self._list(call, "bounce")

    @route("GET", "/v3/suppression/blocks/{email}")
    def blocks(self, call: Call) -> Answer:
        return self._list(call, "block")

    @route("GET", "/v3/suppression/invalid_emails/{email}")
    def invalid_emails(self, call: Call) -> Answer:
        return self._list(call, "invalid_email")

    def _list(self, call: Call, name: str) -> Answer:
        entry = self._listed(call, name)
        return Answer.json([entry] if entry else [])


def _refused(status: int, message: str, field_name: str | None = None) -> Answer:
    return Answer.json({"errors": [{"field": field_name, "message": message}]}, status)


def _entry(name: str, address: str, created: int) -> Body:
    more: dict[str, Body] = {
        "spam_report": {"ip": "192.0.2.7"},
        "bounce": {"reason": "550 5.1.1 The email account that you tried to reach does not exist.", "status": "5.1.1"},
        "block": {"reason": "error dialing remote address", "status": "4.0.0"},
        "invalid_email": {"reason": "Mail domain mentioned in email address is unknown"},
    }
    return {"created": created, "email": address, **more.get(name, {})}
