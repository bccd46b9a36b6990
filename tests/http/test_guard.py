"""A configured URL cannot reach where it must not: private networks, the cloud's metadata, a server nobody vouches for."""

from __future__ import annotations

import datetime
import ipaddress
import pickle
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from dsr_sdk import ConfigError, ConnectorConfig, TransientError
from dsr_sdk.http import RetryPolicy, SourceHttp, guard
from dsr_sdk.http.guard import GuardedTransport, PrivateAddressError, check_url, permitted
from tests.http.conftest import Made, Script, make

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:c0a8:101::1",
    "4000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]

PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.169.0.1", "::ffff:8.8.8.8", "2002:808:808::1", "2606:4700:4700::1111", "2a00:1450:4001::200e"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_is_refused(address: str) -> None:
    """Private, loopback, link-local, multicast and reserved networks, however an IPv6 address wraps them."""
    assert not permitted(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_permitted(address: str) -> None:
    """What anyone on the internet can reach is reached."""
    assert permitted(address)


@given(st.ip_addresses(v=4))
@settings(max_examples=200, deadline=None)
def test_mapped_address_is_judged_like_the_address_in_it(address: Any) -> None:
    """Writing an IPv4 address as ``::ffff:a.b.c.d``, or in a 6to4 address, changes nothing; inside NAT64 or Teredo nothing passes."""
    assert permitted(f"::ffff:{address}") is permitted(str(address))
    high, low = divmod(int(address), 65_536)
    assert permitted(f"2002:{high:x}:{low:x}::1") is permitted(str(address))
    assert not permitted(f"64:ff9b::{high:x}:{low:x}")
    assert not permitted(f"::{address}")


# --- the base URL as it is configured ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "http"),
        ("api.vendor.example", "http"),
        ("ftp://api.vendor.example", "http"),
        ("file:///etc/passwd", "http"),
        ("https://", "http"),
        ("https:///path", "http"),
        ("http://api.vendor.example", "not encrypted"),
        ("https://user:secret@api.vendor.example", "credentials"),
        ("https://user@api.vendor.example", "credentials"),
        ("https://api.vendor.example/?q=1", "query"),
        ("https://api.vendor.example/#f", "fragment"),
        ("https://api.vendor.example:0", "port 0"),
        ("https://api.vendor.example:99999", "not a URL"),
        ("https://api.vendor.example:http", "not a URL"),
        ("https://[::1", "not a URL"),
        ("https://api.ven\ndor.example", "not a URL"),
        (" https://api.vendor.example", "not a URL"),
        ("https://api.vendor.example\t", "not a URL"),
        ("https://api.vendor.example\x00", "not a URL"),
        *((f"https://[{address}]" if ":" in address else f"https://{address}", "private") for address in PRIVATE if "%" not in address),
        ("https://localhost", "private"),
        ("https://LOCALHOST", "private"),
        ("https://localhost.", "private"),
        ("https://api.localhost", "private"),
        ("https://printer.local", "private"),
        ("https://metadata.google.internal", "private"),
        ("https://metadata.google.internal.", "private"),
    ],
)
def test_base_url_that_may_not_be_used(url: str, said: str) -> None:
    """The error names the setting and what is wrong; it never repeats the URL, which may carry a secret."""
    with pytest.raises(ConfigError, match=said) as caught:
        check_url(url, field="sources.plain.base_url")
    assert caught.value.field == "sources.plain.base_url"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("https://api.vendor.example", "https://api.vendor.example"),
        ("https://api.vendor.example/", "https://api.vendor.example"),
        ("https://API.Vendor.example:8443/v2/", "https://API.Vendor.example:8443/v2"),
        ("https://bücher.example", "https://bücher.example"),
        ("https://8.8.8.8", "https://8.8.8.8"),
        ("https://[2606:4700:4700::1111]:443/api", "https://[2606:4700:4700::1111]:443/api"),
    ],
)
def test_base_url_that_may_be_used(url: str, used: str) -> None:
    """A name or a public address, with a port and a path if need be; the last slash goes."""
    assert check_url(url, field="f") == used


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost", "https://10.0.0.1/api", "http://[::1]:80", "http://erp.internal"])
def test_private_hosts_can_be_allowed(url: str) -> None:
    """A sandbox, or a product in the company's own network: the operator says so."""
    assert check_url(url, field="f", allow_private=True) == url


def test_source_names_its_setting() -> None:
    """A source with a wrong base URL is not opened, and the error names the line in the configuration."""
    with pytest.raises(ConfigError) as caught:
        SourceHttp(Made(ConnectorConfig(base_url="https://169.254.169.254/latest"), name="crm-eu"))
    assert caught.value.field == "sources.crm-eu.base_url"


# --- the connection as it is made --------------------------------------------------------------------------------------------------------


def _answers(*addresses: str) -> list[tuple[Any, ...]]:
    return [
        (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443, 0, 0) if ":" in address else (address, 443))
        for address in addresses
    ]


class _Network:
    """Stands in for the resolver and for the sockets: no test connects anywhere."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *rounds: tuple[str, ...], refusing: tuple[str, ...] = ()) -> None:
        self.asked: list[str] = []
        self.connected: list[str] = []
        left = iter(rounds)

        def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[tuple[Any, ...]]:
            self.asked.append(host)
            return _answers(*next(left))

        def connect_tcp(backend: Any, host: str, *args: Any, **kwargs: Any) -> Any:
            self.connected.append(host)
            if host in refusing:
                raise httpcore.ConnectError("refused on purpose")
            raise httpcore.ConnectTimeout("far enough")

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect_tcp)


def _get(url: str = "https://api.vendor.example", *, allow_private: bool = False) -> None:
    with GuardedTransport(allow_private=allow_private) as transport:
        transport.handle_request(httpx.Request("GET", url))


@pytest.mark.parametrize("address", [address for address in PRIVATE if "%" not in address])
def test_name_that_resolves_to_a_private_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is public, the address is not: no connection is opened."""
    network = _Network(monkeypatch, (address,))
    with pytest.raises(PrivateAddressError):
        _get()
    assert network.connected == []


def test_one_private_address_among_public_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that also resolves to a private address is refused as a whole: which one is taken must not be luck."""
    network = _Network(monkeypatch, ("8.8.8.8", "10.0.0.1"))
    with pytest.raises(PrivateAddressError):
        _get()
    assert network.connected == []


def test_the_checked_address_is_the_connected_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name is asked about once, and what was checked is connected to, never the name."""
    network = _Network(monkeypatch, ("93.184.216.34",), ("127.0.0.1",))
    with pytest.raises(httpx.ConnectTimeout):
        _get()
    assert network.asked == ["api.vendor.example"]
    assert network.connected == ["93.184.216.34"]


def test_every_new_connection_is_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that turned private since the last connection is refused now."""
    network = _Network(monkeypatch, ("93.184.216.34",), ("127.0.0.1",))
    with GuardedTransport() as transport:
        with pytest.raises(httpx.ConnectTimeout):
            transport.handle_request(httpx.Request("GET", "https://api.vendor.example"))
        with pytest.raises(PrivateAddressError):
            transport.handle_request(httpx.Request("GET", "https://api.vendor.example"))
    assert network.connected == ["93.184.216.34"]


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that does not answer is not the end while the name has another."""
    network = _Network(monkeypatch, ("2606:4700:4700::1111", "1.1.1.1", "1.1.1.1"), refusing=("2606:4700:4700::1111",))
    with pytest.raises(httpx.ConnectTimeout):
        _get()
    assert network.connected == ["2606:4700:4700::1111", "1.1.1.1"]


def test_private_addresses_can_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``allow_private_hosts`` the address is still looked up once and pinned."""
    network = _Network(monkeypatch, ("10.0.0.1",), ("10.0.0.2",))
    with pytest.raises(httpx.ConnectTimeout):
        _get("http://erp.internal", allow_private=True)
    assert (network.asked, network.connected) == (["erp.internal"], ["10.0.0.1"])


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "0"])
def test_numbers_in_disguise(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decimal, octal, hexadecimal and short spellings of a private address: the system's resolver reads them, and the guard reads it."""
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", lambda *args, **kwargs: pytest.fail("a connection was opened"))
    with pytest.raises((PrivateAddressError, ConfigError, httpx.ConnectError)):
        _get(check_url(f"https://{host}", field="f"))


@pytest.mark.parametrize("problem", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long"), OSError("no network")])
def test_name_that_does_not_resolve(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """No address, no connection: it may be there later."""

    def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        raise problem

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(httpx.ConnectError):
        _get()


def test_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty answer of the resolver is no connection either."""
    _Network(monkeypatch, ())
    with pytest.raises(httpx.ConnectError):
        _get()


def test_source_explains_a_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through `SourceHttp` the refusal is a `ConfigError` that names the source and the setting, and it is not tried again."""
    network = _Network(monkeypatch, ("127.0.0.1",))
    http = SourceHttp(Made(name="crm-eu"))
    with pytest.raises(ConfigError) as caught:
        http.api().get("/v1/people")
    http.close()
    assert (caught.value.source, caught.value.field) == ("crm-eu", "base_url")
    assert network.asked == ["api.made.example"]


def test_refusal_survives_pickling() -> None:
    """An error crosses process borders as it is."""
    error = pickle.loads(pickle.dumps(PrivateAddressError()))
    assert str(error) == str(PrivateAddressError())


def test_no_unix_sockets() -> None:
    """The backend opens no local socket, whatever asks it to."""
    with pytest.raises(PrivateAddressError):
        guard._GuardedBackend(True).connect_unix_socket("/run/docker.sock")


def test_backend_is_in_the_pool_that_httpx_uses() -> None:
    """Fails should httpx rename its private `_pool`: then the guard would stand beside the way instead of in it."""
    with GuardedTransport() as transport:
        assert isinstance(httpx.HTTPTransport()._pool, httpcore.ConnectionPool)
        assert isinstance(transport._pool, httpcore.ConnectionPool)
        assert isinstance(transport._pool._network_backend, guard._GuardedBackend)
    marked = httpcore.ConnectError("the pool's backend was asked")

    class _Marked(guard._GuardedBackend):
        def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
            raise marked

    with GuardedTransport() as transport:
        transport._pool._network_backend = _Marked(False)
        with pytest.raises(httpx.ConnectError, match="was asked"):
            transport.handle_request(httpx.Request("GET", "https://api.vendor.example"))


def test_environment_is_not_asked_for_a_proxy(monkeypatch: pytest.MonkeyPatch, script: Callable[..., Script]) -> None:
    """A proxy of the environment would be connected to in the vendor's place, and see everything."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    http = make(base_url=script(ANSWER).url, allow_private_hosts=True)
    assert http.api().get("/v1/people").json() == {}
    http.close()


# --- TLS ---------------------------------------------------------------------------------------------------------------------------------


def certificate(directory: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for `name` and for loopback, signed by itself; and the certificate, for who wants to trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = directory / f"{name}.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, file


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's certificate for ``vendor.example``, signed by nobody we know."""
    return certificate(tmp_path_factory.mktemp("tls"), "vendor.example")


@pytest.fixture
def secure(tls: tuple[ssl.SSLContext, Path], script: Callable[..., Script]) -> Script:
    """A server with that certificate."""
    return script(ANSWER, context=tls[0])


def _get_from(url: str) -> Any:
    http = make(base_url=url, allow_private_hosts=True, retry=RetryPolicy(attempts=1))
    try:
        return http.api().get("/v1/people/{id}", id="ada").json()
    finally:
        http.close()


def test_certificate_of_nobody_is_refused(secure: Script) -> None:
    """A server that signed its certificate itself is sent nothing, and the error says what is wrong with it."""
    with pytest.raises(TransientError, match="certificate is not trusted"):
        _get_from(secure.url)
    assert secure.requests == []


def _trusting(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Every name is loopback's, and the certificate is one we trust."""
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, *args, **kwargs: real("127.0.0.1", port, *args, **kwargs))
    monkeypatch.setattr(guard, "_tls", lambda: ssl.create_default_context(cafile=str(file)))


def test_name_is_what_the_certificate_is_checked_for(secure: Script, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """We connect to the address that was checked, and still demand the certificate of the name."""
    _trusting(monkeypatch, tls[1])
    assert _get_from(f"https://vendor.example:{secure.port}") == {}
    assert f"host: vendor.example:{secure.port}".encode() in secure.requests[0].lower()


def test_certificate_of_another_name_is_refused(secure: Script, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A trusted certificate for another name is no certificate."""
    _trusting(monkeypatch, tls[1])
    with pytest.raises(TransientError, match="certificate is not trusted"):
        _get_from(f"https://other.example:{secure.port}")
    assert secure.requests == []


def test_tls_settings_are_made_once() -> None:
    """Loading the certificates takes 20 ms: threads share one context, and it verifies."""
    context = guard._tls()
    assert guard._tls() is context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
