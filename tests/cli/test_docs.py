"""The pages about the command line and the configuration name everything there is, and nothing else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dsr_sdk.cli import app as application
from dsr_sdk.connector import ConnectorConfig
from dsr_sdk.host.config import EngineSettings, HostConfig, HostSettings, MailConfig, SourceSettings, read_config
from dsr_sdk.host.settings import PortalSettings, PrivacyCenterSettings, WorkflowSettings

DOCS = Path(__file__).parents[2] / "docs"


def commands() -> dict[str, Any]:
    """Every command by its path."""
    found = {}
    for name in application.COMMANDS:
        command = application._Lazy()[name]
        for sub, one in getattr(command, "commands", {"": command}).items():
            found[f"{name} {sub}".strip()] = one
    return found


def test_every_command_and_option_is_in_the_page() -> None:
    """Nothing is left out."""
    page = (DOCS / "cli.md").read_text()
    for path, command in commands().items():
        group, _, sub = path.partition(" ")
        assert re.search(rf"^### .*dsr {group}\b.*\b{sub}", page, re.MULTILINE), path
        for parameter in command.params:
            for option in (option for option in parameter.opts if option.startswith("--")):
                assert option in page, f"{path} {option}"


def test_the_page_names_no_option_that_is_not_there() -> None:
    """And nothing is made up."""
    known = {option for command in commands().values() for parameter in command.params for option in parameter.opts}
    known |= {"--config", "--debug", "--version", "--help", "--install-completion", "--show-completion"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", (DOCS / "cli.md").read_text())) <= known


def test_every_setting_is_in_the_page() -> None:
    """Each section's settings, in its table."""
    page = (DOCS / "configuration.md").read_text()
    sections = {part.split("\n", 1)[0].strip("[] "): part for part in page.split("\n## ")[1:]}
    models: dict[str, type[BaseModel]] = {
        "host": HostSettings,
        "mail": MailConfig,
        "engine": EngineSettings,
        "sources": SourceSettings,
        "workflow": WorkflowSettings,
        "privacy_center": PrivacyCenterSettings,
        "portal": PortalSettings,
    }
    for name, model in models.items():
        for setting in set(model.model_fields) - {"settings"}:
            assert f"`{setting}`" in sections[name], f"{name}.{setting}"
    for setting in ConnectorConfig.model_fields:
        assert f"`{setting}`" in sections["sources"]
    assert set(HostConfig.model_fields) - {"base", "allow"} <= set(sections)


def test_the_example_can_be_read(tmp_path: Path) -> None:
    """The page's own example is a configuration."""
    example = (DOCS / "configuration.md").read_text().partition("```toml\n")[2].partition("```")[0]
    tomllib.loads(example)
    (tmp_path / "dsr.toml").write_text(example)
    assert set(read_config(tmp_path / "dsr.toml").sources) == {"stripe", "zendesk"}
