"""The key of a second factor as a QR code: drawn on the server as one SVG path, because no script may run and no image may be fetched."""

from __future__ import annotations

import segno

__all__ = ["path"]

_QUIET = 4  # modules of white around it, as ISO/IEC 18004 asks


def path(text: str) -> tuple[int, str]:
    """A QR code as the side of its square, quiet zone included, and the ``d`` of one SVG path.

    Raises:
        ValueError: The text is longer than a QR code takes (2,331 bytes at error correction M).
    """
    code = segno.make(text, error="m", micro=False)  # segno's DataOverflowError is a ValueError
    dark = [f"M{x + _QUIET} {y + _QUIET}h1v1h-1z" for y, row in enumerate(code.matrix) for x, module in enumerate(row) if module]
    return len(code.matrix) + 2 * _QUIET, "".join(dark)
