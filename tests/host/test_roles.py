"""Roles: each has what its line says, and the page about them says the same."""

from __future__ import annotations

import pytest

from dsr_sdk.host.people.roles import MATRIX, Permission, Role, allowed
from tests.docs.pages import DOCS, text_of


def test_every_role_has_its_line() -> None:
    """The table knows every role, and an admin may do everything."""
    assert set(MATRIX) == set(Role)
    assert MATRIX[Role.ADMIN] == set(Permission)


@pytest.mark.parametrize("role", list(Role))
def test_allowed_is_the_table(role: Role) -> None:
    """`allowed` says what the table says, for a role and for its name."""
    for permission in Permission:
        assert allowed(role, permission) is (permission in MATRIX[role])
        assert allowed(role.value, permission) is allowed(role, permission)


def test_an_unknown_role_may_do_nothing() -> None:
    """A role of a newer SDK, or a misspelt one, opens no door."""
    assert not any(allowed(role, permission) for role in ("owner", "", "ADMIN") for permission in Permission)


def test_what_must_not_be_given_away() -> None:
    """Accounts and keys are an admin's alone; who reads only sees nobody's data; who talks to people decides nothing; shredding is not an
    agent's."""
    for permission in (Permission.ACCOUNTS, Permission.API_KEYS, Permission.SETTINGS):
        assert [role for role in Role if allowed(role, permission)] == [Role.ADMIN]
    assert MATRIX[Role.READ_ONLY] == {Permission.SEE_CASES, Permission.EXPORT_RECORD}
    assert not MATRIX[Role.SUPPORT] & {Permission.REVIEW, Permission.PROCESS, Permission.REPLY, Permission.SHRED, Permission.EXPORT_RECORD}
    assert not allowed(Role.AGENT, Permission.SHRED)
    assert not allowed(Role.AGENT, Permission.INVENTORY)


def test_whoever_works_sees_what_is_worked_on() -> None:
    """No role may change a case that it may not see."""
    for role, permissions in MATRIX.items():
        assert Permission.SEE_CASES in permissions, role
        if permissions & {Permission.REVIEW, Permission.PROCESS, Permission.REPLY, Permission.MESSAGE, Permission.INTAKE}:
            assert Permission.SEE_PERSON in permissions, role


def test_the_table_cannot_be_changed() -> None:
    """Nobody widens a role at run time."""
    with pytest.raises(TypeError):
        MATRIX[Role.SUPPORT] = frozenset(Permission)  # type: ignore[index]  # that is the point


def test_the_page_shows_the_table() -> None:
    """docs/accounts.md has a row for each permission, with a mark for each role that has it."""
    page = text_of(DOCS / "accounts.md")
    header = "| permission | " + " | ".join(f"`{role}`" for role in Role) + " |"
    assert header in page
    for permission in Permission:
        marks = " | ".join("yes" if allowed(role, permission) else "-" for role in Role)
        assert f"| `{permission}` | {marks} |" in page, f"| `{permission}` | {marks} |"
