"""Every rule of `rules.py` is broken once, on real connections, and refused with its own alert.

A rule without a scene here fails the first test; a scene that ends otherwise than its rule says fails the second.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import cryptography.x509 as pyca
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from handclasp import (
    ZLIB,
    CertificateCompression,
    CertificateError,
    CipherSuite,
    ClientAuth,
    Credential,
    EarlyData,
    HandshakeError,
    Limits,
    MaxFragmentLength,
    NamedGroup,
    NegotiationError,
    PeerNotTLS,
    PresentedChain,
    SignatureScheme,
    TLSError,
    TLSVersion,
    UnknownNames,
    VerifiedPeer,
    rules,
)
from handclasp.config import Dangers
from handclasp.connection import Connection
from handclasp.crypto.signatures import KeyKind
from handclasp.lab.faults import Rewrite, framed, inject
from handclasp.rules import Kind
from handclasp.sessions.cache import ClientSessions
from handclasp.sessions.replay import ReplayGuard
from handclasp.sessions.tickets import TicketKeys
from handclasp.wire.extensions import (
    EMPTY,
    CertificateEntryExtensions,
    CertificateStatus,
    KeyShareEntry,
    NewSessionTicketExtensions,
    OfferedPsks,
    PskIdentity,
    ServerName,
)
from handclasp.wire.messages import (
    Certificate,
    CertificateEntry,
    CertificateRequest,
    CertificateVerify,
    ClientHello,
    CompressedCertificate,
    EncryptedExtensions,
    Finished,
    HelloRetryRequest,
    KeyUpdate,
    NewSessionTicket,
    ServerHello,
)
from handclasp.wire.names import (
    CertificateStatusType,
    ContentType,
    ExtensionType,
    HandshakeType,
    KeyUpdateRequest,
    NameType,
)
from rules.stage import (
    NAME,
    Fall,
    Stage,
    append_extension,
    assert_refused,
    authority,
    block,
    carry,
    credential,
    edit,
    fields,
    on,
    record,
)

Scene = Callable[[Stage], Fall]

SCENES: dict[str, Scene] = {}
MIRRORED: set[str] = set()

H = HandshakeType
C = ContentType


def breaks(name: str, *, both_ways: bool = False) -> Callable[[Scene], Scene]:
    """Enter a scene under the rule it breaks; `both_ways`: the server can be its victim too."""

    def enter(scene: Scene) -> Scene:
        if name in SCENES:
            raise ValueError(f"{name} has a scene already")
        SCENES[name] = scene
        if both_ways:
            MIRRORED.add(name)
        return scene

    return enter


def test_every_rule_has_a_scene() -> None:
    assert set(SCENES) == set(rules.ALL)


CLASSES: dict[Kind, type[TLSError]] = {
    Kind.PROTOCOL: HandshakeError,
    Kind.NEGOTIATION: NegotiationError,
    Kind.CERTIFICATE: CertificateError,
    Kind.NOT_TLS: PeerNotTLS,
}


@pytest.mark.parametrize("name", sorted(rules.ALL))
def test_the_rule_is_broken_and_refused(name: str) -> None:
    for mirrored in (False, True) if name in MIRRORED else (False,):
        stage = Stage(mirrored)
        fall = SCENES[name](stage)
        rule = rules.ALL[name]
        assert fall.error.rule is rule
        assert type(fall.error) is CLASSES[rule.kind]
        assert fall.error.code == rule.name == name.lower().replace("_", "-")
        assert fall.error.section == rule.section
        assert rule.section in str(fall.error)
        assert_refused(stage, fall, rule.alert)


# --- records ---------------------------------------------------------------------------------------------------------


def raw(stage: Stage, data: bytes) -> Fall:
    """A joined victim gets bytes that its peer never sent."""
    return stage.joined().deliver(data)


def protected(stage: Stage, type_: ContentType | int, content: bytes, times: int = 1, **victim: Any) -> Fall:
    """A joined victim gets protected records of any type and content."""
    scene = stage.joined(victim)
    for _ in range(times):
        inject(scene.other, ContentType(type_), content)
    return scene.deliver()


def fresh(stage: Stage, data: bytes, **changes: Any) -> Fall:
    """A server that waits for a ClientHello gets bytes made by hand; or a client that waits for its answer."""
    victim: Connection = stage.client(**changes) if stage.mirrored else stage.server(**changes)
    victim.data_to_send()
    with pytest.raises(TLSError) as caught:
        victim.receive_data(data)
    return Fall(victim, None, caught.value)


breaks("RECORD_TYPE", both_ways=True)(lambda stage: protected(stage, C.HEARTBEAT, b"?"))
breaks("RECORD_VERSION", both_ways=True)(lambda stage: raw(stage, record(C.APPLICATION_DATA, bytes(20), 0x0203)))
breaks("RECORD_OVERFLOW", both_ways=True)(lambda stage: raw(stage, b"\x17\x03\x03\x41\x01"))
breaks("RECORD_EMPTY", both_ways=True)(lambda stage: protected(stage, C.HANDSHAKE, b""))
breaks("RECORD_ONLY_PADDING", both_ways=True)(lambda stage: protected(stage, 0, bytes(9)))
breaks("RECORD_UNPROTECTED", both_ways=True)(lambda stage: raw(stage, record(C.ALERT, b"\x02\x28")))
breaks("CCS_MISPLACED", both_ways=True)(lambda stage: raw(stage, record(C.CHANGE_CIPHER_SPEC, b"\1")))
breaks("ALERT_MALFORMED", both_ways=True)(lambda stage: protected(stage, C.ALERT, b"\1"))
breaks("ALERT_WARNING", both_ways=True)(lambda stage: protected(stage, C.ALERT, b"\1\x28"))
breaks("ALERT_LEVEL", both_ways=True)(lambda stage: protected(stage, C.ALERT, b"\3\0"))
breaks("EARLY_APPLICATION_DATA", both_ways=True)(lambda stage: fresh(stage, record(C.APPLICATION_DATA, b"?")))


@breaks("PLAINTEXT_OVERFLOW", both_ways=True)
def _(stage: Stage) -> Fall:
    scene = stage.joined({"record_size_limit": 64}, {"record_size_limit": 16385})
    inject(scene.other, C.APPLICATION_DATA, bytes(64))
    return scene.deliver()


@breaks("RECORD_MAC", both_ways=True)
def _(stage: Stage) -> Fall:
    scene = stage.joined()
    scene.other.send(b"attack at dawn")
    sent = scene.other.data_to_send()
    return scene.deliver(sent[:-1] + bytes([sent[-1] ^ 1]))


@breaks("RECORD_INTERLEAVED", both_ways=True)
def _(stage: Stage) -> Fall:
    scene = stage.joined()
    inject(scene.other, C.HANDSHAKE, KeyUpdate(KeyUpdateRequest.UPDATE_NOT_REQUESTED).encode()[:2])
    inject(scene.other, C.APPLICATION_DATA, b"?")
    return scene.deliver()


@breaks("RECORD_KEY_SPENT", both_ways=True)
def _(stage: Stage) -> Fall:
    return protected(stage, C.APPLICATION_DATA, b"?", times=4, limits=Limits(records_received_per_key=3))


@breaks("CCS_CONTENT")
def _(stage: Stage) -> Fall:
    client, server = stage.client(), stage.server()
    server.receive_data(client.data_to_send())
    with pytest.raises(TLSError) as caught:
        server.receive_data(record(C.CHANGE_CIPHER_SPEC, b"\2"))
    return Fall(server, client, caught.value)


@breaks("MESSAGE_TOO_LONG")
def _(stage: Stage) -> Fall:
    return fresh(stage, record(C.HANDSHAKE, b"\1\1\0\1"))


# --- what is bounded -------------------------------------------------------------------------------------------------


breaks("TOO_MANY_IDLE_RECORDS", both_ways=True)(lambda stage: protected(stage, C.APPLICATION_DATA, b"", times=33))
breaks("TOO_MANY_WARNINGS", both_ways=True)(lambda stage: protected(stage, C.ALERT, b"\1\x5a", times=5))


@breaks("TOO_MANY_POST_HANDSHAKE", both_ways=True)
def _(stage: Stage) -> Fall:
    scene = stage.joined()
    for _ in range(33):
        scene.other.update_keys()
    return scene.deliver()


class Later:
    """A verifier that answers when it is ready, which is never."""

    def verify(self, presented: PresentedChain) -> Later:
        return self

    def __await__(self) -> Generator[Any, Any, VerifiedPeer]:
        raise NotImplementedError
        yield


@breaks("BUFFER_FULL")
def _(stage: Stage) -> Fall:
    client, server = stage.client(trust=Later(), limits=Limits(buffered=10)), stage.server()
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    assert client.waiting_for == ("VerifyPeer",)
    client.receive_data(bytes(10))
    with pytest.raises(TLSError) as caught:
        client.receive_data(b"\0")
    return Fall(client, server, caught.value)


# --- the presentation language ---------------------------------------------------------------------------------------


def hello(stage: Stage, rewrite: Rewrite, *, client: dict[str, Any] | None = None, **server: Any) -> Fall:
    """A ClientHello of another making."""
    return stage.play(stage.client({H.CLIENT_HELLO: rewrite}, **client or {}), stage.server(**server))


def hello_with(stage: Stage, **changes: Any) -> Fall:
    """A ClientHello with other extensions."""
    return hello(stage, block(ClientHello, **changes))


breaks("SHORT")(lambda stage: hello(stage, lambda _: [framed(H.CLIENT_HELLO, b"\3")]))
breaks("TRAILING")(lambda stage: hello(stage, lambda sent: [framed(H.CLIENT_HELLO, sent[4:] + b"\0")]))
breaks("VECTOR_BOUNDS")(
    lambda stage: hello(stage, lambda sent: [framed(H.CLIENT_HELLO, sent[4:38] + b"\x21" + bytes(33) + sent[71:])])
)
unknown_extension = append_extension(ClientHello, 0x7777, b"")
breaks("EXTENSION_UNKNOWN_DUPLICATE")(
    lambda stage: hello(stage, lambda sent: unknown_extension(unknown_extension(sent)[0]))
)
breaks("EXTENSION_DUPLICATE")(
    lambda stage: hello(stage, append_extension(ClientHello, ExtensionType.SUPPORTED_VERSIONS, b"\2\3\4"))
)
breaks("EXTENSION_MISPLACED")(
    lambda stage: hello(stage, append_extension(ClientHello, ExtensionType.OID_FILTERS, b"\0\0"))
)
breaks("EXTENSION_UNSOLICITED")(
    lambda stage: flight(stage, {H.ENCRYPTED_EXTENSIONS: block(EncryptedExtensions, alpn=(b"h2",))})
)

# --- order of messages -----------------------------------------------------------------------------------------------

breaks("MESSAGE_UNEXPECTED")(lambda stage: flight(stage, {H.ENCRYPTED_EXTENSIONS: lambda _: []}))
breaks("KEY_CHANGE_BOUNDARY")(lambda stage: hello(stage, lambda sent: [sent + b"\1"]))

# --- ClientHello as the server reads it ------------------------------------------------------------------------------

breaks("NO_SUPPORTED_VERSION")(lambda stage: hello_with(stage, supported_versions=(TLSVersion.TLS_1_1,)))
breaks("NO_COMMON_CIPHER_SUITE")(
    lambda stage: hello(
        stage,
        fields(ClientHello, cipher_suites=(CipherSuite(0x1399),)),
    )
)
breaks("NO_COMMON_GROUP")(lambda stage: stage.play(stage.client(), stage.server(groups=[NamedGroup.SECP384R1])))
breaks("NO_COMMON_SIGNATURE_SCHEME")(
    lambda stage: stage.play(stage.client(signature_schemes=[SignatureScheme.ED25519]), stage.server())
)
breaks("NO_APPLICATION_PROTOCOL")(lambda stage: stage.play(stage.client(alpn=["h2"]), stage.server(alpn=["http/1.1"])))
breaks("NO_MATCHING_ISSUER")(
    lambda stage: stage.play(stage.client(), stage.server(credentials=[credential().for_named_issuers()]))
)
breaks("NO_FITTING_CREDENTIAL")(
    lambda stage: stage.play(
        stage.client(credentials=[credential().for_named_issuers()], must_authenticate=True),
        stage.server(client_auth=ClientAuth(verify=authority().trust)),
    )
)
breaks("UNRECOGNIZED_NAME")(
    lambda stage: stage.play(stage.client(name="other.test"), stage.server(unknown_names=UnknownNames.REFUSE))
)


class NoDefault:
    """A source of credentials for clients that ask by name."""

    def credentials(self, hello: ClientHello) -> list[Credential]:
        return [] if hello.extensions.server_name is None else [credential()]


breaks("SERVER_NAME_REQUIRED")(
    lambda stage: stage.play(stage.client(send_server_name=False), stage.server(credentials=NoDefault()))
)
breaks("HELLO_COMPRESSION")(lambda stage: hello(stage, fields(ClientHello, legacy_compression_methods=b"\1\0")))
breaks("HELLO_MISSING_GROUPS")(lambda stage: hello_with(stage, supported_groups=None))
breaks("HELLO_MISSING_SCHEMES")(lambda stage: hello_with(stage, signature_algorithms=None))
breaks("HELLO_MISSING_KEY_SHARE")(lambda stage: hello_with(stage, key_share=None))
breaks("KEY_SHARE_DUPLICATE")(
    lambda stage: hello_with(stage, key_share=2 * (KeyShareEntry(NamedGroup.X25519, bytes(32)),))
)
breaks("KEY_SHARE_NOT_OFFERED")(lambda stage: hello_with(stage, supported_groups=(NamedGroup.SECP256R1,)))
breaks("KEY_SHARE_INVALID")(lambda stage: hello_with(stage, key_share=(KeyShareEntry(NamedGroup.X25519, bytes(32)),)))

PSK = OfferedPsks((PskIdentity(b"ticket", 0),), (bytes(32),))


def psk_not_last(message: ClientHello) -> ClientHello:
    extensions = replace(message.extensions, pre_shared_key=PSK, order=())
    return replace(message, extensions=replace(extensions, order=extensions.order[::-1]))


breaks("PSK_NOT_LAST")(lambda stage: hello(stage, edit(ClientHello, psk_not_last)))
breaks("PSK_WITHOUT_MODES")(lambda stage: hello_with(stage, pre_shared_key=PSK, psk_key_exchange_modes=None))
breaks("PSK_BINDER_COUNT")(lambda stage: hello_with(stage, pre_shared_key=replace(PSK, binders=2 * (bytes(32),))))
breaks("SERVER_NAME_MALFORMED")(
    lambda stage: hello_with(stage, server_name=2 * (ServerName(NameType.HOST_NAME, b"example.test"),))
)
breaks("RECORD_SIZE_LIMIT_SMALL")(lambda stage: hello_with(stage, record_size_limit=63))
breaks("MAX_FRAGMENT_LENGTH_CODE")(lambda stage: hello_with(stage, max_fragment_length=MaxFragmentLength(5)))


RETRIED: dict[str, Any] = {
    "groups": [NamedGroup.SECP256R1, NamedGroup.X25519],
    "key_shares": [NamedGroup.SECP256R1],
}
"""A client whose key share the server has to ask for."""


def second_hello(stage: Stage, rewrite: Rewrite) -> Fall:
    return hello(stage, on(2, rewrite), client=RETRIED, groups=[NamedGroup.X25519])


breaks("SECOND_HELLO_CHANGED")(
    lambda stage: second_hello(
        stage, fields(ClientHello, cipher_suites=(CipherSuite.TLS_AES_128_GCM_SHA256, CipherSuite(0x1399)))
    )
)
breaks("SECOND_HELLO_KEY_SHARE")(lambda stage: second_hello(stage, block(ClientHello, key_share=())))
breaks("SECOND_HELLO_COOKIE")(lambda stage: second_hello(stage, block(ClientHello, cookie=bytes(32))))


@breaks("SECOND_HELLO_PSKS")
def _(stage: Stage) -> Fall:
    ours, theirs = known(stage)
    dropped = on(2, block(ClientHello, pre_shared_key=None))
    client = stage.client({H.CLIENT_HELLO: dropped}, grease=False, **{**ours, **RETRIED})
    return stage.play(client, stage.server(**{**theirs, "groups": [NamedGroup.X25519]}))


breaks("SECOND_HELLO_EARLY_DATA")(lambda stage: second_hello(stage, block(ClientHello, early_data=EMPTY)))


@breaks("EARLY_DATA_SKIPPED_LIMIT")
def _(stage: Stage) -> Fall:
    client = stage.client({H.CLIENT_HELLO: block(ClientHello, early_data=EMPTY)})
    server = stage.server(limits=Limits(skipped_early_data=100))
    server.receive_data(client.data_to_send() + record(C.APPLICATION_DATA, bytes(60)))
    with pytest.raises(TLSError) as caught:
        server.receive_data(record(C.APPLICATION_DATA, bytes(60)))
    return Fall(server, client, caught.value)


def known(stage: Stage) -> tuple[dict[str, Any], dict[str, Any]]:
    """What client and server bring to their second meeting: the first is behind them, and a session with it."""
    ours: dict[str, Any] = {"sessions": ClientSessions(), "groups": [NamedGroup.X25519, NamedGroup.SECP256R1]}
    theirs: dict[str, Any] = {"tickets": TicketKeys(), "early_data": EarlyData(replay=ReplayGuard(), most=1000)}
    carry(stage.client(**ours), stage.server(**theirs))
    return ours, theirs


def binders(change: Callable[[bytes], bytes]) -> Rewrite:
    """A ClientHello whose binder is another."""

    def edited(message: ClientHello) -> ClientHello:
        offered = message.extensions.pre_shared_key
        assert offered is not None
        spoiled = replace(offered, binders=tuple(map(change, offered.binders)))
        return replace(message, extensions=replace(message.extensions, pre_shared_key=spoiled))

    return edit(ClientHello, edited)


def spoiled_binder(stage: Stage, change: Callable[[bytes], bytes]) -> Fall:
    ours, theirs = known(stage)
    return hello(stage, binders(change), client=ours, **theirs)


breaks("PSK_BINDER")(lambda stage: spoiled_binder(stage, lambda binder: binder[:-1] + bytes([binder[-1] ^ 1])))


@breaks("EARLY_DATA_LIMIT")
def _(stage: Stage) -> Fall:
    """The client has it that its session allows more than it does."""
    ours, theirs = known(stage)
    held = ours["sessions"].take(NAME)
    ours["sessions"].put(NAME, replace(held, session=replace(held.session, max_early_data=2000)))
    return stage.play(stage.client(early_data=bytes(1001), **ours), stage.server(**theirs))


# --- ServerHello and HelloRetryRequest as the client reads them ------------------------------------------------------


def flight(stage: Stage, rewrites: dict[HandshakeType, Rewrite], *, client: Any = None, **server: Any) -> Fall:
    """A server's flight of another making."""
    return stage.play(stage.client(**client or {}), stage.server(rewrites, **server))


def answer(stage: Stage, rewrite: Rewrite) -> Fall:
    return flight(stage, {H.SERVER_HELLO: rewrite})


def retry(stage: Stage, rewrite: Rewrite) -> Fall:
    """A HelloRetryRequest, or the ServerHello after one, of another making."""
    return flight(stage, {H.SERVER_HELLO: rewrite}, client=RETRIED, groups=[NamedGroup.X25519])


def second_answer(
    stage: Stage, rewrites: dict[HandshakeType, Rewrite], early_data: bytes = b"", **changes: Any
) -> Fall:
    """The server's flight of another making, to a client that shows its session."""
    ours, theirs = known(stage, **changes)
    return stage.play(stage.client(early_data=early_data, **ours), stage.server(rewrites, **theirs))


AES_256 = CipherSuite.TLS_AES_256_GCM_SHA384

breaks("PSK_SELECTED")(lambda stage: second_answer(stage, {H.SERVER_HELLO: block(ServerHello, pre_shared_key=1)}))
breaks("PSK_HASH")(lambda stage: second_answer(stage, {H.SERVER_HELLO: fields(ServerHello, cipher_suite=AES_256)}))
breaks("PSK_ALONE")(lambda stage: second_answer(stage, {H.SERVER_HELLO: block(ServerHello, key_share=None)}))


@breaks("EARLY_DATA_ACCEPTED")
def _(stage: Stage) -> Fall:
    """A server that forgot the session takes the early data all the same."""
    ours, _theirs = known(stage)
    forgetful = stage.server({H.ENCRYPTED_EXTENSIONS: block(EncryptedExtensions, early_data=EMPTY)})
    return stage.play(stage.client(early_data=b"early", **ours), forgetful)


@breaks("EARLY_DATA_OLDER")
def _(stage: Stage) -> Fall:
    """A server of TLS 1.2 refuses the early data by itself; this one answers before it has come."""
    ours, _theirs = known(stage)
    client, server = stage.client(early_data=b"early", **ours), stage.server(versions=[TLSVersion.TLS_1_2])
    flight = client.data_to_send()
    server.receive_data(flight[: 5 + int.from_bytes(flight[3:5])])
    with pytest.raises(TLSError) as caught:
        client.receive_data(server.data_to_send())
    return Fall(client, server, caught.value)


breaks("SERVER_VERSION")(
    lambda stage: answer(
        stage,
        lambda sent: block(ServerHello, supported_versions=None)(sent[:4] + b"\3\2" + sent[6:]),
    )
)
breaks("SERVER_LEGACY_VERSION")(lambda stage: answer(stage, fields(ServerHello, legacy_version=TLSVersion.TLS_1_3)))
breaks("SERVER_SELECTED_VERSION")(
    lambda stage: answer(stage, block(ServerHello, supported_versions=TLSVersion.TLS_1_2))
)
breaks("SERVER_SESSION_ID")(lambda stage: answer(stage, fields(ServerHello, legacy_session_id_echo=bytes(32))))
breaks("SERVER_CIPHER_SUITE")(
    lambda stage: answer(stage, fields(ServerHello, cipher_suite=CipherSuite.TLS_AES_128_CCM_8_SHA256))
)
breaks("SERVER_LEGACY_COMPRESSION")(lambda stage: answer(stage, fields(ServerHello, legacy_compression_method=1)))
breaks("SERVER_COMPRESSION")(
    lambda stage: older(stage, {}, {H.SERVER_HELLO: fields(ServerHello, legacy_compression_method=1)})
)
breaks("SERVER_KEY_SHARE_MISSING")(lambda stage: answer(stage, block(ServerHello, key_share=None)))
breaks("SERVER_GROUP")(
    lambda stage: answer(stage, block(ServerHello, key_share=KeyShareEntry(NamedGroup.SECP256R1, bytes(65))))
)
breaks("DOWNGRADE")(
    lambda stage: answer(
        stage,
        lambda sent: block(ServerHello, supported_versions=None)(sent[:30] + b"DOWNGRD\1" + sent[38:]),
    )
)
breaks("RETRY_EMPTY")(lambda stage: retry(stage, block(HelloRetryRequest, key_share=None, cookie=None)))
breaks("RETRY_GROUP")(lambda stage: retry(stage, block(HelloRetryRequest, key_share=NamedGroup.X448)))
breaks("RETRY_GROUP_SHARED")(lambda stage: retry(stage, block(HelloRetryRequest, key_share=NamedGroup.SECP256R1)))
breaks("RETRY_CIPHER_SUITE")(
    lambda stage: retry(stage, fields(ServerHello, cipher_suite=CipherSuite.TLS_CHACHA20_POLY1305_SHA256))
)
breaks("RETRY_GROUP_CHANGED")(
    lambda stage: retry(stage, block(ServerHello, key_share=KeyShareEntry(NamedGroup.SECP256R1, bytes(65))))
)

# --- the rest of the server's flight ---------------------------------------------------------------------------------


def extensions(stage: Stage, client: dict[str, Any] | None = None, **changes: Any) -> Fall:
    """EncryptedExtensions of another making."""
    return flight(stage, {H.ENCRYPTED_EXTENSIONS: block(EncryptedExtensions, **changes)}, client=client)


breaks("ALPN_SELECTION")(lambda stage: extensions(stage, {"alpn": ["h2"]}, alpn=(b"h3",)))
breaks("ALPN_COUNT")(lambda stage: extensions(stage, {"alpn": ["h2", "h3"]}, alpn=(b"h2", b"h3")))
breaks("SERVER_NAME_ACK")(lambda stage: extensions(stage, server_name=b"\0"))
breaks("RECORD_SIZE_LIMIT_LARGE")(
    lambda stage: extensions(stage, {"record_size_limit": 16385}, record_size_limit=16386)
)
breaks("MAX_FRAGMENT_LENGTH_ECHO")(
    lambda stage: extensions(
        stage,
        {"max_fragment_length": MaxFragmentLength.LENGTH_512},
        max_fragment_length=MaxFragmentLength.LENGTH_1024,
    )
)
breaks("BOTH_SIZE_LIMITS")(
    lambda stage: extensions(
        stage,
        {"max_fragment_length": MaxFragmentLength.LENGTH_512, "record_size_limit": 16385},
        max_fragment_length=MaxFragmentLength.LENGTH_512,
        record_size_limit=16385,
    )
)


def request(stage: Stage, rewrite: Rewrite) -> Fall:
    auth = ClientAuth(verify=authority().trust)
    return flight(stage, {H.CERTIFICATE_REQUEST: rewrite}, client_auth=auth)


breaks("REQUEST_CONTEXT")(lambda stage: request(stage, fields(CertificateRequest, certificate_request_context=b"1")))
breaks("REQUEST_MISSING_SCHEMES")(
    lambda stage: request(stage, block(CertificateRequest, signature_algorithms=None, oid_filters=()))
)


def certificate(stage: Stage, *ders: bytes, **server: Any) -> Fall:
    """Other certificates than the server's own."""
    entries = tuple(CertificateEntry(der, CertificateEntryExtensions()) for der in ders)
    return flight(stage, {H.CERTIFICATE: fields(Certificate, certificate_list=entries)}, **server)


@cache
def agreement_only() -> bytes:
    """A certificate, DER, for a key that signs nothing."""
    name = pyca.Name([pyca.NameAttribute(NameOID.COMMON_NAME, "X25519")])
    now = datetime.now(UTC)
    builder = pyca.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    public = x25519.X25519PrivateKey.generate().public_key()
    signed = builder.public_key(public).sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(Encoding.DER)


breaks("CERTIFICATE_CONTEXT")(
    lambda stage: flight(stage, {H.CERTIFICATE: fields(Certificate, certificate_request_context=b"1")})
)
breaks("CERTIFICATE_EMPTY")(lambda stage: certificate(stage))


@breaks("STATUS_TYPE")
def _a_status_of_another_type(stage: Stage) -> Fall:
    status = CertificateStatus(CertificateStatusType(2), b"?")
    entry = CertificateEntry(credential().leaf.der, CertificateEntryExtensions(status_request=status))
    return flight(stage, {H.CERTIFICATE: fields(Certificate, certificate_list=(entry,))})


breaks("CERTIFICATE_REQUIRED")(
    lambda stage: stage.play(stage.client(), stage.server(client_auth=ClientAuth(verify=authority().trust)))
)
breaks("CERTIFICATE_MALFORMED")(lambda stage: certificate(stage, b"\x30\x00"))
breaks("CERTIFICATE_KEY_TYPE")(lambda stage: certificate(stage, agreement_only()))
breaks("CERTIFICATE_KEY_USAGE")(
    lambda stage: stage.play(
        stage.client(),
        stage.server(credentials=[authority().issue("example.test", key_usage=["key_agreement"])]),
    )
)


def compressed(stage: Stage, **changes: Any) -> Fall:
    """A compressed certificate of another making."""
    both: dict[str, Any] = {"certificate_compression": [ZLIB]}
    rewrites = {H.COMPRESSED_CERTIFICATE: fields(CompressedCertificate, **changes)}
    return flight(stage, rewrites, client=both, **both)


breaks("COMPRESSION_DUPLICATE")(lambda stage: hello_with(stage, compress_certificate=2 * (ZLIB.algorithm,)))
breaks("COMPRESSION_NOT_OFFERED")(lambda stage: compressed(stage, algorithm=CertificateCompression.BROTLI))
breaks("CERTIFICATE_COMPRESSION")(lambda stage: compressed(stage, uncompressed_length=12))


breaks("CHAIN_TOO_LONG")(lambda stage: certificate(stage, *11 * [credential().leaf.der]))


def verify(stage: Stage, **changes: Any) -> Fall:
    return flight(stage, {H.CERTIFICATE_VERIFY: fields(CertificateVerify, **changes)})


breaks("SIGNATURE_SCHEME_NOT_OFFERED")(lambda stage: verify(stage, algorithm=SignatureScheme.RSA_PKCS1_SHA256))
breaks("SIGNATURE_SCHEME_KEY")(lambda stage: verify(stage, algorithm=SignatureScheme.ED25519))
breaks("SIGNATURE")(lambda stage: verify(stage, signature=b"signed, me"))


@breaks("FINISHED", both_ways=True)
def _(stage: Stage) -> Fall:
    wrong = {H.FINISHED: fields(Finished, verify_data=bytes(32))}
    return stage.play(stage.client(wrong), stage.server()) if stage.mirrored else flight(stage, wrong)


# --- after the handshake ---------------------------------------------------------------------------------------------

breaks("KEY_UPDATE_REQUEST", both_ways=True)(lambda stage: protected(stage, C.HANDSHAKE, framed(H.KEY_UPDATE, b"\2")))
breaks("TICKET_LIFETIME")(
    lambda stage: protected(
        stage,
        C.HANDSHAKE,
        NewSessionTicket(604_801, 0, b"", b"ticket", NewSessionTicketExtensions()).encode(),
    )
)

# --- not TLS at all --------------------------------------------------------------------------------------------------

breaks("SPEAKS_HTTP", both_ways=True)(lambda stage: fresh(stage, b"HTTP/1.1 400 Bad Request\r\n"))
breaks("SPEAKS_MAIL", both_ways=True)(lambda stage: fresh(stage, b"220 mail.example ESMTP\r\n"))
breaks("SPEAKS_SSH", both_ways=True)(lambda stage: fresh(stage, b"SSH-2.0-OpenSSH_9.9\r\n"))
breaks("SPEAKS_SSL2", both_ways=True)(lambda stage: fresh(stage, b"\x80\x2e\x01\x00\x02" + bytes(43)))
breaks("SPEAKS_UNKNOWN", both_ways=True)(lambda stage: fresh(stage, b"\x00\x00\x00\x00\x00"))


# --- TLS 1.2 ---------------------------------------------------------------------------------------------------------

OLDER: dict[str, Any] = {
    "versions": [TLSVersion.TLS_1_2],
    # in TLS 1.2 the curve of the certificate has to be among them
    "groups": [NamedGroup.X25519, NamedGroup.SECP256R1],
}


def older(
    stage: Stage,
    client: dict[HandshakeType, Rewrite] | None = None,
    server: dict[HandshakeType, Rewrite] | None = None,
    *,
    both: dict[str, Any] | None = None,
    **serving: Any,
) -> Fall:
    """A handshake of TLS 1.2 in which one side misbehaves."""
    shared = {**OLDER, **(both or {})}
    return stage.play(stage.client(client, **shared), stage.server(server, **{**shared, **serving}))


def older_hello(stage: Stage, **changes: Any) -> Fall:
    return older(stage, {H.CLIENT_HELLO: block(ClientHello, **changes)})


def older_answer(stage: Stage, **changes: Any) -> Fall:
    return older(stage, None, {H.SERVER_HELLO: block(ServerHello, **changes)})


@breaks("EXTENDED_MASTER_SECRET", both_ways=True)
def _without_extended_master_secret(stage: Stage) -> Fall:
    send = older_hello if stage.mirrored else older_answer
    return send(stage, extended_master_secret=None)


@breaks("RENEGOTIATION_INFO", both_ways=True)
def _renegotiation_info_that_is_not_empty(stage: Stage) -> Fall:
    send = older_hello if stage.mirrored else older_answer
    return send(stage, renegotiation_info=b"x")


@breaks("POINT_FORMATS", both_ways=True)
def _compressed_points_only(stage: Stage) -> Fall:
    send = older_hello if stage.mirrored else older_answer
    return send(stage, ec_point_formats=b"\1")


@breaks("RENEGOTIATION", both_ways=True)
def _renegotiation_twice(stage: Stage) -> Fall:
    scene = stage.joined(OLDER, OLDER)
    hello = stage.client(**OLDER).data_to_send()[5:]
    wish = hello if stage.mirrored else framed(H.HELLO_REQUEST, b"")
    inject(scene.other, C.HANDSHAKE, wish)
    scene.victim.receive_data(scene.other.data_to_send())
    inject(scene.other, C.HANDSHAKE, wish)
    return scene.deliver()


breaks("HELLO_COMPRESSION_NULL")(
    lambda stage: older(stage, {H.CLIENT_HELLO: fields(ClientHello, legacy_compression_methods=b"\1")})
)


@breaks("FALLBACK")
def _fallen_back(stage: Stage) -> Fall:
    suites = (CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, CipherSuite.TLS_FALLBACK_SCSV)
    client = stage.client({H.CLIENT_HELLO: fields(ClientHello, cipher_suites=suites)}, **OLDER)
    return stage.play(client, stage.server())


@breaks("CERTIFICATE_SUITE")
def _a_suite_for_another_key(stage: Stage) -> Fall:
    suite = CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    return older(stage, None, {H.SERVER_HELLO: fields(ServerHello, cipher_suite=suite)})


@breaks("CERTIFICATE_ENCRYPTION")
def _key_transport_to_a_signing_key(stage: Stage) -> Fall:
    suites = [CipherSuite.TLS_RSA_WITH_AES_128_GCM_SHA256]
    transport = {"danger": Dangers(rsa_key_transport=True), "cipher_suites": suites}
    signing_only = authority().issue("example.test", key_kind=KeyKind.RSA)
    return older(stage, both=transport, credentials=[signing_only])


@breaks("CERTIFICATE_CURVE")
def _a_key_on_a_curve_that_was_not_offered(stage: Stage) -> Fall:
    offered = [NamedGroup.X25519, NamedGroup.SECP256R1]
    known = {H.CLIENT_HELLO: block(ClientHello, supported_groups=(*offered, NamedGroup.SECP384R1))}
    large = authority().issue("example.test", key_kind=KeyKind.P384)
    older: dict[str, Any] = {"versions": [TLSVersion.TLS_1_2]}
    return stage.play(stage.client(known, groups=offered, **older), stage.server(credentials=[large], **older))


def resumed(stage: Stage, **changes: Any) -> Fall:
    """The second handshake of two, in which the server changes what the session settled."""
    sessions, tickets = ClientSessions(), TicketKeys()
    usual = {"alpn": ["a", "b"], "sessions": sessions, **OLDER}
    carry(stage.client(**usual), stage.server(alpn=["a"], tickets=tickets, **OLDER))
    change = block if set(changes) <= {"extended_master_secret"} else fields
    rewrites = {H.SERVER_HELLO: change(ServerHello, **changes)}
    return stage.play(stage.client(**usual), stage.server(rewrites, alpn=["a"], tickets=tickets, **OLDER))


breaks("RESUMED_SUITE")(lambda stage: resumed(stage, cipher_suite=CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384))


@breaks("RESUMED_MASTER_SECRET")
def _a_session_shown_without_extended_master_secret(stage: Stage) -> Fall:
    sessions, tickets = ClientSessions(), TicketKeys()
    carry(stage.client(sessions=sessions, **OLDER), stage.server(tickets=tickets, **OLDER))
    forgetful = stage.client(
        {H.CLIENT_HELLO: block(ClientHello, extended_master_secret=None)}, sessions=sessions, **OLDER
    )
    careless = {"tickets": tickets, "danger": Dangers(plain_master_secret=True), **OLDER}
    return stage.play(forgetful, stage.server(**careless))


@breaks("CLIENT_CERTIFICATE_MISSING")
def _an_older_client_without_a_certificate(stage: Stage) -> Fall:
    return older(stage, client_auth=ClientAuth(verify=authority().trust))
