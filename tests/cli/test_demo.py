"""The demo: it runs, what it says is consistent, and it cannot say what did not happen."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from handclasp.cli import demo, demo_steps
from handclasp.cli.__main__ import main
from handclasp.cli.diagnosis import diagnose
from handclasp.cli.recording import Recording

from .commands import run


@pytest.fixture(scope="module")
def told() -> str:
    done = run("demo")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_all_steps_are_told_in_order(told: str) -> None:
    headings = [int(line[0]) for line in told.splitlines() if re.match(r"[1-9]  [A-Z]", line)]
    assert headings == [1, 2, 3, 4, 5, 6, 7, 8]


def test_sessions_and_keys_end(told: str) -> None:
    part = told[told.index("8  Nothing of it lasts") : told.index("Two failures")]
    sizes = {word: int(count) for word, count in re.findall(r"(\w+) +(\d+) messages", part)}
    assert sizes["resumed"] < sizes["first"] == sizes["discarded"] == sizes["expired"]
    assert "the session has expired" in " ".join(part.split())
    assert "KeyUpdate" in part
    assert "says goodbye" in part


def test_it_fits_a_terminal_and_a_reader(told: str) -> None:
    lines = told.splitlines()
    assert max(map(len, lines)) <= 80
    assert 60 <= len(lines) <= 130
    assert "\x1b" not in told


def test_both_sides_derive_the_same(told: str) -> None:
    ours = re.search(r"^  we  +((?:[0-9a-f]{2} ){15}[0-9a-f]{2})$", told, re.MULTILINE)
    theirs = re.search(r"^  the server  +((?:[0-9a-f]{2} ){15}[0-9a-f]{2})  ✓ the same$", told, re.MULTILINE)
    assert ours is not None
    assert theirs is not None
    assert ours[1] == theirs[1]


def test_sizes_add_up(told: str) -> None:
    sealed = re.findall(r"(\d+) B: (\d+) of header, (\d+) of text, (\d+) of type, (\d+) of seal", told)
    assert len(sealed) == 2
    for whole, *parts in sealed:
        assert int(whole) == sum(map(int, parts))
    declared = re.findall(r"on the wire +17 03 03 ([0-9a-f]{2}) ([0-9a-f]{2}) │", told)
    assert [int(high + low, 16) + 5 for high, low in declared] == [int(whole) for whole, *_ in sealed]


def test_the_hello_is_explained_by_its_key_share(told: str) -> None:
    size = re.search(r"ClientHello +(1 \d{3}) B", told)
    assert size is not None
    assert f"Of its {size[1]} bytes, 1 216 are a key share for X25519MLKEM768" in told


def test_two_refusals_with_what_to_do(told: str) -> None:
    assert "cert.name-mismatch · exit 6 · alert sent: bad_certificate" in told
    assert "cert.unknown-ca · exit 6 · alert sent: unknown_ca" in told
    assert told.count("\n  why  ") == told.count("\n  fix  ") == 2
    assert "client: connect to a name on the list" in told


def test_each_run_is_its_own(told: str) -> None:
    again = run("demo", "tls13").stdout
    share = re.compile(r"our share +([0-9a-f ]+)")
    assert share.search(told)[1] != share.search(again)[1]  # type: ignore[index]


def test_ascii_and_colour() -> None:
    plain = run("demo", PYTHONIOENCODING="ascii").stdout
    assert plain.isascii()
    assert max(map(len, plain.splitlines())) <= 80
    assert "\x1b[" in run("demo", FORCE_COLOR="1").stdout
    assert "\x1b[" not in run("demo", FORCE_COLOR="1", NO_COLOR="1").stdout


def test_a_step_that_did_not_happen_stops_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Recording, "established", property(lambda self: False))
    assert main(["demo"]) == 1
    printed = capsys.readouterr()
    assert "6  Finished" not in printed.out
    assert "✗ the demo stopped: this was to be shown and did not happen: the server's Finished" in printed.err


def test_a_refusal_for_another_reason_stops_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "diagnose", lambda error, attempt: replace(diagnose(error, attempt), code="cert.other"))
    assert main(["demo"]) == 1
    assert "a refusal for cert.name-mismatch, not for cert.other" in capsys.readouterr().err


def test_different_values_stop_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tell = demo_steps.agreement
    monkeypatch.setattr(demo_steps, "agreement", lambda it, ours, theirs: tell(it, ours, bytes(len(theirs))))
    assert main(["demo"]) == 1
    assert "the same value derived on both sides" in capsys.readouterr().err
