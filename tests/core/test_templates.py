"""What a connector answers is checked on its way through the hooks, which are final; nothing unsaid passes for *done*."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from dsr_sdk import (
    Absent,
    Category,
    ConfigError,
    Connector,
    ContractError,
    ControllerId,
    DsrError,
    Email,
    Erased,
    Holds,
    Match,
    NotFoundError,
    Outcome,
    Pending,
    Reason,
    Record,
    RejectedError,
    Retained,
    Subject,
    TransientError,
    Unsupported,
    UnsupportedError,
)
from dsr_sdk.hookspecs import hookimpl
from dsr_sdk.http import Api, RateLimit, SourceHttp

CONTACT = Match("contact", "c1")
ADA = Subject.of("ada@example.com")


class Scripted(Connector):
    """Answers what the test says."""

    slug, title, category = "scripted", "Scripted", Category.CRM
    identified_by = (Email,)
    holds = (Holds("contact", data=("user.contact.email",)), Holds("note", data=("user.content",)))
    base_url = "https://api.scripted.example"
    answer: Any = None

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        return self.answer(api, subject)  # type: ignore[no-any-return]  # what a test's script answers is the point

    def erase(self, api: Api, match: Match) -> Outcome:
        return self.answer(api, match)  # type: ignore[no-any-return]  # likewise

    def export(self, api: Api, match: Match) -> Iterator[Record]:
        return self.answer(api, match)  # type: ignore[no-any-return]  # likewise

    opt_out = Unsupported("sells nothing")
    email = Unsupported("has an API")


def scripted(answer: Any, **verbs: Any) -> Scripted:
    """A connector whose verbs answer with this function, or with this value."""
    made: Scripted = type("Scripted", (Scripted,), {"__doc__": "x", **verbs})()
    made.answer = answer if callable(answer) else lambda *arguments: answer
    return made


def api(status: int = 200, body: bytes = b"{}", content_type: str = "application/json") -> Api:
    """An API that always answers the same."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=body, headers={"content-type": content_type})

    return SourceHttp(Scripted(), transport=httpx.MockTransport(answer)).api()


# --- find ----------------------------------------------------------------------------------------------------------------------------------


def test_what_is_found_is_given_in_order() -> None:
    """A list for each person, in their order; the same thing seen twice is one match."""
    connector = scripted(lambda api, subject: iter([Match("contact", subject.email), Match("note", "1"), Match("contact", subject.email)]))
    found = connector.dsr_find(api(), [ADA, Subject.of("bob@example.com")])
    assert [[match.id for match in matches] for matches in found] == [["ada@example.com", "1"], ["bob@example.com", "1"]]


@pytest.mark.parametrize("answer", [["contact"], [None], [{"id": "1"}], [Record("contact", {})], [Erased()]])
def test_found_things_are_matches(answer: Any) -> None:
    """Anything else is the author's mistake, named by its type only."""
    with pytest.raises(ContractError, match=r"^scripted: find yielded \w+, not a Match"):
        scripted(answer).dsr_find(api(), [ADA])


def test_found_resources_are_declared() -> None:
    """What is not in `holds` was approved by nobody."""
    with pytest.raises(ContractError, match="'invoice' is not declared in holds"):
        scripted([Match("invoice", "1")]).dsr_find(api(), [ADA])


@pytest.mark.parametrize("status", [404, 410])
def test_not_found_while_searching_is_the_configuration(status: int) -> None:
    """A wrong base URL must not read as *no data, done*."""
    connector = scripted(lambda api, subject: iter(api.get("/people").json()))
    with pytest.raises(ConfigError, match=rf"GET /people answered {status} while searching") as caught:
        connector.dsr_find(api(status), [ADA])
    assert (caught.value.source, caught.value.field) == ("scripted", "base_url")


@pytest.mark.parametrize("number", [0, 1, 3])
def test_batch_answers_for_everybody(number: int) -> None:
    """A list too few, and somebody would have nothing; a list too many, and somebody would have another's."""
    connector = scripted(None, find_batch_size=10, find_many=lambda self, api, subjects: [[CONTACT]] * number)
    with pytest.raises(ContractError, match=f"find_many answered {number} lists for 2 people"):
        connector.dsr_find(api(), [ADA, ADA])


def test_batch_is_used_for_several() -> None:
    """One person is searched by `find`, several by `find_many`; either alone serves both."""

    def find_many(self: Any, api: Api, subjects: Sequence[Subject]) -> list[list[Match]]:
        return [[Match("contact", f"many-{subject.email}")] for subject in subjects]

    both = scripted([CONTACT], find_batch_size=10, find_many=find_many)
    assert [[match.id for match in matches] for matches in both.dsr_find(api(), [ADA])] == [["c1"]]
    assert [[match.id for match in matches] for matches in both.dsr_find(api(), [ADA, ADA])] == [["many-ada@example.com"]] * 2


# --- erase ---------------------------------------------------------------------------------------------------------------------------------

KINDS: list[Any] = [Email, ControllerId]
NO_OUTCOMES = [None, True, False, "erased", 200, Erased, Outcome(), {"kind": "erased"}, Record("contact", {})]


@pytest.mark.parametrize("answer", NO_OUTCOMES)
def test_an_outcome_is_said(answer: Any) -> None:
    """A verb that returns nothing, or a truth, or the class in place of an outcome, has not said what happened."""
    with pytest.raises(ContractError, match=r"erase answered \w+; it must say Erased\(\)"):
        scripted(lambda *arguments: answer).dsr_delete(api(), [CONTACT])


@pytest.mark.parametrize("answer", NO_OUTCOMES)
def test_an_outcome_is_said_for_each(answer: Any) -> None:
    """Nor in a batch, among good ones."""
    connector = scripted(None, batch_size=10, erase_many=lambda self, api, matches: [Erased(), answer])
    with pytest.raises(ContractError, match=r"erase_many answered \w+; it must say"):
        connector.dsr_delete(api(), [CONTACT, CONTACT])


def test_a_batch_may_mix_outcomes_and_errors() -> None:
    """What the vendor refused is an error in its place, and the others stand."""
    answers = [Erased(), RejectedError("locked"), Pending("job")]
    connector = scripted(None, batch_size=10, erase_many=lambda self, api, matches: iter(answers))
    assert connector.dsr_delete(api(), [CONTACT] * 3) == answers
    with pytest.raises(ContractError, match="3 outcomes for 2 matches"):
        connector.dsr_delete(api(), [CONTACT] * 2)


@pytest.mark.parametrize("status", [404, 410])
def test_gone_is_absent(status: int) -> None:
    """Somebody else was faster: that is what was wanted. A web server's own page about it says nothing."""
    connector = scripted(lambda api, match: api.delete("/people/{id}", id=match.id) and Erased())
    assert connector.dsr_delete(api(status), [CONTACT]) == [Absent()]
    with pytest.raises(ConfigError, match="as a web page"):
        connector.dsr_delete(api(status, b"<html>", "text/html"), [CONTACT])


def test_an_error_ends_the_call() -> None:
    """An error is never an outcome."""
    connector = scripted(lambda api, match: api.post("/x") and Erased())
    with pytest.raises(TransientError):
        connector.dsr_delete(api(500), [CONTACT])


@pytest.mark.parametrize("verb", ["dsr_delete", "dsr_export"])
def test_an_excused_verb_is_not_called(verb: str) -> None:
    """The reason is what is answered."""
    connector = type("Excused", (Scripted,), {"__doc__": "x", "erase": Unsupported("keeps all"), "export": Unsupported("keeps all")})()
    with pytest.raises(UnsupportedError, match=r"Scripted has no \w+: keeps all"):
        getattr(connector, verb)(api(), [CONTACT] if verb == "dsr_delete" else CONTACT)


# --- export, poll, recover, check --------------------------------------------------------------------------------------------------------


def test_records_are_records() -> None:
    """Streamed, of declared resources, and nothing else."""
    connector = scripted(lambda api, match: iter([Record("note", {"a": 1}), "text"]))
    stream = connector.dsr_export(api(), CONTACT)
    assert next(stream) == Record("note", {"a": 1})
    with pytest.raises(ContractError, match="export yielded str, not a Record"):
        next(stream)
    with pytest.raises(ContractError, match="'invoice' is not declared"):
        list(scripted([Record("invoice", {})]).dsr_export(api(), CONTACT))


def test_gone_while_copying_is_no_empty_copy() -> None:
    """What had just been found and is not there now: the person would get a copy with a hole in it."""

    def export(api: Api, match: Match) -> Iterator[Record]:
        yield Record("contact", api.get("/people/{id}", id=match.id).object())

    with pytest.raises(RejectedError, match=r"while copying what had just been found") as caught:
        list(scripted(export).dsr_export(api(404), CONTACT))
    assert not isinstance(caught.value, NotFoundError)


def test_poll() -> None:
    """One outcome, or one for each match; no poll is the author's mistake, and so is no outcome."""
    assert scripted(None, poll=lambda self, api, job: Erased()).dsr_poll(api(), "job") == Erased()
    assert scripted(None, poll=lambda self, api, job: {"c1": Erased(), 5: Absent()}).dsr_poll(api(), "job") == {"c1": Erased(), "5": Absent()}
    with pytest.raises(ContractError, match="no poll to ask with"):
        scripted(None).dsr_poll(api(), "job")
    for wrong in (None, {"c1": None}):
        connector = scripted(None, poll=lambda self, api, job: self.wrong, wrong=wrong)
        with pytest.raises(ContractError, match="poll answered NoneType"):
            connector.dsr_poll(api(), "job")


def test_recover() -> None:
    """None says that the vendor knows of no earlier effect; anything else is an outcome."""
    assert scripted(None).dsr_recover(api(), CONTACT) is None
    assert scripted(None, recover=lambda self, api, match: None).dsr_recover(api(), CONTACT) is None
    assert scripted(None, recover=lambda self, api, match: Erased()).dsr_recover(api(), CONTACT) == Erased()
    with pytest.raises(ContractError, match="recover answered bool"):
        scripted(None, recover=lambda self, api, match: True).dsr_recover(api(), CONTACT)


def test_check() -> None:
    """A line for the operator, if the connector has one."""
    assert scripted(None).dsr_check(api()) == "nothing to check"
    assert scripted(None, check=lambda self, api: 5).dsr_check(api()) == "5"


def test_retained() -> None:
    """The outcome of a retained resource is its declaration."""
    holds = Holds("invoice", data=("user.payment",), on_erase=Retained, reason=Reason.LEGAL_OBLIGATION, text="ten years")
    assert holds.retained == Retained(Reason.LEGAL_OBLIGATION, "ten years")


# --- what a class inherits is checked as well ------------------------------------------------------------------------------------------------


def test_final_hooks_cannot_come_by_inheritance() -> None:
    """Neither a mixin nor an abstract base may stand in a hook's place: it would step round every check above."""

    class Mixin:
        """Answers for everybody."""

        @hookimpl
        def dsr_delete(self, matches: Any) -> Any:
            return [Erased() for _ in matches]

    class Base(Scripted, abstract=True):
        """Likewise."""

        @hookimpl  # type: ignore[misc]  # overriding what is final is the point
        def dsr_find(self, api: Any, subjects: Any) -> Any:
            return [[] for _ in subjects]

    for bases, hook in (((Mixin, Scripted), "dsr_delete"), ((Base,), "dsr_find")):
        with pytest.raises(ContractError, match=f"{hook} is final"):
            type("Sly", bases, {"__doc__": "x"})
    with pytest.raises(ContractError, match="dsr_erase is final"):
        type("Invents", (Scripted,), {"__doc__": "x", "dsr_erase": lambda self: None})


def test_verbs_of_a_base_are_read_along() -> None:
    """A base's verb written wrong, or misspelt, is the concrete class's mistake; one that the class writes anew is not."""

    class Base(Scripted, abstract=True):
        """Shared."""

        def poll(self, job: str) -> Outcome:
            return Erased()

        def recovr(self, api: Api, match: Match) -> None:
            """Looks like a verb."""

    with pytest.raises(ContractError) as caught:
        type("Leaf", (Base,), {"__doc__": "x"})
    assert "poll must be written poll(self, api, job)" in str(caught.value)
    assert "recovr is no verb; did you mean recover?" in str(caught.value)
    type("Leaf", (Base,), {"__doc__": "x", "poll": lambda self, api, job: Erased(), "recovr": None})


def test_helpers_are_let_be() -> None:
    """Names of one's own are fine: with an underscore whatever they are, without one when they look like no verb."""
    type("Helps", (Scripted,), {"__doc__": "x", "_finds": lambda self: 1, "customers": lambda self: 1, "erased_at": lambda self: 1, "LIMIT": 5})


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("identified_by", Email),
        ("identified_by", KINDS),
        ("holds", Holds("contact", data=("user.contact.email",))),
        ("limits", RateLimit(1, 1)),
        ("after", "stripe"),
        ("evidence", "sandbox"),
    ],
)
def test_forgotten_comma(attribute: str, value: Any) -> None:
    """``after = "stripe"`` would be read letter by letter: a tuple is demanded, and the comma named."""
    with pytest.raises(ContractError, match=f"{attribute} must be a tuple"):
        type("Comma", (Scripted,), {"__doc__": "x", attribute: value})


@pytest.mark.parametrize("verb", ["find", "erase", "export", "check", "poll"])
def test_async_verbs(verb: str) -> None:
    """A coroutine that nobody awaits would do nothing."""

    async def plain(self: Any, api: Any, match: Any) -> None:
        """Never runs."""

    async def stream(self: Any, api: Any, match: Any) -> Any:
        yield None

    for function in (plain, stream):
        with pytest.raises(ContractError, match=f"{verb} is async"):
            type("Async", (Scripted,), {"__doc__": "x", verb: function})


def test_errors_of_the_declaration_name_the_class() -> None:
    """An author with ten connectors in one file finds the one."""
    with pytest.raises(ContractError) as caught:
        type("Nameless", (Connector,), {})
    assert caught.value.source == f"{__name__}.Nameless"
    assert isinstance(caught.value, DsrError)
    assert caught.value.acts_next == "author"
