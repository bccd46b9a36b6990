"""``dsr serve``: the portal, and the engine beside it, until the process is told to end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from dsr_sdk.cli import output
from dsr_sdk.cli.session import Json, opened

if TYPE_CHECKING:
    from dsr_sdk.host import Host

__all__ = ["register"]

_EXTRA = ("uvicorn", "fastapi", "starlette", "multipart", "python_multipart", "argon2", "limits", "pyotp", "fpdf", "segno")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8765,
    no_engine: Annotated[
        bool, typer.Option("--no-engine", help="Carry nothing out: dsr run, workers or another portal do.", show_default=False)
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    behind_proxy: Annotated[bool, typer.Option("--behind-proxy", help="Listen publicly: a proxy in front speaks https.")] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen publicly without https. Passwords can be read on the way.")] = False,
    json: Json = False,
) -> None:
    """Serve the portal until Ctrl-C or SIGTERM, and carry out what is due meanwhile. What is under way at the end is finished first.

    The first start prints a link that makes the first administrator: once, within a day.
    """
    portal = _portal()
    with opened(ctx, warn=True) as desk:
        if desk.config.workflow is None:
            from dsr_sdk.errors import ConfigError

            raise ConfigError("this host has no workflow", field="workflow", fix=f"run: {ctx.obj.line('init --workflow')}")
        _guard(desk, host, behind_proxy=behind_proxy, insecure=insecure)
        port = _free(host, port)
        url = _url(host, port)
        public = desk.config.workflow.public_url
        token = _first(desk)
        set_up = f"{public if public.startswith('https:') else url}/set-up/{token}" if token else None
        if json:
            output.as_json({"url": url, "set_up": set_up, "engine": not no_engine})
        else:
            output.say(f"the portal: {url}")
            if set_up:
                output.say(f"nobody has an account yet. Make the first one, within a day: {set_up}")
        if urlsplit(public).netloc != urlsplit(url).netloc and not public.startswith("https:"):
            output.note(f"warning: links in mails begin with {public} (public_url under [workflow]), and that is not this address")
        if desk.config.mail is None:
            output.note("there is no [mail] in dsr.toml: mails to people are written and wait")
        output.note("press Ctrl-C to stop")
        if open_:
            threading.Thread(target=_browse, args=(set_up or url, host, port), daemon=True).start()
        with suppress(KeyboardInterrupt):  # what was under way is finished when it gets here
            portal(desk, address=host, port=port, engine=not no_engine)
        output.note("the portal has stopped")


def _portal() -> Callable[..., None]:
    """The portal's server, if its extra is installed."""
    from dsr_sdk.errors import ConfigError

    try:
        from dsr_sdk.portal import serve as run
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in _EXTRA:
            raise
        raise ConfigError("the portal is not installed", fix="pip install 'dsr-sdk[portal]'") from None
    return run


def _loopback(address: str) -> bool:
    import ipaddress

    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _guard(desk: Host, address: str, *, behind_proxy: bool, insecure: bool) -> None:
    """Nobody serves passwords and personal data in the open by mistake."""
    from dsr_sdk.errors import ConfigError

    workflow = desk.config.workflow
    if _loopback(address) or behind_proxy or insecure or (workflow is not None and workflow.public_url.startswith("https:")):
        return
    raise ConfigError(
        f"would listen on {address} without https: passwords and personal data could be read on the way",
        field="workflow.public_url",
        fix="put a proxy with https in front and its address into public_url; or say --behind-proxy, or --insecure where nobody listens",
    )


def _free(address: str, port: int) -> int:
    """The port, if nobody has it; a free one for 0."""
    from dsr_sdk.errors import ConfigError

    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.create_server((address, port), family=family) as taken:
            found: int = taken.getsockname()[1]
    except (OSError, OverflowError) as error:
        said = (getattr(error, "strerror", None) or type(error).__name__).lower()
        raise ConfigError(f"cannot listen on {address}, port {port}: {said}", fix="choose another with --port, or --port 0") from None
    return found


def _url(address: str, port: int) -> str:
    name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(address, address)  # noqa: S104 - only compared with
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


def _first(desk: Host) -> str | None:
    """A token for the first administrator; None when there are accounts."""
    from dsr_sdk.errors import ConflictError

    if desk.accounts.list():
        return None
    try:
        return desk.accounts.first_admin_token()
    except ConflictError:  # somebody has made one at this very moment
        return None


def _browse(url: str, address: str, port: int) -> None:
    """Open the browser once the portal answers."""
    import webbrowser

    for _ in range(100):
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            webbrowser.open(url)
            return
