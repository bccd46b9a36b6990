"""The package a person receives: one zip with a page to read, the data itself, and a manifest to check it by."""

from __future__ import annotations

from dsr_sdk.copy.manifest import FileEntry, HandedEntry, Manifest, ResourceEntry, SourceEntry, Status, WithheldEntry
from dsr_sdk.copy.package import pack, verify_package, write_package
from dsr_sdk.copy.parts import Handed, SourceCopy, Withheld

__all__ = [
    "FileEntry",
    "Handed",
    "HandedEntry",
    "Manifest",
    "ResourceEntry",
    "SourceCopy",
    "SourceEntry",
    "Status",
    "Withheld",
    "WithheldEntry",
    "pack",
    "verify_package",
    "write_package",
]
