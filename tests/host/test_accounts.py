"""Accounts: who can be made, what a password is, what a failed sign-in tells (nothing), and what stands in the audit log."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import argon2
import pyotp
import pytest
import time_machine
from sqlalchemy import select, update

from dsr_sdk.errors import ConflictError, DsrError, RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.people import proofs as proofs_module
from dsr_sdk.host.people.accounts import NeedsCode, SignInError
from dsr_sdk.host.people.passwords import COST, Cost, Passwords, checked
from dsr_sdk.host.people.proofs import TRIES
from dsr_sdk.host.people.roles import Role
from dsr_sdk.ledger import audit
from dsr_sdk.ledger.database import reading, writing
from dsr_sdk.ledger.desk import accounts, links
from tests.agents import ALICE, BOB, CHEAP, CLIENT, PASSWORD, quick_passwords, with_agents
from tests.world import World

__all__ = ["quick_passwords"]

pytestmark = pytest.mark.usefixtures("quick_passwords")
START = datetime(2026, 3, 2, 9, 0, 10, tzinfo=UTC)
OIDC = '[portal.oidc]\nissuer = "https://id.example.com"\nclient_id = "dsr"\nclient_secret = "env:DSR_OIDC"'


@pytest.fixture
def host(sqlite_world: World) -> Host:
    """A host with an admin and an agent."""
    return with_agents(sqlite_world.open())


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that stands still until it is moved."""
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


def stored(host: Host, account: str = BOB) -> Any:
    """An account's row."""
    with reading(host.ledger.engine) as connection:
        return connection.execute(select(accounts).where(accounts.c.account == account)).one()


def fail(host: Host, account: str = BOB, password: str = "wrong password", code: str | None = None, client: str = CLIENT) -> str:
    """A sign-in that must fail; what was said."""
    with pytest.raises(SignInError) as failure:
        host.accounts.sign_in(account, password, code, client=client)
    assert type(failure.value) is SignInError
    return str(failure.value)


def lock(host: Host, account: str = BOB) -> None:
    """Ten wrong passwords."""
    for number in range(TRIES):
        fail(host, account, client=f"198.51.100.{number}")


# --- accounts ------------------------------------------------------------------------------------------------------------------------


def test_an_account_is_found_however_it_is_written(world: World) -> None:
    """The address is the account, in small letters."""
    host = world.open()
    made = host.accounts.create(" Alice@Example.COM ", " Alice  Liddell ", "admin", PASSWORD, by="set-up")
    assert (made.account, made.name, made.role, made.active, made.password) == (ALICE, "Alice Liddell", Role.ADMIN, True, True)
    assert host.accounts.get("ALICE@example.com") == made
    assert host.accounts.list() == (made,)
    with pytest.raises(ConflictError):
        host.accounts.create("alice@EXAMPLE.com", "Another", Role.AGENT, PASSWORD, by=ALICE)


@pytest.mark.parametrize(
    ("account", "name", "role", "field"),
    [("alice", "A", "agent", "account"), (BOB, " ", "agent", "name"), (BOB, "a\x1b[31m", "agent", "name"), (BOB, "B", "owner", "role")],
)
def test_wrong_fields_are_named(host: Host, account: str, name: str, role: str, field: str) -> None:
    """An error names the field and never repeats the value."""
    with pytest.raises(RequestError) as failure:
        host.accounts.create(account, name, role, PASSWORD, by=ALICE)
    assert failure.value.field == field
    assert PASSWORD not in str(failure.value)


def test_the_first_account_is_an_admins(sqlite_world: World) -> None:
    """Otherwise nobody could make a second one."""
    with pytest.raises(RequestError, match="first account"):
        sqlite_world.open().accounts.create(BOB, "Bob", Role.AGENT, PASSWORD, by="set-up")


@pytest.mark.parametrize("change", ["role", "active"])
def test_the_last_admin_stays(world: World, change: str) -> None:
    """Neither demoted nor deactivated; an admin who cannot sign in yet is no other admin."""
    host = with_agents(world.open())
    host.accounts.create("carol@example.com", "Carol", Role.ADMIN, by=ALICE)

    def remove() -> None:
        if change == "role":
            host.accounts.set_role(ALICE, Role.SUPPORT, by=ALICE)
        else:
            host.accounts.set_active(ALICE, False, by=ALICE)

    with pytest.raises(ConflictError, match="last admin"):
        remove()
    host.accounts.set_password("carol@example.com", PASSWORD, by=ALICE)
    remove()
    assert host.accounts.get(ALICE).role is (Role.SUPPORT if change == "role" else Role.ADMIN)


def test_two_admins_who_demote_each_other_at_once(world: World) -> None:
    """One of them stays an admin, on either database."""
    host = with_agents(world.open())
    host.accounts.set_role(BOB, Role.ADMIN, by=ALICE)
    for _ in range(5):
        barrier = threading.Barrier(2)

        def demote(account: str, by: str, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            try:
                host.accounts.set_role(account, Role.AGENT, by=by)
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(demote, (ALICE, BOB), (BOB, ALICE)))
        assert sorted(done) == [False, True]
        for account in (ALICE, BOB):
            host.accounts.set_role(account, Role.ADMIN, by="set-up")


def test_two_make_the_same_account_at_once(world: World) -> None:
    """The second is told in words."""
    host = with_agents(world.open())
    barrier = threading.Barrier(4)

    def make(_: int) -> bool:
        barrier.wait()
        try:
            host.accounts.create("dan@example.com", "Dan", Role.AGENT, by=ALICE)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(make, range(4))) == [False, False, False, True]


# --- passwords -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["short", "elevenchars", "bob@example.com and more", "my name is BOBBY-lee ok", "x" * 1025])
def test_bad_passwords(password: str) -> None:
    """Too short, too long, or telling the account; the message repeats nothing of it."""
    with pytest.raises(RequestError) as failure:
        checked(password, "bobby-lee@example.com" if "BOBBY" in password else BOB)
    assert failure.value.field == "password"
    assert password not in str(failure.value)


@pytest.mark.parametrize("password", ["twelve chars", "aaaaaaaaaaaaaaaaaa", "ein Satz ohne Ziffern", "пароль без правил", "bob likes long ones"])
def test_good_passwords(password: str) -> None:
    """Length is all that is asked for; a short name may well be part of a sentence."""
    assert checked(password, BOB) == password


def test_the_same_password_on_another_keyboard(host: Host) -> None:
    """One letter with an accent or a letter and an accent: it is the same password."""
    host.accounts.set_password(BOB, "na\u00efve passphrase", by=ALICE)
    assert host.accounts.sign_in(BOB, "nai\u0308ve passphrase", client=CLIENT)


def test_the_parameters_are_those_of_the_rfc() -> None:
    """argon2id at the second recommended choice of RFC 9106, and the hash says so."""
    rfc = argon2.profiles.RFC_9106_LOW_MEMORY
    assert Cost(rfc.memory_cost, rfc.time_cost, rfc.parallelism) == COST
    assert Passwords().hash(PASSWORD).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_hash_is_renewed_when_the_cost_changes(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next sign-in makes it anew, nobody is signed out by it, and a wrong password renews nothing."""
    host = with_agents(sqlite_world.open())
    before, token = stored(host).password_hash, host.accounts.sign_in(BOB, PASSWORD, client=CLIENT)
    assert stored(host).password_hash == before
    dearer = Cost(memory=128, passes=1, lanes=1)
    monkeypatch.setattr(proofs_module, "Passwords", lambda: Passwords(dearer))
    later = sqlite_world.open()
    fail(later)
    assert stored(later).password_hash == before
    later.accounts.sign_in(BOB, PASSWORD, client=CLIENT)
    assert "m=128" in stored(later).password_hash
    assert later.accounts.session(token) is not None
    assert later.accounts.sign_in(BOB, PASSWORD, client=CLIENT)


def test_the_same_work_for_everybody(host: Host, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown account, one without a password, a deactivated and a locked one: each costs one verification, and is told the same."""
    host.accounts.create("carol@example.com", "Carol", Role.AGENT, by=ALICE)
    host.accounts.create("dan@example.com", "Dan", Role.AGENT, PASSWORD, by=ALICE)
    host.accounts.set_active("dan@example.com", False, by=ALICE)
    host.accounts.create("eve@example.com", "Eve", Role.AGENT, PASSWORD, by=ALICE)
    lock(host, "eve@example.com")
    verified: list[str] = []
    real = argon2.PasswordHasher.verify

    def verify(self: argon2.PasswordHasher, hash: str | bytes, password: str | bytes) -> Any:
        verified.append(str(hash))
        return real(self, hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    said = set()
    for account in (BOB, "nobody@example.com", "no address", "carol@example.com", "dan@example.com", "eve@example.com"):
        verified.clear()
        said.add(fail(host, account, client=account))
        assert len(verified) == 1, account
        assert verified[0].startswith(f"$argon2id$v=19$m={CHEAP.memory},")
    assert len(said) == 1


def test_not_more_hashing_than_the_machine_bears(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty sign-ins at once hash two at a time."""
    running, most, guard = [0], [0], threading.Lock()
    real = argon2.PasswordHasher.verify

    def verify(self: argon2.PasswordHasher, hash: str | bytes, password: str | bytes) -> Any:
        with guard:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.01)
        with guard:
            running[0] -= 1
        return real(self, hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    with ThreadPoolExecutor(20) as pool:
        tokens = list(pool.map(lambda _: host.accounts.sign_in(ALICE, PASSWORD, client=CLIENT), range(8)))
    assert len(set(tokens)) == 8
    assert most[0] <= 2


# --- locks and limits ----------------------------------------------------------------------------------------------------------------


def test_ten_failures_lock_for_a_quarter_of_an_hour(world: World, clock: time_machine.Traveller) -> None:
    """Then not even the right password helps, and nothing tells that it is a lock; afterwards counting begins anew."""
    host = with_agents(world.open())
    for number in range(TRIES - 1):
        fail(host, client=f"198.51.100.{number}")
    said = fail(host, client="198.51.100.100")
    assert fail(host, password=PASSWORD) == said == fail(host, "nobody@example.com")
    assert host.accounts.get(BOB).locked_until == START + timedelta(minutes=15)
    clock.shift(timedelta(minutes=14, seconds=59))
    fail(host, password=PASSWORD)
    clock.shift(timedelta(seconds=1))
    fail(host)
    assert stored(host).failures == 1
    assert host.accounts.sign_in(BOB, PASSWORD, client=CLIENT)
    assert (stored(host).failures, stored(host).locked_until) == (0, None)
    assert [event["event"] for event in host.history("HOST")].count("account.locked") == 1


def test_no_more_than_ten_are_compared_however_many_come_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts are counted before they are looked at, so a lock is not outrun."""
    host = with_agents(world.open())
    own = stored(host).password_hash
    compared: list[str] = []
    real = argon2.PasswordHasher.verify

    def verify(self: argon2.PasswordHasher, hash: str | bytes, password: str | bytes) -> Any:
        compared.append(str(hash))
        return real(self, hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: fail(host, client=f"198.51.100.{number}"), range(30)))
    assert compared.count(own) == TRIES
    assert host.accounts.get(BOB).locked_until is not None
    fail(host, password=PASSWORD)


def test_an_admin_ends_a_lock(host: Host) -> None:
    """By hand, by a new password, by activating again."""

    def activate_again() -> None:
        host.accounts.set_active(BOB, False, by=ALICE)
        host.accounts.set_active(BOB, True, by=ALICE)

    ends: list[Callable[[], None]] = [
        lambda: host.accounts.unlock(BOB, by=ALICE),
        lambda: host.accounts.set_password(BOB, PASSWORD, by=ALICE),
        activate_again,
    ]
    for end in ends:
        lock(host)
        fail(host, password=PASSWORD)
        end()
        assert host.accounts.sign_in(BOB, PASSWORD, client=CLIENT)


def test_a_client_that_fails_too_often(host: Host, clock: time_machine.Traveller) -> None:
    """After twenty failures it is refused for a while, with the same sentence; others are not."""
    said = {fail(host, f"somebody{number}@example.com") for number in range(20)}
    assert said == {fail(host, ALICE, PASSWORD)}
    assert host.accounts.sign_in(ALICE, PASSWORD, client="192.0.2.11")
    clock.shift(timedelta(minutes=16))
    assert host.accounts.sign_in(ALICE, PASSWORD, client=CLIENT)


def test_a_clients_network_is_the_client(host: Host) -> None:
    """Whoever has one IPv6 network has 2^64 addresses, and is still one."""
    for number in range(20):
        fail(host, "nobody@example.com", client=f"2001:db8:1:2::{number:x}")
    fail(host, ALICE, PASSWORD, client="2001:db8:1:2:ffff::1")
    assert host.accounts.sign_in(ALICE, PASSWORD, client="2001:db8:1:3::1")


def test_an_office_signs_in_through_one_address(host: Host) -> None:
    """Successes do not count against a client."""
    assert len({host.accounts.sign_in(ALICE, PASSWORD, client=CLIENT) for _ in range(30)}) == 30


# --- the second factor ---------------------------------------------------------------------------------------------------------------


def two_factors(host: Host, clock: time_machine.Traveller) -> tuple[pyotp.TOTP, tuple[str, ...]]:
    """Bob with a second factor, half a minute later; his app and his recovery codes."""
    secret, _ = host.accounts.enable_totp(BOB)
    app = pyotp.TOTP(secret)
    codes = host.accounts.confirm_totp(BOB, app.now())
    clock.shift(timedelta(seconds=60))
    return app, codes


def test_a_second_factor_is_asked_for_once_it_is_confirmed(world: World, clock: time_machine.Traveller) -> None:
    """Begun is not on; a wrong code does not turn it on; then the password alone says that a code is wanted, and a wrong password does not."""
    host = with_agents(world.open())
    secret, uri = host.accounts.enable_totp(BOB)
    assert uri.startswith("otpauth://totp/Example%20GmbH:bob%40example.com?secret=" + secret)
    assert host.accounts.sign_in(BOB, PASSWORD, client=CLIENT)
    with pytest.raises(RequestError, match="not the code"):
        host.accounts.confirm_totp(BOB, "000000" if pyotp.TOTP(secret).now() != "000000" else "000001")
    assert len(host.accounts.confirm_totp(BOB, pyotp.TOTP(secret).now())) == 10
    assert host.accounts.get(BOB).second_factor
    with pytest.raises(NeedsCode):
        host.accounts.sign_in(BOB, PASSWORD, client=CLIENT)
    fail(host)
    with pytest.raises(ConflictError, match="already"):
        host.accounts.enable_totp(BOB)
    host.accounts.disable_totp(BOB, by=ALICE)
    assert host.accounts.sign_in(BOB, PASSWORD, client=CLIENT)


def test_a_code_counts_once(world: World, clock: time_machine.Traveller) -> None:
    """Not the one that turned it on, not one used before, not an older one than that; of many at once one is let in."""
    host = with_agents(world.open())
    secret, _ = host.accounts.enable_totp(BOB)
    app = pyotp.TOTP(secret)
    first = app.now()
    host.accounts.confirm_totp(BOB, first)
    fail(host, password=PASSWORD, code=first)
    clock.shift(timedelta(seconds=60))
    code = app.now()

    def enter(number: int) -> bool:
        try:
            host.accounts.sign_in(BOB, PASSWORD, code, client=f"198.51.100.{number}")
        except SignInError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(enter, range(4))) == [False, False, False, True]
    fail(host, password=PASSWORD, code=app.at(START + timedelta(seconds=30)))
    clock.shift(timedelta(seconds=30))
    assert host.accounts.sign_in(BOB, PASSWORD, f"{app.now()[:3]} {app.now()[3:]}", client=CLIENT)


@pytest.mark.parametrize(("seconds", "good"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_clock_may_be_a_little_off(host: Host, clock: time_machine.Traveller, seconds: int, good: bool) -> None:
    """One step before and one after the present one."""
    app, _ = two_factors(host, clock)
    clock.shift(timedelta(seconds=120))
    code = app.at(datetime.now(UTC) + timedelta(seconds=seconds))
    if good:
        assert host.accounts.sign_in(BOB, PASSWORD, code, client=CLIENT)
    else:
        fail(host, password=PASSWORD, code=code)


def test_wrong_codes_lock_too(host: Host, clock: time_machine.Traveller) -> None:
    """A million codes are not tried; asking for the code does not count."""
    app, _ = two_factors(host, clock)
    near = {app.at(datetime.now(UTC) + timedelta(seconds=seconds)) for seconds in (-30, 0, 30)}
    wrong = next(code for code in ("123456", "654321", "111111", "222222") if code not in near)
    for number in range(TRIES):
        with pytest.raises(NeedsCode):
            host.accounts.sign_in(BOB, PASSWORD, client=f"198.51.100.{number}")
        fail(host, password=PASSWORD, code=wrong, client=f"198.51.100.{number}")
    fail(host, password=PASSWORD, code=app.now())


def test_a_recovery_code_is_good_once(world: World, clock: time_machine.Traveller) -> None:
    """In the place of a code, however it is typed; each of them once, even when two use it at the same moment."""
    host = with_agents(world.open())
    _, codes = two_factors(host, clock)
    assert len(set(codes)) == 10
    assert host.accounts.sign_in(BOB, PASSWORD, f" {codes[0].upper().replace('-', ' ')}", client=CLIENT)
    fail(host, password=PASSWORD, code=codes[0])

    def enter(number: int) -> bool:
        try:
            host.accounts.sign_in(BOB, PASSWORD, codes[1], client=f"198.51.100.{number}")
        except SignInError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(enter, range(2))) == [False, True]
    assert host.accounts.sign_in(BOB, PASSWORD, codes[2], client=CLIENT)
    used = [event["data"] for event in host.history("HOST") if event["event"] == "account.recovery_code_used"]
    assert used == [{"left": 9}, {"left": 8}, {"left": 7}]


def test_second_factors_are_sealed(host: Host, clock: time_machine.Traveller) -> None:
    """Neither the secret nor a recovery code stands in the row."""
    secret, _ = host.accounts.enable_totp(BOB)
    codes = host.accounts.confirm_totp(BOB, pyotp.TOTP(secret).now())
    row = stored(host)
    assert secret.encode() not in row.sealed_totp
    assert not any(code.encode() in row.sealed_totp or code.replace("-", "").encode() in row.sealed_totp for code in codes)
    assert secret not in repr(host.accounts._proofs.factor.open(row.sealed_totp))


# --- single sign-on ------------------------------------------------------------------------------------------------------------------


def test_single_sign_on_is_for_accounts_that_are_there(sqlite_world: World) -> None:
    """The issuer must be the configured one and the address verified; nobody gets an account by it."""
    sqlite_world.tables = OIDC
    host = with_agents(sqlite_world.open())
    host.accounts.create("carol@example.com", "Carol", Role.SUPPORT, by=ALICE)
    host.accounts.create("dan@example.com", "Dan", Role.SUPPORT, by=ALICE)
    host.accounts.set_active("dan@example.com", False, by=ALICE)
    token = host.accounts.sign_in_oidc("https://id.example.com/", "Carol@Example.com", verified=True, client=CLIENT)
    session = host.accounts.session(token)
    assert session is not None
    assert (session.account.account, session.account.role) == ("carol@example.com", Role.SUPPORT)
    for issuer, email, verified in (
        ("https://evil.example.com", BOB, True),
        ("https://id.example.com", BOB, False),
        ("https://id.example.com", "nobody@example.com", True),
        ("https://id.example.com", "dan@example.com", True),
        ("https://id.example.com", "", True),
    ):
        with pytest.raises(SignInError):
            host.accounts.sign_in_oidc(issuer, email, verified=verified, client=CLIENT)
    assert len(host.accounts.list()) == 4


def test_no_single_sign_on_where_none_is_configured(host: Host) -> None:
    """Whatever is claimed."""
    with pytest.raises(SignInError):
        host.accounts.sign_in_oidc("https://id.example.com", BOB, verified=True, client=CLIENT)


# --- the first admin, and invitations ------------------------------------------------------------------------------------------------


def test_the_first_admin_sets_the_portal_up(world: World, clock: time_machine.Traveller) -> None:
    """Once, within a day, with the newest token only, and only while there is no account."""
    host = world.open()
    old, token = host.accounts.first_admin_token(), host.accounts.first_admin_token()
    for wrong in (old, "guessed", ""):
        with pytest.raises(RequestError, match="does not hold"):
            host.accounts.first_admin(wrong, ALICE, "Alice", PASSWORD)
    with pytest.raises(RequestError, match="12 characters"):
        host.accounts.first_admin(token, ALICE, "Alice", "short")
    clock.shift(timedelta(hours=24))
    with pytest.raises(RequestError, match="does not hold"):
        host.accounts.first_admin(token, ALICE, "Alice", PASSWORD)
    token = host.accounts.first_admin_token()
    assert host.accounts.first_admin(token, ALICE, "Alice", PASSWORD).role is Role.ADMIN
    for again in (token, "guessed"):
        with pytest.raises(RequestError, match="does not hold"):
            host.accounts.first_admin(again, "mallory@example.com", "Mallory", PASSWORD)
    with pytest.raises(ConflictError, match="accounts already"):
        host.accounts.first_admin_token()


def test_a_set_up_token_is_worth_nothing_once_there_is_an_account(host: Host, sqlite_world: World) -> None:
    """An account made on the command line meanwhile ends it."""
    with writing(host.ledger.engine) as connection:
        connection.execute(update(accounts).values(active=True))
        token = host.accounts._invitations._make(connection, "set_up", timedelta(hours=1), datetime.now(UTC), None)
    with pytest.raises(ConflictError, match="accounts already"):
        host.accounts.first_admin(token, "mallory@example.com", "Mallory", PASSWORD)
    assert len(host.accounts.list()) == 2


def test_one_token_makes_one_admin(world: World) -> None:
    """However many use it at the same moment."""
    host = world.open()
    token, barrier = host.accounts.first_admin_token(), threading.Barrier(4)

    def make(number: int) -> bool:
        barrier.wait()
        try:
            host.accounts.first_admin(token, f"admin{number}@example.com", "Admin", PASSWORD)
        except RequestError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(make, range(4))) == 1
    assert len(host.accounts.list()) == 1


def test_an_invitation_sets_a_password_once(world: World, clock: time_machine.Traveller) -> None:
    """For three days; it signs the account out, and ends its other invitations."""
    host = with_agents(world.open())
    session = host.accounts.sign_in(BOB, PASSWORD, client=CLIENT)
    first, second = host.accounts.invite(BOB, by=ALICE), host.accounts.invite(BOB, by=ALICE)
    assert host.accounts.invited(first).account == BOB
    host.accounts.accept_invite(second, "another long password")
    assert host.accounts.session(session) is None
    assert host.accounts.sign_in(BOB, "another long password", client=CLIENT)
    for spent in (first, second, "guessed"):
        with pytest.raises(RequestError, match="does not hold"):
            host.accounts.accept_invite(spent, "a third long password")
    late = host.accounts.invite(BOB, by=ALICE)
    clock.shift(timedelta(days=3))
    with pytest.raises(RequestError, match="does not hold"):
        host.accounts.accept_invite(late, "a third long password")
    fresh = host.accounts.invite(BOB, by=ALICE)
    host.accounts.set_active(BOB, False, by=ALICE)
    with pytest.raises(RequestError, match="does not hold"):
        host.accounts.accept_invite(fresh, "a third long password")
    with pytest.raises(RequestError, match="deactivated"):
        host.accounts.invite(BOB, by=ALICE)


def test_an_invitation_is_no_link_of_a_data_subject(host: Host) -> None:
    """Its hash is of another kind, so the token opens no public link, and no public token opens an account."""
    token = host.accounts.invite(BOB, by=ALICE)
    with reading(host.ledger.engine) as connection:
        (digest,) = connection.execute(select(links.c.digest)).scalars()
    assert bytes(digest) != host.ledger.vault.fingerprint("link", token)


# --- the audit log -------------------------------------------------------------------------------------------------------------------


def test_everything_is_audited_and_nothing_secret(world: World, clock: time_machine.Traveller) -> None:
    """Each change has its event under HOST, with its actor; no password, token, code or key is in the log; the check of the log covers it."""
    host = world.open()
    set_up = host.accounts.first_admin_token()
    host.accounts.first_admin(set_up, ALICE, "Alice", PASSWORD)
    host.accounts.create(BOB, "Bob", Role.AGENT, PASSWORD, by=ALICE)
    secret, _ = host.accounts.enable_totp(BOB)
    codes = host.accounts.confirm_totp(BOB, pyotp.TOTP(secret).now())
    token = host.accounts.sign_in(BOB, PASSWORD, codes[0], client=CLIENT)
    invite = host.accounts.invite(BOB, by=ALICE)
    host.accounts.accept_invite(invite, "another long password")
    host.accounts.set_name(BOB, "Robert", by=ALICE)
    host.accounts.set_role(BOB, Role.SUPPORT, by=ALICE)
    host.accounts.set_role(BOB, Role.SUPPORT, by=ALICE)
    host.accounts.disable_totp(BOB, by=ALICE)
    host.accounts.sign_out_everywhere(BOB)
    host.accounts.set_active(BOB, False, by=ALICE)
    host.accounts.set_active(BOB, True, by=ALICE)
    host.accounts.unlock(BOB, by=ALICE)
    id_, key = host.accounts.make_key("shop", Role.SUPPORT, by=ALICE)
    host.accounts.revoke_key(id_, by=ALICE)
    events = host.history("HOST")
    assert [(event["event"], event["actor"]) for event in events] == [
        ("account.first_offered", "host"),
        ("account.created", ALICE),
        ("account.created", ALICE),
        ("account.second_factor_on", BOB),
        ("account.recovery_code_used", BOB),
        ("account.signed_in", BOB),
        ("account.invited", ALICE),
        ("account.password_set", BOB),
        ("account.renamed", ALICE),
        ("account.role_changed", ALICE),
        ("account.second_factor_off", ALICE),
        ("account.signed_out_everywhere", BOB),
        ("account.deactivated", ALICE),
        ("account.activated", ALICE),
        ("account.unlocked", ALICE),
        ("api_key.made", ALICE),
        ("api_key.revoked", ALICE),
    ]
    for said in (PASSWORD, "another long password", set_up, token, invite, secret, key, *codes):
        assert said not in str(events)
    with writing(host.ledger.engine) as connection:
        audit.checkpoint(connection, host.ledger.vault, START)
    report = host.audit_verify()
    assert (report.ok, report.events, report.cases) == (True, len(events), 1)
    with writing(host.ledger.engine) as connection:
        connection.exec_driver_sql("UPDATE audit SET actor = 'mallory' WHERE n = 10")
    assert not host.audit_verify().ok


def test_errors_show_nothing_secret(host: Host) -> None:
    """What a sign-in was given is in no error."""
    assert PASSWORD not in fail(host, "nobody@example.com", PASSWORD)
    with pytest.raises(DsrError) as failure:
        host.accounts.get("secret-person@example.com")
    assert "secret-person" not in str(failure.value)


def test_the_host_loads_none_of_it() -> None:
    """Importing the host costs neither argon2 nor its like."""
    program = "import dsr_sdk.host, sys; print([m for m in ('argon2', 'pyotp', 'limits', 'fpdf', 'fastapi', 'authlib') if m in sys.modules])"
    program += (
        "; import dsr_sdk.host.people.accounts; print([m for m in ('argon2', 'pyotp', 'limits', 'fpdf', 'fastapi', 'authlib') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.split("\n")[:2] == ["[]", "[]"]
