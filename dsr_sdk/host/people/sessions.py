"""Sessions: who is signed in, for how long, and what ends it. A session never carries a role: that is read from its account each time."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import DsrError
from dsr_sdk.host.desk import Desk, now
from dsr_sdk.host.people.roles import Role
from dsr_sdk.ledger.database import LedgerBusy
from dsr_sdk.ledger.desk import accounts, sessions

__all__ = ["ACCOUNT_COLUMNS", "PROVEN_FOR", "Account", "NeedsProof", "Session", "Sessions", "account_of"]

PROVEN_FOR: Final = timedelta(minutes=10)
"""How long a proof of who one is counts for what opens doors to others: accounts, roles, keys, invitations."""


class NeedsProof(DsrError):
    """Whoever is signed in is asked once more who they are: see `OwnAccount.confirm`."""

    def __init__(self) -> None:
        super().__init__("please confirm that it is you", fix="give your password once more, or sign in again")


@dataclass(frozen=True, slots=True)
class Account:
    """An account of an agent, without anything secret.

    Attributes:
        account: The e-mail address, lower case.
        password: Whether it can sign in with one; without, it was not set up yet, or signs in elsewhere.
        second_factor: Whether a code is asked for beside the password.
        seen_at: When it last signed in.
    """

    account: str
    name: str
    role: Role
    active: bool
    password: bool
    second_factor: bool
    locked_until: datetime | None
    created_at: datetime
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in account, as it is at this moment.

    Attributes:
        csrf: What every form of this session has to bring along.
        expires_at: When it ends in any case.
        proven_at: When its account last proved who it is: at the sign-in, or since.
        digest: What it stands under in the ledger; opens nothing.
    """

    account: Account
    csrf: str = field(repr=False)
    created_at: datetime
    expires_at: datetime
    proven_at: datetime
    digest: bytes = field(repr=False)


ACCOUNT_COLUMNS: Final = (
    accounts.c.account,
    accounts.c.name,
    accounts.c.role,
    accounts.c.active,
    accounts.c.password_hash.is_not(None),
    accounts.c.totp_step.is_not(None),
    accounts.c.locked_until,
    accounts.c.created_at,
    accounts.c.seen_at,
)
"""What `account_of` reads, for queries of one's own."""


def account_of(row: Sequence[Any]) -> Account:
    """An account from a row of `ACCOUNT_COLUMNS`. One with a role that is not known here counts as deactivated."""
    account, name, role, active, password, totp, locked_until, created_at, seen_at = row[: len(ACCOUNT_COLUMNS)]
    known = role in set(Role)
    return Account(
        account,
        name,
        Role(role) if known else Role.READ_ONLY,
        bool(active) and known,
        bool(password),
        bool(totp),
        locked_until,
        created_at,
        seen_at,
    )


class Sessions(Desk):
    """Begins, finds and ends sessions. `Accounts` offers what the faces need of it."""

    def begin(self, connection: Connection, account: str, epoch: int, at: datetime, *, proven_at: datetime | None = None) -> str:
        """A session for an account that has just proven itself; its token. It is always a new one: nobody can hand in a token to be kept.

        Args:
            proven_at: When it did that, where somebody else tells so; never later than now.
        """
        connection.execute(delete(sessions).where(sessions.c.expires_at <= at))
        token = secrets.token_urlsafe(32)
        row = {
            "digest": self._digest(token),
            "account": account,
            "epoch": epoch,
            "csrf": secrets.token_urlsafe(32),
            "created_at": at,
            "proven_at": at if proven_at is None else min(at, proven_at),
            "seen_at": at,
            "expires_at": at + timedelta(hours=self.host.config.portal.session_hours),
        }
        connection.execute(insert(sessions), row)
        return token

    def find(self, token: str, *, used: bool = True) -> Session | None:
        """The session of a token; None when there is none, it is over, or its account may no longer have it. See `Accounts.session`."""
        moment, idle = now(), timedelta(minutes=self.host.config.portal.idle_minutes)
        digest = self._digest(token)
        query = (
            select(sessions.c.csrf, sessions.c.created_at, sessions.c.proven_at, sessions.c.seen_at, sessions.c.expires_at, *ACCOUNT_COLUMNS)
            .join(accounts, accounts.c.account == sessions.c.account)
            .where(sessions.c.digest == digest, sessions.c.epoch == accounts.c.epoch, accounts.c.active)
        )
        with self.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        csrf, created_at, proven_at, seen_at, expires_at, *rest = row
        account = account_of(rest)
        if not account.active or moment >= expires_at or moment - seen_at >= idle:
            return None
        # A page view costs no write but once a minute; with so short an idle time that a minute matters, a few times as often.
        if used and moment - seen_at >= min(timedelta(minutes=1), idle / 4):
            with suppress(LedgerBusy), self.deciding() as (connection, _):  # somebody else writes for long: the next page view will do
                connection.execute(update(sessions).where(sessions.c.digest == digest, sessions.c.seen_at < moment).values(seen_at=moment))
        return Session(account, csrf, created_at, expires_at, proven_at, digest)

    def end(self, token: str) -> None:
        """End one session. A token that is none does nothing."""
        with self.deciding() as (connection, _):
            connection.execute(delete(sessions).where(sessions.c.digest == self._digest(token)))

    def end_all(self, connection: Connection, account: str, *, but: Session | None = None) -> None:
        """End every session of an account, those that begin at this very moment among them: their epoch is over.

        Args:
            but: One that goes on.
        """
        epoch = connection.execute(
            update(accounts).where(accounts.c.account == account).values(epoch=accounts.c.epoch + 1).returning(accounts.c.epoch)
        ).scalar_one()
        kept = but.digest if but is not None else b""
        connection.execute(delete(sessions).where(sessions.c.account == account, sessions.c.digest != kept))
        connection.execute(update(sessions).where(sessions.c.digest == kept, sessions.c.epoch == epoch - 1).values(epoch=epoch))

    def proven(self, connection: Connection, session: Session, at: datetime) -> None:
        """Note that the account of a session has proven once more who it is."""
        connection.execute(update(sessions).where(sessions.c.digest == session.digest).values(proven_at=at))

    def sure(self, connection: Connection, by: str | Session) -> str:
        """Who acts, where nobody is to act at a screen that somebody has left unlocked: in a session, only within `PROVEN_FOR` of a proof. A name
        is the command line's or a program's: whoever runs those runs the host.

        Raises:
            NeedsProof: The proof is older; or the session is over.
        """
        if isinstance(by, str):
            return by
        query = select(sessions.c.proven_at).join(accounts, (accounts.c.account == sessions.c.account) & (accounts.c.epoch == sessions.c.epoch))
        proven_at = connection.execute(query.where(sessions.c.digest == by.digest, accounts.c.active)).scalar()
        if proven_at is None or now() - proven_at > PROVEN_FOR:
            raise NeedsProof
        return by.account.account

    def _digest(self, token: str) -> bytes:
        return self.vault.fingerprint("session", token)
