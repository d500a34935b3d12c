"""Path building for private CAs: from a leaf to an anchor by RFC 5280 §6.1, without the profile of the web.

What private CAs and their tools leave out or mark differently is tolerated where it gives nobody a right: no key
identifiers, basicConstraints or nameConstraints not critical, a critical subjectAltName beside a subject, keyUsage
absent, the serial number 0, issuers with Ed25519 and Ed448 keys, an anchor that is no root or is the leaf itself.
What limits a certificate is never tolerated away: dates, signatures, basicConstraints, path lengths, keyUsage and
extKeyUsage where present, name constraints, critical extensions nobody here reads, weak keys and hashes.

The search is bounded: each pair of certificates is looked at once, and signatures, steps and comparisons are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cryptography.x509 as pyca
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..crypto.keys import encode_public
from ..crypto.signatures import KeyKind
from ..limits import MOST_COMPARISONS, MOST_SIGNATURES, MOST_STEPS
from ..rules import printable
from .certificates import Certificate
from .constraints import Comparer, NotComparable
from .path import PURPOSES, PathRefused, affordable, extension_of, has_name, long_enough
from .presented import PresentedChain, Role
from .roots import Anchors

Path = tuple[Certificate, ...]

ANY_PURPOSE: Final = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string
"""anyExtendedKeyUsage: as good as every purpose (RFC 5280 §4.2.1.12)."""


def find_private_path(presented: PresentedChain, anchors: Anchors) -> Path:
    """The verified path, leaf to anchor. Raises PathRefused."""
    if presented.name is None and presented.role is Role.SERVER:
        raise PathRefused("a server is verified by a name", "RFC 9525 §6.1")
    search = _Search(presented, anchors)
    try:
        search.check_certificate(presented.leaf)
        _check_leaf(presented)
        path = search.climb((presented.leaf,))
    except PathRefused:
        raise
    except Exception as error:
        raise PathRefused(printable(str(error)) or type(error).__name__) from None
    if path is None:
        raise search.refusal or PathRefused("no path to an anchor", "RFC 5280 §6.1", presented.leaf)
    return path


class TooCostly(PathRefused):
    """The search has used up what it may: it ends, whatever else it might find."""


class _Search:
    """One search, depth first, with what it has found out about each pair of certificates."""

    __slots__ = (
        "_above",
        "_anchors",
        "_comparer",
        "_forbids",
        "_presented",
        "_self_issued",
        "_signed",
        "_work",
        "refusal",
    )

    refusal: PathRefused | None
    """What stopped the path that led furthest."""

    def __init__(self, presented: PresentedChain, anchors: Anchors) -> None:
        self._presented = presented
        self._anchors = anchors
        self._above: dict[Certificate, Path] = {}
        self._self_issued: dict[Certificate, bool] = {}
        self._signed: dict[tuple[Certificate, Certificate], bool] = {}
        self._forbids: dict[tuple[Certificate, Certificate], str] = {}
        self._comparer = Comparer(lambda amount: self._spend("comparisons", amount))
        self._work = dict(_MOST)
        self.refusal = None

    def climb(self, path: Path) -> Path | None:
        """The first good path from `path` up to an anchor."""
        top = path[-1]
        if top in self._anchors:
            return path
        if len(path) > self._presented.limits.chain_length:
            self._refuse(path, PathRefused("the path is too long", "RFC 5280 §6.1", top))
            return None
        for issuer in self._issuers(path):
            self._spend("steps", 1)
            if not self._has_signed(issuer, top):
                continue  # names are not compared for who only claims to be above
            try:
                self.check_certificate(issuer)
                self._check_issuer(issuer, path)
            except TooCostly:
                raise
            except PathRefused as refusal:
                self._refuse(path, refusal)
            else:
                if (found := self.climb((*path, issuer))) is not None:
                    return found
        return None

    def _refuse(self, path: Path, refusal: PathRefused) -> None:
        refusal.depth = len(path)
        if self.refusal is None or self.refusal.depth < refusal.depth:
            self.refusal = refusal

    def _issuers(self, path: Path) -> Iterator[Certificate]:
        """Who may have signed the last of `path`: anchors first, then those whose key identifier it names.

        A certificate for a name and key that the path has already leads nowhere new (RFC 4158 §5.2).
        """
        top = path[-1]
        if top not in self._above:
            wanted = _authority_key(top)
            sent = [c for c in self._presented.chain[1:] if _is_named(c, top)]
            sent.sort(key=lambda c: wanted is None or _subject_key(c) != wanted)
            self._above[top] = tuple(dict.fromkeys((*self._anchors.named(top.x509.issuer), *sent)))
        for issuer in self._above[top]:
            if not any(c == issuer or _same_entity(c, issuer) for c in path):
                yield issuer

    def _has_signed(self, issuer: Certificate, child: Certificate) -> bool:
        pair = (issuer, child)
        if pair not in self._signed:
            usable = _may_issue(issuer) and affordable(issuer, self._presented.limits)
            if usable:
                self._spend("signatures", 1)
            self._signed[pair] = usable and child.was_signed_by(issuer)
        return self._signed[pair]

    # --- what is asked of each certificate ---

    def check_certificate(self, certificate: Certificate) -> None:
        """What is asked of all of a path, the anchor too. Raises PathRefused."""
        presented, anchor = self._presented, certificate in self._anchors
        wanted = PURPOSES[presented.role].dotted_string
        now = presented.at.replace(microsecond=0)  # the dates have whole seconds, and include their last
        purposes, weak = certificate.purposes, not _strong(certificate)
        for wrong, text, section in (
            (certificate.x509.version is not pyca.Version.v3, "is not of version 3", "§4.1.2.1"),
            (certificate.serial.bit_length() > MAX_SERIAL_BITS, "has too long a serial number", "§4.1.2.2"),
            (not certificate.x509.issuer.rdns, "names no issuer", "§4.1.2.4"),
            (not certificate.not_before <= now <= certificate.not_after, "is not valid now", "§4.1.2.5"),
            (weak, f"has a key that is too weak or unknown ({certificate.key_description})", "§6.1"),
            (not affordable(certificate, presented.limits), "has a key that costs too much", "§6.1"),
            (not anchor and not _safely_signed(certificate), "is signed with a hash that can be forged", "§4.1.1.2"),
            (
                extension_of(certificate, pyca.PolicyConstraints) is not None,
                "has policy constraints, which are not read",
                "§4.2.1.11",
            ),
            (bool(unread := certificate.critical - UNDERSTOOD), f"has critical extensions {_listed(unread)}", "§4.2"),
            (
                purposes is not None and not {wanted, ANY_PURPOSE} & set(purposes),
                "has another purpose",
                "§4.2.1.12",
            ),
            (
                certificate.allows_issuing
                and extension_of(certificate, pyca.KeyUsage) is not None
                and not certificate.is_ca,
                "may sign certificates by keyUsage, and is no CA's",
                "§4.2.1.9",
            ),
        ):
            if wrong:
                raise PathRefused(f"a certificate {text}", f"RFC 5280 {section}", certificate)

    def _check_issuer(self, issuer: Certificate, path: Path) -> None:
        """What is asked of one who signs: `path` is what stands below. Raises PathRefused."""
        below = sum(1 for certificate in path[1:] if not self._is_self_issued(certificate))
        for wrong, text, section in (
            (not issuer.x509.subject.rdns, "a CA has no name", "§4.1.2.6"),
            (not issuer.is_ca, "an issuer is no CA", "§4.2.1.9"),
            (not issuer.allows_issuing, "an issuer's keyUsage does not allow it to sign", "§4.2.1.3"),
            (not _may_issue(issuer), f"an issuer's key cannot sign here: {issuer.key_description}", "§6.1"),
            (
                issuer.path_length is not None and issuer.path_length < below,
                f"a CA may have {issuer.path_length} CAs below it, and has {below}",
                "§4.2.1.9",
            ),
        ):
            if wrong:
                raise PathRefused(text, f"RFC 5280 {section}", issuer)
        for certificate in path:
            # RFC 5280 §6.1.3 b: a self-issued certificate is the CA itself, except at the end of the path
            if certificate == path[0] or not self._is_self_issued(certificate):
                self._check_names(issuer, certificate)

    def _is_self_issued(self, certificate: Certificate) -> bool:
        if certificate not in self._self_issued:
            self._self_issued[certificate] = certificate.is_self_issued
        return self._self_issued[certificate]

    def _check_names(self, issuer: Certificate, certificate: Certificate) -> None:
        if issuer.constraints is None:
            return
        pair = (issuer, certificate)
        if pair not in self._forbids:
            self._forbids[pair] = self._forbidden(issuer, certificate)
        if problem := self._forbids[pair]:
            raise PathRefused(f"a CA may not vouch for {problem}", "RFC 5280 §4.2.1.10", issuer)

    def _forbidden(self, issuer: Certificate, certificate: Certificate) -> str:
        try:
            return self._comparer.forbidden(issuer, certificate)
        except NotComparable as problem:
            return str(problem)

    def _spend(self, kind: str, amount: int) -> None:
        self._work[kind] -= amount
        if self._work[kind] < 0:
            raise TooCostly(f"the chain costs too much work: more than {_MOST[kind]} {kind}")


def _check_leaf(presented: PresentedChain) -> None:
    leaf, name = presented.leaf, presented.name
    for wrong, text, section in (
        (
            leaf.has_san and not leaf.x509.subject.rdns and _SAN not in leaf.critical,
            "the subject is empty, and subjectAltName is not critical",
            "RFC 5280 §4.2.1.6",
        ),
        (leaf.constraints is not None and not leaf.is_ca, "a leaf constrains names", "RFC 5280 §4.2.1.10"),
        (name is not None and not has_name(leaf, name), "the leaf does not have the name", "RFC 9525 §6.3"),
    ):
        if wrong:
            raise PathRefused(text, section, leaf)


def _strong(certificate: Certificate) -> bool:
    """A key of a kind and size that counts, on a curve that is named and not spelt out (RFC 5480 §2.1.1)."""
    if certificate.key_kind in _CURVES and certificate.public_key is not None:
        return encode_public(certificate.public_key) in certificate.x509.tbs_certificate_bytes
    return certificate.key_kind is not None and long_enough(certificate)


def _may_issue(certificate: Certificate) -> bool:
    """True for keys that a certificate's signature can be verified with; one that says PSS alone is not enforced."""
    return certificate.key_kind is not None and certificate.key_kind is not KeyKind.RSA_PSS and _strong(certificate)


def _safely_signed(certificate: Certificate) -> bool:
    """A hash nobody can forge, or an algorithm that has none of its own: Ed25519, Ed448, ML-DSA."""
    return certificate.signature_hash in SAFE_HASHES


def _is_named(issuer: Certificate, child: Certificate) -> bool:
    """The child says that this is its issuer. Names take long to compare, their texts do not."""
    return issuer.subject == child.issuer and issuer.x509.subject == child.x509.issuer


def _same_entity(one: Certificate, other: Certificate) -> bool:
    """The same name and the same key. What differs mostly comes first: long names take long to compare."""
    alike = one.subject == other.subject and one.public_key == other.public_key
    return alike and one.x509.subject == other.x509.subject


def _authority_key(certificate: Certificate) -> bytes | None:
    found = extension_of(certificate, pyca.AuthorityKeyIdentifier)
    return found.key_identifier if found else None


def _subject_key(certificate: Certificate) -> bytes | None:
    found = extension_of(certificate, pyca.SubjectKeyIdentifier)
    return found.digest if found else None


def _listed(identifiers: frozenset[str]) -> str:
    return ", ".join(sorted(identifiers)[:3])


MAX_SERIAL_BITS: Final = 159
"""20 octets of a positive number (RFC 5280 §4.1.2.2)."""

SAFE_HASHES: Final = frozenset({None, "sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"})

UNDERSTOOD: Final = frozenset(
    kind.oid.dotted_string
    for kind in (
        pyca.BasicConstraints,
        pyca.KeyUsage,
        pyca.ExtendedKeyUsage,
        pyca.SubjectAlternativeName,
        pyca.NameConstraints,
        pyca.CertificatePolicies,  # any policy is acceptable here, and policyConstraints are refused: nothing can fail
    )
)
"""Extensions that may be critical (RFC 5280 §4.2)."""

_SAN: Final = pyca.SubjectAlternativeName.oid.dotted_string
_CURVES: Final = frozenset({KeyKind.P256, KeyKind.P384, KeyKind.P521})
_MOST: Final = {"signatures": MOST_SIGNATURES, "steps": MOST_STEPS, "comparisons": MOST_COMPARISONS}
