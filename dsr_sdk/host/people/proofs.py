"""Proving who one is: password and second factor, with a lock on accounts, a limit on clients, and one sentence for every failure."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import case, literal, null, select, text, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import ConfigError, RequestError, TransientError
from dsr_sdk.host.arrivals.throttle import network
from dsr_sdk.host.desk import HOST, Desk
from dsr_sdk.host.people.passwords import Passwords
from dsr_sdk.host.people.second_factor import SecondFactor
from dsr_sdk.ledger.columns import Instant
from dsr_sdk.ledger.desk import accounts

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import MovingWindowRateLimiter

__all__ = ["LOCKED_FOR", "TRIES", "NeedsCode", "Proofs", "SignInError"]

TRIES: Final = 10
"""Wrong passwords and codes in a row, whoever gives them, until an account is locked."""

LOCKED_FOR: Final = timedelta(minutes=15)
_CLIENT_FAILURES: Final = 20  # a client in fifteen minutes; only failures count, so that an office behind one address can come in at nine
_NOBODY: Final = text("INSERT INTO meta (key, value) VALUES ('sign_in.nobody', :at) ON CONFLICT (key) DO UPDATE SET value = excluded.value")


class SignInError(RequestError):
    """Nobody was signed in. It is the same sentence whatever is wrong: an attacker learns nothing from it, not even of a lock."""

    def __init__(self) -> None:
        super().__init__(
            "this account and password do not sign in, or there were too many attempts",
            fix="check both, and the code if you were asked for one; after 15 minutes a lock is over",
        )


class NeedsCode(SignInError):
    """The password is right, and a code of the second factor is asked for: call again with all three."""


class Proofs(Desk):
    """Checks proofs. `Accounts` offers what comes of them."""

    @cached_property
    def passwords(self) -> Passwords:
        """How passwords are hashed."""
        return Passwords()

    @cached_property
    def factor(self) -> SecondFactor:
        """How codes are checked."""
        return SecondFactor(self.vault, self.host.config.host.company)

    def prove(self, account: str, password: str, code: str | None, *, client: str) -> Any:
        """The row of an account whose password and, if it has one, second factor are right. The caller calls `proven` in the transaction
        that makes something of it.

        Raises:
            NeedsCode: A code is asked for, and none was given.
            SignInError: Anything else.
        """
        self.admit(client)
        # The attempt is counted before it is looked at: however many come at once, no more than ten are ever compared.
        row = self._attempt(account)
        try:
            right = self.passwords.verify(row.password_hash if row else None, password)
        except TransientError:
            if row is not None:
                self._not_counted(account)
            raise SignInError from None
        if row is not None and right and row.totp_step is not None and not code:
            self._not_counted(account)
            raise NeedsCode
        if row is None or not right or (row.totp_step is not None and not self._used_up(row, code or "")):
            if row is not None and row.failures >= TRIES:
                with self.deciding() as (_, book):
                    book.note(HOST, "account.locked", "host", account=account, minutes=LOCKED_FOR.seconds // 60)
            raise self.refused(client)
        return row

    def renewed(self, row: Any, password: str) -> str | None:
        """The hash of a password that was right, made at today's cost; None when the stored one is."""
        if row.password_hash is None or not self.passwords.outdated(row.password_hash):
            return None
        with suppress(TransientError):  # too much else to hash: the next sign-in will do
            return self.passwords.hash(unicodedata.normalize("NFKC", password))
        return None

    def proven(self, connection: Connection, row: Any, at: datetime, *, renewed: str | None = None) -> None:
        """Note in a transaction that an account has proven itself: its failures are forgotten, and a renewed hash is stored.

        Raises:
            SignInError: The account was changed or deactivated in the meantime.
        """
        values: dict[str, Any] = {"failures": 0, "locked_until": None, "seen_at": at}
        if renewed is not None:
            values["password_hash"] = renewed
        unchanged = (accounts.c.account == row.account) & (accounts.c.epoch == row.epoch) & accounts.c.active
        if connection.execute(update(accounts).where(unchanged).values(**values)).rowcount != 1:
            raise SignInError

    # --- the account's lock --------------------------------------------------------------------------------------------------------

    def _attempt(self, account: str) -> Any | None:
        """Count an attempt; the account's row, or None when there is nothing to compare with: unknown, deactivated, without a password, locked.
        Each way is one write and one look."""
        with self.deciding() as (connection, book):
            over = accounts.c.locked_until.is_not(None)
            failures = case((over, 1), else_=accounts.c.failures + 1)
            free = ~over | (accounts.c.locked_until <= book.now)
            counted = connection.execute(
                update(accounts)
                .where(accounts.c.account == account, accounts.c.active, accounts.c.password_hash.is_not(None), free)
                .values(failures=failures, locked_until=case((failures >= TRIES, literal(book.now + LOCKED_FOR, Instant)), else_=null()))
                .returning(
                    accounts.c.account,
                    accounts.c.password_hash,
                    accounts.c.sealed_totp,
                    accounts.c.totp_step,
                    accounts.c.epoch,
                    accounts.c.failures,
                )
            ).first()
            if counted is None:  # as much is written for nobody as for somebody
                connection.execute(_NOBODY, {"at": book.now.isoformat()})
            return counted

    def _not_counted(self, account: str) -> None:
        """Take a counted attempt back: the password was right, or nobody could look at it."""
        with self.deciding() as (connection, _):
            connection.execute(
                update(accounts)
                .where(accounts.c.account == account, accounts.c.failures > 0)
                .values(failures=accounts.c.failures - 1, locked_until=None)
            )

    def _used_up(self, row: Any, code: str) -> bool:
        """Whether a code, or a recovery code, is right; then it is never right again."""
        factor = self.factor.open(row.sealed_totp)
        with self.deciding() as (connection, book):
            step = self.factor.step(factor, code, book.now)
            if step is not None:
                fresh = (accounts.c.account == row.account) & (accounts.c.totp_step < step)
                return connection.execute(update(accounts).where(fresh).values(totp_step=step)).rowcount == 1
            left = self.factor.without(row.account, factor, code)
            if left is None:
                return False
            same = (accounts.c.account == row.account) & (accounts.c.sealed_totp == row.sealed_totp)
            used = connection.execute(update(accounts).where(same).values(sealed_totp=self.factor.seal(left))).rowcount == 1
            if used:
                book.note(HOST, "account.recovery_code_used", row.account, left=len(left.recovery))
            return used

    # --- the client's limit --------------------------------------------------------------------------------------------------------

    @cached_property
    def _limit(self) -> tuple[MovingWindowRateLimiter, RateLimitItem]:
        try:
            from limits import RateLimitItemPerMinute
            from limits.storage import MemoryStorage
            from limits.strategies import MovingWindowRateLimiter
        except ImportError:
            raise ConfigError("accounts need limits, which is not installed", fix="run: pip install 'dsr-sdk[portal]'") from None
        return MovingWindowRateLimiter(MemoryStorage()), RateLimitItemPerMinute(_CLIENT_FAILURES, LOCKED_FOR.seconds // 60)

    def admit(self, client: str) -> None:
        """Refuse a client that has failed too often. Raises `SignInError`."""
        limiter, item = self._limit
        if not limiter.test(item, self._client(client)):
            raise SignInError

    def refused(self, client: str) -> SignInError:
        """Count a failure of a client's; the error to raise."""
        limiter, item = self._limit
        limiter.hit(item, self._client(client))
        return SignInError()

    def _client(self, client: str) -> str:
        """A keyed hash of where a client is: of an IPv6 address its network, for one subscriber has 2^64 of them."""
        return self.vault.fingerprint("client", network(client)).hex()

    def known(self, account: str) -> Any | None:
        """The row of an active account, for proofs that were made elsewhere."""
        with self.reading() as connection:
            query = select(accounts.c.account, accounts.c.password_hash, accounts.c.epoch)
            return connection.execute(query.where(accounts.c.account == account, accounts.c.active)).first()
