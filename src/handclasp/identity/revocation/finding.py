"""What is known of one certificate's revocation: the value every source of it gives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

SKEW: Final = timedelta(minutes=5)
"""How far apart a responder's clock and ours may be."""

LONGEST_UNDATED: Final = timedelta(hours=24)
"""How long an answer counts that does not say when the next one comes (RFC 6960 §4.2.2.1 leaves it to us)."""


class Evidence(Enum):
    """Where an answer came from."""

    STAPLE = "staple"
    """An OCSP response that the peer sent along."""
    OCSP = "ocsp"
    """The CA's responder, asked by us."""
    CRL = "crl"
    """A revocation list."""
    NONE = "not checked"
    """Nobody was asked, or nobody answered."""


@dataclass(frozen=True, slots=True)
class Period:
    """From when to when an answer counts; aware moments."""

    since: datetime
    until: datetime | None
    """When the next answer comes; None where that is not said."""

    def check(self, at: datetime) -> None:
        """Raises Unusable outside of the period, the skew of clocks allowed for."""
        if self.since > at + SKEW:
            raise Unusable("not-yet", f"it is from the future: {self.since:%Y-%m-%d %H:%M} UTC")
        if self.until is not None and self.until < self.since:
            raise Unusable("invalid", "it ends before it begins")
        if self.end < at - SKEW:
            raise Unusable("stale", f"it is out of date since {self.end:%Y-%m-%d %H:%M} UTC")

    @property
    def end(self) -> datetime:
        return self.since + LONGEST_UNDATED if self.until is None else self.until


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer whose signature, authority and time were checked."""

    evidence: Evidence
    period: Period
    revoked_at: datetime | None = None
    """When the certificate was revoked; None while it is good."""
    reason: str = ""
    """Why it was revoked, in the standard's word (RFC 5280 §5.3.1); empty where that is not said."""


class Unusable(Exception):
    """There is no answer, or none that counts. The text says why, in words of ours; `kind` in one word.

    Internal: the policy decides what it means.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
