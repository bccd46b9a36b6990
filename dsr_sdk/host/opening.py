"""Opening a host: from ``dsr.toml`` to a ledger with its vault, loaded connectors and a runner. And making a new one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from sqlalchemy import insert, select
from sqlalchemy.engine import Engine

from dsr_sdk.engine import Options
from dsr_sdk.errors import ConfigError, DsrError, VaultError
from dsr_sdk.host.cases.trust import trust
from dsr_sdk.host.config import HostConfig, MailConfig, read_config
from dsr_sdk.host.inventory.discoverers import discoverers
from dsr_sdk.host.inventory.sources import InventorySources, set_up
from dsr_sdk.host.runner import Runner
from dsr_sdk.ledger.database import migrate, open_database, reading, writing
from dsr_sdk.ledger.schema import meta
from dsr_sdk.ledger.store import Ledger
from dsr_sdk.ledger.vault import MasterKey, Vault
from dsr_sdk.mail.compose import Letterhead
from dsr_sdk.mail.post import Post
from dsr_sdk.mail.send import Mailer, MailSettings
from dsr_sdk.registry import Registry
from dsr_sdk.secret import resolve

if TYPE_CHECKING:
    import httpx

__all__ = ["Opened", "initialise", "open_parts"]

_TEMPLATE = """\
# dsr-sdk: what this host is and which data sources it has. Secrets are references only: env:NAME, file:path, keyring:service/name.

[host]
company = "{company}"
database = "{database}"
master_key = "{master_key}"

# [mail]                                  # for e-mail integrations and replies
# host = "smtp.example.com"
# username = "requests"
# password = "env:DSR_SMTP_PASSWORD"
# domain = "requests.example.com"         # letters come from company-name@domain
# agent = "privacy@example.com"           # where vendors answer

# [sources.stripe]
# connector = "stripe"
# api_key = "env:STRIPE_API_KEY"
"""


@dataclass(frozen=True, slots=True)
class Opened:
    """The parts of an open host."""

    config: HostConfig
    ledger: Ledger
    registry: Registry
    runner: Runner
    spool: Path
    sources: InventorySources


def initialise(directory: Path, *, company: str, database: str = "sqlite:///dsr.db", master_key: str = "file:dsr.key") -> Path:
    """Make a new host in a directory: ``dsr.toml``, a master key (when it is a file reference), an empty ledger. Returns the file.

    What is there already is kept: run twice, it changes nothing, and it never replaces a key.

    Raises:
        DsrError: The ledger there belongs to another master key, or something cannot be written.
    """
    path = directory / "dsr.toml"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            values = {"company": company, "database": database, "master_key": master_key}
            path.write_text(_TEMPLATE.format(**{name: _toml(value) for name, value in values.items()}), encoding="utf-8")
        config = read_config(path)
        kind, _, place = config.host.master_key.partition(":")
        key_file = directory / place
        if kind == "file" and not key_file.exists():
            descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(MasterKey.generate().to_text() + "\n")
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", source=str(directory)) from None
    engine = open_database(config.database_url(), create=True)
    try:
        migrate(engine)
        _check_key(engine, _vault(config))
    finally:
        engine.dispose()
    return path


def _toml(text: str) -> str:
    """Text as it stands between the quotes of a TOML string."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def open_parts(
    path: Path,
    *,
    transports: Mapping[str, httpx.BaseTransport] | None = None,
    options: Options | None = None,
    on_step: Callable[[str], None] = lambda step: None,
    plugins: Sequence[object] = (),
) -> Opened:
    """Open everything a host needs. See `Host.open`."""
    config = read_config(path)
    vault = _vault(config)
    engine = open_database(config.database_url())
    try:
        _check_key(engine, vault)
        ledger = Ledger(engine, vault)
        registry = Registry(allow=config.allow)
        for plugin in plugins:
            registry.add_plugin(plugin)
        registry.load_plugins()
        for name, discoverer in discoverers(config, transports or {}):
            registry.add_plugin(discoverer, name)
        broken = _sources(config, registry)
        post = _post(config.mail, config) if config.mail else None
        spool = config.base / config.host.spool
        runner = Runner(
            ledger,
            registry,
            options or config.engine.options(),
            spool=spool,
            post=post,
            transports=transports,
            on_step=on_step,
            trust=partial(trust, ledger.cases),
        )
        for name in list(registry.sources):
            error = set_up(runner, registry, name)
            if error is not None:
                broken[name] = error
        registry.check_after(config.sources)
        sources = InventorySources(ledger, registry, runner, config, broken)
        sources.refresh()
    except BaseException:
        engine.dispose()
        raise
    return Opened(config, ledger, registry, runner, spool, sources)


def _sources(config: HostConfig, registry: Registry) -> dict[str, DsrError]:
    """Configure the data sources. One that cannot be used is kept aside with its error; the rest work."""
    broken: dict[str, DsrError] = {}
    for name, row in config.sources.items():
        if row.enabled:
            try:
                registry.open(name, row.connector, row.settings, base=config.base, after=row.after, threads=row.threads)
            except DsrError as error:
                broken[name] = error
    return broken


def _vault(config: HostConfig) -> Vault:
    return Vault(MasterKey.from_text(resolve(config.host.master_key, field="host.master_key", base=config.base)))


def _check_key(engine: Engine, vault: Vault) -> None:
    """Recognise a wrong master key before anything is written with it. The first one to open a ledger leaves its mark."""
    with reading(engine) as connection:
        known = connection.execute(select(meta.c.value).where(meta.c.key == "key_check")).scalar()
    if known is None:
        with writing(engine) as connection:
            if connection.execute(select(meta.c.value).where(meta.c.key == "key_check")).scalar() is None:
                connection.execute(
                    insert(meta), [{"key": "key_check", "value": vault.key_check()}, {"key": "public_key", "value": vault.public_key().hex()}]
                )
        return _check_key(engine, vault)
    if known != vault.key_check():
        raise VaultError("the master key is not the one this ledger was made with", field="host.master_key", fix="give the key it was made with")
    return None


def _post(mail: MailConfig, config: HostConfig) -> Post:
    password = resolve(mail.password, field="mail.password", base=config.base) if mail.password else None
    fields = {"host": mail.host, "port": mail.port, "security": mail.security, "username": mail.username, "password": password}
    if mail.cafile:
        fields["cafile"] = config.base / mail.cafile
    try:
        settings = MailSettings.model_validate({**fields, "allow_plain": mail.allow_plain})
    except ValidationError as error:
        detail = error.errors(include_input=False, include_context=False)[0]
        where = ".".join(("mail", *(str(part) for part in detail["loc"])))
        raise ConfigError(detail["msg"].removeprefix("Value error, "), field=where) from None
    return Post(Letterhead(company=config.host.company, domain=mail.domain, agent=mail.agent, cc=mail.cc), Mailer(settings), mail.auto_submitted)
