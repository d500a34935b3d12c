"""Every state of a real connection, and every handshake type there can be: only what is due gets past.

The peer is real too. At the point in question it says, under its present keys or in the clear, a message of the type
in question instead of its own, and then nothing more that matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from handclasp import ClientAuth, NamedGroup, TLSError, rules
from handclasp.connection import Connection
from handclasp.handshake.script import Peer
from handclasp.lab.faults import framed
from handclasp.wire.names import ContentType, HandshakeType
from rules.stage import Stage, authority, carry, client_credential, record

H = HandshakeType

RETRIED: dict[str, Any] = {
    "client": {"groups": [NamedGroup.SECP256R1, NamedGroup.X25519], "key_shares": [NamedGroup.SECP256R1]},
    "server": {"groups": [NamedGroup.X25519]},
}
REQUIRED: dict[str, Any] = {
    "client": {"credentials": [client_credential()]},
    "server": {"client_auth": ClientAuth(verify=authority().trust)},
}
REQUESTED: dict[str, Any] = {"server": {"client_auth": ClientAuth(verify=authority().trust, required=False)}}


@dataclass(frozen=True)
class Point:
    """A state of the victim: what its peer has sent by then, and what may come."""

    victim: str
    sent: int
    """How many handshake messages the peer sent as it should."""
    due: frozenset[HandshakeType]
    configs: dict[str, Any] = field(default_factory=dict)
    keys: bool = True
    """Whether the victim reads under keys by then."""


def at(victim: str, sent: int, *due: HandshakeType, configs: dict[str, Any] | None = None, keys: bool = True) -> Point:
    return Point(victim, sent, frozenset(due), configs or {}, keys)


ESTABLISHED = -1

POINTS = {
    "client: after its ClientHello": at("client", 0, H.SERVER_HELLO, keys=False),
    "client: after its second ClientHello": at("client", 1, H.SERVER_HELLO, configs=RETRIED, keys=False),
    "client: after ServerHello": at("client", 1, H.ENCRYPTED_EXTENSIONS),
    "client: after a retry and ServerHello": at("client", 2, H.ENCRYPTED_EXTENSIONS, configs=RETRIED),
    "client: after EncryptedExtensions": at("client", 2, H.CERTIFICATE_REQUEST, H.CERTIFICATE),
    "client: after CertificateRequest": at("client", 3, H.CERTIFICATE, configs=REQUIRED),
    "client: after Certificate": at("client", 3, H.CERTIFICATE_VERIFY),
    "client: after CertificateVerify": at("client", 4, H.FINISHED),
    "client: asked, after CertificateVerify": at("client", 5, H.FINISHED, configs=REQUIRED),
    "client: established": at("client", ESTABLISHED, H.NEW_SESSION_TICKET, H.KEY_UPDATE),
    "client: established with a certificate": at(
        "client", ESTABLISHED, H.NEW_SESSION_TICKET, H.KEY_UPDATE, configs=REQUIRED
    ),
    "server: at first": at("server", 0, H.CLIENT_HELLO, keys=False),
    "server: after a HelloRetryRequest": at("server", 1, H.CLIENT_HELLO, configs=RETRIED, keys=False),
    "server: after ClientHello": at("server", 1, H.FINISHED),
    "server: after the second ClientHello": at("server", 2, H.FINISHED, configs=RETRIED),
    "server: after ClientHello, certificate requested": at("server", 1, H.CERTIFICATE, configs=REQUESTED),
    "server: after ClientHello, certificate required": at("server", 1, H.CERTIFICATE, configs=REQUIRED),
    "server: after an empty Certificate": at("server", 2, H.FINISHED, configs=REQUESTED),
    "server: after Certificate": at("server", 2, H.CERTIFICATE_VERIFY, configs=REQUIRED),
    "server: after CertificateVerify": at("server", 3, H.FINISHED, configs=REQUIRED),
    "server: established": at("server", ESTABLISHED, H.KEY_UPDATE),
    "server: established with a certificate": at("server", ESTABLISHED, H.KEY_UPDATE, configs=REQUIRED),
}

ALL_TYPES = tuple(HandshakeType(number) for number in range(256))

points = pytest.mark.parametrize("name", list(POINTS))


@pytest.mark.attack(25, "state machine skips")
@pytest.mark.attack(46, "late certificate requests")
@points
def test_only_what_is_due_gets_past(name: str) -> None:
    """An empty message of each type, under the keys of the moment."""
    point = POINTS[name]
    passed = set()
    for type_ in ALL_TYPES:
        stage, victim, error = _refuse(point, lambda peer, type_=type_: _say(peer, framed(type_, b"")))  # type: ignore[misc]
        if error.rule is not rules.MESSAGE_UNEXPECTED:
            passed.add(type_)
            assert error.rule in (rules.SHORT, rules.FINISHED)  # an empty one is none of these messages
        else:
            assert error.alert is rules.MESSAGE_UNEXPECTED.alert
        assert error.alert is not None
        assert stage.alerts_sent(victim) == [bytes([2, error.alert])]
        assert not victim.established
    assert passed == point.due


@pytest.mark.attack(25, "state machine skips")
@points
def test_no_type_gets_past_in_the_clear(name: str) -> None:
    """Once there are keys nothing counts that came without them; before, a record that claims to be protected."""
    point = POINTS[name]
    type_ = ContentType.HANDSHAKE if point.keys else ContentType.APPLICATION_DATA
    expected = rules.RECORD_UNPROTECTED if point.keys else rules.EARLY_APPLICATION_DATA
    for message in ALL_TYPES:
        wire = record(type_, framed(message, b""))
        _, victim, error = _refuse(point, lambda peer, wire=wire: _put(peer, wire))  # type: ignore[misc]
        assert error.rule is expected
        assert error.alert is not None
        assert error.alert.label == "unexpected_message"
        assert not victim.established


@pytest.mark.attack(15, "STARTTLS injection")
@points
def test_no_application_data_gets_past_before_the_end(name: str) -> None:
    point = POINTS[name]
    if point.sent == ESTABLISHED:
        stage = Stage()
        victim, other = _joined(stage, point)
        other.send(b"data")
        victim.receive_data(other.data_to_send())
        assert [repr(event) for event in victim.events()] == ["Data(data=b'data')"]
        return
    _, victim, error = _refuse(point, _say_data)
    assert error.rule is rules.EARLY_APPLICATION_DATA
    assert victim.events() == []


def test_the_points_are_all_there_are() -> None:
    """As many kinds of moments as the derived state machine has, by what is due."""
    assert {(point.victim, point.due) for point in POINTS.values()} == {
        ("client", frozenset({H.SERVER_HELLO})),
        ("client", frozenset({H.ENCRYPTED_EXTENSIONS})),
        ("client", frozenset({H.CERTIFICATE_REQUEST, H.CERTIFICATE})),
        ("client", frozenset({H.CERTIFICATE})),
        ("client", frozenset({H.CERTIFICATE_VERIFY})),
        ("client", frozenset({H.FINISHED})),
        ("client", frozenset({H.NEW_SESSION_TICKET, H.KEY_UPDATE})),
        ("server", frozenset({H.CLIENT_HELLO})),
        ("server", frozenset({H.CERTIFICATE})),
        ("server", frozenset({H.CERTIFICATE_VERIFY})),
        ("server", frozenset({H.FINISHED})),
        ("server", frozenset({H.KEY_UPDATE})),
    }


# --- getting there ---------------------------------------------------------------------------------------------------

Deed = Callable[[Any], None]
"""What the peer does at the point, with its outbound half."""


def _say(outbound: Any, message: bytes) -> None:
    outbound._handshake += message
    outbound.flush()


def _put(outbound: Any, wire: bytes) -> None:
    outbound.flush()
    outbound._records += wire


def _say_data(outbound: Any) -> None:
    outbound.flush()
    outbound._seal(ContentType.APPLICATION_DATA, b"data")


def _refuse(point: Point, deed: Deed) -> tuple[Stage, Connection, TLSError]:
    """Bring a fresh victim to the point and let its peer do the deed."""
    stage = Stage()
    if point.sent == ESTABLISHED:
        victim, other = _joined(stage, point)
        deed(other._outbound)
        with pytest.raises(TLSError) as caught:
            victim.receive_data(other.data_to_send())
        return stage, victim, caught.value

    class Halting(Peer):
        """Says what it should until the point, then what it should not, and then nothing."""

        __slots__ = ("_sent",)

        def send_encoded(self, message: bytes) -> None:
            self._sent = getattr(self, "_sent", 0)
            if self._sent < point.sent:
                super().send_encoded(message)
            elif self._sent == point.sent:
                deed(self._outbound)
            self._sent += 1

    client, server = _cast(stage, point, Halting)
    fall = stage.play(client, server)
    assert fall.victim is (client if point.victim == "client" else server)
    return stage, fall.victim, fall.error


def _joined(stage: Stage, point: Point) -> tuple[Connection, Connection]:
    client, server = _cast(stage, point, Peer)
    carry(client, server)
    client.events()
    server.events()
    return (client, server) if point.victim == "client" else (server, client)


def _cast(stage: Stage, point: Point, peer: type[Peer]) -> tuple[Any, Any]:
    talkers: dict[str, Any] = {"server" if point.victim == "client" else "client": peer}
    client = stage.client(peer=talkers.get("client"), grease=False, **point.configs.get("client", {}))
    return client, stage.server(peer=talkers.get("server"), **point.configs.get("server", {}))
