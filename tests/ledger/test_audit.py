"""The audit log: what is appended stays, and what is done to it shows."""

from __future__ import annotations

import hashlib
import json
import threading
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, event, func, insert, select, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import ContractError
from dsr_sdk.ledger import chain
from dsr_sdk.ledger.audit import AuditEvent, AuditReport, append, checkpoint, export, verify, verify_exported
from dsr_sdk.ledger.chain import GENESIS, canonical, entry_hash
from dsr_sdk.ledger.database import LedgerConflict, reading, writing
from dsr_sdk.ledger.schema import audit, checkpoints
from dsr_sdk.ledger.vault import MasterKey, Vault
from tests.ledger.conftest import Opener

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


def happened(case: str, event: str = "task.finished", **data: chain.JSON) -> AuditEvent:
    """An event."""
    return AuditEvent(case=case, event=event, actor="connector:stripe", data=data, at=NOW)


def log(engine: Engine, *events: AuditEvent) -> None:
    """Append in a transaction of its own."""
    with writing(engine) as connection:
        append(connection, None, events)


def fill(engine: Engine, vault: Vault) -> None:
    """Three cases of four entries each, written in turns, and a checkpoint after the first half and after the second."""
    for half in (0, 2):
        for n in (half, half + 1):
            log(engine, *(happened(case, count=n) for case in ("C-1", "C-2", "C-3")))
        with writing(engine) as connection:
            checkpoint(connection, vault, NOW + timedelta(hours=half))


def tamper(engine: Engine, *statements: Any) -> None:
    """Change the log behind its back."""
    with writing(engine) as connection:
        for statement in statements:
            connection.execute(statement)


def check(engine: Engine, vault: Vault, anchor: str | None = None) -> AuditReport:
    """Verify with the vault's public key."""
    with reading(engine) as connection:
        return verify(connection, vault.public_key(), anchor=anchor)


def found(report: AuditReport) -> list[tuple[str | None, int]]:
    """Where the problems are."""
    assert report.ok == (not report.problems)
    return [(problem.case, problem.n) for problem in report.problems]


def at_entry(case: str, n: int) -> Any:
    """The condition for one entry."""
    return (audit.c.case == case) & (audit.c.n == n)


# Appending


def test_entries_are_numbered_and_chained_per_case(engine: Engine) -> None:
    """Entries of several cases in one group, and in a later one: each case counts 1, 2, 3, each hash covers the one before."""
    log(engine, happened("C-1", "case.received"), happened("C-2", "case.received"), happened("C-1", "plan.approved", by="agent-7", tasks=3))
    log(engine, happened("C-1", outcome={"kind": "erased", "count": 2}))
    with reading(engine) as connection:
        first, second, third = export(connection, "C-1")
        (alone,) = export(connection, "C-2")
    assert [first["n"], second["n"], third["n"], alone["n"]] == [1, 2, 3, 1]
    assert first["prev"] == alone["prev"] == GENESIS
    assert (second["prev"], third["prev"]) == (first["hash"], second["hash"])
    assert second["data"] == {"by": "agent-7", "tasks": 3}
    assert third["at"] == 1795262400123


def test_the_hash_is_what_the_documentation_says(engine: Engine) -> None:
    """SHA-256 over the canonical JSON of seven fields, computed here by other means."""
    log(engine, happened("C-1", note="naïve “quotes” \\ \n", nested={"b": [1, 2.5, None, True], "a": ""}))
    with reading(engine) as connection:
        (entry,) = export(connection, "C-1")
    claimed = entry.pop("hash")
    spelled = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert claimed == hashlib.sha256(spelled.encode()).hexdigest()


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8)


@given(st.dictionaries(st.text(max_size=5), values, max_size=4), st.text(max_size=10))
def test_canonical_json_is_the_same_after_a_round_trip(data: dict[str, Any], actor: str) -> None:
    """Otherwise an exported file would fail its check although nobody touched it."""
    written = canonical(data)
    assert canonical(json.loads(written)) == written
    whole = {"case": "C-1", "n": 7, "at": -1, "actor": actor, "event": "x", "data": data, "prev": GENESIS}
    expected = hashlib.sha256(canonical(whole).encode("utf-8", "surrogatepass")).hexdigest()
    assert entry_hash(case="C-1", n=7, at=-1, actor=actor, event="x", data=written, prev=GENESIS) == expected


def test_a_group_of_thousands_takes_three_statements_at_most(engine: Engine) -> None:
    """However many cases a group has: one query for the heads (and one for the locks on PostgreSQL), one insert."""
    group = [happened(f"C-{i:05}") for i in range(2500)]
    log(engine, *group)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: statements.append(statement))
    log(engine, *group)
    assert len(statements) == (2 if engine.dialect.name == "sqlite" else 3)
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).where(audit.c.n == 2)).scalar_one() == 2500
        report = verify(connection)
    assert (report.ok, report.events, report.cases, report.uncovered) == (True, 5000, 2500, 5000)


def test_an_empty_group_is_nothing(engine: Engine) -> None:
    """Appending no events writes none."""
    log(engine)
    with reading(engine) as connection:
        assert verify(connection) == AuditReport(events=0, cases=0)


LONG = "Dear Ms Lovelace, " * 40


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (happened("C-1", note=LONG), "500 are allowed"),
        (happened("C-1", deep={"list": ["fine", [LONG]]}), "500 are allowed"),
        (AuditEvent("C-1", "x", "host", {LONG: 1}, NOW), "very long one"),
        (happened("C-1", deep={7: "seven"}), "no text"),  # type: ignore[dict-item]
        (happened("C-1", when=NOW), "not JSON"),  # type: ignore[arg-type]
        (happened("C-1", rate=float("nan")), "not JSON"),
        (happened("C-1", text="\udcff"), "not JSON"),
        (happened("C-1", many=["x" * 400] * 60), "20000 are allowed"),
        (happened("C" * 25), "case of an audit event has 1 to 24"),
        (happened(""), "case of an audit event has 1 to 24"),
        (happened("C-1", LONG), "1 to 60"),
        (AuditEvent("C-1", "x", LONG, {}, NOW), "1 to 200"),
        (AuditEvent("C-1", "x", "host", {}, datetime(2026, 1, 1)), "no time zone"),  # noqa: DTZ001 - the naive time is the point
    ],
)
def test_what_does_not_belong_in_the_log_is_refused_unseen(engine: Engine, refused: AuditEvent, message: str) -> None:
    """A ContractError that shows nothing of the value, and none of the group's events is written."""
    with pytest.raises(ContractError, match=message) as caught, writing(engine) as connection:
        append(connection, None, [happened("C-1"), refused])
    assert "Lovelace" not in str(caught.value)
    with reading(engine) as connection:
        assert verify(connection).events == 0


def test_many_writers_of_one_case_take_turns(engine: Engine) -> None:
    """Threads with connections of their own append to the same cases: every entry is there, and the chains are whole."""
    cases = ["C-1", "C-2", "C-3"]

    def work(number: int) -> None:
        for _ in range(10):
            log(engine, *(happened(case, worker=number) for case in (cases if number % 2 else reversed(cases))))

    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(work, range(4)):
            pass
    with reading(engine) as connection:
        report = verify(connection)
    assert (report.ok, report.events, report.cases) == (True, 120, 3)


def test_a_number_is_given_once_only(engine: Engine) -> None:
    """Whoever bypasses ``append`` and takes a number again is refused by the schema."""
    log(engine, happened("C-1"))
    row = {"case": "C-1", "n": 1, "at": NOW, "actor": "x", "event": "x", "data": "{}", "hash": "0" * 64}
    with pytest.raises(LedgerConflict, match="audit"), writing(engine) as connection:
        connection.execute(insert(audit), row)


# Checkpoints


def test_a_checkpoint_covers_what_came_since_the_last(engine: Engine, vault: Vault) -> None:
    """They join without a gap, and with nothing new there is none."""
    with writing(engine) as connection:
        assert checkpoint(connection, vault, NOW) is None
    log(engine, happened("C-1"), happened("C-2"))
    with writing(engine) as connection:
        first = checkpoint(connection, vault, NOW)
        assert checkpoint(connection, vault, NOW) is None
    log(engine, happened("C-1"))
    with writing(engine) as connection:
        second = checkpoint(connection, vault, NOW)
    assert first is not None
    assert second is not None
    assert (first.from_seq, second.from_seq) == (1, first.to_seq + 1)
    log(engine, happened("C-3"))
    report = check(engine, vault, anchor=second.digest)
    assert (report.ok, report.checkpoints, report.uncovered, report.signatures_checked) == (True, 2, 1, True)


def test_a_checkpoint_waits_for_entries_on_their_way(postgres_url: str, opened: Opener, vault: Vault) -> None:
    """On PostgreSQL an earlier entry may commit after a later one: a checkpoint that overtook it would call it tampering."""
    engine = opened(postgres_url)
    with ThreadPoolExecutor(1) as pool:
        started = threading.Event()

        def take_one() -> int:
            with writing(engine) as connection:
                started.set()
                made = checkpoint(connection, vault, NOW)
                return made.to_seq if made else 0

        with writing(engine) as slow:
            append(slow, None, [happened("C-1")])
            log(engine, happened("C-2"))
            taking = pool.submit(take_one)
            started.wait()
            with pytest.raises(TimeoutError):
                taking.result(timeout=0.3)
        assert taking.result() == 2
    assert check(engine, vault).ok


# Tampering


CHANGES = [
    pytest.param([update(audit).where(at_entry("C-2", 2)).values(data='{"count":9}')], [("C-2", 2)], id="data changed"),
    pytest.param([update(audit).where(at_entry("C-2", 2)).values(data='{"count": 1}')], [("C-2", 2)], id="white space added"),
    pytest.param([update(audit).where(at_entry("C-2", 2)).values(at=NOW + timedelta(milliseconds=1))], [("C-2", 2)], id="time changed"),
    pytest.param([update(audit).where(at_entry("C-2", 1)).values(actor="somebody else")], [("C-2", 1)], id="actor changed"),
    pytest.param([update(audit).where(at_entry("C-2", 4)).values(event="task.failed")], [("C-2", 4)], id="event changed in the last entry"),
    pytest.param([update(audit).where(at_entry("C-2", 2)).values(hash="f" * 64)], [("C-2", 2), ("C-2", 3), (None, 1)], id="hash changed"),
    pytest.param([delete(audit).where(at_entry("C-2", 2))], [("C-2", 2), (None, 1)], id="entry removed from the middle"),
    pytest.param([delete(audit).where(at_entry("C-2", 1))], [("C-2", 1), (None, 1)], id="first entry removed"),
    pytest.param([delete(audit).where(at_entry("C-2", 4))], [(None, 2)], id="last entry removed"),
    pytest.param([delete(audit).where(audit.c.case == "C-2")], [(None, 1), (None, 2)], id="whole case removed"),
    pytest.param([update(audit).where(at_entry("C-2", 4)).values(case="C-9", n=1)], [("C-9", 1)], id="moved to another case"),
    pytest.param(
        [
            update(audit).where(at_entry("C-2", 2)).values(n=99),
            update(audit).where(at_entry("C-2", 3)).values(n=2),
            update(audit).where(at_entry("C-2", 99)).values(n=3),
        ],
        [("C-2", 2), ("C-2", 3), ("C-2", 3), ("C-2", 4)],
        id="two entries swapped",
    ),
    pytest.param(
        [
            update(audit).where(at_entry("C-2", 2)).values(seq=-99),
            update(audit).where(at_entry("C-2", 3)).values(seq=5),
            update(audit).where(at_entry("C-2", 2)).values(seq=8),
        ],
        [("C-2", 3), (None, 1), (None, 2)],
        id="order of writing swapped",
    ),
    pytest.param([delete(checkpoints).where(checkpoints.c.id == 1)], [(None, 2)], id="checkpoint removed"),
    pytest.param([update(checkpoints).where(checkpoints.c.id == 1).values(digest="f" * 64)], [(None, 1), (None, 1), (None, 2)], id="digest changed"),
    pytest.param([update(checkpoints).where(checkpoints.c.id == 2).values(signature="f" * 128)], [(None, 2)], id="signature changed"),
    pytest.param([update(checkpoints).where(checkpoints.c.id == 2).values(signature="no hex")], [(None, 2)], id="signature garbled"),
    pytest.param([update(checkpoints).where(checkpoints.c.id == 2).values(at=NOW)], [(None, 2)], id="checkpoint dated back"),
    pytest.param([update(checkpoints).where(checkpoints.c.id == 2).values(to_seq=11)], [(None, 2), (None, 2)], id="checkpoint shortened"),
]


@pytest.mark.parametrize(("statements", "expected"), CHANGES)
def test_tampering_is_found_where_it_is(engine: Engine, vault: Vault, statements: Sequence[Any], expected: list[tuple[str | None, int]]) -> None:
    """Each way to change the log shows, at the entry or checkpoint it was done to, and does not hide what lies behind."""
    fill(engine, vault)
    assert found(check(engine, vault)) == []
    tamper(engine, *statements)
    report = check(engine, vault)
    assert found(report) == expected
    assert all(str(problem) for problem in report.problems)


def rewrite(connection: Connection, case: str) -> None:
    """Recompute a case's chain after a change, as someone would who knows how it is made."""
    prev = GENESIS
    rows = connection.execute(select(audit).where(audit.c.case == case).order_by(audit.c.n)).all()
    for row in rows:
        at = round(row.at.timestamp() * 1000)
        prev = entry_hash(case=case, n=row.n, at=at, actor=row.actor, event=row.event, data=row.data, prev=prev)
        connection.execute(update(audit).where(audit.c.seq == row.seq).values(hash=prev))


def test_a_chain_that_was_recomputed_is_caught_by_the_checkpoints(engine: Engine, vault: Vault) -> None:
    """A careful forger's chain is whole, but it is not the one that was signed."""
    fill(engine, vault)
    with writing(engine) as connection:
        connection.execute(update(audit).where(at_entry("C-3", 1)).values(data='{"count":1000}'))
        rewrite(connection, "C-3")
    assert found(check(engine, vault)) == [(None, 1), (None, 2)]


def test_checkpoints_that_were_recomputed_too_are_caught_by_their_signature(engine: Engine, vault: Vault) -> None:
    """With the checkpoints made anew under another key, only the public key tells; without one the report says what it did not check."""
    fill(engine, vault)
    with writing(engine) as connection:
        connection.execute(delete(audit).where(audit.c.case == "C-3"))
        connection.execute(delete(checkpoints))
        checkpoint(connection, Vault(MasterKey.generate()), NOW)
    (problem,) = check(engine, vault).problems
    assert "not signed with this ledger's key" in problem.what
    with reading(engine) as connection:
        report = verify(connection)
    assert (report.ok, report.signatures_checked) == (True, False)


def test_an_anchor_tells_that_the_newest_part_was_cut_off(engine: Engine, vault: Vault) -> None:
    """Cut back to an earlier checkpoint the log is sound in itself; a digest noted elsewhere shows that there was more."""
    fill(engine, vault)
    with reading(engine) as connection:
        anchor = connection.execute(select(checkpoints.c.digest).where(checkpoints.c.id == 2)).scalar_one()
    assert check(engine, vault, anchor).ok
    tamper(engine, delete(audit).where(audit.c.n > 2), delete(checkpoints).where(checkpoints.c.id == 2))
    assert check(engine, vault).ok
    (problem,) = check(engine, vault, anchor).problems
    assert "noted elsewhere" in str(problem)


def test_every_problem_is_reported_up_to_a_limit(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is wrong throughout does not fill the memory; the rest is counted."""
    monkeypatch.setattr(chain, "_MAX_PROBLEMS", 10)
    log(engine, *(happened(f"C-{i}") for i in range(25)))
    tamper(engine, update(audit).values(actor="nobody"))
    with reading(engine) as connection:
        report = verify(connection)
    assert (len(report.problems), report.omitted, report.ok) == (10, 15, False)


# Exported files


def exported(engine: Engine, *cases: str) -> list[str]:
    """The lines of an exported file."""
    with reading(engine) as connection:
        return [json.dumps(entry) for case in cases for entry in export(connection, case)]


def test_an_exported_file_checks_anywhere(engine: Engine, vault: Vault) -> None:
    """Text or bytes, of one case or several, whatever order and spacing its JSON was given on the way."""
    fill(engine, vault)
    lines = exported(engine, "C-1", "C-3")
    assert verify_exported(lines) == AuditReport(events=8, cases=2)
    mangled = [json.dumps(dict(reversed(json.loads(line).items())), indent=None).encode() + b"\r\n" for line in lines]
    assert verify_exported([*mangled, b"\n"]) == AuditReport(events=8, cases=2)
    assert exported(engine, "no such case") == []


def test_a_changed_file_does_not_check(engine: Engine, vault: Vault) -> None:
    """A changed, missing, repeated or moved line is found; so is one that is no entry at all, and the rest is checked all the same."""
    fill(engine, vault)
    lines = exported(engine, "C-1")
    assert found(verify_exported([lines[0].replace("stripe", "zendesk"), *lines[1:]])) == [("C-1", 1)]
    assert found(verify_exported([lines[0], *lines[2:]])) == [("C-1", 2)]
    assert found(verify_exported([lines[0], *lines])) == [("C-1", 1)]
    assert found(verify_exported(lines[2:])) == [("C-1", 1)]
    assert found(verify_exported([lines[0], lines[2], lines[1], lines[3]])) == [("C-1", 2), ("C-1", 2), ("C-1", 3)]
    wrong_types = (lines[0].replace('"C-1"', "1"), lines[0].replace('"n": 1', '"n": true'))
    for junk in ("{", "[]", "{}", "7", b"\xff", *wrong_types):
        assert found(verify_exported([junk, *lines])) == [(None, 1)]


def test_data_that_is_no_json_any_more_is_exported_for_the_check_to_find(engine: Engine) -> None:
    """Tampering does not stop an export half way."""
    log(engine, happened("C-1"), happened("C-1"))
    tamper(engine, update(audit).where(at_entry("C-1", 1)).values(data="{broken"))
    lines = exported(engine, "C-1")
    assert json.loads(lines[0])["data"] == "{broken"
    assert found(verify_exported(lines)) == [("C-1", 1)]


def test_verification_and_checkpoints_hold_little_in_memory(engine: Engine, vault: Vault) -> None:
    """The log is streamed: ten thousand entries, some 10 MB as rows, are gone through in a fraction of that, also by the driver."""
    log(engine, *(happened(f"C-{i}", note="x" * 300) for i in range(10_000)))
    cursors: set[str] = set()

    def note(_connection: object, cursor: object, statement: str, *_: object) -> None:
        if "FROM audit" in statement and "max(" not in statement:
            cursors.add(type(cursor).__name__)

    event.listen(engine, "before_cursor_execute", note)
    tracemalloc.start()
    try:
        with writing(engine) as connection:
            checkpoint(connection, vault, NOW)
        assert check(engine, vault).events == 10_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000
    # Memory is counted in Python only; an ordinary cursor of psycopg would hold the whole result in its C library.
    assert cursors == ({"Cursor"} if engine.dialect.name == "sqlite" else {"ServerCursor"})
