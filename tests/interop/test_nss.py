"""Against NSS: its programs tstclnt and selfserv over loopback."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from handclasp import (
    Alert,
    AlertReceived,
    CertificateError,
    CipherSuite,
    ClientAuth,
    ClientConfig,
    ClientSessions,
    NamedGroup,
    ServerConfig,
    TicketKeys,
    TLSSocket,
    TLSVersion,
)
from handclasp.crypto.signatures import KeyKind
from handclasp.crypto.suites import DEFAULT_SUITES
from handclasp.trace import Direction
from interop.identities import NAME, Identities, Identity, wrong_one
from interop.nss import Database
from interop.programs import (
    HOST,
    MEBIBYTE,
    Host,
    Program,
    Watch,
    connect,
    digits,
    listening,
    read_exactly,
    read_to_end,
    tool,
)

pytestmark = pytest.mark.peer("NSS")

VERSIONS = {TLSVersion.TLS_1_3: "tls1.3:tls1.3", TLSVersion.TLS_1_2: "tls1.2:tls1.2"}
"""As the programs' options have them: from, to."""

BOTH = pytest.mark.parametrize("version", VERSIONS, ids=str)

GROUPS = {
    NamedGroup.X25519: "x25519",
    NamedGroup.SECP256R1: "P256",
    NamedGroup.SECP384R1: "P384",
    NamedGroup.SECP521R1: "P521",
}

SCHEMES = {
    KeyKind.P256: "ecdsa_secp256r1_sha256",
    KeyKind.P384: "ecdsa_secp384r1_sha384",
    KeyKind.RSA: "rsa_pss_rsae_sha256",
}

NO_CERTIFICATE, BAD_CERT_ALERT, EXPIRED_CERT_ALERT, UNKNOWN_CA_ALERT = "-12285", "-12271", "-12269", "-12195"
"""NSS's numbers of errors (its SSLerrs.h), which is how selfserv tells them."""

REQUEST = b"GET / HTTP/1.0\r\n\r\n"
"""selfserv answers when it has seen the end of a request, with a head and the request."""


@pytest.fixture
def database(tmp_path: Path, identities: Identities) -> Database:
    return Database(tmp_path / "nss", identities)


def selfserv(
    database: Database, identity: Identity, *options: str, version: TLSVersion = TLSVersion.TLS_1_3
) -> AbstractContextManager[tuple[Program, int]]:
    nickname = database.enter(identity)
    # line by line: it does not flush its output to a pipe
    command = (
        tool("stdbuf"),
        "-oL",
        tool("selfserv"),
        "-d",
        database.name,
        "-n",
        nickname,
        "-V",
        VERSIONS[version],
        "-v",
        *options,
    )
    return listening(
        lambda port: (*command, "-p", str(port)),
        lambda server: server.errors.expect("About to call accept"),
    )


def tstclnt(
    database: Database, host: Host, *options: str, name: str = NAME, version: TLSVersion = TLSVersion.TLS_1_3
) -> Program:
    return Program(
        *(tool("stdbuf"), "-o0", tool("tstclnt"), "-d", database.name, "-h", HOST, "-p", str(host.port), "-a", name),
        *("-V", VERSIONS[version], "-v", *options),
    )


def check_page(tls: TLSSocket) -> None:
    """Ask selfserv for what it has: a head, and the request again."""
    tls.sendall(REQUEST)
    answer = read_to_end(tls)
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert REQUEST in answer


def check_answer(tls: TLSSocket, client: Program, said: bytes = b"a line\n") -> None:
    """Have tstclnt say something, and hear it again."""
    client.say(said)
    assert read_exactly(tls, len(said)) == said
    tls.sendall(said)
    assert client.output.holds(said)


# --- our client, their server ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", DEFAULT_SUITES, ids=str)
def test_client_and_suite(suite: CipherSuite, database: Database, identities: Identities) -> None:
    version = TLSVersion.TLS_1_3 if suite in DEFAULT_SUITES[:3] else TLSVersion.TLS_1_2
    identity = identities.of(KeyKind.RSA if "_RSA_" in suite.name else KeyKind.P256)
    config = ClientConfig(trust=identities.trust, cipher_suites=[suite], alpn=["http/1.1"])
    with selfserv(database, identity, "-Q", version=version) as (_, port), connect(port, config) as tls:
        assert (tls.info.version, tls.info.cipher_suite) == (version, suite)
        assert tls.info.alpn == "http/1.1"
        check_page(tls)


@BOTH
@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("retry", [True, False], ids=["retry", "at once"])
def test_client_and_group(
    version: TLSVersion, group: NamedGroup, retry: bool, database: Database, identities: Identities
) -> None:
    other = NamedGroup.SECP256R1 if group is NamedGroup.X25519 else NamedGroup.X25519
    config = ClientConfig(trust=identities.trust, key_shares=[other if retry else group])
    with (
        selfserv(database, identities.of(KeyKind.RSA), "-I", GROUPS[group], version=version) as (_, port),
        connect(port, config) as tls,
    ):
        assert tls.info.group is group
        assert tls.info.hello_retry is (retry and version is TLSVersion.TLS_1_3)
        check_page(tls)


@BOTH
@pytest.mark.parametrize("kind", SCHEMES, ids=lambda kind: kind.name)
def test_client_shows_a_certificate(
    version: TLSVersion, kind: KeyKind, database: Database, identities: Identities
) -> None:
    identity = identities.of(kind)
    config = ClientConfig(trust=identities.trust, credentials=[identity.credential])
    with (
        selfserv(database, identity, "-r", "-r", "-J", f"{SCHEMES[kind]},ecdsa_secp256r1_sha256", version=version) as (
            server,
            port,
        ),
        connect(port, config) as tls,
    ):
        assert str(tls.info.signature_scheme) == str(tls.info.client_signature_scheme) == SCHEMES[kind]
        check_page(tls)
        server.errors.expect("selfserv: subject DN: CN=localhost")


@BOTH
def test_client_without_a_certificate_is_refused(
    version: TLSVersion, database: Database, identities: Identities
) -> None:
    with selfserv(database, identities.of(), "-r", "-r", version=version) as (server, port):
        with pytest.raises(AlertReceived) as caught, connect(port, ClientConfig(trust=identities.trust)) as tls:
            tls.recv(1)
        assert caught.value.alert in (Alert.CERTIFICATE_REQUIRED, Alert.BAD_CERTIFICATE)
        server.errors.expect(NO_CERTIFICATE)


@pytest.mark.parametrize(
    ("version", "tickets"),
    [(TLSVersion.TLS_1_3, True), (TLSVersion.TLS_1_2, True), (TLSVersion.TLS_1_2, False)],
    ids=["TLS 1.3", "TLS 1.2-ticket", "TLS 1.2-id"],
)
def test_client_resumes(version: TLSVersion, tickets: bool, database: Database, identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, sessions=ClientSessions())
    options = ("-u",) if tickets else ()
    with selfserv(database, identities.of(), *options, version=version) as (_, port):
        for resumed in (False, True, True):
            with connect(port, config) as tls:
                assert tls.info.resumed is resumed
                check_page(tls)


def test_client_updates_keys(database: Database, identities: Identities) -> None:
    watch = Watch()
    config = ClientConfig(trust=identities.trust, trace=watch)
    with selfserv(database, identities.of()) as (_, port), connect(port, config) as tls:
        tls.sendall(b"GET / HTTP/1.0\r\n")
        tls.update_keys(request_peer=True)
        tls.sendall(b"Host: localhost\r\n")
        tls.update_keys()
        tls.sendall(b"\r\n")
        assert b"Host: localhost" in read_to_end(tls)
    assert watch.updates(Direction.SENT) == 2
    assert watch.updates(Direction.RECEIVED) == 1


@BOTH
@pytest.mark.parametrize(
    ("wrong", "alert", "heard"),
    [
        ("name", Alert.BAD_CERTIFICATE, BAD_CERT_ALERT),
        ("CA", Alert.UNKNOWN_CA, UNKNOWN_CA_ALERT),
        ("time", Alert.CERTIFICATE_EXPIRED, EXPIRED_CERT_ALERT),
    ],
)
def test_client_refuses(
    version: TLSVersion,
    wrong: str,
    alert: Alert,
    heard: str,
    database: Database,
    identities: Identities,
    strangers: Identities,
) -> None:
    shown = wrong_one(wrong, identities, strangers)
    with selfserv(database, shown, version=version) as (server, port):
        with pytest.raises(CertificateError) as caught:
            connect(port, ClientConfig(trust=identities.trust))
        assert caught.value.alert is alert
        server.errors.expect(heard)


# --- our server, their client ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("kind", SCHEMES, ids=lambda kind: kind.name)
def test_server_and_certificates(
    version: TLSVersion, kind: KeyKind, database: Database, identities: Identities
) -> None:
    identity = identities.of(kind)
    config = ServerConfig(credentials=[identity.credential], client_auth=ClientAuth(verify=identities.trust))
    nickname = database.enter(identity)
    with (
        Host() as host,
        tstclnt(database, host, "-n", nickname, version=version) as client,
        host.accept(config) as tls,
    ):
        assert tls.info.version is version
        assert tls.info.server_name == NAME
        assert tls.info.verified_chain[0].der == identity.credential.leaf.der
        check_answer(tls, client)


@BOTH
@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("retry", [True, False], ids=["retry", "at once"])
def test_server_and_group(
    version: TLSVersion, group: NamedGroup, retry: bool, database: Database, identities: Identities
) -> None:
    first = NamedGroup.SECP256R1 if group is NamedGroup.X25519 else NamedGroup.X25519
    offered = f"{GROUPS[first]},{GROUPS[group]}" if retry else GROUPS[group]
    # a curve that is not offered is not one for certificates of TLS 1.2 either
    config = ServerConfig(credentials=[identities.of(KeyKind.RSA).credential], groups=[group])
    with (
        Host() as host,
        tstclnt(database, host, "-I", offered, version=version) as client,
        host.accept(config) as tls,
    ):
        assert tls.info.group is group
        assert tls.info.hello_retry is (retry and version is TLSVersion.TLS_1_3)
        check_answer(tls, client)


@pytest.mark.parametrize("suite", DEFAULT_SUITES, ids=str)
def test_server_and_suite(suite: CipherSuite, database: Database, identities: Identities) -> None:
    version = TLSVersion.TLS_1_3 if suite in DEFAULT_SUITES[:3] else TLSVersion.TLS_1_2
    identity = identities.of(KeyKind.RSA if "_RSA_" in suite.name else KeyKind.P256)
    config = ServerConfig(credentials=[identity.credential], cipher_suites=[suite])
    with Host() as host, tstclnt(database, host, version=version) as client, host.accept(config) as tls:
        assert (tls.info.version, tls.info.cipher_suite) == (version, suite)
        check_answer(tls, client)


@BOTH
def test_server_resumes(version: TLSVersion, database: Database, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], tickets=TicketKeys())
    request = database.folder / "request"
    request.write_bytes(b"a line\n")
    with (
        Host() as host,
        # it connects again when what came from the file is answered and the connection is closed
        tstclnt(database, host, "-u", "-L", "3", "-A", str(request), version=version) as client,
    ):
        for resumed in (False, True, True):
            with host.accept(config) as tls:
                assert tls.info.resumed is resumed
                assert read_exactly(tls, 7) == b"a line\n"
                tls.sendall(b"an answer\n")
        assert client.finish() == 0
        assert client.output.all().count(b"an answer") == 3


@BOTH
def test_server_echoes_a_mebibyte(version: TLSVersion, database: Database, identities: Identities) -> None:
    data = digits(MEBIBYTE)
    config = ServerConfig(credentials=[identities.of().credential])
    with Host() as host, tstclnt(database, host, version=version) as client, host.accept(config) as tls:
        client.say(data)
        assert read_exactly(tls, len(data)) == data
        tls.sendall(data)
        assert client.output.holds(data)


def test_server_updates_keys(database: Database, identities: Identities) -> None:
    watch = Watch()
    config = ServerConfig(credentials=[identities.of().credential], trace=watch)
    with Host() as host, tstclnt(database, host) as client, host.accept(config) as tls:
        for asks in (True, False, True):
            tls.update_keys(request_peer=asks)
            check_answer(tls, client)
            # its answer to our wish comes before what it says next
            check_answer(tls, client, b"again\n")
    assert watch.updates(Direction.SENT) == 3
    assert watch.updates(Direction.RECEIVED) == 2


@BOTH
def test_server_refuses_a_client_without_a_certificate(
    version: TLSVersion, database: Database, identities: Identities
) -> None:
    auth = ClientAuth(verify=identities.trust)
    config = ServerConfig(credentials=[identities.of().credential], client_auth=auth)
    with Host() as host, tstclnt(database, host, version=version) as client:
        with pytest.raises(CertificateError) as caught:
            host.accept(config)
        newer = version is TLSVersion.TLS_1_3
        assert caught.value.alert is (Alert.CERTIFICATE_REQUIRED if newer else Alert.HANDSHAKE_FAILURE)
        client.errors.expect("SSL_ERROR_RX_CERTIFICATE_REQUIRED_ALERT|SSL_ERROR_HANDSHAKE_FAILURE_ALERT")


@BOTH
@pytest.mark.parametrize(
    ("wrong", "alert", "heard"),
    [
        ("name", Alert.BAD_CERTIFICATE, "SSL_ERROR_BAD_CERT_DOMAIN"),
        ("CA", Alert.UNKNOWN_CA, "SEC_ERROR_UNKNOWN_ISSUER"),
        ("time", Alert.CERTIFICATE_EXPIRED, "SEC_ERROR_EXPIRED_CERTIFICATE"),
    ],
)
def test_server_is_refused(
    version: TLSVersion,
    wrong: str,
    alert: Alert,
    heard: str,
    database: Database,
    identities: Identities,
    strangers: Identities,
) -> None:
    shown = wrong_one(wrong, identities, strangers)
    with Host() as host, tstclnt(database, host, version=version) as client:
        # in TLS 1.2 it looks at the certificate beside the handshake
        config = ServerConfig(credentials=[shown.credential])
        with pytest.raises(AlertReceived) as caught, host.accept(config) as tls:
            tls.recv(1)
        assert caught.value.alert is alert
        client.errors.expect(heard)
