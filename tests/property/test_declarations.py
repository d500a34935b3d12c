"""Every message declaration, under every value it can carry and bytes that are nearly right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handclasp.rules import PeerFault
from handclasp.wire.blocks import Extensions
from handclasp.wire.codec import decode, encode
from handclasp.wire.explain import explain_message
from handclasp.wire.messages import HEADER_SIZE, MESSAGES, HandshakeMessage
from handclasp.wire.records import ALERT_MESSAGE, RECORD_HEADER, AlertMessage, RecordHeader
from property.profiles import examples
from property.strategies import messages, mutated, values

each_message = pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)


@each_message
@given(data=st.data())
@examples(60)
def test_what_is_built_parses_to_the_same(cls: type[HandshakeMessage], data: st.DataObject) -> None:
    message = data.draw(messages(cls))
    encoded = message.encode()
    assert encoded[0] == cls.type
    assert int.from_bytes(encoded[1:4]) == len(encoded) - HEADER_SIZE
    assert cls.parse(encoded[HEADER_SIZE:]) == message
    assert cls.parse(encoded[HEADER_SIZE:]).encode() == encoded


@each_message
@given(data=st.data())
@examples(120)
def test_nearly_right_bytes_are_refused_or_mean_what_they_say(cls: type[HandshakeMessage], data: st.DataObject) -> None:
    body = data.draw(mutated(data.draw(messages(cls)).encode()[HEADER_SIZE:]))
    try:
        parsed = cls.parse(body)
    except PeerFault as fault:
        assert fault.rule.sentence  # noqa: PT017 - either outcome is right, each has its check
        return
    again = parsed.encode()[HEADER_SIZE:]
    assert cls.parse(again) == parsed
    assert again == body or _leaves_out_its_extensions(cls, body, again)


def _leaves_out_its_extensions(cls: type[HandshakeMessage], body: bytes, again: bytes) -> bool:
    """Only a hello of an older version may be written in two ways: without its block, and with an empty one."""
    block = cls.codec.parts[-1][1]
    return isinstance(block, Extensions) and block.may_be_absent and again == body + b"\0\0"


@each_message
@given(data=st.data())
@examples(60)
def test_random_bytes_are_refused_or_read_whole(cls: type[HandshakeMessage], data: st.DataObject) -> None:
    body = data.draw(st.binary(max_size=200))
    try:
        parsed = cls.parse(body)
    except PeerFault:
        return
    assert cls.parse(parsed.encode()[HEADER_SIZE:]) == parsed


@each_message
@given(data=st.data())
@examples(20)
def test_every_truncation_is_refused(cls: type[HandshakeMessage], data: st.DataObject) -> None:
    """Only where a last part may be left out, or has no length of its own, does a shorter message stand for itself."""
    body = data.draw(messages(cls)).encode()[HEADER_SIZE:]
    for size in range(len(body)):
        try:
            shorter = cls.parse(body[:size])
        except PeerFault:
            continue
        assert shorter.encode()[HEADER_SIZE:].startswith(body[:size])
        assert cls.__name__ in ("ClientHello", "ServerHello", "Finished")


@each_message
@given(data=st.data())
@examples(20)
def test_a_byte_more_is_refused(cls: type[HandshakeMessage], data: st.DataObject) -> None:
    body = data.draw(messages(cls)).encode()[HEADER_SIZE:]
    if cls.__name__ == "Finished" and len(body) < 64:
        assert cls.parse(body + b"\0") != cls.parse(body)
        return
    with pytest.raises(PeerFault):
        cls.parse(body + b"\0")


@each_message
@given(data=st.data())
@examples(30)
def test_an_explanation_leaves_no_byte_out(cls: type[HandshakeMessage], data: st.DataObject) -> None:
    encoded = data.draw(messages(cls)).encode()
    at = 0
    for field in (field for field in explain_message(cls, encoded) if field.meaning):
        assert field.offset == at
        at += field.size
    assert at == len(encoded)


@given(header=values(RECORD_HEADER), alert=values(ALERT_MESSAGE))
@examples(60)
def test_the_small_structures(header: RecordHeader, alert: AlertMessage) -> None:
    assert decode(RECORD_HEADER, encode(RECORD_HEADER, header)) == header
    assert decode(ALERT_MESSAGE, encode(ALERT_MESSAGE, alert)) == alert
