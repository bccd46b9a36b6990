"""What a connector's author and a host application test with: sandboxes, cassettes, vendor descriptions. Public API like the rest.

What needs pytest or vcrpy is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dsr_sdk.testing._findings import Exemption
from dsr_sdk.testing.sandbox import Answer, Call, Fault, Person, Sandbox, Window, route
from dsr_sdk.testing.serve import SandboxServer, serve, transport

if TYPE_CHECKING:
    from dsr_sdk.testing.checked import Checked as Checked
    from dsr_sdk.testing.recordings import replay_recordings as replay_recordings
    from dsr_sdk.testing.scenario import run_scenario as run_scenario
    from dsr_sdk.testing.suite import ConnectorSuite as ConnectorSuite

__all__ = [
    "Answer",
    "Call",
    "Checked",
    "ConnectorSuite",
    "Exemption",
    "Fault",
    "Person",
    "Sandbox",
    "SandboxServer",
    "Window",
    "replay_recordings",
    "route",
    "run_scenario",
    "serve",
    "transport",
]

_LAZY = {"Checked": "checked", "ConnectorSuite": "suite", "replay_recordings": "recordings", "run_scenario": "scenario"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"dsr_sdk.testing.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
