"""TLS 1.2 against OpenSSL, beyond suites and curves: records, schemes, refusals, and the end of it all."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, Final

import pytest
from OpenSSL import SSL

from handclasp import (
    Alert,
    CertificateError,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    HandshakeError,
    MaxFragmentLength,
    NamedGroup,
    NegotiationError,
    ServerConfig,
    ServerConnection,
    SignatureScheme,
    TLSVersion,
    TruncatedError,
)
from handclasp.crypto.signatures import KeyKind
from handclasp.wire.names import ContentType
from interop.identities import NAME, OTHER_NAME, Identities
from interop.openssl_bio import (
    Meeting,
    PyOpenSSLPeer,
    StdlibPeer,
    meet,
    newer_client,
    newer_client_peer,
    newer_server,
    newer_server_peer,
    record_sizes,
    shake,
)
from interop.test_openssl_older import client_context, server_context

pytestmark = pytest.mark.peer("OpenSSL, `ssl`")

BULK: Final = bytes(range(256)) * 400
"""100 KiB."""

SEND_FALLBACK_SCSV: Final = 0x80
"""OpenSSL's SSL_MODE_SEND_FALLBACK_SCSV."""

ROLES = pytest.mark.parametrize("role", ["client", "server"])
"""The role handclasp plays."""


def context_for(role: str, identities: Identities, *ciphers: str) -> ssl.SSLContext:
    """OpenSSL's context with TLS 1.2 alone, where we have this role."""
    if role == "client":
        return server_context(identities.of(), *ciphers)
    return client_context(identities, *ciphers)


def pair(role: str, identities: Identities, context: ssl.SSLContext | None = None, **fields: Any) -> Meeting:
    """Ours in a role, OpenSSL in the other, however their handshake ends."""
    context = context or context_for(role, identities)
    if role == "client":
        return meet(ClientConnection(ClientConfig(trust=identities.trust, **fields), NAME), StdlibPeer(context))
    config = ServerConfig(**{"credentials": [identities.of().credential], **fields})
    return meet(ServerConnection(config), StdlibPeer(context, NAME))


def shaken(role: str, identities: Identities, context: ssl.SSLContext | None = None, **fields: Any) -> Meeting:
    """The same, with both content."""
    meeting = pair(role, identities, context, **fields)
    meeting.check()
    assert meeting.ours.established
    assert meeting.theirs.established
    assert meeting.ours.info.version is TLSVersion.TLS_1_2
    return meeting


def stdlib(meeting: Meeting) -> StdlibPeer:
    assert isinstance(meeting.theirs, StdlibPeer)
    return meeting.theirs


def alerts(meeting: Meeting) -> list[Alert]:
    """What OpenSSL heard from us."""
    return meeting.theirs.alerts(sent=False)


def older(context: SSL.Context) -> SSL.Context:
    """pyOpenSSL's context with TLS 1.2 alone."""
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    return context


# --- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [None, 1, 5, 997])
@ROLES
def test_pieces_do_not_matter(role: str, piece: int | None, identities: Identities) -> None:
    if role == "client":
        connection: ClientConnection | ServerConnection = ClientConnection(ClientConfig(trust=identities.trust), NAME)
        theirs = StdlibPeer(server_context(identities.of(KeyKind.RSA)))
    else:
        connection = ServerConnection(ServerConfig(credentials=[identities.of(KeyKind.RSA).credential]))
        theirs = StdlibPeer(client_context(identities), NAME)
    meeting = shake(connection, theirs, piece)
    size = 2000 if piece == 1 else len(BULK)
    for _ in range(3):
        meeting.exchange(BULK[:size], BULK[::-1][:size], piece)


@ROLES
def test_records_of_one_byte(role: str, identities: Identities) -> None:
    meeting = shaken(role, identities)
    start, theirs = len(meeting.from_us), len(meeting.from_them)
    for octet in b"one byte in each record":
        meeting.ours.send(bytes([octet]))
        meeting.theirs.send(bytes([octet]))
    meeting.carry()
    meeting.check()
    assert meeting.received == bytes(meeting.theirs.received) == b"one byte in each record"
    # the explicit nonce, content, and the tag
    expected = [(ContentType.APPLICATION_DATA, 8 + 1 + 16)] * 23
    assert record_sizes(meeting.from_us[start:]) == record_sizes(meeting.from_them[theirs:]) == expected


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_server_honours_max_fragment_length(length: int, identities: Identities) -> None:
    asked = MaxFragmentLength(length)
    meeting = shaken("client", identities, server_context(identities.of(KeyKind.RSA)), max_fragment_length=asked)
    meeting.exchange(bytes(20_000), bytes(20_000))
    after_hello = record_sizes(meeting.from_us)[1:] + record_sizes(meeting.from_them)[1:]
    assert max(size for _, size in after_hello) == asked.octets + 8 + 16


@ROLES
def test_one_flipped_bit_is_fatal(role: str, identities: Identities) -> None:
    meeting = shaken(role, identities)
    meeting.theirs.send(b"precious")
    record = bytearray(meeting.theirs.take())
    record[-1] ^= 1
    with pytest.raises(HandshakeError) as caught:
        meeting.ours.receive_data(record)
    assert caught.value.alert is Alert.BAD_RECORD_MAC
    meeting.carry()
    assert alerts(meeting) == [Alert.BAD_RECORD_MAC]


@ROLES
def test_half_close(role: str, identities: Identities) -> None:
    meeting = shaken(role, identities)
    meeting.ours.send(b"last words")
    meeting.ours.close()
    meeting.carry()
    assert bytes(meeting.theirs.received) == b"last words"
    assert meeting.theirs.closed
    meeting.theirs.close()
    meeting.carry()
    meeting.check()
    assert meeting.closed
    meeting.ours.receive_eof()
    assert meeting.failure is None


@ROLES
def test_truncation(role: str, identities: Identities) -> None:
    meeting = shaken(role, identities)
    meeting.exchange(b"half a sent", b"half a sent")
    with pytest.raises(TruncatedError):
        meeting.ours.receive_eof()
    stdlib(meeting).end()
    assert isinstance(meeting.theirs.error, ssl.SSLEOFError)


# --- names, protocols, versions --------------------------------------------------------------------------------------


def test_client_says_the_name(identities: Identities) -> None:
    heard: list[str | None] = []
    context = server_context(identities.of())
    context.sni_callback = lambda connection, name, asked: heard.append(name)
    shaken("client", identities, context)
    shaken("client", identities, context, send_server_name=False)
    assert heard == [NAME, None]


def test_server_selects_the_certificate_by_name(identities: Identities) -> None:
    credentials = [identities.of(name=name).credential for name in (NAME, OTHER_NAME)]
    for name, credential in zip((NAME, OTHER_NAME), credentials, strict=True):
        theirs = StdlibPeer(client_context(identities), name)
        meeting = shake(ServerConnection(ServerConfig(credentials=credentials)), theirs)
        assert meeting.ours.info.server_name == name
        assert theirs.certificate == credential.leaf.der


@pytest.mark.parametrize(("ours", "theirs", "agreed"), [(["h2"], ["h2"], "h2"), (["h2"], [], None), ([], ["h2"], None)])
@ROLES
def test_application_protocol(
    role: str, ours: Sequence[str], theirs: Sequence[str], agreed: str | None, identities: Identities
) -> None:
    context = context_for(role, identities)
    if theirs:
        context.set_alpn_protocols(theirs)
    meeting = shaken(role, identities, context, alpn=ours)
    assert meeting.ours.info.alpn == stdlib(meeting).tls.selected_alpn_protocol() == agreed


def test_no_common_protocol_is_refused(identities: Identities) -> None:
    context = client_context(identities)
    context.set_alpn_protocols(["h2"])
    meeting = pair("server", identities, context, alpn=["http/1.1"])
    assert isinstance(meeting.failure, NegotiationError)
    assert alerts(meeting) == [Alert.NO_APPLICATION_PROTOCOL]


@ROLES
def test_newer_versions_alone_are_out_of_reach(role: str, identities: Identities) -> None:
    context = context_for(role, identities)
    context.maximum_version = context.minimum_version = ssl.TLSVersion.TLSv1_3
    meeting = pair(role, identities, context, versions=[TLSVersion.TLS_1_2])
    assert meeting.failure is not None
    assert meeting.theirs.alerts(sent=role == "client") == [Alert.PROTOCOL_VERSION]


@pytest.mark.peer("OpenSSL, pyOpenSSL")
def test_a_fallback_is_not_accepted(identities: Identities) -> None:
    context = older(newer_client(identities))
    context.set_mode(SEND_FALLBACK_SCSV)
    theirs = newer_client_peer(context)
    config = ServerConfig(credentials=[identities.of().credential])
    assert meet(ServerConnection(config), theirs).failure is not None
    assert theirs.alerts(sent=False) == [Alert.INAPPROPRIATE_FALLBACK]
    alone = config.replace(versions=[TLSVersion.TLS_1_2])
    shake(ServerConnection(alone), newer_client_peer(context)).exchange(b"from us", b"from them")


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ciphers", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA"])
@ROLES
def test_ciphers_we_do_not_have(role: str, ciphers: str, identities: Identities) -> None:
    meeting = pair(role, identities, context_for(role, identities, ciphers))
    assert meeting.failure is not None
    assert meeting.theirs.alerts(sent=role == "client") == [Alert.HANDSHAKE_FAILURE]


@ROLES
def test_no_common_curve(role: str, identities: Identities) -> None:
    context = context_for(role, identities)
    context.set_ecdh_curve("secp521r1")
    meeting = pair(role, identities, context, groups=[NamedGroup.X25519])
    assert meeting.failure is not None
    assert meeting.theirs.alerts(sent=role == "client") == [Alert.HANDSHAKE_FAILURE]


@pytest.mark.peer("OpenSSL, pyOpenSSL")
@ROLES
def test_a_wish_to_renegotiate_is_declined(role: str, identities: Identities) -> None:
    if role == "client":
        connection: ClientConnection | ServerConnection = ClientConnection(ClientConfig(trust=identities.trust), NAME)
        theirs = newer_server_peer(older(newer_server(identities.of())))
    else:
        connection = ServerConnection(ServerConfig(credentials=[identities.of().credential]))
        theirs = newer_client_peer(older(newer_client(identities)))
    meeting = shake(connection, theirs)
    meeting.exchange(b"before", b"before")
    assert theirs.tls.renegotiate()
    # a server has done its part when it has asked; a client goes on to its hello when it next reads
    if role == "client":
        theirs.tls.do_handshake()
    else:
        with pytest.raises(SSL.WantReadError):
            theirs.tls.do_handshake()
    meeting.carry()
    assert meeting.failure is None or meeting.failure.alert is Alert.HANDSHAKE_FAILURE
    assert theirs.alerts(sent=False)[0] is Alert.NO_RENEGOTIATION
    # we would go on; it is OpenSSL that gives up
    assert "no renegotiation" in str(theirs.error)


def test_server_hears_that_it_is_refused(identities: Identities, strangers: Identities) -> None:
    meeting = pair("server", identities, client_context(strangers))
    assert meeting.failure is not None
    assert meeting.failure.alert is Alert.UNKNOWN_CA
    assert isinstance(meeting.theirs.error, ssl.SSLCertVerificationError)


# --- signatures and client certificates ------------------------------------------------------------------------------


SCHEMES: Final = [
    ("RSA+SHA256", KeyKind.RSA, SignatureScheme.RSA_PKCS1_SHA256),
    ("RSA+SHA384", KeyKind.RSA, SignatureScheme.RSA_PKCS1_SHA384),
    ("RSA+SHA512", KeyKind.RSA, SignatureScheme.RSA_PKCS1_SHA512),
    ("rsa_pss_rsae_sha384", KeyKind.RSA, SignatureScheme.RSA_PSS_RSAE_SHA384),
    ("rsa_pss_pss_sha256", KeyKind.RSA_PSS, SignatureScheme.RSA_PSS_PSS_SHA256),
    ("ECDSA+SHA384", KeyKind.P384, SignatureScheme.ECDSA_SECP384R1_SHA384),
    ("ed25519", KeyKind.ED25519, SignatureScheme.ED25519),
]


@pytest.mark.peer("OpenSSL, pyOpenSSL")
@pytest.mark.parametrize(("names", "kind", "scheme"), SCHEMES, ids=str)
@ROLES
def test_signature_schemes(
    role: str, names: str, kind: KeyKind, scheme: SignatureScheme, identities: Identities
) -> None:
    identity = identities.of(kind)
    if role == "client":
        theirs: PyOpenSSLPeer = newer_server_peer(older(newer_server(identity, schemes=names)))
        meeting = shake(ClientConnection(ClientConfig(trust=identities.trust), NAME), theirs)
    else:
        theirs = newer_client_peer(older(newer_client(identities, schemes=f"{names}:ECDSA+SHA256")))
        meeting = shake(ServerConnection(ServerConfig(credentials=[identity.credential])), theirs)
    assert meeting.ours.info.signature_scheme is scheme
    meeting.exchange(b"from us", b"from them")


@pytest.mark.peer("OpenSSL, pyOpenSSL")
@pytest.mark.parametrize(("names", "kind", "scheme"), SCHEMES, ids=str)
@ROLES
def test_signature_schemes_of_client_certificates(
    role: str, names: str, kind: KeyKind, scheme: SignatureScheme, identities: Identities
) -> None:
    identity, schemes = identities.of(kind), f"{names}:ECDSA+SHA256"  # the CA signs with the latter
    if role == "client":
        context = older(newer_server(identities.of(), schemes=schemes, client_ca=identities))
        config = ClientConfig(trust=identities.trust, credentials=[identity.credential])
        meeting = shake(ClientConnection(config, NAME), newer_server_peer(context))
    else:
        context = older(newer_client(identities, schemes=schemes, identity=identity))
        auth = ClientAuth(verify=identities.trust)
        served = ServerConfig(credentials=[identities.of().credential], client_auth=auth)
        meeting = shake(ServerConnection(served), newer_client_peer(context))
        assert meeting.ours.info.peer_certificates[0].der == identity.credential.leaf.der
        # OpenSSL goes by our order, in which another hash may come first: TLS 1.2 does not tie it to the curve
        scheme = meeting.theirs.signature_scheme(sent=True)
    assert meeting.ours.info.client_signature_scheme is scheme
    meeting.exchange(b"from us", b"from them")


def test_client_has_no_certificate(identities: Identities) -> None:
    context = server_context(identities.of())
    context.load_verify_locations(identities.root_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    assert shaken("client", identities, context).theirs.certificate is None
    context.verify_mode = ssl.CERT_REQUIRED
    refused = pair("client", identities, context)
    assert refused.failure is not None
    assert refused.failure.alert is Alert.HANDSHAKE_FAILURE


def test_server_misses_a_certificate(identities: Identities) -> None:
    optional = ClientAuth(verify=identities.trust, required=False)
    assert shaken("server", identities, client_auth=optional).ours.info.peer_certificates == ()
    meeting = pair("server", identities, client_auth=ClientAuth(verify=identities.trust))
    assert isinstance(meeting.failure, CertificateError)
    assert meeting.failure.code == "client-certificate-missing"
    assert len(alerts(meeting)) == 1


def test_alert_of_a_server_that_misses_a_certificate(identities: Identities) -> None:
    meeting = pair("server", identities, client_auth=ClientAuth(verify=identities.trust))
    assert alerts(meeting) == [Alert.HANDSHAKE_FAILURE]


def test_a_stranger_is_refused(identities: Identities, strangers: Identities) -> None:
    context = client_context(identities)
    context.load_cert_chain(strangers.of().chain_file, strangers.of().key_file)
    meeting = pair("server", identities, context, client_auth=ClientAuth(verify=identities.trust))
    assert isinstance(meeting.failure, CertificateError)
    assert alerts(meeting) == [Alert.UNKNOWN_CA]
