"""What the examples stand on: the command line, six vendors' sandboxes, and a mail server on loopback that keeps every letter."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

__all__ = ["DSR", "MAIL", "ROOT", "SOURCES", "mail_server", "readable", "sandboxes", "say"]

ROOT = Path(__file__).resolve().parent.parent
DSR = Path(sys.executable).with_name("dsr")

SOURCES = """
[sources.newsletter]
connector = "email"
vendor = "Newsletter Press"
privacy_address = "privacy@newsletter-press.example"
active = true

[sources.archive]
connector = "manual"
instructions = "Look for the folder of the data subject on shelf 4."
instructions_deletion = "Remove the folder of the data subject from shelf 4, and shred it."
instructions_copy = "Scan the folder of the data subject on shelf 4, and attach the scan. The folder stays."
owner = "Office management"
"""

MAIL = """
[mail]
host = "127.0.0.1"
port = {port}
security = "none"
domain = "requests.example.com"
agent = "{agent}"
"""


def say(text: str) -> None:
    """A heading."""
    sys.stdout.write(f"\n\033[1m== {text}\033[0m\n" if sys.stdout.isatty() else f"\n== {text}\n")
    sys.stdout.flush()


@contextmanager
def sandboxes(place: Path, people: Path = ROOT / "examples" / "people.json") -> Iterator[dict[str, str]]:
    """``dsr sandbox up`` in the background, with a host in `place` that uses it; slug -> URL. Ctrl-C does not reach it: it ends with us."""
    command = [DSR, "sandbox", "up", "--config-out", str(place), "--people", str(people), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        text = ""
        for line in process.stdout:
            text += line
            if line.startswith("}"):
                break
        yield {row["slug"]: row["url"] for row in json.loads(text)["sandboxes"]}
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def readable(content: bytes) -> str:
    """A letter as its reader sees it: no coded lines."""
    message: Any = message_from_bytes(content, policy=policy.default)
    body = message.get_body(("plain",))
    head = "".join(f"{name}: {message[name]}\n" for name in ("From", "To", "Subject", "Date") if message[name])
    return f"{head}\n{body.get_content() if body is not None else ''}"


@contextmanager
def mail_server(letters: Path) -> Iterator[int]:
    """A real SMTP server on loopback that keeps every letter in a directory, as ``1.eml`` and so on, and beside it as text to read; its port."""
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import SMTP, Envelope, Session

    letters.mkdir(exist_ok=True)
    count = len(list(letters.glob("*.eml")))

    class Keep:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
            nonlocal count
            count += 1
            (letters / f"{count}.eml").write_bytes(envelope.original_content or b"")
            (letters / f"{count}.txt").write_text(readable(envelope.original_content or b""), encoding="utf-8")
            return "250 taken"

    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    controller = Controller(Keep(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()
