"""Tapes: handshakes that happen the same way each time, so that what one side received can be played to it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, x25519

from handclasp import (
    CallbackError,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    Closed,
    Credential,
    Data,
    EarlyData,
    EarlyDataReceived,
    ExternalPsk,
    HandshakeComplete,
    InternalError,
    NamedGroup,
    ServerConfig,
    ServerConnection,
    TLSError,
    TLSVersion,
)
from handclasp.connection import Connection
from handclasp.crypto.groups import KeyPair, curve_key_pair
from handclasp.crypto.signatures import KeyKind
from handclasp.keylog import KeyLog
from handclasp.lab.pair import handshake
from handclasp.limits import MAX_MESSAGE
from handclasp.sessions.cache import ClientSession, ClientSessions
from handclasp.sessions.tickets import TicketKeys
from handclasp.wire.names import ContentType
from rules.stage import NAME, authority


class Repeated:
    """Entropy that says the same in each connection: a counter, hashed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def random(self, size: int) -> bytes:
        self._count += 1
        return hashlib.shake_128(f"{self._seed} {self._count}".encode()).digest(size)

    def key_pair(self, group: NamedGroup) -> KeyPair:
        secret = self.random(32)
        if group is NamedGroup.X25519:
            return curve_key_pair(group, x25519.X25519PrivateKey.from_private_bytes(secret))
        return curve_key_pair(group, ec.derive_private_key(int.from_bytes(secret[:31]), ec.SECP256R1()))


@cache
def steady_credential(usage: str) -> Credential:
    """Ed25519 signs the same thing the same way."""
    usages: dict[str, Any] = {"usage": usage}
    return authority().issue(NAME, key_kind=KeyKind.ED25519, **usages)


class Returning:
    """A client's store that has the same session each time, and keeps no other."""

    def __init__(self, held: ClientSession) -> None:
        self._held = held

    def take(self, name: str) -> ClientSession | None:
        return self._held

    def put(self, name: str, session: ClientSession) -> None:
        pass


class Forgetful:
    """A replay store that has seen nothing yet: each play of a tape is the first."""

    def claim(self, key: bytes, now: datetime, until: datetime) -> bool:
        return True


def _sessions() -> tuple[dict[str, Any], dict[str, Any]]:
    """What a client and a server need to go on with a session, with early data, as often as it is played."""
    now = datetime.now(UTC).replace(microsecond=0)
    kept = ClientSessions()
    server: dict[str, Any] = {
        "tickets": TicketKeys(),
        "early_data": EarlyData(replay=Forgetful()),
        "clock": lambda: now,
    }
    both: dict[str, Any] = {"alpn": ["h2"], "clock": lambda: now}
    first = ClientConnection(ClientConfig(trust=authority().trust, sessions=kept, **both), NAME)
    handshake(first, ServerConnection(ServerConfig(credentials=[steady_credential("server")], **{**both, **server})))
    held = kept.take(NAME)
    if held is None:
        raise ValueError("the server gave no ticket")
    return {"sessions": Returning(held), "clock": lambda: now}, {**server, "ticket_count": 0}


_CLIENT, _SERVER = _sessions()

SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "retry": (
        {"groups": [NamedGroup.SECP256R1, NamedGroup.X25519], "key_shares": [NamedGroup.SECP256R1]},
        {"groups": [NamedGroup.X25519]},
    ),
    "mutual": (
        {"credentials": [steady_credential("client")]},
        {"client_auth": ClientAuth(verify=authority().trust)},
    ),
    "resumed": (_CLIENT, {**_SERVER, "early_data": None}),
    "early": (_CLIENT, _SERVER),
    "known key": (
        {"psks": [ExternalPsk(b"a to b", bytes(range(32)), role="client")]},
        {"psks": [ExternalPsk(b"a to b", bytes(range(32)), role="server")]},
    ),
    "older": ({"versions": [TLSVersion.TLS_1_2]}, {}),
    "older mutual": (
        {"versions": [TLSVersion.TLS_1_2], "credentials": [steady_credential("client")]},
        {"client_auth": ClientAuth(verify=authority().trust)},
    ),
}
"""What the two configurations have that is not usual."""

EARLY = b"before all else"
"""What the client of the shape `early` says with its first flight."""

SPOKEN = {"client": [b"a question", b"another", b"?" * 300], "server": [b"an answer", b"!", b"." * 400]}
"""What each says after the handshake, with a KeyUpdate between."""


def fresh(shape: str, role: str, keylog: KeyLog | None = None) -> Connection:
    """A connection that draws the same keys and randoms as the one on the tape."""
    client, server = ({**changes, "keylog": keylog} for changes in SHAPES[shape])
    entropy = Repeated(f"{shape} {role}")
    if role == "client":
        usual: dict[str, Any] = {"trust": authority().trust, "groups": [NamedGroup.X25519], "alpn": ["h2"]}
        early = EARLY if shape == "early" else b""
        return ClientConnection(ClientConfig(entropy=entropy, **{**usual, **client}), NAME, early_data=early)
    return ServerConnection(
        ServerConfig(credentials=[steady_credential("server")], entropy=entropy, alpn=["h2"], **server),
    )


@dataclass(frozen=True)
class Tape:
    """All that one side received, and what became of it."""

    shape: str
    role: str
    data: bytes
    events: tuple[object, ...]

    def play(self, data: bytes | list[bytes], keylog: KeyLog | None = None) -> tuple[list[Any], TLSError | None]:
        """Other bytes, or the same in pieces, to a fresh connection: its events, and the error if one ended it."""
        return self.play_to(fresh(self.shape, self.role, keylog), data)

    def play_to(self, connection: Connection, data: bytes | list[bytes]) -> tuple[list[Any], TLSError | None]:
        """The same to a connection that was made for it."""
        connection.data_to_send()
        error = None
        try:
            for piece in data if isinstance(data, list) else [data]:
                connection.receive_data(piece)
        except TLSError as caught:
            error = caught
        return connection.events(), error

    @property
    def records(self) -> list[bytes]:
        """The tape cut into its records."""
        found, at = [], 0
        while at < len(self.data):
            size = 5 + int.from_bytes(self.data[at + 3 : at + 5])
            found.append(self.data[at : at + size])
            at += size
        return found

    @property
    def spoken(self) -> bytes:
        """All application data that was sent to this side."""
        return b"".join(SPOKEN["server" if self.role == "client" else "client"])


@cache
def tape(shape: str, role: str) -> Tape:
    """A handshake, data with a KeyUpdate between (TLS 1.3), and close_notify, as `role` heard it."""
    client, server = fresh(shape, "client"), fresh(shape, "server")
    heard: dict[str, list[bytes]] = {"client": [], "server": []}

    while exchange(client, server, heard):
        pass
    for index in range(3):
        for speaker in (client, server):
            speaker.send(SPOKEN["client" if speaker is client else "server"][index])
            if index == 1 and not shape.startswith("older"):
                speaker.update_keys()
        exchange(client, server, heard)
    client.close()
    server.close()
    exchange(client, server, heard)
    victim = client if role == "client" else server
    return Tape(shape, role, b"".join(heard[role]), tuple(victim.events()))


def exchange(client: Connection, server: Connection, heard: dict[str, list[bytes]]) -> bool:
    """Carry what both have to send; False when it was nothing."""
    moved = False
    for name, source, sink in (("server", client, server), ("client", server, client)):
        data = source.data_to_send()
        heard[name].append(data)
        sink.receive_data(data)
        moved = moved or bool(data)
    return moved


def attempt(call: Callable[[], object]) -> TLSError | None:
    """The error of a call, if it raises one."""
    try:
        call()
    except TLSError as error:
        return error
    return None


# --- what has to hold, whatever comes --------------------------------------------------------------------------------


def assert_sound(played: Tape, events: list[Any], error: TLSError | None) -> None:
    """Only what was sent is delivered, only what was agreed is established, and only a peer's fault is an error."""
    assert_decent(error)
    data = b"".join(event.data for event in events if isinstance(event, Data))
    assert played.spoken.startswith(data)
    assert EARLY.startswith(b"".join(event.data for event in events if isinstance(event, EarlyDataReceived)))
    for event in events:
        if isinstance(event, HandshakeComplete):
            assert event in played.events
        if isinstance(event, Closed):
            assert event.clean
            assert data == played.spoken


def assert_decent(error: TLSError | None) -> None:
    """An error names the peer's fault, in words that can be shown."""
    if error is None:
        return
    assert not isinstance(error, InternalError | CallbackError), repr(error.__cause__)
    assert len(str(error)) <= MAX_MESSAGE
    assert str(error).isprintable()
    assert all(text.isprintable() for text in (*error.ours, *error.theirs))


def in_records(content: bytes, size: int, type_: ContentType = ContentType.HANDSHAKE) -> bytes:
    """Content in the clear, in records of at most `size` bytes."""
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(bytes([type_]) + b"\3\3" + len(piece).to_bytes(2) + piece for piece in pieces)
