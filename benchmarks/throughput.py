"""(1) The durable engine on SQLite against bare httpx doing the same calls: a search, three pages, a delete for each person."""

from __future__ import annotations

import argparse
import json
import queue
import threading

import httpx

from benchmarks.common import Cost, host, measured, median, target
from dsr_sdk import Request


def bare(url: str, people: list[str], threads: int) -> Cost:
    """Plain httpx: one client a thread, which is its cheapest form."""
    inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for email in people:
        inbox.put(email)
    for _ in range(threads):
        inbox.put(None)

    def work() -> None:
        with httpx.Client(base_url=url) as client:
            while (email := inbox.get()) is not None:
                for customer in client.get("/search", params={"email": email}).raise_for_status().json()["data"]:
                    page = 1
                    while page is not None:
                        params = {"page": page} if page > 1 else {}
                        page = client.get(f"/customers/{customer['id']}/items", params=params).raise_for_status().json()["next"]
                    client.delete(f"/customers/{customer['id']}").raise_for_status()

    costs: list[Cost] = []
    with measured(costs):
        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return costs[0]


def engine(url: str, people: list[str], threads: int) -> Cost:
    """The same through the host: planned, approved, journalled, audited, recorded. Taking the requests in is not measured."""
    with host(url, "bench", threads=threads) as opened:
        cases = opened.submit_many([Request.parse({"type": "deletion", "subject": {"email": email}}) for email in people])
        costs: list[Cost] = []
        with measured(costs):
            opened.approve_many(opened.plan_many(cases))
            drained = opened.run_all()
        assert drained["bench"].finished == len(people), drained
    return costs[0]


def main() -> None:
    """Print the medians and the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long the vendor thinks")
    arguments = parser.parse_args()
    rows: list[tuple[Cost, Cost]] = []
    with target() as url:
        httpx.get(f"{url}/delay?{arguments.delay_ms / 1000}")
        for round_ in range(arguments.rounds):
            people = [f"p{round_}-{n}@example.com" for n in range(arguments.people)]
            rows.append((bare(url, people, arguments.threads), engine(url, people, arguments.threads)))
    print(
        json.dumps(
            {
                "people": arguments.people,
                "calls_each": 5,
                "threads": arguments.threads,
                "delay_ms": arguments.delay_ms,
                "bare_per_s": round(arguments.people / median([plain.wall for plain, _ in rows]), 1),
                "engine_per_s": round(arguments.people / median([ours.wall for _, ours in rows]), 1),
                "throughput_ratio": round(median([plain.wall / ours.wall for plain, ours in rows]), 3),
                "cpu_ratio": round(median([ours.cpu / plain.cpu for plain, ours in rows]), 3),
                "bare_cpu_ms_each": round(median([plain.cpu for plain, _ in rows]) / arguments.people * 1000, 3),
                "engine_cpu_ms_each": round(median([ours.cpu for _, ours in rows]) / arguments.people * 1000, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
