"""Links for people without an account: what is stolen, old or used opens nothing, and says nothing."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import select

from dsr_sdk.host import Host
from dsr_sdk.host.answers.links import LinkError, Purpose
from dsr_sdk.ledger.database import reading
from dsr_sdk.ledger.desk import links
from tests.world import World, deletion, ended

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def made(host: Host, case: str | None, *, purpose: Purpose = Purpose.VERIFY, uses: int = 1, days: int = 14) -> str:
    with host.links.deciding() as (connection, book):
        return host.links.make(purpose, case=case, connection=connection, book=book, data={"to": "canary"}, valid=timedelta(days=days), uses=uses)


def use(host: Host, token: str, purpose: Purpose = Purpose.VERIFY) -> None:
    with host.links.deciding() as (connection, book):
        host.links.use(token, purpose, connection, book)


def opened(world: World) -> tuple[Host, str]:
    world.tables = '[workflow]\npublic_url = "https://privacy.example.com"'
    host = world.open()
    return host, host.submit(deletion())


def sentence(host: Host, token: str, purpose: Purpose = Purpose.VERIFY) -> str:
    with pytest.raises(LinkError) as looked:
        host.links.look(token, purpose)
    with pytest.raises(LinkError) as used:
        use(host, token, purpose)
    assert str(looked.value) == str(used.value)
    assert looked.value.__context__ is None
    return str(looked.value)


def test_the_token_stands_in_the_link_only(world: World) -> None:
    """The ledger keeps a keyed hash of it and its data sealed; the audit log names the purpose and nothing else of it."""
    host, case = opened(world)
    token = made(host, case)
    assert host.links.url(Purpose.VERIFY, token) == f"https://privacy.example.com/p/verify/{token}"
    with reading(host.ledger.engine) as connection:
        row = connection.execute(select(links)).one()
    assert bytes(row.digest) == host.ledger.vault.fingerprint("link", token)
    stored = repr(tuple(row)) + repr(host.history(case))
    assert token not in stored
    assert "canary" not in stored
    link = host.links.look(token, Purpose.VERIFY)
    assert (link.case, link.data, link.uses_left) == (case, {"to": "canary"}, 1)
    assert "canary" not in repr(link)


def test_looking_uses_nothing_up(world: World) -> None:
    """Mail scanners open every link before the person does; the person can still use it, once."""
    host, case = opened(world)
    token = made(host, case)
    for _ in range(5):
        host.links.look(token, Purpose.VERIFY)
    use(host, token)
    sentence(host, token)


def test_every_failure_says_the_same(world: World) -> None:
    """Unknown, mistyped, absurdly long, of another purpose, expired, used, revoked, shredded: one sentence, which tells a thief nothing."""
    host, case = opened(world)
    used, expired, revoked, other, shredded = (made(host, case, days=14) for _ in range(5))
    use(host, used)
    said = {sentence(host, text) for text in ("", "x", "ü" * 43, "A" * 43, "x" * 10_000, used)}
    said.add(sentence(host, other, Purpose.COPY))
    with time_machine.travel(datetime.now(UTC) + timedelta(days=15), tick=False):
        said.add(sentence(host, expired))
    host.links.revoke(case, Purpose.VERIFY)
    said.add(sentence(host, revoked))
    again = made(host, case)
    host.links.look(again, Purpose.VERIFY)
    ended(host, case)
    host.shred(case)
    said.add(sentence(host, again))
    said.add(sentence(host, shredded))
    assert len(said) == 1


@time_machine.travel(NOW, tick=False)
def test_it_ends_to_the_second(sqlite_world: World) -> None:
    """A link for a day holds a second before the day is over, and no longer when it is."""
    host, case = opened(sqlite_world)
    token = made(host, case, days=1)
    with time_machine.travel(NOW + timedelta(days=1, seconds=-1), tick=False):
        host.links.look(token, Purpose.VERIFY)
    with time_machine.travel(NOW + timedelta(days=1), tick=False):
        sentence(host, token)


def test_two_use_it_at_once(world: World) -> None:
    """Of many who use a single-use link at the same moment exactly one gets through."""
    host, case = opened(world)
    token = made(host, case)
    together = threading.Barrier(6)
    through: list[bool] = []

    def press() -> None:
        together.wait(10)
        try:
            use(host, token)
        except LinkError:
            through.append(False)
        else:
            through.append(True)

    threads = [threading.Thread(target=press) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(through) == [False] * 5 + [True]
    assert [event["event"] for event in host.history(case)].count("link.used") == 1


def test_a_use_that_is_undone_does_not_count(world: World) -> None:
    """What the link was used for failed: the transaction is undone, and the person may try again."""
    host, case = opened(world)
    token = made(host, case)

    def used_and_failed() -> None:
        with host.links.deciding() as (connection, book):
            host.links.use(token, Purpose.VERIFY, connection, book)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        used_and_failed()
    use(host, token)


def test_all_links_but_one_end(sqlite_world: World) -> None:
    """The newest goes on; one that holds no more cannot be the one that does."""
    host, case = opened(sqlite_world)
    old, new = made(host, case), made(host, case)
    host.links.revoke(case, Purpose.VERIFY, but=new)
    sentence(host, old)
    host.links.look(new, Purpose.VERIFY)
    with pytest.raises(LinkError):
        host.links.revoke(case, Purpose.VERIFY, but=old)
    host.links.look(new, Purpose.VERIFY)


def test_as_often_as_it_says(sqlite_world: World) -> None:
    """A link for three uses holds three times."""
    host, case = opened(sqlite_world)
    token = made(host, case, purpose=Purpose.ANSWER, uses=3)
    for _ in range(3):
        use(host, token, Purpose.ANSWER)
    sentence(host, token, Purpose.ANSWER)


def test_wrong_codes_are_counted(world: World) -> None:
    """Ten wrong codes end the link, however many are tried at once."""
    host, case = opened(world)
    token = made(host, case, purpose=Purpose.COPY)
    link = host.links.look(token, Purpose.COPY)
    counts = []
    for _ in range(10):
        with host.links.deciding() as (connection, book):
            counts.append(host.links.missed(link, connection, book))
    assert counts == list(range(9, -1, -1))
    sentence(host, token, Purpose.COPY)
    with host.links.deciding() as (connection, book):
        assert host.links.missed(link, connection, book) == 0


def test_a_link_of_the_host(sqlite_world: World) -> None:
    """Without a case, under the host's own key; shredding cases does not touch it."""
    host, case = opened(sqlite_world)
    token = made(host, None, purpose=Purpose.HELP)
    ended(host, case)
    host.shred(case)
    assert host.links.look(token, Purpose.HELP).data == {"to": "canary"}
    use(host, token, Purpose.HELP)
    sentence(host, token, Purpose.HELP)


def test_what_was_kept_with_it_is_tampered_with(sqlite_world: World) -> None:
    """Data moved over from another case does not open."""
    host, case = opened(sqlite_world)
    other = host.submit(deletion("bob@example.com"))
    token = made(host, case)
    made(host, other)
    with host.links.deciding() as (connection, _):
        foreign = connection.execute(select(links.c.sealed).where(links.c.case == other)).scalar_one()
        connection.execute(links.update().where(links.c.case == case).values(sealed=foreign))
    sentence(host, token)
