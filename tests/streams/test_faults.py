"""Every adapter, with something going wrong at every place: it ends soon, leaves nothing, and never invents a byte."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from handclasp import ClientConfig, ServerConfig, TLSError
from handclasp.crypto.signatures import KeyKind
from handclasp.lab.ca import CertificateAuthority

from . import runtimes
from .patience import waits_less_than
from .peers import Fault, Outcome, call, client_context, serving
from .runtimes import RUNTIMES, Blocking, Conn, Runtime

SAYS = bytes(range(256)) * 12
"""What the peer says: 3 KiB, in one record."""
ANSWER = bytes(reversed(SAYS)) * 30
"""What we say: 90 KiB, in six records."""

BROKEN = (TLSError, OSError, anyio.BrokenResourceError)
SOON = 2.0

Work = Callable[[], Coroutine[Any, Any, None]]


class Seen:
    """What the side under test got."""

    def __init__(self, answer: bytes = ANSWER) -> None:
        self.answer = answer
        self.received = bytearray()
        self.ended = False

    async def converse(self, conn: Conn) -> None:
        """Write our part and read the peer's, to its end."""
        try:
            await conn.write(self.answer[: len(self.answer) // 2])
            while data := await conn.read(1000):
                self.received += data
            self.ended = True
            await conn.write(self.answer[len(self.answer) // 2 :])
        finally:
            await conn.close()


def places(total: int) -> list[int]:
    """After which byte a wire of so many may fail: the first and last ones, and some in between."""
    return sorted({1, 5, 6, total - 1, total - 23, total - 24, *range(1, total, max(1, total // 9))})


@dataclass(frozen=True)
class Theirs:
    """The other side: our own core on a bare socket, or the standard library's."""

    client: ClientConfig | ssl.SSLContext
    server: ServerConfig | ssl.SSLContext


@pytest.fixture(params=["ours", "openssl"])
def theirs(
    request: pytest.FixtureRequest,
    client_config: ClientConfig,
    server_config: ServerConfig,
    authority: CertificateAuthority,
    tmp_path: Path,
) -> Theirs:
    if request.param == "ours":
        return Theirs(client_config, server_config)
    pair = authority.issue_pem("localhost", "127.0.0.1", key_kind=KeyKind.ED25519)
    (tmp_path / "server.pem").write_bytes(pair.key + pair.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    return Theirs(client_context(authority), context)


@pytest.fixture(params=[False, True], ids=["direct", "upgraded"])
def upgrade(request: pytest.FixtureRequest) -> bool:
    """Whether TLS begins behind some words in the clear."""
    wanted: bool = request.param
    return wanted


def client_story(runtime: Runtime, upgrade: bool, port: int, config: ClientConfig, seen: Seen) -> Work:
    async def story() -> None:
        enter = runtime.upgrade if upgrade else runtime.connect
        await seen.converse(await enter(port, config, 5))

    return story


def serve(
    runtime: Runtime, upgrade: bool, config: ServerConfig, handle: Callable[[Conn], Coroutine[Any, Any, None]]
) -> AbstractAsyncContextManager[int]:
    """A server that gives a handshake little time, but for which there is time on a busy machine."""
    return (runtime.serve_upgrades if upgrade else runtime.serve)(config, handle, 0.5)


def from_server(config: ClientConfig, theirs: Theirs) -> int:
    """Bytes of their server where nothing goes wrong."""
    with serving(theirs.server, SAYS) as (port, server):
        call(port, config, SAYS)
    return server.sent


def from_client(config: ServerConfig, theirs: Theirs) -> int:
    """Bytes of their client where nothing goes wrong."""
    with serving(config, SAYS) as (port, _):
        return call(port, theirs.client, SAYS).sent


@pytest.mark.parametrize("fault", [Fault.EOF, Fault.RESET])
def test_a_server_that_vanishes(
    runtime: Runtime, upgrade: bool, client_config: ClientConfig, theirs: Theirs, fault: Fault
) -> None:
    for at in places(from_server(client_config, theirs)):
        seen = Seen()
        with (
            serving(theirs.server, SAYS, fault=fault, at=at, upgrade=upgrade) as (port, outcome),
            waits_less_than(SOON),
            pytest.raises(BROKEN),
        ):
            runtime.run(client_story(runtime, upgrade, port, client_config, seen))
        assert not seen.ended
        assert SAYS.startswith(seen.received)
        assert ANSWER.startswith(outcome.received)


def test_a_server_that_stops(
    runtime: Runtime, upgrade: bool, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    total = from_server(client_config, Theirs(client_config, server_config))
    for at in (1, 700, total - len(SAYS) - 200, total - 10):
        seen = Seen()

        async def story(port: int, seen: Seen = seen) -> None:
            conn = await (runtime.upgrade if upgrade else runtime.connect)(port, client_config, 0.2)
            try:
                while data := await runtime.within(0.2, conn, 1000):
                    seen.received += data
                seen.ended = True
            finally:
                await conn.close()

        with (
            serving(server_config, SAYS, fault=Fault.STALL, at=at, upgrade=upgrade) as (port, _),
            waits_less_than(SOON),
            pytest.raises(TimeoutError),
        ):
            runtime.run(partial(story, port))
        assert not seen.ended
        assert SAYS.startswith(seen.received)


@pytest.mark.parametrize("fault", list(Fault))
def test_a_client_that_vanishes(
    runtime: Runtime, upgrade: bool, server_config: ServerConfig, theirs: Theirs, fault: Fault
) -> None:
    """Our server outlives all of them, and serves the next as if nothing had been."""
    total = from_client(server_config, theirs)
    faults = places(total) if fault is not Fault.STALL else (1, total - len(SAYS) - 100)
    all_seen: list[Seen] = []

    async def handle(conn: Conn) -> None:
        seen = Seen()
        all_seen.append(seen)
        with suppress(*BROKEN):
            await seen.converse(conn)

    async def story() -> None:
        async with serve(runtime, upgrade, server_config, handle) as port:
            for at in faults:
                with waits_less_than(SOON):
                    outcome = await runtime.elsewhere(
                        partial(call, port, theirs.client, SAYS, fault=fault, at=at, upgrade=upgrade)
                    )
                assert ANSWER.startswith(outcome.received)
            outcome = Outcome()
            for _ in range(20):  # a busy machine may be too slow for the deadline
                outcome = await runtime.elsewhere(lambda: call(port, theirs.client, SAYS, upgrade=upgrade))
                if outcome.received:
                    break
            assert outcome.received == ANSWER
            assert outcome.ended

    runtime.run(story)
    assert all(SAYS.startswith(seen.received) for seen in all_seen)
    assert [seen.ended for seen in all_seen].count(True) == 1


def check(seen: Seen, outcome: Outcome, says: bytes = SAYS) -> None:
    """All of it arrived, and both sides know that it is all."""
    assert seen.received == says
    assert seen.ended
    assert outcome.received == seen.answer
    assert outcome.ended


@pytest.mark.parametrize("piece", [1, 7])
def test_byte_by_byte(
    runtime: Runtime,
    upgrade: bool,
    client_config: ClientConfig,
    server_config: ServerConfig,
    theirs: Theirs,
    piece: int,
) -> None:
    says, seen = SAYS[:600], Seen(ANSWER[:1000])
    with serving(theirs.server, says, piece=piece, upgrade=upgrade) as (port, outcome):
        runtime.run(client_story(runtime, upgrade, port, client_config, seen))
    check(seen, outcome, says)

    async def story() -> Outcome:
        async with (runtime.serve_upgrades if upgrade else runtime.serve)(server_config, seen.converse, 10) as port:
            return await runtime.elsewhere(
                lambda: call(port, theirs.client, says, piece=piece, upgrade=upgrade),
            )

    seen = Seen(ANSWER[:1000])
    check(seen, runtime.run(story), says)


class Narrow(socket.socket):
    """Gives and takes one byte at a time, as the system may."""

    def send(self, data: Any, flags: int = 0) -> int:
        return super().send(memoryview(data)[:1], flags)

    def recv(self, size: int, flags: int = 0) -> bytes:
        return super().recv(min(size, 1), flags)


@pytest.mark.parametrize("name", ["blocking", "non-blocking", "asyncio"])
def test_one_byte_at_a_time_on_our_side(
    name: str, client_config: ClientConfig, theirs: Theirs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the runtime uses the methods of Python's sockets."""
    monkeypatch.setattr(runtimes, "SOCKET", Narrow)
    seen = Seen(ANSWER[:3000])
    with serving(theirs.server, SAYS) as (port, outcome):
        RUNTIMES[name].run(client_story(RUNTIMES[name], False, port, client_config, seen))
    check(seen, outcome)


# --- interrupted at every point --------------------------------------------------------------------------------------


def cancelled_at(point: int, work: Work) -> Work:
    """Work that is cancelled where it suspends for the n-th time, counted from 1; it runs to its end before."""

    class Counted:
        def __init__(self, cancel: Callable[[], object]) -> None:
            self.cancel = cancel

        def __await__(self) -> Generator[Any, Any, None]:
            coroutine = work()
            waited, value, error = 0, None, None
            while True:
                try:
                    asked = coroutine.throw(error) if error is not None else coroutine.send(value)
                except StopIteration:
                    return
                waited += 1
                if waited == point:
                    self.cancel()
                try:
                    value, error = (yield asked), None
                except BaseException as raised:
                    value, error = None, raised

    async def run() -> None:
        with anyio.CancelScope() as scope:
            await Counted(scope.cancel)
        if not scope.cancel_called:
            raise Finished

    return run


class Finished(Exception):
    """There was no such point any more."""


@pytest.mark.parametrize("name", [name for name, runtime in RUNTIMES.items() if not isinstance(runtime, Blocking)])
def test_cancelled_at_every_point(name: str, upgrade: bool, client_config: ClientConfig, theirs: Theirs) -> None:
    """No socket and no task is left, and what the peer has got is what we said, without a gap."""
    runtime = RUNTIMES[name]
    if name == "uvloop":
        pytest.importorskip("uvloop")
    points, seen, outcome = 0, Seen(), Outcome()
    for point in range(1, 1000):
        seen = Seen()
        with serving(theirs.server, SAYS, piece=700, upgrade=upgrade) as (port, latest):
            outcome = latest
            try:
                with waits_less_than(SOON):
                    runtime.run(cancelled_at(point, client_story(runtime, upgrade, port, client_config, seen)))
            except Finished:
                break
        points = point
        assert ANSWER.startswith(outcome.received)
        assert SAYS.startswith(seen.received)
    assert points >= 3
    check(seen, outcome)


@pytest.mark.parametrize("name", [name for name, runtime in RUNTIMES.items() if not isinstance(runtime, Blocking)])
def test_a_server_that_is_cancelled_at_every_point(
    name: str, upgrade: bool, server_config: ServerConfig, theirs: Theirs
) -> None:
    """The same of what serves a connection; its neighbours are served on."""
    runtime = RUNTIMES[name]
    if name == "uvloop":
        pytest.importorskip("uvloop")
    reached: list[int] = []
    all_seen: list[Seen] = []

    async def handle(conn: Conn) -> None:
        all_seen.append(Seen())
        try:
            await cancelled_at(len(all_seen), partial(all_seen[-1].converse, conn))()
        except Finished:
            reached.append(len(all_seen))

    async def story() -> None:
        async with (runtime.serve_upgrades if upgrade else runtime.serve)(server_config, handle, 10) as port:
            outcome = Outcome()
            while not reached:
                assert len(all_seen) < 1000
                with waits_less_than(SOON):
                    outcome = await runtime.elsewhere(partial(call, port, theirs.client, SAYS, upgrade=upgrade))
                assert ANSWER.startswith(outcome.received)
            check(all_seen[-1], outcome)

    runtime.run(story)
    assert reached[0] > 1
