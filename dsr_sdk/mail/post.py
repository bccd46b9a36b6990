"""The post: letters, in one company's name, through one mail server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dsr_sdk.mail.compose import Letter, Letterhead
from dsr_sdk.mail.message import build_message
from dsr_sdk.mail.send import Mailer, Receipt

__all__ = ["Post"]


@dataclass(frozen=True, slots=True)
class Post:
    """What the engine is handed to send letters with: in whose name, and through which server.

    Attributes:
        auto_submitted: Whether letters say that a program sent them; see `build_message`.
    """

    letterhead: Letterhead
    mailer: Mailer
    auto_submitted: bool = True

    def __repr__(self) -> str:
        return "<Post>"

    def send(self, letter: Letter, *, key: str, before_data: Callable[[], None] | None = None) -> Receipt:
        """Send a letter, once. The same `key` gives the same Message-ID. Raises what `Mailer.send` raises."""
        return self.mailer.send(build_message(letter, key, auto_submitted=self.auto_submitted), before_data=before_data)
