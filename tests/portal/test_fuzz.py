"""A fuzzer against the REST API: whatever it sends, there is no 5xx, no undocumented answer, and no way in without a key."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dsr_sdk.host import Host
from dsr_sdk.host.cases.verification import Method
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.host.people.roles import Role
from dsr_sdk.portal import create_app
from dsr_sdk.portal.routes import api
from tests.portal.conftest import WORKFLOW, address
from tests.smtp import Inbox
from tests.toys import Manually, Toy
from tests.world import World, deletion

with warnings.catch_warnings():  # of libraries beneath it
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        negative_data_rejection,
        response_schema_conformance,
        status_code_conformance,
    )

pytestmark = pytest.mark.filterwarnings("ignore")

OPERATIONS = sorted((path, method.upper()) for path, methods in api.openapi()["paths"].items() for method in methods)
CHECKS: Any = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
BOUNDED = settings(
    max_examples=20,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
"""Enough to meet every kind of value, in well under a minute for all operations; the same values every time."""


_RARE = ("/merge", "/give-free", "/go-on", "/finish", "/close")
"""Operations that ask for more than a fuzzer can know: a duplicate, a search, a vendor that takes its time, everything done, a reply."""


class Patient:
    """A limiter that never says no: the fuzzer is to meet what lies behind it."""

    def hit(self, rule: str, what: str, client: str) -> bool:
        return True


class Target:
    """A portal with requests in every stage, its description as the fuzzer reads it, and a key that may do everything."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.app = create_app(host, engine=False)
        self.app.state.limiter = Patient()
        self.schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", self.app)
        _, self.key = host.accounts.make_key("fuzzer", Role.ADMIN, by="tests")
        self.workflow = host.config.workflow
        self.numbers = [self.to(stage) for stage in ("review", "proven", "process", "process", "reply", "reply", "closed", "shredded")]
        host.config = host.config.model_copy(update={"workflow": None})
        self.numbers.append(host.submit(deletion("outside@example.com")))
        host.config = host.config.model_copy(update={"workflow": self.workflow})

    def to(self, stage: str) -> str:
        """A request in this stage."""
        number = self.host.submit(deletion("ada@example.com", channel="privacy_center"))
        flow = self.host.workflow
        if stage in ("proven", "process"):
            flow.verify(number, Method.DOCUMENT, by="tests")
        if stage == "process":
            flow.accept(number, by="tests")
        if stage in ("reply", "closed", "shredded"):
            flow.reject(number, Reason.OTHER, by="tests")
        if stage in ("closed", "shredded"):
            self.host.replies.close(number, by="tests")
        if stage == "shredded":
            self.host.shred(number, by="tests")
        return number


@pytest.fixture
def target(portal_world: World, inbox: Inbox) -> Target:
    """What is fuzzed."""
    portal_world.tables, portal_world.mail = WORKFLOW, inbox.toml
    portal_world.add("toy", Toy, None, "ada@example.com", token="env:TOKEN")
    portal_world.add("shelf", Manually, instructions="Look on shelf 4.")
    return Target(portal_world.open())


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_nothing_breaks_and_all_is_documented(target: Target, path: str, method: str) -> None:
    """With a key that may do everything, on requests in every stage, on none, and on one outside the workflow: with what fits the
    description, and with what does not, which is refused."""
    operation = target.schema[path][method]
    seen: set[int] = set()

    def send(case: Any, number: str | None, checks: Any) -> None:
        if number is not None and "case" in (case.path_parameters or {}):
            case.path_parameters["case"] = number
        response = case.call(headers={"Authorization": f"Bearer {target.key}"})
        case.validate_response(response, checks=checks)
        seen.add(response.status_code)

    @BOUNDED
    @given(case=operation.as_strategy(), number=st.sampled_from([*target.numbers, None]), someone=st.booleans())
    def right(case: Any, number: str | None, someone: bool) -> None:
        if someone and isinstance(case.body, dict) and "subject" in case.body:  # no fuzzer makes up an e-mail address that is one
            case.body["subject"] = {"email": "ada@example.com"}
            case.body.pop("received_at", None)
        if someone and isinstance(case.body, dict) and "agent" in case.body:  # nor the address of an account
            case.body["agent"] = address(Role.AGENT)
        if someone and "source" in (case.path_parameters or {}):
            case.path_parameters["source"], number = "shelf", target.numbers[2]
        send(case, number, CHECKS)

    @settings(BOUNDED, max_examples=12)
    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    def wrong(case: Any) -> None:
        send(case, None, [*CHECKS, negative_data_rejection])

    right()
    wrong()
    assert 422 in seen, "what is wrong was never sent"
    assert seen & {200, 201} or path.endswith(_RARE), "nothing that was sent was right"


def test_nothing_opens_without_a_key(target: Target) -> None:
    """Whatever is sent without a key, or with a made-up one, is answered by 401 and a problem, and changes nothing."""
    before = [(row.number, row.revision) for row in target.host.cases()]
    for path, method in OPERATIONS:

        @settings(BOUNDED, max_examples=5)
        @given(
            case=target.schema[path][method].as_strategy(),
            number=st.sampled_from(target.numbers),
            key=st.sampled_from(["", "Bearer dsr_x", "Bearer", "Basic eDp5", target.key]),
        )
        def fuzz(case: Any, number: str, key: str) -> None:
            if "case" in (case.path_parameters or {}):
                case.path_parameters["case"] = number
            response = case.call(headers={"Authorization": key} if key else {})
            assert response.status_code == 401
            assert response.headers["content-type"] == ["application/problem+json"]

        fuzz()
    assert [(row.number, row.revision) for row in target.host.cases()] == before
