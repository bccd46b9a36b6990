"""Files of cases: sealed, bounded, told by their bytes, and gone when they are to be gone."""

from __future__ import annotations

import errno
import io
import os
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from dsr_sdk import LedgerError, RequestError, VaultError
from dsr_sdk.host import Host
from dsr_sdk.host.process.file_kinds import clean_name, kind_of
from dsr_sdk.host.process.files import MOST, FileInfo
from dsr_sdk.ledger.database import reading
from dsr_sdk.ledger.desk import files
from tests.toys import Toy
from tests.world import World, deletion

AMY = "amy@example.com"
PDF = b"%PDF-1.7\n" + b"Ada Lovelace " * 20_000


def office(world: World, settings: str = "") -> tuple[Host, str]:
    """A host with the workflow, and a case in process."""
    world.tables = f"[workflow]\n{settings}"
    world.add("crm", Toy)
    host = world.open()
    case = host.submit(deletion(type="copy", channel="api"))
    host.workflow.accept(case, by=AMY)
    return host, case


def attach(host: Host, case: str, data: Any = PDF, **more: Any) -> FileInfo:
    """Attach something."""
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    return host.files.attach(case, stream, **{"name": "proof.pdf", "purpose": "evidence", "by": AMY, **more})


def close(host: Host, case: str) -> None:
    """The second half of *Reply & close*: the workflow's own step, without the letter."""
    with host.workflow.deciding() as (connection, book):
        host.workflow.close(connection, book, host.workflow.held(connection, case), by=AMY)


def on_disk(host: Host) -> list[Path]:
    """Every file in the spool."""
    return sorted(path for path in host.spool.rglob("*") if path.is_file())


def rows(host: Host) -> int:
    """How many files the ledger knows."""
    with reading(host.ledger.engine) as connection:
        return len(connection.execute(select(files.c.id)).all())


def test_a_file_comes_back_as_it_was(world: World) -> None:
    """Bytes, name, kind, size and hash; listed by purpose and source; taken from a stream or from pieces."""
    host, case = office(world)
    first = attach(host, case, source="crm")
    second = attach(host, case, iter([b"a,b\n", b"", b"1,2\n"]), name="export.csv", media_type="text/csv; charset=utf-8", purpose="copy")
    info, blocks = host.files.read(case, first.id)
    assert b"".join(blocks) == PDF
    assert (info.name, info.media_type, info.size, info.created_by, info.source) == ("proof.pdf", "application/pdf", len(PDF), AMY, "crm")
    assert b"".join(host.files.read(case, second.id)[1]) == b"a,b\n1,2\n"
    assert [item.id for item in host.files.of(case)] == [first.id, second.id]
    assert [item.media_type for item in host.files.of(case, purpose="copy")] == ["text/csv"]
    assert [item.id for item in host.files.of(case, source="crm")] == [first.id]


def test_nothing_of_it_lies_open(world: World) -> None:
    """Neither the bytes nor the name are on the disk, in the database, in the audit log or in a repr."""
    host, case = office(world)
    info = attach(host, case, name="lovelace-passport.pdf")
    (path,) = on_disk(host)
    assert b"Lovelace" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    with reading(host.ledger.engine) as connection:
        assert b"lovelace" not in bytes(connection.execute(select(files.c.sealed)).scalar_one())
    assert "lovelace" not in str(host.history(case))
    assert "lovelace" not in repr(info)


def test_two_gigabytes(world: World) -> None:
    """Cut off at the byte that is one too many: neither memory nor disk fill, and nothing remains."""
    host, case = office(world, "max_file_mb = 3")
    sent = 0
    largest = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent, largest
        yield b"%PDF-1.7\n"
        for _ in range(2048):
            sent += 1
            largest = max([largest, *(path.stat().st_size for path in on_disk(host))])
            yield bytes(1024 * 1024)

    tracemalloc.start()
    with pytest.raises(RequestError, match="larger than 3 MB"):
        attach(host, case, pieces())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sent == 3
    assert largest < 4 * 1024 * 1024
    assert peak < 12 * 1024 * 1024
    assert (on_disk(host), rows(host), list(host.spool.glob("*"))) == ([], 0, [])


def test_exactly_as_large_as_it_may_be(world: World) -> None:
    """The limit itself is taken, a byte more is not."""
    host, case = office(world, "max_file_mb = 1")
    most = 1024 * 1024
    assert attach(host, case, b"%PDF-" + bytes(most - 5)).size == most
    with pytest.raises(RequestError, match="larger than 1 MB"):
        attach(host, case, b"%PDF-" + bytes(most - 4))
    assert len(on_disk(host)) == 1


def bomb() -> bytes:
    """A small archive that would unpack to 100 MB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(100 * 1024 * 1024))
    return buffer.getvalue()


def test_a_zip_bomb(world: World) -> None:
    """As evidence, a proof of identity or an answer it is refused; added to a copy it stays as small as it is: nothing unpacks it."""
    host, case = office(world)
    data = bomb()
    assert len(data) < 200_000
    for purpose in ("evidence", "identity", "message"):
        with pytest.raises(RequestError, match="not taken"):
            attach(host, case, data, name="photos.zip", purpose=purpose)
    assert on_disk(host) == []
    tracemalloc.start()
    info = attach(host, case, data, name="export.zip", purpose="copy")
    assert b"".join(host.files.read(case, info.id)[1]) == data
    assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    tracemalloc.stop()
    assert sum(path.stat().st_size for path in on_disk(host)) < 250_000


@pytest.mark.parametrize(
    ("head", "declared", "kind"),
    [
        (b"%PDF-1.4 ...", "image/png", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n...", "", "image/png"),
        (b"\xff\xd8\xff\xe0", "application/pdf", "image/jpeg"),
        (b"RIFF1234WEBPVP8 ", "", "image/webp"),
        (b"\0\0\0\x18ftypheic", "", "image/heic"),
        (b"a;b\r\n\xe4;2", "text/csv", "text/csv"),
        (b'{"a": 1}', "application/json", "application/json"),
        (b"<script>alert(1)</script>", "text/html", "text/plain"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "image/svg+xml", "text/plain"),
    ],
)
def test_the_bytes_say_what_it_is(head: bytes, declared: str, kind: str) -> None:
    """What its sender says is believed only in what kind of text it is; nothing that a browser would run is ever its kind."""
    assert kind_of(head, declared) == kind


@pytest.mark.parametrize(
    "head", [b"MZ\x90\0", b"\x7fELF\2", b"\x1f\x8b\x08\0", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\0", b"PK\x03\x04...", b"\xca\xfe\xba\xbe\0"]
)
def test_kinds_that_are_not_taken(head: bytes) -> None:
    """Programs and archives, whatever they are declared as."""
    with pytest.raises(RequestError, match="not taken"):
        kind_of(head, "application/pdf")


@pytest.mark.parametrize(
    ("given_", "kind", "name"),
    [
        ("../../etc/passwd", "text/plain", "passwd.txt"),
        ("C:\\Users\\ada\\id.pdf", "application/pdf", "id.pdf"),
        ("evil\0.pdf\r\nSet-Cookie: a=b.pdf", "application/pdf", "evil.pdfSet-Cookie a=b.pdf"),
        ("invoice\u202efdp.exe", "application/pdf", "invoicefdp.exe.pdf"),
        ("holiday.pdf.exe", "application/pdf", "holiday.pdf.exe.pdf"),
        ("..", "image/png", "file.png"),
        ("", "image/png", "file.png"),
        ("con.pdf", "application/pdf", "_con.pdf"),
        ("a" * 500 + ".JPEG", "image/jpeg", "a" * 115 + ".JPEG"),
        ('Über uns "2024".csv', "text/csv", "Über uns 2024.csv"),
    ],
)
def test_names_are_made_harmless(given_: str, kind: str, name: str) -> None:
    """No folders, control or invisible characters, no other ending than its kind's, not too long."""
    assert clean_name(given_, kind) == name


@given(st.text(max_size=300))
def test_any_name_is_made_harmless(given_: str) -> None:
    """Whatever the name: one component, printable, short, with the right ending."""
    name = clean_name(given_, "application/pdf")
    assert 5 <= len(name) <= 120
    assert name.lower().endswith(".pdf")
    assert name.isprintable()
    assert not set('/\\<>:"|?*') & set(name)
    assert Path(name).name == name


def test_an_empty_file(world: World) -> None:
    """It is refused, and so is a purpose that is not there."""
    host, case = office(world)
    with pytest.raises(RequestError, match="empty"):
        attach(host, case, b"")
    with pytest.raises(RequestError, match="no such purpose"):
        attach(host, case, purpose="package")
    assert on_disk(host) == []


def test_a_full_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in words; nothing remains, and what is there already is untouched."""
    host, case = office(world)
    kept = attach(host, case)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("dsr_sdk.ledger.spool.os.fsync", full)
        with pytest.raises(LedgerError, match="No space left"):
            attach(host, case)
    assert len(on_disk(host)) == 1
    assert [info.id for info in host.files.of(case)] == [kept.id]


def test_a_sender_who_hangs_up(world: World) -> None:
    """Whatever the stream raises is raised, and nothing of it is kept."""
    host, case = office(world)

    def pieces() -> Iterator[bytes]:
        yield PDF
        raise ConnectionError("gone")

    with pytest.raises((ConnectionError, LedgerError)):
        attach(host, case, pieces())
    assert (on_disk(host), rows(host)) == ([], 0)


def test_tampering_is_noticed(world: World) -> None:
    """Changed, cut short, or put in the place of another file: it does not open."""
    host, case = office(world)
    first, second = attach(host, case), attach(host, case, b"%PDF-1.7 other")
    paths = {path.stat().st_size: path for path in on_disk(host)}
    large, small = paths[max(paths)], paths[min(paths)]
    original = large.read_bytes()
    for changed in (original[:-20], original[:5000] + bytes([original[5000] ^ 1]) + original[5001:], small.read_bytes()):
        large.write_bytes(changed)
        with pytest.raises(VaultError):
            b"".join(host.files.read(case, first.id)[1])
    large.unlink()
    with pytest.raises(LedgerError, match="not where it was stored"):
        host.files.read(case, first.id)
    assert b"".join(host.files.read(case, second.id)[1]) == b"%PDF-1.7 other"


def test_a_file_of_another_case(world: World) -> None:
    """Ids are not guessed across cases."""
    host, case = office(world)
    info = attach(host, case)
    other = host.submit(deletion("bob@example.com", channel="api"))
    with pytest.raises(LedgerError, match="no such file"):
        host.files.read(other, info.id)
    with pytest.raises(RequestError, match="no such file"):
        host.files.remove(other, info.id, by=AMY)


def test_removing(world: World) -> None:
    """Gone from the disk and the list, with its sealed name; once."""
    host, case = office(world)
    info = attach(host, case)
    host.files.remove(case, info.id, by=AMY)
    assert (host.files.of(case), on_disk(host)) == ([], [])
    with reading(host.ledger.engine) as connection:
        assert connection.execute(select(files.c.sealed)).scalar_one() is None
    with pytest.raises(RequestError, match="no such file"):
        host.files.remove(case, info.id, by=AMY)
    assert [event["event"] for event in host.history(case)][-2:] == ["file.attached", "file.removed"]


def test_who_looked_is_recorded(world: World) -> None:
    """A person who opens a file stands in the audit log; a program on a person's behalf does not."""
    host, case = office(world)
    info = attach(host, case)
    host.files.read(case, info.id)
    host.files.read(case, info.id, by=AMY)
    assert [(event["actor"], event["data"]["file"]) for event in host.history(case) if event["event"] == "file.read"] == [(AMY, info.id)]


def test_shredding_takes_the_files(world: World) -> None:
    """Nothing remains in the spool; the list is empty; nothing can be attached any more."""
    host, case = office(world)
    for purpose in ("evidence", "identity", "message"):
        attach(host, case, purpose=purpose)
    host.workflow.withdraw(case, by=AMY)
    close(host, case)
    info = host.files.of(case)[0]
    host.shred(case)
    assert list(host.spool.glob("*")) == []
    assert host.files.of(case) == []
    with pytest.raises(LedgerError):
        host.files.read(case, info.id)
    with pytest.raises(LedgerError):
        attach(host, case)
    assert list(host.spool.glob("*")) == []


def test_shredded_while_a_file_arrives(world: World) -> None:
    """The upload finds the case shredded when it ends: it is refused and leaves nothing behind."""
    host, case = office(world)
    host.workflow.withdraw(case, by=AMY)
    begun, go_on = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def pieces() -> Iterator[bytes]:
        yield PDF
        begun.set()
        assert go_on.wait(20)
        yield PDF

    def upload() -> None:
        try:
            attach(host, case, pieces())
        except LedgerError as error:
            failed.append(error)

    thread = threading.Thread(target=upload)
    thread.start()
    assert begun.wait(20)
    close(host, case)
    host.shred(case)
    go_on.set()
    thread.join(30)
    assert len(failed) == 1
    assert [path for path in host.spool.rglob("*") if path.is_file()] == []
    assert rows(host) == 0


def test_a_closed_case_takes_no_files(world: World) -> None:
    """What proves a closed case is neither added to nor taken away."""
    host, case = office(world)
    info = attach(host, case)
    host.workflow.withdraw(case, by=AMY)
    close(host, case)
    with pytest.raises(RequestError, match="closed"):
        attach(host, case)
    with pytest.raises(RequestError, match="closed"):
        host.files.remove(case, info.id, by=AMY)
    assert len(on_disk(host)) == 1


def test_a_flood_of_files(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A case has so many files and no more, whoever sends them and how many at once."""
    monkeypatch.setattr("dsr_sdk.host.process.files.MOST", 3)
    assert MOST == 100
    host, case = office(world)
    refused: list[str] = []
    start = threading.Barrier(6)

    def send() -> None:
        start.wait(20)
        try:
            attach(host, case, b"%PDF-1.7 x", by="subject")
        except RequestError as error:
            refused.append(error.message)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(refused) == 3
    assert (len(on_disk(host)), len(host.files.of(case))) == (3, 3)


def test_what_a_crash_left_is_thrown_away(world: World) -> None:
    """A half-written upload of yesterday goes with the next one; one that is under way stays."""
    host, case = office(world)
    attach(host, case)
    folder = on_disk(host)[0].parent
    old, new = folder / "old.sealed.part", folder / "new.sealed.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    attach(host, case)
    assert (old.exists(), new.exists()) == (False, True)
