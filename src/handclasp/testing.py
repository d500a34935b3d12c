"""Fixtures for pytest: a certificate authority and its responder, both configurations, two ends in memory, a server.

    pytest_plugins = ["handclasp.testing"]    # in the conftest.py at the root of the tests

    def test_something(tls_echo_server, tls_client_config):
        with handclasp.connect(*tls_echo_server.address, tls_client_config, server_name="localhost") as tls: ...

It is asked for by name, and not found by itself through an entry point: whoever has handclasp installed for another
reason pays nothing at each run of pytest, and gets no fixtures they did not ask for.

To change what the others are built from, define `tls_server_config` or `tls_client_config` anew where it is needed.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from .config import ClientConfig, ServerConfig
from .connection import ClientConnection, ServerConnection
from .errors import TLSError
from .identity.credentials import Credential
from .io.blocking import wrap
from .lab.ca import CertificateAuthority
from .lab.pair import Pair, handshake
from .lab.responder import StatusServer

NAMES = ("localhost", "127.0.0.1", "::1")
"""What the server's certificate is for."""


class EchoServer:
    """A TLS server on loopback that sends back what it gets, until the client has finished. One thread a client."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        """Host and port."""
        self._clients: list[tuple[socket.socket, threading.Thread]] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take nobody any more, and hang up on those that are still there."""
        _hang_up(self._socket)
        self._thread.join()
        self._socket.close()
        for client, thread in self._clients:
            _hang_up(client)
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):  # what ends it is `close`
            while True:
                client, _ = self._socket.accept()
                thread = threading.Thread(target=self._echo, args=(client,), daemon=True)
                self._clients.append((client, thread))
                thread.start()

    def _echo(self, client: socket.socket) -> None:
        with suppress(TLSError, OSError), wrap(client, self._config) as tls:
            while data := tls.recv(1 << 16):
                tls.sendall(data)


def _hang_up(sock: socket.socket) -> None:
    """Wake whoever waits on a socket; closing it would not."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="session")
def tls_ca() -> CertificateAuthority:
    """A certificate authority for this run; `tls_ca.issue(...)` and `.issue_pem(...)` give more certificates."""
    return CertificateAuthority()


@pytest.fixture(scope="session")
def tls_ca_file(tls_ca: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate as a PEM file, for clients that want one: `ssl`, curl, requests."""
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    path.write_bytes(tls_ca.pem())
    return path


@pytest.fixture(scope="session")
def tls_server_config(tls_ca: CertificateAuthority) -> ServerConfig:
    """A server for localhost, 127.0.0.1 and ::1, with a certificate of `tls_ca`."""
    return ServerConfig(credentials=[tls_ca.issue(*NAMES)])


@pytest.fixture(scope="session")
def tls_client_config(tls_ca: CertificateAuthority) -> ClientConfig:
    """A client that trusts `tls_ca`, and nobody else."""
    return ClientConfig(trust=tls_ca.trust)


@pytest.fixture(scope="session")
def tls_client_credential(tls_ca: CertificateAuthority) -> Credential:
    """A client's certificate of `tls_ca`, with its key: for `ClientConfig(credentials=[...])`."""
    return tls_ca.issue("client.test", usage="client")


@pytest.fixture
def tls_status_server(tls_ca: CertificateAuthority) -> Iterator[StatusServer]:
    """Where `tls_ca` answers for its certificates on loopback, by OCSP and by list, wrongly on demand.

    `tls_ca.issue("localhost", ocsp_url=tls_status_server.ocsp_url)` points there; `tls_ca.revoke(...)` takes it back.
    """
    with StatusServer(tls_ca) as server:
        yield server


@pytest.fixture
def tls_pair(tls_client_config: ClientConfig, tls_server_config: ServerConfig) -> Pair:
    """Two ends in memory, hands shaken; `tls_pair.shuttle()` carries what they have to say."""
    return handshake(ClientConnection(tls_client_config, NAMES[0]), ServerConnection(tls_server_config))


@pytest.fixture
def tls_echo_server(tls_server_config: ServerConfig) -> Iterator[EchoServer]:
    """A server on loopback that sends back what it gets."""
    server = EchoServer(tls_server_config)
    yield server
    server.close()
