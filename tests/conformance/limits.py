"""The table of limits: what is in `handclasp/limits.py`, and which tests say that they try it at the bound and past it.

A test says so by the marker `limit(name, ...)`, by the name of a constant or of a field of `Limits`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import cache
from typing import Any

from conformance.attacks import TESTS
from conformance.data import ROOT
from handclasp import limits
from handclasp.limits import HARD_CAPS, Limits

SOURCE = ROOT / "src" / "handclasp" / "limits.py"
PAGE = ROOT / "docs" / "limits.md"
NO_BOUNDS = {"HARD_CAPS", "RECORD_HEADER"}
"""Constants of the module that bound nobody."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One number, and why it is what it is."""

    name: str
    value: Any
    cap: int | None
    """The most a configuration may set; None where it may set any, or cannot set it."""
    reason: str


@cache
def bounds() -> tuple[Bound, ...]:
    """All of them, in the order of the source: the fields of `Limits`, and the constants."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    (cls,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    defaults = {field.name: getattr(Limits(), field.name) for field in fields(Limits)}
    ours = [Bound(name, defaults[name], HARD_CAPS.get(name), why) for name, why in _explained(cls.body)]
    fixed = [Bound(name, getattr(limits, name), None, why) for name, why in _explained(tree.body)]
    return (*ours, *(bound for bound in fixed if bound.name not in NO_BOUNDS))


def _explained(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Names that are given a value, each with the string behind it; with nothing where there is none."""
    for statement, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = after.value if isinstance(after, ast.Expr) else None
            yield statement.target.id, " ".join(str(text.value).split()) if isinstance(text, ast.Constant) else ""


@cache
def marks() -> tuple[tuple[str, str], ...]:
    """(name of a bound, test that says it tries it), found in the tests' source."""
    return tuple(found for path in sorted(TESTS.rglob("test_*.py")) for found in _marks_of(path))


def _marks_of(path: Any) -> Iterator[tuple[str, str]]:
    text = path.read_text(encoding="utf-8")
    if "mark.limit(" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        for decorator in getattr(node, "decorator_list", ()):
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.limit":
                for argument in decorator.args:
                    yield ast.literal_eval(argument), f"{path.relative_to(TESTS).as_posix()}::{node.name}"  # type: ignore[attr-defined]


# --- the page --------------------------------------------------------------------------------------------------------

HEAD = """\
# What bounds a peer

Every number that a peer can push against, why it is what it is, and the tests that try it: at the bound, and one past
it. Nothing is sized by a length that a peer declares. Names in capitals are fixed, or the default of an argument; the
others are fields of `Limits`, and a configuration may set them up to the cap.

This page is made by `make docs` from `handclasp/limits.py` and from the tests' markers.
"""


def page() -> str:
    """docs/limits.md."""
    rows = "\n".join(_shown(bound) for bound in bounds())
    return f"{HEAD}\n| bound | value | cap | why | tests |\n| --- | --- | --- | --- | --- |\n{rows}\n"


def _shown(bound: Bound) -> str:
    tests = "<br>".join(_named(test) for name, test in marks() if name == bound.name)
    cap = "" if bound.cap is None else f"{bound.cap:,}"
    return f"| `{bound.name}` | {_value(bound.value)} | {cap} | {bound.reason} | {tests} |"


def _value(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"{value // timedelta(hours=1)} h"
    return f"{value:,}" if isinstance(value, int) else f"{value:g} s"


def _named(test: str) -> str:
    path, _, name = test.partition("::")
    return f"`{path.removesuffix('.py')}` {name.removeprefix('test_').replace('_', ' ')}"
