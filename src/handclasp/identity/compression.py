"""Certificates made shorter for the way (RFC 8879): long chains, and those with large keys, cost a round trip less."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Protocol, runtime_checkable

from ..wire.names import CertificateCompression


@runtime_checkable
class CertificateCompressor(Protocol):
    """One way to compress certificates, for both directions. See `ZLIB`; brotli and zstd need packages of their own."""

    @property
    def algorithm(self) -> CertificateCompression:
        """Its code point (RFC 8879 §7.3)."""
        ...

    def compress(self, data: bytes) -> bytes:
        """The Certificate message `data` in its short form."""
        ...

    def decompress(self, data: bytes, length: int) -> bytes:
        """What `data` stands for. `length` is what the peer declares for it, in bytes; no more than that may be made.

        Raises ValueError for data that cannot be read. The caller checks the length of what comes out.
        """
        ...


class Zlib:
    """RFC 1950. Messages that were compressed lately are remembered: a server sends the same one to every client."""

    algorithm = CertificateCompression.ZLIB

    def compress(self, data: bytes) -> bytes:
        return _deflated(data)

    def decompress(self, data: bytes, length: int) -> bytes:
        inflater = zlib.decompressobj()
        try:
            plain = inflater.decompress(data, length + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if not inflater.eof or inflater.unused_data:
            raise ValueError("the stream has no end, or bytes behind it")
        return plain

    def __repr__(self) -> str:
        return "ZLIB"


@lru_cache(maxsize=16)
def _deflated(data: bytes) -> bytes:
    return zlib.compress(data, 9)


ZLIB = Zlib()
