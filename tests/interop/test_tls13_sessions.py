"""TLS 1.3 sessions, early data and pre-shared keys against OpenSSL: in memory, and with its programs."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from handclasp import (
    CipherSuite,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    ClientSessions,
    EarlyData,
    ExternalPsk,
    NamedGroup,
    ServerConfig,
    ServerConnection,
    ServerSessions,
    TicketKeys,
    TLSVersion,
)
from handclasp.crypto.signatures import KeyKind
from handclasp.sessions.replay import ReplayGuard
from interop.identities import NAME, Identities
from interop.openssl_bio import StdlibPeer, shake
from interop.programs import Host, Program, Wire, connect, read_exactly, tool
from interop.test_openssl_cli import port_of, s_client, s_server
from interop.test_tls12 import BULK, ROLES, stdlib
from interop.test_tls12_sessions import end

pytestmark = pytest.mark.peer("OpenSSL, `ssl`")

KEPT = pytest.mark.parametrize("kept", ["tickets", "ids"])


def keeping(kept: str) -> dict[str, Any]:
    return {"tickets": TicketKeys()} if kept == "tickets" else {"sessions": ServerSessions()}


def newest(protocol: int, *, tickets: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    return context


@KEPT
@ROLES
def test_resumption_keeps_what_was_settled(role: str, kept: str, identities: Identities, tmp_path: Path) -> None:
    """The other's certificate, protocol and name; both ends tell the same of it, down to binding and key log."""
    ours: list[str] = []
    log, shown = tmp_path / "theirs", identities.of(KeyKind.RSA)
    fields: dict[str, Any] = {"alpn": ["h2"], "keylog": ours.append}
    if role == "client":
        context = newest(ssl.PROTOCOL_TLS_SERVER, tickets=kept == "tickets")
        context.load_cert_chain(identities.of().chain_file, identities.of().key_file)
        context.load_verify_locations(identities.root_file)
        context.verify_mode = ssl.CERT_REQUIRED
        fields |= {"credentials": [shown.credential], "sessions": ClientSessions()}
    else:
        context = newest(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(identities.root_file)
        context.load_cert_chain(shown.chain_file, shown.key_file)
        fields |= {"client_auth": ClientAuth(verify=identities.trust), **keeping(kept)}
    context.set_alpn_protocols(["h2"])
    context.keylog_filename = str(log)
    session, resumed = None, []
    for _ in range(4):
        if role == "client":
            config = ClientConfig(trust=identities.trust, **fields)
            meeting = shake(ClientConnection(config, NAME), StdlibPeer(context))
        else:
            server = ServerConfig(credentials=[identities.of().credential], **fields)
            meeting = shake(ServerConnection(server), StdlibPeer(context, NAME, session))
        meeting.exchange(BULK, BULK)
        info, tls = meeting.ours.info, stdlib(meeting).tls
        client, server_leaf = shown.credential.leaf.der, identities.of().credential.leaf.der
        assert info.version is TLSVersion.TLS_1_3
        assert info.verified_chain[0].der == (server_leaf if role == "client" else client)
        assert meeting.theirs.certificate == (client if role == "client" else server_leaf)
        assert info.alpn == tls.selected_alpn_protocol() == "h2"
        assert info.server_name == NAME
        assert tls.session_reused is info.resumed
        resumed.append(info.resumed)
        end(meeting)
        session = tls.session
    assert resumed == [False, True, True, True]
    assert sorted(ours) == sorted(line for line in log.read_text().splitlines() if not line.startswith("#"))


@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
@pytest.mark.parametrize("retried", [False, True], ids=["", "after a retry"])
def test_each_suite_resumes(suite: str, retried: bool, identities: Identities) -> None:
    code = next(code for code in CipherSuite if code.name == suite)
    groups = [NamedGroup.SECP256R1] if retried else [NamedGroup.X25519]
    server = ServerConfig(
        credentials=[identities.of().credential], cipher_suites=[code], groups=groups, tickets=TicketKeys()
    )
    context, session = newest(ssl.PROTOCOL_TLS_CLIENT), None
    context.load_verify_locations(identities.root_file)
    for expected in (False, True):
        meeting = shake(ServerConnection(server), StdlibPeer(context, NAME, session))
        meeting.exchange(b"from us", b"from them")
        assert meeting.ours.info.resumed is expected
        assert meeting.ours.info.hello_retry is retried
        end(meeting)
        session = stdlib(meeting).tls.session


# --- early data ------------------------------------------------------------------------------------------------------


@pytest.mark.peer("OpenSSL, `openssl`")
def test_openssl_takes_our_early_data(identities: Identities) -> None:
    sessions = ClientSessions()
    options = ("-early_data", "-max_early_data", "16384", "-no_anti_replay", "-naccept", "2")
    with s_server(identities.of(), *options) as server:
        port = port_of(server)
        config = ClientConfig(trust=identities.trust, sessions=sessions, versions=[TLSVersion.TLS_1_3])
        with connect(port, config) as tls:
            tls.sendall(b"first\n")
            server.output.expect("first")
            server.say(b"tickets are out\n")
            assert read_exactly(tls, 16) == b"tickets are out\n"
        connection = ClientConnection(config, NAME, early_data=b"soon enough\n")
        with Wire.dial(port, connection) as wire:
            server.output.expect("soon enough")
            wire.until_established()
            assert connection.info.resumed
            assert connection.info.early_data is True
            connection.send(b"and the rest\n")
            wire.flush()
            server.output.expect("and the rest")


@pytest.mark.peer("OpenSSL, `openssl`")
def test_openssl_declines_our_early_data(identities: Identities) -> None:
    """It has forgotten that it allowed any: what we sent is passed over, and told."""
    sessions = ClientSessions()
    with s_server(identities.of(), "-naccept", "2") as server:
        port = port_of(server)
        config = ClientConfig(trust=identities.trust, sessions=sessions, versions=[TLSVersion.TLS_1_3])
        with connect(port, config) as tls:
            server.say(b"tickets are out\n")
            assert read_exactly(tls, 16) == b"tickets are out\n"
        held = sessions.take(NAME)
        assert held is not None
        sessions.put(NAME, replace(held, session=replace(held.session, max_early_data=100)))
        connection = ClientConnection(config, NAME, early_data=b"too soon\n")
        with Wire.dial(port, connection) as wire:
            wire.until_established()
            assert connection.info.resumed
            assert connection.info.early_data is False
            connection.send(b"but the rest comes\n")
            wire.flush()
            server.output.expect("but the rest comes")
            assert b"too soon" not in server.output.so_far()


@pytest.mark.peer("OpenSSL, `openssl`")
def test_we_take_openssls_early_data(identities: Identities, tmp_path: Path) -> None:
    kept, early = tmp_path / "session", tmp_path / "early"
    early.write_bytes(b"sooner than soon\n")
    replay = ReplayGuard()
    config = ServerConfig(
        credentials=[identities.of().credential], tickets=TicketKeys(), early_data=EarlyData(replay=replay)
    )
    with Host() as host:
        with s_client(host, identities, "-sess_out", kept) as client:
            tls = host.accept(config)
            tls.sendall(b"hello\n")
            client.output.expect("hello")
            client.hang_up()
            tls.close()
        with s_client(host, identities, "-sess_in", kept, "-early_data", early) as client:
            connection = ServerConnection(config)
            with Wire(host.take(), connection) as wire:
                wire.until_established()
                assert connection.info.resumed
                assert connection.info.early_data is True
                assert wire.early == b"sooner than soon\n"
                client.output.expect("Early data was accepted")


# --- keys known beforehand -------------------------------------------------------------------------------------------

KEY = bytes(range(32))
SUITES = "TLS_AES_128_GCM_SHA256"


@pytest.mark.peer("OpenSSL, `openssl`")
def test_our_key_against_openssls_server(identities: Identities) -> None:
    options = ("-nocert", "-psk", KEY.hex(), "-psk_identity", "sensor", "-ciphersuites", SUITES)
    with Program(tool("openssl"), "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-tls1_3", *options) as server:
        config = ClientConfig(trust=identities.trust, psks=[ExternalPsk(b"sensor", KEY, role="client")])
        with connect(port_of(server), config) as tls:
            assert tls.info.psk == b"sensor"
            tls.sendall(b"known beforehand\n")
            server.output.expect("known beforehand")


@pytest.mark.peer("OpenSSL, `openssl`")
def test_openssls_key_against_our_server(identities: Identities) -> None:
    config = ServerConfig(psks=[ExternalPsk(b"sensor", KEY, role="server")])
    options = ("-psk", KEY.hex(), "-psk_identity", "sensor", "-ciphersuites", SUITES)
    with Host() as host, s_client(host, identities, *options) as client, host.accept(config) as tls:
        assert tls.info.psk == b"sensor"
        tls.sendall(b"known beforehand\n")
        client.output.expect("known beforehand")
        client.hang_up()
