"""The reply to a case, *Reply & close*, and the conversation with the person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsr_sdk.cli import consent, output, progress
from dsr_sdk.cli.case import files, shown
from dsr_sdk.cli.case.review import Cases, many
from dsr_sdk.cli.session import By, CaseNumber, Json, Yes, agent, case_number, opened

if TYPE_CHECKING:
    from dsr_sdk.host import Host
    from dsr_sdk.host.answers.replies import Reply

__all__ = ["register"]

Text = Annotated[str, typer.Argument(metavar="TEXT|-", help="What to say; - reads it from standard input.", show_default=False)]


def register(group: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (
        ("reply", reply),
        ("close", close),
        ("settle", settle),
        ("message", message),
        ("conversation", conversation),
        ("note", note),
    ):
        group.command(name)(command)


def reply(
    ctx: typer.Context,
    case: CaseNumber,
    subject: Annotated[str | None, typer.Option(help="Another subject.", show_default=False)] = None,
    body: Annotated[str | None, typer.Option(metavar="FILE|-", help="Another text, from a file or standard input.", show_default=False)] = None,
    template: Annotated[str | None, typer.Option(metavar="ID", help="Begin again from this template.", show_default=False)] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Fill its template in again: the facts have changed.")] = False,
    none: Annotated[bool, typer.Option("--none", help="Close without a reply; needs --reason.")] = False,
    reason: Annotated[str, typer.Option(help="Why there is to be no reply; kept sealed.", show_default=False)] = "",
    revision: Annotated[
        int | None, typer.Option(help="Of the text you have read: refused when somebody has changed it since.", show_default="what stands now")
    ] = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Show the reply as it is pre-filled or was written; with options, change it. Nothing is sent. This is personal data."""
    number = case_number(case)
    if none and (subject is not None or body is not None or template is not None or fresh):
        raise typer.BadParameter("no reply has no text", param_hint="--none")
    with opened(ctx) as host:
        current = host.replies.get(number)
        read = current.revision if revision is None else revision
        if none:
            host.replies.edit(number, mode="none", reason=reason, by=agent(by), revision=read)
        elif template is not None or fresh:
            host.replies.edit(number, subject=subject, body=_body(body), template=template or current.template, by=agent(by), revision=read)
        elif subject is not None or body is not None:
            text = _body(body)
            keep_subject, keep_body = (current.subject, current.body) if current.mode == "mail" else (None, None)
            subject, text = keep_subject if subject is None else subject, keep_body if text is None else text
            host.replies.edit(number, subject=subject, body=text, by=agent(by), revision=read)
        stands = host.replies.get(number)
        if json:
            output.as_json(_json(stands))
            return
        _show(stands)
        if host.workflow.get(number).stage == "reply":
            output.note(f"next: {ctx.obj.line(f'case close {number}')}")


def _body(place: str | None) -> str | None:
    from dsr_sdk.errors import RequestError

    if place is None:
        return None
    if place == "-":
        return consent.text_of("-", "--body")
    try:
        return Path(place).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"cannot be read: {type(error).__name__}", source=place, field="--body", fix="a text file, or -") from None


def _json(reply: Reply) -> dict[str, object]:
    return {
        "case": reply.case,
        "mode": reply.mode,
        "template": reply.template,
        "language": reply.language,
        "asked_language": reply.asked,
        "subject": reply.subject,
        "body": reply.body,
        "reason": reply.reason,
        "outdated": reply.outdated,
        "revision": reply.revision,
        "edited_by": reply.edited_by,
        "edited_at": reply.edited_at.isoformat() if reply.edited_at else None,
        "mail": reply.mail,
        "state": reply.state.value if reply.state else None,
        "error": reply.error or None,
    }


def _show(reply: Reply) -> None:
    if reply.mode == "none":
        output.say(output.clean(f"no reply: {reply.reason or 'a reason is missing (--reason)'}"))
    else:
        output.say(output.clean(f"Subject: {reply.subject}"))
        output.say()
        for line in reply.body.splitlines():
            output.say(output.clean(line))
    if reply.template:
        output.note(
            f"from template {reply.template}, in {reply.language or 'an unknown language'}"
            + (f", edited by {reply.edited_by}" if reply.edited_by else "")
        )
    if reply.edited_by:
        output.note(f"revision {reply.revision} of the text")
    if reply.outdated:
        output.note("the facts have changed since it was written: --fresh fills the template in again")
    if reply.state is not None:
        output.note(f"mail: {reply.state.value}" + (f": {reply.error}" if reply.error else ""))


def close(ctx: typer.Context, case: Cases, yes: Yes = False, by: By = "", json: Json = False) -> None:
    """Reply & close: send the reply, and close the case when it has left. When it cannot be sent, the case stays in reply."""
    numbers = list(dict.fromkeys(case_number(one) for one in case))
    text: int | None = None  # of what was shown: no other is sent
    if len(numbers) == 1 and not json and not yes and output.interactive():
        with opened(ctx) as host:
            stands = host.replies.get(numbers[0])
            text = stands.revision
            _show(stands)
    question = "Send this reply and close {what}?" if len(numbers) == 1 else "Send the replies of {what}, and close them?"

    def one(host: Host, number: str, revision: int) -> None:
        progress.gently(host, lambda: host.replies.close(number, by=agent(by), revision=revision, text=text))

    many(ctx, case, "close", one, question=question, refusal="a reply cannot be unsent", yes=yes, by=agent(by), json=json)


def settle(
    ctx: typer.Context,
    case: CaseNumber,
    sent: Annotated[bool, typer.Option("--sent", help="It was sent: the mail server's log says so.")] = False,
    resend: Annotated[bool, typer.Option("--resend", help="It was not: send it again. It may then arrive twice.")] = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Say what became of a reply in doubt, and close the case."""
    number = case_number(case)
    if sent is resend:
        raise typer.BadParameter("say --sent or --resend", param_hint="--sent")
    with opened(ctx) as host:
        host.replies.settle(number, sent=sent, by=agent(by))
        shown.decided(ctx, host, number, json=json)


# --- the conversation ------------------------------------------------------------------------------------------------------------------


def message(
    ctx: typer.Context,
    case: CaseNumber,
    text: Text,
    file: Annotated[list[Path] | None, typer.Option(help="A file that the person may fetch; may be repeated.", show_default=False)] = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Write to the person: a mail with a link behind which they can answer."""
    number = case_number(case)
    with opened(ctx) as host:
        said = consent.text_of(text, "TEXT")
        with files.attached(host, number, file or (), purpose="message", by=agent(by)) as ids:
            id_ = host.conversation.message(number, said, by=agent(by), files=ids)
        state = next((row.mail_state for row in host.conversation.of(number) if row.id == id_), None)
        mail = state.value if state else None
    if json:
        output.as_json({"case": number, "message": id_, "mail": mail})
    else:
        output.say(f"message {id_}: {'sent' if mail == 'sent' else f'written, the mail is {mail}'}")
        if mail not in ("sent", None):
            output.note(f"see: {ctx.obj.line('outbox list')}")


def conversation(ctx: typer.Context, case: CaseNumber, by: By = "", json: Json = False) -> None:
    """Show the conversation with the person; its answers are read from now on. This is personal data."""
    from dsr_sdk.host.answers.correspondence import correspondence

    number = case_number(case)
    with opened(ctx) as host:
        host.workflow.get(number)  # raises when there is no such case
        unread = {row.id for row in host.conversation.of(number) if not row.read}
        rows = host.conversation.of(number, by=agent(by))
        sent = [entry.mail for entry in correspondence(host, number) if entry.mail is not None]
    if json:
        output.as_json(
            {
                "case": number,
                "messages": [
                    {
                        "id": row.id,
                        "at": row.at.isoformat(),
                        "direction": row.direction,
                        "author": row.author,
                        "body": row.body,
                        "mail": row.mail_state.value if row.mail_state else None,
                        "new": row.id in unread,
                        "files": [{"id": info.id, "name": info.name, "media_type": info.media_type, "bytes": info.size} for info in row.files],
                    }
                    for row in rows
                ],
                "mails": [
                    {"kind": one.mail.kind, "at": one.mail.created_at.isoformat(), "to": one.to, "state": one.mail.state.value} for one in sent
                ],
            }
        )
        return
    for row in rows:
        told = [row.direction] + (["new"] if row.id in unread else []) + ([f"mail {row.mail_state.value}"] if row.mail_state else [])
        output.say(output.clean(f"{output.when(row.at)}  {row.author} ({', '.join(told)})"))
        for line in row.body.splitlines():
            output.say(output.clean(f"    {line}"))
        for info in row.files:
            output.say(output.clean(f"    file {info.id}: {info.name} ({info.media_type}, {info.size} bytes)"))
    for one in sent:
        if one.mail.kind != "message":  # that one stands above
            output.say(
                output.clean(f"{output.when(one.mail.created_at)}  e-mail: {output.words(one.mail.kind)} to {one.to} ({one.mail.state.value})")
            )
    if not rows and not sent:
        output.note("nothing was said yet")


def note(ctx: typer.Context, case: CaseNumber, text: Text, by: By = "", json: Json = False) -> None:
    """Keep a note for other agents; the person never sees it."""
    number = case_number(case)
    with opened(ctx) as host:
        id_ = host.conversation.note(number, consent.text_of(text, "TEXT"), by=agent(by))
    output.as_json({"case": number, "note": id_}) if json else output.say(f"note {id_}")
