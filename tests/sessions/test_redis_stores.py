"""What servers share through Redis, before a pretended one: what is asked of it and when, and what happens without it.

`interop/test_redis.py` has the real one.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import pickle
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import ResponseError

from handclasp import ConfigError
from handclasp.sessions.session import Session
from handclasp.sessions.stores import redis as stores
from handclasp.sessions.stores.redis import (
    REFRESH,
    AsyncSharedRedis,
    RedisReplayGuard,
    RedisSessions,
    RedisTicketKeys,
    SharedRedis,
)
from handclasp.sessions.tickets import NAME_SIZE
from sessions.made import HOUR, START, FakeClock, session

T = TypeVar("T")

KEY = bytes(range(32))
SECOND = timedelta(seconds=1)


class Pretended:
    """A Redis that keeps what it is given, and fails when told."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.times: dict[bytes, int] = {}
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.before: Callable[[str], None] | None = None
        """Called once, ahead of the next command."""
        self.answer: int = 1

    def execute_command(self, verb: str, *parts: Any) -> Any:
        if self.before is not None:
            before, self.before = self.before, None
            before(verb)
        self.asked.append(verb)
        if self.failure is not None:
            raise self.failure
        return getattr(self, verb.lower())(*parts)

    def get(self, name: bytes) -> bytes | None:
        return self.kept.get(name)

    def getdel(self, name: bytes) -> bytes | None:
        return self.kept.pop(name, None)

    def mget(self, *names: bytes) -> list[bytes | None]:
        return [self.kept.get(name) for name in names]

    def set(self, name: bytes, value: bytes, *options: str | int) -> bool | None:
        if "NX" in options and name in self.kept:
            return None
        self.kept[name] = value
        self.times[name] = int(options[-1])
        return True

    def delete(self, name: bytes) -> int:
        return int(self.kept.pop(name, None) is not None)

    def eval(self, *_: object) -> int:
        return self.answer

    def close(self) -> None:
        self.failure = Unreachable("closed")


setattr(Pretended, "del", Pretended.delete)


@pytest.fixture
def redis() -> Pretended:
    return Pretended()


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The other clock, which moves when told."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(stores, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def shared(redis: Pretended, wrap_key: bytes | None = KEY, **options: Any) -> SharedRedis:
    class Joined(SharedRedis):
        __slots__ = ()

        def _connect(self, url: str, options: dict[str, Any]) -> Any:
            return redis

    return Joined("redis://pretended", wrap_key=wrap_key, **options)


def now(value: T | Awaitable[T]) -> T:
    """The answer of a store that blocks: it is no awaitable."""
    assert not isinstance(value, Awaitable)
    return value


def opened(keys: RedisTicketKeys, ticket: bytes, at: Any = START) -> bool:
    return now(keys.open(ticket, at)) is not None


# --- ticket keys -----------------------------------------------------------------------------------------------------


def test_servers_open_each_others_tickets_and_rarely_ask(redis: Pretended) -> None:
    ours, theirs, held = RedisTicketKeys(shared(redis)), RedisTicketKeys(shared(redis)), session()
    ticket = now(ours.seal(held, START))
    found = now(theirs.open(ticket, START))
    assert isinstance(found, Session)
    assert found.to_bytes() == held.to_bytes()
    asked = len(redis.asked)
    assert asked <= 6
    for _ in range(100):
        assert opened(ours, now(theirs.seal(held, START)))
    assert len(redis.asked) == asked
    for junk in (b"", ticket[:16], ticket[:30], os.urandom(100)):
        assert not opened(ours, junk)


def test_keys_change_together_and_end(redis: Pretended) -> None:
    """A period's key is there before its time: nobody waits for it, and clocks may differ."""
    ours, theirs = RedisTicketKeys(shared(redis)), RedisTicketKeys(shared(redis))
    names, tickets = [], []
    for period in range(6):
        at = START + period * 6 * HOUR
        tickets.append(now(ours.seal(session(), at)))
        names.append(tickets[-1][:NAME_SIZE])
        assert now(theirs.seal(session(), at + HOUR))[:NAME_SIZE] == names[-1]
        assert opened(theirs, tickets[-1], at - HOUR)
        assert opened(theirs, tickets[-1], at + 6 * HOUR)
        # START is four and a half hours into its period
        assert opened(theirs, tickets[-1], at + 7 * HOUR)
        assert not opened(theirs, tickets[-1], at + 7.5 * HOUR)
        for old in tickets[:-2]:
            assert not opened(ours, old, at)
    assert len({*names, bytes(NAME_SIZE)}) == 7
    assert all(0 < time <= 18 * 3600 * 1000 for time in redis.times.values())


@pytest.mark.parametrize("verb", ["MGET", "SET"])
def test_one_server_makes_a_key(verb: str, redis: Pretended) -> None:
    """Another comes in between: whoever was first has made the key of all."""
    ours, theirs, made = RedisTicketKeys(shared(redis)), RedisTicketKeys(shared(redis)), []

    def cut_in(command: str) -> None:
        if command == verb:
            made.append(now(theirs.seal(session(), START)))
        else:
            redis.before = cut_in

    redis.before = cut_in
    ticket = now(ours.seal(session(), START))
    assert made[0][:NAME_SIZE] == ticket[:NAME_SIZE]
    assert len(redis.kept) == 2


def test_keys_in_hand_are_used_until_their_time_is_over(redis: Pretended, monotonic: SimpleNamespace) -> None:
    keys = RedisTicketKeys(shared(redis))
    ticket = now(keys.seal(session(), START))
    redis.failure = Unreachable("gone")
    monotonic.now += REFRESH
    later = START + 6 * HOUR
    assert opened(keys, ticket, later)
    # the key of the next period is in hand, and the last for as long as it opens tickets
    assert now(keys.seal(session(), later))[:NAME_SIZE] != ticket[:NAME_SIZE]
    assert now(keys.seal(session(), START + 12 * HOUR)) != b""
    assert now(keys.seal(session(), START + 14 * HOUR)) == b""
    assert not opened(keys, ticket, START + 8 * HOUR)


def test_without_redis_from_the_start_there_are_no_tickets(redis: Pretended, monotonic: SimpleNamespace) -> None:
    keys, redis.failure = RedisTicketKeys(shared(redis)), Unreachable("gone")
    assert now(keys.seal(session(), START)) == b""
    assert not opened(keys, os.urandom(100))
    assert len(redis.asked) == 1
    redis.failure = None
    monotonic.now += 1.5
    assert opened(keys, now(keys.seal(session(), START)))


def test_keys_that_redis_lost_are_put_back(redis: Pretended, monotonic: SimpleNamespace) -> None:
    ours, theirs = RedisTicketKeys(shared(redis)), RedisTicketKeys(shared(redis))
    before = now(ours.seal(session(), START))
    at = START + 6 * HOUR
    ticket = now(ours.seal(session(), at))
    redis.kept.clear()
    monotonic.now += REFRESH
    assert opened(ours, ticket, at)
    assert opened(theirs, ticket, at)
    assert opened(theirs, before, at)


def test_servers_that_lost_touch_agree_again(redis: Pretended, monotonic: SimpleNamespace) -> None:
    """Redis comes back empty, and a new server makes a key before the old one looks: soon both seal with the same."""
    ours, theirs = RedisTicketKeys(shared(redis)), RedisTicketKeys(shared(redis))
    old = now(ours.seal(session(), START))
    redis.kept.clear()
    new = now(theirs.seal(session(), START))
    assert not opened(ours, new)
    monotonic.now += REFRESH
    assert opened(ours, new)
    assert opened(ours, old)
    assert now(ours.seal(session(), START))[:NAME_SIZE] == new[:NAME_SIZE]


def test_one_asks_while_others_use_the_keys_in_hand(redis: Pretended, monotonic: SimpleNamespace) -> None:
    keys, beside = RedisTicketKeys(shared(redis)), []
    now(keys.seal(session(), START))
    monotonic.now += REFRESH
    asked = len(redis.asked)
    redis.before = lambda _: beside.append(now(keys.seal(session(), START)))
    now(keys.seal(session(), START))
    assert beside[0] != b""
    assert redis.asked[asked:] == ["MGET"]


# --- sessions --------------------------------------------------------------------------------------------------------


def test_servers_find_each_others_sessions(redis: Pretended) -> None:
    clock = FakeClock()
    ours, theirs = (RedisSessions(shared(redis), clock=clock) for _ in range(2))
    held = session()
    for name in (b"get", b"take", b"discard"):
        ours.put(name, held, START + HOUR)
    assert set(redis.times.values()) == {3_600_000}
    for found in (theirs.get(b"get"), theirs.get(b"get"), theirs.take(b"take")):
        assert isinstance(found, Session)
        assert found.to_bytes() == held.to_bytes()
    theirs.discard(b"discard")
    assert [ours.get(name) for name in (b"take", b"discard", b"else")] == [None] * 3
    clock.now += HOUR
    assert ours.get(b"get") is None
    ours.put(b"over", held, START)
    assert len(redis.kept) == 1


# --- what Redis sees -------------------------------------------------------------------------------------------------


def test_nothing_in_redis_can_be_read(redis: Pretended) -> None:
    joined, held = shared(redis), session()
    keys = RedisTicketKeys(joined)
    RedisSessions(joined, clock=FakeClock()).put(b"id", held, START + HOUR)
    ticket = now(keys.seal(held, START))
    stored = b"".join(redis.kept.values())
    hidden = [held.secret.reveal(), b"localhost", ticket[:NAME_SIZE], *(each.key.to_bytes() for each in keys._ring)]
    assert not any(secret in stored for secret in hidden)
    assert not opened(RedisTicketKeys(shared(redis, bytes(31) + b"x")), ticket)


def test_without_a_wrap_key_redis_is_trusted(redis: Pretended) -> None:
    ours, theirs = RedisTicketKeys(shared(redis, None)), RedisTicketKeys(shared(redis, None))
    assert opened(theirs, now(ours.seal(session(), START)))
    held = session()
    RedisSessions(shared(redis, None), clock=FakeClock()).put(b"id", held, START + HOUR)
    assert any(held.secret.reveal() in value for value in redis.kept.values())


def test_what_was_put_elsewhere_or_touched_is_not_taken(redis: Pretended) -> None:
    sessions = RedisSessions(shared(redis), clock=FakeClock())
    for name in (b"mine", b"yours"):
        sessions.put(name, session(), START + HOUR)
    mine, yours = redis.kept
    entry = redis.kept[mine]
    for other in (redis.kept[yours], b"", entry[:40], entry[:-1] + bytes([entry[-1] ^ 1])):
        redis.kept[mine] = other
        assert sessions.get(b"mine") is None
    redis.kept[mine] = entry
    assert sessions.get(b"mine") is not None


def test_another_wrap_key_makes_no_tickets_and_one_line(
    redis: Pretended, monotonic: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = RedisTicketKeys(shared(redis)), RedisTicketKeys(shared(redis, KEY[::-1]))
    ticket = now(ours.seal(session(), START))
    for _ in range(5):
        assert now(theirs.seal(session(), START)) == b""
        assert not opened(theirs, ticket)
        monotonic.now += 2
    assert ["wrap_key" in line for line in caplog.messages] == [True]
    assert opened(ours, ticket)


# --- without Redis ---------------------------------------------------------------------------------------------------


def test_one_line_when_it_goes_and_one_when_it_is_back(
    redis: Pretended, monotonic: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    joined = shared(redis)
    sessions, guard = RedisSessions(joined, clock=FakeClock()), RedisReplayGuard(joined)
    sessions.put(b"id", session(), START + HOUR)
    for failure in (Unreachable("gone"), TimeoutError(), OSError("no route")):
        caplog.clear()
        redis.asked.clear()
        redis.failure = failure
        for _ in range(50):
            sessions.put(b"new", session(), START + HOUR)
            sessions.discard(b"id")
            assert sessions.get(b"id") is None
            assert not now(guard.claim(b"key", START, START + SECOND))
        assert len(redis.asked) == 1
        monotonic.now += 1
        sessions.get(b"id")
        sessions.get(b"id")
        assert len(redis.asked) == 2
        assert [type(failure).__name__ in line for line in caplog.messages] == [True]
        redis.failure = None
        assert sessions.get(b"id") is None
        monotonic.now += 1
        assert sessions.get(b"id") is not None
        assert now(guard.claim(b"key", START, START + SECOND))
        assert caplog.messages[1:] == ["Redis answers again"]
        assert {record.name for record in caplog.records} == {"handclasp"}
        assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_one_tries_before_all_others_do(redis: Pretended, monotonic: SimpleNamespace) -> None:
    sessions = RedisSessions(shared(redis), clock=FakeClock())
    sessions.put(b"id", session(), START + HOUR)
    redis.failure = Unreachable("gone")
    assert sessions.get(b"id") is None
    redis.failure, beside = None, []
    monotonic.now += 1
    redis.before = lambda _: beside.append(sessions.get(b"id"))
    redis.asked.clear()
    assert sessions.get(b"id") is not None
    assert beside == [None]
    assert redis.asked == ["GET"]


def test_a_refused_command_keeps_none_of_the_others_away(redis: Pretended, caplog: pytest.LogCaptureFixture) -> None:
    sessions = RedisSessions(shared(redis), clock=FakeClock())
    sessions.put(b"id", session(), START + HOUR)
    for _ in range(3):
        redis.failure = ResponseError("OOM command not allowed when used memory > 'maxmemory'.")
        sessions.put(b"new", session(), START + HOUR)
        redis.failure = None
        assert sessions.get(b"id") is not None
    assert ["Redis refuses SET" in line for line in caplog.messages] == [True]
    sessions.put(b"new", session(), START + HOUR)
    assert caplog.messages[1:] == ["Redis answers again"]


def test_a_fault_of_ours_is_not_taken_for_an_outage(redis: Pretended) -> None:
    sessions, redis.failure = RedisSessions(shared(redis), clock=FakeClock()), KeyError("a bug")
    with pytest.raises(KeyError):
        sessions.get(b"id")


# --- early data ------------------------------------------------------------------------------------------------------


def test_only_a_plain_yes_is_one(redis: Pretended, caplog: pytest.LogCaptureFixture) -> None:
    guard = RedisReplayGuard(shared(redis))
    assert not now(guard.claim(b"key", START, START))
    assert redis.asked == []
    for answer, claimed in ((1, True), (0, False), (-1, False), (-1, False)):
        redis.answer = answer
        assert now(guard.claim(b"key", START, START + SECOND)) is claimed
    assert ["noeviction" in line for line in caplog.messages] == [True]


# --- asyncio ---------------------------------------------------------------------------------------------------------


class AsyncPretended(Pretended):
    """The same for asyncio. One that hangs never answers."""

    hangs = False

    async def execute_command(self, verb: str, *parts: Any) -> Any:
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        return super().execute_command(verb, *parts)

    async def aclose(self) -> None:
        self.close()


def async_shared(redis: Pretended, **options: Any) -> AsyncSharedRedis:
    class Joined(AsyncSharedRedis):
        __slots__ = ()

        def _connect(self, url: str, options: dict[str, Any]) -> Any:
            return redis

    return Joined("redis://pretended", wrap_key=KEY, **options)


async def soon(value: T | Awaitable[T]) -> T:
    assert isinstance(value, Awaitable)
    answer: T = await value
    return answer


def test_for_an_event_loop_there_are_awaitables() -> None:
    async def main() -> None:
        redis = AsyncPretended()
        joined, clock, held = async_shared(redis), FakeClock(), session()
        keys, sessions, guard = RedisTicketKeys(joined), RedisSessions(joined, clock=clock), RedisReplayGuard(joined)
        assert not any(store.blocking for store in (keys, sessions, guard))
        ticket = await soon(keys.seal(held, START))
        # with the keys in hand there is nothing to wait for
        assert opened(keys, ticket)
        assert await soon(RedisTicketKeys(joined).open(ticket, START)) is not None
        await soon(sessions.put(b"id", held, START + HOUR))
        assert await soon(sessions.get(b"id")) is not None
        assert await soon(sessions.take(b"id")) is not None
        await soon(sessions.discard(b"id"))
        assert await soon(guard.claim(b"key", START, START + SECOND))
        await joined.aclose()
        assert not await soon(guard.claim(b"key", START, START + SECOND))

    asyncio.run(main())


def test_an_event_loop_waits_no_longer_than_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        redis = AsyncPretended()
        redis.hangs = True
        joined = async_shared(redis, timeout=0.05, pause=3600)
        async with asyncio.timeout(5):
            assert await soon(RedisSessions(joined).get(b"id")) is None
            assert await soon(RedisTicketKeys(joined).seal(session(), START)) == b""
            assert not await soon(RedisReplayGuard(joined).claim(b"key", START, START + SECOND))

    asyncio.run(main())
    assert ["TimeoutError" in line for line in caplog.messages] == [True]


def test_who_is_no_longer_waited_for_leaves_nothing_behind() -> None:
    """A handshake that is given up while it asks is no failure of Redis."""

    async def main() -> None:
        redis = AsyncPretended()
        redis.hangs = True
        sessions = RedisSessions(async_shared(redis, timeout=60))
        asking = asyncio.ensure_future(soon(sessions.get(b"id")))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        redis.hangs = False
        await soon(sessions.put(b"id", session(), START + 1_000_000 * HOUR))
        assert await soon(sessions.get(b"id")) is not None

    asyncio.run(main())


# --- what is given ---------------------------------------------------------------------------------------------------


@pytest.fixture
def real() -> Iterator[SharedRedis]:
    """The library's own client, with nobody to talk to."""
    joined = SharedRedis("unix:///nowhere/redis.sock", wrap_key=KEY)
    yield joined
    joined.close()


def test_the_client_is_bounded_and_does_not_try_again(real: SharedRedis) -> None:
    given = real._client.get_connection_kwargs()
    assert given["socket_timeout"] == 0.25
    assert given["retry"].get_retries() == 0
    assert real.blocking
    assert RedisTicketKeys(real).blocking
    assert RedisReplayGuard(real).blocking
    assert RedisSessions(real).get(b"id") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"wrap_key": b"short"},
        {"wrap_key": bytes(32)},
        {"wrap_key": KEY, "timeout": 0},
        {"wrap_key": KEY, "pause": -1},
        {"wrap_key": KEY, "url": "http://nowhere"},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SharedRedis(**{"url": "redis://nowhere", **wrong})


def test_it_is_neither_copied_nor_shown(real: SharedRedis) -> None:
    for kept in (real, RedisTicketKeys(real), RedisReplayGuard(real)):
        for way in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                way(kept)
    with pytest.raises(ValueError, match="positive"):
        RedisReplayGuard(real, most=0)
    with pytest.raises(ValueError, match="rotate"):
        RedisTicketKeys(real, rotate=13 * HOUR)
