"""*Please confirm that it is you*: what opens doors to others wants a proof from the last ten minutes, and the own account one at that moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pyotp
import pytest
import time_machine

from dsr_sdk import RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.people.accounts import NeedsProof, Session
from dsr_sdk.host.people.roles import Role
from dsr_sdk.host.people.sessions import PROVEN_FOR
from tests.agents import ALICE, BOB, CLIENT, PASSWORD, quick_passwords, with_agents
from tests.world import World

__all__ = ["quick_passwords"]

pytestmark = pytest.mark.usefixtures("quick_passwords")
START = datetime(2026, 3, 2, 9, 0, 10, tzinfo=UTC)
NEW = "another sentence that opens doors"
OIDC = '[portal.oidc]\nissuer = "https://id.example.com"\nclient_id = "dsr"\nclient_secret = "env:DSR_OIDC"'


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that stands still until it is moved."""
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def host(clock: time_machine.Traveller, sqlite_world: World) -> Host:
    """A host with an admin and an agent."""
    sqlite_world.tables = "[workflow]"
    return with_agents(sqlite_world.open())


def signed_in(host: Host, account: str = ALICE, code: str | None = None) -> tuple[str, Session]:
    """A token, and its session."""
    token = host.accounts.sign_in(account, PASSWORD, code, client=CLIENT)
    return token, again(host, token)


def again(host: Host, token: str) -> Session:
    """The session as it is now."""
    session = host.accounts.session(token)
    assert session is not None
    return session


DOORS: dict[str, Callable[[Host, Session], object]] = {
    "an account": lambda host, by: host.accounts.create("new@example.com", "New", Role.ADMIN, by=by),
    "an account and its link": lambda host, by: host.accounts.add("new@example.com", "New", Role.AGENT, by=by),
    "a role": lambda host, by: host.accounts.set_role(BOB, Role.ADMIN, by=by),
    "a key": lambda host, by: host.accounts.make_key("Web shop", Role.ADMIN, by=by),
    "an invitation": lambda host, by: host.accounts.invite(BOB, by=by),
    "an invitation's link": lambda host, by: host.accounts.invite_link(BOB, by=by),
    "a second factor": lambda host, by: host.accounts.disable_totp(BOB, by=by),
}


@pytest.mark.parametrize("door", DOORS)
def test_what_opens_doors_wants_a_fresh_proof(host: Host, clock: time_machine.Traveller, door: str) -> None:
    """A sign-in is one for ten minutes; after that nothing is done and nothing recorded, until the account has confirmed that it is them."""
    _, session = signed_in(host)
    clock.shift(PROVEN_FOR + timedelta(seconds=1))
    before = len(host.history("HOST"))
    with pytest.raises(NeedsProof):
        DOORS[door](host, session)
    assert len(host.history("HOST")) == before
    assert len(host.accounts.list()) == 2
    assert not host.accounts.keys()
    host.accounts.own.confirm(session, PASSWORD, client=CLIENT)
    clock.shift(PROVEN_FOR)
    DOORS[door](host, session)
    if door != "a second factor":  # Bob has none: nothing to record
        assert {event["actor"] for event in host.history("HOST")[before:]} == {ALICE}


def test_a_proof_counts_for_its_session_alone(host: Host, clock: time_machine.Traveller) -> None:
    """Whoever sits at the other screen has proven nothing."""
    (_, here), (there_token, there) = signed_in(host), signed_in(host)
    clock.shift(PROVEN_FOR * 2)
    host.accounts.own.confirm(here, PASSWORD, client=CLIENT)
    with pytest.raises(NeedsProof):
        host.accounts.set_role(BOB, Role.ADMIN, by=there)
    host.accounts.sign_out(there_token)
    with pytest.raises(NeedsProof):
        host.accounts.set_role(BOB, Role.ADMIN, by=there)
    host.accounts.set_role(BOB, Role.ADMIN, by=here)


def test_a_session_that_is_over_opens_nothing(host: Host) -> None:
    """However fresh its proof was: deactivated, or with a new password."""
    _, session = signed_in(host)
    host.accounts.sign_out_everywhere(ALICE)
    with pytest.raises(NeedsProof):
        host.accounts.make_key("Web shop", Role.ADMIN, by=session)


def test_a_proof_is_password_and_code(host: Host, clock: time_machine.Traveller) -> None:
    """Where a second factor is on; a code counts once, and wrong ones count towards the lock."""
    secret, _ = host.accounts.enable_totp(ALICE)
    host.accounts.confirm_totp(ALICE, pyotp.TOTP(secret).now())
    clock.shift(timedelta(minutes=1))
    _, session = signed_in(host, code=pyotp.TOTP(secret).now())
    clock.shift(PROVEN_FOR * 2)
    for password, code in ((PASSWORD, None), (PASSWORD, "000000"), ("wrong", pyotp.TOTP(secret).now())):
        with pytest.raises(RequestError):
            host.accounts.own.confirm(session, password, code, client=CLIENT)
        with pytest.raises(NeedsProof):
            host.accounts.set_role(BOB, Role.ADMIN, by=session)
    clock.shift(timedelta(minutes=1))
    host.accounts.own.confirm(session, PASSWORD, pyotp.TOTP(secret).now(), client=CLIENT)
    host.accounts.set_role(BOB, Role.ADMIN, by=session)


def test_wrong_proofs_lock_the_account(host: Host) -> None:
    """At an unlocked screen nobody tries passwords for long."""
    _, session = signed_in(host)
    for number in range(10):
        with pytest.raises(RequestError):
            host.accounts.own.confirm(session, "wrong wrong wrong", client=f"198.51.100.{number}")
    assert host.accounts.get(ALICE).locked_until is not None


@pytest.mark.parametrize(("ago", "fresh"), [(None, True), (timedelta(minutes=2), True), (timedelta(minutes=11), False), (-timedelta(days=9), True)])
def test_who_signs_in_elsewhere_signs_in_again(sqlite_world: World, clock: time_machine.Traveller, ago: timedelta | None, fresh: bool) -> None:
    """It counts from when the provider says that they gave a proof there, which may be long ago; and never from later than now."""
    sqlite_world.tables = f"[workflow]\n{OIDC}"
    host = with_agents(sqlite_world.open())
    at = None if ago is None else datetime.now(UTC) - ago
    session = again(host, host.accounts.sign_in_oidc("https://id.example.com", ALICE, verified=True, client=CLIENT, proven_at=at))
    if fresh:
        host.accounts.set_role(BOB, Role.SUPPORT, by=session)
        clock.shift(PROVEN_FOR * 1.1)
    with pytest.raises(NeedsProof):
        host.accounts.set_role(BOB, Role.ADMIN, by=session)


def test_the_command_line_proves_nothing(host: Host, clock: time_machine.Traveller) -> None:
    """Whoever runs it runs the host, under whatever name: an admin's own, too."""
    for by in ("root", ALICE):
        host.accounts.set_role(BOB, Role.SUPPORT, by=by)
        assert host.accounts.invite(ALICE, by=by)
        host.accounts.disable_totp(ALICE, by=by)


# --- the own account -------------------------------------------------------------------------------------------------------------------


def test_the_own_credentials_are_not_an_admins_to_replace(host: Host) -> None:
    """Not even right after a proof: the own password is changed with the old one, the own second factor ended with password and code."""
    _, session = signed_in(host)
    for take in (host.accounts.invite, host.accounts.invite_link, host.accounts.disable_totp):
        with pytest.raises(RequestError, match="your own account"):
            take(ALICE, by=session)
    assert "account.invited" not in [event["event"] for event in host.history("HOST")]


def test_the_own_account_wants_a_proof_each_time(host: Host, clock: time_machine.Traveller) -> None:
    """However fresh the last one is."""
    _, session = signed_in(host)
    own = host.accounts.own
    with pytest.raises(RequestError, match="current password or the code is wrong"):
        own.set_password(session, NEW, current="wrong", client=CLIENT)
    with pytest.raises(RequestError, match="current password or the code is wrong"):
        own.begin_second_factor(session, current="wrong", client=CLIENT)
    secret, _ = own.begin_second_factor(session, current=PASSWORD, client=CLIENT)
    own.confirm_second_factor(session, pyotp.TOTP(secret).now())
    clock.shift(timedelta(minutes=1))
    with pytest.raises(RequestError, match="the code of your authenticator app is needed, too"):
        own.end_second_factor(session, current=PASSWORD, code=None, client=CLIENT)
    assert host.accounts.get(ALICE).second_factor
    own.end_second_factor(session, current=PASSWORD, code=pyotp.TOTP(secret).now(), client=CLIENT)
    assert not host.accounts.get(ALICE).second_factor


def test_a_second_factor_ends_the_other_sessions(host: Host) -> None:
    """Whoever came in without it comes in with it. The one it is turned on in goes on, and other people's do; invitations are over."""
    (token, session), (other, _), (bobs, _) = signed_in(host), signed_in(host), signed_in(host, BOB)
    invitation = host.accounts.invite(ALICE, by="root")
    secret, _ = host.accounts.own.begin_second_factor(session, current=PASSWORD, client=CLIENT)
    assert host.accounts.session(other) is not None
    host.accounts.own.confirm_second_factor(session, pyotp.TOTP(secret).now())
    assert host.accounts.session(other) is None
    assert host.accounts.session(bobs) is not None
    with pytest.raises(RequestError):
        host.accounts.invited(invitation)
    host.accounts.set_role(BOB, Role.SUPPORT, by=again(host, token))


def test_a_second_factor_from_the_command_line_ends_every_session(host: Host) -> None:
    """There is none to go on in."""
    token, _ = signed_in(host)
    secret, _ = host.accounts.enable_totp(ALICE)
    host.accounts.confirm_totp(ALICE, pyotp.TOTP(secret).now())
    assert host.accounts.session(token) is None


def test_a_password_ends_every_session(host: Host, clock: time_machine.Traveller) -> None:
    """The one it is changed in, too; and one that is no good ends none, and uses no code up."""
    (token, session), (other, _) = signed_in(host), signed_in(host)
    with pytest.raises(RequestError, match="at least 12"):
        host.accounts.own.set_password(session, "short", current=PASSWORD, client=CLIENT)
    assert host.accounts.session(other) is not None
    host.accounts.own.set_password(session, NEW, current=PASSWORD, client=CLIENT)
    assert [host.accounts.session(one) for one in (token, other)] == [None, None]
    assert host.accounts.sign_in(ALICE, NEW, client=CLIENT)
