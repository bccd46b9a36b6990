"""The HTTP side of one configured data source: its connections (one transport a thread), its pacing, its base URLs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import httpx

from dsr_sdk.errors import AuthError, ConfigError, DsrError, NotFoundError, RejectedError, TransientError
from dsr_sdk.http.api import Api
from dsr_sdk.http.guard import GuardedTransport, check_url, deadline
from dsr_sdk.http.limits import Pacer, retry_after
from dsr_sdk.http.redact import quiet
from dsr_sdk.http.reply import Reply
from dsr_sdk.http.retry import RetryPolicy

if TYPE_CHECKING:
    from dsr_sdk.connector import Connector

__all__ = ["SourceHttp"]

MAX_BODY_BYTES = 32 * 1024 * 1024
"""The largest answer taken in after decompression, unless a call asks for more with ``max_bytes``."""

MAX_SECONDS = 120.0
"""The longest one answer may take, however steadily it drips."""

_TIMEOUT = {"connect": 10.0, "read": 60.0, "write": 60.0, "pool": 10.0}
_USER_AGENT = "dsr-sdk (+https://pypi.org/project/dsr-sdk/)"


class SourceHttp:
    """Talks to one data source on behalf of its connector.

    One httpx transport a thread (measured: one shared by 64 connections costs eight times the CPU a request), closed by `close`.

    Args:
        connector: The configured connector.
        transport: Instead of the network: a sandbox's, or a cassette's.
        retry: The in-call retry policy.
        sleep: How pacing waits (seconds); a drain passes one that wakes up, and says so by a true answer, when it is asked to stop.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        transport: httpx.BaseTransport | None = None,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        config = connector.config
        field = f"sources.{connector.name}.base_url"
        self.connector = connector
        self.source = connector.name
        self.base_url = check_url(config.base_url or connector.base_url, field=field, allow_private=config.allow_private_hosts)
        self.pacer = Pacer(connector.rate_limits(), connector.rate_headers)
        self.retry = retry or RetryPolicy()
        self.sleep = sleep
        self._given = transport
        self._auth = connector.auth()
        self._headers = {"User-Agent": _USER_AGENT, "Accept": "application/json", "Accept-Encoding": "gzip, deflate", **connector.headers()}
        self._local = threading.local()
        self._opened: list[tuple[threading.Thread, httpx.BaseTransport]] = []
        self._lock = threading.Lock()

    def api(self, *, operation_key: str | None = None) -> Api:
        """What a connector's verb is handed: one for each unit of work, so that it can count and key its calls."""
        return Api(self, operation_key=operation_key)

    def close(self) -> None:
        """Close every thread's connections."""
        with self._lock:
            opened, self._opened = self._opened, []
            self._local = threading.local()
        for _, transport in opened:
            transport.close()
        if self._given is not None:
            self._given.close()

    def _transport(self) -> httpx.BaseTransport:
        if self._given is not None:
            return self._given
        transport: httpx.BaseTransport | None = getattr(self._local, "transport", None)
        if transport is None:
            transport = self._local.transport = GuardedTransport(allow_private=self.connector.config.allow_private_hosts)
            with self._lock:
                # Every drain starts threads of its own: the connections of those that have ended are let go of here.
                ended = [row for row in self._opened if not row[0].is_alive()]
                self._opened = [*(row for row in self._opened if row not in ended), (threading.current_thread(), transport)]
            for _, left in ended:
                left.close()
        return transport

    def exchange(self, method: str, url: str, *, call: str, max_bytes: int = MAX_BODY_BYTES, **request: Any) -> Reply:
        """Send one request and read its answer, bounded. Reads statuses into errors; follows redirects of GET on the same host only.

        Raises:
            DsrError: The class says who acts next; the message names `call`, never the URL.
        """
        with quiet():
            try:
                reply = self._send(method, url, call, max_bytes, request)
            except TransientError as error:
                if error.retry_after is not None:  # the token endpoint's word, which counts for every thread
                    self.pacer.pause(error.retry_after)
                raise
            for _ in range(5):
                if reply.status not in (301, 302, 303, 307, 308):
                    break
                reply = self._redirect(method, reply, call, max_bytes, request)
            else:
                raise ConfigError(f"{call} redirects in circles", source=self.source, field="base_url")
        self.pacer.observe(reply.headers)
        problem = self.connector.problem(reply) or self._usual_problem(reply)
        if problem is not None:
            if isinstance(problem, TransientError) and problem.retry_after is not None and reply.status in (429, 503):
                self.pacer.pause(problem.retry_after)
            problem.source = problem.source or self.source
            raise problem
        return reply

    def _redirect(self, method: str, reply: Reply, call: str, max_bytes: int, request: Mapping[str, Any]) -> Reply:
        location = reply.headers.get("location", "")
        if method not in ("GET", "HEAD") or not location:
            raise ConfigError(f"{call} answered {reply.status}, a redirect", source=self.source, field="base_url", fix="give the final address")
        target = same_origin(reply.url, location)
        if target is None:
            raise ConfigError(
                f"{call} redirects to another host, which is refused", source=self.source, field="base_url", fix="give the final address"
            )
        kept = {key: value for key, value in request.items() if key == "headers"}
        return self._send(method, target, call, max_bytes, kept)

    def _send(self, method: str, url: str, call: str, max_bytes: int, arguments: Mapping[str, Any]) -> Reply:
        sent = False
        try:
            request = self._request(method, url, max_bytes, arguments)
            until = time.monotonic() + MAX_SECONDS
            with deadline(until):
                response = self._authenticated(request)
                sent = True
                try:
                    content = self._read(response, call, max_bytes, until)
                finally:
                    response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            why = ", the server's certificate is not trusted" if "CERTIFICATE_VERIFY_FAILED" in str(error) else ""
            raise TransientError(f"{call}: no connection{why}", source=self.source) from None
        except httpx.TimeoutException:
            raise TransientError(f"{call}: no answer in time", source=self.source, maybe_done=True) from None
        except DsrError as error:  # of the guard, or of the way to authenticate
            error.source = error.source or self.source
            raise
        except httpx.DecodingError:
            raise TransientError(f"{call}: the answer's compression is broken", source=self.source, maybe_done=True) from None
        except httpx.LocalProtocolError:  # a line break in a header: it will not get better
            raise RejectedError(f"{call}: the request cannot be formed from these values", source=self.source) from None
        except (httpx.TransportError, httpx.StreamError):
            what = "the connection broke in the middle of the answer" if sent else "the connection broke"
            raise TransientError(f"{call}: {what}", source=self.source, maybe_done=True) from None
        except (httpx.InvalidURL, UnicodeError):
            raise RejectedError(f"{call}: the address cannot be formed from these values", source=self.source) from None
        headers: dict[str, str] = {}
        for raw_name, raw_value in response.headers.raw:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Reply(response.status_code, headers, content, call=call, url=str(request.url))

    def _request(self, method: str, url: str, max_bytes: int, arguments: Mapping[str, Any]) -> httpx.Request:
        query = arguments.get("params")
        if query:
            url = f"{url}{'&' if '?' in url else '?'}{_query(query)}"
        return httpx.Request(
            method,
            url,
            headers={**self._headers, **arguments.get("headers", {})},
            json=arguments.get("json"),
            data=arguments.get("data"),
            extensions={"timeout": _TIMEOUT, "max_bytes": max_bytes},
        )

    def _authenticated(self, request: httpx.Request) -> httpx.Response:
        """Send a request through the thread's transport, signed.

        `httpx.Client` is left out on purpose. It would keep one person's cookies for the next, log whole URLs, and cost a third of the
        CPU of a request; redirects, which it would follow, are ours to judge.
        """
        transport = self._transport()
        if self._auth is None:
            return transport.handle_request(request)
        flow = self._auth.sync_auth_flow(request)
        try:
            request = next(flow)
            while True:
                request.extensions.setdefault("timeout", _TIMEOUT)
                response = transport.handle_request(request)
                try:
                    following = flow.send(response)
                except StopIteration:
                    return response
                except BaseException:
                    response.close()
                    raise
                response.close()
                request = following
        finally:
            flow.close()

    def _read(self, response: httpx.Response, call: str, max_bytes: int, until: float) -> bytes:
        chunks: list[bytes] = []
        size = 0
        # Undecoded bodies are read straight from the wire: httpx's decoder would only hand them on.
        encoding = response.headers.get("content-encoding")
        if encoding and "," in encoding:  # compressed several times over: each time a thousandfold
            raise TransientError(f"{call}: the answer's compression is broken", source=self.source, maybe_done=True)
        decoded = response.iter_bytes() if encoding else response.stream
        if not isinstance(decoded, Iterable):
            raise TransientError(f"{call}: the answer cannot be read as a stream", source=self.source)
        for chunk in decoded:
            size += len(chunk)
            if size > max_bytes:
                raise RejectedError(f"{call}: the answer is larger than {max_bytes} bytes", source=self.source, status=response.status_code)
            if time.monotonic() > until:
                raise TransientError(f"{call}: the answer took longer than {MAX_SECONDS:g} s", source=self.source, maybe_done=True)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _usual_problem(self, reply: Reply) -> DsrError | None:
        status = reply.status
        if 200 <= status < 300:
            if not reply.call.startswith("GET ") and reply.content[:256].lstrip().lower().startswith((b"<!doctype html", b"<html")):
                # Reading would refuse it anyway; an erasure whose answer nobody reads must not be confirmed by a proxy's page.
                return ConfigError(f"{reply.call} answered {status} with a web page", field="base_url", fix="check the base URL")
            return None
        code = reply.code
        said = f"{reply.call} answered {status}" + (f" ({code})" if code else "")
        if status == 401:
            return AuthError(said, fix="the vendor does not accept the credentials: check or renew them")
        if status == 403:
            return AuthError(said, fix="the credentials lack a permission: see the connector's README for the scopes it needs")
        if status in (404, 410):
            return NotFoundError(said, status=status, code=code)
        if status in (408, 425, 429) or status >= 500:
            return TransientError(said, retry_after=retry_after(reply.headers), maybe_done=status >= 500)
        return RejectedError(said, status=status, code=code)


def _query(params: Mapping[str, Any]) -> str:
    """A query string; lists repeat their name, booleans are written as JSON writes them."""
    pairs = [
        (name, str(item).lower() if isinstance(item, bool) else str(item))
        for name, value in params.items()
        for item in (value if isinstance(value, list | tuple) else (value,))
    ]
    return urlencode(pairs, quote_via=quote)


def same_origin(base: str, location: str) -> str | None:
    """Where `location` leads from `base`; None when that is another scheme, host or port, or nowhere.

    Read by the parser that the request itself goes through: a URL must not be one thing when it is judged and another when it is sent.
    """
    try:
        here = httpx.URL(base)
        target = here.join(location)
    except (httpx.InvalidURL, ValueError):
        return None
    return str(target) if _origin(target) == _origin(here) else None


def _origin(url: httpx.URL) -> tuple[str, bytes, int]:
    return url.scheme, url.raw_host, url.port or (443 if url.scheme == "https" else 80)
