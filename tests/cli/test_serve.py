"""``dsr serve``: the portal on a port, its set-up link, gentle ends, and what it refuses."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cli.conftest import Dsr
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


def free_port() -> int:
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def served(dsr: Dsr, *args: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """``dsr serve --json`` in a process, answering."""
    process = dsr.process("serve", "--json", "--port", str(free_port()), *args)
    try:
        text = ""
        assert process.stdout is not None
        for line in process.stdout:
            text += line
            if line.startswith("}"):
                break
        assert text, process.communicate(timeout=30)[1]
        told = json.loads(text)
        deadline = time.monotonic() + 45
        while True:
            try:
                assert get(f"{told['url']}/healthz") == "ok"
                break
            except urllib.error.URLError:
                assert time.monotonic() < deadline
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.1)
        yield process, told
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def get(url: str) -> str:
    """A page."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        text: str = answer.read().decode()
        return text


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.thorough)])
def test_it_serves_and_ends_gently(desk: Dsr, how: signal.Signals) -> None:
    """The link of the first start makes the first administrator; a signal ends it with 0 and no traceback."""
    with served(desk) as (process, told):
        assert re.fullmatch(rf"{re.escape(told['url'])}/set-up/[\w-]{{43}}", told["set_up"])
        assert "password" in get(told["set_up"])
        assert "Example GmbH" in get(f"{told['url']}/privacy/en")
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out == ""
        assert "the portal has stopped" in err
        assert "Traceback" not in err


def test_what_was_decided_is_carried_out_by_the_engine(desk: Dsr) -> None:
    """With accounts there is no set-up link; the engine works what the command line has given free."""
    desk("accounts", "add", "alice@example.com", "--role", "admin", "--password-file", "-", input="a sentence that opens doors\n")
    number = desk("case", "new", "--type", "deletion", "--email", "ada@example.com", "--country", "DE").out.strip()
    desk("case", "message", number, "hello")
    with served(desk) as (process, told):
        assert told["set_up"] is None
        assert told["engine"] is True
        deadline = time.monotonic() + 30
        while "sent" not in desk("outbox", "list", number).out and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert "sent" in desk("outbox", "list", number).out


@pytest.mark.thorough
def test_on_postgresql(desk: Dsr, postgres_url: str) -> None:
    """The same over a PostgreSQL ledger."""
    path = desk.directory / "dsr.toml"
    path.write_text(path.read_text().replace("sqlite:///dsr.db", postgres_url))
    desk("init")
    with served(desk) as (process, told):
        assert told["set_up"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_public_address_needs_https(desk: Dsr) -> None:
    """Passwords are not served in the open by mistake."""
    ran = desk("serve", "--host", "0.0.0.0", code=3)
    assert "without https" in ran.err
    assert "--behind-proxy" in ran.err


@pytest.mark.parametrize("why", ["--behind-proxy", "--insecure", "https"])
def test_a_public_address_is_served_when_it_was_meant(desk: Dsr, why: str) -> None:
    """A proxy, an explicit word, or https in public_url: then the port is opened."""
    if why == "https":
        path = desk.directory / "dsr.toml"
        path.write_text(path.read_text().replace("[workflow]", '[workflow]\npublic_url = "https://privacy.example.com"'))
    with socket.create_server(("0.0.0.0", 0)) as taken:  # a port that somebody has: it gets as far as that, and no further
        port = str(taken.getsockname()[1])
        ran = desk("serve", "--host", "0.0.0.0", "--port", port, *([] if why == "https" else [why]), code=3)
    assert "cannot listen" in ran.err


def test_a_port_that_is_taken(desk: Dsr) -> None:
    """It says so, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = desk("serve", "--port", str(taken.getsockname()[1]), code=3)
    assert "cannot listen on 127.0.0.1" in ran.err
    assert "--port 0" in ran.err


def test_without_a_workflow(dsr: Dsr) -> None:
    """It says how to get one."""
    assert "dsr init --workflow" in dsr("serve", code=3).err


def test_without_the_extra(desk: Dsr, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing package is named by the extra that brings it."""
    for name in [name for name in sys.modules if name.startswith(("dsr_sdk.portal", "fastapi"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert "pip install 'dsr-sdk[portal]'" in desk("serve", code=3).err


def test_init_with_a_workflow(dsr: Dsr) -> None:
    """The tables are added once, with comments; the rest of the file stays as it was."""
    before = (dsr.directory / "dsr.toml").read_text()
    assert dsr("init", "--workflow", "--json").json["tables"] == ["workflow", "privacy_center"]
    text = (dsr.directory / "dsr.toml").read_text()
    assert text.startswith(before.rstrip())
    assert "# keep_days" in text
    assert dsr("init", "--workflow", "--json").json["tables"] == []
    assert (dsr.directory / "dsr.toml").read_text() == text
    assert dsr("case", "list", "--json").json["cases"] == []
