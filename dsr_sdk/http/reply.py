"""A vendor's answer, already read, bounded in size and depth. Untrusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic_core

from dsr_sdk.errors import ConfigError, TransientError
from dsr_sdk.http.redact import error_code

__all__ = ["Reply"]

_UNREAD = object()


class Reply:
    """One answer.

    Attributes:
        status: HTTP status.
        headers: Header names in lower case; a header given several times is joined with ``", "``.
        content: The body, decompressed.
        call: Method and path template (``DELETE /v1/customers/{id}``): what may be said about it.
        url: The URL that answered. It may hold personal data: never print it.
    """

    __slots__ = ("_json", "call", "content", "headers", "status", "url")

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes, *, call: str, url: str = "") -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self.call = call
        self.url = url
        self._json: Any = _UNREAD

    def __repr__(self) -> str:
        return f"<Reply {self.status} to {self.call}>"

    @property
    def ok(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    @property
    def absent(self) -> bool:
        """404 or 410: what was asked for is not there. Only seen by callers that said ``absent_ok=True``."""
        return self.status in (404, 410)

    @property
    def text(self) -> str:
        """The body as text; undecodable bytes are replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ConfigError: It is a web page: the base URL is wrong, or something stands in between.
            TransientError: It is cut off, or no JSON, or nested deeper than 200 levels.
        """
        if self._json is _UNREAD:
            try:
                # jiter stops at 200 levels by itself, before a hostile body can exhaust the stack.
                self._json = pydantic_core.from_json(self.content, allow_inf_nan=False)
            except ValueError:
                if self.looks_like_html:
                    raise ConfigError(
                        f"{self.call} answered {self.status} with a web page instead of JSON", field="base_url", fix="check the base URL"
                    ) from None
                raise TransientError(f"{self.call} answered {self.status} with a body that is not JSON") from None
        return self._json

    def object(self) -> dict[str, Any]:
        """The body as a JSON object. Raises `TransientError` when it is something else."""
        body = self.json()
        if not isinstance(body, dict):
            raise TransientError(f"{self.call} answered {self.status} with {type(body).__name__} where an object belongs")
        return body

    @property
    def looks_like_html(self) -> bool:
        """Whether the body is a web page."""
        return "html" in self.headers.get("content-type", "") or self.content.lstrip()[:1] == b"<"

    @property
    def code(self) -> str | None:
        """The vendor's machine-readable error code, if the body carries one."""
        if self.looks_like_html:
            return "html"
        try:
            return error_code(pydantic_core.from_json(self.content))
        except ValueError:
            return None
