"""Memory runs out at any allocation of a step: no nonce is used twice, and the connection is dead or goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from hazards.steps import STEPS
from property.profiles import EXHAUSTIVE, Record

pytestmark = pytest.mark.skipif(find_spec("_testcapi") is None, reason="this Python has no _testcapi")


@pytest.mark.attack(50, "nonce reuse")
@pytest.mark.parametrize("name", list(STEPS))
def test_at_every_allocation(name: str, record_property: Record) -> None:
    """In a process of its own: where the library below cannot bear it, the test run shall not go with it."""
    done = subprocess.run(
        [sys.executable, "-m", "hazards.starve", name, "1" if EXHAUSTIVE else "2"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "RUST_BACKTRACE": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count = int(done.stdout)
    assert count > 3
    record_property("cases", count)
