"""Extensions: what each holds, and which message may carry it. The blocks below are the table of RFC 8446 §4.2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from .blocks import ExtensionBlock, RawExtension, block, extension
from .codec import code, opaque, remainder, struct, uint, vector
from .names import (
    CertificateCompression,
    CertificateStatusType,
    ExtensionType,
    MaxFragmentLength,
    NamedGroup,
    NameType,
    PskKeyExchangeMode,
    SignatureScheme,
    TLSVersion,
)

U16 = (1 << 16) - 1
U24 = (1 << 24) - 1


@dataclass(frozen=True, slots=True)
class Empty:
    """An extension that says all by being there."""


EMPTY = Empty()


@dataclass(frozen=True, slots=True)
class ServerName:
    """RFC 6066 §3."""

    name_type: Annotated[NameType, code(NameType)]
    host_name: Annotated[bytes, opaque(1, U16)]


@dataclass(frozen=True, slots=True)
class CertificateStatusRequest:
    """RFC 6066 §8; both lists in their encoded form."""

    status_type: Annotated[CertificateStatusType, code(CertificateStatusType)]
    responder_id_list: Annotated[bytes, opaque(0, U16)]
    request_extensions: Annotated[bytes, opaque(0, U16)]


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """RFC 6066 §8: an OCSP response, DER."""

    status_type: Annotated[CertificateStatusType, code(CertificateStatusType)]
    response: Annotated[bytes, opaque(1, U24)]


@dataclass(frozen=True, slots=True)
class KeyShareEntry:
    """RFC 8446 §4.2.8."""

    group: Annotated[NamedGroup, code(NamedGroup)]
    key_exchange: Annotated[bytes, opaque(1, U16)]


@dataclass(frozen=True, slots=True)
class PskIdentity:
    """RFC 8446 §4.2.11."""

    identity: Annotated[bytes, opaque(1, U16)]
    obfuscated_ticket_age: Annotated[int, uint(4)]


@dataclass(frozen=True, slots=True)
class OfferedPsks:
    """RFC 8446 §4.2.11."""

    identities: Annotated[tuple[PskIdentity, ...], vector(struct(PskIdentity), 7, U16)]
    binders: Annotated[tuple[bytes, ...], vector(opaque(0, 255), 1, U16)]
    """By the RFC of at least 32 bytes each: one that is shorter is wrong like any other."""


@dataclass(frozen=True, slots=True)
class OidFilter:
    """RFC 8446 §4.2.5; the object identifier and the values in DER."""

    certificate_extension_oid: Annotated[bytes, opaque(1, 255)]
    certificate_extension_values: Annotated[bytes, opaque(0, U16)]


SCHEMES = vector(code(SignatureScheme), 2, U16 - 1)
GROUPS = vector(code(NamedGroup), 2, U16)
PROTOCOLS = vector(opaque(1, 255), 2, U16)
AUTHORITIES = vector(opaque(1, U16), 3, U16)
TIMESTAMPS = vector(opaque(1, U16), 1, U16)
COMPRESSIONS = vector(code(CertificateCompression), 2, 254)


@block
class ClientHelloExtensions(ExtensionBlock):
    """What a ClientHello may carry."""

    server_name: Annotated[
        tuple[ServerName, ...] | None, extension(ExtensionType.SERVER_NAME, vector(struct(ServerName), 1, U16))
    ] = None
    max_fragment_length: Annotated[
        MaxFragmentLength | None, extension(ExtensionType.MAX_FRAGMENT_LENGTH, code(MaxFragmentLength))
    ] = None
    status_request: Annotated[
        CertificateStatusRequest | None, extension(ExtensionType.STATUS_REQUEST, struct(CertificateStatusRequest))
    ] = None
    supported_groups: Annotated[tuple[NamedGroup, ...] | None, extension(ExtensionType.SUPPORTED_GROUPS, GROUPS)] = None
    ec_point_formats: Annotated[bytes | None, extension(ExtensionType.EC_POINT_FORMATS, opaque(1, 255))] = None
    signature_algorithms: Annotated[
        tuple[SignatureScheme, ...] | None, extension(ExtensionType.SIGNATURE_ALGORITHMS, SCHEMES)
    ] = None
    alpn: Annotated[
        tuple[bytes, ...] | None, extension(ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION, PROTOCOLS)
    ] = None
    signed_certificate_timestamp: Annotated[
        Empty | None, extension(ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP, struct(Empty))
    ] = None
    compress_certificate: Annotated[
        tuple[CertificateCompression, ...] | None, extension(ExtensionType.COMPRESS_CERTIFICATE, COMPRESSIONS)
    ] = None
    padding: Annotated[bytes | None, extension(ExtensionType.PADDING, remainder(0, U16))] = None
    encrypt_then_mac: Annotated[Empty | None, extension(ExtensionType.ENCRYPT_THEN_MAC, struct(Empty))] = None
    extended_master_secret: Annotated[Empty | None, extension(ExtensionType.EXTENDED_MASTER_SECRET, struct(Empty))] = (
        None
    )
    record_size_limit: Annotated[int | None, extension(ExtensionType.RECORD_SIZE_LIMIT, uint(2))] = None
    session_ticket: Annotated[bytes | None, extension(ExtensionType.SESSION_TICKET, remainder(0, U16), fresh=True)] = (
        None
    )
    key_share: Annotated[
        tuple[KeyShareEntry, ...] | None,
        extension(ExtensionType.KEY_SHARE, vector(struct(KeyShareEntry), 0, U16), fresh=True),
    ] = None
    supported_versions: Annotated[
        tuple[TLSVersion, ...] | None, extension(ExtensionType.SUPPORTED_VERSIONS, vector(code(TLSVersion), 2, 254))
    ] = None
    cookie: Annotated[bytes | None, extension(ExtensionType.COOKIE, opaque(1, U16), fresh=True)] = None
    psk_key_exchange_modes: Annotated[
        tuple[PskKeyExchangeMode, ...] | None,
        extension(ExtensionType.PSK_KEY_EXCHANGE_MODES, vector(code(PskKeyExchangeMode), 1, 255)),
    ] = None
    certificate_authorities: Annotated[
        tuple[bytes, ...] | None, extension(ExtensionType.CERTIFICATE_AUTHORITIES, AUTHORITIES)
    ] = None
    post_handshake_auth: Annotated[Empty | None, extension(ExtensionType.POST_HANDSHAKE_AUTH, struct(Empty))] = None
    signature_algorithms_cert: Annotated[
        tuple[SignatureScheme, ...] | None, extension(ExtensionType.SIGNATURE_ALGORITHMS_CERT, SCHEMES)
    ] = None
    renegotiation_info: Annotated[bytes | None, extension(ExtensionType.RENEGOTIATION_INFO, opaque(0, 255))] = None
    early_data: Annotated[Empty | None, extension(ExtensionType.EARLY_DATA, struct(Empty))] = None
    pre_shared_key: Annotated[
        OfferedPsks | None, extension(ExtensionType.PRE_SHARED_KEY, struct(OfferedPsks), fresh=True)
    ] = None
    unknown: tuple[RawExtension, ...] = ()
    order: tuple[ExtensionType, ...] = ()


@block
class ServerHelloExtensions(ExtensionBlock):
    """What a ServerHello may carry, in TLS 1.3 (the first three) and in TLS 1.2 (the others).

    Which version it is says `supported_versions`, so one block has to read both; the scripts check the difference.
    """

    key_share: Annotated[
        KeyShareEntry | None, extension(ExtensionType.KEY_SHARE, struct(KeyShareEntry), fresh=True)
    ] = None
    pre_shared_key: Annotated[int | None, extension(ExtensionType.PRE_SHARED_KEY, uint(2))] = None
    supported_versions: Annotated[TLSVersion | None, extension(ExtensionType.SUPPORTED_VERSIONS, code(TLSVersion))] = (
        None
    )
    server_name: Annotated[Empty | None, extension(ExtensionType.SERVER_NAME, struct(Empty))] = None
    max_fragment_length: Annotated[
        MaxFragmentLength | None, extension(ExtensionType.MAX_FRAGMENT_LENGTH, code(MaxFragmentLength))
    ] = None
    status_request: Annotated[Empty | None, extension(ExtensionType.STATUS_REQUEST, struct(Empty))] = None
    supported_groups: Annotated[
        tuple[NamedGroup, ...] | None, extension(ExtensionType.SUPPORTED_GROUPS, vector(code(NamedGroup), 2, U16))
    ] = None
    """No RFC has it here. Some TLS 1.2 servers send it."""
    ec_point_formats: Annotated[bytes | None, extension(ExtensionType.EC_POINT_FORMATS, opaque(1, 255))] = None
    alpn: Annotated[
        tuple[bytes, ...] | None, extension(ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION, PROTOCOLS)
    ] = None
    signed_certificate_timestamp: Annotated[
        tuple[bytes, ...] | None, extension(ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP, TIMESTAMPS, fresh=True)
    ] = None
    extended_master_secret: Annotated[Empty | None, extension(ExtensionType.EXTENDED_MASTER_SECRET, struct(Empty))] = (
        None
    )
    record_size_limit: Annotated[int | None, extension(ExtensionType.RECORD_SIZE_LIMIT, uint(2))] = None
    session_ticket: Annotated[Empty | None, extension(ExtensionType.SESSION_TICKET, struct(Empty))] = None
    renegotiation_info: Annotated[bytes | None, extension(ExtensionType.RENEGOTIATION_INFO, opaque(0, 255))] = None
    unknown: tuple[RawExtension, ...] = ()
    order: tuple[ExtensionType, ...] = ()


@block
class HelloRetryRequestExtensions(ExtensionBlock):
    """What a HelloRetryRequest may carry."""

    key_share: Annotated[NamedGroup | None, extension(ExtensionType.KEY_SHARE, code(NamedGroup))] = None
    cookie: Annotated[bytes | None, extension(ExtensionType.COOKIE, opaque(1, U16), fresh=True)] = None
    supported_versions: Annotated[TLSVersion | None, extension(ExtensionType.SUPPORTED_VERSIONS, code(TLSVersion))] = (
        None
    )
    unknown: tuple[RawExtension, ...] = ()
    order: tuple[ExtensionType, ...] = ()


@block
class EncryptedExtensionsBlock(ExtensionBlock):
    """What EncryptedExtensions may carry."""

    supported_groups: Annotated[tuple[NamedGroup, ...] | None, extension(ExtensionType.SUPPORTED_GROUPS, GROUPS)] = None
    max_fragment_length: Annotated[
        MaxFragmentLength | None, extension(ExtensionType.MAX_FRAGMENT_LENGTH, code(MaxFragmentLength))
    ] = None
    record_size_limit: Annotated[int | None, extension(ExtensionType.RECORD_SIZE_LIMIT, uint(2))] = None
    server_name: Annotated[bytes | None, extension(ExtensionType.SERVER_NAME, remainder(0, U16))] = None
    alpn: Annotated[
        tuple[bytes, ...] | None, extension(ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION, PROTOCOLS)
    ] = None
    early_data: Annotated[Empty | None, extension(ExtensionType.EARLY_DATA, struct(Empty))] = None
    unknown: tuple[RawExtension, ...] = ()
    order: tuple[ExtensionType, ...] = ()


@block
class CertificateRequestExtensions(ExtensionBlock):
    """What a CertificateRequest may carry."""

    # RFC 8446 §4.4.2.1: empty here, unlike a ClientHello's
    status_request: Annotated[Empty | None, extension(ExtensionType.STATUS_REQUEST, struct(Empty))] = None
    signature_algorithms: Annotated[
        tuple[SignatureScheme, ...] | None, extension(ExtensionType.SIGNATURE_ALGORITHMS, SCHEMES)
    ] = None
    signed_certificate_timestamp: Annotated[
        Empty | None, extension(ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP, struct(Empty))
    ] = None
    certificate_authorities: Annotated[
        tuple[bytes, ...] | None, extension(ExtensionType.CERTIFICATE_AUTHORITIES, AUTHORITIES)
    ] = None
    compress_certificate: Annotated[
        tuple[CertificateCompression, ...] | None, extension(ExtensionType.COMPRESS_CERTIFICATE, COMPRESSIONS)
    ] = None
    oid_filters: Annotated[
        tuple[OidFilter, ...] | None, extension(ExtensionType.OID_FILTERS, vector(struct(OidFilter), 0, U16))
    ] = None
    signature_algorithms_cert: Annotated[
        tuple[SignatureScheme, ...] | None, extension(ExtensionType.SIGNATURE_ALGORITHMS_CERT, SCHEMES)
    ] = None
    unknown: tuple[RawExtension, ...] = ()
    order: tuple[ExtensionType, ...] = ()


@block
class CertificateEntryExtensions(ExtensionBlock):
    """What one entry of a Certificate may carry."""

    status_request: Annotated[
        CertificateStatus | None, extension(ExtensionType.STATUS_REQUEST, struct(CertificateStatus), fresh=True)
    ] = None
    signed_certificate_timestamp: Annotated[
        tuple[bytes, ...] | None, extension(ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP, TIMESTAMPS, fresh=True)
    ] = None
    unknown: tuple[RawExtension, ...] = ()
    order: tuple[ExtensionType, ...] = ()


@block
class NewSessionTicketExtensions(ExtensionBlock):
    """What a NewSessionTicket may carry: max_early_data_size, in bytes."""

    early_data: Annotated[int | None, extension(ExtensionType.EARLY_DATA, uint(4))] = None
    unknown: tuple[RawExtension, ...] = ()
    order: tuple[ExtensionType, ...] = ()
