"""Invitations: tokens with which somebody sets a first password. One for the very first admin, and one for each account that an admin invites.

They stand among the links of the ledger, with purposes of their own, so that no link to a data subject is ever taken for one.
"""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import ConflictError, RequestError
from dsr_sdk.host.desk import HOST, Desk, now
from dsr_sdk.ledger.desk import accounts, links

__all__ = ["FIRST_FOR", "INVITED_FOR", "Invitations"]

FIRST_FOR: Final = timedelta(hours=24)
INVITED_FOR: Final = timedelta(days=3)

_FIRST: Final = "set_up"
_INVITE: Final = "invite"
_CONTEXT: Final = "links.sealed"


class Invitations(Desk):
    """Makes, looks at and uses up. `Accounts` offers what comes of it."""

    def for_first(self) -> str:
        """See `Accounts.first_admin_token`."""
        with self.deciding() as (connection, book):
            self._nobody_yet(connection)
            connection.execute(update(links).where(links.c.purpose == _FIRST).values(uses_left=0))
            token = self._make(connection, _FIRST, FIRST_FOR, book.now, None)
            book.note(HOST, "account.first_offered", "host", hours=24)
        return token

    def look_first(self, token: str) -> None:
        """Raises `RequestError` unless a first admin can be made with this token now."""
        with self.reading() as connection:
            self._find(connection, token, _FIRST, now())

    def use_first(self, connection: Connection, token: str, at: datetime) -> None:
        """Use the token up, when there is no account yet."""
        self._use(connection, token, _FIRST, at)
        self._nobody_yet(connection)

    def make(self, connection: Connection, account: str, epoch: int, at: datetime) -> str:
        """A token for an account. It ends with the account's epoch: when its password is set, or it is deactivated."""
        sealed = self.vault.box().seal(json.dumps({"account": account, "epoch": epoch}).encode(), _CONTEXT)
        return self._make(connection, _INVITE, INVITED_FOR, at, sealed)

    def look(self, token: str) -> tuple[str, int]:
        """Account and epoch of an invitation."""
        with self.reading() as connection:
            return self._opened(self._find(connection, token, _INVITE, now()))

    def use(self, connection: Connection, token: str, at: datetime) -> tuple[str, int]:
        """Account and epoch of an invitation, which is used up."""
        return self._opened(self._use(connection, token, _INVITE, at))

    @staticmethod
    def refusal() -> RequestError:
        """One sentence for whatever is wrong with a token."""
        return RequestError("this invitation does not hold, or not any more", field="token", fix="ask an admin for a new one")

    def _make(self, connection: Connection, purpose: str, valid: timedelta, at: datetime, sealed: bytes | None) -> str:
        token = secrets.token_urlsafe(32)
        row = {"purpose": purpose, "digest": self._digest(purpose, token), "created_at": at, "expires_at": at + valid, "sealed": sealed}
        connection.execute(insert(links), row)
        return token

    def _find(self, connection: Connection, token: str, purpose: str, at: datetime) -> Any:
        row = connection.execute(
            select(links.c.id, links.c.sealed).where(
                links.c.digest == self._digest(purpose, token), links.c.purpose == purpose, links.c.uses_left > 0, links.c.expires_at > at
            )
        ).first()
        if row is None:
            raise self.refusal()
        return row

    def _use(self, connection: Connection, token: str, purpose: str, at: datetime) -> Any:
        row = self._find(connection, token, purpose, at)
        used = update(links).where(links.c.id == row.id, links.c.uses_left > 0).values(uses_left=0, used_at=at)
        if connection.execute(used).rowcount != 1:
            raise self.refusal()
        return row

    def _opened(self, row: Any) -> tuple[str, int]:
        data = json.loads(self.vault.box().open(row.sealed, _CONTEXT))
        return str(data["account"]), int(data["epoch"])

    def _digest(self, purpose: str, token: str) -> bytes:
        # Another kind of fingerprint than a data subject's link has: neither opens the other's door.
        return self.vault.fingerprint("invitation", purpose, token)

    def _nobody_yet(self, connection: Connection) -> None:
        if connection.execute(select(func.count()).select_from(accounts)).scalar_one():
            raise ConflictError("there are accounts already", fix="an admin invites others; dsr accounts makes one on the command line")
