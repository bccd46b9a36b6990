"""A system of the inventory as people see it, whether it stands in ``dsr.toml`` or was added since; and what its settings may hold."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from dsr_sdk.connector import Category, Process
from dsr_sdk.errors import ConfigError, RequestError
from dsr_sdk.host.editing import SOURCE_NAME, checked_settings, is_secret, settings_of
from dsr_sdk.host.inventory.catalogue import BY_HAND, BY_LETTER, spelt, vendors
from dsr_sdk.mail.headers import checked_address, checked_line

if TYPE_CHECKING:
    from sqlalchemy import Row

    from dsr_sdk.connector import Connector
    from dsr_sdk.host.config import HostConfig
    from dsr_sdk.host.host import Host

__all__ = ["FILE_ONLY", "Resource", "System", "address", "judged", "line", "name_for", "of_file", "of_row", "paragraph"]

FILE_ONLY: Final = ("base_url", "allow_private_hosts")
"""Settings that decide where a secret of the host is sent. Only who may edit ``dsr.toml`` decides that."""

_UNDER: Final = re.compile(r"file:(?!(?:.*/)?\.\.(?:/|$))[^/~\\][^\\]*|file:/run/secrets/[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Resource:
    """What a data source holds, and what becomes of it: ``erased``, ``anonymized`` or ``retained`` (with the reason in words)."""

    name: str
    on_erase: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class System:
    """A system that the company uses.

    Attributes:
        process: ``automated``, ``email`` or ``manual``; empty while nothing is set up, or when its connector cannot be loaded.
        handling: Whether it takes part in request handling.
        origin: ``dsr.toml``, ``agent``, ``catalogue`` or ``discovery:NAME``.
        state: ``accepted``, ``proposed`` or ``dismissed``.
        active: Of an e-mail integration, whether letters are sent; None otherwise.
        checked: What the last connection check said, at `checked_at`.
        check_ok: Whether it went well; None before the first one.
        configured_in: ``dsr.toml`` or ``inventory``. What stands in the file is changed in the file.
        broken: Why it cannot be used.
        offered: Whether a colleague has proposed settings, which wait for an account.
        settings: As configured; secrets as references.
        revision: Counts the changes; hand it back with the next one.
    """

    name: str
    title: str
    category: str
    process: str
    connector: str | None
    handling: bool
    origin: str
    state: str
    configured_in: str
    owner: str | None = None
    note: str | None = None
    checked_at: datetime | None = None
    checked: str | None = None
    check_ok: bool | None = None
    broken: str | None = None
    identified_by: tuple[str, ...] = ()
    holds: tuple[Resource, ...] = ()
    evidence: tuple[str, ...] = ()
    vendor: str | None = None
    domain: str | None = None
    active: bool | None = None
    privacy_address: str | None = None
    offered: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    revision: int = 0

    @property
    def kin(self) -> frozenset[str]:
        """The names it goes by, for telling whether something found is this."""
        said = (self.name, self.title, str(self.settings.get("vendor", "")), "" if self.connector in (BY_HAND, BY_LETTER) else self.connector or "")
        return frozenset(spelt(text).replace(" ", "") for text in said if text)


def of_file(host: Host, name: str, noted: Row[Any] | None) -> System:
    """A data source of ``dsr.toml``.

    Args:
        noted: What was noted about it in the ledger: owner, remarks, the last check.
    """
    row = host.config.sources[name]
    return System(
        name=name,
        title=_title(host, name, row.connector, row.settings),
        handling=row.enabled,
        origin="dsr.toml",
        state="accepted",
        configured_in="dsr.toml",
        owner=(noted.owner if noted else None) or _text(row.settings.get("owner")),
        note=noted.note if noted else None,
        checked_at=noted.checked_at if noted else None,
        checked=noted.checked if noted else None,
        check_ok=noted.check_ok if noted else None,
        broken=_why(host, name),
        vendor=row.connector if row.connector in vendors() else None,
        settings=row.settings,
        revision=noted.revision if noted else 0,
        **_kind(host, row.connector, row.settings, None),
    )


def of_row(host: Host, row: Row[Any]) -> System:
    """A system that the ledger holds."""
    settings = _settings(row.settings)
    return System(
        name=row.name,
        title=row.title,
        handling=row.handling and row.state == "accepted",
        origin=row.origin,
        state=row.state,
        configured_in="inventory",
        owner=row.owner or _text(settings.get("owner")),
        note=row.note,
        checked_at=row.checked_at,
        checked=row.checked,
        check_ok=row.check_ok,
        broken=_why(host, row.name) if row.state == "accepted" else None,
        vendor=row.vendor,
        domain=row.domain,
        offered=row.offered is not None,
        settings=settings,
        revision=row.revision,
        **_kind(host, row.connector, settings, row.category),
    )


def _kind(host: Host, slug: str | None, settings: Mapping[str, Any], category: str | None) -> dict[str, Any]:
    """What follows from the connector."""
    letter = slug == BY_LETTER
    told: dict[str, Any] = {
        "connector": slug,
        "category": category or Category.CUSTOM.value,
        "process": "",
        "active": bool(settings.get("active", False)) if letter else None,
        "privacy_address": _text(settings.get("privacy_address")) if letter else None,
    }
    try:
        made = host.registry.load(slug) if slug else None
    except ConfigError:
        return told
    if made is None:
        return told
    holds = tuple(Resource(held.resource, held.on_erase.kind, held.text) for held in made.holds)
    return told | {
        "category": category or made.category.value,
        "process": made.process.value,
        "identified_by": tuple(str(kind.model_fields["kind"].default) for kind in made.identified_by),
        "holds": holds,
        "evidence": tuple(layer.value for layer in made.evidence),
    }


def _title(host: Host, name: str, slug: str, settings: Mapping[str, Any]) -> str:
    try:
        made = host.registry.load(slug)
    except ConfigError:
        return name
    if made.process is Process.EMAIL:
        return _text(settings.get("vendor")) or name
    return name.replace("_", " ").replace("-", " ").capitalize() if slug == BY_HAND else made.title


def _why(host: Host, name: str) -> str | None:
    error = host.broken.get(name)
    return None if error is None else str(error)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _settings(text: str) -> dict[str, Any]:
    try:
        read = json.loads(text)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


# --- what people type ----------------------------------------------------------------------------------------------------------------


def judged(host: Host, name: str, slug: str, settings: Mapping[str, Any], *, looked_up: bool = True) -> list[str]:
    """Let the connector judge settings that come from the inventory; the secrets that are not known here, each in a sentence.

    Args:
        looked_up: Whether secrets are. Without, they need only be references: for somebody who must not learn which there are.

    Raises:
        ConfigError: The connector cannot be had; a setting is wrong, is a secret in the open, or may stand in ``dsr.toml`` only.
    """
    connector = host.registry.load(slug)
    for setting in FILE_ONLY:
        if setting in settings:
            raise ConfigError(
                "may stand in dsr.toml only: it decides where the host's secrets are sent", field=f"sources.{name}.{setting}", fix="edit dsr.toml"
            )
    for setting in _secrets(connector, settings) if looked_up else ():
        _may_refer(host.config, str(settings[setting]), f"sources.{name}.{setting}")
    return checked_settings(connector, name, settings, host.config.base, looked_up=looked_up)


def _secrets(connector: type[Connector], settings: Mapping[str, Any]) -> Iterator[str]:
    return (name for name, setting in settings_of(connector).items() if name in settings and is_secret(setting))


def _may_refer(config: HostConfig, reference: str, field: str) -> None:
    """Refuse references to what is not a data source's: the master key is a file and a variable like any other."""
    own = {config.host.master_key, config.host.database}
    own |= {config.mail.password or ""} if config.mail else set()
    own |= {config.portal.oidc.client_secret} if config.portal.oidc else set()
    own |= {config.discovery.okta.token} if config.discovery.okta else set()
    if reference.startswith("file:"):
        ours = {(config.base / one.removeprefix("file:")).resolve() for one in own if one.startswith("file:")}
        if (config.base / reference.removeprefix("file:")).resolve() in ours:
            raise ConfigError("refers to a secret of the host itself", field=field, fix="give the data source a secret of its own")
        if not _UNDER.fullmatch(reference):
            raise ConfigError(
                "refers to a file elsewhere", field=field, fix="file: takes a path below the directory of dsr.toml, or one in /run/secrets"
            )
    elif reference in own:
        raise ConfigError("refers to a secret of the host itself", field=field, fix="give the data source a secret of its own")


def line(value: str, what: str, *, limit: int = 200) -> str:
    """One line of text. Raises `RequestError` naming `what`."""
    try:
        return checked_line(value, limit=limit)
    except ValueError as error:
        raise RequestError(str(error), field=what) from None


def paragraph(value: str, what: str, *, limit: int = 5000) -> str:
    """Text of several lines, without control characters; may be empty. Raises `RequestError` naming `what`."""
    lines = [" ".join(row.split()) for row in value.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    text = "\n".join(line(row, what, limit=limit) if row else "" for row in lines).strip()
    if len(text) > limit:
        raise RequestError(f"is longer than {limit} characters", field=what)
    return text


def address(value: str, what: str) -> str:
    """One e-mail address. Raises `RequestError` naming `what`."""
    try:
        return checked_address(value.strip())
    except ValueError as error:
        raise RequestError(str(error), field=what) from None


def name_for(title: str, taken: Collection[str]) -> str:
    """A data source's name made of a title, and not taken: ``Müller & Söhne`` becomes ``muller-sohne``, the next one ``muller-sohne-2``."""
    stem = re.sub(r"[^a-z0-9]+", "-", spelt(title).encode("ascii", "ignore").decode()).strip("-")[:55].strip("-") or "system"
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    if not SOURCE_NAME.fullmatch(name):
        raise RequestError("gives no name", field="title")
    return name
