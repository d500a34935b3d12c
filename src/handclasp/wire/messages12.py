"""The handshake messages that TLS 1.2 has of its own (RFC 5246 §7.4); ClientHello, ServerHello, CertificateVerify and
Finished are those of `messages`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ..limits import MAX_SMALL_MESSAGE
from .codec import code, opaque, struct, uint, vector
from .extensions import SCHEMES, U16, U24
from .messages import HandshakeMessage, message
from .names import (
    CertificateStatusType,
    ClientCertificateType,
    ECCurveType,
    HandshakeType,
    NamedGroup,
    SignatureScheme,
)


@message(HandshakeType.HELLO_REQUEST, most=0)
@dataclass(frozen=True, slots=True)
class HelloRequest(HandshakeMessage):
    """RFC 5246 §7.4.1.1: a server would like to renegotiate."""


@message(HandshakeType.CERTIFICATE)
@dataclass(frozen=True, slots=True)
class Certificate12(HandshakeMessage):
    """RFC 5246 §7.4.2: certificates in DER, leaf first."""

    certificate_list: Annotated[tuple[bytes, ...], vector(opaque(1, U24), 0, U24)]


@message(HandshakeType.CERTIFICATE_STATUS)
@dataclass(frozen=True, slots=True)
class CertificateStatusMessage(HandshakeMessage):
    """RFC 6066 §8: a stapled OCSP response, DER."""

    status_type: Annotated[CertificateStatusType, code(CertificateStatusType)]
    response: Annotated[bytes, opaque(1, U24)]


@dataclass(frozen=True, slots=True)
class ServerECDHParams:
    """RFC 8422 §5.4: what ServerKeyExchange signs, after both randoms."""

    curve_type: Annotated[ECCurveType, code(ECCurveType)]
    named_curve: Annotated[NamedGroup, code(NamedGroup)]
    public: Annotated[bytes, opaque(1, 255)]


ECDH_PARAMS = struct(ServerECDHParams)


@message(HandshakeType.SERVER_KEY_EXCHANGE, most=MAX_SMALL_MESSAGE)
@dataclass(frozen=True, slots=True)
class ServerKeyExchange(HandshakeMessage):
    """RFC 8422 §5.4."""

    params: Annotated[ServerECDHParams, ECDH_PARAMS]
    algorithm: Annotated[SignatureScheme, code(SignatureScheme)]
    signature: Annotated[bytes, opaque(0, U16)]


@message(HandshakeType.CERTIFICATE_REQUEST)
@dataclass(frozen=True, slots=True)
class CertificateRequest12(HandshakeMessage):
    """RFC 5246 §7.4.4; the authorities are names in DER."""

    certificate_types: Annotated[tuple[ClientCertificateType, ...], vector(code(ClientCertificateType), 1, 255)]
    signature_algorithms: Annotated[tuple[SignatureScheme, ...], SCHEMES]
    certificate_authorities: Annotated[tuple[bytes, ...], vector(opaque(1, U16), 0, U16)]


@message(HandshakeType.SERVER_HELLO_DONE, most=0)
@dataclass(frozen=True, slots=True)
class ServerHelloDone(HandshakeMessage):
    """RFC 5246 §7.4.5."""


@message(HandshakeType.CLIENT_KEY_EXCHANGE, most=MAX_SMALL_MESSAGE)
@dataclass(frozen=True, slots=True)
class ClientECDH(HandshakeMessage):
    """RFC 8422 §5.7: ClientKeyExchange with the client's share."""

    public: Annotated[bytes, opaque(1, 255)]


@message(HandshakeType.CLIENT_KEY_EXCHANGE, most=MAX_SMALL_MESSAGE)
@dataclass(frozen=True, slots=True)
class ClientEncryptedSecret(HandshakeMessage):
    """RFC 5246 §7.4.7.1: ClientKeyExchange with the premaster secret, encrypted under the server's public key."""

    encrypted_pre_master_secret: Annotated[bytes, opaque(0, U16)]


@message(HandshakeType.NEW_SESSION_TICKET)
@dataclass(frozen=True, slots=True)
class NewSessionTicket12(HandshakeMessage):
    """RFC 5077 §3.3; the lifetime hint in seconds."""

    ticket_lifetime_hint: Annotated[int, uint(4)]
    ticket: Annotated[bytes, opaque(0, U16)]


MESSAGES12: tuple[type[HandshakeMessage], ...] = (
    HelloRequest,
    Certificate12,
    CertificateStatusMessage,
    ServerKeyExchange,
    CertificateRequest12,
    ServerHelloDone,
    ClientECDH,
    ClientEncryptedSecret,
    NewSessionTicket12,
)
"""All declared messages of TLS 1.2's own."""
