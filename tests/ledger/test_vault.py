"""Keys: what opens what, and what is said when it does not."""

from __future__ import annotations

import base64
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dsr_sdk.errors import VaultError
from dsr_sdk.ledger import vault as vault_module
from dsr_sdk.ledger.vault import CaseKey, MasterKey, Vault, is_signed


def test_a_master_key_survives_being_written_down() -> None:
    """Its text form has 44 characters and gives the same key back, also with the newline of the file it stood in."""
    key = MasterKey.generate()
    text = key.to_text()
    assert len(text) == 44
    assert MasterKey.from_text(SecretStr(text + "\n")) == key
    assert key != MasterKey.generate()


@pytest.mark.parametrize(
    "text",
    ["", "hunter2", "x" * 44, "ä" * 44, base64.urlsafe_b64encode(b"k" * 31).decode(), base64.urlsafe_b64encode(b"k" * 33).decode()],
)
def test_garbage_is_no_master_key_and_is_not_repeated(text: str) -> None:
    """A text that is no master key gives a VaultError that holds neither the text nor an exception that does."""
    with pytest.raises(VaultError, match="32 bytes") as caught:
        MasterKey.from_text(SecretStr(text))
    assert not text or text not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_master_key_of_another_length_is_refused() -> None:
    """A key is not stretched or cut to fit."""
    with pytest.raises(VaultError, match="this one has 16"):
        MasterKey(b"k" * 16)


def test_keys_show_themselves_nowhere() -> None:
    """Neither repr nor pickle gives a key away."""
    master = MasterKey(b"secret-secret-secret-secret-abcd")
    vault = Vault(master)
    key, _ = vault.new_case_key("C-1")
    for holder in (master, vault, key):
        assert "secret" not in repr(holder)
        with pytest.raises(TypeError):
            pickle.dumps(holder)


def test_derived_keys_never_change() -> None:
    """What a master key leads to is part of the file format: another derivation would lock everybody out of their ledgers."""
    vault = Vault(MasterKey(bytes(range(32))))
    assert vault.key_check() == "af0e99d41845b4dcf21fdcc3e151ae8fde2a1bc6e85e05a9c9e48b63df5cfcb4"
    assert vault.public_key().hex() == "c020afed330f161292923724ff14371405d6895ff7b31e5ef0527bd95f939d0b"
    assert vault.fingerprint("email", "a").hex() == "1d83fbc3966f6b2f1fd254ad9f9165bc204733b7752850d700147c4ff5f800a1"


def test_each_purpose_and_each_master_key_has_a_key_of_its_own() -> None:
    """One derived key tells nothing about another, and a wrong master key is recognised by its check."""
    master = MasterKey(bytes(range(32)))
    assert len({master.derive(purpose) for purpose in ("wrap", "fingerprint", "signing", "check")}) == 4
    assert Vault(master).key_check() != Vault(MasterKey.generate()).key_check()


def test_a_case_key_comes_back_from_its_wrapped_form(vault: Vault) -> None:
    """Another vault with the same master key, as after a restart, opens what this one sealed."""
    master = MasterKey.generate()
    key, wrapped = Vault(master).new_case_key("C-1")
    sealed = key.seal(b"ada@example.com", "cases.sealed_request")
    assert b"ada" not in sealed
    assert Vault(master).unwrap("C-1", wrapped).open(sealed, "cases.sealed_request") == b"ada@example.com"
    with pytest.raises(VaultError, match="wrong master key or tampering"):
        vault.unwrap("C-1", wrapped)


def test_a_wrapped_key_is_bound_to_its_case_and_cannot_be_changed(vault: Vault) -> None:
    """Moved to another case, changed in any place, or cut short, it does not unwrap, also while the key is in memory."""
    _, wrapped = vault.new_case_key("C-1")
    broken = [wrapped[:i] + bytes([wrapped[i] ^ 1]) + wrapped[i + 1 :] for i in range(len(wrapped))]
    for attempt in [*broken, wrapped[:-1], wrapped[:5], b""]:
        with pytest.raises(VaultError, match="wrong master key or tampering"):
            vault.unwrap("C-1", attempt)
    with pytest.raises(VaultError, match="tampering"):
        vault.unwrap("C-2", wrapped)
    vault.unwrap("C-1", wrapped)


def test_a_shredded_case_does_not_open_even_if_its_key_is_in_memory(vault: Vault) -> None:
    """A wrapped key of None means shredded, and drops the key that was kept."""
    key, wrapped = vault.new_case_key("C-9")
    with pytest.raises(VaultError, match="case was shredded"):
        vault.unwrap("C-9", None)
    assert vault.unwrap("C-9", wrapped) is not key


def test_unwrapped_keys_are_kept_until_forgotten_and_never_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key used longest ago goes first; ``forget`` drops one at once."""
    monkeypatch.setattr(vault_module, "_CACHED_KEYS", 2)
    vault = Vault(MasterKey.generate())
    (first, wrapped_first), (second, wrapped_second) = vault.new_case_key("1"), vault.new_case_key("2")
    assert vault.unwrap("1", wrapped_first) is first
    third, wrapped_third = vault.new_case_key("3")
    assert vault.unwrap("1", wrapped_first) is first
    assert vault.unwrap("2", wrapped_second) is not second
    assert vault.unwrap("3", wrapped_third) is not third
    vault.forget("2")
    vault.forget("never seen")
    assert len(vault._keys) == 1


def test_threads_may_share_a_vault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many threads that unwrap and forget keys, with a cache far too small for them, get the right ones."""
    monkeypatch.setattr(vault_module, "_CACHED_KEYS", 4)
    vault = Vault(MasterKey.generate())
    made = [(str(i), vault.new_case_key(str(i))) for i in range(40)]
    sealed = {case: key.seal(case.encode(), "x") for case, (key, _) in made}

    def work(_: int) -> int:
        for case, (_key, wrapped) in made * 5:
            assert vault.unwrap(case, wrapped).open(sealed[case], "x") == case.encode()
            vault.forget(case)
        return 1

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, range(6))) == 6


@given(st.binary(max_size=300), st.text(max_size=20))
def test_sealed_data_opens_in_its_own_place_only(data: bytes, context: str) -> None:
    """Under the same key and context it opens; under another context or another case's key it does not."""
    key, other = CaseKey("C-1", b"k" * 32), CaseKey("C-2", b"K" * 32)
    sealed = key.seal(data, context)
    assert key.open(sealed, context) == data
    assert sealed != key.seal(data, context)
    for opener, place in ((key, context + "!"), (other, context)):
        with pytest.raises(VaultError, match="cannot be opened"):
            opener.open(sealed, place)


def test_changed_sealed_data_does_not_open(vault: Vault) -> None:
    """A changed bit anywhere, a missing end, or nothing at all: VaultError, naming the case and no data."""
    key, _ = vault.new_case_key("C-1")
    sealed = key.seal(b"x", "c")
    for attempt in [*(sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))), sealed[:-1], sealed[:20], b""]:
        with pytest.raises(VaultError, match=r"^C-1: "):
            key.open(attempt, "c")


def test_fingerprints_find_equal_values_and_keep_parts_apart(vault: Vault) -> None:
    """Equal parts give equal fingerprints under one master key only; where a part ends matters."""
    assert vault.fingerprint("email", "ada@example.com") == vault.fingerprint("email", "ada@example.com")
    several = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), ()]
    assert len({vault.fingerprint(*parts) for parts in several}) == len(several)
    assert len(vault.fingerprint("x")) == 32
    assert vault.fingerprint("x") != Vault(MasterKey.generate()).fingerprint("x")


def test_a_signature_is_checked_with_the_public_key_alone(vault: Vault) -> None:
    """Another key, other data and malformed input are all simply not signed."""
    signature, public = vault.sign(b"statement"), vault.public_key()
    assert is_signed(public, signature, b"statement")
    assert not is_signed(public, signature, b"other statement")
    assert not is_signed(Vault(MasterKey.generate()).public_key(), signature, b"statement")
    assert not is_signed(public, b"short", b"statement")
    assert not is_signed(b"short", signature, b"statement")
