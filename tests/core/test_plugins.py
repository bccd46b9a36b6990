"""The host's wrappers stand around every call, its observers are in nobody's way, and a damaged installation hides nothing but itself."""

from __future__ import annotations

import logging
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any

import httpx
import pytest

from dsr_sdk import ApprovalError, ConfigError, ContractError, Erased, Match, RequestType, Subject, hookimpl
from dsr_sdk.http import SourceHttp
from dsr_sdk.registry import Registry
from tests.toys import Batched, Toy
from tests.world import point

CANARY = "canary-7f3e9d2b"


def opened(*names: str) -> Registry:
    """A registry with these sources, all of one connector."""
    registry = Registry(points=[point("toy", Toy), point("batched", Batched)])
    for name in names:
        registry.open(name, "toy", {})
    return registry


def erase(registry: Registry, name: str) -> Any:
    """Erase one contact through the hooks, at a vendor that agrees to everything."""
    http = SourceHttp(registry.sources[name].connector, transport=httpx.MockTransport(lambda request: httpx.Response(204)))
    return registry.caller("dsr_delete", name)(source=name, api=http.api(), matches=[Match("contact", "c1")])


# --- wrappers ------------------------------------------------------------------------------------------------------------------------------


class Watching:
    """Stands around every erasure."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @hookimpl(wrapper=True)
    def dsr_delete(self, source: str, matches: Any) -> Any:
        self.seen.append((source, [match.id for match in matches]))
        outcomes = yield
        self.seen.append(outcomes)
        return outcomes


def test_wrapper_sees_the_call_and_its_answer() -> None:
    """Whichever source is called, and only the one that is called."""
    registry, watching = opened("eu", "us"), Watching()
    registry.add_plugin(watching, "watching")
    assert erase(registry, "us") == [Erased()]
    assert watching.seen == [("us", ["c1"]), [Erased()]]


def test_wrapper_that_comes_later_is_seen() -> None:
    """A caller that was made before the plugin came is made anew."""
    registry, watching = opened("eu"), Watching()
    erase(registry, "eu")
    registry.add_plugin(watching)
    erase(registry, "eu")
    assert len(watching.seen) == 2


def test_wrapper_may_forbid() -> None:
    """What it raises is what the caller gets, and the connector is not reached."""

    class Forbidding:
        """No erasure at all."""

        @hookimpl(wrapper=True)
        def dsr_delete(self, source: str) -> Any:
            raise ApprovalError("not on a Friday", source=source)
            yield

    class Untouched(Toy):
        """Must not be called."""

        slug = "toy"

        def erase(self, api: Any, match: Any) -> Any:
            pytest.fail("the connector was reached")

    registry = Registry(points=[point("toy", Untouched)])
    registry.open("eu", "toy", {})
    registry.add_plugin(Forbidding())
    with pytest.raises(ApprovalError, match="not on a Friday"):
        erase(registry, "eu")


def test_wrapper_sees_the_error() -> None:
    """An error of the connector passes through the wrapper as it is."""
    seen: list[BaseException] = []

    class Counting:
        """Counts failures."""

        @hookimpl(wrapper=True)
        def dsr_find(self, source: str) -> Any:
            try:
                return (yield)
            except ConfigError as error:
                seen.append(error)
                raise

    registry = opened("eu")
    registry.add_plugin(Counting())
    http = SourceHttp(registry.sources["eu"].connector, transport=httpx.MockTransport(lambda request: httpx.Response(404)))
    with pytest.raises(ConfigError, match="while searching") as caught:
        registry.caller("dsr_find", "eu")(source="eu", api=http.api(), subjects=[Subject.of("ada@example.com")])
    assert seen == [caught.value]


def test_wrapper_that_never_yields_is_refused() -> None:
    """A wrapper written as a plain function would answer in the connector's place."""

    class Plain:
        """No generator."""

        @hookimpl(wrapper=True)
        def dsr_delete(self, source: str) -> list[Any]:
            return []

    registry = opened("eu")
    with pytest.raises(ContractError, match="not a generator function"):
        registry.add_plugin(Plain(), "plain")
    assert "not a generator" in registry.quarantined["plain"]
    assert erase(registry, "eu") == [Erased()]


# --- observers -----------------------------------------------------------------------------------------------------------------------------


def test_observer_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """The others are told all the same; the log has its name and the class of the error, and not the message, which may hold anything."""
    caplog.set_level(logging.DEBUG)
    heard: list[str] = []

    class Raising:
        """Fails on everything."""

        @hookimpl
        def dsr_request_closed(self, case: str) -> None:
            raise ValueError(CANARY)

    class Listening:
        """Hears everything."""

        @hookimpl
        def dsr_request_closed(self, case: str, type: RequestType) -> str:
            heard.append(f"{case} {type}")
            return "ignored"

    registry = opened()
    for number, plugin in enumerate((Listening(), Raising(), Listening())):
        registry.add_plugin(plugin, f"plugin-{number}")
    registry.tell("dsr_request_closed", case="DSR-1", type=RequestType.COPY)
    assert heard == ["DSR-1 copy"] * 2
    assert "the observer plugin-1 of dsr_request_closed raised ValueError" in caplog.text
    assert CANARY not in caplog.text


def test_plugin_that_is_there_already() -> None:
    """Installed and given to the host as well: the second is refused, and the first goes on listening."""
    heard: list[str] = []

    class Listening:
        """Hears of it."""

        @hookimpl
        def dsr_request_closed(self, case: str) -> None:
            heard.append(case)

    registry, plugin = opened(), Listening()
    registry.add_plugin(plugin, "house-rules")
    for name in ("house-rules", "another-name"):
        with pytest.raises(ContractError, match="there already"):
            registry.add_plugin(plugin, name)
    registry.tell("dsr_request_closed", case="DSR-1", type=RequestType.COPY)
    assert heard == ["DSR-1"]
    assert registry.quarantined == {}


def test_two_plugins_of_one_name() -> None:
    """The second is refused and explained, and the first goes on."""
    registry, first = opened(), Watching()
    registry.add_plugin(first, "rules")
    with pytest.raises(ContractError, match="already registered"):
        registry.add_plugin(Watching(), "rules")
    assert registry.manager.get_plugin("rules") is first


def test_wrong_argument_is_named() -> None:
    """Which plugin, which hook, which argument."""

    class Wrong:
        """Asks for what there is not."""

        @hookimpl
        def dsr_task_finished(self, case: str, person: str) -> None:
            """Never called."""

    registry = opened()
    with pytest.raises(ContractError) as caught:
        registry.add_plugin(Wrong(), "wrong")
    for part in ("wrong", "dsr_task_finished", "person"):
        assert part in str(caught.value)
        assert part in registry.quarantined["wrong"] or part == "wrong"


# --- damaged installations -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metadata", [None, "", "Metadata-Version: 2.1\n", "Name\n", "\x00\x01"])
def test_damaged_metadata(metadata: str | None, tmp_path: Path) -> None:
    """A distribution whose metadata is missing or garbage is listed without it, and hides no other."""
    info = tmp_path / "dsr_connector_toy-1.0.dist-info"
    info.mkdir()
    if metadata is not None:
        (info / "METADATA").write_text(metadata)
    damaged = EntryPoint("damaged", "nowhere:Nothing", "dsr_sdk.connectors")
    vars(damaged)["dist"] = Distribution.at(info)
    registry = Registry(points=[damaged, point("toy", Toy)])
    available = registry.available()
    assert list(available) == ["damaged", "toy"]
    assert (available["damaged"].distribution, available["damaged"].version, available["damaged"].summary) == ("(unknown)", "", "")
    assert registry.load("toy") is Toy


def test_one_distribution_seen_twice(tmp_path: Path) -> None:
    """The same installation on the path two times is one connector, not two that quarrel."""
    info = tmp_path / "dsr_connector_toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dsr-connector-toy\nVersion: 1.0\n")
    points = [EntryPoint("toy", "tests.toys:Toy", "dsr_sdk.connectors") for _ in range(2)]
    for one in points:
        vars(one)["dist"] = Distribution.at(info)
    registry = Registry(points=points)
    assert list(registry.available()) == ["toy"]
    assert registry.load("toy").slug == "toy"
    assert registry.quarantined == {}


def test_ctrl_c_is_not_quarantined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants to stop stops, even while a connector is being imported."""
    (tmp_path / "made_interrupted.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry(points=[EntryPoint("interrupted", "made_interrupted:Made", "dsr_sdk.connectors")])
    with pytest.raises(KeyboardInterrupt):
        registry.load("interrupted")
    assert registry.quarantined == {}


def test_long_explanations_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that fails with a page of text is explained in one line."""
    (tmp_path / "made_talkative.py").write_text("raise ValueError('first line' + 'x' * 1000 + '\\nsecond line')")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry(points=[EntryPoint("talkative", "made_talkative:Made", "dsr_sdk.connectors")])
    with pytest.raises(ConfigError, match="ValueError: first line") as caught:
        registry.load("talkative")
    assert "second line" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_connector_that_cannot_be_made() -> None:
    """An author's ``__init__`` that fails is told by its class, without its message."""

    class Failing(Toy):
        """Fails when it is made."""

        slug = "failing"

        def __init__(self, *arguments: Any, **more: Any) -> None:
            raise RuntimeError(CANARY)

    registry = Registry(points=[point("failing", Failing)])
    with pytest.raises(ContractError, match="cannot be made: RuntimeError") as caught:
        registry.open("eu", "failing", {})
    assert CANARY not in str(caught.value)
    assert registry.sources == {}


def test_longer_circles() -> None:
    """A circle through three sources, half configured and half declared, is named as it runs."""
    registry = Registry(points=[point("toy", Toy), point("later", type("Later", (Batched,), {"__doc__": "x", "slug": "later", "after": ("toy",)}))])
    registry.open("a", "toy", {}, after=("b",))
    registry.open("b", "toy", {}, after=("c",))
    registry.open("c", "later", {})
    with pytest.raises(ConfigError, match=r"in a circle: \w( -> \w)+") as caught:
        registry.check_after()
    named = str(caught.value).split("circle: ")[1].split(" -> ")
    assert named[0] == named[-1][0]
