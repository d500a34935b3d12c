"""Whom we trust: sets of roots, and the rules for what they vouch for. The rules of the web are the usual ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import overload

import cryptography.x509 as pyca

from ..crypto.keys import DER
from ..errors import ConfigError, TLSError, from_fault
from ..rules import PeerFault
from .certificates import Certificate, certificates_from
from .combine import Check, Policy, Verifier
from .diagnose import diagnose
from .path import PathRefused, check_leaf, check_size, find_path, worth_trying
from .presented import PresentedChain, Role, VerifiedPeer
from .private import find_private_path
from .profile import check_profile
from .roots import Anchors, FileRoots, GivenRoots, PemRoots, Source, SystemRoots, load

__all__ = [
    "Check",
    "Policy",
    "PresentedChain",
    "Private",
    "Role",
    "TrustStore",
    "VerifiedPeer",
    "Verifier",
    "check_leaf",
]


@dataclass(frozen=True, slots=True)
class TrustStore(Policy):
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
        return _verify(presented, self.sources, _find_web_path, web=True)

    @overload
    def __or__(self, other: TrustStore) -> TrustStore: ...

    @overload
    def __or__(self, other: Verifier) -> Policy: ...

    def __or__(self, other: Verifier) -> Policy:
        """The roots of both, for another store; else the first that accepts."""
        if not isinstance(other, TrustStore):
            return Policy.__or__(self, other)
        return TrustStore(tuple(dict.fromkeys((*self.sources, *other.sources))))


@dataclass(frozen=True, slots=True)
class Private(Policy):
    """A set of trusted roots, and the rules of RFC 5280 for what they vouch for. Made by `handclasp.private`."""

    roots: TrustStore

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(b"private " + self.roots.fingerprint).digest()

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        """Build and check a path to one of the roots. Raises CertificateError, or ConfigError without roots."""
        return _verify(presented, self.roots.sources, find_private_path, web=False)


def _verify(
    presented: PresentedChain,
    sources: tuple[Source, ...],
    find: Callable[[PresentedChain, Anchors], tuple[Certificate, ...]],
    *,
    web: bool,
) -> VerifiedPeer:
    anchors = load(sources)
    refused: TLSError
    try:
        check_size(presented.chain, presented.limits)
        try:
            path = find(presented, anchors)
        except PathRefused as caught:
            refusal = caught
        else:
            check_leaf(presented.leaf, presented.limits)
            return VerifiedPeer(path, _why(path, anchors.where))
        refused = diagnose(presented, anchors, refusal, web=web)
    except PeerFault as fault:
        refused = from_fault(fault, presented.chain)
    raise refused from None


def _find_web_path(presented: PresentedChain, anchors: Anchors) -> tuple[Certificate, ...]:
    """The library tells of the first path that it finds. Where we refuse that for a CA's certificate, it looks again
    without the certificate: a good one may have a twin, and which of them comes first is the peer's to say.
    """
    first: PathRefused | None = None
    while True:
        try:
            path = find_path(presented, anchors)
            check_profile(presented, path)
        except PathRefused as refusal:
            first = first or refusal
            fault = refusal.certificate
        else:
            return path
        if fault not in worth_trying(presented):
            raise first
        others = [certificate for certificate in presented.chain[1:] if certificate != fault]
        presented = replace(presented, chain=(presented.leaf, *others))


def _why(path: tuple[Certificate, ...], where: str) -> str:
    count = "trusted itself" if len(path) == 1 else f"{len(path)} certificates up to {path[-1].subject}"
    return f"{count}, from {where}"
