"""Certificates: read once, completely, into values that nothing later can make fail (RFC 5280 §4).

The parsing library is lazy: an attribute touched late can raise late, and not only ValueError. Everything that is used
is therefore read in `Certificate.from_der`, behind one `except`.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Final, TypeVar, cast

import cryptography.x509 as pyca
from cryptography.x509.oid import AuthorityInformationAccessOID, PublicKeyAlgorithmOID

from ..crypto.signatures import KeyKind, PublicKey, kind_of, schemes_for
from ..errors import ConfigError
from ..limits import MAX_NAME, MAX_REMEMBERED, MAX_URL, MOST_REMEMBERED, MOST_URLS, Limits
from ..rules import CERTIFICATE_MALFORMED, CHAIN_TOO_LONG, PeerFault, printable, require
from ..wire.names import SignatureScheme
from .pem import CERTIFICATE_LABELS, blocks, encode, is_pem

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Certificate:
    """One X.509 certificate, completely read. Equal and hashed by its DER bytes.

    All text comes from whoever made the certificate: it is escaped, on one line and bounded. URLs stand as they are,
    and only those that can be fetched so: printable ASCII, at most 2048 characters.
    """

    der: bytes
    x509: pyca.Certificate
    """The same certificate as an object of the `cryptography` package."""
    subject: str
    """Distinguished name in the form of RFC 4514, `CN=example.com`; empty when there is none."""
    issuer: str
    serial: int
    """Never negative."""
    names: tuple[str, ...]
    """DNS names and IP addresses of subjectAltName, in its order (RFC 5280 §4.2.1.6)."""
    not_before: datetime
    """First moment of validity; an aware datetime in UTC."""
    not_after: datetime
    """Last moment of validity; an aware datetime in UTC."""
    public_key: PublicKey | None
    """The key; None when it is of a kind that signs nothing in TLS, or cannot be read."""
    key_kind: KeyKind | None
    """None exactly when `public_key` is."""
    key_bits: int
    """Bits of an RSA modulus or a curve; the size of the encoded key for kinds that have one size; 0 when unknown."""
    key_description: str
    """The key in words: `EC P-256`, `RSA 2048`."""
    schemes: tuple[SignatureScheme, ...]
    """What its key may sign a TLS 1.3 handshake with, best first."""
    signature_hash: str | None
    """The hash of the certificate's own signature, as hashlib names it; None when the algorithm has no single one."""
    is_ca: bool
    """basicConstraints says CA (RFC 5280 §4.2.1.9)."""
    path_length: int | None
    """pathLenConstraint; None when there is no bound."""
    allows_signing: bool
    """keyUsage is absent or has digitalSignature (RFC 5280 §4.2.1.3)."""
    allows_encryption: bool
    """keyUsage is absent or has keyEncipherment."""
    allows_issuing: bool
    """keyUsage is absent or has keyCertSign."""
    allows_crls: bool
    """keyUsage is absent or has cRLSign."""
    purposes: tuple[str, ...] | None
    """extKeyUsage as dotted object identifiers (RFC 5280 §4.2.1.12); None when absent: any purpose."""
    critical: frozenset[str]
    """Which extensions are critical, as dotted object identifiers (RFC 5280 §4.2)."""
    issuer_urls: tuple[str, ...]
    """Where the issuer's certificate can be fetched (RFC 5280 §4.2.2.1); never fetched by a verifier here."""
    ocsp_urls: tuple[str, ...]
    """Where its issuer answers for it (RFC 5280 §4.2.2.1, RFC 6960 §3.1); in the certificate's order."""
    crl_urls: tuple[str, ...]
    """Where its issuer's revocation lists are (RFC 5280 §4.2.1.13): URLs that stand for a whole list."""
    must_staple: bool
    """TLSFeature names status_request: no server shows this certificate without an OCSP response (RFC 7633 §4.2.3)."""
    has_san: bool
    """subjectAltName is present."""
    alternative_names: tuple[pyca.GeneralName, ...]
    """All that it holds, of whatever kind."""
    constraints: pyca.NameConstraints | None
    """nameConstraints (RFC 5280 §4.2.1.10); None when absent."""

    @classmethod
    def from_der(cls, der: bytes) -> Certificate:
        """Read a certificate. Raises ValueError, with a short text, for whatever is wrong with it."""
        try:
            return _quietly(_collect, der)
        except Exception as error:
            reason = printable(str(error), 120) or type(error).__name__
        raise ValueError(reason)

    @property
    def is_small(self) -> bool:
        """Whether it is short enough to be remembered, for the sake of the next handshake."""
        return len(self.der) <= MAX_REMEMBERED

    @property
    def sha256(self) -> str:
        """The fingerprint: SHA-256 of the DER, in hexadecimal."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def subject_der(self) -> bytes:
        """The subject in DER: what certificate_authorities lists (RFC 8446 §4.2.4). Empty when it cannot be written."""
        return _name_der(self.x509.subject)

    @property
    def issuer_der(self) -> bytes:
        """The issuer in DER."""
        return _name_der(self.x509.issuer)

    @property
    def crl_points(self) -> frozenset[str]:
        """What a list may call the part of its issuer's certificates that this one is in (RFC 5280 §5.2.5).

        All URIs that stand for a whole list, raw: also those that are too many or too odd to be fetched.
        """
        points = (e.value for e in self.x509.extensions if isinstance(e.value, pyca.CRLDistributionPoints))
        return frozenset(name.value for name in _crl_names(next(points, None)) if isinstance(name, _URI))

    @property
    def is_self_issued(self) -> bool:
        """Subject and issuer are the same name (RFC 5280 §6.1). No proof that the key signed itself."""
        return self.subject == self.issuer and self.x509.subject == self.x509.issuer  # names take 10 µs to compare

    @property
    def is_self_signed(self) -> bool:
        """Self-issued, and its own key made the signature. Costs one verification."""
        return self.is_self_issued and self.was_signed_by(self)

    def was_signed_by(self, issuer: Certificate) -> bool:
        """True when the names chain and `issuer`'s key made this certificate's signature. Costs one verification.

        Says nothing of whether the issuer may sign: that is path validation.
        """
        try:
            self.x509.verify_directly_issued_by(issuer.x509)
        except Exception:
            return False
        return True

    def pem(self) -> bytes:
        return encode("CERTIFICATE", self.der)

    def end_point_hash(self) -> bytes:
        """The channel binding tls-server-end-point (RFC 5929 §4.1): the certificate hashed as its signature was.

        MD5 and SHA-1 give way to SHA-256. Raises ValueError when the signature algorithm has no single hash (Ed25519,
        Ed448, ML-DSA): the binding is then undefined.
        """
        if self.signature_hash is None:
            raise ValueError("tls-server-end-point is undefined: the certificate's signature has no single hash")
        name = "sha256" if self.signature_hash in ("md5", "sha1") else self.signature_hash
        return hashlib.new(name, self.der).digest()

    def __eq__(self, other: object) -> bool:
        return self.der == other.der if isinstance(other, Certificate) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.der)

    def __repr__(self) -> str:
        return f"<Certificate {printable(self.subject, 60)!r} {self.key_description} {self.sha256[:16]}>"

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        return Certificate.from_der, (self.der,)


def parse_chain(ders: Sequence[bytes], limits: Limits) -> tuple[Certificate, ...]:
    """The certificates of a peer's Certificate message, leaf first.

    Counts and sizes are checked before anything is parsed. Raises PeerFault.
    """
    require(len(ders) <= limits.chain_length, CHAIN_TOO_LONG, f"{len(ders)} certificates")
    for index, der in enumerate(ders):
        size = len(der)
        require(size <= limits.certificate, CHAIN_TOO_LONG, f"certificate {index}: {size} bytes")
    require(sum(map(len, ders)) <= limits.certificate_message, CHAIN_TOO_LONG, "more bytes than a message may have")
    return tuple([_parse_received(index, der) for index, der in enumerate(ders)])


def certificates_from(data: bytes) -> tuple[Certificate, ...]:
    """Our own certificates from a file's bytes: PEM with one or many, or one in DER, in the order of the file.

    Raises ConfigError when there is none or one cannot be read.
    """
    try:
        found = [block.der for block in blocks(data) if block.label in CERTIFICATE_LABELS] if is_pem(data) else [data]
    except ValueError as error:
        raise ConfigError(f"the certificates cannot be read: {error}", remedy="export them again, as PEM") from None
    if not found or not found[0]:
        raise ConfigError(
            "there is no certificate in this PEM text" if found or is_pem(data) else "there is no certificate",
            remedy="give a PEM file with at least one BEGIN CERTIFICATE, or a DER certificate",
        )
    certificates = []
    for index, der in enumerate(found):
        try:
            certificates.append(Certificate.from_der(der))
        except ValueError as error:
            raise ConfigError(
                f"certificate {index} cannot be read: {error}",
                remedy="give PEM or DER; for .p12 and .pfx files use Credential.from_pkcs12",
            ) from None
    return tuple(certificates)


def _parse_received(index: int, der: bytes) -> Certificate:
    try:
        return _read_lately(der) if len(der) <= MAX_REMEMBERED else Certificate.from_der(der)
    except ValueError as error:
        raise PeerFault(CERTIFICATE_MALFORMED, f"certificate {index}: {error}") from None


@lru_cache(MOST_REMEMBERED)
def _read_lately(der: bytes) -> Certificate:
    """The same bytes are the same certificate: it is read once, and a thousand connections to one server share it.

    This is reading alone. Whether it is good is asked at every handshake.
    """
    return Certificate.from_der(der)


def load_x509(der: bytes) -> pyca.Certificate:
    """The library's certificate, of which little is read yet. Raises whatever the library raises."""
    return _quietly(pyca.load_der_x509_certificate, der)


def _quietly(read: Callable[[bytes], T], der: bytes) -> T:
    """What `read` makes of a certificate. RFC 5280 §4.1.2.2 forbids a serial number of zero, and well-known roots have
    it: the library warns each time, to nobody's use.
    """
    if _SERIAL_ZERO not in der[:32]:
        return read(der)
    # filters of warnings belong to the process, so only one thread at a time changes them
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read(der)


def _collect(der: bytes) -> Certificate:
    """Everything a `Certificate` holds. Raises whatever the library raises."""
    x509 = pyca.load_der_x509_certificate(der)
    if x509.serial_number < 0:
        raise ValueError("the serial number is negative")
    extensions = {type(extension.value): extension.value for extension in x509.extensions}
    san = _extension(extensions, pyca.SubjectAlternativeName)
    basic = _extension(extensions, pyca.BasicConstraints)
    usage = _extension(extensions, pyca.KeyUsage)
    extended = _extension(extensions, pyca.ExtendedKeyUsage)
    access = _extension(extensions, pyca.AuthorityInformationAccess)
    key = _read_key(x509)
    return Certificate(
        der=bytes(der),
        x509=x509,
        subject=printable(x509.subject.rfc4514_string()),
        issuer=printable(x509.issuer.rfc4514_string()),
        serial=x509.serial_number,
        names=_names(san) if san else (),
        not_before=x509.not_valid_before_utc,
        not_after=x509.not_valid_after_utc,
        public_key=key.public_key,
        key_kind=key.kind,
        key_bits=key.bits,
        key_description=key.description,
        schemes=key.schemes,
        signature_hash=_signature_hash(x509),
        is_ca=basic is not None and basic.ca,
        path_length=basic.path_length if basic else None,
        allows_signing=usage is None or usage.digital_signature,
        allows_encryption=usage is None or usage.key_encipherment,
        allows_issuing=usage is None or usage.key_cert_sign,
        allows_crls=usage is None or usage.crl_sign,
        purposes=None if extended is None else tuple(oid.dotted_string for oid in extended),
        critical=frozenset(extension.oid.dotted_string for extension in x509.extensions if extension.critical),
        issuer_urls=_access_urls(access, AuthorityInformationAccessOID.CA_ISSUERS),
        ocsp_urls=_access_urls(access, AuthorityInformationAccessOID.OCSP),
        crl_urls=_urls(_crl_names(_extension(extensions, pyca.CRLDistributionPoints))),
        must_staple=pyca.TLSFeatureType.status_request in (_extension(extensions, pyca.TLSFeature) or ()),
        has_san=san is not None,
        alternative_names=tuple(san or ()),
        constraints=_extension(extensions, pyca.NameConstraints),
    )


@dataclass(frozen=True, slots=True)
class _Key:
    """What a certificate says about its key."""

    public_key: PublicKey | None
    kind: KeyKind | None
    bits: int
    description: str
    schemes: tuple[SignatureScheme, ...]


def _read_key(x509: pyca.Certificate) -> _Key:
    """A key nobody can use is no error here: only a leaf's key must be usable."""
    oid = x509.public_key_algorithm_oid
    pss = oid == PublicKeyAlgorithmOID.RSASSA_PSS
    try:
        key: object = x509.public_key()
    except Exception:
        key = None
    kind = kind_of(key, pss=pss)
    bits = int(getattr(key, "key_size", 0)) or 8 * _RAW_SIZES.get(kind, 0)
    schemes = schemes_for(kind, bits) if kind else ()
    return _Key(
        public_key=cast(PublicKey, key) if kind else None,  # `kind_of` knows these alone
        kind=kind,
        bits=bits,
        description=_key_description(key, kind, bits, oid.dotted_string),
        schemes=schemes,
    )


def _key_description(key: object, kind: KeyKind | None, bits: int, oid: str) -> str:
    if kind is not None:
        return f"{kind.value} {bits}" if kind in (KeyKind.RSA, KeyKind.RSA_PSS) else str(kind.value)
    curve = getattr(getattr(key, "curve", None), "name", "")
    return printable(f"EC {curve}" if curve else f"key of algorithm {oid}", 60)


def _signature_hash(x509: pyca.Certificate) -> str | None:
    try:
        algorithm = x509.signature_hash_algorithm
    except Exception:
        return None  # an algorithm the library does not know; its signature cannot be verified either
    return algorithm.name.replace("-", "_") if algorithm else None


def _name_der(name: pyca.Name) -> bytes:
    """Written anew, which the library may refuse for a name that it has read. Costs 30 µs, so it waits to be asked."""
    try:
        return name.public_bytes()
    except Exception:
        return b""


def _names(san: pyca.SubjectAlternativeName) -> tuple[str, ...]:
    return tuple(printable(str(name.value), MAX_NAME) for name in san if type(name) in _NAME_TYPES)


def _access_urls(access: pyca.AuthorityInformationAccess | None, method: pyca.ObjectIdentifier) -> tuple[str, ...]:
    return _urls(entry.access_location for entry in access or () if entry.access_method == method)


def _crl_names(points: pyca.CRLDistributionPoints | None) -> Iterator[pyca.GeneralName]:
    """A list that covers only some reasons, or that another CA signs, says nothing certain of this certificate."""
    whole = (point for point in points or () if point.reasons is None and point.crl_issuer is None)
    return (name for point in whole for name in point.full_name or ())


def _urls(names: Iterable[pyca.GeneralName]) -> tuple[str, ...]:
    """The first that can be fetched, whole: one that is cut leads elsewhere."""
    found = (name.value for name in names if isinstance(name, _URI))
    return tuple(islice(filter(_can_be_fetched, found), MOST_URLS))


def _can_be_fetched(url: str) -> bool:
    return len(url) <= MAX_URL and url.isascii() and url.isprintable()


_E = TypeVar("_E", bound=pyca.ExtensionType)


def _extension(extensions: dict[type[pyca.ExtensionType], pyca.ExtensionType], wanted: type[_E]) -> _E | None:
    return cast("_E | None", extensions.get(wanted))


_RAW_SIZES: Final[dict[KeyKind | None, int]] = {
    KeyKind.ED25519: 32,
    KeyKind.ED448: 57,
    KeyKind.MLDSA44: 1312,
    KeyKind.MLDSA65: 1952,
    KeyKind.MLDSA87: 2592,
}
_NAME_TYPES: Final = (pyca.DNSName, pyca.IPAddress)
_URI: Final = pyca.UniformResourceIdentifier
_SERIAL_ZERO: Final = bytes.fromhex("a003020102020100")
"""How a certificate of version 3 with the serial number 0 begins, inside its two outer headers (RFC 5280 §4.1)."""
_WARNINGS: Final = threading.Lock()
