"""The public form and an agent's hand: what they ask, what they take, and what a flood of them does not do."""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import time_machine
from sqlalchemy import func, select

from dsr_sdk.errors import ConfigError, RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.answers.links import Purpose
from dsr_sdk.host.arrivals import form_words as words_module
from dsr_sdk.host.arrivals.form_words import LANGUAGES, form_words, localised, negotiate
from dsr_sdk.host.arrivals.forms import FormError
from dsr_sdk.host.arrivals.throttle import TooManyError, network
from dsr_sdk.host.cases.verification import Requirement
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.host.settings import FieldKind
from dsr_sdk.identity import Name
from dsr_sdk.ledger.database import reading
from dsr_sdk.ledger.desk import mails
from dsr_sdk.request import Channel, RequestType, Scope
from tests.smtp import Inbox
from tests.world import World

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
GOOD = {
    "type": "deletion",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "email": "Ada@Example.com",
    "country": "DE",
    "phone": "+49 171 3920012",
}
FIELDS = """
[privacy_center]
per_address_hour = 3
per_client_hour = 6

[[privacy_center.fields]]
name = "customer_number"
label = {en = "Customer number", de = "Kundennummer"}
kind = "number"

[[privacy_center.fields]]
name = "shop"
label = {en = "Shop", fr = "Magasin"}
kind = "choice"
choices = ["Berlin", "Paris"]
required = true

[[privacy_center.fields]]
name = "newsletter"
label = {en = "Newsletter"}
kind = "yes_no"

[[privacy_center.fields]]
name = "wrong"
label = {en = "What is wrong?", de = "Was ist falsch?"}
kind = "long_text"
required = true
types = ["right_to_edit"]
"""


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that the test moves."""
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def opened(sqlite_world: World, inbox: Inbox, clock: time_machine.Traveller) -> Host:
    """A host with a workflow and a mail server."""
    sqlite_world.mail = inbox.toml
    sqlite_world.tables = "[workflow]"
    return sqlite_world.open()


def submit(host: Host, clock: time_machine.Traveller, *, client: str = "192.0.2.1", language: str = "en", **more: str) -> str:
    """Open the form, take ten seconds, send it."""
    stamp = host.intake.stamp()
    clock.shift(timedelta(seconds=10))
    return host.intake.submit_form({**GOOD, "stamp": stamp, **more}, client=client, language=language)


def wrong(host: Host, clock: time_machine.Traveller, *, language: str = "en", **more: str) -> dict[str, str]:
    """What the form says is wrong."""
    with pytest.raises(FormError) as caught:
        submit(host, clock, language=language, **more)
    return caught.value.errors


def letters(host: Host, inbox: Inbox) -> list[Any]:
    """Every letter there is, sent."""
    host.outbox.sweep()
    return [message_from_bytes(letter.content, policy=policy.default) for letter in inbox.letters]


# --- the form ----------------------------------------------------------------------------------------------------------------------------


def test_the_form_becomes_a_case_in_review(opened: Host, clock: time_machine.Traveller) -> None:
    """What the form asks stands in the request; the case is in review, unproven, with its due date."""
    number = submit(opened, clock)
    request, case = opened.request(number), opened.workflow.get(number)
    assert (request.type, request.scope, request.channel, request.country, request.language) == ("deletion", "account", "privacy_center", "DE", "en")
    assert (request.subject.email, request.subject.phone) == ("ada@example.com", "+491713920012")
    assert request.subject.first(Name).last == "Lovelace"
    assert (case.stage, case.regime, case.verified_by) == ("review", "eu_gdpr", None)
    assert case.due_at is not None


@pytest.mark.parametrize("type_", list(RequestType))
def test_every_type_comes_through_the_form(opened: Host, clock: time_machine.Traveller, type_: RequestType) -> None:
    """All five types are offered, and taken."""
    assert type_.value in {choice.value for choice in opened.intake.form().types}
    assert opened.workflow.get(submit(opened, clock, type=type_.value, scope="app_data", custom_correction="my street")).scope == (
        Scope.APP_DATA if type_ is RequestType.DELETION else Scope.ACCOUNT
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_form_speaks_each_language(opened: Host, clock: time_machine.Traveller, language: str) -> None:
    """Labels, countries and errors are of the language, and the request is answered in it."""
    form = opened.intake.form(language)
    assert form.language == language
    assert [tag for tag, _ in form.languages] == list(LANGUAGES)
    names = {choice.value: choice.label for choice in form.fields[3].choices}
    assert names["DE"] == {"en": "Germany", "de": "Deutschland", "fr": "Allemagne", "es": "Alemania"}[language]
    assert "Example GmbH" in form.title
    assert wrong(opened, clock, language=language, email="nobody")["email"] == form_words(language)("errors.email")
    assert opened.request(submit(opened, clock, language=language)).language == language


def test_catalogues_are_complete() -> None:
    """Every language has the same texts with the same placeholders, and names the same countries; none was left in English."""
    english = form_words("en")
    for language in LANGUAGES:
        words = form_words(language)
        assert words.keys() == english.keys()
        assert words.countries.keys() == english.countries.keys()
        for key in sorted(english.keys()):
            assert set(re.findall(r"{\w+}", words(key))) == set(re.findall(r"{\w+}", english(key))), (language, key)
            assert words(key).strip() == words(key) != ""
            if language != "en" and key not in ("form.no", "errors.error"):
                assert words(key) != english(key), (language, key)


def test_texts_are_in_the_package() -> None:
    """The files are where the package can read them, one a language."""
    folder = Path(words_module.__file__).parent / "form_texts"
    assert {path.stem for path in folder.glob("*.toml")} == set(LANGUAGES)
    assert all(tomllib.loads(path.read_text("utf-8"))["name"] for path in folder.glob("*.toml"))


def test_countries_are_sorted_as_readers_expect() -> None:
    """Accents do not send a country to the end of the list."""
    names = list(form_words("de").countries.values())
    assert names.index("Österreich") < names.index("Peru")


def test_language_is_negotiated() -> None:
    """The header's favourite wins, an unreadable header means the default."""
    offered = ("en", "de", "fr")
    assert negotiate("fr-CH, fr;q=0.9, de;q=0.8", offered, "en") == "fr"
    assert negotiate("it, de;q=0.3, en;q=0.2", offered, "en") == "de"
    assert negotiate("en;q=0, de;q=0.1", offered, "fr") == "de"
    assert negotiate("xx;q=zz,,;;,*", offered, "en") == "en"
    assert form_words("de-AT").language == "de"
    assert form_words("ja").language == "en"
    assert localised({"fr": "x"}, "de") == "x"


def test_custom_fields_are_typed_and_localised(sqlite_world: World, clock: time_machine.Traveller) -> None:
    """The controller's own fields have their labels, their types and their errors; one for another type of request is not asked."""
    sqlite_world.tables = "[workflow]" + FIELDS
    host = sqlite_world.open()
    fields = {spec.name: spec for spec in host.intake.form("de").custom}
    assert fields["custom_customer_number"].label == "Kundennummer"
    assert fields["custom_newsletter"].label == "Newsletter"
    assert [choice.label for choice in fields["custom_newsletter"].choices] == ["Ja", "Nein"]
    assert fields["custom_wrong"].only_for == "Nur für: Meine personenbezogenen Daten berichtigen"
    assert fields["custom_shop"].kind is FieldKind.CHOICE

    number = submit(host, clock, custom_customer_number="4711", custom_shop="Paris", custom_newsletter="no", custom_wrong="ignored")
    assert host.request(number).custom_fields == {"customer_number": 4711, "shop": "Paris", "newsletter": False}

    text = form_words("de")
    errors = wrong(host, clock, language="de", type="right_to_edit", custom_customer_number="4711a", custom_shop="Rom")
    assert errors == {
        "custom_customer_number": text("errors.number"),
        "custom_shop": text("errors.choice"),
        "custom_wrong": text("errors.missing"),
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_correction_says_what_is_to_be_corrected(opened: Host, clock: time_machine.Traveller, language: str) -> None:
    """Required for a right to edit, asked for nothing else; of bounded length; optional where an agent, a file or a program takes the request in;
    sealed with the case, shown in review, and gone with its key."""
    text, said = form_words(language), "My street is wrong.\nIt is Hauptstraße 12."
    [spec] = opened.intake.form(language).custom
    assert (spec.label, spec.required, spec.types) == (text("form.correction"), True, (RequestType.RIGHT_TO_EDIT,))
    edit = {"language": language, "type": "right_to_edit"}
    assert wrong(opened, clock, **edit) == {"custom_correction": text("errors.missing")}
    assert wrong(opened, clock, **edit, custom_correction="x" * 10_001) == {"custom_correction": text("errors.long", limit=10_000)}
    number = submit(opened, clock, **edit, custom_correction=said.replace("\n", "\r\n"))
    review = opened.inbox.review(number, language=language)
    assert (review.correction, review.reported[0]) == (said, (text("form.correction"), said))
    assert opened.request(submit(opened, clock, custom_correction=said)).custom_fields == {}

    by_hand = opened.intake.create({"type": "right_to_edit", "email": "grace@example.com", "custom.correction": said}, by="amy@example.com")
    assert opened.inbox.review(by_hand).correction == said
    row = f'type,email,custom.correction\nright_to_edit,hopper@example.com,"{said}"\n'.encode()
    assert opened.intake.import_file(io.BytesIO(row), format="csv", by="amy@example.com").taken == 1
    [from_file] = opened.inbox.search("hopper@example.com")
    assert opened.inbox.review(from_file.number).correction == said

    opened.workflow.reject(by_hand, Reason.OTHER, by="amy@example.com")
    opened.replies.edit(by_hand, mode="none", reason="told", by="amy@example.com")
    opened.replies.close(by_hand, by="amy@example.com")
    opened.shred(by_hand, by="amy@example.com")
    assert opened.inbox.review(by_hand).correction == ""


def test_what_is_wrong_is_told_beside_the_field(opened: Host, clock: time_machine.Traveller) -> None:
    """Every error at once, in the order of the form, and none repeats what was typed."""
    typed = {"type": "erasure", "first_name": " ", "last_name": "x" * 201, "email": "ada@localhost", "country": "XX", "phone": "0171 3920012"}
    errors = wrong(opened, clock, **typed)
    assert list(errors) == list(typed)
    assert errors["last_name"] == "Please use at most 200 characters."
    with pytest.raises(FormError) as caught:
        submit(opened, clock, **typed)
    assert all(value not in str(caught.value) + repr(caught.value) for value in ("0171", "localhost", "erasure", "xxx"))
    assert wrong(opened, clock, first_name="A\x00da") == {"first_name": form_words("en")("errors.characters")}


def test_without_a_privacy_center_there_is_no_form(sqlite_world: World) -> None:
    """Switched off, or without a workflow, it says what to set."""
    sqlite_world.tables = "[workflow]\n[privacy_center]\nenabled = false"
    with pytest.raises(ConfigError, match=r"privacy_center\.enabled"):
        sqlite_world.open().intake.form()
    sqlite_world.tables = ""
    with pytest.raises(ConfigError, match="workflow"):
        sqlite_world.open().intake.form()


def test_types_and_languages_that_are_not_offered(sqlite_world: World, clock: time_machine.Traveller) -> None:
    """A form that offers less takes less; a language without texts falls back to the first offered."""
    sqlite_world.tables = '[workflow]\n[privacy_center]\ntypes = ["copy"]\nlanguages = ["de", "ja"]\ntitle = {de = "Ihre Rechte"}'
    host = sqlite_world.open()
    form = host.intake.form("ja")
    assert (form.language, form.title, form.scopes) == ("de", "Ihre Rechte", ())
    assert [tag for tag, _ in form.languages] == ["de"]
    assert "type" in wrong(host, clock, type="deletion")


# --- the e-mail after it -----------------------------------------------------------------------------------------------------------------


def test_the_confirmation_verifies_the_address(opened: Host, inbox: Inbox, clock: time_machine.Traveller) -> None:
    """The link in the e-mail proves the address, once; looking at it uses nothing up."""
    number = submit(opened, clock, language="de")
    [letter] = letters(opened, inbox)
    assert letter["to"] == "ada@example.com"
    assert number in letter["subject"]
    body = letter.get_content()
    assert form_words("de")("mail.stranger") in re.sub(r"\s+", " ", body)
    [token] = re.findall(r"/p/verify/([\w-]+)", body)
    opened.links.look(token, Purpose.VERIFY)
    opened.links.look(token, Purpose.VERIFY)
    assert opened.workflow.get(number).verified_by is None
    opened.conversation.confirm_address(token)
    assert opened.workflow.get(number).verified_by == "email"
    events = [event for event in opened.history(number) if event["event"] == "identity.verified"]
    assert events[-1]["actor"] == "subject"
    with pytest.raises(RequestError):
        opened.conversation.confirm_address(token)


def test_no_proof_is_asked_where_the_law_forbids(sqlite_world: World, inbox: Inbox, clock: time_machine.Traveller) -> None:
    """A Californian who opts out gets a receipt without a link; who only may prove the address is told so."""
    sqlite_world.mail, sqlite_world.tables = inbox.toml, '[workflow]\nregime = "us_ca_ccpa"'
    host = sqlite_world.open()
    number = submit(host, clock, type="do_not_sell", country="US")
    assert host.intake.asks_for(number) is Requirement.FORBIDDEN
    [letter] = letters(host, inbox)
    assert "/p/" not in letter.get_content()
    assert "You need not do anything else" in letter.get_content()
    assert host.intake.asks_for(submit(host, clock, type="do_not_mail")) is Requirement.OPTIONAL
    assert "/p/verify/" in letters(host, inbox)[1].get_content()


def test_nothing_typed_is_mailed_to_a_stranger(opened: Host, inbox: Inbox, clock: time_machine.Traveller) -> None:
    """The form is no way to send an advert, or a script, to somebody else's address; headers stay whole."""
    advert = "Win now https://evil.example <script>alert(1)</script>"
    number = submit(opened, clock, first_name=advert, last_name="Bcc: all@example.org")
    name = opened.request(number).subject.name
    assert name is not None
    assert name.first == advert
    [letter] = letters(opened, inbox)
    assert "evil.example" not in letter.as_string()
    assert letter["bcc"] is None
    assert wrong(opened, clock, first_name="Ada\r\nBcc: all@example.org") == {"first_name": form_words("en")("errors.characters")}
    assert "email" in wrong(opened, clock, email="ada@example.com\nbcc: x@example.org")


def test_without_a_mail_server_the_case_is_kept(sqlite_world: World, clock: time_machine.Traveller) -> None:
    """The request counts from the moment it came; its e-mail waits for a server."""
    sqlite_world.tables = "[workflow]"
    host = sqlite_world.open()
    assert host.workflow.get(submit(host, clock)).stage == "review"
    assert count_mails(host) == 1


def test_nobody_learns_whom_we_know(opened: Host, clock: time_machine.Traveller) -> None:
    """A person with a case and a stranger get the same answer; the duplicate is told to agents only."""
    first, second = submit(opened, clock), submit(opened, clock)
    stranger = submit(opened, clock, email="charles@example.com", phone="")
    assert opened.intake.asks_for(second) == opened.intake.asks_for(stranger)
    assert opened.workflow.get(second).duplicate_of == first
    assert opened.workflow.get(stranger).duplicate_of is None


# --- floods ------------------------------------------------------------------------------------------------------------------------------


def count_mails(host: Host) -> int:
    """How many e-mails were written down."""
    with reading(host.ledger.engine) as connection:
        return int(connection.execute(select(func.count()).select_from(mails)).scalar_one())


def test_one_address_cannot_be_flooded(world: World, clock: time_machine.Traveller) -> None:
    """Three an hour, whatever networks they come from, even after a restart: beyond, neither a case nor an e-mail."""
    world.tables = "[workflow]"
    host = world.open()
    for client in range(3):
        submit(host, clock, client=f"192.0.2.{client}")
    for reopened in (host, world.open()):
        for client in range(5):
            with pytest.raises(TooManyError) as caught:
                submit(reopened, clock, client=f"198.51.100.{client}", email="ADA@example.com")
            assert 0 < caught.value.retry_after <= 3600
    assert len(list(host.cases())) == 3
    assert count_mails(host) == 3
    clock.shift(timedelta(hours=1))
    submit(host, clock)
    assert count_mails(host) == 4


def test_one_network_cannot_flood(sqlite_world: World, clock: time_machine.Traveller) -> None:
    """The network address counts too: with IPv6 the subscriber's whole prefix. Others are not hit."""
    sqlite_world.tables = "[workflow]\n[privacy_center]\nper_client_hour = 2"
    host = sqlite_world.open()
    for i in range(2):
        submit(host, clock, client=f"2001:db8::{i}", email=f"p{i}@example.com")
    with pytest.raises(TooManyError):
        submit(host, clock, client="2001:db8::ffff", email="p3@example.com")
    submit(host, clock, client="2001:db8:1::1", email="p4@example.com")
    assert network("192.0.2.1") != network("192.0.2.2")
    assert network("::ffff:192.0.2.1") == "192.0.2.1"
    assert network("unix") == "unix"


def test_sent_at_once_from_many_hands(world: World, clock: time_machine.Traveller) -> None:
    """Twelve forms for one address at the same moment: three cases, on each database."""
    world.tables = "[workflow]"
    host = world.open()
    stamps = [host.intake.stamp() for _ in range(12)]
    clock.shift(timedelta(seconds=10))

    def send(stamp: str) -> bool:
        try:
            host.intake.submit_form({**GOOD, "stamp": stamp}, client=stamp, language="en")
        except TooManyError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(send, stamps)) == 3
    assert len(list(host.cases())) == 3


def test_the_form_sent_twice_is_one_case(world: World, clock: time_machine.Traveller) -> None:
    """A double click, or a reload of the page after, makes no second case and no second e-mail, and is not counted; a changed form is another."""
    world.tables = "[workflow]"
    host = world.open()
    stamp = host.intake.stamp()
    clock.shift(timedelta(seconds=10))
    numbers = {host.intake.submit_form({**GOOD, "stamp": stamp, "csrf": str(i)}, client="192.0.2.1", language="en") for i in range(5)}
    assert len(numbers) == 1
    assert count_mails(host) == 1
    assert host.intake.submit_form({**GOOD, "stamp": stamp, "type": "copy"}, client="192.0.2.1", language="en") not in numbers


def test_programs_are_told_like_people(opened: Host, clock: time_machine.Traveller) -> None:
    """A filled trap, a form sent in no time, a stale page and a forged stamp each get a sentence that helps a human, and no case."""
    text = form_words("en")
    assert wrong(opened, clock, website="https://spam.example") == {"website": text("errors.trap")}
    stamp = opened.intake.stamp()
    with pytest.raises(FormError) as caught:
        opened.intake.submit_form({**GOOD, "stamp": stamp}, client="192.0.2.1", language="en")
    assert caught.value.errors == {"": text("errors.fast")}
    clock.shift(timedelta(hours=5))
    with pytest.raises(FormError) as caught:
        opened.intake.submit_form({**GOOD, "stamp": stamp}, client="192.0.2.1", language="en")
    assert caught.value.errors == {"": text("errors.expired")}
    for forged in ("", "x", "1.2.3", stamp[:-1] + "x", "é.é", "." * 5):
        assert wrong(opened, clock, stamp=forged) == {"": text("errors.expired")}
    assert list(opened.cases()) == []


# --- an agent's hand ---------------------------------------------------------------------------------------------------------------------


def test_an_agent_writes_a_request_down(opened: Host) -> None:
    """Whoever called or wrote is in review, unproven, with the agent's name in the audit log."""
    fields = {"type": "copy", "email": "ada@example.com", "phone": "+491713920012", "first_name": "Ada", "last_name": "", "country": "DE"}
    number = opened.intake.create({**fields, "custom.shop": "Paris", "received_at": "2026-02-27T09:00:00+01:00"}, by="alice@example.com")
    request = opened.request(number)
    assert (request.channel, request.subject.phone, request.custom_fields) == (Channel.AGENT, "+491713920012", {"shop": "Paris"})
    case = opened.workflow.get(number)
    assert (case.stage, case.verified_by) == ("review", None)
    assert case.due_at is not None
    assert case.due_at.date().isoformat() == "2026-03-27"
    assert ("request.entered", "alice@example.com") in [(event["event"], event["actor"]) for event in opened.history(number)]


def test_what_an_agent_cannot_write_down(opened: Host) -> None:
    """A channel that vouches for the person, a day that cannot be, a case number: each refused by field."""
    good: dict[str, Any] = {"type": "deletion", "email": "ada@example.com"}
    for more, field in (
        ({"channel": "mine_app"}, "channel"),
        ({"received_at": "2027-01-01T00:00:00Z"}, "received_at"),
        ({"received_at": "0001-01-01T00:00:00Z"}, "received_at"),
        ({"case": "DSR-0000-0000-0000-0000"}, "case"),
        ({"subject": "ada"}, "subject"),
        ({"email": "ada"}, "email"),
    ):
        with pytest.raises(RequestError, match=field):
            opened.intake.create({**good, **more}, by="alice@example.com")
    assert opened.request(opened.intake.create({**good, "channel": "email"}, by="alice@example.com")).channel is Channel.EMAIL
    twice = {opened.intake.create({**good, "reference": "r1"}, by=by) for by in ("alice@example.com", "bob@example.com")}
    assert len(twice) == 1


def test_a_state_of_the_united_states_tells_the_law(opened: Host, clock: time_machine.Traveller) -> None:
    """A Californian who opts out is asked for no proof; a state chosen beside another country says nothing."""
    said = {"type": "do_not_sell", "first_name": "Hedy", "last_name": "Lamarr", "region": "US-CA"}
    californian = submit(opened, clock, **said, email="hedy@example.org", country="US")
    german = submit(opened, clock, **said, email="ada@example.com", country="DE")
    assert opened.workflow.get(californian).regime == "us_ca_ccpa"
    assert opened.workflow.get(german).regime == "eu_gdpr"
    assert opened.request(german).region is None
