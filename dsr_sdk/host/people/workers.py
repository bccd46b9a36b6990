"""What an account may, for the rules of the host: whom a request can be given to, and whose word counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsr_sdk.errors import RequestError
from dsr_sdk.host.people.roles import Permission, allowed

if TYPE_CHECKING:
    from dsr_sdk.host.host import Host
    from dsr_sdk.host.people.accounts import Account

__all__ = ["may", "worker", "workers"]


def may(host: Host, by: str, permission: Permission) -> bool:
    """Whether whoever acts under a name has a permission. A name that is no account is the command line's or a program's: whoever runs those
    runs the host."""
    found = next((known for known in host.accounts.list() if known.account == by.strip().casefold()), None)
    return found is None or (found.active and allowed(found.role, permission))


def workers(host: Host) -> list[Account]:
    """Everybody whom a request can be given to, by their name."""
    return sorted((account for account in host.accounts.list() if _works(account)), key=lambda account: account.name.casefold())


def worker(host: Host, account: str) -> str:
    """The account as it is stored, if a request can be given to it.

    Raises:
        RequestError: There is no such account, it is not active, or its role works no requests.
    """
    wanted = account.strip().casefold()
    found = next((known for known in host.accounts.list() if known.account == wanted), None)
    if found is None or not _works(found):
        why = "is no account" if found is None else "is not active" if not found.active else "has a role that works no requests"
        raise RequestError(f"{why}: it cannot be given requests", field="agent", fix="see: dsr accounts list")
    return found.account


def _works(account: Account) -> bool:
    return account.active and allowed(account.role, Permission.PROCESS)
