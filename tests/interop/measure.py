"""Run the tests of this folder with every peer there is, and make the table of what they show: `make interop`.

    python -m interop.measure      from tests/; docs/data/interop.json

Everything runs in a network of its own that is loopback alone, where the system lets us have one: no peer is reachable
from outside then, and no browser calls home.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from conformance.data import ROOT, keep
from interop import observe
from interop.observe import Fact
from interop.peers import VERSIONS

COLUMNS: Final = (
    "peer",
    "version",
    "its role",
    "TLS",
    "handshakes",
    "suites",
    "groups",
    "signature schemes",
    "shown",
    "what we refused of it",
    "how it refused us",
)

TEXT: Final = (
    "Each row is read from our end of the connections that the tests made, and is there only if all of them passed. "
    "Handshakes are those that were finished; suites, groups and signature schemes are how many different ones they "
    "had. Refusals by us are named by our code for the reason, and refusals by the peer by its alert."
)

ALONE: Final = ("unshare", "--net", "--map-root-user", "sh", "-c", 'ip link set lo up && exec "$0" "$@"')


def main() -> int:
    """Returns pytest's own answer."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-n", "2", "-rs", f"--junitxml={report}", "tests/interop"]
        around = _around()
        if not around:
            print("no network of our own to be had here: gnutls-serv and selfserv will listen on every interface")
        done = subprocess.run([*around, *command], cwd=ROOT, env={**os.environ, "HANDCLASP_INTEROP": "1"}, check=False)
        if done.returncode:
            return done.returncode
        keep("interop", table(_facts(report)))
    return 0


def _around() -> Sequence[str]:
    """What gives a command a network of its own; nothing where that cannot be had."""
    if shutil.which("unshare") and shutil.which("ip"):
        tried = subprocess.run([*ALONE, "true"], capture_output=True, check=False)
        return () if tried.returncode else ALONE
    return ()


def _facts(report: Path) -> Counter[Fact]:
    found: Counter[Fact] = Counter()
    for entry in ElementTree.parse(report).iter("property"):
        if entry.get("name") == "seen":
            found += observe.decoded(entry.get("value", "[]"))
    return found


def table(facts: Counter[Fact]) -> dict[str, Any]:
    """The section of the page: a row for each peer, role and version of TLS."""
    ranks = {peer: rank for rank, peer in enumerate(VERSIONS)}
    keys = sorted({(ranks[f.peer], f.role, f.version, f.peer) for f in facts})
    versions = {peer: VERSIONS[peer]() for _, _, _, peer in keys}
    rows = []
    for _, role, version, peer in keys:
        own = Counter({f: n for f, n in facts.items() if (f.peer, f.role, f.version) == (peer, role, version)})
        rows.append([peer, versions[peer], role, version, *_cells(own)])
    return {"title": "Other implementations", "command": "make interop", "text": TEXT, "columns": COLUMNS, "rows": rows}


def _cells(own: Counter[Fact]) -> list[int | str]:
    """The cells of one row behind its name."""

    def named(kind: str) -> list[str]:
        return sorted(f.what for f in own if f.kind == kind)

    features = set(named(observe.FEATURE))
    shown = [feature for feature in observe.FEATURES if feature in features]
    hybrids = [group for group in named(observe.GROUP) if "MLKEM" in group]
    return [
        sum(n for f, n in own.items() if f.kind == observe.HANDSHAKE),
        *(len(named(kind)) for kind in (observe.SUITE, observe.GROUP, observe.SCHEME)),
        _listed([*shown, *hybrids]),
        _listed(named(observe.WE_REFUSE)),
        _listed(named(observe.IT_REFUSES)),
    ]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "–"


if __name__ == "__main__":
    sys.exit(main())
