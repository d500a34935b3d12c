"""A binder for each way to get it wrong: who names a key has it, and says so of just this hello (RFC 8446 §4.2.11)"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from handclasp import (
    Alert,
    ClientConfig,
    ClientConnection,
    ClientSessions,
    Credential,
    ExternalPsk,
    NamedGroup,
    ServerConfig,
    ServerConnection,
    ServerSessions,
    TicketKeys,
    TLSError,
    TrustStore,
)
from handclasp.handshake import offer
from handclasp.handshake.psk import Psk, binders_size, psks_to_offer
from handclasp.lab.faults import misbehaving
from handclasp.lab.pair import Pair, handshake
from handclasp.wire.extensions import OfferedPsks, PskIdentity
from handclasp.wire.messages import ClientHello
from handclasp.wire.names import ExtensionType, HandshakeType

KEY = bytes(range(32))
SIZE = 32
"""Length of a SHA-256 binder, in bytes."""

Hello = Callable[[bytes], bytes]


def _flipped(at: int) -> Hello:
    return lambda encoded: encoded[:at] + bytes([encoded[at] ^ 1]) + encoded[at + 1 :]


def _parsed(change: Callable[[ClientHello, OfferedPsks], ClientHello]) -> Hello:
    def rewrite(encoded: bytes) -> bytes:
        hello = ClientHello.parse(encoded[4:])
        assert hello.extensions.pre_shared_key is not None
        return change(hello, hello.extensions.pre_shared_key).encode()

    return rewrite


def _offering(identities: Any, binders: Any) -> Hello:
    def change(hello: ClientHello, offered: OfferedPsks) -> ClientHello:
        psks = OfferedPsks(tuple(identities(offered.identities)), tuple(binders(offered.binders)))
        return replace(hello, extensions=replace(hello.extensions, pre_shared_key=psks))

    return _parsed(change)


def _first(hello: ClientHello, offered: OfferedPsks) -> ClientHello:
    order = [type_ for type_ in hello.extensions.order if type_ is not ExtensionType.PRE_SHARED_KEY]
    return replace(hello, extensions=replace(hello.extensions, order=(ExtensionType.PRE_SHARED_KEY, *order)))


def _without_modes(hello: ClientHello, offered: OfferedPsks) -> ClientHello:
    order = tuple(type_ for type_ in hello.extensions.order if type_ is not ExtensionType.PSK_KEY_EXCHANGE_MODES)
    return replace(hello, extensions=replace(hello.extensions, psk_key_exchange_modes=None, order=order))


def _no_binders(encoded: bytes) -> bytes:
    """An empty list of them, which the declarations cannot write: the three lengths around it are made to fit."""
    hello = ClientHello.parse(encoded[4:])
    assert hello.extensions.pre_shared_key is not None
    size = binders_size(hello.extensions.pre_shared_key)
    cut = bytearray(encoded[:-size] + b"\0\0")
    block = 4 + 2 + 32 + 1 + len(hello.legacy_session_id) + 2 + 2 * len(hello.cipher_suites) + 2
    listed = sum(2 + len(each.identity) + 4 for each in hello.extensions.pre_shared_key.identities)
    last = len(encoded) - (2 + listed + size) - 2
    for at, width in ((1, 3), (block, 2), (last, 2)):
        length = int.from_bytes(cut[at : at + width]) - (size - 2)
        cut[at : at + width] = length.to_bytes(width)
    return bytes(cut)


STRANGER = PskIdentity(b"a ticket of nobody", 0)

SAME: Any = lambda listed: listed  # noqa: E731 - a word for the table

CHANGED = "the hello it covers"
"""Which may not change in any case after a retry (RFC 8446 §4.1.2)."""

WAYS: dict[str, tuple[Hello, Alert]] = {
    "its first bit": (_flipped(-SIZE), Alert.DECRYPT_ERROR),
    "its last bit": (_flipped(-1), Alert.DECRYPT_ERROR),
    "zeros": (lambda encoded: encoded[:-SIZE] + bytes(SIZE), Alert.DECRYPT_ERROR),
    CHANGED: (_flipped(4 + 2 + 31), Alert.DECRYPT_ERROR),  # the last byte of the random
    "none": (_no_binders, Alert.DECODE_ERROR),
    "one too many": (_offering(SAME, lambda all_: (*all_, bytes(SIZE))), Alert.ILLEGAL_PARAMETER),
    "one too few": (_offering(lambda all_: (*all_, STRANGER), SAME), Alert.ILLEGAL_PARAMETER),
    "that of another key": (
        _offering(lambda all_: (*all_, STRANGER), lambda all_: (bytes(SIZE), *all_)),
        Alert.DECRYPT_ERROR,
    ),
    "too short": (_offering(SAME, lambda all_: [all_[0][:-1]]), Alert.DECRYPT_ERROR),
    "too long": (_offering(SAME, lambda all_: [all_[0] + b"\0"]), Alert.DECRYPT_ERROR),
    "of another hash": (_offering(SAME, lambda all_: [all_[0] + bytes(16)]), Alert.DECRYPT_ERROR),
    "not last": (_parsed(_first), Alert.ILLEGAL_PARAMETER),
    "no modes": (_parsed(_without_modes), Alert.MISSING_EXTENSION),
}


Ends = tuple[ClientConfig, ServerConfig]


@pytest.fixture(params=["ticket", "kept by the server", "known beforehand", "imported"])
def ends(trust: TrustStore, credential: Credential, request: pytest.FixtureRequest) -> Ends:
    """Two that have a key in common."""
    if request.param in ("known beforehand", "imported"):
        context = b"both" if request.param == "imported" else None
        known = {role: ExternalPsk(b"id", KEY, role=role, context=context) for role in ("client", "server")}
        suites = ClientConfig(trust=trust).cipher_suites[:1]
        return (
            ClientConfig(trust=trust, psks=[known["client"]], cipher_suites=suites),
            ServerConfig(psks=[known["server"]], credentials=[credential], cipher_suites=suites),
        )
    kept: dict[str, Any] = {"tickets": TicketKeys()} if request.param == "ticket" else {"sessions": ServerSessions()}
    client = ClientConfig(trust=trust, sessions=ClientSessions())
    client = client.replace(cipher_suites=client.cipher_suites[:1])
    server = ServerConfig(credentials=[credential], **kept)
    handshake(ClientConnection(client, "localhost"), ServerConnection(server))
    return client, server


def offered(client: ClientConfig, server: ServerConfig, rewrite: Hello, *, retried: bool = False) -> Pair:
    """They meet, and the (second) hello is rewritten on its way out."""

    def change(encoded: bytes) -> list[bytes]:
        second = ClientHello.parse(encoded[4:]).extensions.cookie is not None
        return [rewrite(encoded) if second is retried else encoded]

    wrong = misbehaving(ClientConnection, {HandshakeType.CLIENT_HELLO: change})
    if retried:
        server = server.replace(groups=[NamedGroup.SECP384R1])
    return Pair(wrong(client, "localhost"), ServerConnection(server))


@pytest.mark.attack(32, "PSK binders")
@pytest.mark.parametrize("retried", [False, True], ids=["", "after a retry"])
@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_binder_is_the_end(way: str, retried: bool, ends: Ends) -> None:
    rewrite, alert = WAYS[way]
    pair = offered(*ends, rewrite, retried=retried)
    with pytest.raises(TLSError):
        pair.shuttle()
    assert not pair.server.established
    assert pair.server.error is not None
    changed = retried and way == CHANGED
    assert pair.server.error.alert is (Alert.ILLEGAL_PARAMETER if changed else alert)


@pytest.mark.attack(32, "PSK binders")
@pytest.mark.parametrize("retried", [False, True], ids=["", "after a retry"])
def test_a_right_binder_is_not(retried: bool, ends: Ends) -> None:
    """The rewriting itself changes nothing."""
    pair = offered(*ends, _parsed(lambda hello, _: hello), retried=retried)
    pair.shuttle()
    assert pair.server.info.resumed or pair.server.info.psk == b"id"


@pytest.mark.attack(32, "PSK binders")
@pytest.mark.parametrize("label", [b"res binder", b"ext binder", b"imp binder"])
def test_a_binder_is_of_one_kind(label: bytes, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session's key is none that was known beforehand, an imported one none that is used as it is."""
    client, server = ends
    right = client.psks[0].label if client.psks else b"res binder"
    honest = psks_to_offer

    def mislabelled(*arguments: Any) -> tuple[Psk, ...]:
        return tuple(replace(psk, label=label) for psk in honest(*arguments))

    monkeypatch.setattr(offer, "psks_to_offer", mislabelled)
    pair = Pair(ClientConnection(client, "localhost"), ServerConnection(server))
    if label == right:
        pair.shuttle()
        assert pair.server.established
        return
    with pytest.raises(TLSError):
        pair.shuttle()
    assert pair.server.error is not None
    assert pair.server.error.alert is Alert.DECRYPT_ERROR
