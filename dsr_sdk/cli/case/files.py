"""Files of a case: evidence, proofs, what is added to a copy by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from dsr_sdk.cli import consent, output
from dsr_sdk.cli.session import By, CaseNumber, Json, Overwrite, Yes, agent, case_number, opened

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from dsr_sdk.host import Host

__all__ = ["attached", "register"]

FileId = Annotated[int, typer.Argument(metavar="ID", help="As dsr case files shows it.", show_default=False)]


def register(group: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (("files", list_), ("file-add", add), ("file-get", get), ("file-remove", remove)):
        group.command(name)(command)


def attached(
    host: Host, number: str, paths: Sequence[Path], *, purpose: str, source: str | None = None, by: str
) -> AbstractContextManager[list[int]]:
    """`Files.attached` of files of the reader's.

    Raises:
        RequestError: One cannot be read, or is not taken.
    """
    return host.files.attached(number, _streams(paths), purpose=purpose, source=source, by=by)


def _streams(paths: Sequence[Path]) -> Iterator[tuple[BinaryIO, str, str]]:
    from mimetypes import guess_type

    from dsr_sdk.errors import RequestError

    for path in paths:
        try:
            stream = path.open("rb")
        except OSError as error:
            raise RequestError(f"cannot be read: {(error.strerror or type(error).__name__).lower()}", source=str(path)) from None
        with stream:
            yield stream, path.name, guess_type(path.name)[0] or ""


def list_(ctx: typer.Context, case: CaseNumber, json: Json = False) -> None:
    """List the files of a case. Their names are personal data."""
    number = case_number(case)
    with opened(ctx) as host:
        host.workflow.get(number)  # raises when there is no such case
        rows = host.files.of(number)
    if json:
        files = [
            {
                "id": row.id,
                "purpose": row.purpose,
                "source": row.source,
                "name": row.name,
                "media_type": row.media_type,
                "bytes": row.size,
                "sha256": row.sha256,
                "at": row.created_at.isoformat(),
                "by": row.created_by,
            }
            for row in rows
        ]
        output.as_json({"case": number, "files": files})
    elif rows:
        cells = [
            (str(row.id), row.purpose, row.source or "", row.name, row.media_type, row.size, output.when(row.created_at), row.created_by)
            for row in rows
        ]
        output.table(("id", "for", "source", "name", "type", "bytes", "at", "by"), cells)
    else:
        output.note("no file")


def add(
    ctx: typer.Context,
    case: CaseNumber,
    file: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What to seal with the case.", show_default=False)],
    purpose: Annotated[str, typer.Option("--for", help="evidence, identity, copy or message.")] = "evidence",
    source: Annotated[str | None, typer.Option(help="The data source it proves, or was collected from.", show_default=False)] = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Attach files. With --for copy they go into the person's copy."""
    number = case_number(case)
    with opened(ctx) as host:
        host.workflow.get(number)  # raises when there is no such case
        with attached(host, number, file, purpose=purpose, source=source, by=agent(by)) as ids:
            pass
    output.as_json({"case": number, "files": ids}) if json else output.say("\n".join(f"file {id_}" for id_ in ids))


def get(
    ctx: typer.Context,
    case: CaseNumber,
    id_: FileId,
    out: Annotated[Path, typer.Option(help="Where to write it.", show_default=False)],
    overwrite: Overwrite = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Write a file of a case to a file of yours. This is personal data."""
    number = case_number(case)
    with opened(ctx) as host:
        _, blocks = host.files.read(number, id_, by=agent(by))
        size = consent.keep(out, blocks, overwrite=overwrite)
    output.as_json({"case": number, "file": id_, "path": str(out), "bytes": size}) if json else output.say(f"wrote {out}: {size} bytes")


def remove(ctx: typer.Context, case: CaseNumber, id_: FileId, yes: Yes = False, by: By = "", json: Json = False) -> None:
    """Throw a file away, as long as the case is open."""
    number = case_number(case)
    with opened(ctx) as host:
        consent.sure(f"Throw file {id_} of {number} away?", "a file thrown away is gone", yes=yes, json=json, source=number)
        host.files.remove(number, id_, by=agent(by))
    output.as_json({"case": number, "removed": id_}) if json else output.say(f"file {id_} is gone")
