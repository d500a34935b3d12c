"""Ctrl-C at every line: no nonce is used twice, nothing false is delivered, and the connection is dead or untouched.

A KeyboardInterrupt, like any exception thrown into a thread, can come between any two lines. `sys.settrace` puts one
before each line of ours that a step executes, one run a line.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import handclasp
from handclasp import TLSError
from handclasp.connection import Connection
from hazards.steps import STEPS, assert_dead_or_untouched
from hazards.witness import watching
from property.profiles import Record, sampled
from rules.stage import Scene, Stage

HOME = str(Path(handclasp.__file__).parent)


class Interrupting:
    """Raises KeyboardInterrupt before one line of handclasp; or counts them, where that line is never reached."""

    def __init__(self, at: int) -> None:
        self.lines = 0
        self._at = at
        self._before = sys.gettrace()

    def __enter__(self) -> Interrupting:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)  # that of whoever measures which lines the tests reach

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(HOME):
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self._at:
                raise KeyboardInterrupt
        return self._trace


NEVER = -1


@pytest.mark.attack(50, "nonce reuse")
@pytest.mark.parametrize("name", list(STEPS))
def test_at_every_line_of_a_step(name: str, record_property: Record) -> None:
    prepare, step, configs = STEPS[name]
    scene = Stage().joined(configs)
    heard = prepare(scene)
    with Interrupting(NEVER) as counting:
        step(scene.victim, heard)
    assert counting.lines > 5
    lines = sampled(range(1, counting.lines + 1), 3)
    record_property("cases", len(lines))
    for line in lines:
        with watching() as witness:
            scene = Stage().joined(configs)
            heard = prepare(scene)
            with Interrupting(line), pytest.raises(KeyboardInterrupt):
                step(scene.victim, heard)
            assert_dead_or_untouched(scene)
        assert witness.again == [], line


@pytest.mark.attack(50, "nonce reuse")
@pytest.mark.parametrize("victim", ["client", "server"])
def test_at_every_line_of_a_handshake(victim: str, record_property: Record) -> None:
    """Whoever is interrupted is never established, unless the handshake was over by then."""
    lines = sampled(range(1, _handshake(victim, NEVER) + 1), 61)
    record_property("cases", len(lines))
    assert len(lines) > 20
    for line in lines:
        with watching() as witness:
            _handshake(victim, line)
        assert witness.again == [], line


def _handshake(victim: str, line: int) -> int:
    """Shake hands, with one side interrupted; the number of lines that it took."""
    stage = Stage()
    client, server = stage.client(), stage.server()
    interrupted: Connection = client if victim == "client" else server
    other: Connection = server if victim == "client" else client
    total = 0
    for _ in range(4):
        if not interrupted.established:
            data = other.data_to_send()
            with Interrupting(line - total) as counting, suppress(KeyboardInterrupt, TLSError):
                interrupted.receive_data(data)
            total += counting.lines
        with suppress(TLSError):
            other.receive_data(interrupted.data_to_send())
    if not (interrupted.established and other.established):
        assert line != NEVER
        return total
    scene = Scene(interrupted, other)
    assert_dead_or_untouched(scene)
    return total
