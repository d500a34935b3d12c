"""What somebody does with a recording of TLS 1.2, years later, and the server's private key in hand.

Nothing is taken from either side but the bytes on the wire: with RSA key transport, these and the key are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ..channel.prf import MasterSecret
from ..channel.protection import Opener, opener_for
from ..crypto.keys import decode_private
from ..crypto.secret import Secret
from ..crypto.signatures import PrivateKey
from ..crypto.suites import SUITES, KeyExchange
from ..crypto.transport import PREMASTER_SIZE, decrypt_premaster
from ..limits import MAX_PLAINTEXT, RECORD_HEADER, Limits
from ..trace import Direction, RecordMoved
from ..wire.messages import HEADER_SIZE, ClientHello, HandshakeMessage, ServerHello
from ..wire.messages12 import ClientECDH, ClientEncryptedSecret
from ..wire.names import ContentType, HandshakeType
from .recording import Recording

M = TypeVar("M", bound=HandshakeMessage)


class NothingToDecrypt(Exception):
    """The recording holds no secret that this key can decrypt."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What the recording gave away."""

    premaster: bytes = field(repr=False)
    texts: tuple[tuple[Direction, bytes], ...]
    """All application data, in order."""


@dataclass(slots=True)
class Tapped:
    """A connection as it went past: its handshake in the clear, and what was encrypted after it."""

    messages: list[bytes] = field(default_factory=list)
    sealed: list[tuple[Direction, bytes]] = field(default_factory=list)

    def find(self, kind: type[M]) -> tuple[M, int]:
        """The only message of its type, and its place among the others. Raises NothingToDecrypt."""
        for index, encoded in enumerate(self.messages):
            if encoded[0] == kind.type:
                return kind.parse(encoded[HEADER_SIZE:]), index
        raise NothingToDecrypt(f"there is no {HandshakeType(kind.type)} in the clear")


def wire(recording: Recording) -> list[tuple[Direction, bytes]]:
    """All that a wiretap has: the records, and which way they went."""
    return [(event.direction, event.record) for event in recording.of(RecordMoved)]


def tap(records: Sequence[tuple[Direction, bytes]]) -> Tapped:
    """Put the records together again. Each side encrypts from its ChangeCipherSpec on."""
    tapped, started = Tapped(), dict.fromkeys(Direction, b"")
    encrypts: set[Direction] = set()
    for direction, record in records:
        if direction in encrypts:
            tapped.sealed.append((direction, record))
        elif record[0] == ContentType.CHANGE_CIPHER_SPEC:
            encrypts.add(direction)
        elif record[0] == ContentType.HANDSHAKE:
            pending = started[direction] + record[RECORD_HEADER:]
            while len(pending) >= HEADER_SIZE and len(pending) >= (end := HEADER_SIZE + int.from_bytes(pending[1:4])):
                tapped.messages.append(pending[:end])
                pending = pending[end:]
            started[direction] = pending
    return tapped


def decrypt(records: Sequence[tuple[Direction, bytes]], private_key: bytes) -> Opened:
    """Read a recording with the server's private key (PEM). Raises NothingToDecrypt."""
    key = decode_private(private_key, None, pem=True)
    if not isinstance(key, PrivateKey):
        raise NothingToDecrypt("this is no private key")
    tapped = tap(records)
    hello, _ = tapped.find(ClientHello)
    answer, _ = tapped.find(ServerHello)
    suite = SUITES[answer.cipher_suite]
    if suite.key_exchange is not KeyExchange.RSA:
        share, _ = tapped.find(ClientECDH)
        if len(decrypt_premaster(key, share.public)) != PREMASTER_SIZE:
            raise NothingToDecrypt("its ClientKeyExchange is a public key share: nothing is encrypted in it")
    exchange, index = tapped.find(ClientEncryptedSecret)
    premaster = Secret(decrypt_premaster(key, exchange.encrypted_pre_master_secret))
    randoms = hello.random, answer.random
    if answer.extensions.extended_master_secret is not None:
        session_hash = suite.hash.digest(b"".join(tapped.messages[: index + 1]))
        master = MasterSecret.extended_from(suite, premaster, session_hash, *randoms)
    else:
        master = MasterSecret.plain_from(suite, premaster, *randoms)
    ours, theirs = master.write_keys()
    limits = Limits()
    openers = {
        Direction.SENT: opener_for(ours, limits, MAX_PLAINTEXT + 1),
        Direction.RECEIVED: opener_for(theirs, limits, MAX_PLAINTEXT + 1),
    }
    return Opened(premaster.reveal(), tuple(_texts(tapped, openers)))


def _texts(tapped: Tapped, openers: dict[Direction, Opener]) -> list[tuple[Direction, bytes]]:
    texts = []
    for direction, record in tapped.sealed:
        opened = openers[direction].open(record[:RECORD_HEADER], record[RECORD_HEADER:])
        if opened is None:
            raise NothingToDecrypt("the keys that follow from it do not open the records")
        if opened[0] is ContentType.APPLICATION_DATA:
            texts.append((direction, opened[1]))
    return texts
