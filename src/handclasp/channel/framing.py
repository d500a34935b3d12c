"""Cutting: a stream of bytes into records, records' contents into handshake messages (RFC 8446 §5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import NoReturn

from .. import rules
from ..limits import MAX_CIPHERTEXT, MAX_PLAINTEXT, RECORD_HEADER, Limits
from ..rules import PeerFault, Rule
from ..wire.messages import HEADER_SIZE, MESSAGES
from ..wire.messages12 import MESSAGES12
from ..wire.names import ContentType, HandshakeType

COMPACT = 32 * 1024
"""Consumed bytes in front of a buffer before it is moved: keeps the work per byte constant."""

LONG = 4 * 1024
"""Length of a fragment, in bytes, from which on a view is made sooner than a copy: 0.2 µs sooner for 16 KiB."""

_HEADER = Struct(">HBH")
"""A record's type and major version together, its minor version, and its length."""

_CONTENT_TYPES = frozenset(
    (ContentType.CHANGE_CIPHER_SPEC, ContentType.ALERT, ContentType.HANDSHAKE, ContentType.APPLICATION_DATA)
)
_BEGINNINGS = frozenset(type_ << 8 | 3 for type_ in _CONTENT_TYPES)
_DATA = ContentType.APPLICATION_DATA << 8 | 3


class Deframer:
    """Received bytes, given out one whole record at a time."""

    __slots__ = ("_behind", "_lacking", "_start", "buffer", "ended", "started")

    def __init__(self) -> None:
        self.buffer: bytes | bytearray | memoryview = b""
        """What was fed and is not given out yet, behind the first bytes of what was; empty when nothing is held."""
        self._start = 0
        self._lacking = 0
        """What the record at the front needs to be whole, in bytes; 0 while that is not known."""
        self._behind: tuple[bytes | memoryview, int] | None = None
        """What comes behind `buffer`, which ends with a record: some bytes, and where to go on in them."""
        self.started = False
        """Whether a record was seen: from then on the peer does speak TLS."""
        self.ended = False
        """Whether the transport has no more bytes."""

    def feed(self, data: bytes | memoryview) -> None:
        """Whole records are cut from the bytes as they are: only one that comes in two pieces is put together.

        What a memoryview shows must not change any more.
        """
        if self._start == len(self.buffer):
            self.buffer, self._start = data, 0
            return
        lacking, self._lacking = self._lacking, 0
        buffer = self._wait()
        if self._behind is not None:
            rest, at = self._behind
            buffer += rest[at:]
            buffer += data
            self._behind = None
        elif 0 < lacking < len(data):
            buffer += data[:lacking]
            self._behind = data, lacking
        else:
            buffer += data

    def __len__(self) -> int:
        """Bytes held."""
        behind = 0 if self._behind is None else len(self._behind[0]) - self._behind[1]
        return len(self.buffer) - self._start + behind

    def next(self, protected: bool) -> tuple[bytes, bytes | memoryview] | None:
        """The next record, header and fragment, or None until more bytes come. Raises PeerFault on a wrong header.

        A long fragment that is `protected`, and so about to be decrypted, is a view of what was fed.
        """
        buffer, start = self.buffer, self._start
        begin, held = start + RECORD_HEADER, len(buffer)
        if held < begin:
            if buffer:
                self._wait()
            return None
        beginning, _, length = _HEADER.unpack_from(buffer, start)
        if beginning not in _BEGINNINGS:
            self._refuse(bytes(buffer[start:begin]))
        self.started = True
        # application data is always protected: before there are keys it is early data, to be passed over or refused
        most = MAX_CIPHERTEXT if protected or beginning == _DATA else MAX_PLAINTEXT
        if length > most:
            raise PeerFault(rules.RECORD_OVERFLOW, f"{length} bytes where at most {most} may come")
        end = begin + length
        if held < end:
            self._lacking = end - held
            self._wait()
            return None
        record: tuple[bytes, bytes | memoryview]
        if protected and length > LONG and not isinstance(buffer, bytearray):
            record = bytes(buffer[start:begin]), memoryview(buffer)[begin:end]
        elif isinstance(buffer, bytes):
            record = buffer[start:begin], buffer[begin:end]
        else:
            record = bytes(buffer[start:begin]), bytes(buffer[begin:end])
        if end == held:
            self.buffer, end = self._behind or (b"", 0)
            self._behind = None
        elif end > COMPACT and isinstance(buffer, bytearray):
            del buffer[:end]
            end = 0
        self._start = end
        return record

    def _refuse(self, header: bytes) -> NoReturn:
        """No record begins like this."""
        if not self.started:
            _recognise(header)
        if header[0] not in _CONTENT_TYPES:
            rules.fail(rules.RECORD_TYPE, f"type {header[0]}")
        rules.fail(rules.RECORD_VERSION, f"0x{header[1]:02x}{header[2]:02x}")

    def _wait(self) -> bytearray:
        """Move the beginning of a record to where it can grow, and let go of what came before it."""
        buffer = self.buffer
        if not isinstance(buffer, bytearray):
            buffer = self.buffer = bytearray(buffer[self._start :])
            self._start = 0
        return buffer

    def take(self) -> bytes:
        """Give out all that is held, unread: what came behind the end of the connection."""
        rest, at = self._behind or (b"", 0)
        taken = bytes(self.buffer[self._start :]) + bytes(rest[at:])
        self.buffer, self._start, self._behind = b"", 0, None
        return taken


_FIRST_WORDS: Mapping[bytes, Rule] = {
    b"HTTP/": rules.SPEAKS_HTTP,
    b"<html": rules.SPEAKS_HTTP,
    b"<HTML": rules.SPEAKS_HTTP,
    b"<!DOC": rules.SPEAKS_HTTP,
    b"<!doc": rules.SPEAKS_HTTP,
    b"GET ": rules.SPEAKS_HTTP,
    b"HEAD ": rules.SPEAKS_HTTP,
    b"POST ": rules.SPEAKS_HTTP,
    b"PUT ": rules.SPEAKS_HTTP,
    b"PATCH": rules.SPEAKS_HTTP,
    b"DELET": rules.SPEAKS_HTTP,
    b"OPTIO": rules.SPEAKS_HTTP,
    b"TRACE": rules.SPEAKS_HTTP,
    b"CONNE": rules.SPEAKS_HTTP,
    b"PRI *": rules.SPEAKS_HTTP,
    b"SSH-": rules.SPEAKS_SSH,
    b"220 ": rules.SPEAKS_MAIL,
    b"220-": rules.SPEAKS_MAIL,
    b"* OK": rules.SPEAKS_MAIL,
    b"+OK ": rules.SPEAKS_MAIL,
    b"EHLO ": rules.SPEAKS_MAIL,
    b"HELO ": rules.SPEAKS_MAIL,
}
"""How other protocols begin: the first words of servers, and of clients that came to the wrong port."""


def _recognise(header: bytes) -> NoReturn:
    """Say what the peer speaks whose first five bytes cannot be a TLS record."""
    for words, rule in _FIRST_WORDS.items():
        if header.startswith(words[:RECORD_HEADER]):
            rules.fail(rule, f"its first bytes are {header!r}")
    if header[0] & 0x80 and header[2] == HandshakeType.CLIENT_HELLO:
        rules.fail(rules.SPEAKS_SSL2)
    rules.fail(rules.SPEAKS_UNKNOWN, f"its first bytes are {header!r}")


class HandshakeBuffer:
    """Contents of handshake records, given out one whole message at a time."""

    __slots__ = ("_buffer", "_end", "_limits", "_start", "_type", "begun")

    def __init__(self, limits: Limits) -> None:
        self._buffer = bytearray()
        self._start = 0
        self._type: HandshakeType | None = None
        """That of the message that begins at `_start`, once its header is there; it ends at `_end`."""
        self._end = 0
        self._limits = limits
        self.begun = False
        """Whether anything is held: looked at for each record, so it is an attribute."""

    def feed(self, content: bytes) -> None:
        self._buffer += content
        self.begun = True

    def __len__(self) -> int:
        """Bytes held: 0 where the next record may begin under other keys, or be of another type."""
        return len(self._buffer) - self._start

    def peek(self) -> HandshakeType | None:
        """The type of the message that has begun to arrive; None before its header is there.

        Raises PeerFault as soon as a header declares more than we accept: nothing is kept for it.
        """
        if self._type is not None:
            return self._type
        body = self._start + HEADER_SIZE
        if len(self._buffer) < body:
            return None
        header = int.from_bytes(self._buffer[self._start : body])
        number, length = divmod(header, 1 << 24)
        type_ = HandshakeType.of(number)
        most = self._most(type_)
        if length > most:
            raise PeerFault(rules.MESSAGE_TOO_LONG, f"{type_} of {length} bytes where at most {most} may come")
        self._type, self._end = type_, body + length
        return type_

    def next(self) -> bytes | None:
        """The next message with its header, or None until more comes."""
        if self.peek() is None or len(self._buffer) < self._end:
            return None
        end = self._end
        message = bytes(self._buffer[self._start : end])
        if end == len(self._buffer):
            self._buffer.clear()
            self.begun = False
            end = 0
        elif end > COMPACT:
            del self._buffer[:end]
            end = 0
        self._start, self._type = end, None
        return message

    def _most(self, type_: HandshakeType) -> int:
        if type_ is HandshakeType.CERTIFICATE or type_ is HandshakeType.COMPRESSED_CERTIFICATE:
            return self._limits.certificate_message
        return min(_MOST.get(type_, self._limits.handshake_message), self._limits.handshake_message)


def _sizes() -> dict[HandshakeType, int]:
    """Types whose messages have a most, in either version; the larger one where they differ."""
    declared = (*MESSAGES, *MESSAGES12)
    free = {cls.type for cls in declared if cls.most is None}
    sizes: dict[HandshakeType, int] = {}
    for cls in declared:
        if cls.most is not None and cls.type not in free:
            sizes[cls.type] = max(cls.most, sizes.get(cls.type, 0))
    return sizes


_MOST: Mapping[HandshakeType, int] = _sizes()
