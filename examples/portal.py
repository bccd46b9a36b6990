"""The portal with example requests: ``make portal``.

Six vendors' sandboxes, a vendor that takes letters, a paper archive, a mail server on loopback that keeps every mail, two accounts, and
requests of every type at every stage. Everything stands in ``.demo/portal/`` and is kept from one start to the next; ``--fresh`` begins anew.
The sandboxes begin anew each time, and what was erased in them before is erased again. What takes a vendor days takes seconds, so that every
request can be seen to its end: see ``days.py``.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from days import NOTICE, Days, replay
from stage import DSR, MAIL, ROOT, SOURCES, mail_server, sandboxes, say

from dsr_sdk import Request
from dsr_sdk.host import Host
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.host.process.panel import SourceState

ALICE, BOB = "alice@example.com", "bob@example.com"
PEOPLE = {
    "ada": ("ada@example.com", "Ada", "Lovelace", "user-1001"),
    "grace": ("grace@example.org", "Grace", "Hopper", "user-1002"),
    "alan": ("alan@example.net", "Alan", "Turing", "user-1003"),
    "katherine": ("katherine@example.com", "Katherine", "Johnson", "user-1004"),
    "hedy": ("hedy@example.org", "Hedy", "Lamarr", "user-1005"),
}
WORKFLOW = """
[workflow]
public_url = "{url}"

[portal]
notice = "{notice}"

[privacy_center]
title = {{ en = "Your privacy at Example GmbH", de = "Ihr Datenschutz bei der Example GmbH" }}

[[privacy_center.fields]]
name = "customer_number"
label = {{ en = "Customer number", de = "Kundennummer", fr = "Numéro de client", es = "Número de cliente" }}
help = {{ en = "It stands on your invoices.", de = "Sie steht auf Ihren Rechnungen." }}

[[privacy_center.fields]]
name = "relation"
label = {{ en = "You are", de = "Sie sind", fr = "Vous êtes", es = "Usted es" }}
kind = "choice"
choices = ["customer", "applicant", "employee", "other"]
required = true
"""


class Examples:
    """Requests at every stage. Each has a reference, so that loading them again makes none twice."""

    def __init__(self, host: Host, letters: Path) -> None:
        self.host = host
        self.letters = letters
        self.now = datetime.now(UTC)

    def load(self) -> int:
        """Those that are not there yet; how many there are."""
        filled_in = time.monotonic()
        stamp = self.host.intake.stamp()  # a form is filled in for two seconds at least
        for load in (self.evidence, self.overdue, self.copy, self.not_sold, self.no_mail, self.answered, self.closed, self.rejected):
            load()
        time.sleep(max(0.0, self.host.intake.fastest.total_seconds() + 0.2 - (time.monotonic() - filled_in)))
        self.from_the_form(stamp)
        return sum(1 for _ in self.host.cases())

    def request(self, reference: str, type_: str, who: str, *, days: float, channel: str = "api", **fields: Any) -> tuple[str, bool]:
        """A request that came in some days ago; its case, and whether it still stands where it begins."""
        email, first, last, user = PEOPLE[who]
        subject = {"email": email, "first_name": first, "last_name": last, "user_id": user}
        received = (self.now - timedelta(days=days)).isoformat()
        told = {"type": type_, "subject": subject, "received_at": received, "channel": channel, "reference": f"portal-{reference}", **fields}
        case = self.host.submit(Request.parse(told))
        return case, self.host.workflow.get(case).stage == "review"

    def evidence(self) -> None:
        """In review: from the consumer app, so the address is proven, with the last e-mails that the company sent her."""
        mails = [
            {"sent_at": (self.now - timedelta(days=days)).isoformat(), "subject": subject, "from_address": sender, "reply_to": reply_to}
            for days, subject, sender, reply_to in (
                (2, "Your invoice of November", "billing@example.com", "accounts@example.com"),
                (9, "We miss you, Grace", "news@newsletter.example.com", None),
                (31, "Your parcel is on its way", "orders@example.com", "support@example.com"),
            )
        ]
        self.request("evidence", "deletion", "grace", days=2, channel="mine_app", country="GB", email_evidence=mails)

    def overdue(self) -> None:
        """In process and overdue: searched, and nobody has gone on."""
        case, fresh = self.request("overdue", "deletion", "hedy", days=47, country="DE")
        if fresh:
            self.host.workflow.assign(case, BOB, by=ALICE)
            self.host.workflow.accept(case, by=BOB)
            self.host.processing.search(case, wait=5)

    def copy(self) -> None:
        """In process: a copy that is collected; the archive is still to be looked through."""
        case, fresh = self.request("copy", "copy", "katherine", days=5, country="FR", language="fr")
        if fresh:
            self.host.workflow.accept(case, by=BOB)
            self.host.processing.search(case, wait=5)
            self.give_free(case)

    def not_sold(self) -> None:
        """In review: a Californian opt-out, for which the law forbids to ask for proof. From an agent's telephone call."""
        self.request("not-sold", "do_not_sell", "alan", days=1, channel="agent", regime="us_ca_ccpa")

    def no_mail(self) -> None:
        """In process: people handle it, no data source takes part."""
        case, fresh = self.request("no-mail", "do_not_mail", "ada", days=3, country="AT", language="de")
        if fresh:
            self.host.workflow.accept(case, by=BOB)

    def answered(self) -> None:
        """In review: the person was asked, and has answered; nobody has read it yet."""
        moved = {"correction": "You still have my address in London. I have moved to Dublin."}
        case, fresh = self.request("answered", "right_to_edit", "alan", days=4, channel="email", country="IE", custom_fields=moved)
        if fresh and not self.host.conversation.of(case):
            self.host.conversation.message(case, "Which of your addresses is the right one now?", by=BOB)
            token = self.token("answer")
            if token:
                self.host.conversation.answer(token, "The new one is 12 Crown Street, Dublin. Thank you!")

    def closed(self) -> None:
        """Closed: deleted at two vendors, the letter answered, the archive done, and the person told."""
        case, fresh = self.request("closed", "deletion", "alan", days=9, country="DE")
        if not fresh:
            return
        # Those that answer at once: the others' jobs take days, and nobody lets them pass yet.
        self.host.workflow.accept(case, by=ALICE, sources=["stripe", "hubspot", "newsletter", "archive"])
        self.host.processing.search(case, wait=5)
        self.give_free(case)
        for row in self.host.processing.panel(case).sources:
            if row.state in (SourceState.BY_HAND, SourceState.EMAIL_SENT):
                self.host.processing.mark_done(case, row.source, by=ALICE, note="Seen to.")
        if not self.host.processing.blockers(case, all_done=True):
            self.host.workflow.finish(case, by=ALICE, all_done=True)
            self.host.replies.close(case, by=ALICE)

    def rejected(self) -> None:
        """In reply: refused, and the letter that says so is not sent yet."""
        case, fresh = self.request("rejected", "copy", "hedy", days=6, channel="email", country="NL")
        if fresh:
            self.host.workflow.reject(case, Reason.NO_MATCH, by=BOB)

    def from_the_form(self, stamp: str) -> None:
        """In review: from the public form, the address not confirmed yet; and once more, so that it is marked as a duplicate."""
        if any(case.channel == "privacy_center" for case in self.host.cases()):
            return
        email, first, last, _ = PEOPLE["ada"]
        data = {"type": "deletion", "scope": "account", "email": email, "first_name": first, "last_name": last, "country": "DE"}
        form = {**data, "custom_customer_number": "10-4711", "custom_relation": "customer", "stamp": stamp}
        self.host.intake.submit_form(form, client="127.0.0.1", language="en")
        self.request("again", "deletion", "ada", days=0, channel="email", country="DE")

    def give_free(self, case: str) -> None:
        """Everything that was found, and carry it out."""
        panel = self.host.processing.panel(case)
        self.host.processing.give_free(case, [row.source for row in panel.sources if row.selectable], by=ALICE, seen=panel.seen)
        self.host.run(case)

    def token(self, purpose: str) -> str | None:
        """The token of the newest link of a kind, as it stands in the newest mail that has one."""
        for path in sorted(self.letters.glob("*.eml"), key=lambda path: int(path.stem), reverse=True):
            message: Any = message_from_bytes(path.read_bytes(), policy=policy.default)
            found = re.search(rf"/p/{purpose}/([\w-]+)", message.get_content())
            if found:
                return found[1]
        return None


def accounts(host: Host) -> Mapping[str, str]:
    """Alice, who administers, and Bob, who works requests; the passwords of those that were made just now."""
    there = {account.account for account in host.accounts.list()}
    made = {}
    for account, name, role in ((ALICE, "Alice Admin", "admin"), (BOB, "Bob Agent", "agent")):
        if account not in there:
            made[account] = secrets.token_urlsafe(12)
            host.accounts.create(account, name, role, made[account], by="example")
    return made


def port_near(wanted: int) -> int:
    """The port, or, when somebody has it, a free one."""
    for port in (wanted, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as free:
                found: int = free.getsockname()[1]
                return found
        except OSError:
            continue
    raise SystemExit("no port is free on 127.0.0.1")


def main() -> int:
    """Set up, load, serve."""
    parser = argparse.ArgumentParser(description="The portal with example requests.")
    parser.add_argument("--place", type=Path, default=ROOT / ".demo" / "portal", help="where everything is kept")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--fresh", action="store_true", help="throw away what is there, and begin anew")
    parser.add_argument("--open", action="store_true", help="open a browser")
    parser.add_argument("--no-serve", action="store_true", help="set up only")
    options = parser.parse_args()
    place: Path = options.place.resolve()
    if options.fresh:
        shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)
    config = place / "dsr.toml"
    config.unlink(missing_ok=True)  # the sandboxes and the mail server have other ports each time; key and ledger stay
    started = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say("Six vendors' sandboxes, a vendor that takes letters, a paper archive, and a mail server")
    with mail_server(place / "mail") as mail_port, sandboxes(place) as urls:
        port = port_near(options.port)
        url = f"http://127.0.0.1:{port}"
        vendors = config.read_text(encoding="utf-8")
        with config.open("a", encoding="utf-8") as file:
            file.write(SOURCES + MAIL.format(port=mail_port, agent=ALICE) + WORKFLOW.format(url=url, notice=NOTICE))
        with Host.open(config) as host:
            replay(host, urls, vendors, place / "secrets")
            made = accounts(host)
            count = Examples(host, place / "mail").load()
        sys.stdout.write(f"{', '.join(urls)}: ready. {count} requests, in {time.monotonic() - started:.1f} s\n")
        dsr = f"{os.path.relpath(DSR)} --config {os.path.relpath(config)}"  # as it can be typed where this was started
        say("Sign in")
        for account in (ALICE, BOB):
            again = f"the one you were given before (a new one: {dsr} accounts password {account})"
            role = "administrator" if account == ALICE else "agent, handles requests"
            sys.stdout.write(f"{account:18} password: {made.get(account, again):18} ({role})\n")
        sys.stdout.write(
            f"\nportal       {url}\npublic form  {url}/privacy\nmails        {place / 'mail'} (.txt to read; none leaves this machine)\n"
        )
        sys.stdout.write(f"on the line  {dsr} case list\n")
        sys.stdout.write("\nIn this example the vendors' days pass in seconds: wait a moment where the page says that it waits.\n")
        sys.stdout.flush()
        if options.no_serve:
            return 0
        serve = [DSR, "--config", config, "serve", "--port", str(port), *(["--open"] if options.open else [])]
        process = subprocess.Popen(serve)
        with Host.open(config) as beside:
            days = Days(beside, urls)
            days.start()
            try:
                return process.wait()
            except KeyboardInterrupt:  # a terminal's Ctrl-C has reached it too; a signal to us alone has not
                process.send_signal(signal.SIGTERM)
                process.wait(40)
                return 0
            finally:
                days.end()


if __name__ == "__main__":
    sys.exit(main())
