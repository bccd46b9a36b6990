"""Copies: one sealed package, handed over once, to whoever has the link and reads the person's mail."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import threading
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from sqlalchemy import select

from dsr_sdk import ConfigError, Email, LedgerError, RejectedError, RequestError
from dsr_sdk.copy import verify_package
from dsr_sdk.errors import ConflictError
from dsr_sdk.host import Host
from dsr_sdk.host.answers.links import LinkError, Purpose
from dsr_sdk.ledger.database import reading
from dsr_sdk.ledger.desk import links
from dsr_sdk.testing import Fault
from tests.smtp import Inbox
from tests.toys import Manually, Toy, ToyVendor
from tests.world import World, deletion

AMY, ADA = "amy@example.com", "ada@example.com"
PDF = b"%PDF-1.7 the contract of Ada Lovelace"


def collected(world: World, inbox: Inbox | None = None, *, settings: str = "", **more: Any) -> tuple[Host, str]:
    """A copy request that was collected."""
    world.tables = f"[workflow]\n{settings}"
    if inbox is not None:
        world.mail = inbox.toml
    world.add("crm", Toy, None, ADA)
    host = world.open()
    case = host.submit(deletion(**{"type": "copy", "channel": "api", **more}))
    host.workflow.accept(case, by=AMY)
    collect(host, case)
    return host, case


def collect(host: Host, case: str) -> None:
    """Search and collect everything that is found."""
    host.processing.search(case)
    host.processing.give_free(case, [row.source for row in host.processing.panel(case).sources if row.selectable], by=AMY)
    host.processing.run(case)


def offered(host: Host, case: str) -> str:
    """Generate, offer; the token of the link."""
    host.delivery.generate(case, by=AMY)
    return host.delivery.offer(case, by=AMY).rpartition("/")[2]


def code_in(inbox: Inbox) -> str:
    """The code in the newest letter."""
    found = re.search(r"\b(\d{6})\b", inbox.texts[-1])
    assert found is not None
    return found[1]


def wrong(code: str) -> str:
    """Another code."""
    return f"{(int(code) + 1) % 10**6:06d}"


def close(host: Host, case: str) -> None:
    """The second half of *Reply & close*: the workflow's own step, without the letter."""
    with host.workflow.deciding() as (connection, book):
        host.workflow.close(connection, book, host.workflow.held(connection, case), by=AMY)


def on_disk(host: Host) -> list[Path]:
    """Every file in the spool that belongs to a package or was attached."""
    return [path for path in host.spool.rglob("files/*") if path.is_file()]


def opened(data: bytes, tmp_path: Path) -> dict[str, bytes]:
    """The files of a package that is what its manifest says."""
    path = tmp_path / "copy.zip"
    path.write_bytes(data)
    assert verify_package(path) == []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# --- the package ---------------------------------------------------------------------------------------------------------------------


def test_the_package_lies_sealed(world: World, tmp_path: Path) -> None:
    """Generated, it is in the spool and nowhere in the open; an agent who looks at it stands in the audit log."""
    host, case = collected(world)
    made = host.delivery.generate(case, by=AMY)
    (path,) = on_disk(host)
    assert not zipfile.is_zipfile(path)
    assert ADA.encode() not in path.read_bytes()
    name, blocks = host.delivery.download(case, by=AMY)
    data = b"".join(blocks)
    contents = opened(data, tmp_path)
    assert name == f"copy-{case}.zip"
    assert (made.size, made.files, made.current) == (len(data), len(contents) - 1, True)
    assert ADA.encode() in contents["data/crm/ticket.jsonl"]
    events = {event["event"]: event for event in host.history(case)}
    assert events["copy.generated"]["data"]["manifest_sha256"] == made.manifest_sha256
    assert events["copy.downloaded"]["actor"] == AMY
    assert [path for path in host.spool.rglob("*") if path.suffix in (".zip", ".part")] == []


@pytest.mark.parametrize(("said", "status", "state"), [("nothing_found", "nothing_found", "nothing_found"), ("elsewhere", "elsewhere", "done")])
def test_a_copy_says_what_a_person_said(world: World, tmp_path: Path, said: str, status: str, state: str) -> None:
    """Of work by hand it must be said what it came to; package, record and letter say that, and nothing beyond it."""
    world.add("cabinet", Manually)
    host, case = collected(world)
    assert host.delivery.generable(case) == ""
    with pytest.raises(RequestError, match="what did it come to"):
        host.processing.mark_done(case, "cabinet", by=AMY)
    with pytest.raises(RequestError, match="no file of it goes with the copy"):
        host.processing.mark_done(case, "cabinet", by=AMY, result="attached")
    host.processing.mark_done(case, "cabinet", by=AMY, result=said)
    assert next(row.state.value for row in host.processing.panel(case).sources if row.source == "cabinet") == state
    host.delivery.generate(case, by=AMY)
    contents = opened(b"".join(host.delivery.download(case, by=AMY)[1]), tmp_path)
    (entry,) = [row for row in json.loads(contents["manifest.json"])["sources"] if row["name"] == "cabinet"]
    assert (entry["status"], entry["incomplete"], entry["elsewhere"]) == (status, False, said == "elsewhere")
    assert ("Answered separately" in contents["index.html"].decode()) is (said == "elsewhere")
    (line,) = [row for row in host.records.record(case)["sources"] if row["source"] == "cabinet"]
    assert line["result"] == said
    reply = host.templates.render(host.templates.choose(case), case)[1]
    assert {"nothing_found": "no data of yours found", "elsewhere": "answered separately"}[said] in reply


def test_files_are_added_by_hand(world: World, tmp_path: Path) -> None:
    """What a person collected at a manual source, and what belongs to none: in the package, the manifest, the page and the README."""
    world.add("cabinet", Manually)
    host, case = collected(world)
    host.files.attach(case, io.BytesIO(PDF), name="Vertrag Ü 1.pdf", purpose="copy", source="cabinet", by=AMY)
    host.files.attach(case, [b"a,b\n1,2\n"], name="../list.csv", media_type="text/csv", purpose="copy", by=AMY)
    host.files.attach(case, [b"%PDF- not for the person"], name="note.pdf", purpose="evidence", source="cabinet", by=AMY)
    with pytest.raises(RequestError, match="files of it go with the copy"):
        host.processing.mark_done(case, "cabinet", by=AMY, result="nothing_found")
    host.processing.mark_done(case, "cabinet", by=AMY)
    assert next(row.result for row in host.processing.panel(case).sources if row.source == "cabinet") == "attached"
    host.delivery.generate(case, by=AMY)
    contents = opened(b"".join(host.delivery.download(case, by=AMY)[1]), tmp_path)
    assert contents["files/cabinet/vertrag-u-1.pdf"] == PDF
    assert contents["files/added/list.csv"] == b"a,b\n1,2\n"
    assert not any(b"not for the person" in content for content in contents.values())
    manifest = json.loads(contents["manifest.json"])
    sources = {row["name"]: row for row in manifest["sources"]}
    assert (sources["cabinet"]["status"], sources["cabinet"]["handed"]) == (
        "found",
        [{"name": "Vertrag Ü 1.pdf", "file": "files/cabinet/vertrag-u-1.pdf"}],
    )
    page = contents["index.html"].decode()
    assert '<a href="files/cabinet/vertrag-u-1.pdf" dir="auto">Vertrag Ü 1.pdf</a>' in page
    assert "files/" in contents["README.txt"].decode()


def test_a_file_whose_name_is_a_script(world: World, tmp_path: Path) -> None:
    """Escaped on the page, and harmless as a path."""
    host, case = collected(world)
    host.files.attach(case, io.BytesIO(PDF), name="<script>alert(1)<&script>.pdf", purpose="copy", by=AMY)
    host.delivery.generate(case, by=AMY)
    page = opened(b"".join(host.delivery.download(case, by=AMY)[1]), tmp_path)["index.html"].decode()
    assert "<script" not in page


def test_generating_again_replaces(world: World, inbox: Inbox) -> None:
    """The old package is gone from the disk, and the link to it is over."""
    host, case = collected(world, inbox)
    token = offered(host, case)
    first = host.delivery.package(case)
    host.files.attach(case, io.BytesIO(PDF), name="a.pdf", purpose="copy", by=AMY)
    stale = host.delivery.package(case)
    assert stale is not None
    assert not stale.current
    for act in (lambda: host.delivery.download(case, by=AMY), lambda: host.delivery.offer(case, by=AMY)):
        with pytest.raises(RequestError, match="before the last change"):
            act()
    assert "not since the last change" in host.processing.blockers(case, all_done=False)[0]
    host.delivery.generate(case, by=AMY)
    second = host.delivery.package(case)
    assert first is not None
    assert second is not None
    assert (second.current, second.manifest_sha256 != first.manifest_sha256) == (True, True)
    assert len(on_disk(host)) == 2  # the package, and the file that was added
    with pytest.raises(LinkError):
        host.delivery.send_code(token)
    assert not inbox.letters


def test_two_generate_at_once(world: World) -> None:
    """Both end well, and one package is left."""
    host, case = collected(world)
    start = threading.Barrier(3)
    errors: list[BaseException] = []

    def generate() -> None:
        start.wait(20)
        try:
            host.delivery.generate(case, by=AMY)
        except BaseException as error:  # noqa: BLE001 - none is expected
            errors.append(error)

    threads = [threading.Thread(target=generate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(on_disk(host)) == 1
    assert zipfile.is_zipfile(io.BytesIO(b"".join(host.delivery.download(case, by=AMY)[1])))


def test_what_was_not_collected_is_said(world: World, tmp_path: Path) -> None:
    """A source that failed, one that was overridden, one that nobody gave free: the copy says that it is not complete."""
    shop = world.add("shop", Toy, None, ADA)
    world.add("late", Toy, None, ADA)
    host, case = collected(world)
    host.processing.add_source(case, "shop", by=AMY)
    shop.faults = [Fault("status", on="/v1/contacts/", status=422, times=-1)]
    other = host.submit(deletion(type="copy", channel="api"))
    host.workflow.accept(other, by=AMY)
    host.processing.search(other)
    host.processing.give_free(other, ["crm", "shop"], by=AMY)
    host.processing.run(other)
    host.processing.override(other, "shop", by=AMY, reason="the vendor is insolvent")
    host.delivery.generate(other, by=AMY)
    manifest = json.loads(opened(b"".join(host.delivery.download(other, by=AMY)[1]), tmp_path)["manifest.json"])
    assert {row["name"]: row["status"] for row in manifest["sources"]} == {
        "crm": "found",
        "late": "could_not_check",
        "shop": "could_not_check",
    }
    assert manifest["complete"] is False
    assert "insolvent" not in str(manifest)


def test_nothing_there_yet(world: World) -> None:
    """Nothing collected, or still being collected, or no copy request: no package."""
    host, _ = collected(world)
    fresh = host.submit(deletion(type="copy", channel="api"))
    with pytest.raises(ConflictError, match="in review"):
        host.delivery.generate(fresh, by=AMY)
    host.workflow.accept(fresh, by=AMY)
    with pytest.raises(RequestError, match="nothing was collected yet"):
        host.delivery.generate(fresh, by=AMY)
    host.processing.search(fresh)
    host.processing.give_free(fresh, ["crm"], by=AMY)
    with pytest.raises(RequestError, match="still being collected"):
        host.delivery.generate(fresh, by=AMY)
    erasure = host.submit(deletion("bob@example.com", channel="api"))
    host.workflow.accept(erasure, by=AMY)
    with pytest.raises(RequestError, match="not a copy request"):
        host.delivery.generate(erasure, by=AMY)
    for act in (lambda: host.delivery.download(fresh, by=AMY), lambda: host.delivery.offer(fresh, by=AMY)):
        with pytest.raises(RequestError, match="no copy was generated"):
            act()


def test_a_full_disk_while_generating(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in words, and the package that is there stays."""
    host, case = collected(world)
    host.delivery.generate(case, by=AMY)
    (path,) = on_disk(host)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("dsr_sdk.ledger.spool.os.fsync", full)
        with pytest.raises(LedgerError, match="No space left"):
            host.delivery.generate(case, by=AMY)
    assert on_disk(host) == [path]
    assert host.delivery.package(case) is not None


def test_shredding_leaves_nothing(world: World, inbox: Inbox) -> None:
    """Package, added files, collected records: nothing is left in the spool, and the link opens nothing."""
    host, case = collected(world, inbox)
    host.files.attach(case, io.BytesIO(PDF), name="a.pdf", purpose="copy", by=AMY)
    token = offered(host, case)
    host.workflow.finish(case, by=AMY)
    close(host, case)
    host.shred(case)
    assert list(host.spool.glob("*")) == []
    with pytest.raises(LinkError):
        host.delivery.send_code(token)
    with pytest.raises(LinkError):
        host.delivery.fetch(token, "123456")


# --- the link ------------------------------------------------------------------------------------------------------------------------


def test_from_link_to_copy(world: World, inbox: Inbox, tmp_path: Path) -> None:
    """The link is shown and uses nothing up, the code goes to the person's own address, and both together hand the copy over, once."""
    host, case = collected(world, inbox)
    host.delivery.generate(case, by=AMY)
    url = host.delivery.offer(case, by=AMY)
    assert url.startswith("http://127.0.0.1:8765/p/copy/")
    token = url.rpartition("/")[2]
    for _ in range(20):
        host.links.look(token, Purpose.COPY)  # what a mail scanner fetches in advance
    host.delivery.send_code(token)
    assert inbox.letters[-1].rcpt_tos == [ADA]
    assert token not in inbox.texts[-1]
    code = code_in(inbox)
    name, blocks = host.delivery.fetch(token, f" {code[:3]} {code[3:]} ")
    assert name == f"copy-{case}.zip"
    assert opened(b"".join(blocks), tmp_path)
    for again in (lambda: host.delivery.fetch(token, code), lambda: host.delivery.send_code(token)):
        with pytest.raises(LinkError, match="cannot be used"):
            again()
    (event,) = [event for event in host.history(case) if event["event"] == "copy.delivered"]
    assert event["actor"] == "subject"
    assert token not in str(host.history(case))
    assert code not in str(host.history(case))
    with reading(host.ledger.engine) as connection:
        stored = str(connection.execute(select(links)).all())
    assert token not in stored
    assert code not in stored


def test_a_stolen_link_runs_out_of_tries(world: World, inbox: Inbox) -> None:
    """Whoever has the link and not the mailbox guesses ten times; then even the right code opens nothing."""
    host, case = collected(world, inbox)
    token = offered(host, case)
    host.delivery.send_code(token)
    code = code_in(inbox)
    for _ in range(10):
        with pytest.raises(RequestError, match="wrong, or too old"):
            host.delivery.fetch(token, wrong(code))
    with pytest.raises(LinkError):
        host.delivery.fetch(token, code)
    with pytest.raises(LinkError):
        host.delivery.send_code(token)
    assert [event["data"]["left"] for event in host.history(case) if event["event"] == "link.wrong_code"] == list(range(9, -1, -1))


def test_new_codes_give_no_new_tries(world: World, inbox: Inbox) -> None:
    """Five codes a link, and a new code makes the one before worthless without adding a try."""
    host, case = collected(world, inbox)
    token = offered(host, case)
    codes = []
    for _ in range(5):
        host.delivery.send_code(token)
        codes.append(code_in(inbox))
        with pytest.raises(RequestError, match="wrong, or too old"):
            host.delivery.fetch(token, wrong(codes[-1]))
    with pytest.raises(RequestError, match="too many codes"):
        host.delivery.send_code(token)
    assert len(inbox.letters) == 5
    if codes[0] != codes[-1]:
        with pytest.raises(RequestError, match="wrong, or too old"):
            host.delivery.fetch(token, codes[0])
    host.delivery.fetch(token, codes[-1])


def test_guessing_from_many_threads(world: World, inbox: Inbox) -> None:
    """Guesses at the same moment are counted one by one."""
    host, case = collected(world, inbox)
    token = offered(host, case)
    host.delivery.send_code(token)
    code = code_in(inbox)
    answers: list[type[BaseException]] = []
    start = threading.Barrier(16)

    def guess() -> None:
        start.wait(20)
        try:
            host.delivery.fetch(token, wrong(code))
        except RequestError as error:
            answers.append(type(error))

    threads = [threading.Thread(target=guess) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (answers.count(RequestError), answers.count(LinkError)) == (10, 6)


def confirmed(world: World, inbox: Inbox) -> tuple[Host, str, str, str]:
    """A copy large enough to break off, and the secret that the code was exchanged for: host, case, token, secret."""
    host, case = collected(world, inbox)
    host.files.attach(case, [b"%PDF-1.7 " + os.urandom(3_000_000)], name="a.pdf", purpose="copy", by=AMY)
    token = offered(host, case)
    host.delivery.send_code(token)
    return host, case, token, host.delivery.confirm(token, code_in(inbox))


def told(host: Host, case: str) -> list[str]:
    """What the history says about the handing over."""
    return [event["event"] for event in host.history(case) if event["event"].startswith("copy.")][3:]


def test_a_download_that_breaks_off_is_taken_up_again(world: World, inbox: Inbox, tmp_path: Path) -> None:
    """Only a whole one counts. Nobody but whoever gave the code can take it up, each try is recorded, and a second whole one is refused."""
    host, case, token, secret = confirmed(world, inbox)
    parcel = host.delivery.take(token, secret)
    assert len(next(parcel.blocks)) < parcel.size
    for _ in range(3):
        assert host.delivery.waiting(token, secret).tries == 4  # looking uses nothing up
    with pytest.raises(RequestError, match="being downloaded at this moment"):
        host.delivery.take(token, secret)
    parcel.blocks.close()
    for stranger in (
        lambda: host.delivery.send_code(token),
        lambda: host.delivery.fetch(token, code_in(inbox)),
        lambda: host.links.look(token, Purpose.COPY),
    ):
        with pytest.raises(LinkError):
            stranger()
    for wrong_secret in ("", "nothing", secret[:-1]):
        with pytest.raises(LinkError):
            host.delivery.take(token, wrong_secret)
    again = world.open().delivery.take(token, secret)  # the portal may have been started anew meanwhile
    data = b"".join(again.blocks)
    assert opened(data, tmp_path)
    assert len(data) == again.size
    for late in (lambda: host.delivery.take(token, secret), lambda: host.delivery.waiting(token, secret)):
        with pytest.raises(LinkError):
            late()
    assert told(host, case) == ["copy.confirmed", "copy.started", "copy.broken_off", "copy.started", "copy.delivered"]
    broken = next(event["data"] for event in host.history(case) if event["event"] == "copy.broken_off")
    assert (0 <= broken["bytes"] < broken["of"], broken["left"]) == (True, 4)
    assert secret not in str(host.history(case))


def test_a_download_is_begun_a_few_times_and_for_an_hour(world: World, inbox: Inbox) -> None:
    """Five tries in all; after an hour none."""
    host, case, token, secret = confirmed(world, inbox)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=61)), pytest.raises(LinkError):
        host.delivery.take(token, secret)
    for _ in range(5):
        parcel = host.delivery.take(token, secret)
        next(parcel.blocks)
        parcel.blocks.close()
    with pytest.raises(LinkError):
        host.delivery.take(token, secret)
    assert told(host, case).count("copy.broken_off") == 5


def test_a_download_of_which_nothing_is_heard(world: World, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process died: after two minutes it is over. Were it alive after all, it ends when it hears of the next one, and does not count."""
    host, case, token, secret = confirmed(world, inbox)
    lost = host.delivery.take(token, secret)
    next(lost.blocks)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=3)):
        second = host.delivery.take(token, secret)
        next(second.blocks)
        monkeypatch.setattr("dsr_sdk.host.process.pickup._BEAT", -1.0)
        with pytest.raises(LinkError, match="begun once more"):
            next(lost.blocks)
        assert sum(map(len, second.blocks)) > 0
    assert told(host, case) == ["copy.confirmed", "copy.started", "copy.started", "copy.delivered"]


def test_two_begin_at_once(world: World, inbox: Inbox) -> None:
    """One of them; the other is told that it is under way."""
    host, _, token, secret = confirmed(world, inbox)
    start = threading.Barrier(4)
    results: list[str] = []

    def begin() -> None:
        start.wait(20)
        try:
            next(host.delivery.take(token, secret).blocks)
            results.append("begun")
        except RequestError as error:
            results.append(error.message)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len([result for result in results if result == "it is being downloaded at this moment"]) >= 1
    assert results.count("begun") >= 1


def test_a_secret_opens_its_own_copy_as_long_as_that_is_the_newest(world: World, inbox: Inbox) -> None:
    """Not that of another link, and not one that was changed since."""
    host, case, token, secret = confirmed(world, inbox)
    other = host.submit(deletion("bob@example.com", type="copy", channel="api"))
    host.workflow.accept(other, by=AMY)
    host.files.attach(other, [PDF], name="a.pdf", purpose="copy", by=AMY)
    with pytest.raises(LinkError):
        host.delivery.take(offered(host, other), secret)
    host.files.attach(case, [PDF], name="b.pdf", purpose="copy", by=AMY)
    with pytest.raises(LinkError):
        host.delivery.take(token, secret)


def test_fetched_twice_at_once(world: World, inbox: Inbox) -> None:
    """Two with link and code at the same moment: one gets the copy."""
    host, case = collected(world, inbox)
    other = world.open()
    token = offered(host, case)
    host.delivery.send_code(token)
    code = code_in(inbox)
    results: list[str] = []
    start = threading.Barrier(4)

    def fetch(host: Host) -> None:
        start.wait(20)
        try:
            results.append(host.delivery.fetch(token, code)[0])
        except LinkError:
            results.append("refused")

    threads = [threading.Thread(target=fetch, args=(each,)) for each in (host, other, host, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == [f"copy-{case}.zip", "refused", "refused", "refused"]


def test_an_expired_link(world: World, inbox: Inbox) -> None:
    """After copy_days it opens nothing; before, it does."""
    host, case = collected(world, inbox, settings="copy_days = 3")
    token = offered(host, case)
    with time_machine.travel(datetime.now(UTC) + timedelta(days=2, hours=23)):
        host.delivery.send_code(token)
    with time_machine.travel(datetime.now(UTC) + timedelta(days=3, minutes=1)):
        for act in (lambda: host.delivery.send_code(token), lambda: host.delivery.fetch(token, "123456")):
            with pytest.raises(LinkError, match="cannot be used"):
                act()


def test_an_expired_code(world: World, inbox: Inbox) -> None:
    """A code holds a quarter of an hour; a new one can be had."""
    host, case = collected(world, inbox)
    token = offered(host, case)
    host.delivery.send_code(token)
    code = code_in(inbox)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=15, seconds=1)):
        with pytest.raises(RequestError, match="too old"):
            host.delivery.fetch(token, code)
        host.delivery.send_code(token)
        host.delivery.fetch(token, code_in(inbox))


@pytest.mark.parametrize("token", ["", "nothing", "x" * 43, "ü" * 10, "x" * 5000])
def test_a_link_that_never_was(world: World, token: str) -> None:
    """One sentence for everything; and no code at all is as wrong as a wrong one."""
    host, _ = collected(world)
    for act in (lambda: host.delivery.send_code(token), lambda: host.delivery.fetch(token, "123456")):
        with pytest.raises(LinkError, match="this link cannot be used"):
            act()


def test_without_a_code(world: World, inbox: Inbox) -> None:
    """Before any code was sent, nothing that is given is right."""
    host, case = collected(world, inbox)
    token = offered(host, case)
    for code in ("", "000000", "None", "123456"):
        with pytest.raises(RequestError, match="wrong, or too old"):
            host.delivery.fetch(token, code)


def test_a_link_of_another_purpose(world: World, inbox: Inbox) -> None:
    """A link to answer fetches no copy."""
    host, case = collected(world, inbox)
    offered(host, case)
    with host.delivery.deciding() as (connection, book):
        token = host.links.make(Purpose.ANSWER, case=case, connection=connection, book=book, valid=timedelta(days=1))
    with pytest.raises(LinkError):
        host.delivery.send_code(token)


def test_the_code_goes_to_the_address_of_the_request(world: World, inbox: Inbox) -> None:
    """An address that an agent entered since proves nothing about who asked; in the person's language."""
    host, case = collected(world, inbox, language="de-AT")
    host.processing.add_identifier(case, Email(value="mallory@example.com"), by=AMY)
    token = offered(host, case)
    host.delivery.send_code(token)
    assert [letter.rcpt_tos for letter in inbox.letters] == [[ADA]]
    assert "Ihr Code lautet" in inbox.texts[0]


def test_nobody_to_send_it_to(world: World) -> None:
    """Without an address of the person's own, or without proof of who they are, there is no link."""
    host, case = collected(world, subject={"phone": "+4915112345678"})
    host.files.attach(case, io.BytesIO(PDF), name="a.pdf", purpose="copy", by=AMY)
    host.delivery.generate(case, by=AMY)
    with pytest.raises(RequestError, match="no e-mail address"):
        host.delivery.offer(case, by=AMY)


def test_the_mail_server_refuses_the_person(world: World, inbox: Inbox) -> None:
    """It is said; the link stays good for another try."""
    host, case = collected(world, inbox)
    token = offered(host, case)
    inbox.refuse = {ADA: "550 5.1.1 no such mailbox"}
    with pytest.raises(RejectedError):
        host.delivery.send_code(token)
    inbox.refuse = {}
    host.delivery.send_code(token)
    host.delivery.fetch(token, code_in(inbox))


def test_without_mail(world: World) -> None:
    """No [mail]: a code cannot be sent, and the error says what to fill in."""
    host, case = collected(world)
    token = offered(host, case)
    with pytest.raises(ConfigError, match="mail"):
        host.delivery.send_code(token)


def test_the_package_is_damaged(world: World, inbox: Inbox) -> None:
    """What is missing on the disk uses up no link."""
    host, case = collected(world, inbox)
    token = offered(host, case)
    (path,) = on_disk(host)
    kept = path.read_bytes()
    path.unlink()
    host.delivery.send_code(token)
    with pytest.raises(LedgerError, match="not where it was stored"):
        host.delivery.fetch(token, code_in(inbox))
    path.write_bytes(kept)
    assert b"".join(host.delivery.fetch(token, code_in(inbox))[1])


def test_the_panel_counts_the_package(world: World) -> None:
    """Without a package, continuing is the agent's own decision; with a current one it is not asked for."""
    host, case = collected(world)
    assert host.processing.panel(case).confirm == "Answer without a generated copy"
    host.delivery.generate(case, by=AMY)
    assert host.processing.panel(case).confirm == ""
    host.workflow.finish(case, by=AMY)
    assert host.delivery.offer(case, by=AMY)


def test_the_vendor_is_not_asked_again(world: World) -> None:
    """Generating reads what was collected and calls nobody."""
    host, case = collected(world)
    vendor = world.vendors["crm"]
    assert isinstance(vendor, ToyVendor)
    calls = vendor.calls.total()
    host.delivery.generate(case, by=AMY)
    assert vendor.calls.total() == calls
