"""``dsr.toml``: what the host is, where its ledger lies, which data sources it has. Secrets stand in it as references only."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from dsr_sdk._model import Model
from dsr_sdk.engine.work import Options
from dsr_sdk.errors import ConfigError
from dsr_sdk.host.settings import DiscoverySettings, PortalSettings, PrivacyCenterSettings, WorkflowSettings
from dsr_sdk.secret import resolve

__all__ = ["EngineSettings", "HostConfig", "HostSettings", "MailConfig", "SourceSettings", "read_config"]


class HostSettings(Model):
    """``[host]``"""

    company: str = Field(min_length=1, max_length=200)
    database: str = "sqlite:///dsr.db"
    master_key: str = "file:dsr.key"
    spool: str = Field("spool", description="directory of exported records, sealed")
    language: str = "en"


class MailConfig(Model):
    """``[mail]``: the mail server, and in whose name letters are written."""

    host: str
    port: int = 587
    security: str = "starttls"
    username: str | None = None
    password: str | None = None
    cafile: str | None = None
    allow_plain: bool = False
    domain: str = Field(description="the company's own domain for requests; the sender is company-slug@domain")
    agent: str = Field(description="the agent's address, where vendors answer")
    cc: str | None = None
    auto_submitted: bool = Field(False, description="say in the header that a program sent the letter (RFC 3834); some help desks then never read it")


class EngineSettings(Model):
    """``[engine]``: see `dsr_sdk.engine.Options`."""

    attempts: int = Field(8, ge=1, le=100)
    backoff_seconds: float = Field(5, gt=0)
    longest_backoff_seconds: float = Field(3600, gt=0)
    pending_days: float = Field(60, gt=0)

    def options(self) -> Options:
        """As the engine takes them."""
        return Options(
            attempts=self.attempts,
            backoff=timedelta(seconds=self.backoff_seconds),
            longest_backoff=timedelta(seconds=self.longest_backoff_seconds),
            pending_for=timedelta(days=self.pending_days),
        )


class SourceSettings(Model):
    """``[sources.NAME]``: which connector, its settings, and the controller's decisions."""

    connector: str
    after: tuple[str, ...] = ()
    threads: int = Field(8, ge=1, le=64)
    enabled: bool = True
    settings: dict[str, Any] = Field(default_factory=dict)


class HostConfig(Model):
    """The whole file."""

    host: HostSettings
    mail: MailConfig | None = None
    engine: EngineSettings = Field(default_factory=EngineSettings)
    workflow: WorkflowSettings | None = None
    privacy_center: PrivacyCenterSettings = Field(default_factory=PrivacyCenterSettings)
    portal: PortalSettings = Field(default_factory=PortalSettings)
    discovery: DiscoverySettings = Field(default_factory=DiscoverySettings)
    allow: tuple[str, ...] | None = None
    sources: dict[str, SourceSettings] = Field(default_factory=dict)
    base: Path = Path()

    def database_url(self) -> str:
        """The ledger's address; a relative SQLite path is relative to the file, ``env:`` and ``file:`` references are followed."""
        url = self.host.database
        if url.startswith(("env:", "file:", "keyring:")):
            url = resolve(url, field="host.database", base=self.base).get_secret_value()
        if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
            return f"sqlite:///{self.base / url.removeprefix('sqlite:///')}"
        return url


def read_config(path: Path) -> HostConfig:
    """Read ``dsr.toml``.

    Raises:
        ConfigError: The file is missing or no TOML, or a field is wrong: names the field, never its value.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("there is no such file", source=str(path), fix="run: dsr init") from None
    except tomllib.TOMLDecodeError as error:
        where = str(error).rpartition("(")[2].rstrip(")")
        raise ConfigError(f"is not TOML ({where})", source=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {type(error).__name__}", source=str(path)) from None
    sources = raw.pop("sources", {})
    connectors = raw.pop("connectors", {})
    if not isinstance(sources, Mapping) or not isinstance(connectors, Mapping):
        raise ConfigError("sources and connectors must be tables", source=str(path))
    unknown = set(connectors) - {"allow"}
    if unknown:
        raise ConfigError("is not a setting", field=f"connectors.{min(unknown)}", source=str(path))
    split = {name: _split(name, row, path) for name, row in sources.items()}
    return _model(HostConfig, {**raw, "allow": connectors.get("allow"), "sources": split, "base": path.parent}, path)


def _split(name: str, row: Any, path: Path) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise ConfigError("must be a table", field=f"sources.{name}", source=str(path))
    own = set(SourceSettings.model_fields) - {"settings"}
    return {
        **{key: value for key, value in row.items() if key in own},
        "settings": {key: value for key, value in row.items() if key not in own},
    }


_M = TypeVar("_M", bound=Model)


def _model(model: type[_M], data: Mapping[str, Any], path: Path) -> _M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        detail = error.errors(include_input=False, include_context=False)[0]
        said = {"missing": "is missing", "extra_forbidden": "is not a setting"}.get(detail["type"], detail["msg"].removeprefix("Value error, "))
        raise ConfigError(said, field=".".join(str(part) for part in detail["loc"]), source=str(path), fix="see docs/configuration.md") from None
