"""What the web's own rules ask beyond RFC 5280, of a server's path: the CA/B Forum Baseline Requirements (BR).

They bind CAs when they issue. A certificate that breaks them was made by no CA of the web; one for a private network
may, and `private` is for those.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import cryptography.x509 as pyca
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import ConfigError
from ..limits import MOST_REMEMBERED
from .certificates import Certificate
from .names import peer_name
from .path import PathRefused, extension_of
from .presented import PresentedChain, Role


def check_profile(presented: PresentedChain, path: tuple[Certificate, ...]) -> None:
    """Raises PathRefused for the first rule that one of the path breaks. No CA has issued a leaf trusted itself."""
    if len(path) == 1:
        return
    if all(certificate.is_small for certificate in path):
        _check_lately(presented.role, path)
    else:
        _check(presented.role, path)


@lru_cache(MOST_REMEMBERED)
def _check_lately(role: Role, path: tuple[Certificate, ...]) -> None:
    """The same certificates always say the same. A refusal is an exception, and not remembered."""
    _check(role, path)


def _check(role: Role, path: tuple[Certificate, ...]) -> None:
    for index, certificate in enumerate(path):
        is_anchor = index == len(path) - 1
        _refuse(certificate, _strange_key(certificate) or _policies(certificate))
        _refuse(certificate, _key_identifiers(certificate, is_anchor=is_anchor, is_leaf=index == 0))
        if not is_anchor and certificate.serial == 0:
            raise PathRefused("a serial number is 0", "RFC 5280 §4.1.2.2", certificate)
    _refuse(path[-1], _root(path[-1]))
    if role is Role.SERVER:
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


def _root(anchor: Certificate) -> tuple[str, str] | None:
    """BR §7.1.2.1. Roots from before the BR, which systems trust to this day, may have the forms of then."""
    if anchor.purposes is not None:
        return "a root has extKeyUsage", "BR §7.1.2.1.2"
    if not anchor.is_self_issued or _FIRST_V3 <= anchor.not_before < _FIRST_BR:
        return None
    if extension_of(anchor, pyca.SubjectKeyIdentifier) is None:
        return "a root does not identify its key", "RFC 5280 §4.2.1.2"
    issuers = extension_of(anchor, pyca.AuthorityKeyIdentifier)
    if issuers is not None and (issuers.authority_cert_issuer or issuers.authority_cert_serial_number is not None):
        return "a root names its issuer by name and number", "BR §7.1.2.1.3"
    return None


def _key_identifiers(certificate: Certificate, *, is_anchor: bool, is_leaf: bool) -> tuple[str, str] | None:
    """RFC 5280 §4.2.1.1 and §4.2.1.2; what an anchor has to have, `_root` knows."""
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
    return kind == "dns" and not any(isinstance(name, pyca.DNSName) for name in leaf.alternative_names)


_FIRST_V3: Final = datetime(1996, 1, 1, tzinfo=UTC)
"""No certificate of version 3 is older: a root that says so does not tell when it was made."""
_FIRST_BR: Final = datetime(2012, 7, 1, tzinfo=UTC)
"""When the first Baseline Requirements took effect."""
