"""Against s2n, through awscrt, which has it as a client alone: its HTTP client over loopback.

It keeps no sessions, and refuses without saying why: a refusal of its own ends with close_notify. With a certificate to
show it insists on being asked for it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

import handclasp
from handclasp import (
    Alert,
    AlertReceived,
    CertificateError,
    CipherSuite,
    ClientAuth,
    NamedGroup,
    ServerConfig,
    TLSVersion,
)
from handclasp.crypto.groups import POST_QUANTUM
from handclasp.crypto.signatures import KeyKind
from handclasp.crypto.suites import DEFAULT_SUITES, SUITES
from handclasp.trace import Direction
from interop.identities import NAME, OTHER_NAME, Identities, Identity
from interop.programs import DEADLINE, HOST, MEBIBYTE, Host, Watch, WebServer, digits, read_exactly

pytest.importorskip("awscrt", reason="awscrt is not installed")

from awscrt import http
from awscrt import io as crt
from awscrt.exceptions import AwsCrtError

pytestmark = pytest.mark.peer("s2n")

BOTH = pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)

GROUPS = (*POST_QUANTUM[:1], NamedGroup.X25519, NamedGroup.SECP256R1, NamedGroup.SECP384R1)

KINDS = (KeyKind.P256, KeyKind.P384, KeyKind.RSA)


@pytest.fixture(scope="session")
def bootstrap() -> Any:
    """What all its connections share: one thread."""
    group = crt.EventLoopGroup(1)
    return crt.ClientBootstrap(group, crt.DefaultHostResolver(group))


class Client:
    """Its HTTP client, as a test wants it."""

    def __init__(self, bootstrap: Any, trusted: Identities, shown: Identity | None = None) -> None:
        self._bootstrap = bootstrap
        if shown is None:
            options = crt.TlsContextOptions()
        else:
            options = crt.TlsContextOptions.create_client_with_mtls_from_path(
                str(shown.chain_file), str(shown.key_file)
            )
        options.override_default_trust_store(trusted.root_file.read_bytes())
        options.alpn_list = ["http/1.1"]
        self._context = crt.ClientTlsContext(options)

    def dial(self, port: int, name: str = NAME) -> Any:
        """A connection under way; its future."""
        options = self._context.new_connection_options()
        options.set_server_name(name)
        return http.HttpClientConnection.new(HOST, port, self._bootstrap, tls_connection_options=options)

    @contextmanager
    def connected(self, port: int) -> Generator[Any, None, None]:
        connection = self.dial(port).result(DEADLINE)
        yield connection
        connection.close().result(DEADLINE)


class Exchange:
    """One request of its client, and what comes of it."""

    def __init__(self, connection: Any, posted: bytes) -> None:
        self._body = bytearray()
        headers = http.HttpHeaders([("host", NAME), ("content-length", str(len(posted)))])
        request = http.HttpRequest("POST", "/", headers, io.BytesIO(posted))
        self._stream = connection.request(request, on_body=self._more)
        self._stream.activate()

    def _more(self, chunk: bytes, **_: object) -> None:
        self._body += chunk

    def answer(self) -> bytes:
        assert self._stream.completion_future.result(DEADLINE) == 200
        return bytes(self._body)


def check_page(client: Client, config: ServerConfig, posted: bytes = b"a line") -> Any:
    """Have it post something and be given it back; what we know of the connection."""
    with WebServer(config) as server:
        with client.connected(server.port) as connection:
            assert Exchange(connection, posted).answer() == posted
        return server.infos.get(timeout=DEADLINE)


@BOTH
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_certificates(version: TLSVersion, kind: KeyKind, bootstrap: Any, identities: Identities) -> None:
    identity = identities.of(kind)
    auth = ClientAuth(verify=identities.trust)
    config = ServerConfig(
        credentials=[identity.credential], client_auth=auth, versions=[version], alpn=["h2", "http/1.1"]
    )
    info = check_page(Client(bootstrap, identities, identity), config)
    assert info.version is version
    assert info.server_name == NAME
    assert info.alpn == "http/1.1"
    assert info.verified_chain[0].der == identity.credential.leaf.der


@pytest.mark.parametrize("suite", DEFAULT_SUITES, ids=str)
def test_suite(suite: CipherSuite, bootstrap: Any, identities: Identities) -> None:
    identity = identities.of(KeyKind.RSA if "_RSA_" in suite.name else KeyKind.P256)
    version = SUITES[suite].version
    config = ServerConfig(credentials=[identity.credential], cipher_suites=[suite], versions=[version])
    assert check_page(Client(bootstrap, identities), config).cipher_suite is suite


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_group(group: NamedGroup, bootstrap: Any, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], groups=[group])
    info = check_page(Client(bootstrap, identities), config)
    assert info.group is group
    # its shares are for the hybrid and for secp256r1
    assert info.hello_retry is (group in (NamedGroup.X25519, NamedGroup.SECP384R1))


def test_defaults(bootstrap: Any, identities: Identities) -> None:
    info = check_page(Client(bootstrap, identities), ServerConfig(credentials=[identities.of().credential]))
    assert (info.version, info.group) == (TLSVersion.TLS_1_3, GROUPS[0])


@BOTH
def test_a_mebibyte(version: TLSVersion, bootstrap: Any, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], versions=[version])
    check_page(Client(bootstrap, identities), config, digits(MEBIBYTE))


def test_key_updates(bootstrap: Any, identities: Identities) -> None:
    watch = Watch()
    config = ServerConfig(credentials=[identities.of().credential], trace=watch)
    client = Client(bootstrap, identities)
    with Host() as host, ExitStack() as at_end:
        dialled = client.dial(host.port)
        tls = at_end.enter_context(host.accept(config))
        connection = dialled.result(DEADLINE)
        for posted in (b"before", b"middle", b"behind"):
            exchange = Exchange(connection, posted)
            received = b""
            while not received.endswith(posted):
                received += read_exactly(tls, 1)
            tls.update_keys(request_peer=True)
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" + posted)
            assert exchange.answer() == posted
        closing = connection.close()
        assert tls.recv(1) == b""
        tls.shutdown_write()
        closing.result(DEADLINE)
    assert watch.updates(Direction.SENT) == 3
    assert watch.updates(Direction.RECEIVED) >= 2


@BOTH
def test_a_client_without_a_certificate_is_refused(version: TLSVersion, bootstrap: Any, identities: Identities) -> None:
    auth = ClientAuth(verify=identities.trust)
    config = ServerConfig(credentials=[identities.of().credential], client_auth=auth, versions=[version])
    with Host() as host:
        Client(bootstrap, identities).dial(host.port)
        with pytest.raises(CertificateError) as caught:
            host.accept(config)
    newer = version is TLSVersion.TLS_1_3
    assert caught.value.alert is (Alert.CERTIFICATE_REQUIRED if newer else Alert.HANDSHAKE_FAILURE)


def test_it_refuses(bootstrap: Any, identities: Identities, strangers: Identities) -> None:
    """A wrong name, an unknown CA, a time that is over. It waits up to 30 s before it tells: all at once, then."""
    if not os.environ.get("HANDCLASP_INTEROP"):
        pytest.skip("it takes its time: `make interop` waits for it")
    wrong = (identities.of(name=OTHER_NAME), strangers.of(), identities.expired)
    client = Client(bootstrap, identities)

    def refusal(shown: Identity, version: TLSVersion) -> Alert | None:
        with Host() as host:
            dialled = client.dial(host.port)
            with pytest.raises(AlertReceived) as caught:
                handclasp.wrap(
                    host.take(),
                    ServerConfig(credentials=[shown.credential], versions=[version]),
                    timeout=2 * DEADLINE,
                )
            with pytest.raises(AwsCrtError, match="TLS_ERROR_NEGOTIATION_FAILURE"):
                dialled.result(DEADLINE)
            return caught.value.alert

    with ThreadPoolExecutor(6) as pool:
        versions = (TLSVersion.TLS_1_3, TLSVersion.TLS_1_2)
        refusals = [pool.submit(refusal, shown, version) for shown in wrong for version in versions]
        assert {each.result() for each in refusals} == {Alert.CLOSE_NOTIFY}
