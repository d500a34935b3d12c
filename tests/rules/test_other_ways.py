"""The same rules broken at their other places: in the other role, in another message, by another value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from handclasp import ClientAuth, MaxFragmentLength, NamedGroup, SignatureScheme, TLSVersion, rules
from handclasp.lab.faults import Rewrite
from handclasp.rules import Rule
from handclasp.wire.extensions import (
    EMPTY,
    CertificateEntryExtensions,
    CertificateStatus,
    EncryptedExtensionsBlock,
    KeyShareEntry,
    ServerName,
)
from handclasp.wire.messages import (
    Certificate,
    CertificateEntry,
    CertificateVerify,
    ClientHello,
    EncryptedExtensions,
    Finished,
    HelloRetryRequest,
    ServerHello,
)
from handclasp.wire.names import CertificateStatusType, ExtensionType, HandshakeType, NameType
from rules.stage import (
    Fall,
    Stage,
    append_extension,
    assert_refused,
    authority,
    block,
    carry,
    client_credential,
    edit,
    fields,
    on,
)
from rules.test_every_rule import spoiled_binder

H = HandshakeType
RETRIED: dict[str, Any] = {"groups": [NamedGroup.SECP256R1, NamedGroup.X25519], "key_shares": [NamedGroup.SECP256R1]}
ASKING: dict[str, Any] = {"client_auth": ClientAuth(verify=authority().trust)}


def check(stage: Stage, fall: Fall, rule: Rule) -> None:
    assert fall.error.rule is rule
    assert_refused(stage, fall, rule.alert)


# --- what a client shows ---------------------------------------------------------------------------------------------


def _entry(der: bytes | None = None, **extensions: Any) -> CertificateEntry:
    return CertificateEntry(der or client_credential().leaf.der, CertificateEntryExtensions(**extensions))


STAPLE = CertificateStatus(CertificateStatusType.OCSP, b"a response")

SHOWN: list[tuple[HandshakeType, Rewrite, Rule]] = [
    (H.CERTIFICATE, fields(Certificate, certificate_request_context=b"1"), rules.CERTIFICATE_CONTEXT),
    (
        H.CERTIFICATE,
        fields(Certificate, certificate_list=(_entry(status_request=STAPLE),)),
        rules.EXTENSION_UNSOLICITED,
    ),
    (
        H.CERTIFICATE,
        fields(Certificate, certificate_list=(_entry(), _entry(unknown=((ExtensionType(0x7777), b""),)))),
        rules.EXTENSION_UNSOLICITED,
    ),
    (H.CERTIFICATE, fields(Certificate, certificate_list=()), rules.CERTIFICATE_REQUIRED),
    (H.CERTIFICATE, fields(Certificate, certificate_list=11 * (_entry(),)), rules.CHAIN_TOO_LONG),
    (H.CERTIFICATE, fields(Certificate, certificate_list=(_entry(bytes(16_385)),)), rules.CHAIN_TOO_LONG),
    (H.CERTIFICATE, fields(Certificate, certificate_list=(_entry(b"junk"),)), rules.CERTIFICATE_MALFORMED),
    (H.CERTIFICATE, fields(Certificate, certificate_list=(_entry(), _entry(b"junk"))), rules.CERTIFICATE_MALFORMED),
    (
        H.CERTIFICATE_VERIFY,
        fields(CertificateVerify, algorithm=SignatureScheme.RSA_PKCS1_SHA256),
        rules.SIGNATURE_SCHEME_NOT_OFFERED,
    ),
    (
        H.CERTIFICATE_VERIFY,
        fields(CertificateVerify, algorithm=SignatureScheme.ECDSA_SECP384R1_SHA384),
        rules.SIGNATURE_SCHEME_KEY,
    ),
    (H.CERTIFICATE_VERIFY, fields(CertificateVerify, signature=b""), rules.SIGNATURE),
    (H.CERTIFICATE_VERIFY, lambda _: [], rules.MESSAGE_UNEXPECTED),
    (H.FINISHED, fields(Finished, verify_data=b""), rules.FINISHED),
    (H.FINISHED, fields(Finished, verify_data=bytes(64)), rules.FINISHED),
    (H.FINISHED, edit(Finished, lambda m: Finished(m.verify_data[:-1])), rules.FINISHED),
    (H.FINISHED, edit(Finished, lambda m: Finished(m.verify_data + b"\0")), rules.FINISHED),
]


@pytest.mark.attack(26, "goto fail")
@pytest.mark.parametrize(("type_", "rewrite", "rule"), SHOWN)
def test_what_a_client_shows(type_: HandshakeType, rewrite: Rewrite, rule: Rule) -> None:
    stage = Stage()
    client = stage.client({type_: rewrite}, credentials=[client_credential()])
    check(stage, stage.play(client, stage.server(**ASKING)), rule)


# --- what a server answers -------------------------------------------------------------------------------------------


def _exchange(group: NamedGroup, share: bytes) -> Rewrite:
    return block(ServerHello, key_share=KeyShareEntry(group, share))


ANSWERS: list[tuple[HandshakeType, Rewrite, dict[str, Any], Rule]] = [
    (H.SERVER_HELLO, append_extension(ServerHello, ExtensionType.SERVER_NAME, b""), {}, rules.EXTENSION_MISPLACED),
    (
        H.SERVER_HELLO,
        append_extension(ServerHello, ExtensionType.RECORD_SIZE_LIMIT, b"\x40\0"),
        {"record_size_limit": 16385},
        rules.EXTENSION_MISPLACED,
    ),
    (H.SERVER_HELLO, append_extension(ServerHello, ExtensionType.COOKIE, b"\0\1?"), {}, rules.EXTENSION_MISPLACED),
    (
        H.SERVER_HELLO,
        append_extension(ServerHello, ExtensionType.PRE_SHARED_KEY, b"\0\0"),
        {},
        rules.EXTENSION_UNSOLICITED,
    ),
    (H.SERVER_HELLO, append_extension(ServerHello, 0x7777, b""), {}, rules.EXTENSION_UNSOLICITED),
    (
        H.SERVER_HELLO,
        lambda sent: append_extension(ServerHello, 0x0A0A + 0x1010 * (sent[40] % 16), b"")(sent),
        {},
        rules.EXTENSION_UNSOLICITED,
    ),
    (H.SERVER_HELLO, fields(ServerHello, legacy_version=TLSVersion.TLS_1_1), {}, rules.SERVER_LEGACY_VERSION),
    (H.SERVER_HELLO, fields(ServerHello, legacy_session_id_echo=b""), {}, rules.SERVER_SESSION_ID),
    (
        H.SERVER_HELLO,
        block(ServerHello, supported_versions=TLSVersion(0x7F1C)),
        {},
        rules.SERVER_SELECTED_VERSION,
    ),
    (H.SERVER_HELLO, _exchange(NamedGroup.X25519, bytes(32)), {}, rules.KEY_SHARE_INVALID),
    (H.SERVER_HELLO, _exchange(NamedGroup.X25519, b"\1" + bytes(31)), {}, rules.KEY_SHARE_INVALID),
    (H.SERVER_HELLO, _exchange(NamedGroup.X25519, bytes(range(31))), {}, rules.KEY_SHARE_INVALID),
    (H.SERVER_HELLO, _exchange(NamedGroup.X25519, bytes(range(33))), {}, rules.KEY_SHARE_INVALID),
    (H.ENCRYPTED_EXTENSIONS, block(EncryptedExtensions, record_size_limit=16385), {}, rules.EXTENSION_UNSOLICITED),
    (
        H.ENCRYPTED_EXTENSIONS,
        block(EncryptedExtensions, max_fragment_length=MaxFragmentLength.LENGTH_512),
        {},
        rules.EXTENSION_UNSOLICITED,
    ),
    (H.ENCRYPTED_EXTENSIONS, block(EncryptedExtensions, early_data=EMPTY), {}, rules.EXTENSION_UNSOLICITED),
    (
        H.ENCRYPTED_EXTENSIONS,
        append_extension(EncryptedExtensions, ExtensionType.KEY_SHARE, b"\0\x1d\0\1?"),
        {},
        rules.EXTENSION_MISPLACED,
    ),
    (
        H.ENCRYPTED_EXTENSIONS,
        append_extension(EncryptedExtensions, ExtensionType.SUPPORTED_VERSIONS, b"\3\4"),
        {},
        rules.EXTENSION_MISPLACED,
    ),
    (
        H.ENCRYPTED_EXTENSIONS,
        fields(EncryptedExtensions, extensions=EncryptedExtensionsBlock(record_size_limit=63)),
        {"record_size_limit": 16385},
        rules.RECORD_SIZE_LIMIT_SMALL,
    ),
    (
        H.CERTIFICATE,
        fields(Certificate, certificate_list=(_entry(status_request=STAPLE),)),
        {"revocation": "off"},
        rules.EXTENSION_UNSOLICITED,
    ),
    (
        H.CERTIFICATE,
        fields(Certificate, certificate_list=(_entry(unknown=((ExtensionType(0x7777), b""),)),)),
        {},
        rules.EXTENSION_UNSOLICITED,
    ),
    (H.CERTIFICATE_VERIFY, lambda _: [], {}, rules.MESSAGE_UNEXPECTED),
    (H.CERTIFICATE, lambda _: [], {}, rules.MESSAGE_UNEXPECTED),
    (H.CERTIFICATE, lambda sent: [sent, sent], {}, rules.MESSAGE_UNEXPECTED),
    (H.FINISHED, lambda sent: [sent[:4] + bytes(len(sent) - 4)], {}, rules.FINISHED),
]


@pytest.mark.parametrize(("type_", "rewrite", "client", "rule"), ANSWERS)
def test_what_a_server_answers(type_: HandshakeType, rewrite: Rewrite, client: dict[str, Any], rule: Rule) -> None:
    stage = Stage()
    check(stage, stage.play(stage.client(**client), stage.server({type_: rewrite})), rule)


POINTS: dict[str, Callable[[bytes], bytes]] = {
    "compressed": lambda share: bytes([2 + (share[-1] & 1)]) + share[1:33],
    "not on the curve": lambda share: share[:-1] + bytes([share[-1] ^ 1]),
    "at infinity": lambda share: b"\0",
    "hybrid form": lambda share: bytes([6 + (share[-1] & 1)]) + share[1:],
    "too short": lambda share: share[:-1],
    "too long": lambda share: share + b"\0",
}


@pytest.mark.attack(48, "invalid curve points")
@pytest.mark.parametrize("group", [NamedGroup.SECP256R1, NamedGroup.SECP384R1, NamedGroup.SECP521R1], ids=str)
@pytest.mark.parametrize("point", list(POINTS))
@pytest.mark.parametrize("sender", ["client", "server"])
def test_points(group: NamedGroup, point: str, sender: str) -> None:
    """RFC 8446 §4.2.8.2: only an uncompressed point of the curve is a share."""

    def bent(message: Any) -> Any:
        shares = message.extensions.key_share
        entry = shares if isinstance(shares, KeyShareEntry) else shares[-1]
        wrong = KeyShareEntry(entry.group, POINTS[point](entry.key_exchange))
        changed = wrong if isinstance(shares, KeyShareEntry) else (*shares[:-1], wrong)
        return block(type(message), key_share=changed)(message.encode())

    def rewrite(cls: type[ClientHello | ServerHello]) -> Rewrite:
        return lambda sent: list(bent(cls.parse(sent[4:])))

    stage = Stage()
    client = stage.client({H.CLIENT_HELLO: rewrite(ClientHello)} if sender == "client" else None, groups=[group])
    server = stage.server({H.SERVER_HELLO: rewrite(ServerHello)} if sender == "server" else None)
    check(stage, stage.play(client, server), rules.KEY_SHARE_INVALID)


NOT_REDUCED = "numbers that are not reduced"
"""Of a key; a ciphertext has no such form."""

HYBRID: dict[str, Callable[[bytes], bytes]] = {
    "a byte short": lambda share: share[:-1],
    "a byte long": lambda share: share + b"\0",
    "only the curve": lambda share: share[-32:],
    "a curve point of low order": lambda share: share[:-32] + bytes(32),
    NOT_REDUCED: lambda share: b"\xff" * 1152 + share[1152:],
}


@pytest.mark.attack(48, "invalid curve points")
@pytest.mark.parametrize(
    ("form", "sender"),
    [(form, sender) for form in HYBRID for sender in ("client", "server") if (form, sender) != (NOT_REDUCED, "server")],
)
def test_hybrid_shares(form: str, sender: str) -> None:
    bend = HYBRID[form]
    group = NamedGroup.X25519_MLKEM768

    def client_hello(message: ClientHello) -> ClientHello:
        shares = tuple(
            KeyShareEntry(e.group, bend(e.key_exchange)) if e.group == group else e
            for e in message.extensions.key_share or ()
        )
        (changed,) = block(ClientHello, key_share=shares)(message.encode())
        return ClientHello.parse(changed[4:])

    def server_hello(message: ServerHello) -> ServerHello:
        entry = message.extensions.key_share
        share = bend(entry.key_exchange) if entry else b""
        (changed,) = block(ServerHello, key_share=KeyShareEntry(group, share))(message.encode())
        return ServerHello.parse(changed[4:])

    stage = Stage()
    client = stage.client(
        {H.CLIENT_HELLO: edit(ClientHello, client_hello)} if sender == "client" else None, groups=[group]
    )
    server = stage.server({H.SERVER_HELLO: edit(ServerHello, server_hello)} if sender == "server" else None)
    check(stage, stage.play(client, server), rules.KEY_SHARE_INVALID)


# --- retries ---------------------------------------------------------------------------------------------------------

RETRIES: list[tuple[Rewrite, Rule]] = [
    (block(ServerHello, supported_versions=None), rules.SERVER_SELECTED_VERSION),
    (block(ServerHello, supported_versions=TLSVersion.TLS_1_2), rules.SERVER_SELECTED_VERSION),
    (block(ServerHello, key_share=None), rules.SERVER_KEY_SHARE_MISSING),
    (fields(ServerHello, legacy_session_id_echo=b""), rules.SERVER_SESSION_ID),
    (fields(ServerHello, legacy_compression_method=1), rules.SERVER_LEGACY_COMPRESSION),
    (fields(HelloRetryRequest, legacy_session_id_echo=b""), rules.SERVER_SESSION_ID),
    (fields(HelloRetryRequest, legacy_compression_method=1), rules.SERVER_LEGACY_COMPRESSION),
    (fields(HelloRetryRequest, legacy_version=TLSVersion.TLS_1_3), rules.SERVER_LEGACY_VERSION),
    (block(HelloRetryRequest, supported_versions=TLSVersion.TLS_1_2), rules.SERVER_SELECTED_VERSION),
    (block(HelloRetryRequest, supported_versions=None), rules.SERVER_VERSION),
    (append_extension(HelloRetryRequest, 0x7777, b""), rules.EXTENSION_UNSOLICITED),
    (append_extension(HelloRetryRequest, ExtensionType.SERVER_NAME, b""), rules.EXTENSION_MISPLACED),
    (append_extension(HelloRetryRequest, ExtensionType.COOKIE, b"\0\1?"), rules.EXTENSION_DUPLICATE),
]


@pytest.mark.attack(31, "HelloRetryRequest abuse")
@pytest.mark.parametrize(("rewrite", "rule"), RETRIES)
def test_retries(rewrite: Rewrite, rule: Rule) -> None:
    only_first = on(1, rewrite) if rule in (rules.EXTENSION_UNSOLICITED, rules.EXTENSION_MISPLACED) else rewrite
    stage = Stage()
    server = stage.server({H.SERVER_HELLO: only_first}, groups=[NamedGroup.X25519])
    check(stage, stage.play(stage.client(**RETRIED), server), rule)


@pytest.mark.attack(31, "HelloRetryRequest abuse")
def test_a_second_retry() -> None:
    sent_first: list[bytes] = []

    def again(sent: bytes) -> list[bytes]:
        sent_first.append(sent)
        return [sent_first[0]]

    stage = Stage()
    server = stage.server({H.SERVER_HELLO: again}, groups=[NamedGroup.X25519])
    check(stage, stage.play(stage.client(**RETRIED), server), rules.MESSAGE_UNEXPECTED)


SECOND_HELLOS: list[tuple[Rewrite, Rule]] = [
    (fields(ClientHello, random=bytes(32)), rules.SECOND_HELLO_CHANGED),
    (fields(ClientHello, legacy_session_id=b""), rules.SECOND_HELLO_CHANGED),
    (block(ClientHello, alpn=(b"h2",)), rules.SECOND_HELLO_CHANGED),
    (block(ClientHello, server_name=None), rules.SECOND_HELLO_CHANGED),
    (block(ClientHello, unknown=((ExtensionType(0x7777), b""),)), rules.SECOND_HELLO_CHANGED),
    (block(ClientHello, cookie=None), rules.SECOND_HELLO_COOKIE),
    (
        block(ClientHello, key_share=(KeyShareEntry(NamedGroup.SECP256R1, bytes(65)),)),
        rules.SECOND_HELLO_KEY_SHARE,
    ),
    (block(ClientHello, key_share=None), rules.HELLO_MISSING_KEY_SHARE),
    (fields(ClientHello, legacy_compression_methods=b"\1"), rules.HELLO_COMPRESSION),
]


@pytest.mark.attack(31, "HelloRetryRequest abuse")
@pytest.mark.parametrize(("rewrite", "rule"), SECOND_HELLOS)
def test_second_hellos(rewrite: Rewrite, rule: Rule) -> None:
    stage = Stage()
    client = stage.client({H.CLIENT_HELLO: on(2, rewrite)}, grease=False, **RETRIED)
    check(stage, stage.play(client, stage.server(groups=[NamedGroup.X25519])), rule)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        (ServerName(NameType(1), b"example.test"),),
        (ServerName(NameType.HOST_NAME, b"\xff\xfe"),),
        (ServerName(NameType.HOST_NAME, b"ex\0mple.test"),),
        (ServerName(NameType.HOST_NAME, b"two names.test"),),
        (ServerName(NameType.HOST_NAME, b"example..test"),),
        (ServerName(NameType.HOST_NAME, b"a" * 64 + b".test"),),
        (ServerName(NameType.HOST_NAME, b"a." * 200),),
        (ServerName(NameType.HOST_NAME, b"b\xc3\xbccher.test"),),
    ],
)
def test_names(names: tuple[ServerName, ...]) -> None:
    stage = Stage()
    client = stage.client({H.CLIENT_HELLO: block(ClientHello, server_name=names)})
    fall = stage.play(client, stage.server())
    check(stage, fall, rules.SERVER_NAME_MALFORMED)


# --- pre-shared keys -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 31, 33, 255])
def test_binders_of_another_length(size: int) -> None:
    stage = Stage()
    check(stage, spoiled_binder(stage, lambda _: bytes(size)), rules.PSK_BINDER)


# --- what is odd, and harmless ---------------------------------------------------------------------------------------


def test_a_server_of_tls_1_2_may_tell_its_groups() -> None:
    stage = Stage()
    curves = [NamedGroup.X25519, NamedGroup.SECP256R1]
    older: dict[str, Any] = {"versions": [TLSVersion.TLS_1_2], "groups": curves}
    telling = {H.SERVER_HELLO: block(ServerHello, supported_groups=(NamedGroup.X25519,))}
    client, server = stage.client(**older), stage.server(telling, **older)
    carry(client, server)
    assert client.established
    assert server.established
