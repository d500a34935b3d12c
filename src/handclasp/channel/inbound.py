"""The reading half of a connection: bytes in, contents out. It shares no state with the writing half."""

from __future__ import annotations

from enum import Enum

from .. import rules
from ..limits import MAX_PLAINTEXT, Limits
from ..rules import PeerFault
from ..trace import Direction, Epoch, MessageMoved, RecordMoved, Trace
from ..wire.names import ContentType
from ..wire.records import CHANGE_CIPHER_SPEC
from .framing import Deframer, HandshakeBuffer
from .lifetime import KeyLife
from .protection import NEVER, RECORDS_SPENT, Keys, Opener, opener_for

ALERT_SIZE = 2

_DATA, _HANDSHAKE = ContentType.APPLICATION_DATA, ContentType.HANDSHAKE


class ChangeCipherSpecs(Enum):
    """What a ChangeCipherSpec record means at this point of the conversation."""

    REFUSE = "refuse"
    """Nothing: it is out of order."""
    DROP = "drop"
    """Nothing, but it may come, for the sake of middleboxes (TLS 1.3 handshake, RFC 8446 §5)."""
    DELIVER = "deliver"
    """That the peer's next record is under new keys (TLS 1.2, RFC 5246 §7.1)."""


class Inbound:
    """Deframes, opens and reassembles, and counts what carries nothing forward."""

    __slots__ = (
        "_idle",
        "_limits",
        "_opener",
        "_skippable",
        "change_cipher_specs",
        "deframer",
        "early_data_left",
        "epoch",
        "handshake",
        "life",
        "most_inner",
        "trace",
        "wears",
    )

    def __init__(self, limits: Limits, trace: Trace | None) -> None:
        self._limits = limits
        self.life: KeyLife | None = None
        """How long each key may be used; None: as long as its cipher bears."""
        self.trace = trace
        self.deframer = Deframer()
        self.handshake = HandshakeBuffer(limits)
        self.epoch = Epoch.CLEAR
        self.most_inner = MAX_PLAINTEXT + 1
        """Most content and padding we agreed to take in one protected record, content type included."""
        self.change_cipher_specs = ChangeCipherSpecs.REFUSE
        self.early_data_left = 0
        """Bytes of early data that may still come."""
        self._opener: Opener | None = None
        self._idle = 0
        self._skippable: int | None = None
        self.wears = False
        """Whether `worn` may have something to say: the key has a lifetime, or has opened as many records as it may."""

    def install(self, secret: Keys, epoch: Epoch) -> None:
        """Read what follows with `secret`. Refuses while handshake bytes are left from the keys before."""
        self.require_boundary()
        self._opener = opener_for(secret, self._limits, self.most_inner)
        self.wears = self.life is not None
        self._skippable = None
        if self.life is not None:
            self.life.begin()
        self.epoch = epoch

    def limit(self, most_inner: int) -> None:
        """Record sizes are agreed: this counts at once, and for the keys to come (RFC 8449 §4).

        Early data is on its way before its sender can know.
        """
        self.most_inner = most_inner
        if self._opener is not None and self.epoch is not Epoch.EARLY:
            self._opener.most_inner = most_inner

    def require_boundary(self) -> None:
        """The peer's flight has to end here, at the end of a record: nothing may run across (RFC 8446 §5.1)."""
        rules.require(not self.handshake.begun, rules.KEY_CHANGE_BOUNDARY)

    def worn(self) -> str:
        """Once per key: why the peer should be asked for the next; else empty."""
        opener = self._opener
        if opener is None or not self.wears:
            return ""
        why = RECORDS_SPENT if opener.number >= opener.worn_at else ""
        if self.life is not None and not why:
            why = self.life.over(0)
        if why:
            self.wears, opener.worn_at = False, NEVER
        return why

    def skip_early_data(self, allowed: int = 0) -> None:
        """The client sends 0-RTT data that we declined: let it pass, within the limit (RFC 8446 §4.2.10).

        What our tickets have `allowed`, in bytes, passes in any case: twice as much, because records add to it.
        """
        self._skippable = max(self._limits.skipped_early_data, 2 * allowed)

    def next(self) -> tuple[ContentType, bytes] | None:
        """The next record's content, or None until more bytes come. Handshake content goes to `handshake` by itself.

        Raises PeerFault.
        """
        opener = self._opener
        while (record := self.deframer.next(opener is not None)) is not None:
            header, fragment = record
            if self.trace:
                self.trace(RecordMoved(Direction.RECEIVED, self.epoch, header + fragment))
            if opener is None or (header[0] != _DATA and opener.hides_type):
                opened = self._open_clear(header, fragment)
            else:
                opened = opener.open(header, fragment)
                if opened is not None:
                    self._skippable = None
                    if opener.number == opener.worn_at:
                        self.wears = True
                elif not self._skip(fragment):
                    raise PeerFault(rules.RECORD_MAC)
            if opened is None:
                continue
            type_, content = opened
            if type_ is _DATA and content and not self.handshake.begun:
                self._idle = 0
                if self.life is not None:
                    self.life.use(len(content))
                return opened
            if type_ is _HANDSHAKE and content:
                self._idle = 0
                self.handshake.feed(content)
                return opened
            self._count(type_, content)
            if type_ is ContentType.CHANGE_CIPHER_SPEC:
                if header[0] != type_:
                    rules.fail(rules.RECORD_TYPE, f"{type_} inside a protected record")
                if self.change_cipher_specs is ChangeCipherSpecs.DROP:
                    continue
                self.require_boundary()
                return type_, content
            if self.handshake.begun and type_ is not ContentType.ALERT:
                raise PeerFault(rules.RECORD_INTERLEAVED, f"a record of {type_}")
            return opened
        return None

    def _open_clear(self, header: bytes, fragment: bytes | memoryview) -> tuple[ContentType, bytes] | None:
        """A record without protection: before there are keys, and where it may come in spite of them.

        None for early data that is passed over.
        """
        type_, content = ContentType.of(header[0]), bytes(fragment)
        if type_ is ContentType.CHANGE_CIPHER_SPEC:
            return type_, content
        if self._opener is None:
            if type_ is ContentType.APPLICATION_DATA and self._skip(content):
                return None
            rules.require(type_ is not ContentType.APPLICATION_DATA, rules.EARLY_APPLICATION_DATA)
            return type_, content
        # A peer that failed before it had keys says so in the clear; once it has used them, it cannot.
        early_alert = type_ is ContentType.ALERT and self._opener.number < 0 and self.epoch is Epoch.HANDSHAKE
        rules.require(early_alert and len(content) == ALERT_SIZE, rules.RECORD_UNPROTECTED)
        return type_, content

    def _skip(self, fragment: bytes | memoryview) -> bool:
        if self._skippable is None:
            return False
        rules.require(not self.handshake.begun, rules.RECORD_INTERLEAVED, "early data")
        self._skippable -= len(fragment)
        rules.require(self._skippable >= 0, rules.EARLY_DATA_SKIPPED_LIMIT)
        if not fragment:
            self._count_idle()
        return True

    def _count(self, type_: ContentType, content: bytes) -> None:
        """Refuse what must not be empty, and too much in a row of what carries nothing forward."""
        if type_ is ContentType.CHANGE_CIPHER_SPEC:
            rules.require(self.change_cipher_specs is not ChangeCipherSpecs.REFUSE, rules.CCS_MISPLACED)
            rules.require(content == CHANGE_CIPHER_SPEC, rules.CCS_CONTENT)
            if self.trace:
                self.trace(MessageMoved(Direction.RECEIVED, Epoch.CLEAR, type_, content))
        elif type_ is ContentType.ALERT:
            rules.require(content, rules.RECORD_EMPTY)
            return  # counted by meaning, where alerts are read; they do not end a row of idle records
        elif content:
            self._idle = 0
            return
        else:
            rules.require(type_ is ContentType.APPLICATION_DATA, rules.RECORD_EMPTY)
        self._count_idle()

    def _count_idle(self) -> None:
        self._idle += 1
        rules.require(self._idle <= self._limits.idle_records, rules.TOO_MANY_IDLE_RECORDS)
