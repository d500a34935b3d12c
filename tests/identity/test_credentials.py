"""Credentials: every way in, and every way it can be wrong."""

from __future__ import annotations

import copy
import pickle
import shutil
import subprocess
import traceback
from pathlib import Path

import cryptography.x509 as pyca
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from handclasp.crypto.keys import decode_private, encode_private, generate
from handclasp.crypto.signatures import KeyKind, PrivateKey, PublicKey, kind_of, sign, verify
from handclasp.errors import ConfigError
from handclasp.identity.certificates import Certificate, certificates_from
from handclasp.identity.credentials import Credential, Signer
from handclasp.identity.pem import blocks, encode
from handclasp.lab.ca import CertificateAuthority, PemPair
from handclasp.wire.names import SignatureScheme


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority("credentials CA").intermediate("credentials intermediate")


@pytest.fixture(scope="module")
def pair(ca: CertificateAuthority) -> PemPair:
    return ca.issue_pem("example.test", "*.wild.test", "192.0.2.7")


def key_of(pair: PemPair) -> PrivateKey:
    key = decode_private(pair.key, None, pem=True)
    assert isinstance(key, PrivateKey)
    return key


def chain_of(pair: PemPair) -> tuple[Certificate, ...]:
    return certificates_from(pair.chain)


class Module:
    """A signer somewhere else."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.asked: list[SignatureScheme] = []

    @property
    def public_key(self) -> PublicKey:
        return self._key.public_key()

    def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
        self.asked.append(scheme)
        return sign(self._key, scheme, data)


# --- every way in ----------------------------------------------------------------------------------------------------


def test_from_files(pair: PemPair, tmp_path: Path) -> None:
    chain, key, both = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "both.pem"
    chain.write_bytes(pair.chain)
    key.write_bytes(pair.key)
    both.write_bytes(pair.key + pair.chain)
    credential = Credential.from_files(chain, key)
    assert credential.chain == chain_of(pair)
    assert Credential.from_files(both) == credential == Credential.from_files(str(chain), str(key))
    assert hash(Credential.from_files(both)) == hash(credential)


def test_from_pem_takes_der_too(pair: PemPair) -> None:
    der_key = blocks(pair.key)[0].der
    leaf = chain_of(pair)[0]
    assert Credential.from_pem(leaf.der, der_key).chain == (leaf,)
    assert Credential.from_pem(pair.chain, der_key) == Credential.from_pem(pair.chain, pair.key)


def test_curve_parameters_before_the_key_are_skipped(pair: PemPair) -> None:
    parameters = encode("EC PARAMETERS", bytes.fromhex("06082a8648ce3d030107"))
    assert Credential.from_pem(pair.chain, parameters + pair.key) == Credential.from_pem(pair.chain, pair.key)


def test_passwords(pair: PemPair) -> None:
    closed = encode("ENCRYPTED PRIVATE KEY", encode_private(key_of(pair), password=b"sesame"))
    expected = Credential.from_pem(pair.chain, pair.key)
    assert Credential.from_pem(pair.chain, closed, password="sesame") == expected
    assert Credential.from_pem(pair.chain, closed, password=b"sesame") == expected
    assert Credential.from_pem(pair.chain, pair.key, password="not needed") == expected


@pytest.mark.parametrize("password", [None, "sesame"])
def test_pkcs12_puts_the_chain_in_order(ca: CertificateAuthority, password: str | None) -> None:
    deep = CertificateAuthority("r").intermediate("a", path_length=2).intermediate("b", path_length=1).intermediate("c")
    pair = deep.issue_pem("p.test")
    leaf, *others = chain_of(pair)
    extras = [deep.root.x509, ca.certificate.x509, *(other.x509 for other in others[::-1])]
    protection = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    key = key_of(pair)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    data = pkcs12.serialize_key_and_certificates(b"name", key, leaf.x509, extras, protection)
    credential = Credential.from_pkcs12(data, password=password)
    assert credential.chain == (leaf, *others, deep.root)


def test_pkcs12_without_the_issuers(ca: CertificateAuthority, pair: PemPair) -> None:
    leaf, key = chain_of(pair)[0], key_of(pair)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    data = pkcs12.serialize_key_and_certificates(None, key, leaf.x509, None, NoEncryption())
    assert Credential.from_pkcs12(data).chain == (leaf,)


def test_from_objects(pair: PemPair) -> None:
    chain = chain_of(pair)
    objects: list[pyca.Certificate | Certificate] = [chain[0].x509, *chain[1:]]
    assert Credential.from_objects(objects, key_of(pair)) == Credential.from_pem(pair.chain, pair.key)


def test_from_signer(pair: PemPair) -> None:
    module = Module(key_of(pair))
    assert isinstance(module, Signer)
    for credential in (Credential.from_signer(pair.chain, module), Credential.from_signer(chain_of(pair), module)):
        assert credential.signer is module
        signature = credential.signer.sign(SignatureScheme.ECDSA_SECP256R1_SHA256, b"data")
        assert isinstance(signature, bytes)
        leaf = credential.leaf
        assert verify(leaf.public_key, leaf.key_kind, SignatureScheme.ECDSA_SECP256R1_SHA256, signature, b"data")
    assert module.asked


@pytest.mark.parametrize("kind", KeyKind, ids=lambda kind: kind.value)
def test_every_kind_signs_with_its_schemes(kind: KeyKind) -> None:
    credential = CertificateAuthority().issue("k.test", key_kind=kind)
    assert credential.schemes
    for scheme in credential.schemes:
        signature = credential.signer.sign(scheme, b"data")
        assert isinstance(signature, bytes)
        assert verify(credential.leaf.public_key, kind, scheme, signature, b"data")


def test_trailing_roots_are_accepted(ca: CertificateAuthority, pair: PemPair) -> None:
    other = CertificateAuthority("another root")
    credential = Credential.from_pem(pair.chain + ca.pem() + other.pem(), pair.key)
    assert len(credential.chain) == 4
    ca_itself = Credential.from_objects([ca.certificate, ca.root], ca._key)
    assert ca_itself.leaf is ca.certificate


# --- what it says ----------------------------------------------------------------------------------------------------


def test_names(pair: PemPair) -> None:
    credential = Credential.from_pem(pair.chain, pair.key)
    for name in ("example.test", "EXAMPLE.TEST.", "a.wild.test", "192.0.2.7"):
        assert credential.matches(name)
    for name in ("other.test", "wild.test", "a.b.wild.test", "192.0.2.8", "", "a..b", "\0" * 500, "ü.test"):
        assert not credential.matches(name)


def test_issuers(ca: CertificateAuthority, pair: PemPair) -> None:
    credential = Credential.from_pem(pair.chain, pair.key)
    assert credential.issued_under([b"other", ca.certificate.subject_der])
    assert credential.issued_under([ca.root.subject_der])
    assert not credential.issued_under([])
    assert not credential.issued_under([credential.leaf.subject_der])


def test_the_key_is_never_shown(pair: PemPair) -> None:
    credential = Credential.from_pem(pair.chain, pair.key)
    assert "PRIVATE" not in repr(credential)
    assert "signer" not in repr(credential)
    assert repr(credential.signer) == "<signer with a key in memory>"
    for secret in (credential, credential.signer):
        for copier in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="neither pickled nor copied"):
                copier(secret)


def test_signers_are_equal_by_their_keys(ca: CertificateAuthority, pair: PemPair) -> None:
    first, second = Credential.from_pem(pair.chain, pair.key).signer, Credential.from_pem(pair.chain, pair.key).signer
    assert first == second
    assert first != ca.issue("other.test").signer
    assert first != Module(key_of(pair))


# --- what is wrong ---------------------------------------------------------------------------------------------------


def refused(error: pytest.ExceptionInfo[ConfigError], code: str, *parts: str) -> None:
    assert error.value.code == code
    assert error.value.remedy or code == "unreadable-key"
    text = str(error.value)
    assert len(text) < 400
    assert text.isprintable()
    for part in parts:
        assert part in text


def test_a_key_of_another_certificate(ca: CertificateAuthority, pair: PemPair) -> None:
    with pytest.raises(ConfigError) as error:
        Credential.from_pem(pair.chain, ca.issue_pem("other.test").key)
    refused(error, "key-mismatch", "CN=example.test", "nor to any other")


def test_a_key_of_the_ca(ca: CertificateAuthority, pair: PemPair) -> None:
    with pytest.raises(ConfigError) as error:
        Credential.from_objects(chain_of(pair), ca._key)
    refused(error, "key-mismatch", "certificate 1", "CN=credentials intermediate")


def test_a_chain_out_of_order() -> None:
    deep = CertificateAuthority("root").intermediate("upper", path_length=1).intermediate("lower")
    pair = deep.issue_pem("o.test")
    leaf, lower, upper = chain_of(pair)
    with pytest.raises(ConfigError) as error:
        Credential.from_objects([leaf, upper, lower], key_of(pair))
    refused(error, "chain-order", "certificate 0", "CN=upper", "out of order")
    with pytest.raises(ConfigError) as error:
        Credential.from_objects([lower, leaf, upper], key_of(pair))
    refused(error, "chain-order", "out of order")


def test_an_issuer_with_the_right_name_and_another_key(pair: PemPair) -> None:
    twin = CertificateAuthority("credentials CA").intermediate("credentials intermediate")
    with pytest.raises(ConfigError) as error:
        Credential.from_objects([chain_of(pair)[0], twin.certificate], key_of(pair))
    refused(error, "chain-order", "did not sign it")


def test_no_certificate(pair: PemPair) -> None:
    with pytest.raises(ConfigError) as error:
        Credential.from_objects([], key_of(pair))
    refused(error, "no-certificate")
    with pytest.raises(ConfigError, match="no certificate in this PEM"):
        Credential.from_pem(pair.key, pair.key)


def test_no_key(pair: PemPair, tmp_path: Path) -> None:
    path = tmp_path / "chain.pem"
    path.write_bytes(pair.chain)
    with pytest.raises(ConfigError) as error:
        Credential.from_files(path)
    refused(error, "no-key", "no private key")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        Credential.from_files(tmp_path / "absent.pem")
    refused(error, "file-missing", "absent.pem", "no such file")
    with pytest.raises(ConfigError) as error:
        Credential.from_files("chain\0.pem")
    refused(error, "file-missing", "chain")


@pytest.mark.parametrize("form", ["pem", "der"])
def test_an_encrypted_key(pair: PemPair, form: str) -> None:
    closed = encode_private(key_of(pair), password=b"sesame")
    closed = encode("ENCRYPTED PRIVATE KEY", closed) if form == "pem" else closed
    with pytest.raises(ConfigError) as error:
        Credential.from_pem(pair.chain, closed)
    refused(error, "encrypted-key", "no password")
    with pytest.raises(ConfigError) as error:
        Credential.from_pem(pair.chain, closed, password="wrong")
    refused(error, "unreadable-key")
    assert "password" in error.value.remedy


@pytest.mark.parametrize(
    "key",
    [
        b"rubbish",
        b"",
        b"-----BEGIN PRIVATE KEY-----\nAAAA",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
)
def test_an_unreadable_key(pair: PemPair, key: bytes) -> None:
    with pytest.raises(ConfigError) as error:
        Credential.from_pem(pair.chain, key)
    refused(error, "unreadable-key")


def test_a_key_in_the_format_of_openssh(pair: PemPair, tmp_path: Path) -> None:
    key = key_of(pair)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    theirs = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    for password in (None, "sesame"):
        with pytest.raises(ConfigError) as error:
            Credential.from_pem(pair.chain, theirs, password=password)
        refused(error, "unreadable-key", "OpenSSH's own format")
        assert "ssh-keygen -p -m PKCS8" in error.value.remedy
    assert Credential.from_pem(pair.chain, theirs + pair.key) == Credential.from_pem(pair.chain, pair.key)
    program = shutil.which("ssh-keygen")
    if program is None:
        pytest.skip("OpenSSH is not there to convert the key")
    copy_of = tmp_path / "key"
    copy_of.touch(0o600)
    copy_of.write_bytes(theirs)
    subprocess.run([program, "-q", "-p", "-m", "PKCS8", "-N", "", "-f", str(copy_of)], check=True)
    assert Credential.from_pem(pair.chain, copy_of.read_bytes()) == Credential.from_pem(pair.chain, pair.key)


def test_pkcs12_that_cannot_be_used(pair: PemPair) -> None:
    leaf, key = chain_of(pair)[0], key_of(pair)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    with pytest.raises(ConfigError) as error:
        Credential.from_pkcs12(b"rubbish")
    refused(error, "unreadable-key", "PKCS#12")
    closed = pkcs12.serialize_key_and_certificates(None, key, leaf.x509, None, BestAvailableEncryption(b"sesame"))
    with pytest.raises(ConfigError) as error:
        Credential.from_pkcs12(closed, password="wrong")
    refused(error, "unreadable-key")
    without_key = pkcs12.serialize_key_and_certificates(None, None, leaf.x509, None, NoEncryption())
    with pytest.raises(ConfigError) as error:
        Credential.from_pkcs12(without_key)
    refused(error, "no-key")
    without_leaf = pkcs12.serialize_key_and_certificates(None, key, None, None, NoEncryption())
    with pytest.raises(ConfigError) as error:
        Credential.from_pkcs12(without_leaf)
    refused(error, "no-certificate")


def test_keys_that_cannot_sign(pair: PemPair) -> None:
    odd = ec.generate_private_key(ec.SECP256K1())
    assert kind_of(odd.public_key()) is None
    for key, word in ((x25519.X25519PrivateKey.generate(), "X25519"), (None, "NoneType")):
        with pytest.raises(ConfigError) as error:
            Credential.from_objects(chain_of(pair), key)
        refused(error, "key-unusable", word)
    leaf = CertificateAuthority().issue("odd.test", key=generate(KeyKind.RSA, bits=1024)).leaf
    assert len(leaf.schemes) == 2  # too short for SHA-512, and for any verifier of ours, but it can sign
    with pytest.raises(ConfigError) as error:
        CertificateAuthority().issue("odd.test", key=odd)
    refused(error, "key-unusable", "EC secp256k1")


def test_a_signer_that_is_none(pair: PemPair) -> None:
    with pytest.raises(ConfigError, match="no sign method"):
        Credential.from_signer(pair.chain, object())  # type: ignore[arg-type]

    class Odd:
        public_key = "no key"

        def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
            return b""

    with pytest.raises(ConfigError) as error:
        Credential.from_signer(pair.chain, Odd())
    assert error.value.code == "key-unusable"


def test_no_error_shows_key_bytes(pair: PemPair) -> None:
    secret = blocks(pair.key)[0].text.splitlines()[1]
    broken = pair.key.replace(b"\n-----END", b"AAAA\n-----END")
    for key in (broken, pair.key[:-40]):
        with pytest.raises(ConfigError) as error:
            Credential.from_pem(pair.chain, key)
        assert error.value.__context__ is None or error.value.__suppress_context__
        text = "".join(traceback.format_exception(error.value))
        assert secret.decode() not in text
