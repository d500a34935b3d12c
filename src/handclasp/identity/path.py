"""Path validation: from a peer's leaf to a trust anchor, by the rules of the web (RFC 5280 §6, CA/B Forum profile).

The `cryptography` package walks the path. Around its verifier stand the things it leaves to its caller: a hostile chain
is cut down before it costs anything, the leaf's own fitness is checked, and the name is compared a second time.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, TypeVar

import cryptography.x509 as pyca
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder

from ..crypto.signatures import KeyKind, rsa_exponent
from ..errors import from_fault
from ..limits import LEAST_RSA_BITS, MAX_RSA_EXPONENT, MOST_COMPARISONS, Limits
from ..rules import CERTIFICATE_KEY_TYPE, CERTIFICATE_KEY_USAGE, CHAIN_TOO_LONG, PeerFault, fail, printable, require
from .certificates import Certificate
from .constraints import Comparer, NotComparable, allowance
from .names import PeerName, any_matches
from .presented import PresentedChain, Role
from .roots import Anchors

MIN_RSA_BITS: Final = 2048
"""The smallest RSA key that counts for trust (CA/B Forum Baseline Requirements §6.1.5)."""

PURPOSES: Final = {
    Role.SERVER: ExtendedKeyUsageOID.SERVER_AUTH,
    Role.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH,
}
"""What extKeyUsage has to say about a certificate, by who presents it (RFC 5280 §4.2.1.12)."""


E = TypeVar("E", bound=pyca.ExtensionType)


class PathRefused(Exception):
    """No acceptable path; the text is the library's or ours, bounded. Internal: `diagnose` finds the words."""

    def __init__(self, reason: str, section: str = "", certificate: Certificate | None = None) -> None:
        super().__init__(reason)
        self.section = section
        """Where the rule is written; empty where the library does not say."""
        self.certificate = certificate
        """The one at fault; None where that is not known."""
        self.depth = 0
        """How many certificates of the path were good."""


def check_leaf(certificate: Certificate, limits: Limits) -> None:
    """What every leaf must be to sign a handshake, whoever verifies it: RFC 8446 §4.4.2.2.

    Raises PeerFault for a key that cannot sign in TLS 1.3, that anyone can break or that costs too much to verify with,
    and for a keyUsage without digitalSignature. A verifier may want more: a `TrustStore` wants RSA keys of 2048 bits.
    """
    breakable = certificate.key_kind in _RSA and certificate.key_bits < LEAST_RSA_BITS
    usable = certificate.schemes and affordable(certificate, limits) and not breakable
    require(usable, CERTIFICATE_KEY_TYPE, certificate.key_description)
    if not certificate.allows_signing:
        fail(CERTIFICATE_KEY_USAGE, f"it is for {key_usages(certificate)}")


def check_size(chain: Sequence[Certificate], limits: Limits) -> None:
    """Count and bytes of a chain: `parse_chain` has done it for those from the network. Raises PeerFault."""
    require(len(chain) <= limits.chain_length, CHAIN_TOO_LONG, f"{len(chain)} certificates")
    require(sum(len(c.der) for c in chain) <= limits.certificate_message, CHAIN_TOO_LONG, "too many bytes")


def check_chain(presented: PresentedChain) -> None:
    """What every verifier asks of a chain, whatever else it goes by. Raises CertificateError."""
    try:
        check_size(presented.chain, presented.limits)
        check_leaf(presented.leaf, presented.limits)
    except PeerFault as fault:
        raise from_fault(fault, presented.chain) from None


def extension_of(certificate: Certificate, kind: type[E]) -> E | None:
    """An extension's value; None where it is absent."""
    for extension in certificate.x509.extensions:
        value = extension.value
        if type(value) is kind:  # `isinstance` with the library's abstract classes costs 1 µs
            return value
    return None


def key_usages(certificate: Certificate) -> str:
    """keyUsage in the standard's words (RFC 5280 §4.2.1.3)."""
    found = extension_of(certificate, pyca.KeyUsage)
    if found is None:
        return "anything"
    return ", ".join(word for word, bit in _USAGES.items() if getattr(found, bit)) or "nothing"


def has_name(certificate: Certificate, name: PeerName) -> bool:
    """True when subjectAltName covers the name (RFC 9525 §6): an address never by a DNS name that reads like it."""
    kind = pyca.IPAddress if name.kind == "ip" else pyca.DNSName
    found = [str(entry.value) for entry in certificate.alternative_names if type(entry) is kind]
    return any_matches(found, name)


def affordable(certificate: Certificate, limits: Limits) -> bool:
    """False for an RSA key whose size or exponent makes one verification cost milliseconds."""
    exponent = rsa_exponent(certificate.public_key) if certificate.key_kind in _RSA else None
    if exponent is None:
        return True
    return certificate.key_bits <= limits.rsa_bits and exponent <= MAX_RSA_EXPONENT and exponent & 1 == 1


def may_sign_certificates(certificate: Certificate, limits: Limits) -> bool:
    """True for the kinds and sizes of keys that count as an issuer's under the rules of the web."""
    if certificate.key_kind in _RSA:
        return long_enough(certificate) and affordable(certificate, limits)
    return certificate.key_kind in _ISSUERS


def long_enough(certificate: Certificate) -> bool:
    """False for an RSA key that is too short to count for trust."""
    return certificate.key_kind not in _RSA or certificate.key_bits >= MIN_RSA_BITS


def find_path(presented: PresentedChain, anchors: Anchors) -> tuple[Certificate, ...]:
    """The verified path, leaf to anchor. Raises PathRefused; whatever the library raises is a refusal too."""
    leaf = presented.leaf
    if not long_enough(leaf):
        raise PathRefused("the leaf's RSA key is too short")
    if presented.name is None and presented.role is Role.SERVER:
        raise PathRefused("a server is verified by a name")
    if leaf.is_self_issued and leaf in anchors and leaf.is_self_signed:
        return _trusted_itself(presented)
    extras = worth_trying(presented)
    _check_comparisons(presented, extras, anchors)
    try:
        walked = _walk(presented, extras, anchors)
        anchor = anchors.find(walked[-1])
        path = (*[_among((leaf, *extras), x509) for x509 in walked[:-1]], anchor) if anchor is not None else ()
    except Exception as error:
        refusal = printable(str(error)) or type(error).__name__
    else:
        if path[:1] != (leaf,):
            raise PathRefused("the path does not lead from the leaf to an anchor")
        if presented.name is not None and not has_name(leaf, presented.name):
            raise PathRefused("the leaf does not have the name")
        _check_constraints(path)
        return path
    if passed_over := next((c for c in presented.chain[1:] if _is_unreadable(c)), None):
        refusal = "a CA's name constraints hold directory names, and are critical"
        raise PathRefused(refusal, "RFC 5280 §4.2.1.10", passed_over)
    raise PathRefused(refusal)


def _among(sent: Sequence[Certificate], x509: pyca.Certificate) -> Certificate:
    """The one that the library means. It is mostly the first, and to hash them takes longer than to compare."""
    return next(certificate for certificate in sent if certificate.x509 == x509)


def _trusted_itself(presented: PresentedChain) -> tuple[Certificate, ...]:
    """A self-signed leaf that is itself among the anchors, byte for byte: there is no path to walk.

    What the library would have checked of the leaf is checked here: its dates, purpose, name, and that no critical
    extension goes unread (RFC 5280 §4.2).
    """
    leaf, name = presented.leaf, presented.name
    now = presented.at.replace(microsecond=0)  # the dates have whole seconds, and include their last
    if not leaf.not_before <= now <= leaf.not_after:
        raise PathRefused("the certificate is not valid now")
    if leaf.purposes is not None and PURPOSES[presented.role].dotted_string not in leaf.purposes:
        raise PathRefused("the certificate's purpose is another")
    if not leaf.critical <= _UNDERSTOOD:
        raise PathRefused("the certificate has a critical extension that is not understood")
    if name is not None and not has_name(leaf, name):
        raise PathRefused("the certificate does not have the name")
    return (leaf,)


def worth_trying(presented: PresentedChain) -> tuple[Certificate, ...]:
    """The certificates beside the leaf that can be part of a path.

    Duplicates only multiply work; a self-signed one is an anchor already or worth nothing; the rest must have keys that
    can issue at all. One that the library cannot read would end its search, also where there is a good twin.
    """
    distinct = dict.fromkeys(presented.chain[1:])
    distinct.pop(presented.leaf, None)
    usable = (c for c in distinct if may_sign_certificates(c, presented.limits) and not _is_unreadable(c))
    return tuple(c for c in usable if not c.is_self_signed)


def _is_unreadable(certificate: Certificate) -> bool:
    """The library compares no directory names, and gives up where it would have to."""
    critical = pyca.NameConstraints.oid.dotted_string in certificate.critical
    return critical and any(isinstance(base, pyca.DirectoryName) for base in _bases(certificate))


def _bases(certificate: Certificate) -> tuple[pyca.GeneralName, ...]:
    """What its name constraints are about."""
    found = certificate.constraints
    return (*(found.permitted_subtrees or ()), *(found.excluded_subtrees or ())) if found else ()


def _check_comparisons(presented: PresentedChain, extras: Sequence[Certificate], anchors: Anchors) -> None:
    """The library compares each name with each constraint, on each path it tries: both lists are the peer's to fill."""
    above = [anchor for certificate in (presented.leaf, *extras) for anchor in anchors.above(certificate)]
    constrained = [
        certificate.constraints for certificate in (*extras, *dict.fromkeys(above)) if certificate.constraints
    ]
    if not constrained:
        return
    bases = sum(len(found.permitted_subtrees or ()) + len(found.excluded_subtrees or ()) for found in constrained)
    names = sum(len(certificate.alternative_names) + 1 for certificate in (presented.leaf, *extras))
    if names * bases > MOST_COMPARISONS:
        raise PathRefused("more names and name constraints than are compared", "RFC 5280 §4.2.1.10", presented.leaf)


def _check_constraints(path: Sequence[Certificate]) -> None:
    """The library compares names in subjectAltName alone: not the mailbox of a subject, and no directory names."""
    further = [issuer for issuer in path if any(not isinstance(base, _COMPARED) for base in _bases(issuer))]
    if not further:
        return
    comparer = Comparer(allowance())
    for issuer in further:
        for certificate in path[: path.index(issuer)]:
            if certificate != path[0] and certificate.is_self_issued:
                continue  # it is the CA itself (RFC 5280 §6.1.3 b)
            try:
                problem = comparer.forbidden(issuer, certificate)
            except NotComparable as unknown:
                problem = str(unknown)
            if problem:
                raise PathRefused(f"a CA may not vouch for {problem}", "RFC 5280 §4.2.1.10", issuer)


def _walk(presented: PresentedChain, extras: Sequence[Certificate], anchors: Anchors) -> list[pyca.Certificate]:
    builder = PolicyBuilder().store(anchors.store).time(presented.at).max_chain_depth(presented.limits.chain_length)
    leaf, others, name = presented.leaf.x509, [extra.x509 for extra in extras], presented.name
    if presented.role is Role.SERVER and name is not None and (subject := _subject(name)) is not None:
        return builder.build_server_verifier(subject).verify(leaf, others)
    # No name for the library to compare: its verifier for clients walks the same path without one. The purpose is set
    # here for both kinds of certificates, because that verifier would ask for clientAuth of a server too.
    purpose = _purpose_of(PURPOSES[presented.role])
    usual_ee, usual_ca = ExtensionPolicy.webpki_defaults_ee(), ExtensionPolicy.webpki_defaults_ca()
    ee = usual_ee.may_be_present(pyca.ExtendedKeyUsage, Criticality.AGNOSTIC, purpose)
    ca = usual_ca.may_be_present(pyca.ExtendedKeyUsage, Criticality.AGNOSTIC, purpose)
    if presented.role is Role.CLIENT:
        # Clients are often people or devices, with nothing to put into subjectAltName.
        ee = ee.may_be_present(pyca.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    verifier = builder.extension_policies(ca_policy=ca, ee_policy=ee).build_client_verifier()
    return verifier.verify(leaf, others).chain


@lru_cache(256)
def _subject(name: PeerName) -> pyca.DNSName | pyca.IPAddress | None:
    """The name as the library takes it; None for a name it refuses, with underscores or hyphens at a label's end."""
    if name.kind == "ip":
        return pyca.IPAddress(ipaddress.ip_address(name.text))
    labels = name.text.split(".")
    if "_" in name.text or any(label.startswith("-") or label.endswith("-") for label in labels):
        return None
    return pyca.DNSName(name.text)


def _purpose_of(wanted: pyca.ObjectIdentifier) -> Callable[[Policy, pyca.Certificate, _Usage | None], None]:
    """The rule that extKeyUsage, where present, includes the purpose."""

    def check(policy: Policy, certificate: pyca.Certificate, usage: _Usage | None) -> None:
        if usage is not None and wanted not in usage:
            raise ValueError("the certificate's purpose is another")

    return check


_Usage = pyca.ExtendedKeyUsage
_USAGES: Final = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
}
_RSA: Final = frozenset({KeyKind.RSA, KeyKind.RSA_PSS})
_ISSUERS: Final = frozenset(
    {KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.MLDSA44, KeyKind.MLDSA65, KeyKind.MLDSA87}
)
_COMPARED: Final = (pyca.DNSName, pyca.IPAddress)
"""Kinds of names that stand in subjectAltName alone."""
_UNDERSTOOD: Final = frozenset(
    kind.oid.dotted_string
    for kind in (pyca.BasicConstraints, pyca.KeyUsage, pyca.ExtendedKeyUsage, pyca.SubjectAlternativeName)
)
