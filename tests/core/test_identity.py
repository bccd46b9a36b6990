"""Who a person is, in every spelling; and models that say nothing of whom they hold, whoever prints them."""

from __future__ import annotations

import json
import pprint
import unicodedata
from io import StringIO
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from dsr_sdk import ConnectorConfig, ControllerId, Email, Name, Phone, Request, RequestError, Subject, VendorId
from dsr_sdk.identity import Identity
from dsr_sdk.request import CASE_NUMBER

CANARY = "canary7f3e9d2b"

LETTERS = st.characters(codec="utf-8", categories=("L", "M", "N"))


def email(value: str) -> Email:
    """An address; an example that is none is passed over."""
    try:
        return Email(value=value)
    except ValueError:
        assume(False)
        raise


@settings(max_examples=300, deadline=None)
@given(st.text(LETTERS, min_size=1, max_size=12), st.sampled_from(["example.com", "EXAMPLE.Com", "bücher.example"]))
def test_addresses_are_stable(local: str, domain: str) -> None:
    """Normalising what is normalised changes nothing, whatever the script, and the value is in the one form that is compared."""
    once = email(f"{local}@{domain}")
    again = Email(value=once.value)
    assert again.value == once.value
    assert again.key == once.key
    assert unicodedata.is_normalized("NFC", once.value)
    assert Email.model_validate_json(once.model_dump_json()) == once
    assert email(f"{unicodedata.normalize('NFD', local)}@{domain}").key == once.key


@pytest.mark.parametrize("letters", ["J\u030c", "H\u0331", "T\u0308", "W\u030a", "Y\u030a", "\u0130", "\u1e9e", "\u2126", "\u212b"])
def test_capitals_with_an_accent(letters: str) -> None:
    """A capital and its accent are two characters where the small letter is one: both spellings are one person."""
    once = Email(value=f"{letters}@example.com")
    assert Email(value=once.value).key == once.key
    assert Email(value=f"{letters.lower()}@example.com").key == once.key


@pytest.mark.parametrize("invisible", ["\u200b", "\u200d", "\u202e", "\u2066", "\ufeff", "\u00ad", "\x85", "\ue000", "\u0378"])
@pytest.mark.parametrize("where", ["{}ada@example.com", "ad{}a@example.com", "ada{}@example.com", "ada@exam{}ple.com", "ada@example.com{}"])
def test_invisible_letters(invisible: str, where: str) -> None:
    """Pasted along unseen, they would make another address: one that no vendor has heard of, and *nothing found* would be believed."""
    text = where.format(invisible)
    if text.strip() == "ada@example.com":
        assert Email(value=text).value == "ada@example.com"
        return
    with pytest.raises(RequestError):
        Subject.of(text)


@pytest.mark.parametrize(
    ("given_", "value"),
    [
        ("+44 (0)20 7946 0958", "+442079460958"),
        ("+49 (0) 151 12345678", "+4915112345678"),
        ("0049 (0)151-1234567", "+491511234567"),
        ("+39 06 6982", "+39066982"),
        ("\u00a0+1\u2011415\u2013555\u00a02671 ", "+14155552671"),
    ],
)
def test_telephone_numbers_as_people_write_them(given_: str, value: str) -> None:
    """The zero in brackets is dialled at home only, and is no part of the international number."""
    assert Phone(value=given_).value == value
    assert Phone(value=value).value == value


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="+0123456789 ()-./", max_size=25))
def test_telephone_numbers_are_stable(text: str) -> None:
    """Normalising twice is normalising once, and what comes out is E.164."""
    try:
        number = Phone(value=text)
    except ValueError:
        return
    assert Phone(value=number.value) == number
    assert number.value[0] == "+"
    assert number.value[1:].isdecimal()
    assert 7 <= len(number.value) - 1 <= 15


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_names_and_ids_are_stable(first: str, second: str) -> None:
    """The same for every other kind of identity."""
    for make in (
        lambda: Name(first=first, last=second),
        lambda: ControllerId(value=first + second),
        lambda: VendorId(vendor="crm", value=first + second),
    ):
        try:
            made: Identity = make()
        except ValueError:
            continue
        again = type(made).model_validate(made.model_dump())
        assert again == made
        assert again.key == made.key


def test_names_in_other_letters() -> None:
    """A name is compared without regard to case, and never identifies anyone alone."""
    assert Name(first="ADA", last="STRASSE").key == Name(first="ada", last="straße").key
    with pytest.raises(RequestError, match="identifies nobody"):
        Subject.of(first_name="Ada")


def test_abstract_identity_has_no_key() -> None:
    """Each kind says what makes it the same; the base does not guess."""
    with pytest.raises(NotImplementedError, match="defines no key"):
        _ = Identity(kind="x").key


# --- silence -----------------------------------------------------------------------------------------------------------------------------------


class _Settings(ConnectorConfig):
    token: SecretStr = SecretStr("unset")
    account: str = ""


def models() -> list[Any]:
    """One of each, with a person in it."""
    subject = Subject.of(f"{CANARY}@example.com", phone="+4915112345678", first_name=CANARY, last_name=CANARY, user_id=CANARY)
    request = Request.parse({"type": "deletion", "subject": {"email": f"{CANARY}@example.com"}, "custom_fields": {"a": CANARY}, "reference": CANARY})
    return [request, subject, *subject.identities, VendorId(vendor="crm", value=CANARY), _Settings(token=SecretStr(CANARY), account=CANARY)]


@pytest.mark.parametrize("number", range(len(models())))
def test_printing_a_model(number: int) -> None:
    """Plain, in a container, pretty, and by rich (which draws pydantic's models field by field, in tracebacks too): no field is shown."""
    from rich.console import Console
    from rich.pretty import pretty_repr

    model = models()[number]
    console = Console(file=StringIO(), width=200)
    console.print(model, [model], {"model": model})
    drawn = console.file.getvalue() if isinstance(console.file, StringIO) else ""
    said = [
        f"{model}",
        f"{model!r}",
        str(model),
        str([model]),
        str((model,)),
        pprint.pformat([model]),
        pretty_repr(model),
        pretty_repr([model]),
        drawn,
    ]
    for text in said:
        assert CANARY not in text
        assert "4915112345678" not in text
        assert type(model).__name__ in text


def test_errors_of_a_model_hide_their_input() -> None:
    """Pydantic's own error, should it get out anywhere, does not show the value either."""
    with pytest.raises(ValueError, match="not an e-mail address") as caught:
        Email(value=f"{CANARY} at example.com")
    assert CANARY not in str(caught.value)


# --- what is said about a wrong request ----------------------------------------------------------------------------------------------------------


def said_about(data: Any) -> str:
    """The error about it; empty when there is none."""
    try:
        Request.parse(data)
    except RequestError as error:
        return str(error)
    return ""


GOOD: dict[str, Any] = {"type": "deletion", "subject": {"email": "ada@example.com"}}


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=6, max_size=30), st.sampled_from(["top", "subject", "identity", "custom", "kind"]))
def test_words_of_a_stranger_are_not_repeated(word: str, where: str) -> None:
    """A field's name is the requester's as much as its value, even if it is one plain word: a surname is one, too."""
    word = f"x{word}x"
    data = {
        "top": {**GOOD, word: 1},
        "subject": {**GOOD, "subject": {"email": "ada@example.com", word: 1}},
        "identity": {**GOOD, "subject": {"identities": [{"kind": "email", "value": "ada@example.com", word: 1}]}},
        "custom": {**GOOD, "custom_fields": {word: {"a": 1}}},
        "kind": {**GOOD, "subject": {"identities": [{"kind": word, "value": "x"}]}},
    }[where]
    for form in (data, json.dumps(data)):
        assert said_about(form)
        assert word not in said_about(form)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({**GOOD, "lovelace": 1}, "(field) is not a field of a request"),
        (dict([*GOOD.items(), (4915112345678, 1)]), "(field) Keys should be strings"),
        (
            {**GOOD, "subject": {"identities": [{"kind": "passport", "value": "x"}]}},
            "subject.identities.0 needs a kind: controller_id, email, name, phone",
        ),
        ({**GOOD, "subject": {"identities": [{"value": "x"}]}}, "subject.identities.0 needs a kind"),
        ({**GOOD, "subject": {"identities": [{"kind": "email"}]}}, "subject.identities.0.value is missing"),
        ({**GOOD, "custom_fields": {"a": float("nan")}}, "custom_fields.(field).float Input should be a finite number"),
        ({"subject": {"email": "ada@example.com"}}, "type is missing"),
    ],
)
def test_wrong_requests_in_words(data: Any, said: str) -> None:
    """The path of our own fields, and what is wrong."""
    assert said in said_about(data)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_no_json(number: str) -> None:
    """Python writes them, no other JSON parser reads them: they do not get as far as the ledger."""
    text = json.dumps({**GOOD, "custom_fields": {"a": "NUMBER"}}).replace('"NUMBER"', number)
    assert "finite number" in said_about(text)


def test_errors_stay_short() -> None:
    """A hostile request with a twenty thousand wrong fields is answered in a few words."""
    many = {f"field {n}": n for n in range(20_000)}
    for data in ({**GOOD, **many}, {**GOOD, "custom_fields": many}, {**GOOD, "subject": many}):
        assert 0 < len(said_about(data)) < 2_000


def test_schema_is_valid_and_says_what_there_is() -> None:
    """The JSON schema is one, knows every kind of identity, and its patterns are read by others."""
    import jsonschema_rs

    schema = Request.model_json_schema()
    jsonschema_rs.meta.validate(schema)
    validator = jsonschema_rs.validator_for(schema)
    whole = json.loads(Request.parse(GOOD).model_dump_json())
    validator.validate(whole)
    assert CASE_NUMBER.fullmatch(whole["case"])
    for wrong in ({**whole, "type": "erase"}, {**whole, "case": "DSR-1"}, {**whole, "extra": 1}, {**whole, "country": "Germany"}):
        assert not validator.is_valid(wrong)
