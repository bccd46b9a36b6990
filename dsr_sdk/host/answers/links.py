"""Links for people who have no account: to verify an address, to answer, to fetch a copy.

The token stands in the link and nowhere else; the ledger keeps a keyed hash of it. Looking uses nothing up, because mail scanners open
every link before a person does; only `Links.use`, behind a button, does. Whatever is wrong with a link, the sentence is the same: it tells a
thief nothing.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import RequestError, VaultError
from dsr_sdk.host.desk import HOST, Desk, now
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.desk import links
from dsr_sdk.ledger.vault import CaseKey

__all__ = ["Link", "LinkError", "Links", "Purpose"]

_LONGEST = 200
_CONTEXT = "links.sealed"


class Purpose(StrEnum):
    """What a link is good for. A link of one purpose opens nothing of another."""

    VERIFY = "verify"
    ANSWER = "answer"
    COPY = "copy"
    HELP = "help"
    CODE = "code"
    PICKUP = "pickup"


class LinkError(RequestError):
    """The link cannot be used. One sentence for all causes: unknown, of another purpose, expired, used, revoked, or its case was shredded."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link that holds.

    Attributes:
        case: The case it belongs to; None for one of the host's own.
        data: What `Links.make` was given to keep.
        uses_left: How often it can still be used, this use not counted.
    """

    id: int
    purpose: Purpose
    case: str | None
    expires_at: datetime
    uses_left: int
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Links(Desk):
    """Makes links and honours them."""

    def make(
        self,
        purpose: Purpose,
        *,
        case: str | None,
        connection: Connection,
        book: Book,
        data: Mapping[str, Any] | None = None,
        valid: timedelta,
        uses: int = 1,
    ) -> str:
        """Make a link, in the caller's transaction: the link exists when what it belongs to exists.

        Args:
            case: The case it dies with; None for one of the host's own.
            data: Kept sealed with it; JSON values.
            valid: How long it holds.
            uses: How often it may be used.

        Returns:
            The token. It is kept nowhere: put `url` of it into a mail, and never into a log.

        Raises:
            VaultError: The case was shredded.
        """
        token = secrets.token_urlsafe(32)
        connection.execute(
            insert(links).values(
                case=case,
                purpose=purpose.value,
                digest=self._digest(token),
                created_at=book.now,
                expires_at=book.now + valid,
                uses_left=uses,
                sealed=self._key(connection, case).seal(json.dumps(dict(data or {})).encode(), _CONTEXT),
            )
        )
        book.note(case or HOST, "link.made", "host", purpose=purpose.value, expires_at=(book.now + valid).isoformat(), uses=uses)
        return token

    def url(self, purpose: Purpose, token: str) -> str:
        """The address of a link's page."""
        return f"{self.settings.public_url}/p/{purpose.value}/{token}"

    def look(self, token: str, purpose: Purpose) -> Link:
        """What a link is good for. Uses nothing up.

        Raises:
            LinkError: It cannot be used.
        """
        with self.reading() as connection:
            return self._found(connection, token, purpose)

    def use(self, token: str, purpose: Purpose, connection: Connection, book: Book) -> Link:
        """Use a link once, in the caller's transaction: of two who use the last use at the same moment, one gets the error.

        Raises:
            LinkError: It cannot be used (any more).
        """
        found = self._found(connection, token, purpose, now_=book.now)
        done = connection.execute(
            update(links)
            .where(links.c.id == found.id, links.c.uses_left > 0, links.c.tries_left > 0, links.c.expires_at > book.now)
            .values(uses_left=links.c.uses_left - 1, used_at=book.now)
        )
        if done.rowcount != 1:
            _refuse()
        book.note(found.case or HOST, "link.used", "subject", purpose=purpose.value)
        return Link(found.id, purpose, found.case, found.expires_at, found.uses_left - 1, found.data)

    def missed(self, link: Link, connection: Connection, book: Book) -> int:
        """Someone gave a wrong code with a link; how many they may still give. With none left the link is dead.

        Let the transaction commit before telling them: a count that an error undoes counts nothing.
        """
        connection.execute(update(links).where(links.c.id == link.id, links.c.tries_left > 0).values(tries_left=links.c.tries_left - 1))
        left = int(connection.execute(select(links.c.tries_left).where(links.c.id == link.id)).scalar_one())
        book.note(link.case or HOST, "link.wrong_code", "subject", purpose=link.purpose.value, left=left)
        return left

    def revoke(self, case: str, purpose: Purpose, *, connection: Connection | None = None, but: str | None = None) -> None:
        """End every link of a case with this purpose.

        Args:
            connection: The caller's transaction; None for one of its own.
            but: The token of a link that goes on. It must hold.

        Raises:
            LinkError: That link holds no more.
        """
        if connection is None:
            with self.deciding() as (own, _):
                return self.revoke(case, purpose, connection=own, but=but)
        kept = self._found(connection, but, purpose).id if but is not None else 0
        connection.execute(update(links).where(links.c.case == case, links.c.purpose == purpose.value, links.c.id != kept).values(uses_left=0))
        return None

    def _found(self, connection: Connection, token: str, purpose: Purpose, *, now_: datetime | None = None) -> Link:
        moment = now_ or now()
        if not 0 < len(token) <= _LONGEST or not token.isascii():
            _refuse()
        digest = self._digest(token)
        row = connection.execute(select(links).where(links.c.digest == digest)).first()
        # The index finds by a keyed hash, whose bytes nobody outside can choose; the comparison is here so that nothing rests on that alone.
        if row is None or not hmac.compare_digest(bytes(row.digest), digest) or row.purpose != purpose.value:
            _refuse()
        if row.uses_left <= 0 or row.tries_left <= 0 or row.expires_at <= moment or row.sealed is None:
            _refuse()
        try:
            data = json.loads(self._key(connection, row.case).open(row.sealed, _CONTEXT))
        except VaultError:
            data = None
        if data is None:  # raised out here, so that the error does not carry why
            _refuse()
        return Link(row.id, purpose, row.case, row.expires_at, row.uses_left, data)

    def _digest(self, token: str) -> bytes:
        return self.vault.fingerprint("link", token)

    def _key(self, connection: Connection, case: str | None) -> CaseKey:
        return self.vault.box() if case is None else self.ledger.cases.key(connection, case)


def _refuse() -> NoReturn:
    raise LinkError("this link cannot be used", fix="it may be mistyped, too old, or used already: ask for a new one")
