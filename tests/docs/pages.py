"""Reading the documentation as its tests do: fenced blocks, headings, links, and comparing what a page shows with what was printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCS", "PENDING", "ROOT", "Block", "agrees", "anchors", "blocks", "links", "pages", "prose", "text_of"]

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

PENDING: frozenset[str] = frozenset()
"""Pages that other pages lead to already and that are still being written."""

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)(?P=fence) *$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
_MARK = re.compile(r"<!-- example: ([a-z-]+) -->\s*\Z")
_HEADING = re.compile(r"^#{1,6} +(.+?)(?: *\{#([\w-]+)\})? *$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its file name if it has a title, and the mark in a comment right before it."""

    language: str
    title: str
    mark: str
    text: str
    line: int


def pages() -> list[Path]:
    """Every page, the README and the other documents at the root included."""
    return sorted([*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))])


def text_of(path: Path) -> str:
    """A page."""
    return path.read_text(encoding="utf-8")


def blocks(path: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = text_of(path)
    for match in _FENCE.finditer(text):
        language, _, rest = match["info"].strip().partition(" ")
        title = _TITLE.search(rest)
        mark = _MARK.search(text[: match.start()])
        body = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        yield Block(language, title[1] if title else "", mark[1] if mark else "", body, text.count("\n", 0, match.start()) + 1)


def prose(path: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text_of(path))


def links(path: Path) -> list[str]:
    """Where a page links to; links in code are none."""
    return _LINK.findall(re.sub(r"`[^`\n]*`", "code", prose(path)))


def anchors(path: Path) -> set[str]:
    """The anchors of a page, as both GitHub and the site make them from headings."""
    found: set[str] = set()
    for title, given in _HEADING.findall(prose(path)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.lower().replace("`", "")).strip().replace(" ", "-")
        found |= {given} if given else {slug, re.sub(r"-{2,}", "-", slug)}
    return found


def agrees(shown: str, printed: str) -> bool:
    """Whether what was printed is what a page shows; ``...`` on the page stands for anything."""
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("..."))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None
