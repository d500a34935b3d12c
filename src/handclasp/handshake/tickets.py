"""Tickets of TLS 1.3, given out and taken in after the handshake (RFC 8446 §4.6.1)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import NoneType

from .. import rules
from ..codes import GREASE
from ..config import ServerConfig
from ..limits import MAX_TICKET, MAX_TICKET_LIFETIME
from ..rules import require
from ..sessions.cache import ClientSession
from ..sessions.session import Resumable, Session
from ..wire.blocks import RawExtension
from ..wire.extensions import NewSessionTicketExtensions
from ..wire.messages import ClientHello, NewSessionTicket
from ..wire.names import ExtensionType, PskKeyExchangeMode
from .early import most_early_data
from .notices import TicketReceived
from .proofs import TicketIssuer, TicketKeeper
from .questions import KeepSession
from .resume import IDENTITY_SIZE, client_policy, keep_session, seal
from .script import Peer


def issuer_of(config: ServerConfig, hello: ClientHello, resumable: Resumable | None) -> TicketIssuer | None:
    """None where tickets would be of no use: nothing can be resumed, or the client resumes in no way that we do."""
    modes = hello.extensions.psk_key_exchange_modes or ()
    usable = PskKeyExchangeMode.PSK_DHE_KE in modes or (PskKeyExchangeMode.PSK_KE in modes and config.danger.psk_alone)
    return TicketIssuer(config, resumable) if resumable is not None and usable else None


async def send_tickets(peer: Peer, issuer: TicketIssuer, number: int) -> None:
    """Give the client some tickets, for as long as the session has time left."""
    config, resumable = issuer.config, issuer.resumable
    for _ in range(number):
        now = config.clock()
        expires = min(resumable.authenticated + config.session_lifetime, now + timedelta(seconds=MAX_TICKET_LIFETIME))
        lifetime = (expires - now) // timedelta(seconds=1)
        if lifetime <= 0:
            return
        nonce = next(issuer.numbers).to_bytes(8)
        age_add = int.from_bytes(config.entropy.random(4))
        most = most_early_data(config)
        ticket = await _seal(peer, config, resumable.session(nonce, now, expires, age_add, most))
        if not ticket or peer.closed:
            return
        extensions = NewSessionTicketExtensions(early_data=most or None, unknown=_reserved(config))
        peer.send(NewSessionTicket(lifetime, age_add, nonce, ticket, extensions))


def _reserved(config: ServerConfig) -> tuple[RawExtension, ...]:
    """An extension that nobody knows, so that clients keep passing over such ones (RFC 8701 §4)."""
    if not config.grease:
        return ()
    return ((ExtensionType(GREASE[config.entropy.random(1)[0] % len(GREASE)]), b""),)


async def _seal(peer: Peer, config: ServerConfig, session: Session) -> bytes:
    """The session sealed, or an id that it is kept here under; empty where the store cannot."""
    tickets, sessions = config.tickets, config.sessions
    if tickets is not None:
        return await seal(peer, tickets, session, session.created)
    if sessions is None:
        return b""
    identity = config.entropy.random(IDENTITY_SIZE)
    await peer.ask(KeepSession(sessions, lambda: sessions.put(identity, session, session.expires), (NoneType,)))
    return identity


def keeper_once_asked(keeper: TicketKeeper | None) -> TicketKeeper | None:
    """What a client makes of the tickets that come after it was asked who it is: they may go on with whom it said then,
    and are bound to that. None where nothing tells its credentials from others.
    """
    if keeper is None:
        return None
    policy = client_policy(keeper.config, asked=True)
    return None if policy is None else replace(keeper, resumable=replace(keeper.resumable, policy=policy))


async def receive_ticket(peer: Peer, keeper: TicketKeeper | None, message: NewSessionTicket) -> None:
    """Keep a session for the next handshake, where sessions are kept."""
    lifetime = message.ticket_lifetime
    require(lifetime <= MAX_TICKET_LIFETIME, rules.TICKET_LIFETIME, f"{lifetime} s")
    if keeper is None or not lifetime or len(message.ticket) > MAX_TICKET:
        return
    now = keeper.config.clock()
    session = keeper.resumable.session(
        message.ticket_nonce,
        now,
        now + timedelta(seconds=lifetime),
        message.ticket_age_add,
        message.extensions.early_data or 0,
    )
    held = ClientSession(session, ticket=message.ticket)
    await keep_session(peer, keeper.config, keeper.name, held)
    peer.tell(TicketReceived(held))
