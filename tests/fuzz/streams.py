"""What a connection hears, as targets: under real keys, and with a null crypto provider that opens every state."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.clear import null_crypto
from fuzz.kinds import kinds, talk
from fuzz.oracles import assert_silent, overhearing
from handclasp import (
    TLSError,
)
from handclasp.connection import Connection
from property.tapes import (
    SHAPES,
    assert_decent,
    assert_sound,
    attempt,
    fresh,
    tape,
)

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


BOTH_MODES, ALONE = bytes.fromhex("002d0003020100"), bytes.fromhex("002d0003020000")
"""The extension psk_key_exchange_modes: a key with a key agreement before one without, and one without twice."""


def clear_tapes(role: str) -> Iterator[bytes]:
    """Each kind as it should be; and once more where a key may stand alone."""
    with null_crypto():
        for index, kind in enumerate(kinds()):
            heard = talk(kind)[role]
            yield bytes([index]) + heard
            if BOTH_MODES in heard:
                yield bytes([index]) + heard.replace(BOTH_MODES, ALONE)
