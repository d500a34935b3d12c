"""What a store of sessions has to do, so that a configuration can use it. The ones that come with us keep these too.

A store may answer with an awaitable. One whose calls may wait for a network says so with an attribute
`blocking = True`, and is then called where it holds up no other connection. Whatever one raises refuses the connection:
a store that rather falls back to full handshakes catches its own errors, as those of `stores/` do.
"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Protocol

from .cache import ClientSession
from .session import Session


def is_shared(store: object) -> bool:
    """Whether a store says of itself, with an attribute `shared`, that other machines have it too."""
    return getattr(store, "shared", False) is True


class ClientSessionStore(Protocol):
    """What a client remembers, by server name."""

    def put(self, name: str, session: ClientSession) -> Awaitable[None] | None:
        """Remember a session."""
        ...

    def take(self, name: str) -> ClientSession | Awaitable[ClientSession | None] | None:
        """A session for a name, and forget it: no session is offered twice. None when there is none.

        One that is over is not offered, but told of: `info.session_declined`.
        """
        ...


class SessionStore(Protocol):
    """What a server remembers, by session id."""

    def put(self, session_id: bytes, session: Session, until: datetime) -> Awaitable[None] | None:
        """Remember a session until then, if there is room."""
        ...

    def get(self, session_id: bytes) -> Session | Awaitable[Session | None] | None:
        """The session of an id; None when it is forgotten or its time is over."""
        ...

    def take(self, session_id: bytes) -> Session | Awaitable[Session | None] | None:
        """The same, and forget it: of all who ask, one gets it."""
        ...

    def discard(self, session_id: bytes) -> Awaitable[None] | None:
        """Forget a session, if it is known."""
        ...


class Tickets(Protocol):
    """Seals sessions into tickets, which the clients keep (RFC 5077, RFC 8446 §4.6.1)."""

    def seal(self, session: Session, now: datetime) -> bytes | Awaitable[bytes]:
        """A ticket for a session, at most 16 KiB; empty when none can be made."""
        ...

    def open(self, ticket: bytes, now: datetime) -> Session | Awaitable[Session | None] | None:
        """The session in a ticket; None when it is not ours, too old, or was touched."""
        ...


class ReplayStore(Protocol):
    """Remembers what early data came with, so that it is taken once (RFC 8446 §8.2).

    One that knows of nothing before some moment says so with an attribute `since`, a datetime: no early data is taken
    with a session that is older.
    """

    def claim(self, key: bytes, now: datetime, until: datetime) -> bool | Awaitable[bool]:
        """True for the first claim of a key, over all machines; False for every later one before `until`.

        Also False whenever it cannot know: when it is full (an unexpired key is never forgotten to make room), when it
        cannot be reached, and where it may have forgotten a claim, until `until - now` has passed since.
        """
        ...
