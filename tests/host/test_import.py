"""Files of requests: what they may look like, what is said of a wrong one, and that nothing is taken twice or by halves."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsr_sdk.errors import RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.arrivals.intake import ImportResult
from dsr_sdk.host.arrivals.intake_rows import COLUMNS
from tests.world import World

HEADER = "type,email,first_name,last_name,reference\n"


@pytest.fixture
def opened(sqlite_world: World) -> Host:
    """A host with a workflow."""
    sqlite_world.tables = "[workflow]"
    return sqlite_world.open()


def take(host: Host, text: str | bytes, format: Any = "csv", **more: Any) -> ImportResult:
    """Import a text."""
    data = text.encode() if isinstance(text, str) else text
    return host.intake.import_file(io.BytesIO(data), format=format, by="alice@example.com", **more)


def only(host: Host) -> Any:
    """The request of the only case."""
    [case] = host.cases()
    return host.request(case.number)


# --- CSV ---------------------------------------------------------------------------------------------------------------------------------


def test_every_column_arrives(opened: Host) -> None:
    """A row with all columns becomes the request it describes."""
    evidence = json.dumps([{"sent_at": "2026-01-01T10:00:00Z", "subject": "Your order", "from_address": "shop@example.com"}]).replace('"', '""')
    values = ["deletion", "Ada@Example.com", "+491713920012", "u-1", "Ada", "Lovelace", "app_data", "mine_app", "eu_gdpr", "DE", "DE-BY", "de", "r-1"]
    row = ",".join([*values, "2026-10-30T09:00:00+01:00", f'"{evidence}"', "Paris"])
    assert take(opened, ",".join([*COLUMNS, "custom.shop"]) + "\n" + row + "\n") == ImportResult(1, 1, 0, 0, ())
    request = only(opened)
    assert (request.subject.email, request.subject.phone, request.subject.user_id) == ("ada@example.com", "+491713920012", "u-1")
    assert (request.scope, request.channel, request.regime, request.country, request.language) == ("app_data", "mine_app", "eu_gdpr", "DE", "de")
    assert request.region == "DE-BY"
    assert request.custom_fields == {"shop": "Paris"}
    assert request.email_evidence[0].from_address == "shop@example.com"
    assert request.received_at.isoformat() == "2026-10-30T09:00:00+01:00"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_spreadsheets_write(opened: Host, delimiter: str, bom: bytes, end: str) -> None:
    """With and without a mark at the beginning, with each delimiter and line end, capitals and blanks in the header, blank lines."""
    lines = [f"Type{delimiter} E-Mail{delimiter}First name", f"copy{delimiter}ada@example.com{delimiter} Jürgen ", "", delimiter * 2, ""]
    text = end.join(lines).replace("E-Mail", "Email")
    assert take(opened, bom + text.encode()).taken == 1
    assert only(opened).subject.name.first == "Jürgen"


def test_quoted_newlines_and_delimiters(opened: Host) -> None:
    """A quoted value may hold line ends, quotes and delimiters; lines are counted on as an editor counts them."""
    text = 'type,email,custom.note\ncopy,ada@example.com,"one, ""two""\nthree"\ncopy,nobody,x\n'
    result = take(opened, text, partial=True)
    assert only(opened).custom_fields == {"note": 'one, "two"\nthree'}
    assert [line for line, _ in result.errors] == [4]


def test_errors_name_the_line_and_the_field_never_the_value(opened: Host) -> None:
    """Each wrong row is told with its line; none of them repeats what stands in it."""
    rows = ["erase,secret@example.com", "copy,secret(at)example.com", "copy,a@example.com,Secret,x,y,z", "copy,", 'copy,"b@example.com",Se,cret,r']
    result = take(
        opened, HEADER + "\n".join([*rows[:4], rows[4] + "\n"]).replace("example.com\n", "example.com,,,\n").replace("copy,\n", "copy,,,,\n")
    )
    assert [line for line, _ in result.errors] == [2, 3, 4, 5]
    told = dict(result.errors)
    assert "type" in told[2]
    assert told[3].startswith("email: is not an e-mail address")
    assert told[4] == "has 6 columns, the header has 5"
    assert "subject is missing" in told[5]
    assert "ecret" not in str(result.errors)
    assert (result.rows, result.taken, result.wrong) == (5, 0, 4)
    assert list(opened.cases()) == []


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (b"", 1, "empty"),
        (b"ada@example.com,copy\n", 1, "column 1 has no name we know"),
        (b"type,email,email\n", 1, "column 3 has the name of an earlier one"),
        (b"email,country\n", 1, "needs the columns type and"),
        (b"type,email\ncopy,j\xfcrgen@example.com\n", 2, "not UTF-8"),
        (b'type,email\ncopy,a@example.com\ncopy,"b@example.com\n', 3, "a quote is not closed"),
        (b'type,email\ncopy,"a"@example.com\n', 2, "double a quote"),
        (b"type,email\ncopy," + b"x" * (1 << 20) + b"\n", 2, "longer than"),
        (b"type,email,email_evidence\ncopy,a@example.com,[\n", 2, "not valid JSON"),
        (b"type,email,email_evidence\ncopy,a@example.com," + b"[" * 100_000 + b"\n", 2, "not valid JSON"),
    ],
)
def test_unreadable_files(opened: Host, text: bytes, line: int, said: str) -> None:
    """A file that is no CSV of requests is one error that says where, and takes nothing."""
    result = take(opened, text)
    assert [found for found, _ in result.errors] == [line]
    assert said in result.errors[0][1]
    assert list(opened.cases()) == []


def test_configured_fields_are_typed(sqlite_world: World) -> None:
    """A column for a field of the form becomes a number or a yes; what is not one is told with its line."""
    sqlite_world.tables = """[workflow]
[[privacy_center.fields]]
name = "number"
label = {en = "Number"}
kind = "number"
[[privacy_center.fields]]
name = "member"
label = {en = "Member"}
kind = "yes_no"
"""
    host = sqlite_world.open()
    result = take(host, "type,email,custom.number,custom.member\ncopy,a@example.com,12,yes\ncopy,b@example.com,x,no\n", partial=True)
    assert result.errors == ((3, "custom.number: is not a number"),)
    assert only(host).custom_fields == {"number": 12, "member": True}


# --- JSON --------------------------------------------------------------------------------------------------------------------------------


def test_json_and_jsonl(opened: Host) -> None:
    """A list, and one request a line, in the form that the API takes."""
    rows = [{"type": "copy", "subject": {"email": f"p{i}@example.com"}, "reference": f"r{i}"} for i in range(3)]
    assert take(opened, json.dumps(rows, indent=2), "json").taken == 3
    assert take(opened, "\n".join(json.dumps(row) for row in rows) + "\n\n", "jsonl") == ImportResult(3, 0, 3, 0, ())
    assert take(opened, "[]", "json").rows == 0
    assert {case.channel for case in opened.cases()} == {"import"}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "not a JSON list"),
        ('{"type": "copy"}', 1, "not a JSON list"),
        ('[\n{"type": "copy", "subject": {"email": "a@example.com"}}', 2, "comma or the end"),
        ('[\n{"type": "copy", "subject": {"email": "a@example.com"}}\n{}]', 3, "comma or the end"),
        ('[\n\n{"type": ]', 3, "not valid JSON"),
        ('["x"]', 1, "an object should begin"),
        ('[{"type": "copy", "subject": {"email": "a@example.com"}},\n]', 2, "an object should begin"),
        ("[]\n[]", 2, "goes on after"),
        ('[{"type": "copy", "subject": {"email": "a@example.com"}, "language": "\\ud800"}]', 1, "JSON"),
        ("[" + '{"a":' * 100_000, 1, "nested too deeply"),
    ],
)
def test_unreadable_json(opened: Host, text: str, line: int, said: str) -> None:
    """What is no list of requests is told with its line, and takes nothing."""
    result = take(opened, text, "json")
    assert result.errors[-1][0] == line
    assert said in result.errors[-1][1]
    assert list(opened.cases()) == []


def test_json_lines_with_errors(opened: Host) -> None:
    """A broken line is told; the right ones are taken when asked for."""
    text = '{"type": "copy", "subject": {"email": "a@example.com"}}\nnothing\n{"type": "copy"}\n{"type": "copy", "case": "DSR-0000-0000-0000-0000"}\n'
    result = take(opened, text, "jsonl", partial=True)
    assert (result.taken, [line for line, _ in result.errors]) == (1, [2, 3, 4])


# --- all or nothing, once ----------------------------------------------------------------------------------------------------------------


def test_one_wrong_row_keeps_the_file_out(world: World) -> None:
    """Nothing is taken unless all is right; with `partial` the right rows are; a dry run takes nothing at all. On each database."""
    world.tables = "[workflow]"
    host = world.open()
    text = HEADER + "".join(f"copy,p{i}@example.com,,,r{i}\n" for i in range(700)) + "copy,nobody,,,\n"
    assert take(host, text).taken == 0
    assert list(host.cases()) == []
    assert take(host, text, dry_run=True) == ImportResult(701, 700, 0, 1, ((702, take(host, text).errors[0][1]),))
    assert list(host.cases()) == []
    assert take(host, text, partial=True).taken == 700
    assert len(list(host.cases())) == 700
    assert take(host, text, dry_run=True).duplicates == 700


def test_the_same_reference_is_one_case(opened: Host) -> None:
    """In the file, and in what came before: by its reference a request is known again."""
    text = HEADER + "copy,a@example.com,,,r1\ncopy,a@example.com,,,r1\ncopy,b@example.com,,,r2\n"
    assert take(opened, text, dry_run=True) == ImportResult(3, 2, 1, 0, ())
    assert take(opened, text) == ImportResult(3, 2, 1, 0, ())
    assert take(opened, text) == ImportResult(3, 0, 3, 0, ())
    assert len(list(opened.cases())) == 2


def test_an_import_that_broke_off_goes_on(opened: Host) -> None:
    """The power fails in the middle: the same file, imported again, makes the rest and nothing twice, even without references."""
    text = "type,email\n" + "".join(f"copy,p{i}@example.com\n" for i in range(1200))

    def fail(step: str, rows: int) -> None:
        if step == "taken":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(opened, text, on_progress=fail)
    assert len(list(opened.cases())) == 500
    assert take(opened, text) == ImportResult(1200, 700, 500, 0, ())
    assert len(list(opened.cases())) == 1200


def test_requests_of_the_consumer_app(opened: Host) -> None:
    """They come signed in at the mailbox: verified by OAuth; of their evidence the last three e-mails are kept, the newest first; R4, R5, V2, V3."""
    mails = [
        {"sent_at": f"2026-0{month}-01T10:00:00Z", "subject": f"Order {month}", "from_address": "shop@example.com", "reply_to": "help@example.com"}
        for month in (1, 4, 2, 3)
    ]
    row = {"type": "deletion", "channel": "mine_app", "country": "DE", "subject": {"email": "ada@example.com"}, "email_evidence": mails}
    assert take(opened, json.dumps([row]), "json").taken == 1
    [case] = opened.cases()
    assert (case.channel, case.verified_by, case.stage) == ("mine_app", "oauth", "review")
    assert [mail.subject for mail in only(opened).email_evidence] == ["Order 4", "Order 3", "Order 2"]
    assert only(opened).email_evidence[0].reply_to == "help@example.com"
    assert only(opened).country == "DE"


def test_who_imported_stands_in_the_audit_log(opened: Host) -> None:
    """The agent's name, on every case."""
    take(opened, HEADER + "copy,a@example.com,,,\n")
    [case] = opened.cases()
    assert ("request.entered", "alice@example.com") in [(event["event"], event["actor"]) for event in opened.history(case.number)]


def test_days_that_cannot_be_meant(opened: Host) -> None:
    """A day in the future, and one of the last century, are refused with their line."""
    text = "type,email,received_at\ncopy,a@example.com,2126-01-01T00:00:00Z\ncopy,a@example.com,1926-01-01T00:00:00Z\ncopy,a@example.com,1.1.2026\n"
    assert [line for line, said in take(opened, text).errors if "received_at" in said] == [2, 3, 4]


def test_files_by_path(opened: Host, tmp_path: Path) -> None:
    """The name tells the format; a file that is not there, or tells none, is an error."""
    path = tmp_path / "Requests.CSV"
    path.write_text(HEADER + "copy,a@example.com,,,\n")
    assert opened.intake.import_file(path, by="alice@example.com").taken == 1
    for wrong in (tmp_path / "missing.csv", tmp_path / "requests.xlsx", tmp_path):
        with pytest.raises(RequestError):
            opened.intake.import_file(wrong, by="alice@example.com")
    with pytest.raises(RequestError, match="format"):
        opened.intake.import_file(io.BytesIO(b""), by="alice@example.com")


class Endless(io.RawIOBase):
    """A long CSV file that nobody has to store."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._lines = self._make()
        self._at = 0

    def _make(self) -> Iterator[bytes]:
        yield HEADER.encode()
        for i in range(self.rows):
            yield f"deletion,person{i}@example.com,Ada,Lovelace,\n".encode()

    def readline(self, size: int | None = -1, /) -> bytes:
        return next(self._lines, b"")

    def tell(self) -> int:
        return 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._lines = self._make()
        return 0


def test_a_long_file_is_a_stream(opened: Host) -> None:
    """What is in memory does not grow with it, and progress is told."""
    told: list[tuple[str, int]] = []
    tracemalloc.start()
    try:
        source: Any = Endless(20_000)
        result = opened.intake.import_file(source, format="csv", by="a@example.com", dry_run=True, on_progress=lambda *said: told.append(said))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (result.rows, result.taken, result.wrong) == (20_000, 20_000, 0)
    assert told[0] == ("checked", 500)
    assert told[-1] == ("checked", 20_000)
    assert peak < 5_000_000
