"""A mail server on loopback that keeps what it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from email import message_from_bytes, policy
from typing import Any

import pytest
from aiosmtpd.controller import Controller

__all__ = ["Inbox", "Server", "inbox"]


class Server(Controller):
    """aiosmtpd on a port the system chose (its own controller needs to know the port beforehand)."""

    server: asyncio.Server

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]  # aiosmtpd's own


class Inbox:
    """Takes every letter; `answer` is what it says at the end of one, and with `vanish` it says nothing and hangs up. `refuse` answers RCPT
    for an address."""

    def __init__(self) -> None:
        self.letters: list[Any] = []
        self.refuse: dict[str, str] = {}
        self.answer = "250 OK"
        self.vanish = False
        self.port = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    @property
    def texts(self) -> list[str]:
        """What the letters say, decoded."""
        return [message_from_bytes(letter.content, policy=policy.default).get_content() for letter in self.letters]

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.vanish:
            self.letters.append(envelope)
            server.transport.abort()
            await asyncio.sleep(0)
        elif self.answer.startswith("2"):
            self.letters.append(envelope)
        return self.answer

    @property
    def toml(self) -> str:
        """``[mail]`` for this server."""
        return f'[mail]\nhost = "127.0.0.1"\nport = {self.port}\nsecurity = "none"\ndomain = "requests.example.com"\nagent = "agent@example.com"'


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """A running server's inbox."""
    inbox = Inbox()
    server = Server(inbox, hostname="127.0.0.1", port=0, ready_timeout=30)
    server.start()
    inbox.port = server.port
    yield inbox
    server.stop()
