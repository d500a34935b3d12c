"""The tests of the protocol under every Python and `cryptography` we support, and in Python's other modes.

    python -m conformance.matrix [3.13 ...]     from tests/; `make matrix`; docs/data/versions.json

Pythons that are not on this machine are left out, and the page does not claim them. Environments go to .venv/matrix.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from conformance.data import ROOT, keep, measured

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
CRYPTOGRAPHIES = {"lowest": "cryptography==49.0.0", "newest": "cryptography"}
MODES = {
    "": ([], {}),
    "-O": (["-O"], {}),
    "-W error": (["-W", "error"], {}),
    "PYTHONDEVMODE=1": ([], {"PYTHONDEVMODE": "1"}),
}
PATIENT = ["-W", "ignore::pytest.PytestConfigWarning"]
"""pytest warns that `-O` takes asserts away; those of the tests and their helpers are rewritten, and stay."""

FOLDERS = ("wire", "crypto", "channel", "core", "rules", "sessions")
TOLD = re.compile(r"(\d+) passed")


@dataclass(frozen=True, slots=True)
class Run:
    """One environment, in one mode."""

    python: str
    cryptography: str
    mode: str = ""


RUNS = (
    *(Run(python, cryptography) for python in PYTHONS for cryptography in CRYPTOGRAPHIES),
    *(Run(PYTHONS[0], "newest", mode) for mode in MODES if mode),
)


def main(pythons: list[str]) -> int:
    """Returns how many runs failed. `pythons`: those versions alone; all, where it is empty."""
    failed = 0
    for run in RUNS:
        python = _find(run.python)
        if python is None or (pythons and run.python not in pythons):
            continue
        environment = _environment(run, python)
        passed, version = _test(run, environment)
        failed += not passed
        print(f"Python {run.python}, cryptography {version} {run.mode}: {passed or 'FAILED'}", flush=True)
        _keep(run, [_version(environment), version, run.mode or "as usual", passed])
    return failed


def _keep(run: Run, row: list[object]) -> None:
    """One line for each run: its last result, or none where that was a failure."""
    lines = measured("versions").get("lines", {})
    lines[f"{run.python} {run.cryptography} {run.mode}"] = row
    good = {name: line for name, line in lines.items() if line[-1]}
    columns = ["Python", "cryptography", "mode", "tests passed, all"]
    section = {"title": "Versions", "command": "make matrix", "columns": columns, "rows": list(good.values())}
    keep("versions", {**section, "lines": good})


def _find(version: str) -> str | None:
    found = shutil.which(f"python{version}")
    if found is not None and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
        return found
    installed = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    return str(installed[-1]) if installed else None


def _environment(run: Run, python: str) -> Path:
    folder = ROOT / ".venv" / "matrix" / f"{run.python}-{run.cryptography}"
    own, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        wanted = CRYPTOGRAPHIES[run.cryptography]
        subprocess.run([str(own), "-m", "pip", "install", "-q", "-e", f"{ROOT}[test]", wanted], check=True)
        ready.touch()
    return own


def _version(python: Path) -> str:
    told = subprocess.run([str(python), "-V"], capture_output=True, text=True, check=True)
    return told.stdout.removeprefix("Python ").strip()


def _test(run: Run, python: Path) -> tuple[int, str]:
    """(tests passed, or 0 where one failed; the version of `cryptography`)."""
    asked = [str(python), "-c", "import cryptography; print(cryptography.__version__)"]
    version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    options, variables = MODES[run.mode]
    done = subprocess.run(
        [str(python), *options, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", *PATIENT]
        + [str(ROOT / "tests" / folder) for folder in FOLDERS],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    told = TOLD.search(done.stdout)
    if done.returncode or told is None:
        print(done.stdout[-6000:], done.stderr[-2000:])
        return 0, version
    return int(told[1]), version


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
