"""Fetching a missing intermediate from where its issuer says it is (RFC 5280 §4.2.2.1): opt-in, bounded, no trust lent.

What is fetched only joins the chain as one more certificate to try. The fetching itself is the caller's: nothing here
opens a connection. The address comes from the peer: with this policy a peer can make us ask any HTTP server we reach.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Final, Protocol
from urllib.parse import urlsplit

from ..crypto.keys import decode_pkcs7
from ..errors import CertificateError
from .certificates import Certificate
from .combine import Policy, Verifier
from .pem import CERTIFICATE_LABELS, blocks, is_pem
from .presented import PresentedChain, VerifiedPeer

FETCH_LIMIT: Final = 65_536
"""Most bytes of one answer."""

MOST_FETCHES: Final = 3
"""Most fetches for one chain."""

FETCH_SECONDS: Final = 5.0


class Fetch(Protocol):
    """Gets what is at an `http:` address, without following it to another scheme."""

    def __call__(self, url: str, *, limit: int, timeout: float) -> bytes | Awaitable[bytes]:
        """At most `limit` bytes, within `timeout` seconds. Raises OSError or ValueError for any failure."""
        ...


@dataclass(frozen=True, slots=True)
class FetchesIssuers(Policy):
    """A verifier whose chains may miss intermediates: they are fetched, and the verifier is asked again."""

    verifier: Verifier
    fetch: Fetch
    blocking: bool = True
    """False for a `fetch` that answers with awaitables."""

    @property
    def fingerprint(self) -> bytes | None:
        mark = getattr(self.verifier, "fingerprint", None)
        return mark if isinstance(mark, bytes) else None  # what is fetched changes no verdict on a whole chain

    def verify(self, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        """Raises CertificateError: that of the verifier, with what became of the fetching among its facts."""
        if not self.blocking:
            return self._later(presented)
        chain, told = presented, ""
        for _ in range(MOST_FETCHES):
            try:
                answer = self.verifier.verify(chain)
            except CertificateError as error:
                url = _where(error)
                if not url:
                    raise _as_sent(error, presented, told) from None
                try:
                    data = self.fetch(url, limit=FETCH_LIMIT, timeout=FETCH_SECONDS)
                    if isawaitable(data):
                        raise TypeError("an awaitable from a blocking fetch: say blocking=False")
                    chain = _longer(chain, data)
                except (OSError, ValueError) as failure:
                    raise _as_sent(error, presented, f"{url}: {type(failure).__name__}") from None
                told = url
            else:
                return answer
        return self._last(chain, presented, told)

    async def _later(self, presented: PresentedChain) -> VerifiedPeer:
        chain, told = presented, ""
        for _ in range(MOST_FETCHES):
            try:
                answer = self.verifier.verify(chain)
                return await answer if isawaitable(answer) else answer
            except CertificateError as error:
                refusal = error
            url = _where(refusal)
            if not url:
                raise _as_sent(refusal, presented, told)
            try:
                data = self.fetch(url, limit=FETCH_LIMIT, timeout=FETCH_SECONDS)
                chain = _longer(chain, await data if isawaitable(data) else data)
            except (OSError, ValueError) as failure:
                raise _as_sent(refusal, presented, f"{url}: {type(failure).__name__}") from None
            told = url
        last = self._last(chain, presented, told)
        return await last if isawaitable(last) else last

    def _last(self, chain: PresentedChain, sent: PresentedChain, told: str) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        try:
            return self.verifier.verify(chain)
        except CertificateError as error:
            raise _as_sent(error, sent, told) from None


def _where(error: CertificateError) -> str:
    """The address to fetch from; empty where the chain is refused for another reason, or has none we would ask."""
    if error.code != "missing-intermediate" or error.certificate is None:
        return ""
    return next((url for url in error.certificate.issuer_urls if _is_plain(url)), "")


def _is_plain(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "http" and bool(parts.hostname) and url.isascii() and url.isprintable() and " " not in url


def _longer(chain: PresentedChain, data: bytes) -> PresentedChain:
    """The chain with what was fetched. Raises ValueError when there is nothing new in it that can be read."""
    if len(data) > FETCH_LIMIT:
        raise ValueError("more bytes than were asked for")
    ders = [block.der for block in blocks(data) if block.label in CERTIFICATE_LABELS] if is_pem(data) else [data]
    found: list[Certificate] = []
    for der in ders[:MOST_FETCHES]:
        try:
            found.append(Certificate.from_der(der))
        except ValueError:
            found += [Certificate.from_der(inner) for inner in decode_pkcs7(der)[:MOST_FETCHES]]
    new = tuple(certificate for certificate in dict.fromkeys(found) if certificate not in chain.chain)
    if not new:
        raise ValueError("nothing new")
    return replace(chain, chain=(*chain.chain, *new))


def _as_sent(error: CertificateError, presented: PresentedChain, told: str) -> CertificateError:
    """The refusal, in terms of the chain that the peer sent."""
    error.peer_chain = presented.chain
    if error.certificate_index is not None and error.certificate_index >= len(presented.chain):
        error.certificate_index = None
    if told:
        error.facts["fetched"] = told
    return error
