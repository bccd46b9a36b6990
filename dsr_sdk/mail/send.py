"""Sending, with the one question answered that matters for a letter that cannot be unsent: may it have been sent?

Until `before_data` is called nothing of the message has left this machine; every failure up to there is a clean one. From there until the
server's last reply it is unknown, and only a reply makes it known again. Replies and exceptions of a mail server hold addresses, so none
of their text is passed on: an error says what was being done, and the number.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Literal, ParamSpec, Self, TypeVar

from pydantic import Field, SecretStr, field_validator, model_validator

from dsr_sdk._model import Model
from dsr_sdk.errors import AuthError, ConfigError, DsrError, RejectedError, TransientError
from dsr_sdk.mail.message import Envelope, envelope_of, wire

__all__ = ["MailSettings", "Mailer", "Receipt"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_GOODBYE = 5.0  # seconds given to RSET and QUIT, on whose answers nothing depends
_CREDENTIALS = frozenset({530, 534, 535, 538})  # authentication required, too weak, wrong, needs encryption
_ENHANCED = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}(?!\S)")  # RFC 3463
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class MailSettings(Model):
    """How to reach the mail server.

    Attributes:
        security: ``starttls`` (port 587), ``tls`` (port 465), or ``none``, which is for a server on this machine.
        allow_plain: Permit ``none`` for another machine: letters and the password then cross the network readable by all.
        cafile: Certificates to trust instead of the system's, for a mail server with its own authority.
        timeout: Seconds to wait for each answer.
        data_timeout: Seconds to wait for the last answer, on which everything depends: giving up on it leaves a letter that may
            have been sent and that nobody dares to repeat. RFC 5321 suggests ten minutes.
    """

    host: str = Field(pattern=r"^[A-Za-z0-9.:_-]{1,253}$")
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = Field(None, min_length=1, max_length=320)
    password: SecretStr | None = None
    allow_plain: bool = False
    cafile: Path | None = None
    timeout: float = Field(30.0, gt=0, le=600)
    data_timeout: float = Field(120.0, gt=0, le=900)

    @field_validator("username", "password")
    @classmethod
    def _sendable(cls, value: str | SecretStr | None) -> str | SecretStr | None:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value or ""
        if not text.isascii() or _CONTROL.search(text):
            raise ValueError("must be printable ASCII: nothing else can be sent to every server alike")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.username is None) is not (self.password is None):
            raise ValueError("username and password are given together or not at all")
        if self.security == "none" and not self.allow_plain and not _is_loopback(self.host):
            raise ValueError("security = 'none' is for a server on this machine; for another one set allow_plain = true, knowing what it means")
        return self


@dataclass(frozen=True, slots=True)
class Receipt:
    """The server took the message over.

    Attributes:
        message_id: The Message-ID it went out under.
        accepted: How many recipients the server accepted.
        refused: How many copies (``Cc``) it refused; they were left out. A refused ``To`` is no receipt but an error, and nothing is sent.
    """

    message_id: str
    accepted: int
    refused: int = 0


class Mailer:
    """Sends messages through one mail server, one connection each. Holds no connection; may be used by several threads.

    Raises:
        ConfigError: The certificates in ``cafile`` cannot be read.
    """

    def __init__(self, settings: MailSettings) -> None:
        self.settings = settings
        self._tls = _tls(settings.cafile) if settings.security != "none" else None

    def __repr__(self) -> str:
        return "<Mailer>"

    def send(self, message: EmailMessage, *, before_data: Callable[[], None] | None = None) -> Receipt:
        """Send one message, once. Never tries again by itself.

        Args:
            message: As `build_message` makes it. Its ``To`` and ``Cc`` are who it goes to.
            before_data: Called when the server has agreed to everything and the next byte would be the message's first. Record durably
                here that it may have been sent. What it raises passes through, and nothing is sent.

        Raises:
            TransientError: With ``maybe_done=False``: certainly not sent, may be tried again. With ``maybe_done=True``: the connection
                broke with the server's last answer outstanding; it must not be sent again without a person's decision.
            RejectedError: The server refused this message or its recipient for good. Nothing was sent. ``code`` is the SMTP code.
            AuthError: The server refused, or wants, a login.
            ConfigError: The server is not what the settings say (no STARTTLS, a certificate that does not verify, no login offered).
            ContractError: The message is not one that can be sent.
        """
        envelope = envelope_of(message)
        content = wire(message)
        smtp = _clean("connecting", self._connect, envelope.domain)
        try:
            self._introduce(smtp)
            refused = self._address(smtp, envelope)
            _expect("announcing the message", _clean("announcing the message", smtp.docmd, "DATA"), wanted=354)
            if before_data is not None:
                before_data()
            self._transmit(smtp, content)
            self._leave(smtp)
        finally:
            smtp.close()  # with the final dot unsent, closing makes the server forget the message (RFC 5321 4.1.1.4)
        return Receipt(envelope.message_id, len(envelope.to) + len(envelope.cc) - refused, refused)

    # --- the conversation, step by step ------------------------------------------------------------------------------------------

    def _connect(self, name: str) -> smtplib.SMTP:
        settings = self.settings
        if settings.security == "tls":
            return smtplib.SMTP_SSL(settings.host, settings.port, local_hostname=name, timeout=settings.timeout, context=self._tls)
        return smtplib.SMTP(settings.host, settings.port, local_hostname=name, timeout=settings.timeout)

    def _introduce(self, smtp: smtplib.SMTP) -> None:
        settings = self.settings
        _clean("greeting", smtp.ehlo_or_helo_if_needed)
        if settings.security == "starttls":
            _clean("starting TLS", smtp.starttls, context=self._tls)
            _clean("greeting", smtp.ehlo_or_helo_if_needed)
        if settings.username is not None and settings.password is not None:
            _clean("logging in", smtp.login, settings.username, settings.password.get_secret_value())

    def _address(self, smtp: smtplib.SMTP, envelope: Envelope) -> int:
        """Name sender and recipients. A copy that is refused is left out and counted; a recipient that is refused ends it."""
        refused = 0
        try:
            _expect("naming the sender", _clean("naming the sender", smtp.mail, envelope.sender))
            for address in envelope.to:
                _expect("naming the recipient", _clean("naming the recipient", smtp.rcpt, address))
            for address in envelope.cc:
                reply = _clean("naming the copy's recipient", smtp.rcpt, address)
                if reply[0] == 421:  # the server is closing: there is nobody left to send to
                    _expect("naming the copy's recipient", reply)
                if not 200 <= reply[0] <= 299:
                    refused += 1
        except DsrError:
            self._leave(smtp, reset=True)
            raise
        return refused

    def _transmit(self, smtp: smtplib.SMTP, content: bytes) -> None:
        """From the first byte to the last answer: only that answer says whether it was sent."""
        reply: tuple[int, bytes] | None = None
        with contextlib.suppress(OSError, ValueError, smtplib.SMTPException):
            smtp.send(content)
            if smtp.sock is not None:
                smtp.sock.settimeout(self.settings.data_timeout)
            reply = smtp.getreply()
        if reply is None or not (200 <= reply[0] <= 299 or 400 <= reply[0] <= 599):
            raise TransientError("the mail server did not answer after the message: it may have been sent", maybe_done=True)
        _expect("taking the message over", reply)

    def _leave(self, smtp: smtplib.SMTP, *, reset: bool = False) -> None:
        """Say goodbye. By now everything is decided, so no failure here is one."""
        with contextlib.suppress(OSError, ValueError, smtplib.SMTPException):
            if smtp.sock is not None:
                smtp.sock.settimeout(min(self.settings.timeout, _GOODBYE))
                if reset:
                    smtp.rset()
                smtp.quit()


# --- what a server's answers mean ---------------------------------------------------------------------------------------------------


def _clean(doing: str, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Make one call before the message is transmitted; its failure is ours to word, and leaves no trace of the original.

    The error is raised after the handler has ended: `from None` would hide smtplib's exception, addresses and all, in ``__context__``.
    """
    failure: DsrError
    try:
        return call(*args, **kwargs)
    except smtplib.SMTPResponseException as error:
        failure = _refusal(doing, error.smtp_code, error.smtp_error, item=False)
    except smtplib.SMTPServerDisconnected:
        failure = TransientError(f"the mail server hung up or fell silent while {doing}")
    except smtplib.SMTPNotSupportedError:
        failure = ConfigError(f"the mail server does not offer what is needed for {doing}", fix="check security, username and port")
    except smtplib.SMTPException:
        failure = ConfigError(f"the mail server offers no way of {doing} that we know", fix="check the mail settings")
    except ssl.SSLCertVerificationError:
        failure = ConfigError("the mail server's certificate does not verify", fix="check host; a private authority needs cafile")
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        failure = TransientError(f"the mail server hung up while {doing}")
    except ssl.SSLError:
        failure = ConfigError("the mail server does not speak TLS as configured", fix="port 465 wants security tls, port 587 starttls")
    except OSError:
        failure = TransientError(f"the mail server could not be reached while {doing}")
    raise failure


def _expect(doing: str, reply: tuple[int, bytes], *, wanted: int | None = None) -> None:
    code, text = reply
    if code != wanted and not (wanted is None and 200 <= code <= 299):
        raise _refusal(doing, code, text, item=True)


def _refusal(doing: str, code: int, text: bytes | str, *, item: bool) -> DsrError:
    """What a refusal means. Of the server's own words only the enhanced status code is kept: the rest may name the person."""
    enhanced = _ENHANCED.match(text if isinstance(text, bytes) else text.encode("ascii", "replace"))
    number = f"{code} {enhanced[0].decode()}" if enhanced else str(code)
    if code in _CREDENTIALS or (doing == "logging in" and 500 <= code <= 599):
        return AuthError(f"the mail server refused us while {doing} ({number})", fix="check username and password")
    if 500 <= code <= 599 and item:
        return RejectedError(f"the mail server refused {doing} ({number})", code=str(code))
    if 500 <= code <= 599:
        return ConfigError(f"the mail server refused {doing} ({number})", fix="check host, port and security")
    if 400 <= code <= 499:
        return TransientError(f"the mail server cannot serve us now, while {doing} ({number})")
    return TransientError(f"the mail server answered out of turn while {doing}")


def _tls(cafile: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(cafile) if cafile else None)
    except OSError:  # ssl.SSLError is one
        raise ConfigError("the file of trusted certificates cannot be read as certificates", field="cafile") from None
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)  # Debian's Python leaves it to the system's settings
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
