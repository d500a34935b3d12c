"""Fetching a missing intermediate from where its issuer says it is (RFC 5280 §4.2.2.1): opt-in, bounded, no trust lent.

What is fetched only joins the chain as one more certificate to try. The address comes from the peer: with this policy a
peer can make us ask any HTTP server that we reach, before it has proved who it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from ..crypto.keys import decode_pkcs7
from ..errors import CertificateError
from ..fetching import Fetch, fetch
from ..limits import FETCH_TIMEOUT, MAX_FETCHED, MOST_FETCHES
from ..rules import printable
from .certificates import Certificate
from .combine import Recording, Verifier, attempt, judged, then
from .pem import CERTIFICATE_LABELS, blocks, is_pem
from .presented import PresentedChain, VerifiedPeer


@dataclass(frozen=True, slots=True)
class FetchesIssuers(Recording):
    """A verifier whose chains may miss intermediates: they are fetched, and the verifier is asked again."""

    verifier: Verifier
    fetch: Fetch = field(default=fetch, repr=False)
    """What goes out. An `async def` is awaited. It raises OSError or ValueError where there is nothing."""

    @property
    def blocking(self) -> bool:
        """Whether verifying may have to wait for a fetch that is not async."""
        awaits = inspect.iscoroutinefunction(self.fetch) or inspect.iscoroutinefunction(type(self.fetch).__call__)
        return not awaits or getattr(self.verifier, "blocking", False) is True

    @property
    def fingerprint(self) -> bytes | None:
        mark = getattr(self.verifier, "fingerprint", None)
        return mark if isinstance(mark, bytes) else None  # what is fetched changes no verdict on a whole chain

    def judge(self, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        """Raises CertificateError: that of the verifier, with what became of the fetching among its facts."""
        return self._try(presented, presented, MOST_FETCHES, "")

    def _try(
        self, chain: PresentedChain, sent: PresentedChain, left: int, told: str
    ) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        """Verify `chain`, what was `sent` and what was fetched since; `left` fetches may follow."""

        def refused(error: CertificateError) -> VerifiedPeer | Awaitable[VerifiedPeer]:
            url = _where(error)
            if not url or not left:
                raise _as_sent(error, sent, told) from None

            def failed(failure: Exception) -> PresentedChain:
                raise _as_sent(error, sent, f"{printable(url)}: {type(failure).__name__}") from None

            def longer() -> PresentedChain | Awaitable[PresentedChain]:
                data = self.fetch(url, body=None, content_type=None, limit=MAX_FETCHED, timeout=FETCH_TIMEOUT)
                return then(data, lambda found: _longer(chain, found))

            return then(
                attempt(longer, failed, (OSError, ValueError)),
                lambda more: self._try(more, sent, left - 1, printable(url)),
            )

        return attempt(lambda: judged(self.verifier, chain), refused, CertificateError)


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
    if len(data) > MAX_FETCHED:
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
        error.facts["certificate"] = f"fetched, not sent: {error.certificate.subject if error.certificate else ''}"
    if told:
        error.facts["fetched"] = told
    return error
