"""A session that is not resumed: whom it is bound to, and that both ends hear why. The handshake is a full one then."""

from __future__ import annotations

import base64
import subprocess
import sys
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
    Credential,
    CredentialRequest,
    Data,
    EarlyData,
    EarlyDataReceived,
    ExternalPsk,
    HandshakeError,
    ReplayGuard,
    ServerConfig,
    ServerConnection,
    ServerSessions,
    SessionDeclined,
    TicketKeys,
    TLSVersion,
    TrustStore,
)
from handclasp.crypto.secret import Secret
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.faults import misbehaving
from handclasp.lab.pair import Pair, handshake
from handclasp.limits import MAX_TICKET
from handclasp.sessions.cache import ClientSession
from handclasp.sessions.session import Session
from handclasp.wire.messages12 import NewSessionTicket12
from handclasp.wire.names import HandshakeType
from sessions.machines import NOW, Machines, Now, Seen

VERSIONS = pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)


@pytest.fixture(params=["tickets", "kept by the server"])
def kept(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"tickets": TicketKeys()} if request.param == "tickets" else {"sessions": ServerSessions()}


def machines(trust: TrustStore, credential: Credential, version: TLSVersion, **kept: Any) -> Machines:
    clock = Now()
    return Machines(
        ClientConfig(trust=trust, versions=[version], sessions=ClientSessions(clock=clock), clock=clock),
        ServerConfig(credentials=[credential], clock=clock, **kept),
        clock,
    )


def told(pair: Pair) -> tuple[list[str], list[str]]:
    """Why the client's session was declined and the server's, by their events; each as `info` has it."""
    heard = []
    for end, events in ((pair.client, pair.client_events), (pair.server, pair.server_events)):
        whys = [event.why for event in events if isinstance(event, SessionDeclined)]
        assert whys == ([end.info.session_declined] if end.info.session_declined else [])
        heard.append(whys)
    return heard[0], heard[1]


# --- elsewhere -------------------------------------------------------------------------------------------------------

GO_ON = """
import base64, sys
from handclasp import ClientConfig, ClientConnection, ClientSessions, TrustStore
from handclasp.sessions.cache import ClientSession

root, version, stored = sys.stdin.readline().split()
sessions = ClientSessions()
sessions.put("localhost", ClientSession.from_bytes(base64.b64decode(stored)))
trust = TrustStore.from_pem(base64.b64decode(root))
config = ClientConfig(trust=trust, sessions=sessions)
config = config.replace(versions=[each for each in config.versions if int(each) == int(version)])
conn = ClientConnection(config, "localhost")
while not conn.established:
    print(conn.data_to_send().hex(), flush=True)
    conn.receive_data(bytes.fromhex(sys.stdin.readline()))
conn.send(b"resumed" if conn.info.resumed else b"in full")
print(conn.data_to_send().hex(), flush=True)
"""


@VERSIONS
def test_another_process_goes_on_with_a_session(
    version: TLSVersion, kept: dict[str, Any], authority: CertificateAuthority, credential: Credential
) -> None:
    server = ServerConfig(credentials=[credential], **kept)
    sessions = ClientSessions()
    root = authority.pem()
    client = ClientConfig(trust=TrustStore.from_pem(root), sessions=sessions, versions=[version])
    handshake(ClientConnection(client, "localhost"), ServerConnection(server))
    held = sessions.take("localhost")
    assert held is not None
    connection, received = ServerConnection(server), b""
    command = [sys.executable, "-c", GO_ON]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        stored = (base64.b64encode(root), str(int(version)).encode(), base64.b64encode(held.to_bytes()))
        other.stdin.write(b" ".join(stored).decode() + "\n")
        while not received:
            other.stdin.flush()
            connection.receive_data(bytes.fromhex(other.stdout.readline()))
            received += b"".join(event.data for event in connection.events() if isinstance(event, Data))
            other.stdin.write(connection.data_to_send().hex() + "\n")
        other.stdin.close()
    assert received == b"resumed"
    assert connection.info.resumed


# --- told ------------------------------------------------------------------------------------------------------------


@VERSIONS
def test_nothing_is_told_where_nothing_was_at_hand(
    version: TLSVersion, kept: dict[str, Any], trust: TrustStore, credential: Credential
) -> None:
    both = machines(trust, credential, version, **kept)
    assert [told(both.meet()) for _ in range(3)] == [([], [])] * 3
    assert both.resumes()


@VERSIONS
def test_both_hear_of_a_session_that_the_server_forgot(
    version: TLSVersion, kept: dict[str, Any], trust: TrustStore, credential: Credential
) -> None:
    both = machines(trust, credential, version, **kept)
    both.meet()
    both.server = both.server.replace(**{name: type(store)() for name, store in kept.items()})
    pair = both.meet()
    assert pair.client.info.verified_chain
    (client,), (server,) = told(pair)
    assert "forgotten" in client
    assert "not known" in server


@VERSIONS
@pytest.mark.parametrize("lifetime", ["the client's", "the server's"])
def test_both_hear_of_a_session_that_had_its_time(
    lifetime: str, version: TLSVersion, kept: dict[str, Any], trust: TrustStore, credential: Credential
) -> None:
    both = machines(trust, credential, version, **kept)
    both.client = both.client.replace(session_lifetime=timedelta(hours=1 if lifetime == "the client's" else 5))
    both.server = both.server.replace(session_lifetime=timedelta(hours=1 if lifetime == "the server's" else 5))
    both.meet()
    both.clock.forward(hours=1.1)
    pair = both.meet()
    assert not pair.client.info.resumed
    client, server = told(pair)
    if version is TLSVersion.TLS_1_2 and "sessions" in kept and lifetime == "the server's":
        # the one case where a client is not told beforehand how long the server remembers
        assert "forgotten" in client[0]
        assert "expired" in server[0]
    else:
        assert "expired" in client[0]
        assert server == []
    assert both.resumes()


def test_a_client_does_not_try_what_the_server_has_ended(trust: TrustStore, credential: Credential) -> None:
    """The hint of TLS 1.2 counts like the lifetime of TLS 1.3 (RFC 5077 §5.6)."""
    both = machines(trust, credential, TLSVersion.TLS_1_2, tickets=TicketKeys())
    forgetful = misbehaving(
        ServerConnection,
        {
            HandshakeType.NEW_SESSION_TICKET: lambda message: [
                replace(NewSessionTicket12.parse(message[4:]), ticket_lifetime_hint=60).encode()
            ]
        },
    )
    assert handshake(ClientConnection(both.client, "localhost"), forgetful(both.server)).client.established
    both.clock.forward(seconds=59)
    assert both.resumes()
    both.clock.forward(seconds=2)
    assert both.resumes()  # a ticket of the real one, which says two hours
    assert handshake(ClientConnection(both.client, "localhost"), forgetful(both.server)).client.info.resumed
    both.clock.forward(seconds=61)
    pair = both.meet()
    assert not pair.client.info.resumed
    assert "expired" in told(pair)[0][0]
    assert told(pair)[1] == []


# --- stores that are not ours ----------------------------------------------------------------------------------------


class Giving:
    """A client's store that gives out one session again and again."""

    def __init__(self, held: ClientSession) -> None:
        self.held = held

    def take(self, name: str) -> ClientSession:
        return self.held

    def put(self, name: str, session: ClientSession) -> None:
        pass


def naive(session: Session) -> Session:
    created, authenticated, expires = session.created, session.authenticated, session.expires
    return replace(
        session,
        created=created.replace(tzinfo=None),
        authenticated=authenticated.replace(tzinfo=None),
        expires=expires.replace(tzinfo=None),
    )


@VERSIONS
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda held: replace(held, session=replace(held.session, verified_chain=())), "no server"),
        (lambda held: replace(held, session=naive(held.session)), "zone"),
        (lambda held: replace(held, session=replace(held.session, expires=datetime.max)), "zone"),
        (lambda held: replace(held, ticket=bytes(70_000)), "shown"),
        (lambda held: replace(held, ticket=b"", session_id=bytes(33)), "shown"),
        (lambda held: replace(held, ticket=b"", session_id=b""), "shown"),
    ],
    ids=["nobody verified", "no zone", "one of no zone", "a ticket too large", "an id too long", "nothing"],
)
def test_a_session_that_cannot_be_right_is_not_offered(
    spoil: Callable[[ClientSession], ClientSession],
    why: str,
    version: TLSVersion,
    trust: TrustStore,
    credential: Credential,
) -> None:
    both = machines(trust, credential, version, tickets=TicketKeys())
    both.meet()
    assert both.client.sessions is not None
    held = both.client.sessions.take("localhost")
    assert isinstance(held, ClientSession)
    both.client = both.client.replace(sessions=Giving(held))
    assert both.resumes()
    both.client = both.client.replace(sessions=Giving(spoil(held)))
    pair = both.meet()
    assert not pair.client.info.resumed
    assert pair.client.info.verified_chain
    assert why in told(pair)[0][0]


@VERSIONS
def test_a_kept_session_that_cannot_be_right_is_not_taken(
    version: TLSVersion, trust: TrustStore, credential: Credential
) -> None:
    class Naive(ServerSessions):
        def _spoilt(self, session: Session | None) -> Session | None:
            return None if session is None else naive(session)

        def get(self, session_id: bytes) -> Session | None:
            return self._spoilt(super().get(session_id))

        def take(self, session_id: bytes) -> Session | None:
            return self._spoilt(super().take(session_id))

    both = machines(trust, credential, version, sessions=Naive())
    both.meet()
    assert "zone" in told(both.meet())[1][0]


@pytest.mark.limit("MAX_TICKET")
@VERSIONS
@pytest.mark.parametrize("beyond", [0, 1])
def test_a_ticket_that_no_client_keeps_is_a_mistake_of_who_made_it(
    beyond: int, version: TLSVersion, trust: TrustStore, credential: Credential
) -> None:
    class Sealing:
        def seal(self, session: Session, now: datetime) -> bytes:
            return bytes(MAX_TICKET + beyond)

        def open(self, ticket: bytes, now: datetime) -> None:
            return None

    both = machines(trust, credential, version, tickets=Sealing())
    if not beyond:
        assert not both.resumes()
        return
    with pytest.raises(CallbackError, match="ticket"):
        both.meet()


# --- bound -----------------------------------------------------------------------------------------------------------


@pytest.mark.attack(34, "sessions across configurations")
@VERSIONS
def test_a_session_goes_on_as_whom_it_was_made(
    version: TLSVersion,
    kept: dict[str, Any],
    trust: TrustStore,
    credential: Credential,
    authority: CertificateAuthority,
) -> None:
    """Two users of one cache: who asks as the second is not taken for the first."""
    alice, bob = (authority.issue(f"{name}.test", usage="client") for name in ("alice", "bob"))
    both = machines(trust, credential, version, **kept)
    both.server = both.server.replace(client_auth=ClientAuth(verify=trust, required=False))
    nobody = both.client
    for ours in ([alice], [bob], []):
        both.client = nobody.replace(credentials=ours)
        pair = both.meet()
        assert not pair.server.info.resumed
        assert [chain.der for chain in pair.server.info.verified_chain[:1]] == [shown.leaf.der for shown in ours]
        pair = both.meet()
        assert pair.server.info.resumed
        assert [chain.der for chain in pair.server.info.verified_chain[:1]] == [shown.leaf.der for shown in ours]


@pytest.mark.attack(36, "sessions across versions")
@pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)
def test_nobody_who_heard_an_id_has_its_session_forgotten(
    version: TLSVersion, trust: TrustStore, credential: Credential
) -> None:
    """An id of TLS 1.2 is there for all to read. A stranger names it, as a key in TLS 1.3 and as itself in TLS 1.2."""
    sessions = ServerSessions()
    both = machines(trust, credential, TLSVersion.TLS_1_2, sessions=sessions)
    both.meet()
    (overheard,) = sessions._by_id
    if version is TLSVersion.TLS_1_3:
        key = ExternalPsk(overheard, bytes(range(32)), role="client")
        stranger = ClientConfig(trust=trust, psks=[key], clock=both.clock)
        pair = handshake(ClientConnection(stranger, "localhost"), ServerConnection(both.server))
        assert not pair.server.info.resumed
    else:
        held = both.client.sessions.take("localhost") if both.client.sessions is not None else None
        assert isinstance(held, ClientSession)
        wrong = Giving(replace(held, session=replace(held.session, secret=Secret(bytes(48)))))
        with pytest.raises(HandshakeError):
            handshake(ClientConnection(both.client.replace(sessions=wrong), "localhost"), ServerConnection(both.server))
        both.client.sessions.put("localhost", held)  # type: ignore[union-attr]
    assert both.resumes()


SHA256, SHA384 = CipherSuite.TLS_AES_128_GCM_SHA256, CipherSuite.TLS_AES_256_GCM_SHA384
OLDER = (
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
)


@pytest.mark.attack(34, "sessions across configurations")
@pytest.mark.parametrize(
    ("version", "first", "then", "used"),
    [
        # the server still knows a suite of the session's hash, and prefers another
        (TLSVersion.TLS_1_3, [SHA256], [SHA384, SHA256], SHA384),
        (TLSVersion.TLS_1_3, [SHA256], [SHA384], SHA384),
        # TLS 1.2 goes on with just the same suite, which is off by now
        (TLSVersion.TLS_1_2, OLDER[:1], OLDER[1:], OLDER[1]),
    ],
    ids=["another hash", "no such hash", "another suite in TLS 1.2"],
)
def test_a_session_is_for_its_suite(
    version: TLSVersion,
    first: list[CipherSuite],
    then: list[CipherSuite],
    used: CipherSuite,
    kept: dict[str, Any],
    trust: TrustStore,
    credential: Credential,
) -> None:
    both = machines(trust, credential, version, **kept)
    both.client = both.client.replace(cipher_suites=[SHA256, SHA384] if version is TLSVersion.TLS_1_3 else OLDER)
    both.server = both.server.replace(cipher_suites=first)
    both.meet()
    both.server = both.server.replace(cipher_suites=then)
    pair = both.meet()
    assert not pair.client.info.resumed
    assert pair.server.info.cipher_suite is used
    assert "suite" in told(pair)[1][0]


@VERSIONS
def test_who_offers_protocols_resumes_with_a_server_that_knows_none(
    version: TLSVersion, kept: dict[str, Any], trust: TrustStore, credential: Credential
) -> None:
    both = machines(trust, credential, version, **kept)
    both.client = both.client.replace(alpn=["h2", "http/1.1"])
    assert [both.resumes() for _ in range(3)] == [False, True, True]


@VERSIONS
def test_credentials_do_not_matter_to_a_server_that_does_not_ask(
    version: TLSVersion,
    kept: dict[str, Any],
    trust: TrustStore,
    credential: Credential,
    authority: CertificateAuthority,
) -> None:
    both = machines(trust, credential, version, **kept)
    both.meet()
    both.client = both.client.replace(credentials=[authority.issue("alice.test", usage="client")])
    assert both.resumes()


class Chooser:
    """Chooses a credential, and may say what tells it from others."""

    def __init__(self, credential: Credential, mark: bytes | None) -> None:
        self.credential = credential
        if mark is not None:
            self.fingerprint = mark

    def __call__(self, request: CredentialRequest) -> Credential:
        return self.credential


@pytest.mark.attack(34, "sessions across configurations")
@VERSIONS
@pytest.mark.parametrize(("first", "second", "resumed"), [(None, None, False), (b"a", b"a", True), (b"a", b"b", False)])
def test_a_function_that_chooses_credentials_says_when_it_is_another(
    first: bytes | None,
    second: bytes | None,
    resumed: bool,
    version: TLSVersion,
    trust: TrustStore,
    credential: Credential,
    authority: CertificateAuthority,
) -> None:
    mine = authority.issue("alice.test", usage="client")
    both = machines(trust, credential, version, tickets=TicketKeys())
    both.server = both.server.replace(client_auth=ClientAuth(verify=trust))
    both.client = both.client.replace(credentials=Chooser(mine, first))
    both.meet()
    both.client = both.client.replace(credentials=Chooser(mine, second))
    assert both.resumes() is resumed


# --- early data that is declined -------------------------------------------------------------------------------------


class Refusing:
    """A replay store that nobody gets anything past."""

    def claim(self, key: bytes, now: object, until: object) -> bool:
        return False


@pytest.mark.attack(66, "skipped early data without end")
@pytest.mark.parametrize("most", [14_336, 16_384, 100_000])
@pytest.mark.parametrize("change", ["no replay store", "another group"])
def test_as_much_as_was_allowed_is_passed_over(
    most: int, change: str, trust: TrustStore, credential: Credential
) -> None:
    """A client that sends all it may is shaken hands with, whatever becomes of its early data."""
    both = machines(trust, credential, TLSVersion.TLS_1_3, tickets=TicketKeys())
    both.server = both.server.replace(early_data=EarlyData(replay=Seen(), most=most))
    both.meet()
    changes: dict[str, Any] = {"early_data": EarlyData(replay=Refusing(), most=most)}
    if change == "another group":
        changes = {"groups": both.server.groups[-1:]}
    both.server = both.server.replace(**changes)
    pair = both.meet(early_data=bytes(most))
    assert pair.client.info.resumed
    assert pair.client.info.early_data is False


def test_what_was_allowed_by_default_passes_where_it_is_off_by_now(trust: TrustStore, credential: Credential) -> None:
    both = machines(trust, credential, TLSVersion.TLS_1_3, tickets=TicketKeys())
    most = EarlyData(replay=Seen()).most
    both.server = both.server.replace(early_data=EarlyData(replay=Seen()))
    both.meet()
    both.server = both.server.replace(early_data=None)
    assert both.meet(early_data=bytes(most)).client.info.early_data is False


@pytest.mark.parametrize("sent", [5, 60_000])
@pytest.mark.parametrize("now", [100, None], ids=["less by now", "off by now"])
def test_no_more_is_taken_than_is_allowed_by_now(
    sent: int, now: int | None, trust: TrustStore, credential: Credential
) -> None:
    """A ticket may come from before a restart, or from another configuration with its keys."""
    both = machines(trust, credential, TLSVersion.TLS_1_3, tickets=TicketKeys())
    both.server = both.server.replace(early_data=EarlyData(replay=Seen(), most=60_000))
    both.meet()
    less = None if now is None else EarlyData(replay=Seen(), most=now)
    both.server = both.server.replace(early_data=less)
    pair = both.meet(early_data=bytes(sent))
    assert pair.client.info.resumed
    assert pair.client.info.early_data is pair.server.info.early_data is False
    assert not any(isinstance(event, EarlyDataReceived) for event in pair.server_events)


@pytest.mark.attack(17, "0-RTT replay")
@pytest.mark.parametrize("order", ["the guard first", "the session first"])
def test_a_replay_store_of_one_process_takes_nothing_from_before_its_time(
    order: str, trust: TrustStore, credential: Credential
) -> None:
    """Configuration that is read again makes a new guard, which cannot know what the old one took."""
    both = machines(trust, credential, TLSVersion.TLS_1_3, tickets=TicketKeys())
    both.server = both.server.replace(early_data=EarlyData(replay=ReplayGuard(clock=lambda: NOW)))
    both.clock.forward(seconds=1)
    both.meet()
    both.clock.forward(seconds=1)
    client = ClientConnection(both.client, "localhost", early_data=b"pay")
    flight = client.data_to_send()

    def taken() -> bool:
        server = ServerConnection(both.server)
        server.receive_data(flight)
        return any(isinstance(event, EarlyDataReceived) for event in server.events())

    assert taken()
    if order == "the session first":
        both.server = both.server.replace(early_data=EarlyData(replay=ReplayGuard(clock=both.clock)))
    assert not taken()


@pytest.mark.attack(17, "0-RTT replay")
@pytest.mark.parametrize("apart", [0, 30, 60])
def test_early_data_is_taken_once_by_machines_whose_clocks_are_apart(
    apart: float, trust: TrustStore, credential: Credential
) -> None:
    """It is still fresh on a machine whose clock is behind: the claim has to last until it is not."""
    both = machines(trust, credential, TLSVersion.TLS_1_3, tickets=TicketKeys())
    true = both.clock
    ends: dict[bytes, datetime] = {}

    class Kept:
        """A store with a clock of its own, as Redis has."""

        def claim(self, key: bytes, now: datetime, until: datetime) -> bool:
            live = key in ends and true() < ends[key]
            ends.setdefault(key, true() + (until - now))
            return not live

    fast = both.server = both.server.replace(early_data=EarlyData(replay=Kept()))
    slow = fast.replace(clock=lambda: true() - timedelta(seconds=apart))
    both.meet()
    true.forward(minutes=2)
    flight = ClientConnection(both.client, "localhost", early_data=b"pay").data_to_send()
    true.forward(seconds=-9)
    taken = []
    for machine, after in ((fast, 0), (slow, 10), (slow, 9), (slow, apart / 2), (slow, apart / 2 - 1)):
        true.forward(seconds=after)
        server = ServerConnection(machine)
        server.receive_data(flight)
        taken.append(any(isinstance(event, EarlyDataReceived) for event in server.events()))
    assert taken == [True, False, False, False, False]


@pytest.mark.attack(17, "0-RTT replay")
def test_early_data_goes_with_just_its_suite(trust: TrustStore, credential: Credential) -> None:
    """Another suite of the same hash resumes the session; what was sent under the first is passed over."""
    both = machines(trust, credential, TLSVersion.TLS_1_3, tickets=TicketKeys())
    other = CipherSuite.TLS_CHACHA20_POLY1305_SHA256
    both.server = both.server.replace(cipher_suites=[SHA256, other], early_data=EarlyData(replay=Seen()))
    both.meet()
    both.server = both.server.replace(cipher_suites=[other])
    pair = both.meet(early_data=b"GET /")
    assert pair.client.info.resumed
    assert pair.client.info.cipher_suite is other
    assert pair.client.info.early_data is pair.server.info.early_data is False
