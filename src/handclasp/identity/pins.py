"""Pins: keys known beforehand, by the SHA-256 of their SubjectPublicKeyInfo (RFC 7858 §4.2)."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from ..crypto.keys import encode_public
from ..errors import CertificateError, ConfigError
from ..rules import printable
from .certificates import Certificate
from .combine import Policy
from .path import check_chain
from .presented import PresentedChain, VerifiedPeer


@dataclass(frozen=True, slots=True)
class Pin(Policy):
    """Known keys. Alone, a verifier: the peer must own one of them. With `&`, a check on another verifier's chain.

    Alone it looks at no name, no date and no issuer: whoever gave us the key has said whose it is, and a certificate
    around it adds nothing (the out-of-band profile of RFC 7858 §4.2). As a check, any certificate of the verified chain
    may have the key: pinning the key of a CA outlives its leaves.
    """

    pins: frozenset[str]
    """Each `sha256/` and 44 characters of base64."""

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(b"pin " + " ".join(sorted(self.pins)).encode()).digest()

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        """Accept a leaf whose key is known. Raises CertificateError."""
        check_chain(presented)
        found = pin_of(presented.leaf)
        if found is None or found not in self.pins:
            raise self._refused(presented, (presented.leaf,), "the peer's key is not one of the known ones")
        return VerifiedPeer((presented.leaf,), f"its key is known: {found}")

    def check(self, presented: PresentedChain, verified: VerifiedPeer) -> None:
        """Refuse a verified chain in which no certificate has a known key. Raises CertificateError."""
        if not any(pin_of(certificate) in self.pins for certificate in verified.chain):
            raise self._refused(presented, verified.chain, "no certificate of the verified chain has a known key")

    def _refused(self, presented: PresentedChain, chain: tuple[Certificate, ...], text: str) -> CertificateError:
        found = [pin_of(certificate) or "a key that cannot be pinned" for certificate in chain]
        return CertificateError(
            f"{text}: the leaf has {found[0]}",
            code="pin-mismatch",
            remedy="if the peer has a new key, and its owner says so, add that pin; otherwise someone is in between",
            peer_chain=presented.chain,
            certificate=presented.leaf,
            section="RFC 7858 §4.2",
            facts={"pins": printable(", ".join(found)), "known": printable(", ".join(sorted(self.pins)))},
        )


def parse_pins(pins: tuple[str, ...]) -> frozenset[str]:
    """Pins as they are written in configurations. Raises ConfigError."""
    for given in pins:
        if not _FORM.fullmatch(str(given)):
            raise ConfigError(
                f"{printable(str(given), 60)!r} is no pin",
                code="pin",
                remedy="sha256/ and the base64 of a key's SHA-256: openssl x509 -pubkey -noout -in CERT |"
                " openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64",
            )
    if not pins:
        raise ConfigError("a pin policy of no pins accepts nobody", code="pin")
    return frozenset(pins)


def pin_of(certificate: Certificate) -> str | None:
    """`sha256/…` of the certificate's SubjectPublicKeyInfo; None for a key that is not read here."""
    if certificate.public_key is None:
        return None
    encoded = encode_public(certificate.public_key)
    if encoded not in certificate.x509.tbs_certificate_bytes:
        return None  # declared as another algorithm than the library writes: id-RSASSA-PSS
    return f"sha256/{base64.b64encode(hashlib.sha256(encoded).digest()).decode()}"


_FORM: Final = re.compile(r"sha256/[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
