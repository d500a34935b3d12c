"""Cipher suites: which AEAD with which hash and, in TLS 1.2, which key exchange (RFC 8446 §B.4, RFC 5246 §A.5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ..wire.names import CipherSuite, TLSVersion
from .aead import Aead
from .hashing import Hash
from .signatures import KeyKind


class KeyExchange(Enum):
    """How a TLS 1.2 suite comes to its secret, and with which kind of certificate. TLS 1.3 settles both elsewhere."""

    ANY = "TLS 1.3"
    ECDHE_ECDSA = "ECDHE-ECDSA"
    ECDHE_RSA = "ECDHE-RSA"
    RSA = "RSA key transport"

    @property
    def key_kinds(self) -> frozenset[KeyKind]:
        """The kinds of certificate keys it works with."""
        return _KEY_KINDS[self]


_KEY_KINDS = {
    KeyExchange.ANY: frozenset(KeyKind),
    KeyExchange.ECDHE_ECDSA: frozenset(
        (KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.ED25519, KeyKind.ED448)  # RFC 8422 §2.2
    ),
    KeyExchange.ECDHE_RSA: frozenset((KeyKind.RSA, KeyKind.RSA_PSS)),
    KeyExchange.RSA: frozenset((KeyKind.RSA,)),
}


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite."""

    code: CipherSuite
    aead: Aead
    hash: Hash
    key_exchange: KeyExchange = KeyExchange.ANY
    version: TLSVersion = field(init=False, compare=False)
    """The only version it belongs to."""
    counts_records: bool = field(init=False, compare=False)
    """Whether the AEAD wears out within a connection's life (RFC 8446 §5.5); ChaCha20-Poly1305 does not."""

    def __post_init__(self) -> None:
        version = TLSVersion.TLS_1_3 if self.key_exchange is KeyExchange.ANY else TLSVersion.TLS_1_2
        object.__setattr__(self, "version", version)
        object.__setattr__(self, "counts_records", self.aead is not Aead.CHACHA20_POLY1305)


SUITES = {
    suite.code: suite
    for suite in (
        Suite(CipherSuite.TLS_AES_128_GCM_SHA256, Aead.AES_128_GCM, Hash.SHA256),
        Suite(CipherSuite.TLS_AES_256_GCM_SHA384, Aead.AES_256_GCM, Hash.SHA384),
        Suite(CipherSuite.TLS_CHACHA20_POLY1305_SHA256, Aead.CHACHA20_POLY1305, Hash.SHA256),
        Suite(CipherSuite.TLS_AES_128_CCM_SHA256, Aead.AES_128_CCM, Hash.SHA256),
        Suite(CipherSuite.TLS_AES_128_CCM_8_SHA256, Aead.AES_128_CCM_8, Hash.SHA256),
        Suite(
            CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, Aead.AES_128_GCM, Hash.SHA256, KeyExchange.ECDHE_ECDSA
        ),
        Suite(
            CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, Aead.AES_256_GCM, Hash.SHA384, KeyExchange.ECDHE_ECDSA
        ),
        Suite(
            CipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            Aead.CHACHA20_POLY1305,
            Hash.SHA256,
            KeyExchange.ECDHE_ECDSA,
        ),
        Suite(CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, Aead.AES_128_GCM, Hash.SHA256, KeyExchange.ECDHE_RSA),
        Suite(CipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, Aead.AES_256_GCM, Hash.SHA384, KeyExchange.ECDHE_RSA),
        Suite(
            CipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            Aead.CHACHA20_POLY1305,
            Hash.SHA256,
            KeyExchange.ECDHE_RSA,
        ),
        Suite(CipherSuite.TLS_RSA_WITH_AES_128_GCM_SHA256, Aead.AES_128_GCM, Hash.SHA256, KeyExchange.RSA),
        Suite(CipherSuite.TLS_RSA_WITH_AES_256_GCM_SHA384, Aead.AES_256_GCM, Hash.SHA384, KeyExchange.RSA),
    )
}
"""Every suite we can use."""

DEFAULT_SUITES = (
    CipherSuite.TLS_AES_128_GCM_SHA256,
    CipherSuite.TLS_AES_256_GCM_SHA384,
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
)
"""What is on unless a configuration says otherwise. CCM is for small devices, and its short tag is a choice to make."""

RSA_TRANSPORT_SUITES = tuple(code for code, suite in SUITES.items() if suite.key_exchange is KeyExchange.RSA)
"""Suites without forward secrecy: `handclasp.danger` alone switches them on."""

SAFE_SUITES = tuple(code for code in SUITES if code not in RSA_TRANSPORT_SUITES)
"""What a configuration may list without danger."""
