"""Chains by chance, judged by `private` and by OpenSSL: what we accept, OpenSSL accepts.

One certificate for each name, because OpenSSL tries one path and we try all; and no anyExtendedKeyUsage, which RFC 5280
§4.2.1.12 has for good and OpenSSL does not. The other way round there are rules of ours that OpenSSL does not have.
"""

from __future__ import annotations

import ipaddress
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

import cryptography.x509 as pyca
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from handclasp import PresentedChain, Role, private
from handclasp.errors import CertificateError
from handclasp.identity.certificates import Certificate
from handclasp.identity.names import peer_name
from interop.programs import DEADLINE, tool

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHAINS = 150
KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(5)]
STRANGER = ec.generate_private_key(ec.SECP256R1())
PURPOSES = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
SUBTREES = [
    *(pyca.DNSName(name) for name in ("a.test", ".a.test", "test", "b.test", "x.a.test", "")),
    *(pyca.RFC822Name(name) for name in ("a.test", ".a.test")),
    pyca.IPAddress(ipaddress.ip_network("10.0.0.0/8")),
]
NAMES = [
    *(pyca.DNSName(name) for name in ("a.test", "x.a.test", "*.a.test", "b.test")),
    pyca.IPAddress(ipaddress.ip_address("10.1.1.1")),
    pyca.RFC822Name("me@a.test"),
]


def named(text: str) -> pyca.Name:
    return pyca.Name([pyca.NameAttribute(NameOID.COMMON_NAME, text)])


class Chance:
    """Makes chains that are wrong now and then, in any way."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def chain(self) -> tuple[Certificate, list[Certificate], str]:
        """A root, a leaf with its intermediates, and the name to ask for."""
        names = ["root", *["one", "two"][: self._random.randint(0, 2)], "leaf"]
        keys = dict(zip(names, KEYS, strict=False))
        root = self._certificate("root", "root", keys["root"], keys["root"])
        made = [
            self._certificate(below, above, keys[below], keys[above] if self._often(0.97) else STRANGER)
            for above, below in pairwise(names)
        ]
        return root, made[::-1], self._random.choice(["a.test", "x.a.test", "y.a.test", "10.1.1.1"])

    def _often(self, share: float) -> bool:
        return self._random.random() < share

    def _certificate(
        self, name: str, issuer: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey
    ) -> Certificate:
        start = AT + timedelta(days=-30 if self._often(0.97) else 1)
        end = AT + timedelta(days=30 if self._often(0.97) else 2)
        builder = pyca.CertificateBuilder(named(issuer), named(name), key.public_key(), 7, start, end)
        for extension, critical in self._for_leaf() if name == "leaf" else self._for_ca():
            builder = builder.add_extension(extension, critical)
        if not self._often(0.98):
            builder = builder.add_extension(pyca.UnrecognizedExtension(pyca.ObjectIdentifier("1.2.3"), b"\5\0"), True)
        return Certificate.from_der(builder.sign(by, hashes.SHA256()).public_bytes(Encoding.DER))

    def _for_ca(self) -> list[tuple[pyca.ExtensionType, bool]]:
        found: list[tuple[pyca.ExtensionType, bool]] = []
        if self._often(0.97):
            length = self._random.choice([None, None, 0, 1])
            found.append((pyca.BasicConstraints(True, length), self._often(0.8)))
        if self._often(0.5):
            found.append((self._usage(self._often(0.5), self._often(0.9)), self._often(0.8)))
        if self._often(0.4):
            permitted = self._random.sample(SUBTREES, self._random.randint(0, 3))
            excluded = self._random.sample(SUBTREES, 0 if permitted and self._often(0.7) else 1)
            found.append((pyca.NameConstraints(permitted or None, excluded or None), self._often(0.8)))
        return [*found, *self._purposes(0.15)]

    def _for_leaf(self) -> list[tuple[pyca.ExtensionType, bool]]:
        names = self._random.sample(NAMES, self._random.randint(1, 3))
        found: list[tuple[pyca.ExtensionType, bool]] = [(pyca.SubjectAlternativeName(names), self._often(0.3))]
        if self._often(0.5):
            found.append((pyca.BasicConstraints(False, None), self._often(0.5)))
        if self._often(0.4):
            found.append((self._usage(self._often(0.9), False), True))
        return [*found, *self._purposes(0.4)]

    def _purposes(self, share: float) -> list[tuple[pyca.ExtensionType, bool]]:
        if not self._often(share):
            return []
        return [(pyca.ExtendedKeyUsage(self._random.sample(PURPOSES, self._random.randint(1, 2))), False)]

    @staticmethod
    def _usage(sign: bool, issue: bool) -> pyca.KeyUsage:
        return pyca.KeyUsage(sign, False, False, False, True, issue, True, False, False)


@pytest.mark.parametrize("seed", range(4))
def test_what_we_accept_openssl_accepts(seed: int, tmp_path: Path) -> None:
    chance, accepted = Chance(seed), 0
    for number in range(CHAINS):
        root, chain, asked = chance.chain()
        try:
            private(root).verify(PresentedChain(tuple(chain), Role.SERVER, peer_name(asked), AT))
        except CertificateError:
            continue
        accepted += 1
        said = verified(root, chain, asked, tmp_path)
        assert said.returncode == 0, (number, said.stderr)
    assert accepted > 0


def verified(root: Certificate, chain: list[Certificate], asked: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What `openssl verify` says."""
    for file, certificates in (("root", [root]), ("leaf", chain[:1]), ("between", [*chain[1:], root])):
        (folder / file).write_bytes(b"".join(certificate.pem() for certificate in certificates))
    name = ("-verify_ip" if asked[0].isdigit() else "-verify_hostname", asked)
    files = ("-trusted", folder / "root", "-untrusted", folder / "between", folder / "leaf")
    command = (tool("openssl"), "verify", "-purpose", "sslserver", "-attime", str(int(AT.timestamp())), *name, *files)
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
