"""How much of the code the seeds and some mutations of them reach, by themselves: `make fuzz`, or from tests/

python -m fuzz.reach [MUTATIONS]      so many for each target; docs/data/reach.json
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections import defaultdict
from itertools import islice
from pathlib import Path

import coverage

from conformance.data import ROOT, keep

ROOMS = ("wire", "channel", "handshake", "identity", "sessions")


def main(count: int) -> None:
    found = coverage.Coverage(data_file=None, config_file=False, branch=True, source_pkgs=["handclasp"])
    found.start()
    from fuzz.run import check, mutations, replay  # what is imported counts too, so it is imported here
    from fuzz.targets import TARGETS

    for target in TARGETS.values():
        replay(target)
        for data in islice(mutations(target, random.Random(target.name)), count):
            check(target, data)
    found.stop()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        found.json_report(outfile=str(report))
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    rows = [[room, _percent(numbers)] for room, numbers in _by_room(files).items()]
    keep(
        "reach",
        {
            "title": "What fuzzing reaches",
            "command": "make fuzz",
            "text": f"Lines and branches, by the seeds and {count:,} mutations for each target alone.",
            "columns": ["room", "reached"],
            "rows": rows,
        },
    )


def _by_room(files: dict[str, dict[str, dict[str, int]]]) -> dict[str, list[int]]:
    """Room: [lines and branches reached, all of them]."""
    numbers: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    home = ROOT / "src" / "handclasp"
    for name, file in files.items():
        parts = (ROOT / "tests" / name).resolve().relative_to(home).parts
        summary = file["summary"]
        for room in {parts[0]} & set(ROOMS):
            numbers[room][0] += summary["covered_lines"] + summary["covered_branches"]
            numbers[room][1] += summary["num_statements"] + summary["num_branches"]
    return {room: numbers[room] for room in ROOMS}


def _percent(numbers: list[int]) -> str:
    reached, every = numbers
    return f"{100 * reached / every:.0f} %"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
