"""``dsr inventory``: the systems the company uses, and which of them take part in request handling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsr_sdk.cli import consent, failures, output, progress, systems
from dsr_sdk.cli.session import By, Json, Yes, agent, grouped, opened
from dsr_sdk.cli.sources import asked, pair, value

if TYPE_CHECKING:
    from dsr_sdk.host import Host

__all__ = ["register"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="A system's name.", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting; secrets as env:NAME, file:PATH or keyring:SERVICE/NAME.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    grouped(
        app,
        "inventory",
        "The systems you use, and which of them take part in request handling.",
        ("list", list_),
        ("catalogue", catalogue),
        ("add", add),
        ("set", set_),
        ("check", check),
        ("handling", handling),
        ("activate", activate),
        ("remove", remove),
        ("discover", discover),
        ("accept", accept),
        ("dismiss", dismiss),
        ("ask", ask),
        ("take", take),
    )


def list_(
    ctx: typer.Context,
    handling: Annotated[bool, typer.Option("--handling", help="Only those that take part in request handling.")] = False,
    proposed: Annotated[bool, typer.Option("--proposed", help="What a discovery has proposed instead.")] = False,
    category: Annotated[str | None, typer.Option(help="Only of this category.", show_default=False)] = None,
    text: Annotated[str | None, typer.Option(help="Only where these words occur.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """List the systems, and how each takes part in request handling."""
    with opened(ctx) as host:
        rows = host.inventory.systems(handling=True if handling else None, category=category, text=text, proposed=proposed)
        offered = {row.name: _offered(host, row.name) for row in rows if row.offered}
    if json:
        output.as_json({"systems": [systems.system_json(row) for row in rows]})
        return
    if rows:
        systems.table(rows)
        for row in rows:
            if row.broken:
                output.say(output.clean(f"{row.name}: {row.broken}"))
        for name, what in offered.items():
            output.say(output.clean(f"{name}: a colleague proposes {what}: {ctx.obj.line(f'inventory take {name}')}"))
    else:
        output.note("nothing" if proposed or handling or category or text else f"no system yet; next: {ctx.obj.line('inventory catalogue')}")


def _offered(host: Host, name: str) -> str:
    from dsr_sdk.errors import DsrError

    try:
        found = host.inventory.offered(name)
    except DsrError as error:  # of one: the others are not to wait for it
        return f"settings that cannot be taken ({error})"
    return f"{found.connector} ({', '.join(found.settings)})" if found else "nothing any more"


def catalogue(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words that must occur.", show_default="everything")] = "",
    category: Annotated[str | None, typer.Option(help="Only of this category.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Show what may be added: installed connectors, and vendors that can be written to."""
    with opened(ctx) as host:
        rows = host.inventory.catalogue(text=text, category=category)
    if json:
        output.as_json(
            {
                "offers": [
                    {
                        "slug": row.slug,
                        "title": row.title,
                        "category": row.category,
                        "process": row.process,
                        "connector": row.connector,
                        "installed": row.installed,
                        "privacy_address": row.privacy_address,
                        "evidence": list(row.evidence),
                        "unchecked": list(row.unchecked),
                        "broken": row.broken,
                    }
                    for row in rows
                ]
            }
        )
        return
    cells = [(row.slug, row.title, row.category, row.process, "installed" if row.installed else "", row.privacy_address or "") for row in rows]
    if cells:
        output.table(("slug", "title", "category", "process", "connector", "privacy address"), cells)
    output.note(
        f"next: {ctx.obj.line('inventory add NAME --from SLUG')}, or a system of your own: {ctx.obj.line('inventory add NAME --title TITLE')}"
    )


# --- adding and changing ---------------------------------------------------------------------------------------------------------------


def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call it.", show_default=False)],
    from_: Annotated[str | None, typer.Option("--from", metavar="SLUG", help="An offer of the catalogue.", show_default=False)] = None,
    title: Annotated[str | None, typer.Option(help="As people read it.", show_default="NAME, or the offer's")] = None,
    category: Annotated[str, typer.Option(help="For a system of your own.")] = "custom",
    connector: Annotated[str | None, typer.Option(help="A connector's slug, email or manual.", show_default="manual with --handling")] = None,
    settings: Settings = None,
    handling: Annotated[bool, typer.Option("--handling", help="Use it in request handling from the next request on.")] = False,
    owner: Annotated[str | None, typer.Option(help="Whom to ask about it.", show_default=False)] = None,
    note: Annotated[str | None, typer.Option(help="For colleagues.", show_default=False)] = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Add a system: from the catalogue, or one of your own. A connector must accept its settings first."""
    with opened(ctx) as host:
        slug = from_ if from_ is not None and any(row.slug == from_ and row.installed for row in host.inventory.catalogue(text=from_)) else connector
        values = _settings(host, slug, settings, ask=not json)
        if from_ is not None:
            row = host.inventory.add_offer(from_, name=name, title=title, settings=values, handling=handling, owner=owner, note=note, by=agent(by))
        else:
            row = host.inventory.add(
                name,
                title or name,
                category=category,
                connector=connector,
                settings=values,
                handling=handling,
                owner=owner,
                note=note,
                by=agent(by),
            )
        systems.told(ctx, row, json=json, next_=systems.next_of(row))


def _settings(host: Host, slug: str | None, pairs: list[str] | None, *, ask: bool) -> dict[str, Any]:
    """Settings from options, in the types the connector wants; on a terminal what is missing is asked for."""
    from dsr_sdk.host.editing import settings_of

    if slug is None:
        known: Any = {}
    else:
        known = settings_of(host.registry.load(slug))
    values = {key: value(known.get(key), text) for key, text in (pair(one) for one in pairs or ())}
    if ask and output.interactive() and slug not in ("email", "manual"):
        values |= asked(known, values)
    return values


def set_(
    ctx: typer.Context,
    name: Name,
    title: Annotated[str | None, typer.Option(help="As people read it.", show_default=False)] = None,
    category: Annotated[str | None, typer.Option(show_default=False)] = None,
    connector: Annotated[str | None, typer.Option(help="Another connector, with its settings.", show_default=False)] = None,
    settings: Settings = None,
    owner: Annotated[str | None, typer.Option(help="Whom to ask; an empty text takes it away.", show_default=False)] = None,
    note: Annotated[str | None, typer.Option(help="For colleagues; an empty text takes it away.", show_default=False)] = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Change a system. Settings that are not named stay."""
    with opened(ctx) as host:
        before = host.inventory.get(name)
        values = None
        if settings or connector:
            keep = {} if connector not in (None, before.connector) else {key: one for key, one in before.settings.items() if key != "active"}
            values = keep | _settings(host, connector or before.connector, settings, ask=False)
        row = host.inventory.update(
            name, by=agent(by), revision=before.revision, title=title, category=category, connector=connector, settings=values, owner=owner, note=note
        )
        systems.told(ctx, row, json=json, next_=systems.next_of(row))


def check(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Systems; all in request handling when left out.", show_default=False)
    ] = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Make one harmless call to each system, to prove its settings. When, and what it said, is kept with it."""
    from dsr_sdk.errors import DsrError

    rows: list[dict[str, Any]] = []
    errors: list[DsrError] = []
    with opened(ctx) as host:
        for name in names or [row.name for row in host.inventory.systems(handling=True)]:
            try:
                rows.append({"name": name, "ok": True, "answer": host.inventory.check(name, by=agent(by))})
            except DsrError as error:
                errors.append(error)
                rows.append({"name": name, "ok": False, "error": error.message, "field": error.field, "fix": error.fix})
                if not json:
                    error.source = error.source or name
                    failures.show(error)
            else:
                if not json:
                    output.say(output.clean(f"{name}: ok: {rows[-1]['answer']}"))
    if json:
        output.as_json({"systems": rows})
    if errors:
        raise typer.Exit(failures.worst(errors))


def handling(
    ctx: typer.Context,
    name: Name,
    on: Annotated[str, typer.Argument(metavar="on|off", help="Whether it takes part.", show_default=False)],
    by: By = "",
    json: Json = False,
) -> None:
    """Use a system in request handling from the next request on, or no longer. What is under way there is finished in either case."""
    if on not in ("on", "off"):
        raise typer.BadParameter("on or off", param_hint="on|off")
    with opened(ctx) as host:
        systems.told(ctx, host.inventory.set_handling(name, on == "on", by=agent(by)), json=json)


def activate(
    ctx: typer.Context,
    name: Name,
    off: Annotated[bool, typer.Option("--off", help="Switch it off, which takes it out of request handling.")] = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Switch an e-mail integration on, so that ticking it in a request sends a letter; and use it in request handling."""
    with opened(ctx) as host:
        row = host.inventory.activate(name, not off, by=agent(by))
        if not off and not row.handling:
            row = host.inventory.set_handling(name, True, by=agent(by))
        systems.told(ctx, row, json=json)


def remove(ctx: typer.Context, name: Name, yes: Yes = False, by: By = "", json: Json = False) -> None:
    """Take a system out of the inventory. Refused while requests have work there."""
    with opened(ctx) as host:
        row = host.inventory.get(name)
        consent.sure(f"Take {name} out of the inventory, with its settings?", "its settings are gone then", yes=yes, json=json, source=name)
        host.inventory.remove(name, by=agent(by), revision=row.revision)
    output.as_json({"name": name, "removed": True}) if json else output.say(f"{name} is gone")


# --- discovery, and colleagues ---------------------------------------------------------------------------------------------------------


def discover(ctx: typer.Context, by: By = "", json: Json = False) -> None:
    """Ask the configured discoverers which systems the company uses. What is new is proposed, and nothing more."""
    with opened(ctx) as host:
        found = progress.gently(host, lambda: host.inventory.discover(by=agent(by)))
    if json:
        output.as_json(
            {
                "asked": list(found.asked),
                "known": found.known,
                "failed": dict(found.failed),
                "proposed": [systems.system_json(row) for row in found],
            }
        )
    else:
        if found:
            systems.table(found)
        for name, why in found.failed.items():
            output.note(f"error: {name}: {why}")
        if not found.asked:
            output.note("no discovery is configured: see [discovery] in docs/configuration.md")
        else:
            output.note(f"{len(found)} new, {found.known} known already")
        if found:
            output.note(f"next: {ctx.obj.line('inventory accept NAME')} or {ctx.obj.line('inventory dismiss NAME')}")
    if found.failed:
        raise typer.Exit(1)


def accept(
    ctx: typer.Context,
    name: Name,
    handling: Annotated[bool, typer.Option("--handling", help="Use it in request handling at once: by hand, until it is connected.")] = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Take what was proposed into the inventory."""
    with opened(ctx) as host:
        row = host.inventory.accept_proposal(name, by=agent(by), handling=handling)
        systems.told(ctx, row, json=json, next_=systems.next_of(row))


def dismiss(ctx: typer.Context, name: Name, by: By = "", json: Json = False) -> None:
    """Dismiss what was proposed: it is not proposed again, and can still be accepted."""
    with opened(ctx) as host:
        host.inventory.dismiss(name, by=agent(by))
    output.as_json({"name": name, "dismissed": True}) if json else output.say(f"{name} is dismissed")


def ask(
    ctx: typer.Context,
    name: Name,
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="A technical colleague's address.", show_default=False)],
    connector: Annotated[str | None, typer.Option(help="What to connect it with.", show_default="that of the vendor")] = None,
    note: Annotated[str, typer.Option(help="A few words to them.", show_default=False)] = "",
    by: By = "",
    json: Json = False,
) -> None:
    """Mail a technical colleague a link that shows what is needed to connect a system, without any personal data."""
    with opened(ctx) as host:
        host.inventory.ask_for_help(name, email, by=agent(by), note=note, connector=connector)
    output.as_json({"name": name, "asked": True}) if json else output.say(f"asked about {name}")


def take(
    ctx: typer.Context,
    name: Name,
    drop: Annotated[bool, typer.Option("--drop", help="Throw it away instead.")] = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Connect a system as a colleague has proposed."""
    with opened(ctx) as host:
        if drop:
            host.inventory.drop_offered(name, by=agent(by))
            row = host.inventory.get(name)
        else:
            row = host.inventory.take_offered(name, by=agent(by))
        systems.told(ctx, row, json=json, next_="" if drop else systems.next_of(row))
