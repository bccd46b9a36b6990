"""``dsr outbox``: mails to people and colleagues, as far as somebody has to look after them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsr_sdk.cli import output, progress
from dsr_sdk.cli.session import By, Json, agent, case_number, grouped, opened

if TYPE_CHECKING:
    from dsr_sdk.host import Host
    from dsr_sdk.host.answers.outbox import Mail

__all__ = ["register"]

MailId = Annotated[int, typer.Argument(metavar="ID", help="As dsr outbox list shows it.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    grouped(
        app,
        "outbox",
        "Mails: list those that are stuck, send what is due, settle those in doubt.",
        ("list", list_),
        ("send", send),
        ("confirm", confirm),
        ("resend", resend),
    )


def list_(
    ctx: typer.Context,
    case: Annotated[str | None, typer.Argument(metavar="CASE", help="All mails of this case.", show_default="those that are stuck")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 100,
    json: Json = False,
) -> None:
    """List mails that are in doubt or failed; or every mail of a case. Shows no addresses."""
    with opened(ctx) as host:
        if case is not None:
            number = case_number(case)
            host.status(number)  # raises when there is no such case
            rows = host.outbox.of(number)[-limit:]
        else:
            rows = host.outbox.stuck(limit)
    if json:
        output.as_json({"mails": [_json(row) for row in rows]})
    elif rows:
        cells = [
            (
                *(str(row.id), row.case or "", row.kind, row.state.value, output.when(row.created_at), output.when(row.sent_at)),
                *(output.when(row.next_at) if row.state.value == "ready" else "", row.message_id or "", row.error),
            )
            for row in rows
        ]
        output.table(("id", "case", "kind", "state", "written", "sent", "next try", "message id", "error"), cells)
    else:
        output.note("no mail" if case else "no mail is stuck")


def _json(mail: Mail) -> dict[str, Any]:
    return {
        "id": mail.id,
        "case": mail.case,
        "kind": mail.kind,
        "state": mail.state.value,
        "attempt": mail.attempt,
        "created_at": mail.created_at.isoformat(),
        "sent_at": mail.sent_at.isoformat() if mail.sent_at else None,
        "next_at": mail.next_at.isoformat() if mail.next_at else None,
        "message_id": mail.message_id,
        "error": mail.error or None,
    }


def send(ctx: typer.Context, json: Json = False) -> None:
    """Send what is due. A portal with an engine, and dsr run without arguments, do it by themselves."""
    from dsr_sdk.errors import ConfigError

    with opened(ctx) as host:
        if host.config.mail is None:
            raise ConfigError("there is no mail server", field="mail", fix="add [mail] to dsr.toml: see docs/configuration.md")
        sent = progress.gently(host, host.outbox.sweep)
        stuck = len(host.outbox.stuck())
    if json:
        output.as_json({"sent": sent, "stuck": stuck})
    else:
        output.say(f"{sent} sent")
        if stuck:
            output.note(f"{stuck} stuck: {ctx.obj.line('outbox list')}")
    if stuck:
        raise typer.Exit(1)


def confirm(ctx: typer.Context, id_: MailId, by: By = "", json: Json = False) -> None:
    """Say that a mail in doubt was sent: the mail server's log says so."""
    with opened(ctx) as host:
        host.outbox.confirm_sent(id_, by=agent(by))
        _tell(host, id_, json=json)


def resend(ctx: typer.Context, id_: MailId, by: By = "", json: Json = False) -> None:
    """Send a mail again that is in doubt or failed. If it was sent after all, it arrives twice, under one Message-ID."""
    with opened(ctx) as host:
        host.outbox.resend(id_, by=agent(by))
        progress.gently(host, lambda: host.outbox.send(id_))
        _tell(host, id_, json=json)


def _tell(host: Host, id_: int, *, json: bool) -> None:
    mail = host.outbox.get(id_)
    if json:
        output.as_json(_json(mail))
    else:
        output.say(f"mail {id_}: {mail.state.value}")
