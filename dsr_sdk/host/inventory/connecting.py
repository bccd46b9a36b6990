"""Asking a technical colleague to connect a system: a link with what is needed, and a place to say how.

The colleague has no account. The page shows the connector's settings and how to enter them, and nothing of any request. What they send back
is a proposal: settings with secrets as references, waiting until an account takes them; only then is a secret looked at. So a link that
falls into the wrong hands connects nothing, and tells nothing of the host.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from dsr_sdk.connector import Process
from dsr_sdk.errors import ConfigError, ConflictError, RequestError
from dsr_sdk.host.answers.links import LinkError, Purpose
from dsr_sdk.host.editing import is_secret, settings_of
from dsr_sdk.host.inventory.catalogue import BY_LETTER
from dsr_sdk.host.inventory.shelf import Shelf
from dsr_sdk.host.inventory.systems import FILE_ONLY, System, address, judged, line, of_row, paragraph

if TYPE_CHECKING:
    from sqlalchemy import Row
    from sqlalchemy.engine import Connection

    from dsr_sdk.connector import Connector

__all__ = ["Connecting", "HelpPage", "Offered", "Setting"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a connector, for people. A secret is given as a reference.

    Attributes:
        choices: The values it takes, when they are a few; empty for any.
    """

    name: str
    description: str
    required: bool
    secret: bool
    default: str | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HelpPage:
    """What a colleague sees who follows a help link: nothing of any request, and no setting that is already there.

    Attributes:
        about: What the connector says of itself.
        docs: Where the vendor documents the API, and how to make a key.
        file_settings: Settings that only ``dsr.toml`` takes.
        command: The command that adds the data source on the host.
        snippet: The same as lines of ``dsr.toml``.
        note: What the person who asks has written.
    """

    system: str
    title: str
    connector: str
    connector_title: str
    about: str
    docs: str
    settings: tuple[Setting, ...]
    file_settings: tuple[Setting, ...]
    command: str
    snippet: str
    note: str
    asked_by: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Offered:
    """Settings that a colleague has proposed."""

    connector: str
    settings: Mapping[str, Any] = field(repr=False)
    at: str = ""
    missing: tuple[str, ...] = ()
    """Secrets that this host cannot resolve yet, each in a sentence."""


class Connecting(Shelf):
    """Asks for help with connecting a system, and takes the answer."""

    def needed(self, connector: str) -> tuple[Setting, ...]:
        """The settings of a connector that the inventory takes, its own order. Raises `ConfigError` when the connector cannot be had."""
        left_out = (*FILE_ONLY, *(("active",) if connector == BY_LETTER else ()))  # switched on by itself, see `Inventory.activate`
        known = settings_of(self.host.registry.load(connector))
        return tuple(_setting(name, info) for name, info in known.items() if name not in left_out)

    def typed(self, connector: str, given: Mapping[str, str]) -> dict[str, Any]:
        """A form's texts as settings of a connector, empty ones left out. Raises `ConfigError` when the connector cannot be had."""
        made = self.host.registry.load(connector)
        return {name: _typed(made, name, value.strip()) for name, value in given.items() if value.strip()}

    def ask_for_help(self, name: str, email: str, *, by: str, note: str = "", connector: str | None = None) -> None:
        """Mail a link that shows what is needed to connect a system. It can be answered once.

        Args:
            email: The colleague's address.
            note: A few words to them.
            connector: What to connect it with; None for the one chosen, or that of the vendor's name.

        Raises:
            RequestError: There is no such system, or the address or the note cannot be used.
            ConfigError: No connector is installed for it, or the host has no ``[workflow]`` or no ``[mail]``.
        """
        to, words = address(email, "email"), paragraph(note, "note", limit=2000)
        if self.host.config.mail is None:
            raise ConfigError("this host sends no mail", field="mail", fix="add a table [mail] to dsr.toml")
        days = self.settings.link_days
        company = self.host.config.host.company
        with self.changing() as (connection, book):
            row = self.kept(connection, name)
            slug = self._slug(of_row(self.host, row), connector)
            made = self.host.registry.load(slug)
            data = {"system": name, "connector": slug, "revision": row.revision + 1, "note": words, "by": by}
            token = self.host.links.make(Purpose.HELP, case=None, connection=connection, book=book, data=data, valid=timedelta(days=days))
            body = [
                f"{by} asks you to help connect {row.title} to the privacy request handling of {company}.",
                words,
                f"This page says what is needed, and takes your answer once, within {days} days:",
                self.host.links.url(Purpose.HELP, token),
                f"You will need access to {made.title}, to make a key there.",
                "Never write the key itself into the page or a mail: it asks for the name of the place on the server where the key is kept.",
                "The link is for you. If you did not expect it, do nothing.",
            ]
            mail = self.host.outbox.write(
                connection,
                book,
                case=None,
                kind="invite",
                to=to,
                subject=f"Please help connect {row.title}",
                body="\n\n".join(part for part in body if part),
            )
            self.put(connection, book, row, "inventory.help_asked", by, {}, connector=slug, mail=mail)

    def help(self, token: str) -> HelpPage:
        """What a help link shows. Uses nothing up.

        Raises:
            LinkError: The link cannot be used, or what it is about has changed since.
        """
        link = self.host.links.look(token, Purpose.HELP)
        told = link.data
        with self.reading() as connection:
            row = self._asked(connection, told, lock=False)
        connector = self.host.registry.load(told["connector"])
        rows = {name: _setting(name, info) for name, info in settings_of(connector).items()}
        own = tuple(setting for name, setting in rows.items() if name not in FILE_ONLY)
        return HelpPage(
            system=row.name,
            title=row.title,
            connector=connector.slug,
            connector_title=connector.title,
            about=inspect.cleandoc(connector.__doc__ or ""),
            docs=connector.docs,
            settings=own,
            file_settings=tuple(setting for name, setting in rows.items() if name in FILE_ONLY),
            command=_command(row.name, connector, own),
            snippet=_snippet(row.name, connector, own),
            note=told["note"],
            asked_by=told["by"],
            expires_at=link.expires_at,
        )

    def answer_help(self, token: str, settings: Mapping[str, str]) -> None:
        """Take a colleague's settings. They are kept as a proposal until an account takes them; the link is then used up.

        Whoever holds the link learns nothing of this host by it: whether a secret is there, is the host's own, or has the form that the
        connector wants is told to the account alone that takes the proposal (`offered`).

        Args:
            settings: By name; secrets as references. Empty ones are left out.

        Raises:
            LinkError: The link cannot be used (any more), or what it is about has changed since.
            ConfigError: A setting is wrong or missing, a secret in the open, or one that only ``dsr.toml`` takes. The link still holds.
        """
        told = self.host.links.look(token, Purpose.HELP).data
        connector = self.host.registry.load(told["connector"])
        given = {name: _typed(connector, name, line(str(value), name, limit=2000)) for name, value in settings.items() if str(value).strip()}
        judged(self.host, told["system"], connector.slug, given, looked_up=False)
        with self.changing() as (connection, book):
            self.host.links.use(token, Purpose.HELP, connection, book)
            row = self._asked(connection, told)
            offered = {"connector": connector.slug, "settings": given, "at": book.now.isoformat()}
            self.put(
                connection, book, row, "inventory.help_answered", "colleague", {"offered": offered}, connector=connector.slug, settings=sorted(given)
            )

    def offered(self, name: str) -> Offered | None:
        """What a colleague has proposed for a system; None when nothing waits.

        Raises:
            ConfigError: It cannot be taken: a secret is the host's own, or the connector does not take it.
        """
        with self.reading() as connection:
            row = self.kept(connection, name, lock=False)
        if row.offered is None:
            return None
        told = json.loads(row.offered)
        missing = judged(self.host, name, told["connector"], told["settings"])
        return Offered(told["connector"], told["settings"], told["at"], tuple(missing))

    def take_offered(self, name: str, *, by: str, revision: int | None = None) -> System:
        """Connect a system as a colleague has proposed. Whether it takes part in request handling does not change.

        Raises:
            RequestError: Nothing was proposed.
            ConflictError: Someone else has changed it; or requests still have work there, and the connector would be another.
        """
        offered = self.offered(name)
        if offered is None:
            raise RequestError("nobody has proposed settings", source=name)
        with self.changing() as (connection, book):
            row = self.kept(connection, name, revision=revision)
            told = json.loads(row.offered) if row.offered else {}
            if told.get("at") != offered.at or told.get("settings") != offered.settings:
                raise ConflictError("someone else has decided about it meanwhile", source=name, fix="look at it again")
            if row.connector not in (None, offered.connector):
                self.idle(connection, name)
            values = {
                "connector": offered.connector,
                "settings": offered.settings,
                "offered": None,
                "checked_at": None,
                "checked": None,
                "check_ok": None,
            }
            self.put(connection, book, row, "inventory.help_taken", by, values, connector=offered.connector, settings=sorted(offered.settings))
        return self.get(name)

    def drop_offered(self, name: str, *, by: str, revision: int | None = None) -> None:
        """Throw away what a colleague has proposed."""
        with self.changing() as (connection, book):
            row = self.kept(connection, name, revision=revision)
            self.put(connection, book, row, "inventory.help_dropped", by, {"offered": None})

    def _asked(self, connection: Connection, told: Mapping[str, Any], *, lock: bool = True) -> Row[Any]:
        """The system a link is about, if it is still as it was when the link was made."""
        try:
            return self.kept(connection, str(told["system"]), revision=int(told["revision"]), lock=lock)
        except RequestError:
            pass
        raise LinkError("this link cannot be used", fix="it may be mistyped, too old, or used already: ask for a new one")

    def _slug(self, system: System, wanted: str | None) -> str:
        """The connector that is asked about: one with an API."""
        available = self.host.registry.available()
        for slug in (wanted,) if wanted else (system.connector, system.vendor):
            if slug is not None and (wanted or slug in available) and self.host.registry.load(slug).process is Process.AUTOMATED:
                return slug
        raise ConfigError("no connector with an API is known for it", source=system.name, fix="install one, or use e-mail or handling by hand")


def _setting(name: str, info: Any) -> Setting:
    plain = info.default if isinstance(info.default, str | int | float | bool) and not info.is_required() else None
    return Setting(
        name, info.description or "", info.is_required(), is_secret(info), None if plain is None else str(plain), _choices(info.annotation)
    )


def _choices(annotation: Any) -> tuple[str, ...]:
    if annotation is bool:
        return ("True", "False")
    if get_origin(annotation) is Literal:
        return tuple(str(value) for value in get_args(annotation))
    return tuple(str(member.value) for member in annotation) if isinstance(annotation, type) and issubclass(annotation, Enum) else ()


def _typed(connector: type[Connector], name: str, value: str) -> Any:
    """A form's text as the setting's own kind: lists by commas. Numbers and yes or no are read by the connector itself."""
    info = settings_of(connector).get(name)
    shape = str(info.annotation) if info is not None else ""
    return [part.strip() for part in value.split(",") if part.strip()] if shape.startswith(("list[", "tuple[")) else value


def _sample(name: str, setting: Setting) -> str:
    variable = f"{name}_{setting.name}".upper().replace("-", "_")
    return f"env:{variable}" if setting.secret else setting.default or "..."


def _command(name: str, connector: type[Connector], settings: tuple[Setting, ...]) -> str:
    needed = "".join(f" --set {setting.name}={_sample(name, setting)}" for setting in settings if setting.required)
    return f"dsr sources add {name} --connector {connector.slug}{needed}"


def _snippet(name: str, connector: type[Connector], settings: tuple[Setting, ...]) -> str:
    lines = [f"[sources.{name}]", f'connector = "{connector.slug}"']
    lines += [f'{"" if setting.required else "# "}{setting.name} = "{_sample(name, setting)}"' for setting in settings]
    return "\n".join(lines)
