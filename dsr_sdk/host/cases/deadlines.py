"""When the person must have been answered, and why on that day. Clocks of the law, as data.

Every rule names its source. A month is a calendar month, clamped to the end of a shorter one; "45 days" are calendar days; working
days leave out Saturdays, Sundays and the holidays that the host is told. Days are those of UTC, and a case is due at the hour it came in:
laws give until the day's end, so this is never too late.
"""

from __future__ import annotations

import calendar
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from dsr_sdk.request import Regime, Request, RequestType

if TYPE_CHECKING:
    from dsr_sdk.host.settings import WorkflowSettings

__all__ = ["CLOCKS", "READ_AT_SOURCE", "US_STATES", "Clock", "Due", "clock_of", "due", "extended", "regime_of"]


@dataclass(frozen=True, slots=True)
class Due:
    """A moment, and the rule that leads to it. `rolled`: it would have been a day off, and moved to the next working day."""

    at: datetime
    because: str
    rolled: bool = False


@dataclass(frozen=True, slots=True)
class Clock:
    """How long a law gives.

    Attributes:
        respond: ``1 months``, ``45 days``, ``15 bdays`` (working days).
        extend: What may be added once, in the same words; None when nothing may.
        opt_out: The time for *do not sell* and *do not mail*, where it differs.
        rolls: Whether an end on a day off moves to the next working day.
        source: Where it is written.
        restarts: The clock begins when the person has proven who they are, where that is asked for.
        pauses: Why the clock may stand still while the person is asked something; None when it may not.
    """

    respond: str
    extend: str | None
    source: str
    opt_out: str | None = None
    rolls: bool = False
    restarts: bool = False
    pauses: str | None = None


_US = Clock("45 days", "45 days", "the state's privacy act")
CLOCKS: dict[Regime, Clock] = {
    Regime.EU_GDPR: Clock(
        "1 months",
        "2 months",
        "GDPR art. 12(3), Regulation 1182/71 art. 3(4)",
        rolls=True,
        pauses="EDPB Guidelines 01/2022: guidance, not the law's own words",
    ),
    Regime.UK_GDPR: Clock("1 months", "2 months", "UK GDPR art. 12A", rolls=True, restarts=True, pauses="UK GDPR art. 12A"),
    Regime.US_CA_CCPA: Clock("45 days", "45 days", "11 CCR 7021(b); opt-outs 11 CCR 7026(f)", opt_out="15 bdays"),
    Regime.US_CA_DELETE_ACT: Clock("45 days", None, "Cal. Civ. Code 1798.99.86(c)"),
    **dict.fromkeys((Regime.US_VA, Regime.US_CO, Regime.US_CT, Regime.US_UT, Regime.US_TX, Regime.US_OR, Regime.US_MT), _US),
    **dict.fromkeys((Regime.US_DE, Regime.US_NE, Regime.US_NH, Regime.US_NJ, Regime.US_TN, Regime.US_MN, Regime.US_MD), _US),
    **dict.fromkeys((Regime.US_IN, Regime.US_KY, Regime.US_RI, Regime.US_OK, Regime.US_LA, Regime.US_AL, Regime.US_VT), _US),
    Regime.US_FL: Clock("45 days", "15 days", "Fla. Stat. 501.706"),
    Regime.US_IA: Clock("90 days", "45 days", "Iowa Code 715D.3"),
    Regime.BR_LGPD: Clock("15 days", None, "LGPD art. 19"),
    Regime.CA_PIPEDA: Clock("30 days", "30 days", "PIPEDA s. 8(3), 8(4)"),
    Regime.CA_QC_LAW25: Clock("30 days", None, "Quebec P-39.1 s. 32"),
    Regime.AU_APP: Clock("30 days", None, "APP 12.4; for organisations a reasonable period, about 30 days by OAIC guidance"),
    Regime.CH_FADP: Clock("30 days", "30 days", "FADP art. 25(7); the law sets no limit to an extension, we do"),
    Regime.IN_DPDP: Clock("90 days", None, "DPDP Rules 2025, rule 14: the longest that may be published"),
    Regime.KR_PIPA: Clock("10 days", None, "PIPA Enforcement Decree art. 41"),
    Regime.TW_PDPA: Clock("30 days", "30 days", "Taiwan PDPA art. 13(2)"),
    Regime.SG_PDPA: Clock("30 days", None, "PDP Regulations 2021, reg. 5"),
    Regime.TH_PDPA: Clock("30 days", None, "Thailand PDPA s. 30"),
    Regime.ZA_POPIA: Clock("30 days", None, "POPIA s. 23 with PAIA s. 25"),
    Regime.SA_PDPL: Clock("30 days", None, "PDPL Implementing Regulation art. 3"),
    Regime.TR_KVKK: Clock("30 days", None, "KVKK art. 13(2)"),
    Regime.NZ_PA2020: Clock("20 bdays", None, "Privacy Act 2020 s. 44"),
}

READ_AT_SOURCE = frozenset(
    {
        Regime.EU_GDPR,
        Regime.UK_GDPR,
        Regime.US_CA_CCPA,
        Regime.US_CA_DELETE_ACT,
        Regime.US_NJ,
        Regime.BR_LGPD,
        Regime.CA_PIPEDA,
        Regime.CH_FADP,
        Regime.IN_DPDP,
        Regime.TW_PDPA,
    }
)
"""Laws of which the text that sets the time, or the regulator's page about it, was read. The others rest on secondary texts: check before you
rely on one."""

_DEFAULT = Clock("1 months", None, "no law is known: the shortest that is common")
_OPT_OUTS = (RequestType.DO_NOT_SELL, RequestType.DO_NOT_MAIL)
_TAIWAN_ACCESS = Clock("15 days", "15 days", "Taiwan PDPA art. 13(1)")
_EU = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK IS LI NO"
_BY_COUNTRY: dict[str, Regime] = {
    **dict.fromkeys(_EU.split(), Regime.EU_GDPR),
    "GB": Regime.UK_GDPR,
    "BR": Regime.BR_LGPD,
    "CA": Regime.CA_PIPEDA,
    "AU": Regime.AU_APP,
    "CH": Regime.CH_FADP,
    "IN": Regime.IN_DPDP,
    "KR": Regime.KR_PIPA,
    "TW": Regime.TW_PDPA,
    "SG": Regime.SG_PDPA,
    "TH": Regime.TH_PDPA,
    "ZA": Regime.ZA_POPIA,
    "SA": Regime.SA_PDPL,
    "TR": Regime.TR_KVKK,
    "NZ": Regime.NZ_PA2020,
}


_BY_REGION: dict[str, Regime] = {
    "US-CA": Regime.US_CA_CCPA,
    **{f"US-{regime.value[3:].upper()}": regime for regime in Regime if regime.value.startswith("us_") and len(regime.value) == 5},
    "CA-QC": Regime.CA_QC_LAW25,
}
_STATES = (
    "AL Alabama, AK Alaska, AZ Arizona, AR Arkansas, CA California, CO Colorado, CT Connecticut, DE Delaware, DC District of Columbia, "
    "FL Florida, GA Georgia, HI Hawaii, ID Idaho, IL Illinois, IN Indiana, IA Iowa, KS Kansas, KY Kentucky, LA Louisiana, ME Maine, "
    "MD Maryland, MA Massachusetts, MI Michigan, MN Minnesota, MS Mississippi, MO Missouri, MT Montana, NE Nebraska, NV Nevada, "
    "NH New Hampshire, NJ New Jersey, NM New Mexico, NY New York, NC North Carolina, ND North Dakota, OH Ohio, OK Oklahoma, OR Oregon, "
    "PA Pennsylvania, RI Rhode Island, SC South Carolina, SD South Dakota, TN Tennessee, TX Texas, UT Utah, VT Vermont, VA Virginia, "
    "WA Washington, WV West Virginia, WI Wisconsin, WY Wyoming"
)
US_STATES: dict[str, str] = {f"US-{state[:2]}": state[3:] for state in _STATES.split(", ")}
"""The states of the United States, by ISO 3166-2 code: where a person lives there decides the law."""


def regime_of(request: Request, settings: WorkflowSettings) -> Regime | None:
    """The law of a request: what it names, else what its state or province tells, else its country, else the host's own.

    The United States as a country tell none: each state has its own law, or none.
    """
    return request.regime or _BY_REGION.get(request.region or "") or _BY_COUNTRY.get(_country(request)) or settings.regime


def _country(request: Request) -> str:
    return request.country or (request.region or "").partition("-")[0]


def clock_of(regime: Regime | None, type: RequestType) -> Clock:
    """The clock of a law and a right; of no law, the shortest that is common."""
    if regime is Regime.TW_PDPA and type is RequestType.COPY:
        return _TAIWAN_ACCESS
    return CLOCKS.get(regime, _DEFAULT) if regime else _DEFAULT


def due(regime: Regime | None, type: RequestType, start: datetime, *, holidays: Collection[date] = (), paused_days: int = 0) -> Due:
    """When a request whose clock began at `start` must have been answered; days that the clock stood still are added."""
    clock = clock_of(regime, type)
    span = clock.opt_out if clock.opt_out and type in _OPT_OUTS else clock.respond
    return _due(start, [span], clock, holidays, paused_days)


def extended(regime: Regime | None, type: RequestType, start: datetime, *, holidays: Collection[date] = (), paused_days: int = 0) -> Due | None:
    """The same with the extension the law allows; None when it allows none."""
    clock = clock_of(regime, type)
    if clock.extend is None or (clock.opt_out and type in _OPT_OUTS):
        return None
    return _due(start, [clock.respond, clock.extend], clock, holidays, paused_days)


def _due(start: datetime, spans: list[str], clock: Clock, holidays: Collection[date], paused_days: int) -> Due:
    # In UTC whatever the sender's clock says: the ledger gives moments back so, and the same case must not move by a day at a month's end.
    start = start.astimezone(UTC)
    months = sum(int(span.split()[0]) for span in spans if span.endswith(" months"))
    end = _months_later(start, months) if months else start
    for span in spans:
        number, unit = span.split()
        if unit == "days":
            end += timedelta(days=int(number))
        elif unit == "bdays":
            end = _working_days_later(end, int(number), holidays)
    at = end = end + timedelta(days=paused_days)
    while clock.rolls and _is_off(at.date(), holidays):
        at += timedelta(days=1)
    return Due(at, f"{' and '.join(spans)} ({clock.source})", rolled=at != end)


def _months_later(moment: datetime, months: int) -> datetime:
    years, month = divmod(moment.month - 1 + months, 12)
    year = moment.year + years
    return moment.replace(year=year, month=month + 1, day=min(moment.day, calendar.monthrange(year, month + 1)[1]))


def _working_days_later(moment: datetime, days: int, holidays: Collection[date]) -> datetime:
    while days:
        moment += timedelta(days=1)
        if not _is_off(moment.date(), holidays):
            days -= 1
    return moment


def _is_off(day: date, holidays: Collection[date]) -> bool:
    return day.weekday() >= 5 or day in holidays
