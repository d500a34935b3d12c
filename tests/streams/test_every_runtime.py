"""One suite for every runtime: what a TLS connection does is the same, whoever drives it."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

import handclasp
from handclasp import (
    CertificateError,
    ClientConfig,
    Credential,
    HandshakeTimeout,
    PresentedChain,
    ServerConfig,
    SignatureScheme,
    TLSError,
    TLSVersion,
    TruncatedError,
    TrustStore,
    VerifiedPeer,
)
from handclasp.crypto.signatures import PublicKey
from handclasp.lab.ca import CertificateAuthority
from handclasp.wire.messages import ClientHello

from .patience import waits_less_than
from .peers import Fault, client_context, openssl_echo, openssl_echoed, serving
from .runtimes import Conn, Runtime

PATTERN = bytes(range(256)) * 4096
"""1 MiB in which a gap, or a byte that comes twice, shows."""


async def echo(conn: Conn) -> None:
    try:
        while data := await conn.read():
            await conn.write(data)
        await conn.finish()
    except (TLSError, OSError):
        pass
    finally:
        await conn.close()


async def read_all(conn: Conn) -> bytes:
    whole = bytearray()
    while data := await conn.read():
        whole += data
    return bytes(whole)


def test_there_and_back(runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig) -> None:
    async def story() -> None:
        async with runtime.serve(server_config, echo, 10) as port:
            conn = await runtime.connect(port, client_config, 10)
            assert conn.info.version is TLSVersion.TLS_1_3
            received: list[bytes] = []

            async def write() -> None:
                await conn.write(PATTERN)
                await conn.finish()

            async def read() -> None:
                received.append(await read_all(conn))

            await runtime.together(write, read)
            assert received == [PATTERN]
            assert await conn.read() == b""
            await conn.close()

    runtime.run(story)


@pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2])
def test_a_server_of_the_standard_library(
    runtime: Runtime, client_config: ClientConfig, identity: Path, version: TLSVersion
) -> None:
    config = client_config.replace(versions=[version])
    data = PATTERN[:100_000]

    async def story(port: int) -> None:
        conn = await runtime.connect(port, config, 10)
        assert conn.info.version is version
        back = bytearray()
        for start in range(0, len(data), 10_000):
            await conn.write(data[start : start + 10_000])
            while len(back) < start + 10_000:
                back += await conn.read()
        assert back == data
        await conn.close()

    with openssl_echo(identity) as port:
        runtime.run(lambda: story(port))


def test_a_client_of_the_standard_library(
    runtime: Runtime, server_config: ServerConfig, authority: CertificateAuthority
) -> None:
    async def story() -> None:
        async with runtime.serve(server_config, echo, 10) as port:
            context = client_context(authority)
            for _ in range(2):
                assert (
                    await runtime.elsewhere(lambda: openssl_echoed(port, context, PATTERN[:50_000])) == PATTERN[:50_000]
                )

    runtime.run(story)


@pytest.mark.attack(52, "KeyUpdate flood")
def test_two_writers_do_not_wait_for_each_other(
    runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """Both sides write a mebibyte through buffers of 4 KiB while both read."""

    async def both(conn: Conn, received: list[bytes]) -> None:
        async def write() -> None:
            for start in range(0, len(PATTERN), 50_000):
                await conn.write(PATTERN[start : start + 50_000])
            await conn.finish()

        async def read() -> None:
            received.append(await read_all(conn))

        await runtime.together(write, read)
        await conn.close()

    async def story() -> None:
        there: list[bytes] = []
        here: list[bytes] = []
        async with runtime.serve(server_config, lambda conn: both(conn, there), 10, buffer=4096) as port:
            await both(await runtime.connect(port, client_config, 10, buffer=4096), here)
        assert here == there == [PATTERN]

    runtime.run(story)


def test_writing_while_the_standard_library_writes_back(
    runtime: Runtime, client_config: ClientConfig, identity: Path
) -> None:
    """There and back through such buffers: it reads no more while it cannot write, so we have to read."""
    data = PATTERN[:200_000]

    async def story(port: int) -> None:
        conn = await runtime.connect(port, client_config, 10, buffer=4096)
        received = bytearray()

        async def read() -> None:
            while len(received) < len(data):
                received.extend(await conn.read() or pytest.fail("it ended early"))

        await runtime.together(lambda: conn.write(data), read)
        assert received == data
        await conn.close()

    with openssl_echo(identity, buffer=4096) as port:
        runtime.run(lambda: story(port))


def test_after_the_peer_has_finished_we_can_still_write(
    runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    async def story(port: int) -> None:
        conn = await runtime.connect(port, client_config, 10)
        assert await read_all(conn) == b"all I have to say"
        await conn.write(b"but I")
        await conn.write(b" go on")
        await conn.close()

    with serving(server_config, b"all I have to say") as (port, outcome):
        runtime.run(lambda: story(port))
    assert outcome.received == b"but I go on"
    assert outcome.ended


@pytest.mark.attack(42, "truncation")
def test_what_came_before_a_cut_is_read_before_the_error(
    runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    with serving(server_config, b"x" * 3000) as (port, whole):
        runtime.run(lambda: _read_to_the_end(runtime, port, client_config))

    async def story(port: int) -> None:
        conn = await runtime.connect(port, client_config, 10)
        received = bytearray()
        while len(received) < 3000:
            received += await conn.read(700)
        assert received == b"x" * 3000
        for _ in range(2):
            with pytest.raises(TruncatedError):
                await conn.read(1)
        await conn.close()

    with serving(server_config, b"x" * 3000, fault=Fault.EOF, at=whole.sent - 1) as (port, _):
        runtime.run(lambda: story(port))


async def _read_to_the_end(runtime: Runtime, port: int, config: ClientConfig) -> bytes:
    conn = await runtime.connect(port, config, 10)
    data = await read_all(conn)
    await conn.close()
    return data


def test_a_read_that_timed_out_loses_nothing(
    runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    async def story() -> None:
        async with runtime.serve(server_config, echo, 10) as port:
            conn = await runtime.connect(port, client_config, 10)
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await runtime.within(0.02, conn, 100)
            await conn.write(b"late")
            assert await runtime.within(5, conn, 2) == b"la"
            assert await conn.read(100) == b"te"
            await conn.close()

    runtime.run(story)


# --- handshakes that fail --------------------------------------------------------------------------------------------


def test_a_failed_handshake_costs_the_server_one_line(
    runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig, caplog: pytest.LogCaptureFixture
) -> None:
    def nonsense(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert plain.recv(100)[:1] == b"\x15"
            plain.shutdown(socket.SHUT_WR)
            assert plain.recv(100) == b""

    async def story() -> None:
        async with runtime.serve(server_config, echo, 10) as port:
            await runtime.elsewhere(lambda: nonsense(port))
            conn = await runtime.connect(port, client_config, 10)
            await conn.write(b"still here")
            assert await conn.read(100) == b"still here"
            await conn.close()

    with caplog.at_level(logging.INFO, logger="handclasp"):
        runtime.run(story)
    (record,) = [record for record in caplog.records if record.name == "handclasp"]
    assert "handshake with 127.0.0.1:" in record.getMessage()
    assert "plain HTTP" in record.getMessage()
    assert record.exc_info is None


def test_an_alert_survives_what_the_peer_goes_on_sending(runtime: Runtime, server_config: ServerConfig) -> None:
    """A socket that is closed with unread bytes resets its connection, and what was sent may never be seen."""

    def flood(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            for _ in range(50):
                plain.sendall(bytes(10_000))
            plain.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: plain.recv(100), b""))

    async def story() -> None:
        async with runtime.serve(server_config, echo, 10) as port:
            assert await runtime.elsewhere(lambda: flood(port)) == b"\x15\x03\x03\x00\x02\x02\x46"

    runtime.run(story)


def test_a_wrong_name(runtime: Runtime, trust: TrustStore, authority: CertificateAuthority) -> None:
    server_config = ServerConfig(credentials=[authority.issue("other.test")])

    async def story(port: int) -> None:
        with pytest.raises(CertificateError):
            await runtime.connect(port, ClientConfig(trust=trust), 10)

    with serving(server_config, b"secret") as (port, outcome):
        runtime.run(lambda: story(port))
    assert not outcome.ended


def test_a_server_that_says_nothing(runtime: Runtime, client_config: ClientConfig) -> None:
    async def story(port: int) -> None:
        began = time.monotonic()
        with waits_less_than(2), pytest.raises(HandshakeTimeout, match="ServerHello"):
            await runtime.connect(port, client_config, 0.3)
        assert time.monotonic() - began > 0.2

    with socket.create_server(("127.0.0.1", 0)) as silent:
        runtime.run(lambda: story(silent.getsockname()[1]))


@pytest.mark.attack(68, "slow clients")
def test_clients_that_dawdle_hold_up_nobody(
    runtime: Runtime, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """More of them than any pool has threads."""

    async def story() -> None:
        async with runtime.serve(server_config, echo, 60) as port:
            with ExitStack() as leaving:
                slow = [leaving.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(100)]
                for one in slow:
                    one.sendall(b"\x16\x03\x01")
                conn = await runtime.connect(port, client_config, 10)
                await conn.write(b"quick")
                assert await conn.read() == b"quick"
                await conn.close()
                for one in slow:
                    one.setblocking(False)
                    with pytest.raises(BlockingIOError):  # it is there still
                        one.recv(1)

    runtime.run(story)


@pytest.mark.attack(68, "slow clients")
def test_a_client_that_dawdles_is_sent_away(
    runtime: Runtime, server_config: ServerConfig, caplog: pytest.LogCaptureFixture
) -> None:
    def dawdle(port: int) -> float:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
            began = time.monotonic()
            slow.sendall(b"\x16\x03\x01")
            with waits_less_than(2):
                assert slow.recv(100) == b""
            return time.monotonic() - began

    async def story() -> None:
        async with runtime.serve(server_config, echo, 0.5) as port:
            assert await runtime.elsewhere(lambda: dawdle(port)) > 0.4

    with caplog.at_level(logging.INFO, logger="handclasp"):
        runtime.run(story)
    (record,) = [record for record in caplog.records if record.name == "handclasp"]
    assert "did not finish within 0.5 s: ClientHello was due" in record.getMessage()


# --- answers that take their time ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BlockingSigner:
    """Does not sign before somebody else was served."""

    key: Credential
    served: threading.Event
    blocking: bool = True

    @property
    def public_key(self) -> PublicKey:
        key: PublicKey = self.key.signer.public_key
        return key

    def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
        assert self.served.wait(10)
        signature = self.key.signer.sign(scheme, data)
        assert isinstance(signature, bytes)
        return signature


@dataclass(frozen=True)
class AsyncVerifier:
    trust: TrustStore

    async def verify(self, presented: PresentedChain) -> VerifiedPeer:
        verdict = self.trust.verify(presented)
        assert isinstance(verdict, VerifiedPeer)
        return verdict


def test_an_answer_that_blocks_holds_up_nobody(
    runtime: Runtime, client_config: ClientConfig, credential: Credential
) -> None:
    served = threading.Event()
    slow = Credential.from_signer(credential.chain, BlockingSigner(credential, served))
    quick = ServerConfig(credentials=[credential])
    config = quick.replace(choose=lambda hello: quick.replace(credentials=[slow]) if _asks_slowly(hello) else quick)

    async def story() -> None:
        async with runtime.serve(config, echo, 10) as port:

            async def patient() -> None:
                conn = await runtime.connect(port, client_config.replace(alpn=["slow"]), 10)
                await conn.close()

            async def hasty() -> None:
                conn = await runtime.connect(port, client_config, 10)
                await conn.write(b"x")
                assert await conn.read() == b"x"
                await conn.close()
                served.set()

            await runtime.together(*[patient] * 20, hasty)  # more than an event loop's own threads

    runtime.run(story)


def _asks_slowly(hello: ClientHello) -> bool:
    return b"slow" in (hello.extensions.alpn or ())


def test_async_answers(runtime: Runtime, trust: TrustStore, server_config: ServerConfig) -> None:
    async def story(port: int) -> None:
        conn = await runtime.connect(port, ClientConfig(trust=AsyncVerifier(trust)), 10)
        assert await read_all(conn) == b"verified"
        await conn.close()

    with serving(server_config, b"verified") as (port, _):
        runtime.run(lambda: story(port))


def test_an_answer_that_never_comes_meets_the_deadline(
    trust: TrustStore, server_config: ServerConfig, runtime: Runtime
) -> None:
    class Never:
        async def verify(self, presented: PresentedChain) -> VerifiedPeer:
            if "trio" in getattr(runtime, "backend", ""):
                import trio

                await trio.sleep_forever()
            await asyncio.Event().wait()
            raise AssertionError(presented)

    async def story(port: int) -> None:
        with waits_less_than(2), pytest.raises((HandshakeTimeout, handclasp.CallbackError)):
            await runtime.connect(port, ClientConfig(trust=Never()), 0.3)

    with serving(server_config, b"") as (port, _):
        runtime.run(lambda: story(port))
