"""The tables that turn a host into a desk: ``[workflow]`` and ``[privacy_center]``, written into ``dsr.toml`` with what they mean."""

from __future__ import annotations

from pathlib import Path

from dsr_sdk.host.config import read_config
from dsr_sdk.host.editing import write_config

__all__ = ["add_workflow"]

_WORKFLOW = """\

# Requests go through review, process, reply and close, on the command line (dsr case) and in the portal (dsr serve).
[workflow]
# regime = "eu_gdpr"                      # the law of requests whose country tells none
# public_url = "https://privacy.example.com"  # where people reach the portal: links in mails begin with it
# holidays = ["2026-12-25", "2026-12-26"] # no working days, beside Saturdays and Sundays
# due_soon_days = 7
# link_days = 14                          # how long a link to answer or to verify an address holds
# copy_days = 7                           # how long the link to a copy holds
# keep_days = 1095                        # shred cases that are closed for longer; without, they are kept
"""
_PRIVACY_CENTER = """\

# The public form, at /privacy. enabled = false takes it away.
[privacy_center]
languages = ["en", "de", "fr", "es"]
# policy_url = "https://www.example.com/privacy"
# types = ["deletion", "copy", "do_not_sell", "do_not_mail", "right_to_edit"]
#
# [[privacy_center.fields]]               # what the form asks beside name, address and type of request
# name = "customer_number"
# label = { en = "Customer number", de = "Kundennummer" }
"""


def add_workflow(path: Path) -> list[str]:
    """Add the tables that a ``dsr.toml`` does not have yet; their names. Nothing else in the file is touched.

    Raises:
        ConfigError: The file is wrong, or cannot be written.
    """
    config = read_config(path)
    text = path.read_text(encoding="utf-8")
    tables = {"workflow": _WORKFLOW, "privacy_center": _PRIVACY_CENTER}
    missing = [
        name for name in tables if name not in (config.model_fields_set if name == "privacy_center" else {"workflow"} if config.workflow else ())
    ]
    if missing:
        write_config(path, text.rstrip("\n") + "\n" + "".join(tables[name] for name in missing))
        read_config(path)  # the file as it is now can be read
    return missing
