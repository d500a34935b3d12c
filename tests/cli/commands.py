"""What the tests of the commands share: servers to talk to, and commands as processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import handclasp
from handclasp import ServerConfig, TLSError

SOURCE = Path(handclasp.__file__).parents[1]


@dataclass(frozen=True)
class Files:
    """A CA, and certificates from it, as files."""

    ca: str
    server: str
    client: str
    stranger: str
    """A client's certificate from another CA."""


@contextmanager
def answering(converse: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on loopback that lets `converse` have each connection; its port."""

    def accept_all() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                try:
                    sock.settimeout(10)
                    converse(sock)
                except (OSError, TLSError):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept_all, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(20)
            assert not thread.is_alive()


@contextmanager
def tls_server(config: ServerConfig, answer: bytes = b"") -> Iterator[int]:
    """A TLS server that sends `answer` once it was asked, and ends when the client does."""

    def converse(sock: socket.socket) -> None:
        with handclasp.wrap(sock, config) as tls:
            while tls.recv(65536):
                if answer:
                    tls.sendall(answer)
                    return

    with answering(converse) as port:
        yield port


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "handclasp.cli", *arguments]


def environment(**changes: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR", "SSLKEYLOGFILE")
    }
    return {**kept, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": "utf-8", **changes}


def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own."""
    return subprocess.run(
        command(*arguments),
        env=environment(**changes),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
