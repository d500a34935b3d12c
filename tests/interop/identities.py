"""Certificates that a foreign implementation and handclasp share: as our objects, and as files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from handclasp import Credential, TrustStore
from handclasp.crypto.signatures import KeyKind
from handclasp.identity import der, pem
from handclasp.lab.ca import CertificateAuthority, PemPair
from handclasp.wire.names import SignatureScheme

NAME: Final = "localhost"
OTHER_NAME: Final = "other.test"

CLASSIC_SCHEMES: Final = {
    SignatureScheme.ECDSA_SECP256R1_SHA256: KeyKind.P256,
    SignatureScheme.ECDSA_SECP384R1_SHA384: KeyKind.P384,
    SignatureScheme.ECDSA_SECP521R1_SHA512: KeyKind.P521,
    SignatureScheme.ED25519: KeyKind.ED25519,
    SignatureScheme.ED448: KeyKind.ED448,
    SignatureScheme.RSA_PSS_RSAE_SHA256: KeyKind.RSA,
    SignatureScheme.RSA_PSS_RSAE_SHA384: KeyKind.RSA,
    SignatureScheme.RSA_PSS_RSAE_SHA512: KeyKind.RSA,
    SignatureScheme.RSA_PSS_PSS_SHA256: KeyKind.RSA_PSS,
    SignatureScheme.RSA_PSS_PSS_SHA384: KeyKind.RSA_PSS,
    SignatureScheme.RSA_PSS_PSS_SHA512: KeyKind.RSA_PSS,
}
"""Every scheme of RFC 8446 that signs a handshake, with the kind of key it needs."""

SCHEMES: Final = {
    **CLASSIC_SCHEMES,
    SignatureScheme.MLDSA44: KeyKind.MLDSA44,
    SignatureScheme.MLDSA65: KeyKind.MLDSA65,
    SignatureScheme.MLDSA87: KeyKind.MLDSA87,
}
"""The same with the post-quantum ones."""


@dataclass(frozen=True)
class Identity:
    """One leaf with its key, for whoever needs it."""

    credential: Credential
    chain_file: Path
    key_file: Path


class Identities:
    """A CA whose leaves are made once each, good for servers and for clients."""

    def __init__(self, authority: CertificateAuthority, folder: Path) -> None:
        self.authority = authority
        self.trust: TrustStore = authority.trust
        self.root_file = folder / "root.pem"
        self.root_file.write_bytes(authority.pem())
        self._folder = folder
        self._made: dict[tuple[KeyKind, str], Identity] = {}

    def of(self, kind: KeyKind = KeyKind.P256, name: str = NAME) -> Identity:
        """The leaf with a key of this kind for this name; localhost's leaves have 127.0.0.1 as well."""
        if (kind, name) not in self._made:
            self._made[kind, name] = self._make(kind, name)
        return self._made[kind, name]

    @cached_property
    def expired(self) -> Identity:
        """A leaf for localhost whose time is over."""
        start = self.authority.certificate.not_before
        pair = self.authority.issue_pem(NAME, "127.0.0.1", usage="both", not_before=start, days=0.5)
        return self._kept("expired", KeyKind.P256, pair)

    def _make(self, kind: KeyKind, name: str) -> Identity:
        names = (name, "127.0.0.1") if name == NAME else (name,)
        # as CAs do it: there are clients that take no RSA key without
        usage = ("digital_signature", *(("key_encipherment",) if kind is KeyKind.RSA else ()))
        return self._kept(name, kind, self.authority.issue_pem(*names, key_kind=kind, usage="both", key_usage=usage))

    def _kept(self, name: str, kind: KeyKind, pair: PemPair) -> Identity:
        chain_file = self._folder / f"{name}-{kind.name}.pem"
        key_file = self._folder / f"{name}-{kind.name}.key"
        chain_file.write_bytes(pair.chain)
        key_file.write_bytes(_as_pss(pair.key) if kind is KeyKind.RSA_PSS else pair.key)
        return Identity(Credential.from_pem(pair.chain, pair.key), chain_file, key_file)


def wrong_one(wrong: str, identities: Identities, strangers: Identities) -> Identity:
    """A certificate with one thing wrong for whoever trusts `identities` and wants localhost: its name, CA, or time."""
    return {"name": identities.of(name=OTHER_NAME), "CA": strangers.of(), "time": identities.expired}[wrong]


def _as_pss(key: bytes) -> bytes:
    """An RSA key declared as id-RSASSA-PSS (RFC 5958 §2): OpenSSL wants key and certificate to be of one type."""
    (block,) = pem.blocks(key)
    content = block.der[4:]  # behind a header that says more than 255 bytes, as for every RSA key
    return pem.encode("PRIVATE KEY", der.element(der.SEQUENCE, content.replace(_RSA, _RSASSA_PSS, 1)))


_RSA: Final = bytes.fromhex("300d06092a864886f70d0101010500")
_RSASSA_PSS: Final = bytes.fromhex("300b06092a864886f70d01010a")
