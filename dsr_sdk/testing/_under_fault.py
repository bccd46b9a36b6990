"""The suite's checks of what goes wrong: every fault in every verb, and that nobody is spoken of meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dsr_sdk.connector import Verb
from dsr_sdk.result import Outcome
from dsr_sdk.testing import faults
from dsr_sdk.testing._bench import CANARY, Bench, require, said, values_of
from dsr_sdk.testing._listen import Listener, listening, secrets_of
from dsr_sdk.testing.sandbox import Person
from dsr_sdk.testing.scenario import ScenarioHttp, World, erase_all, find, settled

__all__ = ["UnderFault"]


class UnderFault(Bench):
    """The part of `ConnectorSuite` that breaks things."""

    @pytest.mark.parametrize("case", faults.CASES, ids=str)
    def test_find_under_fault(self, case: faults.FaultCase) -> None:
        """A fault while finding is the right error and never "nobody here"; afterwards everything works. The table is `faults.CASES`."""
        for position, w, _ in self._struck(case, self._calls_of_find):
            act, usual = faults.find_with(w, self._subject(self.person)), faults.keys(self._find(w, self.person))
            faults.judge(case, "find", self._expected(case, "find"), faults.strike(w, case, act, position), usual, position)
            require(act(w.http) == usual, f"after {case}, find answers differently")

    @pytest.mark.parametrize("case", faults.CASES, ids=str)
    def test_erase_under_fault(self, case: faults.FaultCase) -> None:
        """A fault while erasing is the right error and never a clean outcome; trying again then erases. The table is `faults.CASES`."""
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
        """A fault while copying is the right error and never a shorter copy. The table is `faults.CASES`."""
        self._need(Verb.EXPORT)
        usual = self._usual_copy()
        for position, w, matches in self._struck(case, self._calls_of_export):
            result = faults.strike(w, case, lambda http: self._resources(w, http, matches), position)  # noqa: B023 - called at once
            faults.judge(case, "export", self._expected(case, "export"), result, usual, position)
            require(self._resources(w, w.http, matches) == usual, f"after {case}, the copy is another")

    def test_nothing_personal_is_said(self) -> None:
        """No log record, printed line, error, traceback or ``repr`` holds the person's values or a secret, with any fault. Mend: name the call
        and the resource, never the value; leave logging to the SDK."""
        values = {f"the person's {what}": value for what, value in values_of(CANARY).items()}
        canary = replace(CANARY, extra=self.person.extra)
        told = [(None, 0), *((case, position) for case in faults.CASES for position in range(3 if case.everywhere else 1))]
        for case, position in told:
            with self._world(canary) as w, listening(values | secrets_of(w)) as listener:
                for act in self._acts(w, canary, listener):
                    result = faults.strike(w, case, act, position) if case else act(w.http)
                    for thing in result if isinstance(result, list) else [result]:
                        for part in thing if isinstance(thing, tuple) else (thing,):
                            listener.show(f"{type(part).__name__}" + (f" under {case}" if case else ""), part)
            leaks = listener.leaks()
            require(not leaks, "; ".join(str(leak) for leak in leaks[:5]))

    def _acts(self, w: World, person: Person, listener: Listener) -> list[Callable[[ScenarioHttp], Any]]:
        subject = self._subject(person)
        for thing in (w.connector, w.connector.config, w.http, w.http.api(), subject):
            listener.show(f"repr of {type(thing).__name__}", thing)
        matches = find(w.connector, w.http, subject)
        acts: list[Callable[[ScenarioHttp], Any]] = [lambda http: find(w.connector, http, subject)]
        if self._able(Verb.EXPORT):
            acts.append(lambda http: self._records(w, http, matches))
        if self._able(Verb.ERASE):
            acts.append(lambda http: settled(w.connector, http, erase_all(w.connector, http, matches), lambda: self.settle(w.sandbox)))
        return acts
