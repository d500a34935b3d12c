"""Two connections joined in memory: a whole TLS session without a network, a thread or a clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..connection import ClientConnection, Connection, ServerConnection
from ..events import Asked, Data, Event


@dataclass(slots=True)
class Pair:
    """A client and a server, and what each has told its application so far."""

    client: ClientConnection
    server: ServerConnection
    client_events: list[Event] = field(default_factory=list)
    server_events: list[Event] = field(default_factory=list)

    def shuttle(self, piece: int | None = None) -> None:
        """Carry bytes to and fro until both are silent; `piece` bytes at a time, or all at once.

        Raises what a connection raises, after carrying the alert to the other side, whose own error is left to it.
        """
        while True:
            moved = self._carry(self.client, self.server, self.server_events, piece)
            moved |= self._carry(self.server, self.client, self.client_events, piece)
            if not moved:
                return

    def client_data(self) -> bytes:
        """All application data the client has received."""
        return b"".join(event.data for event in self.client_events if isinstance(event, Data))

    def server_data(self) -> bytes:
        """All application data the server has received."""
        return b"".join(event.data for event in self.server_events if isinstance(event, Data))

    @property
    def asked(self) -> list[Asked]:
        """Questions either side has raised."""
        return [event for event in self.client_events + self.server_events if isinstance(event, Asked)]

    @staticmethod
    def _carry(source: Connection, sink: Connection, events: list[Event], piece: int | None) -> bool:
        data = source.data_to_send()
        step = piece or max(1, len(data))
        try:
            for start in range(0, len(data), step):
                sink.receive_data(data[start : start + step])
        finally:
            events += sink.events()
        return bool(data)


def handshake(client: ClientConnection, server: ServerConnection, piece: int | None = None) -> Pair:
    """Join two fresh connections and let them shake hands."""
    pair = Pair(client, server)
    pair.shuttle(piece)
    return pair
