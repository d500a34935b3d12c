"""The standard library's `ssl`, and `rtls` (rustls), which has its face."""

from __future__ import annotations

import asyncio
import platform
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from typing import Any, ClassVar

from ..identity import NAME, Identity
from .base import Case, Group, Library, Unsupported, Wire


class _SslLike(Library):
    """Contexts, `wrap_bio` with two buffers for each end, `wrap_socket`."""

    module: Any
    groups: ClassVar[frozenset[Group]]

    def contexts(self, identity: Identity, group: Group, tickets: int = 0) -> tuple[Any, Any]:
        """(client, server)"""
        if group not in self.groups:
            raise Unsupported(f"{self.name} with {group.value}")
        client = self.module.SSLContext(self.module.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(str(identity.root))
        server = self.module.SSLContext(self.module.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(str(identity.chain), str(identity.key))
        for context in (client, server):
            context.minimum_version = self.module.TLSVersion.TLSv1_3
            self.choose(context, group)
        if self.module is ssl:
            server.num_tickets = tickets
        return client, server

    def choose(self, context: Any, group: Group) -> None:
        """Settle what the context leaves open."""

    def handshakes(self, identity: Identity, case: Case) -> Callable[[], BioPair]:
        client, server = self.contexts(identity, case.group, tickets=1 if case.resumed else 0)
        if not case.resumed:
            pair = BioPair(self.module, client, server)
            if "AES_128_GCM" not in pair.client.cipher()[0]:
                raise Unsupported(f"{self.name} chose {pair.client.cipher()[0]}")
            return lambda: BioPair(self.module, client, server)
        if self.module is not ssl:
            raise Unsupported(f"{self.name} has no sessions")
        session = BioPair(self.module, client, server).client.session
        if not BioPair(self.module, client, server, session).client.session_reused:
            raise RuntimeError("the session was not resumed")
        return lambda: BioPair(self.module, client, server, session)

    def ends(self, identity: Identity) -> ModuleEnds:
        return ModuleEnds(*self.contexts(identity, next(iter(self.groups))))

    def default_client(self) -> object:
        return self.module.create_default_context()

    def asyncio_client(self, identity: Identity) -> Callable[[int], Any]:
        context, _ = self.contexts(identity, next(iter(self.groups)))
        return lambda port: asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME)

    def asyncio_server(self, identity: Identity) -> Callable[[Any], Any]:
        _, context = self.contexts(identity, next(iter(self.groups)))
        return lambda callback: asyncio.start_server(callback, "127.0.0.1", 0, ssl=context)


class Stdlib(_SslLike):
    """OpenSSL as the interpreter was built with it."""

    name: ClassVar[str] = "ssl"
    groups: ClassVar[frozenset[Group]] = frozenset({Group.X25519})
    module = ssl

    @property
    def version(self) -> str:
        return f"Python {platform.python_version()} ({ssl.OPENSSL_VERSION})"

    def choose(self, context: Any, group: Group) -> None:
        try:
            context.set_ecdh_curve(group.value)
        except ssl.SSLError:  # Python 3.11.2 knows but the NIST curves by name
            if ssl.OPENSSL_VERSION_INFO >= (3, 5):
                raise Unsupported(f"{self.name} cannot be told to use {group.value}") from None
            # before 3.5 it is OpenSSL's first choice


class Rustls(_SslLike):
    """rustls; its groups cannot be chosen, and the hybrid comes first."""

    name: ClassVar[str] = "rtls"
    groups: ClassVar[frozenset[Group]] = frozenset({Group.X25519_MLKEM768})

    def __init__(self) -> None:
        self.module = import_module("rtls")

    @property
    def version(self) -> str:
        return f"{version('rtls')} ({self.module.OPENSSL_VERSION})"


class BioPair:
    """Two objects, and their four buffers."""

    __slots__ = ("_from_client", "_to_server", "client", "server")

    def __init__(self, module: Any, client_context: Any, server_context: Any, session: Any = None) -> None:
        to_client, self._from_client = module.MemoryBIO(), module.MemoryBIO()
        self._to_server, from_server = module.MemoryBIO(), module.MemoryBIO()
        options = {} if session is None else {"session": session}
        client = client_context.wrap_bio(to_client, self._from_client, server_hostname=NAME, **options)
        server = server_context.wrap_bio(self._to_server, from_server, server_side=True)
        wants = module.SSLWantReadError
        _step(client, wants)
        self._to_server.write(self._from_client.read())
        _step(server, wants)
        to_client.write(from_server.read())
        client.do_handshake()
        self._to_server.write(self._from_client.read())
        server.do_handshake()
        if from_server.pending:
            to_client.write(from_server.read())
            with suppress(wants):
                client.read(1)  # nothing but tickets is there
        self.client, self.server = client, server

    def carry(self, data: bytes) -> int:
        self.client.write(data)
        self._to_server.write(self._from_client.read())
        got, size = 0, len(data)
        while got < size:
            got += len(self.server.read(size))
        return got


class ModuleEnds:
    """Over blocking sockets."""

    def __init__(self, client: Any, server: Any) -> None:
        self._client, self._server = client, server

    def client(self, sock: socket.socket) -> Wire:
        tls: Wire = self._client.wrap_socket(sock, server_hostname=NAME)
        return tls

    def server(self, sock: socket.socket) -> Wire:
        tls: Wire = self._server.wrap_socket(sock, server_side=True)
        return tls


def _step(end: Any, wants: type[Exception]) -> None:
    with suppress(wants):
        end.do_handshake()
