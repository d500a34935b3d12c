"""One key's worth of protected records: nonces, additional data, padding, wear (RFC 8446 §5, RFC 5246 §6.2.3.3)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Final, Protocol

from ..crypto.aead import DAMAGED, NONCE_SIZE, open_or_none
from ..crypto.suites import Suite
from ..limits import Limits
from ..rules import PLAINTEXT_OVERFLOW, RECORD_KEY_SPENT, RECORD_ONLY_PADDING, fail, require
from ..wire.names import ContentType
from .prf import WriteKeys
from .schedule import TrafficSecret

NEVER: Final = 1 << 48
"""More records than a connection lives to see."""


class Sealer(Protocol):
    """How content becomes a record."""

    number: int
    """The last record's, -1 before the first."""
    last: int
    """The number of the last record that this key should protect."""

    def seal(self, type_: ContentType, content: bytes | memoryview, padding: int) -> tuple[bytes, bytes]:
        """One whole record: header and fragment. `padding` zero bytes are hidden inside, where it is protected."""
        ...


class ClearSealer:
    """Records before there are keys. The first one says TLS 1.0, for old middleboxes (RFC 8446 §5.1)."""

    __slots__ = ("_version", "last", "number")

    def __init__(self, first_version: int = 0x0303) -> None:
        self._version = first_version
        self.number = -1
        self.last = NEVER

    def seal(self, type_: ContentType, content: bytes | memoryview, padding: int) -> tuple[bytes, bytes]:
        header = _HEADER.pack(type_, self._version, len(content))
        self._version = 0x0303
        return header, bytes(content)


class Opener(Protocol):
    """How a record becomes content."""

    hides_type: ClassVar[bool]
    """True where every record says application_data outside, and its real type inside (TLS 1.3)."""
    most_inner: int
    """Most content, padding and type that one record may carry, in bytes; TLS 1.2 has but content, one byte less."""

    number: int
    """The last record's that was opened, -1 before the first: after it, nothing may come in the clear any more."""
    worn_at: int
    """The number of the record by which this key has had its time, and the peer should be asked for the next."""

    def open(self, header: bytes, fragment: bytes | memoryview) -> tuple[ContentType, bytes] | None:
        """(content type, content) of a whole record, or None where its integrity check fails. Raises PeerFault."""
        ...


Keys = TrafficSecret | WriteKeys
"""What protects one direction, in TLS 1.3 or 1.2."""


def sealer_for(keys: Keys, limits: Limits) -> Sealer:
    return Sealer13(keys, limits) if isinstance(keys, TrafficSecret) else Sealer12(keys, limits)


def opener_for(keys: Keys, limits: Limits, most_inner: int) -> Opener:
    """`most_inner`: most content, padding and type in one record that we agreed to take, in bytes."""
    if isinstance(keys, TrafficSecret):
        return Opener13(keys, limits, most_inner)
    return Opener12(keys, limits, most_inner)


class _Counted:
    """What counts records under one key: no number is used twice, and none past what the key can bear."""

    __slots__ = ("last", "number", "worn_at")

    def __init__(self, suite: Suite, worn_at: int, last: int) -> None:
        self.number = -1
        self.worn_at = worn_at - 1 if suite.counts_records else NEVER
        self.last = last - 1 if suite.counts_records else NEVER


_HEADER = Struct(">BHH")
_DATA = ContentType.APPLICATION_DATA.value
# all but the zero, which may be padding
_TYPES: dict[int, ContentType] = {type_.value: type_ for type_ in ContentType if type_.value}
_BYTES = tuple(bytes((number,)) for number in range(256))

RECORDS_SPENT = "they protected as many records as they may"
"""Why a key has had its time."""


class Sealer13(_Counted):
    """TLS 1.3, RFC 8446 §5.2: the type is inside, the number is in the nonce, the header is the additional data."""

    __slots__ = ("_cipher", "_iv", "_tag_size")

    def __init__(self, secret: TrafficSecret, limits: Limits) -> None:
        super().__init__(secret.suite, limits.records_per_key, limits.records_per_key)
        key, iv = secret.keys()
        self._cipher = secret.suite.aead.cipher(key)
        self._tag_size = secret.suite.aead.tag_size
        self._iv = int.from_bytes(iv)

    def seal(self, type_: ContentType, content: bytes | memoryview, padding: int) -> tuple[bytes, bytes]:
        # The number is taken before it is used: whatever interrupts this, no nonce is used twice.
        self.number = number = self.number + 1
        inner = b"".join((content, _BYTES[type_], bytes(padding)) if padding else (content, _BYTES[type_]))
        header = _HEADER.pack(_DATA, 0x0303, len(inner) + self._tag_size)
        return header, self._cipher.encrypt((self._iv ^ number).to_bytes(NONCE_SIZE), inner, header)


class Opener13(_Counted):
    """The reading end of `Sealer13`."""

    __slots__ = ("_cipher", "_iv", "most_inner")

    hides_type: ClassVar[bool] = True

    def __init__(self, secret: TrafficSecret, limits: Limits, most_inner: int) -> None:
        super().__init__(secret.suite, limits.records_per_key, limits.records_received_per_key)
        key, iv = secret.keys()
        self._cipher = secret.suite.aead.cipher(key)
        self._iv = int.from_bytes(iv)
        self.most_inner = most_inner

    def open(self, header: bytes, fragment: bytes | memoryview) -> tuple[ContentType, bytes] | None:
        number = self.number
        if number >= self.last:
            fail(RECORD_KEY_SPENT)
        try:
            # The additional data is the header as it was received, not as it should have been.
            inner = self._cipher.decrypt((self._iv ^ (number + 1)).to_bytes(NONCE_SIZE), fragment, header)
        except DAMAGED:
            return None
        self.number = number + 1
        if len(inner) > self.most_inner:
            fail(PLAINTEXT_OVERFLOW, f"{len(inner) - 1} bytes")
        type_ = _TYPES.get(inner[-1]) if inner else None
        if type_ is None:
            inner = inner.rstrip(b"\0")
            if not inner:
                fail(RECORD_ONLY_PADDING)
            type_ = ContentType(inner[-1])
        return type_, inner[:-1]


class Sealer12(_Counted):
    """TLS 1.2, RFC 5246 §6.2.3.3: the type is outside, number, type, version and length are the additional data.

    GCM sends half of its nonce with each record (RFC 5288 §3): the record's number, which is never the same twice.
    """

    __slots__ = ("_cipher", "_iv")

    def __init__(self, keys: WriteKeys, limits: Limits) -> None:
        super().__init__(keys.suite, limits.records_per_key, limits.records_per_key)
        self._cipher = keys.suite.aead.cipher(keys.key.reveal())
        self._iv = keys.iv.reveal()

    def seal(self, type_: ContentType, content: bytes | memoryview, padding: int) -> tuple[bytes, bytes]:
        self.number = number = self.number + 1
        sequence = number.to_bytes(SEQUENCE_SIZE)
        explicit = sequence if len(self._iv) < NONCE_SIZE else b""
        start = b"%c\x03\x03" % type_
        sealed = self._cipher.encrypt(nonce12(self._iv, sequence), content, sequence + start + len(content).to_bytes(2))
        return start + (len(explicit) + len(sealed)).to_bytes(2), explicit + sealed


class Opener12(_Counted):
    """The reading end of `Sealer12`."""

    __slots__ = ("_cipher", "_iv", "_tag_size", "most_inner")

    hides_type: ClassVar[bool] = False

    def __init__(self, keys: WriteKeys, limits: Limits, most_inner: int) -> None:
        super().__init__(keys.suite, limits.records_per_key, limits.records_received_per_key)
        self._cipher = keys.suite.aead.cipher(keys.key.reveal())
        self._iv = keys.iv.reveal()
        self._tag_size = keys.suite.aead.tag_size
        self.most_inner = most_inner
        self.worn_at = NEVER  # there is no KeyUpdate to ask for; `last` ends the connection

    def open(self, header: bytes, fragment: bytes | memoryview) -> tuple[ContentType, bytes] | None:
        require(self.number < self.last, RECORD_KEY_SPENT)
        explicit = SEQUENCE_SIZE if len(self._iv) < NONCE_SIZE else 0
        length = len(fragment) - explicit - self._tag_size
        if length < 0:
            return None
        sequence = (self.number + 1).to_bytes(SEQUENCE_SIZE)
        nonce = nonce12(self._iv, fragment[:explicit] if explicit else sequence)
        content = open_or_none(self._cipher, nonce, fragment[explicit:], sequence + header[:3] + length.to_bytes(2))
        if content is None:
            return None
        self.number += 1
        require(length < self.most_inner, PLAINTEXT_OVERFLOW, f"{length} bytes")
        return ContentType.of(header[0]), content


SEQUENCE_SIZE = 8
"""Length of a record's number where TLS 1.2 writes it out, in bytes."""


def nonce12(iv: bytes, rest: bytes | memoryview) -> bytes:
    """A fixed half before a sent half (RFC 5288 §3), or a whole one combined with the number (RFC 7905 §2)."""
    if len(iv) < NONCE_SIZE:
        return iv + rest
    return (int.from_bytes(iv) ^ int.from_bytes(rest)).to_bytes(NONCE_SIZE)
