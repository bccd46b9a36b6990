"""The main job on made-up people, end to end: ``make demo``.

Six vendors' sandboxes and a mail server on loopback; the requests of ``requests.jsonl``; planned, approved, carried out, killed in the
middle, resumed, verified two weeks later, proven. Everything it makes stands in ``.demo/``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / ".demo"
DSR = Path(sys.executable).with_name("dsr")
AGENT = "alice@example.com"

SOURCES = """
[sources.newsletter]
connector = "email"
vendor = "Newsletter Press"
privacy_address = "privacy@newsletter-press.example"
active = true

[sources.archive]
connector = "manual"
instructions = "Remove the folder of the data subject from shelf 4."
owner = "Office management"
"""


def say(text: str) -> None:
    """A heading."""
    sys.stdout.write(f"\n\033[1m== {text}\033[0m\n" if sys.stdout.isatty() else f"\n== {text}\n")
    sys.stdout.flush()


def dsr(*arguments: str, quiet: bool = False) -> Any:
    """Run the command line as a person would; with `quiet` its JSON is returned instead of shown."""
    if quiet:
        done = subprocess.run([DSR, *arguments, "--json"], cwd=PLACE, capture_output=True, text=True, check=False)
        return json.loads(done.stdout)
    sys.stdout.write(f"$ dsr {' '.join(arguments)}\n")
    sys.stdout.flush()
    return subprocess.run([DSR, *arguments], cwd=PLACE, check=False).returncode


@contextmanager
def sandboxes() -> Iterator[dict[str, str]]:
    """``dsr sandbox up`` in the background; slug -> URL."""
    command = [DSR, "sandbox", "up", "--config-out", str(PLACE), "--people", str(ROOT / "examples" / "people.json"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        text = ""
        for line in process.stdout:
            text += line
            if line.startswith("}"):
                break
        yield {row["slug"]: row["url"] for row in json.loads(text)["sandboxes"]}
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)
        process.stdout.close()


@contextmanager
def mail_server() -> Iterator[int]:
    """A real SMTP server on loopback that keeps every letter in ``.demo/mail``; its port."""
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import SMTP, Envelope, Session

    letters = PLACE / "mail"
    letters.mkdir()

    class Keep:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
            (letters / f"{len(list(letters.iterdir())) + 1}.eml").write_bytes(envelope.original_content or b"")
            return "250 taken"

    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    controller = Controller(Keep(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def control(url: str, verb: str, body: object = None) -> Any:
    """A sandbox's control interface."""
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(f"{url}/_sandbox/{verb}", data=data) as answer:
        return json.load(answer)


def killed_in_the_middle() -> None:
    """The child: carries out what was approved, and kills itself - no goodbye, no clean-up - after its third effect at a vendor."""
    from dsr_sdk.host import Host

    effects = 0

    def on_step(step: str) -> None:
        nonlocal effects
        effects += step == "after effect"
        if effects == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    with Host.open(PLACE / "dsr.toml", on_step=on_step) as host:
        host.run_all()


def people_answer() -> None:
    """The child: the archive's folder is gone, the vendor has answered its letters. The same is ``dsr confirm CASE SOURCE``."""
    from dsr_sdk.host import Host

    with Host.open(PLACE / "dsr.toml") as host:
        for case in list(host.cases()):
            for row in host.status(case.number).sources:
                if row.status.value in ("by_hand", "requested"):
                    host.confirm(case.number, row.source, by=AGENT)


def days_later() -> None:
    """The child: sixteen days go by, at the vendors and for the host, which looks at what is due a few times on the way."""
    import time_machine

    from dsr_sdk.host import Host

    urls: list[str] = json.loads((PLACE / "sandboxes.json").read_text())
    start = datetime.now(UTC)
    hours = [0.1, 0.2, 0.3, 0.4, 24.5, 25, 26, 12 * 24, 14 * 24, 15 * 24, 16 * 24]
    with Host.open(PLACE / "dsr.toml") as host:
        for before, after in zip([0.0, *hours], hours, strict=False):
            for url in urls:
                control(url, "advance", {"seconds": (after - before) * 3600})
            with time_machine.travel(start + timedelta(hours=after), tick=True):
                host.run_all()


def child(name: str) -> int:
    """Run one of the functions above in a process of its own."""
    return subprocess.run([sys.executable, __file__, name], cwd=PLACE, check=False).returncode


def main() -> int:
    """The demo."""
    started = time.monotonic()
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    with mail_server() as port, sandboxes() as urls:
        with (PLACE / "dsr.toml").open("a") as file:
            file.write(SOURCES)
            file.write(f'\n[mail]\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\n')
            file.write(f'domain = "requests.example.com"\nagent = "{AGENT}"\n')
        shutil.copy(ROOT / "examples" / "requests.jsonl", PLACE)

        say("Six vendors' sandboxes, a vendor that takes letters, and a paper archive")
        dsr("sources", "check")

        say("The requests, searched for everywhere. A dry run: it changes nothing")
        dsr("run", "requests.jsonl")
        cases = {row["case"]: row for row in dsr("status", quiet=True)["cases"]}
        numbers = {json.loads(line)["reference"]: case for line, case in zip(_lines(), _in_order(), strict=True)}

        say("What would be done for one of them: erased here, kept by law there")
        dsr("plan", numbers["demo-3"], "--show")

        say("An agent approves")
        dsr("approve", *cases, "--by", AGENT, "--yes")

        say("Carried out - and killed with SIGKILL after the third effect")
        code = child("killed_in_the_middle")
        sys.stdout.write(f"the process is gone (signal {-code})\n")
        dsr("status")

        say("Resumed")
        dsr("run")

        say("The person known only by telephone: an agent finds the address, and plans again")
        dsr("identity", numbers["demo-4"], "--email", "alan@example.net", "--by", AGENT)
        dsr("plan", numbers["demo-4"], quiet=True)
        dsr("approve", numbers["demo-4"], "--by", AGENT, "--yes")
        dsr("run", numbers["demo-4"])

        say("People answer: the archive is done, the letters are answered")
        child("people_answer")
        sys.stdout.write(f"{len(list((PLACE / 'mail').iterdir()))} letters were sent, one for each deletion: {PLACE / 'mail'}\n")

        say("Vendors take their time: sixteen days pass, jobs finish, every erasure is verified")
        (PLACE / "sandboxes.json").write_text(json.dumps(list(urls.values())))
        child("days_later")
        dsr("status")
        dsr("status", numbers["demo-3"])

        say("The copy for Katherine")
        dsr("copy", numbers["demo-5"], "--out", str(PLACE / "copy-for-katherine.zip"))
        dsr("copy-verify", str(PLACE / "copy-for-katherine.zip"))

        say("The proof")
        dsr("audit", "verify")
        effects = {slug: control(url, "counts")["effects"] for slug, url in urls.items()}
        twice = {slug: [what for what, times in counted.items() if times > 1] for slug, counted in effects.items()}
        for slug, counted in effects.items():
            sys.stdout.write(f"{slug:10} {len(counted):3} effects, {len(twice[slug])} of them twice\n")
        still_open = [row["case"] for row in dsr("status", quiet=True)["cases"] if row["status"] != "done"]

    sys.stdout.write(f"\ncopy package   {PLACE / 'copy-for-katherine.zip'}\naudit log      dsr --config {PLACE / 'dsr.toml'} audit verify\n")
    sys.stdout.write(f"the ledger     {PLACE / 'dsr.db'}\nletters        {PLACE / 'mail'}\n")
    failed = bool(still_open or any(twice.values()) or code != -signal.SIGKILL)
    sys.stdout.write(f"{'SOMETHING IS NOT AS IT SHOULD BE' if failed else 'all done'} in {time.monotonic() - started:.0f} s\n")
    return int(failed)


def _lines() -> list[str]:
    return [line for line in (PLACE / "requests.jsonl").read_text().splitlines() if line.strip()]


def _in_order() -> list[str]:
    """Case numbers in the order of the file: submitting it again names the cases it made (each request has a reference)."""
    cases: list[str] = [row["case"] for row in dsr("submit", "requests.jsonl", quiet=True)["submitted"]]
    return cases


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"killed_in_the_middle": killed_in_the_middle, "people_answer": people_answer, "days_later": days_later}[sys.argv[1]]()
    else:
        sys.exit(main())
