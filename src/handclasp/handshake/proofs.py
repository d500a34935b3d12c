"""Proofs are values: each check of the handshake returns one, and nothing is established without all three."""

from __future__ import annotations

from dataclasses import dataclass, field

from .. import rules
from ..channel.schedule import ExporterSecret, TrafficSecret
from ..crypto import signatures
from ..crypto.secret import Secret
from ..crypto.suites import Suite
from ..identity.certificates import Certificate
from ..identity.trust import VerifiedPeer
from ..rules import require
from ..wire.messages import CertificateVerify, Finished
from ..wire.names import SignatureScheme, TLSVersion

SERVER_CONTEXT = b"TLS 1.3, server CertificateVerify"
CLIENT_CONTEXT = b"TLS 1.3, client CertificateVerify"


@dataclass(frozen=True, slots=True)
class Identity:
    """A verifier accepted the peer's certificate."""

    peer: VerifiedPeer


@dataclass(frozen=True, slots=True)
class Possession:
    """The peer proved that it owns the key of its certificate."""

    certificate: Certificate
    scheme: SignatureScheme


@dataclass(frozen=True, slots=True)
class Anonymous:
    """The peer was not asked who it is, or was free not to say: a server's view of a client without a certificate."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The peer's Finished matched: both sides hold the same keys and saw the same messages."""

    transcript_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Established:
    """A finished handshake, and what lives on after it."""

    identity: Identity | Anonymous
    possession: Possession | Anonymous
    agreement: Agreement
    version: TLSVersion
    suite: Suite
    read_secret: TrafficSecret
    exporter: ExporterSecret = field(repr=False)
    resumption: Secret = field(repr=False)
    server_certificate: Certificate | None
    """For the binding tls-server-end-point: the server's, whichever side we are."""

    def __post_init__(self) -> None:
        named = isinstance(self.identity, Identity) and isinstance(self.possession, Possession)
        nameless = isinstance(self.identity, Anonymous) and isinstance(self.possession, Anonymous)
        if not (named or nameless) or not isinstance(self.agreement, Agreement):
            raise TypeError("a connection is established by an identity, its possession, and an agreement")
        if (
            isinstance(self.identity, Identity)
            and isinstance(self.possession, Possession)
            and self.identity.peer.chain[:1] != (self.possession.certificate,)
        ):
            raise TypeError("the certificate that was verified is not the one whose key was proved")


def signed_content(context: bytes, transcript_hash: bytes) -> bytes:
    """What CertificateVerify signs, RFC 8446 §4.4.3."""
    return b" " * 64 + context + b"\0" + transcript_hash


def check_signature(
    certificate: Certificate,
    verify: CertificateVerify,
    offered: tuple[SignatureScheme, ...],
    context: bytes,
    transcript_hash: bytes,
) -> Possession:
    """RFC 8446 §4.4.3. Raises PeerFault."""
    scheme, kind = verify.algorithm, certificate.key_kind
    require(scheme in offered, rules.SIGNATURE_SCHEME_NOT_OFFERED, str(scheme))
    require(kind is not None and signatures.fits(scheme, kind), rules.SIGNATURE_SCHEME_KEY, str(scheme))
    content = signed_content(context, transcript_hash)
    good = signatures.verify(certificate.public_key, kind, scheme, verify.signature, content)
    require(good, rules.SIGNATURE)
    return Possession(certificate, scheme)


def check_finished(finished: Finished, secret: TrafficSecret, transcript_hash: bytes) -> Agreement:
    """RFC 8446 §4.4.4. Raises PeerFault."""
    require(secret.confirms(finished.verify_data, transcript_hash), rules.FINISHED)
    return Agreement(transcript_hash)
