"""Against GnuTLS: gnutls-serv and gnutls-cli over loopback."""

from __future__ import annotations

from contextlib import AbstractContextManager
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
    ClientConnection,
    ClientSessions,
    Credential,
    EarlyData,
    ExternalPsk,
    NamedGroup,
    ReplayGuard,
    ServerConfig,
    ServerSessions,
    SignatureScheme,
    TicketKeys,
    TLSVersion,
    danger,
)
from handclasp.crypto.signatures import KeyKind
from handclasp.crypto.suites import SUITES as ALL_SUITES
from handclasp.trace import Direction
from interop.identities import CLASSIC_SCHEMES, NAME, Identities, Identity, wrong_one
from interop.programs import (
    HOST,
    MEBIBYTE,
    Host,
    Program,
    Watch,
    Wire,
    check_echo,
    connect,
    digits,
    echo,
    listening,
    read_exactly,
    tool,
)

pytestmark = pytest.mark.peer("GnuTLS")

CIPHERS = {
    CipherSuite.TLS_AES_128_GCM_SHA256: "AES-128-GCM",
    CipherSuite.TLS_AES_256_GCM_SHA384: "AES-256-GCM",
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256: "CHACHA20-POLY1305",
    CipherSuite.TLS_AES_128_CCM_SHA256: "AES-128-CCM",
    CipherSuite.TLS_AES_128_CCM_8_SHA256: "AES-128-CCM-8",
}

GROUPS = {
    NamedGroup.X25519: "X25519",
    NamedGroup.SECP256R1: "SECP256R1",
    NamedGroup.SECP384R1: "SECP384R1",
    NamedGroup.SECP521R1: "SECP521R1",
    NamedGroup.X448: "X448",
}

SIGNATURES = {
    SignatureScheme.ECDSA_SECP256R1_SHA256: "ECDSA-SECP256R1-SHA256",
    SignatureScheme.ECDSA_SECP384R1_SHA384: "ECDSA-SECP384R1-SHA384",
    SignatureScheme.ECDSA_SECP521R1_SHA512: "ECDSA-SECP521R1-SHA512",
    SignatureScheme.ED25519: "EdDSA-Ed25519",
    SignatureScheme.ED448: "EdDSA-Ed448",
    SignatureScheme.RSA_PSS_RSAE_SHA256: "RSA-PSS-RSAE-SHA256",
    SignatureScheme.RSA_PSS_RSAE_SHA384: "RSA-PSS-RSAE-SHA384",
    SignatureScheme.RSA_PSS_RSAE_SHA512: "RSA-PSS-RSAE-SHA512",
    SignatureScheme.RSA_PSS_PSS_SHA256: "RSA-PSS-SHA256",
    SignatureScheme.RSA_PSS_PSS_SHA384: "RSA-PSS-SHA384",
    SignatureScheme.RSA_PSS_PSS_SHA512: "RSA-PSS-SHA512",
}

SUITES = [code for code, suite in ALL_SUITES.items() if suite.version is TLSVersion.TLS_1_3]
TLS13 = "NORMAL:-VERS-ALL:+VERS-TLS1.3"
OLDER = "NORMAL:-VERS-ALL:+VERS-TLS1.2"


def only(
    *, suite: CipherSuite | None = None, groups: tuple[NamedGroup, ...] = (), scheme: SignatureScheme | None = None
) -> str:
    """A priority string that leaves nothing else."""
    priority = TLS13
    if suite is not None:
        priority += f":-CIPHER-ALL:+{CIPHERS[suite]}"
    if groups:
        priority += ":-GROUP-ALL" + "".join(f":+GROUP-{GROUPS[group]}" for group in groups)
    if scheme is not None:
        # the CA's signature on the certificate has to be allowed as well
        priority += f":-SIGN-ALL:+SIGN-{SIGNATURES[scheme]}:+SIGN-ECDSA-SHA256"
    return priority


def gnutls_serv(
    identity: Identity, *options: str | Path, priority: str = TLS13
) -> AbstractContextManager[tuple[Program, int]]:
    """An echo server and its port."""
    # line by line: it does not flush its output to a pipe
    command = (tool("stdbuf"), "-oL", tool("gnutls-serv"), "--echo", "--priority", priority)
    certificate = ("--x509certfile", identity.chain_file, "--x509keyfile", identity.key_file)
    return listening(
        lambda port: (*command, "--port", str(port), *certificate, *options),
        lambda server: server.errors.expect(r"listening on IPv4 0.0.0.0 port \d+...done"),
    )


def gnutls_cli(
    host: Host, trusted: Identities, *options: str | Path, priority: str = TLS13, name: str = NAME
) -> Program:
    return Program(
        *(tool("stdbuf"), "-oL", tool("gnutls-cli"), "--port", str(host.port), HOST, "--priority", priority),
        *("--x509cafile", trusted.root_file, "--sni-hostname", name, "--verify-hostname", name),
        *options,
    )


def described(program: Program) -> tuple[str, str, str]:
    """Group, signature and cipher, as GnuTLS describes a session."""
    line = program.output.expect(r"- Description: (\(TLS1\.3.*\))\n")
    _, group, signature, cipher = line.strip("()").split(")-(")
    return group.removeprefix("ECDHE-"), signature, cipher


# --- our client, their server ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_client_and_suite(suite: CipherSuite, identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, cipher_suites=list(SUITES))
    with gnutls_serv(identities.of(), priority=only(suite=suite)) as (server, port), connect(port, config) as tls:
        assert tls.info.cipher_suite is suite
        check_echo(tls, b"there and back\n")
        assert described(server)[2] == CIPHERS[suite]


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("retry", [True, False], ids=["retry", "at once"])
def test_client_and_group(group: NamedGroup, retry: bool, identities: Identities) -> None:
    other = NamedGroup.SECP256R1 if group is NamedGroup.X25519 else NamedGroup.X25519
    config = ClientConfig(trust=identities.trust, key_shares=[other if retry else group])
    with (
        gnutls_serv(identities.of(), priority=only(groups=(group,))) as (server, port),
        connect(port, config) as tls,
    ):
        assert tls.info.group is group
        assert tls.info.hello_retry is retry
        check_echo(tls, b"there and back\n")
        assert described(server)[0] == GROUPS[group]


@pytest.mark.parametrize("scheme", CLASSIC_SCHEMES, ids=str)
def test_client_and_scheme(scheme: SignatureScheme, identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, signature_schemes=[scheme])
    with gnutls_serv(identities.of(CLASSIC_SCHEMES[scheme])) as (server, port), connect(port, config) as tls:
        assert tls.info.signature_scheme is scheme
        check_echo(tls, b"there and back\n")
        assert described(server)[1] == SIGNATURES[scheme]


def test_client_echoes_a_mebibyte(identities: Identities) -> None:
    with (
        gnutls_serv(identities.of()) as (_, port),
        connect(port, ClientConfig(trust=identities.trust)) as tls,
    ):
        check_echo(tls, digits(MEBIBYTE))


def test_client_updates_keys(identities: Identities) -> None:
    watch = Watch()
    config = ClientConfig(trust=identities.trust, trace=watch)
    with gnutls_serv(identities.of()) as (_, port), connect(port, config) as tls:
        for turn, asks in enumerate((True, False, True)):
            tls.update_keys(request_peer=asks)
            check_echo(tls, digits(20_000 + 64 * turn))
    assert watch.updates(Direction.SENT) == 3
    assert watch.updates(Direction.RECEIVED) == 2


@pytest.mark.parametrize("ours", [None, 600], ids=["theirs alone", "both"])
def test_client_and_record_size_limit(ours: int | None, identities: Identities) -> None:
    watch = Watch()
    config = ClientConfig(trust=identities.trust, trace=watch, record_size_limit=ours or (1 << 14) + 1)
    with gnutls_serv(identities.of(), "--recordsize", "512") as (_, port), connect(port, config) as tls:
        check_echo(tls, digits(1 << 16))
    # the limit covers the content and its type; the tag comes on top
    assert watch.largest_record(Direction.SENT) == 512 + 1 + 16
    assert watch.largest_record(Direction.RECEIVED) <= (ours or 1 << 14) + 16


def test_client_and_application_protocol(identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, alpn=["h2", "http/1.1"])
    with gnutls_serv(identities.of(), "--alpn", "http/1.1") as (server, port), connect(port, config) as tls:
        assert tls.info.alpn == "http/1.1"
        assert server.output.expect(r"Application protocol: (\S+)") == "http/1.1"


def test_client_without_a_common_protocol(identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, alpn=["h2"])
    with gnutls_serv(identities.of(), "--alpn", "http/1.1", "--alpn-fatal") as (_, port):
        with pytest.raises(AlertReceived) as caught:
            connect(port, config)
        assert caught.value.alert is Alert.NO_APPLICATION_PROTOCOL


@pytest.mark.parametrize("scheme", CLASSIC_SCHEMES, ids=str)
def test_client_shows_a_certificate(scheme: SignatureScheme, identities: Identities) -> None:
    identity = identities.of(CLASSIC_SCHEMES[scheme])
    config = ClientConfig(trust=identities.trust, credentials=[identity.credential])
    demand = ("--x509cafile", identities.root_file, "--require-client-cert", "--verify-client-cert")
    with (
        gnutls_serv(identity, *demand, priority=only(scheme=scheme)) as (server, port),
        connect(port, config) as tls,
    ):
        assert tls.info.client_signature_scheme is scheme
        check_echo(tls, b"it is me\n")
        assert server.output.expect(r"Client Signature: (\S+)") == SIGNATURES[scheme]
        server.output.expect("The certificate is trusted")


def test_client_without_a_certificate_is_refused(identities: Identities) -> None:
    demand = ("--x509cafile", identities.root_file, "--require-client-cert", "--verify-client-cert")
    with (
        gnutls_serv(identities.of(), *demand) as (_, port),
        connect(port, ClientConfig(trust=identities.trust)) as tls,
    ):
        with pytest.raises(AlertReceived) as caught:
            tls.recv(1)
        assert caught.value.alert is Alert.CERTIFICATE_REQUIRED


def test_channel_bindings_of_the_client(identities: Identities) -> None:
    with (
        gnutls_serv(identities.of()) as (server, port),
        connect(port, ClientConfig(trust=identities.trust)) as tls,
    ):
        for kind in ("tls-exporter", "tls-server-end-point"):
            assert server.output.expect(f"'{kind}': ([0-9a-f]+)") == tls.channel_binding(kind).hex()


@pytest.mark.parametrize("priority", [TLS13, OLDER], ids=["TLS 1.3", "TLS 1.2"])
@pytest.mark.parametrize(
    ("wrong", "alert"),
    [("name", Alert.BAD_CERTIFICATE), ("CA", Alert.UNKNOWN_CA), ("time", Alert.CERTIFICATE_EXPIRED)],
)
def test_client_refuses(priority: str, wrong: str, alert: Alert, identities: Identities, strangers: Identities) -> None:
    shown = wrong_one(wrong, identities, strangers)
    # the debug level at which it names the alerts it receives
    with gnutls_serv(shown, "--debug", "5", priority=priority) as (server, port):
        with pytest.raises(CertificateError) as caught:
            connect(port, ClientConfig(trust=identities.trust))
        assert caught.value.alert is alert
        server.errors.expect(rf"Alert\[2\|{int(alert)}\]")


# --- our server, their client ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_server_and_suite(suite: CipherSuite, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], cipher_suites=list(SUITES))
    with (
        Host() as host,
        gnutls_cli(host, identities, priority=only(suite=suite)) as client,
        host.accept(config) as tls,
    ):
        assert tls.info.cipher_suite is suite
        assert described(client)[2] == CIPHERS[suite]
        client.output.expect("The certificate is trusted")
        client.say(b"from them\n")
        assert read_exactly(tls, 10) == b"from them\n"
        tls.sendall(b"from us\n")
        assert client.output.holds(b"from us\n")


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("retry", [True, False], ids=["retry", "at once"])
def test_server_and_group(group: NamedGroup, retry: bool, identities: Identities) -> None:
    other = NamedGroup.SECP256R1 if group is NamedGroup.X25519 else NamedGroup.X25519
    priority = only(groups=(other, group) if retry else (group,))
    config = ServerConfig(credentials=[identities.of().credential], groups=[group])
    with (
        Host() as host,
        gnutls_cli(host, identities, "--single-key-share", priority=priority) as client,
        host.accept(config) as tls,
    ):
        assert tls.info.group is group
        assert tls.info.hello_retry is retry
        assert described(client)[0] == GROUPS[group]


@pytest.mark.parametrize("scheme", CLASSIC_SCHEMES, ids=str)
def test_server_and_scheme(scheme: SignatureScheme, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of(CLASSIC_SCHEMES[scheme]).credential])
    with (
        Host() as host,
        gnutls_cli(host, identities, priority=only(scheme=scheme)) as client,
        host.accept(config) as tls,
    ):
        assert tls.info.signature_scheme is scheme
        assert described(client)[1] == SIGNATURES[scheme]
        client.output.expect("The certificate is trusted")


def test_server_exchanges_a_mebibyte(identities: Identities) -> None:
    data = digits(MEBIBYTE)
    config = ServerConfig(credentials=[identities.of().credential])
    with Host() as host, gnutls_cli(host, identities) as client, host.accept(config) as tls:
        client.say(data)
        client.hang_up()
        echo(tls)
        assert client.output.holds(data)
        assert client.finish() == 0


@pytest.mark.parametrize(("command", "answers"), [("rekey", 1), ("rekey1", 0)], ids=["asks back", "alone"])
def test_server_follows_key_updates(command: str, answers: int, identities: Identities) -> None:
    watch = Watch()
    config = ServerConfig(credentials=[identities.of().credential], trace=watch)
    with (
        Host() as host,
        gnutls_cli(host, identities, "--inline-commands") as client,
        host.accept(config) as tls,
    ):
        client.output.expect("Simple Client Mode")
        client.say(b"before\n")
        assert read_exactly(tls, 7) == b"before\n"
        client.say(f"^{command}^\n".encode())
        client.output.expect("Rekey was completed")
        client.say(b"after\n")
        assert read_exactly(tls, 6) == b"after\n"
        assert watch.updates(Direction.RECEIVED) == 1
        assert watch.updates(Direction.SENT) == answers
        tls.update_keys(request_peer=True)
        tls.sendall(b"with new keys\n")
        assert client.output.holds(b"with new keys\n")
        client.say(b"the end\n")
        assert read_exactly(tls, 8) == b"the end\n"
        assert watch.updates(Direction.RECEIVED) == 2


@pytest.mark.parametrize("ours", [None, 600], ids=["theirs alone", "both"])
def test_server_and_record_size_limit(ours: int | None, identities: Identities) -> None:
    watch = Watch()
    data = digits(1 << 16)
    config = ServerConfig(
        credentials=[identities.of().credential], trace=watch, record_size_limit=ours or (1 << 14) + 1
    )
    with (
        Host() as host,
        gnutls_cli(host, identities, "--recordsize", "512") as client,
        host.accept(config) as tls,
    ):
        tls.sendall(data)
        assert client.output.holds(data)
    assert watch.largest_record(Direction.SENT) == 512 + 1 + 16


def test_server_and_application_protocol(identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], alpn=["h2", "http/1.1"])
    with (
        Host() as host,
        gnutls_cli(host, identities, "--alpn", "http/1.1", "--alpn", "h2") as client,
        host.accept(config) as tls,
    ):
        assert tls.info.alpn == "h2"
        assert client.output.expect(r"Application protocol: (\S+)") == "h2"


def test_server_checks_a_certificate(identities: Identities) -> None:
    shown = identities.of()
    config = ServerConfig(credentials=[shown.credential], client_auth=ClientAuth(verify=identities.trust))
    certificate = ("--x509certfile", shown.chain_file, "--x509keyfile", shown.key_file)
    with Host() as host, gnutls_cli(host, identities, *certificate) as client, host.accept(config) as tls:
        assert tls.info.peer_certificates[0].der == shown.credential.leaf.der
        client.output.expect("Successfully sent 1 certificate")
        tls.sendall(b"it is you\n")
        assert client.output.holds(b"it is you\n")


def test_server_refuses_a_client_without_a_certificate(identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], client_auth=ClientAuth(verify=identities.trust))
    with Host() as host, gnutls_cli(host, identities) as client:
        with pytest.raises(CertificateError) as caught:
            host.accept(config)
        assert caught.value.alert is Alert.CERTIFICATE_REQUIRED
        client.errors.expect("Certificate is required|fatal alert has been received")


@pytest.mark.parametrize("priority", [TLS13, OLDER], ids=["TLS 1.3", "TLS 1.2"])
@pytest.mark.parametrize(
    ("wrong", "heard"),
    [
        ("name", "name in the certificate does not match"),
        ("CA", "certificate issuer is unknown"),
        ("time", "certificate chain uses expired certificate"),
    ],
)
def test_server_is_refused(
    priority: str, wrong: str, heard: str, identities: Identities, strangers: Identities
) -> None:
    shown = wrong_one(wrong, identities, strangers)
    config = ServerConfig(credentials=[shown.credential])
    with Host() as host, gnutls_cli(host, identities, priority=priority) as client:
        with pytest.raises(AlertReceived) as caught:
            host.accept(config)
        # GnuTLS has one alert for whatever its caller's verification dislikes
        assert caught.value.alert is Alert.BAD_CERTIFICATE
        client.output.expect(heard)
        assert client.finish() == 1


# --- TLS 1.2 ---------------------------------------------------------------------------------------------------------

KEY_TRANSPORT = OLDER + ":-KX-ALL:+RSA"


def _older(config: Any, priority: str) -> Any:
    if priority == OLDER:
        return config
    with pytest.warns(danger.InsecureWarning):
        return danger.allow_rsa_key_transport(config)


@pytest.mark.parametrize("priority", [OLDER, KEY_TRANSPORT], ids=["ECDHE", "key transport"])
def test_older_server(priority: str, identities: Identities) -> None:
    usage = ("digital_signature", "key_encipherment")
    credential = identities.authority.issue(NAME, key_kind=KeyKind.RSA, key_usage=usage)
    config = _older(ServerConfig(credentials=[credential]), priority)
    with (
        Host() as host,
        gnutls_cli(host, identities, priority=priority) as client,
        host.accept(config) as tls,
    ):
        assert tls.info.version is TLSVersion.TLS_1_2
        expected = "RSA" if priority == KEY_TRANSPORT else "ECDHE-"
        assert expected in client.output.expect(r"- Description: (\(TLS1\.2.*\))\n")
        client.say(b"from them\n")
        assert read_exactly(tls, 10) == b"from them\n"
        tls.sendall(b"from us\n")
        assert client.output.holds(b"from us\n")


@pytest.mark.parametrize("priority", [OLDER, KEY_TRANSPORT], ids=["ECDHE", "key transport"])
def test_older_client(priority: str, identities: Identities, tmp_path: Path) -> None:
    usage = ("digital_signature", "key_encipherment")
    pair = identities.authority.issue_pem(NAME, key_kind=KeyKind.RSA, key_usage=usage)
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(pair.chain)
    key.write_bytes(pair.key)
    identity = Identity(Credential.from_pem(pair.chain, pair.key), chain, key)
    config = _older(ClientConfig(trust=identities.trust), priority)
    with gnutls_serv(identity, priority=priority) as (_, port), connect(port, config) as tls:
        assert tls.info.version is TLSVersion.TLS_1_2
        assert (tls.info.group is None) == (priority == KEY_TRANSPORT)
        check_echo(tls, b"there and back\n")


# --- sessions and keys known beforehand ------------------------------------------------------------------------------

VERSIONS = pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)
KEY = bytes(range(32))


def speaking(version: TLSVersion) -> str:
    return f"NORMAL:-VERS-ALL:+VERS-TLS1.{'3' if version is TLSVersion.TLS_1_3 else '2'}"


@VERSIONS
@pytest.mark.parametrize("kept", ["tickets", "ids"])
def test_server_resumes(version: TLSVersion, kept: str, identities: Identities) -> None:
    stores: dict[str, Any] = {"tickets": TicketKeys()} if kept == "tickets" else {"sessions": ServerSessions()}
    config = ServerConfig(credentials=[identities.of().credential], versions=[version], **stores)
    options = ("--resume", "--waitresumption") if version is TLSVersion.TLS_1_3 else ("--resume",)
    with Host() as host, gnutls_cli(host, identities, *options, priority=speaking(version)) as client:
        with host.accept(config) as first:
            assert not first.info.resumed
            assert first.recv(1) == b""
        with host.accept(config) as second:
            assert second.info.resumed
            client.output.expect("This is a resumed session")
            client.say(b"from them\n")
            assert read_exactly(second, 10) == b"from them\n"


@VERSIONS
def test_client_resumes(version: TLSVersion, identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, versions=[version], sessions=ClientSessions())
    resumed = []
    with gnutls_serv(identities.of(), priority=speaking(version)) as (_, port):
        for _ in range(3):
            with connect(port, config) as tls:
                check_echo(tls, b"there and back\n")
                resumed.append(tls.info.resumed)
    assert resumed == [False, True, True]


def test_server_takes_early_data(identities: Identities, tmp_path: Path) -> None:
    early = tmp_path / "early"
    early.write_bytes(b"sooner than soon\n")
    config = ServerConfig(
        credentials=[identities.of().credential], tickets=TicketKeys(), early_data=EarlyData(replay=ReplayGuard())
    )
    options = ("--resume", "--waitresumption", "--earlydata", early)
    with Host() as host, gnutls_cli(host, identities, *options) as client:
        with host.accept(config) as first:
            assert first.recv(1) == b""
        with host.accept(config) as second:
            assert second.info.resumed
            assert second.info.early_data is True
            assert second.early_data == b"sooner than soon\n"
            client.output.expect("This is a resumed session")


def test_client_sends_early_data(identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, sessions=ClientSessions(), versions=[TLSVersion.TLS_1_3])
    with gnutls_serv(identities.of(), "--earlydata", "--maxearlydata", "1000") as (_, port):
        with connect(port, config) as tls:
            check_echo(tls, b"first\n")
        connection = ClientConnection(config, NAME, early_data=b"sooner than soon\n")
        with Wire.dial(str(port), connection) as wire:
            wire.until_established()
            assert connection.info.resumed
            assert connection.info.early_data is True


PSK = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+DHE-PSK:+ECDHE-PSK"


def test_server_and_a_key_known_beforehand(identities: Identities) -> None:
    config = ServerConfig(psks=[ExternalPsk(b"sensor", KEY, role="server")])
    options = ("--pskusername", "sensor", "--pskkey", KEY.hex())
    with (
        Host() as host,
        gnutls_cli(host, identities, *options, priority=PSK) as client,
        host.accept(config) as tls,
    ):
        assert tls.info.psk == b"sensor"
        client.output.expect("Simple Client Mode")
        client.say(b"from them\n")
        assert read_exactly(tls, 10) == b"from them\n"


def test_client_and_a_key_known_beforehand(identities: Identities, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text(f"sensor:{KEY.hex()}\n")
    config = ClientConfig(trust=identities.trust, psks=[ExternalPsk(b"sensor", KEY, role="client")])
    with (
        gnutls_serv(identities.of(), "--pskpasswd", passwords, priority=PSK) as (_, port),
        connect(port, config) as tls,
    ):
        assert tls.info.psk == b"sensor"
        check_echo(tls, b"there and back\n")
