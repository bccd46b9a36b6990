"""What a host works with: its data sources as they are open at the moment, the mail server, the engine's patience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dsr_sdk.host.desk import now
from dsr_sdk.host.office import Office
from dsr_sdk.ledger.database import reading

if TYPE_CHECKING:
    from datetime import datetime

    from dsr_sdk.engine import Options
    from dsr_sdk.errors import DsrError
    from dsr_sdk.host.inventory.sources import InventorySources
    from dsr_sdk.host.runner import Runner
    from dsr_sdk.ledger.store import Ledger
    from dsr_sdk.mail.post import Post
    from dsr_sdk.registry import Registry

__all__ = ["Equipment"]


class Equipment(Office):
    """Base of `Host`."""

    ledger: Ledger
    registry: Registry
    _sources: InventorySources
    _runner: Runner

    @property
    def broken(self) -> Mapping[str, DsrError]:
        """Configured data sources that cannot be used, and why. They count as *could not check* everywhere."""
        return self._sources.broken

    def usable_sources(self) -> list[str]:
        """The data sources that take part in request handling, those that are broken at the moment among them."""
        return [name for name in (*self.registry.sources, *self.broken) if name not in self._sources.aside]

    @property
    def titles(self) -> Mapping[str, str]:
        """What people call the data sources that stand in the inventory."""
        return self._sources.titles

    def refresh_sources(self, *, again: bool = False) -> bool:
        """Follow what was changed in the inventory meanwhile, in any process; whether anything was. Planning and running do so by themselves.

        Args:
            again: Also try those once more that are broken: a secret that was missing may be there now.
        """
        return self._sources.refresh(again=again)

    @property
    def post(self) -> Post | None:
        """In whose name mail is sent, and through which server; None without ``[mail]``."""
        return self._runner.post

    @property
    def options(self) -> Options:
        """How patient the engine is."""
        return self._runner.options

    def step(self, name: str) -> None:
        """Tell a test that the journal has come so far."""
        self._runner.on_step(name)

    def next_due(self) -> datetime | None:
        """When the next thing is due at a data source: a poll, a retry, a verification; None when nothing waits for its time."""
        with reading(self.ledger.engine) as connection:
            return self.ledger.tasks.next_due(connection, after=now())

    def stop(self) -> None:
        """Let running drains finish what is under way, and end."""
        self._runner.stop.set()
