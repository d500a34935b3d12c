"""TLS over blocking sockets: `connect`, `listen`, `wrap`, and the socket they give."""

from __future__ import annotations

import io
import queue
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Self, TypeVar

from ..config import ClientConfig, ServerConfig
from ..connection import Connection
from ..errors import ConfigError, NotEstablished, TLSError
from ..events import ConnectionInfo
from ..limits import HANDSHAKE_TIMEOUT
from .sockets import BlockingTransport, SocketTransport, TunnelTransport, limited
from .stream import Stream, connection_for, log_failure

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
    sock = socket.create_connection((host, port), timeout=timeout)
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
        tls = TLSSocket(Stream(connection, TunnelTransport(sock.stream)), timeout)
    else:
        tls = TLSSocket(Stream(connection, SocketTransport(sock, received)), timeout)
        if tls.gettimeout() == 0:
            return tls
    return _shaken(tls)


def listen(
    address: tuple[str, int], config: ServerConfig, *, backlog: int = 128, timeout: float | None = HANDSHAKE_TIMEOUT
) -> Listener:
    """A listening server: iterate over it, or call `accept`, for connections whose handshake is done."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    return Listener(socket.create_server(address, family=family, backlog=backlog), config, timeout)


class TLSSocket:
    """A TLS connection that reads and writes like a socket. One thread may read while another writes.

    One that does not block raises BlockingIOError: wait for its `fileno` to be writable where `wants_write` says so,
    else readable, and call again with the same arguments. What `pending` counts can be read without waiting.
    """

    def __init__(self, stream: Stream, handshake_timeout: float | None = HANDSHAKE_TIMEOUT) -> None:
        self.stream = stream
        self._shake_by = None if handshake_timeout is None else time.monotonic() + handshake_timeout
        self._half_sent: bytes | None = None

    @property
    def _transport(self) -> BlockingTransport:
        transport = self.stream.transport
        if not isinstance(transport, BlockingTransport):
            raise ConfigError("a TLSSocket needs a transport that never suspends")
        return transport

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
            left = None if self._shake_by is None else max(0.0, self._shake_by - time.monotonic())
            _run(self.stream.handshake(left))

    def recv(self, most: int) -> bytes:
        """Up to `most` bytes; none when the peer has finished. Raises TruncatedError if it just vanished."""
        return self._run(self.stream.read(most))

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        """Fill the front of a buffer; how many bytes came."""
        view = memoryview(buffer).cast("B")
        data = self.recv(len(view))
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

    def makefile(self, mode: str = "rb") -> io.BufferedIOBase:
        """A buffered binary file over the connection: "rb", "wb" or "rwb"."""
        raw = _RawTLS(self, "r" in mode, "w" in mode)
        if mode == "rb":
            return io.BufferedReader(raw)
        if mode == "wb":
            return io.BufferedWriter(raw)
        if mode == "rwb":
            return io.BufferedRWPair(raw, raw)
        raise ValueError(f"makefile takes 'rb', 'wb' or 'rwb', not {mode!r}")

    def pending(self) -> int:
        """How many bytes can be read without asking the socket: a selector does not know of them."""
        return sum(map(len, self.stream.received))

    @property
    def wants_write(self) -> bool:
        """Whether there are bytes of ours that the socket would not take."""
        return self._transport.unsent

    def update_keys(self, *, request_peer: bool = False) -> None:
        """Change our sending keys (KeyUpdate), and ask the peer to change its own."""
        self._run(self.stream.update_keys(request_peer=request_peer))

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
        """Say close_notify, wait at most a second for the peer's, and close the socket."""
        if self.fileno() != -1:
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
        with limited(self._transport.timeout or None):
            return _run(coroutine)


class Listener:
    """A listening socket whose connections have shaken hands.

    Handshakes run beside each other in threads: a slow client holds up nobody, and one that fails costs a log line.
    """

    AT_ONCE = 32
    """Handshakes under way, and finished connections waiting to be taken."""

    def __init__(self, sock: socket.socket, config: ServerConfig, timeout: float | None) -> None:
        self._sock = sock
        self._config = config
        self._timeout = timeout
        self._ready: queue.SimpleQueue[TLSSocket | None] = queue.SimpleQueue()
        self._room = threading.BoundedSemaphore(self.AT_ONCE)
        self._pool = ThreadPoolExecutor(self.AT_ONCE, thread_name_prefix="handclasp-handshake")
        self._closed = False
        self._acceptor = threading.Thread(target=self._accept_all, name="handclasp-accept", daemon=True)
        self._acceptor.start()

    @property
    def address(self) -> Any:
        """Where it listens: (host, port, ...)."""
        return self._sock.getsockname()

    def accept(self) -> TLSSocket:
        """The next connection. Raises OSError when the listener is closed."""
        ready = self._ready.get()
        if ready is None:
            self._ready.put(None)
            raise OSError("the listener is closed")
        return ready

    def close(self) -> None:
        """Stop listening. Connections that were taken live on; those that were not are closed."""
        if self._closed:
            return
        self._closed = True
        # wakes the accept call on every platform, which closing alone does not
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._acceptor.join()
        self._pool.shutdown()
        while not self._ready.empty():
            waiting = self._ready.get()
            if waiting is not None:
                waiting.close()
        self._ready.put(None)

    def __iter__(self) -> Iterator[TLSSocket]:
        while True:
            try:
                yield self.accept()
            except OSError:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept_all(self) -> None:
        while not self._closed:
            self._room.acquire()
            try:
                sock, peer = self._sock.accept()
            except OSError:
                self._room.release()
                if self._closed:
                    return
                time.sleep(0.05)  # out of descriptors, or a client gone already: others still want in
                continue
            self._pool.submit(self._shake, sock, peer)

    def _shake(self, sock: socket.socket, peer: Any) -> None:
        try:
            sock.settimeout(None)
            self._ready.put(wrap(sock, self._config, timeout=self._timeout))
        except (TLSError, OSError) as error:
            log_failure(peer, error)
        finally:
            self._room.release()


def _shaken(tls: TLSSocket) -> TLSSocket:
    tls.do_handshake()
    return tls


class _RawTLS(io.RawIOBase):
    """What `makefile` buffers. Closing it leaves the connection open, as with sockets."""

    def __init__(self, tls: TLSSocket, readable: bool, writable: bool) -> None:
        self._tls = tls
        self._readable = readable
        self._writable = writable

    def readable(self) -> bool:
        return self._readable

    def writable(self) -> bool:
        return self._writable

    def readinto(self, buffer: Any) -> int | None:
        try:
            return self._tls.recv_into(buffer)
        except BlockingIOError:
            return None

    def write(self, data: Any) -> int | None:
        try:
            return self._tls.send(data)
        except BlockingIOError:
            return None


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The value of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        value: T = finished.value
        return value
    coroutine.close()
    raise RuntimeError("a blocking transport suspended")
