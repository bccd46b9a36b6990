"""Cassettes: the scenario's HTTP traffic, written to be read by people, replayed without a network, and free of secrets and persons.

    record(Acme, AcmeSandbox, Path("connectors/acme/tests/cassettes"))    # erase.yaml and copy.yaml
    replay(Acme, Path("connectors/acme/tests/cassettes/erase.yaml"))
    lint(Path("connectors/acme/tests/cassettes/erase.yaml"))              # [] when it may be committed

The files are vcrpy's, with a ``metadata`` part that says where they come from.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final
from unittest import mock

from pydantic import SecretStr, TypeAdapter, ValidationError

from dsr_sdk.connector import Connector, ConnectorConfig, Verb
from dsr_sdk.errors import ConfigError
from dsr_sdk.http.guard import GuardedTransport
from dsr_sdk.identity import AnyIdentity
from dsr_sdk.testing._claims import ship
from dsr_sdk.testing._tape import PROVENANCE, clean_request, clean_response, hosts_of, lint, load, recorder, shown
from dsr_sdk.testing.sandbox import Person, Sandbox
from dsr_sdk.testing.scenario import ADA, ScenarioHttp, ScenarioReport, config_of, identity_of, run_scenario, subject_of
from dsr_sdk.testing.scrub import REDACTED, Scrubber
from dsr_sdk.testing.serve import transport

__all__ = ["SCENARIOS", "lint", "load", "record", "replay"]

SCENARIOS: Final = {"erase": Verb.ERASE, "copy": Verb.EXPORT, "opt_out": Verb.OPT_OUT}
"""The cassettes of a connector: one for each verb it has."""

BYSTANDER: Final = Person("grace.hopper@example.org", "Grace", "Hopper", "+14155550177", "user-2")
CLOCK: Final = datetime(2026, 1, 15, 12, tzinfo=UTC)


# --- recording ---------------------------------------------------------------------------------------------------------------------


def record(
    connector: type[Connector],
    sandbox: type[Sandbox] | None,
    directory: Path,
    *,
    person: Person = ADA,
    identity: AnyIdentity | None = None,
    config: ConnectorConfig | None = None,
    settle: Callable[[Sandbox], object] | None = None,
) -> list[Path]:
    """Run the scenario and write a cassette for each verb the connector has.

    Args:
        sandbox: What answers; None for the vendor itself, which needs `config`, and a `person` of a test account: **they are erased**.
        person: Who is found, copied and erased. A person other than the usual one is replaced by the usual one in what is written.
        settle: Lets time pass in the sandbox so that jobs end; 60 days unless given.
        identity: What to search by, unless it is the person's first identity of a kind in ``identified_by``.

    Returns:
        The files. A file that `lint` refuses is not kept. Recorded into ``tests/cassettes`` of the connector's own project, where they come
        from is noted in ``evidence.json`` of its package too: that is installed, they are not.

    Raises:
        ConfigError: A secret or a person would have stood in a file.
    """
    if sandbox is None and config is None:
        raise ConfigError("recording from the vendor needs its settings", source=connector.slug, field="config")
    config = config or config_of(connector, sandbox)  # type: ignore[arg-type]  # one of the two is there
    wanted = identity or identity_of(connector, person)
    if wanted is None:
        raise ConfigError("the person has no identity the connector searches by", source=connector.slug, fix="give identity=")
    stand_in = identity_of(connector, ADA, type(wanted)) or wanted
    paths = []
    for name, verb in SCENARIOS.items():
        if connector.supports(verb) is None:
            scrubber = Scrubber(*_replacements(connector, config, person))
            metadata = _provenance(connector, config, sandbox, name) | {"subject": _plain(scrubber, stand_in if person != ADA else wanted)}
            paths.append(_record_one(connector, sandbox, Path(directory) / f"{name}.yaml", verb, person, wanted, config, scrubber, metadata, settle))
    ship(connector, Path(directory))
    return paths


def _record_one(
    connector: type[Connector],
    sandbox: type[Sandbox] | None,
    path: Path,
    verb: Verb,
    person: Person,
    identity: AnyIdentity,
    config: ConnectorConfig,
    scrubber: Scrubber,
    metadata: dict[str, Any],
    settle: Callable[[Sandbox], object] | None,
) -> Path:
    source = connector(config)
    kept = frozenset(name.lower() for name in source.headers())
    draft = path.with_suffix(".draft.yaml")
    draft.unlink(missing_ok=True)
    with _clock(), _dice(loaded=sandbox is not None):
        fake = _populated(sandbox, person) if sandbox else None
        http = ScenarioHttp(source, transport=transport(fake) if fake else GuardedTransport(allow_private=config.allow_private_hosts))
        hooks = {
            "before_record_request": lambda request: clean_request(request, scrubber, kept),
            "before_record_response": lambda response: clean_response(response, scrubber),
        }
        try:
            with recorder().use_cassette(str(draft), record_mode="once", record_on_exception=False, **hooks) as cassette:
                wait = settle or (lambda one: one.advance(60 * 86_400.0))
                report = run_scenario(source, http, subject_of(person, identity), (lambda: wait(fake)) if fake else None, verbs=(verb,))
                for key, value in {**metadata, "conclusion": report.conclusion()}.items():
                    cassette.get_metadata(key, value)
            problems = lint(draft, connector)
            if problems:
                raise ConfigError(
                    "; ".join(problems), source=str(path), fix="nothing was written; teach the sandbox or dsr_sdk.testing.scrub about it"
                )
            draft.replace(path)
        finally:
            http.close()
            draft.unlink(missing_ok=True)
    return path


def _populated(sandbox: type[Sandbox], person: Person) -> Sandbox:
    fake = sandbox()
    fake.limits = []
    fake.seed([BYSTANDER, person])
    return fake


def _replacements(connector: type[Connector], config: ConnectorConfig, person: Person) -> tuple[dict[str, str], dict[str, str]]:
    stand_ins = _stand_ins(connector, config)
    secrets = {getattr(config, name).get_secret_value(): stand_in for name, stand_in in stand_ins.items()}
    people = {getattr(person, part): getattr(ADA, part) for part in ("email", "phone", "first_name", "last_name", "user_id")}
    return {value: new for value, new in secrets.items() if value}, {value: new for value, new in people.items() if value and new}


def _stand_ins(connector: type[Connector], config: ConnectorConfig) -> dict[str, str]:
    """What replaces each secret setting: REDACTED, with as much of the secret's public shape as the connector needs to find its host
    (the data centre at the end of a key)."""
    out: dict[str, str] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if not isinstance(value, SecretStr):
            continue
        secret = value.get_secret_value()
        tail = secret.rpartition("-")[2]
        candidates = [
            REDACTED,
            *([f"{REDACTED}-{tail}"] if len(tail) <= 6 else []),
            f"{secret[:3]}_{REDACTED}",
            f"{secret.partition('_')[0]}_{REDACTED}",
        ]
        for candidate in candidates:
            with contextlib.suppress(Exception):  # the settings' own validation refuses it in whatever way it likes: try the next
                other = type(config).model_validate({**dict(config), name: SecretStr(candidate)})
                if connector(other).base_url == connector(config).base_url:
                    out[name] = candidate
                    break
        else:
            raise ConfigError("no harmless value can stand in for this secret", source=connector.slug, field=name)
    return out


def _provenance(connector: type[Connector], config: ConnectorConfig, sandbox: type[Sandbox] | None, name: str) -> dict[str, Any]:
    from dsr_sdk import __version__

    source = connector(config)
    hidden = {key for key in type(config).model_fields if isinstance(getattr(config, key), SecretStr)}
    settings = config.model_dump(mode="json", exclude=hidden, exclude_none=True)
    try:
        own = version(f"dsr-connector-{connector.slug.replace('_', '-')}")
    except PackageNotFoundError:
        own = "not installed"
    api = getattr(connector, "api_version", "") or ", ".join(value for key, value in source.headers().items() if "version" in key.lower())
    return {
        "recorded_from": "sandbox" if sandbox else "live",
        "recorded_on": date.today().isoformat(),  # noqa: DTZ011 - the day on the recorder's own calendar
        "connector": connector.slug,
        "connector_version": own,
        "sdk_version": __version__,
        "api_version": api or "unversioned",
        "scenario": name,
        "settings": {**settings, **_stand_ins(connector, config)},
        "hosts": hosts_of(source),
    }


def _plain(scrubber: Scrubber, identity: AnyIdentity) -> dict[str, Any]:
    clean: dict[str, Any] = scrubber.value(identity.model_dump(mode="json", exclude={"source", "verified_by"}))
    return clean


@contextlib.contextmanager
def _clock() -> Iterator[None]:
    """One moment for recorder and replayer, where time-machine is installed; elsewhere moments in requests are compared loosely."""
    try:
        import time_machine
    except ImportError:
        yield
        return
    with time_machine.travel(CLOCK, tick=False):
        yield


@contextlib.contextmanager
def _dice(*, loaded: bool) -> Iterator[None]:
    """The same random ids in every recording of a sandbox, so that recording again shows only what changed."""
    if not loaded:
        yield
        return
    throws = itertools.count()

    def urandom(size: int) -> bytes:
        return hashlib.shake_128(str(next(throws)).encode()).digest(size)

    state = random.getstate()
    random.seed(0)
    try:
        with mock.patch("os.urandom", urandom), mock.patch("random._urandom", urandom):
            yield
    finally:
        random.setstate(state)


# --- replaying ---------------------------------------------------------------------------------------------------------------------


class _NoNetwork(BaseException):
    """Not an `Exception`: no connector may swallow it."""


def replay(connector: type[Connector], cassette: Path) -> ScenarioReport:
    """Run the scenario from a cassette alone.

    Raises:
        ConfigError: The file is missing, damaged, or does not fit the connector's settings.
        AssertionError: The connector calls something else than what was recorded, leaves a recorded call out, or concludes differently.
    """
    import httpx
    from vcr.errors import CannotOverwriteExistingCassetteException

    cassette = Path(cassette)
    metadata = load(cassette).get("metadata", {})
    missing = [key for key in PROVENANCE if key not in metadata]
    if missing or metadata["scenario"] not in SCENARIOS:
        raise ConfigError(f"lacks {', '.join(missing) or 'a known scenario'}", source=str(cassette), fix="record it again")
    try:
        source = connector(connector.Config(**metadata["settings"]))
        identity: AnyIdentity = TypeAdapter(AnyIdentity).validate_python(metadata["subject"])
    except (ValidationError, TypeError):
        raise ConfigError("its settings or subject do not fit the connector", source=str(cassette), fix="record it again") from None

    def refuse(request: httpx.Request) -> httpx.Response:
        raise _NoNetwork

    scrubber, kept = Scrubber(), frozenset(name.lower() for name in source.headers())
    http = ScenarioHttp(source, transport=httpx.MockTransport(refuse))
    asked: list[str] = []

    def noted(request: Any) -> Any:
        clean = clean_request(request, scrubber, kept)
        asked.append(shown(clean))
        return clean

    left: list[str] = []
    try:
        with _clock(), recorder().use_cassette(str(cassette), record_mode="none", before_record_request=noted) as tape:
            asked.clear()  # the cassette's own requests are read through the same hook
            try:
                report = run_scenario(source, http, subject_of(ADA, identity), None, verbs=(SCENARIOS[metadata["scenario"]],))
            finally:
                left = [shown(request) for index, request in enumerate(tape.requests) if not tape.play_counts[index]]
    except (CannotOverwriteExistingCassetteException, _NoNetwork):
        raise AssertionError(_differs(connector, cassette, left, asked[-1:] or ["nothing that could be read"])) from None
    finally:
        http.close()
    if left:
        raise AssertionError(_differs(connector, cassette, left, []))
    if metadata.get("conclusion") not in (None, report.conclusion()):
        raise AssertionError(f"{cassette.name}: concluded {report.conclusion()}, recorded {metadata['conclusion']}")
    return report


def _differs(connector: type[Connector], cassette: Path, before: list[str], now: list[str]) -> str:
    """What was asked for and what is. The difference comes first: whoever loses page two would otherwise record the loss."""
    more = f" and {len(before) - 3} more" if len(before) > 3 else ""
    now = [f"{one} (with other values, or another body)" if one in before else one for one in now]
    return (
        f"{cassette.name}: asked for before: {', '.join(before[:3]) or 'nothing else'}{more}; asked for now: {', '.join(now) or 'no more of that'}. "
        "Read the difference: is it meant, and is nothing lost by it, no page, no record, nobody? Only then record again: "
        f"dsr cassette record {connector.slug} --out {cassette.parent.name}"
    )
