"""The standard checks, by what they are about. `dsr_sdk.testing.suite.ConnectorSuite` is all of them; ``docs/testing/checks.md`` is their page."""
