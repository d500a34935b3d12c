"""Take each defence of the table away, in a copy of the project, and see that a test of its row fails.

python -m conformance.mutation [NUMBER ...]     from tests/; all rows, or some; `make mutation`
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from conformance.attacks import Attack, attacks, proofs_of
from conformance.data import ROOT, keep, measured

FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


def main(numbers: set[int]) -> int:
    """Returns how many defences nobody missed."""
    killed: dict[str, str] = dict(measured("mutation").get("killed_by", {}))
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("src", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        chosen = [row for row in attacks() if row.remove and not row.open and row.number in (numbers or {row.number})]
        if sick := _first_failure(copy, {proof for row in chosen for proof in proofs_of(row)}):
            raise ValueError(f"a test fails with every defence in its place: {sick}")
        for attack in chosen:
            killer = _kill(copy, attack)
            print(f"{attack.number:2} {attack.name}: {killer or 'NOBODY NOTICED'}", flush=True)
            killed.pop(str(attack.number), None)
            if killer:
                killed[str(attack.number)] = killer
            survived += not killer
    rows = {attack.number for attack in attacks() if attack.remove and not attack.open}
    kept = {number: killed[number] for number in sorted(killed, key=int) if int(number) in rows}
    keep("mutation", {**_section(len(kept), len(rows)), "killed_by": kept})
    return survived


def _section(killed: int, rows: int) -> dict[str, object]:
    return {
        "title": "Defences taken away",
        "command": "make mutation",
        "columns": ["defences that can be taken away", "noticed by a test"],
        "rows": [[rows, killed]],
    }


def _kill(copy: Path, attack: Attack) -> str:
    """The test that fails without the defence; empty when none does. Raises ValueError for an edit without a place."""
    before: dict[Path, str] = {}
    for edit in attack.remove:
        path = copy / "src" / "handclasp" / edit.file
        text = path.read_text(encoding="utf-8")
        before.setdefault(path, text)
        if text.count(edit.old) != 1:
            raise ValueError(f"row {attack.number}: {edit.file} has this {text.count(edit.old)} times: {edit.old}")
        path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
    try:
        return _first_failure(copy, proofs_of(attack))
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")


def _first_failure(copy: Path, proofs: Collection[str]) -> str:
    """The first of these tests that fails; empty where none does. Raises ValueError where they cannot be run."""
    options = ["-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-o", "timeout=300"]
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", *options, *sorted(proofs)],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    found = FAILED.search(done.stdout)
    if done.returncode not in (0, 1) or (done.returncode == 1 and found is None):
        raise ValueError(f"the tests cannot run\n{done.stdout}{done.stderr}")
    if found is None:
        return ""
    whole, _, parameters = found[1].partition("[")
    return next(test for test in proofs if test in (whole, f"{whole}[{parameters}"))


if __name__ == "__main__":
    sys.exit(main({int(number) for number in sys.argv[1:]}))
