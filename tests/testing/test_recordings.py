"""Recorded answers are fed to the call they belong to, and judged by what the vendor said."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dsr_sdk import Category, ConfigError, Connector, DsrError, Email, Erased, Holds, Match, Outcome, Record, Subject, Unsupported
from dsr_sdk.http import Api
from dsr_sdk.testing import Call, Person, Sandbox, route
from dsr_sdk.testing.recordings import Report, replay_recordings


class LibrarySandbox(Sandbox):
    """Readers, searched by address."""

    slug, title = "library", "Library"

    def __init__(self) -> None:
        super().__init__()
        self.readers: dict[str, Person] = {}

    def add_person(self, person: Person) -> None:
        """A reader."""
        self.readers[f"{100 + len(self.readers)}"] = person

    def holds(self, email: str) -> bool:
        """Whether a reader has the address."""
        return any(person.email == email for person in self.readers.values())

    @route("GET", "/v2/readers/search")
    def search(self, call: Call) -> Any:
        """By address."""
        rows = [{"id": int(key), "email": person.email} for key, person in self.readers.items() if person.email == call.params["query"]]
        return {"readers": rows, "count": len(rows)}

    @route("GET", "/v2/readers/{id}")
    def read(self, call: Call) -> Any:
        """One."""
        person = self.readers.get(call.ids["id"])
        return {"reader": {"id": int(call.ids["id"]), "email": person.email}} if person else self.no_route(call)

    @route("DELETE", "/v2/readers/{id}")
    def delete(self, call: Call) -> Any:
        """Gone."""
        return {"reader": {"id": int(call.ids["id"]), "active": False}} if self.readers.pop(call.ids["id"], None) else self.no_route(call)


class Library(Connector):
    """Library: readers are erased."""

    slug, title, category = "library", "Library", Category.COMMUNITY
    identified_by = (Email,)
    holds = (Holds("reader", data=("user.contact.email",)),)
    base_url = "https://acme.library.example/api"
    opt_out = Unsupported("a library sells no data")
    email = Unsupported("reached through its API")

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        for reader in api.get("/v2/readers/search", {"query": subject.email}).object()["readers"]:
            if str(reader.get("email", "")).lower() == subject.email:
                yield Match("reader", str(reader["id"]))

    def erase(self, api: Api, match: Match) -> Outcome:
        reader = api.delete("/v2/readers/{id}", id=match.id).object()["reader"]
        assert str(reader["id"]) == match.id, "the answer is about another"
        return Erased()

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        yield Record("reader", api.get("/v2/readers/{id}", id=match.id).object())


# The sandbox speaks of /v2, the base URL has /api before it.
class Api2Sandbox(LibrarySandbox):
    """The same behind a base path."""

    def answer(self, method: str, url: str, headers: Any, body: bytes = b"") -> Any:
        """Without the base path."""
        return super().answer(method, url.replace("/api/v2", "/v2"), headers, body)


def interaction(method: str, path: str, status: int, body: Any, **headers: str) -> dict[str, Any]:
    """One, as vcrpy writes it."""
    text = body if isinstance(body, str) else json.dumps(body)
    return {
        "request": {"method": method, "uri": f"https://other.library.example/api{path}", "body": None, "headers": {}},
        "response": {
            "status": {"code": status, "message": ""},
            "headers": {"Content-Type": ["application/json"], "Content-Encoding": ["gzip"], **{name: [value] for name, value in headers.items()}},
            "body": {"string": text},
        },
    }


BOB = {"id": 777, "email": "bob@corp.io"}
EVE = {"id": 778, "email": "eve@corp.io"}
REAL = (
    interaction("GET", "/v2/readers/search.json?query=bob%40corp.io", 200, {"readers": [BOB], "count": 1}),
    interaction("GET", "/v2/readers/search?query=bob%40corp.io", 200, {"readers": [], "count": 0}),
    interaction("GET", "/v2/readers/search?query=bob%40corp.io", 200, {"readers": [EVE], "count": 1}),
    interaction("GET", "/v2/readers/search?query=bob%40corp.io", 401, {"error": "Couldn't authenticate you"}),
    interaction("GET", "/v2/readers/search?query=bob%40corp.io", 404, {"error": "RecordNotFound"}),
    interaction("GET", "/v2/readers/search?query=bob%40corp.io", 429, "Number of allowed API requests exceeded", **{"Retry-After": "30"}),
    interaction("DELETE", "/v2/readers/777", 200, {"reader": {"id": 777, "email": "bob@corp.io", "active": False}}),
    interaction("DELETE", "/v2/readers/777.json", 404, {"error": "RecordNotFound"}),
    interaction("DELETE", "/v2/readers/777", 422, {"error": "RecordInvalid"}),
    interaction("GET", "/v2/readers/777", 200, {"reader": BOB}),
    interaction("GET", "/v2/readers/777", 200, '{"reader": {"id": <VENDOR_ID>'),
    interaction("POST", "/v2/readers/777/merge", 200, {}),
)


def report_on(connector: type[Connector], directory: Path, *rows: dict[str, Any]) -> Report:
    """Write the rows down as a recording and feed them."""
    (directory / "readers.yaml").write_text("# real recording\n" + yaml.safe_dump({"interactions": list(rows), "version": 1}))
    return replay_recordings(connector, directory, sandbox=Api2Sandbox)


def test_each_answer_is_judged(tmp_path: Path) -> None:
    """Every recorded answer finds its verb, with the recording's address and ids put in the place of ours."""
    report = report_on(Library, tmp_path, *REAL)
    assert [(row.verb, row.status, row.verdict) for row in report.rows] == [
        ("find", 200, "ok"),
        ("find", 200, "ok"),
        ("find", 200, "ok"),
        ("find", 401, "ok"),
        ("find", 404, "ok"),
        ("find", 429, "ok"),
        ("erase", 200, "ok"),
        ("erase", 404, "ok"),
        ("erase", 422, "ok"),
        ("export", 200, "ok"),
        ("", 200, "not applicable"),
        ("", 200, "not applicable"),
    ]
    assert [row.conclusion for row in report.rows[:3]] == [
        "1 reader (named in the answer)",
        "nothing (an empty list)",
        "nothing (nobody's address in the answer)",
    ]
    assert report.rows[7].conclusion == "1 absent"
    assert report.counts == {"ok": 10, "not ok": 0, "not applicable": 2}
    assert "its JSON was damaged" in str(report)
    assert "POST /api/v2/readers/*/merge: the connector makes no such call" in str(report).replace("/api/*/", "/api/v2/")


class TrustsTheSearch(Library):
    """Takes whoever the search names."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        for reader in api.get("/v2/readers/search", {"query": subject.email}).object()["readers"]:
            yield Match("reader", str(reader["id"]))


class FindsNobody(Library):
    """Reads another member of the answer."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        if api.get("/v2/readers/search", {"query": subject.email}).object()["count"] == 99:
            yield Match("reader", "1")
        if api.calls > 1:
            yield from super().find(api, subject)


class TripsOver(Library):
    """Expects a member that the real answer does not have."""

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        yield Record("reader", {"since": api.get("/v2/readers/{id}", id=match.id).object()["reader"]["since"]})


class SwallowsLimits(Library):
    """A limit is nobody."""

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        try:
            yield from super().find(api, subject)
        except DsrError:
            return


@pytest.mark.parametrize(
    ("connector", "row", "why"),
    [
        (TrustsTheSearch, REAL[2], "somebody else's record"),
        (FindsNobody, REAL[0], "names the person, and nothing is found"),
        (SwallowsLimits, REAL[5], "nothing"),
        (SwallowsLimits, REAL[3], "nothing"),
    ],
)
def test_a_wrong_reading_is_not_ok(tmp_path: Path, connector: type[Connector], row: dict[str, Any], why: str) -> None:
    """A connector that concludes something else than the vendor said is found out."""
    (failed,) = report_on(connector, tmp_path, row).failed
    assert why in failed.conclusion


def test_a_surprise_is_not_ok(tmp_path: Path) -> None:
    """A connector that trips over a real answer, with an error that is none of ours, is found out."""

    class Generous(Api2Sandbox):
        """Answers more than the vendor does."""

        @route("GET", "/v2/readers/{id}")
        def read(self, call: Call) -> Any:
            return {"reader": {"id": 1, "since": 2020}}

    (tmp_path / "readers.yaml").write_text(yaml.safe_dump({"interactions": [REAL[9]]}))
    (failed,) = replay_recordings(TripsOver, tmp_path, sandbox=Generous).failed
    assert failed.conclusion == "raised KeyError, which is no DsrError"


def test_nothing_is_passed_in_silence(tmp_path: Path) -> None:
    """A directory without recordings, a file that is none, a missing sandbox: errors, not an empty report."""
    with pytest.raises(ConfigError, match="no recording"):
        replay_recordings(Library, tmp_path, sandbox=Api2Sandbox)
    with pytest.raises(ConfigError, match="no sandbox is installed"):
        replay_recordings(Library, tmp_path)
    (tmp_path / "broken.yaml").write_text("a: !!python/name:os.system")
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        replay_recordings(Library, tmp_path, sandbox=Api2Sandbox)


def _as_ruby(raw: dict[str, Any]) -> dict[str, Any]:
    """The same as Ruby's VCR and Betamax write it: a body in a mapping, base64 where it is binary."""
    rows = []
    for row in raw["interactions"]:
        request, response = row["request"], row["response"]
        body = {"base64_string": base64.b64encode(gzip.compress(response["body"]["string"].encode())).decode(), "encoding": "UTF-8"}
        rows.append({"request": {**request, "body": {"string": "", "encoding": ""}}, "response": {**response, "body": body}})
    return {"http_interactions": rows, "recorded_with": "VCR 6.0"}


@pytest.mark.parametrize("form", ["nested", "yml", "json", "ruby", "old"])
def test_recordings_of_every_origin(tmp_path: Path, form: str) -> None:
    """In directories, in JSON, by other tools, by a vcrpy before 1.0: what is in them is the same."""
    plain = {
        "interactions": [
            {
                "request": {
                    "method": "GET",
                    "uri": "https://x.library.example/api/v2/readers/search?query=bob%40corp.io",
                    "body": None,
                    "headers": {},
                },
                "response": {"status": {"code": 429, "message": ""}, "headers": {"Retry-After": ["3"]}, "body": {"string": "{}"}},
            }
        ]
    }
    name = {"nested": "a/b/one.yaml", "yml": "one.yml", "json": "one.json"}.get(form, "one.yaml")
    raw: Any = {"ruby": _as_ruby(plain), "old": plain["interactions"]}.get(form, plain)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(raw) if form == "json" else yaml.safe_dump(raw))
    (tmp_path / "bodies").mkdir()
    (tmp_path / "bodies" / "reader.json").write_text("{}")
    report = replay_recordings(Library, tmp_path, sandbox=Api2Sandbox)
    assert [(row.file, row.verb, row.verdict) for row in report.rows] == [(name, "find", "ok")]


def test_a_file_that_is_no_recording_is_named(tmp_path: Path) -> None:
    """One line: the file, and what to do with it."""
    (tmp_path / "one.yaml").write_text("interactions: [{request: {}}]")
    with pytest.raises(ConfigError, match=r"one\.yaml: is no vcrpy recording \(take it out"):
        replay_recordings(Library, tmp_path, sandbox=Api2Sandbox)
