"""Sessions for tests, and a clock that moves when told."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from handclasp.crypto.secret import Secret
from handclasp.sessions.cache import ClientSession
from handclasp.sessions.session import Session
from handclasp.wire.names import CipherSuite, TLSVersion

START: Final = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)


class FakeClock:
    """The time is what a test says it is."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def session(**fields: Any) -> Session:
    """A session with a secret of its own."""
    made: dict[str, Any] = {
        "version": TLSVersion.TLS_1_2,
        "suite": CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "secret": Secret(os.urandom(48)),
        "extended": True,
        "server_name": "localhost",
        "alpn": "h2",
        "policy": b"policy",
        "created": START,
        "authenticated": START,
        "expires": START + HOUR,
        "verified_chain": (),
    }
    return Session(**made | fields)


def client_session(ticket: bytes = b"ticket", **fields: Any) -> ClientSession:
    """As it comes with a TLS 1.3 ticket."""
    made: dict[str, Any] = {
        "version": TLSVersion.TLS_1_3,
        "suite": CipherSuite.TLS_AES_128_GCM_SHA256,
        "age_add": 0xFFEE_DDCC,
        "max_early_data": 16_384,
    }
    return ClientSession(session(**made | fields), b"", ticket)
