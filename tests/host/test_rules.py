"""Rules that hold whatever face calls the host: portal, command line and REST API only pass on what somebody wants."""

from __future__ import annotations

import io
from typing import Any

import pytest

from dsr_sdk import ConfigError, ConflictError, RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.answers.mails import MailState
from dsr_sdk.host.people.roles import Role
from tests.smtp import Inbox
from tests.toys import Manually, Toy
from tests.world import World, deletion

ADMIN, AMY, SAM = "admin@example.com", "amy@example.com", "sam@example.com"
ADA = "ada@example.com"
PDF = b"%PDF-1.7 a file"
ROW = b'{"type": "copy", "channel": "import", "subject": {"email": "new@example.com"}}'


@pytest.fixture
def host(sqlite_world: World, inbox: Inbox) -> Host:
    """A host with a mail server, two data sources, and people who may review or not."""
    sqlite_world.mail = inbox.toml
    sqlite_world.tables = "[workflow]"
    sqlite_world.add("shop", Toy, None, ADA)
    sqlite_world.add("cabinet", Manually)
    made = sqlite_world.open()
    for account, role in ((ADMIN, Role.ADMIN), (AMY, Role.AGENT), (SAM, Role.SUPPORT)):
        made.accounts.create(account, account, role, by="tests")
    return made


def attach(host: Host, case: str, purpose: str, **more: Any) -> int:
    """A file of a case."""
    return host.files.attach(case, io.BytesIO(PDF), **{"name": "a.pdf", "purpose": purpose, "by": AMY, **more}).id


def taken(host: Host, **fields: Any) -> str:
    """A request in review."""
    return host.submit(deletion(**{"channel": "api", **fields}))


# --- taking in ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "vouched", "verified"),
    [(AMY, True, True), (AMY, False, False), (SAM, True, False), ("SAM@example.com", True, False), ("root", True, True)],
)
def test_an_import_vouches_only_for_an_account_that_may_review(host: Host, by: str, vouched: bool, verified: bool) -> None:
    """Whoever may only take requests in would verify them by way of a file. The command line's user is no account, and runs the host."""
    assert not host.intake.import_file(io.BytesIO(ROW), format="jsonl", by=by, vouched=vouched).errors
    (case,) = host.inbox.search("new@example.com")
    assert (case.verified_at is not None) is verified


def test_an_account_that_has_left_vouches_for_nobody(host: Host) -> None:
    """Its name in a script that still runs does not count."""
    host.accounts.set_active(AMY, False, by=ADMIN)
    assert not host.intake.import_file(io.BytesIO(ROW), format="jsonl", by=AMY).errors
    assert host.inbox.search("new@example.com")[0].verified_at is None


# --- mails -------------------------------------------------------------------------------------------------------------------------------


def test_a_reply_is_not_settled_as_a_mail(host: Host, inbox: Inbox) -> None:
    """It closes its case, so it is settled there; in doubt or failed, confirmed or sent again."""
    case = taken(host, type="do_not_mail")
    host.workflow.accept(case, by=AMY)
    host.workflow.finish(case, by=AMY, all_done=True)
    inbox.vanish = True
    with pytest.raises(ConflictError):
        host.replies.close(case, by=AMY)
    inbox.vanish = False
    (mail,) = [mail for mail in host.outbox.of(case) if mail.kind == "reply"]
    assert mail.state is MailState.DOUBT
    for decide in (host.outbox.confirm_sent, host.outbox.resend):
        with pytest.raises(RequestError, match="settled at its request"):
            decide(mail.id, by=AMY)
    assert host.outbox.get(mail.id).state is MailState.DOUBT
    host.replies.settle(case, sent=True, by=AMY)
    assert host.workflow.get(case).stage == "closed"


def test_a_mail_is_settled_at_its_own_request(host: Host, inbox: Inbox) -> None:
    """The number of another request's mail does nothing."""
    case, other = taken(host), taken(host, email="bob@example.com")
    inbox.vanish = True
    host.conversation.message(case, "Are you there?", by=AMY)
    (mail,) = [mail for mail in host.outbox.of(case) if mail.state is MailState.DOUBT]
    for decide in (host.outbox.confirm_sent, host.outbox.resend):
        with pytest.raises(RequestError, match="no such mail"):
            decide(mail.id, by=AMY, case=other)
    host.outbox.confirm_sent(mail.id, by=AMY, case=case)
    assert host.outbox.get(mail.id).state is MailState.SENT


# --- files -------------------------------------------------------------------------------------------------------------------------------


def test_which_files_may_be_removed(host: Host) -> None:
    """A proof of identity, what was added to a copy, and evidence of nothing yet; what somebody was told and what proves a deletion stays."""
    case = taken(host, type="copy")
    host.workflow.accept(case, by=AMY)
    for purpose, source in (("message", None), ("evidence", "cabinet")):
        stays = attach(host, case, purpose, source=source)
        with pytest.raises(RequestError, match="stays with the case"):
            host.files.remove(case, stays, by=AMY)
    for purpose in ("identity", "copy", "evidence"):
        host.files.remove(case, attach(host, case, purpose), by=AMY)
    assert sorted(info.purpose for info in host.files.of(case)) == ["evidence", "message"]


def test_a_file_is_removed_for_what_it_is_for(host: Host) -> None:
    """Whoever may remove proofs of identity does not thereby take files out of a copy, nor the other way round; and nobody the package."""
    case = taken(host, type="copy")
    host.workflow.accept(case, by=AMY)
    identity, added = attach(host, case, "identity"), attach(host, case, "copy")
    for file, purpose in ((identity, "copy"), (added, "identity")):
        with pytest.raises(RequestError, match="stays with the case"):
            host.files.remove(case, file, by=AMY, purpose=purpose)
    host.files.remove(case, identity, by=AMY, purpose="identity")
    host.processing.search(case)
    host.processing.override(case, "shop", by=AMY, reason="closed down")
    host.processing.mark_done(case, "cabinet", by=AMY, result="elsewhere")
    host.delivery.generate(case, by=AMY)
    (package,) = host.files.of(case, purpose="package")
    with pytest.raises(RequestError, match="no such file"):
        host.files.remove(case, package.id, by=AMY, purpose="package")


def test_the_source_of_a_copy_file_belongs_to_the_request(host: Host) -> None:
    """It stands in the copy under that name."""
    case = taken(host, type="copy")
    host.workflow.accept(case, by=AMY, sources=["cabinet"])
    for source in ("shop", "nothing", ""):
        with pytest.raises(RequestError, match="no data source of this request"):
            attach(host, case, "copy", source=source)
    attach(host, case, "copy", source="cabinet")
    attach(host, case, "copy")
    assert [info.source for info in host.files.of(case)] == ["cabinet", None]


def test_no_proof_is_kept_where_the_law_forbids_asking_for_one(host: Host) -> None:
    """California's opt-out is granted without: a passport has no place in it."""
    forbidden = taken(host, type="do_not_sell", regime="us_ca_ccpa", channel="privacy_center")
    with pytest.raises(RequestError, match="the law forbids"):
        attach(host, forbidden, "identity")
    assert not host.files.of(forbidden)
    assert attach(host, taken(host, email="bob@example.com"), "identity")


def test_files_go_with_what_they_were_attached_to(host: Host) -> None:
    """When that fails, or a later file is not taken, nothing of it is kept, whatever it was for."""
    case = taken(host)
    for purpose in ("message", "evidence", "identity"):
        with pytest.raises(ZeroDivisionError), host.files.attached(case, [(io.BytesIO(PDF), "a.pdf", "")], purpose=purpose, by=AMY):
            1 / 0  # noqa: B018 - something goes wrong
        both = [(io.BytesIO(PDF), "a.pdf", ""), (io.BytesIO(b""), "b.pdf", "")]
        with pytest.raises(RequestError, match="empty"), host.files.attached(case, both, purpose=purpose, by=AMY):
            pass
    assert not host.files.of(case)
    with host.files.attached(case, [(io.BytesIO(PDF), "a.pdf", "")], purpose="message", by=AMY) as ids:
        assert len(ids) == 1
    assert [info.id for info in host.files.of(case)] == ids


# --- many at once ------------------------------------------------------------------------------------------------------------------------


def test_what_continue_means_in_each_stage(host: Host) -> None:
    """What is in review is accepted, what is processed is finished, and with the rest nothing is done; each is told why."""
    review, process, reply, closed = (taken(host, email=f"p{n}@example.com", type="do_not_mail") for n in range(4))
    for case in (process, reply, closed):
        host.workflow.accept(case, by=AMY)
    for case in (reply, closed):
        host.workflow.finish(case, by=AMY, all_done=True)
    host.replies.close(closed, by=AMY)
    barred = taken(host, email=ADA)
    host.workflow.accept(barred, by=AMY, sources=["shop"])
    numbers = [review, process, reply, closed, barred]
    steps = {step.case.number: step for step in host.inbox.steps("continue", numbers)}
    assert [steps[number].does for number in numbers] == ["accept", "finish", "", "", ""]
    assert steps[barred].why.startswith("is left out")
    assert [step.does for step in host.inbox.steps("close", numbers)] == ["", "", "close", "", ""]
    assert [step.does for step in host.inbox.steps("assign", numbers)] == ["assign", "assign", "assign", "", "assign"]
    word = [number for number in numbers if (needs := steps[number].needs) and needs.word]
    results = host.inbox.bulk("continue", [(number, None) for number in numbers], by=AMY, confirmed=word)
    assert [(result.ok, result.step) for result in results] == [(True, "accept"), (True, "finish"), (False, ""), (False, ""), (False, "finish")]
    assert [host.workflow.get(number).stage for number in numbers] == ["process", "reply", "reply", "closed", "process"]
    assert "in reply already" in results[2].error


# --- addresses ---------------------------------------------------------------------------------------------------------------------------


def test_no_link_without_an_address(sqlite_world: World) -> None:
    """Where nothing says at which address people reach the portal, nobody is invited, and no account is made for it."""
    sqlite_world.tables = ""
    host = sqlite_world.open()
    host.accounts.create(ADMIN, "Admin", Role.ADMIN, by="tests")
    with pytest.raises(ConfigError, match="at which address"):
        host.accounts.add(AMY, "Amy", Role.AGENT, by=ADMIN)
    with pytest.raises(ConfigError, match="at which address"):
        host.accounts.invite_link(ADMIN, by="root")
    assert [account.account for account in host.accounts.list()] == [ADMIN]
    assert "account.invited" not in [event["event"] for event in host.history("HOST")]
