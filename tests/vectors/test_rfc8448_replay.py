"""The handshakes of RFC 8448, replayed byte for byte in both roles.

What the RFC drew by chance (keys, randoms, the cookie, signatures with a random salt) is injected; what its peers chose
differently from us (the shape of the ClientHello, the server's EncryptedExtensions, a ticket) is taken from the trace.
All else, every record of it, is ours and has to be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from handclasp import (
    CipherSuite,
    ClientAuth,
    ClientConfig,
    Credential,
    Data,
    EarlyData,
    EarlyDataReceived,
    ExternalPsk,
    NamedGroup,
    PresentedChain,
    ServerConfig,
    TLSVersion,
    VerifiedPeer,
)
from handclasp.connection import Connection, ServerConnection
from handclasp.crypto.groups import KeyPair, curve_key_pair
from handclasp.crypto.hashing import Hash
from handclasp.crypto.secret import Secret
from handclasp.crypto.signatures import PublicKey
from handclasp.handshake import server13
from handclasp.handshake.after import after_client
from handclasp.handshake.client import run_offer
from handclasp.handshake.offer import Offer
from handclasp.handshake.psk import RESUMPTION, Psk
from handclasp.handshake.resume import client_policy, server_policy
from handclasp.identity.certificates import Certificate
from handclasp.identity.names import peer_name
from handclasp.lab.faults import inject
from handclasp.sessions.replay import ReplayGuard
from handclasp.sessions.session import Session
from handclasp.wire.extensions import EncryptedExtensionsBlock
from handclasp.wire.messages import (
    MESSAGES,
    CertificateRequest,
    ClientHello,
    EncryptedExtensions,
    HelloRetryRequest,
    ServerHello,
)
from handclasp.wire.names import ContentType, ExtensionType, SignatureScheme

from .rfc8448 import Record, Side, Trace, load

RESUMED = "resumed-0rtt"
NAMES = ("simple-1rtt", RESUMED, "hello-retry-request", "client-authentication", "compatibility-mode")
NOW = datetime(2018, 8, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Recorded:
    """Entropy of one side of a trace."""

    trace: Trace
    side: str
    randoms: Iterator[bytes]

    def random(self, size: int) -> bytes:
        return next(self.randoms)

    def key_pair(self, group: NamedGroup) -> KeyPair:
        if group is NamedGroup.X25519:
            private = x25519.X25519PrivateKey.from_private_bytes(self.trace.keys[f"{self.side}_x25519_private"])
            return curve_key_pair(group, private)
        scalar = int.from_bytes(self.trace.keys[f"{self.side}_p256_private"])
        return curve_key_pair(group, ec.derive_private_key(scalar, ec.SECP256R1()))


@dataclass(frozen=True, slots=True)
class RecordedSigner:
    """Signs with the signature of the trace: its salt was random, and some of its keys are not published."""

    public_key: PublicKey
    signature: bytes

    def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
        return self.signature


class Accept:
    """The certificates of the RFC are self-signed."""

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        return VerifiedPeer(presented.chain, "it is in the RFC")


def _credential(trace: Trace, side: Side) -> Credential:
    certificate = Certificate.from_der(trace.certificates[side])
    assert certificate.public_key is not None
    signature = trace.message(side, "CertificateVerify")[8:]
    return Credential.from_signer([certificate], RecordedSigner(certificate.public_key, signature))


def _hellos(trace: Trace) -> list[ClientHello]:
    return [ClientHello.parse(m.message[4:]) for m in trace.messages if m.name == "ClientHello"]


class ReplayedOffer(Offer):
    """An offer whose second ClientHello is the one of the trace."""

    __slots__ = ()

    def again(self, request: HelloRetryRequest) -> Offer:
        ours = Offer.again(self, request)
        theirs = _hellos(self.config.entropy.trace)[1]  # type: ignore[attr-defined]
        # theirs adds padding, and puts the cookie elsewhere; the rest is what we would send
        kept = replace(theirs.extensions, padding=None, order=())
        assert replace(ours.hello, extensions=replace(ours.hello.extensions, order=())) == replace(
            theirs, extensions=kept
        )
        return replace(ours, hello=theirs)


def _client(trace: Trace) -> Connection:
    credentials = [_credential(trace, "client")] if trace.name == "client-authentication" else []
    config = ClientConfig(
        trust=Accept(),
        record_size_limit=16_385,
        credentials=credentials,
        groups=[NamedGroup.X25519, NamedGroup.SECP256R1, NamedGroup.SECP384R1],
        entropy=Recorded(trace, "client", iter(())),
        clock=lambda: NOW,
    )
    hello = _hellos(trace)[0]
    pairs = tuple(config.entropy.key_pair(entry.group) for entry in hello.extensions.key_share or ())
    assert [pair.public for pair in pairs] == [entry.key_exchange for entry in hello.extensions.key_share or ()]
    psks: tuple[Psk, ...] = ()
    early_data = b""
    if trace.name == RESUMED:
        offered = hello.extensions.pre_shared_key
        assert offered is not None
        session = _session(trace, client_policy(config, asked=False))
        psks = (Psk(offered.identities[0], session.secret, Hash.SHA256, RESUMPTION, session),)
        early_data = next(r.payload for r in trace.records if r.epoch == "early")
    offer = ReplayedOffer(config, peer_name("server"), hello, pairs, psks=psks, early_data=early_data)
    return Connection(config, lambda peer: run_offer(peer, offer), after_client, 0x0301)


def _session(trace: Trace, policy: bytes | None) -> Session:
    """The session that §3 gave its ticket for."""
    certificate = Certificate.from_der(load("simple-1rtt").certificates["server"])
    return Session(
        version=TLSVersion.TLS_1_3,
        suite=CipherSuite.TLS_AES_128_GCM_SHA256,
        secret=Secret(trace.secrets["psk"]),
        server_name="server",
        alpn="",
        policy=policy or b"",
        created=NOW,
        authenticated=NOW,
        expires=NOW + timedelta(hours=1),
        max_early_data=1024,
        verified_chain=(certificate,),
    )


@dataclass(frozen=True, slots=True)
class RecordedTickets:
    """Opens the ticket of the trace, and gives none."""

    session: Session

    def seal(self, session: Session, now: datetime) -> bytes:
        return b""

    def open(self, ticket: bytes, now: datetime) -> Session | None:
        return self.session


def _resuming(trace: Trace) -> dict[str, Any]:
    """What a server brings that knows the session of §3; its client says that the ticket is some days old."""
    known = _session(trace, server_policy(ServerConfig(psks=[ExternalPsk(b"-", bytes(16), role="server")])))
    hello = _hellos(trace)[0].extensions.pre_shared_key
    assert hello is not None
    session = replace(known, verified_chain=(), age_add=hello.identities[0].obfuscated_ticket_age)
    return {"tickets": RecordedTickets(session), "early_data": EarlyData(replay=ReplayGuard(clock=lambda: NOW))}


def _ordered(make: Callable[..., ServerHello], trace: Trace, *arguments: Any) -> ServerHello:
    """Our ServerHello with its extensions in the order of the trace."""
    order = ServerHello.parse(trace.message("server", "ServerHello")[4:]).extensions.order
    ours = make(*arguments)
    return replace(ours, extensions=replace(ours.extensions, order=order))


def _server(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> Connection:
    recorded = EncryptedExtensions.parse(trace.message("server", "EncryptedExtensions")[4:])

    def encrypted_extensions(*_: object, early_data: bool) -> EncryptedExtensionsBlock:
        return recorded.extensions

    monkeypatch.setattr(server13, "encrypted_extensions", encrypted_extensions)
    monkeypatch.setattr(server13, "server_hello", partial(_ordered, server13.server_hello, trace))
    retries = [m.message for m in trace.messages if m.name == "HelloRetryRequest"]
    cookies = [HelloRetryRequest.parse(retry[4:]).extensions.cookie or b"" for retry in retries]
    randoms = [*cookies, trace.message("server", "ServerHello")[6:38]]
    mutual = trace.name == "client-authentication"
    resuming = _resuming(trace) if trace.name == RESUMED else {}
    config = ServerConfig(
        credentials=[_credential(trace if trace.certificates else load("simple-1rtt"), "server")],
        ticket_count=0,
        **resuming,
        groups=[NamedGroup.SECP256R1] if retries else [NamedGroup.X25519],
        client_auth=ClientAuth(verify=Accept()) if mutual else None,
        entropy=Recorded(trace, "server", iter(randoms)),
        clock=lambda: NOW,
    )
    if mutual:
        request = trace.message("server", "CertificateRequest")
        parsed = CertificateRequest.parse(request[4:])
        monkeypatch.setattr(server13, "certificate_request", lambda config, auth: parsed)
    return ServerConnection(config)


def _say(connection: Connection, record: Record) -> None:
    """Make our side produce the next record of the trace, where it does not come by itself."""
    if record.type == "application_data":
        connection.send(record.payload)
    elif record.type == "alert":
        assert record.payload == b"\x01\x00"
        connection.close()
    elif record.epoch == "application":
        inject(connection, ContentType.HANDSHAKE, record.payload)


def _replay(connection: Connection, trace: Trace, side: str) -> bytes:
    """Play one side against the recorded other; returns the data it received."""
    received = b""
    sent = b""
    for record in trace.records:
        if record.sender == side:
            sent = sent or connection.data_to_send()
            if not sent:
                _say(connection, record)
                sent = connection.data_to_send()
            assert sent[: len(record.record)] == record.record
            sent = sent[len(record.record) :]
        else:
            assert not sent
            connection.receive_data(record.record)
            arrived = [e.data for e in connection.events() if isinstance(e, Data | EarlyDataReceived)]
            received += b"".join(arrived)
    assert not sent
    assert not connection.data_to_send()
    return received


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", ["client", "server"])
def test_every_record_is_the_rfcs(name: str, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = load(name)
    connection = _client(trace) if side == "client" else _server(trace, monkeypatch)
    received = _replay(connection, trace, side)
    theirs = [r for r in trace.records if r.sender != side and r.type == "application_data"]
    assert received == b"".join(record.payload for record in theirs)
    assert connection.established
    assert connection.closed_by_peer


@pytest.mark.parametrize("name", NAMES)
def test_messages_are_built_as_they_are_parsed(name: str) -> None:
    by_name = {cls.__name__: cls for cls in MESSAGES}
    for message in load(name).messages:
        assert by_name[message.name].parse(message.message[4:]).encode() == message.message


def test_the_retry_asks_for_a_cookie() -> None:
    retry = load("hello-retry-request").message("server", "HelloRetryRequest")
    assert ExtensionType.COOKIE in HelloRetryRequest.parse(retry[4:]).extensions.order
