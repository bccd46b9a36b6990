"""Discovery: what plugins propose is stored once and decided by people; Okta's applications and a CSV list are two that come along."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from dsr_connector_manual import Manual

from dsr_sdk import ConfigError, ConflictError, RequestError, hookimpl
from dsr_sdk.hookspecs import Proposal
from dsr_sdk.host import Host
from dsr_sdk.host.inventory.discoverers import CsvVendors
from dsr_sdk.host.inventory.discovery import Discovered
from dsr_sdk.testing import Fault, transport
from tests.okta import OktaSandbox
from tests.toys import Toy
from tests.world import World

ALICE = "alice@example.com"
CANARY = "canary-7f3e9d2b"


class Finder:
    """Proposes what it is given."""

    def __init__(self, *proposals: Any) -> None:
        self.proposals = proposals

    @hookimpl
    def dsr_discover(self) -> Iterable[Any]:
        yield from self.proposals


class Raising:
    """Fails half-way."""

    @hookimpl
    def dsr_discover(self) -> Iterable[Proposal]:
        yield Proposal("Half a list")
        raise ValueError(CANARY)


class Refusing:
    """Fails on purpose."""

    @hookimpl
    def dsr_discover(self) -> Iterable[Proposal]:
        raise ConfigError("the list is not there", field="discovery.mine")


def opened(world: World, *plugins: object, **transports: Any) -> Host:
    """A host with these discoverers."""
    world.classes |= {"manual": Manual, "toy": Toy}
    return world.open(plugins=plugins, transports={key.replace("__", "."): value for key, value in transports.items()})


def titles(host: Host) -> list[str]:
    return [system.title for system in host.inventory.systems(proposed=True)]


# --- the hook ----------------------------------------------------------------------------------------------------------------------------


def test_what_is_found_is_proposed_and_nothing_else(world: World) -> None:
    """It stands in no list of systems and in no request before somebody decides."""
    host = opened(world, Finder(Proposal("Zendesk", vendor="zendesk", where="a list"), Proposal("Acme Tool", domain="acme.example", owner="Bob")))
    found = host.inventory.discover(by=ALICE)
    assert isinstance(found, Discovered)
    assert [(system.title, system.category, system.state, system.origin) for system in found] == [
        ("Acme Tool", "custom", "proposed", "discovery:Finder"),
        ("Zendesk", "support", "proposed", "discovery:Finder"),
    ]
    assert (found[0].domain, found[0].owner, found[1].vendor, found[1].note) == ("acme.example", "Bob", "zendesk", "a list")
    assert (found.failed, found.known, found.asked) == ({}, 0, ("Finder",))
    assert host.inventory.systems() == []
    assert host.usable_sources() == []
    event = host.history("HOST")[-1]
    assert (event["event"], event["actor"]) == ("inventory.discovered", ALICE)
    assert event["data"] == {"asked": 1, "failed": [], "found": 2, "new": 2}


def test_what_is_there_is_not_proposed_again(world: World) -> None:
    """Whether it stands in the file, was added, proposed or dismissed; a second account of a known vendor is a system of its own."""
    world.add("help", type("Zendesk", (Toy,), {"__doc__": "x", "slug": "zendesk", "title": "Zendesk"}))
    finder = Finder(
        Proposal("zendesk"),
        Proposal("Zendesk EU", vendor="zendesk"),
        Proposal("Payroll"),
        Proposal("ÀCME tool"),
        Proposal("Sendinblue", vendor="brevo"),
    )
    host = opened(world, finder)
    host.inventory.add("wages", "Payroll", category="staff", by=ALICE)
    assert [system.title for system in host.inventory.discover(by=ALICE)] == ["Sendinblue", "Zendesk EU", "ÀCME tool"]
    host.inventory.dismiss("acme-tool", by=ALICE)
    again = host.inventory.discover(by=ALICE)
    assert (list(again), again.known) == ([], 5)
    assert titles(host) == ["Sendinblue", "Zendesk EU"]
    assert [system.title for system in host.inventory.dismissed()] == ["ÀCME tool"]
    finder.proposals = (Proposal("Brevo", vendor="brevo"),)
    assert list(host.inventory.discover(by=ALICE)) == [], "another name of what was proposed"


def test_two_discoverers_find_the_same(world: World) -> None:
    """It is proposed once."""
    host = opened(world, Finder(Proposal("Slack"), Proposal("Slack")), Finder2(Proposal("SLACK", vendor="slack")))
    assert len(host.inventory.discover(by=ALICE)) == 1


class Finder2(Finder):
    """Another."""


def test_one_that_fails_stops_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is told as failed, by the class of its error only, and nothing of its half list is stored."""
    caplog.set_level(logging.DEBUG)
    host = opened(world, Raising(), Refusing(), Finder(Proposal("Slack")))
    found = host.inventory.discover(by=ALICE)
    assert titles(host) == ["Slack"]
    assert found.failed == {"Raising": "it raised ValueError", "Refusing": "discovery.mine: the list is not there"}
    assert CANARY not in caplog.text + json.dumps(host.history("HOST"), default=str)
    assert host.history("HOST")[-1]["data"]["failed"] == ["Raising", "Refusing"]


@pytest.mark.parametrize(
    "wrong",
    [
        "no proposal",
        Proposal(""),
        Proposal("a\nb"),
        Proposal("x" * 201),
        Proposal(None),  # type: ignore[arg-type]  # a plugin may do anything
        Proposal("x", category="toys"),
        Proposal("x", domain="no domain"),
        Proposal("x", vendor="../x"),
        Proposal("x", owner="a\r\nb"),
    ],
    ids=repr,
)
def test_a_wrong_proposal_is_refused(sqlite_world: World, wrong: Any) -> None:
    """With all of its discoverer's: who answers one wrongly is not to be believed about the rest."""
    host = opened(sqlite_world, Finder(Proposal("Slack"), wrong), Finder2(Proposal("Box")))
    found = host.inventory.discover(by=ALICE)
    assert titles(host) == ["Box"]
    assert "dsr_discover answered" in found.failed["Finder"]


def test_endless_proposals_end(sqlite_world: World) -> None:
    """A plugin that never stops is stopped."""

    class Endless:
        """Never stops."""

        @hookimpl
        def dsr_discover(self) -> Iterable[Proposal]:
            while True:
                yield Proposal("again")

    host = opened(sqlite_world, Endless())
    assert "more than 10000" in host.inventory.discover(by=ALICE).failed["Endless"]


def test_a_wrapper_stands_around(sqlite_world: World) -> None:
    """And is asked for nothing itself."""

    class Filter:
        """Takes one out."""

        @hookimpl(wrapper=True)
        def dsr_discover(self) -> Any:
            answers = yield
            return [[proposal for proposal in answer if proposal.title != "Slack"] for answer in answers]

    host = opened(sqlite_world, Filter(), Finder(Proposal("Slack"), Proposal("Box")))
    found = host.inventory.discover(by=ALICE)
    assert (titles(host), found.asked) == (["Box"], ("Finder",))


def test_people_decide(world: World) -> None:
    """Accepted it is listed, with handling it is looked through by hand; dismissed it is gone, and may be accepted after all."""
    host = opened(world, Finder(Proposal("Slack"), Proposal("Box"), Proposal("Jira")))
    slack, box, jira = sorted(host.inventory.discover(by=ALICE), key=lambda system: ["Slack", "Box", "Jira"].index(system.title))
    with pytest.raises(ConflictError, match="it is proposed, not accepted"):
        host.inventory.set_handling("slack", True, by=ALICE)
    assert host.inventory.accept_proposal("slack", by=ALICE).process == ""
    used = host.inventory.accept_proposal("box", by=ALICE, handling=True, revision=box.revision)
    assert (used.process, used.handling, used.settings["owner"]) == ("manual", True, ALICE)
    assert host.usable_sources() == ["box"]
    host.inventory.dismiss("jira", by=ALICE)
    with pytest.raises(ConflictError):
        host.inventory.dismiss("jira", by=ALICE)
    with pytest.raises(ConflictError, match="someone else"):
        host.inventory.accept_proposal("jira", by=ALICE, revision=jira.revision)
    assert host.inventory.accept_proposal("jira", by=ALICE).state == "accepted"
    with pytest.raises(RequestError, match="no such system"):
        host.inventory.dismiss("nobody", by=ALICE)
    assert [system.name for system in host.inventory.systems()] == ["box", "jira", "slack"]
    assert slack.state == "proposed"


# --- Okta --------------------------------------------------------------------------------------------------------------------------------

OKTA = '[discovery.okta]\ndomain = "example.okta.com"\ntoken = "env:OKTA_TOKEN"'


def okta(world: World, sandbox: OktaSandbox, monkeypatch: pytest.MonkeyPatch, *, more: str = "", token: str = "okta-secret-5c2e") -> Host:
    """A host that reads the sandbox's applications."""
    monkeypatch.setenv("OKTA_TOKEN", token)
    world.tables = "\n".join([OKTA, more])
    return opened(world, discovery__okta=transport(sandbox))


APPS = (
    ("zendesk", "Zendesk"),
    ("mailchimp_saml", "Newsletter"),
    ("template_saml_2_0", "Wiki"),
    ("bookmark", "Slack"),
    ("okta_org2org", "Partner Org"),
)


def test_okta_tells_the_active_applications(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page; Okta's own are left out; vendors are recognised by Okta's name of them, or by the label."""
    sandbox = OktaSandbox(*APPS)
    sandbox.page_size = 2
    sandbox.apps.append({"id": "x", "name": "box", "label": "Box", "status": "INACTIVE"})
    host = okta(world, sandbox, monkeypatch)
    found = host.inventory.discover(by=ALICE)
    assert [(system.title, system.vendor, system.category) for system in found] == [
        ("Newsletter", "mailchimp", "marketing"),
        ("Partner Org", None, "custom"),
        ("Slack", "slack", "staff"),
        ("Wiki", None, "custom"),
        ("Zendesk", "zendesk", "support"),
    ]
    assert {(system.origin, system.note) for system in found} == {("discovery:okta", "Okta")}
    assert sandbox.served == 4
    assert "okta-secret" not in json.dumps(host.history("HOST"), default=str)


def test_okta_takes_an_oauth_token(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a bearer."""
    sandbox = OktaSandbox(("box", "Box"))
    sandbox.authorization = "Bearer okta-secret-5c2e"
    host = okta(sqlite_world, sandbox, monkeypatch, more='scheme = "bearer"')
    assert [system.title for system in host.inventory.discover(by=ALICE)] == ["Box"]


@pytest.mark.parametrize("skew", [0.0, 5000.0])
def test_oktas_rate_limit_is_waited_for(sqlite_world: World, monkeypatch: pytest.MonkeyPatch, skew: float) -> None:
    """Until the time it names, by its own clock; then it goes on where it was."""
    sandbox = OktaSandbox(*APPS)
    sandbox.page_size, sandbox.allowed, sandbox.late, sandbox.skew = 2, 2, 2, skew
    host = okta(sqlite_world, sandbox, monkeypatch)
    began = time.monotonic()
    assert len(host.inventory.discover(by=ALICE)) == 5
    assert time.monotonic() - began > 0.9
    assert sandbox.refused == 1


def test_okta_that_asks_for_more_than_a_minute_is_asked_another_time(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits an hour at a page."""
    sandbox = OktaSandbox(*APPS)
    sandbox.allowed, sandbox.late = 0, 600
    host = okta(sqlite_world, sandbox, monkeypatch)
    found = host.inventory.discover(by=ALICE)
    assert "answered 429" in found.failed["okta"]
    assert list(found) == []


def test_okta_fails_alone(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong token, one that may not, no token, a broken answer, a page on another host: each told, none stored, no secret named."""
    sandbox = OktaSandbox(*APPS)
    host = okta(sqlite_world, sandbox, monkeypatch, token=CANARY)
    failed = dict(host.inventory.discover(by=ALICE).failed)
    assert "the token is wrong or expired" in failed["okta"]
    assert "discovery.okta.token" in failed["okta"]
    monkeypatch.setenv("OKTA_TOKEN", "okta-secret-5c2e")
    sandbox.faults = [Fault("status", status=403)]
    failed |= {"403": host.inventory.discover(by=ALICE).failed["okta"]}
    assert "okta.apps.read" in failed["403"]
    sandbox.faults = [Fault("cut", times=9)]
    failed |= {"cut": host.inventory.discover(by=ALICE).failed["okta"]}
    sandbox.faults = []
    sandbox.page_size, sandbox.next_host = 2, "https://evil.example"
    assert "another host" in host.inventory.discover(by=ALICE).failed["okta"]
    monkeypatch.delenv("OKTA_TOKEN")
    assert "OKTA_TOKEN is not set" in host.inventory.discover(by=ALICE).failed["okta"]
    assert CANARY not in str(failed)
    assert host.inventory.systems(proposed=True) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('domain = "https://example.okta.com"', "discovery.okta.domain"),
        ('domain = "example.okta.com/api"', "discovery.okta.domain"),
        ('token = "00abc-in-the-open"', "discovery.okta.token: is written in the open"),
        ('scheme = "basic"', "discovery.okta.scheme"),
    ],
)
def test_oktas_settings_are_judged(sqlite_world: World, line: str, said: str) -> None:
    """When the file is read, without repeating a value."""
    key = line.partition(" ")[0]
    sqlite_world.tables = "\n".join([*(row for row in OKTA.splitlines() if not row.startswith(key)), line])
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")) as caught:
        opened(sqlite_world)
    assert "in-the-open" not in str(caught.value)


# --- CSV ---------------------------------------------------------------------------------------------------------------------------------


def read(tmp_path: Path, text: str | bytes) -> list[Proposal]:
    """What a file of this text proposes."""
    path = tmp_path / "vendors.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(CsvVendors(path).dsr_discover())


def test_a_list_of_vendors_is_read(world: World) -> None:
    """Columns in any order, others passed over, empty lines too; categories as people write them."""
    world.tables = '[discovery.csv]\npath = "vendors.csv"'
    text = 'Cost;Vendor;Category;Website;Contact\n12;"Acme; Inc.";Data Platform;https://www.acme.example/x;Bob\n\n;Zendesk;;;\n'
    (world.directory / "vendors.csv").write_text(text)
    host = opened(world)
    found = host.inventory.discover(by=ALICE)
    assert [(row.title, row.category, row.domain, row.owner, row.vendor, row.note) for row in found] == [
        ("Acme; Inc.", "data_platform", "www.acme.example", "Bob", None, "vendors.csv, line 2"),
        ("Zendesk", "support", None, None, "zendesk", "vendors.csv, line 4"),
    ]
    assert {row.origin for row in found} == {"discovery:csv"}


@pytest.mark.parametrize("text", ["title\nAcme\n", "\ufefftitle\r\nAcme\r\n", "title\tdomain\nAcme\t\n", "name,slug\nAcme,acme", "TITLE\rAcme"])
def test_files_of_every_office_are_read(tmp_path: Path, text: str) -> None:
    """With a byte order mark, other ends of lines, tabs."""
    assert [proposal.title for proposal in read(tmp_path, text)] == ["Acme"]


def test_a_cell_may_hold_a_line_break_elsewhere(tmp_path: Path) -> None:
    """The line that is named is the file's, where the row ends."""
    (first, second) = read(tmp_path, 'title,remarks\nAcme,"one\ntwo"\nBox,\n')
    assert (first.where, second.where) == ("vendors.csv, line 3", "vendors.csv, line 4")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: has no column title"),
        ("product,price\nAcme,3\n", "line 1: has no column title"),
        ("title,name\nAcme,Acme\n", "line 1, column name: two columns mean the title"),
        (f"title,category\nAcme,crm\nBox,{CANARY}\n", "line 3, column category: there is no such category"),
        ("title,domain\nAcme,not a domain\n", "line 2, column domain: is not a domain"),
        ("title,domain\n,acme.example\n", "line 2, column title: is empty"),
        ("domain,title\nacme.example\n", "line 2, column title: is empty"),
        ("title,domain\nAcme,acme.example,more\n", "line 2: has 3 cells where 2 columns are named"),
        ('title,domain\n"Acme,acme.example\nBox,\n', "is no CSV"),
        ('title,domain\n"Acme" Inc,acme.example\n', "line 2: is no CSV"),
        (f"title\n{'x' * 300}\n", "line 2, column title: is longer than 200"),
        ("title\nA\x00B\n", "line 2, column title: holds a line break or a control character"),
        ("title\nM\u00fcller\n".encode("latin-1"), "line 2: is not UTF-8"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_column(tmp_path: Path, text: str | bytes, said: str) -> None:
    """And never by what stands there; nothing of the file is proposed."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert str(caught.value).startswith("vendors.csv")
    assert CANARY not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_list_that_is_not_there_or_huge(tmp_path: Path) -> None:
    """Told, without reading it all."""
    with pytest.raises(ConfigError, match="cannot be read"):
        list(CsvVendors(tmp_path / "none.csv").dsr_discover())
    with pytest.raises(ConfigError, match="larger than"):
        read(tmp_path, b"title\n" + b"x\n" * 3_000_000)
    with pytest.raises(ConfigError, match="more than 10000 lines"):
        read(tmp_path, "title\n" + "x\n" * 10_002)


def test_a_wrong_list_does_not_keep_the_host_from_opening(sqlite_world: World) -> None:
    """It is told when somebody discovers."""
    sqlite_world.tables = '[discovery.csv]\npath = "gone.csv"'
    host = opened(sqlite_world, Finder(Proposal("Box")))
    found = host.inventory.discover(by=ALICE)
    assert ([system.title for system in found], list(found.failed)) == (["Box"], ["csv"])
