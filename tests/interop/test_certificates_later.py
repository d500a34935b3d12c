"""Certificates after the handshake, against OpenSSL behind the standard library, in both roles (RFC 8446 §4.6.2)."""

from __future__ import annotations

import ssl

import pytest

from handclasp import (
    ClientAuth,
    ClientAuthenticated,
    ClientConfig,
    ClientConnection,
    ClientSessions,
    ConfigError,
    ServerConfig,
    ServerConnection,
    TLSError,
    rules,
)
from handclasp.crypto.signatures import KeyKind
from handclasp.wire.names import HandshakeType
from interop.identities import NAME, Identities
from interop.openssl_bio import Meeting, StdlibPeer, shake
from interop.test_tls12 import stdlib

KINDS = pytest.mark.parametrize(
    "kind", [KeyKind.P256, KeyKind.P384, KeyKind.RSA, KeyKind.ED25519], ids=lambda kind: kind.name
)


def asking(identities: Identities, mode: ssl.VerifyMode = ssl.CERT_REQUIRED) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(identities.of().chain_file, identities.of().key_file)
    context.load_verify_locations(identities.root_file)
    context.verify_mode = mode
    context.post_handshake_auth = True
    return context


def answering(identities: Identities, kind: KeyKind | None, *, offers: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(identities.root_file)
    if kind is not None:
        context.load_cert_chain(identities.of(kind).chain_file, identities.of(kind).key_file)
    context.post_handshake_auth = offers
    return context


def asked(meeting: Meeting) -> None:
    """Have OpenSSL ask; its request leaves with the next thing it says."""
    stdlib(meeting).tls.verify_client_post_handshake()
    meeting.theirs.send(b"who are you?")
    meeting.carry()


@KINDS
def test_our_client_answers(kind: KeyKind, identities: Identities) -> None:
    mine = identities.of(kind)
    config = ClientConfig(trust=identities.trust, credentials=[mine.credential], post_handshake_auth=True)
    meeting = shake(ClientConnection(config, NAME), StdlibPeer(asking(identities)))
    meeting.exchange(b"from us", b"from them")
    assert meeting.theirs.certificate is None
    for number in (1, 2):
        asked(meeting)
        meeting.exchange(b"from us", b"from them")
        assert meeting.theirs.certificate == mine.credential.leaf.der
        assert len(meeting.theirs.handshake_messages(HandshakeType.FINISHED, sent=False)) == 1 + number
    assert meeting.ours.info.certificate == mine.credential.leaf


def test_our_client_answers_under_new_keys(identities: Identities) -> None:
    mine = identities.of()
    config = ClientConfig(trust=identities.trust, credentials=[mine.credential], post_handshake_auth=True)
    meeting = shake(ClientConnection(config, NAME), StdlibPeer(asking(identities)))
    meeting.ours.update_keys(request_peer=True)
    for _ in range(2):  # OpenSSL answers with the first thing it says, and asks nothing before
        meeting.exchange(b"from us", b"from them")
    asked(meeting)
    meeting.exchange(b"from us", b"from them")
    assert meeting.theirs.certificate == mine.credential.leaf.der


def test_what_openssl_was_told_later_is_not_resumed_by_another(identities: Identities) -> None:
    """Its tickets after an answer hold the certificate it was shown."""
    context, sessions = asking(identities), ClientSessions()
    mine, others = identities.of(), identities.of(KeyKind.P384)
    seen = []
    for shown, ask in ((mine, True), (others, False)):
        config = ClientConfig(
            trust=identities.trust, credentials=[shown.credential], post_handshake_auth=True, sessions=sessions
        )
        meeting = shake(ClientConnection(config, NAME), StdlibPeer(context))
        if ask:
            asked(meeting)
        meeting.exchange(b"from us", b"from them")
        seen.append(meeting.theirs.certificate)
    assert seen == [mine.credential.leaf.der, None]


def test_our_client_has_none(identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, post_handshake_auth=True)
    meeting = shake(ClientConnection(config, NAME), StdlibPeer(asking(identities, ssl.CERT_OPTIONAL)))
    asked(meeting)
    meeting.exchange(b"from us", b"from them")
    assert meeting.theirs.certificate is None
    assert meeting.theirs.handshake_messages(HandshakeType.CERTIFICATE, sent=False)


def test_our_client_does_not_offer_it_by_itself(identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, credentials=[identities.of().credential])
    meeting = shake(ClientConnection(config, NAME), StdlibPeer(asking(identities)))
    with pytest.raises(ssl.SSLError, match="EXTENSION_NOT_RECEIVED"):
        stdlib(meeting).tls.verify_client_post_handshake()


@KINDS
def test_our_server_asks(kind: KeyKind, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential])
    meeting = shake(ServerConnection(config), StdlibPeer(answering(identities, kind), NAME))
    server = meeting.ours
    assert isinstance(server, ServerConnection)
    meeting.exchange(b"from us", b"from them")
    assert not server.info.verified_chain
    for _ in range(2):
        server.request_certificate(ClientAuth(verify=identities.trust))
        meeting.carry()
        meeting.exchange(b"from us", b"from them")
        assert server.info.verified_chain[0] == identities.of(kind).credential.leaf
        server.update_keys(request_peer=True)
    told = [event for event in meeting.events if isinstance(event, ClientAuthenticated)]
    assert [event.verified_chain[0] for event in told] == [identities.of(kind).credential.leaf] * 2


@pytest.mark.parametrize("required", [True, False])
def test_our_server_asks_a_client_that_has_none(required: bool, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential])
    meeting = shake(ServerConnection(config), StdlibPeer(answering(identities, None), NAME))
    server = meeting.ours
    assert isinstance(server, ServerConnection)
    server.request_certificate(ClientAuth(verify=identities.trust, required=required))
    meeting.carry()
    if required:
        assert isinstance(meeting.failure, TLSError)
        assert meeting.failure.rule is rules.CERTIFICATE_REQUIRED
        return
    meeting.exchange(b"from us", b"from them")
    assert [event.verified_chain for event in meeting.events if isinstance(event, ClientAuthenticated)] == [()]


def test_our_server_does_not_ask_who_did_not_offer(identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential])
    peer = StdlibPeer(answering(identities, KeyKind.P256, offers=False), NAME)
    server = shake(ServerConnection(config), peer).ours
    assert isinstance(server, ServerConnection)
    with pytest.raises(ConfigError):
        server.request_certificate(ClientAuth(verify=identities.trust))


def test_our_server_changes_its_keys_while_the_answer_comes(identities: Identities) -> None:
    """OpenSSL sends each message of its answer in a record of its own."""
    config = ServerConfig(credentials=[identities.of().credential])
    meeting = shake(ServerConnection(config), StdlibPeer(answering(identities, KeyKind.P256), NAME))
    server = meeting.ours
    assert isinstance(server, ServerConnection)
    server.request_certificate(ClientAuth(verify=identities.trust))
    meeting.theirs.feed(server.data_to_send())
    answer, changed = meeting.theirs.take(), 0
    while answer:
        size = 5 + int.from_bytes(answer[3:5])
        server.receive_data(answer[:size])
        answer = answer[size:]
        if server.waiting_for == ("CertificateVerify",):
            server.update_keys()
            changed += 1
    assert changed == 1
    meeting.exchange(b"from us", b"from them")
    assert server.info.verified_chain[0] == identities.of().credential.leaf
