"""Installed connectors and configured data sources.

Connectors are found by entry point (group ``dsr_sdk.connectors``), listed without being imported, and loaded one at a time inside a
guard: one that cannot be imported, breaks the contract, or shares its slug with another is *quarantined*, explained, and in nobody's way.
A configured data source is a connector instance, registered as a plugin in a manager of its own beside the host's wrappers: a call to
one vendor cannot reach another's connector, whichever data sources come and go while it runs.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pluggy
from pydantic import SecretStr, ValidationError

from dsr_sdk import hookspecs
from dsr_sdk.connector import Connector, ConnectorConfig
from dsr_sdk.errors import ConfigError, ContractError, DsrError, TransientError
from dsr_sdk.secret import resolve

__all__ = ["CONNECTORS", "PLUGINS", "Available", "DataSource", "Registry"]

CONNECTORS = "dsr_sdk.connectors"
"""Entry point group of connectors: ``slug = "package:Class"``."""
_LOG = logging.getLogger("dsr_sdk")

PLUGINS = "dsr_sdk.plugins"
"""Entry point group of host plugins: wrappers and observers (see `dsr_sdk.hookspecs`)."""


@dataclass(frozen=True, slots=True)
class Available:
    """A connector as its distribution's metadata tells it; its code has not been imported."""

    slug: str
    distribution: str
    version: str
    summary: str
    entry_point: EntryPoint = field(repr=False)


@dataclass(frozen=True, slots=True)
class DataSource:
    """A configured data source: a name, its connector with its settings, and what the controller decided about it.

    Attributes:
        after: Data sources (by name) whose erasures come first.
        threads: How many calls may be under way at once.
        account: Tells which account it leads to: connector, base URL and settings, without secrets, in a hash. Empty when nobody knows.
    """

    name: str
    connector: Connector
    after: tuple[str, ...] = ()
    threads: int = 8
    account: str = ""


class Registry:
    """Finds connectors, loads them in a guard, and holds the configured data sources as pluggy plugins.

    Args:
        allow: Slugs that may be loaded; None for every installed one.
        points: Instead of the installed entry points (tests).
    """

    def __init__(self, *, allow: Collection[str] | None = None, points: Iterable[EntryPoint] | None = None) -> None:
        self.manager = _manager()
        self.quarantined: dict[str, str] = {}
        """Slug (or plugin name) -> why it is not used and what to do."""
        self._allow = allow
        self._points = points
        self._available: dict[str, Available] | None = None
        self._loaded: dict[str, type[Connector]] = {}
        self._managers: dict[str, pluggy.PluginManager] = {}
        self.sources: Mapping[str, DataSource] = {}
        """By name. Replaced as a whole when a data source comes or goes, so that whoever walks through it is not disturbed."""

    # --- connectors ----------------------------------------------------------------------------------------------------------------

    def available(self) -> Mapping[str, Available]:
        """Every installed connector that is allowed, by slug, in alphabetical order. Nothing is imported."""
        if self._available is None:
            found: dict[str, Available] = {}
            points = entry_points(group=CONNECTORS) if self._points is None else self._points
            for point in sorted(points, key=lambda point: point.name):
                if self._allow is not None and point.name not in self._allow:
                    continue
                row = Available(point.name, *_about(point), point)
                twin = found.get(point.name)
                if twin is not None and twin.entry_point.value == point.value and twin.distribution == row.distribution:
                    continue  # the same distribution seen twice on sys.path
                if twin is not None or point.name in self.quarantined:
                    owners = f"{twin.distribution} and {row.distribution}" if twin else row.distribution
                    self._quarantine(point.name, f"{owners} both provide the connector {point.name!r}: uninstall one")
                    found.pop(point.name, None)
                    continue
                found[point.name] = row
            self._available = found
        return self._available

    def load(self, slug: str) -> type[Connector]:
        """The connector class.

        Raises:
            ConfigError: It is not installed, not allowed, or quarantined; says why and what to do.
        """
        if slug in self._loaded:
            return self._loaded[slug]
        available = self.available()
        if slug not in self.quarantined and slug in available:
            try:
                loaded = available[slug].entry_point.load()
                self._loaded[slug] = _accepted(loaded, slug)
                return self._loaded[slug]
            except KeyboardInterrupt:
                raise
            except DsrError as error:
                self._quarantine(slug, str(error))
            except BaseException as error:  # noqa: BLE001 - foreign code at import time: even SystemExit must not take the host along
                self._quarantine(slug, f"importing {available[slug].entry_point.module} failed: {type(error).__name__}: {_first_line(error)}")
        if slug in self.quarantined:
            raise ConfigError(f"the connector {slug!r} is quarantined: {self.quarantined[slug]}", fix="see: dsr connectors")
        if self._allow is not None and slug not in self._allow:
            raise ConfigError(f"the connector {slug!r} is not allowed here", fix="add it to connectors.allow")
        known = ", ".join(available) or "none"
        raise ConfigError(f"the connector {slug!r} is not installed (installed: {known})", fix=f"pip install dsr-connector-{slug.replace('_', '-')}")

    def _quarantine(self, slug: str, why: str) -> None:
        self.quarantined[slug] = why
        self.tell("dsr_connector_failed", slug=slug, error=why)

    def tell(self, hook: str, **facts: Any) -> None:
        """Tell the observers of a hook. One that raises is logged by its name; what it was told about has happened all the same."""
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            others = [plugin for plugin in self.manager.get_plugins() if plugin is not implementation.plugin]
            try:
                self.manager.subset_hook_caller(hook, remove_plugins=others)(**facts)
            except Exception as error:  # noqa: BLE001 - an observer must not take along what it observes; its message may hold anything
                _LOG.error("the observer %s of %s raised %s", implementation.plugin_name, hook, type(error).__name__)

    def each(self, hook: str) -> list[tuple[str, Callable[..., list[Any]]]]:
        """Everybody who answers a question, by name, to be asked one at a time: who raises is in nobody's way. Wrappers stand around each."""
        asked = getattr(self.manager.hook, hook).get_hookimpls()
        answering = [implementation for implementation in asked if not (implementation.wrapper or implementation.hookwrapper)]
        plugins = [implementation.plugin for implementation in answering]
        return [
            (
                str(implementation.plugin_name),
                self.manager.subset_hook_caller(hook, remove_plugins=[other for other in plugins if other is not implementation.plugin]),
            )
            for implementation in answering
        ]

    # --- host plugins --------------------------------------------------------------------------------------------------------------

    def add_plugin(self, plugin: object, name: str | None = None) -> None:
        """Register wrappers and observers. A plugin with a misspelt hook is taken out again and quarantined.

        Raises:
            ContractError: It implements a hook that does not exist, or with arguments that do not exist.
        """
        registered = str(name or getattr(plugin, "__name__", type(plugin).__name__))
        if self.manager.is_registered(plugin):
            raise ContractError("the plugin is there already", source=registered, fix="it may be installed and given to the host as well: do one")
        try:
            self.manager.register(plugin, registered)
            self.manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            why = "; ".join(line for line in str(error).splitlines() if line.strip())[:500]
            self._quarantine(registered, why)
            raise ContractError(why, source=registered, fix="the hooks and their arguments are in docs/hooks/") from None
        for manager in self._managers.values():
            manager.register(plugin, registered)

    def load_plugins(self) -> None:
        """Load host plugins by entry point; a broken one is quarantined and the rest work."""
        for point in sorted(entry_points(group=PLUGINS), key=lambda point: point.name):
            try:
                self.add_plugin(point.load(), point.name)
            except KeyboardInterrupt:
                raise
            except DsrError:
                continue  # quarantined by add_plugin, with the reason
            except BaseException as error:  # noqa: BLE001 - foreign code, as above
                self._quarantine(point.name, f"importing {point.module} failed: {type(error).__name__}: {_first_line(error)}")

    # --- data sources --------------------------------------------------------------------------------------------------------------

    def open(
        self,
        name: str,
        slug: str,
        settings: Mapping[str, Any],
        *,
        base: Path | None = None,
        after: tuple[str, ...] = (),
        threads: int = 8,
        allow_inline: bool = False,
    ) -> DataSource:
        """Configure a data source and register it.

        Args:
            name: Its name, as the controller calls it (``stripe-eu``).
            settings: The connector's settings; secrets as references (``env:NAME``, ``file:path``, ``keyring:service/name``).
            base: What relative ``file:`` references are relative to.

        Raises:
            ConfigError: The connector cannot be had, or a setting is wrong: names the field, never its value.
        """
        if name in self.sources:
            raise ConfigError("there are two data sources of this name", source=name, fix="rename one")
        connector_class = self.load(slug)
        config = _configured(connector_class, name, settings, base, allow_inline=allow_inline)
        try:
            connector = connector_class(config, name=name)
        except DsrError:
            raise
        except Exception as error:  # noqa: BLE001 - an author's __init__ must not take the host along
            raise ContractError(f"the connector {slug!r} cannot be made: {type(error).__name__}", source=name) from None
        source = DataSource(name, connector, after, min(threads, connector.connections or threads), _account(slug, config))
        manager = _manager()
        for known, plugin in self.manager.list_name_plugin():
            manager.register(plugin, known)
        manager.register(connector, name=f"source:{name}")
        self._managers = {**self._managers, name: manager}
        self.sources = {**self.sources, name: source}
        return source

    def close(self, name: str) -> None:
        """Take a data source out again."""
        if name not in self.sources:
            raise ConfigError("there is no such data source", source=name, fix=f"sources: {', '.join(self.sources) or 'none'}")
        self.sources = {other: source for other, source in self.sources.items() if other != name}
        self._managers = {other: manager for other, manager in self._managers.items() if other != name}

    def caller(self, hook: str, source: str, connector: Connector | None = None) -> Callable[..., Any]:
        """The hook as one data source answers it: no other source's connector is near, the host's wrappers stand around it.

        Args:
            connector: Whose answer is wanted, for a caller who holds a connection of its. None for whatever is configured now.

        Raises:
            ConfigError: The data source was taken out.
            TransientError: It was set up anew, with another connector than the one wanted.
        """
        manager = self._managers.get(source)
        if manager is None:
            raise ConfigError("this data source is not configured any more", source=source)
        if connector is not None and not manager.is_registered(connector):
            raise TransientError("was set up anew at this moment", source=source)
        caller: Callable[..., Any] = getattr(manager.hook, hook)
        return caller

    def check_after(self, absent: Collection[str] = ()) -> None:
        """Refuse orders between data sources that name a stranger or run in a circle.

        Args:
            absent: Data sources that are configured and not open (switched off, or broken): nothing waits for them.

        Raises:
            ConfigError: Names the circle or the stranger.
        """
        state: dict[str, int] = {}

        def visit(name: str, trail: tuple[str, ...]) -> None:
            if state.get(name) == 2:
                return
            if name in trail:
                raise ConfigError(f"the order runs in a circle: {' -> '.join((*trail[trail.index(name) :], name))}", field=f"sources.{name}.after")
            for before in self.predecessors(name):
                visit(before, (*trail, name))
            state[name] = 2

        for name, source in self.sources.items():
            for before in source.after:
                if before not in self.sources and before not in absent:
                    raise ConfigError(f"there is no data source {before!r}", field=f"sources.{name}.after", fix=f"sources: {', '.join(self.sources)}")
            visit(name, ())

    def predecessors(self, name: str) -> tuple[str, ...]:
        """Data sources whose erasures come before this one's: as configured, and as its connector declares."""
        sources = self.sources
        if name not in sources:
            return ()
        source = sources[name]
        declared = [other.name for other in sources.values() if other.connector.slug in source.connector.after and other.name != name]
        return tuple(dict.fromkeys((*(before for before in source.after if before in sources), *declared)))


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _about(point: EntryPoint) -> tuple[str, str, str]:
    """Name, version and summary of the distribution that provides it, as far as they can be read: an installation may be damaged."""
    try:
        metadata = point.dist.metadata if point.dist else None
        if metadata is not None:
            said = {key: metadata[key] for key in ("Name", "Version", "Summary") if key in metadata}
            return said.get("Name", "(unknown)"), said.get("Version", ""), said.get("Summary", "")
    except Exception as error:  # noqa: BLE001 - one damaged distribution must not hide the others
        _LOG.warning("the metadata of the connector %s cannot be read: %s", point.name, type(error).__name__)
    return "(unknown)", "", ""


def _accepted(loaded: object, slug: str) -> type[Connector]:
    if not (isinstance(loaded, type) and issubclass(loaded, Connector)):
        raise ContractError("the entry point names no subclass of Connector", source=slug)
    if loaded.slug != slug:
        raise ContractError(f"the entry point is called {slug!r}, the connector {loaded.slug!r}: they must agree", source=slug)
    return loaded


def _configured(connector: type[Connector], name: str, settings: Mapping[str, Any], base: Path | None, *, allow_inline: bool) -> Any:
    """The connector's settings, with secret references resolved."""
    values = dict(settings)
    for key, info in connector.Config.model_fields.items():
        if key in values and isinstance(values[key], str) and _is_secret(info.annotation):
            values[key] = resolve(values[key], field=f"sources.{name}.{key}", base=base, allow_inline=allow_inline)
    try:
        return connector.Config.model_validate(values)
    except ValidationError as error:
        detail = error.errors(include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in detail["loc"])
        said = {"missing": "is missing", "extra_forbidden": "is not a setting of this connector"}.get(
            detail["type"], detail["msg"].removeprefix("Value error, ")
        )
        known = ", ".join(connector.Config.model_fields)
        field = f"sources.{name}.{where}" if where else f"sources.{name}"
        raise ConfigError(said, field=field, fix=f"settings of {connector.slug}: {known}") from None


_NO_ACCOUNT = ("allow_private_hosts",)
"""Settings that lead nowhere else, whatever they say."""


def _account(slug: str, config: ConnectorConfig) -> str:
    """Which account a data source leads to, in 32 hex digits. A secret may be rotated, and an update may bring settings of its own: what is left
    at its default counts for nothing."""
    fields = type(config).model_fields
    hidden = {name for name, info in fields.items() if _is_secret(info.annotation)} | set(_NO_ACCOUNT)
    told = config.model_dump(exclude=hidden, exclude_defaults=True)
    if isinstance(told.get("base_url"), str):
        told["base_url"] = told["base_url"].rstrip("/")
    text = json.dumps([slug, told], default=_plain, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    """A setting that JSON does not know; the same in every process, whatever order a set comes in, and without a secret that hides deeper down."""
    if isinstance(value, set | frozenset):
        return sorted(str(item) for item in value)
    return str(value)


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in getattr(annotation, "__args__", ())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
