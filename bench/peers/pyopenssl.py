"""pyOpenSSL: the OpenSSL that the `cryptography` package brings along."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import Any, ClassVar

from OpenSSL import SSL

from ..identity import NAME, Identity
from .base import Case, Group, Library, Unsupported

_CHUNK = 65_536


class PyOpenSSL(Library):
    """Its groups cannot be chosen: the hybrid comes first. Its server's tickets cannot be turned off, and it verifies
    the chain but leaves the name to its caller.
    """

    name: ClassVar[str] = "pyOpenSSL"

    @property
    def version(self) -> str:
        return f"{version('pyopenssl')} ({SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()})"

    def handshakes(self, identity: Identity, case: Case) -> Callable[[], MemoryPair]:
        if case.group is not Group.X25519_MLKEM768 or case.resumed:
            raise Unsupported(f"pyOpenSSL with {case}")
        client, server = SSL.Context(SSL.TLS_METHOD), SSL.Context(SSL.TLS_METHOD)
        for context in (client, server):
            context.set_min_proto_version(SSL.TLS1_3_VERSION)
            context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256")
        client.load_verify_locations(str(identity.root))
        client.set_verify(SSL.VERIFY_PEER)
        server.use_certificate_chain_file(str(identity.chain))
        server.use_privatekey_file(str(identity.key))
        group = MemoryPair(client, server).client.get_group_name()
        if group is None or group.upper() != case.group.value.upper():
            raise Unsupported(f"pyOpenSSL agreed on {group}")
        return lambda: MemoryPair(client, server)


class MemoryPair:
    """Two connections with buffers of their own."""

    __slots__ = ("client", "server")

    def __init__(self, client_context: Any, server_context: Any) -> None:
        client, server = SSL.Connection(client_context, None), SSL.Connection(server_context, None)
        client.set_tlsext_host_name(NAME.encode())
        client.set_connect_state()
        server.set_accept_state()
        _step(client)
        server.bio_write(client.bio_read(_CHUNK))
        _step(server)
        client.bio_write(server.bio_read(_CHUNK))
        client.do_handshake()
        server.bio_write(client.bio_read(_CHUNK))
        server.do_handshake()
        client.bio_write(server.bio_read(_CHUNK))
        with suppress(SSL.WantReadError):
            client.recv(1)  # nothing but tickets is there
        self.client, self.server = client, server

    def carry(self, data: bytes) -> int:
        self.client.send(data)
        self.server.bio_write(self.client.bio_read(_CHUNK))
        got, size = 0, len(data)
        while got < size:
            got += len(self.server.recv(size))
        return got


def _step(end: Any) -> None:
    with suppress(SSL.WantReadError):
        end.do_handshake()
