"""What a curious reader may observe of a connection, as it happens.

Events carry the raw bytes and references to values, never text: whoever wants words reads the bytes again with the
declarations in `wire`, so an explanation costs nothing unless asked for and cannot disagree with the parser. A trace is
a callable given to a config; it is called in order, in the thread that drives the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from .wire.names import ContentType


class Direction(Enum):
    """Seen from this side."""

    SENT = "sent"
    RECEIVED = "received"


class Epoch(Enum):
    """Which keys protect what travels (RFC 8446 §7.3)."""

    CLEAR = "clear"
    EARLY = "early"
    HANDSHAKE = "handshake"
    APPLICATION = "application"


class Subject(Enum):
    """What two peers settle between them."""

    __hash__ = object.__hash__  # a member is alone in its kind; an enumeration's own is Python code

    VERSION = "version"
    CIPHER_SUITE = "cipher_suite"
    GROUP = "group"
    SIGNATURE_SCHEME = "signature_scheme"
    ALPN = "alpn"
    SERVER_NAME = "server_name"
    CREDENTIAL = "credential"
    CLIENT_CREDENTIAL = "client_credential"
    CLIENT_SIGNATURE_SCHEME = "client_signature_scheme"
    HELLO_RETRY = "hello_retry"
    RESUMED = "resumed"
    SESSION_DECLINED = "session_declined"
    """A session that was at hand and was not resumed; the reason says why."""
    PSK = "psk"
    EARLY_DATA = "early_data"
    """Whether early data was taken."""
    KEYS = "keys"
    """How often our sending keys were renewed."""
    KEYS_EXPIRED = "keys_expired"
    """Whether new keys took over from those that had their time; the reason says what they had."""
    PEER = "peer"
    REVOCATION = "revocation"
    STAPLE = "staple"
    COMPRESSION = "compression"
    """How our certificate was compressed for the way."""


@dataclass(frozen=True, slots=True)
class RecordMoved:
    """One record as it is on the wire, header included."""

    direction: Direction
    epoch: Epoch
    record: bytes


@dataclass(frozen=True, slots=True)
class MessageMoved:
    """One message inside the records: a handshake message with its header, an alert, a ChangeCipherSpec."""

    direction: Direction
    epoch: Epoch
    type: ContentType
    message: bytes


@dataclass(frozen=True, slots=True)
class DataMoved:
    """Application data; only its size in bytes, the data is the application's."""

    direction: Direction
    size: int


@dataclass(frozen=True, slots=True)
class KeysChanged:
    """One direction has new keys. `generation` counts KeyUpdates."""

    direction: Direction
    epoch: Epoch
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """Something was settled, and why so."""

    subject: Subject
    value: object
    why: str


TraceEvent = RecordMoved | MessageMoved | DataMoved | KeysChanged | Chosen

Trace = Callable[[TraceEvent], None]
