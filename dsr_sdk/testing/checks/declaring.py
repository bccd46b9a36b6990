"""Declaration: what a connector says about itself is complete, and is what it does."""

from __future__ import annotations

from urllib.parse import urlsplit

import pluggy
import pytest
from pydantic import SecretStr

from dsr_sdk import hookspecs
from dsr_sdk._declaration import check_declaration
from dsr_sdk.connector import Connector, Process, Verb
from dsr_sdk.errors import AuthError, DsrError
from dsr_sdk.testing._bench import OTHER, Bench, altered, require
from dsr_sdk.testing._standard import standard_checks
from dsr_sdk.testing._tape import hosts_of
from dsr_sdk.testing.scenario import erase_all
from dsr_sdk.testing.scrub import is_secret_key

__all__ = ["Declaring"]


class Declaring(Bench):
    """The part of `ConnectorSuite` about what is declared."""

    def test_declaration(self) -> None:
        """The class declares all it must: slug, title, category, what it holds in categories that Fideslang knows, each verb or its excuse.

        Mend: the message names everything that is missing."""
        check_declaration(self.connector)
        for cls in self.connector.__mro__[: self.connector.__mro__.index(Connector)]:
            hooks = [name for name in vars(cls) if name.startswith("dsr_")]
            require(not hooks, f"{cls.__name__} overrides {', '.join(hooks)}: hooks are final, write the verbs instead")
        if self.connector.process is Process.AUTOMATED:
            require(self.sandbox is not None, "give the suite a sandbox")
        if self.sandbox is not None:
            require(self.sandbox.slug == self.connector.slug, "sandbox and connector have different slugs")

    def test_exemptions(self) -> None:
        """Each check from which the connector is exempt is one of the suite, and is exempt for a reason.

        Mend: name the check as its page does, without ``test_``; say in a sentence why it cannot hold for this vendor."""
        known = standard_checks(type(self))
        for name, reason in self.connector.exempt.items():
            require(name.partition("[")[0] in known, f"exempt names {name}, which is no check")
            require(bool(reason.strip()), f"exempt gives no reason for {name}")

    def test_hooks_are_carried(self) -> None:
        """pluggy accepts the connector as a plugin: every hook it implements exists, with the right parameters.

        Mend: write verbs, and no method whose name begins with ``dsr_``."""
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        plugin = self.connector(self._config()) if self.sandbox is not None else self.connector
        odd = [name for name in dir(plugin) if name.startswith("dsr_") and not hasattr(hookspecs, name)]
        require(not odd, f"{', '.join(odd)}: there is no such hook")
        manager.register(plugin, self.connector.slug)
        manager.check_pending()

    def test_settings_hide_secrets(self) -> None:
        """A setting that holds a secret is a `SecretStr`, so that no ``repr``, log or dump shows it.

        Mend: ``api_key: SecretStr``; ``.get_secret_value()`` only where a request is signed, better still one of the classes of `dsr_sdk.http`."""
        fields = self.connector.Config.model_fields.items()
        plain = [name for name, field in fields if is_secret_key(name) and "SecretStr" not in str(field.annotation)]
        require(not plain, f"the settings {', '.join(plain)} hold secrets and are no SecretStr")
        used = {name for name in (self.sandbox.credentials if self.sandbox else {}) if name not in self.connector.Config.model_fields}
        require(not used, f"the sandbox's credentials name {', '.join(sorted(used))}, which is no setting")

    def test_hosts(self) -> None:
        """Every request goes to a host that is declared, by https, and to the configured base URL where there is one.

        Mend: paths begin with a slash and come after ``base_url``; a second host of the vendor stands in ``hosts``; build no URL by hand."""
        source = self.connector(self._config())
        declared = hosts_of(source)
        for sent in self._tour().sent:
            parts = urlsplit(sent.url)
            require(parts.hostname in declared, f"{sent.call} goes to a host that is not declared (declared: {', '.join(declared)})")
            require(parts.scheme == "https", f"{sent.call} goes over {parts.scheme}")
        path = urlsplit(source.base_url).path
        config = self._config().model_copy(update={"base_url": f"https://elsewhere.example{path}"})
        allowed = {"elsewhere.example", *declared} - {urlsplit(source.base_url).hostname}
        with self._tapped(self.person, config=config) as (w, passed):
            self._find(w, self.person)
            strays = sorted({one.call for one in passed if urlsplit(one.url).hostname not in allowed})
            require(not strays, f"{', '.join(strays)}: not sent to the configured base_url, so no sandbox and no region would be reached")

    def test_resources(self) -> None:
        """Every resource in ``holds`` is found or copied for the suite's person, or goes along with one that is: nothing is declared on paper only.

        Mend: let the suite's ``person`` have one of each (``extra={"acme": {...}}``, as your sandbox understands it), or strike it from ``holds``."""
        tour = self._tour()
        seen = tour.found | tour.copied
        missing = [holds.resource for holds in self.connector.holds if holds.resource not in seen and holds.erased_with not in seen]
        require(not missing, f"declared in holds and never found, copied or erased with another: {', '.join(missing)}")

    def test_check(self) -> None:
        """The check answers the operator a line, after asking the vendor, and changes nothing.

        Mend: let `check` make one call that only reads and needs the credentials."""
        with self._world(self.person) as w:
            require(w.connector.dsr_check(w.http.api()).strip() != "", "check answered nothing")
            require(not hasattr(w.connector, "check") or bool(w.http.log), "check asks the vendor nothing, so it proves nothing")
            require(not w.effects, "check had an effect at the vendor")
            require(w.sandbox.holds(self.person.email), "check removed a person")

    def test_wrong_credentials(self) -> None:
        """Wrong credentials are an `AuthError` while finding and an error while erasing, never an answer.

        Mend: let the error of ``api`` through; a vendor that says so with another status is read in `problem`."""
        config = self._config()
        secrets = {name: value for name in type(config).model_fields if isinstance(value := getattr(config, name), SecretStr) and value}
        if not secrets:
            pytest.skip("the connector has no secrets")
        with self._world(self.person) as w:
            matches = self._find(w, self.person)
        wrong = config.model_copy(update={name: SecretStr(altered(value.get_secret_value())) for name, value in secrets.items()})
        expected = self.expected_faults.get(("find", "status 401"), AuthError) or AuthError
        with self._world(self.person, OTHER, config=wrong) as w:
            try:
                found = self._find(w, self.person)
            except expected:
                pass
            else:
                raise AssertionError(f"with wrong credentials find answers {len(found)} matches, as if it had looked")
            for _, result in erase_all(w.connector, w.http, matches) if self._able(Verb.ERASE) else ():
                require(isinstance(result, DsrError), f"erasing with wrong credentials answered {type(result).__name__}")
