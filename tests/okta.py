"""A fake of the part of Okta that lists applications: pages by the Link header, a rate limit by the minute, two kinds of token."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

from dsr_sdk.testing import Answer, Call, Sandbox, route

__all__ = ["OktaSandbox"]

OWN = (
    {"name": "saasure", "label": "Okta Admin Console"},
    {"name": "okta_enduser", "label": "Okta Dashboard"},
    {"name": "okta_browser_plugin", "label": "Okta Browser Plugin"},
)
"""What every organisation has."""


class OktaSandbox(Sandbox):
    """``GET /api/v1/apps`` of one organisation.

    Attributes:
        page_size: What it makes of ``limit``; the real one gives 200 at most.
        late: Seconds for which it refuses further calls once `allowed` were made, told in ``X-Rate-Limit-Reset``.
        skew: Seconds by which its clock is ahead of ours.
    """

    slug, title = "okta", "Okta"

    def __init__(self, *labels: tuple[str, str], origin: str = "https://example.okta.com") -> None:
        super().__init__()
        self.origin = origin
        self.authorization = "SSWS okta-secret-5c2e"
        self.page_size = 200
        self.allowed: int | None = None
        self.late = 1
        self.skew = 0.0
        self.served = 0
        self.next_host: str | None = None
        rows = [*OWN, *({"name": name, "label": label} for name, label in labels)]
        self.apps: list[dict[str, Any]] = [
            {"id": f"0oa{number}", "status": "ACTIVE", "signOnMode": "SAML_2_0", **row} for number, row in enumerate(rows, 1)
        ]

    def authorised(self, call: Call) -> bool:
        return call.headers.get("authorization") == self.authorization

    def denied(self, call: Call) -> Answer:
        return Answer.json({"errorCode": "E0000011", "errorSummary": "Invalid token provided"}, 401)

    @route("GET", "/api/v1/apps")
    def list_apps(self, call: Call) -> Answer:
        if self.allowed is not None and self.served >= self.allowed:
            self.allowed, self.refused = None, self.refused + 1
            headers = {"X-Rate-Limit-Limit": "20", "X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": str(int(self._now()) + self.late)}
            return Answer.json({"errorCode": "E0000047", "errorSummary": "API call exceeded rate limit"}, 429, {**headers, "Date": self._date()})
        self.served += 1
        assert call.params["filter"] == 'status eq "ACTIVE"'
        size = min(int(call.params["limit"]), self.page_size)
        rows = [app for app in self.apps if app["status"] == "ACTIVE"]
        start = next((place + 1 for place, app in enumerate(rows) if app["id"] == call.params.get("after")), 0)
        page = rows[start : start + size]
        query = "filter=status+eq+%22ACTIVE%22&limit=" + call.params["limit"]
        link = f'<{self.origin}/api/v1/apps?{query}>; rel="self"'
        if start + size < len(rows):
            link += f', <{self.next_host or self.origin}/api/v1/apps?after={page[-1]["id"]}&{query}>; rel="next"'
        return Answer.json(page, 200, {"Link": link, "Date": self._date()})

    def _now(self) -> float:
        return time.time() + self.skew

    def _date(self) -> str:
        return formatdate(self._now(), usegmt=True)
