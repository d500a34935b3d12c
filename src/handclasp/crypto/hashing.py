"""Hashes, HMAC and HKDF in the form TLS uses them."""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand


class Hash(Enum):
    """The hash functions TLS negotiates; the value is the standard library's name."""

    SHA256 = "sha256"
    SHA384 = "sha384"

    @property
    def size(self) -> int:
        """Output length in bytes."""
        return 32 if self is Hash.SHA256 else 48

    def new(self, data: bytes = b"") -> hashlib._Hash:
        """A running hash."""
        return hashlib.new(self.value, data)

    def digest(self, data: bytes) -> bytes:
        """The hash of `data`."""
        return hashlib.new(self.value, data).digest()

    def hmac(self, key: bytes, data: bytes) -> bytes:
        """RFC 2104."""
        return hmac.digest(key, data, self.value)


_LIBRARY = {Hash.SHA256: hashes.SHA256(), Hash.SHA384: hashes.SHA384()}


def same(ours: bytes, theirs: bytes) -> bool:
    """Equality without a timing hint: wherever a peer's value meets a value derived from a secret."""
    return hmac.compare_digest(ours, theirs)


def hkdf_extract(algorithm: Hash, salt: bytes, key_material: bytes) -> bytes:
    """HKDF-Extract, RFC 5869 §2.2."""
    return HKDF.extract(_LIBRARY[algorithm], salt, key_material)


def hkdf_expand_label(algorithm: Hash, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label, RFC 8446 §7.1: `length` bytes."""
    label = b"tls13 " + label
    info = b"%b%c%b%c%b" % (length.to_bytes(2), len(label), label, len(context), context)
    return HKDFExpand(_LIBRARY[algorithm], length, info).derive(secret)
