"""What may be said about a request: its method, its path template, a vendor's error code. Never a URL, a header or a body."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["error_code", "quiet"]

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{1,60}")
_CODE_KEYS = ("code", "type", "error", "errorCode", "category", "status")  # not "name" or "title": those may be a person's


def error_code(body: Any) -> str | None:
    """The machine-readable code in a vendor's error body: a bare word, so it cannot carry an address or a sentence."""
    if isinstance(body, dict):
        inner = body.get("error")
        if isinstance(inner, dict):
            return error_code(inner)
        for key in _CODE_KEYS:
            value = body.get(key)
            if isinstance(value, str) and _CODE.fullmatch(value):
                return value
        errors = body.get("errors")
        if isinstance(errors, list) and errors:
            return error_code(errors[0])
    return None


_calls = threading.local()


class _DropOurs(logging.Filter):
    """Drops what httpx and httpcore log while one of our calls runs on this thread: whole URLs and headers.

    The host application's own use of httpx, on other calls, is left alone.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_calls, "running", False)


_FILTER = _DropOurs()
for _name in (
    "httpx",
    "httpcore",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
    "vcr",
    "vcr.cassette",
):
    logging.getLogger(_name).addFilter(_FILTER)


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing below us logs this thread's request."""
    before = getattr(_calls, "running", False)
    _calls.running = True
    try:
        yield
    finally:
        _calls.running = before
