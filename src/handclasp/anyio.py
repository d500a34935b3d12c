"""TLS for anyio, and so for trio: a byte stream like any other, over any byte stream.

async with await handclasp.anyio.connect("example.com", 443) as stream:
    await stream.send(b"...")
    await stream.receive()

await handclasp.anyio.serve(handle, await anyio.create_tcp_listener(local_port=8443), config)
"""

from __future__ import annotations

import errno
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio import (
    BrokenResourceError,
    BusyResourceError,
    ClosedResourceError,
    EndOfStream,
    TypedAttributeSet,
    typed_attribute,
)
from anyio.abc import ByteStream, Listener, SocketAttribute, TaskGroup
from anyio.streams.stapled import MultiListener

from .config import ClientAuth, ClientConfig, ServerConfig
from .connection import ClientConnection, ServerConnection
from .errors import ConnectionClosed, TLSError, TruncatedError
from .events import ConnectionInfo
from .io.stream import Stream, connection_for, log_failure
from .limits import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT

NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""What `accept` says when the system has no descriptor or memory left for one more connection."""

REST = 0.1
"""Seconds without accepting, after that."""


class StreamTruncated(TruncatedError, BrokenResourceError):
    """A TruncatedError which is also what code for any byte stream expects of one that was cut."""


class TLSAttribute(TypedAttributeSet):
    """What `stream.extra` knows beside the attributes of the stream below."""

    info: ConnectionInfo = typed_attribute()


async def connect(
    host: str,
    port: int = 443,
    config: ClientConfig | None = None,
    *,
    server_name: str | None = None,
    timeout: float | None = HANDSHAKE_TIMEOUT,
    early_data: bytes = b"",
) -> TLSStream:
    """A verified TLS connection to a server.

    `server_name` is checked instead of `host` where they differ. `timeout` bounds the TCP connection and then the
    handshake, in seconds. Raises TLSError, OSError, and anyio's BrokenResourceError where the connection breaks.

    `early_data` goes with the first flight where a session allows it (RFC 8446 §2.3): `info.early_data` says whether it
    was taken. It is not sent again by itself; see `ClientConnection` for what it must not be.
    """
    # the configuration is checked before anything is sent
    connection = connection_for(config or ClientConfig(), server_name or host, early_data)
    with anyio.fail_after(timeout):
        below = await anyio.connect_tcp(host, port)
    return await _shaken(connection, below, timeout)


async def wrap(
    below: ByteStream,
    config: ClientConfig | ServerConfig,
    *,
    server_name: str | None = None,
    timeout: float | None = HANDSHAKE_TIMEOUT,
    received: bytes = b"",
) -> TLSStream:
    """TLS over a byte stream (STARTTLS, a proxy's tunnel, another TLSStream), in the role of the config.

    The stream belongs to the TLS connection from here on, and is closed on failure. `received` is what was read from
    it of TLS already; anything else in there fails the handshake.
    """
    return await _shaken(connection_for(config, server_name), below, timeout, received)


async def _shaken(
    connection: ClientConnection | ServerConnection, below: ByteStream, timeout: float | None, received: bytes = b""
) -> TLSStream:
    stream = Stream(connection, _StreamTransport(below, received))
    with _errors_of_anyio():
        await stream.handshake(timeout)
    return TLSStream(stream, below)


async def serve(
    handler: Callable[[TLSStream], Awaitable[Any]],
    listener: Listener[ByteStream],
    config: ServerConfig,
    *,
    timeout: float | None = HANDSHAKE_TIMEOUT,
    task_group: TaskGroup | None = None,
) -> None:
    """Call `handler` for each connection whose handshake is done, until cancelled.

    A handshake that fails, or takes longer than `timeout` seconds, costs one line of the `handclasp` logger. As with
    any listener of anyio, an exception of `handler` ends them all.
    """

    async def handle(below: ByteStream) -> None:
        peer = below.extra(SocketAttribute.remote_address, None)
        try:
            stream = await wrap(below, config, timeout=timeout)
        except (TLSError, OSError, BrokenResourceError) as error:
            log_failure(peer, error)
            return
        await handler(stream)

    async def accept(one: Listener[ByteStream], group: TaskGroup) -> None:
        while True:
            try:
                await one.serve(handle, group)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                await anyio.sleep(REST)

    listeners = listener.listeners if isinstance(listener, MultiListener) else [listener]
    own = nullcontext(task_group) if task_group else anyio.create_task_group()
    async with own as handling, anyio.create_task_group() as accepting:
        for one in listeners:
            accepting.start_soon(accept, one, handling)


class TLSStream(ByteStream):
    """A TLS connection as a byte stream. One task may receive while others send.

    A connection that is cut raises StreamTruncated behind the data that came before: a TruncatedError, and a
    BrokenResourceError. A `send` that is cancelled may have sent a part; nothing can be sent behind it.
    """

    def __init__(self, stream: Stream, below: ByteStream) -> None:
        self._stream = stream
        self._below = below
        self._closed = False
        self._receiving = False

    @property
    def info(self) -> ConnectionInfo:
        """What was settled with the peer, and why; also `extra(TLSAttribute.info)`."""
        return self._stream.connection.info

    @property
    def early_data(self) -> bytes:
        """A server's: what the client sent before the handshake was done; it may be a replay (RFC 8446 §8)."""
        return self._stream.early_data

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {**self._below.extra_attributes, TLSAttribute.info: lambda: self.info}

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        self._check_open()
        if self._receiving:
            raise BusyResourceError("receiving from")
        self._receiving = True
        try:
            if self._stream.received:  # what is here already must not starve other tasks, nor outlive a cancellation
                await anyio.lowlevel.checkpoint()
            with _errors_of_anyio():
                data = await self._stream.read(max_bytes)
        except (TLSError, BrokenResourceError):
            self._check_open()  # closed meanwhile: that is why
            raise
        finally:
            self._receiving = False
        if not data:
            self._check_open()
            raise EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        self._check_open()
        with _errors_of_anyio():
            await self._stream.write(item)

    async def send_eof(self) -> None:
        """Say close_notify; what the peer still sends can be received (half-close)."""
        self._check_open()
        with _errors_of_anyio():
            await self._stream.close_writing()

    async def update_keys(self, *, request_peer: bool = False) -> None:
        """Change our sending keys (KeyUpdate), and ask the peer to change its own."""
        self._check_open()
        with _errors_of_anyio():
            await self._stream.update_keys(request_peer=request_peer)

    async def send_tickets(self, count: int = 1) -> None:
        """A server's: give the client more tickets for short handshakes, at a moment of its choice (TLS 1.3)."""
        self._check_open()
        with _errors_of_anyio():
            await self._stream.send_tickets(count)

    async def request_certificate(self, auth: ClientAuth | None = None) -> None:
        """A server's: ask the client for its certificate, after the handshake (TLS 1.3, RFC 8446 §4.6.2).

        Its answer comes with what is read next: `info.verified_chain`. See `ServerConnection.request_certificate`.
        """
        self._check_open()
        with _errors_of_anyio():
            await self._stream.request_certificate(auth)

    def export(self, label: str | bytes, context: bytes | None = None, length: int = 32) -> bytes:
        """Keying material for another protocol, RFC 8446 §7.5."""
        return self._stream.connection.export(label, context, length)

    def channel_binding(self, kind: str) -> bytes:
        """`tls-exporter` or `tls-server-end-point`."""
        return self._stream.connection.channel_binding(kind)

    async def aclose(self) -> None:
        """Say close_notify, wait at most a second for the peer's, and close the stream below."""
        if not self._closed:
            self._closed = True
            await self._stream.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedResourceError


class _StreamTransport:
    """A byte stream of anyio."""

    def __init__(self, below: ByteStream, received: bytes) -> None:
        self._below = below
        self._received = received
        self._torn = False
        self.engine = nullcontext()
        self.reading = anyio.Lock(fast_acquire=True)
        self.writing = anyio.Lock()

    async def receive(self, most: int) -> bytes:
        if self._received:
            data, self._received = self._received[:most], self._received[most:]
            return data
        with _errors_of_sockets():
            try:
                return await self._below.receive(most)
            except EndOfStream:
                return b""

    async def send(self, data: bytes) -> None:
        if not data:
            return
        if self._torn:
            raise ConnectionAbortedError("a send was interrupted, and how much of it has left is not known")
        self._torn = True
        with _errors_of_sockets():
            await self._below.send(data)
        self._torn = False

    async def send_some(self, data: bytes) -> None:
        await self.send(data)  # there is no other way, and what comes here is short

    async def if_free(self, lock: anyio.Lock, work: Callable[[], Awaitable[None]]) -> None:
        try:
            lock.acquire_nowait()
        except anyio.WouldBlock:
            return
        try:
            await work()
        finally:
            lock.release()

    async def end(self) -> None:
        # not every stream can be closed half: anyio's own TLSStream cannot
        with suppress(OSError, TLSError, NotImplementedError), _errors_of_sockets():
            async with self.deadline(CLOSE_TIMEOUT):
                await self._below.send_eof()

    async def close(self) -> None:
        with suppress(OSError, TLSError), _errors_of_sockets():
            await anyio.aclose_forcefully(self._below)

    @asynccontextmanager
    async def deadline(self, seconds: float | None) -> AsyncGenerator[None, None]:
        with anyio.fail_after(seconds):
            yield

    async def resolve(self, pending: Awaitable[Any]) -> Any:
        return await pending

    async def wait_for(self, answer: Callable[[], Any]) -> Any:
        # with a limiter of its own: those who wait would take the threads that the application shares
        return await anyio.to_thread.run_sync(answer, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))


@contextmanager
def _errors_of_sockets() -> Generator[None, None, None]:
    try:
        yield
    except BrokenResourceError as error:
        raise ConnectionResetError("the connection is broken") from error


@contextmanager
def _errors_of_anyio() -> Generator[None, None, None]:
    try:
        yield
    except ConnectionClosed as error:
        raise ClosedResourceError from error
    except TruncatedError as error:
        raise _both(error) from None
    except TLSError:
        raise
    except ConnectionError as error:
        raise BrokenResourceError from error


def _both(error: TruncatedError) -> StreamTruncated:
    both = StreamTruncated(str(error), code=error.code, remedy=error.remedy)
    both.alert, both.alert_received, both.rule = error.alert, error.alert_received, error.rule
    return both
