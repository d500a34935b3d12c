"""The fixtures for other people's tests, used as they would use them."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import handclasp
from handclasp import (
    ClientAuth,
    ClientConfig,
    ClientConnection,
    Credential,
    Revocation,
    ServerConfig,
    ServerConnection,
)
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.pair import Pair, handshake
from handclasp.lab.responder import StatusServer
from handclasp.testing import EchoServer


def test_a_pair(tls_pair: Pair) -> None:
    tls_pair.client.send(b"hello")
    tls_pair.shuttle()
    assert tls_pair.server_data() == b"hello"


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_an_echo_server(name: str, tls_echo_server: EchoServer, tls_client_config: ClientConfig) -> None:
    for _ in range(2):
        with handclasp.connect(*tls_echo_server.address, tls_client_config, server_name=name) as tls:
            tls.sendall(b"hello")
            assert tls.recv(5) == b"hello"


def test_the_standard_library_as_a_client(tls_echo_server: EchoServer, tls_ca_file: Path) -> None:
    context = ssl.create_default_context(cafile=tls_ca_file)
    with (
        socket.create_connection(tls_echo_server.address) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(b"hello")
        assert tls.recv(5) == b"hello"


def test_an_echo_server_hangs_up_on_who_stays(tls_server_config: ServerConfig, tls_client_config: ClientConfig) -> None:
    server = EchoServer(tls_server_config)
    tls = handclasp.connect(*server.address, tls_client_config, server_name="localhost")
    tls.sendall(b"hello")
    assert tls.recv(5) == b"hello"
    server.close()
    with pytest.raises(handclasp.TLSError):
        tls.recv(1)
    tls.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(server.address)


def test_a_client_s_certificate(
    tls_server_config: ServerConfig, tls_client_config: ClientConfig, tls_client_credential: Credential
) -> None:
    server = tls_server_config.replace(client_auth=ClientAuth(verify=tls_client_config.trust))
    client = tls_client_config.replace(credentials=[tls_client_credential])
    pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
    assert pair.server.info.verified_chain[0] == tls_client_credential.leaf


@pytest.mark.parametrize("way", ["ocsp", "crl"])
def test_a_certificate_that_is_taken_back(
    way: str, tls_ca: CertificateAuthority, tls_status_server: StatusServer, tls_client_config: ClientConfig
) -> None:
    urls = {"ocsp": tls_status_server.ocsp_url, "crl": tls_status_server.crl_url}
    credential = tls_ca.issue("localhost", **{f"{way}_url": urls[way]})  # type: ignore[arg-type]
    server = EchoServer(ServerConfig(credentials=[credential]))
    client = tls_client_config.replace(revocation=Revocation("hard"))
    handclasp.connect(*server.address, client, server_name="localhost").close()
    tls_ca.revoke(credential.leaf)
    with pytest.raises(handclasp.CertificateError) as caught:
        handclasp.connect(*server.address, client.replace(revocation=Revocation("hard")), server_name="localhost")
    assert caught.value.code == "revoked"
    server.close()


class TestOverride:
    @pytest.fixture
    def tls_server_config(self, tls_ca: CertificateAuthority) -> ServerConfig:
        return ServerConfig(credentials=[tls_ca.issue("localhost")], client_auth=ClientAuth(verify=tls_ca.trust))

    @pytest.fixture
    def tls_client_config(self, tls_ca: CertificateAuthority) -> ClientConfig:
        return ClientConfig(trust=tls_ca.trust, credentials=[tls_ca.issue("staff.test", usage="client")])

    def test_what_a_pair_is_made_of(self, tls_pair: Pair) -> None:
        assert tls_pair.server.info.verified_chain[0].subject == "CN=staff.test"


def test_it_is_not_there_unless_asked_for(tmp_path: Path) -> None:
    """No entry point brings it along, which is how pytest finds plugins by itself; by name it is found."""
    assert [point for point in entry_points(group="pytest11") if point.value.startswith("handclasp")] == []
    test = tmp_path / "test_one.py"
    test.write_text("def test_one(tls_pair):\n    assert tls_pair.client.established\n")
    source = str(Path(handclasp.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(test)]
    for options, outcome in (((), b"fixture 'tls_pair' not found"), (("-p", "handclasp.testing"), b"1 passed")):
        found = subprocess.run([*run, *options], env=environment, capture_output=True, check=False)
        assert outcome in found.stdout


def test_pytest_is_no_dependency() -> None:
    code = "import sys; sys.modules['pytest'] = None; import handclasp, handclasp.lab.ca, handclasp.lab.shapes"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
