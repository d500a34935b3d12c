"""Several servers and one Redis: sessions, ticket keys and early data go from one to the other, or fall back in time.

Skipped where there is no redis-server. With HANDCLASP_INTEROP set, the long runs are ten thousand handshakes each.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final, NoReturn, TypeVar

import pytest

from handclasp import (
    ClientConfig,
    ClientConnection,
    ClientSessions,
    Data,
    ServerConfig,
    ServerConnection,
    TLSError,
    TLSVersion,
)
from handclasp.lab.pair import Pair, handshake
from handclasp.sessions import stores
from handclasp.sessions.cache import ClientSession
from handclasp.sessions.session import Session
from handclasp.sessions.stores.redis import (
    AsyncSharedRedis,
    RedisReplayGuard,
    RedisSessions,
    RedisTicketKeys,
    SharedRedis,
)
from interop import session_server
from interop.identities import NAME, Identities
from interop.programs import DEADLINE, HOST, Program, Wire, check_echo, connect
from interop.redis_here import Redis
from interop.session_server import SetClock
from sessions.made import session

T = TypeVar("T")

WRAP_KEY: Final = os.urandom(32)
MANY: Final = 10_000 if os.environ.get("HANDCLASP_INTEROP") else 300
SECOND: Final = timedelta(seconds=1)

VERSIONS = pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)
KEEPS = pytest.mark.parametrize("keep", ["ticket", "id"])
SIGNALS = pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP], ids=lambda stop: stop.name)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: the name of a socket has little room."""
    with tempfile.TemporaryDirectory(prefix="handclasp-") as name:
        yield Path(name)


@pytest.fixture
def redis(folder: Path) -> Iterator[Redis]:
    with Redis(folder) as running:
        yield running


@contextmanager
def joined(redis: Redis, **options: Any) -> Generator[SharedRedis, None, None]:
    """One machine's way to Redis."""
    shared = SharedRedis(redis.url, wrap_key=WRAP_KEY, **{"pause": 0.05} | options)
    yield shared
    shared.close()


class Servers:
    """Two server processes that share nothing but Redis, and a client that keeps its sessions."""

    def __init__(
        self,
        folder: Path,
        redis: Redis,
        identities: Identities,
        version: TLSVersion,
        keep: str,
        early: float | None = None,
    ) -> None:
        self._settings = folder / "settings.json"
        shown = identities.of()
        settings = {
            "redis": redis.url,
            "wrap_key": WRAP_KEY.hex(),
            "chain": str(shown.chain_file),
            "key": str(shown.key_file),
            "version": int(version),
            "keep": keep,
        }
        if early is not None:
            settings["early"] = early
        self._settings.write_text(json.dumps(settings), encoding="utf-8")
        self.clock = SetClock()
        self.sessions = ClientSessions(clock=self.clock)
        self.client = ClientConfig(
            trust=identities.trust,
            versions=[version],
            sessions=self.sessions,
            clock=self.clock,
            session_lifetime=timedelta(days=1),
        )
        self._programs: list[Program] = []
        self.ports: list[int] = []

    def __enter__(self) -> Servers:
        environment = {"PYTHONPATH": str(Path(session_server.__file__).parents[1])}
        command = (sys.executable, session_server.__file__, self._settings)
        self._programs = [Program(*command, environment=environment) for _ in range(2)]
        self.ports = [int(program.output.expect(r"port (\d+)\n")) for program in self._programs]
        return self

    def __exit__(self, *_: object) -> None:
        for program in self._programs:
            program.__exit__()

    def resumed(self, server: int) -> bool:
        """Connect to a server, say something, and see whether the handshake was a short one."""
        with connect(self.ports[server], self.client) as tls:
            check_echo(tls, b"hello there")
            return tls.info.resumed

    def early_data(self) -> list[str]:
        """Of each that came, at any server, whether it was taken."""
        return [word for program in self._programs for word in program.output.found(r"early data (.*)\n")]

    def kill(self, server: int) -> None:
        self._programs[server].send(signal.SIGKILL)
        self._programs[server].finish()

    def set_clocks(self, hours: float) -> None:
        self.clock.ahead = timedelta(hours=hours)
        for program in self._programs:
            program.say(f"{self.clock.ahead.total_seconds()}\n".encode())
            program.output.expect(f"clock {self.clock.ahead.total_seconds()}\n")

    def take(self) -> bytes:
        """The session the client would offer next, to be given back as often as wanted."""
        held = self.sessions.take(NAME)
        assert held is not None
        return held.to_bytes()

    def give(self, held: bytes) -> None:
        self.sessions.clear()
        self.sessions.put(NAME, ClientSession.from_bytes(held))


class HalfWay:
    """A handshake that stops when told, to see what happens meanwhile."""

    def __init__(self, servers: Servers, server: int) -> None:
        self._connection = ClientConnection(servers.client, NAME)
        self._socket = socket.create_connection((HOST, servers.ports[server]), timeout=DEADLINE)

    def send(self) -> None:
        self._socket.sendall(self._connection.data_to_send())

    def receive(self) -> None:
        """What has come, at least something. Raises TLSError."""
        data = self._socket.recv(65536)
        if data:
            self._connection.receive_data(data)
        else:
            self._connection.receive_eof()

    def finish(self) -> bool:
        """Go on to the end; whether the handshake was a short one."""
        while not self._connection.established:
            self.send()
            self.receive()
        self.send()
        return self._connection.info.resumed

    def go_on(self) -> NoReturn:
        """Finish and listen, until the connection fails. Raises TLSError, OSError."""
        self.finish()
        while True:
            self.receive()

    def __enter__(self) -> HalfWay:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def until(holds: Callable[[], bool]) -> None:
    """Try until something is so."""
    end = monotonic() + DEADLINE
    while not holds():
        assert monotonic() < end, "it does not happen"


# --- sessions and tickets --------------------------------------------------------------------------------------------


@VERSIONS
@KEEPS
def test_servers_resume_each_others_sessions(
    version: TLSVersion, keep: str, redis: Redis, folder: Path, identities: Identities
) -> None:
    with Servers(folder, redis, identities, version, keep) as servers:
        assert [servers.resumed(n % 2) for n in range(8)] == [False] + [True] * 7


@VERSIONS
def test_keys_change_together(version: TLSVersion, redis: Redis, folder: Path, identities: Identities) -> None:
    with Servers(folder, redis, identities, version, "ticket") as servers:
        assert not servers.resumed(0)
        first = servers.take()
        servers.give(first)
        assert servers.resumed(1)
        servers.set_clocks(6)
        servers.give(first)
        assert servers.resumed(1)
        second = servers.take()
        servers.give(second)
        assert servers.resumed(0)
        servers.set_clocks(12)
        for server in (0, 1):
            servers.give(first)
            assert not servers.resumed(server)
            servers.give(second)
            assert servers.resumed(server)


@VERSIONS
@KEEPS
@SIGNALS
@pytest.mark.parametrize("when", ["before the hello", "amid the handshake"])
def test_redis_goes_in_mid_handshake(
    when: str,
    stop: signal.Signals,
    version: TLSVersion,
    keep: str,
    redis: Redis,
    folder: Path,
    identities: Identities,
) -> None:
    """The handshake succeeds, in little time; keys in hand are used; and when Redis is back, so is all else."""
    with Servers(folder, redis, identities, version, keep) as servers:
        assert [servers.resumed(n) for n in (0, 1)] == [False, True]
        if when == "amid the handshake":
            servers.sessions.clear()
        with HalfWay(servers, 0) as half_way:
            if when == "amid the handshake":
                half_way.send()
                half_way.receive()
            redis.send(stop)
            began = monotonic()
            assert half_way.finish() == (when == "before the hello" and keep == "ticket")
        for _ in range(10):
            servers.resumed(1)
        assert monotonic() - began < 5
        redis.revive(stop)
        until(lambda: servers.resumed(0) and servers.resumed(1))


@VERSIONS
@KEEPS
def test_a_server_dies_in_mid_handshake(
    version: TLSVersion, keep: str, redis: Redis, folder: Path, identities: Identities
) -> None:
    with Servers(folder, redis, identities, version, keep) as servers:
        assert not servers.resumed(0)
        held = servers.take()
        with HalfWay(servers, 0) as half_way:
            half_way.send()
            half_way.receive()
            servers.kill(0)
            with pytest.raises((TLSError, OSError)):
                half_way.go_on()
        servers.give(held)
        assert servers.resumed(1)


@pytest.mark.timeout(300)
@VERSIONS
@KEEPS
def test_many_resumptions_on_two_machines(version: TLSVersion, keep: str, redis: Redis, identities: Identities) -> None:
    """Each at the other machine. Redis is stopped and started again on the way: no ticket is lost by it."""
    client = ClientConfig(trust=identities.trust, versions=[version], sessions=ClientSessions())
    servers: list[ServerConfig] = []
    resumed = 0
    # a machine under load may be slow, and no outage is wanted here but ours
    with joined(redis, timeout=5) as ours, joined(redis, timeout=5) as theirs:
        for shared in (ours, theirs):
            keeping: dict[str, Any] = {"tickets": RedisTicketKeys(shared)}
            if keep == "id":
                keeping = {"sessions": RedisSessions(shared)}
            servers.append(ServerConfig(credentials=[identities.of().credential], versions=[version], **keeping))
        for n in range(MANY + 1):
            if keep == "ticket" and n % 100 == 50:
                redis.send(signal.SIGKILL)
            if keep == "ticket" and n % 100 == 70:
                redis.revive(signal.SIGKILL)
            pair = shaken(ClientConnection(client, NAME), ServerConnection(servers[n % 2]))
            assert pair.client.established
            assert pair.client.info.resumed == pair.server.info.resumed
            resumed += pair.server.info.resumed
    assert resumed == MANY


def shaken(client: ClientConnection, server: ServerConnection) -> Pair:
    """Let them shake hands; what the server leaves to its adapter is answered here."""
    pair, answered = handshake(client, server), 0
    while answered < len(pair.asked):
        question = pair.asked[answered].question
        server.answer(question, question.put())
        answered += 1
        pair.shuttle()
        pair.server_events += server.events()
    return pair


# --- the stores themselves -------------------------------------------------------------------------------------------


def test_ten_thousand_sessions_go_through_redis(redis: Redis) -> None:
    held, until_then = session(), datetime.now(UTC) + timedelta(hours=1)
    with joined(redis, timeout=5) as ours, joined(redis, timeout=5) as theirs:
        mine, others = RedisSessions(ours), RedisSessions(theirs)
        keys, other_keys = RedisTicketKeys(ours), RedisTicketKeys(theirs)
        for n in range(10_000):
            name, at = n.to_bytes(32), datetime.now(UTC)
            if n % 5 == 0:
                mine.put(name, held, until_then)
                found = others.take(name)
                assert isinstance(found, Session)
                assert others.get(name) is None
            ticket = keys.seal(held, at)
            assert isinstance(ticket, bytes)
            assert other_keys.open(ticket, at) is not None


def test_redis_forgets_in_time(redis: Redis) -> None:
    now = datetime.now(UTC)
    with joined(redis) as shared:
        sessions = RedisSessions(shared)
        sessions.put(b"short", session(), now + timedelta(milliseconds=50))
        sessions.put(b"long", session(), now + timedelta(hours=1))
        until(lambda: shared._client.dbsize() == 1)
        assert sessions.get(b"long") is not None
        RedisTicketKeys(shared).seal(session(), now)
        assert all(shared._client.pttl(name) > 0 for name in shared._client.scan_iter())


def test_for_an_event_loop(redis: Redis) -> None:
    """Redis hangs and comes back: nothing is waited for too long, and no answer is taken for another's."""

    async def main() -> None:
        # a machine under load may be slow, and no outage is wanted here but ours
        shared = AsyncSharedRedis(redis.url, wrap_key=WRAP_KEY, pause=0.05, timeout=2)
        sessions, keys, now = RedisSessions(shared), RedisTicketKeys(shared), datetime.now(UTC)
        guard = RedisReplayGuard(shared)
        held = [session() for _ in range(20)]

        async def right(n: int) -> bool:
            found = await soon(sessions.get(bytes([n])))
            assert found is None or found.secret.reveal() == held[n].secret.reveal()
            return found is not None

        async def all_right() -> bool:
            return all(await asyncio.gather(*map(right, range(20))))

        ticket = await soon(keys.seal(held[0], now))
        assert keys.open(ticket, now) is not None
        await asyncio.gather(*(soon(sessions.put(bytes([n]), held[n], now + timedelta(hours=1))) for n in range(20)))
        assert await all_right()
        redis.send(signal.SIGSTOP)
        began = monotonic()
        assert not await right(3)
        assert not await soon(guard.claim(b"key", now, now + SECOND))
        assert monotonic() - began < 10
        assert keys.open(ticket, now) is not None
        redis.revive(signal.SIGSTOP)
        async with asyncio.timeout(DEADLINE):
            while not await all_right():
                pass
        for _ in range(50):
            assert await all_right()
        await shared.aclose()

    asyncio.run(main())


async def soon(value: T | Awaitable[T]) -> T:
    assert isinstance(value, Awaitable)
    answer: T = await value
    return answer


# --- early data ------------------------------------------------------------------------------------------------------


class Claims:
    """A machine that takes early data, which is good for `window`."""

    def __init__(self, shared: SharedRedis, window: timedelta = SECOND, **options: Any) -> None:
        self._guard = RedisReplayGuard(shared, **options)
        self._window = window

    def __call__(self, key: bytes) -> bool:
        now = datetime.now(UTC)
        claimed = self._guard.claim(key, now, now + self._window)
        assert isinstance(claimed, bool)
        return claimed

    def ready(self) -> None:
        """Wait until a fresh Redis may be believed."""
        until(lambda: self(os.urandom(8)))


def believe(shared: SharedRedis) -> None:
    """Have a fresh Redis known for as long as there is time."""
    shared._client.hset(shared.name("{early}", "since"), shared._client.info("server")["run_id"], 0)


def test_a_replay_at_the_other_machine_is_refused(redis: Redis) -> None:
    with joined(redis) as first, joined(redis) as second:
        believe(first)
        ours, theirs = Claims(first, 3600 * SECOND), Claims(second, 3600 * SECOND)
        for n in range(200):
            here, there = (ours, theirs) if n % 2 else (theirs, ours)
            assert here(bytes([n]))
            assert not there(bytes([n]))
            assert not here(bytes([n]))


@KEEPS
def test_a_recorded_flight_brings_its_data_to_one_machine(
    keep: str, redis: Redis, folder: Path, identities: Identities
) -> None:
    """An onlooker sends what a client sent on to the other machine, and again to the same: it is taken once in all."""
    with joined(redis) as shared:
        believe(shared)
    with Servers(folder, redis, identities, TLSVersion.TLS_1_3, keep, early=30) as servers:
        assert not servers.resumed(0)
        for n in range(6):
            connection = ClientConnection(servers.client, NAME, early_data=b"pay %d" % n)
            flight = connection.data_to_send()
            first, second = n % 2, 1 - n % 2
            with socket.create_connection((HOST, servers.ports[first]), timeout=DEADLINE) as honest:
                honest.sendall(flight)
                while not connection.established:
                    connection.receive_data(honest.recv(65536))
                assert connection.info.early_data is True
                # the replays come while the first connection goes on
                for server in (second, first, second):
                    with socket.create_connection((HOST, servers.ports[server]), timeout=DEADLINE) as replay:
                        replay.sendall(flight)
                        assert replay.recv(65536)  # it has answered, and so has decided
                honest.sendall(connection.data_to_send())
                connection.send(b"done")
                honest.sendall(connection.data_to_send())
                while not any(isinstance(event, Data) for event in connection.events()):
                    connection.receive_data(honest.recv(65536))
        until(lambda: len(servers.early_data()) >= 24)
        assert sorted(servers.early_data()) == ["declined"] * 18 + ["taken"] * 6


@SIGNALS
def test_without_redis_early_data_is_declined_and_the_handshake_goes_on(
    stop: signal.Signals, redis: Redis, folder: Path, identities: Identities
) -> None:
    with joined(redis) as shared:
        believe(shared)
    with Servers(folder, redis, identities, TLSVersion.TLS_1_3, "ticket", early=30) as servers:
        assert not servers.resumed(0)
        redis.send(stop)
        began = monotonic()
        connection = ClientConnection(servers.client, NAME, early_data=b"pay")
        with Wire.dial(str(servers.ports[0]), connection) as wire:
            wire.until_established()
            assert connection.info.resumed
            assert connection.info.early_data is False
        assert monotonic() - began < 5
        until(lambda: bool(servers.early_data()))
        assert servers.early_data() == ["declined"]


def test_of_many_processes_one_takes_it(redis: Redis) -> None:
    code = (
        "import sys; from datetime import *;"
        "from handclasp.sessions.stores.redis import RedisReplayGuard, SharedRedis;"
        f"shared = SharedRedis({redis.url!r}, wrap_key=None, timeout=5); guard = RedisReplayGuard(shared);"
        "print('ready', flush=True); sys.stdin.readline(); now = datetime.now(UTC);"
        "print('won', sum(guard.claim(str(n).encode(), now, now + timedelta(minutes=1)) for n in range(100)));"
        "shared.close()"
    )
    with joined(redis) as shared:
        believe(shared)
    with ExitStack() as stack:
        processes = [stack.enter_context(Program(sys.executable, "-c", code)) for _ in range(4)]
        for process in processes:
            process.output.expect("ready")
        for process in processes:
            process.say(b"go\n")
        assert sum(int(process.output.expect(r"won (\d+)\n")) for process in processes) == 100


@pytest.mark.parametrize("options", [(), ("--appendonly", "yes", "--appendfsync", "no")], ids=["forgetful", "on disk"])
@SIGNALS
def test_nothing_is_taken_twice_over_an_outage(stop: signal.Signals, options: tuple[str, ...], folder: Path) -> None:
    """Redis may have lost its last claims, on disk or not: until they are over, it is not believed."""
    with Redis(folder, *options) as redis, joined(redis) as first, joined(redis) as second:
        ours, theirs = Claims(first), Claims(second)
        ours.ready()
        taken = {n: datetime.now(UTC) for n in range(20)}
        assert all(ours(bytes([n])) for n in taken)
        redis.send(stop)
        assert not any(theirs(bytes([n])) for n in taken)
        redis.revive(stop)
        revived = monotonic()
        while not theirs(os.urandom(8)):
            for n, at in taken.items():
                assert not theirs(bytes([n])) or datetime.now(UTC) >= at + SECOND
        assert stop is signal.SIGSTOP or monotonic() - revived >= 0.9


def test_an_emptied_redis_is_not_believed(redis: Redis) -> None:
    with joined(redis) as shared:
        claims = Claims(shared)
        claims.ready()
        assert claims(b"key")
        shared._client.flushall()
        began = monotonic()
        assert not claims(b"key")
        claims.ready()
        assert monotonic() - began >= 0.9


def test_a_redis_that_throws_entries_away_is_not_believed(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    with joined(redis) as shared:
        claims = Claims(shared)
        claims.ready()
        shared._client.config_set("maxmemory-policy", "allkeys-lru")
        assert claims(b"no limit, nothing thrown away")
        shared._client.config_set("maxmemory", "100mb")
        assert not claims(b"key")
        assert not claims(b"another")
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        shared._client.config_set("maxmemory-policy", "noeviction")
        assert claims(b"key")
        shared._client.config_set("maxmemory", "1")
        claims(b"no room")
        assert not claims(b"no room")


def test_a_clock_of_redis_that_goes_forth_and_back_brings_nothing_twice(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, begun = stores.redis._CLAIM, int(datetime.now(UTC).timestamp())

    def at(seconds: int, key: bytes) -> bool:
        time = f"{{'{begun + seconds}', '0'}}"
        monkeypatch.setattr(stores.redis, "_CLAIM", script.replace("redis.call('TIME')", time))
        return claims(key)

    with joined(redis) as shared:
        believe(shared)
        claims = Claims(shared, 20 * SECOND)
        assert at(0, b"a")
        assert at(3600, b"ahead")
        assert [at(seconds, key) for seconds in (5, 19) for key in (b"a", b"b")] == [False] * 4
        assert at(20, b"b")
        assert not at(21, b"b")
        assert at(21, b"c")


def test_a_full_one_refuses_and_forgets_nothing(redis: Redis) -> None:
    with joined(redis) as shared:
        believe(shared)
        claims, others = Claims(shared, 3600 * SECOND, most=50), Claims(shared, most=51)
        assert [n for n in range(100) if claims(bytes([n]))] == list(range(50))
        assert others(b"short")
        assert not any(others(bytes([n])) for n in range(50))
        assert not others(b"no room")
        until(lambda: others(b"when there is room"))
        assert not any(claims(bytes([n])) for n in range(50))
