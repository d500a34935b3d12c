"""The other processes of a load test, so that each figure is of one side alone.

python -m streams.load_peers serve ours|ssl IDENTITY TIMEOUT      a server; tells its port, then what is asked for
python -m streams.load_peers idle PORT COUNT CA                   clients that say a byte and stay
python -m streams.load_peers dawdle PORT COUNT                    clients that never finish their ClientHello
"""

from __future__ import annotations

import asyncio
import gc
import resource
import selectors
import socket
import ssl
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import cast

from handclasp import Credential, ServerConfig, TLSError, aio


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def room_for_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(TLSError, OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve(kind: str, identity: str, timeout: float) -> None:
    if kind == "ours":
        config = ServerConfig(credentials=[Credential.from_files(identity)])
        server = await aio.start_server(echo, "127.0.0.1", 0, config, timeout=timeout, backlog=1000)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity)
        server = await asyncio.start_server(
            echo, "127.0.0.1", 0, ssl=context, ssl_handshake_timeout=timeout, backlog=1000
        )
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(resident(), flush=True)


def idle(port: int, count: int, ca: str) -> None:
    context = ssl.create_default_context(cafile=ca)
    kept = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        kept.append(context.wrap_socket(sock, server_hostname="localhost"))
        kept[-1].sendall(b"x")
        kept[-1].recv(1)
    print("open", flush=True)
    sys.stdin.read()


def dawdle(port: int, count: int) -> None:
    """A byte from each every half second, not all at one moment.

    Tells when all are there, and in the end after how many seconds the first and the last were sent away.
    """
    began = {}
    ends: list[float] = []
    with selectors.DefaultSelector() as selector:
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setblocking(False)
            sock.send(b"\x16\x03\x01\x3f\xff")
            began[sock] = time.monotonic()
            selector.register(sock, selectors.EVENT_READ)
        print("open", flush=True)
        turns = deque(began)
        due = time.monotonic()
        while began:
            for key, _ in selector.select(0.5 / count):
                gone = cast(socket.socket, key.fileobj)
                selector.unregister(gone)
                gone.close()
                ends.append(time.monotonic() - began.pop(gone))
            while time.monotonic() >= due:
                due += 0.5 / count
                with suppress(OSError):
                    turns[0].send(b"\x01")
                turns.rotate(-1)
    print(min(ends), max(ends), flush=True)


if __name__ == "__main__":
    room_for_descriptors()
    match sys.argv[1:]:
        case ["serve", kind, identity, timeout]:
            asyncio.run(serve(kind, identity, float(timeout)))
        case ["idle", port, count, ca]:
            idle(int(port), int(count), ca)
        case ["dawdle", port, count]:
            dawdle(int(port), int(count))
