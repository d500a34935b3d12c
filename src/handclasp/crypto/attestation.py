"""Signatures over what a CA states of its certificates: OCSP responses, whose library object does not verify itself."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import SignatureAlgorithmOID

from .signatures import PublicKey

CERT_ID_HASH: Final = hashes.SHA1()
"""What a CertID names its issuer by (RFC 5019 §2.1.1): the one hash that every responder knows. It proves nothing."""

BROKEN_HASHES: Final = frozenset({"md5", "sha1"})
"""Hashes that no signature may rest on, as the library names them."""


def attested(key: PublicKey | None, oid: object, algorithm: object, signature: bytes, data: bytes) -> bool:
    """True only when `signature` over `data` is right for this key, with the algorithm named, and that one is sound.

    `oid` is the signature algorithm's object identifier, `algorithm` its hash: both as the library's objects have them.
    RSASSA-PSS, whose parameters the library does not give for OCSP responses, is False; so is whatever it raises.
    """
    if oid == SignatureAlgorithmOID.RSASSA_PSS or getattr(algorithm, "name", "") in BROKEN_HASHES:
        return False
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), _hash(algorithm))
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(_hash(algorithm)))
        elif key is None or oid not in _PURE:
            return False
        else:
            key.verify(signature, data)
    except Exception:
        return False
    return True


def _hash(algorithm: object) -> hashes.HashAlgorithm:
    if not isinstance(algorithm, hashes.HashAlgorithm):
        raise ValueError("this algorithm has no hash of its own")
    return algorithm


_PURE: Final = frozenset(
    {
        SignatureAlgorithmOID.ED25519,
        SignatureAlgorithmOID.ED448,
        SignatureAlgorithmOID.ML_DSA_44,
        SignatureAlgorithmOID.ML_DSA_65,
        SignatureAlgorithmOID.ML_DSA_87,
    }
)
"""Algorithms that hash by themselves."""
