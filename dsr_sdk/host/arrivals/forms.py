"""The form of the privacy center: what it asks, in which words, and how what was typed becomes a request."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import starmap
from typing import Any

from pydantic import ValidationError

from dsr_sdk.errors import RequestError
from dsr_sdk.host.arrivals.form_words import LANGUAGES, FormWords, country_codes, form_words, localised
from dsr_sdk.host.cases.deadlines import US_STATES
from dsr_sdk.host.settings import FieldKind, FormField, PrivacyCenterSettings
from dsr_sdk.identity import Email, Identity, Phone
from dsr_sdk.request import CORRECTION, CustomValue, RequestType, Scope

__all__ = ["TRAP", "Choice", "FieldSpec", "FormError", "FormSpec", "correction_field", "custom_value", "form_of", "languages_of", "read_form"]

TRAP = "website"
"""The field that no person sees and programs fill in."""

_CUSTOM = "custom_"
_LIMITS = {FieldKind.TEXT: 1000, FieldKind.LONG_TEXT: 10_000, FieldKind.NUMBER: 40, FieldKind.PHONE: 40}
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}([.,][0-9]{1,15})?")


class FormError(RequestError):
    """Something in the form is missing or wrong.

    Args:
        errors: What to tell the person, in the form's language, by field; under ``""`` what concerns the form as a whole.
    """

    def __init__(self, errors: Mapping[str, str]) -> None:
        names = ", ".join(name or "form" for name in errors)
        super().__init__("the form cannot be taken as it is", field=names, fix="see the message beside each field")
        self.errors = dict(errors)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several answers."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field, in the words of one language.

    Attributes:
        name: What it is called in the data that comes in.
        kind: What it takes; the e-mail address is a text.
        types: Only for these types of request; empty for all.
        only_for: The sentence that says so.
        autocomplete: The browser's word for what it is (HTML ``autocomplete``).
        limit: The longest text, in characters.
    """

    name: str
    label: str
    kind: FieldKind
    required: bool = False
    help: str = ""
    choices: tuple[Choice, ...] = ()
    types: tuple[RequestType, ...] = ()
    only_for: str = ""
    autocomplete: str = "off"
    limit: int = 200


@dataclass(frozen=True, slots=True)
class FormSpec:
    """The whole form in one language.

    Attributes:
        types: The types of request it offers.
        scopes: How much a deletion may take; empty when no deletion is offered.
        fields: What it asks about the person, in order; `custom` are the controller's own, after the one for a correction.
        languages: The languages it can be read in: tag and own name.
    """

    language: str
    title: str
    types: tuple[Choice, ...]
    scopes: tuple[Choice, ...]
    fields: tuple[FieldSpec, ...]
    custom: tuple[FieldSpec, ...]
    languages: tuple[tuple[str, str], ...]
    policy_url: str | None
    text: FormWords = field(repr=False)


def languages_of(settings: PrivacyCenterSettings) -> tuple[str, ...]:
    """The languages that the form is offered in: those of the settings that there are texts for, else English."""
    return tuple(tag for tag in dict.fromkeys(settings.languages) if tag in LANGUAGES) or ("en",)


def form_of(settings: PrivacyCenterSettings, company: str, language: str) -> FormSpec:
    """The form in a language; in the first one offered when that one is not."""
    offered = languages_of(settings)
    base = language.partition("-")[0].lower()
    text = form_words(base if base in offered else offered[0])
    countries = tuple(Choice(code, name) for code, name in text.countries.items())
    fields = (
        FieldSpec("first_name", text("form.first_name"), FieldKind.TEXT, True, autocomplete="given-name"),
        FieldSpec("last_name", text("form.last_name"), FieldKind.TEXT, True, autocomplete="family-name"),
        FieldSpec("email", text("form.email"), FieldKind.TEXT, True, text("form.email_help"), autocomplete="email", limit=254),
        FieldSpec("country", text("form.country"), FieldKind.COUNTRY, True, choices=countries, autocomplete="country"),
        FieldSpec("region", text("form.region"), FieldKind.CHOICE, False, text("form.region_help"), tuple(starmap(Choice, US_STATES.items()))),
        FieldSpec("phone", text("form.phone"), FieldKind.PHONE, False, text("form.phone_help"), autocomplete="tel", limit=40),
    )
    types = tuple(Choice(type_.value, text(f"types.{type_.value}")) for type_ in RequestType if type_ in settings.types)
    deletion = RequestType.DELETION in settings.types
    return FormSpec(
        language=text.language,
        title=localised(settings.title, text.language, otherwise=text("form.title", company=company)),
        types=types,
        scopes=tuple(Choice(scope.value, text(f"form.scope_{scope.value}")) for scope in (Scope.ACCOUNT, Scope.APP_DATA)) if deletion else (),
        fields=fields,
        custom=(*_correction(settings, text), *(_own(own, text) for own in settings.fields)),
        languages=tuple((tag, form_words(tag).name) for tag in offered),
        policy_url=settings.policy_url,
        text=text,
    )


def correction_field(settings: PrivacyCenterSettings) -> str:
    """The custom field in which a right to edit says what is wrong: ours, unless the controller's form has a long text for that type alone."""
    alone = (RequestType.RIGHT_TO_EDIT,)
    return next((own.name for own in settings.fields if own.kind is FieldKind.LONG_TEXT and tuple(own.types) == alone), CORRECTION)


def _correction(settings: PrivacyCenterSettings, text: FormWords) -> tuple[FieldSpec, ...]:
    """What is to be corrected: without it nobody could correct anything. Asked once, also where the controller's own form asks it."""
    asked = correction_field(settings) != CORRECTION or any(own.name == CORRECTION for own in settings.fields)
    if asked or RequestType.RIGHT_TO_EDIT not in settings.types:
        return ()
    return (
        FieldSpec(
            name=_CUSTOM + CORRECTION,
            label=text("form.correction"),
            kind=FieldKind.LONG_TEXT,
            required=True,
            help=text("form.correction_help"),
            types=(RequestType.RIGHT_TO_EDIT,),
            only_for=text("form.only_for", types=text(f"types.{RequestType.RIGHT_TO_EDIT.value}")),
            limit=_LIMITS[FieldKind.LONG_TEXT],
        ),
    )


def _own(own: FormField, text: FormWords) -> FieldSpec:
    choices: tuple[Choice, ...] = tuple(Choice(value, value) for value in own.choices)
    if own.kind is FieldKind.COUNTRY:
        choices = tuple(Choice(code, name) for code, name in text.countries.items())
    elif own.kind is FieldKind.YES_NO:
        choices = (Choice("yes", text("form.yes")), Choice("no", text("form.no")))
    names = ", ".join(text(f"types.{type_.value}") for type_ in own.types)
    return FieldSpec(
        name=_CUSTOM + own.name,
        label=localised(own.label, text.language),
        kind=own.kind,
        required=own.required,
        help=localised(own.help, text.language) or (text("form.phone_help") if own.kind is FieldKind.PHONE else ""),
        choices=choices,
        types=own.types,
        only_for=text("form.only_for", types=names) if names else "",
        limit=_LIMITS.get(own.kind, 200),
    )


# --- what comes in -----------------------------------------------------------------------------------------------------------------------


def read_form(form: FormSpec, data: Mapping[str, str]) -> dict[str, Any]:
    """What was typed, as the fields of a `Request` (``type``, ``scope``, ``subject``, ``country``, ``language``, ``custom_fields``).

    Raises:
        FormError: Something is missing or wrong. It says what, beside each field, and repeats nothing that was typed.
    """
    text, errors = form.text, dict[str, str]()
    type_ = data.get("type", "")
    if type_ not in {choice.value for choice in form.types}:
        errors["type"] = text("errors.choice")
    scope = data.get("scope", "") or Scope.ACCOUNT.value
    if type_ != RequestType.DELETION.value:
        scope = Scope.ACCOUNT.value
    elif scope not in {choice.value for choice in form.scopes}:
        errors["scope"] = text("errors.choice")
    found: dict[str, CustomValue] = {}
    for spec in (*form.fields, *form.custom):
        if spec.types and type_ not in spec.types:
            continue  # it was not asked for this type, whatever a browser sent
        try:
            value = _value(spec, data.get(spec.name, ""), text)
        except _WrongError as wrong:
            errors[spec.name] = wrong.args[0]
        else:
            if value is not None:
                found[spec.name] = value
    if errors:
        order = ["type", "scope", *(spec.name for spec in (*form.fields, *form.custom))]
        raise FormError({name: errors[name] for name in order if name in errors})
    names = ("first_name", "last_name", "email", "phone")
    return {
        "type": type_,
        "scope": scope,
        "language": form.language,
        "country": found.get("country"),
        "region": found.get("region") if found.get("country") == "US" else None,  # chosen by mistake: it says nothing elsewhere
        "subject": {name: found[name] for name in names if name in found},
        "custom_fields": {name.removeprefix(_CUSTOM): value for name, value in found.items() if name.startswith(_CUSTOM)},
    }


class _WrongError(ValueError):
    """What to tell about a field."""


def _value(spec: FieldSpec, raw: str, text: FormWords) -> CustomValue | None:
    typed = unicodedata.normalize("NFC", raw.replace("\r\n", "\n")).strip()
    if not typed:
        if spec.required:
            raise _WrongError(text("errors.missing" if not spec.choices else "errors.choice"))
        return None
    if len(typed) > spec.limit:
        raise _WrongError(text("errors.long", limit=spec.limit))
    if any(unicodedata.category(letter) in ("Cc", "Cs") and not (spec.kind is FieldKind.LONG_TEXT and letter in "\n\t") for letter in typed):
        raise _WrongError(text("errors.characters"))
    if spec.name == "email":
        return typed if _is(Email, typed) else _wrong(text("errors.email"))
    if spec.kind is FieldKind.PHONE:
        return typed if _is(Phone, typed) else _wrong(text("errors.phone"))
    if spec.kind is FieldKind.COUNTRY and typed not in country_codes():
        raise _WrongError(text("errors.country"))
    try:
        return custom_value(spec.kind, typed, [choice.value for choice in spec.choices])
    except ValueError:
        return _wrong(text("errors.number" if spec.kind is FieldKind.NUMBER else "errors.choice"))


def _wrong(message: str) -> CustomValue:
    raise _WrongError(message)


def _is(kind: type[Identity], typed: str) -> bool:
    try:
        kind.model_validate({"value": typed})
    except ValidationError:
        return False
    return True


def custom_value(kind: FieldKind, typed: str, choices: Any = ()) -> CustomValue:
    """A text as the value of a configured field: a number becomes one, *yes* becomes true.

    Raises:
        ValueError: It is nothing of that kind; the message says what is wanted.
    """
    if kind is FieldKind.NUMBER:
        if not _NUMBER.fullmatch(typed):
            raise ValueError("is not a number")
        plain = typed.replace(",", ".")
        return float(plain) if "." in plain else int(plain)
    if kind is FieldKind.YES_NO:
        if typed.casefold() not in (*_YES, *_NO):
            raise ValueError("is neither yes nor no")
        return typed.casefold() in _YES
    if kind is FieldKind.CHOICE and typed not in choices:
        raise ValueError("is none of the choices")
    return typed
