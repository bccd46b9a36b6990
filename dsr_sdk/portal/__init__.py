"""The portal: request handling in a browser. Server-rendered, on the methods of `dsr_sdk.host`; no rule lives here.

from dsr_sdk.portal import create_app

app = create_app(Host.open("dsr.toml"))   # any ASGI server; `serve` runs uvicorn
"""

from __future__ import annotations

from dsr_sdk.portal.app import create_app, serve

__all__ = ["create_app", "serve"]
