"""The other side, in a thread: ours and the standard library's, on a wire that fails on purpose."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from handclasp import (
    ClientConfig,
    ClientConnection,
    Closed,
    Data,
    ServerConfig,
    ServerConnection,
    TLSError,
    TLSSocket,
)
from handclasp.events import Event
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


class End(Protocol):
    """One end of a TLS connection, without I/O: what `converse` needs of it."""

    @property
    def established(self) -> bool: ...

    def receive_data(self, data: bytes, /) -> None: ...

    def receive_eof(self) -> None: ...

    def events(self) -> list[Event]: ...

    def send(self, data: bytes, /) -> None: ...

    def close(self) -> None: ...

    def data_to_send(self) -> bytes: ...


def end_of(config: ClientConfig | ServerConfig | ssl.SSLContext, role: type[ClientConfig | ServerConfig]) -> End:
    """Our own, or the `ssl` module's."""
    if isinstance(config, ssl.SSLContext):
        return OpenSSL(config, None if role is ServerConfig else "localhost")
    return ClientConnection(config, "localhost") if isinstance(config, ClientConfig) else ServerConnection(config)


class OpenSSL:
    """The `ssl` module as such an end."""

    def __init__(self, context: ssl.SSLContext, server_name: str | None) -> None:
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._coming, self._going, server_side=server_name is None, server_hostname=server_name
        )
        self._events: list[Event] = []
        self.established = False
        self._advance()

    def receive_data(self, data: bytes) -> None:
        self._coming.write(data)
        self._advance()

    def receive_eof(self) -> None:
        self._coming.write_eof()
        self._advance()

    def events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def send(self, data: bytes) -> None:
        self._tls.write(data)

    def close(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):  # for the peer's
            self._tls.unwrap()

    def data_to_send(self) -> bytes:
        return self._going.read()

    def _advance(self) -> None:
        """Raises SSLError, which is an OSError."""
        with contextlib.suppress(ssl.SSLWantReadError):
            if not self.established:
                self._tls.do_handshake()
                self.established = True
            with contextlib.suppress(ssl.SSLZeroReturnError):  # or nothing, where we have not said close_notify yet
                while data := self._tls.read(65536):
                    self._events.append(Data(data))
            self._events.append(Closed(clean=True))


ASK, AGREE = b"STARTTLS\r\n", b"220 go ahead\r\n"
"""What is said in the clear before an upgrade: first the client, then the server."""


def read_line(sock: socket.socket) -> bytes:
    """A line, and nothing behind it."""
    line = b""
    while not line.endswith(b"\n"):
        line += sock.recv(1) or b"\n"
    return line


def converse(wire: Wire, connection: End, say: bytes, outcome: Outcome) -> None:
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


def farewell(far: TLSSocket) -> None:
    """Last words, with something amid them that is to be answered."""
    far.sendall(b"first, ")
    far.update_keys(request_peer=True)
    far.sendall(b"last")
    far.shutdown_write()


@contextlib.contextmanager
def in_thread(work: Callable[[], None]) -> Iterator[None]:
    """Something that is done meanwhile, and succeeds."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert failed == []


@contextlib.contextmanager
def serving(
    config: ServerConfig | ssl.SSLContext,
    say: bytes,
    *,
    fault: Fault | None = None,
    at: int = 0,
    piece: int = 1 << 20,
    upgrade: bool = False,
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
                with contextlib.suppress(OSError):
                    if upgrade and read_line(sock) == ASK:
                        sock.sendall(AGREE)
                    converse(Wire(sock, fault, at, piece), end_of(config, ServerConfig), say, outcome)

        with in_thread(work):
            try:
                yield listener.getsockname()[1], outcome
            finally:  # whoever should have come may not have
                socket.create_connection(listener.getsockname()).close()


def call(
    port: int,
    config: ClientConfig | ssl.SSLContext,
    say: bytes,
    *,
    fault: Fault | None = None,
    at: int = 0,
    piece: int = 1 << 20,
    upgrade: bool = False,
) -> Outcome:
    """A client: what it saw."""
    outcome = Outcome()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if upgrade:
            sock.sendall(ASK)
            assert read_line(sock) == AGREE
        converse(Wire(sock, fault, at, piece), end_of(config, ClientConfig), say, outcome)
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
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
