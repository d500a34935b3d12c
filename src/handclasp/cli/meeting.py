"""Where the demos take place: a server on the loopback interface that waits for one client, and answers it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from ..config import ClientConfig, ServerConfig
from ..io.blocking import TLSSocket, wrap

NAME = "shop.test"
LABEL = "EXPERIMENTAL handclasp demo"
PATIENCE = 10.0
"""Seconds that anything on the loopback interface may take."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer, as the client's application saw them."""

    request: bytes
    answer: bytes


def ask(tls: TLSSocket, path: str) -> Exchange:
    """Send a request; wait for its answer."""
    request = f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
    tls.sendall(request)
    return Exchange(request, tls.recv(65536))


@dataclass(frozen=True, slots=True)
class Meeting:
    """A server that waits for one client, in a thread of its own."""

    port: int
    exported: Future[bytes]
    """The value the server derives for itself from the keys of the connection."""
    served: Future[list[bytes]]
    """All requests as the server's application read them; or what the server's handshake failed with."""

    def connect(self, config: ClientConfig, name: str) -> TLSSocket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        _prepare(sock)
        return wrap(sock, config, server_name=name, timeout=PATIENCE)


@contextmanager
def answering(config: ServerConfig) -> Iterator[Meeting]:
    """A server on a free port of the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(PATIENCE)
        exported: Future[bytes] = Future()
        served = pool.submit(_serve, listener, config, exported)
        yield Meeting(listener.getsockname()[1], exported, served)


def _serve(listener: socket.socket, config: ServerConfig, exported: Future[bytes]) -> list[bytes]:
    """The server's whole life: shake hands, answer every request, say goodbye when the client does."""
    try:
        sock, _ = listener.accept()
        _prepare(sock)
        tls = wrap(sock, config, timeout=PATIENCE)
        exported.set_result(tls.export(LABEL))
    except Exception as error:
        exported.set_exception(error)
        raise
    requests: list[bytes] = []
    with tls:
        while request := tls.recv(65536):
            requests.append(request)
            tls.sendall(_ANSWER)
    return requests


def _prepare(sock: socket.socket) -> None:
    sock.settimeout(PATIENCE)
    # Small writes follow each other here; held back to be joined, each would wait 40 ms for an acknowledgement.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


_BODY = b"for your eyes only\n"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
