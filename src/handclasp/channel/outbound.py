"""The writing half of a connection: messages and data in, records out. It shares no state with the reading half."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..alerts import Alert, AlertLevel
from ..errors import CallbackError
from ..limits import MAX_PLAINTEXT, Limits
from ..trace import DataMoved, Direction, Epoch, KeysChanged, MessageMoved, RecordMoved, Trace
from ..wire.names import ContentType
from ..wire.records import CHANGE_CIPHER_SPEC
from .lifetime import KeyLife
from .protection import RECORDS_SPENT, ClearSealer, Keys, Sealer, sealer_for

Padding = Callable[[int], int]
"""Content length in bytes -> how many bytes of padding to hide beside it."""


_DATA = ContentType.APPLICATION_DATA
_CHANGE_CIPHER_SPEC = ClearSealer().seal(ContentType.CHANGE_CIPHER_SPEC, CHANGE_CIPHER_SPEC, 0)


class Outbound:
    """Collects handshake messages, cuts and seals them when keys change or bytes are asked for."""

    __slots__ = (
        "_limits",
        "_sealer",
        "_trace",
        "closed",
        "epoch",
        "life",
        "most_content",
        "padding",
        "records",
        "secret",
        "unsealed",
    )

    def __init__(self, limits: Limits, trace: Trace | None, first_version: int) -> None:
        self._limits = limits
        self.life: KeyLife | None = None
        """How long each key may be used; None: as long as its cipher bears."""
        self.padding: Padding | None = None
        self._trace = trace
        self.unsealed = bytearray()
        """Handshake messages that wait for their neighbours."""
        self.records: list[bytes] = []
        """Headers and fragments in turn."""
        self._sealer: Sealer = ClearSealer(first_version)
        self.epoch = Epoch.CLEAR
        self.most_content = MAX_PLAINTEXT
        """Most content and padding that we put in one record, in bytes; the peer may lower it."""
        self.closed = False
        """True once our last alert was sent."""
        self.secret: Keys | None = None
        """What the present keys were derived from."""

    def message(self, encoded: bytes) -> None:
        """Queue a handshake message; it leaves with its neighbours in as few records as possible."""
        self.unsealed += encoded
        if self._trace:
            self._trace(MessageMoved(Direction.SENT, self.epoch, ContentType.HANDSHAKE, encoded))

    def change_cipher_spec(self) -> None:
        """The record that makes TLS 1.3 look like a resumed TLS 1.2 to middleboxes (RFC 8446 §D.4)."""
        self.flush()
        if self._trace:
            self._trace(MessageMoved(Direction.SENT, Epoch.CLEAR, ContentType.CHANGE_CIPHER_SPEC, CHANGE_CIPHER_SPEC))
        self._put(*_CHANGE_CIPHER_SPEC)

    def install(self, secret: Keys, epoch: Epoch) -> None:
        """Protect what follows with `secret`. What was queued before goes under the keys before."""
        self.flush()
        self.secret = secret
        self._sealer = sealer_for(secret, self._limits)
        self.epoch = epoch
        if self.life is not None:
            self.life.begin()
        if self._trace:
            self._trace(KeysChanged(Direction.SENT, epoch, secret.generation))

    def uninstall(self) -> None:
        """No protection again, as before the early data."""
        self.flush()
        self.secret = None
        self._sealer = ClearSealer()
        self.epoch = Epoch.CLEAR

    def data(self, content: bytes | memoryview, *, regardless: bool = False) -> str:
        """Seal one record's worth of application data: at most `most_content` bytes.

        Nothing is sealed where the present key has had its time: returned is why, and else nothing. `regardless`: it
        is, for there can be no other key yet.
        """
        if self.unsealed:
            self.flush()
        sealer = self._sealer
        if not regardless:
            if sealer.number >= sealer.last:
                return RECORDS_SPENT
            if self.life is not None and (why := self.life.over(len(content))):
                return why
        if self.life is not None:
            self.life.use(len(content))
        if self.padding is None and self._trace is None:
            self.records += sealer.seal(_DATA, content, 0)
        else:
            if self._trace:
                self._trace(DataMoved(Direction.SENT, len(content)))
            self._seal(_DATA, content)
        return ""

    def alert(self, level: AlertLevel, description: Alert) -> None:
        """Seal an alert."""
        self.flush()
        content = bytes([level, description])
        if self._trace:
            self._trace(MessageMoved(Direction.SENT, self.epoch, ContentType.ALERT, content))
        self._seal(ContentType.ALERT, content)

    def take(self) -> bytes:
        """All records made so far."""
        if self.unsealed:
            self.flush()
        taken = b"".join(self.records)
        self.records.clear()
        return taken

    def flush(self) -> None:
        """Seal the messages that are queued."""
        queued = bytes(self.unsealed)
        self.unsealed.clear()
        for piece in pieces(queued, self.most_content):
            self._seal(ContentType.HANDSHAKE, piece)

    def _seal(self, type_: ContentType, content: bytes | memoryview) -> None:
        padding = 0
        if self.padding is not None and self.secret is not None:
            padding = _checked(self.padding(len(content)), self.most_content - len(content))
        self._put(*self._sealer.seal(type_, content, padding))

    def _put(self, header: bytes, fragment: bytes) -> None:
        self.records += header, fragment
        if self._trace:
            self._trace(RecordMoved(Direction.SENT, self.epoch, header + fragment))


def pieces(content: bytes | memoryview, most: int) -> Iterable[bytes | memoryview]:
    """What goes into one record each, at most `most` bytes, without a copy; nothing of nothing."""
    if 0 < len(content) <= most:
        return (content,)  # as it is nearly always: 0.3 µs sooner
    view = memoryview(content)
    return [view[start : start + most] for start in range(0, len(view), most)]


def _checked(padding: object, room: int) -> int:
    """What a padding policy asks for, as far as the record has room for it."""
    if not isinstance(padding, int) or padding < 0:
        raise CallbackError(f"the padding policy returned {padding!r}, not a number of bytes")
    return min(padding, room)
