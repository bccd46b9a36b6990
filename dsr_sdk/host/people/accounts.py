"""Accounts of agents, and everything that opens the door: passwords, second factors, single sign-on, sessions, API keys, invitations."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import func, select, update

from dsr_sdk.errors import ConflictError, RequestError
from dsr_sdk.host.desk import HOST
from dsr_sdk.host.people.api_keys import ApiKey, ApiKeys
from dsr_sdk.host.people.fields import address_of, folded, name_of, role_of
from dsr_sdk.host.people.invitations import Invitations
from dsr_sdk.host.people.own import OwnAccount
from dsr_sdk.host.people.passwords import checked
from dsr_sdk.host.people.proofs import NeedsCode, Proofs, SignInError
from dsr_sdk.host.people.roles import Role
from dsr_sdk.host.people.roster import Roster, taken
from dsr_sdk.host.people.sessions import ACCOUNT_COLUMNS, Account, NeedsProof, Session, Sessions, account_of
from dsr_sdk.ledger.database import LedgerConflict
from dsr_sdk.ledger.desk import accounts

__all__ = ["Account", "Accounts", "ApiKey", "NeedsCode", "NeedsProof", "Session", "SignInError"]


class Accounts(Roster):
    """The one face of it all. Needs no ``[workflow]``. Who may call what is for the faces to ask: see `dsr_sdk.host.people.roles`.

    What opens doors to others takes, as `by`, the `Session` of whoever does it, and wants a proof of who they are from the last ten minutes
    (`NeedsProof`, `OwnAccount.confirm`). A name in its place is the command line's or a program's.
    """

    @cached_property
    def _proofs(self) -> Proofs:
        return Proofs(self.host)

    @cached_property
    def _sessions(self) -> Sessions:
        return Sessions(self.host)

    @cached_property
    def _keys(self) -> ApiKeys:
        return ApiKeys(self.host)

    @cached_property
    def _invitations(self) -> Invitations:
        return Invitations(self.host)

    @cached_property
    def own(self) -> OwnAccount:
        """What people change of their own account."""
        return OwnAccount(self.host)

    # --- accounts ------------------------------------------------------------------------------------------------------------------

    def create(self, account: str, name: str, role: Role | str, password: str | None = None, *, by: str | Session) -> Account:
        """Make an account.

        Args:
            account: The e-mail address; letters are made small.
            password: At least 12 characters; None for one that signs in elsewhere, or gets an `invite`.

        Raises:
            RequestError: A field is wrong, or the very first account is no admin.
            ConflictError: There is such an account already.
            NeedsProof: Whoever is signed in has to confirm that it is them.
        """
        account, name, role = address_of(account), name_of(name), role_of(role)
        hash_ = self._hash(password, account) if password is not None else None
        try:
            with self.deciding() as (connection, book):
                who = self._sessions.sure(connection, by)
                if role is not Role.ADMIN and not connection.execute(select(func.count()).select_from(accounts)).scalar_one():
                    raise RequestError("the first account must be an admin's", field="role", fix="make an admin first")
                self._insert(connection, account, name, role, hash_, book.now)
                book.note(HOST, "account.created", who, account=account, role=role.value)
        except LedgerConflict:  # on PostgreSQL two may make the same account at the same moment
            raise taken() from None
        return self.get(account)

    def add(self, account: str, name: str, role: Role | str, *, by: str | Session) -> tuple[Account, str]:
        """Make an account, and the link with which its person sets a password. See `create` and `invite_link`."""
        _ = self.address  # no account without its link
        made = self.create(account, name, role, by=by)
        return made, self.invite_link(made.account, by=by)

    def get(self, account: str) -> Account:
        """One account. Raises `RequestError` when there is none."""
        with self.reading() as connection:
            return account_of(self._row(connection, account))

    def list(self) -> tuple[Account, ...]:
        """Every account, by its address."""
        with self.reading() as connection:
            return tuple(account_of(row) for row in connection.execute(select(*ACCOUNT_COLUMNS).order_by(accounts.c.account)))

    def set_name(self, account: str, name: str, *, by: str) -> None:
        """Change how an agent is called."""
        name = name_of(name)
        with self.deciding() as (connection, book):
            row = self._row(connection, account)
            connection.execute(update(accounts).where(accounts.c.account == row.account).values(name=name))
            book.note(HOST, "account.renamed", by, account=row.account)

    def set_role(self, account: str, role: Role | str, *, by: str | Session) -> None:
        """Change a role. It holds from the account's very next request on, in every session.

        Raises:
            ConflictError: It is the last admin who can sign in.
            NeedsProof: Whoever is signed in has to confirm that it is them.
        """
        role = role_of(role)
        with self.deciding() as (connection, book):
            who = self._sessions.sure(connection, by)
            self._hold_admins(connection)
            row = self._row(connection, account)
            if role is not Role.ADMIN:
                self._not_the_last(connection, row)
            if row.role != role.value:
                connection.execute(update(accounts).where(accounts.c.account == row.account).values(role=role.value))
                book.note(HOST, "account.role_changed", who, account=row.account, role=role.value, was=row.role)

    def set_active(self, account: str, active: bool, *, by: str) -> None:
        """Deactivate an account, which ends its sessions and invitations at once, or activate it again. Nothing of its history is lost.

        Raises:
            ConflictError: It is the last admin who can sign in.
        """
        with self.deciding() as (connection, book):
            self._hold_admins(connection)
            row = self._row(connection, account)
            if bool(row.active) == active:
                return
            if not active:
                self._not_the_last(connection, row)
                self._sessions.end_all(connection, row.account)
            connection.execute(update(accounts).where(accounts.c.account == row.account).values(active=active, failures=0, locked_until=None))
            book.note(HOST, "account.activated" if active else "account.deactivated", by, account=row.account)

    # --- passwords -----------------------------------------------------------------------------------------------------------------

    def set_password(self, account: str, password: str, *, by: str) -> None:
        """Set a password, which ends every session of the account, its invitations and its lock. Somebody's own: `OwnAccount.set_password`."""
        account = address_of(account)
        hash_ = self._hash(password, account)
        with self.deciding() as (connection, book):
            row = self._row(connection, account)
            self._sessions.end_all(connection, row.account)
            connection.execute(update(accounts).where(accounts.c.account == account).values(password_hash=hash_, failures=0, locked_until=None))
            book.note(HOST, "account.password_set", by, account=account)

    def check_password(self, account: str, password: str, code: str | None = None, *, client: str, session: Session | None = None) -> None:
        """Make sure once more that it is really the agent who does something delicate. Counts, locks and raises as `sign_in` does.

        Args:
            session: Their session, for which it counts from now on.
        """
        row = self._proofs.prove(folded(account), password, code, client=client)
        with self.deciding() as (connection, book):
            self._proofs.proven(connection, row, book.now)
            if session is not None:
                self._sessions.proven(connection, session, book.now)

    def unlock(self, account: str, *, by: str) -> None:
        """End a lock before its time."""
        with self.deciding() as (connection, book):
            row = self._row(connection, account)
            connection.execute(update(accounts).where(accounts.c.account == row.account).values(failures=0, locked_until=None))
            book.note(HOST, "account.unlocked", by, account=row.account)

    # --- the second factor ---------------------------------------------------------------------------------------------------------

    def enable_totp(self, account: str) -> tuple[str, str]:
        """Begin with a second factor: the secret, and the ``otpauth:`` address for an authenticator app. It is asked for once `confirm_totp`
        has seen a first code.

        Raises:
            ConflictError: There is one already.
        """
        factor = self._proofs.factor.new()
        with self.deciding() as (connection, _):
            row = self._row(connection, account)
            if row.totp_step is not None:
                raise ConflictError("the account has a second factor already", field="account", fix="take it away first")
            sealed = self._proofs.factor.seal(factor)
            connection.execute(update(accounts).where(accounts.c.account == row.account, accounts.c.totp_step.is_(None)).values(sealed_totp=sealed))
        return factor.secret, self._proofs.factor.uri(row.account, factor)

    def confirm_totp(self, account: str, code: str, *, keep: Session | None = None) -> tuple[str, ...]:
        """Turn the second factor on with a first code; ten recovery codes, each good once, which are shown now and never again. Sessions of the
        account end: whoever has begun one without the factor has to come in with it.

        Args:
            keep: The session that goes on: the one it is turned on in.

        Raises:
            RequestError: The code is wrong, or nothing was begun.
        """
        with self.deciding() as (connection, book):
            row = self._row(connection, account)
            if row.sealed_totp is None or row.totp_step is not None:
                raise RequestError("there is no second factor to confirm", field="code", fix="begin again")
            factor = self._proofs.factor.open(row.sealed_totp)
            step = self._proofs.factor.step(factor, code, book.now)
            if step is None:
                raise RequestError("is not the code that the app shows now", field="code", fix="check the clock of the telephone, and try again")
            shown, kept = self._proofs.factor.recovery_codes(row.account)
            sealed = self._proofs.factor.seal(type(factor)(factor.secret, kept))
            begun = (accounts.c.account == row.account) & (accounts.c.totp_step.is_(None)) & (accounts.c.sealed_totp == row.sealed_totp)
            if connection.execute(update(accounts).where(begun).values(totp_step=step, sealed_totp=sealed)).rowcount != 1:
                raise ConflictError("the second factor was begun anew meanwhile", field="code", fix="begin again")
            self._sessions.end_all(connection, row.account, but=keep)
            book.note(HOST, "account.second_factor_on", row.account, account=row.account)
        return shown

    def disable_totp(self, account: str, *, by: str | Session) -> None:
        """Take the second factor away. In a session, another account's: of the own one it is `OwnAccount.end_second_factor`.

        Raises:
            NeedsProof: Whoever is signed in has to confirm that it is them.
        """
        with self.deciding() as (connection, book):
            row = self._row(connection, account)
            _not_own(row, by)
            who = self._sessions.sure(connection, by)
            connection.execute(update(accounts).where(accounts.c.account == row.account).values(totp_step=None, sealed_totp=None))
            if row.totp_step is not None:
                book.note(HOST, "account.second_factor_off", who, account=row.account)

    # --- signing in ----------------------------------------------------------------------------------------------------------------

    def sign_in(self, account: str, password: str, code: str | None = None, *, client: str) -> str:
        """A new session's token, for the cookie.

        Args:
            code: Of the authenticator app, or a recovery code.
            client: The network address it comes from, for the limit.

        Raises:
            NeedsCode: The password is right and the account has a second factor.
            SignInError: Anything else, in one sentence for all of it.
        """
        row = self._proofs.prove(folded(account), password, code, client=client)
        return self._begin(row, "password" if row.totp_step is None else "password and code", password)

    def sign_in_oidc(self, issuer: str, email: str, *, verified: bool, client: str, proven_at: datetime | None = None) -> str:
        """A new session's token for who has proven the e-mail address at the company's identity provider. The account must be there already.

        Args:
            issuer: Who says so; must be ``portal.oidc.issuer``.
            verified: The claim ``email_verified``.
            proven_at: The claim ``auth_time``: when they gave a proof there; None where the provider does not say.

        Raises:
            SignInError: Another issuer, an address that is not verified, or no active account of it.
        """
        self._proofs.admit(client)
        oidc = self.host.config.portal.oidc
        trusted = oidc is not None and oidc.issuer.rstrip("/") == issuer.rstrip("/") and verified is True
        row = self._proofs.known(folded(email)) if trusted else None
        if row is None:
            raise self._proofs.refused(client)
        return self._begin(row, "single sign-on", None, proven_at)

    def _begin(self, row: Any, how: str, password: str | None, proven_at: datetime | None = None) -> str:
        renewed = self._proofs.renewed(row, password) if password is not None else None
        with self.deciding() as (connection, book):
            self._proofs.proven(connection, row, book.now, renewed=renewed)
            token = self._sessions.begin(connection, row.account, row.epoch, book.now, proven_at=proven_at)
            book.note(HOST, "account.signed_in", row.account, how=how)
        return token

    def session(self, token: str, *, used: bool = True) -> Session | None:
        """Whose session a token is, with the role of this moment; None when it is nobody's any more.

        Args:
            used: Whether a person asks. What a page asks by itself, every few seconds, does not keep the session from ending idle.
        """
        return self._sessions.find(token, used=used)

    def sign_out(self, token: str) -> None:
        """End one session."""
        self._sessions.end(token)

    def sign_out_everywhere(self, account: str, *, by: str | None = None) -> None:
        """End every session of an account."""
        with self.deciding() as (connection, book):
            row = self._row(connection, account)
            self._sessions.end_all(connection, row.account)
            book.note(HOST, "account.signed_out_everywhere", by or row.account, account=row.account)

    # --- the first account, and invitations ----------------------------------------------------------------------------------------

    def first_admin_token(self) -> str:
        """A token with which the very first admin can be made, once, within 24 hours. A newer one ends the one before.

        Raises:
            ConflictError: There are accounts already.
        """
        return self._invitations.for_first()

    def first_admin(self, token: str, account: str, name: str, password: str) -> Account:
        """Make the first admin. Raises `RequestError` for a wrong field, and in one sentence for a token that does not do it."""
        account, name = address_of(account), name_of(name)
        self._invitations.look_first(token)
        hash_ = self._hash(password, account)
        with self.deciding() as (connection, book):
            self._invitations.use_first(connection, token, book.now)
            self._insert(connection, account, name, Role.ADMIN, hash_, book.now)
            book.note(HOST, "account.created", account, account=account, role=Role.ADMIN.value)
        return self.get(account)

    def invite(self, account: str, *, by: str | Session) -> str:
        """A token with which an account's password can be set, once, within three days: for new accounts and forgotten passwords. In a session,
        another account's: the own password is `OwnAccount.set_password`.

        Raises:
            NeedsProof: Whoever is signed in has to confirm that it is them.
        """
        with self.deciding() as (connection, book):
            row = self._row(connection, account)
            _not_own(row, by)
            who = self._sessions.sure(connection, by)
            if not row.active:
                raise RequestError("the account is deactivated", field="account", fix="activate it first")
            token = self._invitations.make(connection, row.account, row.epoch, book.now)
            book.note(HOST, "account.invited", who, account=row.account)
        return token

    def invite_link(self, account: str, *, by: str | Session) -> str:
        """The address of an `invite`. Raises `ConfigError` where nothing says at which address people reach the portal; then nobody is invited."""
        base = self.address
        return f"{base}/join/{self.invite(account, by=by)}"

    def invited(self, token: str) -> Account:
        """Whom an invitation is for; uses nothing up. Raises `RequestError`, in one sentence for every token that does not do it."""
        account, epoch = self._invitations.look(token)
        with self.reading() as connection:
            row = self._row(connection, account)
        if row.epoch != epoch or not row.active:
            raise self._invitations.refusal()
        return account_of(row)

    def accept_invite(self, token: str, password: str) -> None:
        """Set the password of an invitation's account, which ends its sessions and its other invitations."""
        account = self.invited(token).account
        hash_ = self._hash(password, account)
        with self.deciding() as (connection, book):
            _, epoch = self._invitations.use(connection, token, book.now)
            values = {"password_hash": hash_, "failures": 0, "locked_until": None}
            same = (accounts.c.account == account) & (accounts.c.epoch == epoch) & accounts.c.active
            if connection.execute(update(accounts).where(same).values(**values)).rowcount != 1:
                raise self._invitations.refusal()
            self._sessions.end_all(connection, account)
            book.note(HOST, "account.password_set", account, account=account)

    # --- API keys ------------------------------------------------------------------------------------------------------------------

    def make_key(self, name: str, role: Role | str, *, by: str | Session, days: int | None = None) -> tuple[int, str]:
        """A new API key: its id, and its text, which is shown now and never again. See `ApiKeys.make`.

        Raises:
            NeedsProof: Whoever is signed in has to confirm that it is them.
        """
        with self.reading() as connection:
            who = self._sessions.sure(connection, by)
        return self._keys.make(name, role, by=who, days=days)

    def keys(self) -> tuple[ApiKey, ...]:
        """Every API key, the newest first."""
        return self._keys.all()

    def revoke_key(self, id: int, *, by: str) -> None:
        """End an API key at once."""
        self._keys.revoke(id, by=by)

    def key(self, text: str) -> ApiKey | None:
        """The API key with this text, while it holds."""
        return self._keys.find(text)

    # --- within a transaction ------------------------------------------------------------------------------------------------------

    def _hash(self, password: str, account: str) -> str:
        return self._proofs.passwords.hash(checked(password, account))


def _not_own(row: Any, by: str | Session) -> None:
    """Of the own account, password and second factor are asked for first, in case the screen was left unlocked."""
    if isinstance(by, Session) and by.account.account == row.account:
        raise RequestError("this is your own account", fix="change password and second factor at your account: it asks for both")
