"""The throw-away certificate authority, judged by OpenSSL and by the library's own verifier."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cryptography
import cryptography.x509 as pyca
import pytest
from cryptography.x509.verification import PolicyBuilder, Store

from handclasp.crypto.keys import decode_private, generate
from handclasp.crypto.signatures import KeyKind
from handclasp.errors import ConfigError
from handclasp.identity.certificates import Certificate, certificates_from
from handclasp.identity.credentials import Credential
from handclasp.lab.ca import CertificateAuthority

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CA_KINDS = [KeyKind.RSA, KeyKind.P256, KeyKind.P384, KeyKind.P521]
if int(cryptography.__version__.partition(".")[0]) >= 50:
    CA_KINDS.append(KeyKind.MLDSA65)  # older path verifiers take no ML-DSA issuer


def accepted_by_the_library(root: Certificate, chain: tuple[Certificate, ...], name: str, at: datetime) -> None:
    verifier = PolicyBuilder().store(Store([root.x509])).time(at).build_server_verifier(pyca.DNSName(name))
    assert verifier.verify(chain[0].x509, [c.x509 for c in chain[1:]])[-1] == root.x509


@pytest.mark.parametrize("kind", CA_KINDS, ids=lambda kind: kind.value)
def test_chains_of_every_ca_kind_pass_the_rules_of_the_web(kind: KeyKind) -> None:
    ca = CertificateAuthority(key_kind=kind, at=AT)
    below = ca.intermediate("upper", path_length=1, key_kind=kind).intermediate("lower", key_kind=kind)
    for authority in (ca, below):
        accepted_by_the_library(ca.certificate, authority.issue("a.test").chain, "a.test", AT)
    assert below.root is ca.certificate
    assert len(below.issue("a.test").chain) == 3
    assert len(below.issue("a.test", send_chain=False).chain) == 1


@pytest.mark.parametrize("kind", KeyKind, ids=lambda kind: kind.value)
def test_leaves_of_every_kind_pass_the_rules_of_the_web(kind: KeyKind) -> None:
    ca = CertificateAuthority(at=AT)
    credential = ca.issue("a.test", key_kind=kind)
    accepted_by_the_library(ca.certificate, credential.chain, "a.test", AT)
    assert credential.leaf.key_kind is kind
    assert credential.leaf.was_signed_by(ca.certificate)


def test_an_rsa_pss_leaf_needs_another_kind_of_ca() -> None:
    with pytest.raises(ConfigError, match="RSA-PSS leaf"):
        CertificateAuthority(key_kind=KeyKind.RSA).issue("a.test", key_kind=KeyKind.RSA_PSS)
    for kind in (KeyKind.P384, KeyKind.ED25519, KeyKind.MLDSA44):
        ca = CertificateAuthority(key_kind=kind)
        for bits in (1024, 2048, 3072):
            leaf = ca.issue("a.test", key_kind=KeyKind.RSA_PSS, rsa_bits=bits).leaf
            assert (leaf.key_kind, leaf.key_bits) == (KeyKind.RSA_PSS, bits)
            assert leaf.was_signed_by(ca.certificate)


def test_pem_pairs_are_whole(tmp_path: Path) -> None:
    ca = CertificateAuthority().intermediate("below")
    pair = ca.issue_pem("a.test")
    assert "PRIVATE" not in repr(pair)
    credential = Credential.from_pem(pair.chain, pair.key)
    assert len(credential.chain) == 2
    assert decode_private(pair.key, None, pem=True) is not None
    assert certificates_from(ca.pem()) == (ca.root,)


def test_names_and_dates() -> None:
    ca = CertificateAuthority("dates CA", at=AT)
    leaf = ca.issue("A.test", "*.b.test", "::1", "192.0.2.7", days=2).leaf
    assert leaf.names == ("a.test", "*.b.test", "::1", "192.0.2.7")
    assert leaf.not_after - leaf.not_before == timedelta(days=2)
    assert ca.certificate.not_before == AT - timedelta(days=1)
    early = ca.issue("a.test", not_before=AT - timedelta(days=100)).leaf
    assert early.not_before == AT - timedelta(days=100)
    now = CertificateAuthority().issue("a.test").leaf
    assert now.not_before < datetime.now(UTC) < now.not_after
    assert ca.issue("a" * 63 + ".test").leaf.subject.startswith("CN=aaa")
    assert repr(ca) == "<CertificateAuthority 'CN=dates CA'>"
    with pytest.raises(ConfigError):
        ca.issue("not a name")


def test_what_a_leaf_can_lack_or_have() -> None:
    ca = CertificateAuthority()
    assert ca.issue("a.test", san=False).leaf.names == ()
    assert ca.issue(common_name="someone").leaf.subject == "CN=someone"
    nameless = ca.issue("a.test", common_name="").leaf
    assert nameless.subject == ""
    assert "2.5.29.17" in nameless.critical
    assert ca.issue("a.test", key_usage=None).leaf.allows_issuing
    assert not ca.issue("a.test", key_usage=("key_encipherment",)).leaf.allows_signing
    assert ca.issue("a.test", usage="any").leaf.purposes is None
    assert ca.issue("a.test", usage="both").leaf.purposes == ("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2")
    assert ca.issue("a.test", eku=("1.3.6.1.5.5.7.3.3",)).leaf.purposes == ("1.3.6.1.5.5.7.3.3",)
    assert ca.issue("a.test", eku=None).leaf.purposes is None
    assert ca.issue("a.test", ca=True).leaf.is_ca
    assert ca.issue("a.test", issuer_url="http://a.test/ca").leaf.issuer_urls == ("http://a.test/ca",)
    extension = pyca.UnrecognizedExtension(pyca.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert "1.2.3.4" in ca.issue("a.test", extensions=[(extension, True)]).leaf.critical
    key = generate(KeyKind.P256)
    assert ca.issue("a.test", key=key).leaf.public_key == key.public_key()
    assert ca.issue("a.test", key_kind=KeyKind.RSA, rsa_bits=1024).leaf.key_description == "RSA 1024"


def test_constraints() -> None:
    constraints = (
        CertificateAuthority().intermediate("nc", permitted=["a.test", "192.0.2.0/24"]).certificate.constraints
    )
    assert constraints is not None
    assert constraints.excluded_subtrees is None
    assert len(constraints.permitted_subtrees or ()) == 2
    excluding = CertificateAuthority().intermediate("nc", excluded=["a.test"]).certificate.constraints
    assert excluding is not None
    assert excluding.permitted_subtrees is None


# --- OpenSSL's verdict -----------------------------------------------------------------------------------------------


def openssl_verify(ca: CertificateAuthority, credential: Credential, folder: Path, *options: str) -> bool:
    root, others, leaf = folder / "root.pem", folder / "others.pem", folder / "leaf.pem"
    root.write_bytes(ca.pem())
    others.write_bytes(b"".join(certificate.pem() for certificate in credential.chain[1:]) or ca.pem())
    leaf.write_bytes(credential.leaf.pem())
    files = ["-CAfile", str(root), "-untrusted", str(others)]
    command = ["openssl", "verify", "-x509_strict", *files, *options, str(leaf)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("kind", [kind for kind in KeyKind if not kind.name.startswith("MLDSA")], ids=lambda k: k.value)
def test_openssl_accepts_a_chain(kind: KeyKind, tmp_path: Path) -> None:
    below = CertificateAuthority().intermediate("below")
    credential = below.issue("a.test", "192.0.2.7", key_kind=kind)
    for option in (("-verify_hostname", "a.test"), ("-verify_ip", "192.0.2.7")):
        assert openssl_verify(below, credential, tmp_path, "-purpose", "sslserver", *option)
    assert not openssl_verify(below, credential, tmp_path, "-verify_hostname", "b.test")
    assert not openssl_verify(below, credential, tmp_path, "-purpose", "sslclient")
