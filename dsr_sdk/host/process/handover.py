"""Handing a copy over: by a link that opens once, and only to whoever can read the mail of the person who asked.

A link alone opens nothing: it may have been forwarded, or read over a shoulder. A code goes to the address that the request was made with,
and the two together fetch the package, once: see `dsr_sdk.host.process.pickup`. Looking at the link's page uses nothing up, whatever mail
scanners fetch in advance.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import RequestError
from dsr_sdk.host.answers.links import Link, LinkError, Purpose
from dsr_sdk.host.cases.verification import reached
from dsr_sdk.host.desk import Desk, now
from dsr_sdk.host.masking import masked_address
from dsr_sdk.host.process.files import FileInfo
from dsr_sdk.identity import Email
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.desk import files, links, redactions
from dsr_sdk.ledger.schema import tasks
from dsr_sdk.request import Request, RequestType

__all__ = ["CodeSent", "Handover", "PackageInfo", "copy_case", "inputs_of"]

CODE_HOLDS = timedelta(minutes=15)
CODES = 5
"""Codes that are sent for one link; whoever needs more asks for a new link."""

_MAIL: Final = {
    "en": (
        "Your code for your copy of your data at {company}",
        (
            "Your code is {code}.\n\nEnter it on the page that you opened to fetch your copy. It holds for {minutes} minutes.\n"
            "If you did not ask for it, do nothing: without it nobody can fetch your copy. Do not pass it on to anybody.\n\n"
            "Case number: {case}\n{company}\n"
        ),
    ),
    "de": (
        "Ihr Code für die Kopie Ihrer Daten bei {company}",
        (
            "Ihr Code lautet {code}.\n\nGeben Sie ihn auf der Seite ein, die Sie zum Abholen der Kopie geöffnet haben. Er gilt {minutes} Minuten.\n"
            "Wenn Sie ihn nicht angefordert haben, tun Sie nichts: Ohne ihn kann niemand die Kopie abholen. Geben Sie ihn nicht weiter.\n\n"
            "Fallnummer: {case}\n{company}\n"
        ),
    ),
    "fr": (
        "Votre code pour la copie de vos données chez {company}",
        (
            "Votre code est {code}.\n\nSaisissez-le sur la page ouverte pour télécharger votre copie. Il est valable {minutes} minutes.\n"
            "Si vous ne l\u2019avez pas demandé, ne faites rien : sans lui, nul ne peut télécharger votre copie. Ne le donnez à personne.\n\n"
            "Numéro de dossier : {case}\n{company}\n"
        ),
    ),
    "es": (
        "Su código para la copia de sus datos en {company}",
        (
            "Su código es {code}.\n\nIntrodúzcalo en la página que abrió para descargar su copia. Es válido durante {minutes} minutos.\n"
            "Si no lo ha pedido, no haga nada: sin él nadie puede descargar su copia. No se lo dé a nadie.\n\n"
            "Número de caso: {case}\n{company}\n"
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class PackageInfo:
    """A generated copy.

    Attributes:
        size: Bytes.
        files: How many files are in it, the manifest not counted.
        current: Whether nothing that it is made from has changed since.
    """

    manifest_sha256: str
    size: int
    files: int
    made_at: datetime
    current: bool


@dataclass(frozen=True, slots=True)
class CodeSent:
    """A code that is on its way, and still holds.

    Attributes:
        to: The person's address, masked: whoever has only the link learns no address from it.
        at: When it was sent.
    """

    to: str
    at: datetime


class Handover(Desk):
    """The second half of `Delivery`: what becomes of a package."""

    def package(self, case: str) -> PackageInfo | None:
        """The package as it was generated last; None when there is none."""
        with self.reading() as connection:
            current = copy_case(self.ledger.cases.get(connection, case))
            info = self._package(connection, current)
            if info is None:
                return None
            made_at = datetime.fromisoformat(str(info.extra["made_at"]))
            fresh = info.extra["inputs"] == inputs_of(connection, current)
            return PackageInfo(str(info.extra["manifest_sha256"]), info.size, int(info.extra["files"]), made_at, fresh)

    def is_current(self, connection: Connection, case: Case) -> bool:
        """Whether there is a package, and nothing that it is made from has changed since."""
        info = self._package(connection, case)
        return info is not None and info.extra["inputs"] == inputs_of(connection, case)

    def _package(self, connection: Connection, case: Case) -> FileInfo | None:
        found = self.host.files.listed(connection, case, purpose="package")
        return found[-1] if found else None

    def _ready(self, connection: Connection, case: Case) -> FileInfo:
        info = self._package(connection, case)
        if info is None or info.extra["inputs"] != inputs_of(connection, case):
            raise RequestError(
                "no copy was generated" if info is None else "the copy was generated before the last change", source=case.number, fix="generate it"
            )
        return info

    def download(self, case: str, *, by: str) -> tuple[str, Iterator[bytes]]:
        """The package for an agent who looks at it: its name and its bytes.

        Raises:
            RequestError: There is none, or not since the last change.
        """
        with self.deciding() as (connection, book):
            info = self._ready(connection, copy_case(self.ledger.cases.get(connection, case)))
            book.note(case, "copy.downloaded", by, file=info.id)
        return info.name, self.host.files.read(case, info.id)[1]

    def offer(self, case: str, *, by: str) -> str:
        """The address of a link to the package, for the reply. It holds for ``copy_days`` and opens once.

        Raises:
            ConflictError: The case is neither being processed nor in reply.
            RequestError: There is no package, or not since the last change; the person's identity is not verified, or they have no e-mail
                address that the code could go to.
        """
        with self.deciding() as (connection, book):
            current = copy_case(self.held(connection, case, stage=("process", "reply")))
            info = self._ready(connection, current)
            if current.verified_at is None:
                raise RequestError("the person's identity is not verified", source=case, fix="verify it before anything is handed over")
            _address(self.ledger.cases.requests(connection, [case])[case])
            valid = timedelta(days=self.settings.copy_days)
            token = self.host.links.make(Purpose.COPY, case=case, connection=connection, book=book, data={"file": info.id}, valid=valid)
            book.note(case, "copy.offered", by, file=info.id, days=self.settings.copy_days)
        return self.host.links.url(Purpose.COPY, token)

    def send_code(self, token: str) -> None:
        """Mail a code to the person whose copy the link is for. A new code takes the place of the one before.

        Raises:
            LinkError: The link cannot be used.
            RequestError: Too many codes were asked for already.
            DsrError: The mail cannot be sent; see `Outbox.send`.
        """
        code = f"{secrets.randbelow(10**6):06d}"
        with self.deciding() as (connection, book):
            link, case = self._held_link(connection, token)
            request = self.ledger.cases.requests(connection, [case])[case]
            sealed = self.ledger.cases.key(connection, case).seal(self._digest(link, code).hex().encode(), _CONTEXT)
            digest = self.vault.fingerprint("code", str(link.id))
            known = connection.execute(select(links.c.id, links.c.uses_left).where(links.c.digest == digest)).first()
            values = {"sealed": sealed, "expires_at": book.now + CODE_HOLDS}
            if known is None:
                new = values | {"case": case, "purpose": Purpose.CODE.value, "digest": digest, "created_at": book.now, "uses_left": CODES - 1}
                connection.execute(insert(links).values(**new))
            elif known.uses_left > 0:
                connection.execute(update(links).where(links.c.id == known.id).values(**values, uses_left=links.c.uses_left - 1))
            else:
                raise RequestError("too many codes were asked for with this link", fix="ask for a new link")
            company = self.host.config.host.company
            subject, body = _MAIL.get(request.language.partition("-")[0].lower(), _MAIL["en"])
            minutes = int(CODE_HOLDS.total_seconds() // 60)
            mail = self.host.outbox.write(
                connection,
                book,
                case=case,
                kind="code",
                to=_address(request),
                subject=subject.format(company=company),
                body=body.format(code=code, minutes=minutes, case=case, company=company),
                later=False,
            )
            book.note(case, "copy.code_sent", "subject", mail=mail)
        self.host.outbox.send(mail)

    def code_sent(self, token: str) -> CodeSent | None:
        """The newest code of a link, as long as it holds; None when there is none. Looking uses nothing up.

        Raises:
            LinkError: The link cannot be used.
        """
        link = self.host.links.look(token, Purpose.COPY)
        with self.reading() as connection:
            query = select(links.c.expires_at, links.c.sealed).where(links.c.digest == self.vault.fingerprint("code", str(link.id)))
            row = connection.execute(query).first()
            if link.case is None or row is None or row.sealed is None or row.expires_at <= now():
                return None
            address = _address(self.ledger.cases.requests(connection, [link.case])[link.case])
        return CodeSent(masked_address(address), row.expires_at - CODE_HOLDS)

    def _held_link(self, connection: Connection, token: str) -> tuple[Link, str]:
        """The link of a copy, with its case kept from others: guesses are counted one after another.

        It holds as long as its package is the newest there is: what was redacted or taken out since must not leave by an older link.
        """
        link = self.host.links.look(token, Purpose.COPY)
        if link.case is not None:
            self.ledger.cases.hold(connection, [link.case])
            link = self.host.links.look(token, Purpose.COPY)
            case = self.ledger.cases.get(connection, str(link.case))
            info = self._package(connection, case)
            if info is not None and info.id == link.data.get("file") and info.extra["inputs"] == inputs_of(connection, case):
                return link, case.number
        raise LinkError("this link cannot be used", fix="it may be mistyped, too old, or used already: ask for a new one")

    def _is_code(self, connection: Connection, link: Link, case: str, code: str) -> bool:
        row = connection.execute(
            select(links.c.sealed, links.c.expires_at).where(links.c.digest == self.vault.fingerprint("code", str(link.id)))
        ).first()
        given = self._digest(link, "".join(code.split())[:12])
        if row is None or row.sealed is None or row.expires_at <= now():
            return False
        wanted = bytes.fromhex(self.ledger.cases.key(connection, case).open(row.sealed, _CONTEXT).decode())
        return hmac.compare_digest(given, wanted)

    def _digest(self, link: Link, code: str) -> bytes:
        return self.vault.fingerprint("code", str(link.id), code)


_CONTEXT = "links.sealed_code"


def copy_case(case: Case) -> Case:
    """The case, if it is a copy request."""
    if case.type != RequestType.COPY:
        raise RequestError("is not a copy request", source=case.number)
    return case


def inputs_of(connection: Connection, case: Case) -> str:
    """A hash over what a package is made from: redactions, files added by hand, and everything that was collected or marked."""
    # No two redactions are sealed alike; a number alone SQLite may give away once more, when the newest redaction was taken back.
    mine_out = select(redactions.c.id, redactions.c.sealed).where(redactions.c.case == case.number).order_by(redactions.c.id)
    taken_out = [[row.id, bytes(row.sealed or b"").hex()] for row in connection.execute(mine_out)]
    mine = files.c.case == case.number, files.c.purpose == "copy", files.c.removed_at.is_(None)
    added = connection.execute(select(files.c.id, files.c.source).where(*mine).order_by(files.c.id))
    work = tasks.c.case == case.number, tasks.c.action.in_(("export", "manual"))
    collected = connection.execute(select(tasks.c.id, tasks.c.state, tasks.c.finished_at).where(*work).order_by(tasks.c.id))
    parts = [taken_out, [list(row) for row in added], [[row.id, row.state, str(row.finished_at)] for row in collected]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _address(request: Request) -> str:
    """Where the person can be reached for sure: not an address that was found, entered or mistyped."""
    email = reached(request)
    if email is None:
        raise RequestError(
            "nobody has shown that the person reads mail at this address" if request.subject.has(Email) else "the person has given no e-mail address",
            source=request.case,
            fix="send a verification e-mail, or hand the copy over in another way",
        )
    return email.given or email.value
