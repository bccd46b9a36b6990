"""The published JSON schema of a request."""

from __future__ import annotations

import json
import re

import jsonschema_rs
import pytest

from dsr_sdk import Channel, Regime, Request, RequestType
from tests.docs.pages import DOCS, text_of

SCHEMA = json.loads((DOCS / "schemas" / "request.json").read_text(encoding="utf-8"))


def test_schema_is_the_models() -> None:
    """The file is what the model says. Mend: ``python docs/generate.py``."""
    assert Request.model_json_schema() == SCHEMA


@pytest.mark.parametrize("type_", list(RequestType))
def test_requests_fit_their_schema(type_: RequestType) -> None:
    """A request as the SDK writes it fits the schema, and what fits is read again."""
    subject = {"email": "ada@example.com", "phone": "+14155550123", "user_id": "u-1", "first_name": "Ada"}
    request = Request.parse({"type": type_.value, "subject": subject})
    written = json.loads(request.model_dump_json())
    assert jsonschema_rs.is_valid(SCHEMA, written)
    assert Request.parse(written) == request


def test_schema_refuses() -> None:
    """What is no request does not fit: an unknown field, no subject, a made-up regime."""
    good = json.loads(Request.parse({"type": "copy", "subject": {"email": "ada@example.com"}}).model_dump_json())
    for wrong in ({**good, "extra": 1}, {key: good[key] for key in good if key != "subject"}, {**good, "regime": "atlantis"}):
        assert not jsonschema_rs.is_valid(SCHEMA, wrong)


def test_page_names_everything() -> None:
    """docs/request.md names every field, type, channel and regime, and none that is not there."""
    page = text_of(DOCS / "request.md")
    for name in (*Request.model_fields, *RequestType, *Channel, *Regime):
        assert f"`{name}`" in page
    regimes = page.partition("## Regimes")[2].partition("## JSON")[0]
    assert set(re.findall(r"`([a-z_0-9]+)`", regimes)) == {regime.value for regime in Regime}


def test_full_subject_of_the_page_is_read() -> None:
    """The subject shown in full is one."""
    (shown,) = re.findall(r"```json\n(.*?)```", text_of(DOCS / "request.md"), re.DOTALL)
    Request.parse({"type": "deletion", "subject": json.loads(shown)})
