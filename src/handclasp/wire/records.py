"""Records (RFC 8446 §5) and the two protocols that are smaller than a record: alerts and ChangeCipherSpec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ..alerts import Alert, AlertLevel
from .codec import code, struct, uint
from .names import ContentType, TLSVersion


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """The five bytes in front of every record: TLSPlaintext and TLSCiphertext alike."""

    type: Annotated[ContentType, code(ContentType)]
    legacy_record_version: Annotated[TLSVersion, code(TLSVersion)]
    length: Annotated[int, uint(2)]


RECORD_HEADER = struct(RecordHeader)


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """RFC 8446 §6."""

    level: Annotated[AlertLevel, code(AlertLevel)]
    description: Annotated[Alert, code(Alert)]


ALERT_MESSAGE = struct(AlertMessage)


@dataclass(frozen=True, slots=True)
class ChangeCipherSpec:
    """RFC 5246 §7.1: a protocol of one message, whose one byte is 1."""


CHANGE_CIPHER_SPEC = b"\x01"
"""All a ChangeCipherSpec record ever holds."""
