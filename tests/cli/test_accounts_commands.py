"""``dsr accounts``, ``dsr templates``, ``dsr outbox`` and ``dsr retention``: the desk's own household."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest
import time_machine

from dsr_sdk.host import Host
from tests.cli.conftest import Dsr
from tests.smtp import Inbox

PASSWORD = "a sentence that opens doors"


def add(dsr: Dsr, account: str, role: str) -> None:
    """Make an account; the password comes from standard input."""
    dsr("accounts", "add", account, "--role", role, "--password-file", "-", input=PASSWORD + "\n")


# --- accounts --------------------------------------------------------------------------------------------------------------------------


def test_accounts(desk: Dsr) -> None:
    """Made, listed, changed, disabled; the last administrator stays one."""
    assert "must be an admin's" in desk("accounts", "add", "al@example.com", "--no-password", code=2).err
    add(desk, "al@example.com", "admin")
    desk("accounts", "add", "ben@example.com", "--invite")
    desk("accounts", "role", "ben@example.com", "data_privacy")
    desk("accounts", "disable", "ben@example.com")
    rows = {row["account"]: row for row in desk("accounts", "list", "--json").json["accounts"]}
    assert (rows["ben@example.com"]["role"], rows["ben@example.com"]["active"]) == ("data_privacy", False)
    desk("accounts", "enable", "ben@example.com")
    desk("accounts", "unlock", "ben@example.com")
    assert "last admin" in desk("accounts", "disable", "al@example.com", code=5).err
    assert "last admin" in desk("accounts", "role", "al@example.com", "agent", code=5).err
    assert "is not a role" in desk("accounts", "role", "ben@example.com", "emperor", code=2).err


def test_a_password_is_never_an_argument(desk: Dsr, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file, standard input or the environment; without any of them it says so. None is ever shown."""
    assert "--password-file" in desk("accounts", "add", "al@example.com", "--role", "admin", code=2).err
    (desk.directory / "password").write_text(PASSWORD + "\n")
    ran = desk("accounts", "add", "al@example.com", "--role", "admin", "--password-file", "password")
    assert PASSWORD not in ran.out + ran.err
    monkeypatch.setenv("DSR_PASSWORD", "another sentence altogether")
    desk("accounts", "password", "al@example.com")
    with Host.open(desk.directory / "dsr.toml") as host:
        assert host.accounts.sign_in("al@example.com", "another sentence altogether", client="tests")
    monkeypatch.setenv("DSR_PASSWORD", "hunter2")
    assert "hunter2" not in desk("accounts", "password", "al@example.com", code=2).err


def test_an_invitation(desk: Dsr) -> None:
    """The link sets the password, once."""
    add(desk, "al@example.com", "admin")
    link = desk("accounts", "add", "ben@example.com", "--invite", "--json").json["invitation"]
    assert link.startswith("http://127.0.0.1:8765/join/")
    with Host.open(desk.directory / "dsr.toml") as host:
        host.accounts.accept_invite(link.rpartition("/")[2], PASSWORD)
        assert host.accounts.sign_in("ben@example.com", PASSWORD, client="tests")
    assert "/join/" in desk("accounts", "password", "ben@example.com", "--invite").out


def test_the_second_factor(desk: Dsr) -> None:
    """Begun, turned on with a first code, taken away after a yes."""
    add(desk, "al@example.com", "admin")
    secret = desk("accounts", "totp", "al@example.com", "--json").json["secret"]
    assert "is not the code" in desk("accounts", "totp", "al@example.com", "--code", "000000", code=2).err
    codes = desk("accounts", "totp", "al@example.com", "--code", pyotp.TOTP(secret).now(), "--json").json["recovery_codes"]
    assert len(codes) == 10
    assert desk("accounts", "list", "--json").json["accounts"][0]["second_factor"]
    assert "say --yes" in desk("accounts", "totp", "al@example.com", "--off", code=5).err
    desk("accounts", "totp", "al@example.com", "--off", "--yes")
    assert not desk("accounts", "list", "--json").json["accounts"][0]["second_factor"]


def test_keys_of_the_api(desk: Dsr) -> None:
    """Shown once, listed without their text, revoked at once."""
    made = desk("accounts", "key", "crm", "--role", "support", "--days", "30", "--json").json
    assert made["key"].startswith("dsr_")
    assert made["key"] not in desk("accounts", "keys").out
    assert [row["live"] for row in desk("accounts", "keys", "--json").json["keys"]] == [True]
    desk("accounts", "revoke", str(made["id"]))
    assert [row["live"] for row in desk("accounts", "keys", "--json").json["keys"]] == [False]
    assert "is not a role" in desk("accounts", "key", "crm", "--role", "god", code=2).err


# --- templates -------------------------------------------------------------------------------------------------------------------------


def test_templates_go_into_files_and_come_back(desk: Dsr, tmp_path: Path) -> None:
    """Exported, changed, checked, imported: added once, then unchanged, then replaced. What comes along is not copied."""
    desk("templates", "export", str(tmp_path / "all"), "--all")
    source = tmp_path / "all" / "deletion.accepted.en.toml"
    assert all(row["what"] == "unchanged" for row in desk("templates", "import", str(tmp_path / "all"), "--json").json["templates"])
    ours = tmp_path / "ours.toml"
    ours.write_text(source.read_text().replace('name = "', 'name = "Our ').replace("Your request", "Your own request"))
    assert "would be added" in desk("templates", "import", str(ours), "--dry-run").out
    assert desk("templates", "list", "--type", "deletion", "--json").json["templates"][0]["builtin"]
    assert [desk("templates", "import", str(ours), "--json").json["templates"][0]["what"] for _ in range(2)] == ["added", "unchanged"]
    ours.write_text(ours.read_text().replace("Your own request", "Your very own request"))
    assert desk("templates", "import", str(ours), "--json").json["templates"][0]["what"] == "replaced"
    (file,) = desk("templates", "export", str(tmp_path / "own"), "--json").json["files"]
    assert "very own" in (tmp_path / "own" / file).read_text()
    assert "very own" in desk("templates", "preview", str(tmp_path / "own" / file), secret=False).out


def test_a_broken_template_is_not_imported(desk: Dsr, tmp_path: Path) -> None:
    """The file, the line and the name are told; of several files none is saved."""
    good, bad = tmp_path / "a.toml", tmp_path / "b.toml"
    good.write_text('name = "A"\nlanguage = "en"\nsubject = "Hello"\nbody = "Hello"\n')
    bad.write_text('name = "B"\nlanguage = "en"\nsubject = "Hello"\nbody = "Hello {{ nobody }}"\n')
    ran = desk("templates", "import", str(tmp_path), code=2)
    assert "b.toml" in ran.err
    assert "nobody" in ran.err
    assert all(row["builtin"] for row in desk("templates", "list", "--json").json["templates"])
    bad.write_text('name = "B"\nlanguage = "en"\nsubject = "Hello"\n')
    assert "body: is missing" in desk("templates", "import", str(bad), code=2).err
    bad.write_text('name = "B"\ncolour = "red"\n')
    assert "colour: is not a setting" in desk("templates", "import", str(bad), code=2).err
    assert "is not TOML" in desk("templates", "import", str(Path(__file__)), code=2).err


def test_a_template_is_shown_and_previewed(desk: Dsr) -> None:
    """As written, and with sample values."""
    assert "{{" in desk("templates", "show", "copy.accepted.de").out
    ran = desk("templates", "preview", "copy.accepted.de", secret=False)
    assert "{{" not in ran.out
    assert "Subject: " in ran.out
    assert "no such template" in desk("templates", "show", "nothing", code=2).err


# --- outbox and retention --------------------------------------------------------------------------------------------------------------


def test_a_mail_in_doubt(desk: Dsr, inbox: Inbox) -> None:
    """It is listed without its address, never sent again by itself, and settled either way."""
    number = desk("case", "new", "--type", "deletion", "--email", "ada@example.com", "--country", "DE").out.strip()
    inbox.vanish = True
    desk("case", "message", number, "hello")
    (mail,) = desk("outbox", "list", "--json").json["mails"]
    assert mail["state"] == "doubt"
    inbox.vanish = False
    desk("outbox", "send", code=1)
    assert len(inbox.letters) == 1
    assert desk("outbox", "resend", str(mail["id"]), "--json").json["state"] == "sent"
    assert len(inbox.letters) == 2
    desk("outbox", "confirm", str(mail["id"]), code=5)
    assert "no mail is stuck" in desk("outbox", "list").err


def test_a_reply_in_doubt_is_settled(desk: Dsr, inbox: Inbox) -> None:
    """A person has looked into the log; the case closes, and nothing is sent twice."""
    number = desk("case", "new", "--type", "deletion", "--email", "ada@example.com", "--country", "DE").out.strip()
    desk("case", "reject", number, "--reason", "other", "--yes")
    inbox.vanish = True
    desk("case", "close", number, "--yes", code=5)
    assert len(inbox.letters) == 1
    inbox.vanish = False
    desk("case", "close", number, "--yes", code=5)
    desk("case", "settle", number, "--sent")
    assert len(inbox.letters) == 1
    assert desk("case", "list", "--closed", "--json").json["cases"][0]["case"] == number


def test_without_a_mail_server(dsr: Dsr) -> None:
    """It says what is missing."""
    dsr("init", "--workflow")
    assert "add [mail]" in dsr("outbox", "send", code=3).err


def test_run_without_arguments_sends_what_is_due(desk: Dsr, inbox: Inbox) -> None:
    """A timer's dsr run does what the portal's engine does."""
    number = desk("case", "new", "--type", "deletion", "--email", "ada@example.com", "--country", "DE").out.strip()
    path = desk.directory / "dsr.toml"
    whole = path.read_text()
    path.write_text(whole.replace(inbox.toml, ""))
    desk("case", "message", number, "hello")
    path.write_text(whole)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=5)):
        assert desk("run", "--json").json["mails_sent"] == 1
    assert len(inbox.letters) == 1


def test_retention(desk: Dsr) -> None:
    """--dry-run only lists; then what was closed long enough ago is shredded, and nothing else."""
    assert "keep_days" in desk("retention", "run").err
    path = desk.directory / "dsr.toml"
    path.write_text(path.read_text().replace("# keep_days = 1095", "keep_days = 30"))
    old, young = (desk("case", "new", "--type", "deletion", "--email", f"p{n}@example.com", "--country", "DE").out.strip() for n in range(2))
    desk("case", "reject", old, "--reason", "other", "--yes")
    desk("case", "close", old, "--yes")
    with time_machine.travel(datetime.now(UTC) + timedelta(days=31)):
        assert desk("retention", "run", "--dry-run", "--json").json["cases"] == [old]
        assert desk("case", "show", old, secret=False).out
        assert desk("retention", "run", "--json").json["cases"] == [old]
        assert desk("retention", "run", "--json").json["cases"] == []
    desk("case", "show", old, code=6)
    assert desk("case", "show", young, secret=False).out


def test_mail_leaves_while_dsr_run_is_at_work(desk: Dsr, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data sources take as long as they take, or ``--wait`` says to stay: nobody's mail waits for that, and it is counted once."""
    number = desk("case", "new", "--type", "deletion", "--email", "ada@example.com", "--country", "DE").out.strip()
    path = desk.directory / "dsr.toml"
    whole = path.read_text()
    path.write_text(whole.replace(inbox.toml, ""))
    desk("case", "message", number, "hello")
    path.write_text(whole)
    arrived: list[bool] = []

    def long(host: Host, **_: object) -> dict[str, object]:
        end = time.monotonic() + 60
        while not inbox.letters and time.monotonic() < end:
            time.sleep(0.02)
        arrived.append(bool(inbox.letters))
        return {}

    monkeypatch.setattr(Host, "run_all", long)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=5)):
        assert desk("run", "--wait", "60", "--json").json["mails_sent"] == 1
    assert arrived == [True]
    assert len(inbox.letters) == 1
