"""What a package is made of, source by source. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dsr_sdk.result import Reason, Record

__all__ = ["Handed", "SourceCopy", "Withheld"]


@dataclass(frozen=True, slots=True)
class Withheld:
    """Something the source holds and the person does not get; `text` says why, in the person's language."""

    resource: str
    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class Handed:
    """A file that people at the controller add as they have it: what they call it, its size in bytes, and its bytes, read once."""

    name: str = field(repr=False)
    size: int
    chunks: Iterable[bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SourceCopy:
    """What one data source gives to the package.

    Attributes:
        source: The configured name of the source; title and category are what the person reads.
        records: Consumed once, lazily. May raise a `DsrError` midway: what arrived stays, and the source is told as *could not check*.
        withheld: What is not handed over.
        could_not_check: Why the source could not be asked to the end, without personal data.
        categories: For each resource the source declares, the Fideslang categories of data in it. A resource named here that yields no
            record is reported as zero.
        handed: Files that people add for this source.
        elsewhere: A person has answered for it beside the package: whatever it holds is not in here.
    """

    source: str
    title: str
    category: str
    records: Iterable[Record]
    withheld: tuple[Withheld, ...] = ()
    could_not_check: str | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    handed: tuple[Handed, ...] = ()
    elsewhere: bool = False

    def __repr__(self) -> str:
        return f"<SourceCopy {self.source}>"
