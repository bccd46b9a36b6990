"""The QR code of a second factor: what is drawn is the code, and what is too long is said."""

from __future__ import annotations

import re

import pytest
import segno

from dsr_sdk.portal.qr import path


def test_what_is_drawn_is_the_code() -> None:
    """Every dark module once, four modules of white around, and nothing else."""
    text = "otpauth://totp/Example:alice%40example.com?secret=JBSWY3DPEHPK3PXP&issuer=Example"
    side, drawn = path(text)
    squares = [(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", drawn)]
    expected = segno.make(text, error="m", micro=False).matrix
    assert side == len(expected) + 8
    assert sorted(squares) == sorted((x + 4, y + 4) for y, row in enumerate(expected) for x, module in enumerate(row) if module)


def test_too_long() -> None:
    """The page then shows the key to be typed."""
    with pytest.raises(ValueError, match="data"):
        path("x" * 3000)
