"""API keys: shown once, kept as a hash, over when they are revoked or expired."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import event

from dsr_sdk.errors import RequestError
from dsr_sdk.host.people.roles import Role
from tests.agents import ALICE
from tests.world import World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that stands still until it is moved."""
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


def test_a_key_opens_with_its_role(world: World, clock: time_machine.Traveller) -> None:
    """Its text is recognised, and says who it is and what it may."""
    host = world.open()
    id_, text = host.accounts.make_key(" shop ", Role.SUPPORT, by=ALICE)
    assert text.startswith("dsr_")
    assert len(text) == 47
    found = host.accounts.key(text)
    assert found is not None
    assert (found.id, found.name, found.role, found.created_by, found.expires_at) == (id_, "shop", Role.SUPPORT, ALICE, None)
    for wrong in ("", "dsr_", text[:-1], text + "x", text.upper(), "dsr_" + "é" * 43, text.replace("dsr_", "DSR_")):
        assert host.accounts.key(wrong) is None


def test_a_revoked_key_opens_nothing(world: World) -> None:
    """At once, and in every process; twice is harmless."""
    host, other = world.open(), world.open()
    id_, text = host.accounts.make_key("shop", "agent", by=ALICE)
    kept_id, kept = host.accounts.make_key("till", "agent", by=ALICE)
    assert other.accounts.key(text) is not None
    host.accounts.revoke_key(id_, by=ALICE)
    host.accounts.revoke_key(id_, by=ALICE)
    assert other.accounts.key(text) is None
    assert other.accounts.key(kept) is not None
    listed = host.accounts.keys()
    assert [(key.id, key.revoked_at is not None) for key in listed] == [(kept_id, False), (id_, True)]
    assert [entry["event"] for entry in host.history("HOST")].count("api_key.revoked") == 1
    with pytest.raises(RequestError, match="no such API key"):
        host.accounts.revoke_key(999, by=ALICE)


def test_a_key_expires(world: World, clock: time_machine.Traveller) -> None:
    """To the second."""
    host = world.open()
    _, text = host.accounts.make_key("shop", Role.AGENT, by=ALICE, days=30)
    clock.shift(timedelta(days=30) - timedelta(seconds=1))
    assert host.accounts.key(text) is not None
    clock.shift(timedelta(seconds=1))
    assert host.accounts.key(text) is None


def test_use_is_noted_once_an_hour(sqlite_world: World, clock: time_machine.Traveller) -> None:
    """A call must not cost a write."""
    host = sqlite_world.open()
    _, text = host.accounts.make_key("shop", Role.AGENT, by=ALICE)
    assert host.accounts.keys()[0].used_at is None
    written: list[str] = []
    event.listen(host.ledger.engine, "before_cursor_execute", lambda *said: written.append(said[2]) if said[2].startswith("UPDATE") else None)
    for _ in range(60):
        host.accounts.key(text)
        clock.shift(timedelta(minutes=1))
    assert len(written) == 1
    assert host.accounts.keys()[0].used_at == START
    host.accounts.key(text)
    assert host.accounts.keys()[0].used_at == START + timedelta(hours=1)


def test_the_text_is_kept_nowhere(sqlite_world: World) -> None:
    """Not in the ledger, not in the audit log, not in a repr."""
    host = sqlite_world.open()
    _, text = host.accounts.make_key("shop", Role.AGENT, by=ALICE)
    assert text not in repr(host.accounts.key(text))
    assert text not in str(host.history("HOST"))
    host.close()
    assert text.encode() not in sqlite_world.db.read_bytes()


@pytest.mark.parametrize(
    ("name", "role", "days", "field"),
    [("", "agent", None, "name"), ("x" * 101, "agent", None, "name"), ("x", "owner", None, "role"), ("x", "agent", 0, "days")],
)
def test_wrong_fields_are_named(sqlite_world: World, name: str, role: str, days: int | None, field: str) -> None:
    """Nothing is made of them."""
    host = sqlite_world.open()
    with pytest.raises(RequestError) as failure:
        host.accounts.make_key(name, role, by=ALICE, days=days)
    assert failure.value.field == field
    assert not host.accounts.keys()
