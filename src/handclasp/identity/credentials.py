"""Who we are: a certificate chain, and something that signs with the key of its leaf.

The key itself may be anywhere. A `Signer` is all that a hardware module, a key service or an agent has to be.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn, Protocol, runtime_checkable

import cryptography.x509 as pyca

from ..crypto.keys import DER, Unreadable, decode_pkcs12, decode_private, encode_public
from ..crypto.signatures import CERTIFICATE_ONLY, CURVE_KINDS, ECDSA, KeyKind, PrivateKey, PublicKey, sign
from ..crypto.transport import decrypt_premaster
from ..errors import ConfigError
from ..rules import printable
from ..wire.messages import ClientHello
from ..wire.names import SignatureScheme, TLSVersion
from .certificates import Certificate, certificates_from
from .names import any_matches, peer_name
from .pem import blocks, is_pem
from .revocation.staples import FixedStaple, StapleSource


@runtime_checkable
class Signer(Protocol):
    """Something that holds a private key and signs with it: in memory, in a hardware module, behind a network."""

    @property
    def public_key(self) -> Any:
        """The public half, an object of the `cryptography` package; it must be the key of the credential's leaf."""
        ...

    def sign(self, scheme: SignatureScheme, data: bytes) -> bytes | Awaitable[bytes]:
        """Sign `data` (at most a few hundred bytes, not hashed) with exactly this scheme.

        Returns the signature as TLS carries it: DER for ECDSA, the scheme's own bytes otherwise; or an awaitable of it,
        where the connection's adapter can wait. Any exception refuses the connection.

        A signer that waits for something itself says `blocking = True`: it is then called where that holds up nobody.
        """
        ...


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate chain, leaf first, and the signer for its leaf. Immutable, hashable, never pickled or copied.

    Make it with one of the constructors, which explain in a ConfigError what does not fit and what to do.
    """

    chain: tuple[Certificate, ...]
    signer: Signer = field(repr=False)
    staples: StapleSource | None = field(default=None, repr=False, compare=False)
    """Where the OCSP response for the leaf comes from; None: none is stapled."""
    timestamps: tuple[bytes, ...] = field(default=(), repr=False)
    """Signed certificate timestamps of the leaf, for peers that ask for them."""
    named_issuers_only: bool = False
    """Whether this one is for peers alone that name a CA which issued it: see `for_named_issuers`."""

    def __post_init__(self) -> None:
        _check_chain(self.chain)
        _check_key(self.chain, self.signer.public_key)

    @classmethod
    def from_files(
        cls,
        chain_path: str | os.PathLike[str],
        key_path: str | os.PathLike[str] | None = None,
        *,
        password: str | bytes | None = None,
    ) -> Credential:
        """Chain and key from files, PEM or DER. Without `key_path` the key is in the same PEM file as the chain."""
        chain = _file(chain_path)
        return cls.from_pem(chain, chain if key_path is None else _file(key_path), password=password)

    @classmethod
    def from_pem(cls, chain: bytes, key: bytes, *, password: str | bytes | None = None) -> Credential:
        """Chain (leaf first) and key from bytes: each PEM or DER."""
        return cls.from_objects(certificates_from(chain), _private_key(key, password))

    @classmethod
    def from_pkcs12(cls, data: bytes, *, password: str | bytes | None = None) -> Credential:
        """Chain and key from a PKCS#12 (.p12, .pfx) container. Its extra certificates are put in the chain's order."""
        content = decode_pkcs12(data, _encoded(password))
        if isinstance(content, Unreadable):
            raise ConfigError(
                f"the PKCS#12 container cannot be read: {printable(content.reason, 120)}",
                code="unreadable-key",
                remedy="check the password, and that the file is a .p12 or .pfx container",
            )
        key, leaf, extras = content
        if key is None or not isinstance(leaf, pyca.Certificate):
            raise ConfigError(
                f"the PKCS#12 container has no {'key' if key is None else 'certificate for its key'}",
                code="no-key" if key is None else "no-certificate",
                remedy="export it again with the key and its certificate",
            )
        others = [_wrapped(extra) for extra in extras if isinstance(extra, pyca.Certificate)]
        return cls.from_objects(_in_order(_wrapped(leaf), others), key)

    @classmethod
    def from_signer(cls, chain: Sequence[pyca.Certificate | Certificate] | bytes, signer: Signer) -> Credential:
        """A chain (objects, or PEM or DER bytes) whose key is somewhere else: see `Signer`."""
        if not isinstance(signer, Signer):
            raise ConfigError("the signer has no sign method or no public_key", remedy="see handclasp.Signer")
        return cls(_chain_of(chain), signer)

    @classmethod
    def from_objects(cls, chain: Sequence[pyca.Certificate | Certificate], key: object) -> Credential:
        """A chain and a private key, as objects of the `cryptography` package."""
        if not isinstance(key, PrivateKey):
            raise ConfigError(
                f"a {_kind_in_words(key)} cannot sign TLS handshakes",
                code="key-unusable",
                remedy="use an EC key on P-256, P-384 or P-521, an RSA key, or Ed25519",
            )
        return cls(_chain_of(chain), _LocalSigner(key))

    def with_staple(self, source: StapleSource | bytes) -> Credential:
        """The same with OCSP responses to staple: from a source, or one in DER. Raises ConfigError for neither."""
        if isinstance(source, bytes):
            source = FixedStaple(source)
        if not isinstance(source, StapleSource):
            raise ConfigError("a staple source has a method staple()", remedy="see handclasp.OCSPStapler")
        return replace(self, staples=source)

    def with_timestamps(self, timestamps: Sequence[bytes]) -> Credential:
        """The same with signed certificate timestamps of its leaf, each as a log gives it out (RFC 6962 §3.2).

        Raises ConfigError for none, and for what cannot be one.
        """
        listed = tuple(bytes(timestamp) for timestamp in timestamps)
        if not listed or not all(listed) or sum(2 + len(timestamp) for timestamp in listed) > 0xFFFF:
            raise ConfigError("timestamps are byte strings, together shorter than 64 KiB")
        return replace(self, timestamps=listed)

    def for_named_issuers(self) -> Credential:
        """The same, for peers alone that say in certificate_authorities that they know a CA which issued it.

        So a certificate of a CA that few peers know can stand before one that all of them do (RFC 8446 §4.2.4).
        """
        return replace(self, named_issuers_only=True)

    @property
    def leaf(self) -> Certificate:
        return self.chain[0]

    @property
    def schemes(self) -> tuple[SignatureScheme, ...]:
        """What the key can sign a TLS 1.3 handshake with, best first. Never empty."""
        return self.leaf.schemes

    @property
    def schemes12(self) -> tuple[SignatureScheme, ...]:
        """The same with what TLS 1.2 adds: PKCS#1 signatures of RSA keys, and any hash with any curve."""
        kind = self.leaf.key_kind
        more = CERTIFICATE_ONLY if kind is KeyKind.RSA else ECDSA if kind in CURVE_KINDS else ()
        return self.schemes + tuple(scheme for scheme in more if scheme not in self.schemes)

    def matches(self, name: str) -> bool:
        """True when the leaf covers this host name or IP address (RFC 9525 §6.3); False for text that is neither."""
        try:
            asked = peer_name(name)
        except ConfigError:
            return False
        return any_matches(self.leaf.names, asked)

    def decrypt(self, encrypted: bytes) -> bytes | Awaitable[bytes]:
        """Decrypt a premaster secret; the signer needs a `decrypt` method for that. Raises ConfigError without one."""
        decrypt = getattr(self.signer, "decrypt", None)
        if decrypt is None:
            raise ConfigError(
                "this signer cannot decrypt", remedy="give it a decrypt method, or drop RSA key transport"
            )
        decrypted: bytes | Awaitable[bytes] = decrypt(encrypted)
        return decrypted

    def is_for(self, authorities: Iterable[bytes]) -> bool:
        """Whether it may be shown to a peer that names these CAs, or none."""
        return not self.named_issuers_only or self.issued_under(authorities)

    def issued_under(self, authorities: Iterable[bytes]) -> bool:
        """True when a CA on this list of distinguished names (DER, RFC 8446 §4.2.4) issued one of the chain."""
        wanted = frozenset(authorities)
        return any(certificate.issuer_der in wanted for certificate in self.chain)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Credential holds a key: it is neither pickled nor copied")


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """What a server says when it asks its client for a certificate (RFC 8446 §4.3.2, RFC 5246 §7.4.4)."""

    authorities: tuple[bytes, ...]
    """Names of the CAs it accepts, DER, as a hint (see `Credential.issued_under`); empty when it gives none."""
    schemes: tuple[SignatureScheme, ...]
    """What it can verify, in its order."""
    version: TLSVersion
    server_name: str | None
    """Whom we asked for: a host name or an address. The server has proved that name by now."""


CredentialChooser = Callable[[CredentialRequest], Credential | Awaitable[Credential | None] | None]
"""Asked when a server wants a client's certificate, and not before. None: go on without one.

May be async. One that waits for something itself says `blocking = True`: it is then called where that holds up nobody.
Any exception refuses the connection, as does a credential that cannot sign with what the server accepts. Sessions of a
server that asked are kept only where it has a `fingerprint`, bytes that tell it from one that would choose otherwise.
"""


class CredentialSource(Protocol):
    """Where a server finds its credentials for each client anew: certificates that change, or that are too many."""

    def credentials(self, hello: ClientHello) -> Sequence[Credential] | Awaitable[Sequence[Credential]]:
        """The credentials to choose from for this client, by its name and schemes; none refuses the client.

        May return an awaitable, where the connection's adapter can wait. Any exception refuses the connection. A source
        that waits for something itself says `blocking = True`: it is then called where that holds up nobody.
        """
        ...


class _LocalSigner:
    """A private key in memory. Nothing shows it, pickles it or copies it; two are equal when their public keys are."""

    __slots__ = ("_key", "_spki", "public_key")

    public_key: PublicKey

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key()
        self._spki = encode_public(self.public_key)

    def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
        return sign(self._key, scheme, data)

    def decrypt(self, encrypted: bytes) -> bytes:
        return decrypt_premaster(self._key, encrypted)

    def __eq__(self, other: object) -> bool:
        return self._spki == other._spki if isinstance(other, _LocalSigner) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._spki)

    def __repr__(self) -> str:
        return "<signer with a key in memory>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is neither pickled nor copied")


def _check_chain(chain: tuple[Certificate, ...]) -> None:
    """Each certificate is followed by its issuer; roots at the end may be anything."""
    if not chain:
        raise ConfigError("there is no certificate", code="no-certificate", remedy="give the chain, leaf first")
    wanted = list(chain)
    while len(wanted) > 1 and wanted[-1].is_self_issued:
        wanted.pop()
    for index, (child, parent) in enumerate(pairwise(wanted)):
        if child.x509.issuer != parent.x509.subject:
            raise ConfigError(
                f"the chain is out of order: certificate {index} ({_short(child)}) was issued by"
                f" {printable(child.issuer, 60)!r}, and certificate {index + 1} is {_short(parent)}",
                code="chain-order",
                remedy="put the leaf first, then its issuer, then the issuer's issuer",
            )
        if not child.was_signed_by(parent):
            raise ConfigError(
                f"the chain is broken: certificate {index + 1} ({_short(parent)}) has the name of the issuer of"
                f" certificate {index}, but its key did not sign it",
                code="chain-order",
                remedy="take the intermediate certificate that came with this leaf, not an older or newer one",
            )


def _check_key(chain: tuple[Certificate, ...], public_key: PublicKey) -> None:
    leaf = chain[0]
    if leaf.public_key is None or not leaf.schemes:
        raise ConfigError(
            f"the key of the certificate {_short(leaf)} ({leaf.key_description}) cannot sign TLS 1.3 handshakes",
            code="key-unusable",
            remedy="reissue the certificate with an ECDSA P-256 or RSA-2048 key",
        )
    try:
        ours = encode_public(public_key)
    except Exception:
        raise ConfigError(
            "the signer's public_key is not a key of the cryptography package", code="key-unusable"
        ) from None
    fitting = [i for i, c in enumerate(chain) if c.public_key is not None and encode_public(c.public_key) == ours]
    if 0 in fitting:
        return
    if fitting:
        raise ConfigError(
            f"the key does not belong to the first certificate, but to certificate {fitting[0]} of the chain"
            f" ({_short(chain[fitting[0]])})",
            code="key-mismatch",
            remedy="put that certificate first, if it is the leaf",
        )
    raise ConfigError(
        f"the key does not belong to the certificate {_short(leaf)}, nor to any other of the chain",
        code="key-mismatch",
        remedy="give the key that the certificate was requested with",
    )


def _chain_of(chain: Sequence[pyca.Certificate | Certificate] | bytes) -> tuple[Certificate, ...]:
    if isinstance(chain, bytes):
        return certificates_from(chain)
    return tuple(c if isinstance(c, Certificate) else _wrapped(c) for c in chain)


def _wrapped(certificate: pyca.Certificate) -> Certificate:
    return certificates_from(certificate.public_bytes(DER))[0]


def _in_order(leaf: Certificate, extras: list[Certificate]) -> tuple[Certificate, ...]:
    """The leaf and those of `extras` that lead up from it."""
    chain = [leaf]
    while not chain[-1].is_self_issued:
        issuer = next((c for c in extras if c not in chain and chain[-1].was_signed_by(c)), None)
        if issuer is None:
            break
        chain.append(issuer)
    return tuple(chain)


def _private_key(data: bytes, password: str | bytes | None) -> object:
    """The private key in PEM or DER bytes. Raises ConfigError."""
    pem = is_pem(data)
    if pem:
        data = _key_block(data)
    key = decode_private(data, _encoded(password), pem=pem)
    if not isinstance(key, Unreadable):
        return key
    if key.needs_password:
        raise ConfigError(
            "the private key is encrypted, and no password was given", code="encrypted-key", remedy="pass password=…"
        )
    raise ConfigError(
        f"the private key cannot be read: {printable(key.reason, 120)}",
        code="unreadable-key",
        remedy="check the password" if password is not None else "give an unencrypted PKCS#8 key in PEM or DER",
    )


def _key_block(data: bytes) -> bytes:
    """The first block with a private key: its file may hold certificates and curve parameters too."""
    try:
        found = [block for block in blocks(data) if block.label.endswith("PRIVATE KEY")]
    except ValueError as error:
        raise ConfigError(f"the private key cannot be read: {error}", code="unreadable-key") from None
    if not found:
        raise ConfigError(
            "there is no private key in this PEM text",
            code="no-key",
            remedy="give the file that has a BEGIN … PRIVATE KEY line",
        )
    usable = [block.text for block in found if block.label != "OPENSSH PRIVATE KEY"]
    if not usable:
        raise ConfigError(
            "the private key is in OpenSSH's own format, which is not read",
            code="unreadable-key",
            remedy="convert a copy of it, which is rewritten in place: ssh-keygen -p -m PKCS8 -f COPY",
        )
    return usable[0]


def _file(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no reason given"
        raise ConfigError(
            f"{os.fspath(path)!r} cannot be read: {reason.lower()}",
            code="file-missing",
            remedy="check the path and its permissions",
        ) from None


def _encoded(password: str | bytes | None) -> bytes | None:
    return password.encode() if isinstance(password, str) else password


def _short(certificate: Certificate) -> str:
    return repr(printable(certificate.subject, 60)) if certificate.subject else "without a subject"


def _kind_in_words(key: object) -> str:
    curve = getattr(getattr(key, "curve", None), "name", "")
    return f"key on the curve {curve}" if curve else printable(type(key).__name__, 60)
