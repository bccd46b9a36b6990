"""Proof of identity, by right and by law: where it is asked for, where it may be given, where asking breaks the law."""

from __future__ import annotations

import itertools

import pytest

from dsr_sdk.host.cases.verification import Method, Requirement, methods_for, requirement, vouched_by
from dsr_sdk.request import Channel, Regime, RequestType

OPT_OUTS = (RequestType.DO_NOT_SELL, RequestType.DO_NOT_MAIL)
CALIFORNIA = (Regime.US_CA_CCPA, Regime.US_CA_DELETE_ACT)
EVERY_LAW = [None, *Regime]


@pytest.mark.parametrize("type_", [type_ for type_ in RequestType if type_ not in OPT_OUTS])
@pytest.mark.parametrize("regime", EVERY_LAW)
def test_giving_out_erasing_and_correcting_need_a_proof(regime: Regime | None, type_: RequestType) -> None:
    """Under every law, by whichever way."""
    assert requirement(regime, type_) is Requirement.REQUIRED
    assert methods_for(regime, type_) == tuple(Method)


@pytest.mark.parametrize(("regime", "type_"), list(itertools.product(CALIFORNIA, OPT_OUTS)))
def test_opting_out_in_california_must_not_depend_on_a_proof(regime: Regime, type_: RequestType) -> None:
    """11 CCR 7026(d), 7060(b): there is no way of proof to offer."""
    assert requirement(regime, type_) is Requirement.FORBIDDEN
    assert methods_for(regime, type_) == ()


@pytest.mark.parametrize(("regime", "type_"), list(itertools.product([law for law in EVERY_LAW if law not in CALIFORNIA], OPT_OUTS)))
def test_opting_out_elsewhere_may_be_proven(regime: Regime | None, type_: RequestType) -> None:
    """Offered, not demanded: an objection to advertising takes effect by itself."""
    assert requirement(regime, type_) is Requirement.OPTIONAL
    assert methods_for(regime, type_) == tuple(Method)


def test_what_each_channel_brings() -> None:
    """The consumer app is signed in at the mailbox; a controller's systems know their users; letters, forms and agents prove nothing."""
    brought = {channel: vouched_by(channel) for channel in Channel}
    assert brought == {
        Channel.MINE_APP: Method.OAUTH,
        Channel.API: Method.CONTROLLER,
        Channel.APP: Method.CONTROLLER,
        Channel.PROVIDER: Method.CONTROLLER,
        Channel.IMPORT: Method.CONTROLLER,
        Channel.PRIVACY_CENTER: None,
        Channel.AGENT: None,
        Channel.EMAIL: None,
    }
