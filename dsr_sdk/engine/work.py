"""Units of work and what comes of them: the words that the drain, its workers and its bookkeeping share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import TypeAdapter

from dsr_sdk.connector import Connector
from dsr_sdk.errors import DsrError
from dsr_sdk.identity import AnyIdentity
from dsr_sdk.ledger.tasks import Task
from dsr_sdk.registry import DataSource
from dsr_sdk.request import Request, Subject
from dsr_sdk.result import Match, Outcome

__all__ = [
    "EFFECTS",
    "SEARCHES",
    "Acted",
    "Broke",
    "Exported",
    "Found",
    "Options",
    "Result",
    "Sent",
    "Trust",
    "Unit",
    "elsewhere",
    "identities_of",
    "match_from_json",
    "match_to_json",
    "units",
]

_T = TypeVar("_T")

EFFECTS = ("erase", "opt_out", "email")
"""Actions that change something outside: journalled before and after."""
SEARCHES = ("find", "export", "verify")
"""Actions that change nothing and may be repeated freely."""


@dataclass(frozen=True, slots=True)
class Options:
    """How patient the engine is. Times are generous because vendors take days; tests make them short.

    Attributes:
        attempts: Tries of a task before a passing failure counts as lasting.
        backoff: The first wait after a passing failure; it doubles up to `longest_backoff`.
        pending_for: How long a vendor's job may take before it is called failed.
        group: How many results are committed together at most.
        group_seconds: How long results wait for company before they are committed.
        source_errors: Operator errors (wrong key, wrong URL) in a row after which a source is left alone until someone acts.
    """

    attempts: int = 8
    backoff: timedelta = timedelta(seconds=5)
    longest_backoff: timedelta = timedelta(hours=1)
    pending_for: timedelta = timedelta(days=60)
    group: int = 256
    group_seconds: float = 0.05
    source_errors: int = 3


@dataclass(slots=True)
class Unit:
    """Tasks of one action carried out together: a batch call, or a single task. `polls` marks jobs being asked about."""

    action: str
    tasks: list[Task]
    poll: bool = False

    @property
    def divisible(self) -> bool:
        """Whether it stands for several things, of which one may be at fault."""
        return len(self.tasks) > 1 and (self.action not in EFFECTS or len({_target(task) for task in self.tasks}) > 1)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a task."""

    task: Task


@dataclass(frozen=True, slots=True)
class Found(Result):
    """A search found so much (perhaps nothing). For a verification: what is still there."""

    matches: list[Match] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Acted(Result):
    """An erasure, an opt-out or a vendor's job came to an outcome."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Exported(Result):
    """Records were written to the spool."""

    records: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Sent(Result):
    """A letter was handed to the mail server."""

    message_id: str
    cc_refused: bool = False


@dataclass(frozen=True, slots=True)
class Broke(Result):
    """It did not work, and the error's class says who acts next."""

    error: DsrError


@dataclass(frozen=True, slots=True)
class Trust:
    """How far the identities of a request are trusted.

    Attributes:
        left_out: Nobody knows that they are the person's: nothing is searched with them.
        unsure: Searched with, and said so.
    """

    left_out: tuple[AnyIdentity, ...] = field(default=(), repr=False)
    unsure: tuple[AnyIdentity, ...] = field(default=(), repr=False)

    def of(self, request: Request) -> Request:
        """The request without what is left out."""
        known = tuple(identity for identity in request.subject.identities if identity not in self.left_out)
        return request.model_copy(update={"subject": Subject.model_construct(identities=known)}) if self.left_out else request


def elsewhere(task: Task, source: DataSource) -> bool:
    """Whether what a task is about was found in another account than its data source leads to now, where the same id is somebody else's.

    A search belongs to an account once it is done; a letter names no id, and belongs to none. Tasks of an older ledger do not say, and go on.
    """
    known = task.payload.get("account") if isinstance(task.payload, dict) else None
    return bool(known and source.account and known != source.account)


def units(due: Iterable[Task], connector: Connector) -> Iterator[Unit]:
    """Group due tasks into units, batching as far as the connector can.

    One poll serves every task that waits for the same job. Erasures are batched per resource, across people and requests. The same
    thing asked for by two requests is one item: the vendor is asked once.
    """
    searches: list[Task] = []
    batches: dict[str, dict[tuple[str, str, str], list[Task]]] = {}
    single: dict[tuple[str, str, str], list[Task]] = {}
    polls: dict[bytes, list[Task]] = {}
    for task in due:
        if task.state == "pending" and task.job is not None:
            polls.setdefault(task.job_fingerprint or b"", []).append(task)
        elif task.action == "find":
            searches.append(task)
        elif task.action == "erase" and connector.batch_size > 1:
            batches.setdefault(task.resource or "", {}).setdefault(_target(task), []).append(task)
        elif task.action in EFFECTS and task.payload is not None:
            single.setdefault(_target(task), []).append(task)
        else:
            yield Unit(task.action, [task])
    for waiting in polls.values():
        yield Unit(waiting[0].action, waiting, poll=True)
    for chunk in _sized(searches, connector.find_batch_size):
        yield Unit("find", chunk)
    for tasks in single.values():
        yield Unit(tasks[0].action, tasks)
    for targets in batches.values():
        for group in _sized(list(targets.values()), connector.batch_size):
            yield Unit("erase", [task for tasks in group for task in tasks])


def _target(task: Task) -> tuple[str, str, str]:
    return task.action, str(task.payload["resource"]), str(task.payload["id"])


def _sized(items: Sequence[_T], size: int) -> Iterator[list[_T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


_IDENTITIES: TypeAdapter[tuple[AnyIdentity, ...]] = TypeAdapter(tuple[AnyIdentity, ...])


def identities_of(rows: Any) -> tuple[AnyIdentity, ...]:
    """Identities from the JSON the ledger keeps."""
    return _IDENTITIES.validate_python(rows)


def match_to_json(match: Match) -> dict[str, Any]:
    """A match as the ledger keeps it (sealed)."""
    data: dict[str, Any] = {"resource": match.resource, "id": match.id}
    if match.count != 1:
        data["count"] = match.count
    if match.data:
        data["data"] = dict(match.data)
    if match.identities:
        data["identities"] = [json.loads(identity.model_dump_json()) for identity in match.identities]
    return data


def match_from_json(data: dict[str, Any]) -> Match:
    """The inverse of `match_to_json`."""
    return Match(
        data["resource"],
        data["id"],
        count=data.get("count", 1),
        identities=identities_of(data["identities"]) if data.get("identities") else (),
        data=data.get("data") or {},
    )
