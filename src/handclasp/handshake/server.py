"""The server's side up to the point where the version is known."""

from __future__ import annotations

from ..config import ServerConfig
from ..trace import Subject
from ..wire.messages import ClientHello
from .negotiate import asked_name, choose_version
from .proofs import Established
from .script import ChooseConfig, Peer
from .server13 import server13


async def server(peer: Peer, config: ServerConfig) -> Established:
    """RFC 8446 §2, from the server's side. Raises PeerFault."""
    hello = await peer.receive(ClientHello)
    peer.client_random = hello.random
    peer.allow_change_cipher_spec(True)
    name = asked_name(hello)
    if name is not None:
        peer.note(Subject.SERVER_NAME, name, "the name the client asked for")
    if config.choose is not None:
        config = await peer.ask(ChooseConfig(config.choose, hello))
    version = choose_version(config, hello)
    peer.note(Subject.VERSION, version.value, version.why)
    return await server13(peer, config, hello, name)
