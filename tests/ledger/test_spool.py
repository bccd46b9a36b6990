"""Spools: what is written comes back line by line, and nothing else does."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsr_sdk.errors import VaultError
from dsr_sdk.ledger.spool import SpoolWriter, read_lines
from dsr_sdk.ledger.vault import CaseKey

KEY = CaseKey("C-1", b"k" * 32)
CHUNK = 65_536
SEALED = 4 + CHUNK + 16
HEADER = 16


def write(path: Path, lines: Iterable[bytes], context: str = "stripe") -> SpoolWriter:
    """Write a spool."""
    with SpoolWriter(path, KEY, context) as spool:
        for line in lines:
            spool.write_line(line)
    return spool


def read(path: Path, context: str = "stripe", key: CaseKey = KEY) -> list[bytes]:
    """All lines of a spool."""
    return list(read_lines(path, key, context))


@pytest.fixture
def three_chunks(tmp_path: Path) -> Path:
    """A spool of two full chunks and a rest."""
    path = tmp_path / "three.spool"
    write(path, [b"%07d" % i for i in range(20_000)])
    return path


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=20), st.integers(0, 3), st.integers(-2, 2))
def test_any_lines_come_back(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], chunks: int, around: int) -> None:
    """Empty lines, none at all, lines that end just before, at and after the end of a chunk, and lines longer than several."""
    long = b"x" * max(0, chunks * CHUNK + around)
    path = tmp_path_factory.mktemp("spool") / "a.spool"
    spool = write(path, [*lines, long, *lines])
    assert read(path) == [*lines, long, *lines]
    plain = b"".join(line + b"\n" for line in [*lines, long, *lines])
    assert (spool.lines, spool.sha256) == (2 * len(lines) + 1, hashlib.sha256(plain).hexdigest())


def test_an_empty_spool_has_no_lines_but_is_sealed(tmp_path: Path) -> None:
    """No records is an answer too, and cannot be faked by an empty file."""
    path = tmp_path / "empty.spool"
    assert write(path, []).lines == 0
    assert read(path) == []
    path.write_bytes(path.read_bytes()[:HEADER])
    with pytest.raises(VaultError, match="cut short"):
        read(path)


def test_nothing_lies_on_the_disk_in_the_open(tmp_path: Path) -> None:
    """The file is the owner's alone, and holds no line in clear; two spools of the same lines have nothing in common."""
    first, second = tmp_path / "1.spool", tmp_path / "2.spool"
    for path in (first, second):
        write(path, [b"ada@example.com"] * 10)
        assert b"ada@" not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.read_bytes()[HEADER + 4 :] != second.read_bytes()[HEADER + 4 :]


def test_a_spool_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """While it is written only .part is there; an error in the block removes that, and leaves an older spool as it was."""
    path = tmp_path / "a.spool"
    write(path, [b"old"])
    (tmp_path / "a.spool.part").write_bytes(b"left by a crash")

    def fail(spool: SpoolWriter) -> None:
        spool.write_line(b"new")
        assert sorted(item.name for item in tmp_path.iterdir()) == ["a.spool", "a.spool.part"]
        raise ValueError("the vendor hung up")

    with pytest.raises(ValueError, match="hung up"), SpoolWriter(path, KEY, "stripe") as spool:
        fail(spool)
    assert [item.name for item in tmp_path.iterdir()] == ["a.spool"]
    assert read(path) == [b"old"]
    with pytest.raises(ValueError, match="not open"):
        spool.write_line(b"too late")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last bytes cannot be brought to the disk, the error comes out and no spool appears."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), SpoolWriter(tmp_path / "a.spool", KEY, "stripe") as spool:
        spool.write_line(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_line_holds_no_newline(tmp_path: Path) -> None:
    """A newline within a line would come back as two lines, so it is refused."""
    with pytest.raises(ValueError, match="no newline"), SpoolWriter(tmp_path / "a.spool", KEY, "stripe") as spool:
        spool.write_line(b"a\nb")


def test_only_its_own_key_and_context_open_a_spool(tmp_path: Path) -> None:
    """Another case's key or another context gives a VaultError, before any line."""
    path = tmp_path / "a.spool"
    write(path, [b"x"])
    with pytest.raises(VaultError, match="wrong key or context"):
        read(path, context="zendesk")
    with pytest.raises(VaultError, match="wrong key or context"):
        read(path, key=CaseKey("C-2", b"K" * 32))


def test_truncation_is_found_at_every_length(three_chunks: Path) -> None:
    """Cut in a chunk, between two, or in the header: never a shorter spool, always a VaultError."""
    whole = three_chunks.read_bytes()
    for length in (0, 5, HEADER, HEADER + 2, HEADER + 4, HEADER + 100, HEADER + SEALED, HEADER + SEALED + 3, HEADER + 2 * SEALED, len(whole) - 1):
        three_chunks.write_bytes(whole[:length])
        with pytest.raises(VaultError, match=r"three\.spool: .*cut short"):
            read(three_chunks)


def test_chunks_cannot_be_moved_repeated_left_out_or_swapped_between_spools(three_chunks: Path, tmp_path: Path) -> None:
    """Each chunk knows its place in its file, and whether it is the last."""
    other = tmp_path / "other.spool"
    write(other, [b"%07d" % i for i in range(20_000)])
    whole, foreign = three_chunks.read_bytes(), other.read_bytes()
    head, chunks = whole[:HEADER], whole[HEADER:]
    first, second, rest = chunks[:SEALED], chunks[SEALED : 2 * SEALED], chunks[2 * SEALED :]
    assert len(read(three_chunks)) == 20_000
    for forged in (
        head + second + first + rest,
        head + first + first + second + rest,
        head + first + rest,
        head + first + second,
        head + foreign[HEADER : HEADER + SEALED] + second + rest,
        whole + rest,
        whole + b"\0\0\0\0",
        whole + b"x",
    ):
        three_chunks.write_bytes(forged)
        with pytest.raises(VaultError):
            read(three_chunks)


def test_a_changed_bit_is_found_wherever_it_is(tmp_path: Path) -> None:
    """In the header, in a length, in the text or in its tag."""
    path = tmp_path / "a.spool"
    write(path, [b"ada"])
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x80]) + whole[i + 1 :])
        with pytest.raises(VaultError):
            read(path)


def test_writing_and_reading_hold_little_in_memory(tmp_path: Path) -> None:
    """Ten megabytes go through in less than one."""
    path = tmp_path / "a.spool"
    tracemalloc.start()
    try:
        write(path, (b"x" * 1000 for _ in range(10_000)))
        assert sum(len(line) for line in read_lines(path, KEY, "stripe")) == 10_000_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
