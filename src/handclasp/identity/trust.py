"""Whom we trust: the verifier protocol, and the trust store that is the usual one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Protocol

import cryptography.x509 as pyca

from ..crypto.keys import DER
from ..errors import ConfigError, TLSError, from_fault
from ..rules import PeerFault
from .certificates import Certificate, certificates_from
from .diagnose import diagnose
from .path import PathRefused, check_leaf, check_size, find_path
from .presented import PresentedChain, Role, VerifiedPeer
from .roots import FileRoots, GivenRoots, PemRoots, Source, SystemRoots, load

__all__ = ["PresentedChain", "Role", "TrustStore", "VerifiedPeer", "Verifier", "check_leaf"]


class Verifier(Protocol):
    """Decides whether a peer is who it should be."""

    def verify(self, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        """Say yes with a `VerifiedPeer` whose chain begins with the presented leaf, or raise CertificateError.

        May return an awaitable, where the connection's adapter can wait. Any other exception refuses the connection.
        A verifier that waits for something itself says `blocking = True`: it is then called where that holds up nobody.
        """
        ...


@dataclass(frozen=True, slots=True)
class TrustStore:
    """A set of trusted roots, and the rules of the web for what they vouch for. A `Verifier`.

    Made without reading anything; sources are read when first needed and remembered for the life of the process.
    Immutable, comparable, hashable, safe between threads. `a | b` trusts the roots of both.
    """

    sources: tuple[Source, ...]

    @classmethod
    def system(cls) -> TrustStore:
        """What this system trusts: the files SSL_CERT_FILE and SSL_CERT_DIR name when set, else the distribution's."""
        return cls((SystemRoots(),))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> TrustStore:
        """A file of PEM certificates, or one in DER, or a directory of such files."""
        return cls((FileRoots(os.fspath(path)),))

    @classmethod
    def from_pem(cls, data: bytes) -> TrustStore:
        """PEM certificates, or one in DER, in memory."""
        return cls((PemRoots(bytes(data)),))

    @classmethod
    def from_certificates(cls, certificates: Iterable[pyca.Certificate | Certificate]) -> TrustStore:
        """Certificates as objects. Raises ConfigError for one that cannot be read, or for none."""
        given = tuple(
            c if isinstance(c, Certificate) else certificates_from(c.public_bytes(DER))[0] for c in certificates
        )
        if not given:
            raise ConfigError("a trust store of no certificates trusts nobody", code="no-roots")
        return cls((GivenRoots(given),))

    @property
    def fingerprint(self) -> bytes:
        """What tells this store from another: a session that was verified by one is not resumed under the other."""
        return hashlib.sha256(b"\0".join(source.identity for source in self.sources)).digest()

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The roots. Reads them when nobody has yet. Raises ConfigError when there is none or a file cannot be read."""
        return load(self.sources).certificates

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        """Build and check a path to one of the roots. Raises CertificateError, or ConfigError without roots."""
        anchors = load(self.sources)
        refused: TLSError
        try:
            check_size(presented.chain, presented.limits)
            try:
                path = find_path(presented, anchors)
            except PathRefused as refusal:
                reason = str(refusal)
            else:
                check_leaf(presented.leaf, presented.limits)
                return VerifiedPeer(path, _why(path, anchors.where))
            refused = diagnose(presented, anchors, reason)
        except PeerFault as fault:
            refused = from_fault(fault, presented.chain)
        raise refused from None

    def __or__(self, other: TrustStore) -> TrustStore:
        if not isinstance(other, TrustStore):
            return NotImplemented
        return TrustStore(tuple(dict.fromkeys((*self.sources, *other.sources))))


def _why(path: tuple[Certificate, ...], where: str) -> str:
    count = "trusted itself" if len(path) == 1 else f"{len(path)} certificates up to {path[-1].subject}"
    return f"{count}, from {where}"
