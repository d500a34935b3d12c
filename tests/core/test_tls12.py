"""TLS 1.2: the handshakes it has of its own, its sessions, and what it must not do."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from handclasp import (
    Alert,
    AlertReceived,
    CertificateError,
    CipherSuite,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    Closed,
    ConfigError,
    ConnectionClosed,
    Credential,
    HandshakeError,
    Limits,
    NamedGroup,
    NegotiationError,
    PresentedChain,
    ServerConfig,
    ServerConnection,
    SignatureScheme,
    Subject,
    TLSError,
    TLSVersion,
    TrustStore,
    VerifiedPeer,
    danger,
)
from handclasp.crypto.groups import POST_QUANTUM, KeyPair, generate
from handclasp.crypto.signatures import KeyKind
from handclasp.handshake import client12
from handclasp.handshake.script import Peer
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.faults import framed, inject, misbehaving
from handclasp.lab.pair import Pair, handshake
from handclasp.sessions.cache import ClientSessions, ServerSessions
from handclasp.sessions.tickets import TicketKeys
from handclasp.trace import Direction, RecordMoved, TraceEvent
from handclasp.wire.extensions import ServerHelloExtensions
from handclasp.wire.messages import ClientHello, ServerHello
from handclasp.wire.messages12 import CertificateRequest12
from handclasp.wire.names import ClientCertificateType, ContentType, HandshakeType

TLS_1_2 = [TLSVersion.TLS_1_2]
BOTH = [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2]


@pytest.fixture(scope="module")
def rsa_credential(authority: CertificateAuthority) -> Credential:
    usage = ("digital_signature", "key_encipherment")
    return authority.issue("localhost", key_kind=KeyKind.RSA, key_usage=usage)


@pytest.fixture
def client_config(trust: TrustStore) -> ClientConfig:
    return ClientConfig(trust=trust, versions=BOTH)


@pytest.fixture
def server_config(credential: Credential) -> ServerConfig:
    return ServerConfig(credentials=[credential], versions=TLS_1_2)


def transport(config: Any) -> Any:
    """The configuration with RSA key transport and nothing else."""
    with pytest.warns(danger.InsecureWarning):
        config = danger.allow_rsa_key_transport(config)
    return config.replace(cipher_suites=[CipherSuite.TLS_RSA_WITH_AES_128_GCM_SHA256], versions=TLS_1_2)


def shaken(client: ClientConfig, server: ServerConfig) -> Pair:
    pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
    pair.client.send(b"question" * 1000)
    pair.server.send(b"answer" * 1000)
    pair.shuttle(piece=1000)
    assert pair.server_data() == b"question" * 1000
    assert pair.client_data() == b"answer" * 1000
    return pair


# --- full handshakes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limited", ["client", "server"])
def test_suites_of_one_version_leave_the_other_alone(limited: str, trust: TrustStore, credential: Credential) -> None:
    """What nobody could agree on a suite for is not offered, and not chosen."""
    for suite, version in (
        (CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLSVersion.TLS_1_2),
        (CipherSuite.TLS_AES_256_GCM_SHA384, TLSVersion.TLS_1_3),
    ):
        suites: dict[str, dict[str, Any]] = {limited: {"cipher_suites": [suite]}}
        client = ClientConfig(trust=trust, **suites.get("client", {}))
        server = ServerConfig(credentials=[credential], **suites.get("server", {}))
        info = handshake(ClientConnection(client, "localhost"), ServerConnection(server)).server.info
        assert (info.version, info.cipher_suite) == (version, suite)
        (other,) = {*BOTH} - {version}
        with pytest.raises(NegotiationError) as caught:
            handshake(
                ClientConnection(client.replace(versions=BOTH if limited == "client" else [other]), "localhost"),
                ServerConnection(server.replace(versions=BOTH if limited == "server" else [other])),
            )
        assert caught.value.alert is Alert.PROTOCOL_VERSION


def test_one_hello_serves_both_versions(client_config: ClientConfig, server_config: ServerConfig) -> None:
    for versions, expected in ((BOTH, TLSVersion.TLS_1_3), (TLS_1_2, TLSVersion.TLS_1_2)):
        pair = shaken(client_config, server_config.replace(versions=versions))
        assert pair.client.info.version is pair.server.info.version is expected
        pair = shaken(client_config.replace(versions=versions), server_config.replace(versions=BOTH))
        assert pair.client.info.version is pair.server.info.version is expected


def test_the_newest_version_is_chosen_in_whatever_order(
    client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """To choose an older one, a server would have to say that it could do better, and every client would hang up."""
    upwards = [TLSVersion.TLS_1_2, TLSVersion.TLS_1_3]
    client, server = client_config.replace(versions=upwards), server_config.replace(versions=upwards)
    assert client.usable_versions == server.usable_versions == (TLSVersion.TLS_1_3, TLSVersion.TLS_1_2)
    assert client.versions == tuple(upwards)
    for pair in (shaken(client, server), shaken(client.replace(versions=upwards[::-1]), server)):
        assert pair.client.info.version is pair.server.info.version is TLSVersion.TLS_1_3


@pytest.mark.parametrize("suite", [suite for suite in ClientConfig().cipher_suites if "WITH" in suite.name])
def test_every_suite(
    suite: CipherSuite, client_config: ClientConfig, credential: Credential, rsa_credential: Credential
) -> None:
    server = ServerConfig(credentials=[credential, rsa_credential], versions=TLS_1_2, cipher_suites=[suite])
    info = shaken(client_config, server).client.info
    assert info.cipher_suite is suite
    assert info.group is NamedGroup.X25519
    used = rsa_credential if "RSA" in suite.name.split("_WITH_")[0] else credential
    assert info.peer_certificates[0] == used.leaf


def test_both_sides_tell_the_same(client_config: ClientConfig, server_config: ServerConfig) -> None:
    pair = shaken(client_config.replace(alpn=["h2"]), server_config.replace(alpn=["h2"]))
    ours, theirs = pair.client.info, pair.server.info
    assert (ours.cipher_suite, ours.group, ours.signature_scheme) == (
        theirs.cipher_suite,
        theirs.group,
        theirs.signature_scheme,
    )
    assert ours.alpn == theirs.alpn == "h2"
    assert ours.server_name == theirs.server_name == "localhost"
    assert ours.verified_chain[-1].subject
    assert ours.why(Subject.CIPHER_SUITE)
    for context in (None, b"", b"context"):
        assert pair.client.export("label", context) == pair.server.export("label", context)
    assert pair.client.export("label", None) != pair.client.export("label", b"")
    for kind in ("tls-unique", "tls-exporter", "tls-server-end-point"):
        assert pair.client.channel_binding(kind) == pair.server.channel_binding(kind)
    assert len(pair.client.channel_binding("tls-unique")) == 12


def test_client_certificates(
    authority: CertificateAuthority, client_config: ClientConfig, server_config: ServerConfig, trust: TrustStore
) -> None:
    for kind in (KeyKind.P256, KeyKind.RSA, KeyKind.ED25519):
        staff = authority.issue("staff.test", usage="client", key_kind=kind)
        pair = shaken(
            client_config.replace(credentials=[staff]), server_config.replace(client_auth=ClientAuth(verify=trust))
        )
        assert pair.server.info.peer_certificates == staff.chain
        assert pair.server.info.client_signature_scheme is pair.client.info.client_signature_scheme is not None
    optional = server_config.replace(client_auth=ClientAuth(verify=trust, required=False))
    assert shaken(client_config, optional).server.info.peer_certificates == ()
    with pytest.raises(CertificateError) as caught:
        shaken(client_config, server_config.replace(client_auth=ClientAuth(verify=trust)))
    assert caught.value.code == "client-certificate-missing"
    assert caught.value.alert is Alert.HANDSHAKE_FAILURE


@pytest.mark.attack(51, "keys used too long")
def test_keys_cannot_change_and_end_the_connection(client_config: ClientConfig, server_config: ServerConfig) -> None:
    pair = shaken(client_config.replace(limits=Limits(records_per_key=6)), server_config)
    with pytest.raises(ConfigError):
        pair.client.update_keys()
    with pytest.raises(ConnectionClosed) as caught:
        pair.client.send(b"x" * 20 * 16_384)
    assert caught.value.code == "keys-worn-out"
    pair.server.receive_data(pair.client.data_to_send())
    assert pair.server.events()[-1] == Closed(clean=True)


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(client: Callable[[], ClientConnection], server: Callable[[], ServerConnection]) -> TLSError:
    with pytest.raises(TLSError) as caught:
        handshake(client(), server())
    return caught.value


@pytest.mark.attack(18, "downgrade")
def test_a_downgrade_is_noticed(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """A server that could do TLS 1.3 marks its random; a client that offered 1.3 sees that somebody took it away."""

    def without_newest(message: bytes) -> list[bytes]:
        return [message.replace(b"\x03\x04\x03\x03", b"\x03\x03\x03\x03")]

    Tampered = misbehaving(ClientConnection, {HandshakeType.CLIENT_HELLO: without_newest})  # noqa: N806
    error = refused(
        lambda: Tampered(client_config.replace(grease=False), "localhost"),
        lambda: ServerConnection(server_config.replace(versions=BOTH)),
    )
    assert error.code == "downgrade"


@pytest.mark.attack(18, "downgrade")
def test_fallback_is_answered(client_config: ClientConfig, server_config: ServerConfig) -> None:
    def fallen_back(message: bytes) -> list[bytes]:
        return [message.replace(b"\xc0\x2b", b"\x56\x00", 1)]

    Fallen = misbehaving(ClientConnection, {HandshakeType.CLIENT_HELLO: fallen_back})  # noqa: N806
    older = client_config.replace(versions=TLS_1_2)
    error = refused(lambda: Fallen(older, "localhost"), lambda: ServerConnection(server_config.replace(versions=BOTH)))
    assert error.alert is Alert.INAPPROPRIATE_FALLBACK
    pair = handshake(Fallen(older, "localhost"), ServerConnection(server_config))
    assert pair.client.established


@pytest.mark.attack(2, "triple handshake")
def test_the_extended_master_secret_is_required_and_danger_may_drop_it(
    client_config: ClientConfig, server_config: ServerConfig
) -> None:
    def forgetful(message: bytes) -> list[bytes]:
        # the same length, under a type that nobody knows
        return [message.replace(b"\x00\x17\x00\x00", b"\x5f\x17\x00\x00")]

    Forgetful = misbehaving(ClientConnection, {HandshakeType.CLIENT_HELLO: forgetful})  # noqa: N806
    error = refused(lambda: Forgetful(client_config, "localhost"), lambda: ServerConnection(server_config))
    assert error.code == "extended-master-secret"
    assert "allow_plain_master_secret" in error.remedy
    with pytest.warns(danger.InsecureWarning):
        careless = danger.allow_plain_master_secret(server_config)
    with pytest.warns(danger.InsecureWarning):
        careless_client = danger.allow_plain_master_secret(client_config)
    pair = handshake(Forgetful(careless_client, "localhost"), ServerConnection(careless))
    assert pair.client.established
    for kind in ("tls-unique", "tls-exporter"):
        with pytest.raises(ConfigError):
            pair.client.channel_binding(kind)
    error = refused(lambda: Forgetful(client_config, "localhost"), lambda: ServerConnection(careless))
    assert error.code == "extended-master-secret"


@pytest.mark.attack(1, "renegotiation")
@pytest.mark.parametrize("wish", [HandshakeType.HELLO_REQUEST, HandshakeType.CLIENT_HELLO])
def test_renegotiation_is_refused_once_politely(
    wish: HandshakeType, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    pair = shaken(client_config, server_config)
    asks, asked = (pair.server, pair.client) if wish is HandshakeType.HELLO_REQUEST else (pair.client, pair.server)
    body = b"" if wish is HandshakeType.HELLO_REQUEST else _hello_body(client_config)
    inject(asks, ContentType.HANDSHAKE, framed(wish, body))
    asked.receive_data(asks.data_to_send())
    asks.receive_data(asked.data_to_send())
    asked.send(b"still here")
    asks.receive_data(asked.data_to_send())
    inject(asks, ContentType.HANDSHAKE, framed(wish, body))
    with pytest.raises(HandshakeError) as caught:
        asked.receive_data(asks.data_to_send())
    assert caught.value.code == "renegotiation"


def _hello_body(config: ClientConfig) -> bytes:
    return ClientConnection(config, "localhost").data_to_send()[9:]


@pytest.mark.attack(24, "early ChangeCipherSpec")
def test_early_change_cipher_spec(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """Keys may change only behind the messages they come from (CVE-2014-0224)."""
    client, server = ClientConnection(client_config, "localhost"), ServerConnection(server_config)
    server.receive_data(client.data_to_send())
    with pytest.raises(HandshakeError) as caught:
        server.receive_data(b"\x14\x03\x03\x00\x01\x01")
    assert caught.value.code == "ccs-misplaced"
    client, server = ClientConnection(client_config, "localhost"), ServerConnection(server_config)
    server.receive_data(client.data_to_send())
    flight = server.data_to_send()
    first = 5 + int.from_bytes(flight[3:5])
    assert first == len(flight)
    hello = 4 + int.from_bytes(flight[6:9])
    client.receive_data(b"\x16\x03\x03" + hello.to_bytes(2) + flight[5 : 5 + hello])
    with pytest.raises(HandshakeError) as caught:
        client.receive_data(b"\x14\x03\x03\x00\x01\x01")
    assert caught.value.code == "ccs-misplaced"


@pytest.mark.attack(25, "state machine skips")
def test_a_certificate_without_its_proof(
    authority: CertificateAuthority, client_config: ClientConfig, server_config: ServerConfig, trust: TrustStore
) -> None:
    Silent = misbehaving(ClientConnection, {HandshakeType.CERTIFICATE_VERIFY: lambda message: []})  # noqa: N806
    staff = authority.issue("staff.test", usage="client")
    error = refused(
        lambda: Silent(client_config.replace(credentials=[staff]), "localhost"),
        lambda: ServerConnection(server_config.replace(client_auth=ClientAuth(verify=trust))),
    )
    assert error.alert is Alert.UNEXPECTED_MESSAGE


@pytest.mark.attack(26, "goto fail")
@pytest.mark.parametrize(
    "type_", [HandshakeType.SERVER_KEY_EXCHANGE, HandshakeType.CERTIFICATE_VERIFY, HandshakeType.FINISHED]
)
def test_a_wrong_proof(
    type_: HandshakeType,
    authority: CertificateAuthority,
    client_config: ClientConfig,
    server_config: ServerConfig,
    trust: TrustStore,
) -> None:
    def spoiled(message: bytes) -> list[bytes]:
        return [message[:-1] + bytes([message[-1] ^ 1])]

    staff = authority.issue("staff.test", usage="client", key_kind=KeyKind.RSA)
    client = client_config.replace(credentials=[staff])
    server = server_config.replace(client_auth=ClientAuth(verify=trust))
    cases: list[tuple[type[ClientConnection], type[ServerConnection]]] = [
        (misbehaving(ClientConnection, {type_: spoiled}), ServerConnection),
        (ClientConnection, misbehaving(ServerConnection, {type_: spoiled})),
    ]
    alerts = []
    for client_class, server_class in cases:
        try:
            handshake(client_class(client, "localhost"), server_class(server))
        except TLSError as error:
            alerts.append(error.alert)
    assert alerts == [Alert.DECRYPT_ERROR] * (2 if type_ is HandshakeType.FINISHED else 1)


def test_nothing_in_common_is_said_with_both_offers(client_config: ClientConfig, server_config: ServerConfig) -> None:
    suites = [CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
    error = refused(
        lambda: ClientConnection(client_config.replace(versions=TLS_1_2, cipher_suites=suites), "localhost"),
        lambda: ServerConnection(server_config),
    )
    assert isinstance(error, NegotiationError)
    assert "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" in error.theirs
    assert "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" in error.ours
    newest = client_config.replace(versions=[TLSVersion.TLS_1_3])
    error = refused(lambda: ClientConnection(newest, "localhost"), lambda: ServerConnection(server_config))
    assert error.alert is Alert.PROTOCOL_VERSION
    assert error.ours == ("TLS 1.2",)
    assert "TLS 1.3" in error.theirs


# --- sessions --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["ticket", "id"])
def keeping(request: pytest.FixtureRequest, server_config: ServerConfig) -> ServerConfig:
    if request.param == "ticket":
        return server_config.replace(tickets=TicketKeys())
    return server_config.replace(sessions=ServerSessions())


def resumed(client: ClientConfig, server: ServerConfig) -> bool:
    pair = shaken(client, server)
    assert pair.client.info.resumed == pair.server.info.resumed
    return pair.client.info.resumed


def test_sessions_are_resumed(client_config: ClientConfig, keeping: ServerConfig) -> None:
    client = client_config.replace(sessions=ClientSessions())
    assert [resumed(client, keeping) for _ in range(4)] == [False, True, True, True]


def test_what_was_proved_is_remembered(
    authority: CertificateAuthority, client_config: ClientConfig, keeping: ServerConfig, trust: TrustStore
) -> None:
    staff = authority.issue("staff.test", usage="client")
    client = client_config.replace(sessions=ClientSessions(), credentials=[staff])
    server = keeping.replace(client_auth=ClientAuth(verify=trust))
    shaken(client, server)
    pair = shaken(client, server)
    assert pair.client.info.resumed
    assert pair.server.info.verified_chain[0] == staff.leaf
    assert pair.client.info.verified_chain[0] == keeping.listed_credentials[0].leaf
    assert pair.client.channel_binding("tls-unique") == pair.server.channel_binding("tls-unique")
    assert pair.client.export("x") == pair.server.export("x")


@pytest.mark.attack(34, "sessions across configurations")
def test_other_demands_make_a_full_handshake(
    authority: CertificateAuthority, client_config: ClientConfig, keeping: ServerConfig, trust: TrustStore
) -> None:
    staff = authority.issue("staff.test", usage="client")
    changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"alpn": ["h2"]}, {"alpn": ["h2"]}),
        ({"trust": trust | CertificateAuthority("another").trust}, {}),
        ({"clock": lambda: datetime.now(UTC) + timedelta(hours=3)}, {}),
        ({"cipher_suites": [CipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]}, {}),
        ({"credentials": [staff]}, {"client_auth": ClientAuth(verify=trust)}),
        ({}, {"clock": lambda: datetime.now(UTC) + timedelta(hours=3)}),
        ({}, {"cipher_suites": [CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]}),
    ]
    for client_change, server_change in changes:
        client = client_config.replace(sessions=ClientSessions())
        assert not resumed(client, keeping)
        assert not resumed(client.replace(**client_change), keeping.replace(**server_change))


def test_a_server_may_settle_another_protocol_when_it_resumes(
    client_config: ClientConfig, keeping: ServerConfig
) -> None:
    """ALPN is a connection's own (RFC 7301 §3.1): others than we resume with another, and it is remembered then."""

    def changed(encoded: bytes) -> list[bytes]:
        hello = ServerHello.parse(encoded[4:])
        return [replace(hello, extensions=replace(hello.extensions, alpn=(b"b",))).encode()]

    Changing = misbehaving(ServerConnection, {HandshakeType.SERVER_HELLO: changed})  # noqa: N806
    sessions = ClientSessions()
    client, server = client_config.replace(sessions=sessions, alpn=["a", "b"]), keeping.replace(alpn=["a"])
    shaken(client, server)
    pair = handshake(ClientConnection(client, "localhost"), Changing(server))
    assert pair.client.info.resumed
    assert pair.client.info.alpn == "b"
    held = sessions.take("localhost")
    assert held is not None
    assert held.session.alpn == "b"


def test_a_forgotten_session_is_no_failure(client_config: ClientConfig, server_config: ServerConfig) -> None:
    client = client_config.replace(sessions=ClientSessions())
    for server in (server_config.replace(tickets=TicketKeys()), server_config.replace(sessions=ServerSessions())):
        assert not resumed(client, server)


def test_a_verifier_without_a_fingerprint_keeps_nothing(client_config: ClientConfig, keeping: ServerConfig) -> None:
    class Accept:
        def verify(self, presented: PresentedChain) -> VerifiedPeer:
            return VerifiedPeer(presented.chain, "yes")

    client = client_config.replace(sessions=ClientSessions(), trust=Accept())
    assert [resumed(client, keeping) for _ in range(2)] == [False, False]


# --- RSA key transport -----------------------------------------------------------------------------------------------


def test_key_transport_needs_danger(client_config: ClientConfig, rsa_credential: Credential) -> None:
    with pytest.raises(ConfigError):
        client_config.replace(cipher_suites=[CipherSuite.TLS_RSA_WITH_AES_128_GCM_SHA256])
    server = ServerConfig(credentials=[rsa_credential], versions=TLS_1_2)
    info = shaken(transport(client_config), transport(server)).client.info
    assert info.cipher_suite is CipherSuite.TLS_RSA_WITH_AES_128_GCM_SHA256
    assert info.group is None
    assert info.signature_scheme is None
    assert info.verified_chain[0] == rsa_credential.leaf
    for client, other in ((client_config, transport(server)), (transport(client_config), server)):
        error = refused(lambda: ClientConnection(client, "localhost"), lambda: ServerConnection(other))  # noqa: B023
        assert isinstance(error, NegotiationError)


def test_key_transport_needs_a_certificate_for_it(authority: CertificateAuthority, client_config: ClientConfig) -> None:
    signing_only = authority.issue("localhost", key_kind=KeyKind.RSA)
    server = transport(ServerConfig(credentials=[signing_only], versions=TLS_1_2))
    error = refused(lambda: ClientConnection(transport(client_config), "localhost"), lambda: ServerConnection(server))
    assert error.code == "certificate-encryption"


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the one who asks can see of an answer, and all that the server tells its own side."""

    alert: Alert | None
    record_sizes: tuple[int, ...]
    error: str
    notes: tuple[str, ...]
    trace: tuple[tuple[str, str, int], ...]


def _pkcs1(content: bytes, size: int, start: bytes = b"\x00\x02", separator: bytes = b"\x00") -> bytes:
    filler = bytes(byte or 1 for byte in os.urandom(size - len(start) - len(separator) - len(content)))
    return start + filler + separator + content


MALFORMED: dict[str, Callable[[int], bytes]] = {
    "right version and length, another secret": lambda size: _pkcs1(b"\x03\x03" + os.urandom(46), size),
    "wrong version": lambda size: _pkcs1(b"\x03\x02" + os.urandom(46), size),
    "version of an attacker": lambda size: _pkcs1(b"\xff\xff" + os.urandom(46), size),
    "too short": lambda size: _pkcs1(b"\x03\x03" + os.urandom(45), size),
    "too long": lambda size: _pkcs1(b"\x03\x03" + os.urandom(47), size),
    "empty": lambda size: _pkcs1(b"", size),
    "all of it": lambda size: _pkcs1(b"\x03\x03" + os.urandom(size - 13), size),
    "first byte not zero": lambda size: _pkcs1(b"\x03\x03" + os.urandom(46), size, start=b"\x01\x02"),
    "block type 1": lambda size: _pkcs1(b"\x03\x03" + os.urandom(46), size, start=b"\x00\x01"),
    "block type 0": lambda size: _pkcs1(b"\x03\x03" + os.urandom(46), size, start=b"\x00\x00"),
    "no separator": lambda size: _pkcs1(bytes(b or 1 for b in os.urandom(48)), size, separator=b"\x01"),
    "zero within the padding": lambda size: b"\x00\x02\x11\x00" + _pkcs1(b"\x03\x03" + os.urandom(46), size - 4, b""),
    "all zero": lambda size: bytes(size),
    "random": lambda size: b"\x00" + os.urandom(size - 1),
}


def _ask(
    name: str, client: ClientConfig, server: ServerConfig, credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> Seen:
    key = credential.leaf.public_key
    assert isinstance(key, rsa.RSAPublicKey)
    size = key.key_size // 8
    numbers = key.public_numbers()

    def encrypt(_: object, premaster: bytes) -> bytes:
        block = int.from_bytes(MALFORMED[name](size))
        return pow(block, numbers.e, numbers.n).to_bytes(size)

    monkeypatch.setattr(client12, "encrypt_premaster", encrypt)
    seen: list[TraceEvent] = []
    victim = ServerConnection(server.replace(trace=seen.append))
    attacker = ClientConnection(client, "localhost")
    with pytest.raises(HandshakeError) as caught:
        handshake(attacker, victim)
    answer = victim.data_to_send()
    sizes = []
    while answer:
        sizes.append(5 + int.from_bytes(answer[3:5]))
        answer = answer[sizes[-1] :]
    records = tuple(
        (type(event).__name__, str(getattr(event, "direction", "")), len(getattr(event, "record", b"")))
        for event in seen
        if not (isinstance(event, RecordMoved) and event.direction is Direction.RECEIVED and len(event.record) > 300)
    )
    return Seen(caught.value.alert, tuple(sizes), str(caught.value), tuple(map(str, victim.info.choices)), records)


@pytest.mark.attack(5, "Bleichenbacher")
def test_no_malformed_secret_can_be_told_from_another(
    client_config: ClientConfig, rsa_credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bleichenbacher's question has one answer (RFC 5246 §7.4.7.1): the same alert, sizes, error, notes and trace."""
    client = transport(client_config)
    server = transport(ServerConfig(credentials=[rsa_credential], versions=TLS_1_2))
    answers = {name: _ask(name, client, server, rsa_credential, monkeypatch) for name in MALFORMED}
    assert len(set(answers.values())) == 1
    (only,) = set(answers.values())
    assert only.alert is Alert.BAD_RECORD_MAC


@pytest.mark.attack(5, "Bleichenbacher")
@pytest.mark.parametrize("length", [0, 1, 255, 257, 512])
def test_a_ciphertext_of_another_length_fails_no_differently(
    length: int, client_config: ClientConfig, rsa_credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client12, "encrypt_premaster", lambda key, premaster: os.urandom(length))
    client = transport(client_config)
    server = ServerConnection(transport(ServerConfig(credentials=[rsa_credential], versions=TLS_1_2)))
    attacker = ClientConnection(client, "localhost")
    with pytest.raises(HandshakeError) as caught:
        handshake(attacker, server)
    assert caught.value.alert is Alert.BAD_RECORD_MAC
    with pytest.raises((AlertReceived, TLSError)):
        attacker.receive_data(server.data_to_send())


# --- boundaries ------------------------------------------------------------------------------------------------------


class Straddling(Peer):
    """Begins a message before it changes keys, and would go on behind."""

    __slots__ = ()

    def send_change_cipher_spec(self) -> None:
        outbound: Any = self._outbound
        outbound.flush()
        outbound._seal(ContentType.HANDSHAKE, bytes([HandshakeType.FINISHED]))
        super().send_change_cipher_spec()


@pytest.mark.attack(29, "messages across a change of keys")
def test_no_message_straddles_the_change_of_keys(client_config: ClientConfig, server_config: ServerConfig) -> None:
    Client = type("Client", (ClientConnection,), {"__slots__": (), "peer_class": Straddling})  # noqa: N806
    Server = type("Server", (ServerConnection,), {"__slots__": (), "peer_class": Straddling})  # noqa: N806
    for client, server in ((Client, ServerConnection), (ClientConnection, Server)):
        error = refused(lambda: client(client_config, "localhost"), lambda: server(server_config))  # noqa: B023
        assert error.code == "key-change-boundary"


@pytest.mark.attack(36, "sessions across versions")
def test_an_echo_without_a_session_is_refused(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """A TLS 1.2 server that echoes the id of a client that has no session would pretend to resume (RFC 8446 §D.4)."""
    client = ClientConnection(client_config, "localhost")
    session_id = client.data_to_send()[44:76]

    def echoing(message: bytes) -> list[bytes]:
        body = message[4:38] + b"\x20" + session_id + message[39:]
        return [framed(HandshakeType.SERVER_HELLO, body)]

    Echoing = misbehaving(ServerConnection, {HandshakeType.SERVER_HELLO: echoing})  # noqa: N806
    server = Echoing(server_config)
    again = ClientConnection(client_config.replace(entropy=Fixed(session_id)), "localhost")
    with pytest.raises(HandshakeError) as caught:
        handshake(again, server)
    assert caught.value.code == "server-session-id"


@dataclass(frozen=True)
class Fixed:
    """Entropy that always draws the same bytes."""

    value: bytes

    def random(self, size: int) -> bytes:
        return self.value[:size]

    def key_pair(self, group: NamedGroup) -> KeyPair:
        return generate(group)


def test_a_hello_for_tls_1_2_alone_offers_no_group_that_it_does_not_have(client_config: ClientConfig) -> None:
    hello = ClientHello.parse(_hello_body(client_config.replace(versions=TLS_1_2, grease=False)))
    offered = hello.extensions.supported_groups or ()
    assert NamedGroup.X25519 in offered
    assert not set(offered) & set(POST_QUANTUM)


def test_an_answer_without_extensions_has_no_block_for_them() -> None:
    suite = CipherSuite.TLS_RSA_WITH_AES_128_GCM_SHA256
    bare = ServerHello(TLSVersion.TLS_1_2, bytes(32), b"", suite, 0, ServerHelloExtensions())
    assert bare.encode().endswith(b"\0\x9c\0")
    assert ServerHello.parse(bare.encode()[4:]) == bare


@pytest.mark.parametrize(
    ("types", "accepted"),
    [
        ([ClientCertificateType.RSA_SIGN], [SignatureScheme.RSA_PSS_RSAE_SHA256, SignatureScheme.RSA_PKCS1_SHA256]),
        ([ClientCertificateType.ECDSA_SIGN], [SignatureScheme.ECDSA_SECP256R1_SHA256, SignatureScheme.ED25519]),
        ([ClientCertificateType(2)], []),
    ],
)
def test_a_client_shows_the_kinds_of_keys_that_are_asked_for(
    types: list[ClientCertificateType], accepted: list[SignatureScheme]
) -> None:
    schemes = (
        SignatureScheme.RSA_PSS_RSAE_SHA256,
        SignatureScheme.ECDSA_SECP256R1_SHA256,
        SignatureScheme.RSA_PKCS1_SHA256,
        SignatureScheme.ED25519,
    )
    assert list(client12.accepted_schemes(CertificateRequest12(tuple(types), schemes, ()))) == accepted
