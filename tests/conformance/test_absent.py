"""What is not there cannot be attacked: never offered, and refused where a peer comes with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from handclasp import (
    CipherSuite,
    ClientConnection,
    ConfigError,
    NamedGroup,
    NegotiationError,
    ServerConnection,
    SignatureScheme,
    TLSError,
    TLSVersion,
    rules,
)
from handclasp.crypto.aead import Aead
from handclasp.crypto.entropy import SystemEntropy
from handclasp.crypto.groups import CURVE_SHARE_SIZE, GROUPS, KeyPair, curve_key_pair, generate
from handclasp.crypto.signatures import SUPPORTED
from handclasp.crypto.suites import DEFAULT_SUITES, SUITES, KeyExchange
from handclasp.lab.faults import framed, inject
from handclasp.wire.extensions import CertificateRequestExtensions, KeyShareEntry
from handclasp.wire.messages import CertificateRequest, ClientHello
from handclasp.wire.names import ContentType, ExtensionType, HandshakeType
from rules.stage import NAME, Stage, authority, block, carry, fields

OLD = {
    "CBC": (0x002F, 0xC013, 0xC009, 0xC027, 0xC023, 0x003C),
    "export": (0x0003, 0x0006, 0x0008, 0x0014, 0x0062),
    "finite-field Diffie-Hellman": (0x0033, 0x009E, 0x009F, 0xCCAA, 0x0039),
    "static Diffie-Hellman": (0xC02D, 0xC031, 0xC004, 0xC00E, 0x0030),
    "broken": (0x0005, 0xC007, 0x000A, 0xC012, 0x0001, 0x0002, 0x0018, 0x00A6, 0xC019),
}
"""Cipher suites that once were common, by what is wrong with them."""


def _refused(kind: str, **server: Any) -> TLSError:
    """What a server says to a client that has nothing else, but could do with all else the server has."""
    stage = Stage()
    suites = tuple(CipherSuite(code) for code in OLD[kind])
    hello = fields(ClientHello, cipher_suites=suites)
    groups = [NamedGroup.X25519, NamedGroup.SECP256R1]
    client = stage.client({HandshakeType.CLIENT_HELLO: hello}, versions=[TLSVersion.TLS_1_2], groups=groups)
    return stage.play(client, stage.server(**server)).error


@pytest.mark.attack(3, "BEAST")
@pytest.mark.attack(4, "padding oracles")
@pytest.mark.attack(6, "FREAK")
@pytest.mark.attack(7, "Logjam")
@pytest.mark.attack(11, "weak ciphers")
@pytest.mark.attack(21, "static Diffie-Hellman")
@pytest.mark.parametrize("kind", list(OLD))
def test_old_suites_are_neither_known_nor_taken(kind: str) -> None:
    assert not set(OLD[kind]) & set(SUITES)
    assert _refused(kind).rule is rules.NO_COMMON_CIPHER_SUITE


@pytest.mark.attack(4, "padding oracles")
@pytest.mark.attack(11, "weak ciphers")
def test_every_suite_is_authenticated_encryption_behind_a_fresh_key() -> None:
    assert all(isinstance(suite.aead, Aead) for suite in SUITES.values())
    assert len(DEFAULT_SUITES) == 9
    assert all(SUITES[code].key_exchange is not KeyExchange.RSA for code in DEFAULT_SUITES)


@pytest.mark.attack(3, "BEAST")
@pytest.mark.parametrize("version", [TLSVersion.SSL_3_0, TLSVersion.TLS_1_0, TLSVersion.TLS_1_1], ids=str)
def test_old_versions_are_neither_offered_nor_taken(version: TLSVersion) -> None:
    stage = Stage()
    with pytest.raises(ConfigError):
        stage.client(versions=[version])
    rewrite = fields(ClientHello, legacy_version=version)
    client = stage.client({HandshakeType.CLIENT_HELLO: rewrite}, versions=[TLSVersion.TLS_1_2])
    error = stage.play(client, stage.server()).error
    assert isinstance(error, NegotiationError)
    assert error.rule is rules.NO_SUPPORTED_VERSION


@pytest.mark.attack(7, "Logjam")
@pytest.mark.attack(9, "D(HE)at")
def test_there_is_no_finite_field_group() -> None:
    assert not [group for group in GROUPS if 0x0100 <= group <= 0x01FF]


@pytest.mark.attack(9, "D(HE)at")
def test_one_hello_costs_one_key_agreement() -> None:
    """However many shares it has."""
    made: list[NamedGroup] = []

    class Counting(SystemEntropy):
        def key_pair(self, group: NamedGroup) -> KeyPair:
            made.append(group)
            return super().key_pair(group)

    groups = list(CURVE_SHARE_SIZE)
    stage = Stage()
    client, server = stage.client(groups=groups, key_shares=groups), stage.server(entropy=Counting())
    carry(client, server)
    assert server.established
    assert len(made) == 1


@pytest.mark.attack(8, "Raccoon")
def test_a_shared_secret_keeps_its_leading_zeros() -> None:
    ours, lengths, first = generate(NamedGroup.SECP256R1), set(), set()
    for number in range(1, 1500):
        theirs = curve_key_pair(NamedGroup.SECP256R1, ec.derive_private_key(number, ec.SECP256R1()))
        secret = ours.agree(theirs.public)
        lengths.add(len(secret))
        first.add(secret[:1])
    assert lengths == {32}
    assert b"\0" in first


@pytest.mark.attack(10, "SLOTH")
@pytest.mark.parametrize("scheme", [0x0101, 0x0201, 0x0203, 0x0402], ids=hex)
def test_weak_hashes_are_not_offered(scheme: int) -> None:
    assert SignatureScheme(scheme) not in SUPPORTED
    offered = _hello(Stage().client()).extensions.signature_algorithms
    assert offered is not None
    assert SignatureScheme(scheme) not in offered


def _hello(client: ClientConnection) -> ClientHello:
    flight = client.data_to_send()
    return ClientHello.parse(flight[9 : 5 + int.from_bytes(flight[3:5])])


HEARTBEAT, POST_HANDSHAKE_AUTH, COMPRESS_CERTIFICATE, ECH = 15, 49, 27, 0xFE0D
CLIENT_TYPE, SERVER_TYPE = 19, 20


@pytest.mark.attack(23, "Heartbleed")
@pytest.mark.attack(35, "identities beside ECH")
@pytest.mark.attack(46, "late certificate requests")
@pytest.mark.attack(47, "verification that is not enforced")
@pytest.mark.attack(59, "certificate decompression")
def test_what_we_lack_is_not_offered() -> None:
    offered = set(_hello(Stage().client(name=NAME)).extensions.order)
    absent = {HEARTBEAT, POST_HANDSHAKE_AUTH, COMPRESS_CERTIFICATE, ECH, CLIENT_TYPE, SERVER_TYPE}
    assert not offered & {ExtensionType(number) for number in absent}


@pytest.mark.attack(46, "late certificate requests")
def test_a_late_request_for_a_certificate_is_refused() -> None:
    scene = Stage().joined({"credentials": [authority().issue("client.test", usage="client")]})
    request = CertificateRequest(b"late", CertificateRequestExtensions(signature_algorithms=SUPPORTED))
    inject(scene.other, ContentType.HANDSHAKE, request.encode())
    assert scene.deliver().error.rule is rules.MESSAGE_UNEXPECTED


@pytest.mark.attack(59, "certificate decompression")
def test_a_compressed_certificate_is_refused() -> None:
    stage = Stage()
    compressed = framed(HandshakeType.COMPRESSED_CERTIFICATE, b"\0\1" + (1 << 20).to_bytes(3) + b"\0\0\4bomb")
    server = stage.server({HandshakeType.CERTIFICATE: lambda _: [compressed]})
    assert stage.play(stage.client(), server).error.rule is rules.MESSAGE_UNEXPECTED


@pytest.mark.attack(49, "repeated randoms")
def test_nothing_drawn_is_drawn_twice() -> None:
    """Randoms, session ids and key shares of a thousand handshakes, both roles."""
    drawn: list[bytes] = []
    stage = Stage()
    for _ in range(500):
        client, server = stage.client(grease=False, trace=None), stage.server(trace=None)
        flight = client.data_to_send()
        hello = ClientHello.parse(flight[9:])
        server.receive_data(flight)
        answer = server.data_to_send()
        assert hello.extensions.key_share is not None
        drawn += [hello.random, hello.legacy_session_id, hello.extensions.key_share[0].key_exchange, answer[11:43]]
    assert len(set(drawn)) == len(drawn) == 2000


@pytest.mark.attack(19, "version intolerance")
def test_unknown_values_of_every_kind_are_passed_over() -> None:
    """Versions, suites, groups, schemes and extensions that nobody has heard of, beside ours."""
    stage = Stage()

    def strange(message: ClientHello) -> ClientHello:
        extensions = message.extensions
        assert extensions.supported_versions is not None
        assert extensions.supported_groups is not None
        assert extensions.signature_algorithms is not None
        assert extensions.key_share is not None
        changed = replace(
            extensions,
            supported_versions=(TLSVersion(0x0399), *extensions.supported_versions),
            supported_groups=(NamedGroup(0x7777), *extensions.supported_groups),
            signature_algorithms=(SignatureScheme(0x7777), *extensions.signature_algorithms),
            key_share=(KeyShareEntry(NamedGroup(0x7777), b"?"), *extensions.key_share),
            unknown=((ExtensionType(0x7777), b"?"),),
            order=(),
        )
        return replace(message, cipher_suites=(CipherSuite(0x7777), *message.cipher_suites), extensions=changed)

    def rewrite(encoded: bytes) -> list[bytes]:
        return [strange(ClientHello.parse(encoded[4:])).encode()]

    client = stage.client({HandshakeType.CLIENT_HELLO: rewrite}, grease=False)
    server = stage.server()
    carry(client, server)
    assert client.established
    assert server.established


@pytest.mark.attack(14, "ALPACA")
def test_a_server_without_the_protocol_is_refused_even_where_its_name_is_right() -> None:
    stage = Stage()
    error = stage.play(stage.client(alpn=["http/1.1"]), stage.server(alpn=["ftp"])).error
    assert error.rule is rules.NO_APPLICATION_PROTOCOL
    rewrite = block(ClientHello, alpn=(b"ftp",))
    client = stage.client({HandshakeType.CLIENT_HELLO: rewrite}, alpn=["http/1.1"])
    assert stage.play(client, stage.server(alpn=["ftp"])).error.rule is rules.ALPN_SELECTION


@pytest.mark.attack(15, "STARTTLS injection")
def test_data_in_front_of_the_handshake_is_never_delivered() -> None:
    """What somebody put into the stream before the handshake does not come out as if it had been protected."""
    stage = Stage()
    for victim in (stage.client(), stage.server()):
        assert isinstance(victim, ClientConnection | ServerConnection)
        with pytest.raises(TLSError):
            victim.receive_data(b"\x17\x03\x03\x00\x05LOGIN")
        assert victim.events() == []
