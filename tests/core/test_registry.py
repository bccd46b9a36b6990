"""Installed connectors and plugins: listed without import, loaded in a guard, quarantined when broken, and the rest work."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any

import pytest

from dsr_sdk import ConfigError, Connector, ContractError, hookimpl
from dsr_sdk.registry import Registry
from tests.toys import Batched, Toy

SECRET = "s3cret-canary"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes modules that can be imported, and an entry point into each."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def make(slug: str, source: str, attribute: str = "Made", distribution: str = "") -> EntryPoint:
        module = f"made_{slug}_{len(made)}"
        made.append(module)
        (tmp_path / f"{module}.py").write_text(source)
        point = EntryPoint(slug, f"{module}:{attribute}", "dsr_sdk.connectors")
        if distribution:
            info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
            info.mkdir(exist_ok=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\nSummary: about {slug}\n")
            vars(point)["dist"] = Distribution.at(info)
        return point

    yield make
    for name in made:
        sys.modules.pop(name, None)


GOOD = """
from tests.toys import Toy
class Made(Toy):
    "x"
    slug = "{slug}"
"""


def test_listing_imports_nothing(package: Any) -> None:
    """A hundred connectors may be installed: their names cost no import, and their metadata is there."""
    point = package("good", "raise SystemExit('imported')", distribution="dsr-connector-good")
    available = Registry(points=[point]).available()
    assert list(available) == ["good"]
    assert (available["good"].distribution, available["good"].version, available["good"].summary) == ("dsr-connector-good", "1.0", "about good")
    assert not any(name.startswith("made_good") for name in sys.modules)


BROKEN = {
    "import error": ("import no_such_module_anywhere", "No module named"),
    "syntax error": ("def", "SyntaxError"),
    "exits": ("import sys; sys.exit('bye')", "SystemExit"),
    "raises": (f"raise ValueError({SECRET!r} if False else 'oops')", "ValueError: oops"),
    "lacks a verb": (
        'from dsr_sdk import Connector, Category\nclass Made(Connector):\n    "x"\n    slug, title, category = "b", "B", Category.CRM',
        "erase is missing",
    ),
    "misspells": (GOOD.format(slug="b") + "    def eraze(self): pass", "did you mean erase"),
    "lacks the class": ("x = 1", "Made"),
    "is no connector": ("Made = object", "no subclass of Connector"),
    "is a function": ("def Made(): pass", "no subclass of Connector"),
    "another slug": (GOOD.format(slug="other"), "they must agree"),
    "recursion": ("def f(): f()\nf()", "RecursionError"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_connector_is_quarantined(package: Any, kind: str) -> None:
    """It is explained, told to observers once, asked for again in vain, and the others work."""
    source, said = BROKEN[kind]
    heard: list[tuple[str, str]] = []

    class Listening:
        """Hears of it."""

        @hookimpl
        def dsr_connector_failed(self, slug: str, error: str) -> None:
            heard.append((slug, error))

    registry = Registry(points=[package("b", source), package("good", GOOD.format(slug="good"))])
    registry.add_plugin(Listening())
    for _ in range(2):
        with pytest.raises(ConfigError, match="quarantined") as caught:
            registry.load("b")
        assert said in str(caught.value)
    assert [slug for slug, _ in heard] == ["b"]
    assert issubclass(registry.load("good"), Connector)
    assert set(registry.quarantined) == {"b"}


def test_two_distributions_with_one_slug(package: Any) -> None:
    """Which of them would erase? Neither, and both are named."""
    points = [
        package("twin", GOOD.format(slug="twin"), distribution="dsr-connector-twin"),
        package("twin", GOOD.format(slug="twin"), distribution="evil-twin"),
        package("twin", GOOD.format(slug="twin"), distribution="third-twin"),
    ]
    registry = Registry(points=points)
    assert list(registry.available()) == []
    with pytest.raises(ConfigError, match="both provide the connector 'twin'") as caught:
        registry.load("twin")
    assert "evil-twin" in str(caught.value) or "third-twin" in str(caught.value)


def test_only_what_is_allowed(package: Any) -> None:
    """With an allow-list nothing else is listed or imported."""
    registry = Registry(allow=["good"], points=[package("good", GOOD.format(slug="good")), package("bad", "raise SystemExit")])
    assert list(registry.available()) == ["good"]
    with pytest.raises(ConfigError, match="not allowed here"):
        registry.load("bad")


def test_what_is_not_installed() -> None:
    """Says what is, and how to get it."""
    with pytest.raises(ConfigError, match="not installed") as caught:
        Registry(points=[]).load("acme_mail")
    assert caught.value.fix == "pip install dsr-connector-acme-mail"


# --- plugins -----------------------------------------------------------------------------------------------------------------------


class Misspelt:
    """A hook that does not exist."""

    @hookimpl
    def dsr_request_close(self, case: str) -> None:
        raise AssertionError("never called")


class WrongArgument:
    """A hook with an argument that does not exist."""

    @hookimpl
    def dsr_task_finished(self, case: str, task: str) -> None:
        raise AssertionError("never called")


@pytest.mark.parametrize(("plugin", "said"), [(Misspelt(), "dsr_request_close"), (WrongArgument(), "task")])
def test_a_plugin_with_a_wrong_hook(plugin: object, said: str) -> None:
    """Refused by name, taken out again, and others are told of things as before."""
    registry = Registry(points=[])
    with pytest.raises(ContractError, match=said) as caught:
        registry.add_plugin(plugin)
    assert "docs/hooks/" in str(caught.value)
    assert list(registry.quarantined) == [type(plugin).__name__]
    assert not registry.manager.is_registered(plugin)
    registry.manager.check_pending()
    registry.tell("dsr_request_closed", case="x", type=None)


def test_installed_plugins(package: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by entry point; a broken one is quarantined and the rest are loaded."""
    source = "from dsr_sdk import hookimpl\nclass Made:\n    @hookimpl\n    def dsr_request_closed(case): pass\n"
    points = [package("fine", source), package("broken", "import nothing_of_this_name"), package("wrong", source.replace("closed", "closing"))]
    monkeypatch.setattr("dsr_sdk.registry.entry_points", lambda group: points)
    registry = Registry()
    registry.load_plugins()
    assert set(registry.quarantined) == {"broken", "wrong"}
    assert registry.manager.has_plugin("fine")


# --- data sources ------------------------------------------------------------------------------------------------------------------


def registry() -> Registry:
    """Two connectors to configure."""
    from tests.world import point

    return Registry(points=[point("toy", Toy), point("batched", Batched)])


def test_secrets_are_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret in the open is refused and not repeated; a reference is followed."""
    with pytest.raises(ConfigError, match=r"sources\.crm\.token: is written in the open") as caught:
        registry().open("crm", "toy", {"token": SECRET})
    assert SECRET not in str(caught.value)
    monkeypatch.setenv("TOKEN", SECRET)
    source = registry().open("crm", "toy", {"token": "env:TOKEN"})
    assert source.connector.config.token.get_secret_value() == SECRET
    assert SECRET not in repr(source) + repr(source.connector.config)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tokn": "env:X"}, r"sources\.crm\.tokn: is not a setting of this connector"),
        ({"allow_private_hosts": "perhaps"}, r"sources\.crm\.allow_private_hosts"),
        ({"base_url": 5}, r"sources\.crm\.base_url"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], said: str) -> None:
    """Named by field, with the settings there are; values are not repeated."""
    with pytest.raises(ConfigError, match=said) as caught:
        registry().open("crm", "toy", settings)
    assert "token" in str(caught.value.fix)
    assert "perhaps" not in str(caught.value)


def test_two_sources_of_one_name() -> None:
    """The second would hide the first."""
    made = registry()
    made.open("crm", "toy", {})
    with pytest.raises(ConfigError, match="two data sources of this name"):
        made.open("crm", "batched", {})


def test_each_source_answers_for_itself() -> None:
    """The same connector twice, configured differently: each call reaches exactly one of them, before and after others come and go."""
    made = registry()
    first = made.open("first", "toy", {})
    made.open("second", "toy", {})
    seen: list[str] = []

    class Named(Toy):
        """Says who answers."""

        slug = "toy"

        def check(self, api: Any) -> str:
            seen.append(self.name)
            return self.name

    first.connector.__class__ = Named
    made.sources["second"].connector.__class__ = Named
    for name in ("first", "second", "first"):
        assert made.caller("dsr_check", name)(source=name, api=None) == name
    made.open("third", "batched", {})
    assert made.caller("dsr_check", "second")(source="second", api=None) == "second"
    made.close("second")
    assert made.caller("dsr_check", "first")(source="first", api=None) == "first"
    assert seen == ["first", "second", "first", "second", "first"]


def test_orders() -> None:
    """By configuration and by declaration; circles and strangers are refused, absent ones are not waited for."""
    made = registry()
    made.open("a", "toy", {}, after=("b",))
    made.open("b", "batched", {}, after=("gone",))
    with pytest.raises(ConfigError, match="gone"):
        made.check_after()
    made.check_after(absent=["gone"])
    assert made.predecessors("a") == ("b",)
    assert made.predecessors("b") == ()
    made.open("c", "toy", {}, after=("c",))
    with pytest.raises(ConfigError, match="c -> c"):
        made.check_after(absent=["gone"])


def test_a_connectors_own_order() -> None:
    """A connector declares which connectors come before it; every source of theirs does."""
    from tests.world import point

    later = type("Later", (Batched,), {"__doc__": "x", "slug": "later", "after": ("toy",)})
    made = Registry(points=[point("toy", Toy), point("later", later)])
    made.open("toy-eu", "toy", {})
    made.open("toy-us", "toy", {})
    made.open("last", "later", {})
    assert set(made.predecessors("last")) == {"toy-eu", "toy-us"}
