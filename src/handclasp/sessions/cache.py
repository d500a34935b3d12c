"""Sessions kept in memory: a client's by server, a server's by session id. Both bounded, both safe between threads."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, NoReturn

from ..limits import MAX_SESSION, MAX_TICKET, MOST_NAMES, MOST_SESSIONS, MOST_SESSIONS_PER_NAME
from ..rules import PeerFault
from ..wire.codec import decode, encode, opaque, struct, uint
from .clock import Clock, milliseconds, system_clock
from .session import Session
from .shared import Shared


@dataclass(frozen=True, slots=True)
class ClientSession:
    """A session with what shows it to the server: its id (TLS 1.2), or a ticket."""

    session: Session
    session_id: bytes = b""
    ticket: bytes = field(default=b"", repr=False)

    def to_bytes(self) -> bytes:
        """The session with its secret, for a store that keeps secrets. Read it back with `from_bytes`."""
        return encode(_CLIENT_STATE, _ClientState(1, self.session.to_bytes(), self.session_id, self.ticket))

    @classmethod
    def from_bytes(cls, data: bytes) -> ClientSession:
        """Raises ValueError for bytes that are not a client's session."""
        if len(data) > MAX_SESSION:
            raise ValueError(f"not a client's session: {len(data)} bytes are more than {MAX_SESSION}")
        try:
            state = decode(_CLIENT_STATE, data)
        except PeerFault as fault:
            raise ValueError(f"not a client's session: {fault.rule.sentence}") from None
        if state.form != 1:
            raise ValueError(f"not a client's session of this version: form {state.form}")
        return cls(Session.from_bytes(state.session), state.session_id, state.ticket)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session holds a secret: keep it with to_bytes")


class ClientSessions(Shared):
    """What a client remembers, by server name; the newest is offered first, and each offered once."""

    __slots__ = ("_by_name", "_clock", "_names", "_per_name")

    def __init__(
        self, *, names: int = MOST_NAMES, per_name: int = MOST_SESSIONS_PER_NAME, clock: Clock = system_clock
    ) -> None:
        super().__init__()
        if names < 1 or per_name < 1:
            raise ValueError("names and per_name must be positive")
        self._by_name: OrderedDict[str, deque[ClientSession]] = OrderedDict()
        self._names = names
        self._per_name = per_name
        self._clock = clock

    def put(self, name: str, session: ClientSession) -> None:
        """Remember a session; the oldest of the name, or the name longest unused, makes room.

        One whose time is over, or whose ticket is larger than 16 KiB, is not kept.
        """
        if len(session.ticket) > MAX_TICKET or session.session.expires <= self._clock():
            return
        with self._lock:
            self._by_name.setdefault(name, deque(maxlen=self._per_name)).append(session)
            self._by_name.move_to_end(name)
            while len(self._by_name) > self._names:
                self._by_name.popitem(last=False)

    def take(self, name: str) -> ClientSession | None:
        """The newest session for a name, which is forgotten by this; None when there is none.

        If all are over by now, the last of them, so that the handshake can say what became of it.
        """
        now = self._clock()
        with self._lock:
            held = self._by_name.get(name, deque())
            taken = held.pop() if held else None
            while held and taken is not None and taken.session.expires <= now:
                taken = held.pop()
            if held:
                self._by_name.move_to_end(name)
            else:
                self._by_name.pop(name, None)
            return taken

    def clear(self) -> None:
        """Forget everything: the next handshakes are full ones."""
        with self._lock:
            self._by_name.clear()

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._by_name.values()))


class ServerSessions(Shared):
    """What a server remembers by session id; the oldest makes room.

    Each is kept as its bytes: a million of them cost the garbage collector nothing, and one more what the first did.
    """

    __slots__ = ("_by_id", "_clock", "_most")

    def __init__(self, *, most: int = MOST_SESSIONS, clock: Clock = system_clock) -> None:
        super().__init__()
        if most < 1:
            raise ValueError("most must be positive")
        self._by_id: OrderedDict[bytes, bytes] = OrderedDict()
        self._most = most
        self._clock = clock

    def put(self, session_id: bytes, session: Session, until: datetime) -> None:
        """Remember a session until then."""
        entry, now = to_entry(session, until), self._clock()
        if is_over(entry, now):
            return
        with self._lock:
            self._by_id[session_id] = entry
            self._by_id.move_to_end(session_id)
            while len(self._by_id) > self._most or is_over(next(iter(self._by_id.values())), now):
                self._by_id.popitem(last=False)

    def get(self, session_id: bytes) -> Session | None:
        """The session of an id; None when it is forgotten or its time is over."""
        with self._lock:
            entry = self._by_id.get(session_id)
        return None if entry is None else from_entry(entry, self._clock())

    def take(self, session_id: bytes) -> Session | None:
        """The same, and forget it: of all who ask, one gets it."""
        with self._lock:
            entry = self._by_id.pop(session_id, None)
        return None if entry is None else from_entry(entry, self._clock())

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


def to_entry(session: Session, until: datetime) -> bytes:
    """A session as a store keeps it: its last moment, then its bytes."""
    return milliseconds(until).to_bytes(8) + session.to_bytes()


def from_entry(entry: bytes, now: datetime) -> Session | None:
    """The session of a store's entry; None when its time is over, or another version of this program wrote it."""
    if is_over(entry, now):
        return None
    try:
        return Session.from_bytes(entry[8:])
    except ValueError:
        return None


def is_over(entry: bytes, now: datetime) -> bool:
    """Whether an entry's last moment has passed."""
    return int.from_bytes(entry[:8]) <= milliseconds(now)


@dataclass(frozen=True, slots=True)
class _ClientState:
    """The bytes of a client's session. Its form comes first, so that later ones can be told apart."""

    form: Annotated[int, uint(1)]
    session: Annotated[bytes, opaque(1, MAX_SESSION)] = field(repr=False)
    session_id: Annotated[bytes, opaque(0, 32)]
    ticket: Annotated[bytes, opaque(0, MAX_TICKET)] = field(repr=False)


_CLIENT_STATE = struct(_ClientState)
