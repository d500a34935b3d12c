"""The table of limits is whole: each bound has its reason and its tests, and bounds are nowhere else."""

from __future__ import annotations

import ast
import re

import pytest

from conformance.data import ROOT
from conformance.limits import PAGE, Bound, bounds, marks, page

ELSEWHERE = {
    "identity/diagnose.py": "how much is said about a chain that is refused already",
    "identity/names.py": "the form of a label, by RFC 1035",
    "identity/private.py": "the form of a serial number, by RFC 5280",
    "identity/revocation/policy.py": "the length of a sentence",
    "identity/revocation/sources.py": "files of the machine's own",
    "identity/roots.py": "files of the machine's own",
    "sessions/stores/redis.py": "keys of our own servers",
    "cli": "the tool, which is nobody's peer for long",
}
"""Where numbers of the kind may stand all the same, and why."""

BOUND = re.compile(r"^_?(MAX|MOST|LEAST|LONGEST|LIMIT)_[A-Z_]*$")


@pytest.mark.parametrize("bound", bounds(), ids=lambda bound: bound.name)
def test_a_bound_has_a_reason_and_a_test(bound: Bound) -> None:
    assert bound.reason
    assert [test for name, test in marks() if name == bound.name]


def test_markers_name_bounds() -> None:
    assert {name for name, _ in marks()} == {bound.name for bound in bounds()}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "`make docs` writes it anew"


def test_there_are_no_bounds_elsewhere() -> None:
    """A number with a name that begins like a bound's belongs into limits.py."""
    home = ROOT / "src" / "handclasp"
    found = set()
    for path in home.rglob("*.py"):
        name = path.relative_to(home).as_posix()
        if name == "limits.py" or name in ELSEWHERE or name.partition("/")[0] in ELSEWHERE:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.AnnAssign | ast.Assign) and _is_number(node.value):
                target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                if isinstance(target, ast.Name) and BOUND.match(target.id):
                    found.add(f"{name}: {target.id}")
    assert not found


def _is_number(node: ast.expr | None) -> bool:
    return (
        node is not None
        and all(isinstance(part, ast.BinOp | ast.operator | ast.Constant) for part in ast.walk(node))
        and not any(
            isinstance(part, ast.Constant) and not isinstance(part.value, int | float) for part in ast.walk(node)
        )
    )
