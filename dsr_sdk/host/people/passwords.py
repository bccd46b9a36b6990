"""Passwords of agents: argon2id, the same work whether or not there is an account, and never more hashing at once than the machine bears."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from dsr_sdk.errors import ConfigError, RequestError, TransientError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

__all__ = ["COST", "LONGEST", "SHORTEST", "Cost", "Passwords", "checked"]

SHORTEST: Final = 12
"""Characters a password has at least. Length is all that is asked for: rules about digits and signs make passwords that are written down
(NIST SP 800-63B, 5.1.1.2)."""

LONGEST: Final = 1024
"""Characters a password has at most."""

_TELLING: Final = 4  # shorter parts of an account's name are in many good passwords by chance
_AT_ONCE: Final = 2
_PATIENCE: Final = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Cost:
    """What hashing one password costs.

    Attributes:
        memory: In KiB.
        passes: Over that memory.
        lanes: Threads.
    """

    memory: int
    passes: int
    lanes: int


COST: Final = Cost(memory=65_536, passes=3, lanes=4)
"""The second recommended choice of RFC 9106, section 4, for where 2 GiB a password is too much: 64 MiB, three passes, four lanes. It is more
than the least that OWASP's Password Storage Cheat Sheet asks for (19 MiB, two passes, one lane)."""


def checked(password: str, account: str) -> str:
    """A password as it is hashed: NFKC, so that it is the same on every keyboard.

    Raises:
        RequestError: It is too short, too long, or tells the account. The message does not repeat it.
    """
    password = unicodedata.normalize("NFKC", password)
    if len(password) < SHORTEST:
        raise RequestError(f"needs at least {SHORTEST} characters", field="password", fix="a sentence is easier to remember than signs")
    if len(password) > LONGEST:
        raise RequestError(f"has more than {LONGEST} characters", field="password")
    lower, local = password.casefold(), account.partition("@")[0].casefold()
    if account.casefold() in lower or (len(local) >= _TELLING and local in lower):
        raise RequestError("holds the name of the account", field="password", fix="choose another one")
    return password


class Passwords:
    """Hashes and verifies. Threads may share it.

    At most two passwords are hashed at a time: each takes 64 MiB and all the processor it gets, and a flood of sign-ins must not take both
    from the engine beside it.
    """

    def __init__(self, cost: Cost = COST) -> None:
        self.cost = cost
        self._slots = threading.BoundedSemaphore(_AT_ONCE)

    @cached_property
    def _hasher(self) -> PasswordHasher:
        try:
            from argon2 import PasswordHasher, Type
        except ImportError:
            raise ConfigError("accounts need argon2-cffi, which is not installed", fix="run: pip install 'dsr-sdk[portal]'") from None
        return PasswordHasher(time_cost=self.cost.passes, memory_cost=self.cost.memory, parallelism=self.cost.lanes, type=Type.ID)

    @cached_property
    def _nobodys(self) -> str:
        """A hash that is no account's, and costs what theirs do."""
        return self._hasher.hash("nobody has this password")

    def hash(self, password: str) -> str:
        """The hash to store, with salt and parameters. Check the password with `checked` before."""
        with self._slot():
            return self._hasher.hash(password)

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether a password is the one of a stored hash. Without a stored one it does the same work and says no.

        Raises:
            TransientError: Too many are waiting to be verified.
        """
        from argon2.exceptions import InvalidHashError, VerificationError

        hasher, against = self._hasher, stored or self._nobodys
        with self._slot():
            try:
                hasher.verify(against, unicodedata.normalize("NFKC", password[: LONGEST * 2]))
            except (VerificationError, InvalidHashError):
                return False
        return stored is not None

    def outdated(self, stored: str) -> bool:
        """Whether a stored hash was made at another cost than today's: hash anew when its password is next at hand."""
        return self._hasher.check_needs_rehash(stored)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=_PATIENCE):
            raise TransientError("too many passwords are being checked at the moment", retry_after=_PATIENCE)
        try:
            yield
        finally:
            self._slots.release()
