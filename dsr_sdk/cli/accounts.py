"""``dsr accounts``: who may sign in to the portal, and the keys of its API. A password is never an argument: arguments are seen by others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsr_sdk.cli import consent, output
from dsr_sdk.cli.session import By, Json, Yes, agent, grouped, opened

if TYPE_CHECKING:
    from dsr_sdk.host import Host
    from dsr_sdk.host.people.accounts import Account, ApiKey

__all__ = ["register"]

Who = Annotated[str, typer.Argument(metavar="ACCOUNT", help="An e-mail address.", show_default=False)]
RoleName = Annotated[str, typer.Argument(metavar="ROLE", help="admin, data_privacy, agent, support or read_only.", show_default=False)]
PasswordFile = Annotated[
    str | None, typer.Option(metavar="FILE|-", help="Read the password from a file, or standard input.", show_default="asked for")
]
PASSWORD = "DSR_PASSWORD"  # noqa: S105 - the name of the variable
"""The environment variable that a password may stand in."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    grouped(
        app,
        "accounts",
        "Who may sign in to the portal, and with which role; keys of its API.",
        ("add", add),
        ("list", list_),
        ("role", role),
        ("disable", disable),
        ("enable", enable),
        ("password", password),
        ("unlock", unlock),
        ("totp", totp),
        ("key", key),
        ("keys", keys),
        ("revoke", revoke),
    )


def add(
    ctx: typer.Context,
    account: Who,
    name: Annotated[str, typer.Option(help="As colleagues know them.", show_default="the address")] = "",
    role_: Annotated[str, typer.Option("--role", help="admin, data_privacy, agent, support or read_only.")] = "agent",
    invite: Annotated[bool, typer.Option("--invite", help="Print a link with which they choose a password themselves, within three days.")] = False,
    no_password: Annotated[bool, typer.Option("--no-password", help="They sign in at the company's identity provider.")] = False,
    password_file: PasswordFile = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Make an account. The password is asked for, or read from --password-file or DSR_PASSWORD; or the person chooses it: --invite."""
    if invite and (no_password or password_file is not None):
        raise typer.BadParameter("whoever is invited chooses the password", param_hint="--invite")
    given = None if invite or no_password else _password(password_file)
    with opened(ctx) as host:
        if invite:
            made, link = host.accounts.add(account, name or account, role_, by=agent(by))
        else:
            made, link = host.accounts.create(account, name or account, role_, given, by=agent(by)), ""
    if json:
        output.as_json(_json(made) | {"invitation": link or None})
        return
    output.say(f"{made.account} is {output.words(made.role.value)}")
    if link:
        output.say(link)
        output.note("the link is good once, within three days; whoever has it chooses the password")


def _password(place: str | None) -> str:
    """From a file, standard input, the environment, or asked for twice."""
    if place == "-":
        return consent.text_of("-", "--password-file").partition("\n")[0]
    if place is not None:
        try:
            return Path(place).read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"cannot be read: {type(error).__name__}", param_hint="--password-file") from None
    if os.environ.get(PASSWORD):
        return os.environ[PASSWORD]
    if not output.interactive():
        raise typer.BadParameter(f"say --password-file FILE or -, or set {PASSWORD}", param_hint="--password-file")
    answer: str = typer.prompt("Password (at least 12 characters)", hide_input=True, confirmation_prompt=True, err=True)
    return answer


def _json(account: Account) -> dict[str, Any]:
    return {
        "account": account.account,
        "name": account.name,
        "role": account.role.value,
        "active": account.active,
        "password": account.password,
        "second_factor": account.second_factor,
        "locked_until": account.locked_until.isoformat() if account.locked_until else None,
        "created_at": account.created_at.isoformat(),
        "seen_at": account.seen_at.isoformat() if account.seen_at else None,
    }


def list_(ctx: typer.Context, json: Json = False) -> None:
    """List the accounts."""
    with opened(ctx) as host:
        rows = host.accounts.list()
    if json:
        output.as_json({"accounts": [_json(row) for row in rows]})
    elif rows:
        cells = [
            (
                *(row.account, row.name, output.words(row.role.value), "active" if row.active else "disabled"),
                *("password" if row.password else "", "yes" if row.second_factor else "", output.when(row.locked_until), output.when(row.seen_at)),
            )
            for row in rows
        ]
        output.table(("account", "name", "role", "state", "signs in with", "second factor", "locked until", "last seen"), cells)
    else:
        output.note(f"no account yet; next: {ctx.obj.line('accounts add ADDRESS --role admin')}, or follow the link of {ctx.obj.line('serve')}")


def _told(ctx: typer.Context, host: Host, account: str, *, json: bool) -> None:
    row = host.accounts.get(account)
    if json:
        output.as_json(_json(row))
    else:
        output.say(f"{row.account}: {output.words(row.role.value)}, {'active' if row.active else 'disabled'}")


def role(ctx: typer.Context, account: Who, role_: RoleName, by: By = "", json: Json = False) -> None:
    """Change an account's role. It holds from the very next page on."""
    with opened(ctx) as host:
        host.accounts.set_role(account, role_, by=agent(by))
        _told(ctx, host, account, json=json)


def disable(ctx: typer.Context, account: Who, by: By = "", json: Json = False) -> None:
    """Deactivate an account: its sessions end at once, and nothing of its history is lost."""
    with opened(ctx) as host:
        host.accounts.set_active(account, False, by=agent(by))
        _told(ctx, host, account, json=json)


def enable(ctx: typer.Context, account: Who, by: By = "", json: Json = False) -> None:
    """Activate an account again."""
    with opened(ctx) as host:
        host.accounts.set_active(account, True, by=agent(by))
        _told(ctx, host, account, json=json)


def password(
    ctx: typer.Context,
    account: Who,
    invite: Annotated[bool, typer.Option("--invite", help="Print a link with which they choose it themselves, within three days.")] = False,
    password_file: PasswordFile = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Set a password, which ends the account's sessions; or print a link with which the person does."""
    if invite and password_file is not None:
        raise typer.BadParameter("whoever is invited chooses the password", param_hint="--invite")
    given = None if invite else _password(password_file)
    with opened(ctx) as host:
        if given is not None:
            host.accounts.set_password(account, given, by=agent(by))
            _told(ctx, host, account, json=json)
            return
        link = host.accounts.invite_link(account, by=agent(by))
    output.as_json({"account": account, "invitation": link}) if json else output.say(link)


def unlock(ctx: typer.Context, account: Who, by: By = "", json: Json = False) -> None:
    """End a lock after too many wrong passwords before its time."""
    with opened(ctx) as host:
        host.accounts.unlock(account, by=agent(by))
        _told(ctx, host, account, json=json)


def totp(
    ctx: typer.Context,
    account: Who,
    code: Annotated[str | None, typer.Option(help="The first code of the app, which turns it on.", show_default="asked for")] = None,
    off: Annotated[bool, typer.Option("--off", help="Take the second factor away.")] = False,
    yes: Yes = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Turn on a second factor: prints what an authenticator app needs, and ten recovery codes once a first code was right."""
    with opened(ctx) as host:
        if off:
            consent.sure(f"Take the second factor of {account} away?", "it makes an account weaker", yes=yes, json=json)
            host.accounts.disable_totp(account, by=agent(by))
            _told(ctx, host, account, json=json)
            return
        secret = uri = ""
        if code is None:
            secret, uri = host.accounts.enable_totp(account)
            if json or not output.interactive():
                if json:
                    output.as_json({"account": account, "secret": secret, "uri": uri, "on": False})
                else:
                    output.say(f"secret: {secret}\n{uri}")
                output.note(f"next: {ctx.obj.line(f'accounts totp {account} --code CODE')}")
                return
            output.say(f"Enter this into an authenticator app: {secret}\n{uri}")
            code = typer.prompt("The code it shows now", err=True)
        codes = host.accounts.confirm_totp(account, str(code))
    if json:
        output.as_json({"account": account, "on": True, "recovery_codes": list(codes)})
    else:
        output.say("on. Recovery codes, each good once, shown now and never again:")
        for one in codes:
            output.say(f"  {one}")


# --- keys of the API -------------------------------------------------------------------------------------------------------------------


def key(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.", show_default=False)],
    role_: Annotated[str, typer.Option("--role", help="What it may do: admin, data_privacy, agent, support or read_only.", show_default=False)],
    days: Annotated[int | None, typer.Option(min=1, help="How long it holds.", show_default="until it is revoked")] = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Make a key of the API. It is printed now and never again."""
    with opened(ctx) as host:
        id_, text = host.accounts.make_key(name, role_, by=agent(by), days=days)
    if json:
        output.as_json({"id": id_, "name": name, "role": role_, "key": text})
    else:
        output.say(text)
        output.note(f"key {id_}; it is shown now and never again. End it with: {ctx.obj.line(f'accounts revoke {id_}')}")


def keys(ctx: typer.Context, json: Json = False) -> None:
    """List the keys of the API, the newest first."""
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    with opened(ctx) as host:
        rows = host.accounts.keys()
    if json:
        output.as_json({"keys": [_key(row) | {"live": row.live(now)} for row in rows]})
    elif rows:
        cells = [
            (
                *(str(row.id), row.name, output.words(row.role.value), "holds" if row.live(now) else "revoked" if row.revoked_at else "expired"),
                *(row.created_by, output.when(row.expires_at), output.when(row.used_at)),
            )
            for row in rows
        ]
        output.table(("id", "name", "role", "state", "made by", "until", "last used"), cells)
    else:
        output.note("no key")


def _key(row: ApiKey) -> dict[str, Any]:
    times = {"created_at": row.created_at, "expires_at": row.expires_at, "revoked_at": row.revoked_at, "used_at": row.used_at}
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role.value,
        "created_by": row.created_by,
        **{name: moment.isoformat() if moment else None for name, moment in times.items()},
    }


def revoke(
    ctx: typer.Context,
    id_: Annotated[int, typer.Argument(metavar="ID", help="As dsr accounts keys shows it.", show_default=False)],
    by: By = "",
    json: Json = False,
) -> None:
    """End a key of the API at once."""
    with opened(ctx) as host:
        host.accounts.revoke_key(id_, by=agent(by))
    output.as_json({"id": id_, "revoked": True}) if json else output.say(f"key {id_} opens nothing any more")
