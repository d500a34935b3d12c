"""Steps of a connection that something goes wrong in, and what has to hold afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from handclasp import ConcurrentUseError, ConnectionClosed, Data, NamedGroup, TLSError, TLSVersion, rules
from handclasp.connection import Connection
from property.tapes import attempt
from rules.stage import Scene

Prepare = Callable[[Scene], bytes]
"""What happens before the step; returns what the victim will hear."""

Step = Callable[[Connection, bytes], bytes]
"""(the victim, what it hears): what something goes wrong in. Returns what is to go to the other side."""


def _nothing(scene: Scene) -> bytes:
    return b""


def _data(scene: Scene) -> bytes:
    scene.other.send(b"3")
    return scene.other.data_to_send()


def _update(scene: Scene) -> bytes:
    scene.other.update_keys(request_peer=True)
    return scene.other.data_to_send()


def _send(victim: Connection, heard: bytes) -> bytes:
    victim.send(b"1" * 20_000)
    return b""


def _take(victim: Connection, heard: bytes) -> bytes:
    victim.send(b"2")
    return victim.data_to_send()


def _renew(victim: Connection, heard: bytes) -> bytes:
    victim.update_keys(request_peer=True)
    return victim.data_to_send()


def _close(victim: Connection, heard: bytes) -> bytes:
    victim.close()
    return b""


def _hear(victim: Connection, heard: bytes) -> bytes:
    victim.receive_data(heard)
    return b""


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


def assert_dead_or_untouched(scene: Scene, *, may_lose: bool = False) -> None:
    """The victim refuses for good, or what it says now arrives; nothing arrives that was not sent.

    `may_lose`: bytes that left the victim may have got lost on the way to its caller; then the other side refuses.
    """
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
        gone = _lost(other, data) and may_lose
    said = b"".join(event.data for event in other.events() if isinstance(event, Data))
    assert gone or said.endswith(b"still here")
    assert said.removesuffix(b"still here") in (b"", b"2", *(b"1" * size for size in (16_384, 20_000)))
    with suppress(TLSError):
        victim.receive_data(b"")
    heard = b"".join(event.data for event in victim.events() if isinstance(event, Data))
    assert heard in (b"", b"3")


def _lost(other: Connection, data: bytes) -> bool:
    """Whether a byte before these did not arrive."""
    error = attempt(lambda: other.receive_data(data))
    assert error is None or error.rule is rules.RECORD_MAC
    return error is not None
