"""Finding: everything about the person, nothing about anybody else, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from dsr_sdk.connector import Verb
from dsr_sdk.identity import Email, VendorId
from dsr_sdk.testing import faults
from dsr_sdk.testing._bench import CANARY, OTHER, Bench, require, values_of
from dsr_sdk.testing.sandbox import Person
from dsr_sdk.testing.scenario import find, subject_of

__all__ = ["UNUSUAL", "Finding", "neighbours_of", "strangers"]

READING = ("GET", "HEAD", "POST")
UNUSUAL = {
    "plus": ("ada+news@example.com", "user+1"),
    "letters case": ("Ada.LOVELACE@Example.com", "User-A"),
    "apostrophe and ampersand": ("o'ada&co=1@example.com", "team&id=1"),
    "percent and slash": ("ada%41/b@example.com", "team/7%2F8"),
    "question mark and hash": ("ada?b#c@example.com", "user?x=1#y"),
    "other scripts": ("ädà.łove@example.com", "ユーザー-1"),
}
"""Addresses and ids with characters that mean something elsewhere."""


def strangers(count: int) -> Iterable[Person]:
    """Many people who have nothing to do with anybody."""
    return [Person(f"stranger{i}@example.org", "Some", f"Stranger{i}", f"+1415556{i:04}", f"stranger-{i}") for i in range(count)]


def neighbours_of(person: Person) -> dict[str, Person]:
    """People whose addresses and ids begin or end like a person's, by what is alike."""
    local, _, domain = person.email.partition("@")
    emails = {
        "domain": f"{local}@{domain}.example.org",
        "plus": f"{local}+x@{domain}",
        "longer": f"{local}b@{domain}",
        "prefixed": f"a{local}@{domain}",
        "other domain": f"{local}@example.test",
    }
    return {
        kind: replace(person, email=email, phone=f"+1415555021{i}", user_id=f"{person.user_id}{i}" if person.user_id else "")
        for i, (kind, email) in enumerate(emails.items())
    }


class Finding(Bench):
    """The part of `ConnectorSuite` about finding."""

    def test_find_changes_nothing(self) -> None:
        """Finding only reads: GET, or POST for a search; a dry run and an agent's preview rely on it. Twice, it finds the same.

        Mend: move effects into `erase`."""
        with self._world(self.person, OTHER) as w:
            before = self._find(w, self.person)
            require(bool(before), "find found nobody right after the sandbox's add_person: do find and add_person agree?")
            wrote = sorted({exchange.call for exchange in w.http.log if exchange.method not in READING})
            require(not wrote, f"find calls {', '.join(wrote)}")
            require(not w.effects, f"find had effects at the vendor: {len(w.effects)}")
            require(w.sandbox.holds(self.person.email) and w.sandbox.holds(OTHER.email), "find removed somebody")
            require(faults.keys(self._find(w, self.person)) == faults.keys(before), "finding twice finds different things")

    def test_unknown_person(self) -> None:
        """Nobody there is an empty answer, no error, and asks the vendor all the same.

        Mend: when the vendor answers 404 for nobody, say ``absent_ok=True``."""
        with self._world(OTHER) as w:
            require(self._find(w, self.person) == [], "an unknown person was found")
            require(bool(w.http.log), "nobody was asked: an empty answer has to be the vendor's")

    def test_two_people(self) -> None:
        """Each person gets their own matches, in the order asked for, and nobody another's.

        Mend: answer one list for each subject, in their order; in `find_many` key the vendor's answer by the identity asked for."""
        with self._world(self.person, OTHER) as w:
            people = (self.person, CANARY, OTHER)
            found = w.connector.dsr_find(w.http.api(), [self._subject(person) for person in people])
            require([bool(matches) for matches in found] == [True, False, True], "three people asked for, the second unknown: wrong answers")
            shared = set(faults.keys(found[0])) & set(faults.keys(found[2]))
            require(not shared, f"two people share a match of {', '.join(sorted({resource for resource, _ in shared}))}")
            require(faults.keys(found[2]) == faults.keys(self._find(w, OTHER)), "found together and found alone differ")

    def test_find_batch(self) -> None:
        """As many people as ``find_batch_size`` says are found in one go, each with their own matches.

        Mend: lower ``find_batch_size`` to what the vendor's search takes."""
        size = min(self.connector.find_batch_size, 250)
        if size == 1:
            pytest.skip("the connector finds one by one")
        people = [replace(self.person, email=f"sought{i}@example.com", user_id=f"sought-{i}", phone=f"+1415558{i:04}", extra={}) for i in range(size)]
        known = people[:: max(1, size // 10)]
        with self._world(*known) as w:
            found = w.connector.dsr_find(w.http.api(), [self._subject(person) for person in people])
            wrong = sum(bool(matches) is not (person in known) for person, matches in zip(people, found, strict=True))
            require(not wrong, f"{wrong} of {size} people searched for together got a wrong answer")
            keys = [key for matches in found for key in faults.keys(matches)]
            require(len(keys) == len(set(keys)), "people who were searched for together share matches")

    def test_every_identity_kind(self) -> None:
        """Each kind of identity in ``identified_by`` finds the person.

        Mend: search by the kind that `subject` carries (``subject.has(Email)``), or strike the kind."""
        with self._world(self.person) as w:
            for identity in self._identities_of(self._find(w, self.person)):
                found = find(w.connector, w.http, subject_of(self.person, identity))
                require(bool(found), f"{type(identity).__name__} finds nobody")

    def test_revealed_identities(self) -> None:
        """Identities that a match carries are this person's: the vendor's own id leads back to the match, and none is somebody else's.

        Mend: take identities from the record that was found, never from the list it stood in."""
        with self._world(OTHER, self.person) as w:
            matches = self._find(w, self.person)
            foreign = {value.casefold() for value in values_of(OTHER).values()}
            for match in matches:
                for identity in match.identities:
                    kind = type(identity).__name__
                    require(
                        str(getattr(identity, "value", "")).casefold().lstrip("+") not in foreign, f"{match.resource} reveals another person's {kind}"
                    )
                    if isinstance(identity, VendorId) and VendorId in self.connector.identified_by and identity.vendor == self.connector.slug:
                        back = find(w.connector, w.http, subject_of(self.person, identity))
                        require((match.resource, match.id) in faults.keys(back), f"the {kind} that {match.resource} reveals does not lead back to it")

    def test_letters_case(self) -> None:
        """An address is found in whatever letter case it is asked for: people do not remember how they wrote it.

        Mend: search by ``subject.email``, which is in lower case; where the vendor compares exactly, try ``Email.given`` as well."""
        if Email not in self.connector.identified_by:
            pytest.skip("the connector does not search by address")
        with self._world(OTHER, self.person) as w:
            usual = faults.keys(find(w.connector, w.http, subject_of(self.person, Email(value=self.person.email))))
            shouted = Email(value=self.person.email.upper())
            require(bool(usual), "the address finds nobody")
            require(faults.keys(find(w.connector, w.http, subject_of(self.person, shouted))) == usual, "in capital letters another answer comes")

    @pytest.mark.parametrize("name", UNUSUAL)
    def test_unusual_addresses(self, name: str) -> None:
        """Addresses and ids with odd characters are found and erased, and take nobody along.

        Mend: let ``api`` quote (``{slots}``, ``params=``); hash and compare what the vendor does (``Email.given`` keeps the letters' case)."""
        email, user_id = UNUSUAL[name]
        person = replace(self.person, email=email, user_id=user_id if self.person.user_id else "")
        with self._world(OTHER, person) as w:
            require(bool(self._find(w, person)), f"{name}: not found")
            if self._able(Verb.ERASE):
                self._erase(w, person)
                require(not w.sandbox.holds(person.email), f"{name}: still there after the erasure")
                require(w.sandbox.holds(OTHER.email), f"{name}: erasing it took another person along")

    def test_second_page(self) -> None:
        """A person who stands behind more people than fit a page is found, wholly.

        Mend: read every page (``api.pages``); a vendor whose filter is fuzzy, or has none, answers with many others."""
        with self._world(self.person) as w:
            usual = [resource for resource, _ in faults.keys(self._find(w, self.person))]
        with self._world(*strangers(self.many), self.person) as w:
            found = [resource for resource, _ in faults.keys(self._find(w, self.person))]
            require(bool(found), "the person is not found behind a page of other people")
            require(found == usual, "less is found behind a page of other people")

    def test_one_address_two_records(self) -> None:
        """Two records with one address are two people's or one's: both are found and erased.

        Mend: yield every record that has the address, not the first."""
        self._config()
        if type(self.identity(self.person)) is not Email:
            pytest.skip("the connector does not search by address")
        twin = replace(self.person, first_name="Second", user_id=f"{self.person.user_id}-b" if self.person.user_id else "", phone="+14155550199")
        with self._world(OTHER, self.person, twin) as w:
            require(bool(self._find(w, self.person)), "nobody is found where two share an address")
            if self._able(Verb.ERASE):
                self._erase(w, self.person)
                require(not w.sandbox.holds(self.person.email), "of two records with one address, one is still there after the erasure")
                require(w.sandbox.holds(OTHER.email), "another person is gone")
