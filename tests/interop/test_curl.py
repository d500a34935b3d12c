"""Against curl: our `listen` as a web server."""

from __future__ import annotations

from pathlib import Path

import pytest

from handclasp import (
    Alert,
    AlertReceived,
    CipherSuite,
    ClientAuth,
    NamedGroup,
    ServerConfig,
    ServerSessions,
    TicketKeys,
    TLSVersion,
)
from handclasp.crypto.signatures import KeyKind
from handclasp.crypto.suites import DEFAULT_SUITES
from interop import observe
from interop.identities import NAME, OTHER_NAME, Identities
from interop.observe import Seen
from interop.programs import DEADLINE, HOST, MEBIBYTE, Host, Program, WebServer, digits, tool

pytestmark = pytest.mark.peer("curl")

CURVES = {
    NamedGroup.X25519: "X25519",
    NamedGroup.SECP256R1: "P-256",
    NamedGroup.SECP384R1: "P-384",
    NamedGroup.SECP521R1: "P-521",
    NamedGroup.X448: "X448",
}


BOTH = pytest.mark.parametrize("options", [(), ("--tlsv1.2", "--tls-max", "1.2")], ids=["TLS 1.3", "TLS 1.2"])


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


@BOTH
@pytest.mark.parametrize(("wrong", "alert"), [("CA", Alert.UNKNOWN_CA), ("time", Alert.CERTIFICATE_EXPIRED)])
def test_it_refuses(
    options: tuple[str, ...], wrong: str, alert: Alert, identities: Identities, strangers: Identities
) -> None:
    shown = strangers.of() if wrong == "CA" else identities.expired
    with Host() as host, curl(host.port, identities, *options) as client:
        with pytest.raises(AlertReceived) as caught:
            host.accept(ServerConfig(credentials=[shown.credential]))
        assert caught.value.alert is alert
        assert client.finish() == 60


@BOTH
def test_it_refuses_a_wrong_name(options: tuple[str, ...], seen: Seen, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential])
    with Host() as host, curl(host.port, identities, *options, name=OTHER_NAME) as client:
        # curl looks at the name after the handshake, so there is no alert but its close_notify
        with host.accept(config) as tls:
            assert tls.recv(1) == b""
            seen.add("client", str(tls.info.version), observe.IT_REFUSES, "without an alert")
        client.errors.expect("no alternative certificate subject name matches")
        assert client.finish() == 60


@BOTH
def test_it_resumes(options: tuple[str, ...], identities: Identities) -> None:
    # in TLS 1.2 it takes no tickets
    sessions = ServerSessions() if options else None
    tickets = None if options else TicketKeys()
    config = ServerConfig(credentials=[identities.of().credential], tickets=tickets, sessions=sessions)
    with WebServer(config) as server:
        again = f"https://{NAME}:{server.port}/again"
        with curl(server.port, identities, *options, again, "--sessionid") as client:
            assert client.output.all() == server.PAGE * 2
            assert client.finish() == 0
        assert [server.infos.get(timeout=DEADLINE).resumed for _ in range(2)] == [False, True]


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
