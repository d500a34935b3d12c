"""The floor: what primitives cost by themselves, called straight in the `cryptography` package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import cryptography.x509 as pyca
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store

from .identity import NAME, Identity
from .peers.base import Case, Group

KEYS = 8
"""AEAD keys of one handshake in both roles: handshake and application, two directions, two ends."""

FLIGHTS = (900, 52)
"""Bytes of the protected flights: the server's, then the client's Finished."""


@dataclass(frozen=True)
class Derivations:
    """HKDF's work in one handshake, by its HMACs (RFC 5869): what is keyed serves all outputs of one secret."""

    secrets: int
    outputs: int
    """Secrets, keys, nonces and Finished keys."""
    alone: int
    """HMACs by a key that is used once: extracting, Finished, binders."""


FULL = Derivations(secrets=2 * 6, outputs=2 * 16, alone=2 * 4)
"""The handshake secret, the main secret, and four traffic secrets; in both roles."""

RESUMED = Derivations(secrets=2 * 9, outputs=2 * 21, alone=2 * 6)
"""Beside them the early secret, the binder's and the resumption secret."""

TICKET = 130
"""Bytes of a session that the server seals and opens."""


def floor(identity: Identity, case: Case) -> Callable[[], object]:
    """One call does what one handshake cannot do without."""
    roots = [pyca.load_pem_x509_certificate(identity.root.read_bytes())]
    leaf = pyca.load_pem_x509_certificate(identity.chain.read_bytes()).public_bytes(Encoding.DER)
    key: Any = load_pem_private_key(identity.key.read_bytes(), None)
    store, signed, hashed = Store(roots), bytes(130), ec.ECDSA(hashes.SHA256())

    def agree() -> None:
        ours, theirs = x25519.X25519PrivateKey.generate(), x25519.X25519PrivateKey.generate()
        share, answer = ours.public_key().public_bytes_raw(), theirs.public_key().public_bytes_raw()
        theirs.exchange(x25519.X25519PublicKey.from_public_bytes(share))
        ours.exchange(x25519.X25519PublicKey.from_public_bytes(answer))

    def encapsulate() -> None:
        # the share of the plain curve, for servers that know no hybrid, has the key of the hybrid
        private = mlkem.MLKEM768PrivateKey.generate()
        public = mlkem.MLKEM768PublicKey.from_public_bytes(private.public_key().public_bytes_raw())
        private.decapsulate(public.encapsulate()[1])

    def authenticate() -> None:
        signature = key.sign(signed, hashed)
        certificate = pyca.load_der_x509_certificate(leaf)
        public: Any = certificate.public_key()
        builder = PolicyBuilder().store(store).time(datetime.now(UTC))
        builder.build_server_verifier(pyca.DNSName(NAME)).verify(certificate, [])
        public.verify(signature, signed, hashed)

    def derive(work: Derivations) -> None:
        keyed = [HMAC(bytes(32), _SHA256) for _ in range(work.secrets)]
        for _ in range(work.outputs):
            label = keyed[0].copy()
            label.update(b"\0\x20\x12tls13 c hs traffic\x20" + bytes(32) + b"\1")
            label.finalize()
        for _ in range(work.alone):
            mac = HMAC(bytes(32), _SHA256)
            mac.update(bytes(32))
            mac.finalize()

    def protect() -> None:
        ciphers = [AESGCM(bytes(16)) for _ in range(KEYS)]
        for cipher, size in zip(ciphers, FLIGHTS, strict=False):
            cipher.decrypt(bytes(12), cipher.encrypt(bytes(12), bytes(size), b"header"), b"header")

    def once() -> None:
        agree()
        if case.group is Group.X25519_MLKEM768:
            encapsulate()
        if case.resumed:
            protect_record(TICKET)()
        else:
            authenticate()
        derive(RESUMED if case.resumed else FULL)
        protect()

    return once


def protect_record(size: int) -> Callable[[], object]:
    """One call seals and opens one record with so many bytes of data, and their type, inside."""
    cipher, inner = AESGCM(bytes(16)), bytes(size + 1)
    return lambda: cipher.decrypt(bytes(12), cipher.encrypt(bytes(12), inner, b"header"), b"header")


_SHA256 = hashes.SHA256()
