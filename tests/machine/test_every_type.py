"""Every state of a real connection, and every handshake type there can be: only what is due gets past.

The peer is real too. At the point in question it says, under its present keys or in the clear, a message of the type
in question instead of its own, and then nothing more that matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from handclasp import ClientAuth, ClientSessions, Data, NamedGroup, TicketKeys, TLSError, TLSVersion, rules
from handclasp.connection import Connection
from handclasp.handshake.script import Peer
from handclasp.lab.faults import framed
from handclasp.rules import Rule
from handclasp.wire.names import ContentType, HandshakeType
from property.profiles import Record, sampled
from property.tapes import SHAPES
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
SHARED: dict[str, Any] = {role: SHAPES["known key"][role == "server"] for role in ("client", "server")}
RESUMED: dict[str, Any] = {role: {**SHAPES["early"][role == "server"], "alpn": ["h2"]} for role in ("client", "server")}
EARLY: dict[str, Any] = {**RESUMED, "client": {**RESUMED["client"], "early_data": b"early"}}
OLDER: dict[str, Any] = {"versions": [TLSVersion.TLS_1_2], "groups": [NamedGroup.X25519, NamedGroup.SECP256R1]}
TICKETS: dict[str, Any] = {"client": {"sessions": ClientSessions()}, "server": {"tickets": TicketKeys()}}
REQUESTED: dict[str, Any] = {"server": {"client_auth": ClientAuth(verify=authority().trust, required=False)}}


@dataclass(frozen=True)
class Point:
    """A state of the victim: what its peer has sent by then, and what may come."""

    victim: str
    sent: int
    """How many handshake messages the peer sent as it should."""
    due: frozenset[HandshakeType]
    configs: dict[str, Any] = field(default_factory=dict)
    unprotected: Rule = rules.RECORD_UNPROTECTED
    """What refuses a handshake message in the clear, where the victim reads under keys by then."""

    @property
    def keys(self) -> bool:
        """Whether it does."""
        return self.unprotected is not NO_KEYS

    @property
    def early(self) -> bool:
        """Whether early data may come."""
        return H.END_OF_EARLY_DATA in self.due


NO_KEYS = rules.EARLY_APPLICATION_DATA
"""Where there are no keys yet it is a record that claims to be protected which is refused."""


def at(victim: str, sent: int, *due: HandshakeType, configs: dict[str, Any] | None = None, keys: bool = True) -> Point:
    return Point(victim, sent, frozenset(due), configs or {}, rules.RECORD_UNPROTECTED if keys else NO_KEYS)


def older(
    victim: str, sent: int, *due: HandshakeType, configs: dict[str, Any] | None = None, keys: bool = False
) -> Point:
    """The same in TLS 1.2, where only Finished comes under keys, and a record does not say whether it is protected."""
    both = {role: {**OLDER, **(configs or {}).get(role, {})} for role in ("client", "server")}
    return Point(victim, sent, frozenset(due), both, rules.RECORD_MAC if keys else NO_KEYS)


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
    "client: with a known key, after ServerHello": at("client", 1, H.ENCRYPTED_EXTENSIONS, configs=SHARED),
    "client: with a known key, after EncryptedExtensions": at("client", 2, H.FINISHED, configs=SHARED),
    "server: with a known key, after ClientHello": at("server", 1, H.FINISHED, configs=SHARED),
    "client: resumed, after ServerHello": at("client", 1, H.ENCRYPTED_EXTENSIONS, configs=RESUMED),
    "client: resumed, after EncryptedExtensions": at("client", 2, H.FINISHED, configs=RESUMED),
    "client: resumed with early data, after EncryptedExtensions": at("client", 2, H.FINISHED, configs=EARLY),
    "client: resumed and established": at("client", ESTABLISHED, H.NEW_SESSION_TICKET, H.KEY_UPDATE, configs=EARLY),
    "server: resumed, after ClientHello": at("server", 1, H.FINISHED, configs=RESUMED),
    "server: resumed with early data, after ClientHello": at("server", 1, H.END_OF_EARLY_DATA, configs=EARLY),
    "server: resumed with early data, after its end": at("server", 2, H.FINISHED, configs=EARLY),
    "server: resumed and established": at("server", ESTABLISHED, H.KEY_UPDATE, configs=EARLY),
    "client of TLS 1.2: after its ClientHello": older("client", 0, H.SERVER_HELLO),
    "client of TLS 1.2: after ServerHello": older("client", 1, H.CERTIFICATE),
    "client of TLS 1.2: after Certificate": older("client", 2, H.SERVER_KEY_EXCHANGE),
    "client of TLS 1.2: after ServerKeyExchange": older("client", 3, H.CERTIFICATE_REQUEST, H.SERVER_HELLO_DONE),
    "client of TLS 1.2: after CertificateRequest": older("client", 4, H.SERVER_HELLO_DONE, configs=REQUIRED),
    "client of TLS 1.2: before a ticket": older("client", 4, H.NEW_SESSION_TICKET, configs=TICKETS),
    "client of TLS 1.2: after ChangeCipherSpec": older("client", 4, H.FINISHED, keys=True),
    "client of TLS 1.2: established": older("client", ESTABLISHED, H.HELLO_REQUEST, keys=True),
    "server of TLS 1.2: at first": older("server", 0, H.CLIENT_HELLO),
    "server of TLS 1.2: after ClientHello": older("server", 1, H.CLIENT_KEY_EXCHANGE),
    "server of TLS 1.2: certificate required": older("server", 1, H.CERTIFICATE, configs=REQUIRED),
    "server of TLS 1.2: after Certificate": older("server", 2, H.CLIENT_KEY_EXCHANGE, configs=REQUIRED),
    "server of TLS 1.2: after ClientKeyExchange": older("server", 3, H.CERTIFICATE_VERIFY, configs=REQUIRED),
    "server of TLS 1.2: after ChangeCipherSpec": older("server", 2, H.FINISHED, keys=True),
    "server of TLS 1.2: after all": older("server", 4, H.FINISHED, configs=REQUIRED, keys=True),
    "server of TLS 1.2: established": older("server", ESTABLISHED, H.CLIENT_HELLO, keys=True),
}

KNOWN = tuple(HandshakeType.__members__.values())
ALL_TYPES = (*KNOWN, *sampled([type_ for type_ in map(HandshakeType, range(256)) if type_ not in KNOWN], 32))
"""All 256 where everything is tried; of those that nobody knows, which meet the same line of code, some."""

EMPTY_BY_NATURE = frozenset({H.HELLO_REQUEST, H.SERVER_HELLO_DONE, H.END_OF_EARLY_DATA})

points = pytest.mark.parametrize("name", list(POINTS))


@pytest.mark.attack(25, "state machine skips")
@pytest.mark.attack(46, "late certificate requests")
@points
def test_only_what_is_due_gets_past(name: str, record_property: Record) -> None:
    """A message of each type that is none of them, under the keys of the moment: empty, or too long by a byte."""
    point = POINTS[name]
    passed = set()
    record_property("cases", len(ALL_TYPES))
    for type_ in ALL_TYPES:
        said = framed(type_, b"?" if type_ in point.due & EMPTY_BY_NATURE else b"")
        stage, victim, error = _refuse(point, lambda peer, said=said: _say(peer, said))  # type: ignore[misc]
        if error.rule is not rules.MESSAGE_UNEXPECTED:
            passed.add(type_)
            assert error.rule in (rules.SHORT, rules.FINISHED, rules.TRAILING, rules.MESSAGE_TOO_LONG)
        else:
            assert error.alert is rules.MESSAGE_UNEXPECTED.alert
        assert error.alert is not None
        assert stage.alerts_sent(victim) == [bytes([2, error.alert])]
        assert not victim.established
    assert passed == point.due


@pytest.mark.attack(25, "state machine skips")
@points
def test_no_type_gets_past_in_the_clear(name: str, record_property: Record) -> None:
    """Once there are keys nothing counts that came without them; before, a record that claims to be protected."""
    point = POINTS[name]
    type_ = ContentType.HANDSHAKE if point.keys else ContentType.APPLICATION_DATA
    record_property("cases", len(ALL_TYPES))
    for message in ALL_TYPES:
        wire = record(type_, framed(message, b""))
        _, victim, error = _refuse(point, lambda peer, wire=wire: _put(peer, wire))  # type: ignore[misc]
        assert error.rule is point.unprotected
        assert error.alert is point.unprotected.alert
        assert not victim.established


@pytest.mark.attack(15, "STARTTLS injection")
@points
def test_no_application_data_gets_past_before_the_end(name: str) -> None:
    point = POINTS[name]
    if point.early:
        pytest.skip("it may come here, and is told apart: early data")
    if point.sent == ESTABLISHED:
        stage = Stage()
        victim, other = _joined(stage, point)
        other.send(b"data")
        victim.receive_data(other.data_to_send())
        assert [repr(event) for event in victim.events()] == ["Data(data=b'data')"]
        return
    _, victim, error = _refuse(point, _say_data)
    assert error.rule is rules.EARLY_APPLICATION_DATA
    assert not any(isinstance(event, Data) for event in victim.events())


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
        ("server", frozenset({H.END_OF_EARLY_DATA})),
        # TLS 1.2
        ("client", frozenset({H.SERVER_KEY_EXCHANGE})),
        ("client", frozenset({H.CERTIFICATE_REQUEST, H.SERVER_HELLO_DONE})),
        ("client", frozenset({H.SERVER_HELLO_DONE})),
        ("client", frozenset({H.NEW_SESSION_TICKET})),
        ("client", frozenset({H.HELLO_REQUEST})),
        ("server", frozenset({H.CLIENT_KEY_EXCHANGE})),
    }


# --- getting there ---------------------------------------------------------------------------------------------------

Deed = Callable[[Any], None]
"""What the peer does at the point, with its outbound half."""


def _say(outbound: Any, message: bytes) -> None:
    outbound.unsealed += message
    outbound.flush()


def _put(outbound: Any, wire: bytes) -> None:
    outbound.flush()
    outbound.records.append(wire)


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
