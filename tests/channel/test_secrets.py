"""What is secret does not get out by accident: into a repr, a pickle, a copy, an error, a traceback with locals."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from handclasp import CallbackError, ClientConfig, ServerConfig
from handclasp.channel.schedule import Early, ExporterSecret, Handshake, Main, TrafficSecret
from handclasp.connection import Connection
from handclasp.crypto.groups import KeyPair, generate
from handclasp.crypto.hashing import Hash
from handclasp.crypto.secret import Secret
from handclasp.crypto.suites import SUITES
from handclasp.lab.faults import inject
from handclasp.wire.names import CipherSuite, ContentType, NamedGroup
from property.tapes import attempt
from rules.stage import Stage, authority, client_credential, credential

SENTINEL = bytes(range(0x41, 0x61))
"""Thirty-two bytes that are easily found again."""

SUITE = SUITES[CipherSuite.TLS_AES_128_GCM_SHA256]
TRAFFIC = TrafficSecret(SUITE, Secret(SENTINEL))

HOLDERS: dict[str, Any] = {
    "Secret": Secret(SENTINEL),
    "TrafficSecret": TRAFFIC,
    "Early": Early(SUITE, Secret(SENTINEL)),
    "Handshake": Handshake(SUITE, Secret(SENTINEL)),
    "Main": Main(SUITE, Secret(SENTINEL)),
    "ExporterSecret": ExporterSecret(Hash.SHA256, Secret(SENTINEL)),
}

holders = pytest.mark.parametrize("name", list(HOLDERS))


def forms(secret: bytes) -> list[str]:
    """How bytes look when somebody prints them."""
    return [secret.hex(), repr(secret)[2:-1], secret.decode("latin-1"), str(list(secret))[1:-1], secret.hex(":")]


def assert_clean(text: str, secret: bytes = SENTINEL) -> None:
    for form in forms(secret):
        assert form not in text
        assert form.lower() not in text.lower()


def test_the_search_finds_what_it_looks_for() -> None:
    for shown in (repr(SENTINEL), SENTINEL.hex(), f"{list(SENTINEL)}", SENTINEL.decode()):
        with pytest.raises(AssertionError):
            assert_clean(shown)


@holders
def test_nothing_shows_it(name: str) -> None:
    holder = HOLDERS[name]
    assert_clean(f"{holder!r} {holder!s} {holder:}" + ascii(holder))


@holders
def test_nothing_pickles_or_copies_it(name: str) -> None:
    holder = HOLDERS[name]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(holder, protocol)
    with pytest.raises(TypeError):
        copy.deepcopy(holder)


def test_a_secret_is_not_compared_hashed_or_copied() -> None:
    ours, theirs = Secret(SENTINEL), Secret(SENTINEL)
    refused: list[Callable[[], object]] = [
        lambda: ours == theirs,
        lambda: ours != theirs,
        lambda: hash(ours),
        lambda: copy.copy(ours),
        lambda: {ours},
        lambda: bytes(ours),  # type: ignore[call-overload]
        lambda: ours + b"",  # type: ignore[operator]
    ]
    for call in refused:
        with pytest.raises(TypeError):
            call()
    assert ours.reveal() == SENTINEL


@pytest.mark.parametrize("group", [NamedGroup.X25519, NamedGroup.SECP256R1, NamedGroup.X25519_MLKEM768], ids=str)
def test_a_key_pair_shows_only_its_public_half(group: NamedGroup) -> None:
    pair = generate(group)
    assert "agree" not in repr(pair)
    assert {field.name for field in dataclasses.fields(KeyPair) if field.repr} == {"group", "public"}
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(pair)


@pytest.mark.parametrize("make", [credential, client_credential])
def test_a_credential_is_neither_pickled_nor_copied(make: Callable[[], Any]) -> None:
    for refused in (copy.copy, copy.deepcopy, pickle.dumps):
        for holder in (make(), make().signer):
            with pytest.raises(TypeError):
                refused(holder)
    assert "PRIVATE" not in repr(make())
    assert "0x" not in repr(make().signer)


@pytest.mark.parametrize("which", ["client", "server"])
def test_a_connection_is_neither_pickled_nor_copied(which: str) -> None:
    stage = Stage()
    fresh: Connection = stage.client() if which == "client" else stage.server()
    joined = Stage(mirrored=which == "server").joined().victim
    for connection in (fresh, joined):
        for refused in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                refused(connection)


@pytest.mark.parametrize("mirrored", [False, True], ids=["client", "server"])
def test_a_connection_shows_no_keys(mirrored: bool) -> None:
    """Nor does what it says of itself, nor its configuration: every secret is known from the key log."""
    lines: list[str] = []
    stage = Stage(mirrored)
    victim = stage.joined({"keylog": lines.append}).victim
    assert len(lines) == 5
    shown = f"{victim!r} {victim.info!r} {victim._config!r} {victim._peer!r} {victim._established!r} {stage.seen!r}"
    for line in lines:
        assert_clean(shown, bytes.fromhex(line.split()[2]))


def _with_locals(error: BaseException) -> str:
    """A traceback as error reporters write it: with the local variables of every frame, and of every cause."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


@pytest.mark.parametrize("mirrored", [False, True], ids=["client", "server"])
def test_an_error_shows_no_keys(mirrored: bool) -> None:
    lines: list[str] = []
    scene = Stage(mirrored).joined({"keylog": lines.append})
    inject(scene.other, ContentType.HANDSHAKE, b"\x18\0\0\1\2")
    error = attempt(lambda: scene.victim.receive_data(scene.other.data_to_send()))
    assert error is not None
    shown = _with_locals(error)
    assert "KeyUpdate" in shown
    assert "receive_data" in shown
    assert len(lines) == 5
    for line in lines:
        assert_clean(shown, bytes.fromhex(line.split()[2]))


def test_a_key_log_that_fails_shows_no_keys() -> None:
    """Its own frame has the line; the error that reaches the application has not."""

    told: list[bytes] = []

    def broken(line: str) -> None:
        told.append(bytes.fromhex(line.split()[2]))
        raise OSError("the disk is full")

    stage = Stage()
    client, server = stage.client(keylog=broken), stage.server()
    server.receive_data(client.data_to_send())
    with pytest.raises(CallbackError) as caught:
        client.receive_data(server.data_to_send())
    assert caught.value.__context__ is None or caught.value.__context__ is caught.value.__cause__
    assert isinstance(caught.value.__cause__, OSError)
    assert len(told) == 1
    assert_clean(str(caught.value), told[0])


def test_configurations_show_no_keys() -> None:
    client = ClientConfig(trust=authority().trust, credentials=[client_credential()])
    server = ServerConfig(credentials=[credential()])
    for config in (client, server):
        assert "PrivateKey" not in repr(config)
        assert "igner" not in repr(config)
