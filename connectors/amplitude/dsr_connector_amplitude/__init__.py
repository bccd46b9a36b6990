"""Amplitude: users are scheduled for deletion, a hundred a request; Amplitude carries it out within 30 days, backups included.

What is said here about Amplitude's behaviour was read in its documentation (nothing of it was tried on a live project):

* https://amplitude.com/docs/apis/analytics/user-privacy: deletion jobs, ``invalid_ids``, 100 users a request, one request a second.
* https://amplitude.com/docs/apis/analytics/dashboard-rest: user search (which also matches prefixes), user activity, 360 lookups an hour.
* https://amplitude.com/docs/apis/analytics/ccpa-dsar: the request API for copies, not used; the README says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import httpx
from pydantic import Field, SecretStr

from dsr_sdk import (
    Absent,
    Category,
    Connector,
    ConnectorConfig,
    ControllerId,
    DsrError,
    Erased,
    Evidence,
    Failed,
    Holds,
    Match,
    Outcome,
    Pending,
    Record,
    RejectedError,
    Subject,
    TransientError,
    Unsupported,
    VendorId,
)
from dsr_sdk.http import Api, BasicAuth, RateLimit, Reply, retry_after

__all__ = ["Amplitude"]

HOSTS = {"us": "https://amplitude.com", "eu": "https://analytics.eu.amplitude.com"}
DELETIONS = "/api/2/deletions/users"
LOOKUP = "/api/2/user{question}"
"""``usersearch`` and ``useractivity`` as one template, because they share one limit."""

EVENTS_A_PAGE = 1000
LATEST_START = timedelta(days=60)
"""How far ahead a job may be scheduled: 30 days are promised; beyond six months Amplitude refuses to list."""

Job = Mapping[str, Any]


class Amplitude(Connector):
    """Amplitude: a user is deleted with all events, in a job that Amplitude runs days later; nothing is retained. It accepts new events of a
    deleted user, who is then a new user: stop sending them."""

    slug, title, category = "amplitude", "Amplitude", Category.ANALYTICS
    docs = "https://amplitude.com/docs/apis/analytics/user-privacy"
    evidence = (Evidence.SANDBOX, Evidence.SPEC)
    identified_by = (ControllerId, VendorId)
    holds = (
        Holds("user", data=("user.unique_id", "user.device", "user.location", "user.demographic")),
        Holds("event", data=("user.behavior", "user.device", "user.location"), erased_with="user"),
    )
    base_url = HOSTS["us"]
    # One deletion request a second is allowed; a little more is left, because requests do not arrive as evenly as they are sent.
    limits = (RateLimit(1, per=1.2, on=DELETIONS), RateLimit(360, per=3600, on=LOOKUP))
    batch_size = 100
    lag = timedelta(days=1)  # after the job is done; no figure is documented
    repeatable = False  # a second request schedules the user a second time

    class Config(ConnectorConfig):
        api_key: SecretStr
        secret_key: SecretStr
        region: Literal["us", "eu"] = Field("us", description="where the project's data resides")
        requester: str = Field("dsr-sdk", description="who asks for deletions, as Amplitude's audit shall show it (a mailbox of yours)")
        user_id_namespace: str = Field("user_id", description="which of your own ids you send to Amplitude as its user_id")

    def __init__(self, config: ConnectorConfig | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self.base_url = HOSTS[self.config.region]
        self._finished: dict[str, frozenset[str]] = {}

    def auth(self) -> httpx.Auth:
        return BasicAuth(self.config.api_key, self.config.secret_key)

    def check(self, api: Api) -> str:
        jobs = self._jobs(api, _today(), _today() + LATEST_START)
        return f"{len(jobs)} deletion jobs are scheduled"

    # --- find --------------------------------------------------------------------------------------------------------------------

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        by_vendor_id = {one.value: "amplitude_id" for one in subject.all(VendorId) if one.vendor == self.slug}
        by_user_id = {one.value: "user_id" for one in subject.all(ControllerId) if one.namespace == self.config.user_id_namespace}
        for value, field in (by_user_id | by_vendor_id).items():
            for user in _matches(api.get(LOOKUP, {"user": value}, question="search")):
                # The search looks in Amplitude ids, device ids and user ids, and for user ids that only begin so: other people.
                if user.get("amplitude_id") is not None and user.get(field) is not None and str(user[field]) == value:
                    yield Match("user", str(user["amplitude_id"]), identities=self._identities(user))

    def _identities(self, user: Mapping[str, Any]) -> tuple[VendorId | ControllerId, ...]:
        found: list[VendorId | ControllerId] = [VendorId(vendor=self.slug, value=str(user["amplitude_id"]))]
        user_id = user.get("user_id")
        if isinstance(user_id, str) and user_id.strip() and user_id.isprintable() and len(user_id) <= 512:
            found.append(ControllerId(value=user_id, namespace=self.config.user_id_namespace))
        return tuple(found)

    # --- erase -------------------------------------------------------------------------------------------------------------------

    def erase_many(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        # By Amplitude id, because that is all the list of jobs names: with it, `poll` and `recover` can tell people apart. Without
        # ignore_invalid_id, one unknown user fails all hundred; booleans are documented as strings.
        body = {
            "amplitude_ids": [int(match.id) if match.id.isdecimal() else match.id for match in matches],
            "ignore_invalid_id": "true",
            "requester": self.config.requester,
        }
        jobs = _as_jobs(api.post(DELETIONS, body))
        unknown = {str(one) for job in jobs for one in job.get("invalid_ids") or ()}
        return [self._answer_for(match.id, jobs, unknown) for match in matches]

    def _answer_for(self, user: str, jobs: Sequence[Job], unknown: set[str]) -> Outcome | DsrError:
        job = next((job for job in jobs if user in _users(job)), None)
        if job is not None:
            return _pending(job, user)
        if user in unknown:
            return Absent()
        return RejectedError("Amplitude took the deletion request and left this user out of its answer", source=self.name, code="not_confirmed")

    def poll(self, api: Api, job: str) -> Outcome:
        scheduled, _, user = job.partition("/")
        if user in self._finished.get(scheduled, ()):
            return Erased()
        day = _as_date(scheduled)
        for found in self._jobs(api, day, day + LATEST_START):
            if user in _users(found):
                if _is_done(found):
                    # A finished job never changes: remembered, so that a hundred people of one job are one call.
                    self._finished[scheduled] = _users(found)
                    return Erased()
                return _pending(found, user)
        return Failed("the user is no longer in a deletion job: somebody revoked it at Amplitude before it ran", "revoked")

    def recover(self, api: Api, match: Match) -> Outcome | None:
        # Finished jobs are left out: the user may have come back since, and asking again for one who is gone is harmless.
        for job in self._jobs(api, _today() - timedelta(days=30), _today() + LATEST_START):
            if match.id in _users(job) and not _is_done(job):
                return _pending(job, match.id)
        return None

    def _jobs(self, api: Api, start: date, end: date) -> list[Job]:
        jobs = _as_jobs(api.get(DELETIONS, {"start_day": start.isoformat(), "end_day": end.isoformat()}))
        return sorted(jobs, key=lambda job: str(job.get("day")))

    # --- copy --------------------------------------------------------------------------------------------------------------------

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        before: list[Any] = []
        offset = 0
        while True:
            reply = api.get(LOOKUP, {"user": match.id, "offset": offset, "limit": EVENTS_A_PAGE}, question="activity")
            body = reply.object()
            events = body.get("events")
            if not isinstance(events, list) or (events and events == before):
                raise RejectedError(f"{reply.call} answered no further events where some belong", source=self.name, status=reply.status)
            if not offset:
                yield Record("user", body.get("userData") or {})
            for event in events:
                yield Record("event", event)
            if len(events) < EVENTS_A_PAGE:  # a page may be longer, so that it ends with a session, never shorter
                return
            before, offset = events, offset + len(events)

    opt_out = Unsupported("Amplitude's API cannot stop the collection: call setOptOut() in the product that sends the events")
    email = Unsupported("Amplitude is reached through its API")

    def problem(self, reply: Reply) -> DsrError | None:
        if reply.status == 429:
            # No Retry-After is documented. The limits are one request a second for deletions, and so many an hour for lookups.
            usual_wait = 2.0 if DELETIONS in reply.call else 60.0
            return TransientError(f"{reply.call} answered 429", retry_after=retry_after(reply.headers) or usual_wait)
        return None


def _matches(reply: Reply) -> list[Mapping[str, Any]]:
    body = reply.object()
    found = body.get("matches")
    if found is None and body.get("type") == "nomatch":
        return []
    if not isinstance(found, list):
        raise RejectedError(f"{reply.call} answered {reply.status} without matches", status=reply.status)
    return [user for user in found if isinstance(user, Mapping)]


def _as_jobs(reply: Reply) -> list[Job]:
    """One job or a list of them: both are documented, the list for requests that concern several projects."""
    body = reply.json()
    jobs = body if isinstance(body, list) else [body]
    if not all(isinstance(job, Mapping) for job in jobs):
        raise RejectedError(f"{reply.call} answered {reply.status} with something else than deletion jobs", status=reply.status)
    return jobs


def _users(job: Job) -> frozenset[str]:
    entries = job.get("amplitude_ids") or ()
    return frozenset(str(entry.get("amplitude_id") if isinstance(entry, Mapping) else entry) for entry in entries)


def _is_done(job: Job) -> bool:
    return str(job.get("status")).lower() == "done"


def _pending(job: Job, user: str) -> Pending:
    """A job of the host's for each user of a job of Amplitude's: a user can be taken out of it, so one answer would not fit all."""
    day = _as_date(job.get("day"))
    starts_in = timedelta(days=(day - _today()).days)
    return Pending(f"{day.isoformat()}/{user}", check_after=max(starts_in, timedelta(0)) + timedelta(days=1))


def _as_date(text: object) -> date:
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        return _today()


def _today() -> date:
    return datetime.now(UTC).date()
