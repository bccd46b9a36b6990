"""``make portal``: the example sets itself up quickly, twice without harm, and shows every stage."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from dsr_sdk import Request
from dsr_sdk.engine import Deed
from dsr_sdk.host import Host
from dsr_sdk.host.process.panel import FINAL, SourceState
from tests.docs.pages import ROOT

pytest.importorskip("uvicorn", reason="the portal is not installed")

EXAMPLE = [sys.executable, str(ROOT / "examples" / "portal.py")]


def set_up(place: Path, *more: str) -> str:
    """Set the example up and do not serve it; what it says."""
    done = subprocess.run([*EXAMPLE, "--place", str(place), "--no-serve", *more], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.thorough
def test_it_shows_every_type_and_stage_and_twice_is_once(tmp_path: Path) -> None:
    """Five types, four stages, one overdue, one unverified, one duplicate, one with evidence, one unread answer; nothing is made twice."""
    said = set_up(tmp_path)
    passwords = {line.split()[0]: line.split()[2] for line in said.splitlines() if line.startswith(("alice@", "bob@"))}
    with Host.open(tmp_path / "dsr.toml") as host:
        first = {case.number: case for case in host.cases()}
        assert {case.type for case in first.values()} == {"deletion", "copy", "do_not_sell", "do_not_mail", "right_to_edit"}
        stages = Counter(case.stage for case in first.values())
        assert set(stages) == {"review", "process", "reply", "closed"}
        counts = host.inbox.counts()
        assert (counts.overdue, counts.unread) == (1, 1)
        assert any(case.channel == "privacy_center" and case.verified_by is None for case in first.values())
        assert any(case.duplicate_of for case in first.values())
        (mine,) = [case for case in first.values() if case.channel == "mine_app"]
        assert len(host.inbox.review(mine.number).evidence) == 3
        for account, password in passwords.items():
            assert host.accounts.sign_in(account, password, client="tests")
        assert [field.name for field in host.config.privacy_center.fields] == ["customer_number", "relation"]
        assert len(host.usable_sources()) == 8
    letters = len(list((tmp_path / "mail").iterdir()))
    assert letters >= 3  # to the vendor, to two people; the rest leaves when it is served
    again = set_up(tmp_path)
    assert not [password for password in passwords.values() if password in again]
    with Host.open(tmp_path / "dsr.toml") as host:
        assert {case.number: case.stage for case in host.cases()} == {number: case.stage for number, case in first.items()}
    assert len(list((tmp_path / "mail").iterdir())) == letters


@pytest.mark.thorough
def test_it_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    """The portal answers where it says; a signal ends everything it has started."""
    process = subprocess.Popen([*EXAMPLE, "--place", str(tmp_path), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = next(line.split()[1] for line in process.stdout if line.startswith("portal "))
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
                    assert answer.read() == b"ok"
                break
            except urllib.error.URLError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "Traceback" not in err
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.thorough
def test_a_deletion_is_seen_to_its_end_and_nobody_is_back(tmp_path: Path) -> None:
    """What takes a vendor ten days takes seconds, and the page says so; started again, the sandboxes know nobody who was erased in them."""
    process = subprocess.Popen([*EXAMPLE, "--place", str(tmp_path), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "days pass in seconds" in line:
                break
        assert "days pass in seconds" in said
        with Host.open(tmp_path / "dsr.toml") as host:
            assert "seconds here" in host.config.portal.notice
            (number,) = [case.number for case in host.cases() if case.type == "deletion" and case.stage == "process"]
            panel = host.processing.panel(number)
            host.processing.give_free(number, [row.source for row in panel.sources if row.selectable], by="alice@example.com", seen=panel.seen)
            deadline = time.monotonic() + 90
            while left := [row for row in host.processing.panel(number).sources if row.state not in FINAL]:
                assert time.monotonic() < deadline, [(row.source, row.state) for row in left]
                for row in left:
                    if row.state in (SourceState.BY_HAND, SourceState.EMAIL_SENT):
                        host.processing.mark_done(number, row.source, by="alice@example.com")
                time.sleep(0.5)
            host.workflow.finish(number, by="alice@example.com", all_done=True)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from days import replay  # type: ignore[import-not-found]  # an example's, beside the package
        from stage import sandboxes  # type: ignore[import-not-found]  # likewise
    finally:
        sys.path.remove(str(ROOT / "examples"))
    again = tmp_path / "again"
    with sandboxes(again) as urls, Host.open(tmp_path / "dsr.toml") as kept:
        assert replay(kept, urls, (again / "dsr.toml").read_text(), again / "secrets") == 2  # this one, and the one that was closed
        with Host.open(again / "dsr.toml") as looking:
            for case in (number, next(case.number for case in kept.cases() if case.stage == "closed")):
                subject = kept.request(case).model_dump(mode="json")["subject"]
                plan = looking.plan(looking.submit(Request.parse({"type": "deletion", "subject": subject})), wait=20)
                gone = {row.source for row in kept.processing.panel(case).sources if row.last_deleted}
                back = {row.source for row in plan.sources for match in row.matches if row.source in gone and match.deed is Deed.ERASE}
                assert gone
                assert not back


def test_make_has_a_target_for_it() -> None:
    """``make portal`` is there and explains itself, and the demo names it."""
    makefile = (ROOT / "Makefile").read_text()
    assert "\nportal: $(INSTALLED) ## " in makefile
    assert "make portal" in (ROOT / "examples" / "demo.py").read_text()
    assert json.loads((ROOT / "examples" / "people.json").read_text())
