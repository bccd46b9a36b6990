"""The transport that keeps a configured URL from reaching where it must not: SSRF guard, pinned addresses, capped answers."""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from dsr_sdk.errors import ConfigError, RejectedError, TransientError

__all__ = ["GuardedTransport", "check_url", "deadline", "permitted"]

_Option = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]

MAX_WIRE_BYTES = 64 * 1024 * 1024
"""More than this of one answer is never read from the wire (compressed or not), unless its call takes in more than that."""


def permitted(address: str) -> bool:
    """Whether an IP address is one of the public internet: not private, loopback, link-local (cloud metadata), multicast or reserved."""
    ip = ipaddress.ip_address(address.split("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    if mapped is not None:
        ip = mapped
    teredo = getattr(ip, "teredo", None)
    if teredo is not None or (ip.version == 6 and ip in _NAT64):
        return False
    # Reserved and site-local addresses count as global in Python: IPv4-compatible ones (::127.0.0.1) and fec0::/10 are among them.
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or getattr(ip, "is_site_local", False))


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def check_url(url: str, *, field: str, allow_private: bool = False) -> str:
    """A base URL as it may be used: http(s), a host, no credentials, no query. Plain http only towards hosts explicitly allowed.

    Raises:
        ConfigError: Names the field and what is wrong.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = httpx.URL(url).host
    except (ValueError, httpx.InvalidURL):
        raise ConfigError("is not a URL", field=field, fix="write it like https://api.example.com") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ConfigError("is not an http(s) URL", field=field, fix="write it like https://api.example.com")
    if host != parts.hostname or url != url.strip():  # two readings of one URL: the one that is checked must be the one that is sent
        raise ConfigError("is not a URL", field=field, fix="write it like https://api.example.com")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("carries credentials in the URL", field=field, fix="give them in the settings made for them")
    if parts.query or parts.fragment:
        raise ConfigError("carries a query or a fragment", field=field, fix="give the part before the question mark")
    if parts.scheme == "http" and not allow_private:
        raise ConfigError("is not encrypted", field=field, fix="use https, or allow_private_hosts = true for a sandbox")
    if port == 0:
        raise ConfigError("has port 0", field=field, fix="give the port the product listens on")
    if not allow_private:
        try:
            literal = permitted(host)
        except ValueError:
            name = host.rstrip(".")
            literal = not (name == "localhost" or name.endswith((".localhost", ".local", ".internal")))
        if not literal:
            raise ConfigError("points into a private network", field=field, fix="set allow_private_hosts = true if that is meant")
    return url.rstrip("/")


_allowed = threading.local()


@contextmanager
def deadline(at: float) -> Iterator[None]:
    """Until when (`time.monotonic`) this thread reads answers: a server that drips a byte a minute never runs into a timeout of a read."""
    before = getattr(_allowed, "until", None)
    _allowed.until = at
    try:
        yield
    finally:
        _allowed.until = before


class _Timed(httpcore.NetworkStream):
    """A connection that keeps to the deadline of the thread that reads from it."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        until = getattr(_allowed, "until", None)
        if until is not None:
            left = until - time.monotonic()
            if left <= 0:
                raise httpcore.ReadTimeout
            timeout = left if timeout is None else min(timeout, left)
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None) -> httpcore.NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _GuardedBackend(httpcore.NetworkBackend):
    """Resolves a name itself, refuses private addresses, and connects to the very address it checked (no second DNS answer)."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._sync = httpcore.SyncBackend()

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None, socket_options: Iterable[_Option] | None = None
    ) -> httpcore.NetworkStream:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise httpcore.ConnectError("the host name does not resolve") from None
        addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        if not self._allow_private and not all(permitted(address) for address in addresses):
            raise PrivateAddressError
        problem: Exception = httpcore.ConnectError("the host name has no address")
        for address in addresses:
            try:
                return _Timed(self._sync.connect_tcp(address, port, timeout, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        raise problem

    def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Iterable[_Option] | None = None) -> httpcore.NetworkStream:
        raise PrivateAddressError


class PrivateAddressError(ConfigError):
    """A host name resolved to an address that is not on the public internet."""

    def __init__(self, message: str = "the host resolves to a private address") -> None:
        super().__init__(message, field="base_url", fix="set allow_private_hosts = true if that is meant")


@functools.lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    context = httpx.create_ssl_context()  # loading the certificates costs 20 ms: once a process, not once a client
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)  # Debian's Python leaves it to the system's settings
    return context


class _Capped(httpx.SyncByteStream):
    """A response body that stops being read once it is larger than any answer has a right to be."""

    def __init__(self, stream: httpx.SyncByteStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        left = self._limit
        for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise RejectedError(f"the answer is larger than {self._limit} bytes")
            yield chunk

    def close(self) -> None:
        self._stream.close()


class GuardedTransport(httpx.HTTPTransport):
    """httpx's own transport over a guarded network backend.

    Args:
        allow_private: Permit private addresses (a sandbox, an on-premises product).
    """

    def __init__(self, *, allow_private: bool = False, **kwargs: Any) -> None:
        super().__init__(verify=_tls(), trust_env=False, **kwargs)
        # HTTPTransport takes no network backend, so its pool is made anew with one. `_pool` is private; httpx has stood still below 1.0
        # since 2024, and tests/http/test_guard.py fails should it ever move.
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(), max_connections=8, max_keepalive_connections=8, keepalive_expiry=30.0, network_backend=_GuardedBackend(allow_private)
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if not isinstance(response.stream, httpx.SyncByteStream):
            raise TransientError("the answer cannot be read as a stream")
        response.stream = _Capped(response.stream, max(MAX_WIRE_BYTES, request.extensions.get("max_bytes", 0)))
        return response
