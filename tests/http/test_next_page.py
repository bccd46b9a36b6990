"""What vendors write where the next page is named: every form of it is read, and what cannot be read is an error, never the end."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsr_sdk import ContractError, RejectedError
from dsr_sdk.http import Cursor, LinkHeader, NextUrl, Offset, PageNumber, Paging, Reply, StartingAfter
from tests.http.conftest import make

HERE = "https://api.made.example"
CANARY = "canary-7f3e9d2b"


def following(paging: Paging, body: Any, *, link: str = "", sent: int = 0) -> Any:
    """What a strategy makes of one answer."""
    import json

    reply = Reply(200, {"link": link}, json.dumps(body).encode(), call="GET /people", url=f"{HERE}/people")
    items = body if isinstance(body, list) else body.get("data", [])
    return paging.next_page(reply, items, sent)


def all_of(paging: Paging, *pages: Any, links: tuple[str, ...] = (), **options: Any) -> tuple[list[Any], list[httpx.URL]]:
    """Everything on these pages, answered in turn, and what was asked."""
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        number = len(asked) - 1
        return httpx.Response(200, json=pages[number], headers={"link": links[number]} if links else None)

    found = list(make(answer, base_url=options.pop("base_url", None)).api().pages("/people", paging=paging, **options))
    return found, asked


# --- the Link header -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "link",
    [
        f'<{HERE}/p?page=2>; rel="next"',
        f"<{HERE}/p?page=2>; rel=next",
        f'<{HERE}/p?page=2>;rel="next"',
        f'<{HERE}/p?page=2> ; REL = "Next"',
        f'<{HERE}/p?page=2>; rel="last next"',
        f'<{HERE}/p?page=2>; title="a, b; rel=prev"; rel="next"',
        f'<{HERE}/p?page=2>; title="say \\"rel=prev\\""; rel="next"',
        f'<{HERE}/p?page=2>; crossorigin; rel="next"',
        f"<{HERE}/p?page=2>; title*=UTF-8''n%c3%a4; rel=next",
        f'<{HERE}/p?page=2>; rel="next"; rel="prev"',
        f'<{HERE}/p?page=2>; rel="next",',
        f'<{HERE}/p>; rel="prev", <{HERE}/p?page=2>; rel="next", <{HERE}/p?page=9>; rel="last"',
        f'<{HERE}/p>; rel="prev",<{HERE}/p?page=2>; rel="next"',
        f'garbage, <{HERE}/p?page=2>; rel="next"',
    ],
)
def test_link_header(link: str) -> None:
    """Quoted or not, in any case and order, with parameters that have no value or hold commas (RFC 8288)."""
    assert following(LinkHeader(), [1], link=link) == f"{HERE}/p?page=2"


@pytest.mark.parametrize(
    "link",
    [
        "",
        "next",
        f"<{HERE}/p>",
        f'<{HERE}/p>; rel="prev"',
        f'<{HERE}/p>; rel="nextish"',
        f'<{HERE}/p>; rel="prev"; rel="next"',
        f'<{HERE}/p>; title="x; rel=next"',
        f'<{HERE}/p>; xrel="next"',
        f'{HERE}/p; rel="next"',
        f'<{HERE}/p; rel="next"',
        "<<>>;;;,,,",
    ],
)
def test_link_header_without_a_next_page(link: str) -> None:
    """The end is where nobody names a next page; what merely looks like one is none."""
    assert following(LinkHeader(), [1], link=link) is None


def test_link_header_of_any_length() -> None:
    """A cursor of eight thousand letters is a cursor; and another relation can be followed."""
    long = f"{HERE}/p?cursor={'x' * 8000}"
    assert following(LinkHeader(), [1], link=f'<{long}>; rel="next"') == long
    assert following(LinkHeader(rel="https://rel.example/more"), [1], link='</more>; rel="https://rel.example/more"') == "/more"


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet='<>;,="\\ \trelnxt*', max_size=200))
def test_link_header_of_any_kind(link: str) -> None:
    """Whatever stands in the header is read in no time, and nothing of it raises."""
    assert following(LinkHeader(), [1], link=link) in {None, *(link[a:b] for a in range(len(link)) for b in range(a, len(link)))}


@pytest.mark.parametrize("link", ["<" * 20_000, '<a>; a="' * 5_000, "<a>" + "; a" * 10_000, "<a>;" + " " * 20_000, "<a>; a" + " " * 20_000 + "="])
def test_link_header_meant_to_take_long(link: str) -> None:
    """No header is long enough to keep us busy."""
    assert following(LinkHeader(), [1], link=link) is None


def test_several_link_headers() -> None:
    """A header that comes twice is one list."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/people":
            return httpx.Response(200, json=[1], headers=[("Link", '</a>; rel="prev"'), ("Link", '</more>; rel="next"')])
        return httpx.Response(200, json=[2])

    assert list(make(answer).api().pages("/people", paging=LinkHeader())) == [1, 2]


# --- URLs of the next page -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "target", "asked"),
    [
        (None, f"{HERE}/people?page=2", f"{HERE}/people?page=2"),
        (None, "/people?page=2", f"{HERE}/people?page=2"),
        (None, "people?page=2", f"{HERE}/people?page=2"),
        (None, "?page=2", f"{HERE}/people?page=2"),
        (None, "//api.made.example/people?page=2", f"{HERE}/people?page=2"),
        (None, f"{HERE}:443/people?page=2", f"{HERE}/people?page=2"),
        (None, "HTTPS://API.MADE.EXAMPLE/people?page=2", f"{HERE}/people?page=2"),
        (None, "?q=a b", f"{HERE}/people?q=a%20b"),
        ("https://bücher.example/v1", "/v1/people?page=2", "https://xn--bcher-kva.example/v1/people?page=2"),
        ("https://bücher.example", "https://xn--bcher-kva.example/p2", "https://xn--bcher-kva.example/p2"),
    ],
)
@pytest.mark.parametrize("way", ["url", "link"])
def test_url_of_the_next_page(way: str, base: str | None, target: str, asked: str) -> None:
    """Whole or relative, in another spelling of the same host: it is followed, with its own query and nothing else."""
    if way == "url":
        found, seen = all_of(
            NextUrl("data", size_param="n"), {"data": [1], "links": {"next": target}}, {"data": [2]}, base_url=base, params={"q": "x"}
        )
    else:
        found, seen = all_of(LinkHeader(), [1], [2], links=(f"<{target}>; rel=next", ""), base_url=base)
    assert found == [1, 2]
    assert str(seen[1]) == asked


@pytest.mark.parametrize(
    "target",
    [
        f"https://[{CANARY}",
        f"https://api.made.example:{CANARY}/",
        f"https://api.made.example:99999/{CANARY}",
        f"https://api.made.example.{CANARY}.example/",
        f"https://api.made.example@{CANARY}.example/",
        f"https://api.made.example\\{CANARY}.example/",
        f"//{CANARY}\u2100.example/",
        f"https://{CANARY}\x00.example/",
        f"javascript:{CANARY}",
        f"http://api.made.example/{CANARY}",
        "/" + "x" * 70_000,
    ],
)
def test_url_that_leads_nowhere(target: str) -> None:
    """Another host, another scheme, or no URL at all: refused in words, nothing is asked there, and nothing of it is repeated."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(200, json={"data": [1], "links": {"next": target}})

    with pytest.raises(RejectedError, match="on another host, which is refused") as caught:
        list(make(answer).api().pages("/people", paging=NextUrl("data")))
    assert CANARY not in str(caught.value)
    assert asked == ["api.made.example"]


def test_user_in_the_url_of_the_next_page() -> None:
    """What stands before the @ is no host, however it is written: the page is asked for at the vendor's own, unsigned by it."""
    seen: list[tuple[str, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.host, request.headers.get("authorization")))
        target = f"https://{CANARY}.example\\@api.made.example/people?page=2" if len(seen) == 1 else None
        return httpx.Response(200, json={"data": [len(seen)], "links": {"next": target}})

    assert list(make(answer).api().pages("/people", paging=NextUrl("data"))) == [1, 2]
    assert seen == [("api.made.example", None)] * 2


@pytest.mark.parametrize("link", [None, "", False, {}, {"href": None}, {"href": ""}])
def test_no_url_is_the_end(link: Any) -> None:
    """Nothing, in the ways vendors write nothing."""
    assert following(NextUrl("data"), {"data": [1], "links": {"next": link}}) is None
    assert following(NextUrl("data"), {"data": [1]}) is None


@pytest.mark.parametrize("link", [5, True, ["/people?page=2"], {"href": 5}])
def test_url_that_is_none(link: Any) -> None:
    """Something that we do not understand is not the end."""
    with pytest.raises(RejectedError, match="names no URL of it"):
        following(NextUrl("data"), {"data": [1], "links": {"next": link}})


def test_promise_without_a_url() -> None:
    """A flag that says there is more, and no URL: an error. A flag that says there is no more: the end, whatever the URL."""
    paging = NextUrl("data", next="next", more="more")
    with pytest.raises(RejectedError, match="names no URL of it"):
        following(paging, {"data": [1], "more": True, "next": None})
    assert following(paging, {"data": [1], "more": False, "next": "/people?page=2"}) is None
    assert following(paging, {"data": [1], "more": True, "next": "/people?page=2"}) == "/people?page=2"


# --- empty pages and totals --------------------------------------------------------------------------------------------------------------------


def test_empty_page_before_others() -> None:
    """A vendor that filters after cutting pages gives empty ones: with a cursor or a URL to go on, they are passed over."""
    found, _ = all_of(
        Cursor("data", "next", "cursor"), {"data": [], "next": "a"}, {"data": [1], "next": "b"}, {"data": [], "next": "c"}, {"data": [2]}
    )
    assert found == [1, 2]
    found, _ = all_of(NextUrl("data"), {"data": [], "links": {"next": "?page=2"}}, {"data": [1]})
    assert found == [1]


@pytest.mark.parametrize(
    ("paging", "pages"),
    [
        (StartingAfter("data"), [{"data": [], "has_more": True}]),
        (StartingAfter("data"), [{"data": [{"name": "x"}], "has_more": True}]),
        (Offset("data", size=2, total="total"), [{"data": [], "total": 3}]),
        (Offset("data", size=2, total="total"), [{"data": [1, 2], "total": 3}, {"data": [], "total": 3}]),
        (PageNumber("data", size=2, total="pages"), [{"data": [], "pages": 2}]),
        (PageNumber("data", size=2, total="pages"), [{"data": [1, 2], "pages": 3}, {"data": [], "pages": 3}]),
        (Cursor("data", "next", "cursor", more="more"), [{"data": [1], "more": True, "next": ""}]),
    ],
)
def test_promise_that_is_not_kept(paging: Paging, pages: list[Any]) -> None:
    """More is promised and nothing comes: somebody is missing, and *nothing found* would be believed."""
    with pytest.raises(RejectedError, match="promises"):
        all_of(paging, *pages)


@pytest.mark.parametrize(
    ("paging", "pages", "found"),
    [
        (Offset("data", size=2, total="total"), [{"data": [], "total": 0}], []),
        (Offset("data", size=2, total="total"), [{"data": [1, 2], "total": 2}], [1, 2]),
        (Offset("data", size=2), [{"data": [1, 2]}, {"data": []}], [1, 2]),
        (PageNumber("data", size=2, total="pages"), [{"data": [], "pages": 0}], []),
        (PageNumber("data", size=2, total="pages"), [{"data": [], "pages": 1}], []),
        (PageNumber("data", size=2, start=0, total="pages"), [{"data": [1, 2], "pages": 2}, {"data": [3], "pages": 2}], [1, 2, 3]),
        (PageNumber("data", size=2, start=0), [{"data": [1, 2]}, {"data": [3]}], [1, 2, 3]),
        (StartingAfter("data"), [{"data": [], "has_more": False}], []),
        (Cursor("data", "next", "cursor"), [{"data": [], "next": None}], []),
        (Cursor("", "next", "cursor"), [[]], []),
    ],
)
def test_ends(paging: Paging, pages: list[Any], found: list[Any]) -> None:
    """Nothing at all, exactly one page, pages counted from zero: the end is found with no call too many."""
    got, asked = all_of(paging, *pages)
    assert got == found
    assert len(asked) == len(pages)


def test_a_vendor_that_gives_shorter_pages_leaves_nobody_out() -> None:
    """Fifty where a hundred were asked for: counted by items everyone is read; counted by pages it is an error that names the size."""
    many = [{"data": list(range(start, min(start + 50, 120)))} for start in (0, 50, 100)]
    found, asked = all_of(Offset("data", size=100), *many, {"data": []})
    assert found == list(range(120))
    assert [call.params["offset"] for call in asked] == ["0", "50", "100", "120"]
    with pytest.raises(RejectedError, match=r"gives 50 items a page where 100 were asked for.*size=50"):
        all_of(PageNumber("data", size=100), *many)


def test_a_long_last_page_costs_one_look() -> None:
    """Twelve of a hundred may be all there is, or all that the vendor gives at once: the next page tells. Nine are all there is."""
    for paging in (Offset("data", size=100), PageNumber("data", size=100)):
        found, asked = all_of(paging, {"data": list(range(12))}, {"data": []})
        assert (len(found), len(asked)) == (12, 2)
        found, asked = all_of(paging, {"data": list(range(9))})
        assert (len(found), len(asked)) == (9, 1)


def test_page_size_is_asked_for() -> None:
    """Every strategy that has a size says so to the vendor."""
    for paging, parameter in (
        (Cursor("data", "next", "cursor", size_param="per_page", size=7), "per_page"),
        (StartingAfter("data", size=7), "limit"),
        (PageNumber("data", size=7), "per_page"),
        (Offset("data", size=7), "count"),
        (NextUrl("data", size_param="n", size=7), "n"),
        (LinkHeader("data", size_param="n", size=7), "n"),
    ):
        _, asked = all_of(paging, {"data": []})
        assert asked[0].params[parameter] == "7"


def test_no_size_is_sent_where_none_is_known() -> None:
    """With ``size_param=""`` nothing is sent, on the first page and on every other."""
    for paging in (
        StartingAfter("data", size_param="", size=2),
        PageNumber("data", size_param="", size=2),
        Offset("data", size_param="", size=2, total="total"),
        Cursor("data", "next", "cursor"),
    ):
        pages = [{"data": [{"id": 1}, {"id": 2}], "has_more": True, "total": 3, "next": "c"}, {"data": [{"id": 3}], "has_more": False, "total": 3}]
        found, asked = all_of(paging, *pages)
        assert len(found) == 3
        assert all(set(call.params) <= {"starting_after", "page", "offset", "cursor"} for call in asked)


@pytest.mark.parametrize("given", [0, -1, None, "25"])
def test_a_size_that_is_none(given: Any) -> None:
    """Nothing and less than nothing is no size: refused where it is written, not somewhere in a division."""
    for make_it in (
        lambda size: Cursor("data", "next", "cursor", size=size),
        lambda size: StartingAfter("data", size=size),
        lambda size: PageNumber("data", size=size),
        lambda size: Offset("data", size=size),
        lambda size: LinkHeader(size=size),
        lambda size: NextUrl("data", size=size),
    ):
        with pytest.raises(ContractError, match=r"size is how many items a page has.*size_param"):
            make_it(given)


@pytest.mark.parametrize(("size", "pages"), [(100, 3), (5, 3), (100, 2)])
@pytest.mark.parametrize("size_param", ["", "per_page"])
def test_a_size_that_is_wrong_is_named(size: int, pages: int, size_param: str) -> None:
    """Twenty-five a page where the connector counts on more, or on fewer: with the number of pages known it is no loop but the size."""
    many = [{"data": list(range(start * 25, start * 25 + 25)), "pages": pages} for start in range(pages)]
    with pytest.raises(RejectedError, match=r"gives 25 items a page .*size=25"):
        all_of(PageNumber("data", size=size, size_param=size_param, total="pages"), *many)
    with pytest.raises(RejectedError, match=r"gives 25 items a page .*size=25"):
        all_of(PageNumber("data", size=size, size_param=size_param), *many)


def test_pages_are_streamed() -> None:
    """The second page is asked for when the first is used up: a million people do not stand in memory."""
    asked: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(200, json={"data": [len(asked) * 10, len(asked) * 10 + 1]})

    stream = make(answer).api().pages("/people", paging=Offset("data", size=2))
    assert [next(stream), next(stream)] == [10, 11]
    assert len(asked) == 1
    assert next(stream) == 20
    assert len(asked) == 2


def test_loop_over_several_pages() -> None:
    """A circle of two pages is a circle."""
    pages = [{"data": [1], "next": "a"}, {"data": [2], "next": "b"}, {"data": [3], "next": "a"}]
    with pytest.raises(RejectedError, match="again and again"):
        all_of(Cursor("data", "next", "cursor"), *pages)


def test_search_goes_on_at_its_url() -> None:
    """A search by POST whose answer names a URL is gone on with by GET, without the body."""
    seen: list[tuple[str, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.content))
        return httpx.Response(200, json={"data": [len(seen)], "links": {"next": "/search/2"} if len(seen) == 1 else {}})

    assert list(make(answer).api().pages("/search", paging=NextUrl("data"), method="POST", json={"q": "x"})) == [1, 2]
    assert seen == [("POST", b'{"q":"x"}'), ("GET", b"")]
