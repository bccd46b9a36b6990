"""Sessions: how long they last, what ends them at once, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import event, select, update

from dsr_sdk.host import Host
from dsr_sdk.host.people.accounts import SignInError
from dsr_sdk.host.people.roles import Permission, Role, allowed
from dsr_sdk.ledger.database import reading, writing
from dsr_sdk.ledger.desk import accounts, sessions
from tests.agents import ALICE, BOB, CLIENT, PASSWORD, quick_passwords, with_agents
from tests.world import World

__all__ = ["quick_passwords"]

pytestmark = pytest.mark.usefixtures("quick_passwords")
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that stands still until it is moved."""
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


def sign_in(host: Host, account: str = BOB, password: str = PASSWORD) -> str:
    """A token."""
    return host.accounts.sign_in(account, password, client=CLIENT)


def test_a_session_of_a_demoted_user(world: World) -> None:
    """The role is the account's of this moment: what was allowed a second ago no longer is, in every session, without signing in again."""
    host = with_agents(world.open())
    other = world.open()
    tokens = [sign_in(host), sign_in(other)]
    for token in tokens:
        session = host.accounts.session(token)
        assert session is not None
        assert allowed(session.account.role, Permission.PROCESS)
    host.accounts.set_role(BOB, Role.READ_ONLY, by=ALICE)
    for token in tokens:
        for process in (host, other):
            session = process.accounts.session(token)
            assert session is not None
            assert session.account.role is Role.READ_ONLY
            assert not allowed(session.account.role, Permission.PROCESS)


@pytest.mark.parametrize("how", ["deactivated", "password", "everywhere", "invitation"])
def test_what_ends_every_session_at_once(world: World, how: str) -> None:
    """Deactivated, with a new password, signed out everywhere: the next request is nobody's, and only of that account."""
    host = with_agents(world.open())
    tokens, alices = [sign_in(host) for _ in range(3)], sign_in(host, ALICE)
    if how == "deactivated":
        host.accounts.set_active(BOB, False, by=ALICE)
    elif how == "password":
        host.accounts.set_password(BOB, "another long password", by=ALICE)
    elif how == "everywhere":
        host.accounts.sign_out_everywhere(BOB)
    else:
        host.accounts.accept_invite(host.accounts.invite(BOB, by=ALICE), "another long password")
    assert [host.accounts.session(token) for token in tokens] == [None, None, None]
    assert host.accounts.session(alices) is not None
    if how == "deactivated":
        with pytest.raises(SignInError):
            sign_in(host)
        host.accounts.set_active(BOB, True, by=ALICE)
        assert host.accounts.session(tokens[0]) is None


def test_a_sign_in_that_is_overtaken(world: World) -> None:
    """Whoever is deactivated between the proof and the session gets none."""
    host = with_agents(world.open())
    row = host.accounts._proofs.prove(BOB, PASSWORD, None, client=CLIENT)
    host.accounts.set_active(BOB, False, by=ALICE)
    host.accounts.set_active(BOB, True, by=ALICE)
    with pytest.raises(SignInError):
        host.accounts._begin(row, "password", PASSWORD)
    assert not _rows(host)


def test_a_session_left_alone_ends(world: World, clock: time_machine.Traveller) -> None:
    """After the idle time without a request; a request in between keeps it."""
    host = with_agents(world.open())
    used, left = sign_in(host), sign_in(host)
    clock.shift(timedelta(minutes=59))
    assert host.accounts.session(used) is not None
    clock.shift(timedelta(minutes=1))
    assert host.accounts.session(left) is None
    assert host.accounts.session(used) is not None


def test_a_session_ends_in_any_case(world: World, clock: time_machine.Traveller) -> None:
    """However busy it is."""
    host = with_agents(world.open())
    token = sign_in(host)
    session = host.accounts.session(token)
    assert session is not None
    assert session.expires_at == START + timedelta(hours=12)
    for _ in range(23):
        clock.shift(timedelta(minutes=30))
        assert host.accounts.session(token) is not None
    clock.shift(timedelta(minutes=30))
    assert host.accounts.session(token) is None


def test_times_are_configured(sqlite_world: World, clock: time_machine.Traveller) -> None:
    """[portal] says how long; the shortest idle time does not end a session that is used."""
    sqlite_world.tables = "[portal]\nidle_minutes = 1\nsession_hours = 1"
    host = with_agents(sqlite_world.open())
    token = sign_in(host)
    for _ in range(8):
        clock.shift(timedelta(seconds=45))
        assert host.accounts.session(token) is not None
    clock.shift(timedelta(seconds=60))
    assert host.accounts.session(token) is None


def test_a_page_view_writes_once_a_minute(sqlite_world: World, clock: time_machine.Traveller) -> None:
    """Two hundred agents at their pages must not keep the engine from writing."""
    host = with_agents(sqlite_world.open())
    token = sign_in(host)
    begun: list[str] = []
    event.listen(host.ledger.engine, "before_cursor_execute", lambda *said: begun.append(said[2]))
    for _ in range(59):
        assert host.accounts.session(token) is not None
        clock.shift(timedelta(seconds=1))
    assert not [statement for statement in begun if statement.startswith("UPDATE")]
    clock.shift(timedelta(seconds=1))
    for _ in range(10):
        assert host.accounts.session(token) is not None
    assert len([statement for statement in begun if statement.startswith("UPDATE")]) == 1
    assert len([statement for statement in begun if statement.startswith("SELECT")]) == 69


def test_signing_out_ends_one_session(world: World) -> None:
    """And no other; a token that is none does nothing."""
    host = with_agents(world.open())
    first, second = sign_in(host), sign_in(host)
    host.accounts.sign_out(first)
    host.accounts.sign_out("guessed")
    assert host.accounts.session(first) is None
    assert host.accounts.session(second) is not None


def test_a_session_is_always_a_new_one(sqlite_world: World) -> None:
    """Each sign-in makes a token and a secret for forms that nobody knew before: there is nothing to fixate."""
    host = with_agents(sqlite_world.open())
    tokens = {sign_in(host) for _ in range(5)}
    found = [host.accounts.session(token) for token in tokens]
    assert len(tokens) == len({session.csrf for session in found if session is not None}) == 5
    assert all(len(token) == 43 for token in tokens)
    for guessed in ("", "x" * 43, "é", next(iter(tokens))[:-1]):
        assert host.accounts.session(guessed) is None


def test_a_token_is_kept_nowhere(sqlite_world: World) -> None:
    """The ledger holds a keyed hash; the secret of forms is in no repr."""
    host = with_agents(sqlite_world.open())
    token = sign_in(host)
    session = host.accounts.session(token)
    assert session is not None
    assert session.csrf not in repr(session)
    host.close()
    assert token.encode() not in sqlite_world.db.read_bytes()


def test_old_sessions_are_swept(sqlite_world: World, clock: time_machine.Traveller) -> None:
    """Those that are over go when somebody signs in."""
    host = with_agents(sqlite_world.open())
    for _ in range(3):
        sign_in(host)
    clock.shift(timedelta(hours=13))
    sign_in(host)
    assert len(_rows(host)) == 1


def test_an_account_of_an_unknown_role(sqlite_world: World) -> None:
    """Made by a newer SDK: it counts as deactivated, and nothing breaks."""
    host = with_agents(sqlite_world.open())
    token = sign_in(host)
    with writing(host.ledger.engine) as connection:
        connection.execute(update(accounts).where(accounts.c.account == BOB).values(role="auditor"))
    assert host.accounts.session(token) is None
    assert [account.active for account in host.accounts.list()] == [True, False]


def test_asking_again_who_it_is(world: World) -> None:
    """Before something delicate: counted like a sign-in, and the session goes on."""
    host = with_agents(world.open())
    token = sign_in(host)
    host.accounts.check_password(BOB, PASSWORD, client=CLIENT)
    with pytest.raises(SignInError):
        host.accounts.check_password(BOB, "wrong password", client=CLIENT)
    assert host.accounts.session(token) is not None


def _rows(host: Host) -> list[bytes]:
    with reading(host.ledger.engine) as connection:
        return list(connection.execute(select(sessions.c.digest)).scalars())
