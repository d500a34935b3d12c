"""The I/O loop, written once: a connection, a transport, and the rules for shaking hands, reading, writing, closing.

It is a coroutine over a transport of a few methods. An event loop's transport suspends it; the blocking one never does,
and then the same code is a plain function call (`blocking.py`).
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from typing import Any, Protocol

from ..connection import ClientConnection, Connection, ServerConnection
from ..errors import HandshakeTimeout, TLSError
from ..events import Asked, Closed, Data

RECEIVE_SIZE = 64 * 1024
"""Most bytes taken from a transport at once: bounds the plaintext that waits for its reader."""

SEND_SIZE = 256 * 1024
"""Most application data sealed before it is handed to the transport, in bytes."""

HANDSHAKE_TIMEOUT = 10.0
"""Seconds a handshake may take in all; one deadline, however many bytes trickle in."""

CLOSE_TIMEOUT = 1.0
"""Seconds to wait for the peer's close_notify once ours is sent."""


class Transport(Protocol):
    """A pipe of bytes, and what differs between runtimes."""

    @property
    def engine(self) -> AbstractContextManager[Any]:
        """Held around every call of the connection; where threads share it, a lock."""
        ...

    @property
    def writing(self) -> AbstractAsyncContextManager[Any]:
        """Held from sealing to sending, so that records leave in the order of their numbers."""
        ...

    async def receive(self, most: int) -> bytes:
        """Some bytes, at most `most`; none at the end of the stream. Raises OSError."""
        ...

    async def send(self, data: bytes) -> None:
        """All of the bytes. Raises OSError."""
        ...

    def end(self) -> None:
        """No more bytes follow from us."""
        ...

    def close(self) -> None:
        """Give the pipe back. Safe to call twice."""
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
        self._received: deque[memoryview] = deque()
        self._asked: deque[Asked] = deque()
        self._ended = False
        self._failure: TLSError | None = None

    async def handshake(self, within: float | None = HANDSHAKE_TIMEOUT) -> None:
        """Shake hands. Raises TLSError, and OSError from the transport; both leave it closed."""
        try:
            async with self.transport.deadline(within):
                with self.transport.engine:
                    self._collect()
                while self._asked or not self.connection.established:
                    await self._flush()
                    await self._advance()
                await self._flush()
        except TimeoutError as error:
            self.transport.close()
            if isinstance(error, TLSError):
                raise
            waiting = " or ".join(self.connection.waiting_for)
            raise HandshakeTimeout(
                f"the handshake did not finish within {within:g} s: {waiting or 'nothing'} was due",
                remedy="check the network and the peer's load, or allow more time",
            ) from None
        except BaseException:
            self.transport.close()
            raise

    async def read(self, most: int) -> bytes:
        """Up to `most` bytes of data; none when the peer has said close_notify. Raises TLSError, OSError."""
        while not self._received:
            if self._ended or most <= 0:
                return b""
            await self._advance()
        chunk = self._received.popleft()
        if len(chunk) > most:
            self._received.appendleft(chunk[most:])
            chunk = chunk[:most]
        return bytes(chunk)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of the data. Raises TLSError, OSError."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), SEND_SIZE):
            async with self.transport.writing:
                with self.transport.engine:
                    self.connection.send(view[start : start + SEND_SIZE])
                    records = self.connection.data_to_send()
                await self.transport.send(records)

    async def update_keys(self, *, request_peer: bool = False) -> None:
        """Change our sending keys, and ask the peer to change its own."""
        with self.transport.engine:
            self.connection.update_keys(request_peer=request_peer)
        await self._flush()

    async def close_writing(self) -> None:
        """Say close_notify; the peer may go on sending (half-close)."""
        with self.transport.engine:
            self.connection.close()
        await self._flush()
        self.transport.end()

    async def close(self, within: float | None = CLOSE_TIMEOUT) -> None:
        """Say close_notify, wait a while for the peer's, and close the transport. Never raises for a peer's fault."""
        try:
            with suppress(TLSError, OSError):  # whatever the peer does: we are gone, and said so
                async with self.transport.deadline(within):
                    await self.close_writing()
                    while not self._ended and self.connection.error is None:
                        await self._advance()
                        self._received.clear()
        finally:
            self.transport.close()

    async def _advance(self) -> None:
        """One step: answer what is asked, or take what comes. What came before an error is delivered before it."""
        if self._failure is not None:
            raise self._failure
        try:
            if self._asked:
                await self._answer(self._asked.popleft())
            else:
                self._take(await self.transport.receive(RECEIVE_SIZE))
        except TLSError as error:
            self._failure = error
            await self._say_goodbye(error)
            if not self._received:
                raise

    def _take(self, data: bytes) -> None:
        with self.transport.engine:
            try:
                if data:
                    self.connection.receive_data(data)
                else:
                    self.connection.receive_eof()
            finally:
                self._collect()

    async def _answer(self, asked: Asked) -> None:
        try:
            value = await self.transport.wait_for(asked.question.put) if asked.pending is None else asked.pending
            if inspect.isawaitable(value):
                value = await self.transport.resolve(value)
        except Exception as error:
            value = error
        with self.transport.engine:
            try:
                self.connection.answer(asked.question, value)
            finally:
                self._collect()

    def _collect(self) -> None:
        for event in self.connection.events():
            match event:
                case Data(data):
                    self._received.append(memoryview(data))
                case Asked():
                    self._asked.append(event)
                case Closed(clean):
                    self._ended = clean

    async def _flush(self) -> None:
        async with self.transport.writing:
            with self.transport.engine:
                records = self.connection.data_to_send()
            if records:
                await self.transport.send(records)

    async def _say_goodbye(self, error: TLSError) -> None:
        """Send the alert, if we have one, and wait until the peer has hung up: closing at once could destroy it.

        A socket that is closed with unread bytes resets its connection, and the peer may never see what was sent.
        """
        if error.alert is None or error.alert_received:
            return
        with suppress(OSError):
            async with self.transport.deadline(CLOSE_TIMEOUT):
                await self._flush()
                self.transport.end()
                while await self.transport.receive(RECEIVE_SIZE):
                    pass
