"""Takes secrets and people out of what is recorded, and finds them in what was.

A secret hides in many spellings: percent-encoded in a URL, escaped in JSON that stands in JSON, inside base64, in a compressed body.
`Scrubber` knows the values and looks for every spelling; `suspicious` knows none and looks for what such values look like.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlencode, urlsplit, urlunsplit

from dsr_sdk.errors import ConfigError

__all__ = ["REDACTED", "Scrubber", "is_reserved", "is_secret_header", "is_secret_key", "readable", "strings_in", "suspicious", "variants"]

REDACTED: Final = "REDACTED"
"""What stands where a secret stood."""

_STAND_IN = re.compile(rf"([A-Za-z0-9]{{1,6}}_)?{REDACTED}(-[A-Za-z0-9]{{1,6}})?")
"""A secret's place, with as much of its public shape as a connector may need (a prefix, a data centre)."""

SHORTEST: Final = 4
"""Shorter values cannot be told from other text."""

_SECRET_KEY = re.compile(
    r"((access|refresh|id|session|auth|bearer|api)token|(client|api|signing|webhook)?secret(key)?|(api|private)key|password|passwd|authorization|hapikey)"
)
_SECRET_HEADER = re.compile(
    r"authorization|cookie|secret|password|signature|(api|access|auth|session|csrf|user)[-_]?(key|token)|^(key|token)$", re.IGNORECASE
)
_RESERVED = re.compile(r"(.+\.)?(example\.(com|org|net)|example|test|invalid|localhost)", re.IGNORECASE)

# The sign may be written as it is, percent-encoded (once or twice), or as a JSON escape. It begins where a word does, or behind an escape;
# possessive, so that a long text without an address is read once.
_EMAIL = re.compile(
    r"(?:(?<![\w.+'%\\-])|(?<=%[0-9A-Fa-f]{2})|(?<=%25[0-9A-Fa-f]{2}))(?P<local>(?:[\w.+'-]|%2[Bb7]){1,80}+)(?P<at>@|%40|%2540|\\u0040)"
    r"(?P<domain>(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,24})(?![\w-])"
)
_KEYS: Final = {
    "a bearer or basic token": re.compile(r"(?<=\bBearer[ +])(?!REDACTED)[\w.~+/=%-]{8,}|(?<=\bBasic[ +])(?!REDACTED)[\w.~+/=%-]{8,}", re.IGNORECASE),
    "a JSON web token": re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a vendor's key": re.compile(
        r"\b(?:[srp]k_(?:live|test)_(?!REDACTED)\w{6,}|whsec_\w{8,}|SG\.[\w-]{8,}\.[\w-]{8,}|xox[abprs]-[\w-]{8,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
        r"|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|ya29\.[\w-]{16,}|shp(?:at|ca|pa|ss)_[0-9a-f]{16,}|pat-[a-z]{2}\d-[0-9a-f-]{32,}|[0-9a-f]{32}-us\d{1,3}|key-[0-9a-f]{32}"
        r"|EAA[A-Za-z0-9]{40,}|dop_v1_[0-9a-f]{32,}|sq0[a-z]{3}-[\w-]{20,}|rk_(?:live|test)_\w{6,})"
    ),
}


def is_reserved(domain: str) -> bool:
    """Whether a domain is kept free for examples and tests (RFC 2606, RFC 6761)."""
    return _RESERVED.fullmatch(domain.rstrip(".")) is not None


def is_secret_header(name: str) -> bool:
    """Whether a header authenticates."""
    return _SECRET_HEADER.search(name) is not None


def is_secret_key(name: str) -> bool:
    """Whether a JSON member, form field or query parameter of this name holds a secret. A paging token is none."""
    return _SECRET_KEY.fullmatch(re.sub(r"[^a-z]", "", name.lower())) is not None


# --- finding without knowing -------------------------------------------------------------------------------------------------------


def suspicious(text: str) -> list[str]:
    """What in a text looks like a secret or a real person's address, in any spelling; each kind once, never the value."""
    found: dict[str, None] = {}
    for spelling in _spellings(text):
        found.update((what, None) for what, pattern in _KEYS.items() if pattern.search(spelling))
        if any(not is_reserved(match["domain"]) for match in _EMAIL.finditer(spelling)):
            found["an e-mail address outside the reserved domains"] = None
        for name, value in _members(spelling):
            if is_secret_key(name) and isinstance(value, str) and value and REDACTED not in value:
                found[f"a value of {name}"] = None
    return list(found)


def _spellings(text: str) -> Iterator[str]:
    yield text
    if "\\" in text:
        yield re.sub(r"\\+[bfnrt\"/]", " ", text).replace("\\u0040", "@")
    once = unquote(text)
    if once != text:
        yield once
        yield unquote(once)
    for piece in re.findall(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{16,}={0,2}(?![\w+/=-])", text):
        try:
            decoded = base64.b64decode(piece.replace("-", "+").replace("_", "/") + "=" * (-len(piece) % 4), validate=True).decode("ascii")
        except ValueError:
            continue
        if decoded.isprintable():
            yield decoded


def _members(text: str) -> Iterator[tuple[str, Any]]:
    """The named values in JSON (also in its strings) or in a form."""
    try:
        body = json.loads(text) if text.lstrip()[:1] in ("{", "[") else None
    except (ValueError, RecursionError):
        body = None
    if body is not None:
        for name, value in strings_in(body):
            yield name, value
            if value.lstrip()[:1] in ("{", "["):
                yield from _members(value)
    elif "=" in text:
        yield from parse_qsl(text.partition("?")[2] or text)


def strings_in(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a JSON value, with the name of the member it stands in."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from strings_in(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner, name)


def readable(body: bytes) -> str | None:
    """A body as text, unpacked when it is gzip; None when it cannot be read."""
    try:
        return (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode("utf-8")
    except (OSError, EOFError, ValueError, zlib.error):
        return None


# --- replacing what is known -------------------------------------------------------------------------------------------------------


def variants(value: str, replacement: str) -> dict[str, str]:
    """The spellings of a value, each with the same spelling of its replacement. Letters' case is ignored by whoever looks for them."""
    forms: dict[str, str] = {}

    def both(spell: Any) -> None:
        forms.setdefault(spell(value), spell(replacement))

    both(str)
    for spell in (quote_plus, quote, lambda text: quote(text, safe=""), lambda text: quote(quote(text, safe=""), safe=""), html.escape):
        both(spell)
    for ascii_only in (True, False):
        both(lambda text: json.dumps(text, ensure_ascii=ascii_only)[1:-1])  # noqa: B023 - called at once
        both(lambda text: json.dumps(text, ensure_ascii=ascii_only)[1:-1].replace("/", "\\/"))  # noqa: B023 - likewise
        both(lambda text: json.dumps(json.dumps(text, ensure_ascii=ascii_only)[1:-1])[1:-1])  # noqa: B023 - likewise
    data = value.encode()
    for shift in range(3):  # inside base64 a value looks different at each of three offsets; its middle is the same whatever surrounds it
        whole = base64.b64encode(b"\0" * shift + data)
        end = (len(data) + shift) * 8 // 6
        middle = whole[(shift * 8 + 5) // 6 : end].decode()
        if len(middle) >= 8:
            forms.setdefault(middle, REDACTED)
            forms.setdefault(middle.replace("+", "-").replace("/", "_"), REDACTED)
    if "@" in value:  # vendors key people by a hash of the address
        for algorithm in ("md5", "sha1", "sha256"):
            both(lambda text: hashlib.new(algorithm, text.lower().encode(), usedforsecurity=False).hexdigest())  # noqa: B023 - likewise
    return {form: new for form, new in forms.items() if form != new and len(form) >= SHORTEST}


class Scrubber:
    """Replaces known secrets and people, and unknown people's addresses, in text, URLs and bodies. The same value is always replaced by the same.

    Args:
        secrets: Secret value -> what stands in for it.
        people: A real person's value -> the made-up person's.
    """

    def __init__(self, secrets: Mapping[str, str] | None = None, people: Mapping[str, str] | None = None) -> None:
        self._known: dict[str, str] = {}
        self._strangers: dict[str, str] = {}
        whole: list[str] = []
        words: list[str] = []
        for value, new in (secrets or {}).items():
            forms = variants(value, new)
            whole.extend(forms)
            self._known |= {form.casefold(): spelled for form, spelled in forms.items()}
        for value, new in (people or {}).items():
            if value and value != new:
                forms = variants(value, new) or {value: new}
                words.extend(forms)
                self._known |= {form.casefold(): spelled for form, spelled in forms.items()}
        pieces = [re.escape(form) for form in sorted(whole, key=len, reverse=True)]
        # People's values are words: a name is not replaced inside another word.
        pieces += [rf"(?<![^\W_]){re.escape(form)}(?![^\W_])" for form in sorted(words, key=len, reverse=True)]
        self._pattern = re.compile("|".join(pieces), re.IGNORECASE) if pieces else None

    def text(self, text: str) -> str:
        """A text without them."""
        if self._pattern is not None:
            text = self._pattern.sub(lambda match: self._known.get(match[0].casefold(), REDACTED), text)
        for pattern in _KEYS.values():  # whosever they are
            text = pattern.sub(REDACTED, text)
        return _EMAIL.sub(self._stranger, text)

    def _stranger(self, match: re.Match[str]) -> str:
        if is_reserved(match["domain"]):
            return match[0]
        address = f"{unquote(match['local'])}@{match['domain']}".casefold()
        new = self._strangers.setdefault(address, f"someone-{len(self._strangers) + 1}@example.com")
        return new.replace("@", match["at"])

    def value(self, value: Any, name: str = "") -> Any:
        """A JSON value without them: strings, keys, and JSON that stands in strings."""
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(inner, str(key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner, name) for inner in value]
        if not isinstance(value, str):
            return value
        if value and is_secret_key(name):
            clean = self.text(value)
            return clean if _STAND_IN.fullmatch(clean) else REDACTED
        if value.lstrip()[:1] in ("{", "["):
            try:
                inner = json.loads(value)
            except (ValueError, RecursionError):
                return self.text(value)
            kept = self.value(inner)
            return value if kept == inner else json.dumps(kept, ensure_ascii=False)
        return self.text(value)

    def url(self, url: str) -> str:
        """A URL without them."""
        parts = urlsplit(url)
        query = self._form(parts.query)
        return urlunsplit((parts.scheme, parts.netloc, self.text(parts.path), query, ""))

    def _form(self, text: str) -> str:
        pairs = parse_qsl(text, keep_blank_values=True)
        clean = [(key, str(self.value(value, key))) for key, value in pairs]
        return text if clean == pairs else urlencode(clean)

    def body(self, body: bytes, content_type: str = "", encoding: str = "") -> bytes:
        """A body without them: decompressed, and JSON laid out for reading. A file that is gzip itself stays gzip.

        Raises:
            ConfigError: It cannot be read, so nobody can say what is in it.
        """
        if encoding and encoding != "identity":
            if encoding not in ("gzip", "x-gzip", "deflate"):
                raise ConfigError(f"a body in the encoding {encoding} cannot be scrubbed", fix="ask the vendor for gzip or identity")
            try:
                body = zlib.decompress(body, zlib.MAX_WBITS | 32)
            except zlib.error:
                raise ConfigError(f"a body said to be {encoding} is not, and cannot be scrubbed") from None
        if body[:2] == b"\x1f\x8b":
            return gzip.compress(self.body(gzip.decompress(body)), mtime=0)
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            raise ConfigError("a body that is no text cannot be scrubbed", fix="let the scenario ask for a text format") from None
        if "x-www-form-urlencoded" in content_type:
            return self._form(text).encode()
        if text.lstrip()[:1] in ("{", "["):
            try:
                clean = self.value(json.loads(text))
            except (ValueError, RecursionError):
                return self.text(text).encode()
            return json.dumps(clean, indent=1, ensure_ascii=False).encode()
        return self.text(text).encode()
