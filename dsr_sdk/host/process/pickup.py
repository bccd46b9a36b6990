"""Fetching a copy: the code opens it for one browser, and it counts as fetched when its last byte has left.

A download that breaks off may be taken up again by whoever has the secret that the code was exchanged for, for an hour, a few times, and never
twice at once. Everybody else finds the link used up from the moment the code was given.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import LedgerError, RequestError, VaultError
from dsr_sdk.host.answers.links import LinkError, Purpose
from dsr_sdk.host.desk import now
from dsr_sdk.host.process.files import FileInfo
from dsr_sdk.host.process.handover import Handover, inputs_of
from dsr_sdk.ledger.desk import links

__all__ = ["PICKUP_HOLDS", "PICKUP_SILENT", "PICKUP_TRIES", "Parcel", "Pickup", "Waiting"]

PICKUP_HOLDS: Final = timedelta(hours=1)
"""How long a download may be begun again after the code was given. One that is under way by then may end."""

PICKUP_TRIES: Final = 5
"""Downloads that may be begun with one code, the first one counted."""

PICKUP_SILENT: Final = timedelta(minutes=2)
"""A download of which nothing was heard for so long is over, whoever died of it."""

_BEAT = 20.0
"""Seconds after which a download says that it is still under way."""

_CONTEXT = "links.sealed_pickup"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A copy that one browser may fetch (again).

    Attributes:
        tries: How often the download may still be begun.
        until: When the last of them must have begun.
    """

    case: str
    tries: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Parcel:
    """A download that has begun. Iterate over `blocks` to the end, or close them: that is how the ledger hears what became of it."""

    name: str
    size: int
    blocks: Generator[bytes, None, None] = field(repr=False)


class Pickup(Handover):
    """The last step of handing over."""

    def confirm(self, token: str, code: str) -> str:
        """Exchange the link and the code for a secret, for the browser that gave them: for `take`. From here on the link is used up.

        Raises:
            LinkError: The link cannot be used: it is unknown, expired, used, or too many wrong codes were given with it.
            RequestError: The code is wrong, or too old.
        """
        secret = secrets.token_urlsafe(32)
        with self.deciding() as (connection, book):
            link, case = self._held_link(connection, token)
            info = self._ready(connection, self.ledger.cases.get(connection, case))
            right = self._is_code(connection, link, case, code)
            self.host.files.read(case, info.id)  # raises when it cannot be read: then the link stays good
            if right:
                self.host.links.use(token, Purpose.COPY, connection, book)
                mine = links.c.digest == self.vault.fingerprint("code", str(link.id))
                connection.execute(update(links).where(mine).values(sealed=None, uses_left=0))
                data = json.dumps({"link": self._mark(token), "file": info.id}).encode()
                connection.execute(
                    insert(links).values(
                        case=case,
                        purpose=Purpose.PICKUP.value,
                        digest=self.vault.fingerprint("pickup", secret),
                        created_at=book.now,
                        expires_at=book.now + PICKUP_HOLDS,
                        uses_left=PICKUP_TRIES,
                        sealed=self.ledger.cases.key(connection, case).seal(data, _CONTEXT),
                    )
                )
                book.note(case, "copy.confirmed", "subject", file=info.id, tries=PICKUP_TRIES, until=(book.now + PICKUP_HOLDS).isoformat())
            else:
                self.host.links.missed(link, connection, book)
        if not right:  # told only now that the miss is committed: one that an error undoes would count for nothing
            raise RequestError("the code is wrong, or too old", field="code", fix="look at the newest mail, or ask for a new code")
        return secret

    def waiting(self, token: str, secret: str) -> Waiting:
        """What whoever has the secret may still fetch. Looking uses nothing up.

        Raises:
            LinkError: Nothing: it was fetched, it is too late, tried too often, or the secret belongs to another link.
        """
        with self.reading() as connection:
            row, _ = self._pickup(connection, token, secret)
        return Waiting(row.case, row.uses_left, row.expires_at)

    def take(self, token: str, secret: str) -> Parcel:
        """Begin a download. When the last block was taken, the copy counts as fetched, and nothing opens it again.

        Raises:
            LinkError: See `waiting`.
            RequestError: It is being downloaded at this moment.
        """
        with self.deciding() as (connection, book):
            case = self._pickup(connection, token, secret)[0].case
            self.ledger.cases.hold(connection, [case])  # of two who begin at once the second sees the first
            row, info = self._pickup(connection, token, secret)
            if row.used_at is not None and row.used_at > book.now - PICKUP_SILENT:
                raise RequestError("it is being downloaded at this moment", source=case, fix="if it has stopped, try again in two minutes")
            blocks = self.host.files.read(case, info.id)[1]
            turn = row.uses_left - 1
            connection.execute(update(links).where(links.c.id == row.id).values(uses_left=turn, used_at=book.now))
            book.note(case, "copy.started", "subject", file=info.id, left=turn)
        return Parcel(info.name, info.size, self._followed(case, row.id, turn, info, iter(blocks)))

    def fetch(self, token: str, code: str) -> tuple[str, Generator[bytes, None, None]]:
        """`confirm` and `take` in one, for a caller who has no browser to come back: name and bytes of the package.

        Raises:
            LinkError: The link cannot be used.
            RequestError: The code is wrong, or too old.
        """
        parcel = self.take(token, self.confirm(token, code))
        return parcel.name, parcel.blocks

    # --- within --------------------------------------------------------------------------------------------------------------------

    def _pickup(self, connection: Connection, token: str, secret: str) -> tuple[Any, FileInfo]:
        """The row of a secret that still opens the package it was made for."""
        row = connection.execute(select(links).where(links.c.digest == self.vault.fingerprint("pickup", secret))).first()
        data: dict[str, Any] = {}
        if row is not None and row.purpose == Purpose.PICKUP.value and row.uses_left > 0 and row.expires_at > now():
            with suppress(VaultError):  # it was shredded
                data = json.loads(self.ledger.cases.key(connection, row.case).open(row.sealed, _CONTEXT))
        if row is not None and data and hmac.compare_digest(data["link"], self._mark(token)):
            case = self.ledger.cases.get(connection, row.case)
            info = self._package(connection, case)
            if info is not None and info.id == data["file"] and info.extra["inputs"] == inputs_of(connection, case):
                return row, info
        raise LinkError("this link cannot be used", fix="it may be too late, or the copy was fetched already: ask for a new one")

    def _mark(self, token: str) -> str:
        return self.vault.fingerprint("link", token).hex()

    def _followed(self, case: str, pickup: int, turn: int, info: FileInfo, blocks: Any) -> Generator[bytes, None, None]:
        """The blocks, and the word on what became of them. `turn` tells this download from one that was begun since."""
        mine = links.c.id == pickup, links.c.uses_left == turn, links.c.used_at.is_not(None)
        sent, whole, heard = 0, False, time.monotonic()
        try:
            for block in blocks:
                if time.monotonic() - heard > _BEAT:
                    heard = time.monotonic()
                    with self.deciding() as (connection, _):
                        if connection.execute(update(links).where(*mine).values(used_at=now())).rowcount != 1:
                            raise LinkError("this download was given up, and begun once more", source=case)
                yield block
                sent += len(block)
            whole = True
            with self.deciding() as (connection, book):
                if connection.execute(update(links).where(*mine).values(uses_left=0, used_at=None, expires_at=book.now)).rowcount == 1:
                    book.note(case, "copy.delivered", "subject", file=info.id, sha256=info.sha256)
        finally:
            if not whole:
                with suppress(LedgerError), self.deciding() as (connection, book):  # unheard of, it is over by itself after a while
                    if connection.execute(update(links).where(*mine).values(used_at=None)).rowcount == 1:
                        book.note(case, "copy.broken_off", "subject", file=info.id, bytes=sent, of=info.size, left=turn)
