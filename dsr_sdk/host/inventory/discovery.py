"""Discovery: plugins propose systems that the company seems to use; people accept or dismiss them."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dsr_sdk.connector import Category
from dsr_sdk.errors import ContractError, DsrError, RequestError
from dsr_sdk.hookspecs import Proposal
from dsr_sdk.host.desk import HOST
from dsr_sdk.host.inventory.catalogue import BY_HAND, Vendor, category_of, spelt, vendors
from dsr_sdk.host.inventory.shelf import Shelf
from dsr_sdk.host.inventory.systems import System, judged, line, name_for
from dsr_sdk.mail.headers import checked_domain

__all__ = ["Discovered", "Discovery"]

_LOG = logging.getLogger("dsr_sdk")
_MOST: Final = 10_000
_SLUG: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Discovered(list[System]):
    """What a discovery has newly proposed, by title.

    Attributes:
        failed: Discoverers that could not answer -> why. Nothing of theirs was stored; the others were asked all the same.
        known: How many findings were there already, in any state.
        asked: The names of those who were asked.
    """

    failed: Mapping[str, str]
    known: int
    asked: tuple[str, ...]

    def __init__(self, found: list[System], *, failed: Mapping[str, str], known: int, asked: tuple[str, ...]) -> None:
        super().__init__(found)
        self.failed = failed
        self.known = known
        self.asked = asked


@dataclass(frozen=True, slots=True)
class _Finding:
    """A proposal that was looked through."""

    title: str
    category: str
    vendor: str | None
    domain: str | None
    where: str
    owner: str | None
    by: str
    kin: frozenset[str] = field(default_factory=frozenset)


class Discovery(Shelf):
    """Asks, stores what is new, and takes decisions about it."""

    def discover(self, *, by: str) -> Discovered:
        """Ask every discoverer which systems the company uses, and store what is new as proposed.

        What is in the inventory already is not proposed again, whether accepted, proposed or dismissed. Takes as long as the discoverers do:
        Okta, with its rate limit used up, a minute.
        """
        findings: list[_Finding] = []
        failed: dict[str, str] = {}
        asked = []
        for name, ask in self.host.registry.each("dsr_discover"):
            asked.append(name)
            try:
                findings.extend(_answer(name, ask))
            except DsrError as error:
                failed[name] = str(error)
            except Exception as error:  # noqa: BLE001 - a plugin must not keep the others from answering; its message may hold anything
                _LOG.error("the discoverer %s raised %s", name, type(error).__name__)
                failed[name] = f"it raised {type(error).__name__}"
        new: list[str] = []
        with self.changing() as (connection, book):
            known = {kin for system in self._all() for kin in system.kin}
            taken = self.taken(connection)
            for finding in findings:
                if finding.kin & known:
                    continue
                name = name_for(finding.title, taken)
                taken.add(name)
                known |= finding.kin
                new.append(name)
                self.place(
                    connection,
                    book,
                    by,
                    name=name,
                    title=finding.title,
                    category=finding.category,
                    vendor=finding.vendor,
                    domain=finding.domain,
                    origin=f"discovery:{finding.by}"[:40],
                    state="proposed",
                    owner=finding.owner,
                    note=finding.where or None,
                )
            book.note(HOST, "inventory.discovered", by, asked=len(asked), failed=sorted(failed), found=len(findings), new=len(new))
        fresh = [system for system in self.systems(proposed=True) if system.name in set(new)]
        return Discovered(fresh, failed=failed, known=len(findings) - len(new), asked=tuple(asked))

    def accept_proposal(self, name: str, *, by: str, handling: bool = False, revision: int | None = None) -> System:
        """Take what was proposed (or dismissed) into the inventory.

        Args:
            handling: Whether it takes part in request handling at once: by hand, until something better is set up.

        Raises:
            ConflictError: Someone else has decided about it.
            ConfigError: It is to be handled by hand, and the connector for that is not installed.
        """
        with self.changing() as (connection, book):
            row = self.kept(connection, name, revision=revision, states=("proposed", "dismissed"))
            values: dict[str, Any] = {"state": "accepted", "handling": handling}
            if handling:
                values |= self.by_hand(name, row.title, row.owner or by)
            self.put(connection, book, row, "inventory.accepted", by, values, handling=handling)
        return self.get(name)

    def dismiss(self, name: str, *, by: str, revision: int | None = None) -> None:
        """It is none, or holds no personal data: it is not proposed again. It can still be accepted later.

        Raises:
            ConflictError: Someone else has decided about it.
        """
        with self.changing() as (connection, book):
            row = self.kept(connection, name, revision=revision, states=("proposed",))
            self.put(connection, book, row, "inventory.dismissed", by, {"state": "dismissed"})

    def dismissed(self) -> list[System]:
        """What was dismissed, by title."""
        return sorted((system for system in self._all() if system.state == "dismissed"), key=lambda system: system.title.casefold())

    def by_hand(self, name: str, title: str, owner: str) -> dict[str, Any]:
        """Connector and settings of a system that nobody has connected: its owner looks through it. Raises `ConfigError` without the connector."""
        settings = {"instructions": f"Look for the person in {title}. Delete what is there, or collect it for a copy.", "owner": owner}
        judged(self.host, name, BY_HAND, settings)
        return {"connector": BY_HAND, "settings": settings}


def _answer(name: str, ask: Callable[..., list[Any]]) -> list[_Finding]:
    """What one discoverer proposes, looked through. Raises when anything of it is wrong."""
    found = []
    for answer in ask():
        for proposal in itertools.islice(answer, _MOST + 1):
            if not isinstance(proposal, Proposal):
                raise ContractError(f"dsr_discover answered {type(proposal).__name__}, not a Proposal", source=name)
            found.append(_checked(name, proposal))
    if len(found) > _MOST:
        raise ContractError(f"dsr_discover answered more than {_MOST} proposals", source=name)
    return found


def _checked(name: str, proposal: Proposal) -> _Finding:
    known = vendors().get(proposal.vendor or "")
    try:
        title = line(proposal.title, "title")
        category = category_of(proposal.category) if proposal.category else known.category if known else Category.CUSTOM
        where = line(proposal.where, "where") if proposal.where else ""
        owner = line(proposal.owner, "owner") if proposal.owner else None
        domain = checked_domain(proposal.domain) if proposal.domain else None
    except (RequestError, ValueError, TypeError, AttributeError) as error:
        what = (
            f"{error.field}: {error.message}"
            if isinstance(error, RequestError)
            else "domain: is none"
            if isinstance(error, ValueError)
            else "not text"
        )
        raise ContractError(f"dsr_discover answered a proposal that is wrong: {what}", source=name) from None
    if proposal.vendor is not None and not _SLUG.fullmatch(proposal.vendor):
        raise ContractError("dsr_discover answered a proposal that is wrong: vendor: is no slug", source=name)
    return _Finding(title, category.value, proposal.vendor, domain, where, owner, name, _kin(title, known))


def _kin(title: str, vendor: Vendor | None) -> frozenset[str]:
    """The names it may be there under. A second account of a vendor (*Zendesk EU*) is a system of its own; plain *Zendesk* is the vendor's."""
    own = spelt(title).replace(" ", "") or title
    if vendor is not None:
        names = {spelt(name).replace(" ", "") for name in (vendor.slug, vendor.title, *vendor.aliases)}
        if own in names:
            return frozenset({own, *names})
    return frozenset({own})
