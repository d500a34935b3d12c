"""A client and a server that meet again and again, for tests of what they remember of each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from handclasp import ClientConfig, ClientConnection, Data, ServerConfig, ServerConnection
from handclasp.lab.pair import Pair, handshake

NOW = datetime.now(UTC)


@dataclass
class Now:
    """A clock that stands still until it is moved."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **by: float) -> None:
        self.at += timedelta(**by)


@dataclass
class Seen:
    """A replay store of one machine."""

    keys: set[bytes] = field(default_factory=set)

    def claim(self, key: bytes, now: datetime, until: datetime) -> bool:
        new = key not in self.keys
        self.keys.add(key)
        return new


@dataclass
class Machines:
    """A client and a server that meet again and again."""

    client: ClientConfig
    server: ServerConfig
    clock: Now

    def meet(self, name: str = "localhost", early_data: bytes = b"", piece: int | None = None) -> Pair:
        client = ClientConnection(self.client, name, early_data=early_data)
        pair = handshake(client, ServerConnection(self.server), piece)
        assert pair.client.established
        assert pair.server.established
        for source, events in ((pair.client, pair.server_events), (pair.server, pair.client_events)):
            source.send(b"ping")
            pair.shuttle()
            assert b"".join(event.data for event in events if isinstance(event, Data)).endswith(b"ping")
        return pair

    def resumes(self, **options: Any) -> bool:
        pair = self.meet(**options)
        assert pair.client.info.resumed == pair.server.info.resumed
        return pair.client.info.resumed
