"""What is above TLS in asyncio: a transport like any other, for protocols and streams."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

from ..config import ClientAuth
from ..errors import ConnectionClosed, TLSError
from ..events import ConnectionInfo
from ..wire.names import TLSVersion
from .aio_pipe import Pipe
from .stream import SEND_SIZE, Stream

HIDDEN = frozenset(("sslcontext", "ssl_object", "peercert", "cipher", "compression"))
"""Extra information that speaks of another TLS connection below ours."""


class TLSTransport(asyncio.Transport):
    """A TLS connection as a transport of asyncio. Half-close works: `write_eof` says close_notify, reading goes on.

    `connection_lost` gets a TLSError where the connection failed: TruncatedError when the peer vanished.
    """

    _start_tls_compatible = True
    """That asyncio's own TLS may run inside of ours (`loop.start_tls`): it looks for this name."""

    __slots__ = (
        "_answering",
        "_closing",
        "_eof_told",
        "_eof_written",
        "_pipe",
        "_protocol",
        "_reading",
        "_stream",
        "_task",
    )

    def __init__(self, stream: Stream, pipe: Pipe, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._stream = stream
        self._pipe = pipe
        self._protocol: asyncio.BaseProtocol | None = protocol
        self._answering = False
        self._reading = True
        self._closing = False
        self._eof_told = False
        self._eof_written = False
        self._task: asyncio.Task[None] | None = None
        """What runs beside the callbacks: a question that is asked, or the close."""

    # --- TLS ---

    @property
    def info(self) -> ConnectionInfo:
        """What was settled with the peer, and why; also `get_extra_info("tls_info")`."""
        return self._stream.connection.info

    @property
    def early_data(self) -> bytes:
        """A server's: what the client sent before the handshake was done; also `get_extra_info("tls_early_data")`.

        Others can have sent it again (RFC 8446 §8).
        """
        return self._stream.early_data

    def export(self, label: str | bytes, context: bytes | None = None, length: int = 32) -> bytes:
        """Keying material for another protocol, RFC 8446 §7.5."""
        return self._stream.connection.export(label, context, length)

    def channel_binding(self, kind: str) -> bytes:
        """`tls-exporter` or `tls-server-end-point`."""
        return self._stream.connection.channel_binding(kind)

    def update_keys(self, *, request_peer: bool = False) -> None:
        """Change our sending keys (KeyUpdate), and ask the peer to change its own."""
        self._stream.connection.update_keys(request_peer=request_peer)
        self._flush()

    def send_tickets(self, count: int = 1) -> None:
        """A server's: give the client more tickets for short handshakes, at a moment of its choice (TLS 1.3)."""
        self._stream.wish(lambda: self._stream.connection.send_tickets(count))
        self._settle()

    def request_certificate(self, auth: ClientAuth | None = None) -> None:
        """A server's: ask the client for its certificate, after the handshake (TLS 1.3, RFC 8446 §4.6.2).

        Its answer comes with what is read next: `info.verified_chain`. See `ServerConnection.request_certificate`.
        """
        self._stream.wish(lambda: self._stream.connection.request_certificate(auth))
        self._settle()

    # --- a transport ---

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Protect data and send it. It is sealed when this returns: nothing that is cancelled later can tear it."""
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing:
            return
        content = data if type(data) is bytes and len(data) <= SEND_SIZE else memoryview(data).cast("B")
        connection, raw = self._stream.connection, self._pipe.raw
        try:
            for start in range(0, len(content), SEND_SIZE):
                connection.send(content[start : start + SEND_SIZE])
                raw.write(connection.data_to_send())
        except ConnectionClosed as error:
            self._take_leave(error)
        except TLSError as error:
            self._stream.failure = self._stream.failure or error
            self._fail(error)

    def can_write_eof(self) -> bool:
        """False in TLS 1.2, where a peer may drop what it still has to send once we are done (RFC 5246 §7.2.1)."""
        return self.info.version is TLSVersion.TLS_1_3

    def write_eof(self) -> None:
        """Say close_notify; what the peer still sends can be read (half-close)."""
        if self._eof_written or self._closing:
            return
        self._eof_written = True
        self._stream.connection.close()
        self._flush()
        if self._pipe.raw.can_write_eof():
            self._pipe.raw.write_eof()

    def close(self) -> None:
        """Say close_notify behind what was written, wait at most a second for the peer's, and close."""
        if self._closing:
            return
        self._stream.connection.close()
        self._flush()
        self._closing = True
        self._pipe.direct = False
        self._begin(self._stream.close())

    def abort(self) -> None:
        """Close now. What was not sent is lost, and the peer sees no close_notify."""
        self._closing = True
        self._pipe.direct = False
        self._pipe.raw.abort()

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        if not self._closing:
            self._reading = False
            self._pipe.pause()

    def resume_reading(self) -> None:
        if not self._closing and not self._reading:
            self._reading = True
            self._pipe.loop.call_soon(self._resumed)

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        if self._protocol is None:
            raise RuntimeError("the connection is lost, and its protocol let go")
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._pipe.raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._pipe.raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._pipe.raw.get_write_buffer_limits()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`tls_info` and `tls_early_data` are ours; all else, such as `peername`, is the raw transport's."""
        if name == "tls_info":
            return self.info
        if name == "tls_early_data":
            return self.early_data
        return default if name in HIDDEN else self._pipe.raw.get_extra_info(name, default)

    # --- what the pipe says ---

    def start(self) -> None:
        """The handshake is done: tell the protocol, unless it had the raw transport before, and let data flow."""
        self._pipe.taker = self
        if self._pipe.before is self._protocol:
            self._pipe.before = None
        elif self._protocol is not None:
            self._protocol.connection_made(self)
        if not self._closing:
            self._settle()
            self._go_on()

    def take(self, data: bytes | memoryview) -> None:
        """Bytes of the peer; none at their end."""
        self._stream.feed(data)
        self._settle()

    def lost(self, error: Exception | None) -> None:
        """The raw transport is gone. What came before is given out, whether or not anybody was ready for it."""
        try:
            self._reading = True
            self._deliver()
        finally:
            self._closing = True
            if self._answering and self._task is not None:
                self._task.cancel()  # nobody wants to know any more
            if self._protocol is not None:
                protocol, self._protocol = self._protocol, None
                protocol.connection_lost(error)

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()
        if not self._closing and not self._pipe.full:  # what TLS had to say by itself meanwhile
            self._flush()

    # --- in between ---

    def _settle(self) -> None:
        """Hand over what was received, then what follows from it."""
        stream = self._stream
        self._deliver()
        if self._closing:
            return
        if stream.asked:
            if not self._answering:
                self._pipe.direct = False
                self._begin(self._answer(), answering=True)
        elif not stream.received and stream.failure is not None:
            self._fail(stream.failure)
        elif not stream.received and stream.ended and not self._eof_told:
            self._eof_told = True
            if not self._told_eof():
                self.close()
        elif stream.connection.has_data_to_send and not self._pipe.full:
            self._flush()

    def _deliver(self) -> None:
        received = self._stream.received
        while received and self._reading and not self._closing:
            # looked up each time: it may hand over to another one amid the data
            protocol: Any = self._protocol
            data = received.popleft()
            if not isinstance(protocol, asyncio.BufferedProtocol):
                protocol.data_received(data if type(data) is bytes else bytes(data))
            elif rest := _fill(protocol, memoryview(data)):
                received.appendleft(rest)

    def _told_eof(self) -> bool:
        """Whether the protocol wants to go on writing."""
        return bool(cast(asyncio.Protocol, self._protocol).eof_received())

    def _resumed(self) -> None:
        if self._reading:
            self._continue()

    def _continue(self) -> None:
        """Go on, in no callback of the raw transport, which would deal with a protocol that fails."""
        if self._closing:
            return
        try:
            self._settle()
            self._go_on()
        except Exception as error:
            self._pipe.loop.call_exception_handler(
                {"message": "a protocol failed", "exception": error, "transport": self, "protocol": self._protocol}
            )
            self.abort()

    def _go_on(self) -> None:
        """Let bytes come, where nothing stands against it."""
        if not self._closing and not self._answering:
            self._pipe.hand_on()
            if self._reading and not self._closing:
                self._pipe.resume()

    async def _answer(self) -> None:
        while self._stream.asked:
            await self._stream.answer()
        self._answering = False
        self._continue()

    def _fail(self, error: TLSError) -> None:
        """Tell the peer, and the protocol, which need not wait until the peer has heard."""
        if self._closing:
            return
        self._closing = True
        self._pipe.direct = False
        self._begin(self._hang_up())
        self._pipe.loop.call_soon(self.lost, error)

    def _take_leave(self, error: ConnectionClosed) -> None:
        """The keys had their time: the peer hears that no more will come, and the protocol why."""
        self._closing = True
        self._pipe.direct = False
        self._begin(self._stream.close())
        self._pipe.loop.call_soon(self.lost, error)

    async def _hang_up(self) -> None:
        try:
            await self._stream.say_goodbye()
        finally:
            await self._pipe.close()

    def _begin(self, work: Coroutine[Any, Any, None], *, answering: bool = False) -> None:
        if self._task is not None:
            self._task.cancel()
        self._answering = answering
        self._task = self._pipe.loop.create_task(work)

    def _flush(self) -> None:
        connection = self._stream.connection
        if connection.has_data_to_send:
            self._pipe.raw.write(connection.data_to_send())


def _fill(protocol: asyncio.BufferedProtocol, data: memoryview) -> memoryview:
    """Fill a buffer of the protocol once; what had no room."""
    buffer = memoryview(protocol.get_buffer(len(data))).cast("B")
    size = min(len(data), len(buffer))
    if not size:
        raise RuntimeError("get_buffer() returned an empty buffer")
    buffer[:size] = data[:size]
    protocol.buffer_updated(size)
    return data[size:]
