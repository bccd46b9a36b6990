"""The standard tests of a connector: an author subclasses `ConnectorSuite`, names connector and sandbox, and runs pytest.

    class TestAcme(ConnectorSuite):
        connector = Acme
        sandbox = AcmeSandbox
        cassettes = Path(__file__).parent / "cassettes"

Each check's docstring says what it means and how to mend a failure; ``docs/testing/checks`` has a page for each. No check may be removed or
replaced. What a vendor truly does otherwise is declared: in the connector, in `expected_faults`, or, when a check cannot hold at all, in the
connector's ``exempt`` with the reason. An exempt check is run all the same and expected to fail.
"""

from __future__ import annotations

from dsr_sdk.testing.checks.batches import Batches
from dsr_sdk.testing.checks.copying import Copying
from dsr_sdk.testing.checks.declaring import Declaring
from dsr_sdk.testing.checks.erasing import Erasing
from dsr_sdk.testing.checks.evidence import Evident
from dsr_sdk.testing.checks.faulty import Faulty
from dsr_sdk.testing.checks.finding import Finding
from dsr_sdk.testing.checks.jobs import Jobs
from dsr_sdk.testing.checks.pace import Pace
from dsr_sdk.testing.checks.packaging import Packaging
from dsr_sdk.testing.checks.privacy import Privacy

__all__ = ["ConnectorSuite"]


class ConnectorSuite(Packaging, Evident, Privacy, Pace, Faulty, Copying, Jobs, Batches, Erasing, Finding, Declaring):
    """Base class of a connector's tests; its attributes and the three methods an author may override (`identity`, `settle`, `fail_jobs`) are
    those of `dsr_sdk.testing._bench.Bench`."""
