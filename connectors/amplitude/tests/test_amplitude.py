"""The Amplitude connector against its sandbox, and against a description of Amplitude's API written from its documentation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from dsr_connector_amplitude import DELETIONS, LOOKUP, Amplitude
from dsr_connector_amplitude.sandbox import AmplitudeSandbox

from dsr_sdk import (
    Absent,
    AuthError,
    ControllerId,
    Erased,
    Failed,
    Match,
    Pending,
    RejectedError,
    Subject,
    TransientError,
    VendorId,
)
from dsr_sdk.http import RetryPolicy, SourceHttp
from dsr_sdk.http.limits import Pacer
from dsr_sdk.testing import Fault, Person, Sandbox, transport
from dsr_sdk.testing.checked import Checked
from dsr_sdk.testing.openapi import Description
from dsr_sdk.testing.suite import ConnectorSuite
from tests.reference import beside, shared

DAY = 86_400.0
ADA = Person("ada@example.com", "Ada", user_id="user-1")
BOB = Person("bob@example.org", "Bob", user_id="user-10")


def connected(where: AmplitudeSandbox | httpx.BaseTransport, **settings: Any) -> tuple[Amplitude, SourceHttp]:
    """A configured connector and its way to the sandbox, or to any transport. Nothing waits."""
    connector = Amplitude(Amplitude.Config(**{**AmplitudeSandbox.credentials, **settings}))
    wire = transport(where) if isinstance(where, AmplitudeSandbox) else where
    http = SourceHttp(connector, transport=wire, retry=RetryPolicy(attempts=1))
    http.pacer = Pacer(())
    return connector, http


def paced(sandbox: AmplitudeSandbox) -> tuple[Amplitude, SourceHttp]:
    """The same at the pace that the connector declares."""
    connector = Amplitude(Amplitude.Config(**sandbox.credentials))
    return connector, SourceHttp(connector, transport=transport(sandbox))


def sandbox_with(*people: Person) -> AmplitudeSandbox:
    """A sandbox with people in it, and without rate limits."""
    sandbox = AmplitudeSandbox()
    sandbox.limits = []
    sandbox.seed(people)
    return sandbox


def answering(answer: Callable[[httpx.Request], tuple[int, Any]]) -> httpx.MockTransport:
    """A vendor that answers as told."""

    def handle(request: httpx.Request) -> httpx.Response:
        status, body = answer(request)
        return httpx.Response(status, json=body)

    return httpx.MockTransport(handle)


def found(connector: Amplitude, http: SourceHttp, subject: Subject | str) -> list[Match]:
    """What is found for a subject, or for a user id."""
    return list(connector.dsr_find(http.api(), [Subject.of(user_id=subject) if isinstance(subject, str) else subject])[0])


def scheduled(connector: Amplitude, http: SourceHttp, matches: list[Match]) -> list[str]:
    """The jobs of matches that were all accepted."""
    outcomes = connector.dsr_delete(http.api(), matches)
    assert all(isinstance(outcome, Pending) for outcome in outcomes)
    return [outcome.job for outcome in outcomes if isinstance(outcome, Pending)]


class TestAmplitudeSuite(ConnectorSuite):
    """The tests every connector has to pass."""

    connector = Amplitude
    sandbox = AmplitudeSandbox
    cassettes = Path(__file__).parent / "cassettes"
    description = beside("specs", "amplitude.yaml")

    def fail_jobs(self, sandbox: Sandbox) -> bool:
        """Somebody takes everybody out of the jobs; the list of jobs shows it."""
        assert isinstance(sandbox, AmplitudeSandbox)
        for batch in sandbox.batches:
            batch.entries.clear()
        return True


class TestFind:
    """Who is found, and who is not."""

    def test_a_prefix_neighbour_is_somebody_else(self) -> None:
        """Asked for user-1, whom it does not know, Amplitude answers user-10: not found, rather than the wrong person."""
        sandbox = sandbox_with(BOB)
        connector, http = connected(sandbox)
        answer = http.api().get("/api/2/usersearch", {"user": "user-1"}).object()
        assert answer["type"] == "match_user_prefix"
        assert found(connector, http, "user-1") == []

    def test_a_user_id_that_is_another_ones_amplitude_id_or_device(self) -> None:
        """The search looks for the text everywhere: only the same user id is the same person."""
        sandbox = sandbox_with(Person(BOB.email, user_id="x", extra={"amplitude": {"device_id": "4711"}}))
        connector, http = connected(sandbox)
        assert found(connector, http, "4711") == []
        assert found(connector, http, str(next(iter(sandbox.users)))) == []

    def test_all_amplitude_ids_of_a_user_are_found(self) -> None:
        """A user id may stand on several Amplitude ids: each is a match, and they reveal both ids."""
        sandbox = sandbox_with(Person(ADA.email, user_id=ADA.user_id, extra={"amplitude": {"users": 2}}), BOB)
        matches = found(*connected(sandbox), ADA.user_id)
        assert [match.id for match in matches] == [str(key) for key in list(sandbox.users)[:2]]
        assert matches[0].identities == (VendorId(vendor="amplitude", value=matches[0].id), ControllerId(value=ADA.user_id))

    def test_an_amplitude_id_finds_its_user(self) -> None:
        """Also one without a user id; and not the user whose user id happens to be that number."""
        sandbox = sandbox_with()
        anonymous = sandbox.track(None, ADA.email)
        sandbox.track(str(anonymous.amplitude_id), BOB.email)
        subject = Subject.of(identities=[VendorId(vendor="amplitude", value=str(anonymous.amplitude_id))])
        wire = answering(lambda request: (200, {"type": "x", "matches": [{"amplitude_id": anonymous.amplitude_id, "user_id": None}]}))
        assert [match.id for match in found(*connected(wire), subject)] == [str(anonymous.amplitude_id)]
        assert found(*connected(sandbox), subject) == []  # the sandbox lets the exact user id win, and that is Bob

    @pytest.mark.parametrize("identity", [ControllerId(value="user-1", namespace="shop_id"), VendorId(vendor="stripe", value="user-1")])
    def test_ids_of_another_kind_ask_nothing(self, identity: ControllerId | VendorId) -> None:
        """The same text in another of your number ranges, or at another vendor, is another person."""
        sandbox = sandbox_with(ADA)
        assert found(*connected(sandbox), Subject.of(identities=[identity])) == []
        assert not sandbox.calls

    @pytest.mark.parametrize("body", [{"type": "nomatch", "matches": []}, {"type": "nomatch"}, {"type": "nomatch", "matches": None}])
    def test_nobody(self, body: dict[str, Any]) -> None:
        """The documented answer for nobody, and two that are as good."""
        assert found(*connected(answering(lambda request: (200, body))), ADA.user_id) == []

    @pytest.mark.parametrize("body", [{}, {"matches": None}, {"matches": {}}, {"type": "match_user_prefix"}])
    def test_an_answer_without_matches_is_an_error(self, body: dict[str, Any]) -> None:
        """Anything but a list, or a plain no, must not read as nobody there."""
        with pytest.raises(RejectedError):
            found(*connected(answering(lambda request: (200, body))), ADA.user_id)

    def test_odd_matches_are_passed_over(self) -> None:
        """Null ids belong to nobody; a number is compared as it is written."""
        rows = [{"user_id": None, "amplitude_id": 1}, {"user_id": "7", "amplitude_id": None}, None, {"user_id": 7, "amplitude_id": 3}]
        wire = answering(lambda request: (200, {"matches": rows, "type": "match_user_or_device_id"}))
        assert [match.id for match in found(*connected(wire), "7")] == ["3"]


class TestErase:
    """Scheduling, a hundred at a time."""

    def test_a_user_is_scheduled_and_asked_about_when_due(self) -> None:
        """The job runs in ten days: asking before is in vain. Until it is done the user is still found."""
        sandbox = sandbox_with(ADA, BOB)
        connector, http = connected(sandbox)
        matches = found(connector, http, ADA.user_id)
        outcome = connector.dsr_delete(http.api(), matches)[0]
        day = (datetime.now(UTC).date() + timedelta(days=10)).isoformat()
        assert outcome == Pending(f"{day}/{matches[0].id}", check_after=timedelta(days=11))
        assert found(connector, http, ADA.user_id) == matches
        assert [entry["requester"] for entry in sandbox.batches[0].entries] == ["dsr-sdk"]

    def test_one_unknown_user_does_not_fail_the_batch(self) -> None:
        """Deleted between find and erase: absent, while the others are scheduled, in one request."""
        sandbox = sandbox_with(ADA, BOB)
        connector, http = connected(sandbox)
        matches = [*found(connector, http, ADA.user_id), *found(connector, http, BOB.user_id)]
        del sandbox.users[int(matches[0].id)]
        outcomes = connector.dsr_delete(http.api(), matches)
        assert [type(outcome) for outcome in outcomes] == [Absent, Pending]
        assert sandbox.calls["POST delete_users"] == 1

    def test_all_unknown(self) -> None:
        """Nothing was scheduled, and everybody is absent."""
        connector, http = connected(answering(lambda request: (200, {"invalid_ids": [1, "2"]})))
        assert connector.dsr_delete(http.api(), [Match("user", "1"), Match("user", "2")]) == [Absent(), Absent()]

    def test_a_user_left_out_of_the_answer_is_not_pending(self) -> None:
        """Neither scheduled nor unknown: said so, and only of this one."""
        job = {"day": "2026-12-01", "status": "staging", "amplitude_ids": [{"amplitude_id": "1", "requested_on_day": "2026-11-21", "requester": ""}]}
        connector, http = connected(answering(lambda request: (200, job)))
        outcomes = connector.dsr_delete(http.api(), [Match("user", "1"), Match("user", "2")])
        assert isinstance(outcomes[0], Pending)
        assert isinstance(outcomes[1], RejectedError)

    def test_several_jobs_in_one_answer(self) -> None:
        """Amplitude may spread a request over jobs: each user is in one of them."""
        jobs = [{"day": f"2030-01-0{n}", "status": "staging", "amplitude_ids": [{"amplitude_id": n}], "app": n} for n in (1, 2)]
        connector, http = connected(answering(lambda request: (200, jobs)))
        assert scheduled(connector, http, [Match("user", "2"), Match("user", "1")]) == ["2030-01-02/2", "2030-01-01/1"]

    @pytest.mark.parametrize("body", ["scheduled", [None], [["x"]]])
    def test_an_answer_that_is_no_job_is_an_error(self, body: Any) -> None:
        """200 alone confirms nothing."""
        connector, http = connected(answering(lambda request: (200, body)))
        with pytest.raises(RejectedError):
            connector.dsr_delete(http.api(), [Match("user", "1")])

    @pytest.mark.parametrize("job", [{}, {"amplitude_ids": None}, {"amplitude_ids": [None, {"amplitude_id": None}]}])
    def test_a_job_without_users_confirms_nobody(self, job: dict[str, Any]) -> None:
        """Nulls in a job are nobody, and nobody called "None" either."""
        connector, http = connected(answering(lambda request: (200, job)))
        assert isinstance(connector.dsr_delete(http.api(), [Match("user", "1")])[0], RejectedError)

    def test_a_job_without_a_day_is_asked_about_tomorrow(self) -> None:
        """The day is Amplitude's to say; without it the search for the job starts today."""
        connector, http = connected(answering(lambda request: (200, {"day": None, "status": "staging", "amplitude_ids": [1]})))
        today = datetime.now(UTC).date().isoformat()
        assert connector.dsr_delete(http.api(), [Match("user", "1")]) == [Pending(f"{today}/1", check_after=timedelta(days=1))]

    def test_a_request_is_never_repeated_by_itself(self) -> None:
        """A second request would schedule the user a second time: a 503 goes up to the host, which asks `recover` first."""
        sandbox = sandbox_with(ADA)
        connector, http = connected(sandbox)
        http.retry = RetryPolicy(attempts=3, base=0.0)
        matches = found(connector, http, ADA.user_id)
        sandbox.faults = [Fault("status", method="POST", status=503)]
        with pytest.raises(TransientError):
            connector.dsr_delete(http.api(operation_key="case-1"), matches)
        assert not sandbox.effects


class TestRecover:
    """After a crash between the request and its record."""

    def test_a_crash_never_schedules_twice(self) -> None:
        """The request arrived, the answer did not: the job is found, and it is the same that an answer would have named."""
        sandbox = sandbox_with(BOB, ADA)
        connector, http = connected(sandbox)
        match = found(connector, http, ADA.user_id)[0]
        assert connector.dsr_recover(http.api(), match) is None
        sandbox.faults = [Fault("drop_after", method="POST")]
        with pytest.raises(TransientError) as caught:
            connector.dsr_delete(http.api(), [match])
        assert caught.value.maybe_done
        outcome = connector.dsr_recover(http.api(), match)
        assert isinstance(outcome, Pending)
        assert outcome.job == f"{sandbox.batches[0].day}/{match.id}"
        assert sandbox.effects == {f"schedule {match.id}": 1}

    def test_a_finished_job_is_not_taken_for_a_new_one(self) -> None:
        """An earlier deletion of the same user proves nothing about what came since."""
        job = {"day": datetime.now(UTC).date().isoformat(), "status": "Done", "amplitude_ids": [{"amplitude_id": 1}]}
        connector, http = connected(answering(lambda request: (200, [job])))
        assert connector.dsr_recover(http.api(), Match("user", "1")) is None


class TestPoll:
    """Following a job to its end."""

    def test_pending_until_done(self) -> None:
        """Staging, submitted, scrubbed: none of them is done, for backups still hold the user; then it is, and nobody is found."""
        sandbox = sandbox_with(ADA, BOB)
        connector, http = connected(sandbox)
        job = scheduled(connector, http, found(connector, http, ADA.user_id))[0]
        seen = []
        for _ in range(4):
            outcome = connector.dsr_poll(http.api(), job)
            assert isinstance(outcome, Pending)
            assert outcome.job == job
            seen.append((sandbox._status(sandbox.batches[0]), sandbox.batches[0].scrubbed))
            sandbox.advance(5 * DAY)
        assert seen == [("staging", False), ("staging", False), ("submitted", False), ("submitted", True)]
        assert connector.dsr_poll(http.api(), job) == Erased()
        assert found(connector, http, ADA.user_id) == []
        assert sandbox.holds(BOB.email)

    def test_a_hundred_people_of_a_finished_job_are_one_call(self) -> None:
        """Deletions allow one request a second: what is known to be finished is not asked again."""
        people = [Person(f"p{n}@example.org", user_id=f"p{n}") for n in range(100)]
        sandbox = sandbox_with(*people)
        connector, http = connected(sandbox)
        jobs = scheduled(connector, http, [Match("user", str(key)) for key in sandbox.users])
        assert len(set(jobs)) == 100
        sandbox.advance(60 * DAY)
        before = sandbox.calls["GET list_jobs"]
        assert {connector.dsr_poll(http.api(), job) for job in jobs} == {Erased()}
        assert sandbox.calls["GET list_jobs"] - before == 1

    def test_a_revoked_user_is_not_erased(self) -> None:
        """An administrator took one of two users out of the job: one failed, the other goes on."""
        sandbox = sandbox_with(ADA, BOB)
        connector, http = connected(sandbox)
        ada, bob = scheduled(connector, http, [*found(connector, http, ADA.user_id), *found(connector, http, BOB.user_id)])
        day, _, user = ada.partition("/")
        http.api().delete(f"{DELETIONS}/{{id}}/{{day}}", id=user, day=day)
        outcome = connector.dsr_poll(http.api(), ada)
        assert isinstance(outcome, Failed)
        assert outcome.code == "revoked"
        sandbox.advance(60 * DAY)
        assert connector.dsr_poll(http.api(), bob) == Erased()
        assert isinstance(connector.dsr_poll(http.api(), ada), Failed)
        assert sandbox.holds(ADA.email)

    def test_a_job_that_never_finishes_stays_pending(self) -> None:
        """However late: only Amplitude's "done" is done. The deadline is the host's to watch."""
        sandbox = sandbox_with(ADA)
        sandbox.stuck = True
        connector, http = connected(sandbox)
        job = scheduled(connector, http, found(connector, http, ADA.user_id))[0]
        for _ in range(12):
            sandbox.advance(30 * DAY)
            outcome = connector.dsr_poll(http.api(), job)
            assert isinstance(outcome, Pending)
            assert outcome.check_after >= timedelta(days=1)

    @pytest.mark.parametrize("status", [None, "failed", "paused"])
    def test_an_unknown_status_is_not_done(self, status: str | None) -> None:
        """What is not documented is not taken for success."""
        job = {"day": "2026-12-01", "status": status, "amplitude_ids": [{"amplitude_id": 1}]}
        connector, http = connected(answering(lambda request: (200, [job])))
        assert isinstance(connector.dsr_poll(http.api(), "2026-12-01/1"), Pending)

    def test_a_job_moved_to_a_later_day_is_found(self) -> None:
        """Amplitude may run a large project's jobs less often; and an older job of the same user is not ours."""
        jobs = [{"day": "2026-12-20", "status": "submitted", "amplitude_ids": [{"amplitude_id": 1}]}]
        asked: list[dict[str, str]] = []

        def answer(request: httpx.Request) -> tuple[int, Any]:
            asked.append(dict(request.url.params))
            return 200, jobs

        connector, http = connected(answering(answer))
        outcome = connector.dsr_poll(http.api(), "2026-12-01/1")
        assert isinstance(outcome, Pending)
        assert outcome.job == "2026-12-20/1"
        assert asked == [{"start_day": "2026-12-01", "end_day": "2027-01-30"}]

    def test_new_events_make_a_new_user(self) -> None:
        """Amplitude accepts events of a deleted user: verification must find that person again."""
        sandbox = sandbox_with(ADA)
        connector, http = connected(sandbox)
        old = found(connector, http, ADA.user_id)
        job = scheduled(connector, http, old)[0]
        sandbox.advance(60 * DAY)
        assert connector.dsr_poll(http.api(), job) == Erased()
        sandbox.track(ADA.user_id, ADA.email)
        new = found(connector, http, ADA.user_id)
        assert len(new) == 1
        assert new[0].id != old[0].id


class TestExport:
    """What a copy contains."""

    @pytest.mark.parametrize("overhang", [0, 37])
    def test_all_events_once(self, overhang: int) -> None:
        """2,300 events over three pages, also when a page is longer than asked for, so that it ends with a session."""
        sandbox = sandbox_with(Person(ADA.email, user_id=ADA.user_id, extra={"amplitude": {"events": 2300}}), BOB)
        sandbox.session_overhang = overhang
        connector, http = connected(sandbox)
        records = list(connector.dsr_export(http.api(), found(connector, http, ADA.user_id)[0]))
        assert records[0].resource == "user"
        assert records[0].data["user_id"] == ADA.user_id
        assert sorted(record.data["event_id"] for record in records[1:]) == list(range(1, 2301))

    def test_an_offset_that_is_ignored_is_an_error(self) -> None:
        """The same thousand events for ever: no copy that looks complete."""
        page = {"userData": {"user_id": "user-1"}, "events": [{"event_id": n} for n in range(1000)]}
        connector, http = connected(answering(lambda request: (200, page)))
        with pytest.raises(RejectedError):
            list(connector.dsr_export(http.api(), Match("user", "1")))

    @pytest.mark.parametrize("body", [{}, {"userData": {}, "events": None}, {"error": {"http_code": 400}}])
    def test_an_answer_without_events_is_an_error(self, body: dict[str, Any]) -> None:
        """A copy is never shorter than what Amplitude holds."""
        connector, http = connected(answering(lambda request: (200, body)))
        with pytest.raises(RejectedError):
            list(connector.dsr_export(http.api(), Match("user", "1")))

    def test_a_user_without_data(self) -> None:
        """Null user data and no events: an empty record, and no failure."""
        connector, http = connected(answering(lambda request: (200, {"userData": None, "events": []})))
        assert [dict(record.data) for record in connector.dsr_export(http.api(), Match("user", "1"))] == [{}]


class TestOperation:
    """Keys, regions and limits."""

    @pytest.mark.parametrize(("region", "host"), [("us", "amplitude.com"), ("eu", "analytics.eu.amplitude.com")])
    def test_each_region_has_its_host(self, region: str, host: str) -> None:
        """A project's data are in one region only; the other knows nobody."""
        hosts: list[str] = []

        def answer(request: httpx.Request) -> tuple[int, Any]:
            hosts.append(request.url.host)
            return 200, []

        connector, http = connected(answering(answer), region=region)
        assert connector.dsr_check(http.api()) == "0 deletion jobs are scheduled"
        assert hosts == [host]

    def test_deletions_keep_to_one_request_a_second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Scheduling, polling and recovering share the limit: Amplitude never has to refuse. On a clock that only waiting moves."""
        clock = [1000.0]
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        sandbox = AmplitudeSandbox()
        sandbox.seed([ADA])
        connector, http = paced(sandbox)
        http.sleep = lambda seconds: clock.__setitem__(0, clock[0] + seconds)
        match = found(connector, http, ADA.user_id)[0]
        for _ in range(5):
            connector.dsr_recover(http.api(), match)
            connector.dsr_poll(http.api(), scheduled(connector, http, [match])[0])
        assert sandbox.refused == 0
        assert clock[0] == pytest.approx(1000 + 14 * 1.2, rel=0.01)

    def test_search_and_activity_share_one_limit(self) -> None:
        """360 an hour for both together: the calls of either count."""
        sandbox = sandbox_with(ADA)
        connector, http = paced(sandbox)
        list(connector.dsr_export(http.api(), found(connector, http, ADA.user_id)[0]))
        waits = [http.pacer.reserve("GET", LOOKUP, longest=99.0) for _ in range(17)]  # eighteen pass at once, and two were spent above
        assert [wait > 9 for wait in waits] == [False] * 16 + [True]
        assert sandbox.calls == {"GET usersearch": 1, "GET useractivity": 1}

    @pytest.mark.parametrize(("path", "wait"), [("/api/2/deletions/users", 2.0), ("/api/2/usersearch", 60.0)])
    def test_a_refusal_says_how_long_to_wait(self, path: str, wait: float) -> None:
        """Amplitude documents no Retry-After: a moment for deletions, a minute where the limit counts by the hour."""
        sandbox = sandbox_with(ADA)
        sandbox.faults = [Fault("status", on=path, status=429, times=-1)]
        connector, http = connected(sandbox)
        act = found if wait == 60.0 else scheduled
        with pytest.raises(TransientError) as caught:
            act(connector, http, [Match("user", "1")] if act is scheduled else ADA.user_id)  # type: ignore[arg-type]  # the one or the other
        assert caught.value.retry_after == wait


@pytest.mark.evidence("spec")
def test_every_message_fits_the_description() -> None:
    """Finding, copying, scheduling, recovering, polling, a wrong key: requests and the sandbox's answers are as documented."""
    sandbox = sandbox_with(ADA, BOB)
    wire = Checked(transport(sandbox), Description.load(shared("specs", "amplitude.yaml"), match_host=True))
    connector, http = connected(wire)
    connector.dsr_check(http.api())
    matches = found(connector, http, ADA.user_id)
    assert json.dumps([dict(record.data) for record in connector.dsr_export(http.api(), matches[0])])
    job = scheduled(connector, http, matches)[0]
    assert connector.dsr_recover(http.api(), matches[0]) is not None
    sandbox.advance(60 * DAY)
    assert connector.dsr_poll(http.api(), job) == Erased()
    assert connector.dsr_delete(http.api(), matches) == [Absent()]
    wrong, other = connected(wire, secret_key="wrong")
    with pytest.raises(AuthError):
        found(wrong, other, ADA.user_id)
    assert wire.findings == []
    assert len(wire.calls) == 4


def test_a_request_for_jobs_never_spans_more_than_six_months() -> None:
    """Amplitude refuses longer ranges, and the sandbox with it: every range the connector asks for is accepted."""
    ranges: list[tuple[date, date]] = []

    def answer(request: httpx.Request) -> tuple[int, Any]:
        ranges.append((date.fromisoformat(request.url.params["start_day"]), date.fromisoformat(request.url.params["end_day"])))
        return 200, []

    connector, http = connected(answering(answer))
    connector.dsr_check(http.api())
    connector.dsr_recover(http.api(), Match("user", "1"))
    connector.dsr_poll(http.api(), "2026-12-01/1")
    assert len(ranges) == 3
    assert all(timedelta(0) <= end - start <= timedelta(days=180) for start, end in ranges)
