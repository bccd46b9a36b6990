"""(5) CPU an erasure costs with an empty ledger and with 200,000 closed requests in it."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert

from benchmarks.common import Cost, host, measured, median, target
from dsr_sdk import Request
from dsr_sdk.host import Host
from dsr_sdk.ledger.book import Book, chunks
from dsr_sdk.ledger.database import writing
from dsr_sdk.ledger.schema import suppression, tasks


def fill(opened: Host, count: int) -> None:
    """Closed requests as a run leaves them: case, search, erasure, verification, suppression, five audit events."""
    past = datetime.now(UTC) - timedelta(days=100)
    ledger = opened.ledger
    for chunk in chunks(range(count), 1000):
        requests = [Request.parse({"type": "deletion", "subject": {"email": f"old{n}@example.com"}}) for n in chunk]
        with writing(ledger.engine) as connection:
            book = Book(past)
            ledger.cases.add(connection, requests, book)
            for request in requests:
                for event in ("source.searched", "plan.made", "plan.approved", "erase.erased"):
                    book.note(request.case, event, "host", source="bench")
            ledger.write(connection, book)
            ledger.cases.set_status(connection, [request.case for request in requests], "done", closed_at=past)
            rows = [
                {
                    "case": request.case,
                    "source": "bench",
                    "action": action,
                    "state": "done",
                    "resource": "customer",
                    "count": 1,
                    "outcome": '{"kind":"erased"}',
                    "created_at": past,
                    "finished_at": past,
                }
                for request in requests
                for action in ("find", "erase", "verify")
            ]
            connection.execute(insert(tasks), rows)
            marks = [
                {
                    "fingerprint": ledger.cases.fingerprint(request.subject.identities[0]),
                    "source": "bench",
                    "case": request.case,
                    "erased_at": past,
                }
                for request in requests
            ]
            connection.execute(insert(suppression), marks)


def erase(opened: Host, people: list[str]) -> Cost:
    """Take in, plan, approve and run."""
    costs: list[Cost] = []
    with measured(costs):
        cases = opened.submit_many([Request.parse({"type": "deletion", "subject": {"email": email}}) for email in people])
        opened.approve_many(opened.plan_many(cases))
        opened.run_all()
    return costs[0]


def main() -> None:
    """Print both and the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--closed", type=int, default=200_000)
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with target() as url, host(url, "bench") as empty, host(url, "bench") as full:
        fill(full, arguments.closed)
        rows = []
        erase(empty, ["warm@example.com"])
        erase(full, ["warm@example.com"])
        for round_ in range(arguments.rounds):
            people = [f"n{round_}-{n}@example.com" for n in range(arguments.people)]
            rows.append((erase(empty, people), erase(full, people)))
    print(
        json.dumps(
            {
                "closed": arguments.closed,
                "cpu_ms_each_empty": round(median([a.cpu for a, _ in rows]) / arguments.people * 1000, 3),
                "cpu_ms_each_full": round(median([b.cpu for _, b in rows]) / arguments.people * 1000, 3),
                "cpu_ratio": round(median([b.cpu / a.cpu for a, b in rows]), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
