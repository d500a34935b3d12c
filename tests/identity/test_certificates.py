"""Certificates as values."""

from __future__ import annotations

import copy
import hashlib
import pickle
import subprocess
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cryptography.x509 as pyca
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.x509.oid import AuthorityInformationAccessOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handclasp import rules
from handclasp.crypto.keys import encode_public
from handclasp.crypto.signatures import KeyKind
from handclasp.errors import ConfigError
from handclasp.identity.certificates import Certificate, certificates_from, parse_chain
from handclasp.identity.pem import encode
from handclasp.lab.ca import CertificateAuthority
from handclasp.limits import MAX_ERROR_TEXT, Limits
from handclasp.rules import PeerFault

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority("values CA", at=AT)


@pytest.fixture(scope="module")
def leaf(ca: CertificateAuthority) -> Certificate:
    return ca.issue(
        "example.test", "*.example.test", "192.0.2.7", "2001:db8::1", issuer_url="http://ca.test/ca.crt"
    ).leaf


def built(
    *extensions: tuple[pyca.ExtensionType, bool], subject: str = "built", serial: int = 7, key: object = None
) -> Certificate:
    """A self-signed certificate with anything in it."""
    signer = ec.generate_private_key(ec.SECP256R1())
    name = pyca.Name([pyca.NameAttribute(pyca.NameOID.COMMON_NAME, subject)])
    builder = pyca.CertificateBuilder(name, name, key or signer.public_key(), serial, AT, AT)  # type: ignore[arg-type]
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return Certificate.from_der(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER))


def with_serial(serial: int) -> bytes:
    """A certificate with a serial number of one byte; the signature is wrong, which nobody here looks at."""
    return built(serial=1).der.replace(bytes.fromhex("a003020102020101"), bytes.fromhex(f"a0030201020201{serial:02x}"))


def test_everything_a_leaf_says(ca: CertificateAuthority, leaf: Certificate) -> None:
    assert leaf.subject == "CN=example.test"
    assert leaf.issuer == "CN=values CA" == ca.certificate.subject
    assert leaf.issuer_der == ca.certificate.subject_der
    assert leaf.names == ("example.test", "*.example.test", "192.0.2.7", "2001:db8::1")
    assert leaf.not_before == AT - timedelta(hours=1)
    assert leaf.not_after == leaf.not_before + timedelta(days=30)
    assert leaf.not_after.tzinfo is UTC
    assert (leaf.key_kind, leaf.key_bits, leaf.key_description) == (KeyKind.P256, 256, "EC P-256")
    assert leaf.sha256 == hashlib.sha256(leaf.der).hexdigest()
    assert leaf.signature_hash == "sha256"
    assert leaf.purposes == ("1.3.6.1.5.5.7.3.1",)
    assert leaf.issuer_urls == ("http://ca.test/ca.crt",)
    assert leaf.allows_signing
    assert not leaf.allows_issuing
    assert not leaf.is_ca
    assert not leaf.is_self_issued
    assert leaf.critical == {"2.5.29.19", "2.5.29.15"}
    assert leaf.serial > 0
    assert leaf.was_signed_by(ca.certificate)
    assert not ca.certificate.was_signed_by(leaf)
    assert ca.certificate.is_self_signed
    assert ca.certificate.is_ca
    assert ca.certificate.allows_issuing
    assert not ca.certificate.allows_signing
    assert ca.certificate.path_length is None
    assert ca.intermediate("below", path_length=3).certificate.path_length == 3


@pytest.mark.parametrize("kind", KeyKind, ids=lambda kind: kind.value)
def test_keys_in_words(kind: KeyKind, ca: CertificateAuthority) -> None:
    certificate = ca.issue("k.test", key_kind=kind).leaf
    bits = " 2048" if kind in (KeyKind.RSA, KeyKind.RSA_PSS) else ""
    assert certificate.key_kind is kind
    assert certificate.key_description == kind.value + bits
    assert certificate.key_bits > 0
    assert certificate.public_key is not None
    assert certificate.schemes


def test_values_are_equal_by_their_bytes(leaf: Certificate) -> None:
    again = Certificate.from_der(leaf.der)
    assert again == leaf
    assert hash(again) == hash(leaf)
    assert leaf != leaf.der
    for same in (copy.copy(leaf), copy.deepcopy(leaf), pickle.loads(pickle.dumps(leaf))):
        assert same == leaf
    assert repr(leaf) == f"<Certificate 'CN=example.test' EC P-256 {leaf.sha256[:16]}>"


def test_pem_and_back(ca: CertificateAuthority, leaf: Certificate) -> None:
    text = b"# comment\n" + leaf.pem() + b"\n" + ca.pem() + encode("PRIVATE KEY", b"other things are skipped")
    assert certificates_from(text) == (leaf, ca.certificate)
    assert certificates_from(leaf.der) == (leaf,)
    assert pyca.load_pem_x509_certificate(leaf.pem()) == leaf.x509


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"rubbish",
        b"-----BEGIN CERTIFICATE-----\n",
        encode("CERTIFICATE", b""),
        encode("CERTIFICATE", b"rubbish"),
        encode("PRIVATE KEY", b"rubbish"),
        b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ],
)
def test_files_without_a_certificate(data: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        certificates_from(data)
    assert len(str(caught.value)) < 300


# --- what attackers and accidents write ------------------------------------------------------------------------------


@pytest.mark.attack(63, "attacker's text in errors")
def test_text_is_bounded_and_on_one_line() -> None:
    certificate = built(
        (pyca.SubjectAlternativeName([pyca.DNSName("a\n\x1b[31mb.test")]), False), subject="x\n\x00" * 20
    )
    assert len(certificate.subject) <= MAX_ERROR_TEXT
    assert certificate.subject.isprintable()
    assert certificate.names == ("a\\x0a\\x1b[31mb.test",)
    assert repr(certificate).isprintable()


def test_a_leaf_may_have_a_key_nobody_can_use() -> None:
    for key in (x25519.X25519PrivateKey.generate().public_key(), ec.generate_private_key(ec.SECP256K1()).public_key()):
        certificate = built(key=key)
        assert certificate.key_kind is None
        assert certificate.public_key is None
        assert certificate.schemes == ()
        assert certificate.key_description in ("EC secp256k1", "key of algorithm 1.3.101.110")


def test_a_key_that_cannot_be_read() -> None:
    good = built()
    assert good.public_key is not None
    spki = encode_public(good.public_key)
    broken = good.der.replace(spki, spki[:-64] + bytes(64))
    certificate = Certificate.from_der(broken)
    assert certificate.key_kind is None
    assert certificate.key_description == "key of algorithm 1.2.840.10045.2.1"


def test_serial_numbers() -> None:
    assert Certificate.from_der(with_serial(1)).serial == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Certificate.from_der(with_serial(0)).serial == 0
        with pytest.raises(ValueError, match="serial number"):
            Certificate.from_der(with_serial(0xFF))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="negative"):
            Certificate.from_der(with_serial(0xFF))


def test_at_most_four_issuer_urls() -> None:
    method = AuthorityInformationAccessOID.CA_ISSUERS
    places = [pyca.AccessDescription(method, pyca.UniformResourceIdentifier(f"http://{i}.test/")) for i in range(9)]
    places.insert(0, pyca.AccessDescription(method, pyca.DNSName("no-url.test")))
    certificate = built((pyca.AuthorityInformationAccess(places), False))
    assert len(certificate.issuer_urls) == 4
    assert certificate.issuer_urls[0] == "http://0.test/"


@pytest.mark.limit("MAX_URL")
def test_urls_stand_as_they_are_or_not_at_all() -> None:
    """One that was cut or escaped would lead elsewhere."""
    method, point = AuthorityInformationAccessOID.OCSP, "http://crl.test/"
    good = [point + "a" * (size - len(point)) for size in (201, 2048)]
    urls = [point + "a" * (2049 - len(point)), "http://a.test/\n", "http://a.test/\x7f", *good]
    places = [pyca.UniformResourceIdentifier(url) for url in urls]
    points = pyca.CRLDistributionPoints([pyca.DistributionPoint(places, None, None, None)])
    access = pyca.AuthorityInformationAccess([pyca.AccessDescription(method, place) for place in places])
    certificate = built((access, False), (points, False))
    assert certificate.ocsp_urls == certificate.crl_urls == tuple(good)
    assert certificate.crl_points == set(urls)
    assert built().crl_points == frozenset()


def test_trailing_bytes_are_no_certificate(leaf: Certificate) -> None:
    for der in (leaf.der + b"\0", leaf.der[:-1], b"", leaf.pem()):
        with pytest.raises(ValueError, match=r"."):
            Certificate.from_der(der)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_der_is_a_certificate_or_a_value_error(leaf: Certificate, data: st.DataObject) -> None:
    der = bytearray(leaf.der)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 3))
    read = outcome(bytes(der[: len(der) - cut]))
    if isinstance(read, ValueError):
        assert read.__context__ is None
        assert len(str(read)) <= 120
        assert str(read).isprintable()
    else:
        assert repr(read).isprintable()
        read.was_signed_by(read)


def test_every_byte_flipped(leaf: Certificate) -> None:
    for index in range(len(leaf.der)):
        for bit in (0x01, 0x20, 0x80):
            der = bytearray(leaf.der)
            der[index] ^= bit
            assert outcome(bytes(der)) != leaf


def outcome(der: bytes) -> Certificate | ValueError:
    """What reading gives; any exception but ValueError itself escapes."""
    try:
        return Certificate.from_der(der)
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        return error


# --- chains ----------------------------------------------------------------------------------------------------------


def test_a_chain_is_counted_and_measured_first(leaf: Certificate) -> None:
    limits = Limits(chain_length=3, certificate=len(leaf.der), certificate_message=2 * len(leaf.der))
    assert parse_chain([leaf.der] * 2, limits) == (leaf, leaf)
    assert parse_chain([], limits) == ()
    for ders in ([b"rubbish"] * 4, [b"x" * (len(leaf.der) + 1)], [b"x" * len(leaf.der)] * 3):
        with pytest.raises(PeerFault) as caught:
            parse_chain(ders, limits)
        assert caught.value.rule is rules.CHAIN_TOO_LONG


def test_a_chain_names_the_certificate_it_cannot_read(leaf: Certificate) -> None:
    with pytest.raises(PeerFault) as caught:
        parse_chain([leaf.der, b"rubbish"], Limits())
    assert caught.value.rule is rules.CERTIFICATE_MALFORMED
    assert caught.value.detail.startswith("certificate 1: ")


# --- tls-server-end-point --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"),
    [(KeyKind.P256, "sha256"), (KeyKind.P384, "sha384"), (KeyKind.P521, "sha512"), (KeyKind.RSA, "sha256")],
)
def test_end_point_hash(kind: KeyKind, name: str) -> None:
    certificate = CertificateAuthority(key_kind=kind).issue("e.test").leaf
    assert certificate.end_point_hash() == hashlib.new(name, certificate.der).digest()


def test_end_point_hash_of_old_signatures(tmp_path: Path) -> None:
    key, out = tmp_path / "key", tmp_path / "out"
    for digest in ("md5", "sha1"):
        openssl(f"req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {out} -subj /CN=old -{digest}")
        certificate = certificates_from(out.read_bytes())[0]
        assert certificate.signature_hash == digest
        assert certificate.end_point_hash() == hashlib.sha256(certificate.der).digest()


@pytest.mark.parametrize("kind", [KeyKind.ED25519, KeyKind.ED448, KeyKind.MLDSA44])
def test_end_point_hash_is_undefined_without_a_single_hash(kind: KeyKind) -> None:
    certificate = CertificateAuthority(key_kind=kind).issue("e.test").leaf
    with pytest.raises(ValueError, match="undefined"):
        certificate.end_point_hash()


def test_an_unknown_signature_algorithm_has_no_hash() -> None:
    good = built()
    ecdsa_sha256 = bytes.fromhex("06082a8648ce3d040302")
    certificate = Certificate.from_der(good.der.replace(ecdsa_sha256, bytes.fromhex("06082a8648ce3d04037f")))
    assert certificate.signature_hash is None


# --- id-RSASSA-PSS ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "restriction", ["", "-pkeyopt rsa_pss_keygen_md:sha256 -pkeyopt rsa_pss_keygen_mgf1_md:sha256"]
)
def test_a_pss_key_is_told_from_a_common_one(restriction: str, tmp_path: Path) -> None:
    key, out = tmp_path / "key", tmp_path / "out"
    openssl(f"genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 {restriction} -out {key}")
    openssl(f"req -x509 -new -key {key} -subj /CN=pss -out {out}")
    certificate = certificates_from(out.read_bytes())[0]
    assert certificate.key_kind is KeyKind.RSA_PSS
    assert isinstance(certificate.public_key, rsa.RSAPublicKey)
    names = [scheme.label for scheme in certificate.schemes]
    assert names == ["rsa_pss_pss_sha256", "rsa_pss_pss_sha384", "rsa_pss_pss_sha512"]


def openssl(command: str) -> None:
    done = subprocess.run(["openssl", *command.split()], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
