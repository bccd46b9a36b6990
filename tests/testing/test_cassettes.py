"""Cassettes are recorded the same each time, replay without a network, and are refused when they hold what they must not."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from pydantic import SecretStr

from dsr_sdk import (
    Category,
    ConfigError,
    Connector,
    ConnectorConfig,
    Email,
    Erased,
    Holds,
    Match,
    Outcome,
    Pending,
    Record,
    Subject,
    Unsupported,
)
from dsr_sdk.http import Api, BasicAuth, NextUrl
from dsr_sdk.testing import Answer, Call, Person, Sandbox, route
from dsr_sdk.testing.cassettes import SCENARIOS, lint, load, record, replay
from dsr_sdk.testing.suite import ConnectorSuite

SECRET = "zq/toy+secret=key-eu1"
AWS = "AKIAABCDEFGHIJKLMNOP"
PEOPLE = Person("ada@corp.io", "Adaline", "Byron", "+4915112345678", "u-4711")


class TapeSandbox(Sandbox):
    """Members behind Basic authentication; an exchange of the key for a token; answers full of what must not be written down."""

    slug, title = "tape", "Tape"
    credentials: ClassVar[dict[str, str]] = {"api_key": SECRET, "plan": "gold"}

    def __init__(self) -> None:
        super().__init__()
        self.members: dict[str, Person] = {}
        self.jobs: dict[str, float] = {}

    def add_person(self, person: Person) -> None:
        """A member."""
        self.members[f"m_{len(self.members)}"] = person

    def holds(self, email: str) -> bool:
        """Whether a member has the address."""
        return any(person.email == email for person in self.members.values())

    def records(self, email: str) -> dict[str, int]:
        """Members."""
        return {"member": sum(person.email == email for person in self.members.values())}

    def authorised(self, call: Call) -> bool:
        """Basic, with the key for a password."""
        return call.headers.get("authorization") == "Basic " + base64.b64encode(f"any:{SECRET}".encode()).decode()

    def finish(self, call: Call, answer: Answer) -> Answer:
        """Headers as vendors send them."""
        answer.headers |= {"Set-Cookie": f"session={SECRET}", "Date": "Sat, 21 Nov 2026 10:00:00 GMT", "X-RateLimit-Remaining": "99"}
        return answer

    @route("POST", "/token")
    def token(self, call: Call) -> Any:
        """A token for the key."""
        return {"access_token": f"issued-for-{call.form()['client_secret']}", "nonce": str(uuid.uuid4())}

    @route("GET", "/members")
    def find_members(self, call: Call) -> Any:
        """By address, packed; with a page to come that names the address and the key."""
        mine = [{"id": key, "email": person.email} for key, person in self.members.items() if person.email.lower() == call.params["email"]]
        page = int(call.params.get("page", "1"))
        following = f"{call.path}?email={call.params['email'].replace('@', '%40')}&page=2" if page == 1 else None
        owner = {
            "owner": "somebody@corp.io",
            "note": json.dumps({"key": SECRET}),
            "basic": call.headers["authorization"],
            "aws": "AKIAABCDEFGHIJKLMNOP",
        }
        body = json.dumps({"members": mine if page == 1 else [], "links": {"next": following}, **owner}).encode()
        return Answer(200, gzip.compress(body), {"Content-Type": "application/json", "Content-Encoding": "gzip"})

    @route("GET", "/members/{id}")
    def read(self, call: Call) -> Any:
        """One."""
        person = self.members[call.ids["id"]]
        return {"id": call.ids["id"], "email": person.email, "phone": person.phone, "name": f"{person.first_name} {person.last_name}"}

    @route("DELETE", "/members/{id}")
    def delete(self, call: Call) -> Any:
        """A job of a day."""
        if call.ids["id"] not in self.members:
            return self.no_route(call)
        self.jobs[call.ids["id"]] = self.now() + 86_400
        return Answer.json({"job": call.ids["id"], "at": self.now()}, 202)

    @route("GET", "/jobs/{id}")
    def job(self, call: Call) -> Any:
        """Running or done."""
        if self.now() < self.jobs[call.ids["id"]]:
            return {"state": "running"}
        if self.members.pop(call.ids["id"], None):
            self.effect(f"erase {call.ids['id']}")
        return {"state": "done"}


class Tape(Connector):
    """Tape: members are erased by a job."""

    slug, title, category = "tape", "Tape", Category.CRM
    identified_by = (Email,)
    holds = (Holds("member", data=("user.contact.email",)),)
    exempt: ClassVar[dict[str, str]] = {"secrets_and_people_stay_where_they_belong": "Tape takes the key in a body and gives a token for it"}
    opt_out = Unsupported("Tape sells no data")
    email = Unsupported("Tape is reached through its API")

    class Config(ConnectorConfig):
        api_key: SecretStr
        plan: str = ""

    @property
    def base_url(self) -> str:  # type: ignore[override]  # the data centre stands at the end of the key, as with Mailchimp
        return f"https://{self.config.api_key.get_secret_value().rpartition('-')[2]}.api.tape.example"

    def auth(self) -> BasicAuth:
        return BasicAuth("any", self.config.api_key)

    def headers(self) -> dict[str, str]:
        return {"Tape-Version": "2026-01"}

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        api.post("/token", form={"client_secret": self.config.api_key.get_secret_value()}, retry=True)
        for member in api.pages("/members", {"email": subject.email}, paging=NextUrl("members")):
            yield Match("member", member["id"])

    def erase(self, api: Api, match: Match) -> Outcome:
        return Pending(api.delete("/members/{id}", id=match.id).object()["job"])

    def poll(self, api: Api, job: str) -> Outcome:
        return Erased() if api.get("/jobs/{id}", id=job).object()["state"] == "done" else Pending(job)

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        yield Record("member", api.get("/members/{id}", id=match.id).object())


class TestTape(ConnectorSuite):
    """The suite over a connector whose cassettes were recorded a moment ago."""

    connector = Tape
    sandbox = TapeSandbox

    def fail_jobs(self, sandbox: Sandbox) -> bool:
        """They are forgotten, and nobody says so."""
        assert isinstance(sandbox, TapeSandbox)
        sandbox.jobs = dict.fromkeys(sandbox.jobs, float("inf"))
        return False

    @pytest.fixture(autouse=True)
    def _recorded(self, directory: Path) -> None:
        type(self).cassettes = directory


def test_a_suite_records_what_it_replays(directory: Path, tmp_path: Path) -> None:
    """``TestTape.record()`` writes the same files as `record`, with the suite's own person and identity."""

    class Suite(ConnectorSuite):
        """As an author writes it."""

        connector, sandbox, cassettes = Tape, TapeSandbox, tmp_path

    class Nowhere(ConnectorSuite):
        """Without a directory."""

        connector, sandbox = Tape, TapeSandbox

    for path in Suite.record():
        assert path.read_text() == (directory / path.name).read_text()
    with pytest.raises(ConfigError, match="directory"):
        Nowhere.record()


@pytest.fixture(scope="session", name="directory")
def _directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("cassettes")
    record(Tape, TapeSandbox, directory)
    return directory


@pytest.fixture(name="erase")
def _erase(directory: Path, tmp_path: Path) -> Path:
    """A copy of the erasure's cassette, to be spoilt."""
    return Path(shutil.copy(directory / "erase.yaml", tmp_path / "erase.yaml"))


def spoil(path: Path, change: Any) -> Path:
    """Change a cassette in place."""
    raw = yaml.safe_load(path.read_text())
    change(raw)
    path.write_text(yaml.safe_dump(raw))
    return path


def test_one_cassette_for_each_verb(directory: Path) -> None:
    """Erasing and copying are recorded apart; a verb the connector excuses has none; drafts are not left behind."""
    assert sorted(path.name for path in directory.iterdir()) == ["copy.yaml", "erase.yaml"]
    assert set(SCENARIOS) == {"erase", "copy", "opt_out"}


def test_recording_again_changes_nothing(directory: Path, tmp_path: Path) -> None:
    """The same people, the same clock, the same random ids: the difference of two recordings is what changed."""
    record(Tape, TapeSandbox, tmp_path)
    for name in ("erase.yaml", "copy.yaml"):
        assert (tmp_path / name).read_text() == (directory / name).read_text()


def test_no_secret_is_written(directory: Path) -> None:
    """The key stands nowhere, in whatever spelling the sandbox gave it back; neither do cookies, dates, and real people."""
    for path in directory.iterdir():
        text = path.read_text()
        for spelling in (SECRET, "zq%2Ftoy", "zq\\/toy", base64.b64encode(f"any:{SECRET}".encode()).decode(), "issued-for", "corp.io", "AKIA"):
            assert spelling.casefold() not in text.casefold()
        assert "cookie" not in text.casefold()
        assert "GMT" not in text
        assert "someone-1@example.com" in text
        assert "x-ratelimit-remaining" in text
        assert lint(path, Tape) == []


def test_provenance(directory: Path) -> None:
    """A cassette says where it comes from, which settings it needs, and what was concluded; the settings hold stand-ins for secrets."""
    metadata = load(directory / "erase.yaml")["metadata"]
    assert metadata["recorded_from"] == "sandbox"
    assert (metadata["connector"], metadata["scenario"], metadata["api_version"]) == ("tape", "erase", "2026-01")
    assert metadata["settings"] == {"allow_private_hosts": False, "plan": "gold", "api_key": "REDACTED-eu1"}
    assert metadata["hosts"] == ["eu1.api.tape.example"]
    assert metadata["conclusion"] == {"found": {"member": 1}, "outcomes": {"member erased": 1}, "found_again": {}}


def test_replay(directory: Path) -> None:
    """Each cassette replays to its conclusion: the job is pending at first, and done later."""
    assert replay(Tape, directory / "erase.yaml").conclusion()["outcomes"] == {"member erased": 1}
    assert [record.data["name"] for record in replay(Tape, directory / "copy.yaml").records] == ["Ada Lovelace"]
    polls = [row["response"]["body"]["string"] for row in load(directory / "erase.yaml")["interactions"] if "/jobs/" in row["request"]["uri"]]
    assert [json.loads(poll)["state"] for poll in polls] == ["running", "done"]


def test_replay_notices_a_call_more(erase: Path) -> None:
    """A connector that calls what was not recorded fails, and nothing goes out to a network."""
    spoil(erase, lambda raw: raw["interactions"].pop(3))
    with pytest.raises(AssertionError, match=r"erase.yaml: asked for before: .*; asked for now: DELETE /members/m_1\. Read the difference"):
        replay(Tape, erase)


def test_replay_shows_the_difference_first(erase: Path) -> None:
    """Whoever asks for less loses something, perhaps: the two are shown side by side, then it is said to read them, and last how to record."""

    class Hasty(Tape):
        """Reads the first page, and asks for fewer."""

        def find(self, api: Api, subject: Subject) -> Iterator[Match]:
            api.post("/token", form={"client_secret": self.config.api_key.get_secret_value()}, retry=True)
            for member in api.get("/members", {"email": subject.email, "page": 1, "size": 5}).object()["members"]:
                yield Match("member", member["id"])

    with pytest.raises(AssertionError) as caught:
        replay(Hasty, erase)
    said = str(caught.value)
    before, now = said.index("asked for before: GET /members?email=..."), said.index("asked for now: GET /members?email=...&page=1&size=5")
    assert before < now < said.index("Read the difference") < said.index("dsr cassette record tape")
    assert "@" not in said


def test_replay_notices_a_call_less(erase: Path) -> None:
    """A connector that leaves a recorded call out fails."""
    spoil(erase, lambda raw: raw["interactions"].append(json.loads(json.dumps(raw["interactions"][0]))))
    with pytest.raises(AssertionError, match=r"asked for before: POST /token; asked for now: no more of that\. Read"):
        replay(Tape, erase)


def test_replay_notices_another_body(erase: Path) -> None:
    """Bodies and queries are compared; dates in them are not, for they are those of the day."""
    spoil(erase, lambda raw: raw["interactions"][0]["request"].update(body="client_secret=other"))
    with pytest.raises(AssertionError, match=r"asked for now: POST /token \(with other values, or another body\)"):
        replay(Tape, erase)


def test_replay_notices_another_conclusion(erase: Path) -> None:
    """A connector that comes to another conclusion from the same answers fails."""
    spoil(erase, lambda raw: raw["metadata"]["conclusion"].update(outcomes={"member absent": 1}))
    with pytest.raises(AssertionError, match="member erased"):
        replay(Tape, erase)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version: 1",
        "interactions: [{request: {}}]",
        "interactions: 3",
        "[unclosed",
        "a: !!python/object/apply:os.system [true]",
        "interactions: []\nmetadata: [1]",
        "a: &x [1]\ninteractions: [*x, *x]",
        "\x00",
        "interactions: []\nx: " + "a" * 1_000_001,
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str) -> None:
    """Whatever is wrong with the file, the error is one line that names it; nothing in it is ever executed."""
    path = tmp_path / "erase.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        replay(Tape, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert lint(path, Tape)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {request: {}, response: {}}", "is a cassette of another version of vcrpy (record it again"),
        ("version: 2\ninteractions: []", "is a cassette of another version of vcrpy (record it again"),
        ("http_interactions: []\nrecorded_with: VCR 6.0", "is a cassette of another tool (VCR, Betamax), not of vcrpy (record it again"),
        ("a: 1", "is no cassette: it lists no interactions (record it again"),
        ("interactions: [{request: {method: GET, uri: 'https://x.example/', headers: {}}, response: {status: 200}}]", "has no response status code"),
        ("interactions: [{request: {method: GET, uri: 'https://x.example/', headers: {}, body: ''}}]", "interaction 1 has no request and response"),
        ("a: 1\nb: !!python/object/apply:os.system [true]", "is no safe YAML in line 2: it asks for more than data (record it again"),
        ("a: [1\nb: 2", "is no YAML in line 2"),
    ],
)
def test_an_older_or_foreign_file_is_named_with_its_fix(tmp_path: Path, text: str, said: str) -> None:
    """One line: the file, what it is, and what to do about it."""
    path = tmp_path / "erase.yaml"
    path.write_text(text)
    (line,) = lint(path)
    assert line.startswith(str(path))
    assert said.replace("(", "").replace(")", "") in line.replace("(", "").replace(")", "")
    assert "record it again" in line


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A cassette that is not there is never recorded by the way."""
    with pytest.raises(ConfigError, match="cannot be read"):
        replay(Tape, tmp_path / "erase.yaml")
    assert list(tmp_path.iterdir()) == []


def put(where: str, value: Any) -> Any:
    """A change that puts a value into the first interaction."""

    def change(raw: dict[str, Any]) -> None:
        request, response = raw["interactions"][0]["request"], raw["interactions"][0]["response"]
        targets = {"uri": request, "body": request, "request header": request["headers"], "response header": response["headers"], "answer": response}
        if where in ("uri", "body"):
            targets[where][where] = value
        elif where == "answer":
            response["body"]["string"] = value
        else:
            targets[where].update(value)

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (put("request header", {"authorization": ["Bearer abcdefghijkl"]}), "authorization has a value"),
        (put("request header", {"x-api-key": ["abc"]}), "x-api-key has a value"),
        (put("request header", {"x-other": ["sk_live_abcdefgh"]}), "a vendor's key"),
        (put("response header", {"Set-Cookie": ["a=b"]}), "cookie"),
        (put("response header", {"link": ["<https://x.example/?e=bob%40corp.io>"]}), "e-mail address"),
        (put("uri", "https://elsewhere.example/token"), "a host the connector does not declare"),
        (put("uri", "https://eu1.api.tape.example/token?api_key=abc"), "api_key has a value"),
        (put("uri", "https://eu1.api.tape.example/members/bob%40corp.io"), "e-mail address"),
        (put("body", "client_secret=abc"), "client_secret"),
        (put("answer", '{"note": "{\\"access_token\\": \\"x\\"}"}'), "access_token"),
        (put("answer", "mail bob@corp.io"), "e-mail address"),
        (put("answer", gzip.compress(b"mail bob@corp.io")), "e-mail address"),
        (put("answer", b"\xff\xfe\x00"), "no text"),
        (lambda raw: raw["metadata"].pop("recorded_from"), "provenance is missing: recorded_from"),
        (lambda raw: raw["metadata"]["settings"].update(nonsense=1), "settings do not fit"),
        (lambda raw: raw["metadata"].update(note="bob@corp.io"), "metadata: an e-mail address"),
    ],
)
def test_lint_refuses(erase: Path, change: Any, problem: str) -> None:
    """What must not be committed is named with its place, and not repeated."""
    found = lint(spoil(erase, change), Tape)
    assert any(problem in line for line in found)
    assert not any("bob" in line or "abc" in line for line in found)


def test_real_people_are_replaced_by_the_usual_one(tmp_path: Path) -> None:
    """Recorded with a real test account, a cassette shows the usual person, and replays with them."""
    record(Tape, TapeSandbox, tmp_path, person=PEOPLE)
    for path in tmp_path.iterdir():
        text = path.read_text()
        for value in ("corp.io", "Adaline", "Byron", "4915112345678", "4711"):
            assert value not in text
        assert "ada.lovelace@example.com" in text
    assert replay(Tape, tmp_path / "copy.yaml").records[0].data["name"] == "Ada Lovelace"
    assert replay(Tape, tmp_path / "erase.yaml").found_again == []


def test_what_lint_refuses_is_not_kept(tmp_path: Path) -> None:
    """A recording that may not be committed leaves no file behind."""

    class Leaky(TapeSandbox):
        """Answers with more than anybody reads."""

        @route("GET", "/members/{id}")
        def read(self, call: Call) -> Any:
            return {"id": call.ids["id"], "extra": "a" * 1_000_000}

    with pytest.raises(ConfigError, match="larger"):
        record(Tape, Leaky, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["erase.yaml"]


def test_recording_the_vendor_needs_settings(tmp_path: Path) -> None:
    """Without a sandbox there must be settings: nothing is sent anywhere by accident."""
    with pytest.raises(ConfigError, match="settings"):
        record(Tape, None, tmp_path)
