"""The requests page: every list in its order, page by page, by query plans that do not slow down as cases grow."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import event, insert, text, update

from dsr_sdk import Request, RequestError
from dsr_sdk.errors import ConfigError
from dsr_sdk.host import Host
from dsr_sdk.host.cases.clocks import is_overdue
from dsr_sdk.host.cases.filters import Filter
from dsr_sdk.host.cases.inbox import Page
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.database import reading, writing
from dsr_sdk.ledger.desk import case_sources, messages
from dsr_sdk.ledger.schema import cases, tasks
from dsr_sdk.request import Channel, RequestType
from tests.toys import Manually
from tests.world import World, deletion, staff

AMY, BOB = "amy@example.com", "bob@example.com"
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
SOURCES = ("crm", "shop")


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    """The page depends on the day."""
    with time_machine.travel(NOW, tick=False):
        yield


def office(world: World) -> Host:
    """A host with the workflow and two data sources."""
    world.tables = "[workflow]"
    for name in SOURCES:
        world.add(name, Manually)
    return world.open()


def filled(host: Host, count: int = 90) -> dict[str, tuple[Case, set[str]]]:
    """Cases of every kind, some due or ended at the same moment; each with its data sources."""
    rng = random.Random(7)
    numbers = host.submit_many([deletion(f"p{n}@example.com") for n in range(count)])
    chosen = {number: set(rng.sample(SOURCES, rng.randrange(3))) for number in numbers}
    with writing(host.ledger.engine) as connection:
        for number in numbers:
            ended = NOW - timedelta(days=rng.randrange(60)) if rng.random() < 0.5 else None
            values = {
                "stage": "closed" if ended else rng.choice(("review", "process", "reply")),
                "type": rng.choice(list(RequestType)).value,
                "agent": rng.choice((AMY, BOB, None)),
                "channel": rng.choice((Channel.AGENT, Channel.PRIVACY_CENTER)).value,
                "due_at": (ended or NOW) + timedelta(days=rng.randrange(-10, 11), hours=rng.choice((0, 12))),
                "ended_at": ended,
                "paused_at": NOW - timedelta(days=20) if rng.random() < 0.15 else None,
            }
            connection.execute(update(cases).where(cases.c.case == number).values(**values))
            for name in sorted(chosen[number]):
                row = {"case": number, "source": name, "added_at": NOW, "added_by": AMY, "ended_at": ended}
                connection.execute(insert(case_sources).values(**row))
    return {number: (host.workflow.get(number), chosen[number]) for number in numbers}


def expected(everything: dict[str, tuple[Case, set[str]]], asked: Filter) -> list[str]:
    """The list as a person with patience would make it."""

    def passes(case: Case, chosen: set[str]) -> bool:
        assert case.due_at is not None
        return (
            (case.ended_at is None) == asked.open
            and asked.stage in (None, case.stage)
            and asked.type in (None, case.type)
            and asked.channel in (None, case.channel)
            and (asked.agent is None or (case.agent or "") == asked.agent)
            and (asked.source is None or asked.source in chosen)
            and (asked.due_before is None or case.due_at.date() <= asked.due_before)
            and (asked.due_after is None or case.due_at.date() >= asked.due_after)
            and (not asked.overdue or is_overdue(case, NOW))
        )

    found = [case for case, chosen in everything.values() if passes(case, chosen)]
    if asked.open:
        return [case.number for case in sorted(found, key=lambda case: (str(case.due_at), case.number))]
    return [case.number for case in sorted(found, key=lambda case: (str(case.ended_at), case.number), reverse=True)]


def every_filter() -> Iterator[Filter]:
    """Every combination of the parts, with a value or two of each."""
    due = ((None, None), (NOW.date() + timedelta(days=3), None), (NOW.date(), NOW.date() - timedelta(days=5)))
    for stage, type_, source, agent, channel, overdue, (before, after) in itertools.product(
        (None, "process", "closed"), (None, "deletion"), (None, "shop"), (None, "", AMY), (None, "agent"), (False, True), due
    ):
        yield Filter(stage=stage, type=type_, source=source, agent=agent, channel=channel, overdue=overdue, due_before=before, due_after=after)
    yield Filter(open=False)


def numbers(page: Page) -> list[str]:
    """The cases of a page."""
    return [case.number for case in page.cases]


# --- lists ---------------------------------------------------------------------------------------------------------------------------


def test_every_combination_of_filters(world: World) -> None:
    """Hundreds of filters, each list compared with one made by hand."""
    host = office(world)
    everything = filled(host)
    tried = 0
    every = 1 if host.ledger.engine.dialect.name == "sqlite" else 5  # the same queries; a server takes its time over them
    for asked in itertools.islice(every_filter(), 0, None, every):
        page = host.inbox.page(asked, limit=500)
        assert numbers(page) == expected(everything, asked), asked
        assert (page.next, page.previous) == (None, None)
        tried += bool(page.cases)
    assert tried > 150 / every


@pytest.mark.parametrize(
    "asked",
    [
        Filter(),
        Filter(open=False),
        Filter(source="shop"),
        Filter(open=False, source="shop"),
        Filter(open=False, source="shop", type="deletion"),
        Filter(agent=""),
        Filter(open=False, agent=""),
        Filter(overdue=True),
    ],
    ids=lambda asked: asked.to_json(),
)
def test_paging_there_and_back(world: World, asked: Filter) -> None:
    """Every case once, in order, to the end; and the same pages on the way back, with nothing before the first."""
    host = office(world)
    wanted = expected(filled(host), asked)
    assert len(wanted) > 3
    pages = [host.inbox.page(asked, limit=3)]
    while (after := pages[-1].next) is not None:
        pages.append(host.inbox.page(asked, after=after, limit=3))
    assert [number for page in pages for number in numbers(page)] == wanted
    assert pages[0].previous is None
    back = pages[-1]
    for page in reversed(pages[:-1]):
        assert back.previous is not None
        back = host.inbox.page(asked, after=back.previous, limit=3)
        assert numbers(back) == numbers(page)
        assert back.next is not None
    assert back.previous is None


def test_a_page_while_cases_come_and_go(world: World) -> None:
    """What is closed between two pages is missing, and nothing else is: no case slips through, none comes twice."""
    host = office(world)
    everything = filled(host)
    wanted = expected(everything, Filter())
    first = host.inbox.page(Filter(), limit=5)
    with writing(host.ledger.engine) as connection:
        connection.execute(update(cases).where(cases.c.case.in_(wanted[:7])).values(stage="closed", ended_at=NOW))
    second = host.inbox.page(Filter(), after=first.next, limit=5)
    assert numbers(second) == wanted[7:12]
    assert second.previous is not None
    assert numbers(host.inbox.page(Filter(), after=second.previous, limit=5)) == wanted[7:12]  # what was before has gone: the first page


def test_one_more_or_less_than_a_page(world: World) -> None:
    """The last page says that it is the last, also when it is full."""
    host = office(world)
    host.submit_many([deletion(f"p{n}@example.com") for n in range(4)])
    assert host.inbox.page(Filter(), limit=4).next is None
    page = host.inbox.page(Filter(), limit=3)
    assert page.next is not None
    assert len(host.inbox.page(Filter(), after=page.next, limit=3).cases) == 1
    assert host.inbox.page(Filter(open=False)) == Page((), None, None)


@pytest.mark.parametrize("after", ["x", "bjE", "../../etc", "bjE3ODE1MjQ4MDAwMDAuRFNS", "\N{SNOWMAN}", "A" * 5000])
def test_a_cursor_that_is_none(sqlite_world: World, after: str) -> None:
    """What nobody was given is refused, whatever it is."""
    host = office(sqlite_world)
    with pytest.raises(RequestError, match="no page of this list"):
        host.inbox.page(Filter(), after=after)


def test_cases_outside_the_workflow_are_not_listed(world: World) -> None:
    """They were taken in before there was one."""
    host = world.open()
    old = host.submit(deletion())
    host.close()
    host = office(world)
    assert host.inbox.page(Filter()).cases == host.inbox.page(Filter(open=False)).cases == ()
    assert host.inbox.search(old) == []


def test_pages_tell_of_unread_answers(world: World) -> None:
    """Only answers, only unread ones, only of the cases on the page."""
    host = office(world)
    told, read, noted = host.submit_many([deletion(f"p{n}@example.com") for n in range(3)])
    with writing(host.ledger.engine) as connection:
        for case, direction, read_at in ((told, "in", None), (told, "in", None), (read, "in", NOW), (noted, "note", None), (noted, "out", None)):
            connection.execute(insert(messages).values(case=case, at=NOW, direction=direction, author="subject", read_at=read_at))
    assert host.inbox.page(Filter()).unread == {told}
    assert host.inbox.page(Filter(agent=AMY)).unread == frozenset()
    assert host.inbox.counts().unread == 2


# --- filters -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [*itertools.islice(every_filter(), 0, None, 29), Filter(), Filter(open=False), Filter(agent="")])
def test_filters_survive_being_saved(asked: Filter) -> None:
    """To JSON and back is the same filter."""
    assert Filter.from_json(asked.to_json()) == asked


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '{"colour": "red"}', '{"open": "yes"}', '{"type": 3}', '{"due_before": "tomorrow"}', '{"type": "erasure"}'],
)
def test_what_is_no_filter(text: str) -> None:
    """A saved text that is none is refused, and not half understood."""
    with pytest.raises(RequestError):
        Filter.from_json(text)


@pytest.mark.parametrize("said", [{"stage": "done"}, {"type": "erasure"}, {"channel": "fax"}, {"open": False, "stage": "review"}])
def test_filters_that_cannot_be(said: dict[str, Any]) -> None:
    """Words that do not exist, and closed cases in review."""
    with pytest.raises(RequestError):
        Filter(**said)


def test_closed_is_a_stage_of_the_dropdown() -> None:
    """Choosing it is asking for closed cases."""
    assert Filter(stage="closed") == Filter(open=False)


def test_saved_filters_are_an_accounts_own(world: World) -> None:
    """By name, replaced under the same name, dropped by their owner only, fifty at most."""
    host = office(world)
    mine = host.inbox.save_filter(AMY, "  late   ones ", Filter(overdue=True))
    host.inbox.save_filter(AMY, "copies", Filter(type="copy"))
    host.inbox.save_filter(BOB, "copies", Filter(type="copy", agent=BOB))
    assert [(row.name, row.filter) for row in host.inbox.saved_filters(AMY)] == [
        ("copies", Filter(type="copy")),
        ("late ones", Filter(overdue=True)),
    ]
    host.inbox.save_filter(AMY, "copies", Filter(type="copy", due_before=date(2026, 7, 1)))
    assert host.inbox.saved_filters(AMY)[0].filter.due_before == date(2026, 7, 1)
    with pytest.raises(RequestError, match="no such filter"):
        host.inbox.drop_filter(BOB, mine)
    host.inbox.drop_filter(AMY, mine)
    assert [row.name for row in host.inbox.saved_filters(AMY)] == ["copies"]
    for name in ("", "   ", "x" * 101):
        with pytest.raises(RequestError, match="1 to 100"):
            host.inbox.save_filter(AMY, name, Filter())
    for n in range(49):
        host.inbox.save_filter(AMY, f"f{n}", Filter())
    with pytest.raises(RequestError, match="more than 50"):
        host.inbox.save_filter(AMY, "one more", Filter())
    assert len(host.inbox.saved_filters(AMY)) == 50


# --- search --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelt",
    [
        str,
        str.lower,
        lambda number: number.replace("-", ""),
        lambda number: number.replace("-", " ").lower(),
        lambda number: f"  {number[4:]} ",
        lambda number: number[4:].replace("-", "").lower(),
        lambda number: number[:4] + number[4:].replace("0", "O").replace("1", "l"),
        lambda number: number.replace("-", "\N{NO-BREAK SPACE}"),
    ],
)
def test_a_case_number_however_it_is_spelt(sqlite_world: World, spelt: Callable[[str], str]) -> None:
    """Off the telephone, off paper, without its prefix."""
    host = office(sqlite_world)
    number = "DSR-7K2M-0QXN-V4TB-91HC"
    host.submit(deletion(case=number))
    host.submit(deletion("bob@example.com"))
    assert [case.number for case in host.inbox.search(spelt(number))] == [number]


def test_a_number_that_begins_like_the_prefix(sqlite_world: World) -> None:
    """Sixteen letters of which the first are D, S and R."""
    host = office(sqlite_world)
    host.submit(deletion(case="DSR-DSR0-0QXN-V4TB-91HC"))
    assert [case.number for case in host.inbox.search("dsr00qxnv4tb91hc")] == ["DSR-DSR0-0QXN-V4TB-91HC"]


def test_searching_for_a_person(world: World) -> None:
    """By exact identity, normalised like the request's: address, telephone, the controller's id with or without its namespace."""
    host = office(world)
    with time_machine.travel(NOW - timedelta(days=2), tick=False):
        old = host.submit(deletion("Ada@Example.com"))
    subject = {
        "identities": [
            {"kind": "email", "value": "ada@example.com"},
            {"kind": "phone", "value": "+49 151 12345678"},
            {"kind": "controller_id", "value": "U-77"},
            {"kind": "controller_id", "value": "L9", "namespace": "loyalty"},
        ]
    }
    new = host.submit(Request.parse({"type": "copy", "subject": subject}))
    host.submit(deletion("bob@example.com"))
    for words, found in {
        " ADA@example.com ": [new, old],
        "+49 (0)151 123-45678": [new],
        "0049 151 12345678": [new],
        "U-77": [new],
        "loyalty:L9": [new],
        "user_id:U-77": [new],
        "L9": [],
        "u-77": [],
        "ada": [],
        "ada@example": [],
        "%@example.com": [],
        "": [],
        "   ": [],
        "'; DROP TABLE cases; --": [],
        "x" * 5000: [],
    }.items():
        assert [case.number for case in host.inbox.search(words)] == found, words


def test_search_finds_closed_cases_but_no_shredded_person(world: World) -> None:
    """After shredding, the number is all that is left to search by."""
    host = office(world)
    case = host.submit(deletion())
    host.workflow.reject(case, Reason.OTHER, by=AMY)
    with host.workflow.deciding() as (connection, book):
        host.workflow.close(connection, book, host.workflow.held(connection, case), by=AMY)
    assert [found.stage for found in host.inbox.search("ada@example.com")] == ["closed"]
    host.shred(case)
    assert host.inbox.search("ada@example.com") == []
    assert [found.shredded for found in host.inbox.search(case)] == [True]


def test_search_gives_fifty_at_most(world: World) -> None:
    """Somebody who asks every day: the newest fifty."""
    host = office(world)
    requests = [deletion(received_at=(NOW - timedelta(days=n)).isoformat()) for n in range(55)]
    submitted = host.submit_many(requests)
    assert [case.number for case in host.inbox.search("ada@example.com")] == submitted[:50]


# --- counts and dashboard ------------------------------------------------------------------------------------------------------------


def test_counts(world: World) -> None:
    """What the page's tabs say is what its lists hold; a clock that stands still is neither overdue nor due soon."""
    host = office(world)
    everything = filled(host)
    open_ = [case for case, _ in everything.values() if case.ended_at is None]
    counts = host.inbox.counts()
    assert counts.by_stage == {stage: sum(case.stage == stage for case in open_) for stage in ("review", "process", "reply")}
    assert counts.overdue == len(host.inbox.page(Filter(overdue=True), limit=500).cases) > 0
    soon = [case for case in open_ if case.due_at and case.paused_at is None and NOW <= case.due_at < NOW + timedelta(days=7)]
    assert counts.due_soon == len(soon) > 0
    assert counts.unassigned == len(host.inbox.page(Filter(agent=""), limit=500).cases) > 0


def test_counts_of_nothing(world: World) -> None:
    """A fresh host: noughts, and every stage is named."""
    host = office(world)
    assert host.inbox.counts().by_stage == {"review": 0, "process": 0, "reply": 0}
    figures = host.inbox.dashboard()
    assert (figures.by_type, figures.closed_30_days, figures.overdue) == ({}, 0, 0)
    assert [count for _, _, count in figures.days_to_close] == [0] * 12
    assert all(median is None for _, median, _ in figures.days_to_close)
    assert [row.success for row in figures.sources] == [None, None]


def test_the_dashboard(world: World) -> None:
    """Medians by ISO week, the last twelve; open cases by type; what was closed in thirty days."""
    host = office(world)
    days = {"2026-06-15": (1, 3, 20), "2026-06-14": (4,), "2026-06-01": (10, 11), "2026-03-30": (5,), "2026-03-29": (99,)}
    for day, lengths in days.items():
        ended = datetime.fromisoformat(day).replace(hour=6, tzinfo=UTC)
        for length in lengths:
            case = host.submit(deletion(f"{day}-{length}@example.com", received_at=(ended - timedelta(days=length)).isoformat()))
            with writing(host.ledger.engine) as connection:
                connection.execute(update(cases).where(cases.c.case == case).values(stage="closed", ended_at=ended))
    host.submit_many([deletion(type="copy"), deletion("bob@example.com"), deletion("eve@example.com")])
    figures = host.inbox.dashboard()
    weeks = {week: (median, count) for week, median, count in figures.days_to_close}
    assert [week for week, _, _ in figures.days_to_close][::11] == ["2026-W14", "2026-W25"]
    assert {week: row for week, row in weeks.items() if row[1]} == {
        "2026-W14": (5.0, 1),
        "2026-W23": (11.0, 2),
        "2026-W24": (4.0, 1),
        "2026-W25": (3.0, 3),
    }
    assert figures.by_type == {"copy": 1, "deletion": 2}
    assert figures.by_stage["review"] == 3
    assert figures.closed_30_days == 6


def test_weeks_around_new_year(sqlite_world: World) -> None:
    """The first of January belongs to the old year's last week."""
    host = office(sqlite_world)
    with time_machine.travel(datetime(2027, 1, 1, 12, tzinfo=UTC), tick=False):
        assert [week for week, _, _ in host.inbox.dashboard().days_to_close][-3:] == ["2026-W51", "2026-W52", "2026-W53"]


def test_how_data_sources_are_doing(world: World) -> None:
    """By case, not by record: one that failed anywhere failed; older than thirty days does not count; live work waits."""
    host = office(world)
    one, two, three, four = host.submit_many([deletion(f"p{n}@example.com") for n in range(4)])
    rows = [
        (one, "crm", "erase", "done", 1),
        (one, "crm", "erase", "done", 1),
        (two, "crm", "erase", "done", 1),
        (two, "crm", "erase", "failed", 1),
        (three, "crm", "manual", "pending", None),
        (three, "crm", "erase", "ready", None),
        (four, "crm", "erase", "done", 31),
        (four, "crm", "find", "done", 1),
        (four, "shop", "gap", "failed", 2),
    ]
    with writing(host.ledger.engine) as connection:
        for case, source, action, state, ago in rows:
            finished = NOW - timedelta(days=ago) if ago else None
            row = {"case": case, "source": source, "action": action, "state": state, "created_at": NOW, "finished_at": finished}
            connection.execute(insert(tasks).values(**row))
    crm, shop = host.inbox.dashboard().sources
    assert (crm.name, crm.done, crm.failed, crm.waiting, crm.success) == ("crm", 1, 1, 1, 0.5)
    assert (shop.name, shop.done, shop.failed, shop.waiting, shop.success) == ("shop", 0, 1, 0, 0.0)


# --- many at once --------------------------------------------------------------------------------------------------------------------


def test_bulk_continue(world: World) -> None:
    """One by one: an out-of-date one, an unverified one and one that is not there are told, the others go on."""
    host = office(world)
    good, stale, other = host.submit_many([deletion(f"p{n}@example.com") for n in range(3)])
    unproven = host.submit(deletion("q@example.com", channel="privacy_center"))
    seen = {case.number: case.revision for case in host.inbox.page(Filter()).cases}
    host.workflow.choose(stale, [], by=BOB)
    picked = [good, stale, unproven, "DSR-0000-0000-0000-0000", other]
    results = host.inbox.bulk("accept", [(number, seen.get(number, 0)) for number in picked], by=AMY)
    assert [(row.case, row.ok) for row in results] == list(zip(picked, (True, False, False, False, True), strict=True))
    told = [row.error for row in results]
    assert "someone else has decided" in told[1]
    assert "not verified" in told[2]
    assert "no such case" in told[3]
    assert told[0] == told[4] == ""
    assert [host.workflow.get(number).stage for number in (good, stale, unproven, other)] == ["process", "review", "review", "process"]


def test_many_are_finished_with_a_word_for_each(world: World) -> None:
    """It is said beforehand which case needs which word and what is left out; a word is given case by case, and never instead of the work."""
    host = office(world)
    ready, silent, open_, internal, copy, review = (
        host.submit(deletion(f"p{n}@example.com", type=type_)) for n, type_ in enumerate(("deletion",) * 3 + ("do_not_mail", "copy", "deletion"))
    )
    for case in (ready, silent, open_, internal, copy):
        host.workflow.accept(case, by=AMY, sources=["crm"] if case != internal else None)
    for case in (ready, silent, copy):
        host.processing.mark_done(case, "crm", by=AMY, result="elsewhere" if case == copy else "")
    picked = [ready, silent, open_, internal, copy, review]
    needs = {row.case: row for row in host.inbox.finishing(picked)}
    assert {case: (row.word, bool(row.blockers)) for case, row in needs.items()} == {
        ready: ("All data was deleted", False),
        silent: ("All data was deleted", False),
        open_: ("All data was deleted", True),
        internal: ("It was handled internally", False),
        copy: ("", True),
    }
    assert needs[open_].blockers == ("Crm: to be done by hand, not marked as done yet",)
    results = host.inbox.bulk("finish", [(case, None) for case in picked], by=AMY, confirmed={ready, open_, internal, copy, review})
    assert {row.case: row.ok for row in results} == {ready: True, silent: False, open_: False, internal: True, copy: False, review: False}
    errors = {row.case: row.error for row in results}
    assert 'the box "All data was deleted" is not ticked' in errors[silent]
    assert "not marked as done" in errors[open_]
    assert "the copy is not generated" in errors[copy]
    confirmed = [event["data"]["text"] for case in (ready, internal) for event in host.history(case) if event["event"] == "processing.confirmed"]
    assert confirmed == ["all data was deleted", "handled internally"]


def test_bulk_assign_and_finish(world: World) -> None:
    """Assigning to somebody and to nobody; without a word, what needs one stays."""
    host = office(world)
    staff(host, AMY, BOB)
    picked = host.submit_many([deletion(f"p{n}@example.com", type="do_not_mail") for n in range(2)])
    assert all(row.ok for row in host.inbox.bulk("assign", [(number, None) for number in picked], by=AMY, agent=BOB))
    assert numbers(host.inbox.page(Filter(agent=BOB))) == sorted(picked)
    assert all(row.ok for row in host.inbox.bulk("assign", [(number, None) for number in picked], by=AMY))
    assert host.inbox.counts().unassigned == 2
    host.inbox.bulk("accept", [(number, None) for number in picked], by=AMY)
    finished = host.inbox.bulk("finish", [(number, None) for number in picked], by=AMY)
    assert not any(row.ok for row in finished)
    assert all("not ticked" in row.error for row in finished)


def test_bulk_knows_four_words(sqlite_world: World) -> None:
    """What is no decision about many is told for each."""
    host = office(sqlite_world)
    case = host.submit(deletion())
    (result,) = host.inbox.bulk("shred", [(case, 0)], by=AMY)  # type: ignore[arg-type]
    assert (result.ok, "nothing that can be done" in result.error) == (False, True)


def test_without_a_workflow_there_is_nothing_to_count(sqlite_world: World) -> None:
    """It says what is missing."""
    with pytest.raises(ConfigError, match="no workflow"):
        sqlite_world.open().inbox.counts()


# --- query plans ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def statements(host: Host) -> Iterator[list[tuple[str, Any]]]:
    """Every query that is sent in the block, with its parameters."""
    seen: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith("SELECT"):
            seen.append((statement, parameters))

    event.listen(host.ledger.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(host.ledger.engine, "before_cursor_execute", note)


def sqlite_plan(host: Host, statement: str, parameters: Any) -> list[str]:
    """SQLite's plan, a line a step."""
    with reading(host.ledger.engine) as connection:
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]


def postgres_plan(host: Host, statement: str, parameters: Any) -> str:
    """PostgreSQL's plan of a table too large to be read whole or sorted: a small one it would read and sort, whatever indexes there are."""
    with reading(host.ledger.engine) as connection:
        for way in ("seqscan", "bitmapscan", "sort"):
            connection.execute(text(f"SET LOCAL enable_{way} = off"))
        ((plan,),) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
    return json.dumps(plan)


def walked(host: Host, every: int = 1) -> Iterator[tuple[Filter, list[tuple[str, Any]]]]:
    """The queries of the first page and of the one behind it, of every filter or one in so many."""
    for asked in itertools.islice(every_filter(), 0, None, every):
        with statements(host) as seen:
            page = host.inbox.page(asked, limit=1)
            if page.next is not None:
                host.inbox.page(asked, after=page.next, limit=1)
        yield asked, seen


@pytest.mark.parametrize("analysed", [False, True])
def test_no_list_reads_a_table_or_sorts(sqlite_world: World, analysed: bool) -> None:
    """SQLite: the keys of every list come out of an index in their order, without touching a case's row; with statistics and without."""
    host = office(sqlite_world)
    filled(host)
    if analysed:
        with writing(host.ledger.engine) as connection:
            connection.execute(text("ANALYZE"))
        host.ledger.engine.dispose()
    for asked, seen in walked(host):
        for statement, parameters in seen:
            plan = sqlite_plan(host, statement, parameters)
            assert not [
                step for step in plan if step.startswith("SCAN") and " USING COVERING INDEX ix_cases_" not in step and step != "SCAN anon_1"
            ], (asked, plan)
            assert not [step for step in plan if "TEMP B-TREE" in step], (asked, plan)
            if "ORDER BY" in statement and asked.source is None:
                assert [step.partition("COVERING INDEX ix_cases_")[1] for step in plan] == ["COVERING INDEX ix_cases_"], (asked, plan)


def test_counts_read_what_is_open(sqlite_world: World) -> None:
    """SQLite: the counts come out of the indexes of open cases and of unread answers, those of a search out of the fingerprints."""
    host = office(sqlite_world)
    filled(host)
    with statements(host) as seen:
        host.inbox.counts()
    plans = [sqlite_plan(host, *query) for query in seen]
    for (step,) in plans:
        assert "COVERING INDEX ix_cases_open" in step or "INDEX ix_messages_unread" in step, step
    with statements(host) as seen:
        host.inbox.search("p7@example.com")
        host.inbox.search("DSR-7K2M-0QXN-V4TB-91HC")
    steps = [step for query in seen for step in sqlite_plan(host, *query)]
    assert any("ix_case_identities_fingerprint" in step for step in steps)
    assert not [step for step in steps if step.startswith("SCAN")], steps


def test_the_dashboard_reads_indexes_only(sqlite_world: World) -> None:
    """SQLite: twelve weeks of closed cases and a month of finished work, each from an index; no row is read."""
    host = office(sqlite_world)
    filled(host)
    with statements(host) as seen:
        host.inbox.dashboard()
    for query in seen:
        for step in sqlite_plan(host, *query):
            if step.startswith(("SCAN", "SEARCH")) and step != "SCAN anon_1":
                assert "COVERING INDEX ix_" in step or "INDEX ix_messages_unread" in step, step
            assert not step.startswith(("SCAN cases USING COVERING INDEX ix_cases_ended", "SCAN tasks")), step


@pytest.mark.parametrize("world", ["postgresql"], indirect=True)
def test_no_list_sorts_on_postgresql(world: World) -> None:
    """PostgreSQL: the order of every list is an index's."""
    host = office(world)
    filled(host)
    with host.ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    for asked, seen in walked(host, every=5):
        for statement, parameters in seen:
            plan = postgres_plan(host, statement, parameters)
            assert '"Sort"' not in plan, (asked, plan)
            assert '"Seq Scan"' not in plan, (asked, plan)
            assert '"Incremental Sort"' not in plan, (asked, plan)


def test_the_overdue_of_closed_cases(sqlite_world: World) -> None:
    """A closed case stays on time, or late, as it was closed: also when its clock stood still at the end."""
    host = office(sqlite_world)
    case = host.workflow.get(host.submit(deletion()))
    assert case.due_at is not None
    assert not is_overdue(replace(case, ended_at=case.due_at))
    assert is_overdue(replace(case, ended_at=case.due_at + timedelta(seconds=1), paused_at=case.received_at))
    assert not is_overdue(replace(case, paused_at=case.received_at), case.due_at + timedelta(days=9))


def test_a_damaged_request_hides_no_other(world: World) -> None:
    """Who asks is shown for those that can be opened; of one that was shredded or damaged nothing is said, and the list stands."""
    host = office(world)
    numbers = [host.submit(deletion("ada@example.com")) for _ in range(3)]
    with writing(host.ledger.engine) as connection:
        connection.execute(update(cases).where(cases.c.case == numbers[1]).values(sealed_request=b"x" * 64))
    found = host.inbox.page(Filter()).cases
    assert len(found) == 3
    assert set(host.inbox.people(found)) == {numbers[0], numbers[2]}
