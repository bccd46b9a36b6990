"""``index.html`` and ``README.txt``: what the person reads. Values from vendors and people are escaped by the template, all of them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from dsr_sdk.copy.manifest import INDEX, MANIFEST, README, FileEntry, SourceEntry, Status
from dsr_sdk.copy.preview import Budget, Preview, all_text, humanise, printable
from dsr_sdk.copy.texts import Texts

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["Page"]


@functools.cache
def _template(name: str) -> Template:
    """A template, compiled once. Jinja2 is loaded here and not before: importing the SDK does not need it."""
    from jinja2 import FunctionLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    folder = files("dsr_sdk.copy") / "templates"
    environment = SandboxedEnvironment(
        loader=FunctionLoader(lambda file: (folder / file).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"humanise": humanise, "printable": printable, "all_text": all_text}
    return environment.get_template(name)


@dataclass(frozen=True)
class Page:
    """The page of one package: its sections are rendered source by source, the page around them last.

    Attributes:
        budget: How much the previews of the whole page may still take.
    """

    case: str
    subject_name: str | None
    company: str
    language: str
    made_at: datetime
    sdk_version: str
    budget: Budget = field(default_factory=Budget)

    @functools.cached_property
    def texts(self) -> Texts:
        """What the page says, in its language."""
        return Texts(self.language)

    def room(self) -> Budget:
        """How much of the page one more source may take."""
        return self.budget.share(8)

    def section(self, number: int, entry: SourceEntry, data_files: Mapping[str, FileEntry], previews: Mapping[str, Preview]) -> str:
        """The HTML of one source: what was found, what is withheld, what could not be checked, and the first records."""
        return self._render(
            "source.html.j2",
            number=number,
            source=entry,
            state=_state(entry),
            files=data_files,
            previews=previews,
        )

    def index(self, sources: Sequence[SourceEntry], sections: Iterable[str]) -> Iterator[str]:
        """The HTML of the page, in pieces; `sections` are what `section` gave, in the order of `sources`."""
        from markupsafe import Markup

        context = self._context(
            sources=sources,
            states=[_state(entry) for entry in sources],
            unchecked=[(number, entry) for number, entry in enumerate(sources, 1) if entry.incomplete],
            records=sum(entry.records for entry in sources),
            handed=any(entry.handed for entry in sources),
            sections=(Markup(section) for section in sections),  # noqa: S704 - our own template made and escaped it
        )
        return _template("index.html.j2").generate(context)

    def readme(self, sources: Sequence[SourceEntry]) -> str:
        """The text of ``README.txt``."""
        t = self.texts
        unchecked = [entry.title for entry in sources if entry.incomplete]
        title = t.get("title_at", company=self.company)
        lines = [title, "=" * len(title), "", f"{t.get('case')}: {self.case}", f"{t.get('made')}: {t.date(self.made_at)}", ""]
        if unchecked:
            lines += [t.get("readme_incomplete", sources=", ".join(unchecked)), ""]
        lines += [t.get("readme_unpack"), t.get("readme_open"), "", t.get("readme_contents"), ""]
        handed = (("files/", "readme_handed"),) if any(entry.handed for entry in sources) else ()
        for name, key in ((INDEX, "readme_index"), ("data/", "readme_data"), *handed, (MANIFEST, "readme_manifest")):
            lines += [f"  {name}", f"    {t.get(key)}", ""]
        lines += [t.get("about_private"), ""]
        return printable("\n".join(lines))

    def _context(self, **more: Any) -> dict[str, Any]:
        return {"page": self, "t": self.texts, "manifest": MANIFEST, "readme": README, **more}

    def _render(self, name: str, **more: Any) -> str:
        return _template(name).render(self._context(**more))


def _state(entry: SourceEntry) -> str:
    """The word for what came of a source: its status, and whether something is withheld beside what was found."""
    return "partly_withheld" if entry.status is Status.FOUND and entry.withheld else entry.status.value
