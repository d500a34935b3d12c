"""A session: what two peers keep of a handshake so that the next one can be short (RFC 8446 §2.2, RFC 5246 §7.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, NoReturn

from ..crypto.hashing import hkdf_expand_label
from ..crypto.secret import Secret
from ..crypto.suites import Suite
from ..identity.certificates import Certificate
from ..rules import PeerFault
from ..wire.codec import code, decode, encode, opaque, struct, uint, vector
from ..wire.names import CipherSuite, TLSVersion
from .clock import milliseconds, moment

SKEW = timedelta(minutes=1)
"""How far the clocks of machines that share sessions may be apart."""

U16 = (1 << 16) - 1
U24 = (1 << 24) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is remembered. It holds a secret: whoever has it can resume in its owner's place."""

    version: TLSVersion
    suite: CipherSuite
    secret: Secret = field(repr=False)
    """The pre-shared key of TLS 1.3, the master secret of TLS 1.2."""
    extended: bool = True
    """Whether the secret is bound to its handshake (RFC 7627); TLS 1.3 knows no other."""
    server_name: str
    """The name the session is for; empty when none was sent."""
    alpn: str
    """The application protocol that was settled; empty for none."""
    policy: bytes
    """What the configuration demanded of the peer, as a fingerprint: under other demands, no resumption."""
    created: datetime
    """When this ticket was made, or came."""
    authenticated: datetime
    """When the peers last shook hands in full: resuming a session does not make it younger."""
    expires: datetime
    """When it may no longer be resumed, whatever else holds."""
    age_add: int = 0
    """What hides the age of a TLS 1.3 ticket from onlookers (RFC 8446 §4.6.1), 32 bits."""
    max_early_data: int = 0
    """Most early data in bytes that the session may be resumed with; 0 for none."""
    verified_chain: tuple[Certificate, ...] = ()
    """The peer's chain as it was verified; empty for a client that showed none."""

    def outdated(self, now: datetime, lifetime: timedelta) -> str:
        """Why it may no longer be used: it is too old, or a certificate it rests on is. Empty while it may."""
        if None in (self.created.utcoffset(), self.authenticated.utcoffset(), self.expires.utcoffset()):
            return "the session's times are of no zone: nobody knows how old it is"
        if max(self.created, self.authenticated) > now + SKEW:
            return "the session is from the future: a clock was set back"
        if now >= min(self.expires, self.authenticated + lifetime):
            return f"the session has expired: its full handshake was at {self.authenticated:%Y-%m-%d %H:%M:%S} UTC"
        if not all(c.not_before <= now <= c.not_after for c in self.verified_chain):
            return "a certificate that the session rests on is out of date by now"
        return ""

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
                milliseconds(self.created),
                milliseconds(self.authenticated),
                milliseconds(self.expires),
                self.age_add,
                self.max_early_data,
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
        if state.extended > 1:
            raise ValueError("not a session: what is yes or no is neither")
        return cls(
            version=state.version,
            suite=state.suite,
            secret=Secret(state.secret),
            extended=bool(state.extended),
            server_name=state.server_name.decode("latin-1"),
            alpn=state.alpn.decode("latin-1"),
            policy=state.policy,
            created=moment(state.created),
            authenticated=moment(state.authenticated),
            expires=moment(state.expires),
            age_add=state.age_add,
            max_early_data=state.max_early_data,
            verified_chain=tuple(Certificate.from_der(der) for der in state.verified_chain),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumable:
    """What sessions are made from once a TLS 1.3 handshake is finished: one for each ticket."""

    suite: Suite
    secret: Secret = field(repr=False)
    """resumption_main_secret."""
    policy: bytes
    server_name: str
    alpn: str
    authenticated: datetime
    verified_chain: tuple[Certificate, ...]

    def session(self, nonce: bytes, now: datetime, expires: datetime, age_add: int, max_early_data: int) -> Session:
        """The session of one ticket, RFC 8446 §4.6.1."""
        hash_ = self.suite.hash
        return Session(
            version=TLSVersion.TLS_1_3,
            suite=self.suite.code,
            secret=Secret(hkdf_expand_label(hash_, self.secret.reveal(), b"resumption", nonce, hash_.size)),
            server_name=self.server_name,
            alpn=self.alpn,
            policy=self.policy,
            created=now,
            authenticated=self.authenticated,
            expires=expires,
            age_add=age_add,
            max_early_data=max_early_data,
            verified_chain=self.verified_chain,
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
    """Moments are in milliseconds since 1970: the age of a ticket is told in them."""
    authenticated: Annotated[int, uint(8)]
    expires: Annotated[int, uint(8)]
    age_add: Annotated[int, uint(4)]
    max_early_data: Annotated[int, uint(4)]
    verified_chain: Annotated[tuple[bytes, ...], vector(opaque(1, U24), 0, U24)]


_STATE = struct(_State)
