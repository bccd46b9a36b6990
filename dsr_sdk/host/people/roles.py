"""Who may do what: five roles, fourteen permissions, and the one table that says which role has which.

The faces ask `allowed` before they call the library; nothing else in the code base knows roles.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

__all__ = ["MATRIX", "Permission", "Role", "allowed"]


class Role(StrEnum):
    """What an account or an API key is for."""

    ADMIN = "admin"
    """Runs the installation: everything, accounts and keys among it."""
    DATA_PRIVACY = "data_privacy"
    """Answers for data protection: works requests, and decides on data sources, texts and oblivion."""
    AGENT = "agent"
    """Works requests from review to close."""
    SUPPORT = "support"
    """Talks to people and takes their requests in, but decides nothing."""
    READ_ONLY = "read_only"
    """Looks at cases and their records, and at nobody's personal data: an auditor, a manager."""


class Permission(StrEnum):
    """Something that not everybody may do."""

    SEE_CASES = "see_cases"
    """Lists, stages, due dates, progress, history: everything about cases that is no personal data; the inventory and the templates."""
    SEE_PERSON = "see_person"
    """Open personal data: the request, the conversation, files, search by identity."""
    REVIEW = "review"
    """Verify, accept, reject, withdraw, merge, assign, take more time."""
    PROCESS = "process"
    """Search, give free, tick letters, mark manual work, retry, override; collect, redact and generate copies; finish."""
    REPLY = "reply"
    """Write the reply; reply and close."""
    MESSAGE = "message"
    """Write to the person, ask for a confirmation of the address, write notes."""
    INTAKE = "intake"
    """Take requests in by hand, by file or by the API."""
    INVENTORY = "inventory"
    """Add and change data sources and whether they take part in request handling."""
    TEMPLATES = "templates"
    """Change texts of replies."""
    ACCOUNTS = "accounts"
    """Make, change and deactivate accounts."""
    API_KEYS = "api_keys"
    """Make and revoke API keys."""
    EXPORT_RECORD = "export_record"
    """Take a case's record away as JSON or PDF; one with personal data needs `SEE_PERSON` as well."""
    SHRED = "shred"
    """Destroy a case's personal data in our own store; run the retention policy."""
    SETTINGS = "settings"
    """See how the installation is configured, its audit log as a whole, and the state of its engine."""


_P = Permission

MATRIX: Final[Mapping[Role, frozenset[Permission]]] = MappingProxyType(
    {
        Role.ADMIN: frozenset(Permission),
        Role.DATA_PRIVACY: frozenset(Permission) - {_P.ACCOUNTS, _P.API_KEYS, _P.SETTINGS},
        Role.AGENT: frozenset({_P.SEE_CASES, _P.SEE_PERSON, _P.REVIEW, _P.PROCESS, _P.REPLY, _P.MESSAGE, _P.INTAKE, _P.EXPORT_RECORD}),
        Role.SUPPORT: frozenset({_P.SEE_CASES, _P.SEE_PERSON, _P.MESSAGE, _P.INTAKE}),
        Role.READ_ONLY: frozenset({_P.SEE_CASES, _P.EXPORT_RECORD}),
    }
)
"""Which role has which permissions. A role has what stands here, and nothing else."""


def allowed(role: Role | str, permission: Permission) -> bool:
    """Whether a role has a permission. A role that is not known, say of an account made by a newer SDK, has none."""
    try:
        return permission in MATRIX[Role(role)]
    except ValueError:
        return False
