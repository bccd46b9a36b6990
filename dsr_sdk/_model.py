"""The base of the SDK's pydantic models: frozen, strict about unknown fields, and silent about values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["Model"]


class Model(BaseModel):
    """A frozen model whose ``repr`` (rich's included) and whose validation errors show no values: they may be personal data."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False, ser_json_bytes="base64", val_json_bytes="base64"
    )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    __str__ = __repr__

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return ()
