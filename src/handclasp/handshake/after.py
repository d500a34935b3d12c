"""After the handshake: what may still come, and the keys that change under way (RFC 8446 §4.6)."""

from __future__ import annotations

from collections import deque
from typing import NoReturn

from .. import rules
from ..config import ClientAuth
from ..rules import PeerFault, require
from ..trace import Epoch, Subject
from ..wire.messages import Certificate, CertificateRequest, ClientHello, KeyUpdate, NewSessionTicket
from ..wire.messages12 import HelloRequest
from ..wire.names import KeyUpdateRequest
from .later import Request, accept_certificate, request_certificate, show_certificate
from .proofs import Established
from .script import Peer
from .tickets import keeper_once_asked, receive_ticket, send_tickets
from .wishes import RequestCertificate, SendTickets, Wish


async def after_client(peer: Peer, established: Established) -> NoReturn:
    """What a client still has to listen to, for as long as the connection lives. Raises PeerFault."""
    read_secret = established.read_secret
    if read_secret is None:
        await refuse_renegotiation(peer, HelloRequest)
    requests, keeper = 0, established.keeper
    while True:
        message: NewSessionTicket | KeyUpdate | CertificateRequest
        if established.later is None:
            message = await peer.receive(NewSessionTicket, KeyUpdate)
        else:
            message = await peer.receive(NewSessionTicket, KeyUpdate, CertificateRequest)
        if isinstance(message, NewSessionTicket):
            await receive_ticket(peer, keeper, message)
            continue
        if isinstance(message, CertificateRequest):
            requests += 1
            await show_certificate(peer, established.later, message, requests)
            keeper = keeper_once_asked(keeper)
            continue
        read_secret = read_secret.next()
        peer.read_with(read_secret, Epoch.APPLICATION)
        answer_key_update(peer, message)


async def after_server(peer: Peer, established: Established) -> NoReturn:
    """The same for a server, which hears of nothing but new keys, and gives out tickets. Raises PeerFault."""
    read_secret = established.read_secret
    if read_secret is None:
        await refuse_renegotiation(peer, ClientHello)
    issuer = established.issuer
    if issuer is not None:
        await send_tickets(peer, issuer, issuer.config.ticket_count)
    wanted: deque[ClientAuth] = deque()
    request: Request | None = None
    while True:
        if wanted and request is None and not peer.closed:
            request = request_certificate(peer, established.later, wanted.popleft())
        message: KeyUpdate | Certificate | Wish
        if request is None:
            message = await peer.receive_or_wish(KeyUpdate)
        else:
            message = await peer.receive_or_wish(KeyUpdate, Certificate)
        if isinstance(message, SendTickets):
            if issuer is not None:
                await send_tickets(peer, issuer, message.count)
            continue
        if isinstance(message, RequestCertificate):
            wanted.append(message.auth)
            continue
        if isinstance(message, Certificate):
            await accept_certificate(peer, request, message, read_secret)
            request = None
            continue
        read_secret = read_secret.next()
        peer.read_with(read_secret, Epoch.APPLICATION)
        answer_key_update(peer, message)


async def refuse_renegotiation(peer: Peer, wish: type[HelloRequest] | type[ClientHello]) -> NoReturn:
    """TLS 1.2 could shake hands again inside a connection; we say no once, and hang up the second time.

    Behind our close_notify we cannot say no any more, and hang up at once.
    """
    await peer.receive(wish)
    require(not peer.closed, rules.RENEGOTIATION)
    peer.refuse_renegotiation()
    await peer.receive(wish)
    raise PeerFault(rules.RENEGOTIATION)


def answer_key_update(peer: Peer, message: KeyUpdate) -> None:
    """RFC 8446 §4.6.3: answer once, however often the peer asks before our answer is on its way."""
    require(message.request_update.known, rules.KEY_UPDATE_REQUEST)
    wanted = message.request_update is KeyUpdateRequest.UPDATE_REQUESTED
    if wanted and not peer.update_pending and not peer.closed:
        update_write_keys(peer, KeyUpdateRequest.UPDATE_NOT_REQUESTED)


def update_write_keys(peer: Peer, request: KeyUpdateRequest) -> None:
    """Announce new keys for our direction, and use them from the next record on."""
    secret = peer.write_secret
    if secret is None:
        raise ValueError("there are no keys to update yet")
    peer.send(KeyUpdate(request))
    peer.write_with(secret.next(), Epoch.APPLICATION)
    peer.note(Subject.KEYS, secret.generation + 1, "KeyUpdate")
    peer.update_pending = True
