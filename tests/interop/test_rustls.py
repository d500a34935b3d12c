"""Against rustls, which rtls gives the face of the standard library's `ssl`: over loopback, in both roles.

rtls makes a configuration of rustls for every connection, so it has no sessions to resume. Its server asks no client
for a certificate, whatever its context says: it is no judge of that.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
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
    TLSVersion,
)
from handclasp.crypto.groups import POST_QUANTUM
from handclasp.crypto.signatures import KeyKind
from handclasp.crypto.suites import DEFAULT_SUITES, SUITES
from handclasp.trace import Direction
from interop.identities import NAME, Identities, Identity, wrong_one
from interop.programs import (
    DEADLINE,
    HOST,
    MEBIBYTE,
    Host,
    Watch,
    check_echo,
    connect,
    digits,
    echo,
    meanwhile,
    read_exactly,
)

rtls = pytest.importorskip("rtls", reason="rtls is not installed")

pytestmark = pytest.mark.peer("rustls")

THEIRS = {
    TLSVersion.TLS_1_3: ssl.TLSVersion.TLSv1_3,
    TLSVersion.TLS_1_2: ssl.TLSVersion.TLSv1_2,
}

BOTH = pytest.mark.parametrize("version", THEIRS, ids=str)

GROUPS = (*POST_QUANTUM[:1], NamedGroup.X25519, NamedGroup.SECP256R1, NamedGroup.SECP384R1)

KINDS = (KeyKind.P256, KeyKind.P384, KeyKind.ED25519, KeyKind.RSA)

Talk = Callable[[Any], object]
"""What their end does with its socket."""


def client_context(trusted: Identities, shown: Identity | None = None, protocols: tuple[str, ...] = ()) -> Any:
    context = rtls.SSLContext(rtls.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(trusted.root_file))
    if shown is not None:
        context.load_cert_chain(str(shown.chain_file), str(shown.key_file))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def server_context(identity: Identity, protocols: tuple[str, ...] = ()) -> Any:
    context = rtls.SSLContext(rtls.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(identity.chain_file), str(identity.key_file))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def only(context: Any, version: TLSVersion) -> Any:
    context.minimum_version = context.maximum_version = THEIRS[version]
    return context


@contextmanager
def refused(pattern: str) -> Generator[None, None, None]:
    """Their end says why it is refused, or refuses."""
    with pytest.raises(rtls.SSLError, match=pattern):
        yield


@contextmanager
def connecting(host: Host, context: Any, talk: Talk, name: str = NAME) -> Generator[None, None, None]:
    """Their client beside the body; what it raises is the test's."""

    def visit() -> None:
        with (
            socket.create_connection((HOST, host.port), timeout=DEADLINE) as plain,
            context.wrap_socket(plain, server_hostname=name) as tls,
        ):
            talk(tls)

    with meanwhile(visit):
        yield


@contextmanager
def serving(context: Any) -> Generator[int, None, None]:
    """Their server for one connection beside the body, sending back what comes; its port."""
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(DEADLINE)

        def serve() -> None:
            accepted, _ = listener.accept()
            accepted.settimeout(DEADLINE)
            with accepted, context.wrap_socket(accepted, server_side=True) as tls:
                while data := tls.recv(1 << 16):
                    tls.sendall(data)

        with meanwhile(serve):
            yield listener.getsockname()[1]


def says(data: bytes, told: list[Any] | None = None) -> Talk:
    """Say something, hear it again, and leave; `told` gets what it knows of the connection."""

    def talk(tls: Any) -> None:
        tls.sendall(data)
        heard = bytearray()
        while len(heard) < len(data) and (more := tls.recv(1 << 16)):
            heard += more
        assert heard == data
        if told is not None:
            told.extend((tls.version(), tls.selected_alpn_protocol()))
        tls.unwrap().close()

    return talk


# --- our client, their server ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_client_and_certificates(version: TLSVersion, kind: KeyKind, identities: Identities) -> None:
    context = only(server_context(identities.of(kind), ("other", "echo")), version)
    config = ClientConfig(trust=identities.trust, alpn=["echo"])
    with serving(context) as port, connect(port, config) as tls:
        assert tls.info.version is version
        assert tls.info.signature_scheme in identities.of(kind).credential.schemes
        assert tls.info.alpn == "echo"
        check_echo(tls, b"there and back")


@pytest.mark.parametrize("suite", DEFAULT_SUITES, ids=str)
def test_client_and_suite(suite: CipherSuite, identities: Identities) -> None:
    identity = identities.of(KeyKind.RSA if "_RSA_" in suite.name else KeyKind.P256)
    config = ClientConfig(trust=identities.trust, cipher_suites=[suite], versions=[SUITES[suite].version])
    with serving(server_context(identity)) as port, connect(port, config) as tls:
        assert tls.info.cipher_suite is suite
        check_echo(tls, b"there and back")


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("retry", [True, False], ids=["retry", "at once"])
def test_client_and_group(group: NamedGroup, retry: bool, identities: Identities) -> None:
    # a group of ours that rustls lacks
    shares = [NamedGroup.SECP521R1] if retry else [group]
    config = ClientConfig(trust=identities.trust, groups=[*shares, group] if retry else [group], key_shares=shares)
    with serving(server_context(identities.of())) as port, connect(port, config) as tls:
        assert tls.info.group is group
        assert tls.info.hello_retry is retry
        check_echo(tls, b"there and back")


@BOTH
def test_client_echoes_a_mebibyte(version: TLSVersion, identities: Identities) -> None:
    watch = Watch()
    config = ClientConfig(trust=identities.trust, trace=watch)
    with serving(only(server_context(identities.of()), version)) as port, connect(port, config) as tls:
        check_echo(tls, digits(MEBIBYTE))
        if version is TLSVersion.TLS_1_3:
            tls.update_keys(request_peer=True)
            check_echo(tls, digits(MEBIBYTE // 8))
            assert watch.updates(Direction.RECEIVED) == watch.updates(Direction.SENT) == 1
        tls.shutdown_write()
        assert tls.recv(1) == b""


@BOTH
@pytest.mark.parametrize(
    ("wrong", "alert", "heard"),
    [
        ("name", Alert.BAD_CERTIFICATE, "BadCertificate"),
        ("CA", Alert.UNKNOWN_CA, "UnknownCA"),
        ("time", Alert.CERTIFICATE_EXPIRED, "CertificateExpired"),
    ],
)
def test_client_refuses(
    version: TLSVersion, wrong: str, alert: Alert, heard: str, identities: Identities, strangers: Identities
) -> None:
    shown = wrong_one(wrong, identities, strangers)
    with refused(heard), serving(only(server_context(shown), version)) as port:
        with pytest.raises(CertificateError) as caught:
            connect(port, ClientConfig(trust=identities.trust))
        assert caught.value.alert is alert


# --- our server, their client ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_server_and_certificates(version: TLSVersion, kind: KeyKind, identities: Identities) -> None:
    identity = identities.of(kind)
    config = ServerConfig(
        credentials=[identity.credential], client_auth=ClientAuth(verify=identities.trust), alpn=["echo"]
    )
    context = only(client_context(identities, identity, ("other", "echo")), version)
    told: list[Any] = []
    with Host() as host, connecting(host, context, says(b"a line", told)), host.accept(config) as tls:
        assert tls.info.version is version
        assert tls.info.server_name == NAME
        assert tls.info.verified_chain[0].der == identity.credential.leaf.der
        assert tls.info.client_signature_scheme in identity.credential.schemes
        echo(tls)
    assert told == [str(version).replace("TLS ", "TLSv"), "echo"]


@pytest.mark.parametrize("suite", DEFAULT_SUITES, ids=str)
def test_server_and_suite(suite: CipherSuite, identities: Identities) -> None:
    identity = identities.of(KeyKind.RSA if "_RSA_" in suite.name else KeyKind.P256)
    version = SUITES[suite].version
    config = ServerConfig(credentials=[identity.credential], cipher_suites=[suite], versions=[version])
    with Host() as host, connecting(host, client_context(identities), says(b"a line")), host.accept(config) as tls:
        assert tls.info.cipher_suite is suite
        echo(tls)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_server_and_group(group: NamedGroup, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], groups=[group])
    with Host() as host, connecting(host, client_context(identities), says(b"a line")), host.accept(config) as tls:
        assert tls.info.group is group
        # its shares are for its favourite, and for the plain part of that
        assert tls.info.hello_retry is (group in (NamedGroup.SECP256R1, NamedGroup.SECP384R1))
        echo(tls)


def test_server_defaults(identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential])
    with Host() as host, connecting(host, client_context(identities), says(b"a line")), host.accept(config) as tls:
        assert tls.info.group is GROUPS[0]
        assert not tls.info.hello_retry
        echo(tls)


@BOTH
def test_server_echoes_a_mebibyte(version: TLSVersion, identities: Identities) -> None:
    watch = Watch()
    data = digits(MEBIBYTE)
    config = ServerConfig(credentials=[identities.of().credential], trace=watch)
    context = only(client_context(identities), version)

    def talk(tls: Any) -> None:
        says_half = data[: MEBIBYTE // 2]
        tls.sendall(says_half)
        assert tls.recv(1) == b"!"
        says(data)(tls)

    with Host() as host, connecting(host, context, talk), host.accept(config) as tls:
        assert read_exactly(tls, MEBIBYTE // 2) == data[: MEBIBYTE // 2]
        if version is TLSVersion.TLS_1_3:
            tls.update_keys(request_peer=True)
        tls.sendall(b"!")
        heard = read_exactly(tls, len(data))
        assert heard == data
        tls.sendall(heard)
        assert tls.recv(1) == b""
        tls.shutdown_write()
    assert watch.updates(Direction.RECEIVED) == watch.updates(Direction.SENT) == (version is TLSVersion.TLS_1_3)


@BOTH
def test_server_refuses_a_client_without_a_certificate(version: TLSVersion, identities: Identities) -> None:
    auth = ClientAuth(verify=identities.trust)
    config = ServerConfig(credentials=[identities.of().credential], client_auth=auth)
    heard = "CertificateRequired" if version is TLSVersion.TLS_1_3 else "HandshakeFailure"
    context = only(client_context(identities), version)
    with (
        Host() as host,
        refused(heard),
        connecting(host, context, lambda tls: tls.recv(1)),
    ):
        with pytest.raises(CertificateError) as caught:
            host.accept(config)
        newer = version is TLSVersion.TLS_1_3
        assert caught.value.alert is (Alert.CERTIFICATE_REQUIRED if newer else Alert.HANDSHAKE_FAILURE)


@BOTH
@pytest.mark.parametrize(
    ("wrong", "alert", "heard"),
    [
        ("name", Alert.BAD_CERTIFICATE, "not valid for name"),
        ("CA", Alert.UNKNOWN_CA, "UnknownIssuer"),
        ("time", Alert.CERTIFICATE_EXPIRED, "certificate expired"),
    ],
)
def test_server_is_refused(
    version: TLSVersion, wrong: str, alert: Alert, heard: str, identities: Identities, strangers: Identities
) -> None:
    shown = wrong_one(wrong, identities, strangers)
    context = only(client_context(identities), version)
    with (
        Host() as host,
        refused(heard),
        connecting(host, context, says(b"never")),
    ):
        with pytest.raises(AlertReceived) as caught:
            host.accept(ServerConfig(credentials=[shown.credential]))
        assert caught.value.alert is alert
