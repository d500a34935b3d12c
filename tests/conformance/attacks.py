"""The table of attacks: what is in `attacks.toml`, which tests say that they prove it, and the page made of both.

A test proves a row by the marker `attack(number, name)`. A row can name rules too: each has its scene in
`rules/test_every_rule.py`.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from conformance.data import ROOT, measured

TESTS = ROOT / "tests"
TABLE = Path(__file__).with_name("attacks.toml")
PAGE = ROOT / "docs" / "attacks.md"
SCENE = "tests/rules/test_every_rule.py::test_the_rule_is_broken_and_refused"


@dataclass(frozen=True, slots=True)
class Edit:
    """One place of the defence, and what stands there when the defence is taken away."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One row."""

    number: int
    name: str
    defence: str = ""
    absent: str = ""
    """Why there is nothing to take away: the feature does not exist."""
    open: str = ""
    """What is not covered yet; empty for a row that is."""
    remove: tuple[Edit, ...] = ()
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A test says that it proves a row."""

    number: int
    name: str
    test: str
    """A node id, as pytest takes it."""


@cache
def attacks() -> tuple[Attack, ...]:
    """The rows, in order."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["attack"]
    return tuple(_row(row) for row in rows)


def _row(row: dict[str, Any]) -> Attack:
    edits = tuple(Edit(**edit) for edit in row.pop("remove", ()))
    return Attack(remove=edits, rules=tuple(row.pop("rules", ())), **row)


@cache
def marks() -> tuple[Mark, ...]:
    """Every marker in the tests, found in their source: nothing has to be imported or run for it."""
    found: list[Mark] = []
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.attack(" in text:
            found += _marks_of(path, ast.parse(text))
    return tuple(found)


def _marks_of(path: Path, tree: ast.Module) -> Iterator[Mark]:
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.attack":
                number, name = (ast.literal_eval(argument) for argument in decorator.args)
                yield Mark(number, name, f"{path.relative_to(ROOT).as_posix()}::{node.name}")


def proofs_of(attack: Attack) -> tuple[str, ...]:
    """The tests that prove a row."""
    marked = [mark.test for mark in marks() if mark.number == attack.number]
    return (*marked, *(f"{SCENE}[{rule}]" for rule in attack.rules))


# --- the page --------------------------------------------------------------------------------------------------------

HEAD = """\
# What has been done to TLS, and what stands against it here

Seventy-two attacks and kinds of bugs that TLS implementations have fallen to. Each row has a test that fails when its
defence is taken away: `make mutation` takes the defences away, one at a time, and shows which test notices.

This page is made by `make docs` from `tests/conformance/attacks.toml`, from the markers of the tests, and from the last
run of `make mutation`.
"""


def page() -> str:
    """docs/attacks.md."""
    killed = measured("mutation").get("killed_by", {})
    covered = [attack for attack in attacks() if not attack.open]
    shown = sum(str(attack.number) in killed for attack in covered)
    absent = sum(bool(attack.absent) for attack in covered)
    counts = (
        f"{len(covered)} of {len(attacks())} rows are covered; {absent} of them by the absence of a feature. "
        f"For {shown} of the others a test was seen to fail without the defence."
    )
    rows = "\n".join(_shown(attack, killed.get(str(attack.number), "")) for attack in attacks())
    return f"{HEAD}\n{counts}\n\n| # | attack | defence | test |\n| --- | --- | --- | --- |\n{rows}\n"


def _shown(attack: Attack, killer: str) -> str:
    defence = attack.defence or f"Absent: {attack.absent[0].lower()}{attack.absent[1:]}"
    if attack.open:
        return f"| {attack.number} | {attack.name} | {defence} | not covered yet: {attack.open} |"
    proofs = "<br>".join(_named(test, test == killer) for test in proofs_of(attack))
    return f"| {attack.number} | {attack.name} | {defence} | {proofs} |"


def _named(test: str, killer: bool) -> str:
    path, _, name = test.partition("::")
    name = name.replace("the_rule_is_broken_and_refused", "…")
    shown = f"`{path.removeprefix('tests/').removesuffix('.py')}` {name.removeprefix('test_').replace('_', ' ')}"
    return f"**{shown}**" if killer else shown
