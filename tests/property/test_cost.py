"""What a peer can make us spend: work in proportion to what it sent, memory never by what it only announces."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from handclasp import Data
from handclasp.channel.framing import Deframer
from handclasp.connection import Connection
from handclasp.lab.faults import framed
from handclasp.wire.messages import ClientHello, HandshakeMessage
from handclasp.wire.names import ContentType, HandshakeType
from property.tapes import attempt, in_records
from rules.stage import Stage, block, record
from rules.test_every_rule import Later

RATIO = 3.0
"""Most that the double input may cost of the single one."""


def times(larger: Callable[[], object], smaller: Callable[[], object]) -> float:
    """How many times as long the larger work takes, in processor time: the best of tries that take turns, so that a
    machine that is slow for a while is slow for both.
    """
    best = {larger: float("inf"), smaller: float("inf")}
    for _ in range(8):
        for work in best:
            start = time.process_time()
            work()
            best[work] = min(best[work], time.process_time() - start)
    return best[larger] / best[smaller]


def _hello(padding: int) -> bytes:
    """A whole ClientHello with so much padding."""
    client = Stage().client({HandshakeType.CLIENT_HELLO: block(ClientHello, padding=bytes(padding))})
    wire, content = client.data_to_send(), b""
    while wire:
        size = int.from_bytes(wire[3:5])
        content, wire = content + wire[5 : 5 + size], wire[5 + size :]
    return content


@pytest.mark.attack(56, "fragment flood")
def test_a_message_in_records_of_one_byte() -> None:
    """64 KiB at once, and the handshake goes on from there; the double costs no more than three times as much."""
    single, double = in_records(_hello(6_000), 1), in_records(_hello(12_000), 1)

    def feed(wire: bytes) -> None:
        server = Stage().server()
        server.receive_data(wire)
        assert server.waiting_for == ("Finished",)

    assert times(lambda: feed(double), lambda: feed(single)) < RATIO
    feed(in_records(_hello(64_000), 1))


class Counted(bytes):
    """Bytes that count what is copied out of them, and out of what was copied."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if not isinstance(key, slice):
            return part
        Counted.copied += len(part)
        return Counted(part)


@pytest.mark.attack(56, "fragment flood")
@pytest.mark.parametrize("size", [1, 10, 1000])
def test_each_byte_is_copied_so_many_times(size: int) -> None:
    """However many records there are in what came at once: for each its header is looked at, and it is cut out."""
    wire = Counted(in_records(bytes(20_000), size))
    deframer, count = Deframer(), 0
    deframer.feed(wire)
    Counted.copied = 0
    while deframer.next(protected=False) is not None:
        count += 1
    assert count == 20_000 // size
    assert len(wire) <= Counted.copied <= len(wire) + 10 * count


def test_a_stream_fed_byte_by_byte() -> None:
    single, double = record(22, _hello(4_000)), record(22, _hello(8_000))

    def feed(wire: bytes) -> None:
        server = Stage().server()
        for at in range(len(wire)):
            server.receive_data(wire[at : at + 1])
        assert server.waiting_for == ("Finished",)

    assert times(lambda: feed(double), lambda: feed(single)) < RATIO


@pytest.mark.parametrize("size", [1, 100])
def test_data_in_small_records(size: int) -> None:
    def feed(count: int) -> None:
        scene = Stage().joined()
        for _ in range(count):
            scene.other.send(bytes(size))
        wire = scene.other.data_to_send()
        scene.victim.receive_data(wire)
        assert len([event for event in scene.victim.events() if isinstance(event, Data)]) == count

    assert times(lambda: feed(3000), lambda: feed(1500)) < RATIO


def _extensions(count: int) -> bytes:
    body = b"".join((0x4000 + number).to_bytes(2) + b"\0\0" for number in range(count))
    return bytes(34) + b"\0" + b"\0\2\x13\1" + b"\1\0" + len(body).to_bytes(2) + body


def _codes(count: int) -> bytes:
    numbers = b"".join((0x4000 + number).to_bytes(2) for number in range(count))
    return bytes(34) + b"\0" + len(numbers).to_bytes(2) + numbers + b"\1\0" + b"\0\0"


@pytest.mark.attack(67, "very many extensions")
@pytest.mark.parametrize("body", [_extensions, _codes])
def test_a_hello_with_very_many_of_something(body: Callable[[int], bytes]) -> None:
    single, double = framed(HandshakeType.CLIENT_HELLO, body(6_000)), framed(HandshakeType.CLIENT_HELLO, body(12_000))

    def feed(content: bytes) -> None:
        server = Stage().server()
        error = attempt(lambda: server.receive_data(in_records(content, 16_000)))
        assert error is not None
        assert error.code == "no-supported-version"

    assert times(lambda: feed(double), lambda: feed(single)) < RATIO
    assert isinstance(ClientHello.parse(double[4:]), HandshakeMessage)


# --- memory ----------------------------------------------------------------------------------------------------------


def held_after(connection: Connection, wire: bytes) -> int:
    """Bytes that a connection holds more after it has received something that it does not refuse."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        connection.receive_data(wire)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert connection.error is None
    return peak - before


ANNOUNCED = {
    "a record": b"\x16\x03\x03\x40\x00",
    "a handshake message": record(ContentType.HANDSHAKE, b"\1\1\0\0"),
    "a handshake message, its vector": record(ContentType.HANDSHAKE, b"\1\1\0\0\3\3" + bytes(32) + b"\0\xff\xfe"),
}


@pytest.mark.attack(58, "memory by announcement")
@pytest.mark.parametrize("what", list(ANNOUNCED))
def test_what_is_announced_takes_no_memory(what: str) -> None:
    """Each announces 16 KiB or more, and does not send it."""
    assert held_after(Stage().server(trace=None), ANNOUNCED[what]) < 8 * 1024


def test_what_came_takes_memory_in_proportion() -> None:
    """60 KB of a message that is not complete: a few copies of it, and no more."""
    wire = in_records(b"\1\1\0\0" + bytes(60_000), 16_000)
    assert held_after(Stage().server(trace=None), wire) < 4 * len(wire)


STRANGERS: dict[str, tuple[dict[str, Any], bytes]] = {
    "a hello that is not complete": ({}, in_records(b"\1\1\0\0" + bytes(65_535), 16_000)),
    "a hello that is": ({}, in_records(_hello(64_000), 16_000)),
    "what comes while a question is open": (
        {"choose": Later().verify},
        in_records(_hello(60_000), 16_000) + bytes(64 * 1024),
    ),
    "a record that is not complete": ({}, in_records(b"\1\0\xff\xff" + bytes(30_000), 16_384)[:-1]),
}


@pytest.mark.attack(58, "memory by announcement")
@pytest.mark.parametrize("what", list(STRANGERS))
def test_what_a_stranger_makes_a_server_hold(what: str) -> None:
    """Nobody has proved anything yet: with all buffers full it is less than 192 KiB."""
    configuration, wire = STRANGERS[what]
    Stage().server(trace=None, **configuration).receive_data(wire)  # what is made once is made by now
    server = Stage().server(trace=None, **configuration)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for at in range(0, len(wire), 65_536):
            server.receive_data(wire[at : at + 65_536])
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert server.error is None
    assert held < 192 * 1024


def test_data_is_not_kept_once_it_is_handed_over() -> None:
    scene = Stage().joined({"trace": None}, {"trace": None})
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            scene.other.send(bytes(16_384))
            scene.victim.receive_data(scene.other.data_to_send())
            assert sum(len(event.data) for event in scene.victim.events() if isinstance(event, Data)) == 16_384
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
