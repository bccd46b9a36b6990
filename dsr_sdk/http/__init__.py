"""What a connector talks with: `Api`, authentication, paging, rate limits. The only floor that knows httpx."""

from __future__ import annotations

from dsr_sdk.http.api import Api
from dsr_sdk.http.auth import BasicAuth, BearerAuth, HeaderKey, OAuth2ClientCredentials, QueryKey
from dsr_sdk.http.client import SourceHttp
from dsr_sdk.http.limits import RateHeaders, RateLimit, retry_after
from dsr_sdk.http.paging import Cursor, LinkHeader, NextUrl, Offset, PageNumber, Paging, StartingAfter, at
from dsr_sdk.http.reply import Reply
from dsr_sdk.http.retry import RetryPolicy

__all__ = [
    "Api",
    "BasicAuth",
    "BearerAuth",
    "Cursor",
    "HeaderKey",
    "LinkHeader",
    "NextUrl",
    "OAuth2ClientCredentials",
    "Offset",
    "PageNumber",
    "Paging",
    "QueryKey",
    "RateHeaders",
    "RateLimit",
    "Reply",
    "RetryPolicy",
    "SourceHttp",
    "StartingAfter",
    "at",
    "retry_after",
]
