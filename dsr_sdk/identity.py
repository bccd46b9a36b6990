"""Who a data subject is: typed identities, normalised, each with where it came from and how it was verified."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from dsr_sdk._model import Model

__all__ = ["AnyIdentity", "ControllerId", "Email", "Identity", "Name", "Phone", "VendorId", "Verification"]

_EMAIL = re.compile(r"[^@\s<>\"(),:;\[\]\\\x00-\x1f\x7f]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_](?:[\w-]{0,61}[^\W_])?")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_PHONE_DECORATION = re.compile(r"[\s().\-/\u00a0\u2010-\u2015]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})  # Unicode categories: control, format (zero width, direction), unassigned ...


class Verification(StrEnum):
    """How an identity was proven to belong to the person asking."""

    OAUTH = "oauth"
    EMAIL_LINK = "email_link"
    DOCUMENT = "document"
    QUESTIONS = "questions"
    CONTROLLER = "controller"
    """The controller's own system knows the person."""
    AGENT = "agent"


class Identity(Model):
    """Base of the typed identities.

    Attributes:
        source: Where we know it from: ``request``, ``agent``, or the name of the data source that revealed it.
        verified_by: How it was verified; None when it was not.
    """

    kind: str
    source: str = Field("request", max_length=100)
    verified_by: Verification | None = None

    expands: ClassVar[bool] = False
    """Whether another data source may be searched with it when a data source revealed it. An e-mail address or a phone number
    seen at a vendor may be shared by several people, so it never widens a search by itself; an account id does."""

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two identities the same person-pointer: kind and normalised value, without provenance. Personal data."""
        raise NotImplementedError(f"{type(self).__name__} defines no key")  # the abstract base; every kind below defines it

    def from_source(self, source: str) -> Self:
        """The same identity, stamped with the data source that revealed it (such an identity is not verified)."""
        return self.model_copy(update={"source": source, "verified_by": None})


def _one_line(value: str) -> str:
    value = unicodedata.normalize("NFC", value).strip()
    if not value:
        raise ValueError("is empty")
    if _CONTROL.search(value):
        raise ValueError("holds control characters")
    return value


def _lower(value: str) -> str:
    """Lower case, in NFC again: a capital and its accent may be two characters where the small letter is one."""
    return unicodedata.normalize("NFC", value.lower())


class Email(Identity):
    """An e-mail address. ``value`` is normalised (NFC, trimmed, lower case); ``given`` keeps the letters as they were given,
    because some vendors compare addresses case by case."""

    kind: Literal["email"] = "email"
    value: str = Field(max_length=320)
    given: str = Field("", max_length=320)

    @model_validator(mode="before")
    @classmethod
    def _keep_given(cls, data: object) -> object:
        if isinstance(data, dict) and isinstance(data.get("value"), str) and not data.get("given"):
            return {**data, "given": unicodedata.normalize("NFC", data["value"]).strip()}
        return data

    @field_validator("value")
    @classmethod
    def _normalise(cls, value: str) -> str:
        value = _lower(_one_line(value))
        if any(unicodedata.category(letter) in _INVISIBLE for letter in value):  # it came along unseen, and no vendor would find the address
            raise ValueError("holds invisible characters")
        if len(value) > 254 or not _EMAIL.fullmatch(value):
            raise ValueError("is not an e-mail address like name@example.com")
        return value

    @model_validator(mode="after")
    def _given_is_the_same_address(self) -> Self:
        if _lower(self.given) != self.value:
            raise ValueError("'given' is another address than 'value'")
        return self

    @property
    def key(self) -> tuple[str, ...]:
        return ("email", self.value)


class Phone(Identity):
    """A telephone number in E.164 form (ITU-T E.164: ``+``, country code, at most 15 digits)."""

    kind: Literal["phone"] = "phone"
    value: str = Field(max_length=40)

    @field_validator("value")
    @classmethod
    def _normalise(cls, value: str) -> str:
        value = _PHONE_DECORATION.sub("", _one_line(value).replace("(0)", ""))  # +44 (0)20 ...: the zero is dialled at home only
        if value.startswith("00"):
            value = "+" + value[2:]
        if not _E164.fullmatch(value):
            raise ValueError("is not an international number like +4915112345678 (country code first)")
        return value

    @property
    def key(self) -> tuple[str, ...]:
        return ("phone", self.value)


class Name(Identity):
    """A person's name. It never identifies anyone on its own; it helps an agent and it is printed in letters."""

    kind: Literal["name"] = "name"
    first: str = Field("", max_length=200)
    last: str = Field("", max_length=200)

    @field_validator("first", "last")
    @classmethod
    def _normalise(cls, value: str) -> str:
        return _one_line(value) if value.strip() else ""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not (self.first or self.last):
            raise ValueError("needs a first or a last name")
        return self

    @property
    def key(self) -> tuple[str, ...]:
        return ("name", self.first.casefold(), self.last.casefold())


class ControllerId(Identity):
    """The controller's own id of the person, as its products send it to vendors (a user id). Compared exactly."""

    kind: Literal["controller_id"] = "controller_id"
    value: str = Field(max_length=512)
    namespace: str = Field("user_id", pattern=r"^[a-z][a-z0-9_]{0,62}$")
    expands: ClassVar[bool] = True

    _clean = field_validator("value")(_one_line)

    @property
    def key(self) -> tuple[str, ...]:
        return ("controller_id", self.namespace, self.value)


class VendorId(Identity):
    """A vendor's id of the person (``vendor`` is a connector slug). Compared exactly."""

    kind: Literal["vendor_id"] = "vendor_id"
    vendor: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    value: str = Field(max_length=512)
    expands: ClassVar[bool] = True

    _clean = field_validator("value")(_one_line)

    @property
    def key(self) -> tuple[str, ...]:
        return ("vendor_id", self.vendor, self.value)


AnyIdentity = Annotated[Email | Phone | Name | ControllerId | VendorId, Field(discriminator="kind")]
"""Any of the identity kinds, told apart by ``kind``: what a request's JSON carries."""
