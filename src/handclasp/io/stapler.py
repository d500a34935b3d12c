"""A server's staples, kept fresh by themselves (RFC 6066 §8, RFC 5019 §2.2.1)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ..errors import ConfigError
from ..fetching import fetch
from ..identity.certificates import Certificate
from ..identity.credentials import Credential
from ..identity.revocation.finding import Evidence, Finding, Unusable
from ..identity.revocation.ocsp import make_request, read_response
from ..limits import MAX_RESPONSE, Limits
from ..rules import printable
from ..sessions.clock import Clock, system_clock

log = logging.getLogger("handclasp")


@dataclass(frozen=True, slots=True)
class _Held:
    """A response, checked as a client would."""

    response: bytes
    refresh_at: datetime
    until: datetime


class OCSPStapler:
    """Fetches the OCSP response for a certificate of ours from its CA. A `StapleSource`, safe between threads.

    Nothing is fetched until the first handshake that wants a response, or `refresh`. From half of a response's time on,
    a handshake starts the search for the next one in a thread of its own and goes on with the one at hand: none waits,
    and one search at a time is under way, a minute apart. A response that does not count, or says anything but good, is
    never stapled; one that was good is, until its time is over.
    """

    def __init__(
        self,
        credential: Credential,
        *,
        issuer: Certificate | None = None,
        url: str = "",
        fetch: Callable[..., bytes] = fetch,
        timeout: float = 10.0,
        clock: Clock = system_clock,
    ) -> None:
        """The issuer stands in the credential's chain, and the URL in its leaf, unless given. Raises ConfigError."""
        self._leaf = credential.leaf
        above = issuer or next(iter(credential.chain[1:]), None)
        if above is None or not self._leaf.was_signed_by(above):
            raise ConfigError("the issuer of the certificate is needed to ask about it", remedy="pass issuer=…")
        if not (url or self._leaf.ocsp_urls):
            raise ConfigError("the certificate names no OCSP responder", remedy="pass url=…, if there is one")
        self._issuer = above
        self._url = url or self._leaf.ocsp_urls[0]
        self._fetch, self._timeout, self._clock = fetch, timeout, clock
        self._lock = threading.Lock()
        self._searching = threading.Lock()
        self._held: _Held | None = None
        self._not_before: datetime | None = None

    def staple(self) -> bytes | None:
        """The response, DER; None when there is none that counts. Never waits."""
        now = self._clock()
        with self._lock:
            held, pause = self._held, self._not_before
        due = held is None or now >= held.refresh_at
        if due and (pause is None or now >= pause) and self._searching.acquire(blocking=False):
            self._search_aside()
        return held.response if held is not None and now < held.until else None

    def _search_aside(self) -> None:
        """One search in a thread of its own, with the lock for it held."""
        try:
            threading.Thread(target=self._search, name="handclasp-stapler", daemon=True).start()
        except RuntimeError:  # no thread to be had: the next handshake tries again
            self._searching.release()

    def refresh(self) -> bool:
        """Fetch the response now, before the first client wants it. Whether there is one that counts."""
        self._searching.acquire()
        self._search()
        with self._lock:
            return self._held is not None and self._clock() < self._held.until

    def _search(self) -> None:
        """One search, with the lock for it held; gives it back."""
        try:
            held = self._found()
        except Exception as error:
            log.warning("no OCSP response to staple for %s: %s", self._leaf.subject, printable(str(error), 200))
        else:
            with self._lock:
                self._held = held
        finally:
            # not every handshake's: the responder may be down, or have nothing newer that is not past its half either
            with self._lock:
                self._not_before = self._clock() + _PAUSE
            self._searching.release()

    def _found(self) -> _Held:
        request = make_request(self._leaf, self._issuer, None)
        response = self._fetch(
            self._url,
            body=request,
            content_type="application/ocsp-request",
            limit=MAX_RESPONSE,
            timeout=self._timeout,
        )
        now = self._clock()
        found: Finding = read_response(
            response, self._leaf, self._issuer, now, evidence=Evidence.STAPLE, limits=Limits()
        )
        if found.revoked_at is not None:
            raise Unusable("revoked", f"the CA has revoked the certificate ({found.reason or 'no reason given'})")
        period = found.period
        return _Held(response, period.since + (period.end - period.since) / 2, period.end)


_PAUSE: Final = timedelta(minutes=1)
"""Between one search and the next, whatever it found."""
