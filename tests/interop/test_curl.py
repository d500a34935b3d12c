"""Against curl: our `listen` as a web server."""

from __future__ import annotations

from pathlib import Path

import pytest

from handclasp import Alert, AlertReceived, CipherSuite, ClientAuth, NamedGroup, ServerConfig, TLSVersion
from handclasp.crypto.signatures import KeyKind
from handclasp.crypto.suites import DEFAULT_SUITES
from interop.identities import NAME, OTHER_NAME, Identities
from interop.programs import DEADLINE, HOST, MEBIBYTE, Host, Program, WebServer, digits, tool

pytestmark = pytest.mark.peer("curl")

CURVES = {
    NamedGroup.X25519: "X25519",
    NamedGroup.SECP256R1: "P-256",
    NamedGroup.SECP384R1: "P-384",
    NamedGroup.SECP521R1: "P-521",
    NamedGroup.X448: "X448",
}


def curl(port: int, trusted: Identities, *options: str | Path, name: str = NAME) -> Program:
    return Program(
        tool("curl"),
        *("--disable", "--silent", "--show-error", "--verbose", "--noproxy", "*", "--tlsv1.3"),
        *("--max-time", str(DEADLINE), "--resolve", f"{name}:{port}:{HOST}", "--cacert", trusted.root_file),
        *options,
        f"https://{name}:{port}/",
    )


@pytest.mark.parametrize("suite", DEFAULT_SUITES[:3], ids=str)
def test_page_with_suite(suite: CipherSuite, identities: Identities) -> None:
    with (
        WebServer(ServerConfig(credentials=[identities.of().credential])) as server,
        curl(server.port, identities, "--tls13-ciphers", str(suite)) as client,
    ):
        assert client.output.all() == server.PAGE
        assert client.finish() == 0
        info = server.infos.get(timeout=DEADLINE)
        assert client.errors.expect(r"SSL connection using TLSv1\.3 / (\S+)") == str(info.cipher_suite) == str(suite)
        client.errors.expect("SSL certificate verify ok")
        assert info.server_name == NAME


@pytest.mark.parametrize("group", CURVES, ids=str)
def test_page_with_group(group: NamedGroup, identities: Identities) -> None:
    with (
        WebServer(ServerConfig(credentials=[identities.of().credential])) as server,
        curl(server.port, identities, "--curves", CURVES[group]) as client,
    ):
        assert client.output.all() == server.PAGE
        assert server.infos.get(timeout=DEADLINE).group is group


def test_page_after_a_retry(identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], groups=[NamedGroup.SECP384R1])
    with WebServer(config) as server, curl(server.port, identities, "--curves", "X25519:P-384") as client:
        assert client.output.all() == server.PAGE
        assert server.infos.get(timeout=DEADLINE).hello_retry


def test_post_of_a_mebibyte(identities: Identities, tmp_path: Path) -> None:
    data = digits(MEBIBYTE)
    upload = tmp_path / "upload"
    upload.write_bytes(data)
    with (
        WebServer(ServerConfig(credentials=[identities.of().credential])) as server,
        # without the header curl waits for leave to go on
        curl(server.port, identities, "--data-binary", f"@{upload}", "--header", "Expect:") as client,
    ):
        assert client.output.all() == data
        assert client.finish() == 0


def test_application_protocol(identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], alpn=["http/1.1"])
    with WebServer(config) as server, curl(server.port, identities) as client:
        assert client.errors.expect(r"ALPN[:,] server accepted (?:to use )?(\S+)") == "http/1.1"
        assert server.infos.get(timeout=DEADLINE).alpn == "http/1.1"
        assert client.finish() == 0


def test_client_certificate(identities: Identities) -> None:
    shown = identities.of()
    config = ServerConfig(credentials=[shown.credential], client_auth=ClientAuth(verify=identities.trust))
    with (
        WebServer(config) as server,
        curl(server.port, identities, "--cert", shown.chain_file, "--key", shown.key_file) as client,
    ):
        assert client.output.all() == server.PAGE
        assert server.infos.get(timeout=DEADLINE).peer_certificates[0].der == shown.credential.leaf.der


def test_no_client_certificate(identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], client_auth=ClientAuth(verify=identities.trust))
    with WebServer(config) as server, curl(server.port, identities) as client:
        client.errors.expect("alert certificate required|SSL certificate required")
        assert client.finish() == 56
        assert server.infos.empty()


def test_unknown_ca_is_refused(identities: Identities, strangers: Identities) -> None:
    with Host() as host, curl(host.port, identities) as client:
        with pytest.raises(AlertReceived) as caught:
            host.accept(ServerConfig(credentials=[strangers.of().credential]))
        assert caught.value.alert is Alert.UNKNOWN_CA
        assert client.finish() == 60


def test_wrong_name_is_refused(identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential])
    with Host() as host, curl(host.port, identities, name=OTHER_NAME) as client:
        # curl looks at the name after the handshake, so there is no alert but its close_notify
        with host.accept(config) as tls:
            assert tls.recv(1) == b""
        client.errors.expect("no alternative certificate subject name matches")
        assert client.finish() == 60


@pytest.mark.parametrize("suite", DEFAULT_SUITES[3:], ids=str)
def test_page_over_tls_1_2(suite: CipherSuite, identities: Identities) -> None:
    kind = KeyKind.RSA if "_RSA_" in suite.name else KeyKind.P256
    config = ServerConfig(credentials=[identities.of(kind).credential], cipher_suites=[suite])
    with WebServer(config) as server, curl(server.port, identities, "--tlsv1.2", "--tls-max", "1.2") as client:
        assert client.output.all() == server.PAGE
        assert client.finish() == 0
        info = server.infos.get(timeout=DEADLINE)
        assert info.version is TLSVersion.TLS_1_2
        assert info.cipher_suite is suite
