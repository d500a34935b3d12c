"""Sessions of TLS 1.3: resumed, declined, used with early data; keys known beforehand (RFC 8446 §2.2, §2.3, §4.6.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from handclasp import (
    CallbackError,
    CipherSuite,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    ClientSessions,
    ConfigError,
    Credential,
    Data,
    EarlyData,
    EarlyDataReceived,
    EarlyDataRejected,
    ExternalPsk,
    HandshakeComplete,
    HandshakeError,
    Limits,
    NamedGroup,
    NegotiationError,
    NotEstablished,
    ServerConfig,
    ServerConnection,
    ServerSessions,
    TicketKeys,
    TicketReceived,
    TLSError,
    TLSVersion,
    TrustStore,
    danger,
)
from handclasp.crypto.hashing import Hash
from handclasp.crypto.suites import SUITES
from handclasp.handshake import offer
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.faults import misbehaving
from handclasp.lab.pair import Pair, handshake
from handclasp.trace import Direction, MessageMoved, TraceEvent
from handclasp.wire.extensions import OfferedPsks
from handclasp.wire.messages import ClientHello, EncryptedExtensions, ServerHello
from handclasp.wire.names import ExtensionType, HandshakeType, PskKeyExchangeMode
from sessions.machines import Machines, Now, Seen


@pytest.fixture(params=["tickets", "kept by the server"])
def machines(trust: TrustStore, credential: Credential, request: pytest.FixtureRequest) -> Machines:
    clock = Now()
    stores: dict[str, Any] = {"tickets": TicketKeys()} if request.param == "tickets" else {"sessions": ServerSessions()}
    return Machines(
        ClientConfig(trust=trust, alpn=["h2", "http/1.1"], sessions=ClientSessions(), clock=clock),
        ServerConfig(credentials=[credential], alpn=["h2"], clock=clock, **stores),
        clock,
    )


def test_a_second_handshake_resumes_the_first(machines: Machines) -> None:
    first = machines.meet()
    assert not first.client.info.resumed
    assert sum(isinstance(event, TicketReceived) for event in first.client_events) == 2
    second = machines.meet()
    for end in (second.client, second.server):
        assert end.info.resumed
        assert end.info.version is TLSVersion.TLS_1_3
        assert end.info.alpn == "h2"
        assert end.info.group is not None
        assert end.info.session_declined == ""
    assert second.client.info.verified_chain == first.client.info.verified_chain
    assert second.client.info.peer_certificates == second.client.info.verified_chain
    assert second.client.export("EXPORTER-x") == second.server.export("EXPORTER-x") != first.client.export("EXPORTER-x")


def test_resumption_goes_on_but_does_not_make_a_session_younger(machines: Machines) -> None:
    assert not machines.resumes()
    for _ in range(3):
        machines.clock.forward(minutes=30)
        assert machines.resumes()
    machines.clock.forward(minutes=31)
    pair = machines.meet()
    assert not pair.client.info.resumed
    assert "expired" in pair.client.info.session_declined


def test_a_ticket_is_offered_once(machines: Machines) -> None:
    machines.server = machines.server.replace(ticket_count=1)
    machines.meet()
    client = ClientConnection(machines.client, "localhost")
    other = ClientConnection(machines.client, "localhost")
    assert handshake(client, ServerConnection(machines.server)).client.info.resumed
    assert not handshake(other, ServerConnection(machines.server)).client.info.resumed


def test_a_session_kept_by_the_server_is_given_out_once(trust: TrustStore, credential: Credential) -> None:
    sessions = ServerSessions()
    server = ServerConfig(credentials=[credential], sessions=sessions, ticket_count=1)
    client = ClientConfig(trust=trust, sessions=ClientSessions())
    handshake(ClientConnection(client, "localhost"), ServerConnection(server))
    assert client.sessions is not None
    held = client.sessions.take("localhost")
    assert held is not None
    for expected in (True, False):
        client.sessions.put("localhost", held)  # type: ignore[arg-type]
        pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
        assert pair.server.info.resumed is expected


@pytest.mark.attack(34, "sessions across configurations")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda config: {"alpn": ["http/1.1"]}, "protocol"),
        (lambda config: {"tickets": TicketKeys(), "sessions": ServerSessions()}, ""),
        (lambda config: {"cipher_suites": [CipherSuite.TLS_AES_256_GCM_SHA384]}, "suite"),
        (lambda config: {"session_lifetime": timedelta(seconds=1)}, "expired"),
    ],
)
def test_a_changed_server_declines_and_shakes_hands_in_full(
    machines: Machines, change: Callable[[ServerConfig], dict[str, Any]], why: str
) -> None:
    machines.server = machines.server.replace(cipher_suites=[CipherSuite.TLS_AES_128_GCM_SHA256])
    machines.meet()
    machines.clock.forward(seconds=2)
    machines.server = machines.server.replace(**change(machines.server))
    pair = machines.meet()
    assert not pair.client.info.resumed
    assert not pair.server.info.resumed
    assert why in pair.server.info.session_declined


@pytest.mark.attack(34, "sessions across configurations")
def test_a_changed_client_offers_nothing(machines: Machines, authority: CertificateAuthority) -> None:
    machines.meet()
    other = CertificateAuthority("Another CA")
    machines.client = machines.client.replace(trust=authority.trust | other.trust)
    pair = machines.meet()
    assert not pair.client.info.resumed
    assert "trust policy" in pair.client.info.session_declined


def test_a_session_is_for_one_name(trust: TrustStore, authority: CertificateAuthority) -> None:
    credential = authority.issue("localhost", "other.test")
    server = ServerConfig(credentials=[credential], tickets=TicketKeys())
    client = ClientConfig(trust=trust, sessions=ClientSessions())
    handshake(ClientConnection(client, "localhost"), ServerConnection(server))
    assert client.sessions is not None
    held = client.sessions.take("localhost")
    assert held is not None
    client.sessions.put("other.test", held)  # type: ignore[arg-type]
    pair = handshake(ClientConnection(client, "other.test"), ServerConnection(server))
    assert pair.client.established
    assert not pair.server.info.resumed
    assert "localhost" in pair.server.info.session_declined


def test_a_client_certificate_is_remembered_with_its_session(
    trust: TrustStore, credential: Credential, authority: CertificateAuthority
) -> None:
    server = ServerConfig(credentials=[credential], client_auth=ClientAuth(verify=trust), tickets=TicketKeys())
    mine = authority.issue("client.test", usage="client")
    client = ClientConfig(trust=trust, credentials=[mine], sessions=ClientSessions())
    machines = Machines(client, server, Now())
    machines.meet()
    pair = machines.meet()
    assert pair.server.info.resumed
    assert pair.server.info.verified_chain[0] == mine.leaf
    machines.server = server.replace(client_auth=ClientAuth(verify=trust, required=False))
    pair = machines.meet()
    assert not pair.server.info.resumed
    assert "certificates" in pair.server.info.session_declined


@pytest.mark.attack(34, "sessions across configurations")
def test_an_expired_certificate_ends_its_sessions(trust: TrustStore, authority: CertificateAuthority) -> None:
    clock = Now()
    short = authority.issue("localhost", days=0.05)
    machines = Machines(
        ClientConfig(trust=trust, sessions=ClientSessions(), clock=clock),
        ServerConfig(credentials=[short], tickets=TicketKeys(), clock=clock),
        clock,
    )
    machines.meet()
    assert machines.resumes()
    clock.forward(minutes=40)
    with pytest.raises(TLSError, match="ended"):
        machines.meet()


def test_a_retry_and_a_session_go_together(machines: Machines) -> None:
    machines.meet()
    machines.server = machines.server.replace(groups=[NamedGroup.SECP384R1])
    pair = machines.meet()
    assert pair.client.info.hello_retry
    assert pair.client.info.resumed


def test_more_tickets_when_it_suits(machines: Machines) -> None:
    machines.server = machines.server.replace(ticket_count=0)
    pair = machines.meet()
    assert not any(isinstance(event, TicketReceived) for event in pair.client_events)
    pair.server.send_tickets(3)
    pair.shuttle()
    assert sum(isinstance(event, TicketReceived) for event in pair.client_events) == 3
    assert machines.resumes()
    with pytest.raises(ConfigError):
        pair.client.send_tickets()
    with pytest.raises(ConfigError):
        pair.server.send_tickets(17)


@pytest.mark.attack(32, "PSK binders")
@pytest.mark.parametrize("useful", [True, False], ids=["a key that fits", "a key of another hash"])
def test_a_second_hello_may_drop_keys_that_are_of_no_use(machines: Machines, useful: bool) -> None:
    """With the suite the server chose, that is (RFC 8446 §4.1.2); the handshake is then a full one."""
    machines.meet()
    suite = CipherSuite.TLS_AES_128_GCM_SHA256 if useful else CipherSuite.TLS_AES_256_GCM_SHA384
    assert machines.client.cipher_suites[0] is CipherSuite.TLS_AES_128_GCM_SHA256

    def forget(encoded: bytes) -> list[bytes]:
        hello = ClientHello.parse(encoded[4:])
        if hello.extensions.cookie is None:
            return [encoded]
        order = tuple(type_ for type_ in hello.extensions.order if type_ is not ExtensionType.PRE_SHARED_KEY)
        return [replace(hello, extensions=replace(hello.extensions, pre_shared_key=None, order=order)).encode()]

    forgetful = misbehaving(ClientConnection, {HandshakeType.CLIENT_HELLO: forget})(machines.client, "localhost")
    server = ServerConnection(machines.server.replace(groups=[NamedGroup.SECP384R1], cipher_suites=[suite]))
    if useful:
        with pytest.raises(HandshakeError) as refused:
            handshake(forgetful, server)
        assert refused.value.code == "second-hello-psks"
        return
    pair = handshake(forgetful, server)
    assert pair.client.established
    assert server.established
    assert not server.info.resumed


@pytest.mark.attack(36, "sessions across versions")
def test_a_session_stays_in_its_version(trust: TrustStore, credential: Credential) -> None:
    """A TLS 1.2 ticket named as a TLS 1.3 key, and the other way round: a full handshake each time."""
    tickets = TicketKeys()
    server = ServerConfig(credentials=[credential], tickets=tickets)
    for version, other in (
        (TLSVersion.TLS_1_2, TLSVersion.TLS_1_3),
        (TLSVersion.TLS_1_3, TLSVersion.TLS_1_2),
    ):
        sessions = ClientSessions()
        client = ClientConfig(trust=trust, sessions=sessions, versions=[version])
        handshake(ClientConnection(client, "localhost"), ServerConnection(server))
        held = sessions.take("localhost")
        assert held is not None
        suite = next(code for code in client.replace(versions=[other]).cipher_suites if SUITES[code].version is other)
        disguised = replace(held, session=replace(held.session, version=other, suite=suite))
        sessions.put("localhost", disguised)
        pair = Pair(ClientConnection(client.replace(versions=[other]), "localhost"), ServerConnection(server))
        pair.shuttle()
        assert pair.server.established
        assert not pair.server.info.resumed
        assert str(version) in pair.server.info.session_declined


# --- early data ------------------------------------------------------------------------------------------------------


@pytest.fixture
def early(machines: Machines) -> Machines:
    machines.server = machines.server.replace(early_data=EarlyData(replay=Seen(), most=1000))
    machines.meet()
    return machines


def _early_data(pair: Pair) -> bytes:
    return b"".join(event.data for event in pair.server_events if isinstance(event, EarlyDataReceived))


@pytest.mark.parametrize("piece", [None, 1])
def test_early_data_arrives_before_the_handshake_is_done(early: Machines, piece: int | None) -> None:
    pair = early.meet(early_data=b"GET /", piece=piece)
    assert _early_data(pair) == b"GET /"
    kinds = [type(event) for event in pair.server_events]
    assert kinds.index(EarlyDataReceived) < kinds.index(HandshakeComplete)
    assert pair.client.info.early_data is True
    assert pair.server.info.early_data is True


def test_early_data_may_be_answered_before_the_handshake_is_done(early: Machines) -> None:
    client = ClientConnection(early.client, "localhost", early_data=b"GET /")
    server = ServerConnection(early.server)
    with pytest.raises(NotEstablished):
        server.send(b"too soon")
    server.receive_data(client.data_to_send())
    assert not server.established
    server.send(b"200 ")
    with pytest.raises(NotEstablished):
        server.update_keys()
    with pytest.raises(NotEstablished):
        server.export("label")
    client.receive_data(server.data_to_send())
    assert [event.data for event in client.events() if isinstance(event, Data)] == [b"200 "]
    server.receive_data(client.data_to_send())
    assert server.established
    server.send(b"OK")
    client.receive_data(server.data_to_send())
    assert [event.data for event in client.events() if isinstance(event, Data)] == [b"OK"]


def test_without_early_data_nothing_is_sent_before_the_handshake_is_done(early: Machines) -> None:
    client, server = ClientConnection(early.client, "localhost"), ServerConnection(early.server)
    server.receive_data(client.data_to_send())
    with pytest.raises(NotEstablished):
        server.send(b"too soon")


@pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2])
def test_a_name_is_not_acknowledged_where_a_session_goes_on(machines: Machines, version: TLSVersion) -> None:
    seen: list[bytes] = []

    def watch(event: TraceEvent) -> None:
        if isinstance(event, MessageMoved) and event.direction is Direction.RECEIVED:
            seen.append(event.message)

    machines.client = machines.client.replace(versions=[version], trace=watch)
    answering = ServerHello if version is TLSVersion.TLS_1_2 else EncryptedExtensions
    acknowledged = []
    for resumed in (False, True):
        seen.clear()
        assert machines.resumes() is resumed
        answer = next(message for message in seen if message[0] == answering.type)
        acknowledged.append(ExtensionType.SERVER_NAME in answering.parse(answer[4:]).extensions.order)
    assert acknowledged == [True, False]


def test_early_data_behind_a_retry_is_skipped_and_told(early: Machines) -> None:
    early.resumes()
    early.client = early.client.replace(groups=[NamedGroup.X25519, NamedGroup.SECP256R1])
    early.server = early.server.replace(groups=[NamedGroup.SECP256R1])
    pair = early.meet(early_data=bytes(900))
    assert _early_data(pair) == b""
    assert pair.client.info.early_data is pair.server.info.early_data is False


def test_as_much_is_skipped_behind_a_retry_as_the_session_allows(early: Machines) -> None:
    early.server = early.server.replace(early_data=EarlyData(replay=Seen(), most=60_000))
    early.client = early.client.replace(sessions=ClientSessions(clock=early.clock))
    early.meet()
    early.client = early.client.replace(groups=[NamedGroup.X25519, NamedGroup.SECP256R1])
    early.server = early.server.replace(
        groups=[NamedGroup.SECP256R1],
        early_data=EarlyData(replay=Seen(), most=1000),
        limits=Limits(skipped_early_data=1),
    )
    pair = early.meet(early_data=bytes(40_000))
    assert _early_data(pair) == b""
    assert pair.client.info.resumed


def test_early_data_without_a_session_is_not_sent(machines: Machines) -> None:
    pair = machines.meet(early_data=b"GET /")
    assert _early_data(pair) == b""
    assert [event.why for event in pair.client_events if isinstance(event, EarlyDataRejected)]
    assert pair.client.info.early_data is False


def test_more_early_data_than_the_session_allows_is_not_sent(early: Machines) -> None:
    pair = early.meet(early_data=bytes(1001))
    assert _early_data(pair) == b""
    assert pair.client.info.resumed
    assert pair.client.info.early_data is False


@pytest.mark.parametrize(
    "change",
    [
        {"early_data": None},
        {"groups": [NamedGroup.SECP384R1]},
        {"alpn": ["http/1.1"]},
        {"tickets": TicketKeys(), "sessions": None},
    ],
)
def test_declined_early_data_is_skipped_and_told(early: Machines, change: dict[str, Any]) -> None:
    early.server = early.server.replace(**change)
    pair = early.meet(early_data=bytes(900))
    assert _early_data(pair) == b""
    assert [event.why for event in pair.client_events if isinstance(event, EarlyDataRejected)]
    assert pair.client.info.early_data is False
    assert pair.server.info.early_data is not True


@pytest.mark.attack(17, "0-RTT replay")
def test_a_replayed_hello_brings_no_early_data(early: Machines) -> None:
    client = ClientConnection(early.client, "localhost", early_data=b"pay")
    flight = client.data_to_send()
    taken = []
    for _ in range(2):
        server = ServerConnection(early.server)
        server.receive_data(flight)
        taken.append([event.data for event in server.events() if isinstance(event, EarlyDataReceived)])
    assert taken == [[b"pay"], []]


@pytest.mark.attack(17, "0-RTT replay")
@pytest.mark.parametrize(("late", "taken"), [(9, True), (11, False), (-9, True), (-11, False)])
def test_early_data_has_to_be_fresh(early: Machines, late: float, taken: bool) -> None:
    early.clock.forward(minutes=1)
    client = ClientConnection(early.client, "localhost", early_data=b"now")
    early.clock.forward(seconds=late)
    pair = handshake(client, ServerConnection(early.server))
    assert pair.client.established
    assert (_early_data(pair) == b"now") is taken
    if not taken:
        assert "fresh" in pair.server.info.choices[-1].why or any("fresh" in c.why for c in pair.server.info.choices)


@pytest.mark.attack(17, "0-RTT replay")
@pytest.mark.parametrize("off", [10, -10])
def test_early_data_is_not_fresh_at_the_very_end_of_its_window(machines: Machines, off: float) -> None:
    """A store may forget a claim at that moment."""
    machines.clock.at = machines.clock.at.replace(microsecond=0)  # the age is told in milliseconds
    machines.server = machines.server.replace(early_data=EarlyData(replay=Seen()))
    machines.meet()
    machines.clock.forward(minutes=1)
    client = ClientConnection(machines.client, "localhost", early_data=b"now")
    machines.clock.forward(seconds=off)
    assert _early_data(handshake(client, ServerConnection(machines.server))) == b""


@pytest.mark.attack(17, "0-RTT replay")
def test_a_replay_store_that_fails_refuses_the_connection(early: Machines) -> None:
    class Broken:
        def claim(self, key: bytes, now: datetime, until: datetime) -> bool:
            raise OSError("gone")

    early.server = early.server.replace(early_data=EarlyData(replay=Broken()))
    client = ClientConnection(early.client, "localhost", early_data=b"now")
    with pytest.raises(TLSError, match="ClaimEarlyData"):
        handshake(client, ServerConnection(early.server))


def test_machines_that_share_sessions_share_the_replay_store(early: Machines) -> None:
    """A store of one machine would take on each what all of them should take once."""

    class SharedTickets(TicketKeys):
        shared = True

    class SharedSeen(Seen):
        shared = True

    with pytest.raises(ConfigError, match="share the replay store"):
        early.server.replace(tickets=SharedTickets())
    early.server.replace(tickets=SharedTickets(), early_data=EarlyData(replay=SharedSeen()))


def test_machines_that_share_sessions_have_clocks_a_little_apart(trust: TrustStore, credential: Credential) -> None:
    tickets, clock = TicketKeys(), Now()
    client = ClientConfig(trust=trust, sessions=ClientSessions(clock=clock), clock=clock)
    fast = ServerConfig(credentials=[credential], tickets=tickets, clock=clock)
    slow = fast.replace(clock=lambda: clock() - timedelta(seconds=30))
    handshake(ClientConnection(client, "localhost"), ServerConnection(slow))
    assert handshake(ClientConnection(client, "localhost"), ServerConnection(fast)).client.info.resumed


# --- keys known beforehand -------------------------------------------------------------------------------------------

KEY = bytes(range(32))


def _psk(role: str, identity: bytes = b"sensor-7", key: bytes = KEY, **options: Any) -> ExternalPsk:
    return ExternalPsk(identity, key, role=role, **options)


@pytest.mark.parametrize("context", [None, b"sensor-7 to hub"])
@pytest.mark.parametrize("suite", [CipherSuite.TLS_AES_128_GCM_SHA256, CipherSuite.TLS_AES_256_GCM_SHA384])
def test_a_key_known_beforehand_needs_no_certificate(
    trust: TrustStore, context: bytes | None, suite: CipherSuite
) -> None:
    client = ClientConfig(trust=trust, psks=[_psk("client", context=context)], cipher_suites=[suite])
    server = ServerConfig(psks=[_psk("server", b"other"), _psk("server", context=context)], cipher_suites=[suite])
    pair = Pair(ClientConnection(client, "localhost"), ServerConnection(server))
    if context is None and suite is CipherSuite.TLS_AES_256_GCM_SHA384:
        with pytest.raises(HandshakeError):  # a key as it is goes with its own hash only
            pair.shuttle()
        return
    pair.shuttle()
    assert pair.client.info.psk == pair.server.info.psk == b"sensor-7"
    assert not pair.client.info.resumed
    assert not pair.client.info.peer_certificates
    assert pair.client.export("EXPORTER-x") == pair.server.export("EXPORTER-x")


def test_a_server_without_the_key_shows_its_certificate(trust: TrustStore, credential: Credential) -> None:
    client = ClientConfig(trust=trust, psks=[_psk("client")])
    pair = handshake(ClientConnection(client, "localhost"), ServerConnection(ServerConfig(credentials=[credential])))
    assert pair.client.established
    assert pair.client.info.psk is None
    assert pair.client.info.verified_chain


@pytest.mark.attack(32, "PSK binders")
def test_another_key_under_the_same_name_is_refused(trust: TrustStore) -> None:
    client = ClientConfig(trust=trust, psks=[_psk("client")])
    server = ServerConfig(psks=[_psk("server", key=bytes(32))])
    with pytest.raises(HandshakeError, match="binder"):
        handshake(ClientConnection(client, "localhost"), ServerConnection(server))


def test_a_server_may_look_its_keys_up(trust: TrustStore) -> None:
    class Source:
        def find(self, identity: bytes) -> ExternalPsk | None:
            return _psk("server") if identity == b"sensor-7" else None

    client = ClientConfig(trust=trust, psks=[_psk("client", b"unknown"), _psk("client")])
    pair = handshake(ClientConnection(client, "localhost"), ServerConnection(ServerConfig(psks=Source())))
    assert pair.server.info.psk == b"sensor-7"


AES256 = CipherSuite.TLS_AES_256_GCM_SHA384


@pytest.mark.parametrize("source", [False, True], ids=["listed", "looked up"])
@pytest.mark.parametrize("retried", [False, True], ids=["at once", "after a retry"])
def test_a_key_brings_the_suite_of_its_hash_along(
    trust: TrustStore, credential: Credential, source: bool, retried: bool
) -> None:
    """The server prefers a suite of SHA-256, and the key goes with SHA-384 alone (RFC 8446 §4.2.11)."""

    class Source:
        def find(self, identity: bytes) -> ExternalPsk | None:
            return _psk("server", hash=Hash.SHA384) if identity == b"sensor-7" else None

    client = ClientConfig(trust=trust, psks=[_psk("client", b"other"), _psk("client", hash=Hash.SHA384)])
    known: Any = Source() if source else [_psk("server", hash=Hash.SHA384)]
    groups = [NamedGroup.SECP384R1] if retried else client.groups
    for server in (
        ServerConfig(psks=known, groups=groups),
        ServerConfig(psks=known, groups=groups, credentials=[credential]),
    ):
        pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
        for end in (pair.client, pair.server):
            assert end.info.psk == b"sensor-7"
            assert end.info.cipher_suite is AES256
            assert end.info.hello_retry is retried
        without = client.replace(cipher_suites=[CipherSuite.TLS_AES_128_GCM_SHA256], psks=client.psks[1:])
        if server.credentials:
            assert handshake(ClientConnection(without, "localhost"), ServerConnection(server)).client.info.psk is None


def test_a_key_for_the_suite_that_is_preferred_comes_first(trust: TrustStore) -> None:
    client = ClientConfig(trust=trust, psks=[_psk("client", b"a", hash=Hash.SHA384), _psk("client", b"b")])
    server = ServerConfig(psks=[_psk("server", b"a", hash=Hash.SHA384), _psk("server", b"b")])
    for preferred, used in ((server.cipher_suites, b"b"), ([AES256, CipherSuite.TLS_AES_128_GCM_SHA256], b"a")):
        connection = ServerConnection(server.replace(cipher_suites=preferred))
        assert handshake(ClientConnection(client, "localhost"), connection).server.info.psk == used


@pytest.mark.filterwarnings("ignore::handclasp.danger.InsecureWarning")
def test_a_key_that_stands_alone_brings_its_suite_along_too(trust: TrustStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer, "_modes", lambda config: (PskKeyExchangeMode.PSK_KE,))
    client = danger.allow_psk_without_key_exchange(ClientConfig(trust=trust, psks=[_psk("client", hash=Hash.SHA384)]))
    server = danger.allow_psk_without_key_exchange(ServerConfig(psks=[_psk("server", hash=Hash.SHA384)]))
    pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
    assert pair.client.info.cipher_suite is AES256
    assert pair.client.info.group is None


@pytest.mark.attack(32, "PSK binders")
def test_a_second_hello_keeps_the_key_that_was_found(trust: TrustStore) -> None:
    """It may drop others, and not that one for another that came second."""

    def dropping(dropped: bytes) -> type[ClientConnection]:
        def rewrite(encoded: bytes) -> list[bytes]:
            hello = ClientHello.parse(encoded[4:])
            offered = hello.extensions.pre_shared_key
            if hello.extensions.cookie is None or offered is None:
                return [encoded]
            kept = [psk for psk in offered.identities if psk.identity != dropped]
            extensions = hello.extensions.ending(ExtensionType.PRE_SHARED_KEY, None)
            listed = OfferedPsks(tuple(kept), (bytes(32),) * len(kept))
            return [replace(hello, extensions=extensions.ending(ExtensionType.PRE_SHARED_KEY, listed)).encode()]

        return misbehaving(ClientConnection, {HandshakeType.CLIENT_HELLO: rewrite})

    client = ClientConfig(trust=trust, psks=[_psk("client", b"a"), _psk("client", b"b")])
    server = ServerConfig(psks=[_psk("server", b"a"), _psk("server", b"b")], groups=[NamedGroup.SECP384R1])
    for dropped, code in ((b"a", "second-hello-psks"), (b"b", "psk-binder")):  # the other's binder was of both
        with pytest.raises(HandshakeError) as refused:
            handshake(dropping(dropped)(client, "localhost"), ServerConnection(server))
        assert refused.value.code == code


class Table(dict[bytes, ExternalPsk]):
    """Keys that come from elsewhere: there are none in the table itself, and so it counts as false."""

    def find(self, identity: bytes) -> ExternalPsk | None:
        return _psk("server") if identity == b"sensor-7" else None


def test_a_source_of_keys_is_one_however_empty_it_looks(trust: TrustStore, credential: Credential) -> None:
    class Nothing:
        def credentials(self, hello: ClientHello) -> list[Credential]:
            return []

    client = ClientConfig(trust=trust, psks=[_psk("client")])
    for server in (ServerConfig(psks=Table()), ServerConfig(psks=Table(), credentials=Nothing())):
        assert handshake(ClientConnection(client, "localhost"), ServerConnection(server)).server.info.psk == b"sensor-7"
    with pytest.raises(ConfigError, match="exclude each other"):
        ServerConfig(credentials=[credential], psks=Table(), client_auth=ClientAuth(verify=trust))


@pytest.mark.attack(16, "Selfie")
def test_a_reflected_hello_finds_no_key(trust: TrustStore) -> None:
    """Selfie: a machine that calls and is called has a key for each; its own hello, sent back to it, opens nothing."""
    mine = {"client": _psk("client", b"a to b", KEY), "server": _psk("server", b"b to a", bytes(32))}
    client = ClientConnection(ClientConfig(trust=trust, psks=[mine["client"]]), "localhost")
    server = ServerConnection(ServerConfig(psks=[mine["server"]]))
    with pytest.raises(NegotiationError):
        server.receive_data(client.data_to_send())
    with pytest.raises(ConfigError, match="role"):
        ServerConfig(psks=[mine["client"]])
    with pytest.raises(ConfigError, match="role"):
        ClientConfig(trust=trust, psks=[mine["server"]])


@pytest.mark.attack(16, "Selfie")
def test_a_source_that_gives_out_a_key_of_the_other_role_is_refused(trust: TrustStore) -> None:
    """A table of keys that does not look at roles: the machine's own hello, sent back to it, would find its key."""
    key = _psk("client", b"a to b")

    class Table:
        def find(self, identity: bytes) -> ExternalPsk | None:
            return key if identity == key.identity else None

    client = ClientConnection(ClientConfig(trust=trust, psks=[key]), "localhost")
    server = ServerConnection(ServerConfig(psks=Table()))
    with pytest.raises(CallbackError, match="role"):
        server.receive_data(client.data_to_send())
    assert not server.established


@pytest.mark.attack(16, "Selfie")
def test_one_key_for_a_group_knows_who_calls_whom(trust: TrustStore) -> None:
    """Each machine has the same key in both roles; only who was called can answer."""
    names = (b"a", b"b", b"c")

    def client(mine: bytes, theirs: bytes) -> ClientConnection:
        key = ExternalPsk.between(b"group", KEY, client=mine, server=theirs, role="client")
        return ClientConnection(ClientConfig(trust=trust, psks=[key]), "localhost")

    def server(mine: bytes) -> ServerConnection:
        others = [name for name in names if name != mine]
        keys = [ExternalPsk.between(b"group", KEY, client=name, server=mine, role="server") for name in others]
        return ServerConnection(ServerConfig(psks=keys))

    assert handshake(client(b"a", b"b"), server(b"b")).server.info.psk == b"group"
    for wrong in (b"a", b"c"):  # its sender, and a third machine
        with pytest.raises(NegotiationError):
            server(wrong).receive_data(client(b"a", b"b").data_to_send())


@pytest.mark.attack(33, "PSK without key agreement")
@pytest.mark.filterwarnings("ignore::handclasp.danger.InsecureWarning")
@pytest.mark.parametrize("allowed", [True, False])
def test_a_key_stands_alone_only_where_danger_says_so(
    machines: Machines, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client here offers nothing but psk_ke, which ours never does by itself."""
    monkeypatch.setattr(offer, "_modes", lambda config: (PskKeyExchangeMode.PSK_KE,))
    machines.client = danger.allow_psk_without_key_exchange(machines.client)
    if allowed:
        machines.server = danger.allow_psk_without_key_exchange(machines.server)
    assert not machines.resumes()
    pair = machines.meet()
    assert pair.client.info.resumed is allowed
    assert (pair.client.info.group is None) is allowed


@pytest.mark.filterwarnings("ignore::handclasp.danger.InsecureWarning")
def test_a_key_agreement_is_preferred_all_the_same(machines: Machines) -> None:
    machines.client = danger.allow_psk_without_key_exchange(machines.client)
    machines.server = danger.allow_psk_without_key_exchange(machines.server)
    machines.meet()
    pair = machines.meet()
    assert pair.client.info.resumed
    assert pair.client.info.group is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: ExternalPsk(b"", KEY, role="client"),
        lambda: ExternalPsk(b"id", b"short", role="client"),
        lambda: ExternalPsk(b"id", KEY, role="both"),
        lambda: ExternalPsk(b"id", KEY, role="client", context=bytes(20_000)),
        lambda: ExternalPsk.between(b"id", KEY, client=b"a", server=b"a", role="client"),
        lambda: ExternalPsk.between(b"id", KEY, client=b"", server=b"a", role="client"),
        lambda: ServerConfig(psks=[b"key"]),  # type: ignore[list-item]
        lambda: ServerConfig(),
        lambda: EarlyData(replay=Seen(), most=0),
        lambda: EarlyData(replay=Seen(), window=timedelta(0)),
        lambda: EarlyData(replay=object()),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_work_is_refused_at_once(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()
