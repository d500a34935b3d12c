"""A socket and a connection without I/O, one driven by the other."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from handclasp import (
    Asked,
    ClientConnection,
    Closed,
    Data,
    EarlyDataReceived,
    EarlyDataRejected,
    HandshakeComplete,
    ServerConnection,
    TicketReceived,
    TLSError,
    TruncatedError,
)


def inverted(data: bytes) -> bytes:
    """What the runner wants back."""
    return data.translate(_INVERSES)


_INVERSES = bytes(byte ^ 0xFF for byte in range(256))


class Pipe:
    """A socket and a connection, one driven by the other."""

    def __init__(
        self,
        sock: socket.socket,
        conn: ClientConnection | ServerConnection,
        bytewise: bool,
        declined: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._declined = declined
        self.conn = conn
        self._bytewise = bytewise
        self._data: deque[bytes] = deque()
        self._unread = self._held = b""
        self._begun = False
        self._complete = False
        self._ended = False
        self.closed_cleanly = False
        self.early_data_rejected = False
        self.tickets = 0

    def handshake(self, *, unfinished: bool = False) -> None:
        """Until it is finished; `unfinished` says how the first flight goes out. Raises TLSError, OSError."""
        self._take_events()
        self.flush(unfinished=unfinished)
        while not self._complete:
            self._receive()
            while self._data and not self._complete:
                self.write(inverted(self._data.popleft()))  # early data, answered before the handshake is finished

    def peek(self) -> bytes:
        """The next data, left where it is; empty at the end, clean or not. Raises TLSError, OSError."""
        self._take_events()
        while not self._data and not self._ended:
            self._receive()
        return self._data[0] if self._data else b""

    def read(self) -> bytes:
        """The next data. Raises TLSError, OSError."""
        data = self.peek()
        if data:
            self._data.popleft()
        return data

    def write(self, data: bytes, *, unfinished: bool = False) -> None:
        self.conn.send(data)
        self.flush(unfinished=unfinished)

    def flush(self, *, unfinished: bool = False) -> None:
        """What the connection has to say goes out; `unfinished`: of the last record one byte, the rest next time."""
        self._begun = True
        data, self._held = self._held + self.conn.data_to_send(), b""
        if unfinished:
            cut = _last_record(data) + 1
            data, self._held = data[:cut], data[cut:]
        with suppress(BrokenPipeError, ConnectionResetError):  # what the other side said before is still to be read
            if self._bytewise:
                for at in range(len(data)):
                    self._sock.sendall(data[at : at + 1])
            else:
                self._sock.sendall(data)

    def _receive(self) -> None:
        """Give the connection one record of what has come, or one byte: what the test does next comes in between."""
        if not self._unread:
            self._unread = self._sock.recv(65536)
        step = 1 if self._bytewise else _first_record(self._unread)
        data, self._unread = self._unread[:step], self._unread[step:]
        try:
            if data:
                self.conn.receive_data(data)
            else:
                self._end()
        finally:
            quiet = self._complete and self.conn.error is None
            self._take_events()
            if not quiet:  # after the handshake what there is to say goes with the next data, as the runner expects
                self.flush()

    def _end(self) -> None:
        try:
            self.conn.receive_eof()
        except TruncatedError:
            if not self._complete:
                raise
        self._ended = True

    def _take_events(self) -> None:
        for event in self.conn.events():
            if isinstance(event, (Data, EarlyDataReceived)):
                self._data.append(event.data)
            elif isinstance(event, HandshakeComplete):
                self._complete = True
            elif isinstance(event, EarlyDataRejected) and self._begun:
                self.early_data_rejected = True  # by the server; before, it was us who did not send any
                self._declined()
            elif isinstance(event, Asked):
                self._answer(event)
            elif isinstance(event, TicketReceived):
                self.tickets += 1
            elif isinstance(event, Closed):
                self._ended = True
                self.closed_cleanly = event.clean

    def _answer(self, asked: Asked) -> None:
        """What may wait is done at once here. Raises TLSError."""
        value: object
        try:
            value = asked.question.put()
        except TLSError as refusal:
            value = refusal
        self.conn.answer(asked.question, value)
        self._take_events()


def _first_record(data: bytes) -> int:
    """Length of the first record, header included, in bytes; of all, where its header is not there yet."""
    return 5 + int.from_bytes(data[3:5]) if len(data) >= 5 else len(data)


def _last_record(data: bytes) -> int:
    """Where the last record begins."""
    at = 0
    while at + _first_record(data[at:]) < len(data):
        at += _first_record(data[at:])
    return at


def drain(sock: socket.socket) -> None:
    """Close so that the other side reads all we said: a reset would take it away."""
    try:
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
    except OSError:
        pass  # it is gone already
