"""Paging: how to get from one page to the next, for each way vendors do it.

Every strategy streams, notices a loop, refuses to mistake a body without the promised list for an empty page, and raises at the page
limit instead of truncating.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dsr_sdk.errors import ContractError, RejectedError
from dsr_sdk.http.reply import Reply

__all__ = ["Cursor", "LinkHeader", "NextUrl", "Offset", "PageNumber", "Paging", "StartingAfter", "at"]

MAX_PAGES = 10_000

SMALLEST_CAP = 10
"""No vendor gives fewer items a page than this when more were asked for. A page of at least so many may therefore be one that the vendor
quietly made shorter, and only the next page tells; a page of fewer is the last, and costs no call more."""


def at(body: Any, path: str) -> Any:
    """The value at a dotted path (``meta.after_cursor``); None when any step is missing. The empty path is the body itself."""
    for step in path.split(".") if path else ():
        if not isinstance(body, Mapping):
            return None
        body = body.get(step)
    return body


def items_at(reply: Reply, path: str) -> list[Any]:
    """The list at a path. A body without it is an error, never an empty page."""
    found = at(reply.json(), path)
    if not isinstance(found, list):
        raise RejectedError(f"{reply.call} answered {reply.status} without the list {path or '(the body)'!r}", status=reply.status)
    return found


def _asked(paging: _Sized) -> dict[str, Any]:
    """The parameter that asks for so many items a page; none where the vendor knows no such parameter."""
    return {paging.size_param: paging.size} if paging.size_param else {}


class _Sized(Protocol):
    @property
    def size_param(self) -> str: ...

    @property
    def size(self) -> int: ...


class _Checked:
    """What the ways of paging have in common: a size that can be one."""

    __slots__ = ()

    def __post_init__(self: _Sized) -> None:
        if not isinstance(self.size, int) or self.size < 1:
            raise ContractError(
                f"{type(self).__name__}: size is how many items a page has, so at least 1, and not {self.size!r}", fix='size_param="" sends no size'
            )


class Paging(Protocol):
    """A way of paging. ``items`` is where the list stands; `next_page` names what changes for the next request.

    One object serves every list it is given to, on several threads at once: it keeps nothing between two calls. How far a list has come
    stands in `sent`, in the answer, and in ``reply.url``.
    """

    @property
    def items(self) -> str: ...

    def first(self) -> Mapping[str, Any]:
        """Parameters added to the first request (a page size)."""
        ...

    def next_page(self, reply: Reply, items: list[Any], sent: int) -> Mapping[str, Any] | str | None:
        """Parameters for the next request, or its URL, or None at the end. `sent` counts the items seen before this page."""
        ...


@dataclass(frozen=True, slots=True)
class Cursor(_Checked):
    """The answer carries the cursor of the next page (``meta.after_cursor``), sent back as ``param``.

    With ``more`` the flag at that path decides; without it a missing or empty cursor is the end.
    """

    items: str
    cursor: str
    param: str
    more: str = ""
    size_param: str = ""
    size: int = 100

    def first(self) -> Mapping[str, Any]:
        return _asked(self)

    def next_page(self, reply: Reply, items: list[Any], sent: int) -> Mapping[str, Any] | None:
        body = reply.json()
        if self.more and not at(body, self.more):
            return None
        cursor = at(body, self.cursor)
        if cursor in (None, ""):
            if self.more:
                raise RejectedError(f"{reply.call} promises another page and names no cursor", status=reply.status)
            return None
        return {self.param: cursor}


@dataclass(frozen=True, slots=True)
class StartingAfter(_Checked):
    """The id of a page's last item asks for the next one (Stripe)."""

    items: str
    param: str = "starting_after"
    more: str = "has_more"
    id: str = "id"
    size_param: str = "limit"
    size: int = 100

    def first(self) -> Mapping[str, Any]:
        return _asked(self)

    def next_page(self, reply: Reply, items: list[Any], sent: int) -> Mapping[str, Any] | None:
        if not at(reply.json(), self.more):
            return None
        last = at(items[-1], self.id) if items else None
        if not last:
            raise RejectedError(f"{reply.call} promises another page after one without items", status=reply.status)
        return {self.param: last}


@dataclass(frozen=True, slots=True)
class PageNumber(_Checked):
    """Pages are numbered; ``total`` is the path to their number when the vendor gives one.

    The number of a page is counted from ``size``, so ``size`` has to be what a full page really has, also where ``size_param`` is empty because
    the vendor does not let itself be asked. A full page of another length is an error that names the right size, and nobody is left out.
    Without ``total`` a page of fewer than ten items is the last, and a longer one that is shorter than ``size`` is followed by a look at the next.
    """

    items: str
    param: str = "page"
    size_param: str = "per_page"
    size: int = 100
    start: int = 1
    total: str = ""

    def first(self) -> Mapping[str, Any]:
        return {self.param: self.start, **_asked(self)}

    def next_page(self, reply: Reply, items: list[Any], sent: int) -> Mapping[str, Any] | None:
        page = self.start + sent // self.size
        total = at(reply.json(), self.total) if self.total else None
        if items and sent % self.size:
            raise self._wrong(reply, sent)
        if isinstance(total, int):
            if page + 1 - self.start >= total:
                return None
            if not items:
                raise RejectedError(f"{reply.call} promises another page after one without items", status=reply.status)
            if len(items) != self.size:
                raise self._wrong(reply, len(items))  # not the last page, so this is what a page of this vendor has
        elif len(items) < min(self.size, SMALLEST_CAP):
            return None
        elif len(items) > self.size:
            raise self._wrong(reply, len(items))
        return {self.param: page + 1}

    def _wrong(self, reply: Reply, given: int) -> RejectedError:
        said = f"where {self.size} were asked for" if self.size_param else f"and size is {self.size}"
        return RejectedError(f"{reply.call} gives {given} items a page {said}", status=reply.status, fix=f"set size={given}")


@dataclass(frozen=True, slots=True)
class Offset(_Checked):
    """Items are counted; ``total`` is the path to their number when the vendor gives one. Without it a page of fewer than ten is the last."""

    items: str
    param: str = "offset"
    size_param: str = "count"
    size: int = 100
    total: str = ""

    def first(self) -> Mapping[str, Any]:
        return {self.param: 0, **_asked(self)}

    def next_page(self, reply: Reply, items: list[Any], sent: int) -> Mapping[str, Any] | None:
        seen = sent + len(items)
        total = at(reply.json(), self.total) if self.total else None
        more = seen < total if isinstance(total, int) else len(items) >= min(self.size, SMALLEST_CAP)
        if more and not items and self.total:
            raise RejectedError(f"{reply.call} promises more items after a page without any", status=reply.status)
        return {self.param: seen} if more else None


_PARAMETER = r';\s*([\w*-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?'
_LINK = re.compile(rf"<([^<>]*)>((?:\s*{_PARAMETER})*)")
_PARAMETERS = re.compile(_PARAMETER)


@dataclass(frozen=True, slots=True)
class LinkHeader(_Checked):
    """The ``Link`` header names the next page (RFC 8288). ``items`` is empty when the body itself is the list."""

    items: str = ""
    rel: str = "next"
    size_param: str = ""
    size: int = 100

    def first(self) -> Mapping[str, Any]:
        return _asked(self)

    def next_page(self, reply: Reply, items: list[Any], sent: int) -> str | None:
        for link in _LINK.finditer(reply.headers.get("link", "")):
            for name, quoted, bare in _PARAMETERS.findall(link.group(2)):
                if name.lower() == "rel":  # the first one counts; relation types are compared without regard to case
                    if self.rel.lower() in (quoted or bare).lower().split():
                        return link.group(1)
                    break
        return None


@dataclass(frozen=True, slots=True)
class NextUrl(_Checked):
    """The body names the URL of the next page (JSON:API ``links.next``, ``next_page``, ``next_page_uri``)."""

    items: str
    next: str = "links.next"
    size_param: str = ""
    size: int = 100
    more: str = ""

    def first(self) -> Mapping[str, Any]:
        return _asked(self)

    def next_page(self, reply: Reply, items: list[Any], sent: int) -> str | None:
        body = reply.json()
        if self.more and not at(body, self.more):
            return None
        url = at(body, self.next)
        if isinstance(url, Mapping):  # JSON:API lets a link be an object with an href
            url = url.get("href")
        if isinstance(url, str) and url:
            return url
        if self.more or url not in (None, "", False):
            raise RejectedError(f"{reply.call} promises another page and names no URL of it", status=reply.status)
        return None
