"""A form that came in: its fields as text, numbers, dates, files. What is not there is empty, what is not readable names its field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from dsr_sdk.errors import RequestError

__all__ = ["Form"]


class Form:
    """The fields of one form. ``repr`` hides them.

    Raises:
        RequestError: From its methods, for a value that is not what was asked for; names the field, never the value.
    """

    def __init__(self, data: FormData) -> None:
        self._data = data

    @classmethod
    async def read(cls, request: Request) -> Form:
        """Read the body of a request, once."""
        return cls(await request.form(max_files=20, max_fields=5000, max_part_size=512 * 1024))

    def __repr__(self) -> str:
        return "<Form>"

    def __contains__(self, name: str) -> bool:
        return name in self._data

    def text(self, name: str, default: str = "") -> str:
        """One line or many, without the blanks around it; line ends as ``\\n``."""
        value = self._data.get(name, default)
        return value.replace("\r\n", "\n").strip() if isinstance(value, str) else default

    def secret(self, name: str) -> str:
        """A password, exactly as typed."""
        value = self._data.get(name, "")
        return value if isinstance(value, str) else ""

    def needed(self, name: str, label: str | None = None) -> str:
        """A text that may not be empty."""
        value = self.text(name)
        if not value:
            raise RequestError("is missing", field=label or name, fix="fill it in")
        return value

    def flag(self, name: str) -> bool:
        """Whether a box is ticked."""
        return self.text(name) not in ("", "0", "false", "off")

    def number(self, name: str) -> int:
        """A whole number that must be there, such as the ``revision`` a page has shown."""
        value = self.text(name)
        if not value.removeprefix("-").isdecimal() or len(value) > 12:
            raise RequestError("is not a number", field=name, fix="load the page again")
        return int(value)

    def day(self, name: str) -> date | None:
        """A day; None when it is empty."""
        value = self.text(name)
        if not value:
            return None
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise RequestError("is not a day", field=name, fix="write it as 2026-01-31") from None

    def list(self, name: str) -> list[str]:
        """Every value of a name: the boxes that are ticked."""
        return [value for value in self._data.getlist(name) if isinstance(value, str)]

    def files(self, name: str) -> Sequence[UploadFile]:
        """Files that were chosen. ``upload.file`` is a binary stream, ``upload.filename`` what the person calls it."""
        return [value for value in self._data.getlist(name) if isinstance(value, UploadFile) and value.filename]

    def everything(self) -> Sequence[str]:
        """Every text and every name of it, whatever it is for."""
        return [text for name, value in self._data.multi_items() for text in (name, value) if isinstance(text, str)]

    def pairs(self) -> Sequence[tuple[str, str]]:
        """Every field that is text, with its name, without the token; a name as often as it was sent."""
        return [(name, value) for name, value in self._data.multi_items() if isinstance(value, str) and name != "csrf"]

    def texts(self) -> Mapping[str, str]:
        """Every field that is text, the last value of each name, without the token."""
        return {name: value for name, value in self._data.multi_items() if isinstance(value, str) and name != "csrf"}
