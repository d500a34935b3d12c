"""Go, Java and Node in both roles and both versions alike: certificates, refusals, sessions, application protocols.

What each has of its own is in a file of its own. These run under `make interop` alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from handclasp import (
    Alert,
    AlertReceived,
    CertificateError,
    ClientAuth,
    ClientConfig,
    ClientSessions,
    ServerConfig,
    TicketKeys,
    TLSVersion,
    TruncatedError,
)
from handclasp.crypto.signatures import KeyKind
from interop import observe, test_go, test_java, test_node
from interop.identities import Identities, Identity, wrong_one
from interop.observe import Seen
from interop.programs import Host, Program, check_echo, connect, echo
from interop.test_go import peer as go_program
from interop.test_java import classes

__all__ = ["classes", "go_program"]  # fixtures

BOTH = pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)


@dataclass(frozen=True)
class Wishes:
    """What a peer is to do; each has its own words for it."""

    version: TLSVersion
    trusted: Identities | None = None
    """Whom to trust. A server then requires certificates of its clients."""
    shown: Identity | None = None
    protocols: str = ""
    times: int = 1


@dataclass(frozen=True)
class Peer:
    """One of the three programs, in both roles."""

    name: str
    serve: Callable[[Wishes], Program]
    port: Callable[[Program], str]
    connect: Callable[[Host, Wishes], Program]
    alerts: frozenset[Alert]
    """With what its client refuses a certificate; empty where it just leaves."""


def go(program: Path) -> Peer:
    def options(wishes: Wishes) -> list[str | Path]:
        found: list[str | Path] = ["-older"] * (wishes.version is TLSVersion.TLS_1_2)
        if wishes.shown:
            found += ["-chain", wishes.shown.chain_file, "-key", wishes.shown.key_file]
        if wishes.trusted:
            found += ["-trust", wishes.trusted.root_file]
        return [*found, "-protocols", wishes.protocols, "-times", str(wishes.times)]

    return Peer(
        "Go",
        lambda wishes: Program(program, "serve", *options(wishes)),
        test_go.port_of,
        lambda host, wishes: Program(
            program, "connect", "-address", host.address, "-name", "localhost", *options(wishes)
        ),
        frozenset((Alert.BAD_CERTIFICATE,)),
    )


def java(classes: Path) -> Peer:
    def options(wishes: Wishes) -> list[str]:
        found = [f"version={str(wishes.version).replace('TLS ', 'TLSv')}", f"times={wishes.times}"]
        if wishes.shown:
            found += [f"chain={wishes.shown.chain_file}", f"key={wishes.shown.key_file}", "algorithm=EC"]
        if wishes.trusted:
            found += [f"trust={wishes.trusted.root_file}"]
        return [*found, f"protocols={wishes.protocols}"] if wishes.protocols else found

    return Peer(
        "Java",
        lambda wishes: test_java.run(classes, None, "serve", *options(wishes)),
        test_java.port_of,
        lambda host, wishes: test_java.run(
            classes, None, "connect", f"port={host.port}", "name=localhost", *options(wishes)
        ),
        frozenset((Alert.CERTIFICATE_UNKNOWN, Alert.CERTIFICATE_EXPIRED)),
    )


def node() -> Peer:
    def options(wishes: Wishes) -> dict[str, object]:
        found: dict[str, object] = {"version": str(wishes.version).replace("TLS ", "TLSv"), "times": wishes.times}
        if wishes.shown:
            found |= {"cert": wishes.shown.chain_file, "key": wishes.shown.key_file}
        if wishes.trusted:
            found |= {"ca": wishes.trusted.root_file}
        return found | ({"protocols": wishes.protocols.split(",")} if wishes.protocols else {})

    return Peer(
        "Node",
        lambda wishes: test_node.run("serve", options(wishes)),
        test_node.port_of,
        lambda host, wishes: test_node.run("connect", {"port": host.port, "name": "localhost", **options(wishes)}),
        frozenset(),
    )


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.peer(name)) for name in ("Go", "Java", "Node")])
def peer(request: pytest.FixtureRequest) -> Peer:
    if not os.environ.get("HANDCLASP_INTEROP"):
        pytest.skip("`make interop` runs it")
    makers: dict[str, Callable[[], Peer]] = {
        "Go": lambda: go(request.getfixturevalue("go_program")),
        "Java": lambda: java(request.getfixturevalue("classes")),
        "Node": node,
    }
    return makers[request.param]()


# --- our client, their server ----------------------------------------------------------------------------------------


@BOTH
def test_client_shows_a_certificate(peer: Peer, version: TLSVersion, identities: Identities) -> None:
    shown = identities.of()
    config = ClientConfig(trust=identities.trust, credentials=[shown.credential], alpn=["echo"])
    with (
        peer.serve(Wishes(version, identities, shown, "other,echo")) as server,
        connect(peer.port(server), config) as tls,
    ):
        assert (tls.info.version, tls.info.alpn) == (version, "echo")
        assert tls.info.client_signature_scheme in shown.credential.schemes
        check_echo(tls, b"there and back")


@BOTH
def test_client_without_a_certificate_is_refused(peer: Peer, version: TLSVersion, identities: Identities) -> None:
    with peer.serve(Wishes(version, identities, identities.of())) as server:
        config = ClientConfig(trust=identities.trust)
        with pytest.raises(AlertReceived) as caught, connect(peer.port(server), config) as tls:
            tls.recv(1)
    refusals = (Alert.CERTIFICATE_REQUIRED, Alert.BAD_CERTIFICATE, Alert.HANDSHAKE_FAILURE)
    assert caught.value.alert in refusals


@BOTH
def test_client_resumes(peer: Peer, version: TLSVersion, identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, sessions=ClientSessions())
    with peer.serve(Wishes(version, shown=identities.of(), times=3)) as server:
        for resumed in (False, True, True):
            with connect(peer.port(server), config) as tls:
                assert (tls.info.version, tls.info.resumed) == (version, resumed)
                check_echo(tls, b"there and back")
                tls.shutdown_write()
                assert tls.recv(1) == b""
        assert server.finish() == 0


@BOTH
@pytest.mark.parametrize(("wrong", "code"), [("name", "name-mismatch"), ("CA", "unknown-ca"), ("time", "expired")])
def test_client_refuses(
    peer: Peer, version: TLSVersion, wrong: str, code: str, identities: Identities, strangers: Identities
) -> None:
    with peer.serve(Wishes(version, shown=wrong_one(wrong, identities, strangers))) as server:
        with pytest.raises(CertificateError) as caught:
            connect(peer.port(server), ClientConfig(trust=identities.trust))
        assert caught.value.code == code
        assert server.finish() != 0


# --- our server, their client ----------------------------------------------------------------------------------------


@BOTH
def test_server_checks_a_certificate(peer: Peer, version: TLSVersion, identities: Identities) -> None:
    shown = identities.of()
    auth = ClientAuth(verify=identities.trust)
    config = ServerConfig(credentials=[identities.of(KeyKind.RSA).credential], client_auth=auth, alpn=["echo"])
    with (
        Host() as host,
        peer.connect(host, Wishes(version, identities, shown, "other,echo")) as client,
        host.accept(config) as tls,
    ):
        assert (tls.info.version, tls.info.alpn) == (version, "echo")
        assert tls.info.verified_chain[0].der == shown.credential.leaf.der
        client.say(b"a line")
        client.hang_up()
        echo(tls)
        assert client.output.holds(b"a line")
        assert client.finish() == 0


@BOTH
def test_server_refuses_a_client_without_a_certificate(peer: Peer, version: TLSVersion, identities: Identities) -> None:
    auth = ClientAuth(verify=identities.trust)
    config = ServerConfig(credentials=[identities.of().credential], client_auth=auth)
    with Host() as host, peer.connect(host, Wishes(version, identities)) as client:
        with pytest.raises(CertificateError):
            host.accept(config)
        client.hang_up()
        assert client.finish() != 0


@BOTH
@pytest.mark.parametrize("wrong", ["name", "CA", "time"])
def test_server_is_refused(
    peer: Peer, version: TLSVersion, wrong: str, seen: Seen, identities: Identities, strangers: Identities
) -> None:
    config = ServerConfig(credentials=[wrong_one(wrong, identities, strangers).credential])
    with Host() as host, peer.connect(host, Wishes(version, identities)) as client:
        if peer.alerts:
            # in TLS 1.2 it may look behind the handshake
            with pytest.raises(AlertReceived) as caught, host.accept(config) as tls:
                tls.recv(1)
            assert caught.value.alert in peer.alerts
        else:
            with pytest.raises((TruncatedError, ConnectionError)), host.accept(config) as tls:
                tls.recv(1)
            seen.add("client", str(version), observe.IT_REFUSES, "without an alert")
        assert client.finish() != 0


@BOTH
def test_server_resumes(peer: Peer, version: TLSVersion, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], tickets=TicketKeys())
    with Host() as host, peer.connect(host, Wishes(version, identities, times=3)) as client:
        client.say(b"a line\n")
        client.hang_up()
        for resumed in (False, True, True):
            with host.accept(config) as tls:
                assert (tls.info.version, tls.info.resumed) == (version, resumed)
                echo(tls)
        assert client.finish() == 0
        assert client.output.all() == b"a line\n" * 3
