"""What a lab CA states of its certificates: OCSP responses and revocation lists, right or wrong in one known way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypedDict

import cryptography.x509 as pyca
from cryptography.x509 import ocsp

from ..crypto.attestation import CERT_ID_HASH
from ..crypto.keys import DER, certificate_hash
from ..crypto.signatures import PrivateKey
from ..identity.certificates import Certificate


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """That a certificate was revoked."""

    at: datetime
    reason: pyca.ReasonFlags | None


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who signs: a CA, or a delegate whose certificate goes along."""

    certificate: Certificate
    key: PrivateKey


@dataclass(frozen=True, slots=True)
class CertId:
    """Which certificate is meant (RFC 6960 §4.1.1)."""

    algorithm: Any
    """A hash object of the library."""
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int

    @classmethod
    def of(cls, request: ocsp.OCSPRequest) -> CertId:
        return cls(request.hash_algorithm, request.issuer_name_hash, request.issuer_key_hash, request.serial_number)

    @classmethod
    def made(cls, certificate: Certificate, issuer: Certificate) -> CertId:
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate.x509, issuer.x509, CERT_ID_HASH)
        return cls.of(builder.build())


class StatementOptions(TypedDict, total=False):
    """How a statement differs from a good one of now."""

    at: datetime
    """Its thisUpdate; an hour before now unless said otherwise."""
    valid: timedelta | None
    """From thisUpdate to nextUpdate, a day unless said otherwise; None leaves nextUpdate out."""
    speaker: Speaker
    """Who signs in the CA's place."""


class ResponseOptions(StatementOptions, total=False):
    """The same of an OCSP response."""

    status: Literal["good", "revoked", "unknown"]
    """In place of what the CA knows."""
    nonce: bytes
    """Copied from the request."""


class ListOptions(StatementOptions, total=False):
    """The same of a revocation list."""

    extensions: Sequence[tuple[pyca.ExtensionType, bool]]
    """More extensions, each with whether it is critical."""
    number: int | None
    """CRLNumber, 1 unless said otherwise; None leaves it out."""


def make_response(
    about: CertId, revoked: Mapping[int, Withdrawn], issuer: Speaker, now: datetime, options: ResponseOptions
) -> bytes:
    """An OCSP response about a certificate, DER."""
    since, until = _period(now, options)
    known = revoked.get(about.serial)
    status = options.get("status", "good" if known is None else "revoked")
    withdrawn = (known or Withdrawn(since, None)) if status == "revoked" else None
    speaker = options.get("speaker", issuer)
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        issuer_name_hash=about.issuer_name_hash,
        issuer_key_hash=about.issuer_key_hash,
        serial_number=about.serial,
        algorithm=about.algorithm,
        cert_status=_STATUS[status],
        this_update=since,
        next_update=until,
        revocation_time=withdrawn.at if withdrawn else None,
        revocation_reason=withdrawn.reason if withdrawn else None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, speaker.certificate.x509)
    if speaker.certificate != issuer.certificate:
        builder = builder.certificates([speaker.certificate.x509])
    if nonce := options.get("nonce"):
        builder = builder.add_extension(pyca.OCSPNonce(nonce), critical=False)
    return builder.sign(speaker.key, certificate_hash(speaker.key)).public_bytes(DER)


def refusal(status: ocsp.OCSPResponseStatus) -> bytes:
    """An OCSP response that says only why there is none (RFC 6960 §2.3)."""
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(DER)


def make_list(revoked: Mapping[int, Withdrawn], issuer: Speaker, now: datetime, options: ListOptions) -> bytes:
    """A revocation list, DER."""
    since, until = _period(now, options)
    speaker = options.get("speaker", issuer)
    builder = pyca.CertificateRevocationListBuilder().issuer_name(speaker.certificate.x509.subject)
    builder = builder.last_update(since)
    if until is not None:
        builder = builder.next_update(until)
    number = options.get("number", 1)
    if number is not None:
        builder = builder.add_extension(pyca.CRLNumber(number), critical=False)
    for extension, critical in options.get("extensions", ()):
        builder = builder.add_extension(extension, critical=critical)
    for serial, withdrawn in revoked.items():
        entry = pyca.RevokedCertificateBuilder().serial_number(serial).revocation_date(withdrawn.at)
        if withdrawn.reason is not None:
            entry = entry.add_extension(pyca.CRLReason(withdrawn.reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(speaker.key, certificate_hash(speaker.key)).public_bytes(DER)


def _period(now: datetime, options: StatementOptions) -> tuple[datetime, datetime | None]:
    since = options.get("at", now - _EARLIER).replace(microsecond=0)
    valid = options.get("valid", _USUAL)
    return since, None if valid is None else since + valid


_EARLIER: Final = timedelta(hours=1)
_USUAL: Final = timedelta(days=1)
_STATUS: Final = {
    "good": ocsp.OCSPCertStatus.GOOD,
    "revoked": ocsp.OCSPCertStatus.REVOKED,
    "unknown": ocsp.OCSPCertStatus.UNKNOWN,
}
