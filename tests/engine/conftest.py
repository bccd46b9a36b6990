"""What the engine's tests share: a host on each database in turn."""

from __future__ import annotations

from tests.postgres import postgres_server, postgres_url
from tests.world import memory, sqlite_world, world, world_template

__all__ = ["memory", "postgres_server", "postgres_url", "sqlite_world", "world", "world_template"]
