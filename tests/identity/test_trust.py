"""Verdicts of the trust store: what it accepts, what it refuses, and how it says so."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cryptography.x509 as pyca
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding

from handclasp import rules
from handclasp.alerts import Alert
from handclasp.crypto.keys import certificate_hash
from handclasp.crypto.signatures import KeyKind
from handclasp.errors import CertificateError, ConfigError
from handclasp.identity.certificates import Certificate
from handclasp.identity.names import peer_name
from handclasp.identity.trust import PresentedChain, Role, TrustStore, VerifiedPeer, check_leaf
from handclasp.lab.ca import CertificateAuthority, self_signed
from handclasp.limits import Limits
from handclasp.rules import PeerFault

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
URL = "http://ca.test/ca.crt"


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority("trusted root", at=AT)


@pytest.fixture(scope="module")
def middle(ca: CertificateAuthority) -> CertificateAuthority:
    return ca.intermediate("middle")


def verify(
    ca: CertificateAuthority | TrustStore,
    chain: Sequence[Certificate],
    name: str | None = "a.test",
    *,
    role: Role = Role.SERVER,
    at: datetime = AT,
    limits: Limits | None = None,
) -> VerifiedPeer:
    store = ca if isinstance(ca, TrustStore) else ca.trust
    asked = peer_name(name) if name else None
    return store.verify(PresentedChain(tuple(chain), role, asked, at, limits or Limits()))


def refused(
    ca: CertificateAuthority | TrustStore,
    chain: Sequence[Certificate],
    name: str | None = "a.test",
    *,
    role: Role = Role.SERVER,
    at: datetime = AT,
    limits: Limits | None = None,
) -> CertificateError:
    with pytest.raises(CertificateError) as caught:
        verify(ca, chain, name, role=role, at=at, limits=limits)
    error = caught.value
    assert len(str(error)) <= 300
    assert str(error).isprintable()
    assert error.remedy
    assert error.remedy.isprintable()
    assert error.peer_chain == tuple(chain)
    assert all(text.isprintable() and len(text) <= 200 for text in error.facts.values())
    return error


# --- yes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.test", "A.test.", "x.wild.test", "192.0.2.7", "[2001:db8::1]", "my_host.wild.test"]
)
def test_a_good_chain(ca: CertificateAuthority, middle: CertificateAuthority, name: str) -> None:
    chain = middle.issue("a.test", "*.wild.test", "192.0.2.7", "2001:db8::1").chain
    verified = verify(ca, chain, name)
    assert verified.chain == (*chain, ca.certificate)
    assert verified.why == "3 certificates up to CN=trusted root, from one given root"


def test_order_duplicates_and_strangers_do_not_matter(ca: CertificateAuthority) -> None:
    stranger = CertificateAuthority("stranger", at=AT)
    lower = ca.intermediate("upper", path_length=1).intermediate("lower")
    leaf, below, above = lower.issue("a.test").chain
    sent = [leaf, stranger.certificate, above, above, ca.certificate, leaf, below, stranger.issue("b.test").leaf]
    assert verify(ca, sent).chain == (leaf, below, above, ca.certificate)


def test_a_valid_path_beside_an_expired_one(ca: CertificateAuthority) -> None:
    old = ca.intermediate("renewed", not_before=AT - timedelta(days=20), days=10)
    new = ca.intermediate("renewed")
    leaf = new.issue("a.test").leaf
    assert verify(ca, [leaf, old.certificate, new.certificate]).chain[1] == new.certificate


@pytest.mark.parametrize("kind", KeyKind, ids=lambda kind: kind.value)
def test_every_kind_of_leaf(ca: CertificateAuthority, kind: KeyKind) -> None:
    assert verify(ca, ca.issue("a.test", key_kind=kind).chain).chain[-1] == ca.certificate


def test_clients(ca: CertificateAuthority, middle: CertificateAuthority) -> None:
    for credential in (
        middle.issue("someone.test", usage="client"),
        middle.issue(common_name="someone", usage="client"),
        middle.issue(common_name="someone", usage="any"),
        ca.issue(common_name="someone", usage="both"),
    ):
        assert verify(ca, credential.chain, None, role=Role.CLIENT).chain[-1] == ca.certificate


def test_a_self_signed_certificate_that_is_itself_trusted() -> None:
    leaf = self_signed("a.test", "192.0.2.7", usage="any", at=AT).leaf
    store = TrustStore.from_certificates([leaf])
    assert verify(store, [leaf]).chain == (leaf,)
    assert verify(store, [leaf]).why == "trusted itself, from one given root"
    assert verify(store, [leaf], "192.0.2.7").chain == (leaf,)
    assert verify(store, [leaf], None, role=Role.CLIENT).chain == (leaf,)
    assert refused(store, [leaf], "b.test").code == "name-mismatch"
    assert refused(store, [leaf], at=AT + timedelta(days=60)).code == "expired"
    assert refused(store, [leaf], at=AT - timedelta(days=60)).code == "not-yet-valid"
    # Another certificate of the same name is not the trusted one.
    assert refused(store, [self_signed("a.test", at=AT).leaf]).code == "self-signed"


def test_the_last_second_is_whole(ca: CertificateAuthority) -> None:
    """Dates have no smaller part, and RFC 5280 §4.1.2.5 includes both of them."""
    alone, issued = self_signed("a.test", usage="any", at=AT).leaf, ca.issue("a.test").leaf
    for store, leaf in ((TrustStore.from_certificates([alone]), alone), (ca.trust, issued)):
        last = leaf.not_after + timedelta(microseconds=999_999)
        assert verify(store, [leaf], at=last).chain[0] == leaf
        assert "also" not in refused(store, [leaf], "b.test", at=last).facts
        assert refused(store, [leaf], at=leaf.not_after + timedelta(seconds=1)).code == "expired"


def test_a_trusted_self_signed_certificate_keeps_its_limits() -> None:
    unread = pyca.UnrecognizedExtension(pyca.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    odd = self_signed("a.test", at=AT, extensions=[(unread, True)]).leaf
    assert refused(TrustStore.from_certificates([odd]), [odd]).code == "untrusted"
    for_servers = self_signed("a.test", at=AT).leaf
    store = TrustStore.from_certificates([for_servers])
    assert verify(store, [for_servers]).chain == (for_servers,)
    assert refused(store, [for_servers], None, role=Role.CLIENT).code == "wrong-purpose"
    silent = self_signed("a.test", at=AT, key_usage=("key_encipherment",)).leaf
    assert refused(TrustStore.from_certificates([silent]), [silent]).code == "certificate-key-usage"
    weak = self_signed("a.test", at=AT, key_kind=KeyKind.RSA, rsa_bits=1024).leaf
    assert refused(TrustStore.from_certificates([weak]), [weak]).code == "weak-key"


# --- no, and why -----------------------------------------------------------------------------------------------------


@pytest.mark.attack(69, "names in certificates")
def test_name_mismatch(ca: CertificateAuthority) -> None:
    chain = ca.issue("shop.example.test", "*.example.test", "a.test", "b.test", "c.test").chain
    error = refused(ca, chain, "shop.exmaple.test")
    assert (error.code, error.alert, error.certificate_index) == ("name-mismatch", Alert.BAD_CERTIFICATE, 0)
    assert error.facts == {
        "asked": "shop.exmaple.test",
        "valid_for": "shop.example.test, *.example.test, a.test and 2 more",
        "closest": "shop.example.test",
        "certificate": "0 of 1, CN=shop.example.test",
    }
    assert (error.certificate, error.verified_chain) == (chain[0], (*chain, ca.certificate))
    assert error.section == "RFC 9525 §6.3"
    assert "covers one label only" in str(refused(ca, chain, "a.b.example.test"))
    assert "does not cover example.test itself" in str(refused(ca, chain, "example.test"))
    assert "an IP address was asked for" in str(refused(ca, chain, "192.0.2.7"))
    assert "closest" not in refused(ca, chain, "unlike.invalid").facts
    addressed = ca.issue("192.0.2.8").chain
    assert "IP address was" not in str(refused(ca, addressed, "192.0.2.7"))
    assert refused(ca, addressed, "my_host.example.test").code == "name-mismatch"


@pytest.mark.attack(69, "names in certificates")
def test_an_address_is_never_a_dns_name(ca: CertificateAuthority) -> None:
    san = pyca.SubjectAlternativeName([pyca.DNSName("192.0.2.7")])
    chain = ca.issue(common_name="192.0.2.7", extensions=[(san, False)]).chain
    assert refused(ca, chain, "192.0.2.7").code in ("name-mismatch", "untrusted")


def test_no_san(ca: CertificateAuthority) -> None:
    error = refused(ca, ca.issue("a.test", san=False).chain)
    assert (error.code, error.alert) == ("no-san", Alert.BAD_CERTIFICATE)
    assert "'a.test'" in str(error)


@pytest.mark.parametrize(
    ("later", "words"),
    [
        (timedelta(days=32), "2 days ago"),
        (timedelta(days=31), "1 day ago"),
        (timedelta(days=30, minutes=-30), "30 minutes ago"),
        (timedelta(days=30, hours=-1, seconds=1), "less than a minute ago"),
    ],
)
def test_expired(ca: CertificateAuthority, later: timedelta, words: str) -> None:
    error = refused(ca, ca.issue("a.test").chain, at=AT + later)
    assert (error.code, error.alert, error.certificate_index) == ("expired", Alert.CERTIFICATE_EXPIRED, 0)
    assert words in str(error)
    assert error.facts["not_after"] == "2026-12-20 11:00:00+00:00"


def test_expired_in_the_chain(ca: CertificateAuthority) -> None:
    short = ca.intermediate("short", days=3)
    error = refused(ca, short.issue("a.test").chain, at=AT + timedelta(days=5))
    assert (error.code, error.alert, error.certificate_index) == ("expired-in-chain", Alert.CERTIFICATE_EXPIRED, 1)
    assert "'short'" in str(error)
    assert "the server's own is fine" in str(error)


def test_not_yet_valid(ca: CertificateAuthority) -> None:
    error = refused(ca, ca.issue("a.test", not_before=AT + timedelta(days=5)).chain)
    assert (error.code, error.alert) == ("not-yet-valid", Alert.CERTIFICATE_EXPIRED)
    assert "starts in 5 days" in str(error)
    assert "our clock says 2026-11-20 12:00" in str(error)


def test_missing_intermediate(ca: CertificateAuthority, middle: CertificateAuthority) -> None:
    error = refused(ca, middle.issue("a.test", issuer_url=URL, send_chain=False).chain)
    assert (error.code, error.alert) == ("missing-intermediate", Alert.UNKNOWN_CA)
    assert error.facts["issuer_url"] == URL
    assert error.facts["looked_in"] == "one given root"
    assert URL in error.remedy


def test_unknown_ca(ca: CertificateAuthority) -> None:
    other = CertificateAuthority("other root", at=AT)
    below = other.intermediate("other middle")
    leaf = below.issue("a.test")
    for chain in ([leaf.leaf], leaf.chain, [*leaf.chain, other.certificate]):
        error = refused(ca, chain)
        assert (error.code, error.alert) == ("unknown-ca", Alert.UNKNOWN_CA)
    error = refused(ca, [*leaf.chain, other.certificate])
    assert error.facts["sha256"] == other.certificate.sha256
    assert error.certificate_index == 2


def test_a_ca_with_a_trusted_name(ca: CertificateAuthority, middle: CertificateAuthority) -> None:
    forger = CertificateAuthority("trusted root", at=AT)
    error = refused(ca, forger.issue("a.test").chain)
    assert error.code == "unknown-ca"
    assert "that CA's key did not sign it" in str(error)
    error = refused(ca, [forger.issue("a.test").leaf, forger.certificate])
    assert error.code == "unknown-ca"
    twin = ca.intermediate("middle")
    error = refused(ca, [middle.issue("a.test").leaf, twin.certificate])
    assert error.code == "unknown-ca"
    assert "did not sign 'a.test'" in str(error)


def test_self_signed(ca: CertificateAuthority) -> None:
    leaf = self_signed("a.test", at=AT).leaf
    error = refused(ca, [leaf])
    assert (error.code, error.alert, error.certificate_index) == ("self-signed", Alert.UNKNOWN_CA, 0)
    assert error.facts["sha256"] == leaf.sha256
    error = refused(ca, [self_signed("b.test", common_name="", at=AT).leaf])
    assert error.code == "self-signed"
    assert error.facts["also"] == "name-mismatch"


@pytest.mark.attack(70, "CA flags and purposes")
def test_wrong_purpose(ca: CertificateAuthority) -> None:
    error = refused(ca, ca.issue("a.test", usage="client").chain)
    assert (error.code, error.alert) == ("wrong-purpose", Alert.UNSUPPORTED_CERTIFICATE)
    assert error.facts["purposes"] == "clientAuth"
    error = refused(ca, ca.issue("a.test").chain, None, role=Role.CLIENT)
    assert (error.code, error.facts["purposes"]) == ("wrong-purpose", "serverAuth")
    assert refused(ca, ca.issue("a.test", eku=("1.2.3.4",)).chain).facts["purposes"] == "1.2.3.4"
    assert refused(ca, ca.issue("my_host.test", usage="client").chain, "my_host.test").code == "wrong-purpose"
    assert refused(ca, ca.issue("a.test", ca=True).chain).code == "wrong-purpose"
    signs_nothing = ca.issue("a.test", key_usage=("key_agreement",)).chain
    assert refused(ca, signs_nothing).code == "certificate-key-usage"
    assert refused(ca, signs_nothing, "b.test").facts["also"] == "wrong-purpose"
    plain = ca.issue("a.test", key_usage=("key_cert_sign",), ca=True)
    assert refused(ca, plain.chain).code == "wrong-purpose"


@pytest.mark.attack(70, "CA flags and purposes")
def test_a_client_ca_does_not_vouch_for_servers(ca: CertificateAuthority) -> None:
    below = ca.intermediate("clients only", purposes=("1.3.6.1.5.5.7.3.2",))
    for name in ("a.test", "my_host.test"):
        chain = below.issue(name, usage="both").chain
        error = refused(ca, chain, name)
        assert (error.code, error.certificate_index) == ("wrong-purpose", 1)
        assert verify(ca, chain, None, role=Role.CLIENT).chain[1] == below.certificate


@pytest.mark.attack(70, "CA flags and purposes")
def test_not_a_ca(ca: CertificateAuthority) -> None:
    error = refused(ca, ca.intermediate("leaf.test", ca=False).issue("a.test").chain)
    assert (error.code, error.certificate_index) == ("not-a-ca", 1)
    assert "'leaf.test'" in str(error)
    too_deep = ca.intermediate("shallow", path_length=0).intermediate("deep").issue("a.test")
    error = refused(ca, too_deep.chain)
    assert (error.code, error.certificate_index) == ("not-a-ca", 2)
    assert "may have 0 CAs below it, and has 1" in str(error)


def test_weak_keys(ca: CertificateAuthority) -> None:
    error = refused(ca, ca.issue("a.test", key_kind=KeyKind.RSA, rsa_bits=1024).chain)
    assert (error.code, error.alert, error.facts["key"]) == ("weak-key", Alert.BAD_CERTIFICATE, "RSA 1024")
    below = ca.intermediate("weak CA", key_kind=KeyKind.RSA, rsa_bits=1024)
    error = refused(ca, below.issue("a.test").chain)
    assert (error.code, error.certificate_index) == ("weak-key", 1)
    large = ca.intermediate("large CA", key_kind=KeyKind.RSA, rsa_bits=3072)
    error = refused(ca, large.issue("a.test").chain, limits=Limits(rsa_bits=2048))
    assert (error.code, error.certificate_index) == ("weak-key", 1)
    assert "not accepted" in str(error)


def test_issuers_with_keys_the_web_does_not_use() -> None:
    ca = CertificateAuthority("curved", key_kind=KeyKind.ED25519, at=AT)
    error = refused(ca, ca.issue("a.test").chain)
    assert (error.code, error.facts["key"]) == ("untrusted", "Ed25519")


def test_old_signatures(ca: CertificateAuthority, tmp_path: Path) -> None:
    root, key, out = tmp_path / "root.pem", tmp_path / "key", tmp_path / "out.pem"
    openssl(f"req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {root} -subj /CN=old")
    openssl(f"req -newkey rsa:2048 -nodes -keyout {key}2 -out {key}3 -subj /CN=a.test")
    (tmp_path / "ext").write_text("subjectAltName=DNS:a.test\nauthorityKeyIdentifier=keyid\n")
    extensions = f"-extfile {tmp_path / 'ext'} -CAcreateserial"
    openssl(f"x509 -req -sha1 -in {key}3 -CA {root} -CAkey {key} {extensions} -out {out}")
    store = TrustStore.from_file(root)
    leaf = Certificate.from_der(pyca.load_pem_x509_certificate(out.read_bytes()).public_bytes(_DER))
    error = refused(store, [leaf], at=datetime.now(UTC) + timedelta(seconds=5))
    assert error.code == "weak-signature"
    assert "SHA1" in str(error)


@pytest.mark.attack(71, "name-constraint bypass")
def test_name_constraints(ca: CertificateAuthority) -> None:
    corp = ca.intermediate("Corp Lab CA", permitted=["lab.corp", "192.0.2.0/24"])
    assert verify(ca, corp.issue("a.lab.corp", "192.0.2.7").chain, "a.lab.corp")
    error = refused(ca, corp.issue("shop.test").chain, "shop.test")
    assert (error.code, error.certificate_index) == ("name-constraint", 1)
    assert str(error) == "'Corp Lab CA' may only sign for lab.corp; this certificate is for shop.test"
    assert refused(ca, corp.issue("198.51.100.1").chain, "198.51.100.1").code == "name-constraint"
    excluding = ca.intermediate("not these", excluded=["secret.test", "198.51.100.0/24"])
    assert verify(ca, excluding.issue("a.test", "192.0.2.7").chain)
    assert refused(ca, excluding.issue("a.secret.test").chain, "a.secret.test").code == "name-constraint"
    assert refused(ca, excluding.issue("198.51.100.1").chain, "198.51.100.1").code == "name-constraint"
    # The nameless walk, which underscores take, keeps them too.
    assert refused(ca, corp.issue("my_host.test").chain, "my_host.test").code == "name-constraint"
    assert verify(ca, corp.issue("*.lab.corp").chain, "my_host.lab.corp")


def test_malformed(ca: CertificateAuthority, tmp_path: Path) -> None:
    root, key, out = tmp_path / "root.pem", tmp_path / "key", tmp_path / "out.pem"
    openssl(f"req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {root} -subj /CN=old")
    openssl(f"req -newkey rsa:2048 -nodes -keyout {key}2 -out {key}3 -subj /CN=a.test")
    openssl(f"x509 -req -in {key}3 -CA {root} -CAkey {key} -CAcreateserial -out {out}")
    leaf = Certificate.from_der(pyca.load_pem_x509_certificate(out.read_bytes()).public_bytes(_DER))
    at = datetime.now(UTC) + timedelta(seconds=5)
    error = refused(TrustStore.from_file(root), [leaf], None, role=Role.CLIENT, at=at)
    assert error.code == "malformed"
    assert "version 1" in str(error)


def test_what_only_the_library_knows(ca: CertificateAuthority) -> None:
    unread = pyca.UnrecognizedExtension(pyca.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    error = refused(ca, ca.issue("a.test", extensions=[(unread, True)]).chain)
    assert (error.code, error.alert) == ("untrusted", Alert.CERTIFICATE_UNKNOWN)
    assert "1.2.3.4" in str(error)
    assert "validation failed" not in str(error)


def test_a_server_needs_a_name(ca: CertificateAuthority) -> None:
    assert refused(ca, ca.issue("a.test").chain, None).code == "untrusted"


# --- closed when anything is odd -------------------------------------------------------------------------------------


def test_any_exception_of_the_library_refuses(ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def store(self, store: object) -> Broken:
            raise TypeError

    monkeypatch.setattr("handclasp.identity.path.PolicyBuilder", Broken)
    error = refused(ca, ca.issue("a.test").chain)
    assert error.code == "untrusted"
    assert "TypeError" in str(error)


@pytest.mark.attack(69, "names in certificates")
def test_a_path_from_the_library_is_not_believed_blindly(
    ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = ca.issue("a.test").chain
    other = ca.issue("b.test").chain

    def walk(result: list[pyca.Certificate]) -> None:
        monkeypatch.setattr("handclasp.identity.path._walk", lambda *arguments: result)

    walk([chain[0].x509, ca.certificate.x509])
    assert verify(ca, chain)
    walk([chain[0].x509])
    assert refused(ca, chain).code == "untrusted"
    walk([])
    assert refused(ca, chain).code == "untrusted"
    walk([other[0].x509, ca.certificate.x509])
    assert refused(ca, [*chain, *other]).code == "untrusted"
    assert refused(ca, chain).code == "untrusted"
    walk([other[0].x509, ca.certificate.x509])
    assert refused(ca, other).code == "name-mismatch"


def test_presented_chains_are_whole(ca: CertificateAuthority) -> None:
    leaf = ca.issue("a.test").leaf
    with pytest.raises(ValueError, match="time zone"):
        PresentedChain((leaf,), Role.SERVER, peer_name("a.test"), datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="at least one"):
        PresentedChain((), Role.SERVER, peer_name("a.test"), AT)


def test_no_roots_is_a_configuration_error(ca: CertificateAuthority) -> None:
    with pytest.raises(ConfigError):
        verify(TrustStore.from_pem(b""), ca.issue("a.test").chain)


def test_stores_survive_pickling(ca: CertificateAuthority) -> None:
    again = pickle.loads(pickle.dumps(ca.trust))
    assert again == ca.trust
    assert verify(again, ca.issue("a.test").chain)


# --- every verifier's leaf -------------------------------------------------------------------------------------------


@pytest.mark.attack(6, "FREAK")
def test_check_leaf(ca: CertificateAuthority) -> None:
    limits = Limits()
    check_leaf(ca.issue("a.test").leaf, limits)
    check_leaf(ca.issue("a.test", key_usage=None).leaf, limits)
    check_leaf(ca.issue("a.test", key_kind=KeyKind.RSA, rsa_bits=1024).leaf, limits)  # a verifier's matter
    with pytest.raises(PeerFault) as caught:
        check_leaf(ca.issue("a.test", key_usage=("key_agreement",)).leaf, limits)
    assert caught.value.rule is rules.CERTIFICATE_KEY_USAGE
    for leaf, bounds in (
        (leaf_with(ca, x25519.X25519PrivateKey.generate().public_key()), limits),
        (leaf_with(ca, ec.generate_private_key(ec.SECP256K1()).public_key()), limits),
        (leaf_with(ca, rsa_key(bits=1000)), limits),
        (leaf_with(ca, rsa_key(bits=3072)), Limits(rsa_bits=2048)),
        (leaf_with(ca, rsa_key(bits=2048, exponent=(1 << 32) + 1)), limits),
    ):
        with pytest.raises(PeerFault) as caught:
            check_leaf(leaf, bounds)
        assert caught.value.rule is rules.CERTIFICATE_KEY_TYPE
        error = refused(ca, [leaf], limits=bounds)
        assert error.code in ("certificate-key-type", "weak-key")


def leaf_with(ca: CertificateAuthority, key: object) -> Certificate:
    """A good leaf but for its key."""
    good = ca.issue("a.test").leaf.x509
    builder = pyca.CertificateBuilder(good.issuer, good.subject, key, 7, AT, AT + timedelta(days=1))  # type: ignore[arg-type]
    for extension in good.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return Certificate.from_der(builder.sign(ca._key, certificate_hash(ca._key)).public_bytes(_DER))


def rsa_key(*, bits: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    """A public key of this size; its modulus is any odd number, since nobody verifies with it."""
    return rsa.RSAPublicNumbers(exponent, (1 << bits) - 159).public_key()


# --- OpenSSL's verdict -----------------------------------------------------------------------------------------------


def test_openssl_agrees(ca: CertificateAuthority, middle: CertificateAuthority, tmp_path: Path) -> None:
    stranger = CertificateAuthority("stranger", at=AT).issue("a.test")
    shallow = ca.intermediate("shallow").intermediate("deep").issue("a.test")
    corp = ca.intermediate("corp", permitted=["lab.corp"])
    root = tmp_path / "root.pem"
    root.write_bytes(ca.pem())
    for credential, expected in (
        (middle.issue("a.test"), True),
        (ca.issue("a.test"), True),
        (ca.issue("*.test", "a.test"), True),
        (stranger, False),
        (shallow, False),
        (corp.issue("a.test"), False),
        (middle.issue("a.test", send_chain=False), False),
        (ca.issue("b.test"), False),
        (ca.issue("a.test", usage="client"), False),
        (ca.issue("a.test", not_before=AT + timedelta(days=1)), False),
        (ca.issue("a.test", not_before=AT - timedelta(days=40)), False),
        (self_signed("a.test", at=AT), False),
    ):
        leaf, others = tmp_path / "leaf.pem", tmp_path / "others.pem"
        leaf.write_bytes(credential.leaf.pem())
        others.write_bytes(b"".join(certificate.pem() for certificate in credential.chain))
        options = f"-attime {int(AT.timestamp())} -purpose sslserver -verify_hostname a.test -no-CApath -no-CAstore"
        command = f"verify -CAfile {root} -untrusted {others} {options} {leaf}"
        theirs = subprocess.run(["openssl", *command.split()], capture_output=True, check=False).returncode == 0
        assert theirs is expected, credential
        try:
            verify(ca, credential.chain)
        except CertificateError:
            assert not expected
        else:
            assert expected


def openssl(command: str) -> None:
    done = subprocess.run(["openssl", *command.split()], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


_DER = Encoding.DER
