"""One key's worth of protected records (RFC 8446 §5.2-§5.5): nonces, additional data, padding, wear."""

from __future__ import annotations

from typing import Protocol

from ..crypto.aead import open_or_none
from ..limits import RECORD_HEADER, Limits
from ..rules import PLAINTEXT_OVERFLOW, RECORD_KEY_SPENT, RECORD_ONLY_PADDING, PeerFault
from ..wire.names import ContentType
from .schedule import TrafficSecret


class Sealer(Protocol):
    """How content becomes a record."""

    def seal(self, type_: ContentType, content: bytes, padding: int) -> bytes:
        """One whole record. `padding` zero bytes are hidden inside, where the record is protected."""
        ...

    @property
    def spent(self) -> bool:
        """True when this key should protect no more records."""
        ...


class ClearSealer:
    """Records before there are keys. The first one says TLS 1.0, for old middleboxes (RFC 8446 §5.1)."""

    __slots__ = ("_version",)

    spent = False

    def __init__(self, first_version: int = 0x0303) -> None:
        self._version = first_version

    def seal(self, type_: ContentType, content: bytes, padding: int) -> bytes:
        record = b"%c%b%b%b" % (type_, self._version.to_bytes(2), len(content).to_bytes(2), content)
        self._version = 0x0303
        return record


class ProtectedSealer:
    """Records under one traffic secret."""

    __slots__ = ("_cipher", "_iv", "_last", "_sequence", "_tag_size")

    def __init__(self, secret: TrafficSecret, limits: Limits) -> None:
        key, iv = secret.keys()
        self._cipher = secret.suite.aead.cipher(key)
        self._tag_size = secret.suite.aead.tag_size
        self._iv = int.from_bytes(iv)
        self._sequence = -1
        self._last = limits.records_per_key - 1 if secret.suite.counts_records else (1 << 48)

    @property
    def spent(self) -> bool:
        return self._sequence >= self._last

    def seal(self, type_: ContentType, content: bytes, padding: int) -> bytes:
        # The number is taken before it is used: whatever interrupts this, no nonce is used twice.
        self._sequence = sequence = self._sequence + 1
        inner = b"%b%c%b" % (content, type_, bytes(padding)) if padding else b"%b%c" % (content, type_)
        header = b"\x17\x03\x03" + (len(inner) + self._tag_size).to_bytes(2)
        return header + self._cipher.encrypt((self._iv ^ sequence).to_bytes(12), inner, header)


class Opener:
    """The reading end of one traffic secret."""

    __slots__ = ("_cipher", "_iv", "_last", "_sequence", "_worn_at", "most_inner")

    def __init__(self, secret: TrafficSecret, limits: Limits, most_inner: int) -> None:
        key, iv = secret.keys()
        self._cipher = secret.suite.aead.cipher(key)
        self._iv = int.from_bytes(iv)
        self._sequence = -1
        self._last = limits.records_received_per_key - 1 if secret.suite.counts_records else (1 << 48)
        self._worn_at = limits.records_per_key - 1 if secret.suite.counts_records else (1 << 48)
        self.most_inner = most_inner

    @property
    def used(self) -> bool:
        """Whether a record was opened: the peer has these keys, so nothing may come in the clear any more."""
        return self._sequence >= 0

    @property
    def worn(self) -> bool:
        """Whether it is time for the peer to change this key."""
        return self._sequence >= self._worn_at

    def open(self, record: bytes) -> tuple[ContentType, bytes] | None:
        """(content type, content) of a whole record, or None where its integrity check fails.

        The additional data is the header as it was received, not as it should have been.
        """
        header, sealed = record[:RECORD_HEADER], record[RECORD_HEADER:]
        if self._sequence >= self._last:
            raise PeerFault(RECORD_KEY_SPENT)
        nonce = (self._iv ^ (self._sequence + 1)).to_bytes(12)
        inner = open_or_none(self._cipher, nonce, sealed, header)
        if inner is None:
            return None
        self._sequence += 1
        content = inner.rstrip(b"\0")
        if not content:
            raise PeerFault(RECORD_ONLY_PADDING)
        if len(inner) > self.most_inner:
            raise PeerFault(PLAINTEXT_OVERFLOW, f"{len(inner) - 1} bytes")
        return ContentType(content[-1]), content[:-1]
