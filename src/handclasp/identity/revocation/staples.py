"""Where a server's own OCSP responses come from, to be stapled to its certificate (RFC 6066 §8)."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@runtime_checkable
class StapleSource(Protocol):
    """Has an OCSP response for a certificate of ours, or has none at present."""

    def staple(self) -> bytes | Awaitable[bytes | None] | None:
        """The response, DER, at most 64 KiB; None to send none. Any exception refuses the connection.

        Asked in each handshake whose client wants one. A source that waits says `blocking = True`, or is async.
        """
        ...


@dataclass(frozen=True, slots=True)
class FixedStaple:
    """Always the same response: for a process that lives no longer than it."""

    response: bytes = field(repr=False)

    def staple(self) -> bytes:
        return self.response
