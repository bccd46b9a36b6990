"""Any vendor without an API: a letter to its privacy address asks it to delete a person's data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from pydantic import Field, field_validator, model_validator

from dsr_sdk import (
    Category,
    ConfigError,
    Connector,
    ConnectorConfig,
    Email,
    Match,
    Process,
    RequestType,
    Subject,
    Unsupported,
    UnsupportedError,
)
from dsr_sdk.mail import Letter, Letterhead, checked_address, checked_header, deletion_letter

if TYPE_CHECKING:
    from dsr_sdk.http import Api

__all__ = ["EmailIntegration"]


class EmailIntegration(Connector):
    """E-mail integration: the vendor is written to and deletes by itself. Nothing is known to be deleted until it answers, and what it
    retains it says in its answer."""

    slug, title, category = "email", "E-mail integration", Category.CUSTOM
    process = Process.EMAIL
    identified_by = (Email,)
    evidence = ()

    class Config(ConnectorConfig):
        """One vendor, one privacy address. Off until it is activated, and not activable without the address."""

        vendor: str = Field(description="the vendor's name, as letters and the portal show it")
        privacy_address: str | None = Field(None, description="the vendor's address for privacy requests")
        active: bool = Field(False, description="whether letters are sent: a letter cannot be unsent, so somebody has to say so")
        cc_support: bool = Field(True, description="whether the letterhead's copy (the support team) is sent, personal data included")

        @field_validator("vendor")
        @classmethod
        def _one_line(cls, value: str) -> str:
            return checked_header(value, limit=100)

        @field_validator("privacy_address")
        @classmethod
        def _one_address(cls, value: str | None) -> str | None:
            return None if value is None else checked_address(value)

        @model_validator(mode="after")
        def _activable(self) -> Self:
            if self.active and self.privacy_address is None:
                raise ValueError("an e-mail integration cannot be activated without privacy_address, the vendor's address for privacy requests")
            return self

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        """Refused: an empty answer would read as *nothing held*, and nobody has looked."""
        raise UnsupportedError("nothing can be looked up by e-mail", source=self.name)

    def email(self, subject: Subject, type: RequestType, letterhead: Letterhead) -> Letter:
        """The letter that asks for deletion; any other type of request is refused."""
        if type is not RequestType.DELETION:
            raise UnsupportedError(f"e-mail integrations only ask for deletion, not for {type.value}", source=self.name)
        if not self.config.active:
            raise ConfigError("the e-mail integration is not activated", source=self.name, field="active", fix="set active = true")
        return deletion_letter(
            subject,
            type,
            letterhead,
            to=self.config.privacy_address,
            vendor=self.config.vendor,
            cc=self.config.cc_support,
            source=self.name,
        )

    erase = Unsupported("asked by e-mail: the vendor deletes by itself and answers")
    export = Unsupported("e-mail integrations only ask for deletion")
    opt_out = Unsupported("e-mail integrations only ask for deletion")
