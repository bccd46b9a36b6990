"""What stands around every page: headers, limits on what is sent to us, cookies, whose address it is, and that no error tells too much.

`Guard` is the outermost layer. It is plain ASGI, because it must see a request before anything has read a byte of its body: an upload of
2 GB is refused by its announced length, or, when none is announced, as soon as it is larger than what is allowed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import traceback
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dsr_sdk.errors import VaultError
from dsr_sdk.host.arrivals.throttle import network

if TYPE_CHECKING:
    from dsr_sdk.host import Host

__all__ = [
    "CONTENT_SECURITY_POLICY",
    "SAFE",
    "Guard",
    "Limiter",
    "client_of",
    "cookie_name",
    "drop_cookie",
    "has_files",
    "own_path",
    "put_cookie",
    "read_signed",
    "same_origin",
    "sealed",
    "secure",
    "signed",
    "unsealed",
]

log = logging.getLogger("dsr_sdk.portal")

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline: a name that is a script tag stays a name, even where someone forgot to escape it."""

_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: browsers then send "Origin: null" with our own forms, and the check of the origin would be worth nothing.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "x-robots-tag": "noindex, nofollow",
}

_FORM_BYTES = 1024 * 1024
_DRAINED_BYTES = 64 * 1024 * 1024
_DRAINED_SECONDS = 10.0
_HSTS = "max-age=31536000; includeSubDomains"


class _TooLargeError(Exception):
    """More was sent than is allowed."""


class Guard:
    """The outermost layer of the portal.

    Args:
        file_bytes: The largest form that may hold files; anything else, and whatever is sent to the API, may have 1 MB.
        https: Whether people reach the portal over https: then browsers are told to stay there.
        changed: Called after a request that may have changed something; wakes the engine.
        failed: Makes the page of an unexpected error from its number.
        too_large: Makes the page that says what may be sent.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        file_bytes: int,
        https: bool,
        changed: Callable[[], None],
        failed: Callable[[Request, str], Response],
        too_large: Callable[[Request, int], Response],
    ) -> None:
        self.app = app
        self.file_bytes = file_bytes
        self.https = https
        self.changed = changed
        self.failed = failed
        self.too_large = too_large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        limit = self.file_bytes if has_files(request) and not scope["path"].startswith("/api/") else _FORM_BYTES
        started = False
        overrun = False
        received = 0
        complete = "content-length" not in request.headers and "transfer-encoding" not in request.headers

        async def counted() -> Message:
            nonlocal received, overrun, complete
            message = await receive()
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > limit:
                overrun = True
                raise _TooLargeError
            return message

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                if overrun:  # someone has caught our error and answers it in words of their own: ours are better
                    raise _TooLargeError
                started = True
                self._dress(scope, message)
                if request.method not in SAFE and message["status"] < 400:
                    self.changed()
            elif not complete and not message.get("more_body", False):
                # The answer is out. To close now, while the browser still sends, would tear it from its hands: it never shows the page.
                await send({**message, "more_body": True})
                await _let_finish(receive)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        announced = request.headers.get("content-length", "")
        try:
            if announced and (not announced.isascii() or not announced.isdigit() or int(announced) > limit):
                raise _TooLargeError
            await self.app(scope, counted, dressed)
        except _TooLargeError:
            overrun = False
            if started:
                raise
            await self.too_large(request, limit)(scope, receive, dressed)
        except ClientDisconnect:
            return  # the browser was closed while it sent a form: nothing was done, and nobody waits for an answer
        except Exception as error:  # noqa: BLE001 - the last one to see it: whoever is above would write its text, and with it data, into a log
            number = secrets.token_hex(4)
            log.error("error %s: %s", number, _outline(error))
            if started:
                return
            await self.failed(request, number)(scope, receive, dressed)

    def _dress(self, scope: Scope, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("cache-control", "no-store")
        if self.https:
            headers.setdefault("strict-transport-security", _HSTS)
        if "server" in headers:
            del headers["server"]


async def _let_finish(receive: Receive) -> None:
    """Throw away what is still being sent; not more than a little, and not for long."""
    left = _DRAINED_BYTES
    with anyio.move_on_after(_DRAINED_SECONDS):
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body", False):
                return


def _outline(error: BaseException) -> str:
    """The class of an error and where it went through: never its text, which may hold what a person has typed."""
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    return f"{type(error).__name__} at {' > '.join(places[-12:])}"


# --- who is there -----------------------------------------------------------------------------------------------------------------------


def client_of(request: Request) -> str:
    """The network address a request comes from. The proxy's word counts only where ``portal.trust_proxy`` says there is one."""
    host: Host = request.app.state.host
    if host.config.portal.trust_proxy:
        # The last entry is the proxy's own; the ones before are whatever the client wrote. Some proxies add theirs as a header of its own,
        # below the client's.
        last = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
        if last:  # with the port in it every connection would be a client of its own
            last = last[1:].partition("]")[0] if last.startswith("[") else last.partition(":")[0] if last.count(":") == 1 else last
            return last[:64]
    return request.client.host if request.client else "unknown"


def has_files(request: Request) -> bool:
    """Whether what is sent is a form that may hold files."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower() == "multipart/form-data"


def same_origin(request: Request) -> bool:
    """Whether a request that changes something comes from one of our own pages, as far as the browser says."""
    host: Host = request.app.state.host
    origin = request.headers.get("origin")
    if origin is not None:
        here = {f"http://{request.headers.get('host', '')}", f"https://{request.headers.get('host', '')}"}
        if host.config.workflow is not None:
            here.add(host.config.workflow.public_url)
        return origin.lower() in {place.lower() for place in here}
    return request.headers.get("sec-fetch-site", "none") in ("same-origin", "none")


def own_path(target: str | None, default: str = "/") -> str:
    """A path of ours to go on to, from what a query or a header says; anything that leads elsewhere becomes `default`."""
    if not target:
        return default
    parts = urlsplit(target)
    clean = not (parts.scheme or parts.netloc) and target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if clean and target.isprintable() and "\\" not in target and len(target) <= 500 else default


# --- cookies ----------------------------------------------------------------------------------------------------------------------------


def secure(host: Host) -> bool:
    """Whether cookies are for https only."""
    workflow = host.config.workflow
    return host.config.portal.secure_cookies == "always" or (workflow is not None and workflow.public_url.startswith("https:"))


def cookie_name(host: Host, name: str) -> str:
    """What a cookie of ours is called; the prefix makes browsers refuse one that another host of the domain has planted."""
    return f"__Host-dsr_{name}" if secure(host) else f"dsr_{name}"


def put_cookie(host: Host, response: Response, name: str, value: str, *, seconds: int | None = None, strict: bool = False) -> None:
    """Set a cookie that no script can read. Without `seconds` it ends with the browser; a strict one does not come with links from elsewhere."""
    response.set_cookie(
        cookie_name(host, name),
        value,
        max_age=seconds,
        path="/",
        secure=secure(host),
        httponly=True,
        samesite="strict" if strict else "lax",
    )


def drop_cookie(host: Host, response: Response, name: str) -> None:
    """Take a cookie back."""
    response.delete_cookie(cookie_name(host, name), path="/", secure=secure(host), httponly=True, samesite="lax")


def signed(host: Host, purpose: str, value: object) -> str:
    """A short JSON value as a cookie: readable by whoever holds it, changed by nobody."""
    text = urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")
    return f"{text}.{host.ledger.vault.fingerprint('portal', purpose, text).hex()}"


def read_signed(host: Host, purpose: str, cookie: str | None) -> object:
    """What `signed` has made; None for anything else."""
    text, _, signature = (cookie or "").partition(".")
    if not hmac.compare_digest(host.ledger.vault.fingerprint("portal", purpose, text).hex().encode(), signature.encode()):
        return None
    return json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def sealed(host: Host, purpose: str, value: object) -> str:
    """A short JSON value that travels with a browser and that nobody can read or change; for one purpose."""
    data = json.dumps([int(datetime.now(UTC).timestamp()), value]).encode()
    return urlsafe_b64encode(host.ledger.vault.box().seal(data, f"portal.{purpose}")).decode()


def unsealed(host: Host, purpose: str, text: str | None, *, seconds: int) -> object:
    """What `sealed` has made, for so many seconds; None for anything else."""
    try:
        at, value = json.loads(host.ledger.vault.box().open(urlsafe_b64decode(text or ""), f"portal.{purpose}"))
    except (VaultError, ValueError):
        return None
    return value if 0 <= datetime.now(UTC).timestamp() - at <= seconds else None


# --- not too often ----------------------------------------------------------------------------------------------------------------------


class Limiter:
    """Counts, in this process, what clients do; by a hash of their address, so that a dump of memory is no log of visitors."""

    def __init__(self) -> None:
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        self._salt = secrets.token_bytes(16)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def hit(self, rule: str, what: str, client: str) -> bool:
        """Count once; whether it is still within ``rule``, such as ``20/minute``. Of an IPv6 address its network counts."""
        from limits import parse

        return self._limiter.hit(parse(rule), what, hashlib.blake2b(network(client).encode(), key=self._salt, digest_size=16).hexdigest())
