"""docs/conformance.md: one section for each file in docs/data, which the command that measured it has written.

    python -m conformance.pages        from tests/; `make docs` does it, docs/attacks.md and docs/limits.md

A file says its `title`, its `command`, `columns` and `rows`, and may say a `text`. Whoever measures something else
writes one more file.
"""

from __future__ import annotations

from typing import Any

from conformance import attacks, limits
from conformance.data import DATA, ROOT, measured

PAGE = ROOT / "docs" / "conformance.md"

HEAD = """\
# What was measured

Every number here was written by the command above its table, and nothing by hand. `make docs` puts them together from
`docs/data/`.
"""


def page() -> str:
    """The whole page."""
    names = sorted(path.stem for path in DATA.glob("*.json"))
    sections = [_table_of_attacks(), *(measured(name) for name in names)]
    return "\n".join([HEAD, *(_section(section) for section in sections)])


def _table_of_attacks() -> dict[str, Any]:
    rows = attacks.attacks()
    covered = [row for row in rows if not row.open]
    tests = {test for row in covered for test in attacks.proofs_of(row)}
    return {
        "title": "The table of attacks",
        "command": "make docs",
        "text": "The rows, with the tests that prove them, are in [attacks.md](attacks.md).",
        "columns": ["rows", "covered", "by the absence of a feature", "tests"],
        "rows": [[len(rows), len(covered), sum(bool(row.absent) for row in covered), len(tests)]],
    }


def _section(section: dict[str, Any]) -> str:
    lines = [f"## {section['title']}", "", f"`{section['command']}`", ""]
    if section.get("text"):
        lines += [section["text"], ""]
    lines += [_row(section["columns"]), _row(["---"] * len(section["columns"]))]
    lines += [_row([f"{cell:,}" if isinstance(cell, int) else cell for cell in row]) for row in section["rows"]]
    return "\n".join(lines) + "\n"


def _row(cells: list[Any]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    attacks.PAGE.write_text(attacks.page(), encoding="utf-8")
    limits.PAGE.write_text(limits.page(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
