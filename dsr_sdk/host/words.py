"""What people read for our codes: in the portal, in histories and in records. One place, so that they say the same."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dsr_sdk.host.host import Host

__all__ = ["MAIL_KINDS", "STATES", "WORDS", "channel_words", "resource_title", "vendor_title", "words"]

WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # types
        "deletion": "Deletion",
        "copy": "Copy",
        "do_not_sell": "Do not sell",
        "do_not_mail": "Do not mail",
        "right_to_edit": "Right to edit",
        # channels
        "privacy_center": "Privacy center",
        "mine_app": "Consumer app",
        "api": "API",
        "import": "Import",
        "email": "E-mail",
        # regimes
        "eu_gdpr": "EU GDPR",
        "uk_gdpr": "UK GDPR",
        "us_ca_ccpa": "California CCPA",
        "us_ca_delete_act_drop": "California Delete Act",
        "br_lgpd": "Brazil LGPD",
        "ca_pipeda": "Canada PIPEDA",
        "ca_qc_law25": "Quebec Law 25",
        "au_app": "Australia Privacy Act",
        "ch_fadp": "Switzerland FADP",
        "in_dpdp": "India DPDP",
        "kr_pipa": "South Korea PIPA",
        "tw_pdpa": "Taiwan PDPA",
        "sg_pdpa": "Singapore PDPA",
        "th_pdpa": "Thailand PDPA",
        "za_popia": "South Africa POPIA",
        "sa_pdpl": "Saudi Arabia PDPL",
        "tr_kvkk": "Türkiye KVKK",
        "nz_pa2020": "New Zealand Privacy Act",
        # reasons
        "insuf_verification": "Identity not verified",
        "suspected_fraud": "Suspected fraud",
        "no_match": "No data found",
        "claim_not_covered": "Not covered",
        "outside_jurisdiction": "Outside the law's territory",
        "too_many_requests": "Too many requests",
        # categories
        "crm": "CRM",
        # roles, methods
        "data_privacy": "Data privacy",
        "read_only": "Read only",
        "oauth": "Sign-in (OAuth)",
        "app_data": "App data only",
        "account": "Account and all data",
    }
)
"""What people read for codes that do not read well by themselves; `words` makes the rest from the code."""


MAIL_KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "reply": "Reply",
        "message": "Message to the person",
        "verify": "Verification e-mail",
        "code": "Code for the copy",
        "copy": "Link to the copy",
        "receipt": "Confirmation of receipt",
        "invite": "Invitation or request for help",
        "notice": "Notice",
    }
)
"""What people read for kinds of mail."""


STATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "not_searched": "Not searched yet",
        "searching": "Searching",
        "found": "Data found",
        "ambiguous": "Several identifiers",
        "could_not_check": "Could not be checked",
        "unsupported": "Does not do this",
        "email_ready": "E-mail not sent yet",
        "email_sent": "E-mail sent",
        "in_doubt": "Nobody knows whether it was sent",
        "by_hand": "To be done by hand",
        "retained": "Kept by law",
        "reappeared": "Found again",
        "overridden": "Went on without it",
        "accepted": "Accepted, not waited for",
    }
)
"""How a data source stands in a case; `words` makes the rest from the code."""


def words(code: object) -> str:
    """What people read for a code: ``do_not_sell`` becomes *Do not sell*."""
    text = str(code)
    if text in WORDS:
        return WORDS[text]
    if text.startswith("us_") and len(text) == 5:
        return f"US {text[3:].upper()}"
    plain = text.replace("_", " ")
    return plain[:1].upper() + plain[1:]


def channel_words(code: object) -> str:
    """How a request came in. Not *Agent*, which is who works it."""
    return "Letter or phone" if str(code) == "agent" else words(code)


def resource_title(host: Host, source: str, resource: str) -> str:
    """What a data source calls a kind of record, for people: *payments* for ``payment_intent``; the name in plain letters where none is said."""
    configured = host.registry.sources.get(source)
    holds = configured.connector.holds if configured else ()
    return next((held.title for held in holds if held.resource == resource and held.title), resource.replace("_", " "))


def vendor_title(host: Host, vendor: str) -> str:
    """What a vendor is called: *HubSpot* for ``hubspot``."""
    known = (source.connector for source in host.registry.sources.values())
    return next((connector.title for connector in known if connector.slug == vendor), words(vendor))
