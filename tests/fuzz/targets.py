"""What is fuzzed, and with what to begin. One table, for the replay of seeds, for atheris, and for our own mutations.

A target takes any bytes and returns; what it raises is a bug. Each judges by itself: errors are `TLSError`s that can be
shown, an error stays, nothing is delivered that was not sent, nothing shows a secret.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography.x509 import ReasonFlags

from fuzz import seeds
from fuzz.clear import Anyone, null_crypto
from handclasp import (
    CertificateError,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    Limits,
    NamedGroup,
    PresentedChain,
    Role,
    ServerConfig,
    ServerConnection,
    TLSError,
    TLSVersion,
)
from handclasp.channel.framing import Deframer, HandshakeBuffer
from handclasp.connection import Connection
from handclasp.identity.certificates import parse_chain
from handclasp.identity.names import peer_name
from handclasp.identity.pem import blocks
from handclasp.identity.revocation.crl import check_issuer, look_up, read_lists
from handclasp.identity.revocation.finding import Evidence, Unusable
from handclasp.identity.revocation.ocsp import read_response
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.statements import CertId, Speaker, Withdrawn, make_list, make_response
from handclasp.rules import PeerFault
from handclasp.sessions.cache import ClientSessions, from_entry, to_entry
from handclasp.sessions.session import Session
from handclasp.sessions.tickets import TicketKeys
from handclasp.wire.codec import decode, encode
from handclasp.wire.explain import explain
from handclasp.wire.messages import MESSAGES
from handclasp.wire.messages12 import MESSAGES12
from property.tapes import SHAPES, Repeated, assert_decent, assert_sound, steady_credential, tape
from rules.stage import NAME, authority, credential

Seeds = Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads what a peer, or anyone, sends."""

    name: str
    run: Callable[[bytes], None]
    own: Seeds
    """Inputs of our own making."""
    public: Seeds = tuple
    """Inputs of the public corpora, where they are present."""


# --- parsers ---------------------------------------------------------------------------------------------------------


def records(data: bytes) -> None:
    """What is cut into records is what came, and no byte more is held."""
    deframer, given = Deframer(), b""
    with suppress(PeerFault):
        for piece in _pieces(data):
            deframer.feed(piece)
            while (record := deframer.next(protected=bool(data[0] & 1))) is not None:
                given += record
    if not data[1:].startswith(given):
        raise AssertionError("the records are not what came")


def reassembly(data: bytes) -> None:
    """The same for messages."""
    buffer, given = HandshakeBuffer(Limits()), b""
    with suppress(PeerFault):
        for piece in _pieces(data):
            buffer.feed(piece)
            while (message := buffer.next()) is not None:
                given += message
    if not data[1:].startswith(given):
        raise AssertionError("the messages are not what came")


def _pieces(data: bytes) -> Iterator[bytes]:
    """The first byte says how large the pieces of the rest are."""
    step = 1 + (data[0] if data else 0)
    return (data[at : at + step] for at in range(1, len(data), step))


CLASSES = (*MESSAGES, *MESSAGES12)


def messages(data: bytes) -> None:
    """What can be read can be written, and reads as the same again. The first byte picks the message."""
    if not data:
        return
    cls = CLASSES[data[0] % len(CLASSES)]
    try:
        message = cls.parse(data[1:])
    except PeerFault:
        return
    explain(cls.codec, data[1:])
    again: Any = encode(cls.codec, message)
    if decode(cls.codec, again) != message:
        raise AssertionError(f"{cls.__name__} is not what it was")


def certificates(data: bytes) -> None:
    """Certificates, one behind another: read, verified, and the refusal explained."""
    with suppress(PeerFault, CertificateError):
        chain = parse_chain(_split(data), Limits())
        if not chain:
            return
        for role, name in ((Role.SERVER, peer_name("a.test")), (Role.CLIENT, None)):
            with suppress(CertificateError):
                authority().trust.verify(PresentedChain(chain, role, name, datetime.now(UTC)))


def _split(data: bytes) -> list[bytes]:
    """A chain as DER has it: each certificate says how long it is, in two bytes."""
    found = []
    while data:
        size = 4 + int.from_bytes(data[2:4]) if data[:2] == b"\x30\x82" else len(data)
        found.append(data[:size])
        data = data[size:]
    return found


def revocation(data: bytes) -> None:
    """What a responder, a server's staple or a list says of a certificate; nobody here signed it but the seeds' CA."""
    leaf, issuer, now = credential().leaf, authority().certificate, datetime.now(UTC)
    with suppress(Unusable):
        read_response(data, leaf, issuer, now, evidence=Evidence.OCSP, limits=Limits())
    with suppress(Unusable):
        for found in read_lists(data):
            with suppress(Unusable):
                check_issuer(found, issuer)
            look_up(found, leaf, now)


def sessions(data: bytes) -> None:
    """Bytes of a session, as a store or a ticket has them."""
    with suppress(ValueError):
        if Session.from_bytes(data).to_bytes() != data:
            raise AssertionError("the session is not what it was")
    from_entry(data, datetime.now(UTC))
    if TicketKeys().open(data, datetime.now(UTC)) is not None:
        raise AssertionError("a ticket of nobody's was opened")


def pem(data: bytes) -> None:
    """Text with armour."""
    with suppress(ValueError):
        blocks(data)


# --- streams under real keys -----------------------------------------------------------------------------------------

ORDER = tuple(SHAPES)


def client_stream(data: bytes) -> None:
    """What a client hears, in one of the shapes of handshakes."""
    _stream("client", data)


def server_stream(data: bytes) -> None:
    """The same for a server."""
    _stream("server", data)


def _stream(role: str, data: bytes) -> None:
    played = tape(ORDER[data[0] % len(ORDER)] if data else ORDER[0], role)
    lines: list[str] = []
    events, error = played.play(data[1:], lines.append)
    assert_sound(played, events, error)
    if error is not None and lines:
        _assert_silent(error, [bytes.fromhex(line.split()[-1]) for line in lines])


def _assert_silent(error: TLSError, secrets: list[bytes]) -> None:
    """Nothing that shows the error, its attributes, or the locals of its frames shows a secret."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    shown = "".join(told.format()) + repr(error) + repr(vars(error))
    for secret in secrets:
        if secret.hex() in shown or repr(secret)[2:-1] in shown:
            raise AssertionError("a secret is shown")


def _tapes(role: str) -> Iterator[bytes]:
    for index, shape in enumerate(ORDER):
        yield bytes([index]) + tape(shape, role).data


# --- streams without keys --------------------------------------------------------------------------------------------


def clear_client(data: bytes) -> None:
    """What a client hears when nothing is secret: every state is in reach."""
    with null_crypto():
        _listen(ClientConnection(_client(), NAME), data)


def clear_server(data: bytes) -> None:
    """The same for a server, which asks for a certificate."""
    with null_crypto():
        _listen(ServerConnection(_server()), data)


GROUPS = (NamedGroup.X25519, NamedGroup.SECP256R1)
"""What `Repeated` has key pairs for."""


@cache
def _client() -> ClientConfig:
    return ClientConfig(
        trust=Anyone(),
        entropy=Repeated("clear client"),
        sessions=ClientSessions(),
        credentials=[steady_credential("client")],
        middlebox_compatibility=False,
        alpn=["h2"],
        record_size_limit=1000,
        groups=GROUPS,
    )


@cache
def _server() -> ServerConfig:
    return ServerConfig(
        credentials=[credential(), steady_credential("server")],
        entropy=Repeated("clear server"),
        client_auth=ClientAuth(verify=Anyone(), required=False),
        tickets=TicketKeys(),
        alpn=["h2", "http/1.1"],
        record_size_limit=1000,
        groups=GROUPS,
    )


def _listen(connection: Connection, data: bytes) -> None:
    connection.data_to_send()
    error = None
    try:
        connection.receive_data(data)
        connection.receive_eof()
    except TLSError as caught:
        error = caught
    assert_decent(error)
    if error is None:
        return
    shown = "".join(traceback.format_exception(error))
    if connection.error is not error or "<Secret" in shown:
        raise AssertionError("the error did not stay, or shows a secret")
    connection.data_to_send()
    again = None
    try:
        connection.receive_data(data)
    except TLSError as caught:
        again = caught
    if again is not error or connection.data_to_send():
        raise AssertionError("after the error the connection went on")


def _clear_tapes(role: str) -> Iterator[bytes]:
    """A full and a mutual handshake with data, as each side hears it."""
    for changes in ({}, {"groups": [NamedGroup.SECP256R1]}, {"versions": [TLSVersion.TLS_1_2]}):
        with null_crypto():
            client = ClientConnection(_client().replace(**changes), NAME)
            server = ServerConnection(_server())
            heard = {"client": b"", "server": b""}
            for _ in range(6):
                for name, source, sink in (("server", client, server), ("client", server, client)):
                    data = source.data_to_send()
                    heard[name] += data
                    sink.receive_data(data)
            client.send(b"a question")
            server.send(b"an answer")
            for speaker in (client, server):
                if not changes.get("versions"):
                    speaker.update_keys(request_peer=True)
                speaker.close()
            heard["server"] += client.data_to_send()
            heard["client"] += server.data_to_send()
        yield heard[role]


# --- the table -------------------------------------------------------------------------------------------------------


def _boringssl(*names: str) -> Seeds:
    return lambda: (seeds.boringssl_stream(data) for name in names for _, data in seeds.archived(name))


def _rustls(*folders: str) -> Seeds:
    return lambda: (
        data for name, data in seeds.archived("rustls-corpus.tar.gz") if any(f"/{part}/" in name for part in folders)
    )


def _behind(first: bytes, *sources: Seeds) -> Seeds:
    """Seeds of other formats, behind the byte that ours begin with."""
    return lambda: (first + data for source in sources for data in source())


def _content(data: bytes) -> bytes:
    """The contents of the records of a stream."""
    found = b""
    while len(data) > 5:
        size = int.from_bytes(data[3:5])
        found, data = found + data[5 : 5 + size], data[5 + size :]
    return found


def _spoken() -> Iterator[bytes]:
    """Every message of our own handshakes, behind the number of its class."""
    types = {cls.type: index for index, cls in enumerate(CLASSES)}
    for role in ("client", "server"):
        for stream in _clear_tapes(role):
            buffer = HandshakeBuffer(Limits())
            buffer.feed(_content(stream))
            with suppress(PeerFault):
                while (message := buffer.next()) is not None:
                    yield bytes([types.get(message[0], 0)]) + message[4:]  # type: ignore[call-overload]


def _rustls_messages() -> Iterator[bytes]:
    """rustls keeps whole records; a handshake message begins behind their header."""
    types = {int(cls.type): index for index, cls in enumerate(CLASSES)}
    for data in _rustls("message")():
        yield bytes([types.get(data[5] if len(data) > 9 else 0, 0)]) + data[9:]


def _chains() -> Iterator[bytes]:
    yield b"".join(certificate.der for certificate in credential().chain)
    yield b"".join(certificate.der for certificate in steady_credential("client").chain)


def _kept() -> Iterator[bytes]:
    client: Any = SHAPES["resumed"][0]["sessions"]
    held = client.take(NAME)
    yield held.session.to_bytes()
    yield to_entry(held.session, held.session.expires)
    yield held.ticket


def _said() -> Iterator[bytes]:
    """A response and a list, of the CA that issued the certificate and of another."""
    leaf, now = credential().leaf, datetime.now(UTC)
    withdrawn = {leaf.serial: Withdrawn(now, ReasonFlags.key_compromise)}
    other = CertificateAuthority("another CA")
    for ca in (authority(), other):
        speaker = Speaker(ca.certificate, ca._key)
        for revoked in ({}, withdrawn):
            yield make_response(CertId.made(leaf, ca.certificate), revoked, speaker, now, {})
            yield make_list(revoked, speaker, now, {})


_CLIENT_SEEDS = _boringssl("boringssl-client_corpus.tar.gz", "boringssl-client_no_fuzzer_mode_corpus.tar.gz")
_SERVER_SEEDS = _boringssl("boringssl-server_corpus.tar.gz", "boringssl-server_no_fuzzer_mode_corpus.tar.gz")
_HELLOS = _boringssl("boringssl-decode_client_hello_inner_corpus.tar.gz")
_CERTIFICATES = _boringssl("boringssl-cert_corpus.tar.gz", "boringssl-parse_certificate_fuzzer_corpus.tar.gz")
_SESSIONS = _boringssl("boringssl-session_corpus.tar.gz")

TARGETS = {
    target.name: target
    for target in (
        Target(
            "records",
            records,
            _behind(b"\7", lambda: _tapes("client"), lambda: _tapes("server")),
            _behind(b"\x3f", _CLIENT_SEEDS, _SERVER_SEEDS, _rustls("message", "client", "server", "unbuffered")),
        ),
        Target("reassembly", reassembly, _behind(b"\7", _spoken), _behind(b"\x3f", _rustls("message"))),
        Target("messages", messages, _spoken, lambda: (*_rustls_messages(), *_behind(b"\0", _HELLOS)())),
        Target("certificates", certificates, _chains, _CERTIFICATES),
        Target("revocation", revocation, _said, _CERTIFICATES),
        Target("sessions", sessions, _kept, lambda: (*_SESSIONS(), *_rustls("persist")())),
        Target("pem", pem, lambda: (certificate.pem() for certificate in credential().chain), _CERTIFICATES),
        Target(
            "client stream",
            client_stream,
            lambda: _tapes("client"),
            _behind(b"\0", _CLIENT_SEEDS, _rustls("client", "unbuffered")),
        ),
        Target(
            "server stream",
            server_stream,
            lambda: _tapes("server"),
            _behind(b"\0", _SERVER_SEEDS, _rustls("server", "unbuffered")),
        ),
        Target("client stream without keys", clear_client, lambda: _clear_tapes("client"), _CLIENT_SEEDS),
        Target("server stream without keys", clear_server, lambda: _clear_tapes("server"), _SERVER_SEEDS),
    )
}
