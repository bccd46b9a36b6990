"""Secrets and people are found in every spelling, and nothing else is touched."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import zlib
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsr_sdk import ConfigError
from dsr_sdk.testing.scrub import REDACTED, Scrubber, is_reserved, is_secret_header, is_secret_key, suspicious, variants

SECRET = 'K3y/with+odd="chars"&ü\\'
PERSON = {"ada@corp.io": "ada.lovelace@example.com", "Adaline": "Ada"}

SPELLINGS = {
    "as it is": SECRET,
    "in upper case": SECRET.upper(),
    "percent-encoded": quote(SECRET, safe=""),
    "percent-encoded in lower case": quote(SECRET, safe="").lower(),
    "percent-encoded twice": quote(quote(SECRET, safe=""), safe=""),
    "as a form value": quote_plus(SECRET),
    "in JSON": json.dumps({"x": SECRET}),
    "in JSON with letters as they are": json.dumps({"x": SECRET}, ensure_ascii=False),
    "in JSON in JSON": json.dumps({"x": json.dumps({"y": [SECRET]})}),
    "in HTML": html.escape(SECRET),
    "in base64": base64.b64encode(f"user:{SECRET}".encode()).decode(),
    "in base64 at another offset": base64.b64encode(f"user1:{SECRET}:x".encode()).decode(),
    "in URL-safe base64": base64.urlsafe_b64encode(f"us:{SECRET}".encode()).decode(),
}


def spelled_anywhere(text: str) -> bool:
    """Whether the secret can be read out of a text, by undoing the encodings one after another."""
    seen = {text, unquote(text), unquote(unquote(text)), html.unescape(text)}
    for piece in text.replace('"', " ").split():
        for alphabet in (base64.b64decode, base64.urlsafe_b64decode):
            try:
                seen.add(alphabet(piece + "=" * (-len(piece) % 4)).decode("utf-8", "replace"))
            except ValueError:
                continue
    try:
        inner = json.loads(text)
        while isinstance(inner, dict | list):
            inner = next(iter(inner.values())) if isinstance(inner, dict) else inner[0]
            if isinstance(inner, str) and inner.startswith("{"):
                inner = json.loads(inner)
        seen.add(str(inner))
    except (ValueError, StopIteration):
        pass
    return any(SECRET.casefold() in one.casefold() for one in seen)


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_secret_is_found_in_every_spelling(name: str) -> None:
    """However a secret is written, it is not there after scrubbing, neither in plain text nor in a body."""
    assert spelled_anywhere(SPELLINGS[name]), "the spelling of the test itself"
    scrubber = Scrubber({SECRET: REDACTED})
    assert not spelled_anywhere(scrubber.text(SPELLINGS[name]))
    assert not spelled_anywhere(scrubber.body(SPELLINGS[name].encode()).decode())


@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=8, max_size=40), st.text("<># ", max_size=9))
def test_no_secret_survives_in_json(secret: str, around: str) -> None:
    """Any secret, anywhere in JSON and in JSON inside JSON, is gone, and what stood around it is not."""
    body = json.dumps({"a": f"{around}#{secret}#{around}", "b": json.dumps({"c": secret})}).encode()
    clean = json.loads(Scrubber({secret: REDACTED}).body(body))
    assert secret not in clean["a"]
    assert REDACTED in clean["a"]
    assert json.loads(clean["b"])["c"] == REDACTED


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies_are_unpacked(encoding: str, pack: object) -> None:
    """What the wire compressed is written plain, so that it can be read and checked."""
    packed = pack(json.dumps({"token": SECRET}).encode())  # type: ignore[operator]  # either of two functions
    assert json.loads(Scrubber({SECRET: REDACTED}).body(packed, "application/json", encoding)) == {"token": REDACTED}


def test_a_file_that_is_gzip_stays_gzip() -> None:
    """A vendor's export file is scrubbed inside and packed again, always to the same bytes: the connector unpacks it itself."""
    scrubber = Scrubber({SECRET: REDACTED})
    packed = scrubber.body(gzip.compress(SECRET.encode()))
    assert gzip.decompress(packed) == REDACTED.encode()
    assert packed == scrubber.body(gzip.compress(SECRET.encode()))


@pytest.mark.parametrize(("body", "encoding"), [(b"\xff\xfe\x00", ""), (b"abc", "br"), (b"abc", "gzip")])
def test_what_cannot_be_read_is_refused(body: bytes, encoding: str) -> None:
    """A body that nobody can look into is never written."""
    with pytest.raises(ConfigError):
        Scrubber({SECRET: REDACTED}).body(body, "", encoding)


def test_a_person_becomes_another() -> None:
    """A real person's values become the made-up person's, the hash of the address too; a name inside another word stays."""
    scrubber = Scrubber(people=PERSON)
    md5 = hashlib.md5(b"ada@corp.io", usedforsecurity=False).hexdigest()
    wanted = hashlib.md5(b"ada.lovelace@example.com", usedforsecurity=False).hexdigest()
    assert scrubber.url(f"https://api.example/members/{md5}?q=email%3Aada%40corp.io") == (
        f"https://api.example/members/{wanted}?q=email%3Aada.lovelace%40example.com"
    )
    assert scrubber.text("Adaline of Adalines") == "Ada of Adalines"


def test_strangers_become_someone() -> None:
    """Other people's addresses are replaced too, each always by the same; reserved ones stay."""
    scrubber = Scrubber()
    body = {"a": "bob@corp.io", "b": "mail bob@corp.io, eve@corp.io", "c": "grace@example.org", "url": "https://x.example/?e=bob%40corp.io"}
    assert scrubber.value(body) == {
        "a": "someone-1@example.com",
        "b": "mail someone-1@example.com, someone-2@example.com",
        "c": "grace@example.org",
        "url": "https://x.example/?e=someone-1%40example.com",
    }


def test_named_secrets_go_without_being_known() -> None:
    """A token that a vendor issues on the way is known by its name only; a paging token is none."""
    scrubber = Scrubber()
    assert scrubber.value({"access_token": "abc", "next_page_token": "abc", "nested": '{"client_secret": "x"}'}) == {
        "access_token": REDACTED,
        "next_page_token": "abc",
        "nested": json.dumps({"client_secret": REDACTED}),
    }
    assert scrubber.body(b"client_id=me&client_secret=abc", "application/x-www-form-urlencoded") == b"client_id=me&client_secret=REDACTED"
    assert scrubber.url("https://api.example/x?hapikey=abc&limit=1") == "https://api.example/x?hapikey=REDACTED&limit=1"


def test_what_is_clean_stays_as_it_is() -> None:
    """URLs and forms without anything in them keep their very spelling."""
    scrubber = Scrubber({SECRET: REDACTED}, PERSON)
    url = "https://api.example/v1/x%2Fy?q=email:ada%2Bx@example.com&empty=&b=%7e"
    assert scrubber.url(url) == url
    assert scrubber.body(b"a=%7e&b=c%20d", "application/x-www-form-urlencoded") == b"a=%7e&b=c%20d"


@pytest.mark.parametrize(
    "text",
    [
        "Bearer abcdefghijkl",
        "Authorization: Basic dXNlcjpwYXNzd29yZA==",
        "sk_live_abcdefgh",
        "0123456789abcdef0123456789abcdef-us21",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.abc",
        "-----BEGIN RSA PRIVATE KEY-----",
        "bob@corp.io",
        "q=bob%40corp.io",
        "q=bob%2540corp.io",
        "q=email%3Abob%40corp.io",
        "q=email%253Abob%2540corp.io",
        "'bob+x@corp.io'",
        '{"a": "to\\nbob@corp.io"}',
        '{"a": "bob\\u0040corp.io"}',
        '{"a": "{\\"access_token\\": \\"x\\"}"}',
        "https://x.example/?api_key=abc",
        base64.b64encode(b"user:bob@corp.io and more").decode(),
    ],
)
def test_suspicious(text: str) -> None:
    """What looks like a secret or a real address is named by its kind, never repeated."""
    found = suspicious(text)
    assert found
    assert not any("bob" in problem or "abc" in problem for problem in found)


@pytest.mark.parametrize("text", ["ada@example.com", "Bearer REDACTED", "cus_NffrFeUfNV2Hib", '{"next_page_token": "abc"}', "a=b&c=d", "logo.png"])
def test_not_suspicious(text: str) -> None:
    """Made-up people, ids and paging tokens are fine."""
    assert suspicious(text) == []


def test_long_texts_are_read_once() -> None:
    """Half a megabyte of one letter, or of the beginnings of what is looked for: reading it again for each place would not end before the limit
    of a test does, many times over."""
    for piece in ("a", "a@", "a.", "%2B", "eyJ", "Bearer ", "{", '"', "a@b.", "=&"):
        text = piece * (500_000 // len(piece))
        assert Scrubber({SECRET: REDACTED}).text(text) == text
        suspicious(text)


def test_names() -> None:
    """Which domains are reserved, and which headers and members hold secrets."""
    assert [is_reserved(domain) for domain in ("example.com", "mail.EXAMPLE.org", "x.test", "a.invalid", "example.io", "myexample.com")] == [
        True,
        True,
        True,
        True,
        False,
        False,
    ]
    assert all(is_secret_header(name) for name in ("Authorization", "X-Api-Key", "Cookie", "X-Auth-Token", "Proxy-Authorization"))
    assert not any(is_secret_header(name) for name in ("Content-Type", "X-Request-Id", "Idempotency-Key", "Stripe-Version"))
    assert is_secret_key("clientSecret")
    assert not is_secret_key("token_type")
    assert variants("abcd", REDACTED)["abcd"] == REDACTED
