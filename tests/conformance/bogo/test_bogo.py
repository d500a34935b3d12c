"""BoringSSL's protocol test runner against us: a peer that breaks the protocol in some thousand ways, and watches.

The runner is a Go program of its own (`ssl/test/runner` in BoringSSL, built with `go test -c`), and no part of this
project. Where the environment variable HANDCLASP_BOGO_RUNNER names one, it is run, and has to find nothing. What is
not run stands in `config.json` with its reason; for what a test needs and we do not have, the shim ends with status 89.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.bogo import options
from conformance.bogo.options import Options, Phase, Unimplemented
from conformance.bogo.reasons import REASONS
from conformance.bogo.standby import write_launcher
from handclasp import rules

HERE = Path(__file__).parent
CONFIG = HERE / "config.json"
TESTS = HERE.parents[1]

KEPT = ("*Partial*", "*Trailing*", "WrongMessageType*", "*Binder*", "*TooMany*")
"""Families of which no test may be left out by a pattern of its own name."""


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Path]:
    """The program to give to the runner; what it stands for is loaded once."""
    address, launcher = tmp_path / "standby", tmp_path / "shim"
    command = [sys.executable, "-m", "conformance.bogo.standby", str(address)]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE) as standby:
        assert standby.stdout is not None
        assert standby.stdout.readline() == b"ready\n"
        write_launcher(launcher, address)
        yield launcher
        standby.terminate()


@pytest.mark.timeout(3600)
def test_the_runner_finds_nothing(shim: Path, tmp_path: Path) -> None:
    runner = os.environ.get("HANDCLASP_BOGO_RUNNER")
    if not runner:
        pytest.skip("no runner: set HANDCLASP_BOGO_RUNNER to BoringSSL's ssl/test/runner, built with go test -c")
    results = tmp_path / "results.json"
    paths = {"-shim-path": shim, "-shim-config": CONFIG, "-json-output": results}
    flags = [text for flag, path in paths.items() for text in (flag, str(path))]
    command = [runner, *flags, "-pipe", "-allow-unimplemented"]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=False)
    outcomes = Counter(test["actual"] for test in json.loads(results.read_text())["tests"].values())
    print(dict(outcomes))
    assert done.returncode == 0, done.stdout[-20_000:]
    assert outcomes["PASS"] >= 1_700


def test_the_shim_answers_through_its_launcher(shim: Path) -> None:
    asked = subprocess.run([shim, "-is-handshaker-supported"], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "No\n", "")
    unknown = subprocess.run([shim, "-no-such-flag"], capture_output=True, text=True, check=False)
    assert (unknown.returncode, unknown.stderr) == (89, "unknown flag -no-such-flag\n")
    broken = subprocess.run([shim, "-port"], capture_output=True, text=True, check=False)
    assert broken.returncode == 90


def test_each_pattern_has_its_reason() -> None:
    config = json.loads(CONFIG.read_text())
    assert all(config["DisabledTests"].values())
    assert not set(KEPT) & set(config["DisabledTests"])
    assert all(accepted and all(accepted) for accepted in config["ErrorMap"].values())


def test_reasons_are_for_rules_that_exist() -> None:
    ours = {rule.name for rule in rules.ALL.values()} | {"not-established"}
    assert set(REASONS) <= ours


def test_flags_hold_for_their_phase() -> None:
    given = [b"-server", b"-on-resume-max-version", b"771", b"-on-retry-async", b"-curves", b"29", b"-curves", b"23"]
    first, later, again = (options.read(given, phase) for phase in Phase)
    assert first.server
    assert (first.number("-max-version"), later.number("-max-version")) == (None, 771)
    assert ("-async" in again, "-async" in later) == (True, False)
    assert first.numbers("-curves") == [29, 23]


def test_flags_of_credentials_go_to_the_one_before_them() -> None:
    given = [b"-cert-file", b"a", b"-new-x509-credential", b"-cert-file", b"b", b"-on-handshaker-cert-file", b"c"]
    read: Options = options.read(given, Phase.INITIAL)
    assert read.credentials == [{"-cert-file": [b"a"]}, {"-cert-file": [b"b"]}]
    with pytest.raises(Unimplemented):
        options.read([b"-new-psk-credential"], Phase.INITIAL)
