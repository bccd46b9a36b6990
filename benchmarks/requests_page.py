"""(8) The requests page with 100,000 cases: server time of each list, search and the counts, against 1,000 cases, and the query plans.

One case in twenty is open. With ``--postgresql`` the same on a PostgreSQL server of its own (the one the tests start).
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.engine import Connection

from benchmarks.common import median
from dsr_sdk.host import Host, initialise
from dsr_sdk.host.cases.filters import Cursor, Filter, keys
from dsr_sdk.ledger.book import chunks
from dsr_sdk.ledger.database import reading, writing
from dsr_sdk.ledger.desk import case_sources, messages
from dsr_sdk.ledger.schema import case_identities, cases, tasks
from dsr_sdk.request import Channel, Request, RequestType, new_case_number

SOURCES = ("crm", "shop", "newsletter", "helpdesk", "analytics")
AGENTS = tuple(f"agent{n}@example.com" for n in range(20))
RARE = "legacy"  # a data source that only the oldest hundred closed cases had


def fill(opened: Host, count: int, *, open_share: float) -> None:
    """Cases in the workflow, newest last, as rows: all of them Ada's, since a page shows who asks."""
    rng = random.Random(4)
    ledger = opened.ledger
    now = datetime.now(UTC)
    ada = Request.parse({"type": "deletion", "subject": {"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace"}})
    body = ada.model_dump_json()
    for chunk in chunks(range(count), 2000):
        case_rows, identity_rows, source_rows, task_rows, message_rows = [], [], [], [], []
        for n in chunk:
            number = new_case_number()
            key, wrapped = ledger.vault.new_case_key(number)
            is_open = n >= count * (1 - open_share)
            received = now - timedelta(minutes=(count - n) * 5)
            if is_open:
                received = now - timedelta(minutes=rng.randrange(45 * 24 * 60))
            ended = None if is_open else received + timedelta(hours=rng.randrange(24, 35 * 24))
            ended = min(ended, now) if ended else None
            case_rows.append(
                {
                    "case": number,
                    "type": rng.choices(list(RequestType), (60, 25, 10, 4, 1))[0].value,
                    "scope": "account",
                    "channel": rng.choices(list(Channel), (50, 20, 20, 5, 1, 2, 1, 1))[0].value,
                    "regime": "eu_gdpr",
                    "status": "received" if is_open else "done",
                    "received_at": received,
                    "created_at": received,
                    "closed_at": ended,
                    "wrapped_key": wrapped,
                    "sealed_request": key.seal(body.replace(ada.case, number).encode(), "cases.sealed_request"),
                    "stage": rng.choice(("review", "process", "reply")) if is_open else "closed",
                    "stage_at": received,
                    "decision": None if is_open else "accepted",
                    "agent": rng.choice((*AGENTS, None)),
                    "due_at": received + timedelta(days=30),
                    "ended_at": ended,
                }
            )
            identity_rows.append({"case": number, "fingerprint": ledger.vault.fingerprint("identity", "email", f"p{n}@example.com"), "kind": "email"})
            chosen = [*rng.sample(SOURCES, 3), *([RARE] if n < 100 else [])]
            source_rows += [{"case": number, "source": name, "added_at": received, "added_by": AGENTS[0], "ended_at": ended} for name in chosen]
            task_rows += [
                {
                    "case": number,
                    "source": name,
                    "action": "erase",
                    "state": "ready" if is_open else rng.choices(("done", "failed"), (97, 3))[0],
                    "created_at": received,
                    "finished_at": ended,
                }
                for name in chosen
            ]
            if rng.random() < 0.2:
                unread = is_open and rng.random() < 0.2
                message_rows.append(
                    {
                        "case": number,
                        "at": received,
                        "direction": "in",
                        "author": "subject",
                        "read_at": None if unread else received,
                        "sealed": bytes(200),
                    }
                )
        with writing(ledger.engine) as connection:
            for table, rows in (
                (cases, case_rows),
                (case_identities, identity_rows),
                (case_sources, source_rows),
                (tasks, task_rows),
                (messages, message_rows),
            ):
                connection.execute(insert(table), rows)


FILTERS: dict[str, Filter] = {
    "open": Filter(),
    "open, stage": Filter(stage="process"),
    "open, type": Filter(type="right_to_edit"),
    "open, agent": Filter(agent=AGENTS[7]),
    "open, unassigned": Filter(agent=""),
    "open, data source": Filter(source="shop"),
    "open, data source without cases": Filter(source=RARE),
    "open, channel": Filter(channel="provider"),
    "open, overdue": Filter(overdue=True),
    "open, stage type agent source channel": Filter(stage="reply", type="copy", agent=AGENTS[3], source="crm", channel="agent"),
    "closed": Filter(open=False),
    "closed, type": Filter(open=False, type="right_to_edit"),
    "closed, agent": Filter(open=False, agent=AGENTS[7]),
    "closed, agent without cases": Filter(open=False, agent="nobody@example.com"),
    "closed, unassigned": Filter(open=False, agent=""),
    "closed, data source": Filter(open=False, source="shop"),
    "closed, rare data source": Filter(open=False, source=RARE),
    "closed, channel": Filter(open=False, channel="provider"),
    "closed, too late": Filter(open=False, overdue=True),
    "closed, due in a range": Filter(open=False, due_after=(datetime.now(UTC) - timedelta(days=90)).date(), due_before=datetime.now(UTC).date()),
    "closed, type and rare data source": Filter(open=False, type="deletion", source=RARE),
    "closed, type agent channel": Filter(open=False, type="right_to_edit", agent=AGENTS[3], channel="provider"),
}


def timed(act: Callable[[], Any], rounds: int) -> float:
    """Median milliseconds of server time: one thread, nobody waits."""
    act()
    spent = []
    for _ in range(rounds):
        started = time.perf_counter()
        act()
        spent.append((time.perf_counter() - started) * 1000)
    return round(median(spent), 2)


def deep(opened: Host, asked: Filter, pages: int) -> str | None:
    """The cursor after so many pages, or in the middle of a shorter list."""
    after: str | None = None
    seen: list[str | None] = [None]
    for _ in range(pages):
        page = opened.inbox.page(asked, after=after, limit=500)
        after = page.next
        if after is None:
            return seen[len(seen) // 2]
        seen.append(after)
    return after


def measure(opened: Host, rounds: int) -> dict[str, float]:
    """Every figure."""
    inbox = opened.inbox
    figures = {name: timed(partial(inbox.page, asked), rounds) for name, asked in FILTERS.items()}
    for name, asked in (("open, deep page", Filter()), ("closed, deep page", Filter(open=False))):
        figures[name] = timed(partial(inbox.page, asked, after=deep(opened, asked, 150)), rounds)
    number = (inbox.page(Filter(open=False)).cases or inbox.page(Filter()).cases)[0].number
    figures["search, case number"] = timed(lambda: inbox.search(number.lower().replace("-", " ")), rounds)
    figures["search, e-mail address"] = timed(lambda: inbox.search("p7@example.com"), rounds)
    page = inbox.page(Filter()).cases
    figures["who asks, of a page"] = timed(lambda: inbox.people(page), rounds)
    figures["counts"] = timed(inbox.counts, rounds)
    figures["dashboard"] = timed(inbox.dashboard, rounds)
    return figures


def plans(opened: Host) -> Iterator[str]:
    """The database's plan for the deep page of each filter."""
    cursor = Cursor(datetime.now(UTC) - timedelta(days=3), "DSR-7K2M-0QXN-V4TB-91HC")
    with reading(opened.ledger.engine) as connection:
        for name, asked in FILTERS.items():
            yield f"{name}:"
            query = keys(asked, cursor, now=datetime.now(UTC), limit=51, rare=asked.source == RARE)
            yield from (f"    {line}" for line in plan(connection, query))


def plan(connection: Connection, query: Any) -> list[str]:
    """The plan of a query, a line a step."""
    compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
    if connection.dialect.name == "sqlite":
        return [row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {compiled}"))]
    return [row[0] for row in connection.execute(text(f"EXPLAIN (COSTS OFF) {compiled}"))]


@contextmanager
def opened(database: str | None) -> Iterator[Host]:
    """A host with the workflow in a fresh directory."""
    with tempfile.TemporaryDirectory() as directory:
        path = initialise(Path(directory), company="Bench", **({"database": database} if database else {}))
        sources = "".join(
            f'\n[sources.{name}]\nconnector = "manual"\nvendor = "{name}"\ncategory = "crm"\ninstructions = "look"\n' for name in SOURCES
        )
        path.write_text(path.read_text() + "\n[workflow]\n" + sources)
        with Host.open(path) as host:
            yield host


def run(name: str, databases: Sequence[str | None], counts: Sequence[int], rounds: int, open_share: float, *, with_plans: bool) -> None:
    """Fill and measure one database after the other; print figures, and the plans of the largest."""
    columns: list[dict[str, float]] = []
    for database, count in zip(databases, counts, strict=True):
        with opened(database) as host:
            fill(host, count, open_share=open_share)
            if host.ledger.engine.dialect.name == "postgresql":
                with host.ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.execute(text("VACUUM ANALYZE"))  # what autovacuum does a minute later
            columns.append(measure(host, rounds))
            if with_plans and count == counts[-1]:
                print("\n".join(plans(host)), flush=True)
    small, large = columns
    for key in small:
        figures = {f"ms_{counts[0]}": small[key], f"ms_{counts[1]}": large[key]}
        print(json.dumps({"database": name, "list": key, **figures}), flush=True)
    pages = [value for key, value in large.items() if key != "dashboard"]
    print(json.dumps({"database": name, "cases": counts[1], "open": round(counts[1] * open_share), "slowest_page_ms": max(pages)}), flush=True)


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--against", type=int, default=1_000)
    parser.add_argument("--open-share", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--plans", action="store_true", help="print the query plans as well")
    parser.add_argument("--postgresql", action="store_true", help="on PostgreSQL as well")
    arguments = parser.parse_args()
    counts = (arguments.against, arguments.cases)
    run("sqlite", (None, None), counts, arguments.rounds, arguments.open_share, with_plans=arguments.plans)
    if arguments.postgresql:
        from tests.postgres import PostgresServer

        server = PostgresServer()
        try:
            urls = [server.url(server.create_database()) for _ in counts]
            run("postgresql", urls, counts, arguments.rounds, arguments.open_share, with_plans=arguments.plans)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
