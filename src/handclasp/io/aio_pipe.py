"""What is below TLS in asyncio: a protocol on the raw transport, and the transport of a `Stream`."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from contextvars import copy_context
from typing import Any, ClassVar, Protocol

from ..errors import TLSError
from ..limits import CLOSE_TIMEOUT, MAX_RECEIVED

STALL_TIMEOUT = 10.0
"""Seconds without a byte taken by the peer, after which a close gives up on what is still to be sent."""


class Taker(Protocol):
    """Who bytes are for once the handshake is done."""

    def take(self, data: bytes | memoryview) -> None:
        """Bytes of the peer; none at their end."""
        ...

    def lost(self, error: Exception | None) -> None:
        """The raw transport is gone."""
        ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


class Pipe(asyncio.Protocol):
    """Bytes of a raw transport: kept for a `Stream` that asks for them, or handed on as they come (`direct`).

    Everything happens in one thread and without waiting, from sealing to writing: there is nothing to lock.
    """

    engine: ClassVar[nullcontext[None]] = nullcontext()
    reading: ClassVar[nullcontext[None]] = nullcontext()
    writing: ClassVar[nullcontext[None]] = nullcontext()

    __slots__ = (
        "_chunks",
        "_ended",
        "_error",
        "_lost",
        "_paused",
        "_room",
        "_waiter",
        "before",
        "direct",
        "loop",
        "raw",
        "taker",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._chunks: deque[bytes | memoryview] = deque()
        self._ended = False
        self._error: Exception | None = None
        self._lost = loop.create_future()
        self._paused = False
        self._room: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.before: asyncio.BaseProtocol | None = None
        """Whose raw transport it was; it is told of the end, and keeps alive what it keeps alive."""
        self.direct = False
        """Whether bytes go to `taker` as they come."""
        self.raw: asyncio.Transport
        self.taker: Taker | None = None

    # --- the raw transport's protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.raw = transport  # type: ignore[assignment]  # create_connection and create_server make no other

    def data_received(self, data: bytes) -> None:
        if self.direct and self.taker is not None and len(data) <= MAX_RECEIVED:
            self.taker.take(data)
            return
        self.keep(data)
        if self.direct:
            self._hand_on()
        elif len(data) + sum(map(len, self._chunks)) > MAX_RECEIVED:
            self.pause()

    def eof_received(self) -> bool:
        self._ended = True
        if self.direct:
            self._hand_on()
        self._wake()
        return True  # our side may still have something to say

    def connection_lost(self, error: Exception | None) -> None:
        self._error = error or self._error
        if not self._lost.done():
            self._lost.set_result(None)
        self._wake()
        self._make_room()  # the taker is not told of it: who waits to write learns that the connection is lost
        try:
            if self.taker is not None:
                self.taker.lost(self._error)
        finally:
            if self.before is not None:
                self.before.connection_lost(self._error)

    def pause_writing(self) -> None:
        self._room = self.loop.create_future()
        if self.taker is not None:
            self.taker.pause_writing()

    def resume_writing(self) -> None:
        if self._make_room() and self.taker is not None:
            self.taker.resume_writing()

    def take_over(self, transport: asyncio.BaseTransport, before: asyncio.BaseProtocol) -> None:
        """A live transport. Bytes come, whether or not its protocol of `before` wanted any. Raises OSError."""
        if transport.is_closing():
            raise ConnectionResetError("the connection is closed or lost")
        self.before = before
        self.connection_made(transport)
        self.raw.set_protocol(self)
        self.raw.resume_reading()

    # --- bytes as they come ---

    @property
    def full(self) -> bool:
        """Whether the raw transport has enough to do."""
        return self._room is not None

    def keep(self, data: bytes) -> None:
        """Bytes that are to be read before those to come."""
        if data:
            self._chunks.append(data)
            self._wake()

    def hand_on(self) -> None:
        """Give bytes to `taker` as they come, beginning with those that are kept."""
        self.direct = True
        self._hand_on()

    def _hand_on(self) -> None:
        while self.direct and self.taker is not None and self._chunks:
            self.taker.take(self._next(MAX_RECEIVED))
        if self.direct and self.taker is not None and self._ended:
            self.taker.take(b"")

    def pause(self) -> None:
        """Let the peer wait."""
        if not self._paused and not self.raw.is_closing():
            self._paused = True
            self.raw.pause_reading()

    def resume(self) -> None:
        if self._paused and not self.raw.is_closing():
            self._paused = False
            self.raw.resume_reading()

    # --- the stream's transport ---

    async def receive(self, most: int) -> bytes:
        while not self._chunks:
            if self._ended:
                return b""
            if self._lost.done():
                raise self._reason()
            self.resume()
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return bytes(self._next(most))

    async def send(self, data: bytes) -> None:
        if self._lost.done():
            raise self._reason()
        if data:
            self.raw.write(data)

    async def send_some(self, data: bytes) -> None:
        await self.send(data)  # which never waits

    async def if_free(self, lock: object, work: Callable[[], Awaitable[None]]) -> None:
        await work()

    async def end(self) -> None:
        """A peer that takes our bytes gets all of them, however slowly."""
        if self._lost.done():
            return
        self.raw.set_write_buffer_limits(0)
        while self._room is not None:
            before = self.raw.get_write_buffer_size()
            try:
                async with asyncio.timeout(STALL_TIMEOUT):
                    await asyncio.shield(self._room)
            except TimeoutError:
                if self.raw.get_write_buffer_size() >= before:
                    raise
        if not self._lost.done() and self.raw.can_write_eof():
            self.raw.write_eof()

    async def close(self) -> None:
        if self._lost.done():
            return
        if self.raw.get_write_buffer_size():
            self._error = ConnectionAbortedError("the connection was closed before the peer took all that was sent")
            self.raw.abort()
        else:
            self.raw.close()
        await asyncio.wait([self._lost], timeout=CLOSE_TIMEOUT)

    def deadline(self, seconds: float | None) -> AbstractAsyncContextManager[Any]:
        return asyncio.timeout(seconds)

    async def resolve(self, pending: Awaitable[Any]) -> Any:
        try:
            return await pending
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # what it waited for was cancelled, and not we
            raise RuntimeError("the answer was cancelled") from error

    async def wait_for(self, answer: Callable[[], Any]) -> Any:
        """In a thread of its own: the loop's few look up names and do the application's work, and a loop that ends
        waits for them. This one is let go.
        """
        answered: asyncio.Future[tuple[Any, BaseException | None]] = self.loop.create_future()

        def settle(value: Any, error: BaseException | None) -> None:
            if not answered.done():
                answered.set_result((value, error))

        def work() -> None:
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = answer(), None
            except BaseException as error:
                outcome = None, error
            with suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(settle, *outcome)

        threading.Thread(target=copy_context().run, args=(work,), name="handclasp-answer", daemon=True).start()
        value, error = await answered
        if error is not None:
            raise error
        return value

    def _next(self, most: int) -> bytes | memoryview:
        chunk = self._chunks.popleft()
        if len(chunk) <= most:
            return chunk
        view = memoryview(chunk)
        self._chunks.appendleft(view[most:])
        return view[:most]

    def _make_room(self) -> bool:
        """Wake who waits for it. Whether there was none."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)
        return room is not None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _reason(self) -> Exception:
        if isinstance(self._error, (TLSError, OSError)):
            return self._error.with_traceback(None)
        error = ConnectionResetError("the connection is lost")
        error.__cause__ = self._error
        return error
