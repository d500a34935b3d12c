"""The ClientHello: what a client offers, the first time and after a HelloRetryRequest (RFC 8446 §4.1.2)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypedDict

from .. import rules
from ..codes import GREASE
from ..config import ClientConfig
from ..crypto.groups import CURVE_SHARE_SIZE, KeyPair
from ..crypto.signatures import CERTIFICATE_ONLY
from ..crypto.suites import SUITES
from ..identity.names import PeerName
from ..identity.revocation.policy import Revocation
from ..rules import require
from ..sessions.cache import ClientSession
from ..wire.blocks import RawExtension
from ..wire.extensions import EMPTY, CertificateStatusRequest, ClientHelloExtensions, Empty, KeyShareEntry, ServerName
from ..wire.messages import ClientHello, HelloRetryRequest
from ..wire.names import (
    CertificateCompression,
    CertificateStatusType,
    CipherSuite,
    ExtensionType,
    NamedGroup,
    NameType,
    PskKeyExchangeMode,
    SignatureScheme,
    TLSVersion,
)
from .psk import Psk, psks_to_offer, with_psks


@dataclass(frozen=True, slots=True)
class Offer:
    """A ClientHello and what has to be remembered with it."""

    config: ClientConfig = field(repr=False)
    name: PeerName | None
    hello: ClientHello
    key_pairs: tuple[KeyPair, ...]
    retried: bool = False
    held: ClientSession | None = None
    """The session we ask to resume, of whichever version."""
    psks: tuple[Psk, ...] = ()
    """The keys we ask to use: of a TLS 1.3 session, and those known beforehand."""
    early_data: bytes = field(default=b"", repr=False)
    """What is sent with the first flight, under the first of `psks`."""

    def key_pair(self, group: NamedGroup) -> KeyPair | None:
        """Our key pair for a group we sent a share of."""
        return next((pair for pair in self.key_pairs if pair.group == group), None)

    @property
    def session(self) -> ClientSession | None:
        """The same, if it is one of TLS 1.2."""
        return self.held if self.held is not None and self.held.session.version is TLSVersion.TLS_1_2 else None

    @property
    def server_name(self) -> str | None:
        """The name in our server_name extension."""
        names = self.hello.extensions.server_name
        return names[0].host_name.decode("ascii") if names else None

    def solicits(self, type_: ExtensionType) -> bool:
        """Whether a server may answer an extension: we offered it, and meant it."""
        return type_ in self.hello.extensions.order and type_ not in GREASE

    def again(self, request: HelloRetryRequest) -> Offer:
        """The second ClientHello, changed in just what the server asked for. Raises PeerFault."""
        group, cookie = request.extensions.key_share, request.extensions.cookie
        require(group is not None or cookie is not None, rules.RETRY_EMPTY)
        key_pairs, extensions = self.key_pairs, self.hello.extensions
        if group is not None:
            require(group in self.config.groups, rules.RETRY_GROUP, group)
            require(self.key_pair(group) is None, rules.RETRY_GROUP_SHARED, group)
            key_pairs = (self.config.entropy.key_pair(group),)
            extensions = replace(extensions, key_share=(KeyShareEntry(group, key_pairs[0].public),))
        if cookie is not None:
            at = extensions.order.index(ExtensionType.KEY_SHARE) + 1
            order = (*extensions.order[:at], ExtensionType.COOKIE, *extensions.order[at:])
            extensions = replace(extensions, cookie=cookie, order=order)
        suite = SUITES.get(request.cipher_suite)
        psks = tuple(psk for psk in self.psks if suite is not None and psk.hash is suite.hash)
        kept = tuple(type_ for type_ in extensions.order if type_ is not ExtensionType.EARLY_DATA)
        extensions = with_psks(replace(extensions, early_data=None, order=kept), psks)
        hello = replace(self.hello, extensions=extensions)
        return replace(self, hello=hello, key_pairs=key_pairs, psks=psks, early_data=b"", retried=True)


def make_offer(
    config: ClientConfig, name: PeerName | None, held: ClientSession | None = None, early_data: bytes = b""
) -> Offer:
    """The first ClientHello, RFC 8446 §4.1.2; with early data where the session allows that much of it."""
    newest = TLSVersion.TLS_1_3 in config.usable_versions
    key_pairs = _key_pairs(config) if newest else ()
    suites = tuple([suite for suite in config.cipher_suites if SUITES[suite].version in config.usable_versions])
    older = held is not None and held.session.version is TLSVersion.TLS_1_2
    session = held if older else None
    psks = psks_to_offer(config, suites, None if older else held)
    early_data = early_data if psks and psks[0].allows(early_data, suites) else b""
    reserved = _reserved(config.entropy.random(6)) if config.grease else _NOTHING_RESERVED
    blocks = with_psks(_extensions(config, name, key_pairs, session, reserved, early=bool(early_data)), psks)
    hello = ClientHello(
        legacy_version=TLSVersion.TLS_1_2,
        random=config.entropy.random(32),
        legacy_session_id=_session_id(config, session),
        cipher_suites=reserved.suites + suites,
        legacy_compression_methods=b"\0",
        extensions=blocks,
    )
    return Offer(config, name, hello, key_pairs, held=held, psks=psks, early_data=early_data)


def _key_pairs(config: ClientConfig) -> tuple[KeyPair, ...]:
    """One for each share. A curve beside a hybrid of it has the same key: a server uses one of the two."""
    pairs: list[KeyPair] = []
    for group in config.offered_shares:
        inside = [pair.curve for pair in pairs if pair.curve is not None and pair.curve.group is group]
        pairs.append(inside[0] if inside else config.entropy.key_pair(group))
    return tuple(pairs)


def _session_id(config: ClientConfig, session: ClientSession | None) -> bytes:
    """The id of a session to resume; beside a ticket a random one, whose echo says yes (RFC 5077 §3.4)."""
    if session is not None and session.session_id:
        return session.session_id
    compatible = config.middlebox_compatibility and TLSVersion.TLS_1_3 in config.usable_versions
    return config.entropy.random(32) if compatible or session is not None else b""


def _extensions(
    config: ClientConfig,
    name: PeerName | None,
    key_pairs: tuple[KeyPair, ...],
    session: ClientSession | None,
    reserved: _Reserved,
    *,
    early: bool,
) -> ClientHelloExtensions:
    sni = None
    if name is not None and config.send_server_name and name.kind == "dns":
        sni = (ServerName(NameType.HOST_NAME, name.text.encode("ascii")),)
    newest = TLSVersion.TLS_1_3 in config.usable_versions
    groups = config.groups if newest else (group for group in config.groups if group in CURVE_SHARE_SIZE)
    block = ClientHelloExtensions(
        server_name=sni,
        max_fragment_length=config.max_fragment_length,
        status_request=_OCSP if Revocation.of(config.revocation).asks_for_staples else None,
        supported_groups=(*reserved.groups, *groups),
        signature_algorithms=(*reserved.schemes, *config.signature_schemes, *CERTIFICATE_ONLY),
        alpn=tuple(protocol.encode("latin-1") for protocol in config.alpn) or None,
        record_size_limit=config.record_size_limit,
        signed_certificate_timestamp=EMPTY if config.ask_for_timestamps else None,
        compress_certificate=_compressions(config) if newest else None,
        key_share=(*reserved.shares, *[KeyShareEntry(pair.group, pair.public) for pair in key_pairs])
        if newest
        else None,
        supported_versions=reserved.versions + config.usable_versions if newest else None,
        psk_key_exchange_modes=_modes(config) if newest else None,
        early_data=EMPTY if early else None,
        post_handshake_auth=EMPTY if newest and config.post_handshake_auth else None,
        **_older_extensions(config, session),
    )
    return block.between(*reserved.extensions) if reserved.extensions else block


_OCSP = CertificateStatusRequest(CertificateStatusType.OCSP, b"", b"")
"""Any response of any responder that the CA trusts will do (RFC 6066 §8)."""


def _compressions(config: ClientConfig) -> tuple[CertificateCompression, ...] | None:
    return tuple(known.algorithm for known in config.certificate_compression) or None


def _modes(config: ClientConfig) -> tuple[PskKeyExchangeMode, ...]:
    """Never a key without a key agreement beside it, unless `danger` says so (RFC 8446 §4.2.9)."""
    alone = (PskKeyExchangeMode.PSK_KE,) if config.danger.psk_alone else ()
    return (PskKeyExchangeMode.PSK_DHE_KE, *alone)


class _Older(TypedDict, total=False):
    ec_point_formats: bytes
    extended_master_secret: Empty
    renegotiation_info: bytes
    session_ticket: bytes


def _older_extensions(config: ClientConfig, session: ClientSession | None) -> _Older:
    """What TLS 1.2 needs beside: RFC 8422 §5.1.2, RFC 7627 §5.1, RFC 5746 §3.4."""
    if TLSVersion.TLS_1_2 not in config.usable_versions:
        return {}
    older: _Older = {"ec_point_formats": b"\0", "extended_master_secret": EMPTY, "renegotiation_info": b""}
    if config.sessions is not None:
        older["session_ticket"] = session.ticket if session is not None else b""  # RFC 5077 §3.2
    return older


@dataclass(frozen=True, slots=True)
class _Reserved:
    """What nobody knows, so that servers keep passing over such things (RFC 8701 §3.1): one of each, or none."""

    extensions: tuple[RawExtension, ...] = ()
    """An empty one to come first, and another to come last but for pre_shared_key."""
    suites: tuple[CipherSuite, ...] = ()
    groups: tuple[NamedGroup, ...] = ()
    shares: tuple[KeyShareEntry, ...] = ()
    versions: tuple[TLSVersion, ...] = ()
    schemes: tuple[SignatureScheme, ...] = ()


_NOTHING_RESERVED = _Reserved()


def _reserved(chance: bytes) -> _Reserved:
    """By six random bytes."""
    first, second, group, version, suite, scheme = [byte % len(GREASE) for byte in chance]
    if first == second:
        second = (first + 1) % len(GREASE)
    return _Reserved(
        ((_EXTENSIONS[first], b""), (_EXTENSIONS[second], b"\0")),
        (_SUITES[suite],),
        (_GROUPS[group],),
        (KeyShareEntry(_GROUPS[group], b"\0"),),
        (_VERSIONS[version],),
        (_SCHEMES[scheme],),
    )


_EXTENSIONS = tuple(map(ExtensionType, GREASE))
_SUITES = tuple(map(CipherSuite, GREASE))
_GROUPS = tuple(map(NamedGroup, GREASE))
_VERSIONS = tuple(map(TLSVersion, GREASE))
_SCHEMES = tuple(map(SignatureScheme, GREASE))
