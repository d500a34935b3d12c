"""Ctrl-C at every line: no nonce is used twice, nothing false is delivered, and the connection is dead or untouched.

A KeyboardInterrupt, like any exception thrown into a thread, can come between any two lines. `sys.settrace` puts one
before each line of ours that a step executes, one run a line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import handclasp
from handclasp import ConcurrentUseError, ConnectionClosed, Data, NamedGroup, TLSError, TLSVersion
from handclasp.connection import Connection
from hazards.witness import watching
from property.profiles import Record, sampled
from rules.stage import Scene, Stage

HOME = str(Path(handclasp.__file__).parent)


class Interrupting:
    """Raises KeyboardInterrupt before one line of handclasp; or counts them, where that line is never reached."""

    def __init__(self, at: int) -> None:
        self.lines = 0
        self._at = at

    def __enter__(self) -> Interrupting:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(HOME):
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self._at:
                raise KeyboardInterrupt
        return self._trace


NEVER = -1

Prepare = Callable[[Scene], bytes]
"""What happens before the step; returns what the victim will hear."""

Step = Callable[[Connection, bytes], None]
"""(the victim, what it hears): what is interrupted."""


def _nothing(scene: Scene) -> bytes:
    return b""


def _data(scene: Scene) -> bytes:
    scene.other.send(b"3")
    return scene.other.data_to_send()


def _update(scene: Scene) -> bytes:
    scene.other.update_keys(request_peer=True)
    return scene.other.data_to_send()


def _send(victim: Connection, heard: bytes) -> None:
    victim.send(b"1" * 20_000)


def _take(victim: Connection, heard: bytes) -> None:
    victim.send(b"2")
    victim.data_to_send()


def _renew(victim: Connection, heard: bytes) -> None:
    victim.update_keys(request_peer=True)
    victim.data_to_send()


def _close(victim: Connection, heard: bytes) -> None:
    victim.close()


def _hear(victim: Connection, heard: bytes) -> None:
    victim.receive_data(heard)


OLDER: dict[str, Any] = {
    "versions": [TLSVersion.TLS_1_2],
    "groups": [NamedGroup.X25519, NamedGroup.SECP256R1],
}
STEPS: dict[str, tuple[Prepare, Step, dict[str, Any]]] = {
    "send": (_nothing, _send, {}),
    "send in TLS 1.2": (_nothing, _send, OLDER),
    "data_to_send": (_nothing, _take, {}),
    "update_keys": (_nothing, _renew, {}),
    "close": (_nothing, _close, {}),
    "receive data": (_data, _hear, {}),
    "receive data in TLS 1.2": (_data, _hear, OLDER),
    "receive a KeyUpdate": (_update, _hear, {}),
}


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
            _assert_dead_or_untouched(scene)
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
    _assert_dead_or_untouched(scene)
    return total


def _assert_dead_or_untouched(scene: Scene) -> None:
    """The victim refuses for good, or what it says now arrives; nothing arrives that was not sent."""
    victim, other = scene.victim, scene.other
    gone = False
    try:
        victim.send(b"still here")
        data = victim.data_to_send()
    except TLSError as error:
        with pytest.raises(type(error)):
            victim.send(b"?")
        # a lock that nobody can release any more is as good as an end
        gone = victim.error is error or isinstance(error, ConcurrentUseError | ConnectionClosed)
        assert gone
    else:
        other.receive_data(data)  # raises where a byte of the victim's was lost
    said = b"".join(event.data for event in other.events() if isinstance(event, Data))
    assert gone or said.endswith(b"still here")
    assert said.removesuffix(b"still here") in (b"", b"2", *(b"1" * size for size in (16_384, 20_000)))
    with suppress(TLSError):
        victim.receive_data(b"")
    heard = b"".join(event.data for event in victim.events() if isinstance(event, Data))
    assert heard in (b"", b"3")
