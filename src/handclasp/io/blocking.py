"""TLS over blocking sockets: `connect`, `wrap`, and the socket they give. `listener.py` has the server."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Coroutine
from typing import Any, Literal, Self, TypeVar, overload

from ..config import ClientAuth, ClientConfig, ServerConfig
from ..connection import Connection
from ..errors import ConfigError, NotEstablished
from ..events import ConnectionInfo
from ..fetching import countdown, dial
from ..limits import HANDSHAKE_TIMEOUT
from .files import open_file
from .sockets import BlockingTransport, Deadline, SocketTransport, TunnelTransport
from .stream import Stream, connection_for

T = TypeVar("T")

PIECE = 16 * 1024
"""Most data that a socket which does not block takes at once, in bytes: one record."""


def connect(
    host: str,
    port: int = 443,
    config: ClientConfig | None = None,
    *,
    server_name: str | None = None,
    timeout: float | None = HANDSHAKE_TIMEOUT,
    early_data: bytes = b"",
) -> TLSSocket:
    """A verified TLS connection to a server.

    `server_name` is checked instead of `host` where they differ. `timeout` bounds the TCP connection and then the
    handshake, in seconds; afterwards the socket blocks (see `settimeout`). Raises TLSError and OSError.

    `early_data` goes with the first flight where a session allows it (RFC 8446 §2.3): `info.early_data` says whether it
    was taken. It is not sent again by itself; see `ClientConnection` for what it must not be.
    """
    # the configuration is checked before anything is sent
    connection = connection_for(config or ClientConfig(), server_name or host, early_data)
    sock = dial((host, port), countdown(timeout) if timeout is not None else lambda: None, socket.socket)
    sock.settimeout(None)
    return _shaken(TLSSocket(Stream(connection, SocketTransport(sock)), timeout))


def wrap(
    sock: socket.socket | TLSSocket,
    config: ClientConfig | ServerConfig,
    *,
    server_name: str | None = None,
    timeout: float | None = HANDSHAKE_TIMEOUT,
    received: bytes = b"",
) -> TLSSocket:
    """TLS on a connected socket (STARTTLS, CONNECT, UNIX sockets, another TLSSocket), in the role of the config.

    Read nothing more from `sock` yourself: it belongs to the TLS connection from here on, and is closed on failure.
    What you have read of TLS already, behind the last plain word, goes into `received`; anything else in there fails
    the handshake. A socket that does not block shakes hands by `do_handshake`, called until it succeeds.
    """
    connection = connection_for(config, server_name)
    if isinstance(sock, TLSSocket):
        transport: BlockingTransport = TunnelTransport(sock.stream, received)
    else:
        transport = SocketTransport(sock, received)
    tls = TLSSocket(Stream(connection, transport), timeout)
    return _shaken(tls) if transport.blocking else tls


class TLSSocket:
    """A TLS connection that reads and writes like a socket. One thread may read while another writes.

    One that does not block raises BlockingIOError: wait for its `fileno` to be readable, or where `wants_write` says so
    writable, and call again with the same arguments. What `pending` counts no selector knows of.
    """

    def __init__(self, stream: Stream, handshake_timeout: float | None = HANDSHAKE_TIMEOUT) -> None:
        if not isinstance(stream.transport, BlockingTransport):
            raise ConfigError("a TLSSocket needs a transport that never suspends")
        self.stream = stream
        self._transport = stream.transport
        self._handshake_timeout = handshake_timeout
        self._began = time.monotonic()
        self._half_sent: bytes | None = None
        self._files = 0
        """Files that are open: the connection is closed behind the last of them, as with sockets."""
        self._closed = False

    @property
    def info(self) -> ConnectionInfo:
        """What was settled with the peer, and why."""
        return self._connection.info

    @property
    def early_data(self) -> bytes:
        """A server's: what the client sent before the handshake was done; it may be a replay (RFC 8446 §8)."""
        return self.stream.early_data

    @property
    def _connection(self) -> Connection:
        return self.stream.connection

    def do_handshake(self) -> None:
        """Shake hands, where that is not done; it has to be for all else. For sockets that do not block."""
        if not self.stream.established:
            within = self._handshake_timeout
            with Deadline(None if within is None else within - (time.monotonic() - self._began)):
                _run(self.stream.handshake(within))

    def recv(self, most: int) -> bytes:
        """Up to `most` bytes; none when the peer has finished. Raises TruncatedError if it just vanished."""
        stream = self.stream
        reading = self._transport.reading
        if stream.received and reading.take_if_free():  # 3 µs less than by the coroutine
            try:
                if stream.received:
                    return stream.take(most)
            finally:
                reading.release()
        return self._run(stream.read(most))

    def recv_into(self, buffer: bytearray | memoryview, most: int = 0) -> int:
        """Fill the front of a buffer, all of it or `most` bytes; how many came."""
        view = memoryview(buffer).cast("B")
        data = self.recv(min(most or len(view), len(view)))
        view[: len(data)] = data
        return len(data)

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of the data."""
        self._run(self.stream.write(data))

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send some of the data, or all; how many bytes that was.

        Only a socket that does not block sends less than all. Where it raises BlockingIOError it has to be called
        again with the same data: a part of it may be on its way already. Raises ConfigError for other data.
        """
        if self._transport.blocking:
            self.sendall(data)
            return memoryview(data).nbytes
        return self._send_some(memoryview(data).cast("B"))

    def _send_some(self, view: memoryview) -> int:
        """Seal one piece, and remember it until all of its records have left."""
        if self._half_sent is None:
            _run(self.stream.flush())
            piece = bytes(view[:PIECE])
            self._half_sent = piece
            try:
                _run(self.stream.write(piece))
            except BlockingIOError:
                raise
            except BaseException:
                self._half_sent = None
                raise
        else:
            piece = self._half_sent
            if view[: len(piece)] != piece:
                raise ConfigError("send was given other data than when it could not finish", code="send-other-data")
            _run(self.stream.flush())
        self._half_sent = None
        return len(piece)

    @overload
    def makefile(self, mode: Literal["rb", "br"], buffering: int | None = None) -> io.BufferedReader: ...

    @overload
    def makefile(self, mode: Literal["wb", "bw"], buffering: int | None = None) -> io.BufferedWriter: ...

    @overload
    def makefile(self, mode: Literal["rwb", "rbw", "wrb"], buffering: int | None = None) -> io.BufferedRWPair: ...

    @overload
    def makefile(
        self,
        mode: Literal["r", "w", "rw", "wr", ""] = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.TextIOWrapper: ...

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.IOBase:
        """A file over the connection, as `socket.makefile` gives it: text, or bytes with "b"; unbuffered with 0.

        The connection is closed when it and all of its files are.
        """
        file = open_file(self, mode, buffering, encoding, errors, newline, self._file_closed)
        self._files += 1
        return file

    def _file_closed(self) -> None:
        self._files -= 1
        if self._closed:
            self.close()

    def pending(self) -> int:
        """How many bytes are here already, so that a selector does not know of them: read before waiting for it.

        Of TLS in TLS, what the outer connection has of the inner one counts too; it may turn out less data, or none.
        """
        return sum(map(len, self.stream.received)) + self._transport.held()

    @property
    def wants_write(self) -> bool:
        """Whether there are bytes of ours that the socket would not take."""
        return self._transport.unsent

    def update_keys(self, *, request_peer: bool = False) -> None:
        """Change our sending keys (KeyUpdate), and ask the peer to change its own."""
        self._run(self.stream.update_keys(request_peer=request_peer))

    def send_tickets(self, count: int = 1) -> None:
        """A server's: give the client more tickets for short handshakes, at a moment of its choice (TLS 1.3)."""
        self._run(self.stream.send_tickets(count))

    def request_certificate(self, auth: ClientAuth | None = None) -> None:
        """A server's: ask the client for its certificate, after the handshake (TLS 1.3, RFC 8446 §4.6.2).

        Its answer comes with what is read next: `info.verified_chain`. See `ServerConnection.request_certificate`.
        """
        self._run(self.stream.request_certificate(auth))

    def export(self, label: str | bytes, context: bytes | None = None, length: int = 32) -> bytes:
        """Keying material for another protocol, RFC 8446 §7.5."""
        return self._connection.export(label, context, length)

    def channel_binding(self, kind: str) -> bytes:
        """`tls-exporter` or `tls-server-end-point`."""
        return self._connection.channel_binding(kind)

    def shutdown_write(self) -> None:
        """Say close_notify; what the peer still sends can be read (half-close)."""
        self._run(self.stream.close_writing())

    def shutdown(self, how: int) -> None:
        """SHUT_WR is `shutdown_write`; SHUT_RDWR also wakes a thread that reads. Reading alone cannot be shut down."""
        if how == socket.SHUT_RD:
            raise ValueError("TLS has no way to shut down reading alone")
        self.shutdown_write()
        if how == socket.SHUT_RDWR:
            self._transport.interrupt()

    def unwrap(self) -> tuple[socket.socket, bytes]:
        """End TLS, and give back the socket, open, with what the peer has sent on it since.

        Says close_notify and waits for the peer's. What came before it can still be received. Raises TLSError, OSError.
        """
        rest = self._run(self.stream.unwrap())
        return self._transport.release(), rest

    def close(self) -> None:
        """Say close_notify, wait at most a second for the peer's, and close the socket, once its files are closed."""
        self._closed = True
        if self._files <= 0 and self.fileno() != -1:
            _run(self.stream.close())

    def settimeout(self, seconds: float | None) -> None:
        """How long one call may take, in seconds; None: for ever; 0: it does not block."""
        self._transport.set_timeout(seconds)

    def gettimeout(self) -> float | None:
        return self._transport.timeout

    def setblocking(self, blocking: bool) -> None:
        """`settimeout(None)` or `settimeout(0)`."""
        self.settimeout(None if blocking else 0.0)

    def fileno(self) -> int:
        return self._transport.sock.fileno()

    def getsockopt(self, level: int, name: int, size: int = 0) -> int | bytes:
        """An option of the socket below."""
        return self._transport.sock.getsockopt(level, name, *([size] if size else []))

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        """Set an option of the socket below."""
        self._transport.sock.setsockopt(level, name, value)

    def getpeername(self) -> Any:
        return self._transport.sock.getpeername()

    def getsockname(self) -> Any:
        return self._transport.sock.getsockname()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if not self.stream.established:
            coroutine.close()
            raise NotEstablished("the handshake is not finished", remedy="call do_handshake until it succeeds")
        timeout = self._transport.timeout
        if not timeout:
            return _run(coroutine)
        with Deadline(timeout):
            return _run(coroutine)


def _shaken(tls: TLSSocket) -> TLSSocket:
    tls.do_handshake()
    return tls


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The value of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        value: T = finished.value
        return value
    coroutine.close()
    raise RuntimeError("a blocking transport suspended")
