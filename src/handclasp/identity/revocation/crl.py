"""Revocation lists, read with all doubt (RFC 5280 §5 and §6.3). Nothing here goes out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import cryptography.x509 as pyca

from ...crypto.attestation import BROKEN_HASHES
from ...rules import printable
from ..certificates import Certificate, load_x509
from ..der import SEQUENCE
from ..pem import blocks, is_pem
from .finding import Evidence, Finding, Period, Unusable


@dataclass(frozen=True, slots=True, eq=False)
class RevocationList:
    """One list, as far as it can be judged without knowing whose certificate is looked for."""

    x509: pyca.CertificateRevocationList
    issuer: pyca.Name
    period: Period
    sha256: bytes
    """Of its DER: what it is known by."""
    scope: pyca.IssuingDistributionPoint | None


def read_lists(data: bytes) -> tuple[RevocationList, ...]:
    """The lists in PEM or DER bytes; those we do not understand raise Unusable (RFC 5280 §5.2: critical extensions)."""
    try:
        ders = [block.der for block in blocks(data) if block.label in _LABELS] if is_pem(data) else [data]
        return tuple(_read(der) for der in ders)
    except Unusable:
        raise
    except Exception as error:
        reason = f"it cannot be read: {printable(str(error), 80) or type(error).__name__}"
    raise Unusable("invalid", reason)


def may_be_lists(data: bytes) -> bool:
    """False for what plainly is something else: text, PEM of other things, a certificate."""
    if is_pem(data):
        try:
            return any(block.label in _LABELS for block in blocks(data))
        except ValueError:
            return True
    if data[:1] != bytes([SEQUENCE]):
        return False
    try:
        load_x509(data)
    except Exception:
        return True
    return False


def check_issuer(crl: RevocationList, issuer: Certificate) -> None:
    """That this CA signed the list, and may sign lists (RFC 5280 §6.3.3 f, g). Costs a hash of all of it.

    Raises Unusable.
    """
    if crl.issuer != issuer.x509.subject:
        raise Unusable("invalid", "it is another CA's")
    if not issuer.allows_crls:
        raise Unusable("invalid", "the issuer's key usage does not allow it to sign revocation lists")
    try:
        algorithm = crl.x509.signature_hash_algorithm
        sound = algorithm is None or algorithm.name not in BROKEN_HASHES
        # the library takes any public key here, and raises for the wrong ones
        signed = sound and issuer.public_key is not None and crl.x509.is_signature_valid(issuer.public_key)
    except Exception:
        signed = False
    if not signed:
        raise Unusable("invalid", "it is not signed by the issuer")


def look_up(crl: RevocationList, certificate: Certificate, at: datetime) -> Finding:
    """What a list of its issuer's, checked by `check_issuer`, says of a certificate. Raises Unusable."""
    crl.period.check(at)
    _check_scope(crl.scope, certificate)
    try:
        entry = crl.x509.get_revoked_certificate_by_serial_number(certificate.serial)
        if entry is None:
            return Finding(Evidence.CRL, crl.period)
        reason = _reason(entry)
        revoked_at = entry.revocation_date_utc
    except Unusable:
        raise
    except Exception as error:
        raise Unusable("invalid", f"its entry cannot be read: {type(error).__name__}") from None
    return Finding(Evidence.CRL, crl.period, revoked_at, reason)


def _read(der: bytes) -> RevocationList:
    x509 = pyca.load_der_x509_crl(der)
    scope, numbered = None, False
    for extension in x509.extensions:
        if isinstance(extension.value, pyca.IssuingDistributionPoint):
            scope = extension.value
        elif isinstance(extension.value, pyca.DeltaCRLIndicator):
            # it should be critical, and the list is no complete one where it is not (RFC 5280 §5.2.4)
            raise Unusable("invalid", "it holds only what has changed since another list")
        elif extension.critical:
            raise Unusable("invalid", "it has a critical extension that is not understood")
        numbered |= isinstance(extension.value, pyca.CRLNumber)
    if not numbered:
        raise Unusable("invalid", "it has no number")
    if scope is not None and (scope.indirect_crl or scope.only_some_reasons or scope.relative_name):
        raise Unusable("invalid", "it is not a complete list of one CA")
    return RevocationList(
        x509, x509.issuer, Period(x509.last_update_utc, x509.next_update_utc), hashlib.sha256(der).digest(), scope
    )


def _check_scope(scope: pyca.IssuingDistributionPoint | None, certificate: Certificate) -> None:
    """Whether the list is about certificates like this one (RFC 5280 §6.3.3 b). Raises Unusable.

    A CA may split its list: without this check one part could be shown in place of another.
    """
    if scope is None:
        return
    excluded = scope.only_contains_user_certs if certificate.is_ca else scope.only_contains_ca_certs
    if excluded or scope.only_contains_attribute_certs:
        raise Unusable("invalid", "it is about other kinds of certificates")
    if scope.full_name is not None:
        urls = {name.value for name in scope.full_name if isinstance(name, pyca.UniformResourceIdentifier)}
        if urls.isdisjoint(certificate.crl_points):
            raise Unusable("invalid", "it is about another part of the CA's certificates")


def _reason(entry: pyca.RevokedCertificate) -> str:
    """Why, in the standard's word; empty where it does not say. Raises Unusable for an entry that means another thing.

    removeFromCRL belongs into delta lists alone, and certificateIssuer, which is critical, into indirect ones
    (RFC 5280 §5.3).
    """
    reason = ""
    for extension in entry.extensions:
        if isinstance(extension.value, pyca.CRLReason):
            if extension.value.reason is pyca.ReasonFlags.remove_from_crl:
                raise Unusable("invalid", "its entry belongs into a delta list")
            reason = extension.value.reason.value
        elif extension.critical:
            raise Unusable("invalid", "its entry has a critical extension that is not understood")
    return reason


_LABELS: Final = frozenset({"X509 CRL", "CRL"})
