"""Verdicts remembered: a chain that was just verified need not be walked again for the next connection.

    trust = cached(TrustStore.system())

Why this is safe to switch on: a verdict is a pure function of the verifier, the role, the name asked for, the very
bytes of the chain, its staples and timestamps, whether a session goes on, whether the key is proved, and the moment.
All but the moment are the key, by SHA-256; it has bounds, so that no verdict outlives what it stands on. What comes
after the verdict is never skipped: the peer proves its key anew, and revocation is checked as configured. What is lost:
news that only the verifier could hear, such as a root taken off the system's list, are heard up to `lifetime` later.
Never remembered are a refusal, and a verdict with anything in `revocation`: what CAs say changes too soon. So a
revocation policy belongs into the configuration, and not into the verifier that is to be remembered.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn

from cryptography.x509 import ocsp

from ..errors import ConfigError
from .combine import Provisional, Recording, Verifier, judged
from .presented import PresentedChain, VerifiedPeer


def cached(verifier: Verifier, *, lifetime: timedelta = timedelta(minutes=5), most: int = 1024) -> RemembersVerdicts:
    """The verifier, with its last `most` yeses remembered for `lifetime` at the longest.

    Raises ConfigError for a verifier without a `fingerprint`, which nothing tells from another, and for a `lifetime` or
    `most` that remembers nothing.
    """
    return RemembersVerdicts(verifier, lifetime, most)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """A yes, and when it holds."""

    peer: VerifiedPeer
    begins: datetime
    ends: datetime


class RemembersVerdicts(Recording):
    """A `Verifier` around another; see `cached`. Safe between threads; configurations that hold it share it."""

    __slots__ = ("_kept", "_lifetime", "_lock", "_most", "_verifier")

    def __init__(self, verifier: Verifier, lifetime: timedelta, most: int) -> None:
        if not isinstance(getattr(verifier, "fingerprint", None), bytes):
            raise ConfigError("only verdicts of a verifier with a fingerprint can be remembered")
        if lifetime <= timedelta(0) or most < 1:
            raise ConfigError("lifetime and most must be positive")
        self._verifier = verifier
        self._lifetime = lifetime
        self._most = most
        self._kept: OrderedDict[bytes, _Verdict] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> bytes | None:
        """The verifier's own: remembering changes no verdict."""
        told = getattr(self._verifier, "fingerprint", None)
        return told if isinstance(told, bytes) else None

    @property
    def blocking(self) -> bool:
        """The verifier's own."""
        return getattr(self._verifier, "blocking", False) is True

    def judge(self, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        """The remembered verdict, or the verifier's. Raises what the verifier raises."""
        fingerprint = self.fingerprint
        if fingerprint is None:
            return judged(self._verifier, presented)
        key = _key(fingerprint, presented)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.begins <= presented.at < kept.ends:
                self._kept.move_to_end(key)
                return kept.peer
        verdict = judged(self._verifier, presented)
        if isinstance(verdict, VerifiedPeer):
            self._keep(key, verdict, presented)
            return verdict
        return self._later(key, verdict, presented)

    def __len__(self) -> int:
        return len(self._kept)

    def __reduce__(self) -> NoReturn:
        raise TypeError("remembered verdicts are for one process")

    async def _later(self, key: bytes, pending: Awaitable[VerifiedPeer], presented: PresentedChain) -> VerifiedPeer:
        verdict = await pending
        if isinstance(verdict, VerifiedPeer):
            self._keep(key, verdict, presented)
        return verdict

    def _keep(self, key: bytes, verdict: VerifiedPeer, presented: PresentedChain) -> None:
        """A clock that is set back ends a verdict too: it begins when it was made."""
        if verdict.revocation is not None or isinstance(verdict, Provisional):
            return
        ends = min(
            presented.at + self._lifetime,
            *(certificate.not_after for certificate in (*verdict.chain, *presented.chain)),
            *(_end(staple, presented.at) for staple in presented.staples if staple),
        )
        if ends <= presented.at:
            return
        with self._lock:
            self._kept[key] = _Verdict(verdict, presented.at, ends)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


def _key(fingerprint: bytes, presented: PresentedChain) -> bytes:
    """All that a verdict depends on but the moment; lists and parts with their length: none runs into another."""
    name = "" if presented.name is None else f"{presented.name.kind} {presented.name.text}"
    told = f"{presented.role.value} {presented.proven} {presented.resumed} {presented.limits}"
    ders = [certificate.der for certificate in presented.chain]
    lists = (fingerprint, told.encode(), name.encode()), ders, presented.staples, presented.timestamps
    running = hashlib.sha256()
    for parts in lists:
        running.update(len(parts).to_bytes(_LENGTH))
        for part in parts:
            running.update(len(part).to_bytes(_LENGTH) + part)
    return running.digest()


def _end(staple: bytes, at: datetime) -> datetime:
    """When an OCSP response is due for renewal; at once for one that does not say, or cannot be read."""
    try:
        ends = [single.next_update_utc for single in ocsp.load_der_ocsp_response(staple).responses]
    except Exception:
        return at
    return min((end or at for end in ends), default=at)


_LENGTH: Final = 4
