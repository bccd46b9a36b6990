"""From an approved request to outcomes: plan, drain, verify. Embedded by default, spread over machines with the ``postgres`` extra."""

from __future__ import annotations

from dsr_sdk.engine.drain import Drain, Drained, Progress
from dsr_sdk.engine.plan import Deed, Plan, PlannedMatch, PlannedSource, Standing
from dsr_sdk.engine.planner import Planner
from dsr_sdk.engine.report import Report, SourceReport, Status, report
from dsr_sdk.engine.work import Options

__all__ = [
    "Deed",
    "Drain",
    "Drained",
    "Options",
    "Plan",
    "PlannedMatch",
    "PlannedSource",
    "Planner",
    "Progress",
    "Report",
    "SourceReport",
    "Standing",
    "Status",
    "report",
]
