"""The web's own rules for roots: what a root of today must be like, and that those browsers trust may stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import cryptography.x509 as pyca
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from handclasp import PresentedChain, Role, TrustStore, Verifier, private, webpki
from handclasp.crypto.keys import certificate_hash, generate
from handclasp.crypto.signatures import KeyKind
from handclasp.errors import CertificateError, ConfigError
from handclasp.identity.certificates import Certificate
from handclasp.identity.names import peer_name
from handclasp.identity.profile import check_profile

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
NAME = pyca.Name([pyca.NameAttribute(NameOID.COMMON_NAME, "a root by hand")])
KEY = generate(KeyKind.P256)
OWN = pyca.SubjectKeyIdentifier.from_public_key(KEY.public_key())
BY_KEY = pyca.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(OWN)
BY_NAME = pyca.AuthorityKeyIdentifier(OWN.digest, [pyca.DirectoryName(NAME)], 7)

SIGNS = pyca.KeyUsage(False, False, False, False, False, True, True, False, False)


def signed(builder: pyca.CertificateBuilder) -> Certificate:
    der = builder.sign(KEY, certificate_hash(KEY)).public_bytes(Encoding.DER)
    return Certificate.from_der(der)


def root(made: int, *extensions: pyca.ExtensionType) -> Certificate:
    since = datetime(made, 6, 30, tzinfo=UTC)
    builder = pyca.CertificateBuilder(NAME, NAME, KEY.public_key(), 7, since, AT + timedelta(days=9))
    builder = builder.add_extension(pyca.BasicConstraints(True, None), True).add_extension(SIGNS, True)
    for extension in extensions:
        builder = builder.add_extension(extension, False)
    return signed(builder)


def leaf() -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    subject = pyca.Name([pyca.NameAttribute(NameOID.COMMON_NAME, "a.test")])
    builder = pyca.CertificateBuilder(NAME, subject, key, 8, AT - timedelta(days=1), AT + timedelta(days=9))
    builder = builder.add_extension(BY_KEY, False)
    builder = builder.add_extension(pyca.SubjectAlternativeName([pyca.DNSName("a.test")]), False)
    builder = builder.add_extension(pyca.ExtendedKeyUsage([pyca.oid.ExtendedKeyUsageOID.SERVER_AUTH]), False)
    return signed(builder)


LEAF = leaf()


def verdict(policy: Verifier) -> CertificateError | None:
    try:
        policy.verify(PresentedChain((LEAF,), Role.SERVER, peer_name("a.test"), AT))
    except CertificateError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("extensions", "section"),
    [
        ((OWN,), ""),
        ((OWN, BY_KEY), ""),
        ((), "RFC 5280 §4.2.1.2"),
        ((OWN, BY_NAME), "BR §7.1.2.1.3"),
    ],
    ids=["own key", "own key twice", "no key identifier", "issuer by name"],
)
def test_roots_of_before_the_rules_may_stay(extensions: tuple[pyca.ExtensionType, ...], section: str) -> None:
    for made, excused in ((2004, True), (2012, True), (2013, False), (2026, False), (1970, False)):
        anchor = root(made, *extensions)
        error = verdict(webpki(anchor))
        if excused or not section:
            assert error is None, made
            continue
        assert error is not None, made
        assert (error.code, error.section, error.certificate) == ("untrusted", section, anchor)
        assert error.facts["certificate"] == "not sent: one of the roots, CN=a root by hand"
        assert "handclasp.private" in error.remedy
        assert verdict(private(anchor)) is None


def test_the_roots_of_this_system_may_all_vouch() -> None:
    try:
        roots = TrustStore.system().certificates
    except ConfigError:
        pytest.skip("this system has no roots")
    presented = PresentedChain((LEAF,), Role.SERVER, peer_name("a.test"), AT)
    for anchor in roots:
        check_profile(presented, (LEAF, anchor))
