"""How much of the code the seeds and some mutations of them reach, by themselves: `make fuzz`, or from tests/

python -m fuzz.reach [MUTATIONS]      so many for each target; docs/data/reach.json
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from itertools import islice
from pathlib import Path

import coverage

from conformance.data import ROOT, keep

ROOMS = {
    "codec": (
        "wire/codec.py",
        "wire/blocks.py",
        "wire/messages.py",
        "wire/messages12.py",
        "wire/extensions.py",
        "wire/records.py",
    ),
    "records and keys": ("channel/",),
    "state machine": ("connection.py", "handshake/"),
    "certificates": ("identity/certificates.py", "identity/path.py", "identity/pem.py", "identity/diagnose.py"),
    "revocation": ("identity/revocation/crl.py", "identity/revocation/ocsp.py"),
    "sessions": ("sessions/session.py", "sessions/tickets.py", "sessions/cache.py"),
}
"""What is measured together: files, and folders of them."""


FOR_READABLE = 4
"""So many times the mutations, where they can tell what they change."""


def main(count: int) -> None:
    found = coverage.Coverage(data_file=None, config_file=False, branch=True, source_pkgs=["handclasp"])
    found.start()
    from fuzz.run import check, mutations, replay  # what is imported counts too, so it is imported here
    from fuzz.targets import TARGETS

    for target in TARGETS.values():
        replay(target)
        most = FOR_READABLE * count if target.readable else count
        for data in islice(mutations(target, random.Random(target.name)), most):
            check(target, data)
    found.stop()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        found.json_report(outfile=str(report))
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    keep(
        "reach",
        {
            "title": "What fuzzing reaches",
            "command": "make fuzz",
            "text": f"By the seeds and {count:,} mutations each; {FOR_READABLE * count:,} where messages are found.",
            "columns": ["part", "branches", "reached", "lines", "reached"],
            "rows": [[room, *_reached(files, names)] for room, names in ROOMS.items()],
        },
    )


def _reached(files: dict[str, dict[str, dict[str, int]]], names: tuple[str, ...]) -> list[object]:
    """Branches, how many of them in percent were reached, and the same of lines."""
    home = ROOT / "src" / "handclasp"
    inside = [
        file["summary"]
        for name, file in files.items()
        if (ROOT / "tests" / name).resolve().relative_to(home).as_posix().startswith(names)
    ]
    row: list[object] = []
    for reached, every in (("covered_branches", "num_branches"), ("covered_lines", "num_statements")):
        total = sum(summary[every] for summary in inside)
        row += [total, f"{100 * sum(summary[reached] for summary in inside) / total:.1f} %"]
    return row


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
