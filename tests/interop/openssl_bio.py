"""OpenSSL as a peer in memory, twice: the one behind the standard library, and the newer one behind pyOpenSSL.

Both tell which messages they saw, so that a test can compare the two ends' accounts of a handshake.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from handclasp import Alert, ClientConnection, Closed, Data, ServerConnection, SignatureScheme, TLSError
from handclasp.wire.names import ContentType, HandshakeType
from interop.identities import NAME, Identities, Identity

READ_SIZE: Final = 1 << 16


@dataclass(frozen=True)
class Heard:
    """One message as OpenSSL saw it."""

    sent: bool
    """True when OpenSSL sent it."""
    type: ContentType
    content: bytes


class Foreign(ABC):
    """A peer that is not handclasp: bytes in, bytes out."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.heard: list[Heard] = []
        self.established = False
        self.closed = False
        """The other side said close_notify."""
        self.error: Exception | None = None

    @property
    @abstractmethod
    def cipher_suite(self) -> str: ...

    @property
    @abstractmethod
    def certificate(self) -> bytes | None:
        """The other side's certificate, DER."""

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Bytes from the transport."""

    @abstractmethod
    def take(self) -> bytes:
        """Bytes for the transport."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Protect application data."""

    @abstractmethod
    def close(self) -> None:
        """Say close_notify."""

    def handshake_messages(self, type_: HandshakeType, *, sent: bool) -> list[bytes]:
        """The bodies of all handshake messages of a type that OpenSSL sent, or received."""
        return [
            heard.content[4:]
            for heard in self.heard
            if heard.sent is sent and heard.type is ContentType.HANDSHAKE and heard.content[0] == type_
        ]

    def alerts(self, *, sent: bool) -> list[Alert]:
        """The alerts OpenSSL sent, or received."""
        return [
            Alert(heard.content[1]) for heard in self.heard if heard.sent is sent and heard.type is ContentType.ALERT
        ]

    def signature_scheme(self, *, sent: bool) -> SignatureScheme:
        """The scheme of the one CertificateVerify that OpenSSL sent, or received."""
        (body,) = self.handshake_messages(HandshakeType.CERTIFICATE_VERIFY, sent=sent)
        return SignatureScheme(int.from_bytes(body[:2]))


class StdlibPeer(Foreign):
    """The standard library's `ssl`. The context is this peer's own."""

    def __init__(
        self, context: ssl.SSLContext, server_name: str | None = None, session: ssl.SSLSession | None = None
    ) -> None:
        super().__init__()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        # There is no public way to see the messages; `_msg_callback` is what the library's own debugging uses.
        internals: Any = context
        internals._msg_callback = self._listen
        server_side = context.protocol is ssl.PROTOCOL_TLS_SERVER
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side, server_name, session)
        self._advance()

    @property
    def cipher_suite(self) -> str:
        cipher = self.tls.cipher()
        assert cipher is not None
        return cipher[0]

    @property
    def certificate(self) -> bytes | None:
        return self.tls.getpeercert(binary_form=True)

    def feed(self, data: bytes) -> None:
        self._incoming.write(data)
        self._advance()

    def end(self) -> None:
        """The transport ended."""
        self._incoming.write_eof()
        self._advance()

    def take(self) -> bytes:
        return self._outgoing.read()

    def send(self, data: bytes) -> None:
        assert self.tls.write(data) == len(data)

    def close(self) -> None:
        with suppress(ssl.SSLWantReadError):  # the other side's close_notify is not here yet
            self.tls.unwrap()

    def _advance(self) -> None:
        try:
            if not self.established:
                self.tls.do_handshake()
                self.established = True
            while not self.closed:
                data = self.tls.read(READ_SIZE)
                self.received += data
                self.closed = not data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed = True
        except ssl.SSLError as error:
            self.error = error

    def _listen(
        self, _: object, direction: str, version: object, content_type: int, message_type: object, data: bytes
    ) -> None:
        _hear(self.heard, direction == "write", content_type, data)


class PyOpenSSLPeer(Foreign):
    """pyOpenSSL. The context is this peer's own."""

    def __init__(self, context: SSL.Context, server_name: str | None = None, *, server_side: bool) -> None:
        super().__init__()
        # pyOpenSSL has no public message callback; OpenSSL has.
        self._callback = ffi.callback("void(int, int, int, const void *, size_t, SSL *, void *)", self._listen)
        lib.SSL_CTX_set_msg_callback(context._context, self._callback)
        self.tls = SSL.Connection(context, None)
        if server_name is not None:
            self.tls.set_tlsext_host_name(server_name.encode())
        if server_side:
            self.tls.set_accept_state()
        else:
            self.tls.set_connect_state()
        self._advance()

    @property
    def cipher_suite(self) -> str:
        name = self.tls.get_cipher_name()
        assert name is not None
        return name

    @property
    def group(self) -> str:
        name = self.tls.get_group_name()
        assert name is not None
        return name

    @property
    def certificate(self) -> bytes | None:
        certificate = self.tls.get_peer_certificate(as_cryptography=True)
        return None if certificate is None else certificate.public_bytes(Encoding.DER)

    def feed(self, data: bytes) -> None:
        assert self.tls.bio_write(data) == len(data)
        self._advance()

    def take(self) -> bytes:
        pieces = []
        with suppress(SSL.WantReadError):
            while True:
                pieces.append(self.tls.bio_read(READ_SIZE))
        return b"".join(pieces)

    def send(self, data: bytes) -> None:
        self.tls.sendall(data)

    def close(self) -> None:
        self.tls.shutdown()

    def export(self, label: bytes, length: int, context: bytes | None) -> bytes:
        return self.tls.export_keying_material(label, length, context)

    def _advance(self) -> None:
        try:
            if not self.established:
                self.tls.do_handshake()
                self.established = True
            while True:
                self.received += self.tls.recv(READ_SIZE)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error as error:
            self.error = error

    def _listen(
        self, sent: int, _version: int, content_type: int, data: Any, size: int, _ssl: object, _argument: object
    ) -> None:
        _hear(self.heard, bool(sent), content_type, ffi.buffer(data, size)[:])


def _hear(heard: list[Heard], sent: bool, content_type: int, content: bytes) -> None:
    # OpenSSL also reports record headers and inner content types, under numbers above 255.
    if content_type in (ContentType.HANDSHAKE, ContentType.ALERT):
        heard.append(Heard(sent, ContentType(content_type), content))


class Meeting:
    """One of our connections and a foreign one, joined in memory."""

    def __init__(self, ours: ClientConnection | ServerConnection, theirs: Foreign) -> None:
        self.ours = ours
        self.theirs = theirs
        self.events: list[object] = []
        self.failure: TLSError | None = None
        """What our connection raised."""
        self.from_us = bytearray()
        self.from_them = bytearray()

    def carry(self, piece: int | None = None) -> None:
        """Carry bytes to and fro, `piece` at a time or all at once, until both are silent. Failures are remembered."""
        while True:
            outbound, inbound = self.ours.data_to_send(), self.theirs.take()
            if not outbound and not inbound:
                return
            self.from_us += outbound
            self.from_them += inbound
            for part in _parts(outbound, piece):
                self.theirs.feed(part)
            for part in _parts(inbound, piece):
                self._attempt(self.ours.receive_data, part)

    @property
    def received(self) -> bytes:
        """All application data our side was given."""
        return b"".join(event.data for event in self.events if isinstance(event, Data))

    @property
    def closed(self) -> bool:
        """The foreign side said close_notify."""
        return Closed(clean=True) in self.events

    def exchange(self, ours: bytes, theirs: bytes, piece: int | None = None) -> None:
        """Send data both ways and see that it arrives as it was."""
        before, before_theirs = len(self.received), len(self.theirs.received)
        self.ours.send(ours)
        self.theirs.send(theirs)
        self.carry(piece)
        self.check()
        assert bytes(self.theirs.received[before_theirs:]) == ours
        assert self.received[before:] == theirs

    def check(self) -> None:
        """Raise what went wrong on either side."""
        if self.failure is not None:
            raise self.failure
        if self.theirs.error is not None:
            raise self.theirs.error

    def _attempt(self, receive: Callable[[bytes], None], data: bytes) -> None:
        if self.failure is not None:
            return
        try:
            receive(data)
        except TLSError as error:
            self.failure = error
        finally:
            self.events += self.ours.events()


def meet(ours: ClientConnection | ServerConnection, theirs: Foreign, piece: int | None = None) -> Meeting:
    """Let two peers shake hands, however it ends."""
    meeting = Meeting(ours, theirs)
    meeting.carry(piece)
    return meeting


def shake(ours: ClientConnection | ServerConnection, theirs: Foreign, piece: int | None = None) -> Meeting:
    """Let two peers shake hands, and see that both are content."""
    meeting = meet(ours, theirs, piece)
    meeting.check()
    assert ours.established
    assert theirs.established
    return meeting


def record_sizes(wire: bytes | bytearray) -> list[tuple[ContentType, int]]:
    """Type and length of each record of a stream, without its header."""
    sizes, at = [], 0
    while at < len(wire):
        length = int.from_bytes(wire[at + 3 : at + 5])
        sizes.append((ContentType(wire[at]), length))
        at += 5 + length
    assert at == len(wire)
    return sizes


def _parts(data: bytes, size: int | None) -> list[bytes]:
    if size is None:
        return [data] if data else []
    return [data[at : at + size] for at in range(0, len(data), size)]


# --- contexts --------------------------------------------------------------------------------------------------------


def stdlib_server(
    identity: Identity,
    *,
    group: str | None = None,
    client_ca: Identities | None = None,
    optional: bool = False,
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    """A server's context with TLS 1.3 alone. `group` is OpenSSL's name of the only one it may use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(identity.chain_file, identity.key_file)
    if group is not None:
        context.set_ecdh_curve(group)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca.root_file)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def stdlib_client(
    trusted: Identities, *, group: str | None = None, identity: Identity | None = None, alpn: Sequence[str] = ()
) -> ssl.SSLContext:
    """A client's context with TLS 1.3 alone, which checks chain and name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(trusted.root_file)
    if group is not None:
        context.set_ecdh_curve(group)
    if identity is not None:
        context.load_cert_chain(identity.chain_file, identity.key_file)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def newer_server(
    identity: Identity,
    *,
    groups: str = "",
    suites: str = "",
    schemes: str = "",
    client_ca: Identities | None = None,
) -> SSL.Context:
    """A server's context of pyOpenSSL with TLS 1.3 alone. Lists are in OpenSSL's names, joined by colons."""
    context = _newer(groups, suites, schemes)
    context.use_certificate_chain_file(str(identity.chain_file))
    context.use_privatekey_file(str(identity.key_file))
    if client_ca is not None:
        context.load_verify_locations(str(client_ca.root_file))
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


def newer_client(
    trusted: Identities,
    *,
    groups: str = "",
    suites: str = "",
    schemes: str = "",
    identity: Identity | None = None,
) -> SSL.Context:
    """A client's context of pyOpenSSL with TLS 1.3 alone, which checks the chain."""
    context = _newer(groups, suites, schemes)
    context.load_verify_locations(str(trusted.root_file))
    context.set_verify(SSL.VERIFY_PEER)
    if identity is not None:
        context.use_certificate_chain_file(str(identity.chain_file))
        context.use_privatekey_file(str(identity.key_file))
    return context


def _newer(groups: str, suites: str, schemes: str) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    # Groups and signature algorithms have no public setter in pyOpenSSL: these are OpenSSL's own.
    if groups:
        assert lib.SSL_CTX_set1_curves_list(context._context, groups.encode()) == 1
    if schemes:
        assert lib.SSL_CTX_set1_sigalgs_list(context._context, schemes.encode()) == 1
    if suites:
        context.set_tls13_ciphersuites(suites.encode())
        # a tag of 8 bytes is below the default security level
        context.set_cipher_list(b"DEFAULT@SECLEVEL=0")
    return context


def newer_server_peer(context: SSL.Context) -> PyOpenSSLPeer:
    return PyOpenSSLPeer(context, server_side=True)


def newer_client_peer(context: SSL.Context, server_name: str = NAME) -> PyOpenSSLPeer:
    return PyOpenSSLPeer(context, server_name, server_side=False)
