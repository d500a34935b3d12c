"""The conversation as lines of text: who said what, when, how long it was, and what it means.

Read from a recording of either side; every line stands for an event that happened, every ✓ for a check that passed.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..alerts import Alert
from ..codes import Code, is_grease
from ..crypto.suites import SUITES
from ..trace import DataMoved, Direction, Epoch, KeysChanged, MessageMoved, Subject
from ..wire.explain import Field, explain_message
from ..wire.messages import (
    Certificate,
    CertificateRequest,
    CertificateVerify,
    ClientHello,
    EncryptedExtensions,
    Finished,
    HandshakeMessage,
    HelloRetryRequest,
    KeyUpdate,
    NewSessionTicket,
    ServerHello,
)
from ..wire.messages12 import (
    Certificate12,
    CertificateRequest12,
    CertificateStatusMessage,
    ClientECDH,
    ClientEncryptedSecret,
    HelloRequest,
    NewSessionTicket12,
    ServerHelloDone,
    ServerKeyExchange,
)
from ..wire.names import CipherSuite, ContentType, HandshakeType, KeyUpdateRequest, TLSVersion
from .recording import Moment, Recording, declared, message
from .terminal import WIDTH, Look, clipped
from .words import count, octets

BAND = "─── {} ───"
_MARGIN = " " * 13


def conversation(recording: Recording, look: Look, *, every_byte: bool = False) -> list[str]:
    """All of it, from the first message on."""
    lines: list[str] = []
    bands: set[tuple[Epoch, int, Direction | None]] = set()
    for moment in recording.moments:
        match moment.event:
            case MessageMoved() as moved:
                lines.append(spoken(recording, moment, moved, look))
                if every_byte:
                    lines += fields(recording, moved, look)
            case DataMoved(direction, size):
                lines.append(_line(moment.at, direction, "application data", size, "", look))
            case KeysChanged(direction, epoch, generation):
                # The two directions change together in a handshake, and each by itself afterwards, and in TLS 1.2.
                band = (epoch, generation, direction if generation or recording.is_tls12 else None)
                if band not in bands:
                    bands.add(band)
                    lines.append(_MARGIN + look.dim(BAND.format(_keys(recording, direction, epoch, generation))))
    return lines


def told(recording: Recording, kind: type[HandshakeMessage], direction: Direction, look: Look) -> list[str]:
    """The lines of one kind of handshake message alone."""
    return [
        spoken(recording, moment, moment.event, look)
        for moment in recording.moments
        if isinstance(moment.event, MessageMoved)
        and moment.event.direction is direction
        and moment.event.type is ContentType.HANDSHAKE
        and recording.declared(moment.event.message) is kind
    ]


def told_alerts(recording: Recording, direction: Direction, look: Look) -> list[str]:
    """The lines of alerts alone."""
    return [
        spoken(recording, moment, moment.event, look)
        for moment in recording.moments
        if isinstance(moment.event, MessageMoved)
        and moment.event.direction is direction
        and moment.event.type is ContentType.ALERT
    ]


def spoken(recording: Recording, moment: Moment, moved: MessageMoved, look: Look) -> str:
    """One message: `10.1 ms  ◀── ServerHello  1 176 B  the suite, and its key share`."""
    name, meaning = named(moved), ""
    if moved.type is ContentType.CHANGE_CIPHER_SPEC:
        meaning = "encrypted from here on" if recording.is_tls12 else "for old middleboxes only"
    elif moved.type is ContentType.ALERT:
        meaning = "goodbye, nothing is missing" if moved.message[1:] == b"\0" else "this ends the connection"
    elif (found := message(moved.message, recording.kinds)) is not None:
        meaning = _meaning(recording, moved, found)
    return _line(moment.at, moved.direction, name, len(moved.message), meaning, look)


def named(moved: MessageMoved) -> str:
    """What kind of message it is."""
    if moved.type is ContentType.CHANGE_CIPHER_SPEC:
        return "ChangeCipherSpec"
    if moved.type is ContentType.ALERT:
        return f"alert {Alert(moved.message[1])}"
    if declared(moved.message) is HelloRetryRequest:
        return HelloRetryRequest.__name__
    return str(HandshakeType(moved.message[0]))


def fields(recording: Recording, moved: MessageMoved, look: Look) -> list[str]:
    """Every field of a handshake message: where it stands, its bytes, its name, what it says."""
    cls = recording.declared(moved.message) if moved.type is ContentType.HANDSHAKE else None
    if cls is None:
        return []
    return [line for found in explain_message(cls, moved.message) for line in _field(found, moved.message, look)]


def real(codes: tuple[Code, ...] | None) -> list[str]:
    """The names of code points, without those that mean nothing on purpose (RFC 8701)."""
    return [str(code) for code in codes or () if not is_grease(code)]


def in_short(suites: tuple[CipherSuite, ...]) -> str:
    """A list of suites; where it is long, those of TLS 1.2 by their number."""
    older = [code for code in suites if code in SUITES and SUITES[code].version is TLSVersion.TLS_1_2]
    named = tuple(code for code in suites if code not in older)
    if not real(named) or len(older) < 3:
        return ", ".join(real(suites))
    return f"{', '.join(real(named))} and {len(older)} for TLS 1.2"


def _meaning(recording: Recording, moved: MessageMoved, found: HandshakeMessage) -> str:
    """What one handshake message says, in a few words."""
    received = moved.direction is Direction.RECEIVED
    match found:
        case ClientHello():
            return ", ".join(_offer(found))
        case HelloRetryRequest():
            return f"once more, with {found.extensions.key_share or 'its cookie'}"
        case ServerHello():
            return _answer(recording)
        case EncryptedExtensions():
            alpn = found.extensions.alpn
            return f"application: {alpn[0].decode('latin-1')}" if alpn else "nothing more to settle"
        case CertificateRequest() | CertificateRequest12():
            return "now show yours"
        case Certificate() | Certificate12():
            return count(len(found.certificate_list), "certificate") if found.certificate_list else "we have none"
        case CertificateVerify():
            # Received, it is worth a ✓ only if the signature was right: that is when the scheme is noted.
            subject = Subject.SIGNATURE_SCHEME if _is_from_server(recording, moved) else Subject.CLIENT_SIGNATURE_SCHEME
            return f"{_passed(received and recording.chosen(subject) is not None)}it owns the key"
        case Finished():
            return f"{_passed(received and recording.established)}nothing was altered"
        case NewSessionTicket():
            return f"a ticket, good for {found.ticket_lifetime / 3600:g} h"
        case KeyUpdate():
            wants = found.request_update is KeyUpdateRequest.UPDATE_REQUESTED
            return "new keys; you too, please" if wants else "new keys"
    return _meaning12(recording, moved, found)


def _meaning12(recording: Recording, moved: MessageMoved, found: HandshakeMessage) -> str:
    """The same for what only TLS 1.2 has."""
    received = moved.direction is Direction.RECEIVED
    match found:
        case ServerKeyExchange():
            return f"{_passed(received and recording.chosen(Subject.SIGNATURE_SCHEME) is not None)}key share, signed"
        case ServerHelloDone():
            return "your turn"
        case ClientECDH():
            return "the other key share"
        case ClientEncryptedSecret():
            return "the secret, encrypted"
        case CertificateStatusMessage():
            return "what its CA says of it today"
        case NewSessionTicket12():
            return (
                f"a ticket, good for {found.ticket_lifetime_hint / 3600:g} h" if found.ticket else "no ticket after all"
            )
        case HelloRequest():
            return "would like to begin again"
    return ""


def _answer(recording: Recording) -> str:
    """What a ServerHello settles."""
    if not recording.is_tls12:
        return "the suite, and its key share"
    return "the suite" if recording.chosen(Subject.RESUMED) is None else "the session from before"


def _passed(checked: bool) -> str:
    return "✓ " if checked else ""


def _is_from_server(recording: Recording, moved: MessageMoved) -> bool:
    we_are_client = bool(recording.messages(ClientHello, Direction.SENT))
    return we_are_client is (moved.direction is Direction.RECEIVED)


def _offer(hello: ClientHello) -> Iterator[str]:
    yield count(len(real(hello.cipher_suites)), "suite")
    yield count(len(real(hello.extensions.supported_groups)), "group")
    if hello.extensions.server_name:
        yield "SNI"
    if hello.extensions.alpn:
        yield "ALPN"


def _keys(recording: Recording, direction: Direction, epoch: Epoch, generation: int) -> str:
    if generation:
        whose = "our" if direction is Direction.SENT else "their"
        return f"{whose} keys are new: generation {generation}"
    if recording.is_tls12:
        return "our keys are in use" if direction is Direction.SENT else "their keys are in use"
    return "both sides now derive the handshake keys" if epoch is Epoch.HANDSHAKE else "application keys are ready"


def _line(at: float, direction: Direction, name: str, size: int, meaning: str, look: Look) -> str:
    sent = direction is Direction.SENT
    who = look.us(f"──▶ {name:<20}") if sent else look.peer(f"◀── {name:<20}")
    return f"{at * 1000:8.1f} ms  {who} {octets(size):>8}   {clipped(meaning, WIDTH - 51)}"


def _field(found: Field, data: bytes, look: Look) -> list[str]:
    """A field's bytes, all of them, and beside their first line its name and what it says."""
    raw = data[found.offset : found.offset + found.size] if found.meaning else b""
    # Elements are known by their place, and numbers by the bytes at the left: neither needs saying twice.
    name = f"[{found.name.partition('[')[2]}" if "[" in found.name else found.name
    meaning = "" if raw.hex().startswith(found.meaning.partition("…")[0]) else found.meaning.partition(" (0x")[0]
    text = clipped(f"{'  ' * found.depth}{name}  {meaning}".rstrip(), WIDTH - 34)
    hexes = [raw[at : at + _ROW].hex(" ") for at in range(0, len(raw), _ROW)] or [""]
    lines = [f"{found.offset:5}  {look.dim(f'{hexes[0]:<{3 * _ROW}}')}{text}"]
    return lines + [f"{found.offset + _ROW * at:5}  {look.dim(part)}" for at, part in enumerate(hexes[1:], 1)]


_ROW = 8
"""Bytes on one line."""
