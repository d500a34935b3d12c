"""What an application hears of a handshake and of its aftermath, beside data: events that a script tells of."""

from __future__ import annotations

from dataclasses import dataclass

from ..identity.certificates import Certificate
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
    """Keys were used for as long as they may be. `renewed` says that new ones take over (TLS 1.3).

    If not, we said close_notify: what the peer has sent may still be read, and the next connection has new keys.
    """

    why: str
    renewed: bool


@dataclass(frozen=True, slots=True)
class ClientAuthenticated:
    """A client answered `request_certificate`. The chain is as it was verified; empty for a client that showed none,
    or whose certificate was not accepted (`ClientAuth.unverified`): it is whoever it was before.
    """

    verified_chain: tuple[Certificate, ...]


Notice = ClientAuthenticated | TicketReceived | SessionDeclined | EarlyDataRejected | KeysExpired
"""What an application hears of as an event."""
