"""(2) Erasures at a vendor that takes a hundred people a call: how many calls are made."""

from __future__ import annotations

import argparse
import json

from benchmarks.common import Cost, ask, host, measured, target
from dsr_sdk import Request


def main() -> None:
    """Print calls and cost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=10_000)
    people = parser.parse_args().people
    with target() as url, host(url, "batch") as opened:
        cases = opened.submit_many([Request.parse({"type": "deletion", "subject": {"user_id": f"user-{n}"}}) for n in range(people)])
        costs: list[Cost] = []
        with measured(costs):
            opened.approve_many(opened.plan_many(cases))
            opened.run_all(wait=30)
        counts = ask(f"{url}/counts")
        done = sum(1 for case in opened.cases(status=["done"]) if case.number)
    print(
        json.dumps(
            {
                "people": people,
                "done": done,
                "erasure_calls": counts.get("POST deletions", 0),
                "polls": counts.get("GET deletions", 0),
                "seconds": round(costs[0].wall, 1),
                "cpu_ms_each": round(costs[0].cpu / people * 1000, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
