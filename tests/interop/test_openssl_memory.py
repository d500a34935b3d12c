"""Against the OpenSSL of the standard library, in memory, in both roles."""

from __future__ import annotations

import hashlib
import random
import ssl
from itertools import product
from pathlib import Path

import pytest

from handclasp import (
    Alert,
    AlertReceived,
    CertificateError,
    CipherSuite,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    HandshakeError,
    MaxFragmentLength,
    NamedGroup,
    NegotiationError,
    PadTo,
    ServerConfig,
    ServerConnection,
    SignatureScheme,
    TLSVersion,
    TruncatedError,
    UnknownNames,
)
from handclasp.crypto.signatures import KeyKind
from handclasp.lab.ca import CertificateAuthority
from handclasp.trace import Direction, KeysChanged, TraceEvent
from handclasp.wire.names import ContentType, HandshakeType, KeyUpdateRequest
from interop.identities import CLASSIC_SCHEMES, NAME, OTHER_NAME, Identities, wrong_one
from interop.openssl_bio import Meeting, StdlibPeer, meet, record_sizes, shake, stdlib_client, stdlib_server

pytestmark = pytest.mark.peer("OpenSSL, `ssl`")

SUITES = (
    CipherSuite.TLS_AES_128_GCM_SHA256,
    CipherSuite.TLS_AES_256_GCM_SHA384,
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256,
)
"""What OpenSSL has switched on; the CCM suites are tried with the newer one."""

GROUPS = {
    NamedGroup.X25519: "X25519",
    NamedGroup.SECP256R1: "prime256v1",
    NamedGroup.SECP384R1: "secp384r1",
    NamedGroup.SECP521R1: "secp521r1",
    NamedGroup.X448: "X448",
}

MEBIBYTE = 1 << 20

ROLES = pytest.mark.parametrize("role", ["client", "server"])
"""The role handclasp plays."""


def pair(
    role: str, identities: Identities, client: ClientConfig | None = None, server: ServerConfig | None = None
) -> Meeting:
    """Ours in a role, OpenSSL in the other, hands shaken; the other role's configuration is OpenSSL's affair."""
    if role == "client":
        config = client or ClientConfig(trust=identities.trust)
        return shake(ClientConnection(config, NAME), StdlibPeer(stdlib_server(identities.of())))
    served = server or ServerConfig(credentials=[identities.of().credential])
    return shake(ServerConnection(served), StdlibPeer(stdlib_client(identities), NAME))


# --- what can be agreed on -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suite", "group", "scheme"), list(product(SUITES, GROUPS, CLASSIC_SCHEMES)), ids=str)
def test_client_agrees_on(
    suite: CipherSuite, group: NamedGroup, scheme: SignatureScheme, identities: Identities
) -> None:
    theirs = StdlibPeer(stdlib_server(identities.of(CLASSIC_SCHEMES[scheme]), group=GROUPS[group]))
    config = ClientConfig(trust=identities.trust, cipher_suites=[suite], signature_schemes=[scheme], key_shares=[group])
    meeting = shake(ClientConnection(config, NAME), theirs)
    info = meeting.ours.info
    assert theirs.cipher_suite == str(info.cipher_suite) == str(suite)
    # OpenSSL was allowed this group alone
    assert info.group is group
    assert theirs.signature_scheme(sent=True) is info.signature_scheme is scheme
    assert not info.hello_retry
    meeting.exchange(b"from us", b"from them")


@pytest.mark.parametrize(("suite", "group", "scheme"), list(product(SUITES, GROUPS, CLASSIC_SCHEMES)), ids=str)
def test_server_agrees_on(
    suite: CipherSuite, group: NamedGroup, scheme: SignatureScheme, identities: Identities
) -> None:
    theirs = StdlibPeer(stdlib_client(identities, group=GROUPS[group]), NAME)
    credential = identities.of(CLASSIC_SCHEMES[scheme]).credential
    config = ServerConfig(credentials=[credential], cipher_suites=[suite], signature_schemes=[scheme])
    meeting = shake(ServerConnection(config), theirs)
    info = meeting.ours.info
    assert theirs.cipher_suite == str(info.cipher_suite) == str(suite)
    assert info.group is group
    assert theirs.signature_scheme(sent=False) is info.signature_scheme is scheme
    assert theirs.certificate == credential.leaf.der
    meeting.exchange(b"from us", b"from them")


@pytest.mark.parametrize("shares", [(), (NamedGroup.X25519,), (NamedGroup.X448, NamedGroup.SECP521R1)], ids=str)
@pytest.mark.parametrize("group", [NamedGroup.SECP256R1, NamedGroup.SECP384R1], ids=str)
def test_client_is_asked_to_retry(shares: tuple[NamedGroup, ...], group: NamedGroup, identities: Identities) -> None:
    theirs = StdlibPeer(stdlib_server(identities.of(), group=GROUPS[group]))
    config = ClientConfig(trust=identities.trust, key_shares=shares)
    meeting = shake(ClientConnection(config, NAME), theirs)
    assert meeting.ours.info.hello_retry
    assert meeting.ours.info.group is group
    assert len(theirs.handshake_messages(HandshakeType.CLIENT_HELLO, sent=False)) == 2
    assert len(theirs.handshake_messages(HandshakeType.SERVER_HELLO, sent=True)) == 2
    meeting.exchange(b"after", b"a retry")


@pytest.mark.parametrize("group", [group for group in GROUPS if group is not NamedGroup.X25519], ids=str)
def test_server_asks_to_retry(group: NamedGroup, identities: Identities) -> None:
    theirs = StdlibPeer(stdlib_client(identities), NAME)  # sends a share for X25519 alone
    config = ServerConfig(credentials=[identities.of().credential], groups=[group])
    meeting = shake(ServerConnection(config), theirs)
    assert meeting.ours.info.hello_retry
    assert meeting.ours.info.group is group
    assert len(theirs.handshake_messages(HandshakeType.CLIENT_HELLO, sent=True)) == 2
    assert len(theirs.handshake_messages(HandshakeType.SERVER_HELLO, sent=False)) == 2
    meeting.exchange(b"after", b"a retry")


@pytest.mark.parametrize("compatible", [True, False])
@ROLES
def test_middlebox_compatibility_is_a_choice(role: str, compatible: bool, identities: Identities) -> None:
    client = ClientConfig(trust=identities.trust, middlebox_compatibility=compatible)
    server = ServerConfig(credentials=[identities.of().credential], middlebox_compatibility=compatible)
    meeting = pair(role, identities, client, server)
    meeting.exchange(b"from us", b"from them")
    hello = meeting.from_us if role == "client" else meeting.from_them
    # 5 bytes of record header, 4 of message header, 2 of version, 32 of random
    assert (hello[43] > 0) is (compatible or role == "server")


# --- names and certificates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [NAME, OTHER_NAME])
def test_server_selects_the_certificate_by_name(name: str, identities: Identities) -> None:
    known = {each: identities.of(KeyKind.P256, each).credential for each in (NAME, OTHER_NAME)}
    theirs = StdlibPeer(stdlib_client(identities), name)
    meeting = shake(ServerConnection(ServerConfig(credentials=list(known.values()))), theirs)
    assert meeting.ours.info.server_name == name
    assert theirs.certificate == known[name].leaf.der


@pytest.mark.parametrize("name", [NAME, OTHER_NAME])
def test_client_is_given_the_certificate_of_its_name(name: str, identities: Identities) -> None:
    context = stdlib_server(identities.of())
    other = stdlib_server(identities.of(KeyKind.P256, OTHER_NAME))
    asked: list[str | None] = []

    def choose(tls: ssl.SSLObject | ssl.SSLSocket, asked_for: str | None, _: ssl.SSLContext) -> None:
        asked.append(asked_for)
        if asked_for == OTHER_NAME:
            tls.context = other

    context.sni_callback = choose
    meeting = shake(ClientConnection(ClientConfig(trust=identities.trust), name), StdlibPeer(context))
    assert asked == [name]
    leaf = identities.of(KeyKind.P256, name).credential.leaf
    assert [certificate.der for certificate in meeting.ours.info.peer_certificates] == [leaf.der]


def test_address_sends_no_name_and_is_checked(identities: Identities) -> None:
    theirs = StdlibPeer(stdlib_client(identities), "127.0.0.1")
    server = shake(ServerConnection(ServerConfig(credentials=[identities.of().credential])), theirs)
    assert server.ours.info.server_name is None
    asked: list[str | None] = []
    context = stdlib_server(identities.of())
    context.sni_callback = lambda _, name, __: asked.append(name)
    shake(ClientConnection(ClientConfig(trust=identities.trust), "127.0.0.1"), StdlibPeer(context))
    assert asked == [None]


def test_server_refuses_unknown_names_when_told_to(identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], unknown_names=UnknownNames.REFUSE)
    theirs = StdlibPeer(stdlib_client(identities), OTHER_NAME)
    meeting = meet(ServerConnection(config), theirs)
    assert isinstance(meeting.failure, NegotiationError)
    assert theirs.alerts(sent=False) == [Alert.UNRECOGNIZED_NAME]


BOTH = pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)

WRONG = pytest.mark.parametrize(
    ("wrong", "alert"),
    [("name", Alert.BAD_CERTIFICATE), ("CA", Alert.UNKNOWN_CA), ("time", Alert.CERTIFICATE_EXPIRED)],
)


@BOTH
@WRONG
def test_client_refuses(
    version: TLSVersion, wrong: str, alert: Alert, identities: Identities, strangers: Identities
) -> None:
    context = stdlib_server(wrong_one(wrong, identities, strangers))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    theirs = StdlibPeer(context)
    config = ClientConfig(trust=identities.trust, versions=[version])
    meeting = meet(ClientConnection(config, NAME), theirs)
    assert isinstance(meeting.failure, CertificateError)
    assert meeting.failure.code == {"name": "name-mismatch", "CA": "unknown-ca", "time": "expired"}[wrong]
    assert theirs.alerts(sent=False) == [meeting.failure.alert] == [alert]


@BOTH
@WRONG
def test_server_hears_why_it_is_refused(
    version: TLSVersion, wrong: str, alert: Alert, identities: Identities, strangers: Identities
) -> None:
    shown = wrong_one(wrong, identities, strangers).credential
    context = stdlib_client(identities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    theirs = StdlibPeer(context, NAME)
    meeting = meet(ServerConnection(ServerConfig(credentials=[shown], versions=[version])), theirs)
    assert isinstance(theirs.error, ssl.SSLCertVerificationError)
    assert isinstance(meeting.failure, AlertReceived)
    assert meeting.failure.alert is alert
    assert theirs.alerts(sent=True) == [alert]


@pytest.mark.parametrize("kind", list(dict.fromkeys(CLASSIC_SCHEMES.values())), ids=lambda kind: kind.name)
def test_client_shows_its_certificate(kind: KeyKind, identities: Identities) -> None:
    theirs = StdlibPeer(stdlib_server(identities.of(), client_ca=identities))
    credential = identities.of(kind).credential
    config = ClientConfig(trust=identities.trust, credentials=[credential])
    meeting = shake(ClientConnection(config, NAME), theirs)
    assert theirs.certificate == credential.leaf.der
    assert theirs.signature_scheme(sent=False) is meeting.ours.info.client_signature_scheme
    meeting.exchange(b"it is me", b"it is you")


@pytest.mark.parametrize("kind", list(dict.fromkeys(CLASSIC_SCHEMES.values())), ids=lambda kind: kind.name)
def test_server_checks_a_certificate(kind: KeyKind, identities: Identities) -> None:
    theirs = StdlibPeer(stdlib_client(identities, identity=identities.of(kind)), NAME)
    config = ServerConfig(credentials=[identities.of().credential], client_auth=ClientAuth(verify=identities.trust))
    meeting = shake(ServerConnection(config), theirs)
    info = meeting.ours.info
    assert [certificate.der for certificate in info.verified_chain] == [
        identities.of(kind).credential.leaf.der,
        identities.authority.root.der,
    ]
    assert theirs.signature_scheme(sent=True) is info.client_signature_scheme
    meeting.exchange(b"it is you", b"it is me")


@pytest.mark.parametrize("optional", [True, False], ids=["optional", "required"])
def test_client_without_a_certificate(optional: bool, identities: Identities) -> None:
    theirs = StdlibPeer(stdlib_server(identities.of(), client_ca=identities, optional=optional))
    meeting = meet(ClientConnection(ClientConfig(trust=identities.trust), NAME), theirs)
    if optional:
        meeting.exchange(b"a guest", b"is welcome")
        assert theirs.certificate is None
    else:
        assert isinstance(meeting.failure, AlertReceived)
        assert [meeting.failure.alert] == theirs.alerts(sent=True) == [Alert.CERTIFICATE_REQUIRED]


@pytest.mark.parametrize("required", [True, False], ids=["required", "optional"])
def test_server_of_a_client_without_a_certificate(required: bool, identities: Identities) -> None:
    auth = ClientAuth(verify=identities.trust, required=required)
    config = ServerConfig(credentials=[identities.of().credential], client_auth=auth)
    theirs = StdlibPeer(stdlib_client(identities), NAME)
    meeting = meet(ServerConnection(config), theirs)
    if required:
        assert isinstance(meeting.failure, CertificateError)
        assert theirs.alerts(sent=False) == [Alert.CERTIFICATE_REQUIRED]
    else:
        meeting.exchange(b"a guest", b"is welcome")
        assert meeting.ours.info.peer_certificates == ()


def test_server_refuses_a_stranger(identities: Identities, strangers: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], client_auth=ClientAuth(verify=identities.trust))
    theirs = StdlibPeer(stdlib_client(identities, identity=strangers.of()), NAME)
    meeting = meet(ServerConnection(config), theirs)
    assert isinstance(meeting.failure, CertificateError)
    assert theirs.alerts(sent=False) == [Alert.UNKNOWN_CA]


def test_stranger_is_told_so(identities: Identities, strangers: Identities) -> None:
    theirs = StdlibPeer(stdlib_server(identities.of(), client_ca=identities))
    config = ClientConfig(trust=identities.trust, credentials=[strangers.of().credential])
    meeting = meet(ClientConnection(config, NAME), theirs)
    # the hint of CA names does not keep us from showing what we have
    assert isinstance(meeting.failure, AlertReceived)
    assert [meeting.failure.alert] == theirs.alerts(sent=True)
    assert meeting.failure.alert in (Alert.UNKNOWN_CA, Alert.CERTIFICATE_REQUIRED)


# --- application protocols -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "agreed"),
    [
        (("h2", "http/1.1"), ("h2", "http/1.1"), "h2"),
        (("h2", "http/1.1"), ("http/1.1",), "http/1.1"),
        ((), ("h2",), None),
        (("h2",), (), None),
    ],
    ids=str,
)
@ROLES
def test_application_protocol(
    role: str, ours: tuple[str, ...], theirs: tuple[str, ...], agreed: str | None, identities: Identities
) -> None:
    if role == "client":
        peer = StdlibPeer(stdlib_server(identities.of(), alpn=theirs))
        meeting = shake(ClientConnection(ClientConfig(trust=identities.trust, alpn=ours), NAME), peer)
    else:
        peer = StdlibPeer(stdlib_client(identities, alpn=theirs), NAME)
        config = ServerConfig(credentials=[identities.of().credential], alpn=ours)
        meeting = shake(ServerConnection(config), peer)
    assert meeting.ours.info.alpn == peer.tls.selected_alpn_protocol() == agreed


def test_server_takes_its_own_favourite_protocol(identities: Identities) -> None:
    peer = StdlibPeer(stdlib_client(identities, alpn=["http/1.1", "h2"]), NAME)
    config = ServerConfig(credentials=[identities.of().credential], alpn=["h2", "http/1.1"])
    shake(ServerConnection(config), peer)
    assert peer.tls.selected_alpn_protocol() == "h2"


def test_server_refuses_when_no_protocol_is_common(identities: Identities) -> None:
    peer = StdlibPeer(stdlib_client(identities, alpn=["http/1.1"]), NAME)
    config = ServerConfig(credentials=[identities.of().credential], alpn=["h2"])
    meeting = meet(ServerConnection(config), peer)
    assert isinstance(meeting.failure, NegotiationError)
    assert peer.alerts(sent=False) == [Alert.NO_APPLICATION_PROTOCOL]


# --- nothing in common -----------------------------------------------------------------------------------------------


@ROLES
def test_no_common_group(role: str, identities: Identities) -> None:
    if role == "client":
        peer = StdlibPeer(stdlib_server(identities.of(), group="secp521r1"))
        config = ClientConfig(trust=identities.trust, groups=[NamedGroup.X25519])
        meeting = meet(ClientConnection(config, NAME), peer)
        assert isinstance(meeting.failure, AlertReceived)
        assert [meeting.failure.alert] == peer.alerts(sent=True) == [Alert.HANDSHAKE_FAILURE]
    else:
        peer = StdlibPeer(stdlib_client(identities, group="secp521r1"), NAME)
        served = ServerConfig(credentials=[identities.of().credential], groups=[NamedGroup.X25519])
        meeting = meet(ServerConnection(served), peer)
        assert isinstance(meeting.failure, NegotiationError)
        assert peer.alerts(sent=False) == [Alert.HANDSHAKE_FAILURE]


@ROLES
def test_no_common_cipher_suite(role: str, identities: Identities) -> None:
    suites = [CipherSuite.TLS_AES_128_CCM_SHA256]
    peer: StdlibPeer
    if role == "client":
        peer = StdlibPeer(stdlib_server(identities.of()))
        config = ClientConfig(trust=identities.trust, cipher_suites=suites)
        meeting = meet(ClientConnection(config, NAME), peer)
        assert isinstance(meeting.failure, AlertReceived)
        assert [meeting.failure.alert] == peer.alerts(sent=True) == [Alert.HANDSHAKE_FAILURE]
    else:
        peer = StdlibPeer(stdlib_client(identities), NAME)
        served = ServerConfig(credentials=[identities.of().credential], cipher_suites=suites)
        meeting = meet(ServerConnection(served), peer)
        assert isinstance(meeting.failure, NegotiationError)
        assert peer.alerts(sent=False) == [Alert.HANDSHAKE_FAILURE]


@ROLES
def test_no_common_version(role: str, identities: Identities) -> None:
    if role == "client":
        context = stdlib_server(identities.of())
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        peer = StdlibPeer(context)
        config = ClientConfig(trust=identities.trust, versions=[TLSVersion.TLS_1_3])
        meeting = meet(ClientConnection(config, NAME), peer)
        assert isinstance(meeting.failure, AlertReceived)
        assert [meeting.failure.alert] == peer.alerts(sent=True) == [Alert.PROTOCOL_VERSION]
    else:
        context = stdlib_client(identities)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        peer = StdlibPeer(context, NAME)
        served = ServerConfig(credentials=[identities.of().credential], versions=[TLSVersion.TLS_1_3])
        meeting = meet(ServerConnection(served), peer)
        assert isinstance(meeting.failure, NegotiationError)
        assert peer.alerts(sent=False) == [Alert.PROTOCOL_VERSION]


# --- data ------------------------------------------------------------------------------------------------------------


@ROLES
def test_byte_by_byte(role: str, identities: Identities) -> None:
    if role == "client":
        peer = StdlibPeer(stdlib_server(identities.of(), client_ca=identities))
        config = ClientConfig(trust=identities.trust, credentials=[identities.of().credential])
        meeting = shake(ClientConnection(config, NAME), peer, piece=1)
    else:
        peer = StdlibPeer(stdlib_client(identities, identity=identities.of()), NAME)
        auth = ClientAuth(verify=identities.trust)
        served = ServerConfig(credentials=[identities.of().credential], client_auth=auth)
        meeting = shake(ServerConnection(served), peer, piece=1)
    meeting.exchange(b"from us" * 100, b"from them" * 100, piece=1)


@ROLES
def test_a_mebibyte_both_ways_in_odd_pieces(role: str, identities: Identities) -> None:
    meeting = pair(role, identities)
    chance = random.Random(8446)
    outbound, inbound = chance.randbytes(MEBIBYTE), chance.randbytes(MEBIBYTE)
    sent = received = 0
    while sent < MEBIBYTE or received < MEBIBYTE:
        step, back = chance.randrange(1, 50_000), chance.randrange(1, 50_000)
        if sent < MEBIBYTE:
            meeting.ours.send(outbound[sent : sent + step])
        if received < MEBIBYTE:
            meeting.theirs.send(inbound[received : received + back])
        sent, received = sent + step, received + back
        meeting.carry(piece=chance.randrange(1000, 20_000))
        meeting.check()
    assert bytes(meeting.theirs.received) == outbound
    assert meeting.received == inbound


@ROLES
def test_records_of_one_byte(role: str, identities: Identities) -> None:
    meeting = pair(role, identities)
    start, start_of_theirs = len(meeting.from_us), len(meeting.from_them)
    for octet in b"one byte in each record":
        meeting.ours.send(bytes([octet]))
        meeting.theirs.send(bytes([octet]))
    meeting.carry()
    meeting.check()
    assert meeting.received == bytes(meeting.theirs.received) == b"one byte in each record"
    # content, its type, and the tag
    one_each = [(ContentType.APPLICATION_DATA, 1 + 1 + 16)] * 23
    assert record_sizes(meeting.from_us[start:]) == record_sizes(meeting.from_them[start_of_theirs:]) == one_each


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_server_honours_max_fragment_length(length: int, identities: Identities) -> None:
    asked = MaxFragmentLength(length)
    theirs = StdlibPeer(stdlib_server(identities.of(KeyKind.RSA)))
    config = ClientConfig(trust=identities.trust, max_fragment_length=asked)
    meeting = shake(ClientConnection(config, NAME), theirs)
    meeting.exchange(bytes(20_000), bytes(20_000))
    after_hello = record_sizes(meeting.from_us)[1:] + record_sizes(meeting.from_them)[1:]
    assert max(size for _, size in after_hello) == asked.octets + 1 + 16


@ROLES
def test_padded_records(role: str, identities: Identities) -> None:
    client = ClientConfig(trust=identities.trust, padding=PadTo(512))
    server = ServerConfig(credentials=[identities.of().credential], padding=PadTo(512))
    meeting = pair(role, identities, client, server)
    start = len(meeting.from_us)
    meeting.exchange(b"short", b"reply")
    meeting.exchange(bytes(20_000), b"reply")
    sizes = {size for _, size in record_sizes(meeting.from_us[start:])}
    assert {(size - 16 - 1) % 512 for size in sizes} == {0}


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asks", [True, False], ids=["asks back", "alone"])
@ROLES
def test_we_update_our_keys_while_data_flows(role: str, asks: bool, identities: Identities) -> None:
    seen: list[TraceEvent] = []
    client = ClientConfig(trust=identities.trust, trace=seen.append)
    server = ServerConfig(credentials=[identities.of().credential], trace=seen.append)
    meeting = pair(role, identities, client, server)
    for turn in range(5):
        meeting.ours.send(b"before")
        meeting.theirs.send(b"meanwhile")
        meeting.ours.update_keys(request_peer=asks)
        meeting.ours.send(b"after")
        meeting.carry()
        meeting.exchange(bytes([turn]) * 20_000, bytes([turn]) * 20_000)
    asked = KeyUpdateRequest.UPDATE_REQUESTED if asks else KeyUpdateRequest.UPDATE_NOT_REQUESTED
    theirs = meeting.theirs
    assert theirs.handshake_messages(HandshakeType.KEY_UPDATE, sent=False) == [bytes([asked])] * 5
    assert theirs.handshake_messages(HandshakeType.KEY_UPDATE, sent=True) == ([bytes(1)] * 5 if asks else [])
    changed = [event for event in seen if isinstance(event, KeysChanged) and event.generation]
    assert sum(event.direction is Direction.SENT for event in changed) == 5
    assert sum(event.direction is Direction.RECEIVED for event in changed) == (5 if asks else 0)


@ROLES
def test_key_log_is_the_same(role: str, identities: Identities, tmp_path: Path) -> None:
    ours: list[str] = []
    log = tmp_path / "theirs.log"
    if role == "client":
        context = stdlib_server(identities.of())
        context.keylog_filename = str(log)
        peer = StdlibPeer(context)
        config = ClientConfig(trust=identities.trust, keylog=ours.append)
        meeting = shake(ClientConnection(config, NAME), peer)
    else:
        context = stdlib_client(identities)
        context.keylog_filename = str(log)
        peer = StdlibPeer(context, NAME)
        served = ServerConfig(credentials=[identities.of().credential], keylog=ours.append)
        meeting = shake(ServerConnection(served), peer)
    meeting.exchange(b"from us", b"from them")
    theirs = [line for line in log.read_text().splitlines() if not line.startswith("#")]
    assert len(ours) == len(theirs) == 5
    assert set(ours) == set(theirs)


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [(KeyKind.P256, "sha256"), (KeyKind.P384, "sha384"), (KeyKind.P521, "sha512"), (KeyKind.RSA, "sha256")],
    ids=str,
)
@ROLES
def test_end_point_binding_is_the_hash_of_what_the_peer_saw(
    role: str, kind: KeyKind, algorithm: str, tmp_path: Path
) -> None:
    identities = Identities(CertificateAuthority("a CA of this kind", key_kind=kind), tmp_path)
    identity = identities.of()
    if role == "client":
        theirs = StdlibPeer(stdlib_server(identity))
        meeting = shake(ClientConnection(ClientConfig(trust=identities.trust), NAME), theirs)
        certificate = meeting.ours.info.peer_certificates[0].der
        assert certificate == ssl.PEM_cert_to_DER_cert(identity.chain_file.read_text())
    else:
        theirs = StdlibPeer(stdlib_client(identities), NAME)
        meeting = shake(ServerConnection(ServerConfig(credentials=[identity.credential])), theirs)
        assert theirs.certificate is not None
        certificate = theirs.certificate
    assert meeting.ours.channel_binding("tls-server-end-point") == hashlib.new(algorithm, certificate).digest()


# --- the end ---------------------------------------------------------------------------------------------------------


@ROLES
def test_half_close_by_us(role: str, identities: Identities) -> None:
    meeting = pair(role, identities)
    meeting.ours.send(b"last words")
    meeting.ours.close()
    meeting.carry()
    assert bytes(meeting.theirs.received) == b"last words"
    assert meeting.theirs.closed
    assert not meeting.closed
    meeting.theirs.send(b"still here")
    meeting.carry()
    assert meeting.received == b"still here"
    meeting.theirs.close()
    meeting.carry()
    meeting.check()
    assert meeting.closed


@ROLES
def test_half_close_by_them(role: str, identities: Identities) -> None:
    meeting = pair(role, identities)
    meeting.theirs.send(b"last words")
    meeting.theirs.close()
    meeting.carry()
    meeting.check()
    assert meeting.received == b"last words"
    assert meeting.closed
    meeting.ours.close()
    meeting.carry()
    meeting.ours.receive_eof()
    assert meeting.failure is None
    assert meeting.theirs.alerts(sent=False) == [Alert.CLOSE_NOTIFY]


@ROLES
def test_truncation_is_seen_by_us(role: str, identities: Identities) -> None:
    meeting = pair(role, identities)
    meeting.theirs.send(b"half a sent")
    meeting.carry()
    assert meeting.received == b"half a sent"
    with pytest.raises(TruncatedError):
        meeting.ours.receive_eof()


@ROLES
def test_truncation_is_seen_by_them(role: str, identities: Identities) -> None:
    meeting = pair(role, identities)
    meeting.ours.send(b"half a sent")
    meeting.carry()
    assert isinstance(meeting.theirs, StdlibPeer)
    meeting.theirs.end()
    assert isinstance(meeting.theirs.error, ssl.SSLEOFError)


@ROLES
def test_one_flipped_bit_is_fatal(role: str, identities: Identities) -> None:
    meeting = pair(role, identities)
    meeting.theirs.send(b"precious")
    record = bytearray(meeting.theirs.take())
    record[-1] ^= 1
    with pytest.raises(HandshakeError) as caught:
        meeting.ours.receive_data(record)
    assert caught.value.alert is Alert.BAD_RECORD_MAC
    meeting.carry()
    assert meeting.theirs.alerts(sent=False) == [Alert.BAD_RECORD_MAC]
