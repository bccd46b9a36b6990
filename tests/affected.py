"""Runs the tests that a change may break: what ``make check`` does beside style and types. Continuous integration runs every test.

    python tests/affected.py            # what differs from main, or from the last commit; committed or not
    python tests/affected.py --list     # only say which
    python tests/affected.py FILE...    # as if these had changed

A test module stands for the module it is named after; where there is none, the folder of its floor does.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
SLOW = ("tests/docs/test_links.py::test_site_is_whole", "tests/docs/test_links.py::test_site_loads_nothing_from_elsewhere")
"""Left to continuous integration: they build the site."""

SPECIAL = {
    "dsr_sdk/testing/checks/": ("tests/testing/test_mutations.py", "tests/testing/test_suite.py", "tests/docs/test_catalogue.py"),
    "tests/testing/wrong.py": ("tests/testing/test_mutations.py", "tests/testing/test_checked.py", "tests/docs/test_catalogue.py"),
    "dsr_sdk/testing/": ("tests/testing/test_suite.py",),
    "connector_template/": ("tests/testing/test_template.py",),
    "docs/generate": ("tests/docs/test_catalogue.py",),  # with what it was split into
}
"""What a name does not tell, by the beginning of a path. The first one that fits counts."""


def changed() -> list[str]:
    """The files that differ from where this branch left main; on main itself, from the last commit. New files, too."""
    base = _git("merge-base", "HEAD", "main") or ["HEAD"]
    return sorted({*_git("diff", "--name-only", base[0]), *_git("ls-files", "--others", "--exclude-standard")})


def affected(files: Iterable[str]) -> list[str]:
    """The tests for changed files, as pytest takes them; nothing that another one contains already."""
    found = {test for file in files for test in _tests(PurePosixPath(file)) if (ROOT / test).exists()}
    return sorted(test for test in found if not any(str(parent) in found for parent in PurePosixPath(test).parents))


def _tests(file: PurePosixPath) -> Iterator[str]:
    top = file.parts[0]
    special = next((tests for start, tests in SPECIAL.items() if str(file).startswith(start)), ())
    yield from special
    if top == "connectors" and len(file.parts) > 2:
        yield f"connectors/{file.parts[1]}/tests"
        yield from ("tests/testing/test_contributing.py", "tests/connectors/test_evidence.py", "tests/docs/test_catalogue.py")
    elif top == "tests" and file.suffix == ".py" and not special:
        own = file.name.startswith("test_")
        yield str(file) if own else str(file.parent) if len(file.parts) > 2 else "tests/core"
    elif top == "dsr_sdk" and file.suffix == ".py":
        floor = file.parts[1] if len(file.parts) > 2 else "core"
        named = f"tests/{floor}/test_{file.stem.strip('_')}.py"
        if (ROOT / named).exists():
            yield named
        elif not special:
            yield f"tests/{floor}"
    elif top == "docs" or file.suffix == ".md":
        yield "tests/docs/test_links.py"
        yield from ("tests/docs/test_commands.py", "tests/docs/test_reference.py", "tests/docs/test_examples.py")
    elif len(file.parts) == 1 or top in (".github", ".ci"):
        yield "tests/testing/test_contributing.py"


def _git(*arguments: str) -> list[str]:
    ran = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.stdout.split("\n")[:-1] if ran.returncode == 0 else []


def main(arguments: list[str]) -> int:
    """Choose, say, run."""
    files = [one for one in arguments if not one.startswith("--")] or changed()
    tests = affected(files)
    sys.stdout.write(f"{len(files)} changed file{'' if len(files) == 1 else 's'}; tests: {' '.join(tests) or 'none'}\n")
    sys.stdout.flush()
    if "--list" in arguments or not tests:
        return 0
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--maxfail", "5", *(f"--deselect={one}" for one in SLOW), *tests]
    ran = subprocess.run(command, cwd=ROOT, check=False)
    sys.stdout.write(f"affected tests: {time.monotonic() - began:.0f} s. make test runs every test.\n")
    return ran.returncode if ran.returncode != 5 else 0  # 5: nothing collected


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
