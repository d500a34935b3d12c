"""Against Java's JSSE: `java/Peer.java`, built once and run as a client and as a server.

JSSE renews its keys by itself after so many bytes, which no other peer does unless told to.
"""

from __future__ import annotations

from pathlib import Path

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
    TLSVersion,
)
from handclasp.crypto.signatures import KeyKind
from handclasp.crypto.suites import DEFAULT_SUITES
from handclasp.trace import Direction
from interop.identities import CLASSIC_SCHEMES, NAME, OTHER_NAME, Identities, Identity
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
    tool,
)

pytestmark = pytest.mark.peer("Java")

SOURCE = Path(__file__).with_name("java") / "Peer.java"

ALGORITHMS = {
    KeyKind.P256: "EC",
    KeyKind.P384: "EC",
    KeyKind.P521: "EC",
    KeyKind.RSA: "RSA",
    KeyKind.ED25519: "Ed25519",
    KeyKind.ED448: "Ed448",
}
"""Java's names for what a key is."""

GROUPS = {
    NamedGroup.X25519: "x25519",
    NamedGroup.SECP256R1: "secp256r1",
    NamedGroup.SECP384R1: "secp384r1",
    NamedGroup.SECP521R1: "secp521r1",
    NamedGroup.X448: "x448",
}

SCHEMES = (
    SignatureScheme.ECDSA_SECP384R1_SHA384,
    SignatureScheme.ECDSA_SECP521R1_SHA512,
    SignatureScheme.ED25519,
    SignatureScheme.ED448,
    SignatureScheme.RSA_PSS_RSAE_SHA256,
)

UPDATE_AFTER = 18
"""JSSE is told to renew its keys after 2^18 bytes."""


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the compiled program is."""
    tool("java")
    compiler = tool("javac")
    with once_a_run(tmp_path_factory, "java") as folder:
        if not (folder / "Peer.class").exists():
            build(compiler, "-d", folder, SOURCE)
    return folder


def run(classes: Path, group: NamedGroup | None, role: str, *options: str) -> Program:
    only = () if group is None else (f"-Djdk.tls.namedGroups={GROUPS[group]}",)
    # it lives for a second: compiling it well is not worth the while
    return Program(
        tool("java"), "-XX:TieredStopAtLevel=1", "-Xshare:auto", *only, "-cp", classes, "Peer", role, *options
    )


def allowing(scheme: SignatureScheme) -> list[SignatureScheme]:
    """This scheme, and what the CA signs with: JSSE shows no certificate whose own signature was not offered."""
    return list(dict.fromkeys((scheme, SignatureScheme.ECDSA_SECP256R1_SHA256)))


def _shown(identity: Identity, kind: KeyKind) -> tuple[str, str, str]:
    return f"chain={identity.chain_file}", f"key={identity.key_file}", f"algorithm={ALGORITHMS[kind]}"


def serving(
    classes: Path,
    identities: Identities,
    *options: str,
    kind: KeyKind = KeyKind.P256,
    group: NamedGroup | None = None,
) -> Program:
    return run(classes, group, "serve", *_shown(identities.of(kind), kind), *options)


def port_of(server: Program) -> str:
    return server.errors.expect(r"port (\d+)\n")


def connecting(
    classes: Path,
    host: Host,
    trusted: Identities,
    *options: str,
    name: str = NAME,
    group: NamedGroup | None = None,
) -> Program:
    return run(classes, group, "connect", f"port={host.port}", f"trust={trusted.root_file}", f"name={name}", *options)


# --- our client, their server ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", DEFAULT_SUITES[:3], ids=str)
def test_client_and_suite(suite: CipherSuite, classes: Path, identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, alpn=["echo"])
    with (
        serving(classes, identities, f"suites={suite}", "protocols=echo") as server,
        connect(port_of(server), config) as tls,
    ):
        check_echo(tls, b"there and back")
        assert server.errors.expect(r"suite (\S+)\n") == str(tls.info.cipher_suite) == str(suite)
        assert server.errors.expect(r"protocol (\S+)\n") == tls.info.alpn == "echo"


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_client_and_group(group: NamedGroup, classes: Path, identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, key_shares=[NamedGroup.X25519])
    with serving(classes, identities, group=group) as server, connect(port_of(server), config) as tls:
        assert tls.info.group is group
        assert tls.info.hello_retry is (group is not NamedGroup.X25519)
        check_echo(tls, b"there and back")


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_client_and_scheme(scheme: SignatureScheme, classes: Path, identities: Identities) -> None:
    kind = CLASSIC_SCHEMES[scheme]
    credentials = [identities.of(kind).credential]
    config = ClientConfig(trust=identities.trust, credentials=credentials, signature_schemes=allowing(scheme))
    with (
        serving(classes, identities, f"trust={identities.root_file}", kind=kind) as server,
        connect(port_of(server), config) as tls,
    ):
        check_echo(tls, b"there and back")
        assert tls.info.signature_scheme is tls.info.client_signature_scheme is scheme
        server.errors.expect("shaken")


def test_client_echoes_a_mebibyte_under_changing_keys(classes: Path, identities: Identities) -> None:
    watch = Watch()
    config = ClientConfig(trust=identities.trust, trace=watch)
    with serving(classes, identities, f"update={UPDATE_AFTER}") as server, connect(port_of(server), config) as tls:
        check_echo(tls, digits(MEBIBYTE))
        tls.update_keys(request_peer=True)
        check_echo(tls, digits(MEBIBYTE // 8))
        tls.shutdown_write()
        assert tls.recv(1) == b""
        assert server.finish() == 0
    assert watch.updates(Direction.RECEIVED) > 0  # JSSE puts one off while another is under way: how many is chance


@pytest.mark.parametrize(
    ("name", "stranger", "alert"),
    [(OTHER_NAME, False, Alert.BAD_CERTIFICATE), (NAME, True, Alert.UNKNOWN_CA)],
    ids=["wrong name", "unknown CA"],
)
def test_client_refuses(
    name: str, stranger: bool, alert: Alert, classes: Path, identities: Identities, strangers: Identities
) -> None:
    with serving(classes, strangers if stranger else identities) as server:
        with pytest.raises(CertificateError) as caught:
            connect(port_of(server), ClientConfig(trust=identities.trust), name)
        assert caught.value.alert is alert
        server.errors.expect(f"Received fatal alert: {alert}")
        assert server.finish() == 1


# --- our server, their client ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", DEFAULT_SUITES[:3], ids=str)
def test_server_and_suite(suite: CipherSuite, classes: Path, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], alpn=["echo"])
    with (
        Host() as host,
        connecting(classes, host, identities, f"suites={suite}", "protocols=other,echo") as client,
        host.accept(config) as tls,
    ):
        client.say(b"a line")
        client.hang_up()
        echo(tls)
        assert client.output.all() == b"a line"
        assert client.errors.expect(r"suite (\S+)\n") == str(tls.info.cipher_suite) == str(suite)
        assert client.errors.expect(r"protocol (\S+)\n") == tls.info.alpn == "echo"
        assert client.finish() == 0


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_server_and_group(group: NamedGroup, classes: Path, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential])
    with (
        Host() as host,
        connecting(classes, host, identities, group=group) as client,
        host.accept(config) as tls,
    ):
        client.hang_up()
        assert tls.info.group is group
        client.errors.expect("shaken")


def test_server_asks_to_retry(classes: Path, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], groups=[NamedGroup.SECP521R1])
    with Host() as host, connecting(classes, host, identities) as client, host.accept(config) as tls:
        client.hang_up()
        assert tls.info.hello_retry
        client.errors.expect("shaken")


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_server_and_scheme(scheme: SignatureScheme, classes: Path, identities: Identities) -> None:
    kind = CLASSIC_SCHEMES[scheme]
    identity = identities.of(kind)
    config = ServerConfig(
        credentials=[identity.credential],
        client_auth=ClientAuth(verify=identities.trust),
        signature_schemes=allowing(scheme),
    )
    with (
        Host() as host,
        connecting(classes, host, identities, *_shown(identity, kind)) as client,
        host.accept(config) as tls,
    ):
        client.hang_up()
        assert tls.info.signature_scheme is tls.info.client_signature_scheme is scheme
        assert tls.info.peer_certificates[0].der == identity.credential.leaf.der
        client.errors.expect("shaken")


def test_server_echoes_a_mebibyte_under_changing_keys(classes: Path, identities: Identities) -> None:
    data = digits(MEBIBYTE)
    watch = Watch()
    config = ServerConfig(credentials=[identities.of().credential], trace=watch)
    with (
        Host() as host,
        connecting(classes, host, identities, f"update={UPDATE_AFTER}") as client,
        host.accept(config) as tls,
    ):
        client.say(data)
        client.hang_up()
        # beyond its limit JSSE asks for new keys at every record it reads, so it needs to be listened to while we send
        echo(tls)
        assert client.output.all() == data
        assert client.finish() == 0
    assert watch.updates(Direction.RECEIVED) > 0  # JSSE puts one off while another is under way: how many is chance


@pytest.mark.parametrize(
    ("name", "stranger", "heard"),
    [
        (OTHER_NAME, False, "No subject alternative DNS name matching other.test found"),
        (NAME, True, "unable to find valid certification path"),
    ],
    ids=["wrong name", "unknown CA"],
)
def test_server_is_refused(
    name: str, stranger: bool, heard: str, classes: Path, identities: Identities, strangers: Identities
) -> None:
    config = ServerConfig(credentials=[(strangers if stranger else identities).of().credential])
    with Host() as host, connecting(classes, host, identities, name=name) as client:
        with pytest.raises(AlertReceived) as caught:
            host.accept(config)
        # JSSE has one alert for whatever its verification dislikes
        assert caught.value.alert is Alert.CERTIFICATE_UNKNOWN
        client.errors.expect(heard)
        assert client.finish() == 1


# --- TLS 1.2 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA], ids=str)
def test_older_server(kind: KeyKind, classes: Path, identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust)
    with (
        serving(classes, identities, "version=TLSv1.2", kind=kind) as server,
        connect(port_of(server), config) as tls,
    ):
        assert tls.info.version is TLSVersion.TLS_1_2
        assert server.errors.expect(r"suite (\S+)\n") == str(tls.info.cipher_suite)
        check_echo(tls, b"there and back")


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA], ids=str)
def test_older_client(kind: KeyKind, classes: Path, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of(kind).credential])
    with (
        Host() as host,
        connecting(classes, host, identities, "version=TLSv1.2") as client,
        host.accept(config) as tls,
    ):
        assert tls.info.version is TLSVersion.TLS_1_2
        assert client.errors.expect(r"suite (\S+)\n") == str(tls.info.cipher_suite)
