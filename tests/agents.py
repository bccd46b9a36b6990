"""Agents for tests: their passwords are hashed at a cost that a test suite can pay."""

from __future__ import annotations

import functools

import pytest

import dsr_sdk.host.people.proofs
from dsr_sdk.host import Host
from dsr_sdk.host.people.passwords import Cost, Passwords
from dsr_sdk.host.people.roles import Role

__all__ = ["ALICE", "BOB", "CHEAP", "CLIENT", "PASSWORD", "quick_passwords", "with_agents"]

ALICE = "alice@example.com"
BOB = "bob@example.com"
PASSWORD = "correct horse battery staple"
CLIENT = "192.0.2.10"
CHEAP = Cost(memory=64, passes=1, lanes=1)


@pytest.fixture
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that take a millisecond instead of a tenth of a second."""
    monkeypatch.setattr(dsr_sdk.host.people.proofs, "Passwords", functools.partial(Passwords, CHEAP))


def with_agents(host: Host) -> Host:
    """The host with an admin, Alice, and an agent, Bob."""
    host.accounts.create(ALICE, "Alice", Role.ADMIN, PASSWORD, by="set-up")
    host.accounts.create(BOB, "Bob", Role.AGENT, PASSWORD, by=ALICE)
    return host
