"""Against Go's crypto/tls: `go/peer.go`, built once and run as a client and as a server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from handclasp import (
    Alert,
    AlertReceived,
    CertificateError,
    ClientAuth,
    ClientConfig,
    ConnectionInfo,
    NamedGroup,
    ServerConfig,
    TLSSocket,
    TLSVersion,
)
from handclasp.crypto.groups import DEFAULT_GROUPS, POST_QUANTUM
from handclasp.crypto.signatures import KeyKind
from handclasp.trace import Direction
from interop.identities import NAME, OTHER_NAME, Identities, Identity
from interop.programs import (
    MEBIBYTE,
    Host,
    Program,
    Watch,
    build,
    check_echo,
    connect,
    digits,
    echo,
    once_a_run,
    read_exactly,
    tool,
)

pytestmark = pytest.mark.peer("Go")

SOURCE = Path(__file__).with_name("go") / "peer.go"

GROUPS = (
    *(group for group in DEFAULT_GROUPS if group in POST_QUANTUM),
    NamedGroup.X25519,
    NamedGroup.SECP256R1,
    NamedGroup.SECP384R1,
    NamedGroup.SECP521R1,
)

KINDS = (KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.ED25519, KeyKind.RSA)


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program."""
    go = tool("go")
    offline = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    with once_a_run(tmp_path_factory, "go") as folder:
        if not (folder / "peer").exists():
            build(go, "build", "-o", folder / "peer", SOURCE, environment=offline)
    return folder / "peer"


def serving(peer: Path, identity: Identity, *options: str | Path) -> Program:
    return Program(peer, "serve", "-chain", identity.chain_file, "-key", identity.key_file, *options)


def port_of(server: Program) -> str:
    return server.errors.expect(r'"port":(\d+)')


def connecting(peer: Path, host: Host, trusted: Identities, *options: str | Path, name: str = NAME) -> Program:
    """A client that says one thing, finishes, and writes down what comes back."""
    client = _client(peer, host, trusted, *options, name=name)
    client.say(b"a line")
    client.hang_up()
    return client


def _client(peer: Path, host: Host, trusted: Identities, *options: str | Path, name: str = NAME) -> Program:
    address = ("-address", host.address, "-trust", trusted.root_file, "-name", name)
    return Program(peer, "connect", *address, *options)


def report_of(program: Program) -> dict[str, Any]:
    """What Go says about the connection."""
    report: dict[str, Any] = json.loads(program.errors.expect(r'(\{"version".*\})\n'))
    return report


def check_agreement(tls: TLSSocket, report: dict[str, Any]) -> None:
    """See that both ends tell the same about their connection."""
    info: ConnectionInfo = tls.info
    assert report["version"] == str(info.version)
    assert report["suite"] == str(info.cipher_suite)
    assert report["group"] == str(info.group)
    assert report.get("protocol") == info.alpn
    assert report.get("retried", False) is info.hello_retry
    assert report["exported"] == tls.export("EXPORTER-handclasp-test", b"a context", 32).hex()


def check_answer(tls: TLSSocket, client: Program) -> None:
    """Give the client back what it said, and see that it is content."""
    echo(tls)
    assert client.output.all() == b"a line"
    assert client.finish() == 0


# --- our client, their server ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("retry", [True, False], ids=["retry", "at once"])
def test_client_and_group(group: NamedGroup, retry: bool, peer: Path, identities: Identities) -> None:
    other = NamedGroup.SECP521R1 if group is not NamedGroup.SECP521R1 else NamedGroup.X25519
    config = ClientConfig(trust=identities.trust, key_shares=[other if retry else group])
    with (
        serving(peer, identities.of(), "-groups", str(group)) as server,
        connect(port_of(server), config) as tls,
    ):
        assert tls.info.group is group
        assert tls.info.hello_retry is retry
        check_agreement(tls, report_of(server))
        check_echo(tls, b"there and back")


def test_client_defaults(peer: Path, identities: Identities) -> None:
    with (
        serving(peer, identities.of()) as server,
        connect(port_of(server), ClientConfig(trust=identities.trust)) as tls,
    ):
        assert tls.info.group is (POST_QUANTUM or GROUPS)[0]
        assert not tls.info.hello_retry
        check_agreement(tls, report_of(server))
        assert report_of(server)["name"] == NAME


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_client_and_certificates(kind: KeyKind, peer: Path, identities: Identities) -> None:
    identity = identities.of(kind)
    config = ClientConfig(trust=identities.trust, credentials=[identity.credential])
    with (
        serving(peer, identity, "-trust", identities.root_file) as server,
        connect(port_of(server), config) as tls,
    ):
        assert tls.info.peer_certificates[0].der == identity.credential.leaf.der
        assert tls.info.signature_scheme in identity.credential.schemes
        assert tls.info.client_signature_scheme in identity.credential.schemes
        check_agreement(tls, report_of(server))
        assert report_of(server)["chains"] == 1
        check_echo(tls, b"there and back")


def test_client_echoes_a_mebibyte(peer: Path, identities: Identities) -> None:
    watch = Watch()
    config = ClientConfig(trust=identities.trust, trace=watch, alpn=["echo"])
    with (
        serving(peer, identities.of(), "-protocols", "echo") as server,
        connect(port_of(server), config) as tls,
    ):
        check_echo(tls, digits(MEBIBYTE))
        tls.update_keys(request_peer=True)
        check_echo(tls, digits(MEBIBYTE // 8))
        assert watch.updates(Direction.RECEIVED) == 1
        check_agreement(tls, report_of(server))
        tls.shutdown_write()
        assert tls.recv(1) == b""
        assert server.finish() == 0


def test_client_without_a_certificate_is_refused(peer: Path, identities: Identities) -> None:
    with (
        serving(peer, identities.of(), "-trust", identities.root_file) as server,
        connect(port_of(server), ClientConfig(trust=identities.trust)) as tls,
    ):
        with pytest.raises(AlertReceived) as caught:
            tls.recv(1)
        assert caught.value.alert is Alert.CERTIFICATE_REQUIRED
        server.errors.expect("client didn't provide a certificate")


def test_client_without_a_common_protocol(peer: Path, identities: Identities) -> None:
    with serving(peer, identities.of(), "-protocols", "one") as server:
        with pytest.raises(AlertReceived) as caught:
            connect(port_of(server), ClientConfig(trust=identities.trust, alpn=["another"]))
        assert caught.value.alert is Alert.NO_APPLICATION_PROTOCOL


@pytest.mark.parametrize(
    ("name", "stranger", "alert", "heard"),
    [
        (OTHER_NAME, False, Alert.BAD_CERTIFICATE, "remote error: tls: bad certificate"),
        (NAME, True, Alert.UNKNOWN_CA, "remote error: tls: unknown certificate authority"),
    ],
    ids=["wrong name", "unknown CA"],
)
def test_client_refuses(
    name: str, stranger: bool, alert: Alert, heard: str, peer: Path, identities: Identities, strangers: Identities
) -> None:
    with serving(peer, (strangers if stranger else identities).of()) as server:
        with pytest.raises(CertificateError) as caught:
            connect(port_of(server), ClientConfig(trust=identities.trust), name)
        assert caught.value.alert is alert
        server.errors.expect(heard)
        assert server.finish() == 1


# --- our server, their client ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_server_and_group(group: NamedGroup, peer: Path, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential])
    with (
        Host() as host,
        connecting(peer, host, identities, "-groups", str(group)) as client,
        host.accept(config) as tls,
    ):
        assert tls.info.group is group
        check_agreement(tls, report_of(client))
        check_answer(tls, client)


@pytest.mark.parametrize("group", [NamedGroup.SECP384R1, NamedGroup.SECP521R1], ids=str)
def test_server_asks_to_retry(group: NamedGroup, peer: Path, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], groups=[group])
    with Host() as host, connecting(peer, host, identities) as client, host.accept(config) as tls:
        assert tls.info.hello_retry
        check_agreement(tls, report_of(client))
        check_answer(tls, client)


def test_server_defaults(peer: Path, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential])
    with Host() as host, connecting(peer, host, identities) as client, host.accept(config) as tls:
        assert tls.info.group is (POST_QUANTUM or GROUPS)[0]
        assert not tls.info.hello_retry
        check_agreement(tls, report_of(client))
        check_answer(tls, client)
        assert report_of(client)["chains"] == 1


def _certificate(identity: Identity) -> Sequence[str | Path]:
    return "-chain", identity.chain_file, "-key", identity.key_file


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_server_and_certificates(kind: KeyKind, peer: Path, identities: Identities) -> None:
    identity = identities.of(kind)
    config = ServerConfig(credentials=[identity.credential], client_auth=ClientAuth(verify=identities.trust))
    with (
        Host() as host,
        connecting(peer, host, identities, *_certificate(identity)) as client,
        host.accept(config) as tls,
    ):
        assert tls.info.peer_certificates[0].der == identity.credential.leaf.der
        assert tls.info.signature_scheme in identity.credential.schemes
        assert tls.info.client_signature_scheme in identity.credential.schemes
        check_agreement(tls, report_of(client))
        check_answer(tls, client)


def test_server_echoes_a_mebibyte(peer: Path, identities: Identities) -> None:
    data = digits(MEBIBYTE)
    watch = Watch()
    config = ServerConfig(credentials=[identities.of().credential], alpn=["echo"], trace=watch)
    with (
        Host() as host,
        _client(peer, host, identities, "-protocols", "other,echo") as client,
        host.accept(config) as tls,
    ):
        tls.update_keys(request_peer=True)
        client.say(data)
        assert read_exactly(tls, len(data)) == data
        tls.sendall(data)
        # Go loses count of our keys when it is asked for new ones of its own after closing its sending side: so that
        # comes when it is seen to have answered
        assert client.output.holds(data)
        client.say(b"the end")
        assert read_exactly(tls, 7) == b"the end"
        client.hang_up()
        echo(tls)
        assert client.finish() == 0
        assert watch.updates(Direction.RECEIVED) == 1
        check_agreement(tls, report_of(client))
        assert tls.info.alpn == "echo"


def test_server_refuses_a_client_without_a_certificate(peer: Path, identities: Identities) -> None:
    auth = ClientAuth(verify=identities.trust)
    config = ServerConfig(credentials=[identities.of().credential], client_auth=auth)
    with Host() as host, connecting(peer, host, identities) as client:
        with pytest.raises(CertificateError) as caught:
            host.accept(config)
        assert caught.value.alert is Alert.CERTIFICATE_REQUIRED
        client.errors.expect("remote error: tls: certificate required")


@pytest.mark.parametrize(
    ("name", "stranger", "heard"),
    [
        (OTHER_NAME, False, "certificate is valid for localhost, not other.test"),
        (NAME, True, "signed by unknown authority"),
    ],
    ids=["wrong name", "unknown CA"],
)
def test_server_is_refused(
    name: str, stranger: bool, heard: str, peer: Path, identities: Identities, strangers: Identities
) -> None:
    config = ServerConfig(credentials=[(strangers if stranger else identities).of().credential])
    with Host() as host, connecting(peer, host, identities, name=name) as client:
        with pytest.raises(AlertReceived) as caught:
            host.accept(config)
        # Go has one alert for whatever its verification dislikes
        assert caught.value.alert is Alert.BAD_CERTIFICATE
        client.errors.expect(heard)
        assert client.finish() == 1


# --- TLS 1.2 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA, KeyKind.ED25519], ids=str)
def test_older_server(kind: KeyKind, peer: Path, identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust)
    with serving(peer, identities.of(kind), "-older") as server, connect(port_of(server), config) as tls:
        assert tls.info.version is TLSVersion.TLS_1_2
        check_agreement(tls, report_of(server))
        check_echo(tls, b"there and back")


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA, KeyKind.ED25519], ids=str)
def test_older_client(kind: KeyKind, peer: Path, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of(kind).credential])
    with Host() as host, connecting(peer, host, identities, "-older") as client, host.accept(config) as tls:
        assert tls.info.version is TLSVersion.TLS_1_2
        check_answer(tls, client)
        check_agreement(tls, report_of(client))
