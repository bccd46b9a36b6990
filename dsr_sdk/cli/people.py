"""A person told by options: the identities that ``dsr submit`` and ``dsr identity`` take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dsr_sdk.identity import AnyIdentity

__all__ = ["Emails", "Phones", "UserIds", "VendorIds", "identities", "some"]

Emails = Annotated[list[str] | None, typer.Option("--email", help="An e-mail address; may be repeated.", show_default=False)]
Phones = Annotated[list[str] | None, typer.Option("--phone", help="A telephone number with country code.", show_default=False)]
UserIds = Annotated[list[str] | None, typer.Option("--user-id", help="Your own id of the person.", show_default=False)]
VendorIds = Annotated[list[str] | None, typer.Option("--vendor-id", metavar="SLUG=ID", help="A vendor's id of the person.", show_default=False)]


def identities(
    emails: Iterable[str] | None, phones: Iterable[str] | None, user_ids: Iterable[str] | None, vendor_ids: Iterable[str] | None
) -> list[AnyIdentity]:
    """Identities from options.

    Raises:
        RequestError: Names the option, never its value.
    """
    found = [_identity("--email", {"kind": "email", "value": value}) for value in emails or ()]
    found += [_identity("--phone", {"kind": "phone", "value": value}) for value in phones or ()]
    found += [_identity("--user-id", {"kind": "controller_id", "value": value}) for value in user_ids or ()]
    for pair in vendor_ids or ():
        vendor, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter("write it as SLUG=ID", param_hint="--vendor-id")
        found.append(_identity("--vendor-id", {"kind": "vendor_id", "vendor": vendor, "value": value}))
    return found


def some(
    emails: Iterable[str] | None, phones: Iterable[str] | None, user_ids: Iterable[str] | None, vendor_ids: Iterable[str] | None
) -> list[AnyIdentity]:
    """`identities`, of which there must be one."""
    found = identities(emails, phones, user_ids, vendor_ids)
    if not found:
        raise typer.BadParameter("give --email, --phone, --user-id or --vendor-id", param_hint="--email")
    return found


def _identity(option: str, data: dict[str, Any]) -> AnyIdentity:
    from pydantic import TypeAdapter, ValidationError

    from dsr_sdk.errors import RequestError
    from dsr_sdk.identity import AnyIdentity

    adapter: TypeAdapter[AnyIdentity] = TypeAdapter(AnyIdentity)
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        said = error.errors(include_input=False, include_context=False)[0]["msg"].removeprefix("Value error, ")
    raise RequestError(said, field=option)
