"""Workloads over loopback TCP in asyncio: client and server in one event loop, by the same library.

Both ends are in this process, so its processor time is measured, the kernel's part of it included.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from .contest import Effort, contest
from .identity import Identity
from .loopback import CHUNK, DOWNLOAD, ECHO, QUIT
from .peers import installed
from .peers.base import Library, Unsupported
from .results import Cost, Results


def workloads(libraries: Iterable[Library], identity: Identity, effort: Effort, size: int, results: Results) -> None:
    """Echo, download of `size` bytes, connections."""
    loop = asyncio.new_event_loop()
    try:
        running = {}
        for library in libraries:
            try:
                connect, serve = library.asyncio_client(identity), library.asyncio_server(identity)
            except Unsupported as reason:
                results.skipped.append(f"asyncio with {library.name}: {reason}")
                continue
            server = loop.run_until_complete(serve(_answer))
            try:
                loop.run_until_complete(_connect(connect, server.sockets[0].getsockname()[1]))
            except Exception as error:
                results.skipped.append(f"asyncio with {library.name}: {error!r}")
                server.close()
                continue
            running[library.name] = connect, server
        if len(running) < 2 or "handclasp" not in running:
            return
        _measure(loop, running, effort, size, results)
        for _, server in running.values():
            server.close()
            loop.run_until_complete(server.wait_closed())
    finally:
        loop.close()


def _measure(
    loop: asyncio.AbstractEventLoop, running: dict[str, Any], effort: Effort, size: int, results: Results
) -> None:
    goals = {"ssl": 1.0}
    ports = {name: server.sockets[0].getsockname()[1] for name, (_, server) in running.items()}
    run = loop.run_until_complete
    streams = {name: run(connect(ports[name])) for name, (connect, _) in running.items()}
    for _, writer in streams.values():
        writer.write(ECHO)
    echoing = {name: _calling(run, _echo, *stream) for name, stream in streams.items()}
    results.add("asyncio: echo of 64 B", contest(echoing, effort), goals)
    for _, writer in streams.values():
        run(_close(writer))
    downloads = {name: _calling(run, _download, connect, ports[name], size) for name, (connect, _) in running.items()}
    once = Effort(max(5, effort.rounds // 6), 0.0)
    results.add(f"asyncio: download of {size >> 20} MiB", contest(downloads, once), {"ssl": 1.2}, size)
    connecting = {name: _calling(run, _connect, connect, ports[name]) for name, (connect, _) in running.items()}
    results.add("asyncio: connection", contest(connecting, effort), goals)


def _calling(run: Callable[[Any], object], work: Callable[..., Any], *arguments: Any) -> Callable[[], object]:
    return lambda: run(work(*arguments))


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(bytes(64))
    await reader.readexactly(64)


async def _download(connect: Callable[[int], Any], port: int, size: int) -> None:
    reader, writer = await connect(port)
    writer.write(DOWNLOAD + size.to_bytes(8))
    left = size
    while left:
        left -= len(await reader.read(65_536))
    await _close(writer)


async def _connect(connect: Callable[[int], Any], port: int) -> None:
    _, writer = await connect(port)
    writer.write(QUIT)
    await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.close()
        await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        wanted = await reader.read(1)
        if wanted == ECHO:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        elif wanted == DOWNLOAD:
            left = int.from_bytes(await reader.readexactly(8))
            data = bytes(CHUNK)
            while left > 0:
                writer.write(data[: min(CHUNK, left)])
                await writer.drain()
                left -= CHUNK
            await reader.read(1)
    await _close(writer)


# --- memory of connections that do nothing ---------------------------------------------------------------------------


def idle_memory(libraries: Iterable[Library], identity: Identity, count: int, results: Results) -> None:
    """Resident memory of one established connection, half of a pair: each library in a process of its own."""
    found: dict[str, float] = {}
    for library in libraries:
        try:
            library.asyncio_client(identity)
        except Unsupported:
            continue
        spawning = multiprocessing.get_context("spawn")
        ours, theirs = spawning.Pipe()
        child = spawning.Process(target=_weigh, args=(library.name, identity, count, theirs), daemon=True)
        child.start()
        theirs.close()
        try:
            found[library.name] = ours.recv() / 1024
        except EOFError:
            results.skipped.append(f"memory of idle connections with {library.name}: its process ended early")
        child.join()
    others = ", ".join(f"{name} {value:.0f}" for name, value in found.items() if name != "handclasp")
    if "handclasp" in found:
        results.costs.append(Cost("memory of an idle asyncio connection", found["handclasp"], "KiB", 40.0, others))


def _weigh(name: str, identity: Identity, count: int, parent: Connection) -> None:
    parent.send(asyncio.run(_grown(name, identity, count)))


async def _grown(name: str, identity: Identity, count: int) -> float:
    library = next(library for library in installed() if library.name == name)
    connect = library.asyncio_client(identity)
    server = await library.asyncio_server(identity)(_answer)
    port = server.sockets[0].getsockname()[1]
    held = [await connect(port) for _ in range(10)]
    before = _resident()
    held += [await connect(port) for _ in range(count)]
    grown = (_resident() - before) / (2 * count)
    for _, writer in held:
        writer.close()
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=10)  # until each end has seen the other go
    return grown


def _resident() -> int:
    """Bytes of memory in use; at its highest so far, where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return pages * resource.getpagesize()
