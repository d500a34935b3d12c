"""A server over blocking sockets: one thread watches all who are shaking hands, and a few others take their steps.

A client that says nothing, or little, is a socket in a selector and no more. A worker is busy only while there are
bytes to work on, or an answer to wait for.
"""

from __future__ import annotations

import os
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from ..config import ServerConfig
from ..connection import ServerConnection
from ..errors import TLSError
from ..limits import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT, MAX_RECEIVED
from .blocking import TLSSocket
from .sockets import Deadline, SocketTransport
from .stream import Stream, log_failure

READY = 128
"""Finished connections that wait to be taken; no more are accepted meanwhile."""

WORKERS = 32
"""Steps of handshakes, and answers that are waited for, at once."""

TICK = 0.1
"""Seconds between two looks for clients that are late, or for room where there was none."""


def listen(
    address: tuple[str, int] | str | os.PathLike[str] | socket.socket,
    config: ServerConfig,
    *,
    backlog: int = 128,
    timeout: float | None = HANDSHAKE_TIMEOUT,
) -> Listener:
    """A listening server: iterate over it, or call `accept`, for connections whose handshake is done.

    `address` is a host and a port, the path of a UNIX socket, or a socket that listens already. A handshake may take
    `timeout` seconds.
    """
    if isinstance(address, socket.socket):
        return Listener(address, config, timeout)
    if isinstance(address, tuple):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        return Listener(socket.create_server(address, family=family, backlog=backlog), config, timeout)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(os.fspath(address))
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return Listener(sock, config, timeout)


class Listener:
    """A listening socket whose connections have shaken hands.

    Handshakes run beside each other: slow clients hold up nobody, however many, and one that fails costs a log line.
    """

    def __init__(self, sock: socket.socket, config: ServerConfig, timeout: float | None) -> None:
        self._sock = sock
        self._config = config
        self._timeout = timeout
        self._ready: queue.SimpleQueue[TLSSocket | None] = queue.SimpleQueue()
        self._crowd = _Crowd(sock)
        self._due: queue.SimpleQueue[tuple[_Guest, TLSSocket]] = queue.SimpleQueue()
        """Steps that can be taken."""
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="handclasp-handshake")
        self._closed = False
        self._watcher = threading.Thread(target=self._watch, name="handclasp-accept", daemon=True)
        self._watcher.start()

    @property
    def address(self) -> Any:
        """Where it listens: (host, port, ...), or the path of a UNIX socket."""
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
        self._crowd.wake()
        self._watcher.join()
        self._pool.shutdown()
        self._crowd.close()
        self._turn_away()
        self._ready.put(None)

    def _turn_away(self) -> None:
        """All who wait to be taken, together: their answers are waited for at one time."""
        waiting = []
        while not self._ready.empty():
            tls = self._ready.get()
            if tls is not None:
                waiting.append(tls)
        with Deadline(CLOSE_TIMEOUT):
            for tls in waiting:
                with suppress(TLSError, OSError):
                    tls.shutdown_write()
            for tls in waiting:
                tls.close()

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

    # --- in the watching thread ---

    def _watch(self) -> None:
        while not self._closed:
            for guest in self._crowd.turn(room=self._ready.qsize() < READY):
                if guest is None:
                    self._accept()
                elif guest.tls is not None:
                    self._hand_out(guest, guest.tls)

    def _hand_out(self, guest: _Guest, tls: TLSSocket) -> None:
        self._due.put((guest, tls))
        try:
            self._pool.submit(self._step)
        except RuntimeError:  # there is no thread to be had: then this one takes it
            self._step()

    def _accept(self) -> None:
        try:
            sock, peer = self._sock.accept()
        except BlockingIOError:  # it is gone again
            return
        except OSError:  # out of descriptors: others still want in
            self._crowd.rest()
            return
        sock.setblocking(False)
        transport = _GuestTransport(sock, self._crowd.see_off)
        tls = TLSSocket(Stream(ServerConnection(self._config), transport), self._timeout)
        self._crowd.join(_Guest(sock, _Guest.until(self._timeout), tls, peer))

    # --- in a worker ---

    def _step(self) -> None:
        """As much of one handshake as there are bytes for."""
        try:
            guest, tls = self._due.get_nowait()
        except queue.Empty:  # the pool keeps what it was given when it had no thread for it, and that was done
            return
        try:
            tls.do_handshake()
        except BlockingIOError:
            self._crowd.join(guest)
        except Exception as error:
            log_failure(guest.peer, error)
        else:
            tls.settimeout(None)
            self._ready.put(tls)


@dataclass(frozen=True, slots=True, eq=False)
class _Guest:
    """A socket that waits for its peer, but not for ever."""

    sock: socket.socket
    ends: float | None
    """By `time.monotonic`; None: never."""
    tls: TLSSocket | None = None
    """None once it failed: then all it waits for is that the peer hangs up."""
    peer: Any = None

    @staticmethod
    def until(seconds: float | None) -> float | None:
        return None if seconds is None else time.monotonic() + seconds

    @property
    def event(self) -> int:
        return selectors.EVENT_WRITE if self.tls is not None and self.tls.wants_write else selectors.EVENT_READ

    @property
    def late(self) -> bool:
        return self.ends is not None and self.ends <= time.monotonic()

    def hung_up(self) -> bool:
        """Whether the peer sends no more. What it does send is in vain."""
        try:
            return not self.sock.recv(MAX_RECEIVED)
        except BlockingIOError:
            return False
        except OSError:
            return True


class _Crowd:
    """The sockets that wait. Only one thread takes turns; all else may be called from any."""

    def __init__(self, listening: socket.socket) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._selector = selectors.DefaultSelector()
        self._bell, self._ear = socket.socketpair()
        for end in (self._bell, self._ear):
            end.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._coming: queue.SimpleQueue[_Guest] = queue.SimpleQueue()
        self._open = False
        """Whether the selector tells of clients who knock."""
        self._rests_until = 0.0
        self._looks_at = 0.0

    def join(self, guest: _Guest) -> None:
        self._coming.put(guest)
        self.wake()

    def see_off(self, sock: socket.socket) -> None:
        """Close once the peer has hung up, or soon: at once, what is on its way to it could be destroyed."""
        self.join(_Guest(sock, _Guest.until(CLOSE_TIMEOUT)))

    def wake(self) -> None:
        with suppress(BlockingIOError):  # it is ringing already
            self._bell.send(b"\0")

    def rest(self) -> None:
        """Let nobody in for a moment."""
        self._rests_until = time.monotonic() + TICK

    def turn(self, *, room: bool) -> Iterator[_Guest | None]:
        """Wait for something to happen: who may take a step, or has to; None for one who knocks."""
        self._open_door(room and time.monotonic() >= self._rests_until)
        idle = self._open and len(self._selector.get_map()) == 2
        for key, _ in self._selector.select(None if idle else TICK):
            if key.fileobj is self._listening:
                yield None
            elif key.fileobj is self._ear:
                self._ear.recv(MAX_RECEIVED)
            elif key.data.tls is not None or key.data.hung_up():
                yield from self._take_out(key.data)
        while not self._coming.empty():
            guest = self._coming.get()
            self._selector.register(guest.sock, guest.event, guest)
        if time.monotonic() >= self._looks_at:
            self._looks_at = time.monotonic() + TICK
            for guest in self._present():
                if guest.late:
                    yield from self._take_out(guest)

    def close(self) -> None:
        while not self._coming.empty():
            self._coming.get().sock.close()
        for guest in self._present():
            guest.sock.close()
        self._selector.close()
        for end in (self._bell, self._ear, self._listening):
            end.close()

    def _open_door(self, wanted: bool) -> None:
        if wanted and not self._open:
            self._selector.register(self._listening, selectors.EVENT_READ)
        elif self._open and not wanted:
            self._selector.unregister(self._listening)
        self._open = wanted

    def _present(self) -> list[_Guest]:
        return [key.data for key in self._selector.get_map().values() if key.data is not None]

    def _take_out(self, guest: _Guest) -> Iterator[_Guest]:
        self._selector.unregister(guest.sock)
        if guest.tls is None:
            guest.sock.close()
        else:
            yield guest


class _GuestTransport(SocketTransport):
    """The socket of somebody who may yet fail: then it is closed only when the peer has heard of it."""

    def __init__(self, sock: socket.socket, see_off: Callable[[socket.socket], None]) -> None:
        super().__init__(sock)
        self._see_off: Callable[[socket.socket], None] | None = see_off

    def set_timeout(self, seconds: float | None) -> None:
        super().set_timeout(seconds)
        if seconds != 0:
            self._see_off = None  # it is in

    async def close(self) -> None:
        if self._see_off is None:
            await super().close()
        else:
            await self.end()
            self._see_off(self._sock)
