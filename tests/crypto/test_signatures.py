"""Every scheme of a TLS 1.3 CertificateVerify, against itself, the others and OpenSSL's command line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from handclasp.crypto.keys import encode_private, encode_public, generate
from handclasp.crypto.signatures import (
    CERTIFICATE_ONLY,
    SUPPORTED,
    KeyKind,
    PrivateKey,
    fits,
    kind_of,
    rsa_exponent,
    schemes_for,
    sign,
    verify,
)
from handclasp.identity.pem import encode
from handclasp.wire.names import SignatureScheme, TLSVersion

DATA = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + bytes(range(32))
POST_QUANTUM = (SignatureScheme.MLDSA44, SignatureScheme.MLDSA65, SignatureScheme.MLDSA87)


@pytest.fixture(scope="session")
def keys() -> dict[KeyKind, PrivateKey]:
    made = {kind: generate(kind) for kind in KeyKind}
    made[KeyKind.RSA_PSS] = made[KeyKind.RSA]
    return made


def kind_for(scheme: SignatureScheme) -> KeyKind:
    return next(kind for kind in KeyKind if fits(scheme, kind))


def test_the_offer_is_every_scheme_of_a_kind_and_nothing_else() -> None:
    assert set(SUPPORTED) == {scheme for kind in KeyKind for scheme in schemes_for(kind, 4096)}
    assert len(SUPPORTED) == len(set(SUPPORTED)) == 14
    assert not set(SUPPORTED) & set(CERTIFICATE_ONLY)


SHA1 = (SignatureScheme.RSA_PKCS1_SHA1, SignatureScheme.ECDSA_SHA1)


@pytest.mark.attack(10, "SLOTH")
@pytest.mark.parametrize("scheme", SHA1)
def test_sha1_never_signs(scheme: SignatureScheme, keys: dict[KeyKind, PrivateKey]) -> None:
    with pytest.raises(ValueError, match="does not sign"):
        sign(keys[KeyKind.RSA], scheme, DATA)
    for version in (TLSVersion.TLS_1_2, TLSVersion.TLS_1_3):
        assert not any(fits(scheme, kind, version) for kind in KeyKind)
        assert not verify(keys[KeyKind.RSA].public_key(), KeyKind.RSA, scheme, b"x", DATA, version)


@pytest.mark.attack(22, "signature confusion")
@pytest.mark.parametrize("scheme", CERTIFICATE_ONLY)
def test_pkcs1_signs_in_tls_1_2_alone(scheme: SignatureScheme, keys: dict[KeyKind, PrivateKey]) -> None:
    public, signature = keys[KeyKind.RSA].public_key(), sign(keys[KeyKind.RSA], scheme, DATA)
    assert verify(public, KeyKind.RSA, scheme, signature, DATA, TLSVersion.TLS_1_2)
    assert not verify(public, KeyKind.RSA, scheme, signature, DATA)
    assert not verify(public, KeyKind.RSA_PSS, scheme, signature, DATA, TLSVersion.TLS_1_2)
    assert [kind for kind in KeyKind if fits(scheme, kind, TLSVersion.TLS_1_2)] == [KeyKind.RSA]
    assert not any(fits(scheme, kind) for kind in KeyKind)


def test_an_ecdsa_scheme_names_no_curve_in_tls_1_2(keys: dict[KeyKind, PrivateKey]) -> None:
    scheme, curves = SignatureScheme.ECDSA_SECP256R1_SHA256, (KeyKind.P256, KeyKind.P384, KeyKind.P521)
    assert [kind for kind in KeyKind if fits(scheme, kind)] == [KeyKind.P256]
    assert tuple(kind for kind in KeyKind if fits(scheme, kind, TLSVersion.TLS_1_2)) == curves
    for mldsa in (s for s in SUPPORTED if "MLDSA" in s.name):
        assert not any(fits(mldsa, kind, TLSVersion.TLS_1_2) for kind in KeyKind)


@pytest.mark.parametrize("scheme", SUPPORTED, ids=str)
def test_sign_and_verify(scheme: SignatureScheme, keys: dict[KeyKind, PrivateKey]) -> None:
    kind = kind_for(scheme)
    public = keys[kind].public_key()
    signature = sign(keys[kind], scheme, DATA)
    assert verify(public, kind, scheme, signature, DATA)
    assert not verify(public, kind, scheme, signature, DATA + b"x")
    assert not verify(public, kind, scheme, signature[:-1], DATA)
    assert not verify(public, kind, scheme, signature + b"\0", DATA)
    assert not verify(public, kind, scheme, b"", DATA)
    assert not verify(None, kind, scheme, signature, DATA)
    assert not verify(public, None, scheme, signature, DATA)


@pytest.mark.attack(22, "signature confusion")
def test_each_scheme_fits_one_kind_and_verifies_under_no_other(keys: dict[KeyKind, PrivateKey]) -> None:
    for scheme in SUPPORTED:
        kind = kind_for(scheme)
        signature = sign(keys[kind], scheme, DATA)
        assert [other for other in KeyKind if fits(scheme, other)] == [kind]
        for other in SUPPORTED:
            assert verify(keys[kind].public_key(), kind, other, signature, DATA) is (other is scheme)
        for other_kind in set(KeyKind) - {kind}:
            assert not verify(keys[other_kind].public_key(), other_kind, scheme, signature, DATA)
            assert not verify(keys[kind].public_key(), other_kind, scheme, signature, DATA)


def test_a_key_that_is_not_what_it_is_said_to_be(keys: dict[KeyKind, PrivateKey]) -> None:
    key = keys[KeyKind.P384]
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(DATA, ec.ECDSA(hashes.SHA256()))
    assert not verify(key.public_key(), KeyKind.P256, SignatureScheme.ECDSA_SECP256R1_SHA256, signature, DATA)


def test_signing_with_a_key_of_another_kind_is_refused(keys: dict[KeyKind, PrivateKey]) -> None:
    with pytest.raises(ValueError, match="needs a key of kind EC P-256, not RSA"):
        sign(keys[KeyKind.RSA], SignatureScheme.ECDSA_SECP256R1_SHA256, DATA)
    odd = ec.generate_private_key(ec.SECP256K1())
    with pytest.raises(ValueError, match="not another"):
        sign(odd, SignatureScheme.ECDSA_SECP256R1_SHA256, DATA)


def test_the_librarys_refusal_to_sign_leaves_no_frames() -> None:
    small = generate(KeyKind.RSA, bits=1024)
    with pytest.raises(ValueError, match="cannot sign with rsa_pss_rsae_sha512") as caught:
        sign(small, SignatureScheme.RSA_PSS_RSAE_SHA512, DATA)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("bits", "count"), [(512, 0), (1024, 2), (2048, 3), (4096, 3)])
def test_rsa_keys_too_short_for_a_hash_do_not_offer_it(bits: int, count: int) -> None:
    assert len(schemes_for(KeyKind.RSA, bits)) == count
    assert len(schemes_for(KeyKind.RSA_PSS, bits)) == count


def test_the_room_is_exact() -> None:
    # RFC 8017 §9.1.1: SHA-512 needs 130 bytes of encoded message, that is a modulus of at least 1034 bits.
    assert len(schemes_for(KeyKind.RSA, 1033)) == 2
    assert len(schemes_for(KeyKind.RSA, 1034)) == 3


def test_kinds() -> None:
    rsa_key = generate(KeyKind.RSA).public_key()
    assert kind_of(rsa_key) is KeyKind.RSA
    assert kind_of(rsa_key, pss=True) is KeyKind.RSA_PSS
    assert rsa_exponent(rsa_key) == 65537
    others = (
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        x25519.X25519PrivateKey.generate().public_key(),
        dsa.generate_private_key(1024).public_key(),
        "no key",
        None,
    )
    for other in others:
        assert kind_of(other) is None
        assert rsa_exponent(other) is None


@given(signature=st.binary(max_size=200), data=st.binary(max_size=100))
def test_verify_never_raises(signature: bytes, data: bytes) -> None:
    for scheme in SUPPORTED:
        assert not verify(_FIXED.public_key(), KeyKind.ED25519, scheme, signature, data)
        assert not verify(_POINT, kind_for(scheme), scheme, signature, data)


_FIXED = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
_POINT = ec.derive_private_key(7, ec.SECP256R1()).public_key()


# --- OpenSSL's command line ------------------------------------------------------------------------------------------


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=False)


def options(scheme: SignatureScheme) -> list[str]:
    """What tells `openssl pkeyutl` to do the same."""
    name = scheme.label
    if name.startswith(("ed", "mldsa")):
        return ["-rawin"]
    digest = name.rpartition("_")[2]
    pss = [
        "-pkeyopt",
        "rsa_padding_mode:pss",
        "-pkeyopt",
        "rsa_pss_saltlen:digest",
        "-pkeyopt",
        f"rsa_mgf1_md:{digest}",
    ]
    return ["-rawin", "-digest", digest, *(pss if name.startswith("rsa") else [])]


@pytest.mark.parametrize("scheme", SUPPORTED, ids=str)
def test_openssl_agrees_both_ways(scheme: SignatureScheme, keys: dict[KeyKind, PrivateKey], tmp_path: Path) -> None:
    key = keys[kind_for(scheme)]
    private, public, data, signature = (tmp_path / name for name in ("key", "pub", "data", "sig"))
    private.write_bytes(encode("PRIVATE KEY", encode_private(key)))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    data.write_bytes(DATA)
    if openssl("pkey", "-in", private, "-noout").returncode:
        assert scheme in POST_QUANTUM
        pytest.skip("this OpenSSL has no ML-DSA")
    signature.write_bytes(sign(key, scheme, DATA))
    ours = openssl(
        "pkeyutl", "-verify", "-pubin", "-inkey", public, "-in", data, "-sigfile", signature, *options(scheme)
    )
    assert ours.returncode == 0, ours.stderr
    theirs = openssl("pkeyutl", "-sign", "-inkey", private, "-in", data, "-out", signature, *options(scheme))
    assert theirs.returncode == 0, theirs.stderr
    assert verify(key.public_key(), kind_for(scheme), scheme, signature.read_bytes(), DATA)


def test_public_keys_are_equal_by_their_encoding(keys: dict[KeyKind, PrivateKey]) -> None:
    encodings = {encode_public(key.public_key()) for key in keys.values()}
    assert len(encodings) == len(KeyKind) - 1
