"""Records that are well protected and still wrong, or come in the clear where that is (not) allowed."""

from __future__ import annotations

from typing import Any

import pytest

from handclasp import Alert, AlertReceived, ClientAuth, Limits, rules
from handclasp.channel.inbound import Inbound
from handclasp.channel.protection import Keys
from handclasp.handshake.script import Peer
from handclasp.lab.faults import inject
from handclasp.rules import PeerFault, Rule
from handclasp.trace import Epoch
from handclasp.wire.names import ContentType
from property.tapes import attempt
from rules.stage import Stage, assert_refused, authority, carry, client_credential, record

both_ways = pytest.mark.parametrize("mirrored", [False, True], ids=["client", "server"])


class Early(Peer):
    """Says something under its handshake keys before anything that belongs there."""

    __slots__ = ()

    type: ContentType
    content: bytes

    def write_with(self, secret: Keys, epoch: Epoch) -> None:
        super().write_with(secret, epoch)
        if epoch is Epoch.HANDSHAKE:
            outbound: Any = self._outbound
            outbound.flush()
            outbound._seal(self.type, self.content)


EARLY: list[tuple[ContentType, bytes, Rule]] = [
    (ContentType.CHANGE_CIPHER_SPEC, b"\1", rules.RECORD_TYPE),
    (ContentType.APPLICATION_DATA, b"data", rules.EARLY_APPLICATION_DATA),
    (ContentType.APPLICATION_DATA, b"", rules.EARLY_APPLICATION_DATA),
    (ContentType.HEARTBEAT, b"\1\0\0", rules.RECORD_TYPE),
    (ContentType.HANDSHAKE, b"", rules.RECORD_EMPTY),
    (ContentType.ALERT, b"", rules.RECORD_EMPTY),
]


@both_ways
@pytest.mark.parametrize(("type_", "content", "rule"), EARLY)
def test_under_handshake_keys(type_: ContentType, content: bytes, rule: Rule, mirrored: bool) -> None:
    peer = type("Early", (Early,), {"__slots__": (), "type": type_, "content": content})
    stage = Stage()
    fall = stage.play(stage.client(peer=peer if mirrored else None), stage.server(peer=None if mirrored else peer))
    assert fall.error.rule is rule
    assert_refused(stage, fall, rule.alert)


ALERTS: list[tuple[bytes, Rule]] = [
    (b"", rules.RECORD_EMPTY),
    (b"\2", rules.ALERT_MALFORMED),
    (b"\2\x28\2", rules.ALERT_MALFORMED),
    (b"\1\x5a\1\x5a", rules.ALERT_MALFORMED),
    (b"\0\x28", rules.ALERT_LEVEL),
    (b"\3\0", rules.ALERT_LEVEL),
    (b"\xff\x5a", rules.ALERT_LEVEL),
]


@pytest.mark.attack(39, "malformed alerts")
@both_ways
@pytest.mark.parametrize(("content", "rule"), ALERTS)
def test_alerts_have_two_bytes(content: bytes, rule: Rule, mirrored: bool) -> None:
    stage = Stage(mirrored)
    scene = stage.joined()
    inject(scene.other, ContentType.ALERT, content)
    fall = scene.deliver()
    assert fall.error.rule is rule
    assert_refused(stage, fall, rule.alert)


NUMBERS = (10, 20, 40, 80, 100, 116, 255)


@both_ways
@pytest.mark.parametrize("number", NUMBERS)
def test_any_other_alert_is_the_end(number: int, mirrored: bool) -> None:
    """RFC 8446 §6: unknown alerts are errors too."""
    scene = Stage(mirrored).joined()
    inject(scene.other, ContentType.ALERT, bytes([2, number]))
    error = scene.deliver().error
    assert type(error) is AlertReceived
    assert error.alert == number
    assert error.alert_received
    assert scene.victim.data_to_send() == b""


@both_ways
@pytest.mark.parametrize("number", NUMBERS)
def test_an_error_that_calls_itself_a_warning_is_the_end_too(number: int, mirrored: bool) -> None:
    """RFC 8446 §6.2: it must not be sent, and ends the connection all the same. The error names the alert."""
    stage = Stage(mirrored)
    scene = stage.joined()
    inject(scene.other, ContentType.ALERT, bytes([1, number]))
    fall = scene.deliver()
    assert fall.error.rule is rules.ALERT_WARNING
    assert str(Alert(number)) in str(fall.error)
    assert_refused(stage, fall, Alert.DECODE_ERROR)


@pytest.mark.attack(43, "close_notify in the handshake")
@both_ways
def test_close_notify_before_the_end_of_the_handshake_is_the_end(mirrored: bool) -> None:
    stage = Stage()
    connection = stage.server() if mirrored else stage.client()
    connection.data_to_send()
    error = attempt(lambda: connection.receive_data(record(ContentType.ALERT, b"\1\0")))
    assert isinstance(error, AlertReceived)
    assert connection.error is error
    assert connection.events() == []


def test_a_failure_without_keys_may_be_told_in_the_clear() -> None:
    """A client that cannot read the ServerHello has no keys yet, where the server has them."""
    stage = Stage()
    client, server = stage.client(), stage.server()
    server.receive_data(client.data_to_send())
    error = attempt(lambda: server.receive_data(record(ContentType.ALERT, b"\2\x28")))
    assert isinstance(error, AlertReceived)


@pytest.mark.attack(38, "alerts in the clear")
@pytest.mark.parametrize("content", [b"\2", b"\2\x28\0", b"\2\x28" * 2])
def test_only_a_whole_alert_may_come_in_the_clear(content: bytes) -> None:
    stage = Stage()
    client, server = stage.client(), stage.server()
    server.receive_data(client.data_to_send())
    error = attempt(lambda: server.receive_data(record(ContentType.ALERT, content)))
    assert error is not None
    assert error.rule is rules.RECORD_UNPROTECTED


@pytest.mark.attack(38, "alerts in the clear")
def test_once_keys_were_used_no_alert_comes_in_the_clear() -> None:
    """In the middle of the client's flight, whose first record was under its keys."""
    stage = Stage()
    client = stage.client(credentials=[client_credential()], record_size_limit=16_385)
    server = stage.server(client_auth=ClientAuth(verify=authority().trust), record_size_limit=64)
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    flight = client.data_to_send()
    first = len(record(ContentType.CHANGE_CIPHER_SPEC, b"\1"))
    second = first + 5 + int.from_bytes(flight[first + 3 : first + 5])
    server.receive_data(flight[:second])
    assert server.waiting_for == ("Certificate",)
    error = attempt(lambda: server.receive_data(record(ContentType.ALERT, b"\2\x28")))
    assert error is not None
    assert error.rule is rules.RECORD_UNPROTECTED


class Stubborn(Peer):
    """Agrees to send small records, and does not."""

    __slots__ = ()

    def limit_records(self, *, sent: int | None = None, received: int | None = None) -> None:
        super().limit_records(received=received)


@both_ways
def test_a_record_larger_than_agreed(mirrored: bool) -> None:
    """RFC 8449 §4, for data."""
    stage = Stage(mirrored)
    scene = stage.joined({"record_size_limit": 100}, {"record_size_limit": 16385, "peer": Stubborn})
    scene.other.send(bytes(99))
    scene.victim.receive_data(scene.other.data_to_send())
    scene.other.send(bytes(100))
    fall = scene.deliver()
    assert fall.error.rule is rules.PLAINTEXT_OVERFLOW
    assert_refused(stage, fall, rules.PLAINTEXT_OVERFLOW.alert)


def test_a_handshake_record_larger_than_agreed() -> None:
    """RFC 8449 §4: all protected records, so those of the client's certificate too."""
    stage = Stage()
    client = stage.client(credentials=[client_credential()], record_size_limit=16385, peer=Stubborn)
    server = stage.server(client_auth=ClientAuth(verify=authority().trust), record_size_limit=100)
    error = attempt(lambda: carry(client, server))
    assert error is not None
    assert error.rule is rules.PLAINTEXT_OVERFLOW


@both_ways
def test_records_keep_to_what_was_agreed(mirrored: bool) -> None:
    """Whatever is sent is cut, in the handshake and after it, and padding stays within."""
    sizes: dict[str, Any] = {"limits": Limits()}
    stage = Stage(mirrored)
    scene = stage.joined({"record_size_limit": 64}, {"record_size_limit": 16385, "padding": lambda size: 1000, **sizes})
    scene.other.send(bytes(1000))
    wire = scene.other.data_to_send()
    scene.victim.receive_data(wire)
    records = 0
    while wire:
        size = int.from_bytes(wire[3:5])
        assert size == 64 + 16
        wire = wire[5 + size :]
        records += 1
    assert records == 16


def test_declined_early_data_does_not_come_inside_of_a_message() -> None:
    inbound = Inbound(Limits(), None)
    inbound.skip_early_data()
    inbound.deframer.feed(record(ContentType.APPLICATION_DATA, bytes(40)) + record(ContentType.HANDSHAKE, b"\1\0\0"))
    assert inbound.next() == (ContentType.HANDSHAKE, b"\1\0\0")
    inbound.deframer.feed(record(ContentType.APPLICATION_DATA, bytes(40)))
    with pytest.raises(PeerFault) as caught:
        inbound.next()
    assert caught.value.rule is rules.RECORD_INTERLEAVED
