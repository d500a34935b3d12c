"""Making, writing and reading keys."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from handclasp.crypto.keys import (
    Unreadable,
    certificate_hash,
    decode_pkcs12,
    decode_private,
    encode_private,
    encode_public,
    generate,
)
from handclasp.crypto.signatures import KeyKind, PrivateKey, kind_of
from handclasp.identity.pem import encode


@pytest.mark.parametrize("kind", KeyKind, ids=lambda kind: kind.value)
def test_a_key_comes_back_from_its_bytes(kind: KeyKind) -> None:
    key = generate(kind)
    assert kind_of(key.public_key(), pss=kind is KeyKind.RSA_PSS) is kind
    der = encode_private(key)
    for data, pem in ((der, False), (encode("PRIVATE KEY", der), True)):
        back = decode_private(data, None, pem=pem)
        assert isinstance(back, PrivateKey)
        assert encode_public(back.public_key()) == encode_public(key.public_key())


def test_passwords() -> None:
    key = generate(KeyKind.P256)
    closed = encode("ENCRYPTED PRIVATE KEY", encode_private(key, password=b"sesame"))
    assert isinstance(decode_private(closed, b"sesame", pem=True), PrivateKey)
    missing = decode_private(closed, None, pem=True)
    assert isinstance(missing, Unreadable)
    assert missing.needs_password
    wrong = decode_private(closed, b"other", pem=True)
    assert isinstance(wrong, Unreadable)
    assert not wrong.needs_password
    # A password for a key that has none does no harm.
    assert isinstance(decode_private(encode_private(key), b"sesame", pem=False), PrivateKey)


def test_rubbish_is_unreadable() -> None:
    for data in (b"", b"\x30\x00", b"rubbish"):
        for pem in (False, True):
            assert isinstance(decode_private(data, None, pem=pem), Unreadable)
        assert isinstance(decode_pkcs12(data, None), Unreadable)


def test_an_old_ec_key_is_read() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    old = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert isinstance(decode_private(old, None, pem=True), PrivateKey)


def test_hashes_of_certificate_signatures() -> None:
    names = {kind: getattr(certificate_hash(generate(kind)), "name", None) for kind in KeyKind}
    assert names[KeyKind.RSA] == names[KeyKind.P256] == "sha256"
    assert names[KeyKind.P384] == "sha384"
    assert names[KeyKind.P521] == "sha512"
    assert {names[kind] for kind in (KeyKind.ED25519, KeyKind.ED448, KeyKind.MLDSA44)} == {None}
