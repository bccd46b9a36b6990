"""Long work: shown while it lasts, and stopped gently."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from dsr_sdk.cli import failures, output

if TYPE_CHECKING:
    from dsr_sdk.engine import Progress
    from dsr_sdk.host import Host

__all__ = ["EVERY", "counted", "gently", "shown"]

EVERY = 5.0
"""Seconds between two lines of progress where there is no terminal."""

_T = TypeVar("_T")
Report = Callable[["Progress"], None]


def gently(host: Host, work: Callable[[], _T]) -> _T:
    """Do the host's work on another thread, so that Ctrl-C reaches us and not the middle of a transaction.

    The first one lets what is under way finish and be recorded, then raises `KeyboardInterrupt`; the second leaves at once, which the
    ledger survives: intents are journalled.
    """
    stopping = False
    with ThreadPoolExecutor(1, thread_name_prefix="host") as pool:
        future = pool.submit(work)
        while not future.done():
            try:
                wait([future], timeout=0.5)  # not for ever: on Windows a wait without end hears no Ctrl-C
            except KeyboardInterrupt:
                if stopping:
                    output.note("left at once; the next run asks the vendors about what was under way")
                    os._exit(failures.INTERRUPTED)
                stopping = True
                output.note("stopping: what is under way is being finished and recorded; press Ctrl-C again to leave at once")
                host.stop()
    result = future.result()
    if stopping:
        raise KeyboardInterrupt
    return result


@contextmanager
def shown(doing: str) -> Iterator[Report]:
    """Progress per data source, on standard error: bars on a terminal, otherwise a line every few seconds."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _bars(doing) as report:
            yield report
    else:
        yield _lines(doing)


@contextmanager
def _bars(doing: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]}"), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    lock = threading.Lock()
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:

        def report(progress: Progress) -> None:
            with lock:
                if progress.source not in tasks:
                    tasks[progress.source] = bars.add_task(f"{doing} {output.clean(progress.source)}", failed="")
                failed = f"{progress.failed} failed" if progress.failed else ""
                bars.update(tasks[progress.source], completed=progress.done, total=progress.total, failed=failed)

        yield report


def _lines(doing: str) -> Report:
    newest = {"": time.monotonic()}
    lock = threading.Lock()

    def report(progress: Progress) -> None:
        with lock:
            if time.monotonic() - newest.get(progress.source, newest[""]) < EVERY:
                return
            newest[progress.source] = time.monotonic()
        failed = f", {progress.failed} failed" if progress.failed else ""
        output.note(f"{doing} {progress.source}: {progress.done} of {progress.total}{failed}")

    return report


@contextmanager
def counted(doing: str) -> Iterator[Callable[[str, int], None]]:
    """Progress of something that only counts up (the records of a copy)."""
    newest = time.monotonic()

    def report(source: str, count: int) -> None:
        nonlocal newest
        if time.monotonic() - newest >= EVERY:
            newest = time.monotonic()
            output.note(f"{doing} {source}: {count}")

    if not (sys.stderr.isatty() and os.environ.get("TERM") != "dumb"):
        yield report
        return
    from rich.console import Console

    with Console(stderr=True).status(doing) as status:
        yield lambda source, count: status.update(f"{doing} {output.clean(source)}: {count}")
