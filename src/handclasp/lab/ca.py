"""A throw-away certificate authority, for tests, demonstrations and a first server on localhost.

    ca = CertificateAuthority()
    server = ServerConfig(credentials=[ca.issue("localhost", "127.0.0.1")])
    client = ClientConfig(trust=ca.trust)

Its keys live in memory and are gone with it. It also makes, on demand, certificates that are wrong in one known way.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypedDict, Unpack

import cryptography.x509 as pyca
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from ..crypto.keys import DER, certificate_hash, encode_private, encode_public, generate
from ..crypto.signatures import KeyKind, PrivateKey, kind_of, schemes_for, sign
from ..errors import ConfigError
from ..identity.certificates import Certificate
from ..identity.credentials import Credential
from ..identity.der import BIT_STRING, SEQUENCE, element
from ..identity.names import peer_name
from ..identity.pem import encode
from ..identity.trust import TrustStore
from .statements import CertId, ListOptions, ResponseOptions, Speaker, Withdrawn, make_list, make_response

_CA_DAYS: Final = 3650.0

Usage = Literal["server", "client", "both", "any"]
"""What extKeyUsage says; `any` leaves the extension out."""


class LeafOptions(TypedDict, total=False):
    """How a leaf differs from a good server certificate. The last group makes faults."""

    key_kind: KeyKind
    """P-256 unless said otherwise."""
    rsa_bits: int
    """2048 unless said otherwise."""
    key: PrivateKey
    """An existing key, in place of a new one."""
    days: float
    """Length of validity, 30 unless said otherwise."""
    not_before: datetime
    """First moment of validity; an hour before now, or before the CA's `at`, unless said otherwise."""
    usage: Usage
    """`server` unless said otherwise."""
    common_name: str
    """CN of the subject; the first name unless said otherwise; empty for a subject without one."""
    issuer_url: str
    """Where the issuer's certificate is (authorityInformationAccess)."""
    ocsp_url: str
    """Where the issuer answers for it (authorityInformationAccess): see `StatusServer`."""
    crl_url: str
    """Where the issuer's revocation list is (cRLDistributionPoints)."""
    must_staple: bool
    """True: only to be shown with an OCSP response (TLSFeature)."""

    key_usage: Sequence[str] | None
    """keyUsage bits by the library's names, `("digital_signature",)` unless said otherwise; None leaves it out."""
    san: bool
    """False leaves subjectAltName out."""
    eku: Sequence[str] | None
    """extKeyUsage as dotted object identifiers, in place of `usage`; None leaves it out."""
    ca: bool
    """True makes a CA certificate of it."""
    send_chain: bool
    """False leaves the intermediates out of what is sent."""
    extensions: Sequence[tuple[pyca.ExtensionType, bool]]
    """More extensions, each with whether it is critical."""


@dataclass(frozen=True, slots=True)
class PemPair:
    """A chain and its private key (PKCS#8, not encrypted) as PEM, for programs that want files.

    The key of an RSA-PSS leaf is written as rsaEncryption, because the library has no other form for it: programs that
    compare its type with the certificate's, as OpenSSL does, want it rewritten.
    """

    chain: bytes
    key: bytes = field(repr=False)


class CertificateAuthority:
    """A root, or an intermediate below one. Keys are new each time.

    `at` fixes the moment certificates are issued at, for tests of dates; otherwise it is now.
    """

    __slots__ = ("_above", "_at", "_key", "certificate", "revoked", "root")

    certificate: Certificate
    """This CA's own certificate."""
    root: Certificate
    """The root at the top, which may be this CA's own."""
    revoked: dict[int, Withdrawn]
    """What it has taken back, by serial number."""

    def __init__(
        self,
        name: str = "handclasp lab CA",
        *,
        key_kind: KeyKind = KeyKind.P256,
        rsa_bits: int = 2048,
        at: datetime | None = None,
    ) -> None:
        self._at = at
        self._key = generate(key_kind, bits=rsa_bits)
        subject = _subject(name)
        builder = _ca_builder(subject, self._key, self._now() - _CA_EARLIER, _CA_DAYS, None)
        self.certificate = _signed(builder.issuer_name(subject), self._key)
        self.root = self.certificate
        self._above: tuple[Certificate, ...] = ()
        self.revoked = {}

    @property
    def trust(self) -> TrustStore:
        """A trust store of the root alone."""
        return TrustStore.from_certificates([self.root])

    def pem(self) -> bytes:
        """The root's certificate."""
        return self.root.pem()

    def intermediate(
        self,
        name: str,
        *,
        path_length: int | None = 0,
        permitted: Sequence[str] | None = None,
        excluded: Sequence[str] | None = None,
        purposes: Sequence[str] | None = None,
        ca: bool = True,
        key_kind: KeyKind = KeyKind.P256,
        rsa_bits: int = 2048,
        days: float = _CA_DAYS,
        not_before: datetime | None = None,
        ocsp_url: str = "",
        crl_url: str = "",
    ) -> CertificateAuthority:
        """A CA below this one.

        `permitted` and `excluded` are name constraints: DNS names and IP networks. `purposes` is extKeyUsage, dotted.
        `ca=False` makes a fault: a certificate that signs others without being a CA's.
        """
        below = CertificateAuthority.__new__(CertificateAuthority)
        below._at, below.root, below.revoked = self._at, self.root, {}
        below._key = generate(key_kind, bits=rsa_bits)
        start = not_before or self._now() - _CA_EARLIER
        builder = _ca_builder(_subject(name), below._key, start, days, path_length, ca=ca)
        if purposes is not None:
            builder = builder.add_extension(_extended_key_usage(purposes), critical=False)
        if permitted is not None or excluded is not None:
            builder = builder.add_extension(_constraints(permitted, excluded), critical=True)
        builder = _with_pointers(builder, {"ocsp_url": ocsp_url, "crl_url": crl_url})
        below.certificate = _signed(self._issued_by_us(builder), self._key)
        below._above = (below.certificate, *self._above)
        return below

    def issue(self, *names: str, **options: Unpack[LeafOptions]) -> Credential:
        """A leaf for these DNS names and IP addresses, with its key; the chain has the intermediates, not the root."""
        chain, key = self._leaf(names, options)
        return Credential.from_objects(chain, key)

    def issue_pem(self, *names: str, **options: Unpack[LeafOptions]) -> PemPair:
        """The same as PEM."""
        chain, key = self._leaf(names, options)
        return PemPair(b"".join(certificate.pem() for certificate in chain), encode("PRIVATE KEY", encode_private(key)))

    def revoke(
        self, certificate: Certificate, reason: str | None = "keyCompromise", *, at: datetime | None = None
    ) -> None:
        """Take a certificate back, for a reason in the standard's word (RFC 5280 §5.3.1)."""
        flag = None if reason is None else pyca.ReasonFlags(reason)
        self.revoked[certificate.serial] = Withdrawn((at or self._now()).replace(microsecond=0), flag)

    def ocsp_response(self, certificate: Certificate, **options: Unpack[ResponseOptions]) -> bytes:
        """What it says of a certificate of its own, DER: to be stapled."""
        about = CertId.made(certificate, self.certificate)
        return make_response(about, self.revoked, self.speaker, self._now(), options)

    def crl(self, **options: Unpack[ListOptions]) -> bytes:
        """Its revocation list, DER."""
        return make_list(self.revoked, self.speaker, self._now(), options)

    @property
    def speaker(self) -> Speaker:
        """Itself, signing."""
        return Speaker(self.certificate, self._key)

    def _leaf(self, names: Sequence[str], options: LeafOptions) -> tuple[tuple[Certificate, ...], PrivateKey]:
        kind = options.get("key_kind", KeyKind.P256)
        key = options.get("key") or generate(kind, bits=options.get("rsa_bits", 2048))
        builder = self._issued_by_us(_leaf_builder(names, options, key, self._now()))
        leaf = _signed(builder, self._key)
        if kind is KeyKind.RSA_PSS:
            leaf = _as_pss(leaf, self._key)
        return (leaf, *(self._above if options.get("send_chain", True) else ())), key

    def _issued_by_us(self, builder: pyca.CertificateBuilder) -> pyca.CertificateBuilder:
        key_id = pyca.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        issuer = pyca.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)
        return builder.issuer_name(self.certificate.x509.subject).add_extension(issuer, critical=False)

    def _now(self) -> datetime:
        return self._at or datetime.now(UTC)

    def __repr__(self) -> str:
        return f"<CertificateAuthority {self.certificate.subject!r}>"


def self_signed(*names: str, at: datetime | None = None, **options: Unpack[LeafOptions]) -> Credential:
    """A leaf that signed itself: nobody vouches for it. `send_chain` means nothing here."""
    key = options.get("key") or generate(options.get("key_kind", KeyKind.P256), bits=options.get("rsa_bits", 2048))
    builder = _leaf_builder(names, options, key, at or datetime.now(UTC))
    leaf = _signed(builder.issuer_name(_subject(_common_name(names, options))), key)
    return Credential.from_objects([leaf], key)


def _leaf_builder(
    names: Sequence[str], options: LeafOptions, key: PrivateKey, now: datetime
) -> pyca.CertificateBuilder:
    common_name = _common_name(names, options)
    start = options.get("not_before", now - _EARLIER)
    builder = _builder(_subject(common_name), key, start, options.get("days", 30))
    builder = builder.add_extension(pyca.BasicConstraints(options.get("ca", False), None), critical=True)
    if names and options.get("san", True):
        # RFC 5280 §4.2.1.6: critical exactly when it is all the certificate says about its subject.
        builder = builder.add_extension(_alternative_names(names), critical=not common_name)
    key_usage = options.get("key_usage", ("digital_signature",))
    if key_usage is not None:
        builder = builder.add_extension(_key_usage(key_usage), critical=True)
    purposes = options["eku"] if "eku" in options else _PURPOSES[options.get("usage", "server")]
    if purposes is not None:
        builder = builder.add_extension(_extended_key_usage(purposes), critical=False)
    builder = _with_pointers(builder, options)
    if options.get("must_staple"):
        builder = builder.add_extension(pyca.TLSFeature([pyca.TLSFeatureType.status_request]), critical=False)
    for extension, critical in options.get("extensions", ()):
        builder = builder.add_extension(extension, critical=critical)
    return builder


def _with_pointers(builder: pyca.CertificateBuilder, options: LeafOptions) -> pyca.CertificateBuilder:
    """The places where more is to be had."""
    places = (
        (AuthorityInformationAccessOID.OCSP, options.get("ocsp_url")),
        (AuthorityInformationAccessOID.CA_ISSUERS, options.get("issuer_url")),
    )
    access = [pyca.AccessDescription(kind, pyca.UniformResourceIdentifier(url)) for kind, url in places if url]
    if access:
        builder = builder.add_extension(pyca.AuthorityInformationAccess(access), critical=False)
    if url := options.get("crl_url"):
        point = pyca.DistributionPoint([pyca.UniformResourceIdentifier(url)], None, None, None)
        builder = builder.add_extension(pyca.CRLDistributionPoints([point]), critical=False)
    return builder


def _ca_builder(
    subject: pyca.Name, key: PrivateKey, start: datetime, days: float, path_length: int | None, *, ca: bool = True
) -> pyca.CertificateBuilder:
    builder = _builder(subject, key, start, days)
    builder = builder.add_extension(pyca.BasicConstraints(ca, path_length if ca else None), critical=True)
    return builder.add_extension(_key_usage(("key_cert_sign", "crl_sign")), critical=True)


def _builder(subject: pyca.Name, key: PrivateKey, start: datetime, days: float) -> pyca.CertificateBuilder:
    public = key.public_key()
    builder = pyca.CertificateBuilder().subject_name(subject).public_key(public)
    builder = builder.serial_number(pyca.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=days))
    return builder.add_extension(pyca.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _signed(builder: pyca.CertificateBuilder, ca_key: PrivateKey) -> Certificate:
    return Certificate.from_der(builder.sign(ca_key, certificate_hash(ca_key)).public_bytes(DER))


def _as_pss(certificate: Certificate, ca_key: PrivateKey) -> Certificate:
    """The certificate with its RSA key declared as id-RSASSA-PSS (RFC 4055 §1.2), which the library cannot write."""
    kind = kind_of(ca_key.public_key())
    if kind is None or kind is KeyKind.RSA or certificate.public_key is None:
        raise ConfigError("an RSA-PSS leaf needs a lab CA with a key of another kind", remedy="use KeyKind.P256 for it")
    plain = encode_public(certificate.public_key)
    declared = element(SEQUENCE, _content(plain).replace(_RSA_ALGORITHM, _PSS_ALGORITHM, 1))
    old, x509 = certificate.x509.tbs_certificate_bytes, certificate.x509
    tbs = element(SEQUENCE, _content(old).replace(plain, declared, 1))
    # what stands between the signed part and the signature is the algorithm, which stays as it is
    algorithm = _content(certificate.der)[len(old) : -len(element(BIT_STRING, b"\0" + x509.signature))]
    # of every kind but RSA the handshake's scheme and the certificate's signature algorithm are the same thing
    signature = sign(ca_key, schemes_for(kind, 0)[0], tbs)
    return Certificate.from_der(element(SEQUENCE, tbs + algorithm + element(BIT_STRING, b"\0" + signature)))


def _content(der: bytes) -> bytes:
    """What is behind the tag and the length of an element, whose length says how long it is itself (X.690 §8.1.3)."""
    return der[2 + (der[1] & 0x7F if der[1] & 0x80 else 0) :]


def _common_name(names: Sequence[str], options: LeafOptions) -> str:
    return options.get("common_name", names[0] if names else "")


def _subject(common_name: str) -> pyca.Name:
    # RFC 5280 §A.1: a common name has at most 64 characters.
    return pyca.Name([pyca.NameAttribute(NameOID.COMMON_NAME, common_name[:64])] if common_name else [])


def _alternative_names(names: Sequence[str]) -> pyca.SubjectAlternativeName:
    return pyca.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> pyca.GeneralName:
    wildcard = name.startswith("*.")
    parsed = peer_name(name.removeprefix("*."))
    if parsed.kind == "ip":
        return pyca.IPAddress(ipaddress.ip_address(parsed.text))
    return pyca.DNSName(("*." if wildcard else "") + parsed.text)


def _constraints(permitted: Sequence[str] | None, excluded: Sequence[str] | None) -> pyca.NameConstraints:
    return pyca.NameConstraints(
        None if permitted is None else [_subtree(name) for name in permitted],
        None if excluded is None else [_subtree(name) for name in excluded],
    )


def _subtree(name: str) -> pyca.GeneralName:
    try:
        return pyca.IPAddress(ipaddress.ip_network(name))
    except ValueError:
        return pyca.DNSName(name)


def _extended_key_usage(purposes: Sequence[str]) -> pyca.ExtendedKeyUsage:
    return pyca.ExtendedKeyUsage([pyca.ObjectIdentifier(purpose) for purpose in purposes])


def _key_usage(bits: Sequence[str]) -> pyca.KeyUsage:
    return pyca.KeyUsage(**{bit: bit in bits for bit in _KEY_USAGE_BITS})


_CA_EARLIER: Final = timedelta(days=1)
_EARLIER: Final = timedelta(hours=1)
"""How long before now a leaf begins: clocks differ."""

_RSA_ALGORITHM: Final = bytes.fromhex("300d06092a864886f70d0101010500")
_PSS_ALGORITHM: Final = bytes.fromhex("300b06092a864886f70d01010a")
_SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH.dotted_string
_CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string
_PURPOSES: Final[dict[Usage, tuple[str, ...] | None]] = {
    "server": (_SERVER,),
    "client": (_CLIENT,),
    "both": (_SERVER, _CLIENT),
    "any": None,
}
_KEY_USAGE_BITS: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
