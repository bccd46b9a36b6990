"""Every error the SDK raises, sorted by who acts next.

The class of an error says whose turn it is; the message says what to do. No message ever holds personal data, a secret, or a URL
with its values filled in: errors travel to logs, tickets and chat.
"""

from __future__ import annotations

__all__ = [
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
]


class DsrError(Exception):
    """Base of every error raised on purpose.

    Args:
        message: What is wrong, in one sentence, without personal data or secrets.
        field: The setting or input field at fault, when there is one (``sources.stripe.api_key``).
        source: The data source or file the error belongs to.
        fix: What the reader can do about it.
    """

    acts_next: str = "operator"
    """Who has to act: ``operator``, ``host``, ``requester``, ``author`` or ``nobody``."""

    exit_code: int = 1
    """What the command line exits with when this error ends a command."""

    def __init__(self, message: str, *, field: str | None = None, source: str | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.source = source
        self.fix = fix

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.source, self.field) if part)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} ({self.fix})" if self.fix else text


class RequestError(DsrError):
    """A request that cannot be taken in: names the field, never echoes its value."""

    acts_next = "requester"
    exit_code = 2


class ConflictError(RequestError):
    """Someone else was faster, or the case is past the point where this could be decided: look at it again."""

    acts_next = "operator"
    exit_code = 5


class ConfigError(DsrError):
    """The configuration is wrong: a missing setting, a wrong base URL, an unknown connector."""

    exit_code = 3


class AuthError(DsrError):
    """The vendor refused our credentials or their scopes (401, 403)."""

    exit_code = 3


class TransientError(DsrError):
    """The same call may work later: the host tries again by itself.

    Args:
        retry_after: Seconds the vendor asked us to wait, when it said.
        maybe_done: The call may have taken effect although no answer arrived (the connection broke after the request was sent).
    """

    acts_next = "host"

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        maybe_done: bool = False,
        field: str | None = None,
        source: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(message, field=field, source=source, fix=fix)
        self.retry_after = retry_after
        self.maybe_done = maybe_done


class RejectedError(DsrError):
    """The vendor refused this one item (400, 409, 422 ...); others are unharmed.

    Args:
        status: The HTTP status, when the refusal came over HTTP.
        code: The vendor's own machine-readable error code, when its body carries one.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        field: str | None = None,
        source: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(message, field=field, source=source, fix=fix)
        self.status = status
        self.code = code


class NotFoundError(RejectedError):
    """404 or 410. While erasing it means *absent*; while finding it is a configuration error unless the connector expects it."""


class MissingIdentityError(DsrError):
    """A data source needs an identity of the data subject that the request does not carry."""


class UnsupportedError(DsrError):
    """The data source does not do this, and says so."""

    acts_next = "nobody"


class ContractError(DsrError):
    """A connector breaks the contract: a bug in the connector, for its author."""

    acts_next = "author"
    exit_code = 4


class ApprovalError(DsrError):
    """A plan was not approved, was approved for other contents, or is being exceeded."""

    exit_code = 5


class LedgerError(DsrError):
    """The database cannot be used as it is: locked, read-only, full, damaged, or of another version."""

    exit_code = 6


class VaultError(LedgerError):
    """Sealed data cannot be opened: the wrong master key, a destroyed case key, or tampering."""
