"""Jobs: what a vendor carries out later is asked about until it is done, has failed, or has taken too long."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from dsr_sdk.connector import Verb
from dsr_sdk.errors import ContractError, DsrError
from dsr_sdk.result import Failed, Outcome, Pending
from dsr_sdk.testing._bench import Bench, require, said
from dsr_sdk.testing._tap import Frozen
from dsr_sdk.testing.sandbox import Sandbox
from dsr_sdk.testing.scenario import Result, settled
from dsr_sdk.testing.serve import transport

__all__ = ["Jobs"]

PATIENCE = 20
"""How often a job that never ends is asked about."""

CALLS_A_POLL = 30
"""More calls than this in one poll is a loop."""


class Jobs(Bench):
    """The part of `ConnectorSuite` about erasures that take their time."""

    def test_jobs_stay_pending(self) -> None:
        """A job that is not done is `Pending` however often it is asked about.

        Mend: let `poll` read the vendor's state, and answer `Erased` for the state that means done only."""
        self._need(Verb.ERASE)
        with self._world(self.person) as w:
            for match, outcome in settled(w.connector, w.http, self._pending(w, self._find(w, self.person)), None):
                unfinished = isinstance(outcome, Pending) or not w.sandbox.holds(self.person.email)
                require(unfinished, f"{match.resource}: {said(outcome)} before the vendor was done")

    def test_jobs_end(self) -> None:
        """Once the vendor is done, `poll` says so.

        Mend: know every state that means done; override ``settle(sandbox)`` in the suite when your sandbox takes more than sixty days."""
        self._need(Verb.ERASE)
        with self._world(self.person) as w:
            for match, outcome in self._settled(w, self._pending(w, self._find(w, self.person))):
                require(isinstance(outcome, Outcome) and outcome.clean, f"{match.resource}: {said(outcome)} after the vendor was done")
            require(not w.sandbox.holds(self.person.email), "all jobs ended, and the person is still there")

    def test_failed_job(self) -> None:
        """A job that fails at the vendor is `Failed` or an error, never an erasure, and never *pending* for ever where the vendor says it failed.

        Mend: know every state that means failed and answer ``Failed("why", code)``; tell the suite how jobs fail in ``fail_jobs(sandbox)``."""
        self._need(Verb.ERASE)
        with self._world(self.person) as w:
            pending: list[Result] = list(self._pending(w, self._find(w, self.person)))
            told = self.fail_jobs(w.sandbox)
            results = settled(w.connector, w.http, pending, lambda: self._fail_later(w.sandbox))
            lies = [match.resource for match, result in results if isinstance(result, Outcome) and result.clean]
            require(not lies or not w.sandbox.holds(self.person.email), f"{', '.join(lies)}: a failed job reads as erased")
            left_out = [match.resource for match, result in results if isinstance(result, ContractError)]
            require(not left_out, f"{', '.join(left_out)}: left out of what poll answers when the job has failed")
            bad = [result for _, result in results if isinstance(result, DsrError | Failed)]
            require(bool(bad) or not told, "the vendor says that the job failed, and it stays pending")

    def test_never_finishing_job(self) -> None:
        """A job at which nothing ever moves stays `Pending`: asked about often, with a pause named each time and few calls. The host gives up, not
        the connector.

        Mend: no counting and no loops in `poll`; ``check_after`` of a second at the least."""
        self._need(Verb.ERASE)
        frozen = Frozen()
        with self._world(self.person, through=frozen.through) as w:
            pending = self._pending(w, self._find(w, self.person))
            frozen.on = True
            for match, outcome in pending:
                answer: Outcome = outcome
                for _ in range(PATIENCE):
                    if not isinstance(answer, Pending):
                        break
                    require(answer.check_after >= timedelta(seconds=1), f"{match.resource}: check_after is {answer.check_after}")
                    w.http.log.clear()
                    said_now = w.connector.dsr_poll(w.http.api(), answer.job)
                    require(len(w.http.log) <= CALLS_A_POLL, f"{match.resource}: one poll makes {len(w.http.log)} calls")
                    answer = said_now.get(match.id, answer) if isinstance(said_now, Mapping) else said_now
                clean = answer.clean and w.sandbox.holds(self.person.email)
                require(not clean, f"{match.resource}: {said(answer)} although nothing had moved at the vendor")

    def test_jobs_survive_a_restart(self) -> None:
        """The job's text is all that `poll` needs: the process that began it may be gone.

        Mend: put what `poll` must know into ``Pending(job)``, nothing into ``self``."""
        self._need(Verb.ERASE)
        with self._world(self.person) as w:
            pending: list[Result] = list(self._pending(w, self._find(w, self.person)))
            later = type(w.connector)(w.connector.config)
            http = type(w.http)(later, transport=transport(w.sandbox))
            try:
                for match, outcome in settled(later, http, pending, lambda: self.settle(w.sandbox)):
                    require(isinstance(outcome, Outcome) and outcome.clean, f"{match.resource}: {said(outcome)} when another process asks")
            except DsrError:
                raise
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise AssertionError(f"poll raises {type(error).__name__} when another process asks about the job") from error
            finally:
                http.close()

    def _fail_later(self, sandbox: Sandbox) -> None:
        self.settle(sandbox)
        self.fail_jobs(sandbox)
