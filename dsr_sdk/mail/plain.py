"""A plain mail to one person: what an agent or a template wrote, made fit for a mail without changing a word. No I/O."""

from __future__ import annotations

import re
import textwrap
import unicodedata

from dsr_sdk.errors import RequestError
from dsr_sdk.mail.compose import Letter, Letterhead
from dsr_sdk.mail.headers import checked_address, checked_header

__all__ = ["MAX_BODY", "plain_body", "plain_letter", "plain_subject"]

MAX_BODY = 50_000
"""Characters a body may have."""

_BREAKS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")
_LONGEST_LINE = 1_500


def plain_body(text: str, *, limit: int = MAX_BODY, field: str = "body") -> str:
    """The text with ``\\n`` as its only line break and without blank lines around it; a paragraph no mail could carry in one line is broken.

    Raises:
        RequestError: It is empty, too long, or holds a control character. The message does not repeat it.
    """
    text = _DIRECTION.sub("", unicodedata.normalize("NFC", _BREAKS.sub("\n", text))).expandtabs(4).strip("\n ")
    if not text.strip():
        raise RequestError("is empty", field=field)
    if len(text) > limit:
        raise RequestError(f"is longer than {limit} characters", field=field)
    if any(character != "\n" and unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise RequestError("holds a control character", field=field, fix="type the line again instead of pasting it")
    lines = []
    for line in text.split("\n"):
        line = line.rstrip()
        if len(line) > _LONGEST_LINE:
            lines.extend(textwrap.wrap(line, _LONGEST_LINE, break_on_hyphens=False))
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def plain_subject(text: str, *, field: str = "subject") -> str:
    """The subject as it may stand in a header.

    Raises:
        RequestError: It is empty, too long, or would become more than one header. The message does not repeat it.
    """
    try:
        return checked_header(text)
    except ValueError as error:
        problem = str(error)
    raise RequestError(problem, field=field)


def plain_letter(letterhead: Letterhead, *, to: str, subject: str, body: str) -> Letter:
    """The mail: from the company, answers to its agent's address, no copies.

    Raises:
        RequestError: The address, the subject or the body cannot be used. The message repeats none of them.
    """
    try:
        to = checked_address(to)
    except ValueError as error:
        problem = str(error)
    else:
        return Letter(
            to=to,
            sender=letterhead.sender,
            sender_name=letterhead.company,
            reply_to=letterhead.agent,
            subject=plain_subject(subject),
            body=plain_body(body),
        )
    raise RequestError(problem, field="to", fix="reach the person another way")
