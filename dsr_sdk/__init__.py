"""dsr-sdk: erase a person's data, or hand it over, at every SaaS product a company uses.

A connector author needs what is named here and `dsr_sdk.http`; a host application needs `dsr_sdk.host.Host`.
"""

from __future__ import annotations

from dsr_sdk.connector import Category, Connector, ConnectorConfig, Evidence, Holds, Process, Unsupported, Verb
from dsr_sdk.errors import (
    ApprovalError,
    AuthError,
    ConfigError,
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
