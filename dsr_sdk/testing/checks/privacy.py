"""Privacy: nobody is spoken of, and no secret stands where it does not belong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from dsr_sdk.connector import Connector, Verb
from dsr_sdk.testing import faults
from dsr_sdk.testing._bench import CANARY, OTHER, Bench, require, values_of
from dsr_sdk.testing._listen import Listener, listening, secrets_of
from dsr_sdk.testing._tap import Sent
from dsr_sdk.testing.sandbox import Person
from dsr_sdk.testing.scenario import ScenarioHttp, World, erase_all, find, settled
from dsr_sdk.testing.scrub import variants

__all__ = ["Privacy"]


class Privacy(Bench):
    """The part of `ConnectorSuite` about silence."""

    def test_nothing_personal_is_said(self) -> None:
        """No log record, printed line, error, traceback or ``repr`` holds the person's values or a secret.

        Mend: name the call and the resource, never the value; leave logging to the SDK."""
        self._listen([(None, 0)])

    def test_nothing_personal_is_said_under_fault(self) -> None:
        """Nor does any when something goes wrong, at each of a verb's first calls and in each way of the fault table.

        Mend: put nothing of an answer or a match into an error's text; raise ``from None`` where the cause holds it."""
        self._listen([(case, position) for case in faults.CASES for position in range(3 if case.everywhere else 1)])

    def test_secrets_and_people_stay_where_they_belong(self) -> None:
        """A secret is sent only where authentication puts it, and the person's values in no header: both end up in logs of others.

        Mend: secrets in `auth` only (`dsr_sdk.http` has the usual ways); the person in ``{slots}``, ``params=`` or the body."""
        canary = replace(CANARY, extra=self.person.extra)
        with self._tapped(OTHER, canary) as (w, sent):
            matches = self._find(w, canary)
            if self._able(Verb.EXPORT):
                self._export(w, matches)
            if self._able(Verb.ERASE):
                self._settled(w, erase_all(w.connector, w.http, matches))
            headers, queries, tokens_from = _signed(w.connector, w.http.base_url)
            for one in sent:
                if one.url.partition("?")[0] == tokens_from:
                    continue
                for what, value in secrets_of(w).items():
                    place = _place_of(value, one, headers, queries)
                    require(place is None, f"{one.call}: {what} stands in {place}, where authentication did not put it")
                for what, value in values_of(canary).items():
                    said = [name for name, text in one.headers.items() if value.casefold() in text.casefold()]
                    require(not said, f"{one.call}: the person's {what} stands in the header {', '.join(said)}")

    def _listen(self, told: list[tuple[faults.FaultCase | None, int]]) -> None:
        values = {f"the person's {what}": value for what, value in values_of(CANARY).items()}
        canary = replace(CANARY, extra=self.person.extra)
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
        if self._able(Verb.OPT_OUT):
            acts.append(lambda http: [w.connector.dsr_opt_out(http.api(), match) for match in matches])
        if self._able(Verb.ERASE):
            acts.append(lambda http: settled(w.connector, http, erase_all(w.connector, http, matches), lambda: self.settle(w.sandbox)))
        return acts


def _signed(connector: Connector, base_url: str) -> tuple[frozenset[str], frozenset[str], str]:
    """Where authentication puts its secrets: names of headers, names of query parameters, and the address where it has tokens from."""
    import httpx

    auth = connector.auth()
    if auth is None:
        return frozenset(), frozenset(), ""
    blank = httpx.Request("GET", base_url)
    flow = auth.sync_auth_flow(httpx.Request("GET", base_url))
    signed = next(flow)
    flow.close()
    if signed.url.copy_with(query=None) != blank.url.copy_with(query=None):
        return frozenset({"authorization"}), frozenset(), str(signed.url.copy_with(query=None))
    headers = frozenset(name.lower() for name in signed.headers if signed.headers.get(name) != blank.headers.get(name))
    return headers, frozenset(signed.url.params.keys()), ""


def _place_of(secret: str, sent: Sent, headers: frozenset[str], queries: frozenset[str]) -> str | None:
    """Where a secret stands in a request, in whatever spelling, beside the places where it belongs."""
    forms = {secret.casefold(), *(form.casefold() for form in variants(secret, "?" * len(secret)) if len(form) >= 6)}
    parts = urlsplit(sent.url)
    places: Mapping[str, str] = {
        "the path": parts.path,
        "the query": " ".join(f"{name}={value}" for name, value in parse_qsl(parts.query) if name not in queries),
        "the body": sent.body.decode("utf-8", "replace"),
        **{f"the header {name}": text for name, text in sent.headers.items() if name.lower() not in headers},
    }
    return next((place for place, text in places.items() if any(form in text.casefold() for form in forms)), None)
