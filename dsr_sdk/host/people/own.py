"""The own account: whoever changes it proves once more who they are, for the screen may have been left unlocked."""

from __future__ import annotations

from dsr_sdk.errors import RequestError
from dsr_sdk.host.desk import Desk
from dsr_sdk.host.people.passwords import checked
from dsr_sdk.host.people.proofs import NeedsCode, SignInError
from dsr_sdk.host.people.sessions import Session

__all__ = ["OwnAccount"]


class OwnAccount(Desk):
    """What people do with their own account: `Accounts.own`. Every proof counts, and locks, as one of a sign-in does."""

    def confirm(self, session: Session, password: str, code: str | None = None, *, client: str) -> None:
        """Prove that it is still whoever has signed in. It counts for this session and for ten minutes: see `Accounts`.

        Args:
            code: Of the second factor, where there is one.

        Raises:
            RequestError: Password or code is wrong or missing, the account has no password, or there were too many attempts.
        """
        try:
            self.host.accounts.check_password(session.account.account, password, code, client=client, session=session)
        except NeedsCode:
            raise RequestError("the code of your authenticator app is needed, too", field="code") from None
        except SignInError as error:
            raise RequestError("the current password or the code is wrong, or there were too many attempts", fix=error.fix) from None

    def set_password(self, session: Session, password: str, *, current: str, code: str | None = None, client: str) -> None:
        """Change the own password. Every session of the account ends, this one too. Raises as `confirm` does, and for a new one that is no good."""
        account = session.account.account
        checked(password, account)  # before a code is used up
        self.confirm(session, current, code, client=client)
        self.host.accounts.set_password(account, password, by=account)

    def begin_second_factor(self, session: Session, *, current: str, code: str | None = None, client: str) -> tuple[str, str]:
        """What `Accounts.enable_totp` gives, once the password was right. Raises as `confirm` does, and where there is a second factor."""
        self.confirm(session, current, code, client=client)
        return self.host.accounts.enable_totp(session.account.account)

    def confirm_second_factor(self, session: Session, code: str) -> tuple[str, ...]:
        """`Accounts.confirm_totp` in a session, which goes on; every other one of the account ends."""
        return self.host.accounts.confirm_totp(session.account.account, code, keep=session)

    def end_second_factor(self, session: Session, *, current: str, code: str | None, client: str) -> None:
        """Take the own second factor away. Raises as `confirm` does."""
        self.confirm(session, current, code, client=client)
        self.host.accounts.disable_totp(session.account.account, by=session.account.account)
