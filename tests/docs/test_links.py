"""Every link inside the documentation leads somewhere, on paper and on the built site."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from tests.docs.pages import DOCS, PENDING, ROOT, anchors, links, pages, prose, text_of

EXTERNAL = ("https://", "http://", "mailto:")


def _problems(page: Path, known: dict[Path, set[str]]) -> list[str]:
    problems = []
    for link in links(page):
        if link.startswith(EXTERNAL) or link.partition("#")[0] in PENDING:
            continue
        place, _, anchor = unquote(link).partition("#")
        target = (page.parent / place).resolve() if place else page.resolve()
        if not target.exists():
            problems.append(f"{link}: there is no such file")
        elif page.is_relative_to(DOCS) and not target.is_relative_to(DOCS):
            problems.append(f"{link}: leads out of docs/, where the built site cannot follow")
        elif anchor and anchor not in known.get(target, set()):
            problems.append(f"{link}: there is no such heading")
    return problems


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """A relative link leads to a file that exists, and its anchor to a heading of it."""
    known = {other.resolve(): anchors(other) for other in pages()}
    assert not _problems(page, known)


def test_bad_links_are_noticed(tmp_path: Path) -> None:
    """The checker itself: a missing file and a missing heading are found, and a link in code is none."""
    page = tmp_path / "page.md"
    page.write_text("# A `b` c\n\n[good](#a-b-c) [bad](#nope) [gone](gone.md) `[code](x.md)`\n\n```text\n[code](y.md)\n```\n", encoding="utf-8")
    assert [problem.partition(":")[0] for problem in _problems(page, {page.resolve(): anchors(page)})] == ["#nope", "gone.md"]


def _nav(entries: list[object]) -> list[str]:
    found: list[str] = []
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found.extend(_nav(value) if isinstance(value, list) else [str(value)])
    return found


SECTIONS = ("api", "hooks", "testing/checks")
"""Directories with an index of their own, which leads to their pages."""


def test_navigation() -> None:
    """Every page stands in the site's navigation once, and nothing else does; the index leads to each, or to the index of its directory."""
    listed = _nav(yaml.safe_load(text_of(ROOT / "mkdocs.yml"))["nav"])
    there = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert sorted(listed) == sorted(there | PENDING)
    assert there - _led("") == {"index.md", *(name for name in there if name.startswith(tuple(f"{section}/" for section in SECTIONS)))} - _led("")
    for section in SECTIONS:
        assert f"{section}/index.md" in _led("")
        inside = {name for name in there if name.startswith(f"{section}/")}
        assert inside - _led(section) == {f"{section}/index.md"}


def _led(section: str) -> set[str]:
    """Where an index leads to, as names of pages."""
    place = DOCS / section
    found = {(place / link.partition("#")[0]).resolve() for link in links(place / "index.md") if not link.startswith(EXTERNAL)}
    return {str(path.relative_to(DOCS)) for path in found if path.is_relative_to(DOCS)}


def test_nothing_is_left_in() -> None:
    """No page names a machine's directories, and no page loads anything from elsewhere."""
    for page in [*pages(), ROOT / "mkdocs.yml", *DOCS.glob("*.py")]:
        text = text_of(page)
        assert not re.search(r"(?<![\w.])/(?:work|home|root|tmp|Users)/", text), page.name
        shown = re.sub(r"`[^`\n]*`", "code", prose(page))
        assert not re.search(r"<(?:script|iframe|img|link)\b", shown, re.IGNORECASE) or page.suffix == ".py", page.name


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, from a copy: building writes beside what it reads. Strict: a broken link or anchor ends the build."""
    zensical = Path(sys.executable).parent / "zensical"
    if not zensical.exists():
        pytest.skip("zensical is not installed (make test installs it)")
    directory = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "mkdocs.yml", directory)
    shutil.copytree(DOCS, directory / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    for name in PENDING:
        (directory / "docs" / name).write_text("# Being written\n", encoding="utf-8")
    (directory / "dsr_sdk").symlink_to(ROOT / "dsr_sdk")
    built = subprocess.run([str(zensical), "build", "--clean", "--strict"], cwd=directory, capture_output=True, text=True, timeout=100, check=False)
    said = re.sub(r"\x1b\[[0-9;]*m", "", built.stdout + built.stderr)
    assert built.returncode == 0, said
    return directory / "site"


@pytest.mark.thorough
def test_site_is_whole(site: Path) -> None:
    """The site builds without a broken link, has every page, and the API reference was made from the docstrings."""
    for page in DOCS.rglob("*.md"):
        relative = page.relative_to(DOCS).with_suffix("")
        place = relative.parent if relative.name == "index" else relative
        assert (site / place / "index.html").is_file(), str(relative)
    connector = (site / "api" / "connector" / "index.html").read_text(encoding="utf-8")
    assert "dsr_sdk.connector.Holds" in connector
    assert "did you mean" not in connector  # sources are not shown


@pytest.mark.thorough
def test_site_loads_nothing_from_elsewhere(site: Path) -> None:
    """No page of the site loads a font, a script, a style or a picture from another host."""
    for page in site.rglob("*.html"):
        tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", page.read_text(encoding="utf-8"))
        loaded = [tag for tag in tags if re.search(r'(?:src|href)="?(?:https?:)?//', tag) and 'rel="canonical"' not in tag]
        assert not loaded, f"{page.relative_to(site)}: {loaded[0]}"
