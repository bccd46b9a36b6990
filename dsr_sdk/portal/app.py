"""The app: every router, the guard around them, the engine beside them."""

from __future__ import annotations

import importlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Scope

from dsr_sdk.ledger.database import reading
from dsr_sdk.portal import errors, security
from dsr_sdk.portal.casework import Searches
from dsr_sdk.portal.engine import Engine
from dsr_sdk.portal.rendering import HERE

if TYPE_CHECKING:
    from dsr_sdk.host import Host

__all__ = ["PUBLIC", "ROUTERS", "create_app", "serve"]

ROUTERS: tuple[str, ...] = (
    "sign_in",
    "single_sign_on",
    "account",
    "accounts",
    "dashboard",
    "taking",
    "requests",
    "case",
    "case_side",
    "process",
    "copies",
    "reply",
    "sources",
    "source",
    "templates",
    "outbox",
    "settings",
    "public",
    "links",
    "api",
)
"""The modules of ``dsr_sdk.portal.routes`` that are part of the portal, in the order their routes are tried."""

PUBLIC: frozenset[str] = frozenset(
    {
        "GET /healthz",
        "GET /sign-in",
        "POST /sign-in",
        "GET /sign-in/oidc",
        "GET /sign-in/oidc/back",
        "GET /set-up",
        "GET /set-up/{token}",
        "POST /set-up",
        "GET /join/{token}",
        "POST /join/{token}",
        "GET /privacy",
        "GET /privacy/{language}",
        "POST /privacy/{language}",
        "GET /privacy/{language}/sent",
        "GET /p/verify/{token}",
        "POST /p/verify/{token}",
        "GET /p/answer/{token}",
        "POST /p/answer/{token}",
        "GET /p/answer/{token}/files/{file}",
        "GET /p/copy/{token}",
        "POST /p/copy/{token}",
        "GET /p/copy/{token}/data",
        "GET /p/help/{token}",
        "POST /p/help/{token}",
        "GET /api/v1/openapi.json",
    }
)
"""Routes for people without an account. Every other route declares who may, with `signed_in` or `with_key`."""


def create_app(host: Host, *, engine: bool = True) -> FastAPI:
    """The portal of a host, as an ASGI app. The host stays the caller's: it closes it after the app has ended.

    Args:
        engine: Whether the app carries out what is due, too, while it is served. Without, something else must: `dsr run`, a worker.
    """
    running = Engine(host) if engine else None
    searches = Searches(host)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if running is not None:
            running.start()
        yield
        if running is not None:
            await run_in_threadpool(running.stop)
        await run_in_threadpool(searches.close)

    app = FastAPI(
        title="Privacy requests",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.host = host
    app.state.engine = running
    app.state.limiter = security.Limiter()
    app.state.searches = searches
    errors.install(app)

    @app.get("/healthz")
    def healthz() -> Response:
        """For load balancers: whether the portal answers and its ledger can be read."""
        with reading(host.ledger.engine) as connection:
            connection.execute(select(1))
        return PlainTextResponse("ok")

    for name in ROUTERS:
        app.include_router(importlib.import_module(f"dsr_sdk.portal.routes.{name}").router)
    app.mount("/static", _Static(directory=HERE / "static"), name="static")

    workflow = host.config.workflow
    app.add_middleware(
        security.Guard,
        file_bytes=((workflow.max_file_mb if workflow else 25) + 1) * 1024 * 1024,
        https=workflow is not None and workflow.public_url.startswith("https:"),
        changed=running.wake if running is not None else lambda: None,
        failed=errors.failed,
        too_large=errors.too_large,
    )
    return app


class _Static(StaticFiles):
    """Our own files: browsers may keep them, for their addresses change with them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == 200 and b"v=" in scope.get("query_string", b""):
            response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def serve(host: Host, *, address: str = "127.0.0.1", port: int = 8765, engine: bool = True) -> None:
    """Serve the portal until the process is told to end (SIGINT, SIGTERM). What is under way is finished first, then this returns.

    There is no log of addresses asked for: links hold tokens.
    """
    import uvicorn

    app = create_app(host, engine=engine)
    # When it has ended, uvicorn gives the signal to whoever had it before. The default would kill the process before its host is closed.
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        uvicorn.run(
            app,
            host=address,
            port=port,
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,  # `security.client_of` reads them, where the configuration says there is a proxy
            timeout_graceful_shutdown=20,
            limit_concurrency=512,
        )
    finally:
        signal.signal(signal.SIGTERM, before)
