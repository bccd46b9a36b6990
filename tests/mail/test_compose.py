"""`dsr_sdk.mail.compose`: the letter, word for word, and what cannot be made to stand in it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsr_sdk import ConfigError, ContractError, DsrError, MissingIdentityError, Name, RequestError, RequestType, Subject, UnsupportedError
from dsr_sdk.identity import Email
from dsr_sdk.mail import NOT_GIVEN, Letter, Letterhead, deletion_letter

HEAD = Letterhead(company="Example GmbH", domain="requests.example.org", agent="agent@example.com", cc="support@example.net")
ADA = Subject.of("Ada@Example.com", phone="+4915112345678", first_name="Ada", last_name="Lovelace", user_id="u-1815")

GOLDEN = """\
Dear Acme privacy team,

we received the following request from a person whose data your
company may hold, and pass it on to you:

    Type of request: Deletion
    First name: Ada
    Last name: Lovelace
    E-mail: ada@example.com

Please delete the personal data of this person from your systems, have
your own service providers do the same, and reply to this message once
it is done. If you hold nothing about this person, or must keep some of
it, please reply too and tell us what is kept and why.

We give you these details only so that you can find the person's data.
Please use them for nothing else.

Thank you and kind regards,
Example GmbH
"""


def letter(subject: Subject = ADA, head: Letterhead = HEAD, **changed: str | bool) -> Letter:
    return deletion_letter(subject, RequestType.DELETION, head, **{"to": "privacy@acme.example", "vendor": "Acme", **changed})  # type: ignore[arg-type]


def test_golden() -> None:
    """The letter, word for word. It holds the four facts, and neither the telephone number nor the id that the request also carries."""
    assert letter().body == GOLDEN
    assert "4915112345678" not in GOLDEN
    assert "u-1815" not in GOLDEN


def test_who_it_is_from_and_goes_to() -> None:
    """From the company at the sending domain, answers to the agent, to the privacy address, a copy to the support team."""
    written = letter()
    assert (written.sender_name, written.sender) == ("Example GmbH", "example-gmbh@requests.example.org")
    assert (written.reply_to, written.to, written.cc) == ("agent@example.com", "privacy@acme.example", "support@example.net")
    assert written.subject == "Request to delete personal data"


def test_copy_can_be_switched_off() -> None:
    """For one data source, for all of them, and when the copy would go where the letter goes."""
    assert letter(cc=False).cc is None
    assert letter(head=dataclasses.replace(HEAD, cc=None)).cc is None
    assert letter(to="Support@example.net").cc is None


def test_names_not_given() -> None:
    """A name the request does not carry is said to be missing, so the vendor sees that nothing was forgotten."""
    assert f"First name: {NOT_GIVEN}\n    Last name: {NOT_GIVEN}\n" in letter(Subject.of("ada@example.com")).body
    assert f"First name: {NOT_GIVEN}\n    Last name: Lovelace\n" in letter(Subject.of("ada@example.com", last_name="Lovelace")).body


def test_vendor_without_a_name() -> None:
    """The salutation does without it."""
    assert letter(vendor="").body.startswith("Dear privacy team,\n\nwe received")


def test_first_of_several_addresses() -> None:
    """One letter names one address: the subject's first."""
    several = Subject(identities=(Email(value="one@example.com"), Email(value="two@example.com")))
    assert "E-mail: one@example.com\n" in letter(several).body
    assert "two@example.com" not in letter(several).body


@pytest.mark.parametrize("kind", [kind for kind in RequestType if kind is not RequestType.DELETION])
def test_only_deletion(kind: RequestType) -> None:
    """Every other type of request is refused, by type."""
    with pytest.raises(UnsupportedError, match=r"^acme: .*only ask for deletion"):
        deletion_letter(ADA, kind, HEAD, to="privacy@acme.example", source="acme")


def test_no_address_no_letter() -> None:
    """A subject without an e-mail address cannot be named to a vendor."""
    with pytest.raises(MissingIdentityError):
        letter(Subject.of(phone="+4915112345678"))


@pytest.mark.parametrize(
    ("company", "mailbox"),
    [
        ("Example GmbH", "example-gmbh"),
        ("Müller & Söhne", "mueller-soehne"),
        ("Mu\u0308ller", "mueller"),
        ("STRAẞE & Große", "strasse-grosse"),
        ("L'Oréal", "loreal"),
        ("Łódź  Smørrebrød…", "lodz-smoerrebroed"),
        ("Citroën (France) S.A.", "citroen-france-s-a"),
        ("İstanbul Ilık", "istanbul-ilik"),
        ("3M", "3m"),
        ("-- Dash --", "dash"),
        ("A" * 150, "a" * 64),
        ("a" * 63 + " b", "a" * 63),
    ],
)
def test_sending_address(company: str, mailbox: str) -> None:
    """The company's name is spelt as its own country would spell it in ASCII, within the 64 characters of a local part."""
    assert dataclasses.replace(HEAD, company=company).sender == f"{mailbox}@requests.example.org"


@pytest.mark.parametrize("company", ["株式会社", "!!!", "Яндекс LLC", "&"])
def test_no_sending_address(company: str) -> None:
    """A name that ASCII cannot spell gives no address, rather than the address of whatever is left of it; the operator names one."""
    with pytest.raises(ConfigError, match=r"company: .*mailbox"):
        dataclasses.replace(HEAD, company=company)
    assert dataclasses.replace(HEAD, company=company, mailbox="privacy").sender == "privacy@requests.example.org"


BREAKS = ["\r\nBcc: evil@example.com", "\n", "\r", "\x00", "\x0b", "\x85", "\u2028", "\u2029", "\ud800"]


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("field", ["company", "domain", "agent", "cc", "mailbox"])
def test_letterhead_refuses_line_breaks(field: str, broken: str) -> None:
    """At the end of a value as well as within it; the error names the setting and not its value."""
    for value in (f"good{broken}", f"a{broken}b@example.org"):
        with pytest.raises(ConfigError) as caught:
            dataclasses.replace(HEAD, **{field: value})
        assert caught.value.field in (field, "domain")
        assert "evil" not in str(caught.value)
        assert caught.value.__context__ is None


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("field", ["to", "sender", "reply_to", "cc", "subject", "sender_name"])
def test_letter_refuses_line_breaks(field: str, broken: str) -> None:
    """Whoever writes the letter: a connector of somebody else's cannot add a header either."""
    with pytest.raises(ContractError, match=f"^the letter's {field} ") as caught:
        dataclasses.replace(letter(), **{field: f"privacy@acme.example{broken}"})
    assert "acme" not in str(caught.value)


def test_letter_refuses_control_characters_in_its_body() -> None:
    """Lines end in LF and nothing else."""
    for broken in (broken for broken in BREAKS if broken != "\n"):
        if "Bcc" not in broken:
            with pytest.raises(ContractError, match=r"^the letter's body "):
                dataclasses.replace(letter(), body=f"one{broken}two")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "privacy",
        "@acme.example",
        "privacy@",
        "privacy@localhost",
        "a@acme.example,b@acme.example",
        "a@acme.example b@acme.example",
        "Acme <a@acme.example>",
        '"a b"@acme.example',
        "a@b@acme.example",
        ".a@acme.example",
        "a..b@acme.example",
        "datenschutz@müller.example",
        "prïvacy@acme.example",
        "=?utf-8?q?a?=@acme.example",
        "a@-acme.example",
        "a@acme.example.",
        "a@127.0.0.1",
        "a" * 65 + "@acme.example",
        " a@acme.example",
    ],
)
def test_privacy_address_is_one_address(address: str) -> None:
    """One plain ASCII address: a list, a display name or a translation of a domain could send personal data elsewhere."""
    with pytest.raises(ConfigError, match="privacy_address") as caught:
        letter(to=address)
    assert "acme" not in str(caught.value)


def test_encoded_words_are_refused() -> None:
    """A company called =?utf-8?...?= would be shown by mail programs as whatever it decodes to."""
    with pytest.raises(ConfigError, match="company"):
        dataclasses.replace(HEAD, company="=?utf-8?q?Your_Bank?=")
    with pytest.raises(ConfigError, match="vendor"):
        letter(vendor="=?utf-8?q?a?=")


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "{{ 7*7 }}", "{% include 'deletion.txt.j2' %}", "{{ self.__init__ }}", "a & b"])
def test_text_is_text(hostile: str) -> None:
    """Names, companies and vendors are printed as they are: neither rendered nor escaped."""
    body = letter(Subject.of("ada@example.com", first_name=hostile), dataclasses.replace(HEAD, company=hostile, mailbox="x"), vendor=hostile).body
    assert f"First name: {hostile}\n" in body
    assert body.count(hostile) == 3
    assert "49" not in body


def test_unicode_names() -> None:
    """Names are printed in the person's own letters, joiners included."""
    person = Subject.of("ada@example.com", first_name="Zoë 晴 می\u200cخواهم", last_name="O’Brien-Łukasz 👩\u200d🚀")
    assert "First name: Zoë 晴 می\u200cخواهم\n    Last name: O’Brien-Łukasz 👩\u200d🚀\n" in letter(person).body


@pytest.mark.parametrize("broken", ["\n", "\r\n", "\r", "\x00", "\x85", "\u2028", "\u2029", "\ud800", "\t"])
def test_a_name_cannot_add_a_line(broken: str) -> None:
    """A second ``E-mail:`` line would have somebody else's data deleted."""
    name = Name.model_construct(kind="name", first=f"Ada{broken}    E-mail: victim@example.com", last="x")
    hostile = Subject.model_construct(identities=(Email(value="ada@example.com"), name))
    with pytest.raises(RequestError, match="first name") as caught:
        letter(hostile)
    assert "victim" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_name_cannot_look_like_a_line() -> None:
    """Neither by running so far to the right that it wraps, nor by turning the direction of writing."""
    spaced = letter(Subject.of("ada@example.com", first_name="Ada" + " \u00a0" * 60 + "E-mail: v@example.com")).body
    assert "First name: Ada E-mail: v@example.com\n" in spaced
    turned = letter(Subject.of("ada@example.com", first_name="Ada\u202e\u2066")).body
    assert "First name: Ada\n" in turned


@given(first=st.text(max_size=60), last=st.text(max_size=60), company=st.text(max_size=60), vendor=st.text(max_size=60))
def test_nothing_moves_the_lines(first: str, last: str, company: str, vendor: str) -> None:
    """Whatever is put in, the letter is refused with an error of ours or has the lines of the golden letter."""
    name = Name.model_construct(kind="name", first=first, last=last)
    person = Subject.model_construct(identities=(Email(value="ada@example.com"), name))
    try:
        body = letter(person, dataclasses.replace(HEAD, company=company, mailbox="x"), vendor=vendor).body
    except DsrError:
        return
    assert len(body.splitlines()) == len(GOLDEN.splitlines())
    assert [line.split(":")[0].strip() for line in body.splitlines()[5:9]] == ["Type of request", "First name", "Last name", "E-mail"]


def test_reprs_hide() -> None:
    """What travels to logs says nothing."""
    assert repr(letter()) == "<Letter>"
    assert repr(HEAD) == "<Letterhead>"


def test_importing_is_light() -> None:
    """The template engine is loaded for the first letter, not with the module."""
    code = "import sys, dsr_sdk, dsr_sdk.mail; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
