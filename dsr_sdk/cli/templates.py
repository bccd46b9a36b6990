"""``dsr templates``: texts of replies, also as files that version control keeps: one TOML file each."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsr_sdk.cli import output
from dsr_sdk.cli.session import By, Json, agent, grouped, opened

if TYPE_CHECKING:
    from dsr_sdk.host import Host
    from dsr_sdk.host.answers.templates import Template

__all__ = ["register"]

_TEXTS = ("name", "language", "subject", "body")
_PLACES = ("type", "decision")
_RULES = ("preferred", "automatic")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    grouped(
        app,
        "templates",
        "Texts of replies, by type of request, decision and language.",
        ("list", list_),
        ("show", show),
        ("preview", preview),
        ("export", export),
        ("import", import_),
    )


def list_(
    ctx: typer.Context,
    type_: Annotated[str | None, typer.Option("--type", help="For this type of request.", show_default=False)] = None,
    decision: Annotated[str | None, typer.Option(help="For this decision: accepted, rejected, withdrawn, duplicate.", show_default=False)] = None,
    language: Annotated[str | None, typer.Option(help="In this language.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """List the templates: your own first, then those that come along."""
    with opened(ctx) as host:
        rows = host.templates.list(type_, decision, language)
    if json:
        output.as_json({"templates": [_json(row) for row in rows]})
        return
    cells = [
        (
            *(str(row.id), row.name, output.words(row.type or "any"), row.decision or "any", row.language),
            ", ".join(word for word, so in (("preferred", row.preferred), ("automatic", row.automatic), ("comes along", row.builtin)) if so),
        )
        for row in rows
    ]
    output.table(("id", "name", "type", "decision", "language", ""), cells)


def _json(row: Template) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "type": row.type,
        "decision": row.decision,
        "language": row.language,
        "subject": row.subject,
        "body": row.body,
        "preferred": row.preferred,
        "automatic": row.automatic,
        "builtin": row.builtin,
    }


def show(
    ctx: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="As dsr templates list shows it.", show_default=False)],
    json: Json = False,
) -> None:
    """Show a template as it is written."""
    with opened(ctx) as host:
        row = host.templates.get(id_)
    if json:
        output.as_json(_json(row))
    else:
        _say(row.subject, row.body)


def _say(subject: str, body: str) -> None:
    output.say(output.clean(f"Subject: {subject}"))
    output.say()
    for line in body.splitlines():
        output.say(output.clean(line))


def preview(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="ID|FILE", help="A template, or a file of one.", show_default=False)],
    json: Json = False,
) -> None:
    """Show a template filled in with sample values."""
    with opened(ctx) as host:
        row = _read(Path(what)) if what.endswith(".toml") else host.templates.get(what)
        subject, body = host.templates.preview(row.subject, row.body, row.language)
    if json:
        output.as_json({"subject": subject, "body": body, "language": row.language})
    else:
        _say(subject, body)


# --- files -----------------------------------------------------------------------------------------------------------------------------


def export(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where; made if it is not there.", show_default=False)],
    all_: Annotated[bool, typer.Option("--all", help="Also those that come along.")] = False,
    json: Json = False,
) -> None:
    """Write your own templates into a directory, one TOML file each, always under the same names."""
    from dsr_sdk.errors import ConfigError

    with opened(ctx) as host:
        rows = [row for row in host.templates.list() if all_ or not row.builtin]
    written: list[str] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for row in rows:
            name = _file(row, written)
            (directory / name).write_text(_toml(row), encoding="utf-8")
            written.append(name)
    except OSError as error:
        raise ConfigError(f"cannot be written: {(error.strerror or type(error).__name__).lower()}", source=str(directory)) from None
    if json:
        output.as_json({"directory": str(directory), "files": written})
    else:
        for name in written:
            output.say(str(directory / name))
        if not written:
            output.note("there are no templates of your own; --all writes those that come along")


def _file(row: Template, taken: Sequence[str]) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", row.name.lower()).strip("-")
    stem = ".".join((row.type or "any", row.decision or "any", row.language, *((slug,) if slug and not row.builtin else ())))
    name, number = f"{stem}.toml", 2
    while name in taken:
        name, number = f"{stem}-{number}.toml", number + 1
    return name


def _toml(row: Template) -> str:
    import tomlkit

    document = tomlkit.document()
    for key in (*_TEXTS[:2], *_PLACES, *_RULES):
        told = getattr(row, key)
        if told not in (None, False):
            document[key] = told
    document["subject"] = row.subject
    document["body"] = tomlkit.string("\n" + row.body, multiline=True)
    return tomlkit.dumps(document)


def _read(path: Path) -> Template:
    """A template from its file. Raises `RequestError` for anything else."""
    from dsr_sdk.errors import RequestError
    from dsr_sdk.host.answers.templates import Template

    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"cannot be read: {(error.strerror or type(error).__name__).lower()}", source=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise RequestError("is not TOML", source=str(path), fix="see: dsr templates export") from None
    for key, wanted in told.items():
        kinds = {**dict.fromkeys((*_TEXTS, *_PLACES), str), **dict.fromkeys(_RULES, bool)}
        if not isinstance(wanted, kinds.get(key, ())):
            raise RequestError("is not a setting of a template" if key not in kinds else "is of another kind", field=key, source=str(path))
    missing = [key for key in _TEXTS if key not in told]
    if missing:
        raise RequestError("is missing", field=missing[0], source=str(path))
    return Template(
        None,
        *(told["name"], told.get("type"), told.get("decision"), told["language"], told["subject"], told["body"].removeprefix("\n")),
        preferred=told.get("preferred", False),
        automatic=told.get("automatic", False),
    )


def import_(
    ctx: typer.Context,
    places: Annotated[list[Path], typer.Argument(metavar="FILE|DIR...", help="Files of templates, or directories of them.", show_default=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and say what would change; save nothing.")] = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Save templates from files. One of the same name, type, decision and language is replaced; what is the same stays untouched."""
    from dsr_sdk.errors import RequestError

    rows: list[dict[str, Any]] = []
    read = [(path, _read(path)) for path in _files(places)]
    with opened(ctx) as host:
        for path, row in read:  # all of them, before any is saved
            try:
                host.templates.preview(row.subject, row.body, row.language)
            except RequestError as error:
                error.source = str(path)
                raise
        for path, row in read:
            rows.append({"file": str(path), "id": None, "what": ""} | _save(host, row, dry_run=dry_run, by=agent(by)))
    if json:
        output.as_json({"templates": rows, "dry_run": dry_run})
    else:
        for told in rows:
            output.say(f"{told['file']}: {'would be ' if dry_run and told['what'] != 'unchanged' else ''}{told['what']}")
        if not rows:
            output.note("no file ends in .toml")


def _files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from sorted(place.glob("*.toml"))
        else:
            yield place


def _save(host: Host, row: Template, *, dry_run: bool, by: str) -> dict[str, Any]:
    from dataclasses import replace

    known = host.templates.list(row.type, row.decision, row.language)
    place = (row.name, row.type, row.decision, row.language)
    same = next((old for old in known if not old.builtin and (old.name, old.type, old.decision, old.language) == place), None)
    texts = (row.subject.strip(), row.body.strip(), row.preferred, row.automatic)
    for old in known if same is None else [same]:
        if (old.name, old.type, old.decision, old.language) == place and (
            old.subject.strip(),
            old.body.strip(),
            old.preferred,
            old.automatic,
        ) == texts:
            return {"id": old.id, "what": "unchanged"}
    what = "added" if same is None else "replaced"
    if dry_run:
        return {"id": same.id if same else None, "what": what}
    meant = row if same is None else replace(row, id=same.id, revision=same.revision)
    return {"id": host.templates.save(meant, by=by).id, "what": what}
