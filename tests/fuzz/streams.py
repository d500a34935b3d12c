"""What a connection hears, as targets: under real keys, and with a null crypto provider that opens every state."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from fuzz.clear import Anyone, null_crypto
from fuzz.oracles import assert_silent, overhearing
from handclasp import (
    ClientAuth,
    ClientConfig,
    ClientConnection,
    EarlyData,
    ExternalPsk,
    MaxFragmentLength,
    NamedGroup,
    ServerConfig,
    ServerConnection,
    ServerSessions,
    TLSError,
    TLSVersion,
    danger,
)
from handclasp.connection import Connection
from handclasp.crypto.signatures import KeyKind
from handclasp.sessions.cache import ClientSessions
from handclasp.sessions.tickets import TicketKeys
from property.tapes import (
    SHAPES,
    Forgetful,
    Repeated,
    Returning,
    assert_decent,
    assert_sound,
    attempt,
    exchange,
    fresh,
    steady_credential,
    tape,
)
from rules.stage import NAME, authority, client_credential, credential

ORDER = tuple(SHAPES)

PIECE = 100
"""What is fed at once is so many bytes, times what the first byte of an input says; all, where it says nothing."""


def _choice(data: bytes, count: int) -> tuple[int, list[bytes]]:
    """The first byte: which of `count` shapes, and into what pieces the rest is cut."""
    pieces, shape = divmod(data[0], count) if data else (0, 0)
    step, rest = pieces * PIECE or len(data) + 1, data[1:]
    return shape, [rest[at : at + step] for at in range(0, len(rest), step)]


# --- under real keys -------------------------------------------------------------------------------------------------


def client_stream(data: bytes) -> None:
    """What a client hears, in one of the shapes of handshakes."""
    _stream("client", data)


def server_stream(data: bytes) -> None:
    """The same for a server."""
    _stream("server", data)


def _stream(role: str, data: bytes) -> None:
    shape, pieces = _choice(data, len(ORDER))
    played = tape(ORDER[shape], role)
    with overhearing() as overheard:
        connection = fresh(played.shape, role, overheard.keylog.append)
        events, error = played.play_to(connection, pieces)
        assert_sound(played, events, error)
        _speak(connection)
    assert_silent(overheard, connection, events, error)


def _speak(connection: Connection) -> None:
    """What a connection says of its own accord, as far as it still may."""
    for call in (lambda: connection.send(b"?" * 300), connection.update_keys, connection.close):
        attempt(call)
    connection.data_to_send()


def tapes(role: str) -> Iterator[bytes]:
    """Each shape as it should be."""
    for index, shape in enumerate(ORDER):
        yield bytes([index]) + tape(shape, role).data


# --- without keys ----------------------------------------------------------------------------------------------------


def clear_client(data: bytes) -> None:
    """What a client hears when nothing is secret: every state is in reach."""
    _hear("client", data)


def clear_server(data: bytes) -> None:
    """The same for a server."""
    _hear("server", data)


def _hear(role: str, data: bytes) -> None:
    with null_crypto():
        kind, pieces = _choice(data, len(kinds()))
        with overhearing() as overheard:
            connection = kinds()[kind].fresh(role, overheard.keylog.append)
            connection.data_to_send()
            error = attempt(lambda: _feed(connection, pieces))
            assert_decent(error)
            events: list[object] = [*connection.events()]
            if error is None:
                _speak(connection)
            else:
                _assert_over(connection, error)
        assert_silent(overheard, connection, events, error)


def _feed(connection: Connection, pieces: list[bytes]) -> None:
    for piece in pieces:
        connection.receive_data(piece)
    connection.receive_eof()


def _assert_over(connection: Connection, error: TLSError) -> None:
    """What failed stays as it is."""
    connection.data_to_send()
    for call in (lambda: connection.receive_data(b"?"), lambda: connection.send(b"?")):
        if attempt(call) is not error:
            raise AssertionError("the error did not stay")
    if connection.error is not error or connection.data_to_send():
        raise AssertionError("after the error the connection went on")


@dataclass(frozen=True)
class Kind:
    """Two configurations that fit each other."""

    client: ClientConfig
    server: ServerConfig

    def fresh(self, role: str, keylog: Any = None) -> Connection:
        """A connection that draws the same each time."""
        own: dict[str, Any] = {"entropy": Repeated(f"clear {role}"), "keylog": keylog}
        if role == "server":
            return ServerConnection(self.server.replace(**own))
        early = b"before all else" if self.server.early_data is not None else b""
        return ClientConnection(self.client.replace(**own), NAME, early_data=early)


@cache
def kinds() -> tuple[Kind, ...]:
    """Everything that can be negotiated in some kind of handshake. Made under the null provider."""
    first, older = _kind({}, {}), {"versions": [TLSVersion.TLS_1_2]}
    return (
        first,
        _kind(
            {"groups": GROUPS[::-1], "key_shares": GROUPS[1:], "credentials": []}, {"groups": GROUPS[:1], "alpn": []}
        ),
        _kind({}, {"client_auth": ClientAuth(verify=Anyone(), authorities=[b"0\0"])}),
        _kind({}, {"client_auth": ClientAuth(verify=authority().trust, required=False, unverified="anonymous")}),
        _remembered({}, {"tickets": TicketKeys(), "early_data": EarlyData(replay=Forgetful())}),
        _remembered({}, {"tickets": None, "sessions": ServerSessions()}),
        _alone(_kind(_known("client"), {**_known("server"), "alpn": []})),
        _alone(_remembered({}, {})),
        _kind({**older, "max_fragment_length": MaxFragmentLength.LENGTH_1024, "record_size_limit": None}, {}),
        _remembered(older, {"tickets": TicketKeys()}),
        _remembered(older, {"tickets": None, "sessions": ServerSessions()}),
        _transported(_kind({**older, "send_server_name": False, "grease": False}, {"client_auth": None})),
    )


GROUPS = (NamedGroup.X25519, NamedGroup.SECP256R1)
"""What `Repeated` has key pairs for."""


def _kind(client: dict[str, Any], server: dict[str, Any]) -> Kind:
    usual: dict[str, Any] = {"groups": GROUPS, "record_size_limit": 1000, "middlebox_compatibility": False}
    ours: dict[str, Any] = {
        "trust": Anyone(),
        "sessions": ClientSessions(),
        "credentials": [steady_credential("client"), client_credential()],
        "alpn": ["h2"],
    }
    theirs: dict[str, Any] = {
        "credentials": [credential(), steady_credential("server")],
        "client_auth": ClientAuth(verify=Anyone(), required=False),
        "tickets": TicketKeys(),
        "alpn": ["h2", "http/1.1"],
    }
    return Kind(ClientConfig(**{**usual, **ours, **client}), ServerConfig(**{**usual, **theirs, **server}))


def _remembered(client: dict[str, Any], server: dict[str, Any]) -> Kind:
    """The client holds a session of the server's, and offers it as often as it is asked."""
    kept = ClientSessions()
    made = _kind({**client, "sessions": kept}, server)
    _talk(made)
    held = kept.take(NAME)
    if held is None:
        raise ValueError("the server kept no session")
    return Kind(made.client.replace(sessions=Returning(held)), made.server)


def _known(role: Any) -> dict[str, Any]:
    return {"psks": [ExternalPsk(b"a to b", bytes(range(32)), role=role)]}


def _alone(kind: Kind) -> Kind:
    """Keys may do without a key agreement."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        allow = danger.allow_psk_without_key_exchange
        return Kind(allow(kind.client), allow(kind.server))


def _transported(kind: Kind) -> Kind:
    """RSA key transport, and no extended master secret needed."""
    rsa = authority().issue(NAME, key_kind=KeyKind.RSA)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = danger.allow_plain_master_secret(danger.allow_rsa_key_transport(kind.client))
        server = danger.allow_plain_master_secret(danger.allow_rsa_key_transport(kind.server))
    return Kind(client.replace(cipher_suites=client.cipher_suites[::-1]), server.replace(credentials=[rsa]))


def _talk(kind: Kind) -> dict[str, bytes]:
    """A handshake, data both ways, new keys where there can be, and the end: what each side hears."""
    client, server = kind.fresh("client"), kind.fresh("server")
    heard: dict[str, list[bytes]] = {"client": [], "server": []}
    while exchange(client, server, heard):
        pass
    for speaker in (client, server):
        speaker.send(b"a question, or an answer")
        with suppress(TLSError):
            speaker.update_keys(request_peer=True)
    exchange(client, server, heard)
    client.close()
    server.close()
    exchange(client, server, heard)
    return {role: b"".join(pieces) for role, pieces in heard.items()}


def clear_tapes(role: str) -> Iterator[bytes]:
    """Each kind as it should be."""
    with null_crypto():
        for index, kind in enumerate(kinds()):
            yield bytes([index]) + _talk(kind)[role]
