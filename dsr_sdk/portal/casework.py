"""What the pages of requests share: what of a case its reader may see, the page of whoever was too slow, and searches behind a page."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Path
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.errors import ConflictError, DsrError, LedgerError, RequestError
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission, allowed
from dsr_sdk.host.people.workers import workers
from dsr_sdk.host.process.panel import title_of
from dsr_sdk.host.records.sentences import sentence
from dsr_sdk.ledger.cases import Case
from dsr_sdk.portal.web import NotAllowed, Tone, host_of, page, redirect

if TYPE_CHECKING:
    from dsr_sdk.host import Host

__all__ = ["Id", "Searches", "agents_of", "attached", "attempt", "conflict", "found", "names_of", "need", "positive", "searches_of", "ticked"]

log = logging.getLogger("dsr_sdk.portal.searches")

Id = Annotated[int, Path(ge=0, le=2**53)]
"""The number of a row in an address. No database has a column for a larger one: it would be an error of ours."""

_WAIT = 20.0
"""Seconds that a search stays for what a rate limit or a passing failure has put off."""


# --- who may see what ----------------------------------------------------------------------------------------------------------------------


def need(session: Session, permission: Permission) -> None:
    """Make sure of a permission beyond the one that the route declares."""
    if not allowed(session.account.role, permission):
        raise NotAllowed(permission.value)


def found(request: Request, number: str) -> Case:
    """A case of the workflow. Raises `LedgerError` ("there is no such case", 404) for anything else."""
    case = host_of(request).workflow.get(number)
    if case.stage is None:
        raise LedgerError("there is no such case in the workflow", source=number, fix="it was taken in before [workflow] stood in dsr.toml")
    return case


def agents_of(host: Host) -> list[tuple[str, str]]:
    """The accounts that a case can be given to, with their names."""
    return [(account.account, account.name) for account in workers(host)]


def names_of(host: Host) -> Mapping[str, str]:
    """What people are called, by their accounts; of those who have left, too."""
    return {account.account: account.name for account in host.accounts.list()}


# --- decisions -----------------------------------------------------------------------------------------------------------------------------


def attempt(request: Request, number: str, act: Callable[[], object], *, said: str = "", to: str | None = None, tone: Tone = "good") -> Response:
    """Do something about a case and go on to its page, or, when somebody else was faster, say what they did.

    Args:
        to: Where to go on; None for the case's own page.
    """
    try:
        act()
    except ConflictError as error:
        return conflict(request, number, error)
    return redirect(request, to or f"/requests/{number}", said=said, tone=tone)


def conflict(request: Request, number: str, error: ConflictError, *, typed: str = "") -> Response:
    """The page for whoever was too slow: what changed meanwhile, who changed it, and the way back.

    Args:
        typed: What they had written, to be copied from here.
    """
    host = host_of(request)
    case = found(request, number)
    titles = {name: title_of(host, name) for name in host.usable_sources()}
    events = [event for event in host.history(number) if event["event"] not in _SILENT][-4:]
    told = [(event["at"], event["actor"], sentence(event["event"], event["data"], titles)) for event in reversed(events)]
    context: dict[str, Any] = {"case": case, "error": error, "events": told, "names": names_of(host), "typed": typed}
    return page(request, "case/conflict.html", status=409, title="This was decided meanwhile", **context)


_SILENT = ("request.read", "file.read")


@contextmanager
def attached(host: Host, number: str, uploads: Sequence[UploadFile], *, purpose: str, by: str, source: str | None = None) -> Iterator[list[int]]:
    """`Files.attached` of what was uploaded."""
    streams = [(upload.file, upload.filename or "file", upload.content_type or "") for upload in uploads]
    with host.files.attached(number, streams, purpose=purpose, source=source, by=by) as ids:
        yield ids


# --- searches ------------------------------------------------------------------------------------------------------------------------------


class Searches:
    """Searches of data sources that nobody waits for: a few at a time, each case once. What they find stands in the ledger."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="dsr-search")
        self._lock = threading.Lock()
        self._running: dict[str, int] = {}
        self._asked: set[tuple[str, tuple[str, ...] | None]] = set()
        self._failed: dict[str, str] = {}

    def start(self, case: str, sources: Sequence[str] | None = None) -> None:
        """Search in the background. Returns at once. What is searched already, or waits for it, is not searched once more."""
        asked = case, None if sources is None else tuple(sorted(set(sources)))
        with self._lock:
            if asked in self._asked:
                return
            self._asked.add(asked)
            self._running[case] = self._running.get(case, 0) + 1
            self._failed.pop(case, None)
        try:
            self._pool.submit(self._search, *asked)
        except RuntimeError:  # the portal is ending: the page offers to search again
            self._ended(*asked, "")

    def running(self, case: str) -> bool:
        """Whether one is under way here."""
        with self._lock:
            return case in self._running

    def failed(self, case: str) -> str:
        """Why the last search of a case could not be made; empty when it could."""
        with self._lock:
            return self._failed.get(case, "")

    def close(self) -> None:
        """Let what is under way end, and begin nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _search(self, case: str, sources: tuple[str, ...] | None) -> None:
        why = ""
        try:
            self._host.processing.search(case, sources=sources, wait=_WAIT)
        except ConflictError:  # it has left the stage meanwhile: there is nothing to search for
            pass
        except DsrError as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - nobody is there to see it, and its text may hold personal data
            why = "the search has failed on our side"
            log.error("search: %s", type(error).__name__)
        self._ended(case, sources, why)

    def _ended(self, case: str, sources: tuple[str, ...] | None, why: str) -> None:
        with self._lock:
            self._asked.discard((case, sources))
            self._running[case] -= 1
            if not self._running[case]:
                del self._running[case]
            if why:
                self._failed[case] = why
                while len(self._failed) > 1000:
                    del self._failed[next(iter(self._failed))]


def searches_of(request: Request) -> Searches:
    """The searches of this portal."""
    searches: Searches = request.app.state.searches
    return searches


def positive(text: str, name: str) -> int:
    """A whole number out of an address, such as a file's id."""
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise RequestError("is not a number", field=name, fix="load the page again")
    return int(text)


def ticked(form_values: Sequence[str]) -> list[tuple[str, int | None]]:
    """``NUMBER:revision`` of ticked rows. Raises `RequestError` for anything else, or when nothing is ticked."""
    rows: list[tuple[str, int | None]] = []
    for value in form_values:
        number, _, revision = value.rpartition(":")
        rows.append((number, positive(revision, "cases")))
    if not rows:
        raise RequestError("no request is ticked", fix="go back, and tick the requests in the list")
    return rows
