"""Hashes, HMAC and HKDF in the form TLS uses them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
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
    of_nothing: bytes
    """The hash of no bytes at all: what "derived" secrets are bound to (RFC 8446 §7.1)."""

    __hash__ = object.__hash__  # a member is alone in its kind; an enumeration's own is Python code

    def __init__(self, name: str) -> None:
        self.new = getattr(hashlib, name)  # three times as fast as hashlib.new(name)
        self.size = self.new().digest_size
        self.of_nothing = self.new().digest()
        self.library = hashes.SHA256() if name == "sha256" else hashes.SHA384()

    def digest(self, data: bytes) -> bytes:
        """The hash of `data`."""
        return self.new(data).digest()

    def hmac(self, key: bytes, data: bytes) -> bytes:
        """RFC 2104."""
        keyed = HMAC(key, self.library)  # in half the time of `hmac.digest` on OpenSSL 3
        keyed.update(data)
        return keyed.finalize()


def same(ours: bytes, theirs: bytes) -> bool:
    """Equality without a timing hint: wherever a peer's value meets a value derived from a secret."""
    return hmac.compare_digest(ours, theirs)


def hkdf_extract(algorithm: Hash, salt: bytes, key_material: bytes) -> bytes:
    """HKDF-Extract, RFC 5869 §2.2."""
    return algorithm.hmac(salt, key_material)


def hkdf_expand_label(algorithm: Hash, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label, RFC 8446 §7.1: `length` bytes."""
    if length <= algorithm.size:
        return Expander(algorithm, secret).label(label, context, length)
    info = _head(label, len(context), length, 255 * algorithm.size) + context
    return HKDFExpand(algorithm.library, length, info).derive(secret)


class Expander:
    """HKDF-Expand-Label for several labels of one secret. It is keyed once: the next labels cost a third of the first.

    One block of HKDF-Expand is one HMAC (RFC 5869 §2.3), and TLS hardly ever needs two.
    """

    __slots__ = ("_keyed", "_size")

    def __init__(self, algorithm: Hash, secret: bytes) -> None:
        self._keyed = HMAC(secret, algorithm.library)
        self._size = algorithm.size

    def label(self, label: bytes, context: bytes, length: int) -> bytes:
        """`length` bytes, at most the hash's size."""
        keyed = self._keyed.copy()
        keyed.update(_head(label, len(context), length, self._size) + context + b"\1")
        return keyed.finalize()[:length]

    def __reduce__(self) -> NoReturn:
        raise TypeError("what holds a secret cannot be copied or pickled")


@lru_cache(256)  # TLS itself has some thirty
def _head(label: bytes, context_size: int, length: int, most: int) -> bytes:
    """HkdfLabel without its context, RFC 8446 §7.1. Raises ValueError for a `length` of more than `most` bytes."""
    if length > most:
        raise ValueError(f"{length} bytes are more than the {most} that can be derived")
    return b"%b%ctls13 %b%c" % (length.to_bytes(2), len(label) + 6, label, context_size)
