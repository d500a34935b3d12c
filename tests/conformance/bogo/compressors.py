"""The runner's own ways to compress a certificate, which compress nothing: what comes out can be told at a glance."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from handclasp import CertificateCompression, CertificateCompressor

SHORTER = bytes(2)
"""How every Certificate message of the runner begins: an empty context, and a length below 64 KiB."""

LONGER = bytes((1, 2, 3, 4))


@dataclass(frozen=True)
class Fake:
    """Takes one prefix away, and puts another in front."""

    algorithm: CertificateCompression
    plain: bytes
    front: Callable[[], bytes]

    def compress(self, data: bytes) -> bytes:
        return self.front() + data.removeprefix(self.plain)

    def decompress(self, data: bytes, length: int) -> bytes:
        front = self.front()
        if self.algorithm == RANDOM:
            front = data[:1]
        if not data.startswith(front):
            raise ValueError("not what the runner makes")
        return self.plain + data[len(front) :]


RANDOM = CertificateCompression(0xFF03)

COMPRESSORS: tuple[CertificateCompressor, ...] = (
    Fake(CertificateCompression(0xFF02), b"", lambda: LONGER),
    Fake(CertificateCompression(0xFF01), SHORTER, lambda: b""),
    Fake(RANDOM, b"", lambda: os.urandom(1)),
)
"""In the runner's order of preference."""
