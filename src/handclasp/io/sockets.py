"""Transports that never suspend: a socket, and a TLS connection as the pipe of another (TLS in TLS)."""

from __future__ import annotations

import errno
import math
import select
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import Any

from ..errors import ConfigError, TLSError
from .stream import Stream

_deadline: ContextVar[float | None] = ContextVar("handclasp_deadline", default=None)
"""When what this thread is doing has to be done, by `time.monotonic`. Each thread has its own: one may read, and give
up early, while another writes. It holds for all layers of TLS in TLS."""


class Deadline:
    """What is inside has so many seconds, or fewer where something around it says so; None: as many as it likes.

    A class, for a generator of `contextlib` takes three times as long.
    """

    __slots__ = ("_seconds", "_token")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._token: Token[float | None] | None = None

    def __enter__(self) -> None:
        if self._seconds is not None:
            ends, outer = time.monotonic() + self._seconds, _deadline.get()
            self._token = _deadline.set(ends if outer is None else min(ends, outer))

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _deadline.reset(self._token)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()


def _left() -> float | None:
    """Seconds until the deadline of this thread; None: for ever. Raises TimeoutError when it has passed."""
    ends = _deadline.get()
    if ends is None:
        return None
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left


class BlockingTransport:
    """What all of them have in common: locks that threads share, deadlines, and answers that are waited for."""

    def __init__(self) -> None:
        self.engine = threading.Lock()
        self.reading = ThreadLock()
        self.writing = ThreadLock()
        self.timeout: float | None = None
        """How long one call of the application may take, in seconds; None: for ever; 0: it does not block."""

    def set_timeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    @property
    def blocking(self) -> bool:
        return self.timeout != 0

    @property
    def sock(self) -> socket.socket:
        """What it all runs over in the end."""
        raise NotImplementedError

    @property
    def unsent(self) -> bool:
        """Whether there are bytes that an interruption has left."""
        raise NotImplementedError

    def held(self) -> int:
        """How many bytes `receive` gives without asking the socket."""
        raise NotImplementedError

    async def receive(self, most: int) -> bytes:
        raise NotImplementedError

    async def send(self, data: bytes) -> None:
        raise NotImplementedError

    async def send_some(self, data: bytes) -> None:
        raise NotImplementedError

    async def if_free(self, lock: ThreadLock, work: Callable[[], Awaitable[None]]) -> None:
        if lock.take_if_free():
            try:
                await work()
            finally:
                lock.release()

    async def end(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    def interrupt(self) -> None:
        """Wake whoever waits for bytes: there will be none."""
        with suppress(OSError):  # the peer may be gone already
            self.sock.shutdown(socket.SHUT_RDWR)

    def release(self) -> socket.socket:
        """Let go of what is below."""
        raise NotImplementedError

    def deadline(self, seconds: float | None) -> Deadline:
        return Deadline(seconds)

    async def resolve(self, pending: Awaitable[Any]) -> Any:
        # Only a configuration with async answers needs an event loop here; nobody else pays for the import.
        import asyncio

        async def value() -> Any:
            return await asyncio.wait_for(pending, _left())

        try:
            return asyncio.run(value())
        except asyncio.CancelledError as error:  # what it waited for was: here nobody else can be
            raise RuntimeError("the answer was cancelled") from error

    async def wait_for(self, answer: Callable[[], Any]) -> Any:
        return answer()


class SocketTransport(BlockingTransport):
    """A socket. While it blocks, waiting is done beside it and not by its own timeout, which threads would share."""

    def __init__(self, sock: socket.socket, received: bytes = b"") -> None:
        super().__init__()
        with suppress(OSError):  # not every socket is TCP; those that are must not hold back what we have sealed
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._received = received
        self._unsent = b""
        self.set_timeout(sock.gettimeout())

    def set_timeout(self, seconds: float | None) -> None:
        super().set_timeout(seconds)
        self._sock.setblocking(seconds != 0)

    @property
    def sock(self) -> socket.socket:
        return self._sock

    @property
    def unsent(self) -> bool:
        return bool(self._unsent)

    def held(self) -> int:
        return len(self._received)

    async def receive(self, most: int) -> bytes:
        if self._received:
            data, self._received = self._received[:most], self._received[most:]
            return data
        if self._unsent:
            await self.if_free(self.writing, self._send_rest)
        while True:
            left = _left()
            if left is None or not self.blocking:
                return self._sock.recv(most)
            _wait(self._sock, left, to_write=False)
            with suppress(BlockingIOError):
                return self._sock.recv(most, DO_NOT_WAIT)

    async def send(self, data: bytes) -> None:
        view = memoryview(self._unsent + data if self._unsent else data)
        try:
            while view:
                view = view[self._send(view) :]
        finally:
            self._unsent = bytes(view)

    async def send_some(self, data: bytes) -> None:
        view = memoryview(self._unsent + data)
        try:
            with suppress(BlockingIOError):
                while view:
                    view = view[self._sock.send(view, DO_NOT_WAIT) :]
        finally:
            self._unsent = bytes(view)

    async def _send_rest(self) -> None:
        """Who only reads sends what had no room: an answer of TLS has no writer that comes again."""
        with suppress(OSError):  # what the peer has sent can be read all the same, and tells why
            await self.send_some(b"")

    def _send(self, view: memoryview) -> int:
        left = _left()
        if left is None or not self.blocking:
            return self._sock.send(view)
        _wait(self._sock, left, to_write=True)
        with suppress(BlockingIOError):
            return self._sock.send(view, DO_NOT_WAIT)
        return 0

    async def end(self) -> None:
        with suppress(OSError):  # the peer may be gone already
            self._sock.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        self.interrupt()
        self._sock.close()

    def release(self) -> socket.socket:
        self._sock.settimeout(self.timeout)
        released, self._sock = self._sock, socket.socket()
        self._sock.close()
        return released


class TunnelTransport(BlockingTransport):
    """Another TLS connection. What is sent is sealed by it at once, so that nothing is lost or sent twice later on."""

    def __init__(self, outer: Stream, received: bytes = b"") -> None:
        super().__init__()
        self._received = received
        if not isinstance(outer.transport, BlockingTransport):
            raise TypeError("the outer connection is not one of blocking sockets")
        self._outer = outer
        self._below = outer.transport
        self.timeout = self._below.timeout

    def set_timeout(self, seconds: float | None) -> None:
        super().set_timeout(seconds)
        self._below.set_timeout(seconds)

    @property
    def sock(self) -> socket.socket:
        return self._below.sock

    @property
    def unsent(self) -> bool:
        return self._below.unsent

    def held(self) -> int:
        return len(self._received) + sum(map(len, self._outer.received)) + self._below.held()

    async def receive(self, most: int) -> bytes:
        if self._received:
            data, self._received = self._received[:most], self._received[most:]
            return data
        return await self._outer.read(most)

    async def send(self, data: bytes) -> None:
        with self._below.engine:
            self._outer.connection.send(data)
        await self._outer.flush()

    async def send_some(self, data: bytes) -> None:
        with self._below.engine:
            self._outer.connection.send(data)
        await self._outer.speak()

    async def end(self) -> None:
        with suppress(TLSError, OSError):  # the peer may be gone already
            await self._outer.close_writing()

    async def close(self) -> None:
        await self._outer.close()

    def release(self) -> socket.socket:
        raise ConfigError("there is no socket to give back: this connection runs inside of another TLS connection")


class ThreadLock:
    """A thread lock behind `async with`, which it never suspends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        if self._lock.acquire(False):
            return
        left = _left()
        if not self._lock.acquire(timeout=-1 if left is None else left):
            raise TimeoutError("the deadline has passed")

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()

    def take_if_free(self) -> bool:
        """Whether it was free, and is ours now: to be given back by `release`."""
        return self._lock.acquire(False)

    def release(self) -> None:
        self._lock.release()


DO_NOT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)
"""For one call. Windows has no such flag: there a send may outlast its deadline while the peer reads nothing."""


def _wait(sock: socket.socket, seconds: float, *, to_write: bool) -> None:
    """Until the socket is ready. Raises TimeoutError, and OSError for one that is closed."""
    descriptor = sock.fileno()
    if descriptor < 0:
        raise OSError(errno.EBADF, "the socket is closed")
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT if to_write else select.POLLIN)
        ready = bool(poll.poll(math.ceil(seconds * 1000)))
    else:
        ready = any(select.select([] if to_write else [descriptor], [descriptor] if to_write else [], [], seconds))
    if not ready:
        raise TimeoutError("the deadline has passed")
