"""Twilio SendGrid: marketing contacts, the e-mail data behind them, and the suppression lists.

Written from Twilio's reference and API description, each fact beside the line it explains.

* contacts      https://www.twilio.com/docs/sendgrid/api-reference/contacts
* erasure       https://www.twilio.com/docs/sendgrid/api-reference/recipients-data-erasure-api/erase-recipients-email-data
* suppressions  https://www.twilio.com/docs/sendgrid/api-reference/suppressions-global-suppressions and its neighbours
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

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
    Holds,
    Match,
    Outcome,
    Pending,
    Reason,
    Record,
    RejectedError,
    Retained,
    Subject,
    TransientError,
    Unsupported,
    VendorId,
)
from dsr_sdk.http import Api, BearerAuth, RateLimit, Reply

__all__ = ["SendGrid"]

SEARCH_SIZE = 100
"""Addresses one search takes: .../contacts/get-contacts-by-emails"""

JOB_SIZE, JOB_BYTES = 5_000, 256_000
"""What one erasure job takes: "5,000 email_addresses or a total payload size of 256Kb ..., whichever comes first"."""

DELETE_SIZE = 100
"""Contact ids in one call. The reference names no limit; a hundred ids make a URL of 4 kB."""

ERASURE_TAKES = timedelta(days=1)
"""When to look first. Contacts are gone sooner; the erasure job says neither how long it takes nor when it has ended, so it is given a day."""

REGIONS = {"global": "https://api.sendgrid.com", "eu": "https://api.eu.sendgrid.com"}

SUPPRESSIONS = {
    "global_unsubscribe": "/v3/asm/suppressions/global/{email}",
    "group_unsubscribe": "/v3/asm/suppressions/{email}",
    "spam_report": "/v3/suppression/spam_reports/{email}",
    "bounce": "/v3/suppression/bounces/{email}",
    "block": "/v3/suppression/blocks/{email}",
    "invalid_email": "/v3/suppression/invalid_emails/{email}",
}
"""The lists of addresses that SendGrid sends nothing to."""

KEPT = "Your address stays on the list of addresses that get no mail from us: without it we could not keep to your wish."


class SendGrid(Connector):
    """Twilio SendGrid: the contact and the e-mail data (names, addresses, subjects, IP addresses) are erased.

    Retained: the suppression lists, the proof that a person wants no mail. Two calls erase: the Recipients' Data Erasure API, SendGrid's
    own answer to privacy laws, takes what SendGrid keeps of messages sent to an address, and is not said to take marketing contacts;
    so these are deleted too. Neither job has a status that could be asked for: the contact is searched until it is gone.
    """

    slug, title, category = "sendgrid", "Twilio SendGrid", Category.MARKETING
    identified_by = (Email,)
    holds = (
        Holds("contact", data=("user.contact", "user.name", "user.unique_id", "user.content.private")),
        Holds(
            "email_data",
            data=("user.contact.email", "user.name", "user.behavior", "user.device.ip_address"),
            erased_with="contact",
            exported=False,
            excuse="SendGrid shows what it keeps of messages sent (Email Activity) for a few days only, and through a paid add-on",
        ),
        *(
            Holds(
                name,
                data=("user.contact.email",),
                on_erase=Retained,
                reason=Reason.PROOF_OF_OPT_OUT,
                text=KEPT,
                title="list of addresses without mail",
            )
            for name in SUPPRESSIONS
        ),
    )
    limits = (
        RateLimit(600, per=60),  # what the vendor's headers said in recorded traffic: 200 to 600 a minute
        RateLimit(100, per=60, on="/v3/recipients/erasejob", method="POST"),
    )
    batch_size = JOB_SIZE
    find_batch_size = SEARCH_SIZE
    lag = timedelta(hours=1)
    blind_spot = "mail sent to someone who is no contact"
    blind_spot_erase = "where that may be, ask SendGrid to erase the address by hand"
    evidence = (Evidence.SANDBOX, Evidence.SPEC)
    docs = "https://www.twilio.com/docs/sendgrid/api-reference"

    class Config(ConnectorConfig):
        api_key: SecretStr = Field(description="with Marketing (full access), Suppressions (read) and Recipients Data Erasure")
        region: Literal["global", "eu"] = Field("global", description="eu for EU regional subusers")
        on_behalf_of: str | None = Field(
            None, pattern=r"^(account-id )?[\x21-\x7e]+$", description="a subuser's name, or \"account-id <id>\": acts there, with the parent's key"
        )

    opt_out = Unsupported("SendGrid neither sells nor shares the data of its customers' contacts")
    email = Unsupported("SendGrid is reached through its API")

    def __init__(self, config: ConnectorConfig | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self.base_url = REGIONS[self.config.region]

    def auth(self) -> httpx.Auth:
        return BearerAuth(self.config.api_key)

    def headers(self) -> Mapping[str, str]:
        return {"on-behalf-of": self.config.on_behalf_of} if self.config.on_behalf_of else {}

    def problem(self, reply: Reply) -> DsrError | None:
        # While searching a 404 is an answer ("nobody of this address"), so only the vendor's own JSON may give it.
        if reply.status == 404 and not _is_error_body(reply):
            return ConfigError(f"{reply.call} answered 404, and not in SendGrid's words", field="base_url", fix="check the base URL")
        if reply.status == 404 and reply.call == "POST /v3/recipients/erasejob":
            return ConfigError("the account has no Recipients' Data Erasure API", field="api_key", fix="ask SendGrid Support to enable it")
        return None

    def check(self, api: Api) -> str:
        scopes = api.get("/v3/scopes").object().get("scopes") or []
        if "recipients.erasejob.create" not in scopes:
            # "For customers who signed up before July 25, 2023: ... contact Support to enable them."
            raise ConfigError("the key may not use the Recipients' Data Erasure API", field="api_key", fix="add the scope, or ask SendGrid Support")
        return f"the key has {len(scopes)} scopes, erasure among them"

    # --- find ----------------------------------------------------------------------------------------------------------------------

    def find_many(self, api: Api, subjects: Sequence[Subject]) -> Sequence[Sequence[Match]]:
        contacts = self._contacts(api, {subject.email for subject in subjects})
        return [list(self._matches(api, subject.email, contacts.get(subject.email))) for subject in subjects]

    def _matches(self, api: Api, address: str, contact: Mapping[str, Any] | None) -> Iterator[Match]:
        if contact is not None:
            known: list[VendorId | ControllerId] = [VendorId(vendor=self.slug, value=str(contact["id"]))]
            if contact.get("external_id"):
                known.append(ControllerId(value=str(contact["external_id"])))
            yield Match("contact", str(contact["id"]), identities=tuple(known), data={"email": address})
        for name in SUPPRESSIONS:
            entries = self._suppressions(api, name, address)
            if entries:
                yield Match(name, address, count=len(entries))

    def _contacts(self, api: Api, addresses: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The contacts by the address they were asked for; without those that are not there."""
        wanted = sorted(addresses)
        reply = api.post("/v3/marketing/contacts/search/emails", {"emails": wanted}, retry=True, absent_ok=True)
        if reply.absent:  # "This endpoint returns a 404 status code when no contacts are found"
            return {}
        answers = {str(address).lower(): answer for address, answer in (reply.object().get("result") or {}).items()}
        found = {}
        for address in wanted:
            contact = (answers.get(address) or {}).get("contact")
            if contact and address in _addresses(contact, default=address):
                found[address] = contact
        return found

    def _suppressions(self, api: Api, name: str, address: str) -> list[dict[str, Any]]:
        # The global list answers {} for nobody, never 404: so a 404 there is a wrong base URL, and must not pass for "nobody".
        reply = api.get(SUPPRESSIONS[name], email=address, absent_ok=name != "global_unsubscribe")
        body = [] if reply.absent else reply.json()
        if name == "global_unsubscribe":
            body = [body] if isinstance(body, dict) and body.get("recipient_email") else []
        elif name == "group_unsubscribe":
            groups = (body or {}).get("suppressions") if isinstance(body, dict | None) else body
            body = [group for group in groups or [] if group.get("suppressed", True)]
        if not isinstance(body, list):
            raise TransientError(f"{reply.call} answered {type(body).__name__} where a list belongs")
        return body

    # --- export --------------------------------------------------------------------------------------------------------------------

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        # The search answers whole contacts. (.../contacts/export-contacts is a job that exports whole lists, so unfit for one person.)
        if match.resource == "contact":
            contact = self._contacts(api, [match.data["email"]]).get(match.data["email"])
            if contact is None:
                raise RejectedError("the contact that had just been found is not found any more")
            yield Record("contact", contact)
            return
        entries = self._suppressions(api, match.resource, match.id)
        if not entries:
            raise RejectedError("the entry that had just been found on a list is not found any more")
        if match.resource == "global_unsubscribe":
            # Only the whole list says since when; it is searched by the beginning of an address.
            listed = api.get("/v3/suppression/unsubscribes", {"email": match.id}).json()
            entries = [entry for entry in listed if str(entry.get("email")).lower() == match.id] or entries
        for entry in entries:
            yield Record(match.resource, {"email": match.id, **entry})

    # --- erase ---------------------------------------------------------------------------------------------------------------------

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome]:
        for addresses in _jobs(dict.fromkeys(match.data["email"] for match in matches)):
            # Erasing twice is erasing once, so this POST may be repeated. An invalid address fails the whole job: the host then halves it.
            api.post("/v3/recipients/erasejob", {"email_addresses": addresses}, retry=True)
        ids = list(dict.fromkeys(match.id for match in matches))
        for start in range(0, len(ids), DELETE_SIZE):
            api.delete("/v3/marketing/contacts", {"ids": ",".join(ids[start : start + DELETE_SIZE])}, absent_ok=True)
        # One job for each person, although SendGrid has one for all: what is stored in a person's case names nobody else.
        return [Pending(match.data["email"], ERASURE_TAKES) for match in matches]

    def poll(self, api: Api, job: str) -> Outcome:
        return Pending(job, timedelta(hours=1)) if self._contacts(api, [job]) else Erased()


def _is_error_body(reply: Reply) -> bool:
    try:
        return isinstance(reply.object().get("errors"), list)
    except DsrError:
        return False


def _addresses(contact: Mapping[str, Any], default: str) -> set[str]:
    """Every address of a contact, in lower case: a contact is found by its alternate addresses too."""
    given = [contact.get("email"), *(contact.get("alternate_emails") or [])]
    return {str(one).lower() for one in given if one} or {default}


def _jobs(addresses: Iterable[str]) -> Iterator[list[str]]:
    """Addresses in groups that one job takes."""
    group: list[str] = []
    size = 0
    for address in addresses:
        length = len(json.dumps(address)) + 2
        if group and (len(group) == JOB_SIZE or size + length > JOB_BYTES - 100):
            yield group
            group, size = [], 0
        group.append(address)
        size += length
    if group:
        yield group
