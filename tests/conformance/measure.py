"""Run the exhaustive matrices and x509-limbo, and write down how many cases held: `make exhaustive`.

    python -m conformance.measure [TEST ...]      from tests/; all matrices, or some; docs/data/matrices.json

The tests say themselves how many cases they went through (pytest's `record_property`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from conformance.data import ROOT, keep, measured

MATRICES = {
    "every state, every type of message, under its keys": "test_only_what_is_due_gets_past",
    "every state, every type of message, without them": "test_no_type_gets_past_in_the_clear",
    "states of every machine, with three messages behind it": "test_what_comes_after_the_handshake_never_changes",
    "across every change of keys": "test_nothing_follows",
    "every rule broken": "test_the_rule_is_broken_and_refused",
    "every bit of a conversation flipped": "test_every_bit_counts",
    "a conversation cut off at every byte": "test_truncated_at_every_byte",
    "a conversation in two pieces, at every byte": "test_cut_in_two_at_every_byte",
    "interrupted at every line of a step": "test_at_every_line_of_a_step",
    "interrupted at every line of a handshake": "test_at_every_line_of_a_handshake",
    "out of memory at every allocation of a step": "test_at_every_allocation",
    "certificate paths of x509-limbo, with the verdict it wants": "test_limbo",
}
"""What a matrix is, and the tests that go through it. A test that says no number is one case for each parameter."""

FILES = (
    "tests/machine",
    "tests/rules",
    "tests/property/test_streams.py",
    "tests/hazards",
    "tests/identity/test_limbo.py",
)


def main(tests: list[str]) -> int:
    """Returns pytest's own answer. `tests`: those of the matrices alone; all, where it is empty."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        names = " or ".join(tests or MATRICES.values())
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n", "2", "-k", names, "-o", "timeout=3600", f"--junitxml={report}"]
            + [str(ROOT / file) for file in FILES],
            cwd=ROOT,
            env={**os.environ, "HANDCLASP_EXHAUSTIVE": "1"},
            check=False,
        )
        if done.returncode:
            return done.returncode
        cases = {**measured("matrices").get("cases", {}), **_cases(report)}
    rows = [[name, cases[test]] for name, test in MATRICES.items() if test in cases]
    columns = ["matrix", "cases, all as they should be"]
    section = {"title": "Matrices", "command": "make exhaustive", "columns": columns, "rows": rows}
    keep("matrices", {**section, "cases": cases})
    return 0


def _cases(report: Path) -> Counter[str]:
    """Cases by the name of the test, of those that passed. A test that was skipped counts for nothing."""
    counted: Counter[str] = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is None:
            said = [int(found.get("value", "0")) for found in case.iter("property") if found.get("name") == "cases"]
            counted[case.get("name", "").partition("[")[0]] += sum(said) or 1
    return counted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
