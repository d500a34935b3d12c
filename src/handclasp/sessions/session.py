"""A session: what two peers keep of a handshake so that the next one can be short (RFC 5246 §7.3, RFC 5077)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, NoReturn

from ..crypto.secret import Secret
from ..identity.certificates import Certificate
from ..rules import PeerFault
from ..wire.codec import code, decode, encode, opaque, struct, uint, vector
from ..wire.names import CipherSuite, TLSVersion

U16 = (1 << 16) - 1
U24 = (1 << 24) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is remembered. It holds a secret: whoever has it can resume in its owner's place."""

    version: TLSVersion
    suite: CipherSuite
    secret: Secret = field(repr=False)
    extended: bool
    """Whether the secret is bound to its handshake (RFC 7627)."""
    server_name: str
    """The name the session is for; empty when none was sent."""
    alpn: str
    """The application protocol that was settled; empty for none."""
    policy: bytes
    """What the configuration demanded of the peer, as a fingerprint: under other demands, no resumption."""
    created: datetime
    verified_chain: tuple[Certificate, ...]
    """The peer's chain as it was verified; empty for a client that showed none."""

    def fresh(self, now: datetime, lifetime: timedelta) -> bool:
        """Whether it may still be used: neither too old, nor is a certificate it rests on out of date by now."""
        certificates = all(c.not_before <= now <= c.not_after for c in self.verified_chain)
        return self.created <= now < self.created + lifetime and certificates

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session holds a secret: keep it with to_bytes")

    def to_bytes(self) -> bytes:
        """The session with its secret, for a store that keeps secrets. Read it back with `from_bytes`."""
        return encode(
            _STATE,
            _State(
                self.version,
                self.suite,
                self.secret.reveal(),
                int(self.extended),
                self.server_name.encode("latin-1"),
                self.alpn.encode("latin-1"),
                self.policy,
                int(self.created.timestamp()),
                tuple(certificate.der for certificate in self.verified_chain),
            ),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Session:
        """Raises ValueError for bytes that are not a session."""
        try:
            state = decode(_STATE, data)
        except PeerFault as fault:
            raise ValueError(f"not a session: {fault.rule.sentence}") from None
        return cls(
            version=state.version,
            suite=state.suite,
            secret=Secret(state.secret),
            extended=bool(state.extended),
            server_name=state.server_name.decode("latin-1"),
            alpn=state.alpn.decode("latin-1"),
            policy=state.policy,
            created=datetime.fromtimestamp(min(state.created, _LAST_SECOND), UTC),
            verified_chain=tuple(Certificate.from_der(der) for der in state.verified_chain),
        )


@dataclass(frozen=True, slots=True)
class _State:
    """The bytes of a session. The version comes first, so that later forms can be told apart."""

    version: Annotated[TLSVersion, code(TLSVersion)]
    suite: Annotated[CipherSuite, code(CipherSuite)]
    secret: Annotated[bytes, opaque(1, 255)] = field(repr=False)
    extended: Annotated[int, uint(1)]
    server_name: Annotated[bytes, opaque(0, 255)]
    alpn: Annotated[bytes, opaque(0, 255)]
    policy: Annotated[bytes, opaque(0, 255)]
    created: Annotated[int, uint(8)]
    verified_chain: Annotated[tuple[bytes, ...], vector(opaque(1, U24), 0, U24)]


_STATE = struct(_State)
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999, the last a datetime can hold."""
