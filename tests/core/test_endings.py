"""Ends that meet something else under way: a question that is open, a handshake, tickets that are being made."""

from __future__ import annotations

from datetime import datetime

import pytest

from handclasp import (
    Alert,
    AlertReceived,
    Asked,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    Closed,
    ConnectionClosed,
    Credential,
    Data,
    HandshakeComplete,
    PresentedChain,
    ServerConfig,
    ServerConnection,
    TicketKeys,
    TruncatedError,
    TrustStore,
    VerifiedPeer,
)
from handclasp.connection import Connection
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.pair import handshake
from handclasp.sessions.session import Session
from handclasp.trace import Direction, MessageMoved, TraceEvent
from handclasp.wire.names import ContentType, TLSVersion


class SlowTickets:
    """Tickets of somebody who is asked later."""

    blocking = True

    def __init__(self) -> None:
        self._keys = TicketKeys()

    def seal(self, session: Session, now: datetime) -> bytes:
        return self._keys.seal(session, now)

    def open(self, ticket: bytes, now: datetime) -> Session | None:
        return self._keys.open(ticket, now)


class SlowVerifier:
    """A trust store that is asked later."""

    blocking = True

    def __init__(self, trust: TrustStore) -> None:
        self._trust = trust

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        return self._trust.verify(presented)


def answer_all(connection: Connection) -> None:
    """Answer what is asked, and what is asked because of that."""
    while asked := [event for event in connection.events() if isinstance(event, Asked)]:
        connection.answer(asked[0].question, asked[0].question.put())


def shaken(client: ClientConnection, server: ServerConnection) -> None:
    """As far as the server's tickets, which are asked for."""
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    server.receive_data(client.data_to_send())


def judged(
    authority: CertificateAuthority, trust: TrustStore, credential: Credential
) -> tuple[ClientConnection, ServerConnection]:
    """A client that has shaken hands, and a server that will ask somebody slow about it."""
    mine = authority.issue("client.test", usage="client")
    client = ClientConnection(ClientConfig(trust=trust, credentials=[mine]), "localhost")
    auth = ClientAuth(verify=SlowVerifier(trust))
    server = ServerConnection(ServerConfig(credentials=[credential], client_auth=auth))
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    return client, server


@pytest.fixture
def client(trust: TrustStore) -> ClientConnection:
    return ClientConnection(ClientConfig(trust=trust, post_handshake_auth=True), "localhost")


@pytest.mark.attack(42, "truncation")
def test_what_came_behind_the_end_is_not_read_later_either(client: ClientConnection, credential: Credential) -> None:
    """RFC 8446 §6.1: it is ignored, whatever is asked and answered in the meantime."""
    server = ServerConnection(ServerConfig(credentials=[credential], tickets=SlowTickets()))
    shaken(client, server)
    answer_all(server)
    client.close()
    server.receive_data(client.data_to_send() + b"QUIT\r\n")
    assert server.events() == [Closed(clean=True)]
    server.send_tickets(1)
    answer_all(server)
    assert (server.error, server.trailing_data()) == (None, b"QUIT\r\n")


@pytest.mark.attack(42, "truncation")
@pytest.mark.parametrize("clean", [True, False])
def test_what_came_before_the_end_is_read_when_the_question_is_answered(
    clean: bool, authority: CertificateAuthority, trust: TrustStore, credential: Credential
) -> None:
    client, server = judged(authority, trust, credential)
    client.send(b"all of it")
    if clean:
        client.close()
    server.receive_data(client.data_to_send())
    server.receive_eof()
    (asked,) = [event for event in server.events() if isinstance(event, Asked)]
    if clean:
        server.answer(asked.question, asked.question.put())
    else:
        with pytest.raises(TruncatedError, match="data may be missing"):
            server.answer(asked.question, asked.question.put())
    events = server.events()
    assert isinstance(events[0], HandshakeComplete)
    assert events[1:] == [Data(b"all of it"), Closed(clean=clean)]


@pytest.mark.attack(42, "truncation")
def test_an_end_with_nothing_before_it_is_told_at_once(
    authority: CertificateAuthority, trust: TrustStore, credential: Credential
) -> None:
    client, server = judged(authority, trust, credential)
    server.receive_data(client.data_to_send())
    assert server.waiting_for == ("VerifyPeer",)
    assert len(server._inbound.deframer) == 0
    with pytest.raises(TruncatedError, match="during the handshake"):
        server.receive_eof()


@pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_handshake_does_not_go_on_behind_our_goodbye(
    side: str, version: TLSVersion, trust: TrustStore, credential: Credential
) -> None:
    """RFC 8446 §6.1: nothing follows close_notify."""
    seen: list[TraceEvent] = []
    tracing = {side: seen.append}
    client = ClientConnection(ClientConfig(trust=trust, versions=[version], trace=tracing.get("client")), "localhost")
    server = ServerConnection(ServerConfig(credentials=[credential], versions=[version], trace=tracing.get("server")))
    ours: Connection = client if side == "client" else server
    if side == "client":
        server.receive_data(client.data_to_send())
    ours.close()
    assert isinstance(ours.error, ConnectionClosed)
    assert not ours.established
    theirs = server if side == "client" else client
    with pytest.raises(ConnectionClosed):
        ours.receive_data(theirs.data_to_send())
    ours.data_to_send()
    assert ours.events() == []
    sent = [event for event in seen if isinstance(event, MessageMoved) and event.direction is Direction.SENT]
    assert [event.message for event in sent[-2:]] == [bytes((1, Alert.USER_CANCELED)), bytes((1, Alert.CLOSE_NOTIFY))]


def test_neither_tickets_nor_requests_follow_our_goodbye(
    client: ClientConnection, trust: TrustStore, credential: Credential
) -> None:
    seen: list[TraceEvent] = []
    server = ServerConnection(ServerConfig(credentials=[credential], tickets=SlowTickets(), trace=seen.append))
    shaken(client, server)
    server.request_certificate(ClientAuth(verify=trust))
    server.close()
    answer_all(server)
    messages = [event for event in seen if isinstance(event, MessageMoved) and event.direction is Direction.SENT]
    assert (messages[-1].type, messages[-1].message) == (ContentType.ALERT, bytes((1, Alert.CLOSE_NOTIFY)))


def test_a_pair_whose_client_leaves_early_is_over(trust: TrustStore, credential: Credential) -> None:
    """Both ends know why."""
    client = ClientConnection(ClientConfig(trust=trust), "localhost")
    client.close()
    server = ServerConnection(ServerConfig(credentials=[credential]))
    with pytest.raises(AlertReceived, match="close_notify"):
        handshake(client, server)
    assert client.waiting_for == ()
