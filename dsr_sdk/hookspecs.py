"""The pluggy hooks that carry the contract.

Three kinds. *Operations* are answered by one configured data source: `Connector` implements each of them once, as a final template
method, and the host calls them through a subset hook caller, so a wrapper (``@hookimpl(wrapper=True)``) of the host application can
stand around every call to every vendor. *Observers* are told what happened; any number may listen, and what they return is ignored.
*Questions* are put to everybody, and every answer counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from dsr_sdk.errors import DsrError
    from dsr_sdk.http import Api
    from dsr_sdk.mail import Letter, Letterhead
    from dsr_sdk.request import RequestType, Subject
    from dsr_sdk.result import Match, Outcome, Record

__all__ = ["PROJECT", "Proposal", "hookimpl", "hookspec"]

PROJECT = "dsr_sdk"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A system that the company seems to use: what `dsr_discover` answers. Whether it is one, and holds personal data, people decide.

    Attributes:
        title: What the company calls it.
        category: A value of `Category`; None when nobody knows: then that of the vendor, if it is a known one.
        domain: The vendor's domain (``zendesk.com``), to recognise it by.
        vendor: Its slug in the catalogue, when the discoverer is certain.
        where: Where it was found, for the person who decides: ``Okta``, ``vendors.csv, line 3``. No personal data.
        owner: Whom to ask about it.
    """

    title: str
    category: str | None = None
    domain: str | None = None
    vendor: str | None = None
    where: str = ""
    owner: str | None = None


# --- operations: answered by one data source --------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def dsr_check(source: str, api: Api) -> str:
    """Make one harmless call that proves credentials and base URL; answer a line for the operator. Changes nothing."""
    raise AssertionError("a specification is never called")


@hookspec(firstresult=True)
def dsr_find(source: str, api: Api, subjects: Sequence[Subject]) -> Sequence[Sequence[Match]]:
    """What the data source holds for each subject, in the same order. Changes nothing. Each subject carries one identity to search by."""
    raise AssertionError("a specification is never called")


@hookspec(firstresult=True)
def dsr_delete(source: str, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
    """Erase the matches; one outcome each, in the same order."""
    raise AssertionError("a specification is never called")


@hookspec(firstresult=True)
def dsr_export(source: str, api: Api, match: Match) -> Iterator[Record]:
    """Everything held behind the match, streamed."""
    raise AssertionError("a specification is never called")


@hookspec(firstresult=True)
def dsr_opt_out(source: str, api: Api, match: Match) -> Outcome:
    """Stop selling or sharing the person's data."""
    raise AssertionError("a specification is never called")


@hookspec(firstresult=True)
def dsr_email(source: str, subject: Subject, type: RequestType, letterhead: Letterhead) -> Letter:
    """The letter that asks the vendor's privacy address to do it. The host sends it, once."""
    raise AssertionError("a specification is never called")


@hookspec(firstresult=True)
def dsr_poll(source: str, api: Api, job: str) -> Outcome | Mapping[str, Outcome]:
    """How a vendor's job stands that an earlier call answered with `Pending`: one outcome for all its matches, or one for each match id."""
    raise AssertionError("a specification is never called")


@hookspec(firstresult=True)
def dsr_recover(source: str, api: Api, match: Match) -> Outcome | None:
    """After a crash between an effect and its record: what the vendor says of it; None when it knows of none."""
    raise AssertionError("a specification is never called")


# --- observers: told what happened -------------------------------------------------------------------------------------------------


@hookspec
def dsr_task_finished(case: str, source: str, action: str, outcome: Outcome | None, error: str | None) -> None:
    """A task reached its end: `outcome` when it has one, otherwise the class of the error."""


@hookspec
def dsr_connector_failed(slug: str, error: str) -> None:
    """An installed connector could not be loaded and is quarantined; `error` says why and what to do."""


@hookspec
def dsr_request_closed(case: str, type: RequestType) -> None:
    """A request is finished: every data source has answered."""


# --- questions: put to everybody ---------------------------------------------------------------------------------------------------


@hookspec
def dsr_discover() -> Iterable[Proposal]:
    """Which systems the company seems to use. Nothing is added by answering: people accept or dismiss what is proposed."""
    raise AssertionError("a specification is never called")
