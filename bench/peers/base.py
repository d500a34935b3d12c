"""What a workload asks of a library."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol

from ..identity import Identity


class Group(Enum):
    """The key agreement. The value is its name in the registry."""

    X25519 = "X25519"
    X25519_MLKEM768 = "X25519MLKEM768"


@dataclass(frozen=True)
class Case:
    """What a handshake is to be like. TLS 1.3 with AES-128-GCM, the server's certificate verified with its name."""

    group: Group = Group.X25519
    resumed: bool = False
    """Every handshake resumes the session of the one before, and gets a ticket for the next."""


class Unsupported(Exception):
    """A library cannot do what a case asks for."""


class Pair(Protocol):
    """A client and a server in memory, their handshake done."""

    def carry(self, data: bytes) -> int:
        """Send from the client to the server; how many bytes its application got."""
        ...


class Wire(Protocol):
    """A TLS connection over a blocking socket."""

    def sendall(self, data: bytes, /) -> Any: ...

    def recv(self, most: int, /) -> bytes: ...

    def close(self) -> None: ...


class Ends(Protocol):
    """Both roles, ready for blocking sockets: sockets go in, TLS comes out, the handshake done."""

    def client(self, sock: socket.socket) -> Wire: ...

    def server(self, sock: socket.socket) -> Wire: ...


class Library:
    """One library. What it cannot do raises Unsupported."""

    name: ClassVar[str]

    @property
    def version(self) -> str:
        """Its version, and that of what it stands on."""
        raise NotImplementedError

    def handshakes(self, identity: Identity, case: Case) -> Callable[[], Pair]:
        """Contexts are made here; each call of the result is one handshake in memory."""
        raise Unsupported(self.name)

    def ends(self, identity: Identity) -> Ends:
        """For blocking sockets."""
        raise Unsupported(self.name)

    def default_client(self) -> object:
        """What a client needs that trusts the system's roots, made anew."""
        raise Unsupported(self.name)

    def asyncio_client(self, identity: Identity) -> Callable[[int], Any]:
        """port -> an awaitable of asyncio's (reader, writer)."""
        raise Unsupported(self.name)

    def asyncio_server(self, identity: Identity) -> Callable[[Any], Any]:
        """callback -> an awaitable of a started server, on a free port of loopback."""
        raise Unsupported(self.name)
