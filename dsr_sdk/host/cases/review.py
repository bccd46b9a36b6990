"""What the review panel shows of a case: who is asking, how that was proven, what helps to find them, and what is known already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.engine import Connection

from dsr_sdk.errors import RequestError
from dsr_sdk.host.arrivals.form_words import form_words
from dsr_sdk.host.arrivals.forms import correction_field
from dsr_sdk.host.cases.clocks import Explanation
from dsr_sdk.host.cases.deadlines import US_STATES
from dsr_sdk.host.cases.verification import Method, Requirement, entered, methods_for, reached, unproven
from dsr_sdk.identity import AnyIdentity, Email, Phone
from dsr_sdk.ledger.cases import CASE_COLUMNS, Case, case_of
from dsr_sdk.ledger.database import reading
from dsr_sdk.ledger.schema import case_identities, cases
from dsr_sdk.request import CORRECTION, Channel, EmailEvidence, Regime, Request, RequestType

if TYPE_CHECKING:
    from dsr_sdk.host.host import Host

__all__ = ["Erasure", "Review", "review"]


_MOST = 20
"""Further cases of one person that are shown; nobody decides about more at once."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """The person was erased at a data source before: for which case, and when."""

    source: str
    case: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Review:
    """The panel. Its ``repr`` shows no personal data.

    Attributes:
        request: The request, opened; None when the case was shredded, and then everything from it is empty.
        subject_name: First and last name; empty when none was given.
        email: The first e-mail address as it was given; empty when there is none.
        verified: The person's identity is proven: the green check mark next to the address.
        verified_by: How: ``oauth``, ``email``, ``document``, ``questions``, ``controller``.
        requirement: What the law says about proof of identity for this right.
        methods: The ways of proof that may be used; none where the law forbids to ask.
        unproven: Identities that nobody has proven to be theirs. Where proof is required, nothing is searched with them.
        entered: Identities that an agent entered, and no proof covers.
        reached: Somebody has shown that the person reads mail at an address of theirs; a copy is handed over nowhere else.
        evidence: At most three e-mails that the company sent to the person, the newest first.
        evidence_proves: The evidence comes out of the person's own mailbox, so it speaks for who they are as well.
        reported: What the person told about themselves: label and value.
        correction: Of a right to edit: what is wrong, and what it should be; empty when nobody has said it. It stands in `reported` as well.
        duplicates: Other cases of the same person and right that are still to be answered, the oldest first.
        others: Every further open case of the same person, of whatever type, the oldest first.
        copy_owed: This is one of a copy and a deletion that are both open: done first, the deletion leaves nothing to be copied.
        due: When the person must have been answered, and why then.
        earlier_erasures: Where and when the person was erased before, the oldest first.
    """

    case: Case
    request: Request | None = field(repr=False)
    subject_name: str = field(repr=False)
    email: str = field(repr=False)
    verified: bool
    verified_by: str | None
    requirement: Requirement
    methods: tuple[Method, ...]
    unproven: tuple[AnyIdentity, ...] = field(repr=False)
    entered: tuple[AnyIdentity, ...] = field(repr=False)
    reached: bool
    evidence: tuple[EmailEvidence, ...] = field(repr=False)
    evidence_proves: bool
    reported: list[tuple[str, str]] = field(repr=False)
    correction: str = field(repr=False)
    duplicates: list[Case]
    others: list[Case]
    copy_owed: bool
    due: Explanation
    earlier_erasures: list[Erasure]


def review(host: Host, number: str, *, by: str | None, language: str) -> Review:
    """The panel of a case. See `Inbox.review`."""
    case = host.workflow.get(number)
    if case.stage is None:
        raise RequestError("the case is not in the workflow", source=number)
    request = None if case.shredded else host.request(number, by=by)
    alike = host.workflow.alike(number)
    with reading(host.ledger.engine) as connection:
        duplicates = [host.ledger.cases.get(connection, other) for other in alike]
        others = [other for other in _of_the_same_person(connection, case) if other.number not in alike]
        erased = host.ledger.cases.erased_before(connection, [number]).get(number, [])
    name = request.subject.name if request else None
    address = next(iter(request.subject.all(Email)), None) if request else None
    return Review(
        case=case,
        request=request,
        subject_name=" ".join(part for part in (name.first, name.last) if part) if name else "",
        email=(address.given or address.value) if address else "",
        verified=case.verified_by is not None,
        verified_by=case.verified_by,
        requirement=host.workflow.requirement(case),
        methods=methods_for(Regime(case.regime) if case.regime else None, RequestType(case.type)),
        unproven=unproven(request) if request else (),
        entered=entered(request) if request else (),
        reached=request is not None and reached(request) is not None,
        evidence=request.email_evidence[:3] if request else (),
        evidence_proves=case.channel == Channel.MINE_APP,
        reported=_reported(host, request, language) if request else [],
        correction=str(request.custom_fields.get(correction_field(host.config.privacy_center), "")) if request else "",
        duplicates=duplicates,
        others=others,
        copy_owed=case.ended_at is None and any({case.type, other.type} == {"copy", "deletion"} for other in others),
        due=host.workflow.explain(case),
        earlier_erasures=[Erasure(source, earlier, at) for source, earlier, at in erased],
    )


def _of_the_same_person(connection: Connection, case: Case) -> list[Case]:
    """Other open cases with an identity of this one: found by the index of the keyed hashes, whatever the number of cases."""
    known = select(case_identities.c.fingerprint).where(case_identities.c.case == case.number)
    same = select(case_identities.c.case).where(case_identities.c.fingerprint.in_(known), case_identities.c.case != case.number)
    query = select(*CASE_COLUMNS).where(cases.c.case.in_(same), cases.c.stage.is_not(None), cases.c.ended_at.is_(None))
    return [case_of(row) for row in connection.execute(query.order_by(cases.c.received_at, cases.c.case).limit(_MOST))]


def _reported(host: Host, request: Request, language: str) -> list[tuple[str, str]]:
    """What is to be corrected, country and telephone, the form's own fields in the form's order, then what else came along."""
    told: list[tuple[str, str]] = []
    fields = {row.name: row for row in host.config.privacy_center.fields}
    if CORRECTION in request.custom_fields and CORRECTION not in fields:
        told.append((form_words(language)("form.correction"), str(request.custom_fields[CORRECTION])))
    if request.country:
        told.append(("Country of residence", request.country))
    if request.region:
        told.append(("State or province", US_STATES.get(request.region, request.region)))
    told.extend(("Mobile number", phone.value) for phone in request.subject.all(Phone))
    for name in [*(name for name in fields if name in request.custom_fields), *(name for name in request.custom_fields if name not in fields)]:
        if name == CORRECTION and name not in fields:
            continue
        value = request.custom_fields[name]
        said = ("yes" if value else "no") if isinstance(value, bool) else str(value)
        told.append((_label(fields[name].label, language) if name in fields else name, said))
    return told


def _label(labels: Mapping[str, str], language: str) -> str:
    """In the language, its base language, English, or whichever there is."""
    for tag in (language, language.partition("-")[0], "en"):
        if tag in labels:
            return labels[tag]
    return next(iter(labels.values()))
