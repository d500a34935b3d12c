"""TLS 1.2 against OpenSSL: the stdlib's in memory, and the command line live. RSA key transport, sessions and all."""

from __future__ import annotations

import ssl
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
from OpenSSL import SSL

from handclasp import (
    CertificateError,
    CipherSuite,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    ClientSessions,
    Credential,
    KeyLogFile,
    NamedGroup,
    NegotiationError,
    ServerConfig,
    ServerConnection,
    ServerSessions,
    TicketKeys,
    TLSVersion,
    danger,
)
from handclasp.crypto.signatures import KeyKind
from handclasp.crypto.suites import SUITES, KeyExchange
from handclasp.handshake.negotiate import KEY_CURVES
from interop.identities import NAME, OTHER_NAME, Identities, Identity
from interop.openssl_bio import StdlibPeer, meet, newer_client_peer, newer_server_peer, shake
from interop.programs import Host, connect, read_exactly
from interop.test_openssl_cli import port_of, s_client, s_server

pytestmark = pytest.mark.peer("OpenSSL, `ssl`")

OPENSSL: Final = {
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "ECDHE-ECDSA-AES128-GCM-SHA256",
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: "ECDHE-ECDSA-AES256-GCM-SHA384",
    CipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: "ECDHE-RSA-AES128-GCM-SHA256",
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: "ECDHE-RSA-AES256-GCM-SHA384",
    CipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-RSA-CHACHA20-POLY1305",
    CipherSuite.TLS_RSA_WITH_AES_128_GCM_SHA256: "AES128-GCM-SHA256",
    CipherSuite.TLS_RSA_WITH_AES_256_GCM_SHA384: "AES256-GCM-SHA384",
}
CURVES: Final = {
    NamedGroup.X25519: "X25519",
    NamedGroup.SECP256R1: "prime256v1",
    NamedGroup.SECP384R1: "secp384r1",
    NamedGroup.SECP521R1: "secp521r1",
}
KINDS: Final = {
    KeyExchange.ECDHE_ECDSA: (KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.ED25519, KeyKind.ED448),
    KeyExchange.ECDHE_RSA: (KeyKind.RSA,),
    KeyExchange.RSA: (KeyKind.RSA,),
}
MATRIX: Final = [
    (suite, kind, group)
    for suite in OPENSSL
    for kind, group in product(KINDS[SUITES[suite].key_exchange], CURVES)
    if SUITES[suite].key_exchange is not KeyExchange.RSA or group is NamedGroup.X25519
]
SERVED: Final = [
    (suite, kind, group)
    for suite, kind, group in MATRIX
    # OpenSSL's client offers one curve here, which in TLS 1.2 has to be the certificate's too (RFC 8422 §5.1.1)
    if KEY_CURVES.get(kind, group) is group
]
BOTH: Final = [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2]
EVERYTHING: Final = "ALL:@SECLEVEL=1"


class Encrypting:
    """An RSA certificate whose key may encrypt as well as sign, as objects and as files."""

    def __init__(self, identities: Identities, folder: Path) -> None:
        pair = identities.authority.issue_pem(
            NAME, key_kind=KeyKind.RSA, key_usage=("digital_signature", "key_encipherment")
        )
        chain, key = folder / "chain.pem", folder / "key.pem"
        chain.write_bytes(pair.chain)
        key.write_bytes(pair.key)
        self.identity = Identity(Credential.from_pem(pair.chain, pair.key), chain, key)


@pytest.fixture(scope="session")
def encrypting(identities: Identities, tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Encrypting(identities, tmp_path_factory.mktemp("encrypting")).identity


def older(context: ssl.SSLContext, ciphers: str = EVERYTHING, *, tickets: bool = True) -> ssl.SSLContext:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    return context


def server_context(identity: Identity, ciphers: str = EVERYTHING, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.chain_file, identity.key_file)
    return older(context, ciphers, **options)


def client_context(identities: Identities, ciphers: str = EVERYTHING, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(identities.root_file)
    return older(context, ciphers, **options)


def dangerous(config: Any, suite: CipherSuite) -> Any:
    """The configuration with this suite alone, and RSA key transport where it is one of those."""
    if SUITES[suite].key_exchange is KeyExchange.RSA:
        with pytest.warns(danger.InsecureWarning):
            config = danger.allow_rsa_key_transport(config)
    return config.replace(cipher_suites=[suite])


def identity_for(kind: KeyKind, suite: CipherSuite, identities: Identities, encrypting: Identity) -> Identity:
    return encrypting if SUITES[suite].key_exchange is KeyExchange.RSA else identities.of(kind)


# --- every suite, key and curve --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suite", "kind", "group"), MATRIX, ids=str)
def test_client_agrees_on(
    suite: CipherSuite, kind: KeyKind, group: NamedGroup, identities: Identities, encrypting: Identity
) -> None:
    context = server_context(identity_for(kind, suite, identities, encrypting), OPENSSL[suite] + ":@SECLEVEL=1")
    context.set_ecdh_curve(CURVES[group])
    config = dangerous(ClientConfig(trust=identities.trust, versions=[TLSVersion.TLS_1_2]), suite)
    meeting = shake(ClientConnection(config, NAME), StdlibPeer(context))
    info = meeting.ours.info
    assert info.version is TLSVersion.TLS_1_2
    assert info.cipher_suite is suite
    assert info.group is (None if SUITES[suite].key_exchange is KeyExchange.RSA else group)
    meeting.exchange(b"from us" * 10_000, b"from them" * 10_000)


@pytest.mark.parametrize(("suite", "kind", "group"), SERVED, ids=str)
def test_server_agrees_on(
    suite: CipherSuite, kind: KeyKind, group: NamedGroup, identities: Identities, encrypting: Identity
) -> None:
    context = client_context(identities, OPENSSL[suite] + ":@SECLEVEL=1")
    context.set_ecdh_curve(CURVES[group])
    identity = identity_for(kind, suite, identities, encrypting)
    config = dangerous(ServerConfig(credentials=[identity.credential], versions=[TLSVersion.TLS_1_2]), suite)
    peer = StdlibPeer(context, NAME)
    meeting = shake(ServerConnection(config), peer)
    info = meeting.ours.info
    assert info.cipher_suite is suite
    assert info.group is (None if SUITES[suite].key_exchange is KeyExchange.RSA else group)
    assert peer.certificate == identity.credential.leaf.der
    meeting.exchange(b"from us" * 10_000, b"from them" * 10_000)


def test_a_certificate_on_a_curve_the_client_lacks_is_not_shown(identities: Identities) -> None:
    context = client_context(identities)
    context.set_ecdh_curve("secp384r1")
    credentials = [identities.of(KeyKind.P256).credential, identities.of(KeyKind.P384).credential]
    peer = StdlibPeer(context, NAME)
    shake(ServerConnection(ServerConfig(credentials=credentials)), peer)
    assert peer.certificate == credentials[1].leaf.der
    other = StdlibPeer(context, NAME)
    refused = meet(ServerConnection(ServerConfig(credentials=credentials[:1])), other)
    assert isinstance(refused.ours.error, NegotiationError)


def test_one_hello_for_both_versions(identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, versions=BOTH)
    pairs = ((ssl.TLSVersion.TLSv1_2, TLSVersion.TLS_1_2), (ssl.TLSVersion.TLSv1_3, TLSVersion.TLS_1_3))
    for newest, expected in pairs:
        context = server_context(identities.of())
        context.maximum_version = newest
        assert shake(ClientConnection(config, NAME), StdlibPeer(context)).ours.info.version is expected
        theirs = client_context(identities)
        theirs.maximum_version = newest
        server = ServerConnection(ServerConfig(credentials=[identities.of().credential], versions=BOTH))
        assert shake(server, StdlibPeer(theirs, NAME)).ours.info.version is expected


def test_key_transport_is_off_unless_danger_says_so(identities: Identities, encrypting: Identity) -> None:
    ciphers = "AES128-GCM-SHA256"
    meeting = meet(
        ServerConnection(ServerConfig(credentials=[encrypting.credential])),
        StdlibPeer(client_context(identities, ciphers), NAME),
    )
    assert isinstance(meeting.ours.error, NegotiationError)
    client = ClientConnection(ClientConfig(trust=identities.trust), NAME)
    assert meet(client, StdlibPeer(server_context(encrypting, ciphers))).ours.error is not None


# --- names, keys, bindings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA, KeyKind.ED25519], ids=str)
def test_client_certificates(kind: KeyKind, identities: Identities) -> None:
    context = server_context(identities.of())
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(identities.root_file)
    ours = identities.of(kind)
    client = ClientConnection(ClientConfig(trust=identities.trust, credentials=[ours.credential]), NAME)
    peer = StdlibPeer(context)
    shake(client, peer).exchange(b"from us", b"from them")
    assert peer.certificate == ours.credential.leaf.der
    theirs = client_context(identities)
    theirs.load_cert_chain(ours.chain_file, ours.key_file)
    auth = ClientAuth(verify=identities.trust)
    server = ServerConnection(ServerConfig(credentials=[identities.of().credential], client_auth=auth))
    shake(server, StdlibPeer(theirs, NAME)).exchange(b"from us", b"from them")
    assert server.info.peer_certificates[0] == ours.credential.leaf


def test_bindings_and_key_log(identities: Identities, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    context = server_context(identities.of())
    context.keylog_filename = str(theirs)
    client = ClientConnection(ClientConfig(trust=identities.trust, keylog=KeyLogFile(ours)), NAME)
    peer = StdlibPeer(context)
    meeting = shake(client, peer)
    assert client.channel_binding("tls-unique") == peer.tls.get_channel_binding("tls-unique")
    meeting.exchange(b"x", b"y")
    logged = [line for line in theirs.read_text().splitlines() if not line.startswith("#")]
    assert logged == ours.read_text().splitlines() != []


@pytest.mark.peer("OpenSSL, pyOpenSSL")
@pytest.mark.parametrize("context", [None, b"", b"context"])
def test_exporters(context: bytes | None, identities: Identities) -> None:
    foreign = SSL.Context(SSL.TLS_METHOD)
    foreign.set_max_proto_version(SSL.TLS1_2_VERSION)
    foreign.use_certificate_chain_file(str(identities.of().chain_file))
    foreign.use_privatekey_file(str(identities.of().key_file))
    client = ClientConnection(ClientConfig(trust=identities.trust), NAME)
    peer = newer_server_peer(foreign)
    shake(client, peer)
    assert client.info.version is TLSVersion.TLS_1_2
    assert client.export(b"EXPORTER-x", context, 40) == peer.export(b"EXPORTER-x", 40, context)
    asking = SSL.Context(SSL.TLS_METHOD)
    asking.set_max_proto_version(SSL.TLS1_2_VERSION)
    server = ServerConnection(ServerConfig(credentials=[identities.of().credential]))
    other = newer_client_peer(asking)
    shake(server, other)
    assert server.export(b"EXPORTER-x", context, 40) == other.export(b"EXPORTER-x", 40, context)


@pytest.mark.parametrize("stranger", [False, True], ids=["wrong name", "unknown CA"])
def test_client_refuses(stranger: bool, identities: Identities, strangers: Identities) -> None:
    context = server_context((strangers if stranger else identities).of())
    client = ClientConnection(ClientConfig(trust=identities.trust), NAME if stranger else OTHER_NAME)
    meeting = meet(client, StdlibPeer(context))
    assert isinstance(meeting.ours.error, CertificateError)


# --- sessions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tickets", [True, False], ids=["ticket", "id"])
def test_client_resumes(tickets: bool, identities: Identities) -> None:
    context = server_context(identities.of(), tickets=tickets)
    config = ClientConfig(trust=identities.trust, sessions=ClientSessions())
    resumed = []
    for _ in range(3):
        peer = StdlibPeer(context)
        meeting = shake(ClientConnection(config, NAME), peer)
        meeting.exchange(b"x" * 1000, b"y" * 1000)
        assert peer.tls.session_reused is meeting.ours.info.resumed
        assert meeting.ours.channel_binding("tls-unique") == peer.tls.get_channel_binding("tls-unique")
        resumed.append(meeting.ours.info.resumed)
        # OpenSSL forgets a session whose connection did not end well
        meeting.ours.close()
        meeting.carry()
        peer.close()
    assert resumed == [False, True, True]


@pytest.mark.parametrize("tickets", [True, False], ids=["ticket", "id"])
def test_server_resumes(tickets: bool, identities: Identities) -> None:
    context = client_context(identities, tickets=tickets)
    keeping: dict[str, Any] = {"tickets": TicketKeys()} if tickets else {"sessions": ServerSessions()}
    config = ServerConfig(credentials=[identities.of().credential], **keeping)
    first = StdlibPeer(context, NAME)
    assert not shake(ServerConnection(config), first).ours.info.resumed
    second = StdlibPeer(context, NAME, first.tls.session)
    meeting = shake(ServerConnection(config), second)
    assert meeting.ours.info.resumed
    assert second.tls.session_reused
    meeting.exchange(b"x" * 1000, b"y" * 1000)


# --- live ------------------------------------------------------------------------------------------------------------


@pytest.mark.peer("OpenSSL, `openssl`")
def test_live_server_of_key_transport(identities: Identities, encrypting: Identity) -> None:
    with s_server(encrypting, "-cipher", "AES128-GCM-SHA256", version="-tls1_2") as server:
        config = dangerous(ClientConfig(trust=identities.trust), CipherSuite.TLS_RSA_WITH_AES_128_GCM_SHA256)
        with connect(port_of(server), config.replace(versions=[TLSVersion.TLS_1_2])) as tls:
            assert server.output.expect(r"CIPHER is (\S+)") == "AES128-GCM-SHA256"
            tls.sendall(b"from us\n")
            assert server.output.holds(b"from us\n")
            server.say(b"0 from them\n")
            assert read_exactly(tls, 12) == b"0 from them\n"


@pytest.mark.peer("OpenSSL, `openssl`")
@pytest.mark.parametrize("suite", OPENSSL, ids=str)
def test_live_client(suite: CipherSuite, identities: Identities, encrypting: Identity) -> None:
    identity = identity_for(KINDS[SUITES[suite].key_exchange][0], suite, identities, encrypting)
    config = dangerous(ServerConfig(credentials=[identity.credential], versions=[TLSVersion.TLS_1_2]), suite)
    with (
        Host() as host,
        s_client(host, identities, "-brief", "-cipher", OPENSSL[suite], version="-tls1_2") as client,
        host.accept(config) as tls,
    ):
        assert client.errors.expect(r"Ciphersuite: (\S+)") == OPENSSL[suite]
        client.errors.expect("Verification: OK")
        client.say(b"0 from them\n")
        assert read_exactly(tls, 12) == b"0 from them\n"
        tls.sendall(b"from us\n")
        assert client.output.holds(b"from us\n")


# --- the extended master secret --------------------------------------------------------------------------------------

NO_EXTENDED_MASTER_SECRET: Final = 0x1
"""SSL_OP_NO_EXTENDED_MASTER_SECRET of OpenSSL 3, which `ssl` has no name for."""


def test_a_peer_without_it_is_refused_and_danger_lets_it_in(identities: Identities) -> None:
    theirs_server, theirs_client = server_context(identities.of()), client_context(identities)
    for context in (theirs_server, theirs_client):
        context.options |= NO_EXTENDED_MASTER_SECRET
    client = ClientConfig(trust=identities.trust)
    server = ServerConfig(credentials=[identities.of().credential])
    for refused in (
        meet(ClientConnection(client, NAME), StdlibPeer(theirs_server)),
        meet(ServerConnection(server), StdlibPeer(theirs_client, NAME)),
    ):
        assert refused.ours.error is not None
        assert refused.ours.error.code == "extended-master-secret"
    with pytest.warns(danger.InsecureWarning):
        careless_client = danger.allow_plain_master_secret(client)
    with pytest.warns(danger.InsecureWarning):
        careless_server = danger.allow_plain_master_secret(server)
    shake(ClientConnection(careless_client, NAME), StdlibPeer(theirs_server)).exchange(b"from us", b"from them")
    shake(ServerConnection(careless_server), StdlibPeer(theirs_client, NAME)).exchange(b"from us", b"from them")
