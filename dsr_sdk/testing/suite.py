"""The standard tests of a connector: an author subclasses `ConnectorSuite`, names connector and sandbox, and runs pytest.

    class TestAcme(ConnectorSuite):
        connector = Acme
        sandbox = AcmeSandbox
        cassettes = Path(__file__).parent / "cassettes"

Each test's docstring says what it means and how to mend a failure. No test may be removed; what a vendor truly does otherwise is declared in
the connector or in `expected_faults`, with the reason beside it.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pluggy
import pytest
from pydantic import SecretStr

from dsr_sdk import hookspecs
from dsr_sdk.connector import Connector, Process, Verb, _check_declaration
from dsr_sdk.errors import AuthError, DsrError, TransientError
from dsr_sdk.identity import VendorId
from dsr_sdk.result import Absent, OptedOut, Outcome, Pending, Retained
from dsr_sdk.testing import faults
from dsr_sdk.testing._bench import CANARY, OTHER, altered, require, said, text_of, values_of
from dsr_sdk.testing._under_fault import UnderFault
from dsr_sdk.testing.sandbox import Fault, Person
from dsr_sdk.testing.scenario import erasable, erase_all, find, identity_of, settled, subject_of
from dsr_sdk.testing.scrub import is_secret_key

__all__ = ["ConnectorSuite"]

READING = ("GET", "HEAD", "POST")
UNUSUAL = {
    "plus": ("ada+news@example.com", "user+1"),
    "letters case": ("Ada.LOVELACE@Example.com", "User-A"),
    "apostrophe and ampersand": ("o'ada&co=1@example.com", "team&id=1"),
    "percent and slash": ("ada%41/b@example.com", "team/7%2F8"),
    "question mark and hash": ("ada?b#c@example.com", "user?x=1#y"),
    "other scripts": ("ädà.łove@example.com", "ユーザー-1"),
}


class ConnectorSuite(UnderFault):
    """Base class of a connector's tests; its attributes and the two methods an author may override are those of `Bench`."""

    # --- declaration ---------------------------------------------------------------------------------------------------------------

    def test_declaration(self) -> None:
        """The class declares all it must: slug, title, category, what it holds, each verb or its excuse; overrides no hook; hides its secrets.

        Mend: the message names everything that is missing."""
        _check_declaration(self.connector)
        for cls in self.connector.__mro__[: self.connector.__mro__.index(Connector)]:
            hooks = [name for name in vars(cls) if name.startswith("dsr_")]
            require(not hooks, f"{cls.__name__} overrides {', '.join(hooks)}: hooks are final, write the verbs instead")
        plain = [
            name for name, field in self.connector.Config.model_fields.items() if is_secret_key(name) and "SecretStr" not in str(field.annotation)
        ]
        require(not plain, f"the settings {', '.join(plain)} hold secrets and are no SecretStr")
        if self.connector.process is Process.AUTOMATED:
            require(self.sandbox is not None, "give the suite a sandbox")
        if self.sandbox is not None:
            require(self.sandbox.slug == self.connector.slug, "sandbox and connector have different slugs")

    def test_hooks_are_carried(self) -> None:
        """pluggy accepts the connector as a plugin: every hook it implements exists, with the right parameters."""
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(self.connector(self._config()), self.connector.slug)
        manager.check_pending()

    def test_check(self) -> None:
        """The check answers the operator a line and changes nothing. Mend: let `check` make one call that only reads."""
        with self._world(self.person) as w:
            require(w.connector.dsr_check(w.http.api()).strip() != "", "check answered nothing")
            require(not w.effects, "check had an effect at the vendor")
            require(w.sandbox.holds(self.person.email), "check removed a person")

    def test_wrong_credentials(self) -> None:
        """Wrong credentials are an `AuthError` while finding and while erasing, never an answer. Mend: let the error of `api` through."""
        config = self._config()
        secrets = {name: value for name in type(config).model_fields if isinstance(value := getattr(config, name), SecretStr) and value}
        if not secrets:
            pytest.skip("the connector has no secrets")
        with self._world(self.person) as w:
            matches = self._find(w, self.person)
        wrong = config.model_copy(update={name: SecretStr(altered(value.get_secret_value())) for name, value in secrets.items()})
        expected = self.expected_faults.get(("find", "status 401"), AuthError) or AuthError
        with self._world(self.person, config=wrong) as w:
            with pytest.raises(expected):
                self._find(w, self.person)
            for _, result in erase_all(w.connector, w.http, matches) if self._able(Verb.ERASE) else ():
                require(isinstance(result, DsrError), f"erasing with wrong credentials answered {type(result).__name__}")

    # --- finding -------------------------------------------------------------------------------------------------------------------

    def test_find_changes_nothing(self) -> None:
        """Finding only reads: GET, or POST for a search; a dry run and an agent's preview rely on it. Mend: move effects into `erase`."""
        with self._world(self.person, OTHER) as w:
            before = self._find(w, self.person)
            require(bool(before), "find found nobody right after the sandbox's add_person: do find and add_person agree?")
            wrote = sorted({exchange.call for exchange in w.http.log if exchange.method not in READING})
            require(not wrote, f"find calls {', '.join(wrote)}")
            require(not w.effects, f"find had effects at the vendor: {len(w.effects)}")
            require(w.sandbox.holds(self.person.email) and w.sandbox.holds(OTHER.email), "find removed somebody")
            require(faults.keys(self._find(w, self.person)) == faults.keys(before), "finding twice finds different things")

    def test_unknown_person(self) -> None:
        """Nobody there is an empty answer, no error. Mend: when the vendor answers 404 for nobody, say ``absent_ok=True``."""
        with self._world(OTHER) as w:
            require(self._find(w, self.person) == [], "an unknown person was found")

    def test_two_people(self) -> None:
        """Each person gets their own matches, in the order asked for, and nobody another's."""
        with self._world(self.person, OTHER) as w:
            people = (self.person, CANARY, OTHER)
            found = w.connector.dsr_find(w.http.api(), [self._subject(person) for person in people])
            require([bool(matches) for matches in found] == [True, False, True], "three people asked for, the second unknown: wrong answers")
            shared = set(faults.keys(found[0])) & set(faults.keys(found[2]))
            require(not shared, f"two people share a match of {', '.join(sorted({resource for resource, _ in shared}))}")
            require(faults.keys(found[2]) == faults.keys(self._find(w, OTHER)), "found together and found alone differ")

    def test_every_identity_kind(self) -> None:
        """Each kind of identity in ``identified_by`` finds the person. Mend: search by the kind that `subject` carries."""
        with self._world(self.person) as w:
            known = self._find(w, self.person)
            revealed = [identity for match in known for identity in match.identities if isinstance(identity, VendorId)]
            for kind in self.connector.identified_by:
                identity = identity_of(self.connector, self.person, kind) or (revealed[0] if revealed and kind is VendorId else None)
                if identity is not None:
                    require(bool(find(w.connector, w.http, subject_of(self.person, identity))), f"{kind.__name__} finds nobody")

    @pytest.mark.parametrize("name", UNUSUAL)
    def test_unusual_addresses(self, name: str) -> None:
        """Addresses and ids with odd characters are found and erased. Mend: let `api` quote (``{slots}``, ``params=``); hash and compare
        what the vendor does (``Email.given`` keeps the letters' case)."""
        email, user_id = UNUSUAL[name]
        person = replace(self.person, email=email, user_id=user_id if self.person.user_id else "")
        with self._world(OTHER, person) as w:
            require(bool(self._find(w, person)), f"{name}: not found")
            if self._able(Verb.ERASE):
                self._erase(w, person)
                require(not w.sandbox.holds(person.email), f"{name}: still there after the erasure")
                require(w.sandbox.holds(OTHER.email), f"{name}: erasing it took another person along")

    # --- erasing -------------------------------------------------------------------------------------------------------------------

    def test_erase(self) -> None:
        """After an erasure every outcome is final, the person is gone, finding again finds only what is retained, and nobody else is touched.

        Mend: answer what the vendor confirmed, `Pending` until then, and name everything found in ``holds``."""
        self._need(Verb.ERASE)
        with self._world(OTHER, self.person) as w:
            others = self._find(w, OTHER)
            for match, result in self._erase(w, self.person):
                final = isinstance(result, Outcome) and result.final and result.kind != "failed"
                require(final, f"{match.resource}: {type(result).__name__} after all jobs had time to end")
            require(not w.sandbox.holds(self.person.email), "outcomes are final, and the sandbox still holds the person")
            again = [match.resource for match in self._find(w, self.person) if self.connector.held(match.resource).on_erase is not Retained]
            require(not again, f"found again after the erasure: {', '.join(sorted(set(again)))}")
            require(w.sandbox.holds(OTHER.email), "another person is gone too")
            require(faults.keys(self._find(w, OTHER)) == faults.keys(others), "another person's data changed")

    def test_erase_spares_neighbours(self) -> None:
        """People whose addresses or ids begin or end like the erased one's stay. Mend: compare whole values; a vendor's search may be fuzzy."""
        self._need(Verb.ERASE)
        local, _, domain = self.person.email.partition("@")
        emails = (f"{local}@{domain}.example.org", f"{local}+x@{domain}", f"{local}b@{domain}", f"a{local}@{domain}", f"{local}@example.test")
        neighbours = [
            replace(self.person, email=email, phone=f"+1415555021{i}", user_id=f"{self.person.user_id}{i}" if self.person.user_id else "")
            for i, email in enumerate(emails)
        ]
        with self._world(*neighbours[:3], self.person, *neighbours[3:]) as w:
            self._erase(w, self.person)
            require(not w.sandbox.holds(self.person.email), "the person is still there")
            kinds = ("domain", "plus", "longer", "prefixed", "other domain")
            for kind, neighbour in zip(kinds, neighbours, strict=True):
                require(w.sandbox.holds(neighbour.email), f"a neighbour was erased too ({kind})")

    def test_nothing_is_lost_among_many(self) -> None:
        """A person with more records than fit a page, behind more people than fit a page, is erased wholly. Mend: read every page
        (``api.pages``) and yield every match. The sandbox must accept the same person several times, as the vendor does (again, or as an update)."""
        strangers = [Person(f"stranger{i}@example.org", "Some", f"Stranger{i}", f"+1415556{i:04}", f"stranger-{i}") for i in range(self.many)]
        with self._world(*strangers, *[self.person] * self.many) as w:
            found = self._find(w, self.person)
            require(bool(found), "the person is not found behind a page of other people")
            if self._able(Verb.EXPORT):
                resources = {match.resource for match in found if self.connector.held(match.resource).exported}
                records = {record.resource for record in self._export(w, found)}
                require(bool(records) or not resources, "nothing is copied")
            if self._able(Verb.ERASE):
                self._erase(w, self.person)
                require(not w.sandbox.holds(self.person.email), f"the person was added {self.many} times and is still there after the erasure")
                require(all(w.sandbox.holds(stranger.email) for stranger in strangers), "a stranger is gone")

    def test_erase_twice(self) -> None:
        """Erasing the same matches again, as after a crash, is harmless: a clean outcome, and no effect counted twice. Mend: let 404 be
        `Absent`; when the vendor would do it twice, set ``repeatable = False`` and write `recover`."""
        self._need(Verb.ERASE)
        with self._world(self.person, OTHER) as w:
            matches = self._find(w, self.person)
            self._settled(w, erase_all(w.connector, w.http, matches))
            for match, result in self._settled(w, self._again(w, erasable(w.connector, matches))):
                require(isinstance(result, Outcome) and result.clean, f"{match.resource}: {said(result)} the second time")
            self._effects_once(w)
            require(w.sandbox.holds(OTHER.email), "another person is gone")

    def test_gone_in_between(self) -> None:
        """What somebody else removed between finding and erasing is `Absent` when the vendor says 404, and clean in any case."""
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
        """When the vendor did it and the answer was lost, finishing the work does nothing twice. Mend: no ``retry=True`` on a POST with an
        effect; declare the vendor's ``idempotency_header``; or ``repeatable = False`` with `recover`."""
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

    def test_retained_is_never_erased(self) -> None:
        """What ``holds`` declares retained is not removed. Mend: erase the other resources only, or declare what really happens."""
        self._need(Verb.ERASE)
        with self._world(self.person) as w:
            matches = self._find(w, self.person)
            kept = [match for match in matches if self.connector.held(match.resource).on_erase is Retained]
            self._erase(w, self.person)
            ids = {match.id for match in kept} - {match.id for match in matches if match not in kept}
            hit = [effect for effect in w.effects if effect.rpartition(" ")[2] in ids]
            require(not hit, f"{len(hit)} retained records were removed")

    def test_batch(self) -> None:
        """A batch of the declared size is taken, and one that is already gone does not spoil the others. Mend: lower ``batch_size`` to what
        the vendor takes, and answer one outcome a match, in order. The caller splits what is more than ``batch_size``."""
        if not callable(getattr(self.connector, "erase_many", None)):
            pytest.skip("the connector erases one by one")
        people = [replace(self.person, email=f"many{i}@example.com", user_id=f"many-{i}", phone=f"+1415557{i:04}") for i in range(self._batch() + 2)]
        with self._world(OTHER, *people) as w:
            found = [self._find(w, person) for person in people]
            self._settled(w, erase_all(w.connector, w.http, found[0], key="first"))
            results = self._settled(w, erase_all(w.connector, w.http, [match for matches in found for match in matches]))
            bad = [said(result) for _, result in results if not (isinstance(result, Outcome) and result.clean)]
            require(not bad, f"{len(bad)} of {len(results)} failed in batches of {self._batch()}, one of them already gone: {bad[0] if bad else ''}")
            require(not any(w.sandbox.holds(person.email) for person in people), "somebody of the batch is still there")
            require(w.sandbox.holds(OTHER.email), "the batch took another person along")

    def test_jobs(self) -> None:
        """A job that is not done is `Pending` however often it is asked about, and done once time has passed. Mend: let `poll` read the
        vendor's state, and answer `Erased` for the state that means done only."""
        self._need(Verb.ERASE)
        with self._world(self.person) as w:
            pending = [row for row in erase_all(w.connector, w.http, self._find(w, self.person)) if isinstance(row[1], Pending)]
            if not pending:
                pytest.skip("the connector never answers Pending")
            for match, outcome in settled(w.connector, w.http, pending, None):
                unfinished = isinstance(outcome, Pending) or not w.sandbox.holds(self.person.email)
                require(unfinished, f"{match.resource}: {said(outcome)} before the vendor was done")
            for match, outcome in self._settled(w, pending):
                require(isinstance(outcome, Outcome) and outcome.clean, f"{match.resource}: {said(outcome)} after the vendor was done")

    # --- copying and opting out ----------------------------------------------------------------------------------------------------

    def test_export(self) -> None:
        """A copy holds every resource declared as exported, nothing undeclared, in JSON, and changes nothing. Mend: yield a `Record` for each;
        or say ``exported=False, excuse=...``; or let the suite's ``person`` have one of each (``extra``)."""
        self._need(Verb.EXPORT)
        with self._world(OTHER, self.person) as w:
            matches = self._find(w, self.person)
            records = self._export(w, matches)
            got, declared = {record.resource for record in records}, {holds.resource for holds in self.connector.holds if holds.exported}
            require(bool(records), "the copy is empty")
            require(not declared - got, f"declared as exported and not in the copy: {', '.join(sorted(declared - got))}")
            require(not got - declared, f"in the copy though excused from it: {', '.join(sorted(got - declared))}")
            for record in records:
                try:
                    json.dumps(dict(record.data), allow_nan=False)
                except (TypeError, ValueError) as error:
                    raise AssertionError(f"a record of {record.resource} is not JSON: {error}") from None
            values = [self.person.email, self.person.user_id, self.person.phone, *(match.id for match in matches)]
            require(any(value and value.casefold() in text_of(records) for value in values), "nothing in the copy names the person")
            require(not w.effects and w.sandbox.holds(self.person.email), "copying had an effect at the vendor")
            require(faults.keys(self._find(w, self.person)) == faults.keys(matches), "after copying, other things are found")

    def test_export_holds_nobody_else(self) -> None:
        """Another person's data never stands in the copy. Mend: filter what the vendor answers by the match's id."""
        self._need(Verb.EXPORT)
        other = replace(OTHER, extra=self.person.extra)
        with self._world(other, self.person, replace(other, email=CANARY.email, user_id=CANARY.user_id)) as w:
            text = text_of(self._export(w, self._find(w, self.person)))
            for what, value in (*values_of(other).items(), *values_of(CANARY).items()):
                require(value.casefold() not in text, f"{what} of another person stands in the copy")

    def test_opt_out(self) -> None:
        """Opting out is confirmed with `OptedOut` (or kept open as `Pending`), and doing it again is harmless."""
        self._need(Verb.OPT_OUT)
        with self._world(self.person) as w:
            for match in self._find(w, self.person):
                for _ in range(2):
                    outcome = w.connector.dsr_opt_out(w.http.api(operation_key="opt-out"), match)
                    require(isinstance(outcome, OptedOut | Pending | Absent), f"{match.resource}: {said(outcome)} to an opt-out")

    # --- cassettes -----------------------------------------------------------------------------------------------------------------

    @pytest.mark.evidence("sandbox")
    def test_cassettes(self) -> None:
        """There is a cassette for each verb; each may be committed, and replays without a network to the conclusion that was recorded.

        Mend: ``dsr_sdk.testing.cassettes.record(Connector, Sandbox, directory)`` and read the difference before you commit it."""
        if self.cassettes is None:
            pytest.skip("no directory of cassettes is given")
        from dsr_sdk.testing.cassettes import SCENARIOS, lint, replay  # vcrpy takes its time, and only this check needs it

        for name in (name for name, verb in SCENARIOS.items() if self._able(verb)):
            path = self.cassettes / f"{name}.yaml"
            require(path.is_file(), f"the cassette {name}.yaml is missing")
            problems = lint(path, self.connector)
            require(not problems, "; ".join(problems))
            replay(self.connector, path)
