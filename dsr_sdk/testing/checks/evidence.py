"""Evidence: what is sent is what the vendor describes, what was recorded still holds, and no claim goes further than its proof."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dsr_sdk.connector import Evidence
from dsr_sdk.testing._bench import Bench, require
from dsr_sdk.testing._claims import SHIPPED, cassettes_in, layers_marked, shipped
from dsr_sdk.testing._packaged import in_a_test

if TYPE_CHECKING:
    from dsr_sdk.testing.openapi import Description, Finding

__all__ = ["Evident"]


class Evident(Bench):
    """The part of `ConnectorSuite` about evidence."""

    def test_requests_fit_the_description(self) -> None:
        """Every request of every verb is as the vendor's own description says, strictly: path, parameters, body, and nothing beside.

        Mend: the message names operation, place and problem. Where the description is wrong or too old, say so in ``exemptions``."""
        from dsr_sdk.testing.drift import request_findings

        description = self._described()
        self._weigh([(one.call, request_findings(description, one)) for one in self._tour().sent])

    def test_answers_fit_the_description(self) -> None:
        """Every answer of the sandbox is as the vendor's description says, but for the named tolerances: another fake proves nothing.

        Mend: correct the sandbox. Where the vendor is known to answer otherwise, say so in ``tolerances`` or ``exemptions``."""
        from dsr_sdk.testing.drift import response_findings

        description = self._described()
        self._weigh([(one.call, response_findings(description, one, self.tolerances)) for one in self._tour().sent])

    def test_exemptions_are_needed(self) -> None:
        """Every difference in ``exemptions`` is still there: one that is mended hides the next.

        Mend: take it out of the suite's ``exemptions``."""
        from dsr_sdk.testing.drift import request_findings, response_findings

        if not self.exemptions:
            pytest.skip("there are no exemptions")
        description = self._described()
        found = [
            finding
            for one in self._tour().sent
            for finding in (*request_findings(description, one), *response_findings(description, one, self.tolerances))
        ]
        idle = [exemption for exemption in self.exemptions if not any(exemption.covers(finding) for finding in found)]
        require(not idle, f"no longer needed: {'; '.join(exemption.reason for exemption in idle)}")

    @pytest.mark.evidence("sandbox")
    def test_cassettes(self) -> None:
        """There is a cassette for each verb, and each may be committed: no secret, nobody real, no foreign host, not too large, provenance in it.
        Where the package has an ``evidence.json``, it says the same of them.

        Mend: record with ``dsr cassette record SLUG --out tests/cassettes`` and read the difference before you commit it."""
        from dsr_sdk.testing.cassettes import lint

        for path in self._tapes():
            problems = lint(path, self.connector)
            require(not problems, "; ".join(problems))
        told = shipped(self.connector)
        require(told is None or told == tuple(cassettes_in(self.cassettes)), f"{SHIPPED} in the package says something else of the cassettes")

    def test_cassettes_replay(self) -> None:
        """Each cassette replays without a network: the same calls with the same bodies, all of them played, the same conclusion.

        Mend: when the connector means to call something else now, record again; the difference is what a reviewer reads."""
        from dsr_sdk.testing.cassettes import replay

        for path in self._tapes():
            replay(self.connector, path)

    def test_cassettes_fit_the_description(self) -> None:
        """What was recorded is as the vendor's description says: requests strictly, answers but for the named tolerances.

        Mend: ``dsr cassette drift --openapi FILE CASSETTE`` shows all of it; adapt the connector and record again."""
        from dsr_sdk.testing.drift import drift

        description = self._described()
        for path in self._tapes():
            rows = [row for row in drift(description, path, self.tolerances) if row.finding.severity == "error"]
            self._weigh([(row.call, [row.finding]) for row in rows])

    def test_claims_are_held(self) -> None:
        """Each layer in ``evidence`` is held by something that is run, and each that is held is claimed: *sandbox* by a sandbox, *spec* by a
        description, *recordings* by a marked test, *live* by a cassette recorded at the vendor.

        Mend: strike the claim, or add what holds it: ``description = ...`` in the suite, ``@pytest.mark.evidence("recordings")`` on a test."""
        held = layers_marked(type(self)) if not in_a_test(self.connector) else set()
        if self.sandbox is not None:
            held.add("sandbox")
        if self.description is not None:
            held.add("spec")
        if any(tape.recorded_from == "live" for tape in cassettes_in(self.cassettes)):
            held.add("live")
        claimed = {layer.value for layer in self.connector.evidence}
        require(claimed <= held, f"claimed and held by nothing: {', '.join(sorted(claimed - held))}")
        hidden = held - claimed - ({"sandbox"} if not self.connector.evidence else set())
        require(not hidden, f"held and not claimed in evidence: {', '.join(sorted(hidden))}")
        require(not claimed or Evidence.SANDBOX.value in claimed or "live" in claimed, "without a sandbox nothing was carried out")

    def _described(self) -> Description:
        from dsr_sdk.testing.openapi import Description

        self._config()
        if self.description is None:
            pytest.skip("no description of the vendor's API is given")
        return Description.load(self.description)

    def _tapes(self) -> list[Path]:
        self._config()
        if self.cassettes is None:
            pytest.skip("no directory of cassettes is given")
        from dsr_sdk.testing.cassettes import SCENARIOS

        paths = [self.cassettes / f"{name}.yaml" for name, verb in SCENARIOS.items() if self._able(verb)]
        missing = [path.name for path in paths if not path.is_file()]
        require(not missing, f"no cassette {', '.join(missing)}: dsr cassette record {self.connector.slug} --out {self.cassettes.name}")
        return paths

    def _weigh(self, rows: list[tuple[str, list[Finding]]]) -> None:
        """Fail with what no exemption covers."""
        errors = Counter(
            f"{call}: {finding.where} {finding.problem}"
            for call, found in rows
            for finding in found
            if finding.severity == "error" and not any(exemption.covers(finding) for exemption in self.exemptions)
        )
        lines = [line + (f" ({count} times)" if count > 1 else "") for line, count in errors.items()]
        require(not lines, "; ".join(lines[:8]) + (f"; and {len(lines) - 8} more" if len(lines) > 8 else ""))
