"""Tickets at a moment of the application's choice, and keys that have had their time, whoever drives the connection."""

from __future__ import annotations

import threading
from datetime import datetime

import anyio
import pytest

from handclasp import (
    ClientAuth,
    ClientConfig,
    ClientSessions,
    ServerConfig,
    TicketKeys,
    TLSError,
    TLSVersion,
)
from handclasp.lab.ca import CertificateAuthority
from handclasp.sessions.session import Session
from handclasp.trace import Chosen, Direction, KeysChanged, Subject, TraceEvent

from .runtimes import Conn, Runtime
from .test_every_runtime import PATTERN, echo, read_all

ENDED = (TLSError, OSError, anyio.ClosedResourceError)
"""What a runtime says where nothing can be written any more."""


class Waiting(TicketKeys):
    """Ticket keys that have to be waited for."""

    blocking = True

    def seal(self, session: Session, now: datetime) -> bytes:
        return super().seal(session, now)


@pytest.mark.parametrize("tickets", [TicketKeys, Waiting])
def test_tickets_are_sent_when_it_suits(
    tickets: type[TicketKeys], runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    server = server_config.replace(tickets=tickets(), ticket_count=0)
    sessions = ClientSessions()
    client = client_config.replace(sessions=sessions)

    async def serve(conn: Conn) -> None:
        while wish := await conn.read():
            if wish == b"tickets":
                for count in (2, 1):  # the second before the first are sealed, where that takes time
                    await conn.call("send_tickets", count)
            await conn.write(b"here")
        await conn.close()

    async def story() -> list[tuple[bool, int]]:
        seen = []
        async with runtime.serve(server, serve, 10) as port:
            for wish in (b"nothing", b"tickets", b"nothing", b"tickets"):
                conn = await runtime.connect(port, client, 10)
                for _ in range(2):  # what is sent later comes later
                    await conn.write(wish)
                    wish = b"nothing"
                    assert await conn.read() == b"here"
                seen.append((conn.info.resumed, len(sessions)))
                await conn.close()
        return seen

    assert runtime.run(story) == [(False, 0), (False, 3), (True, 2), (True, 4)]


@pytest.mark.attack(51, "keys used too long")
def test_who_only_reads_asks_for_new_keys(
    runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """The client writes nothing, and closes nothing, before the server has heard of it."""
    asked, data = threading.Event(), PATTERN[: 1 << 17]

    def watch(event: TraceEvent) -> None:
        if isinstance(event, KeysChanged) and event.direction is Direction.RECEIVED and event.generation:
            asked.set()

    async def serve(conn: Conn) -> None:
        async def write() -> None:
            await conn.write(data)
            assert await runtime.elsewhere(lambda: asked.wait(10))
            await conn.write(b"under new keys")
            await conn.finish()

        async def listen() -> None:
            assert await read_all(conn) == b""

        await runtime.together(write, listen)
        assert conn.info.keys_renewed
        await conn.close()

    async def story() -> None:
        async with runtime.serve(server_config.replace(trace=watch), serve, 10) as port:
            conn = await runtime.connect(port, client_config.replace(key_bytes=1 << 16), 10)
            assert await read_all(conn) == data + b"under new keys"
            await conn.close()

    runtime.run(story)


@pytest.mark.attack(51, "keys used too long")
def test_in_tls12_the_end_of_the_keys_is_a_clean_one(
    runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    server = server_config.replace(versions=[TLSVersion.TLS_1_2], key_bytes=1 << 16)
    whys: list[str] = []

    async def serve(conn: Conn) -> None:
        try:
            while True:
                await conn.write(PATTERN[: 1 << 14])
        except ENDED:
            whys.append(conn.info.keys_expired)
        await conn.close()

    async def story() -> bytes:
        async with runtime.serve(server, serve, 10) as port:
            conn = await runtime.connect(port, client_config, 10)
            data = await read_all(conn)  # which a cut would end with TruncatedError
            await conn.close()
            return data

    assert runtime.run(story) == PATTERN[: 1 << 14] * 4
    assert "bytes as they may" in whys[0]


def test_a_reader_with_old_keys_is_told_when_it_writes(
    runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """TLS 1.2: what came is read; what is to be sent is refused, with the reason."""
    client = client_config.replace(versions=[TLSVersion.TLS_1_2], key_bytes=1 << 14)

    async def story() -> None:
        async with runtime.serve(server_config, echo, 10) as port:
            conn = await runtime.connect(port, client, 10)
            await conn.write(PATTERN[: 1 << 14])
            assert (await conn.read())[:100] == PATTERN[:100]
            with pytest.raises(ENDED):
                await conn.write(b"more")
            assert "bytes as they may" in conn.info.keys_expired
            await conn.close()

    runtime.run(story)


def test_a_client_that_only_reads_says_who_it_is(
    runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig, authority: CertificateAuthority
) -> None:
    mine = authority.issue("client.test", usage="client")
    client = client_config.replace(credentials=[mine], post_handshake_auth=True)
    named, known = threading.Event(), []

    def watch(event: TraceEvent) -> None:
        if isinstance(event, Chosen) and event.subject is Subject.PEER:
            named.set()

    async def serve(conn: Conn) -> None:
        known.append(conn.info.verified_chain)
        await conn.call("request_certificate", ClientAuth(verify=authority.trust))

        async def write() -> None:
            assert await runtime.elsewhere(lambda: named.wait(10))
            await conn.write(b"welcome")
            await conn.finish()

        async def listen() -> None:
            assert await read_all(conn) == b""

        await runtime.together(write, listen)
        known.append(conn.info.verified_chain[:1])
        await conn.close()

    async def story() -> None:
        async with runtime.serve(server_config.replace(trace=watch), serve, 10) as port:
            conn = await runtime.connect(port, client, 10)
            assert await read_all(conn) == b"welcome"
            await conn.close()

    runtime.run(story)
    assert known == [(), (mine.leaf,)]
