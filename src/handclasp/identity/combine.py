"""Verifiers, checks, and how they combine: `webpki() & revocation`, `private("ca.pem") | pin(...)`.

A verifier says who a peer is; a check says more of a chain that was verified. A combination answers at once where its
members do, and with an awaitable where one of them does; it may block where one of them may. Whatever a member raises
but CertificateError refuses the connection: `|` never turns a crash into somebody else's yes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Final, Protocol, TypeGuard, TypeVar

from ..errors import CallbackError, CertificateError
from ..rules import printable
from .presented import PresentedChain, VerifiedPeer
from .revocation.finding import Evidence


class Verifier(Protocol):
    """Decides whether a peer is who it should be."""

    def verify(self, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        """Say yes with a `VerifiedPeer` whose chain begins with the presented leaf, or raise CertificateError.

        May return an awaitable, where the connection's adapter can wait. Any other exception refuses the connection.
        A verifier that waits for something itself says `blocking = True`: it is then called where that holds up nobody.
        One with a `fingerprint`, bytes that tell it from others, lets sessions be resumed.
        """
        ...


class Check(Protocol):
    """Decides more about a chain that was verified: a revocation policy, a pin."""

    def check(self, presented: PresentedChain, verified: VerifiedPeer) -> object:
        """Raise CertificateError to refuse. Return None, or a value with a line `why`, or an awaitable of either.
        Its `evidence`, where it has one, tells what spoke for the leaf not being revoked.

        `blocking` and `fingerprint` mean what they mean for a verifier.
        """
        ...


class Policy:
    """A verifier that combines with others.

    `a & b` needs both; with a check on one side, the check sees the chain that the other side verified. `a | b` takes
    the first that accepts; when none does, the most telling refusal is raised, and names the others.
    """

    __slots__ = ()

    def verify(self, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        raise NotImplementedError

    def __and__(self, other: Verifier | Check) -> Policy:
        return _both(self, other)

    def __rand__(self, other: Verifier | Check) -> Policy:
        return _both(other, self)

    def __or__(self, other: Verifier) -> Policy:
        return Either(self, other) if _verifies(other) else NotImplemented

    def __ror__(self, other: Verifier) -> Policy:
        return Either(other, self) if _verifies(other) else NotImplemented


@dataclass(frozen=True, slots=True)
class Provisional(VerifiedPeer):
    """A yes of which something is recorded, once all others have said yes too."""

    records: tuple[Callable[[], object], ...] = ()
    """What does so. Each may still refuse."""


class Recording(Policy):
    """A policy that records something of whom it accepts, or has members that do.

    Members are judged first, all of them. What one records of a peer that another refuses would last.
    """

    __slots__ = ()

    def verify(self, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        return then(self.judge(presented), _recorded)

    def judge(self, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        """What `verify` says, before anything is recorded of it."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Either(Recording):
    """`first | second`."""

    first: Verifier
    second: Verifier

    @property
    def blocking(self) -> bool:
        return _blocks(self.first, self.second)

    @property
    def fingerprint(self) -> bytes | None:
        return _fingerprint(b"either", self.first, self.second)

    def judge(self, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        def refused(first: CertificateError) -> VerifiedPeer | Awaitable[VerifiedPeer]:
            return attempt(
                lambda: _asked(self.second, presented), lambda second: _refuse(first, second), CertificateError
            )

        return attempt(lambda: _asked(self.first, presented), refused, CertificateError)


@dataclass(frozen=True, slots=True)
class Both(Recording):
    """`first & second`, two verifiers: the chain is the one that the first has verified."""

    first: Verifier
    second: Verifier

    @property
    def blocking(self) -> bool:
        return _blocks(self.first, self.second)

    @property
    def fingerprint(self) -> bytes | None:
        return _fingerprint(b"both", self.first, self.second)

    def judge(self, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        def go_on(first: VerifiedPeer) -> VerifiedPeer | Awaitable[VerifiedPeer]:
            def joined(second: VerifiedPeer) -> VerifiedPeer:
                why = f"{first.why}; and {second.why}"
                both = replace(first, why=why, revocation=_known(first.revocation, second.revocation))
                records = (*_records(first), *_records(second))
                return Provisional(both.chain, both.why, both.revocation, records) if records else both

            return then(_asked(self.second, presented), joined)

        return then(_asked(self.first, presented), go_on)


@dataclass(frozen=True, slots=True)
class WithCheck(Recording):
    """`verifier & check`."""

    verifier: Verifier
    further: Check

    @property
    def blocking(self) -> bool:
        return _blocks(self.verifier, self.further)

    @property
    def fingerprint(self) -> bytes | None:
        return _fingerprint(b"checked", self.verifier, self.further)

    def judge(self, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        def go_on(verified: VerifiedPeer) -> VerifiedPeer | Awaitable[VerifiedPeer]:
            def refused(error: CertificateError) -> VerifiedPeer:
                error.verified_chain = error.verified_chain or verified.chain
                raise error

            def passed(answer: object) -> VerifiedPeer:
                if answer is None:
                    return verified
                why = getattr(answer, "why", None)
                if not isinstance(why, str) or isinstance(answer, VerifiedPeer):
                    raise CallbackError(f"the check returned {type(answer).__name__}, not None or its reason")
                evidence = getattr(answer, "evidence", None)
                known = _known(evidence if isinstance(evidence, Evidence) else None, verified.revocation)
                return replace(verified, why=f"{verified.why}; {why}", revocation=known)

            return attempt(lambda: then(self.further.check(presented, verified), passed), refused, CertificateError)

        return then(_asked(self.verifier, presented), go_on)


def _known(one: Evidence | None, other: Evidence | None) -> Evidence | None:
    """What spoke for the leaf: the first that says so, and that nothing did only where both looked in vain."""
    return next((evidence for evidence in (one, other) if evidence not in (None, Evidence.NONE)), one or other)


def _both(one: Verifier | Check, other: Verifier | Check) -> Policy:
    """What `one & other` is, by what each can do. What can do both things, as a pin can, checks what the other says."""
    if _verifies(one) and _checks(other):
        return WithCheck(one, other)
    if _verifies(other) and _checks(one):
        return WithCheck(other, one)
    return Both(one, other) if _verifies(one) and _verifies(other) else NotImplemented


def _verifies(other: Verifier | Check) -> TypeGuard[Verifier]:
    return callable(getattr(other, "verify", None))


def _checks(other: Verifier | Check) -> TypeGuard[Check]:
    return callable(getattr(other, "check", None))


def _blocks(*members: object) -> bool:
    return any(getattr(member, "blocking", False) is True for member in members)


def _fingerprint(kind: bytes, *members: object) -> bytes | None:
    """What tells a combination from others; None unless all its members have that."""
    told = [getattr(member, "fingerprint", None) for member in members]
    parts = [hashlib.sha256(mark).digest() for mark in told if isinstance(mark, bytes)]
    return hashlib.sha256(kind + b"\0" + b"".join(parts)).digest() if len(parts) == len(told) else None


# --- refusals --------------------------------------------------------------------------------------------------------


def _refuse(first: CertificateError, second: CertificateError) -> VerifiedPeer:
    """The refusal that helps most, which tells of the other: one that found a trusted chain knows more than one that
    did not, and a key that has changed is the news of the day.
    """
    told, other = (second, first) if _telling(second) > _telling(first) else (first, second)
    told.others = (*told.others, other, *other.others)
    told.facts["others"] = printable(", ".join(error.code for error in told.others))
    told.add_note(f"another verifier refused too: {other}")
    raise told


def _telling(error: CertificateError) -> int:
    return _RANKS.get(error.code, 2)


_RANKS: Final = {
    "untrusted": 0,
    "pin-mismatch": 0,
    "unknown-ca": 1,
    "self-signed": 1,
    "missing-intermediate": 1,
    "key-changed": 3,
}
"""How far a refusal's verifier got; what is not here is a fault of a chain that leads to a trusted CA."""


# --- now, or later ---------------------------------------------------------------------------------------------------

T = TypeVar("T")
R = TypeVar("R")
X = TypeVar("X", bound=Exception)


def _asked(verifier: Verifier, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
    """A member's answer, which has to be a verdict on this certificate."""

    def checked(answer: object) -> VerifiedPeer:
        if not isinstance(answer, VerifiedPeer) or answer.chain[:1] != presented.chain[:1]:
            raise CallbackError(f"a verifier returned {type(answer).__name__}, not a verdict on this certificate")
        return answer

    return then(judged(verifier, presented), checked)


def judged(verifier: Verifier, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
    """What a verifier says, before anything is recorded of it where it can wait with that.

    Whoever derives a class from one of ours has the last word with its `verify`.
    """
    if isinstance(verifier, Recording) and type(verifier).verify is Recording.verify:
        return verifier.judge(presented)
    return verifier.verify(presented)


def _recorded(verdict: VerifiedPeer) -> VerifiedPeer:
    """The verdict, once it is recorded. Raises what there is against that."""
    records = _records(verdict)
    for record in records:
        record()
    return VerifiedPeer(verdict.chain, verdict.why, verdict.revocation) if records else verdict


def _records(verdict: VerifiedPeer) -> tuple[Callable[[], object], ...]:
    return verdict.records if isinstance(verdict, Provisional) else ()


def then(value: T | Awaitable[T], go_on: Callable[[T], R | Awaitable[R]]) -> R | Awaitable[R]:
    """`go_on(value)`: now, or when the value is there."""
    return _go_on_later(value, go_on) if isawaitable(value) else go_on(value)


async def _go_on_later(value: Awaitable[T], go_on: Callable[[T], R | Awaitable[R]]) -> R:
    result = go_on(await value)
    return await result if isawaitable(result) else result


def attempt(
    act: Callable[[], R | Awaitable[R]],
    failed: Callable[[X], R | Awaitable[R]],
    kinds: type[X] | tuple[type[X], ...],
) -> R | Awaitable[R]:
    """`act()`; where it raises one of `kinds`, now or later, `failed(error)`."""
    try:
        result = act()
    except kinds as error:
        caught = error
    else:
        return _attempt_later(result, failed, kinds) if isawaitable(result) else result
    return failed(caught)


async def _attempt_later(
    pending: Awaitable[R], failed: Callable[[X], R | Awaitable[R]], kinds: type[X] | tuple[type[X], ...]
) -> R:
    try:
        return await pending
    except kinds as error:
        caught = error
    result = failed(caught)
    return await result if isawaitable(result) else result
