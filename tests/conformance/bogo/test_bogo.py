"""BoringSSL's protocol test runner against us: a peer that breaks the protocol in some thousand ways, and watches.

The runner is a Go program of its own (`ssl/test/runner` in BoringSSL, built with `go test -c`), and no part of this
project. Where the environment variable HANDCLASP_BOGO_RUNNER names one, it is run, and has to find nothing. What is
not run stands in `config.json` with its reason; for what a test needs and we do not have, the shim ends with status 89.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.bogo import listed, options
from conformance.bogo.driver import RUNNER, run, standing_by
from conformance.bogo.listed import Listed
from conformance.bogo.options import Options, Phase, Unimplemented
from conformance.bogo.reasons import REASONS
from handclasp import rules

KEPT = ("Partial", "Trailing", "WrongMessageType", "Binder", "HelloRetryRequest", "HRR", "Alert", "Shutdown", "TooMany")
"""Families of which no test may be left out: floods, wrong messages, what keys are bound to, how connections end."""

FOREIGN = ("DTLS is not implemented", "QUIC is not implemented", "TLS 1.1 and older")
"""Reasons for what is no test of ours at all."""

MOST_NOT_RUN = 107


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Path]:
    with standing_by(tmp_path) as launcher:
        yield launcher


@pytest.fixture(scope="module")
def tests(corpora: Path) -> list[Listed]:
    if not (corpora / listed.FILE).exists():
        pytest.skip(f"no list of tests: {corpora / listed.FILE}")
    return listed.read(corpora)


@pytest.mark.timeout(3600)
def test_the_runner_finds_nothing(shim: Path, tmp_path: Path) -> None:
    runner = os.environ.get(RUNNER)
    if not runner:
        pytest.skip(f"no runner: set {RUNNER} to BoringSSL's ssl/test/runner, built with go test -c")
    outcome = run(runner, shim, tmp_path)
    counts = Counter(outcome.outcomes.values())
    assert outcome.failures() == []
    assert outcome.status == 0
    assert counts["PASS"] >= 2_000
    assert counts["FAIL"] == 0


def test_the_shim_answers_through_its_launcher(shim: Path) -> None:
    asked = subprocess.run([shim, "-is-handshaker-supported"], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "No\n", "")
    unknown = subprocess.run([shim, "-no-such-flag"], capture_output=True, text=True, check=False)
    assert (unknown.returncode, unknown.stderr) == (89, "unknown flag -no-such-flag\n")
    broken = subprocess.run([shim, "-port"], capture_output=True, text=True, check=False)
    assert broken.returncode == 90


def test_each_pattern_has_its_reason() -> None:
    config = listed.config()
    assert all(config["DisabledTests"].values())
    families = {pattern for pattern in config["DisabledTests"] if any(word in pattern for word in KEPT)}
    assert {config["DisabledTests"][pattern] for pattern in families} <= set(FOREIGN)
    assert all(accepted and all(accepted) for accepted in config["ErrorMap"].values())


def test_each_pattern_is_about_something(tests: list[Listed]) -> None:
    names = [test.name for test in tests]
    for pattern, reason in listed.config()["DisabledTests"].items():
        assert any(listed.disabled(name, {pattern: reason}) for name in names), pattern


def test_no_family_is_left_out(tests: list[Listed]) -> None:
    patterns = listed.config()["DisabledTests"]
    left_out = [test.name for test in tests if test.in_scope and listed.disabled(test.name, patterns)]
    assert [name for name in left_out if any(word in name for word in KEPT)] == []


def test_most_of_what_is_in_scope_is_run(tests: list[Listed]) -> None:
    patterns = listed.config()["DisabledTests"]
    in_scope = [test for test in tests if test.in_scope]
    not_run = [test.name for test in in_scope if listed.disabled(test.name, patterns) or test.missing()]
    assert len(in_scope) > 2_000
    assert len(not_run) <= MOST_NOT_RUN, not_run
    assert [name for name in not_run if any(word in name for word in KEPT)] == []


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
