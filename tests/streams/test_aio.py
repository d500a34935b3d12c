"""What asyncio has of its own: upgrades of live connections, transports and protocols, TLS in TLS, cancellation."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from handclasp import (
    AlertReceived,
    CallbackError,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    ConfigError,
    CredentialRequest,
    HandshakeTimeout,
    PeerNotTLS,
    ServerConfig,
    TLSError,
    TLSVersion,
    TruncatedError,
    TrustStore,
    aio,
)
from handclasp.io import aio_pipe
from handclasp.io.aio_transport import TLSTransport
from handclasp.lab.ca import CertificateAuthority

from .peers import Outcome, Wire, client_context, converse
from .runtimes import Asyncio, Uvloop

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=[Asyncio, Uvloop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    if request.param is Uvloop:
        pytest.importorskip("uvloop")
    loop: Asyncio = request.param()
    return loop.run


def where(server: asyncio.Server) -> tuple[str, int]:
    host, port = server.sockets[0].getsockname()
    return host, port


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


@asynccontextmanager
async def plain(handle: Callable[..., Coroutine[Any, Any, None]], limit: int = 2**16) -> AsyncIterator[int]:
    """A server without TLS, whose one handler has to succeed."""
    done: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda reader, writer: done.put_nowait(asyncio.create_task(handle(reader, writer))), "127.0.0.1", 0, limit=limit
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        await (await done.get())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    await close(writer)


# --- habits ----------------------------------------------------------------------------------------------------------


def test_streams_are_those_of_asyncio(run: Run, client_config: ClientConfig, server_config: ServerConfig) -> None:
    async def story() -> None:
        server = await aio.start_server(echo, "127.0.0.1", 0, server_config)
        assert isinstance(server, asyncio.Server) or server.sockets
        host, port = where(server)
        reader, writer = await aio.open_connection(host, port, client_config)
        assert isinstance(reader, asyncio.StreamReader)
        assert type(writer) is asyncio.StreamWriter
        assert writer.get_extra_info("peername") == (host, port)
        assert writer.get_extra_info("tls_info").verified_chain
        assert writer.get_extra_info("ssl_object", "none") == "none"
        assert writer.can_write_eof()
        writer.writelines([b"one\n", b"two\n", b"thr"])
        assert await reader.readline() == b"one\n"
        assert await reader.readuntil(b"w") == b"tw"
        assert await reader.readexactly(2) == b"o\n"
        writer.write_eof()
        writer.write_eof()
        with pytest.raises(RuntimeError):
            writer.write(b"more")
        assert await reader.read() == b"thr"
        assert reader.at_eof()
        await close(writer)
        server.close()
        await server.wait_closed()

    run(story)


def test_unix_sockets(run: Run, client_config: ClientConfig, server_config: ServerConfig, tmp_path: Path) -> None:
    async def story() -> None:
        server = await aio.start_unix_server(echo, tmp_path / "socket", server_config)
        reader, writer = await aio.open_unix_connection(tmp_path / "socket", client_config, server_name="localhost")
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        await close(writer)
        server.close()
        await server.wait_closed()

    run(story)


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"whole\nha")
    await writer.drain()
    assert isinstance(writer.transport, TLSTransport)
    raw = writer.get_extra_info("socket")
    with socket.socket(fileno=socket.dup(raw.fileno())) as below:
        below.shutdown(socket.SHUT_WR)
    with pytest.raises(TLSError):
        await reader.read(1)
    writer.close()


async def until(come: Callable[[], object]) -> None:
    """For what nothing else tells of."""
    async with asyncio.timeout(10):
        while not come():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_an_error_comes_behind_the_data(run: Run, client_config: ClientConfig, server_config: ServerConfig) -> None:
    async def story() -> None:
        async with await aio.start_server(cut, "127.0.0.1", 0, server_config) as server:
            reader, writer = await aio.open_connection(*where(server), client_config)
            with pytest.raises(TruncatedError) as caught:
                await reader.read()
            assert isinstance(caught.value.__cause__, asyncio.IncompleteReadError)
            assert caught.value.__cause__.partial == b"whole\nha"
            writer.close()
        for method, whole in (("readline", b"whole\n"), ("readexactly", b"whole\n"), ("read", b"whole\nha")):
            async with await aio.start_server(cut, "127.0.0.1", 0, server_config) as server:
                reader, writer = await aio.open_connection(*where(server), client_config)
                await until(reader.exception)
                read = getattr(reader, method)
                arguments = {"readline": (), "readexactly": (6,), "read": (100,)}[method]
                assert await read(*arguments) == whole
                for _ in range(2):
                    with pytest.raises(TruncatedError):
                        await read(*arguments)
                with pytest.raises(TruncatedError):
                    await writer.drain()
                with pytest.raises(TruncatedError):
                    await close(writer)

    run(story)


def test_a_connection_that_failed_is_not_at_its_end(
    run: Run, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """Who reads until `at_eof` meets the error, though there is no data before it."""

    async def read_all(reader: asyncio.StreamReader) -> None:
        while not reader.at_eof():
            blocks.append(await reader.read(100))

    async def story() -> None:
        async with await aio.start_server(cut, "127.0.0.1", 0, server_config) as server:
            reader, writer = await aio.open_connection(*where(server), client_config)
            await until(reader.exception)
            with pytest.raises(TruncatedError):
                await read_all(reader)
            assert b"".join(blocks) == b"whole\nha"
            blocks.clear()
            writer.close()

    blocks: list[bytes] = []

    run(story)


def test_a_refusal_reaches_the_client(run: Run, trust: TrustStore, server_config: ServerConfig) -> None:
    async def story() -> None:
        strict = server_config.replace(client_auth=ClientAuth(verify=trust))
        async with await aio.start_server(echo, "127.0.0.1", 0, strict) as server:
            reader, writer = await aio.open_connection(*where(server), ClientConfig(trust=trust))
            with pytest.raises(AlertReceived):
                await reader.read(1)
            with pytest.raises(AlertReceived):
                await close(writer)

    run(story)


def test_a_paused_reader_makes_its_peer_wait(
    run: Run, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """Nobody reads: what waits on either side stays small, and all of it arrives in the end."""
    total = 40 * 2**20

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(total // 2**16):
            writer.write(bytes(2**16))
            await writer.drain()
            sizes.append(writer.transport.get_write_buffer_size())
        await close(writer)

    async def story() -> None:
        async with await aio.start_server(flood, "127.0.0.1", 0, server_config) as server:
            reader, writer = await aio.open_connection(*where(server), client_config)
            before = -1
            while len(sizes) != before:
                before = len(sizes)
                await asyncio.sleep(0.1)
            assert len(sizes) < total // 2**16
            assert max(sizes) < 2**18
            count = 0
            while data := await reader.read(2**18):
                count += len(data)
            assert count == total
            await close(writer)

    sizes: list[int] = []
    run(story)


def test_an_answer_that_had_to_wait_for_room_is_sent(
    run: Run, trust: TrustStore, server_config: ServerConfig, authority: CertificateAuthority
) -> None:
    """Of TLS, not of the application, while the peer takes nothing."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(writer.transport, TLSTransport)
        writer.transport.request_certificate(ClientAuth(verify=trust))
        await answered.wait()
        await reader.readexactly(size)
        transport = writer.transport
        await until(lambda: transport.info.verified_chain)
        await close(writer)

    async def story() -> None:
        config = ClientConfig(
            trust=trust, credentials=[authority.issue("me", usage="client")], post_handshake_auth=True
        )
        async with await aio.start_server(handle, "127.0.0.1", 0, server_config) as server, asyncio.timeout(10):
            reader, writer = await aio.open_connection(*where(server), config)
            assert isinstance(writer.transport, TLSTransport)
            connection = writer.transport._stream.connection
            writer.write(bytes(size))
            await until(lambda: connection.has_data_to_send)
            answered.set()
            assert await reader.read() == b""
            await close(writer)

    size, answered = 16 * 2**20, asyncio.Event()
    run(story)


def test_a_connection_that_is_lost_takes_nothing_more(
    run: Run, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """Who waits for room hears so, as does a close behind data that nobody took."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await full.wait()
        writer.transport.abort()

    async def story() -> None:
        for closes in (False, True):
            full.clear()
            async with await aio.start_server(reset, "127.0.0.1", 0, server_config) as server:
                _, writer = await aio.open_connection(*where(server), client_config)
                transport: Any = writer.transport
                writer.write(bytes(64 * 2**20))
                if closes:
                    writer.close()
                    await asyncio.sleep(0)
                full.set()
                for _ in range(2):
                    with pytest.raises(ConnectionError):
                        await (writer.wait_closed() if closes else writer.drain())
                if closes:
                    await transport._task
                writer.close()

    full = asyncio.Event()
    run(story)


# --- upgrades --------------------------------------------------------------------------------------------------------


def test_starttls(run: Run, client_config: ClientConfig, server_config: ServerConfig) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\r\n"
        writer.write(b"220 go ahead\r\n")
        reader, writer = await aio.start_tls(reader, writer, server_config)
        assert await reader.readline() == b"now in private\n"
        writer.write(b"yes\n")
        await close(writer)

    async def story() -> None:
        async with plain(handle) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            before = writer
            writer.write(b"STARTTLS\r\n")
            assert await reader.readline() == b"220 go ahead\r\n"
            reader, writer = await aio.start_tls(reader, writer, client_config, server_name="localhost")
            writer.write(b"now in private\n")
            assert await reader.read() == b"yes\n"
            await close(writer)
            await before.wait_closed()

    run(story)


@pytest.mark.parametrize("limit", [1, 2**16])
def test_a_client_hello_that_is_there_before_anybody_waits_for_it(
    run: Run, client_config: ClientConfig, server_config: ServerConfig, limit: int
) -> None:
    """It comes in one piece with the last plain word; with a small limit the plain side has stopped reading by then."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(2) == b"OK"
        reader, writer = await aio.start_tls(reader, writer, server_config)
        assert await reader.read() == b"in private"
        writer.write(b"yes")
        await close(writer)

    def client(port: int) -> Outcome:
        outcome = Outcome()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            connection = ClientConnection(client_config, "localhost")
            sock.sendall(b"OK" + connection.data_to_send())
            converse(Wire(sock), connection, b"in private", outcome)
        return outcome

    async def story() -> None:
        async with plain(handle, limit=limit) as port:
            outcome = await asyncio.to_thread(client, port)
        assert outcome.received == b"yes"
        assert outcome.ended

    run(story)


@pytest.mark.attack(15, "STARTTLS injection")
def test_plain_words_behind_starttls_are_never_read_as_protected(
    run: Run, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """Command injection: what somebody on the way has put behind STARTTLS fails the handshake."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\r\n"
        writer.write(b"220 go ahead\r\n")
        with pytest.raises(PeerNotTLS):
            await aio.start_tls(reader, writer, server_config)

    async def story() -> None:
        async with plain(handle) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"STARTTLS\r\nMAIL FROM:<mallory>\r\n")
            assert await reader.readline() == b"220 go ahead\r\n"
            with pytest.raises((TLSError, OSError)):
                await aio.start_tls(reader, writer, client_config, server_name="localhost")

    run(story)


@pytest.mark.parametrize("limit", [1, 2**16])
def test_an_end_behind_bytes_that_wait(
    run: Run, client_config: ClientConfig, server_config: ServerConfig, limit: int
) -> None:
    """A ClientHello, and no more to come: there is nothing to wait for, in or outside of another connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        plain_reader: Any = reader
        if limit > 1:  # or the reader has stopped reading before it
            await until(lambda: plain_reader._eof)
        with pytest.raises(TruncatedError):
            await aio.start_tls(reader, writer, server_config, timeout=5)

    async def story() -> None:
        hello = ClientConnection(client_config, "localhost").data_to_send()
        for outer in (False, True):
            async with asyncio.timeout(10), plain(handle, limit) if not outer else private(handle, limit) as port:
                reader, writer = await (
                    aio.open_connection("127.0.0.1", port, client_config)
                    if outer
                    else asyncio.open_connection("127.0.0.1", port)
                )
                writer.write(hello)
                writer.write_eof()
                await reader.read()
                await close(writer)

    @asynccontextmanager
    async def private(handle: Callable[..., Coroutine[Any, Any, None]], limit: int) -> AsyncIterator[int]:
        done: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()

        def connected(*streams: Any) -> None:
            done.put_nowait(asyncio.create_task(handle(*streams)))

        async with await aio.start_server(connected, "127.0.0.1", 0, server_config, limit=limit) as server:
            yield where(server)[1]
            await (await done.get())

    run(story)


def test_what_is_lost_is_not_upgraded(run: Run, client_config: ClientConfig) -> None:
    """It fails at once, without a wait for the deadline."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        for how in ("reset", "aborted"):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                raw, protocol = await loop.create_connection(asyncio.Protocol, *listener.getsockname())
                for transport in (writer.transport, raw):
                    sock, _ = listener.accept()
                    with sock:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        if how == "aborted":
                            transport.abort()
                await until(lambda: writer.transport.is_closing() and raw.is_closing())  # noqa: B023
                with pytest.raises(ConnectionResetError):
                    await aio.start_tls(reader, writer, client_config, server_name="localhost", timeout=5)
                with pytest.raises(ConnectionResetError):
                    await aio.upgrade(raw, protocol, client_config, server_name="localhost", timeout=5)

    run(story)


def test_bytes_that_were_read_are_given_back(
    run: Run, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(3)
        assert first == b"\x16\x03\x01"
        await echo(*await aio.start_tls(reader, writer, server_config, received=first))

    async def story() -> None:
        async with plain(handle) as port:
            reader, writer = await aio.open_connection("127.0.0.1", port, client_config)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            await close(writer)

    run(story)


@pytest.mark.parametrize("depth", [2, 3])
def test_tls_in_tls(run: Run, client_config: ClientConfig, server_config: ServerConfig, depth: int) -> None:
    data = bytes(range(256)) * 2000

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(depth):
            reader, writer = await aio.start_tls(reader, writer, server_config)
        await echo(reader, writer)

    async def story() -> None:
        async with plain(handle) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(depth):
                reader, writer = await aio.start_tls(reader, writer, client_config, server_name="localhost")
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
            await close(writer)

    run(story)


def test_inside_of_the_standard_librarys_tls(
    run: Run, client_config: ClientConfig, server_config: ServerConfig, identity: Path, authority: Any
) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader, writer = await aio.start_tls(reader, writer, server_config)
        writer.write(await reader.readexactly(5))
        await close(writer)

    async def story() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity)
        tasks: list[asyncio.Task[None]] = []
        server = await asyncio.start_server(
            lambda reader, writer: tasks.append(asyncio.create_task(handle(reader, writer))),
            "127.0.0.1",
            0,
            ssl=context,
        )
        async with server:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1",
                server.sockets[0].getsockname()[1],
                ssl=client_context(authority),
                server_hostname="localhost",
            )
            reader, writer = await aio.start_tls(reader, writer, client_config, server_name="localhost")
            writer.write(b"inner")
            assert await reader.read() == b"inner"
            await close(writer)
            await asyncio.gather(*tasks)

    run(story)


def test_the_standard_librarys_tls_inside_of_ours(
    client_config: ClientConfig, server_config: ServerConfig, identity: Path, authority: Any
) -> None:
    """asyncio's own `start_tls` takes our transport; uvloop's takes none but its own."""
    data = bytes(range(256)) * 2000

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity)
        upgrading = asyncio.create_task(writer.start_tls(context))
        for _ in range(3):
            await asyncio.sleep(0)
        ready.set()  # not before: asyncio loses what its reader has got by then
        await upgrading
        assert await reader.readexactly(len(data)) == data
        writer.write(b"inner")
        await close(writer)

    ready = asyncio.Event()

    async def story() -> None:
        done: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()
        server = await aio.start_server(
            lambda reader, writer: done.put_nowait(asyncio.create_task(handle(reader, writer))),
            "127.0.0.1",
            0,
            server_config,
        )
        async with server:
            reader, writer = await aio.open_connection(*where(server), client_config)
            await ready.wait()
            await writer.start_tls(client_context(authority), server_hostname="localhost")
            writer.write(data)
            assert await reader.read() == b"inner"
            await close(writer)
            await (await done.get())

    Asyncio().run(story)


# --- transports and protocols ----------------------------------------------------------------------------------------


class Recorder(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self, arrived: asyncio.Event | None = None) -> None:
        self.arrived = arrived
        self.told: list[str] = []
        self.received = bytearray()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.transport: TLSTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TLSTransport)
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.arrived is not None:
            self.arrived.set()

    def eof_received(self) -> bool:
        self.told.append("eof")
        return False

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.lost.set_result(exc)


class Filled(asyncio.BufferedProtocol):
    """Takes its data in a buffer of its own, some at a time."""

    def __init__(self) -> None:
        self.buffer = bytearray(3000)
        self.received = bytearray()
        self.ended = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]

    def eof_received(self) -> None:
        self.ended.set_result(None)


def test_protocols(run: Run, client_config: ClientConfig, server_config: ServerConfig) -> None:
    async def story() -> None:
        servers: list[Recorder] = []
        arrived = asyncio.Event()

        def factory() -> Recorder:
            servers.append(Recorder(arrived))
            return servers[0]

        async with await aio.create_server(factory, "127.0.0.1", 0, server_config) as server:
            port = server.sockets[0].getsockname()[1]
            transport, client = await aio.create_connection(Filled, "127.0.0.1", port, client_config)
            assert transport.get_protocol() is client
            transport.write(b"hello")
            await arrived.wait()
            theirs = servers[0].transport
            assert theirs.export("label") == transport.export("label")
            assert theirs.channel_binding("tls-exporter") == transport.channel_binding("tls-exporter")
            transport.update_keys(request_peer=True)
            theirs.set_write_buffer_limits(10_000)
            theirs.write(bytes(10 * 2**20))
            assert servers[0].told == ["made", "pause"]
            theirs.close()
            assert theirs.is_closing()
            assert await servers[0].lost is None
            await client.ended
            assert len(client.received) == 10 * 2**20
            assert servers[0].told == ["made", "pause", "resume", "lost"]
            transport.close()

    run(story)


def test_pausing_and_resuming(run: Run, client_config: ClientConfig, server_config: ServerConfig) -> None:
    async def story() -> None:
        async with await aio.start_server(echo, "127.0.0.1", 0, server_config) as server:
            address = where(server)
            transport, protocol = await aio.create_connection(Recorder, *address, client_config)
            transport.pause_reading()
            assert not transport.is_reading()
            transport.write(bytes(100_000))
            transport.write_eof()
            await asyncio.sleep(0.1)
            assert not protocol.received
            transport.resume_reading()
            assert await protocol.lost is None
            assert len(protocol.received) == 100_000
            assert protocol.told == ["made", "eof", "lost"]

    run(story)


def test_upgrading_a_transport(run: Run, client_config: ClientConfig, server_config: ServerConfig) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await echo(*await aio.start_tls(reader, writer, server_config))

    class Upgraded(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.told.append("made")

    async def story() -> None:
        async with plain(handle) as port:
            loop = asyncio.get_running_loop()
            raw, protocol = await loop.create_connection(Upgraded, "127.0.0.1", port)
            transport = await aio.upgrade(raw, protocol, client_config, server_name="localhost")
            transport.write(b"upgraded")
            transport.write_eof()
            assert await protocol.lost is None
            assert protocol.received == b"upgraded"
            assert protocol.told == ["made", "eof", "lost"]

    run(story)


def test_upgrading_a_transport_that_does_not_read(
    run: Run, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """As with `loop.start_tls`: who is about to upgrade may have stopped reading first."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await echo(*await aio.start_tls(reader, writer, server_config))

    class Paused(asyncio.Protocol):
        def __init__(self) -> None:
            self.received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def data_received(self, data: bytes) -> None:
            self.received.set_result(data)

    async def story() -> None:
        async with plain(handle) as port:
            raw, protocol = await asyncio.get_running_loop().create_connection(Paused, "127.0.0.1", port)
            raw.pause_reading()
            transport = await aio.upgrade(raw, protocol, client_config, server_name="localhost")
            transport.write(b"upgraded")
            assert await protocol.received == b"upgraded"
            transport.close()

    run(story)


def test_a_protocol_that_hands_over(run: Run, client_config: ClientConfig, server_config: ServerConfig) -> None:
    """Amid the data: what follows is for the next, record by record and buffer by buffer."""

    class First(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            taken.append(data)
            transport.set_protocol(Second())

    class Second(asyncio.BufferedProtocol):
        def get_buffer(self, sizehint: int) -> bytearray:
            self.buffer = bytearray(10)
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            taken.append(bytes(self.buffer[:nbytes]))
            transport.set_protocol(third)

    class Third:
        """No base class makes a protocol."""

        def data_received(self, data: bytes) -> None:
            rest.extend(data)

        def eof_received(self) -> None:
            pass

        def connection_lost(self, exc: Exception | None) -> None:
            lost.set_result(exc)

    transport: TLSTransport
    lost: asyncio.Future[Exception | None]

    async def story() -> None:
        nonlocal transport, lost
        lost = asyncio.get_running_loop().create_future()
        async with await aio.start_server(echo, "127.0.0.1", 0, server_config) as server:
            transport, _ = await aio.create_connection(First, *where(server), client_config)
            transport.write(b"a" * 16384 + b"b" * 16384)
            transport.write_eof()
            assert await lost is None
        assert len(taken) == 2
        assert len(taken[1]) == 10
        assert b"".join(taken) + rest == b"a" * 16384 + b"b" * 16384

    taken: list[bytes] = []
    rest = bytearray()
    third: Any = Third()
    run(story)


def test_a_protocol_that_fails(run: Run, client_config: ClientConfig, server_config: ServerConfig) -> None:
    """Its connection ends, wherever it was called from, and the loop's handler is told."""

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(TLSError, OSError):
            await echo(reader, writer)
        writer.close()

    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    async def story() -> None:
        loop = asyncio.get_running_loop()
        for pauses in (False, True):
            told: list[dict[str, Any]] = []
            handler = loop.get_exception_handler()

            def note(_: asyncio.AbstractEventLoop, context: dict[str, Any], told: list[Any] = told) -> None:
                told.append(context)

            loop.set_exception_handler(note)
            async with await aio.start_server(drop, "127.0.0.1", 0, server_config) as server:
                transport, protocol = await aio.create_connection(Failing, *where(server), client_config)
                if pauses:
                    transport.pause_reading()
                transport.write(b"x")
                if pauses:
                    transport.resume_reading()
                await protocol.lost
            loop.set_exception_handler(handler)
            assert [type(context["exception"]) for context in told] == [ZeroDivisionError]

    run(story)


def test_a_protocol_that_fails_at_the_end(run: Run, client_config: ClientConfig, server_config: ServerConfig) -> None:
    """Whoever had the transport before an upgrade hears of it all the same."""

    class Failing(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            raise ZeroDivisionError

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await echo(*await aio.start_tls(reader, writer, server_config))

    async def story() -> None:
        async with plain(handle) as port, asyncio.timeout(10):
            reader, before = await asyncio.open_connection("127.0.0.1", port)
            _, writer = await aio.start_tls(reader, before, client_config, server_name="localhost")
            writer.transport.set_protocol(Failing())
            loop = asyncio.get_running_loop()
            handler = loop.get_exception_handler()
            loop.set_exception_handler(lambda _, context: told.append(context))
            writer.transport.close()
            await before.wait_closed()
            loop.set_exception_handler(handler)
            assert [type(context["exception"]) for context in told] == [ZeroDivisionError]

    told: list[dict[str, Any]] = []
    run(story)


@pytest.mark.parametrize("option", ["ssl", "server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout"])
def test_the_arguments_of_the_ssl_module_are_refused(
    run: Run, client_config: ClientConfig, server_config: ServerConfig, option: str
) -> None:
    """They would put asyncio's own TLS below ours."""

    async def story() -> None:
        habit: dict[str, Any] = {option: 1}
        for called in (
            aio.open_connection("localhost", 443, client_config, **habit),
            aio.start_server(echo, "127.0.0.1", 0, server_config, **habit),
            aio.start_unix_server(echo, "nowhere", server_config, **habit),
        ):
            with pytest.raises(ConfigError, match=option) as caught:
                await called
            assert caught.value.code == "ssl-argument"

    run(story)


@pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2])
def test_half_close_is_for_tls_1_3(
    run: Run, client_config: ClientConfig, server_config: ServerConfig, version: TLSVersion
) -> None:
    async def story() -> None:
        async with await aio.start_server(echo, "127.0.0.1", 0, server_config) as server:
            _, writer = await aio.open_connection(*where(server), client_config.replace(versions=[version]))
            assert writer.can_write_eof() == (version is TLSVersion.TLS_1_3)
            await close(writer)

    run(story)


def test_a_factory_that_fails(run: Run, client_config: ClientConfig, server_config: ServerConfig) -> None:
    def fail() -> asyncio.Protocol:
        raise ZeroDivisionError

    async def story() -> None:
        async with await aio.create_server(Recorder, "127.0.0.1", 0, server_config) as server:
            with pytest.raises(ZeroDivisionError):
                await aio.create_connection(fail, *where(server), client_config)

    run(story)


# --- answers ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def asking(config: ServerConfig, trust: TrustStore) -> AsyncIterator[tuple[str, int]]:
    """A server that wants to know who its clients are."""

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(writer.transport, TLSTransport)
        writer.transport.request_certificate(ClientAuth(verify=trust))
        with suppress(TLSError, OSError):
            await reader.read()
        writer.close()

    async with await aio.start_server(ask, "127.0.0.1", 0, config) as server:
        yield where(server)


def test_an_answer_that_is_cancelled(
    run: Run, client_config: ClientConfig, server_config: ServerConfig, trust: TrustStore
) -> None:
    """By whoever it waited for: it is one that failed, and the connection is not left waiting for it."""

    async def cancelled(request: CredentialRequest) -> None:
        waiting = asyncio.ensure_future(asyncio.sleep(10))
        waiting.cancel()
        await waiting

    async def story() -> None:
        config = client_config.replace(credentials=cancelled, post_handshake_auth=True)
        async with asking(server_config, trust) as address:
            reader, writer = await aio.open_connection(*address, config)
            async with asyncio.timeout(10):
                with pytest.raises(CallbackError):
                    await reader.read()
            writer.close()

    run(story)


def test_an_answer_that_nobody_waits_for_any_more(
    run: Run, client_config: ClientConfig, server_config: ServerConfig, trust: TrustStore
) -> None:
    """The connection is lost, and with it the task that looked for one."""

    async def never(request: CredentialRequest) -> None:
        try:
            asked.set()
            await asyncio.Event().wait()
        finally:
            gone.set()

    async def story() -> None:
        config = client_config.replace(credentials=never, post_handshake_auth=True)
        async with asking(server_config, trust) as address, asyncio.timeout(10):
            _, writer = await aio.open_connection(*address, config)
            await asked.wait()
            writer.transport.abort()
            await gone.wait()

    asked, gone = asyncio.Event(), asyncio.Event()
    run(story)


# --- ends ------------------------------------------------------------------------------------------------------------


def test_a_cancelled_connection_leaves_nothing(run: Run, client_config: ClientConfig) -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.setblocking(False)
            loop = asyncio.get_running_loop()
            port = silent.getsockname()[1]
            task = asyncio.create_task(aio.open_connection("127.0.0.1", port, client_config))
            sock, _ = await loop.sock_accept(silent)
            with sock:
                assert await loop.sock_recv(sock, 10_000)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await loop.sock_recv(sock, 10_000) == b""

    run(story)


def test_a_close_sends_all_that_was_written(run: Run, client_config: ClientConfig, server_config: ServerConfig) -> None:
    """However slowly the peer takes it."""
    data = bytes(8 * 2**20)

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await close(writer)

    async def story() -> None:
        async with await aio.start_server(flood, "127.0.0.1", 0, server_config) as server:
            reader, writer = await aio.open_connection(*where(server), client_config)
            await asyncio.sleep(1.2)  # longer than a close waits for a peer's close_notify
            assert len(await reader.read()) == len(data)
            await close(writer)

    run(story)


def test_a_close_gives_up_on_a_peer_that_takes_nothing(
    run: Run, client_config: ClientConfig, server_config: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio_pipe, "STALL_TIMEOUT", 0.2)
    ends: list[BaseException | None] = []
    given_up = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(64 * 2**20))
        writer.close()
        with pytest.raises(ConnectionAbortedError) as caught:
            await writer.wait_closed()
        ends.append(caught.value)
        given_up.set()

    async def story() -> None:
        async with await aio.start_server(flood, "127.0.0.1", 0, server_config) as server:
            reader, writer = await aio.open_connection(*where(server), client_config)
            await given_up.wait()
            writer.transport.abort()
            while await reader.read(2**20):
                pass
            assert reader.at_eof()

    run(story)
    assert len(ends) == 1


def test_an_abort_is_at_once(run: Run, client_config: ClientConfig, server_config: ServerConfig) -> None:
    async def story() -> None:
        async with await aio.create_server(Recorder, "127.0.0.1", 0, server_config) as server:
            transport, protocol = await aio.create_connection(Recorder, *where(server), client_config)
            transport.abort()
            transport.write(b"ignored")
            transport.close()
            assert await protocol.lost is None
            assert protocol.told == ["made", "lost"]
            with pytest.raises(RuntimeError):
                transport.get_protocol()

    run(story)


def test_a_slow_peer_of_an_upgrade(run: Run, client_config: ClientConfig) -> None:
    async def story() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            with pytest.raises(HandshakeTimeout):
                await aio.start_tls(reader, writer, client_config, server_name="localhost", timeout=0.1)

    run(story)


def test_what_cannot_work_is_refused_before_anything_is_sent(
    run: Run, client_config: ClientConfig, server_config: ServerConfig, tmp_path: Path
) -> None:
    async def story() -> None:
        with pytest.raises(ConfigError):
            await aio.open_unix_connection(tmp_path / "nowhere", client_config, server_name="no name!")
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            with pytest.raises(ConfigError):
                await aio.start_tls(reader, writer, server_config, server_name="localhost")
            await close(writer)

    run(story)
