"""Policies by name, how they combine, pins, trust on first use, and the fetching of what a server left out."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.server
import inspect
import multiprocessing
import stat
import subprocess
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from handclasp import (
    CertificateError,
    CipherSuite,
    ClientConfig,
    ClientConnection,
    ConfigError,
    Evidence,
    Policy,
    PresentedChain,
    Revocation,
    Role,
    ServerConfig,
    ServerConnection,
    TLSVersion,
    TrustStore,
    VerifiedPeer,
    Verifier,
    danger,
    fetch_issuers,
    pin,
    private,
    tofu,
    webpki,
)
from handclasp.crypto.signatures import KeyKind
from handclasp.errors import CallbackError
from handclasp.identity.aia import FetchesIssuers
from handclasp.identity.certificates import Certificate
from handclasp.identity.combine import Both, Either, WithCheck
from handclasp.identity.names import peer_name
from handclasp.identity.pins import pin_of
from handclasp.identity.tofu import KnownServers
from handclasp.identity.verdicts import cached
from handclasp.lab.ca import CertificateAuthority, self_signed
from handclasp.lab.pair import handshake

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CA = CertificateAuthority("root", at=AT)
STRANGER = CertificateAuthority("stranger", at=AT)
MIDDLE = CA.intermediate("middle")
CHAIN = MIDDLE.issue("a.test").chain
URL = "http://ca.test/middle.crt"


def presented(
    *chain: Certificate, name: str | None = "a.test", proven: bool = True, at: datetime = AT
) -> PresentedChain:
    role = Role.SERVER if name else Role.CLIENT
    return PresentedChain(chain or CHAIN, role, peer_name(name) if name else None, at, proven=proven)


def verify(verifier: Verifier, *chain: Certificate, name: str | None = "a.test", proven: bool = True) -> VerifiedPeer:
    verdict = verifier.verify(presented(*chain, name=name, proven=proven))
    assert isinstance(verdict, VerifiedPeer)
    return verdict


def refused(
    verifier: Verifier, *chain: Certificate, name: str | None = "a.test", proven: bool = True
) -> CertificateError:
    with pytest.raises(CertificateError) as caught:
        verify(verifier, *chain, name=name, proven=proven)
    assert caught.value.remedy
    assert caught.value.peer_chain == (chain or CHAIN)
    return caught.value


def pinned(certificate: Certificate) -> str:
    found = pin_of(certificate)
    assert found is not None
    return found


# --- names -----------------------------------------------------------------------------------------------------------


def test_one_word_in_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(CA.pem())
    assert webpki() == TrustStore.system()
    for roots in (path, str(path), CA.pem(), CA.certificate, CA.certificate.x509, CA.trust):
        assert verify(webpki(roots)).chain[-1] == CA.certificate
        assert verify(private(roots)).chain[-1] == CA.certificate
    assert verify(private(STRANGER.certificate, CA.certificate)).chain[-1] == CA.certificate
    for trust in (
        private(path),
        pin(pinned(CHAIN[0])),
        tofu(path),
        webpki() & pin(pinned(CHAIN[0])),
        private(path) | tofu(path),
    ):
        assert ClientConfig(trust=trust) == ClientConfig(trust=trust).replace()


# --- combinations ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Says:
    """A verifier, or a check, that does as told; later when asked to."""

    outcome: object
    later: bool = False
    blocking: bool = False
    fingerprint: object = b"says"

    def verify(self, presented: PresentedChain) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        return self._later() if self.later else self._now()  # type: ignore[return-value]

    async def _later(self) -> object:
        await asyncio.sleep(0)
        return self._now()

    def _now(self) -> object:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@dataclass(frozen=True)
class Checks(Says):
    """The same as a check, and no verifier."""

    outcome: object = None

    verify = None  # type: ignore[assignment]

    def check(self, presented: PresentedChain, verified: VerifiedPeer) -> Awaitable[None] | None:
        return self._later() if self.later else self._now()  # type: ignore[return-value]


YES = VerifiedPeer(CHAIN[:1], "yes")


def no(code: str) -> CertificateError:
    return CertificateError(code, code=code, remedy="none")


@pytest.mark.parametrize("later", [(False, False), (True, False), (False, True), (True, True)])
def test_or(later: tuple[bool, bool]) -> None:
    def outcome(one: object, other: object) -> object:
        combined = Either(Says(one, later[0]), Says(other, later[1]))
        verdict = combined.verify(presented())
        if inspect.isawaitable(verdict):
            return asyncio.run(_wait(verdict))
        return verdict

    assert outcome(YES, no("second")) == YES
    assert outcome(no("first"), YES) == YES
    for first, second, told in (
        ("unknown-ca", "expired", "expired"),
        ("expired", "unknown-ca", "expired"),
        ("self-signed", "pin-mismatch", "self-signed"),
        ("name-mismatch", "expired", "name-mismatch"),
        ("expired", "key-changed", "key-changed"),
    ):
        with pytest.raises(CertificateError) as caught:
            outcome(no(first), no(second))
        assert caught.value.code == told
        assert {error.code for error in caught.value.others} == {first, second} - {told}
        assert caught.value.facts["others"] in (first, second)
    for crash in (RuntimeError("crash"), ConfigError("no roots"), CallbackError("callback")):
        with pytest.raises(type(crash)):
            outcome(crash, YES)
        with pytest.raises(type(crash)):
            outcome(no("first"), crash)
    for nonsense in (True, None, VerifiedPeer((), "nobody"), VerifiedPeer(CHAIN[1:], "another")):
        with pytest.raises(CallbackError):
            outcome(nonsense, YES)
        with pytest.raises(CallbackError):
            outcome(no("first"), nonsense)


async def _wait(verdict: Awaitable[VerifiedPeer]) -> VerifiedPeer:
    return await verdict


@pytest.mark.parametrize("later", [(False, False), (True, False), (False, True), (True, True)])
def test_and(later: tuple[bool, bool]) -> None:
    def outcome(one: object, other: object) -> object:
        verdict = Both(Says(one, later[0]), Says(other, later[1])).verify(presented())
        return asyncio.run(_wait(verdict)) if inspect.isawaitable(verdict) else verdict

    assert outcome(YES, YES) == VerifiedPeer(CHAIN[:1], "yes; and yes")
    for one, other in ((no("first"), YES), (YES, no("second")), (no("first"), no("second"))):
        with pytest.raises(CertificateError):
            outcome(one, other)
    for crash in (RuntimeError(), TypeError()):
        with pytest.raises(type(crash)):
            outcome(crash, YES)
        with pytest.raises(type(crash)):
            outcome(YES, crash)
    for nonsense in (True, None):
        with pytest.raises(CallbackError):
            outcome(nonsense, YES)
        with pytest.raises(CallbackError):
            outcome(YES, nonsense)


@pytest.mark.parametrize("later", [(False, False), (True, False), (False, True), (True, True)])
def test_and_a_check(later: tuple[bool, bool]) -> None:
    def outcome(one: object, other: object) -> object:
        verdict = WithCheck(Says(one, later[0]), Checks(other, later[1])).verify(presented())
        return asyncio.run(_wait(verdict)) if inspect.isawaitable(verdict) else verdict

    assert outcome(YES, None) == YES
    with pytest.raises(CertificateError) as caught:
        outcome(YES, no("revoked"))
    assert caught.value.verified_chain == YES.chain
    with pytest.raises(CertificateError):
        outcome(no("first"), None)
    for answer in (False, True, YES):
        with pytest.raises(CallbackError):
            outcome(YES, answer)
    with pytest.raises(RuntimeError):
        outcome(YES, RuntimeError())


def test_which_combination_it_is() -> None:
    store, check, verifier = CA.trust, Checks(), Says(YES)
    known = pin(pinned(CHAIN[0]))
    assert store & check == WithCheck(store, check)
    assert check & store == WithCheck(store, check)
    assert store & known == known & store == WithCheck(store, known)
    assert store & verifier == Both(store, verifier)
    assert verifier & store == Both(verifier, store)
    revocation = Revocation("staple")
    assert store & revocation == revocation & store == WithCheck(store, revocation)
    assert not (store & revocation).blocking  # type: ignore[attr-defined]
    assert (store & Revocation("hard")).blocking  # type: ignore[attr-defined]
    assert verify(CA.trust & revocation).chain == (*CHAIN, CA.certificate)
    assert verify(CA.trust & revocation).why != verify(CA.trust).why
    assert store | verifier == Either(store, verifier)
    assert verifier | store == Either(verifier, store)
    assert store | STRANGER.trust == TrustStore((*store.sources, *STRANGER.trust.sources))
    assert private(store) | known | store == Either(Either(private(store), known), store)
    for wrong in (1, "pin", None):
        with pytest.raises(TypeError):
            store & wrong  # type: ignore[operator]
        with pytest.raises(TypeError):
            store | wrong  # type: ignore[operator]
    with pytest.raises(TypeError):
        private(store) | check  # type: ignore[operator]


def test_what_spoke_for_the_leaf_is_told_whatever_else_did_not() -> None:
    ca = CertificateAuthority("root", at=AT)
    chain, crl = ca.issue("a.test").chain, ca.crl(at=AT)
    plain, off, hard = ca.trust, ca.trust & Revocation("off"), ca.trust & Revocation("hard", crls=[crl])
    for policy, evidence in (
        (plain & plain, None),
        (off & plain, Evidence.NONE),
        (plain & off, Evidence.NONE),
        (off & hard, Evidence.CRL),
        (hard & off, Evidence.CRL),
        (hard & plain, Evidence.CRL),
        (hard & Revocation("off"), Evidence.CRL),
        (off & Revocation("hard", crls=[crl]), Evidence.CRL),
    ):
        assert verify(policy, *chain).revocation is evidence


def test_what_a_combination_has_of_its_members() -> None:
    for combine in (
        Both,
        Either,
        lambda one, other: WithCheck(one, Checks(None, False, other.blocking, other.fingerprint)),
    ):
        assert not combine(CA.trust, Says(YES)).blocking
        assert combine(CA.trust, Says(YES, blocking=True)).blocking
        assert combine(CA.trust, Says(YES, fingerprint=None)).fingerprint is None
        assert combine(CA.trust, Says(YES, fingerprint="text")).fingerprint is None
    marks = {
        combine(one, other).fingerprint
        for combine in (Both, Either)
        for one, other in ((CA.trust, STRANGER.trust), (STRANGER.trust, CA.trust), (CA.trust, Says(YES)))
    }
    assert len(marks) == 6
    assert all(isinstance(mark, bytes) for mark in marks)
    one = private(CA.trust) | pin(pinned(CHAIN[0]))
    assert one == private(CA.trust) | pin(pinned(CHAIN[0]))
    assert len({one, private(CA.trust) | pin(pinned(CHAIN[0])), private(CA.trust) & pin(pinned(CHAIN[0]))}) == 2


# --- pins ------------------------------------------------------------------------------------------------------------


def test_a_pin_alone_is_the_leaf_s_key() -> None:
    known = pin(pinned(CHAIN[0]), pinned(STRANGER.certificate))
    assert verify(known).chain == CHAIN[:1]
    assert verify(known, name="another.test").chain == CHAIN[:1]  # the key says who it is
    assert verify(known, name=None).chain == CHAIN[:1]
    error = refused(pin(pinned(MIDDLE.certificate)))
    assert (error.code, error.section, error.certificate_index) == ("pin-mismatch", "RFC 7858 §4.2", 0)
    known_and_shown = {"pins": pinned(CHAIN[0]), "known": pinned(MIDDLE.certificate)}
    assert error.facts == {**known_and_shown, "certificate": "0 of 2, CN=a.test"}
    encrypts = CA.issue("a.test", key_usage=("key_agreement",)).leaf
    assert refused(pin(pinned(encrypts)), encrypts).code == "certificate-key-usage"


def test_a_pin_beside_a_verifier_is_any_key_of_the_chain() -> None:
    for certificate in (*CHAIN, CA.certificate):
        assert verify(CA.trust & pin(pinned(certificate))).chain == (*CHAIN, CA.certificate)
    error = refused(CA.trust & pin(pinned(STRANGER.certificate)))
    assert error.code == "pin-mismatch"
    assert error.verified_chain == (*CHAIN, CA.certificate)
    # what was sent and is no part of the verified chain does not count
    assert refused(CA.trust & pin(pinned(STRANGER.certificate)), *CHAIN, STRANGER.certificate).code == "pin-mismatch"
    assert refused(CA.trust & pin(pinned(CHAIN[0])), name="b.test").code == "name-mismatch"
    assert verify(STRANGER.trust | pin(pinned(CHAIN[0]))).chain == CHAIN[:1]


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA, KeyKind.ED25519, KeyKind.MLDSA65], ids=lambda k: k.value)
def test_openssl_computes_the_same_pin(kind: KeyKind, tmp_path: Path) -> None:
    leaf = CA.issue("a.test", key_kind=kind).leaf
    if kind is KeyKind.MLDSA65:
        assert pinned(leaf).startswith("sha256/")  # older programs cannot print this key
        return
    (tmp_path / "leaf.pem").write_bytes(leaf.pem())
    pem = subprocess.run(
        ["openssl", "x509", "-in", str(tmp_path / "leaf.pem"), "-pubkey", "-noout"], capture_output=True, check=True
    ).stdout
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "der"], input=pem, capture_output=True, check=True
    ).stdout
    assert pinned(leaf) == "sha256/" + base64.b64encode(hashlib.sha256(der).digest()).decode()


def test_a_key_declared_as_pss_cannot_be_pinned() -> None:
    assert pin_of(CA.issue("a.test", key_kind=KeyKind.RSA_PSS).leaf) is None


@pytest.mark.parametrize(
    "text", ["", "sha256/", "sha1/" + "A" * 43 + "=", "sha256/" + "A" * 44, "sha256//" + "A" * 43 + "="]
)
def test_what_is_no_pin(text: str) -> None:
    with pytest.raises(ConfigError):
        pin(text)
    with pytest.raises(ConfigError):
        pin()


# --- trust on first use ----------------------------------------------------------------------------------------------


def test_first_use(tmp_path: Path) -> None:
    path = tmp_path / "known"
    policy = tofu(path)
    alone, other = self_signed("whatever.test", at=AT).leaf, self_signed("whatever.test", at=AT).leaf
    assert verify(policy, alone).why == "first use: its key is remembered now"
    assert path.read_text() == f"a.test {pinned(alone)} 2026-11-20\n"
    assert verify(policy, alone).why == "its key since 2026-11-20"
    assert verify(policy, other, name="b.test").chain == (other,)
    assert path.read_text().splitlines()[1] == f"b.test {pinned(other)} 2026-11-20"
    error = refused(policy, other)
    assert error.code == "key-changed"
    assert f"a.test {pinned(alone)} 2026-11-20" in error.remedy
    assert str(path) in error.remedy
    assert path.read_text().count("\n") == 2
    path.write_text(f"# ours\nb.test {pinned(other)} 2026-11-20\n")
    assert verify(policy, other).why == "first use: its key is remembered now"
    assert path.read_text().startswith("# ours\nb.test ")


def test_first_use_is_refused_where_nothing_can_be_remembered(tmp_path: Path) -> None:
    policy = tofu(tmp_path / "known")
    leaf = self_signed("a.test", at=AT).leaf
    assert refused(policy, leaf, name=None).code == "tofu"
    assert refused(policy, leaf, proven=False).code == "tofu"
    assert not (tmp_path / "known").exists()
    assert verify(policy, leaf)
    assert verify(policy, leaf, proven=False)
    for place in (tmp_path, tmp_path / "no" / "folder"):
        with pytest.raises(ConfigError):
            verify(tofu(place), leaf)
    (tmp_path / "odd").write_text("a.test\n")
    with pytest.raises(ConfigError, match="line 1"):
        verify(tofu(tmp_path / "odd"), leaf)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError):
        verify(tofu(tmp_path / "binary"), leaf)


def test_a_changed_key_is_told_of_in_an_alternative(tmp_path: Path) -> None:
    policy = STRANGER.trust | tofu(tmp_path / "known")
    first, second = (self_signed("a.test", at=AT).leaf for _ in range(2))
    assert policy.blocking  # type: ignore[attr-defined]
    assert verify(policy, first)
    error = refused(policy, second)
    assert (error.code, error.others[0].code) == ("key-changed", "self-signed")


GOOD, EVIL = CHAIN[0], self_signed("a.test", at=AT).leaf


@dataclass(frozen=True)
class Careful:
    """Refuses all but the good one, as a check or as a verifier; later when asked to."""

    later: bool = False
    fingerprint = b"careful"

    def check(self, presented: PresentedChain, verified: VerifiedPeer) -> Awaitable[None] | None:
        if self.later:
            return self._later(presented)
        self._now(presented)
        return None

    async def _later(self, presented: PresentedChain) -> None:
        await asyncio.sleep(0)
        self._now(presented)

    def _now(self, presented: PresentedChain) -> None:
        if presented.leaf != GOOD:
            raise no("not the good one")


@dataclass(frozen=True)
class CarefulVerifier(Careful):
    check = None  # type: ignore[assignment]

    async def verify(self, presented: PresentedChain) -> VerifiedPeer:
        await self._later(presented)
        return VerifiedPeer(presented.chain[:1], "good")


CONJUNCTIONS: dict[str, Callable[[Policy], Policy]] = {
    "tofu & webpki": lambda first: first & CA.trust,
    "webpki & tofu": lambda first: CA.trust & first,
    "tofu & pin": lambda first: first & pin(pinned(GOOD)),
    "pin & tofu": lambda first: pin(pinned(GOOD)) & first,
    "tofu & check": lambda first: first & Careful(),
    "tofu & check later": lambda first: first & Careful(later=True),
    "tofu & verifier later": lambda first: first & CarefulVerifier(),
    "verifier later & tofu": lambda first: CarefulVerifier() & first,
    "(tofu & private) & pin": lambda first: (first & private(CA.trust)) & pin(pinned(GOOD)),
    "(tofu & tofu) & check": lambda first: (first & first) & Careful(),
    "(private | tofu) & pin": lambda first: (private(STRANGER.trust) | first) & pin(pinned(GOOD)),
    "webpki & (tofu | private)": lambda first: CA.trust & (first | private(STRANGER.trust)),
    "cached(tofu) & webpki": lambda first: cached(first) & CA.trust,
    "cached(tofu & check)": lambda first: cached(first & Careful()),
    "fetch_issuers(tofu) & webpki": lambda first: fetch_issuers(first) & CA.trust,
}


@pytest.mark.parametrize("form", CONJUNCTIONS)
def test_a_key_is_recorded_when_all_have_accepted_it(form: str, tmp_path: Path) -> None:
    """That of a man in the middle would lock the right server out."""
    path = tmp_path / "known"
    policy = CONJUNCTIONS[form](tofu(path))

    def outcome(*chain: Certificate) -> VerifiedPeer:
        verdict = policy.verify(presented(*chain))
        return asyncio.run(_wait(verdict)) if inspect.isawaitable(verdict) else verdict

    with pytest.raises(CertificateError):
        outcome(EVIL)
    assert not path.exists()
    first = outcome(*CHAIN)
    assert "its key is remembered now" in first.why
    assert type(first) is VerifiedPeer
    assert path.read_text() == f"a.test {pinned(GOOD)} 2026-11-20\n"
    assert "its key since 2026-11-20" in outcome(*CHAIN).why
    with pytest.raises(CertificateError):
        outcome(EVIL)
    assert path.read_text().count("\n") == 1


def test_a_key_that_was_recorded_meanwhile_counts(tmp_path: Path) -> None:
    """Two first connections at once: what the store has when the second wants to record is what is known."""

    class Overtaken(Careful):
        def check(self, presented: PresentedChain, verified: VerifiedPeer) -> None:
            KnownServers(str(tmp_path / "known")).record("a.test", pinned(GOOD), AT)

    policy = tofu(tmp_path / "known") & Overtaken()
    assert refused(policy, EVIL).code == "key-changed"
    assert verify(policy)


def test_the_store_keeps_its_permissions_and_its_place(tmp_path: Path) -> None:
    store, link = tmp_path / "store", tmp_path / "link"
    store.write_text("# ours\n")
    store.chmod(0o600)
    link.symlink_to(store.name)
    verify(tofu(link), self_signed("a.test", at=AT).leaf)
    assert link.is_symlink()
    assert store.read_text().startswith("# ours\na.test ")
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "store", "store.lock"]


def record_one(path: str, name: str) -> str:
    pin_text = "sha256/" + base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()
    KnownServers(path).record(name, pin_text, AT)
    return KnownServers(path).record("same.test", pin_text, AT).pin


def test_many_writers(tmp_path: Path) -> None:
    """Threads and processes at once: no line is lost, and one key wins for a name that all want."""
    path = str(tmp_path / "known")
    names = [f"{number}.test" for number in range(24)]
    with multiprocessing.get_context("spawn").Pool(2) as pool, ThreadPoolExecutor(4) as threads:
        apart = pool.starmap_async(record_one, [(path, name) for name in names[:8]])
        together = list(threads.map(lambda name: record_one(path, name), names[8:]))
        winners = {*together, *apart.get(60)}
    assert len(winners) == 1
    lines = Path(path).read_text().splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted([*names, "same.test"])


def test_a_writer_waits_for_another_process(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "known"
    with open(f"{path}.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        writer = threading.Thread(target=record_one, args=(str(path), "a.test"), daemon=True)
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()
        assert not path.exists()
    writer.join(30)
    assert path.read_text().startswith("a.test ")


# --- fetching --------------------------------------------------------------------------------------------------------


class Web:
    """A `fetch` that has some files, and remembers what it was asked for."""

    def __init__(self, files: dict[str, bytes | Exception]) -> None:
        self.files = files
        self.asked: list[str] = []

    def __call__(self, url: str, *, body: bytes | None, content_type: str | None, limit: int, timeout: float) -> bytes:
        self.asked.append(url)
        found = self.files.get(url, OSError("404"))
        if isinstance(found, Exception):
            raise found
        return found

    async def later(
        self,
        url: str,
        *,
        body: bytes | None,
        content_type: str | None,
        limit: int,
        timeout: float,
    ) -> bytes:
        await asyncio.sleep(0)
        return self(url, body=body, content_type=content_type, limit=limit, timeout=timeout)


LONELY = MIDDLE.issue("a.test", issuer_url=URL, send_chain=False).leaf
P7C = pkcs7.serialize_certificates([MIDDLE.certificate.x509], Encoding.DER)


@pytest.mark.parametrize("data", [MIDDLE.certificate.der, MIDDLE.certificate.pem(), P7C], ids=["DER", "PEM", "p7c"])
@pytest.mark.parametrize("policy", [webpki, private])
def test_a_missing_intermediate_is_fetched(policy: type, data: bytes) -> None:
    verifier = policy(CA.certificate)
    assert refused(verifier, LONELY).code == "missing-intermediate"
    web = Web({URL: data})
    whole = (LONELY, MIDDLE.certificate, CA.certificate)
    fetching = fetch_issuers(verifier, web)
    assert fetching.blocking
    assert verify(fetching, LONELY).chain == whole
    assert web.asked == [URL]
    later = fetch_issuers(verifier, web.later)
    verdict = later.verify(presented(LONELY))
    assert inspect.isawaitable(verdict)
    assert asyncio.run(_wait(verdict)).chain == whole
    assert not later.blocking
    assert later.fingerprint == fetching.fingerprint == verifier.fingerprint
    assert verify(fetching, *CHAIN).chain[0] == CHAIN[0]
    assert len(web.asked) == 2


@pytest.mark.parametrize(
    "data",
    [OSError("down"), ValueError("odd"), b"", b"garbage", b"x" * 70_000, STRANGER.certificate.der, LONELY.der],
    ids=["down", "odd", "empty", "garbage", "long", "stranger", "itself"],
)
def test_what_is_fetched_is_not_trusted(data: bytes | Exception) -> None:
    web = Web({URL: data})
    for verifier in (fetch_issuers(CA.trust, web), fetch_issuers(CA.trust, web.later)):
        with pytest.raises(CertificateError) as caught:
            settled(verifier)
        assert caught.value.code in ("missing-intermediate", "unknown-ca")
        assert caught.value.peer_chain == (LONELY,)
        assert URL in caught.value.facts["fetched"]
    assert len(web.asked) <= 6


def settled(verifier: Verifier) -> VerifiedPeer:
    verdict = verifier.verify(presented(LONELY))
    return asyncio.run(_wait(verdict)) if inspect.isawaitable(verdict) else verdict


def test_fetches_are_few_and_plain() -> None:
    for url in ("https://ca.test/x", "file:///etc/passwd", "ftp://ca.test/", "http://", "http://ca.test/a b"):
        web = Web({})
        leaf = MIDDLE.issue("a.test", issuer_url=url, send_chain=False).leaf
        assert refused(fetch_issuers(CA.trust, web), leaf).code == "missing-intermediate"
        assert web.asked == []
    with pytest.raises(RuntimeError):
        verify(fetch_issuers(CA.trust, Web({URL: RuntimeError()})), LONELY)
    assert refused(fetch_issuers(CA.trust, Web({})), *CHAIN, name="b.test").code == "name-mismatch"


def test_a_long_address_is_fetched_whole_and_told_of_in_part() -> None:
    url = "http://ca.test/" + "a" * 2000
    leaf = MIDDLE.issue("a.test", issuer_url=url, send_chain=False).leaf
    assert verify(fetch_issuers(CA.trust, Web({url: MIDDLE.certificate.der})), leaf).chain[1] == MIDDLE.certificate
    error = refused(fetch_issuers(CA.trust, Web({})), leaf)
    assert len(error.remedy) < 400
    assert len(error.facts["issuer_url"]) == 200
    assert error.facts["fetched"].endswith("…: OSError")


def test_fetching_over_http() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(MIDDLE.certificate.der)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/middle.crt"
            leaf = MIDDLE.issue("a.test", issuer_url=url, send_chain=False).leaf
            assert verify(fetch_issuers(CA.trust), leaf).chain[1] == MIDDLE.certificate
        finally:
            server.shutdown()
            thread.join()


# --- what a refusal says ---------------------------------------------------------------------------------------------


def test_a_refusal_has_all_its_facts() -> None:
    error = refused(CA.trust, *CHAIN, name="b.test")
    assert (error.certificate, error.certificate_index) == (CHAIN[0], 0)
    assert error.verified_chain == (*CHAIN, CA.certificate)
    assert error.section == "RFC 9525 §6.3"
    assert error.facts["certificate"] == "0 of 2, CN=a.test"
    assert error.facts["closest"] == "a.test"
    with pytest.raises(CertificateError) as caught:
        CA.trust.verify(presented(at=AT + timedelta(days=33)))
    assert "ended 3 days ago" in str(caught.value)
    assert caught.value.facts["clock"] == "plausible: it fits 2 of 3 certificates"
    missing = refused(CA.trust, LONELY)
    assert missing.facts["issuer_url"] == URL
    assert missing.certificate == LONELY


def test_values_of_what_is_not_allowed() -> None:
    """Which value it was, with the rule's section, for rules whose text could leave it open."""
    keyless = CA.issue("a.test", key_usage=("key_agreement", "crl_sign")).leaf
    for policy in (CA.trust, private(CA.certificate), pin(pinned(keyless))):
        error = refused(policy, keyless)
        told = f"{error} {error.facts}"
        assert "keyAgreement, cRLSign" in told
        assert (error.certificate_index, error.facts["certificate"]) == (0, "0 of 1, CN=a.test")
        assert error.section in ("RFC 5280 §4.2.1.12", "RFC 8446 §4.4.2.2")
    no_ca = refused(CA.trust, *CA.intermediate("no CA", ca=False).issue("a.test").chain)
    assert no_ca.facts["basic_constraints"] == "CA:FALSE"
    assert no_ca.facts["key_usage"] == "keyCertSign, cRLSign"
    deep = CA.intermediate("last", path_length=0).intermediate("one too many").issue("a.test").chain
    assert {"path_length": "0", "below": "1"}.items() <= refused(CA.trust, *deep).facts.items()


# --- in a handshake --------------------------------------------------------------------------------------------------


def shaken(client: ClientConfig, server: ServerConfig) -> ClientConnection:
    """A handshake whose blocking verifier is asked by whoever drives it."""
    ours, theirs = ClientConnection(client, "a.test"), ServerConnection(server)
    pair = handshake(ours, theirs)
    for asked in pair.asked:
        assert asked.pending is None
        try:
            answer: object = asked.question.put()
        except CertificateError as error:
            answer = error
        ours.answer(asked.question, answer)
        pair.shuttle()
    return ours


def test_first_use_in_a_handshake(tmp_path: Path) -> None:
    path = tmp_path / "known"
    client = ClientConfig(trust=tofu(path))
    first, second = self_signed("x.test", usage="any"), self_signed("x.test")
    for versions in ([TLSVersion.TLS_1_3], [TLSVersion.TLS_1_2]):
        server = ServerConfig(credentials=[first], versions=versions)
        assert shaken(client, server).info.verified_chain == (first.leaf,)
    assert path.read_text().split()[:2] == ["a.test", pinned(first.leaf)]
    with pytest.raises(CertificateError) as caught:
        shaken(client, ServerConfig(credentials=[second]))
    assert caught.value.code == "key-changed"
    assert caught.value.peer_chain == (second.leaf,)


def test_rsa_key_transport_records_nothing(tmp_path: Path) -> None:
    """The server proves its key only at the end there: an impostor could make us remember a key that is not its own."""
    path = tmp_path / "known"
    usage = ("digital_signature", "key_encipherment")
    credential = self_signed("a.test", key_kind=KeyKind.RSA, key_usage=usage)
    suites, versions = [CipherSuite.TLS_RSA_WITH_AES_128_GCM_SHA256], [TLSVersion.TLS_1_2]
    with pytest.warns(danger.InsecureWarning):
        client = danger.allow_rsa_key_transport(ClientConfig(trust=tofu(path)))
    with pytest.warns(danger.InsecureWarning):
        server = danger.allow_rsa_key_transport(ServerConfig(credentials=[credential]))
    client = client.replace(cipher_suites=suites, versions=versions)
    server = server.replace(cipher_suites=suites, versions=versions)
    with pytest.raises(CertificateError) as caught:
        shaken(client, server)
    assert caught.value.code == "tofu"
    assert not path.exists()
    KnownServers(str(path)).record("a.test", pinned(credential.leaf), AT)
    assert shaken(client, server).established


def test_a_refused_chain_stays_to_be_looked_at() -> None:
    server = ServerConfig(credentials=[CertificateAuthority("now").issue("b.test")])
    client = ClientConnection(ClientConfig(trust=CA.trust), "a.test")
    with pytest.raises(CertificateError) as caught:
        handshake(client, ServerConnection(server))
    assert client.info.peer_certificates == caught.value.peer_chain != ()
    assert client.info.verified_chain == ()
    assert caught.value.verified_chain == caught.value.peer_chain[:1]


def test_whoever_derives_from_a_policy_has_the_last_word() -> None:
    class Strict(FetchesIssuers):
        def verify(self, presented: PresentedChain) -> VerifiedPeer:
            super().verify(presented)
            raise CertificateError("not one of ours", code="ours")

    strict = Strict(webpki(CA.root))
    for verifier in (strict, strict & webpki(CA.root), webpki(CA.root) & strict, strict | strict, cached(strict)):
        with pytest.raises(CertificateError) as caught:
            verify(verifier)
        assert caught.value.code == "ours"
