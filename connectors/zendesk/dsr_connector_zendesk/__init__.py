"""Zendesk Support: users, their identities, and the tickets they requested.

Written from Zendesk's API reference and help centre, each fact beside the line it explains, and from recorded traffic (2021).

* users     https://developer.zendesk.com/api-reference/ticketing/users/users/
* tickets   https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/
* jobs      https://developer.zendesk.com/api-reference/ticketing/ticket-management/job_statuses/
* forgetting a user   https://support.zendesk.com/hc/en-us/articles/4408845703194
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import httpx
from pydantic import Field, SecretStr

from dsr_sdk import (
    Absent,
    AuthError,
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
    NotFoundError,
    Outcome,
    Pending,
    Reason,
    Record,
    RejectedError,
    Retained,
    Scope,
    Subject,
    TransientError,
    Unsupported,
    VendorId,
)
from dsr_sdk.http import Api, BasicAuth, NextUrl, RateHeaders, RateLimit, Reply, at

__all__ = ["Zendesk"]

TICKETS_A_JOB = 100
"""Zendesk takes at most 100 ticket ids in one bulk call, and at most 100 items on one page."""

SEARCH_PAGES = 3
"""Somebody's own address finds one user, or a few whose notes mention it. More than 300 hits is no search for one person."""

FORGETTING_TAKES = timedelta(days=1)
"""When to look first whether a permanent deletion is complete. Zendesk's products report one by one (in the reference's own example Chat
starts four hours after Support had finished), and nothing says how many will: an earlier look might miss one that has not begun."""

TICKET_DATA = ("user.content.private", "user.contact.email", "user.name", "user.device.ip_address")


def _holds(tickets: Literal["erase", "keep"], reason: Reason, text: str) -> tuple[Holds, ...]:
    kept: dict[str, Any] = {"on_erase": Retained, "reason": reason, "text": text} if tickets == "keep" else {}
    return (
        Holds("user", data=("user.name", "user.contact", "user.unique_id", "user.demographic.language", "user.device.ip_address")),
        Holds("identity", data=("user.contact.email", "user.contact.phone_number", "user.social"), erased_with="user"),
        Holds("ticket", data=TICKET_DATA, scope=Scope.APP_DATA, **kept),
        Holds("comment", data=TICKET_DATA, scope=Scope.APP_DATA, erased_with="ticket", **kept),
        Holds(
            "attachment",
            data=("user.content.private",),
            scope=Scope.APP_DATA,
            erased_with="ticket",
            exported=False,
            excuse="the copy names every attachment and where it lies; the files themselves an agent downloads from Zendesk",
            **kept,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Pages:
    """Cursor paging as Zendesk recommends it. An answer that counts pages instead (older accounts, older recordings) is followed too:
    taking it for the last page would lose everything after the first hundred."""

    items: str

    def first(self) -> Mapping[str, Any]:
        return {"page[size]": TICKETS_A_JOB}

    def next_page(self, reply: Reply, items: list[Any], sent: int) -> Mapping[str, Any] | str | None:
        body = reply.json()
        if not at(body, "meta.has_more"):
            return at(body, "next_page") or None
        cursor = at(body, "meta.after_cursor")
        if not cursor:
            raise RejectedError(f"{reply.call} promises another page and names no cursor", status=reply.status)
        return {"page[after]": cursor}


class Zendesk(Connector):
    """Zendesk Support: the user is deleted permanently, and so are the tickets he or she requested, unless the controller keeps them.

    A permanent deletion has two steps (delete, then delete what is deleted) for tickets and for users, and runs inside Zendesk for
    hours. Tickets go first: Zendesk does not delete a user who has tickets that are not closed. Retained: with ``tickets = "keep"``
    the tickets, in which Zendesk then shows a *permanently deleted user*; always what other people wrote in tickets of their own.
    """

    slug, title, category = "zendesk", "Zendesk", Category.SUPPORT
    identified_by = (Email, ControllerId, VendorId)
    holds = _holds("erase", Reason.LEGAL_CLAIMS, "unused")
    limits = (
        RateLimit(700, per=60),  # Enterprise; smaller plans have less and are slowed down by their 429s
        RateLimit(700, per=600, on="/api/v2/deleted_users/{id}", method="DELETE"),
        RateLimit(300, per=60, on="/api/v2/deleted_tickets/destroy_many", method="DELETE"),
        RateLimit(1000, per=60, on="/api/v2/deleted_tickets/{id}", method="DELETE"),
    )
    rate_headers = RateHeaders(remaining="x-rate-limit-remaining", reset="ratelimit-reset")
    lag = timedelta(minutes=30)  # "up to a few minutes" until the search index follows: .../ticket-management/search/
    evidence = (Evidence.SANDBOX, Evidence.SPEC, Evidence.RECORDINGS)
    docs = "https://developer.zendesk.com/api-reference/ticketing/introduction/"

    class Config(ConnectorConfig):
        subdomain: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", description="the account: acme of acme.zendesk.com")
        email: str = Field(pattern=r"^[^\s:/]+@[^\s:/]+$", description="address of the administrator the API token is used as")
        api_token: SecretStr = Field(description="Admin Center > Apps and integrations > APIs > API tokens")
        tickets: Literal["erase", "keep"] = Field("erase", description="whether a person's tickets are erased or kept")
        keep_reason: Reason = Field(Reason.LEGAL_CLAIMS, description="with tickets = keep: on what ground")
        keep_text: str = Field(
            "Our correspondence with you is kept as evidence; your name and address are removed from it.",
            min_length=1,
            description="with tickets = keep: what the person is told",
        )

    opt_out = Unsupported("Zendesk neither sells nor shares the data of its customers' users")
    email = Unsupported("Zendesk is reached through its API")

    def __init__(self, config: ConnectorConfig | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self.base_url = f"https://{self.config.subdomain}.zendesk.com"
        # What becomes of tickets is a setting, so the declaration is this data source's own and not the class's.
        self.holds = _holds(self.config.tickets, self.config.keep_reason, self.config.keep_text)  # type: ignore[misc]  # a class variable
        self.held = self._held  # type: ignore[method-assign]  # a class method

    def _held(self, resource: str) -> Holds:
        return next((holds for holds in self.holds if holds.resource == resource), None) or type(self).held(resource)

    def auth(self) -> httpx.Auth:
        return BasicAuth(f"{self.config.email}/token", self.config.api_token)

    def headers(self) -> Mapping[str, str]:
        return {"Content-Type": "application/json"}  # asked for in DELETE too: .../api-reference/introduction/requests/

    def problem(self, reply: Reply) -> DsrError | None:
        if reply.status == 409:  # two writes at once: the next attempt may well succeed
            return TransientError(f"{reply.call} answered 409", retry_after=5.0)
        if reply.status == 404 and not _about_a_record(reply):
            return ConfigError(f"{reply.call} answered 404 without naming a record", field="subdomain", fix="check the subdomain and the base URL")
        return None

    def check(self, api: Api) -> str:
        user = api.get("/api/v2/users/{id}", id="me").object().get("user") or {}
        if user.get("id") is None:  # wrong credentials are not refused here: they are an "Anonymous user"
            raise AuthError("Zendesk does not accept the credentials", fix="check email and api_token")
        if user.get("role") not in ("admin", "agent"):
            raise AuthError("only administrators and agents may delete users", fix="use the API token as an administrator")
        return f"signed in as {user['role']}"

    # --- find ----------------------------------------------------------------------------------------------------------------------

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        for user in self._users(api, subject):
            user_id = str(user["id"])
            ids = (str(ticket["id"]) for ticket in self._tickets(api, user_id))
            for some in _by(TICKETS_A_JOB, ids):
                # Named after the tickets in it: what is left over, or new, after an erasure is another match.
                yield Match("ticket", f"{some[0]}-{some[-1]}", count=len(some), data={"ids": ",".join(some)})
            known: list[VendorId | ControllerId] = [VendorId(vendor=self.slug, value=user_id)]
            if user.get("external_id"):
                known.append(ControllerId(value=str(user["external_id"])))
            yield Match("user", user_id, identities=tuple(known), data={"role": str(user.get("role") or "")})

    def _users(self, api: Api, subject: Subject) -> Iterator[dict[str, Any]]:
        if subject.has(Email):
            # The search looks into names and notes too and matches parts of words, so each hit is compared. In quotes an address is
            # a phrase: none of its characters is read as an operator, and `Email` admits no quote.
            hits = api.pages("/api/v2/users/search", {"query": f'"{subject.email}"'}, paging=NextUrl("users", "next_page"), max_pages=SEARCH_PAGES)
            yield from (user for user in hits if self._has_address(api, user, subject.email) and self._is_held(api, user))
        elif subject.has(ControllerId):
            wanted = subject.first(ControllerId)
            if wanted.namespace == "user_id":
                hits = api.pages("/api/v2/users/search", {"external_id": wanted.value}, paging=NextUrl("users", "next_page"), max_pages=SEARCH_PAGES)
                yield from (user for user in hits if str(user.get("external_id")) == wanted.value and self._is_held(api, user))
        elif subject.has(VendorId):
            own = subject.first(VendorId)
            # Only numbers: "me" would be ourselves. Only ids that this account gave out: another account's number is another person.
            ours = own.vendor == self.slug and own.source in ("request", "agent", self.name)
            if ours and own.value.isascii() and own.value.isdigit():
                reply = api.get("/api/v2/users/{id}", id=own.value, absent_ok=True)
                user = {"id": own.value, "active": False} if reply.absent else reply.object().get("user")
                if user and self._is_held(api, user):
                    yield user

    def _has_address(self, api: Api, user: Mapping[str, Any], address: str) -> bool:
        if _same_address(user.get("email"), address):
            return True
        identities = api.pages("/api/v2/users/{id}/identities", paging=_Pages("identities"), id=str(user["id"]), absent_ok=True)
        return any(identity.get("type") == "email" and _same_address(identity.get("value"), address) for identity in identities)

    def _is_held(self, api: Api, user: Mapping[str, Any]) -> bool:
        """Whether there is anything of the user. A deleted user who is not permanently deleted yet still has a name and a history, but
        no address and no external id any more: only the user's own id leads to him or her."""
        if user.get("active") is not False:
            return True
        deleted = api.get("/api/v2/deleted_users/{id}", id=str(user["id"]), absent_ok=True)
        return not deleted.absent and at(deleted.json(), "deleted_user.name") != "Permanently Deleted User"

    def _tickets(self, api: Api, user_id: str) -> Iterator[dict[str, Any]]:
        # Unlike other lists of tickets this one includes archived ones: .../tickets/tickets/#list-tickets
        return api.pages("/api/v2/users/{id}/tickets/requested", paging=_Pages("tickets"), id=user_id, absent_ok=True)

    # --- export --------------------------------------------------------------------------------------------------------------------

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        if match.resource == "ticket":
            for ticket in _visible(api, match.data["ids"]):
                yield Record("ticket", ticket)
                for comment in api.pages("/api/v2/tickets/{id}/comments", paging=_Pages("comments"), id=str(ticket["id"]), absent_ok=True):
                    yield Record("comment", {"ticket_id": ticket["id"], **comment})
            return
        reply = api.get("/api/v2/users/{id}", id=match.id, absent_ok=True)
        if reply.absent:
            yield Record("user", api.get("/api/v2/deleted_users/{id}", id=match.id).object()["deleted_user"])
            return
        yield Record("user", reply.object()["user"])
        for identity in api.pages("/api/v2/users/{id}/identities", paging=_Pages("identities"), id=match.id, absent_ok=True):
            yield Record("identity", identity)

    # --- erase: each step may be asked again, and each looks before it goes on -----------------------------------------------------

    def erase(self, api: Api, match: Match) -> Outcome:
        if match.resource == "ticket":
            ids = match.data["ids"]
            deleted = api.delete("/api/v2/tickets/destroy_many", {"ids": ids}, absent_ok=True)
            return self._purge_tickets(api, ids) if deleted.absent else _job("deleting", deleted, ids)
        if match.data.get("role") in ("agent", "admin"):
            return Failed("this is a member of staff in Zendesk: an administrator has to make the account an end user first", code="staff")
        return self._erase_user(api, match.id)

    def poll(self, api: Api, job: str) -> Outcome:
        step, _, rest = job.partition(":")
        vendor_job, _, ids = rest.rpartition(":")
        if step == "user":
            return self._erase_user(api, ids)
        if step == "forgetting":
            return self._forgotten(api, ids)
        if step == "left":
            return self._purge_one_by_one(api, ids)
        reply = api.get("/api/v2/job_statuses/{id}", id=vendor_job, absent_ok=True)
        status = {} if reply.absent else reply.object().get("job_status") or {}  # Zendesk forgets a job after a day
        if status.get("status") in ("queued", "working"):
            return Pending(job)
        if step == "deleting":
            return self._purge_tickets(api, ids)
        # Of a permanent deletion Zendesk only says whether all of it worked: {"results": {"success": true}}
        if status.get("status") == "completed" and at(status, "results.success") is True:
            return Erased()
        return self._purge_one_by_one(api, ids)

    def _purge_tickets(self, api: Api, ids: str) -> Outcome:
        purged = api.delete("/api/v2/deleted_tickets/destroy_many", {"ids": ids}, absent_ok=True)
        return self._purge_one_by_one(api, ids) if purged.absent else _job("purging", purged, ids)

    def _purge_one_by_one(self, api: Api, ids: str) -> Outcome:
        """What is left of tickets whose bulk job failed, or never said that it worked."""
        visible = sum(1 for _ in _visible(api, ids))
        if visible:
            return Failed(f"Zendesk did not delete {visible} of {ids.count(',') + 1} tickets", code="tickets_left")
        left = [one for one in ids.split(",") if not api.delete("/api/v2/deleted_tickets/{id}", id=one, absent_ok=True).absent]
        return Pending(f"left::{','.join(left)}", timedelta(minutes=5)) if left else Erased()

    def _erase_user(self, api: Api, user_id: str) -> Outcome:
        try:
            deleted = api.delete("/api/v2/users/{id}", id=user_id, absent_ok=True)
        except RejectedError as error:
            # 422 RecordInvalid "User is requester on 2 ticket(s) that are not closed.", in the administrator's language: so look.
            if error.status != 422 or not any(ticket.get("status") != "closed" for ticket in self._tickets(api, user_id)):
                raise
            if self.config.tickets == "keep":
                return Failed("the person has tickets that are not closed: close them, then erase again", code="open_tickets")
            return Pending(f"user::{user_id}")  # the tickets are matches of their own and on their way out
        purged = api.delete("/api/v2/deleted_users/{id}", id=user_id, absent_ok=True)
        if not purged.absent:
            return Pending(f"forgetting::{user_id}", FORGETTING_TAKES)
        if not deleted.absent:
            raise TransientError("Zendesk does not list the user it has just deleted among the deleted ones yet", retry_after=30.0)
        return self._forgotten(api, user_id, unknown=Absent())

    def _forgotten(self, api: Api, user_id: str, unknown: Outcome | None = None) -> Outcome:
        """Whether every Zendesk product has finished a permanent deletion.

        The statuses are a log: ``request_deletion`` for the application ``all``, then ``started`` and ``complete`` for each product.
        """
        actions: dict[str, set[str]] = {}
        try:
            for entry in api.pages("/api/v2/users/{id}/compliance_deletion_statuses", paging=_Pages("compliance_deletion_statuses"), id=user_id):
                actions.setdefault(str(entry.get("application")), set()).add(str(entry.get("action")))
        except NotFoundError:
            return unknown or Erased()  # "If the user is not in the account, the request returns a 404 status."
        products = [seen for application, seen in actions.items() if application != "all"]
        if products and all("complete" in seen for seen in products):
            return Erased()
        return Pending(f"forgetting::{user_id}", timedelta(hours=6))


def _about_a_record(reply: Reply) -> bool:
    """Whether a 404 says that a record is not there. Anything else (no such account, no such path, a web page) must not read as absent:
    ``{"error": "RecordNotFound"}`` against ``{"error": "InvalidEndpoint"}`` and ``{"error": {"title": "No help desk at ..."}}``."""
    try:
        error = reply.object().get("error")
    except DsrError:
        return False
    return isinstance(error, str) and error != "InvalidEndpoint"


def _same_address(given: object, address: str) -> bool:
    try:
        return isinstance(given, str) and Email(value=given).value == address
    except ValueError:
        return False


def _by(size: int, items: Iterable[str]) -> Iterator[list[str]]:
    group: list[str] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _visible(api: Api, ids: str) -> Iterator[dict[str, Any]]:
    """The tickets that are not deleted."""
    tickets = api.get("/api/v2/tickets/show_many", {"ids": ids}).object().get("tickets") or []
    return (ticket for ticket in tickets if ticket.get("status") != "deleted")


def _job(step: str, reply: Reply, ids: str) -> Pending:
    vendor_job = at(reply.json(), "job_status.id")
    if not vendor_job:
        raise TransientError(f"{reply.call} answered {reply.status} without a job")
    return Pending(f"{step}:{vendor_job}:{ids}")
