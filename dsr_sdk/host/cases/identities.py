"""Identities that come to a request after it was taken in: entered by an agent, or taken over from its duplicate.

Each comes with the proof that it has, and with no more: see `dsr_sdk.host.cases.trust` for what is then searched with.
"""

from __future__ import annotations

from collections.abc import Iterable

from dsr_sdk.errors import RequestError
from dsr_sdk.host.cases.verification import unproven
from dsr_sdk.identity import AnyIdentity, Email, Name
from dsr_sdk.request import Request, Subject

__all__ = ["entering", "merging"]


def entering(request: Request, identity: AnyIdentity) -> Request:
    """The request with an identity on an agent's word. One that it has, and that nobody has proven, is from here on that word, too."""
    if identity.key in {known.key for known in unproven(request)}:
        rows: Iterable[AnyIdentity] = (
            known.model_copy(update={"source": "agent"}) if known.key == identity.key else known for known in request.subject.identities
        )
        return _with(request, rows)
    entered = identity.model_copy(update={"source": "agent", "verified_by": None})
    return request.model_copy(update={"subject": request.subject.widened([entered])})


def merging(stays: Request, duplicate: Request, *, typed: bool) -> tuple[Request, tuple[AnyIdentity, ...]]:
    """The request that goes on, with what its duplicate knew beside it; and what of that is new to it, or better proven.

    A proof goes along only where the duplicate has proven something that the other request names as well. Otherwise the two are one person's
    by what somebody typed, and a stranger's own mailbox would count as proven in the request of whoever they named.

    Args:
        typed: Also take what the duplicate's sender only typed. It stays typed.

    Raises:
        RequestError: They are answered at different addresses. A telephone number or an id that both name makes nobody the same person: anyone
            can type one. Merged into a stranger's case, the person who asked would never be answered.
    """
    here, there = (next((email.key for email in request.subject.all(Email)), None) for request in (duplicate, stays))
    if here is not None and here != there:
        raise RequestError("is answered at another e-mail address: this person would not hear of it", source=stays.case, fix="answer both")
    known = {identity.key: identity for identity in stays.subject.identities}
    same = any(identity.verified_by is not None and identity.key in known for identity in _pointers(duplicate))
    taken: dict[tuple[str, ...], AnyIdentity] = {}
    for identity in _pointers(duplicate):
        brought = identity if same else identity.model_copy(update={"source": "request", "verified_by": None})
        mine = known.get(brought.key)
        if (_weight(brought) or typed) if mine is None else _weight(brought) > _weight(mine):
            taken[brought.key] = brought
    rows = [taken.get(identity.key, identity) for identity in stays.subject.identities]  # the first address stays the one that is answered at
    rows += [identity for key, identity in taken.items() if key not in known]
    return _with(stays, rows), tuple(taken.values())


def _pointers(request: Request) -> list[AnyIdentity]:
    return [identity for identity in request.subject.identities if not isinstance(identity, Name)]


def _weight(identity: AnyIdentity) -> int:
    """0: its sender typed it. 1: on an agent's word. 2: proven."""
    return 2 if identity.verified_by is not None else int(identity.source == "agent")


def _with(request: Request, identities: Iterable[AnyIdentity]) -> Request:
    return request.model_copy(update={"subject": Subject.model_construct(identities=tuple(identities))})
