"""Certificates that are wrong in one known way each, by name: to see what a client or a server makes of them.

shape = SHAPES["expired"]
server = ServerConfig(credentials=[shape.issue(ca, "localhost")])    # has to be refused with shape.code
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import cryptography.x509 as pyca
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..crypto.signatures import KeyKind
from ..identity.credentials import Credential
from ..identity.trust import Role
from .ca import CertificateAuthority, Usage, self_signed


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to be wrong."""

    what: str
    """What is wrong, in a sentence."""
    code: str
    """The `CertificateError.code` that whoever trusts the CA, and nobody else, refuses it with."""
    make: Callable[[CertificateAuthority, str, Usage], Credential] = field(repr=False)
    roles: tuple[Role, ...] = (Role.SERVER, Role.CLIENT)
    """Who can be wrong in this way: nobody asks a client for its name."""

    def issue(self, ca: CertificateAuthority, name: str, role: Role = Role.SERVER) -> Credential:
        """A wrong certificate where a good one would have this name and role; keys are new each time."""
        return self.make(ca, name, "server" if role is Role.SERVER else "client")


def _expired(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    return ca.issue(name, usage=usage, not_before=ca.certificate.not_before, days=0.5)


def _not_yet_valid(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    return ca.issue(name, usage=usage, not_before=ca.certificate.not_before + timedelta(days=3))


def _wrong_name(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    return ca.issue("elsewhere.invalid", usage=usage)


def _no_san(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    return ca.issue(name, usage=usage, san=False)


def _wrong_purpose(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    return ca.issue(name, usage="client" if usage == "server" else "server")


def _key_usage(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    return ca.issue(name, usage=usage, key_usage=("key_agreement",))


def _weak_key(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    return ca.issue(name, usage=usage, key_kind=KeyKind.RSA, rsa_bits=1024)


def _critical_extension(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    unknown = pyca.UnrecognizedExtension(pyca.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
    return ca.issue(name, usage=usage, extensions=[(unknown, True)])


def _self_signed(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    return self_signed(name, usage=usage)


def _unknown_ca(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    return CertificateAuthority("a CA that nobody knows").issue(name, usage=usage)


def _namesake_ca(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    (attribute,) = ca.root.x509.subject
    return CertificateAuthority(str(attribute.value)).issue(name, usage=usage)


def _missing_intermediate(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    missing = ca.intermediate("an intermediate that is not sent")
    return missing.issue(name, usage=usage, send_chain=False, issuer_url="http://elsewhere.invalid/issuer.cer")


def _expired_in_chain(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    expired = ca.intermediate("an expired intermediate", not_before=ca.certificate.not_before, days=0.5)
    return expired.issue(name, usage=usage)


def _not_a_ca(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    return ca.intermediate("no CA at all", ca=False).issue(name, usage=usage)


def _path_length(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    last = ca.intermediate("the last intermediate", path_length=0)
    return last.intermediate("one too many").issue(name, usage=usage)


def _not_permitted(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    return ca.intermediate("for other names", permitted=["elsewhere.invalid"]).issue(name, usage=usage)


def _excluded(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    return ca.intermediate("not for this name", excluded=[name]).issue(name, usage=usage)


def _chain_purpose(ca: CertificateAuthority, name: str, usage: Usage) -> Credential:
    mail = ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string
    return ca.intermediate("for mail alone", purposes=[mail]).issue(name, usage=usage)


_SERVER: Final = (Role.SERVER,)

SHAPES: Final[Mapping[str, Shape]] = {
    "expired": Shape("its last day is over", "expired", _expired),
    "not-yet-valid": Shape("its first day is still to come", "not-yet-valid", _not_yet_valid),
    "wrong-name": Shape("it is for another name", "name-mismatch", _wrong_name, _SERVER),
    "no-san": Shape("it has its name in the subject alone", "no-san", _no_san, _SERVER),
    "wrong-purpose": Shape("it is for the other role", "wrong-purpose", _wrong_purpose),
    "key-usage": Shape("its key may not sign", "certificate-key-usage", _key_usage),
    "weak-key": Shape("its RSA key has 1024 bits", "weak-key", _weak_key),
    "critical-extension": Shape("it has a critical extension that nobody knows", "untrusted", _critical_extension),
    "self-signed": Shape("it signed itself", "self-signed", _self_signed),
    "unknown-ca": Shape("its CA is not trusted", "unknown-ca", _unknown_ca),
    "namesake-ca": Shape("its CA has a trusted one's name and another key", "unknown-ca", _namesake_ca),
    "missing-intermediate": Shape("its issuer is not sent along", "missing-intermediate", _missing_intermediate),
    "expired-in-chain": Shape("its issuer's last day is over", "expired-in-chain", _expired_in_chain),
    "not-a-ca": Shape("its issuer is no CA", "not-a-ca", _not_a_ca),
    "path-length": Shape("one CA more than allowed is above it", "not-a-ca", _path_length),
    "not-permitted": Shape("its issuer may vouch for other names only", "name-constraint", _not_permitted),
    "excluded": Shape("its issuer may not vouch for this name", "name-constraint", _excluded),
    "chain-purpose": Shape("its issuer may vouch for other purposes only", "wrong-purpose", _chain_purpose),
}
"""Every shape by its name."""
