"""Ctrl-C at every line: no nonce is used twice, nothing false is delivered, and the connection is dead or untouched.

A KeyboardInterrupt, like any exception thrown into a thread, can come between any two lines. `sys.settrace` puts one
before each line of ours that a step executes, one run a line.
"""

from __future__ import annotations

import ast
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import handclasp
from handclasp import ClientSessions, ServerSessions, TicketKeys, TLSError
from handclasp.connection import Connection
from hazards.steps import OLDER, STEPS, assert_dead_or_untouched
from hazards.witness import watching
from property.profiles import Record, sampled
from rules.stage import Scene, Stage

HOME = str(Path(handclasp.__file__).parent)


class Interrupting:
    """Raises KeyboardInterrupt before one line of handclasp; or counts them, where that line is never reached."""

    def __init__(self, at: int) -> None:
        self.lines = 0
        self._at = at
        self._inside: set[tuple[int, int]] = set()
        self._before = sys.gettrace()

    def __enter__(self) -> Interrupting:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)  # that of whoever measures which lines the tests reach

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(HOME):
            return None
        if event == "line" and not self._leaves(frame):
            self.lines += 1
            if self.lines == self._at:
                raise KeyboardInterrupt
        return self._trace

    def _leaves(self, frame: FrameType) -> bool:
        """Whether a `with` is about to be left. No signal is heard between its last line and that, so none is sent."""
        place = (id(frame), frame.f_lineno)
        if frame.f_lineno not in _withs(frame.f_code.co_filename):
            return False
        if place in self._inside:
            self._inside.remove(place)
            return True
        self._inside.add(place)
        return False


@cache
def _withs(path: str) -> frozenset[int]:
    """Lines of a file where a `with` begins."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return frozenset(node.lineno for node in ast.walk(tree) if isinstance(node, ast.With))


NEVER = -1

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "remembered": ({"sessions": ClientSessions()}, {"tickets": TicketKeys()}),
    "kept": ({"sessions": ClientSessions()}, {"tickets": None, "sessions": ServerSessions()}),
    "older": (OLDER, OLDER),
    "older and remembered": ({**OLDER, "sessions": ClientSessions()}, {**OLDER, "tickets": TicketKeys()}),
}
"""What the two ends have beside the usual. All handshakes share a store: a lock that is never let go stops the next."""


@pytest.mark.attack(50, "nonce reuse")
@pytest.mark.parametrize("name", list(STEPS))
def test_at_every_line_of_a_step(name: str, record_property: Record) -> None:
    prepare, step, configs = STEPS[name]
    _steps(name)  # what is made once is made by then
    count = _steps(name)
    assert count > 5
    lines = sampled(range(1, count + 1), 3)
    record_property("cases", len(lines))
    for line in lines:
        with watching() as witness:
            scene = Stage().joined(configs)
            heard = prepare(scene)
            with Interrupting(line), pytest.raises(KeyboardInterrupt):
                step(scene.victim, heard)
            assert_dead_or_untouched(scene)
        assert witness.again == [], line


def _steps(name: str) -> int:
    """How many lines a step takes."""
    prepare, step, configs = STEPS[name]
    scene = Stage().joined(configs)
    heard = prepare(scene)
    with Interrupting(NEVER) as counting:
        step(scene.victim, heard)
    return counting.lines


@pytest.mark.attack(50, "nonce reuse")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # where a coroutine was being closed
@pytest.mark.parametrize("victim", ["client", "server"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_at_every_line_of_a_handshake(kind: str, victim: str, record_property: Record) -> None:
    """Whoever is interrupted is never established, unless the handshake was over by then; the next is not held up."""
    _handshake(kind, victim, NEVER)  # what is made once is made by now, and sessions are there
    lines = sampled(range(1, _handshake(kind, victim, NEVER) + 1), 101)
    record_property("cases", len(lines))
    assert len(lines) > 5
    for line in lines:
        with watching() as witness:
            _handshake(kind, victim, line)
        assert witness.again == [], line


def _handshake(kind: str, victim: str, line: int) -> int:
    """Shake hands, with one side interrupted; the number of lines that it took."""
    stage, (ours, theirs) = Stage(), KINDS[kind]
    client, server = stage.client(**ours), stage.server(**theirs)
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
