"""Sessions, ticket keys and early data that several servers share through Redis (6.2 or later, or Valkey).

    shared = SharedRedis("rediss://sessions.internal", wrap_key=key)           # or AsyncSharedRedis, for asyncio
    ServerConfig(credentials=..., tickets=RedisTicketKeys(shared))

Redis is a help, never a condition. While it is slow or gone, handshakes are full ones or use the ticket keys in hand,
and early data is refused; nobody waits longer than the time limit, and after one failure nobody asks for a while. The
logger `handclasp` has one line when it goes and one when it is back.

Whoever reads Redis reads the secrets in it, and whoever writes there can plant a session in another's name, unless they
are sealed before they leave the process: give all servers the same `wrap_key`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import redis as client
import redis.asyncio as async_client
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from ...crypto.aead import NONCE_SIZE, Aead, Cipher, open_or_none
from ...crypto.hashing import Hash
from ...crypto.secret import Secret
from ...errors import ConfigError
from ...rules import printable
from ..cache import from_entry, to_entry
from ..clock import Clock, milliseconds, system_clock
from ..session import Session
from ..shared import Shared
from ..tickets import NAME_SIZE, TicketKey, check_times

T = TypeVar("T")

log = logging.getLogger("handclasp")

WRAP_KEY_SIZE: Final = 32

REFRESH: Final = 60.0
"""Seconds between looks at the ticket keys in Redis while those in hand are good."""


class SharedRedis(Shared):
    """One Redis for all stores of a process; its calls block. Nothing is sent before the first of them.

    `wrap_key` is 32 bytes, the same for every server; None says that Redis, and the way to it, may be trusted with the
    secrets themselves. To change it, change `prefix` with it. `timeout` is how long to wait for each step of a call and
    `pause` how long not to ask after a failure, in seconds. What else is given goes to the client library, which has
    the forms of the URL. Raises ConfigError.
    """

    __slots__ = ("_client", "_down_until", "_refused", "_wrap", "pause", "prefix", "timeout")

    blocking = True

    def __init__(
        self,
        url: str,
        *,
        wrap_key: bytes | None,
        prefix: str = "handclasp",
        timeout: float = 0.25,
        pause: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__()
        if wrap_key is not None and (len(wrap_key) != WRAP_KEY_SIZE or not any(wrap_key)):
            raise ConfigError(
                f"wrap_key is {WRAP_KEY_SIZE} random bytes", remedy="make one with os.urandom(32), for all servers"
            )
        if timeout <= 0 or pause < 0:
            raise ConfigError("timeout must be positive, and pause not negative")
        self.prefix = prefix
        self.timeout = timeout
        self.pause = pause
        self._wrap = None if wrap_key is None else Secret(wrap_key)
        self._down_until = 0.0
        """When to ask again, by the monotonic clock; 0 while Redis answers."""
        self._refused: set[str] = set()
        """Commands that Redis answers with an error."""
        try:
            self._client = self._connect(url, {"socket_timeout": timeout, "socket_connect_timeout": timeout, **options})
        except ValueError as error:
            raise ConfigError(f"this is no address of Redis: {error}") from None

    def name(self, *parts: object) -> bytes:
        """The name of an entry. What is in braces puts all of one kind on one node of a cluster."""
        return ":".join((self.prefix, *map(str, parts))).encode()

    def wrap(self, name: bytes, data: bytes) -> bytes:
        """Seal what is kept under a name. Each time under a key of its own: the wrap key lives too long for one."""
        if self._wrap is None:
            return data
        salt = os.urandom(32)
        return salt + self._cipher(salt).encrypt(bytes(NONCE_SIZE), data, name)

    def unwrap(self, name: bytes, entry: bytes) -> bytes | None:
        """What was sealed; None when it was not sealed by us, or not for this name."""
        if self._wrap is None:
            return entry
        return open_or_none(self._cipher(entry[:32]), bytes(NONCE_SIZE), entry[32:], name)

    async def command(self, verb: str, *parts: bytes | str | int) -> Any:
        """What Redis answers. Raises Away when it does not, or refuses."""
        self._allowed()
        try:
            answer = await self._execute(verb, *parts)
        except ResponseError as error:
            self._refuses(verb, error)
        except (RedisError, OSError) as error:
            self._fails(error)
        else:
            self._answers(verb)
            return answer
        raise Away

    def run(self, steps: Coroutine[Any, Any, T]) -> T | Awaitable[T]:
        """The outcome of a store's steps. They call a blocking client, so they never suspend."""
        try:
            steps.send(None)
        except StopIteration as done:
            value: T = done.value
            return value
        raise RuntimeError("a blocking client does not suspend")

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _connect(self, url: str, options: dict[str, Any]) -> Any:
        return client.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)

    async def _execute(self, *parts: bytes | str | int) -> Any:
        return self._client.execute_command(*parts)

    def _cipher(self, salt: bytes) -> Cipher:
        key = self._wrap.reveal() if self._wrap is not None else b""
        return Aead.AES_256_GCM.cipher(Hash.SHA256.hmac(key, salt))

    # --- whether it is there ---

    def _allowed(self) -> None:
        """Raises Away while it is not worth asking. When the pause is over, one caller tries before all others do."""
        if not self._down_until:
            return
        with self._lock:
            now = time.monotonic()
            if now < self._down_until:
                raise Away
            self._down_until = now + self.pause if self._down_until else 0.0

    def _fails(self, error: Exception) -> None:
        with self._lock:
            first = not self._down_until
            self._down_until = time.monotonic() + self.pause
        if first:
            log.warning("Redis does not answer: full handshakes, no early data (%s)", _shown(error))

    def _refuses(self, verb: str, error: Exception) -> None:
        with self._lock:
            first = verb not in self._refused
            self._refused.add(verb)
        if first:
            log.warning("Redis refuses %s: full handshakes, no early data (%s)", verb, _shown(error))

    def _answers(self, verb: str) -> None:
        if not self._down_until and not self._refused:
            return
        with self._lock:
            back = bool(self._down_until) or verb in self._refused
            self._down_until = 0.0
            self._refused.discard(verb)
        if back:
            log.warning("Redis answers again")


class AsyncSharedRedis(SharedRedis):
    """The same for asyncio: its stores return awaitables, and `timeout` bounds a whole call. For one event loop."""

    __slots__ = ()

    blocking = False

    def run(self, steps: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """The steps themselves, for an event loop."""
        return steps

    async def aclose(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    def _connect(self, url: str, options: dict[str, Any]) -> Any:
        return async_client.Redis.from_url(url, retry=AsyncRetry(NoBackoff(), 0), **options)

    async def _execute(self, *parts: bytes | str | int) -> Any:
        async with asyncio.timeout(self.timeout):
            return await self._client.execute_command(*parts)


class Away(Exception):
    """Redis did not answer, or not with what was asked for."""


class RedisSessions:
    """Sessions by id, for `ServerConfig.sessions`."""

    __slots__ = ("_clock", "_redis")

    shared = True

    def __init__(self, redis: SharedRedis, *, clock: Clock = system_clock) -> None:
        self._redis = redis
        self._clock = clock

    @property
    def blocking(self) -> bool:
        return self._redis.blocking

    def put(self, session_id: bytes, session: Session, until: datetime) -> Awaitable[None] | None:
        """Remember a session until then."""
        return self._redis.run(self._put(session_id, session, until))

    def get(self, session_id: bytes) -> Session | Awaitable[Session | None] | None:
        """The session of an id; None when it is forgotten, its time is over, or Redis is away."""
        return self._redis.run(self._fetch("GET", session_id))

    def take(self, session_id: bytes) -> Session | Awaitable[Session | None] | None:
        """The same, and forget it: of all who ask, one gets it."""
        return self._redis.run(self._fetch("GETDEL", session_id))

    def discard(self, session_id: bytes) -> Awaitable[None] | None:
        """Forget a session, if it is known. While Redis is away, it is not forgotten."""
        return self._redis.run(self._discard(session_id))

    async def _put(self, session_id: bytes, session: Session, until: datetime) -> None:
        name, left = self._name(session_id), milliseconds(until) - milliseconds(self._clock())
        if left <= 0:
            return
        entry = self._redis.wrap(name, to_entry(session, until))
        with suppress(Away):
            await self._redis.command("SET", name, entry, "PX", left)

    async def _fetch(self, verb: str, session_id: bytes) -> Session | None:
        name = self._name(session_id)
        try:
            entry = await self._redis.command(verb, name)
        except Away:
            return None
        data = None if entry is None else self._redis.unwrap(name, entry)
        return None if data is None else from_entry(data, self._clock())

    async def _discard(self, session_id: bytes) -> None:
        with suppress(Away):
            await self._redis.command("DEL", self._name(session_id))

    def _name(self, session_id: bytes) -> bytes:
        return self._redis.name("session", session_id.hex())


class RedisTicketKeys(Shared):
    """Ticket keys that several servers make together, for `ServerConfig.tickets`.

    Time is cut into periods of `rotate`, by each server's own clock, and each period has one key: whoever needs it
    first makes it, with SET NX, and everyone else finds it. It is made one period ahead, so when its time comes all
    have it, even if their clocks differ, and nobody waits for Redis. A key opens tickets until `accept` after its
    period began. Keys in hand are used while Redis is away, and put back should it have lost them.
    """

    __slots__ = ("_again", "_redis", "_ring", "_warned", "_whole", "accept", "rotate")

    shared = True

    def __init__(
        self, redis: SharedRedis, *, rotate: timedelta = timedelta(hours=6), accept: timedelta = timedelta(hours=12)
    ) -> None:
        super().__init__()
        check_times(rotate, accept)
        self.rotate = rotate
        self.accept = accept
        self._redis = redis
        self._ring: tuple[_Held, ...] = ()
        self._again = 0.0
        """When to look at Redis again, by the monotonic clock."""
        self._whole = True
        """Whether the last look gave us all the keys there should be."""
        self._warned = False

    @property
    def blocking(self) -> bool:
        return self._redis.blocking

    def seal(self, session: Session, now: datetime) -> bytes | Awaitable[bytes]:
        """A ticket for a session; empty when there is no key, or it would be larger than a client keeps (16 KiB)."""
        return self._redis.run(self._seal_after(session, now)) if self._due(now) else self._seal(session, now)

    def open(self, ticket: bytes, now: datetime) -> Session | Awaitable[Session | None] | None:
        """The session in a ticket; None when it is not ours, too old, or was touched."""
        return self._redis.run(self._open_after(ticket, now)) if self._due(now) else self._open(ticket, now)

    async def _seal_after(self, session: Session, now: datetime) -> bytes:
        await self._refresh(now)
        return self._seal(session, now)

    async def _open_after(self, ticket: bytes, now: datetime) -> Session | None:
        await self._refresh(now)
        return self._open(ticket, now)

    def _seal(self, session: Session, now: datetime) -> bytes:
        usable = [held for held in self._ring if held.period <= self._period(now) and self._left(held.period, now) > 0]
        return max(usable, key=lambda held: held.period).key.seal(session) if usable else b""

    def _open(self, ticket: bytes, now: datetime) -> Session | None:
        for held in self._ring:
            if held.key.name == ticket[:NAME_SIZE] and self._left(held.period, now) > 0:
                return held.key.open(ticket)
        return None

    # --- the keys ---

    def _due(self, now: datetime) -> bool:
        """Whether this call should look at Redis first. One does so while the others use the keys in hand."""
        current = self._period(now) in self._in_hand()
        complete = current and self._period(now) + 1 in self._in_hand()
        with self._lock:
            at = time.monotonic()
            if at < self._again and (complete or not self._whole):
                return False
            if current:
                self._again, self._whole = at + self._redis.pause, False
            return True

    async def _refresh(self, now: datetime) -> None:
        """Look at Redis; make what keys it lacks, or put back those we have."""
        period = self._period(now)
        found: list[_Held] = []
        with suppress(Away):
            found = await self._fetch(now, range(self._period(now - self.accept) + 1, period + 2))
        # what Redis has comes first: it is what the others use
        known = {held.key.name for held in found}
        ring = [*found, *(held for held in self._ring if held.key.name not in known)]
        with self._lock:
            self._ring = tuple(held for held in ring if self._left(held.period, now) > 0)[:_MOST_HELD]
            self._whole = {period, period + 1} <= {held.period for held in found}
            self._again = time.monotonic() + (REFRESH if self._whole else self._redis.pause)

    async def _fetch(self, now: datetime, periods: range) -> list[_Held]:
        names = {period: self._redis.name("{tickets}", self.rotate // _MILLISECOND, period) for period in periods}
        entries = await self._redis.command("MGET", *names.values())
        missing = [period for period, entry in zip(periods, entries, strict=True) if entry is None]
        made = [period for period in missing if await self._make(names[period], period, now)]
        if made:
            entries = await self._redis.command("MGET", *names.values())
        found = []
        for (period, name), entry in zip(names.items(), entries, strict=True):
            key = None if entry is None else self._read(name, entry)
            if key is not None:
                found.append(_Held(period, key))
        return found

    async def _make(self, name: bytes, period: int, now: datetime) -> bool:
        """Put our key of a period into Redis, unless another server was faster; False for one of which we have none."""
        key = next((held.key for held in self._ring if held.period == period), None)
        if key is None:
            if period < self._period(now):
                return False
            key = TicketKey.generate()
        entry = self._redis.wrap(name, key.to_bytes())
        await self._redis.command("SET", name, entry, "NX", "PX", self._left(period, now))
        return True

    def _read(self, name: bytes, entry: bytes) -> TicketKey | None:
        try:
            return TicketKey.from_bytes(self._redis.unwrap(name, entry) or b"")
        except ValueError:
            if not self._warned:
                self._warned = True
                log.warning("no tickets: their keys in Redis cannot be read; is wrap_key the same on every server?")
            return None

    def _in_hand(self) -> set[int]:
        return {held.period for held in self._ring}

    def _period(self, now: datetime) -> int:
        return (now - _EPOCH) // self.rotate

    def _left(self, period: int, now: datetime) -> int:
        """How long a period's key is still good, in milliseconds."""
        return (_EPOCH + period * self.rotate + self.accept - now) // _MILLISECOND


@dataclass(frozen=True, slots=True)
class _Held:
    """A key and the number of its period."""

    period: int
    key: TicketKey


class RedisReplayGuard(Shared):
    """Takes early data once over all servers, for as long as it could be sent again (RFC 8446 §8.2).

    Redis may have forgotten claims when it was restarted or emptied, or when a replica took over; it is then known as
    another than the one before, and every claim is refused until what could have been forgotten is over. It must not be
    one that throws entries away when its memory is full (`maxmemory-policy noeviction`): all claims are refused else.
    """

    __slots__ = ("_most", "_redis", "_warned")

    shared = True

    def __init__(self, redis: SharedRedis, *, most: int = 1_000_000) -> None:
        super().__init__()
        if most < 1:
            raise ValueError("most must be positive")
        self._redis = redis
        self._most = most
        self._warned = False

    @property
    def blocking(self) -> bool:
        return self._redis.blocking

    def claim(self, key: bytes, now: datetime, until: datetime) -> bool | Awaitable[bool]:
        """True for the first claim of a key before `until`; False for every other, and while Redis cannot tell."""
        return self._redis.run(self._claim(key, milliseconds(until) - milliseconds(now)))

    async def _claim(self, key: bytes, window: int) -> bool:
        if window <= 0:
            return False
        names = (self._redis.name("{early}", "claims"), self._redis.name("{early}", "since"))
        try:
            answer = await self._redis.command(
                "EVAL", _CLAIM, len(names), *names, Hash.SHA256.digest(key), window, self._most
            )
        except Away:
            return False
        if answer == _FORGETS and not self._warned:
            self._warned = True
            log.warning("early data is refused: this Redis may forget, set its maxmemory-policy to noeviction")
        return bool(answer == 1)


_FORGETS: Final = -1

_CLAIM: Final = """
local memory = redis.call('INFO', 'memory')
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if not run then return 0 end
if not string.find(memory, 'maxmemory:0\\r', 1, true)
    and not string.find(memory, 'maxmemory_policy:noeviction', 1, true) then return -1 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window = tonumber(ARGV[2])
local since = redis.call('HGET', KEYS[2], run)
if not since then
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[2], run, now)
    return 0
end
if now - since < window then return 0 end
local over = redis.call('ZREVRANGEBYSCORE', KEYS[1], now, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
local forgotten = math.max(tonumber(redis.call('HGET', KEYS[2], 'forgotten') or 0), tonumber(over or 0))
if over then
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
    redis.call('HSET', KEYS[2], 'forgotten', string.format('%.0f', forgotten))
end
if now < forgotten then return 0 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
return redis.call('ZADD', KEYS[1], 'NX', now + window, ARGV[1])
"""
"""One step for Redis: nobody else's comes between. KEYS: the claims by their end; which Redis keeps them since when,
and the latest end of what it forgot, for its clock may be set back. ARGV: a claim; how long it counts, in milliseconds;
the most claims there may be. The time is that of Redis.
"""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_MOST_HELD: Final = 64


def _shown(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}", 120)
