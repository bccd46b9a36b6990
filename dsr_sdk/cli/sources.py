"""``dsr sources``: the data sources of this host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsr_sdk.cli import failures, output
from dsr_sdk.cli.session import Json, opened

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from dsr_sdk.host import Host
    from dsr_sdk.host.inventory.systems import System

__all__ = ["asked", "pair", "register", "value"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(list_)
    group.command("check")(check)
    group.command("add")(add)
    app.add_typer(group, name="sources", help="The data sources of this host: list, check, add.")


def list_(ctx: typer.Context, json: Json = False) -> None:
    """List the data sources, those of the inventory too, and whether they can be used."""
    with opened(ctx) as host:
        rows = [_row(host, name) for name in host.config.sources] + [_kept(host, row) for row in _inventory(host)]
    if json:
        output.as_json({"sources": rows})
        return
    if not rows:
        output.note(f"no data source is configured yet; next: {ctx.obj.line('sources add NAME --connector SLUG')}")
        return
    cells = [
        (row["name"], row["connector"], row["title"], row["process"], row["stands_in"], ", ".join(row["after"]), output.words(row["status"]))
        for row in rows
    ]
    output.table(("source", "connector", "title", "process", "stands in", "after", "status"), cells)
    for row in rows:
        if row["error"]:
            output.say(output.clean(f"{row['name']}: {row['error']}"))


def _row(host: Host, name: str) -> dict[str, Any]:
    settings = host.config.sources[name]
    source = host.registry.sources.get(name)
    error = host.broken.get(name)
    return {
        "name": name,
        "connector": settings.connector,
        "title": source.connector.title if source else "",
        "process": source.connector.process.value if source else "",
        "after": list(settings.after),
        "enabled": settings.enabled,
        "status": "off" if not settings.enabled else "cannot_be_used" if error else "configured",
        "error": str(error) if error else None,
        "stands_in": "dsr.toml",
    }


def _inventory(host: Host) -> list[System]:
    """The data sources that people have added beside the file."""
    return [row for row in host.inventory.systems(handling=True) if row.configured_in != "dsr.toml"]


def _kept(host: Host, row: System) -> dict[str, Any]:
    error = host.broken.get(row.name)
    return {
        "name": row.name,
        "connector": row.connector or "manual",
        "title": row.title,
        "process": row.process,
        "after": [],
        "enabled": True,
        "status": "cannot_be_used" if error else "configured",
        "error": str(error) if error else None,
        "stands_in": "inventory",
    }


def check(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Data sources; all when left out.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Make one harmless call to each data source, to prove its settings."""
    from dsr_sdk.errors import ContractError, DsrError

    rows: list[dict[str, Any]] = []
    errors: list[DsrError] = []
    with opened(ctx) as host:
        every = [name for name, settings in host.config.sources.items() if settings.enabled] + [row.name for row in _inventory(host)]
        for name in names or every:
            try:
                rows.append({"source": name, "ok": True, "answer": host.check(name)})
                if not json:
                    output.say(output.clean(f"{name}: ok: {rows[-1]['answer']}"))
                continue
            except DsrError as error:
                broke = error
            except Exception as error:  # noqa: BLE001 - a connector's bug is its own, and the other sources are still to be checked
                broke = ContractError(f"the connector's check broke: {type(error).__name__}", source=name, fix="report it to the connector's author")
            errors.append(broke)
            rows.append({"source": name, "ok": False, "error": broke.message, "field": broke.field, "fix": broke.fix, "acts_next": broke.acts_next})
            if not json:
                broke.source = broke.source or name
                failures.show(broke)
    if json:
        output.as_json({"sources": rows})
    elif not rows:
        output.note(f"no data source is configured yet; next: {ctx.obj.line('sources add NAME --connector SLUG')}")
    if errors:
        raise typer.Exit(failures.worst(errors))


def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call it (stripe, stripe-eu).", show_default=False)],
    connector: Annotated[str, typer.Option(help="The connector's slug.", show_default="NAME")] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting; secrets as env:NAME, file:PATH or keyring:SERVICE/NAME.", show_default=False),
    ] = None,
    after: Annotated[list[str] | None, typer.Option(help="A data source whose erasures come first.", show_default=False)] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=64, help="Calls under way at once.", show_default="8")] = None,
    json: Json = False,
) -> None:
    """Add a data source to dsr.toml, after its connector has accepted the settings. Comments in the file stay."""
    from dsr_sdk.host.config import read_config
    from dsr_sdk.host.editing import add_source, settings_of
    from dsr_sdk.registry import Registry

    path = ctx.obj.config
    slug = connector or name
    known = settings_of(Registry(allow=read_config(path).allow).load(slug))
    values = {key: value(known.get(key), text) for key, text in (pair(one) for one in settings or ())}
    if output.interactive() and not json:
        values |= asked(known, values)
    warnings = add_source(path, name, slug, values, after=after or (), threads=threads)
    for warning in warnings:
        output.note(f"warning: {warning}")
    if json:
        output.as_json({"source": name, "connector": slug, "settings": sorted(values), "warnings": warnings})
    else:
        output.say(f"added {name} to {path}")
        output.note(f"next: {ctx.obj.line(f'sources check {name}')}")


def pair(text: str) -> tuple[str, str]:
    """``KEY=VALUE``."""
    key, equals, given = text.partition("=")
    if not equals or not key.strip():
        raise typer.BadParameter("write it as KEY=VALUE", param_hint="--set")
    return key.strip(), given


def value(setting: FieldInfo | None, text: str) -> Any:
    """The value as TOML has it, where the setting is no text: ``true``, ``5``, ``["a", "b"]``."""
    import tomllib
    from typing import get_args

    from dsr_sdk.host.editing import is_secret

    if setting is None or is_secret(setting) or setting.annotation is str or str in get_args(setting.annotation):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def asked(known: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Ask for what is needed and was not given. What is typed for a secret is not echoed: somebody will paste the secret itself."""
    from dsr_sdk.host.editing import is_secret

    answers: dict[str, Any] = {}
    for name, setting in known.items():
        if not setting.is_required() or name in given:
            continue
        meaning = f" ({setting.description})" if setting.description else ""
        if is_secret(setting):
            question = f"{name}{meaning}: where is it kept? env:NAME, file:PATH or keyring:SERVICE/NAME"
            answers[name] = typer.prompt(question, hide_input=True, err=True)
        else:
            answers[name] = value(setting, typer.prompt(f"{name}{meaning}", err=True))
    return answers
