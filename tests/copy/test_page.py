"""The page: readable by anyone, harmless whatever the vendors and the person are called."""

from __future__ import annotations

import itertools
import re
import string
import zipfile
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dsr_sdk._taxonomy import DATA_CATEGORIES
from dsr_sdk.copy import SourceCopy, Withheld, texts, write_package
from dsr_sdk.copy.preview import DEPTH, RECORDS, Budget, Preview, humanise, printable
from dsr_sdk.copy.texts import LANGUAGES, Texts
from dsr_sdk.errors import TransientError
from dsr_sdk.result import Reason, Record

EVIL = "<script>alert(1)</script><img src=//evil.example/x onerror=alert(2)>\"'><a href=javascript:alert(3)>{{ 7*7 }}</style>"
VOID = {"meta", "link", "br", "hr", "img", "input", "col"}


class Page(HTMLParser):
    """The page as a browser sees it: every tag, every attribute, and the text. Fails on tags that do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """A tag closes the last one that is open."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All text, with single spaces."""
        return " ".join(" ".join(self.words).split())

    def all(self, *names: str) -> list[dict[str, str | None]]:
        """The attributes of every tag of these names."""
        return [attrs for tag, attrs in self.tags if tag in names]


def page(tmp_path: Path, *sources: SourceCopy, **more: Any) -> tuple[Page, str, list[str]]:
    """The page of a package of these sources: parsed, as text, and the names of all files."""
    given: dict[str, Any] = {
        "case": "DSR-7K2M-0QXN-V4TB-91HC",
        "subject_name": "Mira Okonkwo",
        "company": "Nordlicht",
        "language": "en",
        "made_at": datetime(2025, 10, 8, 9, 30, tzinfo=UTC),
        "sources": sources,
        "overwrite": True,
    }
    write_package(tmp_path / "copy.zip", **{**given, **more})
    with zipfile.ZipFile(tmp_path / "copy.zip") as archive:
        html = archive.read("index.html").decode()
        return Page(html), html, archive.namelist()


def full() -> list[SourceCopy]:
    """Sources of every kind, with everything in them that a page can show."""

    def broken() -> Any:
        yield Record("event", {"at": "now"})
        raise TransientError("no answer within 30 seconds")

    nested: dict[str, Any] = {"name": "Mira", "address": {"city": "Berlin", "geo": {"lat": 1.5}}, "tags": ["a", "b"], "empty": [], "none": None}
    nested |= {"rows": [{"a": 1, "b": True}, {"a": 2}], "mixed": [{"a": {"b": 1}}, "x", [1, [2]]], "long": "x" * 5000}
    return [
        SourceCopy(
            "crm", "CRM", "crm", [Record("contact", nested), Record("contact", nested)], categories={"contact": ("user.contact.email", "user.name")}
        ),
        SourceCopy(
            "shop", "Shop", "commerce", (Record("order", {"n": n, "total": 1.5}) for n in range(1204)), (Withheld("score", Reason.SECURITY, "No."),)
        ),
        SourceCopy("hr", "HR", "staff", [], (Withheld("file", Reason.LEGAL_CLAIMS, "A dispute."),)),
        SourceCopy("mixpanel", "Mixpanel", "analytics", broken()),
        SourceCopy("zendesk", "Zendesk", "support", [], categories={"ticket": ("user.content",)}),
        SourceCopy("braze", "Braze", "marketing", [], could_not_check="the key was refused"),
    ]


class TestHarmless:
    """Nothing on the page runs, loads, or leads away."""

    def test_no_external_resource(self, tmp_path: Path) -> None:
        """Every link is to a data file of the package or to a place on the page, and each of them exists."""
        parsed, html, names = page(tmp_path, *full())
        ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
        assert len(set(ids)) == len(ids)
        links = parsed.all("a")
        assert len(links) > 10
        for attrs in links:
            target = attrs["href"] or ""
            assert target[1:] in ids if target.startswith("#") else target in names
        for tag, attrs in parsed.tags:
            assert tag not in {"script", "link", "img", "iframe", "object", "embed", "form", "base", "svg", "video", "audio", "input"}
            assert not {name for name in attrs if name in {"src", "srcset", "style", "background", "action", "poster"} or name.startswith("on")}
            assert "href" not in attrs or tag == "a"
        assert not re.search(r"url\(|@import|https?:|//[a-z]", html.partition("</style>")[0])

    def test_the_policy_forbids_the_rest(self, tmp_path: Path) -> None:
        """The page's own content security policy lets nothing but its inline style through."""
        parsed, _, _ = page(tmp_path)
        policy = next(attrs["content"] for attrs in parsed.all("meta") if attrs.get("http-equiv") == "Content-Security-Policy")
        assert policy == "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

    def test_markup_in_every_place(self, tmp_path: Path) -> None:
        """A script tag as any name, title, text, key or value is text, and no template is evaluated in it."""

        def broken() -> Any:
            yield Record(EVIL, {EVIL: EVIL, "deep": [{EVIL: [EVIL]}]})
            raise TransientError(EVIL)

        evil = SourceCopy(
            EVIL,
            EVIL,
            EVIL,
            [Record(EVIL, {EVIL: EVIL, "list": [{EVIL: "x"}, {EVIL: "y"}]})],
            (Withheld(EVIL, Reason.SECURITY, EVIL),),
            None,
            {EVIL: (EVIL,)},
        )
        parsed, html, _ = page(
            tmp_path, evil, SourceCopy(EVIL, EVIL, EVIL, broken()), case=EVIL, subject_name=EVIL, company=EVIL, language='en"><script>'
        )
        plain, _, _ = page(tmp_path, SourceCopy("a", "a", "a", []))
        assert {tag for tag, _ in parsed.tags} <= {tag for tag, _ in plain.tags} | {
            "section",
            "h3",
            "h4",
            "ul",
            "li",
            "strong",
            "details",
            "bdi",
            "dl",
        }
        assert "<script" not in html.lower()
        assert "javascript:" not in " ".join(str(attrs.get("href")) for attrs in parsed.all("a"))
        assert not any(name.startswith("on") for _, attrs in parsed.tags for name in attrs)
        assert "{{ 7*7 }}" in parsed.text
        assert EVIL in parsed.text
        assert parsed.all("html") == [{"lang": "en"}]

    def test_characters_a_page_may_not_hold(self, tmp_path: Path) -> None:
        """Control characters are shown by their symbols, half characters by the replacement mark: the page is valid UTF-8."""
        _, html, _ = page(tmp_path, SourceCopy("a", "A\x00", "crm", [Record("r\x1b", {"k\x07": "a\x00b\ud800c\r\nd"})]), subject_name="\ud800M")
        assert not re.search("[\x00-\x08\x0b-\x1f\ud800-\udfff]", html)
        assert "a␀b\N{REPLACEMENT CHARACTER}c\nd" in html

    def test_directions_do_not_leak(self, tmp_path: Path) -> None:
        """Every value stands in an element of its own direction, so that right-to-left text cannot rearrange its neighbours."""
        parsed, html, _ = page(tmp_path, SourceCopy("a", "A", "crm", [Record("r", {"name": "\u202emoc.elpmaxe", "x": {}})]))
        assert '<span class="text" dir="auto">\u202emoc.elpmaxe</span>' in html
        assert parsed.all("dt")


class TestReadable:
    """The page says what happened, in words."""

    def test_the_overview(self, tmp_path: Path) -> None:
        """Each source has a row with a link, a status in words and a count; *unknown* and a dash where there is no count."""
        _, html, _ = page(tmp_path, *full())
        overview = html[html.index('id="overview"') : html.index('<section class="source"')]
        rows = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in overview.split("<tr>")[2:]]
        assert rows == [
            "CRM Customer relations Found 2",
            "Shop Commerce Found, partly withheld 1,204",
            "HR Staff administration Withheld –",
            "Mixpanel Analytics Could not check 1",
            "Zendesk Support Nothing found 0",
            "Braze Marketing Could not check unknown",
        ]

    def test_what_could_not_be_checked_is_told_first(self, tmp_path: Path) -> None:
        """An incomplete copy says so before anything else, and names the systems."""
        parsed, _, _ = page(tmp_path, *full())
        text = parsed.text
        assert text.index("This copy is not complete") < text.index("Where we looked")
        assert "2 systems could not be checked" in text
        assert "the key was refused" in text
        assert "no answer within 30 seconds" in text
        assert "The records below arrived before that; others may be missing." in text
        with zipfile.ZipFile(tmp_path / "copy.zip") as archive:
            assert "not complete. Could not be checked: Mixpanel, Braze" in archive.read("README.txt").decode()

    def test_a_complete_copy_has_no_warning(self, tmp_path: Path) -> None:
        """No warning where there is nothing to warn of."""
        parsed, html, _ = page(tmp_path, SourceCopy("a", "A", "crm", [Record("r", {"a": 1})]))
        assert "not complete" not in parsed.text
        assert 'class="note' not in html

    def test_reasons_and_categories_in_words(self, tmp_path: Path) -> None:
        """Reasons and data categories are told in the reader's words, and each category once."""
        parsed, html, _ = page(tmp_path, *full())
        assert "Needed for security. No." in parsed.text
        assert "E-mail address, Name" in parsed.text
        assert "user.contact" not in html

    def test_accessible(self, tmp_path: Path) -> None:
        """A language, one first heading, no level left out, a caption and column headings for each table, names for each region."""
        parsed, html, _ = page(tmp_path, *full())
        levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        assert parsed.all("html") == [{"lang": "en"}]
        assert len(parsed.all("table")) == len(parsed.all("caption")) == html.count("<thead>")
        assert all("scope" in attrs for attrs in parsed.all("th"))
        assert all(attrs.get("aria-label") for attrs in parsed.all("div") if attrs.get("role") == "region")
        assert {"viewport", "color-scheme"} <= {attrs.get("name") for attrs in parsed.all("meta")}
        assert "prefers-color-scheme: dark" in html
        assert "@media print" in html

    def test_values(self, tmp_path: Path) -> None:
        """Objects are definition lists, like objects tables, short lists one line; yes, no and empty are words."""
        parsed, html, _ = page(tmp_path, *full())
        assert re.search(r"<dt[^>]*>City</dt><dd><span[^>]*>Berlin</span>", html)
        assert '<ul class="plain">' in html
        assert '<span class="quiet">empty</span>' in html
        assert "shortened here; the full value is in the data file" in parsed.text
        assert "x" * 401 not in html

    def test_no_name_leaves_the_line_out(self, tmp_path: Path) -> None:
        """Without a name nobody is addressed."""
        parsed, _, _ = page(tmp_path, subject_name=None)
        assert "Prepared for" not in parsed.text
        assert "No system was asked." in parsed.text

    def test_only_the_first_records(self, tmp_path: Path) -> None:
        """Of many records the first are shown, and the rest is linked with its size."""
        parsed, html, names = page(tmp_path, *full())
        assert "data/shop/order.jsonl" in names
        assert "The first 50 are shown below; all are in the data file." in parsed.text
        order = html[html.index('id="kind-2-1"') :]
        assert order[: order.index("</table>")].count("<tr>") == RECORDS + 1
        assert any(attrs["href"] == "data/shop/order.jsonl" for attrs in parsed.all("a"))


class TestPreview:
    """What is kept of a record for the page is bounded, whatever the record is."""

    @pytest.mark.parametrize(
        "data",
        [
            {f"key{n}": "x" * 10_000 for n in range(10_000)},
            {"list": list(range(1_000_000))},
            {"a": [[["x" * 500] * 100] * 100] * 100},
            {"x" * 1_000_000: {"y" * 1_000_000: 1}},
        ],
        ids=["wide", "long", "bushy", "keys"],
    )
    def test_any_record_is_small(self, data: dict[str, Any]) -> None:
        """However wide, long, deep or bushy: no more than its share of the page."""
        budget = Budget()
        before = budget.left
        preview = Preview(budget)
        preview.add(data)
        assert len(repr(preview.records[0])) < 200_000
        assert before - budget.left < 200_000

    def test_depth(self) -> None:
        """Below the last level shown there is a note instead of the value."""
        data: dict[str, Any] = {"end": 1}
        for _ in range(10):
            data = {"d": data}
        preview = Preview(Budget())
        preview.add(data)
        node: Any = preview.records[0].body
        for _ in range(DEPTH - 1):
            node = node.fields[0][1]
        assert node.fields[0][1].kind == "deep"

    def test_shares(self) -> None:
        """A share ends at its own part, is taken from the whole, and leaves something for those who come later."""
        whole = Budget(1000)
        first = whole.share(4)
        first.take(250)
        assert (first.left, whole.left) == (0, 750)
        assert whole.share(3).left == 250
        late = whole.share(1)
        whole.take(800)
        assert late.left < 0

    def test_a_spent_budget_shows_nothing_more(self) -> None:
        """What does not fit is left to the data file."""
        preview = Preview(Budget(0))
        preview.add({"a": 1})
        assert preview.records == []

    def test_unlike_records_are_not_a_table(self) -> None:
        """Wide, nested or long records stand one below another; few small plain ones make a table, with gaps where a field is missing."""

        def table(*records: dict[str, Any]) -> object:
            preview = Preview(Budget())
            for record in records:
                preview.add(record)
            return preview.table()

        assert table({"a": 1}) is None
        assert table({"a": 1}, {"a": {"b": 1}}) is None
        assert table({"a": 1}, {"a": "x" * 100}) is None
        assert table({"a": 1}, {}) is None
        assert table({"first_name": 1, "firstName": 2}, {"first_name": 1, "firstName": 2}) is None
        assert table({str(n): n for n in range(7)}, {"1": 1}) is None
        small: Any = table({"a": 1}, {"b": None, "a": True})
        assert small.columns == ("A", "B")
        assert small.rows[0][1] is None

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("first_name", "First name"),
            ("firstName", "First name"),
            ("HTTPStatus", "HTTP status"),
            ("id", "ID"),
            ("customer_id", "Customer ID"),
            ("", ""),
            ("___", ""),
            ("x" * 100, "X" + "x" * 79 + "…"),
        ],
    )
    def test_names_as_words(self, name: str, words: str) -> None:
        """Technical names are shown as words."""
        assert humanise(name) == words

    def test_printable_leaves_the_rest_alone(self) -> None:
        """Emoji, tabs, line breaks and other scripts are not touched."""
        assert printable("a\tb\nc 日本 \U0001f600") == "a\tb\nc 日本 \U0001f600"


class TestTexts:
    """Every language says everything."""

    def test_german(self, tmp_path: Path) -> None:
        """A German tag of any country gives a German package, with German dates and numbers."""
        parsed, _, _ = page(tmp_path, *full(), language="de-AT")
        assert parsed.all("html") == [{"lang": "de"}]
        assert "Ihre personenbezogenen Daten" in parsed.text
        assert "8. Oktober 2025" in parsed.text
        assert "1.204" in parsed.text
        assert "Nicht prüfbar" in parsed.text
        with zipfile.ZipFile(tmp_path / "copy.zip") as archive:
            assert "Öffnen Sie index.html" in archive.read("README.txt").decode()

    @pytest.mark.parametrize("tag", ["fr", "", "deu", "x-klingon", "EN-us"])
    def test_other_languages_get_english(self, tag: str) -> None:
        """What is not spoken falls back."""
        assert Texts(tag).language == "en"

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_nothing_is_untranslated(self, language: str) -> None:
        """The same texts with the same words to fill in, every reason, every data category, every month."""

        def blanks(words: dict[str, str]) -> dict[str, set[str]]:
            return {key: {name for _, name, _, _ in string.Formatter().parse(text) if name} for key, text in words.items()}

        assert blanks(texts._WORDS[language]) == blanks(texts._WORDS["en"])
        assert set(texts._REASONS[language]) == {reason.value for reason in Reason}
        assert len(texts._MONTHS[language]) == 12
        told = Texts(language)
        for category in DATA_CATEGORIES:
            assert "." not in told.data([category])[0]
            assert category.partition(".")[0] in texts._DATA

    def test_numbers_and_sizes(self) -> None:
        """Counts agree with their nouns; sizes are round."""
        english, german = Texts("en"), Texts("de")
        assert [english.count("records", n) for n in (0, 1, 1204)] == ["0 records", "1 record", "1,204 records"]
        assert [english.size(n) for n in (0, 999, 1000, 1_500_000, 999_960, 2**40)] == ["0 B", "999 B", "1 KB", "1.5 MB", "1 MB", "1.1 TB"]
        assert (german.number(1_234_567), german.size(1500)) == ("1.234.567", "1,5 KB")

    def test_unknown_categories_and_reasons_are_still_words(self) -> None:
        """A category from a newer taxonomy is told by its nearest ancestor, or in its own words."""
        told = Texts("de")
        assert told.data(["user.contact.pager", "user.contact.email", "user.contact.fax"]) == ("Kontaktdaten", "E-Mail-Adresse")
        assert told.data(["vendor_thing"]) == ("Vendor thing",)
        assert told.reason("new_reason") == "New reason"
        assert told.system("new_kind") == "New kind"
