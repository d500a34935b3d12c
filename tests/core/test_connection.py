"""The sans-I/O connection: its grammar, its questions, its failures."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from handclasp import (
    Alert,
    AlertReceived,
    Asked,
    CallbackError,
    CertificateError,
    CipherSuite,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    Closed,
    ConcurrentUseError,
    ConfigError,
    ConnectionClosed,
    Credential,
    Data,
    HandshakeComplete,
    HandshakeError,
    HandshakeTimeout,
    InternalError,
    Limits,
    NamedGroup,
    NegotiationError,
    NotEstablished,
    PadTo,
    PeerNotTLS,
    PresentedChain,
    ServerConfig,
    ServerConnection,
    SignatureScheme,
    Subject,
    TLSError,
    TLSVersion,
    TruncatedError,
    TrustStore,
    VerifiedPeer,
)
from handclasp.codes import GREASE
from handclasp.crypto.signatures import KeyKind, PublicKey
from handclasp.errors import from_alert
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.pair import Pair, handshake
from handclasp.limits import RECORD_HEADER
from handclasp.trace import DataMoved, Direction, Epoch, KeysChanged, MessageMoved, RecordMoved, TraceEvent
from handclasp.wire.messages import HEADER_SIZE, ClientHello
from handclasp.wire.names import ContentType


@pytest.fixture
def client_config(trust: TrustStore) -> ClientConfig:
    return ClientConfig(trust=trust)


@pytest.fixture
def server_config(credential: Credential) -> ServerConfig:
    return ServerConfig(credentials=[credential])


@pytest.fixture
def pair(client_config: ClientConfig, server_config: ServerConfig) -> Pair:
    return handshake(ClientConnection(client_config, "localhost"), ServerConnection(server_config))


def refused(pair_of: Callable[[], Pair]) -> TLSError:
    with pytest.raises(TLSError) as caught:
        pair_of()
    return caught.value


# --- the story of a connection ---------------------------------------------------------------------------------------


def test_both_sides_tell_the_same(pair: Pair, credential: Credential) -> None:
    ours, theirs = pair.client.info, pair.server.info
    assert pair.client.established
    assert pair.server.established
    assert ours.version is theirs.version is TLSVersion.TLS_1_3
    assert ours.cipher_suite is theirs.cipher_suite is CipherSuite.TLS_AES_128_GCM_SHA256
    assert ours.group is theirs.group
    assert ours.signature_scheme is theirs.signature_scheme is SignatureScheme.ECDSA_SECP256R1_SHA256
    assert ours.server_name == theirs.server_name == "localhost"
    assert ours.alpn is theirs.alpn is None
    assert not ours.resumed
    assert not ours.hello_retry
    assert ours.peer_certificates == credential.chain
    assert ours.verified_chain[0] == credential.leaf
    assert len(ours.verified_chain) == 2
    assert theirs.certificate == credential.leaf
    assert theirs.peer_certificates == ()
    assert "first of ours" in theirs.why(Subject.GROUP)
    assert ours.why(Subject.GROUP) == "the server's choice among ours"
    assert ours.why(Subject.ALPN) == ""


def test_the_first_event_is_the_handshake_and_carries_the_info(pair: Pair) -> None:
    assert pair.client_events == [HandshakeComplete(pair.client.info)]
    assert pair.server_events == [HandshakeComplete(pair.server.info)]


def test_data_flows_both_ways_in_any_pieces(pair: Pair) -> None:
    message = bytes(range(256)) * 400
    pair.client.send(message)
    pair.server.send(memoryview(message)[::-1].tobytes())
    pair.shuttle(piece=7)
    assert pair.server_data() == message
    assert pair.client_data() == message[::-1]


def test_an_empty_send_sends_nothing(pair: Pair) -> None:
    pair.client.send(b"")
    assert pair.client.data_to_send() == b""


def test_half_close(pair: Pair) -> None:
    pair.client.send(b"question")
    pair.client.close()
    pair.client.close()
    pair.shuttle()
    assert pair.server_events[-2:] == [Data(b"question"), Closed(clean=True)]
    assert pair.server.closed_by_peer
    assert pair.server.waiting_for == ()
    pair.server.send(b"answer")
    pair.server.close()
    pair.shuttle()
    assert pair.client_events[-2:] == [Data(b"answer"), Closed(clean=True)]
    with pytest.raises(ConnectionClosed):
        pair.client.send(b"more")


def test_what_follows_close_notify_is_ignored(pair: Pair) -> None:
    pair.server.close()
    pair.shuttle()
    pair.client.receive_data(b"\x17\x03\x03junk")
    pair.client.receive_eof()
    assert pair.client.events() == []
    assert pair.client.error is None


@pytest.mark.attack(42, "truncation")
def test_eof_without_close_notify_is_truncation(pair: Pair) -> None:
    with pytest.raises(TruncatedError) as caught:
        pair.client.receive_eof()
    assert pair.client.events() == [Closed(clean=False)]
    assert isinstance(caught.value, EOFError)
    assert caught.value.code == "truncated"
    assert "fix: " in caught.value.__notes__[0]
    with pytest.raises(TruncatedError) as again:
        pair.client.send(b"x")
    assert again.value is caught.value
    assert pair.client.data_to_send() == b""


@pytest.mark.attack(42, "truncation")
def test_eof_during_the_handshake(client_config: ClientConfig) -> None:
    client = ClientConnection(client_config, "localhost")
    with pytest.raises(TruncatedError, match="during the handshake"):
        client.receive_eof()


def test_closing_before_the_handshake_is_done_tells_the_peer(
    client_config: ClientConfig, server_config: ServerConfig
) -> None:
    client, server = ClientConnection(client_config, "localhost"), ServerConnection(server_config)
    client.close()
    with pytest.raises(AlertReceived) as caught:
        server.receive_data(client.data_to_send())
    assert caught.value.alert is Alert.CLOSE_NOTIFY


@pytest.mark.attack(45, "key material too soon")
def test_nothing_is_sent_or_exported_before_the_handshake(client_config: ClientConfig) -> None:
    client = ClientConnection(client_config, "localhost")
    for call in (lambda: client.send(b"x"), client.update_keys, lambda: client.export("x")):
        with pytest.raises(NotEstablished):
            call()
    assert client.waiting_for == ("ServerHello", "HelloRetryRequest")


# --- keys ------------------------------------------------------------------------------------------------------------


def test_key_update_both_ways_and_only_one_answer(pair: Pair) -> None:
    pair.client.update_keys(request_peer=True)
    pair.client.update_keys(request_peer=True)
    pair.client.send(b"new keys")
    pair.server.receive_data(pair.client.data_to_send())
    answer = pair.server.data_to_send()
    assert len(answer) == 5 + 5 + 1 + 16
    pair.client.receive_data(answer)
    pair.server.send(b"mine too")
    pair.shuttle()
    assert pair.server_data() == b"new keys"
    assert pair.client_data() == b"mine too"


@pytest.mark.attack(51, "keys used too long")
def test_keys_change_by_themselves_before_they_wear_out(trust: TrustStore, credential: Credential) -> None:
    seen: list[TraceEvent] = []
    limits = Limits(records_per_key=4)
    pair = handshake(
        ClientConnection(ClientConfig(trust=trust, limits=limits, trace=seen.append), "localhost"),
        ServerConnection(ServerConfig(credentials=[credential])),
    )
    for number in range(10):
        pair.client.send(bytes([number]))
    pair.shuttle()
    assert pair.server_data() == bytes(range(10))
    sent = [e for e in seen if isinstance(e, KeysChanged) and e.direction is Direction.SENT]
    assert [event.generation for event in sent if event.epoch is Epoch.APPLICATION] == [0, 1, 2]


def test_a_peer_that_does_not_change_its_keys_is_asked_to(trust: TrustStore, credential: Credential) -> None:
    limits = Limits(records_per_key=4)
    pair = handshake(
        ClientConnection(ClientConfig(trust=trust, limits=limits), "localhost"),
        ServerConnection(ServerConfig(credentials=[credential])),
    )
    for number in range(6):
        pair.server.send(bytes([number]))
        pair.client.receive_data(pair.server.data_to_send())
    request = pair.client.data_to_send()
    assert request
    pair.server.receive_data(request)
    pair.server.send(b"!")
    pair.shuttle()
    assert pair.client_data() == bytes(range(6)) + b"!"


def test_exporters_agree_and_depend_on_label_context_and_length(pair: Pair) -> None:
    one = pair.client.export("EXPORTER-test", b"context", 48)
    assert one == pair.server.export(b"EXPORTER-test", b"context", 48)
    assert len(one) == 48
    assert one != pair.client.export("EXPORTER-test", b"", 48)
    assert one != pair.client.export("EXPORTER-other", b"context", 48)
    assert pair.client.export("") == pair.server.export("")
    for label, length in (("x" * 250, 32), ("x", 0), ("x", 255 * 32 + 1)):
        with pytest.raises(ConfigError):
            pair.client.export(label, b"", length)


def test_channel_bindings(pair: Pair, credential: Credential) -> None:
    assert pair.client.channel_binding("tls-exporter") == pair.server.channel_binding("tls-exporter")
    assert len(pair.client.channel_binding("tls-exporter")) == 32
    end_point = credential.leaf.end_point_hash()
    assert pair.client.channel_binding("tls-server-end-point") == end_point
    assert pair.server.channel_binding("tls-server-end-point") == end_point
    with pytest.raises(ConfigError, match="not defined"):
        pair.client.channel_binding("tls-unique")


def test_no_end_point_binding_for_a_signature_without_a_hash(trust: TrustStore) -> None:
    authority = CertificateAuthority("Ed25519 root", key_kind=KeyKind.ED25519)
    config = ServerConfig(credentials=[authority.issue("localhost")])
    pair = handshake(ClientConnection(ClientConfig(trust=Accept()), "localhost"), ServerConnection(config))
    with pytest.raises(ConfigError) as caught:
        pair.client.channel_binding("tls-server-end-point")
    assert caught.value.remedy == "use tls-exporter"


@pytest.mark.attack(13, "length leaks")
def test_padding_hides_lengths(trust: TrustStore, credential: Credential) -> None:
    pair = handshake(
        ClientConnection(ClientConfig(trust=trust, padding=PadTo(512)), "localhost"),
        ServerConnection(ServerConfig(credentials=[credential])),
    )
    sizes = set()
    for length in (1, 100, 511, 512):
        pair.client.send(b"x" * length)
        record = pair.client.data_to_send()
        sizes.add(len(record))
        pair.server.receive_data(record)
    assert sizes == {5 + 512 + 1 + 16}
    assert sum(len(event.data) for event in pair.server.events() if isinstance(event, Data)) == 1124


def test_the_key_log(trust: TrustStore, credential: Credential) -> None:
    ours: list[str] = []
    theirs: list[str] = []
    handshake(
        ClientConnection(ClientConfig(trust=trust, keylog=ours.append), "localhost"),
        ServerConnection(ServerConfig(credentials=[credential], keylog=theirs.append)),
    )
    assert sorted(ours) == sorted(theirs)
    assert [line.split()[0] for line in ours] == [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
    ]


def test_the_trace_has_every_byte_and_every_message(trust: TrustStore, credential: Credential) -> None:
    seen: list[TraceEvent] = []
    client = ClientConnection(ClientConfig(trust=trust, trace=seen.append), "localhost")
    pair = handshake(client, ServerConnection(ServerConfig(credentials=[credential])))
    before = len(seen)
    pair.client.send(b"hello")
    sent = pair.client.data_to_send()
    assert [e for e in seen[before:] if isinstance(e, DataMoved)] == [DataMoved(Direction.SENT, 5)]
    assert [e.record for e in seen[before:] if isinstance(e, RecordMoved)] == [sent]
    messages = [e for e in seen if isinstance(e, MessageMoved) and e.type is ContentType.HANDSHAKE]
    assert [(e.direction.value, e.epoch.value, e.message[0]) for e in messages] == [
        ("sent", "clear", 1),
        ("received", "clear", 2),
        ("received", "handshake", 8),
        ("received", "handshake", 11),
        ("received", "handshake", 15),
        ("received", "handshake", 20),
        ("sent", "handshake", 20),
    ]


@pytest.mark.parametrize("size", [1, 7, 1000, 30_000])
@pytest.mark.parametrize(
    "form", ["bytearray", "view of bytes", "view of a bytearray", "view of numbers", "view of rows"]
)
def test_bytes_are_taken_in_any_form(form: str, size: int, trust: TrustStore, credential: Credential) -> None:
    """What they are in is the caller's again when `receive_data` returns: to change, or to release."""
    pair = handshake(
        ClientConnection(ClientConfig(trust=trust), "localhost"),
        ServerConnection(ServerConfig(credentials=[credential])),
    )
    said = os.urandom(40_000)
    pair.client.send(said)
    wire, heard = pair.client.data_to_send(), b""
    for start in range(0, len(wire), size):
        piece = wire[start : start + size]
        mutable = bytearray(piece)
        forms: dict[str, bytearray | memoryview] = {
            "bytearray": mutable,
            "view of bytes": memoryview(b"?" + piece + b"?")[1:-1],
            "view of a bytearray": memoryview(mutable),
            "view of numbers": memoryview(piece).cast("b"),
            "view of rows": memoryview(piece).cast("B", (1, len(piece))),
        }
        given = forms[form]
        pair.server.receive_data(given)
        mutable[:] = bytes(len(mutable))
        if isinstance(given, memoryview):
            given.release()
        heard += b"".join(event.data for event in pair.server.events() if isinstance(event, Data))
    assert heard == said


# --- choices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [NamedGroup.SECP384R1, NamedGroup.X25519_MLKEM768])
def test_a_retry_brings_the_group_the_server_wants(
    group: NamedGroup, trust: TrustStore, credential: Credential
) -> None:
    client = ClientConfig(trust=trust, groups=[NamedGroup.X25519, group], key_shares=[NamedGroup.X25519])
    server = ServerConfig(credentials=[credential], groups=[group])
    pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server), piece=1)
    assert pair.client.info.group is pair.server.info.group is group
    assert pair.client.info.hello_retry
    assert str(group) in pair.server.info.why(Subject.HELLO_RETRY)


def test_a_curve_beside_a_hybrid_of_it_has_the_same_key(trust: TrustStore, credential: Credential) -> None:
    """In one ClientHello; whichever of the two a server takes. Every other share has a key of its own."""
    hybrid, other, curve = NamedGroup.X25519_MLKEM768, NamedGroup.SECP256R1_MLKEM768, NamedGroup.X25519
    client = ClientConfig(trust=trust, groups=[hybrid, other, curve], key_shares=[hybrid, other, curve], grease=False)
    seen = set()
    for group in (hybrid, curve, other):
        connection = ClientConnection(client, "localhost")
        hello = ClientHello.parse(connection.data_to_send()[RECORD_HEADER + HEADER_SIZE :])
        shares = {entry.group: entry.key_exchange for entry in hello.extensions.key_share or ()}
        assert list(shares) == [hybrid, other, curve]
        assert shares[hybrid].endswith(shares[curve])
        seen |= {shares[hybrid][:1184], shares[curve], shares[other][:65], shares[other][65:]}
        pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server_of(credential, group)))
        assert pair.client.info.group is pair.server.info.group is group
    assert len(seen) == 12


def server_of(credential: Credential, group: NamedGroup) -> ServerConfig:
    return ServerConfig(credentials=[credential], groups=[group])


def test_post_quantum_is_worth_a_round_trip_and_no_other_group_is(trust: TrustStore, credential: Credential) -> None:
    hybrid, fast, slow = NamedGroup.X25519_MLKEM768, NamedGroup.X25519, NamedGroup.SECP384R1
    client = ClientConfig(trust=trust, groups=[fast, slow, hybrid], key_shares=[fast])
    for groups, expected, retried in (([hybrid, fast], hybrid, True), ([slow, fast], fast, False)):
        server = ServerConfig(credentials=[credential], groups=groups)
        pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
        assert (pair.client.info.group, pair.client.info.hello_retry) == (expected, retried)


def test_a_client_without_fast_aes_gets_chacha(trust: TrustStore, credential: Credential) -> None:
    chacha, aes = CipherSuite.TLS_CHACHA20_POLY1305_SHA256, CipherSuite.TLS_AES_128_GCM_SHA256
    server = ServerConfig(credentials=[credential])
    for offer, expected in (([chacha, aes], chacha), ([aes, chacha], aes)):
        client = ClientConnection(ClientConfig(trust=trust, cipher_suites=offer), "localhost")
        assert handshake(client, ServerConnection(server)).client.info.cipher_suite is expected


def test_alpn(trust: TrustStore, credential: Credential) -> None:
    client = ClientConfig(trust=trust, alpn=["http/1.1", "h2"])
    for ours, expected in ((["h2", "http/1.1"], "h2"), ([], None)):
        server = ServerConfig(credentials=[credential], alpn=ours)
        pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
        assert pair.client.info.alpn == pair.server.info.alpn == expected
        why = "the server's choice among ours; it passed over http/1.1" if expected else ""
        assert pair.client.info.why(Subject.ALPN) == why
    error = refused(
        lambda: handshake(
            ClientConnection(client, "localhost"), ServerConnection(ServerConfig(credentials=[credential], alpn=["x"]))
        )
    )
    assert isinstance(error, NegotiationError)
    assert (error.alert, error.ours, error.theirs) == (Alert.NO_APPLICATION_PROTOCOL, ("x",), ("http/1.1", "h2"))


def test_the_certificate_is_chosen_by_name_and_by_scheme(authority: CertificateAuthority, trust: TrustStore) -> None:
    credentials = [
        authority.issue("default.test"),
        authority.issue("a.test", key_kind=KeyKind.ED25519),
        authority.issue("a.test", key_kind=KeyKind.P384),
        authority.issue("*.b.test"),
    ]
    server = ServerConfig(credentials=credentials)
    cases = (
        ("a.test", None, credentials[1]),
        ("a.test", [SignatureScheme.ECDSA_SECP384R1_SHA384], credentials[2]),
        ("x.b.test", None, credentials[3]),
        ("other.test", None, credentials[0]),
    )
    for name, schemes, expected in cases:
        config = ClientConfig(trust=Accept())
        config = config.replace(signature_schemes=schemes) if schemes else config
        pair = handshake(ClientConnection(config, name), ServerConnection(server))
        assert pair.client.info.peer_certificates[0] == expected.leaf
        assert pair.server.info.certificate == expected.leaf


@pytest.mark.attack(14, "ALPACA")
def test_a_server_may_refuse_names_it_does_not_know(client_config: ClientConfig, credential: Credential) -> None:
    config = ServerConfig(credentials=[credential], unknown_names="refuse")
    error = refused(lambda: handshake(ClientConnection(client_config, "other.test"), ServerConnection(config)))
    assert error.alert is Alert.UNRECOGNIZED_NAME
    assert "other.test" in str(error)


def test_a_server_may_choose_its_configuration_by_the_hello(
    client_config: ClientConfig, server_config: ServerConfig, credential: Credential
) -> None:
    asked: list[bytes] = []

    def choose(hello: ClientHello) -> ServerConfig:
        names = hello.extensions.server_name
        asked.append(names[0].host_name if names else b"")
        return server_config.replace(groups=[NamedGroup.SECP256R1])

    config = ServerConfig(credentials=[credential], choose=choose)
    pair = handshake(ClientConnection(client_config, "localhost"), ServerConnection(config))
    assert asked == [b"localhost"]
    assert pair.client.info.group is NamedGroup.SECP256R1


def test_a_chosen_configuration_counts_in_all(client_config: ClientConfig, credential: Credential) -> None:
    lines: list[str] = []
    chosen = ServerConfig(
        credentials=[credential], keylog=lines.append, padding=lambda length: 1000, most_content=2000, key_bytes=16_384
    )
    server = ServerConnection(ServerConfig(credentials=[credential], choose=lambda hello: chosen))
    pair = handshake(ClientConnection(client_config, "localhost"), server)
    assert lines
    server.send(b"x")
    assert len(server.data_to_send()) == RECORD_HEADER + 1 + 1000 + 1 + 16
    server.send(bytes(60_000))
    records, count = server.data_to_send(), 0
    while records:
        records, count = records[RECORD_HEADER + int.from_bytes(records[3:RECORD_HEADER]) :], count + 1
    assert count > 30
    assert server.info.keys_renewed == 3
    assert pair.client.info.alpn is None


@pytest.mark.parametrize("size", [64, 512, 16_385])
def test_record_size_limit(size: int, trust: TrustStore, credential: Credential) -> None:
    records: list[TraceEvent] = []
    client = ClientConfig(trust=trust, record_size_limit=size, trace=records.append)
    server = ServerConfig(credentials=[credential], record_size_limit=100)
    pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
    pair.client.send(b"c" * 1000)
    pair.server.send(b"s" * 20_000)
    pair.shuttle()
    assert pair.server_data() == b"c" * 1000
    assert pair.client_data() == b"s" * 20_000
    inner = [(r.direction, len(r.record) - 5 - 16) for r in records if isinstance(r, RecordMoved) and r.record[0] == 23]
    assert max(length for direction, length in inner if direction is Direction.SENT) == 100
    assert max(length for direction, length in inner if direction is Direction.RECEIVED) == size


def test_a_record_of_tls_1_2_is_never_longer_than_that(trust: TrustStore, credential: Credential) -> None:
    """RFC 5246 §6.2.1: what TLS 1.3 hides in a record, TLS 1.2 does not have."""
    client = ClientConnection(ClientConfig(trust=trust, record_size_limit=16_385), "localhost")
    server = ServerConnection(ServerConfig(credentials=[credential], versions=[TLSVersion.TLS_1_2]))
    handshake(client, server)
    server._outbound.most_content = 16_385
    server.send(bytes(16_385))
    with pytest.raises(HandshakeError) as caught:
        client.receive_data(server.data_to_send())
    assert caught.value.alert is Alert.RECORD_OVERFLOW


def test_max_fragment_length(trust: TrustStore, server_config: ServerConfig) -> None:
    from handclasp import MaxFragmentLength

    client = ClientConfig(trust=trust, max_fragment_length=MaxFragmentLength.LENGTH_512)
    pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server_config))
    pair.server.send(b"s" * 2000)
    assert len(pair.server.data_to_send()) == 2000 + 4 * (5 + 1 + 16)


@pytest.mark.attack(19, "version intolerance")
def test_grease_is_sent_and_ignored(client_config: ClientConfig, server_config: ServerConfig) -> None:
    for grease in (True, False):
        client = ClientConnection(client_config.replace(grease=grease), "localhost")
        hello = client.data_to_send()
        said = ClientHello.parse(hello[RECORD_HEADER + HEADER_SIZE :])
        lists = said.extensions
        assert lists.supported_groups is not None
        assert lists.supported_versions is not None
        firsts = (said.cipher_suites[0], lists.supported_groups[0], lists.supported_versions[0], lists.order[0])
        assert [first in GREASE for first in firsts] == [grease] * 4
        server = ServerConnection(server_config)
        server.receive_data(hello)
        client.receive_data(server.data_to_send())
        assert client.established


def test_without_middlebox_compatibility_there_is_no_session_id(
    client_config: ClientConfig, server_config: ServerConfig
) -> None:
    seen: list[TraceEvent] = []
    config = client_config.replace(middlebox_compatibility=False, trace=seen.append)
    handshake(ClientConnection(config, "localhost"), ServerConnection(server_config))
    assert not [e for e in seen if isinstance(e, MessageMoved) and e.type is ContentType.CHANGE_CIPHER_SPEC]


# --- client certificates ---------------------------------------------------------------------------------------------


def test_client_certificates(authority: CertificateAuthority, trust: TrustStore, credential: Credential) -> None:
    staff = authority.issue("staff.test", usage="client")
    names = [authority.certificate.x509.subject.public_bytes()]
    server = ServerConfig(credentials=[credential], client_auth=ClientAuth(verify=trust, authorities=names))
    other = CertificateAuthority("another CA").issue("staff.test", usage="client")
    client = ClientConfig(trust=trust, credentials=[other, staff])
    pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
    assert pair.server.info.peer_certificates == staff.chain
    assert pair.server.info.verified_chain[-1] == authority.certificate
    assert pair.server.info.client_signature_scheme is pair.client.info.client_signature_scheme is not None
    assert pair.client.info.certificate == staff.leaf
    assert "CA the server names" in pair.client.info.why(Subject.CLIENT_CREDENTIAL)


def test_no_client_certificate(trust: TrustStore, credential: Credential) -> None:
    client = ClientConfig(trust=trust)
    optional = ServerConfig(credentials=[credential], client_auth=ClientAuth(verify=trust, required=False))
    pair = handshake(ClientConnection(client, "localhost"), ServerConnection(optional))
    assert pair.server.established
    assert pair.server.info.peer_certificates == ()
    required = ServerConfig(credentials=[credential], client_auth=ClientAuth(verify=trust))
    client_end, server_end = ClientConnection(client, "localhost"), ServerConnection(required)
    error = refused(lambda: handshake(client_end, server_end))
    assert isinstance(error, CertificateError)
    assert error.alert is Alert.CERTIFICATE_REQUIRED
    assert not server_end.established
    with pytest.raises(AlertReceived) as caught:
        client_end.receive_data(server_end.data_to_send())
    assert caught.value.alert is Alert.CERTIFICATE_REQUIRED
    assert "credentials=" in caught.value.remedy


def test_a_client_certificate_from_elsewhere_is_refused(trust: TrustStore, credential: Credential) -> None:
    stranger = CertificateAuthority("stranger").issue("staff.test", usage="client")
    server = ServerConfig(credentials=[credential], client_auth=ClientAuth(verify=trust))
    client = ClientConfig(trust=trust, credentials=[stranger])
    error = refused(lambda: handshake(ClientConnection(client, "localhost"), ServerConnection(server)))
    assert isinstance(error, CertificateError)
    assert error.peer_chain == stranger.chain


# --- who is it? ------------------------------------------------------------------------------------------------------


def test_a_wrong_name_is_explained(client_config: ClientConfig, server_config: ServerConfig) -> None:
    client = ClientConnection(client_config, "wrong.test")
    error = refused(lambda: handshake(client, ServerConnection(server_config)))
    assert isinstance(error, CertificateError)
    assert error.code == "name-mismatch"
    assert error.certificate_index == 0
    assert error.peer_chain == client.info.peer_certificates != ()
    assert "wrong.test" in str(error)
    assert error.remedy
    assert client.data_to_send()
    assert not client.established
    assert client.info.verified_chain == ()


def test_an_unknown_authority_is_explained(server_config: ServerConfig) -> None:
    stranger = ClientConfig(trust=CertificateAuthority("somebody else").trust)
    error = refused(lambda: handshake(ClientConnection(stranger, "localhost"), ServerConnection(server_config)))
    assert isinstance(error, CertificateError)
    assert error.alert is Alert.UNKNOWN_CA


def test_the_clock_of_the_configuration_decides(trust: TrustStore, server_config: ServerConfig) -> None:
    later = ClientConfig(trust=trust, clock=lambda: datetime.now(UTC) + timedelta(days=4000))
    error = refused(lambda: handshake(ClientConnection(later, "localhost"), ServerConnection(server_config)))
    assert isinstance(error, CertificateError)
    assert error.code.startswith("expired")


# --- questions -------------------------------------------------------------------------------------------------------


class Accept:
    """A verifier that says yes."""

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        return VerifiedPeer(presented.chain, "yes")


@dataclass(frozen=True)
class RemoteSigner:
    """A key somewhere else, as an HSM is."""

    public_key: PublicKey
    key: Credential

    async def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
        signature = self.key.signer.sign(scheme, data)
        assert isinstance(signature, bytes)
        return signature


@pytest.fixture
def remote(credential: Credential) -> Credential:
    return Credential.from_signer(credential.chain, RemoteSigner(credential.signer.public_key, credential))


@pytest.mark.attack(50, "nonce reuse")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # a test runner has threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_go_on_with_a_connection(client_config: ClientConfig, credential: Credential) -> None:
    """Two processes with the same keys would use the same nonces for different data."""
    server = ServerConnection(ServerConfig(credentials=[credential]))
    pair = handshake(ClientConnection(client_config, "localhost"), server)
    child = os.fork()
    if child == 0:  # whatever happens here must not come back into the test run
        refused = 0
        for use in (lambda: server.send(b"x"), server.close, server.data_to_send, lambda: server.receive_data(b"x")):
            try:
                use()
            except ConcurrentUseError:
                refused += 1
            except BaseException:
                break
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    server.send(b"the parent goes on")
    pair.shuttle()
    assert pair.client_data() == b"the parent goes on"


def _asked(pair: Pair) -> Asked:
    (asked,) = pair.asked
    return asked


def _pending(asked: Asked) -> Awaitable[Any]:
    assert asked.pending is not None
    return asked.pending


class SlowSigner(RemoteSigner):
    """A key behind a call that waits by itself."""

    blocking = True

    def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:  # type: ignore[override]
        signature = self.key.signer.sign(scheme, data)
        assert isinstance(signature, bytes)
        return signature


def test_a_signer_that_blocks_is_called_by_whoever_drives_the_connection(
    client_config: ClientConfig, credential: Credential
) -> None:
    slow = Credential.from_signer(credential.chain, SlowSigner(credential.signer.public_key, credential))
    server = ServerConnection(ServerConfig(credentials=[slow]))
    pair = handshake(ClientConnection(client_config, "localhost"), server)
    asked = _asked(pair)
    assert asked.pending is None
    assert not server.established
    server.answer(asked.question, asked.question.put())
    pair.shuttle()
    assert pair.client.established
    assert server.established


def test_an_async_signer_is_asked_and_answered(client_config: ClientConfig, remote: Credential) -> None:
    server = ServerConnection(ServerConfig(credentials=[remote]))
    pair = handshake(ClientConnection(client_config, "localhost"), server)
    assert server.waiting_for == ("Sign",)
    assert not server.established
    asked = _asked(pair)
    coroutine = _pending(asked).__await__()
    with pytest.raises(StopIteration) as finished:
        next(coroutine)
    server.answer(asked.question, finished.value.value)
    pair.shuttle()
    assert pair.client.established
    assert server.established


@pytest.mark.parametrize("value", [b"", "text", None, b"x" * 70_000, ValueError("the HSM is on fire")])
def test_a_bad_answer_refuses_the_connection(client_config: ClientConfig, remote: Credential, value: bytes) -> None:
    server = ServerConnection(ServerConfig(credentials=[remote]))
    pair = handshake(ClientConnection(client_config, "localhost"), server)
    asked = _asked(pair)
    _pending(asked).close()  # type: ignore[attr-defined]
    with pytest.raises(CallbackError):
        server.answer(asked.question, value)
    with pytest.raises(AlertReceived) as caught:
        pair.client.receive_data(server.data_to_send())
    assert caught.value.alert is Alert.INTERNAL_ERROR


def test_only_the_open_question_can_be_answered(client_config: ClientConfig, remote: Credential) -> None:
    server = ServerConnection(ServerConfig(credentials=[remote]))
    asked = _asked(handshake(ClientConnection(client_config, "localhost"), server))
    _pending(asked).close()  # type: ignore[attr-defined]
    other = ServerConnection(ServerConfig(credentials=[remote]))
    with pytest.raises(ConfigError):
        other.answer(asked.question, b"signature")


def test_what_comes_while_a_question_is_open_is_bounded(
    authority: CertificateAuthority, trust: TrustStore, credential: Credential
) -> None:
    class Slow:
        async def verify(self, presented: PresentedChain) -> VerifiedPeer:
            raise AssertionError("never awaited here")

    config = ClientConfig(trust=Slow(), limits=Limits(buffered=1000))
    client = ClientConnection(config, "localhost")
    pair = handshake(client, ServerConnection(ServerConfig(credentials=[credential])))
    _pending(_asked(pair)).close()  # type: ignore[attr-defined]
    client.receive_data(b"\x17\x03\x03\x20\x00" + b"x" * 900)
    with pytest.raises(HandshakeError) as caught:
        client.receive_data(b"x" * 200)
    assert caught.value.code == "buffer-full"


class Broken:
    """Everything it is asked goes wrong."""

    def __init__(self, public_key: PublicKey | None = None) -> None:
        if public_key is not None:
            self.public_key = public_key

    def __call__(self, *_: object) -> int:
        raise ZeroDivisionError("broken")

    verify = sign = __call__


@pytest.mark.attack(47, "verification that is not enforced")
def test_callbacks_that_raise_refuse_the_connection(
    client_config: ClientConfig, server_config: ServerConfig, credential: Credential
) -> None:
    broken = Broken()
    cases: list[tuple[ClientConfig, ServerConfig]] = [
        (client_config.replace(trust=broken), server_config),
        (client_config.replace(keylog=broken), server_config),
        (client_config.replace(trace=broken), server_config),
        (client_config.replace(padding=broken), server_config),
        (client_config, server_config.replace(choose=broken)),
        (client_config, server_config.replace(keylog=broken)),
        (
            client_config,
            server_config.replace(
                credentials=[Credential.from_signer(credential.chain, Broken(credential.signer.public_key))]  # type: ignore[arg-type]
            ),
        ),
    ]
    for client, server in cases:
        error = refused(lambda: handshake(ClientConnection(client, "localhost"), ServerConnection(server)))  # noqa: B023
        assert isinstance(error, CallbackError)
        assert isinstance(error.__cause__, ZeroDivisionError)
        assert error.alert is Alert.INTERNAL_ERROR


OF_ANOTHER_CONNECTION: list[TLSError] = [
    ConnectionClosed("the connection was closed on this side"),
    NotEstablished("the handshake is not finished"),
    TruncatedError("the peer ended the connection"),
    HandshakeTimeout("the handshake did not finish"),
    ConcurrentUseError("this connection is in use"),
    from_alert(Alert.UNKNOWN_CA),
]
"""What somebody who is asked may meet on a connection of its own."""


@pytest.mark.attack(47, "verification that is not enforced")
@pytest.mark.parametrize("met", OF_ANOTHER_CONNECTION, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("later", [False, True])
def test_what_a_callback_met_elsewhere_is_not_said_of_this_connection(
    met: TLSError, later: bool, server_config: ServerConfig
) -> None:
    class Verifier:
        blocking = later

        def verify(self, presented: PresentedChain) -> VerifiedPeer:
            raise met

    client = ClientConnection(ClientConfig(trust=Verifier()), "localhost")
    pair = Pair(client, ServerConnection(server_config))

    def verify() -> None:
        pair.shuttle()
        client.answer(_asked(pair).question, met)

    with pytest.raises(CallbackError) as caught:
        verify()
    assert caught.value.__cause__ is met
    assert (client.error, client.established, client.waiting_for) == (caught.value, False, ())
    with pytest.raises(AlertReceived) as told:
        pair.shuttle()
    assert told.value.alert is Alert.INTERNAL_ERROR


@pytest.mark.parametrize("junk", [None, True, "yes", 1])
def test_callbacks_that_return_junk_refuse_the_connection(
    client_config: ClientConfig, server_config: ServerConfig, junk: object
) -> None:
    class Junk:
        def verify(self, presented: PresentedChain) -> Any:
            return junk

    cases = [
        (client_config.replace(trust=Junk()), server_config),
        (client_config, server_config.replace(choose=lambda hello: junk)),
        (client_config.replace(padding=lambda length: -1), server_config),
    ]
    for client, server in cases:
        error = refused(lambda: handshake(ClientConnection(client, "localhost"), ServerConnection(server)))  # noqa: B023
        assert isinstance(error, CallbackError)


@pytest.mark.attack(47, "verification that is not enforced")
def test_a_verdict_on_another_certificate_does_not_count(
    authority: CertificateAuthority, server_config: ServerConfig
) -> None:
    other = authority.issue("elsewhere.test")

    class Confused:
        def verify(self, presented: PresentedChain) -> VerifiedPeer:
            return VerifiedPeer(other.chain, "fine")

    error = refused(
        lambda: handshake(
            ClientConnection(ClientConfig(trust=Confused()), "localhost"), ServerConnection(server_config)
        )
    )
    assert isinstance(error, CallbackError)


# --- failing ---------------------------------------------------------------------------------------------------------


@pytest.mark.attack(44, "going on after an error")
def test_errors_are_sticky_and_cost_one_alert(pair: Pair) -> None:
    pair.client.send(b"good")
    good = pair.client.data_to_send()
    damaged = bytearray(good)
    damaged[-1] ^= 1
    with pytest.raises(HandshakeError) as caught:
        pair.server.receive_data(bytes(damaged))
    assert caught.value.alert is Alert.BAD_RECORD_MAC
    assert caught.value.section == "RFC 8446 §5.2"
    calls: list[Callable[[], None]] = [
        lambda: pair.server.send(b"x"),
        lambda: pair.server.receive_data(b""),
        pair.server.receive_eof,
    ]
    for call in calls:
        with pytest.raises(HandshakeError) as again:
            call()
        assert again.value is caught.value
    assert pair.server.error is caught.value
    alert = pair.server.data_to_send()
    pair.server.close()
    assert pair.server.data_to_send() == b""
    with pytest.raises(AlertReceived) as told:
        pair.client.receive_data(alert)
    assert told.value.alert is Alert.BAD_RECORD_MAC
    assert told.value.alert_received


def test_data_before_an_error_is_not_lost(pair: Pair) -> None:
    pair.client.send(b"good")
    with pytest.raises(HandshakeError):
        pair.server.receive_data(pair.client.data_to_send() + b"\x17\x03\x03\x00\x20" + bytes(32))
    assert pair.server.events() == [Data(b"good")]


@pytest.mark.attack(20, "another protocol")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "plain HTTP"),
        (b"GET / HTTP/1.1\r\n", "plain HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"220 mail.example ESMTP\r\n", "mail"),
        (b"* OK IMAP4rev1\r\n", "mail"),
        (b"\x80\x2e\x01\x00\x02\x00", "SSL 2.0"),
        (b"\x00\x01\x02\x03\x04", "not TLS"),
    ],
)
def test_what_is_not_tls_is_named(words: bytes, said: str, client_config: ClientConfig) -> None:
    client = ClientConnection(client_config, "localhost")
    with pytest.raises(PeerNotTLS, match=said):
        client.receive_data(words)


@pytest.mark.attack(50, "nonce reuse")
def test_only_one_thread_at_a_time(client_config: ClientConfig, server_config: ServerConfig) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def wait(_: object) -> ServerConfig:
        inside.set()
        assert go_on.wait(10)
        return server_config

    client = ClientConnection(client_config, "localhost")
    hello = client.data_to_send()
    config = server_config.replace(choose=wait)
    server = ServerConnection(config)
    worker = threading.Thread(target=server.receive_data, args=(hello,), daemon=True)
    worker.start()
    assert inside.wait(10)
    with pytest.raises(ConcurrentUseError):
        server.receive_data(b"")
    with pytest.raises(ConcurrentUseError):
        server.data_to_send()
    go_on.set()
    worker.join()
    client.receive_data(server.data_to_send())
    assert client.established


def test_an_interruption_poisons(client_config: ClientConfig, server_config: ServerConfig) -> None:
    def interrupt(_: object) -> ServerConfig:
        raise KeyboardInterrupt

    server = ServerConnection(server_config.replace(choose=interrupt))
    with pytest.raises(KeyboardInterrupt):
        server.receive_data(ClientConnection(client_config, "localhost").data_to_send())
    with pytest.raises(InternalError):
        server.receive_data(b"")


@pytest.mark.attack(50, "nonce reuse")
def test_connections_are_neither_copied_nor_pickled(pair: Pair) -> None:
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            attempt(pair.client)
