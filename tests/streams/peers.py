"""The other side, in a thread: ours and the standard library's, on a wire that fails on purpose."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from handclasp import ClientConfig, ClientConnection, Closed, Data, ServerConfig, ServerConnection, TLSError
from handclasp.lab.ca import CertificateAuthority

PATIENCE = 10.0


class Fault(Enum):
    EOF = "eof"
    RESET = "reset"
    STALL = "stall"
    """Send nothing more, and wait until the other side has had enough."""


class Cut(Exception):
    """The wire has failed, as it should."""


@dataclass
class Wire:
    """A socket that takes and gives so many bytes at once, and fails after so many sent."""

    sock: socket.socket
    fault: Fault | None = None
    at: int = 0
    piece: int = 1 << 20
    sent: int = 0

    def send(self, data: bytes) -> None:
        for start in range(0, len(data), self.piece):
            part = data[start : start + self.piece]
            if self.fault is not None and self.sent + len(part) >= self.at:
                self.sock.sendall(part[: self.at - self.sent])
                self._fail(self.fault)
            self.sock.sendall(part)
            self.sent += len(part)

    def receive(self) -> bytes:
        return self.sock.recv(min(self.piece, 65536))

    def _fail(self, fault: Fault) -> None:
        if fault is Fault.RESET:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif fault is Fault.STALL:
            with contextlib.suppress(ConnectionError):
                while self.sock.recv(65536):
                    pass
        self.sock.close()
        raise Cut


@dataclass
class Outcome:
    """What the peer saw."""

    received: bytearray = field(default_factory=bytearray)
    ended: bool = False
    """With close_notify."""
    sent: int = 0
    """Bytes on the wire."""


def converse(wire: Wire, connection: ClientConnection | ServerConnection, say: bytes, outcome: Outcome) -> None:
    """Shake hands, say something and close_notify; listen until the other side ends."""
    said = False
    try:
        while not outcome.ended:
            if connection.established and not said:
                said = True
                connection.send(say)
                connection.close()
            wire.send(connection.data_to_send())
            if connection.established and not said:
                continue
            data = wire.receive()
            try:
                if data:
                    connection.receive_data(data)
                else:
                    connection.receive_eof()
            finally:
                for event in connection.events():
                    match event:
                        case Data(data):
                            outcome.received += data
                        case Closed(clean):
                            outcome.ended = clean
        wire.send(connection.data_to_send())
    except (TLSError, Cut, OSError):
        pass
    outcome.sent = wire.sent


@contextlib.contextmanager
def in_thread(work: Callable[[], None]) -> Iterator[Future[None]]:
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        yield done
        done.result(PATIENCE)


@contextlib.contextmanager
def serving(
    config: ServerConfig,
    say: bytes,
    *,
    fault: Fault | None = None,
    at: int = 0,
    piece: int = 1 << 20,
) -> Iterator[tuple[int, Outcome]]:
    """A server of one connection: (port, what it saw)."""
    outcome = Outcome()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work() -> None:
            listener.settimeout(PATIENCE)
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(PATIENCE)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                converse(Wire(sock, fault, at, piece), ServerConnection(config), say, outcome)

        with in_thread(work):
            try:
                yield listener.getsockname()[1], outcome
            finally:  # whoever should have come may not have
                socket.create_connection(listener.getsockname()).close()


def call(
    port: int,
    config: ClientConfig,
    say: bytes,
    *,
    fault: Fault | None = None,
    at: int = 0,
    piece: int = 1 << 20,
) -> Outcome:
    """A client of ours: what it saw."""
    outcome = Outcome()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        converse(Wire(sock, fault, at, piece), ClientConnection(config, "localhost"), say, outcome)
    return outcome


# --- the standard library --------------------------------------------------------------------------------------------


def client_context(authority: CertificateAuthority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem().decode())


@contextlib.contextmanager
def openssl_echo(identity: Path, buffer: int | None = None) -> Iterator[int]:
    """A server of the `ssl` module that sends back what it gets, one connection: its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity)
    with socket.socket() as listener:
        if buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def work() -> None:
            listener.settimeout(PATIENCE)
            plain, _ = listener.accept()
            with plain:
                if buffer is not None:
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
                plain.settimeout(PATIENCE)
                with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as tls:
                    while data := tls.recv(65536):
                        tls.sendall(data)
                    tls.unwrap().close()

        with in_thread(work):
            yield listener.getsockname()[1]


def openssl_echoed(port: int, context: ssl.SSLContext, data: bytes) -> bytes:
    """What comes back from our server to a client of the `ssl` module."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        back = bytearray()
        for start in range(0, len(data), 16384):
            tls.sendall(data[start : start + 16384])
            while len(back) < min(start + 16384, len(data)):
                back += tls.recv(65536)
        with contextlib.suppress(OSError):
            tls.unwrap().close()
    return bytes(back)
