"""Against the OpenSSL that pyOpenSSL brings, in memory: what the standard library's OpenSSL may be too old for.

Post-quantum groups and signatures, the CCM suites, exporters. Tests of what this OpenSSL lacks too are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import TypeVar

import pytest
from OpenSSL import SSL
from OpenSSL._util import lib

from handclasp import (
    Alert,
    CipherSuite,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    ClientSessions,
    NamedGroup,
    NegotiationError,
    ServerConfig,
    ServerConnection,
    SignatureScheme,
    TLSVersion,
)
from handclasp.crypto.groups import GROUPS, POST_QUANTUM
from handclasp.crypto.signatures import SUPPORTED
from handclasp.crypto.suites import SUITES as ALL_SUITES
from handclasp.wire.names import HandshakeType
from interop.identities import NAME, SCHEMES, Identities, wrong_one
from interop.openssl_bio import (
    Meeting,
    meet,
    newer_client,
    newer_client_peer,
    newer_server,
    newer_server_peer,
    shake,
)

pytestmark = pytest.mark.peer("OpenSSL, pyOpenSSL")

SUITES = [code for code, suite in ALL_SUITES.items() if suite.version is TLSVersion.TLS_1_3]

OPENSSL_GROUPS = {
    NamedGroup.X25519_MLKEM768: "X25519MLKEM768",
    NamedGroup.SECP256R1_MLKEM768: "SecP256r1MLKEM768",
    NamedGroup.SECP384R1_MLKEM1024: "SecP384r1MLKEM1024",
    NamedGroup.X25519: "x25519",
    NamedGroup.SECP256R1: "secp256r1",
    NamedGroup.SECP384R1: "secp384r1",
    NamedGroup.SECP521R1: "secp521r1",
    NamedGroup.X448: "x448",
    NamedGroup.MLKEM768: "MLKEM768",
    NamedGroup.MLKEM1024: "MLKEM1024",
}

ROLES = pytest.mark.parametrize("role", ["client", "server"])
"""The role handclasp plays."""

MAX_CONTENT = 1 << 14

T = TypeVar("T", NamedGroup, SignatureScheme)


def _known(setter: str, codes: Iterable[T], name: Callable[[T], str]) -> set[T]:
    """Those that this OpenSSL can be told to use."""
    context = SSL.Context(SSL.TLS_METHOD)
    known = {code for code in codes if getattr(lib, setter)(context._context, name(code).encode()) == 1}
    lib.ERR_clear_error()
    return known


KNOWN_GROUPS = _known("SSL_CTX_set1_curves_list", OPENSSL_GROUPS, OPENSSL_GROUPS.__getitem__)
KNOWN_SCHEMES = _known("SSL_CTX_set1_sigalgs_list", SCHEMES, str)


def _skip_unless_both_know(code: NamedGroup | SignatureScheme) -> None:
    if code not in KNOWN_GROUPS | KNOWN_SCHEMES:
        pytest.skip(f"{SSL.SSLeay_version(0).decode()} has no {code}")
    if code not in (GROUPS if isinstance(code, NamedGroup) else SUPPORTED):
        pytest.skip(f"the cryptography package is built without {code}")


@pytest.mark.parametrize(("suite", "group"), list(product(SUITES, OPENSSL_GROUPS)), ids=str)
@ROLES
def test_suite_and_group(role: str, suite: CipherSuite, group: NamedGroup, identities: Identities) -> None:
    _skip_unless_both_know(group)
    # ours may use every group and suite: OpenSSL's one of each is what decides
    if role == "client":
        theirs = newer_server_peer(newer_server(identities.of(), groups=OPENSSL_GROUPS[group], suites=str(suite)))
        config = ClientConfig(trust=identities.trust, cipher_suites=list(SUITES), groups=GROUPS, key_shares=[group])
        meeting = shake(ClientConnection(config, NAME), theirs)
    else:
        theirs = newer_client_peer(newer_client(identities, groups=OPENSSL_GROUPS[group], suites=str(suite)))
        served = ServerConfig(credentials=[identities.of().credential], cipher_suites=list(SUITES), groups=GROUPS)
        meeting = shake(ServerConnection(served), theirs)
    info = meeting.ours.info
    assert theirs.cipher_suite == str(info.cipher_suite) == str(suite)
    assert theirs.group.lower() == str(info.group).lower() == str(group).lower()
    assert info.group is group
    assert not info.hello_retry
    meeting.exchange(bytes(40_000), bytes(40_000))


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@ROLES
def test_scheme_of_the_server(role: str, scheme: SignatureScheme, identities: Identities) -> None:
    _skip_unless_both_know(scheme)
    identity = identities.of(SCHEMES[scheme])
    if role == "client":
        theirs = newer_server_peer(newer_server(identity, schemes=str(scheme)))
        meeting = shake(ClientConnection(ClientConfig(trust=identities.trust), NAME), theirs)
    else:
        # the CA's own signature has to be acceptable as well
        schemes = f"{scheme}:ecdsa_secp256r1_sha256"
        theirs = newer_client_peer(newer_client(identities, schemes=schemes))
        meeting = shake(ServerConnection(ServerConfig(credentials=[identity.credential])), theirs)
        assert theirs.certificate == identity.credential.leaf.der
    assert theirs.signature_scheme(sent=role == "client") is meeting.ours.info.signature_scheme is scheme
    meeting.exchange(b"from us", b"from them")


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@ROLES
def test_scheme_of_the_client(role: str, scheme: SignatureScheme, identities: Identities) -> None:
    _skip_unless_both_know(scheme)
    identity = identities.of(SCHEMES[scheme])
    if role == "client":
        schemes = f"{scheme}:ecdsa_secp256r1_sha256"
        theirs = newer_server_peer(newer_server(identities.of(), schemes=schemes, client_ca=identities))
        config = ClientConfig(trust=identities.trust, credentials=[identity.credential])
        meeting = shake(ClientConnection(config, NAME), theirs)
        assert theirs.certificate == identity.credential.leaf.der
    else:
        theirs = newer_client_peer(newer_client(identities, identity=identity))
        auth = ClientAuth(verify=identities.trust)
        served = ServerConfig(
            credentials=[identities.of().credential],
            client_auth=auth,
            signature_schemes=list(dict.fromkeys((scheme, SignatureScheme.ECDSA_SECP256R1_SHA256))),
        )
        meeting = shake(ServerConnection(served), theirs)
        assert meeting.ours.info.peer_certificates[0].der == identity.credential.leaf.der
    assert theirs.signature_scheme(sent=role == "server") is meeting.ours.info.client_signature_scheme is scheme
    meeting.exchange(b"from us", b"from them")


def _defaults(role: str, identities: Identities) -> tuple[Meeting, str]:
    if role == "client":
        theirs = newer_server_peer(newer_server(identities.of()))
        meeting = shake(ClientConnection(ClientConfig(trust=identities.trust), NAME), theirs)
    else:
        theirs = newer_client_peer(newer_client(identities))
        meeting = shake(ServerConnection(ServerConfig(credentials=[identities.of().credential])), theirs)
    return meeting, theirs.group


@ROLES
def test_defaults_meet_in_a_post_quantum_group(role: str, identities: Identities) -> None:
    _skip_unless_both_know(NamedGroup.X25519_MLKEM768)
    meeting, group = _defaults(role, identities)
    assert meeting.ours.info.group is NamedGroup.X25519_MLKEM768
    assert group == "X25519MLKEM768"
    assert not meeting.ours.info.hello_retry
    meeting.exchange(b"from us", b"from them")


@pytest.mark.parametrize("group", [*POST_QUANTUM, NamedGroup.X448], ids=str)
@ROLES
def test_retry_leads_to(role: str, group: NamedGroup, identities: Identities) -> None:
    _skip_unless_both_know(group)
    if role == "client":
        theirs = newer_server_peer(newer_server(identities.of(), groups=OPENSSL_GROUPS[group]))
        config = ClientConfig(trust=identities.trust, groups=GROUPS, key_shares=[NamedGroup.SECP521R1])
        meeting = shake(ClientConnection(config, NAME), theirs)
    else:
        # the asterisk marks the one group to send a share for
        theirs = newer_client_peer(newer_client(identities, groups=f"*secp521r1:{OPENSSL_GROUPS[group]}"))
        served = ServerConfig(credentials=[identities.of().credential], groups=[group])
        meeting = shake(ServerConnection(served), theirs)
    assert meeting.ours.info.hello_retry
    assert theirs.group.lower() == str(meeting.ours.info.group).lower() == str(group).lower()
    assert len(theirs.handshake_messages(HandshakeType.CLIENT_HELLO, sent=role == "server")) == 2
    meeting.exchange(b"after", b"a retry")


@ROLES
def test_short_tags_are_off_unless_asked_for(role: str, identities: Identities) -> None:
    suite = str(CipherSuite.TLS_AES_128_CCM_8_SHA256)
    if role == "client":
        theirs = newer_server_peer(newer_server(identities.of(), suites=suite))
        meeting = meet(ClientConnection(ClientConfig(trust=identities.trust), NAME), theirs)
        assert theirs.alerts(sent=True) == [Alert.HANDSHAKE_FAILURE]
        assert meeting.failure is not None
        assert meeting.failure.alert is Alert.HANDSHAKE_FAILURE
    else:
        theirs = newer_client_peer(newer_client(identities, suites=suite))
        meeting = meet(ServerConnection(ServerConfig(credentials=[identities.of().credential])), theirs)
        assert isinstance(meeting.failure, NegotiationError)
        assert theirs.alerts(sent=False) == [Alert.HANDSHAKE_FAILURE]


def test_tickets_are_digested(identities: Identities) -> None:
    meeting, _ = _defaults("client", identities)
    meeting.exchange(b"data before", b"and after the tickets")
    assert len(meeting.theirs.handshake_messages(HandshakeType.NEW_SESSION_TICKET, sent=True)) == 2
    assert meeting.failure is None


@pytest.mark.parametrize("length", [1, 32, 48, 255])
@pytest.mark.parametrize("context", [None, b"", b"a context"], ids=str)
@pytest.mark.parametrize("suite", [CipherSuite.TLS_AES_128_GCM_SHA256, CipherSuite.TLS_AES_256_GCM_SHA384], ids=str)
@ROLES
def test_exporters_agree(
    role: str, suite: CipherSuite, context: bytes | None, length: int, identities: Identities
) -> None:
    if role == "client":
        theirs = newer_server_peer(newer_server(identities.of(), suites=str(suite)))
        meeting = shake(ClientConnection(ClientConfig(trust=identities.trust), NAME), theirs)
    else:
        theirs = newer_client_peer(newer_client(identities, suites=str(suite)))
        meeting = shake(ServerConnection(ServerConfig(credentials=[identities.of().credential])), theirs)
    label = "EXPORTER-handclasp-test"
    # no context and an empty one are the same from TLS 1.3 on (RFC 8446 §7.5)
    assert meeting.ours.export(label, context or b"", length) == theirs.export(label.encode(), length, context)
    binding = theirs.export(b"EXPORTER-Channel-Binding", 32, b"")
    assert meeting.ours.channel_binding("tls-exporter") == binding


@ROLES
def test_key_updates_and_half_close(role: str, identities: Identities) -> None:
    meeting, _ = _defaults(role, identities)
    for asks in (True, False, True):
        meeting.ours.update_keys(request_peer=asks)
        meeting.exchange(bytes(3 * MAX_CONTENT), bytes(3 * MAX_CONTENT))
    meeting.exchange(b"the last answer", b"comes with data")
    assert len(meeting.theirs.handshake_messages(HandshakeType.KEY_UPDATE, sent=False)) == 3
    assert len(meeting.theirs.handshake_messages(HandshakeType.KEY_UPDATE, sent=True)) == 2
    meeting.ours.close()
    meeting.carry()
    assert meeting.theirs.closed
    meeting.theirs.send(b"still here")
    meeting.theirs.close()
    meeting.carry()
    meeting.check()
    assert meeting.received.endswith(b"still here")
    assert meeting.closed


@ROLES
def test_byte_by_byte(role: str, identities: Identities) -> None:
    if role == "client":
        ours: ClientConnection | ServerConnection = ClientConnection(ClientConfig(trust=identities.trust), NAME)
        meeting = shake(ours, newer_server_peer(newer_server(identities.of())), piece=1)
    else:
        ours = ServerConnection(ServerConfig(credentials=[identities.of().credential]))
        meeting = shake(ours, newer_client_peer(newer_client(identities)), piece=1)
    meeting.exchange(b"from us" * 100, b"from them" * 100, piece=1)


WRONG = pytest.mark.parametrize(("wrong", "alert"), [("CA", Alert.UNKNOWN_CA), ("time", Alert.CERTIFICATE_EXPIRED)])


@WRONG
def test_client_refuses(wrong: str, alert: Alert, identities: Identities, strangers: Identities) -> None:
    theirs = newer_server_peer(newer_server(wrong_one(wrong, identities, strangers)))
    meeting = meet(ClientConnection(ClientConfig(trust=identities.trust), NAME), theirs)
    assert meeting.failure is not None
    assert theirs.alerts(sent=False) == [meeting.failure.alert] == [alert]


@WRONG
def test_server_hears_why_it_is_refused(
    wrong: str, alert: Alert, identities: Identities, strangers: Identities
) -> None:
    theirs = newer_client_peer(newer_client(identities))
    shown = wrong_one(wrong, identities, strangers).credential
    meeting = meet(ServerConnection(ServerConfig(credentials=[shown])), theirs)
    assert meeting.failure is not None
    assert meeting.failure.alert_received
    assert theirs.alerts(sent=True) == [meeting.failure.alert] == [alert]


@pytest.mark.parametrize("newest", [True, False], ids=["TLS 1.3", "TLS 1.2"])
def test_sessions_and_application_protocol(newest: bool, identities: Identities) -> None:
    context = newer_server(identities.of())
    context.set_session_id(b"a test")
    context.set_alpn_select_callback(lambda _, offered: b"echo" if b"echo" in offered else SSL.NO_OVERLAPPING_PROTOCOLS)
    if not newest:
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    config = ClientConfig(trust=identities.trust, sessions=ClientSessions(), alpn=["other", "echo"])
    for resumed in (False, True, True):
        meeting = shake(ClientConnection(config, NAME), newer_server_peer(context))
        assert meeting.ours.info.resumed is resumed
        assert meeting.ours.info.alpn == "echo"
        meeting.exchange(b"from us", b"from them")
        # OpenSSL forgets a session whose connection did not end well
        meeting.ours.close()
        meeting.carry()
        meeting.theirs.close()
        meeting.carry()
