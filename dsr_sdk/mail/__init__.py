"""E-mail: the letters that ask a vendor's privacy address, and how they are sent. See ``docs/mail.md``."""

from __future__ import annotations

from dsr_sdk.mail.compose import NOT_GIVEN, Letter, Letterhead, deletion_letter
from dsr_sdk.mail.headers import checked_address, checked_header, checked_line
from dsr_sdk.mail.message import build_message, message_id
from dsr_sdk.mail.post import Post
from dsr_sdk.mail.send import Mailer, MailSettings, Receipt

__all__ = [
    "NOT_GIVEN",
    "Letter",
    "Letterhead",
    "MailSettings",
    "Mailer",
    "Post",
    "Receipt",
    "build_message",
    "checked_address",
    "checked_header",
    "checked_line",
    "deletion_letter",
    "message_id",
]
