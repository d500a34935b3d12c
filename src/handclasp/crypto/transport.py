"""RSA key transport: a secret encrypted under a certificate's public key (RFC 5246 §7.4.7.1).

What happens to a secret that was tampered with has to be invisible: whoever can tell good padding from bad can decrypt
recorded connections with some thousands of questions (Bleichenbacher 1998, ROBOT 2017, Marvin 2023).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .hashing import same
from .signatures import PrivateKey, PublicKey

PREMASTER_SIZE = 48


def encrypt_premaster(public_key: PublicKey | None, premaster: bytes) -> bytes:
    """RSAES-PKCS1-v1_5. Raises ValueError for a key that is not RSA."""
    if not isinstance(public_key, rsa.RSAPublicKey):
        raise ValueError("only an RSA key can encrypt a premaster secret")
    return public_key.encrypt(premaster, padding.PKCS1v15())


def decrypt_premaster(private_key: PrivateKey, encrypted: bytes) -> bytes:
    """What was encrypted or, for anything that was not encrypted properly, random bytes of a random length.

    The library rejects implicitly (draft-irtf-cfrg-rsa-guidance): bad padding raises nothing and looks like a good
    plaintext. A ciphertext whose length is not the key's gives nothing at all; that length anyone can see.
    """
    if not isinstance(private_key, rsa.RSAPrivateKey):
        raise ValueError("only an RSA key can decrypt a premaster secret")
    try:
        return private_key.decrypt(encrypted, padding.PKCS1v15())
    except ValueError:
        return b""


def settle_premaster(decrypted: bytes, version: bytes, substitute: bytes) -> bytes:
    """RFC 5246 §7.4.7.1: the decrypted secret if it has the right length and version, else the substitute.

    `version` is what the ClientHello said, two bytes; `substitute` is 48 random bytes drawn before the decryption. Both
    answers are computed, and one is picked by arithmetic: no branch and no exception depends on the secret.
    """
    candidate = (decrypted + bytes(PREMASTER_SIZE))[:PREMASTER_SIZE]
    good = same(len(decrypted).to_bytes(4), PREMASTER_SIZE.to_bytes(4)) & same(candidate[:2], version)
    mask = -int(good) & 0xFF
    return bytes((ours & mask) | (theirs & ~mask & 0xFF) for ours, theirs in zip(candidate, substitute, strict=True))
