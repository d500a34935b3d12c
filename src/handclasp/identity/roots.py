"""Trust anchors: where they come from, read when first needed, then remembered (RFC 5280 §6.1.1 d)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final, TypeAlias

import cryptography.x509 as pyca
from cryptography.x509.verification import Store

from ..crypto.keys import DER
from ..errors import ConfigError
from ..limits import MOST_REMEMBERED
from .certificates import Certificate, load_x509
from .pem import CERTIFICATE_LABELS, blocks, is_pem


@dataclass(frozen=True, slots=True)
class SystemRoots:
    """What this system trusts. SSL_CERT_FILE and SSL_CERT_DIR, when set, say alone where that is."""

    def __str__(self) -> str:
        return "the system's roots"

    @property
    def identity(self) -> bytes:
        """What tells this source from others."""
        return b"system"


@dataclass(frozen=True, slots=True)
class FileRoots:
    """A file of PEM certificates, or one certificate in DER, or a directory of such files."""

    path: str

    def __str__(self) -> str:
        return self.path

    @property
    def identity(self) -> bytes:
        return b"file " + os.fsencode(self.path)


@dataclass(frozen=True, slots=True)
class PemRoots:
    """PEM certificates, or one in DER, in memory."""

    data: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"{len(self.data)} bytes given as roots"

    @property
    def identity(self) -> bytes:
        return b"pem " + hashlib.sha256(self.data).digest()


@dataclass(frozen=True, slots=True)
class GivenRoots:
    """Certificates already read."""

    certificates: tuple[Certificate, ...]

    def __str__(self) -> str:
        count = len(self.certificates)
        return "one given root" if count == 1 else f"{count} given roots"

    @property
    def identity(self) -> bytes:
        return b"given " + b"".join(bytes.fromhex(certificate.sha256) for certificate in self.certificates)


Source: TypeAlias = SystemRoots | FileRoots | PemRoots | GivenRoots


@dataclass(frozen=True, eq=False)
class Anchors:
    """Trust anchors. Those of a system are many, and a path ends at one of them: each is read when somebody looks."""

    x509: Mapping[pyca.Certificate, None]
    """In their order."""
    store: Store
    """The same for the library's path verifier."""
    where: str
    """Where they came from, for texts."""
    _read: dict[pyca.Certificate, Certificate | None] = field(default_factory=dict, repr=False)

    def find(self, x509: pyca.Certificate) -> Certificate | None:
        """The anchor that this is, if it is one of them and can be read."""
        found = self._read.get(x509)
        if found is None and x509 in self.x509 and x509 not in self._read:
            found = self._read[x509] = _readable(x509)
        return found

    @cached_property
    def certificates(self) -> tuple[Certificate, ...]:
        """All of them that can be read."""
        return tuple(read for x509 in self.x509 if (read := self.find(x509)) is not None)

    def named(self, subject: pyca.Name) -> tuple[Certificate, ...]:
        """Those with this subject."""
        found = (self.find(x509) for x509 in self._by_subject.get(subject, ()))
        return tuple(certificate for certificate in found if certificate is not None)

    def above(self, certificate: Certificate) -> tuple[Certificate, ...]:
        """Those that a certificate names as its issuer."""
        return _above(self, certificate) if certificate.is_small else self.named(certificate.x509.issuer)

    def __contains__(self, certificate: Certificate) -> bool:
        return self.find(certificate.x509) is not None

    @cached_property
    def _by_subject(self) -> Mapping[pyca.Name, tuple[pyca.Certificate, ...]]:
        found: dict[pyca.Name, tuple[pyca.Certificate, ...]] = {}
        for x509 in self.x509:
            try:
                subject = x509.subject
            except Exception:
                continue  # the library raises more than ValueError for names that it cannot read
            found[subject] = (*found.get(subject, ()), x509)
        return found


@lru_cache(MOST_REMEMBERED)  # to hash a name and compare it takes 7 µs
def _above(anchors: Anchors, certificate: Certificate) -> tuple[Certificate, ...]:
    return anchors.named(certificate.x509.issuer)


def load(sources: tuple[Source, ...]) -> Anchors:
    """The anchors of these sources. Read and parsed at the first call for the same sources, then remembered.

    A certificate that cannot be read is left out. Raises ConfigError when a source cannot be read, or when nothing is
    left: it says where we looked.
    """
    return _load(tuple([place for source in sources for place in _places(source)]))


# The cache's own lock is let go whatever interrupts: one of ours, held for ever, would stop every later handshake.
@lru_cache(32)
def _load(places: tuple[Source, ...]) -> Anchors:
    where = ", ".join(dict.fromkeys(str(place) for place in places))
    found = dict.fromkeys(x509 for place in places for x509 in _certificates(place))
    if not found:
        raise ConfigError(
            f"there are no trusted roots: looked in {where or ', '.join((*SYSTEM_FILES, *SYSTEM_DIRECTORIES))}",
            code="no-roots",
            remedy="install the ca-certificates package, or set SSL_CERT_FILE, or name a file: TrustStore.from_file(…)",
        )
    return Anchors(found, Store(list(found)), where)


def _readable(x509: pyca.Certificate) -> Certificate | None:
    """One that cannot be read is nobody's anchor: trust only shrinks."""
    try:
        return Certificate.from_der(x509.public_bytes(DER))
    except ValueError:
        return None


def _places(source: Source) -> tuple[Source, ...]:
    """A source as places that can be remembered: the environment is read each time, so a change of it counts."""
    if not isinstance(source, SystemRoots):
        return (source,)
    named = [os.environ.get("SSL_CERT_FILE", ""), *os.environ.get("SSL_CERT_DIR", "").split(os.pathsep)]
    if any(named):
        return tuple(FileRoots(path) for path in named if path)
    for path in SYSTEM_FILES:
        if os.path.isfile(path):
            return (FileRoots(path),)
    return tuple(FileRoots(path) for path in SYSTEM_DIRECTORIES if os.path.isdir(path))


def _certificates(place: Source) -> Iterator[pyca.Certificate]:
    if isinstance(place, GivenRoots):
        yield from (certificate.x509 for certificate in place.certificates)
    elif isinstance(place, PemRoots):
        yield from _loadable(place.data)
    elif isinstance(place, FileRoots):
        for data in _contents(place.path):
            yield from _loadable(data)


def _contents(path: str) -> Iterator[bytes]:
    """The bytes of a file, or of every file in a directory."""
    try:
        if not os.path.isdir(path):
            yield Path(path).read_bytes()
            return
        for entry in sorted(Path(path).iterdir())[:_MOST_FILES]:
            if entry.is_file():
                yield entry.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no reason given"
        raise ConfigError(
            f"trusted roots cannot be read from {path!r}: {reason.lower()}",
            code="no-roots",
            remedy="check the path and its permissions",
        ) from None


def _loadable(data: bytes) -> Iterator[pyca.Certificate]:
    """The certificates in PEM or DER that look like some."""
    for der in _ders(data):
        try:
            yield load_x509(der)
        except Exception:
            continue  # the library raises more than ValueError, and none of it makes an anchor


def _ders(data: bytes) -> Iterator[bytes]:
    if not is_pem(data):
        yield data
        return
    try:
        found = [block for block in blocks(data) if block.label in CERTIFICATE_LABELS]
    except ValueError:
        return  # cut short: nothing of a damaged bundle is trusted
    for block in found:
        try:
            yield block.der
        except ValueError:
            continue


SYSTEM_FILES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older Fedora and RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/var/lib/ca-certificates/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, FreeBSD, OpenBSD, Alpine
    "/usr/local/etc/ssl/cert.pem",  # FreeBSD
    "/usr/local/share/certs/ca-root-nss.crt",  # FreeBSD
    "/opt/homebrew/etc/ca-certificates/cert.pem",  # Homebrew on Apple silicon
    "/opt/homebrew/etc/openssl@3/cert.pem",
    "/usr/local/etc/ca-certificates/cert.pem",  # Homebrew on Intel
    "/usr/local/etc/openssl@3/cert.pem",
)
"""Where distributions keep their bundle; the first that exists is read."""

SYSTEM_DIRECTORIES: Final = (
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/var/lib/ca-certificates/openssl",
    "/system/etc/security/cacerts",  # Android
)
"""Directories with one certificate a file, read when there is no bundle."""

_MOST_FILES: Final = 2000
