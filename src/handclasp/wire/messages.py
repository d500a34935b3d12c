"""Handshake messages, each declared once (RFC 8446 §4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, TypeVar

from ..limits import MAX_FINISHED, MAX_REMEMBERED, MAX_SMALL_MESSAGE, MOST_REMEMBERED, MOST_REMEMBERED_PARTS
from .blocks import extensions
from .codec import Struct, code, decode, opaque, remainder, struct, uint, vector
from .extensions import (
    U16,
    U24,
    CertificateEntryExtensions,
    CertificateRequestExtensions,
    ClientHelloExtensions,
    EncryptedExtensionsBlock,
    HelloRetryRequestExtensions,
    NewSessionTicketExtensions,
    ServerHelloExtensions,
)
from .names import CertificateCompression, CipherSuite, HandshakeType, KeyUpdateRequest, SignatureScheme, TLSVersion

HEADER_SIZE = 4
"""Type and length in front of every handshake message, in bytes."""

RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random that makes a ServerHello a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 8446 §4.1.3)."""


class HandshakeMessage:
    """Base of the handshake messages."""

    __slots__ = ()

    type: ClassVar[HandshakeType]
    lately: ClassVar[dict[bytes, Any] | None]
    """Bodies that came lately and what they say, of messages that a server sends again and again; None for others."""
    most: ClassVar[int | None]
    """Longest body in bytes that this kind of message can need; None where the connection's limit decides."""
    codec: ClassVar[Struct[Any]]

    @classmethod
    def accepts(cls, body: bytes) -> bool:
        """Whether a body of this type is this message: ServerHello and HelloRetryRequest share a type."""
        return True

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """The message in `body` (without the header). Raises PeerFault."""
        lately = cls.lately if len(body) <= MAX_REMEMBERED else None
        known: Self | None = None if lately is None else lately.get(body)
        if known is not None:
            return known
        message: Self = decode(cls.codec, body)
        if lately is not None and message.parts <= MOST_REMEMBERED_PARTS:
            if len(lately) >= MOST_REMEMBERED:
                lately.clear()
            lately[body] = message
        return message

    @property
    def parts(self) -> int:
        """How many values the message consists of, where that is the peer's to say: each takes far more than a byte."""
        return 0

    def encode(self) -> bytes:
        """The message with its header. Raises ValueError for a field that does not fit."""
        body = bytearray()
        self.codec.write(self, body)
        return bytes((self.type,)) + len(body).to_bytes(3) + body


M = TypeVar("M", bound=HandshakeMessage)


def message(type_: HandshakeType, most: int | None = None, *, fresh: bool = True) -> Callable[[type[M]], type[M]]:
    """Declare a dataclass as the handshake message `type_`. `fresh`: it hardly ever says the same twice."""

    def declare(cls: type[M]) -> type[M]:
        cls.type, cls.most, cls.codec = type_, most, struct(cls)
        cls.lately = None if fresh else {}
        return cls

    return declare


@message(HandshakeType.CLIENT_HELLO)
@dataclass(frozen=True, slots=True)
class ClientHello(HandshakeMessage):
    """RFC 8446 §4.1.2."""

    legacy_version: Annotated[TLSVersion, code(TLSVersion)]
    random: Annotated[bytes, opaque(32)]
    legacy_session_id: Annotated[bytes, opaque(0, 32)]
    cipher_suites: Annotated[tuple[CipherSuite, ...], vector(code(CipherSuite), 2, U16 - 1)]
    legacy_compression_methods: Annotated[bytes, opaque(1, 255)]
    extensions: Annotated[ClientHelloExtensions, extensions(ClientHelloExtensions, may_be_absent=True)]


@message(HandshakeType.SERVER_HELLO, most=MAX_SMALL_MESSAGE)
@dataclass(frozen=True, slots=True)
class ServerHello(HandshakeMessage):
    """RFC 8446 §4.1.3."""

    legacy_version: Annotated[TLSVersion, code(TLSVersion)]
    random: Annotated[bytes, opaque(32)]
    legacy_session_id_echo: Annotated[bytes, opaque(0, 32)]
    cipher_suite: Annotated[CipherSuite, code(CipherSuite)]
    legacy_compression_method: Annotated[int, uint(1)]
    extensions: Annotated[ServerHelloExtensions, extensions(ServerHelloExtensions, may_be_absent=True)]

    @classmethod
    def accepts(cls, body: bytes) -> bool:
        return body[2:34] != RETRY_RANDOM


@message(HandshakeType.SERVER_HELLO, most=MAX_SMALL_MESSAGE)
@dataclass(frozen=True, slots=True)
class HelloRetryRequest(HandshakeMessage):
    """RFC 8446 §4.1.4: a ServerHello with a fixed random. A type of its own, so a second one is out of order."""

    legacy_version: Annotated[TLSVersion, code(TLSVersion)]
    random: Annotated[bytes, opaque(32)]
    legacy_session_id_echo: Annotated[bytes, opaque(0, 32)]
    cipher_suite: Annotated[CipherSuite, code(CipherSuite)]
    legacy_compression_method: Annotated[int, uint(1)]
    extensions: Annotated[HelloRetryRequestExtensions, extensions(HelloRetryRequestExtensions, 6)]

    @classmethod
    def accepts(cls, body: bytes) -> bool:
        return body[2:34] == RETRY_RANDOM


@message(HandshakeType.ENCRYPTED_EXTENSIONS, most=MAX_SMALL_MESSAGE, fresh=False)
@dataclass(frozen=True, slots=True)
class EncryptedExtensions(HandshakeMessage):
    """RFC 8446 §4.3.1."""

    extensions: Annotated[EncryptedExtensionsBlock, extensions(EncryptedExtensionsBlock)]

    @property
    def parts(self) -> int:
        return len(self.extensions.order)


@message(HandshakeType.CERTIFICATE_REQUEST)
@dataclass(frozen=True, slots=True)
class CertificateRequest(HandshakeMessage):
    """RFC 8446 §4.3.2."""

    certificate_request_context: Annotated[bytes, opaque(0, 255)]
    extensions: Annotated[CertificateRequestExtensions, extensions(CertificateRequestExtensions, 2)]


@dataclass(frozen=True, slots=True)
class CertificateEntry:
    """RFC 8446 §4.4.2: one certificate, DER, and what is said about it."""

    cert_data: Annotated[bytes, opaque(1, U24)]
    extensions: Annotated[CertificateEntryExtensions, extensions(CertificateEntryExtensions)]


@message(HandshakeType.CERTIFICATE, fresh=False)
@dataclass(frozen=True, slots=True)
class Certificate(HandshakeMessage):
    """RFC 8446 §4.4.2."""

    certificate_request_context: Annotated[bytes, opaque(0, 255)]
    certificate_list: Annotated[tuple[CertificateEntry, ...], vector(struct(CertificateEntry), 0, U24)]

    @property
    def parts(self) -> int:
        return len(self.certificate_list) + sum(len(entry.extensions.order) for entry in self.certificate_list)


@message(HandshakeType.COMPRESSED_CERTIFICATE)
@dataclass(frozen=True, slots=True)
class CompressedCertificate(HandshakeMessage):
    """RFC 8879 §4: a Certificate in a shorter form."""

    algorithm: Annotated[CertificateCompression, code(CertificateCompression)]
    uncompressed_length: Annotated[int, uint(3)]
    compressed_certificate_message: Annotated[bytes, opaque(1, U24)]


@message(HandshakeType.CERTIFICATE_VERIFY, most=MAX_SMALL_MESSAGE)
@dataclass(frozen=True, slots=True)
class CertificateVerify(HandshakeMessage):
    """RFC 8446 §4.4.3."""

    algorithm: Annotated[SignatureScheme, code(SignatureScheme)]
    signature: Annotated[bytes, opaque(0, U16)]


@message(HandshakeType.FINISHED, most=MAX_FINISHED)
@dataclass(frozen=True, slots=True)
class Finished(HandshakeMessage):
    """RFC 8446 §4.4.4: as long as the handshake's hash."""

    verify_data: Annotated[bytes, remainder(0, 64)]


@message(HandshakeType.NEW_SESSION_TICKET)
@dataclass(frozen=True, slots=True)
class NewSessionTicket(HandshakeMessage):
    """RFC 8446 §4.6.1; the lifetime in seconds."""

    ticket_lifetime: Annotated[int, uint(4)]
    ticket_age_add: Annotated[int, uint(4)]
    ticket_nonce: Annotated[bytes, opaque(0, 255)]
    ticket: Annotated[bytes, opaque(1, U16)]
    extensions: Annotated[NewSessionTicketExtensions, extensions(NewSessionTicketExtensions)]


@message(HandshakeType.END_OF_EARLY_DATA, most=0)
@dataclass(frozen=True, slots=True)
class EndOfEarlyData(HandshakeMessage):
    """RFC 8446 §4.5."""


@message(HandshakeType.KEY_UPDATE, most=1)
@dataclass(frozen=True, slots=True)
class KeyUpdate(HandshakeMessage):
    """RFC 8446 §4.6.3."""

    request_update: Annotated[KeyUpdateRequest, code(KeyUpdateRequest)]


MESSAGES: tuple[type[HandshakeMessage], ...] = (
    ClientHello,
    ServerHello,
    HelloRetryRequest,
    EncryptedExtensions,
    CertificateRequest,
    Certificate,
    CompressedCertificate,
    CertificateVerify,
    Finished,
    NewSessionTicket,
    EndOfEarlyData,
    KeyUpdate,
)
"""All declared messages of TLS 1.3."""
