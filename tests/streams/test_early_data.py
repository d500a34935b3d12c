"""Early data through each adapter: sent with the first flight, told apart by the server, never sent twice."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest
from anyio.abc import SocketAttribute

import handclasp
import handclasp.aio
import handclasp.anyio
from handclasp import (
    ClientConfig,
    ClientSessions,
    Credential,
    EarlyData,
    ReplayGuard,
    ServerConfig,
    TicketKeys,
    TrustStore,
)


@pytest.fixture
def server(credential: Credential) -> ServerConfig:
    return ServerConfig(
        credentials=[credential], tickets=TicketKeys(), early_data=EarlyData(replay=ReplayGuard(), most=1000)
    )


@pytest.fixture
def client(trust: TrustStore) -> ClientConfig:
    return ClientConfig(trust=trust, sessions=ClientSessions())


WANTED = [(None, b""), (True, b"soon"), (True, b"soon")]
"""What the client knows of its early data, and what the server got: the first time there is no session yet."""


def test_blocking(client: ClientConfig, server: ServerConfig) -> None:
    seen: list[bool | None] = []
    with handclasp.listen(("127.0.0.1", 0), server) as listener:

        def serve() -> None:
            for _ in WANTED:
                with listener.accept() as tls:
                    got.append(tls.early_data)
                    tls.sendall(b"welcome")
                    assert tls.recv(100) == b"thanks"

        got: list[bytes] = []
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        for early_data in (b"", b"soon", b"soon"):
            with handclasp.connect(
                "127.0.0.1", listener.address[1], client, server_name="localhost", early_data=early_data
            ) as tls:
                assert tls.recv(100) == b"welcome"
                tls.sendall(b"thanks")
                seen.append(tls.info.early_data)
        thread.join(10)
    assert seen == [taken for taken, _ in WANTED]
    assert got == [data for _, data in WANTED]


def test_asyncio_streams(client: ClientConfig, server: ServerConfig) -> None:
    asyncio.run(_over_asyncio(client, server))


async def _over_asyncio(client: ClientConfig, server: ServerConfig) -> None:
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(writer.get_extra_info("tls_early_data"))
        writer.write(b"welcome")
        assert await reader.read(100) == b"thanks"
        writer.close()

    seen: list[bool | None] = []
    listening = await handclasp.aio.start_server(serve, "127.0.0.1", 0, server)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        for early_data in (b"", b"soon", b"soon"):
            reader, writer = await handclasp.aio.open_connection(
                "127.0.0.1", port, client, server_name="localhost", early_data=early_data
            )
            assert await reader.read(100) == b"welcome"
            writer.write(b"thanks")
            seen.append(writer.get_extra_info("tls_info").early_data)
            assert await reader.read(100) == b""
            writer.close()
            await writer.wait_closed()
    assert seen == [taken for taken, _ in WANTED]
    assert got == [data for _, data in WANTED]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio_streams(backend: str, client: ClientConfig, server: ServerConfig) -> None:
    anyio.run(_over_anyio, client, server, backend=backend)


async def _over_anyio(client: ClientConfig, server: ServerConfig) -> None:
    got: list[bytes] = []

    async def serve(stream: handclasp.anyio.TLSStream) -> None:
        async with stream:
            got.append(stream.early_data)
            await stream.send(b"welcome")
            assert await stream.receive(100) == b"thanks"

    seen: list[bool | None] = []
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with anyio.create_task_group() as tasks:
        for one in listener.listeners:
            tasks.start_soon(handclasp.anyio.serve, serve, one, server)
        port = listener.extra(SocketAttribute.local_port)
        for early_data in (b"", b"soon", b"soon"):
            async with await handclasp.anyio.connect(
                "127.0.0.1", port, client, server_name="localhost", early_data=early_data
            ) as stream:
                assert await stream.receive(100) == b"welcome"
                await stream.send(b"thanks")
                seen.append(stream.info.early_data)
        tasks.cancel_scope.cancel()
    await listener.aclose()
    assert seen == [taken for taken, _ in WANTED]
    assert got == [data for _, data in WANTED]
