"""Nothing runs across a change of keys: what follows a boundary message in its record, or in another under old keys.

RFC 8446 §5.1 makes this the receiver's duty. Whatever follows is not part of the sender's transcript: without the check
at the boundary it would be read as if it had come under the new keys, and nothing later would notice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from handclasp import ClientAuth, ClientConnection, Data, Limits, NamedGroup, ServerConnection, rules
from handclasp.connection import Connection
from handclasp.handshake.script import Peer
from handclasp.lab.faults import framed
from handclasp.rules import Rule
from handclasp.wire.extensions import (
    CertificateEntryExtensions,
    EncryptedExtensionsBlock,
    KeyShareEntry,
    NewSessionTicketExtensions,
    ServerHelloExtensions,
)
from handclasp.wire.messages import (
    HEADER_SIZE,
    Certificate,
    CertificateEntry,
    EncryptedExtensions,
    Finished,
    KeyUpdate,
    NewSessionTicket,
    ServerHello,
)
from handclasp.wire.names import CipherSuite, ContentType, HandshakeType, KeyUpdateRequest, TLSVersion
from rules.stage import Fall, Scene, Stage, assert_refused, authority, carry, client_credential

H = HandshakeType

EXTENSIONS = EncryptedExtensions(EncryptedExtensionsBlock()).encode()
CERTIFICATE = Certificate(b"", (CertificateEntry(b"der", CertificateEntryExtensions()),)).encode()
FINISHED = Finished(bytes(32)).encode()
TICKET = NewSessionTicket(60, 0, b"\0", b"a ticket", NewSessionTicketExtensions()).encode()
KEY_UPDATE = KeyUpdate(KeyUpdateRequest.UPDATE_NOT_REQUESTED).encode()
SERVER_HELLO = ServerHello(
    TLSVersion.TLS_1_2,
    bytes(32),
    b"",
    CipherSuite.TLS_AES_128_GCM_SHA256,
    0,
    ServerHelloExtensions(
        key_share=KeyShareEntry(NamedGroup.X25519, bytes(range(32))), supported_versions=TLSVersion.TLS_1_3
    ),
).encode()

STRANGE = framed(HandshakeType(99), b"?")
"""Of a type that no state accepts."""

WIDE = Limits(handshake_message=256 * 1024)
"""Where one byte is put in front of a message, the length it seems to declare is not what refuses it."""

RETRIED: dict[str, Any] = {
    "client": {
        "groups": [NamedGroup.SECP256R1, NamedGroup.X25519],
        "key_shares": [NamedGroup.SECP256R1],
        "limits": WIDE,
    },
    "server": {"groups": [NamedGroup.X25519], "limits": WIDE},
}
AUTHENTICATED: dict[str, Any] = {
    "client": {"credentials": [client_credential()]},
    "server": {"client_auth": ClientAuth(verify=authority().trust)},
}


@dataclass(frozen=True)
class Boundary:
    """A message after which keys change, or a flight ends."""

    message: HandshakeType
    number: int
    """Which message of this type."""
    sender: str
    following: bytes
    """What could come next: the message it would be, were the keys not to change."""
    old_keys: Rule
    """What refuses a record under the old keys."""
    configs: dict[str, Any] = field(default_factory=dict)
    after_handshake: bool = False
    other: bytes = b""
    """In a record of its own, where the keys do not change and what could come next would be in order."""


BOUNDARIES = {
    "ClientHello": Boundary(H.CLIENT_HELLO, 1, "client", FINISHED, rules.RECORD_UNPROTECTED),
    "ClientHello before a certificate": Boundary(
        H.CLIENT_HELLO, 1, "client", CERTIFICATE, rules.RECORD_UNPROTECTED, AUTHENTICATED
    ),
    "first ClientHello": Boundary(
        H.CLIENT_HELLO, 1, "client", FINISHED, rules.MESSAGE_UNEXPECTED, RETRIED, other=STRANGE
    ),
    "second ClientHello": Boundary(H.CLIENT_HELLO, 2, "client", FINISHED, rules.RECORD_UNPROTECTED, RETRIED),
    "client Finished": Boundary(H.FINISHED, 1, "client", KEY_UPDATE, rules.RECORD_MAC),
    "client Finished after a certificate": Boundary(
        H.FINISHED, 1, "client", KEY_UPDATE, rules.RECORD_MAC, AUTHENTICATED
    ),
    "client KeyUpdate": Boundary(H.KEY_UPDATE, 1, "client", KEY_UPDATE, rules.RECORD_MAC, after_handshake=True),
    "HelloRetryRequest": Boundary(
        H.SERVER_HELLO, 1, "server", SERVER_HELLO, rules.MESSAGE_UNEXPECTED, RETRIED, other=STRANGE
    ),
    "ServerHello": Boundary(H.SERVER_HELLO, 1, "server", EXTENSIONS, rules.RECORD_UNPROTECTED),
    "ServerHello after a retry": Boundary(H.SERVER_HELLO, 2, "server", EXTENSIONS, rules.RECORD_UNPROTECTED, RETRIED),
    "server Finished": Boundary(H.FINISHED, 1, "server", TICKET, rules.RECORD_MAC),
    "server Finished after a request": Boundary(H.FINISHED, 1, "server", TICKET, rules.RECORD_MAC, AUTHENTICATED),
    "server KeyUpdate": Boundary(H.KEY_UPDATE, 1, "server", TICKET, rules.RECORD_MAC, after_handshake=True),
}

FORMS = {
    "a message": lambda following: following,
    "a part": lambda following: following[: len(following) - 1],
    "its header": lambda following: following[:HEADER_SIZE],
    "one byte": lambda following: following[:1],
    "two messages": lambda following: following + following,
    "a message and a part": lambda following: following + following[:2],
}

CASES = [(name, form, same) for name in BOUNDARIES for form in FORMS for same in (True, False)]


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 80
    assert {boundary.sender for boundary in BOUNDARIES.values()} == {"client", "server"}


@pytest.mark.attack(29, "messages across a change of keys")
@pytest.mark.parametrize(("name", "form", "same_record"), CASES)
def test_nothing_follows(name: str, form: str, same_record: bool) -> None:
    boundary = BOUNDARIES[name]
    following = boundary.following if same_record else boundary.other or boundary.following
    stage = Stage()
    fall = _play(stage, boundary, FORMS[form](following), same_record)
    expected = rules.KEY_CHANGE_BOUNDARY if same_record else boundary.old_keys
    assert fall.error.rule is expected
    assert fall.error.alert is not None
    assert fall.error.alert.label in ("unexpected_message", "bad_record_mac")
    assert_refused(stage, fall, expected.alert)
    assert not any(isinstance(event, Data) for event in fall.victim.events())


@pytest.mark.parametrize(
    "name", [name for name, boundary in BOUNDARIES.items() if boundary.old_keys is rules.RECORD_MAC]
)
@pytest.mark.parametrize("content", [b"data", b""])
def test_no_data_follows_under_old_keys(name: str, content: bytes) -> None:
    stage = Stage()
    fall = _play(stage, BOUNDARIES[name], content, same_record=False, type_=ContentType.APPLICATION_DATA)
    assert_refused(stage, fall, rules.RECORD_MAC.alert)
    assert fall.error.rule is rules.RECORD_MAC


@pytest.mark.parametrize("name", list(BOUNDARIES))
def test_without_anything_added_the_boundary_is_crossed(name: str) -> None:
    """The stage itself disturbs nothing."""
    boundary = BOUNDARIES[name]
    client, server = _cast(Stage(), boundary, b"", same_record=True)
    carry(client, server)
    if boundary.after_handshake:
        scene = _scene(boundary, client, server)
        scene.other.update_keys()
        carry(client, server)
    assert client.established
    assert server.established


def _play(
    stage: Stage,
    boundary: Boundary,
    extra: bytes,
    same_record: bool,
    type_: ContentType = ContentType.HANDSHAKE,
) -> Fall:
    client, server = _cast(stage, boundary, extra, same_record, type_)
    if not boundary.after_handshake:
        return stage.play(client, server)
    carry(client, server)
    scene = _scene(boundary, client, server)
    scene.victim.events()
    scene.other.update_keys()
    return scene.deliver()


def _scene(boundary: Boundary, client: Connection, server: Connection) -> Scene:
    return Scene(server, client) if boundary.sender == "client" else Scene(client, server)


def _cast(
    stage: Stage,
    boundary: Boundary,
    extra: bytes,
    same_record: bool,
    type_: ContentType = ContentType.HANDSHAKE,
) -> tuple[ClientConnection, ServerConnection]:
    """A client and a server, one of which says more than it should."""

    class Talkative(Peer):
        __slots__ = ("_count",)

        def send_encoded(self, message: bytes) -> None:
            super().send_encoded(message)
            outbound: Any = self._outbound
            if message[0] == boundary.message:
                self._count = getattr(self, "_count", 0) + 1
                if self._count == boundary.number and same_record:
                    outbound.unsealed += extra
                elif self._count == boundary.number:
                    outbound.flush()
                    outbound._seal(type_, extra)

    peers = {boundary.sender: Talkative}
    client = stage.client(peer=peers.get("client"), **boundary.configs.get("client", {}))
    return client, stage.server(peer=peers.get("server"), **boundary.configs.get("server", {}))
