"""What each event of the audit log says, in a sentence: for histories and records, which people read who were not there.

A sentence is made of the event and its data, which hold no personal data. The test of this module finds every event that the code base
notes, and demands words for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dsr_sdk.host.words import MAIL_KINDS, STATES, words

__all__ = ["SENTENCES", "sentence"]

_DONE_TO: Final = {"erase": "the deletion", "export": "the export", "opt_out": "the opt-out", "email": "the letter", "manual": "the work by hand"}

SENTENCES: Final[Mapping[str, str]] = {
    # --- the request
    "request.received": "The request was received ({type}, by {channel}).",
    "request.entered": "The request was entered by an agent.",
    "request.read": "The request was opened and read.",
    "request.duplicate": "The same person is waiting for the same thing in {of}.",
    "request.merged": "{duplicate} was closed as a duplicate of this request.",
    "request.reopened": "The request was opened again: data was found again at {source}.",
    "request.failed_late": "The request was opened again: {source} had accepted it, and failed after processing had ended.",
    "request.fulfilled": "Every data source has given its final answer.",
    "stage.review": "The request is in review; it is due on {due_at}.",
    "stage.process": "The request was accepted and is being processed.",
    "stage.reply": "The request went on to the reply{step}.",
    "stage.closed": "The request was closed.",
    "case.assigned": "The request was assigned to {agent}.",
    "case.shredded": "The personal data of this request was destroyed in our own store.",
    "identity.verified": "The person's identity was verified ({method}).",
    "identity.added": "An identifier was added ({kind}).",
    "identity.carried": "Identifiers were taken over from {of} ({identities}).",
    "deadline.extended": "The time was extended to {due_at}: {because}",
    "deadline.paused": "The clock was stopped: {because}",
    "address.confirmed": "The person confirmed their e-mail address.",
    "deadline.resumed": "The clock goes on after {days} days; the request is due on {due_at}.",
    "deadline.restarted": "The clock began anew; the request is due on {due_at}.",
    # --- finding and acting
    "sources.chosen": "Data sources were chosen: {sources}.",
    "sources.given_free": "Data sources were given free: {sources}.",
    "source.searched": "{source} was searched: {found} found.",
    "source.unticked": "{source} was unticked; nothing was taken back.",
    "source.not_awaited": "It was decided not to wait for {source}, which has accepted the request.",
    "source.overridden": "Responsibility was taken for going on without {source}. It stood at: {state}.",
    "source.confirmed": "{source} was marked as done.",
    "plan.made": "It was worked out what is to be done at each data source.",
    "plan.approved": "What is to be done was approved.",
    "processing.confirmed": "It was confirmed: {text}.",
    "tasks.retried": "What had failed was tried again ({count}).",
    "erase.erased": "Data was deleted at {source} ({resource}).",
    "erase.anonymized": "Data was anonymised at {source} ({resource}).",
    "erase.absent": "Data was gone already at {source} ({resource}).",
    "erase.retained": "Data is retained at {source} ({resource}).",
    "opt_out.opted_out": "The person was opted out at {source} ({resource}).",
    "data.exported": "Data was collected from {source} ({resource}, {records} records).",
    "erasure.verified": "{source} was searched again: nothing is left of what was deleted.",
    "erasure.reappeared": "{source} was searched again: {count} found after the deletion.",
    "find.failed": "{source} could not be searched ({error}).",
    "verify.failed": "{source} could not be searched again after the deletion ({error}).",
    "gap.failed": "{source} could not be checked ({error}).",
    "letter.sent": "{text}",  # word for word as product document 002 has it
    "letter.cancelled": "The letter to {source} was cancelled before it was sent.",
    "letter.in_doubt": "Nobody knows whether the letter to {source} was sent.",
    "letter.confirmed_sent": "It was confirmed that the letter to {source} was sent.",
    **{f"{action}.accepted": f"{{source}} has accepted {what} ({{resource}})." for action, what in _DONE_TO.items()},
    **{f"{action}.failed": f"At {{source}} {what} failed ({{resource}}, {{error}})." for action, what in _DONE_TO.items()},
    # --- copies and files
    "copy.made": "A copy was written.",
    "copy.generated": "The copy for the person was generated.",
    "copy.downloaded": "The copy was looked at by an agent.",
    "copy.offered": "A link to the copy was made for the person.",
    "copy.code_sent": "A code for the copy was sent to the person's verified address.",
    "copy.confirmed": "The person gave the right code for the copy.",
    "copy.started": "The person began to download the copy ({left} tries left).",
    "copy.broken_off": "The download of the copy broke off after {bytes} of {of} bytes ({left} tries left).",
    "copy.delivered": "The person has fetched the copy.",
    "copy.redacted": "Something was left out of the copy ({source}, {resource}).",
    "copy.restored": "Something left out was put back into the copy ({source}, {resource}).",
    "file.attached": "A file was attached ({purpose}).",
    "file.read": "A file was opened ({purpose}).",
    "file.removed": "A file was removed.",
    # --- talking with the person
    "message.written": "A message was written to the person.",
    "message.received": "The person has answered.",
    "messages.read": "New answers were read ({count}).",
    "note.added": "A note was written.",
    "identity.asked": "The person was asked to prove who they are ({method}).",
    "reply.edited": "The reply was edited.",
    "reply.sent": "The reply was sent.",
    "reply.not_sent": "The reply could not be sent ({error}).",
    "reply.none": "No reply was sent, for a reason that stands in the record.",
    "link.made": "A link for the person was made ({purpose}).",
    "link.used": "The person has used a link ({purpose}).",
    "link.wrong_code": "A wrong code was given ({purpose}, {left} tries left).",
    "mail.sent": "An e-mail was sent ({kind}).",
    "mail.failed": "An e-mail could not be sent ({kind}, {error}).",
    "mail.put_off": "An e-mail could not be sent yet ({kind}, {error}).",
    "mail.in_doubt": "Nobody knows whether an e-mail was sent ({kind}).",
    "mail.confirmed_sent": "It was confirmed that an e-mail was sent ({kind}).",
    "mail.resent": "An e-mail was sent once more ({kind}).",
    # --- records
    "record.exported": "The record of this request was taken away as {format}.",
    # --- the host's own: accounts, keys, data sources
    "account.created": "The account {account} was made ({role}).",
    "account.renamed": "The account {account} was renamed.",
    "account.role_changed": "The role of {account} was changed from {was} to {role}.",
    "account.activated": "The account {account} was activated again.",
    "account.deactivated": "The account {account} was deactivated.",
    "account.password_set": "The password of {account} was set.",
    "account.unlocked": "The lock of {account} was ended.",
    "account.locked": "{account} was locked after too many failures.",
    "account.second_factor_on": "{account} has a second factor now.",
    "account.second_factor_off": "The second factor of {account} was taken away.",
    "account.recovery_code_used": "A recovery code was used; {left} are left.",
    "account.signed_in": "Signed in ({how}).",
    "account.signed_out_everywhere": "Every session of {account} was ended.",
    "account.invited": "{account} was invited to set a password.",
    "account.first_offered": "A token for the first admin was made.",
    "api_key.made": "The API key {name} was made ({role}).",
    "api_key.revoked": "API key {id} was revoked.",
    "template.archived": "The template {template} was put away.",
    "template.saved": "The template {template} was saved.",
    "inventory.added": "The system {system} was added.",
    "inventory.removed": "The system {system} was removed.",
    "inventory.changed": "The system {system} was changed.",
    "inventory.handling": "Whether {system} takes part in request handling was changed.",
    "inventory.activated": "{system} was activated.",
    "inventory.deactivated": "{system} was deactivated.",
    "inventory.checked": "The connection to {system} was checked.",
    "inventory.help_asked": "A colleague was asked to help with connecting {system}.",
    "inventory.help_answered": "A colleague has proposed settings for {system}.",
    "inventory.help_taken": "The proposed settings for {system} were taken over.",
    "inventory.help_dropped": "The proposed settings for {system} were dropped.",
    "inventory.accepted": "The proposed system {system} was accepted.",
    "inventory.dismissed": "The proposed system {system} was dismissed.",
    "inventory.discovered": "Systems were looked for: {found} found, {new} of them new.",
}
"""Event -> sentence. Names in braces are of the event's data; ``source`` is replaced by the data source's title."""


class _Data(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "" if key == "step" else "-"


def sentence(event: str, data: Mapping[str, Any], titles: Mapping[str, str] | None = None) -> str:
    """What an event says.

    Args:
        titles: Data source -> its title.
    """
    pattern = SENTENCES.get(event)
    if pattern is None:  # noted by a newer SDK, or by a host application of its own
        return event.replace(".", ": ").replace("_", " ")
    named = titles or {}
    said = _Data({key: _said(key, value, named) for key, value in data.items()})
    return pattern.format_map(said)


_STEPS: Final = {
    "finish": ": processing is done",
    "reject": ": it was rejected",
    "withdraw": ": the person has taken it back",
    "merge": ": it is a duplicate",
}
_ERRORS: Final = {
    "AuthError": "the login was refused",
    "TransientError": "no answer, or put off",
    "RejectedError": "refused",
    "ContractError": "unexpected answer",
    "ConfigError": "not set up",
    "RequestError": "cannot be addressed",
}
_KINDS: Final = {"controller_id": "customer id", "vendor_id": "id at the vendor", "email": "e-mail address", "phone": "phone number", "name": "name"}
_CODES: Final = frozenset({"type", "channel", "scope"})


def _coded(key: str, value: str) -> str | None:
    """What people read for a code; None for what is none."""
    if key == "step":
        return _STEPS.get(value, "")
    if key == "state":
        return (STATES.get(value) or words(value)).lower()
    if key == "error":
        return _ERRORS.get(value, value)
    if key == "kind":
        return _KINDS.get(value) or MAIL_KINDS.get(value) or words(value)
    if key in ("method", "purpose", "how"):
        said = words(value)
        return said if said[:2].isupper() else said[:1].lower() + said[1:]
    if key in ("resource", "role", "was"):
        return value.replace("_", " ")
    return words(value) if key in _CODES else None


def _said(key: str, value: Any, titles: Mapping[str, str]) -> str:
    if isinstance(value, str) and (coded := _coded(key, value)) is not None:
        return coded
    if key == "due_at":
        return str(value)[:10]
    if key == "source":
        return titles.get(str(value), str(value))
    if isinstance(value, list):
        return ", ".join(titles.get(str(item), str(item)) for item in value) or "none"
    if value is None:
        return "nobody" if key == "agent" else "-"
    return str(value)
