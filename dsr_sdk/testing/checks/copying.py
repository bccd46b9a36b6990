"""Copying and opting out: the person gets everything that is theirs, and nothing happens to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from dsr_sdk.connector import Verb
from dsr_sdk.result import Absent, Match, OptedOut
from dsr_sdk.testing import faults
from dsr_sdk.testing._bench import CANARY, OTHER, Bench, require, said, text_of, values_of
from dsr_sdk.testing.checks.finding import neighbours_of
from dsr_sdk.testing.scenario import World

__all__ = ["Copying"]


class Copying(Bench):
    """The part of `ConnectorSuite` about copies and opt-outs."""

    def test_export(self) -> None:
        """A copy has at least one record, holds every resource declared as exported and nothing that is excused, and names the person.

        Mend: yield a `Record` for each; or say ``exported=False, excuse=...``; or let the suite's ``person`` have one of each (``extra``)."""
        self._need(Verb.EXPORT)
        with self._world(OTHER, self.person) as w:
            matches = self._find(w, self.person)
            records = self._export(w, matches)
            got, declared = {record.resource for record in records}, {holds.resource for holds in w.connector.holds if holds.exported}
            require(bool(records), "the copy is empty")
            require(not declared - got, f"declared as exported and not in the copy: {', '.join(sorted(declared - got))}")
            require(not got - declared, f"in the copy though excused from it: {', '.join(sorted(got - declared))}")
            values = [self.person.email, self.person.user_id, self.person.phone, *(match.id for match in matches)]
            require(any(value and value.casefold() in text_of(records) for value in values), "nothing in the copy names the person")

    def test_copy_is_whole(self) -> None:
        """The copy has as many records of each resource as the vendor holds of the person, no fewer and no more, also where a list is longer than a
        page; and where `find` counts, it counts as many.

        Mend: read every list with ``api.pages``, those beneath a record too; let no 404 of a later call pass for an empty list. Give the sandbox
        ``records(email)``, and ``add_records(email, count)`` where the copy reads lists; raise ``many`` above the largest page."""
        self._need(Verb.EXPORT)
        with self._world(OTHER, self.person) as w:
            self._copied_whole(w, self._find(w, self.person), self.person)
            lists = bool(w.http.listed) or self._has_lists(w)
        if not lists:
            return  # one call a record: nothing that could have a second page
        with self._world(OTHER, self.person) as w:
            w.sandbox.add_records(self.person.email, self.many)
            truth = self._copied_whole(w, self._find(w, self.person), self.person)
            longest = max((count for resource, count in truth.items() if w.connector.held(resource).exported), default=0)
            require(longest >= self.many, f"after add_records(email, {self.many}) the sandbox holds {longest} of a resource at most: check records()")

    def test_export_is_json(self) -> None:
        """Every record is a JSON object that reads back as it was written: text keys, no NaN, no dates as objects; copied twice it is the same.

        Mend: yield what the vendor answered; turn dates, decimals and bytes into text; sort what the vendor gives in no order."""
        self._need(Verb.EXPORT)
        with self._world(OTHER, self.person) as w:
            matches = self._find(w, self.person)
            written = []
            for record in self._export(w, matches):
                try:
                    text = json.dumps(dict(record.data), allow_nan=False, sort_keys=True, ensure_ascii=False)
                except (TypeError, ValueError) as error:
                    raise AssertionError(f"a record of {record.resource} is not JSON: {error}") from None
                require(
                    json.loads(text) == dict(record.data), f"a record of {record.resource} reads back differently: keys are text, lists are lists"
                )
                written.append((record.resource, text))
            again = [(record.resource, json.dumps(dict(record.data), sort_keys=True, ensure_ascii=False)) for record in self._export(w, matches)]
            require(sorted(written) == sorted(again), "copied twice, the records differ")

    def test_export_is_streamed(self) -> None:
        """Records are yielded as they come, not collected: a person may have a million.

        Mend: ``yield Record(...)`` in the loop over ``api.pages``; return no list."""
        self._need(Verb.EXPORT)
        with self._world(OTHER, self.person) as w:
            for match in self._find(w, self.person):
                if not w.connector.held(match.resource).exported:
                    continue
                answer: Any = w.connector.export(w.http.api(), match)  # type: ignore[attr-defined]  # _need has seen that it is there
                require(isinstance(answer, Iterator), f"export answers a {type(answer).__name__} for {match.resource}: yield each record")

    def test_export_changes_nothing(self) -> None:
        """Copying has no effect at the vendor, and afterwards the same is found.

        Mend: make no call in `export` that changes something; what the vendor prepares for a copy (an export job) is not about the person's data."""
        self._need(Verb.EXPORT)
        with self._world(OTHER, self.person) as w:
            matches = self._find(w, self.person)
            self._export(w, matches)
            require(not w.effects and w.sandbox.holds(self.person.email), "copying had an effect at the vendor")
            require(faults.keys(self._find(w, self.person)) == faults.keys(matches), "after copying, other things are found")

    def test_export_holds_nobody_else(self) -> None:
        """Another person's data never stands in the copy.

        Mend: filter what the vendor answers by the match's id."""
        self._need(Verb.EXPORT)
        other = replace(OTHER, extra=self.person.extra)
        with self._world(other, self.person, replace(other, email=CANARY.email, user_id=CANARY.user_id)) as w:
            text = text_of(self._export(w, self._find(w, self.person)))
            for what, value in (*values_of(other).items(), *values_of(CANARY).items()):
                require(value.casefold() not in text, f"{what} of another person stands in the copy")

    def test_opt_out(self) -> None:
        """Opting out is confirmed with `OptedOut` (a `Pending` once its job is done), and it is true: behind the API all of the person's records are
        opted out. Nothing is erased by it, and the same is found.

        Mend: answer what the vendor confirmed; an outcome without a call is a lie. Give the sandbox ``opted_out(email)``."""
        self._need(Verb.OPT_OUT)
        with self._world(OTHER, self.person) as w:
            matches = self._find(w, self.person)
            require(not w.sandbox.opted_out(self.person.email), "the sandbox says opted out before anybody asked: check opted_out()")
            w.http.log.clear()
            self._opt_out(w, matches)
            require(bool(w.http.log), "nobody was asked")
            require(w.sandbox.holds(self.person.email), "opting out erased the person")
            require(w.sandbox.opted_out(self.person.email), "OptedOut, and behind the API the person is not opted out")
            require(faults.keys(self._find(w, self.person)) == faults.keys(matches), "after opting out, other things are found")

    def test_opt_out_twice(self) -> None:
        """Opting out again is harmless: the same outcome, no effect counted twice, and it stays.

        Mend: set the wish, never toggle it; a second opt-out that the vendor refuses as done is `OptedOut` too."""
        self._need(Verb.OPT_OUT)
        with self._world(OTHER, self.person) as w:
            matches = self._find(w, self.person)
            for _ in range(2):
                self._opt_out(w, matches)
            self._effects_once(w)
            require(w.sandbox.opted_out(self.person.email), "opted out twice, the person is not opted out any more")

    def test_opt_out_spares_others(self) -> None:
        """Whoever did not ask is not opted out: nobody else, and nobody whose address or id is alike.

        Mend: opt out by the match's id, never a list, a segment or the account."""
        self._need(Verb.OPT_OUT)
        neighbours = neighbours_of(self.person)
        with self._world(OTHER, *list(neighbours.values())[:3], self.person, *list(neighbours.values())[3:]) as w:
            self._opt_out(w, self._find(w, self.person))
            require(w.sandbox.opted_out(self.person.email), "the person is not opted out")
            require(not w.sandbox.opted_out(OTHER.email), "another person is opted out too")
            for kind, neighbour in neighbours.items():
                require(not w.sandbox.opted_out(neighbour.email), f"a neighbour is opted out too ({kind})")

    def _opt_out(self, w: World, matches: Sequence[Match]) -> None:
        results = [(match, w.connector.dsr_opt_out(w.http.api(operation_key="opt-out"), match)) for match in matches]
        for match, outcome in self._settled(w, results):
            require(isinstance(outcome, OptedOut | Absent), f"{match.resource}: {said(outcome)} to an opt-out")
