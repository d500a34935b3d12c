"""Many connections, slow ones and a long run: `make load` prints the figures at full size, tests run them small."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from handclasp import ClientConfig, ServerConfig, TLSError, aio
from handclasp.lab.ca import CertificateAuthority

from .runtimes import Asyncio


@dataclass(frozen=True)
class Size:
    idle: int
    slow: int
    honest: int
    handshakes: int
    mebibytes: int


FULL = os.environ.get("HANDCLASP_LOAD") == "full"
SIZE = Size(5000, 1000, 100, 20_000, 2048) if FULL else Size(200, 60, 10, 150, 32)
DEADLINE = 10.0 if FULL else 3.0
PER_CONNECTION = 40 * 1024
"""Most resident memory of an idle connection, in bytes; asyncio with the `ssl` module takes 293 KiB."""
GROWTH = 16 * 2**20 if FULL else 8 * 2**20

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell what is resident"),
    pytest.mark.timeout(3600 if FULL else 120),
]

CALLER = """
import socket, ssl, sys
port, count, ca = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=ca)
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
kept = []
for _ in range(count):
    kept.append(context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost"))
    kept[-1].sendall(b"x")
    kept[-1].recv(1)
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def room_for_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(TLSError, OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def echoing(config: ServerConfig, timeout: float = 10.0) -> AsyncIterator[int]:
    async with await aio.start_server(echo, "127.0.0.1", 0, config, timeout=timeout, backlog=1000) as server:
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


def test_idle_connections_are_small(
    server_config: ServerConfig, client_config: ClientConfig, authority: CertificateAuthority, tmp_path: Path
) -> None:
    """They come from another process: the figure is the server's alone."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.pem())

    async def called(port: int, count: int) -> asyncio.subprocess.Process:
        caller = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            CALLER,
            str(port),
            str(count),
            str(ca),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert caller.stdout is not None
        assert await caller.stdout.readline() == b"open\n"
        return caller

    async def story() -> None:
        async with echoing(server_config) as port:
            for _ in range(20):
                await exchange(port, client_config)
            before = resident()
            caller = await called(port, SIZE.idle)
            each = (resident() - before) / SIZE.idle
            await exchange(port, client_config)
            assert caller.stdin is not None
            caller.stdin.close()
            await caller.wait()
        print(f"{SIZE.idle} idle connections: {each / 1024:.1f} KiB each")
        assert each <= PER_CONNECTION

    Asyncio().run(story)


@pytest.mark.attack(68, "slow clients")
def test_slow_clients_are_reaped_while_others_are_served(
    server_config: ServerConfig, client_config: ClientConfig
) -> None:
    async def dawdle(port: int) -> float:
        """A byte now and then, until the server has had enough: seconds."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = time.perf_counter()
        writer.write(b"\x16\x03\x01\x3f\xff")
        with suppress(OSError):
            while not reader.at_eof():
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await reader.read(100)
                writer.write(b"\x01")
        took = time.perf_counter() - began
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return took

    async def story() -> None:
        async with echoing(server_config, DEADLINE) as port:
            unloaded = [await exchange(port, client_config) for _ in range(SIZE.honest)]
            slow = [asyncio.create_task(dawdle(port)) for _ in range(SIZE.slow)]
            await asyncio.sleep(DEADLINE / 4)
            loaded = [await exchange(port, client_config) for _ in range(SIZE.honest)]
            assert not any(task.done() for task in slow)
            ends = await asyncio.gather(*slow)
        ratio = statistics.quantiles(loaded, n=100)[98] / statistics.quantiles(unloaded, n=100)[98]
        print(f"{SIZE.slow} slow clients: gone after {min(ends):.1f} to {max(ends):.1f} s; honest p99 x {ratio:.2f}")
        assert min(ends) > DEADLINE - 1
        assert max(ends) < DEADLINE + 2

    Asyncio().run(story)


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
        print(
            f"{SIZE.handshakes} handshakes and {SIZE.mebibytes} MiB in {took:.0f} s:"
            f" {grown / 2**20:+.1f} MiB resident, {more:+d} descriptors"
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
            for _ in range(200):
                if descriptors() <= before:
                    break
                await asyncio.sleep(0.01)
            assert descriptors() <= before

    Asyncio().run(story)
