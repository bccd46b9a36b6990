"""A record as a PDF: A4, plain, with everything that the JSON form says.

The fonts that every PDF reader has know western European letters only. So a font with more is taken from the system where there is one:
DejaVu Sans (Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew, Arabic), Noto Sans, and for Chinese, Japanese and Korean Droid Sans
Fallback; what is used of them is embedded. A character that no font at hand knows is written as its code point, ``[U+4E2D]``: a name in
a record may look strange, but nothing of it is lost, and nothing invisible stays invisible.
"""

from __future__ import annotations

import importlib.util
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from dsr_sdk.errors import ConfigError
from dsr_sdk.host.records.history import HistoryEvent, grouped
from dsr_sdk.host.words import MAIL_KINDS, STATES, words
from dsr_sdk.request import CORRECTION

if TYPE_CHECKING:
    from fpdf import FPDF

__all__ = ["fonts", "write_pdf"]

_PLACES: Final = (
    "/usr/share/fonts/truetype/dejavu",  # Debian, Ubuntu: fonts-dejavu-core
    "/usr/share/fonts/truetype/noto",  # fonts-noto-core
    "/usr/share/fonts/truetype/droid",  # fonts-droid-fallback
    "/usr/share/fonts/dejavu-sans-fonts",  # Fedora
    "/usr/share/fonts/google-noto",
    "/usr/share/fonts/google-droid-sans-fonts",
    "/usr/share/fonts/dejavu",  # Alpine
    "/usr/share/fonts/noto",
    "/usr/share/fonts/TTF",  # Arch
    "/System/Library/Fonts/Supplemental",
    "C:/Windows/Fonts",
)
_FILES: Final = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansBengali-Regular.ttf",
    "NotoSansTamil-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "DroidSansFallbackFull.ttf",
    "DroidSansFallback.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
)
_PLAIN: Final = str.maketrans({"–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "…": "...", "•": "-", "€": "EUR"})
_CASE: Final = {
    "number": "Case number",
    "type": "Type",
    "scope": "Scope",
    "channel": "Received by",
    "regime": "Law",
    "stage": "Stage",
    "decision": "Decision",
    "reason": "Reason",
    "agent": "Agent",
    "received_at": "Received",
    "due_at": "Due",
    "verified_by": "Identity verified by",
    "verified_at": "Identity verified",
    "duplicate_of": "Duplicate of",
    "ended_at": "Closed",
    "shredded": "Personal data destroyed",
}
_SOURCE: Final = {
    "process": "How",
    "state": "Result",
    "found": "Records found",
    "last_deleted": "Last deleted",
    "ticked_at": "Given free",
    "ticked_by": "Given free by",
    "overridden_at": "Went on without it",
    "overridden_by": "Decided by",
    "reason": "Why",
}
_CODED: Final = frozenset({"type", "scope", "channel", "regime", "stage", "decision", "verified_by", "process"})
_IDENTITIES: Final = {"email": "E-mail address", "phone": "Phone number", "controller_id": "Customer id", "vendor_id": "Id at the vendor"}
_OWN: Final = {CORRECTION: "What is wrong"}
_ACTORS: Final = {"host": "by itself", "subject": "the person"}
_LEFT: Final = 42.0  # mm, the column of labels
_LINE: Final = 4.6


@cache
def fonts() -> tuple[Path, ...]:
    """The fonts of this system that a record can be written with, the one for most of it first; empty for none."""
    return tuple(dict.fromkeys(path for name in _FILES for place in _PLACES if (path := Path(place) / name).is_file()))


def write_pdf(record: Mapping[str, Any], stream: BinaryIO, *, using: Sequence[Path] | None = None, compress: bool = True) -> None:
    """Write a record (see `Records.record`) as a PDF. The same record gives the same bytes on the same system.

    Args:
        using: The fonts; None for those of `fonts`. Without any, characters outside Latin-1 are written as code points.
        compress: Turn off to read what is in it.

    Raises:
        ConfigError: fpdf2 is not installed.
    """
    _Writer(record, fonts() if using is None else using, compress).write(stream)


class _Writer:
    def __init__(self, record: Mapping[str, Any], using: Sequence[Path], compress: bool) -> None:
        self._record = record
        self._pdf = _document(f"{record['company']} - {record['case']['number']}")
        self._pdf.set_compression(compress)
        self._pdf.set_creation_date(datetime.fromisoformat(record["made_at"]))
        self._pdf.set_title(f"Record of {record['case']['number']}")
        self._pdf.set_lang("en")
        self._clean = _embed(self._pdf, using, set(json.dumps(record, ensure_ascii=False)))
        self._pdf.footing = self._clean(self._pdf.footing)  # type: ignore[attr-defined]  # of the class below

    def write(self, stream: BinaryIO) -> None:
        record, case = self._record, self._record["case"]
        self._pdf.add_page()
        self._text(f"Record of request {case['number']}", size=16, gap=2)
        self._text(f"{record['company']}, made on {_moment(record['made_at'])}", grey=True, gap=1)
        kind = "It holds personal data: keep it as carefully as the request itself." if record["personal"] else "It holds no personal data."
        self._text(kind, grey=True, gap=3)
        self._heading("The request")
        # A case's reason is a code, a data source's is somebody's own words.
        self._pairs(_told({**case, "reason": case["reason"] and words(case["reason"])}, _CASE))
        self._pairs([("Handled by", record["agents"])])
        if record["person"] is not None:
            self._person(record["person"])
        self._sources(record["sources"], record["deletions"])
        self._conversation(record["conversation"], record["reply"])
        self._rest(record["files"], record["mails"])
        self._history(record["history"], record["chain"])
        stream.write(bytes(self._pdf.output()))

    # --- the parts -----------------------------------------------------------------------------------------------------------------

    def _person(self, person: Mapping[str, Any]) -> None:
        self._heading("The person")
        self._pairs([("Name", person["name"])])
        self._pairs((f"{_IDENTITIES.get(row['kind'], row['kind'])} (from the {row['source']})", row["value"]) for row in person["identities"])
        self._pairs((label.capitalize(), person[label]) for label in ("country", "language", "reference"))
        self._pairs((_OWN.get(name, name), value) for name, value in person["custom_fields"].items())
        for row in person["email_evidence"]:
            answers = f", answers to {row['reply_to']}" if row["reply_to"] else ""
            self._pairs([("E-mail received", f"{_moment(row['sent_at'])}: {row['subject']} (from {row['from_address']}{answers})")])

    def _sources(self, sources: Sequence[Mapping[str, Any]], deletions: Sequence[Mapping[str, Any]]) -> None:
        self._heading("Data sources")
        if not sources:
            self._text("None took part.")
        for row in sources:
            if self._pdf.will_page_break(20):
                self._pdf.add_page()
            self._text(row["title"], size=10, gap=0.5)
            self._pairs(_told(row, _SOURCE))
            self._pairs(("Kept", f"{kept['resource'].replace('_', ' ')}: {kept['text']}") for kept in row["retained"])
        if deletions:
            self._heading("Deletions")
            self._pairs(
                (row["title"], f"{_moment(row['at'])}, " + ("confirmed by the data source" if row["by"] == "vendor" else f"confirmed by {row['by']}"))
                for row in deletions
            )

    def _conversation(self, said: Sequence[Mapping[str, Any]], reply: Mapping[str, Any] | None) -> None:
        self._heading("Conversation")
        if not said:
            self._text("Nobody has written.")
        ways = {"out": "to the person", "in": "from the person", "note": "note"}
        for row in said:
            mail = f", e-mail: {words(row['mail']).lower()}" if row["mail"] else ""
            files = f", files {', '.join(str(file) for file in row['files'])}" if row["files"] else ""
            self._text(f"{_moment(row['at'])}  {ways.get(row['direction'], row['direction'])}, {row['author']}{mail}{files}", grey=True, gap=0)
            self._text(row["body"] if row["body"] is not None else "(text left out)", gap=2)
        if reply is not None:
            self._heading("Reply")
            self._pairs(
                (words(label), words(reply[label]) if label == "mode" else _actor(reply[label]) if label == "edited_by" else reply[label])
                for label in reply
                if label != "body"
            )
            if reply["body"]:
                self._text(reply["body"], gap=2)

    def _rest(self, files: Sequence[Mapping[str, Any]], mails: Sequence[Mapping[str, Any]]) -> None:
        if files:
            self._heading("Files")
            for row in files:
                removed = f", removed {_moment(row['removed_at'])}" if row["removed_at"] else ""
                source = f", {row['source']}" if row["source"] else ""
                told = f"{words(row['purpose'])}{source}, {row['size']} bytes, {_moment(row['created_at'])}, {row['created_by']}{removed}"
                self._pairs([(f"File {row['id']}", f"{told}, SHA-256 {row['sha256']}")])
        if mails:
            self._heading("E-mails")
            self._pairs(
                (
                    MAIL_KINDS.get(row["kind"], row["kind"]),
                    f"{words(row['state'])}, written {_moment(row['created_at'])}, sent {_moment(row['sent_at']) if row['sent_at'] else '-'}",
                )
                for row in mails
            )

    def _history(self, events: Iterable[Mapping[str, Any]], chain: Mapping[str, Any]) -> None:
        self._heading("History (UTC)")
        for row, times in _repeated(events):
            again = f" ({times} times)" if times > 1 else ""
            self._pairs([(f"{row['n']}  {_moment(row['at'])[:-4]}", f"{row['text']}{again}  ({_actor(row['actor'])})")], size=8)
        self._heading("Chain")
        said = "unbroken: no entry was changed, moved or taken out" if chain["verified"] else "BROKEN: do not rely on this history"
        self._pairs([("Entries", chain["entries"]), ("Chain", said), ("Last hash", chain["last"]), ("Problems", chain["problems"])])

    # --- lines ---------------------------------------------------------------------------------------------------------------------

    def _heading(self, text: str) -> None:
        if self._pdf.will_page_break(20):  # a heading does not stand alone at the foot of a page
            self._pdf.add_page()
        self._pdf.ln(2)
        self._text(text, size=12, gap=0.5)
        self._pdf.set_draw_color(170)
        self._pdf.line(self._pdf.l_margin, self._pdf.get_y(), self._pdf.w - self._pdf.r_margin, self._pdf.get_y())
        self._pdf.ln(1.5)

    def _pairs(self, rows: Iterable[tuple[str, Any]], *, size: float = 9) -> None:
        """Label and value, side by side; what is not there is left out."""
        pdf = self._pdf
        for label, value in rows:
            if value is None or value in ("", []):
                continue
            said = ", ".join(str(item) for item in value) if isinstance(value, list) else _worded(value)
            if pdf.will_page_break(2 * _LINE):
                pdf.add_page()
            top, page = pdf.get_y(), pdf.page
            pdf.set_font_size(size)
            pdf.set_text_color(90)
            self._cell(_LEFT, _LINE, label)
            bottom = pdf.get_y()
            pdf.set_text_color(0)
            if pdf.page == page:
                pdf.set_y(top)
            pdf.set_x(pdf.l_margin + _LEFT)
            self._cell(0, _LINE, said)
            if pdf.page == page:
                pdf.set_y(max(bottom, pdf.get_y()))

    def _text(self, text: str, *, size: float = 9, grey: bool = False, gap: float = 1) -> None:
        self._pdf.set_font_size(size)
        self._pdf.set_text_color(90 if grey else 0)
        self._cell(0, size * 0.51, text)
        self._pdf.ln(gap)

    def _cell(self, width: float, height: float, text: str) -> None:
        text = self._clean(text)
        if not self._pdf.text_shaping and any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text):
            from fpdf.bidi import BidiParagraph

            # Lines are turned around one by one, once it is known where they break.
            lines = self._pdf.multi_cell(width, height, text, align="L", dry_run=True, output="LINES")
            text = "\n".join(BidiParagraph(line).get_reordered_string() for line in cast("list[str]", lines))
        self._pdf.multi_cell(width, height, text, align="L", new_x="LMARGIN", new_y="NEXT")


def _document(footing: str) -> FPDF:
    try:
        from fpdf import FPDF
    except ImportError:
        raise ConfigError("PDF records need fpdf2, which is not installed", fix="run: pip install 'dsr-sdk[portal]'") from None

    class Document(FPDF):
        def __init__(self) -> None:
            super().__init__(format="A4")
            self.footing = footing

        def footer(self) -> None:
            self.set_y(-14)
            self.set_font_size(8)
            self.set_text_color(120)
            self.cell(0, 6, f"{self.footing} - page {self.page_no()}", align="C")

    document = Document()
    document.str_alias_nb_pages = ""  # otherwise "{nb}" in somebody's text would become a number
    document.set_margins(18, 16)
    document.set_auto_page_break(True, margin=18)
    return document


def _embed(pdf: FPDF, using: Sequence[Path], letters: Set[str]) -> Callable[[str], str]:
    """Set the font, with others for those of the letters that it lacks, and give what makes a text writable with them."""
    if not using:
        pdf.set_font("Helvetica", size=9)
        return lambda text: _visible(text.translate(_PLAIN), lambda code: code < 0x7F or 0xA0 <= code <= 0xFF)
    known: set[int] = set()
    embedded = []
    for number, path in enumerate(using):
        if number == 0 or any(ord(letter) not in known for letter in letters):  # reading a font takes a second
            embedded.append(f"font{number}")
            pdf.add_font(embedded[-1], fname=path)
            known |= set(getattr(pdf.fonts[embedded[-1]], "cmap", ()))
    pdf.set_font(embedded[0], size=9)
    pdf.set_fallback_fonts(embedded[1:])
    if importlib.util.find_spec("uharfbuzz") is not None:  # with it, fpdf2 joins Arabic letters and turns lines around by itself
        pdf.set_text_shaping(True)
    return lambda text: _visible(text, known.__contains__)


def _visible(text: str, known: Callable[[int], bool]) -> str:
    """The text with everything that cannot be shown as code points."""
    shown = []
    for letter in unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\t", "    ")):
        fine = letter == "\n" or (known(ord(letter)) and unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
        shown.append(letter if fine else f"[U+{ord(letter):04X}]")
    return "".join(shown)


def _actor(actor: str) -> str:
    return "by itself" if actor.startswith("connector:") else _ACTORS.get(actor, actor)


def _told(row: Mapping[str, Any], labels: Mapping[str, str]) -> Iterable[tuple[str, Any]]:
    """What a part says, in the words of the portal's pages."""
    for name, label in labels.items():
        value = row[name]
        if name == "state" and value is not None:
            value = STATES.get(str(value)) or words(value)
        yield label, words(value) if name in _CODED and value is not None else value


def _repeated(events: Iterable[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], int]]:
    """See `dsr_sdk.host.records.history.grouped`."""
    rows = list(events)
    made = [HistoryEvent(place, row["at"], row["actor"], row["event"], row["text"], {}, "", "") for place, row in enumerate(rows)]
    return [(rows[event.n], times) for event, times in grouped(made)]


def _worded(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return _moment(text) if len(text) >= 19 and text[10:11] == "T" else text


def _moment(text: str) -> str:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return text
