"""What a connector's author and a host application test with: sandboxes, cassettes, vendor descriptions. Public API like the rest."""

from __future__ import annotations

from dsr_sdk.testing.sandbox import Answer, Call, Fault, Person, Sandbox, Window, route
from dsr_sdk.testing.serve import SandboxServer, serve, transport

__all__ = ["Answer", "Call", "Fault", "Person", "Sandbox", "SandboxServer", "Window", "route", "serve", "transport"]
