"""The client's side up to the point where the version is known: one ClientHello for all versions."""

from __future__ import annotations

from .. import rules
from ..channel.inbound import ChangeCipherSpecs
from ..config import ClientConfig
from ..identity.names import PeerName
from ..rules import PeerFault, require
from ..trace import Subject
from ..wire.messages import HelloRetryRequest, ServerHello
from ..wire.names import TLSVersion
from .authenticate import may_send_early
from .client12 import client12
from .client13 import client13, reject_early_data, send_early_data, send_hello
from .offer import Offer, make_offer
from .proofs import Established
from .resume import session_to_offer
from .script import Peer

DOWNGRADE_MARKS = (b"DOWNGRD\x01", b"DOWNGRD\x00")
"""How the random of a server ends that can do TLS 1.3 and answers with 1.2, or less (RFC 8446 §4.1.3)."""


async def client(peer: Peer, config: ClientConfig, name: PeerName | None, early_data: bytes = b"") -> Established:
    """RFC 8446 §2, from the client's side. Raises PeerFault."""
    held, hopeful = await session_to_offer(peer, config, name), early_data
    why = "there is no session that allows so much of it"
    session = held.session if held is not None and 0 < len(early_data) <= held.session.max_early_data else None
    if session is not None and not await may_send_early(peer, config, name, session):
        hopeful, why = b"", "the server of its session is not accepted any more"
    offer = make_offer(config, name, held, hopeful)
    if early_data and not offer.early_data:
        reject_early_data(peer, f"it was not sent: {why}")
    return await run_offer(peer, offer)


async def run_offer(peer: Peer, offer: Offer) -> Established:
    """Send a ClientHello and follow the version the server answers with."""
    peer.client_random = offer.hello.random
    send_hello(peer, offer)
    peer.change_cipher_specs(ChangeCipherSpecs.DROP)
    if offer.server_name is not None:
        peer.note(Subject.SERVER_NAME, offer.server_name, "the name we connect to")
    if offer.early_data:
        send_early_data(peer, offer)
    hello = await peer.receive(ServerHello, HelloRetryRequest)
    if choose_version(offer, hello) is TLSVersion.TLS_1_2 and isinstance(hello, ServerHello):
        if offer.early_data:
            peer.write_in_clear()  # so that the server can read our alert
            rules.fail(rules.EARLY_DATA_OLDER)
        return await client12(peer, offer, hello)
    return await client13(peer, offer, hello)


def choose_version(offer: Offer, hello: ServerHello | HelloRetryRequest) -> TLSVersion:
    """Which version did the server answer with? RFC 8446 §4.1.3 and §4.2.1. Raises PeerFault."""
    offered = tuple(offer.config.usable_versions)
    selected = hello.extensions.supported_versions
    if selected is not None:
        require(selected is TLSVersion.TLS_1_3 and selected in offered, rules.SERVER_SELECTED_VERSION, selected)
        return selected
    require(TLSVersion.TLS_1_3 not in offered or hello.random[24:] not in DOWNGRADE_MARKS, rules.DOWNGRADE)
    require(hello.random[24:] != DOWNGRADE_MARKS[1], rules.DOWNGRADE)
    older = isinstance(hello, ServerHello) and hello.legacy_version is TLSVersion.TLS_1_2
    if not older or TLSVersion.TLS_1_2 not in offered:
        raise PeerFault(rules.SERVER_VERSION, ours=offered, theirs=(hello.legacy_version,))
    return TLSVersion.TLS_1_2
