"""The tables of ``dsr.toml`` that request handling reads: ``[workflow]``, ``[privacy_center]``, ``[portal]`` and ``[discovery]``."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator, model_validator

from dsr_sdk._model import Model
from dsr_sdk.request import Regime, RequestType

__all__ = [
    "CsvDiscovery",
    "DiscoverySettings",
    "FieldKind",
    "FormField",
    "OidcSettings",
    "OktaDiscovery",
    "PortalSettings",
    "PrivacyCenterSettings",
    "WorkflowSettings",
]


class WorkflowSettings(Model):
    """``[workflow]``: with this table in ``dsr.toml`` every request goes through review, process, reply and close.

    Without it, the host application has a workflow of its own, and plans and approves as it likes.
    """

    regime: Regime | None = Field(None, description="the law of requests that name none and whose country tells none")
    holidays: tuple[date, ...] = Field((), description="days that are no working days, beside Saturdays and Sundays")
    due_soon_days: int = Field(7, ge=0, le=90)
    public_url: str = Field(
        "http://127.0.0.1:8765", pattern=r"^https?://[^\s/?#]+$", description="where people reach the portal: links begin with it"
    )
    link_days: int = Field(14, ge=1, le=90, description="how long a link to answer or to verify an address holds")
    copy_days: int = Field(7, ge=1, le=90, description="how long the link to a copy holds")
    keep_days: int | None = Field(None, ge=1, description="days after closing when a case's personal data is shredded; None keeps it")
    max_file_mb: int = Field(25, ge=1, le=1000, description="the largest file that may be attached")


class FieldKind(StrEnum):
    """What a field of the privacy center's form takes."""

    TEXT = "text"
    LONG_TEXT = "long_text"
    NUMBER = "number"
    CHOICE = "choice"
    YES_NO = "yes_no"
    PHONE = "phone"
    COUNTRY = "country"


class FormField(Model):
    """``[[privacy_center.fields]]``: something the form asks beside name, address and type of request."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")
    label: dict[str, str] = Field(min_length=1, description="by language")
    kind: FieldKind = FieldKind.TEXT
    required: bool = False
    choices: tuple[str, ...] = ()
    help: dict[str, str] = Field(default_factory=dict)
    types: tuple[RequestType, ...] = Field((), description="only for these types of request; empty for all")

    @model_validator(mode="after")
    def _has_choices(self) -> FormField:
        if (self.kind is FieldKind.CHOICE) != bool(self.choices):
            raise ValueError("choices belong to a field of kind choice, and to no other")
        return self


class PrivacyCenterSettings(Model):
    """``[privacy_center]``: the public form."""

    enabled: bool = True
    title: dict[str, str] = Field(default_factory=dict, description="by language; the company's name otherwise")
    types: tuple[RequestType, ...] = tuple(RequestType)
    languages: tuple[str, ...] = ("en", "de", "fr", "es")
    fields: tuple[FormField, ...] = ()
    policy_url: str | None = None
    per_address_hour: int = Field(3, ge=1, description="requests that one e-mail address may send an hour")
    per_client_hour: int = Field(20, ge=1, description="requests that one network address may send an hour")


class OidcSettings(Model):
    """``[portal.oidc]``: sign-in at the company's own identity provider (OpenID Connect)."""

    issuer: str = Field(pattern=r"^https?://[^\s?#]+$")
    client_id: str = Field(min_length=1)
    client_secret: str = Field(description="a reference: env:, file: or keyring:")
    title: str = "single sign-on"


class PortalSettings(Model):
    """``[portal]``"""

    idle_minutes: int = Field(60, ge=1, le=1440, description="a session ends after so long without a request")
    session_hours: int = Field(12, ge=1, le=168, description="a session ends after so long in any case")
    secure_cookies: Literal["auto", "always"] = Field("auto", description="auto: wherever public_url is https")
    trust_proxy: bool = Field(False, description="believe X-Forwarded-For of the proxy in front; never without one")
    notice: str = Field("", max_length=300, description="a line above every page of people with an account: that this is a test, for example")
    oidc: OidcSettings | None = None


class OktaDiscovery(Model):
    """``[discovery.okta]``: the applications that are assigned in Okta."""

    domain: str = Field(
        pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+$",
        description="the company's own, without https://: example.okta.com",
    )
    token: str = Field(description="a reference: env:, file: or keyring:")
    scheme: Literal["ssws", "bearer"] = Field("ssws", description="ssws: an API token; bearer: an OAuth 2.0 access token with okta.apps.read")

    @field_validator("token")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        if not value.startswith(("env:", "file:", "keyring:")):
            raise ValueError("is written in the open; use env:, file: or keyring:")
        return value


class CsvDiscovery(Model):
    """``[discovery.csv]``: a list of vendors, as procurement or bookkeeping keeps one."""

    path: str = Field(min_length=1, description="relative to dsr.toml; needs a column title")


class DiscoverySettings(Model):
    """``[discovery]``: where systems that the company uses are looked for."""

    okta: OktaDiscovery | None = None
    csv: CsvDiscovery | None = None
