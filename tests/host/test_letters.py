"""E-mail integrations and what people do by hand: a letter leaves once, and what nobody can know is said."""

from __future__ import annotations

import pytest

from dsr_sdk import RequestError
from dsr_sdk.engine import Status
from tests.smtp import Inbox
from tests.toys import Letters, Manually, Toy
from tests.world import World, deletion


class Switched(Letters):
    """A letter only when it is switched on, like the e-mail integration that is shipped."""

    slug, title = "switched", "Switched"

    class Config(Letters.Config):
        active: bool = False


def test_a_letter_is_sent_once(world: World, inbox: Inbox) -> None:
    """However often the case is run, approved or planned again: one letter, and the activity line word for word."""
    world.mail = inbox.toml
    world.add("paper", Letters)
    host = world.open()
    case = host.submit(deletion(subject={"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace"}))
    for _ in range(3):
        host.approve(host.plan(case))
        report = host.run(case)
    assert len(inbox.letters) == 1
    assert (report.sources[0].status, report.sources[0].title) == (Status.REQUESTED, "Paper Ltd")
    assert report.status == "approved"
    lines = [event["data"]["text"] for event in host.history(case) if event["event"] == "letter.sent"]
    assert lines == ["Requested deletion from Paper Ltd"]
    content = inbox.letters[0].content.decode()
    assert "Lovelace" in content
    assert inbox.letters[0].rcpt_tos == ["privacy@paper.example"]


def test_the_vendors_answer_closes_the_case(world: World, inbox: Inbox) -> None:
    """Nothing is known to be deleted until the vendor has answered and a person has said so."""
    world.mail = inbox.toml
    world.add("paper", Letters)
    host = world.open()
    case = world.erase(host, "ada@example.com")[0]
    assert host.status(case).status == "approved"
    host.confirm(case, "paper", by="alice@example.com", note="answered by phone, ticket 5")
    assert host.status(case).status == "done"
    confirmed = next(event for event in host.history(case) if event["event"] == "source.confirmed")
    assert (confirmed["actor"], confirmed["data"]) == ("alice@example.com", {"note": True, "source": "paper"})
    with pytest.raises(RequestError, match="nothing here waits"):
        host.confirm(case, "paper", by="alice@example.com")


def test_letters_are_off_until_switched_on(world: World, inbox: Inbox) -> None:
    """A letter cannot be unsent: no letter leaves from an integration that nobody activated, and the gap is a person's."""
    world.mail = inbox.toml
    world.add("paper", Switched)
    host = world.open()
    case = world.erase(host, "ada@example.com")[0]
    assert not inbox.letters
    assert host.status(case).sources[0].status is Status.BY_HAND
    world.add("paper", Switched, active=True)
    later = world.open()
    case = world.erase(later, "bob@example.com")[0]
    assert len(inbox.letters) == 1


def test_no_mail_server_is_an_operators_error(world: World) -> None:
    """Without [mail] no letter leaves and the case says what is missing; once it is there, running again sends it."""
    world.add("paper", Letters)
    host = world.open()
    case = world.erase(host, "ada@example.com")[0]
    row = host.status(case).sources[0]
    assert row.status is Status.FAILED
    assert "fill in [mail]" in row.detail


@pytest.mark.parametrize(
    ("answer", "vanish", "status", "letters"),
    [
        ("250 OK", True, Status.IN_DOUBT, 1),
        ("550 5.7.1 no", False, Status.FAILED, 0),
        ("451 4.3.0 later", False, Status.FAILED, 0),
    ],
    ids=["vanishes", "refuses", "puts off"],
)
def test_a_mail_server_that_does_not_take_it(world: World, inbox: Inbox, answer: str, vanish: bool, status: Status, letters: int) -> None:
    """Refused is failed, put off is tried again, and an answer that never came is in doubt: it is not sent again by itself."""
    world.mail = inbox.toml
    world.add("paper", Letters)
    inbox.answer, inbox.vanish = answer, vanish
    host = world.open()
    case = world.erase(host, "ada@example.com", wait=30)[0]
    assert host.status(case).sources[0].status is status
    assert len(inbox.letters) == letters
    inbox.answer, inbox.vanish = "250 OK", False
    host.run(case)
    host.run_all()
    assert len(inbox.letters) == letters
    assert host.retry(case) == (0 if vanish else 1)
    if vanish:
        assert host.status(case).needs_someone
        assert host.retry(case, resend=True) == 1
    host.run(case)
    assert len(inbox.letters) == letters + 1
    assert host.status(case).sources[0].status is Status.REQUESTED
    identities = {letter.content.split(b"Message-ID:")[1].split(b"\r\n")[0] for letter in inbox.letters}
    assert len(identities) == 1  # the same letter, recognisable as such


def test_a_doubtful_letter_is_confirmed(world: World, inbox: Inbox) -> None:
    """A person finds out that it was sent, and later that the vendor answered; only then the case is done."""
    world.mail = inbox.toml
    world.add("paper", Letters)
    inbox.vanish = True
    host = world.open()
    case = world.erase(host, "ada@example.com")[0]
    host.confirm(case, "paper", by="alice@example.com")
    assert host.status(case).sources[0].status is Status.REQUESTED
    host.confirm(case, "paper", by="alice@example.com")
    assert host.status(case).status == "done"
    assert len(inbox.letters) == 1


def test_a_source_after_a_letter_begins_once_it_is_answered(world: World, inbox: Inbox) -> None:
    """A source waits for a vendor that is asked by e-mail: the confirmation lets it begin."""
    world.mail = inbox.toml
    world.add("paper", Letters)
    crm = world.add("crm", Toy, None, "ada@example.com", after=["paper"])
    host = world.open()
    case = world.erase(host, "ada@example.com")[0]
    assert crm.contacts
    host.confirm(case, "paper", by="alice@example.com")
    assert host.run(case).settled
    assert not crm.contacts


def test_a_filing_cabinet(world: World) -> None:
    """By hand: nobody is written to, the case waits for a person, and ends when that person says so."""
    world.add("cabinet", Manually)
    host = world.open()
    case = world.erase(host, "ada@example.com")[0]
    report = host.status(case)
    assert (report.sources[0].status, report.status) == (Status.BY_HAND, "approved")
    host.confirm(case, "cabinet", by="alice@example.com")
    report = host.status(case)
    assert report.status == "done"
    assert report.settled


def test_two_people_confirm_at_once(world: World) -> None:
    """The second one is told that nothing waits any more."""
    import threading

    world.add("cabinet", Manually)
    host = world.open()
    case = world.erase(host, "ada@example.com")[0]
    together = threading.Barrier(3)
    refused: list[str] = []

    def confirm() -> None:
        together.wait(10)
        try:
            host.confirm(case, "cabinet", by="alice@example.com")
        except RequestError as error:
            refused.append(error.message)

    threads = [threading.Thread(target=confirm) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 2
    assert [event["event"] for event in host.history(case)].count("source.confirmed") == 1
