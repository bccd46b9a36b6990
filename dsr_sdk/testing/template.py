"""New connectors from the template: the same that ``copier copy`` makes, offline, from an installed SDK.

    new_connector("dsr-connector-acme", product="Acme CRM", slug="acme", base_url="https://api.acme.com/v1", auth="bearer")

The template lies in ``connector_template/`` and is packed into the SDK. copier, which fills it in, is loaded when a connector is made.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dsr_sdk import __version__
from dsr_sdk.errors import ConfigError
from dsr_sdk.testing._drafting import BESIDE, SLOT, VERBS, Candidate, Draft, by_id, draft, noun_of, plain, words_of

__all__ = ["AUTHS", "Candidate", "Draft", "draft", "folder", "inside", "new_connector", "problem", "slug_of"]

AUTHS: Final[Mapping[str, str]] = {
    "bearer": "a token in Authorization: Bearer",
    "basic": "a user name and a password (HTTP Basic)",
    "header_key": "a key in a header of its own",
    "query_key": "a key in the query string",
    "oauth2": "OAuth 2.0 client credentials",
    "none": "not at all",
}
"""The ways to authenticate that the template knows, and what they are."""

# What follows is said in connector_template/copier.yml too, for those who call copier themselves; tests/testing/test_template.py compares.
_SLUG: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_NOT_IN_NAMES: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\"\\{}]")
_BASE_URL: Final = re.compile(r"(?i:https://[a-z0-9-]+([.][a-z0-9-]+)+)(:[0-9]{1,5})?(/[A-Za-z0-9._~:@%+-]*)*")
_PATH: Final = re.compile(r"(?=.{1,50}\Z)(/([A-Za-z0-9._~:@%-]|\{[^{}/]*\})*)+")  # as long as the skeleton's lines have room for


def new_connector(destination: str | Path, *, product: str, slug: str, base_url: str, auth: str, openapi: str | Path | None = None) -> list[Path]:
    """Make a connector in a directory that does not exist yet, or is empty. Returns its files.

    Args:
        product: The product's name, as its vendor writes it.
        slug: Its short name: lower-case letters, digits, underscores.
        base_url: Where its API is; ``https`` only.
        auth: How it authenticates: one of `AUTHS`.
        openapi: The vendor's API description, from which the paths are taken where they fit; see `draft`.

    Raises:
        ConfigError: An answer cannot be used, the directory is not empty, or copier is not installed: says what to do.
    """
    answers = {"product": product.strip(), "slug": slug, "base_url": base_url.rstrip("/"), "auth": auth}
    for question, answer in answers.items():
        wrong = problem(question, answer)
        if wrong:
            raise ConfigError("cannot be used" if answer else "is missing", field=question, fix=wrong)
    place = Path(destination)
    _refuse_to_overwrite(place)
    told: dict[str, Any] = {**answers, "home": _home()}
    if openapi is not None:
        told["draft"] = _answers(draft(openapi), auth)
    if inside(place):
        told["in_tree"] = True
    _fill_in(place, told)
    return sorted(path for path in place.rglob("*") if path.is_file() and ".git" not in path.relative_to(place).parts)


def problem(question: str, answer: str) -> str | None:
    """What is wrong with an answer to one of the template's questions, as advice; None when nothing is."""
    if question == "product":
        if not answer.strip():
            return "give the product's name, as its vendor writes it (Acme CRM)"
        if _NOT_IN_NAMES.search(answer):
            return "leave out quotation marks, backslashes, braces and line breaks"
        return "at most 50 characters" if len(answer) > 50 else None
    if question == "slug":
        fine = len(answer) <= 40 and _SLUG.fullmatch(answer) is not None
        return None if fine else "write it in lower-case letters, digits and single underscores, a letter first, at most 40 (acme_crm)"
    if question == "base_url":
        fine = len(answer) <= 100 and _BASE_URL.fullmatch(answer) is not None
        return None if fine else "write the address that every call begins with, like https://api.acme.com/v1 (at most 100 characters)"
    return None if answer in AUTHS else f"one of {', '.join(AUTHS)}"


def slug_of(product: str) -> str:
    """A slug for a product's name; empty when its letters give none."""
    slug = re.sub(r"[^a-z0-9]+", "_", product.lower()).strip("_")
    return slug if problem("slug", slug) is None else ""


def folder() -> Path:
    """Where the template is: packed into the installed SDK, or beside it in a checkout."""
    here = Path(__file__).resolve()
    for place in (here.parent / "_template", here.parents[2] / "connector_template"):
        if (place / "copier.yml").is_file():
            return place
    raise ConfigError("the template of connectors is not in this installation", fix="pip install --force-reinstall dsr-sdk")


def inside(destination: str | Path) -> bool:
    """Whether a directory is one of ``connectors/`` in a checkout of dsr-sdk, whose own tools and settings then apply."""
    parent = Path(destination).resolve().parent
    try:
        project = tomllib.loads((parent.parent / "pyproject.toml").read_text(encoding="utf-8")) if parent.name == "connectors" else {}
    except (OSError, ValueError):
        return False
    named = project.get("project")
    return isinstance(named, dict) and named.get("name") == "dsr-sdk"


def _home() -> dict[str, str]:
    """Where copier finds later versions of the template: the repository that the installed SDK names, at the tag of its version."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = [line.partition(", ") for line in metadata("dsr-sdk").get_all("Project-URL") or ()]
    except PackageNotFoundError:
        urls = []
    address = next((url for label, _, url in urls if label.lower() in ("repository", "source", "source code") and url.startswith("https://")), "")
    return {"_src_path": f"git+{address}" if address else "dsr-sdk", "_commit": f"v{__version__}"}


def _refuse_to_overwrite(place: Path) -> None:
    try:
        taken = place.is_symlink() or (place.exists() and (not place.is_dir() or any(one.name != ".git" for one in place.iterdir())))
    except OSError as error:
        raise ConfigError(f"cannot be read: {(error.strerror or '').lower()}", source=str(place), fix="name another directory") from None
    if not taken and not next(parent for parent in place.absolute().parents if parent.exists()).is_dir():
        raise ConfigError("cannot be made: what it would be in is no directory", source=str(place), fix="name another directory")
    if taken:
        raise ConfigError("is there already, and nothing is overwritten", source=str(place), fix="name a new directory, or an empty one")


def _fill_in(place: Path, told: Mapping[str, Any]) -> None:
    try:
        import copier
    except ModuleNotFoundError as error:
        if error.name != "copier":
            raise
        raise ConfigError("making a connector needs copier, which is not installed", fix="pip install copier") from None
    try:
        copier.run_copy(str(folder()), place, data=dict(told), defaults=True, quiet=True)
    except OSError as error:
        raise ConfigError(f"cannot be written: {(error.strerror or '').lower()}", source=str(place), fix="name another directory") from None
    except (copier.errors.CopierError, ValueError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"copier: {said}", source=str(place), fix="pip install --upgrade copier") from None


# --- what a description tells the template -------------------------------------------------------------------------------------------

_Choice = tuple[Candidate | None, Candidate | None, Candidate | None]


def _answers(described: Draft, auth: str) -> dict[str, Any]:
    """Lines to read, and the paths that fit the skeleton."""
    choice = _choice(described)
    told: dict[str, Any] = {"file": plain(described.source.name)[:50], "lines": [line for verb in VERBS for line in _lines(described, verb, choice)]}
    if any(choice):
        told["paths"] = _paths(*choice)
    if described.key_name and auth == described.auth:
        told["key_name"] = described.key_name
    return told


def _lines(described: Draft, verb: str, choice: _Choice) -> list[str]:
    """A verb's best three, and what was filled in if it is not one of them."""
    shown = list(described.of(verb)[:3])
    shown += [one for one in choice if one and one.verb == verb and one not in shown]
    return [f"{verb:<6} {one.call[:110]}{'  <- filled in' if one in choice else ''}" for one in shown] or [f"{verb:<6} (none)"]


def _choice(described: Draft) -> _Choice:
    """The calls for find, erase and export that are as simple as the skeleton (a list to search, one person by one id) and go together best."""
    simple = [one for one in described.candidates if one.noun and _PATH.fullmatch(one.path)]
    single = [one for one in simple if by_id(one.path) and len(SLOT.findall(one.path)) == 1 and noun_of(_collection(one.path))]
    lists: list[Candidate | None] = [one for one in simple if one.verb == "find" and one.method == "GET" and not SLOT.search(one.path)]
    erased: list[Candidate | None] = [one for one in single if one.verb == "erase" and one.method == "DELETE"]
    read: list[Candidate | None] = [one for one in single if one.verb == "export" and one.method == "GET"]
    return max(((f, e, r) for f in lists[:5] or [None] for e in erased[:5] or [None] for r in read[:5] or [None]), key=_agreement)


def _agreement(choice: _Choice) -> int:
    """How well calls go together: their scores, and more when they are about the same collection."""
    collections = [_collection(one.path) for one in choice if one]
    return sum(one.score for one in choice if one) + 6 * (len(collections) - len(set(collections)))


def _collection(path: str) -> str:
    """Where the people are: ``/v1/users`` of ``/v1/users/{id}`` and of ``/v1/users/search``."""
    segments = path.partition("{")[0].rstrip("/").split("/")
    while len(segments) > 2 and set(words_of(segments[-1])) <= BESIDE:
        segments.pop()
    return "/".join(segments)


def _paths(found: Candidate | None, erased: Candidate | None, read: Candidate | None) -> dict[str, str]:
    collection = next(_collection(one.path) for one in (erased, read, found) if one)
    noun = next(one.noun for one in (found, erased, read) if one)
    by_its_id = f"{collection}/{{id}}"
    return {
        "find": found.path if found else collection,
        "param": (found.param if found else "") or "email",
        "erase": SLOT.sub("{id}", erased.path) if erased else by_its_id,
        "read": SLOT.sub("{id}", read.path) if read else by_its_id,
        "resource": noun,
        "plural": f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s",
    }
