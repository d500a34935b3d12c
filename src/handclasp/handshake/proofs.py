"""Proofs are values: each check of the handshake returns one, and nothing is established without all three."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from .. import rules
from ..channel.schedule import TrafficSecret
from ..config import ClientConfig, Config, ServerConfig
from ..crypto.hashing import same
from ..crypto.suites import Suite
from ..identity.certificates import Certificate
from ..identity.trust import VerifiedPeer
from ..rules import require
from ..sessions.session import Resumable
from ..wire.messages import Finished
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
    scheme: SignatureScheme | None
    """What it signed with; None in RSA key transport, where its Finished shows that it could decrypt."""


@dataclass(frozen=True, slots=True)
class Anonymous:
    """The peer was not asked who it is, or was free not to say: a server's view of a client without a certificate."""


@dataclass(frozen=True, slots=True)
class SharedKey:
    """The peer is whoever else has this key: its name, as both knew it beforehand."""

    identity: bytes


Proofs = tuple[Identity, Possession] | tuple[Anonymous, Anonymous] | tuple[SharedKey, SharedKey]
"""Who the peer is, and how it proved it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The peer's Finished matched: both sides hold the same keys and saw the same messages."""

    transcript_hash: bytes


class Exporter(Protocol):
    """What key material for other protocols is derived from."""

    def export(self, label: bytes, context: bytes | None, length: int) -> bytes:
        """RFC 8446 §7.5, RFC 5705 §4."""
        ...


@dataclass(frozen=True, slots=True)
class TicketIssuer:
    """What a server makes its tickets from."""

    config: ServerConfig = field(repr=False)
    resumable: Resumable
    numbers: Iterator[int] = field(default_factory=count, repr=False)
    """A nonce for each ticket: two of one connection never hold the same key."""


@dataclass(frozen=True, slots=True)
class TicketKeeper:
    """What a client makes of the tickets it is given."""

    config: ClientConfig = field(repr=False)
    name: str
    """The name the sessions are kept under."""
    resumable: Resumable


@dataclass(frozen=True, slots=True, kw_only=True)
class Established:
    """A finished handshake, and what lives on after it."""

    identity: Identity | Anonymous | SharedKey
    possession: Possession | Anonymous | SharedKey
    agreement: Agreement
    version: TLSVersion
    suite: Suite
    exporter: Exporter = field(repr=False)
    read_secret: TrafficSecret | None = None
    """What the peer's next keys follow from; None in TLS 1.2, which cannot change keys."""
    issuer: TicketIssuer | None = field(default=None, repr=False)
    """What a server makes tickets from; None where there are to be none."""
    keeper: TicketKeeper | None = field(default=None, repr=False)
    """What a client makes of tickets; None where it keeps none."""
    later: Config | None = field(default=None, repr=False)
    """The configuration, where a client may be asked for a certificate after the handshake; None where it may not."""
    server_certificate: Certificate | None
    """For the binding tls-server-end-point: the server's, whichever side we are."""
    unique: bytes | None = None
    """For the binding tls-unique: the first Finished, where the extended master secret makes it unique (RFC 7627)."""

    def __post_init__(self) -> None:
        named = isinstance(self.identity, Identity) and isinstance(self.possession, Possession)
        nameless = isinstance(self.identity, Anonymous) and isinstance(self.possession, Anonymous)
        keyed = isinstance(self.identity, SharedKey) and self.identity == self.possession
        if not (named or nameless or keyed) or not isinstance(self.agreement, Agreement):
            raise TypeError("a connection is established by an identity, its possession, and an agreement")
        if (
            isinstance(self.identity, Identity)
            and isinstance(self.possession, Possession)
            and self.identity.peer.chain[:1] != (self.possession.certificate,)
        ):
            raise TypeError("the certificate that was verified is not the one whose key was proved")


def later_of(
    config: Config, identity: Identity | Anonymous | SharedKey, protocol: object, *, offered: bool
) -> Config | None:
    """Whether a client may be asked for a certificate after the handshake: not where a key known beforehand has
    authenticated it (RFC 8446 §4.3.2), nor in HTTP/2 (RFC 8740 §2).
    """
    return config if offered and not isinstance(identity, SharedKey) and protocol != "h2" else None


def signed_content(context: bytes, transcript_hash: bytes) -> bytes:
    """What CertificateVerify signs in TLS 1.3, RFC 8446 §4.4.3."""
    return b" " * 64 + context + b"\0" + transcript_hash


def check_finished(finished: Finished, verify_data: bytes, transcript_hash: bytes) -> Agreement:
    """`verify_data` is what it has to be: RFC 8446 §4.4.4, RFC 5246 §7.4.9. Raises PeerFault."""
    require(same(verify_data, finished.verify_data), rules.FINISHED)
    return Agreement(transcript_hash)
