"""Whether a person must prove who they are before a request is granted: it depends on the right and on the law.

Too little, and one person's record goes to another. Too much, and the check itself breaks the law: a Californian who opts out of sale may
not be asked to prove anything (11 CCR 7026(d), 7060(b); a regulator fined a car maker $632,500 for it in 2025).
"""

from __future__ import annotations

from enum import StrEnum

from dsr_sdk.identity import AnyIdentity, Email, Name, Verification
from dsr_sdk.request import Channel, Regime, Request, RequestType, Subject

__all__ = ["Method", "Requirement", "entered", "methods_for", "proven", "reached", "requirement", "unmarked", "unproven", "vouched_by"]


class Requirement(StrEnum):
    """What the law says about proof of identity for one right."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    FORBIDDEN = "forbidden"


class Method(StrEnum):
    """How an identity was proven."""

    OAUTH = "oauth"
    EMAIL = "email"
    DOCUMENT = "document"
    QUESTIONS = "questions"
    CONTROLLER = "controller"
    """The controller's own system vouches for the person: it handed the request in for a signed-in user."""


_CALIFORNIA = (Regime.US_CA_CCPA, Regime.US_CA_DELETE_ACT)
_OPT_OUTS = (RequestType.DO_NOT_SELL, RequestType.DO_NOT_MAIL)


def requirement(regime: Regime | None, type: RequestType) -> Requirement:
    """What is asked of the person.

    Erasing, handing over and correcting need a proven identity everywhere (GDPR art. 12(6), 11 CCR 7060(a)). Opting out of sale
    needs none, and in California must not be made to depend on one. An objection to direct marketing (GDPR art. 21(3)) takes effect by
    itself; proof may be offered, not demanded.
    """
    if type not in _OPT_OUTS:
        return Requirement.REQUIRED
    return Requirement.FORBIDDEN if regime in _CALIFORNIA else Requirement.OPTIONAL


def methods_for(regime: Regime | None, type: RequestType) -> tuple[Method, ...]:
    """The ways of proof that may be used: none where proof is forbidden."""
    return () if requirement(regime, type) is Requirement.FORBIDDEN else tuple(Method)


def vouched_by(channel: Channel) -> Method | None:
    """The proof that a channel brings along: requests of the consumer app are signed in at the mailbox, a controller's own systems know
    their users. A form, a letter or an agent's own entry proves nothing yet."""
    if channel is Channel.MINE_APP:
        return Method.OAUTH
    if channel in (Channel.API, Channel.APP, Channel.PROVIDER, Channel.IMPORT):
        return Method.CONTROLLER
    return None


# --- what a proof covers -------------------------------------------------------------------------------------------------------------

_MAILBOX = (Method.OAUTH, Method.EMAIL)
_REACHED = (Verification.OAUTH, Verification.EMAIL_LINK, Verification.CONTROLLER)
_MARKS = {
    Method.OAUTH: Verification.OAUTH,
    Method.EMAIL: Verification.EMAIL_LINK,
    Method.DOCUMENT: Verification.DOCUMENT,
    Method.QUESTIONS: Verification.QUESTIONS,
    Method.CONTROLLER: Verification.CONTROLLER,
}


def proven(request: Request, method: Method, *, address: str | None = None) -> Request:
    """The request with those identities marked that a proof covers.

    Whoever reads a mailbox has proven that address, and nothing of what they typed beside it: otherwise a stranger's telephone number in the
    form would open the stranger's records. An agent who has seen a document, heard answers or looked into the company's own system says it
    of everything that stands in the request at that moment.

    Args:
        address: The mailbox, normalised; None for the request's first address.
    """
    first = address or next((email.value for email in request.subject.all(Email)), None)

    def covered(identity: AnyIdentity) -> bool:
        return not isinstance(identity, Name) and (method not in _MAILBOX or (isinstance(identity, Email) and identity.value == first))

    marked = tuple(
        identity.model_copy(update={"verified_by": _MARKS[method]})
        if covered(identity) and (identity.verified_by is None or method in _MAILBOX)
        else identity
        for identity in request.subject.identities
    )
    return request.model_copy(update={"subject": Subject.model_construct(identities=marked)})


def unmarked(request: Request) -> Request:
    """The request with no identity proven: whoever writes one down proves nothing by it."""
    plain = tuple(identity.model_copy(update={"source": "request", "verified_by": None}) for identity in request.subject.identities)
    return request.model_copy(update={"subject": Subject.model_construct(identities=plain)})


def reached(request: Request) -> Email | None:
    """The address at which the person is reached for sure: they confirmed it, signed in at it, or the company's own system knows it. A document
    shows who somebody is, and not that the address was typed without a mistake."""
    return next((email for email in request.subject.all(Email) if email.verified_by in _REACHED), None)


def unproven(request: Request) -> tuple[AnyIdentity, ...]:
    """Identities that stand in the request because its sender wrote them there, and that neither a proof nor an agent vouches for. Where
    the law asks for proof, nothing is searched with them: see `dsr_sdk.host.cases.trust`."""
    return tuple(
        identity
        for identity in request.subject.identities
        if not isinstance(identity, Name) and identity.verified_by is None and identity.source != "agent"
    )


def entered(request: Request) -> tuple[AnyIdentity, ...]:
    """Identities that an agent entered and no proof covers: they are searched with on that agent's word."""
    return tuple(identity for identity in request.subject.identities if identity.source == "agent" and identity.verified_by is None)
