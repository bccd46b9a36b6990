"""The template of connectors: what it makes works anywhere, says no in one line, and takes later versions of the template in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dsr_sdk import __version__
from dsr_sdk.cli import app as cli_app
from dsr_sdk.cli import output
from dsr_sdk.errors import ConfigError
from dsr_sdk.testing import template
from dsr_sdk.testing.template import AUTHS, draft, folder, inside, new_connector, problem, slug_of
from tests.reference import shared

copier = pytest.importorskip("copier", reason="copier is not installed")

REPO = Path(__file__).resolve().parents[2]
ACME = {"product": "Acme CRM", "slug": "acme", "base_url": "https://api.acme.example/v1", "auth": "bearer"}
FILES = {
    ".copier-answers.yml",
    "README.md",
    "dsr_connector_acme/__init__.py",
    "dsr_connector_acme/py.typed",
    "dsr_connector_acme/sandbox.py",
    "pyproject.toml",
    "tests/test_acme.py",
}


def made(place: Path, **changes: Any) -> Path:
    """A connector of Acme's, in a directory."""
    new_connector(place, **{**ACME, **changes})
    return place


def checkout(place: Path) -> Path:
    """A directory that is a checkout of dsr-sdk as far as a connector can tell, with one connector in it."""
    (place / "connectors").mkdir(parents=True)
    shutil.copy(REPO / "pyproject.toml", place)
    (place / "dsr_sdk").symlink_to(REPO / "dsr_sdk")
    shutil.copytree(REPO / "connectors" / "manual", place / "connectors" / "manual")
    return place


def said(error: pytest.ExceptionInfo[ConfigError]) -> str:
    """The whole of an error, seen to be one line."""
    assert "\n" not in str(error.value)
    assert error.value.fix
    return str(error.value)


# --- what it makes -------------------------------------------------------------------------------------------------------------------


class Fresh:
    """An environment of its own, that sees what is installed in this one, and runs things in it."""

    def __init__(self, place: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
        self.python = place / "bin" / "python"
        packages = next((place / "lib").glob("python*/site-packages"))
        # A path alone would leave this environment's own .pth files, and with them editable installs, unread.
        (packages / "parent.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")

    def install(self, project: Path) -> None:
        """Install a project as its user would, from what is here: no index is asked."""
        pytest.importorskip("hatchling", reason="hatchling, which builds connectors, is not installed")
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if uv is None:
            pytest.skip("uv is not installed")
        self._run([uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--no-build-isolation", "--python", str(self.python), str(project)])

    def __call__(self, *command: str, cwd: Path, env: dict[str, str] | None = None) -> str:
        """Run a module; its output. It has to end well."""
        return self._run([str(self.python), "-m", *command], cwd=cwd, env=env)

    @staticmethod
    def _run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "VIRTUAL_ENV", "PYTHONPATH"))}
        done = subprocess.run(command, cwd=cwd, env={**clean, **(env or {})}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """An environment with two new connectors in it: one of a third party, one in this repository."""
    return Fresh(tmp_path_factory.mktemp("fresh") / "venv")


@pytest.fixture(scope="module", params=["outside", pytest.param("inside", marks=pytest.mark.thorough)])
def project(request: pytest.FixtureRequest, fresh: Fresh, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new connector, installed: in somebody's own folder, and in a copy of ``connectors/``."""
    base = tmp_path_factory.mktemp(request.param)
    if request.param == "outside":
        place = made(base / "dsr-connector-acme")
    else:
        place = made(checkout(base) / "connectors" / "acme2", slug="acme2", product="Ácme & Söhne's", auth="basic")
    fresh.install(place)
    return place


def top(project: Path) -> Path:
    """Where tools are run from: the project, or the checkout it is in."""
    return project.parent.parent if inside(project) else project


def test_its_suite_passes(project: Path, fresh: Fresh) -> None:
    """Installed in a fresh environment, as it was made, it passes the standard tests: all but those for verbs it has not."""
    out = fresh("pytest", "-q", "-p", "no:cacheprovider", str(project.relative_to(top(project))), cwd=top(project))
    assert "passed" in out
    assert "failed" not in out
    assert int(out.rsplit(" passed", 1)[0].split()[-1]) >= 70


def test_it_is_clean(project: Path) -> None:
    """Ruff finds nothing in it and would lay nothing out otherwise, by its own settings or those of the repository."""
    for command in (["check"], ["format", "--check"]):
        Fresh._run([sys.executable, "-m", "ruff", *command, "--no-cache", str(project)], cwd=top(project))


def test_its_types_are_right(project: Path, fresh: Fresh, request: pytest.FixtureRequest) -> None:
    """mypy --strict finds nothing in it."""
    cache = request.config.cache.mkdir(f"mypy-of-{'inside' if inside(project) else 'outside'}")
    parts = [str(part.relative_to(top(project))) for part in (next(project.glob("dsr_connector_*")), project / "tests")]
    quiet = ("--follow-imports", "silent")  # of the SDK itself nothing is said here
    out = fresh("mypy", "--strict", *quiet, "--cache-dir", str(cache), *parts, cwd=top(project), env={"MYPYPATH": str(project)})
    assert "no issues found in 3 source files" in out


def test_it_is_found_when_installed(project: Path, fresh: Fresh) -> None:
    """Its entry points work: a host finds the connector and its sandbox, typed and with a version."""
    slug = "acme2" if inside(project) else "acme"
    package = f"dsr_connector_{slug}"
    code = (
        "import importlib.metadata as m, importlib.resources as r\n"
        "from dsr_sdk.registry import Registry\n"
        f"print(Registry().load('{slug}').title, Registry().available()['{slug}'].version)\n"
        f"print(next(iter(m.entry_points(group='dsr_sdk.sandboxes', name='{slug}'))).load().slug)\n"
        f"print(r.files('{package}').joinpath('py.typed').is_file())"
    )
    out = Fresh._run([str(fresh.python), "-c", code], cwd=project.parent)
    assert out.splitlines() == [f"{'Ácme & Söhne’s'.replace('’', chr(39)) if slug == 'acme2' else 'Acme CRM'} 0.1.0", slug, "True"]


def test_its_files(tmp_path: Path) -> None:
    """At most eight, named in the answer; inside the repository the settings of the tools are the repository's."""
    files = new_connector(tmp_path / "acme", **ACME)
    assert {path.relative_to(tmp_path / "acme").as_posix() for path in files} == FILES | {".gitignore"}
    assert files == sorted(files)
    ours = made(checkout(tmp_path / "repo") / "connectors" / "acme")
    assert {path.relative_to(ours).as_posix() for path in ours.rglob("*") if path.is_file()} == FILES
    assert "[tool.ruff" in (tmp_path / "acme" / "pyproject.toml").read_text()
    assert "[tool.ruff" not in (ours / "pyproject.toml").read_text()


@pytest.mark.parametrize("auth", AUTHS)
def test_each_way_to_authenticate(auth: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each makes a connector that finds, erases and copies at its own sandbox."""
    place = made(tmp_path / "kit", auth=auth, slug=f"kit_{auth}")
    assert runs(place, f"kit_{auth}", monkeypatch) == ["Erased"]


def test_each_way_is_clean(tmp_path: Path) -> None:
    """Ruff has nothing against any of them, inside or outside the repository, with long answers or short ones."""
    base = checkout(tmp_path / "repo")
    for auth in AUTHS:
        made(tmp_path / "outside" / auth, auth=auth)
        made(base / "connectors" / auth, auth=auth)
    made(tmp_path / "outside" / "long", product="W" * 50, slug="w" * 40, base_url=f"https://{'api.' * 17}example.com/v1")
    for place, part in ((tmp_path / "outside", "."), (base, "connectors")):
        Fresh._run([sys.executable, "-m", "ruff", "check", "--no-cache", part], cwd=place)
        Fresh._run([sys.executable, "-m", "ruff", "format", "--no-cache", "--check", part], cwd=place)


def runs(place: Path, slug: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run a made connector's scenario against its sandbox; the outcomes of the erasure."""
    from importlib import import_module

    from dsr_sdk.testing.scenario import ADA, erase_all, export_all, find, identity_of, subject_of, world

    monkeypatch.syspath_prepend(place)
    module = import_module(f"dsr_connector_{slug}")
    connector = getattr(module, module.__all__[0])
    sandbox = getattr(import_module(f"dsr_connector_{slug}.sandbox"), f"{connector.__name__}Sandbox")
    identity = identity_of(connector, ADA)
    assert identity is not None
    with world(connector, sandbox, ADA) as w:
        assert w.connector.dsr_check(w.http.api())
        matches = find(w.connector, w.http, subject_of(ADA, identity))
        assert [record.data["email"] for record in export_all(w.connector, w.http, matches, lambda: None)] == [ADA.email]
        return [type(result).__name__ for _, result in erase_all(w.connector, w.http, matches)]


def test_names_that_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor named like something that a connector uses makes a class of another name."""
    assert runs(made(tmp_path / "a", product="Cursor", slug="cursor"), "cursor", monkeypatch) == ["Erased"]
    assert "class CursorConnector(Connector)" in (tmp_path / "a" / "dsr_connector_cursor" / "__init__.py").read_text()


def test_what_is_left_to_do(tmp_path: Path) -> None:
    """The command in the README lists each guess, and not itself."""
    for auth in AUTHS:
        place = made(tmp_path / auth, auth=auth)
        text = (place / "README.md").read_text()
        command = next(line.partition("#")[0] for line in text.splitlines() if line.startswith("grep"))
        listed = Fresh._run(["sh", "-c", command], cwd=place).splitlines()
        marked = [line for path in place.rglob("*") if path.is_file() for line in path.read_text().splitlines() if "REPLACE" in line]
        assert len(listed) == len(marked) - 1


# --- what it refuses -----------------------------------------------------------------------------------------------------------------

BAD = [
    ("product", " "),
    ("product", 'Ac"me'),
    ("product", "Ac\\me"),
    ("product", "Acme\nimport os"),
    ("product", "Acme {{ 7 * 7 }}"),
    ("product", "A" * 51),
    ("slug", "Acme"),
    ("slug", "acme-crm"),
    ("slug", "1acme"),
    ("slug", "acme_"),
    ("slug", "acme\n"),
    ("slug", "a" * 41),
    ("slug", "../acme"),
    ("base_url", "http://api.acme.example"),
    ("base_url", "api.acme.example"),
    ("base_url", "https://localhost"),
    ("base_url", "https://user:secret@api.acme.example"),
    ("base_url", "https://api.acme.example/v1?key=1"),
    ("base_url", 'https://api.acme.example/"'),
    ("base_url", f"https://{'a' * 90}.example"),
    ("auth", "magic"),
]
GOOD = [("product", "Ácme & Söhne's"), ("slug", "a1_b2"), ("base_url", "HTTPS://api.acme.example:8443/v1.2/x-y"), ("auth", "oauth2")]


@pytest.mark.parametrize(("question", "answer"), BAD)
def test_answers_that_cannot_be_used(question: str, answer: str, tmp_path: Path) -> None:
    """One line that says what to write; copier, called by hand, refuses the same; nothing is made."""
    with pytest.raises(ConfigError) as caught:
        made(tmp_path / "acme", **{question: answer})
    assert question in said(caught)
    with pytest.raises(ValueError, match=r"^Validation error|^Invalid choice"):
        copier.run_copy(str(folder()), tmp_path / "acme", data={**ACME, question: answer}, defaults=True, quiet=True)
    assert not (tmp_path / "acme").exists()


@pytest.mark.parametrize(("question", "answer"), GOOD)
def test_answers_that_can(question: str, answer: str, tmp_path: Path) -> None:
    """The SDK and copier agree on what is fine, too."""
    assert problem(question, answer) is None
    copier.run_copy(str(folder()), tmp_path / "acme", data={**ACME, question: answer}, defaults=True, quiet=True)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A directory with anything in it, a file, a dangling link: refused. An empty one, and one with only a git repository, will do."""
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "README.md").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for place in (tmp_path / "used", tmp_path / "used" / "README.md", tmp_path / "link"):
        with pytest.raises(ConfigError, match="is there already") as caught:
            made(place)
        assert str(place) in said(caught)
    assert (tmp_path / "used" / "README.md").read_text() == "mine"
    (tmp_path / "new" / ".git").mkdir(parents=True)
    assert all(".git" not in path.parts for path in new_connector(tmp_path / "new", **ACME))


def test_without_copier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says how to get it."""
    monkeypatch.setitem(sys.modules, "copier", None)
    with pytest.raises(ConfigError, match="pip install copier"):
        made(tmp_path / "acme")


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    """A parent that is a file: one line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        made(tmp_path / "file" / "acme")
    assert "file/acme" in said(caught)


def test_a_slug_for_a_name() -> None:
    """What is suggested is a slug, or nothing."""
    assert slug_of("Acme CRM 2.0") == "acme_crm_2_0"
    assert slug_of("日本") == slug_of("7digital!") == ""


def test_the_template_is_found_in_an_installed_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed into the package it comes before the one in a checkout; missing, it says so."""
    package = tmp_path / "site-packages" / "dsr_sdk" / "testing"
    package.mkdir(parents=True)
    monkeypatch.setattr(template, "__file__", str(package / "template.py"))
    with pytest.raises(ConfigError, match="not in this installation"):
        folder()
    shutil.copytree(REPO / "connector_template", package / "_template")
    assert folder() == package / "_template"
    assert len(list(made(tmp_path / "acme").rglob("*.py"))) == 3


# --- later versions of the template --------------------------------------------------------------------------------------------------

ROOT = "!include connector_template/copier.yml\n---\n_subdirectory: connector_template/template\n"
"""What this repository needs in a copier.yml of its own to be a template that copier can be pointed at."""


@pytest.fixture
def git(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Git, for nobody in particular."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed: copier updates from a repository")
    for name, value in {"NAME": "Nobody", "EMAIL": "nobody@example.com"}.items():
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{name}", value)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)

    def run(place: Path, *arguments: str) -> str:
        return Fresh._run(["git", *arguments], cwd=place)

    return run


def released(git: Callable[..., str], repository: Path, tag: str) -> None:
    """Commit everything, as a version."""
    if not (repository / ".git").exists():
        git(repository, "init", "--quiet")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", tag)
    git(repository, "tag", tag)


@pytest.mark.parametrize("shape", ["the template alone", "this repository"])
def test_copier_update(shape: str, tmp_path: Path, git: Callable[..., str]) -> None:
    """What a later version of the template changes comes into a connector, and what its author changed stays."""
    source = tmp_path / "source"
    files = source / "connector_template" if shape == "this repository" else source
    shutil.copytree(folder(), files)
    if shape == "this repository":
        (source / "copier.yml").write_text(ROOT)
    released(git, source, "v1.0.0")

    place = tmp_path / "work" / "kit"
    copier.run_copy(str(source), place, data={**ACME, "auth": "oauth2"}, defaults=True, quiet=True)
    module = place / "dsr_connector_acme" / "__init__.py"
    module.write_text(module.read_text().replace("Category.CUSTOM", "Category.CRM").replace('"/contacts"', '"/people"'))
    released(git, place.parent, "mine")

    changed(files)
    released(git, source, "v1.1.0")
    copier.run_update(place, defaults=True, overwrite=True, quiet=True)
    updated(place)
    assert "/people" in module.read_text()
    assert "Category.CRM" in module.read_text()
    assert "OAuth2ClientCredentials" in module.read_text()


def test_copier_update_of_what_the_sdk_made(tmp_path: Path, git: Callable[..., str]) -> None:
    """Made offline by the SDK, in the repository, from a description: told where the template's repository is, it is updated the same way."""
    source = tmp_path / "source"
    shutil.copytree(folder(), source)
    released(git, source, f"v{__version__}")
    place = made(checkout(tmp_path / "repo") / "connectors" / "acme", openapi=description(tmp_path))
    answers = place / ".copier-answers.yml"
    before = answers.read_text()
    assert f"_commit: v{__version__}\n" in before
    assert str(REPO) not in before
    answers.write_text(re.sub(r"_src_path: .*", f"_src_path: {source}", before))
    (tmp_path / "repo" / "dsr_sdk").unlink()
    released(git, tmp_path / "repo", "mine")

    changed(source)
    released(git, source, "v99.0")
    copier.run_update(place, defaults=True, overwrite=True, quiet=True)
    updated(place)
    assert "[tool.ruff" not in (place / "pyproject.toml").read_text()
    assert '"/v1/customers/{id}"' in (place / "dsr_connector_acme" / "__init__.py").read_text()
    assert set(git(tmp_path / "repo", "diff", "--name-only").split()) == {f"connectors/acme/{name}" for name in (".copier-answers.yml", "README.md")}


def test_where_updates_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the repository that the installed SDK names; without one, the file says what to write."""
    about = Message()
    monkeypatch.setattr("importlib.metadata.metadata", lambda name: about)
    assert "# But once: in the place of dsr-sdk" in (made(tmp_path / "a") / ".copier-answers.yml").read_text()
    about["Project-URL"] = "Documentation, https://docs.example.com"
    about["Project-URL"] = "Repository, https://git.example.com/dsr-sdk"
    answers = (made(tmp_path / "b") / ".copier-answers.yml").read_text()
    assert "_src_path: git+https://git.example.com/dsr-sdk\n" in answers
    assert "But once" not in answers


def changed(files: Path) -> None:
    """The template's next version: a section more in the README."""
    readme = files / "template" / "README.md.jinja"
    readme.write_text(readme.read_text().replace("## Evidence", "## Support\n\nAsk us.\n\n## Evidence"))


def updated(place: Path) -> None:
    """The next version has come in, without a conflict."""
    assert "## Support\n\nAsk us.\n" in (place / "README.md").read_text()
    assert not list(place.rglob("*.rej"))
    assert not [path for path in place.rglob("*") if path.is_file() and "<<<<<<<" in path.read_text()]
    assert "_commit: v1.0.0" not in (place / ".copier-answers.yml").read_text()


# --- descriptions --------------------------------------------------------------------------------------------------------------------


def description(directory: Path, paths: dict[str, Any] | None = None, **rest: Any) -> Path:
    """A made-up description, in a file."""
    usual = {
        "/v1/customers": {"get": operation("ListCustomers", query=["limit", "email"]), "post": operation("CreateCustomer")},
        "/v1/customers/{customer_id}": {
            "parameters": [{"name": "customer_id", "in": "path"}],
            "get": operation("GetCustomer"),
            "put": operation("UpdateCustomer"),
            "delete": operation("DeleteCustomer"),
        },
        "/v1/customers/{customer_id}/notes": {"get": operation("ListNotes")},
        "/v1/orders": {"get": operation("ListOrders")},
        "/v1/privacy/erasures": {"post": operation("RequestErasure")},
    }
    path = directory / "acme.json"
    path.write_text(json.dumps({"openapi": "3.0.3", "info": {"title": "Acme API"}, "paths": usual if paths is None else paths, **rest}))
    return path


def operation(name: str, query: list[str] | None = None) -> dict[str, Any]:
    """A described call."""
    return {"operationId": name, "parameters": [{"name": one, "in": "query"} for one in query or []], "responses": {}}


def test_calls_that_look_right(tmp_path: Path) -> None:
    """The best first, with what speaks for them; what has nothing to do with people is left out."""
    described = draft(description(tmp_path))
    assert [one.call for one in described.of("find")] == ["GET /v1/customers ?email"]
    assert [one.call for one in described.of("erase")] == ["DELETE /v1/customers/{customer_id}", "POST /v1/privacy/erasures"]
    assert [one.call for one in described.of("export")] == ["GET /v1/customers/{customer_id}", "GET /v1/customers/{customer_id}/notes"]
    assert described.of("find")[0].why == ("parameter email", "about: customer")
    assert described.operations == 8


@pytest.mark.parametrize(
    ("scheme", "auth", "key"),
    [
        ({"type": "http", "scheme": "Bearer"}, "bearer", ""),
        ({"type": "http", "scheme": "basic"}, "basic", ""),
        ({"type": "apiKey", "in": "header", "name": "Api-Key"}, "header_key", "Api-Key"),
        ({"type": "apiKey", "in": "query", "name": "key"}, "query_key", "key"),
        ({"type": "apiKey", "in": "header", "name": 'x"]; import os #'}, "header_key", ""),
        ({"type": "oauth2", "flows": {"clientCredentials": {}}}, "oauth2", ""),
        ({"type": "oauth2", "flows": {"authorizationCode": {}}}, "bearer", ""),
        ({"type": "mutualTLS"}, "", ""),
        ("nonsense", "", ""),
    ],
)
def test_how_it_authenticates(scheme: Any, auth: str, key: str, tmp_path: Path) -> None:
    """Taken from the description where it says so, with the key's own name."""
    described = draft(description(tmp_path, components={"securitySchemes": {"one": scheme}}))
    assert (described.auth, described.key_name) == (auth, key)


def test_where_it_is(tmp_path: Path) -> None:
    """Taken from the description where it is a whole address."""
    assert draft(description(tmp_path)).base_url == ""
    assert draft(description(tmp_path, servers=[{"url": "https://api.acme.example/"}])).base_url == "https://api.acme.example"
    servers = [{"url": "https://{region}.acme.example/v2", "variables": {"region": {"default": "eu"}}}]
    assert draft(description(tmp_path, servers=servers)).base_url == "https://eu.acme.example/v2"
    assert draft(description(tmp_path, servers=[{"url": "https://{tenant}.acme.example"}])).base_url == ""


def test_paths_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connector and sandbox begin with the description's calls; they are listed, and those filled in are marked."""
    place = made(tmp_path / "kit", slug="filled", openapi=description(tmp_path))
    module = (place / "dsr_connector_filled" / "__init__.py").read_text()
    assert 'api.pages("/v1/customers", {"email": subject.email}, paging=PAGES)' in module
    assert "#   find   GET /v1/customers ?email  <- filled in\n" in module
    assert "#   erase  POST /v1/privacy/erasures\n" in module
    assert runs(place, "filled", monkeypatch) == ["Erased"]
    Fresh._run([sys.executable, "-m", "ruff", "check", "--no-cache", str(place)])
    Fresh._run([sys.executable, "-m", "ruff", "format", "--no-cache", "--check", str(place)])


def test_calls_that_do_not_fit_are_only_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the skeleton is too simple for the vendor, it stays as it is."""
    paths = {"/lists/{list}/members/{hash}": {"delete": operation("DeleteMember")}, "/gdpr/forget": {"post": operation("Forget")}}
    place = made(tmp_path / "kit", slug="listed", openapi=description(tmp_path, paths))
    module = (place / "dsr_connector_listed" / "__init__.py").read_text()
    assert "#   erase  POST /gdpr/forget\n" in module
    assert "#   find   (none)\n" in module
    assert 'api.delete("/contacts/{id}", id=match.id)' in module
    assert runs(place, "listed", monkeypatch) == ["Erased"]


def test_a_hostile_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in a description becomes code: line breaks, quotation marks, braces of the template, other alphabets."""
    evil = '\nimport os\n"""; {{ 7 * 7 }} \u2028 raise SystemExit # '
    paths: Any = {
        f"/users{evil}": {"get": operation(f"find{evil}", query=["email", f'email"{evil}'])},
        "/users/{id}": {"delete": operation(evil), "get": operation("GetUser")},
        "/members": {"get": operation("ListMembers", query=['email": "']), "delete": "nonsense", "post": None, "parameters": 7},
        "/broken": {"$ref": "#/paths/~1broken"},
        7: [],
    }
    schemes = {"one": {"type": "apiKey", "in": "header", "name": evil}}
    path = description(tmp_path, paths, components={"securitySchemes": schemes}, servers=[{"url": f"https://{evil}"}], info={"title": evil})
    evil_name = path.rename(tmp_path / 'a"""\nb.json')
    place = made(tmp_path / "kit", slug="hostile", openapi=evil_name)
    for source in place.rglob("*.py"):
        compile(source.read_text(), str(source), "exec")
        assert not [line for line in source.read_text().splitlines() if line.startswith(("import os", "raise")) or "49" in line]
    assert runs(place, "hostile", monkeypatch) == ["Erased"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "neither valid JSON nor YAML"),
        (b"a: [1", "not valid YAML in line"),
        (b"\x00\x01", "neither valid JSON nor YAML"),
        (b"[" * 100_000, "nested deeper than"),
        (b"- " * 100_000 + b"1", "nested deeper than"),
        (b'{"a":' * 100_000, "neither valid JSON nor YAML"),
        (b'{"swagger": "2.0"}', "Swagger 2.0"),
        (b"type Query { user: User }", "no OpenAPI"),
        (b"", "no OpenAPI"),
        (b"openapi: 3.0.3\npaths: 7", "'paths' is not a mapping"),
        (b"openapi: 3.0.3\npaths: {}", "describes no call"),
        (b"openapi: 3.0.3\n" + b"# \n" * 1_400_000, "too large to be read (4.2 MB)"),
    ],
)
def test_files_that_cannot_be_used(content: bytes, message: str, tmp_path: Path) -> None:
    """One line that names the file and the way out."""
    path = tmp_path / "vendor.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        draft(path)
    assert message in said(caught)
    assert str(path) in said(caught)


def test_files_that_are_none(tmp_path: Path) -> None:
    """A name with a typo, a directory, a device."""
    for path in (tmp_path / "nosuch.yaml", tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigError) as caught:
            draft(path)
        assert str(path) in said(caught)


BEST = {
    "activecampaign": ("GET /contacts ?email", "DELETE /contacts/{id}", "GET /contacts/{id}"),
    "auth0": ("GET /users-by-email ?email", "DELETE /users/{id}", "GET /users/{id}"),
    "braze": ("GET /email/unsubscribes ?email", "POST /users/delete", "POST /users/export/ids"),
    "hubspot": ("POST /crm/v3/objects/contacts/search", "POST /crm/v3/objects/contacts/gdpr-delete", "GET /crm/v3/objects/contacts/{contactId}"),
    "intercom": ("POST /contacts/search", "DELETE /contacts/{contact_id}", "GET /contacts/{contact_id}"),
    "iterable": ("GET /api/users/getByEmail ?email", "POST /api/users/forget", "GET /api/users/{email}"),
    "klaviyo": ("GET /api/profiles ?filter", "POST /api/data-privacy-deletion-jobs", "GET /api/profiles/{id}"),
    "mailchimp": (
        "GET /search-members ?query",
        "POST /lists/{list_id}/members/{subscriber_hash}/actions/delete-permanent",
        "GET /lists/{list_id}/members/{subscriber_hash}",
    ),
    "stripe": ("GET /v1/customers ?email", "DELETE /v1/customers/{customer}", "GET /v1/customers/{customer}"),
    "zendesk": ("GET /api/v2/users/search ?query", "DELETE /api/v2/deleted_users/{deleted_user_id}", "GET /api/v2/users/{user_id}"),
}
"""What people who know these vendors would choose first, or nearly."""


def test_descriptions_of_real_vendors(tmp_path: Path) -> None:
    """Each is read, or refused in a line; for vendors we know, the first choices are the right ones. What is made is clean."""
    usable = 0
    for path in sorted(shared("specs").iterdir()):
        try:
            described = draft(path)
        except ConfigError:
            assert path.suffix != ".yaml"
            continue
        usable += bool(described.candidates)
        firsts = tuple(next((one.call for one in described.of(verb)), "") for verb in ("find", "erase", "export"))
        assert firsts == BEST.get(path.stem, firsts)
        if usable % 6 == 0:  # making one takes a tenth of a second
            made(tmp_path / path.stem, slug="vendor", openapi=path)
    assert usable >= 50
    Fresh._run([sys.executable, "-m", "ruff", "check", "--no-cache", str(tmp_path)])
    Fresh._run([sys.executable, "-m", "ruff", "format", "--no-cache", "--check", str(tmp_path)])


@pytest.mark.parametrize("name", ["stripe", "zendesk", "discourse", "ory", "klaviyo", "chargebee_v1"])
def test_what_is_made_from_real_descriptions_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The skeleton with a vendor's own paths in it runs against its sandbox."""
    described = draft(shared("specs", f"{name}.yaml"))
    slug = f"real_{name}"
    place = made(
        tmp_path / "kit", slug=slug, auth=described.auth or "bearer", base_url=described.base_url or "https://x.example", openapi=described.source
    )
    assert runs(place, slug, monkeypatch) == ["Erased"]


# --- the command ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dsr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``dsr connector``, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(cli_app.COMMANDS, "connector", ("connector_new", "Make a new connector from the template."))

    def run(*arguments: str, input: str | None = None, code: int = 0) -> Any:
        result = CliRunner().invoke(cli_app.app, ["connector", *arguments], input=input, prog_name="dsr")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, f"{result.exit_code}\n{result.stdout}\n{result.stderr}"
        return result

    return run


OPTIONS = ("--product", "Acme CRM", "--base-url", "https://api.acme.example/v1/", "--auth", "header-key")


def test_new(dsr: Callable[..., Any], tmp_path: Path) -> None:
    """Says what was made and the next three commands; the slug and the directory follow from the name."""
    out = dsr("new", *OPTIONS).stdout
    assert out.startswith("made dsr-connector-acme-crm\n  .copier-answers.yml\n")
    assert out.endswith("next:\n  cd dsr-connector-acme-crm\n  pip install -e '.[dev]'\n  python -m pytest\n")
    assert 'base_url = "https://api.acme.example/v1"' in (tmp_path / "dsr-connector-acme-crm" / "dsr_connector_acme_crm" / "__init__.py").read_text()
    assert "is there already" in dsr("new", *OPTIONS, code=3).stderr


def test_new_in_a_checkout(dsr: Callable[..., Any], tmp_path: Path) -> None:
    """At the top of a checkout it goes to the other connectors; as JSON it is one document."""
    checkout(tmp_path / "repo")
    os.chdir(tmp_path / "repo")
    made_ = json.loads(dsr("new", *OPTIONS, "--slug", "acme", "--json").stdout)
    assert made_["directory"] == "connectors/acme"
    assert len(made_["files"]) == 7
    assert made_["next"][0] == "uv pip install --no-deps -e connectors/acme"


def test_new_warns_of_a_twin(dsr: Callable[..., Any]) -> None:
    """Two installed connectors of one slug are in each other's way."""
    assert "dsr-connector-stripe provides 'stripe' too" in dsr("new", *OPTIONS, "--slug", "stripe").stderr


def test_new_asks(dsr: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, what is missing is asked for, again until it can be used; the description suggests answers."""
    monkeypatch.setattr(output, "interactive", lambda: True)
    path = description(tmp_path, servers=[{"url": "https://api.acme.example"}])
    ran = dsr("new", "kit", "--openapi", str(path), input='Ac"me\nAcme\nAC-ME\n\n\nmagic\nquery-key\n')
    assert ran.stderr.count("error: ") == 3
    answers = (tmp_path / "kit" / ".copier-answers.yml").read_text()
    assert "product: Acme\nslug: acme\n" in answers
    assert "base_url: https://api.acme.example\n" in answers
    assert "auth: query_key\n" in answers


def test_new_without_a_terminal(dsr: Callable[..., Any], tmp_path: Path) -> None:
    """Nobody is asked: one line names what is missing, and nothing is made; a wrong answer likewise."""
    ran = dsr("new", code=3)
    assert "missing: --product, --slug, --base-url, --auth" in ran.stderr
    assert ran.stderr.count("\n") == 2
    ran = dsr("new", *OPTIONS[:4], "--auth", "magic", code=3)
    assert ran.stderr == "error: auth: cannot be used\nfix: one of bearer, basic, header_key, query_key, oauth2, none\n"
    assert list(tmp_path.iterdir()) == []


def test_list(dsr: Callable[..., Any], tmp_path: Path) -> None:
    """The candidates of a description in a table or as JSON; nothing is made."""
    path = description(tmp_path)
    lines = dsr("new", "--openapi", str(path), "--list").stdout.splitlines()
    assert lines[0].split() == ["LOOKS", "LIKE", "SCORE", "CALL", "BECAUSE"]
    assert lines[1].split()[:5] == ["find", "9", "GET", "/v1/customers", "?email"]
    rows = json.loads(dsr("new", "--openapi", str(path), "--list", "--json").stdout)
    assert rows["operations"] == 8
    assert rows["candidates"][0]["why"] == ["parameter email", "about: customer"]
    assert list(tmp_path.iterdir()) == [path]
    assert "--list needs --openapi" in dsr("new", "--list", code=2).stderr
    ran = dsr("new", "--list", "--openapi", "nosuch.yaml", code=3)
    assert ran.stderr == "error: nosuch.yaml: the API description cannot be read: No such file or directory\nfix: check the name of the file\n"


def test_the_page_shows_what_is_printed() -> None:
    """The table in docs/template.md is a part of what Stripe's description gives."""
    page = (REPO / "docs" / "template.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"(find|erase|export) +\d", line)]
    described = draft(shared("specs", "stripe.yaml"))
    given = {f"{one.verb} {one.score} {one.call} {', '.join(one.why)}" for one in described.candidates}
    assert len(rows) == 5
    assert {" ".join(row.split()) for row in rows} <= given
