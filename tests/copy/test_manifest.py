"""The manifest refuses to contradict itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from dsr_sdk.copy import Manifest, Status

SHA = "0" * 64


def manifest() -> dict[str, Any]:
    """A manifest as JSON: one source that was found, one that could not be checked."""
    return {
        "format": "dsr-copy/1",
        "case": "DSR-7K2M-0QXN-V4TB-91HC",
        "company": "Nordlicht",
        "language": "en",
        "made_at": "2025-10-08T09:30:00Z",
        "sdk_version": "0.1.0",
        "complete": False,
        "sources": [
            {
                "name": "shop",
                "title": "Shop",
                "category": "commerce",
                "status": "found",
                "records": 3,
                "resources": [{"name": "order", "records": 3, "file": "data/shop/order.jsonl"}, {"name": "wish", "records": 0, "file": None}],
            },
            {
                "name": "mail",
                "title": "Mail",
                "category": "marketing",
                "status": "could_not_check",
                "incomplete": True,
                "could_not_check": "refused",
                "records": 0,
            },
        ],
        "files": [
            {"path": "data/shop/order.jsonl", "bytes": 30, "records": 3, "sha256": SHA},
            {"path": "index.html", "bytes": 1, "sha256": SHA},
            {"path": "README.txt", "bytes": 1, "sha256": SHA},
        ],
    }


def changed(*path: str | int, value: object) -> dict[str, Any]:
    """The manifest with one value changed."""
    data: Any = manifest()
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return dict(data)


def test_a_sound_manifest() -> None:
    """It is read, and written as it was read."""
    read = Manifest.model_validate(manifest())
    assert Manifest.model_validate_json(read.to_json()) == read
    assert read.to_json().endswith(b"}\n")
    assert len(read.sha256) == 64
    assert read.sources[0].status is Status.FOUND


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(changed("complete", value=True), id="complete with an incomplete source"),
        pytest.param(changed("sources", 1, "status", value="nothing_found"), id="unchecked told as clean"),
        pytest.param(changed("sources", 1, "incomplete", value=False), id="unchecked told as complete"),
        pytest.param(changed("sources", 1, "could_not_check", value=None), id="unchecked without why"),
        pytest.param(changed("sources", 1, "resources", value=[{"name": "x", "records": 0, "file": None}]), id="a zero nobody counted"),
        pytest.param(changed("sources", 0, "status", value="withheld"), id="found told as withheld"),
        pytest.param(changed("sources", 0, "records", value=2), id="a sum that is wrong"),
        pytest.param(changed("sources", 0, "resources", 0, "file", value=None), id="records without a file"),
        pytest.param(changed("sources", 0, "resources", 1, "file", value="data/shop/wish.jsonl"), id="a file without records"),
        pytest.param(changed("sources", 0, "resources", 0, "file", value="data/shop/other.jsonl"), id="a file that is not listed"),
        pytest.param(changed("files", 0, "records", value=4), id="counts that differ"),
        pytest.param(changed("files", 0, "records", value=None), id="a data file without a count"),
        pytest.param(changed("files", 1, "records", value=4), id="a page with a count"),
        pytest.param(changed("files", 0, "path", value="data/../../etc/passwd"), id="a path that climbs"),
        pytest.param(changed("files", 0, "path", value="/data/shop/order.jsonl"), id="an absolute path"),
        pytest.param(changed("files", 0, "path", value="data/shop/order.jsonl\n"), id="a path with a line break"),
        pytest.param(changed("files", 0, "sha256", value="0" * 63), id="a short checksum"),
        pytest.param(changed("files", 2, "path", value="index.html"), id="a file twice"),
        pytest.param(changed("files", value=manifest()["files"][:2]), id="no README"),
        pytest.param(changed("made_at", value="2025-10-08T09:30:00"), id="no time zone"),
        pytest.param(changed("format", value="dsr-copy/2"), id="another format"),
        pytest.param(changed("subject_name", value="Mira"), id="a field that is not there"),
    ],
)
def test_a_manifest_that_contradicts_itself(wrong: dict[str, Any]) -> None:
    """It is refused, and the error repeats none of its values."""
    with pytest.raises(ValidationError) as caught:
        Manifest.model_validate_json(json.dumps(wrong))
    assert "Nordlicht" not in str(caught.value)


def test_repr_shows_no_values() -> None:
    """A manifest in a log line says nothing about the person."""
    assert repr(Manifest.model_validate(manifest())) == "<Manifest>"


def test_the_schema_accepts_what_is_written() -> None:
    """The JSON schema can be exported, and it describes the file."""
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    schema = Manifest.model_json_schema(mode="serialization")
    validator = jsonschema_rs.validator_for(schema)
    assert validator.is_valid(json.loads(Manifest.model_validate(manifest()).to_json()))
    assert not validator.is_valid({"format": "dsr-copy/1"})
    assert set(schema["$defs"]) == {"FileEntry", "HandedEntry", "Reason", "ResourceEntry", "SourceEntry", "Status", "WithheldEntry"}
