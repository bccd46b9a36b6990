"""(6) Peak memory of a copy of 200,000 records, over an idle host: fetched, sealed, packaged."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from benchmarks.common import host, peak_rss_mb, target
from dsr_sdk import Request


def main() -> None:
    """Print the peak over idle."""
    with target() as url, host(url, "bench") as opened, tempfile.TemporaryDirectory() as directory:
        # A first small job brings in what any host has loaded: that is the idle the issue speaks of.
        warm = opened.submit(Request.parse({"type": "deletion", "subject": {"email": "warm@example.com"}}))
        opened.approve(opened.plan(warm))
        opened.run(warm)
        import dsr_sdk.copy.package
        import dsr_sdk.copy.page  # noqa: F401 - loaded here so that templates count as idle, records do not

        idle = peak_rss_mb()
        case = opened.submit(Request.parse({"type": "copy", "subject": {"email": "ada@example.com"}}))
        opened.approve(opened.plan(case))
        started = time.perf_counter()
        opened.run(case)
        fetched = time.perf_counter() - started
        after_fetch = peak_rss_mb()
        path = Path(directory) / "copy.zip"
        started = time.perf_counter()
        manifest = opened.copy(case, path)
        packaged = time.perf_counter() - started
        records = sum(entry.records for entry in manifest.sources)
        size = path.stat().st_size
    print(
        json.dumps(
            {
                "records": records,
                "idle_mb": round(idle, 1),
                "over_idle_fetching_mb": round(after_fetch - idle, 1),
                "over_idle_mb": round(peak_rss_mb() - idle, 1),
                "fetch_s": round(fetched, 1),
                "package_s": round(packaged, 1),
                "zip_mb": round(size / 2**20, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
