"""Foreign programs as peers on loopback: what they say can be waited for, and none outlives its test."""

from __future__ import annotations

import fcntl
import os
import queue
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import IO, Final, Self

import pytest

import handclasp
from handclasp import (
    ClientConfig,
    ClientConnection,
    ConnectionInfo,
    EarlyDataReceived,
    ServerConfig,
    ServerConnection,
    TLSSocket,
)
from handclasp.trace import Direction, KeysChanged, RecordMoved, TraceEvent
from interop.identities import NAME
from interop.peers import located

DEADLINE: Final = 30.0
"""Seconds for anything to happen."""

HOST: Final = "127.0.0.1"

MEBIBYTE: Final = 1 << 20


def tool(name: str) -> str:
    """The path of a program; the test is skipped where there is none."""
    path = located(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@contextmanager
def once_a_run(factory: pytest.TempPathFactory, name: str) -> Generator[Path, None, None]:
    """A folder that all workers of one run share, for one of them at a time: who finds it empty fills it."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / name
    folder.mkdir(exist_ok=True)
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def build(*command: str | Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a compiler; the test is skipped when it is not up to it."""
    parts = [str(part) for part in command]
    # the first time, Go compiles its own library too
    built = subprocess.run(
        parts, env={**os.environ, **(environment or {})}, capture_output=True, timeout=100, check=False
    )
    if built.returncode:
        pytest.skip(f"{parts[0]} cannot build the peer: {built.stderr.decode()[-500:]}")


def digits(size: int) -> bytes:
    """Random lines of digits: text that no interactive program takes for a command of its own."""
    chance = Random(size)
    return b"".join(b"%063d\n" % chance.getrandbits(200) for _ in range(size // 64))


class Program:
    """A program under way. Its input never blocks the test; leaving the context kills it, with all that it started."""

    def __init__(self, *command: str | Path, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [str(part) for part in command],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=None if environment is None else {**os.environ, **environment},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.output = Output(self._process.stdout)
        self.errors = Output(self._process.stderr)
        self._input: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, args=(self._process.stdin,), daemon=True)
        self._writer.start()

    def say(self, data: bytes) -> None:
        """Put data on its standard input, sooner or later."""
        self._input.put(data)

    def hang_up(self) -> None:
        """End its standard input, after what was said."""
        self._input.put(None)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def finish(self) -> int:
        """Wait until it ends; its exit status."""
        return self._process.wait(DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.hang_up()
        self._writer.join()
        self.output.close()
        self.errors.close()

    def _write(self, pipe: IO[bytes]) -> None:
        with pipe, suppress(OSError):  # the program may be gone
            while (data := self._input.get()) is not None:
                view = memoryview(data)
                while view:
                    view = view[pipe.write(view) or 0 :]


@contextmanager
def listening(
    command: Callable[[int], Sequence[str | Path]], ready: Callable[[Program], object]
) -> Generator[tuple[Program, int], None, None]:
    """A server that cannot choose a port by itself, and its port: a free one, which may be gone when it wants it.

    `ready` waits until it says that it listens. Such servers cannot be kept to one address either, so they run only
    where `make interop` asks for it, in a network of its own.
    """
    if not os.environ.get("HANDCLASP_INTEROP"):
        pytest.skip("it listens on every interface: `make interop` runs it")
    for attempt in count(1):
        port = _free_port()
        with Program(*command(port)) as server:
            try:
                ready(server)
            except AssertionError:
                if attempt == 3:
                    raise
                continue
            yield server, port
            return


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


class Output:
    """What a program has written to one of its outputs so far."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._data = bytearray()
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def expect(self, pattern: str, timeout: float = DEADLINE) -> str:
        """Wait until a pattern has been written; its first group, or all of it."""
        compiled = re.compile(pattern.encode())
        with self._changed:
            self._changed.wait_for(lambda: compiled.search(self._data) or self._ended, timeout)
            found = compiled.search(bytes(self._data))
        assert found is not None, f"no {pattern!r} in {bytes(self._data[-4000:])!r}"
        return found.group(1 if found.lastindex else 0).decode()

    def found(self, pattern: str) -> list[str]:
        """The first group of a pattern, for each time it has been written so far."""
        with self._changed:
            return [found.decode() for found in re.findall(pattern.encode(), bytes(self._data))]

    def holds(self, data: bytes) -> bool:
        """Wait until these bytes have been written in one piece."""
        with self._changed:
            return self._changed.wait_for(
                lambda: (len(self._data) >= len(data) and data in self._data) or self._ended, DEADLINE
            ) and (data in self._data)

    def all(self) -> bytes:
        """Everything, once the program has closed this output."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended, DEADLINE), "the program does not come to an end"
            return bytes(self._data)

    def so_far(self) -> bytes:
        """What there is."""
        with self._changed:
            return bytes(self._data)

    def close(self) -> None:
        self._reader.join()
        self._pipe.close()

    def _read(self) -> None:
        while chunk := self._pipe.read(1 << 16):
            with self._changed:
                self._data += chunk
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


# --- our end ---------------------------------------------------------------------------------------------------------


def connect(port: int | str, config: ClientConfig, name: str = NAME) -> TLSSocket:
    """Our client, connected to a program on this machine. What it waits for comes in time, or it fails."""
    tls = handclasp.connect(HOST, int(port), config, server_name=name, timeout=DEADLINE)
    tls.settimeout(DEADLINE)
    return tls


class Host:
    """Our server for one connection after another, each accepted by the test itself, which so sees how it fails."""

    def __init__(self, patience: float = DEADLINE) -> None:
        self._socket = socket.create_server((HOST, 0))
        self._socket.settimeout(patience)
        self.port: int = self._socket.getsockname()[1]
        self.address = f"{HOST}:{self.port}"

    def take(self) -> socket.socket:
        """The next connection, nothing said yet."""
        accepted, _ = self._socket.accept()
        accepted.settimeout(DEADLINE)
        return accepted

    def accept(self, config: ServerConfig) -> TLSSocket:
        """The next connection, hands shaken. Raises what our handshake raises."""
        accepted, _ = self._socket.accept()
        tls = handclasp.wrap(accepted, config, timeout=DEADLINE)
        tls.settimeout(DEADLINE)
        return tls

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@contextmanager
def greeting(config: ServerConfig) -> Generator[int, None, None]:
    """Our server, which has nothing to say; its port."""

    def serve(listener: handclasp.Listener) -> None:
        for tls in listener:
            tls.close()

    with handclasp.listen((HOST, 0), config) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.address[1]


class Wire:
    """A connection of ours without a stream around it, driven by hand over TCP."""

    def __init__(self, sock: socket.socket, connection: ClientConnection | ServerConnection) -> None:
        self._socket = sock
        self._connection = connection
        self.early = b""
        """Early data that came."""
        self.flush()

    @classmethod
    def dial(cls, port: int | str, connection: ClientConnection) -> Self:
        return cls(socket.create_connection((HOST, int(port)), timeout=DEADLINE), connection)

    def flush(self) -> None:
        self._socket.sendall(self._connection.data_to_send())

    def until_established(self) -> None:
        while not self._connection.established:
            self._connection.receive_data(self._socket.recv(1 << 16))
            self.early += b"".join(e.data for e in self._connection.events() if isinstance(e, EarlyDataReceived))
            self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        with suppress(OSError):
            self.flush()
        self._socket.close()


class WebServer:
    """Our `listen`, answering each request with the length and the bytes of what was posted, or a fixed page."""

    PAGE: Final = digits(MEBIBYTE)

    def __init__(self, config: ServerConfig) -> None:
        self.infos: queue.SimpleQueue[ConnectionInfo] = queue.SimpleQueue()
        self._listener = handclasp.listen((HOST, 0), config, timeout=DEADLINE)
        self.port: int = self._listener.address[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        for tls in self._listener:
            tls.settimeout(DEADLINE)
            with tls, suppress(handclasp.TLSError, OSError):
                self.infos.put(tls.info)
                self._answer(tls)

    def _answer(self, tls: TLSSocket) -> None:
        with tls.makefile("rb") as reader:
            request = reader.readline()
            length = 0
            while (line := reader.readline().strip().lower()) != b"":
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            body = reader.read(length) if request.startswith(b"POST") else self.PAGE
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        tls.sendall(head.encode() + body)


def read_exactly(tls: TLSSocket, size: int) -> bytes:
    """This many bytes, or fewer if the peer ends before."""
    received = bytearray()
    while len(received) < size and (chunk := tls.recv(min(size - len(received), 1 << 16))):
        received += chunk
    return bytes(received)


def read_to_end(tls: TLSSocket) -> bytes:
    """All until the peer says close_notify."""
    received = bytearray()
    while chunk := tls.recv(1 << 16):
        received += chunk
    return bytes(received)


@contextmanager
def meanwhile(action: Callable[[], object]) -> Generator[None, None, None]:
    """Do something beside the body; its failure is the test's."""
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(action)
        yield
        under_way.result(DEADLINE)


def check_echo(tls: TLSSocket, data: bytes) -> None:
    """Send data to a peer that sends it back, reading and writing at once."""
    with meanwhile(lambda: tls.sendall(data)):
        assert read_exactly(tls, len(data)) == data


def echo(tls: TLSSocket) -> None:
    """Send back what comes, until the peer has finished; then finish too."""
    while chunk := tls.recv(1 << 16):
        tls.sendall(chunk)
    tls.shutdown_write()


class Watch:
    """A trace that counts what a test wants to know. Give it to a configuration."""

    def __init__(self) -> None:
        self._events: list[TraceEvent] = []

    def __call__(self, event: TraceEvent) -> None:
        self._events.append(event)

    def updates(self, direction: Direction) -> int:
        """How often the keys of a direction were changed after the handshake."""
        return sum(
            isinstance(event, KeysChanged) and event.generation > 0 and event.direction is direction
            for event in self._events
        )

    def largest_record(self, direction: Direction) -> int:
        """The largest protected record of a direction, as ciphertext without its header, in bytes."""
        return max(
            len(event.record) - 5
            for event in self._events
            if isinstance(event, RecordMoved) and event.direction is direction and event.record[0] == 23
        )
