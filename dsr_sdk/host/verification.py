"""Whether a person must prove who they are before a request is granted: it depends on the right and on the law.

Too little, and one person's record goes to another. Too much, and the check itself breaks the law: a Californian who opts out of sale may
not be asked to prove anything (11 CCR 7026(d), 7060(b); a regulator fined a car maker $632,500 for it in 2025).
"""

from __future__ import annotations

from enum import StrEnum

from dsr_sdk.request import Channel, Regime, RequestType

__all__ = ["Method", "Requirement", "methods_for", "requirement", "vouched_by"]


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
