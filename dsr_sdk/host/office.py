"""The parts of request handling that a host offers, each made when it is first used: a program that only plans and runs pays for none."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from dsr_sdk.host.answers.conversation import Conversation
    from dsr_sdk.host.answers.links import Links
    from dsr_sdk.host.answers.outbox import Outbox
    from dsr_sdk.host.answers.replies import Replies
    from dsr_sdk.host.answers.templates import Templates
    from dsr_sdk.host.arrivals.intake import Intake
    from dsr_sdk.host.cases.inbox import Inbox
    from dsr_sdk.host.cases.workflow import Workflow
    from dsr_sdk.host.host import Host
    from dsr_sdk.host.inventory.inventory import Inventory
    from dsr_sdk.host.people.accounts import Accounts
    from dsr_sdk.host.process.delivery import Delivery
    from dsr_sdk.host.process.files import Files
    from dsr_sdk.host.process.processing import Processing
    from dsr_sdk.host.records.records import Records

__all__ = ["Office"]


class Office:
    """Base of `Host`: its desks. None of them works without ``[workflow]`` in ``dsr.toml``, but the inventory and the accounts."""

    @property
    def _host(self) -> Host:
        return cast("Host", self)

    @cached_property
    def workflow(self) -> Workflow:
        """The steps of cases: accept, reject, withdraw, merge, finish, close."""
        from dsr_sdk.host.cases.workflow import Workflow

        return Workflow(self._host)

    @cached_property
    def inbox(self) -> Inbox:
        """The requests page: lists, filters, search, counts."""
        from dsr_sdk.host.cases.inbox import Inbox

        return Inbox(self._host)

    @cached_property
    def processing(self) -> Processing:
        """The panel of a case's data sources: search, give free, letters, manual marks, overrides."""
        from dsr_sdk.host.process.processing import Processing

        return Processing(self._host)

    @cached_property
    def delivery(self) -> Delivery:
        """Copies: redact, generate, deliver by a link."""
        from dsr_sdk.host.process.delivery import Delivery

        return Delivery(self._host)

    @cached_property
    def files(self) -> Files:
        """Files attached to cases, sealed."""
        from dsr_sdk.host.process.files import Files

        return Files(self._host)

    @cached_property
    def links(self) -> Links:
        """Links for people without an account: single-use, expiring."""
        from dsr_sdk.host.answers.links import Links

        return Links(self._host)

    @cached_property
    def outbox(self) -> Outbox:
        """Mail to people, journalled and sent once."""
        from dsr_sdk.host.answers.outbox import Outbox

        return Outbox(self._host)

    @cached_property
    def templates(self) -> Templates:
        """Texts of replies, by type, decision and language."""
        from dsr_sdk.host.answers.templates import Templates

        return Templates(self._host)

    @cached_property
    def replies(self) -> Replies:
        """The reply to a case, and *Reply & close*."""
        from dsr_sdk.host.answers.replies import Replies

        return Replies(self._host)

    @cached_property
    def conversation(self) -> Conversation:
        """Messages to and from the person."""
        from dsr_sdk.host.answers.conversation import Conversation

        return Conversation(self._host)

    @cached_property
    def inventory(self) -> Inventory:
        """The systems the company uses, and which of them take part in request handling."""
        from dsr_sdk.host.inventory.inventory import Inventory

        return Inventory(self._host)

    @cached_property
    def intake(self) -> Intake:
        """How requests come in beside `Host.submit`: the public form, agents, files."""
        from dsr_sdk.host.arrivals.intake import Intake

        return Intake(self._host)

    @cached_property
    def accounts(self) -> Accounts:
        """Agents, their roles and sessions; API keys."""
        from dsr_sdk.host.people.accounts import Accounts

        return Accounts(self._host)

    @cached_property
    def records(self) -> Records:
        """A case's history and record, and what is kept how long."""
        from dsr_sdk.host.records.records import Records

        return Records(self._host)
