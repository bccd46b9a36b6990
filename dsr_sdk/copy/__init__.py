"""The package a person receives: one zip with a page to read, the data itself, and a manifest to check it by."""

from __future__ import annotations

from dsr_sdk.copy.manifest import FileEntry, Manifest, ResourceEntry, SourceEntry, Status, WithheldEntry
from dsr_sdk.copy.package import SourceCopy, Withheld, verify_package, write_package

__all__ = [
    "FileEntry",
    "Manifest",
    "ResourceEntry",
    "SourceCopy",
    "SourceEntry",
    "Status",
    "Withheld",
    "WithheldEntry",
    "verify_package",
    "write_package",
]
