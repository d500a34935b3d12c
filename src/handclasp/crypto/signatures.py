"""Signatures of the handshake: which scheme fits which key, signing, verifying (RFC 8446 §4.2.3 and §4.4.3).

A scheme names the kind of key, the curve and the hash at once; nothing here lets one be exchanged for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Any, Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa

from ..wire.names import SignatureScheme, TLSVersion

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)
"""A private key that can sign handshakes, if its size or curve is one that TLS has."""

PublicKey: TypeAlias = (
    rsa.RSAPublicKey
    | ec.EllipticCurvePublicKey
    | ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
)
"""The public half of a `PrivateKey`."""


class KeyKind(Enum):
    """Kinds of keys that sign handshakes. The value is the name for humans."""

    __hash__ = object.__hash__  # a member is alone in its kind; an enumeration's own is Python code

    RSA = "RSA"
    """rsaEncryption: the common RSA key."""
    RSA_PSS = "RSA-PSS"
    """id-RSASSA-PSS: an RSA key whose certificate restricts it to PSS (RFC 8446 §4.2.3)."""
    P256 = "EC P-256"
    P384 = "EC P-384"
    P521 = "EC P-521"
    ED25519 = "Ed25519"
    ED448 = "Ed448"
    MLDSA44 = "ML-DSA-44"
    MLDSA65 = "ML-DSA-65"
    MLDSA87 = "ML-DSA-87"


def kind_of(public_key: Any, *, pss: bool = False) -> KeyKind | None:
    """What kind of key this is; None when it is of a kind, or on a curve, that signs nothing in TLS 1.3.

    `pss` says that the certificate declares its RSA key as id-RSASSA-PSS: the key object alone cannot tell.
    """
    return _kind(public_key, _family(type(public_key)), pss)  # type: ignore[arg-type] # classes have a hash


def _kind(key: Any, family: type | None, pss: bool) -> KeyKind | None:
    if family is rsa.RSAPublicKey:
        return KeyKind.RSA_PSS if pss else KeyKind.RSA
    if family is ec.EllipticCurvePublicKey:
        return _CURVES.get(key.curve.name)
    return None if family is None else _PURE_KINDS.get(family)


@cache
def _family(key_type: type) -> type | None:
    """The library's public name for a class of public keys. Remembered: each look at an abstract class costs 1 µs."""
    known = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, *_PURE_KINDS)
    return next((family for family in known if issubclass(key_type, family)), None)


@cache
def _private_family(key_type: type) -> type | None:
    """The same for the public half of a class of private keys: making that half itself takes 10 µs."""
    return next((public for private, public in _HALVES.items() if issubclass(key_type, private)), None)


def rsa_exponent(public_key: Any) -> int | None:
    """The public exponent of an RSA key; None for another key. Large ones make each verification slow."""
    if _family(type(public_key)) is not rsa.RSAPublicKey:  # type: ignore[arg-type] # classes have a hash
        return None
    exponent: int = public_key.public_numbers().e
    return exponent


def schemes_for(kind: KeyKind, bits: int) -> tuple[SignatureScheme, ...]:
    """The schemes a key of this kind can use, best first. `bits` is the size of an RSA modulus, ignored for others.

    RSA keys too short for the hash and its salt are left without that scheme: 1024 bits cannot carry SHA-512.
    """
    return tuple(s for s, method in _TLS13.items() if method.kind is kind and _has_room(method, bits))


def fits(scheme: SignatureScheme, kind: KeyKind, version: TLSVersion = TLSVersion.TLS_1_3) -> bool:
    """True when a handshake of this version may be signed by this scheme with this kind of key."""
    return _method(scheme, kind, version) is not None


def sign(private_key: PrivateKey, scheme: SignatureScheme, data: bytes) -> bytes:
    """Sign `data`. Raises ValueError when the key does not fit the scheme or the library refuses.

    Any curve goes with any ECDSA scheme, as TLS 1.2 has it; which of them TLS 1.3 may use, `schemes_for` says.
    """
    method = _TLS13.get(scheme) or _TLS12.get(scheme)
    if method is None:
        raise ValueError(f"{scheme} does not sign handshakes")
    family = _private_family(type(private_key))
    kind = _kind(private_key, family, pss=method.kind is KeyKind.RSA_PSS)
    if kind is not method.kind and not (kind in CURVE_KINDS and method.kind in CURVE_KINDS):
        raise ValueError(f"{scheme} needs a key of kind {method.kind.value}, not {kind.value if kind else 'another'}")
    try:
        return _sign(private_key, family, method, data)
    except Exception:
        refused = f"this key cannot sign with {scheme}"
    # Raised out here so that not even its context keeps the library's frames, which hold the key.
    raise ValueError(refused)


def verify(
    public_key: PublicKey | None,
    kind: KeyKind | None,
    scheme: SignatureScheme,
    signature: bytes,
    data: bytes,
    version: TLSVersion = TLSVersion.TLS_1_3,
) -> bool:
    """True only when `signature` over `data` is right for this key and scheme.

    A scheme that does not fit the kind, and whatever the library raises, is False: ask `fits` first for the reason.
    """
    method = None if kind is None else _method(scheme, kind, version)
    if method is None or kind_of(public_key, pss=kind is KeyKind.RSA_PSS) is not kind:
        return False
    try:
        _verify(public_key, method, signature, data)
    except Exception:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Method:
    """One row of the table: a scheme's only kind of key and its hash (None where the scheme hashes by itself)."""

    kind: KeyKind
    hash: hashes.HashAlgorithm | None = None
    pkcs1: bool = False
    """RSA with the padding of PKCS#1 v1.5, for TLS 1.2 alone."""


def _method(scheme: SignatureScheme, kind: KeyKind, version: TLSVersion) -> _Method | None:
    """How this kind of key uses a scheme; None where it may not."""
    method = _TLS13.get(scheme)
    if version is TLSVersion.TLS_1_2:
        method = None if scheme in _ML_DSA_ROWS else method or _TLS12.get(scheme)
    if method is None or method.kind is kind:
        return method
    if version is TLSVersion.TLS_1_2 and method.kind in CURVE_KINDS and kind in CURVE_KINDS:
        return replace(method, kind=kind)  # RFC 8446 §4.2.3: in TLS 1.2 an ECDSA scheme names a hash, and no curve
    return None


def _sign(private_key: Any, family: type | None, method: _Method, data: bytes) -> bytes:
    if family is ec.EllipticCurvePublicKey:
        signature: bytes = private_key.sign(data, _ECDSA[_hash(method).name])
    elif family is rsa.RSAPublicKey:
        signature = private_key.sign(data, _padding(method), _hash(method))
    else:
        signature = private_key.sign(data)
    return signature


def _verify(public_key: Any, method: _Method, signature: bytes, data: bytes) -> None:
    family = _family(type(public_key))  # type: ignore[arg-type] # classes have a hash
    if family is ec.EllipticCurvePublicKey:
        public_key.verify(signature, data, _ECDSA[_hash(method).name])
    elif family is rsa.RSAPublicKey:
        public_key.verify(signature, data, _padding(method), _hash(method))
    else:
        public_key.verify(signature, data)


def _hash(method: _Method) -> hashes.HashAlgorithm:
    if method.hash is None:
        raise ValueError("this scheme has no hash of its own")
    return method.hash


def _padding(method: _Method) -> padding.PSS | padding.PKCS1v15:
    algorithm = _hash(method)
    if method.pkcs1:
        return padding.PKCS1v15()
    # RFC 8446 §4.2.3: MGF1 with the scheme's hash, and a salt exactly as long as its digest.
    return padding.PSS(mgf=padding.MGF1(algorithm), salt_length=algorithm.digest_size)


def _has_room(method: _Method, bits: int) -> bool:
    """RFC 8017 §9.1.1 step 3: the encoded message holds the digest, a salt as long, and two bytes."""
    if method.kind not in (KeyKind.RSA, KeyKind.RSA_PSS):
        return True
    return (bits + 6) // 8 >= 2 * _hash(method).digest_size + 2


def _post_quantum() -> bool:
    """ML-DSA needs a library built on OpenSSL 3.5 or a relative that has it."""
    try:
        mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    except UnsupportedAlgorithm:  # pragma: no cover - depends on how the library was built
        return False
    return True


# Each new one is looked at by the library, for 1 µs.
_ECDSA: Final = {
    algorithm.name: ec.ECDSA(algorithm) for algorithm in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
}

_CURVES: Final = {"secp256r1": KeyKind.P256, "secp384r1": KeyKind.P384, "secp521r1": KeyKind.P521}

_PURE_KINDS: Final[Mapping[type, KeyKind]] = {
    ed25519.Ed25519PublicKey: KeyKind.ED25519,
    ed448.Ed448PublicKey: KeyKind.ED448,
    mldsa.MLDSA44PublicKey: KeyKind.MLDSA44,
    mldsa.MLDSA65PublicKey: KeyKind.MLDSA65,
    mldsa.MLDSA87PublicKey: KeyKind.MLDSA87,
}

_HALVES: Final[Mapping[type, type]] = {
    rsa.RSAPrivateKey: rsa.RSAPublicKey,
    ec.EllipticCurvePrivateKey: ec.EllipticCurvePublicKey,
    ed25519.Ed25519PrivateKey: ed25519.Ed25519PublicKey,
    ed448.Ed448PrivateKey: ed448.Ed448PublicKey,
    mldsa.MLDSA44PrivateKey: mldsa.MLDSA44PublicKey,
    mldsa.MLDSA65PrivateKey: mldsa.MLDSA65PublicKey,
    mldsa.MLDSA87PrivateKey: mldsa.MLDSA87PublicKey,
}

_ML_DSA_ROWS: Final = {
    SignatureScheme.MLDSA65: _Method(KeyKind.MLDSA65),
    SignatureScheme.MLDSA87: _Method(KeyKind.MLDSA87),
    SignatureScheme.MLDSA44: _Method(KeyKind.MLDSA44),
}

# The schemes of a TLS 1.3 CertificateVerify, best first: RFC 8446 §4.2.3 binds each to one curve and one hash, and
# keeps PKCS#1 v1.5 and SHA-1 out. TLS 1.2 binds neither curve nor hash so tightly: its rows are a table of their own.
_TLS13: Final[Mapping[SignatureScheme, _Method]] = {
    **(_ML_DSA_ROWS if _post_quantum() else {}),
    SignatureScheme.ECDSA_SECP256R1_SHA256: _Method(KeyKind.P256, hashes.SHA256()),
    SignatureScheme.ED25519: _Method(KeyKind.ED25519),
    SignatureScheme.RSA_PSS_RSAE_SHA256: _Method(KeyKind.RSA, hashes.SHA256()),
    SignatureScheme.ECDSA_SECP384R1_SHA384: _Method(KeyKind.P384, hashes.SHA384()),
    SignatureScheme.RSA_PSS_RSAE_SHA384: _Method(KeyKind.RSA, hashes.SHA384()),
    SignatureScheme.ECDSA_SECP521R1_SHA512: _Method(KeyKind.P521, hashes.SHA512()),
    SignatureScheme.RSA_PSS_RSAE_SHA512: _Method(KeyKind.RSA, hashes.SHA512()),
    SignatureScheme.ED448: _Method(KeyKind.ED448),
    SignatureScheme.RSA_PSS_PSS_SHA256: _Method(KeyKind.RSA_PSS, hashes.SHA256()),
    SignatureScheme.RSA_PSS_PSS_SHA384: _Method(KeyKind.RSA_PSS, hashes.SHA384()),
    SignatureScheme.RSA_PSS_PSS_SHA512: _Method(KeyKind.RSA_PSS, hashes.SHA512()),
}

# What TLS 1.2 has beside them: RFC 5246 §7.4.1.4.1, without SHA-1 and MD5 (RFC 9155).
_TLS12: Final[Mapping[SignatureScheme, _Method]] = {
    SignatureScheme.RSA_PKCS1_SHA256: _Method(KeyKind.RSA, hashes.SHA256(), pkcs1=True),
    SignatureScheme.RSA_PKCS1_SHA384: _Method(KeyKind.RSA, hashes.SHA384(), pkcs1=True),
    SignatureScheme.RSA_PKCS1_SHA512: _Method(KeyKind.RSA, hashes.SHA512(), pkcs1=True),
}

CURVE_KINDS: Final = frozenset((KeyKind.P256, KeyKind.P384, KeyKind.P521))
"""Keys that sign with ECDSA."""

ECDSA: Final = tuple(scheme for scheme, method in _TLS13.items() if method.kind in CURVE_KINDS)
"""Schemes of such keys. In TLS 1.3 each is for one curve; in TLS 1.2 they name a hash only (RFC 8446 §4.2.3)."""

SUPPORTED: Final[tuple[SignatureScheme, ...]] = tuple(_TLS13)
"""Every scheme that can sign and verify a TLS 1.3 handshake here, in the order of preference of a default offer."""

CERTIFICATE_ONLY: Final[tuple[SignatureScheme, ...]] = (
    SignatureScheme.RSA_PKCS1_SHA256,
    SignatureScheme.RSA_PKCS1_SHA384,
    SignatureScheme.RSA_PKCS1_SHA512,
)
"""Schemes to offer after `SUPPORTED` because CAs sign certificates with them; a CertificateVerify never has one.

RFC 8446 §4.2.3: without these in signature_algorithms, most chains of the web would be declared unwelcome.
"""

RSA_SCHEMES: Final = frozenset(
    scheme for scheme, method in (*_TLS13.items(), *_TLS12.items()) if method.kind in (KeyKind.RSA, KeyKind.RSA_PSS)
)
"""Schemes of RSA keys."""
