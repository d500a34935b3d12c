"""The runner and the shim, brought together."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .listed import CONFIG
from .standby import write_launcher

RUNNER = "HANDCLASP_BOGO_RUNNER"
"""The environment variable that names BoringSSL's ssl/test/runner, built with go test -c."""

TESTS = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a run of the runner ended with."""

    status: int
    outcomes: dict[str, str]
    """PASS, FAIL or SKIP by the name of the test; what a pattern disables is not there."""
    output: str

    def failures(self) -> list[str]:
        """What the runner says of each test that failed."""
        return re.findall(r"^FAILED .*?(?=^(?:PASSED|UNIMPLEMENTED|FAILED) |\Z)", self.output, re.DOTALL | re.MULTILINE)


@contextmanager
def standing_by(folder: Path) -> Iterator[Path]:
    """The program to give to the runner as its shim, in `folder`; what it stands for is loaded once."""
    address, launcher = folder / "standby", folder / "shim"
    command = [sys.executable, "-m", "conformance.bogo.standby", str(address)]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE) as standby:
        try:
            if standby.stdout is None or standby.stdout.readline() != b"ready\n":
                raise RuntimeError("the shim does not stand by")
            write_launcher(launcher, address)
            yield launcher
        finally:
            standby.terminate()


def run(runner: str, shim: Path, folder: Path, *extra: str) -> Outcome:
    """All tests that `config.json` does not leave out, with texts and alerts compared strictly."""
    results = folder / "results.json"
    paths = {"-shim-path": shim, "-shim-config": CONFIG, "-json-output": results}
    flags = [text for flag, path in paths.items() for text in (flag, str(path))]
    command = [runner, *flags, "-pipe", "-allow-unimplemented", "-num-workers", "2", *extra]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    tests = json.loads(results.read_text(encoding="utf-8"))["tests"]
    return Outcome(done.returncode, {name: test["actual"] for name, test in tests.items()}, done.stdout)
