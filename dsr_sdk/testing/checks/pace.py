"""Limits: the vendor's rate is kept, and it is waited for when the vendor says so. On a clock of its own: nobody waits for the test."""

from __future__ import annotations

import ast
import inspect
import time
from collections.abc import Iterator

import pytest

from dsr_sdk.connector import Verb
from dsr_sdk.errors import TransientError
from dsr_sdk.testing._bench import OTHER, Bench, require
from dsr_sdk.testing._clock import PacedHttp, broken_limit, clock
from dsr_sdk.testing.faults import RETRY_AFTER
from dsr_sdk.testing.sandbox import Fault, Person, Sandbox
from dsr_sdk.testing.scenario import erase_all, export_all, find

__all__ = ["Pace"]

ENOUGH_CALLS = 1500
ENOUGH_SECONDS = 1.0
"""How long people are searched for to bring a limit to its end: whichever is reached first."""


class Pace(Bench):
    """The part of `ConnectorSuite` about rate limits."""

    def test_declared_rate_is_kept(self) -> None:
        """In no window of time more calls are sent than a declared limit allows, and the sandbox, which enforces the vendor's, refuses none.

        Mend: declare the vendor's limits in ``limits`` (``rate_limits()`` where a setting changes them); call through ``api`` only."""
        with clock() as now:
            sandbox = self._limited(OTHER, self.person)
            source = self.connector(self._config())
            http = PacedHttp(source, sandbox, now)
            until = time.perf_counter() + ENOUGH_SECONDS
            most = max([limit.calls for limit in source.rate_limits()] + [window.calls for window in sandbox.limits], default=0)
            matches = find(source, http, self._subject(self.person))
            if self._able(Verb.EXPORT):
                export_all(source, http, matches, lambda: self.settle(sandbox))
            if self._able(Verb.ERASE):
                erase_all(source, http, matches)
            while most and len(http.moments) < min(ENOUGH_CALLS, most + most // 4 + 20) and time.perf_counter() < until:
                find(source, http, self._subject(OTHER))
            for limit in source.rate_limits():
                span = broken_limit(limit, http.moments)
                require(span is None, f"more than {limit.calls} calls in {limit.per:g} s, which {limit} rules out")
            require(not sandbox.refused, f"the vendor refused {sandbox.refused} of {len(http.moments)} calls: declare its rate limit")
            http.close()

    def test_every_limit_is_used(self) -> None:
        """Every path that a limit names is called by a verb, with that method: a limit with a typo limits nothing.

        Mend: write ``RateLimit(on=...)`` as the call is written, ``{slots}`` included."""
        called = {(sent.method, sent.template) for sent in self._tour().sent} | set(_written(self.connector))
        for limit in self.connector.limits:
            for path in (limit.on,) if isinstance(limit.on, str) else limit.on:
                hit = any(template == path and limit.method in ("", method) for method, template in called)
                require(hit or not path, f"the limit on {f'{limit.method} {path}'.strip()} counts no call that any verb makes")

    def test_retry_after_is_obeyed(self) -> None:
        """After a 429 with ``Retry-After``, in seconds or as a date, nothing is sent until then, whoever asks.

        Mend: read 429 in no other way in `problem`, or with ``retry_after=retry_after(reply.headers) or ...``."""
        for form in ("seconds", "date"):
            with clock() as now:
                sandbox = self._limited(self.person)
                sandbox.limits = []
                http = PacedHttp(self.connector(self._config()), sandbox, now)
                after = f"{RETRY_AFTER:g}" if form == "seconds" else _http_date(now.time() + RETRY_AFTER)
                sandbox.faults = [Fault("status", status=429, headers={"Retry-After": after}, times=1)]
                try:
                    find(http.connector, http, self._subject(self.person))
                except TransientError:
                    find(http.connector, http, self._subject(self.person))
                first, second = http.moments[0].at, http.moments[1].at
                require(
                    second - first >= RETRY_AFTER - 1.0, f"called again {second - first:.1f} s after a 429 that asked for {RETRY_AFTER:g} ({form})"
                )
                http.close()

    def _limited(self, *people: Person) -> Sandbox:
        self._config()
        if self.sandbox is None:
            pytest.skip("there is no sandbox")
        sandbox = self.sandbox()
        sandbox.seed(people)
        return sandbox


def _http_date(moment: float) -> str:
    from email.utils import formatdate

    return formatdate(moment, usegmt=True)


def _written(connector: type) -> Iterator[tuple[str, str]]:
    """The calls that stand in the connector's module with their path in one piece: some are made only on bad days."""
    try:
        tree = ast.parse(inspect.getsource(inspect.getmodule(connector)))  # type: ignore[arg-type]  # None is a TypeError, caught
    except (OSError, TypeError, SyntaxError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            path, name = node.args[0], node.func.attr
            if name in ("get", "delete", "put", "patch", "post", "pages") and isinstance(path, ast.Constant) and isinstance(path.value, str):
                yield ("GET" if name == "pages" else name.upper()), path.value
