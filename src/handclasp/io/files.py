"""Files over a connection, with the habits of `socket.makefile`."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Protocol


class Socket(Protocol):
    """What a file needs of a connection."""

    def recv_into(self, buffer: Any) -> int: ...

    def send(self, data: Any) -> int: ...

    def fileno(self) -> int: ...


def open_file(
    sock: Socket,
    mode: str,
    buffering: int | None,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
    closed: Callable[[], None],
) -> io.IOBase:
    """What `socket.makefile` gives for the same arguments; `closed` is called once, when the file is."""
    if not mode or not set(mode) <= set("rwb"):
        raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
    writable = "w" in mode
    readable = "r" in mode or not writable
    if buffering is None or buffering < 0:
        buffering = io.DEFAULT_BUFFER_SIZE
    if buffering == 0 and "b" not in mode:
        raise ValueError("unbuffered streams must be binary")
    raw = _Raw(sock, readable, writable)
    file: io.IOBase = raw
    if buffering:
        file = buffered = _buffered(raw, buffering)
        if "b" not in mode:
            # typeshed asks for a file that tells its `raw`, which a pair cannot; it does without, as with sockets
            file = io.TextIOWrapper(buffered, io.text_encoding(encoding), errors, newline)  # type: ignore[type-var]
    raw.tell_closed = closed  # not of one that could not be made whole
    return file


def _buffered(raw: _Raw, size: int) -> io.BufferedRWPair | io.BufferedReader | io.BufferedWriter:
    if raw.readable() and raw.writable():
        return io.BufferedRWPair(raw, raw, size)
    return io.BufferedReader(raw, size) if raw.readable() else io.BufferedWriter(raw, size)


class _Raw(io.RawIOBase):
    """What is buffered."""

    def __init__(self, sock: Socket, readable: bool, writable: bool) -> None:
        self._sock = sock
        self._readable = readable
        self._writable = writable
        self.tell_closed: Callable[[], None] | None = None
        self._timed_out = False

    def readable(self) -> bool:
        return self._readable and not self.closed

    def writable(self) -> bool:
        return self._writable and not self.closed

    def fileno(self) -> int:
        return self._sock.fileno()

    def readinto(self, buffer: Any) -> int | None:
        if self._timed_out:  # a buffer above may have lost what came before
            raise OSError("cannot read from timed out object")
        try:
            return self._sock.recv_into(buffer)
        except TimeoutError:
            self._timed_out = True
            raise
        except BlockingIOError:
            return None

    def write(self, data: Any) -> int | None:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return None

    def close(self) -> None:
        super().close()
        if self.tell_closed is not None:
            tell, self.tell_closed = self.tell_closed, None
            tell()
