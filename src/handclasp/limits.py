"""What bounds a peer. Every number a peer can push against is here; nothing is sized by a declared length.

The defaults are what the trusted implementations use; the hard caps keep a configuration from removing a bound.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

MAX_PLAINTEXT: Final = 1 << 14
"""RFC 8446 §5.1: the most content one record carries, in bytes."""

MAX_CIPHERTEXT: Final = MAX_PLAINTEXT + 256
"""RFC 8446 §5.2: the most a protected record's fragment may measure, in bytes."""

RECORD_HEADER: Final = 5
"""Type, version and length in front of every record, in bytes."""

MAX_NAME: Final = 253
"""The longest DNS name in its presentation form (RFC 1035 §2.3.4), in bytes. Longer ones are refused unread."""

MAX_TICKET: Final = 1 << 14
"""The largest ticket a client keeps or a server makes, in bytes."""

MAX_ERROR_TEXT: Final = 200
"""Longest piece of peer-controlled text that reaches an error message, in characters."""

MAX_MESSAGE: Final = 300
"""Longest text of an error that speaks of a peer, in characters. The facts in full are its attributes."""

MAX_TICKETS_AT_ONCE: Final = 16
"""Most tickets sent at one call: each costs the client a place, and us a seal."""

HARD_CAPS: Final = {
    "handshake_message": 256 * 1024,
    "certificate_message": 256 * 1024,
    "chain_length": 16,
    "certificate": 64 * 1024,
    "rsa_bits": 16_384,
    "idle_records": 32,
    "warning_alerts": 4,
    "post_handshake_messages": 32,
    "buffered": 1 << 20,
    "psk_identities": 64,
    "skipped_early_data": 65_536,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what one peer can make us hold or do. Sizes in bytes, counts in units.

    Raises ValueError for a value below 1 or above its hard cap.
    """

    handshake_message: int = 65_536
    """Any handshake message; refused at its 4-byte header, before its body is stored (rustls, s2n and Go: 64 KiB)."""

    certificate_message: int = 65_536
    """A Certificate message."""

    chain_length: int = 10
    """Certificates in a chain."""

    certificate: int = 16_384
    """One certificate, DER."""

    rsa_bits: int = 8_192
    """RSA modulus; the exponent must fit 32 bits. Larger keys make one verification cost milliseconds."""

    idle_records: int = 32
    """Records in a row that carry nothing forward: empty ones, ChangeCipherSpec. One counter for all kinds."""

    warning_alerts: int = 4
    """Alerts in a row that do not end the connection (user_canceled)."""

    post_handshake_messages: int = 32
    """Messages after the handshake, KeyUpdate above all, with no application data between."""

    buffered: int = 256 * 1024
    """Bytes received and not yet processed while a question is open."""

    records_per_key: int = 1 << 23
    """Records sealed under one AES-GCM or AES-CCM key before our KeyUpdate; half of what RFC 8446 §5.5 allows."""

    records_received_per_key: int = 23_726_566
    """Records opened under one AES-GCM or AES-CCM key before we refuse: 2^24.5, RFC 8446 §5.5."""

    psk_identities: int = 8
    """Pre-shared keys of one ClientHello that are looked up; those behind are passed over."""

    skipped_early_data: int = 16_384
    """Undecryptable records of a 0-RTT attempt that we decline, RFC 8446 §4.2.10."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            cap = HARD_CAPS.get(field.name)
            if value < 1:
                raise ValueError(f"limits.{field.name} must be at least 1, not {value}")
            if cap is not None and value > cap:
                raise ValueError(f"limits.{field.name} must be at most {cap}, not {value}")
