"""A data source that a person looks through by hand: a filing cabinet, a spreadsheet, a system without API or privacy address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from dsr_sdk import Category, Connector, ConnectorConfig, Match, Process, Subject, Unsupported, UnsupportedError
from dsr_sdk.mail import checked_line

if TYPE_CHECKING:
    from dsr_sdk.http import Api

__all__ = ["Manual"]


class Manual(Connector):
    """By hand: the request's checklist names this data source, its owner and what to do; a person does it and ticks it off. What is
    retained, that person says. It searches nothing, so that *nobody looked* never reads as *nothing found*."""

    slug, title, category = "manual", "By hand", Category.CUSTOM
    process = Process.MANUAL
    evidence = ()

    class Config(ConnectorConfig):
        """What the checklist shows."""

        instructions: str = Field(min_length=1, max_length=5_000, description="what to do, step by step; shown to the owner")
        instructions_deletion: str | None = Field(None, max_length=5_000, description="instead of them for a deletion")
        instructions_copy: str | None = Field(None, max_length=5_000, description="instead of them for a copy: what to collect")
        owner: str = Field(description="who does it: a person, a team or an address")

        @field_validator("instructions", "instructions_deletion", "instructions_copy")
        @classmethod
        def _says_something(cls, value: str | None) -> str | None:
            if value is not None and not value.strip():
                raise ValueError("is empty")
            return value

        @field_validator("owner")
        @classmethod
        def _one_line(cls, value: str) -> str:
            return checked_line(value)

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        """Refused: an empty answer would read as *nothing held*, and nobody has looked."""
        raise UnsupportedError("only its owner can look, by hand", source=self.name)

    erase = Unsupported("done by hand: the owner erases and ticks it off")
    export = Unsupported("done by hand: the owner collects the copy and attaches it")
    opt_out = Unsupported("done by hand: the owner opts the person out and ticks it off")
    email = Unsupported("done by hand: nobody is written to")
