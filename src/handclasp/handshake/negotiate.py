"""The choices of a handshake, as pure functions: both offers in, the value and the reason out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import Generic, NamedTuple, TypeVar

from .. import rules
from ..config import ServerConfig, UnknownNames
from ..crypto.groups import CURVE_SHARE_SIZE, POST_QUANTUM
from ..crypto.signatures import CERTIFICATE_ONLY, ECDSA, KeyKind
from ..crypto.suites import SUITES, KeyExchange, Suite
from ..errors import ConfigError
from ..identity.credentials import Credential, CredentialRequest
from ..identity.names import peer_name
from ..rules import PeerFault, require
from ..wire.messages import ClientHello
from ..wire.names import CipherSuite, NamedGroup, NameType, SignatureScheme, TLSVersion

T = TypeVar("T")


class Choice(NamedTuple, Generic[T]):
    """What was chosen, and why."""

    value: T
    why: str


def prefer(ours: Sequence[T], theirs: Sequence[T]) -> Choice[T] | None:
    """The first of ours that they have too."""
    for rank, value in enumerate(ours):
        if value in theirs:
            if not rank:
                return Choice(value, "the first of ours that they offer")
            return Choice(value, f"the first of ours that they offer; they lack {', '.join(map(str, ours[:rank]))}")
    return None


def picked(ours: Sequence[T], value: T) -> str:
    """Why a client has what it has: the server picked it, and what of ours stood before it."""
    before = tuple(ours[: list(ours).index(value)]) if value in ours else ()
    passed = f"; it passed over {', '.join(map(str, before))}" if before else ""
    return f"the server's choice among ours{passed}"


def choose_version(config: ServerConfig, hello: ClientHello) -> Choice[TLSVersion]:
    """RFC 8446 §4.2.1: by supported_versions alone where it is there, else by legacy_version."""
    offered = hello.extensions.supported_versions
    if offered is None:
        older = tuple(version for version in TLSVersion if version <= min(hello.legacy_version, TLSVersion.TLS_1_2))
        offered = older[::-1]
    choice = prefer(tuple(config.usable_versions), offered)
    if choice is None:
        raise PeerFault(rules.NO_SUPPORTED_VERSION, ours=config.usable_versions, theirs=offered)
    return choice


def choose_suite(config: ServerConfig, hello: ClientHello) -> Choice[Suite]:
    """Ours first; but a client that puts ChaCha20 first has no fast AES, and gets what is fast for it."""
    newest = TLSVersion.TLS_1_3
    ours = [suite for suite in config.cipher_suites if SUITES[suite].version is newest]
    theirs = hello.cipher_suites
    chacha = CipherSuite.TLS_CHACHA20_POLY1305_SHA256
    if chacha in ours and next((suite for suite in theirs if suite in SUITES), None) is chacha:
        return Choice(SUITES[chacha], "the client's first choice: it seems to have no fast AES")
    choice = prefer(ours, theirs)
    if choice is None:
        raise PeerFault(rules.NO_COMMON_CIPHER_SUITE, ours=ours, theirs=theirs)
    return Choice(SUITES[choice.value], choice.why)


def of_another_hash(config: ServerConfig, hello: ClientHello, suite: Suite) -> Suite | None:
    """The first suite of ours of another hash that both have: for a key that goes with that hash alone."""
    ours = [SUITES[code] for code in config.cipher_suites if code in hello.cipher_suites]
    others = (other for other in ours if other.version is TLSVersion.TLS_1_3 and other.hash is not suite.hash)
    return next(others, None)


def choose_group(config: ServerConfig, hello: ClientHello) -> Choice[NamedGroup]:
    """A post-quantum group wherever both have one, even at the price of a round trip; else one with a share at hand."""
    ours = tuple(config.groups)
    theirs = hello.extensions.supported_groups or ()
    best = prefer(ours, theirs)
    if best is None:
        raise PeerFault(rules.NO_COMMON_GROUP, ours=ours, theirs=theirs)
    shares = {entry.group for entry in hello.extensions.key_share or ()}
    if best.value in shares or best.value in POST_QUANTUM:
        return best
    at_hand = prefer(ours, tuple(group for group in theirs if group in shares))
    if at_hand is None:
        return best
    return Choice(at_hand.value, "the first of ours that the client sent a key share for")


def choose_protocol(config: ServerConfig, hello: ClientHello) -> Choice[str] | None:
    """RFC 7301 §3.2: none where one side has none to offer; an error where both have and they do not meet."""
    if hello.extensions.alpn is None or not config.alpn:
        return None
    theirs = tuple(protocol.decode("latin-1") for protocol in hello.extensions.alpn)
    choice = prefer(tuple(config.alpn), theirs)
    if choice is None:
        raise PeerFault(rules.NO_APPLICATION_PROTOCOL, ours=config.alpn, theirs=theirs)
    return choice


def asked_name(hello: ClientHello) -> str | None:
    """The host name in server_name, if any; one name of printable ASCII, as RFC 6066 §3 has it."""
    names = hello.extensions.server_name
    if names is None:
        return None
    require(len(names) == 1 and names[0].name_type is NameType.HOST_NAME, rules.SERVER_NAME_MALFORMED)
    host = names[0].host_name
    require(b" " not in host and host.decode("latin-1").isprintable() and host.isascii(), rules.SERVER_NAME_MALFORMED)
    try:
        return peer_name(host).text
    except ConfigError:
        raise PeerFault(rules.SERVER_NAME_MALFORMED, host.decode("ascii")) from None


@dataclass(frozen=True, slots=True)
class Answer:
    """The certificate to show, and what to sign with it."""

    credential: Credential
    scheme: SignatureScheme


def choose_credential(config: ServerConfig, name: str | None, hello: ClientHello) -> Choice[Answer]:
    """By name first, then by what the client can verify; in the order of `credentials` and of our schemes."""
    theirs = hello.extensions.signature_algorithms or ()
    *named, others = _by_name(config, name, hello)
    for alike, why in ((chain(*named), f"its certificate has the name {name}"), (others, "the default")):
        for credential in alike:
            scheme = prefer(_usable(config.signature_schemes, credential, TLSVersion.TLS_1_3), theirs)
            if scheme is not None:
                return Choice(Answer(credential, scheme.value), f"{why}, and the client accepts {scheme.value}")
    ours = [
        scheme
        for credential in config.listed_credentials
        for scheme in _usable(config.signature_schemes, credential, TLSVersion.TLS_1_3)
    ]
    raise PeerFault(rules.NO_COMMON_SIGNATURE_SCHEME, ours=ours, theirs=theirs)


def choose_client_credential(
    credentials: Sequence[Credential],
    ours: Sequence[SignatureScheme],
    request: CredentialRequest,
) -> Choice[Answer] | None:
    """The first that the server can verify, one from a CA it names before others; None: show an empty list."""
    wanted = [credential for credential in credentials if credential.issued_under(request.authorities)]
    others = [credential for credential in credentials if credential.is_for(request.authorities)]
    for candidates, why in ((wanted, "issued by a CA the server names"), (others, "the first that fits")):
        for credential in candidates:
            scheme = prefer(_usable(ours, credential, request.version), request.schemes)
            if scheme is not None:
                return Choice(Answer(credential, scheme.value), f"{why}; the server accepts {scheme.value}")
    return None


def _usable(
    ours: Sequence[SignatureScheme], credential: Credential, version: TLSVersion
) -> tuple[SignatureScheme, ...]:
    """Those of ours that a credential can sign with; in TLS 1.2, ECDSA with the hash of another curve comes last."""
    own = credential.schemes
    if version is not TLSVersion.TLS_1_2:
        return tuple([scheme for scheme in ours if scheme in own])
    usable = credential.schemes12
    return tuple(sorted((scheme for scheme in ours if scheme in usable), key=lambda s: s in ECDSA and s not in own))


KEY_CURVES = {
    KeyKind.P256: NamedGroup.SECP256R1,
    KeyKind.P384: NamedGroup.SECP384R1,
    KeyKind.P521: NamedGroup.SECP521R1,
}

ML_DSA = frozenset((SignatureScheme.MLDSA44, SignatureScheme.MLDSA65, SignatureScheme.MLDSA87))


@dataclass(frozen=True, slots=True)
class Answer12:
    """What a TLS 1.2 server answers with: suite, certificate, and what to sign which group's share with."""

    suite: Suite
    credential: Credential
    scheme: SignatureScheme
    group: NamedGroup | None
    """None in RSA key transport, where nothing is signed."""


def schemes12(ours: Sequence[SignatureScheme]) -> tuple[SignatureScheme, ...]:
    """Our schemes as TLS 1.2 has them: PKCS#1 signatures come last, ML-DSA not at all."""
    return tuple(scheme for scheme in ours if scheme not in ML_DSA) + CERTIFICATE_ONLY


def choose_answer12(config: ServerConfig, name: str | None, hello: ClientHello) -> Choice[Answer12]:
    """By name first; then suite and certificate together, for in TLS 1.2 the suite says which kind of key signs."""
    theirs = hello.cipher_suites
    ours = [suite for suite in config.cipher_suites if SUITES[suite].version is TLSVersion.TLS_1_2]
    group = _curve12(config, hello)
    for alike, code in product(_by_name(config, name, hello), ours):
        suite = SUITES[code]
        if code not in theirs or (group is None and suite.key_exchange is not KeyExchange.RSA):
            continue
        for credential in alike:
            answer = _answer12(config, hello, suite, credential, group)
            if answer is not None:
                return Choice(answer, "the first of ours that they offer and a certificate of ours fits")
    raise PeerFault(rules.NO_COMMON_CIPHER_SUITE, ours=ours, theirs=theirs)


def _answer12(
    config: ServerConfig, hello: ClientHello, suite: Suite, credential: Credential, group: NamedGroup | None
) -> Answer12 | None:
    kind = credential.leaf.key_kind
    if kind not in suite.key_exchange.key_kinds:
        return None
    groups = hello.extensions.supported_groups
    if kind in KEY_CURVES and groups is not None and KEY_CURVES[kind] not in groups:
        return None  # in TLS 1.2 supported_groups speaks of certificates too (RFC 8422 §5.1.1)
    ours = _usable(schemes12(config.signature_schemes), credential, TLSVersion.TLS_1_2)
    scheme = prefer(ours, hello.extensions.signature_algorithms or ())
    if suite.key_exchange is KeyExchange.RSA:
        return Answer12(suite, credential, SignatureScheme.RSA_PKCS1_SHA256, None)
    return None if scheme is None else Answer12(suite, credential, scheme.value, group)


def _curve12(config: ServerConfig, hello: ClientHello) -> NamedGroup | None:
    """TLS 1.2 knows the plain curves only; a client that lists none means the two of RFC 8422 §4."""
    theirs = hello.extensions.supported_groups or (NamedGroup.SECP256R1, NamedGroup.SECP384R1)
    choice = prefer([group for group in config.groups if group in CURVE_SHARE_SIZE], theirs)
    return None if choice is None else choice.value


def _by_name(config: ServerConfig, name: str | None, hello: ClientHello) -> tuple[list[Credential], ...]:
    """Our credentials: those with just the name asked for, those that cover it with a wildcard, the others.

    Raises PeerFault where others are not to be shown, and where all wait for a CA that the client does not name.
    """
    authorities = hello.extensions.certificate_authorities or ()
    listed = [credential for credential in config.listed_credentials if credential.is_for(authorities)]
    require(listed or not config.listed_credentials, rules.NO_MATCHING_ISSUER)
    if name is None:
        return [], [], listed
    exact = [credential for credential in listed if name in map(str.lower, credential.leaf.names)]
    others = [credential for credential in listed if credential not in exact]
    wildcard = [credential for credential in others if credential.matches(name)]
    if not exact and not wildcard and config.unknown_names is UnknownNames.REFUSE:
        raise PeerFault(rules.UNRECOGNIZED_NAME, name)
    return exact, wildcard, [credential for credential in others if credential not in wildcard]
