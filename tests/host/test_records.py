"""Records: every event has words, the history tells who did what, and a case can be taken away as JSON and as PDF."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from dsr_sdk import Request
from dsr_sdk.errors import LedgerError
from dsr_sdk.host import Host
from dsr_sdk.host.cases.verification import Method
from dsr_sdk.host.records import record_pdf
from dsr_sdk.host.records.history import HistoryEvent, grouped
from dsr_sdk.host.records.record_pdf import fonts, write_pdf
from dsr_sdk.host.records.sentences import SENTENCES, sentence
from dsr_sdk.ledger import audit
from dsr_sdk.ledger.database import writing
from tests.docs.pages import DOCS, text_of
from tests.host.noted import noted
from tests.toys import Manually, Toy
from tests.world import World, staff

SCHEMA = json.loads((DOCS / "schemas" / "record.json").read_text(encoding="utf-8"))
ADA = {"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace", "phone": "+14155550123"}
CANARIES = ("ada@example.com", "Lovelace", "4155550123", "a word between us", "gold member", "nobody answers there any more")


def worked(world: World, **more: Any) -> tuple[Host, str]:
    """A deletion that Bob has accepted and carried out, with a note by Carol and a source that was overridden; it is in process."""
    world.tables = "[workflow]"
    world.add("crm", Toy, None, "ada@example.com")
    world.add("cabinet", Manually)
    world.add("attic", Manually)
    host = world.open()
    case = host.submit(Request.parse({"type": "deletion", "subject": ADA, "custom_fields": {"status": "gold member"}, **more}))
    host.request(case, by="dan@example.com")
    staff(host, "alice@example.com", "bob@example.com")
    host.workflow.assign(case, "bob@example.com", by="alice@example.com")
    host.workflow.verify(case, Method.DOCUMENT, by="bob@example.com")
    host.workflow.accept(case, by="bob@example.com")
    host.processing.search(case, wait=5)
    host.processing.give_free(case, ["crm"], by="bob@example.com")
    host.run(case, wait=5)
    host.processing.mark_done(case, "cabinet", by="carol@example.com")
    host.processing.override(case, "attic", by="bob@example.com", reason="nobody answers there any more")
    host.conversation.note(case, "a word between us", by="carol@example.com")
    return host, case


def closed(world: World, **more: Any) -> tuple[Host, str]:
    """The same, closed without a reply."""
    host, case = worked(world, **more)
    host.workflow.finish(case, by="bob@example.com", all_done=True)
    host.replies.edit(case, mode="none", reason="answered by telephone", by="bob@example.com")
    host.replies.close(case, by="bob@example.com", revision=host.workflow.get(case).revision)
    return host, case


# --- words ---------------------------------------------------------------------------------------------------------------------------


def test_every_event_has_words() -> None:
    """Whatever the code base notes in the audit log, people can read. Mend: a line in `dsr_sdk.host.records.sentences`."""
    found = noted()
    assert len(found) > 60
    assert not {event: where for event, where in found.items() if event not in SENTENCES}


def test_no_words_for_what_never_happens() -> None:
    """A sentence whose event is gone is taken away."""
    assert not set(SENTENCES) - set(noted())


@pytest.mark.parametrize("event", sorted(SENTENCES))
def test_a_sentence_needs_no_data(event: str) -> None:
    """An older or newer SDK may have noted less: the sentence is still one."""
    said = sentence(event, {})
    assert said
    assert "{" not in said


def test_sentences_are_filled_in() -> None:
    """Sources by their titles, days as days, lists as words, and an unknown event by its name. Braces in data are data."""
    assert sentence("source.searched", {"source": "crm", "found": 3}, {"crm": "Toy"}) == "Toy was searched: 3 found."
    assert sentence("sources.given_free", {"sources": ["crm", "b"]}, {"crm": "Toy"}) == "Data sources were given free: Toy, b."
    assert "2026-04-01." in sentence("stage.review", {"due_at": "2026-04-01T21:59:59+00:00"})
    assert sentence("case.assigned", {"agent": None}) == "The request was assigned to nobody."
    assert sentence("future.event_name", {}) == "future: event name"
    assert sentence("request.received", {"type": "do_not_sell", "channel": "mine_app"}) == "The request was received (Do not sell, by Consumer app)."
    assert sentence("stage.reply", {"step": "finish"}) == "The request went on to the reply: processing is done."
    assert sentence("stage.reply", {"step": "of a newer SDK"}) == "The request went on to the reply."
    assert sentence("source.overridden", {"source": "crm", "state": "found"}).endswith("It stood at: data found.")
    assert sentence("erase.retained", {"source": "crm", "resource": "payment_intent"}) == "Data is retained at crm (payment intent)."
    assert sentence("deadline.extended", {"because": "{0.__class__} {x}", "due_at": "2026-04-01"}).endswith("{0.__class__} {x}")


def test_searches_that_repeat_stand_once() -> None:
    """With how often, as long as nothing was done in between; what was found otherwise stands by itself."""
    at = datetime(2026, 3, 2, tzinfo=UTC)
    told = [("source.searched", "A"), ("source.searched", "B"), ("plan.made", "P"), ("source.searched", "A"), ("source.searched", "A2")]
    told += [("sources.given_free", "G"), ("source.searched", "A")]
    events = [HistoryEvent(n, at, "host", event, text, {}, "", "") for n, (event, text) in enumerate(told)]
    assert [(event.text, times) for event, times in grouped(events)] == [("A", 2), ("B", 1), ("P", 1), ("A2", 1), ("G", 1), ("A", 1)]


# --- history -------------------------------------------------------------------------------------------------------------------------


def test_the_history_of_a_case(world: World) -> None:
    """Who handled it, every event in order with words, every conversation, when data was deleted where, and that the chain holds."""
    host, case = closed(world)
    history = host.records.history(case)
    assert history.agents == ("alice@example.com", "bob@example.com", "carol@example.com")  # Dan has only looked
    assert [row.n for row in history.events] == list(range(1, len(history.events) + 1))
    assert [(row.event, row.at, row.actor) for row in history.events] == [(row["event"], row["at"], row["actor"]) for row in host.history(case)]
    said = [row.text for row in history.events]
    assert "The request was assigned to bob@example.com." in said
    assert "Data was deleted at Toy (contact)." in said
    assert said[-1] == "The request was closed."
    deleted = {row.source: row for row in history.deletions}
    assert set(deleted) == {"crm", "cabinet"}
    assert (deleted["crm"].title, deleted["crm"].by) == ("Toy", "vendor")
    assert deleted["cabinet"].by == "carol@example.com"
    assert all(isinstance(row.at, datetime) for row in history.deletions)
    assert [(row.direction, row.author, row.body) for row in history.conversation] == [("note", "carol@example.com", None)]
    assert [row.body for row in host.records.history(case, personal=True).conversation] == ["a word between us"]
    assert history.verified
    assert not history.problems


def test_a_history_shows_no_personal_data_by_itself(sqlite_world: World) -> None:
    """Neither do its parts, nor its repr when it was opened."""
    host, case = closed(sqlite_world)
    shown = repr(host.records.history(case)) + repr(host.records.history(case, personal=True))
    assert not [word for word in CANARIES if word in shown]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE audit SET actor = 'mallory' WHERE \"case\" = '{case}' AND n = 3", "was changed"),
        ("DELETE FROM audit WHERE \"case\" = '{case}' AND n = 4", "is missing"),
        ("DELETE FROM audit WHERE \"case\" = '{case}' AND event = 'stage.closed'", "the log does not say so"),
        ("DELETE FROM audit WHERE \"case\" = '{case}'", "does not say that the request was received"),
    ],
)
def test_a_history_that_was_tampered_with(world: World, damage: str, said: str) -> None:
    """It says so, and what is wrong; the record and the PDF do, too."""
    host, case = closed(world)
    with writing(host.ledger.engine) as connection:
        connection.exec_driver_sql(damage.format(case=case))
    history = host.records.history(case)
    assert not history.verified
    assert said in "; ".join(history.problems)
    assert host.records.record(case)["chain"]["verified"] is False
    assert "BROKEN" in written(host.records.record(case), using=())


def test_there_is_no_such_case(sqlite_world: World) -> None:
    """Nor a history of it."""
    with pytest.raises(LedgerError, match="no such case"):
        sqlite_world.open().records.history("DSR-0000-0000-0000-0000")


def test_the_hosts_own_history(sqlite_world: World) -> None:
    """Newest first, with words."""
    host = sqlite_world.open()
    host.accounts.make_key("shop", "agent", by="alice@example.com")
    host.accounts.revoke_key(1, by="alice@example.com")
    told = host.records.host_events()
    assert all(isinstance(row, HistoryEvent) for row in told)
    assert [row.text for row in told] == ["API key 1 was revoked.", "The API key shop was made (agent)."]
    assert host.records.host_events(1) == told[:1]


# --- the record ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("personal", [False, True])
def test_a_record_fits_its_schema(world: World, personal: bool) -> None:
    """At every stage of a case; with personal data only where it is asked for."""
    host, case = worked(world)
    under_way = host.records.record(case, personal=personal)
    jsonschema_rs.validate(SCHEMA, under_way)
    assert under_way["case"]["stage"] == "process"
    host.workflow.finish(case, by="bob@example.com", all_done=True)
    host.replies.edit(case, mode="none", reason="answered by telephone", by="bob@example.com")
    host.replies.close(case, by="bob@example.com", revision=host.workflow.get(case).revision)
    record = host.records.record(case, personal=personal)
    jsonschema_rs.validate(SCHEMA, record)
    assert json.loads(json.dumps(record)) == record
    assert record["case"]["stage"] == "closed"
    text = json.dumps(record, ensure_ascii=False)
    assert [word for word in CANARIES if word in text] == (list(CANARIES) if personal else [])
    assert (record["reply"]["mode"], record["reply"]["reason"]) == ("none", "answered by telephone" if personal else None)
    assert {row["source"]: row["state"] for row in record["sources"]} == {"crm": "done", "cabinet": "done", "attic": "overridden"}


def test_every_type_of_request_has_a_record(sqlite_world: World) -> None:
    """Also one that nobody has looked at yet, and one outside the workflow."""
    sqlite_world.add("crm", Toy, None, "ada@example.com")
    case = sqlite_world.open().submit(Request.parse({"type": "deletion", "subject": ADA}))
    sqlite_world.tables = "[workflow]"
    host = sqlite_world.open()
    numbers = [
        host.submit(Request.parse({"type": type_, "subject": ADA})) for type_ in ("deletion", "copy", "do_not_sell", "do_not_mail", "right_to_edit")
    ]
    for number in (case, *numbers):
        record = host.records.record(number, personal=True)
        jsonschema_rs.validate(SCHEMA, record)
        assert record["chain"]["verified"], record["chain"]
        assert written(record, using=())


def test_the_schema_refuses() -> None:
    """It is no schema of anything: a field more, a field less, another version."""
    for wrong in ({}, {"schema": "dsr-sdk/record", "version": 2}):
        assert not jsonschema_rs.is_valid(SCHEMA, wrong)


def test_a_record_of_a_shredded_case(world: World) -> None:
    """What happened stays, and what was personal is gone, even where it is asked for."""
    host, case = closed(world)
    host.shred(case, by="alice@example.com")
    record = host.records.record(case, personal=True)
    jsonschema_rs.validate(SCHEMA, record)
    assert record["case"]["shredded"]
    assert record["chain"]["verified"]
    assert record["person"] is None
    assert record["conversation"][0]["body"] is None
    assert record["reply"]["reason"] is None
    assert {row["source"] for row in record["deletions"]} == {"crm", "cabinet"}
    assert record["history"][-1]["event"] == "case.shredded"
    assert not [word for word in CANARIES if word in json.dumps(record)]
    assert written(record, using=())


def test_taking_a_record_away_is_audited(sqlite_world: World) -> None:
    """With who and how; making one for a program is not."""
    host, case = closed(sqlite_world)
    host.records.record(case)
    assert not [row for row in host.history(case) if row["event"] == "record.exported"]
    host.records.record(case, personal=True, by="eve@example.com")
    host.records.pdf(case, io.BytesIO(), by="eve@example.com")
    taken = [(row["actor"], row["data"]) for row in host.history(case) if row["event"] == "record.exported"]
    assert taken == [("eve@example.com", {"format": "JSON", "personal": True}), ("eve@example.com", {"format": "PDF", "personal": False})]
    assert "eve@example.com" not in host.records.history(case).agents


def test_a_records_history_is_checked_anywhere(sqlite_world: World) -> None:
    """The file alone is enough: each entry's hash is made over what the record shows."""
    host, case = closed(sqlite_world)
    record = json.loads(json.dumps(host.records.record(case)))

    def checked(rows: list[dict[str, Any]]) -> audit.AuditReport:
        lines = [{**row, "case": case, "at": round(datetime.fromisoformat(row["at"]).timestamp() * 1000)} for row in rows]
        return audit.verify_exported(json.dumps(line) for line in lines)

    assert checked(record["history"]).ok
    record["history"][2]["actor"] = "mallory"
    assert not checked(record["history"]).ok


# --- the PDF -------------------------------------------------------------------------------------------------------------------------


def written(record: dict[str, Any], **how: Any) -> str:
    """The text of a PDF in fonts that every reader has, taken from its uncompressed pages."""
    stream = io.BytesIO()
    write_pdf(record, stream, compress=False, **how)
    raw = stream.getvalue().decode("latin-1")
    pieces = re.findall(r"\(((?:[^()\\]|\\.)*)\) ?Tj", raw, re.DOTALL)
    return " ".join(re.sub(r"\\(.)", r"\1", piece) for piece in pieces)


def read(record: dict[str, Any], directory: Path) -> str:
    """The text of a PDF as a reader shows it."""
    program = shutil.which("pdftotext")
    if program is None:
        pytest.skip("pdftotext is not installed (Debian: poppler-utils)")
    with (directory / "record.pdf").open("wb") as stream:
        write_pdf(record, stream)
    return subprocess.run([program, "-layout", "-enc", "UTF-8", str(directory / "record.pdf"), "-"], capture_output=True, check=True).stdout.decode()


def flat(text: str) -> str:
    """Without spaces: lines are broken where the page ends."""
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("personal", [False, True])
def test_the_pdf_says_what_the_record_says(sqlite_world: World, tmp_path: Path, personal: bool) -> None:
    """Every sentence, actor, hash, text; and nothing personal that was not asked for."""
    host, case = closed(sqlite_world)
    record = host.records.record(case, personal=personal)
    for text in (written(record, using=()), read(record, tmp_path)):
        shown = flat(text)
        for row in record["history"]:
            assert flat(row["text"]) in shown
            itself = row["actor"] == "host" or row["actor"].startswith("connector:")
            assert flat("by itself" if itself else row["actor"]) in shown
        assert not [code for code in ("plan.approved", "overridden", "eu_gdpr", "(finish)", "shredded") if code in shown]
        for piece in (
            case,
            "Example GmbH",
            "Toy",
            "Went on without it",
            "Personal data destroyed no",
            record["chain"]["last"],
            "unbroken",
            "confirmed by carol@example.com",
        ):
            assert flat(piece) in shown, piece
        assert [word for word in CANARIES[:-1] if flat(word) in shown] == (list(CANARIES[:-1]) if personal else [])


def test_the_pdf_is_a4_and_always_the_same(sqlite_world: World) -> None:
    """One record, one file; it begins like a PDF and has A4 pages, several where it is long."""
    host, case = closed(sqlite_world)
    record = host.records.record(case)
    first, second = io.BytesIO(), io.BytesIO()
    write_pdf(record, first)
    write_pdf(record, second)
    assert first.getvalue() == second.getvalue()
    assert first.getvalue().startswith(b"%PDF-")
    assert b"/MediaBox [0 0 595.28 841.89]" in first.getvalue()
    record["history"] = record["history"] * 10
    long = io.BytesIO()
    write_pdf(record, long, using=())
    assert long.getvalue().count(b"/Type /Page\n") > 4


NAMES = {
    "Greek": "Αδα Λαβλεϊς",
    "Cyrillic": "Ада Лавлейс",
    "Polish": "Łucja Żółkiewska",
    "Chinese": "爱达",
    "Hebrew": "עדה",
    "hostile": "<script>alert(1)</script> \\) Tj (x) %s **bold** {nb}",
    "emoji": "Ada 🦉",
}


@pytest.mark.parametrize("script", list(NAMES))
def test_names_in_other_scripts_without_a_font(sqlite_world: World, script: str) -> None:
    """What the standard fonts have no letter for stands there as its code point: strange, but nothing is lost and nothing breaks."""
    host, case = closed(sqlite_world, custom_fields={"called": NAMES[script]})
    shown = flat(written(host.records.record(case, personal=True), using=()))
    expected = "".join(letter if ord(letter) <= 0xFF else f"[U+{ord(letter):04X}]" for letter in NAMES[script])
    assert flat(expected) in shown


@pytest.mark.parametrize("script", ["Greek", "Cyrillic", "Polish", "hostile"])
def test_names_in_other_scripts_with_a_font(sqlite_world: World, tmp_path: Path, script: str) -> None:
    """With DejaVu Sans the letters are there, and can be copied from the page."""
    if not fonts():
        pytest.skip("no font with more letters is installed (Debian: fonts-dejavu-core)")
    host, case = closed(sqlite_world, custom_fields={"called": NAMES[script]})
    assert flat(NAMES[script]) in flat(read(host.records.record(case, personal=True), tmp_path))


def test_what_no_font_knows_and_what_is_invisible(sqlite_world: World, tmp_path: Path) -> None:
    """Letters that the fonts at hand do not have, and characters that turn a line around, are shown by their code points."""
    if not fonts():
        pytest.skip("no font with more letters is installed (Debian: fonts-dejavu-core)")
    only = [path for path in fonts() if path.name == "DejaVuSans.ttf"]
    if not only:
        pytest.skip("DejaVu Sans is not installed")
    text = "爱 \u202egnp.exe \x07 \U00012345"
    host, case = closed(sqlite_world, custom_fields={"called": text})
    document = record_pdf._document("")
    clean = record_pdf._embed(document, only, set(text))
    document.add_page()
    document.output()  # closes the font
    assert clean(text) == "[U+7231] [U+202E]gnp.exe [U+0007] [U+12345]"
    record = host.records.record(case, personal=True)
    stream = io.BytesIO()
    write_pdf(record, stream, using=only)
    assert stream.getvalue().startswith(b"%PDF-")


def test_lines_from_right_to_left(sqlite_world: World, tmp_path: Path) -> None:
    """A Hebrew name is read from the right, and what a reader copies is the name."""
    if not fonts():
        pytest.skip("no font with more letters is installed (Debian: fonts-dejavu-core)")
    host, case = closed(sqlite_world, custom_fields={"called": "x עדה לאבלייס 12 y", "longer": "עדה " * 60})
    shown = read(host.records.record(case, personal=True), tmp_path)
    assert "עדה" in shown
    assert flat(shown).count("עדה") == 61


def test_the_host_does_not_load_fpdf() -> None:
    """Only who writes a PDF pays for it."""
    program = "import sys, dsr_sdk.host, dsr_sdk.host.records.records, dsr_sdk.host.records.record_pdf; print('fpdf' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "False"


def test_the_page_names_every_field() -> None:
    """docs/records.md explains each part of a record."""
    page = text_of(DOCS / "records.md")
    for name in SCHEMA["properties"]:
        assert f"`{name}`" in page, name
