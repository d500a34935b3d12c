"""A stage for misbehaviour: real connections whose every move is noted, and what holds when one refuses the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar

import pytest

from handclasp import (
    Alert,
    AlertReceived,
    ClientConfig,
    ClientConnection,
    Credential,
    NamedGroup,
    ServerConfig,
    ServerConnection,
    TLSError,
)
from handclasp.connection import Connection
from handclasp.handshake.script import Peer
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.faults import Rewrite, misbehaving
from handclasp.limits import MAX_MESSAGE
from handclasp.trace import Direction, MessageMoved, TraceEvent
from handclasp.wire.codec import encode
from handclasp.wire.messages import HEADER_SIZE, RETRY_RANDOM, HandshakeMessage
from handclasp.wire.names import ContentType, ExtensionType, HandshakeType

NAME = "example.test"


@cache
def authority() -> CertificateAuthority:
    """One for the process: keys take longer than handshakes."""
    return CertificateAuthority("stage CA")


@cache
def credential() -> Credential:
    return authority().issue(NAME)


@cache
def client_credential() -> Credential:
    return authority().issue("client.test", usage="client")


@dataclass
class Fall:
    """A connection refused what came. `other` is the real connection it came from; None for bytes made by hand."""

    victim: Connection
    other: Connection | None
    error: TLSError


@dataclass
class Stage:
    """Makes connections, remembers what they traced, and lets them meet."""

    mirrored: bool = False
    """True when a scene that works both ways has the server as its victim."""
    seen: dict[Connection, list[TraceEvent]] = field(default_factory=dict)

    def client(
        self,
        rewrites: dict[HandshakeType, Rewrite] | None = None,
        *,
        name: str = NAME,
        peer: type[Peer] | None = None,
        early_data: bytes = b"",
        **changes: Any,
    ) -> ClientConnection:
        events: list[TraceEvent] = []
        usual: dict[str, Any] = {
            "trust": authority().trust,
            "groups": [NamedGroup.X25519],
            "trace": events.append,
        }
        config = ClientConfig(**{**usual, **changes})
        made = _speaking(misbehaving(ClientConnection, rewrites or {}), peer)(config, name, early_data=early_data)
        self.seen[made] = events
        return made

    def server(
        self,
        rewrites: dict[HandshakeType, Rewrite] | None = None,
        *,
        peer: type[Peer] | None = None,
        **changes: Any,
    ) -> ServerConnection:
        events: list[TraceEvent] = []
        usual: dict[str, Any] = {"credentials": [credential()], "trace": events.append}
        config = ServerConfig(**{**usual, **changes})
        made = _speaking(misbehaving(ServerConnection, rewrites or {}), peer)(config)
        self.seen[made] = events
        return made

    def joined(self, victim: dict[str, Any] | None = None, other: dict[str, Any] | None = None) -> Scene:
        """A victim and its peer, the handshake behind them; the server is the victim where the scene is mirrored."""
        if self.mirrored:
            client, server = self.client(**other or {}), self.server(**victim or {})
        else:
            client, server = self.client(**victim or {}), self.server(**other or {})
        carry(client, server)
        for connection in (client, server):
            connection.events()
        return Scene(server, client) if self.mirrored else Scene(client, server)

    def play(self, client: ClientConnection, server: ServerConnection) -> Fall:
        """Let them talk until one refuses the other."""
        source: Connection
        sink: Connection
        source, sink = client, server
        for _ in range(40):
            data = source.data_to_send()
            try:
                if data:
                    sink.receive_data(data)
            except TLSError as error:
                return Fall(sink, source, error)
            source, sink = sink, source
        raise AssertionError("nobody refused anything")

    def alerts_sent(self, connection: Connection) -> list[bytes]:
        return [
            event.message
            for event in self.seen[connection]
            if isinstance(event, MessageMoved) and event.direction is Direction.SENT and event.type is ContentType.ALERT
        ]


C = TypeVar("C", bound=Connection)


def _speaking(base: type[C], peer: type[Peer] | None) -> type[C]:
    """A connection class whose script speaks through another peer."""
    return base if peer is None else type(base.__name__, (base,), {"__slots__": (), "peer_class": peer})


@dataclass
class Scene:
    """Two joined connections, one of them about to be mistreated."""

    victim: Connection
    other: Connection

    def deliver(self, data: bytes | None = None) -> Fall:
        """Give the victim these bytes, or what the other has to send; it has to refuse."""
        with pytest.raises(TLSError) as caught:
            self.victim.receive_data(self.other.data_to_send() if data is None else data)
        return Fall(self.victim, self.other, caught.value)


def carry(first: Connection, second: Connection) -> None:
    """Carry bytes to and fro until both are silent."""
    while True:
        there, back = first.data_to_send(), b""
        if there:
            second.receive_data(there)
        back = second.data_to_send()
        if back:
            first.receive_data(back)
        if not there and not back:
            return


def record(type_: ContentType | int, content: bytes, version: int = 0x0303) -> bytes:
    """A record in the clear, of whatever kind."""
    return bytes([type_]) + version.to_bytes(2) + len(content).to_bytes(2) + content


# --- rewriting messages ----------------------------------------------------------------------------------------------

M = TypeVar("M", bound=HandshakeMessage)


def edit(cls: type[M], change: Callable[[M], M]) -> Rewrite:
    """Send the message otherwise. Of ServerHello and HelloRetryRequest, which share a type, only the one named."""

    def rewrite(encoded: bytes) -> list[bytes]:
        body = encoded[HEADER_SIZE:]
        return [change(cls.parse(body)).encode() if cls.accepts(body) else encoded]

    return rewrite


def fields(cls: type[M], **changes: Any) -> Rewrite:
    """Send the message with other fields."""
    return edit(cls, lambda message: replace(message, **changes))  # type: ignore[type-var]


def block(cls: type[M], **changes: Any) -> Rewrite:
    """Send the message with other extensions, in a usual order."""

    def change(message: Any) -> Any:
        return replace(message, extensions=replace(message.extensions, **{"order": (), **changes}))

    return edit(cls, change)


def on(number: int, rewrite: Rewrite) -> Rewrite:
    """Rewrite only the message of this number, counted from 1."""
    count = 0

    def counted(encoded: bytes) -> list[bytes]:
        nonlocal count
        count += 1
        return rewrite(encoded) if count == number else [encoded]

    return counted


def append_extension(cls: type[HandshakeMessage], type_: ExtensionType | int, body: bytes) -> Rewrite:
    """Add raw bytes at the end of a message's extension block."""

    def rewrite(encoded: bytes) -> list[bytes]:
        message: Any = cls.parse(encoded[HEADER_SIZE:])
        at = len(encoded) - len(encode(cls.codec.parts[-1][1], message.extensions))
        inner = encoded[at + 2 :] + type_.to_bytes(2) + len(body).to_bytes(2) + body
        whole = encoded[HEADER_SIZE:at] + len(inner).to_bytes(2) + inner
        return [encoded[:1] + len(whole).to_bytes(3) + whole]

    return rewrite


def is_retry(encoded: bytes) -> bool:
    """Whether an encoded ServerHello is a HelloRetryRequest."""
    return encoded[6:38] == RETRY_RANDOM


# --- what a refusal looks like ---------------------------------------------------------------------------------------


def assert_refused(stage: Stage, fall: Fall, alert: Alert) -> None:
    """One fatal alert, which the other side can read; then silence, and the same error at every call."""
    victim, error = fall.victim, fall.error
    assert error.alert is alert
    assert not error.alert_received
    assert victim.error is error
    assert not victim.established
    assert victim.waiting_for == ()
    assert len(str(error)) <= MAX_MESSAGE
    assert str(error).isprintable()
    last = victim.data_to_send()
    # a renegotiation is refused politely the first time
    fatal = [sent for sent in stage.alerts_sent(victim) if sent != bytes([1, Alert.NO_RENEGOTIATION])]
    assert fatal == [bytes([2, alert])]
    assert_sticky(victim, error)
    if fall.other is None:
        assert last == record(ContentType.ALERT, bytes([2, alert]), int.from_bytes(last[1:3]))
    else:
        with pytest.raises(AlertReceived) as heard:
            fall.other.receive_data(last)
        assert heard.value.alert is alert
        assert heard.value.alert_received
        assert stage.alerts_sent(fall.other) == []


def assert_sticky(victim: Connection, error: TLSError) -> None:
    """Every call says the same thing again, and no byte follows the alert."""
    question: Any = object()
    calls: list[Callable[[], object]] = [
        lambda: victim.receive_data(b"\x17\x03\x03\x00\x01?"),
        lambda: victim.receive_data(b""),
        victim.receive_eof,
        lambda: victim.send(b"?"),
        victim.update_keys,
        lambda: victim.export("EXPORTER-test"),
        lambda: victim.answer(question, None),
    ]
    for call in calls:
        with pytest.raises(TLSError) as again:
            call()
        assert again.value is error
    victim.close()
    assert victim.data_to_send() == b""
