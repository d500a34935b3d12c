"""TLS 1.2 sessions against OpenSSL: what is kept, what is forgotten, by ticket and by session id."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from handclasp import (
    CipherSuite,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    ClientSessions,
    ServerConfig,
    ServerConnection,
    ServerSessions,
    TicketKeys,
    TLSVersion,
)
from handclasp.crypto.signatures import KeyKind
from interop.identities import NAME, Identities
from interop.openssl_bio import Meeting, StdlibPeer, shake
from interop.programs import Host
from interop.test_openssl_cli import s_client
from interop.test_openssl_older import Encrypting, client_context, dangerous, server_context
from interop.test_tls12 import BULK, ROLES, pair, shaken, stdlib

pytestmark = pytest.mark.peer("OpenSSL, `ssl`")

TICKETS = pytest.mark.parametrize("tickets", [True, False], ids=["ticket", "id"])


def end(meeting: Meeting) -> None:
    """Both say close_notify: OpenSSL forgets a session whose connection did not end well."""
    meeting.ours.close()
    meeting.carry()
    meeting.theirs.close()
    meeting.carry()
    meeting.check()


def keeping(tickets: bool) -> dict[str, Any]:
    return {"tickets": TicketKeys()} if tickets else {"sessions": ServerSessions()}


@TICKETS
@ROLES
def test_resumption_keeps_what_was_settled(role: str, tickets: bool, identities: Identities, tmp_path: Path) -> None:
    """The other's certificate, protocol and name; both ends tell the same of it, down to binding and key log."""
    ours: list[str] = []
    log, shown = tmp_path / "theirs", identities.of(KeyKind.RSA)
    fields: dict[str, Any] = {"alpn": ["h2"], "keylog": ours.append}
    if role == "client":
        context = server_context(identities.of(), tickets=tickets)
        context.load_verify_locations(identities.root_file)
        context.verify_mode = ssl.CERT_REQUIRED
        fields |= {"credentials": [shown.credential], "sessions": ClientSessions()}
    else:
        context = client_context(identities, tickets=tickets)
        context.load_cert_chain(shown.chain_file, shown.key_file)
        fields |= {"client_auth": ClientAuth(verify=identities.trust), **keeping(tickets)}
    context.set_alpn_protocols(["h2"])
    context.keylog_filename = str(log)
    session, resumed = None, []
    for _ in range(4):
        if role == "client":
            meeting = shaken(role, identities, context, **fields)
        else:
            config = ServerConfig(credentials=[identities.of().credential], **fields)
            meeting = shake(ServerConnection(config), StdlibPeer(context, NAME, session))
        meeting.exchange(BULK, BULK)
        info, tls = meeting.ours.info, stdlib(meeting).tls
        client, server = shown.credential.leaf.der, identities.of().credential.leaf.der
        assert info.verified_chain[0].der == (server if role == "client" else client)
        assert meeting.theirs.certificate == (client if role == "client" else server)
        assert info.alpn == tls.selected_alpn_protocol() == "h2"
        assert info.server_name == NAME
        assert meeting.ours.channel_binding("tls-unique") == tls.get_channel_binding("tls-unique")
        assert tls.session_reused is info.resumed
        resumed.append(info.resumed)
        end(meeting)
        session = tls.session
    assert resumed == [False, True, True, True]
    assert ours == [line for line in log.read_text().splitlines() if not line.startswith("#")]
    assert len(ours) == 4


@TICKETS
def test_a_server_that_settles_another_protocol_each_time(tickets: bool, identities: Identities) -> None:
    context, sessions = server_context(identities.of(), tickets=tickets), ClientSessions()
    resumed = []
    for protocol in ("h2", "http/1.1", "h2"):
        context.set_alpn_protocols([protocol])
        meeting = shaken("client", identities, context, sessions=sessions, alpn=["h2", "http/1.1"])
        meeting.exchange(b"from us", b"from them")
        assert meeting.ours.info.alpn == stdlib(meeting).tls.selected_alpn_protocol() == protocol
        resumed.append(meeting.ours.info.resumed)
        end(meeting)
    assert resumed == [False, True, True]


@TICKETS
def test_a_session_the_server_has_forgotten(tickets: bool, identities: Identities) -> None:
    sessions, known = ClientSessions(), client_context(identities, tickets=tickets)
    session = None
    for _ in range(2):  # each server is new
        asked = shaken("client", identities, server_context(identities.of(), tickets=tickets), sessions=sessions)
        config = ServerConfig(credentials=[identities.of().credential], **keeping(tickets))
        answered = shake(ServerConnection(config), StdlibPeer(known, NAME, session))
        for meeting in (asked, answered):
            assert not meeting.ours.info.resumed
            assert not stdlib(meeting).tls.session_reused
            meeting.exchange(b"from us", b"from them")
            end(meeting)
        session = stdlib(answered).tls.session


@TICKETS
def test_a_session_is_no_hindrance_to_a_newer_version(tickets: bool, identities: Identities) -> None:
    """A client that knows a session meets a server that has learnt TLS 1.3 since."""
    context, sessions = server_context(identities.of(), tickets=tickets), ClientSessions()
    end(shaken("client", identities, context, sessions=sessions))
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    meeting = pair("client", identities, context, sessions=sessions)
    meeting.check()
    assert meeting.ours.info.version is TLSVersion.TLS_1_3
    assert not meeting.ours.info.resumed
    meeting.exchange(b"from us", b"from them")


@TICKETS
@ROLES
def test_key_transport_resumes(role: str, tickets: bool, identities: Identities, tmp_path: Path) -> None:
    suite, ciphers = CipherSuite.TLS_RSA_WITH_AES_256_GCM_SHA384, "AES256-GCM-SHA384"
    encrypting = Encrypting(identities, tmp_path).identity
    client = dangerous(ClientConfig(trust=identities.trust, sessions=ClientSessions()), suite)
    server = dangerous(ServerConfig(credentials=[encrypting.credential], **keeping(tickets)), suite)
    serving = server_context(encrypting, ciphers, tickets=tickets)
    asking = client_context(identities, ciphers, tickets=tickets)
    session, resumed = None, []
    for _ in range(2):
        if role == "client":
            meeting = shake(ClientConnection(client, NAME), StdlibPeer(serving))
        else:
            meeting = shake(ServerConnection(server), StdlibPeer(asking, NAME, session))
        assert meeting.ours.info.cipher_suite is suite
        resumed.append(stdlib(meeting).tls.session_reused)
        meeting.exchange(BULK, BULK)
        end(meeting)
        session = stdlib(meeting).tls.session
    assert resumed == [False, True]


@pytest.mark.peer("OpenSSL, `openssl`")
@TICKETS
def test_live_client_reconnects(tickets: bool, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], **keeping(tickets))
    options = ["-reconnect", *([] if tickets else ["-no_ticket"])]
    resumed = []
    with Host() as host, s_client(host, identities, *options, version="-tls1_2") as client:
        for _ in range(6):
            with host.accept(config) as tls:
                resumed.append(tls.info.resumed)
        client.output.expect(r"(?s)New, TLSv1\.2.*(?:Reused, TLSv1\.2.*){5}")
    assert resumed == [False, True, True, True, True, True]
