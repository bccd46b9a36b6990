"""The vault: every key the ledger uses, derived from one master key that never stands in the database.

Personal data is sealed under a key of its case; the case key stands in the ledger wrapped by the master key. Deleting the wrapped key
(*shredding* the case) therefore erases the person from every table, spool and backup taken since, at the price of one small column.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import threading
from collections import OrderedDict
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from dsr_sdk.errors import VaultError

__all__ = ["CaseKey", "MasterKey", "Vault", "is_signed"]

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_CACHED_KEYS: Final = 4096  # about 2 MB; a drain works on far fewer cases at a time


class MasterKey:
    """The 32 random bytes that open everything. Whoever loses them loses the ledger's personal data; whoever has them can read it.

    Raises:
        VaultError: The secret is not 32 bytes long.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _KEY_BYTES:
            raise VaultError(f"a master key has {_KEY_BYTES} bytes, this one has {len(secret)}", fix="make one with: dsr init")
        self._secret = bytes(secret)

    @classmethod
    def generate(cls) -> MasterKey:
        """Make a new one from the operating system's randomness."""
        return cls(os.urandom(_KEY_BYTES))

    @classmethod
    def from_text(cls, text: SecretStr) -> MasterKey:
        """Read the form that ``to_text`` writes; white space around it does no harm.

        Raises:
            VaultError: The text is no master key. The message does not repeat it.
        """
        try:
            secret = base64.b64decode(text.get_secret_value().strip().encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        # Raised out here: the exception above carries the text it choked on, and would travel along as the context of ours.
        if len(secret) != _KEY_BYTES:
            raise VaultError("the master key is not 32 bytes in URL-safe base64 (44 characters)", fix="make one with: dsr init")
        return cls(secret)

    def to_text(self) -> str:
        """The key itself in URL-safe base64 (44 characters): for the one file or keyring entry that keeps it, never for a log."""
        return base64.urlsafe_b64encode(self._secret).decode("ascii")

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose (HKDF-SHA256): it tells nothing about the master key or about the other purposes' keys."""
        return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=f"dsr-sdk/v1/{purpose}".encode()).derive(self._secret)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MasterKey) and hmac.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash((MasterKey, self._secret))

    def __repr__(self) -> str:
        return "MasterKey(...)"

    def __reduce__(self) -> str:
        raise TypeError("a master key does not leave its process; use to_text() where it must be written")


class CaseKey:
    """The key that seals one case's personal data (AES-256-GCM). Cheap to use: about 2 µs for a small value. Threads may share it."""

    __slots__ = ("_aead", "case")

    def __init__(self, case: str, secret: bytes) -> None:
        self.case = case
        self._aead = AESGCM(secret)

    def seal(self, data: bytes, context: str) -> bytes:
        """Encrypt ``data`` so that it opens under the same ``context`` only (name the column, say ``tasks.sealed``): 28 bytes longer.

        Sealing the same data twice gives different bytes, so sealed values tell neither equality nor order.
        """
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, data, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Decrypt what ``seal`` made under this key and ``context``.

        Raises:
            VaultError: Another key or context, or the bytes were changed or cut short.
        """
        if len(sealed) >= _NONCE_BYTES + _TAG_BYTES:
            try:
                return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context.encode())
            except InvalidTag:
                pass
        raise VaultError("sealed data cannot be opened: another case's key, another place, or tampering", source=self.case)

    def seal_with_nonce(self, nonce: bytes, data: bytes, context: bytes) -> bytes:
        """Encrypt under a nonce the caller answers for; the result does not hold it. A nonce used twice betrays both texts: for spools only."""
        return self._aead.encrypt(nonce, data, context)

    def open_with_nonce(self, nonce: bytes, sealed: bytes, context: bytes) -> bytes | None:
        """Decrypt what ``seal_with_nonce`` made; None when it is not genuine, because the caller can say better what is wrong."""
        try:
            return self._aead.decrypt(nonce, sealed, context)
        except InvalidTag:
            return None

    def __repr__(self) -> str:
        return f"CaseKey({self.case!r})"

    def __reduce__(self) -> str:
        raise TypeError("a case key does not leave its process")


class Vault:
    """What the master key can do: make, wrap and unwrap case keys, take fingerprints, sign. Threads may share it.

    Unwrapped case keys are kept, 4096 at most, the least recently used going first; ``forget`` a case when it is shredded.
    """

    def __init__(self, master: MasterKey) -> None:
        self._wrap = AESGCM(master.derive("wrap"))
        self._fingerprint = master.derive("fingerprint")
        self._signer = Ed25519PrivateKey.from_private_bytes(master.derive("signing"))
        self._check = master.derive("check")
        self._box = CaseKey("host", master.derive("box"))
        self._keys: OrderedDict[str, tuple[bytes, CaseKey]] = OrderedDict()
        self._lock = threading.Lock()

    def new_case_key(self, case: str) -> tuple[CaseKey, bytes]:
        """A fresh random key for ``case``, and its wrapped form (60 bytes) for the ledger: the only trace of the key there is."""
        secret = os.urandom(_KEY_BYTES)
        nonce = os.urandom(_NONCE_BYTES)
        wrapped = nonce + self._wrap.encrypt(nonce, secret, _wrap_context(case))
        key = CaseKey(case, secret)
        self._remember(case, wrapped, key)
        return key, wrapped

    def unwrap(self, case: str, wrapped: bytes | None) -> CaseKey:
        """The key of ``case`` from its wrapped form.

        Raises:
            VaultError: ``wrapped`` is None (the case was shredded), was wrapped for another case or by another master key, or was changed.
        """
        if wrapped is None:
            self.forget(case)
            raise VaultError("the case was shredded: its personal data is gone for good", source=case)
        with self._lock:
            kept = self._keys.get(case)
            # Compared, so that a wrapped key tampered with fails at once and not after the next restart.
            if kept is not None and kept[0] == wrapped:
                self._keys.move_to_end(case)
                return kept[1]
        try:
            secret = self._wrap.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], _wrap_context(case))
        except (InvalidTag, ValueError):
            raise VaultError(
                "the case key cannot be unwrapped: wrong master key or tampering", source=case, fix="give the master key this ledger was made with"
            ) from None
        key = CaseKey(case, secret)
        self._remember(case, wrapped, key)
        return key

    def box(self) -> CaseKey:
        """The key that seals what belongs to the host and to no case: second factors of agents, letters to them."""
        return self._box

    def forget(self, case: str) -> None:
        """Drop the unwrapped key of ``case``, when there is one. A key handed out before stays usable by who holds it."""
        with self._lock:
            self._keys.pop(case, None)

    def fingerprint(self, *parts: str) -> bytes:
        """A keyed hash (HMAC-SHA256, 32 bytes) by which equal values are found again, and nothing else about them.

        Each part is hashed with its length, so ``("ab", "c")`` and ``("a", "bc")`` differ. Values are taken as they are: normalise first.
        """
        message = bytearray()
        for part in parts:
            encoded = part.encode("utf-8", "surrogatepass")  # a truncated emoji, which vendors do hand over
            message += len(encoded).to_bytes(8, "big")
            message += encoded
        return hmac.digest(self._fingerprint, message, "sha256")

    def key_check(self) -> str:
        """A text (64 characters) that is the same for the same master key: the ledger keeps it to recognise a wrong one when it is opened."""
        return hmac.digest(self._check, b"dsr-sdk key check", "sha256").hex()

    def sign(self, data: bytes) -> bytes:
        """An Ed25519 signature (64 bytes) over ``data``; ``is_signed`` checks it with the public key alone."""
        return self._signer.sign(data)

    def public_key(self) -> bytes:
        """The Ed25519 public key (32 bytes): may be published, and is all that ``dsr audit verify`` needs."""
        return self._signer.public_key().public_bytes_raw()

    def _remember(self, case: str, wrapped: bytes, key: CaseKey) -> None:
        with self._lock:
            self._keys[case] = (wrapped, key)
            self._keys.move_to_end(case)
            if len(self._keys) > _CACHED_KEYS:
                self._keys.popitem(last=False)

    def __repr__(self) -> str:
        return "Vault(...)"

    def __reduce__(self) -> str:
        raise TypeError("a vault does not leave its process")


def is_signed(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether ``signature`` over ``data`` was made by the vault with this public key. False for anything malformed."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _wrap_context(case: str) -> bytes:
    return b"dsr-sdk/v1/case-key/" + case.encode()
