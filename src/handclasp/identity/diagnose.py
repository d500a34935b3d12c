"""Why a chain was refused, in words: what is wrong, with which certificate, and what to do about it.

Runs only after path validation has said no, and can only choose the words of that no. Each check below looks at the
path a friendly reader would take from the leaf up, and says what stops it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final

import cryptography.x509 as pyca

from ..alerts import Alert
from ..errors import CertificateError
from ..rules import printable
from .certificates import Certificate
from .constraints import Comparer, NotComparable, allowance
from .path import MIN_RSA_BITS, PURPOSES, PathRefused, affordable, has_name, key_usages, may_sign_certificates
from .presented import PresentedChain, Role
from .roots import Anchors


def diagnose(
    presented: PresentedChain, anchors: Anchors, refusal: PathRefused, *, web: bool = True
) -> CertificateError:
    """The error for a refused chain. `refusal` is the path verifier's, for when nothing better is found; `web` says
    that it went by the rules of the web.

    The most telling problem gives the code; the codes of others stand in `facts["also"]`.
    """
    case = _Case.of(presented, anchors, web=web)
    problems = [problem for check in _CHECKS if (problem := check(case)) is not None]
    first = problems[0] if problems else _untrusted(case, refusal)
    also = [problem.code for problem in problems[1:] if problem.code != first.code]
    facts = {**first.facts, "also": ", ".join(dict.fromkeys(also))} if also else first.facts
    return CertificateError(
        printable(first.text, _MAX_TEXT),
        code=first.code,
        alert=first.alert,
        remedy=first.remedy,
        peer_chain=presented.chain,
        certificate=first.certificate,
        verified_chain=case.path,
        section=first.section,
        facts={name: printable(value) for name, value in facts.items()},
    )


@dataclass(frozen=True, slots=True)
class _Problem:
    """One thing that is wrong. `certificate` is None when the chain as a whole is at fault."""

    code: str
    text: str
    remedy: str
    alert: Alert = Alert.BAD_CERTIFICATE
    certificate: Certificate | None = None
    facts: dict[str, str] = field(default_factory=dict)
    section: str = "RFC 5280 §6.1"
    """Where the broken rule is written."""


@dataclass(frozen=True, slots=True)
class _Case:
    """A refused chain, and how far up it leads."""

    presented: PresentedChain
    anchors: Anchors
    path: tuple[Certificate, ...]
    """From the leaf up, by names and signatures alone."""
    anchored: bool
    """The last of `path` is an anchor."""
    web: bool
    """It was judged by the rules of the web, not by RFC 5280 alone."""

    @classmethod
    def of(cls, presented: PresentedChain, anchors: Anchors, *, web: bool) -> _Case:
        path = [presented.leaf]
        checks = _MOST_SIGNATURES
        while path[-1] not in anchors and len(path) <= len(presented.chain) + 1:
            issuers = [c for c in _named_issuers(path[-1], presented, anchors) if c not in path][:checks]
            checks -= len(issuers)
            # A signature with a broken hash is not verified by the library; its maker is who it names.
            broken = path[-1].signature_hash in _BROKEN_HASHES
            issuer = next((c for c in issuers if broken or path[-1].was_signed_by(c)), None)
            if issuer is None:
                break
            path.append(issuer)
        return cls(presented, anchors, tuple(path), path[-1] in anchors, web)

    @property
    def leaf(self) -> Certificate:
        return self.presented.leaf

    @property
    def owner(self) -> str:
        """Whose certificate it is."""
        return self.presented.role.value


def _named_issuers(child: Certificate, presented: PresentedChain, anchors: Anchors) -> list[Certificate]:
    """Certificates with the name of the child's issuer: anchors first, then those valid at the time."""
    sent = [c for c in presented.chain[1:] if c.x509.subject == child.x509.issuer]
    sent.sort(key=lambda c: not c.not_before <= presented.at <= c.not_after)
    found = (*anchors.named(child.x509.issuer), *sent)
    return [c for c in dict.fromkeys(found) if affordable(c, presented.limits)]


# --- trust -----------------------------------------------------------------------------------------------------------


def _trust(case: _Case) -> _Problem | None:
    if case.anchored:
        return None
    top = case.path[-1]
    if top.is_self_issued:
        return _self_signed(case) if len(case.path) == 1 else _unknown_root(case, top)
    if too_costly := next((c for c in _issuers_sent(case, top) if not affordable(c, case.presented.limits)), None):
        return _weak_key(case, too_costly, "has a size or an exponent that is not accepted")
    if sent := _issuers_sent(case, top):
        return _Problem(
            "unknown-ca",
            f"the {case.owner} sent a CA certificate for {_cn(top.issuer)}, but that CA's key did not sign"
            f" {_cn(top.subject)}",
            f"{case.owner}: send the CA certificate that came with this certificate, not an older or newer one",
            Alert.UNKNOWN_CA,
            sent[0],
            _ca_facts(case, top),
        )
    if case.anchors.named(top.x509.issuer):
        return _Problem(
            "unknown-ca",
            f"the {case.owner}'s certificate names a trusted CA as its issuer ({_cn(top.issuer)}), but that CA's key"
            " did not sign it",
            "check which CA issued the certificate: another one uses the same name, or it is a forgery",
            Alert.UNKNOWN_CA,
            top,
            _ca_facts(case, top),
        )
    if top.issuer_urls:
        return _Problem(
            "missing-intermediate",
            f"the {case.owner} did not send the certificate of {_cn(top.issuer)}, which links its own to a trusted CA",
            f"{case.owner}: send the whole chain, leaf first; the missing certificate is at"
            f" {printable(top.issuer_urls[0])}",
            Alert.UNKNOWN_CA,
            top,
            {**_ca_facts(case, top), "issuer_url": top.issuer_urls[0]},
        )
    leads = "was issued by" if len(case.path) == 1 else "leads to"
    return _Problem(
        "unknown-ca",
        f"the {case.owner}'s certificate {leads} {_cn(top.issuer)}, which is not a trusted CA",
        "get that CA's certificate from its owner and trust it: TrustStore.from_file(…)",
        Alert.UNKNOWN_CA,
        top,
        _ca_facts(case, top),
    )


def _self_signed(case: _Case) -> _Problem:
    return _Problem(
        "self-signed",
        f"the {case.owner} signed its own certificate ({_cn(case.leaf.subject)}), so nobody vouches for it",
        "use a certificate from a CA; or compare the fingerprint and trust it itself: TrustStore.from_file(…)",
        Alert.UNKNOWN_CA,
        case.leaf,
        {"sha256": case.leaf.sha256, **_looked(case)},
    )


def _unknown_root(case: _Case, root: Certificate) -> _Problem:
    return _Problem(
        "unknown-ca",
        f"the {case.owner}'s certificate leads to {_cn(root.subject)}, a CA that is not trusted here",
        "get that CA's certificate from its owner, compare the fingerprint, and trust it: TrustStore.from_file(…)",
        Alert.UNKNOWN_CA,
        root,
        {"ca": root.subject, "sha256": root.sha256, **_looked(case)},
    )


def _issuers_sent(case: _Case, child: Certificate) -> list[Certificate]:
    return [c for c in case.presented.chain if c.x509.subject == child.x509.issuer]


def _ca_facts(case: _Case, child: Certificate) -> dict[str, str]:
    return {"issuer": child.issuer, **_looked(case)}


def _looked(case: _Case) -> dict[str, str]:
    return {"roots": str(len(case.anchors.certificates)), "looked_in": case.anchors.where}


def _authority(case: _Case) -> _Problem | None:
    """Does everyone above the leaf have the right to sign what is below? RFC 5280 §4.2.1.3 and §4.2.1.9."""
    for below, certificate in enumerate(case.path[1:]):
        if not certificate.is_ca or not certificate.allows_issuing:
            return _Problem(
                "not-a-ca",
                f"{_cn(certificate.subject)} signed a certificate of this chain, but is not a CA",
                f"{case.owner}: use a certificate from a CA; if this is one, reissue it with basicConstraints CA:TRUE"
                " and keyUsage keyCertSign",
                certificate=certificate,
                facts={
                    "basic_constraints": f"CA:{str(certificate.is_ca).upper()}",
                    "key_usage": key_usages(certificate),
                },
                section="RFC 5280 §4.2.1.9",
            )
        if certificate.path_length is not None and certificate.path_length < below:
            return _Problem(
                "not-a-ca",
                f"{_cn(certificate.subject)} may have {certificate.path_length} CAs below it, and has {below}",
                "reissue that CA certificate with a longer path length, or issue from a CA above",
                certificate=certificate,
                facts={"path_length": str(certificate.path_length), "below": str(below)},
                section="RFC 5280 §4.2.1.9",
            )
    return None


# --- names -----------------------------------------------------------------------------------------------------------


def _name(case: _Case) -> _Problem | None:
    name = case.presented.name
    if name is None or has_name(case.leaf, name):
        return None
    names = case.leaf.names
    if not case.leaf.has_san:
        return _Problem(
            "no-san",
            f"the {case.owner}'s certificate has no subjectAltName; the name in its CN ({_cn(case.leaf.subject)}) does"
            " not count",
            f"{case.owner}: reissue the certificate with subjectAltName {name.text}",
            certificate=case.leaf,
            facts={"asked": name.text},
            section="RFC 9525 §6.3",
        )
    facts = {"asked": name.text, "valid_for": _some(names)}
    if closest := _closest(name.text, names):
        facts["closest"] = closest
    return _Problem(
        "name-mismatch",
        f"the {case.owner}'s certificate is not for {name.text}: it is for {_some(names)}"
        f"{_name_hint(name.text, names)}",
        f"use one of its names, or give the {case.owner} a certificate for {name.text}",
        certificate=case.leaf,
        facts=facts,
        section="RFC 9525 §6.3",
    )


def _name_hint(asked: str, names: tuple[str, ...]) -> str:
    if _is_address(asked):
        return "" if any(_is_address(name) for name in names) else " (DNS names only, and an IP address was asked for)"
    for pattern in names:
        parent = pattern.removeprefix("*.").lower()
        if pattern.startswith("*.") and asked == parent:
            return f" ({pattern} does not cover {parent} itself)"
        if pattern.startswith("*.") and asked.endswith("." + parent):
            return f" ({pattern} covers one label only)"
    return ""


def _closest(asked: str, names: tuple[str, ...]) -> str:
    """The name most like the asked one, when at least half of it stands at the same end: a typo, or a neighbour."""
    best = max(names[:_MOST_LIKENED], key=lambda name: _alike(asked, name), default="")
    return best if 2 * _alike(asked, best) >= len(asked) else ""


def _alike(asked: str, name: str) -> int:
    """Characters the two share at their beginning and their end: linear, because the names are the peer's."""
    begin = _shared(asked, name)
    return begin + _shared(asked[begin:][::-1], name[begin:][::-1])


def _shared(one: str, other: str) -> int:
    """Length of the common beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(printable(name, 60) for name in names[:_MOST_SHOWN])
    return f"{shown} and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else shown or "no host at all"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _constraints(case: _Case) -> _Problem | None:
    """RFC 5280 §4.2.1.10."""
    comparer = Comparer(allowance())
    for certificate in case.path[1:]:
        try:
            name = comparer.forbidden(certificate, case.leaf)
        except NotComparable:
            continue  # the path verifier has the words
        if not name:
            continue
        permitted = (certificate.constraints and certificate.constraints.permitted_subtrees) or ()
        kind = pyca.IPAddress if _is_address(name) else pyca.DNSName
        same_kind = tuple(str(base.value) for base in permitted if isinstance(base, kind))
        text = f"may only sign for {_some(same_kind)}" if same_kind else "must not sign for some names"
        return _Problem(
            "name-constraint",
            f"{_cn(certificate.subject)} {text}; this certificate is for {name}",
            f"{case.owner}: get a certificate from a CA that may sign for this name",
            certificate=certificate,
            facts={"name": name, "permitted": _some(tuple(str(base.value) for base in permitted))},
            section="RFC 5280 §4.2.1.10",
        )
    return None


# --- dates -----------------------------------------------------------------------------------------------------------


def _dates(case: _Case) -> _Problem | None:
    at = case.presented.at.replace(microsecond=0)  # the dates have whole seconds, and include their last
    for certificate in case.path:
        facts = {
            "not_before": f"{certificate.not_before}",
            "not_after": f"{certificate.not_after}",
            "now": f"{at}",
            **_clock(case),
        }
        is_leaf = certificate is case.leaf
        what = f"the {case.owner}'s certificate" if is_leaf else f"the CA certificate {_cn(certificate.subject)}"
        if at > certificate.not_after:
            own = "" if is_leaf or _valid(case.leaf, at) is False else f"; the {case.owner}'s own is fine"
            return _Problem(
                "expired" if is_leaf else "expired-in-chain",
                f"{what} ended {_span(at - certificate.not_after)} ago, on {certificate.not_after:%Y-%m-%d}{own}",
                f"{case.owner}: renew and reload it" if is_leaf else f"{case.owner}: send the CA's new chain",
                Alert.CERTIFICATE_EXPIRED,
                certificate,
                facts,
                section="RFC 5280 §4.1.2.5",
            )
        if at < certificate.not_before:
            return _Problem(
                "not-yet-valid",
                f"{what} starts in {_span(certificate.not_before - at)}, on {certificate.not_before:%Y-%m-%d};"
                f" our clock says {at:%Y-%m-%d %H:%M}",
                "check our clock first; if it is right, wait, or reissue the certificate",
                Alert.CERTIFICATE_EXPIRED,
                certificate,
                facts,
                section="RFC 5280 §4.1.2.5",
            )
    return None


def _clock(case: _Case) -> dict[str, str]:
    """What the certificates say of our clock: it is doubtful before this library was made, and where it fits none."""
    at = case.presented.at.replace(microsecond=0)
    if at < _MADE:
        return {"clock": f"wrong: it stands before {_MADE:%Y-%m-%d}, when this library was made"}
    fits = sum(_valid(certificate, at) for certificate in case.path)
    if not fits:
        return {"clock": "doubtful: it is outside the dates of every certificate here"}
    return {"clock": f"plausible: it fits {fits} of {len(case.path)} certificates"} if len(case.path) > 1 else {}


def _valid(certificate: Certificate, at: datetime) -> bool:
    return certificate.not_before <= at <= certificate.not_after


def _span(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"


# --- purpose, strength, form -----------------------------------------------------------------------------------------


def _purpose(case: _Case) -> _Problem | None:
    """RFC 5280 §4.2.1.3 and §4.2.1.12."""
    wanted = PURPOSES[case.presented.role].dotted_string
    for certificate in case.path:
        if case.web and certificate is not case.leaf and _is_anchor(case, certificate):
            continue  # what an anchor may be used for is for those who trust it to say
        accepted = {wanted} if case.web else {wanted, _ANY_PURPOSE}
        if certificate.purposes is not None and not accepted & set(certificate.purposes):
            what = "this certificate" if certificate is case.leaf else f"certificates from {_cn(certificate.subject)}"
            return _wrong_purpose(
                case, certificate, f"{what} may not be used for a {case.owner}", _purposes(certificate.purposes)
            )
    if case.web and case.leaf.is_ca and not _is_anchor(case, case.leaf):
        return _wrong_purpose(
            case, case.leaf, f"this is a CA's own certificate, which may not be used for a {case.owner}", "CA"
        )
    if not case.leaf.allows_signing:
        return _wrong_purpose(
            case,
            case.leaf,
            "the key usage of this certificate does not allow digital signatures",
            key_usages(case.leaf),
        )
    return None


def _wrong_purpose(case: _Case, certificate: Certificate, text: str, found: str) -> _Problem:
    usage = "serverAuth" if case.presented.role is Role.SERVER else "clientAuth"
    return _Problem(
        "wrong-purpose",
        text,
        f"{case.owner}: use a certificate with keyUsage digitalSignature and extKeyUsage {usage}",
        Alert.UNSUPPORTED_CERTIFICATE,
        certificate,
        {"purposes": found},
        section="RFC 5280 §4.2.1.12",
    )


def _purposes(oids: Iterable[str]) -> str:
    return ", ".join(_PURPOSE_NAMES.get(oid, oid) for oid in oids)


def _is_anchor(case: _Case, certificate: Certificate) -> bool:
    return case.anchored and certificate == case.path[-1]


def _strength(case: _Case) -> _Problem | None:
    for certificate in case.path:
        is_leaf = certificate is case.leaf
        if certificate.key_kind is None:
            return _weak_key(case, certificate, "is of a kind that is not accepted")
        if certificate.key_description.startswith("RSA") and certificate.key_bits < MIN_RSA_BITS:
            return _weak_key(case, certificate, "is too weak")
        if not affordable(certificate, case.presented.limits):
            return _weak_key(case, certificate, "has a size or an exponent that is not accepted")
        if not _is_anchor(case, certificate) and certificate.signature_hash in _BROKEN_HASHES:
            return _Problem(
                "weak-signature",
                f"the certificate {_cn(certificate.subject)} is signed with {certificate.signature_hash.upper()},"
                " which can be forged",
                f"{case.owner}: reissue it with SHA-256",
                certificate=certificate,
                facts={"hash": certificate.signature_hash},
                section="RFC 5280 §4.1.1.2",
            )
        if case.web and not is_leaf and not may_sign_certificates(certificate, case.presented.limits):
            return _Problem(
                "untrusted",
                f"{_cn(certificate.subject)} signs with a key of a kind CAs do not use on the web"
                f" ({certificate.key_description})",
                "issue from a CA with an EC P-256, RSA or ML-DSA key; or use trust=handclasp.private(…)",
                certificate=certificate,
                facts={"key": certificate.key_description},
            )
    return None


def _weak_key(case: _Case, certificate: Certificate, text: str) -> _Problem:
    whose = f"{case.owner}'s" if certificate == case.leaf else f"CA {_cn(certificate.subject)}'s"
    return _Problem(
        "weak-key",
        f"the {whose} key {text}: {certificate.key_description}",
        f"{case.owner}: use an EC P-256 key, or RSA with {MIN_RSA_BITS} bits",
        certificate=certificate,
        facts={"key": certificate.key_description},
    )


def _form(case: _Case) -> _Problem | None:
    for certificate in case.path:
        if _is_anchor(case, certificate):
            continue
        wrong = ""
        if certificate.x509.version is not pyca.Version.v3:
            wrong = "is of the old version 1, which holds no name and no limits"
        elif certificate.serial.bit_length() > _MAX_SERIAL_BITS:
            wrong = "has a serial number longer than RFC 5280 allows"
        if wrong:
            return _Problem(
                "malformed",
                f"the certificate {_cn(certificate.subject)} {wrong}",
                f"{case.owner}: reissue it as X.509 version 3",
                certificate=certificate,
                facts={"version": certificate.x509.version.name, "serial": f"{certificate.serial:x}"},
                section="RFC 5280 §4.1.2.1",
            )
    return None


def _untrusted(case: _Case, refusal: PathRefused) -> _Problem:
    reason = str(refusal).partition(" (encountered processing")[0]
    for prefix in ("validation failed: ", "candidates exhausted: "):
        reason = reason.removeprefix(prefix)
    return _Problem(
        "untrusted",
        f"the {case.owner}'s certificate cannot be trusted: {printable(reason, 120)}",
        "a CA of the web would not issue this; for a private CA's: trust=handclasp.private(…)"
        if case.web
        else f"{case.owner}: reissue the certificate without that",
        Alert.CERTIFICATE_UNKNOWN,
        refusal.certificate or case.leaf,
        {"reason": reason},
        refusal.section or "RFC 5280 §6.1",
    )


def _cn(name: str) -> str:
    """A distinguished name for a sentence: its common name when it has one."""
    part = next((part for part in name.split(",") if part.startswith("CN=")), name)
    return repr(printable(part.removeprefix("CN="), 60)) if name else "a CA without a name"


# Trust first, because nothing else a certificate says counts without it; then what its reader can act on.
_CHECKS: Final[tuple[Callable[[_Case], _Problem | None], ...]] = (
    _trust,
    _authority,
    _name,
    _constraints,
    _dates,
    _purpose,
    _strength,
    _form,
)

_PURPOSE_NAMES: Final = {
    "1.3.6.1.5.5.7.3.1": "serverAuth",
    "1.3.6.1.5.5.7.3.2": "clientAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
    "2.5.29.37.0": "anyExtendedKeyUsage",
}
_ANY_PURPOSE: Final = "2.5.29.37.0"
_BROKEN_HASHES: Final = frozenset({"md5", "sha1"})
_MADE: Final = datetime(2026, 11, 1, tzinfo=UTC)
_MOST_SIGNATURES: Final = 20
_MOST_LIKENED: Final = 100
_MOST_SHOWN: Final = 3
_MAX_TEXT: Final = 300
_MAX_SERIAL_BITS: Final = 159
