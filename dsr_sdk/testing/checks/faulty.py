"""Faults: whatever goes wrong at the vendor ends in the right error, and is never read as an answer."""

from __future__ import annotations

import pytest

from dsr_sdk.connector import Verb
from dsr_sdk.errors import ContractError, DsrError
from dsr_sdk.result import Match, OptedOut, Outcome, Pending
from dsr_sdk.testing import faults
from dsr_sdk.testing._bench import OTHER, Bench, require, said
from dsr_sdk.testing.scenario import Exchange, ScenarioHttp, World

__all__ = ["Faulty"]


class Faulty(Bench):
    """The part of `ConnectorSuite` that breaks things."""

    @pytest.mark.parametrize("case", faults.CASES, ids=str)
    def test_check_under_fault(self, case: faults.FaultCase) -> None:
        """A fault while checking is the right error, never a check that passes: the operator relies on it. One row of the fault table each.

        Mend: read the answer (``.object()``) and let the error of ``api`` through."""
        if not hasattr(self.connector, "check"):
            pytest.skip("the connector has no check")
        with self._world(self.person) as w:
            usual = [w.connector.dsr_check(w.http.api())]
            result = faults.strike(w, case, lambda http: [w.connector.dsr_check(http.api())])
            faults.judge(case, "check", self._expected(case, "check"), result, usual, 0)
            require([w.connector.dsr_check(w.http.api())] == usual, f"after {case}, check answers differently")

    @pytest.mark.parametrize("case", faults.CASES, ids=str)
    def test_find_under_fault(self, case: faults.FaultCase) -> None:
        """A fault while finding is the right error and never "nobody here"; afterwards everything works. One row of the fault table each.

        Mend: let the error of ``api`` through; read what came before you believe it; declare what your vendor means differently in
        ``expected_faults``."""
        for position, w, _ in self._struck(case, self._calls_of_find):
            act, usual = faults.find_with(w, self._subject(self.person)), faults.keys(self._find(w, self.person))
            faults.judge(case, "find", self._expected(case, "find"), faults.strike(w, case, act, position), usual, position)
            require(act(w.http) == usual, f"after {case}, find answers differently")

    @pytest.mark.parametrize("case", faults.CASES, ids=str)
    def test_erase_under_fault(self, case: faults.FaultCase) -> None:
        """A fault while erasing is the right error and never a clean outcome; trying again then erases. One row of the fault table each.

        Mend: no ``except`` that ends in an outcome; a refusal for good is `Failed`, everything else the error of ``api``."""
        self._need(Verb.ERASE)
        for position, w, matches in self._struck(case, self._calls_of_erase):
            results = faults.strike(w, case, faults.erase_with(w, matches), position)
            fine = [row for row in results if isinstance(row[1], Outcome)]
            self._settled(w, fine)
            faults.judge_erasure(case, self._expected(case, "erase"), results, not w.sandbox.holds(self.person.email), position)
            again = self._settled(w, self._again(w, [match for match, result in results if not (isinstance(result, Outcome) and result.clean)]))
            bad = [said(result) for _, result in again if not (isinstance(result, Outcome) and result.clean)]
            require(not bad, f"after {case}, erasing again answers {bad[0] if bad else ''}")
            if not case.lies:
                require(not w.sandbox.holds(self.person.email), f"after {case}, erasing again leaves the person there")

    @pytest.mark.parametrize("case", faults.CASES, ids=str)
    def test_export_under_fault(self, case: faults.FaultCase) -> None:
        """A fault while copying is the right error and never a shorter copy. One row of the fault table each; a 404 at every call of the copy.

        Mend: let the error of ``api`` through; a part that cannot be read makes the whole copy fail, and the host asks again. Where the vendor says
        404 for a list that is empty, declare ``("export", "status 404"): None`` in ``expected_faults``."""
        self._need(Verb.EXPORT)
        usual = self._usual_copy()
        gone = case.name == faults.GONE
        for position, w, matches in self._struck(case, self._calls_of_export, everywhere=gone):
            case = faults.once(case) if gone and position else case  # a second 404 would give away what the first was taken for
            result = faults.strike(w, case, lambda http: self._resources(w, http, matches), position)  # noqa: B023 - called at once
            faults.judge(case, "export", self._expected(case, "export"), result, usual, position)
            require(self._resources(w, w.http, matches) == usual, f"after {case}, the copy is another")

    @pytest.mark.parametrize("case", faults.CASES, ids=str)
    def test_poll_under_fault(self, case: faults.FaultCase) -> None:
        """A fault while asking about a job is the right error, never the end of the job; afterwards the job ends. One row of the fault table each. A
        404 says that nobody knows the job: an error, `Failed`, or *pending*, and no erasure.

        Mend: let the error of ``api`` through in `poll`; it is asked again. Where 404 means that the person is gone (a poll that searches), declare
        ``("poll", "status 404"): None`` in ``expected_faults``."""
        self._need(Verb.ERASE)
        for position in range(min(len(self._calls_of_poll()), 3) if case.everywhere or case.name == faults.GONE else 1):
            with self._world(self.person, OTHER) as w:
                pending = self._pending(w, self._find(w, self.person))
                match, outcome = pending[0]
                with faults.broken(w, case, position) as http:
                    try:
                        answer = w.connector.dsr_poll(http.api(), outcome.job)
                        left_out = ContractError("poll answered for other matches, not for this one")
                        result = answer if isinstance(answer, Outcome) else answer.get(match.id, left_out)
                    except DsrError as error:
                        faults.judge_erasure(case, self._expected(case, "poll"), [(match, error)], False, position, verb="poll")
                    else:
                        patient = isinstance(result, Pending) and (case.recovers or position or case.lies or self._expected(case, "poll") is None)
                        if not patient:
                            gone = not w.sandbox.holds(self.person.email)
                            faults.judge_erasure(case, self._expected(case, "poll"), [(match, result)], gone, position, verb="poll")
                if not case.lies:
                    bad = [said(one) for _, one in self._settled(w, pending) if not (isinstance(one, Outcome) and one.clean)]
                    require(not bad, f"after {case}, the job ends in {bad[0] if bad else ''}")

    @pytest.mark.parametrize("case", faults.CASES, ids=str)
    def test_opt_out_under_fault(self, case: faults.FaultCase) -> None:
        """A fault while opting out is the right error and never `OptedOut`; trying again then works. One row of the fault table each.

        Mend: let the error of ``api`` through in `opt_out`."""
        self._need(Verb.OPT_OUT)
        for position, w, matches in self._struck(case, self._calls_of_opt_out):
            with faults.broken(w, case, position) as http:
                results = [(match, self._opted_out(w, http, match)) for match in matches]
            done = w.sandbox.opted_out(self.person.email)
            believed = all(isinstance(result, OptedOut) for _, result in results) and not case.lies
            require(done or not believed, f"opt_out, {case}: OptedOut although the vendor did not confirm it")
            faults.judge_erasure(case, self._expected(case, "opt_out"), results, done, position, verb="opt_out")
            again = [self._opted_out(w, w.http, match) for match in matches]
            bad = [said(result) for result in again if not isinstance(result, Outcome) or result.kind == "failed"]
            require(not bad, f"after {case}, opting out again answers {bad[0] if bad else ''}")
            require(w.sandbox.opted_out(self.person.email), f"after {case}, opting out again leaves the person opted in")

    def _calls_of_opt_out(self) -> list[Exchange]:
        with self._world(self.person, OTHER) as w:
            matches = self._find(w, self.person)
            w.http.log.clear()
            for match in matches:
                self._opted_out(w, w.http, match)
            return w.http.log

    def _opted_out(self, w: World, http: ScenarioHttp, match: Match) -> Outcome | DsrError:
        try:
            return w.connector.dsr_opt_out(http.api(operation_key="opt-out"), match)
        except DsrError as error:
            return error
