"""What the suite's checks stand on: a connector in front of a sandbox, made-up people, and the steps of a host's work."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from dsr_sdk.connector import Connector, ConnectorConfig, Verb
from dsr_sdk.errors import ConfigError, DsrError
from dsr_sdk.identity import AnyIdentity, VendorId
from dsr_sdk.request import Subject
from dsr_sdk.result import Match, Outcome, Pending, Record
from dsr_sdk.testing import faults
from dsr_sdk.testing._findings import DEFAULT_TOLERANCES, Exemption, Tolerance
from dsr_sdk.testing._standard import Standard
from dsr_sdk.testing._tap import Sent, tapped_world
from dsr_sdk.testing.sandbox import Person, Sandbox
from dsr_sdk.testing.scenario import (
    ADA,
    Exchange,
    Result,
    ScenarioHttp,
    World,
    config_of,
    erasable,
    erase_all,
    export_all,
    find,
    identity_of,
    settled,
    subject_of,
    world,
)

if TYPE_CHECKING:
    import httpx

__all__ = ["Bench", "Tour"]

OTHER = Person("zqgrace.zqhopper@example.org", "Zqgrace", "Zqhopper", "+14155550177", "zq-other-2")
"""Somebody else, whose every value is unlike anything that could stand in an answer by chance."""

CANARY = Person("zqcanary.zqbird@example.net", "Zqcanary", "Zqbird", "+14155550188", "zq-canary-3")
"""Somebody nobody may speak of."""

POSITIONS = 6
"""At how many of a verb's calls a fault is tried."""

LATER = 20
"""At how many a 404 is: after a first call that went well it looks like an empty list."""


@dataclass
class Tour:
    """Everything that passed while a connector did each of the things it can do, once."""

    sent: list[Sent] = field(default_factory=list)
    found: set[str] = field(default_factory=set)
    copied: set[str] = field(default_factory=set)


_tours: dict[type[Bench], Tour] = {}


class Bench(Standard):
    """What an author declares of a connector under test, and what the checks do with it.

    Attributes:
        connector: The connector.
        sandbox: Its sandbox; None only for a data source worked by e-mail or by hand.
        cassettes: Where its recorded cassettes are.
        person: Who is found, copied and erased. Wishes of one sandbox go into ``extra``.
        expected_faults: What this vendor's connector reads differently from the usual table: ``{("find", "status 404"): None}``.
        many: How many records one person is given to see that paging loses none; more than the largest page the connector asks for.
        description: The vendor's own description of its API (OpenAPI 3.0 or 3.1, YAML or JSON), against which every message is held.
        exemptions: Differences from the description that are known, each with its reason. One that is no longer needed is a failure.
        tolerances: In which ways answers may differ from the description. Requests may in none.
    """

    connector: ClassVar[type[Connector]]
    sandbox: ClassVar[type[Sandbox] | None] = None
    cassettes: ClassVar[Path | None] = None
    person: ClassVar[Person] = ADA
    expected_faults: ClassVar[Mapping[tuple[str, str], faults.Expected]] = {}
    many: ClassVar[int] = 130
    description: ClassVar[Path | None] = None
    exemptions: ClassVar[tuple[Exemption, ...]] = ()
    tolerances: ClassVar[Collection[Tolerance]] = DEFAULT_TOLERANCES

    # --- what an author may override -----------------------------------------------------------------------------------------------

    def identity(self, person: Person) -> AnyIdentity:
        """What to search by: the person's first identity of a kind in ``identified_by``."""
        found = identity_of(self.connector, person)
        if found is None:
            pytest.fail("the person has no identity the connector searches by: override identity(person)", pytrace=False)
        return found

    def settle(self, sandbox: Sandbox) -> None:
        """Let so much time pass that the vendor's jobs are done."""
        sandbox.advance(60 * 86_400.0)

    def fail_jobs(self, sandbox: Sandbox) -> bool:
        """Let the jobs that are under way fail at the vendor. Whether the vendor says that they did: some keep silent, and it never ends."""
        pytest.fail("how do this vendor's jobs fail? Override fail_jobs(sandbox) in the suite", pytrace=False)

    @classmethod
    def record(cls) -> list[Path]:
        """Record the cassettes that the suite replays, from the sandbox, with the suite's person. Read the difference before committing it."""
        from dsr_sdk.testing.cassettes import record  # vcrpy takes its time, and nothing else needs it

        if cls.cassettes is None or cls.sandbox is None:
            raise ConfigError("the suite names no directory of cassettes, or no sandbox", source=cls.__name__)
        suite = cls()
        return record(cls.connector, cls.sandbox, cls.cassettes, person=cls.person, identity=suite.identity(cls.person), settle=suite.settle)

    # --- the steps -----------------------------------------------------------------------------------------------------------------

    def _config(self) -> ConnectorConfig:
        if self.sandbox is None:
            pytest.skip("there is no sandbox: the data source is not worked over HTTP")
        return config_of(self.connector, self.sandbox)

    def _world(
        self,
        *people: Person,
        config: ConnectorConfig | None = None,
        through: Callable[[httpx.BaseTransport], httpx.BaseTransport] | None = None,
    ) -> AbstractContextManager[World]:
        config = config or self._config()
        assert self.sandbox is not None  # noqa: S101 - _config skipped otherwise
        return world(self.connector, self.sandbox, *people, config=config, through=through)

    def _tapped(self, *people: Person, config: ConnectorConfig | None = None) -> AbstractContextManager[tuple[World, list[Sent]]]:
        config = config or self._config()
        assert self.sandbox is not None  # noqa: S101 - likewise
        return tapped_world(self.connector, self.sandbox, *people, config=config)

    def _tour(self) -> Tour:
        """What passes while each verb is carried out, with each kind of identity, and once more for what is gone. Walked once a suite."""
        if type(self) not in _tours:
            tour = Tour()
            with self._tapped(OTHER, self.person) as (w, sent):
                self._visit(w, tour)
                tour.sent = sent
            _tours[type(self)] = tour
        return _tours[type(self)]

    def _visit(self, w: World, tour: Tour) -> None:
        w.connector.dsr_check(w.http.api())
        matches = self._find(w, self.person)
        self._find(w, CANARY)
        tour.found |= {match.resource for match in matches}
        for identity in self._identities_of(matches):
            find(w.connector, w.http, subject_of(self.person, identity))
        if self._able(Verb.EXPORT):
            tour.copied |= {record.resource for record in self._export(w, matches)}
        if self._able(Verb.OPT_OUT):
            for match in matches:
                w.connector.dsr_opt_out(w.http.api(operation_key="opt-out"), match)
        if self._able(Verb.ERASE):
            self._settled(w, erase_all(w.connector, w.http, matches))
            self._find(w, self.person)
            self._settled(w, self._again(w, erasable(w.connector, matches)))

    def _identities_of(self, matches: Sequence[Match]) -> list[AnyIdentity]:
        """The person's identities, one of each kind that finds; the vendor's own as its matches reveal it."""
        revealed = [identity for match in matches for identity in match.identities if isinstance(identity, VendorId)]
        found: list[AnyIdentity] = []
        for kind in self.connector.identified_by:
            identity = identity_of(self.connector, self.person, kind) or (revealed[0] if revealed and kind is VendorId else None)
            if identity is not None:
                found.append(identity)
        return found

    def _able(self, verb: Verb) -> bool:
        return self.connector.supports(verb) is None

    def _need(self, verb: Verb) -> None:
        excuse = self.connector.supports(verb)
        if excuse is not None:
            pytest.skip(f"no {verb.value}: {excuse.reason}")

    def _batch(self) -> int:
        return min(self.connector.batch_size, 250)

    def _subject(self, person: Person) -> Subject:
        return subject_of(person, self.identity(person))

    def _find(self, w: World, person: Person) -> list[Match]:
        return find(w.connector, w.http, self._subject(person))

    def _settled(self, w: World, results: Sequence[Result]) -> list[Result]:
        ended = settled(w.connector, w.http, results, lambda: self.settle(w.sandbox))
        self.settle(w.sandbox)  # an index may lag behind
        return ended

    def _erase(self, w: World, person: Person) -> list[Result]:
        matches = self._find(w, person)
        require(w.sandbox.holds(person.email), "the sandbox does not hold the person right after add_person: check holds()")
        return self._settled(w, erase_all(w.connector, w.http, matches))

    def _export(self, w: World, matches: Sequence[Match]) -> list[Record]:
        return self._records(w, w.http, matches)

    def _records(self, w: World, http: ScenarioHttp, matches: Sequence[Match]) -> list[Record]:
        return export_all(w.connector, http, matches, lambda: self.settle(w.sandbox))

    def _again(self, w: World, matches: Sequence[Match]) -> list[Result]:
        """Finish what was begun, as a host does after a crash: ask the vendor first where repeating is not harmless."""
        known: list[Result] = []
        todo: list[Match] = []
        for match in matches:
            outcome = None if w.connector.repeatable else w.connector.dsr_recover(w.http.api(), match)
            if outcome is None:
                todo.append(match)
            else:
                known.append((match, outcome))
        return [*known, *erase_all(w.connector, w.http, todo)]

    def _effects_once(self, w: World) -> None:
        twice = sum(1 for count in w.effects.values() if count > 1)
        require(not twice, f"{twice} effects happened more than once at the vendor")

    # --- faults --------------------------------------------------------------------------------------------------------------------

    def _expected(self, case: faults.FaultCase, verb: str) -> faults.Expected:
        """What the fault has to become; a verb of which nothing is said takes after the one it resembles."""
        for one in (verb, faults.LIKE.get(verb, verb)):
            if (one, case.name) in self.expected_faults:
                return self.expected_faults[one, case.name]
        return case.expected(verb)

    def _calls_of_find(self) -> list[Exchange]:
        with self._world(self.person, OTHER) as w:
            self._find(w, self.person)
            return w.http.log

    def _calls_of_erase(self) -> list[Exchange]:
        with self._world(self.person, OTHER) as w:
            matches = self._find(w, self.person)
            w.http.log.clear()
            erase_all(w.connector, w.http, matches)
            return w.http.log

    def _calls_of_export(self) -> list[Exchange]:
        with self._world(self.person, OTHER) as w:
            matches = self._find(w, self.person)
            w.http.log.clear()
            self._export(w, matches)
            return w.http.log

    def _pending(self, w: World, matches: Sequence[Match]) -> list[tuple[Match, Pending]]:
        """Erase, and give what the vendor does later; skips when there is no such thing."""
        results = erase_all(w.connector, w.http, matches)
        pending = [(match, result) for match, result in results if isinstance(result, Pending)]
        if not pending:
            pytest.skip("the connector never answers Pending")
        return pending

    def _calls_of_poll(self) -> list[Exchange]:
        with self._world(self.person, OTHER) as w:
            _, outcome = self._pending(w, self._find(w, self.person))[0]
            w.http.log.clear()
            w.connector.dsr_poll(w.http.api(), outcome.job)
            return w.http.log

    def _usual_copy(self) -> list[str]:
        with self._world(self.person, OTHER) as w:
            return self._resources(w, w.http, self._find(w, self.person))

    def _truth(self, w: World, person: Person) -> dict[str, int]:
        """What the vendor holds of a person, behind its API; every resource that is copied is in it."""
        truth = dict(w.sandbox.records(person.email))
        declared = {holds.resource: holds for holds in w.connector.holds}
        unknown = sorted(truth.keys() - declared.keys())
        require(not unknown, f"records(email) of the sandbox names {', '.join(unknown)}, which is not in holds")
        untold = sorted({name for name, holds in declared.items() if holds.exported} - truth.keys())
        require(not untold or not self._able(Verb.EXPORT), f"records(email) of the sandbox does not say how many there are of: {', '.join(untold)}")
        return truth

    def _copied_whole(self, w: World, matches: Sequence[Match], person: Person) -> dict[str, int]:
        """Copy, and hold what was copied and counted against what is there; the truth."""
        truth = self._truth(w, person)
        w.http.listed.clear()
        got = Counter(record.resource for record in self._export(w, matches))
        for resource, there in truth.items():
            if w.connector.held(resource).exported:
                require(got[resource] == there, f"{resource}: {got[resource]} in the copy, and {there} at the vendor")
            counts = [match.count for match in matches if match.resource == resource]
            require(max(counts, default=1) == 1 or sum(counts) == there, f"{resource}: find counts {sum(counts)}, and {there} are at the vendor")
        return truth

    def _has_lists(self, w: World) -> bool:
        """Whether the sandbox can let there be more than fits a page."""
        return type(w.sandbox).add_records is not Sandbox.add_records

    def _resources(self, w: World, http: ScenarioHttp, matches: Sequence[Match]) -> list[str]:
        return sorted(record.resource for record in self._records(w, http, matches))

    def _struck(
        self, case: faults.FaultCase, calls: Callable[[], list[Exchange]], *, everywhere: bool = False
    ) -> Iterator[tuple[int, World, list[Match]]]:
        """A fresh world for each call of a verb that the fault is to strike, with what was found in it. `everywhere`: at its later calls too,
        whatever the table says."""
        count = len(calls())
        if not count and calls == self._calls_of_export:
            pytest.skip("copying makes no call: find has read it all")
        require(count > 0, "the verb makes no call to the vendor")
        for position in range(min(count, LATER if everywhere else POSITIONS) if case.everywhere or everywhere else 1):
            with self._world(self.person, OTHER) as w:
                yield position, w, self._find(w, self.person)


def require(condition: bool, message: str) -> None:
    """Fail the check with a message for the connector's author."""
    __tracebackhide__ = True
    if not condition:
        raise AssertionError(message)


def said(result: Outcome | DsrError) -> str:
    """A result in a word or a sentence; neither outcomes' names nor errors hold personal data."""
    return str(result) if isinstance(result, DsrError) else type(result).__name__


def values_of(person: Person) -> dict[str, str]:
    """What a person can be told by."""
    values = {"e-mail address": person.email, "first name": person.first_name, "last name": person.last_name, "user id": person.user_id}
    return {what: value for what, value in {**values, "telephone number": person.phone.lstrip("+")}.items() if value}


def text_of(records: Sequence[Record]) -> str:
    """A copy as text to look things up in."""
    return json.dumps([dict(record.data) for record in records], ensure_ascii=False, default=str).casefold()


def altered(secret: str) -> str:
    """A wrong secret of the same shape."""
    at = next((i for i in range(len(secret) // 3, len(secret)) if secret[i].isalnum()), 0)
    return secret[:at] + ("1" if secret[at] == "0" else "0" if secret[at].isdigit() else "b" if secret[at] == "a" else "a") + secret[at + 1 :]
