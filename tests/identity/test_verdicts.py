"""Remembered verdicts: when one is used again, and when never."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from handclasp.errors import CertificateError, ConfigError
from handclasp.identity.names import peer_name
from handclasp.identity.revocation.policy import Revocation
from handclasp.identity.trust import PresentedChain, Role, VerifiedPeer
from handclasp.identity.verdicts import RemembersVerdicts, cached
from handclasp.lab.ca import CertificateAuthority
from handclasp.limits import Limits

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CA = CertificateAuthority(at=NOW)
LEAF = CA.issue("a.test", "b.test", days=30)
OTHER = CA.issue("a.test")


class Counting:
    """The CA's trust store, and how often it was asked."""

    fingerprint: bytes | None = b"counting"
    blocking = True

    def __init__(self, refuses: bool = False) -> None:
        self.asked = 0
        self.refuses = refuses

    def verify(self, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        self.asked += 1
        if self.refuses:
            raise CertificateError("no")
        return CA.trust.verify(presented)


def presented(**changes: object) -> PresentedChain:
    usual = PresentedChain(LEAF.chain, Role.SERVER, peer_name("a.test"), NOW)
    return replace(usual, **changes)  # type: ignore[arg-type]


def remembering(**options: int | timedelta) -> tuple[Counting, RemembersVerdicts]:
    inner = Counting()
    return inner, cached(inner, **options)  # type: ignore[arg-type]


def test_the_same_question_is_asked_once() -> None:
    inner, trust = remembering()
    first = trust.verify(presented())
    again = trust.verify(presented(at=NOW + timedelta(seconds=299)))
    assert first is again
    assert inner.asked == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"name": peer_name("b.test")},
        {"chain": OTHER.chain},
        {"chain": (*LEAF.chain, CA.certificate)},
        {"role": Role.SERVER, "limits": Limits(chain_length=3)},
        {"staples": (b"staple",)},
        {"timestamps": (b"timestamp",)},
        {"proven": False},
        {"resumed": True},
        {"at": NOW + timedelta(seconds=300)},
        {"at": NOW - timedelta(seconds=1)},
    ],
    ids=["name", "leaf", "chain", "limits", "staple", "timestamp", "unproven", "resumed", "later", "earlier"],
)
def test_another_question_is_asked_anew(changes: dict[str, object]) -> None:
    inner, trust = remembering()
    trust.verify(presented())
    trust.verify(presented(**changes))
    assert inner.asked == 2


def test_no_part_of_a_question_runs_into_another() -> None:
    inner, trust = remembering()
    good = CA.ocsp_response(LEAF.leaf, at=NOW)
    trust.verify(presented(staples=(good, b""), timestamps=()))
    trust.verify(presented(staples=(good,), timestamps=(b"",)))
    trust.verify(presented(staples=(), timestamps=(good, b"")))
    assert inner.asked == 3


def test_what_cas_say_is_asked_each_time(tmp_path: Path) -> None:
    ca, crl = CertificateAuthority(at=NOW), tmp_path / "ca.crl"
    chain = ca.issue("a.test", must_staple=True).chain
    crl.write_bytes(ca.crl(at=NOW))
    trust = cached(ca.trust & Revocation(crls=[crl]))
    trust.verify(presented(chain=chain, resumed=True, proven=False))
    with pytest.raises(CertificateError) as caught:
        trust.verify(presented(chain=chain))
    assert caught.value.code == "staple-missing"
    ca.revoke(chain[0], at=NOW)
    crl.write_bytes(ca.crl(at=NOW))
    with pytest.raises(CertificateError) as caught:
        trust.verify(presented(chain=chain, resumed=True, proven=False))
    assert caught.value.code == "revoked"
    assert len(trust) == 0


def test_another_role_is_another_question() -> None:
    inner, trust = remembering()
    trust.verify(presented())
    with pytest.raises(CertificateError):
        trust.verify(presented(role=Role.CLIENT, name=None))
    assert inner.asked == 2


def test_another_policy_is_another_question() -> None:
    inner, trust = remembering()
    trust.verify(presented())
    inner.fingerprint = b"stricter"
    trust.verify(presented())
    assert inner.asked == 2
    inner.fingerprint = None
    trust.verify(presented())
    trust.verify(presented())
    assert inner.asked == 4
    assert trust.fingerprint is None


def test_no_verdict_outlives_a_certificate() -> None:
    inner, trust = remembering(lifetime=timedelta(days=365))
    trust.verify(presented())
    assert inner.asked == 1
    end = LEAF.leaf.not_after
    trust.verify(presented(at=end - timedelta(seconds=1)))
    assert inner.asked == 1
    with pytest.raises(CertificateError):
        trust.verify(presented(at=end + timedelta(seconds=1)))


def test_no_verdict_outlives_a_staple() -> None:
    inner, trust = remembering()
    good = CA.ocsp_response(LEAF.leaf, at=NOW, valid=timedelta(seconds=60))
    for seconds in (0, 59, 60):
        trust.verify(presented(staples=(good,), at=NOW + timedelta(seconds=seconds)))
    assert inner.asked == 2


def test_what_cannot_be_read_is_not_remembered() -> None:
    inner, trust = remembering()
    trust.verify(presented(staples=(b"no response",)))
    trust.verify(presented(staples=(b"no response",)))
    assert inner.asked == 2
    assert len(trust) == 0


def test_a_refusal_is_not_remembered() -> None:
    inner = Counting(refuses=True)
    trust = cached(inner)
    for _ in range(2):
        with pytest.raises(CertificateError):
            trust.verify(presented())
    assert inner.asked == 2
    inner.refuses = False
    assert isinstance(trust.verify(presented()), VerifiedPeer)


def test_the_longest_unused_makes_room() -> None:
    inner, trust = remembering(most=2)
    for name in ("a.test", "b.test", "a.test"):
        trust.verify(presented(name=peer_name(name)))
    trust.verify(presented(chain=OTHER.chain))
    assert len(trust) == 2
    trust.verify(presented())
    assert inner.asked == 3
    trust.verify(presented(name=peer_name("b.test")))
    assert inner.asked == 4


def test_a_verifier_may_take_its_time() -> None:
    class Slow(Counting):
        def verify(self, presented: PresentedChain) -> Awaitable[VerifiedPeer]:
            self.asked += 1
            verdict = CA.trust.verify(presented)

            async def later() -> VerifiedPeer:
                return verdict

            return later()

    inner = Slow()
    trust = cached(inner)
    first = trust.verify(presented())
    assert isinstance(first, Awaitable)

    async def value() -> VerifiedPeer:
        return await first

    assert asyncio.run(value()) is trust.verify(presented())
    assert inner.asked == 1


def test_it_says_what_its_verifier_says() -> None:
    inner, trust = remembering()
    assert trust.blocking
    assert trust.fingerprint == inner.fingerprint
    assert not cached(CA.trust).blocking
    assert cached(CA.trust).fingerprint == CA.trust.fingerprint


def test_what_cannot_be_remembered_is_refused() -> None:
    class Nameless:
        def verify(self, presented: PresentedChain) -> VerifiedPeer:
            raise NotImplementedError

    with pytest.raises(ConfigError):
        cached(Nameless())
    with pytest.raises(ConfigError):
        cached(CA.trust, lifetime=timedelta(0))
    with pytest.raises(ConfigError):
        cached(CA.trust, most=0)
    with pytest.raises(TypeError):
        pickle.dumps(cached(CA.trust))
