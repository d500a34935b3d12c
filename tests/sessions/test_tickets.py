"""Ticket keys: made by chance, replaced in time, and what they open."""

from __future__ import annotations

import copy
import os
import pickle
from datetime import timedelta

import pytest

from handclasp import Credential, TicketKeys
from handclasp.limits import MAX_TICKET, MOST_TICKET_KEYS
from handclasp.sessions.session import SKEW
from handclasp.sessions.tickets import KEY_SIZE, NAME_SIZE, TicketKey
from sessions.made import HOUR, START, session


@pytest.mark.attack(72, "ticket keys that do not change")
def test_a_ticket_is_sealed(credential: Credential) -> None:
    keys, held = TicketKeys(), session(verified_chain=credential.chain)
    ticket = keys.seal(held, START)
    opened = keys.open(ticket, START)
    assert opened is not None
    assert opened.to_bytes() == held.to_bytes()
    assert held.secret.reveal() not in ticket
    assert TicketKeys().open(ticket, START) is None
    for at in range(0, len(ticket), 7):
        touched = bytearray(ticket)
        touched[at] ^= 1
        assert keys.open(bytes(touched), START) is None
    for junk in (b"", ticket[:16], ticket[:30], os.urandom(100)):
        assert keys.open(junk, START) is None


@pytest.mark.attack(50, "nonce reuse")
def test_no_two_tickets_are_alike() -> None:
    keys, held = TicketKeys(), session()
    tickets = {keys.seal(held, START) for _ in range(1000)}
    assert len({ticket[NAME_SIZE : NAME_SIZE + 12] for ticket in tickets}) == 1000


@pytest.mark.attack(72, "ticket keys that do not change")
def test_keys_are_drawn_by_chance_and_replaced() -> None:
    """A key of zeros opened every session of an epoch (CVE-2020-13777)."""
    keys, held = TicketKeys(), session()
    first = keys.seal(held, START)
    same = keys.seal(held, START + 6 * HOUR - timedelta(seconds=1))
    second = keys.seal(held, START + 6 * HOUR)
    third = keys.seal(held, START + 12 * HOUR)
    names = [ticket[:NAME_SIZE] for ticket in (first, second, third)]
    assert same[:NAME_SIZE] == first[:NAME_SIZE]
    assert len({*names, bytes(NAME_SIZE)}) == 4
    made = [key.to_bytes()[NAME_SIZE:] for key, _ in keys._keys]
    assert len({*made, bytes(KEY_SIZE)}) == len(made) + 1
    for secret in made:
        forged = TicketKey.from_bytes(names[2] + bytes(KEY_SIZE - 1) + b"\x01")
        assert secret not in (bytes(KEY_SIZE), forged.to_bytes()[NAME_SIZE:])
        assert TicketKey.from_bytes(names[0] + secret).open(first) is None


@pytest.mark.attack(72, "ticket keys that do not change")
def test_a_ticket_from_two_periods_ago_is_refused() -> None:
    keys, held = TicketKeys(), session()
    first = keys.seal(held, START)
    assert keys.open(first, START + 12 * HOUR - timedelta(seconds=1)) is not None
    assert keys.open(first, START + 12 * HOUR) is None
    keys.seal(held, START + 6 * HOUR)
    keys.seal(held, START + 12 * HOUR)
    assert keys.open(first, START + 12 * HOUR) is None
    assert len(keys._keys) == 2


@pytest.mark.parametrize("back", [timedelta(milliseconds=1), SKEW])
def test_a_small_step_back_of_the_clock_costs_no_key(back: timedelta) -> None:
    """Another thread that read the clock a moment before is such a step too."""
    keys, held = TicketKeys(), session()
    older = keys.seal(held, START - 6 * HOUR)
    ticket = keys.seal(held, START)
    assert keys.open(ticket, START - back) is not None
    assert keys.seal(held, START - back)[:NAME_SIZE] == ticket[:NAME_SIZE]
    for opened in (older, ticket):
        assert keys.open(opened, START) is not None
    assert len(keys._keys) == 2


def test_a_clock_set_back_makes_a_new_key() -> None:
    keys, held = TicketKeys(), session()
    late = keys.seal(held, START + HOUR)
    early = keys.seal(held, START)
    assert keys.open(late, START) is None
    assert keys.open(early, START) is not None


@pytest.mark.attack(72, "ticket keys that do not change")
def test_there_is_no_key_of_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.urandom", bytes)
    with pytest.raises(ValueError, match="key"):
        TicketKeys().seal(session(), START)
    for junk in (b"", bytes(NAME_SIZE + KEY_SIZE), b"x" * 47, b"x" * 49):
        with pytest.raises(ValueError, match="key"):
            TicketKey.from_bytes(junk)


@pytest.mark.attack(64, "ticket flood")
def test_no_ticket_is_larger_than_a_client_keeps(credential: Credential) -> None:
    size = len(credential.leaf.der)
    large = session(verified_chain=(credential.leaf,) * (MAX_TICKET // size + 1))
    assert TicketKeys().seal(large, START) == b""
    assert TicketKeys().seal(session(verified_chain=(credential.leaf,) * (MAX_TICKET // size - 1)), START) != b""


def test_keys_stay_where_they_are() -> None:
    keys = TicketKeys()
    keys.seal(session(), START)
    for secret in (keys, keys._keys[0][0]):
        for way in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError):
                way(secret)
    with pytest.raises(TypeError):
        copy.copy(keys)
    assert keys._keys[0][0].to_bytes().hex() not in repr(keys._keys)
    assert repr(keys._keys[0][0].to_bytes()[NAME_SIZE:]) not in repr(keys._keys)


def test_times_go_together() -> None:
    for rotate, accept in ((0, 1), (13, 12), (1, MOST_TICKET_KEYS + 1)):
        with pytest.raises(ValueError, match="rotate"):
            TicketKeys(rotate=rotate * HOUR, accept=accept * HOUR)
