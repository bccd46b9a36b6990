"""What the package says, in each language it speaks. A further language is one more entry in each of the dictionaries.

Words in braces are filled in by `Texts.get`. Every value goes through the template's escaping after that, never before.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from dsr_sdk.copy.preview import humanise

__all__ = ["LANGUAGES", "Texts"]

_WORDS: dict[str, dict[str, str]] = {
    "en": {
        "title": "Your personal data",
        "title_at": "Your personal data at {company}",
        "lead": "This is a copy of the personal data that {company} holds about you. It was made on {date}, at your request.",
        "for": "Prepared for",
        "case": "Case number",
        "made": "Made on",
        "records_total": "Records in this copy",
        "summary": "Where we looked",
        "summary_caption": "Every system that was asked, what came of it, and how many records of yours are in this copy",
        "system": "System",
        "status": "Result",
        "records": "Records",
        "found": "Found",
        "nothing_found": "Nothing found",
        "withheld": "Withheld",
        "could_not_check": "Could not check",
        "elsewhere": "Answered separately",
        "elsewhere_text": "A person looked through this system, and answers for it separately. What it holds about you, if anything, is not in here.",
        "partly_withheld": "Found, partly withheld",
        "unknown": "unknown",
        "incomplete_heading": "This copy is not complete",
        "incomplete_one": "One system could not be checked. It may hold data about you that is missing here:",
        "incomplete_many": "{n} systems could not be checked. They may hold data about you that is missing here:",
        "incomplete_ask": "Quote your case number when you ask {company} about it.",
        "no_sources": "No system was asked.",
        "nothing_text": "This system was asked and holds no data about you.",
        "withheld_heading": "What is withheld, and why",
        "could_not_text": "This system could not be checked completely. What it holds about you is not known.",
        "could_not_some": "This system could not be checked completely. The records below arrived before that; others may be missing.",
        "why": "Reason given:",
        "kinds": "What was found",
        "kinds_caption": "Kinds of records from {source}",
        "kind": "Kind",
        "data_categories": "Kinds of personal data",
        "file": "File",
        "not_stated": "not stated",
        "record": "Record {n}",
        "records_one": "1 record",
        "records_many": "{n} records",
        "showing_all": "All of them are shown below.",
        "showing_first": "The first {n} are shown below; all are in the data file.",
        "showing_none": "They are too many to show here; all are in the data file.",
        "table_caption": "{kind} from {source}",
        "open_file": "Data file",
        "yes": "yes",
        "no": "no",
        "none": "empty",
        "cut": "shortened here; the full value is in the data file",
        "deep": "nested further; see the data file",
        "more_fields_one": "and 1 more field, in the data file",
        "more_fields_many": "and {n} more fields, in the data file",
        "more_items_one": "and 1 more entry, in the data file",
        "more_items_many": "and {n} more entries, in the data file",
        "back": "Back to the overview",
        "about": "About these files",
        "about_page": "This page works offline: it loads nothing from the internet and runs no program. Names of fields are as the systems use them.",
        "about_data": "The folder “data” holds every record in full, for use by other software: JSON Lines, one record a line, in UTF-8.",
        "handed_heading": "Files",
        "about_handed": "The folder “files” holds what people added as they had it: documents, pictures, other systems’ exports.",
        "readme_handed": "files that were added as they are, in one folder for each system",
        "redacted": "[redacted]",
        "redacted_records_one": "1 record was left out after a review by a person.",
        "redacted_records_many": "{n} records were left out after a review by a person.",
        "about_manifest": (
            "The file “manifest.json” lists every system and every file with its size, its number of records and its SHA-256 checksum."
        ),
        "about_private": "These files contain personal data. Keep them where only you can read them.",
        "version": "Made with dsr-sdk {version}",
        "readme_open": "Open index.html in any web browser to read it. No internet connection is needed.",
        "readme_unpack": "Unpack the zip file first: links between the files work only then.",
        "readme_contents": "In this package",
        "readme_index": "the page to read: every system, what was found there, and the first records of each kind",
        "readme_data": "every record in full, one JSON object a line (JSON Lines, UTF-8), one file for each system and kind of record",
        "readme_manifest": "the list of all systems and files, with counts and SHA-256 checksums",
        "readme_incomplete": "This copy is not complete. Could not be checked: {sources}. See index.html.",
    },
    "de": {
        "title": "Ihre personenbezogenen Daten",
        "title_at": "Ihre personenbezogenen Daten bei {company}",
        "lead": "Dies ist eine Kopie der personenbezogenen Daten, die {company} über Sie speichert. Sie wurde am {date} auf Ihren Antrag erstellt.",
        "for": "Erstellt für",
        "case": "Fallnummer",
        "made": "Erstellt am",
        "records_total": "Datensätze in dieser Kopie",
        "summary": "Wo wir gesucht haben",
        "summary_caption": "Jedes befragte System, das Ergebnis und die Zahl Ihrer Datensätze in dieser Kopie",
        "system": "System",
        "status": "Ergebnis",
        "records": "Datensätze",
        "found": "Gefunden",
        "nothing_found": "Nichts gefunden",
        "withheld": "Zurückgehalten",
        "could_not_check": "Nicht prüfbar",
        "elsewhere": "Gesondert beantwortet",
        "elsewhere_text": "Ein Mensch hat dieses System durchgesehen und antwortet dazu gesondert. Was es über Sie enthält, steht nicht hier.",
        "partly_withheld": "Gefunden, teils zurückgehalten",
        "unknown": "unbekannt",
        "incomplete_heading": "Diese Kopie ist nicht vollständig",
        "incomplete_one": "Ein System konnte nicht geprüft werden. Es enthält möglicherweise Daten über Sie, die hier fehlen:",
        "incomplete_many": "{n} Systeme konnten nicht geprüft werden. Sie enthalten möglicherweise Daten über Sie, die hier fehlen:",
        "incomplete_ask": "Nennen Sie Ihre Fallnummer, wenn Sie {company} danach fragen.",
        "no_sources": "Es wurde kein System befragt.",
        "nothing_text": "Dieses System wurde befragt und enthält keine Daten über Sie.",
        "withheld_heading": "Was zurückgehalten wird und warum",
        "could_not_text": "Dieses System konnte nicht vollständig geprüft werden. Was es über Sie enthält, ist nicht bekannt.",
        "could_not_some": (
            "Dieses System konnte nicht vollständig geprüft werden. Die folgenden Datensätze kamen vorher an; weitere fehlen möglicherweise."
        ),
        "why": "Angegebener Grund:",
        "kinds": "Was gefunden wurde",
        "kinds_caption": "Arten von Datensätzen aus {source}",
        "kind": "Art",
        "data_categories": "Arten personenbezogener Daten",
        "file": "Datei",
        "not_stated": "nicht angegeben",
        "record": "Datensatz {n}",
        "records_one": "1 Datensatz",
        "records_many": "{n} Datensätze",
        "showing_all": "Sie werden unten alle gezeigt.",
        "showing_first": "Unten stehen die ersten {n}; alle sind in der Datendatei.",
        "showing_none": "Es sind zu viele, um sie hier zu zeigen; alle sind in der Datendatei.",
        "table_caption": "{kind} aus {source}",
        "open_file": "Datendatei",
        "yes": "ja",
        "no": "nein",
        "none": "leer",
        "cut": "hier gekürzt; der volle Wert steht in der Datendatei",
        "deep": "tiefer verschachtelt; siehe Datendatei",
        "more_fields_one": "und 1 weiteres Feld in der Datendatei",
        "more_fields_many": "und {n} weitere Felder in der Datendatei",
        "more_items_one": "und 1 weiterer Eintrag in der Datendatei",
        "more_items_many": "und {n} weitere Einträge in der Datendatei",
        "back": "Zurück zur Übersicht",
        "about": "Über diese Dateien",
        "about_page": (
            "Diese Seite funktioniert ohne Internet: Sie lädt nichts nach und führt kein Programm aus. "
            "Feldnamen sind so wiedergegeben, wie die Systeme sie verwenden."
        ),
        "about_data": (
            "Der Ordner „data“ enthält jeden Datensatz vollständig, zur Nutzung mit anderer Software: JSON Lines, ein Datensatz je Zeile, in UTF-8."
        ),
        "handed_heading": "Dateien",
        "about_handed": "Der Ordner „files“ enthält, was Menschen so beigefügt haben, wie es vorlag: Dokumente, Bilder, Exporte anderer Systeme.",
        "readme_handed": "Dateien, die unverändert beigefügt wurden, ein Ordner je System",
        "redacted": "[geschwärzt]",
        "redacted_records_one": "1 Datensatz wurde nach Prüfung durch einen Menschen ausgelassen.",
        "redacted_records_many": "{n} Datensätze wurden nach Prüfung durch einen Menschen ausgelassen.",
        "about_manifest": "Die Datei „manifest.json“ nennt jedes System und jede Datei mit Größe, Zahl der Datensätze und SHA-256-Prüfsumme.",
        "about_private": "Diese Dateien enthalten personenbezogene Daten. Bewahren Sie sie so auf, dass nur Sie sie lesen können.",
        "version": "Erstellt mit dsr-sdk {version}",
        "readme_open": "Öffnen Sie index.html in einem beliebigen Browser. Eine Internetverbindung ist nicht nötig.",
        "readme_unpack": "Entpacken Sie zuerst die Zip-Datei: Nur dann funktionieren die Verweise zwischen den Dateien.",
        "readme_contents": "In diesem Paket",
        "readme_index": "die Seite zum Lesen: jedes System, was dort gefunden wurde, und die ersten Datensätze jeder Art",
        "readme_data": "jeder Datensatz vollständig, ein JSON-Objekt je Zeile (JSON Lines, UTF-8), eine Datei je System und Art von Datensatz",
        "readme_manifest": "die Liste aller Systeme und Dateien, mit Anzahlen und SHA-256-Prüfsummen",
        "readme_incomplete": "Diese Kopie ist nicht vollständig. Nicht geprüft werden konnte: {sources}. Siehe index.html.",
    },
}

_REASONS: dict[str, dict[str, str]] = {
    "en": {
        "legal_obligation": "A law requires it",
        "legal_claims": "Needed for legal claims",
        "proof_of_opt_out": "Proof of your objection",
        "security": "Needed for security",
        "public_interest": "In the public interest",
        "contract": "Needed for a contract with you",
        "others_data": "It would disclose other people’s data",
        "vendor_cannot": "The system cannot hand it over",
    },
    "de": {
        "legal_obligation": "Ein Gesetz verlangt es",
        "legal_claims": "Für Rechtsansprüche erforderlich",
        "proof_of_opt_out": "Nachweis Ihres Widerspruchs",
        "security": "Für die Sicherheit erforderlich",
        "public_interest": "Im öffentlichen Interesse",
        "contract": "Für einen Vertrag mit Ihnen erforderlich",
        "others_data": "Es würde Daten anderer Personen offenlegen",
        "vendor_cannot": "Das System kann es nicht herausgeben",
    },
}

_KINDS_OF_SYSTEM: dict[str, dict[str, str]] = {
    "en": {"crm": "Customer relations", "custom": "Own system", "staff": "Staff administration", "identity": "Sign-in and accounts"},
    "de": {
        "advertising": "Werbung",
        "analytics": "Nutzungsanalyse",
        "commerce": "Handel",
        "community": "Community",
        "crm": "Kundenbeziehungen",
        "custom": "Eigenes System",
        "data_platform": "Datenplattform",
        "developer_tools": "Entwicklungswerkzeuge",
        "identity": "Anmeldung und Konten",
        "marketing": "Marketing",
        "payments": "Zahlungen",
        "staff": "Personalverwaltung",
        "support": "Kundendienst",
    },
}

_DATA: dict[str, tuple[str, str]] = {  # Fideslang key: English, German; a key that is not here is told by its nearest ancestor
    "system": ("Technical operation", "Technischer Betrieb"),
    "user": ("Personal data", "Personenbezogene Daten"),
    "user.account": ("Account", "Konto"),
    "user.account.settings": ("Account settings", "Kontoeinstellungen"),
    "user.account.username": ("User name", "Benutzername"),
    "user.authorization": ("Sign-in", "Anmeldung"),
    "user.behavior": ("Behaviour", "Verhalten"),
    "user.behavior.browsing_history": ("Browsing history", "Surfverlauf"),
    "user.behavior.media_consumption": ("Media use", "Mediennutzung"),
    "user.behavior.purchase_history": ("Purchases", "Käufe"),
    "user.behavior.search_history": ("Searches", "Suchverlauf"),
    "user.biometric": ("Biometric data", "Biometrische Daten"),
    "user.childrens": ("Children’s data", "Daten von Kindern"),
    "user.contact": ("Contact details", "Kontaktdaten"),
    "user.contact.address": ("Postal address", "Anschrift"),
    "user.contact.email": ("E-mail address", "E-Mail-Adresse"),
    "user.contact.fax_number": ("Fax number", "Faxnummer"),
    "user.contact.organization": ("Organisation", "Organisation"),
    "user.contact.phone_number": ("Telephone number", "Telefonnummer"),
    "user.contact.url": ("Web address", "Webadresse"),
    "user.content": ("Content you made", "Von Ihnen erstellte Inhalte"),
    "user.content.private": ("Private content", "Private Inhalte"),
    "user.content.public": ("Public content", "Öffentliche Inhalte"),
    "user.content.self_image": ("Pictures of you", "Bilder von Ihnen"),
    "user.criminal_history": ("Criminal record", "Vorstrafen"),
    "user.demographic": ("About you", "Angaben zur Person"),
    "user.demographic.date_of_birth": ("Date of birth", "Geburtsdatum"),
    "user.demographic.gender": ("Gender", "Geschlecht"),
    "user.demographic.language": ("Language", "Sprache"),
    "user.demographic.political_opinion": ("Political opinion", "Politische Meinung"),
    "user.demographic.race_ethnicity": ("Ethnic origin", "Ethnische Herkunft"),
    "user.demographic.religious_belief": ("Religious belief", "Religiöse Überzeugung"),
    "user.demographic.sexual_orientation": ("Sexual orientation", "Sexuelle Orientierung"),
    "user.device": ("Devices", "Geräte"),
    "user.device.cookie": ("Cookies", "Cookies"),
    "user.device.cookie_id": ("Cookies", "Cookies"),
    "user.device.device_id": ("Device identifier", "Gerätekennung"),
    "user.device.ip_address": ("IP address", "IP-Adresse"),
    "user.financial": ("Finances", "Finanzen"),
    "user.financial.bank_account": ("Bank account", "Bankverbindung"),
    "user.financial.credit_card": ("Payment card", "Zahlungskarte"),
    "user.government_id": ("Official identity documents", "Amtliche Ausweise"),
    "user.health_and_medical": ("Health", "Gesundheit"),
    "user.job_title": ("Job title", "Berufsbezeichnung"),
    "user.location": ("Location", "Standort"),
    "user.location.imprecise": ("Approximate location", "Ungefährer Standort"),
    "user.location.precise": ("Precise location", "Genauer Standort"),
    "user.name": ("Name", "Name"),
    "user.name.first": ("First name", "Vorname"),
    "user.name.last": ("Last name", "Nachname"),
    "user.payment": ("Payments", "Zahlungen"),
    "user.privacy_preferences": ("Privacy choices", "Datenschutzeinstellungen"),
    "user.sensor": ("Sensor data", "Sensordaten"),
    "user.social": ("Social network", "Soziales Netz"),
    "user.telemetry": ("Usage measurements", "Nutzungsmesswerte"),
    "user.unique_id": ("Identifiers", "Kennungen"),
    "user.unique_id.pseudonymous": ("Pseudonymous identifiers", "Pseudonyme Kennungen"),
    "user.user_sensor": ("Sensor data", "Sensordaten"),
    "user.workplace": ("Workplace", "Arbeitsplatz"),
}

_MONTHS = {
    "en": ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"),
    "de": ("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"),
}
_DATE = {"en": "{day} {month} {year}", "de": "{day}. {month} {year}"}
_THOUSANDS = {"en": ",", "de": "."}
_POINT = {"en": ".", "de": ","}
_COLUMN = {"en": 0, "de": 1}

LANGUAGES = tuple(_WORDS)
"""The languages a package can be in; the first is used for every other."""


class Texts:
    """The texts of one language, picked by a BCP 47 tag (``de-AT`` speaks German, ``fr`` falls back to English)."""

    def __init__(self, tag: str) -> None:
        language = tag.split("-")[0].casefold()
        self.language = language if language in LANGUAGES else LANGUAGES[0]
        self._words = _WORDS[self.language]

    def get(self, key: str, /, **values: object) -> str:
        """A text with its words filled in."""
        return self._words[key].format(**values)

    def count(self, key: str, n: int) -> str:
        """A text that says how many: ``1 record``, ``1,204 records``."""
        return self.get(f"{key}_one" if n == 1 else f"{key}_many", n=self.number(n))

    def number(self, n: int) -> str:
        """A whole number with the language's thousands mark."""
        return f"{n:,}".replace(",", _THOUSANDS[self.language])

    def size(self, n: int) -> str:
        """A file size in round numbers."""
        if n < 1000:
            return f"{n} B"
        size, unit = n / 1000, "KB"
        for larger in ("MB", "GB", "TB"):
            if size >= 999.5:
                size, unit = size / 1000, larger
        return f"{size:.1f}".removesuffix(".0").replace(".", _POINT[self.language]) + f" {unit}"

    def date(self, moment: datetime) -> str:
        """The day, as the language writes it (UTC)."""
        day = moment.astimezone(UTC)
        return _DATE[self.language].format(day=day.day, month=_MONTHS[self.language][day.month - 1], year=day.year)

    def reason(self, reason: str) -> str:
        """Why something is withheld."""
        return _REASONS[self.language].get(reason) or humanise(reason)

    def system(self, category: str) -> str:
        """What kind of product a data source is."""
        return _KINDS_OF_SYSTEM[self.language].get(category) or humanise(category)

    def data(self, categories: Iterable[str]) -> tuple[str, ...]:
        """Fideslang categories in the reader's words, each once."""
        return tuple(dict.fromkeys(self._data(category) for category in categories))

    def _data(self, category: str) -> str:
        key = category
        while key not in _DATA and "." in key:
            key = key.rpartition(".")[0]
        return _DATA[key][_COLUMN[self.language]] if key in _DATA else humanise(category)
