"""Redaction: what is taken out stands in no artefact of the copy, and never slips back in."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from dsr_sdk import Match, Record, RequestError
from dsr_sdk.copy import verify_package
from dsr_sdk.host import Host
from dsr_sdk.host.process.redaction import Redaction, Redactor, fields_of, record_key
from dsr_sdk.ledger.database import reading
from dsr_sdk.ledger.desk import redactions
from dsr_sdk.ledger.vault import MasterKey, Vault
from tests.toys import Acting
from tests.world import World, deletion

AMY, ADA = "amy@example.com", "ada@example.com"
REASON = "names her neighbour"


class Exporting(Acting):
    """Hands over the records of `held`."""

    slug, title = "exporting", "Exporting"
    held_records: ClassVar[list[dict[str, Any]]] = []
    script: ClassVar[dict[str, Any]] = {
        "find": lambda api, subject: iter([Match("contact", "c1")]),
        "export": lambda api, match: (Record("ticket", dict(data)) for data in Exporting.held_records),
    }


TICKETS: list[dict[str, Any]] = [
    {"id": 1, "from": ADA, "body": "call my neighbour Boris", "cc": [{"name": "Boris Third"}, {"name": "Ada"}]},
    {"id": 2, "from": ADA, "body": "SECRET-WHOLE-RECORD", "cc": []},
    {"id": 3, "from": ADA, "body": "nothing special", "a/b~c": "ODD-KEY"},
]


def collected(world: World, *, language: str = "en", records: list[dict[str, Any]] | None = None) -> tuple[Host, str]:
    """A copy request whose records were collected."""
    Exporting.held_records = list(TICKETS if records is None else records)
    world.tables = "[workflow]"
    world.add("desk", Exporting)
    host = world.open()
    case = host.submit(deletion(type="copy", channel="api", language=language))
    host.workflow.accept(case, by=AMY)
    host.processing.search(case)
    host.processing.give_free(case, ["desk"], by=AMY)
    host.processing.run(case)
    return host, case


def keys(host: Host, case: str) -> dict[Any, str]:
    """The key of each record by its id."""
    return {record.fields["/id"]: record.key for record in host.delivery.preview(case).records}


def unpacked(host: Host, case: str, tmp_path: Path) -> dict[str, str]:
    """Every file of the generated package, once the package has been found to be what its manifest says."""
    path = tmp_path / "copy.zip"
    path.write_bytes(b"".join(host.delivery.download(case, by=AMY)[1]))
    assert verify_package(path) == []
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_the_preview_shows_what_will_be_handed_over(world: World) -> None:
    """Record by record, field by field, a page at a time; reprs show nothing of it."""
    host, case = collected(world)
    first = host.delivery.preview(case, limit=2)
    second = host.delivery.preview(case, after=first.next, limit=2)
    assert [record.fields["/id"] for record in (*first.records, *second.records)] == ["1", "2", "3"]
    assert (first.next, second.next) == ("2", None)
    assert first.records[0].fields["/cc/0/name"] == "Boris Third"
    assert second.records[0].fields["/a~1b~0c"] == "ODD-KEY"
    assert "Boris" not in repr(first)
    for wrong in ("-1", "x", "1.5", ""):
        with pytest.raises(RequestError, match="no such page"):
            host.delivery.preview(case, after=wrong)


def test_a_field_and_a_record_leave_every_artefact(world: World, tmp_path: Path) -> None:
    """The page, the data files and the manifest: nothing of what was redacted is in any of them, everything else is, and the person is told."""
    host, case = collected(world)
    key = keys(host, case)
    host.delivery.redact(case, "desk", "ticket", key["1"], "/body", by=AMY, reason=REASON)
    host.delivery.redact(case, "desk", "ticket", key["1"], "/cc/0", by=AMY, reason=REASON)
    host.delivery.redact(case, "desk", "ticket", key["2"], None, by=AMY, reason=REASON)
    host.delivery.redact(case, "desk", "ticket", key["3"], "/a~1b~0c", by=AMY, reason=REASON)
    host.delivery.generate(case, by=AMY)
    contents = unpacked(host, case, tmp_path)
    everything = "\n".join(contents.values())
    for gone in ("Boris", "neighbour", "SECRET-WHOLE-RECORD", "ODD-KEY"):
        assert gone not in everything
    (data,) = [text for name, text in contents.items() if name.endswith(".jsonl")]
    rows = [json.loads(line) for line in data.splitlines()]
    assert [row["id"] for row in rows] == [1, 3]
    assert (rows[0]["body"], rows[0]["cc"]) == ("[redacted]", ["[redacted]", {"name": "Ada"}])
    assert rows[1]["body"] == "nothing special"
    assert "[redacted]" in contents["index.html"]
    assert "1 record was left out after a review by a person." in contents["index.html"]
    assert "left out" in contents["manifest.json"]
    (shown, hidden, _) = host.delivery.preview(case).records
    assert (sorted(shown.redacted), shown.hidden, hidden.hidden) == (["/body", "/cc/0"], False, True)


def test_the_plain_copy_is_redacted_too(world: World, tmp_path: Path) -> None:
    """`Host.copy`, for an operator's own use, is the same package."""
    host, case = collected(world)
    host.delivery.redact(case, "desk", "ticket", keys(host, case)["1"], "/body", by=AMY, reason=REASON)
    host.copy(case, tmp_path / "copy.zip")
    with zipfile.ZipFile(tmp_path / "copy.zip") as archive:
        assert not any(b"neighbour" in archive.read(name) for name in archive.namelist())


def test_all_records_of_a_source(world: World, tmp_path: Path) -> None:
    """Nothing is left of it: the copy says that data is withheld, not that there was none; in the person's language."""
    host, case = collected(world, language="de")
    for key in keys(host, case).values():
        host.delivery.redact(case, "desk", "ticket", key, None, by=AMY, reason=REASON)
    host.delivery.generate(case, by=AMY)
    contents = unpacked(host, case, tmp_path)
    assert json.loads(contents["manifest.json"])["sources"][0]["status"] == "withheld"
    assert "3 Datensätze wurden nach Prüfung durch einen Menschen ausgelassen." in contents["index.html"]


def test_a_record_that_has_changed(world: World) -> None:
    """Collected again with other contents: the redaction fits nothing, and no copy is made before somebody has looked."""
    host, case = collected(world)
    id_ = host.delivery.redact(case, "desk", "ticket", keys(host, case)["1"], "/body", by=AMY, reason=REASON)
    Exporting.held_records = [{**TICKETS[0], "updated": "today"}, *TICKETS[1:]]
    host.approve(host.plan(case), by=AMY)
    host.processing.run(case)
    with pytest.raises(RequestError, match="fit no record any more"):
        host.delivery.generate(case, by=AMY)
    assert host.delivery.package(case) is None
    assert not [path for path in host.spool.rglob("files/*") if path.is_file()]
    host.delivery.restore(case, id_, by=AMY)
    host.delivery.redact(case, "desk", "ticket", keys(host, case)["1"], "/body", by=AMY, reason=REASON)
    host.delivery.generate(case, by=AMY)


def test_taken_back(world: World, tmp_path: Path) -> None:
    """Restored, the value is handed over again."""
    host, case = collected(world)
    id_ = host.delivery.redact(case, "desk", "ticket", keys(host, case)["1"], "/body", by=AMY, reason=REASON)
    assert host.delivery.redact(case, "desk", "ticket", keys(host, case)["1"], "/body", by=AMY, reason="again") == id_
    host.delivery.restore(case, id_, by=AMY)
    assert host.delivery.redactions(case) == []
    host.delivery.generate(case, by=AMY)
    assert "neighbour" in "".join(unpacked(host, case, tmp_path).values())
    with pytest.raises(RequestError, match="no such redaction"):
        host.delivery.restore(case, id_, by=AMY)


def test_what_is_not_there_cannot_be_redacted(world: World) -> None:
    """A wrong key, field, kind or data source is an error, and so is a missing reason; nothing is stored."""
    host, case = collected(world)
    key = keys(host, case)["1"]
    wrong: list[tuple[str, str, str, str | None, str]] = [
        ("desk", "ticket", "0" * 32, "/body", REASON),
        ("desk", "ticket", key, "/nobody", REASON),
        ("desk", "ticket", key, "/bod", REASON),
        ("desk", "ticket", key, "", REASON),
        ("desk", "ticket", key, "/cc/7", REASON),
        ("desk", "contact", key, "/body", REASON),
        ("shop", "ticket", key, "/body", REASON),
        ("desk", "ticket", key, "/body", "  "),
    ]
    for source, resource, record, field, reason in wrong:
        with pytest.raises(RequestError):
            host.delivery.redact(case, source, resource, record, field, by=AMY, reason=reason)
    assert host.delivery.redactions(case) == []
    other = host.submit(deletion(channel="api"))
    with pytest.raises(RequestError, match="not a copy request"):
        host.delivery.preview(other)


def test_why_stands_sealed(world: World) -> None:
    """Reason, record and field are sealed; the audit log says who, where and when."""
    host, case = collected(world)
    host.delivery.redact(case, "desk", "ticket", keys(host, case)["1"], "/body", by=AMY, reason=REASON)
    (redaction,) = host.delivery.redactions(case)
    assert (redaction.reason, redaction.field, redaction.created_by) == (REASON, "/body", AMY)
    assert "neighbour" not in repr(redaction)
    with reading(host.ledger.engine) as connection:
        assert REASON.encode() not in bytes(connection.execute(select(redactions.c.sealed)).scalar_one())
    (event,) = [event for event in host.history(case) if event["event"] == "copy.redacted"]
    assert (event["actor"], event["data"]["source"], event["data"]["whole"]) == (AMY, "desk", False)
    assert REASON not in str(event)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
VAULT = Vault(MasterKey(b"k" * 32))


@given(st.dictionaries(st.text(min_size=1, max_size=4), JSON, min_size=1, max_size=4), st.data())
def test_any_field_can_be_taken_out(data: dict[str, Any], draw: st.DataObject) -> None:
    """Whatever a record looks like: the field that was named is blank afterwards, every other one is as it was."""
    record = Record("ticket", data)
    pointer = draw.draw(st.sampled_from([pointer for pointer, _ in fields_of(data)]))
    key = record_key(VAULT, "C", "desk", record)
    redactor = Redactor(VAULT, "C", [Redaction(1, "C", "desk", "ticket", key, pointer, "", datetime.now(UTC), AMY)], "en")
    (redacted,) = redactor.apply("desk", [record])
    before, after = dict(fields_of(data)), dict(fields_of(redacted.data))
    assert after.pop(pointer) == "[redacted]"
    del before[pointer]
    assert before == after
    assert redactor.unmet == []
