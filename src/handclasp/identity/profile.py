"""What the web's own rules ask beyond RFC 5280, of a server's path: the CA/B Forum Baseline Requirements (BR).

They bind CAs when they issue. A certificate that breaks them was made by no CA of the web; one for a private network
may, and `private` is for those.
"""

from __future__ import annotations

import cryptography.x509 as pyca
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import ConfigError
from .certificates import Certificate
from .constraints import alternative_names
from .names import peer_name
from .path import PathRefused, extension_of
from .presented import PresentedChain, Role


def check_profile(presented: PresentedChain, path: tuple[Certificate, ...]) -> None:
    """Raises PathRefused for the first rule that one of the path breaks. No CA has issued a leaf trusted itself."""
    if len(path) == 1:
        return
    for index, certificate in enumerate(path):
        is_anchor = index == len(path) - 1
        _refuse(certificate, _strange_key(certificate) or _policies(certificate))
        _refuse(certificate, _key_identifiers(certificate, is_anchor=is_anchor, is_leaf=index == 0))
        if not is_anchor and certificate.serial == 0:
            raise PathRefused("a serial number is 0", "RFC 5280 §4.1.2.2", certificate)
    if path[-1].purposes is not None:
        raise PathRefused("a root has extKeyUsage", "BR §7.1.2.1.2", path[-1])
    if presented.role is Role.SERVER:
        _refuse(path[0], _server(path[0]))


def _refuse(certificate: Certificate, wrong: tuple[str, str] | None) -> None:
    if wrong is not None:
        raise PathRefused(*wrong, certificate)


def _strange_key(certificate: Certificate) -> tuple[str, str] | None:
    if certificate.key_description.startswith("RSA") and certificate.key_bits % 8:
        return f"the size of an RSA key, {certificate.key_bits} bits, is no multiple of 8", "BR §6.1.5"
    return None


def _policies(certificate: Certificate) -> tuple[str, str] | None:
    if extension_of(certificate, pyca.PolicyConstraints) is not None:
        return "a certificate has policy constraints, which are not read", "RFC 5280 §4.2.1.11"
    return None


def _key_identifiers(certificate: Certificate, *, is_anchor: bool, is_leaf: bool) -> tuple[str, str] | None:
    """RFC 5280 §4.2.1.1 and §4.2.1.2. Some roots of the web have no key identifier, so none is asked of an anchor."""
    own = extension_of(certificate, pyca.SubjectKeyIdentifier)
    issuers = extension_of(certificate, pyca.AuthorityKeyIdentifier)
    if issuers is None and not certificate.is_self_issued:
        return "a certificate does not identify its issuer's key", "RFC 5280 §4.2.1.1"
    if own is None and not is_anchor and not is_leaf:
        return "a CA certificate does not identify its key", "RFC 5280 §4.2.1.2"
    named = issuers.key_identifier if issuers is not None and is_anchor and certificate.is_self_issued else None
    if own is not None and named is not None and named != own.digest:
        return "a root says that another key than its own signed it", "BR §7.1.2.1.3"
    return None


def _server(leaf: Certificate) -> tuple[str, str] | None:
    purposes = leaf.purposes or ()
    if ExtendedKeyUsageOID.SERVER_AUTH.dotted_string not in purposes:
        return "the leaf does not say that it is for servers", "BR §7.1.2.7.10"
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string in purposes:
        return "the leaf is for any purpose", "BR §7.1.2.7.10"
    if any("_" in name for name in leaf.names):
        return "a name of the leaf has an underscore", "RFC 5280 §4.2.1.6"
    for attribute in leaf.x509.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        if attribute.value not in leaf.names and not _apart(str(attribute.value), leaf):
            return "the leaf's common name is not among its names", "BR §7.1.4.3"
    return None


def _apart(common_name: str, leaf: Certificate) -> bool:
    """The common name is a host's name, and all else is addresses: the two have nothing to agree about."""
    try:
        kind = peer_name(common_name).kind
    except ConfigError:
        return False
    return kind == "dns" and not any(isinstance(name, pyca.DNSName) for name in alternative_names(leaf))
