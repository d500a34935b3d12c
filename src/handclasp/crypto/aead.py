"""The ciphers that protect records: authenticated encryption with associated data (RFC 5116)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305


class Cipher(Protocol):
    """One key, ready to use."""

    def encrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: bytes | None) -> bytes: ...


class Aead(Enum):
    """An algorithm: its key length and tag length in bytes."""

    AES_128_GCM = ("AES-128-GCM", 16, 16)
    AES_256_GCM = ("AES-256-GCM", 32, 16)
    CHACHA20_POLY1305 = ("ChaCha20-Poly1305", 32, 16)
    AES_128_CCM = ("AES-128-CCM", 16, 16)
    AES_128_CCM_8 = ("AES-128-CCM-8", 16, 8)

    def __init__(self, label: str, key_size: int, tag_size: int) -> None:
        self.label = label
        self.key_size = key_size
        self.tag_size = tag_size

    def cipher(self, key: bytes) -> Cipher:
        """The algorithm under one key of `key_size` bytes."""
        return _CIPHERS[self.label](key)

    @property
    def fixed_iv_size(self) -> int:
        """Bytes of the nonce that TLS 1.2 derives; the rest is sent with each record (RFC 5288 §3, RFC 7905 §2)."""
        return 12 if self is Aead.CHACHA20_POLY1305 else 4


_CIPHERS: dict[str, Callable[[bytes], Cipher]] = {
    Aead.AES_128_GCM.label: AESGCM,
    Aead.AES_256_GCM.label: AESGCM,
    Aead.CHACHA20_POLY1305.label: ChaCha20Poly1305,
    Aead.AES_128_CCM.label: AESCCM,
    Aead.AES_128_CCM_8.label: lambda key: AESCCM(key, tag_length=8),
}

NONCE_SIZE = 12
"""Bytes; the same for every algorithm TLS uses."""


def open_or_none(cipher: Cipher, nonce: bytes, sealed: bytes | memoryview, associated_data: bytes) -> bytes | None:
    """The content, or None where the tag is wrong (or missing): one answer for every way a record can be damaged."""
    try:
        return cipher.decrypt(nonce, sealed, associated_data)
    except DAMAGED:
        return None


DAMAGED = (InvalidTag, ValueError)
"""What decrypting raises for a tag that is wrong, or missing."""
