"""What a connection hears, bent in every way: it refuses it in its own words, or nothing came of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handclasp import Closed, HandshakeComplete, TruncatedError
from handclasp.connection import Connection
from handclasp.lab.faults import Rewrite
from handclasp.wire.messages import (
    HEADER_SIZE,
    MESSAGES,
    Certificate,
    CertificateRequest,
    CertificateVerify,
    ClientHello,
    EncryptedExtensions,
    Finished,
    HandshakeMessage,
    HelloRetryRequest,
    KeyUpdate,
    NewSessionTicket,
    ServerHello,
)
from handclasp.wire.names import ContentType, HandshakeType
from property.profiles import Record, examples, sampled
from property.strategies import cut, messages, mutated
from property.tapes import (
    SHAPES,
    Repeated,
    Tape,
    assert_decent,
    assert_sound,
    attempt,
    fresh,
    in_records,
    steady_credential,
    tape,
)
from rules.stage import Stage, carry, is_retry

tapes = pytest.mark.parametrize(("shape", "role"), [(shape, role) for shape in SHAPES for role in ("client", "server")])


# --- the tape itself -------------------------------------------------------------------------------------------------


@tapes
def test_a_tape_plays_the_same_again(shape: str, role: str) -> None:
    played = tape(shape, role)
    events, error = played.play(played.data)
    assert error is None
    assert tuple(events) == played.events
    early = ["EarlyDataReceived"] if (shape, role) == ("early", "server") else []
    kinds = [type(event).__name__ for event in events]
    assert kinds == [*early, "HandshakeComplete", "Data", "Data", "Data", "Closed"]


@tapes
def test_byte_by_byte(shape: str, role: str) -> None:
    played = tape(shape, role)
    events, error = played.play([played.data[at : at + 1] for at in range(len(played.data))])
    assert (tuple(events), error) == (played.events, None)


@tapes
def test_cut_in_two_at_every_byte(shape: str, role: str, record_property: Record) -> None:
    played = tape(shape, role)
    cuts = sampled(range(len(played.data)), 11)
    record_property("cases", len(cuts))
    for at in cuts:
        events, error = played.play([played.data[:at], played.data[at:]])
        assert (tuple(events), error) == (played.events, None)


@tapes
@given(data=st.data())
@examples(40)
def test_cut_anywhere(shape: str, role: str, data: st.DataObject) -> None:
    played = tape(shape, role)
    pieces = data.draw(cut(played.data))
    events, error = played.play(pieces)
    assert (tuple(events), error) == (played.events, None)


# --- what is missing -------------------------------------------------------------------------------------------------


@pytest.mark.attack(42, "truncation")
@tapes
def test_truncated_at_every_byte(shape: str, role: str, record_property: Record) -> None:
    """Whoever cuts the wire, the end is never clean, and never is something else agreed."""
    played = tape(shape, role)
    complete = sum(len(record) for record in played.records[:-1])
    ends = sampled(range(len(played.data)), 11)
    record_property("cases", len(ends))
    for at in ends:
        connection = _after(played, played.data[:at])
        events = connection.events()
        assert not any(isinstance(event, Closed) for event in events)
        with pytest.raises(TruncatedError) as caught:
            connection.receive_eof()
        assert caught.value.alert is None
        events += connection.events()
        assert events[-1] == Closed(clean=False)
        assert tuple(events[:-1]) == played.events[: len(events) - 1]
        assert at < complete or len(events) == len(played.events)


def _after(played: Tape, data: bytes) -> Connection:
    connection = fresh(played.shape, played.role)
    connection.receive_data(data)
    return connection


# --- what is altered -------------------------------------------------------------------------------------------------


@pytest.mark.attack(37, "record headers altered")
@tapes
def test_every_bit_counts(shape: str, role: str, record_property: Record) -> None:
    """Each bit of the tape flipped: an error, or a bit that means nothing (the version of a record in the clear)."""
    played = tape(shape, role)
    harmless = 0
    bits = sampled(range(8 * len(played.data)), 43)
    record_property("cases", len(bits))
    for bit in bits:
        bent = bytearray(played.data)
        bent[bit // 8] ^= 1 << bit % 8
        events, error = played.play(bytes(bent))
        assert_sound(played, events, error)
        if error is None and any(isinstance(event, Closed) for event in events):
            assert tuple(events) == played.events
            harmless += 1
    in_the_clear = [record for record in played.records if record[0] != ContentType.APPLICATION_DATA]
    assert harmless <= 8 * len(in_the_clear)


@tapes
@given(data=st.data())
@examples(120)
def test_bytes_altered_anyhow(shape: str, role: str, data: st.DataObject) -> None:
    played = tape(shape, role)
    bent = data.draw(mutated(played.data))
    events, error = played.play(data.draw(cut(bent, 3)))
    assert_sound(played, events, error)


@tapes
@given(data=st.data())
@examples(120)
def test_records_dropped_repeated_and_out_of_order(shape: str, role: str, data: st.DataObject) -> None:
    played = tape(shape, role)
    records = data.draw(st.lists(st.sampled_from(played.records), max_size=12))
    lead = data.draw(st.integers(0, len(played.records)))
    events, error = played.play(b"".join(played.records[:lead] + records))
    assert_sound(played, events, error)


@tapes
@given(data=st.data())
@examples(60)
def test_anything_behind_a_good_beginning(shape: str, role: str, data: st.DataObject) -> None:
    played = tape(shape, role)
    at = data.draw(st.integers(0, len(played.data)))
    header = st.tuples(st.sampled_from([20, 21, 22, 23, 24, 0]), st.just(3), st.sampled_from([1, 3]))
    looks_real = st.builds(
        lambda head, body: bytes(head) + len(body).to_bytes(2) + body, header, st.binary(max_size=60)
    )
    noise = data.draw(st.lists(st.binary(max_size=40) | looks_real, max_size=4).map(b"".join))
    events, error = played.play(played.data[:at] + noise)
    assert_sound(played, events, error)


# --- messages that are nearly right, under the right keys ------------------------------------------------------------

SENDERS: list[tuple[type[HandshakeMessage], str]] = [
    (ClientHello, "client"),
    (ServerHello, "server"),
    (HelloRetryRequest, "server"),
    (EncryptedExtensions, "server"),
    (CertificateRequest, "server"),
    (Certificate, "server"),
    (Certificate, "client"),
    (CertificateVerify, "server"),
    (CertificateVerify, "client"),
    (Finished, "server"),
    (Finished, "client"),
]

senders = pytest.mark.parametrize(("cls", "sender"), SENDERS, ids=[f"{s}-{c.__name__}" for c, s in SENDERS])


def _perform(cls: type[HandshakeMessage], sender: str, change: Any) -> None:
    """A handshake in which one kind of message is changed on its way out; it ends somehow, and decently."""

    def rewrite(encoded: bytes) -> list[bytes]:
        if cls in (ServerHello, HelloRetryRequest) and is_retry(encoded) is not (cls is HelloRetryRequest):
            return [encoded]
        return [change(encoded)]

    retried = SHAPES["retry"] if cls is HelloRetryRequest else ({}, {})
    asking = SHAPES["mutual"][1] if cls is CertificateRequest or sender == "client" else {}
    rewrites: dict[HandshakeType, Rewrite] = {cls.type: rewrite}
    stage = Stage()
    client = stage.client(
        rewrites if sender == "client" else None,
        alpn=["h2"],
        entropy=Repeated("client"),
        **{**retried[0], "credentials": [steady_credential("client")]},
    )
    server = stage.server(
        rewrites if sender == "server" else None,
        alpn=["h2"],
        entropy=Repeated("server"),
        **{**retried[1], **asking, "credentials": [steady_credential("server")]},
    )
    error = attempt(lambda: carry(client, server))
    assert_decent(error)
    assert error in (client.error, server.error)
    assert error is not None or client.established is server.established


@senders
@given(data=st.data())
@examples(80)
def test_nearly_right_messages(cls: type[HandshakeMessage], sender: str, data: st.DataObject) -> None:
    def change(encoded: bytes) -> bytes:
        body = data.draw(mutated(encoded[HEADER_SIZE:]))
        return encoded[:1] + len(body).to_bytes(3) + body

    _perform(cls, sender, change)


@senders
@given(data=st.data())
@examples(80)
def test_messages_that_say_anything_their_form_allows(
    cls: type[HandshakeMessage], sender: str, data: st.DataObject
) -> None:
    _perform(cls, sender, lambda encoded: data.draw(messages(cls)).encode())


AFTERWARDS: dict[str, tuple[type[HandshakeMessage], ...]] = {
    "client": (KeyUpdate, NewSessionTicket),
    "server": (KeyUpdate,),
}


@pytest.mark.parametrize("role", ["client", "server"])
@given(data=st.data())
@examples(100)
def test_anything_after_the_handshake(role: str, data: st.DataObject) -> None:
    stage = Stage(mirrored=role == "server")
    scene = stage.joined()
    outbound: Any = scene.other._outbound
    for _ in range(data.draw(st.integers(1, 3))):
        cls = data.draw(st.sampled_from(AFTERWARDS[role]) | st.sampled_from(MESSAGES))
        encoded = data.draw(messages(cls)).encode()
        content = data.draw(st.just(encoded) | mutated(encoded))
        type_ = data.draw(st.sampled_from([22, 22, 22, 23, 21, 20, 0, 99]))
        outbound._seal(ContentType(type_), content[:16000])
        outbound.flush()
    error = attempt(lambda: scene.victim.receive_data(scene.other.data_to_send()))
    assert_decent(error)
    assert scene.victim.error is error
    assert scene.victim.established is (error is None)
    assert not any(isinstance(event, HandshakeComplete) for event in scene.victim.events())


@given(data=st.data(), size=st.integers(1, 300))
@examples(150)
def test_a_first_hello_of_any_kind_in_any_records(data: st.DataObject, size: int) -> None:
    stage = Stage()
    server = stage.server(alpn=["h2"])
    hello = data.draw(messages(ClientHello)).encode()
    if data.draw(st.booleans()):
        hello = data.draw(mutated(hello))
    assert_decent(attempt(lambda: server.receive_data(in_records(hello, size))))
    assert not server.established
    assert server.events() == []


@given(noise=st.binary(max_size=100))
@examples(150)
@pytest.mark.parametrize("role", ["client", "server"])
def test_noise(role: str, noise: bytes) -> None:
    stage = Stage()
    connection = stage.client() if role == "client" else stage.server()
    error = attempt(lambda: connection.receive_data(noise))
    assert_decent(error)
    assert error is None or error.rule is not None
    assert not connection.established
