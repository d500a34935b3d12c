"""Many connections, slow ones and a long run: small in a test run; `make load` writes down the figures at full size."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance.data import keep, measured
from handclasp import ClientConfig, ServerConfig, aio
from handclasp.lab.ca import CertificateAuthority

from .load_peers import echo, resident, room_for_descriptors
from .runtimes import Asyncio


@dataclass(frozen=True)
class Size:
    idle: int
    slow: int
    rounds: int
    deadline: float
    """Seconds for a handshake."""
    handshakes: int
    mebibytes: int


FULL = os.environ.get("HANDCLASP_LOAD") == "full"
SIZE = Size(5000, 1000, 3, 10.0, 20_000, 2048) if FULL else Size(200, 60, 1, 3.0, 150, 32)
PER_CONNECTION = 40 * 1024
"""Most resident memory of an idle connection, in bytes."""
GROWTH = 16 * 2**20 if FULL else 8 * 2**20

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell what is resident"),
    pytest.mark.timeout(3600 if FULL else 120),
]


def record(what: str, goal: str, figure: str) -> None:
    """One row of the page, which only a run at full size may write."""
    print(f"{what}: {figure}")
    if not FULL:
        return
    rows = [row for row in measured("load").get("rows", []) if row[0] != what]
    keep(
        "load",
        {
            "title": "Load on the asyncio server",
            "command": "make load",
            "text": f"On loopback, server and clients in processes of their own, where it matters: Python"
            f" {platform.python_version()}, {os.cpu_count()} processors of {platform.machine()}.",
            "columns": ["what", "goal", "measured"],
            "rows": sorted([*rows, [what, goal, figure]]),
        },
    )


class Helper:
    """Another process of this test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline() or pytest.fail("it ended early")

    def ask(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self.line())


@contextmanager
def helper(*arguments: object) -> Iterator[Helper]:
    with subprocess.Popen(
        [sys.executable, "-m", "streams.load_peers", *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Helper(process)
        finally:
            process.kill()


@pytest.fixture
def ca(authority: CertificateAuthority, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.pem())
    return path


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@asynccontextmanager
async def echoing(config: ServerConfig) -> AsyncIterator[int]:
    async with await aio.start_server(echo, "127.0.0.1", 0, config, backlog=1000) as server:
        yield server.sockets[0].getsockname()[1]


async def exchange(port: int, config: ClientConfig, data: bytes = b"x") -> float:
    """A connection, one message there and back, and its end: seconds."""
    began = time.perf_counter()
    reader, writer = await aio.open_connection("127.0.0.1", port, config)
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    writer.close()
    await writer.wait_closed()
    return time.perf_counter() - began


def per_connection(kind: str, count: int, identity: Path, ca: Path) -> float:
    """Bytes that a server's memory grows by with each connection that is open and idle."""
    with helper("serve", kind, identity, 60) as server:
        port = int(server.line())
        with helper("idle", port, 20, ca) as first:
            first.line()
            before = server.ask()
            with helper("idle", port, count, ca) as clients:
                clients.line()
                return (server.ask() - before) / count


def test_idle_connections_are_small(identity: Path, ca: Path) -> None:
    """Beside asyncio with the `ssl` module, in the same run."""
    ours = per_connection("ours", SIZE.idle, identity, ca)
    theirs = per_connection("ssl", SIZE.idle // 5, identity, ca)
    record(f"{SIZE.idle:,} idle connections", "at most 40 KiB each", f"{ours / 1024:.1f} KiB each")
    record(f"{SIZE.idle // 5:,} idle connections of asyncio with `ssl`", "", f"{theirs / 1024:.1f} KiB each")
    assert ours <= PER_CONNECTION
    assert ours < theirs


@pytest.mark.attack(68, "slow clients")
def test_slow_clients_are_reaped_while_others_are_served(client_config: ClientConfig, identity: Path, ca: Path) -> None:
    unloaded: list[float] = []
    loaded: list[float] = []
    ends: list[float] = []

    async def served(port: int, seconds: float) -> list[float]:
        until = time.monotonic() + seconds
        took = [await exchange(port, client_config)]
        while time.monotonic() < until:
            took.append(await exchange(port, client_config))
        return took

    with helper("serve", "ours", identity, SIZE.deadline) as server:
        port = int(server.line())
        Asyncio().run(lambda: served(port, 1))
        for _ in range(SIZE.rounds):
            unloaded += Asyncio().run(lambda: served(port, SIZE.deadline / 2))
            with helper("dawdle", port, SIZE.slow) as slow:
                assert slow.line() == "open\n"
                loaded += Asyncio().run(lambda: served(port, SIZE.deadline / 2))
                ends += map(float, slow.line().split())
    ratio = statistics.quantiles(loaded, n=100)[98] / statistics.quantiles(unloaded, n=100)[98]
    record(
        f"{SIZE.slow:,} slow clients, deadline {SIZE.deadline:g} s",
        "sent away at the deadline",
        f"after {min(ends):.1f} to {max(ends):.1f} s",
    )
    record(
        f"honest clients beside {SIZE.slow:,} slow ones",
        "p99 at most twice that without them",
        f"p99 {statistics.quantiles(loaded, n=100)[98] * 1000:.1f} ms, {ratio:.2f} times that without them"
        f" ({len(unloaded):,} and {len(loaded):,} connections)",
    )
    assert min(ends) > SIZE.deadline - 0.5
    if FULL:
        assert max(ends) < SIZE.deadline + 2
        assert ratio <= 2


def test_a_long_run_leaves_nothing_behind(server_config: ServerConfig, client_config: ClientConfig) -> None:
    block = bytes(2**20)

    async def story() -> None:
        async with echoing(server_config) as port:

            async def many(handshakes: int, mebibytes: int) -> None:
                for _ in range(handshakes):
                    await exchange(port, client_config)
                for _ in range(mebibytes // 8):
                    await exchange(port, client_config, block * 4)  # four there, four back

            await many(SIZE.handshakes // 5, min(SIZE.mebibytes, 64))
            before = resident(), descriptors()
            began = time.perf_counter()
            await many(SIZE.handshakes, SIZE.mebibytes)
            took = time.perf_counter() - began
            grown, more = resident() - before[0], descriptors() - before[1]
        record(
            f"{SIZE.handshakes:,} handshakes and {SIZE.mebibytes:,} MiB, both sides in one process",
            f"at most {GROWTH // 2**20} MiB and no descriptor more",
            f"{grown / 2**20:+.1f} MiB resident, {more:+d} descriptors, in {took:.0f} s",
        )
        assert grown <= GROWTH
        assert more <= 0

    Asyncio().run(story)


def test_failing_clients_leave_nothing_behind(server_config: ServerConfig, client_config: ClientConfig) -> None:
    async def story() -> None:
        async with echoing(server_config) as port:
            await exchange(port, client_config)
            before = descriptors()
            for _ in range(SIZE.slow):
                with socket.create_connection(("127.0.0.1", port)) as plain:
                    plain.sendall(b"nonsense" * 10)
            await exchange(port, client_config)
            async with asyncio.timeout(30):
                while descriptors() > before:  # noqa: ASYNC110  nothing tells when the last one is closed
                    await asyncio.sleep(0.01)

    room_for_descriptors()
    Asyncio().run(story)
