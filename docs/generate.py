"""Makes the parts of the documentation that repeat what the code declares. Run it after changing a connector or the request:

python docs/generate.py            # writes docs/catalogue.md, docs/testing/checks/, docs/schemas/request.json, the table in README.md, the checks
                                   # in mkdocs.yml, and of each connector evidence.json and the line in its README
python docs/generate.py --check    # writes nothing; says what is out of date, and fails
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from generate_checks import navigation, pages, table
from pydantic import SecretStr

from dsr_sdk import Anonymized, Connector, ConnectorConfig, Evidence, Holds, Process, Request, Retained, Verb
from dsr_sdk.http import RateLimit
from dsr_sdk.testing._claims import SHIPPED, Provenance, cassettes_in, summary, written
from dsr_sdk.testing._packaged import package_of

ROOT = Path(__file__).resolve().parent.parent
KINDS = {"email": "e-mail address", "phone": "telephone number", "controller_id": "your own id", "vendor_id": "the vendor's id", "name": "name"}
LABELS = {Verb.ERASE: "erases", Verb.EXPORT: "copies", Verb.OPT_OUT: "opts out", Verb.EMAIL: "is written to"}
CHECKS = ROOT / "docs" / "testing" / "checks"
TABLE = re.compile(r"(<!-- connectors:[^\n]*-->\n).*?(<!-- /connectors -->)", re.DOTALL)
NAVIGATION = re.compile(r"( *# checks:[^\n]*\n).*?( *# /checks\n)", re.DOTALL)
LINE = re.compile(r"<!-- provenance:[^\n]*-->\n.*?<!-- /provenance -->\n\n", re.DOTALL)
EVIDENCE = re.compile(r"^## Evidence\n\n", re.MULTILINE)


def connectors() -> list[type[Connector]]:
    """The connectors of this repository, installed or not: those that call an API first, by title."""
    found: list[type[Connector]] = []
    for path in sorted(ROOT.glob("connectors/*/pyproject.toml")):
        points = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["entry-points"]["dsr_sdk.connectors"]
        for value in points.values():
            module, _, name = value.partition(":")
            sys.path.insert(0, str(path.parent))
            try:
                found.append(getattr(importlib.import_module(module), name))
            finally:
                sys.path.remove(str(path.parent))
    return sorted(found, key=lambda connector: (connector.process is not Process.AUTOMATED, connector.title.casefold()))


def outputs() -> Mapping[Path, str]:
    """Every generated file with what should be in it."""
    readme, site = ROOT / "README.md", ROOT / "mkdocs.yml"
    listed = connectors()
    return {
        ROOT / "docs" / "catalogue.md": catalogue(listed),
        ROOT / "docs" / "schemas" / "request.json": json.dumps(Request.model_json_schema(), indent=2, ensure_ascii=False) + "\n",
        **{CHECKS / name: text for name, text in pages().items()},
        site: NAVIGATION.sub(lambda match: match[1] + navigation() + match[2], site.read_text(encoding="utf-8")),
        readme: TABLE.sub(lambda match: match[1] + overview(listed) + match[2], readme.read_text(encoding="utf-8")),
        **{path: text for connector in listed if _tapes(connector) for path, text in provenance(connector).items()},
    }


def orphans() -> list[Path]:
    """Pages of checks that are gone."""
    return sorted(set(CHECKS.glob("*.md")) - {CHECKS / name for name in pages()})


# --- the table of the README -------------------------------------------------------------------------------------------------------


def overview(listed: Iterable[type[Connector]]) -> str:
    """One row a connector."""
    rows = [_overview_row(connector) for connector in listed]
    return table(("connector", "process", "finds by", "erases", "copies", "retained", "evidence", "cassettes"), rows)


def _overview_row(connector: type[Connector]) -> tuple[str, ...]:
    retained = [holds.resource for holds in connector.holds if holds.on_erase is Retained]
    return (
        f"[{connector.title}]({_readme(connector)})",
        connector.process.value,
        _finds_by(connector),
        _does(connector, Verb.ERASE),
        _does(connector, Verb.EXPORT),
        _names(retained) or "nothing" if connector.process is Process.AUTOMATED else "-",
        _evidence(connector),
        summary(_tapes(connector)) or "-",
    )


def _readme(connector: type[Connector]) -> str:
    module = Path(inspect.getfile(connector)).resolve()
    return f"connectors/{module.relative_to(ROOT / 'connectors').parts[0]}/README.md"


def _does(connector: type[Connector], verb: Verb) -> str:
    if connector.process is not Process.AUTOMATED:
        asks = verb is Verb.ERASE and connector.supports(Verb.EMAIL) is None
        return "asks for it" if asks else "by hand"
    return "yes" if connector.supports(verb) is None else "no"


# --- the catalogue -----------------------------------------------------------------------------------------------------------------


def catalogue(listed: list[type[Connector]]) -> str:
    """The page of all connectors."""
    head = (
        "# Catalogue\n\n<!-- made by docs/generate.py from the connectors' own declarations: change those, not this page -->\n\n"
        "What each connector of this repository declares. The words are explained in [the contract](connector.md), the layers in\n"
        "[Evidence](evidence.md). How a vendor was read, which permissions it wants and what nobody could check stands in each connector's README.\n"
    )
    return head + "".join(f"\n{_entry(connector)}" for connector in listed)


def _entry(connector: type[Connector]) -> str:
    facts = [
        ("install", f"`pip install dsr-connector-{connector.slug.replace('_', '-')}`"),
        ("category, process", f"{connector.category.value.replace('_', ' ')}, {connector.process.value}"),
        ("finds by", _finds_by(connector)),
        *((LABELS[verb], _supported(connector, verb)) for verb in Verb),
        ("retained", _names(holds.resource for holds in connector.holds if holds.on_erase is Retained) or "nothing"),
        ("limits", "; ".join(_limit(limit) for limit in connector.limits) or "none declared"),
        ("at a time", _at_a_time(connector)),
        ("verified", f"{_duration(connector.lag)} after the erasure" if connector.lag else "at once"),
        ("evidence", _evidence(connector)),
        *([("cassettes", _line(tapes))] if (tapes := _tapes(connector)) else []),
        *((f"exempt from {check}", reason) for check, reason in connector.exempt.items()),
        ("vendor's documentation", f"<{connector.docs}>" if connector.docs else "-"),
        ("README", f"`{_readme(connector)}`"),
    ]
    if connector.process is not Process.AUTOMATED:
        facts = [fact for fact in facts if fact[0] not in ("retained", "limits", "at a time", "verified")]
    parts = [f"## {connector.title}\n", inspect.cleandoc(connector.__doc__ or "").replace("\n", " ") + "\n", table(("", ""), facts)]
    if connector.holds:
        rows = [_resource(holds) for holds in connector.holds]
        parts += ["What it holds:\n", table(("resource", "data", "on erasure", "in the copy"), rows)]
    settings = list(_settings(connector))
    if settings:
        parts += ["Its settings:\n", table(("setting", "unless given", ""), settings)]
    return "\n".join(parts)


def _resource(holds: Holds) -> tuple[str, ...]:
    if holds.on_erase is Retained:
        reason = holds.reason.value.replace("_", " ") if holds.reason else ""
        erased = f"**retained** ({reason}): {holds.text}"
    else:
        erased = "anonymised" if holds.on_erase is Anonymized else "erased"
        erased += f" with `{holds.erased_with}`" if holds.erased_with else ""
    scope = " (app data)" if holds.scope.value == "app_data" else ""
    return f"`{holds.resource}`{scope}", _names(holds.data), erased, "yes" if holds.exported else f"no: {holds.excuse}"


def _settings(connector: type[Connector]) -> Iterable[tuple[str, ...]]:
    for name, field in connector.Config.model_fields.items():
        if name in ConnectorConfig.model_fields:
            continue
        secret = field.annotation is SecretStr or SecretStr in getattr(field.annotation, "__args__", ())
        default = "**required**" if field.is_required() else _default(field.get_default(call_default_factory=True))
        yield f"`{name}`", default, f"{field.description or ''}{' (secret: a reference)' if secret else ''}".strip()


def _default(value: Any) -> str:
    value = getattr(value, "value", value)
    if value in (None, "", (), []):
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _supported(connector: type[Connector], verb: Verb) -> str:
    excuse = connector.supports(verb)
    return "yes" if excuse is None else f"no: {excuse.reason}"


def _limit(limit: RateLimit) -> str:
    calls = f"{limit.calls} calls" if limit.calls != 1 else "1 call"
    per = "a second" if limit.per == 1 else "a minute" if limit.per == 60 else "an hour" if limit.per == 3600 else f"in {limit.per:g} s"
    where = [f"`{limit.on}`"] if isinstance(limit.on, str) and limit.on else [f"`{path}`" for path in limit.on]
    on = f" on {limit.method + ' ' if limit.method else ''}{', '.join(where)}" if where or limit.method else ""
    return f"{calls} {per}{on}"


def _at_a_time(connector: type[Connector]) -> str:
    sizes = [("found", connector.find_batch_size), ("erased", connector.batch_size)]
    said = ", ".join(f"{size:,} {what}" for what, size in sizes if size > 1)
    return said or "one"


def _duration(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'s' if count != 1 else ''}"
    raise AssertionError("every number of seconds is a number of seconds")


def _finds_by(connector: type[Connector]) -> str:
    if connector.process is not Process.AUTOMATED:
        return "-"
    return ", ".join(KINDS[str(kind.model_fields["kind"].default)] for kind in connector.identified_by)


def _evidence(connector: type[Connector]) -> str:
    return ", ".join(layer.value for layer in Evidence if layer in connector.evidence) or "-"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# --- where cassettes come from -------------------------------------------------------------------------------------------------------


def provenance(connector: type[Connector]) -> dict[Path, str]:
    """What a connector tells of its cassettes: to who reads its README, and to ``dsr connectors`` where it is installed."""
    readme = ROOT / _readme(connector)
    line = f"Checked against: **{_evidence(connector)}**. Cassettes: {_line(_tapes(connector))}."
    block = f"<!-- provenance: made by docs/generate.py -->\n{line}\n<!-- /provenance -->\n\n"
    text = EVIDENCE.sub(lambda match: match[0] + block, LINE.sub("", readme.read_text(encoding="utf-8")), count=1)
    package = package_of(connector)
    assert package is not None, f"{connector.slug} is no package"  # noqa: S101 - says which, to whoever adds a connector
    return {readme: text, package / SHIPPED: written(_tapes(connector))}


def _tapes(connector: type[Connector]) -> list[Provenance]:
    return list(cassettes_in(ROOT / _readme(connector).rpartition("/")[0] / "tests" / "cassettes"))


def _line(tapes: list[Provenance]) -> str:
    """``sandbox, 2026-11-21, API 2023-08-16 (`copy`, `erase`)``: once for all that were recorded together."""
    alike: dict[str, list[str]] = {}
    for tape in tapes:
        alike.setdefault(str(tape), []).append(tape.name)
    return "; ".join(f"{said} ({_names(names)})" for said, names in alike.items())


def main(arguments: list[str]) -> int:
    """Write, or check."""
    stale = [path for path, text in outputs().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    gone = orphans()
    if "--check" not in arguments:
        made = outputs()
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path], encoding="utf-8")
        for path in gone:
            path.unlink()
    for path in (*stale, *gone):
        sys.stdout.write(f"{'out of date' if '--check' in arguments else 'wrote' if path in stale else 'removed'}: {path.relative_to(ROOT)}\n")
    return 1 if (stale or gone) and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
