"""Each way to run a TLS connection behind one small face, so that one suite tries them all."""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import anyio
import pytest
from anyio.abc import Listener, SocketAttribute, SocketStream, TaskGroup

import handclasp
from handclasp import ClientConfig, ConnectionInfo, HandshakeTimeout, ServerConfig, TLSError, TLSSocket
from handclasp import anyio as over_anyio

from .peers import AGREE, ASK, PATIENCE, read_line

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, None]]


class Conn(Protocol):
    """A TLS connection whose handshake is done."""

    @property
    def info(self) -> ConnectionInfo: ...

    async def read(self, most: int = 65536) -> bytes: ...

    async def write(self, data: bytes) -> None: ...

    async def finish(self) -> None:
        """Half-close."""
        ...

    async def close(self) -> None: ...

    async def call(self, name: str, *arguments: Any) -> None:
        """A method of the connection that only TLS has."""
        ...


class Runtime(Protocol):
    def run(self, story: Callable[[], Coroutine[Any, Any, T]]) -> T: ...

    async def connect(self, port: int, config: ClientConfig, timeout: float, buffer: int | None = None) -> Conn: ...

    async def upgrade(self, port: int, config: ClientConfig, timeout: float) -> Conn:
        """TLS on a live connection, after some words in the clear."""
        ...

    def serve(
        self,
        config: ServerConfig,
        handle: Callable[[Conn], Coroutine[Any, Any, None]],
        timeout: float,
        buffer: int | None = None,
    ) -> AbstractAsyncContextManager[int]: ...

    def serve_upgrades(
        self, config: ServerConfig, handle: Callable[[Conn], Coroutine[Any, Any, None]], timeout: float
    ) -> AbstractAsyncContextManager[int]:
        """A server of that kind. A handshake that fails is nobody's loss."""
        ...

    async def together(self, *work: Work) -> None:
        """All of it at once."""
        ...

    async def within(self, seconds: float, conn: Conn, most: int) -> bytes:
        """A read that may time out."""
        ...

    async def elsewhere(self, work: Callable[[], T]) -> T:
        """Call something that blocks."""
        ...


SOCKET = socket.socket
"""What is dialled with."""


def dial(port: int, buffer: int | None) -> socket.socket:
    sock = SOCKET()
    if buffer is not None:
        set_buffers(sock, buffer)
    try:
        sock.connect(("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return sock


def listening(buffer: int | None) -> socket.socket:
    """Those that are accepted have the same buffers."""
    sock = socket.create_server(("127.0.0.1", 0))
    if buffer is not None:
        set_buffers(sock, buffer)
    return sock


def set_buffers(sock: Any, size: int) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


# --- blocking sockets ------------------------------------------------------------------------------------------------


@dataclass
class BlockingConn:
    tls: TLSSocket

    @property
    def info(self) -> ConnectionInfo:
        return self.tls.info

    async def read(self, most: int = 65536) -> bytes:
        return self.tls.recv(most)

    async def write(self, data: bytes) -> None:
        self.tls.sendall(data)

    async def finish(self) -> None:
        self.tls.shutdown_write()

    async def close(self) -> None:
        self.tls.close()

    async def call(self, name: str, *arguments: Any) -> None:
        getattr(self.tls, name)(*arguments)


class Blocking:
    def run(self, story: Callable[[], Coroutine[Any, Any, T]]) -> T:
        coroutine = story()
        try:
            coroutine.send(None)
        except StopIteration as finished:
            value: T = finished.value
            return value
        pytest.fail("something suspended")

    async def connect(self, port: int, config: ClientConfig, timeout: float, buffer: int | None = None) -> Conn:
        return BlockingConn(handclasp.wrap(dial(port, buffer), config, server_name="localhost", timeout=timeout))

    async def upgrade(self, port: int, config: ClientConfig, timeout: float) -> Conn:
        sock = dial(port, None)
        sock.settimeout(PATIENCE)
        sock.sendall(ASK)
        assert read_line(sock) == AGREE
        sock.settimeout(None)
        return BlockingConn(handclasp.wrap(sock, config, server_name="localhost", timeout=timeout))

    @asynccontextmanager
    async def serve_upgrades(
        self, config: ServerConfig, handle: Callable[[Conn], Coroutine[Any, Any, None]], timeout: float
    ) -> AsyncGenerator[int, None]:
        threads: list[threading.Thread] = []

        async def upgraded(sock: socket.socket) -> None:
            assert read_line(sock) == ASK
            sock.sendall(AGREE)
            with suppress(TLSError, OSError):
                await handle(BlockingConn(handclasp.wrap(sock, config, timeout=timeout)))

        def loop() -> None:
            with suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    threads.append(
                        threading.Thread(target=self.run, args=(lambda sock=sock: upgraded(sock),), daemon=True)
                    )
                    threads[-1].start()

        with socket.create_server(("127.0.0.1", 0)) as listener:
            acceptor = threading.Thread(target=loop, daemon=True)
            acceptor.start()
            try:
                yield listener.getsockname()[1]
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                for thread in (acceptor, *threads):
                    thread.join(10)
                    assert not thread.is_alive()

    @asynccontextmanager
    async def serve(
        self,
        config: ServerConfig,
        handle: Callable[[Conn], Coroutine[Any, Any, None]],
        timeout: float,
        buffer: int | None = None,
    ) -> AsyncGenerator[int, None]:
        threads: list[threading.Thread] = []

        def loop() -> None:
            for tls in listener:
                threads.append(
                    threading.Thread(target=self.run, args=(lambda tls=tls: handle(BlockingConn(tls)),), daemon=True)
                )
                threads[-1].start()

        with handclasp.listen(listening(buffer), config, timeout=timeout) as listener:
            acceptor = threading.Thread(target=loop, daemon=True)
            acceptor.start()
            try:
                yield listener.address[1]
            finally:
                listener.close()
                for thread in (acceptor, *threads):
                    thread.join(10)
                    assert not thread.is_alive()

    async def together(self, *work: Work) -> None:
        failed: list[BaseException] = []

        def run(one: Work) -> None:
            try:
                self.run(one)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=run, args=(one,), daemon=True) for one in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        if failed:
            raise failed[0]

    async def within(self, seconds: float, conn: Conn, most: int) -> bytes:
        assert isinstance(conn, BlockingConn)
        conn.tls.settimeout(seconds)
        try:
            return conn.tls.recv(most)
        finally:
            conn.tls.settimeout(None)

    async def elsewhere(self, work: Callable[[], T]) -> T:
        return work()


# --- sockets that do not block ---------------------------------------------------------------------------------------


@dataclass
class ReadyConn(BlockingConn):
    """Waits for its socket outside of every call."""

    async def read(self, most: int = 65536) -> bytes:
        return self.patiently(lambda: self.tls.recv(most))

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.patiently(lambda view=view: self.tls.send(view), selectors.EVENT_WRITE) :]  # type: ignore[misc]

    async def finish(self) -> None:
        self.patiently(self.tls.shutdown_write, selectors.EVENT_WRITE)

    async def close(self) -> None:
        self.tls.settimeout(None)
        self.tls.close()

    def patiently(self, call: Callable[[], T], event: int = selectors.EVENT_READ, seconds: float = 20) -> T:
        """Until it does not block; `event` is what another thread does not wait for, and a handshake may want both."""
        ends = time.monotonic() + seconds
        while True:
            try:
                return call()
            except BlockingIOError:
                if not self.tls.stream.established and self.tls.wants_write:
                    self._wait(selectors.EVENT_WRITE, ends)
                else:
                    self._wait(event, ends)

    def _wait(self, event: int, ends: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.tls.fileno(), event)
            if not selector.select(max(0.0, ends - time.monotonic())):
                raise TimeoutError


class NonBlocking(Blocking):
    """As clients; their servers are the blocking ones, whose handshakes are done in this way."""

    async def connect(self, port: int, config: ClientConfig, timeout: float, buffer: int | None = None) -> Conn:
        return self._shaken(dial(port, buffer or 4096), config, timeout)

    async def upgrade(self, port: int, config: ClientConfig, timeout: float) -> Conn:
        sock = dial(port, 4096)
        sock.settimeout(PATIENCE)
        sock.sendall(ASK)
        assert read_line(sock) == AGREE
        return self._shaken(sock, config, timeout)

    def _shaken(self, sock: socket.socket, config: ClientConfig, timeout: float) -> Conn:
        sock.setblocking(False)
        conn = ReadyConn(handclasp.wrap(sock, config, server_name="localhost", timeout=timeout))
        try:
            conn.patiently(conn.tls.do_handshake, seconds=timeout)
        except HandshakeTimeout:
            raise
        except TimeoutError:
            conn.tls.do_handshake()  # it knows that it is late
            raise
        return conn

    async def within(self, seconds: float, conn: Conn, most: int) -> bytes:
        assert isinstance(conn, ReadyConn)
        return conn.patiently(lambda: conn.tls.recv(most), seconds=seconds)


# --- asyncio ---------------------------------------------------------------------------------------------------------


@dataclass
class AsyncioConn:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def info(self) -> ConnectionInfo:
        info = self.writer.get_extra_info("tls_info")
        assert isinstance(info, ConnectionInfo)
        return info

    async def read(self, most: int = 65536) -> bytes:
        return await self.reader.read(most)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def finish(self) -> None:
        self.writer.write_eof()

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError, TLSError):  # it speaks of the whole connection, as asyncio's own does
            await self.writer.wait_closed()

    async def call(self, name: str, *arguments: Any) -> None:
        getattr(self.writer.transport, name)(*arguments)


class Asyncio:
    def factory(self) -> asyncio.AbstractEventLoop:
        return asyncio.new_event_loop()

    def run(self, story: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def checked() -> T:
            problems: list[dict[str, Any]] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
            try:
                return await story()
            finally:
                for _ in range(5):
                    await asyncio.sleep(0)
                await settled()
                assert not problems, problems

        with asyncio.Runner(loop_factory=self.factory) as runner:
            return runner.run(checked())

    async def connect(self, port: int, config: ClientConfig, timeout: float, buffer: int | None = None) -> Conn:
        sock = dial(port, buffer)
        opened = handclasp.aio.open_connection(sock=sock, config=config, server_name="localhost", timeout=timeout)
        return AsyncioConn(*await opened)

    @asynccontextmanager
    async def serve(
        self,
        config: ServerConfig,
        handle: Callable[[Conn], Coroutine[Any, Any, None]],
        timeout: float,
        buffer: int | None = None,
    ) -> AsyncGenerator[int, None]:
        tasks: list[asyncio.Task[None]] = []

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.append(asyncio.create_task(handle(AsyncioConn(reader, writer))))

        server = await handclasp.aio.start_server(
            connected, None, None, config, timeout=timeout, sock=listening(buffer)
        )
        async with server:
            yield server.sockets[0].getsockname()[1]
            while tasks:
                await tasks.pop()

    async def upgrade(self, port: int, config: ClientConfig, timeout: float) -> Conn:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(ASK)
            assert await reader.readline() == AGREE
            upgraded = await handclasp.aio.start_tls(reader, writer, config, server_name="localhost", timeout=timeout)
        except BaseException:
            writer.close()
            raise
        return AsyncioConn(*upgraded)

    @asynccontextmanager
    async def serve_upgrades(
        self, config: ServerConfig, handle: Callable[[Conn], Coroutine[Any, Any, None]], timeout: float
    ) -> AsyncGenerator[int, None]:
        tasks: list[asyncio.Task[None]] = []

        async def upgraded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == ASK
            writer.write(AGREE)
            with suppress(TLSError, OSError):
                await handle(AsyncioConn(*await handclasp.aio.start_tls(reader, writer, config, timeout=timeout)))

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.append(asyncio.create_task(upgraded(reader, writer)))

        async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]
            while tasks:
                await tasks.pop()

    async def together(self, *work: Work) -> None:
        await asyncio.gather(*(one() for one in work))

    async def within(self, seconds: float, conn: Conn, most: int) -> bytes:
        async with asyncio.timeout(seconds):
            return await conn.read(most)

    async def elsewhere(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)


class Uvloop(Asyncio):
    def factory(self) -> asyncio.AbstractEventLoop:
        return pytest.importorskip("uvloop").new_event_loop()  # type: ignore[no-any-return]


async def settled() -> None:
    """All that goes on beside us ends soon: closes have a bound."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, late = await asyncio.wait(others, timeout=10)
        assert not late


# --- anyio and trio --------------------------------------------------------------------------------------------------


@dataclass
class AnyioConn:
    stream: over_anyio.TLSStream

    @property
    def info(self) -> ConnectionInfo:
        return self.stream.extra(over_anyio.TLSAttribute.info)

    async def read(self, most: int = 65536) -> bytes:
        try:
            return await self.stream.receive(most)
        except anyio.EndOfStream:
            return b""

    async def write(self, data: bytes) -> None:
        await self.stream.send(data)

    async def finish(self) -> None:
        await self.stream.send_eof()

    async def close(self) -> None:
        await self.stream.aclose()

    async def call(self, name: str, *arguments: Any) -> None:
        await getattr(self.stream, name)(*arguments)


@dataclass
class Anyio:
    backend: str

    def run(self, story: Callable[[], Coroutine[Any, Any, T]]) -> T:
        pytest.importorskip(self.backend)
        return anyio.run(story, backend=self.backend)

    async def connect(self, port: int, config: ClientConfig, timeout: float, buffer: int | None = None) -> Conn:
        below = await anyio.connect_tcp("127.0.0.1", port)
        if buffer is not None:  # a window that is open already cannot shrink: the other buffer stays as it is
            sock = below.extra(SocketAttribute.raw_socket)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        return AnyioConn(await over_anyio.wrap(below, config, server_name="localhost", timeout=timeout))

    @asynccontextmanager
    async def serve(
        self,
        config: ServerConfig,
        handle: Callable[[Conn], Coroutine[Any, Any, None]],
        timeout: float,
        buffer: int | None = None,
    ) -> AsyncGenerator[int, None]:
        async def connected(stream: over_anyio.TLSStream) -> None:
            await handle(AnyioConn(stream))

        async def accept(listener: Listener[SocketStream], handling: TaskGroup) -> None:
            if buffer is not None:
                set_buffers(listener.extra(SocketAttribute.raw_socket), buffer)
            await over_anyio.serve(connected, listener, config, timeout=timeout, task_group=handling)

        async with self._accepting(accept) as port:
            yield port

    async def upgrade(self, port: int, config: ClientConfig, timeout: float) -> Conn:
        below = await anyio.connect_tcp("127.0.0.1", port)
        try:
            await below.send(ASK)
            line = b""
            while not line.endswith(b"\n"):
                line += await below.receive()
            assert line == AGREE
            return AnyioConn(await over_anyio.wrap(below, config, server_name="localhost", timeout=timeout))
        except BaseException:
            await anyio.aclose_forcefully(below)
            raise

    @asynccontextmanager
    async def serve_upgrades(
        self, config: ServerConfig, handle: Callable[[Conn], Coroutine[Any, Any, None]], timeout: float
    ) -> AsyncGenerator[int, None]:
        async def connected(below: SocketStream) -> None:
            line = b""
            while not line.endswith(b"\n"):
                line += await below.receive()
            assert line == ASK
            await below.send(AGREE)
            with suppress(TLSError, OSError, anyio.BrokenResourceError):
                await handle(AnyioConn(await over_anyio.wrap(below, config, timeout=timeout)))

        async def accept(listener: Listener[SocketStream], handling: TaskGroup) -> None:
            await listener.serve(connected, handling)

        async with self._accepting(accept) as port:
            yield port

    @asynccontextmanager
    async def _accepting(
        self, accept: Callable[[Listener[SocketStream], TaskGroup], Coroutine[Any, Any, None]]
    ) -> AsyncGenerator[int, None]:
        """Accept until the end; who is being served then is served to the end."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        async with listener, anyio.create_task_group() as accepting, anyio.create_task_group() as handling:
            accepting.start_soon(accept, listener, handling)
            yield listener.extra(SocketAttribute.local_port)
            handling.cancel_scope.shield = True
            accepting.cancel_scope.cancel()

    async def together(self, *work: Work) -> None:
        async with anyio.create_task_group() as group:
            for one in work:
                group.start_soon(one)

    async def within(self, seconds: float, conn: Conn, most: int) -> bytes:
        with anyio.fail_after(seconds):
            return await conn.read(most)

    async def elsewhere(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work)


RUNTIMES: dict[str, Runtime] = {
    "blocking": Blocking(),
    "non-blocking": NonBlocking(),
    "asyncio": Asyncio(),
    "uvloop": Uvloop(),
    "anyio": Anyio("asyncio"),
    "trio": Anyio("trio"),
}
