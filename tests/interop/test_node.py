"""Against Node's tls module: `node_peer.js` as a client and as a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from handclasp import (
    Alert,
    AlertReceived,
    CertificateError,
    CipherSuite,
    ClientAuth,
    ClientConfig,
    NamedGroup,
    ServerConfig,
    SignatureScheme,
    TLSSocket,
    TruncatedError,
)
from handclasp.crypto.suites import DEFAULT_SUITES
from interop.identities import CLASSIC_SCHEMES, NAME, OTHER_NAME, Identities, Identity
from interop.programs import MEBIBYTE, Host, Program, check_echo, connect, digits, echo, tool

pytestmark = pytest.mark.peer("Node")

SOURCE = Path(__file__).with_name("node_peer.js")

CURVES = {
    NamedGroup.X25519: "X25519",
    NamedGroup.SECP256R1: "prime256v1",
    NamedGroup.SECP384R1: "secp384r1",
    NamedGroup.SECP521R1: "secp521r1",
    NamedGroup.X448: "X448",
}
"""Node's names of the groups, for its options and in its reports."""


def run(role: str, options: dict[str, object]) -> Program:
    # what the surroundings tell Node to do is not part of the test
    return Program(
        *(tool("node"), SOURCE, role, json.dumps(options, default=str)),
        environment={"NODE_OPTIONS": "", "NODE_EXTRA_CA_CERTS": ""},
    )


def serving(identity: Identity, **options: object) -> Program:
    return run("serve", {"cert": identity.chain_file, "key": identity.key_file, **options})


def port_of(server: Program) -> str:
    return server.errors.expect(r'"port":(\d+)')


def connecting(
    host: Host, trusted: Identities, name: str = NAME, says: bytes = b"a line", **options: object
) -> Program:
    """A client that says one thing, finishes, and writes down what comes back."""
    client = run("connect", {"port": host.port, "ca": trusted.root_file, "name": name, **options})
    client.say(says)
    client.hang_up()
    return client


def report_of(program: Program) -> dict[str, Any]:
    """What Node says about the connection."""
    report: dict[str, Any] = json.loads(program.errors.expect(r'(\{"version".*\})\n'))
    return report


def check_agreement(tls: TLSSocket, report: dict[str, Any]) -> None:
    """See that both ends tell the same about their connection."""
    info = tls.info
    assert report["version"] == "TLSv1.3"
    assert report["suite"] == str(info.cipher_suite)
    assert report["protocol"] == info.alpn
    assert report["exported"] == tls.export("EXPORTER-handclasp-test", b"a context", 32).hex()
    if "group" in report:  # known to clients only
        assert report["group"] == CURVES[NamedGroup(info.group or 0)]


def check_answer(tls: TLSSocket, client: Program, said: bytes = b"a line") -> None:
    """Give the client back what it said, and see that it is content."""
    echo(tls)
    assert client.output.all() == said
    assert client.finish() == 0


# --- our client, their server ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", DEFAULT_SUITES[:3], ids=str)
def test_client_and_suite(suite: CipherSuite, identities: Identities) -> None:
    with (
        serving(identities.of(), ciphers=str(suite)) as server,
        connect(port_of(server), ClientConfig(trust=identities.trust)) as tls,
    ):
        assert tls.info.cipher_suite is suite
        check_agreement(tls, report_of(server))
        assert report_of(server)["name"] == NAME
        check_echo(tls, b"there and back")


@pytest.mark.parametrize("group", CURVES, ids=str)
def test_client_and_group(group: NamedGroup, identities: Identities) -> None:
    with (
        serving(identities.of(), curves=CURVES[group]) as server,
        connect(port_of(server), ClientConfig(trust=identities.trust, key_shares=[NamedGroup.X25519])) as tls,
    ):
        assert tls.info.group is group
        assert tls.info.hello_retry is (group is not NamedGroup.X25519)
        check_agreement(tls, report_of(server))
        check_echo(tls, b"there and back")


@pytest.mark.parametrize(
    "scheme",
    [SignatureScheme.ED25519, SignatureScheme.RSA_PSS_RSAE_SHA384, SignatureScheme.ECDSA_SECP256R1_SHA256],
    ids=str,
)
def test_client_shows_a_certificate(scheme: SignatureScheme, identities: Identities) -> None:
    identity = identities.of(CLASSIC_SCHEMES[scheme])
    config = ClientConfig(trust=identities.trust, credentials=[identity.credential], signature_schemes=[scheme])
    with serving(identity, ca=identities.root_file) as server, connect(port_of(server), config) as tls:
        assert tls.info.signature_scheme is tls.info.client_signature_scheme is scheme
        report = report_of(server)
        check_agreement(tls, report)
        assert report["authorized"] is True
        assert report["subject"] == identity.credential.leaf.der.hex()
        check_echo(tls, b"there and back")


def test_client_without_a_certificate_is_refused(identities: Identities) -> None:
    with (
        serving(identities.of(), ca=identities.root_file) as server,
        connect(port_of(server), ClientConfig(trust=identities.trust)) as tls,
    ):
        with pytest.raises(AlertReceived) as caught:
            tls.recv(1)
        assert caught.value.alert is Alert.CERTIFICATE_REQUIRED
        server.errors.expect("ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE")


def test_client_echoes_a_mebibyte(identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, alpn=["echo"])
    with serving(identities.of(), protocols=["echo"]) as server, connect(port_of(server), config) as tls:
        check_echo(tls, digits(MEBIBYTE))
        tls.update_keys(request_peer=True)
        check_echo(tls, digits(MEBIBYTE // 8))
        check_agreement(tls, report_of(server))
        assert tls.info.alpn == "echo"


@pytest.mark.parametrize(
    ("name", "stranger", "alert", "heard"),
    [
        (OTHER_NAME, False, Alert.BAD_CERTIFICATE, "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE"),
        (NAME, True, Alert.UNKNOWN_CA, "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA"),
    ],
    ids=["wrong name", "unknown CA"],
)
def test_client_refuses(
    name: str, stranger: bool, alert: Alert, heard: str, identities: Identities, strangers: Identities
) -> None:
    with serving((strangers if stranger else identities).of()) as server:
        with pytest.raises(CertificateError) as caught:
            connect(port_of(server), ClientConfig(trust=identities.trust), name)
        assert caught.value.alert is alert
        server.errors.expect(heard)


# --- our server, their client ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", DEFAULT_SUITES[:3], ids=str)
def test_server_and_suite(suite: CipherSuite, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential])
    with Host() as host, connecting(host, identities, ciphers=str(suite)) as client, host.accept(config) as tls:
        assert tls.info.cipher_suite is suite
        check_agreement(tls, report_of(client))
        assert report_of(client)["authorized"] is True
        check_answer(tls, client)


@pytest.mark.parametrize("group", CURVES, ids=str)
@pytest.mark.parametrize("retry", [True, False], ids=["retry", "at once"])
def test_server_and_group(group: NamedGroup, retry: bool, identities: Identities) -> None:
    first = NamedGroup.SECP384R1 if group is NamedGroup.X25519 else NamedGroup.X25519
    offered = f"{CURVES[first]}:{CURVES[group]}" if retry else CURVES[group]
    config = ServerConfig(credentials=[identities.of().credential], groups=[group])
    with Host() as host, connecting(host, identities, curves=offered) as client, host.accept(config) as tls:
        assert tls.info.group is group
        assert tls.info.hello_retry is retry
        report = report_of(client)
        assert "group" in report
        check_agreement(tls, report)
        check_answer(tls, client)


def test_server_checks_a_certificate(identities: Identities) -> None:
    shown = identities.of()
    config = ServerConfig(credentials=[shown.credential], client_auth=ClientAuth(verify=identities.trust))
    with (
        Host() as host,
        connecting(host, identities, cert=shown.chain_file, key=shown.key_file) as client,
        host.accept(config) as tls,
    ):
        assert tls.info.peer_certificates[0].der == shown.credential.leaf.der
        check_agreement(tls, report_of(client))
        check_answer(tls, client)


def test_server_refuses_a_client_without_a_certificate(identities: Identities) -> None:
    auth = ClientAuth(verify=identities.trust)
    config = ServerConfig(credentials=[identities.of().credential], client_auth=auth)
    with Host() as host, connecting(host, identities) as client:
        with pytest.raises(CertificateError) as caught:
            host.accept(config)
        assert caught.value.alert is Alert.CERTIFICATE_REQUIRED
        client.errors.expect("ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED")


def test_server_echoes_a_mebibyte(identities: Identities) -> None:
    data = digits(MEBIBYTE)
    config = ServerConfig(credentials=[identities.of().credential], alpn=["echo"])
    with (
        Host() as host,
        connecting(host, identities, says=data, protocols=["other", "echo"]) as client,
        host.accept(config) as tls,
    ):
        tls.update_keys(request_peer=True)
        check_answer(tls, client, data)
        check_agreement(tls, report_of(client))
        assert tls.info.alpn == "echo"


@pytest.mark.parametrize(
    ("name", "stranger", "heard"),
    [
        (OTHER_NAME, False, "ERR_TLS_CERT_ALTNAME_INVALID"),
        (NAME, True, "UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT"),
    ],
    ids=["wrong name", "unknown CA"],
)
def test_server_is_refused(
    name: str, stranger: bool, heard: str, identities: Identities, strangers: Identities
) -> None:
    config = ServerConfig(credentials=[(strangers if stranger else identities).of().credential])
    with Host() as host, connecting(host, identities, name) as client:
        # Node judges when OpenSSL is done, and then drops the connection before its Finished has left, without an alert
        with pytest.raises((TruncatedError, ConnectionError)):
            host.accept(config)
        client.errors.expect(heard)
        assert client.finish() == 1
