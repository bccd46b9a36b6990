"""(3) How much of a declared rate limit is used, and how many 429s are seen, when the vendor enforces exactly that limit."""

from __future__ import annotations

import argparse
import json
import time

from benchmarks.common import ask, host, target
from dsr_sdk import Request


def main() -> None:
    """Print the share of the limit and the 429s."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=400)
    people = parser.parse_args().people
    with target() as url, host(url, "limited") as opened:
        ask(f"{url}/limit?100")
        cases = opened.submit_many([Request.parse({"type": "deletion", "subject": {"email": f"p{n}@example.com"}}) for n in range(people)])
        started = time.perf_counter()
        plans = opened.plan_many(cases)
        seconds = time.perf_counter() - started
        ask(f"{url}/limit?0")
        counts = ask(f"{url}/counts")
        assert all(plan.complete for plan in plans)
    calls = people * 4
    print(
        json.dumps(
            {
                "limit_per_s": 100,
                "calls": calls,
                "seconds": round(seconds, 2),
                "per_s": round(calls / seconds, 1),
                "share": round(calls / seconds / 100, 3),
                "refused_429": counts.get("429", 0),
            }
        )
    )


if __name__ == "__main__":
    main()
