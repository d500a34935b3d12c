"""Cipher suites: which AEAD with which hash (RFC 8446 §B.4)."""

from __future__ import annotations

from dataclasses import dataclass

from ..wire.names import CipherSuite
from .aead import Aead
from .hashing import Hash


@dataclass(frozen=True, slots=True)
class Suite:
    """A TLS 1.3 cipher suite."""

    code: CipherSuite
    aead: Aead
    hash: Hash

    @property
    def counts_records(self) -> bool:
        """Whether the AEAD wears out within a connection's life (RFC 8446 §5.5); ChaCha20-Poly1305 does not."""
        return self.aead is not Aead.CHACHA20_POLY1305


SUITES = {
    suite.code: suite
    for suite in (
        Suite(CipherSuite.TLS_AES_128_GCM_SHA256, Aead.AES_128_GCM, Hash.SHA256),
        Suite(CipherSuite.TLS_AES_256_GCM_SHA384, Aead.AES_256_GCM, Hash.SHA384),
        Suite(CipherSuite.TLS_CHACHA20_POLY1305_SHA256, Aead.CHACHA20_POLY1305, Hash.SHA256),
        Suite(CipherSuite.TLS_AES_128_CCM_SHA256, Aead.AES_128_CCM, Hash.SHA256),
        Suite(CipherSuite.TLS_AES_128_CCM_8_SHA256, Aead.AES_128_CCM_8, Hash.SHA256),
    )
}
"""Every suite we can use."""

DEFAULT_SUITES = (
    CipherSuite.TLS_AES_128_GCM_SHA256,
    CipherSuite.TLS_AES_256_GCM_SHA384,
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256,
)
"""What is on unless a configuration says otherwise. CCM is for small devices, and its short tag is a choice to make."""
