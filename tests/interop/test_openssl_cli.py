"""Against the `openssl` program over loopback: s_server and s_client."""

from __future__ import annotations

from collections.abc import Sequence
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
from handclasp.crypto.suites import SUITES as ALL_SUITES
from handclasp.trace import Direction
from interop.identities import CLASSIC_SCHEMES, NAME, Identities, Identity, wrong_one
from interop.programs import (
    MEBIBYTE,
    Host,
    Program,
    Watch,
    connect,
    digits,
    read_exactly,
    read_to_end,
    tool,
)

pytestmark = pytest.mark.peer("OpenSSL, `openssl`")

SUITES = [code for code, suite in ALL_SUITES.items() if suite.version is TLSVersion.TLS_1_3]

GROUPS = {
    NamedGroup.X25519: "X25519",
    NamedGroup.SECP256R1: "P-256",
    NamedGroup.SECP384R1: "P-384",
    NamedGroup.SECP521R1: "P-521",
    NamedGroup.X448: "X448",
}

TEMPORARY_KEYS = {
    NamedGroup.SECP256R1: "ECDH, prime256v1",
    NamedGroup.SECP384R1: "ECDH, secp384r1",
    NamedGroup.SECP521R1: "ECDH, secp521r1",
}
"""How s_client names the group, where it is not by its name. Later versions have the name for all."""

# a tag of 8 bytes is below OpenSSL's default level of security
ANY_SUITE = ("-cipher", "DEFAULT@SECLEVEL=0")


def s_server(identity: Identity, *options: str | Path, version: str = "-tls1_3") -> Program:
    certificate = ("-cert", identity.chain_file, "-key", identity.key_file)
    return Program(
        tool("openssl"), "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", version, *certificate, *options
    )


def port_of(server: Program) -> str:
    return server.output.expect(r"ACCEPT 127\.0\.0\.1:(\d+)")


def s_client(
    host: Host, trusted: Identities, *options: str | Path, name: str = NAME, version: str = "-tls1_3"
) -> Program:
    verify = ("-CAfile", trusted.root_file, "-verify_return_error", "-verify_hostname", name)
    return Program(
        tool("openssl"), "s_client", "-connect", host.address, version, "-servername", name, *verify, *options
    )


def allowing(scheme: SignatureScheme) -> str:
    """This scheme for the handshake, and what the CA signs with."""
    return ":".join(dict.fromkeys((str(scheme), "ecdsa_secp256r1_sha256")))


# --- our client, their server ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_client_and_suite(suite: CipherSuite, identities: Identities) -> None:
    with s_server(identities.of(), "-ciphersuites", str(suite), *ANY_SUITE) as server:
        config = ClientConfig(trust=identities.trust, cipher_suites=list(SUITES))
        with connect(port_of(server), config) as tls:
            assert str(tls.info.cipher_suite) == server.output.expect(r"CIPHER is (\S+)") == str(suite)
            tls.sendall(b"from us\n")
            assert server.output.holds(b"from us\n")
            server.say(b"0 from them\n")
            assert read_exactly(tls, 12) == b"0 from them\n"


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_client_and_group(group: NamedGroup, identities: Identities) -> None:
    with s_server(identities.of(), "-groups", GROUPS[group]) as server:
        config = ClientConfig(trust=identities.trust, key_shares=[NamedGroup.X25519])
        with connect(port_of(server), config) as tls:
            assert tls.info.group is group
            assert tls.info.hello_retry is (group is not NamedGroup.X25519)
            assert server.output.expect(r"Shared groups: (\S+)").lower() in (
                GROUPS[group].lower(),
                str(group).lower(),
            )


@pytest.mark.parametrize("scheme", CLASSIC_SCHEMES, ids=str)
def test_client_and_scheme(scheme: SignatureScheme, identities: Identities) -> None:
    with (
        s_server(identities.of(CLASSIC_SCHEMES[scheme]), "-sigalgs", str(scheme)) as server,
        connect(port_of(server), ClientConfig(trust=identities.trust)) as tls,
    ):
        assert tls.info.signature_scheme is scheme


def test_client_exchanges_a_mebibyte(identities: Identities) -> None:
    data = digits(MEBIBYTE)
    with s_server(identities.of()) as server, connect(port_of(server), ClientConfig(trust=identities.trust)) as tls:
        server.say(data)
        tls.sendall(data)
        assert read_exactly(tls, len(data)) == data
        assert server.output.holds(data)


def test_client_follows_key_updates(identities: Identities) -> None:
    watch = Watch()
    config = ClientConfig(trust=identities.trust, trace=watch)
    with s_server(identities.of(), "-msg") as server, connect(port_of(server), config) as tls:
        server.output.expect("CIPHER is")
        server.say(b"K\n")  # update, and ask for ours
        server.output.expect(r">>> TLS 1\.3, Handshake \[length 0005\], KeyUpdate")
        server.say(b"1 after\n")
        assert read_exactly(tls, 8) == b"1 after\n"
        assert watch.updates(Direction.RECEIVED) == 1
        assert watch.updates(Direction.SENT) == 1
        tls.sendall(b"with new keys\n")
        assert server.output.holds(b"with new keys\n")
        server.output.expect(r"<<< TLS 1\.3, Handshake \[length 0005\], KeyUpdate")
        tls.update_keys(request_peer=True)
        tls.sendall(b"once more\n")
        assert server.output.holds(b"once more\n")
        server.say(b"2 after\n")
        assert read_exactly(tls, 8) == b"2 after\n"
        assert watch.updates(Direction.RECEIVED) == 2
        assert watch.updates(Direction.SENT) == 2


def test_client_takes_small_records(identities: Identities) -> None:
    watch = Watch()
    data = digits(MEBIBYTE // 4)
    with (
        s_server(identities.of(), "-max_send_frag", "512") as server,
        connect(port_of(server), ClientConfig(trust=identities.trust, trace=watch)) as tls,
    ):
        server.say(data)
        assert read_exactly(tls, len(data)) == data
    assert watch.largest_record(Direction.RECEIVED) == 512 + 1 + 16


def test_client_reads_a_page(identities: Identities) -> None:
    with (
        s_server(identities.of(), "-www") as server,
        connect(port_of(server), ClientConfig(trust=identities.trust)) as tls,
    ):
        tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
        page = read_to_end(tls)
        assert page.startswith(b"HTTP/1.0 200 ok\r\n")
        assert str(tls.info.cipher_suite).encode() in page


@pytest.mark.parametrize(("offered", "agreed"), [("http/1.1", "http/1.1"), ("h2,http/1.1", "h2")])
def test_client_and_application_protocol(offered: str, agreed: str, identities: Identities) -> None:
    with s_server(identities.of(), "-alpn", offered) as server:
        config = ClientConfig(trust=identities.trust, alpn=["http/1.1", "h2"])
        with connect(port_of(server), config) as tls:
            assert tls.info.alpn == server.output.expect(r"ALPN protocols selected: (\S+)") == agreed


def test_client_without_a_common_protocol(identities: Identities) -> None:
    with s_server(identities.of(), "-alpn", "h2") as server:
        with pytest.raises(AlertReceived) as caught:
            connect(port_of(server), ClientConfig(trust=identities.trust, alpn=["http/1.1"]))
        assert caught.value.alert is Alert.NO_APPLICATION_PROTOCOL


@pytest.mark.parametrize("scheme", CLASSIC_SCHEMES, ids=str)
def test_client_shows_a_certificate(scheme: SignatureScheme, identities: Identities) -> None:
    demand = ("-Verify", "1", "-verify_return_error", "-CAfile", identities.root_file)
    with s_server(identities.of(), *demand, "-client_sigalgs", allowing(scheme)) as server:
        shown = identities.of(CLASSIC_SCHEMES[scheme]).credential
        with connect(port_of(server), ClientConfig(trust=identities.trust, credentials=[shown])) as tls:
            assert tls.info.client_signature_scheme is scheme
            tls.sendall(b"it is me\n")
            assert server.output.holds(b"it is me\n")
            server.output.expect(r"Client certificate\n-----BEGIN")


def test_client_without_a_certificate_is_refused(identities: Identities) -> None:
    demand = ("-Verify", "1", "-verify_return_error", "-CAfile", identities.root_file)
    with s_server(identities.of(), *demand) as server:
        with (
            connect(port_of(server), ClientConfig(trust=identities.trust)) as tls,
            pytest.raises(AlertReceived) as caught,
        ):
            tls.recv(1)
        assert caught.value.alert is Alert.CERTIFICATE_REQUIRED
        server.errors.expect("peer did not return a certificate")


def test_exporter_of_the_client(identities: Identities) -> None:
    export = ("-keymatexport", "EXPORTER-handclasp-test", "-keymatexportlen", "32")
    with (
        s_server(identities.of(), *export) as server,
        connect(port_of(server), ClientConfig(trust=identities.trust)) as tls,
    ):
        theirs = server.output.expect(r"Keying material: ([0-9A-F]{64})")
        assert tls.export("EXPORTER-handclasp-test", b"", 32).hex().upper() == theirs


BOTH = pytest.mark.parametrize("version", ["-tls1_3", "-tls1_2"])

WRONG = pytest.mark.parametrize(
    ("wrong", "alert"),
    [("name", Alert.BAD_CERTIFICATE), ("CA", Alert.UNKNOWN_CA), ("time", Alert.CERTIFICATE_EXPIRED)],
)


@BOTH
@WRONG
def test_client_refuses(version: str, wrong: str, alert: Alert, identities: Identities, strangers: Identities) -> None:
    with s_server(wrong_one(wrong, identities, strangers), version=version) as server:
        with pytest.raises(CertificateError) as caught:
            connect(port_of(server), ClientConfig(trust=identities.trust))
        assert caught.value.alert is alert
        server.errors.expect(f"SSL alert number {int(alert)}\\b")


# --- our server, their client ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_server_and_suite(suite: CipherSuite, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], cipher_suites=list(SUITES))
    with (
        Host() as host,
        s_client(host, identities, "-brief", "-ciphersuites", str(suite), *ANY_SUITE) as client,
        host.accept(config) as tls,
    ):
        assert str(tls.info.cipher_suite) == client.errors.expect(r"Ciphersuite: (\S+)") == str(suite)
        client.errors.expect("Verification: OK")
        client.say(b"0 from them\n")
        assert read_exactly(tls, 12) == b"0 from them\n"
        tls.sendall(b"from us\n")
        assert client.output.holds(b"from us\n")


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("retry", [True, False], ids=["retry", "at once"])
def test_server_and_group(group: NamedGroup, retry: bool, identities: Identities) -> None:
    # s_client sends a share for its first group alone
    first = NamedGroup.SECP384R1 if group is NamedGroup.X25519 else NamedGroup.X25519
    offered = f"{GROUPS[first]}:{GROUPS[group]}" if retry else GROUPS[group]
    config = ServerConfig(credentials=[identities.of().credential], groups=[group])
    with (
        Host() as host,
        s_client(host, identities, "-brief", "-groups", offered) as client,
        host.accept(config) as tls,
    ):
        assert tls.info.group is group
        assert tls.info.hello_retry is retry
        known_as = f"{TEMPORARY_KEYS.get(group, GROUPS[group])}|{group}"
        client.errors.expect(f"(?:Server|Peer) Temp Key: (?:{known_as}),")


@pytest.mark.parametrize("scheme", CLASSIC_SCHEMES, ids=str)
def test_server_and_scheme(scheme: SignatureScheme, identities: Identities) -> None:
    credential = identities.of(CLASSIC_SCHEMES[scheme]).credential
    with (
        Host() as host,
        s_client(host, identities, "-brief", "-sigalgs", allowing(scheme)) as client,
        host.accept(ServerConfig(credentials=[credential])) as tls,
    ):
        assert tls.info.signature_scheme is scheme
        client.errors.expect("Verification: OK")


def test_server_exchanges_a_mebibyte(identities: Identities) -> None:
    data = digits(MEBIBYTE)
    config = ServerConfig(credentials=[identities.of().credential])
    with Host() as host, s_client(host, identities, "-quiet") as client, host.accept(config) as tls:
        client.say(data)
        tls.sendall(data)
        assert read_exactly(tls, len(data)) == data
        assert client.output.holds(data)


def test_server_follows_key_updates(identities: Identities) -> None:
    watch = Watch()
    config = ServerConfig(credentials=[identities.of().credential], trace=watch)
    with Host() as host, s_client(host, identities) as client, host.accept(config) as tls:
        client.output.expect("Verify return code: 0")
        client.say(b"K\n")
        client.errors.expect("KEYUPDATE")
        client.say(b"1 after\n")
        assert read_exactly(tls, 8) == b"1 after\n"
        assert watch.updates(Direction.RECEIVED) == 1
        assert watch.updates(Direction.SENT) == 1
        tls.sendall(b"with new keys\n")
        assert client.output.holds(b"with new keys\n")


def test_server_ends_and_so_does_the_client(identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential])
    with Host() as host, s_client(host, identities, "-quiet") as client:
        with host.accept(config) as tls:
            tls.sendall(b"the end\n")
        assert client.finish() == 0
        assert client.output.all() == b"the end\n"


@pytest.mark.parametrize("offered", ["http/1.1", "http/1.1,h2"])
def test_server_and_application_protocol(offered: str, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], alpn=["h2", "http/1.1"])
    with Host() as host, s_client(host, identities, "-alpn", offered) as client, host.accept(config) as tls:
        assert tls.info.alpn == client.output.expect(r"ALPN protocol: (\S+)")
        assert tls.info.alpn == ("h2" if "h2" in offered else "http/1.1")


def test_server_checks_a_certificate(identities: Identities) -> None:
    shown = identities.of()
    certificate = ("-cert", shown.chain_file, "-key", shown.key_file)
    config = ServerConfig(credentials=[shown.credential], client_auth=ClientAuth(verify=identities.trust))
    with Host() as host, s_client(host, identities, *certificate) as client, host.accept(config) as tls:
        # s_client sends the root as well
        assert tls.info.peer_certificates[0].der == shown.credential.leaf.der
        client.say(b"0 it is me\n")
        assert read_exactly(tls, 11) == b"0 it is me\n"


def _certificates(shown: Identity | None) -> Sequence[str | Path]:
    return () if shown is None else ("-cert", shown.chain_file, "-key", shown.key_file)


@pytest.mark.parametrize(
    ("stranger", "alert"),
    [(False, Alert.CERTIFICATE_REQUIRED), (True, Alert.UNKNOWN_CA)],
    ids=["no certificate", "unknown CA"],
)
def test_server_refuses(stranger: bool, alert: Alert, identities: Identities, strangers: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], client_auth=ClientAuth(verify=identities.trust))
    shown = strangers.of() if stranger else None
    with Host() as host, s_client(host, identities, *_certificates(shown)) as client:
        with pytest.raises(CertificateError) as caught:
            host.accept(config)
        assert caught.value.alert is alert
        client.errors.expect(f"SSL alert number {int(alert)}\\b")


def test_exporter_of_the_server(identities: Identities) -> None:
    export = ("-keymatexport", "EXPORTER-handclasp-test", "-keymatexportlen", "32")
    config = ServerConfig(credentials=[identities.of().credential])
    with Host() as host, s_client(host, identities, *export) as client, host.accept(config) as tls:
        theirs = client.output.expect(r"Keying material: ([0-9A-F]{64})")
        assert tls.export("EXPORTER-handclasp-test", b"", 32).hex().upper() == theirs


@BOTH
@WRONG
def test_server_is_refused(
    version: str, wrong: str, alert: Alert, identities: Identities, strangers: Identities
) -> None:
    config = ServerConfig(credentials=[wrong_one(wrong, identities, strangers).credential])
    with Host() as host, s_client(host, identities, version=version) as client:
        with pytest.raises(AlertReceived) as caught:
            host.accept(config)
        assert caught.value.alert is alert
        client.errors.expect("certificate verify failed")
        assert client.finish() == 1
