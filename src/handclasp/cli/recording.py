"""A trace that remembers: everything the commands tell of a connection is read from it, so it has happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeVar

from ..alerts import Alert
from ..crypto.suites import SUITES, KeyExchange
from ..rules import PeerFault
from ..trace import Chosen, Direction, Epoch, KeysChanged, MessageMoved, RecordMoved, Subject, TraceEvent
from ..wire.messages import HEADER_SIZE, MESSAGES, Finished, HandshakeMessage, ServerHello
from ..wire.messages12 import MESSAGES12, ClientECDH, ClientEncryptedSecret
from ..wire.names import ContentType, HandshakeType

M = TypeVar("M", bound=HandshakeMessage)
E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Moment:
    """An event, and when it was: seconds since the recording began."""

    at: float
    event: TraceEvent


class Recording:
    """Give it to a config as `trace`. One recording is for one connection.

    Records are kept only where asked for: they hold all that is ever transferred.
    """

    __slots__ = ("_began", "_clock", "_records", "kinds", "moments")

    def __init__(self, *, records: bool = False, clock: Callable[[], float] = time.perf_counter) -> None:
        self._records = records
        self._clock = clock
        self._began: float | None = None
        self.kinds = MESSAGES
        """The messages that may come: those of TLS 1.3, until a ServerHello picks TLS 1.2."""
        self.moments: list[Moment] = []

    def __call__(self, event: TraceEvent) -> None:
        if isinstance(event, RecordMoved) and not self._records:
            return
        now = self._clock()
        if self._began is None:
            self._began = now
        self.moments.append(Moment(now - self._began, event))
        if isinstance(event, MessageMoved) and event.type is ContentType.HANDSHAKE:
            self._settle(event.message)

    def _settle(self, encoded: bytes) -> None:
        if encoded[0] == HandshakeType.SERVER_HELLO:
            found = message(encoded)
            if isinstance(found, ServerHello) and found.extensions.supported_versions is None:
                self.kinds = _kinds12(found)

    @property
    def is_tls12(self) -> bool:
        """Whether the server picked TLS 1.2."""
        return self.kinds is not MESSAGES

    def declared(self, encoded: bytes) -> type[HandshakeMessage] | None:
        """The class of a message of this connection; None where there is none, or where it does not parse."""
        return declared(encoded, self.kinds)

    def of(self, kind: type[E], direction: Direction | None = None) -> list[E]:
        """All events of one kind, in order."""
        found = [moment.event for moment in self.moments if isinstance(moment.event, kind)]
        return [event for event in found if direction in (None, getattr(event, "direction", None))]

    def messages(self, cls: type[M], direction: Direction) -> list[tuple[M, bytes]]:
        """Every handshake message of one kind that went one way: read, and as it was on the wire."""
        return list(self._messages(cls, direction))

    def _messages(self, cls: type[M], direction: Direction) -> Iterator[tuple[M, bytes]]:
        for event in self.of(MessageMoved, direction):
            if event.type is ContentType.HANDSHAKE:
                found = message(event.message, self.kinds)
                if isinstance(found, cls):
                    yield found, event.message

    def alerts(self, direction: Direction) -> list[Alert]:
        """Alerts that went one way."""
        moved = [event.message for event in self.of(MessageMoved, direction) if event.type is ContentType.ALERT]
        return [Alert(message[1]) for message in moved]

    def chosen(self, subject: Subject) -> Chosen | None:
        """What was settled about a subject, and why."""
        return next((event for event in self.of(Chosen) if event.subject is subject), None)

    def at(self, wanted: TraceEvent) -> float:
        """When an event was, in seconds."""
        return next(moment.at for moment in self.moments if moment.event is wanted)

    def bytes_moved(self, direction: Direction) -> int:
        """Bytes of records that went one way, headers included."""
        return sum(len(event.record) for event in self.of(RecordMoved, direction))

    @property
    def established(self) -> bool:
        """The peer's Finished was right: application keys open what it sends."""
        if not self.is_tls12:
            return any(event.epoch is Epoch.APPLICATION for event in self.of(KeysChanged, Direction.RECEIVED))
        # TLS 1.2 protects the Finished itself by these keys; a wrong one is answered at once.
        events = [moment.event for moment in self.moments if not isinstance(moment.event, RecordMoved)]
        for event, after in zip_longest(events, events[1:]):
            if isinstance(event, MessageMoved) and self._is_their_finished(event):
                return not (isinstance(after, MessageMoved) and _is_refusal(after))
        return False

    def _is_their_finished(self, event: MessageMoved) -> bool:
        received = event.direction is Direction.RECEIVED and event.type is ContentType.HANDSHAKE
        return received and self.declared(event.message) is Finished


Kinds = tuple[type[HandshakeMessage], ...]


def _kinds12(hello: ServerHello) -> Kinds:
    """The messages of TLS 1.2; which ClientKeyExchange there is depends on the suite."""
    suite = SUITES.get(hello.cipher_suite)
    other = ClientECDH if suite is not None and suite.key_exchange is KeyExchange.RSA else ClientEncryptedSecret
    own = tuple(cls for cls in MESSAGES12 if cls is not other)
    types = {cls.type for cls in own}
    return tuple(cls for cls in MESSAGES if cls.type not in types) + own


def _is_refusal(event: MessageMoved) -> bool:
    """Our alert that says a Finished was wrong."""
    sent = event.direction is Direction.SENT and event.type is ContentType.ALERT
    return sent and event.message[1] == Alert.DECRYPT_ERROR


def message(encoded: bytes, kinds: Kinds = MESSAGES) -> HandshakeMessage | None:
    """An encoded handshake message, read; None for one we have no declaration of."""
    cls = declared(encoded, kinds)
    return None if cls is None else cls.parse(encoded[HEADER_SIZE:])


def declared(encoded: bytes, kinds: Kinds = MESSAGES) -> type[HandshakeMessage] | None:
    """The class of an encoded handshake message; None where there is none, or where it does not parse."""
    body = encoded[HEADER_SIZE:]
    for cls in kinds:
        if cls.type == encoded[0] and cls.accepts(body):
            try:
                cls.parse(body)
            except PeerFault:
                return None
            return cls
    return None
