"""The ClientHello: what a client offers, the first time and after a HelloRetryRequest (RFC 8446 §4.1.2)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .. import rules
from ..codes import GREASE, is_grease
from ..config import ClientConfig
from ..crypto.groups import KeyPair
from ..identity.names import PeerName
from ..rules import require
from ..wire.extensions import ClientHelloExtensions, KeyShareEntry, ServerName
from ..wire.messages import ClientHello, HelloRetryRequest
from ..wire.names import (
    CipherSuite,
    ExtensionType,
    NamedGroup,
    NameType,
    PskKeyExchangeMode,
    SignatureScheme,
    TLSVersion,
)


@dataclass(frozen=True, slots=True)
class Offer:
    """A ClientHello and what has to be remembered with it."""

    config: ClientConfig = field(repr=False)
    name: PeerName | None
    hello: ClientHello
    key_pairs: tuple[KeyPair, ...]
    retried: bool = False

    def key_pair(self, group: NamedGroup) -> KeyPair | None:
        """Our key pair for a group we sent a share of."""
        return next((pair for pair in self.key_pairs if pair.group == group), None)

    @property
    def server_name(self) -> str | None:
        """The name in our server_name extension."""
        names = self.hello.extensions.server_name
        return names[0].host_name.decode("ascii") if names else None

    @property
    def solicited(self) -> frozenset[ExtensionType]:
        """The extensions a server may answer: those we offered and mean."""
        return frozenset(type_ for type_ in self.hello.extensions.order if not is_grease(type_))

    def again(self, request: HelloRetryRequest) -> Offer:
        """The second ClientHello, changed in just what the server asked for. Raises PeerFault."""
        group, cookie = request.extensions.key_share, request.extensions.cookie
        require(group is not None or cookie is not None, rules.RETRY_EMPTY)
        key_pairs, extensions = self.key_pairs, self.hello.extensions
        if group is not None:
            require(group in self.config.groups, rules.RETRY_GROUP, str(group))
            require(self.key_pair(group) is None, rules.RETRY_GROUP_SHARED, str(group))
            key_pairs = (self.config.entropy.key_pair(group),)
            extensions = replace(extensions, key_share=(KeyShareEntry(group, key_pairs[0].public),))
        if cookie is not None:
            at = extensions.order.index(ExtensionType.KEY_SHARE) + 1
            order = (*extensions.order[:at], ExtensionType.COOKIE, *extensions.order[at:])
            extensions = replace(extensions, cookie=cookie, order=order)
        return replace(self, hello=replace(self.hello, extensions=extensions), key_pairs=key_pairs, retried=True)


def make_offer(config: ClientConfig, name: PeerName | None) -> Offer:
    """The first ClientHello, RFC 8446 §4.1.2."""
    key_pairs = tuple(config.entropy.key_pair(group) for group in config.offered_shares)
    blocks = _extensions(config, name, key_pairs)
    suites = tuple(config.cipher_suites)
    if config.grease:
        blocks, suites = _greased(config, blocks, suites)
    hello = ClientHello(
        legacy_version=TLSVersion.TLS_1_2,
        random=config.entropy.random(32),
        legacy_session_id=config.entropy.random(32) if config.middlebox_compatibility else b"",
        cipher_suites=suites,
        legacy_compression_methods=b"\0",
        extensions=blocks,
    )
    return Offer(config, name, hello, key_pairs)


def _extensions(config: ClientConfig, name: PeerName | None, key_pairs: tuple[KeyPair, ...]) -> ClientHelloExtensions:
    sni = None
    if name is not None and config.send_server_name and name.kind == "dns":
        sni = (ServerName(NameType.HOST_NAME, name.text.encode("ascii")),)
    return ClientHelloExtensions(
        server_name=sni,
        max_fragment_length=config.max_fragment_length,
        supported_groups=tuple(config.groups),
        signature_algorithms=tuple(config.signature_schemes) + CHAIN_ONLY_SCHEMES,
        alpn=tuple(protocol.encode("latin-1") for protocol in config.alpn) or None,
        record_size_limit=config.record_size_limit,
        key_share=tuple(KeyShareEntry(pair.group, pair.public) for pair in key_pairs),
        supported_versions=tuple(config.versions),
        psk_key_exchange_modes=(PskKeyExchangeMode.PSK_DHE_KE,),
    )


CHAIN_ONLY_SCHEMES = (
    SignatureScheme.RSA_PKCS1_SHA256,
    SignatureScheme.RSA_PKCS1_SHA384,
    SignatureScheme.RSA_PKCS1_SHA512,
)
"""Offered for signatures inside certificates only: CertificateVerify may not use them (RFC 8446 §4.2.3)."""


def _greased(
    config: ClientConfig, extensions: ClientHelloExtensions, suites: tuple[CipherSuite, ...]
) -> tuple[ClientHelloExtensions, tuple[CipherSuite, ...]]:
    """RFC 8701 §3.1: one reserved value in front of each list, an empty extension first and another before the last."""
    picks = [GREASE[byte % len(GREASE)] for byte in config.entropy.random(5)]
    first, second = ExtensionType(picks[0]), ExtensionType(picks[1])
    if first == second:
        second = ExtensionType(GREASE[(GREASE.index(first) + 1) % len(GREASE)])
    group = NamedGroup(picks[2])
    greased = replace(
        extensions,
        supported_groups=(group, *(extensions.supported_groups or ())),
        key_share=(KeyShareEntry(group, b"\0"), *(extensions.key_share or ())),
        supported_versions=(TLSVersion(picks[3]), *(extensions.supported_versions or ())),
        unknown=((first, b""), (second, b"\0")),
        order=(first, *extensions.order, second),
    )
    return greased, (CipherSuite(picks[4]), *suites)
