"""E-mail: the letters that ask a vendor's privacy address, and how they are sent."""

from __future__ import annotations

from dsr_sdk.mail.compose import Letter, Letterhead

__all__ = ["Letter", "Letterhead"]
