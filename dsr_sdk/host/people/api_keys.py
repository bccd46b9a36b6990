"""API keys: a name, a role and a secret that is shown once. What is kept of the secret is a keyed hash."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import insert, select, update

from dsr_sdk.errors import RequestError
from dsr_sdk.host.desk import HOST, Desk, now
from dsr_sdk.host.people.fields import role_of
from dsr_sdk.host.people.roles import Role
from dsr_sdk.ledger.desk import api_keys

__all__ = ["PREFIX", "ApiKey", "ApiKeys"]

PREFIX: Final = "dsr_"
"""What every key begins with, so that scanners for leaked secrets recognise one."""

_SEEN_EVERY: Final = timedelta(hours=1)
_LENGTH: Final = len(PREFIX) + 43


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret.

    Attributes:
        used_at: When it was last used, an hour more or less; None when it never was.
    """

    id: int
    name: str
    role: Role
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None

    def live(self, at: datetime) -> bool:
        """Whether it opens anything at a moment."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


_COLUMNS: Final = (
    api_keys.c.id,
    api_keys.c.name,
    api_keys.c.role,
    api_keys.c.created_at,
    api_keys.c.created_by,
    api_keys.c.expires_at,
    api_keys.c.revoked_at,
    api_keys.c.used_at,
)


class ApiKeys(Desk):
    """Makes, lists, revokes and recognises keys. `Accounts` offers all of it."""

    def make(self, name: str, role: Role | str, *, by: str, days: int | None = None) -> tuple[int, str]:
        """A new key: its id and its text, which is shown now and never again.

        Args:
            days: How long it holds; None until it is revoked.

        Raises:
            RequestError: The name is empty or too long, there is no such role, or the days are no positive number.
        """
        name = name.strip()
        if not 0 < len(name) <= 100 or not name.isprintable():
            raise RequestError("needs 1 to 100 characters", field="name")
        role = role_of(role)
        if days is not None and not 0 < days <= 3650:
            raise RequestError("must be 1 to 3650", field="days")
        text = PREFIX + secrets.token_urlsafe(32)
        with self.deciding() as (connection, book):
            row = {
                "name": name,
                "digest": self._digest(text),
                "role": role.value,
                "created_at": book.now,
                "created_by": by,
                "expires_at": book.now + timedelta(days=days) if days is not None else None,
            }
            id_ = connection.execute(insert(api_keys).returning(api_keys.c.id), row).scalar_one()
            book.note(HOST, "api_key.made", by, id=id_, name=name, role=role.value, days=days)
        return int(id_), text

    def all(self) -> tuple[ApiKey, ...]:
        """Every key, the newest first; revoked and expired ones too."""
        with self.reading() as connection:
            return tuple(_key(row) for row in connection.execute(select(*_COLUMNS).order_by(api_keys.c.id.desc())))

    def revoke(self, id: int, *, by: str) -> None:
        """End a key at once. Twice does nothing.

        Raises:
            RequestError: There is no such key.
        """
        with self.deciding() as (connection, book):
            if connection.execute(select(api_keys.c.id).where(api_keys.c.id == id)).first() is None:
                raise RequestError("there is no such API key", field="id")
            revoked = update(api_keys).where(api_keys.c.id == id, api_keys.c.revoked_at.is_(None)).values(revoked_at=book.now)
            if connection.execute(revoked).rowcount:
                book.note(HOST, "api_key.revoked", by, id=id)

    def find(self, text: str) -> ApiKey | None:
        """The key with this text; None when there is none, or it is revoked or over. Its use is noted at most once an hour."""
        if len(text) != _LENGTH or not text.startswith(PREFIX) or not text.isascii():
            return None
        moment = now()
        with self.reading() as connection:
            row = connection.execute(select(*_COLUMNS).where(api_keys.c.digest == self._digest(text))).first()
        if row is None or row.role not in set(Role) or not (key := _key(row)).live(moment):
            return None
        if key.used_at is None or moment - key.used_at >= _SEEN_EVERY:
            with self.deciding() as (connection, _):
                connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(used_at=moment))
        return key

    def _digest(self, text: str) -> bytes:
        return self.vault.fingerprint("api_key", text)


def _key(row: Any) -> ApiKey:
    id_, name, role, *rest = row
    return ApiKey(id_, name, Role(role) if role in set(Role) else Role.READ_ONLY, *rest)
