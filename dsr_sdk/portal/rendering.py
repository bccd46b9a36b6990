"""Templates: one Jinja environment, escaping everything, in which an undefined name is an error; and the words pages use for our codes."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from dsr_sdk.host.people.roles import Permission
from dsr_sdk.host.words import MAIL_KINDS, STATES, WORDS, channel_words, words

__all__ = ["HERE", "MAIL_KINDS", "STATES", "WORDS", "ago", "channel_words", "environment", "static", "words"]

HERE = Path(__file__).parent


@cache
def _digest(path: str) -> str:
    return hashlib.sha256((HERE / "static" / path).read_bytes()).hexdigest()[:12]


def static(path: str) -> str:
    """The address of a static file; it changes with the file's contents, so that browsers may keep it for ever."""
    return f"/static/{path}?v={_digest(path)}"


def _moment(value: datetime) -> str:
    value = value.astimezone(UTC)
    return f"{value.day} {value:%b %Y}, {value:%H:%M} UTC"


def _day(value: date) -> str:
    if isinstance(value, datetime):
        value = value.astimezone(UTC)
    return f"{value.day} {value:%b %Y}"


def when(value: datetime | None, missing: str = "–") -> Markup:
    """A moment, in UTC, for people and for machines."""
    if value is None:
        return Markup("{}").format(missing)
    return Markup('<time datetime="{}">{}</time>').format(value.astimezone(UTC).isoformat(timespec="seconds"), _moment(value))


def day(value: date | None, missing: str = "–") -> Markup:
    """A day; the exact moment, when there is one, is in the tooltip."""
    if value is None:
        return Markup("{}").format(missing)
    if isinstance(value, datetime):
        stamp = value.astimezone(UTC).isoformat(timespec="seconds")
        return Markup('<time datetime="{}" title="{}">{}</time>').format(stamp, _moment(value), _day(value))
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(), _day(value))


def ago(value: datetime, now: datetime | None = None) -> str:
    """How far away a moment is: *in 3 days*, *5 minutes ago*."""
    seconds = ((now or datetime.now(UTC)) - value).total_seconds()
    size = abs(seconds)
    for length, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if size >= length:
            count = int(size // length)
            text = f"{count} {name}{'' if count == 1 else 's'}"
            return f"{text} ago" if seconds > 0 else f"in {text}"
    return "just now" if seconds >= 0 else "in a moment"


def due(value: datetime | None, soon_days: int = 7) -> dict[str, str]:
    """How near a due date is: ``text`` and ``tone`` for a badge; no text when nothing is due."""
    if value is None:
        return {"text": "", "tone": "quiet"}
    left = (value - datetime.now(UTC)).total_seconds() / 86400
    if left < 0:
        days = int(-left)
        return {"text": "Overdue today" if days == 0 else f"{days} day{'' if days == 1 else 's'} overdue", "tone": "bad"}
    days = int(left)
    text = "Due today" if days == 0 else f"{days} day{'' if days == 1 else 's'} left"
    return {"text": text, "tone": "warn" if left <= soon_days else "quiet"}


def address(value: str) -> Markup:
    """An e-mail address that may be broken behind its @ and before its dots, and nowhere else as long as it fits so."""
    shown = Markup("").join(Markup("<wbr>.") if letter == "." else Markup("@<wbr>") if letter == "@" else escape(letter) for letter in value)
    return Markup('<span class="address">{}</span>').format(shown)


def size(value: int) -> str:
    """A number of bytes for people."""
    amount = float(value)
    for unit in ("bytes", "KB", "MB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GB"


def plural(count: int, one: str, many: str | None = None) -> str:
    """``3 sources``, ``1 source``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


@cache
def environment() -> Environment:
    """The one environment. ``ui`` in every template is the module of macros; see ``templates/ui.html``."""
    env = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.filters.update(when=when, day=day, ago=ago, words=words, channel=channel_words, size=size, address=address)
    globals_: dict[str, Any] = {"static": static, "Permission": Permission, "due_in": due, "plural": plural}
    env.globals.update(globals_)
    env.globals["ui"] = env.get_template("ui.html").module
    return env
