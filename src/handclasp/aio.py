"""TLS for asyncio: streams and servers with the habits of asyncio's own, and transports for protocols.

    reader, writer = await handclasp.aio.open_connection("example.com", 443)
    server = await handclasp.aio.start_server(handle, "127.0.0.1", 8443, config)

The readers and writers are asyncio's. `writer.get_extra_info("tls_info")` says what was settled; `writer.write_eof()`
is a half-close; a connection that is cut raises `TruncatedError` behind the data that came before. `loop.sendfile`
knows only the loop's own transports: read the file, `write`, and `drain`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from os import PathLike
from typing import Any, NoReturn, TypeVar

from .config import ClientConfig, ServerConfig
from .connection import ClientConnection, ServerConnection
from .errors import ConfigError, TLSError
from .io.aio_pipe import Pipe
from .io.aio_transport import TLSTransport
from .io.stream import Stream, connection_for, log_failure
from .limits import HANDSHAKE_TIMEOUT

P = TypeVar("P", bound=asyncio.BaseProtocol)

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]
"""Called for each connection whose handshake is done."""

LIMIT = 64 * 1024
"""Most data a reader keeps before its peer has to wait, in bytes; twice that for an instant. As in asyncio."""


# --- streams ---------------------------------------------------------------------------------------------------------


async def open_connection(
    host: str | None = None,
    port: int | None = None,
    config: ClientConfig | None = None,
    *,
    server_name: str | None = None,
    timeout: float | None = HANDSHAKE_TIMEOUT,
    early_data: bytes = b"",
    limit: int = LIMIT,
    **options: Any,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A verified TLS connection to a server, as a reader and a writer.

    `server_name` is checked instead of `host` where they differ. `timeout` bounds the TCP connection and then the
    handshake, in seconds. `options` are those of `loop.create_connection`, such as `sock`. Raises TLSError and OSError.

    `early_data` goes with the first flight where a session allows it (RFC 8446 §2.3): `info.early_data` says whether it
    was taken. It is not sent again by itself; see `ClientConnection` for what it must not be.
    """
    loop = asyncio.get_running_loop()
    reader = Reader(limit=limit, loop=loop)
    transport, protocol = await create_connection(
        lambda: asyncio.StreamReaderProtocol(reader, loop=loop),
        host,
        port,
        config,
        server_name=server_name,
        timeout=timeout,
        early_data=early_data,
        **options,
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def open_unix_connection(
    path: str | PathLike[str],
    config: ClientConfig | None = None,
    *,
    server_name: str,
    timeout: float | None = HANDSHAKE_TIMEOUT,
    limit: int = LIMIT,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The same over a UNIX socket."""
    connection = connection_for(config or ClientConfig(), server_name)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout):
        _, pipe = await loop.create_unix_connection(lambda: Pipe(loop), path)  # type: ignore[arg-type]  # any path
    reader = Reader(limit=limit, loop=loop)
    transport, protocol = await _shaken(
        pipe, connection, lambda: asyncio.StreamReaderProtocol(reader, loop=loop), timeout
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def start_server(
    connected: Connected,
    host: str | None,
    port: int | None,
    config: ServerConfig,
    *,
    timeout: float | None = HANDSHAKE_TIMEOUT,
    limit: int = LIMIT,
    **options: Any,
) -> asyncio.Server:
    """A server that calls `connected(reader, writer)` for each connection whose handshake is done.

    A handshake that fails, or takes longer than `timeout` seconds, costs one line of the `handclasp` logger. `options`
    are those of `loop.create_server`.
    """
    factory = _stream_protocols(connected, limit)
    return await create_server(factory, host, port, config, timeout=timeout, **options)


async def start_unix_server(
    connected: Connected,
    path: str | PathLike[str],
    config: ServerConfig,
    *,
    timeout: float | None = HANDSHAKE_TIMEOUT,
    limit: int = LIMIT,
    **options: Any,
) -> asyncio.Server:
    """The same on a UNIX socket."""
    _refuse_ssl(options)
    loop = asyncio.get_running_loop()
    acceptor = _Acceptor(_stream_protocols(connected, limit), config, timeout)
    return await loop.create_unix_server(lambda: _AcceptedPipe(loop, acceptor), path, **options)


async def start_tls(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    config: ClientConfig | ServerConfig,
    *,
    server_name: str | None = None,
    timeout: float | None = HANDSHAKE_TIMEOUT,
    received: bytes = b"",
    limit: int = LIMIT,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """TLS on a live connection, in the role of the config: STARTTLS, a proxy's tunnel, TLS in TLS.

    Use the new reader and writer from here on. Bytes that came and were not read, and those in `received` that were,
    are the beginning of the peer's TLS, or fail the handshake: they can never pass for protected data. Raises TLSError
    and OSError, which leave the connection closed.
    """
    loop = asyncio.get_running_loop()
    connection = connection_for(config, server_name)
    plain = writer.transport
    pipe = Pipe(loop)
    pipe.take_over(plain, _Replaced(plain.get_protocol(), writer))
    try:
        came, ended = _at_hand(reader)
    except BaseException:
        plain.abort()
        raise
    pipe.keep(received)
    pipe.keep(came)
    if ended:
        pipe.eof_received()
    else:
        reader.feed_eof()  # it gets no more
    above = Reader(limit=limit, loop=loop)
    transport, protocol = await _shaken(
        pipe, connection, lambda: asyncio.StreamReaderProtocol(above, loop=loop), timeout
    )
    return above, asyncio.StreamWriter(transport, protocol, above, loop)


def _at_hand(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """What a reader gives out without waiting, and whether that is all there will be. Raises what it raises."""
    blocks: list[bytes] = []
    while True:
        reading = reader.read(LIMIT)
        try:
            reading.send(None)
        except StopIteration as finished:
            if not finished.value:
                return b"".join(blocks), True
            blocks.append(finished.value)
        else:  # it would wait
            reading.close()
            return b"".join(blocks), False


class _Replaced(asyncio.BaseProtocol):
    """The plain side of an upgraded connection. It lives as long: a writer that is dropped closes its transport."""

    def __init__(self, protocol: asyncio.BaseProtocol, writer: asyncio.StreamWriter) -> None:
        self._protocol = protocol
        self._writer = writer

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)


class Reader(asyncio.StreamReader):
    """asyncio's, but what came before an error can be read before it is raised."""

    _failure: Exception | None = None

    def exception(self) -> Exception | None:
        return self._failure

    def set_exception(self, exc: Exception) -> None:
        self._failure = exc
        self.feed_eof()

    def at_eof(self) -> bool:
        """Whether the peer has finished, and all it sent was read. Never where the connection failed, as in asyncio."""
        return self._failure is None and super().at_eof()

    async def read(self, n: int = -1) -> bytes:
        if n < 0:
            return await self._read_all()
        data = await super().read(n)
        if not data and n != 0 and self._failure is not None:
            self._fail()
        return data

    async def _read_all(self) -> bytes:
        """To the end; where that is an error, what came is the `partial` of its cause."""
        blocks: list[bytes] = []
        try:
            while block := await self.read(LIMIT):
                blocks.append(block)
        except Exception as error:
            raise error from asyncio.IncompleteReadError(b"".join(blocks), None)
        return b"".join(blocks)

    async def readexactly(self, n: int) -> bytes:
        try:
            return await super().readexactly(n)
        except asyncio.IncompleteReadError as incomplete:
            self._fail(incomplete)

    async def readuntil(self, separator: Any = b"\n") -> bytes:
        try:
            return await super().readuntil(separator)
        except asyncio.IncompleteReadError as incomplete:
            self._fail(incomplete)

    def _fail(self, incomplete: asyncio.IncompleteReadError | None = None) -> NoReturn:
        if self._failure is None:
            raise incomplete or RuntimeError("nothing failed")
        raise self._failure.with_traceback(None) from incomplete


# --- transports and protocols ----------------------------------------------------------------------------------------


async def create_connection(
    protocol_factory: Callable[[], P],
    host: str | None = None,
    port: int | None = None,
    config: ClientConfig | None = None,
    *,
    server_name: str | None = None,
    timeout: float | None = HANDSHAKE_TIMEOUT,
    early_data: bytes = b"",
    **options: Any,
) -> tuple[TLSTransport, P]:
    """`loop.create_connection` with TLS: the protocol is made, and connected, when the handshake is done."""
    _refuse_ssl(options)
    # the configuration is checked before anything is sent
    connection = connection_for(config or ClientConfig(), server_name or host, early_data)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout):
        _, pipe = await loop.create_connection(lambda: Pipe(loop), host, port, **options)  # type: ignore[arg-type]  # None with `sock`
    return await _shaken(pipe, connection, protocol_factory, timeout)


async def create_server(
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    host: str | None,
    port: int | None,
    config: ServerConfig,
    *,
    timeout: float | None = HANDSHAKE_TIMEOUT,
    **options: Any,
) -> asyncio.Server:
    """`loop.create_server` with TLS: a protocol is made for each connection whose handshake is done."""
    _refuse_ssl(options)
    loop = asyncio.get_running_loop()
    acceptor = _Acceptor(protocol_factory, config, timeout)
    return await loop.create_server(lambda: _AcceptedPipe(loop, acceptor), host, port, **options)


async def upgrade(
    transport: asyncio.Transport,
    protocol: asyncio.BaseProtocol,
    config: ClientConfig | ServerConfig,
    *,
    server_name: str | None = None,
    timeout: float | None = HANDSHAKE_TIMEOUT,
    received: bytes = b"",
) -> TLSTransport:
    """`loop.start_tls`: TLS on a live transport. The protocol has to use the new one; it is not connected again.

    `received` is what the protocol has got of the peer's TLS already. If it has been told of the peer's end, do not
    upgrade: nobody is told of that twice, and the handshake would wait for its deadline.
    """
    connection = connection_for(config, server_name)
    pipe = Pipe(asyncio.get_running_loop())
    pipe.take_over(transport, protocol)
    pipe.keep(received)
    above, _ = await _shaken(pipe, connection, lambda: protocol, timeout)
    return above


async def _shaken(
    pipe: Pipe,
    connection: ClientConnection | ServerConnection,
    protocol_factory: Callable[[], P],
    timeout: float | None,
) -> tuple[TLSTransport, P]:
    stream = Stream(connection, pipe)
    await stream.handshake(timeout)
    try:
        protocol = protocol_factory()
        transport = TLSTransport(stream, pipe, protocol)
        transport.start()
    except BaseException:
        pipe.raw.abort()
        raise
    return transport, protocol


_OUR_NAMES = {
    "ssl": "it is `config` that says what is trusted and shown",
    "server_hostname": "the name to check is `server_name`",
    "ssl_handshake_timeout": "the deadline of the handshake is `timeout`",
    "ssl_shutdown_timeout": "a close waits a second for the peer's, always",
}


def _refuse_ssl(options: dict[str, Any]) -> None:
    """asyncio would put its own TLS below ours. Raises ConfigError."""
    for name, ours in _OUR_NAMES.items():
        if options.get(name) is not None:
            raise ConfigError(f"{name!r} is for TLS of the ssl module", code="ssl-argument", remedy=ours)


class _Acceptor:
    """Shakes hands with whoever comes."""

    def __init__(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        config: ServerConfig,
        timeout: float | None,
    ) -> None:
        self._protocol_factory = protocol_factory
        self._config = config
        self._timeout = timeout
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, pipe: Pipe) -> None:
        task = pipe.loop.create_task(self._shake(pipe))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shake(self, pipe: Pipe) -> None:
        peer = pipe.raw.get_extra_info("peername")  # uvloop forgets it when the connection is gone
        try:
            await _shaken(pipe, ServerConnection(self._config), self._protocol_factory, self._timeout)
        except (TLSError, OSError) as error:
            log_failure(peer, error)
        except Exception as error:
            message = "the protocol of a new connection failed"
            pipe.loop.call_exception_handler({"message": message, "exception": error, "transport": pipe.raw})


class _AcceptedPipe(Pipe):
    __slots__ = ("_acceptor",)

    def __init__(self, loop: asyncio.AbstractEventLoop, acceptor: _Acceptor) -> None:
        super().__init__(loop)
        self._acceptor = acceptor

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._acceptor.accept(self)


def _stream_protocols(connected: Connected, limit: int) -> Callable[[], asyncio.BaseProtocol]:
    loop = asyncio.get_running_loop()

    def protocol() -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(Reader(limit=limit, loop=loop), connected, loop=loop)

    return protocol
