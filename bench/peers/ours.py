"""handclasp itself."""

from __future__ import annotations

import socket
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, ClassVar

import handclasp
from handclasp import ClientConfig, ClientSessions, ServerConfig, TicketKeys
from handclasp.connection import ClientConnection, ServerConnection
from handclasp.events import Data
from handclasp.identity.trust import Verifier
from handclasp.wire.names import CipherSuite, NamedGroup, TLSVersion

from ..identity import NAME, Identity
from .base import Case, Group, Library, Wire

_GROUPS = {Group.X25519: NamedGroup.X25519, Group.X25519_MLKEM768: NamedGroup.X25519_MLKEM768}
_SUITES = (CipherSuite.TLS_AES_128_GCM_SHA256, CipherSuite.TLS_AES_256_GCM_SHA384)


class Handclasp(Library):
    """In memory, a connection for each role; over sockets, the blocking and the asyncio adapters."""

    name: ClassVar[str] = "handclasp"

    @property
    def version(self) -> str:
        return f"{version('handclasp')} (cryptography {version('cryptography')})"

    def trust(self, identity: Identity) -> Verifier:
        return identity.trust

    def handshakes(self, identity: Identity, case: Case) -> Callable[[], OurPair]:
        client, server = self._configs(identity, case)
        if case.resumed:
            client = client.replace(sessions=ClientSessions())
            server = server.replace(tickets=TicketKeys(), ticket_count=1)
        pair = _shake(client, server)
        if pair.client.info.group is not _GROUPS[case.group]:
            raise RuntimeError(f"the group is {pair.client.info.group}")
        if case.resumed and not _shake(client, server).client.info.resumed:
            raise RuntimeError("the session was not resumed")
        return lambda: _shake(client, server)

    def ends(self, identity: Identity) -> OurEnds:
        return OurEnds(*self._configs(identity, Case()))

    def default_client(self) -> object:
        return ClientConfig()

    def asyncio_client(self, identity: Identity) -> Callable[[int], Any]:
        config, _ = self._configs(identity, Case())
        return lambda port: handclasp.aio.open_connection("127.0.0.1", port, config, server_name=NAME)

    def asyncio_server(self, identity: Identity) -> Callable[[Any], Any]:
        _, config = self._configs(identity, Case())
        return lambda callback: handclasp.aio.start_server(callback, "127.0.0.1", 0, config)

    def _configs(self, identity: Identity, case: Case) -> tuple[ClientConfig, ServerConfig]:
        versions, groups = (TLSVersion.TLS_1_3,), (_GROUPS[case.group], NamedGroup.X25519)
        client = ClientConfig(
            trust=self.trust(identity), versions=versions, cipher_suites=_SUITES, groups=tuple(dict.fromkeys(groups))
        )
        server = ServerConfig(
            credentials=[identity.credential], versions=versions, cipher_suites=_SUITES, groups=client.groups
        )
        return client, server


class OurPair:
    """Two connections, and bytes between them."""

    __slots__ = ("client", "server")

    def __init__(self, client: ClientConnection, server: ServerConnection) -> None:
        self.client, self.server = client, server

    def carry(self, data: bytes) -> int:
        self.client.send(data)
        self.server.receive_data(self.client.data_to_send())
        return sum([len(event.data) for event in self.server.events() if isinstance(event, Data)])


class OurEnds:
    """Over blocking sockets."""

    def __init__(self, client: ClientConfig, server: ServerConfig) -> None:
        self._client, self._server = client, server

    def client(self, sock: socket.socket) -> Wire:
        return handclasp.wrap(sock, self._client, server_name=NAME)

    def server(self, sock: socket.socket) -> Wire:
        return handclasp.wrap(sock, self._server)


def _shake(client_config: ClientConfig, server_config: ServerConfig) -> OurPair:
    """The handshake, and the tickets behind it."""
    client, server = ClientConnection(client_config, NAME), ServerConnection(server_config)
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    server.receive_data(client.data_to_send())
    tickets = server.data_to_send()
    if tickets:
        client.receive_data(tickets)
    client.events()
    server.events()
    if not (client.established and server.established):
        raise RuntimeError("the handshake is not done")
    return OurPair(client, server)
