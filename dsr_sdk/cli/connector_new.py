"""``dsr connector new``: a connector from the template, for somebody who knows one product's API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsr_sdk.cli import output
from dsr_sdk.cli.session import Json

if TYPE_CHECKING:
    from dsr_sdk.testing.template import Draft

__all__ = ["register"]

_OPTIONS = {"product": "--product", "slug": "--slug", "base_url": "--base-url", "auth": "--auth"}
_QUESTIONS = {
    "product": "What is the product called?",
    "slug": "Its short name?",
    "base_url": "Where is its API?",
    "auth": "How does it authenticate?",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.callback()(lambda: None)  # a group, though it has one command only
    group.command("new")(new)
    app.add_typer(group, name="connector", help="Make a new connector from the template.")


def new(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where; it must be new, or empty.", show_default="dsr-connector-SLUG")
    ] = None,
    product: Annotated[str | None, typer.Option(help="The product's name, as its vendor writes it.", show_default=False)] = None,
    slug: Annotated[str | None, typer.Option(help="Its short name: lower-case letters, digits, underscores.", show_default="from --product")] = None,
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="Where its API is.", show_default=False)] = None,
    auth: Annotated[str | None, typer.Option(metavar="WAY", help="bearer, basic, header_key, query_key, oauth2 or none.", show_default=False)] = None,
    openapi: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The vendor's API description: answers and paths are taken from it.", show_default=False)
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Only list the calls in it that look like find, erase and export.")] = False,
    json: Json = False,
) -> None:
    """Make a connector: a package with a sandbox and tests that pass, in which you replace what is the vendor's. Asks what is missing."""
    from dsr_sdk.testing.template import draft

    if list_ and openapi is None:
        raise typer.BadParameter("--list needs --openapi FILE", param_hint="--list")
    described = draft(openapi) if openapi is not None else None
    if list_ and described is not None:
        _list(described, json=json)
        return
    given = {"product": product, "slug": slug, "base_url": base_url, "auth": auth.replace("-", "_") if auth else auth}
    answers = _answers(given, described, ask=output.interactive() and not json)
    _make(directory or _usual_place(answers["slug"]), answers, openapi, json=json)


def _make(place: Path, answers: dict[str, str], openapi: Path | None, *, json: bool) -> None:
    from dsr_sdk.testing.template import inside, new_connector

    files = new_connector(place, **answers, openapi=openapi)
    steps = _next(place, answers["slug"], ours=inside(place))
    if json:
        output.as_json({"directory": str(place), "files": [str(path) for path in files], "next": steps})
        return
    output.say(f"made {output.clean(place)}")
    for path in files:
        output.say(f"  {output.clean(path.relative_to(place))}")
    output.say("next:")
    for step in steps:
        output.say(f"  {output.clean(step)}")
    output.note("then put facts in the place of what REPLACE: marks; docs/template.md and docs/write-a-connector.md say how")
    _warn_of_twins(answers["slug"])


def _next(place: Path, slug: str, *, ours: bool) -> list[str]:
    """Three commands, to be typed where the user is."""
    import shlex

    if ours:
        where, tools = shlex.quote(str(place)), ".venv/bin/" if Path(".venv/bin/uv").exists() else ""
        return [f"{tools}uv pip install --no-deps -e {where}", f"{tools}python -m pytest {where}", f"grep -rnI 'REPLACE[:]' {where}"]
    return [f"cd {shlex.quote(str(place))}", "pip install -e '.[dev]'", "python -m pytest"]


def _usual_place(slug: str) -> Path:
    """Beside the other connectors in a checkout of dsr-sdk, otherwise a folder of its own."""
    from dsr_sdk.testing.template import inside

    ours = Path("connectors") / slug
    return ours if inside(ours) else Path(f"dsr-connector-{slug.replace('_', '-')}")


def _answers(given: dict[str, str | None], described: Draft | None, *, ask: bool) -> dict[str, str]:
    """The four answers: from the options, else asked for, else from the description."""
    from dsr_sdk.errors import ConfigError
    from dsr_sdk.testing.template import slug_of

    suggested = {"base_url": described.base_url, "auth": described.auth, "product": described.title} if described else {}
    answers: dict[str, str] = {}
    missing: list[str] = []
    for question, option in _OPTIONS.items():
        answer = given[question]
        suggestion = slug_of(answers.get("product", "")) if question == "slug" else suggested.get(question, "")
        if answer is None and ask:
            answer = _asked(question, suggestion)
        elif answer is None and question != "product":  # a description's title is seldom the product's name
            answer = suggestion or None
        if answer is None:
            missing.append(option)
        else:
            answers[question] = answer
    if missing:
        raise ConfigError(f"missing: {', '.join(missing)}", source="dsr connector new", fix="give them, or run it in a terminal to be asked")
    return answers


def _asked(question: str, suggestion: str) -> str:
    from dsr_sdk.testing.template import AUTHS, problem

    if question == "auth":
        for way, what in AUTHS.items():
            output.note(f"  {way:<10} {what}")
    while True:
        answer = str(typer.prompt(_QUESTIONS[question], default=suggestion or None, err=True)).strip()
        answer = answer.rstrip("/") if question == "base_url" else answer.replace("-", "_") if question == "auth" else answer
        wrong = problem(question, answer)
        if wrong is None:
            return answer
        output.note(f"error: {wrong}")


def _list(described: Draft, *, json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "verb": one.verb,
            "score": one.score,
            "call": one.call,
            "method": one.method,
            "path": one.path,
            "operation_id": one.operation_id,
            "why": list(one.why),
        }
        for one in described.candidates
    ]
    if json:
        about = {"file": str(described.source), "title": described.title, "base_url": described.base_url, "auth": described.auth}
        output.as_json({**about, "operations": described.operations, "candidates": rows})
        return
    if rows:
        columns = ("looks like", "score", "call", "because")
        output.table(columns, [(row["verb"], row["score"], row["call"], ", ".join(row["why"])) for row in rows])
    output.note(f"{len(rows)} of {described.operations} calls look right; these are guesses from names, and the vendor's documentation decides")


def _warn_of_twins(slug: str) -> None:
    """Two installed connectors of one slug are both quarantined."""
    from dsr_sdk.registry import Registry

    twin = Registry().available().get(slug)
    if twin is not None:
        output.note(f"warning: {twin.distribution} provides {slug!r} too: uninstall it before you install yours")
