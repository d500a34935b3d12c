"""TLS over blocking sockets: `connect`, `listen`, `wrap`, and the socket they give."""

from __future__ import annotations

import io
import logging
import queue
import socket
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Self, TypeVar

from ..config import ClientConfig, ServerConfig
from ..connection import ClientConnection, ServerConnection
from ..errors import ConfigError, TLSError
from ..events import ConnectionInfo
from .stream import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT, Stream

T = TypeVar("T")

log = logging.getLogger("handclasp")
log.addHandler(logging.NullHandler())


def connect(
    host: str,
    port: int = 443,
    config: ClientConfig | None = None,
    *,
    server_name: str | None = None,
    timeout: float | None = HANDSHAKE_TIMEOUT,
) -> TLSSocket:
    """A verified TLS connection to a server.

    `server_name` is checked instead of `host` where they differ. `timeout` bounds the TCP connection and then the
    handshake, in seconds; afterwards the socket blocks (see `settimeout`). Raises TLSError and OSError.
    """
    # the configuration is checked before anything is sent
    connection = ClientConnection(config or ClientConfig(), server_name or host)
    sock = socket.create_connection((host, port), timeout=timeout)
    sock.settimeout(None)
    return _shake(sock, connection, timeout)


def wrap(
    sock: socket.socket,
    config: ClientConfig | ServerConfig,
    *,
    server_name: str | None = None,
    timeout: float | None = HANDSHAKE_TIMEOUT,
) -> TLSSocket:
    """TLS on a connected socket (STARTTLS, CONNECT, TLS in TLS), in the role of the config.

    Read nothing more from `sock` yourself: it belongs to the TLS connection from here on, and is closed on failure.
    """
    if isinstance(config, ServerConfig):
        if server_name is not None:
            raise ConfigError("server_name is a client's: a server learns it from the ClientHello")
        return _shake(sock, ServerConnection(config), timeout)
    return _shake(sock, ClientConnection(config, server_name), timeout)


def listen(
    address: tuple[str, int], config: ServerConfig, *, backlog: int = 128, timeout: float | None = HANDSHAKE_TIMEOUT
) -> Listener:
    """A listening server: iterate over it, or call `accept`, for connections whose handshake is done."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    return Listener(socket.create_server(address, family=family, backlog=backlog), config, timeout)


class TLSSocket:
    """A TLS connection that reads and writes like a socket. One thread may read while another writes."""

    def __init__(self, sock: socket.socket, stream: Stream) -> None:
        self._sock = sock
        self._stream = stream

    @property
    def info(self) -> ConnectionInfo:
        """What was settled with the peer, and why."""
        return self._stream.connection.info

    def recv(self, most: int) -> bytes:
        """Up to `most` bytes; none when the peer has finished. Raises TruncatedError if it just vanished."""
        return _run(self._stream.read(most))

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        """Fill the front of a buffer; how many bytes came."""
        view = memoryview(buffer).cast("B")
        data = self.recv(len(view))
        view[: len(data)] = data
        return len(data)

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of the data."""
        _run(self._stream.write(data))

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send all of the data; how many bytes that was."""
        self.sendall(data)
        return memoryview(data).nbytes

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

    def update_keys(self, *, request_peer: bool = False) -> None:
        """Change our sending keys (KeyUpdate), and ask the peer to change its own."""
        _run(self._stream.update_keys(request_peer=request_peer))

    def export(self, label: str | bytes, context: bytes | None = None, length: int = 32) -> bytes:
        """Keying material for another protocol, RFC 8446 §7.5."""
        return self._stream.connection.export(label, context, length)

    def channel_binding(self, kind: str) -> bytes:
        """`tls-exporter` or `tls-server-end-point`."""
        return self._stream.connection.channel_binding(kind)

    def shutdown_write(self) -> None:
        """Say close_notify; what the peer still sends can be read (half-close)."""
        _run(self._stream.close_writing())

    def close(self) -> None:
        """Say close_notify, wait at most a second for the peer's, and close the socket."""
        if self._sock.fileno() != -1:
            _run(self._stream.close(CLOSE_TIMEOUT))

    def settimeout(self, seconds: float | None) -> None:
        """How long one read or write may wait, in seconds; None: for ever."""
        self._sock.settimeout(seconds)

    def gettimeout(self) -> float | None:
        return self._sock.gettimeout()

    def fileno(self) -> int:
        return self._sock.fileno()

    def getpeername(self) -> Any:
        return self._sock.getpeername()

    def getsockname(self) -> Any:
        return self._sock.getsockname()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
            self._ready.put(_shake(sock, ServerConnection(self._config), self._timeout))
        except (TLSError, OSError) as error:
            log.info("handshake with %s failed: %s", _shown(peer), error)
        finally:
            self._room.release()


def _shown(peer: Any) -> str:
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) and len(peer) >= 2 else str(peer)


def _shake(sock: socket.socket, connection: ClientConnection | ServerConnection, timeout: float | None) -> TLSSocket:
    stream = Stream(connection, _SocketTransport(sock))
    _run(stream.handshake(timeout))
    return TLSSocket(sock, stream)


# --- a transport that never suspends ---------------------------------------------------------------------------------


class _SocketTransport:
    """A blocking socket. Its coroutines run to their end in one go."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        with suppress(OSError):  # not every socket is TCP; those that are must not hold back what we have sealed
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._deadline: float | None = None
        self.engine = threading.Lock()
        self.writing: AbstractAsyncContextManager[Any] = _AsyncLock()

    async def receive(self, most: int) -> bytes:
        self._spend()
        return self._sock.recv(most)

    async def send(self, data: bytes) -> None:
        self._spend()
        self._sock.sendall(data)

    def end(self) -> None:
        with suppress(OSError):  # the peer may be gone already
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._sock.close()

    @asynccontextmanager
    async def deadline(self, seconds: float | None) -> AsyncGenerator[None, None]:
        outer, timeout = self._deadline, self._sock.gettimeout()
        if seconds is not None:
            ends = time.monotonic() + seconds
            self._deadline = ends if outer is None else min(ends, outer)
        try:
            yield
        finally:
            self._deadline = outer
            if self._sock.fileno() != -1:
                self._sock.settimeout(timeout)

    async def resolve(self, pending: Awaitable[Any]) -> Any:
        # Only a configuration with async answers needs an event loop here; nobody else pays for the import.
        import asyncio

        async def value() -> Any:
            return await pending

        return asyncio.run(value())

    async def wait_for(self, answer: Callable[[], Any]) -> Any:
        return answer()

    def _spend(self) -> None:
        """Let the next call wait no longer than the deadline allows."""
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the deadline has passed")
            self._sock.settimeout(left)


class _AsyncLock:
    """A thread lock behind `async with`, which it never suspends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


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

    def readinto(self, buffer: Any) -> int:
        return self._tls.recv_into(buffer)

    def write(self, data: Any) -> int:
        return self._tls.send(data)


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The value of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        value: T = finished.value
        return value
    coroutine.close()
    raise RuntimeError("a blocking transport suspended")
