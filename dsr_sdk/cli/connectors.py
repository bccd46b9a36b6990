"""``dsr connectors``: what is installed, what it can do, and how that is known."""

from __future__ import annotations

import json as json_
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsr_sdk.cli import output
from dsr_sdk.cli.session import Json

if TYPE_CHECKING:
    from dsr_sdk.connector import Connector
    from dsr_sdk.registry import Available, Registry

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("connectors")(connectors)


def connectors(
    ctx: typer.Context,
    slug: Annotated[str | None, typer.Argument(metavar="SLUG", help="One connector, in detail.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """List the installed connectors, or show one: what it holds, keeps, and needs."""
    from dsr_sdk.host.config import read_config
    from dsr_sdk.registry import Registry

    path = ctx.obj.config
    # What the configuration does not allow is not imported, so a file that cannot be read is an error here, too.
    registry = Registry(allow=read_config(path).allow if path.exists() else None)
    if slug is not None:
        connector = registry.load(slug)
        detail = _row(registry.available()[slug], connector) | _detail(connector)
        output.as_json(detail) if json else _show(detail)
        return
    rows = _load(registry)
    if json:
        output.as_json({"connectors": rows, "quarantined": dict(registry.quarantined)})
        return
    if rows:
        columns = ("slug", "title", "version", "category", "process", "identified by", "does", "evidence", "cassettes")
        output.table(columns, [_cells(row) for row in rows])
    else:
        output.note("no connector is installed; for example: pip install dsr-connector-stripe")
    for name, why in registry.quarantined.items():
        output.say(f"quarantined: {output.clean(name)}: {output.clean(why)}")
    if rows:
        output.note(f"next: {ctx.obj.line('connectors SLUG')}, {ctx.obj.line('sources add NAME --connector SLUG')}")


def _load(registry: Registry) -> list[dict[str, Any]]:
    """Load every connector in the registry's guard; one that breaks is quarantined there."""
    from dsr_sdk.errors import ConfigError

    rows = []
    for slug, available in registry.available().items():
        try:
            rows.append(_row(available, registry.load(slug)))
        except ConfigError:
            continue  # listed as quarantined, with the reason
    return rows


def _row(available: Available, connector: type[Connector]) -> dict[str, Any]:
    from dsr_sdk.connector import Process, Verb
    from dsr_sdk.testing._claims import shipped

    tapes = shipped(connector)
    if connector.process is not Process.AUTOMATED:
        tapes = ()  # nothing is called, so there is nothing to record

    excuses = {verb.value: connector.supports(verb) for verb in Verb}
    return {
        "slug": available.slug,
        "title": connector.title,
        "distribution": available.distribution,
        "version": available.version,
        "category": connector.category.value,
        "process": connector.process.value,
        "identified_by": [str(kind.model_fields["kind"].default) for kind in connector.identified_by],
        "verbs": {verb: {"supported": excuse is None, "excuse": excuse.reason if excuse else None} for verb, excuse in excuses.items()},
        "evidence": [layer.value for layer in connector.evidence],
        "cassettes": None if tapes is None else [asdict(tape) for tape in tapes],
    }


def _cells(row: dict[str, Any]) -> list[str]:
    verbs = [output.words(verb) for verb in ("erase", "export", "opt_out") if row["verbs"][verb]["supported"]]
    does = {"email": "erase, by letter", "manual": "all, by hand"}.get(row["process"], ", ".join(verbs))
    identities = ", ".join(output.words(kind) for kind in row["identified_by"])
    evidence = ", ".join(row["evidence"]) or "none"
    named = [row["slug"], row["title"], row["version"], output.words(row["category"]), row["process"]]
    return [*named, identities, does, evidence, _provenance(row["cassettes"])]


def _provenance(rows: list[dict[str, str]] | None) -> str:
    """Where the cassettes come from, in a line. Where the connector ships nothing about them, nothing is known of them here."""
    from dsr_sdk.testing._claims import Provenance, summary

    return "not shipped" if rows is None else summary(Provenance(**row) for row in rows)


def _detail(connector: type[Connector]) -> dict[str, Any]:
    import inspect

    from dsr_sdk.host.editing import is_secret, settings_of

    return {
        "about": inspect.cleandoc(connector.__doc__ or ""),
        "docs": connector.docs,
        "holds": [
            {
                "resource": holds.resource,
                "data": list(holds.data),
                "on_erase": holds.on_erase.kind,
                "reason": holds.reason.value if holds.reason else None,
                "text": holds.text,
                "scope": holds.scope.value,
                "exported": holds.exported,
                "excuse": holds.excuse,
                "erased_with": holds.erased_with,
            }
            for holds in connector.holds
        ],
        "limits": [{"calls": limit.calls, "per": limit.per, "on": limit.on, "method": limit.method} for limit in connector.limits],
        "exempt": dict(connector.exempt),
        "batch_size": connector.batch_size,
        "lag_seconds": connector.lag.total_seconds(),
        "settings": [
            {
                "name": name,
                "required": setting.is_required(),
                "secret": is_secret(setting),
                "default": None if setting.is_required() else _default(setting.default),
                "description": setting.description or "",
            }
            for name, setting in settings_of(connector).items()
        ],
    }


def _default(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _show(detail: dict[str, Any]) -> None:
    output.say(f"{detail['title']} ({detail['slug']} {detail['version']}, {output.words(detail['category'])}, {detail['process']})")
    output.say(output.clean(detail["about"]))
    if detail["docs"]:
        output.say(f"documented at {detail['docs']}")
    output.say(f"identified by: {', '.join(output.words(kind) for kind in detail['identified_by']) or 'nothing'}")
    output.say(f"checked against: {', '.join(detail['evidence']) or 'nothing'}")
    if told := _provenance(detail["cassettes"]):
        names = ", ".join(row["name"] for row in detail["cassettes"] or ())
        output.say(output.clean(f"cassettes{f' ({names})' if names else ''}: {told}"))
    for check, reason in detail["exempt"].items():
        output.say(f"exempt from the check {output.clean(check)}: {output.clean(reason)}")
    for verb, stands in detail["verbs"].items():
        output.say(f"{output.words(verb)}: {'yes' if stands['supported'] else 'no: ' + output.clean(stands['excuse'])}")
    if detail["holds"]:
        output.say("\nIt holds")
        output.table(("resource", "when erased", "scope", "in a copy", "data"), [_holds(row) for row in detail["holds"]])
        for row in detail["holds"]:
            if row["text"] or row["excuse"]:
                output.say(f"{row['resource']}: {output.clean(row['text'] or row['excuse'])}")
    if detail["limits"]:
        output.say("\nIts limits")
        for limit in detail["limits"]:
            where = " ".join(part for part in (limit["method"], limit["on"]) if part)
            output.say(f"{limit['calls']} calls in {limit['per']:g} s" + (f" to {where}" if where else ""))
    output.say("\nIts settings")
    rows = [
        (
            setting["name"],
            "secret" if setting["secret"] else "",
            "required" if setting["required"] else "" if setting["default"] is None else f"default: {json_.dumps(setting['default'])}",
            setting["description"],
        )
        for setting in detail["settings"]
    ]
    output.table(("setting", "kind", "needed", "meaning"), rows)


def _holds(row: dict[str, Any]) -> tuple[str, ...]:
    erased = row["on_erase"] + (f" with {row['erased_with']}" if row["erased_with"] else f" ({output.words(row['reason'])})" if row["reason"] else "")
    return (row["resource"], erased, output.words(row["scope"]), "yes" if row["exported"] else "no", ", ".join(row["data"]))
