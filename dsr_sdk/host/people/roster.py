"""The rows of accounts, within a transaction: read, added, and kept so that somebody can always come in. Base of `Accounts`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, insert, select, true
from sqlalchemy.engine import Connection

from dsr_sdk.errors import ConflictError, RequestError
from dsr_sdk.host.desk import Desk
from dsr_sdk.host.people.fields import folded
from dsr_sdk.host.people.roles import Role
from dsr_sdk.host.people.sessions import ACCOUNT_COLUMNS
from dsr_sdk.ledger.desk import accounts

__all__ = ["Roster", "taken"]


class Roster(Desk):
    """Reads and adds rows."""

    def _insert(self, connection: Connection, account: str, name: str, role: Role, hash_: str | None, at: Any) -> None:
        if connection.execute(select(accounts.c.account).where(accounts.c.account == account)).first() is not None:
            raise taken()
        row = {"account": account, "name": name, "role": role.value, "password_hash": hash_, "created_at": at}
        connection.execute(insert(accounts), row)

    def _row(self, connection: Connection, account: str) -> Any:
        columns = (*ACCOUNT_COLUMNS, accounts.c.epoch, accounts.c.sealed_totp, accounts.c.totp_step)
        row = connection.execute(select(*columns).where(accounts.c.account == folded(account))).first()
        if row is None:
            raise RequestError("there is no such account", field="account", fix="see: dsr accounts list")
        return row

    def _hold_admins(self, connection: Connection) -> None:
        """Keep others from changing admins until the transaction ends: two who demote each other at once would leave nobody."""
        admins = select(accounts.c.account).where(accounts.c.role == Role.ADMIN.value).order_by(accounts.c.account)
        connection.execute(admins.with_for_update())

    def _not_the_last(self, connection: Connection, row: Any) -> None:
        if row.role != Role.ADMIN.value or not row.active:
            return
        can_come_in = accounts.c.password_hash.is_not(None) if self.host.config.portal.oidc is None else true()
        others = select(func.count()).where(accounts.c.role == Role.ADMIN.value, accounts.c.active, accounts.c.account != row.account, can_come_in)
        if not connection.execute(others).scalar_one():
            raise ConflictError("is the last admin who can sign in", field="account", fix="make another admin first")


def taken() -> ConflictError:
    """There is an account of this address."""
    return ConflictError("there is such an account already", field="account")
