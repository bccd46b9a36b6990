"""The texts that people without an account read: the form, its e-mails, the pages behind links. In ``form_texts/``, one file a language."""

from __future__ import annotations

import json
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

__all__ = ["LANGUAGES", "FormWords", "country_codes", "form_words", "localised", "negotiate"]

_HERE = Path(__file__).parent / "form_texts"

LANGUAGES = ("en", "de", "fr", "es")
"""The languages that texts come with."""


class FormWords:
    """The texts of one language.

    Attributes:
        language: Its tag, one of `LANGUAGES`.
        name: What it calls itself.
        countries: Names of countries by ISO 3166-1 alpha-2 code, sorted as its readers expect.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        loaded = tomllib.loads((_HERE / f"{language}.toml").read_text(encoding="utf-8"))
        self.name: str = loaded.pop("name")
        self._texts: Mapping[str, Mapping[str, str]] = loaded
        names: dict[str, str] = json.loads((_HERE / "countries.json").read_text(encoding="utf-8"))[language]
        self.countries: Mapping[str, str] = MappingProxyType(dict(sorted(names.items(), key=lambda row: _sorted_as(row[1]))))

    def __call__(self, key: str, **values: object) -> str:
        """A text such as ``form.title``, with its values put in. Raises `KeyError` for one that there is none of."""
        section, _, name = key.partition(".")
        text = self._texts[section][name]
        for placeholder, value in values.items():
            text = text.replace("{" + placeholder + "}", str(value))
        return text

    def keys(self) -> set[str]:
        """Every key there is."""
        return {f"{section}.{name}" for section, texts in self._texts.items() for name in texts}


def _sorted_as(name: str) -> str:
    """Accents do not count in the order of names: Österreich stands at O, Égypte at E."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter)).casefold()


@cache
def _load(language: str) -> FormWords:
    return FormWords(language)


def form_words(language: str) -> FormWords:
    """The texts of a language tag: ``de-AT`` reads the German ones, a language without texts the English ones."""
    base = language.partition("-")[0].lower()
    return _load(base if base in LANGUAGES else "en")


@cache
def country_codes() -> frozenset[str]:
    """The ISO 3166-1 codes that the form offers."""
    return frozenset(_load("en").countries)


def localised(texts: Mapping[str, str], language: str, *, otherwise: str = "") -> str:
    """The text of a configured table by language: the tag itself, its base language, English, whatever there is."""
    for tag in (language, language.partition("-")[0], "en"):
        if tag in texts:
            return texts[tag]
    return next(iter(texts.values()), otherwise)


def negotiate(accepted: str, offered: Iterable[str], otherwise: str) -> str:
    """The offered language that the header ``Accept-Language`` likes best (RFC 9110); `otherwise` when it likes none.

    Args:
        accepted: The header, as it came; what is unreadable in it counts for nothing.
        offered: Base tags.
    """
    choices = list(offered)
    ranked: list[tuple[float, int, str]] = []
    for position, part in enumerate(accepted[:500].split(",")):
        tag, _, weight = part.strip().partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if 0 < quality <= 1:
            ranked.append((-quality, position, tag.strip().lower().partition("-")[0]))
    return next((base for _, _, base in sorted(ranked) if base in choices), otherwise)
