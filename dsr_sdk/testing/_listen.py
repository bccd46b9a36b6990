"""Hears everything that is said while a connector works, and knows what must not be."""

from __future__ import annotations

import contextlib
import io
import logging
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

from dsr_sdk.testing.scenario import World

__all__ = ["Leak", "Listener", "listening", "secrets_of"]


KIND: Final = "the secret "

BEGINNING: Final = 8
"""So much of a secret is said by nobody who masks it as vendors do (``sk_l...``), and it is enough to find the rest in a leaked list."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A value that was said where it must not be."""

    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.what} in {self.where}"


@dataclass
class Listener(logging.Handler):
    """Hears every log record of every logger, what is printed, and what it is shown; and knows what must not be in it."""

    secrets: Mapping[str, str]
    """What must not be said, by what it is."""
    heard: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.DEBUG)

    __hash__ = logging.Handler.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what a formatter could print of the record."""
        text = f"{record.getMessage()} {record.__dict__!r}"
        if record.exc_info and record.exc_info[1]:
            text += "".join(traceback.format_exception(record.exc_info[1]))
        self.heard.append((f"a log record of {record.name}", text))

    def show(self, where: str, thing: object) -> None:
        """Hear an object's ``repr`` and ``str``; of an error also its traceback."""
        self.heard.append((where, f"{thing!r} {thing!s}"))
        if isinstance(thing, BaseException):
            self.heard.append((f"the traceback of {where}", "".join(traceback.format_exception(thing))))

    def leaks(self) -> list[Leak]:
        """What was said."""
        found: dict[Leak, None] = {}
        for where, text in self.heard:
            folded = text.casefold()
            for what, value in self.secrets.items():
                if value.casefold() in folded:
                    found[Leak(what, where)] = None
                elif what.startswith(KIND) and len(value) > BEGINNING and value[:BEGINNING].casefold() in folded:
                    found[Leak(f"the beginning of {what}", where)] = None
        return list(found)


@contextlib.contextmanager
def listening(secrets: Mapping[str, str]) -> Iterator[Listener]:
    """Listen to everything that is logged or printed while the block runs, at DEBUG, whatever the loggers are set to."""
    listener = Listener(secrets)
    loggers = [logging.getLogger(), *(one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger))]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    disabled = logging.root.manager.disable
    printed = io.StringIO()
    try:
        logging.disable(logging.NOTSET)
        for logger in loggers:
            logger.setLevel(logging.DEBUG)
            logger.disabled = False
            if logger is logging.root or not logger.propagate:
                logger.addHandler(listener)
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            yield listener
    finally:
        logging.disable(disabled)
        for logger, level, off in before:
            logger.removeHandler(listener)
            logger.setLevel(level)
            logger.disabled = off
        listener.heard.append(("what was printed", printed.getvalue()))


def secrets_of(world: World) -> dict[str, str]:
    """The secret settings of a configured connector, by name: those that are long enough to be told from ordinary words."""
    config = world.connector.config
    values = {name: getattr(config, name) for name in type(config).model_fields}
    return {f"{KIND}{name}": value.get_secret_value() for name, value in values.items() if isinstance(value, SecretStr) and len(value) >= 6}
