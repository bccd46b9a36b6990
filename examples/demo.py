"""The main job on made-up people, end to end: ``make demo``.

Six vendors' sandboxes and a mail server on loopback; the requests of ``requests.jsonl``; planned, approved, carried out, killed in the
middle, resumed, verified two weeks later, proven. Everything it makes stands in ``.demo/``. At its end it offers the portal.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

from stage import DSR, MAIL, ROOT, SOURCES, mail_server, sandboxes, say

PLACE = ROOT / ".demo"
AGENT = "alice@example.com"


def dsr(*arguments: str, quiet: bool = False) -> Any:
    """Run the command line as a person would; with `quiet` its JSON is returned instead of shown."""
    if quiet:
        done = subprocess.run([DSR, *arguments, "--json"], cwd=PLACE, capture_output=True, text=True, check=False)
        return json.loads(done.stdout)
    sys.stdout.write(f"$ dsr {' '.join(arguments)}\n")
    sys.stdout.flush()
    return subprocess.run([DSR, *arguments], cwd=PLACE, check=False).returncode


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
    for old in PLACE.glob("*") if PLACE.is_dir() else ():
        if old.name != "portal":  # that is `make portal`'s, which keeps its requests
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    PLACE.mkdir(exist_ok=True)
    with mail_server(PLACE / "mail") as port, sandboxes(PLACE) as urls:
        with (PLACE / "dsr.toml").open("a") as file:
            file.write(SOURCES + MAIL.format(port=port, agent=AGENT))
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
        sys.stdout.write(f"{len(list((PLACE / 'mail').glob('*.eml')))} letters were sent, one for each deletion: {PLACE / 'mail'}\n")

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
    offer_portal()
    return int(failed)


def offer_portal() -> None:
    """The same in a browser: asked about on a terminal, named elsewhere."""
    portal = [sys.executable, str(ROOT / "examples" / "portal.py")]
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.stdout.write("the portal     make portal: the same in a browser, with example requests\n")
        return
    sys.stdout.write("\nOpen the portal with example requests? [Y/n] ")
    sys.stdout.flush()
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        answer = "n"
    if answer.strip().lower() in ("", "y", "yes") and answer:
        with contextlib.suppress(KeyboardInterrupt):
            subprocess.run([*portal, "--open"], check=False)
    else:
        sys.stdout.write("later: make portal\n")


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
