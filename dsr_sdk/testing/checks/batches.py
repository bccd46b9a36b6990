"""Batches: many people in one request, each with an outcome of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dsr_sdk.result import Match, Outcome
from dsr_sdk.testing._bench import OTHER, Bench, require, said
from dsr_sdk.testing.sandbox import Person
from dsr_sdk.testing.scenario import World, erase_all

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

    def _crowd(self, size: int) -> list[Person]:
        if not callable(getattr(self.connector, "erase_many", None)):
            pytest.skip("the connector erases one by one")
        return [replace(self.person, email=f"many{i}@example.com", user_id=f"many-{i}", phone=f"+1415557{i:04}") for i in range(size)]

    def _all_gone(self, w: World, people: Sequence[Person], found: Sequence[Match], how: str, size: int | None = None) -> None:
        results = self._settled(w, erase_all(w.connector, w.http, found, size=size))
        bad = [said(result) for _, result in results if not (isinstance(result, Outcome) and result.clean)]
        require(not bad, f"{len(bad)} of {len(results)} failed {how}: {bad[0] if bad else ''}")
        left = sum(w.sandbox.holds(person.email) for person in people)
        require(not left, f"{left} of {len(people)} people are still there after the erasure {how}")
        require(w.sandbox.holds(OTHER.email), "the batch took another person along")
