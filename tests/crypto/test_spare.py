"""Key pairs made ahead: used once, and never in two processes."""

from __future__ import annotations

import os

import pytest

from handclasp import ClientConfig, ServerConfig
from handclasp.connection import ClientConnection, ServerConnection
from handclasp.crypto.entropy import SystemEntropy
from handclasp.crypto.groups import KeyPair
from handclasp.crypto.spare import SpareKeys
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.pair import handshake
from handclasp.wire.names import NamedGroup

X25519, P256 = NamedGroup.X25519, NamedGroup.SECP256R1


class Counting(SystemEntropy):
    """How many key pairs were made."""

    __slots__ = ()
    made: list[KeyPair] = []  # noqa: RUF012 - emptied by each test

    def key_pair(self, group: NamedGroup) -> KeyPair:
        pair = super().key_pair(group)
        self.made.append(pair)
        return pair


@pytest.fixture(autouse=True)
def _nothing_made() -> None:
    Counting.made.clear()


def test_each_spare_key_is_used_once() -> None:
    keys = SpareKeys([X25519], most=2, entropy=Counting())
    assert keys.prepare()
    assert keys.prepare()
    assert not keys.prepare()
    assert [keys.key_pair(X25519).public for _ in range(2)] == [pair.public for pair in Counting.made]
    assert keys.key_pair(X25519) is Counting.made[2]


def test_groups_are_prepared_in_turn_and_others_made_when_asked_for() -> None:
    keys = SpareKeys([X25519, P256], most=1, entropy=Counting())
    while keys.prepare():
        pass
    assert [pair.group for pair in Counting.made] == [X25519, P256]
    assert keys.key_pair(NamedGroup.SECP384R1).group is NamedGroup.SECP384R1
    assert len(Counting.made) == 3


def test_a_handshake_uses_what_was_prepared() -> None:
    ca, counting = CertificateAuthority(), Counting()
    keys = SpareKeys([X25519], entropy=counting)
    for _ in range(2):
        keys.prepare()
    client = ClientConfig(trust=ca.trust, groups=[X25519], entropy=keys)
    server = ServerConfig(credentials=[ca.issue("a.test")], groups=[X25519], entropy=keys)
    assert handshake(ClientConnection(client, "a.test"), ServerConnection(server)).client.established
    assert len(Counting.made) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_none_of_its_parents_keys() -> None:
    keys = SpareKeys([X25519], most=4)
    while keys.prepare():
        pass
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b"".join(keys.key_pair(X25519).public for _ in range(4)))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 1024)
    os.close(reading)
    os.close(writing)
    ours = [keys.key_pair(X25519).public for _ in range(4)]
    assert len(theirs) == 128
    assert not any(public in theirs for public in ours)


def test_a_stock_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        SpareKeys([X25519], most=0)
    assert not SpareKeys([]).prepare()
