"""Keys are short-lived: by time, by bytes and by records, in both directions; new ones in TLS 1.3, the end in 1.2."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from handclasp import (
    ClientConfig,
    ConfigError,
    ConnectionClosed,
    Credential,
    Data,
    EarlyData,
    EarlyDataReceived,
    KeysExpired,
    Limits,
    ServerConfig,
    ServerConnection,
    TicketKeys,
    TLSVersion,
    TrustStore,
)
from handclasp.connection import ClientConnection, Connection
from handclasp.lab.pair import Pair
from handclasp.limits import RECORD_HEADER
from handclasp.sessions.cache import ClientSessions
from handclasp.wire.names import ContentType
from sessions.machines import Machines, Now, Seen

SIDES = pytest.mark.parametrize("side", ["client", "server"])
FULL = 1 << 14

POLICIES: dict[str, tuple[dict[str, Any], str]] = {
    "time": ({"key_lifetime": timedelta(hours=1)}, "older than 1:00:00"),
    "bytes": ({"key_bytes": 3 * FULL}, f"bytes as they may: {3 * FULL}"),
    "records": ({"limits": Limits(records_per_key=4)}, "records as they may"),
}


@pytest.fixture
def machines(trust: TrustStore, credential: Credential) -> Machines:
    clock = Now()
    return Machines(ClientConfig(trust=trust, clock=clock), ServerConfig(credentials=[credential], clock=clock), clock)


def met(machines: Machines, side: str, **policy: Any) -> tuple[Pair, Connection, Connection]:
    """A pair in which one side has a policy; that side, and the other."""
    config = getattr(machines, side).replace(**policy)
    setattr(machines, side, config)
    pair = machines.meet()
    ends = pair.client, pair.server
    return pair, *(ends if side == "client" else ends[::-1])


def wear_out(machines: Machines, policy: str, sender: Connection, pair: Pair) -> bytes:
    """Use the sender's keys until they have had their time; all that was sent."""
    sent = b""
    if policy == "time":
        machines.clock.forward(hours=1)
    for number in range(1 if policy == "time" else 4):
        piece = bytes([number]) * FULL
        sent += piece
        sender.send(piece)
        pair.shuttle()
    return sent


@pytest.mark.attack(51, "keys used too long")
@SIDES
@pytest.mark.parametrize("policy", POLICIES)
def test_our_keys_are_renewed_and_nothing_is_lost(policy: str, side: str, machines: Machines) -> None:
    fields, why = POLICIES[policy]
    pair, ours, _ = met(machines, side, **fields)
    before = ours.info.keys_renewed
    assert ours.info.keys_expired == ""
    sent = wear_out(machines, policy, ours, pair)
    received = pair.server_data() if side == "client" else pair.client_data()
    assert received.endswith(sent)
    assert ours.info.keys_renewed == before + 1
    assert why in ours.info.keys_expired
    mine = pair.client_events if side == "client" else pair.server_events
    expired = [event for event in [*mine, *ours.events()] if isinstance(event, KeysExpired)]
    assert [event.renewed for event in expired] == [True]
    assert why in expired[0].why


@SIDES
@pytest.mark.parametrize("policy", ["time", "bytes"])
def test_the_peer_is_asked_for_new_keys(policy: str, side: str, machines: Machines) -> None:
    """Who only reads has keys that grow old too: those of the peer."""
    fields, why = POLICIES[policy]
    pair, ours, theirs = met(machines, side, **fields)
    assert theirs.info.keys_renewed == 0
    sent = wear_out(machines, policy, theirs, pair)
    theirs.send(b"under new keys")
    pair.shuttle()
    assert theirs.info.keys_renewed == 1
    assert theirs.info.keys_expired == ""
    assert why in ours.info.keys_expired
    received = pair.client_data() if side == "client" else pair.server_data()
    assert received.endswith(sent + b"under new keys")


def test_the_peer_is_asked_once(machines: Machines) -> None:
    pair, client, server = met(machines, "client", key_bytes=FULL)
    for _ in range(20):  # none of which the client answers meanwhile
        server.send(bytes(FULL))
    pair.shuttle()
    assert client.info.keys_renewed == 1
    assert len([event for event in pair.client_events if isinstance(event, KeysExpired)]) == 1


@SIDES
@pytest.mark.parametrize("policy", ["time", "bytes"])
def test_a_stream_that_goes_one_way_goes_on(policy: str, side: str, machines: Machines) -> None:
    """Who only listens answers each KeyUpdate (RFC 8446 §4.6.3): that is no flood."""
    pair, policed, other = met(machines, side, **POLICIES[policy][0])
    for _ in range(40):
        wear_out(machines, policy, policed, pair)
    assert (policed.error, other.error) == (None, None)
    assert policed.info.keys_renewed >= 39
    assert len(pair.server_data() if side == "client" else pair.client_data()) >= 40 * FULL


def test_who_asks_for_new_keys_gets_as_many_answers(machines: Machines) -> None:
    pair, policed, _ = met(machines, "client")
    for _ in range(40):
        policed.update_keys(request_peer=True)
        pair.shuttle()
        pair.server.send(b"and on")
        pair.shuttle()
    assert pair.server.info.keys_renewed == 40


@pytest.mark.attack(51, "keys used too long")
@SIDES
@pytest.mark.parametrize(
    ("policy", "sender"),
    # the limit on records is the sender's; the receiver's own is an error of a sender that ignored it
    [*((policy, "ours") for policy in POLICIES), ("time", "theirs"), ("bytes", "theirs")],
)
def test_in_tls12_they_end_the_connection(policy: str, sender: str, side: str, machines: Machines) -> None:
    """With a close_notify and a reason; what the peer sent before it heard of that is not lost."""
    fields, why = POLICIES[policy]
    both = {"versions": [TLSVersion.TLS_1_2]}
    machines.client = machines.client.replace(**both)
    pair, ours, theirs = met(machines, side, **fields)
    theirs.send(b"on its way")
    ours_events = pair.client_events if side == "client" else pair.server_events
    theirs_events = pair.server_events if side == "client" else pair.client_events
    if sender == "ours":
        with pytest.raises(ConnectionClosed, match="cannot change them"):
            wear_out(machines, policy, ours, pair)
    else:
        wear_out(machines, policy, theirs, pair)
    pair.shuttle()
    with pytest.raises(ConnectionClosed, match="cannot change them") as caught:
        ours.send(b"more")
    assert caught.value.code == "keys-worn-out"
    assert why in str(caught.value)
    ours_events += ours.events()
    assert [event.renewed for event in ours_events if isinstance(event, KeysExpired)] == [False]
    assert why in ours.info.keys_expired
    assert b"on its way" in b"".join(event.data for event in ours_events if isinstance(event, Data))
    assert theirs.closed_by_peer
    assert theirs.error is None
    assert ours.error is None
    theirs_events += theirs.events()
    theirs.close()
    pair.shuttle()
    assert ours.closed_by_peer


def test_nothing_small_gets_past_behind_the_end(machines: Machines) -> None:
    """The last piece would have been within the limit by itself: it comes behind a close_notify, and is not sent."""
    machines.client = machines.client.replace(versions=[TLSVersion.TLS_1_2])
    pair, client, server = met(machines, "client", key_bytes=FULL + 100)
    with pytest.raises(ConnectionClosed, match="cannot change them"):
        client.send(bytes(FULL) + bytes(FULL) + b"small")
    wire, types = client.data_to_send(), []
    server.receive_data(wire)
    while wire:
        types.append(ContentType(wire[0]))
        wire = wire[RECORD_HEADER + int.from_bytes(wire[3:RECORD_HEADER]) :]
    assert types == [ContentType.APPLICATION_DATA, ContentType.ALERT]
    pair.shuttle()
    assert pair.server_data() == b"ping" + bytes(FULL)
    assert (server.closed_by_peer, server.error) == (True, None)


def test_early_data_keeps_its_keys(trust: TrustStore, credential: Credential) -> None:
    """All of it is sent: it has one key, and no other can take over."""
    client = ClientConfig(trust=trust, sessions=ClientSessions(), key_bytes=FULL)
    early = EarlyData(replay=Seen(), most=4 * FULL)
    server = ServerConfig(credentials=[credential], tickets=TicketKeys(), early_data=early)
    Machines(client, server, Now()).meet()
    asking, answering = ClientConnection(client, "localhost", early_data=bytes(3 * FULL)), ServerConnection(server)
    answering.receive_data(asking.data_to_send())
    events = answering.events()
    assert b"".join(event.data for event in events if isinstance(event, EarlyDataReceived)) == bytes(3 * FULL)


def test_an_answer_to_early_data_keeps_its_keys(trust: TrustStore, credential: Credential) -> None:
    """Until the client's Finished there is no KeyUpdate that could change them."""
    client = ClientConfig(trust=trust, sessions=ClientSessions())
    server = ServerConfig(
        credentials=[credential], tickets=TicketKeys(), early_data=EarlyData(replay=Seen()), key_bytes=FULL
    )
    Machines(client, server, Now()).meet()
    asking, answering = ClientConnection(client, "localhost", early_data=b"GET /"), ServerConnection(server)
    answering.receive_data(asking.data_to_send())
    answering.send(bytes(3 * FULL))
    asking.receive_data(answering.data_to_send())
    answering.receive_data(asking.data_to_send())
    answering.send(b"and more")
    asking.receive_data(answering.data_to_send())
    data = b"".join(event.data for event in asking.events() if isinstance(event, Data))
    assert data == bytes(3 * FULL) + b"and more"
    assert answering.info.keys_renewed == 1


@pytest.mark.parametrize("wrong", [{"key_bytes": FULL - 1}, {"key_bytes": 0}, {"key_lifetime": timedelta(0)}])
def test_a_policy_that_leaves_no_room_is_refused(wrong: dict[str, Any], trust: TrustStore) -> None:
    with pytest.raises(ConfigError):
        ClientConfig(trust=trust, **wrong)
