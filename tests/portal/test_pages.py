"""The pages as people get them: an accessibility checker finds nothing, in both schemes and at the width of a phone; the dashboard's figures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from dsr_sdk.host import Host
from dsr_sdk.host.people.roles import Role
from dsr_sdk.ledger.database import writing
from dsr_sdk.ledger.schema import cases
from dsr_sdk.portal import charts, create_app
from dsr_sdk.portal.rendering import ago, due, size, words
from tests.portal.conftest import Client
from tests.toys import Toy
from tests.world import World, deletion

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGES = ("/", "/account", "/accounts", "/accounts/new", "/accounts/keys", "/nothing")


def _fill(host: Host) -> None:
    """Eight deletions, one of each pair closed after ten days, one overdue."""
    now = datetime.now(UTC)
    numbers = host.submit_many([deletion(f"p{n}@example.com", received_at=(now - timedelta(days=10)).isoformat()) for n in range(8)])
    with writing(host.ledger.engine) as connection:
        for number in numbers[::2]:
            connection.execute(update(cases).where(cases.c.case == number).values(stage="closed", ended_at=now))
        connection.execute(update(cases).where(cases.c.case == numbers[1]).values(due_at=now - timedelta(days=1)))


def findings(page: Page) -> list[str]:
    """What axe calls serious or critical on the page as it is now."""
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped] # has no types

    rows = Axe().run(page).response["violations"]
    return [f"{row['id']}: {row['nodes'][0]['html']}" for row in rows if row["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_nothing_keeps_anybody_out(portal_world: World, browse: Callable[..., Page], host: Host, scheme: str, width: int) -> None:
    """axe finds nothing serious, no page is wider than the screen, and the browser has nothing to complain about."""
    _fill(host)
    host.accounts.make_key("Web shop", Role.SUPPORT, by="tests")
    complaints: list[str] = []
    found: dict[str, list[str]] = {}
    for role, pages in ((Role.ADMIN, PAGES), (None, ("/sign-in", "/nothing"))):
        page = browse(role, color_scheme=scheme, viewport={"width": width, "height": 800})
        page.on("console", lambda message: complaints.append(message.text) if "404" not in message.text else None)
        for url in pages:
            page.goto(url)
            for fold in page.locator("details:not([open]) > summary").all():
                fold.click()
            found[url] = findings(page)
            if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                found[url].append("wider than the screen")
    assert {url: rows for url, rows in found.items() if rows} == {}
    assert complaints == []


def test_every_page_has_one_heading_and_its_landmarks(admin: Client) -> None:
    """People who do not see the page find their way by them."""
    for url in PAGES:
        text = admin.get(url).text
        assert text.count("<h1") == 1, url
        assert text.count("<main") == 1, url
        assert 'href="#main"' in text
        assert '<html lang="en">' in text
        assert "<title>" in text
    assert 'href="/accounts" aria-current="page"' in admin.get("/accounts").text


def test_the_dashboard_shows_what_there_is(portal_world: World) -> None:
    """Figures, the chart with its table, and the data sources; each figure leads to the requests it counts."""
    portal_world.add("shop", Toy)
    host = portal_world.open()
    _fill(host)
    app = create_app(host, engine=False)
    client = Client(app, follow_redirects=False)
    token = host.accounts.sign_in("agent@example.com", "a sentence that opens doors", client="tests")
    client.cookies.set("dsr_session", token)
    text = " ".join(client.get("/").text.split())
    assert (
        '<a class="figure" href="/requests?stage=review"><span class="figure-label">In review</span><span class="figure-value">4</span></a>' in text
    )
    assert 'Overdue</span><span class="figure-value">1</span>' in text
    assert '<td class="number">10.0</td><td class="number">4</td>' in text
    assert "4 requests closed in the last 30 days." in text
    assert '<a href="/sources/shop">Toy</a>' in text


def test_a_read_only_account_sees_no_button_it_may_not_press(signed_in_as: Callable[[Role], Client]) -> None:
    """The menu and the buttons follow the role."""
    text = signed_in_as(Role.READ_ONLY).get("/").text
    assert "/requests/new" not in text
    assert 'href="/accounts"' not in text
    assert "/requests/new" in signed_in_as(Role.SUPPORT).get("/").text


def test_without_workflow_the_dashboard_says_what_to_do(portal_world: World) -> None:
    """Nothing is counted where no request is handled."""
    portal_world.tables = ""
    host = portal_world.open()
    client = Client(create_app(host, engine=False), follow_redirects=False)
    client.cookies.set("dsr_session", host.accounts.sign_in("admin@example.com", "a sentence that opens doors", client="tests"))
    text = client.get("/").text
    assert "Add a line [workflow] to dsr.toml" in text


# --- small parts ------------------------------------------------------------------------------------------------------------------------


def test_charts_are_measured() -> None:
    """Bars are in proportion; what is little is still seen, what is nothing is not drawn."""
    long, short, none = charts.rows([("a", 1000), ("b", 1), ("c", 0)])
    assert (long.width, short.width, none.width) == (300, 3, 0)
    chart = charts.columns([("2026-W30", 21.0, 3), ("2026-W31", None, 0), ("2026-W32", 0.0, 2)])
    tall, missing, flat = chart.columns
    assert chart.lines[-1][1] == "30"
    assert round(tall.height / (chart.base - chart.lines[-1][0]), 2) == 0.7
    assert (missing.height, flat.height) == (0, 2)
    assert tall.y + tall.height == chart.base
    assert charts.shares((1, 2, 1)) == ((0, 30), (30, 60), (90, 30))
    assert charts.shares((0, 0, 0)) == ((0, 0), (0, 0), (0, 0))
    assert charts.columns([]).columns == ()


def test_words_are_for_people() -> None:
    """Codes, days, sizes."""
    now = datetime.now(UTC)
    assert [words(code) for code in ("do_not_sell", "eu_gdpr", "us_va", "api", "reply")] == ["Do not sell", "EU GDPR", "US VA", "API", "Reply"]
    assert [ago(now - timedelta(seconds=seconds), now) for seconds in (5, 61, 7300, 90000)] == [
        "just now",
        "1 minute ago",
        "2 hours ago",
        "1 day ago",
    ]
    assert ago(now + timedelta(days=3, minutes=1), now) == "in 3 days"
    assert [due(None)["text"], due(now - timedelta(days=2, hours=1))["text"]] == ["", "2 days overdue"]
    assert due(now + timedelta(days=1, hours=1)) == {"text": "1 day left", "tone": "warn"}
    assert due(now + timedelta(days=20))["tone"] == "quiet"
    assert [size(value) for value in (12, 2048, 26 * 1024 * 1024, 3 * 1024**3)] == ["12 bytes", "2.0 KB", "26 MB", "3.0 GB"]
