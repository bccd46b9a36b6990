"""A sandbox of Amplitude's API: user search with prefixes, user activity, and deletion jobs that take their days."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

from dsr_sdk.testing import Answer, Call, Person, Sandbox, route

__all__ = ["AmplitudeSandbox"]

DAYS_AHEAD = timedelta(days=10)
"""A batch is scheduled so long after its first request."""
CLOSES_BEFORE = timedelta(days=3)
"""From then on a batch cannot be changed, and new requests go into the next one."""
SCRUB = timedelta(days=1)
BACKUPS = timedelta(days=5)
"""What backups take after the scrub, before the job is done."""


LARGEST_PAGE = 1000
"""Of events."""


@dataclass
class User:
    """A user as Amplitude has it: the project's own id is optional."""

    amplitude_id: int
    user_id: str | None
    device_ids: list[str]
    email: str
    properties: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Batch:
    """A deletion job."""

    day: date
    entries: list[dict[str, Any]] = field(default_factory=list)
    scrubbed: bool = False
    ended: bool = False
    """By `Sandbox.finish_jobs`, before its day."""


class AmplitudeSandbox(Sandbox):
    """Amplitude. ``extra["amplitude"]`` may say how many ``events`` a person has, ``device_id``, and ``users``: how many Amplitude ids."""

    slug, title = "amplitude", "Amplitude"
    credentials: ClassVar[dict[str, str]] = {"api_key": "sandbox-key", "secret_key": "sandbox-secret"}
    windows = ((1, 1.0, "/api/2/deletions/users", ""), (360, 3600.0, "/api/2/user", ""))

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[int, User] = {}
        self.batches: list[Batch] = []
        self.stuck = False
        """Jobs are submitted and never finish."""
        self.spared: set[str] = set()
        """Addresses of users whom an administrator takes out of every job before it closes."""
        self.session_overhang = 0
        """How many events a page is longer than asked for, so that it ends with a session."""

    # --- people --------------------------------------------------------------------------------------------------------------------

    def add_person(self, person: Person) -> None:
        wish = person.for_vendor("amplitude")
        for _ in range(int(wish.get("users", 1))):
            user = self.track(person.user_id or person.email, person.email, int(wish.get("events", 2)))
            user.device_ids = [str(wish.get("device_id", f"device-{user.amplitude_id}"))]
            user.properties = {"first_name": person.first_name or None}

    def track(self, user_id: str | None, email: str, events: int = 1) -> User:
        """Events arrive for a user that Amplitude does not know (yet, or any more)."""
        amplitude_id = 100_000_000_001 + len(self.users) + sum(len(batch.entries) for batch in self.batches)
        user = User(amplitude_id, user_id, [], email)
        user.events = [_event(number + 1) for number in range(events)]
        self.users[amplitude_id] = user
        return user

    def holds(self, email: str) -> bool:
        self._run()
        return any(user.email == email for user in self.users.values())

    def records(self, email: str) -> Mapping[str, int]:
        self._run()
        mine = [user for user in self.users.values() if user.email == email]
        return {"user": len(mine), "event": sum(len(user.events) for user in mine)}

    def add_records(self, email: str, count: int) -> None:
        for user in self.users.values():
            if user.email == email:
                first = len(user.events) + 1
                user.events += [_event(number) for number in range(first, first + count + LARGEST_PAGE)]

    def refuse(self, email: str) -> bool:
        """Amplitude refuses nobody whom it knows. It lets an administrator revoke one user of a job while that is staging; the list of jobs then
        names the others only."""
        self.spared.add(email)
        return True

    # --- the vendor's manners ------------------------------------------------------------------------------------------------------

    def authorised(self, call: Call) -> bool:
        pair = f"{self.credentials['api_key']}:{self.credentials['secret_key']}"
        return call.headers.get("authorization") == "Basic " + base64.b64encode(pair.encode()).decode()

    def denied(self, call: Call) -> Answer:
        return _error(401, "Invalid API or secret key")

    def too_many(self, call: Call, wait: float) -> Answer:
        return _error(429, "Exceeded rate limit")

    def no_route(self, call: Call) -> Answer:
        return _error(404, "Not found")

    # --- users ---------------------------------------------------------------------------------------------------------------------

    @route("GET", "/api/2/usersearch")
    def usersearch(self, call: Call) -> Answer:
        self._run()
        wanted = call.params.get("user", "")
        if not wanted:
            return _error(400, "Missing required parameter: user")
        by_name = [user for user in self.users.values() if wanted == user.user_id or wanted in user.device_ids]
        by_number = [user for user in self.users.values() if wanted == str(user.amplitude_id)]
        by_prefix = [user for user in self.users.values() if user.user_id and user.user_id.startswith(wanted)]
        kinds = (("match_user_or_device_id", by_name), ("match_amplitude_id", by_number), ("match_user_prefix", by_prefix))
        kind, found = next(((kind, users) for kind, users in kinds if users), ("nomatch", []))
        return Answer.json({"matches": [{"user_id": user.user_id, "amplitude_id": user.amplitude_id} for user in found], "type": kind})

    @route("GET", "/api/2/useractivity")
    def useractivity(self, call: Call) -> Answer:
        self._run()
        wanted = call.params.get("user", "")
        user = self.users.get(int(wanted)) if wanted.isdecimal() else None
        if user is None:
            return _error(400, "Unknown Amplitude ID")
        offset, limit = int(call.params.get("offset", "0")), int(call.params.get("limit", "1000"))
        newest_first = user.events[::-1]
        data = {
            "user_id": user.user_id,
            "canonical_amplitude_id": user.amplitude_id,
            "merged_amplitude_ids": [],
            "num_events": len(user.events),
            "device_ids": user.device_ids,
            "country": None,
            "properties": user.properties,
        }
        return Answer.json({"userData": data, "events": newest_first[offset : offset + min(limit, LARGEST_PAGE) + self.session_overhang]})

    # --- deletion jobs ---------------------------------------------------------------------------------------------------------------

    @route("POST", "/api/2/deletions/users")
    def delete_users(self, call: Call) -> Answer:
        self._run()
        body = call.json()
        if not isinstance(body, Mapping):
            return _error(400, "Invalid JSON")
        everybody = list(self.users.values())
        wanted: list[tuple[Any, list[User]]] = [
            *((one, [user for user in everybody if str(user.amplitude_id) == str(one)]) for one in body.get("amplitude_ids") or ()),
            *((one, [user for user in everybody if user.user_id == str(one)]) for one in body.get("user_ids") or ()),
        ]
        if not wanted or len(wanted) > 100:
            return _error(400, "Between 1 and 100 users can be deleted in a request")
        invalid = [one for one, users in wanted if not users]
        if invalid and str(body.get("ignore_invalid_id", "false")).lower() != "true":
            return _error(400, "Some of the users were not found in the project")
        batch = self._open_batch()
        scheduled = []
        for user in [user for _, users in wanted for user in users]:
            self.effect(f"schedule {user.amplitude_id}")
            entry = {"amplitude_id": user.amplitude_id, "requested_on_day": self._today().isoformat(), "requester": body.get("requester", "")}
            scheduled.append(entry)
            if not any(known["amplitude_id"] == user.amplitude_id for known in batch.entries):
                batch.entries.append(entry)
        answer = {"day": batch.day.isoformat(), "status": self._status(batch), "amplitude_ids": scheduled}
        return Answer.json({**answer, "invalid_ids": invalid} if invalid else answer)

    @route("GET", "/api/2/deletions/users")
    def list_jobs(self, call: Call) -> Answer:
        self._run()
        try:
            start, end = date.fromisoformat(call.params["start_day"]), date.fromisoformat(call.params["end_day"])
        except (KeyError, ValueError):
            return _error(400, "start_day and end_day are required, formatted YYYY-MM-DD")
        if end - start > timedelta(days=184):
            return _error(400, "The largest permitted time range is six months")
        return Answer.json([self._job(batch) for batch in self.batches if start <= batch.day <= end])

    @route("DELETE", "/api/2/deletions/users/{id}/{day}")
    def revoke(self, call: Call) -> Answer:
        for batch in self.batches:
            for entry in batch.entries:
                if str(entry["amplitude_id"]) == call.ids["id"] and batch.day.isoformat() == call.ids["day"] and self._status(batch) == "staging":
                    batch.entries.remove(entry)
                    return Answer.json(entry)
        return _error(400, "The user is in no job that can be changed")

    def _today(self) -> date:
        return datetime.fromtimestamp(self.now(), UTC).date()

    def _open_batch(self) -> Batch:
        for batch in self.batches:
            if self._status(batch) == "staging":
                return batch
        self.batches.append(Batch(self._today() + DAYS_AHEAD))
        return self.batches[-1]

    def finish_jobs(self) -> None:
        for batch in self.batches:
            batch.ended = True
        self._run()

    def _status(self, batch: Batch) -> str:
        if batch.ended:
            return "submitted" if self.stuck else "done"
        if self._today() < batch.day - CLOSES_BEFORE:
            return "staging"
        return "done" if self._today() >= batch.day + SCRUB + BACKUPS and not self.stuck else "submitted"

    def _job(self, batch: Batch) -> dict[str, Any]:
        job = {"day": batch.day.isoformat(), "status": self._status(batch), "amplitude_ids": batch.entries}
        return {**job, "active_scrub_done_date": (batch.day + SCRUB).isoformat()} if batch.scrubbed else job

    def _run(self) -> None:
        for batch in self.batches:
            if not batch.scrubbed and self._status(batch) != "staging":
                batch.entries = [entry for entry in batch.entries if not self._is_spared(entry)]
            if not batch.scrubbed and not self.stuck and (batch.ended or self._today() >= batch.day + SCRUB):
                batch.scrubbed = True
                for entry in batch.entries:
                    self.users.pop(entry["amplitude_id"], None)

    def _is_spared(self, entry: Mapping[str, Any]) -> bool:
        user = self.users.get(entry["amplitude_id"])
        return user is not None and user.email in self.spared


def _error(status: int, message: str) -> Answer:
    return Answer.json({"error": {"http_code": status, "message": message}}, status)


def _event(number: int) -> dict[str, Any]:
    return {"event_id": number, "event_type": "visit", "event_time": f"2026-01-01 00:00:{(number - 1) % 60:02d}.000000"}
