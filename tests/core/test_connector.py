"""The author's contract: what a class leaves out or misspells is refused when it is defined, all of it at once, in words that help."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dsr_sdk import (
    Anonymized,
    Category,
    Connector,
    ContractError,
    Email,
    Erased,
    Evidence,
    Holds,
    Match,
    Process,
    Reason,
    Retained,
    Unsupported,
    Verb,
)
from dsr_sdk.hookspecs import hookimpl

CONTACT = Holds("contact", data=("user.contact.email",))


def good() -> dict[str, Any]:
    """A connector's whole declaration."""
    return {
        "__doc__": "Good.",
        "slug": "good",
        "title": "Good",
        "category": Category.CRM,
        "identified_by": (Email,),
        "holds": (CONTACT,),
        "find": lambda self, api, subject: iter(()),
        "erase": lambda self, api, match: Erased(),
        "export": lambda self, api, match: iter(()),
        "opt_out": Unsupported("sells nothing"),
        "email": Unsupported("has an API"),
    }


def define(**changes: Any) -> type[Connector]:
    """Define it with changes; a value of ... leaves something out."""
    namespace = {**good(), **changes}
    return type("Changed", (Connector,), {name: value for name, value in namespace.items() if value is not ...})


def test_a_good_one() -> None:
    """Nothing to complain about."""
    connector = define()
    assert connector.supports(Verb.ERASE) is None
    excuse = connector.supports(Verb.OPT_OUT)
    assert excuse is not None
    assert excuse.reason == "sells nothing"
    assert connector.held("contact") is CONTACT


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"slug": ...}, "slug must be"),
        ({"slug": "Not-A-Slug"}, "slug must be"),
        ({"slug": "a\n"}, "slug must be"),
        ({"slug": 5}, "slug must be"),
        ({"title": ...}, "title is missing"),
        ({"title": ""}, "title is missing"),
        ({"category": "crm"}, "category must be a Category"),
        ({"category": ...}, "category must be a Category"),
        ({"__doc__": None}, "docstring"),
        ({"__doc__": "  "}, "docstring"),
        ({"erase": ...}, r"erase is missing: implement it, or say erase = Unsupported"),
        ({"export": ...}, "export is missing"),
        ({"opt_out": ...}, "opt_out is missing"),
        ({"email": ...}, "email is missing"),
        ({"erase": None}, "erase is missing"),
        ({"erase": "no"}, "erase must be a method or Unsupported"),
        ({"find": ...}, "find is missing"),
        ({"identified_by": ()}, "identified_by is empty"),
        ({"holds": ()}, "holds is empty"),
        ({"identified_by": Email}, "identified_by must be a tuple"),
        ({"holds": [CONTACT]}, "holds must be a tuple"),
        ({"batch_size": 10}, "batch_size needs erase_many"),
        ({"find_batch_size": 10}, "find_batch_size needs find_many"),
        ({"repeatable": False}, "needs recover"),
        ({"holds": (CONTACT, CONTACT)}, "holds names contact twice"),
        ({"holds": (CONTACT, Holds("note", data=("user.content",), erased_with="person"))}, "erased with person, which is not in holds"),
        ({"process": Process.EMAIL}, "must implement email"),
        ({"dsr_delete": lambda self: None}, "dsr_delete is final"),
        ({"dsr_find": hookimpl(lambda self: None)}, "dsr_find is final"),
        ({"eraze": lambda self, api, match: None}, "eraze is no verb; did you mean erase"),
        ({"exports": lambda self, api, match: None}, "exports is no verb; did you mean export"),
        ({"recovery": lambda self, api, match: None}, "recovery is no verb; did you mean recover"),
        ({"batchsize": 10}, "batchsize is no attribute of a connector; did you mean batch_size"),
        ({"repeatble": False}, "did you mean repeatable"),
        ({"lags": timedelta(1)}, "did you mean lag"),
        ({"doc": "https://acme.example"}, "did you mean docs"),
        ({"limit": ()}, "did you mean limits"),
        ({"probelm": lambda self, reply: None}, "probelm is no attribute of a connector; did you mean problem"),
        ({"header": lambda self: {}}, "did you mean headers"),
        ({"atuh": lambda self: None}, "did you mean auth"),
        ({"find": lambda self, subject: None}, r"find must be written find\(self, api, subject\)"),
        ({"erase": lambda self, api, match, force=True: None}, r"erase must be written erase\(self, api, match\)"),
        ({"poll": lambda self, api: None}, r"poll must be written poll\(self, api, job\)"),
        ({"recover": lambda self, match, api: None}, r"recover must be written"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], said: str) -> None:
    """Each mistake has a sentence that says what to write instead, and names the class."""
    with pytest.raises(ContractError, match=said) as caught:
        define(**changes)
    assert "Changed" in str(caught.value)


def test_an_authors_own_names_stay_allowed() -> None:
    """Constants, helpers and settings that only share a few letters with ours are the author's own; so is whatever begins with an underscore."""
    own = {"hosts": ("eu.acme.example",), "api_version": "3", "regions": {}, "page_size": 5, "customers": lambda self: 1, "LIMIT": 5, "_limit": 5}
    define(**own, find_one=lambda self: 1, erased_at=None, base_path="/v1", export_job="x", api=None)


def test_everything_at_once() -> None:
    """An author fixes it in one go."""
    with pytest.raises(ContractError) as caught:
        define(slug=..., erase=..., find=..., batch_size=5, eraze=lambda self: None)
    text = str(caught.value)
    for part in ("slug", "erase is missing", "find is missing", "batch_size", "eraze"):
        assert part in text


def test_async_is_refused() -> None:
    """A coroutine would be taken for an answer and never run: an erasure that silently did nothing."""

    async def erase(self: Any, api: Any, match: Any) -> Erased:
        return Erased()

    with pytest.raises(ContractError, match="async"):
        define(erase=erase)


def test_abstract_bases_may_be_incomplete() -> None:
    """A family of connectors shares a base; only what can be used is checked."""

    class Base(Connector, abstract=True):
        """Shared."""

        category = Category.CRM

    with pytest.raises(ContractError, match="slug"):
        type("Leaf", (Base,), {"__doc__": "x"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"data": ("user.contact.emial",)}, "did you mean user.contact.email"),
        ({"data": ()}, "data="),
        ({"data": ("user.contact",), "on_erase": str}, "on_erase is"),
        ({"data": ("user.contact",), "on_erase": Retained}, "needs reason= and text="),
        ({"data": ("user.contact",), "on_erase": Retained, "reason": Reason.CONTRACT}, "needs reason= and text="),
        ({"data": ("user.contact",), "exported": False}, "needs excuse="),
    ],
)
def test_holds(arguments: dict[str, Any], said: str) -> None:
    """What a source holds is declared with the words of the taxonomy, and with reasons."""
    with pytest.raises(ContractError, match=said):
        Holds("thing", **arguments)


def test_reasons_are_demanded() -> None:
    """An excuse without a reason is none."""
    with pytest.raises(ContractError, match="reason"):
        Unsupported(" ")
    with pytest.raises(ContractError, match="not retained"):
        _ = CONTACT.retained
    assert Holds("i", data=("user.payment",), on_erase=Retained, reason=Reason.CONTRACT, text="x").retained == Retained(Reason.CONTRACT, "x")
    assert Holds("i", data=("user.payment",), on_erase=Anonymized).scope == "account"
    assert Evidence.SANDBOX in define().evidence


def test_a_verb_that_is_unsupported_is_refused() -> None:
    """Calling it nevertheless is an error with the reason, not silence."""
    from dsr_sdk import UnsupportedError

    with pytest.raises(UnsupportedError, match="sells nothing"):
        define()().dsr_opt_out(api=None, match=Match("contact", "1"))  # type: ignore[arg-type]  # it is not reached
