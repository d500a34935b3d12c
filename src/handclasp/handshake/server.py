"""The server's side up to the point where the version is known."""

from __future__ import annotations

from .. import rules
from ..channel.inbound import ChangeCipherSpecs
from ..config import ServerConfig
from ..rules import require
from ..trace import Subject
from ..wire.messages import ClientHello
from ..wire.names import TLSVersion
from .negotiate import asked_name, choose_version
from .proofs import Established
from .questions import ChooseConfig, FindCredentials
from .script import Peer
from .server12 import server12
from .server13 import server13


async def server(peer: Peer, config: ServerConfig) -> Established:
    """RFC 8446 §2, from the server's side. Raises PeerFault."""
    hello = await peer.receive(ClientHello)
    peer.client_random = hello.random
    peer.change_cipher_specs(ChangeCipherSpecs.DROP)
    name = asked_name(hello)
    if name is not None:
        peer.note(Subject.SERVER_NAME, name, "the name the client asked for")
    if config.choose is not None:
        config = await peer.ask(ChooseConfig(config.choose, hello))
        peer.adopt(config)
    if config.source is not None:
        found = await peer.ask(FindCredentials(config.source, hello))
        if not (config.knows_psks and TLSVersion.TLS_1_3 in config.usable_versions):  # which may need no certificate
            require(found or name is None, rules.UNRECOGNIZED_NAME, name)
            require(found, rules.SERVER_NAME_REQUIRED)
        config = config.replace(credentials=found)
    version = choose_version(config, hello)
    peer.note(Subject.VERSION, version.value, version.why)
    if version.value is TLSVersion.TLS_1_2:
        return await server12(peer, config, hello, name)
    return await server13(peer, config, hello, name)
