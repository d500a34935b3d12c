"""Sessions kept in memory: a client's by server, a server's by session id. Both bounded, both safe between threads."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from .session import Session


@dataclass(frozen=True, slots=True)
class ClientSession:
    """A session with what shows it to the server: its id (TLS 1.2), or a ticket."""

    session: Session
    session_id: bytes = b""
    ticket: bytes = field(default=b"", repr=False)


class ClientSessions:
    """What a client remembers, by server name; the newest is offered first, and each offered once."""

    __slots__ = ("_by_name", "_lock", "_names", "_per_name")

    def __init__(self, *, names: int = 1000, per_name: int = 8) -> None:
        self._by_name: OrderedDict[str, deque[ClientSession]] = OrderedDict()
        self._names = names
        self._per_name = per_name
        self._lock = Lock()

    def put(self, name: str, session: ClientSession) -> None:
        """Remember a session; the oldest of the name, or the name longest unused, makes room."""
        with self._lock:
            self._by_name.setdefault(name, deque(maxlen=self._per_name)).append(session)
            self._by_name.move_to_end(name)
            while len(self._by_name) > self._names:
                self._by_name.popitem(last=False)

    def take(self, name: str) -> ClientSession | None:
        """The newest session for a name, which is forgotten by this; None when there is none."""
        with self._lock:
            held = self._by_name.get(name)
            if not held:
                return None
            taken = held.pop()
            if not held:
                del self._by_name[name]
            return taken

    def clear(self) -> None:
        """Forget everything: the next handshakes are full ones."""
        with self._lock:
            self._by_name.clear()


class ServerSessions:
    """What a server remembers by session id (TLS 1.2); the oldest makes room."""

    __slots__ = ("_by_id", "_lock", "_most")

    def __init__(self, *, most: int = 10_000) -> None:
        self._by_id: OrderedDict[bytes, Session] = OrderedDict()
        self._most = most
        self._lock = Lock()

    def put(self, session_id: bytes, session: Session, until: datetime) -> None:
        """Remember a session."""
        with self._lock:
            self._by_id[session_id] = session
            while len(self._by_id) > self._most:
                self._by_id.popitem(last=False)

    def get(self, session_id: bytes) -> Session | None:
        """The session of an id; None when it is forgotten."""
        with self._lock:
            return self._by_id.get(session_id)

    def take(self, session_id: bytes) -> Session | None:
        """The same, and forget it: of all who ask, one gets it."""
        with self._lock:
            return self._by_id.pop(session_id, None)

    def discard(self, session_id: bytes) -> None:
        """Forget a session, if it is known."""
        with self._lock:
            self._by_id.pop(session_id, None)

    def clear(self) -> None:
        """Forget everything: the next handshakes are full ones."""
        with self._lock:
            self._by_id.clear()

    def __len__(self) -> int:
        return len(self._by_id)
