"""Requests and identities: what is taken in, what is refused, and that no message repeats what the requester wrote."""

from __future__ import annotations

import json
import pickle
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dsr_sdk import (
    Channel,
    ControllerId,
    Email,
    MissingIdentityError,
    Name,
    Phone,
    Regime,
    Request,
    RequestError,
    RequestType,
    Scope,
    Subject,
    VendorId,
)
from dsr_sdk.identity import AnyIdentity
from dsr_sdk.request import CASE_NUMBER, new_case_number

CANARY = "canary-7f3e9d2b"
SUBJECT = {"email": "ada@example.com"}


def request(**more: Any) -> Request:
    """A deletion."""
    return Request.parse({"type": "deletion", "subject": SUBJECT, **more})


def test_a_whole_request() -> None:
    """Every field, through JSON and back."""
    text = json.dumps(
        {
            "type": "deletion",
            "subject": {"email": "Ada@Example.com", "phone": "+49 151 12345678", "first_name": "Ada", "last_name": "L", "user_id": "u-1"},
            "scope": "app_data",
            "channel": "privacy_center",
            "regime": "eu_gdpr",
            "country": "DE",
            "language": "de-DE",
            "custom_fields": {"why": "moving", "age": 3, "vip": True},
            "reference": "ticket-1",
            "received_at": "2026-01-02T03:04:05+01:00",
        }
    )
    parsed = Request.parse(text)
    assert parsed.type is RequestType.DELETION
    assert parsed.scope is Scope.APP_DATA
    assert parsed.channel is Channel.PRIVACY_CENTER
    assert parsed.regime is Regime.EU_GDPR
    assert (parsed.subject.email, parsed.subject.phone, parsed.subject.user_id) == ("ada@example.com", "+4915112345678", "u-1")
    assert parsed.subject.name is not None
    assert parsed.received_at == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert Request.parse(parsed.model_dump_json()) == parsed


GARBAGE: list[Any] = [
    "",
    "{",
    "null",
    "[]",
    "5",
    '"text"',
    b"\xff\xfe",
    b"\x00",
    "[" * 100_000,
    '{"a":' * 100_000,
    '{"type": "deletion"}',
    '{"type": "deletion", "subject": {}}',
    '{"type": "deletion", "subject": null}',
    '{"type": "deletion", "subject": []}',
    '{"type": "deletion", "subject": {"identities": {}}}',
    '{"type": "deletion", "subject": {"email": null}}',
    '{"type": "deletion", "subject": {"email": {"a": 1}}}',
    '{"type": "deletion", "subject": {"email": "\\u0000@example.com"}}',
    '{"type": "deletion", "subject": {"email": "\\ud800@example.com"}}',
    '{"type": "deletion", "subject": {"first_name": "Ada"}}',
    '{"type": "forget", "subject": {"email": "a@example.com"}}',
    '{"type": "copy", "scope": "app_data", "subject": {"email": "a@example.com"}}',
    '{"type": "deletion", "subject": {"email": "a@example.com"}, "case": "DSR-1"}',
    '{"type": "deletion", "subject": {"email": "a@example.com"}, "case": "DSR-AAAA-AAAA-AAAA-AAAA\\n"}',
    '{"type": "deletion", "subject": {"email": "a@example.com"}, "received_at": "2026-01-01T00:00:00"}',
    '{"type": "deletion", "subject": {"email": "a@example.com"}, "received_at": 1e400}',
    '{"type": "deletion", "subject": {"email": "a@example.com"}, "country": "de"}',
    '{"type": "deletion", "subject": {"email": "a@example.com"}, "language": "../../etc"}',
    '{"type": "deletion", "subject": {"email": "a@example.com"}, "unknown": 1}',
    '{"type": "deletion", "subject": {"email": "a@example.com"}, "custom_fields": {"a b": 1}}',
    '{"type": "deletion", "subject": {"email": "a@example.com"}, "custom_fields": {"a": null}}',
    '{"type": "deletion", "subject": {"email": "a@example.com"}, "custom_fields": {"a": [1]}}',
    json.dumps({"type": "deletion", "subject": SUBJECT, "custom_fields": {"a": "x" * 10_001}}),
    json.dumps({"type": "deletion", "subject": SUBJECT, "custom_fields": {f"f{n}": 1 for n in range(51)}}),
    json.dumps({"type": "deletion", "subject": {"identities": [{"kind": "email", "value": f"a{n}@example.com"} for n in range(51)]}}),
    json.dumps({"type": "deletion", "subject": {"identities": [{"kind": "unheard_of", "value": "x"}]}}),
    json.dumps({"type": "deletion", "subject": {"identities": [{"value": "x"}]}}),
    json.dumps({"type": "deletion", "subject": {"identities": ["x"]}}),
    json.dumps({"type": "deletion", "subject": {"email": "a" * 1_000_000 + "@example.com"}}),
]


@pytest.mark.parametrize("text", GARBAGE, ids=[str(n) for n in range(len(GARBAGE))])
def test_garbage_is_refused(text: str | bytes) -> None:
    """Anything that is no request is a `RequestError`, short, with its source, and never a crash."""
    with pytest.raises(RequestError) as caught:
        Request.parse(text, source="requests.jsonl:3")
    assert str(caught.value).startswith("requests.jsonl:3: ")
    assert len(str(caught.value)) < 2_000
    assert caught.value.__cause__ is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text().map(lambda text: CANARY + text),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8).map(lambda text: CANARY + text), inner, max_size=4),
    max_leaves=12,
)


def said_about(data: Any) -> str:
    """Everything an error about this request says; nothing when there is none."""
    try:
        Request.parse(data)
    except RequestError as error:
        return f"{error} {error!r} {error.field} {error.fix}"
    return ""


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*Request.model_fields, CANARY]), JSON, min_size=1), st.booleans())
def test_no_error_repeats_a_value(data: dict[str, Any], nested: bool) -> None:
    """Whatever is wrong, wherever it stands, as a value or as a field's name: the message names our own fields only."""
    whole = {"type": "deletion", "subject": SUBJECT, **data}
    if nested:
        whole["subject"] = {**SUBJECT, **data}
    for form in (whole, json.dumps(whole)):
        assert "canary" not in said_about(form)


@settings(deadline=None)
@given(st.sampled_from(["kind", "value", "given", "namespace", "vendor", "source", "verified_by", "first", CANARY]), JSON)
def test_no_error_about_an_identity_repeats_a_value(field: str, value: Any) -> None:
    """Inside identities likewise: a kind is not repeated either."""
    for kind in ("email", "phone", "name", "controller_id", "vendor_id"):
        assert "canary" not in said_about({"type": "deletion", "subject": {"identities": [{"kind": kind, "value": "x", field: value}]}})


def test_reprs_show_nobody() -> None:
    """A request's repr is its number and type; a subject's and an identity's nothing at all."""
    made = Request.parse({"type": "deletion", "subject": {"email": f"{CANARY}@x.example", "first_name": CANARY}, "custom_fields": {"a": CANARY}})
    said = f"{made!r} {made} {made.subject!r} {made.subject.identities!r} {made.subject.name} {list(made.subject.identities)}"
    assert CANARY not in said
    assert repr(made) == f"<Request {made.case} deletion>"


def test_case_numbers_are_random() -> None:
    """Well-formed, different every time, and derived from nothing."""
    numbers = {new_case_number() for _ in range(1000)}
    assert len(numbers) == 1000
    assert all(CASE_NUMBER.fullmatch(number) for number in numbers)
    assert request().case != request().case


def test_a_schema_for_others() -> None:
    """The JSON schema can be made, and names what is needed."""
    schema = Request.model_json_schema()
    assert set(schema["required"]) == {"type", "subject"}
    assert schema["additionalProperties"] is False
    json.dumps(schema)


def test_requests_do_not_change() -> None:
    """Frozen: what was approved is what is carried out."""
    from pydantic import ValidationError

    made = request()
    with pytest.raises(ValidationError):
        made.type = RequestType.COPY  # type: ignore[misc]  # that it is refused is the point
    assert pickle.loads(pickle.dumps(made)) == made


# --- identities --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "value"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada@Example.COM ", "ada@example.com"),
        ("ada+tag@sub.example.co.uk", "ada+tag@sub.example.co.uk"),
        ("o'brien@example.com", "o'brien@example.com"),
        ("jürgen@bücher.example", "jürgen@bücher.example"),
        ("ju\u0308rgen@example.com", "jürgen@example.com"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
    ],
)
def test_addresses(given_: str, value: str) -> None:
    """Normalised for comparing; the letters as given are kept, because some vendors compare them."""
    email = Email(value=given_)
    assert email.value == value
    assert email.given == unicodedata.normalize("NFC", given_).strip()
    assert email.key == ("email", value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "ada",
        "@example.com",
        "ada@",
        "ada@localhost",
        "ada@example..com",
        "ada@-example.com",
        "ada @example.com",
        "ada@exa mple.com",
        "ada@example.com\n",
        "ada@example.com\nbcc: x@example.com",
        "ada@example.com,bob@example.com",
        "Ada <ada@example.com>",
        '"ada"@example.com',
        "ada@example.com\x00",
        "a" * 65 + "@example.com",
        "ada@" + "e" * 250 + ".com",
        "ada@[127.0.0.1]",
        "ada@example.c0m@x",
        "ada\u200b@example.com",
        "ada\u202e@example.com",
    ],
)
def test_what_is_no_address(value: str) -> None:
    """Two addresses, names around them, line breaks, invisible letters: refused, unless white space around it was all."""
    if value.strip() != value and value.strip() == "ada@example.com":
        assert Email(value=value).value == "ada@example.com"
        return
    with pytest.raises(RequestError):
        Subject.of(value)


@settings(deadline=None)
@given(st.emails())
def test_ordinary_addresses_are_stable(address: str) -> None:
    """Normalising what is normalised changes nothing, and no spelling of an address makes it another person."""
    try:
        email = Email(value=address)
    except ValueError:
        return  # quoted and other rarities are refused
    assert Email(value=email.value).value == email.value
    for other in (address.upper(), f" {address} ", unicodedata.normalize("NFD", address)):
        try:
            spelt = Email(value=other)
        except ValueError:
            continue
        assert spelt.key == email.key or "ß" in address


@pytest.mark.parametrize(
    ("given_", "value"),
    [
        ("+49 (151) 1234-5678", "+4915112345678"),
        ("0049 151 12345678", "+4915112345678"),
        ("+1.415.555.2671", "+14155552671"),
    ],
)
def test_telephone_numbers(given_: str, value: str) -> None:
    """Any usual way of writing an international number."""
    assert Phone(value=given_).value == value


@pytest.mark.parametrize("value", ["0151 12345678", "+0151", "12345", "+1234567890123456", "+49 151 12345678 ext 5", "٠١٢٣٤٥٦٧٨"])
def test_what_is_no_telephone_number(value: str) -> None:
    """Without a country code nobody knows whose number it is."""
    with pytest.raises(ValueError, match="international number"):
        Phone(value=value)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_ids_are_compared_exactly(value: str) -> None:
    """Nothing but white space around it and the Unicode form is changed; control characters are refused."""
    try:
        made = ControllerId(value=value)
    except ValueError:
        assert not value.strip() or any(ord(letter) < 32 or ord(letter) == 127 for letter in value)
        return
    assert made.value == unicodedata.normalize("NFC", value).strip()
    assert ControllerId(value=made.value).value == made.value


def test_keys_tell_kinds_apart() -> None:
    """The same text as an address, an id, or a vendor's id is never the same person-pointer."""
    identities = [
        Email(value="a@example.com"),
        ControllerId(value="a@example.com"),
        ControllerId(value="a@example.com", namespace="other"),
        VendorId(vendor="crm", value="a@example.com"),
        VendorId(vendor="shop", value="a@example.com"),
    ]
    assert len({identity.key for identity in identities}) == len(identities)


def test_provenance() -> None:
    """An identity a source reveals says so, and is not verified."""
    told = ControllerId(value="u", verified_by="document").from_source("crm")
    assert (told.source, told.verified_by) == ("crm", None)


def test_identities_round_trip() -> None:
    """Every kind, told apart by its kind."""
    adapter: TypeAdapter[AnyIdentity] = TypeAdapter(AnyIdentity)
    for identity in (
        Email(value="Ä@example.com"),
        Phone(value="+14155552671"),
        Name(first="Ada"),
        ControllerId(value="u"),
        VendorId(vendor="crm", value="5"),
    ):
        assert adapter.validate_json(identity.model_dump_json()) == identity


def test_given_must_be_the_same_address() -> None:
    """``given`` cannot smuggle another person in."""
    with pytest.raises(RequestError, match="another address"):
        Request.parse({"type": "deletion", "subject": {"identities": [{"kind": "email", "value": "a@example.com", "given": "b@example.com"}]}})


def test_subjects() -> None:
    """Narrowed to one identity, widened by new ones, and plain about what is missing."""
    subject = Subject.of("a@example.com", first_name="Ada", user_id="u-1")
    assert [identity.kind for identity in subject.narrowed(subject.first(ControllerId)).identities] == ["controller_id", "name"]
    assert subject.widened([Email(value="A@example.com")]) is subject
    assert len(subject.widened([Email(value="b@example.com"), Email(value="B@example.com")]).identities) == 4
    with pytest.raises(MissingIdentityError, match="no phone"):
        _ = subject.phone
    with pytest.raises(RequestError):
        Subject.of()
    with pytest.raises(RequestError):
        Subject.of(first_name="Ada", last_name="L")
