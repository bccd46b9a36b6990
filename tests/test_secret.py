"""References to secrets: what each kind gives, and that no message repeats a secret."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyring.errors import KeyringLocked

from dsr_sdk.errors import ConfigError
from dsr_sdk.secret import resolve

FIELD = "sources.stripe.api_key"


def refused(ref: str, base: Path | None = None, *, allow_inline: bool = False) -> ConfigError:
    """The error that a reference gives; it names the field."""
    with pytest.raises(ConfigError) as caught:
        resolve(ref, field=FIELD, base=base, allow_inline=allow_inline)
    assert caught.value.field == FIELD
    assert str(caught.value).startswith(f"{FIELD}: ")
    return caught.value


def test_an_environment_variable_gives_its_value_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """White space and newlines in it may belong to the secret; the result shows itself as stars."""
    monkeypatch.setenv("STRIPE_KEY", " sk_live_123 \n")
    secret = resolve("env:STRIPE_KEY", field=FIELD)
    assert secret.get_secret_value() == " sk_live_123 \n"
    assert "sk_live" not in repr(secret)


def test_a_missing_or_empty_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator learns which one to set."""
    monkeypatch.delenv("STRIPE_KEY", raising=False)
    assert "STRIPE_KEY is not set" in str(refused("env:STRIPE_KEY"))
    monkeypatch.setenv("STRIPE_KEY", "")
    assert "is empty" in str(refused("env:STRIPE_KEY"))


@pytest.mark.parametrize("name", ["", "$STRIPE_KEY", "sk-live-123", "STRIPE KEY", "A=B"])
def test_what_cannot_be_a_variable_is_not_repeated(name: str) -> None:
    """Someone may have put the secret itself behind ``env:``."""
    error = refused(f"env:{name}")
    assert "without $ or quotes" in str(error)
    assert not name or name not in str(error)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"a", "a"),
        (b"a\n", "a"),
        (b"a\r\n", "a"),
        (b"a\n\n", "a\n"),
        (b" a\nb\r", " a\nb\r"),
        ("ß".encode(), "ß"),
    ],
)
def test_a_file_gives_its_text_without_one_newline_at_the_end(tmp_path: Path, written: bytes, read: str) -> None:
    """The one that an editor adds goes; anything else may belong to the secret."""
    (tmp_path / "key").write_bytes(written)
    assert resolve(f"file:{tmp_path}/key", field=FIELD).get_secret_value() == read


def test_a_relative_path_starts_where_the_configuration_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``base`` from there, without it from the working directory; ``~`` is the home directory."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text("s3cret\n")
    monkeypatch.chdir(tmp_path / "secrets")
    monkeypatch.setenv("HOME", str(tmp_path))
    for ref, base in (("file:secrets/key", tmp_path), ("file:key", None), ("file:~/secrets/key", tmp_path / "elsewhere")):
        assert resolve(ref, field=FIELD, base=base).get_secret_value() == "s3cret"


def test_files_that_give_no_secret_say_why(tmp_path: Path) -> None:
    """Missing, a directory, empty, far too long, not text: the path is named, and nothing of what is in it."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "long").write_text("s3cret" * 20_000)
    (tmp_path / "binary").write_bytes(b"s3cret\xff")
    expected = {
        "missing": "No such file",
        ".": "Is a directory",
        "empty": "is empty",
        "long": "too long",
        "binary": "not text",
        "": "not followed by a path",
    }
    for name, message in expected.items():
        error = refused(f"file:{name}", tmp_path)
        assert message in str(error)
        assert "s3cret" not in "".join(traceback.format_exception(error))
    assert refused("file:binary", tmp_path).__context__ is None
    assert "not followed by a path" in str(refused("file:a\0b"))
    assert "unknown user" in str(refused("file:~no-such-user/key"))


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    """Permissions are reported by their name, not as a missing file."""
    path = tmp_path / "key"
    path.write_text("s3cret")
    path.chmod(0)
    if os.geteuid() != 0:
        assert "Permission denied" in str(refused(f"file:{path}"))
        return
    os.seteuid(65534)  # permissions mean nothing to root
    try:
        assert "Permission denied" in str(refused(f"file:{path}"))
    finally:
        os.seteuid(0)


class MemoryKeyring(KeyringBackend):
    """A keyring with one entry, or a locked one."""

    priority = 1

    def __init__(self, *, locked: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.locked = locked

    def get_password(self, service: str, username: str) -> str | None:
        """The one entry."""
        if self.locked:
            raise KeyringLocked("s3cret")
        return "s3cret" if (service, username) == ("dsr", "stripe/api_key") else None

    def set_password(self, service: str, username: str, password: str) -> None:
        """Not needed here."""
        raise NotImplementedError


def test_a_keyring_entry_is_found_by_service_and_name() -> None:
    """The service ends at the first slash; a missing entry, a locked keyring and a machine without one each say what to do."""
    before = keyring.get_keyring()
    try:
        keyring.set_keyring(MemoryKeyring())
        assert resolve("keyring:dsr/stripe/api_key", field=FIELD).get_secret_value() == "s3cret"
        assert refused("keyring:dsr/other").fix == "run: keyring set dsr other"
        assert "SERVICE/NAME" in str(refused("keyring:dsr"))
        keyring.set_keyring(MemoryKeyring(locked=True))
        error = refused("keyring:dsr/stripe/api_key")
        assert "KeyringLocked" in str(error)
        assert "s3cret" not in str(error)
        keyring.set_keyring(NoKeyring())  # type: ignore[no-untyped-call]
        assert refused("keyring:dsr/stripe/api_key").fix == "use env: or file: here"
    finally:
        keyring.set_keyring(before)


def test_without_the_keyring_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert refused("keyring:dsr/x").fix == "run: pip install 'dsr-sdk[keyring]'"


@pytest.mark.parametrize("ref", ["sk_live_123", "inline:sk_live_123", "https://sk_live_123@host", "ENV:sk_live_123", "vault:sk_live_123", ""])
def test_a_secret_in_the_open_is_refused_and_not_repeated(ref: str) -> None:
    """Whatever is no reference may be a secret."""
    error = refused(ref)
    assert "is written in the open; use env:, file: or keyring:" in str(error)
    assert "sk_live" not in str(error)


def test_where_it_is_allowed_a_secret_may_stand_in_the_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """With or without ``inline:``, which lets a secret start with ``env:``; references still work, and empty is still empty."""
    monkeypatch.setenv("STRIPE_KEY", "s3cret")
    expected = {"sk_123": "sk_123", "inline:sk_123": "sk_123", "inline:env:X": "env:X", "a:b": "a:b", "env:STRIPE_KEY": "s3cret"}
    for ref, secret in expected.items():
        assert resolve(ref, field=FIELD, allow_inline=True).get_secret_value() == secret
    for ref in ("", "inline:"):
        assert "is empty" in str(refused(ref, allow_inline=True))


def test_importing_it_loads_nothing_heavy() -> None:
    """Neither the keyring nor cryptography comes along until a reference needs it."""
    code = "import sys, dsr_sdk.secret; print({'keyring', 'cryptography', 'sqlalchemy', 'httpx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert done.stdout.strip() == "set()"
