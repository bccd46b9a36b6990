"""References to secrets: where a configuration file says ``env:STRIPE_KEY`` instead of the key.

A configuration file is copied into tickets, chats and repositories; a reference in it may go along. The kinds are ``env:NAME``,
``file:PATH`` (Docker's and Kubernetes' way) and ``keyring:SERVICE/NAME`` (the desktop's own store).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from dsr_sdk.errors import ConfigError

__all__ = ["resolve"]

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_BYTES: Final = 65_536  # a private key with its chain fits; a reference to the wrong file, or to a device, ends here


def resolve(ref: str, *, field: str, base: Path | None = None, allow_inline: bool = False) -> SecretStr:
    """The secret that ``ref`` refers to.

    Args:
        ref: ``env:NAME``, ``file:PATH`` or ``keyring:SERVICE/NAME`` (the service ends at the first slash).
        field: The setting it stands in, for messages: ``sources.stripe.api_key``.
        base: The directory that a relative ``file:`` path starts from, as a rule that of the configuration file; the working directory
            when None.
        allow_inline: Take anything else as the secret itself, with or without ``inline:`` before it: for tests and sandboxes, and for
            secrets that happen to start with ``env:`` or the like.

    Raises:
        ConfigError: There is no such secret, it is empty, or it stands in the open. The message names the field and the variable or
            path, never the secret; what does not look like a reference is not repeated, because it may be one.
    """
    kind, colon, rest = ref.partition(":")
    if colon and kind == "env":
        secret = _from_environment(rest, field)
    elif colon and kind == "file":
        secret = _from_file(rest, field, base)
    elif colon and kind == "keyring":
        secret = _from_keyring(rest, field)
    elif allow_inline:
        secret = rest if colon and kind == "inline" else ref
    else:
        raise ConfigError("is written in the open; use env:, file: or keyring:", field=field)
    if not secret:
        raise ConfigError("is empty", field=field, fix="give it a value where it is kept")
    return SecretStr(secret)


def _from_environment(name: str, field: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ConfigError("env: is not followed by the name of an environment variable", field=field, fix="write env:NAME, without $ or quotes")
    value = os.environ.get(name)
    if value is None:
        raise ConfigError(f"the environment variable {name} is not set", field=field, fix="set it, or correct the name")
    return value


def _from_file(name: str, field: str, base: Path | None) -> str:
    """The text of the file without the one newline that editors and ``echo`` put at its end."""
    if not name or "\0" in name:
        raise ConfigError("file: is not followed by a path", field=field)
    path = (base or Path()) / _home(name, field)
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the file {path} cannot be read ({error.strerror})", field=field, fix="correct the path or its permissions") from None
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"the file {path} is too long for a secret ({_MAX_BYTES} bytes are allowed)", field=field)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None:  # raised out here, because the exception above carries the file's bytes and would be our context
        raise ConfigError(f"the file {path} is not text in UTF-8", field=field)
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _home(name: str, field: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise ConfigError("file: names the home directory of an unknown user", field=field) from None


def _from_keyring(rest: str, field: str) -> str:
    service, slash, name = rest.partition("/")
    if not (service and slash and name):
        raise ConfigError("keyring: is not followed by SERVICE/NAME", field=field)
    try:
        import keyring
        from keyring.errors import KeyringError, NoKeyringError
    except ImportError:
        raise ConfigError(
            "keyring: needs the keyring package, which is not installed", field=field, fix="run: pip install 'dsr-sdk[keyring]'"
        ) from None
    try:
        value = keyring.get_password(service, name)
    except NoKeyringError:
        raise ConfigError("this machine has no keyring (a server or container rarely does)", field=field, fix="use env: or file: here") from None
    except KeyringError as error:
        raise ConfigError(f"the keyring does not answer ({type(error).__name__})", field=field, fix="unlock it, or use env: or file:") from None
    if value is None:
        raise ConfigError(f"the keyring has no entry {name} for {service}", field=field, fix=f"run: keyring set {service} {name}")
    return value
