"""``manifest.json``: what a package claims to hold, source by source and file by file. No I/O.

The models refuse a manifest that contradicts itself, so that a reader never has to ask which half to believe. Their JSON schema is
`Manifest.model_json_schema()`.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Literal, Self

from pydantic import AwareDatetime, Field, field_validator, model_validator

from dsr_sdk._model import Model
from dsr_sdk.result import Reason

__all__ = ["FORMAT", "INDEX", "MANIFEST", "README", "FileEntry", "HandedEntry", "Manifest", "ResourceEntry", "SourceEntry", "Status", "WithheldEntry"]

FORMAT = "dsr-copy/1"
INDEX = "index.html"
MANIFEST = "manifest.json"
README = "README.txt"


class Status(StrEnum):
    """What came of asking one data source."""

    FOUND = "found"
    """Records were found, or files handed over, and are in the package (others may be withheld beside them)."""
    NOTHING_FOUND = "nothing_found"
    """The source was asked to the end and holds nothing about the person."""
    WITHHELD = "withheld"
    """The source holds data, and none of it is in the package."""
    ELSEWHERE = "elsewhere"
    """A person has answered for it beside the package: whatever it holds is not in here."""
    COULD_NOT_CHECK = "could_not_check"
    """The source was not asked to the end: whatever is here is incomplete. Never a clean result."""


class FileEntry(Model):
    """One file of the package. `records` is the number of lines of a data file, and ``null`` for a file that is not data."""

    path: str = Field(
        pattern=r"^(index\.html|README\.txt|data/[a-z0-9_-]{1,80}/[a-z0-9_-]{1,80}\.jsonl|files/[a-z0-9_-]{1,80}/[a-z0-9_-]{1,80}\.[a-z0-9]{1,8})$"
    )
    bytes: int = Field(ge=0)
    records: int | None = Field(None, ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.path.startswith("data/") is (self.records is None):
            raise ValueError("a data file has a number of records, and no other file has")
        return self


class WithheldEntry(Model):
    """Something the source holds and the person does not get, and why; `text` is written for the person."""

    resource: str
    reason: Reason
    text: str


class HandedEntry(Model):
    """A file that people at the controller added as they had it: `name` is what it was called, `file` where it is in the package."""

    name: str
    file: str


class ResourceEntry(Model):
    """How many records of one kind are in the package, where they are, and which Fideslang categories of data they hold.

    Zero records means that the source was asked to the end and has none: a kind that is withheld, or that could not be checked, is not
    listed with a zero.
    """

    name: str
    records: int = Field(ge=0)
    file: str | None
    categories: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if (self.file is None) is not (self.records == 0):
            raise ValueError("a resource has a file exactly when it has records")
        return self


class SourceEntry(Model):
    """One data source, whatever came of asking it: a source is never left out of the manifest."""

    name: str
    title: str
    category: str
    status: Status
    incomplete: bool = Field(False, description="Records are missing, or may be: always true with could_not_check")
    could_not_check: str | None = Field(None, description="Why it could not be checked; holds no personal data")
    records: int = Field(ge=0)
    resources: tuple[ResourceEntry, ...] = ()
    withheld: tuple[WithheldEntry, ...] = ()
    handed: tuple[HandedEntry, ...] = Field((), description="Files that people added by hand")
    elsewhere: bool = Field(False, description="A person has answered for it beside the package")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.records != sum(resource.records for resource in self.resources):
            raise ValueError("the records of a source are the sum of its resources")
        unchecked = self.could_not_check is not None
        counted = self.records + len(self.handed)
        if self.status is not status_of(records=counted, withheld=bool(self.withheld), checked=not unchecked, elsewhere=self.elsewhere):
            raise ValueError("the status of a source does not follow from what is listed")
        if self.incomplete is not unchecked:
            raise ValueError("a source is incomplete exactly when it could not be checked")
        if unchecked and not all(resource.records for resource in self.resources):
            raise ValueError("a source that could not be checked has no resource with zero records")
        return self


class Manifest(Model):
    """What the package holds. `files` lists every file but ``manifest.json`` itself, in the order of the archive."""

    format: Literal["dsr-copy/1"] = "dsr-copy/1"
    case: str
    company: str
    language: str
    made_at: AwareDatetime
    sdk_version: str
    complete: bool = Field(description="Every source was asked to the end")
    sources: tuple[SourceEntry, ...]
    files: tuple[FileEntry, ...]

    @field_validator("files")
    @classmethod
    def _once(cls, value: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
        paths = [entry.path for entry in value]
        if len(set(paths)) != len(paths):
            raise ValueError("a file is listed twice")
        if not {INDEX, README} <= set(paths):
            raise ValueError("the page or the README is missing")
        return value

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.complete is any(source.incomplete for source in self.sources):
            raise ValueError("a package is complete exactly when no source is incomplete")
        claimed: list[tuple[str, int | None]] = [
            (resource.file, resource.records) for source in self.sources for resource in source.resources if resource.file
        ]
        claimed += [(handed.file, None) for source in self.sources for handed in source.handed]
        listed = [(entry.path, entry.records) for entry in self.files if entry.path not in (INDEX, README)]
        if sorted(claimed, key=str) != sorted(listed, key=str):
            raise ValueError("the data files and the resources do not name the same records")
        return self

    def to_json(self) -> bytes:
        """The bytes of ``manifest.json``."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    @property
    def sha256(self) -> str:
        """The SHA-256 of ``manifest.json``: kept in the case's audit log, it fixes the contents of the whole package."""
        return hashlib.sha256(self.to_json()).hexdigest()


def status_of(*, records: int, withheld: bool, checked: bool, elsewhere: bool = False) -> Status:
    """The status of a source, derived: nobody sets it by hand. A file that was added by hand counts as a record."""
    if not checked:
        return Status.COULD_NOT_CHECK
    if records:
        return Status.FOUND
    if elsewhere:
        return Status.ELSEWHERE
    return Status.WITHHELD if withheld else Status.NOTHING_FOUND
