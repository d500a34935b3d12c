"""What a peer presented, and what became of it: the two values every verifier takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from ..limits import Limits
from .certificates import Certificate
from .names import PeerName
from .revocation.finding import Evidence


class Role(Enum):
    """Who presented a chain."""

    __hash__ = object.__hash__  # a member is alone in its kind; an enumeration's own is Python code

    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class PresentedChain:
    """A peer's certificates and what they must be good for.

    Raises ValueError for an empty chain, and for a moment without a time zone.
    """

    chain: tuple[Certificate, ...]
    """As the peer sent them, leaf first; nothing is checked yet but that each can be read."""
    role: Role
    """Who presented them."""
    name: PeerName | None
    """Whom we asked for; None for a client, which nobody asks for by name."""
    at: datetime
    """The moment to judge by; aware."""
    limits: Limits = field(default_factory=Limits)
    """How much work the chain may cost."""
    staples: tuple[bytes, ...] = field(default=(), repr=False)
    """OCSP responses that came with the certificates, DER, in their order; empty for one without, or none at all."""
    timestamps: tuple[bytes, ...] = field(default=(), repr=False)
    """Signed certificate timestamps that came beside the leaf, each as TLS carries it (RFC 6962 §3.3)."""
    proven: bool = True
    """The peer has proved that it owns the leaf's key; False where the proof comes last (RSA key transport, and
    sessions that go on)."""
    resumed: bool = False
    """A session goes on: this is the chain as it was verified at its full handshake, and nothing came stapled to it."""

    def __post_init__(self) -> None:
        if not self.chain:
            raise ValueError("a presented chain has at least one certificate")
        if self.at.tzinfo is None:
            raise ValueError("the moment to verify at needs a time zone: datetime.now(timezone.utc)")

    @property
    def leaf(self) -> Certificate:
        return self.chain[0]


@dataclass(frozen=True, slots=True)
class VerifiedPeer:
    """A verifier's yes."""

    chain: tuple[Certificate, ...]
    """Leaf to trust anchor, as verified; the leaf is the presented one."""
    why: str
    """The reason in one line."""
    revocation: Evidence | None = None
    """What spoke for the leaf not being revoked, where the verifier looks at that; see `Revocation`."""
