"""What a connection tells its application: events as they happen, and what was settled with the peer."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

from .errors import CertificateError
from .handshake.notices import ClientAuthenticated, EarlyDataRejected, KeysExpired, SessionDeclined, TicketReceived
from .handshake.script import Peer, Question
from .identity.certificates import Certificate
from .identity.revocation.finding import Evidence
from .identity.trust import VerifiedPeer
from .trace import Chosen, Subject
from .wire.names import CipherSuite, NamedGroup, SignatureScheme, TLSVersion


@dataclass(frozen=True, slots=True)
class HandshakeComplete:
    """Keys are agreed, the peer is who it should be: data may flow."""

    info: ConnectionInfo


@dataclass(frozen=True, slots=True)
class Data:
    """Application data from the peer, in order."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was not answered at once: find the value, then call `conn.answer(question, value)`.

    Answer with an exception to refuse.
    """

    question: Question[Any]
    pending: Awaitable[Any] | None = field(default=None, repr=False, compare=False)
    """Await this for the value; None where `question.put()` gives it, and may block or give an awaitable."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer sends no more. `clean` says that it said so with close_notify; if not, data may be missing."""

    clean: bool


@dataclass(frozen=True, slots=True)
class EarlyDataReceived:
    """Early data from a client: sent before the handshake was done, without forward secrecy, perhaps not for the first
    time (RFC 8446 §2.3). It comes before `HandshakeComplete`."""

    data: bytes


Event = (
    HandshakeComplete
    | Data
    | Asked
    | Closed
    | EarlyDataReceived
    | EarlyDataRejected
    | TicketReceived
    | SessionDeclined
    | KeysExpired
    | ClientAuthenticated
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """What the two peers settled, as far as they got; None where it is not settled, or does not apply."""

    version: TLSVersion | None
    cipher_suite: CipherSuite | None
    group: NamedGroup | None
    signature_scheme: SignatureScheme | None
    """What the server proved its certificate with."""
    client_signature_scheme: SignatureScheme | None
    alpn: str | None
    server_name: str | None
    """The name in server_name (SNI)."""
    resumed: bool
    session_declined: str
    """Why a session that was at hand was not resumed; empty when there was none, or it was."""
    psk: bytes | None
    """The identity of the key known beforehand that the peers used."""
    early_data: bool | None
    """Whether early data was taken; None when there was none."""
    keys_renewed: int
    """How often our sending keys were renewed."""
    keys_expired: str
    """Why keys had last had their time, and were renewed or ended the connection; empty where none had."""
    hello_retry: bool
    peer_certificates: tuple[Certificate, ...]
    """The peer's chain as it was sent, leaf first; kept when it was refused."""
    verified_chain: tuple[Certificate, ...]
    """The chain as it was verified, from the leaf to the trusted root."""
    revocation: Evidence | None
    """What spoke for the peer's leaf not being revoked; None where nothing was looked at. `why` has the details."""
    client_error: CertificateError | None
    """A server's: why the client's certificate was not accepted, where it goes on without (`ClientAuth.unverified`).

    The client is anonymous then; the chain it showed is here alone, as `client_error.peer_chain`.
    """
    certificate: Certificate | None
    """Our own leaf, where we showed one."""
    choices: tuple[Chosen, ...]
    """Every choice with its reason, in the order they fell."""

    def why(self, subject: Subject) -> str:
        """The reason for one choice; empty when there was none."""
        return next((chosen.why for chosen in self.choices if chosen.subject is subject), "")


def info_of(peer: Peer) -> ConnectionInfo:
    """What a handshake has noted so far."""
    taken: dict[Subject, Any] = {subject: chosen.value for subject, chosen in peer.notes.items()}
    declined = peer.notes.get(Subject.SESSION_DECLINED)
    expired = peer.notes.get(Subject.KEYS_EXPIRED)
    verdict = taken.get(Subject.PEER)
    return ConnectionInfo(
        version=taken.get(Subject.VERSION),
        cipher_suite=taken.get(Subject.CIPHER_SUITE),
        group=taken.get(Subject.GROUP),
        signature_scheme=taken.get(Subject.SIGNATURE_SCHEME),
        client_signature_scheme=taken.get(Subject.CLIENT_SIGNATURE_SCHEME),
        alpn=taken.get(Subject.ALPN),
        server_name=taken.get(Subject.SERVER_NAME),
        resumed=Subject.RESUMED in taken,
        session_declined=declined.why if declined is not None and Subject.RESUMED not in taken else "",
        psk=taken.get(Subject.PSK),
        early_data=taken.get(Subject.EARLY_DATA),
        keys_renewed=taken.get(Subject.KEYS, 0),
        keys_expired=expired.why if expired is not None else "",
        hello_retry=Subject.HELLO_RETRY in taken,
        peer_certificates=peer.chain,
        verified_chain=verdict.chain if isinstance(verdict, VerifiedPeer) else (),
        revocation=taken.get(Subject.REVOCATION),
        client_error=verdict if isinstance(verdict, CertificateError) else None,
        certificate=taken.get(Subject.CREDENTIAL) or taken.get(Subject.CLIENT_CREDENTIAL),
        choices=tuple(peer.notes.values()),
    )
