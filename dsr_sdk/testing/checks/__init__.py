"""The standard checks, by what they are about. `dsr_sdk.testing.suite.ConnectorSuite` is all of them; each has a page in ``docs/testing/checks``."""
