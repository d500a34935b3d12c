"""The web's own rules for roots and for CAs below them, and what of RFC 5280 the library's verifier leaves out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import cryptography.x509 as pyca
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from handclasp import PresentedChain, Role, TrustStore, Verifier, private, webpki
from handclasp.crypto.keys import certificate_hash, generate
from handclasp.crypto.signatures import KeyKind, PrivateKey
from handclasp.errors import CertificateError, ConfigError
from handclasp.identity.certificates import Certificate
from handclasp.identity.names import peer_name
from handclasp.identity.path import find_path
from handclasp.identity.profile import check_profile
from handclasp.identity.roots import Anchors

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
NAME = pyca.Name([pyca.NameAttribute(NameOID.COMMON_NAME, "a root by hand")])
KEY = generate(KeyKind.P256)
OWN = pyca.SubjectKeyIdentifier.from_public_key(KEY.public_key())
BY_KEY = pyca.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(OWN)
BY_NAME = pyca.AuthorityKeyIdentifier(OWN.digest, [pyca.DirectoryName(NAME)], 7)

SIGNS = pyca.KeyUsage(False, False, False, False, False, True, True, False, False)


def signed(builder: pyca.CertificateBuilder, key: PrivateKey = KEY) -> Certificate:
    der = builder.sign(key, certificate_hash(key)).public_bytes(Encoding.DER)
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
    builder = builder.add_extension(pyca.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
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


# --- CAs below a root ------------------------------------------------------------------------------------------------

MIDDLE = pyca.Name([pyca.NameAttribute(NameOID.COMMON_NAME, "a CA by hand")])
MIDDLE_KEY = generate(KeyKind.P256)
MIDDLE_OWN = pyca.SubjectKeyIdentifier.from_public_key(MIDDLE_KEY.public_key())
ROOT = root(2020, OWN)
Extension = tuple[pyca.ExtensionType, bool]


def middle(*extensions: Extension) -> Certificate:
    since, until = AT - timedelta(days=1), AT + timedelta(days=9)
    number = pyca.random_serial_number()
    builder = pyca.CertificateBuilder(NAME, MIDDLE, MIDDLE_KEY.public_key(), number, since, until)
    builder = builder.add_extension(pyca.BasicConstraints(True, None), True).add_extension(SIGNS, True)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return signed(builder)


def below(subject: pyca.Name, purpose: pyca.ObjectIdentifier, *extensions: pyca.ExtensionType) -> Certificate:
    since, until = AT - timedelta(days=1), AT + timedelta(days=9)
    builder = pyca.CertificateBuilder(MIDDLE, subject, generate(KeyKind.P256).public_key(), 9, since, until)
    by_key = pyca.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(MIDDLE_OWN)
    for extension in (by_key, pyca.ExtendedKeyUsage([purpose]), *extensions):
        builder = builder.add_extension(extension, False)
    return signed(builder, MIDDLE_KEY)


def person(*attributes: tuple[pyca.ObjectIdentifier, str]) -> pyca.Name:
    return pyca.Name([pyca.NameAttribute(*attribute) for attribute in attributes])


CORP = pyca.DirectoryName(person((NameOID.ORGANIZATION_NAME, "Corp")))
MAIL = pyca.RFC822Name("corp.test")


@pytest.mark.parametrize("policy", [webpki, private])
@pytest.mark.parametrize(
    ("permitted", "excluded", "subject", "good"),
    [
        ([MAIL], [], person((NameOID.EMAIL_ADDRESS, "me@corp.test")), True),
        ([MAIL], [], person((NameOID.EMAIL_ADDRESS, "me@other.test")), False),
        ([MAIL], [], person((NameOID.EMAIL_ADDRESS, "nobody")), False),
        ([MAIL], [], person((NameOID.COMMON_NAME, "me@other.test")), True),
        ([], [MAIL], person((NameOID.EMAIL_ADDRESS, "me@corp.test")), False),
        ([], [MAIL], person((NameOID.EMAIL_ADDRESS, "me@other.test")), True),
        ([CORP], [], person((NameOID.ORGANIZATION_NAME, "corp"), (NameOID.COMMON_NAME, "me")), True),
        ([CORP], [], person((NameOID.COMMON_NAME, "me")), False),
        ([], [CORP], person((NameOID.ORGANIZATION_NAME, "CORP")), False),
    ],
)
def test_constraints_hold_for_the_subject_too(
    policy: type, permitted: list[pyca.GeneralName], excluded: list[pyca.GeneralName], subject: pyca.Name, good: bool
) -> None:
    """RFC 5280 §4.2.1.10: the library's verifier looks at subjectAltName alone, which a client need not have."""
    constraints = pyca.NameConstraints(permitted or None, excluded or None)
    ca = middle((MIDDLE_OWN, False), (BY_KEY, False), (constraints, False))
    chain = below(subject, ExtendedKeyUsageOID.CLIENT_AUTH), ca
    try:
        verdict = policy(ROOT).verify(PresentedChain(chain, Role.CLIENT, None, AT))
    except CertificateError as error:
        refusal = error
    else:
        assert verdict.chain == (*chain, ROOT)
        assert good
        return
    assert not good
    assert (refusal.section, refusal.certificate) == ("RFC 5280 §4.2.1.10", ca)


GOOD = (MIDDLE_OWN, False), (BY_KEY, False)
TWINS: dict[str, tuple[Extension, ...]] = {
    "policies": (*GOOD, (pyca.PolicyConstraints(3, None), False)),
    "issuer's key": ((MIDDLE_OWN, False),),
    "own key": ((BY_KEY, False),),
    "directory": (*GOOD, (pyca.NameConstraints([CORP], None), True)),
    "directory, not critical": (*GOOD, (pyca.NameConstraints([CORP], None), False)),
    "name": (*GOOD, (pyca.NameConstraints([pyca.DNSName("b.test")], None), True)),
    "unread": (*GOOD, (pyca.UnrecognizedExtension(pyca.ObjectIdentifier("1.2.3"), b"\5\0"), True)),
}


def server() -> Certificate:
    names = pyca.SubjectAlternativeName([pyca.DNSName("a.test")])
    return below(person((NameOID.COMMON_NAME, "a.test")), ExtendedKeyUsageOID.SERVER_AUTH, names)


@pytest.mark.parametrize("policy", [webpki, private])
def test_a_good_path_is_found_whatever_stands_before_it(policy: type) -> None:
    leaf, good = server(), middle(*GOOD)
    bad = [middle(*extensions) for extensions in TWINS.values()]
    for twins in (*([twin] for twin in bad), bad, bad[::-1]):
        for chain in ((leaf, good, *twins), (leaf, *twins, good), (leaf, *twins, good, leaf)):
            verdict = policy(ROOT).verify(PresentedChain(chain, Role.SERVER, peer_name("a.test"), AT))
            assert verdict.chain[0] == leaf
            assert verdict.chain[-1] == ROOT


@pytest.mark.parametrize("twin", TWINS)
def test_a_bad_path_alone_is_refused_for_what_it_is(twin: str) -> None:
    leaf, bad = server(), middle(*TWINS[twin])
    with pytest.raises(CertificateError) as caught:
        webpki(ROOT).verify(PresentedChain((leaf, bad, bad), Role.SERVER, peer_name("a.test"), AT))
    assert (caught.value.certificate == bad) is (twin != "unread"), "the library does not say which"


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How long the chain of each search for a path is."""
    made: list[int] = []

    def counted(presented: PresentedChain, anchors: Anchors) -> tuple[Certificate, ...]:
        made.append(len(presented.chain))
        return find_path(presented, anchors)

    monkeypatch.setattr("handclasp.identity.trust.find_path", counted)
    return made


def test_looking_again_ends(searches: list[int]) -> None:
    """One search for each certificate that was sent, at the most."""
    leaf, bad = server(), [middle(*TWINS["policies"]) for _ in range(9)]
    with pytest.raises(CertificateError) as caught:
        webpki(ROOT).verify(PresentedChain((leaf, *bad), Role.SERVER, peer_name("a.test"), AT))
    assert caught.value.section == "RFC 5280 §4.2.1.11"
    assert searches == [*range(10, 0, -1)]


def test_what_is_passed_over_costs_one_search(searches: list[int]) -> None:
    """Nobody needs to be trusted to send certificates that the library cannot read."""
    leaf, unreadable = server(), [middle(*TWINS["directory"]) for _ in range(8)]
    with pytest.raises(CertificateError):
        webpki(ROOT).verify(PresentedChain((leaf, *unreadable), Role.SERVER, peer_name("a.test"), AT))
    assert searches == [9]
