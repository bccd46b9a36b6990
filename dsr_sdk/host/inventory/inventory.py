"""The inventory: the systems a company uses, and which of them take part in request handling.

Two lists in one. Every system may stand here; those *used in handling* are data sources of every request. What stands in ``dsr.toml`` is
always used in handling, wins by name, and is changed in the file. Settings hold secrets as references only, and neither a base URL nor a
permission for private networks: where the host's secrets are sent is decided in the file, by who may edit it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, update

from dsr_sdk.connector import Process
from dsr_sdk.errors import ConfigError, ConflictError, DsrError, RequestError
from dsr_sdk.host.desk import HOST, now
from dsr_sdk.host.editing import SOURCE_NAME
from dsr_sdk.host.inventory.catalogue import BY_HAND, BY_LETTER, Offer, category_of, offers, recognise
from dsr_sdk.host.inventory.connecting import Connecting
from dsr_sdk.host.inventory.discovery import Discovery
from dsr_sdk.host.inventory.systems import System, judged, line, name_for, of_row, paragraph
from dsr_sdk.ledger.desk import inventory

__all__ = ["Inventory"]


class Inventory(Discovery, Connecting):
    """The inventory of one host. Threads may share it; other hosts over the same ledger follow what is decided here."""

    def catalogue(self, *, text: str = "", category: str | None = None) -> list[Offer]:
        """What may be added: installed connectors, and known vendors, which can be written to. See `offers`."""
        return offers(self.host.registry, text=text, category=category)

    def add(
        self,
        name: str | None,
        title: str,
        *,
        category: str,
        connector: str | None = None,
        settings: Mapping[str, Any] | None = None,
        handling: bool = False,
        vendor: str | None = None,
        owner: str | None = None,
        note: str | None = None,
        by: str,
    ) -> System:
        """Add a system.

        Args:
            name: What the data source is called; None for a name made of the title.
            category: A value of `Category`.
            connector: What it is reached with: an installed connector, ``email`` (with ``privacy_address`` in the settings; no letter is
                sent before `activate`), ``manual``. None for a system that nobody has set up; used in handling, it is looked through by hand.
            settings: The connector's; secrets as references (``env:NAME``, ``file:path``, ``keyring:service/name``).
            vendor: Its slug in the catalogue, when it comes from there.
            owner: Whom to ask about it.

        Raises:
            RequestError: Name, title, category, owner or note cannot be used.
            ConflictError: The name is taken.
            ConfigError: The connector cannot be had, or a setting is wrong or a secret in the open. Nothing was stored.
        """
        title = line(title, "title")
        kind = category_of(category)
        told = {"owner": line(owner, "owner") if owner else None, "note": paragraph(note, "note") if note else None}
        if name is not None and not SOURCE_NAME.fullmatch(name):
            raise RequestError("a data source's name is lower-case letters, digits, - and _", field="name")
        known = recognise(vendor) if vendor else None
        said = name or name_for(title, ())
        chosen = self._chosen(said, title, connector, settings or {}, owner=told["owner"] or by)
        if handling and chosen["connector"] is None:
            chosen = self.by_hand(said, title, told["owner"] or by)
        elif handling:
            _may_handle(chosen["connector"], chosen["settings"], said)
        with self.changing() as (connection, book):
            taken = self.taken(connection)
            if name is None:
                name = name_for(title, taken)
            elif name in taken:
                raise ConflictError("there is a system of this name already", source=name, fix="choose another name")
            told |= {"vendor": known.slug if known else vendor, "origin": "catalogue" if vendor else "agent", "state": "accepted"}
            self.place(connection, book, by, name=name, title=title, category=kind.value, handling=handling, **chosen, **told)
            book.note(HOST, "inventory.added", by, system=name, connector=chosen["connector"], handling=handling)
        return self.get(name)

    def add_offer(
        self,
        slug: str,
        *,
        name: str | None = None,
        title: str | None = None,
        settings: Mapping[str, Any] | None = None,
        handling: bool = False,
        owner: str | None = None,
        note: str | None = None,
        by: str,
    ) -> System:
        """Add what the catalogue offers. A known vendor comes as an e-mail integration, switched off; its address only where it is known.

        Raises:
            RequestError: The catalogue offers no such thing; and see `add`.
        """
        offer = next((offer for offer in self.catalogue() if offer.slug == slug), None)
        if offer is None:
            raise RequestError("the catalogue offers no such system", field="slug", fix="search it, or add a system of your own")
        given = dict(settings or {})
        connector: str | None = offer.connector
        if offer.connector == BY_LETTER:
            given = {"vendor": title or offer.title, **({"privacy_address": offer.privacy_address} if offer.privacy_address else {}), **given}
        elif not given and not handling and offer.process == Process.AUTOMATED.value:
            connector = None  # into the list first; its settings come later, perhaps from a colleague
        return self.add(
            name,
            title or offer.title,
            category=offer.category,
            connector=connector,
            settings=given,
            handling=handling,
            vendor=offer.slug,
            owner=owner,
            note=note,
            by=by,
        )

    def update(
        self,
        name: str,
        *,
        by: str,
        revision: int | None = None,
        title: str | None = None,
        category: str | None = None,
        connector: str | None = None,
        settings: Mapping[str, Any] | None = None,
        owner: str | None = None,
        note: str | None = None,
    ) -> System:
        """Change a system; None leaves what is there, an empty text takes owner or note away.

        Args:
            connector: Another one, with its `settings`.
            settings: All of them anew. Whether an e-mail integration is active is not among them: see `activate`.
            revision: What the caller has seen.

        Raises:
            RequestError: It stands in ``dsr.toml``, or a value cannot be used.
            ConflictError: Someone else has changed it; or requests still have work there, and the connector would be another.
            ConfigError: See `add`.
        """
        values: dict[str, Any] = {}
        if title is not None:
            values["title"] = line(title, "title")
        if category is not None:
            values["category"] = category_of(category).value
        if owner is not None:
            values["owner"] = line(owner, "owner") if owner.strip() else None
        if note is not None:
            values["note"] = paragraph(note, "note") or None
        facts: dict[str, Any] = {"changed": sorted(values)}
        before = self.get(name)
        slug = connector or before.connector
        chosen = {}
        if connector is not None or settings is not None:
            if slug is None:
                raise RequestError("settings belong to a connector", field="connector", source=name, fix="choose a connector, email or manual")
            if settings is None and slug == before.connector:
                settings = {key: value for key, value in before.settings.items() if slug != BY_LETTER or key != "active"}
            chosen = self._chosen(name, values.get("title", before.title), slug, settings or {}, owner=values.get("owner") or before.owner or by)
            facts |= {"connector": slug, "settings": sorted(chosen["settings"])}
        with self.changing() as (connection, book):
            row = self.kept(connection, name, revision=revision)
            if chosen:
                before = of_row(self.host, row)
                if slug != row.connector and row.connector is not None:
                    if connector is None:
                        raise ConflictError("someone else has changed it meanwhile", source=name, fix="look at it again")
                    self.idle(connection, name)
                if slug == BY_LETTER:
                    address = chosen["settings"].get("privacy_address")
                    # Whoever switched it on meant the address that stood there.
                    chosen["settings"]["active"] = bool(before.active) and slug == row.connector and address == before.privacy_address
                    chosen["handling"] = row.handling and chosen["settings"]["active"]
                values |= {**chosen, "checked_at": None, "checked": None, "check_ok": None, "offered": None}
            self.put(connection, book, row, "inventory.changed", by, values, **facts)
        return self.get(name)

    def activate(self, name: str, active: bool = True, *, by: str, revision: int | None = None) -> System:
        """Switch an e-mail integration on, so that ticking it in a request sends a letter; or off, which takes it out of request handling.

        Raises:
            RequestError: It is no e-mail integration.
            ConfigError: It has no privacy address: nobody can be written to.
        """
        with self.changing() as (connection, book):
            row = self.kept(connection, name, revision=revision)
            if row.connector != BY_LETTER:
                raise RequestError("is no e-mail integration", source=name)
            settings = {**of_row(self.host, row).settings, "active": active}
            judged(self.host, name, BY_LETTER, settings)
            event = "inventory.activated" if active else "inventory.deactivated"
            self.put(connection, book, row, event, by, {"settings": settings, "handling": row.handling and active})
        return self.get(name)

    def set_handling(self, name: str, handling: bool, *, by: str, revision: int | None = None) -> System:
        """Use a system in request handling from the next request on, or no longer. What is under way there is finished in either case.

        A system that nobody has set up is then looked through by hand.

        Raises:
            ConfigError: It is an e-mail integration that is switched off.
            ConflictError: It was only proposed: accept it first.
        """
        with self.changing() as (connection, book):
            row = self.kept(connection, name, revision=revision)
            values: dict[str, Any] = {"handling": handling}
            if handling and row.connector is None:
                values |= self.by_hand(name, row.title, row.owner or by)
            elif handling:
                _may_handle(row.connector, of_row(self.host, row).settings, name)
            self.put(connection, book, row, "inventory.handling", by, values, handling=handling)
        return self.get(name)

    def remove(self, name: str, *, by: str, revision: int | None = None) -> None:
        """Take a system out of the inventory. A discovery may propose it again.

        Raises:
            RequestError: It stands in ``dsr.toml``.
            ConflictError: Requests still have work there, or someone else has changed it.
        """
        with self.changing() as (connection, book):
            row = self.kept(connection, name, revision=revision, states=("accepted", "proposed", "dismissed"))
            self.idle(connection, name)
            connection.execute(delete(inventory).where(inventory.c.name == name))
            book.note(HOST, "inventory.removed", by, system=name, connector=row.connector)

    def check(self, name: str, *, by: str = "host") -> str:
        """Make one harmless call that proves a data source's settings. When, and what it said, is kept with it.

        A secret that was missing when the host was opened is looked for again.

        Raises:
            RequestError: There is no such system.
            DsrError: What to mend; kept too.
        """
        system = self.get(name)
        if system.connector is None:
            raise ConfigError("nothing is set up yet", source=name, fix="choose a connector, the e-mail integration, or handling by hand")
        self.host.refresh_sources(again=True)
        error: DsrError | None = None
        try:
            said = self.host.check(name)
        except DsrError as caught:
            error, said = caught, str(caught)
        at = now()
        with self.deciding() as (connection, book):
            values = {"checked_at": at, "checked": said[:1000], "check_ok": error is None}
            done = connection.execute(update(inventory).where(inventory.c.name == name).values(**values)).rowcount
            if not done and name in self.host.config.sources:
                self.place(
                    connection, book, by, name=name, title=system.title, category=system.category, origin="dsr.toml", state="configured", **values
                )
            book.note(HOST, "inventory.checked", by, system=name, ok=error is None, error=type(error).__name__ if error else None)
        if error is not None:
            raise error
        return said

    def _chosen(self, name: str, title: str, slug: str | None, settings: Mapping[str, Any], *, owner: str) -> dict[str, Any]:
        """Connector and settings as they are stored, once the connector has agreed to them."""
        if slug is None:
            if settings:
                raise RequestError("settings belong to a connector", field="connector", fix="choose a connector, email or manual")
            return {"connector": None, "settings": {}}
        given = dict(settings)
        if slug == BY_LETTER:
            if "active" in given:
                raise RequestError("is switched on by itself, not among the settings", field="active", source=name)
            given = {"vendor": title, **{key: value for key, value in given.items() if value not in (None, "")}, "active": False}
        elif slug == BY_HAND and not given:
            return self.by_hand(name, title, owner)
        judged(self.host, name, slug, given)
        return {"connector": slug, "settings": given}


def _may_handle(slug: str, settings: Mapping[str, Any], name: str) -> None:
    if slug == BY_LETTER and not settings.get("active"):
        raise ConfigError("the e-mail integration is switched off", source=name, fix="give it a privacy address and activate it first")
