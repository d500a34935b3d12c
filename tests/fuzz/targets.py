"""What is fuzzed, and with what to begin. One table, for the replay of seeds, for atheris, and for our own mutations.

A target takes any bytes and returns; what it raises is a bug. Each judges by itself: errors are `TLSError`s that can be
shown, an error stays, nothing is delivered that was not sent, nothing shows a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from random import Random
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import ReasonFlags
from hypothesis import settings
from hypothesis.stateful import get_state_machine_test

from fuzz import seeds
from fuzz.oracles import MOST_HELD
from fuzz.streams import clear_client, clear_server, clear_tapes, client_stream, server_stream, tapes
from handclasp import CertificateError, Limits, PresentedChain, Role
from handclasp.channel.framing import Deframer, HandshakeBuffer
from handclasp.identity.aia import _longer
from handclasp.identity.certificates import parse_chain
from handclasp.identity.names import peer_name
from handclasp.identity.pem import blocks
from handclasp.identity.revocation.crl import check_issuer, look_up, read_lists
from handclasp.identity.revocation.finding import Evidence, Unusable
from handclasp.identity.revocation.ocsp import read_response
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.statements import CertId, Speaker, Withdrawn, make_list, make_response
from handclasp.rules import PeerFault
from handclasp.sessions.cache import ClientSession, from_entry, to_entry
from handclasp.sessions.session import Session
from handclasp.sessions.tickets import TicketKey, TicketKeys
from handclasp.wire.codec import decode, encode
from handclasp.wire.explain import explain
from handclasp.wire.messages import MESSAGES
from handclasp.wire.messages12 import MESSAGES12
from property.tapes import SHAPES, steady_credential
from property.test_api_sequences import AnyCalls
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
    readable: bool = False
    """Whether inputs are streams in the clear, whose messages can be found behind the first byte."""
    held: int = MOST_HELD
    """Most memory that an input may take beside its own length, in bytes."""


# --- parsers ---------------------------------------------------------------------------------------------------------


def records(data: bytes) -> None:
    """What is cut into records is what came, and no byte more is held."""
    deframer, given = Deframer(), b""
    with suppress(PeerFault):
        for piece in _pieces(data):
            deframer.feed(piece)
            while (record := deframer.next(protected=bool(data[0] & 1))) is not None:
                given += b"".join(record)
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


def issuers(data: bytes) -> None:
    """What is found where a certificate says its issuer's is: DER, PEM, or a bag of certificates."""
    chain = PresentedChain((credential().leaf,), Role.SERVER, None, datetime.now(UTC))
    with suppress(ValueError):
        if _longer(chain, data).chain[:1] != chain.chain:
            raise AssertionError("the chain begins with another certificate")


def sessions(data: bytes) -> None:
    """Bytes of a session, as a store or a ticket has them."""
    with suppress(ValueError):
        if Session.from_bytes(data).to_bytes() != data:
            raise AssertionError("the session is not what it was")
    with suppress(ValueError):
        if ClientSession.from_bytes(data).to_bytes() != data:
            raise AssertionError("the client's session is not what it was")
    with suppress(ValueError):
        TicketKey.from_bytes(data)
    from_entry(data, datetime.now(UTC))
    if TicketKeys().open(data, datetime.now(UTC)) is not None:
        raise AssertionError("a ticket of nobody's was opened")


def pem(data: bytes) -> None:
    """Text with armour."""
    with suppress(ValueError):
        blocks(data)


# --- calls -----------------------------------------------------------------------------------------------------------


def calls(data: bytes) -> None:
    """Calls in any order on both ends of a connection: Hypothesis chooses them by these bytes."""
    _calls()(data)


@cache
def _calls() -> Callable[[bytes], object]:
    run: Any = get_state_machine_test(AnyCalls, settings=settings(AnyCalls.TestCase.settings, stateful_step_count=30))
    choose: Callable[[bytes], object] = run.hypothesis.fuzz_one_input
    return choose


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
        for stream in clear_tapes(role):
            buffer = HandshakeBuffer(Limits())
            buffer.feed(_content(stream[1:]))
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
    yield held.to_bytes()
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


def _bags() -> Iterator[bytes]:
    """An issuer in each of the forms it may be published in."""
    issuer = authority().certificate
    yield issuer.der
    yield issuer.pem()
    yield pkcs7.serialize_certificates([issuer.x509, credential().leaf.x509], Encoding.DER)


def _draws() -> Iterator[bytes]:
    """What calls are chosen by is drawn by chance, the same each time."""
    chance = Random("calls")
    for size in (64, 256, 1024, 4096):
        for _ in range(5):
            yield chance.randbytes(size)


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
            _behind(b"\7", lambda: tapes("client"), lambda: tapes("server")),
            _behind(b"\x3f", _CLIENT_SEEDS, _SERVER_SEEDS, _rustls("message", "client", "server", "unbuffered")),
        ),
        Target("reassembly", reassembly, _behind(b"\7", _spoken), _behind(b"\x3f", _rustls("message"))),
        Target("messages", messages, _spoken, lambda: (*_rustls_messages(), *_behind(b"\0", _HELLOS)())),
        Target("certificates", certificates, _chains, _CERTIFICATES),
        Target("revocation", revocation, _said, _CERTIFICATES),
        Target("issuers", issuers, _bags, _CERTIFICATES),
        Target("sessions", sessions, _kept, lambda: (*_SESSIONS(), *_rustls("persist")())),
        Target("pem", pem, lambda: (certificate.pem() for certificate in credential().chain), _CERTIFICATES),
        Target(
            "client stream",
            client_stream,
            lambda: tapes("client"),
            _behind(b"\0", _CLIENT_SEEDS, _rustls("client", "unbuffered")),
        ),
        Target(
            "server stream",
            server_stream,
            lambda: tapes("server"),
            _behind(b"\0", _SERVER_SEEDS, _rustls("server", "unbuffered")),
        ),
        Target(
            "client stream without keys",
            clear_client,
            lambda: clear_tapes("client"),
            _behind(b"\0", _CLIENT_SEEDS, _rustls("client", "unbuffered")),
            readable=True,
        ),
        Target(
            "server stream without keys",
            clear_server,
            lambda: clear_tapes("server"),
            _behind(b"\0", _SERVER_SEEDS, _rustls("server", "unbuffered")),
            readable=True,
        ),
        Target("calls", calls, _draws, held=10_000_000),  # the calls themselves send much
    )
}
