"""``dsr case``: requests from coming in to closing, by the commands an agent types."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from dsr_sdk.cli.case import SECTIONS
from dsr_sdk.host import Host
from dsr_sdk.testing import SandboxServer
from tests.cli.conftest import Dsr, configure
from tests.smtp import Inbox


@pytest.fixture
def office(desk: Dsr, shop: SandboxServer) -> Dsr:
    """A desk with the toy shop as well."""
    assert shop.url
    return desk


def new(dsr: Dsr, email: str = "ada@example.com", *args: str, type: str = "deletion", **given: Any) -> str:
    """Write a request down; its case number."""
    return dsr("case", "new", "--type", type, "--email", email, "--first-name", "Ada", "--country", "DE", *args, **given).out.strip()


def processed(dsr: Dsr, email: str = "ada@example.com", *args: str, type: str = "deletion") -> str:
    """A case in process; the person wrote from the address, so that a copy may go there."""
    number = new(dsr, email, *args, type=type)
    dsr("case", "verify", number, "--method", "email")
    dsr("case", "accept", number, "--yes")
    return number


def states(dsr: Dsr, number: str) -> dict[str, str]:
    """How each data source of a case stands."""
    return {row["source"]: row["state"] for row in dsr("case", "sources", number, "--json").json["sources"]}


def stage(dsr: Dsr, number: str) -> str:
    """Where a case stands."""
    rows = [*dsr("case", "list", "--json").json["cases"], *dsr("case", "list", "--closed", "--json").json["cases"]]
    return next(str(row["stage"]) for row in rows if row["case"] == number)


# --- the whole way ---------------------------------------------------------------------------------------------------------------------


def test_a_deletion_from_new_to_closed(office: Dsr, shop: SandboxServer, inbox: Inbox) -> None:
    """Every step is proposed by the one before, nothing personal is shown on the way, the data is gone and the person is told, once."""
    number = new(office)
    assert f"dsr case verify {number}" in office("case", "show", number, secret=False).err
    assert f"next: dsr case accept {number}" in office("case", "verify", number, "--method", "document", "--note", "passport seen").err
    assert f"dsr case search {number}" in office("case", "accept", number, "--yes").err
    assert f"dsr case free {number}" in office("case", "search", number).err
    assert states(office, number) == {"shop": "found", "archive": "by_hand"}
    ran = office("case", "free", number, "--yes")
    assert "erase" in ran.out
    assert f"dsr case mark {number} archive" in ran.err
    assert not shop.sandbox.holds("ada@example.com")
    (office.directory / "proof.txt").write_text("shredded")
    assert f"dsr case finish {number} --all-done" in office("case", "mark", number, "archive", "--file", "proof.txt").err
    assert f"dsr case close {number}" in office("case", "finish", number, "--all-done", "--yes").err
    assert "Dear Ada" in office("case", "reply", number).out
    assert "closed" in office("case", "close", number, "--yes").out
    assert stage(office, number) == "closed"
    (letter,) = inbox.texts
    assert "Archive: looked through by hand, done" in letter
    told = office("case", "history", number).out
    assert "handled by: alice@example.com" in told
    assert "deleted: Toy Shop" in told


def test_a_copy_from_new_to_closed(office: Dsr, inbox: Inbox) -> None:
    """Collected, redacted, generated, looked at; the reply holds a link, and the package is readable by its owner only."""
    number = processed(office, type="copy")
    office("case", "search", number)
    office("case", "free", number, "shop", "--yes")
    (office.directory / "scan.txt").write_text("letters of 1843")
    office("case", "file-add", number, "scan.txt", "--for", "copy", "--source", "archive")
    office("case", "mark", number, "archive")
    record = office("case", "copy-preview", number, "--json", secret=False).json["records"][0]
    assert "/email" in record["fields"]
    made = office("case", "copy-redact", number, record["record"], "--field", "/email", "--reason", "-", "--json", input="not hers\n").json
    assert f"dsr case copy-generate {number}" in office("case", "finish", number, "--yes", code=2).err
    assert office("case", "copy-generate", number, "--json").json["files"] > 2
    office("case", "copy-download", number, "--out", "copy.zip")
    assert stat.S_IMODE((office.directory / "copy.zip").stat().st_mode) == 0o600
    assert "there is a file of this name" in office("case", "copy-download", number, "--out", "copy.zip", code=3).err
    with zipfile.ZipFile(office.directory / "copy.zip") as package:
        whole = b"".join(package.read(name) for name in package.namelist())
    assert b"letters of 1843" in whole
    assert office("case", "copy-preview", number, secret=False).out.count("redaction 1:") == 1
    office("case", "copy-restore", number, str(made["redaction"]))
    office("case", "copy-generate", number)
    assert "/p/copy/" in office("case", "copy-offer", number).out
    office("case", "finish", number, "--yes")
    office("case", "close", number, "--yes")
    assert "/p/copy/" in inbox.texts[-1]


def test_a_rejection_goes_straight_to_the_reply(desk: Dsr, inbox: Inbox) -> None:
    """Rejected, told in one's own words, closed."""
    number = new(desk)
    assert "one of" in desk("case", "reject", number, "--reason", "because", "--yes", code=2).err
    desk("case", "reject", number, "--reason", "no_match", "--yes")
    assert "in review, not" not in desk("case", "accept", number, "--yes", code=5).err
    (desk.directory / "text.txt").write_text("We do not know you.\n")
    desk("case", "reply", number, "--subject", "About your request", "--body", "text.txt")
    desk("case", "close", number, "--yes")
    assert inbox.texts[-1].strip() == "We do not know you."


def test_the_reply_of_somebody_else_is_not_overwritten(desk: Dsr, inbox: Inbox) -> None:
    """With the revision that was read, the second is told."""
    number = new(desk)
    desk("case", "reject", number, "--reason", "no_match", "--yes")
    (desk.directory / "text.txt").write_text("We do not know you.\n")
    read = json.loads(desk("case", "reply", number, "--json").out)["revision"]
    desk("case", "reply", number, "--body", "text.txt", "--revision", str(read))
    assert "revision 1" in desk("case", "reply", number).err
    late = desk("case", "reply", number, "--none", "--reason", "told by telephone", "--revision", str(read), code=5)
    assert "someone else has changed the reply" in late.err
    desk("case", "close", number, "--yes")
    assert inbox.texts[-1].strip() == "We do not know you."


def test_closing_without_a_reply(desk: Dsr, inbox: Inbox) -> None:
    """It needs a reason, and sends nothing."""
    number = new(desk, type="do_not_mail")
    desk("case", "withdraw", number, "--yes")
    desk("case", "reply", number, "--none")
    assert "needs a reason" in desk("case", "close", number, "--yes", code=2).err
    desk("case", "reply", number, "--none", "--reason", "told by telephone")
    desk("case", "close", number, "--yes")
    assert stage(desk, number) == "closed"
    assert not inbox.letters


def test_a_reply_that_cannot_be_sent_keeps_the_case(desk: Dsr, inbox: Inbox) -> None:
    """The server refuses: the case stays in reply, and the error says so."""
    number = new(desk)
    desk("case", "reject", number, "--reason", "other", "--yes")
    inbox.refuse["ada@example.com"] = "550 no such user"
    assert "stays in reply" in desk("case", "close", number, "--yes", code=1).err
    assert stage(desk, number) == "reply"


# --- nothing irreversible by accident --------------------------------------------------------------------------------------------------


def test_nothing_irreversible_without_a_yes(office: Dsr, shop: SandboxServer) -> None:
    """Accept, free, finish and close show what they would do and end with 5 where nobody can be asked; nothing has happened."""
    number = new(office)
    office("case", "verify", number, "--method", "document")
    for args in (("accept", number), ("reject", number, "--reason", "other"), ("withdraw", number)):
        assert "say --yes" in office("case", *args, code=5).err
    assert stage(office, number) == "review"
    office("case", "accept", number, "--yes")
    office("case", "search", number)
    ran = office("case", "free", number, code=5)
    assert "erase" in ran.out
    assert "invoice" in ran.out  # what is kept is shown, too
    assert shop.sandbox.holds("ada@example.com")
    assert states(office, number)["shop"] == "found"
    office("case", "override", number, "shop", "--reason", "the shop is closed for good")
    office("case", "mark", number, "archive")
    assert "say --yes" in office("case", "finish", number, "--all-done", code=5).err
    assert 'needs your word: "Everything else was deleted (not: Toy Shop)"' in office("case", "finish", number, "--yes", code=2).err
    office("case", "finish", number, "--all-done", "--yes")
    assert "say --yes" in office("case", "close", number, code=5).err
    assert stage(office, number) == "reply"
    assert office("case", "free", number, "--yes", "--json", code=2).out == ""


def test_on_a_terminal_it_asks(office: Dsr, shop: SandboxServer, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The questions say what is at stake; no means nothing was done, yes goes on, and the reply is shown before it leaves."""
    number = processed(office)
    office("case", "search", number)
    monkeypatch.setattr("dsr_sdk.cli.output.interactive", lambda: True)
    ran = office("case", "free", number, "shop", input="n\n", code=5)
    assert "Delete 1 source? This cannot be undone." in ran.err
    assert shop.sandbox.holds("ada@example.com")
    office("case", "free", number, "shop", input="y\n")
    assert not shop.sandbox.holds("ada@example.com")
    office("case", "mark", number, "archive")
    assert '"All data was deleted": is it so?' in office("case", "finish", number, input="y\ny\n").err
    ran = office("case", "close", number, input="n\n", code=5)
    assert "Dear Ada" in ran.out
    assert not inbox.letters
    office("case", "close", number, input="y\n")
    assert len(inbox.letters) == 1


def test_an_unverified_person_is_not_accepted(desk: Dsr) -> None:
    """The law wants a proof first; the command proposes how."""
    number = new(desk)
    assert "identity is not verified" in desk("case", "accept", number, "--yes", code=2).err
    assert "one of oauth, email" in desk("case", "verify", number, "--method", "smell", code=2).err


def test_where_proof_is_forbidden_none_is_proposed(desk: Dsr) -> None:
    """A Californian opt-out goes on without one."""
    number = desk("case", "new", "--type", "do_not_sell", "--email", "ada@example.com", "--regime", "us_ca_ccpa").out.strip()
    ran = desk("case", "show", number, secret=False)
    assert "proof is forbidden" in ran.out
    assert f"next: dsr case accept {number}" in ran.err
    assert "the law forbids" in desk("case", "verify", number, "--method", "document", code=2).err


def test_a_step_taken_twice_is_told(desk: Dsr) -> None:
    """The second of two who accept ends with 5."""
    number = processed(desk)
    assert "the case is in process, not in review" in desk("case", "accept", number, "--yes", code=5).err


# --- processing ------------------------------------------------------------------------------------------------------------------------


def test_a_missing_identifier_is_entered(office: Dsr) -> None:
    """The search ends with 1 and says what is missing; the identifier searches again."""
    number = office("case", "new", "--type", "deletion", "--phone", "+491713920012", "--country", "DE").out.strip()
    office("case", "verify", number, "--method", "questions")
    office("case", "accept", number, "--yes")
    ran = office("case", "search", number, code=1)
    assert "missing identifier" in ran.out
    assert f"dsr case identifier {number}" in ran.err
    office("case", "identifier", number, "--email", "ada@example.com")
    assert states(office, number)["shop"] == "found"


def test_a_source_that_fails_is_retried(office: Dsr, shop: SandboxServer) -> None:
    """What failed ends with 1; once it is mended, a retry goes on."""
    number = processed(office)
    office("case", "search", number)
    (office.directory / "token").write_text("another-token\n")
    assert "failed" in office("case", "free", number, "shop", "--yes", code=1).out
    (office.directory / "token").write_text("made-up-token\n")
    office("case", "retry", number, "shop")
    assert states(office, number)["shop"] == "done"
    assert not shop.sandbox.holds("ada@example.com")


def test_given_free_and_left_to_the_engine(office: Dsr, shop: SandboxServer) -> None:
    """--no-run only decides; dsr run carries it out."""
    number = processed(office)
    office("case", "search", number)
    office("case", "free", number, "shop", "--yes", "--no-run")
    assert shop.sandbox.holds("ada@example.com")
    office("run")
    assert not shop.sandbox.holds("ada@example.com")


def test_a_letter_is_ticked_once(desk: Dsr, inbox: Inbox) -> None:
    """However often it is ticked and unticked, one letter leaves."""
    desk("inventory", "add", "press", "--title", "Newsletter Press", "--connector", "email", "--set", "vendor=Newsletter Press")
    desk("inventory", "set", "press", "--set", "privacy_address=privacy@press.example")
    desk("inventory", "activate", "press")
    number = processed(desk)
    assert "say --yes" in desk("case", "tick", number, "press", code=5).err
    with Host.open(desk.directory / "dsr.toml") as host:
        host.processing.tick_email(number, "press", by="alice@example.com")  # and nobody runs it
    assert "the letter is not sent" in desk("case", "untick", number, "press").err
    desk("run")
    assert (states(desk, number)["press"], inbox.letters) == ("email_ready", [])
    desk("case", "tick", number, "press", "--yes")
    assert "nothing was taken back" in desk("case", "untick", number, "press").err
    ran = desk("case", "tick", number, "press")
    assert "Requested deletion from Newsletter Press" in ran.out
    assert len(inbox.letters) == 1
    assert states(desk, number)["press"] == "email_sent"


def test_a_source_is_added_late(office: Dsr) -> None:
    """While processing, what was not chosen can still be."""
    number = new(office)
    office("case", "verify", number, "--method", "document")
    office("case", "accept", number, "--yes", "--source", "archive")
    assert set(states(office, number)) == {"archive"}
    office("case", "add-source", number, "shop")
    assert set(states(office, number)) == {"archive", "shop"}


# --- many cases ------------------------------------------------------------------------------------------------------------------------


def test_a_word_for_many(office: Dsr, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is listed of which cases it is asked; the others say why they stay."""
    first, second, third, open_ = (new(office, f"p{n}@example.org", type=type_) for n, type_ in enumerate((*("do_not_mail",) * 3, "deletion")))
    for number in (first, second, third, open_):
        office("case", "verify", number, "--method", "document")
        office("case", "accept", number, "--yes")
    ran = office("case", "finish", first, open_, "--yes", "--all-done", code=1)
    assert f'{first}: "It was handled internally"' in ran.err
    assert f'{open_}: "' not in ran.err
    assert (stage(office, first), stage(office, open_)) == ("reply", "process")
    assert "is not ticked" in office("case", "finish", second, third, "--yes", code=1).out
    monkeypatch.setattr("dsr_sdk.cli.output.interactive", lambda: True)
    answered: list[str] = []
    monkeypatch.setattr("dsr_sdk.cli.output.confirmed", lambda question: not answered.append(question))  # type: ignore[func-returns-value]
    office("case", "finish", second, third)
    assert answered[0] == "Is it so, of each of these 2?"
    assert (stage(office, second), stage(office, third)) == ("reply", "reply")


def test_many_at_once(desk: Dsr) -> None:
    """One's error stops no other, and shows in the exit code."""
    good, bad = new(desk, "bob@example.org"), new(desk, "eve@example.net")
    desk("case", "verify", good, "--method", "document")
    ran = desk("case", "accept", good, bad, "--yes", "--json", code=1)
    assert {row["case"]: row["ok"] for row in ran.json["results"]} == {good: True, bad: False}
    assert "agent: is no account" in desk("case", "assign", good, bad, "--to", "carol@example.com", code=2).err
    assert "agent: is no account" in desk("case", "assign", good, "--to", "carol@example.com", code=2).err
    desk("accounts", "add", "carol@example.com", "--name", "Carol", "--role", "admin", "--invite")
    desk("case", "assign", good, bad, "--to", "carol@example.com")
    assert {row["case"] for row in desk("case", "list", "--agent", "carol@example.com", "--json").json["cases"]} == {good, bad}
    desk("case", "assign", good, "--nobody")
    assert [row["case"] for row in desk("case", "list", "--unassigned", "--json").json["cases"]] == [good]


def test_list_find_and_pages(desk: Dsr) -> None:
    """Filters, pages and an exact search; an address from standard input leaves no trace."""
    numbers = {new(desk, f"person{n}@example.net") for n in range(3)}
    first = desk("case", "list", "--limit", "2", "--json").json
    second = desk("case", "list", "--limit", "2", "--after", first["next"], "--json").json
    assert {row["case"] for row in first["cases"] + second["cases"]} == numbers
    assert desk("case", "list", "--overdue", "--json").json["cases"] == []
    assert desk("case", "list", "--stage", "process", "--json").json["cases"] == []
    assert "does not exist" in desk("case", "list", "--stage", "limbo", code=2).err
    assert "is not a day" in desk("case", "list", "--due-before", "soon", code=2).err
    assert len(desk("case", "find", "-", "--json", input="person1@example.net\n").json["cases"]) == 1
    number = min(numbers)
    assert desk("case", "find", number.lower().replace("-", " "), "--json").json["cases"][0]["case"] == number
    assert "no case" in desk("case", "find", "person").err


def test_a_duplicate_is_merged(desk: Dsr) -> None:
    """It is marked, the next step proposes the merge, and the other goes on."""
    first, second = new(desk), new(desk)
    assert f"dsr case merge {second} --into {first}" in desk("case", "show", second, secret=False).err
    desk("case", "merge", second, "--into", first, "--yes")
    assert stage(desk, second) == "reply"


def test_clocks(desk: Dsr) -> None:
    """Extend, pause, resume: with reasons, told in the list."""
    number = new(desk)
    before = desk("case", "list", "--json").json["cases"][0]["due_at"]
    after = desk("case", "extend", number, "--because", "many systems", "--json").json["due_at"]
    assert after > before
    desk("case", "pause", number, "--because", "which account is meant")
    assert "clock stands still" in desk("case", "list").out
    desk("case", "resume", number)
    assert "clock stands still" not in desk("case", "list").out


# --- intake ----------------------------------------------------------------------------------------------------------------------------


def test_new_from_standard_input(desk: Dsr) -> None:
    """A request as JSON stays out of the shell's history; two at once, or nonsense, are refused."""
    told = {"type": "copy", "subject": {"email": "ada@example.com"}, "country": "FR"}
    made = desk("case", "new", "-", "--json", input=json.dumps(told)).json
    assert (made["type"], made["regime"], made["stage"]) == ("copy", "eu_gdpr", "review")
    assert "case import" in desk("case", "new", "-", input=json.dumps([told]), code=2).err
    assert "not both" in desk("case", "new", "-", "--type", "copy", input="{}", code=2).err
    assert "give --type" in desk("case", "new", "--type", "copy", code=2).err


def test_import(desk: Dsr) -> None:
    """All or nothing, --dry-run checks, --partial takes what is right; again, nothing is taken twice."""
    (desk.directory / "requests.csv").write_text("type,email,country\ndeletion,ada@example.com,DE\nerasure,bob@example.org,DE\n")
    ran = desk("case", "import", "requests.csv", code=2)
    assert "requests.csv:3:" in ran.err
    assert desk("case", "list", "--json").json["cases"] == []
    assert desk("case", "import", "requests.csv", "--dry-run", "--partial", "--json", code=1).json["taken"] == 1
    assert desk("case", "list", "--json").json["cases"] == []
    assert desk("case", "import", "requests.csv", "--partial", "--json", code=1).json["taken"] == 1
    assert desk("case", "import", "requests.csv", "--partial", "--json", code=1).json["duplicates"] == 1
    assert "one of csv" in desk("case", "import", "requests.csv", "--format", "xml", code=2).err


# --- conversation, files, record -------------------------------------------------------------------------------------------------------


def test_the_conversation(desk: Dsr, inbox: Inbox) -> None:
    """A message leaves with a link; the answer is counted until somebody looks; notes stay inside."""
    number = new(desk)
    desk("case", "message", number, "-", input="Which account do you mean?\n")
    desk("case", "note", number, "called back")
    token = inbox.texts[-1].partition("/p/answer/")[2].split()[0]
    with Host.open(desk.directory / "dsr.toml") as host:
        host.conversation.answer(token, "The second one.")
    assert desk("case", "list", "--json").json["counts"]["unread"] == 1
    rows: Any = desk("case", "conversation", number, "--json").json["messages"]
    assert [(row["direction"], row["new"]) for row in rows] == [("out", False), ("note", False), ("in", True)]
    assert desk("case", "list", "--json").json["counts"]["unread"] == 0
    assert "called back" not in inbox.texts[-1]
    [mail] = desk("case", "conversation", number, "--json").json["mails"]
    assert (mail["kind"], mail["to"], mail["state"]) == ("message", "a…@example.com", "sent")
    desk("case", "ask-to-verify", number)
    assert "e-mail: verify to a…@example.com (sent)" in desk("case", "conversation", number).out


def test_a_correction_and_the_person_s_other_requests(desk: Dsr) -> None:
    """What is to be corrected is given as a text or by standard input, and shown; so are other open requests of the person."""
    edit = new(desk, "ada@example.com", "--correction", "-", type="right_to_edit", input="My street is wrong.\n")
    copy = new(desk, "ada@example.com", type="copy")
    shown = desk("case", "show", edit, secret=False).out
    assert "correction: My street is wrong." in shown
    assert f"this person also has: copy {copy}, in review" in shown
    workflow = desk("case", "show", copy, "--json", secret=False).json["workflow"]
    assert workflow["others"] == [{"case": edit, "type": "right_to_edit", "stage": "review"}]


def test_ask_to_verify(desk: Dsr, inbox: Inbox) -> None:
    """The person's click proves the address."""
    number = new(desk)
    assert "the mail is sent" in desk("case", "ask-to-verify", number).out
    token = inbox.texts[-1].partition("/p/verify/")[2].split()[0]
    with Host.open(desk.directory / "dsr.toml") as host:
        host.conversation.confirm_address(token)
    assert "identity: verified by email" in desk("case", "show", number, secret=False).out


def test_files(desk: Dsr) -> None:
    """Sealed, listed, written out for their owner only, thrown away after a yes."""
    number = new(desk)
    (desk.directory / "id.txt").write_text("a passport")
    (ident,) = desk("case", "file-add", number, "id.txt", "--for", "identity", "--json").json["files"]
    assert desk("case", "files", number, "--json").json["files"][0]["purpose"] == "identity"
    desk("case", "file-get", number, str(ident), "--out", "out.txt")
    assert (desk.directory / "out.txt").read_text() == "a passport"
    assert "say --yes" in desk("case", "file-remove", number, str(ident), code=5).err
    desk("case", "file-remove", number, str(ident), "--yes")
    assert desk("case", "files", number, "--json").json["files"] == []
    assert "cannot be read" in desk("case", "file-add", number, "missing.txt", code=2).err


def test_the_record(desk: Dsr) -> None:
    """JSON to standard output without personal data, PDF to a file, and with the person only when asked."""
    number = new(desk)
    assert desk("case", "record", number, "--json").json["person"] is None
    assert desk("case", "record", number, "--personal", secret=False).json["person"]
    desk("case", "record", number, "--pdf", "--out", "record.pdf")
    assert (desk.directory / "record.pdf").read_bytes().startswith(b"%PDF")
    assert "needs a file" in desk("case", "record", number, "--pdf", code=2).err


# --- the face itself -------------------------------------------------------------------------------------------------------------------


def test_the_help_has_every_command_in_a_section() -> None:
    """No command is missing in the help, and none is made up."""
    from dsr_sdk.cli import app as application

    named = [name for names in SECTIONS.values() for name in names]
    assert len(named) == len(set(named))
    assert set(named) == set(application._Lazy()["case"].commands)


def test_completion_knows_the_subcommands(dsr: Dsr) -> None:
    """``dsr case co<TAB>``."""
    process = dsr.process(env={"_DSR_COMPLETE": "complete_bash", "COMP_WORDS": "dsr case copy-g", "COMP_CWORD": "2"})
    out, _ = process.communicate(timeout=60)
    assert out.split() == ["copy-generate"]


def test_without_a_workflow_it_says_what_to_do(dsr: Dsr) -> None:
    """A host that has its own workflow is told how to get this one; the old commands go on."""
    number = dsr.case()
    assert "add a line [workflow]" in dsr("case", "list", code=3).err
    assert "email: ada@example.com" in dsr("case", "show", number, secret=False).out


def test_submit_in_a_workflow_proposes_the_case(desk: Dsr, shop: SandboxServer) -> None:
    """There, the next step is no plan."""
    assert shop
    ran = desk("submit", "--type", "deletion", "--email", "ada@example.com")
    assert f"next: dsr case show {ran.out.strip()}" in ran.err


def test_downloads_that_break_leave_nothing(desk: Dsr, tmp_path: Path) -> None:
    """A file that cannot be written whole is not there at all."""
    from dsr_sdk.cli import consent
    from dsr_sdk.errors import LedgerError

    def broken() -> Iterator[bytes]:
        yield BytesIO(b"half").read()
        raise LedgerError("the file is damaged")

    with pytest.raises(LedgerError):
        consent.keep(tmp_path / "out.zip", broken(), overwrite=False)
    assert not list(tmp_path.glob("*out.zip*"))


def test_two_shops_are_told_apart(desk: Dsr, shop: SandboxServer) -> None:
    """Progress and panels name data sources, not vendors."""
    configure(desk, shop.url, name="shop-eu")
    number = processed(desk)
    assert {"shop", "shop-eu"} <= set(states(desk, number))
