"""Keys as objects and as bytes: making, reading and writing them, so that no other room handles encodings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    pkcs7,
    pkcs12,
)

from .signatures import KeyKind, PrivateKey, PublicKey, kind_of

DER: Final = Encoding.DER
"""What the certificate library wants to be told when it encodes."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a key could not be read, in the library's words. Its exception is dropped: its frames hold key bytes."""

    reason: str
    needs_password: bool = False


def generate(kind: KeyKind, *, bits: int = 2048) -> PrivateKey:
    """A new private key. `bits` is the size of an RSA modulus. Raises ValueError or the library's UnsupportedAlgorithm.

    An id-RSASSA-PSS key is an RSA key whose certificate says more: the object is the same.
    """
    if kind in (KeyKind.RSA, KeyKind.RSA_PSS):
        return rsa.generate_private_key(public_exponent=65537, key_size=bits)
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    return _PURE[kind]()


def encode_public(key: PublicKey) -> bytes:
    """SubjectPublicKeyInfo, DER; an RSA key always as rsaEncryption."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def encode_private(key: PrivateKey, *, password: bytes | None = None) -> bytes:
    """PKCS#8, DER; encrypted when there is a password."""
    protection: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, protection)


def decode_private(data: bytes, password: bytes | None, *, pem: bool) -> object:
    """The private key in one PEM block or in DER: an object of the library, of whatever kind, or `Unreadable`.

    A password for a key that needs none does no harm.
    """
    load = load_pem_private_key if pem else load_der_private_key
    try:
        return load(data, password)
    except TypeError as error:
        if password is None:
            return Unreadable(str(error), needs_password=True)
    except Exception as error:
        return Unreadable(str(error) or type(error).__name__)
    return decode_private(data, None, pem=pem)


def decode_pkcs12(data: bytes, password: bytes | None) -> tuple[object, object, tuple[object, ...]] | Unreadable:
    """Key, certificate and further certificates of a PKCS#12 container: objects of the library, None where absent."""
    try:
        key, certificate, others = pkcs12.load_key_and_certificates(data, password)
    except Exception as error:
        return Unreadable(str(error) or type(error).__name__)
    return key, certificate, tuple(others)


def decode_pkcs7(data: bytes) -> tuple[bytes, ...]:
    """The certificates of a PKCS#7 container in DER (RFC 5280 §4.2.2.1 calls it certs-only). Raises ValueError."""
    try:
        return tuple(found.public_bytes(DER) for found in pkcs7.load_der_pkcs7_certificates(data))
    except Exception as error:
        reason = str(error) or type(error).__name__
    raise ValueError(reason)


def certificate_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    """The hash to sign a certificate with: SHA-256 for RSA, the size of the curve for EC, None for keys that hash."""
    kind = kind_of(key.public_key())
    if kind is KeyKind.P384:
        return hashes.SHA384()
    if kind is KeyKind.P521:
        return hashes.SHA512()
    return hashes.SHA256() if kind in (KeyKind.P256, KeyKind.RSA) else None


_CURVES: Final = {KeyKind.P256: ec.SECP256R1(), KeyKind.P384: ec.SECP384R1(), KeyKind.P521: ec.SECP521R1()}

_PURE: Final[Mapping[KeyKind, Callable[[], PrivateKey]]] = {
    KeyKind.ED25519: ed25519.Ed25519PrivateKey.generate,
    KeyKind.ED448: ed448.Ed448PrivateKey.generate,
    KeyKind.MLDSA44: mldsa.MLDSA44PrivateKey.generate,
    KeyKind.MLDSA65: mldsa.MLDSA65PrivateKey.generate,
    KeyKind.MLDSA87: mldsa.MLDSA87PrivateKey.generate,
}
