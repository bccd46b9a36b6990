"""Deadlines: months and their ends, days off, working days, extensions, restarts and pauses; the clocks are those of the reference."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
import time_machine

from dsr_sdk import Request, RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.cases.deadlines import CLOCKS, READ_AT_SOURCE, US_STATES, Clock, clock_of, due, extended, regime_of
from dsr_sdk.host.cases.verification import Method
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.host.settings import WorkflowSettings
from dsr_sdk.request import Regime, RequestType
from tests.reference import shared
from tests.world import World, deletion

DELETION, COPY = RequestType.DELETION, RequestType.COPY


def at(day: str, hour: int = 9) -> datetime:
    """An hour of a day, UTC."""
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("regime", "received", "expected"),
    [
        (Regime.EU_GDPR, "2026-01-15", "2026-02-16"),  # a Sunday rolls to Monday
        (Regime.EU_GDPR, "2026-01-31", "2026-03-02"),  # there is no 31st of February, and the 28th is a Saturday
        (Regime.EU_GDPR, "2028-01-31", "2028-02-29"),  # a leap year, a Tuesday
        (Regime.EU_GDPR, "2027-01-29", "2027-03-01"),  # no leap year, and the 28th is a Sunday
        (Regime.EU_GDPR, "2026-12-15", "2027-01-15"),  # across the year's end
        (Regime.UK_GDPR, "2026-03-31", "2026-04-30"),
        (Regime.US_VA, "2026-01-01", "2026-02-15"),  # calendar days: a Sunday stays
        (Regime.US_IA, "2026-01-01", "2026-04-01"),
        (Regime.KR_PIPA, "2026-02-20", "2026-03-02"),
        (Regime.NZ_PA2020, "2026-06-01", "2026-06-29"),  # twenty working days
        (None, "2026-01-31", "2026-02-28"),  # no law known: a month, and nothing rolls
    ],
)
def test_the_day_a_request_is_due(regime: Regime | None, received: str, expected: str) -> None:
    """Each unit, at the places where it is easily got wrong."""
    assert due(regime, DELETION, at(received)).at == at(expected)


def test_holidays_roll_like_weekends() -> None:
    """Good Friday and Easter Monday: what would end on the Friday ends on the Tuesday."""
    easter = (date(2026, 4, 3), date(2026, 4, 6))
    found = due(Regime.EU_GDPR, DELETION, at("2026-03-03"), holidays=easter)
    assert (found.at, found.rolled) == (at("2026-04-07"), True)
    assert not due(Regime.EU_GDPR, DELETION, at("2026-03-03")).rolled


def test_working_days_leave_out_weekends_and_holidays() -> None:
    """California's fifteen working days for an opt-out, with the Fourth of July kept on a Friday."""
    opt_out = due(Regime.US_CA_CCPA, RequestType.DO_NOT_SELL, at("2026-06-26"))
    assert opt_out.at == at("2026-07-17")
    assert due(Regime.US_CA_CCPA, RequestType.DO_NOT_SELL, at("2026-06-26"), holidays=(date(2026, 7, 3),)).at == at("2026-07-20")
    assert due(Regime.US_CA_CCPA, RequestType.DO_NOT_SELL, at("2026-06-27")).at == at("2026-07-17")  # received on a Saturday
    assert due(Regime.US_CA_CCPA, DELETION, at("2026-06-26")).at == at("2026-08-10")


def test_extension_counts_from_the_start() -> None:
    """Three months are three months from the start, not one month clamped and then two more."""
    found = extended(Regime.EU_GDPR, DELETION, at("2026-10-31"))
    assert found is not None
    assert found.at == at("2027-02-01")  # the 31st of January is a Sunday
    california = extended(Regime.US_CA_CCPA, DELETION, at("2026-01-01"))
    assert california is not None
    assert california.at == at("2026-01-01") + timedelta(days=90)


@pytest.mark.parametrize(
    ("regime", "type_"),
    [(Regime.US_CA_CCPA, RequestType.DO_NOT_SELL), (Regime.US_CA_DELETE_ACT, DELETION), (Regime.BR_LGPD, DELETION), (None, DELETION)],
)
def test_where_no_extension_exists(regime: Regime | None, type_: RequestType) -> None:
    """Opt-outs in California, the Delete Act, Brazil, and where no law is known."""
    assert extended(regime, type_, at("2026-01-01")) is None


def test_a_sender_in_another_time_zone_moves_nothing() -> None:
    """The evening of 31 January in New York is 1 February in UTC, and the ledger gives it back so: one moment, one due date."""
    there = datetime(2026, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert due(Regime.US_VA, DELETION, there) == due(Regime.US_VA, DELETION, there.astimezone(UTC))
    assert due(Regime.EU_GDPR, DELETION, there).at == datetime(2026, 3, 2, 4, 30, tzinfo=UTC)


def test_taiwan_has_two_clocks() -> None:
    """Access in 15 days, everything else in 30."""
    assert clock_of(Regime.TW_PDPA, COPY).respond == "15 days"
    assert clock_of(Regime.TW_PDPA, DELETION).respond == "30 days"


@pytest.mark.parametrize(
    ("named", "country", "host", "expected"),
    [
        ("uk_gdpr", "DE", Regime.BR_LGPD, Regime.UK_GDPR),
        (None, "DE", Regime.BR_LGPD, Regime.EU_GDPR),
        (None, "NO", None, Regime.EU_GDPR),
        (None, "US", Regime.US_VA, Regime.US_VA),
        (None, "US", None, None),
        (None, None, Regime.CH_FADP, Regime.CH_FADP),
    ],
)
def test_the_law_of_a_request(named: str | None, country: str | None, host: Regime | None, expected: Regime | None) -> None:
    """What it names, else its country, else the host's own; the United States tell none."""
    request = Request.parse({"type": "deletion", "subject": {"email": "a@example.com"}, "regime": named, "country": country})
    assert regime_of(request, WorkflowSettings(regime=host)) is expected


# --- the reference -------------------------------------------------------------------------------------------------------------------

SAID_OTHERWISE = {
    "br_lgpd": ("15 days", None),  # access in full; everything else "immediately", which is no number of days
    "us_ca_delete_act_drop": ("45 days", None),  # a cycle
    "ca_pipeda": ("30 days", "30 days"),
    "au_app": ("30 days", None),  # agencies; organisations about as long
    "ch_fadp": ("30 days", "30 days"),  # the law sets no limit; the clock does
    "in_dpdp": ("90 days", None),  # the longest that may be published
    "tw_pdpa": ("30 days", "30 days"),
    "nz_pa2020": ("20 bdays", None),
}
"""Rows of the reference in words that are no time span, and what the clock makes of them."""


def test_every_clock_is_that_of_the_reference() -> None:
    """Row by row: how long, how much longer, when it starts, whether it rolls, restarts or pauses."""
    rows = json.loads(shared("reference", "deadlines.json").read_text())["regimes"]
    laws = {name: row for name, row in rows.items() if not name.startswith("seed_")}
    assert set(laws) == {regime.value for regime in Regime} == {regime.value for regime in CLOCKS}
    for name, row in laws.items():
        clock = CLOCKS[Regime(name)]
        expected = SAID_OTHERWISE.get(name) or (span(row["respond"]), span(row["extend"]) if row.get("extend") else None)
        assert (clock.respond, clock.extend) == expected, name
        assert clock.rolls == ("weekend_roll" in row), name
        assert clock.opt_out == (span(row["opt_out_and_limit"]) if "opt_out_and_limit" in row else None), name
        assert clock.restarts == (row.get("id_effect") == "restart"), name
        assert (clock.pauses is not None) == row.get("clarify_effect", "none").startswith("pause"), name
        if row.get("clarify_effect") == "pause_guidance":
            assert "guidance" in (clock.pauses or ""), name
    assert "15 days +15" in laws["tw_pdpa"]["access"]
    assert laws["in_dpdp"]["grievance_max"].startswith("90 days")
    assert laws["br_lgpd"]["access_full"].startswith("15 days")


def test_what_was_read_at_the_source_is_told() -> None:
    """The constant says what the reference says (P: primary text read), and the page says the same."""
    rows = json.loads(shared("reference", "deadlines.json").read_text())["regimes"]
    assert {name for name, row in rows.items() if row.get("conf", "").startswith("P")} == {regime.value for regime in READ_AT_SOURCE}
    page = (Path(__file__).parents[2] / "docs" / "workflow.md").read_text()
    told = page.partition("Read at the source")[2].partition("**All others")[0]
    assert set(re.findall(r"`(\w+)`", told)) == {regime.value for regime in READ_AT_SOURCE}


def span(text: str) -> str:
    """The time span at the beginning of a cell."""
    match = re.match(r"\d+ (months|days|bdays)", text)
    assert match, text
    return match[0]


def test_every_law_has_a_clock_with_its_source() -> None:
    """Also without the reference: no law without a clock, no clock without the place where it is written."""
    for regime in Regime:
        clock = CLOCKS[regime]
        assert isinstance(clock, Clock)
        assert clock.source
        assert re.fullmatch(r"\d+ (months|days|bdays)", clock.respond)


# --- a case's clock ------------------------------------------------------------------------------------------------------------------


def office(world: World, settings: str = "") -> Host:
    """A host with the workflow."""
    world.tables = f"[workflow]\n{settings}"
    return world.open()


def events(host: Host, case: str) -> list[tuple[str, str]]:
    """Event and actor."""
    return [(entry["event"], entry["actor"]) for entry in host.history(case)]


def test_in_britain_the_clock_counts_from_the_proof(sqlite_world: World) -> None:
    """Received on 2 March, proven on 20 March: due on 20 April, with the reason in the audit log. A second proof moves nothing."""
    host = office(sqlite_world)
    with time_machine.travel(at("2026-03-02"), tick=False) as clock:
        case = host.submit(deletion(regime="uk_gdpr", channel="privacy_center"))
        assert host.workflow.get(case).due_at == at("2026-04-02")
        clock.move_to(at("2026-03-20"))
        host.workflow.verify(case, Method.DOCUMENT, by="amy@example.com")
        assert host.workflow.get(case).due_at == at("2026-04-20")
        clock.move_to(at("2026-03-25"))
        host.workflow.verify(case, Method.QUESTIONS, by="amy@example.com")
        stands = host.workflow.get(case)
        explained = host.workflow.explain(stands)
    assert stands.due_at == at("2026-04-20")
    (restarted,) = [entry for entry in host.history(case) if entry["event"] == "deadline.restarted"]
    assert restarted["actor"] == "amy@example.com"
    assert restarted["data"]["due_at"] == at("2026-04-20").isoformat()
    assert "the day the proof of identity arrived" in restarted["data"]["because"]
    assert "The clock counts from 2026-03-20, when the proof of identity arrived (UK GDPR art. 12A)." in explained.facts


def test_a_proof_that_lay_there_counts_from_when_it_arrived(sqlite_world: World) -> None:
    """The letter with the passport came on the 5th and was opened on the 20th; one that came with the request restarts nothing."""
    host = office(sqlite_world)
    with time_machine.travel(at("2026-03-02"), tick=False) as clock:
        late, along = (host.submit(deletion(email, regime="uk_gdpr", channel="privacy_center")) for email in ("a@example.com", "b@example.com"))
        clock.move_to(at("2026-03-20"))
        host.workflow.verify(late, Method.DOCUMENT, by="amy@example.com", arrived_at=at("2026-03-05"))
        host.workflow.verify(along, Method.DOCUMENT, by="amy@example.com", arrived_at=at("2026-02-27"))
        with pytest.raises(RequestError, match="in the future"):
            host.workflow.verify(along, Method.DOCUMENT, by="amy@example.com", arrived_at=at("2026-03-21"))
    assert host.workflow.get(late).due_at == at("2026-04-06")  # the 5th of April is a Sunday
    assert host.workflow.get(along).due_at == at("2026-04-02")


@pytest.mark.parametrize(("regime", "type_"), [("eu_gdpr", "deletion"), ("us_ca_ccpa", "deletion"), ("uk_gdpr", "do_not_sell")])
def test_elsewhere_a_proof_moves_nothing(sqlite_world: World, regime: str, type_: str) -> None:
    """The Union, California, and a right in Britain that needs no proof."""
    host = office(sqlite_world)
    with time_machine.travel(at("2026-03-02"), tick=False) as clock:
        case = host.submit(deletion(regime=regime, channel="privacy_center", type=type_))
        before = host.workflow.get(case).due_at
        clock.move_to(at("2026-03-20"))
        host.workflow.verify(case, Method.EMAIL, by="amy@example.com")
    assert host.workflow.get(case).due_at == before


def test_a_proof_that_came_with_the_request_restarts_nothing(sqlite_world: World) -> None:
    """An import of requests that the company's own system took in last week."""
    host = office(sqlite_world)
    with time_machine.travel(at("2026-03-09"), tick=False):
        case = host.submit(deletion(regime="uk_gdpr", channel="import", received_at="2026-03-02T09:00:00Z"))
    assert host.workflow.get(case).due_at == at("2026-04-02")


@pytest.mark.parametrize("regime", ["eu_gdpr", "uk_gdpr"])
def test_a_clock_that_stands_still(world: World, regime: str) -> None:
    """Asked on the 10th, answered on the 14th: five days do not count. Meanwhile it is not overdue, however late it gets."""
    host = office(world)
    with time_machine.travel(at("2026-03-02"), tick=False) as clock:
        case = host.submit(deletion(regime=regime))
        clock.move_to(at("2026-03-10"))
        host.workflow.pause_for_clarification(case, by="amy@example.com", because="which of the two accounts is meant")
        with pytest.raises(RequestError, match="already"):
            host.workflow.pause_for_clarification(case, by="amy@example.com", because="again")
        clock.move_to(at("2026-05-10"))
        stands = host.workflow.explain(host.workflow.get(case))
        assert (stands.overdue, stands.soon, stands.paused_since) == (False, True, at("2026-03-10"))
        assert host.inbox.counts().overdue == 0
        clock.move_to(at("2026-03-14"))
        host.workflow.resume(case, by="bob@example.com")
        with pytest.raises(RequestError, match="running"):
            host.workflow.resume(case, by="bob@example.com")
        explained = host.workflow.explain(host.workflow.get(case))
    assert host.workflow.get(case).due_at == at("2026-04-07")
    assert events(host, case)[-2:] == [("deadline.paused", "amy@example.com"), ("deadline.resumed", "bob@example.com")]
    assert any("5 days do not count" in fact for fact in explained.facts)


@pytest.mark.parametrize("regime", ["us_ca_ccpa", "br_lgpd", None])
def test_other_laws_let_the_clock_run(sqlite_world: World, regime: str | None) -> None:
    """California and the rest know no pause."""
    host = office(sqlite_world)
    case = host.submit(deletion(regime=regime))
    with pytest.raises(RequestError, match="lets the clock run"):
        host.workflow.pause_for_clarification(case, by="amy@example.com", because="which account")
    assert not host.workflow.explain(host.workflow.get(case)).may_pause


def test_a_proof_lets_the_clock_go_on(sqlite_world: World) -> None:
    """The Union's clock stood still for want of a proof; when it comes, nobody has to remember to press resume."""
    host = office(sqlite_world)
    with time_machine.travel(at("2026-03-02"), tick=False) as clock:
        case = host.submit(deletion(regime="eu_gdpr", channel="privacy_center"))
        host.workflow.pause_for_clarification(case, by="amy@example.com", because="proof of identity")
        clock.move_to(at("2026-03-04"))
        host.workflow.verify(case, Method.EMAIL, by="host")
    stands = host.workflow.get(case)
    assert (stands.paused_at, stands.due_at) == (None, at("2026-04-06"))


def test_extending_keeps_restart_and_pause(sqlite_world: World) -> None:
    """Three months from the proof, and the days that did not count; once only."""
    host = office(sqlite_world)
    with time_machine.travel(at("2026-03-02"), tick=False) as clock:
        case = host.submit(deletion(regime="uk_gdpr", channel="privacy_center"))
        clock.move_to(at("2026-03-10"))
        host.workflow.verify(case, Method.DOCUMENT, by="amy@example.com")
        host.workflow.pause_for_clarification(case, by="amy@example.com", because="which account")
        clock.move_to(at("2026-03-11"))
        host.workflow.resume(case, by="amy@example.com")
        host.workflow.extend(case, by="amy@example.com", because="many systems")
        assert host.workflow.get(case).due_at == at("2026-06-12")
        with pytest.raises(RequestError, match="extended already"):
            host.workflow.extend(case, by="amy@example.com", because="still many")
        assert "The time was extended by 2 months." in host.workflow.explain(host.workflow.get(case)).facts
    assert host.history(case)[-1]["data"]["because"] == "many systems"


def test_a_law_without_extension(sqlite_world: World) -> None:
    """Brazil: refused, and the page does not offer it."""
    host = office(sqlite_world)
    case = host.submit(deletion(regime="br_lgpd"))
    with pytest.raises(RequestError, match="no extension"):
        host.workflow.extend(case, by="amy@example.com", because="many systems")
    assert not host.workflow.explain(host.workflow.get(case)).may_extend


def test_the_due_date_passes_while_in_review(world: World) -> None:
    """The case is overdue, shown so, and still workable; the time cannot be extended or stopped any more."""
    host = office(world)
    with time_machine.travel(at("2026-03-02"), tick=False) as clock:
        case = host.submit(deletion(regime="eu_gdpr"))
        assert host.inbox.counts().overdue == 0
        assert host.workflow.explain(host.workflow.get(case)).may_extend
        clock.move_to(at("2026-04-03"))
        explained = host.workflow.explain(host.workflow.get(case))
        assert (explained.overdue, explained.soon, explained.may_extend, explained.may_pause) == (True, False, False, False)
        assert host.inbox.counts().overdue == 1
        for act in (host.workflow.extend, host.workflow.pause_for_clarification):
            with pytest.raises(RequestError, match="time is up"):
                act(case, by="amy@example.com", because="late")
        host.workflow.reject(case, Reason.NO_MATCH, by="amy@example.com")
    assert host.workflow.get(case).stage == "reply"


def test_a_day_off_is_explained(sqlite_world: World) -> None:
    """Why Monday, when a month ends on Sunday."""
    host = office(sqlite_world)
    with time_machine.travel(at("2026-01-15"), tick=False):
        case = host.submit(deletion(regime="eu_gdpr"))
        facts = host.workflow.explain(host.workflow.get(case)).facts
    assert facts == (
        "Received on 2026-01-15.",
        "The law gives 1 month (GDPR art. 12(3), Regulation 1182/71 art. 3(4)).",
        "The last day is a day off, so the next working day counts.",
    )


def test_the_documentation_shows_these_clocks() -> None:
    """The table in docs/workflow.md is `CLOCKS`, row by row."""
    page = (Path(__file__).parents[2] / "docs" / "workflow.md").read_text()
    shown = [line for line in page.splitlines() if re.match(r"\| `[a-z_0-9]+` \| \d", line)]
    assert shown == [
        f"| `{regime.value}` | {clock.respond} | {clock.extend or '-'} | {clock.opt_out or '-'} | {'next working day' if clock.rolls else '-'}"
        f" | {'yes' if clock.restarts else '-'} | {clock.pauses or '-'} | {clock.source} |"
        for regime, clock in CLOCKS.items()
    ]


@pytest.mark.parametrize(
    ("where", "regime"),
    [
        ({"country": "US", "region": "US-CA"}, Regime.US_CA_CCPA),
        ({"region": "US-TX"}, Regime.US_TX),
        ({"country": "US", "region": "US-NY"}, None),
        ({"country": "US"}, None),
        ({"country": "CA", "region": "CA-QC"}, Regime.CA_QC_LAW25),
        ({"region": "CA-ON"}, Regime.CA_PIPEDA),
        ({"country": "DE"}, Regime.EU_GDPR),
    ],
)
def test_where_somebody_lives_tells_the_law(where: dict[str, str], regime: Regime | None) -> None:
    """The state or province first, then the country; a state without a law of its own tells none."""
    request = Request.parse({"type": "do_not_sell", "subject": {"email": "ada@example.com"}, **where})
    assert regime_of(request, WorkflowSettings()) is regime


def test_every_state_of_a_regime_is_one_that_the_form_offers() -> None:
    """No law is out of reach of the form."""
    for regime in Regime:
        if regime.value.startswith("us_") and len(regime.value) == 5:
            assert f"US-{regime.value[3:].upper()}" in US_STATES
    assert len(US_STATES) == 51
