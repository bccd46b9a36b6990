"""``dsr submit``, and how requests are read."""

from __future__ import annotations

import json
import re

import pytest

from tests.cli.conftest import Dsr, request, requests_file

CASE = re.compile(r"DSR(-[0-9A-Z]{4}){4}")


def test_from_options(dsr: Dsr) -> None:
    """One request from options; its case number is all of standard output."""
    ran = dsr(
        *("submit", "--type", "deletion", "--email", "Ada@Example.com", "--email", "ada2@example.com", "--phone", "+49 171 3920012"),
        *("--first-name", "Ada", "--user-id", "user-1", "--vendor-id", "toyshop=c1", "--scope", "app_data", "--regime", "eu_gdpr"),
        *("--country", "DE", "--language", "de", "--reference", "r1"),
    )
    assert CASE.fullmatch(ran.out.strip())
    assert f"next: dsr plan {ran.out.strip()}" in ran.err
    shown = dsr("case", "show", ran.out.strip(), "--json", secret=False).json
    assert [row["kind"] for row in shown["subject"]["identities"]] == ["email", "email", "phone", "controller_id", "vendor_id", "name"]
    assert (shown["scope"], shown["regime"], shown["channel"], shown["language"]) == ("app_data", "eu_gdpr", "agent", "de")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--type", "deletion", "--email", "ada"], "error: --email: is not an e-mail address"),
        (["--type", "deletion", "--phone", "0171"], "error: --phone: is not an international number"),
        (["--type", "delete", "--email", "ada@example.com"], "error: type Input should be"),
        (["--type", "copy", "--email", "ada@example.com", "--scope", "app_data"], "scope app_data is for deletion only"),
        (["--type", "deletion", "--email", "ada@example.com", "--received", "yesterday"], "received_at"),
        (["--type", "deletion"], "give a file"),
        (["--email", "ada@example.com"], "give a file"),
        ([], "give a file"),
        (["x.json", "--type", "deletion"], "not both"),
        (["--type", "deletion", "--vendor-id", "toyshop"], "write it as SLUG=ID"),
        (["nosuch.jsonl"], "error: nosuch.jsonl: cannot be read"),
    ],
)
def test_what_is_refused(dsr: Dsr, args: list[str], said: str) -> None:
    """Bad input ends with 2, names the option or field, and repeats no value."""
    assert said in dsr("submit", *args, code=2).err


def test_json_lines(dsr: Dsr) -> None:
    """Many requests; case numbers in their order; a byte order mark and empty lines are nothing."""
    file = requests_file(dsr, "\ufeff" + json.dumps(request()), "", request("bob@example.org", type="copy"))
    ran = dsr("submit", file)
    numbers = ran.out.split()
    assert len(numbers) == 2
    assert [dsr("status", number, "--json").json["type"] for number in numbers] == ["deletion", "copy"]


def test_one_document_over_several_lines(dsr: Dsr) -> None:
    """One JSON object, indented, is one request."""
    (dsr.directory / "one.json").write_text(json.dumps(request(), indent=2))
    assert len(dsr("submit", "one.json").out.split()) == 1
    (dsr.directory / "one.json").write_text(json.dumps(request(), indent=2).replace(":", ";", 1))
    assert "error: one.json: is not valid JSON" in dsr("submit", "one.json", code=2).err


def test_a_list(dsr: Dsr) -> None:
    """A JSON list is many; a wrong one is named by its place."""
    (dsr.directory / "list.json").write_text(json.dumps([request(), {"type": "copy"}, 5]))
    ran = dsr("submit", "list.json", code=2)
    assert "error: list.json[1]: subject is missing" in ran.err
    assert "error: list.json[2]: " in ran.err


def test_standard_input(dsr: Dsr) -> None:
    """``-`` reads it."""
    assert len(dsr("submit", "-", input=json.dumps(request())).out.split()) == 1
    assert "error: stdin: holds no request" in dsr("submit", "-", input=" \n", code=2).err


def test_all_or_nothing(dsr: Dsr) -> None:
    """Every bad line is named with its field, and nothing is taken in."""
    file = requests_file(dsr, request(), request("nobody"), "{oops", {**request(), "nosuch@example.com": 1}, '"text"')
    ran = dsr("submit", file, code=2)
    assert ran.out == ""
    assert [line.partition(": ")[2].split(": ")[0] for line in ran.err.splitlines() if line.startswith("error")] == [
        f"{file}:{number}" for number in (2, 3, 4, 5)
    ]
    assert "4 of 5 requests are wrong: nothing was submitted" in ran.err
    assert dsr("status", "--json").json["cases"] == []
    rows = dsr("submit", file, "--json", code=2).json
    assert rows["submitted"] == []
    assert [row["where"] for row in rows["invalid"]] == [f"{file}:{number}" for number in (2, 3, 4, 5)]


def test_skip_invalid_keeps_the_wrong_ones(dsr: Dsr) -> None:
    """The good ones go in; the wrong ones are written down, for their owner only, and never over a file that is there."""
    file = requests_file(dsr, request(), "{oops")
    ran = dsr("submit", file, "--skip-invalid", "--rejected", "bad.jsonl", code=1)
    assert len(ran.out.split()) == 1
    assert (dsr.directory / "bad.jsonl").read_text() == "{oops\n"
    assert (dsr.directory / "bad.jsonl").stat().st_mode & 0o777 == 0o600
    assert "bad.jsonl: --rejected: cannot be written: file exists" in dsr("submit", file, "--rejected", "bad.jsonl", code=3).err


def test_references_make_it_repeatable(dsr: Dsr) -> None:
    """The same references again give the same cases."""
    file = requests_file(dsr, request(reference="a"), request("bob@example.org", reference="b"))
    first = dsr("submit", file)
    again = dsr("submit", file, "--json")
    assert [row["case"] for row in again.json["submitted"]] == first.out.split()
    assert [row["new"] for row in again.json["submitted"]] == [False, False]
    assert "2 of 2 known already" in again.err


def test_case_numbers_are_no_requests(dsr: Dsr) -> None:
    """A file of case numbers is for dsr run."""
    (dsr.directory / "cases.txt").write_text(dsr.case() + "\n")
    assert "fix: dsr run cases.txt" in dsr("submit", "cases.txt", code=2).err
