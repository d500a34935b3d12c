"""What a handshake script can say, and the other side as it sees it.

A script is an `async def` without an event loop: one linear text per role and version. It awaits two verbs, `receive`
a message and `ask` a question, and calls `send`, `read_with` and `write_with`. Whoever drives it (`connection.py`)
answers each await in turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import coroutine
from typing import Any, Generic, TypeVar, overload

from ..alerts import Alert, AlertLevel
from ..channel.inbound import ChangeCipherSpecs, Inbound
from ..channel.outbound import Outbound
from ..channel.protection import Keys
from ..channel.schedule import TrafficSecret
from ..channel.transcript import Transcript
from ..config import ServerConfig
from ..errors import CallbackError, TLSError
from ..identity.certificates import Certificate
from ..identity.credentials import Credential, CredentialChooser, CredentialRequest, CredentialSource, Signer
from ..identity.revocation.policy import Checked, Revocation
from ..identity.revocation.staples import StapleSource
from ..identity.trust import PresentedChain, VerifiedPeer, Verifier
from ..keylog import KeyLog, key_log_line
from ..limits import MAX_RESPONSE
from ..rules import MESSAGE_UNEXPECTED, PeerFault
from ..trace import Chosen, DataMoved, Direction, Epoch, KeysChanged, Subject, Trace
from ..wire.messages import ClientHello, HandshakeMessage
from ..wire.names import HandshakeType, SignatureScheme
from ..wire.records import ChangeCipherSpec
from .notices import Notice
from .wishes import RequestCertificate, SendTickets, Wish

T = TypeVar("T")
A = TypeVar("A", bound=HandshakeMessage)
B = TypeVar("B", bound=HandshakeMessage)
C = TypeVar("C", bound=HandshakeMessage)


@dataclass(frozen=True, slots=True)
class Receive:
    """The script waits for one of these messages."""

    types: tuple[type[HandshakeMessage] | type[ChangeCipherSpec], ...]
    wishes: bool = False
    """Whether this is a moment for what the application wishes."""
    by_type: Mapping[HandshakeType, tuple[type[HandshakeMessage], ...]] = field(default_factory=dict)
    """The same types by their number: ServerHello and HelloRetryRequest share one."""

    def unexpected(self, type_: HandshakeType) -> PeerFault:
        """Another message came."""
        due = " or ".join(cls.__name__ for cls in self.types)
        return PeerFault(MESSAGE_UNEXPECTED, f"{type_} where {due} was due")


Awaited = tuple[type[HandshakeMessage] | type[ChangeCipherSpec], ...]


@cache  # the scripts have few combinations
def _receive(types: Awaited, *, wishes: bool = False) -> Receive:
    by_type: dict[HandshakeType, tuple[type[HandshakeMessage], ...]] = {}
    for cls in types:
        if issubclass(cls, HandshakeMessage):
            by_type[cls.type] = (*by_type.get(cls.type, ()), cls)
    return Receive(types, wishes, by_type)


class Question(Generic[T]):
    """Something only the world outside can answer. The configuration answers at once or, with an awaitable, later."""

    __slots__ = ()

    @property
    def blocking(self) -> bool:
        """Whether `put` may take its time: it is then left to whoever drives the connection, where it may wait."""
        return False

    def answer(self) -> T | Awaitable[T]:
        """Ask whoever the configuration names."""
        raise NotImplementedError

    def check(self, value: object) -> T:
        """The answer, if it is one. Raises CallbackError."""
        raise NotImplementedError

    def put(self) -> T | Awaitable[T]:
        """Ask; any failure of whoever was asked refuses the connection. Raises TLSError."""
        try:
            return self.answer()
        except TLSError:
            raise
        except Exception as error:
            raise CallbackError(f"{type(self).__name__} failed: {type(error).__name__}") from error


def blocks(asked: object) -> bool:
    """Whether something that answers says of itself, with an attribute `blocking`, that it may take its time."""
    return getattr(asked, "blocking", False) is True


@dataclass(frozen=True, slots=True)
class Sign(Question[bytes]):
    """Sign `data` with the credential's key."""

    credential: Credential
    scheme: SignatureScheme
    data: bytes = field(repr=False)

    @property
    def blocking(self) -> bool:
        return blocks(self.credential.signer)

    def answer(self) -> bytes | Awaitable[bytes]:
        signer: Signer = self.credential.signer
        return signer.sign(self.scheme, self.data)

    def check(self, value: object) -> bytes:
        if not isinstance(value, bytes) or not 1 <= len(value) <= 0xFFFF:
            raise CallbackError(f"the signer returned {type(value).__name__}, not a signature")
        return value


@dataclass(frozen=True, slots=True)
class Decrypt(Question[bytes]):
    """Decrypt a premaster secret with the credential's key (RSA key transport)."""

    credential: Credential
    encrypted: bytes = field(repr=False)

    @property
    def blocking(self) -> bool:
        return blocks(self.credential.signer)

    def answer(self) -> bytes | Awaitable[bytes]:
        return self.credential.decrypt(self.encrypted)

    def check(self, value: object) -> bytes:
        if not isinstance(value, bytes):
            raise CallbackError(f"the signer decrypted to {type(value).__name__}, not bytes")
        return value


@dataclass(frozen=True, slots=True)
class VerifyPeer(Question[VerifiedPeer]):
    """Is this certificate good?"""

    verifier: Verifier = field(repr=False)
    presented: PresentedChain

    @property
    def blocking(self) -> bool:
        return blocks(self.verifier)

    def answer(self) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        return self.verifier.verify(self.presented)

    def check(self, value: object) -> VerifiedPeer:
        if not isinstance(value, VerifiedPeer) or value.chain[:1] != self.presented.chain[:1]:
            raise CallbackError(f"the verifier returned {type(value).__name__}, not a verdict on this certificate")
        return value


@dataclass(frozen=True, slots=True)
class CheckRevocation(Question[Checked]):
    """Do those who issued these certificates still stand by them?"""

    policy: Revocation = field(repr=False)
    presented: PresentedChain
    verified: VerifiedPeer

    @property
    def blocking(self) -> bool:
        return blocks(self.policy)

    def answer(self) -> Checked | Awaitable[Checked]:
        return self.policy.check(self.presented, self.verified)

    def check(self, value: object) -> Checked:
        if not isinstance(value, Checked):
            raise CallbackError(f"the revocation policy returned {type(value).__name__}, not a verdict")
        return value


@dataclass(frozen=True, slots=True)
class FindStaple(Question[bytes | None]):
    """Which OCSP response goes with our certificate?"""

    source: StapleSource

    @property
    def blocking(self) -> bool:
        return blocks(self.source)

    def answer(self) -> bytes | Awaitable[bytes | None] | None:
        return self.source.staple()

    def check(self, value: object) -> bytes | None:
        if value is not None and not (isinstance(value, bytes) and 0 < len(value) <= MAX_RESPONSE):
            raise CallbackError(f"the staple source returned {type(value).__name__}, not an OCSP response")
        return value


@dataclass(frozen=True, slots=True)
class ChooseConfig(Question[ServerConfig]):
    """Which configuration answers this ClientHello?"""

    choose: Callable[[ClientHello], ServerConfig | Awaitable[ServerConfig]] = field(repr=False)
    hello: ClientHello

    @property
    def blocking(self) -> bool:
        return blocks(self.choose)

    def answer(self) -> ServerConfig | Awaitable[ServerConfig]:
        return self.choose(self.hello)

    def check(self, value: object) -> ServerConfig:
        if not isinstance(value, ServerConfig):
            raise CallbackError(f"choose returned {type(value).__name__}, not a ServerConfig")
        return value


@dataclass(frozen=True, slots=True)
class FindCredentials(Question[tuple[Credential, ...]]):
    """Which credentials are there for this ClientHello?"""

    source: CredentialSource = field(repr=False)
    hello: ClientHello

    @property
    def blocking(self) -> bool:
        return blocks(self.source)

    def answer(self) -> Any:
        return self.source.credentials(self.hello)

    def check(self, value: object) -> tuple[Credential, ...]:
        listed = tuple(value) if isinstance(value, Sequence) else None
        if listed is None or not all(isinstance(credential, Credential) for credential in listed):
            raise CallbackError(f"the source of credentials returned {type(value).__name__}, not a list of them")
        return listed


@dataclass(frozen=True, slots=True)
class ChooseCredential(Question[Credential | None]):
    """Which certificate do we show to this server, if any?"""

    choose: CredentialChooser = field(repr=False)
    request: CredentialRequest

    @property
    def blocking(self) -> bool:
        return blocks(self.choose)

    def answer(self) -> Credential | Awaitable[Credential | None] | None:
        return self.choose(self.request)

    def check(self, value: object) -> Credential | None:
        if value is not None and not isinstance(value, Credential):
            raise CallbackError(f"credentials returned {type(value).__name__}, neither a Credential nor None")
        return value


@dataclass(frozen=True, slots=True)
class Consult(Question[T]):
    """Ask a store that the configuration names. Its kinds below say what for."""

    store: object = field(repr=False)
    call: Callable[[], T | Awaitable[T]] = field(repr=False)
    kinds: tuple[type, ...]
    """What the answer may be."""

    @property
    def blocking(self) -> bool:
        return blocks(self.store)

    def answer(self) -> T | Awaitable[T]:
        return self.call()

    def check(self, value: object) -> T:
        if not isinstance(value, self.kinds):
            raise CallbackError(f"{type(self).__name__} gave {type(value).__name__}")
        fitting: T = value  # type: ignore[assignment] # the kinds are those of T
        return fitting


class FindSession(Consult[T]):
    """Is there a session for this server, of this id, in this ticket?"""

    __slots__ = ()


class KeepSession(Consult[T]):
    """Remember a session, or seal it into a ticket."""

    __slots__ = ()


class FindPsk(Consult[T]):
    """Which key has this identity?"""

    __slots__ = ()


class ClaimEarlyData(Consult[T]):
    """Is this the first time that this ClientHello is seen, on all machines?"""

    __slots__ = ()


Want = Receive | Question[Any]
Script = Coroutine[Want, Any, T]


@coroutine
def _suspend(want: Want) -> Generator[Want, Any, Any]:
    return (yield want)


class Peer:
    """The other side, as a script sees it: what can be said to it, heard from it, and noted about it."""

    __slots__ = (
        "_inbound",
        "_keylog",
        "_outbound",
        "_trace",
        "answers_early",
        "chain",
        "client_random",
        "notes",
        "notices",
        "received",
        "transcript",
        "update_pending",
    )

    def __init__(self, inbound: Inbound, outbound: Outbound, keylog: KeyLog | None, trace: Trace | None) -> None:
        self._inbound = inbound
        self._outbound = outbound
        self._keylog = keylog
        self._trace = trace
        self.transcript = Transcript()
        self.client_random = b""
        self.chain: tuple[Certificate, ...] = ()
        """The certificates the peer presented, before any verdict."""
        self.notes: dict[Subject, Chosen] = {}
        """What was settled so far, and why."""
        self.notices: list[Notice] = []
        """What the application has yet to hear."""
        self.received = b""
        """The last message as it came."""
        self.answers_early = False
        """True once a server that takes early data has sent its Finished: it may answer (RFC 8446 §4.4.4)."""
        self.update_pending = False
        """True while a KeyUpdate of ours waits to be sent: another would say nothing new."""

    # --- heard ---

    @overload
    async def receive(self, first: type[A], /) -> A: ...

    @overload
    async def receive(self, first: type[A], second: type[B], /) -> A | B: ...

    @overload
    async def receive(self, first: type[A], second: type[B], third: type[C], /) -> A | B | C: ...

    async def receive(self, *types: type[HandshakeMessage]) -> HandshakeMessage:
        """The next handshake message, which has to be one of these. The only place where a message can arrive."""
        message, raw = await _suspend(_receive(types))
        self.received = raw
        self.transcript.add(raw)
        received: HandshakeMessage = message
        return received

    @overload
    async def receive_or_wish(self, first: type[A], /) -> A | Wish: ...

    @overload
    async def receive_or_wish(self, first: type[A], second: type[B], /) -> A | B | Wish: ...

    async def receive_or_wish(self, *types: type[HandshakeMessage]) -> HandshakeMessage | Wish:
        """After the handshake: the next message, or what the application wishes for in the meantime."""
        got = await _suspend(_receive(types, wishes=True))
        if isinstance(got, SendTickets | RequestCertificate):
            return got
        message, self.received = got
        received: HandshakeMessage = message
        return received

    async def receive_change_cipher_spec(self) -> None:
        """The record behind which the peer's new keys are (TLS 1.2, RFC 5246 §7.1)."""
        await _suspend(_receive((ChangeCipherSpec,)))

    async def ask(self, question: Question[T]) -> T:
        """The answer of whoever the configuration names for this. Raises the TLSError it was refused with."""
        return question.check(await _suspend(question))

    # --- said ---

    def send(self, message: HandshakeMessage) -> None:
        """Queue a message under the present keys, and add it to the transcript."""
        self.send_encoded(message.encode())

    def send_encoded(self, message: bytes) -> None:
        """The same for a message that is encoded already."""
        self.transcript.add(message)
        self._outbound.message(message)

    def send_change_cipher_spec(self) -> None:
        """The dummy record of RFC 8446 §D.4."""
        self._outbound.change_cipher_spec()

    # --- keys ---

    def read_with(self, secret: Keys, epoch: Epoch) -> None:
        """What arrives from now on is under `secret`. Refuses while handshake bytes are left over."""
        self._inbound.install(secret, epoch)
        if self._trace:
            self._trace(KeysChanged(Direction.RECEIVED, epoch, secret.generation))

    def write_with(self, secret: Keys, epoch: Epoch) -> None:
        """What is sent from now on is under `secret`; what was queued before goes under the keys before."""
        self._outbound.install(secret, epoch)

    @property
    def write_secret(self) -> TrafficSecret | None:
        """What protects the writing direction now, where it can be changed."""
        secret = self._outbound.secret
        return secret if isinstance(secret, TrafficSecret) else None

    def refuse_renegotiation(self) -> None:
        """Answer a wish to renegotiate with a warning (RFC 5246 §7.2.2)."""
        self._outbound.alert(AlertLevel.WARNING, Alert.NO_RENEGOTIATION)

    @property
    def closed(self) -> bool:
        """Whether we have said close_notify: nothing of ours may follow it (RFC 8446 §6.1)."""
        return self._outbound.closed

    def flight_ends(self) -> None:
        """The peer's flight ends with the message just received: nothing may follow in its record."""
        self._inbound.require_boundary()

    def change_cipher_specs(self, meaning: ChangeCipherSpecs) -> None:
        """What a ChangeCipherSpec record of the peer means from now on."""
        self._inbound.change_cipher_specs = meaning

    def write_in_clear(self) -> None:
        """Back to no protection: the early data is declined, and a second ClientHello follows (RFC 8446 §4.1.2)."""
        self._outbound.uninstall()

    def send_data(self, data: bytes) -> None:
        """Application data inside of the handshake: early data."""
        most = self._outbound.most_content
        for start in range(0, len(data), most):
            chunk = data[start : start + most]
            if self._trace:
                self._trace(DataMoved(Direction.SENT, len(chunk)))
            self._outbound.data(chunk)

    def take_early_data(self, most: int) -> None:
        """At most this many bytes of early data may come under the present keys."""
        self._inbound.early_data_left = most

    def skip_early_data(self, allowed: int) -> None:
        """The client's 0-RTT data is declined: pass over it. Our tickets may have allowed so many bytes of it."""
        self._inbound.skip_early_data(allowed)

    def limit_records(self, *, sent: int | None = None, received: int | None = None) -> None:
        """Agreed record sizes, in bytes: most content and padding we send; most content, padding and type we take."""
        if sent is not None:
            self._outbound.most_content = min(sent, self._outbound.most_content)
        if received is not None:
            self._inbound.limit(received)

    def log_secret(self, label: str, secret: TrafficSecret | bytes) -> None:
        """Write a secret to the key log, if there is one."""
        if self._keylog:
            value = secret if isinstance(secret, bytes) else secret.secret.reveal()
            self._keylog(key_log_line(label, self.client_random, value))

    # --- noted ---

    def tell(self, notice: Notice) -> None:
        """Something the application hears of as an event."""
        self.notices.append(notice)

    def value(self, subject: Subject) -> object:
        """What was settled; None while it is not."""
        noted = self.notes.get(subject)
        return None if noted is None else noted.value

    def note(self, subject: Subject, value: object, why: str) -> None:
        """Something was settled."""
        chosen = Chosen(subject, value, why)
        self.notes[subject] = chosen
        if self._trace:
            self._trace(chosen)
