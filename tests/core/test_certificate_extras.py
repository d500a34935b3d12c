"""What goes with certificates: compression, timestamps, issuers that the peer names, and a second judgement."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from handclasp import (
    ZLIB,
    Alert,
    Asked,
    CallbackError,
    CertificateCompression,
    CertificateError,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    ClientSessions,
    ConfigError,
    Credential,
    EarlyData,
    EarlyDataReceived,
    EarlyDataRejected,
    HandshakeError,
    NegotiationError,
    PresentedChain,
    ReplayGuard,
    Revocation,
    ServerConfig,
    ServerConnection,
    SignatureScheme,
    Subject,
    TicketKeys,
    TLSError,
    TLSVersion,
    TrustStore,
    UnverifiedClients,
    VerifiedPeer,
)
from handclasp.crypto.signatures import KeyKind
from handclasp.events import Event
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.pair import Pair, handshake
from handclasp.trace import Direction, MessageMoved, TraceEvent
from handclasp.wire.names import HandshakeType

VERSIONS = pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)


@dataclass
class Recorder:
    """A verifier that remembers what it was asked, and can change its mind."""

    says: bool = True
    asked: list[PresentedChain] = field(default_factory=list)
    fingerprint: bytes = b"recorder"

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        self.asked.append(presented)
        if not self.says:
            raise CertificateError("no longer", code="no-longer", alert=Alert.CERTIFICATE_REVOKED)
        return VerifiedPeer(presented.chain, "recorded")


@dataclass
class Types:
    """A trace that remembers which handshake messages came."""

    came: list[HandshakeType] = field(default_factory=list)

    def __call__(self, event: TraceEvent) -> None:
        if isinstance(event, MessageMoved) and event.direction is Direction.RECEIVED:
            self.came.append(HandshakeType(event.message[0]))


def meet(client: ClientConfig, server: ServerConfig) -> Pair:
    """Both ends after a handshake, with tickets on their way. Raises TLSError."""
    return handshake(ClientConnection(client, "localhost"), ServerConnection(server))


@pytest.fixture(scope="module")
def staff(authority: CertificateAuthority) -> Credential:
    return authority.issue("staff.test", usage="client")


# --- RFC 8879 ---------------------------------------------------------------------------------------------------------


def test_both_certificates_are_compressed(trust: TrustStore, credential: Credential, staff: Credential) -> None:
    seen_by_client, seen_by_server = Types(), Types()
    both: dict[str, Any] = {"certificate_compression": [ZLIB]}
    client = ClientConfig(trust=trust, credentials=[staff], trace=seen_by_client, **both)
    auth = ClientAuth(verify=trust)
    pair = meet(client, ServerConfig(credentials=[credential], client_auth=auth, trace=seen_by_server, **both))
    assert pair.client.established
    assert pair.server.established
    for seen in (seen_by_client, seen_by_server):
        assert HandshakeType.COMPRESSED_CERTIFICATE in seen.came
        assert HandshakeType.CERTIFICATE not in seen.came
    assert pair.server.info.peer_certificates == staff.chain
    assert pair.client.info.why(Subject.COMPRESSION).endswith("bytes")


@dataclass(frozen=True)
class Foreign:
    """A compressor of another algorithm."""

    algorithm: CertificateCompression = CertificateCompression.ZSTD

    def compress(self, data: bytes) -> bytes:
        return data

    def decompress(self, data: bytes, length: int) -> bytes:
        return data


@pytest.mark.parametrize("theirs", [[], [Foreign()]], ids=["none", "another"])
def test_a_certificate_goes_as_it_is_where_nothing_is_in_common(
    trust: TrustStore, credential: Credential, theirs: list[Foreign]
) -> None:
    seen = Types()
    client = ClientConfig(trust=trust, certificate_compression=[ZLIB], trace=seen)
    assert meet(client, ServerConfig(credentials=[credential], certificate_compression=theirs)).client.established
    assert HandshakeType.CERTIFICATE in seen.came


@pytest.mark.parametrize("stream", [b"", b"?", ZLIB.compress(bytes(99))[:-1], ZLIB.compress(bytes(99)) + b"?"], ids=len)
def test_a_stream_that_cannot_be_read_is_a_value_error(stream: bytes) -> None:
    with pytest.raises(ValueError, match=r"Error|no end"):
        ZLIB.decompress(stream, 99)


@pytest.mark.attack(59, "certificate decompression")
def test_a_bomb_makes_no_more_than_was_declared() -> None:
    bomb = ZLIB.compress(bytes(10_000_000))
    with pytest.raises(ValueError, match="no end"):
        ZLIB.decompress(bomb, 1000)


@pytest.mark.parametrize("junk", [b"", None, "short"])
def test_a_compressor_that_returns_junk_is_named(junk: object, trust: TrustStore, credential: Credential) -> None:
    class Junk(Foreign):
        def compress(self, data: bytes) -> Any:
            return junk

    client = ClientConfig(trust=trust, certificate_compression=[ZLIB])
    with pytest.raises(CallbackError, match="compressor returned"):
        meet(client, ServerConfig(credentials=[credential], certificate_compression=[Junk(ZLIB.algorithm)]))


def test_compressors_are_checked() -> None:
    nothing: Any = object()
    with pytest.raises(ConfigError, match="ZLIB"):
        ClientConfig(certificate_compression=[nothing])


# --- RFC 6962 ---------------------------------------------------------------------------------------------------------


@VERSIONS
def test_timestamps_reach_a_verifier_that_asks(credential: Credential, version: TLSVersion) -> None:
    server = ServerConfig(credentials=[credential.with_timestamps([b"first", b"second"])])
    for asks in (True, False):
        recorder = Recorder()
        client = ClientConfig(trust=recorder, revocation="off", versions=[version], ask_for_timestamps=asks)
        assert meet(client, server).client.established
        assert recorder.asked[0].timestamps == ((b"first", b"second") if asks else ())


@pytest.mark.parametrize(
    "listed", [[], [b""], [bytes(65_536)], 2 * [bytes(40_000)]], ids=["none", "empty", "long", "all"]
)
def test_timestamps_that_cannot_be_sent_are_refused(credential: Credential, listed: list[bytes]) -> None:
    with pytest.raises(ConfigError, match="timestamps"):
        credential.with_timestamps(listed)


# --- issuers ----------------------------------------------------------------------------------------------------------


@VERSIONS
def test_a_client_keeps_a_credential_for_servers_that_name_its_issuer(
    trust: TrustStore, credential: Credential, staff: Credential, version: TLSVersion
) -> None:
    other = CertificateAuthority("another CA").issue("other.test", usage="client").for_named_issuers()
    recorder = Recorder()
    for named, shown in (((other.leaf.issuer_der,), other), ((), staff), ((staff.leaf.issuer_der,), staff)):
        client = ClientConfig(trust=trust, credentials=[other, staff], versions=[version])
        auth = ClientAuth(verify=recorder, authorities=named)
        pair = meet(client, ServerConfig(credentials=[credential], client_auth=auth))
        assert pair.server.info.peer_certificates == shown.chain


@VERSIONS
def test_a_client_may_insist_on_its_certificate(
    trust: TrustStore, credential: Credential, staff: Credential, version: TLSVersion
) -> None:
    auth = ClientAuth(verify=trust, required=False)
    server = ServerConfig(credentials=[credential], client_auth=auth)
    hidden = staff.for_named_issuers()
    changes: dict[str, Any] = {"trust": trust, "versions": [version]}
    assert meet(ClientConfig(credentials=[hidden], **changes), server).server.info.peer_certificates == ()
    assert meet(ClientConfig(must_authenticate=True, **changes), server).server.established  # it has none to show
    with pytest.raises(NegotiationError) as refused:
        meet(ClientConfig(credentials=[hidden], must_authenticate=True, **changes), server)
    assert (refused.value.code, refused.value.alert) == ("no-fitting-credential", Alert.HANDSHAKE_FAILURE)


def test_a_key_on_p384_serves_a_peer_that_knows_sha256_alone(authority: CertificateAuthority) -> None:
    """In TLS 1.2 a scheme names no curve; in TLS 1.3 it does (RFC 8446 §4.2.3)."""
    server = ServerConfig(credentials=[authority.issue("localhost", key_kind=KeyKind.P384)])
    schemes = [SignatureScheme.ECDSA_SECP256R1_SHA256]
    pair = meet(ClientConfig(trust=authority.trust, signature_schemes=schemes, versions=[TLSVersion.TLS_1_2]), server)
    assert pair.client.info.signature_scheme is SignatureScheme.ECDSA_SECP256R1_SHA256
    schemes = [*schemes, SignatureScheme.ECDSA_SECP384R1_SHA384]
    pair = meet(ClientConfig(trust=authority.trust, signature_schemes=schemes, versions=[TLSVersion.TLS_1_2]), server)
    assert pair.client.info.signature_scheme is SignatureScheme.ECDSA_SECP384R1_SHA384
    with pytest.raises(NegotiationError):
        meet(ClientConfig(trust=authority.trust, signature_schemes=schemes[:1]), server)


# --- judged again -----------------------------------------------------------------------------------------------------


@VERSIONS
@pytest.mark.parametrize("reverify", [True, False])
def test_a_client_judges_its_server_again(credential: Credential, version: TLSVersion, reverify: bool) -> None:
    recorder = Recorder()
    client = ClientConfig(
        trust=recorder, revocation="off", versions=[version], sessions=ClientSessions(), reverify=reverify
    )
    server = ServerConfig(credentials=[credential], tickets=TicketKeys())
    meet(client, server)
    assert meet(client, server).client.info.resumed
    assert [presented.resumed for presented in recorder.asked] == [False] + [True] * reverify
    recorder.says = False
    if not reverify:
        assert meet(client, server).client.info.resumed
        return
    assert recorder.asked[1].name == recorder.asked[0].name
    assert not recorder.asked[1].proven
    with pytest.raises(CertificateError) as refused:
        meet(client, server)
    assert (refused.value.code, refused.value.alert) == ("no-longer", Alert.CERTIFICATE_REVOKED)


@VERSIONS
@pytest.mark.parametrize("unverified", list(UnverifiedClients))
def test_a_server_judges_its_client_again(
    trust: TrustStore, credential: Credential, staff: Credential, version: TLSVersion, unverified: UnverifiedClients
) -> None:
    recorder = Recorder()
    client = ClientConfig(trust=trust, credentials=[staff], versions=[version], sessions=ClientSessions())
    auth = ClientAuth(verify=recorder, required=False, reverify=True, unverified=unverified)
    server = ServerConfig(credentials=[credential], client_auth=auth, tickets=TicketKeys())
    meet(client, server)
    assert meet(client, server).server.info.resumed
    assert [presented.resumed for presented in recorder.asked] == [False, True]
    recorder.says = False
    if unverified is UnverifiedClients.REFUSE:
        with pytest.raises(CertificateError):
            meet(client, server)
        return
    pair = meet(client, server)
    assert pair.server.info.resumed
    assert pair.server.info.peer_certificates == ()
    assert pair.server.info.client_error is not None


@dataclass
class Slow(Recorder):
    """The same, who has to be asked elsewhere."""

    blocking = True


def early_of(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, EarlyDataReceived))


@pytest.mark.parametrize("says", [True, False])
@pytest.mark.parametrize("unverified", list(UnverifiedClients))
def test_a_client_is_judged_again_before_its_early_data_is_delivered(
    trust: TrustStore, credential: Credential, staff: Credential, says: bool, unverified: UnverifiedClients
) -> None:
    recorder = Recorder()
    client = ClientConfig(trust=trust, credentials=[staff], sessions=ClientSessions())
    auth = ClientAuth(verify=recorder, required=False, reverify=True, unverified=unverified)
    early_data = EarlyData(replay=ReplayGuard())
    server = ServerConfig(credentials=[credential], client_auth=auth, tickets=TicketKeys(), early_data=early_data)
    meet(client, server)
    recorder.says = says
    slow = Slow(says)
    connection = ServerConnection(server.replace(client_auth=replace(auth, verify=slow)))
    connection.receive_data(ClientConnection(client, "localhost", early_data=b"DELETE /").data_to_send())
    (asked,) = connection.events()
    assert isinstance(asked, Asked)
    if says or unverified is UnverifiedClients.ANONYMOUS:
        connection.answer(asked.question, _verdict(asked))
        assert early_of(connection.events()) == b"DELETE /"
        assert connection.info.resumed
        assert connection.info.verified_chain == (staff.chain if says else ())
        assert (connection.info.client_error is None) is says
        assert len(slow.asked) == 1
        return
    with pytest.raises(CertificateError):
        connection.answer(asked.question, _verdict(asked))
    assert early_of(connection.events()) == b""


def test_all_early_data_waits_for_the_verdict(trust: TrustStore, credential: Credential, staff: Credential) -> None:
    """More than is held otherwise while somebody is asked: the tickets have allowed it."""
    client = ClientConfig(trust=trust, credentials=[staff], sessions=ClientSessions())
    auth = ClientAuth(verify=Recorder(), reverify=True)
    early_data = EarlyData(replay=ReplayGuard(), most=500_000)
    server = ServerConfig(credentials=[credential], client_auth=auth, tickets=TicketKeys(), early_data=early_data)
    meet(client, server)
    connection = ServerConnection(server.replace(client_auth=replace(auth, verify=Slow(True))))
    connection.receive_data(ClientConnection(client, "localhost", early_data=bytes(400_000)).data_to_send())
    (asked,) = connection.events()
    assert isinstance(asked, Asked)
    connection.answer(asked.question, _verdict(asked))
    assert len(early_of(connection.events())) == 400_000


def _verdict(asked: Asked) -> Any:
    try:
        return asked.question.put()
    except CertificateError as no:
        return no


def test_it_is_known_whose_early_data_it_is(trust: TrustStore, credential: Credential, staff: Credential) -> None:
    client = ClientConfig(trust=trust, credentials=[staff], sessions=ClientSessions())
    early_data = EarlyData(replay=ReplayGuard())
    auth = ClientAuth(verify=trust)
    server = ServerConfig(credentials=[credential], client_auth=auth, tickets=TicketKeys(), early_data=early_data)
    meet(client, server)
    connection = ServerConnection(server)
    connection.receive_data(ClientConnection(client, "localhost", early_data=b"GET /").data_to_send())
    assert early_of(connection.events()) == b"GET /"
    assert not connection.established
    assert connection.info.resumed
    assert connection.info.verified_chain[0] == staff.leaf


@pytest.mark.parametrize("forgets", [True, False], ids=["a server that forgot", "a server that resumes"])
def test_a_server_is_judged_again_before_early_data_is_sent(credential: Credential, forgets: bool) -> None:
    recorder = Recorder()
    client = ClientConfig(trust=recorder, revocation="off", sessions=ClientSessions(), reverify=True)
    early_data = EarlyData(replay=ReplayGuard())
    server = ServerConfig(credentials=[credential], tickets=TicketKeys(), early_data=early_data)
    meet(client, server)
    pair = handshake(ClientConnection(client, "localhost", early_data=b"secret"), ServerConnection(server))
    assert early_of(pair.server_events) == b"secret"
    assert [presented.resumed for presented in recorder.asked] == [False, True, True]
    assert recorder.asked[1] == replace(recorder.asked[2], at=recorder.asked[1].at)
    recorder.says = False
    connection = ClientConnection(client, "localhost", early_data=b"secret")
    assert connection.info.peer_certificates == ()
    assert connection.info.early_data is False
    (told,) = connection.events()
    assert isinstance(told, EarlyDataRejected)
    assert "accepted" in told.why
    there = ServerConnection(server.replace(tickets=TicketKeys()) if forgets else server)
    with pytest.raises(CertificateError):
        handshake(connection, there)
    assert early_of(there.events()) == b""


def test_a_resumed_server_has_nothing_stapled(authority: CertificateAuthority) -> None:
    """A certificate that has to be stapled was, at its full handshake."""
    stapled = authority.issue("localhost", must_staple=True)
    response = authority.ocsp_response(stapled.leaf)
    server = ServerConfig(credentials=[stapled.with_staple(response)], tickets=TicketKeys())
    client = ClientConfig(
        trust=authority.trust, revocation=Revocation("staple"), sessions=ClientSessions(), reverify=True
    )
    meet(client, server)
    assert meet(client, server).client.info.resumed


# --- ending it --------------------------------------------------------------------------------------------------------


@VERSIONS
def test_aborted_with_an_alert(trust: TrustStore, credential: Credential, version: TLSVersion) -> None:
    pair = meet(ClientConfig(trust=trust, versions=[version]), ServerConfig(credentials=[credential]))
    for harmless in (Alert.CLOSE_NOTIFY, Alert.USER_CANCELED, Alert.NO_RENEGOTIATION):
        with pytest.raises(ConfigError):
            pair.server.abort(harmless)
    pair.server.abort(Alert.ACCESS_DENIED)
    with pytest.raises(TLSError) as heard:
        pair.client.receive_data(pair.server.data_to_send())
    assert (heard.value.alert, heard.value.alert_received) == (Alert.ACCESS_DENIED, True)
    for call in (pair.server.send, pair.server.receive_data):
        with pytest.raises(TLSError) as dead:
            call(b"more")
        assert dead.value.code == "aborted"
    pair.server.abort(Alert.INTERNAL_ERROR)
    assert pair.server.data_to_send() == b""


@pytest.mark.attack(1, "renegotiation")
def test_no_answer_to_a_renegotiation_behind_our_own_end(trust: TrustStore, credential: Credential) -> None:
    older: dict[str, Any] = {"versions": [TLSVersion.TLS_1_2]}
    pair = meet(ClientConfig(trust=trust, **older), ServerConfig(credentials=[credential], **older))
    pair.client.close()
    pair.client.data_to_send()
    pair.server._outbound.message(bytes((HandshakeType.HELLO_REQUEST, 0, 0, 0)))
    with pytest.raises(HandshakeError) as refused:
        pair.client.receive_data(pair.server.data_to_send())
    assert refused.value.code == "renegotiation"
    assert pair.client.data_to_send() == b""


@pytest.mark.parametrize("most", [64, 512, 16_384])
@VERSIONS
def test_records_are_as_short_as_they_shall_be(
    trust: TrustStore, credential: Credential, version: TLSVersion, most: int
) -> None:
    client = ClientConfig(trust=trust, versions=[version], most_content=most)
    pair = meet(client, ServerConfig(credentials=[credential], most_content=most))
    sizes: list[int] = []
    for sender in (pair.client, pair.server):
        sender.send(bytes(2000))
        data = sender.data_to_send()
        while data:
            size = 5 + int.from_bytes(data[3:5])
            sizes.append(size)
            data = data[size:]
    assert max(sizes) <= 5 + most + 24
    assert len(sizes) == 2 * -(-2000 // most)


@pytest.mark.parametrize("most", [63, 16_385])
def test_sizes_that_no_record_may_have(most: int) -> None:
    with pytest.raises(ConfigError, match="most_content"):
        ClientConfig(most_content=most)
