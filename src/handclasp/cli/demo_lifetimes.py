"""The last part of the demo: nothing secret lives for long. Sessions and keys end, and what follows then."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ..config import ClientConfig, ServerConfig
from ..errors import ConnectionClosed
from ..events import ConnectionInfo
from ..identity.credentials import Credential
from ..identity.trust import TrustStore
from ..sessions.cache import ClientSessions
from ..sessions.tickets import TicketKeys
from ..trace import MessageMoved
from ..wire.names import ContentType, HandshakeType, TLSVersion
from .demo_steps import Told, require
from .meeting import NAME, PATIENCE, answering, ask
from .recording import Recording
from .words import count, number, octets

LIFETIME = timedelta(hours=2)
KEY_BYTES = 16_384


@dataclass(slots=True)
class Clock:
    """The time of day, moved on as the story goes."""

    ahead: timedelta = field(default=timedelta(0))

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass(frozen=True, slots=True)
class Met:
    """One connection, as the client saw it."""

    info: ConnectionInfo
    recording: Recording

    @property
    def size(self) -> str:
        """How much its handshake took."""
        moved = [event for event in self.recording.of(MessageMoved) if event.type is ContentType.HANDSHAKE]
        finished = [at for at, event in enumerate(moved) if event.message[0] == HandshakeType.FINISHED]
        handshake = moved[: finished[-1] + 1]
        return f"{count(len(handshake), 'message')}, {octets(sum(len(event.message) for event in handshake))}"


def lifetimes(it: Told, trust: TrustStore, shop: Credential) -> None:
    """A session resumed, forgotten, and too old; keys that had their time, in TLS 1.3 and in TLS 1.2."""
    clock = Clock()
    client = ClientConfig(trust=trust, sessions=ClientSessions(), clock=clock, session_lifetime=LIFETIME)
    server = ServerConfig(credentials=[shop], tickets=TicketKeys(), clock=clock, session_lifetime=LIFETIME)
    it.step(8, "Nothing of it lasts: sessions and keys are short-lived")
    first, again = _meet(client, server), _meet(client, server)
    require(not first.info.resumed and again.info.resumed, "a session resumed")
    it.fact("first", first.size)
    it.fact("resumed", f"{again.size}: no certificate, no signature, and new keys all the same")

    forgetful = server.replace(tickets=TicketKeys())
    full = _meet(client, forgetful)
    require(not full.info.resumed and full.info.verified_chain, "a full handshake after the session was discarded")
    it.fact("discarded", f"{full.size}: the server has forgotten the session, so the handshake is a full one by itself")

    clock.ahead += LIFETIME + timedelta(seconds=1)
    late = _meet(client, forgetful)
    require(not late.info.resumed and "expired" in late.info.session_declined, "a session that had expired")
    it.fact("expired", f"{late.size}: {late.info.session_declined}")

    renewed = _outlived(client.replace(key_lifetime=timedelta(hours=1)), server, clock)
    require(renewed is not None and renewed.keys_renewed == 1, "new keys once the old had their time")
    it.fact("keys", "older than an hour: new ones by themselves, in the midst of the connection (KeyUpdate)")
    heavy = _outlived(client.replace(key_bytes=KEY_BYTES), server, clock, "/" + "x" * KEY_BYTES)
    require(heavy is not None and heavy.keys_renewed and "bytes" in heavy.keys_expired, "new keys after so many bytes")
    it.fact("", f"after {number(KEY_BYTES)} bytes, where that is the limit: the same")
    older = {"versions": (TLSVersion.TLS_1_2,)}
    ended = _outlived(client.replace(key_lifetime=timedelta(hours=1), **older), server.replace(**older), clock)
    require(ended is None, "a connection of TLS 1.2 ended with its keys")
    it.fact("in TLS 1.2", "older than an hour: it cannot change them, and says goodbye. Connect again")


def _meet(client: ClientConfig, server: ServerConfig) -> Met:
    recording = Recording()
    with answering(server) as meeting:
        with meeting.connect(client.replace(trace=recording), NAME) as tls:
            ask(tls, "/")
            info = tls.info
        meeting.served.result(PATIENCE)
    return Met(info, recording)


def _outlived(client: ClientConfig, server: ServerConfig, clock: Clock, path: str = "/later") -> ConnectionInfo | None:
    """A connection that is used again when its keys had their time; None where that ended it."""
    with answering(server) as meeting:
        with meeting.connect(client, NAME) as tls:
            ask(tls, "/")
            clock.ahead += timedelta(hours=1)
            try:
                ask(tls, path)
                info = tls.info
            except ConnectionClosed as closed:
                require(closed.code == "keys-worn-out", "the reason for the end")
                info = None
        meeting.served.result(PATIENCE)
    return info
