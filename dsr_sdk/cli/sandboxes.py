"""``dsr sandbox``: the installed fakes of vendors' APIs, to try everything without touching anyone's data."""

from __future__ import annotations

import json as json_
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsr_sdk.cli import output
from dsr_sdk.cli.session import Json

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from dsr_sdk.testing import Person, Sandbox

__all__ = ["EXAMPLES", "GROUP", "load", "points", "register"]

GROUP = "dsr_sdk.sandboxes"
"""Entry point group of sandboxes: ``slug = "package.sandbox:Class"``."""
EXAMPLES = Path(__file__).parent / "examples"
"""Made-up people and requests about them; the same files stand in ``examples/``."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(list_)
    group.command("up")(up)
    app.add_typer(group, name="sandbox", help="Fakes of the vendors' APIs, on this machine: list them, serve them.")


def list_(json: Json = False) -> None:
    """List the installed sandboxes."""
    rows = []
    for slug, point in points().items():
        sandbox, why = load(slug, point)
        rows.append(
            {
                "slug": slug,
                "title": sandbox.title if sandbox else "",
                "distribution": point.dist.name if point.dist else "",
                "settings": sorted(sandbox.credentials) if sandbox else [],
                "broken": why,
            }
        )
    if json:
        output.as_json({"sandboxes": rows})
    elif rows:
        output.table(
            ("sandbox", "title", "package", "broken"), [(row["slug"], row["title"], row["distribution"], row["broken"] or "") for row in rows]
        )
        output.note("next: dsr sandbox up --config-out DIR")
    else:
        output.note("no sandbox is installed: they come with the connectors")


def up(
    ctx: typer.Context,
    slugs: Annotated[list[str] | None, typer.Argument(metavar="SLUG", help="Which; all when left out.", show_default=False)] = None,
    people: Annotated[
        Path | None, typer.Option(help="Whom they know: a JSON list of people.", show_default="the example people", metavar="FILE")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65000, help="The first port; the next sandbox gets the next one.", show_default="free ones")] = 0,
    config_out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Make a host there that uses them, with example requests.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Serve sandboxes on loopback until Ctrl-C, with made-up people in them. Prints how to configure them as data sources."""
    from dsr_sdk.testing import serve

    known = _people(people or EXAMPLES / "people.json")
    chosen = _chosen(slugs)
    with ExitStack() as stack:
        ready: list[Served] = []
        for sandbox in chosen:
            try:
                sandbox.seed(known)
                server = stack.enter_context(serve(sandbox, port + len(ready) if port else 0))
            except OSError as error:
                _cannot(sandbox.slug, f"port {port + len(ready)}: {(error.strerror or '').lower()}")
            except Exception as error:  # noqa: BLE001 - one sandbox's bug is its own
                output.note(f"warning: {sandbox.slug}: cannot be seeded: {type(error).__name__}")
            else:
                ready.append(Served(sandbox, server.url, *_settings(sandbox, server.url)))
        if not ready:
            _cannot("sandboxes", "none can be served")
        try:
            if config_out is not None:
                _write_host(config_out, ready)
            _tell(ready, config_out, len(known), json=json)
            threading.Event().wait()
        except KeyboardInterrupt:
            output.note("sandboxes stopped")


def _cannot(source: str, message: str) -> None:
    from dsr_sdk.errors import ConfigError

    raise ConfigError(message, source=source, fix="see: dsr sandbox list")


@dataclass(frozen=True, slots=True)
class Served:
    """A sandbox that is served. `settings` go into ``dsr.toml``; `secrets` are made-up, and stand beside it as references."""

    sandbox: Sandbox
    url: str
    settings: Mapping[str, Any]
    secrets: Mapping[str, str] = field(repr=False)

    def variable(self, key: str) -> str:
        """The environment variable the printed snippet refers to."""
        return f"DSR_SANDBOX_{self.sandbox.slug}_{key}".upper()

    def toml(self) -> str:
        """The data source's part of ``dsr.toml``."""
        rows = [f"[sources.{self.sandbox.slug}]", f'connector = "{self.sandbox.slug}"']
        rows += [f"{key} = {json_.dumps(value)}" for key, value in self.settings.items()]
        rows += [f'{key} = "env:{self.variable(key)}"' for key in self.secrets]
        return "\n".join(rows)


def points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def load(slug: str, point: EntryPoint) -> tuple[Sandbox | None, str | None]:
    """A fresh sandbox, or why there is none."""
    from dsr_sdk.testing import Sandbox

    try:
        loaded = point.load()
        if not (isinstance(loaded, type) and issubclass(loaded, Sandbox)):
            return None, "the entry point names no subclass of Sandbox"
        return loaded(), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - foreign code at import time: even SystemExit must not take us along
        return None, f"cannot be loaded: {type(error).__name__}"


def _chosen(slugs: Sequence[str] | None) -> Iterator[Sandbox]:
    known = points()
    for slug in slugs or ():
        if slug not in known:
            from dsr_sdk.errors import ConfigError

            raise ConfigError("there is no such sandbox", source=slug, fix=f"installed: {', '.join(known) or 'none'}")
    for slug in dict.fromkeys(slugs or known):
        sandbox, why = load(slug, known[slug])
        if sandbox is None:
            output.note(f"warning: {slug}: {why}")
        else:
            yield sandbox


def _people(path: Path) -> list[Person]:
    from dsr_sdk.errors import RequestError
    from dsr_sdk.testing import Person

    fix = "a JSON list of objects with email, first_name, last_name, phone, user_id, extra"
    try:
        rows = json_.loads(path.read_bytes())
    except OSError as error:
        raise RequestError(f"cannot be read: {(error.strerror or '').lower()}", source=str(path)) from None
    except ValueError:
        raise RequestError("is not JSON", source=str(path), fix=fix) from None
    if not isinstance(rows, list):
        raise RequestError("is not a list", source=str(path), fix=fix)
    people = []
    for number, row in enumerate(rows):
        try:
            people.append(Person(**row))
        except TypeError:
            raise RequestError("is not a person", source=f"{path}[{number}]", fix=fix) from None
    return people


def _settings(sandbox: Sandbox, url: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What a data source needs to be told to use the sandbox: plain settings, and secrets."""
    from urllib.parse import urlsplit

    from dsr_sdk.errors import DsrError
    from dsr_sdk.host.editing import is_secret
    from dsr_sdk.registry import Registry

    secrets = dict(sandbox.credentials)
    plain: dict[str, Any] = {}
    try:
        connector = Registry().load(sandbox.slug)
        fields = connector.Config.model_fields
        plain = {key: secrets.pop(key) for key in list(secrets) if key in fields and not is_secret(fields[key])}
        # Routes have the vendor's own paths, so the base URL keeps the path of the connector's (https://us6.api.mailchimp.com/3.0).
        url += urlsplit(connector(connector.Config.model_validate(dict(sandbox.credentials))).base_url).path.rstrip("/")
    except DsrError:
        output.note(f"warning: {sandbox.slug}: its connector cannot be loaded (dsr connectors says why); every setting is taken for a secret")
    except ValueError:
        output.note(f"warning: {sandbox.slug}: its connector does not accept the sandbox's credentials")
    return {"base_url": url, "allow_private_hosts": True, **plain}, secrets


def _write_host(directory: Path, ready: Sequence[Served]) -> None:
    """A complete host that uses the sandboxes. Run again, it gets the new addresses and keeps its ledger."""
    from dsr_sdk.errors import ConfigError, DsrError
    from dsr_sdk.host import initialise
    from dsr_sdk.host.editing import add_source

    path = initialise(directory, company="Example GmbH")
    secrets = directory / "secrets"
    try:
        secrets.mkdir(mode=0o700, exist_ok=True)
        for served in ready:
            for key, value in served.secrets.items():
                _put(secrets / f"{served.sandbox.slug}-{key}", value.encode() + b"\n")
        _put(directory / "requests.jsonl", (EXAMPLES / "requests.jsonl").read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot be written: {(error.strerror or '').lower()}", source=str(directory)) from None
    for served in ready:
        slug = served.sandbox.slug
        references = {key: f"file:secrets/{slug}-{key}" for key in served.secrets}
        try:
            add_source(path, slug, slug, {**served.settings, **references}, replace=True)
        except DsrError as error:
            output.note(f"warning: {error}")


def _put(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)


def _tell(ready: Sequence[Served], directory: Path | None, people: int, *, json: bool) -> None:
    if json:
        rows = [
            {
                "slug": served.sandbox.slug,
                "url": served.url,
                "control": f"{served.url}/_sandbox/",
                "settings": dict(served.settings),
                "secrets": dict(served.secrets),
            }
            for served in ready
        ]
        output.as_json({"sandboxes": rows, "people": people, "config": str(directory / "dsr.toml") if directory else None})
    else:
        output.table(("sandbox", "url"), [(served.sandbox.slug, served.url) for served in ready])
        if directory is None:
            output.say("\n# for dsr.toml")
            for served in ready:
                output.say(served.toml() + "\n")
            output.say("# the sandboxes' made-up credentials")
            for served in ready:
                for key, value in served.secrets.items():
                    output.say(f"export {served.variable(key)}={value}")
        else:
            output.say(f"\nwrote {directory}/dsr.toml, its secrets and {directory}/requests.jsonl; in another terminal:")
            output.say(f"  cd {directory} && dsr sources check && dsr run requests.jsonl")
    output.note(f"{len(ready)} sandboxes know {people} people; press Ctrl-C to stop")
