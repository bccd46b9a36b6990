"""What may be added to the inventory: the installed connectors, and vendors we know of, which can be written to.

The facts about vendors stand in ``vendors.json``, with what nobody has checked marked. A privacy address is among them only where it was
read on the vendor's own page: a letter with a person's data to a guessed address would be a breach of its own.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from dsr_sdk.connector import Category, Process
from dsr_sdk.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from dsr_sdk.registry import Registry

__all__ = ["BY_HAND", "BY_LETTER", "Offer", "Vendor", "category_of", "offers", "recognise", "spelt", "vendors"]

BY_HAND: Final = "manual"
"""The connector of data sources that a person looks through."""
BY_LETTER: Final = "email"
"""The connector that writes to a vendor's privacy address."""

_GENERIC: Final = frozenset(
    {"admin", "app", "apps", "cloud", "demo", "dev", "emea", "eu", "mobile", "oidc", "prod", "production", "saml", "sandbox", "scim", "sso"}
    | {"staging", "swa", "test", "uk", "us", "web", "workspace"}
)
"""Words that tell one account of a vendor from another, or how people sign in there, and not which vendor it is."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """What is known of a vendor.

    Attributes:
        api: What its API can do about a person's data: ``erases``, ``partly``, ``unknown``.
        basis: What that rests on (description, recordings, documentation); empty when nobody has checked.
        privacy_address: Where privacy requests go; None when nobody has checked.
        read_at: The vendor's page that names the address.
    """

    slug: str
    title: str
    category: Category
    domain: str
    aliases: tuple[str, ...]
    api: str
    basis: tuple[str, ...]
    privacy_address: str | None
    read_at: str | None

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What nobody has checked."""
        checked = {"api": bool(self.basis), "privacy_address": self.privacy_address is not None, "domain": False}
        return tuple(name for name, done in checked.items() if not done)


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that may be added.

    Attributes:
        slug: Of the connector or vendor.
        connector: What it would be reached with: an installed connector, or ``email``.
        process: ``automated``, ``email`` or ``manual``; empty when the installed connector cannot be loaded.
        privacy_address: The vendor's, where it is known. None has to be filled in before letters are sent.
        evidence: What the connector was checked against; of a vendor, what its entry rests on.
        unchecked: What nobody has checked about a vendor.
        broken: Why the installed connector cannot be used.
    """

    slug: str
    title: str
    category: str
    process: str
    privacy_address: str | None
    evidence: tuple[str, ...]
    installed: bool
    connector: str
    about: str = ""
    unchecked: tuple[str, ...] = ()
    broken: str | None = None


@cache
def vendors() -> Mapping[str, Vendor]:
    """The vendors we know of, by slug."""
    rows = json.loads(files("dsr_sdk.host.inventory").joinpath("vendors.json").read_text(encoding="utf-8"))["vendors"]
    return {
        row["slug"]: Vendor(**{**row, "category": Category(row["category"]), "aliases": tuple(row["aliases"]), "basis": tuple(row["basis"])})
        for row in rows
    }


def offers(registry: Registry, *, text: str = "", category: str | None = None) -> list[Offer]:
    """What may be added, best match first.

    Installed connectors are loaded in the registry's guard, as ``dsr connectors`` does: one that breaks is offered with its error.

    Args:
        text: Words that must all occur in title, slug, domain or another name.
        category: A value of `Category`.

    Raises:
        RequestError: There is no such category.
    """
    wanted = category_of(category).value if category else None
    words = spelt(text).split()
    found: list[tuple[tuple[bool, bool, str], Offer]] = []
    for offer, names in _all(registry):
        haystack = f"{spelt(' '.join(names))} {spelt(offer.category)}"
        if all(word in haystack for word in words) and wanted in (None, offer.category):
            begins = bool(words) and spelt(offer.title).startswith(" ".join(words))
            found.append(((not begins, not offer.installed, offer.title.casefold()), offer))
    return [offer for _, offer in sorted(found, key=lambda row: row[0])]


def _all(registry: Registry) -> Iterator[tuple[Offer, tuple[str, ...]]]:
    """Every offer, with the names it is found by."""
    known = vendors()
    installed = {slug: row for slug, row in registry.available().items() if slug not in (BY_HAND, BY_LETTER)}
    for slug, row in installed.items():
        vendor = known.get(slug)
        names = (slug, vendor.domain, *vendor.aliases) if vendor else (slug,)
        address = vendor.privacy_address if vendor else None
        try:
            made = registry.load(slug)
        except ConfigError as error:
            title, kind = (vendor.title, vendor.category) if vendor else (slug, Category.CUSTOM)
            yield Offer(slug, title, kind.value, "", address, (), True, slug, row.summary, broken=str(error)), (title, *names)
            continue
        evidence = tuple(layer.value for layer in made.evidence)
        about = (made.__doc__ or "").strip().split("\n\n")[0]
        yield (
            Offer(slug, made.title, made.category.value, made.process.value, address, evidence, True, slug, " ".join(about.split())),
            (made.title, *names),
        )
    for vendor in known.values():
        if vendor.slug not in installed:
            yield (
                Offer(
                    vendor.slug,
                    vendor.title,
                    vendor.category.value,
                    Process.EMAIL.value,
                    vendor.privacy_address,
                    vendor.basis,
                    False,
                    BY_LETTER,
                    unchecked=vendor.unchecked,
                ),
                (vendor.title, vendor.slug, vendor.domain, *vendor.aliases),
            )


def recognise(*names: str, domain: str | None = None) -> Vendor | None:
    """The vendor that one of these names means, or the domain; None rather than a guess.

    A name is one of the vendor's, perhaps followed by words that only tell accounts apart: ``mailchimp_saml``, ``Zendesk (EU)``. *Square
    Enix* is not Square.
    """
    index = _index()
    for name in names:
        words = spelt(name).split()
        while words:
            vendor = index.get("".join(words))
            if vendor is not None:
                return vendor
            if words[-1] not in _GENERIC:
                break
            words.pop()
    if domain:
        labels = domain.strip().lower().rstrip(".").split(".")
        for start in range(len(labels) - 1):
            vendor = _domains().get(".".join(labels[start:]))
            if vendor is not None:
                return vendor
    return None


def category_of(value: str) -> Category:
    """The category of this name. Raises `RequestError` with the list of them."""
    try:
        return Category(value.strip().lower().replace(" ", "_"))
    except ValueError:
        raise RequestError("there is no such category", field="category", fix=f"one of: {', '.join(kind.value for kind in Category)}") from None


def spelt(text: str) -> str:
    """A name for comparing: lower case, without accents, letters and digits of any alphabet with single spaces between the words."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return " ".join(re.findall(r"[^\W_]+", plain))


@cache
def _index() -> Mapping[str, Vendor]:
    return {spelt(name).replace(" ", ""): vendor for vendor in vendors().values() for name in (vendor.slug, vendor.title, *vendor.aliases)}


@cache
def _domains() -> Mapping[str, Vendor]:
    return {vendor.domain: vendor for vendor in vendors().values()}
