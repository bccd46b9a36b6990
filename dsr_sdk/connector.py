"""The author's contract: a connector is one class with three verbs, written as plain synchronous Python.

    class Acme(Connector):
        slug, title, category = "acme", "Acme", Category.CRM
        identified_by = (Email,)
        holds = (Holds("contact", data=("user.contact.email",)),)
        base_url = "https://api.acme.example"

        def find(self, api, subject): ...      # yields matches, changes nothing
        def erase(self, api, match): ...       # returns an outcome
        def export(self, api, match): ...      # yields records
        opt_out = Unsupported("Acme sells no data")
        email = Unsupported("Acme is reached through its API")

The host owns threads, retries, rate limits, statuses and proof. What a class leaves out or misspells is refused when it is defined.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, final

from pydantic import Field

from dsr_sdk._model import Model
from dsr_sdk._taxonomy import DATA_CATEGORIES
from dsr_sdk.errors import ConfigError, ContractError, DsrError, NotFoundError, RejectedError, UnsupportedError
from dsr_sdk.hookspecs import hookimpl
from dsr_sdk.identity import Identity
from dsr_sdk.request import RequestType, Scope, Subject
from dsr_sdk.result import Absent, Anonymized, Erased, Match, Outcome, Reason, Record, Retained

if TYPE_CHECKING:
    import httpx

    from dsr_sdk.http import Api, RateHeaders, RateLimit, Reply
    from dsr_sdk.mail import Letter, Letterhead

__all__ = ["Category", "Connector", "ConnectorConfig", "Evidence", "Holds", "Process", "Unsupported", "Verb"]


class Category(StrEnum):
    """What kind of product a data source is; the portal filters by it."""

    ADVERTISING = "advertising"
    ANALYTICS = "analytics"
    COMMERCE = "commerce"
    COMMUNITY = "community"
    CRM = "crm"
    CUSTOM = "custom"
    DATA_PLATFORM = "data_platform"
    DEVELOPER_TOOLS = "developer_tools"
    IDENTITY = "identity"
    MARKETING = "marketing"
    PAYMENTS = "payments"
    STAFF = "staff"
    SUPPORT = "support"


class Process(StrEnum):
    """Who does the work at a data source."""

    AUTOMATED = "automated"
    EMAIL = "email"
    MANUAL = "manual"


class Evidence(StrEnum):
    """What a connector was checked against. A layer is claimed only where a test holds it."""

    SANDBOX = "sandbox"
    SPEC = "spec"
    RECORDINGS = "recordings"
    LIVE = "live"


class Verb(StrEnum):
    """What a connector is asked to do beside finding."""

    ERASE = "erase"
    EXPORT = "export"
    OPT_OUT = "opt_out"
    EMAIL = "email"


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Stands in the place of a verb that a data source does not have: ``opt_out = Unsupported("sells no data")``."""

    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ContractError("Unsupported() needs a reason: it is shown to the agent and to the data subject")


@dataclass(frozen=True, slots=True)
class Holds:
    """A resource a data source holds about people.

    Attributes:
        resource: Its name; every `Match` and `Record` names one.
        data: Fideslang data categories it contains (``user.contact.email``).
        on_erase: What becomes of it: `Erased`, `Anonymized`, or `Retained` with `reason` and `text`. The host never asks a connector
            to erase a retained resource.
        scope: Whether it belongs to the account or is app data; a deletion of app data leaves account resources alone.
        exported: Whether a copy contains it. A resource that is not exported needs an `excuse`.
        erased_with: The resource whose erasure takes this one along: it needs no match of its own.
        title: What people call such records, in the plural (``payments``); without one, letters say the resource's name.
    """

    resource: str
    data: tuple[str, ...]
    on_erase: type[Outcome] = Erased
    reason: Reason | None = None
    text: str = ""
    scope: Scope = Scope.ACCOUNT
    exported: bool = True
    excuse: str = ""
    erased_with: str | None = None
    title: str = ""

    def __post_init__(self) -> None:
        if self.on_erase not in (Erased, Anonymized, Retained):
            raise ContractError(f"{self.resource}: on_erase is Erased, Anonymized or Retained")
        if self.on_erase is Retained and not (self.reason and self.text):
            raise ContractError(f"{self.resource}: what is retained needs reason= and text=")
        if not self.exported and not self.excuse:
            raise ContractError(f"{self.resource}: what is not exported needs excuse=")
        unknown = [category for category in self.data if category not in DATA_CATEGORIES]
        if unknown or not self.data:
            guess = difflib.get_close_matches(unknown[0], DATA_CATEGORIES, n=1) if unknown else []
            hint = f"; did you mean {guess[0]}?" if guess else ""
            raise ContractError(f"{self.resource}: {unknown[0] if unknown else 'data=()'} is no Fideslang data category{hint}")

    @property
    def retained(self) -> Retained:
        """The outcome of asking for the erasure of a retained resource."""
        if self.reason is None:
            raise ContractError(f"{self.resource} is not retained")
        return Retained(self.reason, self.text)


class ConnectorConfig(Model):
    """Settings every data source has. A connector adds its own in a nested ``class Config(ConnectorConfig)``; secrets are `SecretStr`
    and stand in the configuration as references (``env:NAME``, ``file:path``, ``keyring:service/name``)."""

    base_url: str | None = Field(None, description="instead of the connector's own; needed for sandboxes and self-hosted products")
    allow_private_hosts: bool = Field(False, description="permit base URLs on private networks (sandboxes, on-premises products)")


class Connector:
    """Base class of every data source's connector. See the module's example and ``docs/write-a-connector.md``.

    Verbs (an author writes these):

    ``find(api, subject) -> Iterator[Match]``
        What is held for the person. Changes nothing. `subject` carries exactly one identity to search by (of a kind in
        ``identified_by``); find is asked once for each. Called again after erasure: finding nothing then is the proof.
    ``find_many(api, subjects) -> Sequence[Sequence[Match]]``
        The same for up to `find_batch_size` people in one call, for vendors with a batch lookup.
    ``erase(api, match) -> Outcome`` or ``erase_many(api, matches) -> Sequence[Outcome | DsrError]``
        Erase one match, or up to `batch_size` of them. In `erase` a 404 raised by `api` means `Absent` by itself; of a batch it would
        not say whose it is, so `erase_many` reads it itself.
    ``export(api, match) -> Iterator[Record]``
        Everything behind a match.
    ``opt_out(api, match) -> Outcome``
        Stop selling or sharing.
    ``poll(api, job) -> Outcome | Mapping[str, Outcome]``
        Needed when `erase` returns `Pending`. When one job stands for several matches, a mapping gives each match id its own outcome.
    ``recover(api, match) -> Outcome | None``
        Needed when repeating `erase` is not harmless (`repeatable = False`): looks the earlier effect up at the vendor.
    ``check(api) -> str``
        One harmless call that proves the credentials.
    """

    slug: ClassVar[str]
    title: ClassVar[str]
    category: ClassVar[Category]
    process: ClassVar[Process] = Process.AUTOMATED
    identified_by: ClassVar[tuple[type[Identity], ...]] = ()
    """Identity kinds `find` can search by. A subject without any of them: *missing identifier*."""
    holds: ClassVar[tuple[Holds, ...]] = ()
    limits: ClassVar[tuple[RateLimit, ...]] = ()
    rate_headers: ClassVar[RateHeaders | None] = None
    connections: ClassVar[int | None] = None
    """The most calls a vendor lets be under way at once (Mailchimp: ten); None when it names no such limit."""
    batch_size: ClassVar[int] = 1
    find_batch_size: ClassVar[int] = 1
    lag: ClassVar[timedelta] = timedelta(0)
    """How long after an erasure `find` may still see it (index lag, a vendor's own delay): verification waits this long."""
    blind_spot: ClassVar[str] = ""
    """What the data source may hold that `find` has no way to see, in a sentence; empty when there is nothing. Every plan warns of it, so that
    *nothing found* is not read as *nothing there*."""
    blind_spot_erase: ClassVar[str] = ""
    """What a person does about the blind spot for a deletion, and for no other request."""
    repeatable: ClassVar[bool] = True
    """Whether erasing the same match twice is harmless. If not, `recover` must be implemented."""
    idempotency_header: ClassVar[str | None] = None
    """The vendor's header for idempotency keys; with it POST is retried too."""
    after: ClassVar[tuple[str, ...]] = ()
    """Connectors whose erasures come first (a source that would re-sync the person into this one)."""
    evidence: ClassVar[tuple[Evidence, ...]] = (Evidence.SANDBOX,)
    docs: ClassVar[str] = ""
    """Where the vendor documents the API this connector speaks."""
    exempt: ClassVar[Mapping[str, str]] = {}
    """Checks of the conformance suite that cannot hold for this vendor: the check's name -> the reason. Shown by ``dsr connectors``."""

    base_url: str = ""
    Config: ClassVar[type[ConnectorConfig]] = ConnectorConfig

    def __init__(self, config: ConnectorConfig | None = None, *, name: str | None = None) -> None:
        self.config: Any = config if config is not None else self.Config()
        self.name = name or self.slug

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def auth(self) -> httpx.Auth | None:
        """How requests are authenticated; see `dsr_sdk.http` for the helpers. None for none."""
        return None

    def headers(self) -> Mapping[str, str]:
        """Headers sent with every request (an API version). No secrets: those belong in `auth`."""
        return {}

    def rate_limits(self) -> tuple[RateLimit, ...]:
        """The limits as they apply to this configuration; `limits` unless a setting (a plan, a test key) changes them."""
        return self.limits

    def problem(self, reply: Reply) -> DsrError | None:
        """What the vendor means by an answer that the usual reading of HTTP statuses gets wrong; None for the usual reading.

        Asked for every answer, 2xx too: some vendors say no with 200.
        """
        return None

    # --- declaration -------------------------------------------------------------------------------------------------------------

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not abstract:
            from dsr_sdk._declaration import check_declaration  # it reads the classes of this module

            check_declaration(cls)

    @classmethod
    def supports(cls, verb: Verb) -> Unsupported | None:
        """None when the verb is there (``erase`` or ``erase_many``); otherwise the excuse."""
        if verb is Verb.ERASE and callable(getattr(cls, "erase_many", None)):
            return None
        value = getattr(cls, verb.value, None)
        return value if isinstance(value, Unsupported) else None

    @classmethod
    def held(cls, resource: str) -> Holds:
        """The declaration of a resource. Raises `ContractError` when there is none."""
        for holds in cls.holds:
            if holds.resource == resource:
                return holds
        raise ContractError(f"the resource {resource!r} is not declared in holds", source=cls.slug)

    # --- operation hooks: final, implemented here once ---------------------------------------------------------------------------

    @final
    @hookimpl
    def dsr_check(self, api: Api) -> str:
        check = getattr(self, "check", None)
        return str(check(api)) if check else "nothing to check"

    @final
    @hookimpl
    def dsr_find(self, api: Api, subjects: Sequence[Subject]) -> Sequence[Sequence[Match]]:
        try:
            if hasattr(self, "find_many") and (len(subjects) > 1 or not hasattr(self, "find")):
                found = [list(matches) for matches in self.find_many(api, subjects)]
            else:
                found = [list(self.find(api, subject)) for subject in subjects]  # type: ignore[attr-defined]  # checked at class definition
        except NotFoundError as error:
            raise ConfigError(
                f"{error.message} while searching, which no wrong person explains",
                source=self.name,
                field="base_url",
                fix="check the base URL and the account settings; a connector that expects 404 here says absent_ok=True",
            ) from None
        if len(found) != len(subjects):
            raise ContractError(f"find_many answered {len(found)} lists for {len(subjects)} people", source=self.name)
        return [self._checked(matches) for matches in found]

    @final
    @hookimpl
    def dsr_delete(self, api: Api, matches: Sequence[Match]) -> Sequence[Outcome | DsrError]:
        self._demand(Verb.ERASE)
        many = getattr(self, "erase_many", None)
        if many is None:
            return [self._outcome("erase", api, match) for match in matches]
        outcomes = list(many(api, matches))
        if len(outcomes) != len(matches):
            raise ContractError(f"erase_many answered {len(outcomes)} outcomes for {len(matches)} matches", source=self.name)
        return [outcome if isinstance(outcome, DsrError) else self._checked_outcome("erase_many", outcome) for outcome in outcomes]

    @final
    @hookimpl
    def dsr_export(self, api: Api, match: Match) -> Iterator[Record]:
        self._demand(Verb.EXPORT)
        return self._records(api, match)

    @final
    @hookimpl
    def dsr_opt_out(self, api: Api, match: Match) -> Outcome:
        self._demand(Verb.OPT_OUT)
        return self._outcome("opt_out", api, match)

    @final
    @hookimpl
    def dsr_email(self, subject: Subject, type: RequestType, letterhead: Letterhead) -> Letter:
        self._demand(Verb.EMAIL)
        letter: Letter = self.email(subject, type, letterhead)  # type: ignore[attr-defined]  # checked at class definition
        return letter

    @final
    @hookimpl
    def dsr_poll(self, api: Api, job: str) -> Outcome | Mapping[str, Outcome]:
        poll = getattr(self, "poll", None)
        if poll is None:
            raise ContractError("erase answered Pending, but there is no poll to ask with", source=self.name)
        answer = poll(api, job)
        if isinstance(answer, Mapping):
            return {str(match): self._checked_outcome("poll", outcome) for match, outcome in answer.items()}
        return self._checked_outcome("poll", answer)

    @final
    @hookimpl
    def dsr_recover(self, api: Api, match: Match) -> Outcome | None:
        recover = getattr(self, "recover", None)
        outcome = recover(api, match) if recover else None
        return None if outcome is None else self._checked_outcome("recover", outcome)

    # --- what the templates share ------------------------------------------------------------------------------------------------

    def _demand(self, verb: Verb) -> None:
        excuse = self.supports(verb)
        if excuse is not None:
            raise UnsupportedError(f"{self.title} has no {verb.value}: {excuse.reason}", source=self.name)

    def _checked(self, matches: list[Match]) -> list[Match]:
        unique: dict[tuple[str, str], Match] = {}
        for match in matches:
            if not isinstance(match, Match):
                raise ContractError(f"find yielded {type(match).__name__}, not a Match", source=self.name)
            self.held(match.resource)
            unique.setdefault((match.resource, match.id), match)
        return list(unique.values())

    def _outcome(self, verb: str, api: Api, match: Match) -> Outcome:
        try:
            return self._checked_outcome(verb, getattr(self, verb)(api, match))
        except NotFoundError as error:
            if error.code == "html":  # a web server's page, not the vendor's API: it says nothing about the person
                raise ConfigError(f"{error.message}, as a web page", source=self.name, field="base_url", fix="check the base URL") from None
            return Absent()

    def _checked_outcome(self, verb: str, outcome: object) -> Outcome:
        if isinstance(outcome, Outcome) and outcome.kind:
            return outcome
        raise ContractError(f"{verb} answered {type(outcome).__name__}; it must say Erased(), Absent(), Retained() ...", source=self.name)

    def _records(self, api: Api, match: Match) -> Iterator[Record]:
        try:
            for record in self.export(api, match):  # type: ignore[attr-defined]  # checked at class definition
                if not isinstance(record, Record):
                    raise ContractError(f"export yielded {type(record).__name__}, not a Record", source=self.name)
                self.held(record.resource)
                yield record
        except NotFoundError as error:
            raise RejectedError(f"{error.message} while copying what had just been found", source=self.name, status=error.status) from None
