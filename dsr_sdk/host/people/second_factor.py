"""The second factor: codes of an authenticator app (TOTP, RFC 6238), each good once, and recovery codes for the day the telephone is gone."""

from __future__ import annotations

import hmac
import json
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Final

from dsr_sdk.errors import ConfigError
from dsr_sdk.ledger.vault import Vault

__all__ = ["PERIOD", "RECOVERY_CODES", "Factor", "SecondFactor"]

PERIOD: Final = 30
"""Seconds a code lasts. The one before and the one after count too, for clocks that are a little off."""

RECOVERY_CODES: Final = 10
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
_CONTEXT: Final = "accounts.sealed_totp"


@dataclass(frozen=True, slots=True)
class Factor:
    """What a sealed second factor holds; ``repr`` hides it."""

    secret: str
    recovery: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Factor with {len(self.recovery)} recovery codes>"


class SecondFactor:
    """Makes, seals and checks second factors. It keeps no state: what was used up is written by its caller."""

    def __init__(self, vault: Vault, issuer: str) -> None:
        self._vault = vault
        self._issuer = issuer

    def new(self) -> Factor:
        """A fresh secret (160 bits, as RFC 4226 recommends)."""
        return Factor(str(_pyotp().random_base32()))

    def uri(self, account: str, factor: Factor) -> str:
        """What an authenticator app reads from a QR code. Holds the secret."""
        return str(_pyotp().TOTP(factor.secret, interval=PERIOD).provisioning_uri(name=account, issuer_name=self._issuer))

    def seal(self, factor: Factor) -> bytes:
        """As it is stored."""
        return self._vault.box().seal(json.dumps({"secret": factor.secret, "recovery": factor.recovery}).encode(), _CONTEXT)

    def open(self, sealed: bytes) -> Factor:
        """The inverse of `seal`. Raises `VaultError` under another master key."""
        data = json.loads(self._vault.box().open(sealed, _CONTEXT))
        return Factor(data["secret"], tuple(data["recovery"]))

    def step(self, factor: Factor, code: str, now: datetime) -> int | None:
        """The time step a code belongs to; None when it is not good now. Whoever asks makes sure that a step counts once."""
        given = re.sub(r"\s", "", code)
        totp, current = _pyotp().TOTP(factor.secret, interval=PERIOD), int(now.timestamp()) // PERIOD
        found = None
        for step in (current - 1, current, current + 1):
            if hmac.compare_digest(totp.generate_otp(step).encode(), given.encode()):
                found = step
        return found

    def recovery_codes(self, account: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Fresh recovery codes: as they are shown once, and as they are kept (keyed hashes)."""
        shown = tuple("-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(2)) for _ in range(RECOVERY_CODES))
        return shown, tuple(self._digest(account, code) for code in shown)

    def without(self, account: str, factor: Factor, code: str) -> Factor | None:
        """The factor with a recovery code used up; None when it is none of them."""
        digest = self._digest(account, code)
        kept = tuple(one for one in factor.recovery if not hmac.compare_digest(one, digest))
        return Factor(factor.secret, kept) if len(kept) < len(factor.recovery) else None

    def _digest(self, account: str, code: str) -> str:
        return self._vault.fingerprint("recovery", account, re.sub(r"[\s-]", "", code).lower()).hex()


def _pyotp() -> ModuleType:
    try:
        import pyotp
    except ImportError:
        raise ConfigError("a second factor needs pyotp, which is not installed", fix="run: pip install 'dsr-sdk[portal]'") from None
    return pyotp
