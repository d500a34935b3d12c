"""Workloads over loopback TCP with blocking sockets: the server in a process of its own, by the same library."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from .contest import Effort, Operation, contest
from .identity import Identity
from .peers import installed
from .peers.base import Ends, Library, Unsupported, Wire
from .results import Results

ECHO, DOWNLOAD, QUIT = b"E", b"D", b"Q"
"""What a client wants, in its first byte: its bytes back, as many bytes as it says in the next eight, nothing."""

CHUNK = 256 * 1024


def workloads(libraries: Iterable[Library], identity: Identity, effort: Effort, size: int, results: Results) -> None:
    """Echo, download of `size` bytes, connections."""
    with _servers(libraries, identity) as running:
        clock = time.perf_counter
        wires = {name: ends.client(_dial(port)) for name, (ends, port) in running.items()}
        for wire in wires.values():
            wire.sendall(ECHO)
        goals = {"ssl": 1.0}
        standings = contest({name: _echoing(wire) for name, wire in wires.items()}, effort, clock)
        results.add("blocking TCP: echo of 64 B", standings, goals)
        for wire in wires.values():
            wire.close()
        once = Effort(max(5, effort.rounds // 6), 0.0)
        downloads = {name: _downloading(ends, port, size) for name, (ends, port) in running.items()}
        results.add(f"blocking TCP: download of {size >> 20} MiB", contest(downloads, once, clock), {"ssl": 1.2}, size)
        connecting = {name: _connecting(ends, port) for name, (ends, port) in running.items()}
        results.add("blocking TCP: connection", contest(connecting, effort, clock), goals)


def _dial(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _echoing(wire: Wire) -> Operation:
    message = bytes(64)

    def once() -> None:
        wire.sendall(message)
        got = 0
        while got < 64:
            got += len(wire.recv(64))

    return once


def _downloading(ends: Ends, port: int, size: int) -> Operation:
    def once() -> None:
        wire = ends.client(_dial(port))
        wire.sendall(DOWNLOAD + size.to_bytes(8))
        left = size
        while left:
            left -= len(wire.recv(65_536))
        wire.close()

    return once


def _connecting(ends: Ends, port: int) -> Operation:
    def once() -> None:
        wire = ends.client(_dial(port))
        wire.sendall(QUIT)
        wire.close()

    return once


@contextmanager
def _servers(libraries: Iterable[Library], identity: Identity) -> Iterator[dict[str, tuple[Ends, int]]]:
    """(how to connect, the port) of each library that can.

    Client and servers keep to processors of their own, where that can be said: else an echo takes three times as long
    when the two happen to be apart as when they share one, and a run measures where they were put.
    """
    ours_alone, theirs_alone = _processors()
    spawning = multiprocessing.get_context("spawn")
    running: dict[str, tuple[Ends, int]] = {}
    children = []
    for library in libraries:
        try:
            ends = library.ends(identity)
        except Unsupported:
            continue
        ours, theirs = spawning.Pipe()
        child = spawning.Process(target=_serve, args=(library.name, identity, theirs, theirs_alone), daemon=True)
        child.start()
        theirs.close()
        children.append((child, ours))
        with suppress(EOFError):  # its process ended early, and said why
            running[library.name] = ends, ours.recv()
    before = _keep_to(ours_alone)
    try:
        yield running
    finally:
        _keep_to(before)
        for child, ours in children:
            ours.close()
            child.join()


def _processors() -> tuple[set[int], set[int]]:
    """For the client, and for the servers: nothing where there is but one, or the system has no say."""
    first, *others = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return ({first}, set(others)) if others else (set(), set())


def _keep_to(processors: set[int]) -> set[int]:
    """Where this process may run; where it might before."""
    if not processors:
        return processors
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    return before


def _serve(name: str, identity: Identity, parent: Connection, processors: set[int]) -> None:
    """A thread for each connection, until the parent hangs up."""
    _keep_to(processors)
    ends = next(library for library in installed() if library.name == name).ends(identity)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        threading.Thread(target=_accept, args=(listening, ends), daemon=True).start()
        parent.send(listening.getsockname()[1])
        with suppress(EOFError):
            parent.recv()


def _accept(listening: socket.socket, ends: Ends) -> None:
    while True:
        try:
            sock, _ = listening.accept()
        except OSError:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_answer, args=(ends, sock), daemon=True).start()


def _answer(ends: Ends, sock: socket.socket) -> None:
    with suppress(OSError, EOFError):
        wire = ends.server(sock)
        wanted = wire.recv(1)
        if wanted == ECHO:
            while data := wire.recv(65_536):
                wire.sendall(data)
        elif wanted == DOWNLOAD:
            left = int.from_bytes(wire.recv(8))
            data = bytes(CHUNK)
            while left > 0:
                wire.sendall(data[: min(CHUNK, left)])
                left -= CHUNK
        with suppress(OSError):
            wire.recv(1)
        wire.close()
