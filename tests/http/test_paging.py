"""Paging: every page once, loops noticed, nothing truncated, and a missing list is never an empty page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from dsr_sdk import ConfigError, NotFoundError, RejectedError, TransientError
from dsr_sdk.http import Cursor, LinkHeader, NextUrl, Offset, PageNumber, Paging, StartingAfter, at
from tests.http.conftest import make

PEOPLE = [{"id": f"p{n}"} for n in range(25)]


class Vendor:
    """Pages of ten, in the way asked for."""

    def __init__(self, kind: str, people: list[Any] | None = None) -> None:
        self.kind = kind
        self.people = PEOPLE if people is None else people
        self.calls: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        import json

        self.calls.append(request)
        params = dict(request.url.params) | (json.loads(request.content) if request.content else {})
        people = self.people
        if self.kind == "starting_after":
            start = next((n + 1 for n, row in enumerate(people) if row["id"] == params.get("starting_after")), 0)
            return httpx.Response(200, json={"data": people[start : start + 10], "has_more": start + 10 < len(people)})
        start = int(params.get("offset") or params.get("cursor") or 0) if self.kind != "page" else (int(params["page"]) - 1) * 10
        page, more = people[start : start + 10], start + 10 < len(people)
        following = f"https://api.made.example/people?offset={start + 10}"
        headers = {"link": f'<https://x.example/first>; rel="first", <{following}>; rel="next"'} if self.kind == "link" and more else {}
        body: Any = {
            "data": page,
            "meta": {"cursor": str(start + 10) if more else None, "more": more, "total": len(people), "pages": -(-len(people) // 10)},
            "links": {"next": following if more else None},
        }
        return httpx.Response(200, json=page if self.kind == "link" else body, headers=headers)


WAYS: dict[str, Paging] = {
    "starting_after": StartingAfter("data", size=10),
    "cursor": Cursor("data", "meta.cursor", "cursor"),
    "cursor with a flag": Cursor("data", "meta.cursor", "cursor", more="meta.more"),
    "offset": Offset("data", size=10),
    "offset with a total": Offset("data", size=10, total="meta.total"),
    "page": PageNumber("data", size=10),
    "page with a total": PageNumber("data", size=10, total="meta.pages"),
    "link": LinkHeader(),
    "next": NextUrl("data"),
}


@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 20, 25])
@pytest.mark.parametrize("way", WAYS)
def test_every_item_once(way: str, number: int) -> None:
    """No page, part of a page, exactly one, several: everyone is there, once, in order."""
    vendor = Vendor(way.split()[0], PEOPLE[:number])
    found = list(make(vendor).api().pages("/people", {"q": "x"}, paging=WAYS[way]))
    assert found == PEOPLE[:number]
    assert len(vendor.calls) <= number // 10 + 1
    assert vendor.calls[0].url.params["q"] == "x"


def test_a_search_pages_in_its_body() -> None:
    """With POST the paging parameters go into the body, and a passing failure is tried again."""
    vendor = Vendor("cursor")
    found = list(make(vendor).api().pages("/people", paging=WAYS["cursor"], method="POST", json={"filter": 1}))
    assert found == PEOPLE
    assert vendor.calls[1].content == b'{"filter":1,"cursor":"10"}'


def same(**body: Any) -> Callable[[httpx.Request], httpx.Response]:
    """The same answer for ever."""
    return lambda request: httpx.Response(200, json=body, headers={"link": '<https://api.made.example/people?offset=10>; rel="next"'})


@pytest.mark.parametrize(
    ("paging", "body"),
    [
        (StartingAfter("data", size=1), {"data": [{"id": "1"}], "has_more": True}),
        (Cursor("data", "next", "cursor"), {"data": [{"id": "1"}], "next": "same"}),
        (Cursor("data", "next", "cursor"), {"data": [], "next": "same"}),
        (Offset("data", size=1), {"data": [{"id": "1"}]}),
        (PageNumber("data", size=1), {"data": [{"id": "1"}]}),
        (NextUrl("data"), {"data": [{"id": "1"}], "links": {"next": "/people?offset=10"}}),
        (NextUrl("data"), {"data": [], "links": {"next": "/people?offset=10"}}),
        (LinkHeader("data"), {"data": [{"id": "1"}]}),
    ],
)
def test_a_loop_is_noticed(paging: Paging, body: dict[str, Any]) -> None:
    """A vendor that ignores the cursor answers the same page for ever: an error, and nobody twice."""
    found: list[Any] = []
    with pytest.raises(RejectedError, match="again and again"):
        found.extend(make(same(**body)).api().pages("/people", paging=paging, max_pages=5))
    assert len(found) <= 1


def test_too_many_pages_are_an_error() -> None:
    """At the limit it raises; a list silently cut off would be people not found."""
    found: list[Any] = []
    with pytest.raises(RejectedError, match="more than 2 pages"):
        found.extend(make(Vendor("offset")).api().pages("/people", paging=WAYS["offset"], max_pages=2))
    assert len(found) == 20


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {"id": "1"}}, {"error": "x"}, "text", 5])
def test_a_missing_list_is_no_empty_page(way: str, body: Any) -> None:
    """200 without the list: the vendor changed its answer, and nobody may believe that nothing is held."""
    with pytest.raises(RejectedError, match="without the list"):
        list(make(lambda request: httpx.Response(200, json=body)).api().pages("/people", paging=WAYS[way]))


@pytest.mark.parametrize(
    "target", ["https://evil.example/people", "http://api.made.example/people", "//evil.example/x", "https://api.made.example:444/people"]
)
@pytest.mark.parametrize("way", ["next", "link"])
def test_a_next_page_elsewhere_is_refused(way: str, target: str) -> None:
    """The key would go along to another host."""
    body: Any = {"data": [{"id": "1"}], "links": {"next": target}} if way == "next" else [{"id": "1"}]
    headers = {"link": f'<{target}>; rel="next"'}
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(200, json=body, headers=headers)

    with pytest.raises(RejectedError, match="another host") as caught:
        list(make(answer).api().pages("/people", paging=WAYS[way]))
    assert set(asked) == {"api.made.example"}
    assert "evil" not in str(caught.value)


def test_a_relative_next_page() -> None:
    """JSON:API and others give a path, or an object with a href."""
    pages = [
        {"data": [1], "links": {"next": "/people?offset=1"}},
        {"data": [2], "links": {"next": {"href": "/people?offset=2"}}},
        {"data": [3], "links": {}},
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=pages[int(request.url.params.get("offset", 0))])

    assert list(make(answer).api().pages("/people", paging=NextUrl("data"))) == [1, 2, 3]


def test_a_promise_without_a_cursor() -> None:
    """*There is more*, and no way to get it: an error, not the end."""
    with pytest.raises(RejectedError, match="names no cursor"):
        list(make(same(data=[{"id": "1"}], more=True)).api().pages("/p", paging=Cursor("data", "next", "cursor", more="more")))
    with pytest.raises(RejectedError, match="without items"):
        list(make(same(data=[], has_more=True)).api().pages("/p", paging=StartingAfter("data")))


def test_a_failure_on_a_later_page() -> None:
    """A 404 on the first page may mean *nobody*; later it never does."""

    def answer(request: httpx.Request) -> httpx.Response:
        if "offset" in request.url.params and request.url.params["offset"] != "0":
            return httpx.Response(404, json={})
        return httpx.Response(200, json={"data": PEOPLE[:10]})

    with pytest.raises(NotFoundError):
        list(make(answer).api().pages("/people", paging=Offset("data", size=10), absent_ok=True))
    assert list(make(lambda request: httpx.Response(404, json={})).api().pages("/p", paging=WAYS["offset"], absent_ok=True)) == []
    with pytest.raises(NotFoundError):
        list(make(lambda request: httpx.Response(404, text="<html>")).api().pages("/p", paging=WAYS["offset"], absent_ok=True))
    with pytest.raises(ConfigError):
        list(make(lambda request: httpx.Response(200, text="<html>")).api().pages("/p", paging=WAYS["offset"]))
    with pytest.raises(TransientError):
        list(make(lambda request: httpx.Response(200, text='{"data": [')).api().pages("/p", paging=WAYS["offset"]))


def test_a_vendor_that_gives_smaller_pages_than_asked_for() -> None:
    """The vendor's own maximum is five: without a total a short page would be taken for the last. The total shows that it is not."""
    people = PEOPLE[:12]

    def answer(request: httpx.Request) -> httpx.Response:
        start = int(request.url.params["offset"])
        return httpx.Response(200, json={"data": people[start : start + 5], "total": 12})

    assert list(make(answer).api().pages("/p", paging=Offset("data", size=10, total="total"))) == people


def test_paths_into_bodies() -> None:
    """Dotted paths; anything missing is None."""
    body = {"a": {"b": [1]}, "c": 5}
    assert at(body, "a.b") == [1]
    assert at(body, "") == body
    assert at(body, "a.x.y") is None
    assert at(body, "c.d") is None
    assert at([], "a") is None
