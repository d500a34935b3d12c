"""Revocation: what each mode makes of each answer, from servers on loopback that are wrong in one known way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cryptography.x509 as pyca
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from handclasp import (
    Alert,
    CertificateError,
    Checked,
    ConfigError,
    Credential,
    Evidence,
    PresentedChain,
    Revocation,
    Role,
    VerifiedPeer,
)
from handclasp.crypto.keys import generate
from handclasp.crypto.signatures import KeyKind
from handclasp.fetching import fetch
from handclasp.identity.names import peer_name
from handclasp.identity.pem import encode
from handclasp.identity.revocation.cache import AnswerCache
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.responder import Fault, StatusServer, delegate
from handclasp.lab.statements import Speaker

NAME = "example.test"
MODES = ("off", "staple", "soft", "hard")


@pytest.fixture(scope="module")
def status() -> Iterator[StatusServer]:
    with StatusServer(CertificateAuthority("revocation CA")) as server:
        yield server


@pytest.fixture(autouse=True)
def _right_again(status: StatusServer) -> Iterator[None]:
    yield
    status.fault = status.delegate = None
    status.asked.clear()


def leaf_of(status: StatusServer, *ways: str, **options: Any) -> Credential:
    """A leaf that points at the responder, the list, or neither."""
    urls = {"ocsp": status.ocsp_url, "crl": status.crl_url}
    return status.ca.issue(NAME, **options, **{f"{way}_url": urls[way] for way in ways})  # type: ignore[arg-type]


def ask(
    policy: Revocation,
    ca: CertificateAuthority,
    credential: Credential,
    staple: bytes = b"",
    at: datetime | None = None,
) -> Any:
    """What the policy returns for a leaf of this CA's."""
    at = at or datetime.now(UTC)
    presented = PresentedChain(credential.chain, Role.SERVER, peer_name(NAME), at, staples=(staple,))
    return policy.check(presented, VerifiedPeer((*credential.chain, ca.certificate), "the test says so"))


def outcome(policy: Revocation, ca: CertificateAuthority, credential: Credential, staple: bytes = b"") -> str:
    """The evidence for the leaf, or the code of the refusal."""
    try:
        checked = ask(policy, ca, credential, staple)
    except CertificateError as error:
        refusal = error
    else:
        assert isinstance(checked, Checked)
        return checked.evidence.value
    assert refusal.section.startswith("RFC ")
    assert (refusal.peer_chain, refusal.verified_chain) == (credential.chain, (*credential.chain, ca.certificate))
    assert (refusal.certificate_index, refusal.facts["certificate"]) == (0, f"0 of 1, CN={NAME}")
    return refusal.code


# --- asked: mode x situation x outcome -------------------------------------------------------------------------------

NO_ANSWER = {"off": "not checked", "staple": "not checked", "soft": "not checked", "hard": "revocation-unknown"}


@pytest.mark.parametrize("way", ["ocsp", "crl"])
@pytest.mark.parametrize("mode", MODES)
def test_an_answer_counts(status: StatusServer, mode: str, way: str) -> None:
    credential = leaf_of(status, way)
    asks = mode in ("soft", "hard")
    assert outcome(Revocation(mode), status.ca, credential) == (way if asks else "not checked")
    status.ca.revoke(credential.leaf)
    assert outcome(Revocation(mode), status.ca, credential) == ("revoked" if asks else "not checked")
    assert status.asked == 2 * [way] * asks


OCSP_FAULTS = [fault for fault in Fault if fault is not Fault.SLOW]
CRL_FAULTS = [
    fault
    for fault in OCSP_FAULTS
    if fault not in (Fault.UNAUTHORIZED_DELEGATE, Fault.WRONG_NONCE, Fault.UNKNOWN, Fault.TRY_LATER)
]


@pytest.mark.parametrize("fault", OCSP_FAULTS, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_an_ocsp_answer_that_does_not_count_is_none(status: StatusServer, mode: str, fault: Fault) -> None:
    status.fault = fault
    assert outcome(Revocation(mode), status.ca, leaf_of(status, "ocsp")) == NO_ANSWER[mode]


@pytest.mark.parametrize("fault", CRL_FAULTS, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_a_list_that_does_not_count_is_none(status: StatusServer, mode: str, fault: Fault) -> None:
    status.fault = fault
    policy = Revocation(mode, largest_crl=100_000)
    assert outcome(policy, status.ca, leaf_of(status, "crl")) == NO_ANSWER[mode]


@pytest.mark.parametrize("way", ["ocsp", "crl"])
@pytest.mark.parametrize("mode", MODES)
def test_a_slow_answer_is_none(status: StatusServer, mode: str, way: str) -> None:
    with StatusServer(status.ca) as slow:
        slow.fault = Fault.SLOW
        assert outcome(Revocation(mode, timeout=0.2), status.ca, leaf_of(slow, way)) == NO_ANSWER[mode]


@pytest.mark.parametrize("mode", MODES)
def test_nobody_is_there(status: StatusServer, mode: str) -> None:
    with StatusServer(status.ca) as gone:
        credential = leaf_of(gone, "ocsp", "crl")
    assert outcome(Revocation(mode), status.ca, credential) == NO_ANSWER[mode]
    assert outcome(Revocation(mode), status.ca, leaf_of(status)) == NO_ANSWER[mode]


def test_a_list_answers_where_the_responder_does_not(status: StatusServer) -> None:
    with StatusServer(status.ca) as broken:
        broken.fault = Fault.TRY_LATER
        credential = status.ca.issue(NAME, ocsp_url=broken.ocsp_url, crl_url=status.crl_url)
        assert outcome(Revocation("hard"), status.ca, credential) == "crl"


def test_the_reasons_are_told(status: StatusServer) -> None:
    status.fault = Fault.TRY_LATER
    with pytest.raises(CertificateError, match="the responder says try_later") as caught:
        ask(Revocation("hard"), status.ca, leaf_of(status, "ocsp"))
    assert caught.value.alert is Alert.CERTIFICATE_UNKNOWN
    checked = ask(Revocation("soft"), status.ca, leaf_of(status, "ocsp"))
    assert "try_later" in checked.why


def test_a_delegate_speaks_for_its_ca(status: StatusServer) -> None:
    status.delegate = delegate(status.ca)
    assert outcome(Revocation("hard"), status.ca, leaf_of(status, "ocsp")) == "ocsp"
    status.delegate = delegate(CertificateAuthority("revocation CA"))
    assert outcome(Revocation("hard"), status.ca, leaf_of(status, "ocsp")) == "revocation-unknown"


def test_intermediates_are_checked_and_the_root_is_not(status: StatusServer) -> None:
    root = status.ca
    with_pointer = root.intermediate("an intermediate", ocsp_url=status.ocsp_url)
    with StatusServer(with_pointer) as below:
        credential = with_pointer.issue(NAME, ocsp_url=below.ocsp_url)
        presented = PresentedChain(credential.chain, Role.SERVER, peer_name(NAME), datetime.now(UTC))
        verified = VerifiedPeer((*credential.chain, root.certificate), "")
        assert Revocation("hard").check(presented, verified).evidence is Evidence.OCSP  # type: ignore[union-attr]
        root.revoke(with_pointer.certificate, "cACompromise")
        with pytest.raises(CertificateError) as caught:
            Revocation("soft").check(presented, verified)
    assert caught.value.certificate_index == 1
    assert caught.value.alert is Alert.CERTIFICATE_REVOKED
    assert caught.value.facts["reason"] == "cACompromise"


def test_an_intermediate_without_pointers_is_refused_in_hard_mode_alone(status: StatusServer) -> None:
    middle = status.ca.intermediate("an intermediate without pointers")
    with StatusServer(middle) as below:
        credential = middle.issue(NAME, ocsp_url=below.ocsp_url)
        presented = PresentedChain(credential.chain, Role.SERVER, peer_name(NAME), datetime.now(UTC))
        verified = VerifiedPeer((*credential.chain, status.ca.certificate), "")
        assert Revocation("soft").check(presented, verified).evidence is Evidence.OCSP  # type: ignore[union-attr]
        with pytest.raises(CertificateError, match="neither a responder nor a list") as caught:
            Revocation("hard").check(presented, verified)
    assert caught.value.code == "revocation-unknown"


# --- the cache -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["ocsp", "crl"])
def test_an_answer_is_kept_until_the_next_one_comes(status: StatusServer, way: str) -> None:
    policy, credential = Revocation("hard"), leaf_of(status, way)
    for _ in range(3):
        assert outcome(policy, status.ca, credential) == way
    assert status.asked == [way]
    with pytest.raises(CertificateError, match="out of date"):
        ask(policy, status.ca, credential, at=datetime.now(UTC) + timedelta(days=2))
    assert status.asked == [way, way]


def test_the_cache_is_bounded() -> None:
    cache: AnswerCache[int] = AnswerCache(most=3, room=100)
    now = datetime.now(UTC)
    later = now + timedelta(hours=1)
    for number in range(5):
        cache.keep(number, number, later, 1)
    assert [cache.find(number, now) for number in range(5)] == [None, None, 2, 3, 4]
    cache.keep("large", 9, later, 99)
    assert cache.find("large", now) == 9
    assert len(cache) == 2
    cache.keep("too large", 9, later, 101)
    assert cache.find("too large", now) is None
    assert cache.find("large", later) is None


# --- staples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_staples(status: StatusServer, mode: str) -> None:
    ca, credential = status.ca, leaf_of(status)
    now, on = datetime.now(UTC), mode != "off"
    stranger = CertificateAuthority("revocation CA")
    good = ca.ocsp_response(credential.leaf)
    cases = {
        good: "staple",
        ca.ocsp_response(credential.leaf, speaker=delegate(ca)): "staple",
        ca.ocsp_response(credential.leaf, valid=None): "staple",
        ca.ocsp_response(credential.leaf, at=now - timedelta(days=2)): "staple-stale",
        ca.ocsp_response(credential.leaf, at=now - timedelta(days=2), valid=None): "staple-stale",
        ca.ocsp_response(credential.leaf, at=now + timedelta(hours=1)): "staple-invalid",
        ca.ocsp_response(credential.leaf, status="unknown"): "staple-invalid",
        ca.ocsp_response(ca.issue("other.test").leaf): "staple-invalid",
        ca.ocsp_response(credential.leaf, speaker=stranger.speaker): "staple-invalid",
        ca.ocsp_response(credential.leaf, speaker=delegate(ca, "1.3.6.1.5.5.7.3.1")): "staple-invalid",
        ca.ocsp_response(credential.leaf, status="revoked"): "revoked",
        good[:-1]: "staple-invalid",
        good[:-1] + bytes([good[-1] ^ 1]): "staple-invalid",
        b"\x30\x03\x0a\x01\x03": "staple-invalid",
        b"garbage": "staple-invalid",
        good + bytes(65536): "staple-invalid",
    }
    found = {staple: outcome(Revocation(mode), ca, credential, staple) for staple in cases}
    assert found == {staple: expected if on else "not checked" for staple, expected in cases.items()}
    assert status.asked == []


@pytest.mark.parametrize(
    ("bits", "extension", "good"),
    [
        (2048, (pyca.CertificatePolicies([]), False), True),
        (1024, (pyca.CertificatePolicies([]), False), False),
        (2048, (pyca.OCSPNoCheck(), True), True),
        (2048, (pyca.UnrecognizedExtension(pyca.ObjectIdentifier("1.2.3"), b"\5\0"), False), True),
        (2048, (pyca.UnrecognizedExtension(pyca.ObjectIdentifier("1.2.3"), b"\5\0"), True), False),
    ],
)
def test_a_delegate_s_certificate_has_to_be_sound(
    status: StatusServer, bits: int, extension: tuple[pyca.ExtensionType, bool], good: bool
) -> None:
    """Whoever can break or misread it speaks for the CA."""
    key = generate(KeyKind.RSA, bits=bits)
    signing = (ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string,)
    appointed = status.ca.issue(key=key, eku=signing, common_name="delegate", extensions=[extension])
    credential = leaf_of(status)
    staple = status.ca.ocsp_response(credential.leaf, speaker=Speaker(appointed.leaf, key))
    assert outcome(Revocation(), status.ca, credential, staple) == ("staple" if good else "staple-invalid")


def test_a_delegate_counts_only_in_its_time(status: StatusServer) -> None:
    ca = status.ca
    credential, speaker = leaf_of(status), delegate(ca)
    response = ca.ocsp_response(credential.leaf, speaker=speaker, valid=timedelta(days=90))
    assert ask(Revocation(), ca, credential, response).evidence is Evidence.STAPLE
    with pytest.raises(CertificateError) as caught:
        ask(Revocation(), ca, credential, response, at=speaker.certificate.not_after + timedelta(days=1))
    assert caught.value.code == "staple-invalid"


@pytest.mark.parametrize("mode", MODES)
def test_must_staple(status: StatusServer, mode: str) -> None:
    credential = leaf_of(status, "ocsp", must_staple=True)
    assert credential.leaf.must_staple
    off = mode == "off"
    assert outcome(Revocation(mode), status.ca, credential) == ("not checked" if off else "staple-missing")
    staple = status.ca.ocsp_response(credential.leaf)
    assert outcome(Revocation(mode), status.ca, credential, staple) == ("not checked" if off else "staple")


def test_hostile_bytes_are_refused_by_name(status: StatusServer) -> None:
    """Every cut and many flips of a response and of a list: an answer or a refusal, and nothing else."""
    ca, credential = status.ca, leaf_of(status)
    response, crl = ca.ocsp_response(credential.leaf), ca.crl()
    for at in range(0, len(response), 3):
        for damaged in (response[:at], response[:at] + bytes([response[at] ^ 0x80]) + response[at + 1 :]):
            assert outcome(Revocation(), ca, credential, damaged) in ("staple-invalid", "staple-stale", "not checked")
    for at in range(0, len(crl), 3):
        for damaged in (crl[:at], crl[:at] + bytes([crl[at] ^ 0x80]) + crl[at + 1 :]):
            with pytest.raises((CertificateError, ConfigError)):
                ask(Revocation("hard", crls=[damaged]), ca, credential)


# --- lists at hand ---------------------------------------------------------------------------------------------------


def test_given_lists_are_read_again_when_they_change(status: StatusServer, tmp_path: Path) -> None:
    ca = CertificateAuthority("a CA with files")
    credential = ca.issue(NAME)
    (tmp_path / "README").write_text("lists of revoked certificates")
    file = tmp_path / "ca.crl"
    file.write_bytes(ca.crl())
    for source in (file, str(tmp_path), ca.crl(), encode("X509 CRL", ca.crl())):
        for mode in ("staple", "soft", "hard"):
            assert outcome(Revocation(mode, crls=[source]), ca, credential) == "crl"
    policy = Revocation(crls=[tmp_path])
    assert outcome(policy, ca, credential) == "crl"
    ca.revoke(credential.leaf)
    file.write_bytes(encode("X509 CRL", ca.crl()))
    assert outcome(policy, ca, credential) == "revoked"
    assert outcome(policy, ca, credential, ca.ocsp_response(credential.leaf, status="good")) == "revoked"


def test_a_list_that_cannot_be_used_refuses(status: StatusServer, tmp_path: Path) -> None:
    missing, junk = tmp_path / "missing.crl", tmp_path / "junk.crl"
    junk.write_bytes(b"junk")
    for source in (missing, junk, "no\0path", b"junk", b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ConfigError) as caught:
            ask(Revocation(crls=[source]), status.ca, leaf_of(status))
        assert caught.value.code == "unreadable-crl"
    with pytest.raises(ConfigError, match="longer than"):
        ask(Revocation(crls=[junk], largest_crl=3), status.ca, leaf_of(status))


def test_what_is_beside_the_lists_of_a_directory(status: StatusServer, tmp_path: Path) -> None:
    ca = CertificateAuthority("a CA with a directory")
    credential = ca.issue(NAME)
    (tmp_path / "ca.crl").write_bytes(ca.crl())
    (tmp_path / "archive.crl").mkdir()
    (tmp_path / "archive.crl" / "damaged.crl").write_bytes(b"\x30")
    (tmp_path / "README").write_text("lists of revoked certificates")
    (tmp_path / "index.txt").write_text("R 261128")
    (tmp_path / "update.log").write_text(30_000 * "nothing new\n")
    (tmp_path / "ca.lock").touch()
    (tmp_path / "ca.pem").write_bytes(ca.pem())
    (tmp_path / "ca.cer").write_bytes(ca.certificate.der)
    (tmp_path / "key.pem").write_bytes(ca.issue_pem(NAME).key)
    (tmp_path / ".ca.crl.new").write_bytes(ca.crl()[:100])
    os.mkfifo(tmp_path / "pipe.crl")
    policy = Revocation("hard", crls=[tmp_path], largest_crl=20_000)
    assert outcome(policy, ca, credential) == "crl"
    ca.revoke(credential.leaf)
    (tmp_path / "last").write_bytes(encode("X509 CRL", ca.crl()))
    assert outcome(policy, ca, credential) == "revoked"


@pytest.mark.parametrize(
    ("name", "cut", "around"),
    [
        ("ca.crl", -1, ""),
        ("ca", -1, ""),
        ("ca.r0", 1, ""),
        ("ca.CRL", 0, ""),
        ("ca.pem", -1, "X509 CRL"),
        ("ca.crl", None, "CERTIFICATE"),
        ("ca.crl", None, "HTML"),
    ],
)
def test_a_damaged_list_in_a_directory_refuses(
    status: StatusServer, tmp_path: Path, name: str, cut: int | None, around: str
) -> None:
    """Who is told that such a list refuses should not find that it revokes nobody."""
    data = b"<html>404</html>" if around == "HTML" else status.ca.crl()[:cut]
    (tmp_path / name).write_bytes(encode(around, data) if around not in ("", "HTML") else data)
    with pytest.raises(ConfigError, match=name) as caught:
        ask(Revocation(crls=[tmp_path]), status.ca, leaf_of(status))
    assert caught.value.code == "unreadable-crl"


def test_a_list_in_a_directory_that_cannot_be_read_refuses(
    status: StatusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crl = status.ca.crl()
    (tmp_path / "ca.crl").write_bytes(crl)
    policy = Revocation(crls=[tmp_path], largest_crl=len(crl))
    assert outcome(policy, status.ca, leaf_of(status)) == "crl"
    (tmp_path / "more.crl").write_bytes(crl + b"\0")
    with pytest.raises(ConfigError, match=r"more\.crl.*longer than"):
        ask(policy, status.ca, leaf_of(status))
    (tmp_path / "more.crl").unlink()
    (tmp_path / "link.crl").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"link\.crl"):
        ask(policy, status.ca, leaf_of(status))
    (tmp_path / "link.crl").unlink()
    (tmp_path / "pem").write_bytes(encode("X509 CRL", crl)[:-20])
    with pytest.raises(ConfigError, match="does not end"):
        ask(Revocation(crls=[tmp_path]), status.ca, leaf_of(status))
    (tmp_path / "pem").unlink()
    monkeypatch.setattr("handclasp.identity.revocation.sources._MOST_FILES", 0)
    with pytest.raises(ConfigError, match="more than 0 files"):
        ask(policy, status.ca, leaf_of(status))


def test_a_file_that_is_gone_meanwhile_is_no_list(
    status: StatusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.crl").write_bytes(status.ca.crl())
    listed = [tmp_path / "ca.crl", tmp_path / "ca.crl.new"]
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(listed))
    assert outcome(Revocation(crls=[tmp_path]), status.ca, leaf_of(status)) == "crl"


def _scope(**changes: Any) -> tuple[pyca.ExtensionType, bool]:
    fields: dict[str, Any] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return pyca.IssuingDistributionPoint(**{**fields, **changes}), True


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        (_scope(only_contains_user_certs=True), "crl"),
        (_scope(only_contains_ca_certs=True), "revocation-unknown"),
        (_scope(only_contains_attribute_certs=True), "revocation-unknown"),
        (_scope(full_name=[pyca.UniformResourceIdentifier("http://part.test/1.crl")]), "revocation-unknown"),
        (_scope(indirect_crl=True), "unreadable-crl"),
        (_scope(only_some_reasons=frozenset([pyca.ReasonFlags.key_compromise])), "unreadable-crl"),
        ((pyca.DeltaCRLIndicator(1), True), "unreadable-crl"),
        ((pyca.DeltaCRLIndicator(1), False), "unreadable-crl"),
        ((pyca.UnrecognizedExtension(pyca.ObjectIdentifier("1.2.3"), b"\5\0"), True), "unreadable-crl"),
        ((pyca.UnrecognizedExtension(pyca.ObjectIdentifier("1.2.3"), b"\5\0"), False), "crl"),
    ],
)
def test_the_scope_of_a_list(status: StatusServer, extension: tuple[pyca.ExtensionType, bool], expected: str) -> None:
    policy = Revocation("hard", crls=[status.ca.crl(extensions=[extension])])
    try:
        found = outcome(policy, status.ca, status.ca.issue(NAME))
    except ConfigError as error:
        found = error.code
    assert found == expected


def _points(*urls: str, **changes: Any) -> tuple[pyca.ExtensionType, bool]:
    places = [pyca.UniformResourceIdentifier(url) for url in urls]
    fields: dict[str, Any] = {"relative_name": None, "reasons": None, "crl_issuer": None, **changes}
    return pyca.CRLDistributionPoints([pyca.DistributionPoint(places, **fields)]), False


@pytest.mark.parametrize("place", [0, 3, 4, 20])
def test_a_part_goes_by_any_name_that_the_certificate_has_for_it(place: int) -> None:
    ca = CertificateAuthority("a CA of parts")
    urls = [f"http://part.test/{number}/" + "a" * 190 for number in range(21)]
    credential = ca.issue(NAME, extensions=[_points(*urls)])
    scope = _scope(full_name=[pyca.UniformResourceIdentifier(urls[place])])
    others = _scope(full_name=[pyca.UniformResourceIdentifier(urls[place][:-1] + "b")])
    assert outcome(Revocation("hard", crls=[ca.crl(extensions=[scope])]), ca, credential) == "crl"
    assert outcome(Revocation("hard", crls=[ca.crl(extensions=[others])]), ca, credential) == "revocation-unknown"
    ca.revoke(credential.leaf)
    assert outcome(Revocation("staple", crls=[ca.crl(extensions=[scope])]), ca, credential) == "revoked"


def test_a_part_for_some_reasons_alone_is_no_answer() -> None:
    ca, url = CertificateAuthority("a CA of reasons"), "http://part.test/"
    credential = ca.issue(NAME, extensions=[_points(url, reasons=frozenset([pyca.ReasonFlags.key_compromise]))])
    crl = ca.crl(extensions=[_scope(full_name=[pyca.UniformResourceIdentifier(url)])])
    assert outcome(Revocation("hard", crls=[crl]), ca, credential) == "revocation-unknown"


def test_a_long_address_is_asked_whole(status: StatusServer) -> None:
    asked = []

    def noting(url: str, **how: Any) -> bytes:
        asked.append(url)
        return fetch(status.crl_url, **how)

    url = "http://crl.test/" + "a" * 1000
    credential = status.ca.issue(NAME, crl_url=url)
    status.ca.revoke(credential.leaf)
    assert outcome(Revocation("soft", fetch=noting), status.ca, credential) == "revoked"
    assert asked == [url]


def test_an_entry_of_a_delta_list_is_no_answer(status: StatusServer) -> None:
    ca = CertificateAuthority("a CA of oddities")
    credential = ca.issue(NAME)
    ca.revoke(credential.leaf, "removeFromCRL")
    assert outcome(Revocation("hard", crls=[ca.crl()]), ca, credential) == "revocation-unknown"


# --- async, and the policy as a value --------------------------------------------------------------------------------


def test_an_async_fetch_is_awaited(status: StatusServer) -> None:
    asked = []

    async def fetching(url: str, **how: Any) -> bytes:
        asked.append(url)
        return await asyncio.to_thread(fetch, url, **how)

    policy, credential = Revocation("hard", fetch=fetching), leaf_of(status, "ocsp")
    assert not policy.blocking
    assert Revocation("hard").blocking
    assert not Revocation("staple").blocking

    async def look() -> Checked:
        checked: Checked = await ask(policy, status.ca, credential)
        return checked

    assert asyncio.run(look()).evidence is Evidence.OCSP
    assert asked == [status.ocsp_url]


def test_what_a_fetch_raises(status: StatusServer) -> None:
    def nowhere(url: str, **_: Any) -> bytes:
        raise OSError("no network")

    def broken(url: str, **_: Any) -> bytes:
        raise RuntimeError("a bug")

    def odd(url: str, **_: Any) -> Any:
        return None

    def later(url: str, **_: Any) -> Any:
        return asyncio.sleep(0)

    credential = leaf_of(status, "ocsp")
    assert outcome(Revocation("soft", fetch=nowhere), status.ca, credential) == "not checked"
    for wrong, raised in ((broken, RuntimeError), (odd, TypeError), (later, TypeError)):
        with pytest.raises(raised):
            ask(Revocation("soft", fetch=wrong), status.ca, credential)


def test_at_most_two_urls_are_asked(status: StatusServer) -> None:
    asked = []

    def counting(url: str, **_: Any) -> bytes:
        asked.append(url)
        raise OSError("no")

    places = [pyca.UniformResourceIdentifier(f"http://{n}.test/") for n in range(5)]
    ocsp = [pyca.AccessDescription(pyca.oid.AuthorityInformationAccessOID.OCSP, place) for place in places]
    many = pyca.AuthorityInformationAccess(ocsp)
    points = pyca.CRLDistributionPoints([pyca.DistributionPoint(places, None, None, None)])
    one = status.ca.issue(NAME, extensions=[(many, False)])
    two = status.ca.issue(NAME, extensions=[(many, False), (points, False)])
    for credential in (one, two):
        ask(Revocation("soft", fetch=counting), status.ca, credential)
    assert asked == ["http://0.test/", "http://1.test/", "http://0.test/", "http://0.test/"]


def test_what_cannot_be_fetched_is_asked_last(status: StatusServer) -> None:
    """Windows' CAs put an LDAP directory before the web server."""
    asked = []

    def counting(url: str, **_: Any) -> bytes:
        asked.append(url)
        raise OSError("no")

    urls = ["ldap:///CN=ca?list", "https://lists.test/ca.crl", "HTTP://lists.test/ca.crl"]
    points = [pyca.DistributionPoint([pyca.UniformResourceIdentifier(url)], None, None, None) for url in urls]
    lists = (pyca.CRLDistributionPoints(points), False)
    for options in ({}, {"ocsp_url": "http://ocsp.test/"}):
        credential = status.ca.issue(NAME, extensions=[lists], **options)  # type: ignore[arg-type]
        ask(Revocation("soft", fetch=counting), status.ca, credential)
    assert asked == [urls[2], urls[0], "http://ocsp.test/", urls[2]]


def test_who_did_not_answer_is_left_alone_for_a_minute_in_soft_mode(status: StatusServer) -> None:
    asked = 0

    def silent(url: str, **_: Any) -> bytes:
        nonlocal asked
        asked += 1
        raise TimeoutError("no answer in time")

    credential, now = leaf_of(status, "ocsp"), datetime.now(UTC)
    soft, hard = Revocation("soft", fetch=silent), Revocation("hard", fetch=silent)
    for seconds, expected in ((0, 1), (59, 1), (61, 2), (62, 2)):
        why = ask(soft, status.ca, credential, at=now + timedelta(seconds=seconds)).why
        assert asked == expected
        assert "no answer in time" in why or "did not answer a moment ago" in why
    for tries in (1, 2):
        with pytest.raises(CertificateError, match="no answer in time"):
            ask(hard, status.ca, credential, at=now)
        assert asked == 2 + tries


def test_hard_mode_knows_no_silence_that_a_soft_one_has_noted(status: StatusServer) -> None:
    cache: AnswerCache[Any] = AnswerCache()

    def silent(url: str, **_: Any) -> bytes:
        raise TimeoutError("no answer in time")

    credential = leaf_of(status, "crl")
    soft = Revocation("soft", fetch=silent, cache=cache)
    assert outcome(soft, status.ca, credential) == "not checked"
    assert "a moment ago" in ask(soft, status.ca, credential).why
    assert outcome(Revocation("hard", cache=cache), status.ca, credential) == "crl"


def test_who_was_never_asked_is_not_left_alone(status: StatusServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow responder uses up all the time: the list behind it is asked in the next handshake."""
    asked, clock = [], [0.0]
    monkeypatch.setattr("handclasp.fetching.time.monotonic", lambda: clock[0])

    def slow(url: str, *, timeout: float, **how: Any) -> bytes:
        asked.append(url)
        if url == status.ocsp_url:
            clock[0] += timeout
            raise TimeoutError("no answer in time")
        return status.ca.crl()

    policy, credential = Revocation("soft", fetch=slow), leaf_of(status, "ocsp", "crl")
    assert "no time was left" in ask(policy, status.ca, credential).why
    assert asked == [status.ocsp_url]
    assert outcome(policy, status.ca, credential) == "crl"
    assert asked == [status.ocsp_url, status.crl_url]


def test_an_answer_that_does_not_count_is_no_silence(status: StatusServer) -> None:
    policy, credential = Revocation("soft"), leaf_of(status, "ocsp")
    for fault in (Fault.STALE, Fault.WRONG_SIGNER, Fault.UNKNOWN, None):
        status.fault = fault
        assert outcome(policy, status.ca, credential) == ("not checked" if fault else "ocsp")


def test_a_certificate_trusted_itself(status: StatusServer) -> None:
    credential = leaf_of(status, "ocsp")
    presented = PresentedChain(credential.chain, Role.SERVER, peer_name(NAME), datetime.now(UTC))
    alone = VerifiedPeer(credential.chain, "pinned")
    assert Revocation("soft").check(presented, alone).evidence is Evidence.NONE  # type: ignore[union-attr]
    with pytest.raises(CertificateError, match="does not say who issued it"):
        Revocation("hard").check(presented, alone)
    root = status.ca.certificate
    itself = replace(presented, chain=(root,))
    assert Revocation("hard").check(itself, VerifiedPeer((root,), "")).evidence is Evidence.NONE  # type: ignore[union-attr]


def test_the_policy_is_a_value() -> None:
    assert Revocation() == Revocation("staple")
    assert hash(Revocation("hard", crls=["a"])) == hash(Revocation("hard", crls=["a"]))
    prints = [Revocation(mode).fingerprint for mode in MODES] + [Revocation(crls=["a"]).fingerprint]
    assert len(set(prints)) == 5
    wrong: list[dict[str, Any]] = [
        {"mode": "harder"},
        {"mode": "off", "crls": ["a"]},
        {"timeout": 0},
        {"largest_crl": 0},
        {"crls": "a.crl"},
    ]
    for arguments in wrong:
        with pytest.raises(ConfigError):
            Revocation(**arguments)
