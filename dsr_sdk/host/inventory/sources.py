"""The inventory's data sources, opened beside those of ``dsr.toml`` and kept as the ledger says, whoever changes it.

Every change of the inventory leaves a new mark in the ledger. Looking at the mark is one small query, so a host looks before it plans and
runs, and follows what another process has decided.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from dsr_sdk.errors import ConfigError, ContractError, DsrError
from dsr_sdk.ledger.database import reading
from dsr_sdk.ledger.desk import inventory
from dsr_sdk.ledger.schema import meta

if TYPE_CHECKING:
    from dsr_sdk.host.config import HostConfig
    from dsr_sdk.host.runner import Runner
    from dsr_sdk.ledger.store import Ledger
    from dsr_sdk.registry import Registry

__all__ = ["InventorySources", "changed", "set_up"]

_MARK: Final = "inventory"


def changed(connection: Connection) -> None:
    """Leave a new mark, in the transaction that changes the inventory."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    mark = uuid.uuid4().hex
    connection.execute(insert(meta).values(key=_MARK, value=mark).on_conflict_do_update(index_elements=["key"], set_={"value": mark}))


def set_up(runner: Runner, registry: Registry, name: str) -> DsrError | None:
    """Make the HTTP side of an open data source. One that cannot be made is closed again; why, is the answer."""
    error: DsrError | None = None
    try:
        runner.http(registry.sources[name])
    except DsrError as caught:  # a wrong base URL is this source's trouble alone
        error = caught
    except Exception as caught:  # noqa: BLE001 - an author's auth() or headers() must not take the host along
        error = ContractError(f"the connector cannot be set up: {type(caught).__name__}", source=name)
    if error is not None:
        registry.close(name)
    return error


@dataclass(frozen=True, slots=True)
class _Row:
    """What decides how a data source is opened."""

    connector: str
    settings: str


class InventorySources:
    """Keeps the registry in step with the inventory. Threads may share it.

    Args:
        broken: The data sources of ``dsr.toml`` that cannot be used.
    """

    def __init__(self, ledger: Ledger, registry: Registry, runner: Runner, config: HostConfig, broken: Mapping[str, DsrError]) -> None:
        self._ledger = ledger
        self._registry = registry
        self._runner = runner
        self._config = config
        self._lock = threading.Lock()
        self._mark: str | None = None
        self._open: dict[str, _Row] = {}
        self.broken: Mapping[str, DsrError] = dict(broken)
        """Data sources that cannot be used, and why: those of ``dsr.toml`` and of the inventory. Replaced as a whole."""
        self.titles: Mapping[str, str] = {}
        """What people call the data sources of the inventory."""
        self.aside: frozenset[str] = frozenset()
        """Data sources of the inventory that are set up and take no part in request handling. What is under way there is finished."""

    def refresh(self, *, again: bool = False) -> bool:
        """Open, close and open anew what has changed since the last look. Whether anything had.

        Args:
            again: Try those that are broken again, although nothing has changed: a missing secret may be there now.

        Raises:
            LedgerError: The ledger cannot be read. Nothing was changed.
        """
        with self._lock:
            with reading(self._ledger.engine) as connection:  # one snapshot: the mark is that of the rows
                mark = connection.execute(select(meta.c.value).where(meta.c.key == _MARK)).scalar()
                if mark == self._mark and not again:
                    return False
                rows = connection.execute(
                    select(inventory.c.name, inventory.c.connector, inventory.c.settings, inventory.c.handling, inventory.c.title).where(
                        inventory.c.state == "accepted", inventory.c.connector.is_not(None)
                    )
                ).all()
            # dsr.toml wins: a data source that stands in both is the file's.
            wanted = {row.name: _Row(row.connector, row.settings) for row in rows if row.name not in self._config.sources}
            self._follow(wanted)
            self.titles = {row.name: row.title for row in rows if row.name in wanted}
            self.aside = frozenset(row.name for row in rows if not row.handling and row.name in wanted)
            known, self._mark = self._mark, mark
            return mark != known

    def _follow(self, wanted: Mapping[str, _Row]) -> None:
        for name in [name for name, row in self._open.items() if wanted.get(name) != row]:
            del self._open[name]
            self._registry.close(name)
            self._runner.forget(name)
        broken = {name: error for name, error in self.broken.items() if name in self._config.sources}
        for name, row in wanted.items():
            if name not in self._open:
                error = self._opened(name, row)
                if error is None:
                    self._open[name] = row
                else:
                    broken[name] = error
        self.broken = broken

    def _opened(self, name: str, row: _Row) -> DsrError | None:
        """Open one. The error when it cannot be used."""
        try:
            settings = json.loads(row.settings)
            self._registry.open(name, row.connector, settings, base=self._config.base)
        except ValueError:
            return ConfigError("its settings cannot be read", source=name, fix="give them again")
        except DsrError as error:
            return error
        unusable = set_up(self._runner, self._registry, name)
        if unusable is not None:
            return unusable
        try:
            self._registry.check_after({*self._config.sources, *self.broken})
        except ConfigError as circle:
            self._registry.close(name)
            self._runner.forget(name)
            return circle
        return None
