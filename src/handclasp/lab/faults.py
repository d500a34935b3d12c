"""A peer that misbehaves on demand: the real one, with its messages rewritten on their way out.

    Bad = misbehaving(ServerConnection, {HandshakeType.FINISHED: lambda message: [message[:-1] + b"?"]})
    handshake(ClientConnection(config, "example.test"), Bad(server_config))

What is really sent goes into the sender's transcript, so one fault does not cause the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..connection import Connection
from ..handshake.script import Peer
from ..wire.messages import HEADER_SIZE
from ..wire.names import ContentType, HandshakeType

Rewrite = Callable[[bytes], list[bytes]]
"""An encoded handshake message -> what to send instead of it: nothing, one message, or several."""

C = TypeVar("C", bound=Connection)


def misbehaving(base: type[C], rewrites: Mapping[HandshakeType, Rewrite]) -> type[C]:
    """The connection class `base`, with the messages of some types rewritten before they are sent."""

    class MisbehavingPeer(Peer):
        __slots__ = ()

        def send_encoded(self, message: bytes) -> None:
            rewrite = rewrites.get(HandshakeType(message[0]))
            for sent in [message] if rewrite is None else rewrite(message):
                super().send_encoded(sent)

    return type(f"Misbehaving{base.__name__}", (base,), {"__slots__": (), "peer_class": MisbehavingPeer})


def framed(type_: HandshakeType, body: bytes) -> bytes:
    """A handshake message of any type and body."""
    return bytes([type_]) + len(body).to_bytes(HEADER_SIZE - 1) + body


def inject(connection: Connection, type_: ContentType, content: bytes) -> None:
    """Queue one record of any type and content under the connection's present sending keys."""
    outbound: Any = connection._outbound
    outbound.flush()
    outbound._seal(type_, content)
