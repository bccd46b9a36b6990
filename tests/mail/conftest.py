"""Mail servers on loopback: aiosmtpd, which behaves, and a scripted one that misbehaves byte by byte."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dsr_sdk.mail import MailSettings


class Server(Controller):
    """aiosmtpd on a port the system chose (its own controller needs to know the port beforehand)."""

    server: asyncio.Server

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]  # aiosmtpd's own


class Inbox:
    """Accepts everything and keeps it. `refuse` answers RCPT for an address; `answer` the end of DATA."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.refuse: dict[str, str] = {}
        self.answer = "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answer.startswith("2"):
            self.messages.append(envelope)
        return self.answer


@pytest.fixture
def inbox() -> Inbox:
    """The handler of `serve`'s servers."""
    return Inbox()


@pytest.fixture
def serve(inbox: Inbox) -> Iterator[Callable[..., int]]:
    """Start an aiosmtpd server around the inbox with the given options; answers its port."""
    running: list[Server] = []

    def start(**options: Any) -> int:
        server = Server(inbox, hostname="127.0.0.1", port=0, ready_timeout=30, **options)
        server.start()
        running.append(server)
        port: int = server.port
        return port

    yield start
    for server in running:
        server.stop()


@dataclass
class Script:
    """What the scripted server answers to each command, and what it heard.

    An answer is sent as it stands (a function is asked for it); None closes the connection, ``...`` says nothing more until the client
    goes away. ``hello`` is said first, ``end`` after the final dot, and ``content`` in the middle of a message, whose rest is not read.
    With ``hang up`` the connection is closed after ``end``.
    """

    answers: dict[str, bytes | Any | None] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    content: bytes = b""
    done: threading.Event = field(default_factory=threading.Event)

    def answer(self, command: str, default: bytes) -> Any:
        self.heard.append(command)
        answer = self.answers.get(command, default)
        return answer() if callable(answer) else answer


@pytest.fixture
def script() -> Script:
    """A script in which all goes well, to be changed by the test."""
    return Script()


@pytest.fixture
def scripted() -> Iterator[Callable[[Script], int]]:
    """Start the misbehaving server; answers its port."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(script: Script) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        thread = threading.Thread(target=_play, args=(listener, script), daemon=True)
        threads.append(thread)
        thread.start()
        port: int = listener.getsockname()[1]
        return port

    yield start
    for listener in listeners:
        listener.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def _play(listener: socket.socket, script: Script) -> None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return
    connection.settimeout(20)
    with connection, connection.makefile("rb") as lines:
        try:
            _converse(connection, lines, script)
        except OSError:
            pass
        finally:
            script.done.set()


def _converse(connection: socket.socket, lines: Any, script: Script) -> None:
    def say(command: str, default: bytes) -> bool:
        text = script.answer(command, default)
        if text is ...:
            lines.read()
            return False
        if text is None:
            return False
        connection.sendall(text)
        return True

    if not say("hello", b"220 mail.example\r\n"):
        return
    for line in lines:
        script.lines.append(line)
        command = line.split(None, 1)[0].decode().lower()
        if command == "data":
            if not say("data", b"354 go ahead\r\n"):
                return
            if "content" in script.answers:
                script.content = connection.recv(1)
                say("content", b"")
                return
            for part in lines:
                script.content += part
                if part == b".\r\n":
                    break
            else:
                return
            if not say("end", b"250 taken\r\n") or "hang up" in script.answers:
                return
        elif not say(command, b"221 bye\r\n" if command == "quit" else b"250 fine\r\n"):
            return


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1 and localhost."""

    cafile: Path
    context: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Made here, known to no authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    cafile, keyfile = folder / "certificate.pem", folder / "key.pem"
    cafile.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    keyfile.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cafile, keyfile)
    return Certificate(cafile, context)


@pytest.fixture
def settings() -> Callable[..., MailSettings]:
    """Settings for a server on this machine, without TLS unless said."""

    def make(port: int, **changed: Any) -> MailSettings:
        return MailSettings(**{"host": "127.0.0.1", "port": port, "security": "none", "timeout": 5, "data_timeout": 5, **changed})

    return make
