"""The request of a data subject: what is asked, by whom, about whom, under which law. No I/O."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self, TypeVar

from pydantic import AwareDatetime, Field, ValidationError, field_validator, model_validator

from dsr_sdk._model import Model
from dsr_sdk.errors import MissingIdentityError, RequestError
from dsr_sdk.identity import AnyIdentity, ControllerId, Email, Identity, Name, Phone, VendorId

__all__ = ["CASE_NUMBER", "CORRECTION", "Channel", "EmailEvidence", "Regime", "Request", "RequestType", "Scope", "Subject", "new_case_number"]

_I = TypeVar("_I", bound=Identity)

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base 32: no I, L, O, U, so a number survives being read aloud
CASE_NUMBER = re.compile(rf"DSR(-[{_ALPHABET}]{{4}}){{4}}")
"""What a case number looks like: ``DSR-7K2M-0QXN-V4TB-91HC``, 80 random bits, derived from nothing."""


CORRECTION = "correction"
"""The custom field that says, of a right to edit, what is wrong and what it should be."""


def new_case_number() -> str:
    """A fresh random case number. It can outlive the person's data because it says nothing about the person."""
    letters = [secrets.choice(_ALPHABET) for _ in range(16)]
    return "DSR-" + "-".join("".join(letters[i : i + 4]) for i in range(0, 16, 4))


class RequestType(StrEnum):
    """The five rights a request can exercise."""

    DELETION = "deletion"
    COPY = "copy"
    DO_NOT_SELL = "do_not_sell"
    DO_NOT_MAIL = "do_not_mail"
    RIGHT_TO_EDIT = "right_to_edit"

    @property
    def automatic(self) -> bool:
        """Whether connectors may be called for it. *Do not mail* and *right to edit* are handled by people, never by a connector."""
        return self in (RequestType.DELETION, RequestType.COPY, RequestType.DO_NOT_SELL)


class Scope(StrEnum):
    """How much a deletion takes: records of use only, or the account with everything in it."""

    APP_DATA = "app_data"
    ACCOUNT = "account"


class Channel(StrEnum):
    """How the request arrived."""

    PRIVACY_CENTER = "privacy_center"
    AGENT = "agent"
    MINE_APP = "mine_app"
    APP = "app"
    PROVIDER = "provider"
    EMAIL = "email"
    API = "api"
    IMPORT = "import"


class Regime(StrEnum):
    """The law a request is made under; it decides deadlines and how identity may be verified."""

    EU_GDPR = "eu_gdpr"
    UK_GDPR = "uk_gdpr"
    US_CA_CCPA = "us_ca_ccpa"
    US_CA_DELETE_ACT = "us_ca_delete_act_drop"
    US_VA = "us_va"
    US_CO = "us_co"
    US_CT = "us_ct"
    US_UT = "us_ut"
    US_TX = "us_tx"
    US_OR = "us_or"
    US_MT = "us_mt"
    US_FL = "us_fl"
    US_DE = "us_de"
    US_IA = "us_ia"
    US_NE = "us_ne"
    US_NH = "us_nh"
    US_NJ = "us_nj"
    US_TN = "us_tn"
    US_MN = "us_mn"
    US_MD = "us_md"
    US_IN = "us_in"
    US_KY = "us_ky"
    US_RI = "us_ri"
    US_OK = "us_ok"
    US_LA = "us_la"
    US_AL = "us_al"
    US_VT = "us_vt"
    BR_LGPD = "br_lgpd"
    CA_PIPEDA = "ca_pipeda"
    CA_QC_LAW25 = "ca_qc_law25"
    AU_APP = "au_app"
    CH_FADP = "ch_fadp"
    IN_DPDP = "in_dpdp"
    KR_PIPA = "kr_pipa"
    TW_PDPA = "tw_pdpa"
    SG_PDPA = "sg_pdpa"
    TH_PDPA = "th_pdpa"
    ZA_POPIA = "za_popia"
    SA_PDPL = "sa_pdpl"
    TR_KVKK = "tr_kvkk"
    NZ_PA2020 = "nz_pa2020"


class Subject(Model):
    """The data subject: one person's identities.

    A connector is always handed a subject narrowed to the one identity it should search by (see `Connector.find`), so
    ``subject.email`` is *the* address to look for.
    """

    identities: tuple[AnyIdentity, ...] = Field(min_length=1, max_length=50)

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, data: object) -> object:
        """Accept ``{"email": ..., "phone": ..., "first_name": ..., "last_name": ..., "user_id": ...}`` beside ``identities``."""
        if not isinstance(data, Mapping):
            return data
        rest = dict(data)
        found: list[object] = []
        for key, kind in (("email", "email"), ("phone", "phone"), ("user_id", "controller_id")):
            if key in rest:
                found.append({"kind": kind, "value": rest.pop(key)})
        if "first_name" in rest or "last_name" in rest:
            found.append({"kind": "name", "first": rest.pop("first_name", ""), "last": rest.pop("last_name", "")})
        if found and isinstance(rest.get("identities", []), list | tuple):
            rest["identities"] = [*rest.get("identities", ()), *found]
        return rest

    @model_validator(mode="after")
    def _someone(self) -> Self:
        if all(isinstance(identity, Name) for identity in self.identities):
            raise ValueError("a name alone identifies nobody: give an e-mail address, a phone number or an id")
        return self

    @classmethod
    def of(
        cls,
        email: str | None = None,
        *,
        phone: str | None = None,
        first_name: str = "",
        last_name: str = "",
        user_id: str | None = None,
        identities: Iterable[Identity] = (),
    ) -> Subject:
        """A subject from plain values. Raises `RequestError` naming the field that is wrong."""
        data: dict[str, Any] = {"identities": [identity.model_dump() for identity in identities]}
        given = {"email": email, "phone": phone, "user_id": user_id, "first_name": first_name or None, "last_name": last_name or None}
        data.update({key: value for key, value in given.items() if value is not None})
        return _validated(cls, data)

    def all(self, kind: type[_I]) -> tuple[_I, ...]:
        """Every identity of one kind, in the order given."""
        return tuple(identity for identity in self.identities if isinstance(identity, kind))

    def first(self, kind: type[_I]) -> _I:
        """The first identity of one kind. Raises `MissingIdentityError` when there is none."""
        for identity in self.identities:
            if isinstance(identity, kind):
                return identity
        raise MissingIdentityError(f"the data subject has no {kind.model_fields['kind'].default}")

    def has(self, kind: type[Identity]) -> bool:
        """Whether the subject has an identity of this kind."""
        return any(isinstance(identity, kind) for identity in self.identities)

    @property
    def email(self) -> str:
        """The first e-mail address, normalised. Raises `MissingIdentityError` when there is none."""
        return self.first(Email).value

    @property
    def phone(self) -> str:
        """The first telephone number, E.164. Raises `MissingIdentityError` when there is none."""
        return self.first(Phone).value

    @property
    def user_id(self) -> str:
        """The first id of the controller's own. Raises `MissingIdentityError` when there is none."""
        return self.first(ControllerId).value

    @property
    def name(self) -> Name | None:
        """The person's name, when it is known."""
        return next(iter(self.all(Name)), None)

    def narrowed(self, identity: AnyIdentity) -> Subject:
        """This subject with `identity` as its only searchable identity (the name stays, for letters)."""
        return Subject.model_construct(identities=(identity, *(name for name in self.all(Name) if name is not identity)))

    def widened(self, identities: Iterable[AnyIdentity]) -> Subject:
        """This subject with further identities; those already known are left as they are."""
        known = {identity.key for identity in self.identities}
        added: list[AnyIdentity] = []
        for identity in identities:
            if identity.key not in known:
                known.add(identity.key)
                added.append(identity)
        return Subject.model_construct(identities=(*self.identities, *added)) if added else self


CustomValue = str | int | float | bool


class EmailEvidence(Model):
    """One e-mail that the company sent to the person, found in the person's mailbox: it helps to find them in the company's systems.

    Attributes:
        sent_at: The date of the e-mail.
        subject: Its subject line.
        from_address: The address in the company that sent it.
        reply_to: Where answers to it go, when it says so.
    """

    sent_at: AwareDatetime
    subject: str = Field(max_length=998)
    from_address: str = Field(min_length=3, max_length=320)
    reply_to: str | None = Field(None, max_length=320)


class Request(Model):
    """One request of one data subject, as it came in. Frozen; its ``repr`` shows no personal data.

    Attributes:
        case: The case number, random unless given.
        reference: The caller's own id of the request; submitting the same reference twice gives the same case.
        received_at: When it was received (with time zone): deadlines count from here.
        custom_fields: What a controller's own form asks beyond this, at most 50 fields. ``correction`` is what a right to edit is about: what
            is wrong, and what it should be.
        email_evidence: The last e-mails from the company in the person's mailbox, the newest first; of more than three the newest stay.
        language: BCP 47 tag of the language to answer in.
    """

    type: RequestType
    subject: Subject
    scope: Scope = Scope.ACCOUNT
    channel: Channel = Channel.API
    regime: Regime | None = None
    country: str | None = Field(None, pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2 code of the country of residence")
    region: str | None = Field(None, pattern=r"^[A-Z]{2}-[A-Z0-9]{1,3}$", description="ISO 3166-2 code of the state or province: US-CA, CA-QC")
    language: str = Field("en", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")
    custom_fields: dict[str, CustomValue] = Field(default_factory=dict, max_length=50)
    email_evidence: tuple[EmailEvidence, ...] = Field((), max_length=50)
    reference: str | None = Field(None, min_length=1, max_length=200)
    case: str = Field(default_factory=new_case_number, pattern=f"^{CASE_NUMBER.pattern}$")
    received_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))

    @field_validator("custom_fields")
    @classmethod
    def _bounded(cls, value: dict[str, CustomValue]) -> dict[str, CustomValue]:
        for key, item in value.items():
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", key):
                raise ValueError("has a field whose name is not letters, digits and underscores")
            if isinstance(item, str) and len(item) > 10_000:
                raise ValueError("has a field longer than 10,000 characters")
        return value

    @field_validator("email_evidence")
    @classmethod
    def _last_three(cls, value: tuple[EmailEvidence, ...]) -> tuple[EmailEvidence, ...]:
        return tuple(sorted(value, key=lambda email: email.sent_at, reverse=True)[:3])

    @model_validator(mode="after")
    def _region_is_of_the_country(self) -> Self:
        if self.region is not None and self.country not in (None, self.region[:2]):
            raise ValueError("region lies in another country than country says")
        return self

    @model_validator(mode="after")
    def _scope_is_for_deletion(self) -> Self:
        if self.scope is Scope.APP_DATA and self.type is not RequestType.DELETION:
            raise ValueError("scope app_data is for deletion only")
        return self

    def __repr__(self) -> str:
        return f"<Request {self.case} {self.type.value}>"

    __str__ = __repr__

    @classmethod
    def parse(cls, data: bytes | str | Mapping[str, Any], *, source: str | None = None) -> Request:
        """A request from JSON text or a mapping.

        Args:
            data: The JSON text or an already parsed object.
            source: Where it came from (``requests.jsonl:3``), named in the error.

        Raises:
            RequestError: Names each wrong field and never repeats a value.
        """
        return _validated(cls, data, source=source)


_M = TypeVar("_M", bound=Model)


def _validated(model: type[_M], data: bytes | str | Mapping[str, Any], *, source: str | None = None) -> _M:
    try:
        if isinstance(data, bytes | str):
            return model.model_validate_json(data)
        return model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_input=False, include_context=False)
        inner = {detail["loc"][:-2] for detail in details} | {detail["loc"][:-3] for detail in details}
        # An identity that is wrong also leaves the list of identities too short: one of the two messages says it all.
        told = [detail for detail in details if not (detail["type"] == "too_short" and detail["loc"] in inner)]
        problems = [_problem(detail["loc"], detail["type"], detail["msg"]) for detail in told]
        fields = ", ".join(dict.fromkeys(field for field, _ in problems if field))
        text = "; ".join(dict.fromkeys(f"{field} {message}" if field else message for field, message in problems))
        raise RequestError(text, source=source, fix=_hint(fields)) from None


_KINDS = frozenset(kind.model_fields["kind"].default for kind in (Email, Phone, Name, ControllerId, VendorId))
_WORDS = frozenset({"bool", "float", "int", "str", *_KINDS})  # what pydantic calls the alternatives of a union


def _known_words() -> frozenset[str]:
    models = (Request, EmailEvidence, Subject, Email, Phone, Name, ControllerId, VendorId)
    return _WORDS.union(*(model.model_fields for model in models))


def _problem(loc: tuple[str | int, ...], kind: str, message: str) -> tuple[str, str]:
    """A field path and a sentence about it, with nothing in either that the requester wrote."""
    known = _known_words()
    parts = [str(part) if part in known or (isinstance(part, int) and 0 <= part < 100) else "(field)" for part in loc]
    path = ".".join(part for i, part in enumerate(parts) if not (part in _KINDS and i and parts[i - 1].isdigit()))
    if kind == "json_invalid":
        return "", "is not valid JSON"
    if kind in ("union_tag_invalid", "union_tag_not_found"):  # pydantic's sentence about it repeats what was given
        return path, f"needs a kind: {', '.join(sorted(_KINDS))}"
    if kind == "extra_forbidden":
        return path, "is not a field of a request"
    if kind == "missing":
        return path, "is missing"
    return path, message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _hint(fields: str) -> str | None:
    return "the JSON schema of a request is in docs/request.md" if fields else None
