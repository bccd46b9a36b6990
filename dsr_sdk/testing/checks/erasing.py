"""Erasing: it is gone, only that, once, and the outcome says so."""

from __future__ import annotations

import pytest

from dsr_sdk.connector import Verb
from dsr_sdk.errors import DsrError, TransientError
from dsr_sdk.request import Scope
from dsr_sdk.result import Absent, Erased, Outcome, Retained
from dsr_sdk.testing import faults
from dsr_sdk.testing._bench import OTHER, Bench, require, said
from dsr_sdk.testing.checks.finding import neighbours_of, strangers
from dsr_sdk.testing.sandbox import Fault, Sandbox
from dsr_sdk.testing.scenario import erasable, erase_all

__all__ = ["Erasing"]


class Erasing(Bench):
    """The part of `ConnectorSuite` about erasing."""

    def test_erase(self) -> None:
        """After an erasure every outcome is final and the person is gone at the vendor.

        Mend: answer what the vendor confirmed, `Pending` until then; an outcome without a call is a lie."""
        self._need(Verb.ERASE)
        with self._world(OTHER, self.person) as w:
            results = self._erase(w, self.person)
            require(bool(results), "of everything found nothing is erased")
            for match, result in results:
                final = isinstance(result, Outcome) and result.final and result.kind != "failed"
                require(final, f"{match.resource}: {said(result)} after all jobs had time to end")
            require(not w.sandbox.holds(self.person.email), "outcomes are final, and the sandbox still holds the person")

    def test_found_no_more(self) -> None:
        """Finding again after an erasure finds what is retained and nothing else: that is the proof the host keeps.

        Mend: erase what `find` yields; name what stays in ``holds`` as `Retained`; let `find` read the records, not an index that lags."""
        self._need(Verb.ERASE)
        with self._world(OTHER, self.person) as w:
            self._erase(w, self.person)
            again = [match.resource for match in self._find(w, self.person) if w.connector.held(match.resource).on_erase is not Retained]
            require(not again, f"found again after the erasure: {', '.join(sorted(set(again)))}")

    def test_others_stay(self) -> None:
        """Erasing one person changes nothing that is found of another.

        Mend: erase by the match's id, never by something two people may share."""
        self._need(Verb.ERASE)
        with self._world(OTHER, self.person) as w:
            others = self._find(w, OTHER)
            self._erase(w, self.person)
            require(w.sandbox.holds(OTHER.email), "another person is gone too")
            require(faults.keys(self._find(w, OTHER)) == faults.keys(others), "another person's data changed")

    def test_erase_spares_neighbours(self) -> None:
        """People whose addresses or ids begin or end like the erased one's stay.

        Mend: compare whole values; a vendor's search may be fuzzy."""
        self._need(Verb.ERASE)
        neighbours = neighbours_of(self.person)
        with self._world(*list(neighbours.values())[:3], self.person, *list(neighbours.values())[3:]) as w:
            self._erase(w, self.person)
            require(not w.sandbox.holds(self.person.email), "the person is still there")
            for kind, neighbour in neighbours.items():
                require(w.sandbox.holds(neighbour.email), f"a neighbour was erased too ({kind})")

    def test_nothing_is_lost_among_many(self) -> None:
        """A person with more records than fit a page is copied and erased wholly, and nobody else.

        Mend: read every page (``api.pages``) and yield every match. The sandbox must accept the same person several times, as the vendor
        does (again, or as an update)."""
        others = list(strangers(self.many))
        with self._world(*others, *[self.person] * self.many) as w:
            found = self._find(w, self.person)
            require(bool(found), "the person is not found behind a page of other people")
            if self._able(Verb.EXPORT):
                self._copied_whole(w, found, self.person)
            if self._able(Verb.ERASE):
                self._erase(w, self.person)
                require(not w.sandbox.holds(self.person.email), f"the person was added {self.many} times and is still there after the erasure")
                require(all(w.sandbox.holds(stranger.email) for stranger in others), "a stranger is gone")

    def test_erase_twice(self) -> None:
        """Erasing the same matches again, as after a crash, is harmless: a clean outcome, and no effect counted twice.

        Mend: let 404 be `Absent`; when the vendor would do it twice, set ``repeatable = False`` and write `recover`."""
        self._need(Verb.ERASE)
        with self._world(self.person, OTHER) as w:
            matches = self._find(w, self.person)
            self._settled(w, erase_all(w.connector, w.http, matches))
            for match, result in self._settled(w, self._again(w, erasable(w.connector, matches))):
                require(isinstance(result, Outcome) and result.clean, f"{match.resource}: {said(result)} the second time")
            self._effects_once(w)
            require(w.sandbox.holds(OTHER.email), "another person is gone")

    def test_gone_in_between(self) -> None:
        """What somebody else removed between finding and erasing is `Absent` when the vendor says 404, and clean in any case.

        Mend: let the 404 of ``api`` through, or answer `Absent` where the vendor says "not there" in other words."""
        self._need(Verb.ERASE)
        with self._world(self.person, OTHER) as w:
            matches = self._find(w, self.person)
            self._settled(w, erase_all(w.connector, w.http, matches))
            w.http.log.clear()
            results = self._settled(w, erase_all(w.connector, w.http, matches, key="later"))
            missed = [exchange for exchange in w.http.log if exchange.status in (404, 410) and exchange.method not in ("GET", "HEAD")]
            for match, result in results:
                require(isinstance(result, Outcome) and result.clean, f"{match.resource}: {said(result)} for what is already gone")
            if missed and len(missed) == len(results) == len(w.http.log):
                require(all(isinstance(result, Absent) for _, result in results), "the vendor answered 404 to each erasure: that is Absent")

    def test_lost_answer(self) -> None:
        """When the vendor did it and the answer was lost, finishing the work does nothing twice.

        Mend: no ``retry=True`` on a POST with an effect; declare the vendor's ``idempotency_header``; or ``repeatable = False`` with `recover`."""
        self._need(Verb.ERASE)
        for position, exchange in enumerate(self._calls_of_erase()):
            if exchange.method in ("GET", "HEAD"):
                continue
            with self._world(self.person) as w:
                matches = self._find(w, self.person)
                w.sandbox.faults = [Fault("drop_after", after=position)]
                results = erase_all(w.connector, w.http, matches)
                w.sandbox.faults = []
                broken = [match for match, result in results if isinstance(result, DsrError)]
                wrong = [result for _, result in results if isinstance(result, DsrError) and not isinstance(result, TransientError)]
                require(not wrong, f"a lost answer to {exchange.call} became {said(wrong[0]) if wrong else ''}, not TransientError")
                self._settled(w, [*(row for row in results if not isinstance(row[1], DsrError)), *self._again(w, broken)])
                self._effects_once(w)
                require(not w.sandbox.holds(self.person.email), f"still there after the answer to {exchange.call} was lost and the work repeated")

    def test_recover(self) -> None:
        """Where repeating is not harmless, `recover` tells what was begun from what was not: None before, an outcome afterwards.

        Mend: ask the vendor for the job, or the record, that `erase` leaves behind; None only when there is none."""
        self._need(Verb.ERASE)
        if self.connector.repeatable:
            pytest.skip("repeating is harmless")
        with self._world(self.person, OTHER) as w:
            matches = erasable(w.connector, self._find(w, self.person))
            for match in matches:
                require(w.connector.dsr_recover(w.http.api(), match) is None, f"{match.resource}: recovered before anything was begun")
            erase_all(w.connector, w.http, matches)
            for match in matches:
                require(w.connector.dsr_recover(w.http.api(), match) is not None, f"{match.resource}: recover does not know what was just begun")

    def test_retained_is_never_erased(self) -> None:
        """What ``holds`` declares retained is not removed.

        Mend: erase the other resources only, or declare what really happens."""
        self._need(Verb.ERASE)
        with self._world(self.person) as w:
            matches = self._find(w, self.person)
            kept = [match for match in matches if w.connector.held(match.resource).on_erase is Retained]
            self._erase(w, self.person)
            ids = {match.id for match in kept} - {match.id for match in matches if match not in kept}
            hit = [effect for effect in w.effects if effect.rpartition(" ")[2] in ids]
            require(not hit, f"{len(hit)} retained records were removed")

    def test_holds_come_true(self) -> None:
        """What becomes of each resource is what ``holds`` says, for each of its records: behind the API nothing is left of what is declared erased,
        and all is there that is declared retained.

        Mend: erase what is declared, or declare what happens (``on_erase=Retained`` for the invoice that stays). Give the sandbox
        ``records(email)``."""
        self._need(Verb.ERASE)
        for longer in (False, True):
            with self._world(self.person, OTHER) as w:
                if type(w.sandbox).records is Sandbox.records and not self._able(Verb.EXPORT):
                    pytest.skip("the sandbox does not tell what it holds (records), and the connector copies nothing")
                if longer and not self._has_lists(w):
                    break
                if longer:
                    w.sandbox.add_records(self.person.email, self.many)
                before = self._truth(w, self.person)
                self._erase(w, self.person)
                after = self._truth(w, self.person)
                for resource, there in before.items():
                    left, becomes = after.get(resource, 0), w.connector.held(resource).on_erase
                    require(becomes is not Erased or not left, f"{resource}: declared as erased, and {left} of {there} are still there")
                    require(becomes is not Retained or left == there, f"{resource}: declared as retained, and of {there} there are {left}")

    def test_app_data_leaves_the_account(self) -> None:
        """Erasing app data leaves the account: somebody who asks for the one keeps the other.

        Mend: say in ``holds`` which resources are ``Scope.APP_DATA``, and erase these without touching the account's."""
        self._need(Verb.ERASE)
        if {holds.scope for holds in self.connector.holds} != {Scope.ACCOUNT, Scope.APP_DATA}:
            pytest.skip("everything is of one scope")
        with self._world(self.person, OTHER) as w:
            matches = self._find(w, self.person)
            account = [match for match in matches if w.connector.held(match.resource).scope is Scope.ACCOUNT]
            app_data = [match for match in matches if match not in account]
            require(bool(account), "no match of the account is found")
            self._settled(w, erase_all(w.connector, w.http, app_data))
            left = faults.keys(self._find(w, self.person))
            lost = sorted({resource for resource, key in faults.keys(account) if (resource, key) not in left})
            require(not lost, f"erasing app data took the account's {', '.join(lost)} along")
