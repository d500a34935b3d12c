"""What an application hears of a handshake and of its aftermath, beside data: events that a script tells of."""

from __future__ import annotations

from dataclasses import dataclass

from ..sessions.cache import ClientSession


@dataclass(frozen=True, slots=True)
class TicketReceived:
    """The server gave us a ticket, and it is in `config.sessions`: the next handshake can be a short one."""

    session: ClientSession


@dataclass(frozen=True, slots=True)
class SessionDeclined:
    """A session was at hand and is not resumed: expired, forgotten, or made under other demands. The handshake is a
    full one by itself."""

    why: str


@dataclass(frozen=True, slots=True)
class EarlyDataRejected:
    """A client's early data was not sent, or did not arrive: it may be sent again as data, where that is right."""

    why: str


@dataclass(frozen=True, slots=True)
class KeysExpired:
    """Our sending keys were used for as long as they may be. `renewed` says that new ones took over (TLS 1.3)."""

    why: str
    renewed: bool


Notice = TicketReceived | SessionDeclined | EarlyDataRejected | KeysExpired
"""What an application hears of as an event."""
