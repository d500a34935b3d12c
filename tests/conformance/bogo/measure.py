"""Run BoringSSL's protocol tests against us, and write down what came of it: `make bogo`.

    HANDCLASP_BOGO_RUNNER=… python -m conformance.bogo.measure [FLAG ...]      from tests/; flags are for the runner

The counts by scope and the reasons for what is not run need the list of tests in the folder of public test data.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from conformance.data import keep
from fuzz import seeds

from . import listed
from .driver import RUNNER, Outcome, run, standing_by
from .listed import Listed

TITLE = "BoringSSL's protocol tests"
COMMAND = "make bogo"

SCOPES: dict[str, Callable[[Listed], bool]] = {
    "TLS 1.3 and TLS 1.2 with AEAD suites": lambda test: test.in_scope,
    "of them TLS 1.3": lambda test: test.in_scope and test.version == "TLS1.3",
    "of them TLS 1.2": lambda test: test.in_scope and test.version == "TLS1.2",
    "RSA key transport in TLS 1.2": lambda test: test.key_transport,
    "everything else": lambda test: not test.in_scope and not test.key_transport,
}


def main(flags: list[str]) -> int:
    """Returns the runner's own verdict, or 2 where something is missing."""
    runner, folder = os.environ.get(RUNNER), seeds.folder()
    if not runner or not (folder / listed.FILE).exists():
        print(f"needs {RUNNER} and {folder / listed.FILE}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary, standing_by(Path(temporary)) as shim:
        outcome = run(runner, shim, Path(temporary), *flags)
    print(dict(Counter(outcome.outcomes.values())), *outcome.failures(), sep="\n")
    tests = listed.read(folder)
    keep("bogo", counted(tests, outcome))
    keep("bogo-not-run", reasons(tests, outcome))
    return outcome.status


def counted(tests: list[Listed], outcome: Outcome) -> dict[str, object]:
    """How many tests of each scope there are, passed, failed, and were not run."""
    rows = []
    for scope, belongs in SCOPES.items():
        names = [test.name for test in tests if belongs(test)]
        came = Counter(outcome.outcomes.get(name, "") for name in names)
        rows.append([scope, len(names), came["PASS"], came["FAIL"], came["SKIP"] + came[""]])
    return {
        "title": TITLE,
        "command": COMMAND,
        "text": "Errors and alerts are compared strictly; an exception that is no TLSError counts as a failure.",
        "columns": ["scope", "tests", "passed", "failed", "not run"],
        "rows": rows,
    }


def reasons(tests: list[Listed], outcome: Outcome) -> dict[str, object]:
    """Why tests of our scopes are not run. Raises ValueError where nobody knows."""
    patterns, found = listed.config()["DisabledTests"], Counter[str]()
    for test in tests:
        if (test.in_scope or test.key_transport) and outcome.outcomes.get(test.name, "SKIP") == "SKIP":
            reason = listed.disabled(test.name, patterns) or test.missing()
            if not reason:
                raise ValueError(f"{test.name} was not run, and there is no reason")
            found[reason] += 1
    return {
        "title": f"{TITLE}: what is not run",
        "command": COMMAND,
        "columns": ["reason", "tests in scope"],
        "rows": [[reason, count] for reason, count in sorted(found.items(), key=lambda item: (-item[1], item[0]))],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
