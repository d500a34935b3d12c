"""Early data is taken once."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random

import pytest

from handclasp.sessions.replay import ReplayGuard
from sessions.made import START

SECOND = timedelta(seconds=1)


@pytest.mark.attack(17, "0-RTT replay")
def test_a_key_is_claimed_once_in_its_time() -> None:
    guard = ReplayGuard()
    assert guard.claim(b"a", START, START + 10 * SECOND)
    assert not guard.claim(b"a", START, START + 10 * SECOND)
    assert not guard.claim(b"a", START + 9 * SECOND, START + 19 * SECOND)
    assert guard.claim(b"b", START, START + 10 * SECOND)
    assert guard.claim(b"a", START + 10 * SECOND, START + 20 * SECOND)
    assert not guard.claim(b"c", START, START)


@pytest.mark.attack(17, "0-RTT replay")
def test_a_full_one_refuses_and_forgets_nothing() -> None:
    guard, chance = ReplayGuard(most=1000), Random(5)
    ends = {n.to_bytes(4): START + chance.randrange(1, 60) * SECOND for n in range(1000)}
    assert all(guard.claim(key, START, end) for key, end in ends.items())
    assert not any(guard.claim(n.to_bytes(5), START, START + SECOND) for n in range(100_000))
    assert len(guard) == 1000
    for after in range(0, 60, 7):
        now = START + after * SECOND
        live = [key for key, end in ends.items() if end > now]
        assert not any(guard.claim(key, now, now + 60 * SECOND) for key in live)
    assert guard.claim(b"new", START + 60 * SECOND, START + 61 * SECOND)
    assert len(guard) == 1


@pytest.mark.attack(17, "0-RTT replay")
def test_a_clock_that_goes_forth_and_back_brings_nothing_twice() -> None:
    guard = ReplayGuard()
    assert guard.claim(b"a", START, START + 20 * SECOND)
    assert guard.claim(b"ahead", START + 3600 * SECOND, START + 3620 * SECOND)
    for after in (5, 19):
        now = START + after * SECOND
        assert not guard.claim(b"a", now, now + 20 * SECOND)
    assert guard.claim(b"b", START + 20 * SECOND, START + 40 * SECOND)
    assert not guard.claim(b"b", START + 21 * SECOND, START + 41 * SECOND)
    assert guard.claim(b"c", START + 21 * SECOND, START + 41 * SECOND)


def test_one_thread_wins() -> None:
    guard = ReplayGuard()
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: guard.claim(bytes([n % 100]), START, START + SECOND), range(1600)))
    assert won.count(True) == 100


def test_it_is_not_copied() -> None:
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            way(ReplayGuard())
    with pytest.raises(ValueError, match="positive"):
        ReplayGuard(most=0)
