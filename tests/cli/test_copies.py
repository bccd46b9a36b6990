"""``dsr copy`` and ``dsr copy-verify``."""

from __future__ import annotations

import zipfile

from dsr_sdk.testing import Fault, SandboxServer
from tests.cli.conftest import Dsr


def test_copy(dsr: Dsr, shop: SandboxServer) -> None:
    """The package is written, counted, and fixed by the hash of its manifest, which the audit log has, too."""
    case = dsr.case(type="copy")
    dsr("run", case, "--yes")
    ran = dsr("copy", case, "--out", "copy.zip")
    assert "wrote copy.zip: 4 records from 1 data sources" in ran.out
    sha = ran.out.split()[-1]
    assert sha in str(dsr("history", case, "--json").json)
    assert zipfile.is_zipfile(dsr.directory / "copy.zip")
    assert dsr("copy-verify", "copy.zip").out == "copy.zip: ok\n"
    assert "say --overwrite" in dsr("copy", case, "--out", "copy.zip", code=3).err
    again = dsr("copy", case, "--out", "copy.zip", "--overwrite", "--json").json
    assert (again["records"], again["complete"], again["could_not_check"]) == (4, True, [])


def test_an_incomplete_copy(dsr: Dsr, shop: SandboxServer) -> None:
    """A source that could not be asked is named, and the exit code is 1."""
    case = dsr.case("bob@example.org", type="copy")
    shop.sandbox.faults = [Fault("status", status=422, on="/v1/contacts/")]
    dsr("run", case, "--yes", code=1)
    ran = dsr("copy", case, "--out", "copy.zip", code=1)
    assert "not complete: shop: " in ran.out


def test_copy_errors(dsr: Dsr, shop: SandboxServer) -> None:
    """No copy request, nothing collected, nowhere to write."""
    assert "is not a copy request" in dsr("copy", dsr.case(), "--out", "x.zip", code=2).err
    case = dsr.case(type="copy")
    assert "nothing was collected yet" in dsr("copy", case, "--out", "x.zip", code=5).err
    assert "Missing option '--out'" in dsr("copy", case, code=2).err
    dsr("run", case, "--yes")
    assert "does not exist" in dsr("copy", case, "--out", "nowhere/x.zip", code=3).err


def test_a_package_that_was_changed(dsr: Dsr, shop: SandboxServer) -> None:
    """Verification needs no host, and says what is wrong."""
    (dsr.directory / "bad.zip").write_bytes(b"no zip")
    assert "bad.zip: it is not a readable zip file" in dsr("copy-verify", "bad.zip", code=1).out
    assert dsr("copy-verify", "nosuch.zip", "--json", code=1).json["problems"] == ["there is no such file"]
