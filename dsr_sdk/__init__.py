"""dsr-sdk: erase a person's data, or hand it over, at every SaaS product a company uses.

A connector author needs what is named here and `dsr_sdk.http`; a host application needs `dsr_sdk.host.Host`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsr_sdk.connector import Category, Connector, ConnectorConfig, Evidence, Holds, Process, Unsupported, Verb
    from dsr_sdk.errors import (
        ApprovalError,
        AuthError,
        ConfigError,
        ConflictError,
        ContractError,
        DsrError,
        LedgerError,
        MissingIdentityError,
        NotFoundError,
        RejectedError,
        RequestError,
        TransientError,
        UnsupportedError,
        VaultError,
    )
    from dsr_sdk.hookspecs import hookimpl
    from dsr_sdk.identity import ControllerId, Email, Identity, Name, Phone, VendorId, Verification
    from dsr_sdk.request import Channel, Regime, Request, RequestType, Scope, Subject
    from dsr_sdk.result import Absent, Anonymized, Erased, Failed, Match, OptedOut, Outcome, Pending, Reason, Record, Retained

__all__ = [
    "Absent",
    "Anonymized",
    "ApprovalError",
    "AuthError",
    "Category",
    "Channel",
    "ConfigError",
    "ConflictError",
    "Connector",
    "ConnectorConfig",
    "ContractError",
    "ControllerId",
    "DsrError",
    "Email",
    "Erased",
    "Evidence",
    "Failed",
    "Holds",
    "Identity",
    "LedgerError",
    "Match",
    "MissingIdentityError",
    "Name",
    "NotFoundError",
    "OptedOut",
    "Outcome",
    "Pending",
    "Phone",
    "Process",
    "Reason",
    "Record",
    "Regime",
    "RejectedError",
    "Request",
    "RequestError",
    "RequestType",
    "Retained",
    "Scope",
    "Subject",
    "TransientError",
    "Unsupported",
    "UnsupportedError",
    "VaultError",
    "VendorId",
    "Verb",
    "Verification",
    "__version__",
    "hookimpl",
]

__version__ = "0.1.0"

# Names are looked up in their modules when they are first used: importing the package, as every `dsr` command does, loads nothing.
_HOMES = {
    "connector": ("Category", "Connector", "ConnectorConfig", "Evidence", "Holds", "Process", "Unsupported", "Verb"),
    "errors": (
        "ApprovalError",
        "AuthError",
        "ConfigError",
        "ConflictError",
        "ContractError",
        "DsrError",
        "LedgerError",
        "MissingIdentityError",
        "NotFoundError",
        "RejectedError",
        "RequestError",
        "TransientError",
        "UnsupportedError",
        "VaultError",
    ),
    "hookspecs": ("hookimpl",),
    "identity": ("ControllerId", "Email", "Identity", "Name", "Phone", "VendorId", "Verification"),
    "request": ("Channel", "Regime", "Request", "RequestType", "Scope", "Subject"),
    "result": ("Absent", "Anonymized", "Erased", "Failed", "Match", "OptedOut", "Outcome", "Pending", "Reason", "Record", "Retained"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'dsr_sdk' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"dsr_sdk.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
