"""Two discoverers that come with the host: the applications assigned in Okta, and a CSV list of vendors.

Each is a plugin with one hook, ``dsr_discover``. What they find is proposed; nobody has decided yet.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from dsr_sdk.connector import Category, Connector, ConnectorConfig
from dsr_sdk.errors import AuthError, ConfigError, DsrError, RequestError, TransientError
from dsr_sdk.hookspecs import Proposal, hookimpl
from dsr_sdk.host.inventory.catalogue import category_of, recognise
from dsr_sdk.http import BearerAuth, HeaderKey, LinkHeader, RetryPolicy, SourceHttp
from dsr_sdk.mail.headers import checked_domain, checked_line
from dsr_sdk.secret import resolve

if TYPE_CHECKING:
    import httpx

    from dsr_sdk.host.config import HostConfig
    from dsr_sdk.host.settings import OktaDiscovery
    from dsr_sdk.http import Reply

__all__ = ["CsvVendors", "OktaApplications", "discoverers"]

_OKTAS_OWN: Final = frozenset({"saasure", "flow"})
"""Applications that are Okta itself, beside those whose name begins with ``okta_``: the console, Workflows."""
_ANOTHER_ORG: Final = "okta_org2org"
_WINDOW: Final = 65.0
"""Okta counts calls by the minute: who waits so long is let in again."""
_MAX_PAGES: Final = 100
_MAX_BYTES: Final = 5_000_000
_MAX_ROWS: Final = 10_000


def discoverers(config: HostConfig, transports: Mapping[str, httpx.BaseTransport]) -> Iterator[tuple[str, object]]:
    """The configured ones, each under the name that its findings carry.

    Args:
        transports: Instead of the network; Okta's under ``discovery.okta``.
    """
    if config.discovery.okta is not None:
        yield "okta", OktaApplications(config.discovery.okta, base=config.base, transport=transports.get("discovery.okta"))
    if config.discovery.csv is not None:
        yield "csv", CsvVendors(config.base / config.discovery.csv.path)


# --- Okta ----------------------------------------------------------------------------------------------------------------------------


class _OktaApi(Connector, abstract=True):
    """The side of Okta's API that lists applications. No data source: it searches for nobody and erases nothing."""

    slug, title, category = "okta_applications", "Okta", Category.IDENTITY

    class Config(ConnectorConfig):
        token: SecretStr
        bearer: bool = False

    def auth(self) -> httpx.Auth:
        return BearerAuth(self.config.token) if self.config.bearer else HeaderKey("Authorization", self.config.token, prefix="SSWS ")

    def problem(self, reply: Reply) -> DsrError | None:
        """Okta says when the next call may come in ``X-Rate-Limit-Reset``, a Unix time by its own clock, and not in ``Retry-After``."""
        if reply.status == 429:
            return TransientError(f"{reply.call} answered 429", retry_after=_until_reset(reply.headers))
        if reply.status in (401, 403):
            fix = "the token is wrong or expired" if reply.status == 401 else "the token may not list applications (scope okta.apps.read)"
            return AuthError(f"{reply.call} answered {reply.status}", field="discovery.okta.token", fix=fix)
        return None


def _until_reset(headers: Mapping[str, str]) -> float:
    """Seconds until the window ends, by Okta's clock where it tells the time: ours may be off."""
    try:
        reset = float(headers["x-rate-limit-reset"])
        now = parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else time.time()
    except (KeyError, ValueError, TypeError):
        return 1.0
    return min(max(1.0, reset - now), 3600.0)


class OktaApplications:
    """Proposes every active application that people of the company sign in to by Okta.

    Args:
        base: What a relative ``file:`` reference of the token is relative to.
        transport: Instead of the network.
    """

    def __init__(self, settings: OktaDiscovery, *, base: Path, transport: httpx.BaseTransport | None = None) -> None:
        self._settings = settings
        self._base = base
        self._transport = transport

    @hookimpl
    def dsr_discover(self) -> Iterable[Proposal]:
        """``GET /api/v1/apps``, page by page. Waits for a minute at most when Okta's rate limit is used up.

        Raises:
            ConfigError: The token cannot be had, or the domain may not be asked.
            AuthError: Okta refuses the token.
            TransientError: Okta does not answer, or wants to be asked later.
        """
        token = resolve(self._settings.token, field="discovery.okta.token", base=self._base)
        config = _OktaApi.Config(token=token, bearer=self._settings.scheme == "bearer", base_url=f"https://{self._settings.domain}")
        http = SourceHttp(_OktaApi(config, name="okta"), transport=self._transport, retry=RetryPolicy(longest=_WINDOW))
        try:
            params = {"filter": 'status eq "ACTIVE"', "limit": 200}
            rows = list(http.api().pages("/api/v1/apps", params, paging=LinkHeader(), max_pages=_MAX_PAGES))
        finally:
            if self._transport is None:
                http.close()
        return [proposal for row in rows if (proposal := _application(row)) is not None]


def _application(row: Any) -> Proposal | None:
    """One application as Okta tells it; None for what is Okta itself, or tells too little."""
    if not isinstance(row, Mapping):
        return None
    name, label = str(row.get("name") or ""), str(row.get("label") or "")
    own = name in _OKTAS_OWN or (name.startswith("okta_") and name != _ANOTHER_ORG)
    if own or row.get("status") not in (None, "ACTIVE") or not (label or name):
        return None
    # A template's name (bookmark, template_saml_2_0, oidc_client) says nothing of the vendor; then the label may.
    vendor = recognise(name, label)
    return Proposal(label or name, vendor=vendor.slug if vendor else None, where="Okta")


# --- CSV -----------------------------------------------------------------------------------------------------------------------------

_COLUMNS: Final = {
    **dict.fromkeys(("title", "name", "vendor", "system", "application"), "title"),
    "category": "category",
    **dict.fromkeys(("domain", "website", "url"), "domain"),
    "slug": "slug",
    **dict.fromkeys(("owner", "contact"), "owner"),
}
"""What a column may be called, and what it means. Others are passed over."""


class CsvVendors:
    """Proposes every line of a CSV file.

    The first line names the columns: ``title`` (or name, vendor, system, application), and as far as there are, ``category``, ``domain``,
    ``slug`` and ``owner``. Separated by commas, semicolons or tabs, in UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @hookimpl
    def dsr_discover(self) -> Iterable[Proposal]:
        """Read the file. One wrong line, and nothing of the file is proposed: half a list looks like a whole one.

        Raises:
            ConfigError: Names the line and the column, never what stands there.
        """
        text = self._text()
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            columns = self._columns(next(reader, []))
            found = []
            for row in reader:
                if any(cell.strip() for cell in row):
                    found.append(self._proposal(row, columns, reader.line_num))
                if len(found) > _MAX_ROWS:
                    raise self._wrong(f"more than {_MAX_ROWS} lines", reader.line_num)
        except csv.Error:
            raise self._wrong("is no CSV: a quotation mark is open, or text follows one", reader.line_num) from None
        return found

    def _text(self) -> str:
        try:
            with self._path.open("rb") as file:
                raw = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", source=self._path.name, field="discovery.csv.path") from None
        if len(raw) > _MAX_BYTES:
            raise ConfigError(f"is larger than {_MAX_BYTES} bytes", source=self._path.name, field="discovery.csv.path")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
        raise self._wrong("is not UTF-8", line, fix="save the file as UTF-8")

    def _columns(self, heading: list[str]) -> list[tuple[str, str]]:
        """For each column its meaning, empty when it has none, and its own name."""
        columns: list[tuple[str, str]] = []
        for cell in heading:
            meaning = _COLUMNS.get(cell.strip().lower(), "")
            if meaning and meaning in (known for known, _ in columns):
                raise self._wrong(f"two columns mean the {meaning}", 1, cell, fix="rename one")
            columns.append((meaning, cell.strip()))
        if "title" not in (meaning for meaning, _ in columns):
            raise self._wrong("has no column title", 1, fix="name the columns in the first line: title,category,domain,slug,owner")
        return columns

    def _proposal(self, row: list[str], columns: list[tuple[str, str]], line: int) -> Proposal:
        if len(row) > len(columns):
            raise self._wrong(f"has {len(row)} cells where {len(columns)} columns are named", line, fix="put a cell that holds a separator in quotes")
        values: dict[str, str] = {}
        for (meaning, column), cell in zip(columns, row, strict=False):
            if meaning and (cell.strip() or meaning == "title"):
                values[meaning] = self._value(meaning, cell.strip(), line, column)
        if "title" not in values:
            raise self._wrong("is empty", line, next(column for meaning, column in columns if meaning == "title"))
        vendor: str | None = values.get("slug")
        if vendor is None:
            known = recognise(values["title"], domain=values.get("domain"))
            vendor = known.slug if known else None
        return Proposal(values["title"], values.get("category"), values.get("domain"), vendor, f"{self._path.name}, line {line}", values.get("owner"))

    def _value(self, meaning: str, cell: str, line: int, column: str) -> str:
        try:
            if meaning == "category":
                return category_of(cell).value
            if meaning == "domain":
                return checked_domain(cell.partition("//")[2].split("/")[0] if "//" in cell else cell.split("/")[0])
            return checked_line(cell)
        except RequestError as error:
            raise self._wrong(error.message, line, column, fix=error.fix) from None
        except ValueError as error:
            raise self._wrong(str(error), line, column) from None

    def _wrong(self, message: str, line: int, column: str = "", fix: str | None = None) -> ConfigError:
        where = f"line {line}" + (f", column {_short(column)}" if column else "")
        return ConfigError(message, source=self._path.name, field=where, fix=fix)


def _short(column: str) -> str:
    return "".join(c for c in column.strip() if c.isprintable())[:40]
