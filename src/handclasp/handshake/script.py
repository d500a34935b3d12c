"""What a handshake script can say, and the other side as it sees it.

A script is an `async def` without an event loop: one linear text per role and version. It awaits two verbs, `receive`
a message and `ask` a question, and calls `send`, `read_with` and `write_with`. Whoever drives it (`connection.py`)
answers each await in turn.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import coroutine
from typing import Any, TypeVar, overload

from ..alerts import Alert, AlertLevel
from ..channel.inbound import ChangeCipherSpecs, Inbound
from ..channel.lifetime import key_life
from ..channel.outbound import Outbound, pieces
from ..channel.protection import Keys
from ..channel.schedule import TrafficSecret
from ..channel.transcript import Transcript
from ..config import Config
from ..errors import guarded
from ..identity.certificates import Certificate
from ..keylog import KeyLog, key_log_line
from ..rules import MESSAGE_UNEXPECTED, PeerFault
from ..trace import Chosen, Direction, Epoch, KeysChanged, Subject, Trace
from ..wire.messages import CertificateVerify, Finished, HandshakeMessage
from ..wire.names import HandshakeType
from ..wire.records import ChangeCipherSpec
from .notices import Notice
from .questions import Question
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
    midway: bool = False
    """Whether a client's answer may be half here: then nothing may come between, after the handshake (RFC 8446 §4.6.2).
    """

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
    return Receive(types, wishes, by_type, midway=types[0] in (CertificateVerify, Finished))


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

    def __init__(self, inbound: Inbound, outbound: Outbound, trace: Trace | None) -> None:
        self._inbound = inbound
        self._outbound = outbound
        self._keylog: KeyLog | None = None
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

    def adopt(self, config: Config) -> None:
        """What a configuration says of records, keys and their log counts from here on."""
        self._keylog = guarded("keylog", config.keylog)
        self._inbound.life = key_life(config.clock, config.key_lifetime, config.key_bytes)
        self._outbound.life = key_life(config.clock, config.key_lifetime, config.key_bytes)
        self._outbound.padding = guarded("padding", config.padding)
        self._outbound.most_content = config.most_content

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
        for piece in pieces(data, self._outbound.most_content):
            self._outbound.data(piece, regardless=True)  # there are no other keys for it

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
