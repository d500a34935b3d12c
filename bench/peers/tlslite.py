"""tlslite-ng: the other TLS in pure Python. It validates no path: its client takes any certificate."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any, ClassVar

from tlslite.api import HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey

from ..identity import Identity
from .base import Case, Group, Library, Unsupported


class Tlslite(Library):
    """Its primitives are Python's integers, unless optional packages bring others."""

    name: ClassVar[str] = "tlslite-ng"

    @property
    def version(self) -> str:
        return version("tlslite-ng")

    def handshakes(self, identity: Identity, case: Case) -> Callable[[], SocketlessPair]:
        if case.group is not Group.X25519 or case.resumed:
            raise Unsupported(f"tlslite-ng with {case}")
        chain = X509CertChain()
        chain.parsePemList(identity.chain.read_text())
        key = parsePEMKey(identity.key.read_text(), private=True)
        settings = HandshakeSettings()
        settings.minVersion, settings.maxVersion = (3, 4), (3, 4)
        settings.cipherNames = ["aes128gcm"]
        settings.eccCurves, settings.keyShares = ["x25519"], ["x25519"]
        settings.ticketKeys = []
        return lambda: SocketlessPair(chain, key, settings)


class SocketlessPair:
    """Two connections over buffers that look like sockets."""

    __slots__ = ("client", "server")

    def __init__(self, chain: Any, key: Any, settings: Any) -> None:
        ours, theirs = _Buffer(), _Buffer()
        ours.other, theirs.other = theirs, ours
        self.client, self.server = TLSConnection(ours), TLSConnection(theirs)
        running: list[Iterator[Any]] = [
            self.client.handshakeClientCert(settings=settings, async_=True),
            self.server.handshakeServerAsync(certChain=chain, privateKey=key, settings=settings),
        ]
        while running:
            running = [steps for steps in running if next(steps, None) is not None]

    def carry(self, data: bytes) -> int:
        self.client.write(data)
        got, size = 0, len(data)
        while got < size:
            got += len(self.server.read(max=size, min=1))
        return got


class _Buffer:
    """A socket of memory that never waits."""

    def __init__(self) -> None:
        self.other: _Buffer = self
        self._held = bytearray()

    def send(self, data: bytes) -> int:
        self.other._held += data
        return len(data)

    def sendall(self, data: bytes) -> None:
        self.send(data)

    def recv(self, most: int) -> bytes:
        if not self._held:
            raise OSError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        taken = bytes(self._held[:most])
        del self._held[:most]
        return taken

    def close(self) -> None:
        self._held.clear()
