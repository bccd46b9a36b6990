"""What work by hand comes to: of a copy a person says it, so that package, reply and record state nothing that nobody said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from dsr_sdk.errors import RequestError
from dsr_sdk.ledger.cases import Case
from dsr_sdk.request import RequestType

if TYPE_CHECKING:
    from dsr_sdk.host.host import Host

__all__ = ["RESULTS", "came_to"]

RESULTS = ("nothing_found", "attached", "elsewhere")
"""What work by hand for a copy comes to: nothing was there, files go with the copy, or it is answered beside the copy."""


def came_to(host: Host, connection: Connection, case: Case, source: str, result: str) -> str:
    """What a person says that their work at a data source came to; empty for requests that are no copy.

    Raises:
        RequestError: It is not said, or what is attached says otherwise.
    """
    if case.type != RequestType.COPY:
        if result:
            raise RequestError("is said of a copy only", field="result", source=source)
        return ""
    attached = any(info.source == source for info in host.files.listed(connection, case, purpose="copy"))
    result = result or ("attached" if attached else "")
    if result not in RESULTS:
        raise RequestError("what did it come to?", field="result", source=source, fix=f"one of: {', '.join(RESULTS)}")
    if result == "attached" and not attached:
        raise RequestError("no file of it goes with the copy", field="result", source=source, fix="attach one, or say what else it came to")
    if result == "nothing_found" and attached:
        raise RequestError("files of it go with the copy", field="result", source=source, fix="take them out, or say that they are attached")
    return result
