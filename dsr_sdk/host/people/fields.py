"""What the fields of an account may be: its address, its name, its role."""

from __future__ import annotations

from dsr_sdk.errors import RequestError
from dsr_sdk.host.people.roles import Role
from dsr_sdk.identity import Email

__all__ = ["address_of", "folded", "name_of", "role_of"]


def address_of(account: str) -> str:
    """An account as it is stored: its e-mail address, in small letters. Raises `RequestError` for anything else."""
    try:
        return Email(value=account).value
    except ValueError:
        raise RequestError("is not an e-mail address like name@example.com", field="account") from None


def folded(account: str) -> str:
    """An account as it is looked for; nonsense finds nobody."""
    try:
        return address_of(account)
    except RequestError:
        return ""


def name_of(name: str) -> str:
    """What somebody is called, as it is stored. Raises `RequestError` when it is empty or too long."""
    name = " ".join(name.split())
    if not 0 < len(name) <= 200 or not name.isprintable():
        raise RequestError("needs 1 to 200 characters", field="name")
    return name


def role_of(role: Role | str) -> Role:
    """A role. Raises `RequestError` when there is none of this name."""
    if role not in set(Role):
        raise RequestError("is not a role", field="role", fix=f"roles: {', '.join(Role)}")
    return Role(role)
