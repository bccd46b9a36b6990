"""Request handling on top of the engine: what a host application, the command line and the portal use."""

from __future__ import annotations

from dsr_sdk.host.host import Host
from dsr_sdk.host.opening import initialise

__all__ = ["Host", "initialise"]
