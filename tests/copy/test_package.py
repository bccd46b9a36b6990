"""Writing and checking a package: nothing held, nothing half, nothing silently missing."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from dsr_sdk.copy import Manifest, SourceCopy, Status, Withheld, verify_package, write_package
from dsr_sdk.errors import AuthError, ConfigError, ContractError, TransientError
from dsr_sdk.result import Reason, Record

CASE = "DSR-7K2M-0QXN-V4TB-91HC"
MADE_AT = datetime(2025, 10, 8, 9, 30, 11, tzinfo=UTC)


def source(name: str = "shop", records: Iterable[Record] = (), **more: Any) -> SourceCopy:
    """A data source with a title and a category."""
    return SourceCopy(**{"source": name, "title": name.title(), "category": "commerce", "records": records, **more})


def write(path: Path, *sources: SourceCopy, **more: Any) -> Manifest:
    """A package of these sources, with everything else as usual."""
    given: dict[str, Any] = {
        "case": CASE,
        "subject_name": "Mira Okonkwo",
        "company": "Nordlicht",
        "language": "en",
        "made_at": MADE_AT,
        "sources": sources,
    }
    return write_package(path, **{**given, **more})


def lines(path: Path, name: str) -> list[dict[str, Any]]:
    """The records of one data file."""
    with zipfile.ZipFile(path) as archive:
        return [json.loads(line) for line in archive.read(name).decode().splitlines()]


def left_in(folder: Path) -> list[str]:
    """What lies in the folder."""
    return sorted(entry.name for entry in folder.iterdir())


def rebuilt(path: Path, change: Callable[[str, bytes], bytes | None], *, extra: Mapping[str, bytes] = {}) -> Path:
    """The package again, with files changed, left out (`None`) or added: a well-formed zip that lies."""
    target = path.with_name("rebuilt.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
        for name, data in extra.items():
            new.writestr(name, data)
    return target


class TestContents:
    """What is in the package, and what the manifest says about it."""

    def test_records_are_canonical_json_lines(self, tmp_path: Path) -> None:
        """Sorted keys, no spaces, real UTF-8, one object a line, whatever line breaks the values hold."""
        path = tmp_path / "copy.zip"
        write(path, source(records=[Record("order", {"z": 1, "a": "Schönhauser\nAllee\u2028", "m": {"y": None, "b": [True, 1.5]}})]))
        with zipfile.ZipFile(path) as archive:
            raw = archive.read("data/shop/order.jsonl")
        assert raw == '{"a":"Schönhauser\\nAllee\u2028","m":{"b":[true,1.5],"y":null},"z":1}\n'.encode()

    def test_the_manifest_lists_every_source_and_every_file(self, tmp_path: Path) -> None:
        """All four statuses at once, with counts, categories, reasons, sizes and checksums; what is returned is what is in the zip."""
        path = tmp_path / "copy.zip"
        written = write(
            path,
            source("shop", [Record("order", {"n": n}) for n in range(3)], categories={"order": ("user.payment",), "wish": ()}),
            source("support", iter(())),
            source("hr", withheld=(Withheld("file", Reason.LEGAL_CLAIMS, "An open dispute."),), categories={"file": ("user.workplace",)}),
            source("mail", could_not_check="the key was refused", categories={"letter": ("user.content",)}),
        )
        with zipfile.ZipFile(path) as archive:
            manifest = Manifest.model_validate_json(archive.read("manifest.json"))
            names = archive.namelist()
            for entry in manifest.files:
                assert archive.getinfo(entry.path).file_size == entry.bytes
        assert manifest == written
        assert names == ["data/shop/order.jsonl", "index.html", "README.txt", "manifest.json"]
        assert [entry.path for entry in manifest.files] == names[:-1]
        assert (manifest.case, manifest.made_at, manifest.complete) == (CASE, MADE_AT, False)
        assert manifest.sdk_version
        shop, support, hr, mail = manifest.sources
        assert [entry.status for entry in manifest.sources] == [Status.FOUND, Status.NOTHING_FOUND, Status.WITHHELD, Status.COULD_NOT_CHECK]
        assert [(r.name, r.records, r.file, r.categories) for r in shop.resources] == [
            ("order", 3, "data/shop/order.jsonl", ("user.payment",)),
            ("wish", 0, None, ()),
        ]
        assert (support.records, support.incomplete) == (0, False)
        assert (hr.withheld[0].reason, hr.withheld[0].text, hr.resources) == (Reason.LEGAL_CLAIMS, "An open dispute.", ())
        assert (mail.could_not_check, mail.incomplete, mail.resources) == ("the key was refused", True, ())
        assert verify_package(path) == []

    def test_no_source_at_all(self, tmp_path: Path) -> None:
        """A package without sources is a whole package."""
        manifest = write(tmp_path / "copy.zip")
        assert (manifest.sources, manifest.complete) == ((), True)
        assert verify_package(tmp_path / "copy.zip") == []

    def test_interleaved_resources(self, tmp_path: Path) -> None:
        """Resources may come in any order: each file holds its own, in the order they came, though one zip takes one stream at a time."""
        path = tmp_path / "copy.zip"
        write(path, source(records=(Record(f"kind_{n % 7}", {"n": n, "pad": "x" * 5000}) for n in range(2000))))
        for kind in range(7):
            assert [record["n"] for record in lines(path, f"data/shop/kind_{kind}.jsonl")] == list(range(kind, 2000, 7))
        assert verify_package(path) == []

    @pytest.mark.parametrize(
        ("first", "second"),
        [("Shop EU", "shop-eu"), ("shop", "shop"), ("Büro", "buro"), ("日本", "中国"), ("con", "CON"), ("a" * 200, "a" * 300)],
    )
    def test_names_that_become_the_same(self, tmp_path: Path, first: str, second: str) -> None:
        """Two sources, and two resources of one, whose names fall together as file names keep files of their own."""
        path = tmp_path / "copy.zip"
        manifest = write(
            path, *(source(name, [Record(first, {"of": i, "r": 1}), Record(second, {"of": i, "r": 2})]) for i, name in enumerate((first, second)))
        )
        files = [resource.file for entry in manifest.sources for resource in entry.resources]
        assert len(set(files)) == len(files) == (2 if first == second else 4)
        for i, entry in enumerate(manifest.sources):
            assert {record["of"] for resource in entry.resources for record in lines(path, resource.file or "")} == {i}
        assert [entry.name for entry in manifest.sources] == [first, second]
        assert verify_package(path) == []

    def test_a_name_with_a_number_of_its_own(self, tmp_path: Path) -> None:
        """The number that tells two names apart is not itself a third name."""
        manifest = write(tmp_path / "copy.zip", *(source(name, [Record("r", {})]) for name in ("a", "a-2", "A")))
        assert [entry.resources[0].file for entry in manifest.sources] == ["data/a/r.jsonl", "data/a-2/r.jsonl", "data/a-3/r.jsonl"]

    @pytest.mark.parametrize("name", ["../../etc/passwd", "/root", "..", "a\\..\\b", "C:", "x\x00y", "-", "💥", "nul", "a" * 5000, "\ud800"])
    def test_no_name_escapes_the_archive(self, tmp_path: Path, name: str) -> None:
        """Whatever a source or resource is called, its file lies at ``data/<plain>/<plain>.jsonl``."""
        path = tmp_path / "copy.zip"
        manifest = write(path, source(name, [Record(name, {"a": 1})], title=name, withheld=(Withheld(name, Reason.CONTRACT, name),)))
        file = manifest.sources[0].resources[0].file or ""
        folder, inner, leaf = file.split("/")
        assert folder == "data"
        assert set(inner + leaf.removesuffix(".jsonl")) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
        assert inner not in {"nul", ""}
        assert len(file) < 200
        assert verify_package(path) == []

    def test_half_characters_survive(self, tmp_path: Path) -> None:
        """A lone surrogate, which UTF-8 cannot hold, is written as the JSON escape it came as."""
        path = tmp_path / "copy.zip"
        write(path, source(records=[Record("note", {"a": "x\ud83dy", "b\udc00": "ü"})]))
        assert lines(path, "data/shop/note.jsonl") == [{"a": "x\ud83dy", "b\udc00": "ü"}]

    def test_mappings_of_any_kind_are_objects(self, tmp_path: Path) -> None:
        """A read-only mapping is an object too, on the outside and inside."""
        path = tmp_path / "copy.zip"
        write(path, source(records=[Record("note", MappingProxyType({"a": MappingProxyType({"b": (1, 2)})}))]))
        assert lines(path, "data/shop/note.jsonl") == [{"a": {"b": [1, 2]}}]

    def test_the_same_input_gives_the_same_bytes(self, tmp_path: Path) -> None:
        """Nothing of the clock, the machine or the order of keys is in a data file; the whole zip is equal byte for byte."""

        def sources() -> Iterator[SourceCopy]:
            yield source("shop", (Record(f"k{n % 3}", {"n": n}) for n in range(300)), withheld=(Withheld("x", Reason.SECURITY, "y"),))
            yield source("mail", could_not_check="no")

        first, second = tmp_path / "1.zip", tmp_path / "2.zip"
        write(first, sources=sources())
        write(second, sources=sources(), made_at=MADE_AT.astimezone(timezone(timedelta(hours=5))))
        assert first.read_bytes() == second.read_bytes()
        with zipfile.ZipFile(first) as archive:
            assert {info.date_time for info in archive.infolist()} == {(2025, 10, 8, 9, 30, 10)}
            assert {stat.S_IMODE(info.external_attr >> 16) for info in archive.infolist()} == {0o600}

    @pytest.mark.parametrize("year", [1, 1970, 2107, 2108, 9999])
    def test_years_a_zip_cannot_tell(self, tmp_path: Path, year: int) -> None:
        """A date outside 1980 to 2107 is kept in the manifest and brought within bounds in the archive."""
        manifest = write(tmp_path / "copy.zip", made_at=MADE_AT.replace(year=year))
        assert manifest.made_at.year == year
        assert verify_package(tmp_path / "copy.zip") == []

    def test_large_entries_use_zip64(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Past the limit of the classic format (lowered here) an entry is written and read with zip64."""
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10_000)
        path = tmp_path / "copy.zip"
        write(path, source(records=(Record("order", {"n": n, "pad": random.Random(n).randbytes(200).hex()}) for n in range(500))))
        with zipfile.ZipFile(path) as archive:
            assert archive.getinfo("data/shop/order.jsonl").extract_version == zipfile.ZIP64_VERSION
        assert verify_package(path) == []

    def test_progress(self, tmp_path: Path) -> None:
        """Progress is told while records come and at the end of each source, with the source's name and its own count."""
        told: list[tuple[str, int]] = []
        write(
            tmp_path / "copy.zip",
            source("a", (Record("r", {}) for _ in range(1100))),
            source("b"),
            progress=lambda name, records: told.append((name, records)),
        )
        assert told == [("a", 500), ("a", 1000), ("a", 1100), ("b", 0)]


class TestLazy:
    """Sources and records are consumed once, as they are needed, and never held."""

    def test_one_source_at_a_time(self, tmp_path: Path) -> None:
        """The next source is not asked for before the last one's records have been taken to the end."""
        seen: list[str] = []

        def records(name: str) -> Iterator[Record]:
            seen.append(f"{name} starts")
            yield Record("r", {})
            seen.append(f"{name} ends")

        def sources() -> Iterator[SourceCopy]:
            for name in ("a", "b"):
                seen.append(f"{name} given")
                yield source(name, records(name))

        write(tmp_path / "copy.zip", sources=sources())
        assert seen == ["a given", "a starts", "a ends", "b given", "b starts", "b ends"]

    @pytest.mark.parametrize("kinds", [1, 4])
    def test_memory_does_not_grow_with_the_records(self, tmp_path: Path, kinds: int) -> None:
        """20,000 records of about 1 KB (over 20 MB) pass through 8 MB."""

        def records() -> Iterator[Record]:
            for n in range(20_000):
                yield Record(f"kind_{n % kinds}", {"n": n, "body": random.Random(n).randbytes(500).hex()})

        write(tmp_path / "warm.zip", source(records=[Record("r", {})]))
        tracemalloc.start()
        try:
            manifest = write(tmp_path / "copy.zip", source(records=records()))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert sum(entry.bytes for entry in manifest.files) > 20_000_000
        assert peak < 8_000_000

    def test_the_page_does_not_grow_with_the_kinds(self, tmp_path: Path) -> None:
        """Hundreds of kinds of large records: the page and the memory stay within bounds, and every record is in its file."""

        def records() -> Iterator[Record]:
            for n in range(20_000):
                yield Record(f"kind_{n % 400}", {f"f{i}": "x" * 300 for i in range(6)})

        write(tmp_path / "warm.zip", source(records=[Record("r", {})]))
        tracemalloc.start()
        try:
            manifest = write(tmp_path / "copy.zip", source(records=records()))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 25_000_000
        assert {entry.path: entry.bytes for entry in manifest.files}["index.html"] < 3_000_000
        assert manifest.sources[0].records == 20_000

    def test_no_descriptor_for_each_resource(self, tmp_path: Path) -> None:
        """A source with hundreds of resources needs a handful of open files."""
        most = 0

        def records() -> Iterator[Record]:
            nonlocal most
            for n in range(900):
                yield Record(f"kind_{n}", {})
                most = max(most, len(os.listdir("/dev/fd")))

        before = len(os.listdir("/dev/fd"))
        write(tmp_path / "copy.zip", source(records=records()))
        assert most - before <= 8


class TestIncomplete:
    """A source that was not asked to its end is never told as a clean result."""

    @pytest.mark.parametrize("arrived", [0, 3])
    def test_an_error_midway(self, tmp_path: Path, arrived: int) -> None:
        """What arrived is kept and the source is *could not check*; the sources after it are asked as usual."""

        def broken() -> Iterator[Record]:
            for n in range(arrived):
                yield Record("event", {"n": n})
            raise TransientError("the service did not answer", source="mixpanel")

        path = tmp_path / "copy.zip"
        manifest = write(path, source("mixpanel", broken(), categories={"event": (), "profile": ()}), source("b", [Record("r", {})]))
        entry = manifest.sources[0]
        assert (entry.status, entry.incomplete, entry.could_not_check) == (Status.COULD_NOT_CHECK, True, "the service did not answer")
        assert entry.records == arrived
        assert [resource.name for resource in entry.resources] == (["event"] if arrived else []), "no zero is told that nobody counted"
        assert not manifest.complete
        assert manifest.sources[1].status is Status.FOUND
        assert verify_package(path) == []

    def test_a_reason_given_beforehand_stays(self, tmp_path: Path) -> None:
        """A source that is known to be unchecked keeps its reason and its records, even when these fail too."""

        def broken() -> Iterator[Record]:
            yield Record("event", {})
            raise AuthError("refused")

        manifest = write(tmp_path / "copy.zip", source(records=broken(), could_not_check="the list was cut off"))
        assert (manifest.sources[0].could_not_check, manifest.sources[0].records) == ("the list was cut off", 1)

    def test_an_empty_reason_is_a_reason(self, tmp_path: Path) -> None:
        """``could_not_check=""`` is not read as *checked*."""
        assert write(tmp_path / "copy.zip", source(could_not_check="")).sources[0].status is Status.COULD_NOT_CHECK

    def test_withheld_beside_found(self, tmp_path: Path) -> None:
        """A withheld resource is listed beside what was found, and not with a zero."""
        manifest = write(
            tmp_path / "copy.zip",
            source(records=[Record("order", {})], withheld=(Withheld("score", Reason.SECURITY, "No."),), categories={"order": (), "score": ()}),
        )
        entry = manifest.sources[0]
        assert (entry.status, [resource.name for resource in entry.resources]) == (Status.FOUND, ["order"])
        assert entry.withheld[0].resource == "score"
        assert manifest.complete


class TestRefused:
    """What a connector must not yield; errors name source and resource, and no value."""

    @pytest.mark.parametrize(
        "value",
        [
            Decimal("1"),
            datetime(2025, 1, 1, tzinfo=UTC),
            b"x",
            {1, 2},
            object(),
            float("nan"),
            float("inf"),
            {("a", "b"): 1},
            {1: 1, "a": 2},
            10**5000,
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_a_value_json_cannot_express(self, tmp_path: Path, value: object) -> None:
        """It ends the package with a `ContractError`, and nothing is left."""
        with pytest.raises(ContractError) as caught:
            write(tmp_path / "copy.zip", source("mixpanel", [Record("event", {"mira@example.com": [value]})]))
        assert caught.value.source == "mixpanel"
        assert "'event'" in str(caught.value)
        assert "mira" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        assert left_in(tmp_path) == []

    def test_data_without_end(self, tmp_path: Path) -> None:
        """Data that holds itself, or is nested without end, is refused like any other."""
        circle: dict[str, Any] = {}
        circle["self"] = circle
        deep: dict[str, Any] = {}
        for _ in range(100_000):
            deep = {"d": deep}
        for data in (circle, deep):
            with pytest.raises(ContractError, match="JSON"):
                write(tmp_path / "copy.zip", source(records=[Record("event", data)]))
        while deep:  # taken apart by hand: letting go of it at once would nest as deeply
            deep = deep["d"]

    @pytest.mark.parametrize(
        "record",
        [None, {"a": 1}, "x", Record("", {}), Record(7, {}), Record("event", [1]), Record("event", None)],  # type: ignore[arg-type]
    )
    def test_not_a_record(self, tmp_path: Path, record: object) -> None:
        """Anything but a `Record` of an object is a bug of the connector."""
        with pytest.raises(ContractError, match="mixpanel"):
            write(tmp_path / "copy.zip", source("mixpanel", [record]))  # type: ignore[list-item]
        assert left_in(tmp_path) == []

    def test_ids_as_resources(self, tmp_path: Path) -> None:
        """More kinds of records than any source has means that ids are used as names."""
        with pytest.raises(ContractError, match="more than 1000 kinds"):
            write(tmp_path / "copy.zip", source(records=(Record(f"id-{n}", {}) for n in range(5000))))

    def test_a_moment_without_time_zone(self, tmp_path: Path) -> None:
        """The time of the copy is told with its zone."""
        with pytest.raises(ConfigError, match="made_at"):
            write(tmp_path / "copy.zip", made_at=datetime(2025, 1, 1))  # noqa: DTZ001 - that is the mistake
        assert left_in(tmp_path) == []


class TestInPlace:
    """The package is there whole or not at all."""

    @pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), MemoryError()], ids=lambda error: type(error).__name__)
    def test_a_crash_in_the_middle(self, tmp_path: Path, error: BaseException) -> None:
        """An error nobody meant travels on, nothing is left in the folder, and the iterator is closed."""
        closed: list[bool] = []

        class Records(Iterator[Record]):
            n = 0

            def __next__(self) -> Record:
                self.n += 1
                if self.n > 1500:
                    raise error
                return Record(f"kind_{self.n % 5}", {"body": "x" * 2000})

            def close(self) -> None:
                closed.append(True)

        with pytest.raises(type(error)):
            write(tmp_path / "copy.zip", source("a", [Record("r", {})]), source("b", Records()))
        assert left_in(tmp_path) == []
        assert closed == [True]

    def test_an_existing_package_survives_a_crash(self, tmp_path: Path) -> None:
        """With ``overwrite=True`` the old package stays until the new one is whole."""
        path = tmp_path / "copy.zip"
        write(path, source("old", [Record("r", {})]))
        before = path.read_bytes()

        def sources() -> Iterator[SourceCopy]:
            yield source("new", [Record("r", {})])
            raise RuntimeError("boom")

        with pytest.raises(RuntimeError):
            write(path, sources=sources(), overwrite=True)
        assert path.read_bytes() == before
        assert left_in(tmp_path) == ["copy.zip"]

    def test_overwriting_is_asked_for(self, tmp_path: Path) -> None:
        """An existing file is left alone, before anything is asked of a source, unless ``overwrite=True``."""
        path = tmp_path / "copy.zip"
        path.write_text("precious")
        asked: list[bool] = []

        def records() -> Iterator[Record]:
            asked.append(True)
            yield Record("r", {})

        with pytest.raises(ConfigError, match="overwrite=True"):
            write(path, source(records=records()))
        assert (path.read_text(), asked, left_in(tmp_path)) == ("precious", [], ["copy.zip"])
        write(path, source(records=records()), overwrite=True)
        assert verify_package(path) == []
        (tmp_path / "folder").mkdir()
        with pytest.raises(ConfigError):
            write(tmp_path / "folder", overwrite=True)

    def test_a_file_that_appears_meanwhile(self, tmp_path: Path) -> None:
        """A file that someone else puts there while the package is being written is left alone too."""
        path = tmp_path / "copy.zip"

        def records() -> Iterator[Record]:
            path.write_text("precious")
            yield Record("r", {})

        with pytest.raises(ConfigError):
            write(path, source(records=records()))
        assert (path.read_text(), left_in(tmp_path)) == ("precious", ["copy.zip"])

    def test_only_the_owner_can_read_it(self, tmp_path: Path) -> None:
        """Mode 0600 from the first byte, whatever the umask; the records that wait lie in a file without a name."""
        path = tmp_path / "copy.zip"
        during: list[tuple[str, int]] = []

        def records() -> Iterator[Record]:
            for n in range(600):
                yield Record(f"kind_{n % 9}", {"body": "x" * 5000})
            during.extend((entry.name, stat.S_IMODE(entry.stat().st_mode)) for entry in tmp_path.iterdir())

        (tmp_path / "copy.zip.part").write_text("left by a process that was killed")
        (tmp_path / "copy.zip.part").chmod(0o666)
        before = os.umask(0)
        try:
            write(path, source(records=records()))
        finally:
            os.umask(before)
        assert during == [("copy.zip.part", 0o600)]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert verify_package(path) == []

    def test_two_writers_of_one_package(self, tmp_path: Path) -> None:
        """While one writes, another is refused and disturbs nothing."""
        path = tmp_path / "copy.zip"

        def records() -> Iterator[Record]:
            yield Record("r", {"n": 1})
            with pytest.raises(ConfigError, match="another process"):
                write(path, source(records=[Record("r", {"n": 2})]), overwrite=True)
            yield Record("r", {"n": 3})

        write(path, source(records=records()))
        assert [record["n"] for record in lines(path, "data/shop/r.jsonl")] == [1, 3]

    def test_a_link_in_the_way(self, tmp_path: Path) -> None:
        """A symbolic link at ``.part`` is not followed: nothing is written through it."""
        (tmp_path / "precious").write_text("precious")
        (tmp_path / "copy.zip.part").symlink_to(tmp_path / "precious")
        with pytest.raises(ConfigError):
            write(tmp_path / "copy.zip")
        assert (tmp_path / "precious").read_text() == "precious"

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        """It is told before anything is asked of a source."""
        with pytest.raises(ConfigError, match="folder"):
            write(tmp_path / "no" / "copy.zip")

    def test_killed_at_once(self, tmp_path: Path) -> None:
        """After ``kill -9`` there is no package and no spooled record, and the next run writes it."""
        path = tmp_path / "copy.zip"
        script = (
            "import sys; sys.path.insert(0, sys.argv[2]); from test_package import *\n"
            "def records():\n"
            "    for n in range(10**9):\n"
            "        yield Record(f'kind_{n % 5}', {'body': 'x' * 2000})\n"
            "        if n == 3000: print('now', flush=True)\n"
            "write(Path(sys.argv[1]), source('a', [Record('r', {})]), source('b', records()))\n"
        )
        command = [sys.executable, "-c", script, str(path), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"now\n"
            os.kill(process.pid, signal.SIGKILL)
        assert left_in(tmp_path) == ["copy.zip.part"]
        write(path, source("a", [Record("r", {})]))
        assert left_in(tmp_path) == ["copy.zip"]
        assert verify_package(path) == []


class TestVerify:
    """The package proves itself, to whoever holds it."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A package of two sources."""
        path = tmp_path / "copy.zip"
        write(path, source("shop", (Record(f"k{n % 2}", {"n": n}) for n in range(40))), source("mail", could_not_check="no"))
        return path

    def test_any_changed_byte_of_a_file_is_found(self, path: Path) -> None:
        """In each file, one character more or less, or another one, is told by the name of the file."""
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name != "manifest.json"]
        for name in names:
            for change in (lambda data: data[:-1], lambda data: data + b" ", lambda data: bytes([data[0] ^ 1]) + data[1:]):
                problems = verify_package(rebuilt(path, lambda file, data, name=name, change=change: change(data) if file == name else data))  # type: ignore[misc]
                assert problems
                assert all(problem.startswith(name) for problem in problems)

    def test_any_changed_byte_of_the_archive(self, path: Path, tmp_path: Path) -> None:
        """Wherever a byte of the zip is damaged: either it is found, or every file still reads as it was written."""
        whole = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        damaged = tmp_path / "damaged.zip"
        chance = random.Random(1)
        found = 0
        for position in chance.sample(range(len(whole)), 400):
            damaged.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << chance.randrange(8))]) + whole[position + 1 :])
            if verify_package(damaged):
                found += 1
            else:
                with zipfile.ZipFile(damaged) as archive:
                    assert {name: archive.read(name) for name in archive.namelist()} == contents
        assert found > 300

    def test_cut_off_anywhere(self, path: Path, tmp_path: Path) -> None:
        """A download that broke off is found."""
        whole = path.read_bytes()
        for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
            (tmp_path / "cut.zip").write_bytes(whole[:length])
            assert verify_package(tmp_path / "cut.zip")

    def test_missing_added_and_doubled_files(self, path: Path) -> None:
        """Each file is there once, and no other."""
        assert verify_package(rebuilt(path, lambda name, data: None if name == "README.txt" else data)) == ["README.txt is missing"]
        assert verify_package(rebuilt(path, lambda name, data: None if name == "manifest.json" else data)) == ["manifest.json is missing"]
        assert verify_package(rebuilt(path, lambda name, data: data, extra={"../evil.sh": b""})) == [
            "'../evil.sh' is in the package and not in the manifest"
        ]
        with pytest.warns(UserWarning, match="Duplicate"):
            doubled = rebuilt(path, lambda name, data: data, extra={"README.txt": b"other"})
        assert "'README.txt' is in the package twice" in verify_package(doubled)

    def test_a_manifest_that_lies_about_counts(self, path: Path) -> None:
        """A record taken out of a file and a matching checksum do not hide that the count is wrong."""

        def fewer(name: str, data: bytes) -> bytes:
            return data.replace(b'"records": 20', b'"records": 21').replace(b'"records": 40', b'"records": 42') if name == "manifest.json" else data

        problems = verify_package(rebuilt(path, fewer))
        assert problems == [f"data/shop/k{n}.jsonl has 20 records, and the manifest says 21" for n in (0, 1)]

    @pytest.mark.parametrize("manifest", [b"", b"{}", b"[]", b"\xff\xfe", b'{"format": "dsr-copy/2"}', b"[" * 100_000])
    def test_a_manifest_of_garbage(self, path: Path, manifest: bytes) -> None:
        """Garbage is a problem, never a crash."""
        problems = verify_package(rebuilt(path, lambda name, data: manifest if name == "manifest.json" else data))
        assert len(problems) == 1
        assert problems[0].startswith("manifest.json")

    def test_not_a_package(self, tmp_path: Path) -> None:
        """A missing file, a folder, text, and an empty zip are each told."""
        assert verify_package(tmp_path / "none.zip") == ["there is no such file"]
        assert verify_package(tmp_path) == ["it is not a readable zip file"]
        (tmp_path / "text.zip").write_text("hello")
        assert verify_package(tmp_path / "text.zip") == ["it is not a readable zip file"]
        with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
            pass
        assert verify_package(tmp_path / "empty.zip") == ["manifest.json is missing"]

    def test_a_bomb_is_not_unpacked(self, path: Path) -> None:
        """Of a file that is larger than the manifest says, no more is read than shows it."""
        bomb = rebuilt(path, lambda name, data: b"\0" * 200_000_000 if name == "README.txt" else data)
        tracemalloc.start()
        try:
            assert verify_package(bomb) == ["README.txt is larger than the manifest says"]
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


def test_importing_needs_no_template_engine() -> None:
    """``import dsr_sdk.copy`` loads neither jinja2 nor httpx nor SQLAlchemy."""
    code = "import dsr_sdk.copy, sys; print([name for name in ('jinja2', 'httpx', 'sqlalchemy') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert result.stdout.strip() == "[]"


def test_all_is_sorted() -> None:
    """What the floor offers is listed in order, and exists."""
    import dsr_sdk.copy

    assert dsr_sdk.copy.__all__ == sorted(dsr_sdk.copy.__all__)
    assert all(hasattr(dsr_sdk.copy, name) for name in dsr_sdk.copy.__all__)
