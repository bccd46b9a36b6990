"""``dsr sandbox``."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dsr_sdk.cli.sandboxes import EXAMPLES
from dsr_sdk.request import Request
from dsr_sdk.testing import Person
from tests.cli.conftest import Dsr

ROOT = Path(__file__).parents[2]


@contextmanager
def up(dsr: Dsr, *args: str) -> Iterator[Any]:
    """``dsr sandbox up --json`` of the toy shop, for as long as the block runs; what it printed."""
    process = dsr.process("sandbox", "up", "toyshop", "--json", *args)
    assert process.stdout is not None
    try:
        text = ""
        while True:
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            text += line
            if line == "}\n":
                break
        yield json.loads(text)
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "sandboxes stopped" in err


def test_list(dsr: Dsr) -> None:
    """What is installed; one that cannot be loaded says so."""
    out = dsr("sandbox", "list").out
    assert "toyshop    Toy Shop" in out
    rows = {row["slug"]: row for row in dsr("sandbox", "list", "--json").json["sandboxes"]}
    assert rows["toyshop"]["settings"] == ["shop", "token"]
    assert rows["toybroken"]["broken"] == "cannot be loaded: RuntimeError"


def test_up_with_a_host_beside_it(dsr: Dsr, tmp_path: Path) -> None:
    """--config-out makes a host that works at once: checked, run with its own example requests."""
    host = tmp_path / "demo"
    with up(dsr, "--config-out", str(host)) as told:
        (row,) = told["sandboxes"]
        assert row["settings"] == {"base_url": row["url"] + "/v1", "allow_private_hosts": True, "shop": "sandbox"}
        assert row["secrets"] == {"token": "made-up-token"}
        config = ("--config", str(host / "dsr.toml"))
        assert "toyshop: ok" in dsr("sources", "check", *config).out
        done = dsr("run", str(host / "requests.jsonl"), "--yes", "--json", *config, code=1).json
        assert len(done["cases"]) == 7
        with urllib.request.urlopen(row["control"] + "counts") as reply:
            assert len(json.load(reply)["effects"]) >= 2
    settings = tomllib.loads((host / "dsr.toml").read_text())["sources"]["toyshop"]
    assert settings["token"] == "file:secrets/toyshop-token"
    assert (host / "secrets/toyshop-token").stat().st_mode & 0o777 == 0o600
    with up(dsr, "--config-out", str(host)) as told:
        settings = tomllib.loads((host / "dsr.toml").read_text())["sources"]["toyshop"]
        assert settings["base_url"] == told["sandboxes"][0]["url"] + "/v1"


def test_up_prints_what_to_configure(dsr: Dsr) -> None:
    """Without a host it prints a snippet whose secrets are references, and stops at SIGTERM, too."""
    process = dsr.process("sandbox", "up", "toyshop", stderr=subprocess.STDOUT)
    assert process.stdout is not None
    text = ""
    deadline = time.monotonic() + 60
    while "press Ctrl-C" not in text and time.monotonic() < deadline:
        text += process.stdout.readline()
    process.terminate()
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0, text + rest
    snippet = text.partition("# for dsr.toml")[2].partition("# the sandboxes'")[0]
    assert tomllib.loads(snippet)["sources"]["toyshop"]["token"] == "env:DSR_SANDBOX_TOYSHOP_TOKEN"
    assert "export DSR_SANDBOX_TOYSHOP_TOKEN=made-up-token" in text


def test_people_of_ones_own(dsr: Dsr) -> None:
    """--people says whom they know."""
    (dsr.directory / "people.json").write_text(json.dumps([{"email": "bob@example.org"}]))
    with up(dsr, "--people", "people.json") as told:
        assert told["people"] == 1


def test_errors(dsr: Dsr) -> None:
    """A stranger, a file that is none, a person that is none."""
    assert "there is no such sandbox" in dsr("sandbox", "up", "nosuch", code=3).err
    assert "cannot be read" in dsr("sandbox", "up", "--people", "nosuch", code=2).err
    (dsr.directory / "people.json").write_text("{}")
    assert "is not a list" in dsr("sandbox", "up", "--people", "people.json", code=2).err
    (dsr.directory / "people.json").write_text('[{"email": "a@example.com"}, {"mail": 1}]')
    assert "people.json[1]: is not a person" in dsr("sandbox", "up", "--people", "people.json", code=2).err
    ran = dsr("sandbox", "up", "toybroken", code=3)
    assert "warning: toybroken: cannot be loaded: RuntimeError" in ran.err
    assert "none can be served" in ran.err


def test_the_examples() -> None:
    """They are valid, under reserved domains, with references, and the same in the package and in ``examples/``."""
    people = [Person(**row) for row in json.loads((EXAMPLES / "people.json").read_text())]
    requests = [Request.parse(line) for line in (EXAMPLES / "requests.jsonl").read_text().splitlines()]
    addresses = [person.email for person in people] + [row.value for one in requests for row in one.subject.identities if row.kind == "email"]
    assert {address.rpartition("@")[2] for address in addresses} == {"example.com", "example.org", "example.net"}
    assert len({one.reference for one in requests}) == len(requests)
    assert {one.type.value for one in requests} == {"deletion", "copy", "do_not_sell"}
    for name in ("people.json", "requests.jsonl"):
        assert (ROOT / "examples" / name).read_bytes() == (EXAMPLES / name).read_bytes()
