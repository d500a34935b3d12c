"""How much a peer's certificates have to be good in their issuers' eyes too, and whom to ask (RFC 6960, RFC 5280 §6.3).

A path of certificates says what its CAs thought when they signed. What they think now comes stapled to the handshake,
from their servers, or from lists at hand.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Awaitable, Coroutine, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta
from enum import Enum
from itertools import pairwise
from typing import Any, Final
from urllib.parse import urlsplit

from ...alerts import Alert
from ...crypto.entropy import SystemEntropy
from ...errors import CertificateError, ConfigError
from ...fetching import Fetch, countdown, fetch
from ...limits import FETCH_TIMEOUT, MAX_LIST, MAX_RESPONSE, MOST_RESPONDERS
from ...rules import printable
from ..certificates import Certificate
from ..presented import PresentedChain, Role, VerifiedPeer
from .cache import AnswerCache
from .crl import RevocationList, check_issuer, look_up, read_lists
from .finding import Evidence, Finding, Unusable
from .ocsp import NONCE_SIZE, make_request, read_response
from .sources import given_lists


class Mode(Enum):
    """What has to be known of a certificate before it is accepted. A revoked one is refused in all modes but `off`."""

    OFF = "off"
    """Nothing: no staple is asked for, and none is read."""
    STAPLE = "staple"
    """What is at hand has to be good: staples, given lists. A certificate that must be stapled has to be."""
    SOFT = "soft"
    """The CA is asked too; where it does not answer, the certificate is accepted, and it is not asked for a minute."""
    HARD = "hard"
    """The CA is asked too; where nobody answers, the certificate is refused."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A policy's yes."""

    evidence: Evidence
    """What spoke for the leaf."""
    why: str
    """What spoke for each certificate, in one line."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revocation policy. Immutable and comparable; its cache is shared by all who hold it, and safe between threads.

    Checked is each certificate below the trust anchor. Modes that ask go to at most two of the URLs a certificate
    names, over plain HTTP (see `handclasp.fetching` for what is fetched and what is not). A staple that does not count
    refuses the connection in every mode but `off`: a server has to be right in what it says of itself.

    Raises ConfigError for a mode that is none, and limits that allow nothing.
    """

    mode: Mode | str = Mode.STAPLE
    """A `Mode` or its name."""
    _: KW_ONLY
    crls: Sequence[str | os.PathLike[str] | bytes] = ()
    """Revocation lists at hand: files, directories of files, or the bytes, DER or PEM. Files are read again when they
    change; one that cannot be used refuses the connection. A list that is out of date counts as none.

    Of a directory, passed over is what plainly is no list: other directories, text, certificates and keys in PEM,
    certificates in DER. A file called `.crl` has to be one. Names that begin with a dot are passed over too: a new list
    is best written under such a name and then renamed."""
    fetch: Fetch = field(default=fetch, repr=False)
    """What goes out, in the modes that ask. An `async def` is awaited. It raises OSError or ValueError where there is
    no answer; any other exception refuses the connection."""
    timeout: float = FETCH_TIMEOUT
    """Seconds for all questions of one check together."""
    largest_crl: int = MAX_LIST
    """The longest list that is read, in bytes."""
    cache: AnswerCache[Any] = field(default_factory=AnswerCache, compare=False, repr=False)
    """Answers, each kept until its CA has a new one."""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "mode", Mode(self.mode))
        except ValueError:
            modes = ", ".join(repr(mode.value) for mode in Mode)
            raise ConfigError(f"a revocation mode is one of {modes}, not {self.mode!r}") from None
        if isinstance(self.crls, (str, bytes)):
            raise ConfigError(f"crls takes a sequence, not one {type(self.crls).__name__}")
        given = tuple(crl if isinstance(crl, bytes) else os.fspath(crl) for crl in self.crls)
        object.__setattr__(self, "crls", given)
        if given and self.mode is Mode.OFF:
            raise ConfigError("the mode 'off' reads no lists", remedy="leave crls out, or use the mode 'staple'")
        if self.timeout <= 0 or self.largest_crl < 1:
            raise ConfigError("timeout and largest_crl must be positive")

    @classmethod
    def of(cls, given: Revocation | Mode | str) -> Revocation:
        """A policy as configurations take it: itself, or the name of its mode. Raises ConfigError."""
        return given if isinstance(given, Revocation) else cls(given)

    @property
    def asks_for_staples(self) -> bool:
        """Whether the peer is asked to staple."""
        return self.mode is not Mode.OFF

    @property
    def asks_the_ca(self) -> bool:
        """Whether a check may go out."""
        return self.mode in (Mode.SOFT, Mode.HARD)

    @property
    def blocking(self) -> bool:
        """Whether a check may have to wait for a fetch that is not async."""
        return self.asks_the_ca and not self._awaits

    @property
    def fingerprint(self) -> bytes:
        """What tells this policy from another: a session made under one is not resumed under the other."""
        told = [Mode(self.mode).value.encode()]
        told += [hashlib.sha256(c if isinstance(c, bytes) else os.fsencode(c)).digest() for c in self.crls]
        return hashlib.sha256(b"\0".join(told)).digest()

    def check(self, presented: PresentedChain, verified: VerifiedPeer) -> Checked | Awaitable[Checked]:
        """Are the verified certificates still good? What spoke for them, or an awaitable of that.

        Raises CertificateError: `revoked`, `staple-invalid`, `staple-stale`, `staple-missing` or `revocation-unknown`;
        and ConfigError for `crls` that cannot be used.
        """
        if self.mode is Mode.OFF:
            return Checked(Evidence.NONE, "revocation is not checked")
        inquiry = _Inquiry(self, presented, verified).run()
        return inquiry if self.asks_the_ca and self._awaits else _run(inquiry)

    @property
    def _awaits(self) -> bool:
        return inspect.iscoroutinefunction(self.fetch) or inspect.iscoroutinefunction(type(self.fetch).__call__)


def _run(inquiry: Coroutine[Any, Any, Checked]) -> Checked:
    """The outcome of an inquiry whose fetch does not suspend it."""
    try:
        inquiry.send(None)
    except StopIteration as finished:
        outcome: Checked = finished.value
        return outcome
    inquiry.close()
    raise TypeError("fetch returned an awaitable: declare it with async def, so that it can be awaited")


class _Inquiry:
    """One check under way."""

    __slots__ = ("_at", "_left", "_policy", "_presented", "_staples", "_verified")

    def __init__(self, policy: Revocation, presented: PresentedChain, verified: VerifiedPeer) -> None:
        self._policy = policy
        self._presented = presented
        self._verified = verified
        self._at = presented.at
        # a certificate that is sent twice is judged by what came with its first copy
        came = zip(presented.chain, presented.staples, strict=False)
        self._staples = dict(reversed(list(came))) if any(presented.staples) else {}
        self._left = countdown(policy.timeout)

    async def run(self) -> Checked:
        """Raises CertificateError, ConfigError."""
        chain = self._verified.chain
        if len(chain) == 1:
            return self._trusted_itself(chain[0])
        found = [(child, await self._look(child, issuer)) for child, issuer in pairwise(chain)]
        told = "; ".join(f"{_short(child)}: {_in_words(finding)}" for child, finding in found)
        leaf = found[0][1]
        return Checked(leaf.evidence if isinstance(leaf, Finding) else Evidence.NONE, told)

    def _trusted_itself(self, leaf: Certificate) -> Checked:
        """An anchor has nobody above it who could take it back."""
        if self._policy.mode is Mode.HARD and not leaf.is_self_issued:
            raise self._unknown(leaf, ["its verifier does not say who issued it"])
        return Checked(Evidence.NONE, "the certificate is trusted itself: nobody else could revoke it")

    async def _look(self, certificate: Certificate, issuer: Certificate) -> Finding | str:
        """What is known of one certificate, or why nothing is. Raises CertificateError."""
        doubts: list[str] = []
        found = self._stapled(certificate, issuer)
        for answer in self._listed(certificate, issuer, doubts):
            found = found or answer
        if found is None and self._policy.asks_the_ca:
            found = await self._asked(certificate, issuer, doubts)
        if found is not None:
            return found
        if self._policy.mode is Mode.HARD:
            raise self._unknown(certificate, doubts)
        return "; ".join(doubts) or "nothing is known"

    # --- what is at hand ---

    def _stapled(self, certificate: Certificate, issuer: Certificate) -> Finding | None:
        """RFC 6066 §8 and RFC 7633 §4.2.3.1."""
        staple = self._staples.get(certificate, b"")
        if not staple:
            answers = self._presented.role is Role.SERVER and not self._presented.resumed
            if answers and certificate == self._presented.leaf and certificate.must_staple:
                raise self._refused(
                    "staple-missing",
                    "the certificate demands that its server staples an OCSP response, and there is none",
                    certificate,
                    section="RFC 7633 §4.2.3.1",
                    remedy="server: turn OCSP stapling on, and check that it reaches its CA's responder",
                )
            return None
        limits = self._presented.limits
        try:
            found = read_response(staple, certificate, issuer, self._at, evidence=Evidence.STAPLE, limits=limits)
        except Unusable as unusable:
            raise self._refused(
                "staple-stale" if unusable.kind == "stale" else "staple-invalid",
                f"the OCSP response that came with the certificate does not count: {unusable}",
                certificate,
                facts={"stapled": str(unusable)},
                section="RFC 6960 §3.2",
                remedy=f"{self._presented.role.value}: fetch a new OCSP response, or staple none",
            ) from None
        return self._judged(found, certificate, "the OCSP response that came with it")

    def _listed(self, certificate: Certificate, issuer: Certificate, doubts: list[str]) -> Iterator[Finding]:
        """What the given lists say; all of them are asked, for one may know more than another."""
        policy = self._policy
        for source in policy.crls:
            given = source if isinstance(source, bytes) else os.fspath(source)
            for crl in given_lists(given, policy.cache, policy.largest_crl):
                if crl.issuer != issuer.x509.subject:
                    continue
                try:
                    self._check_signed(crl, issuer)
                    found = look_up(crl, certificate, self._at)
                except Unusable as unusable:
                    doubts.append(f"a given list does not count: {unusable}")
                else:
                    yield self._judged(found, certificate, "a revocation list at hand")

    # --- what is asked ---

    async def _asked(self, certificate: Certificate, issuer: Certificate, doubts: list[str]) -> Finding | None:
        """The CA's own answer, from its responder or its list."""
        responders = [(url, self._from_responder) for url in _plain_first(certificate.ocsp_urls)]
        lists = [(url, self._from_list) for url in _plain_first(certificate.crl_urls)]
        # one of each where there are both: what one server cannot say, another of its kind rarely can
        questions = [responders[0], lists[0]] if responders and lists else [*responders, *lists]
        if not questions:
            doubts.append("it names neither a responder nor a list")
        soft = self._policy.mode is Mode.SOFT
        for url, ask in questions[:MOST_RESPONDERS]:
            silent = ("silent", url, ask.__name__)
            try:
                if soft and self._policy.cache.find(silent, self._at):
                    raise Unusable("silent", "it did not answer a moment ago")
                found = await ask(url, certificate, issuer)
            except Unusable as unusable:
                doubts.append(f"{_host(url)}: {unusable}")
                if soft and unusable.kind == "no-answer":
                    self._policy.cache.keep(silent, True, self._at + _SILENCE)
            else:
                return self._judged(found, certificate, _host(url))
        return None

    async def _from_responder(self, url: str, certificate: Certificate, issuer: Certificate) -> Finding:
        cache, key = self._policy.cache, ("ocsp", certificate.sha256, issuer.sha256)
        known = cache.find(key, self._at)
        if isinstance(known, Finding):
            return known
        nonce = SystemEntropy().random(NONCE_SIZE)
        request = make_request(certificate, issuer, nonce)
        answer = await self._fetched(url, MAX_RESPONSE, request, "application/ocsp-request")
        found = read_response(
            answer,
            certificate,
            issuer,
            self._at,
            evidence=Evidence.OCSP,
            nonce=nonce,
            limits=self._presented.limits,
        )
        if found.period.until is not None:
            cache.keep(key, found, found.period.until)
        return found

    async def _from_list(self, url: str, certificate: Certificate, issuer: Certificate) -> Finding:
        cache, key = self._policy.cache, ("crl", url, issuer.sha256)
        crl = cache.find(key, self._at)
        if not isinstance(crl, RevocationList):
            data = await self._fetched(url, self._policy.largest_crl)
            lists = read_lists(data)
            if len(lists) != 1:
                raise Unusable("invalid", f"it holds {len(lists)} revocation lists")
            (crl,) = lists
            check_issuer(crl, issuer)
            crl.period.check(self._at)
            if crl.period.until is not None:
                cache.keep(key, crl, crl.period.until, len(data))
        return look_up(crl, certificate, self._at)

    async def _fetched(self, url: str, limit: int, body: bytes | None = None, content_type: str | None = None) -> bytes:
        try:
            left = self._left()
        except TimeoutError:
            # who was never asked has not been silent
            raise Unusable("too-late", "no time was left to ask it") from None
        try:
            pending = self._policy.fetch(url, body=body, content_type=content_type, limit=limit, timeout=left)
            data = await pending if inspect.isawaitable(pending) else pending
        except (OSError, ValueError) as error:
            raise Unusable("no-answer", printable(str(error), 100) or type(error).__name__) from None
        if not isinstance(data, bytes):
            raise TypeError(f"fetch returned {type(data).__name__}, not bytes")
        if len(data) > limit:
            raise Unusable("no-answer", f"the answer is longer than {limit} bytes")
        return data

    def _check_signed(self, crl: RevocationList, issuer: Certificate) -> None:
        """A list at hand is asked in each handshake; its signature is checked in the first. Raises Unusable."""
        cache, key = self._policy.cache, ("signed", crl.sha256, issuer.sha256)
        if not cache.find(key, self._at):
            check_issuer(crl, issuer)
            cache.keep(key, True, crl.period.end)

    # --- verdicts ---

    def _judged(self, found: Finding, certificate: Certificate, source: str) -> Finding:
        """The finding, unless it is that the certificate is revoked."""
        if found.revoked_at is None:
            return found
        when = f"{found.revoked_at:%Y-%m-%d}"
        because = f", {found.reason}" if found.reason else ""
        raise self._refused(
            "revoked",
            f"the CA has revoked the certificate of {_short(certificate)} ({when}{because}), says {source}",
            certificate,
            alert=Alert.CERTIFICATE_REVOKED,
            facts={
                "revoked_at": found.revoked_at.isoformat(),
                **({"reason": found.reason} if found.reason else {}),
                "said_by": source,
            },
            section="RFC 5280 §6.1.3",
            remedy=f"{self._presented.role.value}: use another certificate, with a new key",
        )

    def _unknown(self, certificate: Certificate, doubts: Sequence[str]) -> CertificateError:
        reasons = "; ".join(doubts) or "nobody was there to ask"
        return self._refused(
            "revocation-unknown",
            f"nobody says whether the certificate of {_short(certificate)} is still good: {reasons}",
            certificate,
            alert=Alert.CERTIFICATE_UNKNOWN,
            facts={"tried": reasons},
            section="RFC 5280 §6.1.3",
            remedy="let this machine reach the CA's servers, give its revocation lists (crls=), or use the mode 'soft'",
        )

    def _refused(
        self,
        code: str,
        text: str,
        certificate: Certificate,
        *,
        alert: Alert = Alert.BAD_CERTIFICATE_STATUS_RESPONSE,
        facts: dict[str, str] | None = None,
        section: str,
        remedy: str,
    ) -> CertificateError:
        return CertificateError(
            printable(text, _MAX_TEXT),
            code=code,
            alert=alert,
            remedy=remedy,
            peer_chain=self._presented.chain,
            certificate=certificate,
            verified_chain=self._verified.chain,
            section=section,
            facts={name: printable(value) for name, value in (facts or {}).items()},
        )


def _plain_first(urls: Sequence[str]) -> list[str]:
    """What can be fetched before what usually cannot: company CAs name LDAP directories first."""
    return sorted(urls, key=lambda url: not url.lower().startswith("http://"))


def _in_words(finding: Finding | str) -> str:
    if isinstance(finding, str):
        return f"not known ({finding})"
    return f"good by {_SPOKEN[finding.evidence]} until {finding.period.end:%Y-%m-%d %H:%M} UTC"


def _short(certificate: Certificate) -> str:
    return printable(certificate.names[0] if certificate.names else certificate.subject, 60) or "no name"


def _host(url: str) -> str:
    try:
        return printable(urlsplit(url).netloc or url, 60)
    except ValueError:
        return printable(url, 60)


_SPOKEN: Final = {
    Evidence.STAPLE: "a stapled OCSP response",
    Evidence.OCSP: "its CA's OCSP responder",
    Evidence.CRL: "a revocation list",
}
_SILENCE: Final = timedelta(minutes=1)
"""How long nobody waits again, in soft mode, for a server that did not answer."""
_MAX_TEXT: Final = 250
