"""Editing ``dsr.toml``: a data source is added without touching a comment, and only when its connector accepts its settings."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import tomlkit
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from tomlkit.exceptions import TOMLKitError

from dsr_sdk.connector import Connector
from dsr_sdk.errors import ConfigError
from dsr_sdk.host.config import SourceSettings, read_config
from dsr_sdk.registry import Registry
from dsr_sdk.secret import resolve

__all__ = ["SOURCE_NAME", "add_source", "checked_settings", "is_secret", "settings_of", "write_config"]

SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""What a data source may be called."""
_REFERENCES = ("env:", "file:", "keyring:")


def is_secret(setting: FieldInfo) -> bool:
    """Whether a connector's setting is a secret, which stands in the configuration as a reference."""
    return setting.annotation is SecretStr or SecretStr in get_args(setting.annotation)


def settings_of(connector: type[Connector]) -> Mapping[str, FieldInfo]:
    """The settings of a connector, its own first."""
    fields = connector.Config.model_fields
    shared = ("base_url", "allow_private_hosts")
    return {name: fields[name] for name in (*(own for own in fields if own not in shared), *(both for both in shared if both in fields))}


def add_source(
    path: Path,
    name: str,
    connector: str,
    settings: Mapping[str, Any],
    *,
    after: Sequence[str] = (),
    threads: int | None = None,
    replace: bool = False,
) -> list[str]:
    """Add a data source to ``dsr.toml``, atomically.

    A reference to a secret that does not exist on this machine is accepted: the file may be meant for another.

    Args:
        settings: The connector's settings; secrets as references, never as themselves.
        after: Data sources whose erasures come first.
        replace: Replace one of this name.

    Returns:
        What the reader should know: secrets that cannot be resolved here.

    Raises:
        ConfigError: The name is taken or none, the connector cannot be had, or a setting is wrong. Nothing was written.
    """
    config = read_config(path)
    if not SOURCE_NAME.fullmatch(name):
        raise ConfigError("a data source's name is lower-case letters, digits, - and _", field=f"sources.{name if name.isidentifier() else '(name)'}")
    if name in config.sources and not replace:
        raise ConfigError("there is a data source of this name already", source=name, fix=f"choose another name, or edit {path}")
    for other in after:
        if other not in config.sources:
            known = ", ".join(config.sources) or "none"
            raise ConfigError(f"there is no data source {other!r}", field=f"sources.{name}.after", fix=f"sources: {known}")
    warnings = checked_settings(Registry(allow=config.allow).load(connector), name, settings, config.base)
    row = {"connector": connector, **settings}
    if after:
        row["after"] = list(after)
    if threads is not None:
        row["threads"] = threads
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8"))
        if "sources" not in document:
            document["sources"] = tomlkit.table(is_super_table=True)
        table = tomlkit.table()
        for key, value in row.items():
            table[key] = value
        document["sources"][name] = table
        text = tomlkit.dumps(document)
    except TOMLKitError as error:
        raise ConfigError(f"cannot be edited: {type(error).__name__}", source=str(path), fix="add the data source by hand") from None
    write_config(path, text)
    return warnings


def checked_settings(connector: type[Connector], name: str, settings: Mapping[str, Any], base: Path, *, looked_up: bool = True) -> list[str]:
    """Let the connector judge its settings. Secrets that cannot be had here are left out of the judgement.

    Args:
        looked_up: Whether secrets are. Without, all of them are left out, and whatever may depend on one: what is said tells nothing of this
            host.

    Returns:
        The secrets that cannot be resolved here, each in a sentence.

    Raises:
        ConfigError: A secret stands in the open, or a setting is wrong.
    """
    known = settings_of(connector)
    values = dict(settings)
    missing: list[str] = []
    for key, setting in known.items():
        if key in values and is_secret(setting):
            reference = str(values[key])
            field = f"sources.{name}.{key}"
            if not reference.startswith(_REFERENCES):
                raise ConfigError("is written in the open; use env:, file: or keyring:", field=field, fix=f"--set {key}=env:NAME")
            if not looked_up:
                values[key] = SecretStr("not looked up")
                continue
            try:
                values[key] = resolve(reference, field=field, base=base)
            except ConfigError as error:
                missing.append(str(error))
                values[key] = SecretStr("not known here")
    taken = sorted(set(values) & (set(SourceSettings.model_fields) - {"settings"}))
    if taken:
        raise ConfigError("is no setting of a connector", field=f"sources.{name}.{taken[0]}")
    try:
        connector.Config.model_validate(values)
    except ValidationError as error:
        for detail in error.errors(include_input=False, include_context=False):
            of_secret = is_secret(known.get(str(detail["loc"][0]), FieldInfo())) if detail["loc"] else not looked_up
            if of_secret and (missing or not looked_up) and detail["type"] != "missing":
                continue  # our stand-in, not the secret
            said = {"missing": "is missing", "extra_forbidden": "is not a setting of this connector"}.get(
                detail["type"], detail["msg"].removeprefix("Value error, ")
            )
            field = ".".join(("sources", name, *(str(part) for part in detail["loc"])))
            raise ConfigError(said, field=field, fix=f"settings of {connector.slug}: {', '.join(known)}") from None
    return missing


def write_config(path: Path, text: str) -> None:
    """Replace the file in one step; whoever reads it meanwhile sees the old one or the new one."""
    target = path.resolve()  # a link stays one
    try:
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(part, target.stat().st_mode & 0o7777)
            os.replace(part, target)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", source=str(path)) from None
