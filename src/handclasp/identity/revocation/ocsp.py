"""OCSP: the question, and an answer read with all doubt (RFC 6960). Nothing here goes out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import cryptography.x509 as pyca
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from ...crypto.attestation import CERT_ID_HASH, attested
from ...crypto.keys import DER
from ...limits import MAX_RESPONSE, MOST_DELEGATES, Limits
from ...rules import printable
from ..certificates import Certificate
from ..path import affordable, long_enough
from .finding import SKEW, Evidence, Finding, Period, Unusable

NONCE_SIZE: Final = 32
"""RFC 9654 §2.1."""


def make_request(certificate: Certificate, issuer: Certificate, nonce: bytes | None) -> bytes:
    """The question for a responder, DER (RFC 6960 §4.1): a nonce keeps old answers out, and cached ones.

    Raises Unusable for a certificate that cannot be named.
    """
    try:
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate.x509, issuer.x509, CERT_ID_HASH)
        if nonce is not None:
            builder = builder.add_extension(pyca.OCSPNonce(nonce), critical=False)
        return builder.build().public_bytes(DER)
    except Exception as error:
        raise Unusable("invalid", f"the question cannot be written: {type(error).__name__}") from None


def read_response(
    der: bytes,
    certificate: Certificate,
    issuer: Certificate,
    at: datetime,
    *,
    evidence: Evidence,
    nonce: bytes | None = None,
    limits: Limits,
) -> Finding:
    """What a response says of a certificate of this issuer's at this moment.

    `nonce` is what our request carried: an answer that has one has to have the same. Raises Unusable for an answer that
    does not count: another's, unsigned, out of date, or `unknown`.
    """
    if len(der) > MAX_RESPONSE:
        raise Unusable("invalid", f"it is longer than {MAX_RESPONSE} bytes")
    try:
        return _read(der, certificate, issuer, at, evidence, nonce, limits)
    except Unusable:
        raise
    except Exception as error:
        # what the library raises on hostile bytes is of many kinds, and often comes late
        reason = f"it cannot be read: {printable(str(error), 80) or type(error).__name__}"
    raise Unusable("invalid", reason)


def _read(
    der: bytes,
    certificate: Certificate,
    issuer: Certificate,
    at: datetime,
    evidence: Evidence,
    nonce: bytes | None,
    limits: Limits,
) -> Finding:
    response = ocsp.load_der_ocsp_response(der)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise Unusable("no-answer", f"the responder says {response.response_status.name.lower()}")
    mine = [single for single in response.responses if _is_about(single, certificate, issuer)]
    if not mine:
        raise Unusable("invalid", "it is about another certificate")
    if not any(_signed_by(response, signer) for signer in _authorised(response, issuer, at, limits)):
        raise Unusable("invalid", "it is signed neither by the issuer nor by a responder the issuer authorised")
    _check_extensions(response, nonce)
    if response.produced_at_utc > at + SKEW:
        raise Unusable("not-yet", f"it is from the future: {response.produced_at_utc:%Y-%m-%d %H:%M} UTC")
    for single in mine:
        Period(single.this_update_utc, single.next_update_utc).check(at)
    # where one response says two things, the worse one counts
    return _finding(min(mine, key=lambda single: _WORST_FIRST.index(single.certificate_status)), evidence)


def _is_about(single: ocsp.OCSPSingleResponse, certificate: Certificate, issuer: Certificate) -> bool:
    """The CertID is this certificate's (RFC 6960 §4.1.1), in whatever hash the responder chose."""
    if single.serial_number != certificate.serial:
        return False
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate.x509, issuer.x509, single.hash_algorithm)
    asked = builder.build()
    return (asked.issuer_name_hash, asked.issuer_key_hash) == (single.issuer_name_hash, single.issuer_key_hash)


def _authorised(
    response: ocsp.OCSPResponse, issuer: Certificate, at: datetime, limits: Limits
) -> Iterator[Certificate]:
    """Who may answer: the issuer, and whom it says so of in a certificate of its own (RFC 6960 §4.2.2.2)."""
    yield issuer
    for x509 in response.certificates[:MOST_DELEGATES]:
        delegate = Certificate.from_der(x509.public_bytes(DER))
        purposes = delegate.purposes or ()
        appointed = ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string in purposes and delegate.allows_signing
        understood = delegate.critical <= _UNDERSTOOD
        in_time = delegate.not_before <= at.replace(microsecond=0) <= delegate.not_after
        usable = long_enough(delegate) and affordable(delegate, limits)
        fit = appointed and understood and in_time and usable
        if fit and delegate.was_signed_by(issuer):
            yield delegate


def _signed_by(response: ocsp.OCSPResponse, signer: Certificate) -> bool:
    return attested(
        signer.public_key,
        response.signature_algorithm_oid,
        response.signature_hash_algorithm,
        response.signature,
        response.tbs_response_bytes,
    )


def _check_extensions(response: ocsp.OCSPResponse, nonce: bytes | None) -> None:
    for extension in response.extensions:
        if isinstance(extension.value, pyca.OCSPNonce):
            if nonce is not None and extension.value.nonce != nonce:
                raise Unusable("invalid", "it answers another request: its nonce is not ours")
        elif extension.critical:
            raise Unusable("invalid", "it has a critical extension that is not understood")
    # the library shows the extensions of an answer that stands alone, and of no other
    alone = len(list(response.responses)) == 1
    if alone and any(extension.critical for extension in response.single_extensions):
        raise Unusable("invalid", "it has a critical extension that is not understood")


def _finding(single: ocsp.OCSPSingleResponse, evidence: Evidence) -> Finding:
    period = Period(single.this_update_utc, single.next_update_utc)
    if single.certificate_status is ocsp.OCSPCertStatus.GOOD:
        return Finding(evidence, period)
    if single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        raise Unusable("unknown", "the responder does not know this certificate")
    reason = single.revocation_reason.value if single.revocation_reason else ""
    return Finding(evidence, period, single.revocation_time_utc or single.this_update_utc, reason)


_UNDERSTOOD: Final = frozenset(
    kind.oid.dotted_string
    for kind in (
        pyca.BasicConstraints,
        pyca.KeyUsage,
        pyca.ExtendedKeyUsage,
        pyca.SubjectAlternativeName,
        pyca.CertificatePolicies,
        pyca.OCSPNoCheck,
    )
)
"""What may be critical in a responder's certificate (RFC 5280 §4.2)."""
_WORST_FIRST: Final = (ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN, ocsp.OCSPCertStatus.GOOD)
