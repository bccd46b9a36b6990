"""The letter to a vendor as it would leave, for whoever is asked before it does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dsr_sdk.connector import Process
from dsr_sdk.errors import DsrError
from dsr_sdk.host.cases.trust import trust
from dsr_sdk.ledger.database import reading
from dsr_sdk.mail.compose import NOT_GIVEN
from dsr_sdk.request import RequestType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsr_sdk.host.host import Host

__all__ = ["Outgoing", "outgoing"]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent when the letter to a data source is sent.

    Attributes:
        copy: Who gets a copy; None for nobody.
        facts: The four facts about the person: (name, value).
    """

    to: str
    copy: str | None
    subject: str
    facts: tuple[tuple[str, str], ...] = field(repr=False)


def outgoing(host: Host, case: str, sources: Sequence[str]) -> dict[str, Outgoing]:
    """The letters to some data sources of a deletion, by data source. Those that cannot be written are left out: sending says why."""
    post = host._runner.post
    wanted = [host.registry.sources[name] for name in sources if name in host.registry.sources]
    wanted = [source for source in wanted if source.connector.process is Process.EMAIL]
    if post is None or not wanted:
        return {}
    with reading(host.ledger.engine) as connection:
        request = host.ledger.cases.requests(connection, [case])[case]
        known = trust(host.ledger.cases, connection, {case: request}).get(case)
    if request.type is not RequestType.DELETION:
        return {}
    person = (request if known is None else known.of(request)).subject
    found: dict[str, Outgoing] = {}
    for source in wanted:
        try:
            call = host.registry.caller("dsr_email", source.name, source.connector)
            letter = call(source=source.name, subject=person, type=request.type, letterhead=post.letterhead)
            name = person.name
            facts = (
                ("Type of request", "Deletion"),
                ("First name", (name.first if name else "") or NOT_GIVEN),
                ("Last name", (name.last if name else "") or NOT_GIVEN),
                ("E-mail", person.email),
            )
        except DsrError:
            continue
        found[source.name] = Outgoing(letter.to, letter.cc, letter.subject, facts)
    return found
