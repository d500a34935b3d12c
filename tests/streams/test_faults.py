"""Every adapter, with something going wrong at every place: it ends soon, leaves nothing, and never invents a byte."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest

from handclasp import ClientConfig, ServerConfig, TLSError

from .peers import Fault, Outcome, call, serving
from .runtimes import RUNTIMES, Anyio, Asyncio, Blocking, Conn, Runtime

SAYS = bytes(range(256)) * 12
"""What the peer says: 3 KiB, in one record."""
ANSWER = bytes(reversed(SAYS)) * 30
"""What we say: 90 KiB, in six records."""

BROKEN = (TLSError, OSError, anyio.BrokenResourceError)
SOON = 2.0

Work = Callable[[], Coroutine[Any, Any, None]]


class Seen:
    """What the side under test got."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = False

    async def converse(self, conn: Conn) -> None:
        """Write our part and read the peer's, to its end."""
        try:
            await conn.write(ANSWER[: len(ANSWER) // 2])
            while data := await conn.read(1000):
                self.received += data
            self.ended = True
            await conn.write(ANSWER[len(ANSWER) // 2 :])
        finally:
            await conn.close()


def places(total: int) -> list[int]:
    """After which byte a wire of so many may fail: the first and last ones, and some in between."""
    return sorted({1, 5, 6, total - 1, total - 23, total - 24, *range(1, total, max(1, total // 9))})


def client_story(runtime: Runtime, port: int, config: ClientConfig, seen: Seen, patience: float) -> Work:
    async def story() -> None:
        await seen.converse(await runtime.connect(port, config, patience))

    return story


@pytest.fixture
def whole(client_config: ClientConfig, server_config: ServerConfig) -> tuple[int, int]:
    """Bytes a server and a client send where nothing goes wrong."""
    with serving(server_config, SAYS) as (port, server):
        client = call(port, client_config, SAYS)
    return server.sent, client.sent


@pytest.mark.parametrize("fault", [Fault.EOF, Fault.RESET])
def test_a_server_that_vanishes(
    runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig, whole: tuple[int, int], fault: Fault
) -> None:
    for at in places(whole[0]):
        seen = Seen()
        with serving(server_config, SAYS, fault=fault, at=at) as (port, outcome):
            began = time.monotonic()
            with pytest.raises(BROKEN):
                runtime.run(client_story(runtime, port, client_config, seen, 5))
            assert time.monotonic() - began < SOON, at
        assert not seen.ended
        assert SAYS.startswith(seen.received)
        assert ANSWER.startswith(outcome.received)


def test_a_server_that_stops(
    runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig, whole: tuple[int, int]
) -> None:
    for at in (1, 700, whole[0] - len(SAYS) - 200, whole[0] - 10):
        seen = Seen()

        async def story(port: int, seen: Seen = seen) -> None:
            conn = await runtime.connect(port, client_config, 0.2)
            try:
                while data := await runtime.within(0.2, conn, 1000):
                    seen.received += data
                seen.ended = True
            finally:
                await conn.close()

        with serving(server_config, SAYS, fault=Fault.STALL, at=at) as (port, _):
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                runtime.run(partial(story, port))
            assert time.monotonic() - began < SOON, at
        assert not seen.ended
        assert SAYS.startswith(seen.received)


@pytest.mark.parametrize("fault", list(Fault))
def test_a_client_that_vanishes(
    runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig, whole: tuple[int, int], fault: Fault
) -> None:
    """Our server outlives all of them, and serves the next as if nothing had been."""
    faults = places(whole[1]) if fault is not Fault.STALL else (1, whole[1] - len(SAYS) - 100)
    all_seen: list[Seen] = []

    async def handle(conn: Conn) -> None:
        seen = Seen()
        all_seen.append(seen)
        with suppress(*BROKEN):
            await seen.converse(conn)

    async def story() -> None:
        async with runtime.serve(server_config, handle, 0.3) as port:
            for at in faults:
                began = time.monotonic()
                outcome = await runtime.elsewhere(partial(call, port, client_config, SAYS, fault=fault, at=at))
                assert time.monotonic() - began < SOON, at
                assert ANSWER.startswith(outcome.received)
            outcome = await runtime.elsewhere(lambda: call(port, client_config, SAYS))
            assert outcome.received == ANSWER
            assert outcome.ended

    runtime.run(story)
    assert all(SAYS.startswith(seen.received) for seen in all_seen)
    assert [seen.ended for seen in all_seen].count(True) == 1


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
def test_cancelled_at_every_point(name: str, client_config: ClientConfig, server_config: ServerConfig) -> None:
    """No socket and no task is left, and what the peer has got is what we said, without a gap."""
    runtime = RUNTIMES[name]
    assert isinstance(runtime, (Asyncio, Anyio))
    if name == "uvloop":
        pytest.importorskip("uvloop")
    points, seen, outcome = 0, Seen(), Outcome()
    for point in range(1, 200):
        seen = Seen()
        with serving(server_config, SAYS, piece=700) as (port, latest):
            outcome = latest
            began = time.monotonic()
            try:
                runtime.run(cancelled_at(point, client_story(runtime, port, client_config, seen, 5)))
            except Finished:
                break
            finally:
                assert time.monotonic() - began < SOON, point
        points = point
        assert ANSWER.startswith(outcome.received)
        assert SAYS.startswith(seen.received)
    assert points >= 3
    assert seen.received == SAYS
    assert outcome.received == ANSWER
