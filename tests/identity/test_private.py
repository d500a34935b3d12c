"""The private policy: what real private CAs issue is accepted, what limits a certificate is never tolerated away."""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cryptography.x509 as pyca
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from handclasp import CertificateError, ConfigError, Limits, PresentedChain, Role, TrustStore, private
from handclasp.crypto.keys import DER, certificate_hash
from handclasp.crypto.signatures import KeyKind, PrivateKey
from handclasp.identity.certificates import Certificate, certificates_from
from handclasp.identity.names import peer_name
from handclasp.identity.trust import Private, VerifiedPeer
from handclasp.lab.ca import CertificateAuthority, self_signed

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Made:
    """A certificate and its key."""

    certificate: Certificate
    key: PrivateKey


Extension = tuple[pyca.ExtensionType, bool]
CA: Extension = (pyca.BasicConstraints(True, None), True)
SIGNS: Extension = (
    pyca.KeyUsage(False, False, False, False, False, True, True, False, False),
    True,
)


def name(text: str) -> pyca.Name:
    return pyca.Name([pyca.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def san(*names: pyca.GeneralName, critical: bool = False) -> Extension:
    return pyca.SubjectAlternativeName(names or [pyca.DNSName("a.test")]), critical


def make(
    subject: str | pyca.Name,
    issuer: Made | None,
    extensions: Sequence[Extension],
    *,
    key: PrivateKey | None = None,
    serial: int = 7,
    start: datetime = AT - timedelta(days=1),
    end: datetime = AT + timedelta(days=9),
) -> Made:
    """Any certificate: nothing is added that is not asked for."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    who = name(subject) if isinstance(subject, str) else subject
    above = issuer.certificate.x509.subject if issuer else who
    signer = issuer.key if issuer else key
    builder = pyca.CertificateBuilder(above, who, key.public_key(), serial, start, end)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    der = builder.sign(signer, certificate_hash(signer)).public_bytes(DER)
    return Made(Certificate.from_der(der), key)


def constrained(permitted: Sequence[pyca.GeneralName] = (), excluded: Sequence[pyca.GeneralName] = ()) -> Extension:
    return pyca.NameConstraints(list(permitted) or None, list(excluded) or None), True


ROOT = make("root", None, [CA, SIGNS])


def verify(
    trust: Private | Made,
    *chain: Made | Certificate,
    asked: str | None = "a.test",
    role: Role = Role.SERVER,
    at: datetime = AT,
    limits: Limits | None = None,
) -> VerifiedPeer:
    policy = private(trust.certificate) if isinstance(trust, Made) else trust
    sent = tuple(c.certificate if isinstance(c, Made) else c for c in chain)
    return policy.verify(PresentedChain(sent, role, peer_name(asked) if asked else None, at, limits or Limits()))


def refused(
    trust: Private | Made,
    *chain: Made | Certificate,
    asked: str | None = "a.test",
    role: Role = Role.SERVER,
    at: datetime = AT,
    limits: Limits | None = None,
) -> CertificateError:
    with pytest.raises(CertificateError) as caught:
        verify(trust, *chain, asked=asked, role=role, at=at, limits=limits)
    error = caught.value
    assert error.remedy
    assert error.section
    assert str(error).isprintable()
    assert len(str(error)) <= 300
    return error


# --- tolerated -------------------------------------------------------------------------------------------------------


def test_trustme(tmp_path: Path) -> None:
    ca = trustme.CA()
    below = ca.create_child_ca()
    now = datetime.now(UTC) + timedelta(seconds=5)
    policy = private(ca.cert_pem.bytes())
    for issued in (ca.issue_cert("a.test", "127.0.0.1"), below.issue_cert("a.test", "127.0.0.1", common_name="other")):
        chain = [c for blob in issued.cert_chain_pems for c in certificates_from(blob.bytes())]
        assert verify(policy, *chain, at=now).chain[0] == chain[0]
        assert verify(policy, *chain, asked="127.0.0.1", at=now)
        assert refused(policy, *chain, asked="b.test", at=now).code == "name-mismatch"
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    assert private(tmp_path / "ca.pem").roots == TrustStore.from_file(tmp_path / "ca.pem")


@pytest.mark.parametrize("kind", [kind for kind in KeyKind if kind is not KeyKind.RSA_PSS], ids=lambda kind: kind.value)
def test_issuers_of_every_kind(kind: KeyKind) -> None:
    ca = CertificateAuthority("root", key_kind=kind, at=AT)
    below = ca.intermediate("below", key_kind=kind)
    assert len(verify(private(ca.certificate), *below.issue("a.test").chain).chain) == 3


@pytest.mark.parametrize(
    "extensions",
    [
        [san()],
        [san(critical=True)],
        [san(), (pyca.BasicConstraints(False, None), False)],
        [san(), (pyca.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)],
        [san(), (pyca.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), True)],
    ],
)
def test_leaves_without_the_web_s_form(extensions: list[Extension]) -> None:
    leaf = make("not a name of it", ROOT, extensions)
    assert verify(ROOT, leaf).chain == (leaf.certificate, ROOT.certificate)
    with pytest.raises(CertificateError) as caught:
        TrustStore.from_certificates([ROOT.certificate]).verify(
            PresentedChain((leaf.certificate,), Role.SERVER, peer_name("a.test"), AT)
        )
    assert "handclasp.private" in caught.value.remedy or caught.value.code != "untrusted"


def test_roots_without_the_web_s_form() -> None:
    for root in (
        make("root", None, [(pyca.BasicConstraints(True, None), False)]),
        make("root", None, [(pyca.BasicConstraints(True, 0), True), SIGNS], key=rsa_key()),
        make("root", None, [CA, (pyca.NameConstraints([pyca.DNSName("a.test")], None), False)]),
    ):
        assert verify(root, make("leaf", root, [san()]))


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def test_an_intermediate_or_the_leaf_itself_as_anchor() -> None:
    middle = make("middle", ROOT, [CA])
    leaf = make("leaf", middle, [san()])
    assert verify(middle, leaf, ROOT).chain == (leaf.certificate, middle.certificate)
    assert verify(leaf, leaf).chain == (leaf.certificate,)
    alone = self_signed("a.test", at=AT).leaf
    assert verify(private(alone), alone).why == "trusted itself, from one given root"
    assert refused(private(alone), self_signed("a.test", at=AT).leaf).code == "self-signed"
    as_openssl_does = make("a.test", None, [CA, san()])
    assert verify(as_openssl_does, as_openssl_does)


def test_a_cross_signed_cycle_is_left() -> None:
    """CVE-2024-0567: a wrong turn is no end."""
    a, b = make("A", None, [CA]), make("B", None, [CA])
    a_by_b, b_by_a = make("A", b, [CA], key=a.key), make("B", a, [CA], key=b.key)
    leaf = make("leaf", a, [san()])
    assert verify(a, leaf, a_by_b, b_by_a).chain == (leaf.certificate, a.certificate)
    assert verify(b, leaf, b_by_a, a_by_b).chain == (leaf.certificate, a_by_b.certificate, b.certificate)
    assert refused(ROOT, leaf, a_by_b, b_by_a).code == "unknown-ca"


# --- never tolerated -------------------------------------------------------------------------------------------------


def test_purposes() -> None:
    """Limit 3 of the library's verifier: its laxest policy drops these."""
    for_clients = (pyca.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
    assert refused(ROOT, make("leaf", ROOT, [san(), for_clients])).code == "wrong-purpose"
    assert verify(ROOT, make("leaf", ROOT, [for_clients]), asked=None, role=Role.CLIENT)
    middle = make("middle", ROOT, [CA, for_clients])
    error = refused(ROOT, make("leaf", middle, [san()]), middle)
    assert (error.code, error.certificate_index, error.section) == ("wrong-purpose", 1, "RFC 5280 §4.2.1.12")
    root = make("root", None, [CA, for_clients])
    error = refused(root, make("leaf", root, [san()]))
    assert (error.code, error.certificate, error.certificate_index) == ("wrong-purpose", root.certificate, None)
    assert "not sent" in error.facts["certificate"]


def test_who_may_sign() -> None:
    silent = (pyca.KeyUsage(True, False, False, False, False, False, True, False, False), True)
    for extensions in ([CA, silent], [(pyca.BasicConstraints(False, None), True)], []):
        middle = make("middle", ROOT, extensions)
        error = refused(ROOT, make("leaf", middle, [san()]), middle)
        assert (error.code, error.certificate) == ("not-a-ca", middle.certificate)
    both = (pyca.KeyUsage(True, False, False, False, False, True, False, False, False), True)
    assert refused(ROOT, make("leaf", ROOT, [san(), both])).section == "RFC 5280 §4.2.1.9"


def test_path_lengths() -> None:
    shallow = make("shallow", ROOT, [(pyca.BasicConstraints(True, 0), True)])
    again = make("shallow", shallow, [(pyca.BasicConstraints(True, 0), True)])
    deep = make("deep", shallow, [CA])
    assert verify(ROOT, make("leaf", shallow, [san()]), shallow)
    error = refused(ROOT, make("leaf", deep, [san()]), deep, shallow)
    assert (error.code, error.certificate_index) == ("not-a-ca", 2)
    # RFC 5280 §6.1.4 l: a self-issued certificate does not count
    assert verify(ROOT, make("leaf", again, [san()]), again, shallow)


DIRECTORY = pyca.DirectoryName(
    pyca.Name([pyca.NameAttribute(NameOID.ORGANIZATION_NAME, "Corp"), pyca.NameAttribute(NameOID.COMMON_NAME, "x")])
)
LONGER = pyca.DirectoryName(
    pyca.Name([pyca.NameAttribute(NameOID.ORGANIZATION_NAME, text) for text in ("corp", "one", "two")])
)
CORP = pyca.DirectoryName(pyca.Name([pyca.NameAttribute(NameOID.ORGANIZATION_NAME, "CORP")]))
OTHER = pyca.OtherName(pyca.ObjectIdentifier("1.2.3"), b"\x05\x00")


@pytest.mark.parametrize(
    ("permitted", "excluded", "names", "good"),
    [
        ([pyca.DNSName("test")], [], [pyca.DNSName("a.test")], True),
        ([pyca.DNSName("a.test")], [], [pyca.DNSName("A.test")], True),
        ([pyca.DNSName("b.test")], [], [pyca.DNSName("a.test")], False),
        ([pyca.DNSName("a.test")], [], [pyca.DNSName("a.test"), pyca.DNSName("b.test")], False),
        ([pyca.DNSName(".test")], [], [pyca.DNSName("a.test")], True),
        ([pyca.DNSName(".a.test")], [], [pyca.DNSName("a.test")], False),
        ([pyca.DNSName("")], [], [pyca.DNSName("a.test")], True),
        ([pyca.DNSName("a.test")], [], [pyca.DNSName("a.test"), pyca.DNSName("*.test")], False),
        ([], [pyca.DNSName("b.test")], [pyca.DNSName("a.test"), pyca.DNSName("*.test")], False),
        ([], [pyca.DNSName("b.test")], [pyca.DNSName("a.test")], True),
        ([], [pyca.DNSName("test")], [pyca.DNSName("a.test")], False),
        ([], [pyca.DNSName("")], [pyca.DNSName("a.test")], False),
        ([], [pyca.DNSName("est")], [pyca.DNSName("a.test")], True),
        ([pyca.DNSName("test")], [], [pyca.DNSName("a.test"), pyca.DNSName(".test")], False),
        (
            [pyca.IPAddress(ipaddress.ip_network("192.0.2.0/24"))],
            [],
            [pyca.DNSName("a.test"), pyca.IPAddress(ipaddress.ip_address("192.0.2.9"))],
            True,
        ),
        (
            [pyca.IPAddress(ipaddress.ip_network("192.0.2.0/24"))],
            [],
            [pyca.DNSName("a.test"), pyca.IPAddress(ipaddress.ip_address("192.0.3.9"))],
            False,
        ),
        (
            [pyca.IPAddress(ipaddress.ip_network("0.0.0.0/0"))],
            [],
            [pyca.DNSName("a.test"), pyca.IPAddress(ipaddress.ip_address("::1"))],
            False,
        ),
        (
            [],
            [pyca.IPAddress(ipaddress.ip_network("::/0"))],
            [pyca.DNSName("a.test"), pyca.IPAddress(ipaddress.ip_address("::1"))],
            False,
        ),
        (
            [pyca.IPAddress(ipaddress.ip_network(text)) for text in ("10.0.0.0/8", "192.0.2.9/32", "2001:db8::/32")],
            [pyca.IPAddress(ipaddress.ip_network(text)) for text in ("10.1.0.0/16", "2001:db8:1::/48")],
            [pyca.DNSName("a.test"), *map(pyca.IPAddress, map(ipaddress.ip_address, ("10.2.0.1", "2001:db8:2::1")))],
            True,
        ),
        (
            [pyca.IPAddress(ipaddress.ip_network(text)) for text in ("10.0.0.0/8", "2001:db8::/32")],
            [pyca.IPAddress(ipaddress.ip_network(text)) for text in ("10.1.0.0/16", "2001:db8:1::/48")],
            [pyca.DNSName("a.test"), pyca.IPAddress(ipaddress.ip_address("2001:db8:1::1"))],
            False,
        ),
        ([], [LONGER], [pyca.DNSName("a.test"), CORP], True),
        ([], [CORP, LONGER], [pyca.DNSName("a.test"), LONGER], False),
        (
            [],
            [pyca.RFC822Name("z.test")],
            [pyca.DNSName("a.test"), pyca.RFC822Name("a@" + "b." * 130 + "test")],
            False,
        ),
        ([CORP], [], [pyca.DNSName("a.test"), DIRECTORY], False),  # the subject is not Corp's
        ([], [CORP], [pyca.DNSName("a.test"), DIRECTORY], False),
        ([], [CORP], [pyca.DNSName("a.test")], True),
        ([], [OTHER], [pyca.DNSName("a.test")], True),
        ([], [OTHER], [pyca.DNSName("a.test"), OTHER], False),
        (
            [],
            [pyca.UniformResourceIdentifier("x.test")],
            [pyca.DNSName("a.test"), pyca.UniformResourceIdentifier("https://y.test/")],
            False,
        ),
        ([pyca.RFC822Name("a.test")], [], [pyca.DNSName("a.test"), pyca.RFC822Name("x@A.test")], True),
        ([pyca.RFC822Name(".test")], [], [pyca.DNSName("a.test"), pyca.RFC822Name("x@a.test")], True),
        ([pyca.RFC822Name(".a.test")], [], [pyca.DNSName("a.test"), pyca.RFC822Name("x@a.test")], False),
        ([pyca.RFC822Name("X@a.test")], [], [pyca.DNSName("a.test"), pyca.RFC822Name("x@a.test")], False),
    ],
)
def test_name_constraints(
    permitted: list[pyca.GeneralName], excluded: list[pyca.GeneralName], names: list[pyca.GeneralName], good: bool
) -> None:
    middle = make("middle", ROOT, [CA, constrained(permitted, excluded)])
    leaf = make("leaf", middle, [san(*names)])
    if good:
        assert verify(ROOT, leaf, middle).chain[1] == middle.certificate
    else:
        error = refused(ROOT, leaf, middle)
        assert error.certificate == middle.certificate
        assert error.section == "RFC 5280 §4.2.1.10"


def test_directory_names_and_mailboxes_of_the_subject() -> None:
    subject = pyca.Name(
        [
            pyca.NameAttribute(NameOID.ORGANIZATION_NAME, "Corp"),
            pyca.NameAttribute(NameOID.EMAIL_ADDRESS, "x@a.test"),
        ]
    )
    for permitted, good in (([CORP], True), ([pyca.RFC822Name("a.test")], True), ([pyca.RFC822Name("b.test")], False)):
        middle = make("middle", ROOT, [CA, constrained(permitted)])
        leaf = make(subject, middle, [san()])
        if good:
            assert verify(ROOT, leaf, middle)
        else:
            assert refused(ROOT, leaf, middle).section == "RFC 5280 §4.2.1.10"


def test_constraints_hold_for_intermediates_and_roots() -> None:
    root = make("root", None, [CA, constrained([pyca.DNSName("a.test")])])
    middle = make("middle", root, [CA, san(pyca.DNSName("b.test"))])
    assert refused(root, make("leaf", middle, [san()]), middle).section == "RFC 5280 §4.2.1.10"
    self_issued = make("root", root, [CA, san(pyca.DNSName("b.test"))])
    assert verify(root, make("leaf", self_issued, [san()]), self_issued)
    below = make("below", root, [CA, constrained([pyca.DNSName("b.test")])])
    assert refused(root, make("leaf", below, [san(pyca.DNSName("b.test"))]), below, asked="b.test").certificate


@pytest.mark.parametrize(
    "extension",
    [
        pyca.UnrecognizedExtension(pyca.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
        pyca.InhibitAnyPolicy(0),
        pyca.PolicyConstraints(0, None),
        pyca.AuthorityKeyIdentifier(b"1", None, None),
    ],
    ids=lambda extension: type(extension).__name__,
)
def test_critical_extensions_that_nobody_reads(extension: pyca.ExtensionType) -> None:
    leaf = make("leaf", ROOT, [san(), (extension, True)])
    assert refused(ROOT, leaf).certificate_index == 0
    middle = make("middle", ROOT, [CA, (extension, True)])
    assert refused(ROOT, make("leaf", middle, [san()]), middle).certificate_index == 1
    root = make("root", None, [CA, (extension, True)])
    assert refused(root, make("leaf", root, [san()])).certificate == root.certificate


def test_dates_and_the_clock() -> None:
    leaf = make("leaf", ROOT, [san()], end=AT - timedelta(days=0, hours=1))
    error = refused(ROOT, leaf)
    assert (error.code, error.section) == ("expired", "RFC 5280 §4.1.2.5")
    assert error.facts["clock"] == "plausible: it fits 1 of 2 certificates"
    assert refused(ROOT, leaf, at=AT + timedelta(days=99)).facts["clock"].startswith("doubtful")
    assert refused(ROOT, leaf, at=datetime(1970, 1, 1, tzinfo=UTC)).facts["clock"].startswith("wrong")
    exact = make("leaf", ROOT, [san()], end=AT)
    assert verify(ROOT, exact, at=AT + timedelta(milliseconds=999))
    assert refused(ROOT, exact, at=AT + timedelta(seconds=1)).code == "expired"
    old = make("old", ROOT, [CA], end=AT - timedelta(hours=1))
    assert refused(ROOT, make("leaf", old, [san()]), old).code == "expired-in-chain"
    assert refused(ROOT, make("leaf", ROOT, [san()], start=AT + timedelta(days=1))).code == "not-yet-valid"


def test_weak_keys_and_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit 2 of the library's verifier: it does not look at the leaf's key."""
    assert refused(ROOT, make("leaf", ROOT, [san()], key=rsa_key(1024))).code == "weak-key"
    middle = make("middle", ROOT, [CA], key=rsa_key(1024))
    assert refused(ROOT, make("leaf", middle, [san()]), middle).code == "weak-key"
    assert refused(ROOT, make("leaf", ROOT, [san()], key=ec.generate_private_key(ec.SECP256K1())))
    large = make("middle", ROOT, [CA], key=rsa_key(3072))
    assert refused(ROOT, make("leaf", large, [san()]), large, limits=Limits(rsa_bits=2048)).code == "weak-key"
    for command in (
        f"req -x509 -newkey rsa:2048 -nodes -keyout {tmp_path}/key -out {tmp_path}/root.pem -subj /CN=old",
        f"req -newkey rsa:2048 -nodes -keyout {tmp_path}/key2 -out {tmp_path}/csr -subj /CN=a.test",
        "x509 -req -sha1 -in csr -CA root.pem -CAkey key -CAcreateserial -extfile ext -out leaf.pem",
    ):
        (tmp_path / "ext").write_text("subjectAltName=DNS:a.test\n")
        subprocess.run(["openssl", *command.split()], capture_output=True, check=True, cwd=tmp_path)
    (leaf,) = certificates_from((tmp_path / "leaf.pem").read_bytes())
    now = datetime.now(UTC) + timedelta(seconds=5)
    assert refused(private(tmp_path / "root.pem"), leaf, at=now).code == "weak-signature"
    # the library verifies no such signature; should it ever, the answer is the same
    monkeypatch.setattr(Certificate, "was_signed_by", lambda self, issuer: True)
    assert refused(private(tmp_path / "root.pem"), leaf, at=now).code == "weak-signature"


def test_forged_signatures() -> None:
    forger = make("root", None, [CA, SIGNS])
    error = refused(ROOT, make("leaf", forger, [san()]))
    assert error.code == "unknown-ca"
    assert "that CA's key did not sign it" in str(error)
    middle = make("middle", forger, [CA])
    assert refused(ROOT, make("leaf", middle, [san()]), middle).code == "unknown-ca"


def test_names() -> None:
    """Limit 5: any name that a peer can be asked by; never the common name, and never an address in a DNS name."""
    leaf = make("cn.test", ROOT, [san(pyca.DNSName("my_host.test"), pyca.DNSName("192.0.2.7"))])
    assert verify(ROOT, leaf, asked="my_host.test")
    for asked in ("cn.test", "192.0.2.7", "b.test"):
        assert refused(ROOT, leaf, asked=asked).code == "name-mismatch"
    assert refused(ROOT, make("a.test", ROOT, [])).code == "no-san"
    assert refused(ROOT, leaf, asked=None).section == "RFC 9525 §6.1"
    empty = make("", ROOT, [san()])
    assert refused(ROOT, empty).section == "RFC 5280 §4.2.1.6"
    assert verify(ROOT, make("", ROOT, [san(critical=True)]))


def test_the_web_policy_knows_addresses_from_names_too() -> None:
    odd = make("192.0.2.7", None, [san(pyca.DNSName("192.0.2.7"))])
    store = TrustStore.from_certificates([odd.certificate])
    with pytest.raises(CertificateError) as caught:
        store.verify(PresentedChain((odd.certificate,), Role.SERVER, peer_name("192.0.2.7"), AT))
    assert caught.value.code == "name-mismatch"


@pytest.mark.parametrize("kind", [ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey])
def test_limit_1_edwards_issuers(kind: type[ed25519.Ed25519PrivateKey] | type[ed448.Ed448PrivateKey]) -> None:
    root = make("root", None, [CA], key=kind.generate())
    leaf = make("leaf", root, [san()])
    assert verify(root, leaf)
    with pytest.raises(CertificateError):
        TrustStore.from_certificates([root.certificate]).verify(
            PresentedChain((leaf.certificate,), Role.SERVER, peer_name("a.test"), AT)
        )


def test_policies_are_values() -> None:
    assert private(ROOT.certificate) == private(ROOT.certificate)
    assert hash(private(ROOT.certificate)) == hash(private(ROOT.certificate))
    assert private(ROOT.certificate).fingerprint != private(ROOT.certificate).roots.fingerprint
    with pytest.raises(ConfigError):
        private()


def test_openssl_agrees(tmp_path: Path) -> None:
    """The same verdicts, but for the SHA-1 and key rules that its security level has."""
    shallow = make("shallow", ROOT, [(pyca.BasicConstraints(True, 0), True)])
    deep = make("deep", shallow, [CA])
    corp = make("corp", ROOT, [CA, constrained([CORP])])
    silent = make("silent", ROOT, [CA, (pyca.KeyUsage(*[True] + [False] * 8), True)])
    clients = (pyca.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
    (tmp_path / "root.pem").write_bytes(ROOT.certificate.pem())
    for chain, expected in (
        ([make("leaf", ROOT, [san()])], True),
        ([make("leaf", shallow, [san()]), shallow], True),
        ([make("leaf", deep, [san()]), deep, shallow], False),
        ([make("leaf", corp, [san()]), corp], False),
        ([make("leaf", silent, [san()]), silent], False),
        ([make("leaf", ROOT, [san(), clients])], False),
        ([make("leaf", ROOT, [san(pyca.DNSName("b.test"))])], False),
        ([make("leaf", make("root", None, [CA]), [san()])], False),
    ):
        leaf, others = tmp_path / "leaf.pem", tmp_path / "others.pem"
        leaf.write_bytes(chain[0].certificate.pem())
        others.write_bytes(b"".join(made.certificate.pem() for made in chain))
        options = f"-attime {int(AT.timestamp())} -purpose sslserver -verify_hostname a.test -no-CApath -no-CAstore"
        command = f"openssl verify -CAfile {tmp_path / 'root.pem'} -untrusted {others} {options} {leaf}"
        assert (subprocess.run(command.split(), capture_output=True, check=False).returncode == 0) is expected
        if expected:
            assert verify(ROOT, *chain)
        else:
            assert refused(ROOT, *chain)
