"""Cutting a stream into records and records into messages, and knowing what is not TLS at all."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handclasp import rules
from handclasp.channel.framing import COMPACT, Deframer, HandshakeBuffer
from handclasp.limits import MAX_CIPHERTEXT, MAX_PLAINTEXT, Limits
from handclasp.rules import PeerFault, Rule
from handclasp.wire.names import HandshakeType
from property.profiles import examples


def _record(type_: int, content: bytes, version: bytes = b"\3\3") -> bytes:
    return bytes([type_]) + version + len(content).to_bytes(2) + content


def _next(deframer: Deframer, protected: bool = False) -> bytes | None:
    """The next record in one piece."""
    record = deframer.next(protected)
    return None if record is None else b"".join(record)


FIRST_BYTES: dict[bytes, Rule] = {
    b"HTTP/1.1 400 Bad Request\r\n": rules.SPEAKS_HTTP,
    b"<html><body>": rules.SPEAKS_HTTP,
    b"<HTML>": rules.SPEAKS_HTTP,
    b"<!DOCTYPE html>": rules.SPEAKS_HTTP,
    b"<!doctype html>": rules.SPEAKS_HTTP,
    b"GET / HTTP/1.1\r\n": rules.SPEAKS_HTTP,
    b"HEAD / HTTP/1.1\r\n": rules.SPEAKS_HTTP,
    b"POST / HTTP/1.1\r\n": rules.SPEAKS_HTTP,
    b"PUT /a HTTP/1.1\r\n": rules.SPEAKS_HTTP,
    b"PATCH / HTTP/1.1": rules.SPEAKS_HTTP,
    b"DELETE / HTTP/1.1": rules.SPEAKS_HTTP,
    b"OPTIONS * HTTP/1.1": rules.SPEAKS_HTTP,
    b"TRACE / HTTP/1.1": rules.SPEAKS_HTTP,
    b"CONNECT a:443 HTTP/1.1": rules.SPEAKS_HTTP,
    b"PRI * HTTP/2.0\r\n\r\nSM": rules.SPEAKS_HTTP,
    b"SSH-2.0-OpenSSH_9.9": rules.SPEAKS_SSH,
    b"220 mail.example ESMTP": rules.SPEAKS_MAIL,
    b"220-mail.example": rules.SPEAKS_MAIL,
    b"* OK IMAP4rev1": rules.SPEAKS_MAIL,
    b"+OK POP3 ready": rules.SPEAKS_MAIL,
    b"EHLO client.example": rules.SPEAKS_MAIL,
    b"HELO client.example": rules.SPEAKS_MAIL,
    b"\x80\x2e\x01\x03\x03" + bytes(20): rules.SPEAKS_SSL2,
    b"\x80\x2e\x01\x00\x02" + bytes(20): rules.SPEAKS_SSL2,
    b"\x16\x02\x00\x00\x01": rules.SPEAKS_UNKNOWN,
    b"\x18\x03\x03\x00\x01?": rules.SPEAKS_UNKNOWN,
    b"\x00\x00\x00\x00\x00": rules.SPEAKS_UNKNOWN,
    b"\xff\xff\xff\xff\xff": rules.SPEAKS_UNKNOWN,
    b"hello": rules.SPEAKS_UNKNOWN,
}


@pytest.mark.attack(20, "another protocol")
@pytest.mark.parametrize("data", list(FIRST_BYTES), ids=lambda data: repr(data[:5]))
@pytest.mark.parametrize("step", [1, 1000])
def test_what_is_not_tls_is_called_by_its_name(data: bytes, step: int) -> None:
    """Five bytes are enough, however they come."""
    deframer = Deframer()
    for at in range(0, 4, step):
        deframer.feed(data[at : min(4, at + step)])
        assert _next(deframer) is None
    deframer.feed(data[4:])
    with pytest.raises(PeerFault) as caught:
        _next(deframer)
    assert caught.value.rule is FIRST_BYTES[data]
    assert not deframer.started


def test_words_of_other_protocols_mean_nothing_later() -> None:
    """Once the peer spoke TLS, a wrong header is a wrong header."""
    deframer = Deframer()
    deframer.feed(_record(22, b"a") + b"HTTP/1.1")
    assert _next(deframer) == _record(22, b"a")
    assert deframer.started
    with pytest.raises(PeerFault) as caught:
        _next(deframer)
    assert caught.value.rule is rules.RECORD_TYPE


@pytest.mark.attack(23, "Heartbleed")
@pytest.mark.parametrize("type_", [number for number in range(256) if number not in (20, 21, 22, 23)])
def test_other_content_types(type_: int) -> None:
    deframer = Deframer()
    deframer.feed(_record(22, b"a") + _record(type_, b""))
    _next(deframer)
    with pytest.raises(PeerFault) as caught:
        _next(deframer)
    assert caught.value.rule is rules.RECORD_TYPE


@pytest.mark.parametrize("version", [b"\0\0", b"\2\0", b"\4\3", b"\xfe\xff"])
def test_other_versions(version: bytes) -> None:
    deframer = Deframer()
    deframer.feed(_record(22, b"a") + _record(22, b"a", version))
    _next(deframer)
    with pytest.raises(PeerFault) as caught:
        _next(deframer)
    assert caught.value.rule is rules.RECORD_VERSION


@pytest.mark.parametrize("minor", [0, 1, 2, 3, 4, 255])
def test_the_minor_version_says_nothing(minor: int) -> None:
    deframer = Deframer()
    record = _record(22, b"a", bytes([3, minor]))
    deframer.feed(record)
    assert _next(deframer) == record


@pytest.mark.limit("MAX_PLAINTEXT", "MAX_CIPHERTEXT")
@pytest.mark.attack(41, "record overflow")
@pytest.mark.parametrize(("protected", "most"), [(False, MAX_PLAINTEXT), (True, MAX_CIPHERTEXT)])
def test_the_longest_record(protected: bool, most: int) -> None:
    deframer = Deframer()
    deframer.feed(_record(22, bytes(most)))
    assert _next(deframer, protected) == _record(22, bytes(most))
    deframer.feed(_record(22, bytes(most + 1))[:5])
    with pytest.raises(PeerFault) as caught:
        _next(deframer, protected)
    assert caught.value.rule is rules.RECORD_OVERFLOW


def test_early_data_that_is_passed_over_may_be_as_long_as_any_that_is_protected() -> None:
    deframer = Deframer()
    deframer.feed(_record(23, bytes(MAX_CIPHERTEXT)))
    assert _next(deframer) == _record(23, bytes(MAX_CIPHERTEXT))
    deframer.feed(_record(23, bytes(MAX_CIPHERTEXT + 1))[:5])
    with pytest.raises(PeerFault) as caught:
        deframer.next(protected=False)
    assert caught.value.rule is rules.RECORD_OVERFLOW


@given(contents=st.lists(st.binary(max_size=50), max_size=20), cuts=st.lists(st.integers(0, 1200), max_size=20))
@examples(100)
def test_records_come_out_as_they_went_in(contents: list[bytes], cuts: list[int]) -> None:
    records = [_record(23, content) for content in contents]
    stream = b"".join(records)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    deframer = Deframer()
    found = []
    for start, end in pairwise(edges):
        deframer.feed(stream[start:end])
        while (record := _next(deframer, True)) is not None:
            found.append(record)
    assert found == records
    assert len(deframer) == 0


@given(
    contents=st.lists(st.binary(max_size=40), min_size=1, max_size=8),
    steps=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), max_size=12),
)
@examples(300)
def test_who_asks_now_and_then_gets_the_same(contents: list[bytes], steps: list[tuple[int, int]]) -> None:
    """Some bytes, some records, in any order: every byte is counted, and none is lost or moved."""
    stream = b"".join(_record(23, content) for content in contents)
    deframer, fed, given = Deframer(), 0, b""
    for size, records in [*steps, (len(stream), 2)]:
        deframer.feed(stream[fed : fed + size])
        fed = min(len(stream), fed + size)
        for _ in range(records):
            given += _next(deframer, True) or b""
        assert stream.startswith(given)
        assert len(deframer) == fed - len(given)
    assert given + deframer.take() == stream
    assert len(deframer) == 0


def test_a_long_stream_leaves_nothing_behind() -> None:
    """Consumed bytes are given back while others wait, not only when all are gone."""
    deframer = Deframer()
    record = _record(23, bytes(1000))
    deframer.feed(record[:7])
    deframer.feed(record[7:] + record * 199 + record[:7])
    for _ in range(200):
        assert _next(deframer, True) == record
        assert len(deframer.buffer) - len(deframer) <= COMPACT + len(record)
    assert _next(deframer, True) is None
    assert len(deframer) == 7


def test_what_waits_does_not_hold_what_came_with_it() -> None:
    """The bytes of one call are cut as they are; none of them stay once only a part of a record is left."""
    deframer = Deframer()
    record = _record(23, bytes(1000))
    deframer.feed(record * 60 + record[:7])
    while _next(deframer, True) is not None:
        pass
    assert len(deframer.buffer) == len(deframer) == 7
    assert deframer.take() == record[:7]
    assert deframer.take() == b""


# --- messages --------------------------------------------------------------------------------------------------------


def _message(type_: int, body: bytes) -> bytes:
    return bytes([type_]) + len(body).to_bytes(3) + body


@given(bodies=st.lists(st.binary(max_size=60), max_size=12), step=st.integers(1, 80))
@examples(100)
def test_messages_come_out_as_they_went_in(bodies: list[bytes], step: int) -> None:
    messages = [_message(99, body) for body in bodies]
    stream = b"".join(messages)
    buffer = HandshakeBuffer(Limits())
    found = []
    for at in range(0, len(stream), step):
        buffer.feed(stream[at : at + step])
        while (message := buffer.next()) is not None:
            found.append(message)
    assert found == messages
    assert len(buffer) == 0
    assert buffer.peek() is None


def test_a_message_is_seen_by_its_header() -> None:
    buffer = HandshakeBuffer(Limits())
    for byte in (b"\x0b", b"\0", b"\0"):
        buffer.feed(byte)
        assert buffer.peek() is None
    buffer.feed(b"\2")
    assert buffer.peek() is HandshakeType.CERTIFICATE
    assert buffer.next() is None
    buffer.feed(b"ab\x14")
    assert buffer.next() == b"\x0b\0\0\2ab"
    assert len(buffer) == 1


@pytest.mark.limit("MAX_SMALL_MESSAGE", "MAX_FINISHED")
@pytest.mark.parametrize("type_", range(256))
def test_every_type_has_a_most(type_: int) -> None:
    fixed = {
        0: 0,
        2: 16_384,
        5: 0,
        8: 16_384,
        11: 300,
        12: 16_384,
        14: 0,
        15: 16_384,
        16: 16_384,
        20: 64,
        24: 1,
        25: 300,
    }
    most = fixed.get(type_, 20_000)
    limits = Limits(handshake_message=20_000, certificate_message=300)
    buffer = HandshakeBuffer(limits)
    buffer.feed(bytes([type_]) + most.to_bytes(3))
    assert buffer.peek() == type_
    buffer = HandshakeBuffer(limits)
    buffer.feed(bytes([type_]) + (most + 1).to_bytes(3))
    with pytest.raises(PeerFault) as caught:
        buffer.peek()
    assert caught.value.rule is rules.MESSAGE_TOO_LONG


def test_a_small_limit_is_smaller_than_nature() -> None:
    buffer = HandshakeBuffer(Limits(handshake_message=10))
    buffer.feed(_message(HandshakeType.FINISHED, bytes(32))[:4])
    with pytest.raises(PeerFault):
        buffer.next()
