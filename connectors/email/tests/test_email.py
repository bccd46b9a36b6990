"""The e-mail integration: what it declares, when it can be activated, and the letter it writes."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from dsr_connector_email import EmailIntegration
from pydantic import ValidationError

from dsr_sdk import ConfigError, MissingIdentityError, Process, RequestType, Subject, UnsupportedError, Verb
from dsr_sdk.mail import Letter, Letterhead
from dsr_sdk.registry import Registry
from dsr_sdk.testing.suite import ConnectorSuite

HEAD = Letterhead(company="Example GmbH", domain="requests.example.org", agent="agent@example.com", cc="support@example.net")
ADA = Subject.of("ada@example.com", first_name="Ada", last_name="Lovelace")
ACME = {"vendor": "Acme", "privacy_address": "privacy@acme.example", "active": True}


def opened(**settings: Any) -> tuple[Registry, EmailIntegration]:
    """The data source as a host opens it."""
    registry = Registry(points=[EntryPoint("email", "dsr_connector_email:EmailIntegration", "dsr_sdk.connectors")])
    connector = registry.open("acme", "email", settings).connector
    assert isinstance(connector, EmailIntegration)
    return registry, connector


def letter(subject: Subject = ADA, kind: RequestType = RequestType.DELETION, **changed: Any) -> Letter:
    """The letter through the hook, as the engine asks for it."""
    registry, _ = opened(**{**ACME, **changed})
    written: Letter = registry.caller("dsr_email", "acme")(source="acme", subject=subject, type=kind, letterhead=HEAD)
    return written


class TestEmailSuite(ConnectorSuite):
    """The tests every connector has to pass, as far as nothing is called: declaration and packaging."""

    connector = EmailIntegration


def test_declaration() -> None:
    """Reached by e-mail, found by e-mail address, and every other verb is excused."""
    assert EmailIntegration.process is Process.EMAIL
    assert EmailIntegration.supports(Verb.EMAIL) is None
    assert all(EmailIntegration.supports(verb) for verb in (Verb.ERASE, Verb.EXPORT, Verb.OPT_OUT))
    assert [kind.__name__ for kind in EmailIntegration.identified_by] == ["Email"]


def test_letter() -> None:
    """To the vendor's privacy address, with its name, the four facts, and the copy."""
    written = letter()
    assert (written.to, written.cc, written.sender) == ("privacy@acme.example", "support@example.net", "example-gmbh@requests.example.org")
    assert written.body.startswith("Dear Acme privacy team,\n")
    assert "    Type of request: Deletion\n    First name: Ada\n    Last name: Lovelace\n    E-mail: ada@example.com\n" in written.body


def test_copy_switched_off() -> None:
    """The support team need not learn who asked."""
    assert letter(cc_support=False).cc is None


@pytest.mark.parametrize("kind", [kind for kind in RequestType if kind is not RequestType.DELETION])
@pytest.mark.parametrize("active", [True, False])
def test_deletion_only(kind: RequestType, active: bool) -> None:
    """Every other type is refused, activated or not."""
    with pytest.raises(UnsupportedError, match=r"^acme: .*only ask for deletion"):
        letter(kind=kind, active=active)


def test_off_until_activated() -> None:
    """A configured vendor is not written to before somebody says so."""
    _, connector = opened(vendor="Acme", privacy_address="privacy@acme.example")
    assert (connector.config.active, connector.config.cc_support) == (False, True)
    with pytest.raises(ConfigError, match=r"^acme: active: .*not activated"):
        letter(active=False)


def test_not_activable_without_an_address() -> None:
    """It may be noted down without one; activating it says what is missing."""
    opened(vendor="Acme")
    with pytest.raises(ConfigError, match=r"^sources\.acme: .*cannot be activated without privacy_address"):
        opened(vendor="Acme", active=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vendor", "Acme\r\nBcc: evil@example.com"),
        ("vendor", ""),
        ("vendor", "x" * 101),
        ("privacy_address", "evil@example.com\r\nBcc: evil@example.com"),
        ("privacy_address", "evil@example.com, evil@example.net"),
        ("privacy_address", ""),
    ],
)
def test_wrong_settings(field: str, value: str) -> None:
    """Refused when the data source is opened, by name and without the value."""
    with pytest.raises(ConfigError, match=f"sources.acme.{field}") as caught:
        opened(**{**ACME, field: value})
    assert "evil" not in str(caught.value)


def test_vendor_is_required() -> None:
    """A data source without a name is nobody's."""
    with pytest.raises(ValidationError):
        EmailIntegration()


def test_subject_without_address() -> None:
    """The vendor could not know who is meant."""
    with pytest.raises(MissingIdentityError):
        letter(Subject.of(phone="+4915112345678"))


def test_finds_nothing_out() -> None:
    """Nobody has looked: that is an error and not an empty answer, which would read as a clean result."""
    registry, _ = opened(**ACME)
    with pytest.raises(UnsupportedError):
        registry.caller("dsr_find", "acme")(source="acme", api=None, subjects=[ADA])
