"""What a connection tells its application: events as they happen, and what was settled with the peer."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .errors import CertificateError
from .handshake.notices import ClientAuthenticated, EarlyDataRejected, KeysExpired, SessionDeclined, TicketReceived
from .handshake.questions import Question
from .handshake.script import Peer
from .identity.certificates import Certificate
from .identity.revocation.finding import Evidence
from .identity.trust import VerifiedPeer
from .trace import Chosen, Subject
from .wire.names import CipherSuite, NamedGroup, SignatureScheme, TLSVersion

T = TypeVar("T")


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


@dataclass(frozen=True, slots=True, repr=False)
class ConnectionInfo:
    """What the two peers settled, as far as they got; None where it is not settled, or does not apply."""

    choices: tuple[Chosen, ...]
    """Every choice with its reason, in the order they fell. All the rest but the peer's chain is read from them."""
    peer_certificates: tuple[Certificate, ...]
    """The peer's chain as it was sent, leaf first; kept when it was refused."""

    @property
    def version(self) -> TLSVersion | None:
        return self._value(Subject.VERSION, TLSVersion)

    @property
    def cipher_suite(self) -> CipherSuite | None:
        return self._value(Subject.CIPHER_SUITE, CipherSuite)

    @property
    def group(self) -> NamedGroup | None:
        return self._value(Subject.GROUP, NamedGroup)

    @property
    def signature_scheme(self) -> SignatureScheme | None:
        """What the server proved its certificate with."""
        return self._value(Subject.SIGNATURE_SCHEME, SignatureScheme)

    @property
    def client_signature_scheme(self) -> SignatureScheme | None:
        return self._value(Subject.CLIENT_SIGNATURE_SCHEME, SignatureScheme)

    @property
    def alpn(self) -> str | None:
        return self._value(Subject.ALPN, str)

    @property
    def server_name(self) -> str | None:
        """The name in server_name (SNI)."""
        return self._value(Subject.SERVER_NAME, str)

    @property
    def resumed(self) -> bool:
        return self._chosen(Subject.RESUMED) is not None

    @property
    def session_declined(self) -> str:
        """Why a session that was at hand was not resumed; empty when there was none, or it was."""
        return "" if self.resumed else self.why(Subject.SESSION_DECLINED)

    @property
    def psk(self) -> bytes | None:
        """The identity of the key known beforehand that the peers used."""
        return self._value(Subject.PSK, bytes)

    @property
    def early_data(self) -> bool | None:
        """Whether early data was taken; None when there was none."""
        return self._value(Subject.EARLY_DATA, bool)

    @property
    def keys_renewed(self) -> int:
        """How often our sending keys were renewed."""
        return self._value(Subject.KEYS, int) or 0

    @property
    def keys_expired(self) -> str:
        """Why keys had last had their time, and were renewed or ended the connection; empty where none had."""
        return self.why(Subject.KEYS_EXPIRED)

    @property
    def hello_retry(self) -> bool:
        return self._chosen(Subject.HELLO_RETRY) is not None

    @property
    def verified_chain(self) -> tuple[Certificate, ...]:
        """The chain as it was verified, from the leaf to the trusted root."""
        verdict = self._value(Subject.PEER, VerifiedPeer)
        return () if verdict is None else verdict.chain

    @property
    def revocation(self) -> Evidence | None:
        """What spoke for the peer's leaf not being revoked; None where nothing was looked at. `why` has the details."""
        return self._value(Subject.REVOCATION, Evidence)

    @property
    def client_error(self) -> CertificateError | None:
        """A server's: why the client's certificate was not accepted, where it goes on without: `ClientAuth.unverified`.

        The client is anonymous then; the chain it showed is here alone, as `client_error.peer_chain`.
        """
        return self._value(Subject.PEER, CertificateError)

    @property
    def certificate(self) -> Certificate | None:
        """Our own leaf, where we showed one."""
        return self._value(Subject.CREDENTIAL, Certificate) or self._value(Subject.CLIENT_CREDENTIAL, Certificate)

    def why(self, subject: Subject) -> str:
        """The reason for one choice; empty when there was none."""
        chosen = self._chosen(subject)
        return "" if chosen is None else chosen.why

    def _value(self, subject: Subject, kind: type[T]) -> T | None:
        chosen = self._chosen(subject)
        return chosen.value if chosen is not None and isinstance(chosen.value, kind) else None

    def _chosen(self, subject: Subject) -> Chosen | None:
        return next((chosen for chosen in self.choices if chosen.subject is subject), None)

    def __repr__(self) -> str:
        settled = ", ".join(f"{chosen.subject.value}={chosen.value!r}" for chosen in self.choices)
        return f"ConnectionInfo({settled})"


def info_of(peer: Peer) -> ConnectionInfo:
    """What a handshake has noted so far."""
    return ConnectionInfo(tuple(peer.notes.values()), peer.chain)
