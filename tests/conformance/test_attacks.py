"""The table of attacks is whole, its page is up to date, and each row is proved by a test."""

from __future__ import annotations

import re
from typing import Any

import pytest

from conformance import attacks as attacks_module
from conformance import pages
from conformance.attacks import TESTS, Attack, attacks, marks, proofs_of
from conformance.data import ROOT
from handclasp import rules


def test_all_rows_are_there() -> None:
    assert [attack.number for attack in attacks()] == list(range(1, 73))
    assert len({attack.name for attack in attacks()}) == 72


@pytest.mark.parametrize("row", attacks(), ids=lambda row: row.name.replace(" ", "-"))
def test_a_row_is_proved(row: Attack) -> None:
    """A defence, or the absence of what could be attacked, and a test for it; or it says what is missing."""
    assert bool(row.defence) is not bool(row.absent)
    if row.open:
        return
    assert proofs_of(row)
    assert bool(row.remove) is not bool(row.absent)
    assert set(row.rules) <= set(rules.ALL)
    for edit in row.remove:
        text = (ROOT / "src" / "handclasp" / edit.file).read_text(encoding="utf-8")
        assert text.count(edit.old) == 1, f"{edit.file} has changed: {edit.old}"


def test_markers_say_what_the_table_says() -> None:
    names = {attack.number: attack.name for attack in attacks()}
    assert {mark.number: mark.name for mark in marks()}.items() <= names.items()
    assert all(names[mark.number] == mark.name for mark in marks())


def test_no_marker_is_overlooked() -> None:
    """The page reads the tests' source: a marker anywhere but on a test would not be found."""
    written = sum(
        len(re.findall(r"^@pytest\.mark\.attack\(", path.read_text(encoding="utf-8"), re.MULTILINE))
        for path in TESTS.rglob("*.py")
    )
    assert written == len(marks())
    assert all(mark.test.partition("::")[2].startswith("test_") for mark in marks())


@pytest.mark.parametrize("module", [attacks_module, pages], ids=["attacks", "conformance"])
def test_a_page_is_up_to_date(module: Any) -> None:
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "`make docs` writes it anew"
