"""``dsr cassette``: recorded HTTP traffic of connectors, for their authors."""

from __future__ import annotations

import json as json_
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsr_sdk.cli import output
from dsr_sdk.cli.session import Json, Yes, opened

if TYPE_CHECKING:
    from dsr_sdk.connector import Connector, ConnectorConfig
    from dsr_sdk.testing import Person, Sandbox

__all__ = ["register"]

Files = Annotated[list[Path], typer.Argument(metavar="FILE", help="Cassettes.", show_default=False)]
Slug = Annotated[str, typer.Argument(metavar="SLUG", help="An installed connector.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    for command in (record, lint, show, replay, drift):
        group.command(command.__name__)(command)
    app.add_typer(group, name="cassette", help="Recorded HTTP traffic of a connector: record, lint, show, replay, drift.")


def record(
    ctx: typer.Context,
    slug: Slug,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the cassettes go.", show_default=False)],
    live: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="From the vendor, as this data source of dsr.toml is configured.", show_default=False)
    ] = None,
    person: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --live: a test person, as a JSON object. It is ERASED there.", show_default=False)
    ] = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Record the scenario (find, copy, erase, find again) from the connector's sandbox, or from the vendor itself."""
    if (live is None) != (person is None):
        raise typer.BadParameter("--live and --person go together", param_hint="--live")
    if live is None:
        someone, config, sandbox = None, None, _sandbox(slug)
    else:
        someone, config, sandbox = _person(person or Path()), _live(ctx, live, slug), None
        _consent(live, yes=yes, json=json)
    with _testing():
        from dsr_sdk.testing import cassettes

        out.mkdir(parents=True, exist_ok=True)
        connector = _connector(slug)
        if someone is None:
            paths = cassettes.record(connector, sandbox, out)
        else:
            paths = cassettes.record(connector, None, out, config=config, person=someone)
    if json:
        output.as_json({"cassettes": [str(path) for path in paths]})
        return
    for path in paths:
        output.say(str(path))
    output.note(f"next: dsr cassette replay {slug} {' '.join(str(path) for path in paths)}")


def lint(files: Files, json: Json = False) -> None:
    """Say what keeps cassettes from being committed: secrets, persons, foreign hosts, a missing provenance."""
    with _testing():
        from dsr_sdk.testing import cassettes

        problems = [problem for path in files for problem in cassettes.lint(path)]
    if json:
        output.as_json({"ok": not problems, "problems": problems})
    else:
        for problem in problems:
            output.say(output.clean(problem))
        if not problems:
            output.say(f"ok: {len(files)} cassette{'s' if len(files) > 1 else ''}")
    if problems:
        raise typer.Exit(1)


def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A cassette.", show_default=False)],
    json: Json = False,
) -> None:
    """Show a cassette: where it comes from, and its calls."""
    with _testing():
        from dsr_sdk.testing import cassettes

        tape = cassettes.load(file)
    calls = [
        {"method": row["request"]["method"], "uri": row["request"]["uri"], "status": row["response"]["status"]["code"]}
        for row in tape["interactions"]
    ]
    metadata = {key: value for key, value in tape.get("metadata", {}).items() if key not in ("settings", "subject")}
    if json:
        output.as_json({"metadata": metadata, "calls": calls})
        return
    for key, value in metadata.items():
        output.say(output.clean(f"{output.words(key)}: {value}"))
    output.say()
    output.table(("n", "method", "status", "uri"), [(number, row["method"], row["status"], row["uri"]) for number, row in enumerate(calls, 1)])


def replay(
    slug: Slug,
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Cassettes.", show_default=False)] = None,
    recordings: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Instead: what the real vendor was recorded to answer somebody.", show_default=False)
    ] = None,
    person: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --recordings: who is in the sandbox, as a JSON object with extra.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Run the scenario from cassettes alone: the connector must make the recorded calls and conclude the same.

    With --recordings, feed it what the real vendor once answered, and judge how it reads each answer.
    """
    from dsr_sdk.errors import DsrError

    if bool(files) == bool(recordings):
        raise typer.BadParameter("name cassettes, or --recordings DIR", param_hint="FILE")
    if person is not None and recordings is None:
        raise typer.BadParameter("goes with --recordings", param_hint="--person")
    if recordings is not None:
        _replay_recordings(slug, recordings, _person(person) if person else None, json=json)
        return
    connector = _connector(slug)
    rows: list[dict[str, Any]] = []
    with _testing():
        from dsr_sdk.testing import cassettes

        for path in files or ():
            try:
                rows.append({"cassette": str(path), "ok": True, "conclusion": cassettes.replay(connector, path).conclusion()})
            except (AssertionError, DsrError) as error:
                rows.append({"cassette": str(path), "ok": False, "problem": str(error)})
    if json:
        output.as_json({"cassettes": rows})
    else:
        for row in rows:
            said = json_.dumps(row["conclusion"]) if row["ok"] else row["problem"]
            output.say(output.clean(f"{row['cassette']}: {'ok' if row['ok'] else 'NOT ok'}: {said}"))
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


def drift(
    files: Files,
    openapi: Annotated[Path, typer.Option(metavar="FILE", help="The vendor's description of its API: OpenAPI 3.0 or 3.1.", show_default=False)],
    tolerate: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Another way in which answers may differ (docs/testing/openapi.md).", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Say where cassettes no longer fit the vendor's description: requests strictly, answers but for named tolerances."""
    with _testing():
        from dsr_sdk.testing.drift import drift as differences
        from dsr_sdk.testing.openapi import DEFAULT_TOLERANCES, Description, Tolerance

        unknown = [name for name in tolerate or () if name not in list(Tolerance)]
        if unknown:
            raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(Tolerance)}", param_hint="--tolerate")
        tolerances = DEFAULT_TOLERANCES | {Tolerance(name) for name in tolerate or ()}
        description = Description.load(openapi)
        rows = [(path, row) for path in files for row in differences(description, path, tolerances)]
    drifted = [row for _, row in rows if row.finding.severity == "error"]
    if json:
        output.as_json(
            {
                "ok": not drifted,
                "tolerances": sorted(tolerances),
                "drift": [
                    {
                        "cassette": str(path),
                        "n": row.number,
                        "call": row.call,
                        "where": row.finding.where,
                        "problem": row.finding.problem,
                        "severity": row.finding.severity,
                        "tolerance": row.finding.tolerance,
                    }
                    for path, row in rows
                ],
            }
        )
    else:
        for path, row in rows:
            output.say(output.clean(f"{path}: {row}"))
        if not drifted:
            tolerated = f", {len(rows)} tolerated" if rows else ""
            output.say(f"ok: {len(files)} cassette{'s' if len(files) > 1 else ''}{tolerated}")
    if drifted:
        raise typer.Exit(1)


def _replay_recordings(slug: str, directory: Path, person: Person | None, *, json: bool) -> None:
    connector = _connector(slug)
    with _testing():
        from dsr_sdk.testing.recordings import replay_recordings

        report = replay_recordings(connector, directory, person=person) if person else replay_recordings(connector, directory)
    if json:
        rows = [
            {
                "file": row.file,
                "n": row.number,
                "verb": row.verb,
                "call": row.call,
                "status": row.status,
                "conclusion": row.conclusion,
                "verdict": row.verdict,
            }
            for row in report.rows
        ]
        output.as_json({"connector": slug, "counts": report.counts, "calls": report.calls, "rows": rows})
    else:
        for line in str(report).splitlines():
            output.say(output.clean(line))
    if report.failed:
        raise typer.Exit(1)


@contextmanager
def _testing() -> Iterator[None]:
    """The testing extra is not everybody's."""
    from dsr_sdk.errors import ConfigError

    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dsr_sdk"):
            raise
        raise ConfigError(f"cassettes need {error.name}, which is not installed", fix="pip install 'dsr-sdk[testing]'") from None


def _connector(slug: str) -> type[Connector]:
    from dsr_sdk.registry import Registry

    return Registry().load(slug)


def _sandbox(slug: str) -> type[Sandbox]:
    from dsr_sdk.cli import sandboxes
    from dsr_sdk.errors import ConfigError

    point = sandboxes.points().get(slug)
    sandbox, why = sandboxes.load(slug, point) if point else (None, "has no installed sandbox")
    if sandbox is None:
        raise ConfigError(str(why), source=slug, fix="see: dsr sandbox list")
    return type(sandbox)


def _live(ctx: typer.Context, source: str, slug: str) -> ConnectorConfig:
    from dsr_sdk.errors import ConfigError

    with opened(ctx) as host:
        if source in host.broken:
            raise host.broken[source]
        configured = host.registry.sources.get(source)
        if configured is None or configured.connector.slug != slug:
            raise ConfigError(f"there is no data source of this name with the connector {slug!r}", source=source, fix="see: dsr sources list")
        config: ConnectorConfig = configured.connector.config
        return config


def _person(path: Path) -> Person:
    from dsr_sdk.errors import RequestError
    from dsr_sdk.testing import Person

    try:
        return Person(**json_.loads(path.read_bytes()))
    except OSError as error:
        raise RequestError(f"cannot be read: {(error.strerror or '').lower()}", source=str(path)) from None
    except (ValueError, TypeError):
        raise RequestError("is not a person", source=str(path), fix="a JSON object with email, first_name, last_name, phone, user_id") from None


def _consent(source: str, *, yes: bool, json: bool) -> None:
    from dsr_sdk.errors import ApprovalError

    if yes:
        return
    if json or not output.interactive():
        raise ApprovalError("the test person would be erased at the vendor, and nobody is here to confirm it", source=source, fix="say --yes")
    if not output.confirmed(f"The test person will be erased at {source}, which cannot be undone. Record?"):
        raise ApprovalError("was not recorded", source=source)
