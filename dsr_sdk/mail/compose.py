"""Letters: what is written to a vendor's privacy address, and in whose name. No I/O beyond reading the template."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsr_sdk.errors import ConfigError, ContractError, RequestError, UnsupportedError
from dsr_sdk.mail.headers import checked_address, checked_domain, checked_header, checked_line, slug
from dsr_sdk.request import RequestType, Subject

if TYPE_CHECKING:
    import jinja2

__all__ = ["NOT_GIVEN", "Letter", "Letterhead", "deletion_letter"]

NOT_GIVEN = "not given"
"""What stands in a letter for a name the request does not carry: the vendor sees that nothing was forgotten."""


@dataclass(frozen=True, slots=True)
class Letterhead:
    """In whose name letters are written. Checked when it is made; ``repr`` hides it.

    Attributes:
        company: The name of the company, shown as the sender.
        domain: The domain letters are sent from. The company should own it (SPF, DKIM, DMARC): vendors distrust strangers.
        agent: The agent's own address: answers go there.
        cc: Who gets a copy of every letter, personal data included; None for nobody.
        mailbox: What stands before the ``@`` of the sending address; empty for the company's name spelt in ASCII.

    Raises:
        ConfigError: Names the setting that is wrong, without its value.
    """

    company: str
    domain: str
    agent: str
    cc: str | None = None
    mailbox: str = ""

    def __post_init__(self) -> None:
        _set(self, "company", _configured("company", checked_header, self.company))
        _set(self, "domain", _configured("domain", checked_domain, self.domain))
        _configured("agent", checked_address, self.agent)
        if self.cc is not None:
            _configured("cc", checked_address, self.cc)
        if not (self.mailbox or slug(self.company)):
            fix = "set mailbox, the part before the @"
            raise ConfigError("the name of the company gives no sending address in ASCII letters", field="company", fix=fix)
        _configured("mailbox" if self.mailbox else "domain", checked_address, self.sender)

    def __repr__(self) -> str:
        return "<Letterhead>"

    @property
    def sender(self) -> str:
        """The address letters come from: the company's name at the sending domain."""
        return f"{self.mailbox or slug(self.company)}@{self.domain}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter ready to send: one recipient, at most one copy. ``repr`` hides it.

    `sender_name` is shown beside the address `sender`. What a connector puts into a header is checked here: one address each, one line.

    Raises:
        ContractError: Names the field that is wrong, without its value.
    """

    to: str
    sender: str
    reply_to: str
    subject: str
    body: str
    cc: str | None = None
    sender_name: str = ""

    def __post_init__(self) -> None:
        for field, value in (("to", self.to), ("sender", self.sender), ("reply_to", self.reply_to), ("cc", self.cc)):
            if value is not None:
                _written(field, checked_address, value)
        _set(self, "subject", _written("subject", checked_header, self.subject))
        if self.sender_name:
            _set(self, "sender_name", _written("sender_name", checked_header, self.sender_name))
        for line in self.body.split("\n"):
            if line.strip():
                _written("body", functools.partial(checked_line, limit=2_000), line)

    def __repr__(self) -> str:
        return "<Letter>"


def deletion_letter(
    subject: Subject,
    type: RequestType,
    letterhead: Letterhead,
    *,
    to: str,
    vendor: str = "",
    cc: bool = True,
    source: str | None = None,
) -> Letter:
    """The letter that asks a vendor to delete one person's data.

    About the person it holds four facts and nothing else: the type of request, first name, last name, e-mail address (the subject's
    first). A name the request does not carry is printed as *not given*.

    Args:
        to: The privacy address of the data source.
        vendor: The vendor's name for the salutation.
        cc: Whether the letterhead's copy is wanted for this data source.
        source: The data source, named in errors.

    Raises:
        UnsupportedError: The request is of another type: e-mail integrations only ask for deletion.
        MissingIdentityError: The subject has no e-mail address.
        RequestError: A name or the address would break out of its line.
        ConfigError: `to` or `vendor` is not what it should be.
    """
    if type is not RequestType.DELETION:
        raise UnsupportedError(f"e-mail integrations only ask for deletion, not for {type.value}", source=source)
    name = subject.name
    facts = {
        "type_of_request": "Deletion",
        "first_name": _fact("first name", name.first if name else "", source),
        "last_name": _fact("last name", name.last if name else "", source),
        "email": _fact("e-mail address", subject.email, source),
    }
    to = _configured("privacy_address", checked_address, to, source)
    vendor = _configured("vendor", checked_header, vendor, source) if vendor else ""
    copy_to = letterhead.cc if cc and letterhead.cc and letterhead.cc.lower() != to.lower() else None
    return Letter(
        to=to,
        sender=letterhead.sender,
        sender_name=letterhead.company,
        reply_to=letterhead.agent,
        subject="Request to delete personal data",
        body=_templates().get_template("deletion.txt.j2").render(facts=facts, company=letterhead.company, vendor=vendor),
        cc=copy_to,
    )


@functools.cache
def _templates() -> jinja2.Environment:
    import jinja2.sandbox

    return jinja2.sandbox.SandboxedEnvironment(
        loader=jinja2.PackageLoader("dsr_sdk.mail", "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _fact(what: str, value: str, source: str | None) -> str:
    if not value.strip(" "):
        return NOT_GIVEN
    try:
        return checked_line(value, limit=320)
    except ValueError as error:
        problem = str(error)
    raise RequestError(f"the {what} {problem}", source=source, fix="correct it in the request; a letter prints it on one line")


def _configured(field: str, check: Callable[[str], str], value: str, source: str | None = None) -> str:
    try:
        return check(value)
    except ValueError as error:
        problem = str(error)
    raise ConfigError(problem, field=field, source=source)


def _written(field: str, check: Callable[[str], str], value: str) -> str:
    try:
        return check(value)
    except ValueError as error:
        problem = str(error)
    raise ContractError(f"the letter's {field} {problem}")


def _set(instance: object, name: str, value: str) -> None:
    object.__setattr__(instance, name, value)  # the dataclass is frozen for everyone else
