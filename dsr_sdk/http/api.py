"""What a connector is handed to talk with: paths as templates, values quoted, answers checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dsr_sdk.errors import ContractError, NotFoundError, RejectedError, TransientError
from dsr_sdk.http.paging import MAX_PAGES, Paging, items_at
from dsr_sdk.http.reply import Reply

if TYPE_CHECKING:
    from dsr_sdk.http.client import SourceHttp

__all__ = ["Api"]

_SLOT = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_REPEATABLE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
LONGEST_FIRST_WAIT = 20.0
LONGEST_WAIT = 600.0

Params = Mapping[str, Any]


class Api:
    """One unit of work's way to the vendor.

    Paths are templates (``/v1/customers/{id}``) whose slots are filled, percent-encoded, from keyword arguments; errors and logs show
    the template only. Every method raises `DsrError` for anything but success:

    * 401, 403 -> `AuthError`; 404, 410 -> `NotFoundError` (or ``reply.absent`` with ``absent_ok=True``); 429, 5xx, broken connections ->
      `TransientError`; other 4xx -> `RejectedError`.
    * GET, HEAD, PUT and DELETE are repeated a few times within seconds; POST and PATCH only with ``retry=True`` or when the connector
      declares an ``idempotency_header``.
    """

    def __init__(self, http: SourceHttp, *, operation_key: str | None = None) -> None:
        self._http = http
        self._operation_key = operation_key
        self.calls = 0
        """Requests sent so far, retries not counted."""

    def get(
        self,
        path: str,
        params: Params | None = None,
        *,
        absent_ok: bool = False,
        headers: Params | None = None,
        max_bytes: int | None = None,
        **slots: str,
    ) -> Reply:
        """GET. ``max_bytes`` takes in a larger body than the usual 32 MiB."""
        return self._call("GET", path, slots, params=params, absent_ok=absent_ok, headers=headers, max_bytes=max_bytes)

    def delete(
        self, path: str, params: Params | None = None, *, json: Any = None, absent_ok: bool = False, headers: Params | None = None, **slots: str
    ) -> Reply:
        """DELETE."""
        return self._call("DELETE", path, slots, params=params, json=json, absent_ok=absent_ok, headers=headers)

    def put(
        self, path: str, json: Any = None, *, params: Params | None = None, absent_ok: bool = False, headers: Params | None = None, **slots: str
    ) -> Reply:
        """PUT a JSON body."""
        return self._call("PUT", path, slots, params=params, json=json, absent_ok=absent_ok, headers=headers)

    def patch(
        self, path: str, json: Any = None, *, params: Params | None = None, retry: bool = False, headers: Params | None = None, **slots: str
    ) -> Reply:
        """PATCH a JSON body."""
        return self._call("PATCH", path, slots, params=params, json=json, retry=retry, headers=headers)

    def post(
        self,
        path: str,
        json: Any = None,
        *,
        form: Params | None = None,
        params: Params | None = None,
        retry: bool = False,
        absent_ok: bool = False,
        headers: Params | None = None,
        **slots: str,
    ) -> Reply:
        """POST a JSON body, or `form` as ``application/x-www-form-urlencoded``. ``retry=True`` says that repeating it is harmless (a search)."""
        return self._call("POST", path, slots, params=params, json=json, form=form, retry=retry, absent_ok=absent_ok, headers=headers)

    def pages(
        self,
        path: str,
        params: Params | None = None,
        *,
        paging: Paging,
        method: str = "GET",
        json: Mapping[str, Any] | None = None,
        absent_ok: bool = False,
        max_pages: int = MAX_PAGES,
        **slots: str,
    ) -> Iterator[Any]:
        """Every item of every page, streamed.

        With ``method="POST"`` the paging parameters go into the JSON body (a search). With ``absent_ok=True`` a 404 on the first page
        is the end.

        Raises:
            RejectedError: A page repeats (a loop), has no list, or there are more than `max_pages`.
        """
        extra: Mapping[str, Any] = paging.first()
        _named(f"{method} {path}", extra)
        url: str | None = None
        seen: set[Any] = set()
        sent = 0
        for page in range(max_pages):
            try:
                if url is not None:
                    reply = self._call("GET", path, slots, url=url)
                elif method == "POST":
                    reply = self._call("POST", path, slots, params=params, json={**(json or {}), **extra}, retry=True)
                else:
                    reply = self._call(method, path, slots, params={**(params or {}), **extra})
            except NotFoundError as error:
                if absent_ok and page == 0 and error.code != "html":
                    return
                raise
            items = items_at(reply, paging.items)
            # A vendor that ignores the cursor answers the same page for ever: the same items, or a step that was taken before.
            mark = (len(items), hash(reply.content)) if items else None
            following = paging.next_page(reply, items, sent)
            step = (
                following if isinstance(following, str) or following is None else tuple(sorted((key, str(value)) for key, value in following.items()))
            )
            for trace in (mark, step):
                if trace is not None:
                    if trace in seen:
                        raise RejectedError(f"{reply.call} answers the same page again and again", source=self._http.source)
                    seen.add(trace)
            yield from items
            if following is None:
                return
            sent += len(items)
            if isinstance(following, str):
                url = self._same_host(reply, following)
            else:
                _named(f"{method} {path}", following)
                extra = {**extra, **following}
        raise RejectedError(f"{method} {path} has more than {max_pages} pages", source=self._http.source, fix="narrow the search, or raise max_pages")

    def _same_host(self, reply: Reply, location: str) -> str:
        from dsr_sdk.http.client import same_origin

        target = same_origin(reply.url, location)
        if target is None:
            raise RejectedError(f"{reply.call} names a next page on another host, which is refused", source=self._http.source)
        return target

    def _call(
        self,
        method: str,
        path: str,
        slots: Mapping[str, str],
        *,
        params: Params | None = None,
        json: Any = None,
        form: Params | None = None,
        headers: Params | None = None,
        absent_ok: bool = False,
        retry: bool = False,
        url: str | None = None,
        max_bytes: int | None = None,
    ) -> Reply:
        http = self._http
        call = f"{method} {path}"
        for given in (params, form):
            _named(call, given or {})
        target = url or http.base_url + self._fill(path, slots)
        arguments: dict[str, Any] = {}
        if max_bytes is not None:
            arguments["max_bytes"] = max_bytes
        if params and url is None:
            arguments["params"] = {key: value for key, value in params.items() if value is not None}
        if json is not None:
            arguments["json"] = json
        if form is not None:
            arguments["data"] = form
        if headers:
            arguments["headers"] = dict(headers)
        repeat = retry or method in _REPEATABLE_METHODS
        idempotency = http.connector.idempotency_header
        if idempotency and self._operation_key and method in ("POST", "PATCH"):  # the others are idempotent by themselves (RFC 9110 section 9.2.2)
            arguments.setdefault("headers", {})[idempotency] = f"{self._operation_key}-{self.calls}"
            repeat = True
        # Before the first call of a unit of work a long wait sends the whole unit back to the drain; later ones are waited for, so that
        # a source with a slow limit gets through its pages at all.
        longest = LONGEST_FIRST_WAIT if self.calls == 0 else LONGEST_WAIT
        self.calls += 1

        def attempt() -> Reply:
            wait = http.pacer.reserve(method, path, longest=longest)
            if wait < 0:
                raise TransientError(f"{call}: the rate limit is used up", source=http.source, retry_after=-wait)
            if wait > 0 and http.sleep(wait):
                raise TransientError(f"{call}: stopped while it waited for its turn", source=http.source, retry_after=wait)
            return http.exchange(method, target, call=call, **arguments)

        try:
            return http.retry.run(attempt, repeat=repeat)
        except NotFoundError as error:
            if absent_ok and error.code != "html":  # a proxy's 404 page says nothing about the person
                return Reply(error.status or 404, {}, b"", call=call)
            raise

    @staticmethod
    def _fill(path: str, slots: Mapping[str, str]) -> str:
        def value(match: re.Match[str]) -> str:
            try:
                text = slots[match.group(1)]
            except KeyError:
                raise ContractError(f"{path} needs {match.group(1)}=") from None
            if not isinstance(text, str) or not text or text in (".", ".."):
                raise RejectedError(f"{path}: {match.group(1)} cannot stand in a path")
            try:
                return quote(text, safe="")
            except UnicodeError:
                raise RejectedError(f"{path}: {match.group(1)} cannot stand in a path") from None

        if not path.startswith("/"):
            raise ContractError(f"a path starts with a slash: {path}")
        unused = slots.keys() - set(_SLOT.findall(path))
        if unused:
            raise ContractError(f"{path} does not use {', '.join(sorted(unused))}")
        return _SLOT.sub(value, path)


def _named(call: str, parameters: Params) -> None:
    """Refuse a parameter without a name: on the wire it would be ``&=100``, which a vendor may read as anything."""
    if not all(isinstance(name, str) and name for name in parameters):
        raise ContractError(f"{call}: a parameter has no name", fix='where the vendor knows no page size, size_param="" sends none')
