"""What anyio's byte streams promise, kept on both of its event loops."""

from __future__ import annotations

import errno
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Listener, SocketAttribute, SocketStream, TaskGroup, UNIXSocketStream
from anyio.streams.tls import TLSListener
from anyio.streams.tls import TLSStream as AnyioTLSStream

import handclasp
from handclasp import CertificateError, ClientConfig, ServerConfig, TLSError, TruncatedError
from handclasp import anyio as over_anyio
from handclasp.anyio import StreamTruncated, TLSStream
from handclasp.lab.ca import CertificateAuthority

from .patience import waits_less_than
from .peers import Fault, client_context, farewell, in_thread, serving

Handler = Callable[[TLSStream], Coroutine[Any, Any, None]]


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def silent(stream: TLSStream) -> None:
    """Says nothing, and ends when its peer does."""
    async with stream:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            await stream.receive()


def with_peer(
    backend: str,
    client_config: ClientConfig,
    server_config: ServerConfig,
    story: Handler,
    handle: Handler = silent,
) -> None:
    """A client's story, and a server for it."""

    async def main() -> None:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(SocketAttribute.local_port)
            async with anyio.create_task_group() as group:
                group.start_soon(over_anyio.serve, handle, listener, server_config)
                await story(await over_anyio.connect("127.0.0.1", port, client_config))
                group.cancel_scope.cancel()

    anyio.run(main, backend=backend)


def test_nothing_goes_through_a_closed_stream(
    backend: str, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    async def story(stream: TLSStream) -> None:
        with pytest.raises(ValueError, match="max_bytes"):
            await stream.receive(0)
        await stream.send_eof()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.send(b"more")
        for _ in range(2):
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
        await stream.aclose()
        await stream.aclose()
        for call in (stream.receive, stream.send_eof, lambda: stream.send(b"x"), stream.update_keys):
            with pytest.raises(anyio.ClosedResourceError):
                await call()

    with_peer(backend, client_config, server_config, story)


def test_two_cannot_receive_at_once(backend: str, client_config: ClientConfig, server_config: ServerConfig) -> None:
    async def story(stream: TLSStream) -> None:
        async with stream, anyio.create_task_group() as group:
            group.start_soon(stream.receive)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(anyio.BusyResourceError):
                await stream.receive()
            group.cancel_scope.cancel()

    with_peer(backend, client_config, server_config, story)


async def listens_to_nobody(stream: TLSStream) -> None:
    """Not even to a close_notify."""
    try:
        await anyio.sleep_forever()
    finally:
        await anyio.aclose_forcefully(stream._below)


@pytest.mark.parametrize("handle", [silent, listens_to_nobody])
def test_closing_while_somebody_receives(
    backend: str, client_config: ClientConfig, server_config: ServerConfig, handle: Handler
) -> None:
    async def story(stream: TLSStream) -> None:
        async def receive() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await stream.receive()
            told.set()

        told = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            with waits_less_than(2):
                await stream.aclose()
                await told.wait()

    with_peer(backend, client_config, server_config, story, handle)


def test_closing_while_somebody_sends(backend: str, client_config: ClientConfig, server_config: ServerConfig) -> None:
    """Who cannot get rid of its data, because the peer takes none."""

    async def story(stream: TLSStream) -> None:
        async def send() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await stream.send(bytes(64 * 2**20))
            told.set()

        told = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            with waits_less_than(4):
                await stream.aclose()
                await told.wait()

    with_peer(backend, client_config, server_config, story, listens_to_nobody)


def test_closing_under_a_cancellation(backend: str, client_config: ClientConfig, server_config: ServerConfig) -> None:
    """The stream below is closed all the same."""

    async def story(stream: TLSStream) -> None:
        below = stream._below
        with anyio.CancelScope() as scope:
            scope.cancel()
            await stream.aclose()
        assert scope.cancelled_caught
        with pytest.raises(anyio.ClosedResourceError):
            await below.receive()

    with_peer(backend, client_config, server_config, story)


def test_a_cut_is_what_code_for_any_stream_expects(
    backend: str, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    async def story(port: int) -> None:
        async with await over_anyio.connect("127.0.0.1", port, client_config) as stream:
            for kind in (anyio.BrokenResourceError, TruncatedError, StreamTruncated, TLSError):
                with pytest.raises(kind) as caught:
                    await stream.receive()
                assert isinstance(caught.value, StreamTruncated)
                assert caught.value.code == "truncated"
                assert caught.value.remedy

    with serving(server_config, b"x" * 3000) as (port, whole):
        anyio.run(_read_all, port, client_config, backend=backend)
    with serving(server_config, b"x" * 3000, fault=Fault.EOF, at=whole.sent - 3000) as (port, _):
        anyio.run(story, port, backend=backend)


def test_what_came_is_read_though_our_answer_cannot_be_sent(
    backend: str, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """The peer asks for new keys, says its last words, and is gone."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            farewell(handclasp.wrap(theirs, server_config))
        gone.set()

    async def main() -> None:
        below = await UNIXSocketStream.from_socket(ours)
        async with await over_anyio.wrap(below, client_config, server_name="localhost") as stream:
            assert gone.wait(10)  # in the way of the event loop, which is to see nothing of it
            received = b""
            with suppress(anyio.EndOfStream):
                while True:
                    received += await stream.receive()
            assert received == b"first, last"

    gone = threading.Event()
    with in_thread(serve):
        anyio.run(main, backend=backend)


async def _read_all(port: int, config: ClientConfig) -> None:
    async with await over_anyio.connect("127.0.0.1", port, config) as stream:
        with suppress(anyio.EndOfStream):
            while True:
                await stream.receive()


def test_a_reset_is_a_broken_resource(backend: str, client_config: ClientConfig, server_config: ServerConfig) -> None:
    async def reset(stream: TLSStream) -> None:
        raw = stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await anyio.aclose_forcefully(stream._below)

    async def story(stream: TLSStream) -> None:
        async with stream:
            with pytest.raises(anyio.BrokenResourceError):
                await stream.receive()

    with_peer(backend, client_config, server_config, story, reset)


class Exhausted(Listener[SocketStream]):
    """Has no descriptor left, the first times."""

    def __init__(self, below: Listener[SocketStream], error: int) -> None:
        self._below = below
        self._error = error
        self.failures = 3

    async def serve(self, handler: Any, task_group: TaskGroup | None = None) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(self._error, "it is as it is")
        await self._below.serve(handler, task_group)

    async def aclose(self) -> None:
        await self._below.aclose()


def test_a_server_outlives_a_lack_of_descriptors(
    backend: str, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    async def main() -> None:
        (below,) = (await anyio.create_tcp_listener(local_host="127.0.0.1")).listeners
        port = below.extra(SocketAttribute.local_port)
        async with Exhausted(below, errno.EMFILE) as listener, anyio.create_task_group() as group:
            group.start_soon(over_anyio.serve, silent, listener, server_config)
            async with await over_anyio.connect("127.0.0.1", port, client_config):
                assert listener.failures == 0
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)


def test_other_troubles_of_a_listener_are_not_hidden(backend: str, server_config: ServerConfig) -> None:
    async def main() -> None:
        (below,) = (await anyio.create_tcp_listener(local_host="127.0.0.1")).listeners
        async with Exhausted(below, errno.EBADF) as listener:
            with pytest.raises(ExceptionGroup) as caught:
                await over_anyio.serve(silent, listener, server_config)
            assert caught.value.subgroup(OSError) is not None

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("name", ["localhost", "wrong.test"])
def test_inside_of_the_standard_librarys_tls(
    backend: str,
    client_config: ClientConfig,
    server_config: ServerConfig,
    identity: Path,
    authority: CertificateAuthority,
    name: str,
) -> None:
    """Which cannot be closed half. A client that refuses us says why, and costs its server nothing."""

    async def echo(stream: TLSStream) -> None:
        async with stream:
            with suppress(anyio.EndOfStream):
                while True:
                    await stream.send(await stream.receive())

    async def meet(port: int) -> None:
        below = await anyio.connect_tcp("127.0.0.1", port)
        outer = await AnyioTLSStream.wrap(below, hostname="localhost", ssl_context=client_context(authority))
        async with await over_anyio.wrap(outer, client_config, server_name=name) as inner:
            await inner.send(b"inner")
            assert await inner.receive() == b"inner"

    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity)
        (below,) = (await anyio.create_tcp_listener(local_host="127.0.0.1")).listeners
        port = below.extra(SocketAttribute.local_port)
        async with TLSListener(below, context) as listener, anyio.create_task_group() as group:
            group.start_soon(over_anyio.serve, echo, listener, server_config)
            for _ in range(2):
                with nullcontext() if name == "localhost" else pytest.raises(CertificateError):
                    await meet(port)
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)
