"""Batches: many people in one request, each with an outcome of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dsr_sdk.errors import ContractError, DsrError, RejectedError
from dsr_sdk.result import Absent, Failed, Match, Outcome, Pending, Retained
from dsr_sdk.testing import faults
from dsr_sdk.testing._bench import OTHER, POSITIONS, Bench, require, said
from dsr_sdk.testing.sandbox import Person
from dsr_sdk.testing.scenario import Exchange, Result, World, erasable, erase_all

__all__ = ["Batches"]

DEAREST = 100
"""The largest batch that is filled to the brim more than once."""


class Batches(Bench):
    """The part of `ConnectorSuite` about batches."""

    def test_batch(self) -> None:
        """A batch of the declared size (up to 250) is taken whole: one outcome a match, everybody in it gone, nobody else.

        Mend: lower ``batch_size`` to what the vendor takes, and answer one outcome a match, in order."""
        people = self._crowd(self._batch())
        with self._world(OTHER, *people) as w:
            found = [match for person in people for match in self._find(w, person)]
            self._all_gone(w, people, found, f"in one batch of {len(people)}")

    def test_batch_with_one_gone(self) -> None:
        """One in the batch who is already gone does not spoil the others.

        Mend: tell the vendor to skip whom it does not know, or answer for each what the vendor said about them."""
        people = self._crowd(min(self._batch(), 5))
        with self._world(OTHER, *people) as w:
            found = [match for person in people for match in self._find(w, person)]
            self._settled(w, erase_all(w.connector, w.http, self._find(w, people[0]), key="first"))
            self._all_gone(w, people, found, "in a batch with one who was gone")

    def test_batch_is_split(self) -> None:
        """More people than ``batch_size`` are split by the host: each part is a request of its own, and everybody is gone at the end.

        Mend: keep nothing between two calls of `erase_many`."""
        size = self.connector.batch_size if self.connector.batch_size <= DEAREST else 20
        people = self._crowd(size + 1)
        with self._world(OTHER, *people) as w:
            found = [match for person in people for match in self._find(w, person)]
            self._all_gone(w, people, found, f"in batches of {size}", size)

    def test_batch_of_mixed_outcomes(self) -> None:
        """Of one batch the vendor refuses one, another is gone already, the others are erased: each match is told what became of it, at once or
        by its job, in whatever order the vendor answers. Held against the truth behind the sandbox, in one order of the batch and in reverse.

        Mend: look each match up in the vendor's answer by its id, never by its place; that a call or a job is done is nobody's outcome; a
        refusal of one is `Failed`. Give the sandbox ``refuse(email)``."""
        people = self._crowd(self._mixable())
        refused, gone = people[0].email, people[-2].email if len(people) > 2 else ""
        for order in (people, people[::-1]):
            with self._world(OTHER, *people) as w:
                found = {person.email: erasable(w.connector, self._find(w, person)) for person in order}
                told = w.sandbox.refuse(refused)
                known_absent = self._absent_before(w, found.get(gone, []))
                results = self._settled(w, self._halved(w, [match for matches in found.values() for match in matches]))
                left = {person.email: faults.keys(self._find(w, person)) for person in people}
                require(w.sandbox.holds(refused), "the sandbox lost the person whom it was told to refuse: check refuse(email)")
                require(any(match in left[refused] for match in faults.keys(found[refused])), "nothing of the refused person is found again")
                spoilt = sum(w.sandbox.holds(person.email) for person in people if person.email != refused)
                require(not spoilt, f"one was refused, and {spoilt} whom nobody refused are still there: it took the batch along")
                owners = [email for email, matches in found.items() for _ in matches]
                for email, (match, result) in zip(owners, results, strict=True):
                    if (match.resource, match.id) in left[email]:
                        self._told_refused(match, result, told=told)
                    else:
                        # Of several matches of one person the first may have taken the others along.
                        self._told_gone(
                            match, result, before=(match.resource, match.id) in known_absent, new=email != gone and len(found[email]) == 1
                        )
                require(w.sandbox.holds(OTHER.email), "the batch took another person along")
                self._effects_once(w)

    @pytest.mark.parametrize("case", faults.CASES, ids=str)
    def test_batch_under_fault(self, case: faults.FaultCase) -> None:
        """A fault while several people are erased in one call is the right error for each of them, and nobody's clean outcome; trying again then
        erases them. One row of the fault table each. A 404 to a call about many does not say whose it is: it makes one of them `Absent` at most.

        Mend: let the error of ``api`` through in `erase_many`; read a 404 only of a call about one match. Where the vendor says 404 when it knows
        nobody of the batch, declare ``("batch", "status 404"): None`` in ``expected_faults``."""
        people = self._crowd(min(self._batch(), 3))
        if len(people) == 1:
            pytest.skip("a batch is one match")
        gone = case.name == faults.GONE
        if gone and ("batch", case.name) in self.expected_faults:
            return
        case = faults.once(case) if gone else case
        for position in range(min(len(self._calls_of_batch(people)), POSITIONS) if case.everywhere or gone else 1):
            with self._world(OTHER, *people) as w:
                found = [(person.email, match) for person in people for match in erasable(w.connector, self._find(w, person))]
                results = faults.strike(w, case, faults.erase_with(w, [match for _, match in found]), position)
                ended = self._settled(w, results)
                left = {person.email: faults.keys(self._find(w, person)) for person in people}
                there = [
                    match
                    for (email, match), (_, result) in zip(found, ended, strict=True)
                    if _clean(result) and (match.resource, match.id) in left[email]
                ]
                at = f"batch, {case}" + (f", at call {position + 1}" if position else "")
                believable = 1 if gone else len(there) if case.lies else 0
                require(len(there) <= believable, f"{at}: a clean outcome for {len(there)} of the batch who are still there")
                if gone:
                    continue
                all_gone = not any(w.sandbox.holds(person.email) for person in people)
                faults.judge_erasure(case, self._expected(case, "batch"), results, all_gone, position, verb="batch")
                again = self._settled(w, self._again(w, [match for match, result in results if not _clean(result)]))
                bad = [said(result) for _, result in again if not _clean(result)]
                require(not bad, f"after {case}, erasing the batch again answers {bad[0] if bad else ''}")

    # --- a batch of mixed outcomes -------------------------------------------------------------------------------------------------

    def _mixable(self) -> int:
        """How many people fit one call, five at most: a person may be several matches."""
        self._need_batches()
        if self._batch() == 1:
            pytest.skip("a batch is one match")
        with self._world(self.person) as w:
            each = len(erasable(w.connector, self._find(w, self.person)))
        return max(2, min(5, self._batch() // max(1, each)))

    def _absent_before(self, w: World, matches: Sequence[Match]) -> set[tuple[str, str]]:
        """Erase these on their own, and again: of which the connector then says that they were gone. In a batch it has to say the same."""
        if not matches:
            return set()
        self._settled(w, self._halved(w, matches))
        alone = self._settled(w, self._halved(w, matches))
        return {(match.resource, match.id) for match, result in alone if isinstance(result, Absent)}

    def _halved(self, w: World, batch: Sequence[Match]) -> list[Result]:
        """As a host does it: what the vendor refuses as a whole is asked again in halves, until the bad one stands alone."""
        size = self.connector.batch_size
        if len(batch) > size:
            return [*self._halved(w, batch[:size]), *self._halved(w, batch[size:])]
        try:
            outcomes = w.connector.dsr_delete(w.http.api(operation_key=f"mixed-{len(w.http.log)}"), batch)
        except RejectedError as error:
            if len(batch) == 1:
                return [(batch[0], error)]
            middle = len(batch) // 2
            return [*self._halved(w, batch[:middle]), *self._halved(w, batch[middle:])]
        return list(zip(batch, outcomes, strict=True))

    def _told_refused(self, match: Match, result: Outcome | DsrError, *, told: bool) -> None:
        require(
            not isinstance(result, ContractError), f"{match.resource}: the one of the batch whom the vendor refused is left out of what poll answers"
        )
        honest = isinstance(result, Failed | Retained | DsrError) or (isinstance(result, Pending) and not told)
        require(honest, f"{match.resource}: {said(result)} for the one of the batch whom the vendor refused to erase")

    def _told_gone(self, match: Match, result: Outcome | DsrError, *, before: bool, new: bool) -> None:
        clean = isinstance(result, Outcome) and result.clean
        require(clean, f"{match.resource}: {said(result)} for one of the batch who is gone")
        if before:
            require(isinstance(result, Absent), f"{match.resource}: {said(result)} for one who was gone before; asked alone, it is Absent")
        if new:
            require(not isinstance(result, Absent), f"{match.resource}: Absent for one of the batch who was there until then")

    # --- steps ---------------------------------------------------------------------------------------------------------------------

    def _calls_of_batch(self, people: Sequence[Person]) -> list[Exchange]:
        with self._world(OTHER, *people) as w:
            found = [match for person in people for match in self._find(w, person)]
            w.http.log.clear()
            erase_all(w.connector, w.http, found)
            return w.http.log

    def _need_batches(self) -> None:
        if not callable(getattr(self.connector, "erase_many", None)):
            pytest.skip("the connector erases one by one")

    def _crowd(self, size: int) -> list[Person]:
        self._need_batches()
        return [replace(self.person, email=f"many{i}@example.com", user_id=f"many-{i}", phone=f"+1415557{i:04}") for i in range(size)]

    def _all_gone(self, w: World, people: Sequence[Person], found: Sequence[Match], how: str, size: int | None = None) -> None:
        results = self._settled(w, erase_all(w.connector, w.http, found, size=size))
        bad = [said(result) for _, result in results if not (isinstance(result, Outcome) and result.clean)]
        require(not bad, f"{len(bad)} of {len(results)} failed {how}: {bad[0] if bad else ''}")
        left = sum(w.sandbox.holds(person.email) for person in people)
        require(not left, f"{left} of {len(people)} people are still there after the erasure {how}")
        require(w.sandbox.holds(OTHER.email), "the batch took another person along")


def _clean(result: Outcome | DsrError) -> bool:
    return isinstance(result, Outcome) and result.clean
