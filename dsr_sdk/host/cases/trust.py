"""What is proven is what is used: which identities of a request its data sources may be searched with."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.engine import Connection

from dsr_sdk.engine.planner import Trust
from dsr_sdk.host.cases.verification import Requirement, entered, requirement, unproven
from dsr_sdk.ledger.cases import Cases
from dsr_sdk.request import Regime, Request

__all__ = ["trust"]


def trust(ledger: Cases, connection: Connection, requests: Mapping[str, Request]) -> dict[str, Trust]:
    """For each case of the workflow whose right asks for proof: what to leave out, and what an agent alone vouches for.

    An opt-out works without proof, and so with everything that was given. A host without a workflow proves identities in its own way.
    """
    found = {}
    for number in ledger.in_workflow(connection, list(requests)):
        case, request = ledger.get(connection, number), requests[number]
        if requirement(Regime(case.regime) if case.regime else None, request.type) is Requirement.REQUIRED:
            found[number] = Trust(unproven(request), entered(request))
    return found
