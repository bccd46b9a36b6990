"""The words that people are told things in, by language: the packaged texts under ``reply_texts/``. No I/O beyond reading them once."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any

from dsr_sdk.host.cases.workflow import Decision
from dsr_sdk.request import Regime, RequestType

__all__ = ["LANGUAGES", "Wording", "fallbacks", "wording"]

LANGUAGES = ("en", "de", "fr", "es")
"""Languages with packaged texts."""

_APPEALS = tuple(regime for regime in Regime if regime.value.startswith("us_") and regime not in (Regime.US_CA_CCPA, Regime.US_UT))


@dataclass(frozen=True, slots=True)
class Wording:
    """One language's words.

    Attributes:
        types: What a type of request is called in the middle of a sentence.
        reasons: Why a request is declined, as sentences.
        results: What became of a data source.
        texts: Subject and body of the default reply, by decision and type.
        mails: Subject and body of other mails to the person.
    """

    language: str
    types: Mapping[str, str]
    decisions: Mapping[str, str]
    reasons: Mapping[str, str]
    results: Mapping[str, str]
    remedies: Mapping[str, str]
    texts: Mapping[tuple[str, str], tuple[str, str]]
    mails: Mapping[str, tuple[str, str]]
    months: tuple[str, ...]
    date: str

    def day(self, at: datetime | None) -> str:
        """A date as it stands in a letter: ``2 March 2026``. Empty for none."""
        return "" if at is None else self.date.format(day=at.day, month=self.months[at.month - 1], year=at.year)

    def remedy(self, regime: str | None) -> str:
        """What someone can do against a refusal (GDPR art. 12(4): the right to complain and to a judicial remedy must be told)."""
        known = Regime(regime) if regime else None
        if known is Regime.EU_GDPR:
            return self.remedies["gdpr"]
        if known is Regime.UK_GDPR:
            return self.remedies["uk"]
        if known in _APPEALS:
            return self.remedies["appeal"]
        return "" if known is not None and known.value.startswith("us_") else self.remedies["general"]


@functools.cache
def wording(language: str) -> Wording:
    """The words of one of `LANGUAGES`; another language's are English."""
    if language not in LANGUAGES:
        return wording("en")
    raw = tomllib.loads(resources.files("dsr_sdk.host.answers").joinpath("reply_texts", f"{language}.toml").read_text(encoding="utf-8"))
    texts: dict[tuple[str, str], tuple[str, str]] = {}
    for decision in Decision:
        for right in RequestType:
            found: dict[str, Any] = raw[decision.value].get(right.value, raw[decision.value])
            texts[decision.value, right.value] = found["subject"], raw["greeting"] + "\n" + found["body"] + raw["closing"]
    mails = {name: (mail.get("subject", ""), mail["body"].replace("{{ greeting }}\n", raw["greeting"])) for name, mail in raw["mails"].items()}
    return Wording(
        language, raw["types"], raw["decisions"], raw["reasons"], raw["results"], raw["remedies"], texts, mails, tuple(raw["months"]), raw["date"]
    )


def fallbacks(asked: str, host: str) -> tuple[str, ...]:
    """The languages to look in, in turn: the one asked for, that one without its country or script, the host's, English. Lower case."""

    def narrow(tag: str) -> Iterable[str]:
        parts = tag.lower().split("-")
        return ("-".join(parts[:end]) for end in range(len(parts), 0, -1))

    return tuple(dict.fromkeys((*narrow(asked), *narrow(host), "en")))
