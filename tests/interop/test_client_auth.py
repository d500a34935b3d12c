"""Client certificates against everybody, in both roles and versions: each way to ask, with each thing to show."""

from __future__ import annotations

import ssl
from itertools import product
from pathlib import Path

import pytest

from handclasp import (
    AlertReceived,
    CertificateError,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    Credential,
    CredentialRequest,
    ServerConfig,
    ServerConnection,
    TLSVersion,
)
from handclasp.crypto.signatures import KeyKind
from interop.identities import NAME, Identities, Identity
from interop.openssl_bio import StdlibPeer, meet
from interop.programs import DEADLINE, Host, Program, WebServer, check_echo, connect
from interop.test_curl import curl
from interop.test_gnutls import OLDER, TLS13, gnutls_cli, gnutls_serv
from interop.test_openssl_cli import port_of, s_client, s_server

pytestmark = pytest.mark.peer("OpenSSL, `ssl`")

VERSIONS = (TLSVersion.TLS_1_3, TLSVersion.TLS_1_2)
ASKED = ("not asked", "optional", "required")
SHOWN = ("nothing", "good", "bad")
EVERY = pytest.mark.parametrize(
    ("version", "asked", "shown"), list(product(VERSIONS, ASKED, SHOWN)), ids=lambda value: str(value)
)

OPENSSL = {TLSVersion.TLS_1_3: "-tls1_3", TLSVersion.TLS_1_2: "-tls1_2"}
STDLIB = {TLSVersion.TLS_1_3: ssl.TLSVersion.TLSv1_3, TLSVersion.TLS_1_2: ssl.TLSVersion.TLSv1_2}
GNUTLS = {TLSVersion.TLS_1_3: TLS13, TLSVersion.TLS_1_2: OLDER}
CURL: dict[TLSVersion, tuple[str, ...]] = {
    TLSVersion.TLS_1_3: (),
    TLSVersion.TLS_1_2: ("--tlsv1.2", "--tls-max", "1.2"),
}


def outcome(asked: str, shown: str) -> str:
    """What a server makes of it: it knows the client, or takes it as anybody, or refuses."""
    if asked == "not asked":
        return "anybody"
    if shown == "nothing":
        return "refused" if asked == "required" else "anybody"
    return "known" if shown == "good" else "refused"


def identity(shown: str, identities: Identities, strangers: Identities) -> Identity | None:
    return {"nothing": None, "good": identities.of(), "bad": strangers.of()}[shown]


def asking(asked: str, version: TLSVersion, identities: Identities) -> ServerConfig:
    """Our server."""
    auth = None if asked == "not asked" else ClientAuth(verify=identities.trust, required=asked == "required")
    return ServerConfig(credentials=[identities.of().credential], client_auth=auth, versions=[version])


def showing(shown: str, version: TLSVersion, identities: Identities, strangers: Identities) -> ClientConfig:
    """Our client."""
    mine = identity(shown, identities, strangers)
    credentials = [] if mine is None else [mine.credential]
    return ClientConfig(trust=identities.trust, credentials=credentials, versions=[version])


# --- our server ------------------------------------------------------------------------------------------------------


@EVERY
def test_server_and_the_standard_library(
    version: TLSVersion, asked: str, shown: str, identities: Identities, strangers: Identities
) -> None:
    context = ssl.create_default_context(cafile=identities.root_file)
    context.minimum_version = context.maximum_version = STDLIB[version]
    if mine := identity(shown, identities, strangers):
        context.load_cert_chain(mine.chain_file, mine.key_file)
    meeting = meet(ServerConnection(asking(asked, version, identities)), StdlibPeer(context, NAME))
    expected = outcome(asked, shown)
    assert meeting.ours.established is (expected != "refused")
    assert isinstance(meeting.failure, CertificateError) is (expected == "refused")
    verified = meeting.ours.info.verified_chain[:1]
    assert verified == ((identities.of().credential.leaf,) if expected == "known" else ())
    if expected == "refused":
        assert isinstance(meeting.theirs.error, ssl.SSLError)
    else:
        meeting.exchange(b"it is you", b"it is me")


def serve(host: Host, client: Program, config: ServerConfig, expected: str, leaf: Credential) -> None:
    """What our server makes of a program, and that the program hears of it."""
    if expected == "refused":
        with pytest.raises(CertificateError):
            host.accept(config)
        assert client.finish() != 0
        return
    with host.accept(config) as tls:
        assert tls.info.version in config.versions
        assert tls.info.verified_chain[:1] == ((leaf.leaf,) if expected == "known" else ())
        tls.sendall(b"it is you\n")
        assert client.output.holds(b"it is you\n")


@pytest.mark.peer("OpenSSL, `openssl`")
@EVERY
def test_server_and_s_client(
    version: TLSVersion, asked: str, shown: str, identities: Identities, strangers: Identities
) -> None:
    mine = identity(shown, identities, strangers)
    options: tuple[str | Path, ...] = () if mine is None else ("-cert", mine.chain_file, "-key", mine.key_file)
    with Host() as host, s_client(host, identities, "-quiet", *options, version=OPENSSL[version]) as client:
        config = asking(asked, version, identities)
        serve(host, client, config, outcome(asked, shown), identities.of().credential)


@pytest.mark.peer("GnuTLS")
@EVERY
def test_server_and_gnutls_cli(
    version: TLSVersion, asked: str, shown: str, identities: Identities, strangers: Identities
) -> None:
    mine = identity(shown, identities, strangers)
    options: tuple[str | Path, ...] = ()
    if mine is not None:
        options = ("--x509certfile", mine.chain_file, "--x509keyfile", mine.key_file)
    with Host() as host, gnutls_cli(host, identities, *options, priority=GNUTLS[version]) as client:
        config = asking(asked, version, identities)
        serve(host, client, config, outcome(asked, shown), identities.of().credential)


@pytest.mark.peer("curl")
@EVERY
def test_server_and_curl(
    version: TLSVersion, asked: str, shown: str, identities: Identities, strangers: Identities
) -> None:
    mine = identity(shown, identities, strangers)
    options: tuple[str | Path, ...] = () if mine is None else ("--cert", mine.chain_file, "--key", mine.key_file)
    expected = outcome(asked, shown)
    with (
        WebServer(asking(asked, version, identities)) as server,
        curl(server.port, identities, *CURL[version], *options) as client,
    ):
        if expected == "refused":
            assert client.finish() != 0
            assert server.infos.empty()
            return
        assert client.output.all() == server.PAGE
        assert client.finish() == 0
        verified = server.infos.get(timeout=DEADLINE).verified_chain[:1]
        assert verified == ((identities.of().credential.leaf,) if expected == "known" else ())


@pytest.mark.peer("curl")
@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_server_goes_on_with_a_client_it_does_not_know(
    version: TLSVersion, identities: Identities, strangers: Identities
) -> None:
    auth = ClientAuth(verify=identities.trust, required=False, unverified="anonymous")
    config = ServerConfig(credentials=[identities.of().credential], client_auth=auth, versions=[version])
    shown = strangers.of()
    options = ("--cert", shown.chain_file, "--key", shown.key_file)
    with WebServer(config) as server, curl(server.port, identities, *CURL[version], *options) as client:
        assert client.output.all() == server.PAGE
        info = server.infos.get(timeout=DEADLINE)
    assert (info.peer_certificates, info.verified_chain) == ((), ())
    assert info.client_error is not None
    assert info.client_error.code == "unknown-ca"
    assert info.client_error.peer_chain == shown.credential.chain


# --- our client ------------------------------------------------------------------------------------------------------


@EVERY
def test_client_and_the_standard_library(
    version: TLSVersion, asked: str, shown: str, identities: Identities, strangers: Identities
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = STDLIB[version]
    context.load_cert_chain(identities.of().chain_file, identities.of().key_file)
    context.load_verify_locations(identities.root_file)
    modes = {"not asked": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
    context.verify_mode = modes[asked]
    config = showing(shown, version, identities, strangers)
    meeting = meet(ClientConnection(config, NAME), StdlibPeer(context))
    expected = outcome(asked, shown)
    assert meeting.theirs.established is (expected != "refused")
    if expected == "refused":
        assert isinstance(meeting.failure, AlertReceived)
        assert isinstance(meeting.theirs.error, ssl.SSLError)
        return
    meeting.exchange(b"it is me", b"it is you")
    leaf = identities.of().credential.leaf.der if expected == "known" else None
    assert meeting.theirs.certificate == leaf


def is_refused(port: int | str, config: ClientConfig) -> None:
    """A server refuses our client: in TLS 1.3 after the client's handshake is done."""
    with pytest.raises(AlertReceived), connect(port, config) as tls:
        tls.recv(1)


@pytest.mark.peer("OpenSSL, `openssl`")
@EVERY
def test_client_and_s_server(
    version: TLSVersion, asked: str, shown: str, identities: Identities, strangers: Identities
) -> None:
    check: tuple[str | Path, ...] = ("-verify_return_error", "-CAfile", identities.root_file)
    how = {"not asked": (), "optional": ("-verify", "1", *check), "required": ("-Verify", "1", *check)}
    config, expected = showing(shown, version, identities, strangers), outcome(asked, shown)
    with s_server(identities.of(), *how[asked], version=OPENSSL[version]) as server:
        if expected == "refused":
            is_refused(port_of(server), config)
            return
        with connect(port_of(server), config) as tls:
            assert tls.info.version is version
            tls.sendall(b"it is me\n")
            assert server.output.holds(b"it is me\n")
        assert (b"Client certificate\n" in server.output.all()) is (expected == "known")


@pytest.mark.peer("GnuTLS")
@EVERY
def test_client_and_gnutls_serv(
    version: TLSVersion, asked: str, shown: str, identities: Identities, strangers: Identities
) -> None:
    demand: dict[str, tuple[str | Path, ...]] = {
        "not asked": ("--disable-client-cert",),
        "optional": ("--x509cafile", identities.root_file, "--verify-client-cert"),
        "required": ("--x509cafile", identities.root_file, "--verify-client-cert", "--require-client-cert"),
    }
    config, expected = showing(shown, version, identities, strangers), outcome(asked, shown)
    with gnutls_serv(identities.of(), *demand[asked], priority=GNUTLS[version]) as (server, port):
        if expected == "refused":
            is_refused(port, config)
            return
        with connect(port, config) as tls:
            check_echo(tls, b"it is me\n")
        if expected == "known":
            server.output.expect("The certificate is trusted")


@pytest.mark.peer("OpenSSL, `openssl`")
@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_client_is_told_what_openssl_wants(version: TLSVersion, identities: Identities) -> None:
    asked: list[CredentialRequest] = []

    def choose(request: CredentialRequest) -> Credential | None:
        asked.append(request)
        return identities.of().credential

    config = ClientConfig(trust=identities.trust, credentials=choose, versions=[version])
    demand = ("-Verify", "1", "-verify_return_error", "-CAfile", identities.root_file)
    with (
        s_server(identities.of(), *demand, version=OPENSSL[version]) as server,
        connect(port_of(server), config) as tls,
    ):
        tls.sendall(b"it is me\n")
        assert server.output.holds(b"it is me\n")
    (request,) = asked
    assert request.authorities == (identities.authority.certificate.subject_der,)
    assert identities.of().credential.issued_under(request.authorities)
    assert set(identities.of().credential.schemes) & set(request.schemes)
    assert (request.version, request.server_name) == (version, NAME)


@pytest.mark.peer("OpenSSL, `openssl`")
@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("by", ["authorities", "schemes"])
def test_a_client_shows_of_several_what_openssl_wants(
    by: str, version: TLSVersion, identities: Identities, strangers: Identities
) -> None:
    wanted = identities.of(KeyKind.RSA)
    other = strangers.of(KeyKind.RSA) if by == "authorities" else identities.of(KeyKind.P256)
    schemes = ("-client_sigalgs", "rsa_pss_rsae_sha256") if by == "schemes" else ()
    config = ClientConfig(trust=identities.trust, credentials=[other.credential, wanted.credential], versions=[version])
    demand = ("-Verify", "1", "-verify_return_error", "-CAfile", identities.root_file, *schemes)
    with (
        s_server(identities.of(), *demand, version=OPENSSL[version]) as server,
        connect(port_of(server), config) as tls,
    ):
        tls.sendall(b"it is me\n")
        assert server.output.holds(b"it is me\n")
        assert tls.info.certificate == wanted.credential.leaf


@pytest.mark.peer("OpenSSL, `openssl`")
@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_openssl_is_told_whom_a_server_believes(
    version: TLSVersion, identities: Identities, strangers: Identities
) -> None:
    believed = [ca.authority.certificate.subject_der for ca in (identities, strangers)]
    auth = ClientAuth(verify=identities.trust, required=False, authorities=believed)
    config = ServerConfig(credentials=[identities.of().credential], client_auth=auth, versions=[version])
    with Host() as host, s_client(host, identities, version=OPENSSL[version]) as client, host.accept(config):
        client.output.expect("Acceptable client certificate CA names\nCN = handclasp test CA\nCN = an unknown CA\n")
