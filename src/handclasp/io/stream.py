"""The I/O loop, written once: a connection, a transport, and the rules for shaking hands, reading, writing, closing.

It is a coroutine over a transport of a few methods. An event loop's transport suspends it; the blocking one never does,
and then the same code is a plain function call (`blocking.py`). asyncio's own callbacks take a shorter way for data,
through `feed`, and this one for all the rest (`aio.py`, docs/adr/0011-streams.md).
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from typing import Any, Protocol

from ..config import ClientAuth, ClientConfig, ServerConfig
from ..connection import ClientConnection, Connection, ServerConnection
from ..errors import ConfigError, ConnectionClosed, HandshakeTimeout, TLSError
from ..events import Asked, Closed, Data, EarlyDataReceived, HandshakeComplete
from ..limits import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT, MAX_RECEIVED

log = logging.getLogger("handclasp")
log.addHandler(logging.NullHandler())

SEND_SIZE = 256 * 1024
"""Most application data sealed before it is handed to the transport, in bytes."""


class Transport(Protocol):
    """A pipe of bytes, and what differs between runtimes."""

    @property
    def engine(self) -> AbstractContextManager[Any]:
        """Held around every call of the connection; where threads share it, a lock."""
        ...

    @property
    def reading(self) -> AbstractAsyncContextManager[Any]:
        """Held from taking bytes to feeding them, so that they are fed in their order: a close may meet a read."""
        ...

    @property
    def writing(self) -> AbstractAsyncContextManager[Any]:
        """Held from sealing to sending, so that records leave in the order of their numbers."""
        ...

    async def receive(self, most: int) -> bytes:
        """Some bytes, at most `most`; none at the end of the stream. Raises OSError."""
        ...

    async def send(self, data: bytes) -> None:
        """All of the bytes. What an interruption leaves unsent goes first next time, or nothing goes any more.

        Raises OSError.
        """
        ...

    async def send_some(self, data: bytes) -> None:
        """The same as far as nothing has to be waited for; the rest goes first next time. Raises OSError."""
        ...

    async def if_free(self, lock: Any, work: Callable[[], Awaitable[None]]) -> None:
        """Do something under `reading` or `writing`, if nobody else is: who reads never waits for a writer."""
        ...

    async def end(self) -> None:
        """No more bytes follow from us; all before have left, as far as this side can tell. Takes a bounded time."""
        ...

    async def close(self) -> None:
        """Give the pipe back, whatever interrupts. Safe to call twice. Never raises for a peer's fault."""
        ...

    def deadline(self, seconds: float | None) -> AbstractAsyncContextManager[Any]:
        """Raise TimeoutError when what is inside takes longer."""
        ...

    async def resolve(self, pending: Awaitable[Any]) -> Any:
        """The value of an awaitable."""
        ...

    async def wait_for(self, answer: Callable[[], Any]) -> Any:
        """Call something that may block, where it holds up no other connection."""
        ...


class Stream:
    """A TLS connection over a transport. One task (or thread) may read while another writes."""

    def __init__(self, connection: ClientConnection | ServerConnection, transport: Transport) -> None:
        self.connection: Connection = connection
        self.transport = transport
        self.received: deque[bytes | memoryview] = deque()
        """Data that waits for its reader."""
        self.early_data = b""
        """What a client sent before the handshake was done: never mixed with data."""
        self.asked: deque[Asked] = deque()
        """Questions that wait for an answer; nothing more is fed while there are any."""
        self.established = False
        """True once the handshake is finished, also if something failed since."""
        self.ended = False
        """True when the peer has said close_notify."""
        self.failure: TLSError | None = None
        """What ended the connection; it comes behind what was received before."""

    # --- for an application ---

    async def handshake(self, within: float | None = HANDSHAKE_TIMEOUT) -> None:
        """Shake hands. Raises TLSError, and OSError from the transport; both leave it closed.

        BlockingIOError leaves it as it is: call again when the transport is ready.
        """
        try:
            async with self.transport.deadline(within):
                with self.transport.engine:
                    self._collect()
                await self.flush()
                while not self.established or (self.asked and self.failure is None):
                    await self._advance()
                    if self.connection.has_data_to_send:  # a peer may trickle
                        await self.flush()
        except BlockingIOError:
            raise
        except TimeoutError as error:
            await self.transport.close()
            if isinstance(error, TLSError):
                raise
            raise self.failure or self._late(within) from None
        except BaseException:
            await self.transport.close()
            raise

    async def read(self, most: int) -> bytes:
        """Up to `most` bytes of data; none when the peer has said close_notify. Raises TLSError, OSError."""
        async with self.transport.reading:
            while not self.received:
                if self.ended or most <= 0:
                    return b""
                await self._advance()
            return self.take(most)

    def take(self, most: int) -> bytes:
        """Up to `most` bytes of what is in `received`, which is not empty. For who holds `reading`."""
        chunk = self.received.popleft()
        if len(chunk) > most:
            view = memoryview(chunk)
            self.received.appendleft(view[most:])
            chunk = view[:most]
        return bytes(chunk)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of the data. Raises TLSError, OSError."""
        content = data if type(data) is bytes and len(data) <= SEND_SIZE else memoryview(data).cast("B")
        for start in range(0, len(content), SEND_SIZE):
            async with self.transport.writing:
                ended = None
                with self.transport.engine:
                    try:
                        self.connection.send(content[start : start + SEND_SIZE])
                    except ConnectionClosed as error:
                        ended = error  # the keys had their time: the peer is told that no more will come
                    records = self.connection.data_to_send()
                await self.transport.send(records)
            if ended is not None:
                raise ended
        if self.connection.has_data_to_send:
            await self.speak()

    async def update_keys(self, *, request_peer: bool = False) -> None:
        """Change our sending keys, and ask the peer to change its own."""
        with self.transport.engine:
            self.connection.update_keys(request_peer=request_peer)
        await self.flush()

    async def send_tickets(self, count: int = 1) -> None:
        """A server's: give the client more tickets (TLS 1.3)."""
        self.wish(lambda: self.connection.send_tickets(count))
        # who is reading answers by itself, as soon as something has come
        await self.transport.if_free(self.transport.reading, self._answer_all)
        await self.flush()

    async def request_certificate(self, auth: ClientAuth | None = None) -> None:
        """A server's: ask the client who it is, by now (TLS 1.3); see `ServerConnection.request_certificate`."""
        self.wish(lambda: self.connection.request_certificate(auth))
        await self.flush()

    async def _answer_all(self) -> None:
        while self.asked and self.failure is None:
            await self.answer()

    async def close_writing(self) -> None:
        """Say close_notify; the peer may go on sending (half-close)."""
        await self._say_close()
        await self.transport.end()

    async def unwrap(self) -> bytes:
        """Say close_notify and wait for the peer's; the transport goes on without TLS. Raises TLSError, OSError.

        What the peer has sent behind its close_notify is returned; what it sent before can still be read.
        """
        await self._say_close()
        async with self.transport.reading:
            while not self.ended:
                await self._step()
                if self.failure is not None:
                    raise self.failure.with_traceback(None)
        return self.connection.trailing_data()

    async def close(self, within: float | None = CLOSE_TIMEOUT) -> None:
        """Say close_notify, wait a while for the peer's, and close the transport. Never raises for a peer's fault."""
        try:
            with suppress(TLSError, OSError):  # whatever the peer does: we are gone, and said so
                async with self.transport.deadline(within):
                    await self._say_close()
                await self.transport.end()
                async with self.transport.deadline(within), self.transport.reading:
                    while not self.ended and self.failure is None:
                        await self._step()
                        self.received.clear()
        finally:
            await self.transport.close()

    # --- for whoever drives it ---

    def wish(self, call: Callable[[], None]) -> None:
        """Something of the connection that may ask questions. Raises TLSError."""
        with self.transport.engine:
            try:
                call()
            finally:
                self._collect()

    def feed(self, data: bytes | memoryview) -> None:
        """Bytes of the peer; none at their end. What they mean is then in `received`, `asked`, `ended`, `failure`."""
        with self.transport.engine:
            try:
                if data:
                    self.connection.receive_data(data)
                else:
                    self.connection.receive_eof()
            except TLSError as error:
                self.failure = error
            finally:
                self._collect()

    async def answer(self) -> None:
        """Find the answer to the oldest question. One that is interrupted is asked again."""
        asked = self.asked[0]
        try:
            if asked.pending is None:
                value = await self.transport.wait_for(asked.question.put)
            else:
                self.asked[0] = Asked(asked.question)
                value = asked.pending
            if inspect.isawaitable(value):
                value = await self.transport.resolve(value)
        except Exception as error:
            value = error
        self.asked.popleft()
        with self.transport.engine:
            try:
                self.connection.answer(asked.question, value)
            except TLSError as error:
                self.failure = error
            finally:
                self._collect()

    async def flush(self) -> None:
        """Send what the connection has to say."""
        async with self.transport.writing:
            await self.transport.send(self.take_records())
        await self.speak()

    def take_records(self) -> bytes:
        """What the connection has to say, sealed."""
        with self.transport.engine:
            return self.connection.data_to_send()

    async def speak(self) -> None:
        """What the connection has to say by itself, of its keys or of who we are, does not wait for the application."""
        if self.established and self.failure is None and self.connection.has_data_to_send:
            # who is writing looks for more when it is done
            await self.transport.if_free(self.transport.writing, self._send_some)

    async def _send_some(self) -> None:
        await self.transport.send_some(self.take_records())

    async def say_goodbye(self) -> None:
        """Send the alert, if we have one, and wait until the peer has hung up: closing at once could destroy it.

        A socket that is closed with unread bytes resets its connection, and the peer may never see what was sent.
        """
        if self.failure is None or self.failure.alert is None or self.failure.alert_received:
            return
        with suppress(OSError):
            async with self.transport.deadline(CLOSE_TIMEOUT):
                await self.flush()
                await self.transport.end()
                while await self.transport.receive(MAX_RECEIVED):
                    pass

    # --- one step ---

    async def _advance(self) -> None:
        """One step. What came before an error is delivered before it."""
        if self.failure is None:
            await self._step()
        if self.failure is not None and not self.received:
            raise self.failure.with_traceback(None)

    async def _step(self) -> None:
        """Answer what is asked, or take what comes."""
        if self.asked:
            await self.answer()
        else:
            self.feed(await self.transport.receive(MAX_RECEIVED))
        # both ask again; not to make their coroutines for nothing, here and in `write`, spares 1 µs of an echo's 26
        if self.connection.has_data_to_send:
            try:
                await self.speak()
            except OSError:  # a pipe that is broken one way only: the next call meets it again, behind what came
                if not self.received and not self.ended:
                    raise
        if self.failure is not None:
            await self.say_goodbye()

    def _collect(self) -> None:
        for event in self.connection.events():
            if type(event) is Data:  # by far the most
                self.received.append(event.data)
                continue
            match event:
                case Asked():
                    self.asked.append(event)
                case EarlyDataReceived(data):
                    self.early_data += data
                case Closed(clean):
                    self.ended = clean
                case HandshakeComplete():
                    self.established = True

    async def _say_close(self) -> None:
        with self.transport.engine:
            self.connection.close()
        await self.flush()

    def _late(self, within: float | None) -> HandshakeTimeout:
        waiting = " or ".join(self.connection.waiting_for)
        allowed = "in time" if within is None else f"within {within:g} s"
        return HandshakeTimeout(
            f"the handshake did not finish {allowed}: {waiting or 'nothing'} was due",
            remedy="check the network and the peer's load, or allow more time",
        )


def connection_for(
    config: ClientConfig | ServerConfig, server_name: str | None, early_data: bytes = b""
) -> ClientConnection | ServerConnection:
    """A connection in the role of the config. Raises ConfigError."""
    if isinstance(config, ClientConfig):
        return ClientConnection(config, server_name, early_data=early_data)
    if server_name is not None:
        raise ConfigError("server_name is a client's: a server learns it from the ClientHello")
    return ServerConnection(config)


def log_failure(peer: object, error: Exception) -> None:
    """A handshake that fails costs a server this line."""
    shown = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) and len(peer) >= 2 else str(peer or "a client")
    log.info("handshake with %s failed: %s", shown, error)
