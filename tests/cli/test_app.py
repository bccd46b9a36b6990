"""The application: what it loads, where options may stand, and how errors end."""

from __future__ import annotations

import importlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from dsr_sdk.cli import app as application
from dsr_sdk.cli import failures
from dsr_sdk.errors import ApprovalError, AuthError, ConfigError, ContractError, DsrError, LedgerError, RequestError
from tests.cli.conftest import Dsr

HEAVY = ("rich", "pydantic", "sqlalchemy", "httpx", "jinja2", "alembic", "cryptography", "tomlkit", "concurrent.futures", "importlib.metadata")

_LOADED = """
import json, sys
sys.argv = ["dsr", "--help"]
import io; out, sys.stdout = sys.stdout, io.StringIO()
from dsr_sdk.cli import main
try:
    main()
except SystemExit:
    pass
json.dump(sorted(sys.modules), out)
"""


def loaded() -> set[str]:
    """The modules in memory after ``dsr --help``."""
    done = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, check=True)
    return set(json.loads(done.stdout))


def test_help_loads_nothing_heavy() -> None:
    """The help costs typer and little else: nothing heavy, and no module of a command."""
    modules = loaded()
    assert not [name for name in HEAVY if name in modules]
    ours = {name for name in modules if name.startswith("dsr_sdk")}
    assert ours == {"dsr_sdk", "dsr_sdk.cli", "dsr_sdk.cli.app", "dsr_sdk.cli.session", "dsr_sdk.cli.output"}


def test_every_command_is_registered_by_its_module() -> None:
    """The table of commands and what the modules register are the same."""
    for module in {module for module, _ in application.COMMANDS.values()}:
        part = typer.Typer()
        part.callback()(lambda: None)
        importlib.import_module(f"dsr_sdk.cli.{module}").register(part)
        registered = set(typer.main.get_group(part).commands)
        assert registered == {name for name, (where, _) in application.COMMANDS.items() if where == module}


@pytest.mark.parametrize("name", application.COMMANDS)
def test_every_command_has_help(dsr: Dsr, name: str) -> None:
    """Each command explains itself, and its line in the help of all is not cut off."""
    assert f"Usage: dsr {name}" in dsr(name, "--help").out
    assert application.COMMANDS[name][1] in dsr("--help").out


def test_every_json_option_and_its_absence() -> None:
    """Every command takes --json, but for the two whose result is a file or runs on."""
    without = set()
    for name in application.COMMANDS:
        command = application._Lazy()[name]
        for path, one in ((name, command), *((f"{name} {sub}", one) for sub, one in getattr(command, "commands", {}).items())):
            if not hasattr(one, "commands") and not any("--json" in parameter.opts for parameter in one.params):
                without.add(path)
    assert without == {"audit export"}


def test_global_options_may_stand_anywhere(dsr: Dsr, tmp_path: Path) -> None:
    """--config before and after the command is the same, and shows up in the commands that are proposed."""
    elsewhere = tmp_path / "else where.toml"
    elsewhere.write_text(
        (dsr.directory / "dsr.toml").read_text().replace("sqlite:///", f"sqlite:///{dsr.directory}/").replace("file:", f"file:{dsr.directory}/")
    )
    for args in (("--config", str(elsewhere), "status"), ("status", f"--config={elsewhere}"), ("status", "--config", str(elsewhere))):
        assert f"dsr --config '{elsewhere}' submit FILE" in dsr(*args).err


def test_config_from_the_environment(dsr: Dsr, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DSR_CONFIG names the file, too."""
    monkeypatch.setenv("DSR_CONFIG", "missing.toml")
    assert "missing.toml: there is no such file" in dsr("status", code=3).err


def test_version(dsr: Dsr) -> None:
    """--version says it."""
    assert re.fullmatch(r"dsr-sdk \d+\.\d+\.\d+\n", dsr("--version").out)


def test_no_command_shows_the_help(dsr: Dsr) -> None:
    """``dsr`` alone is a question."""
    ran = dsr(code=2)
    assert "Usage: dsr" in ran.out + ran.err


def test_a_misspelt_command_is_guessed(dsr: Dsr) -> None:
    """A typing error ends with 2 and a proposal."""
    assert "Did you mean 'status'?" in dsr("stats", code=2).err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RequestError("x"), 2),
        (ConfigError("x"), 3),
        (AuthError("x"), 3),
        (ContractError("x"), 4),
        (ApprovalError("x"), 5),
        (LedgerError("x"), 6),
        (DsrError("x"), 1),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError(), 1),
    ],
)
def test_exit_codes(error: BaseException, code: int) -> None:
    """Each kind of error has its exit code, as docs/cli.md says."""
    assert failures.explain(error, debug=False) == code


def test_an_error_is_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Place, field and message on one, what to do on the other."""
    failures.explain(ConfigError("is missing", field="token", source="shop", fix="say it"), debug=False)
    assert capsys.readouterr().err == "error: shop: token: is missing\nfix: say it\n"


def test_an_unexpected_error_shows_type_and_place_but_no_value(dsr: Dsr, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is called one, and no value travels with it."""

    def broken(*args: object, **options: object) -> None:
        raise KeyError("ada@example.com")

    monkeypatch.setattr("dsr_sdk.host.Host.open", broken)
    ran = dsr("status", code=1)
    assert ran.err.startswith("error: this is a bug in dsr-sdk: KeyError at ")
    assert "test_app.py:" in ran.err
    assert "Traceback" not in ran.err
    assert "Traceback" in dsr("--debug", "status", code=1, secret=False).err


def test_interrupted(dsr: Dsr, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C anywhere ends with 130."""

    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dsr_sdk.host.Host.open", interrupted)
    assert "stopped" in dsr("status", code=130).err


def test_exit_codes_of_the_process(dsr: Dsr) -> None:
    """The installed entry point leaves with the codes, and prints no traceback."""
    process = dsr.process("--config", "nothing.toml", "status")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (3, "")
    assert err == "error: nothing.toml: there is no such file\nfix: run: dsr init\n"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_show_completion(dsr: Dsr, shell: str) -> None:
    """The completion script for a shell is printed, whichever shell we run in."""
    process = dsr.process("--show-completion", shell)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"_DSR_COMPLETE=complete_{shell}" in out


def test_completion_for_an_unknown_shell(dsr: Dsr) -> None:
    """A shell that is none is a usage error."""
    assert "one of bash, zsh" in dsr("--show-completion", "toysh", code=2).err


def test_completion_knows_the_commands(dsr: Dsr) -> None:
    """The script's questions are answered."""
    process = dsr.process(env={"_DSR_COMPLETE": "complete_bash", "COMP_WORDS": "dsr st", "COMP_CWORD": "1"})
    out, _ = process.communicate(timeout=60)
    assert out.split() == ["status"]


def on_a_terminal(dsr: Dsr, *args: str, **env: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    process = dsr.process(*args, stdin=theirs, stdout=theirs, stderr=theirs, env={"TERM": "xterm-256color", "COLUMNS": "120", **env})
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(ours, 65536):
            said += chunk
    except OSError:  # the terminal was closed by the end of the process
        pass
    os.close(ours)
    process.wait(timeout=60)
    return said.decode()


def test_colours_on_a_terminal_unless_not_wanted(dsr: Dsr) -> None:
    """Rich draws on a terminal; NO_COLOR is honoured; elsewhere there is plain text."""
    dsr.case()
    environment = {key: value for key, value in os.environ.items() if key == "NO_COLOR"}
    assert not environment
    assert "\x1b[1m" in on_a_terminal(dsr, "status")
    assert "\x1b[3" not in on_a_terminal(dsr, "status", NO_COLOR="1")
    assert "\x1b" not in dsr("status").out
