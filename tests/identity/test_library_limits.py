"""What the library's path verifier cannot do, or leaves to its caller, and what becomes of it here: five limits.

1. Issuers with Ed25519, Ed448 or brainpool keys are refused whatever it is told. 2. The leaf's key is not looked at.
3. To relax it drops extKeyUsage and keyCertSign with the rest. 4. Revocation, policies, issuers that are elsewhere and
some name constraints are not its matter. 5. It wants a DNS name of a narrow form, and does not say of whom it speaks.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import cryptography.x509 as pyca
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mlkem, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from handclasp import (
    PresentedChain,
    Revocation,
    Role,
    VerifiedPeer,
    Verifier,
    fetch_issuers,
    pin,
    private,
    tofu,
    webpki,
)
from handclasp.errors import CertificateError, ConfigError
from handclasp.identity.certificates import Certificate
from handclasp.identity.names import peer_name
from handclasp.identity.pins import pin_of
from handclasp.lab.ca import CertificateAuthority

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CA = CertificateAuthority("limits CA", at=AT)
Extension = tuple[pyca.ExtensionType, bool]

IS_CA: Extension = (pyca.BasicConstraints(True, None), True)
SAN: Extension = (pyca.SubjectAlternativeName([pyca.DNSName("a.test")]), False)


class Made:
    """A certificate by hand, with what is given and nothing else, and its key."""

    def __init__(self, name: str, by: Made | None, *extensions: Extension, key: object = None, public: object = None):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = pyca.Name([pyca.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, start = by or self, AT - timedelta(days=1)
        public = public or self.key.public_key()  # type: ignore[attr-defined]
        builder = pyca.CertificateBuilder(issuer.name, self.name, public, 7, start, AT + timedelta(days=9))  # type: ignore[arg-type]
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        edwards = isinstance(issuer.key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
        signed = builder.sign(issuer.key, None if edwards else hashes.SHA256())  # type: ignore[arg-type]
        self.certificate = Certificate.from_der(signed.public_bytes(Encoding.DER))


def verdict(policy: Verifier, *chain: Made | Certificate, name: str | None = "a.test") -> CertificateError | None:
    """The refusal, complete in what it says; None for a yes."""
    certificates = tuple(made.certificate if isinstance(made, Made) else made for made in chain)
    asked = peer_name(name) if name else None
    try:
        verified = policy.verify(PresentedChain(certificates, Role.SERVER, asked, AT))
    except CertificateError as error:
        refusal = error
    else:
        assert isinstance(verified, VerifiedPeer)
        assert verified.chain[0] == certificates[0]
        return None
    assert refusal.peer_chain == certificates
    assert refusal.section
    assert refusal.remedy
    return refusal


EDWARDS = (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)


@pytest.mark.parametrize("kind", EDWARDS)
def test_limit_1_issuers_with_edwards_keys(kind: type[ed25519.Ed25519PrivateKey] | type[ed448.Ed448PrivateKey]) -> None:
    root = Made("root", None, IS_CA, key=kind.generate())
    middle = Made("middle", root, IS_CA, key=kind.generate())
    leaf = Made("leaf", middle, SAN, key=kind.generate())
    assert verdict(private(root.certificate), leaf, middle) is None
    refusal = verdict(webpki(root.certificate), leaf, middle)
    assert refusal is not None
    assert (refusal.code, refusal.certificate) == ("untrusted", middle.certificate)
    assert "handclasp.private" in refusal.remedy
    forged = Made("middle", Made("root", None, IS_CA, key=kind.generate()), IS_CA)
    refusal = verdict(private(root.certificate), Made("leaf", forged, SAN), forged)
    assert refusal is not None
    assert refusal.code == "unknown-ca"


def test_limit_1_issuers_with_curves_of_nobody_s_choice() -> None:
    root = Made("root", None, IS_CA, key=ec.generate_private_key(ec.BrainpoolP256R1()))
    for policy in (private(root.certificate), webpki(root.certificate)):
        refusal = verdict(policy, Made("leaf", root, SAN))
        assert refusal is not None
        assert "brainpool" in f"{refusal} {refusal.facts}"


WEAK: dict[str, Any] = {
    "RSA 1024": rsa.generate_private_key(65537, 1024).public_key(),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()).public_key(),
    "ML-KEM": mlkem.MLKEM768PrivateKey.generate().public_key(),
}


@pytest.mark.parametrize("key", WEAK)
def test_limit_2_keys_of_leaves(key: str) -> None:
    good = CA.issue("a.test").leaf.x509
    builder = pyca.CertificateBuilder(good.issuer, good.subject, WEAK[key], 7, AT, AT + timedelta(days=1))
    for extension in good.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    leaf = Certificate.from_der(builder.sign(CA._key, hashes.SHA256()).public_bytes(Encoding.DER))
    for policy in (webpki(CA.certificate), private(CA.certificate), webpki(leaf), private(leaf)):
        refusal = verdict(policy, leaf)
        assert refusal is not None
        assert refusal.code in ("weak-key", "certificate-key-type")
        assert (refusal.certificate_index, refusal.facts["certificate"]) == (0, "0 of 1, CN=a.test")


def test_limit_3_what_private_cas_leave_out() -> None:
    """No key identifiers, nothing critical, no keyUsage, a leaf that is its own root: tolerated by `private` alone."""
    root = Made("root", None, (pyca.BasicConstraints(True, None), False))
    itself = Made("itself", None, SAN)
    assert verdict(private(root.certificate), Made("leaf", root, SAN)) is None
    assert verdict(private(itself.certificate), itself) is None
    critical = Made("leaf", root, (SAN[0], True))
    assert verdict(private(root.certificate), critical) is None
    refusal = verdict(webpki(root.certificate), critical)
    assert refusal is not None
    assert "handclasp.private" in refusal.remedy


def usage(*, cert_sign: bool) -> Extension:
    return pyca.KeyUsage(not cert_sign, False, False, False, False, cert_sign, False, False, False), True


def test_limit_3_what_is_never_tolerated() -> None:
    root = Made("root", None, IS_CA, usage(cert_sign=True))
    for_clients = (pyca.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
    silent = Made("silent", root, IS_CA, usage(cert_sign=False))
    mail = Made("mail", root, IS_CA, (pyca.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False))
    short = Made("short", root, (pyca.BasicConstraints(True, 0), True))
    below = Made("below", short, IS_CA)
    no_ca = Made("no CA", root)
    silent_root = Made("silent root", None, IS_CA, usage(cert_sign=False))
    for anchor, code, chain in (
        (root, "wrong-purpose", [Made("leaf", root, SAN, for_clients)]),
        (root, "wrong-purpose", [Made("leaf", mail, SAN), mail]),
        (root, "not-a-ca", [Made("leaf", silent, SAN), silent]),
        (root, "not-a-ca", [Made("leaf", below, SAN), below, short]),
        (root, "not-a-ca", [Made("leaf", no_ca, SAN), no_ca]),
        (silent_root, "not-a-ca", [Made("leaf", silent_root, SAN)]),
    ):
        for policy in (private(anchor.certificate), webpki(anchor.certificate)):
            refusal = verdict(policy, *chain)
            assert refusal is not None
            assert refusal.code == code


def constrained(base: pyca.GeneralName) -> Extension:
    return pyca.NameConstraints([base], None), True


def test_limit_4_constraints_of_every_kind_are_kept() -> None:
    """None is a fatal error by itself, and none is ignored: what cannot be compared is refused."""
    root = Made("root", None, IS_CA)
    here = pyca.Name([pyca.NameAttribute(NameOID.COMMON_NAME, "leaf")])
    mine = pyca.DirectoryName(here)
    theirs = pyca.DirectoryName(pyca.Name([pyca.NameAttribute(NameOID.COMMON_NAME, "somebody")]))
    web, uri = pyca.UniformResourceIdentifier("web.test"), pyca.UniformResourceIdentifier("http://other.test/")
    mail = pyca.RFC822Name("me@other.test")
    for base, names, accepted in (
        (mine, (), True),
        (theirs, (), False),
        (web, (), True),
        (web, (uri,), False),
        (pyca.RFC822Name("mail.test"), (), True),
        (pyca.RFC822Name("mail.test"), (mail,), False),
        (pyca.RFC822Name("other.test"), (mail,), True),
    ):
        middle = Made("middle", root, IS_CA, constrained(base))
        alternatives = pyca.SubjectAlternativeName([pyca.DNSName("a.test"), *names])
        refusal = verdict(private(root.certificate), Made("leaf", middle, (alternatives, False)), middle)
        assert (refusal is None) is accepted, (base, names)
        if refusal is not None:
            assert refusal.section == "RFC 5280 §4.2.1.10"


def test_limit_4_policies_revocation_and_issuers_elsewhere() -> None:
    root = Made("root", None, IS_CA)
    policies = Made("policies", root, IS_CA, (pyca.PolicyConstraints(0, None), True))
    refusal = verdict(private(root.certificate), Made("leaf", policies, SAN), policies)
    assert refusal is not None
    assert refusal.section == "RFC 5280 §4.2.1.11"

    credential = CA.issue("a.test")
    revoking = webpki(CA.certificate) & Revocation("hard", crls=[CA.crl()])
    assert verdict(revoking, *credential.chain) is None
    CA.revoke(credential.leaf)
    refusal = verdict(webpki(CA.certificate) & Revocation("hard", crls=[CA.crl()]), *credential.chain)
    assert refusal is not None
    assert refusal.code == "revoked"

    middle = CA.intermediate("elsewhere")
    lonely = middle.issue("a.test", send_chain=False, issuer_url="http://ca.test/middle.cer").chain
    refusal = verdict(webpki(CA.certificate), *lonely)
    assert refusal is not None
    assert (refusal.code, refusal.facts["issuer_url"]) == ("missing-intermediate", "http://ca.test/middle.cer")
    asked = []

    def fetch(url: str, **_: object) -> bytes:
        asked.append(url)
        return middle.certificate.der

    assert verdict(fetch_issuers(webpki(CA.certificate), fetch), *lonely) is None
    assert asked == ["http://ca.test/middle.cer"]


@pytest.mark.parametrize("policy", [webpki, private])
def test_limit_5_names_of_every_form(policy: type) -> None:
    trust = policy(CA.certificate)
    names = ("a.test", "*.wild.test", "192.0.2.7", "2001:db8::7", "xn--bcher-kva.test")
    leaf = CA.issue(*names).leaf
    for asked in ("A.TEST", "a.test.", "a_b.wild.test", "-a-.wild.test", "192.0.2.7", "[2001:DB8::7]"):
        assert verdict(trust, leaf, name=asked) is None, asked
    for asked in ("b.test", "a.a.test", "b.a.wild.test", "wild.test", "192.0.2.8", "7.2.0.192"):
        refusal = verdict(trust, leaf, name=asked)
        assert refusal is not None, asked
        assert (refusal.code, refusal.certificate) == ("name-mismatch", leaf)
    for asked in ("", ".", "a..test", "a b", "a.test:443", "1.2.3", "é.test\0"):
        with pytest.raises(ConfigError):
            peer_name(asked)
    refusal = verdict(trust, leaf, name=None)
    assert refusal is not None, "a server that nobody asked for by name is nobody"


def test_limit_5_any_name_where_the_key_is_known(tmp_path: object) -> None:
    leaf = CA.issue("a.test").leaf
    known = pin_of(leaf)
    assert known is not None
    assert verdict(pin(known), leaf, name=None) is None
    assert verdict(pin(known), leaf, name="whatever.test") is None
    assert verdict(tofu(f"{tmp_path}/known"), leaf, name="whatever.test") is None
