"""A small fake of Zendesk Support, with state: users, identities, tickets, comments, bulk jobs and the two-step deletions.

Bodies and headers are written after recorded traffic (2021) and the API reference; the README says which behaviour is known from where.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from dsr_sdk.testing import Answer, Call, Person, Sandbox, route

__all__ = ["ZendeskSandbox"]

PAGE = 100
JOB_SECONDS = 5.0
"""How long a bulk job is queued before it runs."""

PRODUCTS = (("support", 6.0, 105.0), ("explore", 600.0, 1_800.0), ("chat", 14_400.0, 18_000.0))
"""When each product starts and completes a permanent deletion, in seconds after it was asked for."""

Body = dict[str, Any]


@dataclass
class _Job:
    id: str
    total: int
    due: float
    run: Callable[[], Any]
    status: str = "queued"
    results: Any = None
    message: str | None = None


class ZendeskSandbox(Sandbox):
    """One Zendesk account.

    Attributes:
        undeletable: Ids of tickets that bulk jobs fail to delete (an agent without permission for them).
        broken_jobs: Every bulk job ends as ``failed``.
        stuck_jobs: No bulk job ever runs.
        search_lag: Seconds in which the search index still finds a deleted user as he or she was.
    """

    slug, title = "zendesk", "Zendesk"
    credentials: ClassVar[Mapping[str, str]] = {"subdomain": "sandbox", "email": "admin@agency.example", "api_token": "sandbox-api-token"}
    windows = ((700, 60.0, "", ""), (700, 600.0, "/api/v2/deleted_users/", "DELETE"))

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[int, Body] = {}
        self.identities: dict[int, list[Body]] = {}
        self.tickets: dict[int, Body] = {}
        self.deleted_tickets: dict[int, Body] = {}
        self.comments: dict[int, list[Body]] = {}
        self.forgetting: dict[int, float] = {}
        self.jobs: dict[str, _Job] = {}
        self.undeletable: set[int] = set()
        self.broken_jobs = False
        self.stuck_jobs = False
        self.search_lag = 0.0
        self._owners: dict[str, set[int]] = {}
        self._index: dict[int, tuple[Body, float]] = {}
        self._last_id = 421941820000

    # --- state -----------------------------------------------------------------------------------------------------------------------

    def add_person(self, person: Person) -> None:
        """A user with an address, a telephone number and one ticket; adding somebody again adds a ticket.

        ``extra["zendesk"]``: ``tickets`` (how many), ``status`` (of the tickets), ``secondary`` (another address), ``role``, ``notes``,
        ``duplicate`` (a second user of the same address).
        """
        wishes = person.for_vendor(self.slug)
        address = person.email.lower()
        user_id = next((one for one, user in self.users.items() if user["email"] == address and user["active"]), None)
        if user_id is None or wishes.get("duplicate"):
            user_id = self._new_user(person, address)
        for _ in range(wishes.get("tickets", 1)):
            self._new_ticket(user_id, person, wishes.get("status", "open"))

    def _new_user(self, person: Person, address: str) -> int:
        wishes = person.for_vendor(self.slug)
        user_id = self._next_id()
        stamp = self._stamp()
        self.users[user_id] = {
            "id": user_id,
            "url": f"https://sandbox.zendesk.com/api/v2/users/{user_id}.json",
            "name": f"{person.first_name} {person.last_name}".strip() or address.partition("@")[0],
            "email": address,
            "created_at": stamp,
            "updated_at": stamp,
            "time_zone": "Arizona",
            "phone": person.phone or None,
            "locale": "en-US",
            "organization_id": None,
            "role": wishes.get("role", "end-user"),
            "verified": True,
            "external_id": person.user_id or None,
            "tags": [],
            "alias": None,
            "active": True,
            "last_login_at": None,
            "details": None,
            "notes": wishes.get("notes"),
            "suspended": False,
            "user_fields": {},
        }
        values = [("email", address), *([("email", wishes["secondary"])] if "secondary" in wishes else [])]
        values += [("phone_number", person.phone)] if person.phone else []
        self.identities[user_id] = [
            {
                "id": self._next_id(),
                "user_id": user_id,
                "type": kind,
                "value": value,
                "verified": True,
                "primary": value in (address, person.phone),
                "created_at": stamp,
                "updated_at": stamp,
                "undeliverable_count": 0,
                "deliverable_state": "deliverable",
            }
            for kind, value in values
        ]
        for kind, value in values:
            if kind == "email":
                self._owners.setdefault(value.lower(), set()).add(user_id)
        return user_id

    def _new_ticket(self, user_id: int, person: Person, status: str) -> None:
        ticket_id = len(self.tickets) + len(self.deleted_tickets) + sum(name.startswith("erase ticket") for name in self.effects) + 1
        stamp = self._stamp()
        self.tickets[ticket_id] = {
            "id": ticket_id,
            "url": f"https://sandbox.zendesk.com/api/v2/tickets/{ticket_id}.json",
            "external_id": None,
            "via": {"channel": "email"},
            "created_at": stamp,
            "updated_at": stamp,
            "type": None,
            "subject": "My order",
            "description": f"Hello, this is {person.first_name}.",
            "priority": None,
            "status": status,
            "requester_id": user_id,
            "submitter_id": user_id,
            "assignee_id": None,
            "tags": [],
            "custom_fields": [],
        }
        self.comments[ticket_id] = [
            {
                "id": self._next_id(),
                "type": "Comment",
                "author_id": user_id,
                "body": f"Hello, this is {person.first_name}.",
                "public": True,
                "attachments": [],
                "created_at": stamp,
                "metadata": {"system": {"ip_address": "192.0.2.7"}},
            }
        ]

    def holds(self, email: str) -> bool:
        self._work()
        owned = self._owners.get(email.lower(), set())
        tickets = (*self.tickets.values(), *self.deleted_tickets.values())
        return any(not self._is_forgotten(user_id) for user_id in owned) or any(ticket["requester_id"] in owned for ticket in tickets)

    def records(self, email: str) -> Mapping[str, int]:
        self._work()
        owned = self._owners.get(email.lower(), set())
        tickets = [key for key, one in (self.tickets | self.deleted_tickets).items() if one["requester_id"] in owned]
        return {
            "user": sum(not self._is_forgotten(user_id) for user_id in owned),
            "identity": sum(len(self.identities[user_id]) for user_id in owned),
            "ticket": len(tickets),
            "comment": sum(len(self.comments[key]) for key in tickets),
        }

    def add_records(self, email: str, count: int) -> None:
        """Tickets, another hundred comments in one of them, and identities."""
        for user_id in self._owners.get(email.lower(), set()):
            numbers = range(count)
            more = {
                "user_id": user_id,
                "type": "twitter",
                "verified": True,
                "primary": False,
                "created_at": self._stamp(),
                "updated_at": self._stamp(),
            }
            self.identities[user_id] += [{"id": self._next_id(), "value": f"handle_{number}", **more} for number in numbers]
            for _ in numbers:
                self._new_ticket(user_id, Person(email), "open")
            last = self.comments[max(self.tickets)]
            last += [{**last[0], "id": self._next_id()} for _ in numbers]

    def _is_forgotten(self, user_id: int) -> bool:
        asked = self.forgetting.get(user_id)
        return asked is not None and self.now() >= asked + max(complete for _, _, complete in PRODUCTS)

    def _next_id(self) -> int:
        self._last_id += 7
        return self._last_id

    def _stamp(self, moment: float | None = None) -> str:
        return datetime.fromtimestamp(self.now() if moment is None else moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # --- the door --------------------------------------------------------------------------------------------------------------------

    def authorised(self, call: Call) -> bool:
        self._work()
        return self._signed_in(call) or call.path == "/api/v2/users/me"

    def _signed_in(self, call: Call) -> bool:
        pair = f"{self.credentials['email']}/token:{self.credentials['api_token']}"
        return call.headers.get("authorization") == "Basic " + base64.b64encode(pair.encode()).decode()

    def denied(self, call: Call) -> Answer:
        return Answer.json({"error": "Couldn't authenticate you"}, 401)

    def no_route(self, call: Call) -> Answer:
        return Answer.json({"error": "InvalidEndpoint", "description": "Not found"}, 404)

    def too_many(self, call: Call, wait: float) -> Answer:
        answer = Answer.text("Number of allowed API requests per minute exceeded", 429, "text/plain; charset=UTF-8")
        answer.headers["Retry-After"] = str(max(1, round(wait + 0.5)))
        return answer

    def finish(self, call: Call, answer: Answer) -> Answer:
        if self.limits:
            answer.headers |= {"X-Rate-Limit": str(self.limits[0].calls), "X-Rate-Limit-Remaining": str(self.limits[0].left)}
        return answer

    # --- users -----------------------------------------------------------------------------------------------------------------------

    @route("GET", "/api/v2/users/me")
    def me(self, call: Call) -> Body:
        if self._signed_in(call):
            return {"user": {"id": 1, "name": "Admin", "email": self.credentials["email"], "role": "admin", "active": True}}
        return {"user": {"id": None, "name": "Anonymous user", "email": "invalid@example.com", "role": "end-user"}}

    @route("GET", "/api/v2/users/search")
    def search(self, call: Call) -> Body:
        known = [user for user in self.users.values() if user["active"]]
        known += [user for user, until in self._index.values() if self.now() < until]
        if "external_id" in call.params:
            wanted = call.params["external_id"].lower()  # "case insensitive", says the reference
            found = [user for user in known if (user["external_id"] or "").lower() == wanted]
        else:
            found = [user for user in known if self._mentions(user, call.params.get("query", ""))]
        return self._numbered(call, "users", found)

    def _mentions(self, user: Body, query: str) -> bool:
        """A phrase in quotes is looked for as it is; without quotes every word is, and an asterisk stands for anything."""
        values = [user["name"], user["email"], user["notes"], *(one["value"] for one in self.identities.get(user["id"], []))]
        text = " ".join(str(value).lower() for value in values if value)
        if query.startswith('"') and query.endswith('"'):
            return query[1:-1].lower() in text
        return any("*" in word or word.lower() in text for word in query.split())

    @route("GET", "/api/v2/users/{id}")
    def user(self, call: Call) -> Answer:
        user = self.users.get(_number(call))
        return _not_found() if user is None or user["id"] in self.forgetting else Answer.json({"user": user})

    @route("GET", "/api/v2/users/{id}/identities")
    def list_identities(self, call: Call) -> Answer:
        user = self.users.get(_number(call))
        if user is None or not user["active"]:
            return _not_found()
        return Answer.json(self._cursored(call, "identities", self.identities[user["id"]]))

    @route("GET", "/api/v2/users/{id}/tickets/requested")
    def requested(self, call: Call) -> Answer:
        user = self.users.get(_number(call))
        if user is None or user["id"] in self.forgetting:
            return _not_found()
        return Answer.json(self._cursored(call, "tickets", [ticket for ticket in self.tickets.values() if ticket["requester_id"] == user["id"]]))

    @route("DELETE", "/api/v2/users/{id}")
    def delete_user(self, call: Call) -> Answer:
        user = self.users.get(_number(call))
        if user is None or not user["active"]:
            return _not_found()
        unfinished = sum(1 for ticket in self.tickets.values() if ticket["requester_id"] == user["id"] and ticket["status"] != "closed")
        if unfinished:
            text = f"User is requester on {unfinished} ticket(s) that are not closed."
            details = {"base": [{"description": text}]}
            return Answer.json({"error": "RecordInvalid", "description": "Record validation errors", "details": details}, 422)
        if self.search_lag:
            self._index[user["id"]] = (dict(user), self.now() + self.search_lag)
        user |= {"active": False, "email": None, "external_id": None, "verified": False, "updated_at": self._stamp()}
        self.effect(f"delete user {user['id']}")
        return Answer.json({"user": user})

    @route("GET", "/api/v2/deleted_users/{id}")
    def deleted_user(self, call: Call) -> Answer:
        user = self._soft_deleted(call)
        return _not_found() if user is None else Answer.json({"deleted_user": _deleted(user)})

    @route("DELETE", "/api/v2/deleted_users/{id}")
    def forget_user(self, call: Call) -> Answer:
        user = self._soft_deleted(call)
        if user is None:
            return _not_found()
        answer = Answer.json({"deleted_user": _deleted(user)})
        self.forgetting[user["id"]] = self.now()
        self.effect(f"erase user {user['id']}")
        user |= {"name": "Permanently Deleted User", "phone": None, "notes": None}
        self.identities[user["id"]] = []
        return answer

    def _soft_deleted(self, call: Call) -> Body | None:
        user = self.users.get(_number(call))
        return None if user is None or user["active"] or user["id"] in self.forgetting else user

    @route("GET", "/api/v2/users/{id}/compliance_deletion_statuses")
    def statuses(self, call: Call) -> Answer:
        user_id = _number(call)
        if user_id not in self.users:
            return _not_found()
        log = []
        if user_id in self.forgetting:
            asked = self.forgetting[user_id]
            log.append(_status(user_id, "all", "request_deletion", self._stamp(asked), 1))
            for product, start, complete in PRODUCTS:
                steps = (("started", start), ("complete", complete))
                log += [_status(user_id, product, action, self._stamp(asked + after)) for action, after in steps if self.now() >= asked + after]
        return Answer.json(self._cursored(call, "compliance_deletion_statuses", log))

    # --- tickets ---------------------------------------------------------------------------------------------------------------------

    @route("GET", "/api/v2/tickets/show_many")
    def show_many(self, call: Call) -> Body:
        tickets = [self.tickets[one] for one in _ids(call) if one in self.tickets]
        return {"tickets": tickets, "next_page": None, "previous_page": None, "count": len(tickets)}

    @route("GET", "/api/v2/tickets/{id}/comments")
    def list_comments(self, call: Call) -> Answer:
        ticket_id = _number(call)
        return Answer.json(self._cursored(call, "comments", self.comments[ticket_id])) if ticket_id in self.tickets else _not_found()

    @route("DELETE", "/api/v2/tickets/destroy_many")
    def delete_tickets(self, call: Call) -> Answer:
        ids = _ids(call)

        def run() -> list[Body]:
            results = []
            for index, one in enumerate(ids):
                fine = one in self.tickets and one not in self.undeletable
                if fine:
                    self.deleted_tickets[one] = self.tickets.pop(one)
                    self.effect(f"delete ticket {one}")
                results.append({"index": index, "id": one, "action": "delete", "success": fine, "status": "Deleted" if fine else "Failed"})
            return results

        return self._enqueue(ids, run)

    @route("DELETE", "/api/v2/deleted_tickets/destroy_many")
    def purge_tickets(self, call: Call) -> Answer:
        ids = _ids(call)
        # Every ticket is tried, whatever became of the one before: "If one ticket fails ..., the endpoint still attempts to delete the others."
        return self._enqueue(ids, lambda: {"success": sum(map(self._purge, ids)) == len(ids)})

    @route("DELETE", "/api/v2/deleted_tickets/{id}")
    def purge_ticket(self, call: Call) -> Answer:
        one = _number(call)
        if one not in self.deleted_tickets:
            return _not_found()
        return self._enqueue([one], lambda: {"success": self._purge(one)})

    def _purge(self, one: int) -> bool:
        if self.deleted_tickets.pop(one, None) is None:
            return False
        self.comments.pop(one, None)
        self.effect(f"erase ticket {one}")
        return True

    # --- jobs ------------------------------------------------------------------------------------------------------------------------

    def _enqueue(self, ids: list[int], run: Callable[[], Any]) -> Answer:
        if len(ids) > PAGE:
            return Answer.json({"error": "TooManyValues", "description": "Too many ids, the limit is 100"}, 400)
        if sum(job.status == "queued" for job in self.jobs.values()) >= 30:
            return Answer.json({"error": "TooManyJobs", "description": "Too many background jobs are queued or running"}, 429)
        job_id = hashlib.sha256(f"{len(self.jobs)}".encode()).hexdigest()[:32]
        self.jobs[job_id] = _Job(job_id, len(ids), self.now() + JOB_SECONDS, run)
        return Answer.json({"job_status": _job_status(self.jobs[job_id])})

    def finish_jobs(self) -> None:
        for job in self.jobs.values():
            job.due = min(job.due, self.now())
        self._work()
        longest = max(completes for _, _, completes in PRODUCTS)
        self.forgetting = {user: min(asked, self.now() - longest) for user, asked in self.forgetting.items()}

    def _work(self) -> None:
        for job in self.jobs.values():
            if job.status == "queued" and self.now() >= job.due and not self.stuck_jobs:
                job.status = "failed" if self.broken_jobs else "completed"
                job.results = None if self.broken_jobs else job.run()
                job.message = f"{job.status.capitalize()} at {self._stamp()}"

    @route("GET", "/api/v2/job_statuses/{id}")
    def job(self, call: Call) -> Answer:
        job = self.jobs.get(call.ids["id"])
        if job is None or self.now() > job.due + 86_400:
            return _not_found()
        return Answer.json({"job_status": _job_status(job)})

    # --- paging ----------------------------------------------------------------------------------------------------------------------

    def _cursored(self, call: Call, name: str, items: list[Body]) -> Body:
        if "page[size]" not in call.params:
            return self._numbered(call, name, items)
        size = min(int(call.params["page[size]"]), PAGE)
        start = int(base64.urlsafe_b64decode(call.params.get("page[after]", "MA==")))
        after = base64.urlsafe_b64encode(str(start + size).encode()).decode() if items[start + size :] else None
        following = f"{_url(call)}?{urlencode({'page[after]': after, 'page[size]': size})}" if after else None
        meta = {"has_more": after is not None, "after_cursor": after, "before_cursor": None}
        return {name: items[start : start + size], "meta": meta, "links": {"prev": None, "next": following}}

    def _numbered(self, call: Call, name: str, items: list[Body]) -> Body:
        page = int(call.params.get("page", "1"))
        rest = items[page * PAGE :]
        following = f"{_url(call)}?{urlencode({**call.params, 'page': page + 1})}" if rest else None
        return {name: items[(page - 1) * PAGE : page * PAGE], "next_page": following, "previous_page": None, "count": len(items)}


def _not_found() -> Answer:
    return Answer.json({"error": "RecordNotFound", "description": "Not found"}, 404)


def _number(call: Call) -> int:
    text = call.ids["id"]
    return int(text) if text.isascii() and text.isdigit() else -1


def _ids(call: Call) -> list[int]:
    return [int(one) for one in call.params.get("ids", "").split(",") if one.isdigit()]


def _url(call: Call) -> str:
    host = call.headers.get("host", "sandbox.zendesk.com")
    return f"{'http' if host.startswith('127.0.0.1') else 'https'}://{host}{call.path}"


def _deleted(user: Body) -> Body:
    names = ("id", "name", "email", "created_at", "updated_at", "time_zone", "phone", "locale", "organization_id", "role", "active")
    return {name: user[name] for name in names}


def _status(user_id: int, application: str, action: str, created_at: str, executer: int | None = None) -> Body:
    return {
        "account_subdomain": "sandbox",
        "action": action,
        "application": application,
        "created_at": created_at,
        "executer_id": executer,
        "user_id": user_id,
    }


def _job_status(job: _Job) -> Body:
    done = job.total if job.status == "completed" else None
    url = f"https://sandbox.zendesk.com/api/v2/job_statuses/{job.id}.json"
    return {"id": job.id, "url": url, "total": job.total, "progress": done, "status": job.status, "message": job.message, "results": job.results}
