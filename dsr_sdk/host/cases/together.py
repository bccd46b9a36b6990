"""The same decision about many cases: what it means for each of them, and what becomes of it. Base of `Inbox`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from dsr_sdk.errors import DsrError, RequestError
from dsr_sdk.host.desk import Desk
from dsr_sdk.host.people.workers import worker
from dsr_sdk.ledger.cases import Case
from dsr_sdk.request import RequestType

__all__ = ["BulkResult", "Finishing", "Step", "Together"]

_NO_PACKAGE = "the copy is not generated, or not since the last change"


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of one of many cases; `error` is empty when it went well.

    Attributes:
        step: What was done, or tried: see `Step`.
    """

    case: str
    ok: bool
    error: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True)
class Finishing:
    """What a case in process still needs before it can be continued with others.

    Attributes:
        word: What somebody has to confirm ("All data was deleted"); empty where nothing is left to say.
        blockers: Why it is left out, as sentences; empty when it may go on.
    """

    case: str
    word: str
    blockers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What one decision about many cases means for one of them.

    Attributes:
        does: ``accept``, ``finish``, ``close`` or ``assign``; empty where it means nothing, or something bars the way.
        why: Why it is left out, in one sentence; empty where something is done.
        needs: For ``finish``, what is still to be confirmed.
    """

    case: Case
    does: str
    why: str = ""
    needs: Finishing | None = None


class Together(Desk):
    """Decides about many cases, one after the other."""

    def bulk(
        self,
        action: Literal["continue", "accept", "finish", "close", "assign"],
        cases: Iterable[tuple[str, int | None]],
        *,
        by: str,
        agent: str | None = None,
        confirmed: Collection[str] = (),
    ) -> list[BulkResult]:
        """The same decision about many cases, one after the other: each is a decision of its own, and an error of one stops no other.

        Args:
            action: What to do; ``continue`` is the next step of each case's own stage: see `steps`.
            cases: Number, and the revision that was seen.
            agent: For ``assign``: to whom; None for nobody.
            confirmed: For ``finish``: the cases of which `by` gives the word that they need, each by its number (see `finishing`).

        Raises:
            RequestError: Nothing can be given to that agent; nothing is done.
        """
        if action == "assign" and agent is not None:
            worker(self.host, agent)
        results: list[BulkResult] = []
        for number, revision in cases:
            does, why = str(action), ""
            try:
                if action == "continue":
                    does, why = _meant(action, self.host.workflow.get(number))
                if why:
                    raise RequestError(why)
                self._one(does, number, revision, by, agent, number in confirmed)
            except DsrError as error:
                results.append(BulkResult(number, False, str(error), does))
            else:
                results.append(BulkResult(number, True, step=does))
        return results

    def steps(self, action: Literal["continue", "close", "assign"], cases: Iterable[str]) -> list[Step]:
        """What `bulk` would do about each of these cases: *continue* accepts what is in review, and finishes what is processed.

        Raises:
            LedgerError: There is no such case.
        """
        found = [self.host.workflow.get(number) for number in cases]
        asked = [case.number for case in found if action == "continue" and case.stage == "process"]
        needs = {row.case: row for row in self.finishing(asked)}
        steps = []
        for case in found:
            does, why = _meant(action, case)
            needed = needs.get(case.number) if does == "finish" else None
            if needed is not None and needed.blockers:
                does, why = "", f"is left out: {'; '.join(needed.blockers[:3])}"
            steps.append(Step(case, does, why, needed))
        return steps

    def finishing(self, cases: Iterable[str]) -> list[Finishing]:
        """What each of these cases needs before it can be continued: the word that somebody has to give, and what bars the way. Cases that are
        not in process are left out.

        That a copy is answered without a package is nothing to confirm of many: it is decided about one, after looking at it.
        """
        found = []
        for number in dict.fromkeys(cases):
            panel = self.host.processing.panel(number)
            if panel.case.stage != "process":
                continue
            lone = bool(panel.confirm) and panel.case.type == RequestType.COPY
            barred = (*panel.blockers, *([_NO_PACKAGE] if lone else []))
            found.append(Finishing(number, "" if lone else panel.confirm, barred))
        return found

    def _one(self, action: str, number: str, revision: int | None, by: str, agent: str | None, word: bool) -> None:
        if action == "accept":
            self.host.workflow.accept(number, by=by, revision=revision)
        elif action == "finish":
            if word and self.host.workflow.get(number).type == RequestType.COPY:
                raise RequestError(_NO_PACKAGE, source=number, fix="generate it, or continue this one by itself")
            self.host.workflow.finish(number, by=by, revision=revision, all_done=word)
        elif action == "close":
            self.host.replies.close(number, by=by, revision=self.host.workflow.get(number).revision if revision is None else revision)
        elif action == "assign":
            self.host.workflow.assign(number, agent, by=by)
        else:
            raise RequestError("is nothing that can be done with many cases", field="action", fix="accept, finish, close, assign")


def _meant(action: str, case: Case) -> tuple[str, str]:
    """What a decision about many means for one of them, by its stage; or why it means nothing."""
    if case.stage == "closed":
        return "", "is closed: nothing is done"
    if action == "close":
        return ("close", "") if case.stage == "reply" else ("", "is not in reply: nothing is done")
    if action != "continue":
        return action, ""
    does = {"review": "accept", "process": "finish"}.get(case.stage or "", "")
    return does, "" if does else "is in reply already: nothing is done"
